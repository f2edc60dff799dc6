"""What is kept near is late by milliseconds at most, and nobody goes back in time.

The tests bring about each order of events by hand: what another thread or process does in between
is done inside of a patched step.
"""

from __future__ import annotations

import contextlib as cl
import itertools as it
import math
import os
import signal
import struct
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from near_tier import Clock, watch_readers
from servers import Server

from diskcache import KEEP, Cache, CacheWarning, JSONDisk, Timeout

pytest.importorskip('redis', reason='redis-py is not installed: pip install redis')

from diskcache._core import Heard
from diskcache.remote import RemoteCache, RemoteError, feed, near


@pytest.fixture
def boot_clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """The clock of the caches that are opened after this."""
    clock = Clock()
    monkeypatch.setattr(feed, 'clock', clock)
    monkeypatch.setattr('diskcache.remote.cache.clock', clock)
    return clock


@pytest.fixture
def open_cache(redis_server: Server, name: str) -> Iterator[Callable[..., Any]]:
    """A function that opens the same cache once more."""
    caches: list[RemoteCache] = []

    def open_cache(near: Any = None, **arguments: Any) -> RemoteCache:
        url = arguments.pop('url', redis_server.url)
        caches.append(RemoteCache(url, name, near=near, **{'timeout': 10, **arguments}))
        return caches[-1]

    yield open_cache
    for cache in caches:
        cache.close()


@pytest.fixture(params=['memory', 'directory', 'Cache'])
def cache(request: pytest.FixtureRequest, open_cache: Any, tmp_path: Path) -> Iterator[Any]:
    """A cache with each kind of near tier, with a key that is near."""
    if request.param == 'Cache':
        with Cache(tmp_path / 'near') as kept:
            yield with_key(open_cache(kept))
    else:
        yield with_key(open_cache(True if request.param == 'memory' else tmp_path / 'near'))


def with_key(cache: Any) -> Any:
    cache['key'] = 'old'
    warm(cache)
    return cache


@pytest.fixture
def writer(open_cache: Any) -> Any:
    """The same cache, as another process has it that keeps nothing."""
    return open_cache()


def is_near(cache: Any, key: str = 'key') -> bool:
    """Tell whether a value would be served from near."""
    return cache._near.get(cache._codec.key(key)) is not None


def is_kept(cache: Any, key: str = 'key') -> bool:
    """Tell whether there is an entry, be it valid or not."""
    return cache._near._store.get(cache._codec.key(key)) != (None, None)


def times(t0: float, until: float = 1e9) -> bytes:
    """What is kept beside a value."""
    return struct.pack('>dd', t0, until)


def warm(cache: Any, key: str = 'key') -> None:
    """Read until the value is near: the messages of a write before may come in between."""
    for _ in range(1000):
        cache.get(key)
        if is_near(cache, key):
            return
        time.sleep(0.002)
    raise AssertionError('nothing is kept near')


def wait_for_news(cache: Any) -> None:
    """Wait until a message has arrived that nobody has heard."""
    deadline = time.monotonic() + 30
    while not cache._near.feed._connection.can_read():
        assert time.monotonic() < deadline
        time.sleep(0.001)


def forget(cache: Any) -> None:
    """Let nothing be near, without a message."""
    cache._near.feed.hear(cache._codec.key('key'))


def after_a_read(cache: Any, monkeypatch: pytest.MonkeyPatch, then: Callable[[], object]) -> None:
    """Do something once, when the next read has been answered."""
    read = cache._engine.read

    def patched(*command: Any) -> Any:
        answer = read(*command)
        monkeypatch.setattr(cache._engine, 'read', read)
        then()
        return answer

    monkeypatch.setattr(cache._engine, 'read', patched)


