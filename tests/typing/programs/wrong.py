"""What type checkers have to find: each line that says so, and no other."""

from __future__ import annotations

import threading
from typing import Any

import diskcache
from diskcache import (
    Cache,
    Deque,
    Disk,
    FanoutCache,
    Index,
    Lock,
    barrier,
    memoize_stampede,
    throttle,
)
from diskcache.typing import Settings

cache: Cache[str, int] = Cache('/tmp/cache')
shards = FanoutCache[str, int]('/tmp/shards')

# Settings.
Cache('/tmp/cache', size_limt=5)  # error
Cache('/tmp/cache', size_limit='5')  # error
Cache('/tmp/cache', on_error='mis')  # error
Cache('/tmp/cache', disk=Disk('/tmp/cache'))  # error
Cache('/tmp/cache', disk=dict)  # error
Cache(5)  # error
FanoutCache('/tmp/cache', shard=8)  # error
FanoutCache('/tmp/cache', eviction_policy=None)  # error
FanoutCache('/tmp/cache').cache('part', size_limt=5)  # error
limits: Settings = {'size_limt': 5}  # error

# Keys and values.
cache[1]  # error
cache['key'] = 'value'  # error
cache.get(1)  # error
cache.set('key', 'value')  # error
cache.set_many({'key': 'value'})  # error
cache.get_many([1])  # error
cache.update({1: 1})  # error
cache.get('key') + 1  # error
cache.get('key', expire_time=True) + 1  # error
cache.pop('key', 0) + ''  # error
shards['key'] = 'value'  # error
shards.get('key') + 1  # error
shards.incr('key') + 1  # error
other: Cache[str, str] = cache  # error

# Arguments.
cache.set('key', 1, tag=['x'])  # error
cache.set('key', 1, expire='60')  # error
cache.set('key', 1, ttl=60)  # error
cache.evict(['x'])  # error
shards.add('key', 1, tag=('x',))  # error
cache.push(1, side='left')  # error
cache.pull(5)  # error
cache.gett('key')  # error
shards.gett('key')  # error
shards.push(1)  # error
diskcache.Cach('/tmp/cache')  # error
cache.memory_stats()['hit']  # error

# Deque and Index.
Deque([1]).append('a')  # error
Deque(maxlen='4')  # error
Deque[str]().popleft() + 1  # error
Index({'a': 1})['b'] = ''  # error
Index(5)  # error
Index({'a': 1}).pull(side='left')  # error


# Functions.
@cache.memoize(expire=60)
def area(width: int, *, height: int = 1) -> int:
    return width * height


area('1')  # error
area(1, heigth=2)  # error
area.__cache_key__('1')  # error
area.cache_key(1)  # error
area(1) + ''  # error
cache.memoize(area)  # error
cache.memoize(tag=['x'])  # error


@memoize_stampede(cache, 60)
async def fetch(url: str) -> bytes:
    return url.encode()


async def main() -> None:
    await fetch(1)  # error
    (await fetch('url')) + ''  # error


@throttle(cache, 1, 1)
def ask(number: int) -> int:
    return number


ask('1')  # error
throttle(cache, '1', 1)  # error
throttle('/tmp/cache', 1, 1)  # error
barrier(cache, threading.Lock)  # error
Lock('/tmp/cache', 'lock')  # error
Lock(cache, 'lock').acquire('5')  # error


class Site:
    @cache.memoize(ignore={0})
    def page(self, number: int) -> str:
        return str(number)


Site().page('1')  # error
Site().page(1, 2)  # error


class Typed(Cache[str, int]):
    def length(self) -> int:
        return self['key'] + len(self['key'])  # error


def nothing(unknown: Any) -> None:
    Cache[str](unknown)[1]  # error
