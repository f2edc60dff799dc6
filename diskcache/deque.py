"""Deque: a persistent deque on a Cache.

Its items are those of a queue (:meth:`Cache.push`): their keys are consecutive numbers, and the
order of the keys is the order of the items. So rotating and reversing a deque only renumbers keys,
in one statement, and no value is read or written.
"""

from __future__ import annotations

import collections
import contextlib as cl
import functools as ft
import itertools as it
import operator
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence

from . import sql
from ._core import QUEUE_ORIGIN
from .cache import Cache
from .cautions import warn
from .constants import ENOVAL
from .disk import StoredKey
from .hints import TYPE_CHECKING, Any, ClassVar, Path, R, Self, Side, T, cast, overload
from .mismatch import check_eviction
from .on_cache import OnCache
from .refusal import RefusedError
from .signeddisk import Row, SignedDisk

#: How many items that are signed anew are in memory at a time.
_SIGNED_PAGE = 100


def _whole(number: Any) -> int:
    """Return an int, also of a float that is one, which the original takes too; or TypeError."""
    if isinstance(number, float) and number.is_integer():
        return int(number)
    return operator.index(number)


def checked_maxlen(maxlen: float | None) -> float:
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


class Deque(OnCache[Any, T], Sequence[T]):
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

    @overload
    def __init__(self, *, directory: Path | None = None, maxlen: float | None = None) -> None: ...

    @overload
    def __init__(
        self,
        iterable: Iterable[T],
        directory: Path | None = None,
        maxlen: float | None = None,
    ) -> None: ...

    def __init__(
        self,
        iterable: Iterable[Any] = (),
        directory: Path | None = None,
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
        limit = checked_maxlen(maxlen)
        if isinstance(iterable, str) and os.sep in iterable and directory is None:
            warn(f'Deque({iterable!r}) has the letters of a path: is directory= meant?')
        self._open(Cache(directory, eviction_policy='none'), iterable, limit)

    @classmethod
    def fromcache(
        cls, cache: Cache[Any, T], iterable: Iterable[T] = (), maxlen: float | None = None
    ) -> Self:
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
        self._open(cache, iterable, checked_maxlen(maxlen))
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
        limit = checked_maxlen(value)
        with self._cache.transact(retry=True):
            self._maxlen = limit
            self._shrink('front')

    def _overridden(self, name: str) -> Callable[..., Any] | None:
        """Return a method if a subclass has its own, or somebody has patched it."""
        method = getattr(self, name)
        is_own = getattr(method, '__func__', None) is getattr(Deque, name)
        return None if is_own else method

    def _shrink(self, side: Side) -> None:
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
        nth, before = (sql.NTH, index) if index >= 0 else (sql.NTH_LAST, ~index)
        with self._cache._transact(retry=True) as (execute, _):
            rows = execute(nth, (before,)).fetchall() if before < 2**63 else ()
            if not rows:
                raise IndexError('deque index out of range')
            return func(StoredKey(rows[0]))

    def __getitem__(self, index: int) -> T:  # type: ignore[override]
        """Return the item at an index; IndexError if there is none.

        :meth:`peek` and :meth:`peekleft` are faster for the two ends.
        """
        value = self._cache._peek_nth(_whole(index))
        if value is ENOVAL:
            raise IndexError('deque index out of range')
        return value  # type: ignore[no-any-return]

    def __setitem__(self, index: int, value: T) -> None:
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

    if TYPE_CHECKING:

        def __eq__(self, that: object) -> bool: ...
        def __ne__(self, that: object) -> bool: ...
        def __lt__(self, that: Sequence[Any]) -> bool: ...
        def __gt__(self, that: Sequence[Any]) -> bool: ...
        def __le__(self, that: Sequence[Any]) -> bool: ...
        def __ge__(self, that: Sequence[Any]) -> bool: ...
    else:
        __eq__ = _make_compare(operator.eq, 'equal to')
        __ne__ = _make_compare(operator.ne, 'not equal to')
        __lt__ = _make_compare(operator.lt, 'less than')
        __gt__ = _make_compare(operator.gt, 'greater than')
        __le__ = _make_compare(operator.le, 'less than or equal to')
        __ge__ = _make_compare(operator.ge, 'greater than or equal to')

    def __add__(self, other: Deque[T]) -> Self:
        """Return a new deque, in a new temporary directory, with the items of both."""
        if not isinstance(other, Deque):
            return NotImplemented
        return self._like(it.chain(self, other))

    def __mul__(self, count: int) -> Self:
        """Return a new deque, in a new temporary directory, with the items `count` times."""
        if not hasattr(count, '__index__'):
            return NotImplemented
        return self._like(list(self) * operator.index(count))

    __rmul__ = __mul__

    def _like(self, iterable: Iterable[Any]) -> Self:
        """Return a deque with other items in a new temporary directory."""
        if self._has_plain_cache():
            return type(self)(iterable, maxlen=self._maxlen)
        return type(self).fromcache(self._new_cache(), iterable, self._maxlen)

    def __iadd__(self, iterable: Iterable[T]) -> Self:
        """Append the items of an iterable; see :meth:`extend`."""
        self._extend(iterable)
        return self

    def __imul__(self, count: int) -> Self:
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

    def _values(self, reverse: bool, passed: Any = None) -> Iterator[Any]:
        """Yield the items.

        :param passed: what to yield in the place of one that cannot be loaded, and is passed over
            (None: nothing)
        """
        for key in self._cache._stored_keys(reverse):
            value = self._cache.get(key, default=ENOVAL, retry=True)
            if value is not ENOVAL:
                yield value
            elif passed is not None and key in self._cache:
                yield passed

    def __iter__(self) -> Iterator[T]:
        """Iterate over the items from front to back."""
        return self._values(reverse=False)

    def __len__(self) -> int:
        """Return the number of items."""
        return len(self._cache)

    def __reversed__(self) -> Iterator[T]:
        """Iterate over the items from back to front."""
        return self._values(reverse=True)

    def __getstate__(self) -> tuple[str, float]:
        return self._cache._path, self.maxlen

    def __setstate__(self, state: tuple[str, float]) -> None:
        directory, maxlen = state
        self.__init__(directory=directory, maxlen=maxlen)  # type: ignore[misc]

    def __reduce__(self) -> tuple[Any, ...]:
        return self._reduce(Deque, (), self._maxlen)

    def _push(self, value: Any, side: Side, other_side: Side) -> None:
        if self._maxlen == float('inf'):
            _require_kept(self._cache.push(value, side=side, retry=True))
            return
        with self._cache.transact(retry=True):
            _require_kept(self._cache.push(value, side=side, retry=True))
            self._shrink(other_side)

    def append(self, value: T) -> None:
        """Add an item at the back; one goes from the front if there are more than maxlen then.

        :param value: any picklable object
        :raises ValueError: if it is larger than an evicting cache may be, and so is not kept
        """
        self._push(value, 'back', 'front')

    _append = append

    def appendleft(self, value: T) -> None:
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

    def copy(self) -> Self:
        """Return another deque on the same directory, with the same maxlen.

        The items are not copied: both show the same ones.
        """
        rebuild, arguments, *state = self.__reduce__()
        deque = rebuild(*arguments)
        if state:
            deque.__setstate__(*state)
        return cast('Self', deque)

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
        items = self if self._overridden('__iter__') else self._values(False, passed=ENOVAL)
        for index, item in enumerate(it.islice(items, max(first, last))):
            if index >= first and (item is value or item == value) and index < last:
                return index
        raise ValueError('deque.index(value): value not in deque')

    def _extend_side(self, iterable: Iterable[Any], side: Side, other_side: Side) -> None:
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

    def extend(self, iterable: Iterable[T]) -> None:
        """Append items at the back: all of them or, if anything is raised meanwhile, none.

        :param iterable: the items, which are held in memory until they are stored
        """
        self._extend_side(iterable, 'back', 'front')

    _extend = extend

    def extendleft(self, iterable: Iterable[T]) -> None:
        """Add items at the front, one before the other: all of them, or none.

        :param iterable: the items; the last one becomes the first
        """
        self._extend_side(iterable, 'front', 'back')

    def insert(self, index: int, value: T) -> None:
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

    def _peek(self, side: Side) -> T:
        value: Any
        _, value = self._cache.peek(default=(None, ENOVAL), side=side, retry=True)
        if value is ENOVAL:
            raise IndexError('peek from an empty deque')
        return value  # type: ignore[no-any-return]

    def peek(self) -> T:
        """Return the item at the back; IndexError if the deque is empty."""
        return self._peek('back')

    def peekleft(self) -> T:
        """Return the item at the front; IndexError if the deque is empty."""
        return self._peek('front')

    def _pull(self, side: Side) -> T:
        value: Any
        _, value = self._cache.pull(default=(None, ENOVAL), side=side, retry=True)
        if value is ENOVAL:
            raise IndexError('pop from an empty deque')
        return value  # type: ignore[no-any-return]

    def pop(self) -> T:
        """Remove the item at the back and return it; IndexError if the deque is empty.

        Of several that pop at once, each gets an item of its own.
        """
        return self._pull('back')

    _pop = pop

    def popleft(self) -> T:
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
        with self._cache.transact(retry=True):  # another may have rotated the deque meanwhile
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
        self._cache._require_writable()
        with self._cache._transact(retry=True) as (execute, _):
            ((lowest, highest),) = execute(sql.QUEUE_ENDS)
            if lowest is None:
                return
            # To the free side nearer to the middle, so that the numbers do not wander off. They are
            # others than those in use, so no two rows have the same one at any moment.
            mirror = 2 * lowest - 1 if lowest + highest > 2 * QUEUE_ORIGIN else 2 * highest + 1
            execute(sql.QUEUE_MIRROR, (mirror,))
            self._sign(execute, mirror - highest, mirror - lowest, ft.partial(operator.sub, mirror))

    def rotate(self, steps: int = 1) -> None:
        """Rotate the deque: move items from the back to the front. Only keys are renumbered.

        :param steps: how many; negative: from the front to the back
        :raises TypeError: if `steps` is no int
        """
        try:
            steps = operator.index(steps)
        except TypeError:
            raise TypeError(f'steps must be an int, not {type(steps).__name__!r}') from None
        self._cache._require_writable()
        with self._cache._transact(retry=True) as (execute, _):
            count = len(self._cache)
            moved = steps % count if count else 0
            ((lowest, highest),) = execute(sql.QUEUE_ENDS)
            if not moved or lowest is None:
                return
            # The shorter part moves past the other one, by the width of the whole.
            from_back = moved <= count - moved
            nth, number = (
                (sql.QUEUE_NTH_LAST, moved) if from_back else (sql.QUEUE_NTH, count - moved)
            )
            for (key,) in execute(nth, (number - 1,)).fetchall():
                width = highest - lowest + 1
                shift, first, last = (-width, key, highest) if from_back else (width, lowest, key)
                execute(sql.QUEUE_SHIFT, (shift, first, last))
                self._sign(execute, first + shift, last + shift, ft.partial(operator.add, -shift))

    def _sign(self, execute: Any, first: int, last: int, former_key: Callable[[int], int]) -> None:
        """Sign items anew that have got other keys, if the Disk signs; keys are signed too.

        :param execute: executes SQL in the open transaction
        :param first: their lowest key
        :param last: their highest key
        :param former_key: returns the key that one had before
        """
        disk = self._cache.disk
        if not isinstance(disk, SignedDisk):
            return
        rows = [(0,)]
        while rows:
            rows = execute(sql.QUEUE_SIGNED, (first, last, rows[-1][0], _SIGNED_PAGE)).fetchall()
            for rowid, key, *columns in rows:
                with cl.suppress(RefusedError):  # it is refused under its new key as well
                    value = disk._renew(Row(former_key(key), *columns), key=key)
                    execute(sql.SET_VALUE, (value, rowid))

    __hash__: ClassVar[None] = None  # type: ignore[assignment]
