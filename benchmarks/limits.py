"""How fast could an operation be at best? Measured beside the packages, as a contender of its own.

A row may name its limit: what nothing that does the same can be faster than. For what is in memory
that is a ``dict``, for values a ``memcpy``. For all that is in the database it is the same SQL on
the same tables, executed from C (limits.c) by the library that Python has: without Python, a Disk,
a budget of bytes, or a memory that must stay coherent.
"""

from __future__ import annotations

import ctypes
import ctypes.util
import functools
import itertools
import os
import pickle
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from measuring import Missing

ITEMS = 1000
PREFIX = 'key-'
VALUE = b'a small value'
RECORD = {'id': 4711, 'name': 'Ada Lovelace', 'mail': 'ada@example.org', 'score': 0.5, 'tags': []}

SELECT = 'SELECT mode, filename, value, expire_time FROM Cache WHERE key = ?1 AND raw = 1'
COLUMNS = (
    '(key, raw, store_time, expire_time, access_time, access_count, tag,'
    ' size, mode, filename, value)'
)
INSERT = f'INSERT INTO Cache {COLUMNS} VALUES (?1, 1, 1e9, NULL, 1e9, 0, NULL, 0, 1, NULL, ?2)'
UPDATE = (
    'UPDATE Cache SET store_time = 2e9, access_time = 2e9, value = ?2 WHERE key = ?1 AND raw = 1'
)
DELETE = 'DELETE FROM Cache WHERE key = ?1 AND raw = 1'
TOUCH = 'UPDATE Cache SET expire_time = NULL WHERE key = ?1 AND raw = 1'
INCREMENT = "UPDATE Cache SET value = value + 1 WHERE key = 'key-0' AND raw = 1"
LENGTH = "SELECT value FROM Settings WHERE key = 'count'"
KEYS = 'SELECT key, raw FROM Cache ORDER BY rowid'
PRAGMAS = (
    'PRAGMA synchronous = 1; PRAGMA cache_size = 8192; PRAGMA mmap_size = 67108864;'
    ' PRAGMA wal_autocheckpoint = 1000;'
)


class Limits:
    """A directory of its own, with tables as the package makes them."""

    def __init__(self, directory: Path) -> None:
        """Make and fill them, and compile limits.c.

        :param directory: an empty one
        :raises Missing: if there is no compiler, or no shared library of SQLite
        """
        from diskcache import Cache

        self.path = str(directory / 'cache' / 'cache.db')
        with Cache(str(directory / 'cache')) as cache, cache.transact():
            for number in range(ITEMS):
                cache[f'{PREFIX}{number}'] = VALUE
        self.sqlite, self.library = _load(directory)
        self._db = ctypes.c_void_p()
        if self.sqlite.sqlite3_open(self.path.encode(), ctypes.byref(self._db)):
            raise Missing('it cannot open the database')
        self._execute(PRAGMAS)

    def close(self) -> None:
        self.sqlite.sqlite3_close(self._db)

    def _execute(self, sql: str) -> None:
        if self.sqlite.sqlite3_exec(self._db, sql.encode(), None, None, None):
            raise RuntimeError(sql)

    def run(self, sql: str, count: int, *, each: bool = False, prefix: str = PREFIX) -> int:
        """Execute a statement for so many keys, each in a transaction of its own or all in one.

        :return: what it takes, in nanoseconds
        """
        elapsed: int = self.library.limit_run(
            self._db, sql.encode(), each, prefix.encode(), ITEMS, count, VALUE, len(VALUE)
        )
        if elapsed < 0:
            raise RuntimeError(f'failed: {sql}')
        return elapsed

    def open(self, count: int) -> int:
        """Open the database, with a look at it, and close it, so many times."""
        elapsed: int = self.library.limit_open(self.path.encode(), b'SELECT * FROM Settings', count)
        return elapsed


