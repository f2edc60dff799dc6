"""What a DjangoCache has at a URL: a RemoteCache of which lookups that fail are misses.

It has those of FanoutCache's own methods that DjangoCache calls, too.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence

from .._core import Timeout
from ..constants import ENOVAL
from ..hints import Any
from ..log import log_failure
from ..unloadable import passes_over
from .cache import RemoteCache, milliseconds
from .engine import Command, RemoteError

#: What a lookup answers as if the key were missing: a site goes on without its cache.
_MISSES = (Timeout, ConnectionError, RemoteError)


class SiteCache(RemoteCache):
    """A RemoteCache for a site."""

    def get(
        self,
        key: Any,
        default: Any = None,
        read: bool = False,
        expire_time: bool = False,
        tag: bool = False,
        retry: bool = False,
    ) -> Any:
        """Look a key up as :meth:`RemoteCache.get` does; log what fails, and return the default."""
        try:
            return super().get(key, default, read, expire_time, tag, retry)
        except _MISSES as error:
            log_failure(self._label, error)
            nothing = (None,) * (bool(expire_time) + bool(tag))
            return (default, *nothing) if nothing else default

    def __contains__(self, key: Any) -> bool:
        try:
            return super().__contains__(key)
        except _MISSES as error:
            log_failure(self._label, error)
            return False

    def _load(self, key: Any, stored: bytes) -> tuple[Any, Any]:
        """Return value and tag; ENOVAL if the value cannot be loaded, which is logged."""
        try:
            return super()._load(key, stored)
        except Exception as error:
            if passes_over(self._label, error):
                return ENOVAL, None
            raise

    def _place(self) -> str:
        """Return what the log calls the cache."""
        return self._label

    def _get_values(self, keys: Sequence[Any], retry: bool = False) -> list[Any]:
        """Return the values of keys in their order, ENOVAL for what is missing."""
        try:
            found = self.get_many(keys)
        except _MISSES as error:
            log_failure(self._label, error)
            found = {}
        return [found.get(key, ENOVAL) for key in keys]

    def _store_many(
        self,
        pairs: Sequence[tuple[Any, Any]],
        expire: float | None,
        tag: Any,
        retry: bool,
        add: bool,
    ) -> list[int]:
        """Store items; return the positions of those that were not stored."""
        if not add:
            self.set_many(pairs, expire, tag)
            return []
        ms = milliseconds(expire)
        if ms is not None and ms <= 0:
            return [place for place, pair in enumerate(pairs) if not self.add(*pair, expire)]
        return self._refused(self._add_command(*pair, ms, tag) for pair in pairs)

    def _touch_many(self, keys: Sequence[Any], expire: float | None, retry: bool) -> list[int]:
        """Touch items; return the positions of the keys that were not found."""
        ms = milliseconds(expire)
        return self._refused(self._touch_command(key, ms) for key in keys)

    def _refused(self, commands: Iterable[tuple[bytes, Command]]) -> list[int]:
        """Run commands that write a key each; return the positions of those that wrote nothing."""
        given = list(commands)
        answers: list[Any] = []
        try:
            for some in self._engine.many(command for _, command in given):
                answers += some
        finally:
            self._hear([name for name, _ in given])
        return [place for place, answer in enumerate(answers) if not answer]

    def _move(self, old: Any, new: Any) -> bool:
        """Give an item another key; its value, tag and expiry stay.

        Of several who try at once, one succeeds. In between the item is under neither key.

        :return: whether there was one
        """
        value, expire_time, tag = self.pop(old, ENOVAL, expire_time=True, tag=True)
        if value is ENOVAL:
            return False
        self.set(new, value, None if expire_time is None else expire_time - time.time(), tag=tag)
        return True
