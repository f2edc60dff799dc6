"""Servers that are killed, stopped, full or strict; threads, forks and signals."""

from __future__ import annotations

import contextlib
import math
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from servers import Server, Watched, free_port, require

import diskcache
from diskcache import KEEP, Timeout

pytest.importorskip('redis', reason='redis-py is not installed: pip install redis')

from diskcache.remote import RemoteCache, RemoteError
from diskcache.remote.feed import clock


@pytest.fixture
def cache(open_cache: Any, redis_server: Server) -> RemoteCache:
    return open_cache(redis_server)


def test_without_a_server_there_is_a_connection_error(open_cache: Any) -> None:
    cache = open_cache(f'redis://127.0.0.1:{free_port()}')
    for call in (
        lambda: cache.get('key'),
        lambda: cache.set('key', 1),
        lambda: cache.get_many(['key']),
        lambda: cache.incr('key'),
        lambda: list(cache),
    ):
        with pytest.raises(ConnectionError, match=r'127\.0\.0\.1'):
            call()


def test_a_server_that_comes_back_is_used_again(start_server: Any, open_cache: Any) -> None:
    server = start_server()
    cache = open_cache(server)
    cache['key'] = 1
    server.kill()
    with pytest.raises(ConnectionError):
        cache['key'] = 2
    server.start()
    cache['key'] = 3
    assert cache['key'] == 3


def test_a_reader_does_not_notice_that_its_connection_was_lost(cache: Any, open_cache: Any) -> None:
    other = open_cache(cache.url)
    cache['key'] = 1
    for _ in range(5):
        other._engine.call('CLIENT', 'KILL', 'TYPE', 'normal', 'SKIPME', 'yes')
        assert cache['key'] == 1


@pytest.mark.parametrize('near', [None, True])
def test_a_reader_of_many_does_not_notice_either(
    cache: Any, open_cache: Any, monkeypatch: pytest.MonkeyPatch, near: Any
) -> None:
    reader = open_cache(cache.url, near=near)
    items = {number: number for number in range(3000)}
    cache.set_many(items)
    many = reader._engine.many
    asked = []

    def lose_the_second_answer(commands: Any) -> Any:
        asked.append(list(commands))
        for place, answers in enumerate(many(asked[-1])):
            if len(asked) == 1 and place == 1:
                raise ConnectionError
            yield answers

    monkeypatch.setattr(reader._engine, 'many', lose_the_second_answer)
    assert reader.get_many(items) == items
    first, again = asked
    assert 0 < len(again) < len(first) == 3000
    assert first[-len(again) :] == again


