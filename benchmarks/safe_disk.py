"""What does SafeDisk cost, compared with Disk?

    .venv/bin/python benchmarks/safe_disk.py

For values of several kinds: the processor time of a load and of a store, and that of a `get` and a
`set` as a whole, without the memory tier, which would keep most values as they are. Both Disks are
measured in turn in one process, and the quickest of the rounds counts. Processor time, because
other programs at work then matter little.
"""

from __future__ import annotations

import datetime
import decimal
import pathlib
import tempfile
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from diskcache import Cache, Disk, SafeDisk

ROUNDS = 15
SECONDS = 0.02  # of a round, about


@dataclass
class Point:
    """A type of a program's own."""

    x: int
    y: int


RECORD = {'id': 4711, 'name': 'Ada Lovelace', 'mail': 'ada@example.org', 'score': 0.5, 'tags': []}
VALUES: dict[str, Any] = {
    'a text': 'a small value',
    'a dict': RECORD,
    'a datetime': datetime.datetime(2026, 1, 1, 12),
    '100 dicts': [dict(RECORD, id=number) for number in range(100)],
    '100 datetimes': [datetime.datetime(2026, 1, 1 + n % 28, n % 24) for n in range(100)],
    'a Decimal': decimal.Decimal('1.5'),
    'a UUID': uuid.UUID(int=4711),
    'a path': pathlib.PurePosixPath('/srv/data/file'),
    'an object of its own': Point(1, 2),
    '100 UUIDs': [uuid.UUID(int=number) for number in range(100)],
    '100 objects of its own': [Point(number, 2) for number in range(100)],
    '100 dicts and one object': [*(dict(RECORD, id=number) for number in range(100)), Point(1, 2)],
}


def time_of(call: Callable[[], object], count: int) -> float:
    """Return the microseconds of processor time that a call takes."""
    started = time.process_time()
    for _ in range(count):
        call()
    return (time.process_time() - started) / count * 1e6


def measure(calls: list[Callable[[], object]]) -> list[float]:
    """Return the least time of each, of rounds in which they take turns."""
    counts = [max(int(SECONDS * 1e6 / time_of(call, 20)), 1) for call in calls]
    rounds = [
        [time_of(call, count) for call, count in zip(calls, counts, strict=True)]
        for _ in range(ROUNDS)
    ]
    return [min(times) for times in zip(*rounds, strict=True)]


def main() -> None:
    """Print a table."""
    steps = ('load', 'store', 'get', 'set')
    disks: list[type[Disk]] = [Disk, SafeDisk.with_types(Point)]
    print(f'{"":26}' + ''.join(f'{step:>22}' for step in steps) + '   (µs: Disk, SafeDisk)')
    with tempfile.TemporaryDirectory() as directory:
        caches = [
            Cache(f'{directory}/{number}', disk=disk, memory_limit=0)
            for number, disk in enumerate(disks)
        ]
        for name, value in VALUES.items():
            row = ''
            for step in steps:
                plain, safe = measure([call_of(cache, step, value) for cache in caches])
                row += f'{plain:8.1f}{safe:8.1f}{safe / plain:5.1f}x'
            print(f'{name:26}{row}')
        for cache in caches:
            cache.close()


def call_of(cache: Cache, step: str, value: Any) -> Callable[[], object]:
    """Return what does one step with a value."""
    disk = cache.disk
    if step == 'store':
        return lambda: disk.store(value, False)
    if step == 'set':
        return lambda: cache.set('key', value)
    cache['key'] = value
    if step == 'get':
        return lambda: cache.get('key')
    _, mode, filename, column = disk.store(value, False)
    return lambda: disk.fetch(mode, filename, column, False)


if __name__ == '__main__':
    main()
