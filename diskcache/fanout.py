"""FanoutCache: one cache spread over several, so that writers of different keys do not wait.

SQLite has one writer at a time for each database. A FanoutCache is a number of Cache directories,
the shards; the hash of a key says which shard is its own. Each method here finds the shard and
lets it do the work, and turns a :exc:`Timeout` into an answer, because for a web site a value that
could not be stored in time is a value not stored, and no error.
"""

from __future__ import annotations

import collections
import contextlib as cl
import functools as ft
import itertools as it
import operator
import os
import os.path as op
import re
import sqlite3
import stat
import time
import warnings
import weakref
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence

from . import mismatch, removal
from . import settings as rules
from ._core import MEMORY_LIMIT, Shards, Timeout
from .batches import batches, checked_pairs, hashable_keys, iter_of, size_of_pair
from .cache import Cache
from .cautions import hint_at_expire
from .constants import DBNAME, ENOVAL, KEEP, Constant
from .defaults import default_disk
from .deque import Deque, checked_maxlen
from .directory import (
    OWNER_ONLY,
    checked_mode,
    checked_read_only,
    is_lasting,
    is_unwritable,
    make_directory,
    mode_of,
    path_of,
    temporary_unless_given,
    warn_of_others,
)
from .disk import Disk
from .hints import (
    TYPE_CHECKING,
    Any,
    BinaryIO,
    D,
    Items,
    K,
    Literal,
    Memoized,
    MemoryStats,
    P,
    Path,
    R,
    Readable,
    Self,
    Settings,
    Tag,
    Unpack,
    V,
    cast,
    overload,
)
from .index import Index
from .log import log_failure, log_info
from .settings import DEFAULT_SETTINGS
from .views import DictMethods, Names, has_all_of

__all__ = ['FanoutCache']

#: Seconds between two attempts at what cannot be told to retry.
_PAUSE = 0.001

#: Names of shards, and of the directories of named caches, Deques and Indexes.
_SHARD_NAME = '[0-9]{3,}'
_PARTS = ('cache', 'deque', 'index')

#: What of a shard is also an attribute of the FanoutCache, beside the settings.
_SHARD_ATTRIBUTES = frozenset({'disk', 'timeout'})


class _Shard(Cache):
    """A Cache whose share of the default size_limit is that of one of several."""

    def __init__(
        self,
        directory: str,
        timeout: float = 60,
        disk: type[Disk] = Disk,
        *,
        shards: int = 1,
        is_late: bool = False,
        **settings: Any,
    ) -> None:
        self._is_late = is_late
        share = DEFAULT_SETTINGS['size_limit'] / shards
        self._default_settings = {**DEFAULT_SETTINGS, 'size_limit': share}
        self._shard_count = shards
        super().__init__(directory, timeout, disk, **settings)

    def _check_settings(self, settings: dict[str, Any]) -> None:
        """Do nothing: the FanoutCache has looked at them, once for all shards."""

    def _complete_directory(
        self, current: dict[str, Any], stored: dict[str, Any], schema: dict[str, Any]
    ) -> None:
        """Make what is missing; settings that others have stored since the FanoutCache was opened
        stay."""
        if self._is_late:
            current = {**current, **{name: stored[name] for name in current if name in stored}}
        super()._complete_directory(current, stored, schema)

    def _place(self) -> str:
        return op.dirname(self._path)

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle as a Cache: by now the limit is stored. What the original knows is kept."""
        cls: Callable[..., Any] = Cache
        opening = ft.partial(cls, read_only=True) if self._read_only_asked else cls
        return opening, self.__getstate__()[:3]


def _absent(default: Any, expire_time: bool, tag: bool) -> Any:
    """Return what get and pop give for a key that is not there."""
    nothing = (None,) * (bool(expire_time) + bool(tag))
    return (default, *nothing) if nothing else default


def _patiently(operation: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
    """Call an operation that cannot be told to retry until it has got its lock."""
    while True:
        try:
            return operation(*args, **kwargs)
        except Timeout:
            time.sleep(_PAUSE)  # the shard's own timeout may be 0


def _patient_keys(
    start: Callable[P, Iterator[Any]], *args: P.args, **kwargs: P.kwargs
) -> Generator[Any, None, None]:
    """Yield the keys of a shard's iterator, waiting for its lock where reading needs one."""
    keys = _patiently(start, *args, **kwargs)
    while True:
        try:
            yield from keys
            return
        except Timeout:  # the iterator is where it was
            time.sleep(_PAUSE)


def is_shard(name: str) -> bool:
    """Tell whether a directory below that of a FanoutCache is a shard by its name."""
    return re.fullmatch(_SHARD_NAME, name) is not None


def cache_directories(directory: str) -> Iterator[str]:
    """Yield the directories of all caches that a FanoutCache has on disk: shards, then parts.

    Also what is behind a gap in the numbers. Links in the parts are not followed.
    """
    for name in sorted(os.listdir(directory)):
        if is_shard(name) and op.isfile(op.join(directory, name, DBNAME)):
            yield op.join(directory, name)
    for kind in _PARTS:
        for path, directories, files in os.walk(op.join(directory, kind)):
            if DBNAME in files:
                yield path
            # A salvage has a database, too.
            directories[:] = sorted(name for name in directories if DBNAME not in name)


def _named_steps(
    name: str, progress: Callable[[str, int, int | None], object]
) -> Callable[[str, int, int | None], object]:
    """Return what is called as `progress` is, which gets a name before each step."""
    return lambda step, done, total: progress(f'{name} {step}', done, total)


