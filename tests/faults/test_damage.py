"""Rows, names, settings and value files that are not as this library or the original leaves them.

A disk loses power, somebody edits the database, a directory comes from elsewhere. What cannot be
read is a miss or a `sqlite3.DatabaseError`, never another error from inside, a hang, or a file
that is none of the cache's. `check()` reports it, and with `fix` mends it.
"""

from __future__ import annotations

import io
import itertools
import os
import pickle
import random
import shutil
import socket
import sqlite3
import zlib
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest
from consistency import report_texts, stored_filenames, value_files
from interpreter import Interpreter

import diskcache
from diskcache import UNKNOWN, Disk, JSONDisk

LARGE = b'x' * 100_000
QUEUE_KEY = 500_000_000_000_000


def edit(cache: diskcache.Cache, statement: str, *parameters: object) -> None:
    """Change the database of a cache behind its back."""
    with closing(sqlite3.connect(f'{cache.directory}/cache.db', isolation_level=None)) as con:
        con.execute(statement, parameters)


def assert_mended(cache: diskcache.Cache) -> None:
    """Assert that check() reports something, mends it, and then reports nothing."""
    assert report_texts(cache) != []
    assert report_texts(cache, fix=True) != []
    assert report_texts(cache) == []
    assert value_files(cache.directory) == stored_filenames(cache)


class NamingDisk(Disk):
    """A Disk that names value files after their keys."""

    def filename(self, key: object = UNKNOWN, value: object = UNKNOWN) -> tuple[str, str]:
        """Return the key as the name."""
        return str(key), os.path.join(self._directory, str(key))


# Names that lead out of the directory.

OUTSIDE = [
    '../outside.val',
    'ab/../../outside.val',
    './../outside.val',
    '{outside}',
    '..\\outside.val',
    'ab\\..\\..\\outside.val',
    'ab\\../..\\outside.val',
    'C:\\outside.val',
    '\\\\server\\outside.val',
    '',
    '.',
    '..',
    'ab/..',
    'outside.val/',
]

READS = {
    'get': lambda cache, key: cache.get(key),
    'get and read': lambda cache, key: cache.get(key, read=True),
    'get_many': lambda cache, key: cache.get_many([key]).get(key),
    'pop': lambda cache, key: cache.pop(key),
    'peek': lambda cache, key: cache.peek()[1],
    'pull': lambda cache, key: cache.pull()[1],
}


@pytest.fixture
def outside(directory: str) -> Iterator[Path]:
    """A file beside the directory, which is what it was at the end."""
    path = Path(directory).parent / 'outside.val'
    secret = zlib.compress(b'"secret"')
    path.write_bytes(secret)
    yield path
    assert path.read_bytes() == secret


def name_file(cache: diskcache.Cache, name: str, path: Path) -> None:
    """Make the items of the cache name a file, which is at that path."""
    statement = 'UPDATE Cache SET mode = 2, value = NULL, size = ?, filename = ?'
    edit(cache, statement, path.stat().st_size, name)


@pytest.mark.parametrize('disk', [Disk, JSONDisk, NamingDisk])
@pytest.mark.parametrize('name', OUTSIDE)
def test_a_name_that_leads_out_of_the_directory_is_a_miss(
    directory: str, outside: Path, disk: type[Disk], name: str
) -> None:
    with diskcache.Cache(directory, disk=disk) as cache:
        for title, read in READS.items():
            cache.push('value')
            name_file(cache, name.format(outside=outside), outside)
            (key,) = cache._stored_keys()  # To JSONDisk the number itself would be another key.
            assert read(cache, key) is None, title
            cache.delete(key)
            assert len(cache) == 0, title


@pytest.mark.parametrize('disk', [Disk, JSONDisk, NamingDisk])
@pytest.mark.parametrize('name', OUTSIDE)
def test_fetch_does_not_follow_a_name_out_of_the_directory(
    directory: str, outside: Path, disk: type[Disk], name: str
) -> None:
    os.mkdir(directory)
    for read in (False, True):
        with pytest.raises(FileNotFoundError):
            disk(directory).fetch(2, name.format(outside=outside), None, read)


@pytest.mark.parametrize('disk', [Disk, NamingDisk])
@pytest.mark.parametrize('name', ['cache.db', './cache.db-wal', 'sub/cache.db', 'sub\\cache.db'])
def test_the_name_of_a_database_is_a_miss_and_the_database_stays(
    directory: str, disk: type[Disk], name: str
) -> None:
    """To delete the item would delete all others, or another cache in the directory."""
    with diskcache.Cache(directory, disk=disk) as cache, diskcache.Cache(f'{directory}/sub') as sub:
        cache['key'] = cache['other'] = sub['other'] = 'value'
        edit(cache, "UPDATE Cache SET mode = 2, filename = ? WHERE key = 'key'", name)
        there = os.listdir(directory), os.listdir(f'{directory}/sub')
        assert cache.get('key') is None
        cache.delete('key')
        assert (os.listdir(directory), os.listdir(f'{directory}/sub')) == there
        assert cache.get('other') == sub.get('other') == 'value'


