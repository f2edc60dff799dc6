"""Salvage: what can be read of a malformed database goes into a new one, which takes its place.

All is done with a copy, since somebody may have the database open, and no other file of it is
written. Rows are read by SQLite, one by one where a page of theirs is damaged; then by the program
``sqlite3``, whose ``.recover`` finds rows that no page leads to any more, where there is one that
can do it. Nothing is taken for a row that could not be one of a cache, or that an intact index says
has been deleted.

The damaged database is renamed, and stays. Value files stay as well; those of rows that are lost
are files that no row names, for :mod:`diskcache.check` to report.
"""

from __future__ import annotations

import contextlib as cl
import errno
import os
import os.path as op
import sqlite3
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager

from . import _core, mismatch, removal, sql
from . import settings as rules
from .constants import DBNAME
from .hints import Any
from .settings import METADATA

_HEADER = 100  # bytes; the first page has the schema behind them
_PAGES = slice(28, 32)  # of the header: how many there are
_VERSIONS = slice(18, 20)  # of the format, for writing and for reading: 2 if there is a log
_PAGE_SIZE = 4096

#: Where SQLite finds no way through a range of rows, it is tried at so many places in it.
_PROBES = 20_000
#: So many lost items are named.
_NAMED_MOST = 100
#: What is added to the name of the database for a temporary directory, ...
_SUFFIX = '-salvage-'
#: ... and the file in it that is locked as long as its maker lives.
_LOCK = 'lock'
_REPLACED = 'another process has replaced the malformed database meanwhile'
#: How much is shown of a key.
_SHOWN = 60


