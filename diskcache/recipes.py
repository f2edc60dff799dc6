"""Recipes: locks, averages and limits that threads and processes share through a cache.

The state of a recipe is one item of the cache. It has the original's form, so that programs with
either library can share a key:

====================  ==============================================================
Averager              (total, count)
Lock                  a name for its owner; the lock is held while the key is there
RLock                 (owner, count); a count of 0 is a free lock
BoundedSemaphore      how many places are free
throttle              (time, calls that were left then)
barrier               what its lock stores, at the function's name
memoize_stampede      (result, seconds that the call took)
====================  ==============================================================

**Changes.** Each change is a :meth:`Cache.modify`: it reads the state and writes the new one, and
no other change comes between.

**Waiting.** A cache cannot wake anybody up, so who waits must look again and again. It looks by
reading, which blocks no one, and begins a transaction only when the state read is promising. The
pauses in between grow with the time waited so far (see `_pauses`). A server can: a RemoteCache ends
a pause when the key is written.

**Eviction.** A lock that the cache evicts is a free lock, an evicted average is reset. Where that
matters, set the eviction policy 'none', and keep recipes in a cache that nobody clears. For a small
cache that evicts there is a warning. What is memoized may be evicted.
"""

from __future__ import annotations

import contextlib as cl
import functools as ft
import math
import os
import threading
import time
from collections.abc import Callable, Coroutine, Iterable, Iterator

from ._core import args_to_key as args_to_key  # as in the original, from which some import it
from .cache import Cache
from .cautions import hint_at_expire
from .constants import ENOVAL, KEEP
from .disk import Disk
from .fanout import FanoutCache
from .hints import TYPE_CHECKING, Any, LockFactory, Memoized, P, R, Self, Tag, TypeAlias, cast
from .memoize import full_name as full_name
from .memoize import is_real, memoizer, name_of
from .mismatch import check_eviction
from .unloadable import passes_over
from .wrappers import guarded, is_coroutine_function, throttled

if TYPE_CHECKING:
    from .remote.cache import RemoteCache

    #: What recipes keep their state in.
    AnyCache: TypeAlias = Cache | FanoutCache | RemoteCache
else:
    AnyCache = Cache | FanoutCache

__all__ = [
    'Averager',
    'BoundedSemaphore',
    'Lock',
    'RLock',
    'barrier',
    'memoize_stampede',
    'throttle',
]

#: Seconds of the first pause between two looks at a lock.
_FIRST_PAUSE = 0.0005

#: Each pause is longer by this factor. A pause is then at most a fifth of the time waited so far:
#: (1.25 - 1) / 1.25. So a lock that is held briefly is taken over soon after it is free.
_PAUSE_GROWTH = 1.25

#: Seconds of the longest pause. Twenty to forty looks a second, of microseconds each, are no load
#: even with hundreds of waiters, and nobody notices that a lock held for so long is taken over a
#: twentieth of a second late.
_LONGEST_PAUSE = 0.05

#: Seconds that a throttled call does not wait for. Near 1.7e9 a float of seconds has steps of
#: 0.24 µs, so a shorter pause may never be seen to pass.
_SHORTEST_DELAY = 1e-6


def _check_cache(cache: Any, method: str) -> None:
    """Raise TypeError, at once rather than with the first call, for a path instead of a cache."""
    if not hasattr(cache, method):
        raise TypeError(f'cache must be a Cache or a FanoutCache, not {type(cache).__name__!r}')


def _positive(name: str, value: Any, *, or_zero: bool = False) -> float:
    """Return an argument that must be a positive, finite number.

    :raises TypeError: if it is no real number
    :raises ValueError: if it is not positive, not finite, or not a number (NaN)
    """
    if isinstance(value, bool) or not is_real(value):
        raise TypeError(f'{name} must be a number, not {type(value).__name__!r}')
    number = float(value)
    if not (0 < number < math.inf or (or_zero and number == 0)):
        wanted = 'positive or 0' if or_zero else 'positive'
        raise ValueError(f'{name} must be {wanted} and finite, not {value!r}')
    return number


def _modify(cache: Any, *args: Any) -> Any:
    """Call `modify` of a cache, or Cache's of what has none, and `transact`, `get` and `set`."""
    modify: Any = getattr(cache, 'modify', None) or ft.partial(Cache.modify, cache)
    return modify(*args, retry=True)