class _Unopened:
    """Stands for a shard that is not open, so that lookups need not ask whether it is.

    It opens the shard as soon as anything is asked of it; the shard takes its place.
    """

    __slots__ = ('_cache', '_number')

    def __init__(self, cache: FanoutCache, number: int) -> None:
        object.__setattr__(self, '_cache', weakref.ref(cache))
        object.__setattr__(self, '_number', number)

    def _open(self) -> Cache[Any, Any]:
        cache: FanoutCache[Any, Any] | None = self._cache()
        if cache is None:
            raise ReferenceError('the FanoutCache of this shard is gone')
        return cache._open_shard(self._number)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._open(), name)

    def __setattr__(self, name: str, value: Any) -> None:
        setattr(self._open(), name, value)

    def __delattr__(self, name: str) -> None:
        delattr(self._open(), name)

    def __reduce_ex__(self, protocol: Any) -> Any:
        return self._open().__reduce_ex__(protocol)

    def __enter__(self) -> Cache:
        return self._open().__enter__()

    def __exit__(self, *exception: object) -> None:
        self._open().__exit__(*exception)

    def __getitem__(self, key: Any) -> Any:
        return self._open()[key]

    def __setitem__(self, key: Any, value: Any) -> None:
        self._open()[key] = value

    def __delitem__(self, key: Any) -> None:
        del self._open()[key]

    def __contains__(self, key: Any) -> bool:
        return key in self._open()

    def __len__(self) -> int:
        return len(self._open())

    def __iter__(self) -> Iterator[Any]:
        return iter(self._open())

    def __reversed__(self) -> Iterator[Any]:
        return self._open().__reversed__()


def _is_ready(directory: str) -> bool:
    """Tell whether there is a database in a directory, and this process can write to it."""
    database = op.join(directory, DBNAME)
    try:
        facts = os.stat(database)
    except OSError:
        return False
    is_there = stat.S_ISREG(facts.st_mode) and facts.st_size > 0
    return is_there and not is_unwritable(directory, DBNAME)


