"""Caches that nothing may be written to: because that was asked for, or cannot be done.

Other users are real ones, and file systems are mounted in a process of the test's own.
"""

from __future__ import annotations

import contextlib
import io
import os
import pickle
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import mounts
import pytest
from interpreter import Interpreter

import diskcache
from diskcache import Cache, Deque, FanoutCache, Index

LARGE = b'x' * 100_000
READONLY = 8  # SQLITE_READONLY

needs_root = pytest.mark.skipif(
    os.name != 'posix' or os.geteuid() != 0, reason='only root can become another user'
)
needs_mounts = pytest.mark.skipif(
    os.name != 'posix' or os.geteuid() != 0 or not mounts.can_mount(),
    reason='this process may not mount anything',
)


def fill(directory: str, **settings: Any) -> None:
    """Make a cache with items of all kinds."""
    with Cache(directory, **settings) as cache:
        cache['small'] = 'value'
        cache['large'] = LARGE
        cache.set('tagged', 1, tag='tag', expire=10_000)
        cache.push('pushed')


def state_of(directory: str) -> dict[str, tuple[int, int, int]]:
    """Return what changes when anything is written in a directory."""
    found = {}
    for parent, directories, files in os.walk(directory):
        for name in ('', *directories, *files):
            path = os.path.join(parent, name)
            status = os.stat(path)
            found[path] = status.st_ino, status.st_size, status.st_mtime_ns
    return found


# It is asked for.

READS: dict[str, Callable[[Cache], object]] = {
    'get': lambda cache: (cache.get('small'), cache.get('large'), cache.get('missing')),
    'details': lambda cache: cache.get('tagged', tag=True),
    'read': lambda cache: cache.read('large').read(),
    'in': lambda cache: ('small' in cache, 'missing' in cache),
    'get_many': lambda cache: cache.get_many(['small', 'large', 'missing']),
    'iteration': lambda cache: (list(cache), list(reversed(cache)), list(cache.iterkeys())),
    'items': lambda cache: dict(cache),
    'ends': lambda cache: (cache.peek(), cache.peekitem(), cache.peekitem(last=False)),
    'figures': lambda cache: (len(cache), cache.volume() > 0, cache.size, cache.count),
    'stats': lambda cache: cache.stats(),
    'check': lambda cache: cache.check(),
    'reset': lambda cache: cache.reset('size_limit'),
    'sql': lambda cache: cache._sql('SELECT count(*) FROM Cache').fetchall(),
}


@pytest.mark.parametrize(
    'settings',
    [
        {},
        {'eviction_policy': 'least-recently-used', 'statistics': 1},
        {'eviction_policy': 'least-frequently-used', 'statistics': 1},
        {'sqlite_journal_mode': 'delete'},
    ],
    ids=['default', 'LRU', 'LFU', 'rollback journal'],
)
def test_reading_writes_nothing_not_even_a_lock_file(directory: str, settings: dict) -> None:
    fill(directory, **settings)
    with Cache(directory) as cache:
        expected = {name: read(cache) for name, read in READS.items() if name != 'stats'}
    before = state_of(directory)
    with Cache(directory, read_only=True) as cache:
        assert cache.read_only
        for name, read in READS.items():
            result = read(cache)
            assert name == 'stats' or result == expected[name], name
            assert state_of(directory) == before, name
        # Lookups that would be counted have been kept for a while, elsewhere.
        cache.close()
        assert state_of(directory) == before
    assert state_of(directory) == before


