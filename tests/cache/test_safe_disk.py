"""SafeDisk: what it stores and loads, what it refuses, and that nothing gets past it.

`tests/faults/test_attacks.py` has the attacks.
"""

from __future__ import annotations

import collections
import datetime
import decimal
import fractions
import logging
import pathlib
import pickle
import uuid
import zoneinfo
from collections.abc import Iterator
from typing import Any

import pytest
import safe_types
from interpreter import Interpreter
from safe_types import Colour, Items, Other, Outer, Pair, Point

import diskcache
from diskcache import Cache, Deque, FanoutCache, Index, RefusedError, SafeDisk, UnsafeTypeError
from diskcache import log as log_module

UTC = datetime.timezone.utc
VALUES = (
    None,
    True,
    2**70,
    1.5,
    1 + 2j,
    'text',
    b'bytes',
    bytearray(b'array'),
    [1, [2, (3, {4: {5}})], frozenset({6})],
    range(1, 9, 2),
    collections.OrderedDict(a=1, b=2),
    collections.defaultdict(list, a=[1]),
    collections.Counter('abracadabra'),
    collections.deque([1, 2], maxlen=3),
    datetime.datetime(2026, 1, 2, 3, 4, 5, 6, UTC),
    datetime.datetime(2026, 7, 2, tzinfo=zoneinfo.ZoneInfo('Europe/Berlin')),
    datetime.date(2026, 1, 2),
    datetime.time(3, 4),
    datetime.timedelta(days=-1),
    decimal.Decimal('-1.50'),
    fractions.Fraction(1, 3),
    uuid.UUID(int=5),
    pathlib.PurePosixPath('/a/b'),
    pathlib.Path('a'),
    ['x' * 50_000, {'deep': [decimal.Decimal(1)] * 3}],
)


@pytest.fixture
def safe(directory: str) -> Iterator[Cache]:
    """A cache on a SafeDisk."""
    with Cache(directory, disk=SafeDisk) as cache:
        yield cache


@pytest.fixture
def plain(directory: str) -> Iterator[Cache]:
    """The same directory, with the Disk that pickles anything."""
    with Cache(directory) as cache:
        yield cache


@pytest.fixture(autouse=True)
def forget_what_was_logged() -> None:
    """Each test sees what it has logged."""
    log_module._logged.clear()
    log_module._minutes.clear()


# --- what is allowed ---


