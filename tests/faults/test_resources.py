"""What a program runs out of: memory, room on the disk, descriptors; and a clock that jumps.

Each is real: SQLite's own limit of memory, a file system of two megabytes, limits of the process,
a directory that may not be written. An operation that cannot be done is an error, a miss or False.
What was stored stays, nothing is left locked, and when there is room again everything works.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from interpreter import Clock, Interpreter

import diskcache

linux = pytest.mark.skipif(sys.platform != 'linux', reason='needs Linux')


# --- memory ---


@pytest.mark.slow
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


# --- room, descriptors, rights ---


def exercise(directory: str, want: str) -> list[str]:
    """Do everything while something is wanting, and then when it is there again."""
    import ctypes
    import resource

    # While the files of the interpreter can be read:
    import diskcache.check
    import diskcache.pickle_walker

    large = bytes(50_000)
    unmounted = 'cannot mount a file system'
    soft_files, hard_files = resource.getrlimit(resource.RLIMIT_NOFILE)
    soft_size, hard_size = resource.getrlimit(resource.RLIMIT_FSIZE)
    away = f'{directory}-away'
    os.makedirs(directory, exist_ok=True)

    def mount(options: str) -> bool:
        libc = ctypes.CDLL(None)
        private = 1 << 14 | 1 << 18  # MS_REC, MS_PRIVATE
        return (
            libc.unshare(0x20000) == 0  # CLONE_NEWNS
            and libc.mount(b'none', b'/', b'none', private, None) == 0
            and libc.mount(b'tmpfs', directory.encode(), b'tmpfs', 0, options.encode()) == 0
        )

    def fill(path: str) -> None:
        with open(path, 'wb', buffering=0) as file:
            for size in (4096, 1):
                with contextlib.suppress(OSError):
                    while file.write(bytes(size)):
                        pass

    def let_nobody_in() -> None:
        for path in (directory, os.path.dirname(directory)):
            os.chmod(path, 0o555)
        for each, _, files in os.walk(directory):
            for name in files:
                os.chmod(os.path.join(each, name), 0o666)
        parent = os.path.dirname(os.path.dirname(directory))
        while parent != '/':
            os.chmod(parent, os.stat(parent).st_mode | 0o055)
            parent = os.path.dirname(parent)
        os.seteuid(65534)

    def begin() -> None:
        if want == 'room':
            fill(f'{directory}/cache.db-filler')
        elif want == 'files of any size':
            resource.setrlimit(resource.RLIMIT_FSIZE, (40_000, hard_size))
        elif want == 'descriptors':
            lowest_free = os.dup(0)
            os.close(lowest_free)
            resource.setrlimit(resource.RLIMIT_NOFILE, (lowest_free, hard_files))
        elif want == 'rights':
            let_nobody_in()
        elif want == 'the directory':
            os.rename(directory, away)
            os.makedirs(os.path.dirname(directory), exist_ok=True)
            open(directory, 'w').close()

    def end() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft_size, hard_size))
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft_files, hard_files))
        if want == 'room':
            os.remove(f'{directory}/cache.db-filler')
        elif want == 'rights':
            os.seteuid(0)
            os.chmod(directory, 0o700)
        elif want == 'the directory':
            os.remove(directory)
            os.rename(away, directory)

    if want == 'room' and not mount('size=2m'):
        return [unmounted]
    if want == 'rights' and os.getuid() != 0:
        return [unmounted]
    values = {'small': 1, 'text': 'x' * 900, 'large': large, 'list': [large], 'taken': 'value'}
    steps = {
        'get': lambda cache: cache.get('small'),
        'get a file': lambda cache: cache.get('large'),
        'set': lambda cache: cache.set('small', 1),
        'set a file': lambda cache: cache.set('large', large),
        'set a new file': lambda cache: cache.set('new', large),
        'set over a file': lambda cache: cache.set('list', [large]),
        'set much': lambda cache: [cache.set(('many', n), 'y' * 3000) for n in range(30)],
        'add': lambda cache: cache.add('added', large),
        'incr': lambda cache: cache.incr('number'),
        'touch': lambda cache: cache.touch('text', 1000),
        'push': lambda cache: cache.push('pushed', prefix='queue'),
        'pull': lambda cache: cache.pull(prefix='queue'),
        'pop': lambda cache: cache.pop('popped'),
        'delete': lambda cache: cache.delete('added'),
        'set_many': lambda cache: cache.set_many(dict.fromkeys(range(5), large)),
        'get_many': lambda cache: cache.get_many([1, 'small', 'large']),
        'iterate': lambda cache: list(cache),
        'expire': lambda cache: cache.expire(),
        'evict': lambda cache: cache.evict('tag'),
        'volume': lambda cache: cache.volume(),
        'reset': lambda cache: cache.reset('cull_limit', 5),
        'check': lambda cache: cache.check(fix=True),
        'another': lambda cache: diskcache.Cache(directory, timeout=1).get('text'),
        'close': lambda cache: cache.close(),
        'get again': lambda cache: cache.get('text'),
    }
    cache = diskcache.Cache(directory, timeout=1, eviction_policy='least-recently-used')
    for key, value in values.items():
        cache[key] = value
    failed = []
    begin()
    try:
        for name, step in steps.items():
            try:
                step(cache)
            except (sqlite3.Error, OSError, diskcache.Timeout) as error:
                failed.append(f'{name}: {type(error).__name__}')
    finally:
        end()
    with contextlib.closing(sqlite3.connect(f'{directory}/cache.db', timeout=1)) as con:
        con.execute('BEGIN IMMEDIATE')
        con.execute('ROLLBACK')
    for key, value in values.items():
        assert cache[key] == value, key
    found = [str(warning.message) for warning in cache.check()]
    assert [text for text in found if not text.startswith(('unknown file', 'empty dir'))] == []
    for step in steps.values():
        step(cache)
    assert cache.set('new', large)
    assert cache['new'] == large
    return failed


@linux
@pytest.mark.parametrize(
    'want', ['room', 'files of any size', 'descriptors', 'rights', 'the directory']
)
def test_what_is_wanting_is_an_error_and_nothing_is_lost(
    alone: Interpreter, directory: str, want: str
) -> None:
    failed = alone.run(exercise, directory=f'{directory}/cache', want=want)
    if 'cannot mount a file system' in failed:
        pytest.skip('this needs root')
    assert failed != []


# --- the clock ---

YEAR = 365 * 24 * 3600.0
JUMPS = [YEAR, -YEAR, 40 * YEAR, -60 * YEAR, 1e11, 0.5, -3600.0]


@pytest.mark.parametrize('jump', JUMPS)
def test_items_live_by_the_clock_as_it_is(
    cache: diskcache.Cache, clock: Clock, jump: float
) -> None:
    """An item is there as long as the clock says that it is; one that never expires always."""
    cache.set('forever', 1)
    cache.set('minute', 2, expire=60)
    cache.set_many({'a': 3, 'b': bytes(50_000)}, expire=60)
    for _ in range(3):
        clock.tick(jump)
        gone = jump > 60
        assert cache['forever'] == 1
        assert cache.get('minute', 'gone') == ('gone' if gone else 2)
        assert cache.get_many(['a', 'b']) == ({} if gone else {'a': 3, 'b': bytes(50_000)})
        assert cache.touch('forever')
        clock.tick(-jump)
        assert cache.get('minute') == 2
    clock.tick(jump)
    assert cache.expire() == (3 if gone else 0)
    assert cache.set('minute', 4, expire=60)
    assert cache['minute'] == 4
    clock.tick(61)
    assert cache.get('minute') is None
    assert cache['forever'] == 1
    cache.cull()
    assert cache.check() == []


@pytest.mark.parametrize('policy', ['least-recently-stored', 'least-recently-used'])
@pytest.mark.parametrize('jump', JUMPS)
def test_eviction_keeps_to_its_limit_whatever_the_clock_does(
    directory: str, clock: Clock, policy: str, jump: float
) -> None:
    """Of what is of another time too much or too little goes; never what is just written."""
    limit = 200_000
    with diskcache.Cache(directory, size_limit=limit, eviction_policy=policy) as cache:
        for number in range(600):
            if number % 100 == 50:
                clock.tick(jump if number % 200 == 50 else -jump)
            clock.tick(0.01)
            cache[number] = bytes(1000)
            assert cache[number] == bytes(1000)
            cache.get(number - 30)
        assert cache.volume() < limit + 10_000
        assert len(cache) > 50
        assert cache.check() == []


# --- the wal-index of a live process ---


@linux
@pytest.mark.parametrize('memory_limit', [0, 2**20])
@pytest.mark.parametrize('content', ['zeros', 'noise', 'another file'])
def test_a_wal_index_that_somebody_overwrites_is_made_anew(
    alone: Interpreter, directory: str, content: str, memory_limit: int
) -> None:
    """SQLite has a checksum of its head only: see docs/debugging.rst for what else may happen."""

    def scenario(directory: str, content: str, memory_limit: int) -> None:
        import random

        cache = diskcache.Cache(directory, memory_limit=memory_limit)
        for turn in range(5):
            cache.set_many({n: (turn, n) for n in range(100)})
            cache['large'] = bytes(40_000 + turn)
            path = f'{directory}/cache.db-shm'
            size = os.path.getsize(path)
            if content == 'another file':
                os.remove(path)
                open(path, 'wb').close()
                os.truncate(path, size)
            else:
                with open(path, 'r+b') as file:
                    file.write(
                        bytes(size) if content == 'zeros' else random.Random(turn).randbytes(size)
                    )
            assert cache[5] == (turn, 5)
            cache['new'] = turn
            assert [cache[n] for n in range(100)] == [(turn, n) for n in range(100)]
            assert cache['large'] == bytes(40_000 + turn)
        assert cache.check() == []

    alone.run(scenario, directory=directory, content=content, memory_limit=memory_limit)
