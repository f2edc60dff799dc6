"""Threads that use the same caches in all ways at once; for a Python without a GIL.

    PYTHON_GIL=0 python tests/support/stress_threads.py [SECONDS]

Each turn is a step chosen at random: lookups, writes, transactions, iteration, attributes, hooks,
closing, opening. Each value tells its key, so that a mix-up is noticed. Afterwards the directories
are checked.
"""

from __future__ import annotations

import random
import sys
import sysconfig
import tempfile
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

sys.path.append(str(Path(__file__).resolve().parents[2]))  # unless PYTHONPATH has another

from diskcache import Cache, Disk, FanoutCache, Timeout

THREADS = 6
KEYS = 40
LARGE = 'x' * 50_000
TEXTS = [f'a text to be found in memory, {number}' for number in range(5)]


def value_of(key: int) -> tuple[int, str]:
    """Return a new value for a key, now and then a large one."""
    return key, LARGE if random.random() < 0.05 else str(random.random())


def get(cache: Cache, key: int) -> None:
    value = cache.get(key)
    assert value is None or value[0] == key, (key, value)


def write(cache: Cache, key: int) -> None:
    cache.set(key, value_of(key), retry=True)
    get(cache, key)


def get_often(cache: Cache, key: int) -> None:
    """Most of these are hits in memory, which take no guard."""
    texts = {*TEXTS, ''} if isinstance(cache, FanoutCache) else {*TEXTS}  # which is cleared
    for number in range(100):
        get(cache, (key + number) % KEYS)
        if key in cache:
            with suppress(KeyError):
                assert cache[key][0] == key
        assert cache.get('text', '') in texts
        assert cache.get('soon') in {None, *TEXTS}


def write_text(cache: Cache, key: int) -> None:
    cache.set('text', random.choice(TEXTS), retry=True)
    cache.set('soon', random.choice(TEXTS), expire=random.random() / 10, retry=True)


def write_many(cache: Cache, key: int) -> None:
    """Two keys have the same number always."""
    number = random.random()
    cache.set_many({'left': number, 'right': number}, retry=True)
    pair = cache.get_many(['left', 'right'])
    assert pair['left'] == pair['right'], pair


def read_many(cache: Cache, key: int) -> None:
    pair = cache.get_many(['left', 'right'])
    assert pair.get('left') == pair.get('right'), pair


def transact(cache: Cache, key: int) -> None:
    with cache.transact(retry=True):
        cache['first'] = cache['second'] = cache.incr('count')
    with cache.transact(retry=True):
        assert cache['first'] == cache['second']


def iterate(cache: Cache, key: int) -> None:
    assert len(list(cache)) <= KEYS + 10
    assert len(list(reversed(cache))) <= KEYS + 10


def attributes(cache: Cache, key: int) -> None:
    cache.size_limit = 10**9 + key
    cache.disk.pickle_protocol = 5
    if key < 3:
        cache._disk = Disk(cache.directory)
        cache.memory_limit = 0
    cache.memory_limit = 10**6 + key
    assert cache.memory_stats()['hits'] >= 0
    assert cache.directory


def remove(cache: Cache, key: int) -> None:
    cache.delete(key, retry=True)


def queue(cache: Cache, key: int) -> None:
    cache.push(key, prefix='queue', retry=True)
    cache.pull(prefix='queue', retry=True)


def close(cache: Cache, key: int) -> None:
    cache.close()


def open_another(cache: Cache, key: int) -> None:
    with Cache(cache.directory) as another:
        get(another, key)


def clear(cache: FanoutCache, key: int) -> None:
    cache.clear(retry=True)


def use_shards(cache: FanoutCache, key: int) -> None:
    """Replace what a lookup goes by."""
    shard = cache._shards[key % len(cache._shards)]
    shard._disk = Disk(shard.directory)
    cache._hash = shard.disk.hash
    cache.reset('cull_limit', key)
    cache.memory_limit = 10**6 + key


def initialize(cache: FanoutCache, key: int) -> None:
    """Open the directory anew: no shard but the first is open then, and the former ones end."""
    FanoutCache.__init__(cache, cache.directory, shards=len(cache._shards), timeout=1)


STEPS: list[Callable[[Any, int], None]] = [
    *[get] * 20,
    *[get_often] * 8,
    *[write] * 8,
    *[write_text] * 2,
    *[write_many, read_many] * 3,
    transact,
    iterate,
    attributes,
    remove,
    queue,
    close,
    open_another,
]

FANOUT_STEPS: list[Callable[[Any, int], None]] = [
    *[get] * 20,
    *[get_often] * 8,
    *[write] * 8,
    *[write_text] * 2,
    *[initialize, use_shards] * 2,
    *(iterate, remove, clear, close),
]


def work(caches: list[Any], until: float, counts: list[int], errors: list[BaseException]) -> None:
    """Do steps until a moment on the monotonic clock, or until somebody fails."""
    done = 0
    while time.monotonic() < until and not errors:
        try:
            cache = random.choice(caches)
            steps = FANOUT_STEPS if isinstance(cache, FanoutCache) else STEPS
            random.choice(steps)(cache, random.randrange(KEYS))
            done += 1
        except Timeout:
            pass
        except BaseException as error:
            errors.append(error)
    counts.append(done)


def main(seconds: float) -> None:
    """Run all threads for so many seconds."""
    with tempfile.TemporaryDirectory() as directory:
        single = Cache(directory)
        fanout = FanoutCache(f'{directory}/fanout', shards=4)
        caches = [single, Cache(directory, eviction_policy='least-recently-used'), fanout, fanout]
        single['text'] = TEXTS[0]
        counts: list[int] = []
        errors: list[BaseException] = []
        arguments = (caches, time.monotonic() + seconds, counts, errors)
        threads = [threading.Thread(target=work, args=arguments) for _ in range(THREADS)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        if errors:
            raise errors[0]
        assert single.check() == fanout.check() == []
        for cache in caches:
            cache.close()
    gil = getattr(sys, '_is_gil_enabled', lambda: True)()
    assert not (gil and sysconfig.get_config_var('Py_GIL_DISABLED')), 'something needs a GIL'
    print(f'{sum(counts):,} steps by {THREADS} threads, {"with" if gil else "without"} a GIL')


if __name__ == '__main__':
    main(float(sys.argv[1]) if len(sys.argv) > 1 else 20.0)
