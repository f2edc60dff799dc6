"""What is peculiar to the deques, indexes and caches of a RemoteCache."""

from __future__ import annotations

import logging
import operator
import os
import pickle
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from interpreter import Interpreter
from servers import Server

import diskcache
from diskcache import Deque, Index, JSONDisk, SafeDisk
from diskcache.refusal import RefusedError

KEY = b'a key of sixteen bytes and more'

pytest.importorskip('redis', reason='redis-py is not installed: pip install redis')

from diskcache.remote import NotSupported, RemoteCache, RemoteDeque, RemoteIndex  # noqa: E402
from diskcache.remote.deque import PAGE, PAGE_BYTES  # noqa: E402


@pytest.fixture
def open_cache(server: Server, name: str) -> Iterator[Callable[..., RemoteCache]]:
    """A function that opens the same cache, on each kind of server."""
    caches: list[RemoteCache] = []

    def open_cache(**arguments: Any) -> RemoteCache:
        caches.append(
            RemoteCache(server.url, arguments.pop('name', name), **{'timeout': 10, **arguments})
        )
        return caches[-1]

    yield open_cache
    for cache in caches:
        cache.close()


@pytest.fixture
def cache(open_cache: Any) -> RemoteCache:
    return open_cache()


def raw(cache: RemoteCache, *command: Any) -> Any:
    """Send a command to the server, as a stranger could."""
    return cache._engine.call(*command)


# Names


def test_a_deque_is_a_list_and_an_index_a_hash_with_an_order(cache: Any) -> None:
    cache.deque('jobs').extend(['a', 5, b'b'])
    assert raw(cache, 'LRANGE', f'{cache.name}/{{deque/jobs}}l', 0, -1) == [b'sa', b'5', b'bb']
    index = cache.index('users')
    index['é'], index[5] = 'text', 1.0
    index.push('x', 'p')
    key = f'{cache.name}/{{index/users}}'
    assert raw(cache, 'HGET', key + 'h', 'sé'.encode()) == b'stext'
    assert raw(cache, 'ZRANGE', key + 'z', 0, -1) == ['sé'.encode(), b'i5', b'sp-500000000000000']
    assert raw(cache, 'ZCARD', key + 'q') == 1
    assert sorted(raw(cache, 'KEYS', f'{cache.name}/*')) == sorted(
        [*(key.encode() + letter for letter in (b'h', b'z', b'q')),
         f'{cache.name}/{{deque/jobs}}l'.encode()]
    )  # fmt: skip
    index.clear()
    assert raw(cache, 'KEYS', f'{cache.name}/{{index*') == []


def test_parts_and_the_items_of_a_cache_have_nothing_in_common(open_cache: Any, name: str) -> None:
    cache = open_cache()
    names = ['x', '}', '{', 'x}l', 'x}h', 'x/y', 'é', '*', ' ', '\0', 'x:sx', '}{deque/x']
    others = [open_cache(name=name + end) for end in ('/x', '/deque/x', '/deque', '/index', 'x')]
    cache.set('x', 'item', tag='x')
    for number, each in enumerate(names):
        cache.deque(each).append(number)
        cache.index(each)['key'] = number
    for number, other in enumerate(others):
        other.set('x', number, tag='x')
        other.deque('x').append(['of another', number])
    assert (list(cache), len(cache)) == (['x'], 1)
    assert cache.evict('x') == 1
    cache['x'] = 'item'
    assert cache.clear() == 1
    assert [list(cache.deque(each)) for each in names] == [[number] for number in range(len(names))]
    assert [cache.index(each)['key'] for each in names] == list(range(len(names)))
    assert [other['x'] for other in others] == list(range(len(others)))
    cache['x'] = 'item'
    for each in names:
        cache.deque(each).clear()
        cache.index(each).clear()
    assert cache['x'] == 'item'
    assert [list(other.deque('x')) for other in others] == [
        [['of another', number]] for number in range(len(others))
    ]


def test_a_cache_below_is_the_cache_of_the_longer_name(open_cache: Any, name: str) -> None:
    cache = open_cache(near=True, serializer='pickle', max_value=1000)
    below = cache.cache('a/b')
    below['key'] = os.getcwd
    assert cache.cache('a').cache('b')['key'] is os.getcwd
    same = open_cache(name=f'{name}/a/b', serializer='pickle')
    assert same['key'] is below['key'] is os.getcwd
    assert (below.url, below.timeout, below.max_value) == (cache.url, cache.timeout, 1000)
    assert len(cache) == 0
    with pytest.raises(ValueError):
        cache.cache('a b')


