"""The faults of the original that this package does not have; docs/compatibility.rst lists them.

The number in a test's name is that of the fault, for good. Those of the rest of the package
(FanoutCache, Deque, Index, recipes, Django) are elsewhere.
"""

from __future__ import annotations

import asyncio
import math
import os
import sqlite3
import time
import warnings
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from consistency import value_files
from interpreter import Clock, Interpreter, at_once

import diskcache

LARGE = b'x' * 100_000


class Failure(Exception):
    """What the tests raise."""


class Grudging:
    """A value that can be pickled but, while `refuses` is set, not unpickled."""

    refuses = True

    def __reduce__(self) -> tuple:
        return revive, ()


def revive() -> Grudging:
    """Make a Grudging, or refuse to."""
    if Grudging.refuses:
        raise Failure
    return Grudging()


@pytest.fixture
def refusal() -> None:
    """Let Grudging values refuse for the length of a test."""
    Grudging.refuses = True


# 1: values in files and transactions that fail.

CHANGES: dict[str, Callable[[diskcache.Cache], object]] = {
    'set': lambda cache: cache.set('key', LARGE * 2),
    'set to an inline value': lambda cache: cache.set('key', 1),
    'set twice': lambda cache: cache.set('key', LARGE * 2) and cache.set('key', LARGE * 3),
    'set of a new key': lambda cache: cache.set('new', LARGE),
    'add': lambda cache: cache.add('new', LARGE),
    'pop': lambda cache: cache.pop('key'),
    'del': lambda cache: cache.__delitem__('key'),
    'delete and set': lambda cache: cache.delete('key') and cache.set('key', LARGE),
    'push': lambda cache: cache.push(LARGE),
    'pull': lambda cache: cache.pull(),
    'evict': lambda cache: cache.evict('tag'),
    'clear': lambda cache: cache.clear(),
    'expire': lambda cache: cache.expire(time.time() + 10_000),
    'touch': lambda cache: cache.touch('key', 1),
    'incr': lambda cache: cache.incr('count'),
    'cull': lambda cache: cache.cull(),
    'peek of an expired item': lambda cache: cache.peek('expired'),
    'nested': lambda cache: nested_change(cache),
}


def nested_change(cache: diskcache.Cache) -> None:
    """Change `cache` in an inner transaction."""
    with cache.transact():
        cache['key'] = LARGE * 2
        del cache[500000000000000]


@pytest.mark.parametrize('change', CHANGES.values(), ids=CHANGES.keys())
def test_01_a_failed_transaction_leaves_values_in_files_as_they_were(
    cache: diskcache.Cache, assert_intact: Callable, clock: Clock, change: Callable
) -> None:
    cache.set('key', LARGE, expire=1000, tag='tag')
    cache.push(LARGE)
    cache.push(LARGE, prefix='expired', expire=1)
    clock.tick(2)
    rows = cache._sql('SELECT * FROM Cache ORDER BY rowid').fetchall()
    with pytest.raises(Failure), cache.transact():
        change(cache)
        raise Failure
    assert cache._sql('SELECT * FROM Cache ORDER BY rowid').fetchall() == rows
    assert cache['key'] == LARGE
    assert cache.peek() == (500000000000000, LARGE)
    assert_intact(cache)


def test_01_files_are_removed_only_when_the_outermost_transaction_is_over(
    cache: diskcache.Cache, other: Interpreter, assert_intact: Callable
) -> None:
    cache['key'] = LARGE
    read = "len(Cache(directory)['key'])"
    with cache.transact():
        with cache.transact():
            cache['key'] = LARGE * 2
        assert other.run(read, directory=cache.directory) == len(LARGE)
    assert other.run(read, directory=cache.directory) == 2 * len(LARGE)
    assert_intact(cache)


# 2: text.


@pytest.mark.parametrize('line_end', ['\r\n', '\r', '\n', '\r\n\r\r\n\n', '\x0b\x85\u2028'])
@pytest.mark.parametrize('size', [10, 40_000])
def test_02_text_comes_back_exactly(cache: diskcache.Cache, line_end: str, size: int) -> None:
    text = line_end.join('x' * size)
    cache['key'] = text
    assert cache['key'] == text


# 3: NaN.


def test_03_nan_is_a_value(cache: diskcache.Cache) -> None:
    cache['key'] = math.nan
    assert math.isnan(cache['key'])
    assert math.isnan(cache.get('key', 5))
    assert math.isnan(cache.pop('key'))


NAN_KEY_OPERATIONS = {
    'set': lambda cache, key: cache.set(key, 1),
    'add': lambda cache, key: cache.add(key, 1),
    'get': lambda cache, key: cache.get(key),
    'read': lambda cache, key: cache.read(key),
    'subscript': lambda cache, key: cache[key],
    'assignment': lambda cache, key: cache.__setitem__(key, 1),
    'in': lambda cache, key: key in cache,
    'incr': lambda cache, key: cache.incr(key),
    'pop': lambda cache, key: cache.pop(key),
    'delete': lambda cache, key: cache.delete(key),
    'del': lambda cache, key: cache.__delitem__(key),
    'touch': lambda cache, key: cache.touch(key),
}


