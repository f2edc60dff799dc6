"""on_error: what a value that cannot be loaded is: an error, or a miss that is logged."""

from __future__ import annotations

import logging
import pickle
import signal
import sqlite3
import sys
import types
import zlib
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from diskcache import (
    Cache,
    Deque,
    DjangoCache,
    FanoutCache,
    Index,
    JSONDisk,
    Timeout,
    memoize_stampede,
)
from diskcache import log as log_module
from diskcache.constants import ENOVAL

FIRST = 500_000_000_000_000  # The key of the first item of a queue.
MODULE = 'module_that_goes'


class Thing:
    """An object of a module that goes away."""


class Raising:
    """An object whose loading raises."""

    def __init__(self, what: str) -> None:
        self.what = what

    def __reduce__(self) -> tuple[Any, ...]:
        return load, (self.what,)


def load(what: str) -> None:
    """Raise what a name, or an expression, stands for."""
    raise eval(what)


@pytest.fixture
def gone(monkeypatch: pytest.MonkeyPatch) -> Callable[[], object]:
    """A function that removes the module of Thing."""
    module = types.ModuleType(MODULE)
    module.Thing = Thing  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, MODULE, module)
    monkeypatch.setattr(Thing, '__module__', MODULE)
    log_module._logged.clear()
    log_module._minutes.clear()
    return lambda: sys.modules.pop(MODULE)


def queue(cache: Cache | Index, prefix: str | None = None) -> None:
    """Push broken items, with a good one behind the first two, and one before the last."""
    for value in (Thing(), Thing(), 1, Thing(), 2, Thing()):
        cache.push(value, prefix=prefix)


# What counts.


@pytest.mark.parametrize(
    'what',
    [
        'ValueError("x")',
        'KeyError("x")',
        'RuntimeError("x")',
        'ZeroDivisionError',
        'type("Own", (Exception,), {})()',
    ],
)
def test_whatever_loading_raises_is_a_miss(
    directory: str, logged: Callable[[], list[str]], what: str
) -> None:
    with Cache(directory, on_error='miss') as cache:
        cache['key'] = Raising(what)
        assert cache.get('key', 5) == 5
        assert cache.get('key', expire_time=True, tag=True, default=5) == (5, None, None)
        with pytest.raises(KeyError, match='key'):
            cache['key']
        (message,) = logged()  # Once a minute.
        assert "the value of key 'key'" in message
        assert directory in message
        assert len(cache) == 1