def test_the_same_object_is_returned_until_the_cache_is_closed(cache: Any) -> None:
    cache.deque('jobs', maxlen=2).extend('abc')
    assert cache.deque('jobs') is cache.deque('jobs', maxlen=5)
    assert cache.deque('jobs').maxlen == 2
    assert cache.index('users') is cache.index('users')
    assert cache.cache('below') is cache.cache('below')
    deque, below = cache.deque('jobs'), cache.cache('below')
    cache.close()
    assert cache.deque('jobs') is not deque
    assert cache.cache('below') is not below
    assert list(deque) == list(cache.deque('jobs')) == ['b', 'c']


@pytest.mark.parametrize('method', ['deque', 'index'])
def test_names_are_not_empty_texts(cache: Any, method: str) -> None:
    for wrong, error in ((5, TypeError), (None, TypeError), (b'x', TypeError), ('', ValueError)):
        with pytest.raises(error):
            getattr(cache, method)(wrong)
    with pytest.raises(ValueError):
        cache.deque('new', maxlen=-1)


# Constructors, pickles, copies


def test_they_are_made_on_a_cache(cache: Any) -> None:
    deque = RemoteDeque(cache, 'jobs', 'abcd', maxlen=3)
    assert (deque.cache, deque.name, list(deque)) == (cache, 'jobs', ['b', 'c', 'd'])
    assert RemoteDeque(cache, 'jobs', maxlen=2).maxlen == 2
    assert list(deque) == ['c', 'd']
    index = RemoteIndex(cache, 'users', {'a': 1}, b=2)
    assert (index.cache, index.name, dict(index)) == (cache, 'users', {'a': 1, 'b': 2})
    assert RemoteIndex(cache, 'self', name=1, cache=2, self=3) == {'name': 1, 'cache': 2, 'self': 3}


def test_a_repr_has_cache_and_name_and_asks_nobody() -> None:
    cache = RemoteCache('redis://user:secret@host:1234/5', 'site')
    where = "RemoteCache('redis://host:1234/5/site')"
    assert repr(cache.deque('jobs')) == f"RemoteDeque({where}, 'jobs')"
    assert repr(cache.index('users')) == f"RemoteIndex({where}, 'users')"


@pytest.mark.parametrize('protocol', range(pickle.HIGHEST_PROTOCOL + 1))
def test_they_are_pickled_by_cache_and_name(cache: Any, protocol: int) -> None:
    deque = RemoteDeque(cache, 'jobs', 'abc', maxlen=4)
    index = RemoteIndex(cache, 'users', a=1)
    for copy in (pickle.loads(pickle.dumps(deque, protocol)), deque.copy()):
        assert type(copy) is RemoteDeque
        assert (copy.maxlen, list(copy)) == (4, ['a', 'b', 'c'])
        copy.append('d')
        assert deque.pop() == 'd'
    same = pickle.loads(pickle.dumps(index, protocol))
    assert (type(same), same.cache.name, dict(same)) == (RemoteIndex, cache.name, {'a': 1})


def test_sums_copies_and_unions_are_local(cache: Any) -> None:
    letters = cache.deque('letters', maxlen=3)
    letters.extend('ab')
    for new, items in (
        (letters + Deque('cd'), ['b', 'c', 'd']),
        (letters + letters, ['b', 'a', 'b']),
        (letters * 2, ['b', 'a', 'b']),
        (0 * letters, []),
    ):
        assert type(new) is Deque
        assert (list(new), new.maxlen) == (items, 3)
        assert type(new.cache.disk) is SafeDisk
    index = cache.index('index')
    index.update(a=1, b=2)
    for union, expected in (
        (index.copy(), {'a': 1, 'b': 2}),
        (index | {'b': 3, 'c': 4}, {'a': 1, 'b': 3, 'c': 4}),
        ({'b': 0, 'z': 0} | index, {'b': 2, 'z': 0, 'a': 1}),
        (Index(b=0) | index, {'b': 2, 'a': 1}),
    ):
        assert type(union) is Index
        assert list(union.items()) == list(expected.items())
    for wrong in (lambda: letters + 'ab', lambda: letters * 'a', lambda: index | [1]):
        with pytest.raises(TypeError):
            wrong()
    assert list(letters) == ['a', 'b']
    assert dict(index) == {'a': 1, 'b': 2}


