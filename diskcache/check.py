"""What Cache.check() does: compare the rows, the value files, the settings and the counters.

A row can be damaged in ways that neither this library nor the original brings about: by a loss of
power, by a disk, by somebody's SQL. Whatever of it cannot be looked up or cannot be read by anyone
is found here, and with `fix` it goes, as a row whose file is missing always has: a cache is to hold
what can be had, and everything else would be met again and again by those who iterate or pull.

Others go on writing meanwhile. Rows are read in pages, without a lock. What seems wrong there is
looked at again with the write lock, row by row, and only what is still wrong is reported and
mended. After some milliseconds the lock is given back, for others to write. Under the lock a row
that names a file has it: a file is written before its row, and removed after it.

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

from . import removal, salvage, sql
from . import settings as rules
from ._core import (
    SURVEY_FILES,
    SURVEY_ODD,
    SURVEY_PICKLED_KEYS,
    SURVEY_PICKLES,
    Timeout,
)
from .cautions import UnknownFileWarning, UnloadableWarning
from .check_files import FileCheck, Found, Names, is_old
from .constants import MODE_PICKLE
from .disk import Disk, JSONDisk
from .hints import TYPE_CHECKING, Any, BinaryIO
from .mismatch import OWN_CLASSES
from .refusal import RefusedError
from .safedisk import SafeDisk
from .settings import DEFAULT_SETTINGS
from .signeddisk import Row, SignedDisk

if TYPE_CHECKING:
    from .cache import Cache
    from .pickle_walker import Walker

#: How many rows are looked at together, without a lock, if not all of them are plain.
_PAGE_ROWS = 1000

#: Up to so many rows SQLite finds each of them in each index as fast as those can be compared.
_FEW_ROWS = 20_000

#: Seconds for which the write lock is held, but for the last row that is looked at. It is then left
#: to others for as long.
_PORTION_SECONDS = 0.005

#: How often the counters are compared before it is given up to mend them.
_TOTAL_ATTEMPTS = 4

#: From here on numbers are not added to, they are replaced: in SQLite a sum has 64 bits.
_LARGE = 2**62

#: How much is shown of what cannot be read.
_SHOWN_BYTES = 60

#: So much of JSON is read, packed and unpacked.
_JSON_BYTES = 2**20

#: How a database names the Disk that has written JSON.
_JSON_DISK = OWN_CLASSES + JSONDisk.__name__

#: How SQLite says which index is wrong.
_NAMED_INDEX = re.compile(r'\bindex (\w+)$')

#: The first and the last number that a row can have.
_FIRST_ROW, _LAST_ROW = -(2**63), 2**63 - 1

#: What `progress` of :meth:`Cache.check` is called with: step, how many are done, of how many.
Progress = Callable[[str, int, int | None], object]


class _Problem:
    """Something that is wrong with a row, as far as a look without the lock can tell."""

    def __init__(
        self,
        rowid: int,
        text: str,
        mend: tuple[str, tuple[Any, ...]] | None = None,
        filename: str | None = None,
        reason: str = '',
        category: type[Warning] = UserWarning,
    ) -> None:
        """Make one.

        :param rowid: of the row
        :param text: what it is
        :param mend: the statement that mends it, and its parameters
        :param filename: that of the row, if it is mended by deleting the row
        :param reason: why it stays, also with `fix`
        :param category: of the warning
        """
        self.rowid = rowid
        self.text = text
        self.mend = mend
        self.filename = filename
        self.reason = reason
        self.category = category


class Check:
    """One check of a cache."""

    def __init__(
        self, cache: Cache, fix: bool, retry: bool, progress: Progress | None = None
    ) -> None:
        """Prepare the check.

        :param cache: the cache
        :param fix: whether to mend what is found
        :param retry: wait for the lock as long as it takes
        :param progress: called with the step, and how much of it is done, never with a lock held
        """
        self._cache = cache
        self._fix = fix
        self._retry = retry
        self._progress = progress or (lambda step, done, total: None)
        #: A row is looked at again, with the lock.
        self._confirms = False
        #: SQLite finds fault with the database; files without a row may be those of rows just lost.
        self._is_malformed = False
        #: The counters are right, as a look at the rows has told, and no row has been mended since.
        self._is_counted = False
        #: Names that pickles need and that are not there: how many pickles, and the first of them.
        self._gone: dict[str, tuple[int, str]] = {}
        #: Names that pickles need and that a SafeDisk does not allow, likewise.
        self._refused: dict[str, tuple[int, str]] = {}
        #: What a JSONDisk does not load, likewise.
        self._no_json: dict[str, tuple[int, str]] = {}
        #: Rows that a SignedDisk has written, where the Disk is another: how many, and the first.
        self._signed: tuple[int, int | None] = (0, None)
        #: What has been found.
        self.found: list[Found] = []

    def run(self) -> list[Found]:
        """Look at everything, and return what has been found.

        :raises Timeout: if the lock cannot be had in time, and is needed
        """
        self._progress('database', 0, None)
        self._check_database()
        self._check_salvages()
        try:
            self._check_contents()
        except sqlite3.DatabaseError as error:
            if not (self._is_malformed and removal.is_malformed(error)):
                raise
        return self.found

    def _check_contents(self) -> None:
        stored = self._check_schema()
        if stored is None:
            return
        with cl.closing(Names()) as self._names:
            self._check_rows()
            self._check_files()
        self._check_settings(stored)
        self._check_totals()

    def _report(self, text: str, **details: Any) -> None:
        self.found.append(Found(text, **details))

    def _read(self, select: str, *arguments: Any) -> sqlite3.Cursor:
        """Execute a query, waiting where others have the database locked for reading."""
        return self._cache._run_alone(select, self._retry, arguments)

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

    # --- the database ---

    def _check_database(self) -> None:
        """Let SQLite look at its pages and indexes.

        Indexes can be made anew. Of what else is damaged that is saved which can be read.
        """
        cache, retry = self._cache, self._retry
        seen = cache._identify()
        wrong = left = [] if self._is_sound() else cache._find_malformed(retry)
        saved: list[str] = []
        if self._fix and any('index' in text for text in wrong):
            with cl.suppress(sqlite3.DatabaseError):  # more is wrong than the indexes
                left = self._make_indexes_anew(wrong)
        self._is_malformed = bool(left)
        if self._fix and left:
            saved = cache._salvage(seen, retry)
            left = cache._find_malformed(retry)
        for text in wrong + saved:
            self._report(text, mended=self._fix and not left, reason='the database is damaged')

    def _is_sound(self) -> bool:
        """Tell whether SQLite finds fault with nothing, in a third of the time that it takes.

        It would look each row up in each index. If it is not certain it has to; and where there are
        few rows that takes no longer.
        """
        rows = self._count()
        if rows is None or rows < _FEW_ROWS:
            return False
        try:
            compare = sql.compare_indexes(self._cache._inspect()[1])
            return (
                compare is not None
                and self._cache._compare(compare)
                and all(
                    self._read(select).fetchall() == [('ok',)]
                    for select in (sql.QUICK_CHECK, sql.CHECK_SETTINGS)
                )
            )
        except (sqlite3.DatabaseError, Timeout):  # what comes then waits as it was told
            return False

    def _make_indexes_anew(self, wrong: list[str]) -> list[str]:
        """Make the indexes anew that SQLite finds fault with; return what it still finds.

        One at a time, because for each the write lock is held.
        """
        named = dict.fromkeys(name for text in wrong for name in _NAMED_INDEX.findall(text))
        for name in named:
            self._read(sql.reindex(name))
            time.sleep(_PORTION_SECONDS)
        left = self._cache._find_malformed(self._retry)
        if any('index' in text for text in left):  # of what is wrong not all is told at once
            self._read(sql.REINDEX)
            left = self._cache._find_malformed(self._retry)
        return left

    def _check_salvages(self) -> None:
        """Find what killed salvages have left."""
        with cl.suppress(OSError):  # another removes it
            for path in salvage.left_over(self._cache._path):
                old = bool(is_old(path))
                self._report(
                    f'left by a salvage: {path}',
                    category=UnknownFileWarning,
                    mended=self._fix and old and salvage.remove_left_over(path),
                    harmless=not old,
                    reason='it cannot be removed' if old else 'a salvage may just be beginning',
                )

    def _check_schema(self) -> dict[str, Any] | None:
        """Find tables, indexes and triggers that are missing.

        :return: the stored settings; None if a table is missing
        """
        stored, schema, _ = self._cache._inspect()
        missing = self._cache._missing_objects(stored, schema)
        missing.pop(None, None)
        if not missing:
            return stored
        if self._fix:
            for statement in missing.values():  # each takes the lock for as long as it takes
                self.found += self._make(statement)
                time.sleep(_PORTION_SECONDS)
        for name in missing:
            self._report(f'missing in the database: {name}', mended=self._fix)
        return stored if self._fix or not {'Cache', 'Settings'} & missing.keys() else None

    def _make(self, statement: str) -> list[Found]:
        """Make what is missing in the schema; for a unique index doubles go, if there are any."""
        with self._cache._transact(self._retry) as (execute, cleanup):
            try:
                execute(statement)
                return []
            except sqlite3.IntegrityError:
                doubles = self._delete_doubles(execute, cleanup)
                execute(statement)
                return doubles

    def _delete_doubles(
        self, execute: Callable[..., sqlite3.Cursor], cleanup: Callable[[str | None], None]
    ) -> list[Found]:
        """Delete rows with the key of another, which no index has kept from being."""
        found = []
        for rowid, kind, name in execute(sql.DOUBLES).fetchall():
            mended = execute(sql.DELETE_ROW, (rowid,)).rowcount > 0
            found.append(Found(f'key stored twice: row {rowid}', mended=mended))
            cleanup(self._filename(kind, name))
        return found

    # --- rows ---

    def _check_rows(self) -> None:
        """Look at all rows, page by page."""
        done, total = 0, self._count()
        low = _FIRST_ROW
        while True:
            self._progress('rows', done, total)
            last, rows, is_last, kinds, self._is_counted = self._cache._survey(low, _PAGE_ROWS)
            high = _LAST_ROW if is_last else last
            rowids = sorted({problem.rowid for problem in self._problems(low, high, kinds)})
            if rowids:
                self._confirm(rowids)
                self._is_counted = False  # who knows what the triggers are
            if high == _LAST_ROW:
                break
            low = high + 1
            done += rows
        self._report_unloadable()

    def _count(self) -> int | None:
        """Return how many rows there are, as far as that is known."""
        try:
            return len(self._cache)
        except sqlite3.DatabaseError:
            return None

    def _confirm(self, rowids: list[int]) -> None:
        """Look at rows again, with the lock: what is still wrong is reported, and mended."""
        left = rowids[::-1]
        self._confirms = True
        try:
            while left:
                found: list[Found] = []
                with self._cache._transact(self._retry) as (execute, cleanup):
                    end = time.monotonic() + _PORTION_SECONDS
                    while True:
                        found += self._judge(left.pop(), execute, cleanup)
                        if not left or time.monotonic() >= end:
                            break
                self.found += found
                if left:
                    time.sleep(_PORTION_SECONDS)
        finally:
            self._confirms = False

    def _judge(
        self,
        rowid: int,
        execute: Callable[..., sqlite3.Cursor],
        cleanup: Callable[[str | None], None],
    ) -> Iterator[Found]:
        """Yield what is wrong with a row, and mend it."""
        for problem in self._problems(rowid, rowid, SURVEY_ODD):
            mend = problem.mend if self._fix else None
            mended = mend is not None and execute(*mend).rowcount > 0
            yield Found(
                problem.text,
                problem.category,
                mended=mended,
                harmless=problem.category is UnloadableWarning,
                reason=problem.reason,
            )
            if mended and mend is not None and mend[0] == sql.DELETE_ROW:
                cleanup(problem.filename)
                return

    def _problems(self, low: int, high: int, kinds: int) -> Iterator[_Problem]:
        """Yield what is wrong with the rows from one number to another.

        :param kinds: what is among them, as a pass over them in C has told: most rows are plain,
            and need no other look
        """
        odd = kinds & SURVEY_ODD
        if odd:
            yield from self._wrong_keys(low, high)
            yield from self._wrong_texts(low, high)
            yield from self._wrong_numbers(low, high)
        if odd or kinds & SURVEY_FILES:
            yield from self._wrong_files(low, high)
        if (odd or kinds & SURVEY_PICKLED_KEYS) and self._is_usual('put', 'get'):
            yield from self._wrong_pickled_keys(low, high)
        if self._is_usual('store', 'fetch', '_write'):
            if odd:
                yield from self._wrong_values(low, high)
            if odd or kinds & (SURVEY_PICKLES | SURVEY_FILES):
                yield from self._wrong_pickles(low, high)
        if self._is_json(self._cache.disk) or self._has_json():
            yield from self._wrong_json(low, high)
        if odd or isinstance(self._cache.disk, SignedDisk):
            yield from self._wrong_signatures(low, high)

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

    @staticmethod
    def _deletion(rowid: int, text: str, filename: str | None) -> _Problem:
        return _Problem(rowid, text, (sql.DELETE_ROW, (rowid,)), filename)

    def _wrong_keys(self, low: int, high: int) -> Iterator[_Problem]:
        """Find rows that no key can be the key of: they cannot be looked up."""
        usual = self._is_usual('put', 'get')
        select = sql.WITHOUT_KEY_OR_PICKLE if usual else sql.WITHOUT_KEY
        for rowid, kind, name in self._read(select, low, high).fetchall():
            yield self._deletion(rowid, f'no key: row {rowid}', self._filename(kind, name))

    def _wrong_texts(self, low: int, high: int) -> Iterator[_Problem]:
        """Find texts that are not UTF-8: Python cannot read them."""
        for column in ('key', 'value', 'tag'):
            for rowid in self._cache._damaged_texts(column, low, high):
                for text, kind, name in self._read(sql.text_of(column), rowid).fetchall():
                    shown = f'{column} not UTF-8: row {rowid}, {text[:_SHOWN_BYTES]!r}'
                    if column == 'tag':
                        yield _Problem(rowid, shown, (sql.set_column('tag'), (None, rowid)))
                    else:
                        yield self._deletion(rowid, shown, self._filename(kind, name))

    def _wrong_numbers(self, low: int, high: int) -> Iterator[_Problem]:
        """Find times and counts that are none. Without its time it is unknown whether a row is
        stale; without the others only its turn to be evicted.
        """
        for rowid, kind, name, *wrong in self._read(sql.WITHOUT_NUMBERS, low, high).fetchall():
            for column, is_wrong in zip(sql.NUMBERS, wrong, strict=True):
                text = f'{column} is no number: row {rowid}'
                if not is_wrong:
                    continue
                if column == 'expire_time':
                    yield self._deletion(rowid, text, self._filename(kind, name))
                else:
                    now = time.time() if column.endswith('time') else 0
                    yield _Problem(rowid, text, (sql.set_column(column), (now, rowid)))

    def _wrong_files(self, low: int, high: int) -> Iterator[_Problem]:
        """Compare rows with their files, and note the names of these."""
        has_pickles = self._is_usual('store', 'fetch', '_write')
        rows = self._read(sql.WITH_FILE, low, high).fetchall()
        if rows and not self._confirms:
            names = (self._filename(kind, name) for *_, kind, name in rows)
            self._names.add(self._relative(name) for name in names if name is not None)
        for rowid, mode, size, kind, name in rows:
            filename = self._filename(kind, name)
            if filename is None:
                shown = f'no name of a file: row {rowid}, {name[:_SHOWN_BYTES]!r}'
                yield self._deletion(rowid, shown, None)
                continue
            path = self._path(filename)
            try:
                with self._open(filename) as file:
                    real_size = None if file is None else _size_of(file)
                    is_pickle = mode == MODE_PICKLE and has_pickles and real_size == size
                    whole = not is_pickle or file is None or _ends_as_pickle(file)
            except OSError as error:  # No reason to delete anything.
                text = f'file cannot be looked at: {path}, {error.strerror}'
                yield _Problem(rowid, text, reason='it may be sound')
                continue
            if real_size is None:
                yield self._deletion(rowid, f'file not found: {path}', filename)
            elif size != real_size:
                # With the real size a value that is cut short would be taken for a whole one.
                text = f'wrong file size: {path}, {real_size} != {size}'
                yield self._deletion(rowid, text, filename)
            elif not whole:
                yield self._deletion(rowid, f'no pickle: {path}', filename)

    def _relative(self, filename: str) -> bytes:
        """Return the name that a row's file has when the directory is listed."""
        path = op.normpath(self._cache.disk._local_name(filename))
        return os.fsencode(path.replace(os.sep, '/'))

    def _open(self, filename: str) -> cl.AbstractContextManager[BinaryIO | None]:
        """Open a row's file; None if there is none, or something else in its place.

        :raises OSError: if that cannot be found out now
        """
        file = self._cache.disk._open_file(filename)
        return cl.nullcontext() if file is None else file

    def _path(self, filename: str) -> str:
        return op.join(self._cache._path, self._cache.disk._local_name(filename))

    def _wrong_values(self, low: int, high: int) -> Iterator[_Problem]:
        """Find rows without a value, with one that is no pickle, or with the size of no file."""
        for row in self._read(sql.WRONG_VALUES, low, high).fetchall():
            rowid, kind, name, has_no_mode, is_nowhere, is_broken = row
            filename = self._filename(kind, name)
            if has_no_mode:
                yield self._deletion(rowid, f'unknown mode: row {rowid}', filename)
            elif is_nowhere:
                yield self._deletion(rowid, f'no value: row {rowid}', filename)
            elif is_broken:
                yield self._deletion(rowid, f'no pickle: row {rowid}', filename)
            else:
                text = f'wrong size without a file: row {rowid}'
                yield _Problem(rowid, text, (sql.set_column('size'), (0, rowid)))

    # --- pickles ---

    def _wrong_pickled_keys(self, low: int, high: int) -> Iterator[_Problem]:
        for rowid, key in self._read(sql.PICKLED_KEYS, low, high):
            yield from self._walk(io.BytesIO(key), len(key), rowid, f'the key of row {rowid}')

    def _wrong_pickles(self, low: int, high: int) -> Iterator[_Problem]:
        """Find values that cannot be unpickled here."""
        for rowid, key, kind, value in self._read(sql.PICKLED_VALUES, low, high):
            whose = _whose_value(rowid, key, kind)
            yield from self._walk(io.BytesIO(value), len(value), rowid, whose)
        for row in self._read(sql.PICKLED_FILES, low, high).fetchall():
            rowid, key, kind, kind_of_name, name = row
            filename = self._filename(kind_of_name, name)
            if filename is not None:
                yield from self._walk_file(filename, rowid, _whose_value(rowid, key, kind))

    def _walk_file(self, filename: str, rowid: int, whose: str) -> Iterator[_Problem]:
        with cl.suppress(OSError), self._open(filename) as file:  # that is reported already
            if file is not None and _ends_as_pickle(file):
                size = _size_of(file)
                file.seek(0)
                yield from self._walk(file, size, rowid, f'{whose}, {self._path(filename)},')

    def _walk(self, file: Any, size: int, rowid: int, whose: str) -> Iterator[_Problem]:
        from .pickle_walker import Walker  # which takes as long to import as all of the rest

        gone: set[str] = set()
        walker = Walker(file, size, gone)
        problem = walker.walk()
        if not self._confirms:
            self._note_names(gone, walker, whose)
        if problem is not None:
            text = f'damaged pickle: {whose} cannot be loaded: {problem}'
            yield _Problem(rowid, text, reason='another Python may be able to read it')

    def _note_names(self, gone: set[str], walker: Walker, whose: str) -> None:
        """Note the names that a pickle needs, and that are not there or not allowed."""
        disk = self._cache.disk
        if self._is_json(disk):
            self._note_no_json('a pickle', whose)
            return
        refused: set[str] = set()
        if isinstance(disk, SafeDisk):
            refused = {'.'.join(name) for name in walker.names if disk._find(*name) is None}
        for names, found in ((self._gone, gone - refused), (self._refused, refused)):
            for name in found:
                _count(names, name, whose)

    @staticmethod
    def _is_json(disk: Disk) -> bool:
        """Tell whether a Disk stores what JSONDisk does."""
        methods = ('put', 'get', 'store', 'fetch', '_write', '_compress', '_decompress')
        return isinstance(disk, JSONDisk) and not any(
            name in disk.__dict__ or getattr(type(disk), name) != getattr(JSONDisk, name)
            for name in methods
        )

    def _has_json(self) -> bool:
        """Tell whether a JSONDisk has written the cache, as far as is known."""
        origin = self._cache._origin
        return self._is_json(self._cache.disk) if origin is None else origin.disk == _JSON_DISK

    def _wrong_json(self, low: int, high: int) -> Iterator[_Problem]:
        """Find what a JSONDisk cannot load.

        It is damage in a row that a JSONDisk has written. A file may be that of `read=True`: only
        one that begins as compressed data does is looked at, and may still be a user's.
        """
        for rowid, key in self._read(sql.RAW_KEYS, low, high):
            if fault := _fault_of_json(io.BytesIO(key)):
                yield from self._judge_json(rowid, f'the key of row {rowid}', fault)
        for rowid, key, kind, value in self._read(sql.RAW_VALUES, low, high):
            fault = 'it is not bytes' if value is None else _fault_of_json(io.BytesIO(value))
            if fault:
                yield from self._judge_json(rowid, _whose_value(rowid, key, kind), fault)
        for row in [] if self._confirms else self._read(sql.RAW_FILES, low, high).fetchall():
            rowid, key, kind, kind_of_name, name = row
            filename = self._filename(kind_of_name, name)
            if filename is None:
                continue
            with cl.suppress(OSError), self._open(filename) as file:  # that is reported already
                if file is not None and _is_compressed(file) and _fault_of_json(file):
                    whose = f'{_whose_value(rowid, key, kind)}, {self._path(filename)},'
                    self._note_no_json('a compressed file without JSON', whose)

    def _judge_json(self, rowid: int, whose: str, fault: str) -> Iterator[_Problem]:
        if self._has_json():
            text = f'damaged JSON: {whose} cannot be loaded: {fault}'
            yield _Problem(rowid, text, reason='another Disk may be able to read it')
        else:
            self._note_no_json('what is no JSON', whose)

    def _note_no_json(self, name: str, whose: str) -> None:
        """Note what a JSONDisk cannot load, and others can."""
        if not self._confirms:
            _count(self._no_json, name, whose)

    def _report_unloadable(self) -> None:
        for names, reason in (
            (self._gone, 'is not there'),
            (self._refused, f'is not allowed by {type(self._cache.disk).__name__}'),
            (self._no_json, f'is not for {JSONDisk.__name__}'),
        ):
            for name, of_it in names.items():
                text = f'{name} {reason}: {_first_of(*of_it)} cannot be loaded'
                self._report_as_others(text, 'another program may be able to load it')
        count, lowest = self._signed
        if count:
            text = f'signed: {_first_of(count, f"row {lowest}")} cannot be loaded'
            reason = 'a program that has the key can load it'
            self._report_as_others(f'{text} without a SignedDisk', reason)

    def _report_as_others(self, text: str, reason: str) -> None:
        self._report(text, category=UnloadableWarning, harmless=True, reason=reason)

    def _wrong_signatures(self, low: int, high: int) -> Iterator[_Problem]:
        """Find items that a SignedDisk refuses. They stay: another may have the key for them.

        Those that it has written are counted with another Disk, which has no key.
        """
        disk = self._cache.disk
        if not isinstance(disk, SignedDisk):
            if not self._confirms:
                ((count, first),) = self._read(sql.COUNT_SIGNED, low, high)
                before, known = self._signed
                self._signed = before + count, first if known is None else known
            return
        for rowid, filename, *columns in self._read(sql.SIGNED_PAGE, low, high):
            try:
                disk._check_row(Row(*columns), filename)
            except (RefusedError, OSError) as error:
                yield _Problem(
                    rowid,
                    f'refused: row {rowid}: {error}',
                    category=UnloadableWarning,
                    reason='another program may have the key for it',
                )

    # --- files, settings and counters ---

    def _check_files(self) -> None:
        """Look for files and directories that no row accounts for."""
        files = FileCheck(
            self._cache._path,
            self._names,
            names_in_rows=self._names_in_rows,
            wait_for_writers=self._wait_for_writers,
            progress=self._progress,
            remove=self._cache.disk.remove if self._fix else None,
            names_are_own=self._is_usual('filename'),
            keeps_files=self._is_malformed,
        )
        self.found.extend(files.run())

    def _wait_for_writers(self) -> None:
        """Wait until the transactions that are open now have been committed, or not."""
        with self._cache._transact(self._retry):
            pass

    def _names_in_rows(self) -> Iterator[bytes]:
        """Yield the names of all files that rows name at one moment."""
        for kind, name in self._read(sql.FILENAMES):
            filename = self._filename(kind, name)
            if filename is not None:
                yield self._relative(filename)

    def _check_settings(self, stored: dict[str, Any]) -> None:
        """Find stored settings that nobody can have set; opening a cache ignores them."""
        damaged = rules.damaged(stored)
        if damaged and self._fix:
            with self._cache._transact(self._retry) as (execute, _):
                stored, _, _ = self._cache._inspect()
                damaged = rules.damaged(stored)
                for name in damaged:
                    execute(sql.DELETE_SETTING, (name,))
                    if name in DEFAULT_SETTINGS:
                        value = getattr(self._cache, name, DEFAULT_SETTINGS[name])
                        execute(sql.REPLACE_SETTING, (name, value))
        for name in damaged:
            text = f'Settings.{name} is damaged: {stored[name]!r:.{_SHOWN_BYTES}}'
            self._report(text, mended=self._fix)

    def _check_totals(self) -> None:
        """Compare the counters that triggers keep with what they count.

        To count takes long, and others write meanwhile. But the difference stays what it is.
        """
        self._progress('totals', 0, None)
        found: dict[str, Found] = {}
        for left in reversed(range(_TOTAL_ATTEMPTS)):
            wrong = {} if self._is_counted else self._wrong_totals()
            if left == _TOTAL_ATTEMPTS - 1:
                found = {name: Found(text) for name, (text, *_) in wrong.items()}
            for name in found:
                found[name].mended = name not in wrong
            if not (wrong and self._fix and left):
                break
            with self._cache._transact(self._retry) as (execute, _):
                for name, (_, kept, actual) in wrong.items():
                    if isinstance(kept, int) and abs(kept) < _LARGE and abs(actual) < _LARGE:
                        execute(sql.INCREASE_SETTING, (actual - kept, name))
                    else:
                        execute(sql.REPLACE_SETTING, (name, actual))
        self.found += found.values()
        for name in ('count', 'size'):
            with cl.suppress(ValueError, sqlite3.DatabaseError):
                self._cache.reset(name)

    def _wrong_totals(self) -> dict[str, tuple[str, Any, Any]]:
        """Return the counters that are wrong: what to say, what is kept, and what is so."""
        try:
            ((count, size, rows, total),) = self._read(sql.TOTALS).fetchall()
        except sqlite3.OperationalError:  # more than 64 bits
            ((count, size, rows, total),) = self._read(sql.LARGE_TOTALS).fetchall()
        return {
            name: (f'Settings.{name} != {label}; {kept} != {actual}', kept, actual)
            for name, label, kept, actual in (
                ('count', 'COUNT(Cache.key)', count, rows),
                ('size', 'SUM(Cache.size)', size, total),
            )
            if kept != actual
        }


