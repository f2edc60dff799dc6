"""Transactions: all or nothing, seen by nobody until they are over, one at a time."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import pytest
from consistency import value_files
from interpreter import Interpreter
from threads import in_thread

import diskcache

LARGE = b'x' * 100_000


class Failure(Exception):
    """What the tests raise."""


def test_all_writes_of_a_transaction_are_committed(
    cache: diskcache.Cache, other: Interpreter, assert_intact: Callable
) -> None:
    with cache.transact():
        cache['a'], cache['b'] = 1, LARGE
        cache.incr('count')
        cache.push('pushed')
    assert other.run('list(Cache(directory))', directory=cache.directory) == list(cache)
    assert len(cache) == 4
    assert_intact(cache)


@pytest.mark.parametrize('error', [Failure, KeyError, diskcache.Timeout, KeyboardInterrupt])
def test_an_exception_undoes_the_writes_and_is_passed_on(
    cache: diskcache.Cache, assert_intact: Callable, error: type[BaseException]
) -> None:
    cache['a'] = 'before'
    with pytest.raises(error), cache.transact():
        cache['a'], cache['b'] = 1, LARGE
        raise error
    assert list(cache) == ['a']
    assert cache['a'] == 'before'
    assert_intact(cache)


def test_a_transaction_sees_its_own_writes(cache: diskcache.Cache) -> None:
    cache['a'] = 'before'
    with cache.transact():
        cache['a'], cache['b'] = 'after', LARGE
        assert (cache['a'], cache['b']) == ('after', LARGE)
        assert 'b' in cache
        assert len(cache) == 2
        assert list(cache) == ['a', 'b']
        assert list(reversed(cache)) == ['b', 'a']
        assert list(cache.iterkeys()) == ['a', 'b']
        assert cache.peekitem() == ('b', LARGE)
        del cache['a']
        assert 'a' not in cache
        assert cache.get('a') is None


def test_others_see_nothing_until_the_commit(cache: diskcache.Cache, other: Interpreter) -> None:
    cache['key'] = 'before'
    read = "Cache(directory).get('key'), len(Cache(directory))"
    with cache.transact():
        cache['key'], cache['new'] = 'after', 1
        assert other.run(read, directory=cache.directory) == ('before', 1)
        assert in_thread(lambda: (cache['key'], len(cache))) == ('before', 1)
    assert other.run(read, directory=cache.directory) == ('after', 2)
    assert in_thread(lambda: (cache['key'], len(cache))) == ('after', 2)


def test_an_inner_transaction_is_part_of_the_outer_one(
    cache: diskcache.Cache, assert_intact: Callable
) -> None:
    with pytest.raises(Failure), cache.transact():
        with cache.transact():
            cache['inner'] = LARGE
        with cache.transact(), cache.transact():
            cache['innermost'] = LARGE
        raise Failure
    assert len(cache) == 0
    assert_intact(cache)


def test_an_error_caught_outside_the_inner_transaction_spares_the_outer_one(
    cache: diskcache.Cache,
) -> None:
    with cache.transact():
        cache['a'] = 1
        with pytest.raises(Failure), cache.transact():
            cache['b'] = 2
            raise Failure
        cache['c'] = 3
    assert list(cache) == ['a', 'b', 'c']


def test_an_error_of_an_operation_does_not_end_the_transaction(
    cache: diskcache.Cache, assert_intact: Callable
) -> None:
    with cache.transact():
        cache['a'] = 1
        with pytest.raises(KeyError):
            del cache['missing']
        with pytest.raises(TypeError):
            cache.set('b', LARGE, tag=object())
        with pytest.raises(KeyError):
            cache.incr('missing', default=None)
        cache['c'] = 3
    assert list(cache) == ['a', 'c']
    assert_intact(cache)


@pytest.mark.parametrize('retry', [False, True])
def test_another_thread_cannot_write_meanwhile(
    directory: str, retry: bool, assert_intact: Callable
) -> None:
    with diskcache.Cache(directory, timeout=0) as cache:
        with cache.transact(retry=retry):
            cache['a'] = 1
            with pytest.raises(diskcache.Timeout):
                in_thread(lambda: cache.set('b', LARGE))
            with pytest.raises(diskcache.Timeout):
                in_thread(lambda: cache.transact().__enter__())
            cache['c'] = 3
        assert list(cache) == ['a', 'c']
        assert_intact(cache)


def test_another_process_cannot_write_meanwhile(cache: diskcache.Cache, other: Interpreter) -> None:
    script = """
    try:
        Cache(directory, timeout=0).set('b', 1)
    except diskcache.Timeout:
        answer = 'Timeout'
    answer
    """
    with cache.transact():
        cache['a'] = 1
        assert other.run(script, directory=cache.directory) == 'Timeout'
    assert list(cache) == ['a']


def test_a_thread_that_waits_writes_when_the_transaction_is_over(cache: diskcache.Cache) -> None:
    order = []

    def write() -> None:
        cache.set('key', 'thread', retry=True)
        order.append('thread')

    thread = threading.Thread(target=write)
    with cache.transact():
        thread.start()
        cache['key'] = 'transaction'
        time.sleep(0.05)
        order.append('transaction')
    thread.join()
    assert order == ['transaction', 'thread']
    assert cache['key'] == 'thread'


def test_transactions_of_threads_do_not_mix(cache: diskcache.Cache) -> None:
    def work(number: int) -> None:
        for turn in range(20):
            try:
                with cache.transact(retry=True):
                    cache.incr('count')
                    cache[number, turn] = turn
                    if turn % 2:
                        raise Failure
            except Failure:
                pass

    threads = [threading.Thread(target=work, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert cache.pop('count') == 60
    assert sorted(cache) == [(number, turn) for number in range(6) for turn in range(0, 20, 2)]


def test_transactions_of_two_caches_are_separate(directory: str) -> None:
    with diskcache.Cache(directory + '-1') as first, diskcache.Cache(directory + '-2') as second:
        with first.transact():
            first['a'] = 1
            with pytest.raises(Failure), second.transact():
                first['b'] = second['b'] = 2
                raise Failure
        assert list(first) == ['a', 'b']
        assert list(second) == []


def test_two_caches_of_one_directory_exclude_each_other(directory: str) -> None:
    with (
        diskcache.Cache(directory, timeout=0) as first,
        diskcache.Cache(directory, timeout=0) as second,
    ):
        with first.transact():
            first['a'] = 1
            with pytest.raises(diskcache.Timeout):
                second.set('b', 2)
            assert second.get('a') is None
        assert second['a'] == 1


def test_a_transaction_object_can_be_used_once_after_another(cache: diskcache.Cache) -> None:
    for number in range(3):
        with cache.transact():
            cache[number] = number
    assert list(cache) == [0, 1, 2]


def test_a_generator_that_is_closed_in_a_transaction_rolls_it_back(
    cache: diskcache.Cache, assert_intact: Callable
) -> None:
    def generate() -> object:
        with cache.transact():
            cache['a'] = LARGE
            yield

    generator = generate()
    next(generator)
    assert cache['a'] == LARGE
    generator.close()
    assert 'a' not in cache
    assert_intact(cache)


def test_a_process_that_is_killed_in_a_transaction_leaves_no_lock_and_no_row(
    cache: diskcache.Cache, alone: Interpreter
) -> None:
    cache['key'] = LARGE
    script = """
    cache = Cache(directory)
    transaction = cache.transact()
    transaction.__enter__()
    cache['key'] = 'x' * 200_000
    cache['new'] = 'x' * 200_000
    del cache['key']
    """
    alone.run(script + 'diskcache.kept = cache, transaction', directory=cache.directory)
    with pytest.raises(diskcache.Timeout), diskcache.Cache(cache.directory, timeout=0) as second:
        second.set('key', 1)
    alone.kill()
    assert cache['key'] == LARGE
    assert 'new' not in cache
    with diskcache.Cache(cache.directory, timeout=0) as second:
        assert second.set('at once', 1)


def test_a_process_that_ends_in_a_transaction_rolls_it_back(
    cache: diskcache.Cache, alone: Interpreter, assert_intact: Callable
) -> None:
    cache['key'] = LARGE
    script = """
    cache = Cache(directory)
    transaction = cache.transact()
    transaction.__enter__()
    cache['key'] = 1
    diskcache.kept = cache, transaction
    """
    alone.run(script, directory=cache.directory)
    alone.process.stdin.close()
    assert alone.process.wait(timeout=30) == 0
    assert cache['key'] == LARGE
    assert_intact(cache)


def test_large_transactions_commit(cache: diskcache.Cache) -> None:
    with cache.transact():
        for number in range(20_000):
            cache[number] = 'x' * 100
    assert len(cache) == 20_000
    with cache.transact():
        assert cache.clear() == 20_000
    assert len(cache) == 0
    assert value_files(cache.directory) == set()


def test_iterating_while_writing_in_a_transaction(cache: diskcache.Cache) -> None:
    for number in range(300):
        cache[number] = number
    with cache.transact():
        for key in cache:
            cache[key] = key * 2
    assert [cache[key] for key in cache] == [number * 2 for number in range(300)]
