"""How long do operations take when several threads use one cache, or one thread computes?

Sixteen threads set items of one Cache as fast as they can, then get them. Then there are two
threads: one sets or gets, the other spins in Python, as the requests of a busy web server do; what
is waited for is the interpreter's lock. Whether a get of the original's waits for it is a race that
is won or lost for long, so that the mean says more than the median. Every operation is timed by
itself, and with it some 50 ns for the clock.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

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

THREADS = 16


class Shared:
    """The cache that the threads share."""

    def __init__(self, directory: Path, contender: str) -> None:
        # Here and not above: in the driver's process there may be no diskcache.
        from diskcache import Cache

        self.cache = Cache(str(directory))
        for key in MIX_KEYS:
            self.cache[key] = MIX_VALUE

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
        self.cache.close()


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


if __name__ == '__main__':
    main(suite, rounds=7, quick_rounds=1)
