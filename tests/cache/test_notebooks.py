"""What notebooks show of caches, and complete."""

from __future__ import annotations

import os
import re
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest

from diskcache import Cache, Deque, FanoutCache, Index, JSONDisk


class Trap:
    """What nobody may load."""

    def __reduce__(self) -> tuple[Any, ...]:
        return os.abort, ()


def rows(shown: Any) -> dict[str, str]:
    """The table of an object, by the names of its rows."""
    html = shown._repr_html_()
    assert re.fullmatch(r'<table><caption>\w+</caption>(<tr>.*</tr>)</table>', html)
    return dict(re.findall('<tr><th>(.*?)</th><td>(.*?)</td></tr>', html))


def keys(shown: Any) -> list[Any]:
    found: list[Any] = shown._ipython_key_completions_()
    return found


def test_a_cache_is_shown_as_a_table(directory: str) -> None:
    with Cache(directory, size_limit=5_000_000) as cache:
        cache.set_many((number, b'x' * 1000) for number in range(1500))
        shown = rows(cache)
    assert shown.pop('on disk').endswith('MB')
    assert shown == {
        'directory': directory,
        'items': '1,500',
        'limit': '5.00 MB, least-recently-stored',
    }


def test_of_a_fanout_cache_the_sums_are_shown(directory: str) -> None:
    with FanoutCache(directory, shards=4, size_limit=4_000_000) as cache:
        cache.set_many((number, number) for number in range(20))
    shown = rows(FanoutCache(directory, shards=4))
    assert (shown['items'], shown['shards']) == ('20', '4')
    assert shown['limit'] == '4.00 MB, least-recently-stored'


def test_a_deque_and_an_index_are_shown_as_tables(tmp_path: Path) -> None:
    for shown in (Deque('abc', str(tmp_path / 'a')), Index(str(tmp_path / 'b'), a=1, b=2, c=3)):
        assert rows(shown).keys() == {'directory', 'items', 'on disk'}
        assert rows(shown)['items'] == '3'
        assert f'<caption>{type(shown).__name__}<' in str(shown._repr_html_())


def test_what_is_shown_is_escaped(tmp_path: Path) -> None:
    with Cache(tmp_path / '<b>&') as cache:
        assert rows(cache)['directory'] == f'{tmp_path}/&lt;b&gt;&amp;'


def test_nothing_is_loaded(cache: Cache) -> None:
    cache[Trap()] = 1
    cache['value'] = Trap()
    assert rows(cache)['items'] == '2'
    assert keys(cache) == ['value']


def test_a_closed_cache_is_shown(directory: str) -> None:
    with Cache(directory) as cache:
        cache['key'] = 1
    assert rows(cache)['items'] == '1'
    assert keys(cache) == ['key']


@pytest.mark.parametrize('cls', [Cache, FanoutCache, Deque, Index])
def test_what_has_been_removed_is_shown_and_not_made_anew(directory: str, cls: Any) -> None:
    for _ in range(2):  # of a FanoutCache that is there one shard is opened
        shown = cls(directory=directory) if cls is Deque else cls(directory)
        assert 'items' in rows(shown)
    shutil.rmtree(directory)
    assert rows(shown)['cannot be read'] == 'there is no database'
    if cls is not Deque:
        assert keys(shown) == []
    assert not os.path.exists(directory)


def test_a_malformed_database_is_shown_and_stays(directory: str) -> None:
    with Cache(directory, on_error='reset') as cache:
        cache['key'] = 1
    Path(directory, 'cache.db').write_bytes(b'no database' * 1000)
    assert rows(cache)['cannot be read'] == 'file is not a database'
    assert keys(cache) == []
    assert Path(directory, 'cache.db').read_bytes().startswith(b'no database')


def test_somebody_who_writes_does_not_keep_it_from_being_shown(
    cache: Cache, locked: Callable[..., AbstractContextManager[sqlite3.Connection]]
) -> None:
    cache['key'] = 1
    with locked():
        assert rows(cache)['items'] == '1'
        assert keys(cache) == ['key']


def test_an_object_that_was_not_initialized_has_no_table() -> None:
    for cls in (Cache, FanoutCache, Deque, Index):
        assert cls.__new__(cls)._repr_html_() is None


def test_the_last_keys_are_offered_but_not_all_of_many(cache: Cache) -> None:
    cache.set_many((f'key {number}', number) for number in range(2500))
    assert keys(cache) == [f'key {number}' for number in range(2499, 1499, -1)]


def test_keys_that_cannot_be_written_are_not_offered(cache: Cache) -> None:
    for key in ('text', 5, b'bytes', 1.5, ('a', 'tuple'), True):
        cache[key] = None
    assert keys(cache) == [b'bytes', 5, 'text']
    assert keys(Index.fromcache(cache)) == [b'bytes', 5, 'text']


def test_keys_of_all_shards_are_offered(directory: str) -> None:
    with FanoutCache(directory, shards=4) as cache:
        cache.set_many((number, number) for number in range(50))
        assert sorted(keys(cache)) == list(range(50))
    with FanoutCache(directory, shards=4) as cache:
        assert sorted(keys(cache)) == list(range(50))


def test_keys_that_a_disk_converts_are_not_offered(directory: str) -> None:
    with Cache(directory, disk=JSONDisk) as cache:
        cache['key'] = 1
        assert keys(cache) == []
        assert rows(cache)['items'] == '1'


def test_a_read_only_cache_is_shown_and_stays_as_it_is(directory: str) -> None:
    with Cache(directory) as cache:
        cache['key'] = 1
    before = os.stat(directory).st_mtime_ns  # changed by a file that comes and goes
    with Cache(directory, read_only=True) as cache:
        assert rows(cache)['items'] == '1'
        assert keys(cache) == ['key']
    assert os.stat(directory).st_mtime_ns == before
