"""DjangoCache: settings, keys, versions, what it adds to Django's interface, asynchronous calls.

What every backend of Django has in common is tested by Django's own tests, see test_django_suite.
"""

from __future__ import annotations

import asyncio
import inspect
import io
import os
import shutil
import sqlite3
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip('django')

import django_project  # noqa: F401 - configures Django
from asgiref.sync import async_to_sync
from django.core.cache import CacheKeyWarning, caches
from django.core.cache.backends.base import BaseCache, memcache_key_warnings
from django.core.exceptions import ImproperlyConfigured
from django.core.signals import request_finished
from django.test import override_settings
from interpreter import Clock, Interpreter
from threads import in_thread

import diskcache
from diskcache import DjangoCache, JSONDisk

LARGE = b'x' * 100_000
Configure = Callable[..., DjangoCache]


class Unpicklable:
    """What cannot be stored."""

    def __reduce__(self) -> Any:
        raise TypeError('this is not for storing')


class SameRepr:
    """Values that differ, but not in their repr."""

    def __init__(self, number: int) -> None:
        self.number = number

    def __repr__(self) -> str:
        return 'SameRepr'


def tuple_key(key: str, prefix: str, version: int) -> tuple:
    """Make keys that are no str."""
    return prefix, version, key


@pytest.fixture
def configure(directory: str) -> Iterator[Configure]:
    """A function that sets CACHES to one cache in `directory`, with the settings given to it.

    It has two shards if they do not say otherwise: eight take longer to make than most tests.
    """
    usual = {'BACKEND': 'diskcache.DjangoCache', 'LOCATION': directory, 'SHARDS': 2}
    with ExitStack() as stack:

        def configure(**params: Any) -> DjangoCache:
            params = {**usual, **params}
            stack.enter_context(override_settings(CACHES={'default': params, 'same': params}))
            return caches['default']

        yield configure


@pytest.fixture
def cache(configure: Configure) -> DjangoCache:
    """The default cache, with the usual settings."""
    return configure()


@pytest.fixture
def single(configure: Configure) -> DjangoCache:
    """The default cache, with a single shard."""
    return configure(SHARDS=1)


@contextmanager
def shard_locked(cache: DjangoCache, number: int = 0) -> Iterator[None]:
    """Let another connection hold the write lock of a shard."""
    path = f'{cache.directory}/{number:03d}/cache.db'
    with closing(sqlite3.connect(path, isolation_level=None, check_same_thread=False)) as con:
        con.execute('BEGIN IMMEDIATE')
        yield
        con.execute('ROLLBACK')


def stored_settings(cache: DjangoCache) -> dict[str, Any]:
    """Return what the first shard has in its table of settings."""
    with closing(sqlite3.connect(f'{cache.directory}/000/cache.db')) as con:
        return dict(con.execute('SELECT key, value FROM Settings'))


def open_files(directory: str) -> list[str]:
    """Return the paths of the files below `directory` that this process has open."""
    paths = []
    for descriptor in os.listdir('/proc/self/fd'):
        try:
            paths.append(os.readlink(f'/proc/self/fd/{descriptor}'))
        except FileNotFoundError:
            pass
    return [path for path in paths if path.startswith(directory)]


# --- settings ------------------------------------------------------------------------------------


@pytest.mark.parametrize('backend', ['diskcache.DjangoCache', 'diskcache.djangocache.DjangoCache'])
def test_the_backend_has_two_names(configure: Configure, backend: str) -> None:
    assert type(configure(BACKEND=backend)) is DjangoCache


def test_the_location_is_the_directory_of_the_shards(cache: DjangoCache, directory: str) -> None:
    assert cache.directory == directory
    assert sorted(os.listdir(directory)) == ['000', '001']


def test_the_location_may_be_a_path(configure: Configure, directory: str) -> None:
    assert configure(LOCATION=Path(directory)).directory == directory


