"""What Deque and Index share: they are a Cache looked at in another way."""

from __future__ import annotations

from .cache import Cache, Transaction
from .disk import Disk
from .hints import Any, Generic, K, V
from .pickling import reduce

#: Seconds that a Cache waits for a lock unless it is told otherwise.
_CACHE_TIMEOUT = 60


class OnCache(Generic[K, V]):
    """What Deque and Index share: they are a Cache looked at in another way."""

    _cache: Cache[K, V]

    @property
    def cache(self) -> Cache[K, V]:
        """The :class:`Cache` that keeps the items."""
        return self._cache

    @property
    def directory(self) -> str:
        """Directory of the cache."""
        return self._cache.directory

    def transact(self) -> Transaction:
        """Lock the cache for a block of operations, waiting for the lock as long as it takes.

        Nobody else can write meanwhile, and everybody sees all of what the block has written or,
        if it ends with an exception, nothing. Transactions nest. Keep them short.

        :return: context manager
        """
        return self._cache.transact(retry=True)

    def _length_shown(self) -> str:
        """Return the length for a repr, which does not fail where the length cannot be had."""
        try:
            count = len(self._cache)
        except Exception:
            return ''
        if count == 0:
            return ''  # as the original's, whose own test looks at an empty one
        return f' of {count} item' if count == 1 else f' of {count} items'

    def _repr_html_(self) -> str | None:
        """Return what a notebook shows: a table, of what stands in the database."""
        from .notebooks import table_of  # which nothing else needs

        cache = getattr(self, '_cache', None)
        if cache is None:
            return None
        return table_of(self, cache._directory, [(cache._path, cache._read_only)])

    def _has_plain_cache(self) -> bool:
        """Tell whether opening the directory again would give a cache of the same kind."""
        return (
            type(self._cache) is Cache
            and type(self._cache.disk) is Disk
            and self._cache.timeout == _CACHE_TIMEOUT
            and self._cache.eviction_policy == 'none'
            and not self._cache._read_only_asked
        )

    def _new_cache(self) -> Cache[K, V]:
        """Open a cache with the same Disk in a new temporary directory."""
        return Cache(disk=type(self._cache.disk), eviction_policy='none')

    def _reduce(self, base: type, *arguments: Any) -> tuple[Any, ...]:
        """Pickle by the directory, as the original does, or else with the cache: it reads both.

        :param base: class whose __getstate__ may have been overridden
        :param arguments: of `fromcache`, behind the cache
        """
        cls: Any = type(self)
        if self._has_plain_cache() or cls.__getstate__ is not base.__getstate__:  # type: ignore[attr-defined]
            return reduce(self)
        return cls.fromcache, (self._cache, *arguments)