def test_only_what_reads_is_sent_again(cache: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from redis import exceptions

    cache['key'] = 1
    run = cache._engine.run
    sent = []

    def lose_the_first(command: Any) -> Any:
        sent.append(command[0])
        if len(sent) == 1:
            raise exceptions.ConnectionError
        return run(command)

    monkeypatch.setattr(cache._engine, 'run', lose_the_first)
    assert cache['key'] == 1
    assert sent == ['GET', 'GET']
    sent.clear()
    with pytest.raises(ConnectionError):
        cache['key'] = 2
    assert sent == ['SET']


def test_scripts_that_the_server_has_forgotten_are_sent_again(cache: Any) -> None:
    for call in (
        lambda: cache.incr('key'),
        lambda: cache.get('key', expire_time=True),
        lambda: cache.set_many({'a': 1, 'b': 2}, tag='tag'),
        lambda: cache.add_many({'a': 1, 'c': 2}),
        lambda: cache.evict('tag'),
    ):
        cache._engine.call('SCRIPT', 'FLUSH')
        call()
    assert cache.get_many(['key', 'a', 'b', 'c']) == {'key': 1, 'c': 2}


def test_a_stopped_server_is_a_timeout_and_no_answer_is_mixed_up(
    start_server: Any, open_cache: Any
) -> None:
    server = start_server()
    cache = open_cache(server, timeout=0.3)
    cache.set_many({'one': 1, 'two': 2})
    server.kill(signal.SIGSTOP)
    with pytest.raises(Timeout, match=r'127\.0\.0\.1'):
        cache['one']
    with pytest.raises(Timeout):
        cache.incr('count')
    server.kill(signal.SIGCONT)
    patient = open_cache(server)
    for _ in range(20):
        assert (patient['two'], patient['one']) == (2, 1)
    assert patient.get('count', 0) in (0, 1)


def test_a_write_is_sent_once(start_server: Any, open_cache: Any) -> None:
    server = start_server()
    cache = open_cache(server, timeout=0.3)
    cache.incr('count', 0)  # the server knows the script
    server.kill(signal.SIGSTOP)
    goes_on = threading.Timer(1, server.kill, (signal.SIGCONT,))
    goes_on.start()
    with pytest.raises(Timeout):
        cache.incr('count')
    goes_on.join()
    patient = open_cache(server)
    while patient['count'] == 0:
        time.sleep(0.01)
    time.sleep(0.1)
    assert patient['count'] == 1


class Interrupted(Exception):
    """What a signal handler raises."""


def test_a_signal_in_the_middle_mixes_up_no_answers(start_server: Any, open_cache: Any) -> None:
    server = start_server()
    cache = open_cache(server)
    cache.set_many({'one': 1, 'two': 2})

    def interrupt(*args: object) -> None:
        raise Interrupted

    before = signal.signal(signal.SIGALRM, interrupt)
    try:
        for delay in (0.02, 0.05):
            server.kill(signal.SIGSTOP)
            signal.setitimer(signal.ITIMER_REAL, delay)
            with pytest.raises(Interrupted):
                cache['one']
            server.kill(signal.SIGCONT)
            assert cache['two'] == 2
            assert cache['one'] == 1
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def test_a_signal_between_sending_and_reading_mixes_up_no_answers(
    cache: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nor does another thread get them, which takes the connection as soon as it is given back."""
    from redis import ConnectionPool
    from redis.connection import Connection

    values = {number: number for number in range(50)}
    cache.set_many(values)
    send, release = Connection.send_packed_command, ConnectionPool.release
    read: list[Any] = []

    def send_and_be_interrupted(self: Any, *args: Any, **kwargs: Any) -> None:
        patched.setattr(Connection, 'send_packed_command', send)
        send(self, *args, **kwargs)
        raise Interrupted

    def release_to_another(self: Any, connection: Any) -> None:
        patched.setattr(ConnectionPool, 'release', release)
        release(self, connection)
        read.append(cache[7])

    for call in (lambda: cache[1], lambda: cache.get_many(values)):
        with monkeypatch.context() as patched:
            patched.setattr(Connection, 'send_packed_command', send_and_be_interrupted)
            patched.setattr(ConnectionPool, 'release', release_to_another)
            # So that the answer is there only after the connection has been taken again.
            patched.setattr(Connection, 'can_read', lambda self, timeout=0: False)
            with pytest.raises(Interrupted):
                call()
            assert [cache[number] for number in values] == list(values)
        assert cache.get_many(values) == values
    assert read == [7, 7]


def test_a_signal_while_connecting_leaves_no_connection_that_is_half_made(
    redis_server: Server, open_cache: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It would be one to another database."""
    from redis.connection import Connection

    url = redis_server.url.rpartition('/')[0] + '/3'
    cache = open_cache(url)
    cache['key'] = 'in 3'
    cache.close()
    send = Connection.send_command

    def be_interrupted(self: Any, *args: Any, **kwargs: Any) -> None:
        if args[0] == 'SELECT':
            raise Interrupted
        send(self, *args, **kwargs)

    with monkeypatch.context() as patched:
        patched.setattr(Connection, 'send_command', be_interrupted)
        with pytest.raises(Interrupted):
            cache.get('key')
    assert cache.get('key') == 'in 3'


def test_threads_and_forked_children_have_connections_of_their_own(cache: Any) -> None:
    cache.set_many({number: number for number in range(50)})

    def read(seed: int) -> bool:
        return all(cache[number] == number for number in range(50))

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


def test_a_full_server_refuses_and_says_so(start_server: Any, open_cache: Any) -> None:
    server = start_server('redis', '--maxmemory', '3mb', '--maxmemory-policy', 'noeviction')
    cache = open_cache(server)
    cache['key'] = 1
    with pytest.raises(RemoteError, match='maxmemory'):
        for number in range(100):
            cache[number] = b'x' * 100_000
    with pytest.raises(RemoteError, match='maxmemory'):
        for number in range(10_000):  # the server gives some memory back meanwhile
            cache.set(f'tagged {number}', b'x' * 1000, tag='tag')
    assert cache['key'] == 1
    cache.clear()
    cache['key'] = 2
    assert cache['key'] == 2


def test_a_server_that_cannot_increment_says_why(start_server: Any, open_cache: Any) -> None:
    server = start_server('redis')
    cache = open_cache(server)
    cache['key'] = 1
    server.ask('CONFIG', 'SET', 'min-replicas-to-write', 1)
    with pytest.raises(RemoteError, match='replicas'):
        cache.incr('key')
    server.ask('CONFIG', 'SET', 'min-replicas-to-write', 0)
    server.ask('CONFIG', 'SET', 'maxmemory', 1)
    with pytest.raises(RemoteError, match='maxmemory'):
        cache.incr('key')
    server.ask('CONFIG', 'SET', 'maxmemory', 0)
    assert cache.incr('key') == 2
    cache['key'] = 2**63 - 1
    with pytest.raises(OverflowError, match='64 bits'):
        cache.incr('key')


def test_a_server_that_evicts_takes_from_near_too(start_server: Any, open_cache: Any) -> None:
    server = start_server('redis', '--maxmemory', '3mb', '--maxmemory-policy', 'allkeys-random')
    cache = open_cache(server, near=True)
    for number in range(100):
        cache[number] = b'x' * 50_000
        cache.get(number)
    time.sleep(0.05)
    raw = cache._engine.read
    there = {number for number in range(100) if raw('EXISTS', cache._codec.key(number))}
    assert 0 < len(there) < 100
    assert {number for number in range(100) if number in cache} == there


def test_a_wrong_password_is_a_permission_error(start_server: Any, open_cache: Any) -> None:
    server = start_server('redis', '--requirepass', 'secret')
    for url in (server.url, server.url.replace('://', '://:wrong@')):
        with pytest.raises(PermissionError, match=r'127\.0\.0\.1') as caught:
            open_cache(url).get('key')
        assert 'wrong@' not in str(caught.value)
    cache = open_cache(server.url.replace('://', '://:secret@'), near=True)
    cache['key'] = 1
    assert cache['key'] == cache['key'] == 1


#: In docs/howto/remote.rst, too.
ACL = (
    '-@all +get +set +pttl +exists +unlink +scan +eval +evalsha +ping +subscribe +client|id'
    ' +client|tracking +incrby +getrange +persist +pexpire +sadd +spop +srandmember +srem +zadd'
    ' +zrange +zrevrange +zrem +memory|usage'
)

#: More, for deques and indexes.
ACL_OF_PARTS = (
    '+lindex +llen +lset +lrem +linsert +lpop +rpop +lpush +rpush +ltrim +lrange +rename'
    ' +hget +hset +hdel +hlen +hexists +zscore'
)


@pytest.mark.parametrize('kind', ['redis', 'valkey'])
def test_the_least_rights_are_enough(
    start_server: Any, open_cache: Any, name: str, kind: str
) -> None:
    server = start_server(kind)
    admin = open_cache(server)
    rules = (f'~{name}:*', 'resetchannels', '&__redis__:invalidate', *ACL.split())
    admin._engine.call('ACL', 'SETUSER', 'site', 'on', '>word', *rules)
    cache = open_cache(server.url.replace('://', '://site:word@'), near=True)
    cache['key'] = 1
    assert cache['key'] == cache['key'] == 1
    assert cache._near.get(cache._codec.key('key')) is not None
    cache.set('tagged', 1, expire=60, tag='tag')
    assert cache.touch('tagged')
    assert cache.incr('key') == 2
    assert cache.modify('key', lambda value: value + 1) == 3
    assert cache.pop('key') == 3
    cache.push(1)
    cache.push(2, side='front')
    assert [cache.pull(side='back')[1], cache.pull()[1]] == [1, 2]
    assert cache.set_many({1: 1, 2: 2}) == 2
    assert len(cache.get_many([1, 2])) == len([*cache]) - 1 == 2
    assert 1 in cache
    assert cache.volume() > 0
    assert cache.evict('tag') == 1
    assert cache.clear() == 2
    with pytest.raises(PermissionError):
        cache._engine.call('FLUSHALL')
    with pytest.raises(PermissionError):
        open_cache(server.url.replace('://', '://site:word@'))._engine.call('GET', 'other:key')


@pytest.mark.parametrize('kind', ['redis', 'valkey'])
def test_the_least_rights_for_deques_and_indexes_are_enough(
    start_server: Any, open_cache: Any, name: str, kind: str
) -> None:
    server = start_server(kind)
    rules = (f'~{name}:*', f'~{name}/*', *ACL.split(), *ACL_OF_PARTS.split())
    open_cache(server)._engine.call('ACL', 'SETUSER', 'site', 'on', '>word', *rules)
    cache = open_cache(server.url.replace('://', '://site:word@'))
    deque = cache.deque('deque', maxlen=8)
    deque.extend('abc')
    deque.appendleft('z')
    deque.rotate(1)
    deque.rotate(-2)
    deque.insert(1, 'x')
    deque.reverse()
    deque.remove('x')
    deque[1] = 'B'
    del deque[1]
    deque *= 2
    assert (deque[0], deque.pop(), deque.popleft()) == ('z', 'a', 'z')
    assert (list(deque), len(deque)) == (['b', 'a', 'z', 'b'], 4)
    deque.maxlen = 1
    deque.clear()
    index = cache.index('index')
    index.update(a=1, b=2, c=3)
    index.move_to_end('a')
    del index['b']
    assert (index.setdefault('d', 4), index.pop('d'), 'a' in index) == (4, 4, True)
    assert (index.push('x', 'p'), index.pull('p')[1]) == ('p-500000000000000', 'x')
    assert (list(index.items()), len(index)) == ([('c', 3), ('a', 1)], 2)
    assert (index.popitem(), index.peekitem(), index['c']) == (('a', 1), ('c', 3), 3)
    index.clear()
    below = cache.cache('below')
    below['key'] = 1
    assert below.clear() == 1


@pytest.fixture(scope='module')
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    """A certificate for the name localhost, and its key."""
    if shutil.which('openssl') is None:
        pytest.skip('no openssl: apt-get install openssl')
    path = tmp_path_factory.mktemp('certificate')
    names = str(path / 'certificate.pem'), str(path / 'key.pem')
    command = 'openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=localhost -addext'
    subprocess.run(
        [*command.split(), 'subjectAltName=DNS:localhost', '-out', names[0], '-keyout', names[1]],
        check=True,
        capture_output=True,
    )
    return names


def test_tls_is_checked(start_server: Any, open_cache: Any, certificate: tuple[str, str]) -> None:
    port = str(free_port())
    files = ('--tls-cert-file', certificate[0], '--tls-key-file', certificate[1])
    clients = ('--tls-auth-clients', 'no', '--tls-port', port, '--tls-ca-cert-file', certificate[0])
    start_server('redis', *files, *clients)
    trust = f'?ssl_ca_certs={certificate[0]}'
    for scheme in ('rediss', 'valkeys'):
        cache = open_cache(f'{scheme}://localhost:{port}/0{trust}', near=True)
        cache['key'] = 1
        assert cache['key'] == cache['key'] == 1
        assert cache._near.get(cache._codec.key('key')) is not None
    with pytest.raises(ConnectionError, match=r'(?i)certificate'):
        open_cache(f'rediss://127.0.0.1:{port}/0{trust}').get('key')
    with pytest.raises(ConnectionError, match=r'(?i)certificate'):
        open_cache(f'rediss://localhost:{port}/0').get('key')


def test_sentinels_are_reached_by_tls_and_with_their_password(
    start_server: Any, open_cache: Any, certificate: tuple[str, str], tmp_path: Path
) -> None:
    master, sentinel = free_port(), free_port()
    tls = [
        *(f'tls-cert-file {certificate[0]}', f'tls-key-file {certificate[1]}'),
        *(f'tls-ca-cert-file {certificate[0]}', 'tls-auth-clients no', 'tls-replication yes'),
    ]
    config = tmp_path / 'sentinel.conf'
    own = [
        *(f'tls-port {sentinel}', 'requirepass secret', 'sentinel resolve-hostnames yes'),
        *('sentinel announce-hostnames yes', f'sentinel monitor site localhost {master} 1'),
    ]
    config.write_text('\n'.join(tls + own))
    start_server('redis', *f'--{" --".join(tls)} --tls-port {master}'.split())
    start_server('redis', config=config)
    url = f'rediss+sentinel://localhost:{sentinel}/site?ssl_ca_certs={certificate[0]}'
    cache = open_cache(f'{url}&sentinel_password=secret')
    cache['key'] = 1
    assert cache['key'] == 1
    for wrong in ('', '&sentinel_password=wrong'):
        with pytest.raises((ConnectionError, PermissionError)) as caught:
            open_cache(url + wrong).get('key')
        assert 'password' not in str(caught.value)


@pytest.fixture
def watched() -> Iterator[Watched]:
    """Servers with a Sentinel."""
    require('redis')
    servers = Watched()
    yield servers
    servers.stop()


def test_when_a_master_is_gone_its_replica_is_used(watched: Watched, open_cache: Any) -> None:
    cache = open_cache(watched.url, near=True)
    plain = open_cache(watched.url)
    cache['key'] = 1
    assert cache['key'] == cache['key'] == 1
    assert cache._near.get(cache._codec.key('key')) is not None
    cache._engine.call('WAIT', 1, 20_000)
    watched.master.kill()
    deadline = time.monotonic() + 40
    while True:
        try:
            cache['key'] = 2
            break
        except (ConnectionError, Timeout, RemoteError):
            assert time.monotonic() < deadline
            time.sleep(0.05)
    assert cache['key'] == plain['key'] == 2
    while cache._near.get(cache._codec.key('key')) is None:
        cache['key']
        assert time.monotonic() < deadline
    plain['key'] = 3
    while cache['key'] != 3:
        assert time.monotonic() < deadline
        time.sleep(0.002)
    assert cache._near.feed._connection.port == watched.replica.port


def test_what_another_process_has_read_from_a_master_of_before_is_not_used(
    watched: Watched, open_cache: Any, tmp_path: Path
) -> None:
    """It does not know of the change yet, and the master of before still answered it."""
    behind, cache = (open_cache(watched.url, near=tmp_path / 'near') for _ in range(2))
    name = cache._codec.key('key')
    behind['key'] = 'old'
    deadline = time.monotonic() + 40
    while behind['key'] and behind._near.get(name) is None:
        assert time.monotonic() < deadline
    old = behind._engine.read('GET', name)
    behind._engine.call('WAIT', 1, 20_000)
    watched.replica.ask('REPLICAOF', 'NO', 'ONE')
    master = '127.0.0.1', watched.replica.port
    cache._engine._pool.sentinel_manager.discover_master = lambda name: master
    cache['key'] = 'new'
    while cache['key'] and cache._near.get(name) is None:
        assert time.monotonic() < deadline
    assert behind._near.feed.drain(True)
    behind._near.put(name, clock(), math.inf, old)
    assert cache['key'] == 'new'
    assert behind['key'] == 'old'


def test_a_feed_of_a_master_that_is_none_any_more_is_given_up(
    watched: Watched, open_cache: Any
) -> None:
    cache = open_cache(watched.url, near=True)
    cache['key'] = 1
    assert cache['key'] == cache['key'] == 1
    first = cache._near.feed._connection
    assert first.port == watched.master.port
    # As if a new connection had found another master, while the old one is still there.
    cache._engine._pool.proxy.master_address = ('127.0.0.1', watched.replica.port)
    assert not cache._near.feed.drain(True)
    assert cache._near.feed._connection is not first


def test_modify_gives_up_when_others_are_always_faster(cache: Any, open_cache: Any) -> None:
    other = open_cache(cache.url)
    hurried = open_cache(cache.url, timeout=0.2)

    def be_overtaken(value: Any) -> Any:
        other.incr('key')
        return 0

    with pytest.raises(Timeout, match='faster'):
        hurried.modify('key', be_overtaken)
    assert other['key'] >= 1
    end = time.monotonic() + 2 * hurried.timeout

    def be_overtaken_at_first(value: Any) -> Any:
        if time.monotonic() < end:
            other.incr('key')
        return 0

    assert hurried.modify('key', be_overtaken_at_first, retry=True) == 0


def test_what_was_written_in_between_is_not_deleted(
    cache: Any, open_cache: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = open_cache(cache.url)
    seen = []

    def drop(value: Any) -> Any:
        seen.append(value)
        if len(seen) == 1:
            other['key'] = 'new'
        return diskcache.ENOVAL

    cache['key'] = 'old'
    assert cache.modify('key', drop) is diskcache.ENOVAL
    assert seen == ['old', 'new']
    assert 'key' not in cache

    cache['key'] = 'old'
    key = cache.push('old')
    for command, take in (('read', lambda: cache.pop('key')), ('call', lambda: cache.pull()[1])):
        cache['key'] = cache[key] = 'old'
        original = getattr(cache._engine, command)

        def patched(*arguments: Any, name: str = command, original: Any = original) -> Any:
            answer = original(*arguments)
            monkeypatch.setattr(cache._engine, name, original)
            other['key'] = other[key] = 'new'
            return answer

        monkeypatch.setattr(cache._engine, command, patched)
        assert take() == 'new'


def test_what_is_read_is_what_modify_compares(cache: Any, open_cache: Any) -> None:
    """A value that is near, and old, is not what it goes by."""
    near = open_cache(cache.url, near=True)
    cache['key'] = 1
    near['key']
    near._near.feed.drain = lambda wait: True
    cache['key'] = 5
    assert near.modify('key', lambda value: value + 1 if value == 5 else 0) == 6
    near.set('key', 1)
    near['key']
    cache['key'] = 6
    assert near.modify('key', lambda value: KEEP) == 6
    assert near.pop('key') == 6


def test_a_lock_waits_for_its_release_by_another_process(cache: Any) -> None:
    lock = diskcache.Lock(cache, 'lock', expire=60)
    assert lock.acquire()
    waited = threading.Thread(target=diskcache.Lock(cache, 'lock').acquire)
    waited.start()
    lock.release()
    waited.join(30)
    assert not waited.is_alive()
    assert cache.get('lock') is not None


def test_servers_end_with_the_test_run(tmp_path: Path) -> None:
    code = (
        'import sys, time; sys.path.insert(0, sys.argv[1]); from servers import Server;'
        " server = Server('redis'); print(server.process.pid, flush=True); time.sleep(60)"
    )
    support = Path(__file__).parent.parent / 'support'
    command = ['python3', '-c', code, str(support)]
    run = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    server = int(run.stdout.readline())
    run.kill()
    run.wait()
    deadline = time.monotonic() + 30
    while Path(f'/proc/{server}').exists() and time.monotonic() < deadline:
        if Path(f'/proc/{server}/stat').read_text().split()[2] == 'Z':
            break
        time.sleep(0.01)
    else:
        assert not Path(f'/proc/{server}').exists()


def test_each_of_many_threads_has_a_connection(cache: Any) -> None:
    cache['key'] = 1
    pool = cache._engine._pool
    taken = [pool.get_connection() for _ in range(120)]
    try:
        assert cache['key'] == 1
    finally:
        for connection in taken:
            pool.release(connection)


def test_the_number_of_connections_can_be_limited(redis_server: Server, open_cache: Any) -> None:
    cache = open_cache(f'{redis_server.url}?max_connections=1')
    connection = cache._engine._pool.get_connection()
    with pytest.raises(ConnectionError):
        cache.get('key')
    cache._engine._pool.release(connection)
    assert cache.get('key') is None


def test_a_timeout_may_be_infinite(redis_server: Server, open_cache: Any) -> None:
    cache = open_cache(redis_server, timeout=float('inf'), near=True)
    cache['key'] = 1
    assert cache['key'] == 1


def test_a_fork_while_another_thread_takes_a_connection_leaves_no_lock(cache: Any) -> None:
    cache['key'] = 1
    locked, forked = threading.Event(), threading.Event()

    def hold() -> None:
        with cache._engine._pool._lock:
            locked.set()
            forked.wait()

    thread = threading.Thread(target=hold)
    thread.start()
    locked.wait()
    child = os.fork()
    if child == 0:
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.alarm(30)
        os._exit(0 if cache['key'] == 1 else 1)
    forked.set()
    thread.join()
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert cache['key'] == 1


WRITER = """
import itertools, sys
from diskcache.remote import RemoteCache
cache = RemoteCache(*sys.argv[1:3], near=sys.argv[3])
for number in itertools.count():
    cache.set_many({f'{number % 50} {place}': str(number) * 9000 for place in range(5)}, tag='tag')
    cache.get_many([f'{number % 50} {place}' for place in range(5)])
    if number == 3:
        print(flush=True)
"""


def test_a_client_that_is_killed_leaves_whole_items_and_no_lock(
    cache: Any, open_cache: Any, tmp_path: Path
) -> None:
    command = [sys.executable, '-c', WRITER, cache.url, cache.name, str(tmp_path / 'near')]
    near = open_cache(cache.url, near=tmp_path / 'near')
    for turn in range(4):
        child = subprocess.Popen(command, stdout=subprocess.PIPE)
        child.stdout.readline()
        time.sleep(0.02 * turn)
        child.kill()
        child.wait()
        child.stdout.close()
        for key, value in cache.items():
            assert value == value[: len(value) // 9000] * 9000, key
            assert near[key] == near[key] == value
    assert cache.evict('tag') > 0
    assert list(cache) == []


def test_a_value_that_the_server_does_not_take_is_an_error(
    start_server: Any, open_cache: Any
) -> None:
    cache = open_cache(start_server('redis', '--proto-max-bulk-len', '1mb'), near=True)
    cache['key'] = 'old'
    with pytest.raises((ConnectionError, RemoteError)):
        cache['key'] = b'x' * 2**21
    assert cache['key'] == 'old'
    with pytest.raises((ConnectionError, RemoteError)):
        cache.set_many({'other': 1, 'key': b'x' * 2**21})
    assert cache['key'] == 'old'


def test_what_is_no_redis_is_an_error(open_cache: Any) -> None:
    def answer(listener: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while True:
                with listener.accept()[0] as connection:
                    connection.recv(1000)
                    connection.sendall(b'HTTP/1.1 400 Bad Request\r\n\r\n')

    with socket.create_server(('127.0.0.1', 0)) as listener:
        thread = threading.Thread(target=answer, args=(listener,))
        thread.start()
        cache = open_cache(f'redis://127.0.0.1:{listener.getsockname()[1]}', near=True, timeout=2)
        try:
            for call in (
                lambda: cache.get('key'),
                lambda: cache.set('key', 1),
                lambda: cache.get_many(['key']),
                lambda: list(cache),
            ):
                with pytest.raises((RemoteError, ConnectionError, Timeout)):
                    call()
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            thread.join()


def test_the_time_of_day_may_jump(
    cache: Any, open_cache: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    near = open_cache(cache.url, near=True)
    near.set('key', 1, expire=60)
    assert near['key'] == near['key'] == 1
    day = 86_400
    for jump in (day, -day):
        with monkeypatch.context() as patched:
            patched.setattr(time, 'time', lambda now=time.time, jump=jump: now() + jump)
            for each in (cache, near):
                value, expire_time = each.get('key', expire_time=True)
                assert value == 1
                assert 0 < expire_time - time.time() <= 60
            near.set('key', 1, expire=60)
            assert cache.modify('key', lambda value: value) == 1
            assert cache['key'] == near['key'] == 1
            deadline = time.monotonic() + 30
            while near._near.get(near._codec.key('key')) is None:
                near['key']
                assert time.monotonic() < deadline
