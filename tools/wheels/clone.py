"""What git knows of the clone that wheels are built from."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def commit_time(root: Path = ROOT) -> int:
    """Return the time of the commit: that of all files in what is built.

    :raises SystemExit: there is no git, or no clone
    """
    if (given := os.environ.get('SOURCE_DATE_EPOCH')) is not None:
        return int(given)
    return int(_git(root, 'log', '-1', '--format=%ct'))


def files(root: Path = ROOT) -> list[Path]:
    """Return the files that git knows of and that are there, relative to the clone.

    :raises SystemExit: there is no git, or no clone
    """
    names = [Path(name) for name in _git(root, 'ls-files', '-z').split('\0') if name]
    if not names:  # a directory in a clone of something else
        raise _no_clone(root, 'git knows no file in it')
    return [name for name in names if (root / name).exists()]


def changed(root: Path = ROOT) -> list[str]:
    """Return the files that git knows of and that are not as in the commit."""
    return _git(root, 'diff', '--name-only', '--relative', 'HEAD').splitlines()


def _git(root: Path, *arguments: str) -> str:
    try:
        done = subprocess.run(['git', *arguments], cwd=root, capture_output=True, text=True)
    except FileNotFoundError:
        raise SystemExit(
            'wheels: git not found; on Debian and Ubuntu: apt-get install git'
        ) from None
    if done.returncode != 0:
        raise _no_clone(root, done.stderr.strip())
    return done.stdout


def _no_clone(root: Path, reason: str) -> SystemExit:
    return SystemExit(
        f'wheels: {root} is no clone of the sources, as git says ({reason}); from an sdist make one'
        ' wheel, for one Python: pip wheel .'
    )