def _load(directory: Path) -> tuple[ctypes.CDLL, ctypes.CDLL]:
    """Load SQLite, and compile limits.c and load it."""
    name = ctypes.util.find_library('sqlite3')
    if name is None:
        raise Missing('there is no shared library of SQLite')
    sqlite = ctypes.CDLL(name, mode=ctypes.RTLD_GLOBAL)
    path = directory / 'limits.so'
    source = Path(__file__).with_suffix('.c')
    compiler = os.environ.get('CC', 'cc')
    try:
        subprocess.run(
            [compiler, '-O2', '-shared', '-fPIC', '-o', str(path), str(source)], check=True
        )
    except (OSError, subprocess.CalledProcessError) as error:
        raise Missing(f'limits.c cannot be compiled: {error}') from None
    library = ctypes.CDLL(str(path))
    library.limit_run.restype = library.limit_open.restype = ctypes.c_int64
    return sqlite, library


# --- what rows may name ------------------------------------------------------------------------

Limit = Callable[[Limits, int], int]
KNOWN: dict[str, Limit] = {}


def _limit(function: Limit) -> Limit:
    KNOWN[function.__name__] = function
    return function


def _time_loop(operation: Callable[[Any], object], arguments: list[Any], count: int) -> int:
    arguments = list(itertools.islice(itertools.cycle(arguments), count))
    started = time.perf_counter_ns()
    for argument in arguments:
        operation(argument)
    return time.perf_counter_ns() - started


@_limit
def dict_get(limits: Limits, count: int) -> int:
    keys = [f'{PREFIX}{number}' for number in range(ITEMS)]
    return _time_loop(dict.fromkeys(keys, VALUE).get, keys, count)


@_limit
def unpickling(limits: Limits, count: int) -> int:
    return _time_loop(pickle.loads, [pickle.dumps(RECORD, pickle.HIGHEST_PROTOCOL)], count)


@_limit
def lru_cache(limits: Limits, count: int) -> int:
    return _time_loop(functools.lru_cache(lambda number: number), list(range(100)), count)


@functools.cache
def _bytes(size: int) -> bytes:
    return os.urandom(size)


def _add_memcpy(name: str, size: int) -> None:
    KNOWN[f'memcpy_{name}'] = lambda limits, count: _time_loop(
        bytes, [memoryview(_bytes(size))], count
    )


for _name, _size in {
    '1_kb': 1000,
    '10_kb': 10_000,
    '100_kb': 100_000,
    '1_mb': 1_000_000,
    '10_mb': 10_000_000,
    '20_mb': 20_000_000,
}.items():
    _add_memcpy(_name, _size)


@_limit
def select(limits: Limits, count: int) -> int:
    return limits.run(SELECT, count)


@_limit
def update(limits: Limits, count: int) -> int:
    return limits.run(UPDATE, count, each=True)


@_limit
def update_in_transaction(limits: Limits, count: int) -> int:
    return limits.run(UPDATE, count)


def _insert(limits: Limits, count: int, each: bool) -> int:
    elapsed = limits.run(INSERT, count, each=each, prefix='new-')
    limits.run(DELETE, count, prefix='new-')
    return elapsed


@_limit
def insert(limits: Limits, count: int) -> int:
    return _insert(limits, count, each=True)


@_limit
def insert_in_transaction(limits: Limits, count: int) -> int:
    return _insert(limits, count, each=False)


@_limit
def delete(limits: Limits, count: int) -> int:
    limits.run(INSERT, count, prefix='new-')
    return limits.run(DELETE, count, each=True, prefix='new-')


@_limit
def touch(limits: Limits, count: int) -> int:
    return limits.run(TOUCH, count, each=True)


@_limit
def increment(limits: Limits, count: int) -> int:
    limits._execute("UPDATE Cache SET value = 0 WHERE key = 'key-0'")
    return limits.run(INCREMENT, count, each=True)


@_limit
def length(limits: Limits, count: int) -> int:
    return limits.run(LENGTH, count)


@_limit
def keys(limits: Limits, count: int) -> int:
    return limits.run(KEYS, count // ITEMS)


@_limit
def open_database(limits: Limits, count: int) -> int:
    return limits.open(count)
