"""A Cluster whose masters are killed, stopped, strict, or lose their slots under load."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from servers import Cluster, Server, free_port

from diskcache import Timeout

pytest.importorskip('redis', reason='redis-py is not installed: pip install redis')

import redis
from cluster import begin_move, other_than, same_shard, slot, stored

from diskcache.remote import RemoteError
from diskcache.remote.cluster import ClusterEngine, Node
from diskcache.remote.shards import slot_of, tags_of

#: So that the others go on when one is gone.
PART = '--cluster-require-full-coverage', 'no'


@pytest.fixture
def cache(cluster: Cluster, open_cache: Any) -> Any:
    return open_cache(cluster)


def key_of(cluster: Cluster, cache: Any, server: Server) -> str:
    """Return a key that a server has."""
    keys = (f'key {number}' for number in range(1000))
    return next(key for key in keys if cluster.owner(slot(cache, key)) is server)


def until_it_works(call: Callable[[], Any]) -> Any:
    """Call a function until there is no error; return its result."""
    deadline = time.monotonic() + 40
    while True:
        try:
            return call()
        except (ConnectionError, Timeout):
            assert time.monotonic() < deadline
            time.sleep(0.02)


def test_without_a_node_there_is_a_connection_error(open_cache: Any) -> None:
    cache = open_cache(f'redis+cluster://127.0.0.1:{free_port()},127.0.0.1:{free_port()}')
    for call in (
        lambda: cache.get('key'),
        lambda: cache.set('key', 1),
        lambda: cache.get_many(['key']),
        lambda: cache.incr('key'),
        lambda: list(cache),
        lambda: cache.evict('tag'),
    ):
        with pytest.raises(ConnectionError, match=r'127\.0\.0\.1'):
            call()


def test_a_master_that_is_gone_is_named_and_the_others_go_on(
    start_cluster: Any, open_cache: Any
) -> None:
    cluster = start_cluster('redis', 3, 0, *PART, timeout=1000)
    cache = open_cache(cluster)
    gone = cluster.servers[0]
    keys = [key_of(cluster, cache, server) for server in cluster.servers]
    cache.set_many(dict.fromkeys(keys, 1))
    gone.kill()
    for _ in range(3):
        for call in (
            lambda: cache.get(keys[0]),
            lambda: cache.set(keys[0], 2),
            lambda: cache.incr(keys[0]),
            lambda: cache.get_many(keys),
            lambda: cache.set_many(dict.fromkeys(keys, 2)),
            lambda: list(cache),
            lambda: cache.evict('tag'),
        ):
            with pytest.raises(ConnectionError, match=str(gone.port)):
                call()
        assert cache.get_many(keys[1:]) == dict.fromkeys(keys[1:], 2)
        assert cache.incr(keys[1]) == 3
        assert cache.set(keys[1], 2, tag='tag')
    fresh = open_cache(f'redis+cluster://{gone.address},{cluster.servers[1].address}')
    assert fresh[keys[2]] == 2
    gone.start()
    cluster.wait()
    assert cache.get(keys[0]) is None
    assert cache.evict('tag') == 1
    assert len(cache) == 1


def test_a_cluster_that_is_down_is_waited_for_and_is_a_connection_error(
    start_cluster: Any, open_cache: Any
) -> None:
    cluster = start_cluster('redis', 3, timeout=500)
    cache, hurried = open_cache(cluster, timeout=60), open_cache(cluster, timeout=0.2)
    key = key_of(cluster, cache, cluster.servers[1])
    cache[key] = 1
    cluster.servers[0].kill()
    deadline = time.monotonic() + 30
    with pytest.raises(ConnectionError, match='cluster is down'):
        while time.monotonic() < deadline:
            hurried[key]
    with pytest.raises(ConnectionError, match='cluster is down'):
        hurried.get_many([key])
    with ThreadPoolExecutor() as pool:
        waits = pool.submit(cache.incr, key)
        time.sleep(0.3)
        assert not waits.done()
        cluster.servers[0].start()
        assert waits.result(50) == 2


@pytest.mark.parametrize('kind', ['redis', 'valkey'])
def test_when_a_master_is_gone_its_replica_is_used(
    start_cluster: Any, open_cache: Any, kind: str
) -> None:
    cluster = start_cluster(kind, 3, 1, *PART, timeout=1000)
    cache, idle = open_cache(cluster), open_cache(cluster)
    keys = [key_of(cluster, cache, server) for server in cluster.servers[:3]]
    cache.set_many(dict.fromkeys(keys, 1), tag='tag')
    assert idle.get_many(keys) == dict.fromkeys(keys, 1)
    cluster.servers[0].ask('WAIT', 1, 20_000)
    cluster.servers[0].kill()
    assert cache[keys[1]] == cache[keys[2]] == 1
    assert until_it_works(lambda: cache.incr(keys[0])) == 2
    assert cache.get_many(keys) == {keys[0]: 2, keys[1]: 1, keys[2]: 1}
    assert cache.incr(keys[0]) == 3
    # Who has not asked since then sends a write, which is not lost with the connection.
    assert idle.incr(keys[0]) == 4
    assert cache.evict('tag') == 3
    cluster.servers[0].start()
    cluster.wait()
    assert cache.set(keys[0], 5)
    assert cache[keys[0]] == idle[keys[0]] == 5


def test_masters_and_replicas_that_change_places_are_followed(
    start_cluster: Any, open_cache: Any
) -> None:
    cluster = start_cluster('redis', 2, 1, timeout=1000)
    cache = open_cache(cluster)
    keys = [f'key {number}' for number in range(20)]
    cache.set_many(dict.fromkeys(keys, 0))
    for place in (2, 0, 2, 3):
        cluster.promote(cluster.servers[place])
        for key in keys:
            cache.incr(key)
        assert cache.get_many(keys) == dict.fromkeys(keys, cache[keys[0]])
    assert cache[keys[0]] == 4
    assert len(cache) == 20


def test_iteration_asks_who_has_a_slot_itself(
    start_cluster: Any, open_cache: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A node may not know yet that a replica has taken over from another."""
    cluster = start_cluster('redis', 2, 1, timeout=1000)
    cache = open_cache(cluster)
    cache.set_many(dict.fromkeys(range(100), 0))
    for server in cluster.servers[:2]:
        server.ask('WAIT', 1, 20_000)
    cluster.promote(cluster.servers[2])
    engine = cache._engine
    refresh = engine._refresh
    calls = []

    def know_late() -> None:
        calls.append(1)
        if len(calls) > 3:
            refresh()

    monkeypatch.setattr(engine, '_refresh', know_late)
    assert set(cache) == set(range(100))
    monkeypatch.setattr(engine, '_refresh', lambda: None)
    monkeypatch.setattr(engine, '_owners', [None] * 16_384)
    monkeypatch.setattr(engine, '_timeout', 0.1)
    with pytest.raises(ConnectionError, match='no master'):
        list(cache)