def test_the_order_counts_among_ordered_mappings(cache: Any) -> None:
    index, same, other = cache.index('index'), Index(a=1, b=2), Index(b=2, a=1)
    index.update(a=1, b=2)
    assert index == same
    assert same == index
    assert index != other
    assert other != index
    assert index == dict(other)
    assert index != cache.index('empty')


# What there is not


def test_what_is_not_supported_says_what_to_do(cache: Any) -> None:
    deque, index = cache.deque('jobs'), cache.index('users')
    for call in (
        deque.transact,
        index.transact,
        lambda: index.fromkeys('ab'),
        lambda: deque.directory,
        lambda: index.directory,
    ):
        with pytest.raises(NotSupported, match=r' is not supported by Remote(Deque|Index): .*; .*'):
            call()
    assert not hasattr(deque, 'directory')
    deque.extend(range(1000))
    with pytest.raises(NotSupported, match='extend'):
        deque *= 10**30
    assert len(cache.deque('jobs')) == 1000
    short = RemoteDeque(cache, 'short', 'ab', maxlen=3)
    short *= 10**30
    assert list(short) == ['b', 'a', 'b']


def test_all_that_deque_and_index_have_is_there() -> None:
    elsewhere = {'fromcache'}
    for local, remote in ((Deque, RemoteDeque), (Index, RemoteIndex)):
        names = {name for name in dir(local) if not name.startswith('_')} - elsewhere
        names |= {name for name in vars(local) if name.startswith('__') and name.endswith('__')}
        names -= {'__getstate__', '__setstate__', '__orig_bases__', '__firstlineno__'}
        names -= {'__static_attributes__', '__annotations__'}
        assert [name for name in sorted(names) if not hasattr(remote, name)] == []


def test_neither_can_be_hashed(cache: Any) -> None:
    for each in (cache.deque('x'), cache.index('x')):
        with pytest.raises(TypeError):
            hash(each)


# Serializers


@pytest.mark.parametrize('serializer', ['pickle', 'safe', 'signed', JSONDisk])
def test_each_serializer_stores_and_loads(open_cache: Any, serializer: Any) -> None:
    cache = open_cache(serializer=serializer, keys=(KEY,) if serializer == 'signed' else ())
    values = ['text', 5, -(2**63), 2.5, None, [1, {'a': None}], 'x' * 100_000, '']
    deque, index = cache.deque('deque'), cache.index('index')
    deque.extend(values)
    deque.rotate(3)
    deque.rotate(-3)
    deque.insert(2, 'inserted')
    assert list(deque) == [*values[:2], 'inserted', *values[2:]]
    assert (deque.pop(), deque[1], deque.popleft()) == ('', 5, 'text')
    deque.remove('inserted')
    for number, value in enumerate(values):
        index[number] = index[f'{number}'] = value
    assert list(index.values()) == [value for value in values for _ in range(2)]
    index.move_to_end(0)
    assert index.popitem() == (0, 'text')
    assert index.setdefault('new', [1]) == index.pop('new') == [1]
    assert list(index)[:3] == ['0', 1, '1']


@pytest.mark.parametrize('serializer', ['signed', JSONDisk])
def test_queues_need_keys_that_the_server_can_make(open_cache: Any, serializer: Any) -> None:
    cache = open_cache(serializer=serializer, keys=(KEY,) if serializer == 'signed' else ())
    for call in (lambda: cache.index('x').push(1), cache.index('x').pull):
        with pytest.raises(NotSupported, match=r'queue.* by RemoteIndex'):
            call()


