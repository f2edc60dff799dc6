"""The command line in a process of its own."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator

from places import PACKAGE


def command_of(*arguments: object) -> list[str]:
    """Return what starts the command line in a process of its own."""
    return [sys.executable, '-m', 'diskcache', *map(str, arguments)]


def environment() -> dict[str, str]:
    """Return that of the command line, which imports this package from anywhere."""
    return {**os.environ, 'PYTHONPATH': str(PACKAGE)}


def shown_on(controller: int) -> Iterator[bytes]:
    """Yield what a terminal shows so far, each time that there is more, until it is closed."""
    shown = b''
    while True:
        try:
            read = os.read(controller, 1000)
        except OSError:  # what Linux says at its end
            break
        if not read:
            break
        shown += read
        yield shown
    os.close(controller)
