"""What is kept near of a Cluster: by whose feed it holds, and when its slot has another owner.

As in test_near.py, the tests bring about each order of events by hand.
"""

from __future__ import annotations

import math
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from near_tier import Clock, watch_readers
from servers import Cluster, Server

from diskcache import Cache, CacheWarning

pytest.importorskip('redis', reason='redis-py is not installed: pip install redis')

from cluster import begin_move, other_than, same_shard, slot, stored

from diskcache.remote import RemoteCache, feed
from diskcache.remote import cluster as cluster_module
from diskcache.remote.cluster_feed import ClusterFeed


@pytest.fixture
def boot_clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """The clock of the caches that are opened after this."""
    clock = Clock()
    for module in ('feed', 'cluster_feed', 'cache'):
        monkeypatch.setattr(f'diskcache.remote.{module}.clock', clock)
    return clock


@pytest.fixture
def open_cache(name: str) -> Iterator[Callable[..., Any]]:
    """A function that opens the same cache on a Cluster."""
    caches: list[RemoteCache] = []

    def open_cache(cluster: Cluster, near: Any = None, **arguments: Any) -> RemoteCache:
        url = arguments.pop('url', cluster.url)
        caches.append(RemoteCache(url, name, near=near, **{'timeout': 10, **arguments}))
        return caches[-1]

    yield open_cache
    for cache in caches:
        cache.close()


@pytest.fixture(params=['memory', 'directory'])
def cache(
    request: pytest.FixtureRequest, cluster: Cluster, open_cache: Any, tmp_path: Path
) -> Iterator[Any]:
    """A cache with each kind of near tier, with a key that is near."""
    cache = open_cache(cluster, True if request.param == 'memory' else tmp_path / 'near')
    cache['key'] = 'old'
    warm(cache)
    yield cache
    cache.clear()


@pytest.fixture
def writer(cluster: Cluster, open_cache: Any) -> Any:
    """The same cache, as another process has it that keeps nothing."""
    return open_cache(cluster)


def is_near(cache: Any, key: str = 'key') -> bool:
    """Tell whether a value would be served from near."""
    return cache._near.get(stored(cache, key)) is not None


def is_kept(cache: Any, key: str = 'key') -> bool:
    """Tell whether there is an entry, be it valid or not."""
    return cache._near._store.get(stored(cache, key)) != (None, None)


def warm(cache: Any, key: str = 'key') -> None:
    """Read until the value is near: the messages of a write before may come in between."""
    for _ in range(1000):
        cache.get(key)
        if is_near(cache, key):
            return
        time.sleep(0.002)
    raise AssertionError('nothing is kept near')


def becomes(cache: Any, key: str, value: Any) -> None:
    """Wait until a key has a value."""
    deadline = time.monotonic() + 30
    while cache.get(key) != value:
        assert time.monotonic() < deadline
        time.sleep(0.002)


def feed_of(cache: Any, key: str = 'key') -> Any:
    """Return the feed of the node that has a key."""
    return cache._near.feed._feed(slot(cache, key))


