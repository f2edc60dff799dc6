"""RemoteIndex: an ordered mapping on a server, which is a hash and a sorted set there.

Each method is atomic, but for those that say otherwise. Iterating reads a page at a time.
"""

from __future__ import annotations

import struct
from collections import abc
from collections.abc import Callable, Iterable, Iterator, Mapping, MutableMapping

from .. import views
from ..batches import batches, checked_pairs
from ..cache import Cache
from ..constants import ENOVAL
from ..hints import TYPE_CHECKING, Any, Items, K, Memoized, N, P, R, Self, Side, V, overload
from ..index import Index, same_items
from ..refusal import RefusedError
from .codec import Codec
from .part import PAGE_BYTES, PAGE_ITEMS, Part, PartScript

if TYPE_CHECKING:
    from .cache import RemoteCache

# KEYS: `h`, the hash of keys and values; `z`, a sorted set of the keys, the scores of which are
# their order; `q`, a sorted set of the items of queues, by their names. Keys stand in them as in a
# cache, but without its name.

#: `store(key, value)`: set an item, which is the last one if it is new.
_STORE = """
local function store(key, value)
  redis.call('HSET', KEYS[1], key, value)
  if redis.call('ZSCORE', KEYS[2], key) then return end
  local last = redis.call('ZRANGE', KEYS[2], -1, -1, 'WITHSCORES')[2]
  redis.call('ZADD', KEYS[2], last and tonumber(last) + 1 or 1, key)
end
"""

#: ARGV: keys and values.
SET = PartScript('hz', _STORE, 'for place = 1, #ARGV, 2 do store(ARGV[place], ARGV[place + 1]) end')

#: ARGV: key, value, a value that counts as none (''). Returns the value that is there then.
SETDEFAULT = PartScript(
    'hz',
    _STORE,
    """
local old = redis.call('HGET', KEYS[1], ARGV[1])
if old and old ~= ARGV[3] then return old end
store(ARGV[1], ARGV[2])
return ARGV[2]
""",
)

_REMOVE = """
local key = ARGV[1]
if ARGV[2] ~= '' and redis.call('HGET', KEYS[1], key) ~= ARGV[2] then return 0 end
if ARGV[3] ~= '' and redis.call('ZRANGE', KEYS[2], ARGV[3], ARGV[3])[1] ~= key then return 0 end
redis.call('ZREM', KEYS[2], key)
if ARGV[4] then redis.call('ZREM', KEYS[3], ARGV[4]) end
return redis.call('HDEL', KEYS[1], key)
"""

#: ARGV: key, the value that it must have ('': any), the place that it must have in the order, 0 or
#: -1 ('': any). Returns 0 if there is no such item.
REMOVE = PartScript('hz', _REMOVE)

#: The same for an item of a queue; a further ARGV is its name there.
TAKE = PartScript('hzq', _REMOVE)

#: ARGV: 0 or -1. Returns key and value of the first or last item. Keys without a value are dropped.
END = PartScript(
    'hz',
    """
while true do
  local key = redis.call('ZRANGE', KEYS[2], ARGV[1], ARGV[1])[1]
  if not key then return false end
  local value = redis.call('HGET', KEYS[1], key)
  if value then return {key, value} end
  redis.call('ZREM', KEYS[2], key)
end
""",
)

#: ARGV: key, 0 or -1. Returns 0 if there is no such key.
MOVE = PartScript(
    'hz',
    """
local place = tonumber(ARGV[2])
if not redis.call('ZSCORE', KEYS[2], ARGV[1]) then return 0 end
local other = redis.call('ZRANGE', KEYS[2], place, place, 'WITHSCORES')
if other[1] ~= ARGV[1] then
  redis.call('ZADD', KEYS[2], tonumber(other[2]) + (place == 0 and -1 or 1), ARGV[1])
end
return 1
""",
)