def _delete_if(cache: AnyCache, key: Any, wanted: str) -> bool:
    """Delete an item if its value is the wanted one; return whether it was."""
    found = False

    def check(value: Any) -> Any:
        nonlocal found
        found = value == wanted
        return ENOVAL if found else KEEP

    _modify(cache, key, check, None, None, None)
    return found


def _pauses(timeout: float | None, pause: Any) -> Iterator[None]:
    """Yield once for each try: at once, then after pauses that grow, until the time is over.

    The last try is made when the time is over, not a pause before.

    :param timeout: seconds (None: no end)
    :param pause: called with the seconds of each pause. It may have an attribute `longest`, how
        long the next one may be at once, or None
    """
    deadline = math.inf if timeout is None else time.monotonic() + timeout
    longest = _FIRST_PAUSE
    while True:
        yield
        left = deadline - time.monotonic()
        if left <= 0:
            return
        # The system's source has no state that a fork could copy, or a user's seed could set, to
        # make processes look in step.
        pause(min(left, longest * (0.5 + int.from_bytes(os.urandom(4), 'big') / 2**33)))
        grown = min(longest * _PAUSE_GROWTH, _LONGEST_PAUSE)
        longest = getattr(pause, 'longest', None) or grown


def _unique_name() -> str:
    """Return a name for an owner that no other owner, of any process, ever has.

    Ids do not do: those of processes and threads are used again, and containers that share a
    directory may have the same. They are in the name for people who look into the cache.
    """
    return f'{os.getpid()}-{threading.get_ident()}-{os.urandom(8).hex()}'


# Where this module is pickled by value, as dill does if it is not installed, these two are pickled
# by their names: reading the pickle gives nobody another name.


class _Thread(threading.local):
    """The calling thread."""

    def __init__(self) -> None:  # called in each thread, when it first asks
        self.name = _unique_name()

    def __reduce__(self) -> str:
        return '_thread'


class _Process:
    """The calling process."""

    def __init__(self) -> None:
        self.name = _unique_name()

    def __reduce__(self) -> str:
        return '_process'


_thread = _Thread()
_process = _Process()


def _rename() -> None:
    """Give a forked child and its threads names of their own: it holds nothing of its parent's."""
    global _process, _thread
    _process = _Process()
    _thread = _Thread()


if hasattr(os, 'register_at_fork'):  # not on Windows
    os.register_at_fork(after_in_child=_rename)


#: Tasks that renew results: the event loop itself does not keep them alive.
_tasks: set[Any] = set()


def _start_task(coroutine: Coroutine[Any, Any, None]) -> None:
    """Run a coroutine in the running event loop, beside whatever it is doing."""
    import asyncio  # which takes longer to import than this package; here it has been

    task = asyncio.get_running_loop().create_task(coroutine)
    _tasks.add(task)
    task.add_done_callback(_tasks.discard)


class Averager:
    """A running average, of all that threads and processes add to it.

    >>> from diskcache import Averager, Cache
    >>> cache = Cache()
    >>> latency = Averager(cache, 'latency')
    >>> latency.add(0.25)
    >>> latency.add(0.75)
    >>> latency.get()
    0.5
    >>> latency.pop()
    0.5
    >>> latency.get() is None
    True
    """

    @hint_at_expire
    def __init__(
        self,
        cache: AnyCache,
        key: Any,
        expire: float | None = None,
        tag: Tag = None,
    ) -> None:
        """Set where the average is kept.

        :param cache: the cache
        :param key: key of the average
        :param expire: seconds after the last :meth:`add` until the average is forgotten (None:
            never)
        :param tag: for the item
        """
        _check_cache(cache, 'transact')
        check_eviction(cache, 'an Averager')
        self._cache = cache
        self._key = key
        self._expire = expire
        self._tag = tag

    def add(self, value: float) -> None:
        """Add a value to the average.

        :param value: number
        :raises TypeError: if it is not a number; the average stays as it was
        """

        def added(state: tuple[float, int]) -> tuple[float, int]:
            total, count = state
            return total + value, count + 1

        _modify(self._cache, self._key, added, (0.0, 0), self._expire, self._tag)

    def get(self) -> float | None:
        """Return the average, or None if nothing has been added."""
        return self._mean(self._cache.get(self._key, default=(0.0, 0), retry=True))

    def pop(self) -> float | None:
        """Return the average, or None if nothing has been added, and reset it."""
        return self._mean(self._cache.pop(self._key, default=(0.0, 0), retry=True))

    @staticmethod
    def _mean(state: tuple[float, int]) -> float | None:
        total, count = state
        return total / count if count else None