class FanoutCache(Shards, DictMethods[K, V]):
    """Disk-backed cache in shards: a :class:`Cache` for many writers.

    >>> cache = FanoutCache(shards=4)
    >>> cache.set('key', 'value')
    True
    >>> cache['key']
    'value'
    >>> cache.close()
    """

    if TYPE_CHECKING:  # what __getattr__ knows
        disk: Disk
        timeout: float
        statistics: int
        tag_index: int
        eviction_policy: str
        size_limit: float
        cull_limit: int
        sqlite_auto_vacuum: int
        sqlite_cache_size: int
        sqlite_journal_mode: str
        sqlite_mmap_size: int
        sqlite_synchronous: int
        disk_min_file_size: int
        disk_pickle_protocol: int | None

    @overload
    def __init__(
        self,
        directory: Path | None = None,
        shards: int = 8,
        timeout: float = 0.010,
        disk: type[Disk] = Disk,
        **settings: Unpack[Settings],
    ) -> None: ...

    @overload
    def __init__(
        self,
        directory: Path | None = None,
        shards: int = 8,
        timeout: float = 0.010,
        *,
        disk: type[Disk],
        **settings: Any,
    ) -> None: ...

    @overload
    def __init__(
        self,
        directory: Path | None,
        shards: int,
        timeout: float,
        disk: type[Disk],
        **settings: Any,
    ) -> None: ...

    def __init__(
        self,
        directory: Path | None = None,
        shards: int = 8,
        timeout: float = 0.010,
        disk: type[Disk] = Disk,
        **settings: Any,
    ) -> None:
        """Open a cache, making its directory, and all shards, if there are none.

        Of a directory that is there the first shard is opened. Another one is opened at once if
        there is something to make or to store in it, or it cannot be written, and otherwise when it
        is first needed: what opening a Cache raises may then be raised by an operation.

        :param directory: path; ``~`` and environment variables are expanded. None: a new temporary
            directory
        :param shards: number of shards. It is part of what is on disk: open a directory always with
            the number that it was made with
        :param timeout: seconds to wait for a shard's lock
        :param disk: subclass of :class:`Disk`, also for the named parts; for Disk itself what
            :func:`configure` has set
        :param settings: any of :data:`DEFAULT_SETTINGS`, for each shard; `size_limit`, in bytes, is
            that of the whole and divided among the shards. If it is not given the stored one
            holds. Not stored are `memory_limit`, also in bytes, which is divided likewise; `mode`,
            of each directory that has to be made; `read_only`, which holds for the named parts
            too, see :class:`Cache`; and `on_error`, what is done about damage (None: see
            :attr:`on_error`)
        :raises ValueError: if `shards` is not positive, and for what :class:`Cache` raises it
        :raises TypeError: if an argument is of the wrong type, or a setting is named like a method
        :raises OSError: if the directory cannot be made
        :raises Timeout: if another process keeps a shard locked for a minute
        """
        if disk is Disk:
            disk = default_disk()
        try:
            count = operator.index(shards)
        except TypeError:
            kind = type(shards).__name__
            raise TypeError(f'shards must be an int, not {kind!r}') from None
        if count < 1:
            raise ValueError(f'shards must be at least 1, not {count}')
        memory_limit = settings.pop('memory_limit', MEMORY_LIMIT)  # of all shards together
        mode = checked_mode(settings.pop('mode', None))
        self._mode = OWNER_ONLY if mode is None else mode
        self._read_only_asked = checked_read_only(settings.pop('read_only', False))
        on_error = settings.pop('on_error', None)
        rules.check(Cache, settings)
        size_limit = settings.get('size_limit')
        if size_limit is not None:
            if not isinstance(size_limit, int | float):
                kind = type(size_limit).__name__
                raise TypeError(f'size_limit must be a number of bytes, not {kind!r}')
            settings['size_limit'] = size_limit / count
        self._count = count
        with temporary_unless_given(directory, mode) as given:
            path = path_of(given)
            mismatch.check_for_cache(path)
            if not self._read_only_asked:
                default = DEFAULT_SETTINGS['sqlite_synchronous']
                lasting = is_lasting(settings.get('sqlite_synchronous', default))
                make_directory(path, self._mode, lasting)
            warn_of_others(path, mode_of(path), op.abspath(path))
            self._options = {
                **{'timeout': timeout, 'disk': disk, 'shards': count, 'on_error': on_error},
                **settings,
                **self._parameters(),
            }
            self._directory = path
            with cl.ExitStack() as on_failure:  # who keeps this object then keeps no descriptor
                self._open_shards_of(path, memory_limit // count, on_failure)
                on_failure.pop_all()
        self._disk = disk
        self._hash = self._numbered(0).disk.hash
        self._caches: dict[str, Cache] = {}
        self._deques: dict[str, Deque] = {}
        self._indexes: dict[str, Index] = {}

    def _open_shards_of(self, path: str, memory_limit: int, on_failure: cl.ExitStack) -> None:
        """Open the shards that must not wait."""

        def opened(number: int) -> _Shard:
            shard = _Shard(op.join(path, f'{number:03d}'), **self._options)
            on_failure.callback(shard.close)
            return shard

        found = mismatch.count_shards(path)
        first = opened(0)
        shards: list[Any] = [first]
        first.memory_limit = memory_limit
        self._options['memory_limit'] = first.memory_limit
        self._made: dict[int, Cache] = {0: first}
        made_with = None if first._origin is None else first._origin.shards
        may_wait = found == self._count and made_with in (None, self._count) and first._was_complete
        for number in range(1, self._count):
            waits = may_wait and _is_ready(op.join(path, f'{number:03d}'))
            shards.append(_Unopened(self, number) if waits else opened(number))
        self._shards = tuple(shards)
        if not may_wait:
            mismatch.check_shards(path, found, self._all_shards())

    @property
    def directory(self) -> str:
        """Directory of the cache."""
        return self._directory

    @property
    def read_only(self) -> bool:
        """Whether nothing is written: that was asked for, or the directory cannot be written."""
        # One that is not open could be written when this was opened.
        return any(shard.read_only for shard in self._open_shards())

    def _parameters(self) -> dict[str, Any]:
        """Return what shards and parts are opened with beside settings."""
        return {'mode': self._mode, 'read_only': self._read_only_asked}

    @property
    def memory_limit(self) -> int:
        """Bytes that this object may keep in memory of what it has read; 0: nothing.

        Each shard has an equal part of it.
        """
        return sum(shard.memory_limit for shard in self._all_shards())

    @memory_limit.setter
    def memory_limit(self, limit: int) -> None:
        for shard in self._all_shards():
            shard.memory_limit = limit // self._count

    @memory_limit.deleter
    def memory_limit(self) -> None:
        """Set what it was before, as for a Cache, so that it can be patched for a while."""
        for shard in self._all_shards():
            del shard.memory_limit

    @property
    def on_error(self) -> str | None:
        """What is done about what cannot be loaded, and about a malformed database.

        ``'raise'``, ``'miss'`` and ``'reset'`` are those of :class:`Cache`. None, the default, is
        ``'miss'`` for :meth:`get`, :meth:`get_many` and the views, and ``'raise'`` for the rest. It
        holds for this object, and for the named parts opened from it, for which None is
        ``'raise'``.
        """
        return self._numbered(0).on_error

    @on_error.setter
    def on_error(self, what: str | None) -> None:
        for shard in self._all_shards():
            shard.on_error = what

    def memory_stats(self) -> MemoryStats:
        """Return what this object has done since it was made; see :meth:`Cache.memory_stats`.

        :return: dict with the same keys, of sums over the shards
        """
        total: Any = collections.Counter()
        for shard in self._open_shards():
            total.update(shard.memory_stats())
        return cast('MemoryStats', dict(total))

    if not TYPE_CHECKING:  # they would let any attribute pass

        def __getattr__(self, name: str) -> Any:
            """Return a setting, the timeout or the disk, which are those of the first shard."""
            if name in DEFAULT_SETTINGS or name in _SHARD_ATTRIBUTES:
                return getattr(self._numbered(0), name)
            raise AttributeError(f'{type(self).__name__!r} object has no attribute {name!r}')

    def _open_shards(self) -> list[Cache]:
        """Return those that are open."""
        return [shard for shard in self._shards if not isinstance(shard, _Unopened)]

    def _all_shards(self) -> tuple[Cache, ...]:
        """Return all of them, open."""
        for shard in self._shards:
            if isinstance(shard, _Unopened):
                shard._open()
        return self._shards

    def _numbered(self, number: int) -> Cache:
        """Return a shard by its number; it is opened if it is not open."""
        shard = self._shards[number]
        return shard._open() if isinstance(shard, _Unopened) else shard

    def _open_shard(self, number: int) -> Cache:
        """Open a shard that nothing has been asked of until now."""
        place = op.join(self._place(), f'{number:03d}')
        made = _Shard(place, **self._options, is_late=True)
        shard = self._made.setdefault(number, made)
        if shard is not made:  # another thread was faster
            made.close()
        replaced = False
        while not replaced:
            former = self._shards
            shards = (*former[:number], shard, *former[number + 1 :])
            replaced = self._replace_shards(former, shards)
        return shard

    def _place(self) -> str:
        """Return the directory: as it was given, where that is still the same."""
        is_here = op.abspath(self._directory) == op.normpath(self._path)
        return self._directory if is_here else self._path

    def _shard(self, key: Any) -> Cache:
        """Return the shard that a key belongs to."""
        return self._numbered(self._hash(key) % self._count)

    def _in_time(self, otherwise: R, name: str, key: Any, *args: Any) -> R:
        """Return what a method of a key's shard does; something else without its lock in time."""
        try:
            return getattr(self._shard(key), name)(key, *args)  # type: ignore[no-any-return]
        except Timeout as timeout:
            log_info('lock', self._directory, '%s is given up: %s', name, timeout)
            return otherwise

    def _by_shard(self, keys: Sequence[Any]) -> dict[int, list[int]]:
        """Return for each shard that has some of the keys, by its number, their positions."""
        positions: dict[int, list[int]] = {}
        for position, key in enumerate(keys):
            positions.setdefault(self._hash(key) % self._count, []).append(position)
        return positions

    def _is_miss(self, error: Exception) -> bool:
        """Tell whether a lookup that fails like this is answered as if the key were missing.

        That a database is malformed comes here only from opening a shard.
        """
        if isinstance(error, Timeout | sqlite3.OperationalError):
            return True
        return self.on_error != 'raise' and removal.is_malformed(error)

    @cl.contextmanager
    def transact(self, retry: bool = True) -> Iterator[None]:
        """Lock all shards for a block of operations.

        Nobody else can write meanwhile, and nobody sees a part of what is written in a shard. Every
        shard commits at the end of the block, one after the other; an exception rolls all back.
        Transactions nest. Keep them short.

        :param retry: wait for the locks as long as it takes
        :return: context manager
        :raises Timeout: if `retry` is false and a lock cannot be had within the timeout
        """
        with cl.ExitStack() as stack:
            for shard in self._all_shards():  # in this order, so that two cannot wait crosswise
                stack.enter_context(shard.transact(retry))
            yield

    @hint_at_expire
    def set(
        self,
        key: K,
        value: V | Readable,
        expire: float | None = None,
        read: bool = False,
        tag: Tag = None,
        retry: bool = False,
    ) -> bool:
        """Store a value.

        :param key: any picklable object
        :param value: any picklable object, or a file if `read` is true
        :param expire: seconds until it expires (None: never)
        :param read: `value` is a file opened for reading in binary mode
        :param tag: int, float, str or bytes to find the item by, see :meth:`evict`
        :param retry: wait for the lock as long as it takes
        :return: whether it was stored: not if the lock could not be had within the timeout, or if
            it is larger than a shard may be
        :raises TypeError: and whatever else pickling, or a wrong argument, raises
        """
        return self._in_time(False, 'set', key, value, expire, read, tag, retry)

    def __setitem__(self, key: K, value: V) -> None:
        """Store a value, waiting for the lock as long as it takes."""
        self._shard(key)[key] = value

    @hint_at_expire
    def touch(self, key: K, expire: float | None = None, retry: bool = False) -> bool:
        """Set when an item expires.

        :param key: key of the item
        :param expire: seconds from now (None: never)
        :param retry: wait for the lock as long as it takes
        :return: whether the key was found, and the lock had within the timeout
        """
        return self._in_time(False, 'touch', key, expire, retry)

    @hint_at_expire
    def add(
        self,
        key: K,
        value: V | Readable,
        expire: float | None = None,
        read: bool = False,
        tag: Tag = None,
        retry: bool = False,
    ) -> bool:
        """Store a value if the key has none. Of several who try at once, one succeeds.

        The parameters are those of :meth:`set`.

        :return: whether it was stored
        :raises TypeError: and whatever else pickling, or a wrong argument, raises
        """
        return self._in_time(False, 'add', key, value, expire, read, tag, retry)

    def incr(
        self, key: K, delta: float = 1, default: float | None = 0, retry: bool = False
    ) -> V | None:
        """Add to a number, atomically.

        :param key: key of the item
        :param delta: what to add
        :param default: value of a missing key before (None: a missing key is an error)
        :param retry: wait for the lock as long as it takes
        :return: the new value; None if the lock could not be had within the timeout
        :raises KeyError: if the key is missing and `default` is None
        :raises TypeError: if the value is no number
        :raises OverflowError: if the result does not fit 64 bits
        """
        return self._in_time(None, 'incr', key, delta, default, retry)

    def decr(
        self, key: K, delta: float = 1, default: float | None = 0, retry: bool = False
    ) -> V | None:
        """Subtract from a number, atomically. It may become negative.

        Parameters, result and errors are those of :meth:`incr`.
        """
        return self._in_time(None, 'decr', key, delta, default, retry)

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
        """Replace a value by what a function makes of it, atomically; see :meth:`Cache.modify`.

        Only the key's shard is locked.

        :raises Timeout: if the lock cannot be had within the timeout and `retry` is false: the
            result could not tell it
        """
        return self._shard(key).modify(key, func, default, expire, tag, retry)

    if TYPE_CHECKING:  # they are those of Shards, in C

        @overload
        def get(
            self,
            key: K,
            default: D = ...,
            read: Literal[False] = False,
            expire_time: Literal[False] = False,
            tag: Literal[False] = False,
            retry: bool = False,
        ) -> V | D: ...

        @overload
        def get(
            self,
            key: K,
            default: D = ...,
            read: Literal[False] = False,
            *,
            expire_time: Literal[True],
            tag: Literal[False] = False,
            retry: bool = False,
        ) -> tuple[V | D, float | None]: ...

        @overload
        def get(
            self,
            key: K,
            default: D = ...,
            read: Literal[False] = False,
            expire_time: Literal[False] = False,
            *,
            tag: Literal[True],
            retry: bool = False,
        ) -> tuple[V | D, Tag]: ...

        @overload
        def get(
            self,
            key: K,
            default: D = ...,
            read: Literal[False] = False,
            *,
            expire_time: Literal[True],
            tag: Literal[True],
            retry: bool = False,
        ) -> tuple[V | D, float | None, Tag]: ...

        @overload
        def get(
            self,
            key: K,
            default: Any = None,
            read: bool = False,
            expire_time: bool = False,
            tag: bool = False,
            retry: bool = False,
        ) -> Any: ...

        def get(self, key: K, *args: Any, **kwargs: Any) -> Any: ...

        def __getitem__(self, key: K, /) -> V: ...

        def __contains__(self, key: object, /) -> bool: ...

    def _lookup_failed(self, error: Exception, default: Any, expire_time: bool, tag: bool) -> Any:
        """Return what get gives after an error, if that counts as a miss; else raise it."""
        if not self._is_miss(error):
            raise error
        log_failure(self._directory, error)
        return _absent(default, expire_time, tag)

    @overload
    def read(self, key: K, *, mmap: Literal[True]) -> memoryview: ...

    @overload
    def read(self, key: K, *, mmap: Literal[False] = False) -> BinaryIO: ...

    def read(self, key: K, *, mmap: bool = False) -> BinaryIO | memoryview:
        """Return a value as a file opened for reading, waiting for the lock as long as it takes.

        :param key: key of the item
        :param mmap: return a memoryview of the bytes, as :meth:`Cache.read` does
        :return: file in binary mode, to be closed; the value itself, bytes for instance, if it is
            kept in the database, as one below `disk_min_file_size` is that was not stored from a
            file. With ``mmap=True`` a read-only memoryview in all cases
        :raises KeyError: if the key is missing
        :raises TypeError: if `mmap` is true and the value is not bytes
        """
        shard = self._shard(key)
        if mmap:
            return shard.read(key, retry=True, mmap=True)
        return shard.read(key, retry=True)  # type: ignore[no-any-return]

    def _contains_patiently(self, shard: Cache, key: Any) -> bool:
        """Tell whether a shard has a key, waiting for its lock as long as it takes."""
        return _patiently(shard.__contains__, key)

    @overload
    def pop(
        self,
        key: K,
        default: D = ...,
        expire_time: Literal[False] = False,
        tag: Literal[False] = False,
        retry: bool = False,
    ) -> V | D: ...

    @overload
    def pop(
        self,
        key: K,
        default: D = ...,
        *,
        expire_time: Literal[True],
        tag: Literal[False] = False,
        retry: bool = False,
    ) -> tuple[V | D, float | None]: ...

    @overload
    def pop(
        self,
        key: K,
        default: D = ...,
        expire_time: Literal[False] = False,
        *,
        tag: Literal[True],
        retry: bool = False,
    ) -> tuple[V | D, Tag]: ...

    @overload
    def pop(
        self,
        key: K,
        default: D = ...,
        *,
        expire_time: Literal[True],
        tag: Literal[True],
        retry: bool = False,
    ) -> tuple[V | D, float | None, Tag]: ...

    @overload
    def pop(
        self,
        key: K,
        default: Any = None,
        expire_time: bool = False,
        tag: bool = False,
        retry: bool = False,
    ) -> Any: ...

    def pop(
        self,
        key: K,
        default: Any = None,
        expire_time: bool = False,
        tag: bool = False,
        retry: bool = False,
    ) -> Any:
        """Remove an item and return its value, atomically.

        The parameters and the result are those of :meth:`get`.
        """
        absent = _absent(default, expire_time, tag)
        return self._in_time(absent, 'pop', key, default, expire_time, tag, retry)

    def delete(self, key: K, retry: bool = False) -> bool:
        """Remove an item.

        :param key: key of the item
        :param retry: wait for the lock as long as it takes
        :return: whether it was there and is removed: not if the lock could not be had in time
        """
        return self._in_time(False, 'delete', key, retry)

    def __delitem__(self, key: K) -> None:
        """Remove an item, waiting for the lock as long as it takes; KeyError if it is missing."""
        del self._shard(key)[key]

    @hint_at_expire
    def set_many(
        self,
        items: Items[K, V],
        expire: float | None = None,
        tag: Tag = None,
        retry: bool = False,
    ) -> int:
        """Store values, those of a shard in one transaction.

        Items are taken 1,024 at a time, or 4 MiB of them. What is stored when an error occurs
        stays.

        :param items: the values by their keys, or an iterable of pairs (key, value), such as a
            generator, which may use the cache
        :param expire: seconds until each expires, from when it was taken (None: never)
        :param tag: int, float, str or bytes to find the items by, see :meth:`evict`
        :param retry: wait for the locks as long as it takes
        :return: number of items stored: not those of a shard whose lock could not be had within the
            timeout, nor those larger than a shard may be
        :raises TypeError: if an argument, or an item, is of the wrong type
        :raises ValueError: if an item is not of length two
        """
        if type(self).set is not FanoutCache.set:
            set_one = ft.partial(self.set, expire=expire, tag=tag, retry=retry)
            return sum(bool(set_one(key, value)) for key, value in checked_pairs(items))
        return self._store_all(items, expire, tag, retry, add=False)

    @hint_at_expire
    def add_many(
        self,
        items: Items[K, V],
        expire: float | None = None,
        tag: Tag = None,
        retry: bool = False,
    ) -> int:
        """Store values under those of the keys that have none, those of a shard in one transaction.

        The parameters and errors are those of :meth:`set_many`. Of a key that comes twice the first
        value is stored.

        :return: number of items stored
        """
        if type(self).add is not FanoutCache.add:
            add_one = ft.partial(self.add, expire=expire, tag=tag, retry=retry)
            return sum(bool(add_one(key, value)) for key, value in checked_pairs(items))
        return self._store_all(items, expire, tag, retry, add=True)

    def _store_all(self, items: Any, expire: float | None, tag: Any, retry: bool, add: bool) -> int:
        """Do the work of set_many and add_many, in batches."""
        stored = 0
        for batch in batches(checked_pairs(items), size_of_pair):
            stored += len(batch) - len(self._store_many(batch, expire, tag, retry, add))
        return stored

    def _store_many(
        self,
        pairs: Sequence[tuple[Any, Any]],
        expire: float | None,
        tag: Any,
        retry: bool,
        add: bool,
    ) -> list[int]:
        """Store items, those of a shard in one transaction if it is no more than a batch.

        :param add: store only what is absent
        :return: the positions of the items that were not stored
        """
        refused: list[int] = []
        for number, positions in self._by_shard([key for key, _ in pairs]).items():
            own = [pairs[position] for position in positions]
            missed = self._numbered(number)._store_many(own, expire, tag, retry, add)
            refused += (positions[position] for position in missed)
        return refused

    def get_many(self, keys: Iterable[K], *, retry: bool = False) -> dict[K, V]:
        """Return the values of keys, those of a shard read at one moment.

        :param keys: the keys, which must be hashable; they are taken 1,024 at a time. Those that
            are equal to Python, such as 1 and True, are one key of the result
        :param retry: wait for the locks as long as it takes
        :return: the values by their keys, without what is missing, or in a shard whose lock could
            not be had within the timeout, or whose database not be read, see :meth:`get`
        :raises TypeError: if `keys` is not iterable, or one of them cannot be hashed
        """
        overridden = type(self).get is not FanoutCache.get
        found: dict[Any, Any] = {}
        for batch in batches(hashable_keys(keys), lambda key: 0):
            if overridden:
                values = [self.get(key, default=ENOVAL, retry=retry) for key in batch]
            else:
                values = self._get_values(batch, retry)
            pairs = zip(batch, values, strict=True)
            found.update((key, value) for key, value in pairs if value is not ENOVAL)
        return found

    @hint_at_expire
    def touch_many(
        self, keys: Iterable[K], expire: float | None = None, retry: bool = False
    ) -> int:
        """Set when items expire, those of a shard in one transaction.

        :param keys: keys of the items, taken 1,024 at a time; missing ones are ignored
        :param expire: seconds from now (None: never)
        :param retry: wait for the locks as long as it takes
        :return: number of keys found; those of a shard whose lock is not to be had in time are not
        :raises TypeError: if `keys` is not iterable, or `expire` not a number
        """
        iterator = iter_of(keys, 'keys', 'an iterable of keys')
        if type(self).touch is not FanoutCache.touch:
            return sum(bool(self.touch(key, expire=expire, retry=retry)) for key in iterator)
        found = 0
        for batch in batches(iterator, lambda key: 0):
            found += len(batch) - len(self._touch_many(batch, expire, retry))
        return found

    def _touch_many(self, keys: Sequence[Any], expire: float | None, retry: bool) -> list[int]:
        """Touch items, those of a shard in one transaction if it is no more than a batch.

        :return: the positions of the keys that were not found
        """
        missing: list[int] = []
        for number, positions in self._by_shard(keys).items():
            own = [keys[position] for position in positions]
            missed = self._numbered(number)._touch_many(own, expire, retry)
            missing += (positions[position] for position in missed)
        return missing

    def delete_many(self, keys: Iterable[K], *, retry: bool = False) -> int:
        """Remove items, those of a shard in one transaction.

        :param keys: keys of the items, taken 1,024 at a time; missing ones are ignored
        :param retry: wait for the locks as long as it takes
        :return: number of items removed; those of a shard whose lock is not to be had in time stay
        :raises TypeError: if `keys` is not iterable
        """
        iterator = iter_of(keys, 'keys', 'an iterable of keys')
        if type(self).delete is not FanoutCache.delete:
            return sum(bool(self.delete(key, retry=retry)) for key in iterator)
        removed = 0
        for batch in batches(iterator, lambda key: 0):
            for number, positions in self._by_shard(batch).items():
                shard = self._numbered(number)
                try:
                    removed += shard.delete_many([batch[i] for i in positions], retry=retry)
                except Timeout as timeout:
                    removed += timeout.args[0]
        return removed

    def check(
        self,
        fix: bool = False,
        retry: bool = False,
        *,
        progress: Callable[[str, int, int | None], object] | None = None,
    ) -> list[warnings.WarningMessage]:
        """Check the databases and the value files of all shards, see :meth:`Cache.check`.

        :param fix: whether to mend what is found
        :param retry: wait for the locks as long as it takes
        :param progress: called with each step of each shard, '000 rows' for instance, how many rows
            or files are done, and of how many, or None where that is not known
        :return: the problems found, as recorded warnings
        :raises Timeout: if a lock is needed, and cannot be had within the timeout, and `retry` is
            false: an unchecked shard must not look like a good one
        """
        found = []
        for number, shard in enumerate(self._all_shards()):
            if progress is None:
                found += shard.check(fix, retry)
            else:
                found += shard.check(fix, retry, progress=_named_steps(f'{number:03d}', progress))
        return found

    def compact(self, retry: bool = False) -> int:
        """Give back to the disk what the shards do not need, one by one; see :meth:`Cache.compact`.

        :param retry: wait for the locks as long as it takes
        :return: bytes given back
        :raises Timeout: if a lock cannot be had within the timeout and `retry` is false; the shards
            before are compact then
        :raises sqlite3.OperationalError: inside a transaction, or if the disk is full
        """
        return sum(shard.compact(retry) for shard in self._all_shards())

    def expire(self, retry: bool = False) -> int:
        """Remove the items that have expired.

        :param retry: wait for the locks as long as it takes
        :return: number of items removed; a shard whose lock is not to be had in time keeps the rest
        """
        return self._remove('expire', (time.time(),), retry)

    def create_tag_index(self) -> None:
        """Create an index on tags, which makes :meth:`evict` fast; it stays until dropped."""
        for shard in self._all_shards():
            _patiently(shard.create_tag_index)

    def drop_tag_index(self) -> None:
        """Drop the index on tags."""
        for shard in self._all_shards():
            _patiently(shard.drop_tag_index)

    def evict(self, tag: Tag, retry: bool = False) -> int:
        """Remove the items with a tag.

        :param tag: the tag
        :param retry: wait for the locks as long as it takes
        :return: number of items removed; a shard whose lock is not to be had in time keeps the rest
        """
        return self._remove('evict', (tag,), retry)

    def cull(self, retry: bool = False) -> int:
        """Remove items, as the eviction policy says, until no shard is over its size limit.

        :param retry: wait for the locks as long as it takes
        :return: number of items removed; a shard whose lock is not to be had in time keeps the rest
        """
        return self._remove('cull', (), retry)

    def clear(self, retry: bool = False) -> int:
        """Remove all items.

        :param retry: wait for the locks as long as it takes
        :return: number of items removed; a shard whose lock is not to be had in time keeps the rest
        """
        return self._remove('clear', (), retry)

    def _remove(self, name: str, args: tuple[Any, ...] = (), retry: bool = False) -> int:
        """Call a method that removes items on each shard; return how many were removed."""
        total = 0
        for shard in self._all_shards():
            try:
                total += getattr(shard, name)(*args, retry=retry)
            except Timeout as timeout:
                log_info('lock', shard._path, '%s is given up: %s', name, timeout)
                total += timeout.args[0]
        return total

    def stats(self, enable: bool = True, reset: bool = False) -> tuple[int, int]:
        """Return how often lookups found their key, and how often not.

        :param enable: whether to count from now on
        :param reset: whether to set the counts to zero
        :return: (hits, misses)
        """
        hits = misses = 0
        for shard in self._all_shards():
            with shard.transact(retry=True):
                shard_hits, shard_misses = shard.stats(enable, reset)
            hits += shard_hits
            misses += shard_misses
        return hits, misses

    def volume(self) -> int:
        """Return how many bytes the shards take on disk."""
        return sum(_patiently(shard.volume) for shard in self._all_shards())

    def close(self) -> None:
        """Close all connections, those of the named parts too; the next operation opens again."""
        for cache in (
            *self._open_shards(),
            *list(self._caches.values()),  # lists, as other threads may add to them
            *(deque.cache for deque in list(self._deques.values())),
            *(index.cache for index in list(self._indexes.values())),
        ):
            cache.close()
        self._caches.clear()
        self._deques.clear()
        self._indexes.clear()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: Any) -> None:
        self.close()

    def __repr__(self) -> str:
        return f'{type(self).__name__}({self.__dict__.get("_directory")!r})'

    def _repr_html_(self) -> str | None:
        """Return what a notebook shows: a table, of what stands in the databases."""
        if '_directory' not in self.__dict__:
            return None
        from .notebooks import table_of  # which nothing else needs

        read_only = self._numbered(0)._read_only
        shards = [
            (op.join(self._path, f'{number:03d}'), read_only) for number in range(self._count)
        ]
        return table_of(self, self._directory, shards, shards=self._count)

    def _ipython_key_completions_(self) -> list[Any]:
        """Return keys that a notebook offers behind a bracket: some, and no pickled ones."""
        from .notebooks import keys_of

        is_there = op.exists(op.join(self._path, '000', DBNAME))  # or opening would make it
        return keys_of(self._all_shards() if is_there else self._open_shards())

    def __getstate__(self) -> tuple[Any, ...]:
        # The last is only there if it says something: the original does not know it.
        last = () if self.on_error is None else (self.on_error,)
        return (self._path, self._count, self.timeout, type(self.disk), *last)

    @property
    def _path(self) -> str:
        """The directory as an absolute path."""
        return op.dirname(self._numbered(0)._path)

    def __reduce_ex__(self, protocol: Any) -> Any:
        """Pickle as the original does, unless it could not open it like this."""
        if self._read_only_asked:
            return ft.partial(type(self), read_only=True), self.__getstate__()
        return super().__reduce_ex__(protocol)

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        settings = {'on_error': state[4]} if len(state) > 4 else {}
        self.__init__(*state[:4], **settings)  # type: ignore[misc]

    def __iter__(self) -> Iterator[K]:
        """Iterate over the keys, shard after shard, expired ones included."""
        return it.chain.from_iterable(_patient_keys(iter, shard) for shard in self._all_shards())

    def __reversed__(self) -> Iterator[K]:
        """Iterate over the keys in the opposite order."""
        return it.chain.from_iterable(
            _patient_keys(reversed, shard) for shard in reversed(self._all_shards())
        )

    def _names(self, reverse: bool) -> Names | None:
        """Return what views go by, shard after shard; None if a subclass decides that."""
        if not has_all_of(type(self), FanoutCache):
            return None
        return (
            (shard, _patient_keys(shard._naming_keys, reverse))
            for shard in (reversed(self._all_shards()) if reverse else self._all_shards())
        )

    def __len__(self) -> int:
        """Return the number of items, expired ones included."""
        return sum(_patiently(len, shard) for shard in self._all_shards())

    def reset(self, key: str, value: Any = ENOVAL) -> Any:
        """Load a setting again, or change it, in every shard; see :meth:`Cache.reset`.

        Each shard gets the value as it is: a `size_limit` is that of one shard here.

        :param key: name of the setting
        :param value: new value; without it the stored one is loaded
        :return: the value
        :raises ValueError: if there is no such setting, or the value is impossible
        :raises TypeError: if the key is the name of a method, or the value of the wrong type
        """
        return [_patiently(shard.reset, key, value) for shard in self._all_shards()][-1]

    def _get_values(self, keys: Sequence[Any], retry: bool = False) -> list[Any]:
        """Return the values of keys, ENOVAL for what is missing; each shard's are of one moment.

        :param keys: the keys
        :param retry: wait for the locks as long as it takes
        :return: values in the order of the keys
        """
        values: list[Any] = [ENOVAL] * len(keys)
        for number, positions in self._by_shard(keys).items():
            own = [keys[position] for position in positions]
            try:
                found = self._numbered(number)._get_values(own, retry)
            except (Timeout, sqlite3.DatabaseError) as error:
                if not self._is_miss(error):
                    raise
                log_failure(self._directory, error)
                continue
            for position, value in zip(positions, found, strict=True):
                values[position] = value
        return values

    def _part(self, kind: str, name: str, timeout: float, disk: Any, settings: Any) -> Cache:
        """Open the Cache of a named part, below the directory `kind`."""
        if not isinstance(name, str):
            raise TypeError(f'name must be a str, not {type(name).__name__!r}')
        parts = name.split('/')
        if op.pardir in parts:
            raise ValueError(f'name {name!r} leads out of the directory of the cache')
        if op.expandvars(name) != name:
            raise ValueError(f'name {name!r} has an environment variable in it')
        directory = self._place()
        for part in (kind, *parts[:-1]):
            directory = op.join(directory, part)
            if not self.read_only:
                lasting = is_lasting(settings.get('sqlite_synchronous'))
                make_directory(directory, self._mode, lasting)
        settings = {**self._parameters(), **settings}
        if self.on_error is not None:
            settings.setdefault('on_error', self.on_error)
        return Cache(op.join(directory, parts[-1]), timeout, disk, **settings)

    @overload
    def cache(
        self,
        name: str,
        timeout: float = 60,
        disk: None = None,
        **settings: Unpack[Settings],
    ) -> Cache[Any, Any]: ...

    @overload
    def cache(
        self, name: str, timeout: float = 60, *, disk: type[Disk], **settings: Any
    ) -> Cache[Any, Any]: ...

    @overload
    def cache(
        self, name: str, timeout: float, disk: type[Disk], **settings: Any
    ) -> Cache[Any, Any]: ...

    def cache(
        self, name: str, timeout: float = 60, disk: type[Disk] | None = None, **settings: Any
    ) -> Cache[Any, Any]:
        """Return the Cache of a name, which is in a directory below this one.

        The same object is returned for a name until :meth:`close`: only the first call's arguments
        count.

        :param name: its name; ``/`` makes sub-directories
        :param timeout: seconds to wait for a lock
        :param disk: subclass of :class:`Disk` (None: that of this cache)
        :param settings: any of :data:`DEFAULT_SETTINGS`
        :return: the Cache
        :raises ValueError: if the name leads out of the directory, or has an environment variable
            in it; and what :class:`Cache` raises
        """
        found = self._caches.get(name)  # which another thread may be closing
        if found is not None:
            return found
        cache = self._part('cache', name, timeout, self._disk if disk is None else disk, settings)
        return self._caches.setdefault(name, cache)

    def deque(self, name: str, maxlen: float | None = None) -> Deque[Any]:
        """Return the Deque of a name, which is in a directory below this one.

        The same object is returned for a name until :meth:`close`: only the first call's arguments
        count.

        :param name: its name; ``/`` makes sub-directories
        :param maxlen: the most items it may have (None: no limit)
        :return: the Deque
        :raises ValueError: if the name leads out of the directory, or `maxlen` is negative
        """
        checked_maxlen(maxlen)
        found = self._deques.get(name)  # which another thread may be closing
        if found is not None:
            return found
        cache = self._part('deque', name, 60, self._disk, {'eviction_policy': 'none'})
        return self._deques.setdefault(name, Deque.fromcache(cache, maxlen=maxlen))

    def index(self, name: str) -> Index[Any, Any]:
        """Return the Index of a name, which is in a directory below this one.

        The same object is returned for a name until :meth:`close`.

        :param name: its name; ``/`` makes sub-directories
        :return: the Index
        :raises ValueError: if the name leads out of the directory
        """
        found = self._indexes.get(name)  # which another thread may be closing
        if found is not None:
            return found
        cache = self._part('index', name, 60, self._disk, {'eviction_policy': 'none'})
        return self._indexes.setdefault(name, Index.fromcache(cache))

    if TYPE_CHECKING:

        def memoize(
            self,
            name: str | None = None,
            typed: bool = False,
            expire: float | None = None,
            tag: Tag = None,
            ignore: Iterable[int | str] = (),
            *,
            signature: bool = False,
            cache_if: Callable[[Any], object] | None = None,
        ) -> Callable[[Callable[P, R]], Memoized[P, R]]: ...
    else:
        memoize = Cache.memoize