def _count(names: dict[str, tuple[int, str]], name: str, whose: str) -> None:
    """Count what has a name; the first that has it is kept."""
    count, first = names.get(name, (0, whose))
    names[name] = count + 1, first


def _first_of(count: int, first: str) -> str:
    """Return how so many are called, of which the first is known."""
    return f'{first} and {count - 1} more' if count > 1 else first


def _is_compressed(file: BinaryIO) -> bool:
    """Tell whether a file begins as zlib's format does (RFC 1950); it is at its beginning then."""
    import zlib

    head = file.read(2)
    file.seek(0)
    return (
        len(head) == 2 and head[0] & 15 == zlib.DEFLATED and int.from_bytes(head, 'big') % 31 == 0
    )


def _fault_of_json(file: BinaryIO | io.BytesIO) -> str | None:
    """Return why JSONDisk cannot load this, as far as its first MiB tells; None if it can."""
    import json
    import zlib

    try:
        unpacker = zlib.decompressobj()
        text = unpacker.decompress(file.read(_JSON_BYTES), _JSON_BYTES)
        if unpacker.eof:
            json.loads(text.decode())
        elif len(text) < _JSON_BYTES and not file.read(1):
            return 'it ends too early'
    except (zlib.error, ValueError, RecursionError) as error:
        return str(error)
    return None


def _whose_value(rowid: int, key: bytes | None, kind: str) -> str:
    """Return how the value of a row is called."""
    if key is None:  # which is reported as well
        return f'the value of row {rowid}'
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