@pytest.mark.parametrize('memory_limit', [0, 2**20])
def test_ends_that_would_be_deleted_are_passed_over(
    directory: str, other: Interpreter, memory_limit: int
) -> None:
    """They have expired, or their file is gone; looking at an end needs no right to write.

    What is behind them is no end to be remembered: another may put an item between.
    """
    with Cache(directory, cull_limit=0) as cache:  # or a push would remove the expired
        for value in ('front', LARGE, 'living', 'last', LARGE, 'back'):
            cache.push(value, expire=None if value in (LARGE, 'living', 'last') else -1)
        for path in Path(directory).glob('*/*/*.val'):
            path.unlink()
        keys = list(cache)
    before = state_of(directory)
    with Cache(directory, read_only=True, memory_limit=memory_limit) as cache:
        deque = Deque.fromcache(cache)
        index = Index.fromcache(cache)
        for _ in range(3):
            assert cache.peek() == (keys[2], 'living')
            assert cache.peek(side='back') == (keys[3], 'last')
            assert cache.peekitem(last=False) == (keys[2], 'living')
            assert cache.peekitem() == index.peekitem() == (keys[3], 'last')
            assert (deque.peekleft(), deque.peek()) == ('living', 'last')
            assert (deque[0], deque[1], deque[2], deque[-1]) == ('living',) * 3 + ('last',)
            assert list(cache) == keys
        assert state_of(directory) == before

        script = "diskcache.Cache(directory).push('new', side=side)"
        for side in ('front', 'back'):
            other.run(f'import diskcache; {script}', directory=directory, side=side)
            assert cache.peek(side=side)[1] == 'new'
        before = state_of(directory)
        other.run('import diskcache; diskcache.Cache(directory).clear()', directory=directory)
        assert cache.peek() == (None, None)
        with pytest.raises(KeyError):
            cache.peekitem()
        with pytest.raises(IndexError):
            deque.peek()


WRITES: dict[str, Callable[[Cache], object]] = {
    'set': lambda cache: cache.set('small', 'new'),
    'set of a large value': lambda cache: cache.set('large', bytes(200_000)),
    'set from a file': lambda cache: cache.set('large', io.BytesIO(LARGE), read=True),
    '[]=': lambda cache: cache.__setitem__('small', 'new'),
    'add': lambda cache: cache.add('new', bytes(200_000)),
    'incr': lambda cache: cache.incr('tagged'),
    'touch': lambda cache: cache.touch('tagged', 5),
    'delete': lambda cache: cache.delete('small'),
    'delete of a missing key': lambda cache: cache.delete('missing'),
    'pop': lambda cache: cache.pop('small'),
    'push': lambda cache: cache.push(bytes(200_000)),
    'pull': lambda cache: cache.pull(),
    'set_many': lambda cache: cache.set_many({'new': bytes(200_000)}),
    'delete_many': lambda cache: cache.delete_many(['small']),
    'clear': lambda cache: cache.clear(),
    'evict': lambda cache: cache.evict('tag'),
    'expire': lambda cache: cache.expire(),
    'cull': lambda cache: cache.cull(),
    'reset': lambda cache: cache.reset('size_limit', 5),
    'stats': lambda cache: cache.stats(reset=True),
    'check': lambda cache: cache.check(fix=True),
    'compact': lambda cache: cache.compact(),
    'create_tag_index': lambda cache: cache.create_tag_index(),
    'drop_tag_index': lambda cache: cache.drop_tag_index(),
    'in a transaction': lambda cache: in_transaction(cache),
    'retry': lambda cache: cache.set('small', 'new', retry=True),
}


def in_transaction(cache: Cache) -> None:
    """Write in a transaction, after a read there."""
    with cache.transact():
        assert cache['small'] == 'value'
        cache['small'] = 'new'


@pytest.mark.parametrize('write', WRITES.values(), ids=WRITES.keys())
def test_a_write_is_an_error_that_names_the_directory(directory: str, write: Callable) -> None:
    """The one of SQLite, which programs may be waiting for; and no value file is left behind."""
    fill(directory)
    before = state_of(directory)
    with Cache(directory, read_only=True) as cache:
        with pytest.raises(sqlite3.OperationalError) as raised:
            write(cache)
        assert str(raised.value).startswith('attempt to write a readonly database')
        assert directory in str(raised.value)
        assert raised.value.sqlite_errorcode == READONLY
        assert raised.value.sqlite_errorname == 'SQLITE_READONLY'
        assert cache['small'] == 'value'
        assert cache['large'] == LARGE
        assert cache.size_limit == 2**30
    assert state_of(directory) == before


def test_a_transaction_reads_one_state(directory: str, other: Interpreter) -> None:
    fill(directory)
    with Cache(directory) as writer, Cache(directory, read_only=True, memory_limit=0) as cache:
        writer['small'] = 'other'
        with cache.transact():
            assert cache['small'] == 'other'
            writer['small'] = 'another'
            assert cache['small'] == 'other'
            with cache.transact():
                assert cache.get_many(['small']) == {'small': 'other'}
        assert cache['small'] == 'another'


