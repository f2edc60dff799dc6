"""``bench``: how fast a cache is on a disk of the user's, beside the original."""

from __future__ import annotations

import argparse
import json
import os
import os.path as op
import subprocess
import sys
import tempfile
from typing import Any

from ..constants import DBNAME
from ..directory import path_of
from .arguments import count
from .commands import Commands
from .errors import DONE, CommandError
from .output import print_json, table_lines

_PACKAGE = op.dirname(op.dirname(op.abspath(__file__)))


def register(commands: Commands) -> None:
    """Add the command."""
    bench = commands.add(
        'bench',
        _bench,
        'measure how fast caches are on a disk',
        description='In a temporary directory in DIRECTORY; if that is a cache, beside it. It takes'
        ' some seconds, and each figure is the median of many operations. The original is measured'
        ' too if it is named, or can be imported from another place.',
        directory=False,
        json_keys={
            'directory': 'where it was measured',
            'number': 'of operations of each kind; of large values a tenth',
            'ours': 'microseconds for each operation, by its name',
            'original': 'likewise; null: it was not measured',
        },
    )
    bench.add_argument(
        'directory', metavar='DIRECTORY', nargs='?', default='.', help='on the disk (here)'
    )
    bench.add_argument(
        '--original', metavar='PATH', help='the directory in which the original is installed'
    )
    bench.add_argument(
        '--number', type=count, default=2000, metavar='NUMBER', help='so many of each kind (2000)'
    )


def _bench(options: argparse.Namespace) -> int:
    directory = op.abspath(path_of(options.directory))
    if not op.isdir(directory):
        raise CommandError(f'no such directory: {directory}')
    while op.exists(op.join(directory, DBNAME)) or op.exists(op.join(directory, '000', DBNAME)):
        directory = op.dirname(directory)
    number = max(options.number, 10)
    original = _original(options.original)
    ours = _measure(op.dirname(_PACKAGE), directory, number)
    theirs = _measure(original, directory, number) if original is not None else None
    if options.json:
        print_json({'directory': directory, 'number': number, 'ours': ours, 'original': theirs})
        return DONE
    print(f'microseconds for each operation, the median of {number:,}, in {directory}')
    head: tuple[str, ...] = ('ours', 'operation')
    rows: list[tuple[str, ...]] = [(f'{ours[name]:.2f}', name) for name in ours]
    if theirs is not None:
        head = ('ours', 'original', 'times as fast', 'operation')
        rows = [
            (f'{ours[name]:.2f}', f'{theirs[name]:.2f}', f'{theirs[name] / ours[name]:.1f}', name)
            for name in ours
        ]
    print('\n'.join(table_lines(head, rows)))
    return DONE


def _original(path: str | None) -> str | None:
    """Return the directory that has the original in it; None if there is none.

    :raises CommandError: if it is named, and not there
    """
    if path is not None:
        path = op.abspath(path_of(path))
        for found in (path, op.dirname(path)):
            if _has_original(found):
                return found
        raise CommandError(f'the original is not there: {path}')
    return next(filter(_has_original, map(op.abspath, sys.path)), None)


def _has_original(directory: str) -> bool:
    """Tell whether the original can be imported from a directory; our `core` is a folder."""
    return op.isfile(op.join(directory, 'diskcache', 'core.py'))


def _measure(package: str, directory: str, number: int) -> dict[str, Any]:
    """Run workload.py in a process of its own."""
    with tempfile.TemporaryDirectory(prefix='.diskcache-bench-', dir=directory) as work:
        program = op.join(_PACKAGE, 'cli', 'workload.py')
        done = subprocess.run(
            [sys.executable, program, package, work, str(number)],
            capture_output=True,
            stdin=subprocess.DEVNULL,
            env={**os.environ, 'PYTHONDONTWRITEBYTECODE': '1'},
            check=False,
        )
    if done.returncode:
        reason = done.stderr.decode(errors='replace').strip().rpartition('\n')[2]
        raise CommandError(f'the measurement failed, with {package}: {reason}')
    found: dict[str, Any] = json.loads(done.stdout)
    return found
