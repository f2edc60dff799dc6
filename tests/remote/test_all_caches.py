"""What Cache, FanoutCache and RemoteCache promise alike, on each engine.

What a RemoteCache does not promise is a table in docs/howto/remote.rst, and test_remote.py.
"""

from __future__ import annotations

import datetime
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from servers import Cluster, Server

import diskcache
from diskcache import ENOVAL, KEEP, Cache, FanoutCache

KINDS = ['Cache', 'FanoutCache', 'redis', 'unix', 'near', 'near directory', 'valkey', 'valkey near']
KINDS += ['cluster', 'cluster near', 'valkey cluster near directory']
#: On a Cluster, in a slot that moves all the time.
KINDS += ['moving', 'moving near']


class Once:
    """A cache that gives each key once: while a slot moves, some may come twice."""

    def __iter__(self) -> Iterator[Any]:
        return iter(dict.fromkeys(super().__iter__()))  # type: ignore[misc]

    def __len__(self) -> int:
        return sum(1 for _ in self)


@pytest.fixture(params=KINDS)
def cache(
    request: pytest.FixtureRequest,
    tmp_path: Path,
    name: str,
    lasting_server: Callable[[str], Server],
    lasting_cluster: Callable[[str], Cluster],
) -> Iterator[Any]:
    """An empty cache of each kind."""
    kind = request.param
    if kind == 'Cache':
        cache: Any = Cache(tmp_path / 'cache')
    elif kind == 'FanoutCache':
        cache = FanoutCache(tmp_path / 'cache', shards=3)
    else:
        pytest.importorskip('redis', reason='redis-py is not installed: pip install redis')
        from diskcache.remote import RemoteCache

        program = 'valkey' if 'valkey' in kind else 'redis'
        server = lasting_cluster(program) if 'cluster' in kind else lasting_server(program)
        url = f'unix://{server.socket}' if kind == 'unix' else server.url
        near = tmp_path / 'near' if 'directory' in kind else 'near' in kind
        shards = 64
        if 'moving' in kind:
            url, shards = request.getfixturevalue('moving_cluster').url, 1
        # Pickles, as the others have them.
        how: dict[str, Any] = {'near': near, 'serializer': 'pickle', 'timeout': 10}
        cache = RemoteCache(url, name, shards=shards, **how)
        if 'moving' in kind:
            cache.__class__ = type('Once', (Once, RemoteCache), {})
    with cache:
        yield cache
        cache.clear()


#: A FanoutCache has no queues and no iterkeys(), and looks 1.0 up in another shard than 1.
not_of_shards = pytest.mark.parametrize(
    'cache', [kind for kind in KINDS if kind != 'FanoutCache'], indirect=True
)

KEYS = [
    'text',
    '',
    'é☃',
    0,
    -1,
    2**63 - 1,
    -(2**63),
    2**70,
    1.5,
    1e300,
    b'',
    b'\x00\xff',
    None,
    True,
]
KEYS += [(1, 'a', None), frozenset([1]), datetime.date(2024, 2, 29)]


@pytest.mark.parametrize('key', KEYS, ids=repr)
def test_any_key_is_found_again(cache: Any, key: Any) -> None:
    cache[key] = 'value'
    assert cache[key] == 'value'
    assert key in cache
    (found,) = cache
    assert found == key
    assert type(found) is type(key)
    if not isinstance(cache, FanoutCache):
        assert list(cache.iterkeys()) == [key]
    assert cache.delete(key)
    assert key not in cache


VALUES = [
    '',
    'é\r\n\x00☃',
    b'',
    b'\x00\xff',
    b't',
    't',
    '-5',
    b'12',
    0,
    -7,
    2**63 - 1,
    -(2**63),
    2**64,
]
VALUES += [1.5, float('inf'), -0.0, None, True, [1, {'a': (2,)}], {1, 2}, bytearray(b'x'), 1j]
VALUES += [datetime.datetime(2024, 2, 29, 12), 'x' * 100_000, b'y' * 100_000, list(range(20_000))]


@pytest.mark.parametrize('value', VALUES, ids=lambda value: repr(value)[:40])
@pytest.mark.parametrize('tag', [None, 'tag'])
def test_any_value_comes_back_as_it_was(cache: Any, value: Any, tag: Any) -> None:
    assert cache.set('key', value, tag=tag)
    for _ in range(2):  # from the server, and from near
        found = cache.get('key')
        assert found == value
        assert type(found) is type(value)
        assert repr(found) == repr(value)


