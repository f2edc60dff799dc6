"""RemoteDeque and RemoteIndex with the constructors of Deque and Index, for the tests of those.

A directory is a name here, and of a cache its directory and its Disk count.
"""

from __future__ import annotations

import contextlib as cl
import os
import uuid
from types import SimpleNamespace
from typing import Any

import diskcache
from diskcache.remote import RemoteCache, RemoteDeque, RemoteIndex

#: URL and name of the cache that the next ones belong to.
_place: tuple[str, str] = ('', '')


def place(url: str, name: str) -> None:
    """Say where the next ones are."""
    global _place
    _place = url, name


def install(url: str, name: str) -> None:
    """Do so, and have a script in this process find them under the names of the others."""
    place(url, name)
    diskcache.Deque, diskcache.Index = Deque, Index  # type: ignore[misc, assignment]


def _of(directory: Any, disk: type = diskcache.Disk) -> tuple[RemoteCache, str]:
    url, name = _place
    cache = RemoteCache(url, name, serializer=disk, timeout=50)
    return cache, uuid.uuid4().hex if directory is None else os.fsdecode(directory)


class _Placed:
    """What the tests ask for beside the methods."""

    name: str

    @property
    def directory(self) -> str:
        return self.name

    @property
    def cache(self) -> Any:
        disk = self._codec.disk  # type: ignore[attr-defined]
        return SimpleNamespace(directory=self.name, disk=disk, check=list, close=lambda: None)

    def transact(self) -> Any:
        """Return a context in which few items are read at one moment, as they always are."""
        return cl.nullcontext()


class Deque(_Placed, RemoteDeque):
    """A RemoteDeque."""

    def __init__(self, iterable: Any = (), directory: Any = None, maxlen: Any = None) -> None:
        super().__init__(*_of(directory), iterable, maxlen)

    @classmethod
    def fromcache(cls, cache: Any, iterable: Any = (), maxlen: Any = None) -> Any:
        return RemoteDeque(*_of(cache.directory, type(cache.disk)), iterable, maxlen)

    def __reduce__(self) -> Any:
        return RemoteDeque, (self._cache, self.name, (), self.maxlen)


class Index(_Placed, RemoteIndex):
    """A RemoteIndex."""

    def __init__(self, /, *args: Any, **kwargs: Any) -> None:
        directory = None
        if args and (args[0] is None or isinstance(args[0], bytes | str | os.PathLike)):
            directory, *args = args  # type: ignore[assignment]
        super().__init__(*_of(directory), *args, **kwargs)

    @classmethod
    def fromcache(cls, cache: Any, *args: Any, **kwargs: Any) -> Any:
        return RemoteIndex(*_of(cache.directory, type(cache.disk)), *args, **kwargs)

    def __reduce__(self) -> Any:
        return RemoteIndex, (self._cache, self.name)
