"""Loads of several processes or threads: how long each single operation took.

Every operation is timed by itself, so a figure contains what reading the clock twice costs, some
50 ns; that matters only for what a process has in memory. The operations of all processes, or
threads, are taken together, and of them the quantiles.
"""

from __future__ import annotations

import gc
import itertools
import multiprocessing
import random
import threading
import time
import traceback
from array import array
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from typing import Any, Protocol

from results import Figure

#: By the names of their figures. What plots need beyond that is not in the tables.
QUANTILES = {'p50': 0.5, 'p90': 0.9, 'p99': 0.99, 'p99_9': 0.999, 'max': 1.0}
LISTED = ('p50', 'p99', 'max')

#: Seconds that processes wait for one another before they give up.
PATIENCE = 120

GET, SET, DELETE = 'get', 'set', 'delete'


@dataclass
class Latencies:
    """How long operations took, by their kind."""

    kinds: dict[str, array[int]] = field(default_factory=dict)
    #: When the first one began and the last one ended.
    began: int = 0
    ended: int = 0
    #: How many sets gave up, because they did not get their lock in time.
    lost: int = 0

    def of(self, kind: str) -> array[int]:
        """Return those of a kind, in nanoseconds, to add to them."""
        return self.kinds.setdefault(kind, array('q'))

    @classmethod
    def merged(cls, parts: Sequence[Latencies]) -> Latencies:
        """Return those of all."""
        together = cls(
            began=min(part.began for part in parts),
            ended=max(part.ended for part in parts),
            lost=sum(part.lost for part in parts),
        )
        for part in parts:
            for kind, latencies in part.kinds.items():
                together.of(kind).extend(latencies)
        return together

    def figures(self) -> dict[str, float]:
        """Return what :func:`latency_figures` declares, for the kinds that there were."""
        figures: dict[str, float] = {}
        for kind, latencies in self.kinds.items():
            if not latencies:
                continue
            ordered = sorted(latencies)
            for name, quantile in QUANTILES.items():
                position = min(int(quantile * len(ordered)), len(ordered) - 1)
                figures[f'{kind}_{name}'] = ordered[position]
            figures[f'{kind}_mean'] = sum(ordered) / len(ordered)
        operations = sum(map(len, self.kinds.values()))
        figures['rate'] = (self.ended - self.began) / operations
        if self.kinds.get(SET):
            figures['lost'] = self.lost / len(self.kinds[SET])
        return figures


def latency_figures(kinds: Sequence[str], may_lose: bool = False) -> dict[str, Figure]:
    """Return the figures of a load, by the names that :meth:`Latencies.figures` gives them.

    :param kinds: of operations that it has
    :param may_lose: whether a set may give up
    """
    figures = {
        f'{kind}_{name}': Figure(
            '', f'{kind}, {name.replace("_", ".")}', listed=name in LISTED, unit='time'
        )
        for kind in kinds
        for name in (*QUANTILES, 'mean')
    }
    figures['rate'] = Figure('', 'all operations', unit='rate')
    if SET in kinds:
        figures['lost'] = Figure(
            '', 'sets that gave up', unit='share', compared=False, listed=may_lose
        )
    return figures


# --- the original's mix ------------------------------------------------------------------------


class Store(Protocol):
    """What a mix of operations is tried on."""

    def get(self, key: str, /) -> Any: ...
    def set(self, key: str, value: str, /) -> Any: ...
    def delete(self, key: str, /) -> Any: ...
    def close(self) -> Any: ...


MIX_KEYS = [f'key-{number}' for number in range(100)]
MIX_VALUE = 'a small value'


def time_mix(store: Store, count: int, seed: int, start: Callable[[], object]) -> Latencies:
    """Time the mix of operations that the original is measured with.

    90 % are get, 9 % set, 1 % delete, of one of a hundred keys.

    :param store: which has the keys
    :param count: of operations
    :param seed: decides their order
    :param start: called when all is ready
    """
    chance = random.Random(seed)
    kinds = chance.choices((GET, SET, DELETE), (90, 9, 1), k=count)
    keys = chance.choices(MIX_KEYS, k=count)
    latencies = Latencies()
    record = {kind: latencies.of(kind).append for kind in (GET, SET, DELETE)}
    get, set_item, delete = store.get, store.set, store.delete
    clock = time.perf_counter_ns
    start()
    gc.disable()
    latencies.began = clock()
    for kind, key in zip(kinds, keys, strict=True):
        if kind is GET:
            started = clock()
            get(key)
            took = clock() - started
        elif kind is SET:
            started = clock()
            stored = set_item(key, MIX_VALUE)
            took = clock() - started
            latencies.lost += stored is False
        else:
            started = clock()
            delete(key)
            took = clock() - started
        record[kind](took)
    latencies.ended = clock()
    gc.enable()
    return latencies


