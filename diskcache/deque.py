"""Deque and Index: a persistent deque and a persistent ordered mapping, each on a Cache.

The items of a Deque are those of a queue (:meth:`Cache.push`): their keys are consecutive numbers,
and the order of the keys is the order of the items. So turning and reversing a deque only renumbers
keys, in one statement, and no value is read or written. The items of an Index are those of its
cache in the order in which they were inserted, which is the order of their rowids.
"""

from __future__ import annotations

import collections
import copyreg
import functools as ft
import itertools as it
import operator
import os
import sys
from collections import abc
from collections.abc import (
    Callable,
    Iterable,
    Iterator,
    Mapping,
    MutableMapping,
    Sequence,
)
from contextlib import AbstractContextManager
from typing import Any, ClassVar, ParamSpec, TypeVar, cast

from .cautions import warn
from .cache import ENOVAL, Cache, Disk, StoredKey
from .mismatch import check_eviction
from .views import DictMethods, ItemsView, Rows, ValuesView, has_all_of

__all__ = ['Deque', 'Index']

P = ParamSpec('P')
R = TypeVar('R')
D = TypeVar('D', bound='Deque')
I = TypeVar('I', bound='Index')  # noqa: E741

#: Seconds that a Cache waits for a lock unless it is told otherwise.
_CACHE_TIMEOUT = 60

#: The keys that push() makes without a prefix: integers of 15 digits, from the middle of them.
_INTEGER = "raw = 1 AND typeof(key) = 'integer'"
_QUEUE = f'{_INTEGER} AND key BETWEEN 100000000000000 AND 999999999999999'
_QUEUE_MIDDLE = 500_000_000_000_000
#: The lowest and the highest of them, by two steps in the index.
_QUEUE_ENDS = (
    f'SELECT (SELECT key FROM Cache WHERE {_QUEUE} ORDER BY key LIMIT 1),'
    f' (SELECT key FROM Cache WHERE {_QUEUE} ORDER BY key DESC LIMIT 1)'
)


class _OnCache:
    """What Deque and Index share: they are a Cache looked at in another way."""

    _cache: Cache

    @property
    def cache(self) -> Cache:
        """The :class:`Cache` that keeps the items."""
        return self._cache

    @property
    def directory(self) -> str:
        """Directory of the cache."""
        return self._cache.directory

    def transact(self) -> AbstractContextManager[None]:
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

    def _has_plain_cache(self) -> bool:
        """Tell whether opening the directory anew would give a cache of the same kind."""
        return (
            type(self._cache) is Cache
            and type(self._cache.disk) is Disk
            and self._cache.timeout == _CACHE_TIMEOUT
            and self._cache.eviction_policy == 'none'
        )

    def _new_cache(self) -> Cache:
        """Open a cache with the same Disk in a new temporary directory."""
        return Cache(disk=type(self._cache.disk), eviction_policy='none')

    def _reduce(self, base: type, *arguments: Any) -> tuple[Any, ...]:
        """Pickle by the directory, as the original does, or else with the cache: it reads both.

        :param base: class whose __getstate__ may have been overridden
        :param arguments: of `fromcache`, behind the cache
        """
        cls: Any = type(self)
        if self._has_plain_cache() or cls.__getstate__ is not base.__getstate__:  # type: ignore[attr-defined]
            return copyreg.__newobj__, (cls,), self.__getstate__()  # type: ignore[attr-defined]
        return cls.fromcache, (self._cache, *arguments)


def _make_compare(seq_op: Callable[[Any, Any], bool], doc: str) -> Callable[[Deque, object], Any]:
    """Return the method that compares a deque with a sequence as sequences are compared.

    :param seq_op: operator: eq, ne, lt, gt, le or ge
    :param doc: what it means, for its docstring
    """

    def compare(self: Deque, that: object) -> Any:
        if not isinstance(that, Sequence):
            return NotImplemented
        if seq_op in (operator.eq, operator.ne) and len(self) != len(that):
            return seq_op is operator.ne
        for mine, other in zip(self, that, strict=False):
            if mine is not other and mine != other:
                return seq_op(mine, other)
        return seq_op(len(self), len(that))

    compare.__name__ = f'__{seq_op.__name__}__'
    compare.__qualname__ = f'Deque.{compare.__name__}'
    compare.__doc__ = f'Tell whether the deque is {doc} `that`.'
    return compare