def test_nan_is_a_value_and_no_key(cache: Any) -> None:
    cache['nan'] = float('nan')
    assert cache['nan'] != cache['nan']
    with pytest.raises(ValueError):
        cache[float('nan')] = 1
    with pytest.raises(ValueError):
        cache.get(float('nan'))


@not_of_shards
def test_equal_numbers_are_one_key_and_a_bool_is_another(cache: Any) -> None:
    cache[1] = 'one'
    assert cache[1.0] == 'one'
    assert 1.0 in cache
    assert True not in cache
    cache[-0.0] = 'zero'
    assert cache[0] == 'zero'


def test_a_text_and_the_bytes_of_it_are_two_keys(cache: Any) -> None:
    cache['key'], cache[b'key'], cache['5'], cache[5] = 1, 2, 3, 4
    assert [cache['key'], cache[b'key'], cache['5'], cache[5]] == [1, 2, 3, 4]
    assert len(cache) == 4


def test_a_missing_key_is_the_default_or_a_key_error(cache: Any) -> None:
    assert cache.get('key') is None
    assert cache.get('key', default=5) == 5
    assert cache.get('key', default=5, expire_time=True, tag=True) == (5, None, None)
    assert not cache.delete('key')
    assert not cache.touch('key', 5)
    assert cache.pop('key', default='none') == 'none'
    with pytest.raises(KeyError):
        cache['key']
    with pytest.raises(KeyError):
        del cache['key']


def test_a_value_is_overwritten_with_its_expiry_and_tag(cache: Any) -> None:
    cache.set('key', 1, expire=60, tag='odd')
    cache.set('key', 2)
    assert cache.get('key', expire_time=True, tag=True) == (2, None, None)
    assert cache.evict('odd') == 0
    assert cache['key'] == 2


@pytest.mark.parametrize('tag', ['text', 'é', b'bytes', 5, -5, 1.5], ids=repr)
def test_get_and_pop_return_expiry_and_tag(cache: Any, tag: Any) -> None:
    before = time.time()
    cache.set('key', 'value', expire=60, tag=tag)
    after = time.time()
    for _ in range(2):
        value, expiry, its_tag = cache.get('key', expire_time=True, tag=True)
        assert (value, its_tag) == ('value', tag)
        assert before + 50 < expiry < after + 70  # this process may have to wait
        assert cache.get('key', tag=True) == ('value', tag)
        assert cache.get('key', expire_time=True)[0] == 'value'
    value, expiry, its_tag = cache.pop('key', expire_time=True, tag=True)
    assert (value, its_tag) == ('value', tag)
    assert before + 50 < expiry < after + 70  # this process may have to wait
    assert 'key' not in cache


def until_gone(cache: Any, key: Any) -> None:
    """Wait until a key has expired."""
    while key in cache:
        time.sleep(0.01)


def test_an_item_expires(cache: Any) -> None:
    cache.set('key', 1, expire=0.2, tag='tag')
    assert cache['key'] == 1
    until_gone(cache, 'key')
    assert cache.get('key') is None
    assert cache.add('key', 2)
    assert cache.get('key', expire_time=True, tag=True) == (2, None, None)


@pytest.mark.parametrize('expire', [0, -1, -0.5, float('-inf')])
def test_what_is_stored_expired_is_not_there(cache: Any, expire: float) -> None:
    cache['key'] = 1
    assert cache.set('key', 2, expire=expire)
    assert cache.get('key') is None
    assert cache.add('key', 3, expire=expire)
    assert 'key' not in cache
    cache['key'] = 4
    assert not cache.add('key', 5, expire=expire)
    assert cache.touch('key', expire)
    assert 'key' not in cache


def test_an_infinite_expiry_is_none(cache: Any) -> None:
    cache.set('key', 1, expire=float('inf'))
    cache.set('other', 1, expire=1e18)
    cache.set('third', 1, expire=1e308)
    assert cache['key'] == cache['other'] == cache['third'] == 1


@pytest.mark.parametrize('method', ['set', 'add'])
def test_wrong_expiries_and_tags_are_type_errors(cache: Any, method: str) -> None:
    for wrong in ({'expire': 'soon'}, {'expire': [1]}, {'tag': [1]}, {'tag': (1,)}):
        with pytest.raises(TypeError):
            getattr(cache, method)('key', 1, **wrong)
    assert 'key' not in cache
    with pytest.raises(TypeError, match='expire'):
        getattr(cache, method)('key', 1, ttl=5)


