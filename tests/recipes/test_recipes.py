"""Recipes: what threads and processes that share a lock, an average or a limit may rely on."""

from __future__ import annotations

import asyncio
import doctest
import functools as ft
import itertools
import math
import os
import pickle
import random
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from interpreter import Clock, Interpreter

import diskcache
from diskcache import (
    ENOVAL,
    Averager,
    BoundedSemaphore,
    Lock,
    RLock,
    barrier,
    memoize_stampede,
    recipes,
    throttle,
)

needs_fork = pytest.mark.skipif(not hasattr(os, 'fork'), reason='this platform cannot fork')

LOCKS = {'Lock': Lock, 'RLock': RLock, 'BoundedSemaphore': BoundedSemaphore}


@pytest.fixture(params=['Cache', 'FanoutCache', 'JSONDisk', 'SafeDisk'])
def store(request: pytest.FixtureRequest, directory: str) -> Iterator[object]:
    """A cache of each kind that recipes work with."""
    kinds = {
        'Cache': lambda: diskcache.Cache(directory),
        'FanoutCache': lambda: diskcache.FanoutCache(directory, shards=3),
        'JSONDisk': lambda: diskcache.Cache(directory, disk=diskcache.JSONDisk),
        'SafeDisk': lambda: diskcache.Cache(directory, disk=diskcache.SafeDisk),
    }
    with kinds[request.param]() as cache:
        yield cache


def marker_of(store: Any, key: tuple) -> tuple:
    """Return the key under which it is noted that somebody computes a result again."""
    return (*key, ('ENOVAL',) if isinstance(store.disk, diskcache.SafeDisk) else ENOVAL)


@pytest.fixture(params=LOCKS)
def kind(request: pytest.FixtureRequest) -> type:
    """The class of each kind of lock."""
    return LOCKS[request.param]


class Task(threading.Thread):
    """A call in another thread; if it hangs, it does not keep the tests from ending."""

    def __init__(self, function: Callable, *args: object, **kwargs: object) -> None:
        super().__init__(daemon=True)
        self._call = ft.partial(function, *args, **kwargs)
        self.start()

    def run(self) -> None:
        try:
            self._outcome = True, self._call()
        except BaseException as error:
            self._outcome = False, error

    def result(self) -> object:
        """Wait for the end of the call; return what it returned, or raise what it raised."""
        self.join()
        succeeded, value = self._outcome
        if not succeeded:
            raise value
        return value


def in_thread(function: Callable, *args: object, **kwargs: object) -> object:
    """Return what `function` returns in another thread, or raise what it raises there."""
    return Task(function, *args, **kwargs).result()


def is_free(lock: object) -> bool:
    """Tell whether another thread could have the lock at once."""

    def attempt() -> bool:
        acquired = lock.acquire(timeout=0)
        if acquired:
            lock.release()
        return acquired

    return in_thread(attempt)


def count_up(directory: str, kind: str, turns: int) -> None:
    """Add `turns` to the number in a file, in steps that are atomic only because of a lock."""
    path = os.path.join(directory, 'count')
    lock = getattr(diskcache, kind)(diskcache.Cache(directory), 'lock')
    for _ in range(turns):
        with lock:
            with open(path) as file:
                count = int(file.read())
            with open(path, 'w') as file:
                file.write(str(count + 1))


def clock_ahead(seconds: float) -> Clock:
    """Return a clock that says the real time plus `seconds`."""
    clock = Clock()
    clock.now = time.time_ns() / 1e9 + seconds
    return clock


def test_the_examples_in_the_docstrings_work() -> None:
    results = doctest.testmod(recipes)
    assert (results.failed, results.attempted > 20) == (0, True)


class TestAverager:
    """A running average."""

    def test_is_the_mean_of_what_was_added(self, store: object) -> None:
        average = Averager(store, 'key')
        for value in (1, 2.5, 4):
            average.add(value)
        assert average.get() == 2.5
        assert Averager(store, 'key').get() == 2.5

    def test_is_none_when_nothing_was_added(self, store: object) -> None:
        average = Averager(store, 'key')
        assert average.get() is None
        assert average.pop() is None

    def test_begins_anew_when_popped(self, store: object) -> None:
        average = Averager(store, 'key')
        average.add(5)
        assert average.pop() == 5
        assert average.get() is None
        assert 'key' not in store

    def test_is_forgotten_when_it_expires(self, store: object, clock: Clock) -> None:
        average = Averager(store, 'key', expire=10)
        average.add(5)
        clock.tick(9)
        average.add(7)
        clock.tick(9)
        assert average.get() == 6
        clock.tick(2)
        assert average.get() is None

    def test_has_its_tag(self, store: object) -> None:
        Averager(store, 'key', tag='tag').add(5)
        assert store.get('key', tag=True)[1] == 'tag'

    def test_stays_as_it_was_when_a_value_is_no_number(self, store: object) -> None:
        average = Averager(store, 'key')
        average.add(5)
        with pytest.raises(TypeError):
            average.add('five')
        assert average.get() == 5

    def test_loses_no_value_of_any_process(
        self, cache: diskcache.Cache, other: Interpreter, original: Interpreter
    ) -> None:
        script = """
        average = diskcache.Averager(Cache(directory), 'key')
        for turn in range(100):
            average.add(value)
        """
        other.start(script, directory=cache.directory, value=2)
        original.start(script, directory=cache.directory, value=3)
        average = Averager(cache, 'key')
        for _ in range(100):
            average.add(4)
        other.result()
        original.result()
        assert cache['key'] == (900, 300)
        assert average.get() == 3


