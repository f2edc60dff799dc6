"""What Cache and FanoutCache have of a dict's interface beside their own; and an Index's views.

Iterating a cache gives expired keys too, as the original does. Its views leave them out, and what
is removed meanwhile, so that ``dict(cache)`` does not meet keys without a value.
"""

from __future__ import annotations

from collections.abc import ItemsView, Iterable, Iterator, KeysView, ValuesView
from typing import Any, TypeVar

__all__ = ['DictMethods', 'Items', 'Values']

S = TypeVar('S', bound='DictMethods')


class _Keys(KeysView[Any]):
    """View of the keys that have not expired; its length counts those that have, too."""

    _mapping: Any

    def __iter__(self) -> Iterator[Any]:
        return (key for key in self._mapping if key in self._mapping)

    def __reversed__(self) -> Iterator[Any]:
        return (key for key in reversed(self._mapping) if key in self._mapping)


class Items(ItemsView[Any, Any]):
    """View of the items that are there, as the mapping's `_present` yields them."""

    _mapping: Any

    def __iter__(self) -> Iterator[tuple[Any, Any]]:
        return self._mapping._present(self._mapping)  # type: ignore[no-any-return]

    def __reversed__(self) -> Iterator[tuple[Any, Any]]:
        return self._mapping._present(reversed(self._mapping))  # type: ignore[no-any-return]


class Values(ValuesView[Any]):
    """View of the values of these items."""

    _mapping: Any

    def __contains__(self, value: object) -> bool:
        return any(other is value or other == value for other in self)

    def __iter__(self) -> Iterator[Any]:
        return (value for _, value in self._mapping._present(self._mapping))

    def __reversed__(self) -> Iterator[Any]:
        return (value for _, value in self._mapping._present(reversed(self._mapping)))


class DictMethods:
    """Methods of a dict, for a class that has the others of a cache."""

    def _present(self, keys: Iterable[Any]) -> Iterator[tuple[Any, Any]]:
        """Yield the items of some keys, without those that are no longer there."""
        this: Any = self
        for key in keys:
            try:
                value = this[key]
            except KeyError:
                continue
            yield key, value

    def keys(self) -> KeysView[Any]:
        """Return a view of the keys. Iterating, it leaves out those that have expired."""
        return _Keys(self)  # type: ignore[arg-type]

    def values(self) -> ValuesView[Any]:
        """Return a view of the values. Iterating, it leaves out those that have expired."""
        return Values(self)  # type: ignore[arg-type]

    def items(self) -> ItemsView[Any, Any]:
        """Return a view of the items. Iterating, it leaves out those that have expired."""
        return Items(self)  # type: ignore[arg-type]

    def update(self, other: Any = (), /, **kwds: Any) -> None:
        """Store items, as dict.update does, waiting for the lock as long as it takes.

        Many are stored in one transaction, see `set_many`.

        :param other: mapping, or iterable of pairs, such as a generator, which may use the cache
        :param kwds: further items
        :raises TypeError: if `other` is neither, or an item is no pair
        :raises ValueError: if an item is not of length two
        """
        this: Any = self
        if hasattr(other, 'keys') and not hasattr(other, 'items'):
            pairs: Any = ((key, other[key]) for key in other.keys())  # noqa: SIM118
        else:
            pairs = other
        this.set_many(pairs, retry=True)
        this.set_many(kwds, retry=True)

    def __ior__(self: S, other: Any) -> S:
        """Store the items of a mapping, or of an iterable of pairs; see :meth:`update`."""
        self.update(other)
        return self

    def setdefault(self, key: Any, default: Any = None) -> Any:
        """Return the value of a key; store one first, if it has none.

        Of several who try at once, one stores its value, and all get that.

        :param key: any picklable object
        :param default: its value if it is missing, or has expired
        :return: the value
        """
        this: Any = self
        try:
            return this[key]
        except KeyError:
            this.add(key, default, retry=True)
            return this.get(key, default=default, retry=True)
