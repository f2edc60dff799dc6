"""What Cache.check() does: compare the rows, the value files, the settings and the counters.

A row can be damaged in ways that neither this library nor the original brings about: by a loss of
power, by a disk, by somebody's SQL. Whatever of it cannot be looked up or cannot be read by anyone
is found here, and with `fix` it goes, as a row whose file is missing always has: a cache is to hold
what can be had, and everything else would be met again and again by those who iterate or pull.

Pickles are followed as far as that runs nobody's code: see pickle_walker.py. What is found in them
is told and nothing else, also with `fix`: a class that is not there for this program may be for
another that shares the directory, and what this Python cannot read a newer one may.

What a Disk of the user's own stores and fetches in its own way is not judged.
"""

from __future__ import annotations

import contextlib as cl
import io
import os
import os.path as op
import pickle
import re
import sqlite3
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, BinaryIO

from . import settings as rules
from . import sql
from ._core import TEMPORARY_FILE_SUFFIX, VALUE_FILE_DIGITS, VALUE_FILE_SUFFIX
from .cautions import EmptyDirWarning, UnknownFileWarning, UnloadableWarning
from .constants import DBNAME, MODE_PICKLE
from .disk import Disk, JSONDisk
from .mismatch import OWN_CLASSES
from .pickle_walker import Walker
from .settings import DEFAULT_SETTINGS

if TYPE_CHECKING:
    from .cache import Cache

#: Seconds for which a value file is left alone that no row names: a set may be under way.
_ORPHAN_GRACE = 600.0

#: The names of value files, by their suffix, when they are complete and while they are written.
_STEM = f'[0-9a-f]{{2}}/[0-9a-f]{{2}}/[0-9a-f]{{{VALUE_FILE_DIGITS - 4}}}'
_VALUE_NAME = re.compile(_STEM + re.escape(VALUE_FILE_SUFFIX))
_TEMPORARY_NAME = re.compile(_STEM + re.escape(TEMPORARY_FILE_SUFFIX))

#: How much is shown of what cannot be read.
_SHOWN_BYTES = 60