@pytest.mark.parametrize('name', ['../outside', '/outside', 'ab/../../outside', 'ab/', '.'])
def test_a_disk_cannot_name_a_file_out_of_the_directory(directory: str, name: str) -> None:
    class Storing(Disk):
        def store(self, *args: object, **kwargs: object) -> tuple:
            return 5, 2, name, None

    with diskcache.Cache(directory, disk=NamingDisk, disk_min_file_size=0) as cache:
        with pytest.raises(ValueError, match='directory'):
            cache[name] = LARGE
        assert len(cache) == 0
    with diskcache.Cache(directory, disk=Storing) as cache:
        with pytest.raises(ValueError, match='directory'):
            cache['key'] = LARGE
        assert len(cache) == 0
    assert os.listdir(os.path.dirname(directory)) == [os.path.basename(directory)]


@pytest.mark.parametrize(
    'name', ['name.json', 'a/b/c/name', 'http://example.org/./x', '...', 'a..b']
)
def test_a_disk_may_name_a_file_inside_as_it_likes(directory: str, name: str) -> None:
    with diskcache.Cache(directory, disk=NamingDisk) as cache:
        cache[name] = LARGE
        assert os.path.getsize(os.path.join(directory, name)) == len(LARGE)
        assert cache[name] == LARGE
        with cache.read(name) as file:
            assert file.read() == LARGE
        assert cache.check() == []
        assert cache.pop(name) == LARGE
        assert not os.path.exists(os.path.join(directory, name))


def test_a_disk_that_fetches_by_itself_may_name_what_it_likes(directory: str) -> None:
    class Elsewhere(Disk):
        def store(self, value: object, read: bool, key: object = UNKNOWN) -> tuple:
            return 0, 2, f'https://example.org/../{value}', None

        def fetch(self, mode: int, filename: str, value: object, read: bool) -> str:
            return filename

    with diskcache.Cache(directory, disk=Elsewhere) as cache:
        cache['key'] = 'value'
        assert cache['key'] == 'https://example.org/../value'
        assert cache.pop('key') == 'https://example.org/../value'


# Links in the directory: who has made it may have had other rights than who reads it.

LINKS = {'to a file': 'link.val', 'to a directory': 'link/outside.val'}
through_links = pytest.mark.parametrize('name', LINKS.values(), ids=LINKS.keys())


def make_link(cache: diskcache.Cache, outside: Path, name: str) -> None:
    """Make a link in the directory through which a name leads to a file outside of it."""
    target = outside if '/' not in name else outside.parent
    os.symlink(target, os.path.join(cache.directory, name.split('/')[0]))
    name_file(cache, name, outside)


@pytest.mark.parametrize('disk', [Disk, JSONDisk, NamingDisk])
@through_links
@pytest.mark.parametrize('read', READS.values(), ids=READS.keys())
def test_a_name_that_leads_through_a_link_is_a_miss_and_the_file_stays(
    directory: str, outside: Path, disk: type[Disk], name: str, read: Callable
) -> None:
    with diskcache.Cache(directory, disk=disk) as cache:
        cache.push('value')
        make_link(cache, outside, name)
        (key,) = cache._stored_keys()
        assert read(cache, key) is None
        cache.delete(key)
        assert len(cache) == 0


REMOVALS: dict[str, Callable[[diskcache.Cache], object]] = {
    'clear': lambda cache: cache.clear(),
    'expire': lambda cache: cache.expire(now=2**40),
    'evict': lambda cache: cache.evict('tag'),
    'set': lambda cache: cache.set('key', 'other'),
    'check': lambda cache: cache.check(fix=True),
}


@pytest.mark.parametrize('disk', [Disk, NamingDisk])
@through_links
@pytest.mark.parametrize('remove', REMOVALS.values(), ids=REMOVALS.keys())
def test_no_row_has_a_file_removed_that_is_beyond_a_link(
    directory: str, outside: Path, disk: type[Disk], name: str, remove: Callable
) -> None:
    with diskcache.Cache(directory, disk=disk) as cache:
        cache.set('key', 'value', expire=1000, tag='tag')
        make_link(cache, outside, name)
        assert report_texts(cache) != []
        remove(cache)
        assert cache.get('key') in (None, 'other')