class _Acquirable:
    """What locks and semaphores have in common: to acquire is to find a state and change it.

    A subclass says what state there is while the key is not there, and what acquiring makes of a
    state.
    """

    #: The state while there is none in the cache.
    _initial: Any

    @hint_at_expire
    def __init__(
        self,
        cache: AnyCache,
        key: Any,
        expire: float | None = None,
        tag: Tag = None,
    ) -> None:
        """Set where the state is kept.

        :param cache: the cache
        :param key: key of the state
        :param expire: seconds until what was acquired is free again by itself, even if its process
            has been killed (None: never). Choose more than the work can take
        :param tag: for the item
        """
        _check_cache(cache, 'add')
        check_eviction(cache, f'a {type(self).__name__}')
        self._cache = cache
        self._key = key
        self._expire = expire
        self._tag = tag

    def _claim(self, state: Any) -> Any:
        """Return what `state` becomes when this thread acquires, or None if it cannot."""
        raise NotImplementedError

    def _note(self, state: Any) -> None:
        """Take note that this thread has acquired, by changing the state into this one."""

    def _change(self, change: Callable[[Any], Any]) -> None:
        """Replace the state by what a function makes of it."""
        kept = _modify(self._cache, self._key, change, self._initial, self._expire, self._tag)
        if kept is ENOVAL:
            raise RuntimeError('the size_limit of the cache is too small to keep any lock')

    def acquire(self, timeout: float | None = None) -> bool:
        """Acquire; if that is not possible now, wait until it is.

        Do not call this inside a transaction of the same cache: whoever holds what is waited for
        could not release it.

        :param timeout: seconds to wait (None: for ever; 0: try once). Time for which the database
            itself is locked, by another's transaction, may come on top
        :return: True, or False if the time is over
        :raises ValueError: if `timeout` is negative or NaN
        :raises TypeError: if `timeout` is not a number
        """
        if timeout is not None and timeout != math.inf:
            _positive('timeout', timeout, or_zero=True)
        waiter = getattr(self._cache, '_waiter', None)
        with cl.nullcontext(time.sleep) if waiter is None else waiter(self._key) as pause:
            return any(self._try() for _ in _pauses(timeout, pause))

    def _try(self) -> bool:
        """Acquire if that is possible now; only if it seems so is the state to be changed."""
        if self._claim(self._cache.get(self._key, default=self._initial, retry=True)) is None:
            return False
        claimed = None

        def claim(state: Any) -> Any:
            nonlocal claimed
            claimed = self._claim(state)
            return KEEP if claimed is None else claimed

        self._change(claim)
        if claimed is None:
            return False
        self._note(claimed)
        return True

    def release(self) -> Any:
        """Give back what was acquired."""
        raise NotImplementedError

    def __enter__(self) -> Self:
        self.acquire()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.release()


class Lock(_Acquirable):
    """A lock among threads and processes.

    Each acquire of the lock has a name of its own, which the object keeps: only that one is
    released, and never another's that came after it had expired. Like a :class:`threading.Lock`,
    it may be released by another thread than the one that acquired it, through the same object; or
    by another process that the object has been pickled to. An object that holds nothing frees the
    lock, whoever has it, as the original's does: so one function, thread or process can acquire it
    and another release it.

    >>> from diskcache import Cache, Lock
    >>> cache = Cache()
    >>> lock = Lock(cache, 'report', expire=60)
    >>> with lock:
    ...     lock.locked()
    True
    >>> lock.acquire(timeout=5)
    True
    >>> lock.release()
    True
    >>> lock.release()
    False
    """

    _initial = ENOVAL

    @hint_at_expire
    def __init__(
        self,
        cache: AnyCache,
        key: Any,
        expire: float | None = None,
        tag: Tag = None,
    ) -> None:
        """Set where the state is kept; see :class:`RLock` for the parameters."""
        super().__init__(cache, key, expire, tag)
        self._process = _process.name
        #: What this object has acquired: names, by the threads that did, the latest last.
        self._held: dict[str, str] = {}
        #: What it had acquired has expired, or is the parent's.
        self._lost = False

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._process = _process.name  # the lock was handed over, and not just copied by a fork
        self._held = dict(state.get('_held', ()))
        self._lost = state.get('_lost', False)

    def _claim(self, state: Any) -> str | None:
        return f'{_thread.name}-{os.urandom(4).hex()}' if state is ENOVAL else None

    def _note(self, state: str) -> None:
        self._forget_parents()
        self._held.pop(_thread.name, None)
        self._held[_thread.name] = state
        self._lost = False

    def _forget_parents(self) -> None:
        """In a forked child: what the object held is the parent's."""
        if self._process != _process.name:
            self._process = _process.name
            self._lost = self._lost or bool(self._held)
            self._held = {}

    def release(self) -> bool:
        """Free the lock.

        But if it was acquired through this object and has expired since, nothing happens, until it
        is acquired through this object again: another may hold it by now.

        :return: whether the lock was held, and is free now
        """
        self._forget_parents()
        name = self._held.pop(_thread.name, None)
        if name is None:  # another thread may have acquired it for this one
            with cl.suppress(KeyError):
                _, name = self._held.popitem()
        if name is None:
            return not self._lost and self._cache.delete(self._key, retry=True)
        freed = _delete_if(self._cache, self._key, name)
        self._lost = not freed
        return freed

    def locked(self) -> bool:
        """Return whether anybody holds the lock."""
        return self._key in self._cache


