"""RemoteDeque: a deque on a server, which is a list there.

Each method is atomic, but for those that say otherwise. Iterating reads a page at a time.
"""

from __future__ import annotations

import itertools as it
import operator
from collections.abc import Iterable, Iterator, Sequence

from ..constants import ENOVAL
from ..deque import Deque, _make_compare, _whole, checked_maxlen
from ..hints import TYPE_CHECKING, Any, Generic, Self, Side, T
from .part import PAGE_BYTES, PAGE_ITEMS, Part, PartScript

if TYPE_CHECKING:
    from .cache import RemoteCache

# KEYS: `l`, the list; `t`, another one, which is there only while a script runs.

#: `shrink(most, side)`: remove from a side what is more than so many items ('': none).
_SHRINK = """
local function shrink(most, side)
  if most == '' then return end
  local over = redis.call('LLEN', KEYS[1]) - tonumber(most)
  if over <= 0 then return end
  if side == 'front' then
    redis.call('LTRIM', KEYS[1], over, -1)
  else
    redis.call('LTRIM', KEYS[1], 0, -over - 1)
  end
end
"""

#: ARGV: the most items.
SHRINK = PartScript('l', _SHRINK, "shrink(ARGV[1], 'front')")

#: ARGV: side, the most items, values.
ADD = PartScript(
    'l',
    _SHRINK,
    """
local push = ARGV[1] == 'back' and 'RPUSH' or 'LPUSH'
for first = 3, #ARGV, 1000 do
  redis.call(push, KEYS[1], unpack(ARGV, first, math.min(first + 999, #ARGV)))
end
shrink(ARGV[2], ARGV[1] == 'back' and 'front' or 'back')
""",
)

# An item in the middle is found again by a mark, which no value is: no value begins with a zero.

#: ARGV: index, value, the most items. Returns 0 if there are so many.
INSERT = PartScript(
    'l',
    """
local index, count = tonumber(ARGV[1]), redis.call('LLEN', KEYS[1])
if ARGV[3] ~= '' and count >= tonumber(ARGV[3]) then return 0 end
if index < 0 then index = math.max(index + count, 0) end
if index == 0 then
  redis.call('LPUSH', KEYS[1], ARGV[2])
elseif index >= count then
  redis.call('RPUSH', KEYS[1], ARGV[2])
else
  local old = redis.call('LINDEX', KEYS[1], index)
  redis.call('LSET', KEYS[1], index, '\\0')
  redis.call('LINSERT', KEYS[1], 'BEFORE', '\\0', ARGV[2])
  redis.call('LSET', KEYS[1], index + 1, old)
end
return 1
""",
)

#: ARGV: index, value. Returns 0 if there is no such item.
REPLACE = PartScript(
    'l',
    """
if not redis.call('LINDEX', KEYS[1], ARGV[1]) then return 0 end
redis.call('LSET', KEYS[1], ARGV[1], ARGV[2])
return 1
""",
)

#: ARGV: index, value that the item must have ('': any). Returns 0 if there is no such item.
DELETE = PartScript(
    'l',
    """
local old = redis.call('LINDEX', KEYS[1], ARGV[1])
if not old or (ARGV[2] ~= '' and old ~= ARGV[2]) then return 0 end
if ARGV[1] == '0' then
  redis.call('LPOP', KEYS[1])
elseif ARGV[1] == '-1' then
  redis.call('RPOP', KEYS[1])
else
  redis.call('LSET', KEYS[1], ARGV[1], '\\0')
  redis.call('LREM', KEYS[1], tonumber(ARGV[1]) < 0 and -1 or 1, '\\0')
end
return 1
""",
)

#: ARGV: how many items go from the back to the front. The shorter part is moved.
ROTATE = PartScript(
    'l',
    """
local count = redis.call('LLEN', KEYS[1])
if count == 0 then return end
local left, pop, push = tonumber(ARGV[1]) % count, 'RPOP', 'LPUSH'
if left > count - left then
  left, pop, push = count - left, 'LPOP', 'RPUSH'
end
while left > 0 do
  local part = redis.call(pop, KEYS[1], math.min(left, 1000))
  redis.call(push, KEYS[1], unpack(part))
  left = left - #part
end
""",
)

REVERSE = PartScript(
    'lt',
    """
if redis.call('LLEN', KEYS[1]) < 2 then return end
redis.call('UNLINK', KEYS[2])
local part = redis.call('LPOP', KEYS[1], 1000)
while part do
  redis.call('LPUSH', KEYS[2], unpack(part))
  part = redis.call('LPOP', KEYS[1], 1000)
end
redis.call('RENAME', KEYS[2], KEYS[1])
""",
)