@pytest.mark.parametrize('operation', NAN_KEY_OPERATIONS.values(), ids=NAN_KEY_OPERATIONS.keys())
def test_03_nan_is_no_key(
    cache: diskcache.Cache, assert_intact: Callable, operation: Callable
) -> None:
    with pytest.raises(ValueError, match='key'):
        operation(cache, math.nan)
    assert len(cache) == 0
    assert_intact(cache)


# 4: values in files that are rewritten by others.


def rewrite(directory: str, times: int) -> None:
    """Set the value of 'key' again and again."""
    with diskcache.Cache(directory) as cache:
        for turn in range(times):
            cache.set('key', bytes([turn % 256]) * 50_000, retry=True)


@pytest.mark.parametrize('policy', ['least-recently-stored', 'least-recently-used'])
def test_04_a_value_is_found_while_another_process_rewrites_it(
    directory: str, alone: Interpreter, policy: str
) -> None:
    with diskcache.Cache(directory, eviction_policy=policy) as cache:
        cache['key'] = bytes(50_000)
        alone.start(rewrite, directory=directory, times=800)
        reads = 0
        while not alone.has_answered():
            value = cache.get('key', retry=True)
            assert value is not None
            assert value == value[:1] * 50_000
            reads += 1
        alone.result()
        assert reads > 0


def test_04_a_value_that_is_gone_is_a_miss(cache: diskcache.Cache) -> None:
    cache['key'] = LARGE
    (name,) = value_files(cache.directory)
    os.remove(os.path.join(cache.directory, name))
    assert cache.get('key', 'default') == 'default'
    with pytest.raises(KeyError):
        cache['key']


# 5: expire.


@pytest.mark.parametrize('count', [99, 100, 101, 250, 1000])
def test_05_expire_removes_all_items_of_one_time(
    cache: diskcache.Cache, clock: Clock, count: int
) -> None:
    with cache.transact():
        for number in range(count):
            cache.set(number, number, expire=1)
    clock.tick(2)
    assert cache.expire() == count
    assert len(cache) == 0


# 6: keys of memoize.


def test_06_the_keys_of_memoize_stay_those_of_the_original(cache: diskcache.Cache) -> None:
    @cache.memoize(name='f')
    def function(a: int, b: object = None, x: object = None) -> None:
        pass

    assert function.__cache_key__(1, x=None) == ('f', 1, None, 'x', None)
    assert function.__cache_key__(1, None, 'x') == ('f', 1, None, 'x', None)
    assert function.__cache_key__(a=1) == ('f', None, 'a', 1)


# 8: items larger than the limit.


@pytest.mark.parametrize('store', ['set', 'add'])
def test_08_an_item_larger_than_the_limit_is_not_kept_and_the_others_stay(
    directory: str, assert_intact: Callable, store: str
) -> None:
    with diskcache.Cache(directory, size_limit=1_000_000) as cache:
        for number in range(10):
            cache[number] = LARGE[:50_000]
        assert getattr(cache, store)('large', b'x' * 2_000_000) is False
        assert 'large' not in cache
        assert list(cache) == list(range(10))
        assert_intact(cache)


def test_08_the_old_value_of_an_item_that_became_too_large_is_gone(
    directory: str, assert_intact: Callable
) -> None:
    with diskcache.Cache(directory, size_limit=1_000_000) as cache:
        cache['key'], cache['other'] = LARGE, LARGE
        assert cache.set('key', b'x' * 2_000_000) is False
        assert cache.get('key') is None
        assert list(cache) == ['other']
        assert_intact(cache)


def test_08_assigning_an_item_larger_than_the_limit_is_no_error(directory: str) -> None:
    with diskcache.Cache(directory, size_limit=1_000_000) as cache:
        cache['key'] = b'x' * 2_000_000
        assert 'key' not in cache


@pytest.mark.parametrize('settings', [{'cull_limit': 0}, {'eviction_policy': 'none'}])
def test_08_without_culling_an_item_of_any_size_is_kept(directory: str, settings: dict) -> None:
    with diskcache.Cache(directory, size_limit=1_000_000, **settings) as cache:
        assert cache.set('key', b'x' * 2_000_000) is True
        assert len(cache['key']) == 2_000_000


# 9: free pages.


def test_09_a_cache_without_auto_vacuum_does_not_empty_itself(directory: str) -> None:
    settings = {'sqlite_auto_vacuum': 0, 'size_limit': 1_000_000}
    with diskcache.Cache(directory, **settings) as cache:
        for number in range(2000):
            cache[number] = 'x' * 1000
        assert len(cache) > 300


# 10: the row just written.