def test_no_pickle_is_followed_that_is_beyond_a_link(directory: str, tmp_path: Path) -> None:
    """Its names would be told of, and of a device there is no end."""
    outside = tmp_path / 'pickle'
    outside.write_bytes(b'cno_such_module\nname\n.')
    with diskcache.Cache(directory) as cache:
        cache['key'] = 'value'
        make_link(cache, outside, 'link.val')
        edit(cache, 'UPDATE Cache SET mode = 4')
        assert report_texts(cache)[0] == f'file not found: {directory}/link.val'
        assert not any('no_such_module' in text for text in report_texts(cache))


@pytest.mark.parametrize('disk', [Disk, NamingDisk])
def test_no_value_is_written_through_a_link(
    directory: str, tmp_path: Path, disk: type[Disk]
) -> None:
    elsewhere = tmp_path / 'elsewhere'
    elsewhere.mkdir()
    with diskcache.Cache(directory, disk=disk) as cache:
        cache['link/one'] = LARGE
        (name,) = value_files(directory)
        first = Path(directory, name.split('/')[0])
        shutil.rmtree(first)
        os.symlink(elsewhere, first)
        # Values are put into one directory until it has many of them.
        with pytest.raises(NotADirectoryError):
            cache['link/two'] = LARGE
        assert os.listdir(elsewhere) == []
        assert 'link/two' not in cache


def test_the_directory_itself_may_be_a_link(directory: str, tmp_path: Path) -> None:
    """Somebody puts the cache on another disk."""
    (tmp_path / 'disk').mkdir()
    os.symlink(tmp_path / 'disk', directory)
    with diskcache.Cache(directory, disk=NamingDisk) as cache:
        cache['a/key'] = cache['key'] = LARGE
        assert sorted(os.listdir(tmp_path / 'disk'))[0] == 'a'
        assert cache['a/key'] == cache['key'] == LARGE
        assert cache.pop('a/key') == LARGE
        assert 'a' not in os.listdir(tmp_path / 'disk')


@pytest.mark.parametrize('disk', [Disk, NamingDisk])
def test_a_file_that_is_handed_out_is_the_one_that_was_looked_at(
    directory: str, disk: type[Disk]
) -> None:
    """It has the path as its name, for X-Sendfile, but that is not opened a second time."""
    with diskcache.Cache(directory, disk=disk) as cache:
        cache.set('key', io.BytesIO(LARGE), read=True)
        (name,) = value_files(directory)
        with cache.read('key') as file:
            assert file.name == os.path.join(directory, name)
            assert os.get_blocking(file.fileno())
            assert not os.get_inheritable(file.fileno())
            assert file.read() == LARGE
        with cache.get('key', read=True) as file:
            assert file.read() == LARGE


# What stands in the place of a value file.


def in_place_of_the_file(cache: diskcache.Cache) -> Path:
    """Remove the only value file of a cache; return its path, for something else."""
    (name,) = value_files(cache.directory)
    path = Path(cache.directory, name)
    path.unlink()
    return path


def make_socket(path: Path) -> None:
    """Make a socket at a path that may be too long for it."""
    with socket.socket(socket.AF_UNIX) as made:
        short = Path(os.path.abspath(path.parents[2]), 's')
        made.bind(str(short))
        short.rename(path)


THINGS: dict[str, Callable[[Path], None]] = {
    'a directory': os.mkdir,
    'a socket': make_socket,
    'a link to a device': lambda path: os.symlink('/dev/zero', path),
    'a link to itself': lambda path: os.symlink(path, path),
    'a link to nothing': lambda path: os.symlink('nothing', path),
    'nothing': lambda path: None,
}


@pytest.mark.parametrize('make', THINGS.values(), ids=THINGS.keys())
@pytest.mark.parametrize('disk', [Disk, JSONDisk, NamingDisk])
@pytest.mark.parametrize('read', READS.values(), ids=READS.keys())
def test_what_is_no_file_is_a_miss(
    directory: str, disk: type[Disk], make: Callable[[Path], None], read: Callable
) -> None:
    with diskcache.Cache(directory, disk=disk, disk_min_file_size=8) as cache:
        cache.push(b'contents' * 10 if disk is not JSONDisk else list(range(100)))
        make(in_place_of_the_file(cache))
        (key,) = cache._stored_keys()
        assert read(cache, key) is None