def deaf(cache: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let messages arrive late: from now on nobody hears any."""
    monkeypatch.setattr(cache._near.feed, 'drain', lambda wait: True)


def test_a_value_is_served_from_near_without_the_server(
    cache: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cache._engine, 'read', None)
    assert cache.get('key') == cache['key'] == 'old'
    assert cache.get_many(['key']) == {'key': 'old'}
    assert 'key' in cache


def test_a_write_by_others_is_heard(cache: Any, writer: Any) -> None:
    for number in range(20):
        writer['key'] = number
        wait_for_news(cache)
        time.sleep(0.002)  # longer than the pause between two looks
        assert cache['key'] == number
    writer.touch('key', 60)
    wait_for_news(cache)
    time.sleep(0.002)
    assert cache.get('key', expire_time=True)[1] is not None
    writer.delete('key')
    wait_for_news(cache)
    time.sleep(0.002)
    assert cache.get('key') is None


WRITES: dict[str, Callable[[Any], object]] = {
    'set': lambda cache: cache.set('key', 'new'),
    'tagged': lambda cache: cache.set('key', 'new', tag='tag'),
    'delete': lambda cache: cache.delete('key'),
    'pop': lambda cache: cache.pop('key'),
    'modify': lambda cache: cache.modify('key', lambda value: 'new'),
    'clear': lambda cache: cache.clear(),
    'set_many': lambda cache: cache.set_many({'key': 'new'}),
    'delete_many': lambda cache: cache.delete_many(['key']),
    'touch': lambda cache: cache.touch('key', 0),
    'touch_many': lambda cache: cache.touch_many(['key'], 0),
}


@pytest.mark.parametrize('write', WRITES)
def test_own_writes_are_seen_at_once(
    cache: Any, monkeypatch: pytest.MonkeyPatch, write: str
) -> None:
    deaf(cache, monkeypatch)
    WRITES[write](cache)
    assert cache.get('key') != 'old'


def test_own_evictions_and_increments_are_seen_at_once(
    cache: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache.set('tagged', 1, tag='tag')
    cache.set('number', 1)
    warm(cache, 'tagged')
    warm(cache, 'number')
    deaf(cache, monkeypatch)
    cache.evict('tag')
    assert cache.get('tagged') is None
    assert cache.incr('number') == 2
    assert cache['number'] == 2


def test_an_own_write_counts_from_its_answer_on(
    cache: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    call = cache._engine.call

    def read_by_another_thread_before_it_is_sent(*command: Any) -> Any:
        monkeypatch.setattr(cache._engine, 'call', call)
        forget(cache)
        assert cache['key'] == 'old'
        assert is_near(cache)
        return call(*command)

    deaf(cache, monkeypatch)
    monkeypatch.setattr(cache._engine, 'call', read_by_another_thread_before_it_is_sent)
    cache['key'] = 'new'
    assert cache['key'] == 'new'


def test_a_write_that_fails_may_have_been_done(cache: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    call = cache._engine.call

    def call_and_lose_the_answer(*command: Any) -> Any:
        call(*command)
        monkeypatch.setattr(cache._engine, 'call', call)
        raise Timeout

    deaf(cache, monkeypatch)
    monkeypatch.setattr(cache._engine, 'call', call_and_lose_the_answer)
    with pytest.raises(Timeout):
        cache['key'] = 'new'
    assert cache['key'] == 'new'


def test_a_value_is_as_old_as_the_beginning_of_its_read(
    cache: Any, writer: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def another_thread_hears_of_a_write() -> None:
        writer['key'] = 'new'
        wait_for_news(cache)
        cache._near.feed.drain(True)

    forget(cache)
    after_a_read(cache, monkeypatch, another_thread_hears_of_a_write)
    assert cache['key'] == 'old'
    assert cache['key'] == 'new'


def test_what_has_been_written_since_its_read_is_not_kept(
    cache: Any, writer: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def write() -> None:
        writer['other'] = 1
        writer['key'] = 'new'
        wait_for_news(cache)

    writer['other'] = 0
    monkeypatch.setattr(cache._near.feed, 'pause', 100)  # nobody has looked for long
    after_a_read(cache, monkeypatch, write)
    assert cache['other'] == 0
    assert not is_kept(cache, 'other')


def test_many_are_kept_by_the_same_rule(
    cache: Any, writer: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    many = cache._engine.many

    def read_before_another_writes(commands: Any) -> Any:
        for answers in many(commands):
            writer['key'] = 'new'
            wait_for_news(cache)
            cache._near.feed.drain(True)
            yield answers

    forget(cache)
    monkeypatch.setattr(cache._engine, 'many', read_before_another_writes)
    assert cache.get_many(['key']) == {'key': 'old'}
    assert cache['key'] == 'new'


def test_a_later_entry_is_not_replaced(cache: Any) -> None:
    def put(value: bytes, t0: float, until: float) -> bool:
        kept: bool = cache._near._store.put(b'name', value, times(t0, until), 100.0)
        return kept

    store = cache._near._store
    assert put(b'later', 5.0, 100.0)
    assert not put(b'earlier', 3.0, 100.0)
    assert not put(b'at the same time', 5.0, 101.0)
    assert store.get(b'name') == (b'later', times(5.0, 100.0))
    assert put(b'latest', 6.0, 99.0)
    assert store.get(b'name') == (b'latest', times(6.0, 99.0))
    large = bytes(100_000)  # in a directory, in a file
    assert put(large, 7.0, 100.0)
    assert not put(b'earlier', 6.5, 100.0)
    assert store.get(b'name') == (large, times(7.0, 100.0))
    assert put(b'small', 8.0, 100.0)
    assert store.get(b'name') == (b'small', times(8.0, 100.0))


def test_what_has_expired_is_not_near(boot_clock: Clock, cache: Any) -> None:
    cache.set('key', 'new', expire=1)
    warm(cache)
    _, until = cache._near.get(cache._codec.key('key'))
    assert 0 < until <= 1
    boot_clock.ahead += 1.01
    assert not is_near(cache)


def test_nothing_holds_longer_than_the_lease(
    boot_clock: Clock, start_server: Any, open_cache: Any
) -> None:
    server = start_server()
    cache = with_key(open_cache(True, url=server.url, timeout=0.5))
    server.kill(signal.SIGSTOP)
    assert cache['key'] == 'old'
    boot_clock.ahead += feed.LEASE
    with pytest.raises(Timeout):
        cache['key']
    server.kill(signal.SIGCONT)


def test_a_lease_begins_when_it_is_asked_for(boot_clock: Clock, cache: Any) -> None:
    boot_clock.ahead += feed.LEASE - 0.5  # too little is left
    news = cache._near.feed
    assert news.drain(True)
    asked = news._asked
    assert asked is not None
    wait_for_news(cache)
    boot_clock.ahead += 1
    assert news.drain(True)
    assert news.lease == asked + feed.LEASE


def test_a_lease_is_renewed_while_there_are_reads(boot_clock: Clock, cache: Any) -> None:
    for _ in range(10):
        boot_clock.ahead += 0.7
        cache['key']
        deadline = time.monotonic() + 30
        while cache._near.feed._asked is not None and time.monotonic() < deadline:
            time.sleep(0.001)
            cache._near.feed.drain(True)
    assert is_near(cache)


def test_a_feed_that_does_not_answer_is_given_up(boot_clock: Clock, cache: Any) -> None:
    news = cache._near.feed
    connection = news._connection
    news._asked = boot_clock()
    boot_clock.ahead += 20
    assert not is_near(cache)
    warm(cache)
    assert news._connection is not connection


def test_what_was_kept_before_one_subscribed_does_not_hold(
    open_cache: Any, writer: Any, tmp_path: Path
) -> None:
    first = with_key(open_cache(tmp_path / 'near'))
    assert is_kept(first)
    first.close()
    writer['key'] = 'new'
    assert open_cache(tmp_path / 'near')['key'] == 'new'


def test_processes_share_what_one_of_them_reads(
    open_cache: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Cache(tmp_path / 'near') as kept:
        first, second = open_cache(kept), open_cache(kept)
        second.get('key')
        with_key(first)
        second._near.feed.drain(True)
        first._near.feed.hear(first._codec.key('key'))
        warm(first)
        monkeypatch.setattr(second._engine, 'read', None)
        assert second['key'] == 'old'


def test_a_lost_connection_lets_nothing_hold(cache: Any, writer: Any) -> None:
    for number in range(5):
        warm(cache)
        connection = cache._near.feed._connection
        writer._engine.call('CLIENT', 'KILL', 'TYPE', 'pubsub')
        writer['key'] = number
        while cache._near.feed._connection is connection:
            cache._near.feed.drain(True)
        assert cache['key'] == number


def test_who_falls_too_far_behind_is_cut_off_and_begins_anew(
    start_server: Any, open_cache: Any
) -> None:
    server = start_server('redis', '--client-output-buffer-limit', 'pubsub 100kb 0 0')
    cache = with_key(open_cache(True, url=server.url))
    connection = cache._near.feed._connection
    writer = open_cache(url=server.url)
    for start in range(0, 20_000, 1000):
        writer.set_many({f'{number:01000}': 1 for number in range(start, start + 1000)})
    writer['key'] = 'new'
    deadline = time.monotonic() + 30
    while cache['key'] != 'new':
        assert time.monotonic() < deadline
    warm(cache)
    assert cache._near.feed._connection is not connection
    assert cache['key'] == 'new'


def test_a_server_that_is_flushed_takes_everything_along(
    start_server: Any, open_cache: Any
) -> None:
    server = start_server()
    cache = with_key(open_cache(True, url=server.url))
    open_cache(url=server.url)._engine.call('FLUSHALL')
    wait_for_news(cache)
    time.sleep(0.002)
    assert cache.get('key') is None


def test_a_server_that_is_killed_takes_everything_along(start_server: Any, open_cache: Any) -> None:
    server = start_server()
    cache = with_key(open_cache(True, url=server.url))
    server.kill()
    with pytest.raises(ConnectionError):
        while True:
            cache['key']
    server.start()
    assert cache.get('key') is None
    with_key(cache)


def test_containers_with_other_clocks_share_nothing(
    open_cache: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Cache(tmp_path / 'near') as kept:
        with_key(open_cache(kept))
        monkeypatch.setattr(near, 'clock_domain', lambda: 'another boot')
        assert not is_kept(open_cache(kept))


def test_servers_share_nothing(start_server: Any, open_cache: Any, tmp_path: Path) -> None:
    with Cache(tmp_path / 'near') as kept:
        with_key(open_cache(kept))
        assert not is_kept(open_cache(kept, url=start_server().url))


def test_where_tracking_is_forbidden_there_is_one_warning_and_no_near_tier(
    start_server: Any, open_cache: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = start_server()
    admin = open_cache(url=server.url)
    admin._engine.call('ACL', 'SETUSER', 'plain', 'on', '>word', '~*', '&*', '+@all', '-client')
    admin['key'] = 'first'
    url = server.url.replace('://', '://plain:word@')
    cache = open_cache(True, url=url)
    with pytest.warns(CacheWarning, match='nothing is kept near') as warned:
        assert cache['key'] == 'first'
    assert len(warned) == 1
    assert warned[0].filename == __file__
    monkeypatch.setattr(cache._engine, 'connect', None)  # it is not tried again
    cache._near.feed._next_attempt = 0.0
    cache['key'] = 'old'
    assert cache['key'] == 'old'
    admin['key'] = 'new'
    assert cache['key'] == 'new'


def test_memory_is_bounded() -> None:
    store = near.Memory(limit=10_000)
    for number in range(100):
        assert store.put(b'%d' % number, bytes(500), times(1.0), 1.0)
    assert store.get(b'0') == (None, None)
    assert store.get(b'99') == (bytes(500), times(1.0))
    assert store._size == sum(near.Memory._size_of(*each) for each in store._entries.items())
    assert not store.put(b'large', bytes(20_000), times(1.0), 1.0)
    assert store.get(b'large') == (None, None)
    assert store.get(b'99') != (None, None)  # it has driven nothing out
    assert store._size == sum(near.Memory._size_of(*each) for each in store._entries.items())
    with store._lock:  # as a signal handler may find it
        assert not store.put(b'name', b'', times(1.0), 1.0)
    assert store.get(b'name') == (None, None)


def test_memory_is_closed_while_another_thread_keeps_something() -> None:
    class ClosedMeanwhile(near.Memory):
        def _drop(self, name: bytes) -> None:
            with ThreadPoolExecutor() as pool:
                pool.submit(self.close).result()
            super()._drop(name)

    store = ClosedMeanwhile(limit=10_000)
    for number in (1.0, 2.0):
        assert store.put(b'name', b'%d' % number, times(number), 1.0)
    assert store.get(b'name') == (b'2', times(2.0))
    store.close()
    assert store.get(b'name') == (None, None)
    assert store.put(b'name', b'3', times(3.0), 1.0)
    assert store._size == sum(near.Memory._size_of(*each) for each in store._entries.items())


def test_a_near_directory_that_is_locked_is_no_obstacle(open_cache: Any, tmp_path: Path) -> None:
    """A process may have been stopped while it holds the lock. Nobody waits for it, nor logs it."""
    cache = with_key(open_cache(tmp_path))
    cache['other'] = 'value'
    cache._near.feed.drain(True)
    with Cache(tmp_path) as holder, holder.transact(), ThreadPoolExecutor() as pool:
        # A transaction that waited would end with this block only, which would not end then.
        assert [pool.submit(cache.get, 'other').result(30) for _ in range(3)] == ['value'] * 3
        assert not is_kept(cache, 'other')


def test_a_near_cache_must_take_bytes(open_cache: Any, tmp_path: Path) -> None:
    with Cache(tmp_path, disk=JSONDisk) as kept, pytest.raises(TypeError, match='bytes'):
        open_cache(kept)


def test_a_near_cache_that_fails_is_no_obstacle(open_cache: Any, tmp_path: Path) -> None:
    with Cache(tmp_path / 'near') as kept:
        cache = with_key(open_cache(kept))
        for path in (tmp_path / 'near').iterdir():
            path.unlink()
        (tmp_path / 'near' / 'cache.db').write_bytes(b'no database' * 1000)
        kept.close()
        assert cache['key'] == 'old'
        cache['key'] = 'new'
        assert cache['key'] == 'new'


@pytest.mark.parametrize('kind', ['memory', 'directory'])
def test_a_forked_child_hears_for_itself(
    open_cache: Any, writer: Any, tmp_path: Path, kind: str
) -> None:
    cache = with_key(open_cache(True if kind == 'memory' else tmp_path / 'near'))
    read, write = os.pipe()
    go, going = os.pipe()
    child = os.fork()
    if child == 0:
        code = 1
        try:
            assert cache['key'] == 'old'
            warm(cache)
            os.write(write, b'.')
            os.read(go, 1)
            deadline = time.monotonic() + 30
            while cache['key'] != 'new' and time.monotonic() < deadline:
                time.sleep(0.002)
            code = 0 if cache['key'] == 'new' else 2
        finally:
            os._exit(code)
    os.read(read, 1)
    assert is_near(cache) or cache['key'] == 'old'
    writer['key'] = 'new'
    os.write(going, b'.')
    deadline = time.monotonic() + 30
    while cache['key'] != 'new' and time.monotonic() < deadline:
        time.sleep(0.002)
    assert cache['key'] == 'new'
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    for descriptor in (read, write, go, going):
        os.close(descriptor)


def test_a_fork_in_the_middle_of_hearing_leaves_no_lock(open_cache: Any) -> None:
    cache = with_key(open_cache(True))
    with cache._near.feed._lock, cache._near._store._lock:
        child = os.fork()
        if child == 0:
            signal.alarm(30)
            os._exit(0 if cache['key'] == 'old' and cache['key'] == 'old' else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_a_signal_handler_may_use_the_cache_in_the_middle_of_it(
    cache: Any, writer: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    news = cache._near.feed
    take = news._take
    results = []

    def take_and_be_interrupted(message: Any) -> None:
        results.append(cache['other'])
        cache['other'] += 1
        cache.clear()
        take(message)

    writer['other'] = 1
    cache['other']
    writer['key'] = 'new'
    wait_for_news(cache)
    monkeypatch.setattr(news, '_take', take_and_be_interrupted)
    with pytest.raises(KeyError):
        while True:
            cache['other']
    assert results == [1]


class Interrupted(Exception):
    """What a signal handler raises."""


def test_a_signal_leaves_no_lock(cache: Any) -> None:
    """Signals are handled when a call ends: here each ends with what a handler raises, in turn."""
    steps = (near.Memory.put, feed.Feed.drain, feed.Feed.close, feed.Feed._read, feed.take)
    codes = {each.__code__ for each in steps}
    left = 0

    def as_a_signal(frame: Any, event: str, argument: object) -> None:
        nonlocal left
        if event in ('return', 'c_return') and frame.f_code in codes:
            left -= 1
            if left == 0:
                raise Interrupted

    news, store = cache._near.feed, cache._near._store
    times = it.count(time.clock_gettime(time.CLOCK_BOOTTIME))
    for number in it.count(1):
        left = number
        sys.setprofile(as_a_signal)
        try:
            news.drain(True)
            store.put(b'name', b'value', struct.pack('>dd', next(times), math.inf), 60.0)
            news.close()
        except Interrupted:
            pass
        else:
            break
        finally:
            sys.setprofile(None)
        assert not news._lock.locked()
        assert not (isinstance(store, near.Memory) and store._lock.locked())
    assert number > 5
    warm(cache)


@pytest.mark.parametrize('method', ['hear', 'hear_all'])
def test_nobody_hides_what_another_thread_has_heard_later(method: str) -> None:
    arguments = (b'name',) if method == 'hear' else ()
    later: list[float] = []

    def clock() -> float:
        """While one thread has read the clock, and noted nothing yet, another does both."""
        if method == 'wait':
            return 10.0
        if later:
            return later.pop()
        later.append(7.0)
        getattr(heard, method)(*arguments)
        return 5.0

    heard = Heard(clock, 100.0)
    heard.lease = 100.0
    getattr(heard, method)(*arguments)
    method = 'wait'
    assert not heard.left(b'name', times(6.0))
    assert not heard.left(b'name', times(7.0))
    assert heard.left(b'name', times(7.5)) == 1e9 - 10


def test_what_holds_is_later_than_what_was_heard_and_within_the_lease() -> None:
    heard = Heard(lambda: now, 100.0)
    now = 10.0
    heard.hear(b'name')
    heard.floor, heard.lease = 20.0, 40.0
    now = 30.0
    assert heard.left(b'name', times(20.1)) == 1e9 - 30
    assert heard.left(b'name', times(20.1, math.inf)) == math.inf
    assert not heard.left(b'name', times(20.0))
    assert not heard.left(b'name', times(20.1, 30.0))
    assert heard.left(b'name', times(20.1, 30.5)) == 0.5
    heard.hear(b'name')
    assert not heard.left(b'name', times(30.0))
    assert heard.left(b'name', times(30.1))
    assert heard.left(b'another', times(20.1))
    heard.hear_all()
    assert not heard.left(b'another', times(30.0))
    assert heard.left(b'another', times(30.1))
    heard.lease = 30.0
    assert not heard.left(b'name', times(30.1))
    heard.lease = 30.1
    assert heard.left(b'name', times(30.1))
    heard.floor = math.inf
    assert not heard.left(b'name', times(30.1))


def test_heard_has_one_clock() -> None:
    """Other threads may be reading it."""
    heard = Heard(lambda: 1.0, 100.0)
    with pytest.raises(RuntimeError, match='a clock already'):
        heard.__init__(lambda: 2.0, 100.0)  # type: ignore[misc]
    heard.lease, heard.drained = 10.0, 1.0
    assert heard.left(b'name', times(0.5)) > 0


@pytest.mark.parametrize(
    'odd',
    [None, 'text', b'', times(0.5)[:-1], times(0.5) + b'.']
    + [times(*pair) for odd in (-1.0, math.nan) for pair in ((0.5, odd), (odd, 1e9))],
)
def test_what_has_no_times_does_not_hold(odd: object) -> None:
    heard = Heard(lambda: 1.0, 100.0)
    heard.lease = 100.0
    assert heard.left(b'name', times(0.5))
    assert heard.left(b'name', odd) == 0.0


def test_heard_refuses_what_is_no_time() -> None:
    now: Any = 1.0
    heard = Heard(lambda: now, 100.0)
    assert heard.drained == heard.lease == heard.floor == 0.0
    for seconds in (-1.0, math.nan):
        with pytest.raises(ValueError, match='below 0'):
            heard.lease = seconds
    heard.floor = -0.0
    assert math.copysign(1, heard.floor) == 1
    with pytest.raises(AttributeError):
        del heard.lease
    for odd in (None, -1.0):
        now = odd
        for call in (heard.hear_all, lambda: heard.hear(b''), lambda: heard.left(b'', times(1.0))):
            with pytest.raises((TypeError, ValueError)):
                call()
    with pytest.raises(TypeError):
        heard.hear([])  # type: ignore[arg-type]
    with pytest.raises(RuntimeError, match='clock'):
        Heard.__new__(Heard).hear_all()


def test_the_feed_is_read_after_each_pause() -> None:
    class Read(Heard):
        known = True

        def drain(self, wait: bool) -> bool:
            assert wait is False
            nonlocal reads
            reads += 1
            self.drained = now
            return self.known

    reads, now = 0, 10.0
    heard = Read(lambda: now, 1.0)
    heard.lease = 100.0
    assert heard.left(b'name', times(5.0))
    assert heard.left(b'name', times(5.0))
    assert reads == 1
    now = 10.9
    assert heard.left(b'name', times(5.0))
    assert reads == 1
    now = 11.0
    assert heard.left(b'name', times(5.0))
    assert reads == 2
    now, heard.known = 12.0, False
    assert not heard.left(b'name', times(5.0))
    now = 13.0
    heard.drain = None  # type: ignore[assignment,method-assign]
    with pytest.raises(TypeError):
        heard.left(b'name', times(5.0))


@pytest.mark.parametrize('kind', ['memory', 'directory'])
def test_no_reader_goes_back_in_time(
    redis_server: Server, name: str, writer: Any, tmp_path: Path, kind: str
) -> None:
    directory = tmp_path / 'near' if kind == 'directory' else None

    def kill_connections(stop: threading.Event) -> None:
        while not stop.wait(0.3):
            writer._engine.call('CLIENT', 'KILL', 'TYPE', 'pubsub')

    watch_readers(redis_server.url, name, directory, 3, writer, kill_connections)


def test_who_is_told_more_than_it_can_hear_asks_the_server(
    boot_clock: Clock, cache: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else a lookup would last for as long as others write."""
    told = 0

    def tell() -> Any:
        nonlocal told
        told += 1
        assert told < 10_000, 'it hears for ever'
        boot_clock.ahead += 0.001
        return [b'message', b'__redis__:invalidate', [b'another key']]

    connection = cache._near.feed._connection
    boot_clock.ahead += 0.002
    with monkeypatch.context() as patched:
        patched.setattr(connection, 'can_read', lambda: True)
        patched.setattr(connection, 'read_response', tell)
        assert cache['key'] == 'old'
    assert told > 0
    assert cache._near.feed._connection is connection
    warm(cache)


def test_the_feed_connects_again_as_often_as_it_takes(cache: Any) -> None:
    for _ in range(110):
        cache._near.feed._lose()
        cache._near.feed._next_attempt = 0.0
        cache.get('key')
    assert cache._near.feed._connection is not None


def test_a_server_that_is_busy_with_a_script_does_not_end_the_near_tier(
    start_server: Any, open_cache: Any
) -> None:
    server = start_server('redis', '--busy-reply-threshold', '10')
    cache = with_key(open_cache(True, url=server.url))
    writer = open_cache(url=server.url)

    def be_busy() -> None:
        with cl.suppress(RemoteError):
            writer._engine.call('EVAL', 'while true do end', 0)

    thread = threading.Thread(target=be_busy)
    thread.start()
    while True:
        try:
            cache._engine.call('EXISTS', 'key')
        except RemoteError:
            break
    cache._near.feed._lose()
    cache._near.feed._next_attempt = 0.0
    with pytest.raises(RemoteError, match='BUSY'):
        cache['key']
    cache._engine.call('SCRIPT', 'KILL')
    thread.join()
    warm(cache)


@pytest.mark.parametrize(
    'look',
    [
        lambda cache: cache.modify('key', lambda value: KEEP),
        lambda cache: cache.setdefault('key', 'another'),
    ],
    ids=['modify', 'setdefault'],
)
def test_what_the_server_was_asked_for_is_not_followed_by_something_older(
    cache: Any, writer: Any, monkeypatch: pytest.MonkeyPatch, look: Callable[[Any], Any]
) -> None:
    deaf(cache, monkeypatch)
    writer['key'] = 'new'
    assert look(cache) == 'new'
    assert cache['key'] == 'new'


def test_what_pop_has_missed_is_missed_then(
    cache: Any, writer: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    deaf(cache, monkeypatch)
    del writer['key']
    assert cache.pop('key', 'gone') == 'gone'
    assert 'key' not in cache


@pytest.mark.parametrize('why', ['deaf', 'heard', 'refused'])
def test_a_value_that_cannot_be_kept_near_is_not_followed_by_an_older_one(
    cache: Any, writer: Any, monkeypatch: pytest.MonkeyPatch, why: str
) -> None:
    near_tier = cache._near
    older = near_tier._store.get(cache._codec.key('key'))
    writer['key'] = 'new'
    wait_for_news(cache)
    with monkeypatch.context() as patched:  # but nobody hears of it, and none of it is near
        patched.setattr(near_tier.feed, 'drain', lambda wait: not wait if why == 'deaf' else True)
        patched.setattr(near_tier, 'get', lambda name: None)
        if why == 'heard':
            patched.setattr(near_tier.feed, 'left', lambda name, times: 0.0)
        elif why == 'refused':
            patched.setattr(near_tier._store, 'put', lambda *_: False)
        assert cache['key'] == 'new'
    deaf(cache, monkeypatch)
    assert near_tier._store.get(cache._codec.key('key')) == older
    assert cache['key'] == 'new'


def test_what_others_publish_does_no_harm(cache: Any, writer: Any) -> None:
    for text in ('', 'key', b'\xff\x00'):
        writer._engine.call('PUBLISH', '__redis__:invalidate', text)
    writer['key'] = 'new'
    deadline = time.monotonic() + 30
    while cache['key'] != 'new':
        assert time.monotonic() < deadline
    warm(cache)
    assert cache['key'] == 'new'


@pytest.mark.parametrize('damaged', [None, 5, 'text', b'', b'x' * 15, (1, 2)], ids=repr)
def test_what_is_damaged_near_is_a_miss(open_cache: Any, tmp_path: Path, damaged: Any) -> None:
    with Cache(tmp_path) as kept:
        cache = with_key(open_cache(kept))
        (name,) = kept
        kept[name] = damaged
        assert cache['key'] == 'old'
        forget(cache)
        warm(cache)  # it is replaced
        assert kept[name] != damaged