@pytest.mark.parametrize(
    'policy', ['least-frequently-used', 'least-recently-used', 'least-recently-stored']
)
@pytest.mark.parametrize('store', ['set', 'add', 'push', 'incr'])
def test_10_what_was_just_written_is_not_evicted(directory: str, policy: str, store: str) -> None:
    settings = {'size_limit': 200_000, 'disk_min_file_size': 0, 'eviction_policy': policy}
    with diskcache.Cache(directory, **settings) as cache:
        for number in range(30):
            if store == 'incr':
                cache[str(number)] = b'x' * 20_000
                assert cache.incr(number) == 1
                key = number
            elif store == 'push':
                key = cache.push(b'x' * 20_000)
            else:
                key = number
                assert getattr(cache, store)(key, b'x' * 20_000)
            assert key in cache
            for old in list(cache):
                cache.get(old)
        assert len(cache) > 1
        assert cache.volume() < 400_000


# 11: items that cannot be unpickled.


@pytest.mark.parametrize('padding', [0, 40_000], ids=['inline', 'in a file'])
def test_11_an_item_that_cannot_be_unpickled_stays(
    cache: diskcache.Cache, assert_intact: Callable, refusal: None, padding: int
) -> None:
    value = [Grudging(), 'x' * padding]
    cache['key'] = value
    key = cache.push(value, prefix='queue')
    for remove in (lambda: cache.pop('key'), lambda: cache.pull('queue')):
        with pytest.raises(Failure):
            remove()
    assert list(cache) == ['key', key]
    assert_intact(cache)
    Grudging.refuses = False
    assert cache.pop('key')[1] == value[1]
    assert cache.pull('queue')[0] == key
    assert len(cache) == 0
    assert_intact(cache)


def test_11_a_pop_that_fails_inside_a_transaction_leaves_the_rest_of_it(
    cache: diskcache.Cache, refusal: None
) -> None:
    cache['key'] = Grudging()
    with cache.transact():
        cache['before'] = 1
        with pytest.raises(Failure):
            cache.pop('key')
        cache['after'] = 2
    assert list(cache) == ['key', 'before', 'after']


# 12: check, of which test_check.py tells the rest.


def test_12_check_removes_no_file_of_a_set_in_flight(cache: diskcache.Cache) -> None:
    name, _ = cache.disk.filename()
    path = Path(cache.directory, name)
    path.parent.mkdir(parents=True)
    path.write_bytes(b'a value whose row is not written yet')
    cache.check(fix=True)
    assert path.exists()


def test_12_a_set_survives_a_check_in_its_middle(
    cache: diskcache.Cache, other: Interpreter, assert_intact: Callable
) -> None:
    class Reader:
        """A file in the midst of whose reading another process fixes the directory."""

        def __init__(self) -> None:
            self.chunks = [LARGE, LARGE, b'']

        def read(self, size: int = -1) -> bytes:
            other.run('Cache(directory).check(fix=True)', directory=cache.directory)
            return self.chunks.pop(0)

    assert cache.set('key', Reader(), read=True)
    assert cache['key'] == LARGE * 2
    assert_intact(cache)


def test_12_check_reports_although_warnings_are_ignored(cache: diskcache.Cache) -> None:
    Path(cache.directory, 'unknown').touch()
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')
        (warning,) = cache.check()
    assert warning.category is diskcache.UnknownFileWarning


# 13: damaged files.

