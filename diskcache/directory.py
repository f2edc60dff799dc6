"""Directories of caches: their paths, making them, temporary ones."""

from __future__ import annotations

import contextlib as cl
import errno
import os
import os.path as op
import stat
import sys
import threading
from collections.abc import Callable, Generator

from .cautions import warn_once
from .hints import Any


def path_of(directory: Any) -> str:
    """Return the path that an argument names, with ``~`` and environment variables expanded.

    An object that is no path for Python is one by its str, as in the original.
    """
    if not isinstance(directory, str | bytes | os.PathLike):
        directory = str(directory)
        warn_once(directory, 'str', f'the directory is no path: its str is taken, {directory!r}')
    return op.expandvars(op.expanduser(os.fsdecode(directory)))


#: The mode of a directory that is made, unless another is asked for: its owner's alone.
OWNER_ONLY = 0o700

#: What the mode of a directory may have: permissions, and that its group is that of what is in it.
_MODES = 0o2777


def checked_mode(mode: Any) -> int | None:
    """Return the mode asked for a new directory, None if it is not.

    :raises TypeError: if it is no int
    :raises ValueError: if the owner could not use the directory, or it has other bits
    """
    if mode is None:
        return None
    if not isinstance(mode, int) or isinstance(mode, bool):
        raise TypeError(f'mode must be an int, such as 0o750, not {type(mode).__name__!r}')
    if mode & ~_MODES or mode & OWNER_ONLY != OWNER_ONLY:
        hint = f': is 0o{mode} meant?' if mode > 0 and not set(str(mode)) & {'8', '9'} else ''
        raise ValueError(f'mode must be 0o700 and what others may do, not {mode:#o}{hint}')
    return mode


@cl.contextmanager
def temporary_unless_given(
    directory: str | os.PathLike[str] | None, mode: int | None = None
) -> Generator[str | os.PathLike[str], None, None]:
    """Give the directory, or a new temporary one, which goes again if the block fails.

    :param mode: of the temporary one (None: its owner's alone)
    """
    if directory is not None:
        yield directory
        return
    import tempfile  # which takes long to import

    made = tempfile.mkdtemp(prefix='diskcache-')
    try:
        if mode is not None:
            os.chmod(made, mode)
        yield made
    except BaseException:
        import shutil

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


def checked_read_only(read_only: Any) -> bool:
    """Return whether a cache is to be opened without writing anything.

    :raises TypeError: if it is no bool
    """
    if not isinstance(read_only, bool | int | None):
        raise TypeError(f'read_only must be True or False, not {type(read_only).__name__!r}')
    return bool(read_only)


def is_unwritable(directory: str, name: str) -> bool:
    """Tell whether a directory is there in which this process cannot write.

    :param name: of a file that it has to write too, if that is there
    """
    effective = os.access in os.supports_effective_ids
    path = op.join(directory, name)

    def can(where: str, what: int) -> bool:
        return os.access(where, what, effective_ids=effective)

    def is_denied(where: str, what: int, is_there: Callable[[str], bool]) -> bool:
        # Asked again once it is there: another may just have made it.
        return not can(where, what) and is_there(where) and not can(where, what)

    return is_denied(directory, os.W_OK | os.X_OK, op.isdir) or is_denied(path, os.W_OK, op.exists)


def make_directory(path: str, mode: int = OWNER_ONLY, lasting: bool = False) -> None:
    """Make a cache directory, and what is missing above it, unless it is there.

    :param path: the directory
    :param mode: of it, whatever the umask is; above it that decides
    :param lasting: have the disk keep what is made, even if power is lost
    :raises OSError: if it is not there then
    """
    if op.isdir(path):
        return
    above = []
    directory = op.abspath(path)
    while lasting and not op.isdir(directory):
        directory = op.dirname(directory)
        above.append(directory)
    try:
        os.makedirs(op.dirname(path) or os.curdir, exist_ok=True)
        with cl.suppress(FileExistsError):  # another has just made it, or it is no directory
            os.mkdir(path, OWNER_ONLY)
            if mode != OWNER_ONLY:
                os.chmod(path, mode)
        if not op.isdir(path):
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST))
    except OSError as error:
        there = path
        while not op.lexists(there) and there != op.dirname(there):
            there = op.dirname(there)
        if op.lexists(there) and not op.isdir(there):
            text = f'Cache directory "{path}"'
            text += ' is not a directory' if there == path else f': {there} is not a directory'
            raise OSError(error.errno, text) from None
        raise OSError(
            error.errno,
            f'Cache directory "{path}" does not exist and could not be created',
        ) from None
    for directory in above:
        sync_directory(directory)


def make_database(directory: str, name: str) -> None:
    """Make the empty file of a database, as open to others as the directory, unless it is there.

    SQLite would make it as the umask says, and gives its log and its wal-index the mode and, if it
    is root's, the owner that it finds here. Where that cannot be done SQLite makes it after all.
    """
    path = op.join(directory, name)
    with cl.suppress(OSError):
        if size_of(path) > 0:
            return
        facts = os.stat(directory)
        if op.lexists(path):
            there = os.lstat(path)  # a link may lead to a file that is not to be opened to others
            is_own = stat.S_ISREG(there.st_mode) and there.st_nlink == 1
            if is_own and there.st_size == 0:  # SQLite has made it: somebody had removed the files
                os.chmod(path, mode_of_files(facts.st_mode))
            return
        # Under another name first: to close a file drops the locks that this process has on it, and
        # another thread would have some as soon as it has the right name.
        new = f'{path}-{os.getpid()}-{threading.get_ident()}-new'
        descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            if hasattr(os, 'geteuid') and os.geteuid() == 0:
                os.fchown(descriptor, facts.st_uid, facts.st_gid)
            if hasattr(os, 'fchmod'):
                os.fchmod(descriptor, mode_of_files(facts.st_mode))
        finally:
            os.close(descriptor)
        try:
            os.link(new, path)
        except FileExistsError:
            return
        except OSError:  # a file system without links
            os.mknod(path, 0o600 | stat.S_IFREG)
            os.chmod(path, mode_of_files(facts.st_mode))
        finally:
            os.remove(new)


def mode_of_files(mode: int) -> int:
    """Return the mode of files in a directory of a mode; src/engine/valuefile.c has the same."""
    if mode & stat.S_ISVTX:  # others may make files there, but not change ours
        mode &= ~(stat.S_IWGRP | stat.S_IWOTH)
    return mode & 0o666


def mode_of(directory: str) -> int:
    """Return the mode of a directory, as far as another could be made alike."""
    try:
        return os.stat(directory).st_mode & _MODES | OWNER_ONLY
    except OSError:
        return OWNER_ONLY


def warn_of_others(directory: str, mode: int, place: str) -> None:
    """Warn, once, of a directory that everybody can write.

    :param directory: its path
    :param mode: what :func:`mode_of` returned of it
    :param place: what the warning names: the directory, or that of which it is a part
    """
    if mode & stat.S_IWOTH and sys.platform != 'win32':
        warn_once(
            place,
            'others',
            f'{place}: every user of this machine can write to the directory, and so run code in'
            f' the programs that read from it: chmod o-w {directory}',
        )


def size_of(path: str) -> int:
    """Return the size of a file in bytes, 0 if there is none."""
    try:
        return op.getsize(path)
    except FileNotFoundError:
        return 0
