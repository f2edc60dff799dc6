"""What is stored by its time: an earlier value never takes the place of a later one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from diskcache import Cache, SignedDisk


class Stepwise(Cache):
    """A cache whose rows are written by a subclass."""

    def _row_update(self, *args: Any) -> None:
        super()._row_update(*args)


SMALL, LARGE = b'small', bytes(100_000)


def at(time: int) -> bytes:
    """A tag of this time, with something behind it that is not looked at."""
    return time.to_bytes(8, 'big') + bytes([255 - time % 256])


@pytest.fixture(params=[Cache, Stepwise, SignedDisk])
def cache(request: pytest.FixtureRequest, tmp_path: Path) -> Any:
    if request.param is SignedDisk:
        arguments = {'disk': SignedDisk.with_keys(bytes(32))}
    else:
        arguments = {}
    cls = Cache if request.param is SignedDisk else request.param
    with cls(tmp_path, **arguments) as cache:
        yield cache


@pytest.mark.parametrize('old', [SMALL, LARGE], ids=['small', 'large'])
@pytest.mark.parametrize('new', [SMALL, LARGE], ids=['small', 'large'])
def test_a_later_value_stays(cache: Any, old: bytes, new: bytes) -> None:
    assert cache._set_later('key', old, tag=at(1000))
    for time in (1000, 999, 0):
        assert not cache._set_later('key', new, 60, tag=at(time))
        assert cache.get('key', expire_time=True, tag=True) == (old, None, at(1000))
    assert cache._set_later('key', new, tag=at(1001))
    assert cache.get('key', tag=True) == (new, at(1001))
    assert cache.check() == []


@pytest.mark.parametrize('old', [SMALL, LARGE], ids=['small', 'large'])
@pytest.mark.parametrize('tag', [None, 5, 2.5, 'text', 'a longer text'])
def test_a_value_without_a_time_is_replaced(cache: Any, tag: Any, old: bytes) -> None:
    cache.set('key', old, tag=tag)
    assert cache._set_later('key', b'new', tag=at(0))
    assert cache['key'] == b'new'


def test_what_stands_behind_the_time_does_not_count(cache: Any) -> None:
    assert cache._set_later('key', SMALL, tag=at(5) + b'a')
    assert not cache._set_later('key', LARGE, tag=at(5) + b'b')
    assert cache['key'] == SMALL


def test_a_value_is_stored_where_there_is_none(cache: Any) -> None:
    assert cache._set_later('key', SMALL, 60, tag=at(5))
    value, expire_time, tag = cache.get('key', expire_time=True, tag=True)
    assert (value, tag) == (SMALL, at(5))
    assert expire_time is not None


@pytest.mark.parametrize('tag', [None, 5, 'a long text', b'1234567'])
def test_a_time_is_needed(cache: Any, tag: Any) -> None:
    with pytest.raises(TypeError, match='8'):
        cache._set_later('key', SMALL, tag=tag)
    assert 'key' not in cache


def test_of_two_caches_the_later_value_stays(tmp_path: Path) -> None:
    with Cache(tmp_path) as one, Cache(tmp_path) as another:
        assert one._set_later('key', 'later', tag=at(2))
        assert another['key'] == 'later'
        assert not another._set_later('key', 'earlier', tag=at(1))
        assert another._set_later('key', 'latest', tag=at(3))
        assert one['key'] == 'latest'