def _whole(number: Any) -> int:
    """Return an int, also of a float that is one, which the original takes too; or TypeError."""
    if isinstance(number, float) and number.is_integer():
        return int(number)
    return operator.index(number)


def _checked_maxlen(maxlen: float | None) -> float:
    """Return the most items allowed, infinity for no limit.

    :raises TypeError: if it is no whole number
    :raises ValueError: if it is negative
    """
    if maxlen is None or maxlen == float('inf'):
        return float('inf')
    try:
        limit = _whole(maxlen)
    except TypeError:
        raise TypeError(f'maxlen must be an int or None, not {maxlen!r}') from None
    if limit < 0:
        raise ValueError(f'maxlen must not be negative: {limit}')
    return limit


def _require_kept(result: object) -> None:
    """Raise ValueError for what set and push return of a value that the cache refused."""
    if result is None or result is False:
        raise ValueError('the value is larger than size_limit and would not be kept')


class Deque(_OnCache, Sequence[Any]):
    """Persistent sequence with the interface of :class:`collections.deque`.

    Every change but :meth:`clear` is one transaction: all processes see it as a whole or not at
    all. Iterating is none: it gives the items as they are when they are come to, and leaves out
    what has been removed until then.

    >>> deque = Deque('abc', maxlen=4)
    >>> deque.appendleft('z')
    >>> deque.rotate(1)
    >>> list(deque)
    ['c', 'z', 'a', 'b']
    >>> deque.pop()
    'b'
    """

    _maxlen: float

    def __init__(
        self,
        iterable: Iterable[Any] = (),
        directory: str | os.PathLike[str] | None = None,
        maxlen: float | None = None,
    ) -> None:
        """Open a deque and append to it.

        :param iterable: items to append
        :param directory: path (None: a new temporary directory)
        :param maxlen: the most items it may have (None: no limit); what is over is removed from the
            front, also of what was there before
        :raises ValueError: if `maxlen` is negative
        :raises TypeError: if `maxlen` is no whole number
        :raises OSError: if the directory cannot be made
        """
        limit = _checked_maxlen(maxlen)
        if isinstance(iterable, str) and os.sep in iterable and directory is None:
            warn(f'Deque({iterable!r}) has the letters of a path: is directory= meant?')
        self._open(Cache(directory, eviction_policy='none'), iterable, limit)

    @classmethod
    def fromcache(
        cls: type[D], cache: Cache, iterable: Iterable[Any] = (), maxlen: float | None = None
    ) -> D:
        """Make a deque on a cache that is open already, and append to it.

        :param cache: the cache, which should have nothing else in it; if it evicts, so do its items
        :param iterable: items to append
        :param maxlen: the most items it may have (None: no limit)
        :return: the deque
        :raises ValueError: if `maxlen` is negative
        :raises TypeError: if `maxlen` is no whole number
        """
        check_eviction(cache, f'a {cls.__name__}')
        self = cls.__new__(cls)
        self._open(cache, iterable, _checked_maxlen(maxlen))
        return self

    def _open(self, cache: Cache, iterable: Iterable[Any], maxlen: float) -> None:
        self._cache = cache
        self._maxlen = maxlen
        self._extend(iterable)
        if len(cache) > maxlen:
            with cache.transact(retry=True):
                self._shrink('front')

    @property
    def maxlen(self) -> float:
        """The most items that the deque may have; infinity if there is no limit.

        It is not stored: each object that opens the directory has its own. Setting it removes what
        is over from the front.
        """
        return self._maxlen

    @maxlen.setter
    def maxlen(self, value: float | None) -> None:
        limit = _checked_maxlen(value)
        with self._cache.transact(retry=True):
            self._maxlen = limit
            self._shrink('front')

    def _overridden(self, name: str) -> Callable[..., Any] | None:
        """Return a method if a subclass has its own, or somebody has patched it."""
        method = getattr(self, name)
        is_own = getattr(method, '__func__', None) is getattr(Deque, name)
        return None if is_own else method

    def _shrink(self, side: str) -> None:
        """Remove from one side what is over maxlen, in a transaction of the caller's."""
        take = self._overridden('_popleft' if side == 'front' else '_pop')
        while len(self._cache) > self._maxlen:
            if take is not None:
                take()
            elif not self._cache._drop_end(side):
                break  # the rest are no items of a queue, or cannot be deleted

    def _index(self, index: int, func: Callable[[StoredKey], R]) -> R:
        """Call a function with the key of the item at an index, both in one transaction.

        :param index: of the item; negative ones count from the back
        :param func: called with the key
        :return: what it returns
        :raises IndexError: if there is no such item
        """
        index = _whole(index)
        order, before = ('ASC', index) if index >= 0 else ('DESC', ~index)
        select = (
            'SELECT key, raw FROM Cache WHERE key IS NOT NULL'
            f' ORDER BY key {order}, raw {order} LIMIT 1 OFFSET ?'
        )
        with self._cache._transact(retry=True) as (sql, _):
            rows = sql(select, (before,)).fetchall() if before < 2**63 else ()
            if not rows:
                raise IndexError('deque index out of range')
            return func(StoredKey(rows[0]))

    def __getitem__(self, index: int) -> Any:  # type: ignore[override]
        """Return the item at an index; IndexError if there is none.

        :meth:`peek` and :meth:`peekleft` are faster for the two ends.
        """
        value = self._cache._peek_nth(_whole(index))
        if value is ENOVAL:
            raise IndexError('deque index out of range')
        return value

    def __setitem__(self, index: int, value: Any) -> None:
        """Replace the item at an index; IndexError if there is none.

        ValueError if the value is larger than the cache may be, and is not kept; the former stays.
        """

        def replace(key: StoredKey) -> None:
            _require_kept(self._cache.set(key, value, retry=True))

        self._index(index, replace)

    def __delitem__(self, index: int) -> None:
        """Remove the item at an index; IndexError if there is none."""
        self._index(index, ft.partial(self._cache.delete, retry=True))

    def __repr__(self) -> str:
        return f'{type(self).__name__}(directory={self.directory!r}){self._length_shown()}'

    __eq__ = _make_compare(operator.eq, 'equal to')
    __ne__ = _make_compare(operator.ne, 'not equal to')
    __lt__ = _make_compare(operator.lt, 'less than')
    __gt__ = _make_compare(operator.gt, 'greater than')
    __le__ = _make_compare(operator.le, 'less than or equal to')
    __ge__ = _make_compare(operator.ge, 'greater than or equal to')

    def __add__(self: D, other: Deque) -> D:
        """Return a new deque, in a new temporary directory, with the items of both."""
        if not isinstance(other, Deque):
            return NotImplemented
        return self._like(it.chain(self, other))

    def __mul__(self: D, count: int) -> D:
        """Return a new deque, in a new temporary directory, with the items `count` times."""
        if not hasattr(count, '__index__'):
            return NotImplemented
        return self._like(list(self) * operator.index(count))

    __rmul__ = __mul__

    def _like(self: D, iterable: Iterable[Any]) -> D:
        """Return a deque with other items in a new temporary directory."""
        if self._has_plain_cache():
            return type(self)(iterable, maxlen=self._maxlen)
        return type(self).fromcache(self._new_cache(), iterable, self._maxlen)

    def __iadd__(self: D, iterable: Iterable[Any]) -> D:
        """Append the items of an iterable; see :meth:`extend`."""
        self._extend(iterable)
        return self

    def __imul__(self: D, count: int) -> D:
        """Repeat the items in place until they are there `count` times."""
        if not hasattr(count, '__index__'):
            return NotImplemented
        count = operator.index(count)
        with self._cache.transact(retry=True):
            if count > 0:
                self._extend(list(self) * (count - 1))
            else:
                self._clear()
        return self

    def _values(self, reverse: bool) -> Iterator[Any]:
        for key in self._cache._stored_keys(reverse):
            value = self._cache.get(key, default=ENOVAL, retry=True)
            if value is not ENOVAL:
                yield value

    def __iter__(self) -> Iterator[Any]:
        """Iterate over the items from front to back."""
        return self._values(reverse=False)

    def __len__(self) -> int:
        """Return the number of items."""
        return len(self._cache)

    def __reversed__(self) -> Iterator[Any]:
        """Iterate over the items from back to front."""
        return self._values(reverse=True)

    def __getstate__(self) -> tuple[str, float]:
        return self._cache._path, self.maxlen

    def __setstate__(self, state: tuple[str, float]) -> None:
        directory, maxlen = state
        self.__init__(directory=directory, maxlen=maxlen)  # type: ignore[misc]

    def __reduce__(self) -> tuple[Any, ...]:
        return self._reduce(Deque, (), self._maxlen)

    def _push(self, value: Any, side: str, other_side: str) -> None:
        if self._maxlen == float('inf'):
            _require_kept(self._cache.push(value, side=side, retry=True))
            return
        with self._cache.transact(retry=True):
            _require_kept(self._cache.push(value, side=side, retry=True))
            self._shrink(other_side)

    def append(self, value: Any) -> None:
        """Add an item at the back; one goes from the front if there are more than maxlen then.

        :param value: any picklable object
        :raises ValueError: if it is larger than an evicting cache may be, and so is not kept
        """
        self._push(value, 'back', 'front')

    _append = append

    def appendleft(self, value: Any) -> None:
        """Add an item at the front; one goes from the back if there are more than maxlen then.

        :param value: any picklable object
        :raises ValueError: if it is larger than an evicting cache may be, and so is not kept
        """
        self._push(value, 'front', 'back')

    _appendleft = appendleft

    def clear(self) -> None:
        """Remove all items."""
        self._cache.clear(retry=True)

    _clear = clear

    def copy(self: D) -> D:
        """Return another deque on the same directory, with the same maxlen.

        The items are not copied: both show the same ones.
        """
        rebuild, arguments, *state = self.__reduce__()
        deque = rebuild(*arguments)
        if state:
            deque.__setstate__(*state)
        return cast(D, deque)

    __copy__ = copy

    def count(self, value: Any) -> int:
        """Return how many items are equal to a value."""
        return sum(1 for item in self if item is value or item == value)

    def index(self, value: Any, start: int = 0, stop: int | None = None) -> int:
        """Return the index of the first item that is equal to a value.

        :param value: what to look for
        :param start: index to begin at; a negative one counts from the back
        :param stop: index to stop before (None: the end)
        :return: the index
        :raises ValueError: if there is no such item
        """
        first, last, _ = slice(start, stop).indices(len(self))
        for index, item in enumerate(it.islice(self, max(first, last))):
            if index >= first and (item is value or item == value) and index < last:
                return index
        raise ValueError('deque.index(value): value not in deque')

    def _extend_side(self, iterable: Iterable[Any], side: str, other_side: str) -> None:
        """Take the items of an iterable, which may be this deque, then store them all at once."""
        add = self._overridden('_append' if side == 'back' else '_appendleft')
        take = self._overridden('_popleft' if other_side == 'front' else '_pop')
        is_limited = add is take is None and self._maxlen <= sys.maxsize
        values = collections.deque(iterable, int(self._maxlen) if is_limited else None)
        if not values:
            return
        with self._cache.transact(retry=True):
            for value in values:
                if add is not None:
                    add(value)
                else:
                    _require_kept(self._cache.push(value, side=side, retry=True))
            self._shrink(other_side)

    def extend(self, iterable: Iterable[Any]) -> None:
        """Append items at the back: all of them or, if anything is raised meanwhile, none.

        :param iterable: the items, which are held in memory until they are stored
        """
        self._extend_side(iterable, 'back', 'front')

    _extend = extend

    def extendleft(self, iterable: Iterable[Any]) -> None:
        """Add items at the front, one before the other: all of them, or none.

        :param iterable: the items; the last one becomes the first
        """
        self._extend_side(iterable, 'front', 'back')

    def insert(self, index: int, value: Any) -> None:
        """Insert an item before an index.

        :param index: where; beyond the ends is at the ends
        :param value: any picklable object
        :raises IndexError: if the deque has maxlen items already
        """
        index = operator.index(index)
        with self._cache.transact(retry=True):
            length = len(self._cache)
            if length >= self._maxlen:
                raise IndexError('deque already at its maximum size')
            index = min(max(index + length if index < 0 else index, 0), length)
            self.rotate(-index)
            self._appendleft(value)
            self.rotate(index)

    def _peek(self, side: str) -> Any:
        _, value = self._cache.peek(default=(None, ENOVAL), side=side, retry=True)
        if value is ENOVAL:
            raise IndexError('peek from an empty deque')
        return value

    def peek(self) -> Any:
        """Return the item at the back; IndexError if the deque is empty."""
        return self._peek('back')

    def peekleft(self) -> Any:
        """Return the item at the front; IndexError if the deque is empty."""
        return self._peek('front')

    def _pull(self, side: str) -> Any:
        _, value = self._cache.pull(default=(None, ENOVAL), side=side, retry=True)
        if value is ENOVAL:
            raise IndexError('pop from an empty deque')
        return value

    def pop(self) -> Any:
        """Remove the item at the back and return it; IndexError if the deque is empty.

        Of several that pop at once, each gets an item of its own.
        """
        return self._pull('back')

    _pop = pop

    def popleft(self) -> Any:
        """Remove the item at the front and return it; IndexError if the deque is empty.

        Of several that pop at once, each gets an item of its own.
        """
        return self._pull('front')

    _popleft = popleft

    def remove(self, value: Any) -> None:
        """Remove the first item that is equal to a value.

        :param value: what to look for
        :raises ValueError: if there is no such item
        """
        if self._remove(value):
            return
        with self._cache.transact(retry=True):  # somebody may have turned the deque meanwhile
            if not self._remove(value):
                raise ValueError('deque.remove(value): value not in deque')

    def _remove(self, value: Any) -> bool:
        """Remove the first item found that is equal to a value; return whether there was one."""
        for key in self._cache._stored_keys():
            item = self._cache.get(key, default=ENOVAL, retry=True)
            if item is ENOVAL or not (item is value or item == value):
                continue
            with self._cache.transact(retry=True):  # it may be another item's key by now
                item = self._cache.get(key, default=ENOVAL, retry=True)
                if item is not ENOVAL and (item is value or item == value):
                    return self._cache.delete(key, retry=True)
        return False

    def reverse(self) -> None:
        """Reverse the order of the items. Only keys are renumbered."""
        with self._cache._transact(retry=True) as (sql, _):
            ((lowest, highest),) = sql(_QUEUE_ENDS)
            if lowest is None:
                return
            # To the free side nearer to the middle, so that the numbers do not wander off. They are
            # others than those in use, so no two rows have the same one at any moment.
            mirror = 2 * lowest - 1 if lowest + highest > 2 * _QUEUE_MIDDLE else 2 * highest + 1
            sql(f'UPDATE Cache SET key = ? - key WHERE {_QUEUE}', (mirror,))

    def rotate(self, steps: int = 1) -> None:
        """Turn the deque: move items from the back to the front. Only keys are renumbered.

        :param steps: how many; negative: from the front to the back
        :raises TypeError: if `steps` is no int
        """
        try:
            steps = operator.index(steps)
        except TypeError:
            raise TypeError(f'steps must be an int, not {type(steps).__name__!r}') from None
        with self._cache._transact(retry=True) as (sql, _):
            count = len(self._cache)
            moved = steps % count if count else 0
            ((lowest, highest),) = sql(_QUEUE_ENDS)
            if not moved or lowest is None:
                return
            # The shorter part moves past the other one, by the width of the whole.
            from_back = moved <= count - moved
            order, number = ('DESC', moved) if from_back else ('ASC', count - moved)
            nth = f'SELECT key FROM Cache WHERE {_QUEUE} ORDER BY key {order} LIMIT 1 OFFSET ?'
            for (key,) in sql(nth, (number - 1,)).fetchall():
                width = highest - lowest + 1
                change = (-width, key, highest) if from_back else (width, lowest, key)
                sql(
                    f'UPDATE Cache SET key = key + ? WHERE {_INTEGER} AND key BETWEEN ? AND ?',
                    change,
                )

    __hash__: ClassVar[None]  # type: ignore[assignment]
    __hash__ = None


