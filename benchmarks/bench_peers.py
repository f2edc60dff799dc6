"""How does a Cache compare with other stores that Python programs use?

Every store holds a thousand small texts and one of 10 KB. One thread gets them, for the second
time, and sets them; then there is the mix that the original is measured with (90 % get, 9 % set,
1 % delete of one of a hundred keys) in four processes at once. In brackets: how many times faster
than the original.

They do not promise the same. lmdb, dbm and shelve have no expiry and no eviction; dbm and shelve
allow one process at a time. None of them waits for the disk when it writes: lmdb is told not to,
sqlitedict writes in a thread of its own and returns before. redis and memcached are servers on this
machine, asked through a unix socket, that keep nothing on disk.
"""

from __future__ import annotations

import dbm
import importlib
import importlib.metadata
import itertools
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

from latencies import (
    GET,
    MIX_KEYS,
    MIX_VALUE,
    SET,
    Latencies,
    Store,
    in_processes,
    latency_figures,
    time_mix,
)
from measuring import Missing, Stopwatch, Suite, Unable, main
from results import NATIVE, ORIGINAL
from servers import KINDS, Server

PROCESSES = 4
ITEMS = 1000
KEYS = [f'key-{number}' for number in range(ITEMS)]
LARGE = 'large'
TEXT_10_KB = '0123456789' * 1000

#: Titles by names.
PEERS = {
    'lmdb': 'lmdb',
    'diskcache_rs': 'diskcache-rs',
    'sqlitedict': 'sqlitedict',
    'dbm': 'dbm',
    'shelve': 'shelve',
    'redis': 'redis',
    'memcached': 'memcached',
}
SINGLE = ('dbm', 'shelve')


def import_peer(name: str) -> ModuleType:
    """Import a module that need not be installed."""
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise Missing(str(error)) from error


class Lmdb:
    """An lmdb environment: texts in it are bytes, and each operation is a transaction."""

    def __init__(self, location: str, map_size: int = 2**30) -> None:
        lmdb = import_peer('lmdb')
        Path(location).mkdir(exist_ok=True)
        self._environment = lmdb.open(location, map_size=map_size, sync=False)

    def get(self, key: str) -> str | None:
        with self._environment.begin() as transaction:
            value = transaction.get(key.encode())
        return None if value is None else value.decode()

    def set(self, key: str, value: str) -> None:
        with self._environment.begin(write=True) as transaction:
            transaction.put(key.encode(), value.encode())

    def delete(self, key: str) -> None:
        with self._environment.begin(write=True) as transaction:
            transaction.delete(key.encode())

    def close(self) -> None:
        self._environment.close()


class Mapping:
    """A store that is used like a dict."""

    def __init__(self, mapping: Any) -> None:
        self._mapping = mapping
        self.get: Callable[[str], Any] = mapping.get
        self.set: Callable[[str, str], None] = mapping.__setitem__

    def delete(self, key: str) -> None:
        try:
            del self._mapping[key]
        except KeyError:
            pass

    def close(self) -> None:
        self._mapping.close()


class Dbm(Mapping):
    """A dbm file, of the best kind that this Python has: texts in it are bytes."""

    def __init__(self, location: str) -> None:
        mapping: Any = dbm.open(location, 'c')  # noqa: SIM115 (close() closes it)
        super().__init__(mapping)
        self.get = self._get
        self._get_bytes = mapping.get

    def _get(self, key: str) -> str | None:
        value = self._get_bytes(key)
        return None if value is None else value.decode()


