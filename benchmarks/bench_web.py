"""What does a web site's load gain, and how often is a page in the process's memory?

Four processes ask for pages of 1 KB, which are in one cache. There are 10,000 of them, more than
the 8 MiB of ``memory_limit`` hold. Some are asked for far more often than others: the page of rank
*n* in proportion to 1/*n*, as Zipf has it. At times a page is written anew instead, and then every
other process must read again what it has in memory, because it cannot know what was written. A
quarter more requests than are measured come before, to fill the memory. The hit ratio is that of
the memory; what it does not have comes from SQLite.
"""

from __future__ import annotations

import gc
import itertools
import random
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from latencies import GET, SET, Latencies, in_processes, latency_figures
from measuring import Suite, main
from results import Figure

PROCESSES = 4
PAGES = [f'/page/{number}' for number in range(10_000)]
#: The pages by how often they are asked for, the first one most often.
WEIGHTS = list(itertools.accumulate(1 / rank for rank in range(1, len(PAGES) + 1)))
MEBIBYTE = 2**20

FIGURES = {
    **latency_figures((GET,)),
    'hit_ratio': Figure('', 'hit ratio', unit='share', compared=False),
}


def render(page: str) -> str:
    """Return a page of 1 KB."""
    return (page + ' ').ljust(1024, 'x')


class Site:
    """The cache that has the pages."""

    def __init__(self, directory: Path, contender: str) -> None:
        # Here and not above: in the driver's process there may be no diskcache.
        from diskcache import Cache

        self._directory = str(directory / 'cache')
        with Cache(self._directory) as cache, cache.transact():
            for page in PAGES:
                cache[page] = render(page)

    def visit(self, count: int, writes: int, memory_limit: int) -> dict[str, float]:
        """Time the requests of all processes.

        :param count: of each process
        :param writes: of 10,000 requests so many are writes
        :param memory_limit: of each process, in bytes
        """
        answers = in_processes(PROCESSES, work, self._directory, count, writes, memory_limit)
        figures = Latencies.merged([latencies for latencies, _ in answers]).figures()
        ratios = [ratio for _, ratio in answers if ratio is not None]
        if ratios:
            figures['hit_ratio'] = sum(ratios) / len(ratios)
        return {name: value for name, value in figures.items() if name in FIGURES}

    def close(self) -> None:
        pass


def work(
    start: Callable[[], object],
    number: int,
    directory: str,
    count: int,
    writes: int,
    memory_limit: int,
) -> tuple[Latencies, float | None]:
    """Be one of the processes; return the hit ratio too, if the package knows it."""
    from diskcache import Cache

    with Cache(directory) as cache:
        cache.memory_limit = memory_limit  # to the original an attribute like any other
        chance = random.Random(number)
        _visit(cache, chance, count // 4, writes)
        start()
        before = _memory_stats(cache)
        gc.disable()
        latencies = _visit(cache, chance, count, writes)
        after = _memory_stats(cache)
    if before is None or after is None:
        return latencies, None
    hits, misses = (after[name] - before[name] for name in ('hits', 'misses'))
    return latencies, hits / (hits + misses)


def _memory_stats(cache: Any) -> dict[str, int] | None:
    if not hasattr(cache, 'memory_stats'):
        return None
    stats: dict[str, int] = cache.memory_stats()
    return stats


def _visit(cache: Any, chance: random.Random, count: int, writes: int) -> Latencies:
    pages = chance.choices(PAGES, cum_weights=WEIGHTS, k=count)
    written = chance.choices((True, False), (writes, 10_000 - writes), k=count)
    latencies = Latencies()
    record_get, record_set = (latencies.of(kind).append for kind in (GET, SET))
    clock, get, set_item = time.perf_counter_ns, cache.get, cache.set
    latencies.began = clock()
    for page, is_written in zip(pages, written, strict=True):
        if is_written:
            content = render(page)
            started = clock()
            set_item(page, content)
            record_set(clock() - started)
        else:
            started = clock()
            get(page)
            record_get(clock() - started)
    latencies.ended = clock()
    return latencies


suite: Suite[Site] = Suite('web', "A web site's load", __doc__, Site)


@suite.load('a write in 100', 40_000, FIGURES)
def writes_100(site: Site, count: int) -> dict[str, float]:
    return site.visit(count, 100, 8 * MEBIBYTE)


@suite.load('a write in 1,000', 40_000, FIGURES)
def writes_10(site: Site, count: int) -> dict[str, float]:
    return site.visit(count, 10, 8 * MEBIBYTE)


@suite.load('a write in 10,000', 40_000, FIGURES)
def writes_1(site: Site, count: int) -> dict[str, float]:
    return site.visit(count, 1, 8 * MEBIBYTE)


@suite.load('no write', 40_000, FIGURES)
def writes_0(site: Site, count: int) -> dict[str, float]:
    return site.visit(count, 0, 8 * MEBIBYTE)


suite.quotient(
    'rate_kept',
    'time of a write in 1,000: multiple of no write',
    'writes_10.rate',
    'writes_0.rate',
    at_most=1.18,
)
suite.quotient(
    'hit_ratio_kept',
    'hit ratio without a write: multiple of a write in 1,000',
    'writes_0.hit_ratio',
    'writes_10.hit_ratio',
    at_most=1.034,
)


@suite.load('no write, memory of 1 MiB', 40_000, FIGURES)
def memory_1(site: Site, count: int) -> dict[str, float]:
    return site.visit(count, 0, MEBIBYTE)


if __name__ == '__main__':
    main(suite, rounds=5, quick_rounds=1, warm_up=False)
