"""What programs do, and the types that they get. Nothing here may be an error."""

from __future__ import annotations

import functools as ft
import io
import sqlite3
from collections.abc import Callable, Coroutine, Iterator
from contextlib import AbstractContextManager
from typing import Any

from typing_extensions import Unpack, assert_type

import diskcache
from diskcache import (
    Averager,
    BoundedSemaphore,
    Cache,
    Deque,
    Disk,
    FanoutCache,
    Index,
    JSONDisk,
    Lock,
    RLock,
    barrier,
    memoize_stampede,
    throttle,
)
from diskcache.typing import Items, Memoized, MemoryStats, Settings, Tag


class CompressedDisk(Disk):
    def __init__(self, directory: str, level: int = 1, **kwargs: Any) -> None:
        super().__init__(directory, **kwargs)
        self.level = level

    def put(self, key: Any) -> tuple[Any, bool]:
        return super().put(key)


class Users(Cache[str, int]):
    """A program's own cache, with a parameter of its own."""

    def __init__(self, directory: str, region: str = '', **settings: Unpack[Settings]) -> None:
        super().__init__(directory, **settings)
        self.region = region


class Loose(Cache):
    def __init__(self, *args: Any, **settings: Any) -> None:
        super().__init__(*args, **settings)


class Shards(FanoutCache[str, bytes]):
    pass


class Jobs(Deque[str]):
    pass


def without_types() -> None:
    cache = Cache('/tmp/cache')
    assert_type(cache, Cache[Any, Any])
    assert_type(cache['key'], Any)
    assert_type(cache.get('key'), Any | None)
    cache[1] = cache
    with Cache() as other, FanoutCache(shards=4) as shards:
        assert_type(other, Cache[Any, Any])
        assert_type(shards, FanoutCache[Any, Any])
    assert_type(Loose()['key'], Any)


def settings(options: Settings) -> None:
    Cache('/tmp/cache', 5, size_limit=2**30, eviction_policy='none', memory_limit=0)
    Cache('/tmp/cache', disk=JSONDisk, disk_compress_level=6)
    Cache('/tmp/cache', disk=CompressedDisk, disk_level=6, sqlite_temp_store=2)
    Cache('/tmp/cache', 60, CompressedDisk, disk_level=6)
    Cache('/tmp/cache', **options)
    FanoutCache('/tmp/cache', 8, 0.1, cull_limit=0, mode=0o750, on_error='miss', read_only=True)
    FanoutCache('/tmp/cache', disk=CompressedDisk, disk_level=6).cache(
        'part', disk_level=1, disk=Disk
    )
    FanoutCache('/tmp/cache').cache('part', size_limit=1000)
    Users('/tmp/users', size_limit=1000)
    limits: Settings = {'size_limit': 1000}
    Cache(**limits)
    assert_type(Cache().size_limit, int)
    assert_type(Cache().sqlite_journal_mode, str)
    assert_type(FanoutCache().eviction_policy, str)
    assert_type(FanoutCache().disk, Disk)


def lookups(cache: Cache[str, int]) -> None:
    assert_type(cache['key'], int)
    assert_type(cache.get('key'), int | None)
    assert_type(cache.get('key', 0), int)
    assert_type(cache.get('key', ''), int | str)
    assert_type(cache.get('key', expire_time=True), tuple[int | None, float | None])
    assert_type(cache.get('key', 0, tag=True), tuple[int, Tag])
    value, moment, tag = cache.get('key', expire_time=True, tag=True)
    assert_type((value, moment, tag), tuple[int | None, float | None, Tag])
    assert_type(cache.get('key', None, False, True), Any)
    assert_type(cache.get('key', read=True), Any)
    assert_type(cache.pop('key'), int | None)
    assert_type(cache.pop('key', 0, expire_time=True), tuple[int, float | None])
    assert_type(cache.pop('key', tag=True), tuple[int | None, Tag])
    assert_type(cache.pop('key', 0, True, True), Any)
    assert_type(cache.read('key', mmap=True), memoryview)
    assert_type(cache.peekitem(), tuple[str, int])
    assert_type(cache.peekitem(last=False, expire_time=True), tuple[tuple[str, int], float | None])
    assert_type(cache.peekitem(tag=True), tuple[tuple[str, int], Tag])
    assert_type(cache.incr('key'), int)
    assert_type(cache.decr('key', 2, default=None), int)
    assert_type(cache.get_many(['key']), dict[str, int])
    assert_type(cache.setdefault('key', 1), int)
    assert_type(list(cache), list[str])
    assert_type(list(reversed(cache)), list[str])
    assert_type(list(cache.iterkeys()), list[str])
    assert_type(list(cache.items()), list[tuple[str, int]])
    assert_type(list(cache.values()), list[int])
    assert_type(sorted(cache.keys()), list[str])
    assert_type('key' in cache, bool)
    assert_type(None in cache, bool)
    assert_type(len(cache), int)


