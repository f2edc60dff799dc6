"""How long do operations take when several threads use one cache, or one thread computes?

Sixteen threads set items of one Cache as fast as they can, then get them. Then there are two
threads: one sets or gets, the other spins in Python, as the requests of a busy web server do; what
is waited for is the interpreter's lock. Whether a get of the original's waits for it is a race that
is won or lost for long, so that the mean says more than the median. Every operation is timed by
itself, and with it some 50 ns for the clock.

One, two and four threads read: with the interpreter's lock no more in all than one alone, without
it more. All read the same keys, or each those of its own. *Cold* is a cache that keeps nothing in
memory, and *a dict* is one of Python's with the same items, for comparison.

Without the interpreter's lock there is also what a get takes of two threads, with a processor each,
in multiples of what it takes one thread: 0.5 if they are not in each other's way. Each has its own
keys; or both read one that lives as long as the process, as literals of modules do. Its value is a
small int, to which nobody counts references, or bytes, to which both do.

And a thread reads beside another that waits, for the write lock, which another process holds, or
for the disk, with each of its sets synced. Beside that is what a get takes then, in multiples of
what it takes alone: a thread that waits must not keep the interpreter's lock. One that syncs does
not only wait, so that this is more than 1.
"""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from latencies import (
    GET,
    MIX_KEYS,
    MIX_VALUE,
    SET,
    Latencies,
    Spinner,
    in_threads,
    latency_figures,
    time_each,
)
from measuring import Suite, main
from results import Figure

THREADS = 16
READERS = (1, 2, 4)

#: Holds the write lock of a database until its standard input is closed.
HOLD = """
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1], isolation_level=None, timeout=60)
connection.execute('BEGIN IMMEDIATE')
print('held', flush=True)
sys.stdin.read()
"""


#: Two keys that live as long as the process.
INT_KEY, BYTES_KEY = map(sys.intern, ('the-key-of-an-int', 'the-key-of-bytes'))


def keys_of_reader(number: int) -> list[str]:
    """Return new objects, the keys of one of two threads."""
    return [f'key-{number}-{i}' for i in range(100)]


