"""The near tier: values of the server, kept in this process or in a Cache of this machine.

A value is kept as it stands on the server, so that its Disk has the say at each lookup. Beside it
stand its times: the one before its read, `t0`, and that of its expiry; and which server it was read
from, if that may change. Whether it holds is decided by the feed.
"""

from __future__ import annotations

import hashlib
import math
import sqlite3
import struct
import threading

from .._core import Timeout
from ..cache import Cache
from ..hints import Any, Protocol
from ..log import log_failure
from ..safedisk import SafeDisk
from .engine import inherited
from .feed import clock_domain, take

#: The value as it stands on the server, and its times.
Entry = tuple[bytes, bytes]

#: What there is no entry of.
_NOTHING = (None, None)

#: Bytes that a process keeps with ``near=True``.
_MEMORY_LIMIT = 2**23

#: What an entry takes beside its key and value, bytes, roughly.
_ENTRY_BYTES = 250

#: t0, and the time of the expiry (infinite: none). The order of t0 is that of its bytes.
_TIMES = struct.Struct('>dd')

#: So many of them are t0's.
_T0_BYTES = 8

#: Seconds to wait for another thread.
_PATIENCE = 0.01

#: Seconds to wait for the lock of a directory: a lookup waits with it.
_LONGEST_WAIT = 0.05


class Store(Protocol):
    """Where entries are kept."""

    def get(self, name: bytes) -> Entry | tuple[None, None]: ...

    def put(self, name: bytes, value: bytes, times: bytes, seconds: float) -> bool: ...

    def start_anew(self) -> None: ...

    def close(self) -> None: ...


class Memory:
    """Entries of this process. What was put first goes first when there is no room."""

    def __init__(self, limit: int = _MEMORY_LIMIT) -> None:
        """Take the limit, bytes."""
        self._limit = limit
        self.start_anew()

    def start_anew(self) -> None:
        """Forget all; in a forked child another thread may have been at it."""
        self._lock = threading.Lock()
        self._entries: dict[bytes, Entry] = {}
        self._size = 0

    def get(self, name: bytes) -> Entry | tuple[None, None]:
        """Return the entry of a key."""
        return self._entries.get(name, _NOTHING)

    def put(self, name: bytes, value: bytes, times: bytes, seconds: float) -> bool:
        """Keep an entry, unless there is a later one, or it is larger than all may be.

        :param seconds: until it expires
        :return: whether it is kept
        """
        entry = value, times
        if self._size_of(name, entry) > self._limit:
            return False
        held: list[bool] = []
        try:
            if not take(self._lock, _PATIENCE, held):  # held by whom a signal handler interrupts
                return False
            old = self._entries.get(name)
            if old is not None:
                if old[1][:_T0_BYTES] >= times[:_T0_BYTES]:
                    return False
                self._drop(name)
            self._entries[name] = entry
            self._size += self._size_of(name, entry)
            while self._size > self._limit:
                self._drop(next(iter(self._entries)))
            return True
        finally:
            if held == [True]:
                self._lock.release()

    def _drop(self, name: bytes) -> None:
        self._size -= self._size_of(name, self._entries.pop(name))

    @staticmethod
    def _size_of(name: bytes, entry: Entry) -> int:
        return len(name) + len(entry[0]) + _ENTRY_BYTES

    def close(self) -> None:
        """Forget all, unless another thread is at it for long: what it has does not hold."""
        held: list[bool] = []
        try:
            if take(self._lock, _PATIENCE, held):
                self._entries.clear()
                self._size = 0
        finally:
            if held == [True]:
                self._lock.release()


class Shared:
    """Entries in a Cache, which the processes of a machine share.

    Their keys begin with a digest of the server and of the clock. So a directory that has seen
    another boot, or is shared by containers of several time namespaces, never gives the times of
    one clock to who goes by another.
    """

    def __init__(self, cache: Cache, server: str, owned: bool) -> None:
        """Take the cache.

        :param server: names it
        :param owned: whether the cache is to be closed with this
        """
        self._cache = cache
        self._owned = owned
        clock_and_server = f'{clock_domain()}\n{server}'.encode()
        self._prefix = hashlib.sha256(clock_and_server).digest()[:12]

    def start_anew(self) -> None:
        """Do nothing: a Cache is safe in a forked child."""

    def get(self, name: bytes) -> Entry | tuple[None, None]:
        """Return the entry of a key; nothing, too, if the cache fails."""
        try:
            entry: Any = self._cache.get(self._prefix + name, None, False, False, True)
        except (Timeout, sqlite3.Error, OSError) as error:
            log_failure(self._cache._path, error)
            return _NOTHING
        return entry if type(entry[0]) is bytes else _NOTHING

    def put(self, name: bytes, value: bytes, times: bytes, seconds: float) -> bool:
        """Keep an entry, unless there is a later one, or the cache fails.

        :param seconds: until it expires
        :return: whether it is kept
        """
        expire = None if seconds == math.inf else seconds  # an expiry is written to an index, too
        try:
            return self._cache._set_later(self._prefix + name, value, expire, False, times)
        except Timeout:  # others are at it; the value need not be kept
            pass
        except (sqlite3.Error, OSError) as error:
            log_failure(self._cache._path, error)
        return False

    def close(self) -> None:
        """Close the cache, if it is ours."""
        if self._owned:
            self._cache.close()


class Near:
    """The near tier of one RemoteCache."""

    def __init__(self, near: Any, feed: Any, server: str) -> None:
        """Open it.

        :param near: True, a directory or a Cache
        :param feed: a Feed or ClusterFeed, which tells what holds
        :param server: names the server
        """
        self.feed = feed
        if near is True:
            self._store: Store = Memory()
        elif isinstance(near, Cache):
            near.disk.put(b'')  # a TypeError now, rather than with each lookup
            self._store = Shared(near, server, owned=False)
        else:
            self._store = Shared(Cache(near, _LONGEST_WAIT, disk=SafeDisk), server, owned=True)
        inherited.add(self)

    def start_anew(self) -> None:
        """In a forked child: subscribe anew."""
        self.feed.start_anew()
        self._store.start_anew()

    def get(self, name: bytes) -> tuple[bytes, float] | None:
        """Return a value as it stands on the server, and the seconds until it expires.

        :return: None if it is not known to be current
        """
        value, times = self._store.get(name)
        left = self.feed.left(name, times)
        return (value, left) if left and value is not None else None

    def put(self, name: bytes, t0: float, until: float, value: bytes) -> None:
        """Keep a value that was read, unless it has been written since, as far as is known.

        If it is not kept, what others have kept may be older: it is not used then.

        :param t0: the time before the read was sent
        :param until: the time of its expiry
        """
        feed = self.feed.answered(name, t0)
        heard = feed.drain(True)
        times = _TIMES.pack(t0, until) + feed.place
        left = feed.left(name, times) if heard else 0.0
        if not (left and self._store.put(name, value, times, left)):
            feed.hear(name)

    def close(self) -> None:
        """Close what was opened."""
        self.feed.close()
        self._store.close()