def test_safe_refuses_to_store_what_it_does_not_know(cache: Any) -> None:
    deque, index = cache.deque('deque'), cache.index('index')
    for call in (
        lambda: deque.append(os.getcwd),
        lambda: deque.extend([1, os.getcwd]),
        lambda: deque.insert(0, os.getcwd),
        lambda: operator.setitem(index, 'key', os.getcwd),
        lambda: operator.setitem(index, (os.getcwd,), 1),
        lambda: index.setdefault('key', os.getcwd),
        lambda: index.push(os.getcwd),
        lambda: index.update(a=1, b=os.getcwd),
    ):
        with pytest.raises(diskcache.UnsafeTypeError):
            call()
    assert (list(deque), dict(index)) == ([], {})


@pytest.mark.parametrize('serializer', ['safe', 'signed', JSONDisk])
def test_what_is_not_trusted_is_an_error_or_left_out(
    open_cache: Any, serializer: Any, caplog: pytest.LogCaptureFixture
) -> None:
    cache = open_cache(serializer=serializer, keys=(KEY,) if serializer == 'signed' else ())
    evil = b'p' + pickle.dumps(os.getcwd)
    deque, index = cache.deque('deque'), cache.index('index')
    deque.append('good')
    raw(cache, 'RPUSH', f'{cache.name}/{{deque/deque}}l', evil)
    raw(cache, 'LPUSH', f'{cache.name}/{{deque/deque}}l', b'')
    for call in (deque.pop, deque.popleft, deque.peek, deque.peekleft, lambda: deque[2]):
        with pytest.raises(RefusedError):
            call()
    with caplog.at_level(logging.WARNING, 'diskcache'):
        assert list(deque) == list(reversed(deque)) == ['good']
    assert 'refused' in caplog.text or 'not of the form' in caplog.text
    assert (len(deque), deque.index('good'), deque.count('good')) == (3, 1, 1)
    deque[0] = 'better'
    del deque[2]
    assert list(deque) == ['better', 'good']
    index.update(a=1, b=2, c=3)
    raw(cache, 'HSET', f'{cache.name}/{{index/index}}h', index._field('b'), evil)
    with pytest.raises(KeyError):
        index['b']
    with pytest.raises(KeyError):
        index.pop('b')
    assert index.get('b', 5) == index.pop('b', 5) == 5
    assert list(index.items()) == [('a', 1), ('c', 3)]
    index.move_to_end('b')
    with pytest.raises(RefusedError):
        index.popitem()
    with pytest.raises(RefusedError):
        index.peekitem()
    assert index.setdefault('b', 'new') == 'new'
    assert index.popitem() == ('b', 'new')


def test_signed_values_stay_in_their_place(open_cache: Any) -> None:
    cache = open_cache(serializer='signed', keys=(KEY,))
    first, second = cache.deque('first'), cache.deque('second')
    first.append({'any': os.path.join})
    cache['first'] = 1
    stored = raw(cache, 'LINDEX', f'{cache.name}/{{deque/first}}l', 0)
    raw(cache, 'RPUSH', f'{cache.name}/{{deque/second}}l', stored)
    raw(cache, 'RPUSH', f'{cache.name}/{{deque/first}}l', raw(cache, 'GET', f'{cache.name}:sfirst'))
    assert list(first) == [{'any': os.path.join}]
    assert list(second) == []
    index, other = cache.index('index'), cache.index('other')
    index.update(a=1, b=2)
    key = f'{cache.name}/{{index/%s}}h'
    raw(cache, 'HSET', key % 'index', 'sb', raw(cache, 'HGET', key % 'index', 'sa'))
    other['a'] = 2
    raw(cache, 'HSET', key % 'other', 'sa', raw(cache, 'HGET', key % 'index', 'sa'))
    assert dict(index.items()) == {'a': 1}
    assert dict(other.items()) == {}


def test_large_values_are_refused_before_they_are_sent(open_cache: Any) -> None:
    cache = open_cache(max_value=1000)
    deque, index = cache.deque('deque'), cache.index('index')
    deque.append('x')
    for call in (
        lambda: deque.append('x' * 1000),
        lambda: deque.extend(['x', 'x' * 1000]),
        lambda: deque.insert(0, 'x' * 1000),
        lambda: operator.setitem(deque, 0, 'x' * 1000),
        lambda: index.update(a='x' * 1000),
        lambda: index.setdefault('a', 'x' * 1000),
        lambda: index.get('x' * 1000),
    ):
        with pytest.raises(ValueError, match='max_value'):
            call()
    assert list(deque) == ['x']
    deque.extend('y' * 500 for _ in range(10))  # in portions
    deque.extendleft(f'{number:0500}' for number in range(5))
    assert [item[-1] for item in deque] == [*'43210', 'x', *'y' * 10]


