"""Directories of caches: their paths, making them, temporary ones."""

from __future__ import annotations

import contextlib as cl
import errno
import os
import os.path as op
import shutil
import tempfile
from collections.abc import Generator
from typing import Any

from .cautions import warn_once


def path_of(directory: Any) -> str:
    """Return the path that an argument names, with ``~`` and environment variables expanded.

    An object that is no path for Python is one by its str, as in the original.
    """
    if not isinstance(directory, str | bytes | os.PathLike):
        directory = str(directory)
        warn_once(directory, 'str', f'the directory is no path: its str is taken, {directory!r}')
    return op.expandvars(op.expanduser(os.fsdecode(directory)))


@cl.contextmanager
def temporary_unless_given(
    directory: str | os.PathLike[str] | None,
) -> Generator[str | os.PathLike[str], None, None]:
    """Give the directory, or a new temporary one, which goes again if the block fails."""
    if directory is not None:
        yield directory
        return
    made = tempfile.mkdtemp(prefix='diskcache-')
    try:
        yield made
    except BaseException:
        shutil.rmtree(made, ignore_errors=True)
        raise


def is_lasting(synchronous: Any) -> bool:
    """Tell whether with this PRAGMA synchronous a commit waits for the disk."""
    return str(synchronous).lower() in ('2', '3', '2.0', '3.0', 'full', 'extra')


def sync_directory(path: str) -> None:
    """Have the disk keep the names in a directory, where the system can do that.

    :raises OSError: if the disk fails
    """
    if os.name == 'nt':
        return
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):
            raise
    finally:
        os.close(descriptor)


def make_directory(path: str, lasting: bool = False) -> None:
    """Make a cache directory, and what is missing above it.

    :param path: the directory
    :param lasting: have the disk keep what is made, even if power is lost
    :raises OSError: if it is not there then
    """
    above = []
    directory = op.abspath(path)
    while lasting and not op.isdir(directory):
        directory = op.dirname(directory)
        above.append(directory)
    try:
        os.makedirs(path, 0o700, exist_ok=True)
    except OSError as error:
        there = path
        while not op.lexists(there):
            there = op.dirname(there)
        if not op.isdir(there):
            text = f'Cache directory "{path}"'
            text += ' is not a directory' if there == path else f': {there} is not a directory'
            raise OSError(error.errno, text) from None
        raise OSError(
            error.errno,
            f'Cache directory "{path}" does not exist and could not be created',
        ) from None
    for directory in above:
        sync_directory(directory)
