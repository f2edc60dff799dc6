"""``backup``: a copy of a directory, of one moment, while others write.

A database is copied by SQLite from a read transaction, which sees one moment however long it
takes. The value files of that moment are what is difficult: a writer that replaces an item removes
its file. So first, without a lock, the files are copied that are there; that is repeated until few
are new. Then the write locks of all shards are taken, in the order in which a FanoutCache takes
them. With them the read transactions are begun, and the files copied that have come since; with the
lock nobody removes a file of a row that is there. Then the locks are given back, and the databases
copied. At last the copied files go that no row of the copy names.

So writers wait for the names of all files to be read once, and for the last few files; and readers
for nothing. A cache with a rollback journal (on a network disk) is locked until it is copied. The
shards of a FanoutCache are copied as of one moment, each other part of it as of one of its own: no
transaction spans them.

The copy is made under another name beside DEST, and gets its own when it is whole.
"""

from __future__ import annotations

import argparse
import contextlib as cl
import os
import os.path as op
import secrets
import shutil
import sqlite3
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from .. import sql
from ..constants import DBNAME
from ..directory import is_unwritable, mode_of, path_of
from ..disk import Disk
from ..opening import Opening, unopened
from .commands import Commands
from .errors import DONE, PARTLY, CommandError, tell
from .output import bytes_shown, print_json, progress
from .places import all_caches, open_existing

#: How often the new files are copied without the lock, and from how many new ones on again.
_PASSES = 5
_FEW_FILES = 100
#: How often a database that this user cannot lock is copied, until it has kept still.
_ATTEMPTS = 10
#: Seconds to wait for the lock of a database.
_TIMEOUT = 60


def register(commands: Commands) -> None:
    """Add the command."""
    backup = commands.add(
        'backup',
        _backup,
        'copy a directory while programs use it',
        description='The copy is that of one moment, with the value files, and opens as the'
        ' directory does. Of a FanoutCache all shards are of one moment, and each part below it of'
        ' one of its own. Programs need not stop; they wait while the last new files are copied.'
        ' DEST appears when it is whole. Exit status 3: value files'
        ' were missing before (check tells which).',
        json_keys={
            'destination': 'its path',
            'items': 'how many are in it',
            'files': 'how many value files',
            'bytes': 'of databases and value files',
            'missing': 'value files that were not there, or not whole',
            'seconds': 'how long it took',
            'locked_seconds': 'how long writers were kept waiting',
        },
    )
    backup.add_argument(
        'destination', metavar='DEST', help='a directory that is not there, or empty'
    )


class _Copied:
    """What has been copied."""

    def __init__(self) -> None:
        self.items = self.files = self.bytes = self.missing = 0
        self.locked_seconds = 0.0