@pytest.mark.skipif(not hasattr(os, 'mkfifo'), reason='this platform has no pipes in directories')
@pytest.mark.parametrize('disk', ['Disk', 'JSONDisk'])
@pytest.mark.parametrize('method', ['get', 'read', 'get_many', 'pop', 'peekitem', 'pull', 'check'])
def test_a_pipe_in_place_of_a_file_is_a_miss_and_never_waited_for(
    other: Interpreter, directory: str, disk: str, method: str
) -> None:
    """Opening it would wait, with all threads of the process, for somebody who writes into it."""

    def scenario(directory: str, disk: str, method: str) -> object:
        cache = diskcache.Cache(directory, disk=getattr(diskcache, disk), disk_min_file_size=8)
        cache.push(list(range(100)))
        ((name,),) = cache._sql('SELECT filename FROM Cache').fetchall()
        cache._sql('UPDATE Cache SET mode = 2')
        os.remove(os.path.join(directory, name))
        os.mkfifo(os.path.join(directory, name))
        (key,) = cache._stored_keys()
        if method in ('get', 'read', 'pop'):
            result = getattr(cache, method)
            try:
                return result(key)
            except KeyError:
                return None
        if method == 'get_many':
            return cache.get_many([key]).get(key)
        if method == 'check':
            return None if cache.check(fix=True) and not cache.check() else 'not mended'
        try:
            return getattr(cache, method)()[1]
        except KeyError:
            return None

    assert other.run(scenario, directory=directory, disk=disk, method=method) is None


# Rows, settings and counters.


def damaged(cache: diskcache.Cache) -> None:
    """Store what is damaged next: an item of each kind, between two that stay sound."""
    cache.set('first', 1, tag='tag')
    cache.set('text', 'text', tag='tag')
    cache['pickle'] = ['pickle']
    cache['large text'] = 'x' * 50_000
    cache['large pickle'] = [b'x' * 50_000]
    cache['pickled', 'key'] = 1
    cache.push('pushed')
    cache.set('last', 2, tag='tag')


NOT_TEXT = "CAST(x'ff80' AS TEXT)"
FILE = "UPDATE Cache SET filename = {} WHERE key = 'large pickle'"
TEXT = "UPDATE Cache SET {} WHERE key = 'text'"
PUSHED = "UPDATE Cache SET {} WHERE value = 'pushed'"
SETTING = "UPDATE Settings SET value = {} WHERE key = '{}'"

DAMAGES = {
    'a name that is a blob': FILE.format("x'6162'"),
    'a name with a NUL in it': FILE.format("CAST(x'610062' AS TEXT)"),
    'a name with a NUL at its end': FILE.format("filename || CAST(x'00' AS TEXT)"),
    'a name that is not UTF-8': FILE.format(NOT_TEXT),
    'an empty name': FILE.format("''"),
    'a name that leads out': FILE.format("'../x'"),
    'another name': FILE.format("'12/34/x.val'"),
    'no name': FILE.format('NULL'),
    'the mode of a binary file': TEXT.format('mode = 2, value = NULL'),
    'the mode of a text file': TEXT.format('mode = 3, value = NULL'),
    'the mode of a text file, with a value': TEXT.format('mode = 3'),
    'the mode of a pickle, without a value': TEXT.format('mode = 4, value = NULL'),
    'the mode of a pickle, with a text': TEXT.format('mode = 4'),
    'the mode of a pickle, with a number': TEXT.format('mode = 4, value = 5'),
    'a mode that is unknown': TEXT.format('mode = 9'),
    'a mode that is a text': TEXT.format("mode = 'mode'"),
    'an expiry that is a text': TEXT.format("expire_time = 'soon'"),
    'a time that is a text': TEXT.format("store_time = 'now'"),
    'a time of access that is a blob': TEXT.format("access_time = x'00'"),
    'a count of accesses that is a text': TEXT.format("access_count = 'often'"),
    'the mode of a pickle, with zeros': TEXT.format('mode = 4, value = zeroblob(100)'),
    'a key that is NULL': TEXT.format('key = NULL'),
    'a raw that is NULL': TEXT.format('raw = NULL'),
    'a raw that is 5': TEXT.format('raw = 5'),
    'a raw that is a text': TEXT.format("raw = 'raw'"),
    'a key that is no pickle': TEXT.format('key = 5, raw = 0'),
    'a key that is a pickle of zeros': TEXT.format('key = zeroblob(100), raw = 0'),
    'a key that is not UTF-8': TEXT.format(f'key = {NOT_TEXT}'),
    'a value that is not UTF-8': TEXT.format(f'value = {NOT_TEXT}'),
    'a tag that is not UTF-8': TEXT.format(f'tag = {NOT_TEXT}'),
    'a pushed value that is not UTF-8': PUSHED.format(f'value = {NOT_TEXT}'),
    'a large size': TEXT.format('size = 9223372036854775807'),
    'large sizes': 'UPDATE Cache SET size = 9223372036854775807',
    'a negative size': TEXT.format('size = -9223372036854775807'),
    'a size that is a text': TEXT.format("size = 'size'"),
    'a size that is NULL': TEXT.format('size = NULL'),
    'no count': "DELETE FROM Settings WHERE key = 'count'",
    'no total of sizes': "DELETE FROM Settings WHERE key = 'size'",
    'a large total': SETTING.format('9223372036854775807', 'size'),
    'a negative total': SETTING.format('-9223372036854775807', 'size'),
    'a total that is a text': SETTING.format("'size'", 'size'),
    'a count that is a blob': SETTING.format("x'00'", 'count'),
    'a pragma that is a blob': SETTING.format("x'00'", 'sqlite_cache_size'),
    'a pragma that is no word': SETTING.format("'; x'", 'sqlite_synchronous'),
    'a pragma that is NULL': SETTING.format('NULL', 'sqlite_mmap_size'),
    'a pragma that is not UTF-8': SETTING.format(NOT_TEXT, 'sqlite_journal_mode'),
    'a limit that is a text': SETTING.format("'1GB'", 'size_limit'),
    'a limit that is NULL': SETTING.format('NULL', 'cull_limit'),
    'a protocol that is a text': SETTING.format("'5'", 'disk_pickle_protocol'),
    'an unknown policy': SETTING.format("'lru'", 'eviction_policy'),
    'a setting whose name is not UTF-8': f'INSERT INTO Settings VALUES ({NOT_TEXT}, 1)',
}

