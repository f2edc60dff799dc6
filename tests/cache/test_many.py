"""set_many, add_many, get_many, touch_many and delete_many: many items in few transactions."""

from __future__ import annotations

import os
import signal
import sqlite3
import time
import tracemalloc
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from threading import Event

import pytest
from consistency import stored_filenames, value_files
from interpreter import PATIENCE, Clock, Interpreter

import diskcache
from diskcache import Cache, Disk, FanoutCache, Timeout
from diskcache.core import ENOVAL

BATCH = 1024
LARGE = b'x' * 100_000


class Error(Exception):
    """What user code raises here."""


@pytest.fixture(params=[Cache, FanoutCache])
def either(request: pytest.FixtureRequest, directory: str) -> Iterator[Cache | FanoutCache]:
    """A Cache, and a FanoutCache."""
    with request.param(directory) as cache:
        yield cache


@pytest.fixture
def statements(cache: Cache) -> list[str]:
    """The SQL statements that `cache` has executed since."""
    executed: list[str] = []
    cache._con.set_trace_callback(executed.append)
    return executed


def commits(statements: list[str]) -> int:
    """Return how many transactions were committed, and forget them."""
    count = statements.count('COMMIT')
    statements.clear()
    return count


# What they do.


@pytest.mark.parametrize(
    'make',
    [
        dict,
        list,
        iter,
        lambda pairs: (pair for pair in pairs),
        lambda pairs: [list(pair) for pair in pairs],
        lambda pairs: dict(pairs).items(),
    ],
    ids=['mapping', 'list', 'iterator', 'generator', 'lists', 'view'],
)
def test_items_of_every_form_are_stored(either: Cache, make: Callable) -> None:
    pairs = [('text', 'a'), (1, 1.5), (('a', 1), {'b': None}), (b'large', LARGE)]
    assert either.set_many(make(pairs)) == 4
    assert {key: either[key] for key, _ in pairs} == dict(pairs)
    assert len(either) == 4


def test_an_index_is_a_mapping(cache: Cache) -> None:
    assert cache.set_many(diskcache.Index({'a': 1, 'b': 2})) == 2
    assert cache.get_many(list('ab')) == {'a': 1, 'b': 2}


def test_nothing_is_stored_of_nothing(either: Cache) -> None:
    assert either.set_many({}) == either.add_many([]) == either.delete_many(iter(())) == 0
    assert either.touch_many([], 5) == 0
    assert either.get_many([]) == {}


def test_all_items_get_the_expiry_and_the_tag(either: Cache, clock: Clock) -> None:
    either.set_many({'a': 1, 'b': 2}, expire=10, tag='tag')
    either.add_many({'c': 3}, 20, 'tag')
    details = [either.get(key, expire_time=True, tag=True)[1:] for key in 'abc']
    assert details == [(clock.now + 10, 'tag')] * 2 + [(clock.now + 20, 'tag')]
    clock.tick(15)
    assert either.get_many(list('abc')) == {'c': 3}


def test_what_is_there_is_replaced(either: Cache) -> None:
    either.set('a', LARGE, tag='tag', expire=5)
    assert either.set_many({'a': 1, 'b': 2}) == 2
    assert either.get('a', expire_time=True, tag=True) == (1, None, None)


def test_of_a_key_that_comes_twice_the_last_value_stays(
    cache: Cache, assert_intact: Callable
) -> None:
    assert cache.set_many([('a', LARGE), ('b', 1), ('a', LARGE + b'!')]) == 3
    assert cache['a'] == LARGE + b'!'
    assert list(cache) == ['a', 'b']
    assert_intact(cache)


def test_add_many_stores_what_is_absent_or_expired(
    cache: Cache, clock: Clock, assert_intact: Callable
) -> None:
    cache.set('there', 'old')
    cache.set('expired', 'old', expire=1)
    clock.tick(2)
    items = [('there', LARGE), ('expired', LARGE), ('absent', LARGE), ('absent', LARGE[:-1])]
    assert cache.add_many(items) == 2
    assert cache.get_many(['there', 'expired', 'absent']) == {
        'there': 'old',
        'expired': LARGE,
        'absent': LARGE,
    }
    assert_intact(cache)


def test_delete_many_counts_what_was_there(
    cache: Cache, clock: Clock, assert_intact: Callable
) -> None:
    cache.reset('cull_limit', 0)
    cache.set('expired', 1, expire=1)
    clock.tick(2)
    cache.set_many({'a': LARGE, 'b': 1, ('c', 1): 2, 'd': 3})
    assert cache.delete_many(key for key in ['a', 'expired', 'missing', ('c', 1), 'a', 'b']) == 3
    assert cache.get_many(['a', 'b', ('c', 1), 'd']) == {'d': 3}
    assert list(cache) == ['expired', 'd']
    assert_intact(cache)


