"""Install wheels where they can run, and run there the smoke test and a part of the suite."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import threading
from dataclasses import dataclass
from pathlib import Path

from debian import Unavailable

from wheels import places
from wheels.cells import Cell
from wheels.clone import ROOT
from wheels.tree import BUILD, Tree

#: Quick, and about what can differ between platforms.
SUITE = (
    *('cache/test_iteration.py', 'cache/test_policies.py', 'cache/test_queue.py'),
    *('cache/test_transactions.py', 'layers/test_index.py'),
)

#: What the suite needs beside Python; without what is compiled, since one copy serves all Pythons.
_TOOLS = ('pytest>=8', 'pytest-timeout>=2.3', 'hypothesis>=6.100', 'tomli', 'exceptiongroup')

#: What wheels have in common is made once.
_PREPARING = threading.Lock()

_PATIENCE = 3600  # seconds; an emulator is slow


@dataclass
class Outcome:
    """What became of a wheel where it was tried, for the table of docs/platforms.rst."""

    where: str
    smoke: str
    suite: str
    failed: bool


def attempt(cell: Cell, out: Path, tree: Tree, with_suite: bool) -> Outcome:
    """Try a wheel; say so if that is not possible here. Several threads may do so at once."""
    try:
        with _PREPARING:
            place = places.of_cell(cell, out, f'{tree.stem}=={tree.version}')
            further = (_suite(tree), _tools()) if with_suite else ()
    except Unavailable as reason:
        return Outcome(f'not run: {reason}', '', '', failed=False)
    smoke = _run(place, [str(ROOT / 'tools' / 'wheels' / 'smoke.py')], cell)
    suite = ''
    if with_suite:
        tests = [f'tests/{name}' for name in SUITE]
        options = ['-q', '-p', 'no:cacheprovider', '-m', 'not slow and not stress']
        suite = _run(place, ['-m', 'pytest', *options, *tests], cell, *further)
    return Outcome(place.name, smoke, suite, 'failed' in f'{_bad(smoke)} {_bad(suite)}')


def _bad(said: str) -> str:
    return said.replace('0 failed', '')


def _run(
    place: places.Place, arguments: list[str], cell: Cell, cwd: Path = Path('/'), *path: Path
) -> str:
    """Run Python there; return the last line that it prints, and what it printed if it fails."""
    environment = {
        **os.environ,
        'PYTHONPATH': os.pathsep.join(str(each) for each in (place.site, *path) if each),
        # Debian compiles its modules when it installs them: an emulator takes long for that.
        'PYTHONPYCACHEPREFIX': str(BUILD / 'pycache'),
        'DISKCACHE_RUNNER': ' '.join(place.runner),
    }
    environment.pop('PYTHONDONTWRITEBYTECODE', None)
    try:
        done = subprocess.run(
            [*place.command, *arguments],
            cwd=cwd,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors='replace',
            timeout=_PATIENCE,
        )
    except subprocess.TimeoutExpired:
        return f'failed: no end in {_PATIENCE} s'
    lines = done.stdout.rstrip().splitlines() or ['']
    if done.returncode != 0:
        print(
            f'{cell.name} on {place.name}, {arguments[0]}:', *lines[-60:], sep='\n', file=sys.stderr
        )
        return f'failed, exit status {done.returncode}: {lines[-1]}'
    return lines[-1]


def _suite(tree: Tree) -> Path:
    """Return a copy of the tests that has no package beside it to be imported by accident."""
    path = BUILD / 'tree' / 'suite'
    if not path.exists():
        path.mkdir()
        shutil.copytree(tree.path / 'tests', path / 'tests')
        shutil.copy(tree.path / 'pyproject.toml', path)
    return path


def _tools() -> Path:
    """Return a directory with what the tests need; in Python alone, all versions share it."""
    path = BUILD / 'test-tools'
    if not path.exists():
        pip = [sys.executable, '-m', 'pip', '--quiet', '--disable-pip-version-check', 'install']
        wanted = ['--only-binary', ':all:', '--python-version', '3.10', '--platform', 'any']
        subprocess.run([*pip, *wanted, '--target', path, *_TOOLS], check=True)
    return path
