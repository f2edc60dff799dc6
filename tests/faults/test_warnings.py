"""What is probably not what was meant: one warning, of the user's line, and then it is done.

A program that runs on the original runs here. All of these are `CacheWarning`, so that a program
can filter them.
"""

from __future__ import annotations

import functools as ft
import gc
import io
import os
import sqlite3
import threading
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from interpreter import Interpreter

import diskcache
from diskcache import Cache, CacheWarning, FanoutCache


def warned(function: Callable[..., Any], *args: Any, **kwargs: Any) -> list[str]:
    """Return what a call warns of, having seen that it is of this file."""
    gc.collect()  # what earlier tests have left warns before, and not meanwhile
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter('always')
        result = function(*args, **kwargs)
        if hasattr(result, 'close'):
            result.close()
    assert all(each.category is CacheWarning for each in caught), caught
    assert all(each.filename == __file__ for each in caught), caught
    return [str(each.message) for each in caught]


@pytest.mark.parametrize('kind', ['Cache', 'FanoutCache'])
def test_stored_settings_of_the_names_of_methods_are_ignored(
    original: Interpreter, directory: str, kind: str
) -> None:
    """The original stores any keyword as a setting, and here are names that it has not got."""
    script = """
    getattr(diskcache, kind)(directory, keys=1, mode='r', on_error=2, read_only=True, own=4,
                             memory_limit=5, get_many=6).close()
    """
    original.run(script, directory=directory, kind=kind)
    cls = getattr(diskcache, kind)
    (text,) = warned(cls, directory)
    for name in ('keys', 'mode', 'on_error', 'read_only', 'memory_limit', 'get_many'):
        assert name in text
    assert directory in text
    assert '000' not in text.partition(':')[0]
    assert warned(cls, directory) == []
    with cls(directory) as cache:
        one = cache if kind == 'Cache' else cache._shards[0]
        assert one.own == 4
        assert one.memory_limit > 5
        assert cache.get_many(['key']) == {}
        assert one._setting('mode') == 'r'


def test_such_a_setting_is_ignored_when_it_is_given(directory: str) -> None:
    (text,) = warned(Cache, directory, keys=5)
    assert "'keys'" in text
    with Cache(directory) as cache:
        assert ('keys',) not in cache._sql('SELECT key FROM Settings').fetchall()
    for cls in (Cache, FanoutCache):
        with pytest.raises(TypeError, match='get'):
            cls(directory, get=5)


@pytest.mark.parametrize(
    ('settings', 'meant'),
    [
        ({'max_size': 5}, 'size_limit'),
        ({'compress_level': 6, 'disk': diskcache.JSONDisk}, 'disk_compress_level'),
        ({'size_limt': 5}, 'size_limit'),
        ({'size_limit': -5}, 'keeps nothing'),
    ],
)
def test_a_setting_that_is_probably_meant_otherwise(
    directory: str, settings: dict, meant: str
) -> None:
    (text,) = warned(Cache, directory, **settings)
    assert meant in text


def test_memoize_with_seconds_for_a_name(cache: Cache) -> None:
    (text,) = warned(lambda: cache.memoize(60))
    assert 'expire=60' in text


def test_two_lambdas_of_one_scope(cache: Cache) -> None:
    def scope() -> list:
        one = lambda: 1  # noqa: E731
        two = lambda: 2  # noqa: E731
        return [cache.memoize()(each) for each in (one, one, two, two)]

    (text,) = warned(scope)
    assert 'name=' in text
    assert warned(scope) == []


def test_memoize_refuses_what_would_fail_later(cache: Cache) -> None:
    with pytest.raises(TypeError, match='number of seconds'):
        cache.memoize(expire='1h')
    with pytest.raises(TypeError, match='no name') as caught:
        cache.memoize()(ft.partial(int, base=2))
    assert 'pass name=' in str(caught.value)
    assert cache.memoize('name')(ft.partial(int, base=2))('11') == 3


def test_a_deque_of_the_letters_of_a_path(directory: str) -> None:
    (text,) = warned(diskcache.Deque, directory)
    assert 'directory=' in text
    assert warned(diskcache.Deque, 'abc') == []


@pytest.mark.parametrize('recipe', ['Lock', 'RLock', 'BoundedSemaphore'])
def test_a_lock_of_a_path_is_an_error_at_once(directory: str, recipe: str) -> None:
    with pytest.raises(TypeError, match='str'):
        getattr(diskcache, recipe)(directory, 'key')