class TestEveryLock:
    """What Lock, RLock and BoundedSemaphore have in common."""

    def test_is_held_inside_the_with_statement_and_free_after(
        self, store: object, kind: type
    ) -> None:
        lock = kind(store, 'key')
        with lock as entered:
            assert entered is lock
            assert not is_free(lock)
        assert is_free(lock)

    def test_is_freed_by_an_exception(self, store: object, kind: type) -> None:
        lock = kind(store, 'key')
        with pytest.raises(LookupError), lock:
            raise LookupError
        assert is_free(lock)

    def test_is_held_from_acquire_to_release(self, store: object, kind: type) -> None:
        lock = kind(store, 'key')
        assert lock.acquire() is True
        assert not is_free(lock)
        lock.release()
        assert is_free(lock)

    def test_is_one_for_all_objects_of_a_key(self, store: object, kind: type) -> None:
        with kind(store, 'key'):
            assert not is_free(kind(store, 'key'))
            assert is_free(kind(store, 'other'))
        kind(store, 'key').acquire()
        kind(store, 'key').release()
        assert is_free(kind(store, 'key'))

    def test_is_given_up_when_the_time_is_over(self, store: object, kind: type) -> None:
        lock = kind(store, 'key')
        with lock:
            assert in_thread(lock.acquire, timeout=0.02) is False
            assert in_thread(lock.acquire, timeout=0) is False

    @pytest.mark.parametrize('timeout', [None, 40, math.inf])
    def test_is_waited_for(self, store: object, kind: type, timeout: float | None) -> None:
        lock = kind(store, 'key')
        with lock:
            waiter = Task(lock.acquire, timeout=timeout)
            time.sleep(0.02)
            assert waiter.is_alive()
        assert waiter.result() is True

    @pytest.mark.parametrize('timeout', [-1, -0.001, -math.inf, math.nan])
    def test_a_time_to_wait_cannot_be_negative(
        self, store: object, kind: type, timeout: float
    ) -> None:
        with pytest.raises(ValueError, match='timeout'):
            kind(store, 'key').acquire(timeout=timeout)
        assert len(store) == 0

    @pytest.mark.parametrize('timeout', ['1', True, (), 1j])
    def test_a_time_to_wait_is_a_number(self, store: object, kind: type, timeout: object) -> None:
        with pytest.raises(TypeError, match='timeout'):
            kind(store, 'key').acquire(timeout=timeout)

    def test_is_free_when_it_expires(self, store: object, kind: type, clock: Clock) -> None:
        lock = kind(store, 'key', expire=10)
        lock.acquire()
        clock.tick(9)
        assert not is_free(lock)
        clock.tick(2)
        assert is_free(lock)

    def test_has_its_tag(self, store: object, kind: type) -> None:
        with kind(store, 'key', tag='tag'):
            assert store.get('key', tag=True)[1] == 'tag'

    def test_is_waited_for_without_writing(
        self, cache: diskcache.Cache, kind: type, locked: Callable
    ) -> None:
        lock = kind(cache, 'key')
        lock.acquire()
        with locked():  # In which who wants to write waits, and no timeout ends that.
            assert in_thread(lock.acquire, timeout=0.01) is False

    def test_is_acquired_while_another_shard_is_locked(self, directory: str, kind: type) -> None:
        with diskcache.FanoutCache(directory, shards=2) as cache:
            (another,) = {*cache._shards} - {cache._shard('key')}
            with another.transact():
                assert in_thread(kind(cache, 'key').acquire) is True

    @pytest.mark.parametrize('partner', ['other', 'original'])
    def test_excludes_threads_and_processes(
        self, cache: diskcache.Cache, kind: type, partner: str, request: pytest.FixtureRequest
    ) -> None:
        partners = [request.getfixturevalue(name) for name in (partner, 'alone')]
        work = {'directory': cache.directory, 'kind': kind.__name__, 'turns': 40}
        with open(f'{cache.directory}/count', 'w') as file:
            file.write('0')
        for interpreter in partners:
            interpreter.start(count_up, **work)
        for task in [Task(count_up, **work) for _ in range(2)]:
            task.result()
        for interpreter in partners:
            interpreter.result()
        with open(f'{cache.directory}/count') as file:
            assert file.read() == '160'

    @pytest.mark.parametrize('partner', ['other', 'original'])
    def test_held_there_it_cannot_be_had_here(
        self, cache: diskcache.Cache, kind: type, partner: str, request: pytest.FixtureRequest
    ) -> None:
        there = request.getfixturevalue(partner)
        names = {'directory': cache.directory, 'kind': kind.__name__}
        there.run("getattr(diskcache, kind)(Cache(directory), 'key').acquire()", **names)
        lock = kind(cache, 'key')
        assert lock.acquire(timeout=0) is False
        there.run("getattr(diskcache, kind)(Cache(directory), 'key').release()", **names)
        assert lock.acquire(timeout=0) is True

    def test_held_here_it_cannot_be_had_by_the_original(
        self, cache: diskcache.Cache, kind: type, original: Interpreter
    ) -> None:
        script = """
        cache = Cache(directory)
        getattr(diskcache, kind)(cache, 'key').acquire()
        'after' if cache.get('freed') else 'before'
        """
        with kind(cache, 'key'):
            original.start(script, directory=cache.directory, kind=kind.__name__)
            for _ in range(20):
                time.sleep(0.002)
                assert not original.has_answered()
            cache['freed'] = True
        assert original.result() == 'after'

    def test_of_a_killed_process_expires(
        self, cache: diskcache.Cache, kind: type, alone: Interpreter,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:  # fmt: skip
        script = "getattr(diskcache, kind)(Cache(directory), 'key', expire=3600).acquire()"
        alone.run(script, directory=cache.directory, kind=kind.__name__)
        alone.kill()
        lock = kind(cache, 'key')
        assert lock.acquire(timeout=0) is False
        monkeypatch.setattr(time, 'time', clock_ahead(3601))
        assert lock.acquire(timeout=0) is True

    def test_survives_pickling(self, store: object, kind: type) -> None:
        lock = pickle.loads(pickle.dumps(kind(store, 'key', expire=60, tag='tag')))
        with lock:
            assert not is_free(kind(store, 'key'))


class TestLock:
    """A lock with an owner."""

    def test_tells_whether_it_is_held(self, store: object) -> None:
        lock = Lock(store, 'key')
        assert lock.locked() is False
        with lock:
            assert lock.locked() is True
            assert in_thread(lock.locked) is True
        assert lock.locked() is False

    def test_cannot_be_acquired_twice(self, store: object) -> None:
        with Lock(store, 'key') as lock:
            assert lock.acquire(timeout=0) is False

    def test_tells_whether_release_has_freed_it(self, store: object) -> None:
        lock = Lock(store, 'key')
        assert lock.release() is False
        lock.acquire()
        assert lock.release() is True
        assert lock.release() is False

    def test_is_freed_by_another_thread(self, store: object) -> None:
        lock = Lock(store, 'key')
        for release in (lock.release, Lock(store, 'key').release):
            lock.acquire()
            assert in_thread(release) is True
            assert not lock.locked()
        assert lock.release() is False

    def test_one_function_may_acquire_it_and_another_release_it(self, store: object) -> None:
        """With an object of its own that holds nothing itself, as with the original."""
        begins, ends = Lock(store, 'key'), Lock(store, 'key')
        for _ in range(3):
            assert begins.acquire(timeout=0)
            assert ends.release() is True
            assert not begins.locked()
        assert ends.acquire(timeout=0)
        assert begins.release() is False  # It has lost the lock, which is another's by now.
        assert ends.release() is True

    def test_is_freed_by_a_process_that_it_was_handed_to(
        self, cache: diskcache.Cache, other: Interpreter
    ) -> None:
        lock = Lock(cache, 'key')
        lock.acquire()
        assert other.run('pickle.loads(pickled).release()', pickled=pickle.dumps(lock)) is True
        assert not lock.locked()

    def test_tasks_acquire_and_release_it_in_whichever_thread_there_is(self, store: object) -> None:
        lock = Lock(store, 'key', expire=60)
        holders = []

        async def hold() -> bool:
            assert await asyncio.to_thread(lock.acquire, 40)
            holders.append(1)
            assert len(holders) == 1
            await asyncio.sleep(0.005)
            holders.pop()
            return await asyncio.to_thread(lock.release)

        async def main() -> list[bool]:
            # One thread more than wait: who has the lock needs one to release it.
            asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(6))
            return await asyncio.gather(*(hold() for _ in range(6)))

        assert asyncio.run(main()) == [True] * 6
        assert not lock.locked()

    @pytest.mark.parametrize('partner', ['other', 'original'])
    def test_is_freed_by_another_process(
        self, cache: diskcache.Cache, partner: str, request: pytest.FixtureRequest
    ) -> None:
        lock = Lock(cache, 'key')
        lock.acquire()
        script = "diskcache.Lock(Cache(directory), 'key').release()"
        request.getfixturevalue(partner).run(script, directory=cache.directory)
        assert not lock.locked()
        assert Lock(cache, 'key').acquire(timeout=0)
        assert lock.release() is False
        assert lock.locked()

    def test_is_not_freed_by_who_held_it_before_it_expired(
        self, store: object, clock: Clock
    ) -> None:
        lock = Lock(store, 'key', expire=10)
        with lock:
            clock.tick(11)
            assert in_thread(lock.acquire, timeout=0) is True
        assert lock.locked()
        expired = Lock(store, 'other', expire=10)
        expired.acquire()
        clock.tick(11)
        later = Lock(store, 'other')
        assert later.acquire(timeout=0)
        assert [expired.release(), expired.release()] == [False, False]
        assert later.release() is True
        assert expired.acquire(timeout=0)
        assert expired.release() is True

    def test_of_the_original_is_freed_here(
        self, cache: diskcache.Cache, original: Interpreter
    ) -> None:
        lock = Lock(cache, 'key')
        script = "diskcache.Lock(Cache(directory), 'key').acquire()"
        original.run(script, directory=cache.directory)
        assert lock.release() is True
        assert not lock.locked()

    @needs_fork
    @pytest.mark.parametrize('kind', ['Lock', 'RLock'])
    def test_of_the_parent_is_not_the_forked_childs(
        self, cache: diskcache.Cache, alone: Interpreter, kind: str
    ) -> None:
        script = """
        lock = getattr(diskcache, kind)(Cache(directory), 'key')
        lock.acquire()
        def work():
            os.getpid = lambda: parent  # As it may seem where containers count from 1.
            got = lock.acquire(timeout=0)
            try:
                return got, lock.release()
            except AssertionError:
                return got, False
        parent = os.getpid()
        Child(work).result(), lock.release()
        """
        answer, released = alone.run(script, directory=cache.directory, kind=kind)
        assert answer == (False, False)
        assert released is (True if kind == 'Lock' else None)