@pytest.mark.parametrize('method', ['set', 'add'])
def test_nan_is_no_tag(cache: Any, method: str) -> None:
    with pytest.raises(ValueError, match='NaN'):
        getattr(cache, method)('key', 1, tag=float('nan'))
    assert 'key' not in cache


def test_touch_gives_another_expiry_and_keeps_value_and_tag(cache: Any) -> None:
    cache.set('key', [1], expire=60, tag='tag')
    assert cache.touch('key')
    assert cache.get('key', expire_time=True, tag=True) == ([1], None, 'tag')
    assert cache.touch('key', 100)
    assert 95 < cache.get('key', expire_time=True)[1] - time.time() < 105
    assert cache.evict('tag') == 1


def test_add_stores_only_what_is_absent(cache: Any) -> None:
    assert cache.add('key', 1, expire=60, tag='tag')
    assert not cache.add('key', 2, tag='other')
    value, expiry, tag = cache.get('key', expire_time=True, tag=True)
    assert (value, tag) == (1, 'tag')
    assert expiry is not None


def test_of_many_who_add_one_succeeds(cache: Any) -> None:
    for _ in range(5):
        barrier = threading.Barrier(4)

        def add(number: int, barrier: threading.Barrier = barrier) -> bool:
            barrier.wait()
            return cache.add('key', number, retry=True)

        with ThreadPoolExecutor(4) as pool:
            assert sum(pool.map(add, range(4))) == 1
        cache.delete('key')


def test_incr_and_decr_count(cache: Any) -> None:
    assert cache.incr('key') == 1
    assert cache.incr('key', 10) == 11
    assert cache.decr('key', 4) == 7
    assert cache.incr('other', default=5) == 6
    assert cache.decr('third') == -1
    assert cache['key'] == 7
    assert cache.incr('key', 0.5) == 7.5
    assert cache.incr('key') == 8.5
    assert cache.get('key') == 8.5


def test_incr_keeps_expiry_and_tag(cache: Any) -> None:
    cache.set('key', 1, expire=60, tag='tag')
    cache.set('plain', 1, expire=60)
    assert cache.incr('key') == cache.incr('plain') == 2
    value, expiry, tag = cache.get('key', expire_time=True, tag=True)
    assert (value, tag) == (2, 'tag')
    assert expiry is not None
    assert cache.get('plain', expire_time=True)[1] is not None
    assert cache.evict('tag') == 1


def test_incr_is_exact_to_64_bits_and_no_further(cache: Any) -> None:
    cache['key'] = 2**53 + 1
    assert cache.incr('key', 2) == 2**53 + 3
    cache['key'] = 2**63 - 2
    assert cache.incr('key') == 2**63 - 1
    for key, value in (('key', 2**63 - 1), ('tagged', 2**63 - 1)):
        cache.set(key, value, tag='t' if key == 'tagged' else None)
        with pytest.raises(OverflowError):
            cache.incr(key)
        assert cache[key] == 2**63 - 1
    with pytest.raises(OverflowError):
        cache.incr('new', 2**63)
    assert 'new' not in cache
    cache['low'] = -(2**63)
    with pytest.raises(OverflowError):
        cache.decr('low')


@pytest.mark.parametrize('value', ['5', b'5', None, [1], True], ids=repr)
def test_incr_of_what_is_no_number_is_a_type_error(cache: Any, value: Any) -> None:
    cache['key'] = value
    with pytest.raises(TypeError):
        cache.incr('key')
    assert cache['key'] == value


def test_incr_of_a_missing_key_without_default_is_a_key_error(cache: Any) -> None:
    with pytest.raises(KeyError):
        cache.incr('key', default=None)
    with pytest.raises(TypeError):
        cache.incr('key', 'x')
    assert 'key' not in cache


def test_no_increment_is_lost(cache: Any) -> None:
    def count(kind: int) -> None:
        for _ in range(25):
            cache.incr('plain', retry=True)
            cache.incr('tagged', retry=True)

    cache.set('tagged', 0, tag='tag')
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(count, range(4)))
    assert (cache['plain'], cache['tagged']) == (100, 100)