def changes(cache: Cache[str, int], pairs: Items[str, int]) -> None:
    cache['key'] = 1
    assert_type(cache.set('key', 1, expire=60, tag='tag', retry=True), bool)
    assert_type(cache.add('key', 1, tag=1.5), bool)
    cache.set('file', io.BytesIO(b'bytes'), read=True)
    assert_type(cache.touch('key', expire=60), bool)
    assert_type(cache.delete('key'), bool)
    del cache['key']
    assert_type(cache.set_many({'a': 1}, tag=b'tag'), int)
    assert_type(cache.set_many((name, len(name)) for name in ('a', 'b')), int)
    assert_type(cache.delete_many(iter(['a'])), int)
    cache.update(pairs)
    cache.update({'a': 1}, b=2)
    cache |= {'a': 1}
    assert_type(cache, Cache[str, int])
    assert_type(cache.evict('tag'), int)
    assert_type(cache.memory_stats()['hits'], int)
    stats: MemoryStats = FanoutCache().memory_stats()
    assert_type(stats['bytes'], int)


def queues(cache: Cache[Any, str]) -> None:
    assert_type(cache.push('value'), int | None)
    assert_type(cache.push('value', 'prefix', side='front'), str | None)
    key, value = cache.pull()
    assert_type((key, value), tuple[int | None, str | None])
    assert_type(cache.pull('prefix'), tuple[str, str] | tuple[None, None])
    assert_type(cache.pull(default=None), tuple[int, str] | None)
    assert_type(
        cache.peek('prefix', expire_time=True),
        tuple[tuple[str, str] | tuple[None, None], float | None],
    )
    assert_type(
        cache.peek(expire_time=True, tag=True),
        tuple[tuple[int, str] | tuple[None, None], float | None, Tag],
    )


def transactions(cache: Cache[str, int], shards: FanoutCache[str, int]) -> None:
    with cache.transact() as nothing, shards.transact(retry=False):
        assert_type(nothing, None)

    @cache.transact(retry=True)
    def together(count: int) -> str:
        return str(count)

    assert_type(together(1), str)


def fanout(cache: FanoutCache[str, int]) -> None:
    assert_type(cache['key'], int)
    assert_type(cache.get('key', expire_time=True, tag=True), tuple[int | None, float | None, Tag])
    assert_type(cache.pop('key', 0), int)
    assert_type(cache.incr('key'), int | None)
    assert_type(cache.cache('part'), Cache[Any, Any])
    assert_type(cache.deque('part'), Deque[Any])
    assert_type(cache.index('part'), Index[Any, Any])
    names: Deque[str] = cache.deque('names')
    names.append('name')
    assert_type(list(cache.items()), list[tuple[str, int]])
    assert_type(Shards()['key'], bytes)


def deques(cache: Cache[Any, str]) -> None:
    deque = Deque(['a'], '/tmp/deque', maxlen=4)
    assert_type(deque, Deque[str])
    assert_type(deque[0], str)
    assert_type(deque.pop(), str)
    assert_type(deque.peekleft(), str)
    assert_type(list(deque), list[str])
    assert_type(deque + deque, Deque[str])
    assert_type(deque * 2, Deque[str])
    assert_type(deque.copy(), Deque[str])
    assert_type(Deque[int](directory='/tmp/deque'), Deque[int])
    assert_type(Deque(), Deque[Any])
    words: Deque[str] = Deque.fromcache(cache)
    assert_type(Jobs.fromcache(cache), Jobs)
    words.append('word')
    assert_type(Jobs().popleft(), str)
    assert_type(Jobs() < ['a'], bool)
    assert_type(deque.cache, Cache[Any, str])
    with deque.transact():
        deque += ['b']
        deque *= 2


