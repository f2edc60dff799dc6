"""Opening a cache: its directory, its database and its settings are made, or completed.

:class:`Cache` derives from the class here. What is missing in a directory is made; nothing is
written if nothing is missing. If somebody removes the files while they are open, the native core
calls `_mend`, and they are made again.
"""

from __future__ import annotations

import contextlib as cl
import os
import os.path as op
import sqlite3
import threading
import time
import weakref
from collections.abc import Callable, Iterable, Iterator, Mapping

from . import _core, file_systems, mismatch, removal
from . import settings as rules
from ._core import Timeout
from .cautions import warn_once
from .constants import DBNAME
from .directory import (
    OWNER_ONLY,
    is_lasting,
    is_unwritable,
    make_database,
    make_directory,
    mode_of,
    sync_directory,
    warn_of_others,
)
from .disk import Disk
from .hints import Any, K, V
from .log import log, log_failure, log_once
from .policies import policy_index
from .settings import DEFAULT_SETTINGS, DIRECTORY_ID, METADATA
from .signeddisk import SignedDisk
from .unloadable import passes_over

#: Seconds for which opening a cache waits for a lock, whatever its timeout.
_OPEN_TIMEOUT = 60.0
#: The same where the database has been truncated: it waits only for others that create it again.
_TRUNCATED_TIMEOUT = 2.0

#: Seconds within which whoever opens or closes a database has made or removed its files, and how
#: often it is looked for that.
_CLOSING_SECONDS = 2.0
_POLL = 0.001

#: Seconds after which a database that was created again is checked: whoever removes the files may
#: have removed some of the new ones too.
_MENDED_SECONDS = 0.005

#: What SQLite says of tables that have the names of a cache's, and other columns.
_OTHER_TABLES = ('no such column', 'has no column', 'datatype mismatch')