def test_touch_many_sets_when_items_expire_and_counts_them(
    either: Cache, clock: Clock, assert_intact: Callable
) -> None:
    """A key that comes twice is two, as in touch() twice; what has expired is not there."""
    either.set_many({'a': LARGE, ('b', 1): 2}, expire=10, tag='tag')
    either.set_many({'c': 3, 'expired': 4}, expire=1)
    either.touch_many(['c'], expire=None)
    clock.tick(5)
    keys = ['a', 'missing', ('b', 1), 'expired', 'a']
    assert either.touch_many((key for key in keys), 20) == 3
    assert either.get('a', expire_time=True, tag=True) == (LARGE, clock.now + 20, 'tag')
    assert either.get(('b', 1), expire_time=True) == (2, clock.now + 20)
    assert either.get('c', expire_time=True) == (3, None)
    assert 'expired' not in either
    assert 'missing' not in either
    assert either.touch_many(['a', 'c']) == 2
    clock.tick(50)
    assert either.get_many(['a', ('b', 1), 'c']) == {'a': LARGE, 'c': 3}


def test_touch_many_can_let_items_expire_at_once(either: Cache) -> None:
    either.set_many({'a': 1, 'b': 2})
    assert either.get_many(list('ab')) == {'a': 1, 'b': 2}
    assert either.touch_many(list('a'), expire=-1) == 1
    assert either.get_many(list('ab')) == {'b': 2}
    assert either.touch_many(list('ab'), 5) == 1


def test_a_fanout_cache_deletes_in_every_shard(directory: str) -> None:
    with FanoutCache(directory) as cache:
        cache.set_many((number, LARGE) for number in range(20))
        assert cache.delete_many(range(5, 100)) == 15
        assert sorted(cache) == list(range(5))


def test_get_many_returns_what_is_there(either: Cache) -> None:
    values = {'a': 1, ('b', 2): [None], 3: LARGE, None: None, 2.5: ENOVAL}
    either.set_many(values)
    del values[2.5]
    for _ in range(2):
        assert either.get_many(key for key in ['missing', *values]) == values


def test_keys_equal_to_python_are_one_key_of_the_result(either: Cache) -> None:
    either[1], either[True] = 'int', 'bool'
    assert either.get_many([1, True]) == {1: 'bool'}
    assert either.get_many([True, 1]) == {1: 'int'}


def test_a_value_whose_file_is_gone_is_missing(cache: Cache) -> None:
    cache.set_many({'a': LARGE, 'b': 1})
    (name,) = stored_filenames(cache)
    os.remove(os.path.join(cache.directory, name))
    assert cache.get_many(list('ab')) == {'b': 1}


def test_get_many_is_of_one_moment_where_memory_knows_a_part_of_it(directory: str) -> None:
    """Another thread commits between the look into memory and the read of the database."""
    opening, committed = Event(), Event()

    class Seconds:
        """A timeout, which is asked for when a connection is opened."""

        def __float__(self) -> float:
            opening.set()
            assert committed.wait(PATIENCE)
            return 60.0

    def write() -> None:
        with cache.transact():
            cache.set_many({'a': 2, 'b': 2})
            begun.set()
            assert opening.wait(PATIENCE)
        committed.set()

    begun = Event()
    with Cache(directory) as other:
        other.set_many({'a': 1, 'b': 1})
    with Cache(directory) as cache, ThreadPoolExecutor(1) as pool:
        assert cache['a'] == 1
        writing = pool.submit(write)
        assert begun.wait(PATIENCE)
        cache._timeout = Seconds()
        assert cache.get_many(['a', 'b']) == {'a': 2, 'b': 2}
        cache._timeout = 60
        writing.result()
        assert cache.get_many(['a', 'b']) == {'a': 2, 'b': 2}


@pytest.mark.parametrize('memory_limit', [0, 2**20])
def test_get_many_is_of_one_moment_where_files_are_rewritten_meanwhile(
    directory: str, memory_limit: int
) -> None:
    """Another object commits between the read of the rows and the opening of the last file."""

    class Rewriting(Disk):
        """A disk that has both values rewritten when it has loaded the first one."""

        def fetch(self, *args: object) -> object:
            value = super().fetch(*args)
            if rewrites:
                other.set_many(rewrites.pop())
            return value

    rewrites: list[dict[str, bytes]] = []
    with Cache(directory, disk=Rewriting) as cache, Cache(directory, disk=Rewriting) as other:
        cache.memory_limit = memory_limit
        other.set_many({'a': b'1' + LARGE, 'b': b'1' + LARGE, 'gone': 1})
        other.stats(enable=True)
        cache.reset('statistics')
        rewrites += [{'a': b'3' + LARGE, 'b': b'3' + LARGE}, {'a': b'2', 'b': b'2' + LARGE}]
        seen = cache.get_many(['a', 'b', 'missing'])
        assert {key: value[:1] for key, value in seen.items()} == {'a': b'3', 'b': b'3'}
        assert cache.stats() == (2, 1)
        cache.delete('b')
        for name in stored_filenames(cache):
            os.remove(os.path.join(cache.directory, name))
        assert cache.get_many(['a', 'gone', 'b']) == {'gone': 1}