def open_store(name: str, location: str) -> Store:
    """Open a store.

    :param name: of the contender
    :param location: of its files, or of its server's socket
    :raises Missing: if it is not installed
    """
    store: Any
    if name in (ORIGINAL, NATIVE):
        store = import_peer('diskcache').Cache(location)
    elif name == 'diskcache_rs':
        store = import_peer(name).Cache(location)
    elif name == 'lmdb':
        store = Lmdb(location)
    elif name == 'sqlitedict':
        store = Mapping(import_peer(name).SqliteDict(location, autocommit=True))
    elif name == 'dbm':
        store = Dbm(location)
    elif name == 'shelve':
        store = Mapping(import_peer(name).open(location))
    elif name == 'redis':
        store = import_peer(name).Redis(unix_socket_path=location, decode_responses=True)
    else:
        serde = import_peer('pymemcache.serde').pickle_serde
        # With a reply, for without one a set returns before anybody has read it.
        store = import_peer('pymemcache').Client(location, serde=serde, default_noreply=False)
    return store  # type: ignore[no-any-return]


class Subject:
    """A store that is filled, and its server."""

    def __init__(self, directory: Path, contender: str) -> None:
        self.name = contender
        self._server = Server(contender, directory) if contender in KINDS else None
        self.location = str(directory / 'store') if self._server is None else self._server.socket
        self.store = open_store(contender, self.location)
        for key in (*KEYS, *MIX_KEYS):
            self.store.set(key, MIX_VALUE)
        self.store.set(LARGE, TEXT_10_KB)
        self.version = self._version()

    def _version(self) -> str:
        if self._server is not None:
            return self._server.version
        if self.name == 'dbm':
            return (dbm.whichdb(self.location) or '').removeprefix('dbm.')
        try:
            return importlib.metadata.version(self.name)
        except importlib.metadata.PackageNotFoundError:  # it comes with Python
            return ''

    def close(self) -> None:
        self.store.close()
        if self._server is not None:
            self._server.close()


suite: Suite[Subject] = Suite('peers', 'Other stores', __doc__, Subject, PEERS)


@suite.row('get', count=1000)
def get(subject: Subject, count: int, watch: Stopwatch) -> None:
    get_item = subject.store.get
    for key in KEYS[:count]:
        get_item(key)
    with watch:
        for key in KEYS[:count]:
            get_item(key)


@suite.row('get, 10 KB', count=200)
def get_large(subject: Subject, count: int, watch: Stopwatch) -> None:
    get_item = subject.store.get
    with watch:
        for _ in itertools.repeat(None, count):
            get_item(LARGE)


@suite.row('set', count=300)
def set_small(subject: Subject, count: int, watch: Stopwatch) -> None:
    set_item = subject.store.set
    with watch:
        for key in KEYS[:count]:
            set_item(key, MIX_VALUE)


@suite.row('set, 10 KB', count=50)
def set_large(subject: Subject, count: int, watch: Stopwatch) -> None:
    set_item = subject.store.set
    with watch:
        for _ in itertools.repeat(None, count):
            set_item(LARGE, TEXT_10_KB)


@suite.row('delete', count=200)
def delete(subject: Subject, count: int, watch: Stopwatch) -> None:
    store = subject.store
    keys = KEYS[:count]
    delete_item = store.delete
    with watch:
        for key in keys:
            delete_item(key)
    for key in keys:
        store.set(key, MIX_VALUE)


MIX_FIGURES = {
    name: figure
    for name, figure in latency_figures((GET, SET)).items()
    if name in ('rate', 'set_p99')
}


@suite.load(f'{PROCESSES} processes', 5_000, MIX_FIGURES, every=9)
def mix(subject: Subject, count: int) -> dict[str, float]:
    if subject.name in SINGLE:
        raise Unable('allows one process at a time')
    parts = in_processes(PROCESSES, work, subject.name, subject.location, count)
    figures = Latencies.merged(parts).figures()
    return {name: figures[name] for name in MIX_FIGURES}


def work(
    start: Callable[[], object], number: int, name: str, location: str, count: int
) -> Latencies:
    """Be one of the processes."""
    store = open_store(name, location)
    latencies = time_mix(store, count, number, start)
    store.close()
    return latencies


if __name__ == '__main__':
    main(suite, rounds=27)