def indexes(cache: Cache[str, int], pairs: Iterator[tuple[int, bytes]]) -> None:
    index = Index({'a': 1})
    assert_type(index, Index[str, int])
    assert_type(Index('/tmp/index', {'a': 1}, b=2), Index[str, int])
    assert_type(Index(a=1), Index[str, int])
    assert_type(Index(pairs), Index[int, bytes])
    assert_type(Index('/tmp/index'), Index[Any, Any])
    assert_type(Index[str, int]('/tmp/index'), Index[str, int])
    same: Index[str, int] = Index.fromcache(cache)
    same['a'] = 1
    assert_type(index['a'], int)
    assert_type(index.get('a'), int | None)
    assert_type(index.pop('a'), int)
    assert_type(index.pop('a', None), int | None)
    assert_type(index.popitem(last=False), tuple[str, int])
    assert_type(index.peekitem(), tuple[str, int])
    assert_type(index.setdefault('a', 1), int)
    assert_type(index | {'b': 2}, Index[str, int])
    assert_type(list(index.items()), list[tuple[str, int]])
    assert_type(index.push(1), int)
    assert_type(index.pull('prefix'), tuple[str, int] | tuple[None, None])
    index.update({'a': 1}, b=2)

    @index.memoize(signature=True)
    def square(number: int) -> int:
        return number * number

    assert_type(square(2), int)


def memoized(cache: Cache[Any, Any], shards: FanoutCache[Any, Any]) -> None:
    @cache.memoize(expire=60, tag='tag', ignore={'verbose'})
    def area(width: int, height: int = 1, *, verbose: bool = False) -> float:
        return width * height

    assert_type(area(1, height=2), float)
    assert_type(area.__cache_key__(1, verbose=True), Any)
    assert_type(area.__wrapped__(1), float)
    assert_type(area.__name__, str)
    plain: Callable[[int], float] = area
    plain(1)

    @shards.memoize()
    async def fetch(url: str) -> bytes:
        return url.encode()

    coroutine: Coroutine[Any, Any, bytes] = fetch('url')
    coroutine.close()
    cache.delete(fetch.__cache_key__('url'))

    @memoize_stampede(cache, expire=60)
    def renewed(number: int) -> str:
        return str(number)

    assert_type(renewed(1), str)
    cache.delete(renewed.__cache_key__(1))

    def takes(function: Memoized[[int], str]) -> None:
        function(1)

    takes(renewed)


class Site:
    cache: Cache[Any, Any] = Cache()

    @cache.memoize(ignore={0})
    def page(self, number: int) -> str:
        return str(number)

    @staticmethod
    @cache.memoize()
    def title(number: int) -> str:
        return str(number)

    @throttle(cache, 1, 1)
    def ask(self, number: int) -> int:
        return number

    @classmethod
    @barrier(cache, Lock)
    def build(cls, number: int) -> int:
        return number


def methods(site: Site) -> None:
    assert_type(site.page(1), str)
    assert_type(Site.page(site, 1), str)
    assert_type(Site.page.__cache_key__(site, 1), Any)
    assert_type(Site.title(1), str)
    assert_type(site.ask(1), int)
    assert_type(Site.build(1), int)


def recipes(cache: Cache[Any, Any], shards: FanoutCache[Any, Any]) -> None:
    with Lock(cache, 'lock', expire=60) as lock, RLock(shards, 'lock'):
        assert_type(lock.locked(), bool)
        assert_type(lock.acquire(timeout=1), bool)
        assert_type(lock.release(), bool)
    with BoundedSemaphore(cache, 'places', value=2, tag='tag') as places:
        assert_type(places, BoundedSemaphore)
    assert_type(Averager(cache, 'average').get(), float | None)
    context: AbstractContextManager[Lock] = Lock(cache, 'lock')
    assert context

    @throttle(cache, count=1, seconds=1)
    def slow(number: int, *, name: str = '') -> str:
        return name * number

    @barrier(shards, ft.partial(BoundedSemaphore, value=2), expire=5)
    async def alone(number: int) -> str:
        return str(number)

    assert_type(slow(1, name='name'), str)
    coroutine: Coroutine[Any, Any, str] = alone(1)
    coroutine.close()


def errors(cache: Cache[str, int]) -> int:
    try:
        with cache.transact():
            return cache['key']
    except diskcache.Timeout as timeout:
        assert_type(timeout.message, str)
    except (KeyError, sqlite3.Error):
        pass
    diskcache.configure(disk=JSONDisk)
    return 0