#: ARGV: how many times the items are to be there, the most items, how many may be added. Returns 0
#: if it would be more.
REPEAT = PartScript(
    'l',
    _SHRINK,
    """
local times, count = tonumber(ARGV[1]), redis.call('LLEN', KEYS[1])
if times < 1 then redis.call('UNLINK', KEYS[1]) end
if ARGV[2] ~= '' then
  times = math.min(times, math.floor(tonumber(ARGV[2]) / math.max(count, 1)) + 1)
end
if count * (times - 1) > tonumber(ARGV[3]) then return 0 end
for _ = 2, count > 0 and times or 0 do
  for first = 0, count - 1, 1000 do
    local part = redis.call('LRANGE', KEYS[1], first, math.min(first + 999, count - 1))
    redis.call('RPUSH', KEYS[1], unpack(part))
  end
end
shrink(ARGV[2], 'front')
return 1
""",
)

#: ARGV: side to begin at, how many items to pass over, how many to return at most, and how many
#: bytes, roughly. Returns how many there are in all, and the items.
PAGE = PartScript(
    'l',
    """
local passed, most, found, size = tonumber(ARGV[2]), tonumber(ARGV[3]), {}, 0
local step = 1
while #found < most and size < tonumber(ARGV[4]) do
  local part
  if ARGV[1] == 'front' then
    part = redis.call('LRANGE', KEYS[1], passed, passed + step - 1)
  else
    part = redis.call('LRANGE', KEYS[1], -passed - step, -passed - 1)
  end
  for place = 1, #part do
    local item = part[ARGV[1] == 'front' and place or #part + 1 - place]
    found[#found + 1] = item
    size = size + #item
  end
  if #part < step then break end
  passed = passed + step
  step = math.min(#found, most - #found)
end
return {redis.call('LLEN', KEYS[1]), found}
""",
)

#: Exact as a number of Lua's.
_LARGEST = 2**53

#: So many items are sent at once.
_SENT = 2**16

#: So many items may be added by ``*=``: the server does nothing else meanwhile.
_REPEATED = 100_000


def _whole_index(index: Any) -> int:
    """Return an index as an int; IndexError if no list has it."""
    number = _whole(index)
    if not -_LARGEST <= number <= _LARGEST:
        raise IndexError('deque index out of range')
    return number