def test_what_others_write_is_seen(directory: str, other: Interpreter) -> None:
    """While they have it open SQLite tells; and after that the file is not what it was."""
    fill(directory)
    script = """
    with Cache(directory) as cache:
        cache['small'] = turn
        cache['large'] = bytes([turn]) * 100_000
    """
    with Cache(directory, read_only=True) as cache:
        for turn in range(10):
            other.run(script, directory=directory, turn=turn)
            assert cache['small'] == turn
            assert cache['large'] == bytes([turn]) * 100_000
            assert 'cache.db-wal' not in os.listdir(directory)
            with Cache(directory) as writer:
                writer['small'] = 'open'
                assert cache['small'] == 'open'
                writer['small'] = 'still open'
                assert cache['small'] == 'still open'
                cache.close()


def test_no_read_is_torn_or_stale_while_another_opens_writes_and_closes(
    directory: str, alone: Interpreter, other: Interpreter, tmp_path: Path
) -> None:
    """It checkpoints when it closes, into pages that somebody may be reading without a lock."""
    with Cache(directory) as cache:
        cache.set_many(dict.fromkeys(range(300), 0))
    script = """
    turn = 0
    while turn < 39 or not os.path.exists(enough) and turn < 2000:
        turn += 1
        with Cache(directory) as cache:
            with cache.transact():
                for key in range(300):
                    cache[key] = turn
    turn
    """
    enough = tmp_path / 'enough'
    other.start(script, directory=directory, enough=str(enough))
    seen = [0]
    with Cache(directory, read_only=True, memory_limit=0) as cache:
        while not other.has_answered():
            values = cache.get_many(range(300))
            assert len(values) == 300
            assert len(set(values.values())) == 1
            assert values[0] >= seen[-1]
            seen.append(values[0])
            if len(set(seen)) > 3:
                enough.touch()
            cache.close()  # Else SQLite keeps the log, once it is there, and tells of commits.
        assert cache[0] == other.result()
    assert len(set(seen)) > 3


def test_a_directory_without_a_cache_is_an_error_and_stays_as_it_is(directory: str) -> None:
    for kind in (Cache, FanoutCache):
        with pytest.raises(sqlite3.OperationalError, match='is not there, and read_only is true'):
            kind(directory, read_only=True)
    assert not os.path.exists(directory)
    os.mkdir(directory)
    with pytest.raises(sqlite3.OperationalError, match=directory):
        Cache(directory, read_only=True)
    assert os.listdir(directory) == []
    Path(directory, 'cache.db').touch()
    with pytest.raises(sqlite3.DatabaseError, match='is not a diskcache database'):
        Cache(directory, read_only=True)
    assert os.listdir(directory) == ['cache.db']


def test_settings_that_are_given_hold_for_the_object_alone(directory: str) -> None:
    fill(directory)
    with Cache(directory, read_only=True, size_limit=5, sqlite_cache_size=100) as cache:
        assert cache.size_limit == 5
        assert cache['small'] == 'value'
    with Cache(directory) as cache:
        assert cache.size_limit == 2**30


def leave_log(directory: str) -> None:
    """End a process that has committed and not checkpointed, as a crash does."""
    script = """
    import os, sys, diskcache
    cache = diskcache.Cache(sys.argv[1])
    cache['small'] = 'in the log'
    os.kill(os.getpid(), 9)
    """
    script = '\n'.join(line.strip() for line in script.splitlines())
    subprocess.run([sys.executable, '-c', script, directory], check=False)
    assert os.path.getsize(f'{directory}/cache.db-wal') > 0


def test_commits_that_a_crash_has_left_in_the_log_are_read(directory: str) -> None:
    """With the wal-index that is there, without writing to it; without it there is no telling."""
    fill(directory)
    leave_log(directory)
    before = state_of(directory)
    with Cache(directory, read_only=True) as cache:
        assert cache['small'] == 'in the log'
        assert cache['large'] == LARGE
    assert state_of(directory) == before
    os.remove(f'{directory}/cache.db-shm')
    before = state_of(directory)
    with pytest.raises(sqlite3.OperationalError, match='-wal has commits'):
        Cache(directory, read_only=True)
    assert state_of(directory) == before
    Cache(directory).close()
    with Cache(directory, read_only=True) as cache:
        assert cache['small'] == 'in the log'