def test_evict_removes_what_has_the_tag_now(cache: Any) -> None:
    for number in range(20):
        cache.set(number, number, tag='even' if number % 2 == 0 else 'odd')
    cache.set(0, 'retagged', tag='other')
    cache.set(2, 'untagged')
    cache.delete(4)
    cache.set(6, 'the same', tag='even')
    assert cache.get(8) == 8
    assert cache.evict('even') == 7
    assert cache.get(8) is None
    assert cache.evict('even') == 0
    assert sorted(cache) == [0, 1, 2, 3, 5, 7, 9, 11, 13, 15, 17, 19]
    assert cache.evict(None) == 0
    with pytest.raises(TypeError):
        cache.evict([1])


def test_tags_of_different_types_are_different(cache: Any) -> None:
    for tag in ('5', 5, b'5', 5.5):
        cache.set(tag, 1, tag=tag)
    assert cache.evict(5.0) == 1
    assert cache.evict('5') == 1
    assert cache.evict(b'5') == cache.evict(5.5) == 1


def test_pop_takes_an_item_once(cache: Any) -> None:
    for _ in range(5):
        cache.set('key', 'value', tag='tag')
        with ThreadPoolExecutor(4) as pool:
            popped = list(pool.map(lambda _: cache.pop('key', retry=True), range(4)))
        assert sorted(map(str, popped)) == ['None', 'None', 'None', 'value']


def test_many_items_are_stored_and_found_at_once(cache: Any) -> None:
    items = {f'key {number}': [number] for number in range(1500)}
    assert cache.set_many(items.items(), expire=60, tag='tag') == 1500
    for _ in range(2):
        assert cache.get_many([*items, 'none']) == items
    assert cache.get('key 7', tag=True) == ([7], 'tag')
    assert cache.add_many({'key 1': 0, 'new': 1}) == 1
    assert cache.touch_many(['key 1', 'none'], None) == 1
    assert cache.get('key 1', expire_time=True) == ([1], None)
    assert cache.delete_many(['key 1', 'key 2', 'none']) == 2
    assert cache.get_many(['key 1', 'key 3']) == {'key 3': [3]}
    assert cache.set_many({'key 3': 0}, expire=-1) == 1
    assert 'key 3' not in cache
    assert cache.evict('tag') == 1497
    assert list(cache.keys()) == ['new']


def test_many_wrong_items_are_errors(cache: Any) -> None:
    with pytest.raises(TypeError):
        cache.set_many([1])
    with pytest.raises(ValueError):
        cache.set_many([(1, 2, 3)])
    with pytest.raises(TypeError):
        cache.get_many([[1]])
    with pytest.raises(TypeError):
        cache.delete_many(5)


@not_of_shards
def test_clear_removes_everything(cache: Any) -> None:
    cache.set_many({number: number for number in range(1200)}, tag='tag')
    cache.push('value')
    assert cache.get(7) == 7
    assert cache.clear() == 1201
    assert cache.get(7) is None
    assert len(cache) == 0
    assert list(cache) == []
    assert cache.pull() == (None, None)


@not_of_shards
def test_keys_are_iterated_over_in_order(cache: Any) -> None:
    keys = [3, 'b', -5, 2.5, b'z', 'a', 10, b'a', -0.5]
    cache.set_many((key, 1) for key in keys)
    expected = [-5, -0.5, 2.5, 3, 10, 'a', 'b', b'a', b'z']
    assert list(cache.iterkeys()) == expected
    assert list(cache.iterkeys(reverse=True)) == expected[::-1]


def test_it_is_a_mapping(cache: Any) -> None:
    cache.update({'a': 1}, b=2)
    cache |= {'c': 3}
    assert dict(cache.items()) == {'a': 1, 'b': 2, 'c': 3}
    assert sorted(cache.keys()) == ['a', 'b', 'c']
    assert sorted(cache.values()) == [1, 2, 3]
    assert cache.setdefault('a', 5) == 1
    assert cache.setdefault('d', 5) == 5
    assert cache['d'] == 5
    assert len(cache) == 4
    assert cache.volume() > 0
    assert cache.expire() == 0