DAMAGES = {
    'empty': lambda contents: b'',
    'truncated': lambda contents: contents[: len(contents) // 2],
    'one byte short': lambda contents: contents[:-1],
    'too long': lambda contents: contents + b'x',
}


@pytest.mark.parametrize('value', [LARGE, 'x' * 100_000, ['x' * 100_000]], ids=['b', 's', 'p'])
@pytest.mark.parametrize('damage', DAMAGES.values(), ids=DAMAGES.keys())
def test_13_a_file_of_the_wrong_size_is_a_miss_and_reported(
    cache: diskcache.Cache, value: object, damage: Callable
) -> None:
    cache['key'] = value
    (name,) = value_files(cache.directory)
    path = Path(cache.directory, name)
    path.write_bytes(damage(path.read_bytes()))
    assert cache.get('key', 'default') == 'default'
    with pytest.raises(KeyError):
        cache['key']
    assert any('wrong file size' in str(warning.message) for warning in cache.check())
    cache['key'] = value
    assert cache['key'] == value


def test_13_a_truncated_file_is_not_handed_out_as_a_handle(cache: diskcache.Cache) -> None:
    cache['key'] = LARGE
    (name,) = value_files(cache.directory)
    os.truncate(os.path.join(cache.directory, name), 10)
    assert cache.get('key', read=True) is None
    with pytest.raises(KeyError):
        cache.read('key')


# 14: keys of queues.

OWN_KEYS = [7, 1, -5, 0, 10**15, 10**16, 1.5e14, '7', 'a', b'500000000000000', (1,), True]


@pytest.mark.parametrize('key', OWN_KEYS, ids=repr)
def test_14_a_queue_of_integers_leaves_keys_of_users_alone(directory: str, key: object) -> None:
    with diskcache.Cache(directory) as cache:
        cache[key] = 'own'
        assert cache.push('pushed') == 500000000000000
        assert cache.peek()[1] == 'pushed'
        assert cache.peek(side='back')[1] == 'pushed'
        assert cache.pull()[1] == 'pushed'
        assert cache.pull() == (None, None)
        assert cache[key] == 'own'


OWN_PREFIXED_KEYS = [
    'a-5x', 'a', 'a-', 'a-5', 'a-50000000000000x', 'a-5000000000000000', 'a-50000000000000',
    'a-500000000000000 ', 'a-+00000000000005', 'a- 00000000000005', 'a--00000000000005',
    'a-0000000000000_5', 'a-b-500000000000000', b'a-500000000000000', 'A-500000000000000',
]  # fmt: skip


@pytest.mark.parametrize('key', OWN_PREFIXED_KEYS, ids=repr)
def test_14_a_queue_with_a_prefix_leaves_keys_of_users_alone(
    cache: diskcache.Cache, key: object
) -> None:
    cache[key] = 'own'
    assert cache.push('pushed', prefix='a') == 'a-500000000000000'
    assert cache.push('front', prefix='a', side='front') == 'a-499999999999999'
    assert cache.pull('a') == ('a-499999999999999', 'front')
    assert cache.peek('a', side='back') == ('a-500000000000000', 'pushed')
    assert cache.pull('a', side='back') == ('a-500000000000000', 'pushed')
    assert cache.pull('a') == (None, None)
    assert cache[key] == 'own'


# 15: errors other than contention.

WRITES = {
    'set': lambda cache: cache.set('key', LARGE, retry=True),
    'assignment': lambda cache: cache.__setitem__('key', LARGE),
    'add': lambda cache: cache.add('key', LARGE, retry=True),
    'incr': lambda cache: cache.incr('count', retry=True),
    'push': lambda cache: cache.push(LARGE, retry=True),
    'pull': lambda cache: cache.pull(retry=True),
    'pop': lambda cache: cache.pop('key', retry=True),
    'del': lambda cache: cache.__delitem__('key'),
    'touch': lambda cache: cache.touch('key', retry=True),
    'clear': lambda cache: cache.clear(retry=True),
    'evict': lambda cache: cache.evict('tag', retry=True),
    'expire': lambda cache: cache.expire(retry=True),
    'get': lambda cache: cache.get('key', retry=True),
    'subscript': lambda cache: cache['key'],
    'in': lambda cache: 'key' in cache,
    'iteration': lambda cache: list(cache),
}


@pytest.mark.parametrize('write', WRITES.values(), ids=WRITES.keys())
def test_15_an_error_that_is_no_contention_is_raised_at_once(
    cache: diskcache.Cache, write: Callable
) -> None:
    cache['before'] = 1
    cache._sql('ALTER TABLE Cache RENAME TO Elsewhere')
    with pytest.raises(sqlite3.OperationalError, match='no such table'):
        write(cache)
    assert value_files(cache.directory) == set()
    cache._sql('ALTER TABLE Elsewhere RENAME TO Cache')
    assert cache['before'] == 1
    assert cache.set('key', LARGE)


def fill_the_disk(directory: str) -> tuple[str, list, bool, object]:
    """Write until there is no room, make room again; tell what happened."""
    import resource

    with diskcache.Cache(directory) as cache:
        cache['before'] = b'x' * 50_000
        unlimited = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, unlimited[1]))
        try:
            for number in range(10_000):
                cache.set(number, 'x' * 20_000, retry=True)
            error = 'none'
        except sqlite3.OperationalError as raised:
            error = str(raised)
        resource.setrlimit(resource.RLIMIT_FSIZE, unlimited)
        held = cache['before'] == b'x' * 50_000 and number not in cache
        return error, cache.check(), held, cache.set(number, 'x' * 20_000)


@pytest.mark.skipif(os.name != 'posix', reason='limits of resources are a thing of POSIX')
def test_15_a_full_disk_is_an_error_at_once_and_the_cache_stays_sound(
    alone: Interpreter, directory: str
) -> None:
    error, warned, held, written = alone.run(fill_the_disk, directory=directory)
    assert 'full' in error or 'I/O' in error
    assert (warned, held, written) == ([], True, True)


def fill_the_disk_by_a_file(directory: str) -> tuple[str, list[int], bool]:
    """Write one value file for which there is no room; tell what happened."""
    import resource

    with diskcache.Cache(directory) as cache:
        cache['key'] = b'x' * 50_000
        unlimited = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, unlimited[1]))
        try:
            cache.set('key', b'x' * 500_000, retry=True)
            error = 'none'
        except OSError as raised:
            error = type(raised).__name__
        resource.setrlimit(resource.RLIMIT_FSIZE, unlimited)
        files = [len(files) for _, _, files in os.walk(directory)]
        return error, cache.check(), cache['key'] == b'x' * 50_000 and sum(files) < 6


@pytest.mark.skipif(os.name != 'posix', reason='limits of resources are a thing of POSIX')
def test_15_a_value_file_without_room_leaves_nothing_behind(
    alone: Interpreter, directory: str
) -> None:
    answer = alone.run(fill_the_disk_by_a_file, directory=directory)
    assert answer == ('OSError', [], True)