def test_a_barrier_says_what_a_lock_factory_is(cache: Cache) -> None:
    with pytest.raises(TypeError, match=r'diskcache\.Lock'):
        diskcache.barrier(cache, threading.Lock)(len)


def test_a_disk_is_a_class(directory: str) -> None:
    with pytest.raises(ValueError, match='must subclass') as caught:
        Cache(directory, disk=diskcache.JSONDisk(directory))
    assert 'not an object' in str(caught.value.__cause__)


def test_a_directory_that_is_a_file(tmp_path: Path) -> None:
    path = tmp_path / 'file'
    path.write_text('')
    with pytest.raises(OSError, match='is not a directory'):
        Cache(path)


@pytest.mark.parametrize('kind', [Cache, FanoutCache])
def test_a_text_for_read(directory: str, kind: Callable[..., Any]) -> None:
    """The fourth argument is `read`; 0 and 1 stay good."""
    with kind(directory) as cache:
        (text,) = warned(cache.set, 'key', io.BytesIO(b'value'), 60, 'tag')
        assert 'tag' in text
        assert warned(cache.set, 'key', 1, 60, 0) == []
        assert warned(cache.set, 'key', io.BytesIO(b'value'), 60, 1) == []
        assert cache['key'] == b'value'


def test_a_value_larger_than_the_limit_is_logged_once(
    directory: str, caplog: pytest.LogCaptureFixture
) -> None:
    with Cache(directory, size_limit=10_000) as cache:
        for number in range(2):
            cache[number] = bytes(50_000)
        assert len(cache) == 0
    (record,) = caplog.records
    assert record.name == 'diskcache.eviction'
    assert directory in record.getMessage()
    assert 'size_limit' in record.getMessage()


@pytest.mark.parametrize('kind', [Cache, FanoutCache])
@pytest.mark.parametrize('method', ['get_many', 'delete_many'])
def test_many_keys_are_one_argument(directory: str, kind: Callable[..., Any], method: str) -> None:
    with kind(directory) as cache:
        cache['a'] = 1
        for keys in 'abc', b'abc':
            with pytest.raises(TypeError, match='keys must be an iterable of keys'):
                getattr(cache, method)(keys)
        with pytest.raises(TypeError, match='positional'):
            getattr(cache, method)(['a'], ['b'])
        assert getattr(cache, method)(['a'], retry=True) in ({'a': 1}, 1)


def test_what_other_caches_call_expire(directory: str) -> None:
    with Cache(directory) as cache, pytest.raises(TypeError, match="'expire' meant"):
        cache.set('key', 1, ttl=60)


def test_a_misspelt_setting_of_shards_is_told_of_once(directory: str) -> None:
    (text,) = warned(FanoutCache, directory, 8, size_limt=1000)
    assert 'size_limit' in text


def test_an_error_of_the_database_names_it(directory: str) -> None:
    with Cache(directory) as cache:
        cache._sql('DROP TABLE Cache')
        with pytest.raises(sqlite3.OperationalError, match='no such table') as raised:
            cache.get('key')
        assert f'{directory}/cache.db' in '\n'.join(raised.value.__notes__)
        with pytest.raises(sqlite3.OperationalError) as raised:
            cache.set('key', 1)
        assert f'{directory}/cache.db' in '\n'.join(raised.value.__notes__)


@pytest.mark.parametrize('table', ['Cache', 'Settings'])
def test_a_database_of_somebody_else_is_named(directory: str, table: str) -> None:
    os.mkdir(directory)
    con = sqlite3.connect(f'{directory}/cache.db')
    con.execute(f'CREATE TABLE {table} (id INTEGER PRIMARY KEY, name TEXT)')
    con.close()
    with pytest.raises(sqlite3.DatabaseError, match='is not a diskcache database') as raised:
        Cache(directory)
    assert directory in str(raised.value)


def test_a_file_that_is_no_database_is_named(directory: str) -> None:
    os.mkdir(directory)
    Path(directory, 'cache.db').write_bytes(b'no database at all ' * 500)
    with pytest.raises(sqlite3.DatabaseError, match='not a database') as raised:
        Cache(directory)
    assert f'{directory}/cache.db' in '\n'.join(raised.value.__notes__)
