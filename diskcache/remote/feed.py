"""What a process hears of changes on the server, and what of it is kept near holds.

Redis tells a connection that asks for it (CLIENT TRACKING, in broadcasting mode) of each key that
is written, or expires, and begins with a prefix. That is the feed. There is no thread that reads
it: whoever looks something up does, at most once a millisecond.

What is kept near carries `t0`, the time just before its read was sent. A process may use it if

* `t0` is later than when it last heard of the key. It does not remember keys, but 131,072 buckets
  of keys, each with a time.
* `t0` is later than when it subscribed, or lost the connection (`floor`), and than when it heard
  that all is gone.
* the `lease` has not ended. The connection is asked with a PING, sent at t and answered in its
  turn, so that all until t has been heard: the lease is t + 2 seconds. It ends, too, if the server
  or the network says nothing.

So a read is late by milliseconds while the feed is connected, and never by more than the lease.

All times are of CLOCK_BOOTTIME. Nobody sets it, it goes on while the machine sleeps, and it is the
same for all processes of a machine and of a time namespace.
"""

from __future__ import annotations

import contextlib as cl
import functools as ft
import hashlib
import math
import os
import threading
import time
from collections.abc import Callable

import redis

from .._core import Heard
from ..cautions import warn_once
from ..hints import Any
from .engine import Engine

#: Seconds for which silence is taken for news.
LEASE = 2.0

#: When so many seconds of the lease are left, it is renewed.
_RENEWED = 1.0

#: The feed is read again after so many seconds.
_PAUSE = 0.001

#: While another thread reads the feed, what was heard so many seconds ago counts as current.
_PATIENCE = 0.01

#: Who hears for so many seconds has the server asked: others may write faster than this can read.
_LONGEST_DRAIN = 0.05

#: Seconds between two attempts to connect.
_RECONNECT = 0.1

#: So many bytes stand for a server.
_PLACE_BYTES = 8

_CHANNEL = b'__redis__:invalidate'

if hasattr(time, 'CLOCK_BOOTTIME'):
    #: Returns the time in seconds.
    clock: Callable[[], float] = ft.partial(time.clock_gettime, time.CLOCK_BOOTTIME)
else:
    clock = ft.partial(time.monotonic)


def clock_domain() -> str:
    """Return a name of the clock: who has the same name shares its times."""
    try:
        with open('/proc/sys/kernel/random/boot_id') as file:
            boot = file.read().strip()
    except OSError:
        return os.urandom(16).hex()  # nobody does
    try:
        return f'{boot} {os.readlink("/proc/self/ns/time")}'
    except FileNotFoundError:  # a kernel without them
        return boot


def track(connection: Any, prefix: bytes) -> None:
    """Have a connection told of each key that is written and begins with a prefix."""

    def ask(*command: Any) -> Any:
        connection.send_command(*command, check_health=False)
        return connection.read_response()

    number = ask('CLIENT', 'ID')
    ask('CLIENT', 'TRACKING', 'ON', 'REDIRECT', number, 'BCAST', 'PREFIX', prefix)
    ask('SUBSCRIBE', _CHANNEL)


def take(lock: threading.Lock, seconds: float, held: list[bool]) -> bool:
    """Try to take a lock, and note in `held` whether it has been: who calls gives it back then.

    In one call of C, so that what a signal handler raises does not come between the two.
    """
    held.extend(map(lock.acquire, (True,), (seconds,)))
    return held[0]


