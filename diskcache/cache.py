"""Cache: a persistent mapping, with a native core.

The work of every operation is done in :mod:`diskcache._core`, in C. The class here derives from the
native one and adds what is seldom called.
"""

from __future__ import annotations

import atexit
import contextlib as cl
import functools as ft
import os
import os.path as op
import sqlite3
import time
import warnings
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence

from . import _core, removal
from . import settings as rules
from ._core import Timeout
from .cautions import hint_at_expire, hinted, recorded
from .constants import DBNAME, ENOVAL, KEEP, UNKNOWN, Constant
from .defaults import default_disk
from .directory import (
    OWNER_ONLY,
    checked_mode,
    checked_read_only,
    path_of,
    size_of,
    temporary_unless_given,
)
from .disk import Disk, StoredKey
from .hints import (
    TYPE_CHECKING,
    Any,
    K,
    Memoized,
    P,
    Path,
    R,
    Settings,
    Tag,
    Unpack,
    V,
    cast,
    overload,
)
from .log import log_info, log_refusal
from .memoize import Store, checked_expire, memoizer
from .opening import Opening, unopened
from .pickling import reduce
from .policies import (
    CULL_PORTION,
    EVICTION_POLICY,
    change_by_lookup,
    delete_rows,
    find_policy,
    policy_index,
    victims,
)
from .refusal import RefusedError
from .signeddisk import Row, SignedDisk
from .sql import (
    CHECKPOINT,
    EXPIRED,
    INCREMENT_SIGNED,
    INTEGRITY_CHECK,
    SIGNED_ROW,
    TOUCH_SIGNED,
    TRUNCATE_LOG,
    VACUUM,
    busy_timeout,
)
from .unloadable import passes_over
from .views import LOOKUPS, DictMethods, Names, has_all_of


def _describe_timeout(self: Timeout) -> str:
    """Return what is known of a Timeout; its arguments are the original's, and do not say it."""
    message: str | None = getattr(self, 'message', None)
    if message is None:
        return Exception.__str__(self)
    return f'{message} (until then: {self.args[0]} items)' if self.args else message


Timeout.__str__ = _describe_timeout  # type: ignore[assignment,method-assign]


def _sum(number: float, delta: float, what: str) -> float:
    total = number + delta
    if total != total or (isinstance(total, int) and not -(2**63) <= total < 2**63):
        raise OverflowError(f'{what} does not fit into 64 bits')
    return total


class Transaction(cl.ContextDecorator, _core.Transaction):
    """What :meth:`Cache.transact` returns: a context manager, also usable as a decorator."""

    if TYPE_CHECKING:

        def __enter__(self) -> None: ...