class TestRLock:
    """A lock that its owner can acquire again."""

    def test_is_free_when_released_as_often_as_acquired(self, store: object) -> None:
        lock = RLock(store, 'key')
        for _ in range(3):
            assert lock.acquire() is True
        for _ in range(3):
            assert not is_free(lock)
            lock.release()
        assert is_free(lock)

    def test_cannot_be_released_by_who_does_not_hold_it(self, store: object) -> None:
        lock = RLock(store, 'key')
        with pytest.raises(AssertionError, match=r'^cannot release un-acquired lock$'):
            lock.release()
        with lock:
            with pytest.raises(AssertionError, match=r'^cannot release un-acquired lock$'):
                in_thread(lock.release)
            assert not is_free(lock)
        with pytest.raises(AssertionError):
            lock.release()

    def test_is_released_by_its_owner_through_another_object(self, store: object) -> None:
        RLock(store, 'key').acquire()
        RLock(store, 'key').acquire()
        RLock(store, 'key').release()
        assert not is_free(RLock(store, 'key'))
        RLock(store, 'key').release()
        assert is_free(RLock(store, 'key'))

    def test_cannot_be_released_by_who_held_it_before_it_expired(
        self, store: object, clock: Clock
    ) -> None:
        lock = RLock(store, 'key', expire=10)
        lock.acquire()
        clock.tick(11)
        assert in_thread(lock.acquire, timeout=0) is True
        with pytest.raises(AssertionError):
            lock.release()
        assert lock.acquire(timeout=0) is False

    def test_stores_its_owner_and_a_count(self, cache: diskcache.Cache) -> None:
        lock = RLock(cache, 'key')
        with lock, lock:
            owner, count = cache['key']
            assert (type(owner), count) == (str, 2)
        assert cache['key'][1] == 0

    def test_that_its_owner_has_is_not_waited_for(
        self, cache: diskcache.Cache, other: Interpreter
    ) -> None:
        script = """
        lock = diskcache.RLock(Cache(directory), 'key')
        with lock, lock, diskcache.RLock(Cache(directory), 'key') as third:
            answer = third.acquire(timeout=0)
            third.release()
        answer
        """
        assert other.run(script, directory=cache.directory) is True
        assert is_free(RLock(cache, 'key'))