OPERATIONS: dict[str, Callable[[diskcache.Cache], object]] = {
    'get': lambda cache: [cache.get(key) for key in ('text', 'large text', 'large pickle')],
    'get all': lambda cache: cache.get('text', read=True, expire_time=True, tag=True),
    'get_many': lambda cache: cache.get_many(['first', 'text', 'large pickle']),
    'in': lambda cache: 'text' in cache,
    'read': lambda cache: cache.read('large text'),
    'iteration': lambda cache: list(cache),
    'reversed': lambda cache: list(reversed(cache)),
    'iterkeys': lambda cache: list(cache.iterkeys()),
    'iterkeys reversed': lambda cache: list(cache.iterkeys(reverse=True)),
    'peekitem': lambda cache: cache.peekitem(last=False, expire_time=True, tag=True),
    'peek': lambda cache: cache.peek(),
    'pull': lambda cache: cache.pull(tag=True),
    'pop': lambda cache: cache.pop('text', tag=True),
    'pop from a file': lambda cache: cache.pop('large pickle'),
    'touch': lambda cache: cache.touch('text'),
    'incr': lambda cache: cache.incr('first'),
    'set': lambda cache: cache.set('text', 'new'),
    'set over a file': lambda cache: cache.set('large pickle', 'new'),
    'add': lambda cache: cache.add('text', 'new'),
    'push': lambda cache: cache.push('new'),
    'delete': lambda cache: cache.delete('text'),
    'volume': lambda cache: cache.volume(),
    'len': lambda cache: len(cache),
    'stats': lambda cache: cache.stats(),
    'expire': lambda cache: cache.expire(),
    'cull': lambda cache: cache.cull(),
    'evict': lambda cache: cache.evict('tag'),
    'check': lambda cache: cache.check(),
    'deque': lambda cache: list(diskcache.Deque.fromcache(cache)),
    'index': lambda cache: list(diskcache.Index.fromcache(cache).items()),
    'popitem': lambda cache: diskcache.Index.fromcache(cache).popitem(),
    'clear': lambda cache: cache.clear(),
}


@pytest.mark.parametrize('opened', ['still open', 'opened again'])
@pytest.mark.parametrize('damage', DAMAGES.values(), ids=DAMAGES.keys())
def test_damage_is_a_miss_or_an_error_of_the_database(
    directory: str, damage: str, opened: str
) -> None:
    with diskcache.Cache(directory) as cache:
        damaged(cache)
        edit(cache, damage)
        if opened == 'opened again':
            cache.close()
            cache = diskcache.Cache(directory)
        for operate in OPERATIONS.values():
            try:
                operate(cache)
            except (sqlite3.DatabaseError, pickle.UnpicklingError, KeyError):
                pass
        assert cache.set('new', LARGE)
        assert cache['new'] == LARGE


@pytest.mark.parametrize('damage', DAMAGES.values(), ids=DAMAGES.keys())
def test_damage_is_reported_and_mended(directory: str, damage: str) -> None:
    with diskcache.Cache(directory) as cache:
        damaged(cache)
        edit(cache, damage)
    with diskcache.Cache(directory) as cache:
        found = report_texts(cache)
        assert found != []
        assert report_texts(cache) == found
        assert set(found) & set(report_texts(cache, fix=True)) != set()
        left = [text for text in report_texts(cache) if not text.startswith('unknown file')]
        assert left == []  # But for a file that no row names any more: it might be a new one.
        # Where the size of a file is wrong it may be the file that is: those two rows go.
        sizes_are_wrong = damage == DAMAGES['large sizes']
        assert (cache['first'], cache['last']) == (1, 2)
        assert cache.get('large text') == (None if sizes_are_wrong else 'x' * 50_000)
        assert cache.get('first', tag=True) == (1, 'tag')
        assert len(list(cache)) == len(list(cache.iterkeys())) == len(cache) >= 7 - sizes_are_wrong
        assert cache.volume() < 2**20
        cache.clear()
    with diskcache.Cache(directory) as cache:
        for name, value in diskcache.DEFAULT_SETTINGS.items():
            assert cache.reset(name) == value


