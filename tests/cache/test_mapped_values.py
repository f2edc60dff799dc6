"""read(key, mmap=True): bytes as memory, which stays as it is whatever becomes of the item."""

from __future__ import annotations

import gc
import io
import os
import sys
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from consistency import value_files
from interpreter import Interpreter

import diskcache
from diskcache import Cache, Disk, FanoutCache, JSONDisk, SignedDisk

LARGE = bytes(range(256)) * 1000

needs_proc = pytest.mark.skipif(sys.platform != 'linux', reason='looks into /proc')


def mapped_files() -> int:
    """Return how many value files the process has mapped."""
    return Path('/proc/self/maps').read_text().count('.val')


def test_bytes_in_a_file_are_mapped(cache: Cache) -> None:
    cache['key'] = LARGE
    view = cache.read('key', mmap=True)
    assert type(view) is memoryview
    assert (view.readonly, view.format, view.nbytes) == (True, 'B', len(LARGE))
    assert view == LARGE
    with pytest.raises(TypeError):
        view[0] = 1
    assert hash(view) == hash(LARGE)


@pytest.mark.parametrize('memory_limit', [0, 2**20])
def test_bytes_in_the_database_are_a_view_too(directory: str, memory_limit: int) -> None:
    with Cache(directory, memory_limit=memory_limit) as cache:
        cache['key'] = b'small'
        for _ in range(3):
            view = cache.read('key', mmap=True)
            assert (type(view), view.readonly, bytes(view)) == (memoryview, True, b'small')
        assert cache['key'] == b'small'


@pytest.mark.parametrize('content', [b'', b'x', LARGE])
def test_what_was_stored_from_a_file_is_mapped(cache: Cache, content: bytes) -> None:
    """Whatever its size: nothing at all cannot be mapped, and is a view all the same."""
    cache.set('key', io.BytesIO(content), read=True)
    view = cache.read('key', mmap=True)
    assert (type(view), view.readonly, bytes(view)) == (memoryview, True, content)


ENDS: dict[str, Callable[[Cache], object]] = {
    'overwritten': lambda cache: cache.set('key', bytes(len(LARGE))),
    'overwritten with less': lambda cache: cache.set('key', b'y' * 40_000),
    'deleted': lambda cache: cache.delete('key'),
    'popped': lambda cache: cache.pop('key'),
    'evicted': lambda cache: cache.evict('tag'),
    'expired': lambda cache: cache.expire(1e12),
    'cleared': lambda cache: cache.clear(),
    'culled': lambda cache: cache.reset('size_limit', 0) or cache.cull(),
    'checked': lambda cache: cache.check(fix=True),
    'closed': lambda cache: cache.close(),
}


@needs_proc
@pytest.mark.parametrize('end', ENDS.values(), ids=ENDS.keys())
def test_a_view_stays_as_it_is(cache: Cache, end: Callable[[Cache], object]) -> None:
    """And the mapping goes with the last view of it."""
    cache.set('key', LARGE, expire=1e6, tag='tag')
    view = cache.read('key', mmap=True)
    part = view[1000:2000]
    end(cache)
    assert view == LARGE
    assert mapped_files() == 1
    view.release()
    assert part == LARGE[1000:2000]
    del view, part
    gc.collect()
    assert mapped_files() == 0


def test_a_view_stays_as_it_is_whoever_overwrites_the_item(
    cache: Cache, other: Interpreter, original: Interpreter
) -> None:
    """Neither this package nor the original writes to a file that has its name."""
    cache['key'] = LARGE
    view = cache.read('key', mmap=True)
    script = 'c = Cache(directory); c["key"] = bytes(300_000); c.check(fix=True); c.close()'
    for process in (other, original):
        process.run(script, directory=cache.directory)
    assert cache['key'] == bytes(300_000)
    assert view == LARGE


@needs_proc
def test_a_view_has_no_descriptor(cache: Cache) -> None:
    """So there can be as many as there is room for mappings."""
    cache['key'] = LARGE
    cache.read('key', mmap=True)
    before = len(os.listdir('/proc/self/fd'))
    views = [cache.read('key', mmap=True) for _ in range(100)]
    assert len(os.listdir('/proc/self/fd')) == before
    assert all(view == LARGE for view in views)


def test_a_mapped_file_is_not_read(cache: Cache) -> None:
    cache['key'] = bytes(2**24)
    tracemalloc.start()
    try:
        view = cache.read('key', mmap=True)
        assert tracemalloc.get_traced_memory()[1] < 2**20
    finally:
        tracemalloc.stop()
    assert len(view) == 2**24


def test_a_forked_child_has_the_view_too(alone: Interpreter, directory: str) -> None:
    def scenario(directory: str) -> bool:
        cache = diskcache.Cache(directory)
        cache['key'] = b'x' * 100_000
        view = cache.read('key', mmap=True)
        del cache['key']
        child = Child(lambda: bytes(view) == b'x' * 100_000)  # noqa: F821
        return child.result() and bytes(view) == b'x' * 100_000

    assert alone.run(scenario, directory=directory) is True