class TestBoundedSemaphore:
    """A number of places."""

    def test_has_as_many_places_as_it_says(self, store: object) -> None:
        semaphore = BoundedSemaphore(store, 'key', value=3)
        assert [semaphore.acquire(timeout=0) for _ in range(4)] == [True, True, True, False]
        semaphore.release()
        assert is_free(semaphore)
        assert [semaphore.acquire(timeout=0) for _ in range(2)] == [True, False]

    def test_has_no_more_places_than_it_says(self, store: object) -> None:
        semaphore = BoundedSemaphore(store, 'key', value=2)
        semaphore.acquire()
        semaphore.release()
        with pytest.raises(AssertionError, match=r'^cannot release un-acquired semaphore$'):
            semaphore.release()
        assert store['key'] == 2

    def test_gives_places_back_from_any_thread(self, store: object) -> None:
        semaphore = BoundedSemaphore(store, 'key')
        semaphore.acquire()
        in_thread(semaphore.release)
        assert is_free(semaphore)

    @pytest.mark.parametrize('value', [0, -1])
    def test_has_a_positive_number_of_places(self, store: object, value: int) -> None:
        with pytest.raises(ValueError, match='value'):
            BoundedSemaphore(store, 'key', value=value)

    @pytest.mark.parametrize('value', [None, 1.0, '1', True])
    def test_has_a_whole_number_of_places(self, store: object, value: object) -> None:
        with pytest.raises(TypeError, match='value'):
            BoundedSemaphore(store, 'key', value=value)

    @pytest.mark.parametrize('partner', ['other', 'original'])
    def test_never_has_more_inside_than_places(
        self, cache: diskcache.Cache, partner: str, request: pytest.FixtureRequest
    ) -> None:
        script = """
        cache = Cache(directory)
        semaphore = diskcache.BoundedSemaphore(cache, 'semaphore', value=2)
        inside = []
        for turn in range(30):
            with semaphore:
                inside.append(cache.incr('inside', retry=True))
                cache.decr('inside', retry=True)
        max(inside)
        """
        interpreters = [request.getfixturevalue(name) for name in (partner, 'other', 'alone')]
        for interpreter in interpreters[partner == 'other' :]:
            interpreter.start(script, directory=cache.directory)
        most = max(interpreter.result() for interpreter in interpreters[partner == 'other' :])
        assert most <= 2
        assert cache['semaphore'] == 2


@pytest.mark.parametrize('release', ['RLock', 'BoundedSemaphore'])
def test_a_wrong_release_is_an_error_also_without_assert_statements(release: str) -> None:
    script = f'import diskcache as d; d.{release}(d.Cache(), "key").release()'
    environment = {**os.environ, 'PYTHONPATH': os.pathsep.join(filter(None, sys.path))}
    ended = subprocess.run(
        [sys.executable, '-O', '-c', script], capture_output=True, text=True, env=environment
    )
    assert 'AssertionError: cannot release un-acquired' in ended.stderr