def test_what_a_disk_of_ones_own_stores_is_not_judged(directory: str) -> None:
    class Odd(Disk):
        def put(self, key: object) -> tuple[object, bool]:
            return f'{key}', False

        def get(self, key: object, raw: bool) -> object:
            return key

        def store(self, value: object, read: bool, key: object = UNKNOWN) -> tuple:
            return 77, 4, None, 'no pickle'

        def fetch(self, *args: object) -> str:
            return 'value'

    with diskcache.Cache(directory, disk=Odd) as cache:
        cache['key'] = 'value'
        assert cache.check(fix=True) == []
        assert cache['key'] == 'value'


def test_a_damaged_setting_is_logged_and_stays_until_check_mends_it(
    directory: str, caplog: pytest.LogCaptureFixture
) -> None:
    with diskcache.Cache(directory, size_limit=5000) as cache:
        edit(cache, "UPDATE Settings SET value = 'much' WHERE key = 'size_limit'")
        with pytest.raises(sqlite3.DatabaseError, match='size_limit'):
            cache.reset('size_limit')
    for _ in range(2):
        caplog.clear()
        with diskcache.Cache(directory) as cache:
            cache['key'] = 1
            assert cache.size_limit == diskcache.DEFAULT_SETTINGS['size_limit']
            ((name, _, message),) = caplog.record_tuples
            assert name == 'diskcache.directory'
            assert 'size_limit' in message
    with diskcache.Cache(directory, size_limit=6000) as cache:
        assert cache.check() == []
        assert cache.reset('size_limit') == 6000


def test_a_name_that_is_a_number_is_reported_and_mended(directory: str) -> None:
    """In a table that somebody has made anew without the types of the columns."""
    with diskcache.Cache(directory) as cache:
        damaged(cache)
        edit(cache, 'ALTER TABLE Cache RENAME COLUMN filename TO former')
        edit(cache, 'ALTER TABLE Cache ADD COLUMN filename')
        edit(cache, "UPDATE Cache SET filename = former WHERE key = 'large text'")
        edit(cache, "UPDATE Cache SET filename = 5 WHERE key = 'large pickle'")
    with diskcache.Cache(directory) as cache:
        assert cache.get('large pickle') is None
        assert any('no name of a file' in text for text in report_texts(cache, fix=True))
        assert 'large pickle' not in cache
        assert cache['large text'] == 'x' * 50_000


# Keys.


@pytest.mark.parametrize('damage', ['key = NULL', 'raw = NULL', 'raw = 5', 'raw = -1', "raw = 'x'"])
@pytest.mark.parametrize('number', [0, 500, 999])
@pytest.mark.parametrize('reverse', [False, True])
def test_iterating_in_order_comes_to_an_end_and_passes_over_what_no_key_can_name(
    cache: diskcache.Cache, damage: str, number: int, reverse: bool
) -> None:
    cache.set_many((number, 1) for number in range(1000))
    edit(cache, f'UPDATE Cache SET {damage} WHERE key = {number}')
    expected = sorted({*range(1000)} - {number}, reverse=reverse)
    keys = cache.iterkeys(reverse=reverse)
    assert list(itertools.islice(keys, 2000)) == expected
    assert [key for key, _ in itertools.islice(cache._stored_keys(reverse), 2000)] == expected
    assert list(reversed(cache) if reverse else cache) == expected


def test_a_pickle_whose_key_is_null_is_reported(cache: diskcache.Cache) -> None:
    cache['key'] = {'a': 'pickle'}
    edit(cache, 'UPDATE Cache SET key = NULL')
    assert any('no key' in text for text in report_texts(cache))
    report_texts(cache, fix=True)
    assert len(cache) == 0


@pytest.mark.parametrize('raw', ['NULL', '5', "'x'"])
def test_many_rows_that_no_key_can_name_are_passed_over(cache: diskcache.Cache, raw: str) -> None:
    cache.set_many((number, 1) for number in range(1000))
    edit(cache, f'UPDATE Cache SET raw = {raw} WHERE key BETWEEN 10 AND 989')
    expected = [*range(10), *range(990, 1000)]
    assert list(itertools.islice(cache.iterkeys(), 2000)) == expected
    assert list(itertools.islice(cache.iterkeys(reverse=True), 2000)) == expected[::-1]


