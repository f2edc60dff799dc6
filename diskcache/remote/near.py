"""The near tier: values of the server, kept in this process or in a Cache of this machine.

A value is kept as it stands on the server, so that its Disk has the say at each lookup, with the
time before its read, `t0`, and the time of its expiry. Whether it holds is decided by the feed.
"""

from __future__ import annotations

import hashlib
import sqlite3
import struct
import threading

from .._core import Timeout
from ..cache import Cache
from ..constants import KEEP
from ..hints import Any, Protocol
from ..log import log_failure
from ..safedisk import SafeDisk
from .engine import inherited
from .feed import Feed, clock, clock_domain

#: t0, the time of the expiry (infinite: none), and the value as it stands on the server.
Entry = tuple[float, float, bytes]

#: Bytes that a process keeps with ``near=True``.
_MEMORY_LIMIT = 2**23

#: What an entry takes beside its key and value, bytes, roughly.
_ENTRY_BYTES = 250

_TIMES = struct.Struct('<dd')

#: Seconds to wait for another thread.
_PATIENCE = 0.01

#: Seconds to wait for the lock of a directory: a lookup waits with it.
_LONGEST_WAIT = 0.05

#: Nothing is kept in a directory for longer, seconds: it may be of a clock that is no more.
_LONGEST = 3600.0


class Store(Protocol):
    """Where entries are kept."""

    def get(self, name: bytes) -> Entry | None: ...

    def put(self, name: bytes, entry: Entry) -> None: ...

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

    def get(self, name: bytes) -> Entry | None:
        """Return the entry of a key."""
        return self._entries.get(name)

    def put(self, name: bytes, entry: Entry) -> None:
        """Keep an entry, unless there is a later one, or it is larger than all may be."""
        if self._size_of(name, entry) > self._limit:
            return
        if not self._lock.acquire(timeout=_PATIENCE):  # held by whom a signal handler interrupts
            return
        try:
            old = self._entries.get(name)
            if old is not None:
                if old[0] >= entry[0]:
                    return
                self._drop(name)
            self._entries[name] = entry
            self._size += self._size_of(name, entry)
            while self._size > self._limit:
                self._drop(next(iter(self._entries)))
        finally:
            self._lock.release()

    def _drop(self, name: bytes) -> None:
        self._size -= self._size_of(name, self._entries.pop(name))

    @staticmethod
    def _size_of(name: bytes, entry: Entry) -> int:
        return len(name) + len(entry[2]) + _ENTRY_BYTES

    def close(self) -> None:
        """Forget all."""
        self.start_anew()


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

    def get(self, name: bytes) -> Entry | None:
        """Return the entry of a key; None, too, if the cache fails."""
        try:
            data = self._cache.get(self._prefix + name)
        except (Timeout, sqlite3.Error, OSError) as error:
            log_failure(self._cache._path, error)
            return None
        if type(data) is not bytes or len(data) < _TIMES.size:
            return None
        return (*_TIMES.unpack_from(data), data[_TIMES.size :])

    def put(self, name: bytes, entry: Entry) -> None:
        """Keep an entry, unless there is a later one, or the cache fails."""
        data = _TIMES.pack(*entry[:2]) + entry[2]

        def later(old: Any) -> Any:
            is_entry = type(old) is bytes and len(old) >= _TIMES.size
            return KEEP if is_entry and _TIMES.unpack_from(old)[0] >= entry[0] else data

        try:
            left = min(entry[1] - entry[0], _LONGEST)
            self._cache.modify(self._prefix + name, later, None, left, None)
        except Timeout:  # others are at it; the value need not be kept
            pass
        except (sqlite3.Error, OSError) as error:
            log_failure(self._cache._path, error)

    def close(self) -> None:
        """Close the cache, if it is ours."""
        if self._owned:
            self._cache.close()


class Near:
    """The near tier of one RemoteCache."""

    def __init__(self, near: Any, feed: Feed, server: str) -> None:
        """Open it.

        :param near: True, a directory or a Cache
        :param feed: tells what holds
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
        entry = self._store.get(name)
        now = clock()
        if entry is None or now >= entry[1] or not self.feed.holds(name, entry[0], now):
            return None
        return entry[2], entry[1] - now

    def put(self, name: bytes, t0: float, until: float, value: bytes) -> None:
        """Keep a value that was read, unless it has been written since, as far as is known.

        :param t0: the time before the read was sent
        :param until: the time of its expiry
        """
        if not self.feed.drain(True):
            self.feed.hear(name)  # or an older entry might be read after this value
        elif self.feed.holds(name, t0, clock()):
            self._store.put(name, (t0, until, value))

    def close(self) -> None:
        """Close what was opened."""
        self.feed.close()
        self._store.close()
