"""How does a RemoteCache compare with other clients of a Redis?

Each asks a redis-server of its own over the loopback, for a thousand texts of 100 bytes. A *near
hit* is a lookup of what the client has kept near: RemoteCache in this process's memory or in a
directory, redis-py and cashews in their client-side caches. A *miss that fills* is one of what
another client has written since; it is asked of the server, and kept. Of *many*, 500 are got or set
at once, and the time is that of one.

Then one process reads a hundred keys as fast as it can, beside processes that each write one of
them, pause for a millisecond, and write again. The writers and the server need processors too.

They do not promise the same. redis-py returns bytes. django-redis and cashews pickle, without a
signature; RemoteCache loads what is on a list. cashews is for asyncio: its operations are awaited,
one after the other. redis-py refuses a cache with a server other than Redis 7.4 and later: here it
is told that an older one will do.
"""

from __future__ import annotations

import asyncio
import importlib
import importlib.metadata
import random
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

from latencies import in_processes
from measuring import Missing, Stopwatch, Suite, Unable, main
from results import NATIVE, ORIGINAL, Figure
from servers import Server

KEYS = [f'key-{number}' for number in range(1000)]
VALUE = '0123456789' * 10
OTHER = VALUE[::-1]
#: So many are got or set at once.
MANY = 500
#: What processes read while others write.
FEW = KEYS[:100]
WRITERS = (0, 1, 2, 4)
#: Seconds between two writes of a process.
INTERVAL = 0.001
#: Seconds that may pass until a client has heard of a write.
HEARD = 0.05

#: Titles by names.
PEERS = {
    'redis': 'redis-py',
    'django_redis': 'django-redis',
    'cashews': 'cashews',
}

#: Where values are kept near, and what that is in the names of rows.
MEMORY, DIRECTORY = 'in memory', 'in a directory'
NEAR_NAMES = {None: 'nothing', MEMORY: 'memory', DIRECTORY: 'directory'}


def import_peer(name: str) -> ModuleType:
    """Import a module that need not be installed."""
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise Missing(str(error)) from error


class Client:
    """A contender's way to ask the server."""

    def __init__(self, close: Callable[[], Any], **operations: Callable[[Any], Any]) -> None:
        """Take what it can do.

        :param close: lets go of its connections
        :param operations: by their names, each of one argument: a key, keys, or a dict
        """
        self.close = close
        self._operations = operations

    def operation(self, name: str) -> Callable[[Any], Any]:
        """Return an operation.

        :raises Unable: if there is none
        """
        if name not in self._operations:
            raise Unable(f'has no {name.replace("_", " ")}')
        return self._operations[name]

    def each(self, watch: Stopwatch, name: str, parts: Sequence[Any]) -> None:
        """Time an operation on each of some parts."""
        operation = self.operation(name)
        with watch:
            for part in parts:
                operation(part)

    def call(self, name: str, part: Any) -> Any:
        """Return what an operation does."""
        return self.operation(name)(part)


class Awaited(Client):
    """The same for asyncio, in an event loop of its own."""

    def __init__(self, close: Callable[[], Any], **operations: Callable[[Any], Any]) -> None:
        self._loop = asyncio.new_event_loop()
        super().__init__(lambda: self._loop.run_until_complete(close()), **operations)

    def each(self, watch: Stopwatch, name: str, parts: Sequence[Any]) -> None:
        operation = self.operation(name)

        async def await_each() -> None:
            with watch:
                for part in parts:
                    await operation(part)

        self._loop.run_until_complete(await_each())

    def call(self, name: str, part: Any) -> Any:
        return self._loop.run_until_complete(self.operation(name)(part))


def open_native(port: int, near: str | None, directory: Path) -> Client:
    """Open this package's."""
    kept: Any = {None: None, MEMORY: True, DIRECTORY: directory / 'near'}[near]
    url = f'redis://127.0.0.1:{port}'
    cache = import_peer('diskcache.remote').RemoteCache(url, near=kept, timeout=60)
    return Client(
        cache.close,
        get=cache.get,
        set=lambda key: cache.set(key, VALUE),
        replace=lambda key: cache.set(key, OTHER),
        set_with_a_tag=lambda key: cache.set(key, VALUE, tag='tag'),
        incr=cache.incr,
        modify=lambda key: cache.modify(key, str.swapcase),
        get_many=cache.get_many,
        set_many=cache.set_many,
    )


def open_redis(port: int, near: str | None, directory: Path) -> Client:
    """Open redis-py's, or its client-side cache."""
    redis = import_peer('redis')
    arguments: dict[str, Any] = {}
    if near == DIRECTORY:
        raise Unable('keeps nothing in a directory')
    if near == MEMORY:
        import_peer('redis.connection').CacheProxyConnection.MIN_ALLOWED_VERSION = '6.0.0'
        config = import_peer('redis.cache').CacheConfig(max_size=100_000)
        arguments = {'protocol': 3, 'cache_config': config}
    client = redis.Redis(port=port, **arguments)

    def set_many(items: dict[str, str]) -> Any:
        pipeline = client.pipeline(transaction=False)
        for key, value in items.items():
            pipeline.set(key, value)
        return pipeline.execute()

    return Client(
        client.close,
        get=client.get,
        set=lambda key: client.set(key, VALUE),
        replace=lambda key: client.set(key, OTHER),
        incr=client.incr,
        get_many=client.mget,
        set_many=set_many,
    )