@pytest.mark.parametrize('iterate', [iter, diskcache.Cache.iterkeys])
def test_iterating_goes_on_behind_a_key_that_cannot_be_read(
    cache: diskcache.Cache, iterate: Callable
) -> None:
    cache['a'], cache['b'], cache['c'] = 1, 2, 3
    edit(cache, "UPDATE Cache SET key = CAST(x'62ff' AS TEXT) WHERE key = 'b'")
    keys = iterate(cache)
    assert next(keys) == 'a'
    with pytest.raises(sqlite3.OperationalError, match=r"key is not UTF-8: b'b\\xff'"):
        next(keys)
    assert list(keys) == ['c']
    with pytest.raises(sqlite3.OperationalError):
        list(cache)
    cache.check(fix=True)
    assert list(cache) == ['a', 'c']


# Values that are not what was stored: what can be told, and how to get past them.


def zero(cache: diskcache.Cache, key: object) -> str:
    """Fill the value file of a key with zeros, as a loss of power does; return its name."""
    ((name,),) = cache._sql('SELECT filename FROM Cache WHERE key = ?', (key,)).fetchall()
    path = Path(cache.directory, name)
    path.write_bytes(bytes(path.stat().st_size))
    return name


READERS = {
    'get': lambda cache, key: cache.get(key),
    'get_many': lambda cache, key: cache.get_many([key]),
    'pop': lambda cache, key: cache.pop(key),
    'peek': lambda cache, key: cache.peek(),
    'pull': lambda cache, key: cache.pull(),
    'peekitem': lambda cache, key: cache.peekitem(),
    'Deque.popleft': lambda cache, key: diskcache.Deque.fromcache(cache).popleft(),
    'Index.popitem': lambda cache, key: diskcache.Index.fromcache(cache).popitem(),
}


@pytest.mark.parametrize('read', READERS.values(), ids=READERS.keys())
def test_what_cannot_be_unpickled_is_named_and_can_be_deleted(
    cache: diskcache.Cache, read: Callable
) -> None:
    key = cache.push([b'x' * 50_000])
    name = zero(cache, key)
    for _ in range(2):
        with pytest.raises(pickle.UnpicklingError) as raised:
            read(cache, key)
        (note,) = raised.value.__notes__
        assert repr(key) in note
        assert name in note
        assert cache.directory in note
    assert cache.delete(key)
    assert cache.peek() == (None, None)
    assert cache.check() == []


def test_what_cannot_be_unpickled_in_memory_is_named(cache: diskcache.Cache) -> None:
    class Gone:
        def __reduce__(self) -> tuple:
            return int, ('not a number',)

    cache['a', 'tuple'] = Gone()
    for _ in range(2):
        with pytest.raises(ValueError, match='invalid literal') as raised:
            cache['a', 'tuple']
        assert "('a', 'tuple')" in raised.value.__notes__[0]
        with pytest.raises(ValueError, match='invalid literal') as raised:
            cache.peekitem()
        assert "('a', 'tuple')" in raised.value.__notes__[0]


def test_a_deque_gets_past_an_item_that_cannot_be_read(directory: str) -> None:
    deque = diskcache.Deque([[b'x' * 50_000], 2, 3, 4], directory)
    zero(deque.cache, QUEUE_KEY)
    with pytest.raises(pickle.UnpicklingError):
        deque.popleft()
    with pytest.raises(pickle.UnpicklingError):
        deque[0]
    deque.maxlen = 3  # What is dropped need not be read.
    assert list(deque) == [2, 3, 4]
    deque.appendleft([b'x' * 50_000])
    zero(deque.cache, QUEUE_KEY)
    del deque[0]
    assert list(deque) == [2, 3]


def test_check_finds_a_pickle_that_a_loss_of_power_has_emptied(cache: diskcache.Cache) -> None:
    for number in range(3):
        cache[number] = [b'x' * 50_000]
    name = zero(cache, 1)
    assert report_texts(cache) == [f'no pickle: {cache.directory}/{name}']
    assert report_texts(cache, fix=True) == [f'no pickle: {cache.directory}/{name}']
    assert report_texts(cache) == []
    assert list(cache) == [0, 2]
    assert value_files(cache.directory) == stored_filenames(cache)


def test_what_check_cannot_look_at_is_reported_and_stays(
    alone: Interpreter, directory: str
) -> None:
    """No descriptor left, or no permission, is no damage."""
    pytest.importorskip('resource')

    def scenario(directory: str) -> list[str]:
        import resource

        cache = diskcache.Cache(directory)
        cache['key'] = [bytes(50_000)]
        cache.check()
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        from diskcache.check import Check

        check = Check(cache, True, False)
        lowest_free = os.dup(0)
        os.close(lowest_free)
        resource.setrlimit(resource.RLIMIT_NOFILE, (lowest_free, hard))
        try:
            check._confirm([1])
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        assert cache['key'] == [bytes(50_000)]
        assert cache.check(fix=True) == []
        return [found.text for found in check.found]

    (text,) = alone.run(scenario, directory=directory)
    assert text.startswith('file cannot be looked at')