def deaf(cache: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let messages arrive late: from now on nobody hears any."""
    monkeypatch.setattr(feed.Feed, 'drain', lambda self, wait: self._connection is not None)


def ask_the_server(cache: Any, key: str = 'key') -> None:
    """Let the next lookup in a slot go to the server, as it does every two seconds."""
    cache._near.feed._leases.pop(slot(cache, key), None)


def key_of(cluster: Cluster, cache: Any, server: Server) -> str:
    """Return a key that a server has."""
    keys = (f'key {number}' for number in range(1000))
    return next(key for key in keys if cluster.owner(slot(cache, key)) is server)


def test_each_master_tells_of_its_own(cache: Any, cluster: Cluster, writer: Any) -> None:
    keys = [key_of(cluster, cache, server) for server in cluster.servers]
    for value in range(5):
        for key in keys:
            writer[key] = value
            becomes(cache, key, value)
            warm(cache, key)
    assert len(cache._near.feed._feeds) == 3


def test_a_value_is_served_without_the_servers(cache: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache._engine, 'read', None)
    assert cache['key'] == cache.get_many(['key'])['key'] == 'old'


WRITES: dict[str, Callable[[Any], object]] = {
    'set': lambda cache: cache.set('key', 'new'),
    'tagged': lambda cache: cache.set('key', 'new', tag='tag'),
    'delete': lambda cache: cache.delete('key'),
    'clear': lambda cache: cache.clear(),
    'set_many': lambda cache: cache.set_many({'key': 'new'}),
}


@pytest.mark.parametrize('state', ['stays', 'half', 'moved'])
@pytest.mark.parametrize('write', WRITES)
def test_own_writes_are_seen_at_once(
    cache: Any, cluster: Cluster, monkeypatch: pytest.MonkeyPatch, write: str, state: str
) -> None:
    deaf(cache, monkeypatch)
    if state != 'stays':
        target = begin_move(cluster, cache, 'key', stored(cache, 'key'))
    if state == 'moved':
        cluster.end_move(slot(cache), target)
    WRITES[write](cache)
    assert cache.get('key') != 'old'


def test_what_is_read_where_the_slot_is_going_is_not_kept(
    cache: Any, cluster: Cluster, writer: Any
) -> None:
    """Its writes are told on another feed."""
    begin_move(cluster, cache, 'key', stored(cache, 'key'))
    for value in range(20):
        writer['key'] = value
        assert cache['key'] == value
        assert cache.get_many(['key']) == {'key': value}
        assert not is_near(cache)


def test_what_was_near_is_not_used_after_the_slots_next_node_was_asked(
    cache: Any, cluster: Cluster, writer: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    deaf(cache, monkeypatch)
    begin_move(cluster, cache, 'key', stored(cache, 'key'))
    writer['key'] = 'new'
    assert is_near(cache)  # nobody has heard that it moved
    ask_the_server(cache)
    assert cache['key'] == 'new'
    assert cache['key'] == 'new'


def test_a_key_that_leaves_its_node_is_heard_of(cache: Any, cluster: Cluster, writer: Any) -> None:
    target = begin_move(cluster, cache, 'key', stored(cache, 'key'))
    writer['key'] = 'new'
    becomes(cache, 'key', 'new')
    cluster.end_move(slot(cache), target)
    for value in range(10):
        writer['key'] = value
        becomes(cache, 'key', value)
    warm(cache)
    assert feed_of(cache)._connection.port == cluster.owner(slot(cache)).port


def test_what_was_read_from_an_owner_of_before_does_not_hold(
    cache: Any, cluster: Cluster, writer: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    (other,) = same_shard(cache, 'key', 1)
    source = cluster.owner(slot(cache))
    target = other_than(cluster, source)
    elsewhere = key_of(cluster, cache, target)
    writer[elsewhere] = 1
    warm(cache, elsewhere)  # its feed has been whole for long
    writer[other] = 'old'
    warm(cache, other)
    warm(cache)
    deaf(cache, monkeypatch)
    cluster.move(slot(cache), target)
    writer['key'] = writer[other] = 'new'
    ask_the_server(cache)
    assert cache['key'] == 'new'  # which says that the slot has moved
    assert cache[other] == 'new'


def test_another_owner_is_noted_first(cache: Any, cluster: Cluster) -> None:
    """Who asks after nothing holds asks that owner then."""
    engine = cache._engine
    noted = []
    change = engine.on_change

    def note_and_change() -> None:
        noted.append(engine.known_owner(slot(cache)).address.split(':')[-1])
        change()

    engine.on_change = note_and_change
    for how in ('answer', 'refresh'):
        target = other_than(cluster, cluster.owner(slot(cache)))
        cluster.move(slot(cache), target)
        cluster.wait()
        ask_the_server(cache)
        if how == 'refresh':
            engine._refresh()
        cache['key']
        assert noted == [f'{target.port}/0']
        noted.clear()


def test_two_threads_note_other_owners_at_once() -> None:
    """Both forget the nodes that have no slots any more, and what is heard of those."""

    def take(*names: bytes) -> None:
        shares = [[place, place, (name, 1)] for place, name in enumerate(names)]
        engine._take(shares, engine._seeds[0])

    class Node(cluster_module.Node):
        def close(self) -> None:
            super().close()
            if not meanwhile:
                meanwhile.append(self)
                take(b'five', b'six')  # as another thread does

    meanwhile: list[Any] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cluster_module, 'Node', Node)
        engine = cluster_module.ClusterEngine('redis+cluster://one:1', 1.0, ())
        take(b'two', b'three')
        hearing = ClusterFeed(engine, b'', 1.0)
        for number in range(2):
            hearing._feed(number)
        take(b'four')
    assert engine.masters() == {engine._node('five', 1), engine._node('six', 1)}
    assert set(engine._nodes) == {'one:1', 'five:1', 'six:1'}
    for place in range(2):
        hearing._feed(place)
    first = next(iter(hearing._feeds.values()))
    first.close = hearing._change  # type: ignore[method-assign]
    take(b'seven')
    assert hearing._feeds == {}


def test_a_slot_that_is_taken_without_a_word_is_noticed_after_the_lease(
    cluster: Cluster, open_cache: Any, writer: Any, boot_clock: Clock
) -> None:
    """Redis says nothing of the keys that it drops then."""
    cache = open_cache(cluster, True)
    cache['key'] = 'old'
    number = slot(cache)
    target = other_than(cluster, cluster.owner(number))
    warm(cache)
    warm(cache)
    cluster.claim(number, target)
    writer['key'] = 'new'
    boot_clock.ahead += feed.LEASE / 2
    feed_of(cache).drain(True)  # which is asked, and answers
    boot_clock.ahead += feed.LEASE / 2
    assert cache['key'] == 'new'


def test_a_slot_is_known_to_be_its_owners_since_it_was_asked(
    boot_clock: Clock, cache: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    ask_the_server(cache)
    read = cache._engine.read

    def be_slow(*command: Any) -> Any:
        answer = read(*command)
        boot_clock.ahead += feed.LEASE
        return answer

    before = boot_clock()
    monkeypatch.setattr(cache._engine, 'read', be_slow)
    assert cache['key'] == 'old'
    assert before < cache._near.feed._leases[slot(cache)] - feed.LEASE < before + 1


def test_a_lookup_in_a_slot_is_enough_for_all_of_it(
    cache: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    (other,) = same_shard(cache, 'key', 1)
    cache[other] = 1
    warm(cache, other)
    ask_the_server(cache)
    assert not is_near(cache)
    cache._near.feed.hear(stored(cache, other))
    warm(cache, other)
    assert is_near(cache)


def test_when_one_master_is_lost_what_is_of_the_others_holds(
    start_cluster: Any, open_cache: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    cluster = start_cluster('redis', 3, 0, '--cluster-require-full-coverage', 'no')
    cache = open_cache(cluster, True)
    keys = [key_of(cluster, cache, server) for server in cluster.servers]
    for key in keys:
        cache[key] = 1
        warm(cache, key)
    cluster.servers[0].kill()
    with pytest.raises(ConnectionError, match=str(cluster.servers[0].port)):
        while True:
            cache[keys[0]]
    warm(cache, keys[1])
    warm(cache, keys[2])
    for _ in range(10):
        with pytest.raises(ConnectionError, match=str(cluster.servers[0].port)):
            cache[keys[0]]
        assert is_near(cache, keys[1])
        assert is_near(cache, keys[2])
    cluster.servers[0].start()
    cluster.wait()
    assert cache.get(keys[0]) is None
    cache[keys[0]] = 2
    warm(cache, keys[0])


def test_a_master_that_is_flushed_takes_its_own_along(cluster: Cluster, open_cache: Any) -> None:
    cache = open_cache(cluster, True)
    keys = [key_of(cluster, cache, server) for server in cluster.servers]
    for key in keys:
        cache[key] = 1
        warm(cache, key)
    cluster.servers[1].ask('FLUSHALL')
    becomes(cache, keys[1], None)
    assert (cache[keys[0]], cache[keys[2]]) == (1, 1)


def test_a_lost_connection_lets_nothing_of_that_master_hold(
    cache: Any, cluster: Cluster, writer: Any
) -> None:
    for number in range(5):
        warm(cache)
        connection = feed_of(cache)._connection
        cluster.owner(slot(cache)).ask('CLIENT', 'KILL', 'TYPE', 'pubsub')
        writer['key'] = number
        while feed_of(cache)._connection is connection:
            feed_of(cache).drain(True)
        assert cache['key'] == number


@pytest.mark.parametrize('how', ['told', 'killed'])
def test_a_replica_that_takes_over_is_listened_to(
    start_cluster: Any, open_cache: Any, boot_clock: Clock, how: str
) -> None:
    cluster = start_cluster('redis', 3, 1, timeout=1000)
    cache, writer = open_cache(cluster, True), open_cache(cluster)
    cache['key'] = 'old'
    warm(cache)
    master = cluster.owner(slot(cache))
    replica = cluster.servers[cluster.servers.index(master) + 3]
    master.ask('WAIT', 1, 20_000)
    if how == 'told':
        cluster.promote(replica)
        boot_clock.ahead += feed.LEASE
    else:
        master.kill()
        cluster.wait()
    deadline = time.monotonic() + 40
    while True:
        try:
            writer['key'] = 'new'
            assert cache['key'] == 'new'
            break
        except ConnectionError:
            assert time.monotonic() < deadline
    warm(cache)
    assert feed_of(cache)._connection.port == replica.port
    for value in range(10):
        writer['key'] = value
        becomes(cache, 'key', value)
    assert master.port not in {node.port for node in cache._near.feed._feeds}


def test_a_forked_child_hears_for_itself(cache: Any, writer: Any) -> None:
    read, write = os.pipe()
    go, going = os.pipe()
    child = os.fork()
    if child == 0:
        code = 1
        try:
            signal.alarm(40)
            assert not cache._near.feed._feeds
            warm(cache)
            os.write(write, b'.')
            os.read(go, 1)
            becomes(cache, 'key', 'new')
            code = 0
        finally:
            os._exit(code)
    os.read(read, 1)
    assert is_near(cache)
    writer['key'] = 'new'
    os.write(going, b'.')
    becomes(cache, 'key', 'new')
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    for descriptor in (read, write, go, going):
        os.close(descriptor)


def test_where_tracking_is_forbidden_nothing_is_kept(
    start_cluster: Any, open_cache: Any, name: str
) -> None:
    cluster = start_cluster('redis', 2)
    rights = 'on', '>word', '~*', '&*', '+@all', '-client'
    for server in cluster.servers:
        server.ask('ACL', 'SETUSER', 'plain', *rights)
    admin = open_cache(cluster)
    cache = open_cache(cluster, True, url=cluster.url.replace('://', '://plain:word@'))
    keys = [key_of(cluster, cache, server) for server in cluster.servers]
    for key in keys:
        with pytest.warns(CacheWarning, match='nothing is kept near'):
            cache.get(key, cache.set(key, 1))
        assert cache[key] == 1
        admin[key] = 2
        assert cache[key] == 2


def test_processes_share_what_one_of_them_reads(
    cluster: Cluster, open_cache: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Cache(tmp_path / 'near') as kept:
        first, second = open_cache(cluster, kept), open_cache(cluster, kept)
        (other,) = same_shard(first, 'key', 1)
        first['key'] = first[other] = 'old'
        warm(second, other)
        warm(first)
        monkeypatch.setattr(second._engine, 'read', None)
        becomes(second, 'key', 'old')


def test_what_others_have_from_the_next_owner_does_not_hold_for_who_does_not_know_it(
    cluster: Cluster, open_cache: Any, writer: Any, tmp_path: Path
) -> None:
    with Cache(tmp_path) as kept:
        first, second = open_cache(cluster, kept), open_cache(cluster, kept)
        first['key'] = 'old'
        for each in (first, second):
            warm(each)
        place = slot(first, 'key')
        cluster.move(place, other_than(cluster, cluster.owner(place)))
        deadline = time.monotonic() + 30
        while is_near(second):  # until it has heard that the key is gone from its owner
            assert time.monotonic() < deadline
        warm(first)
        writer['key'] = 'new'
        second._near.feed._leases[place] = float('inf')
        assert second['key'] == 'new'
        writer.clear()


@pytest.mark.parametrize(
    'look',
    [
        lambda cache: cache.get('key') is None,
        lambda cache: cache.get_many(['key']) == {},
        lambda cache: 'key' not in cache,
    ],
)
def test_what_was_seen_to_be_gone_does_not_come_back(
    cache: Any, writer: Any, monkeypatch: pytest.MonkeyPatch, look: Any
) -> None:
    (other,) = same_shard(cache, 'key', 1)
    writer['key'] = writer[other] = 'old'
    warm(cache)
    deaf(cache, monkeypatch)
    ask_the_server(cache)
    del writer['key']
    assert look(cache)
    cache.get(other)  # the owner of the slot is known again
    assert cache.get('key') is None


def test_what_another_process_has_read_from_an_owner_of_before_is_not_used(
    cluster: Cluster, open_cache: Any, tmp_path: Path
) -> None:
    """It does not know of the change yet, and the master of before still answered it."""
    with Cache(tmp_path / 'near') as kept:
        behind, cache = open_cache(cluster, kept), open_cache(cluster, kept)
        behind['key'] = 'old'
        warm(behind)
        old = behind._engine.read('GET', stored(behind, 'key'))
        source = cluster.owner(slot(cache))
        cluster.move(slot(cache), other_than(cluster, source))
        cluster.wait()
        cache['key'] = 'new'
        warm(cache)
        assert cache._engine.known_owner(slot(cache)).port != source.port
        assert behind._engine.known_owner(slot(cache)).port == source.port
        name = behind._near._store._prefix + stored(behind, 'key')
        for _ in range(100):  # a feed that was not heard for two seconds keeps nothing at first
            feed_of(behind).drain(True)
            behind._near.put(stored(behind, 'key'), feed.clock(), math.inf, old)
            if kept.get(name) == old:
                break
        assert kept.get(name) == old
        assert cache['key'] == 'new'


def test_another_cluster_shares_nothing(
    cluster: Cluster, start_cluster: Any, open_cache: Any, tmp_path: Path
) -> None:
    with Cache(tmp_path / 'near') as kept:
        first = open_cache(cluster, kept)
        first['key'] = 'old'
        warm(first)
        assert is_kept(first)
        assert not is_kept(open_cache(start_cluster('redis', 2), kept))


@pytest.mark.parametrize('kind', ['memory', 'directory'])
def test_no_reader_goes_back_in_time_while_slots_move(
    cluster: Cluster, name: str, writer: Any, tmp_path: Path, kind: str
) -> None:
    directory = tmp_path / 'near' if kind == 'directory' else None

    def move_slots(stop: threading.Event) -> None:
        while not stop.is_set():
            for number in {slot(writer, key) for key in range(5)}:
                target = other_than(cluster, cluster.owner(number))
                cluster.begin_move(number, target)
                cluster.move_keys(number, target)
                stop.wait(0.02)
                cluster.end_move(number, target)

    watch_readers(cluster.url, name, directory, 4, writer, move_slots)
