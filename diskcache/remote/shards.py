"""Where the keys of a cache are on a Cluster.

A Cluster has 16,384 slots, each of which belongs to one of its masters. All keys with the same text
between `{` and `}` are in one slot, and a script can only use keys of one slot. So a cache has
shards: keys that begin with `name:{n}`, where n is a number that stands for a shard. An item, the
sets of its tag and its queue are in one shard.

The numbers are chosen so that the slots of the shards lie evenly among all slots: each master has
as many, but for one.
"""

from __future__ import annotations

import functools as ft
import itertools as it
from binascii import crc32, crc_hqx
from collections.abc import Callable

SLOTS = 16_384

#: Digits of the number in the key of a queue's item. It begins in the middle, with 500000000000000.
_DIGITS = 15
_MIDDLE = (b'49', b'50')


def slot_of(name: bytes) -> int:
    """Return the slot of a key of the server."""
    start = name.find(b'{') + 1
    if start:
        end = name.find(b'}', start)
        if end > start:
            name = name[start:end]
    return crc_hqx(name, 0) % SLOTS


def _find_tags(shards: int) -> tuple[bytes, ...]:
    """Return the numbers of the shards, in the order of their slots."""
    found: dict[int, bytes] = {}
    for number in it.count():
        tag = b'%d' % number
        found.setdefault(slot_of(tag) * shards // SLOTS, tag)
        if len(found) == shards:
            return tuple(found[place] for place in range(shards))
    raise AssertionError


tags_of: Callable[[int], tuple[bytes, ...]] = ft.lru_cache(_find_tags)


def shard_of(rest: bytes, shards: int) -> int:
    """Return the shard of an item.

    The items of a queue are where the queue is. They are known by their numbers, which would be
    others only after trillions of them.

    :param rest: kind and bytes of its key
    :param shards: how many there are
    """
    digits = rest[-_DIGITS:]
    if digits[:2] in _MIDDLE and len(digits) == _DIGITS and digits.isdigit():
        queue = rest[:-_DIGITS]
        if queue == b'i' or (queue[:1] == b's' and queue[-1:] == b'-'):
            rest = queue
    return crc32(rest) % shards
