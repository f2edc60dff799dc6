"""Count the instructions of a hot get, a cold get and a set; compare them with what is recorded.

    python benchmarks/instructions.py [--record REASON]

A count is stable where a time is not: valgrind executes the same instructions each time. Each
operation is run so many times and twice as many times, each in a process of its own. The difference
is what the operation costs, without what only the first ones do.

What is counted depends on the interpreter, the compiler and SQLite. So figures are recorded for
each combination of them, and on an unknown one nothing is compared. 3 % more than recorded is a
failure. If that is meant, record the new figures with the reason.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import sqlite3
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

RECORD = Path(__file__).with_name('instructions.json')
TOLERANCE = 0.03

#: How often each is done: sets so seldom that no checkpoint becomes due, which another thread does.
COUNTS = {'hot get': 2000, 'cold get': 1000, 'set': 100}

#: The C function of each operation, which is counted with all that it calls: what CPython calls.
FUNCTIONS = {'hot get': 'Cache_get_call', 'cold get': 'Cache_get_call', 'set': 'Cache_set_call'}

PROGRAM = """
import sys
from diskcache import Cache

operation, count, directory = sys.argv[1], int(sys.argv[2]), sys.argv[3]
cache = Cache(directory, memory_limit=0) if operation == 'cold get' else Cache(directory)
keys = [f'key {i}' for i in range(100)]
for key in keys:
    cache[key] = 'a value'
for key in keys:
    cache.get(key)
if operation == 'set':
    for i in range(count):
        cache.set(keys[i % 100], 'a value')
else:
    for i in range(count):
        cache.get(keys[i % 100])
"""


def environment() -> str:
    """What the counts depend on besides our code."""
    compiler = subprocess.run(
        [os.environ.get('CC', 'cc'), '-dumpfullversion'], capture_output=True, text=True, check=True
    ).stdout.strip()
    return (
        f'{platform.machine()}, Python {platform.python_version()}, cc {compiler},'
        f' SQLite {sqlite3.sqlite_version}'
    )


def total(operation: str, count: int) -> int:
    """Instructions of an operation that is done so many times."""
    with tempfile.TemporaryDirectory() as directory:
        done = subprocess.run(
            # Addresses decide how long dictionaries of objects search: the same ones each time.
            ['setarch', '--addr-no-randomize', 'valgrind', '--tool=callgrind',
             '--callgrind-out-file=/dev/null', f'--toggle-collect={FUNCTIONS[operation]}',
             sys.executable, '-c', PROGRAM, operation, str(count), directory],
            env={**os.environ, 'PYTHONHASHSEED': '0', 'PYTHONMALLOC': 'malloc'},
            capture_output=True,
            text=True,
        )  # fmt: skip
    found = re.search(r'Collected : (\d+)', done.stderr)
    if done.returncode != 0 or found is None:
        raise RuntimeError(f'{operation}: {done.stderr}')
    return int(found[1])


def measure() -> dict[str, int]:
    """Instructions of one operation, by its name."""
    runs = [
        (operation, count)
        for operation in FUNCTIONS
        for count in (COUNTS[operation], 2 * COUNTS[operation])
    ]
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        totals = dict(zip(runs, pool.map(lambda run: total(*run), runs), strict=True))
    return {
        operation: round((totals[operation, 2 * count] - totals[operation, count]) / count)
        for operation, count in COUNTS.items()
    }


def compare(figures: dict[str, int], recorded: dict[str, int]) -> bool:
    """Print both, and whether all are within the tolerance."""
    within = True
    for name, figure in figures.items():
        ratio = figure / recorded[name]
        within &= ratio <= 1 + TOLERANCE
        print(f'{name:10} {figure:7,} instructions, recorded {recorded[name]:7,}: {ratio:.3f}')
    return within


def main() -> int:
    parser = argparse.ArgumentParser(description='Count the instructions of the hot paths.')
    parser.add_argument('--record', metavar='REASON', help='record the counts, for this reason')
    arguments = parser.parse_args()
    where = environment()
    records = json.loads(RECORD.read_text()) if RECORD.exists() else {}
    figures = measure()
    if arguments.record:
        records[where] = {**figures, 'reason': arguments.record}
        RECORD.write_text(json.dumps(records, indent=4) + '\n')
        print(f'{where}: {figures}')
        return 0
    if where not in records:
        print(f'{where}: {figures}; nothing is recorded for it, so nothing is compared')
        return 0
    if not compare(figures, records[where]):
        print('make: too many; if that is meant: make count RECORD="the reason"', file=sys.stderr)
        return 1
    return 0


if __name__ == '__main__':
    sys.exit(main())
