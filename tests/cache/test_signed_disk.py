"""SignedDisk: values of all kinds, and what changes a row: it is signed anew.

`tests/faults/test_attacks.py` has the attacks.
"""

from __future__ import annotations

import io
import logging
import os
import pickle
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from consistency import value_files
from interpreter import Interpreter, at_once
from safe_types import Point

import diskcache
from diskcache import (
    Cache,
    Deque,
    Disk,
    FanoutCache,
    Index,
    JSONDisk,
    RefusedError,
    SafeDisk,
    SignedDisk,
    UnsafeTypeError,
)
from diskcache import log as log_module
from diskcache.constants import MODE_RAW

KEY, OTHER_KEY = b'0123456789abcdef', b'fedcba9876543210'
VALUES = (
    None,
    True,
    0,
    -(2**63),
    2**70,
    -0.0,
    1e300,
    float('inf'),
    '',
    'text é',
    b'',
    b'bytes',
    [1, {'a': Point(1, 2)}],
    'é\r\n' * 50_000,
    b'x' * 50_000,
    [b'x' * 50_000],
)


class SiteDisk(SignedDisk):
    """The Disk of a site."""

    keys = (KEY,)


@pytest.fixture
def signed(directory: str) -> Iterator[Cache]:
    """A cache with signatures."""
    log_module._logged.clear()
    log_module._minutes.clear()
    with Cache(directory, disk=SiteDisk) as cache:
        yield cache


def rows(cache: Cache) -> list[Any]:
    """Return what is stored."""
    found: list[Any] = cache._sql('SELECT mode, filename, value FROM Cache').fetchall()
    return found


# --- values ---


@pytest.mark.parametrize('number', range(len(VALUES)))
def test_values_come_back(signed: Cache, number: int) -> None:
    value = VALUES[number]
    for key in ('key', b'key', 1, 1.5, ('key', 2), None):
        signed.set(key, value, expire=100, tag='a')
        for _ in range(2):  # from SQLite, from memory
            assert repr(signed[key]) == repr(value)
            assert signed.get(key, tag=True)[1] == 'a'
        with Cache(signed.directory, disk=SiteDisk) as again:
            assert repr(again.get_many([key])[key]) == repr(value)
    assert signed.check() == []


def test_nan_comes_back(signed: Cache) -> None:
    signed['key'] = float('nan')
    assert signed['key'] != signed['key']


def test_all_that_stores_signs(signed: Cache) -> None:
    signed['a'] = 1
    signed.add('b', 2, tag=5)
    signed.set_many({'c': 3, 'd': b'x' * 50_000}, expire=50, tag=b'tag')
    signed.add_many({'e': 5})
    signed.setdefault('f', 6)
    signed.incr('g', 7)
    signed.push(8)
    signed.push(9, prefix='q', side='front', expire=5, tag=1.5)
    signed |= {'h': 10}
    assert signed.check() == []
    assert list(signed.values()) == [1, 2, 3, b'x' * 50_000, 5, 6, 7, 8, 9, 10]
    assert signed.pull('q', tag=True) == (('q-500000000000000', 9), 1.5)
    assert signed.peekitem() == ('h', 10)
    assert signed.peek() == (500000000000000, 8)
    assert signed.pop('d') == b'x' * 50_000
    assert value_files(signed.directory) == set()


def test_a_subclass_may_insert_what_is_signed(directory: str) -> None:
    """Its step gets the columns as they are to stand in the row, also of push()."""

    class Inserting(Cache):
        def _row_insert(self, key: Any, raw: bool, now: float, columns: Any) -> Any:
            inserted.append((key, columns[3]))
            return super()._row_insert(key, raw, now, columns)

    inserted: list[Any] = []
    with Inserting(directory, disk=SiteDisk) as cache:
        cache['a'] = 1
        key = cache.push([2])
        assert cache.pull() == (key, [2])
        assert cache['a'] == 1
    assert inserted == [('a', 17), (key, 20)]


