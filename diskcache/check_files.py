"""Files and directories in a cache's directory that no row accounts for.

The directory is walked, however many files there are, without a list of them: the names that rows
have are in a database of their own, which SQLite keeps on disk.

Others write meanwhile. A set writes its file before its row, so a file without a row may be that of
a set under way. Files that seem to have no row are looked up once more, in all rows at one moment.
Those that a set can have written are waited for: until the transactions of this moment are over,
and then a while, in which a set that waits for the lock can get it. What still has no row is
reported. Only if it is old it is damage, and is removed, since a set may be held up for longer.

Only files with the names that this package, or the original, gives them are removed; and empty
directories of any name, as the original does.
"""

from __future__ import annotations

import contextlib as cl
import os
import os.path as op
import re
import sqlite3
import time
from collections.abc import Callable, Iterable, Iterator

from . import sql
from ._core import TEMPORARY_FILE_SUFFIX, VALUE_FILE_DIGITS, VALUE_FILE_SUFFIX
from .cautions import EmptyDirWarning, UnknownFileWarning
from .constants import DBNAME

#: Seconds for which a value file is left alone that no row names: a set may be under way.
_ORPHAN_GRACE = 600.0

#: Seconds for which a file without a row is waited for, and between two looks. A process with the
#: original looks for the lock every tenth of a second.
_PATIENCE = 0.25
_PAUSE = 0.05

#: How many files and directories are looked at once more together.
_SUSPECTS = 10_000

#: The names of value files, by their suffix, when they are complete and while they are written.
_STEM = f'[0-9a-f]{{2}}/[0-9a-f]{{2}}/[0-9a-f]{{{VALUE_FILE_DIGITS - 4}}}'
_VALUE_NAME = re.compile(_STEM + re.escape(VALUE_FILE_SUFFIX))
#: ... and the name of a database while it is made (directory.py).
_TEMPORARY_NAME = re.compile(
    _STEM + re.escape(TEMPORARY_FILE_SUFFIX) + '|' + re.escape(DBNAME) + r'-[0-9]+-[0-9]+-new'
)


class Found:
    """Something that a check has found."""

    def __init__(
        self,
        text: str,
        category: type[Warning] = UserWarning,
        *,
        mended: bool = False,
        harmless: bool = False,
        reason: str = '',
    ) -> None:
        """Make one.

        :param text: what it is
        :param category: of the warning
        :param mended: whether it has been mended
        :param harmless: nothing is wrong with the cache, as far as one can tell: others own this,
            or can read it, or are just writing it
        :param reason: why it stays, also with `fix`
        """
        self.text = text
        self.category = category
        self.mended = mended
        self.harmless = harmless
        self.reason = reason


def is_old(path: str) -> bool | None:
    """Tell whether nobody can be writing a file, or in a directory; None if it is gone."""
    try:
        written = os.lstat(path).st_mtime
    except OSError:
        return None
    return time.time() - written > _ORPHAN_GRACE


class Names:
    """A set of the names of files, on disk if it is large."""

    def __init__(self) -> None:
        self._made: sqlite3.Connection | None = None

    @property
    def _con(self) -> sqlite3.Connection:
        if self._made is None:  # most caches have no files
            self._made = sqlite3.connect('')
            for statement in sql.CREATE_NAMES:
                self._made.execute(statement)
        return self._made

    def add(self, names: Iterable[bytes]) -> None:
        """Add some."""
        self._con.executemany(sql.ADD_NAME, ((name,) for name in names))
        self._con.commit()

    def __contains__(self, name: bytes) -> bool:
        if self._made is None:
            return False
        return self._made.execute(sql.HAS_NAME, (name,)).fetchone() is not None

    def __len__(self) -> int:
        if self._made is None:
            return 0
        ((count,),) = self._made.execute(sql.COUNT_NAMES)
        return int(count)

    def close(self) -> None:
        """Forget them."""
        if self._made is not None:
            self._made.close()


class _Directory:
    """A directory while it is walked."""

    def __init__(self, name: str) -> None:
        self.name = name  # relative to the cache's, '' for that itself
        self.directories: list[str] = []  # the names of those left to walk
        #: Nothing but directories like this is in it.
        self.hollow = True


