"""py-key-value-aio[disk]: an asynchronous store of JSON objects, in a Cache of its own or given."""

from __future__ import annotations

import asyncio
import tempfile

from key_value.aio.stores.disk import DiskStore
from ours import check_package

import diskcache


async def main() -> None:
    """Put, get and delete through the store; look at what it has stored with a Cache."""
    check_package()
    with tempfile.TemporaryDirectory() as directory:
        async with DiskStore(directory=directory, max_size=10_000_000) as store:
            for number in range(50):
                await store.put(key=f'{number}', value={'square': number**2}, collection='numbers')
            await store.put(key='text', value={'text': 'x' * 100_000}, ttl=60)
            assert await store.get(key='7', collection='numbers') == {'square': 49}
            assert await store.get(key='7') is None
            assert await store.delete(key='7', collection='numbers')
            _, ttl = await store.ttl(key='text')
            assert ttl is not None
            assert 0 < ttl <= 60
        with diskcache.Cache(directory) as cache:
            assert len(cache) == 50
            assert cache.check() == []
            store = DiskStore(disk_cache=cache)
            assert await store.get(key='8', collection='numbers') == {'square': 64}
            assert (await store.get(key='text'))['text'] == 'x' * 100_000


if __name__ == '__main__':
    asyncio.run(main())
