"""Index: a persistent ordered mapping on a Cache.

Its items are those of its cache in the order in which they were inserted, which is the order of
their rowids.
"""

from __future__ import annotations

import collections
import os
from collections import abc
from collections.abc import Callable, Iterable, Iterator, Mapping, MutableMapping

from . import sql
from .cache import Cache
from .constants import ENOVAL
from .hints import Any, ClassVar, Items, K, Memoized, N, P, Path, R, Self, Side, V, overload
from .mismatch import check_eviction
from .on_cache import OnCache
from .views import DictMethods, ItemsView, Names, ValuesView, has_all_of, store_items


def same_items(index: Mapping[Any, Any], other: Mapping[Any, Any]) -> bool:
    """Tell whether an index has the items of a mapping, in the same order if that counts there."""
    if len(index) != len(other):
        return False
    if isinstance(other, collections.OrderedDict) or getattr(other, '_order_counts', False):
        pairs = zip(index.items(), other.items(), strict=False)
        return all(mine == theirs for mine, theirs in pairs)
    for key, value in index.items():
        try:
            theirs = other.get(key, ENOVAL)
        except TypeError:  # a key that cannot be hashed is in no dict
            return False
        if not (theirs is value or theirs == value):
            return False
    return True


class KeysView(abc.KeysView[K]):
    """View of an Index's keys."""

    _mapping: Index[K, Any]

    def __reversed__(self) -> Iterator[K]:
        return reversed(self._mapping)