class Salvage:
    """One attempt; see the module."""

    def __init__(
        self,
        directory: str,
        seen: tuple[int, int] | None,
        settings: Mapping[str, Any],
        origin: str | None,
    ) -> None:
        """Prepare the attempt.

        :param directory: of the cache
        :param seen: :func:`removal.identity` of the database, before it was found to be malformed
        :param settings: of the new database, where none can be read
        :param origin: the statement that records what the cache was made with, likewise
        """
        # SQLite follows a link: the log is beside the file, and all look whether that has moved.
        self._database = op.realpath(op.join(directory, DBNAME))
        self._seen = seen
        self._settings = settings
        self._origin = origin
        self._page_size = settings.get('sqlite_page_size') or _PAGE_SIZE
        #: The keys of rows by their number, as far as the index can be read: (key, raw).
        self._indexed: dict[int, tuple[Any, Any]] = {}
        self._index_is_whole = False
        #: What has happened, for whoever has asked for it.
        self.report: list[str] = []

    def run(self, lock: Callable[[], AbstractContextManager[Any]]) -> None:
        """Do it.

        :param lock: keeps others from writing, if the database lets itself be locked
        :raises Timeout: if the lock cannot be had
        :raises OSError: for want of room, or if the database cannot be renamed
        :raises sqlite3.OperationalError: for want of room, too
        """
        with cl.ExitStack() as stack:
            try:
                stack.enter_context(lock())
            except sqlite3.DatabaseError as error:
                if not removal.is_malformed(error):
                    raise
            if removal.identity(self._database) != self._seen:
                self.report = [_REPLACED]
                return
            work = stack.enter_context(_directory_beside(self._database))
            copy, new = op.join(work, 'copy.db'), op.join(work, DBNAME)
            source = stack.enter_context(_opened(self._database))
            _copy(source, self._database, copy)
            self._make(new)
            _copy_access(self._database, new)
            self._mend_header(copy, new)
            self._fill(new, copy, work)
            aside = removal.set_aside(self._database, self._seen, new)
            if aside is None:
                self.report = [_REPLACED]
                return
            self.report.insert(0, f'the damaged database is {aside}')
            time.sleep(removal.REMOVAL_SECONDS)  # who waits for the lock notices that it has moved

    # --- the new database ---

    def _make(self, new: str) -> None:
        with cl.closing(sqlite3.connect(new, isolation_level=None)) as con:
            con.execute(sql.set_pragma('page_size', int(self._page_size)))
            con.execute(sql.set_pragma('auto_vacuum', 1))
            for _, create in _core.SCHEMA:
                con.execute(create)

    def _mend_header(self, copy: str, new: str) -> None:
        """Give the copy the header of a new database, or its first page, if its own are of no use.

        The tables and indexes of caches are made in the same order, and so begin at the same pages.
        """
        for size in (_HEADER, self._page_size):
            if _has_table(copy):
                return
            with open(copy, 'r+b') as file, open(new, 'rb') as sound:
                start = bytearray(sound.read(size))
                if op.exists(copy + '-wal'):
                    start[_VERSIONS] = b'\2\2'
                start[_PAGES] = (file.seek(0, os.SEEK_END) // self._page_size).to_bytes(4, 'big')
                file.seek(0)
                file.write(start)

    def _fill(self, new: str, copy: str, work: str) -> None:
        """Put into the new database what can be read of the copy."""
        with cl.closing(sqlite3.connect(new, isolation_level=None)) as con:
            con.execute(sql.set_pragma('synchronous', 0))  # until all is there
            # No log: what is in it counts only when it has been copied, for which there may be no
            # room, and to close a database does not tell.
            con.execute(sql.set_pragma('main.journal_mode', 'memory'))
            for name, _ in _core.SCHEMA:
                if name.startswith('Settings_'):
                    con.execute(sql.drop_trigger(name))
            self._attach(con, copy)
            stored = dict(self._read(con, sql.SALVAGED_SETTINGS))
            self._read_index(con)
            # Each statement on its own: SQLite does not commit what has met damage.
            rowids = self._rowids(con)
            self._save_range(con, sorted(rowids))
            self._save_each(con, rowids)
            self._recover(con, copy, work, stored)
            self._save_origin(con)
            self._save_settings(con, stored)
            for _, create in _core.SCHEMA:
                con.execute(create)
            self._report_lost(con, stored)
            if dict(con.execute(sql.ALL_SETTINGS)).get('sqlite_journal_mode') == 'wal':
                con.execute(sql.set_pragma('main.journal_mode', 'wal'))
        with open(new, 'rb+') as file:
            os.fsync(file.fileno())

    @staticmethod
    def _attach(con: sqlite3.Connection, copy: str) -> None:
        try:
            con.execute(sql.ATTACH, (copy, 'damaged'))
        except sqlite3.DatabaseError as error:
            if not removal.is_malformed(error):
                raise
            con.execute(sql.ATTACH, (':memory:', 'damaged'))  # it ends before its tables begin

    @staticmethod
    def _read(con: sqlite3.Connection, select: str, *arguments: Any) -> Iterator[tuple[Any, ...]]:
        """Yield the rows of a query up to the first that cannot be read."""
        with _passing_over_damage():
            yield from con.execute(select, arguments)

    # --- rows ---

    def _read_index(self, con: sqlite3.Connection) -> None:
        """Read the keys that the index has, from its beginning and from its end."""
        for select in (sql.SALVAGED_INDEX, sql.SALVAGED_INDEX_BACK):
            with _passing_over_damage():
                for rowid, kind, key, raw in con.execute(select):
                    self._indexed[rowid] = (_shown(kind, key), raw)
                self._index_is_whole = True
                return

    def _rowids(self, con: sqlite3.Connection) -> set[int]:
        """Return the numbers of the rows that can be found, in the index or in the table."""
        found = set(self._indexed)
        low = high = 0
        for (low,) in self._read(con, sql.SALVAGED_ROWIDS_FROM, -(2**63)):
            found.add(low)
        for (high,) in self._read(con, sql.SALVAGED_ROWIDS_BACK):
            found.add(high)
        # No way leads through what is left between the two: it is tried from places in between.
        last = max(found, default=0)
        step = max((last - low) // _PROBES, 1)
        place = low + 1
        while place <= last:
            reached = place
            for (reached,) in self._read(con, sql.SALVAGED_ROWIDS_FROM, place):
                found.add(reached)
            place = max(reached, place) + step
        return found

    def _save_range(self, con: sqlite3.Connection, rowids: list[int]) -> None:
        """Copy rows, all at once or, if that fails, in halves."""
        if len(rowids) < 2:
            return
        try:
            con.execute(sql.SALVAGE_ROWS, (rowids[0], rowids[-1]))
        except sqlite3.Error as error:
            _require_damage(error)
            middle = len(rowids) // 2
            self._save_range(con, rowids[:middle])
            self._save_range(con, rowids[middle:])

    def _save_each(self, con: sqlite3.Connection, rowids: set[int]) -> None:
        """Copy what is left, one by one: a row with a wrong number ends a range too early."""
        for rowid in sorted(rowids - {rowid for (rowid,) in con.execute(sql.ALL_ROWIDS)}):
            with _passing_over_damage():
                con.execute(sql.SALVAGE_ROW, (rowid,))

    # --- the program sqlite3 ---

    def _recover(
        self, con: sqlite3.Connection, copy: str, work: str, stored: dict[Any, Any]
    ) -> None:
        """Add what ``.recover`` of the program finds."""
        recovered = op.join(work, 'recovered.db')
        if not _run_recover(copy, recovered):
            return
        con.execute(sql.ATTACH, (recovered, 'recovered'))
        for name, value in self._read(con, sql.RECOVERED_SETTINGS):
            stored.setdefault(name, value)
        for select in (sql.RECOVERED_ROWS, sql.LOST_ROWS):
            with _passing_over_damage():  # there may be no such table
                rowids = [rowid for (rowid,) in con.execute(sql.rowids_of(select))]
                if self._index_is_whole:
                    rowids = [rowid for rowid in rowids if rowid in self._indexed]
                con.executemany(sql.recover_row(select), ((rowid,) for rowid in rowids))

    # --- settings ---

    def _save_origin(self, con: sqlite3.Connection) -> None:
        found = mismatch.Origin.of(dict(self._read(con, sql.SALVAGED_ORIGIN, sql.ORIGIN)))
        statement = found.statement() if found is not None else self._origin
        if statement is not None:
            con.execute(statement)

    def _save_settings(self, con: sqlite3.Connection, stored: dict[Any, Any]) -> None:
        """Store the settings that have been read, the given ones for the rest, and the counts."""
        damaged = rules.damaged(stored)
        usable = {name: value for name, value in stored.items() if name not in damaged}
        counts = {name: usable.get(name, 0) for name in METADATA}
        settings = {**self._settings, **usable, **counts}
        con.executemany(sql.REPLACE_SETTING, settings.items())
        for name, select in (('count', sql.COUNT_KEYS), ('size', sql.SUM_SIZES)):
            ((number,),) = con.execute(select)
            con.execute(sql.REPLACE_SETTING, (name, number))

    # --- what is said ---

    def _report_lost(self, con: sqlite3.Connection, stored: Mapping[Any, Any]) -> None:
        saved = {rowid for (rowid,) in con.execute(sql.ALL_ROWIDS)}
        lost = sorted(self._indexed.keys() - saved)
        counted = stored.get('count')
        number = max(len(lost), counted - len(saved) if isinstance(counted, int) else 0)
        is_known = self._index_is_whole or isinstance(counted, int)
        more = '' if is_known else ', and perhaps more'
        self.report.append(f'items saved: {len(saved)}; lost: {number}{more}')
        for rowid in lost[:_NAMED_MOST]:
            self.report.append(f'item lost: row {rowid}, key {self._indexed[rowid][0]}')
        if len(lost) > _NAMED_MOST:
            self.report.append(f'items lost: {len(lost) - _NAMED_MOST} more')
        if 'count' not in stored:
            self.report.append(
                'settings lost: they are those of this cache object, or the defaults'
            )


@cl.contextmanager
def _directory_beside(database: str) -> Iterator[str]:
    """Give a temporary directory in that of a database; name and lock tell check() of it."""
    import tempfile  # each check imports this module, and few salvage anything

    parent, name = op.split(database)
    with (
        tempfile.TemporaryDirectory(
            prefix=name + _SUFFIX, dir=parent, ignore_cleanup_errors=True
        ) as work,
        removal.claimed(op.join(work, _LOCK)),
    ):
        yield work


def left_over(directory: str) -> list[str]:
    """Return the paths of the temporary directories beside a database whose makers are gone.

    One that has no lock yet counts, too: its maker may have been killed, or be about to make it.
    """
    parent, name = op.split(op.realpath(op.join(directory, DBNAME)))
    found = []
    with os.scandir(parent) as entries:
        for entry in entries:
            if entry.name.startswith(name + _SUFFIX) and entry.is_dir(follow_symlinks=False):
                with cl.suppress(OSError):  # it is gone meanwhile, or another user's
                    if _is_abandoned(entry.path):
                        found.append(entry.path)
    return sorted(found)


def _is_abandoned(work: str) -> bool:
    try:
        return not removal.is_claimed(op.join(work, _LOCK))
    except FileNotFoundError:
        return not os.listdir(work)


def remove_left_over(path: str) -> bool:
    """Remove what left_over() has found; tell whether it is gone."""
    import shutil

    shutil.rmtree(path, ignore_errors=True)
    return not op.lexists(path)


#: Descriptors of databases that could not be replaced, by their identity, for the next attempt.
_kept: dict[tuple[int, int], list[int]] = {}


@cl.contextmanager
def _opened(database: str) -> Iterator[int]:
    """Open a database; it is closed when it has been replaced.

    To close it earlier would release the locks that this process has on it.
    """
    identity = removal.identity(database)
    kept = _kept.get(identity, ()) if identity is not None else ()
    descriptor = kept.pop() if kept else os.open(database, os.O_RDONLY | getattr(os, 'O_BINARY', 0))
    try:
        yield descriptor
    finally:
        status = os.fstat(descriptor)
        identity = status.st_dev, status.st_ino
        if removal.identity(database) == identity:
            _kept.setdefault(identity, []).append(descriptor)
        else:
            os.close(descriptor)


def _copy(descriptor: int, database: str, copy: str) -> None:
    """Copy a database and its log, in this order: what a checkpoint moves is in one of them."""
    import shutil

    with open(descriptor, 'rb', closefd=False) as source, open(copy, 'wb') as target:
        source.seek(0)
        shutil.copyfileobj(source, target)
    with cl.suppress(FileNotFoundError):
        shutil.copyfile(database + '-wal', copy + '-wal')


def _require_damage(error: sqlite3.Error) -> None:
    """Raise an error that is not of what is damaged: nothing is to be lost for want of room."""
    if removal.is_of_the_disk(error):
        raise error


@cl.contextmanager
def _passing_over_damage() -> Iterator[None]:
    """End the block where something cannot be read."""
    try:
        yield
    except sqlite3.Error as error:
        _require_damage(error)


def _copy_access(database: str, new: str) -> None:
    """Let a file be readable and writable for whom another one is."""
    status = os.stat(database)
    os.chmod(new, status.st_mode & 0o777)
    with cl.suppress(OSError, AttributeError):  # it is another user's; there are none on Windows
        os.chown(new, status.st_uid, status.st_gid)


def _has_table(path: str) -> bool:
    """Tell whether a database can be read as far as to its table."""
    with cl.closing(sqlite3.connect(path)) as con, cl.suppress(sqlite3.Error):
        ((count,),) = con.execute(sql.HAS_TABLE)
        return bool(count)
    return False


def _run_recover(copy: str, recovered: str) -> bool:
    """Have the program sqlite3 write a database of what it finds in another; tell whether it has.

    What it finds is SQL that it executes: of a file that anybody may have written, so in its safe
    mode, which has no way out of the database.
    """
    import shutil
    import subprocess

    program = shutil.which('sqlite3')
    if program is None:
        return False
    command = [program, '-batch', '-init', os.devnull]
    try:
        with subprocess.Popen(
            [*command, copy, '.recover --ignore-freelist'],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        ) as reader:
            writer = subprocess.run(
                [*command, '-safe', recovered],
                stdin=reader.stdout,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                check=False,
            )
    except OSError:
        return False
    if removal.FULL.encode() in writer.stderr:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), recovered)
    return writer.returncode == 0 and op.exists(recovered)


def _shown(kind: str, key: bytes | None) -> str:
    """Return a key as the report shows it."""
    shown = (key or b'')[:_SHOWN]
    if kind in ('integer', 'real', 'null'):
        return shown.decode(errors='replace') or 'NULL'
    return repr(shown if kind == 'blob' else shown.decode(errors='replace'))