def write_read_only(directory: str) -> list[str]:
    """Try to write to a directory as a user who may only read it; return the errors."""
    with diskcache.Cache(directory) as cache:
        cache['key'] = 'value'
        holder = sqlite3.connect(f'{directory}/cache.db')  # Keeps the log in place.
        holder.execute('SELECT * FROM Cache').fetchall()

        def attempt() -> list[str]:
            os.setuid(65534)
            errors = []
            with diskcache.Cache(directory) as reader:
                assert reader['key'] == 'value'
                for write in (
                    lambda: reader.set('key', 1, retry=True),
                    lambda: reader.delete('key', retry=True),
                    lambda: reader.push('value', retry=True),
                ):
                    try:
                        write()
                    except sqlite3.OperationalError as error:
                        errors.append(str(error))
            return errors

        os.chmod(directory, 0o555)
        for name in os.listdir(directory):
            os.chmod(os.path.join(directory, name), 0o444)
        return Child(attempt).result()  # noqa: F821


@pytest.mark.skipif(
    os.name != 'posix' or os.geteuid() != 0, reason='only root can become another user'
)
def test_15_a_read_only_database_is_an_error_at_once(alone: Interpreter) -> None:
    import tempfile

    with tempfile.TemporaryDirectory() as parent:
        os.chmod(parent, 0o755)
        errors = alone.run(write_read_only, directory=os.path.join(parent, 'cache'))
    assert len(errors) == 3
    assert all('readonly' in error for error in errors)


# 16: missing files.


@pytest.mark.parametrize('damage', ['missing', 'truncated'])
def test_16_peek_and_peekitem_go_on_after_an_item_without_its_file(
    cache: diskcache.Cache, assert_intact: Callable, damage: str
) -> None:
    cache.push(LARGE)
    cache.push(LARGE + b'y')
    cache.push('sound')
    cache.push(LARGE + b'z')
    for name in value_files(cache.directory):
        if damage == 'missing':
            cache.disk.remove(name)
        else:
            os.truncate(os.path.join(cache.directory, name), 5)
    assert cache.peek() == (500000000000002, 'sound')
    assert cache.peekitem() == (500000000000002, 'sound')
    assert cache.peekitem(last=False) == (500000000000002, 'sound')
    assert cache.pull(side='back') == (500000000000002, 'sound')
    assert cache.pull() == (None, None)
    with pytest.raises(KeyError):
        cache.peekitem()
    assert len(cache) == 0
    assert_intact(cache)


# 17: a COMMIT that fails.


def test_17_a_commit_that_fails_is_rolled_back(
    cache: diskcache.Cache, assert_intact: Callable
) -> None:
    cache['key'] = LARGE
    cache._con.execute('PRAGMA foreign_keys = ON')
    cache._con.execute('CREATE TABLE Parent (id INTEGER PRIMARY KEY)')
    cache._con.execute(
        'CREATE TABLE Part (parent REFERENCES Parent(id) DEFERRABLE INITIALLY DEFERRED)'
    )
    with pytest.raises(sqlite3.IntegrityError), cache.transact():
        cache['key'] = LARGE * 2
        cache['new'] = LARGE
        cache._sql('INSERT INTO Part VALUES (42)')
    assert cache['key'] == LARGE
    assert 'new' not in cache
    assert cache._con.in_transaction is False
    assert_intact(cache)
    with cache.transact():
        cache['new'] = 1
    assert cache['new'] == 1


# 18: KeyboardInterrupt at any moment.


def interrupt(directory: str, transactions: bool) -> tuple[int, int]:
    """Write while a signal raises KeyboardInterrupt again and again.

    Return how many writes were interrupted and how many were not.
    """
    armed = False

    def strike(*_: object) -> None:
        nonlocal armed
        if armed:
            armed = False
            raise KeyboardInterrupt

    cache = diskcache.Cache(directory, timeout=5)
    interrupted = finished = 0
    signal.signal(signal.SIGALRM, strike)  # noqa: F821
    signal.setitimer(signal.ITIMER_REAL, 0.0003, 0.0003)  # noqa: F821
    for turn in range(3000):
        value = turn if turn % 5 else 'x' * 40_000
        try:
            armed = True
            if transactions:
                with cache.transact():
                    cache['a'] = cache['b'] = value
                    cache.incr('n')
            else:
                cache[turn % 50] = value
                cache.incr('n')
            armed = False
            finished += 1
        except KeyboardInterrupt:
            interrupted += 1
    signal.setitimer(signal.ITIMER_REAL, 0)  # noqa: F821
    with diskcache.Cache(directory, timeout=0) as second:
        assert second.set('another connection', 1)
        assert second.get('a') == second.get('b')
    assert cache._con.in_transaction is False
    with cache.transact():
        cache['afterwards'] = 1
    return interrupted, finished