@pytest.mark.parametrize('size', [0, 10, 100_000, 5_000_000])
def test_files_are_stored_and_opened(signed: Cache, size: int) -> None:
    content = (b'0123456789' * (size // 10 + 1))[:size]
    assert signed.set('key', io.BytesIO(content), read=True)
    assert signed['key'] == content
    with signed.read('key') as file:
        assert file.read() == content
        assert file.seek(0) == 0
    signed['text'] = 'x' * 50_000
    assert signed.get('text', read=True) == 'x' * 50_000


def test_numbers_that_are_equal_are_one_key(signed: Cache) -> None:
    """SQLite keeps the key that was there first, and finds it by the other."""
    lowest = -(2**63)
    for first, second in (
        *((1, 1.0), (2.0, 2), (0, -0.0), (2**53, float(2**53))),
        *((lowest, float(lowest)), (-(2.0**62), -(2**62))),
    ):
        signed[first] = 'first'
        assert signed[second] == 'first'
        signed[second] = 'second'
        assert signed[first] == signed[second] == 'second'
        assert signed.touch(first, 100)
        assert signed[second] == 'second'


def test_a_key_of_a_type_that_is_not_known_is_an_error(directory: str) -> None:
    """Keys are read before there is anything to check; values may have any type."""
    with Cache(directory, disk=SiteDisk) as cache:
        with pytest.raises(UnsafeTypeError):
            cache[Point()] = 1
    with Cache(directory, disk=SiteDisk.with_types(Point)) as cache:
        cache[Point(1, 2)] = Point(3, 4)
        assert list(cache.items()) == [(Point(1, 2), Point(3, 4))]


# --- what changes a row ---


def test_touch_signs_the_new_expiry(signed: Cache, clock: Any) -> None:
    for key, value in (('key', 5), ('large', b'x' * 50_000)):
        signed.set(key, value, expire=10, tag='a')
        assert signed.touch(key, 100)
        assert signed.get(key, expire_time=True, tag=True) == (value, clock.now + 100, 'a')
        clock.tick(50)
        assert signed.touch_many([key, 'none'], 10) == 1
        assert signed.get(key, expire_time=True) == (value, clock.now + 10)
        assert signed.touch(key)
        assert signed.get(key, expire_time=True) == (value, None)
        signed.touch(key, 10)
        clock.tick(20)
        assert not signed.touch(key, 10)
        assert signed.get(key) is None
    assert not signed.touch('none')
    assert signed.check() == []
    with pytest.raises(TypeError, match='expire'):
        signed.touch('key', 'soon')


def test_incr_reads_checks_and_signs(signed: Cache, clock: Any) -> None:
    assert signed.incr('n') == 1
    assert signed.decr('n', 3) == -2
    assert signed.incr('n', 0.5) == -1.5
    assert signed['n'] == -1.5
    signed.set('n', 2**63 - 2, expire=10, tag='a')
    assert signed.incr('n') == 2**63 - 1
    assert signed.get('n', expire_time=True, tag=True) == (2**63 - 1, clock.now + 10, 'a')
    for attempt in (
        lambda: signed.incr('n'),
        lambda: signed.incr('n', float('nan')),
        lambda: signed.incr('m', 2**62, default=2**62),
    ):
        with pytest.raises((OverflowError, ValueError)):
            attempt()
    assert signed['n'] == 2**63 - 1
    clock.tick(20)
    assert signed.incr('n', default=5) == 6
    assert signed.get('n', expire_time=True) == (6, None)
    signed['text'], signed['large'], signed['true'] = 'a', b'x' * 50_000, True
    for key in ('text', 'large', 'true'):
        with pytest.raises(TypeError, match=key):
            signed.incr(key)
    with pytest.raises(KeyError):
        signed.incr('none', default=None)
    assert signed.check() == []


def test_no_increment_is_lost(signed: Cache, crew: list[Interpreter]) -> None:
    """Of two processes and two threads."""
    script = """
class SiteDisk(diskcache.SignedDisk):
    keys = (key,)
with Cache(directory, disk=SiteDisk) as cache:
    for _ in range(100):
        cache.incr('n', retry=True)
        cache.touch('n', 1000, retry=True)
"""
    for one in crew[:2]:
        one.start(script, directory=signed.directory, key=KEY)

    def count() -> None:
        for _ in range(100):
            signed.incr('n', retry=True)

    threads = [threading.Thread(target=count) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for one in crew[:2]:
        one.result()
    assert signed['n'] == 400


@pytest.mark.parametrize('policy', ['least-recently-used', 'least-frequently-used'])
def test_an_increment_counts_as_an_access(directory: str, policy: str, clock: Any) -> None:
    with Cache(directory, disk=SiteDisk, eviction_policy=policy) as cache:
        cache['n'] = 1
        before = cache._sql('SELECT access_time, access_count FROM Cache').fetchall()
        clock.tick(5)
        cache.incr('n')
        assert cache._sql('SELECT access_time, access_count FROM Cache').fetchall() != before


def test_a_transaction_that_fails_leaves_all_signed(signed: Cache) -> None:
    signed.set('a', 1)
    signed.set('b', b'x' * 50_000)
    with pytest.raises(ZeroDivisionError), signed.transact():
        signed.incr('a')
        signed.touch('b', 50)
        signed['b'] = b'y' * 50_000
        signed.push(1)
        raise ZeroDivisionError
    assert (signed['a'], signed['b']) == (1, b'x' * 50_000)
    assert signed.check() == []


def test_deques_are_signed_when_they_are_renumbered(directory: str) -> None:
    expected = list(range(250))
    with Cache(directory, disk=SiteDisk, eviction_policy='none') as cache:
        deque = Deque.fromcache(cache, expected)
        deque[3] = expected[3] = b'x' * 50_000
        for steps in (1, -1, 7, 130, -120, 250, 0):
            deque.rotate(steps)
            cut = -steps % 250
            expected = expected[cut:] + expected[:cut]
            assert list(deque) == expected
        deque.reverse()
        expected.reverse()
        assert list(deque) == expected
        deque.insert(5, 'new')
        expected.insert(5, 'new')
        assert list(deque) == expected
        assert [deque[0], deque[100], deque[-1]] == [expected[0], expected[100], expected[-1]]
        assert deque.pop() == expected.pop()
        assert deque.popleft() == expected.pop(0)
        assert cache.check() == []


def test_indexes_work_on_it(directory: str) -> None:
    with Cache(directory, disk=SiteDisk, eviction_policy='none') as cache:
        index = Index.fromcache(cache, a=1, b=[2], c=b'x' * 50_000)
        index.move_to_end('a')
        index.move_to_end('c', last=False)
        assert list(index.items()) == [('c', b'x' * 50_000), ('b', [2]), ('a', 1)]
        assert index.popitem() == ('a', 1)
        assert index.setdefault('d', 5) == 5
        assert cache.check() == []


def test_shards_and_parts_have_signatures_of_their_own(directory: str) -> None:
    with FanoutCache(directory, shards=3, disk=SiteDisk) as cache:
        assert cache.set_many({n: n for n in range(20)}, tag='a') == 20
        assert cache.touch_many(range(20), 100) == 20
        assert cache.incr(5, 5) == 10
        assert cache.get_many(range(20)) == {n: n if n != 5 else 10 for n in range(20)}
        cache.cache('part')['key'] = 1
        ids = [part._setting('signed_directory') for part in (*cache._shards, cache.cache('part'))]
        assert len(set(ids)) == 4
        assert cache.check() == []


def test_recipes_and_memoized_functions_work_on_it(signed: Cache) -> None:
    calls = []

    @signed.memoize(expire=60, tag='f')
    def function(point: int) -> Point:
        calls.append(point)
        return Point(point)

    assert function(1) == function(1) == Point(1)
    assert calls == [1]
    averager = diskcache.Averager(signed, 'average')
    averager.add(1)
    averager.add(3)
    assert averager.get() == 2.0
    with diskcache.Lock(signed, 'lock'), diskcache.BoundedSemaphore(signed, 'semaphore', 2):
        pass
    with diskcache.RLock(signed, 'rlock') as lock:
        lock.acquire()
        lock.release()
    assert signed.check() == []


def test_expired_tagged_and_evicted_items_go(directory: str, clock: Any) -> None:
    with Cache(directory, disk=SiteDisk, size_limit=2**20, cull_limit=2) as cache:
        cache.set('a', 1, expire=5)
        cache.set('b', 2, tag='t')
        clock.tick(10)
        assert cache.expire() == 1
        assert cache.evict('t') == 1
        for number in range(50):
            cache[number] = b'x' * 50_000
        assert cache.volume() < 2**21
        assert cache.check() == []
        assert cache.clear() > 0
        assert value_files(directory) == set()


# --- keys ---


def test_keys_are_rotated(directory: str) -> None:
    """The first one signs, all verify."""
    with Cache(directory, disk=SignedDisk.with_keys(KEY)) as cache:
        cache.set('old', [1], expire=1000)
        cache['counted'] = 1
    with Cache(directory, disk=SignedDisk.with_keys(OTHER_KEY, KEY)) as cache:
        assert cache['old'] == [1]
        cache['new'] = [2]
        assert cache.incr('counted') == 2
    with Cache(directory, disk=SignedDisk.with_keys(OTHER_KEY)) as cache:
        assert cache.get_many(['old', 'new', 'counted']) == {'new': [2], 'counted': 2}
        assert len(cache.check()) == 1
    with Cache(directory, disk=SignedDisk.with_keys(KEY)) as cache:
        assert cache.get_many(['old', 'new', 'counted']) == {'old': [1]}


@pytest.mark.parametrize(
    ('keys', 'error'),
    [
        ((), ValueError),
        ((b'short',), ValueError),
        (('0123456789abcdef',), TypeError),
        ((KEY, b''), ValueError),
    ],
)
def test_bad_keys_are_errors(directory: str, keys: Any, error: type[Exception]) -> None:
    with pytest.raises(error, match='key'):
        SignedDisk.with_keys(*keys)
    bad = type('Bad', (SignedDisk,), {'keys': keys})
    with pytest.raises(error, match='key'):
        Cache(directory, disk=bad)


def test_a_str_is_no_sequence_of_keys(directory: str) -> None:
    with pytest.raises(TypeError, match='keys'):
        Cache(directory, disk=type('Bad', (SignedDisk,), {'keys': KEY}))


def test_the_purpose_is_signed(directory: str) -> None:
    with Cache(directory, disk=SignedDisk.with_keys(KEY, purpose='a')) as cache:
        cache['key'] = 1
    with Cache(directory, disk=SignedDisk.with_keys(KEY, purpose='b')) as cache:
        assert cache.get('key') is None
    with pytest.raises(TypeError, match='purpose'):
        SignedDisk.with_keys(KEY, purpose=5)  # type: ignore[arg-type]


def test_no_key_gets_onto_the_disk_or_into_a_pickle(signed: Cache) -> None:
    signed['key'] = b'x' * 50_000
    with pickle_of(signed) as copy:
        assert copy['key'] == b'x' * 50_000
    assert KEY not in pickle.dumps(signed)
    with (
        Cache(signed.directory, disk=SignedDisk.with_keys(KEY)) as cache,
        pytest.raises((pickle.PicklingError, AttributeError)),
    ):
        pickle.dumps(cache)
    signed.close()
    for path in Path(signed.directory).rglob('*'):
        if path.is_file():
            assert KEY not in path.read_bytes()


def pickle_of(cache: Cache) -> Cache:
    """Return what the pickle of a cache becomes."""
    copy = pickle.loads(pickle.dumps(cache))
    assert isinstance(copy, Cache)
    return copy


# --- directories ---


@pytest.mark.parametrize('disk', [Disk, SafeDisk, JSONDisk])
@pytest.mark.parametrize('value', [1, 'text', b'x' * 50_000, [1]], ids=['1', 'text', 'file', '[1]'])
@pytest.mark.filterwarnings('ignore::diskcache.CacheWarning')
def test_for_another_disk_there_is_no_such_item(
    signed: Cache, disk: type[Disk], value: object
) -> None:
    """None would be taken for the value: a memoized function returned it."""
    signed.push(value)
    (key,) = signed
    with Cache(signed.directory, disk=disk) as other:
        if disk is JSONDisk:
            (key,) = other._stored_keys()
        assert other.get(key, 'default') == 'default'
        assert other.pop(key, 'default') == 'default'
        with pytest.raises(KeyError):
            other[key]
        with pytest.raises(RefusedError):
            other.pull()
    assert signed.get(500_000_000_000_000) == value


def test_a_copy_of_a_directory_is_valid(signed: Cache, tmp_path: Path) -> None:
    """The id goes with it. So a backup is one, and two copies do not differ."""
    signed['key'] = b'x' * 50_000
    signed.close()
    shutil.copytree(signed.directory, tmp_path / 'copy')
    with Cache(tmp_path / 'copy', disk=SiteDisk) as copy:
        assert copy['key'] == b'x' * 50_000


def empty(directory: str) -> None:
    """Remove the files of a cache that is open."""
    for path in Path(directory).iterdir():
        path.unlink()


def test_a_directory_that_is_emptied_keeps_its_id_while_somebody_has_it_open(
    signed: Cache,
) -> None:
    """What is about to be written when the removal is noticed has been signed already."""
    signed['key'] = 1
    with Cache(signed.directory, disk=SiteDisk) as another:
        assert another['key'] == 1
        empty(signed.directory)
        signed['new'] = 2
        another['more'] = 3
        for cache in (signed, another):
            assert cache.get_many(['key', 'new', 'more']) == {'new': 2, 'more': 3}


def test_a_directory_that_is_made_anew_by_another_has_another_id(signed: Cache) -> None:
    """Items that were on their way when that is noticed are signed for the new one."""
    signed['key'] = 1
    empty(signed.directory)
    with Cache(signed.directory, disk=SiteDisk) as another:
        another['key'] = 2
        signed['first'] = 3
        signed['kept'] = 4
        assert signed['key'] == 2
        assert another['first'] == signed['first'] == 3
        assert another['kept'] == signed['kept'] == 4
        assert another.check() == []


def test_a_directory_that_is_made_anew_is_noticed_by_a_cache_that_had_been_closed(
    signed: Cache,
) -> None:
    """No file is open then that could be seen to have moved."""
    signed['key'] = 1
    signed.close()
    empty(signed.directory)
    with Cache(signed.directory, disk=SiteDisk) as another:
        another['key'] = 2
        assert signed['key'] == 2
        signed['new'] = 3
        assert another['new'] == 3
        another.close()
        signed['newer'] = 4
        assert another['newer'] == 4


@pytest.mark.skipif(not hasattr(os, 'fork'), reason='there is no fork')
def test_a_directory_that_is_made_anew_is_noticed_by_a_child(signed: Cache) -> None:
    """It opens files of its own."""
    signed['key'] = 1
    empty(signed.directory)
    with Cache(signed.directory, disk=SiteDisk) as another:
        another['key'] = 2
        child = os.fork()
        if child == 0:
            signed['new'] = 3
            os._exit(signed.get('key') != 2)
        assert os.waitpid(child, 0)[1] == 0
        assert another['new'] == 3


@pytest.mark.filterwarnings('ignore::diskcache.CacheWarning')
def test_what_is_read_only_finds_the_id_that_others_make_later(directory: str) -> None:
    """It is opened before anybody has signed, and open while the directory is made anew."""
    Cache(directory).close()
    with Cache(directory, disk=SiteDisk, read_only=True) as reader:
        assert reader.get('key') is None
        with Cache(directory, disk=SiteDisk) as writer:
            writer['key'] = 1
            assert reader['key'] == 1
        empty(directory)
        with Cache(directory, disk=SiteDisk) as writer:
            writer['key'] = 2
            assert reader['key'] == 2


def test_many_items_are_signed_for_a_directory_that_another_has_made_anew(signed: Cache) -> None:
    """All of a batch is signed before the lock is taken, and so before that is noticed."""
    values = {'inline': 1, 'pickle': (1, 2), 'file': b'x' * 50_000}
    signed['key'] = 1
    empty(signed.directory)
    with Cache(signed.directory, disk=SiteDisk) as another:
        signed.set_many(values.items())
        assert dict(another) == dict(signed) == values
        assert another.check() == []


def test_a_directory_is_read_that_nothing_may_be_written_to(signed: Cache) -> None:
    signed['key'] = b'x' * 50_000
    signed.set('tagged', [1], tag='a')
    with Cache(signed.directory, disk=SiteDisk, read_only=True) as cache:
        assert cache['key'] == b'x' * 50_000
        assert cache.get('tagged', tag=True) == ([1], 'a')


def test_many_that_open_a_new_directory_agree_on_its_id(
    directory: str, crew: list[Interpreter]
) -> None:
    script = """
class SiteDisk(diskcache.SignedDisk):
    keys = (key,)
with Cache(directory, disk=SiteDisk) as cache:
    cache[number] = number
"""
    at_once(crew[:3], script, directory=directory, key=KEY)
    with Cache(directory, disk=SiteDisk) as cache:
        assert cache.get_many(range(3)) == {0: 0, 1: 1, 2: 2}


def test_what_a_disk_has_written_is_a_miss_and_the_reverse_no_pickle(
    signed: Cache, caplog: pytest.LogCaptureFixture
) -> None:
    signed['key'] = [Point()]
    with pytest.warns(diskcache.CacheWarning, match='SignedDisk'):
        plain = Cache(signed.directory)
    with plain:
        assert plain.get('key', 'default') == 'default'
        plain['plain'] = 5
    assert 'only a SignedDisk' in caplog.records[0].getMessage()
    log_module._logged.clear()
    with caplog.at_level(logging.WARNING, 'diskcache'):
        assert signed.get('plain') is None
        assert list(signed.items()) == [('key', [Point()])]
    assert 'has no signature' in caplog.records[-1].getMessage()
    assert [mode for mode, *_ in rows(signed)] == [20, MODE_RAW]


def test_the_original_opens_the_directory(original: Interpreter, signed: Cache) -> None:
    """With its own Disk it finds no values; it counts, expires and checks, and harms nothing."""
    signed.set('a', 1, expire=1000, tag='t')
    signed['b'] = [b'x' * 50_000]
    signed.close()
    script = """
with Cache(directory) as cache:
    found = len(cache), list(cache), cache.get('a'), cache.get('b'), cache.expire(), cache.check()
    cache['plain'] = 1
found
"""
    assert original.run(script, directory=signed.directory) == (2, ['a', 'b'], None, None, 0, [])
    assert signed.get_many(['a', 'b', 'plain']) == {'a': 1, 'b': [b'x' * 50_000]}


def test_a_disk_without_its_cache_decides_nothing(signed: Cache) -> None:
    """What a value belongs to is signed; so without it nothing is loaded, and nothing signed."""
    size, mode, filename, value = signed.disk.store([1], False)
    with pytest.raises(diskcache.RefusedError):
        signed.disk.fetch(mode, filename, value, False)
    with pytest.raises(RuntimeError):
        SiteDisk(signed.directory)._seal('key', True, None, None, mode, value)
    assert size == 0


@pytest.mark.filterwarnings('ignore::diskcache.CacheWarning')
def test_a_check_without_the_key_deletes_nothing(signed: Cache, directory: str) -> None:
    """Who maintains a directory, on the command line for one, has no key for what is signed.

    The modes of signed rows are none of a Disk's. They were taken for damage, and all items were
    deleted. They are told of, once.
    """
    values = {'raw': 1, 'pickle': (1, 2), 'file': b'x' * 50_000, 'text': 'é' * 50_000}
    signed.update(values)
    for disk in (Disk, JSONDisk, SafeDisk):
        with Cache(directory, disk=disk) as other:
            (found,) = other.check(fix=True)
        text = 'signed: row 1 and 3 more cannot be loaded without a SignedDisk'
        assert str(found.message) == text
        assert found.message.harmless  # type: ignore[union-attr]
        assert not found.message.mended  # type: ignore[union-attr]
    assert dict(signed) == values
    assert signed.check() == []
