"""What a program runs out of: memory, room on the disk, descriptors; and a clock that jumps.

Each is real: SQLite's own limit of memory, a file system of two megabytes, limits of the process, a
directory that may not be written. An operation that cannot be done is an error, a miss or False. What
was stored stays, nothing is left locked, and when there is room again everything works.
"""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from consistency import stored_filenames, value_files
from interpreter import Clock, Interpreter

import diskcache

linux = pytest.mark.skipif(sys.platform != 'linux', reason='needs Linux')


# --- memory ---


@linux
@pytest.mark.parametrize('method', ['clear', 'evict', 'expire', 'set_many', 'get_many', 'pop'])
def test_without_memory_for_sqlite_no_lock_is_left(
    alone: Interpreter, directory: str, method: str
) -> None:
    """Not even ROLLBACK works then, once statements have to be compiled anew."""

    def scenario(directory: str, method: str) -> int:
        import _sqlite3
        import ctypes

        try:
            library = ctypes.CDLL(_sqlite3.__file__)
            limit = library.sqlite3_hard_heap_limit64
        except (AttributeError, OSError):
            return 1  # SQLite is inside of the interpreter, or too old
        limit.argtypes, limit.restype = [ctypes.c_int64], ctypes.c_int64
        library.sqlite3_memory_used.restype = ctypes.c_int64
        items = {f'key {number}': bytes(number) for number in range(400)}
        calls = {
            'clear': lambda cache: cache.clear(),
            'evict': lambda cache: cache.evict('tag'),
            'expire': lambda cache: cache.expire(now=2**40),
            'set_many': lambda cache: cache.set_many({**items, 'more': bytes(30_000)}),
            'get_many': lambda cache: cache.get_many(items),
            'pop': lambda cache: cache.pop('key 7'),
        }
        cache = diskcache.Cache(directory, memory_limit=0, timeout=1)
        failed = 0
        for extra in range(0, 60_000, 1500):
            cache.set_many(items, tag='tag', expire=2**30)
            cache.get('key 7')
            limit(library.sqlite3_memory_used() + extra)
            try:
                calls[method](cache)
            except (MemoryError, sqlite3.Error):
                failed += 1
            finally:
                limit(0)
            with contextlib.closing(
                sqlite3.connect(f'{directory}/cache.db', timeout=1, isolation_level=None)
            ) as con:
                con.execute('BEGIN IMMEDIATE')
                con.execute('ROLLBACK')
            cache['key'] = extra
            assert cache['key'] == extra
        assert cache.check() == []
        return failed

    assert alone.run(scenario, directory=directory, method=method) > 0


# --- a lock that cannot be given back ---


@linux
def test_a_commit_that_fails_when_it_is_done_keeps_the_file_of_its_row(
    directory: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    preload: Callable[[str], dict[str, str]],
    start_interpreter: Callable[[], Interpreter],
) -> None:
    """With a rollback journal SQLite gives its locks back after the commit, and that may fail."""

    def scenario(directory: str, failing: str) -> list[str]:
        import pytest

        cache = diskcache.Cache(directory, sqlite_journal_mode='delete', timeout=1)
        cache['old'] = bytes(50_000)
        open(failing, 'w').close()
        with pytest.raises(sqlite3.OperationalError):
            cache['new'] = bytes(50_001)
        with pytest.raises(sqlite3.OperationalError):
            cache['old'] = bytes(50_002)
        os.remove(failing)
        assert cache.get('new') in (None, bytes(50_001))
        assert cache['old'] in (bytes(50_000), bytes(50_002))
        found = [str(warning.message) for warning in cache.check()]
        cache['new'] = 1
        return found

    failing = str(tmp_path / 'failing')
    for name, value in preload('failing_unlock.c').items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv('FAILING_UNLOCK_WHILE', failing)
    with start_interpreter() as interpreter:
        found = interpreter.run(scenario, directory=directory, failing=failing)
    assert [text for text in found if not text.startswith('unknown file')] == []
