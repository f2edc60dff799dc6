"""The native core: see the C sources in src/."""

import sqlite3
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager
from types import GenericAlias, TracebackType
from typing import Any, BinaryIO, Generic, Literal, NoReturn, final, overload

from typing_extensions import Self

from .cache import Transaction as _PublicTransaction
from .disk import Disk as _PublicDisk
from .disk import StoredKey as _StoredKey
from .typing import D as _D
from .typing import Items as _Items
from .typing import K as _K
from .typing import MemoryStats as _MemoryStats
from .typing import N as _N
from .typing import Readable as _Readable
from .typing import Side as _Side
from .typing import Tag as _Tag
from .typing import V as _V

SCHEMA: tuple[tuple[str, str], ...]
#: By policy: its index, the statement that makes it, `get` and `cull` of EVICTION_POLICY.
POLICIES: dict[str, tuple[str | None, str | None, str | None, str | None]]
READING_NOTE: str
TAG_INDEX_NAME: str
TAG_INDEX_CREATE: str
TAG_INDEX_DROP: str
sqlite_version: str
version: str

# What is said in C (src/base/format.h, limits.h, record.h).
MODE_NONE: int
MODE_RAW: int
MODE_BINARY: int
MODE_TEXT: int
MODE_PICKLE: int
SURVEY_ODD: int
SURVEY_PICKLED_KEYS: int
SURVEY_PICKLES: int
SURVEY_FILES: int
MODE_SIGNED: int
DATABASE_NAME: str
VALUE_FILE_DIGITS: int
VALUE_FILE_SUFFIX: str
TEMPORARY_FILE_SUFFIX: str
QUEUE_LOWEST: int
QUEUE_HIGHEST: int
QUEUE_ORIGIN: int
QUEUE_DIGITS: int
MEMORY_LIMIT: int
BATCH_ITEMS: int
BATCH_BYTES: int
CREATE_ATTEMPTS: int
READ_BLOCK: int

class Timeout(Exception):
    """A lock could not be had within the cache's timeout.

    Raised by bulk deletions it carries the number of items removed until then.
    """

    message: str

class Disk:
    """The native part of diskcache.Disk."""

    _directory: str
    _directory_mode: int
    _may_map: bool
    min_file_size: int
    pickle_protocol: int | None
    def put(self, key: Any) -> tuple[Any, bool]:
        """Convert a key to the form it has in the database.

        :param key: any picklable object; str, bytes, float and int of 64 bits are kept as they are
        :return: (database key, raw): raw is False if the key was pickled
        :raises ValueError: for NaN, and a str that UTF-8 cannot encode
        :raises pickle.PicklingError: and whatever else pickling the key raises
        """
    def get(self, key: Any, raw: bool) -> Any:
        """Convert a database key back.

        :param key: as put() returned it, or as the database did
        :param bool raw: False if the key is a pickle
        :return: the key
        :raises pickle.UnpicklingError: and whatever else unpickling raises
        """
    def store(self, value: Any, read: bool, key: Any = None) -> tuple[int, int, str | None, Any]:
        """Convert a value to the columns that keep it, writing its file if it is large."""
    def fetch(self, mode: int, filename: str | None, value: Any, read: bool) -> Any:
        """Convert the columns of a row back to the value.

        :param int mode: how the value is stored (the MODE_* constants)
        :param str filename: of the value file, relative to the directory, or None
        :param value: inline value, or None
        :param bool read: return an open file, in binary mode, for a value kept in a binary file
        :return: the value
        :raises OSError: if the file cannot be read
        :raises pickle.UnpicklingError: and whatever else unpickling raises
        """
    def filename(self, key: Any = None, value: Any = None) -> tuple[str, str]:
        """Return a new random name for a value file."""
    def remove(self, file_path: str) -> None:
        """Remove a value file, and the directories that are empty without it.

        A file that cannot be removed is left to check(); no error is raised.

        :param str file_path: relative to the directory
        """
    def hash(self, key: Any) -> int:
        """Compute a hash of a key that is the same in every process.

        :param key: any key
        :return: int below 2**32: Adler-32 of the database key, or an int modulo 2**32 - 1
        :raises ValueError: and what else put() raises
        """
    def _to_pickle(self, object: Any) -> bytes: ...
    def _from_pickle(self, pickled: Any) -> Any: ...
    def _encode(self, value: Any) -> tuple[int, Any, bool]: ...
    @staticmethod
    def _is_inside(filename: str, /) -> bool: ...
    def _local_name(self, filename: str) -> str: ...
    def _create_file(self, filename: str) -> int: ...
    def _open_file(self, filename: str) -> BinaryIO | None: ...
    def _hooked(self) -> bool: ...

