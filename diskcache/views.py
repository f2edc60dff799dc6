"""What Cache and FanoutCache have of a dict's interface beside their own; and an Index's views.

Iterating a cache gives expired keys too, as the original does. Its views leave them out, and what
is removed meanwhile. They go by the keys as they stand in the database, since not every key could
be looked up: a frozenset of str is pickled to other bytes by a process with other hashes.
"""

from __future__ import annotations

from collections import abc
from collections.abc import Iterable, Iterator, Mapping

from .constants import ENOVAL
from .disk import StoredKey
from .hints import Any, Generic, Items, K, R, Self, V, overload
from .refusal import RefusedError

#: Each Cache, with what its rows can be looked up with (`Cache._naming_keys`).
Names = Iterable[tuple[Any, Iterator[Any]]]

#: What a mapping looks its items up with.
LOOKUPS = ('__iter__', '__reversed__', '__getitem__', '__contains__')


def has_all_of(cls: type, base: type, names: Iterable[str] = LOOKUPS) -> bool:
    """Tell whether a class overrides none of these methods of a base."""
    return all(getattr(cls, name) is getattr(base, name) for name in names)


def store_items(cache: Any, other: Any, more: Mapping[str, Any]) -> None:
    """Store what dict.update takes, waiting for the lock as long as it takes.

    :param cache: Cache or FanoutCache
    :param other: mapping, or iterable of pairs
    :param more: further items
    """
    if hasattr(other, 'keys') and not hasattr(other, 'items'):
        pairs: Any = ((key, other[key]) for key in other.keys())  # noqa: SIM118
    else:
        pairs = other
    cache.set_many(pairs, retry=True)
    cache.set_many(more, retry=True)


def _decoded(cache: Any, stored: StoredKey) -> Any:
    """Return the key that is stored so; ENOVAL if it is refused, or cannot be loaded."""
    try:
        return cache._decode_key(stored)
    except RefusedError as error:
        cache._note_refusal(None, error)
        return ENOVAL


def _keys(mapping: Any, reverse: bool = False) -> Iterator[Any]:
    """Yield the keys that have not expired."""
    shards = mapping._names(reverse)
    if shards is None:
        for key in reversed(mapping) if reverse else mapping:
            if key in mapping:
                yield key
        return
    for cache, names in shards:
        for name in names:
            if name in cache:
                key = _decoded(cache, name) if type(name) is StoredKey else name
                if key is not ENOVAL:
                    yield key


def _items(mapping: Any, reverse: bool = False) -> Iterator[tuple[Any, Any]]:
    """Yield the items that are there and have not expired."""
    shards = mapping._names(reverse)
    if shards is None:
        for key in reversed(mapping) if reverse else mapping:
            try:
                value = mapping[key]
            except KeyError:
                continue
            yield key, value
        return
    for cache, names in shards:
        for name in names:
            value = cache.get(name, ENOVAL, retry=True)
            if value is not ENOVAL:
                key = _decoded(cache, name) if type(name) is StoredKey else name
                if key is not ENOVAL:
                    yield key, value


class KeysView(abc.KeysView[K]):
    """View of the keys that have not expired; its length counts those that have, too."""

    _mapping: Any

    def __iter__(self) -> Iterator[K]:
        return _keys(self._mapping)

    def __reversed__(self) -> Iterator[K]:
        return _keys(self._mapping, reverse=True)


class ItemsView(abc.ItemsView[K, V]):
    """View of the items that are there."""

    _mapping: Any

    def __iter__(self) -> Iterator[tuple[K, V]]:
        return _items(self._mapping)

    def __reversed__(self) -> Iterator[tuple[K, V]]:
        return _items(self._mapping, reverse=True)


class ValuesView(abc.ValuesView[V]):
    """View of the values of these items."""

    _mapping: Any

    def __contains__(self, value: object) -> bool:
        return any(other is value or other == value for other in self)

    def __iter__(self) -> Iterator[V]:
        return (value for _, value in _items(self._mapping))

    def __reversed__(self) -> Iterator[V]:
        return (value for _, value in _items(self._mapping, reverse=True))


class DictMethods(Generic[K, V]):
    """Methods of a dict, for a class that has the others of a cache, and `_names`."""

    def keys(self) -> KeysView[K]:
        """Return a view of the keys. Iterating, it leaves out those that have expired."""
        return KeysView(self)  # type: ignore[arg-type]

    def values(self) -> ValuesView[V]:
        """Return a view of the values. Iterating, it leaves out those that have expired."""
        return ValuesView(self)  # type: ignore[arg-type]

    def items(self) -> ItemsView[K, V]:
        """Return a view of the items. Iterating, it leaves out those that have expired."""
        return ItemsView(self)  # type: ignore[arg-type]

    @overload
    def update(self, other: Items[K, V], /) -> None: ...

    @overload
    def update(
        self: DictMethods[str, V],
        other: Items[str, V] = (),
        /,
        **kwds: V,
    ) -> None: ...

    def update(self, other: Any = (), /, **kwds: Any) -> None:
        """Store items, as dict.update does, waiting for the lock as long as it takes.

        Many are stored in one transaction, see `set_many`.

        :param other: mapping, or iterable of pairs, such as a generator, which may use the cache
        :param kwds: further items
        :raises TypeError: if `other` is neither, or an item is no pair
        :raises ValueError: if an item is not of length two
        """
        store_items(self, other, kwds)

    def __ior__(self, other: Items[K, V]) -> Self:
        """Store the items of a mapping, or of an iterable of pairs; see :meth:`update`."""
        self.update(other)
        return self

    @overload
    def setdefault(self: DictMethods[K, R | None], key: K, default: None = None) -> R | None: ...

    @overload
    def setdefault(self, key: K, default: V) -> V: ...

    def setdefault(self, key: K, default: Any = None) -> Any:
        """Return the value of a key; store one first, if it has none.

        Of several who try at once, one stores its value, and all get that.

        :param key: any picklable object
        :param default: its value if it is missing, has expired, or counts as missing because it
            cannot be loaded
        :return: the value
        """
        this: Any = self
        try:
            return this[key]
        except KeyError:
            this.add(key, default, retry=True)
        value = this.get(key, default=ENOVAL, retry=True)
        if value is not ENOVAL:
            return value
        with this.transact(retry=True):  # it is gone again, or what is there cannot be loaded
            value = this.get(key, default=ENOVAL, retry=True)
            if value is ENOVAL:
                this.set(key, default, retry=True)
                value = this.get(key, default=default, retry=True)
        return value