class RLock(_Acquirable):
    """A lock among threads and processes that its owner can acquire again.

    It is free when it has been released as often as it was acquired. The owner is a thread.

    >>> from diskcache import Cache, RLock
    >>> cache = Cache()
    >>> lock = RLock(cache, 'user-123')
    >>> with lock:
    ...     with lock:
    ...         print('acquired twice')
    acquired twice
    >>> lock.release()
    Traceback (most recent call last):
        ...
    AssertionError: cannot release un-acquired lock
    """

    _initial = (None, 0)

    def _claim(self, state: Any) -> tuple[str, int] | None:
        owner, count = state
        return (_thread.name, count + 1) if count == 0 or owner == _thread.name else None

    def release(self) -> None:
        """Take one :meth:`acquire` back.

        :raises AssertionError: if this thread does not hold the lock: it never acquired it, or
            the lock has expired
        """

        def release(state: tuple[str | None, int]) -> tuple[str | None, int]:
            owner, count = state
            if count < 1 or owner != _thread.name:
                raise AssertionError('cannot release un-acquired lock')
            return owner, count - 1

        self._change(release)


class BoundedSemaphore(_Acquirable):
    """A number of places among threads and processes. It does not know who takes which.

    >>> from diskcache import BoundedSemaphore, Cache
    >>> cache = Cache()
    >>> connections = BoundedSemaphore(cache, 'connections', value=2)
    >>> connections.acquire(), connections.acquire(), connections.acquire(timeout=0)
    (True, True, False)
    >>> connections.release()
    >>> connections.release()
    >>> connections.release()
    Traceback (most recent call last):
        ...
    AssertionError: cannot release un-acquired semaphore
    """

    @hint_at_expire
    def __init__(
        self,
        cache: AnyCache,
        key: Any,
        value: int = 1,
        expire: float | None = None,
        tag: Tag = None,
    ) -> None:
        """Set where the state is kept, and the number of places.

        :param cache: the cache
        :param key: key of the state
        :param value: number of places; the same for all who use the key
        :param expire: seconds without an acquire or a release until all places are free again
            (None: never)
        :param tag: for the item
        :raises TypeError: if `value` is not an int
        :raises ValueError: if `value` is not positive
        """
        if isinstance(value, bool) or not isinstance(value, int):
            raise TypeError(f'value must be an int, not {type(value).__name__!r}')
        if value < 1:
            raise ValueError(f'value must be positive, not {value}')
        super().__init__(cache, key, expire, tag)
        self._value = value

    @property
    def _initial(self) -> int:
        return self._value

    def _claim(self, state: Any) -> int | None:
        return state - 1 if state > 0 else None

    def release(self) -> None:
        """Give a place back.

        :raises AssertionError: if all places are free already: there was no :meth:`acquire`, or
            it has expired
        """

        def release(free: int) -> int:
            if free >= self._value:
                raise AssertionError('cannot release un-acquired semaphore')
            return free + 1

        self._change(release)


