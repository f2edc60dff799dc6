"""How long do operations take when several processes use one cache?

The mix that the original is measured with: 90 % get, 9 % set, 1 % delete, all of one of a hundred
keys, 100,000 operations in each process, which are started anew for each round. Every operation is
timed by itself, and with it some 50 ns for the clock.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from latencies import (
    DELETE,
    GET,
    MIX_KEYS,
    MIX_VALUE,
    SET,
    Latencies,
    in_processes,
    latency_figures,
    time_mix,
)
from measuring import Suite, main

SHARDS = 8
FIGURES = latency_figures((GET, SET, DELETE))


def open_cache(directory: str, shards: int) -> Any:
    """Open a Cache, or a FanoutCache if there are to be shards."""
    # Here and not above: in the driver's process there may be no diskcache.
    from diskcache import Cache, FanoutCache

    return FanoutCache(directory, shards) if shards else Cache(directory)


class Directory:
    """Where the caches are, a new one for each batch."""

    def __init__(self, directory: Path, contender: str) -> None:
        self._directory = directory / 'cache'

    def time_mix(self, processes: int, shards: int, count: int) -> dict[str, float]:
        directory = str(self._directory)
        cache = open_cache(directory, shards)
        for key in MIX_KEYS:
            cache[key] = MIX_VALUE
        cache.close()
        parts = in_processes(processes, work, directory, shards, count)
        shutil.rmtree(self._directory)
        return Latencies.merged(parts).figures()

    def close(self) -> None:
        pass


def work(
    start: Callable[[], object], number: int, directory: str, shards: int, count: int
) -> Latencies:
    """Be one of the processes."""
    cache = open_cache(directory, shards)
    latencies = time_mix(cache, count, number, start)
    cache.close()
    return latencies


suite: Suite[Directory] = Suite('processes', 'Several processes', __doc__, Directory)


@suite.load('1 process', 100_000, FIGURES)
def one(directory: Directory, count: int) -> dict[str, float]:
    return directory.time_mix(1, 0, count)


@suite.load('4 processes', 100_000, FIGURES, {'rate': 5})
def four(directory: Directory, count: int) -> dict[str, float]:
    return directory.time_mix(4, 0, count)


@suite.load('8 processes', 100_000, FIGURES, {'rate': 5, 'set_p99': 6, 'set_max': 15})
def eight(directory: Directory, count: int) -> dict[str, float]:
    return directory.time_mix(8, 0, count)


@suite.load(
    f'8 processes, FanoutCache({SHARDS})',
    100_000,
    latency_figures((GET, SET, DELETE), may_lose=True),
)
def eight_fanout(directory: Directory, count: int) -> dict[str, float]:
    return directory.time_mix(8, SHARDS, count)


if __name__ == '__main__':
    main(suite, rounds=5, quick_rounds=1, warm_up=False)
