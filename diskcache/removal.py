"""What to do where the files of a database are removed, or put aside, while others have it open.

SQLite goes on with files that have no name any more, and opens by their names the log and the
wal-index of a database, whichever they belong to by then.
"""

from __future__ import annotations

import contextlib as cl
import os
import os.path as op
import sqlite3
import sys
import threading
import time
from collections.abc import Generator, Iterator

if sys.platform != 'win32':  # where files that are open cannot be removed
    import fcntl

#: Seconds within which whoever removes the files of a database is through with it.
REMOVAL_SECONDS = 0.1

#: How often a database is tried to be opened where somebody is still removing it.
ATTEMPTS = 100

_SQLITE_IOERR, _SQLITE_CORRUPT, _SQLITE_FULL, _SQLITE_NOTADB = 10, 11, 13, 26

#: What SQLite says, also its program, where there is no room.
FULL = 'disk is full'

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
            with cl.suppress(OSError):  # a child that was forked meanwhile shares the lock
                fcntl.flock(descriptor, fcntl.LOCK_UN)
            os.close(descriptor)


@cl.contextmanager
def claimed(path: str) -> Generator[None, None, None]:
    """Make a file, and have it locked during this block; is_claimed() tells others."""
    with open(path, 'xb') as file:
        if sys.platform != 'win32':
            with cl.suppress(OSError):  # a file system may have no locks
                fcntl.flock(file, fcntl.LOCK_EX)
        yield


def is_claimed(path: str) -> bool:
    """Tell whether somebody may be in the block of claimed().

    Processes that have ended are not, however they did. Where a file system has no locks, nobody
    knows.

    :raises FileNotFoundError: if there is no such file
    """
    with open(path, 'rb') as file:
        if sys.platform == 'win32':
            return True
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except OSError:
            return True
    return False


def remove_remains(database: str) -> None:
    """Remove what is left of a database that has been removed: its log and its wal-index.

    A process that has it open holds locks on its wal-index, which SQLite would use for the new
    database as well.
    """
    if op.exists(database):
        return
    remains = _beside(database)
    deadline = time.monotonic() + REMOVAL_SECONDS
    with cl.suppress(OSError), _locked(op.dirname(database)):
        pass  # another process may be about to put one there
    while not op.exists(database) and any(map(op.exists, remains)):
        if time.monotonic() < deadline:
            time.sleep(_POLL)
            continue
        with _locked(op.dirname(database)):
            for path in remains:
                if not op.exists(database):
                    with cl.suppress(FileNotFoundError):
                        os.remove(path)


def _beside(database: str) -> list[str]:
    """Return the paths of the wal-index and the log of a database."""
    return [database + '-shm', database + '-wal']


def is_malformed(error: Exception) -> bool:
    """Tell whether SQLite calls a database malformed, or says that a file is none."""
    codes = (_SQLITE_CORRUPT, _SQLITE_NOTADB)
    return _is_one_of(error, codes, ('malformed', 'file is not a database'))


def is_of_the_disk(error: Exception) -> bool:
    """Tell whether SQLite has found no room, or the disk has failed."""
    return _is_one_of(error, (_SQLITE_IOERR, _SQLITE_FULL), (FULL, 'disk I/O error'))


def _is_one_of(error: Exception, codes: tuple[int, ...], texts: tuple[str, ...]) -> bool:
    code = getattr(error, 'sqlite_errorcode', None)  # from Python 3.11 on, and always by _core
    if code is not None:
        return code & 0xFF in codes
    return isinstance(error, sqlite3.DatabaseError) and any(text in str(error) for text in texts)


def set_aside(
    database: str, seen: tuple[int, int] | None, successor: str | None = None
) -> str | None:
    """Rename a database, with its log. Who has it open notices that its file has moved.

    Of several processes that do it at once, one does.

    :param seen: the identity of the file that is meant
    :param successor: a database without a log, which takes the name
    :return: the new path; None if the name leads to another file by now, and nothing has been done
    :raises OSError: if it cannot be renamed
    """
    if successor is None:
        return _set_aside(database, seen)
    # In a thread, where no signal handler raises: if it ended between two names, others would begin
    # an empty database.
    from concurrent.futures import Future, wait  # which take milliseconds

    outcome: Future[str | None] = Future()

    def work() -> None:
        try:
            outcome.set_result(_set_aside(database, seen, successor))
        except BaseException as error:
            outcome.set_exception(error)

    thread = threading.Thread(target=work)
    try:
        thread.start()
        return outcome.result()
    finally:
        if thread.ident is not None:
            wait([outcome])


def _set_aside(
    database: str, seen: tuple[int, int] | None, successor: str | None = None
) -> str | None:
    """Do what `set_aside` says."""
    with _locked(op.dirname(database)):
        if identity(database) != seen:
            return None
        stem = aside = time.strftime(f'{database}-damaged-%Y%m%d-%H%M%S')
        number = 1
        while op.lexists(aside):
            number += 1
            aside = f'{stem}-{number}'
        if successor is not None:
            # Who has been interrupted before it could wait for this removes it where it was.
            new = f'{database}-saved-{os.getpid()}-{threading.get_ident()}'
            os.rename(successor, new)
            successor = new
        try:
            os.rename(database, aside)
        except OSError:
            if successor is not None:
                os.remove(successor)
            raise
        with cl.suppress(FileNotFoundError):
            os.rename(database + '-wal', aside + '-wal')
        with cl.suppress(FileNotFoundError):
            os.remove(database + '-shm')  # it has locks of those who have the former one open
        if successor is not None:
            _take_place(successor, database)
    return aside


def _take_place(successor: str, database: str) -> None:
    """Give a database a name that no other has; what others have made there meanwhile is empty."""
    while True:
        try:
            os.link(successor, database)
        except FileExistsError:
            for path in (database, *_beside(database)):
                with cl.suppress(FileNotFoundError):
                    os.remove(path)
        except OSError:  # no links in this file system
            os.rename(successor, database)
            return
        else:
            os.remove(successor)
            return


def is_truncated(database: str) -> bool:
    """Tell whether the database is empty and there is a log of it, as SQLite never leaves them.

    If nobody has it open SQLite creates it again. A process that has it open keeps its lock.
    """
    has_log = op.exists(database + '-wal') or op.exists(database + '-shm')
    try:
        return has_log and op.getsize(database) == 0  # in this order: another may be making both
    except OSError:
        return False