@final
class CacheKey:
    """Makes the cache key of the arguments it is called with."""
    def __new__(
        cls, base: tuple[Any, ...], typed: bool, ignore: Iterable[int | str]
    ) -> CacheKey: ...
    def __call__(self, *args: Any, **kwargs: Any) -> tuple[Any, ...]: ...

class Heard:
    """What a process has heard of writes elsewhere. Keys are bytes, in 131,072 buckets by their
    hashes, each with the time when one of them was heard of.

    :param clock: returns the time in seconds; it never goes back
    :param float pause: the feed is read again after so many seconds
    """

    #: What was read until then does not hold, seconds.
    floor: float
    #: Nothing holds from then on, seconds.
    lease: float
    #: All until then has been heard, seconds.
    drained: float
    #: The feed is read again after so many seconds.
    pause: float

    def __init__(self, clock: Callable[[], float], pause: float) -> None: ...
    def hear(self, name: bytes, /) -> None:
        """Note that a key has been written."""
    def hear_all(self) -> None:
        """Note that any key may have been written."""
    def left(self, name: bytes, times: object, /) -> float:
        """Return for how long what was read may be used, if it may be now.

        If the feed has not been read for the pause, self.drain(False) does that first, and tells
        whether all that has arrived is known.

        :param bytes name: of the key
        :param times: t0, the time just before the read was sent, and the time of the expiry
            (infinite: none), as two big-endian doubles; anything else does not hold
        :return: seconds until it expires; 0.0 if it does not hold
        """

def args_to_key(
    base: tuple[Any, ...],
    args: Iterable[Any],
    kwargs: Mapping[str, Any] | None,
    typed: bool,
    ignore: Iterable[int | str],
) -> tuple[Any, ...]:
    """Make the cache key of a function call.

    The same as the original's for the same call, so that stored results are found again.

    :param tuple base: what the key begins with
    :param args: iterable of the positional arguments
    :param kwargs: mapping of the keyword arguments, or None
    :param bool typed: whether arguments of different types are different
    :param ignore: iterable of positions and names of arguments that do not count
    :return: tuple: base, the positional arguments, None, the keyword arguments in the
        order of their names, and then, if typed, the types of both
    :raises TypeError: if an argument is of the wrong type
    """

class Shards:
    """The native part of FanoutCache: lookups."""

    _shards: tuple[Any, ...]
    _hash: Callable[[Any], int]
    def get(
        self,
        key: Any,
        default: Any = None,
        read: bool = False,
        expire_time: bool = False,
        tag: bool = False,
        retry: bool = False,
    ) -> Any:
        """Return a value.

        :param key: key of the item
        :param default: what to return if it is missing, the lock not had within the timeout, or the
            database not read, or the value not loaded (unless `on_error` is ``'raise'``): what
            failed is logged by the logger ``diskcache``, once a minute
        :param read: return a file opened for reading, if the value is in one
        :param expire_time: also return when it expires, in seconds since the epoch, or None
        :param tag: also return the tag, or None
        :param retry: wait for the lock as long as it takes
        :return: the value, or a tuple (value[, expire_time][, tag])
        """
    def __getitem__(self, key: Any, /) -> Any: ...
    def __contains__(self, key: object, /) -> bool: ...
    def _replace_shards(self, former: Any, shards: Any) -> bool:
        """Have other shards, if no other thread has been faster.

        :param former: what `_shards` is held to be
        :param shards: tuple of what it is to be
        :return: whether that has been replaced
        """

class Transaction:
    """The native part of what Cache.transact() returns."""
    def __enter__(self) -> Any: ...
    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
        /,
    ) -> Literal[False]: ...
    def _cleanup(self, filename: str | None, /) -> None: ...

@final
class KeyIterator(Iterator[Any]):
    """Iterator over the keys of a Cache."""
    def __next__(self) -> Any: ...

@final
class Pin:
    """Gives a session back when the thread that used `_con` ends."""