class RemoteDeque(Part, Generic[T], Sequence[T]):
    """A deque on a server, with the interface of :class:`diskcache.Deque`.

    It is a list there. Each change is atomic, but for adding more items at once than a message of
    `max_value` bytes holds. Iterating reads a page of up to 1,000 items and about 1 MiB at a time,
    each of one moment, and only what was there when it began: if others add or remove items in
    front of the place meanwhile, some come twice or not at all.
    """

    _kind = 'deque'
    _letters = 'lt'

    def __init__(
        self,
        cache: RemoteCache,
        name: str,
        iterable: Iterable[T] = (),
        maxlen: float | None = None,
    ) -> None:
        """Open a deque and append to it.

        :param cache: that it belongs to, with the server and the serializer
        :param name: any str that is not empty: deques of a cache with different names have nothing
            in common
        :param iterable: items to append
        :param maxlen: the most items it may have (None: no limit); what is over is removed from the
            front, also of what was there before
        :raises ValueError: if `maxlen` is negative, or the name is empty
        :raises TypeError: if `maxlen` is no whole number, or the name no str
        """
        limit = checked_maxlen(maxlen)
        self._open(cache, name)
        self._limit(limit)
        self.extend(iterable)
        self._shrink()

    def _limit(self, limit: float) -> None:
        self._maxlen = limit
        #: As scripts take it.
        self._most = b'' if limit > _LARGEST else b'%d' % int(limit)

    def _shrink(self) -> None:
        if self._most:
            self._run(SHRINK, self._most)

    @property
    def maxlen(self) -> float:
        """The most items that the deque may have; infinity if there is no limit.

        It is not stored: each object has its own. Setting it removes what is over from the front.
        """
        return self._maxlen

    @maxlen.setter
    def maxlen(self, value: float | None) -> None:
        self._limit(checked_maxlen(value))
        self._shrink()

    def _dump(self, value: Any) -> bytes:
        return self._codec.dump(self._name, value, None)

    # --- by index ---

    def __getitem__(self, index: int) -> T:  # type: ignore[override]
        """Return the item at an index; IndexError if there is none."""
        stored = self._engine.read('LINDEX', self._key, _whole_index(index))
        if stored is None:
            raise IndexError('deque index out of range')
        return self._load(self._name, stored)  # type: ignore[no-any-return]

    def __setitem__(self, index: int, value: T) -> None:
        """Replace the item at an index; IndexError if there is none."""
        if not self._run(REPLACE, _whole_index(index), self._dump(value)):
            raise IndexError('deque index out of range')

    def __delitem__(self, index: int) -> None:
        """Remove the item at an index; IndexError if there is none."""
        if not self._run(DELETE, _whole_index(index), b''):
            raise IndexError('deque index out of range')

    def insert(self, index: int, value: T) -> None:
        """Insert an item before an index.

        :param index: where; beyond the ends is at the ends
        :param value: any object that the serializer takes
        :raises IndexError: if the deque has maxlen items already
        """
        index = min(max(operator.index(index), -_LARGEST), _LARGEST)
        if not self._run(INSERT, index, self._dump(value), self._most):
            raise IndexError('deque already at its maximum size')

    # --- adding ---

    def _add(self, iterable: Iterable[Any], side: Side) -> None:
        stored = [self._dump(value) for value in iterable]
        if self._most:  # of more than maxlen, the last ones stay
            stored = stored[max(len(stored) - int(self._maxlen), 0) :]
        push = 'RPUSH' if side == 'back' else 'LPUSH'
        for portion in self._portions(stored):
            if self._most:
                self._run(ADD, side, self._most, *portion)
            else:
                self._engine.call(push, self._key, *portion)

    def _portions(self, stored: list[bytes]) -> Iterator[list[bytes]]:
        """Yield lists of values that go to the server at once."""
        portion: list[bytes] = []
        size = 0
        for value in stored:
            if portion and (size + len(value) > self._cache.max_value or len(portion) == _SENT):
                yield portion
                portion, size = [], 0
            portion.append(value)
            size += len(value)
        if portion:
            yield portion

    def append(self, value: T) -> None:
        """Add an item at the back; one goes from the front if there are more than maxlen then.

        :param value: any object that the serializer takes
        :raises ValueError: if it has more bytes than `max_value`
        """
        self._add((value,), 'back')

    def appendleft(self, value: T) -> None:
        """Add an item at the front; one goes from the back if there are more than maxlen then.

        :param value: any object that the serializer takes
        :raises ValueError: if it has more bytes than `max_value`
        """
        self._add((value,), 'front')

    def extend(self, iterable: Iterable[T]) -> None:
        """Append items at the back. If the iterable raises, or one cannot be stored, none is.

        They are added at once, up to `max_value` bytes or 65,536 of them; others can come between
        two such portions, and after an error of the server some are there.

        :param iterable: the items, which are held in memory until they are stored
        """
        self._add(iterable, 'back')

    def extendleft(self, iterable: Iterable[T]) -> None:
        """Add items at the front, one before the other; see :meth:`extend`.

        :param iterable: the items; the last one becomes the first
        """
        self._add(iterable, 'front')

    def __iadd__(self, iterable: Iterable[T]) -> Self:
        """Append the items of an iterable; see :meth:`extend`."""
        self.extend(iterable)
        return self

    def __imul__(self, count: int) -> Self:
        """Repeat the items in place until they are there `count` times.

        :raises NotSupported: if that is to add more than 100,000 items
        """
        if not hasattr(count, '__index__'):
            return NotImplemented
        count = min(max(operator.index(count), 0), _LARGEST)
        if not self._run(REPEAT, count, self._most, _REPEATED):
            raise self._refusal(
                '*=', 'the server would do nothing else for long', 'use extend() several times'
            )
        return self

    # --- the ends ---

    def _peek(self, index: int) -> T:
        stored = self._engine.read('LINDEX', self._key, index)
        if stored is None:
            raise IndexError('peek from an empty deque')
        return self._load(self._name, stored)  # type: ignore[no-any-return]

    def peek(self) -> T:
        """Return the item at the back; IndexError if the deque is empty."""
        return self._peek(-1)

    def peekleft(self) -> T:
        """Return the item at the front; IndexError if the deque is empty."""
        return self._peek(0)

    def _pull(self, index: int) -> T:
        while True:
            stored = self._engine.read('LINDEX', self._key, index)
            if stored is None:
                raise IndexError('pop from an empty deque')
            value = self._load(self._name, stored)  # what cannot be loaded stays
            if self._run(DELETE, index, stored):
                return value  # type: ignore[no-any-return]

    def pop(self) -> T:
        """Remove the item at the back and return it; IndexError if the deque is empty.

        Of several that pop at once, each gets an item of its own.
        """
        return self._pull(-1)

    def popleft(self) -> T:
        """Remove the item at the front and return it; IndexError if the deque is empty.

        Of several that pop at once, each gets an item of its own.
        """
        return self._pull(0)

    # --- all items ---

    def _stored(self, reverse: bool = False) -> Iterator[bytes]:
        """Yield the items as they stand on the server, of those that are there when it begins."""
        passed, left = 0, PAGE_ITEMS
        side = 'back' if reverse else 'front'
        while left > 0:
            count, page = self._ask(PAGE, side, passed, min(left, PAGE_ITEMS), PAGE_BYTES)
            if not page:
                return
            if passed == 0:
                left = count
            yield from page
            passed += len(page)
            left -= len(page)

    def _values(self, reverse: bool) -> Iterator[Any]:
        """Yield the items; ENOVAL in the place of one that the serializer does not trust."""
        for stored in self._stored(reverse):
            yield self._trusted(self._name, stored)

    def __iter__(self) -> Iterator[T]:
        """Iterate over the items from front to back."""
        return (value for value in self._values(False) if value is not ENOVAL)

    def __reversed__(self) -> Iterator[T]:
        """Iterate over the items from back to front."""
        return (value for value in self._values(True) if value is not ENOVAL)

    def __len__(self) -> int:
        """Return the number of items."""
        return int(self._engine.read('LLEN', self._key))

    def count(self, value: Any) -> int:
        """Return how many items are equal to a value."""
        return sum(1 for item in self if item is value or item == value)

    def index(self, value: Any, start: int = 0, stop: int | None = None) -> int:
        """Return the index of the first item that is equal to a value.

        :param value: what to look for
        :param start: index to begin at; a negative one counts from the back
        :param stop: index to end before
        :raises ValueError: if there is no such item
        """
        first, last, _ = slice(start, stop).indices(len(self))
        for index, item in enumerate(it.islice(self._values(False), max(first, last))):
            if index >= first and (item is value or item == value) and index < last:
                return index
        raise ValueError('deque.index(value): value not in deque')

    def remove(self, value: Any) -> None:
        """Remove the first item that is equal to a value.

        In a deque of several pages it may not be found while others turn the deque.

        :param value: what to look for
        :raises ValueError: if there is no such item
        """
        found = True
        while found:
            found = False
            for stored in self._stored():
                item = self._trusted(self._name, stored)
                if item is not ENOVAL and (item is value or item == value):
                    if self._engine.call('LREM', self._key, 1, stored):
                        return
                    found = True  # another has removed it, or replaced it
                    break
        raise ValueError('deque.remove(value): value not in deque')

    def reverse(self) -> None:
        """Reverse the order of the items. The server moves them all."""
        self._run(REVERSE)

    def rotate(self, steps: int = 1) -> None:
        """Rotate the deque: move items from the back to the front.

        :param steps: how many; negative: from the front to the back
        :raises TypeError: if `steps` is no int
        """
        try:
            steps = operator.index(steps)
        except TypeError:
            raise TypeError(f'steps must be an int, not {type(steps).__name__!r}') from None
        if not -_LARGEST <= steps <= _LARGEST:
            steps %= len(self) or 1
        self._run(ROTATE, steps)

    # --- others ---

    def copy(self) -> Self:
        """Return another object for the same deque, with the same maxlen: no item is copied."""
        return type(self)(self._cache, self._name, maxlen=self._maxlen)

    __copy__ = copy

    def __add__(self, other: RemoteDeque[T] | Deque[T]) -> Deque[T]:
        """Return a Deque, in a new temporary directory of this machine, with the items of both."""
        if not isinstance(other, RemoteDeque | Deque):
            return NotImplemented
        return Deque.fromcache(self._local_cache(), it.chain(self, other), self._maxlen)

    def __mul__(self, count: int) -> Deque[T]:
        """Return a Deque, in a new temporary directory, with the items `count` times."""
        if not hasattr(count, '__index__'):
            return NotImplemented
        items = list(self) * operator.index(count)
        return Deque.fromcache(self._local_cache(), items, self._maxlen)

    __rmul__ = __mul__

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

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self._cache, self._name, (), self._maxlen)