def test_get_many_counts_lookups(cache: Cache) -> None:
    cache.set_many({'a': 1, 'b': 2})
    cache.stats(enable=True)
    for _ in range(2):
        cache.get_many(['a', 'b', 'missing'])
    assert cache.stats() == (4, 2)


def test_get_many_uses_items_as_the_policy_wants(directory: str) -> None:
    with Cache(directory, eviction_policy='least-frequently-used') as cache:
        cache.set_many({'a': 1, 'b': 2})
        cache.get_many(list('ab'))
        cache.get_many(list('a'))
        cache['c'] = 3
        with closing(sqlite3.connect(f'{directory}/cache.db')) as con:
            rows = con.execute('SELECT key, access_count FROM Cache').fetchall()
    assert rows == [('a', 2), ('b', 1), ('c', 0)]


def test_an_item_larger_than_the_cache_is_not_kept(directory: str, assert_intact: Callable) -> None:
    with Cache(directory, size_limit=500_000) as cache:
        cache['large'] = 'old'
        assert cache.set_many({'a': 1, 'large': LARGE * 6, 'b': 2}) == 2
        assert cache.get_many(['a', 'large', 'b']) == {'a': 1, 'b': 2}
        assert cache.add_many({'large': LARGE * 6}) == 0
        assert_intact(cache)


@pytest.mark.parametrize('value', [LARGE, LARGE[:20_000]], ids=['files', 'inline'])
@pytest.mark.parametrize('policy', ['least-recently-stored', 'least-recently-used'])
def test_as_much_is_evicted_as_by_single_writes(
    tmp_path: Path, value: bytes, policy: str, assert_intact: Callable
) -> None:
    kept = []
    for method in ('set', 'set_many'):
        with Cache(tmp_path / method, eviction_policy=policy, size_limit=1_000_000) as cache:
            items = {number: value + bytes([number]) for number in range(100)}
            if method == 'set':
                with cache.transact():
                    for key, each in items.items():
                        cache.set(key, each)
            else:
                assert cache.set_many(items) == 100
            assert cache.volume() <= 1_000_000 + len(value)
            assert_intact(cache)
            kept.append(cache.get_many(range(100)))
    assert kept[0] == kept[1]
    assert 99 in kept[1]
    assert 0 not in kept[1]


def test_the_original_reads_what_was_stored(
    cache: Cache, original: Interpreter, clock: Clock
) -> None:
    items = {'a': 1, 'b': LARGE, ('c', 1): {'d': 'e'}, 5: 'x' * 50_000, b'f': None}
    cache.set_many(items, expire=10**9, tag='tag')

    def read(directory: str, keys: list) -> object:
        with Cache(directory) as cache:
            found = {key: cache.get(key, expire_time=True, tag=True) for key in keys}
            return found, len(cache), cache.check()

    expected = {key: (value, clock.now + 10**9, 'tag') for key, value in items.items()}
    found = original.run(read, directory=cache.directory, keys=list(items))
    assert found == (expected, 5, [])


# Batches and transactions.


def test_what_is_not_more_than_a_batch_is_one_transaction(
    cache: Cache, statements: list[str]
) -> None:
    items = dict.fromkeys(range(BATCH), 1)
    for write in (cache.set_many, cache.add_many, cache.touch_many, cache.delete_many):
        assert write(items) in (BATCH, 0)
        assert commits(statements) == 1


def test_more_than_a_batch_is_several_transactions(cache: Cache, statements: list[str]) -> None:
    assert cache.set_many((number, 1) for number in range(2 * BATCH + 1)) == 2 * BATCH + 1
    assert commits(statements) == 3
    assert cache.touch_many(range(2 * BATCH + 1), 5) == 2 * BATCH + 1
    assert commits(statements) == 3
    assert cache.delete_many(range(2 * BATCH + 1)) == 2 * BATCH + 1
    assert commits(statements) == 3


