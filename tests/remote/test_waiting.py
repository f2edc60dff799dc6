"""Who waits for a lock on a server is told when it is free."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from interpreter import PATIENCE
from servers import Server

import diskcache

pytest.importorskip('redis', reason='redis-py is not installed: pip install redis')

from diskcache.remote import RemoteCache, waiter


@pytest.fixture
def open_cache(server: Server, name: str) -> Iterator[Callable[..., RemoteCache]]:
    """A function that opens the same cache, on each kind of server."""
    caches: list[RemoteCache] = []

    def open_cache(**arguments: Any) -> RemoteCache:
        caches.append(RemoteCache(server.url, name, **{'timeout': 10, **arguments}))
        return caches[-1]

    yield open_cache
    for cache in caches:
        cache.clear()
        cache.close()


@pytest.fixture
def cache(open_cache: Any) -> RemoteCache:
    return open_cache()


@pytest.fixture
def _only_news(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without news a pause lasts longer than a test may."""
    monkeypatch.setattr(waiter, '_LONGEST', 1000.0)


def listeners(cache: Any) -> int:
    """Return how many connections listen to the keys of a server."""
    return int(cache._engine.call('INFO', 'clients')['tracking_clients'])


def until(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.002)


class Waiting(threading.Thread):
    """A thread that acquires a lock."""

    def __init__(self, lock: Any) -> None:
        super().__init__(daemon=True)
        self.lock = lock
        self.acquired = False
        self.start()

    def run(self) -> None:
        self.acquired = self.lock.acquire()

    def finish(self) -> None:
        self.join(PATIENCE)
        assert self.acquired


KINDS = [diskcache.Lock, diskcache.RLock, diskcache.BoundedSemaphore]


@pytest.mark.usefixtures('_only_news')
@pytest.mark.parametrize('kind', KINDS)
@pytest.mark.parametrize('near', [None, True])
def test_a_release_wakes_who_waits(open_cache: Any, kind: Any, near: Any) -> None:
    holder = kind(open_cache(), 'lock')
    holder.acquire()
    before = listeners(holder._cache)
    waiting = Waiting(kind(open_cache(near=near), 'lock'))
    until(lambda: listeners(holder._cache) == before + (2 if near else 1))
    holder.release()
    waiting.finish()
    until(lambda: listeners(holder._cache) == before + (1 if near else 0))


@pytest.mark.usefixtures('_only_news')
def test_of_many_who_wait_each_gets_its_turn(open_cache: Any) -> None:
    holder = diskcache.Lock(open_cache(), 'lock')
    holder.acquire()
    before = listeners(holder._cache)
    waiting = [Waiting(diskcache.Lock(open_cache(), 'lock')) for _ in range(5)]
    until(lambda: listeners(holder._cache) == before + 5)
    holder.release()
    for _ in range(5):
        until(lambda: [each for each in waiting if each.acquired])
        (winner,) = [each for each in waiting if each.acquired]
        waiting.remove(winner)
        assert winner.lock.release() or diskcache.Lock(winner.lock._cache, 'lock').release()


@pytest.mark.usefixtures('_only_news')
def test_a_release_before_the_waiter_listens_is_not_missed(
    open_cache: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    holder = diskcache.Lock(open_cache(), 'lock')
    holder.acquire()
    listen = waiter.Waiter._listen

    def release_and_listen(self: Any) -> None:
        holder.release()
        listen(self)

    monkeypatch.setattr(waiter.Waiter, '_listen', release_and_listen)
    Waiting(diskcache.Lock(open_cache(), 'lock')).finish()


@pytest.mark.usefixtures('_only_news')
def test_what_is_near_is_not_believed_after_news(
    open_cache: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    holder = diskcache.Lock(open_cache(), 'lock')
    holder.acquire()
    cache = open_cache(near=True)
    assert cache.get('lock') == cache.get('lock') is not None
    before = listeners(cache)
    waiting = Waiting(diskcache.Lock(cache, 'lock'))
    until(lambda: listeners(cache) == before + 1)
    monkeypatch.setattr(cache._near.feed, 'drain', lambda wait: True)  # its own feed is late
    cache._near.feed.lease = float('inf')
    holder.release()
    waiting.finish()


def test_a_lock_that_expires_is_free_for_who_waits(cache: Any, open_cache: Any) -> None:
    assert diskcache.Lock(cache, 'lock', expire=0.2).acquire()
    Waiting(diskcache.Lock(open_cache(), 'lock')).finish()


def test_a_wait_ends_in_time(cache: Any, open_cache: Any) -> None:
    diskcache.Lock(cache, 'lock').acquire()
    before = listeners(cache)
    assert not diskcache.Lock(open_cache(), 'lock').acquire(timeout=0.3)
    until(lambda: listeners(cache) == before)


def test_a_lost_connection_is_a_pause(cache: Any, open_cache: Any) -> None:
    holder = diskcache.Lock(cache, 'lock')
    holder.acquire()
    before = listeners(cache)
    waiting = Waiting(diskcache.Lock(open_cache(), 'lock'))
    until(lambda: listeners(cache) == before + 1)

    def kill() -> bool:  # it is counted before it has subscribed, and is of this type
        cache._engine.call('CLIENT', 'KILL', 'TYPE', 'pubsub')
        return listeners(cache) <= before

    until(kill)
    holder.release()
    waiting.finish()


def test_where_tracking_is_forbidden_a_waiter_looks_again(
    start_server: Callable[[], Server], name: str
) -> None:
    server = start_server()
    admin = RemoteCache(server.url, name, timeout=10)
    rules = ('~*', '&*', '+@all', '-client|tracking')
    admin._engine.call('ACL', 'SETUSER', 'site', 'on', '>word', *rules)
    cache = RemoteCache(server.url.replace('://', '://site:word@'), name, timeout=10)
    holder = diskcache.Lock(admin, 'lock')
    holder.acquire()
    waiting = Waiting(diskcache.Lock(cache, 'lock'))
    time.sleep(0.1)
    assert listeners(admin) == 0
    holder.release()
    waiting.finish()
    admin.close()
    cache.close()