@not_of_shards
def test_a_queue_gives_back_in_order(cache: Any) -> None:
    assert cache.push('b') == 500000000000000
    assert cache.push('c') == 500000000000001
    assert cache.push('a', side='front') == 499999999999999
    assert cache[500000000000001] == 'c'
    assert cache.peek() == (499999999999999, 'a')
    assert cache.peek(side='back') == (500000000000001, 'c')
    assert cache.pull() == (499999999999999, 'a')
    assert cache.pull(side='back') == (500000000000001, 'c')
    assert cache.pull() == (500000000000000, 'b')
    assert cache.pull(default='none') == 'none'
    assert cache.pull(expire_time=True, tag=True) == ((None, None), None, None)
    assert cache.push('again') == 500000000000000
    assert cache.pull() == (500000000000000, 'again')
    assert cache.push('once more') == 500000000000000


@not_of_shards
def test_queues_have_names(cache: Any) -> None:
    assert cache.push(1, prefix='left') == 'left-500000000000000'
    assert cache.push(2, prefix='right', tag='tag', expire=60) == 'right-500000000000000'
    assert cache.push(3) == 500000000000000
    (key, value), expiry, tag = cache.peek('right', expire_time=True, tag=True)
    assert (key, value, tag) == ('right-500000000000000', 2, 'tag')
    assert 55 < expiry - time.time() < 65
    assert cache.pull('left') == ('left-500000000000000', 1)
    assert cache.evict('tag') == 1
    assert cache.pull('right') == (None, None)
    assert cache.pull() == (500000000000000, 3)
    with pytest.raises(ValueError):
        cache.push(1, side='top')
    with pytest.raises(TypeError):
        cache.push(1, prefix=5)


@not_of_shards
def test_what_has_expired_or_was_deleted_is_dropped_from_a_queue(cache: Any) -> None:
    first = cache.push('first', expire=0.1)
    second = cache.push('second')
    cache.push('third')
    until_gone(cache, first)
    cache.delete(second)
    assert cache.peek() == (500000000000002, 'third')
    assert cache.pull() == (500000000000002, 'third')
    assert cache.pull() == (None, None)


@not_of_shards
def test_each_item_of_a_queue_is_pulled_once(cache: Any) -> None:
    def work(number: int) -> list[int]:
        pulled = []
        while True:
            _, value = cache.pull(retry=True)
            if value is None:
                return pulled
            pulled.append(value)

    for number in range(60):
        cache.push(number)
    with ThreadPoolExecutor(4) as pool:
        results = list(pool.map(work, range(4)))
    assert sorted(number for part in results for number in part) == list(range(60))
    assert all(part == sorted(part) for part in results)


def test_modify_replaces_a_value(cache: Any) -> None:
    assert cache.modify('key', lambda value: [value]) == [None]
    assert cache.modify('key', lambda value: [*value, 1], default=0) == [None, 1]
    assert cache['key'] == [None, 1]
    assert cache.modify('key', lambda value: KEEP) == [None, 1]
    assert cache.modify('none', lambda value: KEEP, ENOVAL) is ENOVAL
    assert cache.modify('key', lambda value: ENOVAL) is ENOVAL
    assert cache.modify('key', lambda value: ENOVAL) is ENOVAL
    assert 'key' not in cache


def test_modify_keeps_or_changes_expiry_and_tag(cache: Any) -> None:
    cache.set('key', 1, expire=60, tag='odd')
    assert cache.modify('key', lambda value: value + 1) == 2
    value, expiry, tag = cache.get('key', expire_time=True, tag=True)
    assert (value, tag) == (2, 'odd')
    assert 50 < expiry - time.time() < 61
    cache.modify('key', lambda value: 3, expire=None, tag='even')
    assert cache.get('key', expire_time=True, tag=True) == (3, None, 'even')
    assert cache.evict('odd') == 0
    assert cache.evict('even') == 1
    cache.modify('new', lambda value: 1, expire=60, tag='new')
    assert cache.get('new', expire_time=True)[1] is not None
    assert cache.evict('new') == 1


def test_what_the_function_of_modify_raises_leaves_the_item(cache: Any) -> None:
    cache.set('key', 1, tag='tag')
    with pytest.raises(ZeroDivisionError):
        cache.modify('key', lambda value: value / 0)
    assert cache.get('key', tag=True) == (1, 'tag')


def test_no_modification_is_lost(cache: Any) -> None:
    def append(number: int) -> None:
        for _ in range(15):
            cache.modify('key', lambda numbers: [*numbers, number], [], retry=True)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(append, range(4)))
    assert sorted(cache['key']) == sorted([*range(4)] * 15)