@pytest.mark.skipif(os.name != 'posix', reason='interval timers are a thing of POSIX')
@pytest.mark.parametrize('transactions', [False, True], ids=['sets', 'transactions'])
def test_18_interrupts_leave_nothing_locked_or_half_done(
    alone: Interpreter, directory: str, assert_intact: Callable, transactions: bool
) -> None:
    interrupted, finished = alone.run(interrupt, directory=directory, transactions=transactions)
    assert interrupted > 0
    assert finished > 0
    with diskcache.Cache(directory) as cache:
        assert_intact(cache)


# 21: tasks of asyncio. (20, fork, has its own file.)


def test_21_a_task_does_not_join_the_transaction_of_another(cache: diskcache.Cache) -> None:
    async def fail(opened: asyncio.Event, tried: asyncio.Event) -> None:
        with pytest.raises(Failure), cache.transact():
            cache['a'] = 1
            opened.set()
            await tried.wait()
            raise Failure

    async def write(opened: asyncio.Event, tried: asyncio.Event) -> None:
        await opened.wait()
        try:
            assert cache.get('a') is None, 'what is not committed must not be seen'
            assert 'a' not in cache
            with pytest.raises(RuntimeError):
                cache['b'] = 1
            with pytest.raises(RuntimeError), cache.transact():
                pass
        finally:
            tried.set()

    async def run() -> None:
        opened, tried = asyncio.Event(), asyncio.Event()
        await asyncio.gather(fail(opened, tried), write(opened, tried))

    asyncio.run(run())
    assert list(cache) == []
    cache['afterwards'] = 1


def test_21_tasks_have_their_transactions_one_after_another(cache: diskcache.Cache) -> None:
    async def write(number: int) -> None:
        with cache.transact():
            cache[number] = number
            cache.incr('count')
        await asyncio.sleep(0)

    async def run() -> None:
        await asyncio.gather(*map(write, range(20)))

    asyncio.run(run())
    assert cache['count'] == 20


def test_21_a_task_keeps_its_transaction_while_others_read(cache: diskcache.Cache) -> None:
    cache['key'] = 'old'

    async def run() -> tuple:
        async def read() -> object:
            return cache['key']

        with cache.transact():
            cache['key'] = 'new'
            seen_by_other = await asyncio.create_task(read())
            return seen_by_other, cache['key']

    assert asyncio.run(run()) == ('old', 'new')
    assert cache['key'] == 'new'


# 22: opening.


def test_22_an_unchanged_cache_opens_while_another_connection_writes(
    directory: str, locked: Callable
) -> None:
    diskcache.Cache(directory).close()
    with locked(), diskcache.Cache(directory, timeout=0) as cache:
        assert cache.get('key') is None


@pytest.mark.parametrize(
    'settings', [{}, {'size_limit': 1000, 'cull_limit': 5, 'tag_index': 1}], ids=['plain', 'set']
)
def test_22_opening_an_unchanged_cache_writes_nothing(directory: str, settings: dict) -> None:
    def state() -> dict[str, bytes]:
        return {path.name: path.read_bytes() for path in Path(directory).glob('cache.db*')
                if not path.name.endswith('-shm')}  # fmt: skip

    with diskcache.Cache(directory, **settings) as holder:
        holder['key'] = 1
        version = holder._sql('PRAGMA data_version').fetchall()
        before = state()
        for _ in range(3):
            with diskcache.Cache(directory) as cache:
                assert cache['key'] == 1
            with diskcache.Cache(directory, **settings) as cache:
                assert cache['key'] == 1
        assert state() == before
        assert holder._sql('PRAGMA data_version').fetchall() == version


def test_22_many_processes_open_a_new_directory_at_once(
    crew: list[Interpreter], tmp_path: Path
) -> None:
    script = 'Cache(directory, timeout=60).incr("n", retry=True)'
    for turn in range(10):
        assert sorted(at_once(crew, script, directory=str(tmp_path / str(turn)))) == [1, 2, 3, 4]


# 23: orphans.


class FailingReader:
    """A file of which the second chunk cannot be read."""

    def __init__(self) -> None:
        self.chunks = [LARGE, Failure()]

    def read(self, size: int = -1) -> bytes:
        """Return the next chunk or raise the next exception."""
        chunk = self.chunks.pop(0)
        if isinstance(chunk, Exception):
            raise chunk
        return chunk


@pytest.mark.parametrize('store', ['set', 'add', 'push'])
@pytest.mark.parametrize('in_transaction', [False, True], ids=['alone', 'in a transaction'])
def test_23_an_unsupported_tag_leaves_no_file(
    cache: diskcache.Cache, assert_intact: Callable, store: str, in_transaction: bool
) -> None:
    arguments = (LARGE,) if store == 'push' else ('key', LARGE)
    with cache.transact() if in_transaction else cache:
        with pytest.raises(TypeError, match='tag'):
            getattr(cache, store)(*arguments, tag=object())
    assert len(cache) == 0
    assert value_files(cache.directory) == set()
    assert_intact(cache)