class Feed(Heard):
    """What this process hears of the keys with a prefix.

    `Heard` has the times that the rule is about, and answers for what was kept: :meth:`left`. It is
    one call of C, which calls :meth:`drain` if it is time to.
    """

    def __init__(self, engine: Engine, prefix: bytes, timeout: float) -> None:
        """Take what is needed; the first `drain` connects.

        :param engine: the server
        :param prefix: of the keys
        :param timeout: seconds to wait for an answer
        """
        super().__init__(clock, _PAUSE)
        self._engine = engine
        self._prefix = prefix
        self._timeout = timeout
        #: What stands behind the times of what was read; see PlacedFeed.
        self.place: bytes = b''
        #: Whether the server does not allow it.
        self.forbidden: bool = False
        self.start_anew()

    def start_anew(self) -> None:
        """Forget the connection, which is a parent's, and whoever held the lock."""
        self._lock = threading.Lock()
        self._connection: Any = None
        self.floor: float = math.inf
        self.lease: float = 0.0
        self.drained: float = 0.0
        #: When the PING was sent that is not answered yet.
        self._asked: float | None = None
        self._next_attempt = 0.0

    def answered(self, name: bytes, t0: float) -> Feed:
        """Return the feed of the node that has a key; see ClusterFeed."""
        return self

    def drain(self, wait: bool) -> bool:
        """Hear what has arrived, and connect if there is no connection.

        :param wait: a moment, for a thread that does the same
        :return: whether all that has arrived is known
        """
        if self.forbidden:
            return False
        held: list[bool] = []
        try:
            # Not for ever: this may be a signal handler, in the middle of the same.
            if not take(self._lock, _PATIENCE if wait else 0, held):
                return not wait and clock() - self.drained < _PATIENCE
            if self._connection is None:
                self._subscribe()
            return self._connection is not None and self._read()
        except BaseException as error:
            if held == [True]:
                self._lose()
            if isinstance(error, redis.RedisError | OSError):
                return False
            raise
        finally:
            if held == [True]:
                self._lock.release()

    def _read(self) -> bool:
        now = clock()
        if not self._engine.serves(self._connection):  # another is the master now
            self._lose()
            return False
        while self._connection.can_read():
            self._take(self._connection.read_response())
            if clock() - now > _LONGEST_DRAIN:
                return False
        self.drained = now
        if self._asked is None:
            if self.lease - now < _RENEWED:
                self._connection.send_command('PING', check_health=False)
                self._asked = now
        elif now - self._asked > self._timeout:
            self._lose()
            return False
        return True

    def _take(self, message: Any) -> None:
        """Take note of a message: the answer to PING, or keys."""
        if message[0] == b'pong':
            if self._asked is not None:
                self.lease = self._asked + LEASE
                self._asked = None
        elif message[0] == b'message' and message[1] == _CHANNEL:
            if message[2] is None:
                self.hear_all()
            else:
                for name in message[2]:
                    self.hear(name)

    def _subscribe(self) -> None:
        """Connect, unless that has failed a moment ago."""
        now = clock()
        if now < self._next_attempt:
            return
        self._next_attempt = now + _RECONNECT
        connection = self._engine.connect()
        try:
            track(connection, self._prefix)
        except BaseException as error:
            connection.disconnect()
            # While a long script runs all is refused, which is soon over.
            if not isinstance(error, redis.ResponseError) or str(error).startswith('BUSY'):
                raise
            self.forbidden = True
            warn_once(
                self._engine.address,
                'tracking',
                f'{self._engine.address}: nothing is kept near, because the server does not allow'
                f' CLIENT TRACKING: {error}',
            )
            return
        self._connection = connection
        self._begin(connection)
        self._asked = None
        self.floor = clock()  # before the lease: what was read until now does not hold
        self.lease = now + LEASE

    def _begin(self, connection: Any) -> None:
        """Take note of a new connection."""

    def _lose(self) -> None:
        """Let nothing hold until there is a connection again."""
        self.floor = math.inf
        connection, self._connection = self._connection, None
        if connection is not None:
            with cl.suppress(Exception):
                connection.disconnect()

    def close(self) -> None:
        """Close the connection; the next `drain` makes another."""
        held: list[bool] = []
        try:
            if take(self._lock, self._timeout, held):
                self._lose()
        finally:
            if held == [True]:
                self._lock.release()


class PlacedFeed(Feed):
    """The feed of a server that another may replace.

    Behind the times of a value stands which server it was read from. Processes that share a
    directory may differ in who that is: one may still read from a server that is none any more, and
    keep an old value that is later than all that the others have heard.
    """

    def left(self, name: bytes, times: object) -> float:
        """Return for how many seconds what was read may be used; 0.0 if it may not be now."""
        if not isinstance(times, bytes) or not times.endswith(self.place):
            return 0.0
        return super().left(name, times[:-_PLACE_BYTES])

    def _begin(self, connection: Any) -> None:
        server = f'{connection.host}:{connection.port}'
        self.place: bytes = hashlib.sha256(server.encode()).digest()[:_PLACE_BYTES]