class Doubting(SafeDisk):
    """Trusts no value that it has stored."""

    def fetch(self, *args: Any) -> Any:
        raise RefusedError('who knows')


def test_a_disk_that_trusts_nothing_has_a_default(open_cache: Any) -> None:
    index = open_cache(serializer=Doubting).index('index')
    assert index.setdefault('key', [1]) == [1]
    assert index.get('key') is None


# Many items, and several at once


def test_many_items_come_in_pages(cache: Any) -> None:
    deque, index = cache.deque('deque'), cache.index('index')
    numbers = list(range(5500))
    deque.extend(numbers)
    index.update((number, -number) for number in numbers)
    index[5] = -5  # which stays where it is
    assert list(deque) == numbers
    assert list(reversed(deque)) == numbers[::-1]
    assert deque.index(5000) == 5000
    assert deque == numbers
    deque.remove(5000)
    assert len(deque) == 5499
    deque.reverse()
    assert list(deque)[:3] == [5499, 5498, 5497]
    assert list(index) == numbers
    assert list(reversed(index)) == numbers[::-1]
    assert list(index.values()) == [-number for number in numbers]
    assert next(reversed(index.items())) == (5499, -5499)


def test_a_page_has_no_more_than_some_megabytes(cache: Any) -> None:
    values = [bytes([number]) * 400_000 for number in range(30)]
    deque, index = cache.deque('deque'), cache.index('index')
    deque.extend(values)
    index.update(enumerate(values))
    assert list(deque) == list(index.values()) == values
    for pages in (
        [deque._ask(PAGE, side, 5, 1000, PAGE_BYTES)[1] for side in ('front', 'back')],
        [page[1::2] for page in index._pages(False, True)],
    ):
        assert max(sum(map(len, page)) for page in pages) < 4_000_000


def test_iterating_ends_while_items_are_added(cache: Any) -> None:
    deque, index = cache.deque('deque'), cache.index('index')
    deque.extend(range(1500))
    index.update((number, 0) for number in range(1500))
    seen = []
    for number in deque:
        deque.append(number)
        seen.append(number)
    assert seen == list(range(1500))
    seen = []
    for number in index:
        index[-1 - number] = 0
        seen.append(number)
    assert seen == list(range(1500))


def test_an_index_is_iterated_while_items_are_removed(cache: Any) -> None:
    index = cache.index('index')
    index.update((number, number) for number in range(3000))
    seen = []
    for number in index:
        seen.append(number)
        del index[number]
    assert seen == list(range(3000))
    assert len(index) == 0


def test_threads_take_each_item_once(cache: Any) -> None:
    deque, index = cache.deque('deque'), cache.index('index')
    deque.extend(range(150))
    index.update((number, number) for number in range(150))
    for number in range(150):
        index.push(number, 'queue')

    def take(call: Callable[[], Any]) -> list[Any]:
        taken = []
        while True:
            try:
                taken.append(call())
            except (IndexError, KeyError):
                return taken

    def pull() -> Any:
        key, value = index.pull('queue')
        if key is None:
            raise KeyError
        return value

    for call in (deque.popleft, pull, lambda: index.popitem()[0]):
        with ThreadPoolExecutor(4) as pool:
            taken = list(pool.map(take, [call] * 4))
        assert sorted(item for part in taken for item in part) == list(range(150))


def test_one_of_many_stores_its_default(cache: Any) -> None:
    index = cache.index('index')
    barrier = threading.Barrier(4)

    def agree(number: int) -> list[Any]:
        barrier.wait()
        return [index.setdefault(turn, [number, turn]) for turn in range(30)]

    with ThreadPoolExecutor(4) as pool:
        first, *rest = pool.map(agree, range(4))
    assert rest == [first] * 3


def test_no_one_sees_a_deque_longer_than_its_limit(cache: Any, alone: Interpreter) -> None:
    deque = cache.deque('deque', maxlen=5)
    deque.extend('abcde')

    def look(url: str, name: str) -> set[int]:
        from diskcache.remote import RemoteCache

        deque = RemoteCache(url, name, timeout=50).deque('deque')
        return {len(deque) for _ in range(300)}

    alone.start(look, url=cache.url, name=cache.name)
    while not alone.has_answered():
        deque.append('x')
        deque.appendleft('y')
        deque.extend('uv')
        deque.extendleft('zw')
        deque *= 2
    assert alone.result() == {5}