@pytest.mark.parametrize('store', ['set', 'add', 'push'])
def test_23_a_reader_that_fails_midway_leaves_no_file_and_the_old_value(
    cache: diskcache.Cache, assert_intact: Callable, store: str
) -> None:
    cache['key'] = 'old'
    arguments = (FailingReader(),) if store == 'push' else ('key', FailingReader())
    with pytest.raises(Failure):
        getattr(cache, store)(*arguments, read=True)
    assert cache['key'] == 'old'
    assert value_files(cache.directory) == set()
    assert_intact(cache)


def test_23_a_rollback_leaves_no_file(cache: diskcache.Cache, assert_intact: Callable) -> None:
    with pytest.raises(Failure), cache.transact():
        for number in range(10):
            cache[number] = LARGE
        cache.push(LARGE)
        raise Failure
    assert value_files(cache.directory) == set()
    assert_intact(cache)


def test_23_a_refused_add_leaves_no_file(cache: diskcache.Cache, assert_intact: Callable) -> None:
    cache['key'] = 1
    assert cache.add('key', LARGE) is False
    assert value_files(cache.directory) == set()
    assert_intact(cache)


def test_23_a_write_that_times_out_leaves_no_file(
    directory: str, locked: Callable, assert_intact: Callable
) -> None:
    with diskcache.Cache(directory, timeout=0) as cache:
        with locked():
            for store, arguments in (('set', ('key',)), ('add', ('key',)), ('push', ())):
                with pytest.raises(diskcache.Timeout):
                    getattr(cache, store)(*arguments, LARGE)
        assert value_files(directory) == set()
        assert_intact(cache)


# 24: descriptors.


def use_from_many_threads(directory: str) -> tuple[int, int]:
    """Use one cache from 50 threads; return the descriptors open meanwhile and after close()."""

    def count() -> int:
        links = (os.path.join('/proc/self/fd', name) for name in os.listdir('/proc/self/fd'))
        return sum(os.path.realpath(link).startswith(directory) for link in links)

    directory = os.path.realpath(directory)
    cache = diskcache.Cache(directory)
    done, counted = threading.Barrier(51), threading.Barrier(51)  # noqa: F821

    def work(number: int) -> None:
        for turn in range(10):
            cache.set((number, turn), turn, retry=True)
            assert cache.get((number, turn)) == turn
        done.wait()
        counted.wait()

    threads = [
        threading.Thread(target=work, args=(number,))  # noqa: F821
        for number in range(50)
    ]
    for thread in threads:
        thread.start()
    done.wait()
    meanwhile = count()
    cache.close()
    after = count()
    counted.wait()
    for thread in threads:
        thread.join()
    assert len(cache) == 500
    cache.close()
    assert count() == 0
    return meanwhile, after


@pytest.mark.skipif(not os.path.isdir('/proc/self/fd'), reason='only Linux lists descriptors')
def test_24_many_threads_need_few_descriptors_and_close_leaves_none(
    alone: Interpreter, directory: str
) -> None:
    meanwhile, after = alone.run(use_from_many_threads, directory=directory)
    assert meanwhile < 50
    assert after == 0


# 32: numbers that cannot be counted up.


@pytest.mark.parametrize('value', [True, False, None, 'text', b'bytes', [1], 2**63, -(2**70)])
@pytest.mark.parametrize('method', ['incr', 'decr'])
def test_32_what_is_no_number_of_64_bits_cannot_be_incremented(
    cache: diskcache.Cache, assert_intact: Callable, method: str, value: object
) -> None:
    cache.set('key', value, tag='tag')
    with pytest.raises((TypeError, OverflowError)):
        getattr(cache, method)('key')
    assert cache.get('key', tag=True) == (value, 'tag')
    assert type(cache['key']) is type(value)
    assert_intact(cache)


def test_32_a_value_in_a_file_cannot_be_incremented(
    cache: diskcache.Cache, assert_intact: Callable
) -> None:
    cache['key'] = LARGE
    with pytest.raises(TypeError):
        cache.incr('key')
    assert cache['key'] == LARGE
    assert_intact(cache)


@pytest.mark.parametrize(
    ('value', 'method', 'delta'),
    [
        (2**63 - 1, 'incr', 1),
        (-(2**63), 'decr', 1),
        (0, 'incr', 2**63),
        (0, 'incr', 2**100),
        (1, 'decr', -(2**63)),
    ],
)
def test_32_a_number_is_not_counted_past_64_bits(
    cache: diskcache.Cache, value: int, method: str, delta: int
) -> None:
    cache['key'] = value
    with pytest.raises(OverflowError):
        getattr(cache, method)('key', delta)
    assert cache['key'] == value


def test_32_a_new_number_past_64_bits_is_not_stored(cache: diskcache.Cache) -> None:
    with pytest.raises(OverflowError):
        cache.incr('key', default=2**63 - 1)
    assert 'key' not in cache