@hint_at_expire
def throttle(
    cache: AnyCache,
    count: float,
    seconds: float,
    name: str | None = None,
    expire: float | None = None,
    tag: Tag = None,
    time_func: Callable[[], float] = time.time,
    sleep_func: Callable[[float], Any] = time.sleep,
) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Decorate a function so that threads and processes together do not call it too often.

    A call too many sleeps until there is room for it. The algorithm is the token bucket: there is
    room for `count` calls at first, each call takes one, and they come back evenly, `count` in
    `seconds`, up to `count`. So after a quiet time `count` calls can come at once. Decorating
    a function fills the bucket.

    >>> from diskcache import Cache, throttle
    >>> cache = Cache()
    >>> @throttle(cache, count=2, seconds=0.1)
    ... def ask(number):
    ...     return number * number
    >>> [ask(number) for number in range(4)]  # the last two wait for 0.05 seconds each
    [0, 1, 4, 9]

    :param cache: the cache
    :param count: number of calls
    :param seconds: time in which so many calls are let through
    :param name: key of the state (None: the function's full name)
    :param expire: seconds without a call until the state is forgotten, and the bucket full again
        (None: never)
    :param tag: for the item
    :param time_func: returns the time in seconds, the same for all who share the state. It may go
        backwards: the time in between is taken to be none
    :param sleep_func: called with the seconds to wait; then the bucket is looked at again
    :return: decorator
    :raises TypeError: if `count` or `seconds` is not a number
    :raises ValueError: if `count` or `seconds` is not positive and finite
    """
    rate = _positive('count', count) / _positive('seconds', seconds)
    _check_cache(cache, 'transact')
    check_eviction(cache, 'throttle')
    capacity = max(count, 1)  # or a rate such as half a call a second would let nobody through

    def decorator(func: Callable[P, R]) -> Callable[P, R]:
        key = name_of(func) if name is None else name

        def take() -> float:
            """Take a call from the bucket, or return for how many seconds to wait."""
            delay = 0.0

            def taken(state: tuple[float, float] | None) -> Any:
                nonlocal delay
                now = time_func()
                last, tally = (now, count) if state is None else state
                tally = min(capacity, tally + max(0.0, now - last) * rate)
                delay = float((1 - tally) / rate)
                if delay < _SHORTEST_DELAY:
                    delay = 0.0
                    return now, tally - 1
                # Or nothing would come back until the clock is past `last` again.
                return (now, tally) if now < last else KEEP

            _modify(cache, key, taken, None, expire, tag)
            return delay

        cache.set(key, (time_func(), count), expire, tag=tag, retry=True)
        return cast('Callable[P, R]', throttled(func, take, sleep_func))

    return decorator


@hint_at_expire
def barrier(
    cache: AnyCache,
    lock_factory: LockFactory,
    name: str | None = None,
    expire: float | None = None,
    tag: Tag = None,
) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Decorate a function so that each call of it holds a lock.

    >>> from diskcache import Cache, Lock, barrier
    >>> cache = Cache()
    >>> @barrier(cache, Lock, expire=60)
    ... def rebuild():
    ...     print('nobody else is rebuilding')
    >>> rebuild()
    nobody else is rebuilding

    :param cache: the cache
    :param lock_factory: :class:`Lock`, :class:`RLock` (for a function that calls itself),
        :class:`BoundedSemaphore`, or whatever is called as they are and gives a context manager
    :param name: key of the lock (None: the function's full name)
    :param expire: of the lock, in seconds
    :param tag: of the lock
    :return: decorator
    """

    def decorator(func: Callable[P, R]) -> Callable[P, R]:
        key = name_of(func) if name is None else name
        try:
            lock = lock_factory(cache, key, expire=expire, tag=tag)
        except TypeError as error:
            raise TypeError(
                'lock_factory is called with (cache, key, expire=, tag=), as diskcache.Lock is:'
                f' {error}'
            ) from error
        return cast('Callable[P, R]', guarded(func, lock))

    return decorator


def _is_read_only(cache: Any) -> bool:
    """Tell whether nothing can be stored: then each call computes what is not there."""
    return getattr(cache, 'read_only', False) is True


def _marker(cache: Any, key: tuple[Any, ...]) -> tuple[Any, ...]:
    """Return the key under which is noted who computes a result again."""
    marker = (*key, ENOVAL)  # as the original has it
    try:
        cache.disk.put(marker)
    except TypeError:  # a SafeDisk does not take it
        return (*key, tuple(ENOVAL))
    return marker


@hint_at_expire
def memoize_stampede(
    cache: AnyCache,
    expire: float,
    name: str | None = None,
    typed: bool = False,
    tag: Tag = None,
    beta: float = 1,
    ignore: Iterable[int | str] = (),
    *,
    signature: bool = False,
    cache_if: Callable[[Any], object] | None = None,
) -> Callable[[Callable[P, R]], Memoized[P, R]]:
    """Decorate a function so that its results are kept, and renewed before they expire.

    When a result that many ask for expires, all of them compute it at once: a stampede. Here
    each call that finds a result decides by chance, the more probably the closer the expiry is and
    the longer the computation took, to renew it early. One thread in the background does so;
    meanwhile everybody gets the stored result.

    The decision is the one that A. Vattani, F. Chierichetti and K. Lowenstein show to be the best
    possible in "Optimal Probabilistic Cache Stampede Prevention", Proceedings of the VLDB
    Endowment 8(8), 2015: renew when an exponentially distributed random number, times `beta`, times
    the seconds that the computation took, is not less than the seconds left.

    If the function raises in the background, :func:`threading.excepthook` gets the exception, and
    the stored result stays until it expires. A coroutine function is renewed by a task of the same
    event loop. The wrapper has an attribute ``__cache_key__``: a
    function that returns the key for given arguments.

    >>> from diskcache import Cache, memoize_stampede
    >>> cache = Cache()
    >>> @memoize_stampede(cache, expire=60)
    ... def square(number):
    ...     print('computing')
    ...     return number * number
    >>> square(3)
    computing
    9
    >>> square(3)
    9

    :param cache: the cache
    :param expire: seconds until a result expires
    :param name: what keys begin with (None: the function's full name)
    :param typed: whether arguments of different types are different
    :param tag: for the stored results
    :param beta: more than 1 renews earlier, less than 1 later, 0 never
    :param ignore: positions and names of arguments that do not count
    :param signature: make keys from the function's signature, as :meth:`Cache.memoize` can
    :param cache_if: called with each new result; it is stored only if this returns something true
        (None: always)
    :return: decorator
    :raises TypeError: if `expire` or `beta` is not a number
    :raises ValueError: if `expire` is not positive and finite, or `beta` negative or not finite
    """
    import random  # which takes as long to import as all of this module

    _check_cache(cache, 'add')
    _positive('expire', expire)
    _positive('beta', beta, or_zero=True)

    def store(key: Any, result: Any, seconds: float) -> None:
        if not _is_read_only(cache):
            cache.set(key, (result, seconds), expire, tag=tag, retry=True)

    def keep(key: Any, result: Any, start: float) -> None:
        if cache_if is None or cache_if(result):
            store(key, result, time.perf_counter() - start)

    def renew(taken: float, key: Any, func: Any, args: Any, kwargs: dict[str, Any]) -> None:
        """Compute again in the background, unless somebody is at it."""
        if _is_read_only(cache):
            return
        marker = _marker(cache, key)
        token = os.urandom(8).hex()
        # The marker of a killed process does not stay much longer than the computation would take.
        if not cache.add(marker, token, expire=2 * taken + 1, retry=True):
            return

        def run() -> None:
            start = time.perf_counter()
            try:
                keep(key, func(*args, **kwargs), start)
            finally:
                _delete_if(cache, marker, token)

        async def run_coroutine() -> None:
            start = time.perf_counter()
            try:
                keep(key, await func(*args, **kwargs), start)
            finally:
                _delete_if(cache, marker, token)

        try:
            if is_coroutine_function(func):
                _start_task(run_coroutine())
            else:
                threading.Thread(target=run, name=f'renew {key[0]}', daemon=True).start()
        except RuntimeError:  # no more threads, or the interpreter ends: the stored result will do
            _delete_if(cache, marker, token)

    def lookup(key: Any, func: Callable[..., Any], args: Any, kwargs: dict[str, Any]) -> Any:
        pair: Any
        try:
            pair, expire_time = cache.get(key, default=ENOVAL, expire_time=True, retry=True)
        except Exception as error:
            if passes_over(getattr(cache, 'directory', None) or cache.disk._directory, error):
                return ENOVAL
            raise
        if pair is ENOVAL:
            return ENOVAL
        result, taken = pair
        if expire_time is not None:  # None: somebody else has stored it, to stay
            left = expire_time - time.time()
            if taken * beta * random.expovariate(1) >= left:
                renew(taken, key, func, args, kwargs)
        return result

    def find_disk() -> Disk:
        return cache.disk

    return memoizer(find_disk, name, typed, ignore, signature, cache_if, lookup, store)