#: ARGV: 'REV' or '', where to begin and to end ('' for the ends that there are), how many items to
#: return at most, and about how many bytes, whether with the values. Returns where it ends, where
#: to go on, and then keys and values, or keys; nothing if there is nothing left.
PAGE = PartScript(
    'hz',
    """
local function score(place)
  return redis.call('ZRANGE', KEYS[2], place, place, 'WITHSCORES')[2]
end
local reverse = ARGV[1] == 'REV'
local from = ARGV[2] ~= '' and '(' .. ARGV[2] or (reverse and '+inf' or '-inf')
local to = ARGV[3] ~= '' and ARGV[3] or score(reverse and 0 or -1)
if not to then return false end
local range = {'ZRANGE', KEYS[2], from, to, 'BYSCORE'}
if reverse then range[6] = 'REV' end
for _, part in ipairs({'LIMIT', 0, ARGV[4], 'WITHSCORES'}) do range[#range + 1] = part end
local found = redis.call(unpack(range))
if #found == 0 then return false end
local page, size = {to, from}, 0
for place = 1, #found, 2 do
  local key, value = found[place], nil
  page[2] = found[place + 1]
  if ARGV[6] == '1' then value = redis.call('HGET', KEYS[1], key) end
  if value ~= false then
    page[#page + 1] = key
    page[#page + 1] = value
    size = size + #key + (value and #value or 0)
  end
  if size >= tonumber(ARGV[5]) then break end
end
return page
""",
)

# A queue is what its items' names in the third key begin with: the length of the prefix, and the
# prefix. The digits of the key follow.

#: `next_of(queue, side)`: the digits of the first or last item of a queue.
_QUEUE = """
local function next_of(queue, side)
  local low, high = '[' .. queue .. '000000000000000', '[' .. queue .. '999999999999999'
  local found
  if side == 'front' then
    found = redis.call('ZRANGE', KEYS[3], low, high, 'BYLEX', 'LIMIT', 0, 1)
  else
    found = redis.call('ZRANGE', KEYS[3], high, low, 'BYLEX', 'REV', 'LIMIT', 0, 1)
  end
  return found[1] and string.sub(found[1], #queue + 1)
end
"""

#: ARGV: queue, what the items' keys begin with, value, side. Returns the digits.
PUSH = PartScript(
    'hzq',
    _STORE,
    _QUEUE,
    """
local step = ARGV[4] == 'back' and 1 or -1
local digits = next_of(ARGV[1], ARGV[4])
local number = digits and tonumber(digits) + step or 500000000000000
digits = string.format('%015.0f', number)
while redis.call('HEXISTS', KEYS[1], ARGV[2] .. digits) == 1 do
  number = number + step
  digits = string.format('%015.0f', number)
end
store(ARGV[2] .. digits, ARGV[3])
redis.call('ZADD', KEYS[3], 0, ARGV[1] .. digits)
return digits
""",
)

#: ARGV: queue, what the items' keys begin with, side. Returns digits and value; nothing if it is
#: empty; 0 to be called again. Names whose item is gone are dropped.
PEEK = PartScript(
    'hzq',
    _QUEUE,
    """
for _ = 1, 1000 do
  local digits = next_of(ARGV[1], ARGV[3])
  if not digits then return false end
  local value = redis.call('HGET', KEYS[1], ARGV[2] .. digits)
  if value then return {digits, value} end
  redis.call('ZREM', KEYS[3], ARGV[1] .. digits)
end
return 0
""",
)

_LENGTH = struct.Struct('>I')


def _place(last: bool) -> int:
    return -1 if last else 0


class KeysView(abc.KeysView[K]):
    """View of a RemoteIndex's keys."""

    _mapping: RemoteIndex[K, Any]

    def __reversed__(self) -> Iterator[K]:
        return reversed(self._mapping)


class ItemsView(views.ItemsView[K, V]):
    """View of the items."""

    _mapping: RemoteIndex[K, V]

    def __iter__(self) -> Iterator[tuple[K, V]]:
        return self._mapping._items(reverse=False)

    def __reversed__(self) -> Iterator[tuple[K, V]]:
        return self._mapping._items(reverse=True)


class ValuesView(views.ValuesView[V]):
    """View of the values."""

    _mapping: RemoteIndex[Any, V]

    def __iter__(self) -> Iterator[V]:
        return (value for _, value in self._mapping._items(reverse=False))

    def __reversed__(self) -> Iterator[V]:
        return (value for _, value in self._mapping._items(reverse=True))