@pytest.mark.parametrize('delta', ['1', None, [1], b'1'])
def test_32_a_delta_that_is_no_number_is_a_type_error(
    cache: diskcache.Cache, assert_intact: Callable, delta: object
) -> None:
    cache['key'] = 1
    for key in ('key', 'missing'):
        with pytest.raises(TypeError):
            cache.incr(key, delta)
        with pytest.raises(TypeError):
            cache.decr(key, delta)
    assert list(cache) == ['key']
    assert cache['key'] == 1
    assert_intact(cache)


# 33: names of settings.


@pytest.mark.parametrize(
    'name', ['get', 'set', 'close', '_sql', '__len__', 'transact', '_con', '_local', '_disk']
)
def test_33_a_setting_named_like_a_method_is_refused(directory: str, name: str) -> None:
    with pytest.raises(TypeError, match=name):
        diskcache.Cache(directory, **{name: 1})
    with diskcache.Cache(directory) as cache:
        cache['key'] = 1
        assert cache.get('key') == 1
        assert cache.close() is None


def test_33_a_directory_that_the_original_has_broken_opens(
    directory: str, original: Interpreter
) -> None:
    script = "try:\n    Cache(directory, get=1)['key'] = 1\nexcept TypeError:\n    pass"
    original.run(script, directory=directory)
    with pytest.warns(diskcache.CacheWarning, match=': get$'):
        cache = diskcache.Cache(directory)
    with cache:
        cache['key'] = 2
        assert cache.get('key') == 2


@pytest.mark.parametrize('name', ['time_out', 'size_limt', 'evictionpolicy', 'cull_limits'])
def test_33_a_misspelt_setting_is_warned_about(directory: str, name: str) -> None:
    with pytest.warns(UserWarning, match=name):
        diskcache.Cache(directory, **{name: 1}).close()


@pytest.mark.parametrize('name', ['colour', 'owner', 'x'])
def test_33_a_setting_of_ones_own_is_kept_without_a_warning(directory: str, name: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        diskcache.Cache(directory, **{name: 'value'}).close()
        with diskcache.Cache(directory) as cache:
            assert getattr(cache, name) == 'value'


# 34: cull.


def test_34_cull_counts_what_it_removes_under_the_policy_none(directory: str, clock: Clock) -> None:
    with diskcache.Cache(directory, eviction_policy='none', cull_limit=0) as cache:
        for number in range(25):
            cache.set(number, number, expire=1)
        cache['kept'] = 1
        clock.tick(2)
        assert cache.cull() == 25
        assert list(cache) == ['kept']


@pytest.mark.parametrize('policy', sorted(diskcache.EVICTION_POLICY))
def test_34_cull_waits_for_a_lock_if_told_to_retry(
    directory: str, alone: Interpreter, policy: str
) -> None:
    settings = {'eviction_policy': policy, 'cull_limit': 0, 'timeout': 0.01}
    with diskcache.Cache(directory, **settings) as cache:
        for number in range(5):
            cache.set(number, number, expire=-1)
        with closing(sqlite3.connect(f'{directory}/cache.db', isolation_level=None)) as con:
            con.execute('BEGIN IMMEDIATE')
            with pytest.raises(diskcache.Timeout) as raised:
                cache.cull()
            assert raised.value.args == (0,)
            alone.start(
                'cache = Cache(directory, timeout=0.01)\ncache.cull(retry=True)',
                directory=directory,
            )
            time.sleep(0.2)
            con.execute('ROLLBACK')
        assert alone.result() == 5


# 36: values in SQL.


@pytest.mark.parametrize(
    ('setting', 'value'),
    [
        ('sqlite_mmap_size', '0; DROP TABLE Cache'),
        ('sqlite_user_version = 5; --', 1),
        ('sqlite_table_info(Cache); DROP TABLE Cache; --', 1),
        ('sqlite_cache_size', '1) --'),
        ('sqlite_user_version', "1'; DELETE FROM Cache; --"),
    ],
)
def test_36_settings_cannot_smuggle_statements(
    cache: diskcache.Cache, assert_intact: Callable, setting: str, value: object
) -> None:
    cache['key'] = 1
    try:
        cache.reset(setting, value, update=False)
    except (ValueError, TypeError, sqlite3.Error, sqlite3.Warning):
        pass
    assert cache._sql('PRAGMA user_version').fetchall() == [(0,)]
    assert cache['key'] == 1
    assert_intact(cache)


@pytest.mark.parametrize('policy', ['least-recently-used', 'least-recently-stored'])
def test_36_times_are_stored_exactly(directory: str, clock: Clock, policy: str) -> None:
    with diskcache.Cache(directory, eviction_policy=policy) as cache:
        clock.now = 1_700_000_000.1234567
        cache.set('key', 1, expire=0.1)
        clock.now += 1e-6
        cache.get('key')
        cache.close()
        row = cache._sql('SELECT store_time, expire_time, access_time FROM Cache').fetchone()
        accessed = clock.now if policy == 'least-recently-used' else 1_700_000_000.1234567
        assert row == (1_700_000_000.1234567, 1_700_000_000.1234567 + 0.1, accessed)
