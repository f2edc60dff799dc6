"""What `memory_stats` counts beside lookups: evictions, waits for the lock, checkpoints.

`test_hot_tier.py` is about lookups.
"""

from __future__ import annotations

import os
import pickle
import sqlite3
import time
from collections.abc import Callable
from contextlib import AbstractContextManager

import pytest
from interpreter import Interpreter

from diskcache import Cache, FanoutCache, Timeout
from diskcache.typing import MemoryStats

BLOCK = b'x' * 10_000


def changes(cache: Cache, before: MemoryStats) -> dict[str, float]:
    """What the counts have come to since, but for those of lookups."""
    now = cache.memory_stats()
    names = set(now) - {'hits', 'misses', 'bytes', 'invalidations'}
    return {name: now[name] - before[name] for name in sorted(names) if now[name] != before[name]}  # type: ignore[literal-required]


def test_a_new_object_has_counted_nothing(directory: str) -> None:
    with Cache(directory, size_limit=50_000) as cache:
        for number in range(20):
            cache[number] = BLOCK
        with Cache(directory) as other:
            assert set(other.memory_stats().values()) == {0}
        assert set(pickle.loads(pickle.dumps(cache)).memory_stats().values()) == {0}


def test_each_item_that_a_write_evicts_is_counted(directory: str) -> None:
    with Cache(directory, size_limit=100_000, cull_limit=5) as cache:
        for number in range(100):
            cache[number] = BLOCK
        assert cache.memory_stats()['evictions'] == 100 - len(cache) > 50


def test_each_item_that_cull_evicts_is_counted(directory: str) -> None:
    with Cache(directory, size_limit=100_000, cull_limit=0) as cache:
        for number in range(50):
            cache[number] = BLOCK
        removed = cache.cull()
        assert removed > 20
        assert cache.memory_stats()['evictions'] == removed


def test_what_expires_or_is_removed_is_not_evicted(directory: str) -> None:
    with Cache(directory) as cache:
        for number in range(10):
            cache.set(number, BLOCK, expire=0.001)
            cache.set(-number - 1, BLOCK, tag='tag')
        time.sleep(0.01)
        cache['a write'] = 'that removes what has expired'
        cache.expire()
        cache.evict('tag')
        cache.clear()
        assert cache.memory_stats()['evictions'] == 0


def test_without_others_no_write_waits(cache: Cache) -> None:
    before = cache.memory_stats()
    for number in range(100):
        cache[number] = number
    assert 'lock_waits' not in changes(cache, before)


def test_a_write_that_waits_for_another_process_is_counted_with_its_time(
    cache: Cache, other: Interpreter
) -> None:
    cache['key'] = 0
    other.run(f"""
    import diskcache, threading, time
    holder = diskcache.Cache({cache.directory!r})
    def hold():
        with holder.transact():
            held.set()
            time.sleep(0.3)
        holder.close()
    held = threading.Event()
    threading.Thread(target=hold).start()
    held.wait()
    """)
    before = cache.memory_stats()
    began = time.monotonic()
    cache['key'] = 1
    took = time.monotonic() - began
    found = changes(cache, before)
    assert found['lock_waits'] == 1
    assert 0 < found['lock_wait_seconds'] <= took


def test_a_timeout_is_a_wait_too(
    directory: str, locked: Callable[..., AbstractContextManager[sqlite3.Connection]]
) -> None:
    with Cache(directory, timeout=0.05) as cache:
        cache['key'] = 0
        before = cache.memory_stats()
        with locked():
            with pytest.raises(Timeout):
                cache.set('key', 2)
        found = changes(cache, before)
    assert found['lock_waits'] == 1
    assert found['lock_wait_seconds'] >= 0.05


def wait_for_checkpoints(cache: Cache, count: int, work: Callable[[], object]) -> MemoryStats:
    """Return the counts as soon as there are so many checkpoints, or as they are after a while."""
    deadline = time.monotonic() + 30
    while cache.memory_stats()['checkpoints'] < count and time.monotonic() < deadline:
        work()
    return cache.memory_stats()


def test_checkpoints_are_counted_with_their_time_and_what_they_copy(directory: str) -> None:
    with Cache(directory, size_limit=2**40, cull_limit=0) as cache:
        stats = wait_for_checkpoints(cache, 4, lambda: cache.push(BLOCK))
        assert stats['checkpoints'] >= 4
        assert stats['checkpoint_frames'] >= 1000
        assert stats['checkpoint_seconds'] > 0


def test_a_checkpoint_is_counted_when_it_is_done(directory: str) -> None:
    with Cache(directory, size_limit=2**40, cull_limit=0) as cache:
        while os.path.getsize(f'{directory}/cache.db-wal') < 4_300_000:  # 4 MB make one due
            cache.push(BLOCK)
        assert wait_for_checkpoints(cache, 1, lambda: time.sleep(0.01))['checkpoints'] >= 1


def test_of_a_fanout_cache_the_counts_are_sums(directory: str) -> None:
    with FanoutCache(directory, shards=4, size_limit=100_000) as cache:
        for number in range(100):
            cache[number] = BLOCK
        whole = cache.memory_stats()
        parts = [shard.memory_stats() for shard in cache._all_shards()]
        assert whole['evictions'] == sum(part['evictions'] for part in parts) > 20
        assert whole.keys() == parts[0].keys() == MemoryStats.__annotations__.keys()