def open_django_redis(port: int, near: str | None, directory: Path) -> Client:
    """Open django-redis, through Django's interface."""
    if near is not None:
        raise Unable('keeps nothing near')
    import_peer('django_redis')
    settings = import_peer('django.conf').settings
    location = f'redis://127.0.0.1:{port}/0'
    backend = {'BACKEND': 'django_redis.cache.RedisCache', 'LOCATION': location}
    settings.configure(CACHES={'default': backend})
    cache = import_peer('django.core.cache').caches['default']
    cache.set('number', 0, None)
    return Client(
        cache.close,
        get=cache.get,
        set=lambda key: cache.set(key, VALUE, None),
        replace=lambda key: cache.set(key, OTHER, None),
        incr=cache.incr,
        get_many=cache.get_many,
        set_many=lambda items: cache.set_many(items, None),
    )


def open_cashews(port: int, near: str | None, directory: Path) -> Client:
    """Open cashews, with its client-side cache or without."""
    if near == DIRECTORY:
        raise Unable('keeps nothing in a directory')
    cache = import_peer('cashews').Cache()
    cache.setup(f'redis://127.0.0.1:{port}', client_side=near is not None)
    return Awaited(
        cache.close,
        get=cache.get,
        set=lambda key: cache.set(key, VALUE),
        replace=lambda key: cache.set(key, OTHER),
        incr=cache.incr,
        get_many=lambda keys: cache.get_many(*keys),
        set_many=cache.set_many,
    )


#: What opens a contender's client: called with the port of the server, what is kept near, and a
#: directory for files. It raises Unable if it keeps nothing there.
OPENERS: dict[str, Callable[[int, str | None, Path], Client]] = {
    NATIVE: open_native,
    'redis': open_redis,
    'django_redis': open_django_redis,
    'cashews': open_cashews,
}


class Clients:
    """A contender's clients, each opened when it is needed, and their server."""

    def __init__(self, directory: Path, contender: str) -> None:
        if contender == ORIGINAL:
            raise Missing('it has no RemoteCache')
        self.name = contender
        self.directory = directory
        self.server = Server('redis', directory, loopback=True)
        self._clients: dict[str | None, Client] = {}
        try:
            self.version = self._version()
            self.client()
        except BaseException:
            self.server.close()
            raise

    def _version(self) -> str:
        if self.name == 'redis':
            hiredis = importlib.metadata.version('hiredis')
            return f'{self.server.version.removeprefix("redis-py ")}, hiredis {hiredis}'
        try:
            return importlib.metadata.version(PEERS.get(self.name, 'diskcache'))
        except importlib.metadata.PackageNotFoundError as error:
            raise Missing(f'no {error} is installed') from error

    def client(self, near: str | None = None) -> Client:
        """Return the client that keeps values there.

        :raises Unable: if it does not
        """
        if near not in self._clients:
            opened = OPENERS[self.name](self.server.port, near, self.directory)
            self._clients[near] = opened
        return self._clients[near]

    def filled(self, keys: Sequence[str]) -> Client:
        """Have the keys stored, and return the client that keeps nothing near."""
        client = self.client()
        client.each(Stopwatch(), 'set', keys)
        return client

    def close(self) -> None:
        for client in self._clients.values():
            client.close()
        self.server.close()


suite: Suite[Clients] = Suite('remote', 'Beyond one machine', __doc__, Clients, PEERS)


@suite.row('get', count=300)
def get(clients: Clients, count: int, watch: Stopwatch) -> None:
    clients.filled(KEYS[:count]).each(watch, 'get', KEYS[:count])


@suite.row('set', count=300)
def set_plain(clients: Clients, count: int, watch: Stopwatch) -> None:
    clients.client().each(watch, 'set', KEYS[:count])


@suite.row('set with a tag', count=300)
def set_tagged(clients: Clients, count: int, watch: Stopwatch) -> None:
    clients.client().each(watch, 'set_with_a_tag', [f'tagged-{key}' for key in KEYS[:count]])


@suite.row('incr', count=300)
def incr(clients: Clients, count: int, watch: Stopwatch) -> None:
    clients.client().each(watch, 'incr', ['number'] * count)


@suite.row('modify', count=300)
def modify(clients: Clients, count: int, watch: Stopwatch) -> None:
    clients.filled(KEYS[:count]).each(watch, 'modify', KEYS[:count])


@suite.row('get_many, each', count=MANY)
def get_many(clients: Clients, count: int, watch: Stopwatch) -> None:
    clients.filled(KEYS[:count]).each(watch, 'get_many', [KEYS[:count]])


