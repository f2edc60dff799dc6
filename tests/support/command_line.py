"""The command line in a process of its own."""

from __future__ import annotations

import os
import sys

from places import PACKAGE


def command_of(*arguments: object) -> list[str]:
    """Return what starts the command line in a process of its own."""
    return [sys.executable, '-m', 'diskcache', *map(str, arguments)]


def environment() -> dict[str, str]:
    """Return that of the command line, which imports this package from anywhere."""
    return {**os.environ, 'PYTHONPATH': str(PACKAGE)}