class Opening(_core.Cache[K, V]):
    """A Cache as far as opening it goes."""

    eviction_policy: str
    size_limit: int
    cull_limit: int
    statistics: int
    tag_index: int
    sqlite_auto_vacuum: int
    sqlite_cache_size: int
    sqlite_journal_mode: str
    sqlite_mmap_size: int
    sqlite_synchronous: int
    disk_min_file_size: int
    disk_pickle_protocol: int | None

    #: Settings that are neither given nor stored.
    _default_settings: Mapping[str, Any] = DEFAULT_SETTINGS
    #: Of the directory, should it have to be made, or made again.
    _mode: int = OWNER_ONLY
    #: On what a new database is to be without a write-ahead log; None if it can have one.
    _limits: str | None = None
    #: Whether `read_only` was given.
    _read_only_asked: bool = False
    #: Of the FanoutCache that this is a shard of.
    _shard_count: int | None = None
    #: Whether nothing had to be made or stored when it was opened.
    _was_complete: bool = False
    #: What is recorded of the directory.
    _origin: mismatch.Origin | None = None
    #: The settings that are attributes; these at least, if a subclass opens the directory itself.
    _setting_names: Iterable[str] = tuple(DEFAULT_SETTINGS)

    @property
    def directory(self) -> str:
        """Directory of the cache."""
        return self._directory

    @property
    def read_only(self) -> bool:
        """Whether nothing is written: that was asked for, or the directory cannot be written."""
        return bool(self._read_only)

    @property
    def timeout(self) -> float:
        """Seconds to wait for a lock."""
        return self._timeout

    @property
    def disk(self) -> Disk:
        """The :class:`Disk` that converts keys and values."""
        return self._disk

    def _check_settings(self, settings: dict[str, Any]) -> None:
        """Look at keyword arguments; errors as those of __init__."""
        rules.check(type(self), settings)

    def _open(self, path: str, timeout: float, disk: type[Disk], settings: dict[str, Any]) -> None:
        self._opening = True
        try:
            self._open_directory(path, timeout, disk, settings)
        finally:
            self._opening = False

    def _open_directory(
        self, path: str, timeout: float, disk: type[Disk], settings: dict[str, Any]
    ) -> None:
        self._read_only = 1 if self._read_only_asked else 2 * is_unwritable(path, DBNAME)
        if self._read_only:
            self._open_read_only(path, timeout, disk, settings)
            return
        mismatch.check_for_shards(path, _read_schema)
        default = self._default_settings.get('sqlite_synchronous')
        lasting = is_lasting(settings.get('sqlite_synchronous', default))
        make_directory(path, self._mode, lasting)
        self._directory = path
        self._mode = mode_of(path)
        warn_of_others(path, self._mode, self._place())
        database = op.join(path, DBNAME)
        self._limits = None if op.exists(database) else file_systems.limits_of(path)
        truncated = removal.is_truncated(database)
        self._timeout = _TRUNCATED_TIMEOUT if truncated else _OPEN_TIMEOUT
        self._local = threading.local()
        self._txn_id = None
        _core.Cache.close(self)  # if __init__ is run again
        try:
            self._open_files(disk, settings, lasting)
        except Timeout:
            file_systems.require_locks(path)
            if not truncated:
                raise
            raise sqlite3.DatabaseError(
                f'{database} has been truncated to nothing while another process has'
                ' it open, which must close it first'
            ) from None
        self._timeout = timeout

    def _open_read_only(
        self, path: str, timeout: float, disk: type[Disk], settings: dict[str, Any]
    ) -> None:
        """Open a directory without writing anything there."""
        self._directory = path
        self._timeout = timeout
        self._local = threading.local()
        self._txn_id = None
        _core.Cache.close(self)  # if __init__ is run again
        warn_of_others(path, mode_of(path), self._place())
        if not self._read_only_asked:
            log_once(
                self._place(),
                'the directory cannot be written by this process: the cache is read-only',
            )
        self._open_database(disk, settings)

    def _read_only_query(self) -> str:
        """Return how SQLite is to open the database, where it must not make any file.

        The wal-index tells of commits in the log. Without it they cannot be read. If there is no
        log either, nobody has the database open, and it can be read as it is for as long as that
        is so, which the native core looks after (src/engine/frozen.h).

        :raises sqlite3.OperationalError: if it cannot be opened like this
        """
        database = op.join(self._path, DBNAME)
        if op.exists(database) and not op.isfile(database):
            # SQLite would wait for somebody to write to a pipe.
            raise sqlite3.OperationalError(f'unable to open database file: {database} is no file')
        if not op.exists(database):
            reason = 'read_only is true' if self._read_only_asked else 'cannot be made'
            raise sqlite3.OperationalError(
                f'unable to open database file: {database} is not there, and {reason}'
            )
        deadline = time.monotonic() + _CLOSING_SECONDS
        while True:
            has_index = op.exists(database + '-shm')
            try:
                log_size = op.getsize(database + '-wal')
            except OSError:
                log_size = -1
            if has_index and log_size >= 0:
                return 'mode=ro&readonly_shm=1'
            # Who opens makes the log first, and who closes removes it last, when it is copied.
            is_late = time.monotonic() > deadline
            if log_size <= 0 and (is_late or not has_index):
                return 'mode=ro&immutable=1'
            if is_late:
                break
            time.sleep(_POLL)
        raise sqlite3.OperationalError(
            f'unable to open database file: {database}-wal has commits that are not in the database'
            ' yet, and without -shm only a process that can write to the directory can read them:'
            ' open the cache there once, and close it'
        )

    def _open_files(self, disk: type[Disk], settings: dict[str, Any], lasting: bool) -> None:
        """Open the database, again if it has been removed meanwhile."""
        database = op.join(self._path, DBNAME)
        for more in removal.attempts():
            before = removal.identity(database)
            try:
                removal.remove_remains(database)
                self._make_database()
                self._open_database(disk, settings)
                return
            except (sqlite3.OperationalError, sqlite3.IntegrityError) as error:
                if any(text in str(error) for text in _OTHER_TABLES):
                    text = f'{database} is not a diskcache database'
                    raise sqlite3.DatabaseError(text) from error
                same = removal.identity(database) == before and op.exists(database + '-shm')
                if same or not more:
                    raise
            except sqlite3.DatabaseError as error:
                if not (more and self.on_error == 'reset' and removal.is_malformed(error)):
                    raise
                if removal.identity(database) == before and not self._set_aside(before, error):
                    raise
            _core.Cache.close(self)
            make_directory(self._path, self._mode, lasting)

    def _make_database(self) -> None:
        """Make the file of the database, unless a `_con` of a subclass's says where that is."""
        if type(self)._con is Opening._con:
            make_database(self._path, DBNAME)

    def _open_database(self, disk: type[Disk], settings: dict[str, Any]) -> None:
        stored, schema, self._page_size = self._inspect()
        damaged = rules.damaged(stored)
        usable = {name: value for name, value in stored.items() if name not in damaged}
        current = {**self._defaults(schema), **usable, **settings}
        for name in (*METADATA, DIRECTORY_ID):
            current.pop(name, None)
        for name in damaged - settings.keys():  # the default holds, but is not stored over it
            text = 'the stored setting %s is damaged, and ignored: %r'
            log('directory', self._directory, text, name, stored.pop(name))
            stored[name] = current.get(name)
        is_empty = stored.get('count') == 0
        network = self._warn_of_network(current)
        self._origin = mismatch.Origin.of(schema)
        mismatch.check_recorded_disk(self, disk, is_empty)
        self._disk = disk(
            self._path,
            **{name[5:]: value for name, value in current.items() if name[:5] == 'disk_'},
        )
        self._disk._directory_mode = self._mode
        self._disk._may_map = network is None
        ignored = [name for name in rules.ignored(type(self), current) if name not in METADATA]
        self._setting_names = [name for name in current if name not in ignored]
        for name in self._setting_names:
            setattr(self, name, current[name])
        if ignored:
            names = ', '.join(ignored)
            place = self._place()
            warn_once(
                place,
                f'ignored {names}',
                f'{place}: stored settings are ignored, as methods or parameters: {names}',
            )
        for name in METADATA:
            if not rules.is_taken(type(self), name):
                setattr(self, name, stored.get(name, 0))
        if 'Cache' in schema and not is_empty:
            mismatch.check_stored_keys(self)
        self._complete_directory(current, stored, schema)

    def _defaults(self, schema: Mapping[Any, Any]) -> Mapping[str, Any]:
        """Return the settings that hold if they are neither given nor stored."""
        if self._limits is None or schema:
            return self._default_settings
        log_once(
            self._place(),
            f'the directory is on {self._limits}: the cache has a rollback journal, and is slower'
            ' than on a local disk',
        )
        return {**self._default_settings, **file_systems.SETTINGS}

    def _warn_of_network(self, current: Mapping[str, Any]) -> str | None:
        """Warn, once, of what is not safe where the directory is.

        :return: the network file system that it is on, or None
        """
        network = file_systems.network_of(self._path)
        dangers = file_systems.dangers(current) if network is not None else ()
        if dangers:
            place = self._place()
            warn_once(
                place,
                'network',
                f'{place} is on a network file system ({network}): {"; ".join(dangers)}. Make a new'
                ' directory there, or use a local disk',
            )
        return network

    def _mend(self, unopened: bool) -> bool:
        """Create again what was removed under an open cache: directory, database, settings.

        :param unopened: the database could not be opened, perhaps for another reason
        :return: whether that was not for another reason
        """
        if self._read_only:
            self._forget_directory_id()
            return not unopened  # whoever can write may put another in its place
        removed = not op.exists(op.join(self._path, DBNAME))
        if unopened and not removed:
            return False
        self._make_again()
        if removed:
            log('directory', self._path, 'the database has been removed, and is made anew')
        return True

    def _make_again(self) -> None:
        """Make what is missing of the directory and the database, with the settings of this object.

        What is there already, because others have made it, stays as it is.
        """
        database = op.join(self._path, DBNAME)
        own = {name: getattr(self, name) for name in self._setting_names}
        for more in removal.attempts():
            try:
                make_directory(self._path, self._mode)
                if is_lasting(own.get('sqlite_synchronous')):
                    sync_directory(op.dirname(self._path))
                removal.remove_remains(database)
                self._make_database()
                stored, schema, self._page_size = self._inspect()
                kept = {name: value for name, value in stored.items() if name in own}
                self._complete_directory({**own, **kept}, stored, schema)
            except (FileNotFoundError, sqlite3.OperationalError):
                if not more:
                    raise
            else:
                time.sleep(_MENDED_SECONDS)
                if self._has_all_files():
                    break
            _core.Cache.close(self)

    def _identify(self) -> tuple[int, int] | None:
        """Return what tells the database from others that have had its name."""
        return removal.identity(op.join(self._path, DBNAME))

    def _reset_malformed(self, device: int, inode: int, error: Exception) -> bool:
        """Put a malformed database aside, unless another process has, and make a new one.

        :param device: and `inode`: what :func:`removal.identity` returned of the database
        :param error: what SQLite says of it
        :return: whether there is another database now
        """
        if not self._set_aside((device, inode), error):
            return False
        self._make_again()
        return True

    def _set_aside(self, identity: tuple[int, int] | None, error: Exception) -> bool:
        """Rename a malformed database, unless another process has; tell whether it is gone."""
        if self._read_only:
            return False
        database = op.realpath(op.join(self._path, DBNAME))  # as in salvage.py
        try:
            aside = removal.set_aside(database, identity)
        except OSError as obstacle:
            text = 'the database is malformed (%s), and cannot be renamed: %s'
            log('directory', self._path, text, error, obstacle)
            return False
        if aside is not None:
            text = (
                'the database is malformed (%s): it has been renamed to %s, and a new one is begun.'
                ' What it had in value files stays until check(fix=True)'
            )
            log('directory', self._path, text, error, op.basename(aside))
        return True

    def _pass_over(self, error: Exception) -> bool:
        """Tell whether an error says that something cannot be loaded; then it is logged."""
        return passes_over(self._path, error)

    def _log_failure(self, error: Exception) -> bool:
        """Log a lookup that is answered as if the key were missing; return True."""
        log_failure(self._path, error)
        return True

    def _has_all_files(self) -> bool:
        """Tell whether the files of a database that is open are there."""
        database = op.join(self._path, DBNAME)
        wal = getattr(self, 'sqlite_journal_mode', None) == 'wal'
        return op.exists(database) and (not wal or op.exists(database + '-shm'))

    def _place(self) -> str:
        """Return the directory that warnings name."""
        return self._path

    def _complete_directory(
        self, current: dict[str, Any], stored: dict[str, Any], schema: dict[str, Any]
    ) -> None:
        """Make what is missing in the directory; nothing is written if nothing is."""
        signer = self._disk if isinstance(self._disk, SignedDisk) else None
        if self._read_only:
            self._forget_directory_id()
            if 'Cache' not in schema or 'Settings' not in schema:
                database = op.join(self._path, DBNAME)
                raise sqlite3.DatabaseError(f'{database} is not a diskcache database')
            return
        if not schema and 'sqlite_page_size' in current:
            # First of all: the file is made by the first pragma that is stored in it.
            self._set_pragma('page_size', current['sqlite_page_size'])
        for name in sorted(current):
            if name.startswith('sqlite_') and (name not in stored or stored[name] != current[name]):
                self._set_pragma(name[7:], current[name])
        changed = {
            name: value
            for name, value in current.items()
            if name not in stored or stored[name] != value
        }
        missing = list(self._missing_objects(current, schema).values())
        if not current.get('tag_index') and _core.TAG_INDEX_NAME in schema:
            missing.append(_core.TAG_INDEX_DROP)
        if not schema:
            origin = mismatch.Origin(mismatch.disk_name(type(self._disk)), self._shard_count)
            missing.append(origin.statement())
        defaults: dict[str, Any] = {
            name: value for name, value in METADATA.items() if name not in stored
        }
        if signer is not None and DIRECTORY_ID not in stored:
            # That of before, if the files have been removed: so it is the same for all who have it.
            defaults[DIRECTORY_ID] = signer._directory_id or os.urandom(16).hex()
        self._was_complete = not (changed or missing or defaults)
        if not self._was_complete:
            self._apply(missing, changed, defaults)
        if signer is not None:  # another process may have set it first
            signer._directory_id = str(self._setting(DIRECTORY_ID))
        if not schema:
            self._page_size = self._inspect()[2]

    def _forget_directory_id(self) -> None:
        """Have a SignedDisk look for the id of a directory that only others can write."""
        if isinstance(self._disk, SignedDisk):
            reference = weakref.ref(self)

            def find() -> str | None:
                cache = reference()
                try:
                    return None if cache is None else str(cache._setting(DIRECTORY_ID))
                except KeyError:  # no SignedDisk has opened it yet
                    return None

            self._disk._find_directory_id = find
            self._disk._directory_id = None

    def _take_directory_id(self) -> bool:
        """Read the id that a SignedDisk signs, from a database that has just been opened.

        :return: whether it is another
        """
        signer = self._disk
        if not isinstance(signer, SignedDisk):
            return False  # one of a program's own that signs
        before = signer._directory_id
        if self._read_only:
            self._forget_directory_id()
            return True
        try:
            signer._directory_id = str(self._setting(DIRECTORY_ID))
        except KeyError:  # another Disk has made it anew
            self._make_again()
        except (Timeout, sqlite3.Error):
            return False  # what is about to be done meets it, too
        return signer._directory_id != before

    def _missing_objects(
        self, settings: Mapping[str, Any], schema: Mapping[str, Any]
    ) -> dict[str | None, str]:
        """Return what is not in the schema and should be, by name, and how it is made.

        What a policy of a program's own wants to be made has no name, if it is no index.
        """
        policy = settings.get('eviction_policy')
        if not isinstance(policy, str) or not rules.is_usable('eviction_policy', policy):
            policy = self.eviction_policy
        objects: list[tuple[str | None, str]] = [*_core.SCHEMA]
        index, create_index = policy_index(policy)
        if create_index is not None:
            objects.append((index, create_index))
        if settings.get('tag_index'):
            objects.append((_core.TAG_INDEX_NAME, _core.TAG_INDEX_CREATE))
        return {name: create for name, create in objects if name not in schema}

    @property
    def _con(self) -> sqlite3.Connection:
        """Connection of this thread; inside a transaction the one that it runs on."""
        return self._connection()

    @property
    def _sql(self) -> Callable[..., sqlite3.Cursor]:
        """The `execute` method of `_con`."""
        return self._con.execute

    @property
    def _sql_retry(self) -> Callable[..., sqlite3.Cursor]:
        """Like `_sql`, waiting for a locked database for up to a minute."""
        sql = self._sql

        def execute(statement: str, *args: Any, **kwargs: Any) -> sqlite3.Cursor:
            deadline = time.monotonic() + _OPEN_TIMEOUT
            delay = 0.0001
            while True:
                try:
                    return sql(statement, *args, **kwargs)
                except sqlite3.OperationalError as error:
                    if str(error) != 'database is locked' or time.monotonic() > deadline:
                        raise
                time.sleep(delay)
                delay = min(2 * delay, 0.01)

        return execute


@cl.contextmanager
def unopened(directory: str, timeout: float = 0) -> Iterator[Opening]:
    """Give an object that reads and locks the database of a cache that is not to be opened."""
    # In a session: closing any other connection can take locks from threads (session.c).
    reader = Opening.__new__(Opening)
    reader._directory = directory
    reader._timeout = timeout
    try:
        yield reader
    finally:
        reader.close()


def _read_schema(directory: str) -> Mapping[Any, Any]:
    """Return the schema of a cache that is not to be opened; empty if it cannot be read now."""
    with unopened(directory) as reader:
        try:
            return reader._inspect()[1]
        except (Timeout, sqlite3.Error):
            return {}