def test_another_database_in_the_place_of_the_first_is_read(directory: str, tmp_path: Path) -> None:
    """A deployment replaces the directory under the program."""
    fill(directory)
    with Cache(tmp_path / 'next') as cache:
        cache['small'] = 'next'
    with Cache(directory, read_only=True, memory_limit=0) as cache:
        assert cache['small'] == 'value'
        os.replace(directory, tmp_path / 'former')
        os.replace(tmp_path / 'next', directory)
        assert cache['small'] == 'next'
        shutil.rmtree(directory)
        with pytest.raises(sqlite3.OperationalError):
            cache['small']
        assert not os.path.exists(directory)


def test_layers_read_too(directory: str) -> None:
    with FanoutCache(directory, shards=2) as cache:
        cache['key'] = 'value'
        cache['large'] = LARGE
        cache.deque('d').extend('abc')
        cache.index('i').update(a=1, b=2)
        cache.cache('c')['key'] = 'named'
    before = state_of(directory)
    with FanoutCache(directory, shards=2, read_only=True) as cache:
        assert cache.read_only
        assert (cache['key'], cache.get('large'), len(cache)) == ('value', LARGE, 2)
        assert sorted(cache) == ['key', 'large']
        assert cache.stats() == (0, 0)
        assert cache.check() == []
        with cache.transact():
            assert cache.get_many(['key']) == {'key': 'value'}
        assert cache.cache('c')['key'] == 'named'
        deque = cache.deque('d')
        assert (list(deque), deque[1], deque[-1], deque.peek()) == (['a', 'b', 'c'], 'b', 'c', 'c')
        assert deque == ['a', 'b', 'c']
        index = cache.index('i')
        assert (dict(index), index.peekitem(), list(index.values())) == (
            {'a': 1, 'b': 2},
            ('b', 2),
            [1, 2],
        )
        for write in (
            lambda: cache.set('key', 1),
            lambda: cache.clear(),
            lambda: deque.append(1),
            lambda: deque.rotate(),
            lambda: index.update(c=3),
            lambda: index.popitem(),
            lambda: cache.cache('other'),
        ):
            with pytest.raises(sqlite3.OperationalError, match=directory):
                write()
        assert state_of(directory) == before
        for original in (cache, deque, index, cache._shards[0]):
            copy = pickle.loads(pickle.dumps(original))
            inner = getattr(copy, 'cache', copy)
            assert (inner if isinstance(copy, Deque | Index) else copy).read_only
    assert state_of(directory) == before


def test_memoized_functions_compute_what_is_not_there(directory: str) -> None:
    """A program that is shipped with results must not fail at the first new argument."""
    calls = []

    def double(number: int) -> int:
        calls.append(number)
        return 2 * number

    with Cache(directory) as cache:
        cache.memoize(name='d')(double)(1)
        diskcache.memoize_stampede(cache, expire=1000, name='s')(double)(1)
    with Cache(directory, read_only=True) as cache:
        calls.clear()
        for function in (
            cache.memoize(name='d')(double),
            diskcache.memoize_stampede(cache, expire=1000, name='s')(double),
        ):
            assert [function(1), function(2), function(2)] == [2, 4, 4]
        assert calls == [2, 2, 2, 2]


def test_wrong_arguments_are_refused(directory: str) -> None:
    for kind in (Cache, FanoutCache):
        with pytest.raises(TypeError, match='read_only'):
            kind(directory, read_only='yes')
    with Cache(directory, read_only=False) as cache:
        assert not cache.read_only
        assert 'read_only' not in [name for (name,) in cache._sql('SELECT key FROM Settings')]


def test_an_image_is_read_by_the_original_as_before(directory: str, original: Interpreter) -> None:
    fill(directory)
    with Cache(directory, read_only=True) as cache:
        assert cache['small'] == 'value'
    assert original.run("Cache(directory)['small']", directory=directory) == 'value'


# The directory cannot be written.


