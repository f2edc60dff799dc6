"""Types for the annotations of programs that use the package, and of the package itself.

>>> from diskcache.typing import Settings
>>> limits: Settings = {'size_limit': 2**30, 'eviction_policy': 'least-recently-used'}

This module imports :mod:`typing`. Nothing else of the package does while it runs: see hints.py.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager
from typing import (
    TYPE_CHECKING,
    Any,
    Concatenate,
    Literal,
    ParamSpec,
    Protocol,
    TypeAlias,
    TypedDict,
    overload,
)

if TYPE_CHECKING:
    from typing_extensions import Self, TypeVar
else:
    import typing

    def TypeVar(name, default=None, **options):
        """Return a type variable, without the default, which is from Python 3.13 on."""
        return typing.TypeVar(name, **options)


__all__ = [
    'Items',
    'LockFactory',
    'Memoized',
    'MemoryStats',
    'Path',
    'Readable',
    'Settings',
    'Side',
    'Tag',
]

#: Keys and values of a mapping. Without them, ``Cache`` is ``Cache[Any, Any]``.
K = TypeVar('K', default=Any)
V = TypeVar('V', default=Any)
#: Items of a Deque.
T = TypeVar('T', default=Any)
#: What a lookup returns if there is nothing; and that of a queue.
D = TypeVar('D', default=None)
N = TypeVar('N', default=tuple[None, None])
#: Parameters and result of a function.
P = ParamSpec('P')
Q = ParamSpec('Q')
R = TypeVar('R')
R_co = TypeVar('R_co', covariant=True)
#: What a method is called of.
O = TypeVar('O')  # noqa: E741
#: Any exception.
E = TypeVar('E', bound=Exception)

#: What `tag=` takes.
Tag: TypeAlias = str | bytes | float | None
#: What `directory` is.
Path: TypeAlias = str | os.PathLike[str]
#: What `update` and `set_many` take.
Items: TypeAlias = Mapping[K, V] | Iterable[tuple[K, V]]
#: What `side=` of a queue takes.
Side: TypeAlias = Literal['front'] | Literal['back']


class Readable(Protocol):
    """What is stored with ``read=True``: a file opened for reading in binary mode, for instance."""

    def read(self, size: int, /) -> bytes:
        """Return the next bytes, so many at most; none at the end."""
        ...


class Memoized(Protocol[P, R_co]):
    """A function that :meth:`Cache.memoize` or :func:`memoize_stampede` has decorated."""

    __name__: str
    __qualname__: str

    @property
    def __wrapped__(self) -> Callable[P, R_co]:
        """The function itself: to call it computes the result, and stores nothing."""
        ...

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R_co:
        """Return the stored result, or compute it and store it."""
        ...

    def __cache_key__(self, *args: P.args, **kwargs: P.kwargs) -> Any:
        """Return the key under which the cache has the result for these arguments."""
        ...

    @overload
    def __get__(self, instance: None, owner: type, /) -> Self: ...

    @overload
    def __get__(
        self: Memoized[Concatenate[O, Q], R], instance: O, owner: type | None = None, /
    ) -> Callable[Q, R]: ...

    @overload
    def __get__(self, instance: Any, owner: type | None = None, /) -> Callable[..., R_co]: ...

    def __get__(self, instance: Any, owner: type | None = None, /) -> Any:
        """Return the method of an object, if this is one of its class."""
        ...


class LockFactory(Protocol):
    """What :func:`barrier` makes its lock with: Lock, RLock, BoundedSemaphore and their like."""

    def __call__(
        self, cache: Any, key: Any, *, expire: float | None, tag: Tag
    ) -> AbstractContextManager[Any]:
        """Return the lock.

        :param cache: the Cache or FanoutCache that keeps its state
        :param key: key of its state
        :param expire: seconds until it is free by itself (None: never)
        :param tag: for the item
        """
        ...


class Settings(TypedDict, total=False):
    """The settings of a :class:`Cache` or :class:`FanoutCache`, and what is not stored.

    The tutorial has what they mean. A pragma or an argument of a Disk that is not here is accepted
    too, as ``sqlite_NAME`` and ``disk_NAME``: to type checkers where `disk` is given.
    """

    statistics: bool | int
    tag_index: bool | int
    eviction_policy: str
    size_limit: float
    cull_limit: int
    sqlite_auto_vacuum: int | str
    sqlite_cache_size: int
    sqlite_journal_mode: str
    sqlite_mmap_size: int
    sqlite_page_size: int
    sqlite_synchronous: int | str
    disk_compress_level: int
    disk_min_file_size: int
    disk_pickle_protocol: int | None
    memory_limit: int | None
    mode: int | None
    on_error: Literal['raise', 'miss', 'reset'] | None
    read_only: bool


class MemoryStats(TypedDict):
    """What :meth:`Cache.memory_stats` returns."""

    #: Lookups that were answered from memory, and those that were not.
    hits: int
    misses: int
    #: Bytes of memory that are in use now.
    bytes: int
    #: How often something was not current any more, since somebody had written.
    invalidations: int
    #: Items that a native policy has removed to make room.
    evictions: int
    #: Writes that did not get the write lock at once, and the seconds that they waited.
    lock_waits: int
    lock_wait_seconds: float
    #: Checkpoints done, the seconds that they took, and the pages of the log that they copied.
    checkpoints: int
    checkpoint_seconds: float
    checkpoint_frames: int