class KeysView(abc.KeysView[Any]):
    """View of an Index's keys."""

    _mapping: Index

    def __reversed__(self) -> Iterator[Any]:
        return reversed(self._mapping)


class Index(_OnCache, MutableMapping[Any, Any]):
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

    def __init__(self, *args: Any, **kwargs: Any) -> None:
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
        if hasattr(other, 'keys') and not hasattr(other, 'items'):
            pairs: Any = ((key, other[key]) for key in other.keys())  # noqa: SIM118
        else:
            pairs = other
        self._cache.set_many(pairs, retry=True)
        self._cache.set_many(kwds, retry=True)

    def _sets_by_cache(self) -> bool:
        """Tell whether setting an item is no more than setting it in the cache."""
        return (
            type(self).__setitem__ is Index.__setitem__
            and type(self._cache).__setitem__ is Cache.__setitem__
        )

    _update = update

    @classmethod
    def fromcache(cls: type[I], cache: Cache, *args: Any, **kwargs: Any) -> I:
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
    def fromkeys(cls: type[I], iterable: Iterable[Any], value: Any = None) -> I:
        """Make an index in a new temporary directory whose keys have all the same value.

        :param iterable: the keys
        :param value: their value
        :return: the index
        """
        self = cls()
        self.update((key, value) for key in iterable)
        return self

    def __getitem__(self, key: Any) -> Any:
        """Return the value of a key; KeyError if it is missing."""
        return self._cache[key]

    def __setitem__(self, key: Any, value: Any) -> None:
        """Set the value of a key; a key that is there stays where it is in the order."""
        self._cache[key] = value

    def __delitem__(self, key: Any) -> None:
        """Remove a key; KeyError if it is missing."""
        del self._cache[key]

    def __contains__(self, key: Any) -> bool:
        """Tell whether there is an item with this key."""
        return key in self._cache

    def setdefault(self, key: Any, default: Any = None) -> Any:
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

    def peekitem(self, last: bool = True) -> tuple[Any, Any]:
        """Return the item inserted last, or first; KeyError if the index is empty.

        :param last: the last one, or the first
        :return: (key, value)
        """
        return cast(tuple[Any, Any], self._cache.peekitem(last, retry=True))

    def pop(self, key: Any, default: Any = ENOVAL) -> Any:
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

    def popitem(self, last: bool = True) -> tuple[Any, Any]:
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

    def move_to_end(self, key: Any, last: bool = True) -> None:
        """Move an item to the end of the order, or to its beginning.

        :param key: key of the item
        :param last: to the end, or to the beginning; that may renumber all rows once in a while
        :raises KeyError: if the key is missing
        """
        database_key, raw = self._cache.disk.put(key)
        with self._cache._transact(retry=True) as (sql, _):
            select = 'SELECT rowid FROM Cache WHERE key = ? AND raw = ?'
            rows = sql(select, (database_key, raw)).fetchall()
            if not rows or key not in self._cache:
                raise KeyError(key)
            ((rowid,),) = rows
            ((lowest, highest, count),) = sql('SELECT MIN(rowid), MAX(rowid), COUNT(*) FROM Cache')
            if rowid == (highest if last else lowest):
                return
            if not last and lowest <= 1:
                # Iteration begins at rowid 1. By way of the negative numbers, so that no two rows
                # have the same one at any moment; with room for as many more.
                sql('UPDATE Cache SET rowid = -rowid')
                sql('UPDATE Cache SET rowid = ? - rowid', (count,))
                rowid, lowest = rowid + count, lowest + count
            target = highest + 1 if last else lowest - 1
            sql('UPDATE Cache SET rowid = ? WHERE rowid = ?', (target, rowid))

    def push(self, value: Any, prefix: str | None = None, side: str = 'back') -> Any:
        """Add a value to a queue, under a key that is made for it; see :meth:`Cache.push`.

        :param value: any picklable object
        :param prefix: names the queue (None: the one with integer keys)
        :param side: ``'back'`` or ``'front'``
        :return: the key
        """
        return self._cache.push(value, prefix, side, retry=True)

    def pull(
        self, prefix: str | None = None, default: Any = (None, None), side: str = 'front'
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

    def copy(self: I) -> I:
        """Return an index in a new temporary directory with the same items.

        Unlike :meth:`Deque.copy`, it is independent of this one, as a copy of a dict is.
        """
        return self._like(self)

    def _like(self: I, items: Mapping[Any, Any]) -> I:
        """Return an index with other items in a new temporary directory."""
        if self._has_plain_cache():
            return type(self)(items)
        return type(self).fromcache(self._new_cache(), items)

    def __or__(self: I, other: Mapping[Any, Any]) -> I:
        """Return an index in a new temporary directory with the items of both."""
        if not isinstance(other, Mapping):
            return NotImplemented
        result = self.copy()
        result._update(other)
        return result

    def __ror__(self: I, other: Mapping[Any, Any]) -> I:
        if not isinstance(other, Mapping):
            return NotImplemented
        result = self._like(other)
        result._update(self)
        return result

    def __ior__(self: I, other: Mapping[Any, Any] | Iterable[tuple[Any, Any]]) -> I:
        """Update the index."""
        self._update(other)
        return self

    def __iter__(self) -> Iterator[Any]:
        """Iterate over the keys in the order of their insertion."""
        return iter(self._cache)

    def __reversed__(self) -> Iterator[Any]:
        """Iterate over the keys, the one inserted last first."""
        return reversed(self._cache)

    def __len__(self) -> int:
        """Return the number of items."""
        return len(self._cache)

    def keys(self) -> KeysView:
        """Return a view of the keys."""
        return KeysView(self)

    def _stored_rows(self, reverse: bool) -> Rows | None:
        """Return what views go by, in the order of insertion; None if a subclass decides that."""
        if not (has_all_of(type(self), Index) and isinstance(self._cache, DictMethods)):
            return None
        return self._cache._stored_rows(reverse)

    def values(self) -> ValuesView:
        """Return a view of the values. Iterating, it leaves out what is removed meanwhile."""
        return ValuesView(self)

    def items(self) -> ItemsView:
        """Return a view of the items. Iterating, it leaves out what is removed meanwhile."""
        return ItemsView(self)

    __hash__: ClassVar[None]  # type: ignore[assignment]
    __hash__ = None

    def __getstate__(self) -> str:
        return self._cache._path

    def __setstate__(self, state: str) -> None:
        self.__init__(state)  # type: ignore[misc]

    def __reduce__(self) -> tuple[Any, ...]:
        return self._reduce(Index)

    def __eq__(self, other: object) -> bool:
        """Compare with a mapping: with an Index or an OrderedDict, the order counts too."""
        if not isinstance(other, Mapping):
            return NotImplemented
        if len(self) != len(other):
            return False
        if isinstance(other, Index | collections.OrderedDict):
            pairs = zip(self.items(), other.items(), strict=False)
            return all(mine == theirs for mine, theirs in pairs)
        for key, value in self.items():
            try:
                theirs = other.get(key, ENOVAL)
            except TypeError:  # a key that cannot be hashed is in no dict
                return False
            if not (theirs is value or theirs == value):
                return False
        return True

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
    ) -> Callable[[Callable[P, R]], Callable[P, R]]:
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

    def __repr__(self) -> str:
        return f'{type(self).__name__}({self.directory!r}){self._length_shown()}'