class Cache(Generic[_K, _V]):
    """The native part of diskcache.Cache."""

    _directory: str
    @property
    def _path(self) -> str: ...
    _timeout: float
    _local: Any
    _disk: _PublicDisk
    _page_size: int
    _checking: bool
    _read_only: int
    _txn_id: int | None
    @property
    def _own_policy(self) -> dict[str, str | None] | None: ...
    count: int
    size: int
    hits: int
    misses: int
    eviction_policy: str
    size_limit: int
    cull_limit: int
    statistics: int
    memory_limit: int
    on_error: str | None
    def memory_stats(self) -> _MemoryStats:
        """Return what this object has done since it was made; every process and object has its own counts.

        :return: dict of hits and misses (lookups answered from memory, and not), bytes (of memory, in use now),
            invalidations (how often something was not current any more, since somebody had written), evictions
            (items that a native policy has removed to make room, also if that was rolled back), lock_waits and
            lock_wait_seconds (of writes that did not get the write lock at once, Timeouts included),
            checkpoints, checkpoint_seconds and checkpoint_frames (those done, the time that they took beside
            other work, and the pages of the log that they have copied)
        """
    @overload
    def get(
        self,
        key: _K,
        default: _D = ...,
        read: Literal[False] = False,
        expire_time: Literal[False] = False,
        tag: Literal[False] = False,
        retry: bool = False,
    ) -> _V | _D:
        """Look a key up.

        :param key: any picklable object
        :param default: what to return if the key is absent or has expired, or if the lookup fails and on_error
            has that counted as a miss
        :param bool read: return an open file, in binary mode, for bytes that are kept in one: what set() got
            with read=True, and bytes of at least disk_min_file_size. Any other value is returned itself
        :param bool expire_time: return the expire time too (seconds since the epoch, or None)
        :param bool tag: return the tag too
        :param bool retry: wait for a lock as long as it takes
        :return: the value, or the default; a tuple with expire time and tag, in this order, if asked for
        :raises Timeout: if a lock cannot be had within the cache's timeout and retry is False
        :raises ValueError: if the key is NaN
        :raises sqlite3.Error: if the database fails
        """
    @overload
    def get(
        self,
        key: _K,
        default: _D = ...,
        read: Literal[False] = False,
        *,
        expire_time: Literal[True],
        tag: Literal[False] = False,
        retry: bool = False,
    ) -> tuple[_V | _D, float | None]: ...
    @overload
    def get(
        self,
        key: _K,
        default: _D = ...,
        read: Literal[False] = False,
        expire_time: Literal[False] = False,
        *,
        tag: Literal[True],
        retry: bool = False,
    ) -> tuple[_V | _D, _Tag]: ...
    @overload
    def get(
        self,
        key: _K,
        default: _D = ...,
        read: Literal[False] = False,
        *,
        expire_time: Literal[True],
        tag: Literal[True],
        retry: bool = False,
    ) -> tuple[_V | _D, float | None, _Tag]: ...
    @overload
    def get(
        self,
        key: _K,
        default: Any = None,
        read: bool = False,
        expire_time: bool = False,
        tag: bool = False,
        retry: bool = False,
    ) -> Any: ...
    def _recall(self, function: Any, args: tuple[Any, ...], kwargs: dict[str, Any], /) -> Any: ...
    def _get_values(self, keys: Iterable[Any], retry: bool = False) -> list[Any]: ...
    @overload
    def read(self, key: _K, retry: bool = False, *, mmap: Literal[True]) -> memoryview:
        """Open the value of a key as a file, or as memory.

        :param key: any picklable object
        :param bool retry: wait for a lock as long as it takes
        :param bool mmap: return a memoryview of the bytes. If they are in a file it is mapped, and not read; the
            view stays as it is when the item is overwritten or deleted, and when the cache is closed
        :return: a file opened for reading in binary mode, to be closed by the caller. The value itself, bytes
            for instance, if it is kept in the database, as one below disk_min_file_size is that set() did not
            get with read=True, or is not bytes. With mmap=True a read-only memoryview in all cases
        :raises KeyError: if the key is absent or has expired
        :raises TypeError: if mmap is true and the value is not bytes
        :raises Timeout: if a lock cannot be had within the cache's timeout and retry is False
        """
    @overload
    def read(self, key: _K, retry: bool = False, *, mmap: bool = False) -> Any: ...
    def set(
        self,
        key: _K,
        value: _V | _Readable,
        expire: float | None = None,
        read: bool = False,
        tag: _Tag = None,
        retry: bool = False,
    ) -> bool:
        """Store a value under a key.

        :param key: any picklable object
        :param value: any picklable object, or a file if read is true
        :param float expire: seconds until the item expires (None: never)
        :param bool read: value is a file opened for reading in binary mode; its bytes are stored
        :param tag: int, float, str or bytes to evict() by, or None
        :param bool retry: wait for the lock as long as it takes
        :return: True; False if the item is larger than size_limit and so is not kept, or a trigger of a
            user's on the table keeps it from being stored
        :raises Timeout: if the lock cannot be had within the cache's timeout and retry is False
        :raises TypeError: if expire or tag is of the wrong type
        :raises ValueError: if the key is NaN
        :raises sqlite3.Error: if the database fails
        :raises OSError: if the value file cannot be written
        """
    def add(
        self,
        key: _K,
        value: _V | _Readable,
        expire: float | None = None,
        read: bool = False,
        tag: _Tag = None,
        retry: bool = False,
    ) -> bool:
        """Store a value under a key that is absent or has expired.

        Of several threads and processes that add one key at the same time exactly one succeeds.
        Parameters and errors are those of set().

        :return: True if the value was stored
        """
    def _set_later(
        self,
        key: _K,
        value: _V | _Readable,
        expire: float | None = None,
        read: bool = False,
        tag: _Tag = None,
        retry: bool = False,
    ) -> bool: ...
    def touch(self, key: _K, expire: float | None = None, retry: bool = False) -> bool:
        """Give an item another expiry.

        :param key: any picklable object
        :param float expire: seconds from now until the item expires (None: never)
        :param bool retry: wait for the lock as long as it takes
        :return: True if the key was there and had not expired
        :raises Timeout: if the lock cannot be had within the cache's timeout and retry is False
        :raises TypeError: if expire is not a number
        """
    def incr(self, key: _K, delta: float = 1, default: float | None = 0, retry: bool = False) -> _V:
        """Add to a number, atomically.

        :param key: any picklable object
        :param delta: int or float to add
        :param default: number to begin with if the key is absent or has expired; None: KeyError
        :param bool retry: wait for the lock as long as it takes
        :return: the new value
        :raises KeyError: if the key is absent and default is None
        :raises TypeError: if delta, default or the stored value is not a number
        :raises OverflowError: if the sum leaves the signed 64-bit range; the value stays as it was
        :raises Timeout: if the lock cannot be had within the cache's timeout and retry is False
        """
    def decr(self, key: _K, delta: float = 1, default: float | None = 0, retry: bool = False) -> _V:
        """Subtract from a number, atomically.

        Parameters, result and errors are those of incr(), with the opposite sign of delta.
        """
    @overload
    def pop(
        self,
        key: _K,
        default: _D = ...,
        expire_time: Literal[False] = False,
        tag: Literal[False] = False,
        retry: bool = False,
    ) -> _V | _D:
        """Delete a key and return its value, atomically.

        If the value cannot be loaded the item stays: the error is raised or, if on_error has that counted as a
        miss, the default returned.

        :param key: any picklable object
        :param default: what to return if the key is absent or has expired
        :param bool expire_time: return the expire time too (seconds since the epoch, or None)
        :param bool tag: return the tag too
        :param bool retry: wait for the lock as long as it takes
        :return: the value, or the default; a tuple with expire time and tag, in this order, if asked for
        :raises Timeout: if the lock cannot be had within the cache's timeout and retry is False
        """
    @overload
    def pop(
        self,
        key: _K,
        default: _D = ...,
        *,
        expire_time: Literal[True],
        tag: Literal[False] = False,
        retry: bool = False,
    ) -> tuple[_V | _D, float | None]: ...
    @overload
    def pop(
        self,
        key: _K,
        default: _D = ...,
        expire_time: Literal[False] = False,
        *,
        tag: Literal[True],
        retry: bool = False,
    ) -> tuple[_V | _D, _Tag]: ...
    @overload
    def pop(
        self,
        key: _K,
        default: _D = ...,
        *,
        expire_time: Literal[True],
        tag: Literal[True],
        retry: bool = False,
    ) -> tuple[_V | _D, float | None, _Tag]: ...
    @overload
    def pop(
        self,
        key: _K,
        default: Any = None,
        expire_time: bool = False,
        tag: bool = False,
        retry: bool = False,
    ) -> Any: ...
    def delete(self, key: _K, retry: bool = False) -> bool:
        """Delete a key, if it is there.

        :param key: any picklable object
        :param bool retry: wait for the lock as long as it takes
        :return: True if the key was there and had not expired
        :raises Timeout: if the lock cannot be had within the cache's timeout and retry is False
        """
    @overload
    def push(
        self,
        value: _V | _Readable,
        prefix: None = None,
        side: _Side = 'back',
        expire: float | None = None,
        read: bool = False,
        tag: _Tag = None,
        retry: bool = False,
    ) -> int | None:
        """Append a value to a queue, under a key made for it.

        :param value: any picklable object, or a file if read is true
        :param str prefix: names the queue; its keys are 'prefix-' and 15 digits. None: its keys are ints
            around 500000000000000
        :param str side: 'back' or 'front' of the queue
        :param float expire: seconds until the item expires (None: never)
        :param bool read: value is a file opened for reading in binary mode; its bytes are stored
        :param tag: int, float, str or bytes to evict() by, or None
        :param bool retry: wait for the lock as long as it takes
        :return: the key; None if the item is larger than size_limit and so is not kept
        :raises Timeout: if the lock cannot be had within the cache's timeout and retry is False
        :raises TypeError: if prefix, expire or tag is of the wrong type
        :raises ValueError: if side is none of the two
        """
    @overload
    def push(
        self,
        value: _V | _Readable,
        prefix: str,
        side: _Side = 'back',
        expire: float | None = None,
        read: bool = False,
        tag: _Tag = None,
        retry: bool = False,
    ) -> str | None: ...
    @overload
    def push(
        self,
        value: _V | _Readable,
        prefix: str | None,
        side: _Side = 'back',
        expire: float | None = None,
        read: bool = False,
        tag: _Tag = None,
        retry: bool = False,
    ) -> int | str | None: ...
    @overload
    def pull(
        self,
        prefix: None = None,
        default: _N = ...,
        side: _Side = 'front',
        expire_time: Literal[False] = False,
        tag: Literal[False] = False,
        retry: bool = False,
    ) -> tuple[int, _V] | _N:
        """Take the next item out of a queue, atomically.

        Items that have expired are dropped on the way. An item that cannot be loaded stays: the error is raised
        or, if on_error has that counted as a miss, the item is passed over.

        :param str prefix: names the queue, as for push()
        :param default: what to return if the queue is empty
        :param str side: 'front' or 'back' of the queue
        :param bool expire_time: return the expire time too (seconds since the epoch, or None)
        :param bool tag: return the tag too
        :param bool retry: wait for a lock as long as it takes
        :return: (key, value), or the default; a tuple of it with expire time and tag, in this
            order, if asked for
        :raises Timeout: if the lock cannot be had within the cache's timeout and retry is False
        :raises TypeError: if prefix is of the wrong type
        :raises ValueError: if side is none of the two
        """
    @overload
    def pull(
        self,
        prefix: None = None,
        default: _N = ...,
        side: _Side = 'front',
        *,
        expire_time: Literal[True],
        tag: Literal[False] = False,
        retry: bool = False,
    ) -> tuple[tuple[int, _V] | _N, float | None]: ...
    @overload
    def pull(
        self,
        prefix: None = None,
        default: _N = ...,
        side: _Side = 'front',
        expire_time: Literal[False] = False,
        *,
        tag: Literal[True],
        retry: bool = False,
    ) -> tuple[tuple[int, _V] | _N, _Tag]: ...
    @overload
    def pull(
        self,
        prefix: None = None,
        default: _N = ...,
        side: _Side = 'front',
        *,
        expire_time: Literal[True],
        tag: Literal[True],
        retry: bool = False,
    ) -> tuple[tuple[int, _V] | _N, float | None, _Tag]: ...
    @overload
    def pull(
        self,
        prefix: str,
        default: _N = ...,
        side: _Side = 'front',
        expire_time: Literal[False] = False,
        tag: Literal[False] = False,
        retry: bool = False,
    ) -> tuple[str, _V] | _N: ...
    @overload
    def pull(
        self,
        prefix: str,
        default: _N = ...,
        side: _Side = 'front',
        *,
        expire_time: Literal[True],
        tag: Literal[False] = False,
        retry: bool = False,
    ) -> tuple[tuple[str, _V] | _N, float | None]: ...
    @overload
    def pull(
        self,
        prefix: str,
        default: _N = ...,
        side: _Side = 'front',
        expire_time: Literal[False] = False,
        *,
        tag: Literal[True],
        retry: bool = False,
    ) -> tuple[tuple[str, _V] | _N, _Tag]: ...
    @overload
    def pull(
        self,
        prefix: str,
        default: _N = ...,
        side: _Side = 'front',
        *,
        expire_time: Literal[True],
        tag: Literal[True],
        retry: bool = False,
    ) -> tuple[tuple[str, _V] | _N, float | None, _Tag]: ...
    @overload
    def pull(
        self,
        prefix: str | None = None,
        default: Any = (None, None),
        side: _Side = 'front',
        expire_time: bool = False,
        tag: bool = False,
        retry: bool = False,
    ) -> Any: ...
    @overload
    def peek(
        self,
        prefix: None = None,
        default: _N = ...,
        side: _Side = 'front',
        expire_time: Literal[False] = False,
        tag: Literal[False] = False,
        retry: bool = False,
    ) -> tuple[int, _V] | _N:
        """Look at the next item of a queue.

        Items that have expired are dropped on the way, and those that cannot be loaded are treated as by pull().

        :param str prefix: names the queue, as for push()
        :param default: what to return if the queue is empty
        :param str side: 'front' or 'back' of the queue
        :param bool expire_time: return the expire time too (seconds since the epoch, or None)
        :param bool tag: return the tag too
        :param bool retry: wait for a lock as long as it takes
        :return: (key, value), or the default; a tuple of it with expire time and tag, in this
            order, if asked for
        :raises Timeout: if the lock cannot be had within the cache's timeout and retry is False
        :raises TypeError: if prefix is of the wrong type
        :raises ValueError: if side is none of the two
        """
    @overload
    def peek(
        self,
        prefix: None = None,
        default: _N = ...,
        side: _Side = 'front',
        *,
        expire_time: Literal[True],
        tag: Literal[False] = False,
        retry: bool = False,
    ) -> tuple[tuple[int, _V] | _N, float | None]: ...
    @overload
    def peek(
        self,
        prefix: None = None,
        default: _N = ...,
        side: _Side = 'front',
        expire_time: Literal[False] = False,
        *,
        tag: Literal[True],
        retry: bool = False,
    ) -> tuple[tuple[int, _V] | _N, _Tag]: ...
    @overload
    def peek(
        self,
        prefix: None = None,
        default: _N = ...,
        side: _Side = 'front',
        *,
        expire_time: Literal[True],
        tag: Literal[True],
        retry: bool = False,
    ) -> tuple[tuple[int, _V] | _N, float | None, _Tag]: ...
    @overload
    def peek(
        self,
        prefix: str,
        default: _N = ...,
        side: _Side = 'front',
        expire_time: Literal[False] = False,
        tag: Literal[False] = False,
        retry: bool = False,
    ) -> tuple[str, _V] | _N: ...
    @overload
    def peek(
        self,
        prefix: str,
        default: _N = ...,
        side: _Side = 'front',
        *,
        expire_time: Literal[True],
        tag: Literal[False] = False,
        retry: bool = False,
    ) -> tuple[tuple[str, _V] | _N, float | None]: ...
    @overload
    def peek(
        self,
        prefix: str,
        default: _N = ...,
        side: _Side = 'front',
        expire_time: Literal[False] = False,
        *,
        tag: Literal[True],
        retry: bool = False,
    ) -> tuple[tuple[str, _V] | _N, _Tag]: ...
    @overload
    def peek(
        self,
        prefix: str,
        default: _N = ...,
        side: _Side = 'front',
        *,
        expire_time: Literal[True],
        tag: Literal[True],
        retry: bool = False,
    ) -> tuple[tuple[str, _V] | _N, float | None, _Tag]: ...
    @overload
    def peek(
        self,
        prefix: str | None = None,
        default: Any = (None, None),
        side: _Side = 'front',
        expire_time: bool = False,
        tag: bool = False,
        retry: bool = False,
    ) -> Any: ...
    @overload
    def peekitem(
        self,
        last: bool = True,
        expire_time: Literal[False] = False,
        tag: Literal[False] = False,
        retry: bool = False,
    ) -> tuple[_K, _V]:
        """Look at the item inserted last, or first.

        Items that have expired are dropped on the way, and those that cannot be loaded are treated as by pull().

        :param bool last: the last one, or the first
        :param bool expire_time: return the expire time too (seconds since the epoch, or None)
        :param bool tag: return the tag too
        :param bool retry: wait for a lock as long as it takes
        :return: (key, value); a tuple of it with expire time and tag, in this order, if asked for
        :raises KeyError: if the cache is empty
        :raises Timeout: if the lock cannot be had within the cache's timeout and retry is False
        """
    @overload
    def peekitem(
        self,
        last: bool = True,
        *,
        expire_time: Literal[True],
        tag: Literal[False] = False,
        retry: bool = False,
    ) -> tuple[tuple[_K, _V], float | None]: ...
    @overload
    def peekitem(
        self,
        last: bool = True,
        expire_time: Literal[False] = False,
        *,
        tag: Literal[True],
        retry: bool = False,
    ) -> tuple[tuple[_K, _V], _Tag]: ...
    @overload
    def peekitem(
        self,
        last: bool = True,
        *,
        expire_time: Literal[True],
        tag: Literal[True],
        retry: bool = False,
    ) -> tuple[tuple[_K, _V], float | None, _Tag]: ...
    @overload
    def peekitem(
        self, last: bool = True, expire_time: bool = False, tag: bool = False, retry: bool = False
    ) -> Any: ...
    def set_many(
        self,
        items: _Items[_K, _V],
        expire: float | None = None,
        tag: _Tag = None,
        retry: bool = False,
    ) -> int:
        """Store values under keys, many in one transaction.

        Items are taken in batches of 1,024, or 4 MiB of them in the database, or 64 MiB in files. A
        batch is one transaction: it is stored as a whole or, if anything fails, not at all. Batches
        before it stay. Inside a transaction of the caller's all belong to that one.

        :param items: mapping, or iterable of pairs (key, value), such as a generator. It is read
            while no lock is held and may use the cache
        :param float expire: seconds until each item expires, from when it was taken (None: never)
        :param tag: int, float, str or bytes to evict() them by, or None
        :param bool retry: wait for the lock as long as it takes
        :return: number of items stored, a key that came twice being two; those larger than size_limit
            are not kept
        :raises Timeout: if the lock cannot be had within the cache's timeout and retry is False;
            its argument is the number that the batches before have come to
        :raises ValueError: if a key is NaN
        :raises sqlite3.Error: if the database fails
        :raises TypeError: if an argument, or an item, is of the wrong type
        :raises ValueError: if an item is not of length two
        :raises OSError: if a value file cannot be written; and whatever reading `items` or
            pickling a value raises
        """
    def add_many(
        self,
        items: _Items[_K, _V],
        expire: float | None = None,
        tag: _Tag = None,
        retry: bool = False,
    ) -> int:
        """Store values under those of the keys that are absent or have expired, many in one transaction.

        Of a key that comes twice the first value is stored. Batches are those of set_many().

        :param items: mapping, or iterable of pairs (key, value), such as a generator. It is read
            while no lock is held and may use the cache
        :param float expire: seconds until each item expires, from when it was taken (None: never)
        :param tag: int, float, str or bytes to evict() them by, or None
        :param bool retry: wait for the lock as long as it takes
        :return: number of items stored
        :raises Timeout: if the lock cannot be had within the cache's timeout and retry is False;
            its argument is the number that the batches before have come to
        :raises ValueError: if a key is NaN
        :raises sqlite3.Error: if the database fails
        :raises TypeError: if an argument, or an item, is of the wrong type
        :raises ValueError: if an item is not of length two
        :raises OSError: if a value file cannot be written; and whatever reading `items` or
            pickling a value raises
        """
    def _store_many(
        self,
        pairs: Iterable[tuple[Any, Any]],
        expire: float | None = None,
        tag: Any = None,
        retry: bool = False,
        add: bool = False,
    ) -> list[int]: ...
    def touch_many(
        self, keys: Iterable[_K], expire: float | None = None, retry: bool = False
    ) -> int:
        """Give those of the keys that are there another expiry, many in one transaction.

        Batches are those of set_many().

        :param keys: iterable of keys, such as a generator. It is read while no lock is held
        :param float expire: seconds until each item expires, from when its batch is written (None: never)
        :param bool retry: wait for the lock as long as it takes
        :return: number of keys that were there and had not expired, a key that came twice being two
        :raises TypeError: if keys is not iterable, or expire is not a number
        :raises Timeout: if the lock cannot be had within the cache's timeout and retry is False;
            its argument is the number that the batches before have come to
        :raises ValueError: if a key is NaN
        :raises sqlite3.Error: if the database fails
        """
    def _touch_many(
        self, keys: Iterable[Any], expire: float | None = None, retry: bool = False
    ) -> list[int]: ...
    def delete_many(self, keys: Iterable[_K], *, retry: bool = False) -> int:
        """Delete those of the keys that are there, many in one transaction.

        Batches are those of set_many().

        :param keys: iterable of keys, such as a generator. It is read while no lock is held
        :param bool retry: wait for the lock as long as it takes
        :return: number of keys that were there and had not expired
        :raises TypeError: if keys is not iterable
        :raises Timeout: if the lock cannot be had within the cache's timeout and retry is False;
            its argument is the number that the batches before have come to
        :raises ValueError: if a key is NaN
        :raises sqlite3.Error: if the database fails
        """
    def get_many(self, keys: Iterable[_K], *, retry: bool = False) -> dict[_K, _V]:
        """Look keys up, many in one read transaction.

        The values of each 1,024 keys are of one moment, unless others rewrite values in files ten times meanwhile.

        :param keys: iterable of keys, such as a generator, which must be hashable. Those that are equal
            to Python, such as 1 and True, are one key of the result, with the value of the last
        :param bool retry: wait for a lock as long as it takes
        :return: dict of the values by their keys, without what is absent or has expired
        :raises Timeout: if a lock cannot be had within the cache's timeout and retry is False
        :raises TypeError: if keys is not iterable, or one cannot be hashed
        :raises ValueError: if a key is NaN
        :raises sqlite3.Error: if the database fails
        """
    def clear(self, retry: bool = False) -> int:
        """Remove all items.

        :param bool retry: wait for the lock as long as it takes
        :return: number of items removed
        :raises Timeout: if the lock cannot be had within the cache's timeout and retry is False;
            its argument is the number of items removed until then
        """
    def evict(self, tag: _Tag, retry: bool = False) -> int:
        """Remove the items with a tag.

        :param tag: int, float, str or bytes, as given to set()
        :param bool retry: wait for the lock as long as it takes
        :return: number of items removed
        :raises Timeout: if the lock cannot be had within the cache's timeout and retry is False;
            its argument is the number of items removed until then
        :raises TypeError: if the tag is of the wrong type
        """
    def expire(self, now: float | None = None, retry: bool = False) -> int:
        """Remove the items that have expired.

        :param float now: the time to go by, in seconds since the epoch (None: the present)
        :param bool retry: wait for the lock as long as it takes
        :return: number of items removed
        :raises Timeout: if the lock cannot be had within the cache's timeout and retry is False;
            its argument is the number of items removed until then
        :raises TypeError: if now is not a number
        """
    def cull(self, retry: bool = False) -> int:
        """Remove the items that have expired, then others, in the order of the eviction policy, until the
        volume is within size_limit.

        :param bool retry: wait for the lock as long as it takes
        :return: number of items removed
        :raises Timeout: if the lock cannot be had within the cache's timeout and retry is False;
            its argument is the number of items removed until then
        """
    def iterkeys(self, reverse: bool = False) -> Iterator[_K]:
        """Return an iterator over the keys in the order of the database's sorting.

        :param bool reverse: from the last to the first
        :return: iterator; items that have expired are included
        """
    def _stored_keys(self, reverse: bool = False) -> Iterator[_StoredKey]: ...
    def _naming_keys(self, reverse: bool = False) -> Iterator[Any]: ...
    def _decode_key(self, stored: _StoredKey) -> Any: ...
    def _peek_nth(self, index: int) -> Any: ...
    def _raise_timeout(self) -> NoReturn: ...
    def _drop_end(self, side: _Side) -> bool: ...
    def _popitem(self, last: bool = True) -> tuple[Any, Any]: ...
    def _damaged_texts(self, column: str, low: int, high: int) -> list[int]: ...
    def _compare(self, select: str) -> bool: ...
    def _survey(self, low: int, limit: int) -> tuple[int, int, bool, int, bool]: ...
    def volume(self) -> int:
        """Return the size of the cache on disk: the database's pages and the value files.

        :return: bytes
        """
    def close(self) -> None:
        """Close the connections that are not in use.

        The cache can be used again afterwards: the next operation opens what it needs. Open transactions
        and the connections of other threads that use `_con` stay.
        """
    def transact(self, retry: bool = False) -> _PublicTransaction:
        """Return a context manager for a transaction.

        All operations of this thread inside the block happen together or, if the block raises, not at all.
        Where tasks of asyncio or trio run, or greenlets, they are those of this one. Others cannot write
        meanwhile. Blocks may nest; the outermost one commits.

        :param bool retry: wait for the lock as long as it takes
        :return: context manager, whose __enter__ raises Timeout if the lock cannot be had within the
            cache's timeout and retry is False, and RuntimeError if another task of this thread has a
            transaction open and cannot go on meanwhile (a greenlet can, where time.sleep is patched)
        """
    def _transact(
        self, retry: bool = False, filename: str | None = None
    ) -> AbstractContextManager[
        tuple[Callable[..., sqlite3.Cursor], Callable[[str | None], None]]
    ]: ...
    def _row_insert(self, key: Any, raw: bool, now: float, columns: tuple[Any, ...]) -> None: ...
    def _row_update(self, rowid: int, now: float, columns: tuple[Any, ...]) -> None: ...
    def _cull(self, now: float, sql: Any, cleanup: Any, limit: int | None = None) -> None: ...
    def _connection(self) -> sqlite3.Connection: ...
    def _require_writable(self) -> None: ...
    def _inspect(self) -> tuple[dict[str, Any], dict[str, Any], int]: ...
    def _apply(
        self, statements: Iterable[str], settings: dict[str, Any], defaults: dict[str, Any]
    ) -> None: ...
    def _setting(self, name: str) -> Any: ...
    def _update_setting(self, name: str, value: Any) -> None: ...
    def _set_pragma(self, name: str, value: Any) -> None: ...
    def __getitem__(self, key: _K, /) -> _V: ...
    def __setitem__(self, key: _K, value: _V, /) -> None: ...
    def __delitem__(self, key: _K, retry: bool = True) -> bool: ...
    def __contains__(self, key: object, /) -> bool: ...
    def __len__(self) -> int: ...
    def __iter__(self) -> Iterator[_K]: ...
    def __reversed__(self) -> Iterator[_K]: ...
    def __enter__(self) -> Self: ...
    def __class_getitem__(cls, types: Any, /) -> GenericAlias: ...

def _register(
    disk: type,
    cache: type,
    transaction: type,
    stored_key: type,
    enoval: Any,
    unknown: Any,
    find_policy: Callable[[str], object],
    refused: type[Exception],
) -> None: ...
def _file_system(path: Any) -> int: ...
def _flush_notes() -> None: ...
def _before_fork() -> None: ...
def _after_fork() -> None: ...
def _optimize_pickle(pickled: bytes) -> bytes: ...
def _pickle_key(object: Any, protocol: int) -> bytes | None: ...
