"""RemoteCache on a Cluster: where keys are, and what happens while slots move or masters go."""

from __future__ import annotations

import functools as ft
import pickle
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from servers import Cluster, Server

pytest.importorskip('redis', reason='redis-py is not installed: pip install redis')

from cluster import begin_move, other_than, same_shard, slot, stored

from diskcache.remote import RemoteCache, RemoteError, scripts
from diskcache.remote.cluster import ClusterEngine, Node
from diskcache.remote.shards import slot_of, tags_of


@pytest.fixture
def cache(cluster: Cluster, open_cache: Any) -> Any:
    return open_cache(cluster)


@pytest.fixture
def halfway(cluster: Cluster, cache: Any) -> Callable[..., Server]:
    """A function that begins to move the slot of an item, and moves some keys."""
    return ft.partial(begin_move, cluster, cache)


# --- where keys are ---


def test_on_a_server_and_with_sentinels_keys_are_as_they_were(name: str) -> None:
    for url in ('redis://localhost', 'redis+sentinel://localhost/site'):
        cache = RemoteCache(url, 'site', shards=7)
        assert cache._codec.key('user 5') == b'site:suser 5'
        assert cache._codec.key(5) == b'site:i5'
        assert cache._codec.tag_sets(b'site:i5') == b'site:T'
        assert cache._queue('jobs', 'back')[:2] == (b'site:Qjobs-', b'site:sjobs-')
        assert cache._queue(None, 'back')[:2] == (b'site:Q', b'site:i')


def test_the_places_of_keys_stay_the_same() -> None:
    """Other processes, and other versions, find them there."""
    cache = RemoteCache('redis+cluster://localhost', 'site')
    keys = [cache._codec.key(key) for key in ('user 5', 5, b'x', 1.5, '')]
    assert keys == [
        b'site:{78}suser 5',
        b'site:{110}i5',
        b'site:{28}bx',
        b'site:{41}f?\xf8\x00\x00\x00\x00\x00\x00',
        b'site:{162}s',
    ]
    assert cache._queue('jobs', 'back')[:2] == (b'site:{79}Qjobs-', b'site:{79}sjobs-')
    assert cache._queue(None, 'back')[:2] == (b'site:{103}Q', b'site:{103}i')
    few = RemoteCache('redis+cluster://localhost', 'site', shards=3)
    assert few._codec.key('user 5') == b'site:{1}suser 5'