PRELOAD = """
import diskcache.check, logs, tempfile
try:
    import django.core.cache.backends.base, diskcache.djangocache
except ImportError:
    pass
"""


@pytest.fixture
def stranger(alone: Interpreter) -> Interpreter:
    """A process of another user, who may read what all may read."""
    alone.run(PRELOAD)  # The interpreter may be where others cannot read.
    alone.run('os.setgroups([]); os.setgid(65534); os.setuid(65534)')
    return alone


LISTEN = """
import logs
messages = logs.listen()
"""


@needs_root
def test_a_directory_that_cannot_be_written_is_read(
    stranger: Interpreter, public_directory: str
) -> None:
    """As one that is shipped with a program, and belongs to root."""
    directory = public_directory
    fill_for_all(directory)
    before = state_of(directory)
    script = (
        LISTEN
        + """
caches = [Cache(directory) for _ in range(2)]
result = [cache['small'] for cache in caches], caches[0]['large'] == b'x' * 100_000
try:
    caches[0]['small'] = 'new'
except sqlite3.OperationalError as error:
    written = str(error), error.sqlite_errorcode, error.__notes__
[cache.close() for cache in caches]
result, caches[0].read_only, written, messages
"""
    )
    values, read_only, (text, code, notes), messages = stranger.run(script, directory=directory)
    assert values == (['value', 'value'], True)
    assert read_only
    assert text.startswith('attempt to write a readonly database')
    assert directory in text
    assert code == READONLY
    assert notes == [
        f'diskcache: the database is {directory}/cache.db, which this process may not write'
    ]
    (message,) = messages
    assert message.startswith(directory)
    assert 'read-only' in message
    assert state_of(directory) == before


def fill_for_all(directory: str, **settings: Any) -> None:
    """Make a cache that all users can read."""
    os.mkdir(directory)
    os.chmod(directory, 0o755)
    fill(directory, **settings)


@needs_root
def test_another_user_reads_beside_a_live_writer(
    stranger: Interpreter, public_directory: str
) -> None:
    """SQLite tells it of commits through a wal-index that it can only read."""
    directory = public_directory
    fill_for_all(directory)
    with Cache(directory) as writer:
        writer['small'] = 'first'
        opening = "cache = Cache(directory); globals()['cache'] = cache; cache['small']"
        assert stranger.run(opening, directory=directory) == 'first'
        again = opening.replace('cache = Cache(directory)', 'cache = Cache(directory, timeout=5)')
        for turn in range(20):
            writer['small'] = turn
            writer['large'] = bytes([turn]) * 100_000
            assert stranger.run(again, directory=directory) == turn
            answer = stranger.run("Cache(directory)['large'][:1]", directory=directory)
            assert answer == bytes([turn])
        for name in os.listdir(directory):
            assert os.stat(os.path.join(directory, name)).st_uid == 0
    assert stranger.run("Cache(directory)['small']", directory=directory) == 19


@needs_root
def test_another_user_follows_a_writer_that_comes_and_goes(
    stranger: Interpreter, public_directory: str, other: Interpreter
) -> None:
    directory = public_directory
    fill_for_all(directory)
    script = """
    with Cache(directory) as cache:
        cache['small'] = turn
    """
    follow = """
    import time
    cache = Cache(directory)
    seen = []
    deadline = time.monotonic() + 40
    while seen[-1:] != [29] and time.monotonic() < deadline:
        value = cache['small']
        if value not in seen[-1:]:
            seen.append(value)
    seen
    """
    stranger.start(follow, directory=directory)
    for turn in range(30):
        other.run(script, directory=directory, turn=turn)
    seen = stranger.result()
    numbers = [value for value in seen if value != 'value']
    assert numbers == sorted(numbers)
    assert numbers[-1] == 29


@needs_root
def test_another_user_reads_what_a_crash_has_left_in_the_log(
    stranger: Interpreter, public_directory: str
) -> None:
    directory = public_directory
    fill_for_all(directory)
    leave_log(directory)
    before = state_of(directory)
    assert stranger.run("Cache(directory)['small']", directory=directory) == 'in the log'
    assert state_of(directory) == before


