"""A Django program, for type checkers that have django-stubs."""

from __future__ import annotations

from typing import Any, BinaryIO

from django.core.cache import cache as default_cache
from django.core.cache.backends.base import BaseCache
from typing_extensions import assert_type

from diskcache import Cache, Deque, DjangoCache, Index


class SiteCache(DjangoCache):
    pass


cache = SiteCache('/tmp/site', {'OPTIONS': {'size_limit': 1000}, 'TIMEOUT': 5})
base: BaseCache = cache
default_cache.set('key', 1)


@cache.memoize(timeout=60, tag='tag')
def page(number: int) -> str:
    return str(number)


async def view() -> None:
    assert_type(cache.set('key', 1, timeout=None, tag='tag'), bool)
    assert_type(await cache.aset('key', 1, tag='tag', retry=False), bool)
    assert_type(await cache.aget('key', default=1, tag=True), Any)
    assert_type(await cache.aread('key', mmap=True), memoryview)
    assert_type(await cache.aread('key'), BinaryIO)
    assert_type(await cache.aget_many(['key']), dict[str, Any])
    assert_type(await cache.aclear(), int)
    assert_type(cache.incr('key', default=0), Any)
    assert_type(cache.cache('part'), Cache[Any, Any])
    assert_type(cache.deque('part'), Deque[Any])
    assert_type(cache.index('part'), Index[Any, Any])
    assert_type(page(1), str)
    cache.set('key', 1, tag=['x'])  # error
    await cache.aset('key', 1, tag=['x'])  # error
    cache.get(1)  # error
    cache.gett('key')  # error
    page('1')  # error
