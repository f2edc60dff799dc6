"""An exception from nowhere, out of a signal handler say, leaves no transaction open."""

from __future__ import annotations

import contextlib
import gc
import signal
import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from interpreter import Interpreter

from diskcache import Cache, Deque, FanoutCache, Index

needs_timer = pytest.mark.skipif(not hasattr(signal, 'setitimer'), reason='needs setitimer')
SECONDS = (0.0003, 0.0005, 0.0008, 0.0013)


class Interruption(Exception):
    """What the signal handler raises."""


@pytest.fixture
def interrupt() -> Iterator[Callable[[float], None]]:
    """A function that has Interruption raised after so many seconds, wherever the program is."""

    def handler(*_: object) -> None:
        raise Interruption

    gc.disable()  # What is raised inside a callback of the collector is lost.
    former = signal.signal(signal.SIGALRM, handler)
    yield lambda seconds: signal.setitimer(signal.ITIMER_REAL, seconds) and None
    signal.setitimer(signal.ITIMER_REAL, 0)
    signal.signal(signal.SIGALRM, former)
    gc.enable()


def transact(cache: Any) -> None:
    """Write in a transaction."""
    with cache.transact():
        cache['key'] = 1


OPEN: dict[str, tuple[Callable[[str], Any], Callable[[Any], None]]] = {
    'Cache': (lambda directory: Cache(directory, timeout=1), transact),
    'FanoutCache': (lambda directory: FanoutCache(directory, 3, timeout=1), transact),
    'Index': (Index, transact),
    'Index.move_to_end': (
        lambda directory: Index(directory, a=1, b=2),
        lambda index: index.move_to_end('a'),
    ),
    'Deque': (
        lambda directory: Deque('abc', directory, maxlen=3),
        lambda deque: deque.append('d'),
    ),
    'Deque.insert': (
        lambda directory: Deque('abc', directory),
        lambda deque: (deque.insert(1, 'x'), deque.pop()),
    ),
}


@pytest.mark.slow
@needs_timer
@pytest.mark.parametrize(('make', 'use'), OPEN.values(), ids=OPEN.keys())
def test_no_lock_is_left_behind(
    directory: str,
    interrupt: Callable[[float], None],
    other: Interpreter,
    make: Callable[[str], Any],
    use: Callable[[Any], None],
) -> None:
    store = make(directory)
    for turn in range(60):
        with contextlib.suppress(Interruption):
            interrupt(SECONDS[turn % 4] * (1 + turn / 60))
            for _ in range(1000):  # Bounded: what is raised inside a finalizer is ignored.
                use(store)
    caches = store._shards if isinstance(store, FanoutCache) else [getattr(store, 'cache', store)]
    assert [cache._txn_id for cache in caches] == [None] * len(caches)
    # Not at once: the log may just be being copied in the background.
    script = 'Cache(directory, timeout=5).set("from outside", 1)'
    for cache in caches:
        assert other.run(script, directory=cache.directory) is True


def test_a_transaction_that_is_dropped_is_rolled_back(cache: Cache, other: Interpreter) -> None:
    transaction = cache.transact()
    transaction.__enter__()
    cache['key'] = 1
    assert cache['key'] == 1
    del transaction
    assert 'key' not in cache
    script = 'Cache(directory, timeout=0).set("key", 2)'
    assert other.run(script, directory=cache.directory) is True


def test_an_inner_one_that_is_dropped_leaves_the_outer_one_open(cache: Cache) -> None:
    with cache.transact():
        cache['outer'] = 1
        inner = cache.transact()
        inner.__enter__()
        cache['inner'] = 2
        del inner
        assert cache._txn_id is not None
    assert cache._txn_id is None
    assert dict.fromkeys(cache) == {'outer': None, 'inner': None}


def test_dropping_the_outer_one_first_rolls_both_back(cache: Cache, other: Interpreter) -> None:
    """Nobody can leave the outer block any more, so the lock is given up with it, in any order."""
    outer, inner = cache.transact(), cache.transact()
    outer.__enter__()
    inner.__enter__()
    cache['key'] = 1
    del outer
    assert cache._txn_id is None
    assert 'key' not in cache
    del inner
    script = 'Cache(directory, timeout=0).set("key", 2)'
    assert other.run(script, directory=cache.directory) is True
    assert cache['key'] == 2


def test_the_block_inside_of_one_that_is_dropped_tells_that_it_is_over(
    cache: Cache, other: Interpreter
) -> None:
    """What the inner block has written is gone: leaving it must not look like success."""
    outer = [cache.transact()]
    outer[0].__enter__()
    with pytest.raises(RuntimeError, match='over'):
        with cache.transact():
            cache['key'] = 1
            outer.clear()
    assert 'key' not in cache
    script = 'Cache(directory, timeout=0).set("key", 2)'
    assert other.run(script, directory=cache.directory) is True


def test_one_that_was_entered_in_a_transaction_long_over_can_be_used_again(cache: Cache) -> None:
    again, outer = cache.transact(), cache.transact()
    outer.__enter__()
    again.__enter__()
    del outer
    with again:
        cache['key'] = 1
    assert cache._txn_id is None
    assert cache['key'] == 1


def test_one_that_is_over_is_dropped_without_effect(cache: Cache) -> None:
    over = cache.transact()
    with over:
        cache['key'] = 1
    with cache.transact():
        cache['key'] = 2
        del over
        assert sys.getrefcount(cache) > 1
    assert cache['key'] == 2


@needs_timer
@pytest.mark.parametrize('iterate', [iter, Cache.iterkeys], ids=['by insertion', 'by key'])
def test_signals_are_handled_while_keys_are_gone_through(cache: Cache, iterate: Callable) -> None:
    """Also where no Python code runs between two keys."""
    cache.set_many((number, 1) for number in range(100_000))
    keys: list[int] = []
    seen: list[int] = []
    former = signal.signal(signal.SIGALRM, lambda *_: seen.append(len(keys)))
    signal.setitimer(signal.ITIMER_REAL, 0.002)
    keys.extend(iterate(cache))
    signal.setitimer(signal.ITIMER_REAL, 0)
    signal.signal(signal.SIGALRM, former)
    assert len(keys) == 100_000
    assert seen[0] < 100_000