def test_a_stopped_master_is_a_timeout_and_no_answer_is_mixed_up(
    start_cluster: Any, open_cache: Any
) -> None:
    cluster = start_cluster('redis', 3, 0, *PART)
    cache = open_cache(cluster, timeout=0.3)
    stopped = cluster.servers[1]
    keys = [key_of(cluster, cache, server) for server in cluster.servers]
    keys += same_shard(cache, keys[1], 1)
    cache.set_many({key: key for key in keys})
    cache.incr('count', 0)
    for call in (
        lambda: cache[keys[1]],
        lambda: cache.set(keys[1], keys[1]),
        lambda: cache.get_many(keys),
        lambda: list(cache),
    ):
        stopped.kill(signal.SIGSTOP)
        with pytest.raises(Timeout, match=str(stopped.port)):
            call()
        assert cache[keys[0]] == keys[0]
        stopped.kill(signal.SIGCONT)
        for _ in range(5):
            assert [until_it_works(lambda key=key: cache[key]) for key in keys] == keys
            assert until_it_works(lambda: cache.get_many(keys)) == {key: key for key in keys}


def test_a_write_is_sent_once(start_cluster: Any, open_cache: Any) -> None:
    cluster = start_cluster('redis', 3)
    cache = open_cache(cluster, timeout=0.3)
    cache.incr('count', 0)
    master = cluster.owner(slot(cache, 'count'))
    master.kill(signal.SIGSTOP)
    goes_on = threading.Timer(1, master.kill, (signal.SIGCONT,))
    goes_on.start()
    with pytest.raises(Timeout):
        cache.incr('count')
    goes_on.join()
    patient = open_cache(cluster)
    while patient['count'] == 0:
        time.sleep(0.01)
    time.sleep(0.1)
    assert patient['count'] == 1