@needs_root
def test_a_group_reads_what_its_mode_lets_it(alone: Interpreter, public_directory: str) -> None:
    directory = public_directory
    with Cache(directory, mode=0o2750) as cache:
        os.chown(directory, 0, 54321)
    os.remove(f'{directory}/cache.db')
    fill(directory)
    alone.run(PRELOAD)
    alone.run('os.setgroups([54321]); os.setgid(65534); os.setuid(65534)')
    with Cache(directory) as cache:
        cache['small'] = 'live'
        script = "cache = Cache(directory); [cache['small'], len(cache['large'])]"
        assert alone.run(script, directory=directory) == ['live', 100_000]
    assert alone.run(script, directory=directory) == ['live', 100_000]


@needs_root
def test_layers_in_a_directory_that_cannot_be_written(
    stranger: Interpreter, public_directory: str
) -> None:
    """One message tells of all shards."""
    directory = public_directory
    for path in (directory, *(f'{directory}/{name}' for name in ('000', '001', 'deque'))):
        os.mkdir(path)
        os.chmod(path, 0o755)
    for path in (f'{directory}/deque/d',):
        os.mkdir(path)
        os.chmod(path, 0o755)
    with FanoutCache(directory, shards=2, statistics=1) as cache:
        cache.set_many({number: number for number in range(10)})
        cache.deque('d').extend('abc')
    before = state_of(directory)
    script = (
        LISTEN
        + """
from diskcache import FanoutCache, Deque
cache = FanoutCache(directory, shards=2)
result = sorted(cache.items()), cache[3], cache.read_only
deque = Deque(directory=directory + '/deque/d')
result += (list(deque), deque[1])
cache.close()
result, [text.partition(':')[0] for text in messages]
"""
    )
    result, places = stranger.run(script, directory=directory)
    assert result == ([(n, n) for n in range(10)], 3, True, ['a', 'b', 'c'], 'b')
    assert places == [directory, f'{directory}/deque/d']
    assert state_of(directory) == before


@needs_root
def test_a_directory_without_a_cache_that_cannot_be_written_is_an_error(
    stranger: Interpreter, public_directory: str
) -> None:
    directory = public_directory
    os.mkdir(directory)
    os.chmod(directory, 0o755)
    script = """
    try:
        Cache(directory)
    except sqlite3.OperationalError as error:
        answer = str(error)
    answer
    """
    assert f'{directory}/cache.db is not there' in stranger.run(script, directory=directory)


@needs_root
def test_a_site_reads_a_cache_that_it_cannot_write(
    stranger: Interpreter, public_directory: str
) -> None:
    directory = public_directory
    pytest.importorskip('django')
    for path in (directory, *(f'{directory}/{number:03d}' for number in range(8))):
        os.mkdir(path)
        os.chmod(path, 0o755)
    with FanoutCache(directory) as cache:
        cache[':1:key'] = 'value'
    script = """
    from django.conf import settings
    settings.configure(CACHES={'default': {'BACKEND': 'diskcache.DjangoCache',
                                           'LOCATION': directory, 'OPTIONS': options}})
    from django.core.cache import cache
    found = cache.get('key'), cache.get('missing', 5)
    try:
        cache.set('key', 1)
    except sqlite3.OperationalError as error:
        refused = str(error)
    double = cache.memoize()(lambda number: 2 * number)
    found, refused, double(2)
    """
    found, refused, computed = stranger.run(script, directory=directory, options={})
    assert found == ('value', 5)
    assert 'readonly' in refused
    assert computed == 4


# File systems on which nobody can write.

READ = """
cache = Cache(target)
result = cache['small'], len(cache['large']), len(cache), cache.read_only
try:
    cache['large'] = bytes(100_000)
except sqlite3.OperationalError as error:
    result += (str(error),)
cache.close()
result
"""


def assert_read(result: tuple, small: str = 'value') -> None:
    """Assert what READ returns."""
    assert result[:4] == (small, 100_000, 4, True)
    assert 'readonly' in result[4]


