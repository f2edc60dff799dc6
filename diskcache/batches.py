"""Taking many items or keys some at a time."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator

from ._core import BATCH_BYTES, BATCH_ITEMS
from .hints import Any, T


def iter_of(argument: Any, name: str, kind: str) -> Iterator[Any]:
    """Return an iterator over an argument; TypeError naming it if it is not of that kind."""
    try:
        if not isinstance(argument, str | bytes):
            return iter(argument)
    except TypeError:
        pass
    raise TypeError(f'{name} must be {kind}, not {type(argument).__name__!r}')


def checked_pairs(items: Any) -> Iterator[tuple[Any, Any]]:
    """Yield the pairs of a mapping, or of an iterable of pairs; the errors are the core's own."""
    pairs = items.items() if hasattr(items, 'keys') and hasattr(items, 'items') else items
    for position, pair in enumerate(iter_of(pairs, 'items', 'a mapping or an iterable of pairs')):
        whose = f'items[{position}] must be a pair (key, value)'
        try:
            both = tuple(pair)
        except TypeError:
            raise TypeError(f'{whose}, not {type(pair).__name__!r}') from None
        if len(both) != 2:
            raise ValueError(f'{whose}: its length is {len(both)}')
        yield both


def hashable_keys(keys: Any) -> Iterator[Any]:
    """Yield keys for a dict; the errors are the core's own."""
    for position, key in enumerate(iter_of(keys, 'keys', 'an iterable of keys')):
        try:
            hash(key)
        except TypeError:
            raise TypeError(
                f'keys[{position}], of type {type(key).__name__!r}, cannot be hashed, which a key'
                ' of the returned dict must be'
            ) from None
        yield key


def batches(elements: Iterable[T], size: Callable[[T], int]) -> Iterator[list[T]]:
    """Yield lists of some of the elements at a time.

    :param elements: the elements
    :param size: how many bytes one takes, to its own knowledge
    """
    batch: list[T] = []
    total = 0
    for element in elements:
        batch.append(element)
        total += size(element)
        if len(batch) == BATCH_ITEMS or total >= BATCH_BYTES:
            yield batch
            batch, total = [], 0
    if batch:
        yield batch


def size_of_pair(pair: tuple[Any, Any]) -> int:
    return sys.getsizeof(pair[1])