class Shared:
    """The cache that the threads share."""

    def __init__(self, directory: Path, contender: str) -> None:
        # Here and not above: in the driver's process there may be no diskcache.
        from diskcache import Cache, FanoutCache

        self.cache = Cache(str(directory))
        self.cold = Cache(str(directory / 'cold'))
        self.cold.memory_limit = 0  # to the original an attribute like any other
        self.synced = Cache(str(directory / 'synced'), sqlite_synchronous=2)
        self.table: dict[str, str] = {}
        for key in MIX_KEYS:
            self.cache[key] = self.cold[key] = self.table[key] = MIX_VALUE
        self.fanout = FanoutCache(str(directory / 'fanout'))
        self.read: dict[str, Any] = {
            'cache': self.cache,
            'fanout': self.fanout,
            'table': self.table,
        }
        for each in self.read.values():
            for number in range(2):
                for key in keys_of_reader(number):
                    each[key] = key * 20  # no two in one line of the processor's cache
            each[INT_KEY], each[BYTES_KEY] = 5, bytes(range(100))

    def set(self, key: str) -> bool:
        return self.cache.set(key, MIX_VALUE)

    def time_pair(self, gets: int) -> dict[str, float]:
        """Time so many gets, and a twentieth of them sets."""
        latencies = Latencies()
        keys = MIX_KEYS * (gets // len(MIX_KEYS) + 1)
        time_each(self.cache.get, GET, keys[:gets], latencies)
        time_each(self.set, SET, keys[: max(gets // 20, 5)], latencies)
        return latencies.figures()

    def close(self) -> None:
        for cache in (self.cache, self.cold, self.synced, self.fanout):
            cache.close()


#: With the mean, and without a throughput: the sets of a pair are far fewer than its gets.
PAIR = {
    name: replace(figure, listed=name.endswith(('p50', 'mean')))
    for name, figure in latency_figures((GET, SET)).items()
}

suite: Suite[Shared] = Suite('threads', 'Several threads', __doc__, Shared)


@suite.load(
    f'{THREADS} threads set',
    2000,
    latency_figures((SET,)),
    {'rate': 3.5, 'set_p99': 15},
)
def many_set(shared: Shared, count: int) -> dict[str, float]:
    return in_threads(THREADS, shared.set, SET, count).figures()


@suite.load(f'{THREADS} threads get', 5000, latency_figures((GET,)))
def many_get(shared: Shared, count: int) -> dict[str, float]:
    return in_threads(THREADS, shared.cache.get, GET, count).figures()


@suite.load('alone', 400, PAIR)
def alone(shared: Shared, count: int) -> dict[str, float]:
    return shared.time_pair(count)


@suite.load('beside a spinning thread', 400, PAIR, {'get_mean': 1000, 'set_p50': 1000})
def beside_spinner(shared: Shared, count: int) -> dict[str, float]:
    with Spinner():
        return shared.time_pair(count)


# --- threads that read ---------------------------------------------------------------------------


def time_readers(
    get: Callable[[str], object], threads: int, count: int, own: bool = False
) -> dict[str, float]:
    """Return what one of so many gets of each thread takes, of all threads together.

    :param own: each thread reads other keys than the others
    """
    barrier = threading.Barrier(threads)
    times: list[int] = []

    def read(number: int) -> None:
        some = MIX_KEYS[number::threads] if own else MIX_KEYS
        keys = list(itertools.islice(itertools.cycle(some), count))
        barrier.wait()
        times.append(time.perf_counter_ns())
        for key in keys:
            get(key)
        times.append(time.perf_counter_ns())

    started = [threading.Thread(target=read, args=(number,)) for number in range(threads)]
    for thread in started:
        thread.start()
    for thread in started:
        thread.join()
    return {'rate': (max(times) - min(times)) / (threads * count)}


def _add_reader_rows(threads: int) -> None:
    figures = {'rate': Figure('', 'all gets', unit='rate')}

    def hot(shared: Shared, count: int) -> dict[str, float]:
        return time_readers(shared.cache.get, threads, count)

    def own(shared: Shared, count: int) -> dict[str, float]:
        return time_readers(shared.cache.get, threads, count, own=True)

    def cold(shared: Shared, count: int) -> dict[str, float]:
        return time_readers(shared.cold.get, threads, count)

    def table(shared: Shared, count: int) -> dict[str, float]:
        # Not its get(): in CPython 3.13 without a GIL that takes a lock, and 500 times as long.
        return time_readers(shared.table.__getitem__, threads, count)

    name = f'{threads} threads read' if threads > 1 else '1 thread reads'
    for read in (hot, own, cold, table):
        read.__name__ += f'_{threads}'
    suite.load(f'{name}, hot', 20_000, figures)(hot)
    if threads > 1:
        suite.load(f'{name}, hot, each its own keys', 20_000, figures)(own)
    suite.load(f'{name}, cold', 4000, figures)(cold)
    suite.load(f'{name} a dict', 20_000, {'rate': replace(figures['rate'], compared=False)})(table)


for _threads in READERS:
    _add_reader_rows(_threads)


#: Those that this process may use, where the system tells it.
PROCESSORS = sorted(os.sched_getaffinity(0)) if hasattr(os, 'sched_getaffinity') else []


def pace_of(
    cache: Any, keys_of: Callable[[int], list[str]], threads: int, milliseconds: int
) -> float:
    """Return how many gets of all threads together fit into a nanosecond of some time."""
    barrier = threading.Barrier(threads)
    paces: list[float] = []

    def read(number: int) -> None:
        # Bound methods and keys are the thread's own: who counts references waits for nobody.
        get, keys, count = cache.get, keys_of(number), 0
        if PROCESSORS:
            os.sched_setaffinity(threading.get_native_id(), {PROCESSORS[number]})
        barrier.wait()
        began = now = time.perf_counter_ns()
        while now < began + 1_000_000 * milliseconds:
            for key in keys:
                get(key)
            count += len(keys)
            now = time.perf_counter_ns()
        paces.append(count / (now - began))

    started = [threading.Thread(target=read, args=(number,)) for number in range(threads)]
    for thread in started:
        thread.start()
    for thread in started:
        thread.join()
    return sum(paces)


def _add_pair_row(name: str, title: str, keys_of: Callable[[int], list[str]]) -> None:
    figures = {
        short: Figure('', f'a get of {what}', unit='multiple', compared=False)
        for short, what in (('cache', 'Cache'), ('fanout', 'FanoutCache'), ('table', 'a dict'))
    }

    def pair(shared: Shared, milliseconds: int) -> dict[str, float]:
        return {
            short: pace_of(cache, keys_of, 1, milliseconds)
            / pace_of(cache, keys_of, 2, milliseconds)
            for short, cache in shared.read.items()
        }

    pair.__name__ = f'pair_{name}'
    suite.load(f'2 threads beside 1, {title}', 50, figures)(pair)


if not getattr(sys, '_is_gil_enabled', lambda: True)() and len(PROCESSORS) != 1:
    _add_pair_row('own', 'each its own keys', keys_of_reader)
    _add_pair_row('int', 'one key of an int', lambda _: [INT_KEY] * 100)
    _add_pair_row('bytes', 'one key of bytes', lambda _: [BYTES_KEY] * 100)


# --- a thread that waits -------------------------------------------------------------------------


@contextmanager
def repeating(operation: Callable[[], object]) -> Iterator[None]:
    """Repeat an operation in another thread, inside a ``with`` block."""
    ended = threading.Event()
    began = threading.Event()

    def repeat() -> None:
        while not ended.is_set():
            began.set()
            operation()

    thread = threading.Thread(target=repeat)
    thread.start()
    began.wait()
    try:
        yield
    finally:
        ended.set()
        thread.join()


@contextmanager
def held(directory: str) -> Iterator[None]:
    """Have another process hold the write lock of a cache."""
    command = [sys.executable, '-c', HOLD, str(Path(directory, 'cache.db'))]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        yield


def time_gets(get: Callable[[str], object], milliseconds: int) -> float:
    """Return what a get takes, of those that fit into some time."""
    count = 0
    began = time.perf_counter_ns()
    while (elapsed := time.perf_counter_ns() - began) < 1_000_000 * milliseconds:
        for key in MIX_KEYS:
            get(key)
        count += len(MIX_KEYS)
    return elapsed / count


WAITING = {
    'get': Figure('', 'a get'),
    'multiple': Figure('', 'of a get alone', unit='multiple', compared=False),
}


def _compared(beside: float, alone: float) -> dict[str, float]:
    return {'get': beside, 'multiple': beside / alone}


@suite.load('beside a thread that waits for a lock', 200, WAITING)
def beside_lock(shared: Shared, milliseconds: int) -> dict[str, float]:
    alone = time_gets(shared.cache.get, milliseconds)
    with ExitStack() as waits, held(shared.cold.directory):
        # Left last, when the lock is free: it waits until then.
        waits.enter_context(repeating(lambda: shared.cold.set('waits', MIX_VALUE, retry=True)))
        beside = time_gets(shared.cache.get, milliseconds)
    return _compared(beside, alone)


@suite.load('beside a thread that waits for the disk', 200, WAITING)
def beside_disk(shared: Shared, milliseconds: int) -> dict[str, float]:
    alone = time_gets(shared.cache.get, milliseconds)
    with repeating(lambda: shared.synced.set('waits', MIX_VALUE, retry=True)):
        beside = time_gets(shared.cache.get, milliseconds)
    return _compared(beside, alone)


if __name__ == '__main__':
    main(suite, rounds=7, quick_rounds=1)