@needs_mounts
@pytest.mark.skipif(not mounts.has_squashfs(), reason='no mksquashfs here, or no squashfs')
@pytest.mark.parametrize('journal', ['wal', 'delete'])
def test_an_image_is_read(alone: Interpreter, directory: str, tmp_path: Path, journal: str) -> None:
    fill(directory, sqlite_journal_mode=journal)
    script = (
        f'import mounts; mounts.own_mounts(); mounts.mount_squashfs(source, image, target){READ}'
    )
    paths = {'source': directory, 'image': f'{tmp_path}/image', 'target': f'{tmp_path}/target'}
    assert_read(alone.run(script, **paths))


@needs_mounts
@pytest.mark.skipif(not mounts.has_squashfs(), reason='no mksquashfs here, or no squashfs')
def test_an_image_of_what_a_crash_has_left_is_read_with_its_log(
    alone: Interpreter, directory: str, tmp_path: Path
) -> None:
    fill(directory)
    leave_log(directory)
    script = (
        f'import mounts; mounts.own_mounts(); mounts.mount_squashfs(source, image, target){READ}'
    )
    paths = {'source': directory, 'image': f'{tmp_path}/image', 'target': f'{tmp_path}/target'}
    assert_read(alone.run(script, **paths), 'in the log')


@needs_mounts
def test_a_directory_that_others_write_through_another_mount_is_read(
    alone: Interpreter, directory: str, tmp_path: Path
) -> None:
    """As a volume of two containers: read-only here says nothing about the other place."""
    fill(directory)
    script = f'import mounts; mounts.own_mounts(); mounts.bind_read_only(source, target){READ}'
    paths = {'source': directory, 'target': f'{tmp_path}/target'}
    assert_read(alone.run(script, **paths))
    with Cache(directory) as writer:
        writer['small'] = 'live'
        assert_read(alone.run(READ, **paths), 'live')
        writer['small'] = 'again'
        assert_read(alone.run(READ, **paths), 'again')
    assert_read(alone.run(READ, **paths), 'again')


@needs_mounts
def test_a_file_system_that_becomes_writable_again_is_followed(
    alone: Interpreter, tmp_path: Path
) -> None:
    def scenario(target: str) -> list:
        import mounts

        mounts.own_mounts()
        mounts.mount_memory(target)
        directory = f'{target}/cache'
        with diskcache.Cache(directory) as cache:
            cache['key'] = 'first'
        mounts.make_read_only(target)
        cache = diskcache.Cache(directory)
        found = [cache.read_only, cache['key']]
        mounts.mount('none', target, 'none', mounts._MS_REMOUNT)
        with diskcache.Cache(directory) as writer:
            writer['key'] = 'second'
            found.append(cache['key'])
        found.append(cache['key'])
        return found

    answer = alone.run(scenario, target=str(tmp_path / 'memory'))
    assert answer == [True, 'first', 'second', 'second']


def test_nothing_is_left_open(directory: str) -> None:
    fill(directory)
    with contextlib.suppress(FileNotFoundError):
        before = len(os.listdir('/proc/self/fd'))
        for _ in range(3):
            with Cache(directory, read_only=True) as cache:
                assert cache['large'] == LARGE
        assert len(os.listdir('/proc/self/fd')) <= before


@pytest.mark.skipif(not hasattr(os, 'mkfifo'), reason='there are no pipes with names')
def test_a_pipe_in_the_place_of_the_database_is_an_error(directory: str) -> None:
    """To open one for reading waits for somebody who writes."""
    os.mkdir(directory)
    os.mkfifo(f'{directory}/cache.db')
    opened = subprocess.run(
        [sys.executable, '-c', f'import diskcache; diskcache.Cache({directory!r}, read_only=True)'],
        capture_output=True,
        text=True,
        timeout=30,
    )
    assert 'is no file' in opened.stderr


@pytest.mark.parametrize('made_by', [os.mkdir, lambda path: Cache(path).close()])
def test_a_directory_that_another_is_just_making_can_be_written(
    made_by: Callable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is not there when access to it is asked for, and is there a moment later."""
    path = str(tmp_path / 'new')
    ask = os.access

    def ask_too_early(*args: Any, **options: Any) -> bool:
        answer = ask(*args, **options)
        if not answer:
            monkeypatch.undo()
            made_by(path)
        return answer

    monkeypatch.setattr(os, 'access', ask_too_early)
    with Cache(path) as cache:
        cache['key'] = 'value'
        assert cache['key'] == 'value'
