"""What keeps a command from being carried out, and the exit status that says so."""

from __future__ import annotations

import sqlite3
import sys

from .._core import Timeout

#: Exit statuses; README and docs/command-line.rst tell of them.
DONE, NO, FAILED, PARTLY = 0, 1, 2, 3
INTERRUPTED, CLOSED_PIPE = 130, 141  # as a shell has them of programs ended by these signals


class CommandError(Exception):
    """The command could not be carried out; the message is for the user."""


#: What keeps a command from being carried out.
FAILURES = (Timeout, CommandError, OSError, sqlite3.Error)


def printable(text: str) -> str:
    """Return a text of one line in which everything prints: no escape of a terminal."""
    return text if text.isprintable() else ''.join(map(_printable, text))


def _printable(letter: str) -> str:
    return letter if letter.isprintable() else repr(letter)[1:-1]


def tell_failure(error: Exception, name: str = '') -> int:
    """Say why a command could not be carried out, for a part of a FanoutCache or all.

    :return: the exit status
    """
    text = str(error)
    if isinstance(error, Timeout):
        text = 'the cache is locked by another process; try again'
    tell(f'{name and name + ": "}{text}')
    return FAILED


def tell(text: str) -> None:
    """Say something on standard error."""
    print(f'diskcache: {printable(text)}', file=sys.stderr)


class LeftOut:
    """Counts what is left out of an export or an import, and says why, for the first ones."""

    _TOLD = 10

    def __init__(self) -> None:
        self.count: int = 0

    def __call__(self, what: str, why: object) -> None:
        self.count += 1
        if self.count <= self._TOLD:
            tell(f'left out: {what}: {why}')
        elif self.count == self._TOLD + 1:
            tell('left out: and more')


class UnreadableError(Exception):
    """An item cannot be exported, or imported; the message says why."""


class Counts:
    """What has become of the items of an import."""

    def __init__(self) -> None:
        self.stored = self.replaced = self.kept = self.expired = 0