class _Part:
    """A cache that is copied: the whole, or a part of a FanoutCache."""

    def __init__(self, name: str, path: str, target: str, locker: Opening | None) -> None:
        """Prepare the copy.

        :param name: of the part, empty for the whole
        :param path: its directory
        :param target: that of the copy
        :param locker: has the lock of its database taken (None: this user cannot do that)
        """
        self.name = name
        self.locker = locker
        self._path = path
        self._target = target
        self._disk = Disk(path)
        #: The names of files that are in the target.
        self._copied: set[str] = set()
        self._con = self._connect() if locker is not None else None
        os.makedirs(target, exist_ok=True)
        _take_after(target, path, mode_of(path))

    # --- value files ---

    def _connect(self) -> sqlite3.Connection:
        database = f'{Path(self._path, DBNAME).absolute().as_uri()}?mode=rw'
        return sqlite3.connect(database, timeout=_TIMEOUT, uri=True, isolation_level=None)

    def copy_files(
        self, told: Callable[[int], object], con: sqlite3.Connection | None = None
    ) -> int:
        """Copy the files that rows name and that have not been copied.

        :param told: is told how many have been copied
        :param con: reads the rows (None: the part's own)
        :return: how many
        """
        count = 0
        con = con or self._con
        assert con is not None
        # All names first: no reader is to keep the log from being reset while files are copied.
        for kind, name in con.execute(sql.FILENAMES).fetchall():
            filename = _decoded(kind, name)
            if filename not in self._copied and self._copy_file(filename):
                self._copied.add(filename)
                count += 1
                told(len(self._copied))
        return count

    def _copy_file(self, filename: str) -> bool:
        """Copy one; tell whether it was there."""
        if not Disk._is_inside(filename):
            return False
        source = self._disk._open_file(filename)
        if source is None:
            return False
        target = self._place_of(filename)
        with source:
            os.makedirs(op.dirname(target), mode=0o700, exist_ok=True)
            with open(target, 'wb') as copy:
                shutil.copyfileobj(source, copy, 2**20)
            _take_after(target, self._path, os.fstat(source.fileno()).st_mode & 0o666)
        return True

    def _place_of(self, filename: str) -> str:
        return op.join(self._target, self._disk._local_name(filename))

    # --- the database ---

    @property
    def _database(self) -> str:
        return op.join(self._target, DBNAME)

    def has_log(self) -> bool:
        """Tell whether others can commit beside a read transaction; if not, that is the lock."""
        assert self._con is not None
        ((mode,),) = self._con.execute(sql.JOURNAL_MODE)
        return str(mode).lower() == 'wal'

    def begin(self) -> None:
        """Begin the read transaction that the database is copied from."""
        assert self._con is not None
        self._con.execute(sql.BEGIN)
        self._con.execute(sql.SCHEMA_VERSION).fetchall()  # which begins it

    def copy_database(self) -> None:
        """Copy the database as the read transaction sees it; without one, as it is now."""
        os.close(os.open(self._database, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600))
        mode = os.stat(op.join(self._path, DBNAME)).st_mode & 0o666
        _take_after(self._database, self._path, mode)
        with self._opened_copy() as target:
            # All pages in one step: between two of them a writer would have it begin anew.
            if self._con is not None:
                self._con.backup(target, pages=-1)
                return
            with open_existing(self._path, read_only=True) as cache:
                cache._con.backup(target, pages=-1)

    def copy_unlocked(self, told: Callable[[int], object]) -> None:
        """Copy what this user cannot lock, until no file was removed meanwhile."""
        for _ in range(_ATTEMPTS):
            self.copy_database()
            with self._opened_copy() as copy:
                self.copy_files(told, copy)
                names = {_decoded(*found) for found in copy.execute(sql.FILENAMES)}
            if names <= self._copied:
                break

    @cl.contextmanager
    def _opened_copy(self) -> Iterator[sqlite3.Connection]:
        with cl.closing(sqlite3.connect(self._database, isolation_level=None)) as con:
            yield con

    def close(self) -> None:
        """End the read transaction."""
        if self._con is not None:
            self._con.close()
            self._con = None

    def finish(self, copied: _Copied) -> None:
        """Remove the files that no row of the copy names, and count the others."""
        surplus = set(self._copied)
        with self._opened_copy() as con:
            ((_, _, count),) = con.execute(sql.ROWID_RANGE)
            for size, kind, name in con.execute(sql.SIZED_FILENAMES):
                filename = _decoded(kind, name)
                surplus.discard(filename)
                if filename not in self._copied:
                    copied.missing += 1
                    continue
                length = op.getsize(self._place_of(filename))
                copied.missing += length != size
                copied.files += 1
                copied.bytes += length
        for filename in surplus:
            os.remove(self._place_of(filename))
        copied.items += count
        copied.bytes += op.getsize(self._database)
        for name in (f'{self._database}-wal', f'{self._database}-shm'):
            with cl.suppress(FileNotFoundError):
                os.remove(name)  # they are empty: the last connection is closed


def _decoded(kind: str, name: bytes) -> str:
    return name.decode('utf-8', 'surrogateescape')


def _take_after(path: str, original: str, mode: int) -> None:
    """Set the mode; what root makes belongs to the owner of the original."""
    if hasattr(os, 'geteuid') and os.geteuid() == 0:
        facts = os.stat(original)
        os.chown(path, facts.st_uid, facts.st_gid)
    os.chmod(path, mode)


def _tidy(target: str, original: str) -> None:
    """Remove directories that are empty, and give the others the mode of the original."""
    mode = mode_of(original)
    for path, _, _ in os.walk(target, topdown=False):
        if not os.listdir(path):
            os.rmdir(path)
        elif path != target:
            _take_after(path, original, mode)