class FileCheck:
    """A walk through the directory of a cache."""

    def __init__(
        self,
        path: str,
        names: Names,
        *,
        names_in_rows: Callable[[], Iterable[bytes]],
        wait_for_writers: Callable[[], None],
        progress: Callable[[str, int, int | None], object],
        remove: Callable[[str], None] | None,
        names_are_own: bool,
        keeps_files: bool,
    ) -> None:
        """Prepare the walk.

        :param path: the directory
        :param names: the names that rows have had a while ago
        :param names_in_rows: yields the names that all rows have at one moment
        :param wait_for_writers: returns when the transactions that are open now are over
        :param progress: called with the step, how many files have been looked at, and how many
            there are perhaps
        :param remove: removes a value file; None: nothing is removed
        :param names_are_own: value files have the names that this package gives them
        :param keeps_files: files without a row stay, since the rows have just been lost
        """
        self.path = path
        self.names = names
        self.names_in_rows = names_in_rows
        self.wait_for_writers = wait_for_writers
        self.progress = progress
        self.remove = remove
        self.names_are_own = names_are_own
        self.keeps_files = keeps_files
        self._files: dict[bytes, str] = {}
        self._directories: dict[str, tuple[int, int]] = {}
        self._done = 0

    def run(self) -> Iterator[Found]:
        """Yield all files and directories that no row accounts for."""
        total = len(self.names)
        way = [self._enter('')]
        while way:
            here = way[-1]
            if here.directories:
                way.append(self._enter(op.join(here.name, here.directories.pop())))
                self.progress('files', self._done, total)
                continue
            way.pop()
            if way and here.hollow and (identity := self._identity(here.name)):
                self._directories[here.name] = identity
            elif way:
                way[-1].hollow = False
            if not way or len(self._files) + len(self._directories) >= _SUSPECTS:
                yield from self._look_again()

    def _enter(self, directory: str) -> _Directory:
        """Look at the files in a directory, and note the directories."""
        here = _Directory(directory)
        try:
            with os.scandir(op.join(self.path, directory)) as entries:
                for entry in entries:
                    name = op.join(directory, entry.name)
                    if entry.is_dir(follow_symlinks=False) and not self._is_left_alone(name):
                        here.directories.append(entry.name)
                        continue
                    here.hollow = False
                    if not entry.is_dir():
                        self._look_at_file(name)
        except OSError:  # it is gone meanwhile, or nobody's business
            here.hollow = False
        return here

    def _is_left_alone(self, directory: str) -> bool:
        """Tell whether a directory is that of a cache, or of somebody who saves this one."""
        return DBNAME in directory or op.exists(op.join(self.path, directory, DBNAME))

    def _identity(self, directory: str) -> tuple[int, int] | None:
        """Return what changes when something is put into a directory, None if it is gone."""
        try:
            status = os.lstat(op.join(self.path, directory))
        except OSError:
            return None
        return status.st_ino, status.st_mtime_ns

    def _look_at_file(self, relative: str) -> None:
        name = relative.replace(os.sep, '/')
        encoded = os.fsencode(name)
        if DBNAME in name and not (_TEMPORARY_NAME.fullmatch(name) and self._is_old(relative)):
            return
        self._done += 1
        if encoded not in self.names:
            self._files[encoded] = relative

    def _is_old(self, relative: str) -> bool | None:
        return is_old(op.join(self.path, relative))

    # --- a second look ---

    def _look_again(self) -> Iterator[Found]:
        """Yield what still is not accounted for."""
        if self._files:
            self._forget_named()
            if self._has_values():
                self.wait_for_writers()
            end = time.monotonic() + _PATIENCE
            while self._has_values() and time.monotonic() < end:
                time.sleep(_PAUSE)
                self._forget_named()
        if self._directories:
            time.sleep(_PAUSE)
        for relative in self._files.values():
            yield from self._judge_file(relative)
        hollow = [
            directory
            for directory, identity in self._directories.items()
            if self._identity(directory) == identity and self._is_hollow(directory)
        ]
        for directory in hollow:  # from the bottom up
            yield self._judge_directory(directory)
        self._files.clear()
        self._directories.clear()

    def _forget_named(self) -> None:
        """Forget the files that rows have by now, and those that are gone."""
        for name in self.names_in_rows():
            self._files.pop(name, None)
        for name, relative in list(self._files.items()):
            if self._is_old(relative) is None:
                del self._files[name]

    def _is_own(self, relative: str) -> bool:
        name = relative.replace(os.sep, '/')
        return bool(_VALUE_NAME.fullmatch(name) or _TEMPORARY_NAME.fullmatch(name))

    def _has_values(self) -> bool:
        """Tell whether one of the files may be that of a set under way."""
        return bool(self._files) and (
            not self.names_are_own or any(map(self._is_own, self._files.values()))
        )

    def _judge_file(self, relative: str) -> Iterator[Found]:
        old = self._is_old(relative)
        if old is None:
            return
        path = op.join(self.path, relative)
        own = self._is_own(relative)
        mended = False
        if own and old and self.remove is not None and not self.keeps_files:
            if relative.startswith(DBNAME):  # which is in no other directory, and no value file
                with cl.suppress(OSError):
                    os.remove(path)
            else:
                self.remove(relative)
            mended = not op.lexists(path)
        reason = 'it cannot be removed'
        if not own:
            reason = 'it is none of the cache'
        elif self.keeps_files:
            reason = 'its row may just have been lost; the next check removes it'
        elif not old:
            reason = 'it may be that of a value that is just being stored; if not, it goes later'
        yield Found(
            f'unknown file: {path}',
            UnknownFileWarning,
            mended=mended,
            harmless=not (own and old),
            reason=reason,
        )

    def _is_hollow(self, directory: str) -> bool:
        """Tell whether nothing but directories like this is in one; not if it is gone."""
        try:
            with os.scandir(op.join(self.path, directory)) as entries:
                return all(
                    entry.is_dir(follow_symlinks=False)
                    and self._is_hollow(op.join(directory, entry.name))
                    for entry in entries
                )
        except OSError:
            return False

    def _judge_directory(self, directory: str) -> Found:
        path = op.join(self.path, directory)
        old = self._is_old(directory)
        mended = False
        if self.remove is not None:
            with cl.suppress(OSError):  # a set may have used it meanwhile
                os.rmdir(path)
                mended = True
        return Found(
            f'empty directory: {path}',
            EmptyDirWarning,
            mended=mended,
            harmless=not old,
            reason='it cannot be removed, or is in use again',
        )