# What is not bytes, or not there.


@pytest.mark.parametrize('value', [1, 1.5, None, 'text', 't' * 50_000, [1], [b'x' * 50_000]])
def test_what_is_not_bytes_is_an_error_that_names_key_and_type(cache: Cache, value: Any) -> None:
    cache['the key'] = value
    with pytest.raises(TypeError) as raised:
        cache.read('the key', mmap=True)
    assert "'the key'" in str(raised.value)
    assert f"'{type(value).__name__}'" in str(raised.value)


def test_an_error_in_its_use_is_never_a_miss(directory: str) -> None:
    """on_error is about what cannot be loaded."""
    with Cache(directory, on_error='miss') as cache:
        cache['key'] = 1
        with pytest.raises(TypeError):
            cache.read('key', mmap=True)


def test_a_key_that_is_missing_is_a_key_error(cache: Cache) -> None:
    with pytest.raises(KeyError, match='missing'):
        cache.read('missing', mmap=True)


def test_a_file_that_is_missing_or_cut_short_is_a_key_error(cache: Cache) -> None:
    cache['key'] = LARGE
    (name,) = value_files(cache.directory)
    os.truncate(Path(cache.directory, name), 1000)
    with pytest.raises(KeyError):
        cache.read('key', mmap=True)
    os.remove(Path(cache.directory, name))
    with pytest.raises(KeyError):
        cache.read('key', mmap=True)


def test_mmap_is_given_by_its_name(cache: Cache) -> None:
    with pytest.raises(TypeError):
        cache.read('key', False, True)  # type: ignore[misc]


# Where the bytes come from elsewhere.


def test_where_a_file_may_not_be_mapped_it_is_read(cache: Cache) -> None:
    """As on a network file system, where another machine may remove the file under the view."""
    cache['key'] = LARGE
    cache.disk._may_map = False
    view = cache.read('key', mmap=True)
    assert type(view.obj) is bytes
    assert view == LARGE


class Reversing(Disk):
    """A Disk that hands out another file than the value's, by its own name."""

    closed = 0

    def fetch(self, mode: int, filename: str | None, value: Any, read: bool) -> Any:
        data = super().fetch(mode, filename, value, False)
        if not read:
            return data[::-1]

        class File(io.BytesIO):
            def close(self) -> None:
                Reversing.closed += 1
                super().close()

        return File(data[::-1])


def test_what_a_disk_hands_out_is_what_is_seen(directory: str) -> None:
    """Its file need not be the value file: an encrypting Disk's is not. It is read, and closed."""
    with Cache(directory, disk=Reversing) as cache:
        cache['key'] = LARGE
        assert cache.read('key', mmap=True) == LARGE[::-1]
        assert Reversing.closed > 0


def test_what_an_overridden_get_returns_is_what_is_seen(directory: str) -> None:
    class Counting(Cache):
        def get(self, key: Any, *args: Any, **kwargs: Any) -> Any:
            if key == 'array':
                return memoryview(bytearray(b'array'))
            return super().get(key, *args, **kwargs)

    with Counting(directory) as cache:
        cache['key'] = LARGE
        assert cache.read('key', mmap=True) == LARGE
        view = cache.read('array', mmap=True)
        assert (bytes(view), view.readonly) == (b'array', True)
        with pytest.raises(KeyError):
            cache.read('missing', mmap=True)


def test_a_signed_value_is_checked_first(directory: str) -> None:
    with Cache(directory, disk=SignedDisk.with_keys(b'k' * 16)) as cache:
        cache['small'], cache['large'] = b'small', LARGE
        cache.set('file', io.BytesIO(LARGE), read=True)
        assert cache.read('small', mmap=True) == b'small'
        assert cache.read('large', mmap=True) == LARGE
        assert cache.read('file', mmap=True) == LARGE
        for name in value_files(cache.directory):
            Path(cache.directory, name).write_bytes(bytes(len(LARGE)))
        with pytest.raises(KeyError):
            cache.read('large', mmap=True)


def test_of_a_json_disk_it_is_what_read_returns(directory: str) -> None:
    with Cache(directory, disk=JSONDisk) as cache:
        cache.set('key', io.BytesIO(LARGE), read=True)
        assert cache.read('key', mmap=True) == LARGE


def test_a_fanout_cache_has_it_too(directory: str) -> None:
    with FanoutCache(directory, shards=2) as cache:
        cache['key'], cache['number'] = LARGE, 1
        assert cache.read('key', mmap=True) == LARGE
        with cache.read('key') as file:
            assert file.read() == LARGE
        with pytest.raises(TypeError, match='number'):
            cache.read('number', mmap=True)
        with pytest.raises(KeyError):
            cache.read('missing', mmap=True)