def test_a_text_file_that_is_not_utf8_is_an_error_that_names_it(cache: diskcache.Cache) -> None:
    cache['key'] = 'x' * 50_000
    (name,) = value_files(cache.directory)
    Path(cache.directory, name).write_bytes(b'\xff' * 50_000)
    for read in (cache.get, cache.pop):
        with pytest.raises(UnicodeDecodeError) as raised:
            read('key')
        assert name in raised.value.__notes__[0]
    assert cache.delete('key')


@pytest.mark.parametrize('method', ['pop', 'pull'])
def test_an_item_whose_tag_cannot_be_read_is_not_lost(cache: diskcache.Cache, method: str) -> None:
    key = cache.push('value', tag='tag')
    edit(cache, f'UPDATE Cache SET tag = {NOT_TEXT}')
    arguments = (key,) if method == 'pop' else ()
    with pytest.raises(sqlite3.OperationalError, match='tag is not UTF-8'):
        getattr(cache, method)(*arguments, tag=True)
    assert len(cache) == 1
    assert getattr(cache, method)(*arguments) == ('value' if method == 'pop' else (key, 'value'))


# Sizes.


@pytest.mark.parametrize('size', [2**63 - 1, -(2**63), 9.3e18, 'large', None])
def test_a_total_that_cannot_be_neither_hides_the_limit_nor_makes_a_negative_volume(
    directory: str, size: object
) -> None:
    with diskcache.Cache(directory, size_limit=100_000) as cache:
        edit(cache, "UPDATE Settings SET value = ? WHERE key = 'size'", size)
        assert cache.volume() > 0
        for number in range(300):
            cache[number] = 'x' * 1000
        assert len(cache) < 100
        assert cache.volume() > 0
        edit(cache, 'UPDATE Cache SET size = ?', size)
        cache.cull()
        cache.clear()
        assert len(cache) >= 0
        assert cache.volume() > 0


@pytest.mark.filterwarnings('ignore::diskcache.CacheWarning')
@pytest.mark.parametrize('limit', [float('-inf'), -1, -(2**63), float('inf'), 2**63])
def test_a_limit_at_the_end_of_all_numbers_is_a_limit(directory: str, limit: float) -> None:
    with diskcache.Cache(directory, size_limit=min(limit, 2**63 - 1)) as cache:
        for number in range(100):
            cache[number] = 'x' * 1000
        assert len(cache) == (100 if limit > 0 else 0)
        cache.cull()
        assert len(cache) == (100 if limit > 0 else 0)


@pytest.mark.parametrize('size', [2**63 - 1, -(2**63)])
def test_a_disk_may_say_anything_of_the_size_of_its_values(directory: str, size: int) -> None:
    class Boasting(Disk):
        def store(self, value: object, read: bool, key: object = UNKNOWN) -> tuple:
            return size, 1, None, value

    with diskcache.Cache(directory, disk=Boasting, eviction_policy='none') as cache:
        assert cache.set_many((number, number) for number in range(100)) == 100
        assert cache[50] == 50
        assert cache.volume() > 0
        assert cache.clear() == 100


# Directories and databases that go away.


def test_value_files_are_written_to_a_directory_that_somebody_has_removed(
    directory: str, tmp_path: Path
) -> None:
    """An administrator empties caches with `rm -rf`, and the program goes on."""
    for disk in (Disk, JSONDisk, NamingDisk):
        cache = diskcache.Cache(directory, disk=disk)
        cache['small'] = 1
        shutil.rmtree(directory)
        value = [b'x' * 50_000] if disk is Disk else 'x' * 50_000
        if disk is JSONDisk:
            value = [random.random() for _ in range(5000)]
        assert cache.set('large', value)
        assert cache['large'] == value
        assert cache.set('stream', io.BytesIO(LARGE), read=True) if disk is Disk else True
        cache.close()
        shutil.rmtree(directory)


@pytest.mark.slow
@pytest.mark.parametrize('killed', [False, True])
def test_a_database_truncated_to_nothing_is_begun_anew_or_an_error_at_once(
    directory: str, alone: Interpreter, killed: bool
) -> None:
    """Whoever has it open keeps its lock: waiting for that would only end with him."""
    with diskcache.Cache(directory) as cache:
        cache['key'] = 1
    alone.run('sys.held = Cache(directory); sys.held.set("other", 2)', directory=directory)
    os.truncate(f'{directory}/cache.db', 0)
    if killed:
        alone.kill()
        with diskcache.Cache(directory) as cache:
            assert list(cache) == []
            cache['key'] = 1
            assert cache['key'] == 1
        return
    for _ in range(2):
        with pytest.raises(sqlite3.DatabaseError, match=r'cache\.db has been truncated'):
            diskcache.Cache(directory)
    assert alone.run('sys.held["other"]') == 2