class _Memory:
    """What `memoize` asks a cache for."""

    read_only = False

    def __init__(self, index: RemoteIndex[Any, Any], codec: Codec) -> None:
        self._index = index
        self.disk = codec.disk

    def get(self, key: Any, default: Any, retry: bool) -> Any:
        return self._index.get(key, default)

    def set(self, key: Any, value: Any, expire: Any, tag: Any, retry: bool) -> None:
        self._index[key] = value


class RemoteIndex(Part, MutableMapping[K, V]):
    """An ordered mapping on a server, with the interface of :class:`diskcache.Index`.

    Each change is atomic, but for :meth:`update`. Iterating reads a page of up to 1,000 items and
    about 1 MiB at a time, each of one moment, and only of what was there when it began: an item
    that is removed after its page has been read still comes, one that is moved to the end meanwhile
    may come twice, or not at all.
    """

    _order_counts = True
    _kind = 'index'
    _letters = 'hzq'

    def __init__(self, cache: RemoteCache, name: str, /, *args: Any, **kwargs: Any) -> None:
        """Open an index and update it.

        :param cache: that it belongs to, with the server and the serializer
        :param name: any str that is not empty: indexes of a cache with different names have nothing
            in common
        :param args: as for a dict, a mapping or an iterable of pairs
        :param kwargs: further items
        :raises TypeError: if there are more arguments, or of other types
        :raises ValueError: if the name is empty
        """
        self._open(cache, name)
        if args or kwargs:
            self.update(*args, **kwargs)

    @classmethod
    def fromkeys(cls, iterable: Iterable[Any], value: Any = None) -> Self:
        """Not supported: an index on a server needs a name.

        :raises NotSupported: always
        """
        raise cls._refusal(
            'fromkeys()',
            'an index on a server needs a name',
            'use cache.index(name).update(dict.fromkeys(iterable, value))',
        )

    def _field(self, key: Any) -> bytes:
        """Return a key as it stands on the server."""
        return self._codec.key(key)[len(self._codec.prefix) :]

    def _key_of(self, field: bytes) -> Any:
        """Return a key that stands on the server; ENOVAL if it is not trusted, which is logged."""
        try:
            return self._codec.load_key(self._codec.prefix + field)
        except RefusedError as error:
            self._note_refusal(None, error)
            return ENOVAL

    def _pair(self, key: Any, value: Any) -> tuple[bytes, bytes]:
        return self._field(key), self._codec.dump(key, value, None)

    # --- items ---

    def __getitem__(self, key: K) -> V:
        """Return the value of a key; KeyError if it is missing."""
        stored = self._engine.read('HGET', self._key, self._field(key))
        value: Any = ENOVAL if stored is None else self._trusted(key, stored)
        if value is ENOVAL:
            raise KeyError(key)
        return value  # type: ignore[no-any-return]

    def __setitem__(self, key: K, value: V) -> None:
        """Set the value of a key; a key that is there stays where it is in the order."""
        self._run(SET, *self._pair(key, value))

    def __delitem__(self, key: K) -> None:
        """Remove a key; KeyError if it is missing."""
        if not self._run(REMOVE, self._field(key), b'', b''):
            raise KeyError(key)

    def __contains__(self, key: object) -> bool:
        """Tell whether there is an item with this key."""
        return bool(self._engine.read('HEXISTS', self._key, self._field(key)))

    def __len__(self) -> int:
        """Return the number of items."""
        return int(self._engine.read('HLEN', self._key))

    @overload  # type: ignore[override]
    def update(self, other: Items[K, V], /) -> None: ...

    @overload
    def update(self: RemoteIndex[str, V], other: Items[str, V] = (), /, **kwds: V) -> None: ...

    def update(self, other: Any = (), /, **kwds: Any) -> None:
        """Set items, as dict.update does, up to 1,024 or 4 MiB of them at once.

        Others can come between two such portions, and after an error some are there.

        :param other: mapping, or iterable of pairs, such as a generator, which may use the index
        :param kwds: further items
        :raises TypeError: if `other` is neither, or an item is no pair
        :raises ValueError: if an item is not of length two
        """
        if hasattr(other, 'keys') and not hasattr(other, 'items'):
            first: Any = ((key, other[key]) for key in other.keys())  # noqa: SIM118
        else:
            first = other
        for items in (first, kwds):
            pairs = (self._pair(*pair) for pair in checked_pairs(items))
            for portion in batches(pairs, lambda pair: len(pair[0]) + len(pair[1])):
                self._run(SET, *(part for pair in portion for part in pair))

    @overload
    def setdefault(self: RemoteIndex[K, R | None], key: K, default: None = None) -> R | None: ...

    @overload
    def setdefault(self, key: K, default: V) -> V: ...

    def setdefault(self, key: K, default: Any = None) -> Any:
        """Return the value of a key; give it one first, if it has none.

        Of several who try at once, one stores its value, and all get that.

        :param key: any object that the serializer takes
        :param default: its value if it is missing
        :return: the value
        """
        field, new = self._pair(key, default)
        stored = b''
        while True:
            stored = self._run(SETDEFAULT, field, new, stored)
            value = self._trusted(key, stored)
            if value is not ENOVAL:
                return value
            if stored == new:  # a Disk that does not trust what it has stored
                return default

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
        field = self._field(key)
        while True:
            stored = self._engine.read('HGET', self._key, field)
            value = ENOVAL if stored is None else self._trusted(key, stored)
            if value is ENOVAL:
                if default is ENOVAL:
                    raise KeyError(key)
                return default
            if self._run(REMOVE, field, stored, b''):
                return value

    def _end(self, last: bool) -> tuple[bytes, bytes, K, V]:
        """Return the last or first item, as it stands on the server and as it is."""
        found = self._run(END, _place(last))
        if found is None:
            raise KeyError('dictionary is empty')
        field, stored = found
        key = self._codec.load_key(self._codec.prefix + field)
        return field, stored, key, self._load(key, stored)

    def peekitem(self, last: bool = True) -> tuple[K, V]:
        """Return the item inserted last, or first; KeyError if the index is empty.

        :param last: the last one, or the first
        :return: (key, value)
        """
        _, _, key, value = self._end(last)
        return key, value

    def popitem(self, last: bool = True) -> tuple[K, V]:
        """Remove the item inserted last, or first, and return it, atomically.

        :param last: the last one, as from a stack, or the first, as from a queue
        :return: (key, value)
        :raises KeyError: if the index is empty
        """
        while True:
            field, stored, key, value = self._end(last)
            if self._run(REMOVE, field, stored, _place(last)):
                return key, value

    def move_to_end(self, key: K, last: bool = True) -> None:
        """Move an item to the end of the order, or to its beginning.

        :param key: key of the item
        :param last: to the end, or to the beginning
        :raises KeyError: if the key is missing
        """
        if not self._run(MOVE, self._field(key), _place(last)):
            raise KeyError(key)

    # --- queues ---

    def _queue(self, prefix: str | None, side: str) -> tuple[bytes, bytes, Callable[[bytes], Any]]:
        """Return the name of a queue, what its items' keys begin with, and what makes keys."""
        if side not in ('front', 'back'):
            raise ValueError(f"side must be 'front' or 'back', not {side!r}")
        if not self._codec.has_plain_keys:
            raise self._refusal(
                f'a queue with {type(self._codec.disk).__name__}',
                'its keys are made on the server',
                "use serializer='safe' or 'pickle'",
            )
        if prefix is None:
            return b'i', b'i', int
        if not isinstance(prefix, str):
            raise TypeError(f'prefix must be a str, not {type(prefix).__name__!r}')
        name = prefix.encode()
        queue = b's' + _LENGTH.pack(len(name)) + name
        return queue, self._field(f'{prefix}-'), lambda digits: f'{prefix}-{digits.decode()}'

    @overload
    def push(self, value: V, prefix: None = None, side: Side = 'back') -> int: ...

    @overload
    def push(self, value: V, prefix: str, side: Side = 'back') -> str: ...

    @overload
    def push(self, value: V, prefix: str | None, side: Side = 'back') -> int | str: ...

    def push(self, value: V, prefix: str | None = None, side: Side = 'back') -> Any:
        """Add a value to a queue, under a key that is made for it; see ``Cache.push``.

        :param value: any object that the serializer takes
        :param prefix: names the queue (None: the one with integer keys)
        :param side: ``'back'`` or ``'front'``
        :return: the key
        :raises NotSupported: with a serializer that signs, or converts keys
        """
        queue, items, key_of = self._queue(prefix, side)
        return key_of(self._run(PUSH, queue, items, self._codec.dump(None, value, None), side))

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
        """Take a value from a queue; see ``Cache.pull``. What was pushed is in a queue.

        :param prefix: names the queue (None: the one with integer keys)
        :param default: what to return if the queue is empty
        :param side: ``'front'`` or ``'back'``
        :return: (key, value), or the default
        """
        queue, items, key_of = self._queue(prefix, side)
        while True:
            found = self._run(PEEK, queue, items, side)
            if found is None:
                return default
            if found == 0:
                continue
            digits, stored = found
            key = key_of(digits)
            value = self._load(key, stored)
            if self._run(TAKE, items + digits, stored, b'', queue + digits):
                return key, value

    # --- all items ---

    def _pages(self, reverse: bool, values: bool) -> Iterator[list[Any]]:
        """Yield keys and values, or keys, as they stand on the server."""
        order = b'REV' if reverse else b''
        end = last = b''
        while True:
            page = self._ask(PAGE, order, last, end, PAGE_ITEMS, PAGE_BYTES, int(values))
            if page is None:
                return
            end, last, *found = page
            yield found

    def _fields(self, reverse: bool) -> Iterator[K]:
        for page in self._pages(reverse, False):
            for field in page:
                key = self._key_of(field)
                if key is not ENOVAL:
                    yield key

    def _items(self, reverse: bool) -> Iterator[tuple[K, V]]:
        for page in self._pages(reverse, True):
            for field, stored in zip(page[::2], page[1::2], strict=True):
                key = self._key_of(field)
                value = ENOVAL if key is ENOVAL else self._trusted(key, stored)
                if value is not ENOVAL:
                    yield key, value

    def __iter__(self) -> Iterator[K]:
        """Iterate over the keys in the order of their insertion."""
        return self._fields(reverse=False)

    def __reversed__(self) -> Iterator[K]:
        """Iterate over the keys, the one inserted last first."""
        return self._fields(reverse=True)

    def keys(self) -> KeysView[K]:
        """Return a view of the keys."""
        return KeysView(self)

    def values(self) -> ValuesView[V]:
        """Return a view of the values."""
        return ValuesView(self)

    def items(self) -> ItemsView[K, V]:
        """Return a view of the items."""
        return ItemsView(self)

    # --- others ---

    def copy(self) -> Index[K, V]:
        """Return an Index, in a new temporary directory of this machine, with the same items."""
        return self._like(self)

    def _like(self, items: Mapping[Any, Any]) -> Index[Any, Any]:
        return Index.fromcache(self._local_cache(), items.items())

    def __or__(self, other: Mapping[K, V]) -> Index[K, V]:
        """Return an Index in a new temporary directory with the items of both."""
        if not isinstance(other, Mapping):
            return NotImplemented
        result = self.copy()
        result.update(other)
        return result

    def __ror__(self, other: Mapping[K, V]) -> Index[K, V]:
        if not isinstance(other, Mapping):
            return NotImplemented
        result = self._like(other)
        result.update(self.items())
        return result

    def __ior__(self, other: Items[K, V]) -> Self:
        """Update the index."""
        self.update(other)
        return self

    def __eq__(self, other: object) -> bool:
        """Compare with a mapping: with an Index or an OrderedDict, the order counts too."""
        return same_items(self, other) if isinstance(other, Mapping) else NotImplemented

    def memoize(
        self,
        name: str | None = None,
        typed: bool = False,
        ignore: Iterable[int | str] = (),
        *,
        signature: bool = False,
        cache_if: Callable[[Any], object] | None = None,
    ) -> Callable[[Callable[P, R]], Memoized[P, R]]:
        """Decorate a function so that its results are kept in the index; ``Cache.memoize``.

        :param name: what keys begin with (None: the function's full name)
        :param typed: whether arguments of different types are different
        :param ignore: positions and names of arguments that do not count
        :param signature: make keys from the function's signature
        :param cache_if: called with each new result; it is stored only if this returns something
            true (None: always)
        :return: decorator
        :raises TypeError: if the decorator is used without parentheses
        """
        memory: Any = _Memory(self, self._codec)
        return Cache.memoize(
            memory, name, typed, ignore=ignore, signature=signature, cache_if=cache_if
        )

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self._cache, self._name)
