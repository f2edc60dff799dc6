"""Directories that come from Windows, where the names of value files have backslashes.

The original joins the components of a name as its platform does, so a directory that it has written
on Windows and that is copied elsewhere has ``ab\\cd\\....val`` in its rows, and the files are in
``ab/cd``. On Windows itself either letter separates, so what is written elsewhere reads there.
"""

from __future__ import annotations

import contextlib
import os
import random
from collections.abc import Callable
from pathlib import Path

import pytest
from consistency import report_texts, value_files
from interpreter import Interpreter

import diskcache
from diskcache import UNKNOWN, Cache, Disk, JSONDisk

VALUES = {'bytes': b'x' * 50_000, 'text': 'line\r\n' * 20_000, 'object': ['x' * 50_000]}
#: Texts that compressing makes not much smaller.
TEXTS = {name: random.Random(name).randbytes(50_000).hex() for name in VALUES}


class OpeningDisk(Disk):
    """A Disk that opens and removes its files by itself, as those that encrypt them do."""

    def fetch(self, mode: int, filename: str | None, value: object, read: bool) -> object:
        """Read a file in its own way."""
        if filename is None or read:
            return super().fetch(mode, filename, value, read)
        with open(os.path.join(self._directory, filename), 'rb') as file:
            return file.read().decode()

    def remove(self, file_path: str) -> None:
        """Remove a file in its own way."""
        with contextlib.suppress(FileNotFoundError):
            os.remove(os.path.join(self._directory, file_path))


def come_from_windows(cache: Cache) -> None:
    """Give the rows of a cache the names that the original writes on Windows."""
    cache._sql("UPDATE Cache SET filename = replace(filename, '/', char(92))")
    cache.close()


@pytest.fixture(params=[Disk, JSONDisk, OpeningDisk])
def moved(directory: str, request: pytest.FixtureRequest) -> Cache:
    """A cache with large values, written on Windows."""
    with Cache(directory, disk=request.param) as cache:
        for name, value in TEXTS.items():
            cache.set(name, value, tag='large')
        come_from_windows(cache)
        yield Cache(directory, disk=request.param)


def test_what_the_original_wrote_on_windows_is_read(original: Interpreter, directory: str) -> None:
    original.run(
        """
        with Cache(directory) as cache:
            for name, value in values.items():
                cache[name] = value
            cache.set('file', io.BytesIO(b'x' * 10), read=True)
            cache._sql("UPDATE Cache SET filename = replace(filename, '/', char(92))")
        """,
        directory=directory,
        values=VALUES,
    )
    with Cache(directory) as cache:
        assert cache.check() == []
        assert {name: cache[name] for name in VALUES} == VALUES
        assert cache.get_many(VALUES) == VALUES
        assert list(map(cache.get, cache)) == [*VALUES.values(), b'x' * 10]
        with cache.read('file') as file:
            assert file.read() == b'x' * 10
            assert Path(file.name).parent.parent.parent == Path(directory)
        assert cache.peekitem() == ('file', b'x' * 10)
        assert cache.pop('text') == VALUES['text']
        assert cache.check(fix=True) == []
        assert cache['bytes'] == VALUES['bytes']
        assert len(value_files(directory)) == 3


def test_every_kind_of_disk_reads_them(moved: Cache) -> None:
    assert {name: moved.get(name) for name in TEXTS} == TEXTS
    assert moved.get_many(TEXTS) == TEXTS
    assert moved.peekitem(last=False) == ('bytes', TEXTS['bytes'])
    assert moved.check() == []


REMOVALS: dict[str, Callable[[Cache], object]] = {
    'delete': lambda cache: [cache.delete(name) for name in TEXTS],
    'pop': lambda cache: [cache.pop(name) for name in TEXTS],
    'set': lambda cache: [cache.set(name, 0) for name in TEXTS],
    'set_many': lambda cache: cache.set_many(dict.fromkeys(TEXTS, 0)),
    'delete_many': lambda cache: cache.delete_many(TEXTS),
    'clear': lambda cache: cache.clear(),
    'evict': lambda cache: cache.evict('large'),
    'expire': lambda cache: [cache.touch(name, 0) for name in TEXTS] and cache.expire(1e11),
    'cull': lambda cache: cache.reset('size_limit', 1) + cache.cull(),
}


@pytest.mark.parametrize('remove', REMOVALS.values(), ids=REMOVALS.keys())
def test_files_go_with_their_rows(moved: Cache, remove: Callable[[Cache], object]) -> None:
    remove(moved)
    assert value_files(moved.directory) == set()
    if type(moved.disk) is not OpeningDisk:  # which leaves the directories
        assert moved.check() == []


def test_check_deletes_nothing_of_them(moved: Cache) -> None:
    for path in value_files(moved.directory):
        os.utime(os.path.join(moved.directory, path), (0, 0))
    assert moved.check(fix=True) == []
    assert {name: moved[name] for name in TEXTS} == TEXTS


def test_check_sees_that_one_is_missing(moved: Cache) -> None:
    (filename,) = moved._sql("SELECT filename FROM Cache WHERE tag = 'large' LIMIT 1").fetchone()
    Path(moved.directory, filename.replace('\\', '/')).unlink()
    for fix in (False, True):
        # It may have been the only one in its directory: a process begins another after 64 files.
        texts = [text for text in report_texts(moved, fix) if 'empty directory' not in text]
        assert len(texts) == 1
        assert 'file not found' in texts[0]
    assert [text for text in report_texts(moved) if 'empty directory' not in text] == []
    assert len(moved) == 2


def test_shards_deques_and_indexes_read_them(tmp_path: Path) -> None:
    value = VALUES['object']
    fanout = diskcache.FanoutCache(tmp_path / 'fanout', shards=2)
    deque = diskcache.Deque([value] * 3, tmp_path / 'deque')
    index = diskcache.Index(str(tmp_path / 'index'), a=value, b=value)
    for number in range(10):
        fanout[number] = value
    for cache in (*fanout._shards, deque.cache, index.cache):
        come_from_windows(cache)
    assert [fanout.pop(number) for number in range(10)] == [value] * 10
    deque.rotate()
    assert [deque.pop(), deque.popleft(), *deque] == [value] * 3
    assert index.popitem() == ('b', value)
    assert dict(index) == {'a': value}
    assert fanout.check() == deque.cache.check() == index.cache.check() == []


def test_a_name_with_a_backslash_that_a_disk_gave_comes_first(directory: str) -> None:
    """A backslash is a letter as any other here, and a Disk may have named its files with it."""

    class NamingDisk(Disk):
        def filename(self, key: object = UNKNOWN, value: object = UNKNOWN) -> tuple[str, str]:
            return str(key), os.path.join(self._directory, str(key))

    with Cache(directory, disk=NamingDisk) as cache:
        cache['a/b'] = b'nested' * 10_000
        cache['a\\b'] = b'flat' * 10_000
        assert cache['a/b'] == b'nested' * 10_000
        assert cache['a\\b'] == b'flat' * 10_000
        assert cache.check() == []
        del cache['a\\b']
        assert cache['a/b'] == b'nested' * 10_000
        assert os.listdir(os.path.join(directory, 'a')) == ['b']