class Check:
    """One check of a cache, inside a transaction."""

    def __init__(
        self,
        cache: Cache,
        execute: Callable[..., sqlite3.Cursor],
        cleanup: Callable[[str | None], None],
        fix: bool,
        found: list[tuple[type[Warning], str]] | None = None,
        keep_unknown: bool = False,
    ) -> None:
        """Prepare the check.

        :param cache: the cache
        :param execute: executes SQL in the transaction
        :param cleanup: removes a value file once the transaction is committed
        :param fix: whether to mend what is found
        :param found: what has been found already
        :param keep_unknown: report files that no row names, but let them stay also with `fix`:
            their rows have just been lost
        """
        self._cache = cache
        self._sql = execute
        self._cleanup = cleanup
        self._fix = fix
        self._keep_unknown = keep_unknown
        self._referred: set[str] = set()
        #: Names that pickles need and that are not there: how many pickles, and the first of them.
        self._gone: dict[str, tuple[int, str]] = {}
        #: What has been found: the category and the text of each warning.
        self.found = [] if found is None else found

    def run(self) -> None:
        """Look at everything."""
        self._check_keys()
        self._check_texts()
        self._check_named_files()
        self._check_values()
        self._check_pickles()
        self._check_files()
        self._check_settings()
        self._check_totals()

    def _report(self, text: str, category: type[Warning] = UserWarning) -> None:
        self.found.append((category, text))

    def _is_usual(self, *methods: str) -> bool:
        """Tell whether these methods of the Disk are those that this package brings."""
        disk = self._cache.disk
        origin = self._cache._origin
        if origin is not None and not origin.disk.startswith(OWN_CLASSES):
            return False  # it is opened with another Disk than it was written with
        return not any(
            name in getattr(disk, '__dict__', ())
            or getattr(type(disk), name, None) not in (getattr(Disk, name), getattr(JSONDisk, name))
            for name in methods
        )

    def _refer(self, filename: str) -> str:
        """Return the path of a row's file, and take it for accounted for."""
        full_path = op.join(self._cache._path, self._cache.disk._local_name(filename))
        self._referred.add(op.normpath(full_path))
        return full_path

    def _open(self, filename: str) -> cl.AbstractContextManager[BinaryIO | None]:
        """Open a row's file; None if there is none, or something else in its place.

        :raises OSError: if that cannot be found out now
        """
        file = self._cache.disk._open_file(filename)
        return cl.nullcontext() if file is None else file

    def _delete(self, rowid: int, filename: str | None = None) -> None:
        if filename is not None:
            self._refer(filename)
        if self._fix and self._sql(sql.DELETE_ROW, (rowid,)).rowcount > 0:
            self._cleanup(filename)

    def _delete_with_file(self, rowid: int) -> None:
        for _, filename in self._rows(sql.FILENAME, rowid):
            self._delete(rowid, filename)

    # --- rows ---

    def _rows(self, select: str, *arguments: Any) -> Iterator[tuple[int, str | None]]:
        """Yield the numbers of rows and the names of their files."""
        for rowid, kind, name in self._sql(select, arguments).fetchall():
            yield rowid, self._filename(kind, name)

    @staticmethod
    def _filename(kind: str, name: bytes | None) -> str | None:
        """Return the name of a file inside of the directory, or None if it is none."""
        if kind != 'text' or name is None:
            return None
        try:
            filename = name.decode()
        except UnicodeDecodeError:
            return None
        return filename if Disk._is_inside(filename) else None

    def _check_keys(self) -> None:
        """Find rows that no key can be the key of: they cannot be looked up."""
        usual = self._is_usual('put', 'get')
        for rowid, filename in self._rows(sql.WITHOUT_KEY_OR_PICKLE if usual else sql.WITHOUT_KEY):
            self._report(f'no key: row {rowid}')
            self._delete(rowid, filename)

    def _check_texts(self) -> None:
        """Find texts that are not UTF-8: Python cannot read them."""
        for name in ('key', 'value', 'tag'):
            for rowid in self._cache._damaged_texts(name):
                ((text,),) = self._sql(sql.text_of(name), (rowid,)).fetchall()
                self._report(f'{name} not UTF-8: row {rowid}, {text[:_SHOWN_BYTES]!r}')
                if name != 'tag':
                    self._delete_with_file(rowid)
                elif self._fix:
                    self._sql(sql.DROP_TAG, (rowid,))

    def _check_named_files(self) -> None:
        """Compare rows with their files."""
        has_pickles = self._is_usual('store', 'fetch', '_write')
        for rowid, mode, size, kind, name in self._sql(sql.WITH_FILE).fetchall():
            filename = self._filename(kind, name)
            if filename is None:
                self._report(f'no name of a file: row {rowid}, {name[:_SHOWN_BYTES]!r}')
                self._delete(rowid)
                continue
            full_path = self._refer(filename)
            try:
                with self._open(filename) as file:
                    real_size = None if file is None else _size_of(file)
                    is_pickle = mode == MODE_PICKLE and has_pickles and real_size == size
                    whole = not is_pickle or file is None or _ends_as_pickle(file)
            except OSError as error:  # No reason to delete anything.
                self._report(f'file cannot be looked at: {full_path}, {error.strerror}')
                continue
            if real_size is None:
                self._report(f'file not found: {full_path}')
                self._delete(rowid, filename)
            elif size != real_size:
                # With the real size a value that is cut short would be taken for a whole one.
                self._report(f'wrong file size: {full_path}, {real_size} != {size}')
                self._delete(rowid, filename)
            elif not whole:
                self._report(f'no pickle: {full_path}')
                self._delete(rowid, filename)

    def _check_values(self) -> None:
        """Find rows without a value, with one that is no pickle, or with the size of no file."""
        if not self._is_usual('store', 'fetch', '_write'):
            return
        for rowid, is_nowhere, is_broken in self._sql(sql.WRONG_VALUES).fetchall():
            if is_nowhere:
                self._report(f'no value: row {rowid}')
                self._delete(rowid)
            elif is_broken:
                self._report(f'no pickle: row {rowid}')
                self._delete_with_file(rowid)
            else:
                self._report(f'wrong size without a file: row {rowid}')
                if self._fix:
                    self._sql(sql.SET_SIZE, (0, rowid))

    # --- pickles ---

    def _check_pickles(self) -> None:
        """Find keys and values that cannot be unpickled here."""
        if self._is_usual('put', 'get'):
            for rowid, key in self._sql(sql.PICKLED_KEYS):
                self._check_pickle(io.BytesIO(key), len(key), f'the key of row {rowid}')
        if not self._is_usual('store', 'fetch', '_write'):
            return
        for rowid, key, kind, value in self._sql(sql.PICKLED_VALUES):
            self._check_pickle(io.BytesIO(value), len(value), _whose_value(rowid, key, kind))
        for rowid, key, kind, kind_of_name, name in self._sql(sql.PICKLED_FILES):
            filename = self._filename(kind_of_name, name)
            if filename is not None:
                self._check_pickled_file(filename, _whose_value(rowid, key, kind))
        for name, (count, first) in self._gone.items():
            others = f' and {count - 1} more' if count > 1 else ''
            self._report(
                f'{name} is not there: {first}{others} cannot be loaded', UnloadableWarning
            )

    def _check_pickled_file(self, filename: str, whose: str) -> None:
        with cl.suppress(OSError):  # that is reported already
            path = self._refer(filename)
            with self._open(filename) as file:
                if file is not None and _ends_as_pickle(file):
                    size = _size_of(file)
                    file.seek(0)
                    self._check_pickle(file, size, f'{whose}, {path},')

    def _check_pickle(self, file: Any, size: int, whose: str) -> None:
        gone: set[str] = set()
        problem = Walker(file, size, gone).walk()
        if problem is not None:
            self._report(f'damaged pickle: {whose} cannot be loaded: {problem}')
        for name in gone:
            count, first = self._gone.get(name, (0, whose))
            self._gone[name] = count + 1, first

    # --- files ---

    def _check_files(self) -> None:
        """Report files and directories that no row accounts for."""
        directories = []
        for dirpath, dirs, files in os.walk(self._cache._path):
            dirs[:] = [name for name in dirs if not op.exists(op.join(dirpath, name, DBNAME))]
            directories.append(dirpath)
            for name in files:
                full_path = op.join(dirpath, name)
                if op.normpath(full_path) not in self._referred:
                    self._check_unknown_file(full_path)
        # From the bottom up: what is above may have nothing else in it.
        empty: set[str] = set()
        for dirpath in reversed(directories[1:]):
            if _has_only(dirpath, empty):
                empty.add(dirpath)
                self._report(f'empty directory: {dirpath}', EmptyDirWarning)
                if self._fix:
                    with cl.suppress(OSError):  # a set may have used it meanwhile
                        os.rmdir(dirpath)

    def _check_unknown_file(self, full_path: str) -> None:
        relative = op.relpath(full_path, self._cache._path).replace(os.sep, '/')
        try:
            old = time.time() - os.lstat(full_path).st_mtime > _ORPHAN_GRACE
        except FileNotFoundError:
            return
        temporary = _TEMPORARY_NAME.fullmatch(relative) is not None
        if DBNAME in relative and not (temporary and old):
            return
        self._report(f'unknown file: {full_path}', UnknownFileWarning)
        if (
            self._fix
            and old
            and not self._keep_unknown
            and (temporary or _VALUE_NAME.fullmatch(relative))
        ):
            self._cache.disk.remove(op.relpath(full_path, self._cache._path))

    # --- settings and counters ---

    def _check_settings(self) -> None:
        """Find stored settings that nobody can have set; opening a cache ignores them."""
        stored, _, _ = self._cache._inspect()
        for name in rules.damaged(stored):
            self._report(f'Settings.{name} is damaged: {stored[name]!r:.{_SHOWN_BYTES}}')
            if self._fix:
                self._sql(sql.DELETE_SETTING, (name,))
                if name in DEFAULT_SETTINGS:
                    value = getattr(self._cache, name, DEFAULT_SETTINGS[name])
                    self._sql(sql.REPLACE_SETTING, (name, value))

    def _check_totals(self) -> None:
        """Compare the counters that triggers keep with what they count."""
        for name, actual, label in (
            ('count', self._number(sql.COUNT_KEYS), 'COUNT(Cache.key)'),
            ('size', self._number(sql.SUM_SIZES), 'SUM(Cache.size)'),
        ):
            try:
                kept = self._cache.reset(name)
            except ValueError:
                kept = None
            if kept != actual:
                self._report(f'Settings.{name} != {label}; {kept} != {actual}')
                if self._fix:
                    self._sql(sql.REPLACE_SETTING, (name, actual))

    def _number(self, select: str) -> Any:
        try:
            ((number,),) = self._sql(select).fetchall()
        except sqlite3.OperationalError:  # more than 64 bits
            ((number,),) = self._sql(sql.TOTAL_SIZES).fetchall()
        return number


def _whose_value(rowid: int, key: bytes, kind: str) -> str:
    """Return how the value of a row is called."""
    shown = key[:_SHOWN_BYTES]
    text = repr(shown) if kind == 'blob' else repr(shown.decode(errors='replace'))
    return f'the value of key {text if kind != "integer" else text[1:-1]} (row {rowid})'


def _size_of(file: BinaryIO) -> int:
    return os.fstat(file.fileno()).st_size


def _ends_as_pickle(file: BinaryIO) -> bool:
    """Tell whether a file has a pickle's last byte.

    :raises OSError: if that cannot be found out now
    """
    file.seek(max(_size_of(file) - 1, 0))
    return file.read(1) == pickle.STOP  # zeros are what a loss of power leaves


def _has_only(dirpath: str, directories: set[str]) -> bool:
    """Tell whether nothing but such directories is in one; not if it is gone meanwhile."""
    try:
        return all(op.join(dirpath, name) in directories for name in os.listdir(dirpath))
    except OSError:
        return False