@pytest.mark.parametrize('protocol', range(2, pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize('value', VALUES, ids=lambda value: type(value).__name__)
def test_values_come_back(directory: str, value: Any, protocol: int) -> None:
    with Cache(directory, disk=SafeDisk, disk_pickle_protocol=protocol) as cache:
        cache['key'] = value
        assert cache['key'] == value
        assert type(cache['key']) is type(value)


@pytest.mark.parametrize('value', VALUES, ids=lambda value: type(value).__name__)
def test_the_pickles_are_those_of_a_disk(safe: Cache, plain: Cache, value: Any) -> None:
    """Both read what the other writes, and a key has one form."""
    safe['safe'] = plain['plain'] = value
    assert plain['safe'] == value
    is_by_getattr = isinstance(value, datetime.datetime) and value.tzinfo is not UTC
    if not is_by_getattr:  # a ZoneInfo, which pickles itself by way of getattr
        assert safe['plain'] == value


def test_keys_are_those_of_a_disk(safe: Cache, plain: Cache) -> None:
    keys = [('a', 1), None, 2**70, datetime.date(2026, 1, 2), ('x', (uuid.UUID(int=1), 2.5))]
    for key in keys:
        safe[key] = 1
        plain[key] = 2
    assert list(safe) == list(plain) == keys
    assert [safe[key] for key in keys] == [2] * len(keys)


@pytest.mark.parametrize(
    'value', [Point(1, 2), Colour.BLUE, Pair(1, 2), Items([1]), {1: [Point()]}]
)
def test_types_can_be_added(directory: str, value: Any) -> None:
    disk = SafeDisk.with_types(Point, Colour, Pair, Items)
    with Cache(directory, disk=disk) as cache:
        cache['key'] = value
        cache[('key', Colour.RED)] = 1
        assert cache['key'] == value
        assert cache[('key', Colour.RED)] == 1


def test_the_types_of_a_module_can_be_added(directory: str) -> None:
    with Cache(directory, disk=SafeDisk.with_types(modules=['safe_types'])) as cache:
        for value in (Point(1, 2), Colour.RED, Pair(1, 2)):
            cache['key'] = value
            assert cache['key'] == value


def test_a_type_inside_of_a_type_is_added_by_itself(directory: str) -> None:
    """Its name has a dot, and is one name: no attribute is followed."""
    with Cache(directory, disk=SafeDisk.with_types(Outer.Inner)) as cache:
        cache['key'] = Outer.Inner()
        assert cache['key'] == Outer.Inner()
    with (
        Cache(directory, disk=SafeDisk.with_types(modules=['safe_types'])) as cache,
        pytest.raises(UnsafeTypeError, match=r'safe_types\.Outer\.Inner'),
    ):
        cache['key'] = Outer.Inner()


def test_types_add_up(directory: str) -> None:
    disk = SafeDisk.with_types(Point).with_types(Other)
    with Cache(directory, disk=disk) as cache:
        cache['key'] = [Point(), Other()]
        assert cache['key'] == [Point(), Other()]


def test_a_cache_with_added_types_can_be_pickled(directory: str) -> None:
    with Cache(directory, disk=SafeDisk.with_types(Point, modules=['decimal'])) as cache:
        cache['key'] = Point(1, 2)
        with pickle.loads(pickle.dumps(cache)) as copy:
            assert copy['key'] == Point(1, 2)
            with pytest.raises(UnsafeTypeError):
                copy['key'] = Other()


@pytest.mark.parametrize(
    ('arguments', 'modules', 'error'),
    [
        ((type,), (), ValueError),
        ((object,), (), ValueError),
        ((safe_types.Meta,), (), ValueError),
        ((__import__('functools').partial,), (), ValueError),
        ((__import__('operator').attrgetter,), (), ValueError),
        ((__import__('subprocess').Popen,), (), ValueError),
        ((pickle.Unpickler,), (), ValueError),
        ((__import__('importlib.machinery').machinery.SourceFileLoader,), (), ValueError),
        ((__import__('zipimport').zipimporter,), (), ValueError),
        ((), ('_pickle',), ValueError),
        (('safe_types.Point',), (), TypeError),
        ((safe_types.function,), (), TypeError),
        ((), ('builtins',), ValueError),
        ((), ('os',), ValueError),
        ((), ('numpy',), ValueError),
        ((), (5,), TypeError),
        ((), 'decimal', TypeError),
        ((), ('no_such_module',), ImportError),
    ],
)
def test_what_can_do_anything_cannot_be_added(arguments: Any, modules: Any, error: Any) -> None:
    with pytest.raises(error):
        SafeDisk.with_types(*arguments, modules=modules)


# --- what is not, when it is stored ---


@pytest.mark.parametrize(
    'value', [Point(), Point, Colour.RED, len, safe_types.function, safe_types, Ellipsis, Items()]
)
def test_what_would_not_be_loaded_is_not_stored(safe: Cache, value: Any) -> None:
    for attempt in (
        lambda: safe.set('key', value),
        lambda: safe.add('key', [value]),
        lambda: safe.push({'deep': value}),
        lambda: safe.set_many({'key': value}),
        lambda: safe.set((1, value), 1),
    ):
        with pytest.raises(UnsafeTypeError, match='with_types'):
            attempt()
    assert len(safe) == 0


def test_the_error_is_a_type_error_that_names_type_and_key(safe: Cache) -> None:
    with pytest.raises(TypeError, match=r'safe_types\.Point is not allowed by SafeDisk') as raised:
        safe['my key'] = [1, {'a': Point()}]
    assert "'my key'" in raised.value.__notes__[-1]  # from 3.14 on pickle has some of its own
    assert isinstance(raised.value, pickle.PicklingError)


def test_nothing_is_left_of_a_large_value_that_is_refused(safe: Cache, assert_intact: Any) -> None:
    with pytest.raises(UnsafeTypeError):
        safe['key'] = [b'x' * 100_000, Point()]
    assert_intact(safe)


# --- what is not, when it is read ---


@pytest.mark.parametrize('size', [1, 100_000], ids=['inline', 'file'])
def test_what_is_not_allowed_is_a_miss(
    plain: Cache, safe: Cache, size: int, caplog: pytest.LogCaptureFixture
) -> None:
    """As brought about by who opens a directory with SafeDisk that a Disk has written."""
    plain['key'] = [Point(1, 2), b'x' * size]
    plain['good'] = 5
    with caplog.at_level(logging.WARNING, 'diskcache'):
        assert safe.get('key') is None
        assert safe.get('key', 'default', expire_time=True, tag=True) == ('default', None, None)
        assert safe.get_many(['key', 'good']) == {'good': 5}
        assert safe.pop('key', 7) == 7
        with pytest.raises(KeyError):
            safe['key']
    assert plain['key'] == [Point(1, 2), b'x' * size]
    assert len(caplog.records) == 1  # a minute
    message = caplog.records[0].getMessage()
    assert all(text in message for text in ("'key'", safe.directory, 'safe_types.Point'))


def test_it_is_a_miss_for_a_value_in_memory_too(plain: Cache, safe: Cache) -> None:
    plain['key'] = Point()
    assert [safe.get('key', 5) for _ in range(3)] == [5, 5, 5]
    safe['key'] = 6
    assert safe['key'] == 6


def test_items_at_an_end_raise_and_stay(plain: Cache, safe: Cache) -> None:
    """Not a miss: nobody asked for that one, and to go past it would lose it."""
    plain.push(Point())
    for attempt in (safe.pull, safe.peek, safe.peekitem, lambda: safe._popitem(True)):
        with pytest.raises(RefusedError, match=r'safe_types\.Point'):
            attempt()
    assert plain.pull()[1] == Point()


def test_iteration_leaves_refused_keys_out(
    plain: Cache, safe: Cache, caplog: pytest.LogCaptureFixture
) -> None:
    plain['a'] = plain[('b', Point())] = plain[('c', 1)] = plain[Colour.RED] = 1
    for _ in range(100):
        plain[('more', Point(_))] = 1
    plain['last'] = 1
    with caplog.at_level(logging.WARNING, 'diskcache'):
        assert list(safe) == ['a', ('c', 1), 'last']
        assert list(reversed(safe)) == ['last', ('c', 1), 'a']
        assert set(safe.iterkeys()) == {'a', ('c', 1), 'last'}
        assert list(safe.keys()) == list(dict(safe.items())) == ['a', ('c', 1), 'last']
        assert dict(safe) == {'a': 1, ('c', 1): 1, 'last': 1}
    assert 'a key is refused' in caplog.records[0].getMessage()


def test_memoized_functions_compute_anew(plain: Cache, safe: Cache) -> None:
    calls = []

    def function(x: int) -> int:
        calls.append(x)
        return x

    memoized = safe.memoize(name='function')(function)
    plain[memoized.__cache_key__(1)] = Point()
    assert memoized(1) == memoized(1) == 1
    assert calls == [1]


def test_check_tells_of_all_that_is_refused(plain: Cache, safe: Cache) -> None:
    plain['a'] = [Point(), Colour.RED]
    plain['b'] = [Point(), b'x' * 100_000]
    plain[('c', Point())] = 5
    found = {str(warning.message) for warning in safe.check(fix=True)}
    assert any('safe_types.Point is not allowed by SafeDisk' in text for text in found)
    assert any('and 2 more cannot be loaded' in text for text in found)
    assert any('safe_types.Colour is not allowed' in text for text in found)
    assert plain['a'] == [Point(), Colour.RED]
    assert plain.check() == []


def test_a_directory_of_a_disk_opens_without_a_warning(
    plain: Cache, directory: str, recwarn: pytest.WarningsRecorder
) -> None:
    plain['key'] = 1
    plain.close()
    for disk in (SafeDisk, SafeDisk.with_types(Point), diskcache.Disk):
        with Cache(directory, disk=disk) as cache:
            assert cache['key'] == 1
    assert [str(warning.message) for warning in recwarn] == []


def test_the_original_reads_what_it_writes(original: Interpreter, safe: Cache) -> None:
    safe['key'] = value = {'a': [1, decimal.Decimal('1.5'), b'x' * 100_000]}
    safe[('k', 1)] = 'v'
    script = "with Cache(directory) as cache: found = cache['key'], cache[('k', 1)]\nfound"
    assert original.run(script, directory=safe.directory) == (value, 'v')


# --- the other classes ---


@pytest.mark.filterwarnings('ignore::diskcache.CacheWarning')
def test_a_fanout_cache_has_it_in_its_shards_and_parts(directory: str) -> None:
    with FanoutCache(directory, shards=2, disk=SafeDisk) as cache:
        cache[('k', 1)] = {'v': decimal.Decimal(1)}
        assert cache[('k', 1)] == {'v': decimal.Decimal(1)}
        for part in (cache.cache('c'), cache.deque('d').cache, cache.index('i').cache):
            assert type(part.disk) is SafeDisk
        with pytest.raises(UnsafeTypeError):
            cache.set('key', Point())
        with FanoutCache(directory, shards=2) as plain:
            plain['other'] = Point()
            plain[Point()] = 1
        assert cache.get('other', 5) == 5
        assert cache.get_many(['other']) == {}
        assert ('k', 1) in list(cache)
        assert len(list(cache)) == 2


def test_deques_and_indexes_work_on_it(directory: str) -> None:
    with Cache(directory, disk=SafeDisk, eviction_policy='none') as cache:
        deque = Deque.fromcache(cache, [(1, 2), {3}, b'x' * 100_000])
        assert deque.pop() == b'x' * 100_000
        deque.rotate(1)
        assert list(deque) == [{3}, (1, 2)]
        assert list(deque.copy()) == list(pickle.loads(pickle.dumps(deque))) == [{3}, (1, 2)]
        with pytest.raises(UnsafeTypeError):
            deque.append(Point())
        deque.clear()
        index = Index.fromcache(cache, {('a', 1): {1: 2}})
        assert index.popitem() == (('a', 1), {1: 2})


@pytest.mark.filterwarnings('ignore::diskcache.CacheWarning')
def test_json_is_no_pickle(directory: str) -> None:
    """Who takes JSONDisk for safe is right: a pickle in its directory is refused."""
    with Cache(directory, disk=diskcache.JSONDisk) as cache:
        cache['key'] = {'a': 1}
        mode, data = diskcache.constants.MODE_PICKLE, pickle.dumps(safe_types.Called())
        cache._sql('UPDATE Cache SET mode = ?, value = ?', (mode, data))
        assert cache.get('key', 5) == 5
        cache._sql('UPDATE Cache SET key = ?, raw = 0', (data,))
        assert list(cache) == []
    with Cache(directory, disk=PickledJSON) as cache:
        assert type(cache._disk._from_pickle(data)) is safe_types.Called


class PickledJSON(diskcache.JSONDisk):
    """A subclass that stores in its own way."""

    def store(self, value: Any, read: bool, key: Any = None) -> Any:
        """Store as a Disk does."""
        return diskcache.Disk.store(self, value, read, key=key)