def _backup(options: argparse.Namespace) -> int:
    source = path_of(options.directory)
    caches = all_caches(source)
    destination = op.abspath(path_of(options.destination))
    _require_free(destination, source)
    start = time.monotonic()
    copied = _Copied()
    name = f'.{op.basename(destination)}-{secrets.token_hex(4)}'
    work = op.join(op.dirname(destination), name)
    try:
        os.mkdir(work, 0o700)
        _copy(caches, work, copied)
        _tidy(work, source)
        _take_after(work, source, mode_of(source))
        with cl.suppress(FileNotFoundError):
            os.rmdir(destination)  # over which Windows renames nothing
        os.rename(work, destination)
    except BaseException:
        shutil.rmtree(work, ignore_errors=True)
        raise
    seconds = time.monotonic() - start
    _tell(destination, copied, seconds, options.json)
    return PARTLY if copied.missing else DONE


def _require_free(destination: str, source: str) -> None:
    """Raise CommandError if a copy cannot be made at a place."""
    if op.lexists(destination) and (op.islink(destination) or not op.isdir(destination)):
        raise CommandError(f'it is there already: {destination}')
    if op.isdir(destination) and os.listdir(destination):
        raise CommandError(f'it is not empty: {destination}')
    if not op.isdir(op.dirname(destination)):
        raise CommandError(f'no such directory: {op.dirname(destination)}')
    real = op.realpath(source)
    if Path(op.realpath(destination)).is_relative_to(real):
        raise CommandError(f'it is in the directory that is to be copied: {destination}')


def _copy(caches: list[tuple[str, str]], work: str, copied: _Copied) -> None:
    with cl.ExitStack() as stack, progress() as of_cache:
        told = of_cache(0, '')
        parts = []
        for name, path in caches:
            locker = None
            if not is_unwritable(path, DBNAME):
                locker = stack.enter_context(unopened(path, _TIMEOUT))
            part = _Part(name, path, op.join(work, name) if name else work, locker)
            stack.callback(part.close)
            parts.append(part)
        for part in parts:
            if part.locker is not None:
                _copy_old_files(part, told)
            else:
                part.copy_unlocked(lambda count: told('files', count, None))
        for group in _groups([part for part in parts if part.locker is not None]):
            _copy_moment(group, copied, told)
            for number, part in enumerate(group):
                told('databases', number, len(group))
                part.copy_database()
                part.close()
        for part in parts:
            part.finish(copied)


def _groups(parts: list[_Part]) -> Iterator[list[_Part]]:
    """Yield what is copied as of one moment: the shards, and each other part by itself."""
    shards = [part for part in parts if not part.name or part.name.isdigit()]
    if shards:
        yield shards
    for part in parts:
        if part not in shards:
            yield [part]


def _copy_old_files(part: _Part, told: Callable[[str, int, int | None], object]) -> None:
    """Copy the files that are there, without a lock, until few are new."""
    for _ in range(_PASSES):
        if part.copy_files(lambda count: told('files', count, None)) < _FEW_FILES:
            break


def _copy_moment(
    parts: list[_Part], copied: _Copied, told: Callable[[str, int, int | None], object]
) -> None:
    """Begin the read transactions of one moment, and copy the files that are new in it.

    :raises Timeout: if not all locks can be had
    """
    with cl.ExitStack() as locks:
        for part in parts:
            if part.locker is not None and part.has_log():
                locks.enter_context(part.locker._transact(True))
        since = time.monotonic()
        for part in parts:
            part.begin()
        for part in parts:
            part.copy_files(lambda count: told('last files', count, None))
    copied.locked_seconds = max(copied.locked_seconds, time.monotonic() - since)


def _tell(destination: str, copied: _Copied, seconds: float, as_json: bool) -> None:
    if as_json:
        print_json(
            {
                'destination': destination,
                'items': copied.items,
                'files': copied.files,
                'bytes': copied.bytes,
                'missing': copied.missing,
                'seconds': round(seconds, 3),
                'locked_seconds': round(copied.locked_seconds, 3),
            }
        )
    else:
        print(
            f'items: {copied.items:,}, value files: {copied.files:,},'
            f' {bytes_shown(copied.bytes)}, in {seconds:.1f} s'
            f' (writers waited for {copied.locked_seconds:.3f} s)'
        )
    if copied.missing:
        tell(f'value files that were missing, or not whole: {copied.missing:,}; check tells which')
