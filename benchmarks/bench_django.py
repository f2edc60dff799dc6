"""How does DjangoCache compare with Django's own cache backends?

Every backend holds a thousand small items, and is used by one thread through Django's interface.
What is got has been got before. In brackets: how many times faster than the original's DjangoCache.

They do not promise the same. locmem is a dict in one process, which no other one sees. The database
is SQLite. redis and memcached are servers on this machine, asked through a unix socket, that keep
nothing on disk. Locmem, file-based and database may hold more than the 300 items of their default.
"""

from __future__ import annotations

import importlib.metadata
import itertools
from pathlib import Path
from typing import Any

from measuring import Missing, Stopwatch, Suite, main
from results import NATIVE, ORIGINAL
from servers import KINDS, Server

ITEMS = 1000
KEYS = [f'key-{number}' for number in range(ITEMS)]
VALUE = 'a small value'
RECORDS = [f'record-{number}' for number in range(100)]
RECORD = {'id': 4711, 'name': 'Ada Lovelace', 'mail': 'ada@example.org', 'score': 0.5, 'tags': []}
MANY = 10

#: Titles by names.
PEERS = {
    'locmem': 'locmem',
    'filebased': 'file-based',
    'db': 'database',
    'redis': 'redis',
    'memcached': 'memcached',
}
OWN = 'django.core.cache.backends.'


class Backend:
    """A Django whose default cache is the contender."""

    def __init__(self, directory: Path, contender: str) -> None:
        try:
            self.version = importlib.metadata.version('django')
        except importlib.metadata.PackageNotFoundError as error:
            raise Missing('no Django is installed') from error
        self._server = Server(contender, directory) if contender in KINDS else None
        if self._server is not None:
            self.version = self._server.version
        location = str(directory / 'cache') if self._server is None else self._server.socket
        try:
            self.cache = _configure(contender, location, str(directory / 'database'))
            self._fill()
        except BaseException:
            self._stop()
            raise

    def _fill(self) -> None:
        self.cache.set_many(dict.fromkeys(KEYS, VALUE), timeout=None)
        self.cache.set_many(dict.fromkeys(RECORDS, RECORD), timeout=None)
        self.cache.set('counter', 0, timeout=None)

    def _stop(self) -> None:
        if self._server is not None:
            self._server.close()

    def close(self) -> None:
        self.cache.close()
        self._stop()


def _configure(contender: str, location: str, database: str) -> Any:
    """Return Django's default cache after configuring it to be the contender."""
    import django
    from django.conf import settings
    from django.core.cache import InvalidCacheBackendError, caches
    from django.core.management import call_command

    cache: dict[str, Any]
    if contender in (ORIGINAL, NATIVE):
        cache = {'BACKEND': 'diskcache.DjangoCache', 'LOCATION': location}
    elif contender == 'redis':
        cache = {'BACKEND': f'{OWN}redis.RedisCache', 'LOCATION': f'unix://{location}'}
    elif contender == 'memcached':
        cache = {'BACKEND': f'{OWN}memcached.PyMemcacheCache', 'LOCATION': f'unix:{location}'}
    else:
        name = {'locmem': 'LocMem', 'filebased': 'FileBased', 'db': 'Database'}[contender]
        cache = {
            'BACKEND': f'{OWN}{contender}.{name}Cache',
            'LOCATION': 'cache_table' if contender == 'db' else location,
            'OPTIONS': {'MAX_ENTRIES': 100_000},
        }
    settings.configure(
        CACHES={'default': cache},
        DATABASES={'default': {'ENGINE': 'django.db.backends.sqlite3', 'NAME': database}},
        USE_TZ=True,
    )
    django.setup()
    if contender == 'db':
        call_command('createcachetable')
    try:
        return caches['default']
    except InvalidCacheBackendError as error:
        raise Missing(str(error)) from error


suite: Suite[Backend] = Suite('django', "Django's cache backends", __doc__, Backend, PEERS)


@suite.row('get', count=500, goal=12)
def get(backend: Backend, count: int, watch: Stopwatch) -> None:
    get_item = backend.cache.get
    for key in KEYS[:count]:
        get_item(key)
    with watch:
        for key in KEYS[:count]:
            get_item(key)


@suite.row('get, miss', count=300)
def get_miss(backend: Backend, count: int, watch: Stopwatch) -> None:
    get_item = backend.cache.get
    with watch:
        for _ in itertools.repeat(None, count):
            get_item('absent')


@suite.row('get, dict', count=len(RECORDS))
def get_record(backend: Backend, count: int, watch: Stopwatch) -> None:
    get_item = backend.cache.get
    for key in RECORDS:
        get_item(key)
    with watch:
        for key in RECORDS:
            get_item(key)


@suite.row(f'get_many, {MANY}', count=50)
def get_many(backend: Backend, count: int, watch: Stopwatch) -> None:
    get_items = backend.cache.get_many
    keys = [KEYS[MANY * number : MANY * (number + 1)] for number in range(count)]
    with watch:
        for some in keys:
            get_items(some)


@suite.row('set', count=50)
def set_small(backend: Backend, count: int, watch: Stopwatch) -> None:
    set_item = backend.cache.set
    with watch:
        for key in KEYS[:count]:
            set_item(key, VALUE, None)


@suite.row(f'set_many, {MANY}', count=5)
def set_many(backend: Backend, count: int, watch: Stopwatch) -> None:
    set_items = backend.cache.set_many
    several = [
        dict.fromkeys(KEYS[MANY * number : MANY * (number + 1)], VALUE) for number in range(count)
    ]
    with watch:
        for some in several:
            set_items(some, None)


@suite.row('incr', count=30)
def incr(backend: Backend, count: int, watch: Stopwatch) -> None:
    increment = backend.cache.incr
    with watch:
        for _ in itertools.repeat(None, count):
            increment('counter')


@suite.row('delete', count=30)
def delete(backend: Backend, count: int, watch: Stopwatch) -> None:
    delete_item = backend.cache.delete
    keys = KEYS[:count]
    with watch:
        for key in keys:
            delete_item(key)
    backend.cache.set_many(dict.fromkeys(keys, VALUE), timeout=None)


if __name__ == '__main__':
    main(suite, rounds=20)
