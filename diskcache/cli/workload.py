"""What `bench` measures: run as a program, with this package or with the original.

    python workload.py PACKAGE DIRECTORY NUMBER

PACKAGE is the directory that has ``diskcache`` in it. It prints the medians, in microseconds, as
JSON.
"""

from __future__ import annotations

import json
import statistics
import sys
import time
from collections.abc import Callable, Iterable
from typing import Any


def median(operation: Callable[[Any], object], arguments: Iterable[Any]) -> float:
    """Return the median time of an operation in microseconds."""
    clock = time.perf_counter
    times = []
    for argument in arguments:
        start = clock()
        operation(argument)
        times.append(clock() - start)
    return 1e6 * statistics.median(times)


def measure(cache: Any, number: int) -> dict[str, float]:
    """Return the medians of all operations, by their names."""
    small, large = {'name': 'Ada', 'visits': 3}, b'x' * 100_000
    few = max(number // 10, 3)
    keys = [f'key {index}' for index in range(number)]
    hot = keys[:100]
    names = [f'file {index}' for index in range(few)]
    return {
        'set, new key': median(lambda key: cache.set(key, small), keys),
        'set, existing key': median(lambda key: cache.set(key, small), keys),
        'get, not in memory': _cold(cache, keys),
        'get': (median(cache.get, hot), median(cache.get, hot * (number // 100 + 1)))[1],
        'incr': median(lambda _: cache.incr('visits'), keys),
        'set, 100 KB': median(lambda key: cache.set(key, large), names),
        'get, 100 KB': median(cache.get, names),
        'delete': median(cache.delete, keys),
    }


def _cold(cache: Any, keys: list[str]) -> float:
    limit = getattr(cache, 'memory_limit', None)
    if limit is not None:
        cache.memory_limit = 0
    try:
        return median(cache.get, keys)
    finally:
        if limit is not None:
            cache.memory_limit = limit


def main() -> None:
    """Measure, and print the result."""
    package, directory, number = sys.argv[1:]
    sys.path[0] = package  # instead of the directory of this file
    import diskcache

    with diskcache.Cache(directory) as cache:
        print(json.dumps(measure(cache, int(number))))


if __name__ == '__main__':
    main()
