"""Keys on a Cluster, for the tests."""

from __future__ import annotations

from typing import Any

from servers import Cluster, Server

from diskcache.remote.shards import slot_of


def stored(cache: Any, key: Any) -> bytes:
    """Return the name of an item on the server."""
    name: bytes = cache._codec.key(key)
    return name


def slot(cache: Any, key: Any = 'key') -> int:
    """Return the slot of an item."""
    return slot_of(stored(cache, key))


def same_shard(cache: Any, key: Any, count: int) -> list[str]:
    """Return more keys in the slot of one."""
    numbers = (f'more {number}' for number in range(100_000))
    return [other for other in numbers if slot(cache, other) == slot(cache, key)][:count]


def other_than(cluster: Cluster, owner: Server) -> Server:
    """Return another master."""
    return next(server for server in cluster.servers[:3] if server is not owner)


def begin_move(cluster: Cluster, cache: Any, key: Any, *names: bytes) -> Server:
    """Begin to move the slot of an item to another master, which is returned; move some keys."""
    number = slot(cache, key)
    source = cluster.owner(number)
    target = other_than(cluster, source)
    cluster.begin_move(number, target)
    for name in names:
        source.ask('MIGRATE', '127.0.0.1', target.port, name.decode(), 0, 60_000)
    return target