def test_an_item_of_a_queue_may_be_removed_in_another_way(cache: Any) -> None:
    index = cache.index('index')
    keys = [index.push(letter, 'p') for letter in 'abcd']
    del index[keys[0]]
    assert index.pop(keys[1]) == 'b'
    assert index.popitem() == (keys[3], 'd')
    assert index.pull('p') == (keys[2], 'c')
    assert index.pull('p') == (None, None)
    index[500_000_000_000_000] = 'mine'
    assert index.push('x') == 500_000_000_000_001
    assert index[500_000_000_000_000] == 'mine'
    for prefix in ('p-1', 'p5', 'p50', ''):
        assert index.push('another', prefix) == f'{prefix}-500000000000000'
    assert index.pull('p') == (None, None)
    assert index.pull('p5') == ('p5-500000000000000', 'another')


def test_what_is_taken_from_a_queue_is_nowhere(cache: Any) -> None:
    index = cache.index('index')
    index.push(1, 'p')
    index.push(2)
    assert index.pull('p') == ('p-500000000000000', 1)
    assert index.pull()[1] == 2
    assert raw(cache, 'KEYS', f'{cache.name}/*') == []


def test_what_changes_between_looking_and_taking_is_looked_at_again(
    cache: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    deque, index = cache.deque('deque'), cache.index('index')
    changes: list[Callable[[], None]] = []
    load = type(index)._load

    def change_and_load(self: Any, key: Any, stored: bytes) -> Any:
        if changes:
            changes.pop()()
        return load(self, key, stored)

    monkeypatch.setattr(type(index).__mro__[1], '_load', change_and_load)

    def meanwhile(change: Callable[[], None]) -> None:
        changes.append(change)

    deque.extend('ab')
    meanwhile(lambda: deque.append('c'))
    assert deque.pop() == 'c'
    meanwhile(lambda: deque.appendleft('z'))
    assert deque.popleft() == 'z'
    meanwhile(deque.clear)
    with pytest.raises(IndexError):
        deque.pop()
    index.update(a=1, b=2)
    meanwhile(lambda: operator.setitem(index, 'a', 'new'))
    assert index.pop('a') == 'new'
    meanwhile(lambda: operator.setitem(index, 'c', 3))
    assert index.popitem() == ('c', 3)
    meanwhile(lambda: operator.setitem(index, 'b', 'new'))
    assert index.popitem(last=False) == ('b', 'new')
    key = index.push('first', 'p')
    meanwhile(lambda: operator.setitem(index, key, 'other'))
    assert index.pull('p') == (key, 'other')
    assert dict(index) == {}


def test_an_order_that_was_lost_is_made_anew(cache: Any) -> None:
    """A server that evicts may evict it without the items."""
    index = cache.index('index')
    index.update(a=1, b=2)
    raw(cache, 'DEL', f'{cache.name}/{{index/index}}z')
    assert list(index) == []
    index['b'] = 3
    assert (list(index), index['a']) == (['b'], 1)
    raw(cache, 'DEL', f'{cache.name}/{{index/index}}h')
    assert list(index.items()) == []
    with pytest.raises(KeyError):
        index.popitem()


def test_values_are_memoized(cache: Any) -> None:
    index = cache.index('index')
    calls = []

    @index.memoize(name='square')
    def square(number: int) -> Any:
        calls.append(number)
        return None if number == 0 else number * number

    assert [square(3), square(3), square(0), square(0)] == [9, 9, None, None]
    assert calls == [3, 0]
    assert list(index) == [square.__cache_key__(3), square.__cache_key__(0)]


def test_near_caches_know_nothing_of_parts(open_cache: Any) -> None:
    cache, other = open_cache(near=True), open_cache(near=True)
    cache.deque('deque').append(1)
    cache.index('index')['key'] = 1
    other.deque('deque')[0] = 2
    other.index('index')['key'] = 2
    assert (cache.deque('deque')[0], cache.index('index')['key']) == (2, 2)