def test_only_what_reads_is_sent_again(
    cache: Any, cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache['key'] = 1
    run = Node.run
    sent: list[Any] = []

    def lose_the_first(self: Any, command: Any, asking: bool = False) -> Any:
        if command[0] == 'CLUSTER':
            return run(self, command, asking)
        sent.append(command[0])
        if len(sent) == 1:
            run(self, command, asking)
            raise redis.ConnectionError
        return run(self, command, asking)

    monkeypatch.setattr(Node, 'run', lose_the_first)
    assert cache['key'] == 1
    assert sent == ['GET', 'GET']
    sent.clear()
    with pytest.raises(ConnectionError):
        cache['key'] = 2
    assert sent == ['SET']


def test_what_redirects_has_not_been_run(
    cache: Any, cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And so it is followed, by a write too, which is run once."""
    cache['key'] = 0
    begin_move(cluster, cache, 'key', stored(cache, 'key'))
    assert [cache.incr('key') for _ in range(5)] == [1, 2, 3, 4, 5]
    target = cluster.moving[slot(cache)]
    cluster.end_move(slot(cache), target)
    assert [cache.incr('key') for _ in range(5)] == [6, 7, 8, 9, 10]


def test_a_reader_does_not_notice_that_its_connections_were_lost(
    cache: Any, cluster: Cluster
) -> None:
    cache['key'] = 1
    for _ in range(5):
        for server in cluster.servers:
            server.ask('CLIENT', 'KILL', 'TYPE', 'normal', 'SKIPME', 'yes')
        assert cache['key'] == 1
        cache.incr('other')
    assert cache['other'] == 5


def test_scripts_that_a_node_has_forgotten_are_sent_again(cache: Any, cluster: Cluster) -> None:
    for call in (
        lambda: cache.incr('key'),
        lambda: cache.get('key', expire_time=True),
        lambda: cache.set_many({'a': 1, 'b': 2}, tag='tag'),
        lambda: cache.add_many({'a': 1, 'c': 2}),
        lambda: cache.evict('tag'),
    ):
        for server in cluster.servers:
            server.ask('SCRIPT', 'FLUSH')
        call()
    begin_move(cluster, cache, 'key', stored(cache, 'key'))
    for server in cluster.servers:
        server.ask('SCRIPT', 'FLUSH')
    assert cache.incr('key') == 2
    assert cache.get_many(['key', 'a', 'b', 'c']) == {'key': 2, 'c': 2}


class Interrupted(Exception):
    """What a signal handler raises."""


def test_a_signal_in_the_middle_mixes_up_no_answers(start_cluster: Any, open_cache: Any) -> None:
    cluster = start_cluster('redis', 3)
    cache = open_cache(cluster)
    keys = [key_of(cluster, cache, server) for server in cluster.servers]
    keys += same_shard(cache, keys[1], 1)
    values = {key: f'value of {key}' for key in keys}
    cache.set_many(values)

    def interrupt(*args: object) -> None:
        raise Interrupted

    before = signal.signal(signal.SIGALRM, interrupt)
    try:
        for call in (lambda: cache[keys[1]], lambda: cache.get_many(keys)):
            for delay in (0.02, 0.05):
                cluster.servers[1].kill(signal.SIGSTOP)
                signal.setitimer(signal.ITIMER_REAL, delay)
                with pytest.raises(Interrupted):
                    call()
                cluster.servers[1].kill(signal.SIGCONT)
                assert [cache[key] for key in keys] == list(values.values())
                assert cache.get_many(keys) == values
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def test_a_signal_between_sending_and_reading_mixes_up_no_answers(
    cache: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from redis.connection import Connection

    values = {key: f'value of {key}' for key in range(50)}
    cache.set_many(values)
    send = Connection.send_packed_command

    this_thread = threading.get_ident()

    def send_and_be_interrupted(self: Any, *args: Any, **kwargs: Any) -> None:
        if threading.get_ident() != this_thread:  # that which moves slots
            send(self, *args, **kwargs)
            return
        monkeypatch.undo()
        send(self, *args, **kwargs)
        raise Interrupted

    for call in (lambda: cache[1], lambda: cache.get_many(values)):
        monkeypatch.setattr(Connection, 'send_packed_command', send_and_be_interrupted)
        # So that the answer is there only after the connection has been taken again.
        monkeypatch.setattr(Connection, 'can_read', lambda self, timeout=0: False)
        with pytest.raises(Interrupted):
            call()
        monkeypatch.setattr(Connection, 'can_read', lambda self, timeout=0: False)
        assert [cache[key] for key in values] == list(values.values())
        assert cache.get_many(values) == values
        monkeypatch.undo()


def test_threads_and_forked_children_have_connections_of_their_own(cache: Any) -> None:
    cache.set_many({number: number for number in range(50)})

    def read(seed: int) -> bool:
        return (
            all(cache[number] == number for number in range(50))
            and len(cache.get_many(range(50))) == 50
        )

    with ThreadPoolExecutor(4) as pool:
        assert all(pool.map(read, range(8)))
    children = []
    for number in range(3):
        child = os.fork()
        if child == 0:
            os._exit(0 if all(read(number) for _ in range(3)) else 1)
        children.append(child)
    assert all(read(0) for _ in range(3))
    for child in children:
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_each_of_many_threads_has_a_connection(cache: Any) -> None:
    cache['key'] = 1
    node = cache._engine.node(stored(cache, 'key'))
    taken = [node._pool.get_connection() for _ in range(120)]
    try:
        assert cache['key'] == 1
    finally:
        for connection in taken:
            node._pool.release(connection)


#: What is needed on a Cluster, beside what is needed on a server. In docs/howto/remote.rst, too.
ACL = (
    '-@all +get +set +pttl +exists +unlink +scan +eval +evalsha +ping +subscribe +client|id'
    ' +client|tracking +incrby +getrange +persist +pexpire +sadd +spop +srandmember +srem +zadd'
    ' +zrange +zrevrange +zrem +memory|usage +cluster|slots +cluster|nodes +asking'
)


@pytest.mark.parametrize('kind', ['redis', 'valkey'])
def test_the_least_rights_are_enough(
    start_cluster: Any, open_cache: Any, name: str, kind: str
) -> None:
    cluster = start_cluster(kind)
    rules = (f'~{name}:*', 'resetchannels', '&__redis__:invalidate', *ACL.split())
    for server in cluster.servers:
        server.ask('ACL', 'SETUSER', 'site', 'on', '>word', *rules)
    cache = open_cache(cluster.url.replace('://', '://site:word@'), near=True)
    for state in ('stays', 'moves'):
        cache['key'] = 1
        assert cache['key'] == cache['key'] == 1
        assert (cache._near.get(stored(cache, 'key')) is not None) == (state == 'stays')
        (other,) = same_shard(cache, 'key', 1)
        cache.set(other, 1, expire=60, tag='tag')
        cache.set('key', 1, tag='tag')
        assert cache.touch(other)
        assert cache.incr('count') == 1
        assert cache.modify('key', lambda value: value + 1) == 2
        assert cache.pop('count') == 1
        cache.push(1)
        cache.push(2, side='front')
        assert [cache.pull(side='back')[1], cache.pull()[1]] == [1, 2]
        assert cache.set_many({1: 1, 2: 2}) == 2
        assert len(cache.get_many([1, 2])) == len({*cache} & {1, 2}) == 2
        assert cache.volume() > 0
        if state == 'moves':
            assert cache.evict('tag') == 2
        cache.push(3)
        if state == 'stays':
            for key in ('key', 500_000_000_000_000):
                begin_move(cluster, cache, key, stored(cache, key))
    assert cache.clear() == 4
    with pytest.raises(PermissionError, match=r'127\.0\.0\.1'):
        cache._engine.call('FLUSHALL', 'x')
    for rule in ('-cluster|slots', '-get'):
        for server in cluster.servers:
            server.ask('ACL', 'SETUSER', 'site', rule)
        with pytest.raises(PermissionError, match=r'127\.0\.0\.1'):
            open_cache(cluster.url.replace('://', '://site:word@')).get('key')
    with pytest.raises(PermissionError):
        open_cache(cluster.url.replace('://', '://site:wrong@')).get('key')


def test_nothing_is_lost_while_slots_move_under_load(
    cluster: Cluster, open_cache: Any, name: str
) -> None:
    cache = open_cache(cluster, timeout=30)
    stop = threading.Event()
    slots = [slot_of(tag) for tag in tags_of(64)]

    def move_slots() -> None:
        while not stop.is_set():
            for number in slots[:6]:
                target = other_than(cluster, cluster.owner(number))
                cluster.begin_move(number, target)
                while cluster.move_keys(number, target, 3):
                    stop.wait(0.002)
                cluster.end_move(number, target)

    shards = range(6)  # those whose slots move
    keys = [
        key
        for key in (f'key {number}' for number in range(2000))
        if slots.index(slot(cache, key)) in shards
    ][:60]
    queues = [f'queue {number}' for number in range(300)]
    queues = [each for each in queues if slots.index(slot_of(cache._queue(each, 'back')[0])) < 6]
    end = time.monotonic() + 4

    def work(number: int) -> tuple[dict[str, int], list[int]]:
        counts = dict.fromkeys(keys, 0)
        pulled = []
        turn = 0
        while time.monotonic() < end:
            turn += 1
            key = keys[turn * (number + 1) % len(keys)]
            cache.incr(key)
            counts[key] += 1
            own = f'{key} of {number}'
            cache.set(own, turn, tag=f'tag {number}')
            assert cache[own] == turn
            many = {f'{each} of {number}': turn for each in keys[turn % 50 :][:10]}
            cache.set_many(many, tag=f'tag {number}')
            assert cache.get_many(many) == many
            queue = queues[turn % len(queues)]
            cache.push(number * 1_000_000 + turn, queue)
            value = cache.pull(queue)[1]
            if value is not None:
                pulled.append(value)
            pulled.append(-turn)
        return counts, pulled

    mover = threading.Thread(target=move_slots)
    mover.start()
    try:
        with ThreadPoolExecutor(4) as pool:
            results = list(pool.map(work, range(4)))
    finally:
        stop.set()
        mover.join()
    for key in keys:
        assert cache.get(key, 0) == sum(counts[key] for counts, _ in results)
    pushed = sorted(
        number * 1_000_000 - turn
        for number, (_, pulled) in enumerate(results)
        for turn in pulled
        if turn < 0
    )
    rest = [
        cache.pull(queue)[1]
        for queue in queues
        for _ in range(len(pushed))
        if cache.peek(queue)[1] is not None
    ]
    assert (
        sorted([value for _, pulled in results for value in pulled if value > 0] + rest) == pushed
    )
    for number in range(4):
        own = {key for key in cache if str(key).endswith(f' of {number}')}
        assert cache.evict(f'tag {number}') == len(own)
    assert not {key for key in cache if ' of ' in str(key)}


def test_a_master_without_slots_of_the_cache_is_no_trouble(cache: Any, cluster: Cluster) -> None:
    cache.set_many({number: number for number in range(300)}, tag='tag')
    empty = cluster.servers[2]
    for number in map(slot_of, tags_of(64)):
        if cluster.owner(number) is empty:
            cluster.move(number, cluster.servers[number % 2])
    assert empty.ask('DBSIZE') == 0
    assert cache.get_many(range(300)) == {number: number for number in range(300)}
    assert len(cache) == 300
    assert cache.evict('tag') == 300


def test_a_master_that_is_new_is_used(start_cluster: Any, open_cache: Any) -> None:
    cluster = start_cluster('redis', 2)
    cache = open_cache(cluster, near=True)
    cache.set_many({number: number for number in range(200)}, tag='tag')
    new = cluster.add()
    moved = sorted({slot(cache, number) for number in range(200)})[::3]
    for number in moved[:-1]:
        cluster.move(number, new)
    cluster.begin_move(moved[-1], new)
    cluster.move_keys(moved[-1], new, 1000)
    assert set(cache) == set(range(200))
    for _ in range(2):
        assert cache.get_many(range(200)) == {number: number for number in range(200)}
    cluster.end_move(moved[-1], new)
    assert len(cache) == 200
    assert cache.evict('tag') == 200


def test_nodes_that_failed_are_asked_last(monkeypatch: pytest.MonkeyPatch) -> None:
    """One that does not answer would make each refresh last for the timeout."""
    engine = ClusterEngine('redis+cluster://a,b,c,d', 1, ())
    asked: list[str] = []

    def fail(node: Node, command: Any, asking: bool = False) -> Any:
        asked.append(node.host)
        raise redis.ConnectionError(node.host)

    monkeypatch.setattr(Node, 'run', fail)
    nodes = {node.host: node for node in engine._seeds}
    for host in 'ba':
        engine._fail(nodes[host])
    engine._told = nodes['d']
    with pytest.raises(ConnectionError, match='a'):
        engine._refresh()
    assert asked == ['d', 'c', 'b', 'a']
    assert engine._told is None
    asked.clear()
    with pytest.raises(ConnectionError, match='a'):
        engine._refresh()
    assert asked == ['d', 'c', 'b', 'a']


def test_nodes_that_have_no_slots_any_more_are_forgotten() -> None:
    engine = ClusterEngine('redis+cluster://a', 1, ())
    changes: list[set[str]] = []
    engine.on_change = lambda: changes.append({node.host for node in engine.masters()})
    tables = [[[0, 9, [b'b', 1, b'']], [10, 16383, [b'c', 1, b'']]], [[0, 16383, [b'c', 1, b'']]]]
    for table in (*tables, tables[1]):
        engine._take(table, engine._seeds[0])
    assert changes == [{'b', 'c'}, {'c'}]
    assert {node.host for node in engine._nodes.values()} == {'a', 'c'}
    engine._take([[0, 16383, [None, 7, b'']]], engine._seeds[0])  # it does not know its own name
    assert engine.known_owner(5).host == 'a'
    assert engine.known_owner(5).port == 7


def test_an_error_that_a_command_makes_is_its_own(cache: Any) -> None:
    cache._engine.call('RPUSH', stored(cache, 'list'), 1)
    cache['key'] = 1
    with pytest.raises(RemoteError, match='wrong kind'):
        cache.get('list')
    with pytest.raises(RemoteError, match='wrong kind'):
        cache.get_many(['key', 'list', 'other'])
    assert cache['key'] == 1