def test_of_many_the_first_few_are_logged_and_the_others_counted(
    directory: str, logged: Callable[[], list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A message takes longer than a lookup, and thousands of them are read by nobody."""
    with Cache(directory, on_error='miss') as cache:
        cache.set_many((number, Raising('ValueError("x")')) for number in range(1500))
        for _ in range(2):
            assert cache.get_many(range(1500)) == {}
        messages = logged()
        assert len(messages) == 10
        assert ['is only counted' in message for message in messages] == [False] * 9 + [True]
        with Cache(f'{directory}/another', on_error='miss') as another:
            another['key'] = Raising('ValueError("x")')
            assert another.get('key') is None
        assert 'another' in logged()[0]
        monkeypatch.setattr(log_module, '_LOG_INTERVAL', 0.0)  # the minute is over
        assert cache.get(5) is None
        count, message = logged()
        assert f'{directory}: what cannot be loaded counts as missing' in count
        assert count.endswith(f'{2 * 1490} times more than was logged')
        assert 'the value of key 5' in message
        assert cache.get(6) is None
        assert len(logged()) == 1


@pytest.mark.parametrize(
    'what', ['MemoryError', 'RecursionError', 'KeyboardInterrupt', 'SystemExit', 'GeneratorExit']
)
@pytest.mark.parametrize('on_error', ['miss', 'reset', None])
def test_what_is_not_about_the_value_is_raised(directory: str, what: str, on_error: str) -> None:
    with Cache(directory, on_error=on_error) as cache:
        cache['key'] = Raising(what)
        for _ in range(2):  # from the database, and from memory
            with pytest.raises(eval(what)):
                cache.get('key')


def test_a_lock_that_loading_does_not_get_is_no_fault_of_the_value(directory: str) -> None:
    with Cache(directory, on_error='miss') as cache:
        cache['key'] = Raising('Timeout()')
        with pytest.raises(Timeout):
            cache.get('key')


@pytest.mark.skipif(not hasattr(signal, 'setitimer'), reason='no signals')
def test_what_a_signal_handler_raises_is_raised(directory: str) -> None:
    """It has nothing to do with the value that was being loaded when the signal came."""

    class Alarm(Exception):
        pass

    def handle(*_: object) -> None:
        raise Alarm

    former = signal.signal(signal.SIGUSR1, handle)
    try:
        with Cache(directory, on_error='miss') as cache:
            cache['key'] = Raising('signal.raise_signal(signal.SIGUSR1)')
            with pytest.raises(Alarm):
                cache.get('key')
    finally:
        signal.signal(signal.SIGUSR1, former)


@pytest.mark.parametrize('on_error', ['raise', 'miss', 'reset', None])
def test_a_key_that_cannot_be_pickled_is_an_error(directory: str, on_error: str | None) -> None:
    """It is the caller's, and nothing that has been stored."""
    with Cache(directory, on_error=on_error) as cache:
        with pytest.raises(ValueError, match='NaN'):
            cache.get(float('nan'))
        with pytest.raises((AttributeError, pickle.PicklingError)):
            cache.get(lambda: None)


def test_a_damaged_file_and_a_damaged_text_are_misses(directory: str) -> None:
    with Cache(directory, on_error='miss') as cache:
        cache['pickle'], cache['text'], cache['inline'] = [bytes(50_000)], 'x' * 50_000, 'text'
        select = 'SELECT filename FROM Cache WHERE filename IS NOT NULL'
        for (name,) in cache._sql(select).fetchall():
            path = Path(directory, name)
            path.write_bytes(b'\xff' * path.stat().st_size)
        cache._sql("UPDATE Cache SET value = CAST(x'ff' AS TEXT) WHERE key = 'inline'").fetchall()
        for key in ('pickle', 'text', 'inline'):
            assert cache.get(key) is None
            assert cache.pop(key, 5) == 5
        assert len(cache) == 3


def test_what_another_disk_cannot_read_is_a_miss(directory: str) -> None:
    with Cache(directory, disk=JSONDisk, on_error='miss') as cache:
        cache['key'] = [1]
        cache._sql('UPDATE Cache SET value = ?', (zlib.compress(b'no json'),)).fetchall()
        assert cache.get('key') is None
        cache._sql('UPDATE Cache SET value = ?', (b'not compressed',)).fetchall()
        assert cache.get('key') is None
        assert cache.get_many(['key']) == {}


# Each method.


def test_a_lookup_misses_and_the_item_stays(directory: str, gone: Callable[[], None]) -> None:
    with Cache(directory, on_error='miss') as cache:
        cache.set('key', Thing(), expire=1000, tag='tag')
        cache['good'] = 1
        gone()
        assert cache.get('key', 5) == 5
        assert cache.get_many(['key', 'good']) == {'good': 1}
        assert cache.pop('key', 5) == 5
        assert cache.pop('key', expire_time=True, tag=True) == (None, None, None)
        for call in (lambda: cache['key'], lambda: cache.read('key')):
            with pytest.raises(KeyError):
                call()
        assert 'key' in cache  # no value is loaded for that
        assert dict(cache.items()) == {'good': 1}
        assert list(cache.keys()) == list(cache) == ['key', 'good']
        assert cache.peekitem(last=False) == ('good', 1)
        assert cache.touch('key', 100)
        assert not cache.add('key', 1)
        assert [text for text in cache.check() if 'Thing' in str(text.message)] != []
        assert cache.set('key', 6)
        assert cache['key'] == 6


def test_a_lookup_that_misses_counts_as_one(directory: str, gone: Callable[[], None]) -> None:
    with Cache(directory, on_error='miss', statistics=1) as cache:
        cache['key'] = Thing()
        gone()
        cache.get('key')
        assert cache.stats() == (0, 1)


def test_what_is_loadable_again_is_found_again(directory: str, gone: Callable[[], None]) -> None:
    with Cache(directory, on_error='miss') as cache:
        cache['key'] = Thing()
        module = sys.modules[MODULE]
        gone()
        assert cache.get('key') is None
        sys.modules[MODULE] = module
        assert isinstance(cache.get('key'), Thing)


def test_setdefault_stores_its_value_over_one_that_cannot_be_loaded(
    directory: str, gone: Callable[[], None]
) -> None:
    for kind in (Cache, FanoutCache, lambda path, on_error: Index.fromcache(Cache(path))):
        cache = kind(f'{directory}{id(kind)}', on_error='miss')
        if isinstance(cache, Index):
            cache.cache.on_error = 'miss'
        sys.modules[MODULE] = types.ModuleType(MODULE)
        sys.modules[MODULE].Thing = Thing  # type: ignore[attr-defined]
        cache['key'] = Thing()
        gone()
        assert cache.setdefault('key', 5) == 5
        assert cache.setdefault('key', 6) == 5
        assert cache['key'] == 5


@pytest.mark.parametrize('prefix', [None, 'prefix'])
@pytest.mark.parametrize('transact', [False, True])
def test_a_queue_passes_over_what_cannot_be_loaded(
    directory: str, gone: Callable[[], None], prefix: str | None, transact: bool
) -> None:
    """What it passes over stays where it is; nobody is stuck behind it."""
    with Cache(directory, on_error='miss') as cache:
        queue(cache, prefix)
        gone()

        def values(method: str, side: str) -> object:
            return getattr(cache, method)(prefix, side=side)[1]

        assert values('peek', 'front') == values('peek', 'front') == 1
        assert values('peek', 'back') == 2
        if transact:
            with cache.transact():
                assert [values('pull', 'front') for _ in range(3)] == [1, 2, None]
        else:
            assert [values('pull', 'back') for _ in range(3)] == [2, 1, None]
        assert values('peek', 'front') is values('peek', 'back') is None
        assert len(cache) == 4
        cache.push(3, prefix)
        cache.push(4, prefix, side='front')
        assert [values('pull', 'front') for _ in range(3)] == [4, 3, None]


def test_a_queue_without_on_error_is_stuck_and_loses_nothing(
    directory: str, gone: Callable[[], None]
) -> None:
    for on_error in ('raise', None):
        with Cache(f'{directory}{on_error}', on_error=on_error) as cache:
            sys.modules[MODULE] = types.ModuleType(MODULE)
            sys.modules[MODULE].Thing = Thing  # type: ignore[attr-defined]
            queue(cache)
            gone()
            for _ in range(2):
                for method in (cache.pull, cache.peek):
                    with pytest.raises(ModuleNotFoundError):
                        method()
            assert len(cache) == 6


def test_a_deque_passes_over_items_and_their_places_stay(
    directory: str, gone: Callable[[], None]
) -> None:
    cache = Cache(directory, on_error='miss', eviction_policy='none')
    deque = Deque.fromcache(cache, [Thing(), 1, Thing(), 2, 1, Thing()])
    gone()
    assert list(deque) == [1, 2, 1]
    assert list(reversed(deque)) == [1, 2, 1]
    assert len(deque) == 6
    assert deque.count(1) == 2
    assert (deque.index(1), deque.index(2), deque.index(1, 2)) == (1, 3, 4)
    assert [deque[deque.index(value)] for value in (1, 2)] == [1, 2]
    with pytest.raises(ModuleNotFoundError):
        deque[0]  # a place has an item, and no default
    assert (deque.peekleft(), deque.peek()) == (1, 1)
    deque.remove(1)
    assert (deque.popleft(), deque.pop()) == (2, 1)
    for take in (deque.pop, deque.popleft, deque.peek):
        with pytest.raises(IndexError):
            take()
    assert len(deque) == 3
    del deque[0]
    assert len(deque) == 2


def test_an_index_passes_over_items(directory: str, gone: Callable[[], None]) -> None:
    index = Index.fromcache(Cache(directory, on_error='miss', eviction_policy='none'))
    index.update({'a': Thing(), 'b': 1, ('c', Thing()): 2, 'd': 3, 'e': Thing()})
    gone()
    assert list(index) == ['a', 'b', 'd', 'e']
    assert list(reversed(index)) == ['e', 'd', 'b', 'a']
    assert list(index.items()) == [('b', 1), ('d', 3)]
    assert list(index.values()) == [1, 3]
    assert index.get('a', 5) == 5
    assert index.pop('a', 5) == 5
    assert (index.peekitem(), index.peekitem(last=False)) == (('d', 3), ('b', 1))
    assert (index.popitem(), index.popitem(last=False)) == (('d', 3), ('b', 1))
    with pytest.raises(KeyError):
        index.popitem()
    assert len(index) == 3


def test_an_end_whose_key_cannot_be_loaded_is_passed_over(
    directory: str, gone: Callable[[], None]
) -> None:
    with Cache(directory, on_error='miss') as cache:
        cache['good'] = 1
        cache['a', Thing()] = 2
        gone()
        for _ in range(2):
            assert cache.peekitem() == ('good', 1)
        cache.delete('good')
        with pytest.raises(KeyError):
            cache.peekitem()


@pytest.mark.slow
def test_many_that_cannot_be_loaded_are_passed_over(
    directory: str, gone: Callable[[], None]
) -> None:
    with Cache(directory, on_error='miss') as cache:
        cache.set_many((('key', number, Thing()), Thing()) for number in range(3000))
        cache['last'] = 1
        gone()
        assert list(cache) == ['last']
        assert cache.peekitem(last=False) == ('last', 1)


# Which default holds where.


def test_a_fanout_cache_misses_on_get_alone(
    directory: str, gone: Callable[[], None], logged: Callable[[], list[str]]
) -> None:
    with FanoutCache(directory) as cache:
        assert cache.on_error is None
        cache['key'] = Thing()
        gone()
        assert cache.get('key', 5, expire_time=True) == (5, None)
        assert cache.get_many(['key']) == {}
        assert dict(cache.items()) == {}
        (message,) = logged()
        assert "'key'" in message
        assert directory in message
        for call in (lambda: cache['key'], lambda: cache.pop('key'), lambda: cache.read('key')):
            with pytest.raises(ModuleNotFoundError):
                call()
        cache.on_error = 'raise'
        with pytest.raises(ModuleNotFoundError):
            cache.get('key')
        cache.on_error = 'miss'
        assert cache.pop('key', 5) == 5
        with pytest.raises(KeyError):
            cache['key']


def test_a_django_cache_misses_on_get_alone(directory: str, gone: Callable[[], None]) -> None:
    cache = DjangoCache(directory, {})
    cache.set('key', Thing())
    gone()
    assert cache.get('key', 5) == 5
    assert cache.get_many(['key']) == {}
    assert cache.get_or_set('key', 6) == 6
    with pytest.raises(ModuleNotFoundError):
        cache.pop('key')
    lenient = DjangoCache(directory, {'OPTIONS': {'on_error': 'miss'}})
    assert lenient.pop('key', 5) == 5
    strict = DjangoCache(directory, {'OPTIONS': {'on_error': 'raise'}})
    with pytest.raises(ModuleNotFoundError):
        strict.get('key')


def test_the_parts_of_a_fanout_cache_follow_it(directory: str) -> None:
    with FanoutCache(directory, on_error='miss') as cache:
        assert cache.cache('part').on_error == 'miss'
        assert cache.cache('strict', on_error='raise').on_error == 'raise'
        assert cache.deque('part').cache.on_error == 'miss'
        assert cache.index('part').cache.on_error == 'miss'
    with FanoutCache(directory) as cache:
        assert cache.cache('part').on_error == 'raise'


@pytest.mark.parametrize('on_error', ['raise', 'miss', 'reset', None])
@pytest.mark.parametrize('kind', [Cache, FanoutCache])
def test_it_is_kept_in_pickles_and_not_in_the_directory(
    directory: str, kind: Callable, on_error: str | None
) -> None:
    with kind(directory, on_error=on_error) as cache:
        assert cache.on_error == on_error
        again = pickle.loads(pickle.dumps(cache))
        assert again.on_error == on_error
        again.close()
    with kind(directory) as cache:
        assert cache.on_error == (None if kind is FanoutCache else 'raise')
        database = f'{directory}/000/cache.db' if kind is FanoutCache else f'{directory}/cache.db'
    with closing(sqlite3.connect(database)) as con:
        select = "SELECT COUNT(*) FROM Settings WHERE key = 'on_error'"
        assert con.execute(select).fetchall() == [(0,)]


def test_a_shard_is_pickled_as_the_original_does(directory: str) -> None:
    with FanoutCache(directory, shards=1) as cache:
        shard = pickle.loads(pickle.dumps(cache._shards[0]))
        assert type(shard) is Cache
        assert shard.on_error == 'raise'


@pytest.mark.parametrize('wrong', ['default', '', 5, b'miss', ['miss']])
def test_another_word_is_an_error(directory: str, wrong: object) -> None:
    for kind in (Cache, FanoutCache):
        with pytest.raises(ValueError, match='on_error'):
            kind(directory, on_error=wrong)
    with Cache(directory) as cache:
        with pytest.raises(ValueError, match='on_error'):
            cache.on_error = wrong
        with pytest.raises(AttributeError, match='on_error'):
            del cache.on_error


# Memoized functions compute anew, whatever on_error says.


@pytest.mark.parametrize('on_error', ['raise', 'miss', 'reset', None])
def test_a_memoized_result_that_cannot_be_loaded_is_computed_anew(
    directory: str,
    gone: Callable[[], None],
    on_error: str | None,
    caplog: pytest.LogCaptureFixture,
    logged: Callable[[], list[str]],
) -> None:
    caplog.set_level(logging.WARNING, 'diskcache')
    cache = Cache(directory, on_error=on_error)
    fanout = FanoutCache(directory + '-fanout', on_error=on_error)
    django = DjangoCache(directory + '-django', {'OPTIONS': {'on_error': on_error}})
    index = Index.fromcache(Cache(directory + '-index', on_error=on_error))
    memoizers = [cache.memoize, fanout.memoize, django.memoize, index.memoize]
    memoizers += [lambda name: memoize_stampede(cache, 1000, name)]
    for memoize in memoizers:
        sys.modules[MODULE] = types.ModuleType(MODULE)
        sys.modules[MODULE].Thing = Thing  # type: ignore[attr-defined]
        results: list[object] = [Thing(), 5, 6]
        name = f'function-{id(memoize)}'
        function = memoize(name)(lambda results=results: results.pop(0))
        function()
        gone()
        assert function() == function() == 5
        assert any(name in message for message in logged())


def test_what_the_function_raises_is_raised(directory: str) -> None:
    """Also if it is about a value of another cache that cannot be loaded."""
    with Cache(directory) as cache, Cache(directory + '-other') as other:
        other['key'] = Raising('ValueError("other")')

        @cache.memoize()
        def function() -> object:
            return other['key']

        with pytest.raises(ValueError, match='other'):
            function()


def test_an_own_lookup_of_a_subclass_is_made_anew_as_well(
    directory: str, gone: Callable[[], None]
) -> None:
    class Own(Cache):
        def get(self, key: object, default: object = None, **options: Any) -> object:
            return super().get(key, default, **options)

    with Own(directory) as cache:
        results = [Thing(), 5]
        function = cache.memoize('name')(lambda: results.pop(0))
        function()
        gone()
        assert function() == 5
        assert cache.get(function.__cache_key__(), default=ENOVAL) == 5
