"""What a waiter for a lock listens to: news of the lock's key.

The server tells a connection that asks for it of each write of the key (CLIENT TRACKING, as for the
near tier). It is opened when the lock has been waited for a moment, and closed with the wait. What
is heard only ends a pause: the lock is looked at then as it would be without. So if news is lost,
or the server does not allow it, that costs no more than a pause.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable

import redis

from ..hints import Any
from .cluster import ClusterEngine
from .engine import Engine
from .feed import track

#: Seconds of the pause from which on it is worth a connection.
_WORTH = 0.005

#: Seconds of the longest pause while news come. A lock whose owner is dead is free when it expires,
#: of which the server may tell late.
_LONGEST = 0.25

# All who wait for a lock hear that it is free, and one gets it. So each waits a moment of a random
# length, up to so many seconds. Who has heard in vain has many beside it, or the key changes often,
# and waits longer the next time.
_FIRST_SPREAD = 0.002
_SPREAD_GROWTH = 1.25
_LONGEST_SPREAD = 0.05


class Waiter:
    """A wait for a key, of one thread."""

    def __init__(
        self, engine: Engine | ClusterEngine, name: bytes, heard: Callable[[bytes], object]
    ) -> None:
        """Take the key; nothing is connected yet.

        :param engine: the server, or Cluster
        :param name: of the key on the server
        :param heard: called with it when it has been written
        """
        self._engine = engine
        self._name = name
        self._heard = heard
        self._connection: Any = None
        self._failed = False
        self._spread = _FIRST_SPREAD

    @property
    def longest(self) -> float | None:
        """How long the next pause may be, in seconds; None if there are no news."""
        return None if self._connection is None else _LONGEST

    def __call__(self, seconds: float) -> None:
        """Pause until the key is written, or so long; not at all when it begins to listen."""
        if self._failed or (self._connection is None and seconds < _WORTH):
            time.sleep(seconds)
            return
        end = time.monotonic() + seconds
        try:
            if self._connection is None:
                self._listen()
            elif self._connection.can_read(timeout=seconds):
                moment = self._spread * os.urandom(1)[0] / 256
                time.sleep(max(0.0, min(moment, end - time.monotonic())))
                self._spread = min(self._spread * _SPREAD_GROWTH, _LONGEST_SPREAD)
                while self._connection.can_read():
                    self._connection.read_response()
                self._heard(self._name)
        except (redis.RedisError, OSError):
            self._failed = True
            self.close()

    def _listen(self) -> None:
        self._connection = self._engine.node(self._name).connect()
        track(self._connection, self._name)

    def close(self) -> None:
        """Listen no more."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.disconnect()

    def __enter__(self) -> Waiter:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()