class Index(OnCache[K, V], MutableMapping[K, V]):
    """Persistent mapping in the order of insertion, with the interface of an ordered dict.

    Keys are not hashed: two are the same if they are stored as the same, see :class:`Disk`. So a
    list can be a key, and ``True`` is another key than ``1``.

    >>> index = Index({'a': 1}, b=2)
    >>> index['c'] = 3
    >>> list(index)
    ['a', 'b', 'c']
    >>> index.popitem(last=False)
    ('a', 1)
    """

    _order_counts = True

    @overload
    def __init__(self, directory: Path | None = None, /) -> None: ...

    @overload
    def __init__(self, other: Items[K, V], /) -> None: ...

    @overload
    def __init__(self, directory: Path | None, other: Items[K, V], /) -> None: ...

    @overload
    def __init__(self: Index[str, V], directory: Path | None = None, /, **kwargs: V) -> None: ...

    @overload
    def __init__(self: Index[str, V], other: Items[str, V], /, **kwargs: V) -> None: ...

    @overload
    def __init__(
        self: Index[str, V], directory: Path | None, other: Items[str, V], /, **kwargs: V
    ) -> None: ...

    def __init__(self, *args: Any, **kwargs: Any) -> None:  # type: ignore[misc] # as it accepts all
        """Open an index and update it.

        :param args: first, if it is a path or None, the directory (None or not given: a new
            temporary directory); then, as for a dict, a mapping or an iterable of pairs
        :param kwargs: further items
        :raises TypeError: if there are more arguments, or of other types
        :raises OSError: if the directory cannot be made
        """
        directory = None
        if args and (args[0] is None or isinstance(args[0], bytes | str | os.PathLike)):
            directory, *args = args  # type: ignore[assignment]
        self._cache = Cache(directory, eviction_policy='none')
        self._update(*args, **kwargs)

    @overload  # type: ignore[override]
    def update(self, other: Items[K, V], /) -> None: ...

    @overload
    def update(self: Index[str, V], other: Items[str, V] = (), /, **kwds: V) -> None: ...

    def update(self, other: Any = (), /, **kwds: Any) -> None:
        """Set items, as dict.update does, many in one transaction: see :meth:`Cache.set_many`.

        :param other: mapping, or iterable of pairs, such as a generator, which may use the index
        :param kwds: further items
        :raises TypeError: if `other` is neither, or an item is no pair
        :raises ValueError: if an item is not of length two
        """
        # The items, and not the keys and then their values: of an index, one may vanish meanwhile.
        if isinstance(other, Index):
            other = other.items()
        if not self._sets_by_cache():
            super().update(other, **kwds)
            return
        store_items(self._cache, other, kwds)

    def _sets_by_cache(self) -> bool:
        """Tell whether setting an item is no more than setting it in the cache."""
        return (
            type(self).__setitem__ is Index.__setitem__
            and type(self._cache).__setitem__ is Cache.__setitem__
        )

    _update = update

    @classmethod
    def fromcache(cls, cache: Cache[K, V], *args: Any, **kwargs: Any) -> Self:
        """Make an index on a cache that is open already, and update it.

        :param cache: the cache; if it evicts, so do its items
        :param args: a mapping or an iterable of pairs
        :param kwargs: further items
        :return: the index
        """
        check_eviction(cache, f'an {cls.__name__}')
        self = cls.__new__(cls)
        self._cache = cache
        self._update(*args, **kwargs)
        return self

    @classmethod
    def fromkeys(cls, iterable: Iterable[K], value: V = None) -> Self:  # type: ignore[assignment]
        """Make an index in a new temporary directory whose keys have all the same value.

        :param iterable: the keys
        :param value: their value
        :return: the index
        """
        self = cls()
        self.update((key, value) for key in iterable)
        return self

    def __getitem__(self, key: K) -> V:
        """Return the value of a key; KeyError if it is missing."""
        return self._cache[key]

    def __setitem__(self, key: K, value: V) -> None:
        """Set the value of a key; a key that is there stays where it is in the order."""
        self._cache[key] = value

    def __delitem__(self, key: K) -> None:
        """Remove a key; KeyError if it is missing."""
        del self._cache[key]

    def __contains__(self, key: object) -> bool:
        """Tell whether there is an item with this key."""
        return key in self._cache

    @overload
    def setdefault(self: Index[K, R | None], key: K, default: None = None) -> R | None: ...

    @overload
    def setdefault(self, key: K, default: V) -> V: ...

    def setdefault(self, key: K, default: Any = None) -> Any:
        """Return the value of a key; give it one first, if it has none.

        Of several who try at once, one stores its value, and all get that.

        :param key: any picklable object
        :param default: its value if it is missing
        :return: the value
        """
        value = self._cache.get(key, default=ENOVAL, retry=True)
        if value is ENOVAL:
            with self._cache.transact(retry=True):
                value = self._cache.get(key, default=ENOVAL, retry=True)
                if value is ENOVAL:
                    self._cache.set(key, default, retry=True)
                    value = self._cache.get(key, default=default, retry=True)
        return value

    def peekitem(self, last: bool = True) -> tuple[K, V]:
        """Return the item inserted last, or first; KeyError if the index is empty.

        :param last: the last one, or the first
        :return: (key, value)
        """
        return self._cache.peekitem(last, retry=True)

    @overload
    def pop(self, key: K) -> V: ...

    @overload
    def pop(self, key: K, default: R) -> V | R: ...

    def pop(self, key: K, default: Any = ENOVAL) -> Any:
        """Remove a key and return its value, atomically.

        :param key: key of the item
        :param default: what to return if it is missing
        :return: the value
        :raises KeyError: if the key is missing and there is no default
        """
        value = self._cache.pop(key, default=default, retry=True)
        if value is ENOVAL:
            raise KeyError(key)
        return value

    def popitem(self, last: bool = True) -> tuple[K, V]:
        """Remove the item inserted last, or first, and return it, atomically.

        :param last: the last one, as from a stack, or the first, as from a queue
        :return: (key, value)
        :raises KeyError: if the index is empty
        """
        cls = type(self._cache)
        if cls.peekitem is Cache.peekitem and cls.__delitem__ is Cache.__delitem__:
            return self._cache._popitem(last)
        with self._cache.transact(retry=True):
            key, value = self._cache.peekitem(last, retry=True)
            del self._cache[key]
        return key, value

    def move_to_end(self, key: K, last: bool = True) -> None:
        """Move an item to the end of the order, or to its beginning.

        :param key: key of the item
        :param last: to the end, or to the beginning; that may renumber all rows once in a while
        :raises KeyError: if the key is missing
        """
        self._cache._require_writable()
        database_key, raw = self._cache.disk.put(key)
        with self._cache._transact(retry=True) as (execute, _):
            rows = execute(sql.ROWID, (database_key, raw)).fetchall()
            if not rows or key not in self._cache:
                raise KeyError(key)
            ((rowid,),) = rows
            ((lowest, highest, count),) = execute(sql.ROWID_RANGE)
            if rowid == (highest if last else lowest):
                return
            if not last and lowest <= 1:
                # Iteration begins at rowid 1. By way of the negative numbers, so that no two rows
                # have the same one at any moment; with room for as many more.
                execute(sql.ROWID_NEGATE)
                execute(sql.ROWID_MIRROR, (count,))
                rowid, lowest = rowid + count, lowest + count
            target = highest + 1 if last else lowest - 1
            execute(sql.ROWID_CHANGE, (target, rowid))

    @overload
    def push(self, value: V, prefix: None = None, side: Side = 'back') -> int: ...

    @overload
    def push(self, value: V, prefix: str, side: Side = 'back') -> str: ...

    @overload
    def push(self, value: V, prefix: str | None, side: Side = 'back') -> int | str: ...

    def push(self, value: V, prefix: str | None = None, side: Side = 'back') -> Any:
        """Add a value to a queue, under a key that is made for it; see :meth:`Cache.push`.

        :param value: any picklable object
        :param prefix: names the queue (None: the one with integer keys)
        :param side: ``'back'`` or ``'front'``
        :return: the key
        """
        return self._cache.push(value, prefix, side, retry=True)

    @overload
    def pull(
        self, prefix: None = None, default: N = ..., side: Side = 'front'
    ) -> tuple[int, V] | N: ...

    @overload
    def pull(self, prefix: str, default: N = ..., side: Side = 'front') -> tuple[str, V] | N: ...

    @overload
    def pull(
        self, prefix: str | None = None, default: Any = (None, None), side: Side = 'front'
    ) -> Any: ...

    def pull(
        self, prefix: str | None = None, default: Any = (None, None), side: Side = 'front'
    ) -> Any:
        """Take a value from a queue; see :meth:`Cache.pull`.

        :param prefix: names the queue (None: the one with integer keys)
        :param default: what to return if the queue is empty
        :param side: ``'front'`` or ``'back'``
        :return: (key, value), or the default
        """
        return self._cache.pull(prefix, default, side, retry=True)

    def clear(self) -> None:
        """Remove all items."""
        self._cache.clear(retry=True)

    def copy(self) -> Self:
        """Return an index in a new temporary directory with the same items.

        Unlike :meth:`Deque.copy`, it is independent of this one, as a copy of a dict is.
        """
        return self._like(self)

    def _like(self, items: Mapping[Any, Any]) -> Self:
        """Return an index with other items in a new temporary directory."""
        if self._has_plain_cache():
            return type(self)(items)
        return type(self).fromcache(self._new_cache(), items)

    def __or__(self, other: Mapping[K, V]) -> Self:
        """Return an index in a new temporary directory with the items of both."""
        if not isinstance(other, Mapping):
            return NotImplemented
        result = self.copy()
        result._update(other)
        return result

    def __ror__(self, other: Mapping[K, V]) -> Self:
        if not isinstance(other, Mapping):
            return NotImplemented
        result = self._like(other)
        result._update(self)
        return result

    def __ior__(self, other: Items[K, V]) -> Self:
        """Update the index."""
        self._update(other)
        return self

    def __iter__(self) -> Iterator[K]:
        """Iterate over the keys in the order of their insertion."""
        return iter(self._cache)

    def __reversed__(self) -> Iterator[K]:
        """Iterate over the keys, the one inserted last first."""
        return reversed(self._cache)

    def __len__(self) -> int:
        """Return the number of items."""
        return len(self._cache)

    def keys(self) -> KeysView[K]:
        """Return a view of the keys."""
        return KeysView(self)

    def _names(self, reverse: bool) -> Names | None:
        """Return what views go by, in the order of insertion; None if a subclass decides that."""
        if not (has_all_of(type(self), Index) and isinstance(self._cache, DictMethods)):
            return None
        return self._cache._names(reverse)

    def values(self) -> ValuesView[V]:
        """Return a view of the values. Iterating, it leaves out what is removed meanwhile."""
        return ValuesView(self)

    def items(self) -> ItemsView[K, V]:
        """Return a view of the items. Iterating, it leaves out what is removed meanwhile."""
        return ItemsView(self)

    __hash__: ClassVar[None] = None  # type: ignore[assignment]

    def __getstate__(self) -> str:
        return self._cache._path

    def __setstate__(self, state: str) -> None:
        self.__init__(state)  # type: ignore[misc]

    def __reduce__(self) -> tuple[Any, ...]:
        return self._reduce(Index)

    def __eq__(self, other: object) -> bool:
        """Compare with a mapping: with an Index or an OrderedDict, the order counts too."""
        return same_items(self, other) if isinstance(other, Mapping) else NotImplemented

    def __ne__(self, other: object) -> bool:
        equal = self.__eq__(other)
        return equal if equal is NotImplemented else not equal

    def memoize(
        self,
        name: str | None = None,
        typed: bool = False,
        ignore: Iterable[int | str] = (),
        *,
        signature: bool = False,
        cache_if: Callable[[Any], object] | None = None,
    ) -> Callable[[Callable[P, R]], Memoized[P, R]]:
        """Decorate a function so that its results are kept in the index; :meth:`Cache.memoize`.

        :param name: what keys begin with (None: the function's full name)
        :param typed: whether arguments of different types are different
        :param ignore: positions and names of arguments that do not count
        :param signature: make keys from the function's signature
        :param cache_if: called with each new result; it is stored only if this returns something
            true (None: always)
        :return: decorator
        :raises TypeError: if the decorator is used without parentheses
        """
        return self._cache.memoize(
            name, typed, ignore=ignore, signature=signature, cache_if=cache_if
        )

    def _ipython_key_completions_(self) -> list[Any]:
        """Return keys that a notebook offers behind a bracket: some, and no pickled ones."""
        return self._cache._ipython_key_completions_()

    def __repr__(self) -> str:
        return f'{type(self).__name__}({self.directory!r}){self._length_shown()}'
