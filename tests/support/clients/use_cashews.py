"""cashews[diskcache]: decorators and commands for caching, here in a FanoutCache and in a Cache."""

from __future__ import annotations

import asyncio
import tempfile

from cashews import Cache
from ours import check_package


async def use(shards: int, directory: str) -> None:
    """Store, count, lock and memoize."""
    cache = Cache()
    cache.setup(f'disk://?directory={directory}&shards={shards}')
    calls = []

    @cache(ttl='1m', key='square:{number}')
    async def square(number: int) -> dict[str, int]:
        calls.append(number)
        return {'square': number**2}

    assert [(await square(number % 5))['square'] for number in range(50)] == [0, 1, 4, 9, 16] * 10
    assert calls == [0, 1, 2, 3, 4]
    await cache.set('key', b'x' * 100_000, expire=60)
    assert await cache.get('key') == b'x' * 100_000
    assert 0 < await cache.get_expire('key') <= 60
    assert await cache.set('key', 'other', exist=False) is False
    await asyncio.gather(*(cache.incr('hits') for _ in range(100)))
    assert await cache.get('hits') == 100
    async with cache.lock('lock', expire=10):
        assert await cache.is_locked('lock')
    await cache.delete('key')
    assert await cache.get_many('key', 'hits') == (None, 100)
    if shards == 1:
        assert {key async for key in cache.scan('square:*')} == {f'square:{n}' for n in range(5)}
    await cache.close()


async def main() -> None:
    """Use both kinds."""
    check_package()
    for shards in (8, 1):
        with tempfile.TemporaryDirectory() as directory:
            await use(shards, directory)


if __name__ == '__main__':
    asyncio.run(main())