@suite.row('set_many, each', count=MANY)
def set_many(clients: Clients, count: int, watch: Stopwatch) -> None:
    clients.client().each(watch, 'set_many', [dict.fromkeys(KEYS[:count], VALUE)])


# --- what is kept near ---------------------------------------------------------------------------


def time_hits(clients: Clients, near: str, count: int, watch: Stopwatch) -> None:
    """Time lookups of what is near."""
    client = clients.client(near)
    client.each(Stopwatch(), 'set', FEW)
    time.sleep(HEARD)
    for _ in range(2):
        client.each(Stopwatch(), 'get', FEW)
    client.each(watch, 'get', FEW * (count // len(FEW)))


@suite.row(f'near hit, {MEMORY}', count=2000)
def hit_memory(clients: Clients, count: int, watch: Stopwatch) -> None:
    time_hits(clients, MEMORY, count, watch)


@suite.row(f'near hit, {DIRECTORY}', count=2000)
def hit_directory(clients: Clients, count: int, watch: Stopwatch) -> None:
    time_hits(clients, DIRECTORY, count, watch)


FILLS = {
    'time': Figure('', 'one'),
    'more': Figure('', 'more than a get', at_most=30_000, compared=False),
}


def time_fills(clients: Clients, near: str, count: int) -> dict[str, float]:
    """Time lookups of what another has written, which are kept near, beside plain ones.

    :raises Unable: if what another has written is not seen
    """
    keys = KEYS[:count]
    client, plain = clients.client(near), clients.filled(keys)
    client.each(Stopwatch(), 'get', keys)
    plain.each(Stopwatch(), 'replace', keys)
    time.sleep(HEARD)
    watches = [Stopwatch(), Stopwatch()]
    for each, watch in zip((plain, client), watches, strict=True):
        each.each(watch, 'get', keys)
    if client.call('get', keys[0]) != plain.call('get', keys[0]):
        raise Unable(f'does not see what another has written {1000 * HEARD:.0f} ms before')
    beside, time_of_one = (watch.elapsed / count for watch in watches)
    return {'time': time_of_one, 'more': time_of_one - beside}


@suite.load(f'miss that fills what is {MEMORY}', 300, FILLS)
def fill_memory(clients: Clients, count: int) -> dict[str, float]:
    return time_fills(clients, MEMORY, count)


@suite.load(f'miss that fills what is {DIRECTORY}', 300, FILLS)
def fill_directory(clients: Clients, count: int) -> dict[str, float]:
    return time_fills(clients, DIRECTORY, count)


suite.quotient('get_beside', "get: multiple of redis-py's", 'get', 'get', 1.1, 'redis')
suite.quotient('set_beside', "set: multiple of redis-py's", 'set_plain', 'set_plain', 1.2, 'redis')
suite.quotient(
    *('many_beside', "set_many: multiple of django-redis's", 'set_many', 'set_many'),
    *(1.0, 'django_redis'),
)
suite.quotient(
    *('hit_beside', "near hit, in memory: multiple of redis-py's", 'hit_memory', 'hit_memory'),
    *(0.033, 'redis'),
)


# --- beside writers ------------------------------------------------------------------------------


def work(
    start: Callable[[], object],
    number: int,
    name: str,
    port: int,
    near: str | None,
    directory: Path,
    milliseconds: int,
) -> float:
    """Be one of the processes. The first one reads, and returns what a read takes, in ns."""
    client = OPENERS[name](port, near if number == 0 else None, directory)
    chance = random.Random(number)
    client.each(Stopwatch(), 'get', FEW)
    start()
    watch = Stopwatch()
    count = 0
    end = time.monotonic() + milliseconds / 1000
    while time.monotonic() < end:
        if number == 0:
            client.each(watch, 'get', chance.choices(FEW, k=100))
            count += 100
        else:
            client.each(watch, 'set', chance.choices(FEW))
            time.sleep(INTERVAL)
    client.close()
    return watch.elapsed / max(count, 1)


def _add_reading_row(near: str | None, writers: int) -> None:
    def read(clients: Clients, milliseconds: int) -> dict[str, float]:
        if clients.name not in (NATIVE, 'redis'):
            raise Unable('is not measured beside writers')
        clients.client(near)
        clients.filled(FEW)
        arguments = (clients.name, clients.server.port, near, clients.directory)
        return {'rate': in_processes(1 + writers, work, *arguments, milliseconds)[0]}

    read.__name__ = f'read_{NEAR_NAMES[near]}_{writers}'
    who = 'nobody writes' if not writers else 'one writes' if writers == 1 else f'{writers} write'
    what = 'nothing near' if near is None else f'near {near}'
    suite.load(f'{who}, {what}', 500, {'rate': Figure('', 'reads', unit='rate')}, every=9)(read)


for _near in (None, MEMORY, DIRECTORY):
    for _writers in WRITERS:
        _add_reading_row(_near, _writers)


if __name__ == '__main__':
    main(suite, rounds=27)