def test_a_function_is_memoized(cache: Any) -> None:
    calls = []

    @cache.memoize(expire=60, tag='squares')
    def square(number: int, *, plus: int = 0) -> int:
        calls.append(number)
        return number * number + plus

    assert [square(3), square(3), square(4), square(3, plus=1)] == [9, 9, 16, 10]
    assert calls == [3, 4, 3]
    assert cache[square.__cache_key__(3)] == 9
    assert cache.evict('squares') == 3
    assert square(3) == 9


def test_averages(cache: Any) -> None:
    average = diskcache.Averager(cache, 'latency', expire=60, tag='tag')
    assert average.get() is None
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(average.add, [1, 2, 3, 4]))
    assert average.get() == 2.5
    assert average.pop() == 2.5
    assert average.get() is None


@pytest.mark.parametrize('kind', [diskcache.Lock, diskcache.RLock, diskcache.BoundedSemaphore])
def test_a_lock_is_held_by_one(cache: Any, kind: Any) -> None:
    inside = []
    most = []

    def work(number: int) -> None:
        lock = kind(cache, 'lock', expire=60)
        for _ in range(3):
            with lock:
                inside.append(number)
                most.append(len(inside))
                time.sleep(0.001)
                inside.remove(number)

    with ThreadPoolExecutor(3) as pool:
        list(pool.map(work, range(3)))
    assert most == [1] * 9


def test_locks_know_their_owners(cache: Any) -> None:
    lock, other = diskcache.Lock(cache, 'lock'), diskcache.Lock(cache, 'lock')
    assert lock.acquire(timeout=0)
    assert not other.acquire(timeout=0.05)
    assert lock.locked()
    assert lock.release()
    assert not lock.locked()
    rlock = diskcache.RLock(cache, 'rlock')
    with rlock, rlock:
        with ThreadPoolExecutor(1) as pool:
            assert not pool.submit(rlock.acquire, timeout=0).result()
    with pytest.raises(AssertionError):
        rlock.release()
    semaphore = diskcache.BoundedSemaphore(cache, 'places', value=2)
    assert [semaphore.acquire(timeout=0) for _ in range(3)] == [True, True, False]
    semaphore.release()
    semaphore.release()
    with pytest.raises(AssertionError):
        semaphore.release()


def test_a_lock_that_has_expired_is_not_released_for_another(cache: Any) -> None:
    lock, other = diskcache.Lock(cache, 'lock', expire=0.1), diskcache.Lock(cache, 'lock')
    assert lock.acquire()
    until_gone(cache, 'lock')
    assert other.acquire(timeout=0)
    assert not lock.release()
    assert other.locked()


def test_calls_are_throttled(cache: Any) -> None:
    now = 1000.0
    slept = []

    def sleep(seconds: float) -> None:
        nonlocal now
        slept.append(seconds)
        now += seconds

    @diskcache.throttle(cache, 2, 1, name='calls', time_func=lambda: now, sleep_func=sleep)
    def call() -> float:
        return now

    assert [round(call(), 3) for _ in range(5)] == [1000, 1000, 1000.5, 1001, 1001.5]
    assert len(slept) == 3


def test_a_barrier_lets_one_in(cache: Any) -> None:
    inside = []

    @diskcache.barrier(cache, diskcache.Lock, name='barrier', expire=60)
    def work(number: int) -> int:
        inside.append(number)
        count = len(inside)
        time.sleep(0.001)
        inside.remove(number)
        return count

    with ThreadPoolExecutor(3) as pool:
        assert list(pool.map(work, range(6))) == [1] * 6


def test_a_stampede_is_kept_off(cache: Any) -> None:
    calls = []

    @diskcache.memoize_stampede(cache, expire=60, name='work', beta=1)
    def work(number: int, *, plus: int = 0) -> int:
        calls.append(number)
        return number * 2 + plus

    assert [work(1), work(1), work(2, plus=1)] == [2, 2, 5]
    assert calls == [1, 2]

    renewed = threading.Event()

    @diskcache.memoize_stampede(cache, expire=60, name='early', beta=1e12)
    def early() -> int:
        calls.append(0)
        if calls.count(0) == 2:
            renewed.set()
        return calls.count(0)

    assert early() == 1
    assert early() == 1
    assert renewed.wait(30)