class Cache(DictMethods[K, V], Opening[K, V]):
    """Disk-backed cache: a persistent mapping shared by threads and processes.

    >>> cache = Cache()
    >>> cache['key'] = 'value'
    >>> cache['key']
    'value'
    >>> cache.close()
    """

    @overload
    def __init__(
        self,
        directory: Path | None = None,
        timeout: float = 60,
        disk: type[Disk] = Disk,
        **settings: Unpack[Settings],
    ) -> None: ...

    @overload
    def __init__(
        self,
        directory: Path | None = None,
        timeout: float = 60,
        *,
        disk: type[Disk],
        **settings: Any,
    ) -> None: ...

    @overload
    def __init__(
        self,
        directory: Path | None,
        timeout: float,
        disk: type[Disk],
        **settings: Any,
    ) -> None: ...

    def __init__(
        self,
        directory: Path | None = None,
        timeout: float = 60,
        disk: type[Disk] = Disk,
        **settings: Any,
    ) -> None:
        """Open a cache, making its directory if there is none.

        :param directory: path; ``~`` and environment variables are expanded; a relative one is that
            of the current directory now, wherever the process goes. None: a new temporary directory
        :param timeout: seconds to wait for a lock before an operation raises :exc:`Timeout`
        :param disk: subclass of :class:`Disk`; for Disk itself what :func:`configure` has set
        :param settings: any of :data:`DEFAULT_SETTINGS`; they are stored in the directory and hold
            for everyone who opens it. And these, which are not stored: `memory_limit`, bytes that
            this object may keep in memory of what it has read (8 MiB; 0: nothing); `mode`, of the
            directory if it has to be made (0o700), which files in it match: 0o750 makes 0o640;
            `read_only`, if nothing may be written, not even a lock file, as it is by itself where
            the directory cannot be written: settings then hold for this object alone; and
            `on_error`, what it does about damage. ``'raise'``, the default: what cannot be loaded,
            and a database that SQLite calls malformed, are errors. ``'miss'``: a lookup answers
            that the key is missing, a queue passes the item over, and what is wrong is logged; the
            item stays. A write to a malformed database is an error. ``'reset'``: the same, and a
            malformed database is renamed and begun anew, empty. None: ``'miss'`` for :meth:`get`,
            :meth:`get_many` and the views alone
        :raises ValueError: if `disk` is no subclass of Disk, or a setting has an impossible value
        :raises TypeError: if an argument is of the wrong type, or a setting is named like a method
        :raises OSError: if the directory cannot be made
        :raises Timeout: if another process keeps the database locked for a minute
        :raises sqlite3.Error: if the database cannot be opened, or is not there and `read_only` is
            true; one that is malformed is opened only with ``on_error='reset'``
        """
        if disk is Disk:
            disk = default_disk()
        if isinstance(disk, Disk):
            raise hinted(
                ValueError('disk must subclass diskcache.Disk'), 'pass the class, not an object'
            )
        if not (isinstance(disk, type) and issubclass(disk, Disk)):
            raise ValueError('disk must subclass diskcache.Disk')
        if not (hasattr(timeout, '__float__') or hasattr(timeout, '__index__')):
            raise TypeError(f'timeout must be a number of seconds, not {type(timeout).__name__!r}')
        if getattr(self, '_txn_id', None) is not None:
            raise RuntimeError('a cache with an open transaction cannot be initialized again')
        memory_limit = settings.pop('memory_limit', None)
        mode = checked_mode(settings.pop('mode', None))
        read_only = checked_read_only(settings.pop('read_only', False))
        if 'on_error' in settings:
            self.on_error = settings.pop('on_error')
        self._check_settings(settings)
        if memory_limit is not None:
            self.memory_limit = memory_limit
        self._mode = OWNER_ONLY if mode is None else mode
        self._read_only_asked = read_only
        with temporary_unless_given(directory, mode) as given:
            self._open(path_of(given), timeout, disk, settings)

    def _call_each(
        self, name: str, calls: list[tuple[Any, ...]], keywords: dict[str, Any], retry: bool
    ) -> list[bool]:
        """Call a method for each of many items, in one transaction.

        `set_many` and its like do it where a subclass overrides the method for a single item.

        :param name: set, add, touch or delete
        :param calls: what each call is given
        :param keywords: what all calls are given, besides `retry`
        :param retry: wait for the lock as long as it takes
        :return: whether each call returned something true
        :raises Timeout: if the lock cannot be had within the timeout and `retry` is false
        """
        method = getattr(self, name)
        with self.transact(retry=retry):
            return [bool(method(*call, **keywords, retry=retry)) for call in calls]

    @hint_at_expire
    def modify(
        self,
        key: K,
        func: Callable[[Any], V | Constant],
        default: Any = None,
        expire: float | Constant | None = KEEP,
        tag: Tag | Constant = KEEP,
        retry: bool = False,
    ) -> V | Constant:
        """Replace a value by what a function makes of it, atomically: no other write comes between.

        The function runs in a transaction: keep it short. It must do nothing else than compute the
        new value, since other engines of a cache call it again where a write has come between.

        >>> cache = Cache()
        >>> cache.modify('visitors', lambda names: names | {'ann'}, default=frozenset())
        frozenset({'ann'})

        :param key: key of the item
        :param func: called with the value; returns the new one, :data:`ENOVAL` to delete the item,
            or :data:`KEEP` to leave it as it is. If it raises, the item stays as it is, too
        :param default: what `func` is called with if the key is missing
        :param expire: seconds until the item expires (None: never; without it the time of its
            expiry stays)
        :param tag: the item's tag (without it the tag stays)
        :param retry: wait for the lock as long as it takes
        :return: the value that is stored then; ENOVAL if there is none: `func` has returned it,
            or the cache is too small to keep the item
        :raises Timeout: if the lock cannot be had within the timeout and `retry` is false
        """
        with self.transact(retry=retry):
            value: V | Constant
            expire_time: float | None = None
            old_tag: Tag = None
            if isinstance(expire, Constant) or isinstance(tag, Constant):
                value, expire_time, old_tag = self.get(
                    key, default=ENOVAL, expire_time=True, tag=True, retry=True
                )
            else:  # as the recipes do, and a subclass may have a get() without these parameters
                value = self.get(key, default=ENOVAL, retry=True)
            new = func(default if value is ENOVAL else value)
            if new is KEEP:
                return value
            if new is ENOVAL:
                self.delete(key, retry=True)
                return ENOVAL
            if isinstance(expire, Constant):
                expire = None if expire_time is None else expire_time - time.time()
            if isinstance(tag, Constant):
                tag = old_tag
            kept = self.set(key, cast('V', new), expire, tag=tag, retry=True)
            return new if kept else ENOVAL

    @hint_at_expire
    def memoize(
        self: Store,
        name: str | None = None,
        typed: bool = False,
        expire: float | None = None,
        tag: Tag = None,
        ignore: Iterable[int | str] = (),
        *,
        signature: bool = False,
        cache_if: Callable[[Any], object] | None = None,
    ) -> Callable[[Callable[P, R]], Memoized[P, R]]:
        """Decorate a function so that its results are kept in the cache.

        Of a coroutine function, what it returns when awaited is kept; the wrapper is one too. The
        cache itself is asked without awaiting: that takes microseconds at most.

        The wrapper has an attribute ``__cache_key__``: a function that returns the key for given
        arguments. A result that is stored and cannot be loaded is computed and stored anew.

        :param name: what keys begin with (None: the function's full name)
        :param typed: whether arguments of different types are different
        :param expire: seconds until a result expires (None: never; 0 or less: nothing is stored)
        :param tag: for the stored results
        :param ignore: positions and names of arguments that do not count; a str is one name
        :param signature: make keys from the function's signature: calls that mean the same, by
            position, by keyword or by a default, then share a result, and others never do. Without
            it keys are the original's, for which ``f(1)`` and ``f(x=1)`` differ, and
            ``f(1, x=None)`` and ``f(1, None, 'x')`` do not. Then it does not matter either which
            of equal arguments are the same object.
        :param cache_if: called with each new result; it is stored only if this returns something
            true (None: always)
        :return: decorator
        :raises TypeError: if the decorator is used without parentheses
        """

        checked_expire(expire)

        def lookup(key: Any, func: Any, args: Any, kwargs: Any) -> Any:
            try:
                return self.get(key, default=ENOVAL, retry=True)
            except Exception as error:
                if passes_over(self.disk._directory, error):
                    return ENOVAL
                raise

        def store(key: Any, result: Any, seconds: float) -> None:
            if (expire is None or expire > 0) and not self.read_only:
                self.set(key, result, expire, tag=tag, retry=True)

        def find_disk() -> Disk:
            return self.disk

        recall = self._recall if isinstance(self, Cache) else None
        return memoizer(
            find_disk, name, typed, ignore, signature, cache_if, lookup, store, recall=recall
        )

    def check(
        self,
        fix: bool = False,
        retry: bool = False,
        *,
        progress: Callable[[str, int, int | None], object] | None = None,
    ) -> list[warnings.WarningMessage]:
        """Check the database and the value files against each other.

        With `fix`, what nobody could look up or read goes: rows without their file or with one of
        another size, rows of which key or value is no pickle and should be one; see
        :mod:`diskcache.check`. Counters are corrected, missing indexes and triggers are made. Of
        the files that no row names those go that this package made and left, if they are not new:
        a set may be under way. Users' own files and caches in sub-directories are left alone.

        A database that SQLite calls malformed is saved with `fix`, as far as it can be read, see
        :mod:`diskcache.salvage`: into a new one, which takes its place; the damaged one is renamed,
        and the files whose rows are lost are reported, and stay this time. What a salvage has left
        that was killed is removed.

        Pickles of keys and values are followed, the first MiB of each, but not loaded, because
        that runs code: nothing is imported or called. One that is damaged, or needs a class or
        module that is not there, is reported, and stays, also with `fix`: another program, or
        another Python, that shares the directory may be able to read it. So is JSON of a
        :class:`JSONDisk` that does not decompress, or is none, as far as its first MiB tells.

        Others can write meanwhile. The write lock is held for milliseconds at a time, and only to
        look once more at what seems wrong. It is held for longer only to make an index: some half
        a second for a million rows, more on a busy machine, and two or three where a key is stored
        twice. Memory does not grow with the number of rows or files, but with what is found.

        The `message` of each warning has three attributes more: `mended`, whether it has been
        mended; `reason`, why it has not, as a text; and `harmless`, whether nothing is wrong with
        the cache, as far as one can tell: a file is none of its own, or is new and may be that of a
        set under way, or a class is not there for this program.

        :param fix: whether to mend what is found
        :param retry: wait for the lock as long as it takes
        :param progress: called now and then with the step ('database', 'rows', 'files', 'totals'),
            how many rows or files are done, and of how many, or None where that is not known. What
            it raises ends the check; what has been mended stays so
        :return: the problems found, as recorded warnings
        :raises Timeout: if the lock is needed, and cannot be had within the cache's timeout and
            `retry` is false
        :raises OSError: if there is no room for the new database, or the other cannot be renamed
        :raises sqlite3.OperationalError: if there is no room, too; all stays as it was then
        """
        from .check import Check  # it is about what is defined here

        if fix:
            self._require_writable()
        with self._without_reset():
            problems = Check(self, fix, retry, progress).run()
        found = []
        for each in problems:
            message = each.category(each.text)
            vars(message).update(mended=each.mended, harmless=each.harmless, reason=each.reason)
            found.append(recorded(message))
        return found

    def _find_malformed(self, retry: bool) -> list[str]:
        """Return what SQLite finds wrong with the structure of the database."""
        try:
            texts = [row[0] for row in self._run_alone(INTEGRITY_CHECK, retry)]
        except sqlite3.DatabaseError as error:
            if not removal.is_malformed(error):
                raise
            return [str(error)]
        return [text for text in texts if text != 'ok']

    @cl.contextmanager
    def _without_reset(self) -> Iterator[None]:
        """Let what reads a malformed database fail, where it would otherwise be begun anew."""
        self._checking = True
        try:
            yield
        finally:
            self._checking = False

    def _salvage(self, seen: tuple[int, int] | None, retry: bool) -> list[str]:
        """Save what can be read into a new database, unless another process does it.

        :param seen: the identity of the malformed database
        :return: what has happened
        """
        from .salvage import Salvage  # which is seldom needed

        settings = {name: getattr(self, name) for name in self._setting_names}
        origin = self._origin.statement() if self._origin is not None else None
        salvage = Salvage(self._path, seen, settings, origin)
        with unopened(self._path, self.timeout) as locker:
            salvage.run(lambda: locker._transact(retry))
        return salvage.report

    def compact(self, retry: bool = False) -> int:
        """Give back to the disk what the database and its log do not need.

        The database is written anew, without free pages and half empty ones, and the log is cut
        to nothing. Usually there is little to gain: the database shrinks by itself, but for
        directories with ``sqlite_auto_vacuum=0``. While it is written, which takes a second for
        some 100 MB, nobody else can write; others can read. It needs twice the room of the database
        on the disk meanwhile. The log stays as it is if somebody reads for longer than the timeout.

        :param retry: wait for the lock as long as it takes
        :return: bytes given back
        :raises Timeout: if the lock cannot be had within the cache's timeout and `retry` is false
        :raises sqlite3.OperationalError: inside a transaction, in a cache that is not to be
            written, or if the disk is full
        """
        self._require_writable()
        files = [op.join(self._path, DBNAME), op.join(self._path, f'{DBNAME}-wal')]
        before = sum(map(size_of, files))
        self._run_alone(VACUUM, retry)
        self._truncate_log(retry)
        return max(before - sum(map(size_of, files)), 0)

    def _truncate_log(self, retry: bool) -> None:
        """Cut the log to nothing, as soon as nobody reads from it any more.

        SQLite would wait for readers with the write lock. So it is told not to wait.
        """
        timeout = float(self._timeout)
        deadline = time.monotonic() + timeout
        self._run_alone(CHECKPOINT, retry)
        self._sql(busy_timeout(0))
        try:
            while True:
                with cl.suppress(sqlite3.OperationalError):  # somebody else copies the log
                    if self._sql(TRUNCATE_LOG).fetchone()[0] == 0:
                        return
                if time.monotonic() > deadline:
                    return
                time.sleep(0.001)
        finally:
            self._sql(busy_timeout(timeout))

    def _run_alone(
        self, statement: str, retry: bool, parameters: Sequence[Any] = ()
    ) -> sqlite3.Cursor:
        """Run SQL that no transaction contains, waiting for the lock as a transaction does."""
        while True:
            try:
                return self._sql(statement, parameters)  # SQLite waits for as long as the timeout.
            except sqlite3.OperationalError as error:
                if str(error) != 'database is locked':
                    raise
            if not retry:
                self._raise_timeout()
            time.sleep(0.001)

    def create_tag_index(self) -> None:
        """Create an index on tags, which makes :meth:`evict` fast; it stays until dropped."""
        self._apply([_core.TAG_INDEX_CREATE], {}, {})
        self.reset('tag_index', 1)

    def drop_tag_index(self) -> None:
        """Drop the index on tags."""
        self._apply([_core.TAG_INDEX_DROP], {}, {})
        self.reset('tag_index', 0)

    def _select_delete(
        self,
        select: str,
        args: list[Any],
        row_index: int = 0,
        arg_index: int = 0,
        retry: bool = False,
    ) -> int:
        """Delete what a query selects, a transaction for each of its portions.

        :param select: query for rowid, ..., filename with a LIMIT
        :param args: its parameters; changed here
        :param row_index: column of the last row that
        :param arg_index: becomes this parameter of the next portion's query
        :param retry: wait for the lock as long as it takes
        :return: number of rows deleted
        :raises Timeout: with the number of rows deleted until then
        """
        count = 0
        while True:
            try:
                with self._transact(retry) as (execute, cleanup):
                    rows = execute(select, args).fetchall()
                    deleted = delete_rows(execute, cleanup, rows)
            except Timeout as timeout:
                timeout.args = (count,)
                raise
            if not deleted:  # a trigger may keep the rows, which would be selected again
                return count
            count += deleted
            args[arg_index] = rows[-1][row_index]

    def _note_access(self, rowid: int) -> None:
        """Write what an eviction policy of the user's own wants of a row that has been found."""
        change = self._own_policy and change_by_lookup(self._own_policy, time.time())
        if change:
            # The value has been found, and is not withheld because somebody else is writing.
            with cl.suppress(Timeout), self._transact() as (execute, _):
                execute(change, (rowid,))

    def _cull(
        self,
        now: float,
        sql: Callable[..., sqlite3.Cursor],
        cleanup: Callable[[str | None], object],
        limit: int | None = None,
    ) -> None:
        """Remove expired items and, above size_limit, others, as every write does at its end.

        :param now: seconds since the epoch
        :param sql: executes SQL in the thread's open transaction
        :param cleanup: called with the name of each file that is then to be removed
        :param limit: number of items to remove at most (None: cull_limit)
        """
        if self._own_policy is None:
            super()._cull(now, sql, cleanup, limit)
            return
        left = self.cull_limit if limit is None else limit
        if left > 0:
            left -= delete_rows(sql, cleanup, sql(EXPIRED, (now, left)).fetchall())
        select = victims(self._own_policy, now)
        if left > 0 and select is not None and self.volume() >= self.size_limit:
            delete_rows(sql, cleanup, sql(select, (left,)).fetchall())

    def cull(self, retry: bool = False) -> int:
        """Remove the items that have expired, then others, in the order of the eviction policy.

        :param retry: wait for the lock as long as it takes
        :return: number of items removed; the volume is within size_limit then, if the policy lets
            it be
        :raises Timeout: if the lock cannot be had within the cache's timeout and `retry` is false,
            with the number of items removed until then
        """
        policy = self._own_policy
        count = super().cull(retry) if policy is None else self._cull_by(policy, retry)
        log_info('eviction', self._path, 'cull has removed %d items', count)
        return count

    def _cull_by(self, policy: Mapping[str, str | None], retry: bool) -> int:
        """Do what `cull` does, by a policy of the user's own."""
        now = time.time()
        count = self.expire(now, retry)
        select = victims(policy, now)
        try:
            while select is not None and self.volume() > self.size_limit:
                with self._transact(retry) as (execute, cleanup):
                    rows = execute(select, (CULL_PORTION,)).fetchall()
                    deleted = delete_rows(execute, cleanup, rows)
                if not deleted:
                    break
                count += deleted
        except Timeout as timeout:
            timeout.args = (count,)
            raise
        return count

    def _iter(self, ascending: bool = True) -> Generator[Any, None, None]:
        """Yield None, then the keys in the order of their insertion, or backwards.

        The end is fixed with the first value yielded.
        """
        keys: Iterator[Any] = (
            _core.Cache.__iter__(self) if ascending else _core.Cache.__reversed__(self)
        )
        yield
        yield from keys

    def _names(self, reverse: bool) -> Names | None:
        """Return what views go by, in the order of insertion; None if a subclass decides that."""
        if not has_all_of(type(self), Cache, (*LOOKUPS, 'get')):
            return None
        return [(self, self._naming_keys(reverse))]

    def _note_refusal(self, key: Any, error: RefusedError) -> None:
        """Log what the Disk has refused, and so counts as missing.

        :param key: of the item, also as it is stored; None: the key itself is refused
        """
        log_refusal(self._directory, key, error)

    def _signed_row(
        self, execute: Callable[..., sqlite3.Cursor], key: Any, now: float
    ) -> tuple[int, Row] | None:
        """Return the row of a key, with its rowid, if it has its signature and has not expired."""
        database_key, raw = key if type(key) is StoredKey else self.disk.put(key)
        for rowid, *columns in execute(SIGNED_ROW, (database_key, raw)).fetchall():
            row = Row(*columns)
            try:
                self._signer._verify(row)
            except RefusedError as error:
                self._note_refusal(key, error)
            else:
                if row.expire_time is None or row.expire_time > now:
                    return rowid, row
        return None

    @property
    def _signer(self) -> SignedDisk:
        assert isinstance(self._disk, SignedDisk)
        return self._disk

    def _touch_signed(self, key: Any, expire: float | None, retry: bool) -> bool:
        """Do what `touch` does, with a Disk that signs: the expiry is signed too.

        The native core calls it. The parameters and the result are those of `touch`.
        """
        with self._transact(retry) as (execute, _):
            now = time.time()
            found = self._signed_row(execute, key, now)
            if found is None:
                return False
            rowid, row = found
            expire_time = None if expire is None else now + float(expire)
            value = self._signer._renew(row, expire_time=expire_time)
            return execute(TOUCH_SIGNED, (expire_time, value, rowid)).rowcount > 0

    def _increment_signed(
        self: Cache[Any, Any], key: Any, delta: float, default: float | None, retry: bool
    ) -> float:
        """Do what `incr` does, with a Disk that signs: read, check, and write anew.

        The native core calls it. The parameters, the result and the errors are those of `incr`.
        """
        with self._transact(retry) as (execute, _):
            now = time.time()
            found = self._signed_row(execute, key, now)
            if found is None:
                if default is None:
                    raise KeyError(key)
                total = _sum(default, delta, 'default + delta')
                _core.Cache.set(self, key, total, retry=True)
                return total
            rowid, row = found
            number = self._signer._number(row)
            if number is None:
                raise TypeError(f'the value of key {key!r} is not an int or a float')
            total = _sum(number, delta, f'the value of key {key!r} plus delta')
            _, mode, _, payload = self._signer.store(total, False)
            value = self._signer._sign(row.changed(mode=mode), payload)
            execute(INCREMENT_SIGNED, (now, mode, value, rowid))
            change = change_by_lookup(EVICTION_POLICY[self.eviction_policy], now)
            if change:
                execute(change, (rowid,))
            return total

    def stats(self, enable: bool = True, reset: bool = False) -> tuple[int, int]:
        """Return how often lookups found their key, and how often not.

        To call this to look turns counting on, in the directory and for everyone, as the original
        does: pass ``enable=cache.statistics`` to leave it as it is, or call `memory_stats`. What is
        opened read-only stays as it is.

        :param enable: whether to count from now on
        :param reset: whether to set the counts to zero
        :return: (hits, misses)
        """
        result = self.reset('hits'), self.reset('misses')
        if self.read_only and not reset:
            return result
        if reset:
            self.reset('hits', 0)
            self.reset('misses', 0)
        self.reset('statistics', enable)
        return result

    def __exit__(self, *exception: Any) -> None:
        self.close()

    def __repr__(self) -> str:
        return f'{type(self).__name__}({getattr(self, "_directory", None)!r})'

    def _repr_html_(self) -> str | None:
        """Return what a notebook shows: a table, of what stands in the database."""
        if getattr(self, '_directory', None) is None:
            return None
        from .notebooks import table_of  # which nothing else needs

        return table_of(self, self._directory, [(self._path, self._read_only)])

    def _ipython_key_completions_(self) -> list[Any]:
        """Return keys that a notebook offers behind a bracket: some, and no pickled ones."""
        from .notebooks import keys_of

        return keys_of([self])

    def __getstate__(self) -> tuple[Any, ...]:
        # The last is only there if it says something: the original does not know it.
        last = () if self.on_error == 'raise' else (self.on_error,)
        return (self._path, self.timeout, type(self.disk), *last)

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        if len(state) > 3:
            self.on_error = state[3]
        self.__init__(*state[:3])  # type: ignore[misc]

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle as the original does, unless it could not open it like this."""
        if self._read_only_asked:
            return ft.partial(type(self), read_only=True), self.__getstate__()
        return reduce(self)

    def reset(self, key: str, value: Any = ENOVAL, update: bool = True) -> Any:
        """Load a setting again, or change it.

        A setting is an attribute of the cache, and stored in the directory; changing the attribute
        alone holds for this object only. `count`, `size`, `hits` and `misses` are attributes too:
        as they were when the cache was opened or when they were last read, by this method,
        ``len(cache)``, :meth:`volume` or :meth:`stats`; `size` also by every write that may evict.

        :param key: name of the setting
        :param value: new value; without it the stored one is loaded
        :param update: whether to store the new value too
        :return: the value
        :raises ValueError: if there is no such setting, or the value is impossible
        :raises TypeError: if the key is the name of a method, or the value of the wrong type
        :raises Timeout: if a new value cannot be stored within a minute, for a lock
        """
        if value is ENOVAL:
            try:
                value = self._setting(key)
            except KeyError:
                raise ValueError(f'no setting {key!r} is stored') from None
            if not rules.is_usable(key, value):
                raise sqlite3.DatabaseError(f'the stored setting {key!r} is damaged: {value!r}')
            setattr(self, key, value)
            return value
        if rules.is_taken(type(self), key):
            raise TypeError(f'{key!r} is the name of a method, it cannot be a setting')
        if update:
            self._require_writable()
        if key.startswith('sqlite_'):
            self._set_pragma(key[7:], value)
        elif key.startswith('disk_'):
            setattr(self._disk, key[5:], value)
        setattr(self, key, value)
        if update:
            self._store_setting(key, value)
        return value

    def _store_setting(self, key: str, value: Any) -> None:
        """Change a stored setting, as far as there are tables: a subclass may be making them."""
        try:
            self._update_setting(key, value)
        except sqlite3.OperationalError:
            if 'Settings' in self._inspect()[1]:
                raise
        if key == 'eviction_policy':
            index, create_index = policy_index(value)
            _, schema, _ = self._inspect()
            if create_index is not None and 'Cache' in schema and index not in schema:
                self._apply([create_index], {}, {})


atexit.register(_core._flush_notes)
if hasattr(os, 'register_at_fork'):  # not on Windows
    os.register_at_fork(
        before=_core._before_fork,
        after_in_parent=_core._after_fork,
        after_in_child=_core._after_fork,
    )
_core._register(
    disk=Disk,
    cache=Cache,
    transaction=Transaction,
    stored_key=StoredKey,
    enoval=ENOVAL,
    unknown=UNKNOWN,
    find_policy=find_policy,
    refused=RefusedError,
)