@pytest.mark.slow
@pytest.mark.parametrize(('size', 'limit'), [(20_000, 2**22), (1_000_000, 2**26)])
def test_a_batch_is_limited_by_its_bytes(
    cache: Cache, statements: list[str], size: int, limit: int
) -> None:
    assert cache.set_many((number, bytes(size)) for number in range(limit // size + 2))
    assert commits(statements) == 2


@pytest.mark.slow
def test_memory_is_bounded(either: Cache) -> None:
    def items() -> Iterator[tuple[int, bytes]]:
        for number in range(100_000):
            yield number, b'%d' % number * 40

    either.set_many({-1: 1})
    tracemalloc.start()
    try:
        assert either.set_many(items()) == 100_000
        assert either.delete_many(number for number in range(100_000)) == 100_000
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 3_000_000, 'the items are 20 MB'


def test_inside_a_transaction_all_is_rolled_back(cache: Cache, assert_intact: Callable) -> None:
    cache.set_many({0: LARGE, 1: 'old', 2: 'old'})
    with pytest.raises(Error), cache.transact():
        assert cache.set_many((number, LARGE) for number in range(20)) == 20
        assert cache.set_many((number, number) for number in range(BATCH + 1))
        assert cache.delete_many([1]) == 1
        assert cache.touch_many([0, 1, 2], 5) == 2
        assert cache.get_many([0, 1, 2]) == {0: 0, 2: 2}
        raise Error
    assert cache.get(2, expire_time=True) == ('old', None)
    assert cache.get_many(range(100)) == {0: LARGE, 1: 'old', 2: 'old'}
    assert_intact(cache)


def test_inside_a_transaction_all_is_committed_with_it(
    cache: Cache, statements: list[str], assert_intact: Callable
) -> None:
    with cache.transact():
        cache.set_many((number, number) for number in range(BATCH + 1))
        cache.set_many((number, LARGE) for number in range(5))
        cache.delete_many([0, 1])
    assert commits(statements) == 1
    assert len(cache) == BATCH - 1
    assert_intact(cache)


def test_a_failed_call_inside_a_transaction_leaves_the_rest_of_it(
    cache: Cache, assert_intact: Callable
) -> None:
    with cache.transact():
        cache['a'] = LARGE
        with pytest.raises(TypeError):
            cache.set_many([('b', LARGE), 5])
        cache['c'] = LARGE
    assert sorted(cache) == ['a', 'c']
    assert_intact(cache)


# The iterator is the user's.


def test_no_lock_is_held_while_items_are_taken(
    directory: str, either: Cache, other: Interpreter
) -> None:
    def write(directory: str, shards: bool) -> None:
        with (diskcache.FanoutCache if shards else Cache)(directory, timeout=0) as cache:
            assert cache.set('other', 1)

    def items() -> Iterator[tuple[int, bytes]]:
        for number in range(BATCH + 10):
            if number in (5, BATCH + 5):
                shards = isinstance(either, FanoutCache)
                other.run(write, directory=directory, shards=shards)
            yield number, b''

    assert either.set_many(items()) == BATCH + 10
    assert either['other'] == 1


def test_a_generator_may_use_the_cache(either: Cache, assert_intact: Callable) -> None:
    def items() -> Iterator[tuple[object, object]]:
        for number in range(BATCH + 100):
            either['written'] = number
            if number == 5:
                either.set_many({'inner': LARGE})
                with either.transact(retry=True):
                    either.incr('counted')
            yield number, either['written']

    assert either.set_many(items()) == BATCH + 100
    assert either.get_many([0, BATCH + 99, 'inner', 'counted']) == {
        0: 0,
        BATCH + 99: BATCH + 99,
        'inner': LARGE,
        'counted': 1,
    }
    for cache in getattr(either, '_shards', [either]):
        assert_intact(cache)


def test_a_generator_that_raises_leaves_the_batches_before(
    cache: Cache, assert_intact: Callable
) -> None:
    def items() -> Iterator[tuple[int, object]]:
        yield from ((number, LARGE if number % 500 == 0 else 1) for number in range(BATCH + 50))
        raise Error

    for write, gone in ((cache.set_many, 0), (cache.add_many, 0), (cache.delete_many, BATCH)):
        cache.clear()
        if write == cache.delete_many:
            cache.set_many(dict.fromkeys(range(BATCH + 50), LARGE[:10]))
        with pytest.raises(Error):
            write(key for key, _ in items()) if gone else write(items())
        assert list(cache) == (list(range(BATCH, BATCH + 50)) if gone else list(range(BATCH)))
        assert_intact(cache)


@pytest.mark.usefixtures('interruptible')
def test_an_interruption_leaves_the_batches_before(cache: Cache, assert_intact: Callable) -> None:
    def items() -> Iterator[tuple[int, bytes]]:
        for number in range(3 * BATCH):
            if number == BATCH + 5:
                signal.raise_signal(signal.SIGINT)
            yield number, LARGE if number % 400 == 0 else b''

    with pytest.raises(KeyboardInterrupt):
        cache.set_many(items())
    assert list(cache) == list(range(BATCH))
    assert_intact(cache)


def test_a_dict_that_changes_meanwhile_is_an_error(cache: Cache, assert_intact: Callable) -> None:
    class Growing:
        def __reduce__(self) -> object:
            items['more'] = 1
            return str, ()

    items: dict[str, object] = {'a': LARGE, 'b': Growing(), 'c': 3}
    with pytest.raises(RuntimeError, match='changed size'):
        cache.set_many(items)
    assert_intact(cache)


# Wrong arguments, and what fails.


@pytest.mark.parametrize(
    ('items', 'error', 'message'),
    [
        (5, TypeError, 'items must be a mapping or an iterable of pairs'),
        (None, TypeError, 'items must be a mapping or an iterable of pairs'),
        ([('a', LARGE), 5], TypeError, r'items\[1\] must be a pair \(key, value\), not .int'),
        ([('a', LARGE), ('b',)], ValueError, r'items\[1\] must be a pair .*: its length is 1'),
        (['abc'], ValueError, r'items\[0\] must be a pair .*: its length is 3'),
        ([('a', LARGE), (float('nan'), 1)], ValueError, 'key must not be NaN'),
        ([('a', LARGE), ('b', lambda: 0)], Exception, 'pickle'),
        ([('a', LARGE), (lambda: 0, 'b')], Exception, 'pickle'),
    ],
    ids=['int', 'None', 'no pair', 'one', 'str', 'NaN', 'value', 'key'],
)
def test_bad_items_are_errors_and_leave_nothing(
    directory: str,
    items: object,
    error: type[Exception],
    message: str,
    assert_intact: Callable,
) -> None:
    for cache in (Cache(f'{directory}/cache'), FanoutCache(f'{directory}/shards', shards=1)):
        with cache:
            for method in (cache.set_many, cache.add_many):
                with pytest.raises(error, match=message):
                    method(items)
            assert len(cache) == 0
            for shard in getattr(cache, '_shards', [cache]):
                assert_intact(shard)


def test_the_position_in_the_message_counts_all_items(either: Cache) -> None:
    def items() -> Iterator[object]:
        yield from ((number, number) for number in range(BATCH + 5))
        yield 'abc'

    with pytest.raises(ValueError, match=rf'items\[{BATCH + 5}\]'):
        either.set_many(items())
    assert len(either) == BATCH


@pytest.mark.parametrize(
    ('arguments', 'error', 'message'),
    [
        ({'expire': 'soon'}, TypeError, 'expire must be'),
        ({'expire': float('nan')}, ValueError, 'expire must not be NaN'),
        ({'tag': []}, TypeError, 'tag must be'),
        ({'tag': 2**70}, OverflowError, 'tag does not fit'),
    ],
    ids=lambda value: str(value) if isinstance(value, dict) else '',
)
def test_bad_details_are_errors_even_without_items(
    cache: Cache, arguments: dict, error: type[Exception], message: str
) -> None:
    for items in ([], [('a', 1)]):
        with pytest.raises(error, match=message):
            cache.set_many(items, **arguments)
    assert len(cache) == 0


def test_a_bad_expiry_touches_nothing(either: Cache) -> None:
    either['a'] = 1
    with pytest.raises(TypeError, match='expire must be'):
        either.touch_many(['a'], 'soon')
    with pytest.raises(TypeError, match="'ttl': is 'expire' meant"):
        either.touch_many(['a'], ttl=5)
    assert either.get('a', expire_time=True) == (1, None)


def test_a_bad_expiry_is_an_error_even_without_keys(cache: Cache) -> None:
    with pytest.raises(TypeError, match='expire must be'):
        cache.touch_many([], 'soon')


def test_keys_that_are_no_iterable_are_an_error(either: Cache) -> None:
    for method in (either.get_many, either.delete_many, either.touch_many):
        with pytest.raises(TypeError, match='keys must be an iterable of keys'):
            method(5)


def test_a_key_of_the_result_must_be_hashable(either: Cache) -> None:
    either[[1]] = 'a list can be a key'
    with pytest.raises(TypeError, match=r'keys\[1\].*list.* cannot be hashed'):
        either.get_many(['a', [1]])
    assert either.delete_many([[1]]) == 1


def test_a_locked_database_is_a_timeout_with_the_number_done(
    directory: str, locked: Callable, assert_intact: Callable
) -> None:
    with Cache(directory, timeout=0) as cache:
        with locked():
            for method in (cache.set_many, cache.add_many):
                with pytest.raises(Timeout) as caught:
                    method({'a': LARGE, 'b': 1})
                assert caught.value.args == (0,)
            with pytest.raises(Timeout) as caught:
                cache.delete_many(['a'])
            assert caught.value.args == (0,)
            with pytest.raises(Timeout) as caught:
                cache.touch_many(['a'])
            assert caught.value.args == (0,)
            assert cache.get_many(['a']) == {}
        assert_intact(cache)


def test_a_database_that_is_locked_later_keeps_the_batches_before(
    directory: str, assert_intact: Callable
) -> None:
    def items(con: sqlite3.Connection) -> Iterator[tuple[int, bytes]]:
        for number in range(3 * BATCH):
            if number == BATCH:
                con.execute('BEGIN IMMEDIATE')
            yield number, LARGE if number % 400 == 0 else b''

    with Cache(directory, timeout=0) as cache:
        for method in (cache.set_many, cache.add_many):
            cache.clear()
            with closing(sqlite3.connect(f'{directory}/cache.db', isolation_level=None)) as con:
                with pytest.raises(Timeout) as caught:
                    method(items(con))
            assert caught.value.args == (BATCH,)
            assert list(cache) == list(range(BATCH))
            assert_intact(cache)


def test_retry_waits_for_the_lock(directory: str, other: Interpreter) -> None:
    with Cache(directory, timeout=0) as cache:
        other.start(
            """
            with Cache(directory) as cache, cache.transact():
                cache['locked'] = 1
                open(directory + '/ready', 'x').close()
                time.sleep(0.1)
            """,
            directory=directory,
        )
        while not os.path.exists(f'{directory}/ready'):
            time.sleep(0.001)
        assert cache.set_many({'a': 1}, retry=True) == 1
        other.result()


def test_a_shard_that_is_locked_is_left_out(directory: str) -> None:
    with FanoutCache(directory, shards=2, timeout=0) as cache:
        first, second = cache._shards
        keys = range(100)
        of_second = [key for key in keys if cache._shard(key) is second]
        with closing(sqlite3.connect(f'{first.directory}/cache.db', isolation_level=None)) as con:
            con.execute('BEGIN IMMEDIATE')
            assert cache.set_many(dict.fromkeys(keys, LARGE)) == len(of_second)
            assert sorted(cache.get_many(keys)) == of_second
            assert cache.add_many(dict.fromkeys(keys, LARGE)) == 0
            assert cache.touch_many(keys, 5) == len(of_second)
            assert cache.delete_many(keys) == len(of_second)
        assert value_files(first.directory) == value_files(second.directory) == set()
        assert cache.set_many(dict.fromkeys(keys, 1), retry=True) == 100


def test_an_error_of_the_database_rolls_the_batch_back(
    cache: Cache, assert_intact: Callable
) -> None:
    cache._sql("CREATE TRIGGER refuse BEFORE INSERT ON Cache WHEN NEW.key = 'bad' BEGIN"
               " SELECT RAISE(ABORT, 'refused'); END")  # fmt: skip
    with pytest.raises(sqlite3.IntegrityError, match='refused'):
        cache.set_many({'a': LARGE, 'b': 1, 'bad': LARGE, 'c': LARGE})
    assert len(cache) == 0
    assert value_files(cache.directory) == set()
    cache._sql('DROP TRIGGER refuse')
    assert_intact(cache)


def test_a_killed_process_leaves_whole_batches(alone: Interpreter, directory: str) -> None:
    def fill(directory: str, batch: int) -> None:
        def items():
            for number in range(1_000_000):
                if number == 3 * batch + 500:
                    os.kill(os.getpid(), signal.SIGKILL)
                yield number, b'x' * (100_000 if number % 500 == 0 else 10)

        Cache(directory).set_many(items())

    alone.start(fill, directory=directory, batch=BATCH)
    alone.process.wait()
    with Cache(directory) as cache:
        assert list(cache) == list(range(3 * BATCH))
        assert stored_filenames(cache) <= value_files(directory)
        assert all(cache[number] == b'x' * 100_000 for number in range(0, 3 * BATCH, 500))


def test_threads_that_write_many_at_once_lose_nothing(
    either: Cache, assert_intact: Callable
) -> None:
    def write(thread: int) -> int:
        items = (((thread, number), LARGE[:number]) for number in range(2000))
        stored = either.set_many(items, retry=True)
        return stored - either.delete_many(((thread, number) for number in range(500)), retry=True)

    with ThreadPoolExecutor(4) as executor:
        futures = [executor.submit(write, thread) for thread in range(4)]
        while not all(future.done() for future in futures):
            found = either.get_many([(0, number) for number in range(500, 600)], retry=True)
            assert all(value == LARGE[:number] for (_, number), value in found.items())
        assert [future.result() for future in futures] == [1500] * 4
    keys = [(thread, number) for thread in range(4) for number in range(2000)]
    assert either.get_many(keys) == {key: LARGE[: key[1]] for key in keys if key[1] >= 500}
    for cache in getattr(either, '_shards', [either]):
        assert_intact(cache)


# What is overridden is used.


class Recording(Cache):
    """A Cache that notes which of its methods are called."""

    calls: list[tuple]

    def __init__(self, *args: object, **kwargs: object) -> None:
        """Begin with no calls."""
        self.calls = []
        super().__init__(*args, **kwargs)

    def set(self, key: object, value: object, *args: object, **kwargs: object) -> bool:
        """Note the call, and store another value."""
        self.calls.append(('set', key, args, kwargs))
        return super().set(key, f'set {value}', *args, **kwargs)

    def add(self, key: object, value: object, *args: object, **kwargs: object) -> bool:
        """Note the call, and store another value."""
        self.calls.append(('add', key, args, kwargs))
        return super().add(key, f'added {value}', *args, **kwargs)

    def get(self, key: object, default: object = None, **kwargs: object) -> object:
        """Note the call, and find one key that is not there."""
        self.calls.append(('get', key, default, kwargs))
        return 'found' if key == 'special' else super().get(key, default, **kwargs)

    def touch(self, key: object, *args: object, **kwargs: object) -> bool:
        """Note the call."""
        self.calls.append(('touch', key, args, kwargs))
        return super().touch(key, *args, **kwargs)

    def delete(self, key: object, **kwargs: object) -> bool:
        """Note the call."""
        self.calls.append(('delete', key, kwargs))
        return super().delete(key, **kwargs)


def test_overridden_methods_are_called_for_each_item(directory: str) -> None:
    with Recording(directory) as cache:
        assert cache.set_many({'a': 1}, expire=50, tag='tag') == 1
        assert cache.add_many([('a', 1), ('b', 2)], retry=True) == 1
        assert cache.get_many(['a', 'b', 'c', 'special']) == {
            'a': 'set 1',
            'b': 'added 2',
            'special': 'found',
        }
        assert cache.touch_many(['b', 'c'], 9) == cache.touch_many(['b'], retry=True) == 1
        assert cache.delete_many(['a', 'c']) == 1
        gets = [('get', key, ENOVAL, {'retry': False}) for key in ('a', 'b', 'c', 'special')]
        assert cache.calls == [
            ('set', 'a', (), {'expire': 50, 'tag': 'tag', 'retry': False}),
            ('add', 'a', (), {'retry': True}),
            ('add', 'b', (), {'retry': True}),
            *gets,
            ('touch', 'b', (), {'expire': 9, 'retry': False}),
            ('touch', 'c', (), {'expire': 9, 'retry': False}),
            ('touch', 'b', (), {'retry': True}),
            ('delete', 'a', {'retry': False}),
            ('delete', 'c', {'retry': False}),
        ]


def test_an_overridden_delitem_is_called_by_delete_many(directory: str) -> None:
    class Counting(Cache):
        deleted = 0

        def __delitem__(self, key: object, retry: bool = True) -> bool:
            self.deleted += 1
            return super().__delitem__(key, retry=retry)

    with Counting(directory) as cache:
        cache.set_many({'a': 1, 'b': 2})
        assert cache.delete_many(list('abc')) == 2
        assert cache.deleted == 3


def test_calls_of_an_overridden_method_are_one_transaction(
    directory: str, assert_intact: Callable
) -> None:
    class Refusing(Cache):
        def set(self, key: object, value: object, *args: object, **kwargs: object) -> bool:
            if key == 'bad':
                raise Error
            return super().set(key, value, *args, **kwargs)

    with Refusing(directory) as cache:
        with pytest.raises(Error):
            cache.set_many([('a', LARGE), ('b', 1), ('bad', 1)])
        assert len(cache) == 0
        assert_intact(cache)


def test_a_timeout_of_an_overridden_method_tells_the_number_done(
    directory: str, locked: Callable
) -> None:
    with Recording(directory, timeout=0) as cache, locked():
        with pytest.raises(Timeout) as caught:
            cache.set_many({'a': 1})
    assert caught.value.args == (0,)


def test_a_fanout_cache_calls_its_overridden_methods(directory: str) -> None:
    class Doubling(FanoutCache):
        def set(self, key: object, value: int, *args: object, **kwargs: object) -> bool:
            return super().set(key, 2 * value, *args, **kwargs)

        def get(self, key: object, *args: object, **kwargs: object) -> object:
            return 'found' if key == 'special' else super().get(key, *args, **kwargs)

        add = set

        def touch(self, key: object, *args: object, **kwargs: object) -> bool:
            return key == 'special' or super().touch(key, *args, **kwargs)

        def delete(self, key: object, *args: object, **kwargs: object) -> bool:
            return key == 'special' or super().delete(key, *args, **kwargs)

    with Doubling(directory) as cache:
        assert cache.set_many({'a': 1}, tag='tag') == 1
        assert cache.add_many({'b': 2}) == 1
        assert cache.get_many(['a', 'b', 'c', 'special']) == {'a': 2, 'b': 4, 'special': 'found'}
        assert cache.touch_many(['a', 'c', 'special'], 5) == 2
        assert cache.delete_many(['a', 'c', 'special']) == 2


def test_overridden_row_steps_are_called(directory: str, assert_intact: Callable) -> None:
    class Steps(Cache):
        steps: list[str]

        def _row_insert(self, *args: object) -> object:
            self.steps.append('insert')
            return super()._row_insert(*args)

        def _row_update(self, *args: object) -> object:
            self.steps.append('update')
            return super()._row_update(*args)

    with Steps(directory) as cache:
        cache.steps = []
        assert cache.set_many([('a', LARGE), ('b', 1), ('a', LARGE)]) == 3
        assert cache.steps == ['insert', 'insert', 'update']
        assert_intact(cache)


def test_a_disk_of_ones_own_converts_keys_and_values(
    directory: str, assert_intact: Callable
) -> None:
    with Cache(directory, disk=diskcache.JSONDisk) as cache:
        items = {'a': [1], 'b': {'c': None}, 'large': os.urandom(50_000).hex()}
        assert cache.set_many(items) == 3
        assert cache.get_many([*items, 'missing']) == items
        assert cache.delete_many(['a', 'large']) == 2
        assert_intact(cache)


def test_a_disk_that_fails_leaves_no_file(directory: str, assert_intact: Callable) -> None:
    class Failing(Disk):
        def store(self, value: object, read: bool, key: object = None) -> object:
            stored = super().store(value, read, key)
            return stored if value != 'bad' else (0, 'no mode', stored[2], None)

    with Cache(directory, disk=Failing, disk_min_file_size=0) as cache:
        with pytest.raises(TypeError):
            cache.set_many({'a': LARGE, 'b': 'bad', 'c': 'd'})
        assert len(cache) == 0
        assert_intact(cache)


# What is in memory is current.


def test_values_in_memory_are_replaced(cache: Cache, other: Interpreter) -> None:
    with Cache(cache.directory) as second:
        for step in range(3):
            keys = [0, 'a', b'b', 1.5, (1, 2), None]
            assert cache.set_many((key, f'{step} {key}') for key in keys) == 6
            for _ in range(2):
                expected = {key: f'{step} {key}' for key in keys}
                assert cache.get_many(keys) == second.get_many(keys) == expected
                assert {key: cache[key] for key in keys} == expected
                assert {key: second[key] for key in keys} == expected


def test_a_key_known_to_be_missing_is_found_once_it_is_written(cache: Cache) -> None:
    assert cache.get_many(list('ab')) == {}
    cache.add_many({'a': 1})
    assert cache.get_many(list('ab')) == {'a': 1}
    assert (cache['a'], cache.get('b')) == (1, None)
    cache.delete_many(list('a'))
    assert cache.get_many(list('ab')) == {}
    assert 'a' not in cache


def test_keys_that_are_not_written_stay_in_memory(cache: Cache) -> None:
    cache.set_many({'a': 1, 'b': 2})
    cache.get_many(list('ab'))
    cache.set_many({'b': 3, 'c': 4})
    cache.delete_many(['d'])
    cache.touch_many(['b', 'd'], 5)
    before = cache.memory_stats()
    assert cache['a'] == 1
    assert cache.memory_stats()['hits'] == before['hits'] + 1
    assert cache.memory_stats()['invalidations'] == before['invalidations']
    assert cache.get_many(list('abc')) == {'a': 1, 'b': 3, 'c': 4}


def test_what_is_rolled_back_is_not_in_memory(cache: Cache) -> None:
    cache.set_many({'a': 1})
    assert cache.get_many(list('ab')) == {'a': 1}
    with pytest.raises(Error), cache.transact():
        cache.touch_many(list('a'), -1)
        assert cache.get_many(list('ab')) == {}
        cache.set_many({'a': 2, 'b': 2})
        assert cache.get_many(list('ab')) == {'a': 2, 'b': 2}
        raise Error
    assert cache.get_many(list('ab')) == {'a': 1}


def test_another_process_sees_what_was_written(cache: Cache, other: Interpreter) -> None:
    names = {'directory': cache.directory}
    for step in range(2):
        cache.set_many({'a': step, 'b': LARGE})
        found = other.run("Cache(directory).get_many(['a', 'b'])", **names)
        assert found == {'a': step, 'b': LARGE}
        other.run("Cache(directory).set_many({'a': number})", number=step + 10, **names)
        assert cache.get_many(list('a')) == {'a': step + 10}
    cache.touch_many(['a'], -1)
    assert other.run("Cache(directory).get_many(['a'])", **names) == {}
    assert other.run("Cache(directory).touch_many(['a', 'b'], -1)", **names) == 1
    assert cache.get_many(['a', 'b']) == {}