def pauses_of_a_wait(timeout: float, monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Return the pauses of a wait in vain, under a clock that only sleeping moves."""
    clock, pauses = Clock(), []

    def sleep(seconds: float) -> None:
        pauses.append(seconds)
        clock.tick(seconds)

    clock.now = 0.0
    with diskcache.Cache() as cache, monkeypatch.context() as patch:
        with Lock(cache, 'key') as lock:
            patch.setattr(time, 'monotonic', clock)
            patch.setattr(time, 'sleep', sleep)
            assert lock.acquire(timeout=timeout) is False
    return pauses


class Wrapper:
    """What behaves like a Cache, and was written before there was `modify`."""

    def __init__(self, cache: diskcache.Cache) -> None:
        self.transact, self.set, self.add = cache.transact, cache.set, cache.add
        self.delete, self.pop, self._get = cache.delete, cache.pop, cache.get

    def get(self, key: object, default: Any = None, retry: bool = False) -> Any:
        """Return the value of a key."""
        return self._get(key, default, retry=retry)


def test_what_behaves_like_a_cache_keeps_their_state_too(directory: str) -> None:
    with diskcache.Cache(directory) as cache:
        wrapper: Any = Wrapper(cache)
        lock = RLock(wrapper, 'lock')
        with lock, lock:
            assert cache['lock'][1] == 2
        average = Averager(wrapper, 'average')
        average.add(3)
        assert average.pop() == 3
        mine = Lock(wrapper, 'mine')
        assert mine.acquire()
        assert mine.release()
        assert throttle(wrapper, 1, 1)(int)('5') == 5


def test_pauses_begin_short_and_grow_to_a_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    pauses = pauses_of_a_wait(10, monkeypatch)
    assert pauses[0] <= 0.001
    assert sum(pauses[:5]) < sum(pauses[5:10]) < sum(pauses[10:15])
    assert 0.025 <= max(pauses) <= 0.05
    assert len(pauses) < 500


def test_pauses_end_exactly_when_the_time_is_over(monkeypatch: pytest.MonkeyPatch) -> None:
    assert sum(pauses_of_a_wait(1, monkeypatch)) == pytest.approx(1, abs=1e-9)
    assert pauses_of_a_wait(0, monkeypatch) == []


def test_pauses_of_two_waiters_differ(monkeypatch: pytest.MonkeyPatch) -> None:
    random.seed(1)
    first = pauses_of_a_wait(1, monkeypatch)
    random.seed(1)
    assert pauses_of_a_wait(1, monkeypatch) != first


class TestThrottle:
    """A limit of calls in a time, under a clock that only sleeping moves."""

    @pytest.fixture
    def ticking(self) -> Clock:
        """The clock."""
        return Clock()

    @pytest.fixture
    def limited(self, store: object, ticking: Clock) -> Callable[..., Callable[[], float]]:
        """A function that makes a throttled function, which returns the time of its call."""

        def limited(count: float, seconds: float, **options: object) -> Callable[[], float]:
            @throttle(
                store, count, seconds, name='f',
                time_func=ticking, sleep_func=ticking.tick, **options,
            )  # fmt: skip
            def function() -> float:
                return ticking.now

            return function

        return limited

    def test_lets_a_burst_through_and_then_an_even_flow(
        self, limited: Callable, ticking: Clock
    ) -> None:
        function, start = limited(3, 12), ticking.now
        times = [function() - start for _ in range(7)]
        assert times == pytest.approx([0, 0, 0, 4, 8, 12, 16], abs=1e-3)

    def test_lets_no_more_than_the_burst_through_after_a_quiet_time(
        self, limited: Callable, ticking: Clock
    ) -> None:
        function = limited(3, 12)
        ticking.tick(1000)
        start = ticking.now
        times = [function() - start for _ in range(5)]
        assert times == pytest.approx([0, 0, 0, 4, 8], abs=1e-3)

    @pytest.mark.parametrize(
        ('count', 'seconds'), [(0.5, 1), (7, 0.3), (1, 86_400), (1e9, 1), (3, 1e-4), (1, 1 / 3)]
    )
    def test_keeps_the_rate_whatever_it_is(
        self, limited: Callable, ticking: Clock, count: float, seconds: float
    ) -> None:
        function, start = limited(count, seconds), ticking.now
        calls = 50
        for _ in range(calls):
            function()
        # Of a clock of seconds since 1970 each reading is rounded to a quarter of a microsecond.
        least = (calls - max(count, 1)) * seconds / count
        assert ticking.now - start >= least - calls * 1e-6
        assert ticking.now - start <= max(0, least + seconds / count) + calls * 1e-6

    def test_keeps_a_rate_that_is_finer_than_the_pauses(
        self, limited: Callable, ticking: Clock
    ) -> None:
        ticking.now = 0.0  # Where a float is exact enough.
        function = limited(1, 1e-7)
        times = [function() for _ in range(200)]
        assert times[-1] == pytest.approx(199e-7, abs=2e-6)

    @pytest.mark.parametrize('way', ['expired', 'deleted'])
    def test_begins_anew_when_its_item_is_gone(
        self, limited: Callable, store: object, ticking: Clock, clock: Clock, way: str
    ) -> None:
        function = limited(2, 10_000, expire=10)
        function()
        function()
        if way == 'expired':
            clock.tick(11)
        else:
            del store['f']
        start = ticking.now
        assert [function(), function()] == [start, start]
        assert function() > start

    def test_sets_expiry_and_tag_with_each_call(
        self, limited: Callable, store: object, clock: Clock
    ) -> None:
        function = limited(2, 1, expire=10, tag='tag')
        for _ in range(3):
            assert store.get('f', expire_time=True, tag=True)[1:] == (clock.now + 10, 'tag')
            clock.tick(5)
            function()

    @pytest.mark.parametrize('calls', [0, 1, 2, 5])
    def test_locks_nobody_out_when_the_clock_goes_back(
        self, limited: Callable, ticking: Clock, calls: int
    ) -> None:
        function = limited(2, 10)
        for _ in range(calls):
            function()
        ticking.tick(-1_000_000)
        start = ticking.now
        assert function() - start <= 5.001
        assert function() - start <= 10.001

    def test_counts_the_calls_of_other_processes(
        self, cache: diskcache.Cache, other: Interpreter, original: Interpreter
    ) -> None:
        clock, slept = Clock(), []

        def sleep(seconds: float) -> None:
            slept.append(seconds)
            clock.tick(seconds)

        limit = {'count': 3, 'seconds': 6, 'name': 'f'}
        function = throttle(cache, **limit, time_func=clock, sleep_func=sleep)(lambda: None)
        script = """
        slept = []
        options = {'time_func': lambda: now, 'sleep_func': slept.append}
        function = diskcache.throttle(Cache(directory), **limit, **options)(lambda: None)
        for call in range(3):
            function()
        slept
        """
        for partner in (other, original):
            names = {'directory': cache.directory, 'limit': limit, 'now': clock.now}
            assert partner.run(script, **names) == []
            slept.clear()
            function()
            assert slept == pytest.approx([2], abs=1e-3)

    def test_passes_arguments_results_and_exceptions_on(self, store: object) -> None:
        @throttle(store, 1000, 1)
        def function(*args: object, **kwargs: object) -> object:
            """Explain."""
            if not args:
                raise LookupError
            return args, kwargs

        assert function(1, a=2) == ((1,), {'a': 2})
        with pytest.raises(LookupError):
            function()
        assert (function.__doc__, function.__wrapped__(1)) == ('Explain.', ((1,), {}))
        assert list(store) == [f'{__name__}.{function.__qualname__}']

    def test_holds_for_all_threads_together(self, store: object) -> None:
        calls = []
        function = throttle(store, 3, 1e6, sleep_func=self.give_up)(lambda: calls.append(1))

        def attempt() -> None:
            for _ in range(10):
                try:
                    function()
                except InterruptedError:
                    pass

        for task in [Task(attempt) for _ in range(4)]:
            task.result()
        assert len(calls) == 3

    @staticmethod
    def give_up(seconds: float) -> None:
        """Raise instead of sleeping."""
        raise InterruptedError

    @pytest.mark.parametrize('wrong', [0, -1, math.nan, math.inf])
    @pytest.mark.parametrize('name', ['count', 'seconds'])
    def test_needs_a_positive_limit(self, store: object, name: str, wrong: float) -> None:
        with pytest.raises(ValueError, match=name):
            throttle(store, **{'count': 1, 'seconds': 1, name: wrong})

    @pytest.mark.parametrize('name', ['count', 'seconds'])
    def test_needs_numbers(self, store: object, name: str) -> None:
        with pytest.raises(TypeError, match=name):
            throttle(store, **{'count': 1, 'seconds': 1, name: '1'})


class TestBarrier:
    """A lock around a function."""

    def test_lets_one_call_run_at_a_time(self, store: object, kind: type) -> None:
        inside = []

        @barrier(store, kind)
        def function() -> int:
            inside.append(None)
            time.sleep(0.001)
            count = len(inside)
            inside.pop()
            return count

        tasks = [Task(lambda: {function() for _ in range(5)}) for _ in range(4)]
        assert [task.result() for task in tasks] == [{1}] * 4

    def test_uses_a_lock_named_after_the_function(self, store: object) -> None:
        @barrier(store, Lock)
        def function() -> list:
            return list(store)

        assert function() == [f'{__name__}.{function.__qualname__}']
        assert list(store) == []

    def test_gives_name_expiry_and_tag_to_the_lock(self, store: object, clock: Clock) -> None:
        @barrier(store, RLock, name='key', expire=10, tag='tag')
        def function() -> tuple:
            return store.get('key', expire_time=True, tag=True)[1:]

        assert function() == (clock.now + 10, 'tag')

    def test_passes_arguments_results_and_exceptions_on(self, store: object, kind: type) -> None:
        @barrier(store, kind)
        def function(*args: object, **kwargs: object) -> object:
            """Explain."""
            if not args:
                raise LookupError
            return args, kwargs

        assert function(1, a=2) == ((1,), {'a': 2})
        with pytest.raises(LookupError):
            function()
        assert function(1) == ((1,), {})
        assert function.__doc__ == 'Explain.'

    def test_of_an_rlock_lets_a_function_call_itself(self, store: object) -> None:
        @barrier(store, RLock)
        def factorial(number: int) -> int:
            return number * factorial(number - 1) if number else 1

        assert factorial(5) == 120

    @pytest.mark.parametrize('partner', ['other', 'original'])
    def test_holds_between_processes(
        self, cache: diskcache.Cache, partner: str, request: pytest.FixtureRequest
    ) -> None:
        script = """
        cache = Cache(directory)
        @diskcache.barrier(cache, diskcache.Lock, name='f')
        def function():
            count = cache.get('count', 0)
            time.sleep(0.0005)
            cache.set('count', count + 1, retry=True)
        for turn in range(25):
            function()
        """
        partners = [request.getfixturevalue(name) for name in (partner, 'alone')]
        for interpreter in partners:
            interpreter.start(script, directory=cache.directory)
        for interpreter in partners:
            interpreter.result()
        assert cache['count'] == 50


EARLY = 1e9  # Seconds that a result took to compute, so that it is renewed early for certain.


def wait_until(condition: Callable[[], object]) -> None:
    """Return when `condition` holds (if it never does, the time for the test ends)."""
    while not condition():
        time.sleep(0.0005)


class TestMemoizeStampede:
    """Results that are renewed before they expire."""

    @pytest.fixture
    def counting(self, store: object) -> Callable:
        """A memoized function that returns how often it has been called."""
        counter = itertools.count(1)

        @memoize_stampede(store, expire=1000, tag='tag')
        def counting(*args: object, **kwargs: object) -> int:
            return next(counter)

        return counting

    def renewed(self, store: object, function: Callable, *args: object) -> bool:
        """Call a function; return whether its result was renewed, after that has happened."""
        key = function.__cache_key__(*args)
        before = store[key]
        function(*args)
        for thread in threading.enumerate():
            if thread.name.startswith('renew '):
                thread.join()
        return store[key] != before

    def test_a_function_is_called_once_for_the_same_arguments(self, counting: Callable) -> None:
        assert [counting(1), counting(1), counting(2), counting(1, a=2), counting(2)] == [
            1, 1, 2, 3, 2,
        ]  # fmt: skip

    def test_a_result_is_stored_with_the_seconds_it_took(
        self, store: object, counting: Callable, clock: Clock
    ) -> None:
        counting(1)
        key = counting.__cache_key__(1)
        (result, taken), expire_time, tag = store.get(key, expire_time=True, tag=True)
        assert (result, expire_time, tag) == (1, clock.now + 1000, 'tag')
        assert type(taken) is float
        assert 0 <= taken < 60

    def test_an_expired_result_is_computed_again(self, counting: Callable, clock: Clock) -> None:
        assert counting() == 1
        clock.tick(1001)
        assert counting() == 2

    def test_a_result_is_renewed_early_and_the_old_one_given_meanwhile(
        self, store: object, counting: Callable
    ) -> None:
        key = counting.__cache_key__(1)
        store.set(key, ('old', EARLY), expire=100, retry=True)
        assert counting(1) == 'old'
        wait_until(lambda: store[key][0] == 1)
        assert counting(1) == 1

    def test_a_renewed_result_has_its_full_time_and_its_tag(
        self, store: object, counting: Callable, clock: Clock
    ) -> None:
        key = counting.__cache_key__(1)
        store.set(key, ('old', EARLY), expire=100, retry=True)
        assert self.renewed(store, counting, 1)
        assert store.get(key, expire_time=True, tag=True)[1:] == (clock.now + 1000, 'tag')

    def test_only_one_thread_renews_a_result(self, store: object) -> None:
        begun, go_on = threading.Semaphore(0), threading.Event()

        @memoize_stampede(store, expire=1000)
        def function() -> str:
            begun.release()
            go_on.wait()
            return 'new'

        key = function.__cache_key__()
        marker = marker_of(store, key)
        store.set(key, ('old', EARLY), expire=100, retry=True)
        assert function() == 'old'
        begun.acquire()
        assert marker in store
        assert [function() for _ in range(5)] == ['old'] * 5
        go_on.set()
        wait_until(lambda: marker not in store)
        assert function() == 'new'
        assert not begun.acquire(blocking=False)
        assert len(store) == 1

    def test_another_marker_is_left_alone(self, store: object) -> None:
        def function() -> str:
            store.set(marker, 'another', retry=True)
            return 'new'

        function = memoize_stampede(store, expire=1000)(function)
        key = function.__cache_key__()
        marker = marker_of(store, key)
        store.set(key, ('old', EARLY), expire=100, retry=True)
        assert self.renewed(store, function)
        assert store[marker] == 'another'

    def test_an_exception_is_reported_and_nothing_is_lost(
        self, store: object, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        reported = []
        monkeypatch.setattr(threading, 'excepthook', reported.append)

        @memoize_stampede(store, expire=1000)
        def function() -> None:
            raise LookupError('reason')

        key = function.__cache_key__()
        store.set(key, ('old', EARLY), expire=100, retry=True)
        assert not self.renewed(store, function)
        assert [str(arguments.exc_value) for arguments in reported] == ['reason']
        assert store[key][0] == 'old'
        assert marker_of(store, key) not in store

    def test_an_exception_of_a_first_call_is_passed_on(self, store: object) -> None:
        @memoize_stampede(store, expire=1000)
        def function() -> None:
            raise LookupError

        with pytest.raises(LookupError):
            function()
        assert len(store) == 0

    def test_the_thread_does_not_close_the_cache(self, directory: str) -> None:
        class Watched(diskcache.Cache):
            closed = False

            def close(self) -> None:
                self.closed = True
                super().close()

        with Watched(directory) as cache:
            function = memoize_stampede(cache, expire=1000)(lambda: 'new')
            cache.set(function.__cache_key__(), ('old', EARLY), expire=100, retry=True)
            assert self.renewed(cache, function)
            assert not cache.closed

    def test_a_result_without_expiry_is_fresh(self, store: object, counting: Callable) -> None:
        store[counting.__cache_key__(1)] = 'stays', EARLY
        assert not self.renewed(store, counting, 1)
        assert counting(1) == 'stays'

    def test_a_result_that_took_no_time_is_not_renewed_early(
        self, store: object, counting: Callable
    ) -> None:
        store.set(counting.__cache_key__(1), ('old', 0.0), expire=100, retry=True)
        assert not any(self.renewed(store, counting, 1) for _ in range(50))

    @pytest.mark.parametrize(('beta', 'renews'), [(0, False), (1e-9, False), (1e9, True)])
    def test_beta_says_how_early(self, store: object, beta: float, renews: bool) -> None:
        function = memoize_stampede(store, expire=1000, beta=beta)(lambda: 'new')
        store.set(function.__cache_key__(), ('old', 1.0), expire=100, retry=True)
        assert any(self.renewed(store, function) for _ in range(20)) is renews

    @pytest.mark.parametrize(('left', 'expected'), [(0.5, 0.607), (1, 0.368), (2, 0.135)])
    def test_chance_falls_exponentially_with_the_time_left(
        self, cache: diskcache.Cache, clock: Clock, left: float, expected: float
    ) -> None:
        random.seed(20150831)
        function = memoize_stampede(cache, expire=1000, beta=2)(lambda: 'new')
        key, tries, renewals = function.__cache_key__(), 400, 0
        for _ in range(tries):
            cache.set(key, ('old', 3.0), expire=left * 2 * 3.0, retry=True)
            renewals += self.renewed(cache, function)
        assert renewals / tries == pytest.approx(expected, abs=0.06)

    def test_without_a_thread_the_stored_result_is_given(
        self, cache: diskcache.Cache, alone: Interpreter
    ) -> None:
        script = """
        cache = Cache(directory)
        function = diskcache.memoize_stampede(cache, expire=1000, name='f')(lambda: 'new')
        key = function.__cache_key__()
        cache.set(key, ('old', 1e9), expire=100, retry=True)
        threading.stack_size(1 << 46)  # More than there is: no thread can start.
        function(), key + (diskcache.ENOVAL,) in cache
        """
        assert alone.run(script, directory=cache.directory) == ('old', False)

    @pytest.mark.parametrize('partner', ['other', 'original'])
    def test_results_are_shared_with_other_processes(
        self, cache: diskcache.Cache, partner: str, request: pytest.FixtureRequest
    ) -> None:
        there = request.getfixturevalue(partner)
        script = """
        cache = Cache(directory)
        function = diskcache.memoize_stampede(cache, 1000, name='f')(lambda *a, **k: 'theirs')
        function(number, b=('x',))
        """
        ours = memoize_stampede(cache, 1000, name='f')(lambda *args, **kwargs: 'ours')
        names = {'directory': cache.directory}
        assert ours(1, b=('x',)) == 'ours'
        assert there.run(script, number=1, **names) == 'ours'
        assert there.run(script, number=2, **names) == 'theirs'
        assert ours(2, b=('x',)) == 'theirs'

    def test_what_the_original_renews_is_not_renewed_here(
        self, cache: diskcache.Cache, original: Interpreter
    ) -> None:
        script = """
        cache = Cache(directory)
        def wait(*args):
            while 'go on' not in cache:
                time.sleep(0.001)
            return 'theirs'
        function = diskcache.memoize_stampede(cache, 1000, name='f')(wait)
        function(), function.__cache_key__()
        """
        ours = memoize_stampede(cache, 1000, name='f')(lambda: 'ours')
        cache.set(ours.__cache_key__(), ('old', EARLY), expire=100, retry=True)
        assert original.run(script, directory=cache.directory) == ('old', ours.__cache_key__())
        assert not self.renewed(cache, ours)
        cache['go on'] = True
        wait_until(lambda: ours() == 'theirs')

    def test_typed_ignore_and_signature_are_those_of_memoize(self, store: object) -> None:
        options = {'name': 'f', 'typed': True, 'ignore': {1}}
        ours = memoize_stampede(store, 1000, **options)(lambda a, b: a)
        assert ours.__cache_key__(1, 2) == ours.__cache_key__(1, 3) != ours.__cache_key__(1.0, 2)
        signed = memoize_stampede(store, 1000, signature=True)(lambda a, b=2: a)
        assert signed.__cache_key__(1) == signed.__cache_key__(b=2, a=1)

    @pytest.mark.parametrize(
        ('name', 'wrong', 'error'),
        [
            ('expire', None, TypeError),
            ('expire', '1', TypeError),
            ('expire', True, TypeError),
            ('expire', 0, ValueError),
            ('expire', -1, ValueError),
            ('expire', math.nan, ValueError),
            ('expire', math.inf, ValueError),
            ('beta', None, TypeError),
            ('beta', -1, ValueError),
            ('beta', math.nan, ValueError),
            ('beta', math.inf, ValueError),
        ],
    )
    def test_wrong_arguments_are_refused_when_decorating(
        self, store: object, name: str, wrong: object, error: type[Exception]
    ) -> None:
        with pytest.raises(error, match=name):
            memoize_stampede(store, **{'expire': 1, name: wrong})

    def test_the_decorator_needs_parentheses(self, store: object) -> None:
        with pytest.raises(TypeError, match='name cannot be callable'):
            memoize_stampede(store, 1, len)