def test_variables_in_the_location_are_expanded(
    configure: Configure, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv('CACHE_ROOT', str(tmp_path))
    assert configure(LOCATION='$CACHE_ROOT/site').directory == str(tmp_path / 'site')


def test_a_relative_location_stays_where_it_was(
    configure: Configure, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    cache = configure(LOCATION='site')
    cache.set('key', 1)
    monkeypatch.chdir('/')
    cache.close()
    assert cache.get('key') == 1


@pytest.mark.parametrize(('params', 'count'), [({}, 8), ({'SHARDS': 3}, 3)])
def test_shards_is_their_number(directory: str, params: dict, count: int) -> None:
    DjangoCache(directory, params).close(connections=True)
    assert sorted(os.listdir(directory)) == [f'{number:03d}' for number in range(count)]


def test_options_are_settings_of_the_cache(configure: Configure) -> None:
    cache = configure(SHARDS=4, OPTIONS={'size_limit': 2**20, 'eviction_policy': 'none'})
    settings = stored_settings(cache)
    assert (settings['size_limit'], settings['eviction_policy']) == (2**18, 'none')


def test_options_that_django_has_for_other_backends_are_not_stored(configure: Configure) -> None:
    cache = configure(OPTIONS={'MAX_ENTRIES': 5, 'CULL_FREQUENCY': 2})
    assert not {'MAX_ENTRIES', 'CULL_FREQUENCY'} & set(stored_settings(cache))


@pytest.mark.parametrize('disk', [JSONDisk, 'diskcache.JSONDisk'])
def test_the_disk_is_an_option(configure: Configure, disk: object) -> None:
    cache = configure(OPTIONS={'disk': disk, 'disk_compress_level': 6})
    cache.set('key', [1, 'two'])
    assert cache.get('key') == [1, 'two']
    assert type(cache.cache('part').disk) is JSONDisk
    with pytest.raises(TypeError):
        cache.set('key', {1, 2})


@pytest.mark.parametrize(
    ('params', 'error'),
    [
        ({'SHARDS': 0}, ValueError),
        ({'SHARDS': 'many'}, TypeError),
        ({'DATABASE_TIMEOUT': 'long'}, TypeError),
        ({'OPTIONS': {'cull': 5}}, TypeError),
        ({'OPTIONS': {'size_limit': []}}, TypeError),
        ({'OPTIONS': {'disk': 'no.such.Disk'}}, ImportError),
        ({'LOCATION': '/proc/version/cache'}, OSError),
    ],
    ids=repr,
)
def test_wrong_settings_are_an_error_at_once(
    configure: Configure, params: dict, error: type[Exception]
) -> None:
    with pytest.raises(error):
        configure(**params)


# --- keys ----------------------------------------------------------------------------------------


def test_keys_have_the_prefix_and_the_version(configure: Configure) -> None:
    cache = configure(KEY_PREFIX='site', VERSION=7)
    cache.set('first', 1)
    cache.set('second', 2, version=8)
    assert sorted(cache._cache) == ['site:7:first', 'site:8:second']


def exchange(other: str) -> str:
    """Return a script that stores with a DjangoCache and answers what it finds of the other's."""
    return f"""
        from diskcache.djangocache import DjangoCache
        cache = DjangoCache(directory, {{'KEY_PREFIX': 'site', 'TIMEOUT': 1000}})
        cache.set(own, ['value', own])
        cache.set(own, LARGE, version=2, tag='tag')
        result = [cache.get('{other}'), cache.get('{other}', version=2, tag=True)]
        cache.close()
        result
    """


def test_directories_are_exchanged_with_the_original(
    original: Interpreter, other: Interpreter, directory: str
) -> None:
    arguments = {'directory': directory, 'LARGE': LARGE}
    original.run(exchange('ours'), own='theirs', **arguments)
    found = other.run(exchange('theirs'), own='ours', **arguments)
    assert found == [['value', 'theirs'], (LARGE, 'tag')]
    found = original.run(exchange('ours'), own='theirs', **arguments)
    assert found == [['value', 'ours'], (LARGE, 'tag')]


METHODS_WITH_KEY: list[tuple[str, tuple]] = [
    ('add', (1,)),
    ('get', ()),
    ('set', (1,)),
    ('touch', ()),
    ('pop', ()),
    ('has_key', ()),
    ('incr', (1, None, 0)),
    ('decr', (1, None, 0)),
    ('incr_version', ()),
    ('decr_version', ()),
    ('get_or_set', (1,)),
    ('read', ()),
    ('delete', ()),
]


def test_the_warnings_are_those_of_django(cache: DjangoCache) -> None:
    keys = ['', 'key', 'x' * 250, 'x' * 251, '\u2028', '\U0001f600', *map(chr, range(0x300))]
    for key in [*keys, *(key * 251 for key in keys), *(f'a{key}b' for key in keys)]:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter('always')
            cache.validate_key(key)
        assert [str(each.message) for each in caught] == list(memcache_key_warnings(key))


@pytest.mark.parametrize(('method', 'arguments'), METHODS_WITH_KEY, ids=lambda value: str(value))
def test_a_key_that_memcached_refuses_is_warned_of_and_taken(
    cache: DjangoCache, method: str, arguments: tuple
) -> None:
    cache._cache.set(':1:with spaces', 5)
    with pytest.warns(CacheKeyWarning):
        getattr(cache, method)('with spaces', *arguments)


@pytest.mark.parametrize('method', ['get_many', 'set_many', 'touch_many', 'delete_many'])
def test_so_it_is_among_many_keys(cache: DjangoCache, method: str) -> None:
    with pytest.warns(CacheKeyWarning):
        getattr(cache, method)({'good': 1, 'x' * 251: 2})


def test_a_key_function_may_make_other_keys_than_str(configure: Configure) -> None:
    cache = configure(KEY_FUNCTION=tuple_key, KEY_PREFIX='site')
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        cache.set('key', 5)
        assert cache.set_many({'a': 1, 'b': 2}) == []
        assert cache.get_many(['key', 'a', 'b', 'c']) == {'key': 5, 'a': 1, 'b': 2}
    assert ('site', 1, 'key') in list(cache._cache)


# --- timeouts ------------------------------------------------------------------------------------

STORE: dict[str, Callable[..., Any]] = {
    'set': lambda cache, **kwargs: cache.set('key', 1, **kwargs),
    'add': lambda cache, **kwargs: cache.add('key', 1, **kwargs),
    'set_many': lambda cache, **kwargs: cache.set_many({'key': 1}, **kwargs),
    'get_or_set': lambda cache, **kwargs: cache.get_or_set('key', 1, **kwargs),
    'touch': lambda cache, **kwargs: (cache.set('key', 1, 5), cache.touch('key', **kwargs)),
    'touch_many': lambda cache, **kwargs: (
        cache.set('key', 1, 5),
        cache.touch_many(['key'], **kwargs),
    ),
}
store = pytest.mark.parametrize('store', STORE.values(), ids=STORE)


@store
@pytest.mark.parametrize(
    ('default', 'given', 'expected'),
    [
        ({}, {}, 300),
        ({'TIMEOUT': 20}, {}, 20),
        ({'TIMEOUT': None}, {}, None),
        ({'TIMEOUT': 20}, {'timeout': None}, None),
        ({'TIMEOUT': None}, {'timeout': 0.5}, 0.5),
    ],
)
def test_an_item_is_kept_for_its_timeout(
    configure: Configure,
    clock: Clock,
    store: Callable[..., Any],
    default: dict,
    given: dict,
    expected: float | None,
) -> None:
    cache = configure(**default)
    store(cache, **given)
    expire_time = None if expected is None else clock.now + expected
    assert cache.get('key', expire_time=True) == (1, expire_time)
    clock.tick(0.25)
    assert 'key' in cache
    clock.tick(1e9)
    assert ('key' in cache) is (expected is None)


@store
@pytest.mark.parametrize(
    ('default', 'given'), [(300, {'timeout': 0}), (None, {'timeout': -5}), (0, {}), (-1, {})]
)
def test_without_any_time_an_item_is_not_kept(
    configure: Configure, clock: Clock, store: Callable[..., Any], default: object, given: dict
) -> None:
    cache = configure(TIMEOUT=default)
    store(cache, **given)
    clock.tick(-0.5)  # Clocks are set right now and then.
    assert 'key' not in cache
    assert cache.get('key', 'none') == 'none'


def test_a_value_stored_without_any_time_replaces_the_old_one(cache: DjangoCache) -> None:
    cache.set('key', 'old')
    cache.set('key', 'new', timeout=0)
    assert cache.get('key') is None


# --- numbers -------------------------------------------------------------------------------------


@pytest.mark.parametrize('method', ['incr', 'decr', 'incr_version', 'decr_version'])
def test_a_missing_key_is_a_value_error(cache: DjangoCache, method: str) -> None:
    cache.set('expired', 5, timeout=-1)
    for key in ('missing', 'expired'):
        with pytest.raises(ValueError, match=key):
            getattr(cache, method)(key)


def test_a_missing_key_can_count_from_a_default(cache: DjangoCache) -> None:
    assert cache.incr('up', default=10) == 11
    assert cache.decr('down', 5, default=0) == -5
    assert cache.get_many(['up', 'down']) == {'up': 11, 'down': -5}


def test_counting_keeps_the_timeout(cache: DjangoCache, clock: Clock) -> None:
    cache.set('key', 5, timeout=100)
    clock.tick(50)
    assert cache.incr('key', 3) == 8
    assert cache.get('key', expire_time=True) == (8, clock.now + 50)


def test_counting_has_versions(cache: DjangoCache) -> None:
    cache.set_many({'key': 5}, version=2)
    assert cache.incr('key', version=2) == 6
    assert cache.decr('key', 4, version=2) == 2
    assert 'key' not in cache


# --- versions ------------------------------------------------------------------------------------


@pytest.mark.parametrize('timeout', [None, 100])
@pytest.mark.parametrize('options', [{}, {'disk': JSONDisk}])
@pytest.mark.parametrize(
    'value', [None, 5, [1, 2], 'x' * 100_000], ids=['None', 'int', 'list', 'large']
)
def test_another_version_has_the_same_value_tag_and_time(
    configure: Configure, clock: Clock, value: object, options: dict, timeout: float | None
) -> None:
    cache = configure(OPTIONS=options)
    cache.set('key', value, timeout, tag='tag')
    before = cache.get('key', expire_time=True, tag=True)
    clock.tick(30)
    assert cache.incr_version('key') == 2
    assert 'key' not in cache
    assert cache.get('key', version=2, expire_time=True, tag=True) == before
    assert cache.decr_version('key', version=2) == 1
    assert cache.get('key', expire_time=True, tag=True) == before


@pytest.mark.parametrize('options', [{}, {'disk': JSONDisk}])
@pytest.mark.parametrize('content', [b'', b'short', LARGE], ids=len)
def test_another_version_of_a_file_is_a_file(
    configure: Configure, content: bytes, options: dict
) -> None:
    cache = configure(OPTIONS=options)
    cache.set('key', io.BytesIO(content), read=True)
    assert cache.incr_version('key', 10) == 11
    with cache.read('key', version=11) as file:
        assert file.read() == content
    assert cache._cache.check() == []


def test_another_version_replaces_what_has_it(cache: DjangoCache) -> None:
    cache.set('key', 'one')
    cache.set('key', 'two', version=2)
    cache.incr_version('key')
    assert [cache.get('key', version=version) for version in (1, 2)] == [None, 'one']


def test_the_same_version_again_changes_nothing(cache: DjangoCache) -> None:
    cache.set('key', 'value', tag='tag')
    assert cache.incr_version('key', 0) == 1
    assert cache.get('key', tag=True) == ('value', 'tag')


def test_the_new_version_of_an_item_is_not_kept_without_the_old_one_gone(
    cache: DjangoCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache.set('key', 'value')

    def fail(*_: object, **__: object) -> None:
        raise InterruptedError

    monkeypatch.setattr(cache._cache, 'delete', fail)
    with pytest.raises(InterruptedError):
        cache.incr_version('key')
    assert cache.get('key') == 'value'
    assert cache.get('key', version=2) is None


# --- many keys -----------------------------------------------------------------------------------


def test_many_are_stored_found_and_removed(cache: DjangoCache) -> None:
    data = {f'key-{number}': number for number in range(100)}
    assert cache.set_many(data, version=2, tag='tag') == []
    assert cache.get_many([*data, 'missing'], version=2) == data
    assert cache.get('key-5', version=2, tag=True) == (5, 'tag')
    cache.delete_many(iter([*data, 'missing'][1:]), version=2)
    assert cache.get_many(iter(data), version=2) == {'key-0': 0}


def test_none_among_many_is_a_value(cache: DjangoCache) -> None:
    cache.set_many({'key': None})
    assert cache.get_many(['key', 'missing']) == {'key': None}


def test_many_are_stored_in_one_transaction(single: DjangoCache) -> None:
    single.set('first', 'old')
    with pytest.raises(TypeError):
        single.set_many({'first': 'new', 'second': LARGE, 'third': Unpicklable()})
    assert single.get_many(['first', 'second']) == {'first': 'old'}
    assert single._cache.check() == []


def test_only_those_that_are_missing_are_added(cache: DjangoCache, clock: Clock) -> None:
    cache.set('there', 'old', version=2)
    data = {'there': 'new', 'missing': 'new'}
    assert cache.add_many(data, 60, version=2, tag='tag') == ['there']
    assert cache.get_many(data, version=2) == {'there': 'old', 'missing': 'new'}
    details = cache.get('missing', version=2, expire_time=True, tag=True)
    assert details == ('new', clock.now + 60, 'tag')
    assert cache.add_many({'other': 1}) == []
    assert cache.get('other', expire_time=True) == (1, clock.now + cache.default_timeout)


def test_keys_of_many_that_are_not_there_cannot_be_touched(
    cache: DjangoCache, clock: Clock
) -> None:
    cache.set_many({'there': 1, 'too': 2, 'expired': 3}, 5, version=2)
    cache.touch('expired', -1, version=2)
    keys = iter(['missing', 'there', 'expired', 'too', 'missing'])
    assert cache.touch_many(keys, 60, version=2) == ['missing', 'expired', 'missing']
    assert cache.get('there', version=2, expire_time=True) == (1, clock.now + 60)
    assert cache.get('too', version=2, expire_time=True) == (2, clock.now + 60)
    assert cache.touch_many(['there'], version=1) == ['there']
    assert cache.touch_many([]) == []


def test_keys_of_many_are_validated(cache: DjangoCache) -> None:
    for method in (cache.set_many, cache.add_many):
        with pytest.warns(CacheKeyWarning):
            assert method({'with space': 1}) == []
        cache.clear()


def test_keys_whose_values_are_too_large_are_returned(configure: Configure) -> None:
    cache = configure(SHARDS=1, OPTIONS={'size_limit': 2**17})
    assert cache.set_many({'small': b'', 'large': LARGE * 10}) == ['large']
    assert cache.get_many(['small', 'large']) == {'small': b''}


def test_keys_that_fail_among_very_many_are_returned(configure: Configure) -> None:
    cache = configure(SHARDS=1, OPTIONS={'size_limit': 2**20})
    data = {str(number): b'' for number in range(2500)} | {'2000': LARGE * 20}
    assert cache.set_many(data) == ['2000']
    assert cache.add_many({**data, 'new': b''}) == list(data)


def test_keys_of_a_locked_shard_are_returned(configure: Configure) -> None:
    cache = configure()
    data = {f'key-{number}': number for number in range(20)}
    with shard_locked(cache):
        failed = cache.set_many(data, retry=False)
    stored = cache.get_many(data)
    assert failed
    assert stored
    assert sorted([*failed, *stored]) == sorted(data)
    cache.set_many(data)
    with shard_locked(cache):
        assert sorted(cache.touch_many(data, retry=False)) == sorted(failed)
    with shard_locked(cache):
        cache.delete_many(data, retry=False)
    assert sorted(cache.get_many(data)) == sorted(failed)


# --- locks ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ('method', 'arguments', 'expected'),
    [
        ('set', ('key', 1), False),
        ('add', ('new', 1), False),
        ('touch', ('key',), False),
        ('delete', ('key',), False),
        ('incr', ('key',), None),
        ('decr', ('key',), None),
        ('pop', ('key', 'default'), 'default'),
        ('get', ('key',), 5),
    ],
)
def test_a_locked_shard_is_an_answer_where_retry_is_false(
    single: DjangoCache, method: str, arguments: tuple, expected: object
) -> None:
    single.set('key', 5)
    with shard_locked(single):
        assert getattr(single, method)(*arguments, retry=False) == expected
    assert single.get('key') == 5


@pytest.mark.parametrize(
    ('method', 'arguments', 'expected'),
    [
        ('set', ('key', 1), True),
        ('add', ('new', 1), True),
        ('touch', ('key',), True),
        ('delete', ('key',), True),
        ('incr', ('key',), 6),
        ('decr', ('key',), 4),
        ('pop', ('key',), 5),
        ('set_many', ({'key': 1},), []),
        ('add_many', ({'new': 1},), []),
        ('touch_many', (['key', 'new'],), ['new']),
        ('delete_many', (['key'],), None),
        ('incr_version', ('key',), 2),
        ('get_or_set', ('new', 1), 1),
        ('evict', ('tag',), 1),
        ('expire', (), 1),
        ('cull', (), 1),
        ('clear', (), 2),
        ('stats', (), (0, 0)),
        ('create_tag_index', (), None),
        ('drop_tag_index', (), None),
    ],
)
def test_otherwise_the_lock_is_waited_for(
    single: DjangoCache, method: str, arguments: tuple, expected: object
) -> None:
    single.set('key', 5, tag='tag')
    single.set('expired', 0, timeout=-1)
    with ExitStack() as stack:
        stack.enter_context(shard_locked(single))
        release = threading.Timer(0.05, stack.close)  # Longer than DATABASE_TIMEOUT.
        release.start()
        assert getattr(single, method)(*arguments) == expected
        release.join()


# --- what it adds to Django's interface ----------------------------------------------------------


def test_a_value_read_as_a_file_has_a_path(cache: DjangoCache, directory: str) -> None:
    cache.set('key', io.BytesIO(b'content'), read=True, version=2)
    with cache.read('key', version=2) as file:
        assert file.name.startswith(f'{directory}/')
        assert Path(file.name).read_bytes() == file.read() == b'content'
    with cache.get('key', version=2, read=True) as file:
        assert file.read() == b'content'


def test_a_value_can_be_mapped(cache: DjangoCache) -> None:
    cache.set('key', LARGE, version=2)
    view = cache.read('key', version=2, mmap=True)
    cache.delete('key', version=2)
    assert type(view) is memoryview
    assert view == LARGE
    cache.set('key', 'text')
    with pytest.raises(TypeError, match='key'):
        cache.read('key', mmap=True)


def test_reading_a_missing_key_is_a_key_error(cache: DjangoCache) -> None:
    with pytest.raises(KeyError):
        cache.read('key')
    with pytest.raises(KeyError):
        cache.read('key', mmap=True)


def test_pop_removes_a_version(cache: DjangoCache, clock: Clock) -> None:
    cache.set('key', 1)
    cache.set('key', 2, 50, version=2, tag='tag')
    assert cache.pop('key', version=2, expire_time=True, tag=True) == (2, clock.now + 50, 'tag')
    assert cache.pop('key', 'none', version=2) == 'none'
    assert cache.pop('key') == 1


def test_evict_removes_a_tag_in_all_versions(cache: DjangoCache) -> None:
    cache.set('key', 1, tag='tag')
    cache.add('key', 2, version=2, tag='tag')
    cache.set('key', 3, version=3)
    assert cache.evict('tag') == 2
    assert [cache.get('key', version=version) for version in (1, 2, 3)] == [None, None, 3]


def test_expire_removes_what_has_expired(cache: DjangoCache, clock: Clock) -> None:
    cache.set_many({'a': 1, 'b': 2}, timeout=10)
    cache.set('c', 3)
    clock.tick(20)
    assert cache.expire() == 2


def test_cull_and_clear_say_how_many_they_removed(cache: DjangoCache) -> None:
    cache.set_many({'a': 1, 'b': 2, 'c': 3})
    assert cache.cull() == 0
    assert cache.clear() == 3


def test_stats_are_counted_when_enabled(cache: DjangoCache) -> None:
    cache.stats(enable=True)
    cache.set('key', 1)
    cache.get('key')
    cache.get('missing')
    assert cache.stats(enable=False, reset=True) == (1, 1)
    assert cache.stats() == (0, 0)


def test_the_tag_index_comes_and_goes(cache: DjangoCache) -> None:
    cache.create_tag_index()
    assert stored_settings(cache)['tag_index'] == 1
    cache.drop_tag_index()
    assert stored_settings(cache)['tag_index'] == 0


def test_named_parts_are_below_the_directory(cache: DjangoCache, directory: str) -> None:
    part, deque, index = cache.cache('part'), cache.deque('queue', maxlen=2), cache.index('map')
    part['key'] = 1
    deque.extend([1, 2, 3])
    index['key'] = 2
    assert (part['key'], list(deque), dict(index)) == (1, [2, 3], {'key': 2})
    assert part.directory == f'{directory}/cache/part'
    assert deque.directory == f'{directory}/deque/queue'
    assert index.directory == f'{directory}/index/map'
    assert cache.clear() == 0
    assert 'key' in part


# --- requests, threads and processes -------------------------------------------------------------


def test_the_end_of_a_request_closes_nothing(cache: DjangoCache, directory: str) -> None:
    cache.set('key', 1)
    before = sorted(open_files(directory))
    request_finished.send(sender=None)
    assert sorted(open_files(directory)) == before != []
    assert cache.get('key') == 1
    assert sorted(open_files(directory)) == before


def test_connections_are_closed_if_asked_for(cache: DjangoCache, directory: str) -> None:
    cache.set('key', 1)
    cache.close(connections=True)
    assert open_files(directory) == []
    assert cache.get('key') == 1


def test_alike_caches_of_all_threads_share_their_connections(
    cache: DjangoCache, directory: str
) -> None:
    cache.set('key', 1)
    before = len(open_files(directory))
    for _ in range(5):
        assert in_thread(lambda: (caches['default'].get('key'), caches['same'].get('key'))) == (
            1,
            1,
        )
    assert in_thread(lambda: caches['default']) is not cache
    assert len(open_files(directory)) == before


def test_caches_with_different_options_do_not_share(configure: Configure) -> None:
    configure(OPTIONS={'eviction_policy': 'none'})
    first = caches['default']._cache
    second = configure(OPTIONS={'eviction_policy': 'least-recently-used'})._cache
    assert (first.eviction_policy, second.eviction_policy) == ('none', 'least-recently-used')


@pytest.mark.parametrize('replaced', [False, True])
def test_a_directory_that_was_removed_is_made_again_for_the_next_request(
    cache: DjangoCache, directory: str, other: Interpreter, replaced: bool
) -> None:
    cache.set('key', 'old')
    shutil.rmtree(directory)
    if replaced:
        other.run('diskcache.FanoutCache(directory, 2).set(":1:key", "new")', directory=directory)
    cache.close()
    assert cache.get('key') == ('new' if replaced else None)
    cache.set('other', 1)
    script = 'diskcache.FanoutCache(directory, 2).get(":1:other")'
    assert other.run(script, directory=directory) == 1


def test_caches_that_a_test_configured_are_let_go(directory: str) -> None:
    params = {'BACKEND': 'diskcache.DjangoCache', 'LOCATION': directory}
    with override_settings(CACHES={'default': params}):
        caches['default'].set('key', 1)
        assert open_files(directory) != []
    assert open_files(directory) == []


# --- memoize -------------------------------------------------------------------------------------


def test_a_result_is_found_under_the_key_of_its_call(cache: DjangoCache, clock: Clock) -> None:
    calls = []

    @cache.memoize(name='function', timeout=50, version=3, tag='tag')
    def function(*args: Any, **kwargs: Any) -> int:
        calls.append((args, kwargs))
        return len(calls)

    assert [function(1, a=2), function(1, a=2), function(2, a=1)] == [1, 1, 2]
    key = function.__cache_key__(1, a=2)
    assert key.startswith('function:')
    found = cache.get(key, version=3, expire_time=True, tag=True)
    assert found == (1, clock.now + 50, 'tag')
    assert key not in cache


def test_a_memoized_key_is_one_that_memcached_takes(cache: DjangoCache) -> None:
    @cache.memoize(name='function')
    def function(text: str) -> int:
        return len(text)

    with warnings.catch_warnings():
        warnings.simplefilter('error')
        assert function('a b\n' * 1000) == 4000


def test_arguments_that_only_look_alike_differ(cache: DjangoCache) -> None:
    @cache.memoize()
    def function(argument: SameRepr) -> int:
        return argument.number

    assert [function(SameRepr(1)), function(SameRepr(2))] == [1, 2]


def memoized_key(directory: str) -> str:
    from diskcache import DjangoCache

    @DjangoCache(directory, {}).memoize(name='function')
    def function(*args: object, **kwargs: object) -> None:
        pass

    return function.__cache_key__(1, 'two', b'three', key=(4, None))


def test_a_memoized_key_is_the_same_in_all_processes(
    cache: DjangoCache, other: Interpreter, directory: str
) -> None:
    assert other.run(memoized_key, directory=directory) == memoized_key(directory)


@pytest.mark.parametrize(
    ('default', 'timeout'), [(300, {'timeout': 0}), (300, {'timeout': -1}), (0, {})]
)
def test_results_are_not_stored_for_no_time(
    configure: Configure, default: int, timeout: dict
) -> None:
    cache = configure(TIMEOUT=default)

    @cache.memoize(**timeout)
    def function() -> int:
        return 5

    assert function() == 5
    assert len(cache._cache) == 0


@pytest.mark.parametrize('timeout', [{}, {'timeout': None}, {'timeout': 5}])
def test_results_of_every_kind_are_stored(cache: DjangoCache, timeout: dict) -> None:
    calls = []

    @cache.memoize(**timeout)
    def function() -> None:
        calls.append(1)

    assert function() is function() is None
    assert calls == [1]


@pytest.mark.parametrize(
    ('options', 'same'),
    [
        ({}, False),
        ({'signature': True}, True),
        ({'ignore': {'b', 1}}, True),
    ],
)
def test_memoize_has_the_options_of_a_cache(cache: DjangoCache, options: dict, same: bool) -> None:
    @cache.memoize(**options)
    def function(a: int, b: int) -> None:
        pass

    key = function.__cache_key__
    assert (key(1, 2) == key(1, b=2)) is same


def test_memoize_tells_types_apart_if_asked_to(cache: DjangoCache) -> None:
    @cache.memoize(typed=True)
    def function(a: float) -> None:
        pass

    assert function.__cache_key__(1) != function.__cache_key__(1.0)


def test_memoize_wants_parentheses(cache: DjangoCache) -> None:
    with pytest.raises(TypeError):
        cache.memoize(len)


def test_memoize_works_with_any_disk(configure: Configure) -> None:
    cache = configure(OPTIONS={'disk': JSONDisk})

    @cache.memoize()
    def function(a: int) -> list[int]:
        return [a]

    assert function(5) == function(5) == [5]
    assert cache.get(function.__cache_key__(5)) == [5]


# --- asynchronous calls --------------------------------------------------------------------------

# What does not touch the disk, or gives objects that have no asynchronous methods.
IMMEDIATE = {
    *('get_backend_timeout', 'make_and_validate_key', 'make_key', 'validate_key'),
    *('cache', 'deque', 'directory', 'index', 'memoize'),
}
SYNCHRONOUS = [
    name
    for name in dir(DjangoCache)
    if not name.startswith('_') and name not in IMMEDIATE and not name.startswith('a')
] + ['add']


@pytest.mark.parametrize('name', SYNCHRONOUS)
def test_every_method_has_an_asynchronous_twin(name: str) -> None:
    method, twin = getattr(DjangoCache, name), getattr(DjangoCache, f'a{name}')
    assert inspect.iscoroutinefunction(twin)
    assert twin.__name__ == f'a{name}'
    assert inspect.getdoc(twin)
    assert inspect.signature(twin).parameters == inspect.signature(method).parameters


def test_the_twins_take_all_that_the_methods_do(cache: DjangoCache, clock: Clock) -> None:
    async def use() -> None:
        assert await cache.aset('key', io.BytesIO(b'file'), 50, read=True, tag='tag', retry=True)
        with await cache.aread('key') as file:
            assert file.read() == b'file'
        assert await cache.aread('key', mmap=True) == b'file'
        expected = (b'file', clock.now + 50, 'tag')
        assert await cache.aget('key', expire_time=True, tag=True, retry=True) == expected
        assert not await cache.aadd('key', 1, tag='other', retry=True)
        assert await cache.atouch('key', 80, retry=True)
        assert await cache.aincr_version('key') == 2
        assert await cache.adecr_version('key', version=2) == 1
        assert await cache.ahas_key('key')
        assert await cache.apop('key', expire_time=True) == (b'file', clock.now + 80)
        assert await cache.aset_many({'a': 1, 'b': 2}, tag='tag', retry=True) == []
        assert await cache.aadd_many({'a': 3}, retry=True) == ['a']
        assert await cache.aget_many(['a', 'b', 'c']) == {'a': 1, 'b': 2}
        assert await cache.atouch_many(['a', 'c'], 50, retry=True) == ['c']
        assert await cache.aincr('a', default=5, retry=True) == 2
        assert await cache.adecr('c', default=5) == 4
        assert await cache.aget_or_set('d', lambda: 7) == 7
        assert await cache.aevict('tag') == 2
        await cache.adelete_many(['c'], retry=True)
        assert await cache.adelete('d', retry=True)
        assert await cache.aclear() == await cache.aexpire() == await cache.acull() == 0
        await cache.aclose()

    asyncio.run(use())


def test_the_twin_of_a_missing_key_raises_the_same(cache: DjangoCache) -> None:
    with pytest.raises(ValueError, match='missing'):
        async_to_sync(cache.aincr)('missing')
    with pytest.raises(KeyError):
        async_to_sync(cache.aread)('missing')


def test_a_twin_that_waits_for_a_lock_does_not_stop_the_event_loop(single: DjangoCache) -> None:
    async def use() -> Any:
        with shard_locked(single):
            storing = asyncio.create_task(single.aset('key', 5))
            finished, _ = await asyncio.wait([storing], timeout=0.05)
            assert not finished  # And the loop has come here all the same, to give the lock back.
        assert await storing
        return await single.aget('key')

    assert asyncio.run(use()) == 5


def test_a_twin_calls_what_a_subclass_overrides(directory: str) -> None:
    class Doubling(DjangoCache):
        """A cache with a get of its own."""

        def get(self, key: str, default: Any = None, *args: Any, **kwargs: Any) -> Any:
            return super().get(key, default, *args, **kwargs) * 2

    cache = Doubling(directory, {})
    cache.set('key', 21)
    assert async_to_sync(cache.aget)('key') == 42
    cache.close(connections=True)


def test_many_keys_go_to_the_thread_once(cache: DjangoCache) -> None:
    for name in ('aget_many', 'aset_many', 'adelete_many', 'aincr', 'aincr_version'):
        assert getattr(DjangoCache, name) is not getattr(BaseCache, name)


def test_the_package_has_the_class() -> None:
    assert diskcache.DjangoCache is DjangoCache


def test_lookups_are_misses_when_the_database_cannot_be_read(
    configure: Configure, caplog: pytest.LogCaptureFixture
) -> None:
    cache = configure(SHARDS=2)
    cache.set('key', 1)
    for shard in cache._cache._shards:
        with closing(sqlite3.connect(f'{shard.directory}/cache.db')) as con:
            con.execute('ALTER TABLE Cache RENAME TO Moved')
    assert cache.get('key', 'default') == 'default'
    assert cache.get_many(['key', 'other']) == {}
    assert 'no such table' in caplog.text
    with pytest.raises(sqlite3.OperationalError):
        cache.set('key', 1)


def test_lookups_are_misses_in_the_requests_after_the_database_cannot_be_opened(
    configure: Configure, caplog: pytest.LogCaptureFixture
) -> None:
    """Each request looks whether the directory was replaced: what it cannot open is no error."""
    cache = configure(SHARDS=2)
    cache.set('key', 1)
    for shard in cache._cache._shards:
        database = Path(shard.directory, 'cache.db')
        database.rename(database.with_suffix('.away'))
        database.mkdir()
    for _ in range(2):
        cache.close()
        assert cache.get('key', 'default') == 'default'
        assert cache.get('key', 'default', expire_time=True, tag=True) == ('default', None, None)
        assert cache.get_many(['key', 'other']) == {}
        with pytest.raises(sqlite3.OperationalError):
            cache.set('key', 1)
    assert 'unable to open' in caplog.text
    for shard in cache._cache._shards:
        database = Path(shard.directory, 'cache.db')
        database.rmdir()
        database.with_suffix('.away').rename(database)
    cache.close()
    cache.set('other', 2)
    assert cache.get_many(['key', 'other']) == {'key': 1, 'other': 2}


# What sites configure, and is probably not meant.


def configured(location: Any, params: dict[str, Any]) -> list[str]:
    """Return what making a DjangoCache warns of."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter('always')
        DjangoCache(location, params).close(connections=True)
    return [str(warning.message) for warning in caught]


def test_a_site_without_location_is_told_where_its_cache_is(
    directory: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    os.mkdir(directory)
    monkeypatch.chdir(directory)
    diskcache.cautions._warned.clear()
    (text,) = configured('', {})
    assert 'LOCATION' in text
    assert directory in text
    assert configured('', {}) == []


def test_a_location_that_is_nearly_a_url_is_told_of(
    directory: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    os.mkdir(directory)
    monkeypatch.chdir(directory)
    (text,) = configured(' redis://:secret@localhost', {})
    assert 'one URL' in text
    assert 'secret' not in text


def test_a_setting_beside_options_is_told_of(directory: str) -> None:
    diskcache.cautions._warned.clear()
    (text,) = configured(directory, {'SIZE_LIMIT': 1000})
    assert "'size_limit' in OPTIONS" in text


def test_a_misspelt_option_is_told_of_once(directory: str) -> None:
    (text,) = configured(directory, {'OPTIONS': {'size_limt': 1000}})
    assert 'size_limit' in text


@pytest.mark.parametrize(
    ('options', 'match'),
    [({'shards': 4}, 'SHARDS'), ({'timeout': 1}, 'DATABASE_TIMEOUT'), ([], 'dict'), (5, 'dict')],
)
def test_options_that_cannot_be_are_improperly_configured(
    directory: str, options: Any, match: str
) -> None:
    with pytest.raises(ImproperlyConfigured, match=match):
        DjangoCache(directory, {'OPTIONS': options})