# --- processes and threads ---------------------------------------------------------------------

#: Is called with a barrier's `wait` and the number of the process, then the arguments.
Work = Callable[..., Any]


def in_processes(processes: int, work: Work, *arguments: Any) -> list[Any]:
    """Run a function in so many new processes at once.

    :param processes: how many
    :param work: a module's function; it is to call its first argument when it is ready, which
        waits until all are; the second one is the number of the process
    :param arguments: more of them
    :return: what the processes returned
    :raises RuntimeError: if one of them failed
    """
    # Not forked: like programs that somebody started, and possible with whatever the contender
    # has in this process.
    context = multiprocessing.get_context('spawn')
    barrier = context.Barrier(processes)
    pipes, started = [], []
    for number in range(processes):
        ours, theirs = context.Pipe(duplex=False)
        process = context.Process(
            target=_run, args=(theirs, barrier, work, number, arguments), daemon=True
        )
        process.start()
        theirs.close()
        pipes.append(ours)
        started.append(process)
    answers = [_receive(pipe) for pipe in pipes]
    for process in started:
        process.join()
    failures = [answer for worked, answer in answers if not worked]
    # When one fails, the others wait for it in vain: what they say of that comes last.
    failures.sort(key=lambda failure: threading.BrokenBarrierError.__name__ in failure)
    if failures:
        raise RuntimeError(f'a process failed:\n{failures[0]}')
    return [answer for _, answer in answers]


def _run(
    pipe: Connection, barrier: Any, work: Work, number: int, arguments: tuple[Any, ...]
) -> None:
    try:
        pipe.send((True, work(lambda: barrier.wait(PATIENCE), number, *arguments)))
    except Exception:
        barrier.abort()
        pipe.send((False, traceback.format_exc()))


def _receive(pipe: Connection) -> tuple[bool, Any]:
    try:
        answer: tuple[bool, Any] = pipe.recv()
    except EOFError:
        return False, 'it ended unexpectedly'
    return answer


def in_threads(
    threads: int, operation: Callable[[str], object], kind: str, count: int
) -> Latencies:
    """Time an operation that several threads perform at once.

    :param threads: how many
    :param operation: called with one key after another
    :param kind: of operation that it is
    :param count: how often each thread performs it
    """
    barrier = threading.Barrier(threads)
    parts = [Latencies() for _ in range(threads)]
    errors: list[BaseException] = []

    def run(number: int) -> None:
        keys = random.Random(number).choices(MIX_KEYS, k=count)
        barrier.wait(PATIENCE)
        try:
            time_each(operation, kind, keys, parts[number])
        except BaseException as error:
            errors.append(error)

    started = [threading.Thread(target=run, args=(number,)) for number in range(threads)]
    gc.disable()
    for thread in started:
        thread.start()
    for thread in started:
        thread.join()
    gc.enable()
    if errors:
        raise errors[0]
    return Latencies.merged(parts)


def time_each(
    operation: Callable[[str], object], kind: str, keys: Sequence[str], latencies: Latencies
) -> None:
    """Time an operation on each of some keys.

    :param operation: called with each key; what returns False has given up
    :param kind: of operation that it is
    :param latencies: is added to
    """
    clock, record = time.perf_counter_ns, latencies.of(kind).append
    latencies.began = clock()
    for key in keys:
        started = clock()
        done = operation(key)
        record(clock() - started)
        latencies.lost += done is False
    latencies.ended = clock()


@dataclass
class Spinner:
    """A thread that computes in Python without an end, inside a ``with`` block."""

    _stopped: bool = False

    def __enter__(self) -> None:
        self._thread = threading.Thread(target=self._spin, daemon=True)
        self._thread.start()

    def __exit__(self, *exception: object) -> None:
        self._stopped = True
        self._thread.join()

    def _spin(self) -> None:
        number = 0
        for _ in itertools.repeat(None):
            number = number * 3 % 1_000_003 + 1
            if self._stopped:
                return
