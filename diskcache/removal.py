"""What to do where somebody removes the files of a database while others have it open.

SQLite goes on with files that have no name any more, and opens by their names the log and the
wal-index of a database, whichever they belong to by then.
"""

from __future__ import annotations

import contextlib as cl
import os
import os.path as op
import sys
import time
from collections.abc import Generator, Iterator

if sys.platform != 'win32':  # where files that are open cannot be removed
    import fcntl

#: Seconds within which whoever removes the files of a database is through with it.
REMOVAL_SECONDS = 0.1

#: How often a database is tried to be opened where somebody is still removing it.
ATTEMPTS = 100

#: Seconds between two looks.
_POLL = 0.001


def identity(path: str) -> tuple[int, int] | None:
    """Return what tells a file from others that had or get its name, None if there is none."""
    try:
        status = os.stat(path)
    except OSError:
        return None
    return status.st_dev, status.st_ino


def attempts() -> Iterator[bool]:
    """Yield whether another attempt is left, for each, and pause in between."""
    for left in reversed(range(ATTEMPTS)):
        yield left > 0
        time.sleep(_POLL)


@cl.contextmanager
def _locked(directory: str) -> Generator[None, None, None]:
    """Keep other processes out of this block for the same directory, where that can be."""
    descriptor = None
    try:
        if sys.platform != 'win32':
            descriptor = os.open(directory, os.O_RDONLY)
            with cl.suppress(OSError):  # a file system may have no locks for directories
                fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        if descriptor is not None:
            os.close(descriptor)


def remove_remains(database: str) -> None:
    """Remove what is left of a database that has been removed: its log and its wal-index.

    A process that has it open holds locks on its wal-index, which SQLite would use for the new
    database as well.
    """
    remains = [database + '-shm', database + '-wal']
    deadline = time.monotonic() + REMOVAL_SECONDS
    while not op.exists(database) and any(map(op.exists, remains)):
        if time.monotonic() < deadline:
            time.sleep(_POLL)
            continue
        with _locked(op.dirname(database)):
            for path in remains:
                if not op.exists(database):
                    with cl.suppress(FileNotFoundError):
                        os.remove(path)


def is_truncated(database: str) -> bool:
    """Tell whether the database is empty and there is a log of it, as SQLite never leaves them.

    If nobody has it open SQLite creates it again. A process that has it open keeps its lock.
    """
    has_log = op.exists(database + '-wal') or op.exists(database + '-shm')
    try:
        return has_log and op.getsize(database) == 0  # in this order: another may be making both
    except OSError:
        return False