@pytest.mark.parametrize('shards', [1, 2, 3, 64, 1000, 1024])
def test_shards_lie_evenly_among_the_slots(shards: int) -> None:
    slots = [slot_of(b'name:{%b}skey' % tag) for tag in tags_of(shards)]
    assert slots == sorted(slots)
    assert [slot * shards // 16384 for slot in slots] == list(range(shards))


def test_the_slot_of_a_key_is_the_servers(cluster: Cluster) -> None:
    names = [b'key', b'a{b}c', b'a{}b', b'{', b'}{', b'a{b', b'{}{x}', b'{{x}}', b'']
    for name in names:
        assert slot_of(name) == cluster.servers[0].ask('CLUSTER', 'KEYSLOT', name.decode()), name


def test_items_are_on_all_masters(cache: Any, cluster: Cluster) -> None:
    cache.set_many({number: number for number in range(3000)})
    shares = [server.ask('DBSIZE') for server in cluster.servers]
    assert all(700 < share < 1300 for share in shares), shares
    per_slot = Counter(slot(cache, number) for number in range(3000))
    assert len(per_slot) == 64
    assert max(per_slot.values()) < 100
    assert cache.clear() == 3000


def test_an_item_is_where_the_set_of_its_tag_is(cache: Any) -> None:
    cache.set_many({number: number for number in range(200)}, tag='tag')
    for names in cache._engine.scan(cache._codec.prefix + b'*'):
        for name in names:
            if cache._codec.kind(name) == b'T':
                members = cache._engine.call('SMEMBERS', name)
                assert {slot_of(member) for member in members} == {slot_of(name)}
    assert cache.evict('tag') == 200
    assert len(cache) == 0


@pytest.mark.parametrize('prefix', [None, '', 'jobs', 'a-b', '500000000000000', '{x}', 'é'])
@pytest.mark.parametrize('side', ['front', 'back'])
def test_a_queue_is_where_its_items_are(cache: Any, prefix: Any, side: str) -> None:
    keys = [cache.push(number, prefix, side=side) for number in range(3)]
    queue, items, _ = cache._queue(prefix, side)
    assert {slot(cache, key) for key in keys} == {slot_of(queue)} == {slot_of(items)}
    assert [cache[key] for key in keys] == [0, 1, 2]
    cache[keys[1]] = 'new'
    assert sorted(str(cache.pull(prefix)[1]) for _ in keys) == ['0', '2', 'new']


def test_numbers_that_look_like_a_queues_are_spread(cache: Any) -> None:
    keys = ['user-100000000000123', 'user-000000000000123', 123_456_789_012_345, 'x500000000000000']
    keys += [5_000_000_000_000_000, '500000000000000', -500_000_000_000_000, 'jobs-50000000000000']
    codec = RemoteCache('redis+cluster://x', shards=1024)._codec
    for key in keys:
        rest = codec.key(key)[len(codec.head(codec.key(key))) :]
        assert codec.name(rest[:-15]) != codec.key(key)[:-15], key


@pytest.mark.parametrize('shards', [0, -1, 1025, 1.5, '64', None])
def test_an_impossible_number_of_shards_is_refused(shards: Any) -> None:
    with pytest.raises(ValueError, match='shards'):
        RemoteCache('redis+cluster://localhost', shards=shards)


def test_who_has_the_number_of_shards_is_pickled_with_it(cluster: Cluster, open_cache: Any) -> None:
    cache = open_cache(cluster, shards=5)
    cache['key'] = 1
    with pickle.loads(pickle.dumps(cache)) as copy:
        assert copy['key'] == 1
    assert open_cache(cluster, shards=5)['key'] == 1


# --- URLs ---


def test_any_node_and_any_scheme_leads_to_all(cluster: Cluster, open_cache: Any) -> None:
    ports = [server.port for server in cluster.servers]
    first = open_cache(cluster)
    first.set_many({number: number for number in range(50)})
    urls = [f'redis+cluster://127.0.0.1:{port}' for port in ports]
    urls += [f'valkey+cluster://localhost:1,127.0.0.1:{ports[2]}/0?max_connections=5']
    for url in urls:
        cache = open_cache(url)
        assert cache.get_many(range(50)) == {number: number for number in range(50)}
        assert url.partition('/0')[0] in repr(cache)
    first.clear()


@pytest.mark.parametrize(
    'rest',
    ['user:pa/ss@host', 'host:x', 'host:1/2', 'host?db=1', 'a:1,b:99999', 'host/0/1'],
)
def test_a_url_that_is_none_is_refused_without_its_password(rest: str) -> None:
    with pytest.raises(ValueError) as caught:
        RemoteCache(f'redis+cluster://{rest}')
    assert 'pa' not in str(caught.value).replace('password', '')


def test_an_address_has_brackets_where_a_url_has_them() -> None:
    for url in ('redis://[::1]:7000/0', 'redis+cluster://[::1]:7000,[::1]:7001'):
        assert RemoteCache(url, 'site')._engine.address == url


def test_hosts_may_have_any_form() -> None:
    engine = ClusterEngine('rediss+cluster://u:p%40x@[::1]:7000,host', 1, ())
    assert [seed.address for seed in engine._seeds] == [
        'rediss://[::1]:7000/0',
        'rediss://host:6379/0',
    ]
    assert engine.address == 'rediss+cluster://[::1]:7000,host'
    assert engine._seeds[0]._pool.connection_kwargs['password'] == 'p@x'


def test_a_server_that_is_no_cluster_says_so(redis_server: Server, open_cache: Any) -> None:
    with pytest.raises(RemoteError, match='cluster support disabled'):
        open_cache(f'redis+cluster://127.0.0.1:{redis_server.port}').get('key')


# --- redirections ---


def test_a_slot_that_has_moved_is_found(cache: Any, cluster: Cluster) -> None:
    cache['key'] = 0
    for target in (*cluster.servers[:3], *cluster.servers[:3]):
        cluster.move(slot(cache), target)
        assert cache.incr('key') > 0
        assert cache._engine.known_owner(slot(cache)).address.endswith(f':{target.port}/0')
    assert cache['key'] == 6


def test_a_key_that_has_moved_before_its_slot_is_found(cache: Any, halfway: Any) -> None:
    cache['key'] = 1
    before = cache._engine.known_owner(slot(cache))
    halfway('key', stored(cache, 'key'))
    assert cache['key'] == 1
    assert cache.incr('key') == 2
    assert cache.get_many(['key']) == {'key': 2}
    assert cache.set_many({'key': 3}) == 1
    assert cache.modify('key', lambda value: value + 1) == 4
    assert cache._engine.known_owner(slot(cache)) is before
    assert cache.pop('key') == 4
    assert cache.add('key', 5)
    assert not cache.add('key', 6)
    assert cache.touch('key', 60)
    assert cache.delete('key')


def test_each_answer_belongs_to_its_command(cache: Any, halfway: Any) -> None:
    keys = ['key', *same_shard(cache, 'key', 6), *(f'other {number}' for number in range(50))]
    expected = {key: f'value of {key}' for key in keys}
    cache.set_many(expected)
    halfway('key', *(stored(cache, key) for key in keys[1:4]))
    assert cache.get_many(keys) == expected
    assert cache.get_many(reversed(keys)) == expected
    changed = {key: f'{value}, changed' for key, value in expected.items()}
    assert cache.set_many(changed) == len(keys)
    assert cache.get_many(keys) == changed
    assert cache.touch_many([*keys, 'none'], 60) == len(keys)
    assert cache.add_many({**changed, keys[1] + '!': 1}) == 1
    cache._engine.call('SCRIPT', 'FLUSH')
    assert cache.delete_many([*keys, 'none']) == len(keys)


def test_tags_are_kept_while_their_slot_moves(cache: Any, cluster: Cluster, halfway: Any) -> None:
    """The set of a tag may be at one node, and an item at the other."""
    keys = same_shard(cache, 'key', 12)
    cache.set_many(dict.fromkeys(keys[:6], 'old'), tag='a')
    cache.set_many(dict.fromkeys(keys[6:8], 'old'), tag='b', expire=60)
    members = cache._codec.tag_sets(stored(cache, keys[0])) + b'sb'
    halfway('key', *(stored(cache, key) for key in keys[:3]), members)
    for key in (keys[0], keys[3], keys[8], keys[9]):
        assert cache.set(key, 'new', tag='b')
    assert cache.set_many({keys[10]: 'many'}, tag='a') == 1
    assert cache.add(keys[11], 'added', tag='c', expire=60)
    assert not cache.add(keys[11], 'again', tag='a')
    assert cache.touch(keys[6])
    assert cache.touch(keys[0], 1000)
    assert cache.modify(keys[7], lambda value: 'modified') == 'modified'
    assert cache.get(keys[7], tag=True) == ('modified', 'b')
    assert cache.get(keys[7], expire_time=True)[1] is not None
    assert cache.evict('b') == 6
    assert cache.evict('b') == 0
    assert cache.evict('a') == 5
    assert cache.evict('c') == 1
    assert len(set(cache)) == 0


def test_the_set_of_a_tag_is_not_made_where_the_slot_is_going(
    cache: Any, cluster: Cluster, halfway: Any
) -> None:
    """A second one there would be in the way of the first, and the slot could not be moved."""
    first, second = same_shard(cache, 'key', 2)
    cache.set(first, 1, tag='tag')
    target = halfway('key', stored(cache, first))
    for key in (first, second):
        cache.set(key, 2, tag='tag')
    cache.touch(first, 60)
    cluster.end_move(slot(cache), target)
    assert cache.evict('tag') == 2


@pytest.mark.parametrize('what', ['items', 'queue'])
@pytest.mark.parametrize('prefix', ['jobs', None])
def test_a_queue_goes_on_while_its_slot_moves(
    cache: Any, halfway: Any, prefix: Any, what: str
) -> None:
    keys = [cache.push(number, prefix) for number in range(4)]
    items = [stored(cache, keys[0]), stored(cache, keys[2])]
    halfway(keys[0], *(items if what == 'items' else [cache._queue(prefix, 'back')[0]]))
    last = cache.push('last', prefix, tag='tag')
    assert last == max(cache.iterkeys())
    assert cache.push('first', prefix, side='front', expire=60) == min(cache.iterkeys())
    assert cache.peek(prefix)[1] == 'first'
    assert cache.pull(prefix, side='back', tag=True) == ((last, 'last'), 'tag')
    assert cache.pull(prefix, expire_time=True)[0][1] == 'first'
    del cache[keys[1]]
    assert [cache.pull(prefix)[1] for _ in range(4)] == [0, 2, 3, None]
    assert cache.push('new', prefix) == keys[0]
    assert cache.pull(prefix) == (keys[0], 'new')
    assert cache._engine.call('EXISTS', cache._queue(prefix, 'back')[0]) == 0


def test_a_command_that_is_refused_for_a_moment_is_sent_again(
    cache: Any, cluster: Cluster, halfway: Any, open_cache: Any
) -> None:
    """Of two keys of which one has moved, nobody has both."""
    keys = ['key', *same_shard(cache, 'key', 1)]
    cache.set_many(dict.fromkeys(keys, 1))
    target = halfway('key', stored(cache, 'key'))
    command = ('UNLINK', *(stored(cache, key) for key in keys))
    with pytest.raises(RemoteError, match='rehashing'):
        open_cache(cluster, timeout=0.5)._engine.call(*command)
    soon = threading.Timer(0.3, cluster.move_keys, (slot(cache), target))
    soon.start()
    assert cache._engine.call(*command) == 2
    soon.join()


@pytest.mark.parametrize('kind', ['redis', 'valkey'])
def test_an_index_is_made_when_its_slot_has_moved(
    lasting_cluster: Callable[[str], Cluster], open_cache: Any, kind: str
) -> None:
    """Until then one node sends to the other, which has not got all of the keys."""
    cluster = lasting_cluster(kind)
    index = open_cache(cluster).index('users')
    number = slot_of(index._key)
    target = other_than(cluster, cluster.owner(number))
    cluster.begin_move(number, target)
    with pytest.raises(RemoteError, match='rehashing'):
        open_cache(cluster, timeout=0.5).index('users')['ada'] = 35
    soon = threading.Timer(1, cluster.end_move, (number, target))
    soon.start()
    index['ada'] = 36
    soon.join()
    assert dict(index) == {'ada': 36}


@pytest.mark.parametrize('way', ['ended', 'open', 'back'])
def test_iteration_finds_what_moves_meanwhile(
    cache: Any, cluster: Cluster, monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    """From a master that has not been asked yet to one that has: for good, or there and back."""
    cache.set_many({number: number for number in range(300)})
    scan = Node.scan
    asked: list[Server] = []
    moved: list[int] = []

    def scan_and_move(node: Node, pattern: bytes) -> Iterator[list[bytes]]:
        server = next(each for each in cluster.servers if node.address.endswith(f'{each.port}/0'))
        if len(asked) == 1:
            slots = {slot(cache, key) for key in range(300)}
            moved[:] = [number for number in slots if cluster.owner(number) is server][:3]
            for number in moved:
                if way == 'open':
                    cluster.begin_move(number, asked[0])
                    cluster.move_keys(number, asked[0], 1000)
                else:
                    cluster.move(number, asked[0])
        asked.append(server)
        yield from list(scan(node, pattern))
        if len(asked) == 2 and way == 'back':
            for number in moved:
                cluster.move(number, server)

    with monkeypatch.context() as patched:
        patched.setattr(Node, 'scan', scan_and_move)
        assert set(cache) == set(range(300))
    assert len(moved) == 3
    assert len(cache) == 300
    assert cache.clear() == 300


def test_nodes_are_called_by_the_names_that_they_announce(
    start_cluster: Any, open_cache: Any
) -> None:
    """Nobody may reach the address that the nodes know, or a certificate may not have it."""
    cluster = start_cluster('redis', 3)
    for server in cluster.servers:
        server.ask('CONFIG', 'SET', 'cluster-announce-hostname', 'localhost')
        server.ask('CONFIG', 'SET', 'cluster-preferred-endpoint-type', 'hostname')
    cache = open_cache(cluster.url.replace('127.0.0.1', 'localhost'))
    cluster._wait_for(
        lambda: all(
            node.count(',localhost') == 3
            for node in (server.ask('CLUSTER', 'NODES') for server in cluster.servers)
        )
    )
    cache.set_many({number: number for number in range(100)})
    begin_move(cluster, cache, 1, stored(cache, 1))
    assert len(cache) == 100
    assert all(place.startswith('localhost:') for place in cache._engine._nodes)


# --- steps of scripts, with others in between ---


class Between:
    """Does something before a command, or a script, is sent for the first or the second time."""

    def __init__(
        self, engine: Any, patch: pytest.MonkeyPatch, what: str, then: Any, nth: int = 1
    ) -> None:
        call = engine.call
        times = 0
        self.done = False

        def patched(*command: Any) -> Any:
            nonlocal times
            if what in (command[0], *command[1:2]):
                times += 1
                if times == nth:
                    then()
                    self.done = True
            return call(*command)

        patch.setattr(engine, 'call', patched)


def test_a_tagged_write_is_found_by_evict_whatever_comes_between(
    cache: Any, halfway: Any, open_cache: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = open_cache(cache.url)
    first, second = same_shard(cache, 'key', 2)
    cache.set(first, 1, tag='tag')
    halfway('key', stored(cache, first))
    with monkeypatch.context() as patched:
        # The mark is there before the item; evict takes it away.
        evict = lambda: other.evict('tag')  # noqa: E731
        between = Between(cache._engine, patched, scripts.STORE.sha, evict, nth=2)
        cache.set(second, 2, tag='tag')
        assert between.done
    assert cache[second] == 2
    assert cache.evict('tag') == 1
    assert second not in cache


def test_a_tagged_write_that_ends_in_the_middle_is_found_by_evict(
    cache: Any, halfway: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = same_shard(cache, 'key', 2)
    cache.set(first, 1, tag='tag')
    halfway('key', stored(cache, first))
    call = cache._engine.call

    def call_and_end(*command: Any) -> Any:
        answer = call(*command)
        if command[1] == scripts.STORE.sha and command[6] == b'':
            raise KeyboardInterrupt
        return answer

    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(cache._engine, 'call', call_and_end)
        cache.set(second, 2, tag='tag')
    assert cache[second] == 2
    assert cache.evict('tag') == 2


def test_what_is_stored_while_evict_is_at_it_is_found_by_the_next(
    cache: Any, halfway: Any, open_cache: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = open_cache(cache.url)
    (key,) = same_shard(cache, 'key', 1)
    for value, tag in (('tagged', 'tag'), ('not tagged', None)):
        cache.set(key, 1, tag='tag')
        if value == 'tagged':
            halfway('key', stored(cache, key))
        cache.set(key, value, tag=tag)
        with monkeypatch.context() as patched:
            between = Between(
                cache._engine, patched, 'SREM', lambda: other.set(key, 'again', tag='tag')
            )
            cache.evict('tag')
            assert between.done
        cache.evict('tag')
        assert key not in cache


def test_pushes_in_steps_do_not_overwrite_each_other(
    cache: Any, cluster: Cluster, halfway: Any, open_cache: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = open_cache(cache.url)
    key = cache.push(0, 'jobs')
    target = halfway(key)
    with monkeypatch.context() as patched:
        # Its number is taken by another one, which pushes in steps too.
        between = Between(cache._engine, patched, scripts.STORE.sha, lambda: other.push(1, 'jobs'))
        cache.push(2, 'jobs')
        assert between.done
    with monkeypatch.context() as patched:
        # The slot has moved when the item is there, and its number is not yet.
        def move_and_push() -> None:
            cluster.end_move(slot(cache, key), target)
            other.push(4, 'jobs')

        between = Between(cache._engine, patched, 'ZADD', move_and_push)
        cache.push(3, 'jobs')
        assert between.done
    assert sorted(cache.pull('jobs')[1] for _ in range(5)) == [0, 1, 2, 3, 4]


def test_a_number_is_taken_from_a_queue_once(
    cache: Any, halfway: Any, open_cache: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = open_cache(cache.url)
    key = cache.push(0, 'jobs')
    cache.push(1, 'jobs')
    halfway(key, stored(cache, key))
    taken = []
    with monkeypatch.context() as patched:
        between = Between(
            cache._engine, patched, scripts.TAKE.sha, lambda: taken.append(other.pull('jobs')[1])
        )
        taken.append(cache.pull('jobs')[1])
        assert between.done
    assert sorted(taken) == [0, 1]


def test_a_number_that_is_given_again_is_not_dropped_by_who_has_taken_it(
    cache: Any, halfway: Any, open_cache: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A queue that is empty begins again with the same number."""
    other = open_cache(cache.url)
    halfway(cache.push('old', 'jobs'))

    def drop_and_push() -> None:
        assert other.pull('jobs') == (None, None)
        other.push('new', 'jobs')

    with monkeypatch.context() as patched:
        between = Between(cache._engine, patched, 'ZREM', drop_and_push)
        assert cache.pull('jobs')[1] == 'old'
        assert between.done
    assert cache.pull('jobs')[1] == 'new'


def test_a_number_that_is_given_again_is_not_dropped_by_who_has_looked(
    cache: Any, halfway: Any, open_cache: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = open_cache(cache.url)
    key = cache.push('old', 'jobs')
    halfway(key)
    read = cache._engine.read

    def read_what_is_gone(*command: Any) -> Any:
        if command[1] != scripts.READ.sha or key not in other:
            return read(*command)
        other.pull('jobs')
        answer = read(*command)
        other.push('new', 'jobs')
        patched.undo()
        return answer

    with monkeypatch.context() as patched:
        patched.setattr(cache._engine, 'read', read_what_is_gone)
        assert cache.peek('jobs') == (key, 'new')
    assert cache.pull('jobs') == (key, 'new')
