"""FanoutCache: keys go to shards, a lock that is not to be had in time is an answer."""

from __future__ import annotations

import copy
import io
import operator
import os
import pickle
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
import zlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from concurrent.futures import TimeoutError as NotDone
from contextlib import ExitStack, closing, contextmanager
from functools import partial
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
from consistency import reports, stored_filenames, value_files
from interpreter import Clock, Interpreter, at_once
from places import PACKAGE

import diskcache
from diskcache import Cache, Deque, Disk, FanoutCache, Index, JSONDisk, Timeout

LARGE = b'x' * 100_000
SHARDS = 4


class FirstCharacterDisk(Disk):
    """A Disk that puts keys which begin with the same character into the same shard."""

    def hash(self, key: Any) -> int:
        """Return the code of the first character."""
        return ord(key[0])


@pytest.fixture
def fanout(directory: str) -> Iterator[FanoutCache]:
    """A FanoutCache of four shards in `directory`, which waits 10 ms for a lock."""
    with FanoutCache(directory, shards=SHARDS) as fanout:
        yield fanout


def query(shard_directory: str, statement: str) -> list[tuple]:
    """Return the rows that `statement` finds in the database of a shard."""
    with closing(sqlite3.connect(f'{shard_directory}/cache.db')) as con:
        return con.execute(statement).fetchall()


def query_shards(fanout: FanoutCache, statement: str) -> list[tuple]:
    """Return the first row that `statement` finds in each shard's database."""
    paths = sorted(Path(fanout.directory).glob('[0-9]' * 3))
    return [query(str(path), statement)[0] for path in paths]


def stored(fanout: FanoutCache, setting: str) -> list[object]:
    """Return the value of a setting in each shard's database."""
    rows = query_shards(fanout, f"SELECT value FROM Settings WHERE key = '{setting}'")
    return [value for (value,) in rows]


@contextmanager
def hold(*shards: Cache, statement: str = 'BEGIN IMMEDIATE') -> Iterator[None]:
    """Be another connection that holds the locks of `shards`."""
    with ExitStack() as stack:
        for shard in shards:
            con = sqlite3.connect(f'{shard.directory}/cache.db', isolation_level=None)
            stack.enter_context(closing(con)).execute(statement)
        yield


def wait_for_locks(call: Callable[[], object], *shards: Cache, **options: str) -> object:
    """Return what `call` returns; it must not do so before the locks of `shards` are given back."""
    with ThreadPoolExecutor(1) as pool:
        with hold(*shards, **options):
            future = pool.submit(call)
            with pytest.raises(NotDone):
                future.result(timeout=0.1)  # Many times the timeout of the cache.
        return future.result()


def assert_sound(fanout: FanoutCache) -> None:
    """Assert that no shard is locked, and that there is one value file for each row with one."""
    assert reports(fanout) == []
    for shard in fanout._shards:
        assert value_files(shard.directory) == stored_filenames(shard)
        with Cache(shard.directory, timeout=0) as second, second.transact():
            pass


# ---- Opening


def test_each_shard_is_a_cache_of_its_own(fanout: FanoutCache, directory: str) -> None:
    assert sorted(os.listdir(directory)) == ['000', '001', '002', '003']
    for number in range(SHARDS):
        with Cache(f'{directory}/{number:03d}') as shard:
            assert len(shard) == 0


def test_there_are_eight_shards_by_default(directory: str) -> None:
    with FanoutCache(directory):
        assert len(os.listdir(directory)) == 8


def test_without_a_directory_it_makes_a_temporary_one() -> None:
    with FanoutCache(shards=1) as one, FanoutCache(shards=1) as two:
        assert os.path.isdir(one.directory)
        assert one.directory != two.directory
        one['key'] = 1
        assert 'key' not in two
    shutil.rmtree(one.directory)
    shutil.rmtree(two.directory)


@pytest.mark.parametrize('form', [str, Path, os.fsencode])
def test_the_directory_may_be_any_kind_of_path(directory: str, form: Callable) -> None:
    with FanoutCache(form(directory), shards=1) as fanout:
        assert fanout.directory == directory


def test_home_and_variables_in_the_directory_are_expanded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv('HOME', str(tmp_path))
    monkeypatch.setenv('USERPROFILE', str(tmp_path))
    monkeypatch.setenv('PART_OF_PATH', 'inner')
    with FanoutCache('~/$PART_OF_PATH', shards=1) as fanout:
        assert Path(fanout.directory) == tmp_path / 'inner'


@pytest.mark.parametrize('shards', [0, -1])
def test_a_number_of_shards_that_is_not_positive_is_a_value_error(
    directory: str, shards: int
) -> None:
    with pytest.raises(ValueError, match='shards'):
        FanoutCache(directory, shards=shards)
    assert not os.path.exists(directory)


@pytest.mark.parametrize('shards', [None, '8', 8.0, [8]])
def test_a_number_of_shards_that_is_no_int_is_a_type_error(directory: str, shards: Any) -> None:
    with pytest.raises(TypeError, match='shards'):
        FanoutCache(directory, shards=shards)
    assert not os.path.exists(directory)


@pytest.mark.parametrize('size_limit', ['1000', [1000]])
def test_a_size_limit_that_is_no_number_is_a_type_error(directory: str, size_limit: Any) -> None:
    with pytest.raises(TypeError, match='size_limit'):
        FanoutCache(directory, size_limit=size_limit)


def test_settings_are_those_of_each_shard(directory: str) -> None:
    settings = {'cull_limit': 3, 'eviction_policy': 'least-recently-used', 'statistics': 1}
    with FanoutCache(directory, SHARDS, 1, JSONDisk, disk_compress_level=7, **settings) as fanout:
        for name, value in settings.items():
            assert stored(fanout, name) == [value] * SHARDS
        assert stored(fanout, 'disk_compress_level') == [7] * SHARDS
        assert type(fanout.disk) is JSONDisk
        assert fanout.timeout == 1


# ---- Values


def test_it_is_used_like_a_dictionary(fanout: FanoutCache) -> None:
    fanout['key'] = 'value'
    assert fanout['key'] == 'value'
    assert 'key' in fanout
    assert len(fanout) == 1
    del fanout['key']
    assert 'key' not in fanout
    with pytest.raises(KeyError, match='key'):
        fanout['key']
    with pytest.raises(KeyError, match='key'):
        del fanout['key']


def test_an_expired_item_is_not_there(fanout: FanoutCache, clock: Clock) -> None:
    assert fanout.set('key', 'value', expire=10, tag='tag')
    assert fanout.get('key', expire_time=True, tag=True) == ('value', clock.now + 10, 'tag')
    clock.tick(11)
    assert 'key' not in fanout
    assert fanout.get('key', 'default') == 'default'


def test_touch_moves_the_expiry(fanout: FanoutCache, clock: Clock) -> None:
    fanout.set('key', 'value', expire=10)
    assert fanout.touch('key', 100) is True
    clock.tick(50)
    assert fanout.get('key', expire_time=True) == ('value', clock.now + 50)
    assert fanout.touch('key') is True
    assert fanout.get('key', expire_time=True) == ('value', None)
    assert fanout.touch('missing', 5) is False


def test_add_stores_only_what_is_missing(fanout: FanoutCache) -> None:
    assert fanout.add('key', 1, tag='first') is True
    assert fanout.add('key', 2) is False
    assert fanout.get('key', tag=True) == (1, 'first')


def test_incr_and_decr_count(fanout: FanoutCache) -> None:
    assert [fanout.incr('a'), fanout.incr('a', 5), fanout.decr('a', 2)] == [1, 6, 4]
    assert fanout.incr('b', default=10) == 11
    assert fanout.decr('c') == -1
    with pytest.raises(KeyError, match='missing'):
        fanout.incr('missing', default=None)
    with pytest.raises(KeyError, match='missing'):
        fanout.decr('missing', default=None)


@pytest.mark.parametrize('method', ['get', 'pop'])
def test_a_missing_key_gives_the_default_in_the_form_asked_for(
    fanout: FanoutCache, method: str
) -> None:
    call = partial(getattr(fanout, method), 'missing')
    assert call() is None
    assert call('default') == 'default'
    assert call('default', tag=True) == ('default', None)
    assert call('default', expire_time=True, tag=True) == ('default', None, None)


def test_pop_removes_what_it_returns(fanout: FanoutCache) -> None:
    fanout.set('key', LARGE, expire=1000, tag='tag')
    value, expire_time, tag = fanout.pop('key', expire_time=True, tag=True)
    assert (value, tag) == (LARGE, 'tag')
    assert expire_time is not None
    assert 'key' not in fanout
    assert_sound(fanout)


def test_delete_tells_whether_there_was_something(fanout: FanoutCache) -> None:
    fanout['key'] = LARGE
    assert fanout.delete('key') is True
    assert fanout.delete('key') is False
    assert_sound(fanout)


def test_a_large_value_comes_from_a_file_and_goes_to_one(fanout: FanoutCache) -> None:
    assert fanout.set('key', io.BytesIO(LARGE), read=True) is True
    assert fanout.add('other', io.BytesIO(LARGE[:10]), read=True) is True
    with fanout.get('key', read=True) as reader, fanout.read('other') as other:
        assert reader.read() == LARGE
        assert other.read() == LARGE[:10]
        assert os.path.exists(reader.name)
    assert fanout['key'] == LARGE


class CountingDisk(Disk):
    """A Disk whose hash of an int is that int, whatever it is."""

    def hash(self, key: Any) -> Any:
        return key


@pytest.mark.parametrize('key', [-1, -(2**70), 2**31, 2**32 + 1, 2**63 - 1, 2**70, True], ids=repr)
def test_a_hash_may_be_any_integer(directory: str, key: int) -> None:
    with FanoutCache(directory, shards=SHARDS, disk=CountingDisk) as fanout:
        fanout[key] = 'value'
        assert (fanout.get(key), fanout[key], key in fanout) == ('value', 'value', True)
        assert fanout._shards[key % SHARDS].get(key) == 'value'


def test_a_hash_that_is_no_integer_is_an_error(directory: str) -> None:
    with FanoutCache(directory, shards=SHARDS, disk=CountingDisk) as fanout:
        for lookup in (fanout.get, fanout.__getitem__, fanout.__contains__):
            for key in (1.5, 'key'):
                with pytest.raises(TypeError):
                    lookup(key)


def test_a_key_without_a_hash_is_an_error(fanout: FanoutCache) -> None:
    for lookup in (fanout.get, fanout.__getitem__):
        with pytest.raises(ValueError, match='NaN'):
            lookup(float('nan'))


def test_keys_are_looked_up_where_other_methods_put_them(fanout: FanoutCache) -> None:
    for key in (1, 1.5, -(2**40), 2**70, 'key', '', 'ä' * 1000, b'key', None, ('a', 1)):
        fanout.set(key, repr(key))
        shard = fanout._shard(key)
        assert (fanout.get(key), fanout[key], shard[key]) == (repr(key),) * 3


def test_a_lookup_that_is_patched_in_the_shard_is_called(
    fanout: FanoutCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    fanout['key'] = 'value'
    assert fanout.get('key') == 'value'
    monkeypatch.setattr(fanout._shard('key'), 'get', lambda *args: args, raising=False)
    assert fanout.get('key', 1) == ('key', 1)
    assert fanout.get('key', tag=True)[:2] == ('key', None)


def look_up(fanout: FanoutCache, key: Any) -> tuple[Any, Any, bool]:
    """Return what all three lookups say of a key."""
    try:
        value = fanout[key]
    except KeyError:
        value = None
    return fanout.get(key), value, key in fanout


def test_lookups_that_a_class_or_a_shard_has_taken_over_are_called(
    fanout: FanoutCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also of what is in memory, which is found without them."""
    fanout['key'] = 'value'
    assert look_up(fanout, 'key') == look_up(fanout, 'key') == ('value', 'value', True)
    shard = type(fanout._shard('key'))
    with monkeypatch.context() as patch:
        patch.setattr(shard, '__getitem__', lambda *_: 'patched', raising=False)
        assert look_up(fanout, 'key') == look_up(fanout, 'key') == ('value', 'patched', True)
    with monkeypatch.context() as patch:
        patch.setattr(shard, '__contains__', lambda *_: False, raising=False)
        assert look_up(fanout, 'key') == look_up(fanout, 'key') == ('value', 'value', False)
    with monkeypatch.context() as patch:
        patch.setattr(shard, 'get', lambda *_, **__: 'patched', raising=False)
        assert look_up(fanout, 'key') == look_up(fanout, 'key') == ('patched', 'patched', True)
    assert look_up(fanout, 'key') == ('value', 'value', True)


def test_lookups_go_by_the_disk_and_the_hash_of_this_moment(fanout: FanoutCache) -> None:
    class Other(Disk):
        def put(self, key: Any) -> Any:
            return super().put(f'other {key}')

        def fetch(self, *_: Any) -> Any:
            return 'fetched'

    fanout['key'] = 'value'
    assert look_up(fanout, 'key') == look_up(fanout, 'key') == ('value', 'value', True)
    shard, own_hash = fanout._shard('key'), fanout._hash
    own_disk, shard._disk = shard._disk, Other(shard.directory)
    assert look_up(fanout, 'key') == (None, None, False)
    fanout['key'] = 'value'
    assert look_up(fanout, 'key') == ('fetched', 'fetched', True)
    shard._disk = own_disk
    assert look_up(fanout, 'key') == ('value', 'value', True)
    number = fanout._shards.index(shard)
    for other in (lambda _: number + 1, shard._disk.__class__.hash.__get__(Other(''))):
        fanout._hash = other
        assert look_up(fanout, 'key') == (None, None, False)
    fanout._hash = own_hash
    assert look_up(fanout, 'key') == ('value', 'value', True)


def test_an_item_in_memory_expires(directory: str, clock: Clock) -> None:
    with FanoutCache(directory, shards=SHARDS) as fanout:
        fanout.set('key', 'value', expire=10)
        assert look_up(fanout, 'key') == look_up(fanout, 'key') == ('value', 'value', True)
        clock.tick(11)
        assert look_up(fanout, 'key') == (None, None, False)


def test_a_transaction_sees_what_it_has_written_and_other_threads_do_not(
    fanout: FanoutCache,
) -> None:
    fanout['key'] = 'value'
    assert look_up(fanout, 'key') == look_up(fanout, 'key') == ('value', 'value', True)
    with ThreadPoolExecutor(1) as pool, fanout.transact():
        del fanout['key']
        assert look_up(fanout, 'key') == (None, None, False)
        assert pool.submit(look_up, fanout, 'key').result(30) == ('value', 'value', True)
    assert look_up(fanout, 'key') == (None, None, False)


def test_lookups_that_memory_has_answered_are_counted(fanout: FanoutCache) -> None:
    fanout['key'] = 'value'
    look_up(fanout, 'key')
    before = fanout.memory_stats()['hits']
    look_up(fanout, 'key')
    assert fanout.memory_stats()['hits'] == before + 3


def test_shards_are_replaced_as_a_whole(fanout: FanoutCache) -> None:
    """So that a thread loses nothing that another one has put there meanwhile."""
    former = fanout._shards
    assert isinstance(former, tuple)
    assert fanout._replace_shards(former, former[::-1])
    assert fanout._shards == former[::-1]
    assert not fanout._replace_shards(former, former)
    assert fanout._shards == former[::-1]


def test_what_a_test_puts_in_the_place_of_the_shards_is_asked(fanout: FanoutCache) -> None:
    """As the original's own tests do."""
    fanout['key'] = 'value'
    with mock.patch.object(fanout, '_shards', mock.MagicMock()) as shards:
        shards.__getitem__.return_value = {'key': 'other'}
        assert look_up(fanout, 'key') == ('other', 'other', True)
        shards.__getitem__.assert_called_with(fanout._hash('key') % SHARDS)
    assert look_up(fanout, 'key') == ('value', 'value', True)
    fanout._shards = [*fanout._shards]
    assert look_up(fanout, 'key') == ('value', 'value', True)


def test_a_former_shard_is_not_asked(fanout: FanoutCache) -> None:
    for key in range(40):
        fanout[key] = key
        assert look_up(fanout, key) == look_up(fanout, key)
    fanout._shards = (*fanout._shards[1:], fanout._shards[0])
    assert [look_up(fanout, key) for key in range(40)] == [(None, None, False)] * 40
    fanout._shards = ()
    with pytest.raises(IndexError):
        fanout.get(1)


def test_a_cache_that_is_not_initialized_has_no_shards() -> None:
    for lookup in (
        *(FanoutCache.get, FanoutCache.__getitem__, FanoutCache.__contains__, FanoutCache.set),
    ):
        with pytest.raises(AttributeError):
            lookup(FanoutCache.__new__(FanoutCache), 'key', *([1] * (lookup is FanoutCache.set)))


def test_what_a_lookup_raises_beside_errors_of_the_database_is_raised(fanout: FanoutCache) -> None:
    fanout['key'] = 'value'
    error = RuntimeError('of the shard')

    def fail(*_: object) -> None:
        raise error

    fanout._shard('key').get = fail
    with pytest.raises(RuntimeError) as raised:
        fanout.get('key')
    assert raised.value is error


def test_reading_a_missing_key_is_a_key_error(fanout: FanoutCache) -> None:
    with pytest.raises(KeyError, match='missing'):
        fanout.read('missing')


def test_the_reader_of_a_replaced_value_reads_the_old_one(fanout: FanoutCache) -> None:
    fanout.set('key', io.BytesIO(LARGE), read=True)
    with fanout.read('key') as reader:
        fanout['key'] = b'new'
        assert reader.read() == LARGE


def test_nan_as_a_key_is_a_value_error(fanout: FanoutCache) -> None:
    with pytest.raises(ValueError, match=r'(?i)nan'):
        fanout[float('nan')] = 1
    assert len(fanout) == 0


# ---- Shards


@pytest.mark.parametrize('form', [str, lambda number: str(number).encode()], ids=['str', 'bytes'])
def test_the_checksum_of_a_text_says_which_shard_is_its_own(
    fanout: FanoutCache, directory: str, form: Callable
) -> None:
    for number in range(50):
        key = form(number)
        fanout[key] = number
        shard = zlib.adler32(str(number).encode()) % SHARDS
        rows = query(f'{directory}/{shard:03d}', 'SELECT value FROM Cache')
        assert (number,) in rows


def test_integers_go_to_the_shards_in_turn(fanout: FanoutCache, directory: str) -> None:
    for number in range(20):
        fanout[number] = 'value'
    for shard in range(SHARDS):
        rows = query(f'{directory}/{shard:03d}', 'SELECT key FROM Cache ORDER BY key')
        assert [key for (key,) in rows] == list(range(shard, 20, SHARDS))


KEYS = ['a', '', b'a', 0, -5, 2**40, 1.5, -0.5, None, True, (1, 'a'), 2**70, frozenset([1]), 'ä']


@pytest.mark.parametrize('key', KEYS, ids=repr)
def test_a_key_of_any_kind_is_found_again_after_reopening(fanout: FanoutCache, key: object) -> None:
    fanout[key] = 'value'
    with FanoutCache(fanout.directory, SHARDS) as again:
        assert again[key] == 'value'
        assert list(again) == [key]


def test_a_disk_may_say_which_shard_a_key_belongs_to(directory: str) -> None:
    with FanoutCache(directory, SHARDS, disk=FirstCharacterDisk) as fanout:
        for key in ('a1', 'a2', 'b1', 'b2', 'b3'):
            fanout[key] = key.upper()
        assert fanout['b3'] == 'B3'
        assert fanout.pop('a2') == 'A2'
        counts = [count for (count,) in query_shards(fanout, 'SELECT COUNT(*) FROM Cache')]
        assert counts == [0, 1, 3, 0]  # ord('a') is 97.


def test_a_shard_that_is_locked_does_not_keep_the_others_from_writing(fanout: FanoutCache) -> None:
    with hold(fanout._shard(0)):
        assert [fanout.set(number, 'value') for number in range(8)] == [
            number % SHARDS != 0 for number in range(8)
        ]


# ---- Locks

# What each operation answers when the locks are not to be had in time, and what otherwise.
OPERATIONS: dict[str, tuple[Callable[[FanoutCache, bool], object], object, object]] = {
    'set': (lambda fanout, retry: fanout.set('key', 'new', retry=retry), False, True),
    'set of a large value': (lambda fanout, retry: fanout.set('key', LARGE, retry=retry), False,
                             True),
    'add': (lambda fanout, retry: fanout.add('missing', LARGE, retry=retry), False, True),
    'touch': (lambda fanout, retry: fanout.touch('key', 5, retry), False, True),
    'incr': (lambda fanout, retry: fanout.incr('count', retry=retry), None, 6),
    'decr': (lambda fanout, retry: fanout.decr('count', retry=retry), None, 4),
    'pop': (lambda fanout, retry: fanout.pop('key', retry=retry), None, 'old'),
    'pop with a default': (lambda fanout, retry: fanout.pop('key', 7, retry=retry), 7, 'old'),
    'pop with its tag': (lambda fanout, retry: fanout.pop('key', 7, tag=True, retry=retry),
                         (7, None), ('old', 'tag')),
    'pop of everything': (lambda fanout, retry: fanout.pop('key', 7, True, True, retry),
                          (7, None, None), ('old', 1_700_001_000.0, 'tag')),
    'delete': (lambda fanout, retry: fanout.delete('key', retry), False, True),
    'expire': (lambda fanout, retry: fanout.expire(retry), 0, 1),
    'evict': (lambda fanout, retry: fanout.evict('tag', retry), 0, 1),
    'cull': (lambda fanout, retry: fanout.cull(retry), 0, 1),
    'clear': (lambda fanout, retry: fanout.clear(retry), 0, 3),
}  # fmt: skip


def fill(fanout: FanoutCache, clock: Clock) -> dict[str, object]:
    """Store what OPERATIONS work on; return it."""
    fanout.reset('cull_limit', 0)
    fanout.set('expired', 'gone', expire=1)
    clock.tick(10)
    fanout.set('key', 'old', expire=990, tag='tag')  # It expires at 1_700_001_000.
    fanout.set('count', 5)
    return {'key': 'old', 'count': 5}


@pytest.mark.parametrize(('call', 'answer', '_'), OPERATIONS.values(), ids=OPERATIONS.keys())
@pytest.mark.parametrize('timeout', [0, 0.01])
def test_a_lock_that_is_not_to_be_had_in_time_is_an_answer(
    directory: str, clock: Clock, call: Callable, answer: object, _: object, timeout: float
) -> None:
    with FanoutCache(directory, SHARDS, timeout) as fanout:
        contents = fill(fanout, clock)
        with hold(*fanout._shards):
            assert call(fanout, False) == answer
        assert {key: fanout[key] for key in contents} == contents
        assert len(fanout) == 3
        assert_sound(fanout)


@pytest.mark.parametrize(('call', '_', 'answer'), OPERATIONS.values(), ids=OPERATIONS.keys())
def test_retry_waits_until_the_locks_are_given_back(
    fanout: FanoutCache, clock: Clock, call: Callable, _: object, answer: object
) -> None:
    fill(fanout, clock)
    assert wait_for_locks(lambda: call(fanout, True), *fanout._shards) == answer
    assert_sound(fanout)


PATIENT: dict[str, tuple[Callable[[FanoutCache], object], object]] = {
    'setting an item': (lambda fanout: fanout.__setitem__('key', 'new'), None),
    'deleting an item': (lambda fanout: fanout.__delitem__('key'), None),
    'stats': (lambda fanout: fanout.stats(), (0, 0)),
    'reset': (lambda fanout: fanout.reset('cull_limit', 5), 5),
    'create_tag_index': (lambda fanout: fanout.create_tag_index(), None),
    'drop_tag_index': (lambda fanout: fanout.drop_tag_index(), None),
}


@pytest.mark.parametrize(('call', 'answer'), PATIENT.values(), ids=PATIENT.keys())
def test_what_has_no_retry_waits(
    fanout: FanoutCache, clock: Clock, call: Callable, answer: object
) -> None:
    fill(fanout, clock)
    assert wait_for_locks(lambda: call(fanout), *fanout._shards) == answer


READS: dict[str, tuple[Callable[[FanoutCache], object], object]] = {
    'subscript': (lambda fanout: fanout['key'], 'old'),
    'in': (lambda fanout: 'key' in fanout, True),
    'get': (lambda fanout: fanout.get('key', retry=True), 'old'),
    'read': (lambda fanout: fanout.read('file').close(), None),
}


@pytest.mark.parametrize(('call', 'answer'), READS.values(), ids=READS.keys())
def test_a_read_waits_where_writers_lock_readers_out(
    directory: str, call: Callable, answer: object
) -> None:
    with FanoutCache(directory, SHARDS, sqlite_journal_mode='delete') as fanout:
        fanout['key'] = 'old'
        fanout.set('file', io.BytesIO(LARGE), read=True)
        exclusively = {'statement': 'BEGIN EXCLUSIVE'}
        assert wait_for_locks(lambda: call(fanout), *fanout._shards, **exclusively) == answer


def test_readers_do_not_wait_for_writers(fanout: FanoutCache) -> None:
    fanout['key'] = 'value'
    with hold(*fanout._shards):
        assert fanout['key'] == fanout.get('key') == 'value'
        assert 'key' in fanout
        assert list(fanout) == ['key']
        assert len(fanout) == 1


@pytest.mark.parametrize('timeout', [0, 0.01])
def test_check_of_a_locked_shard_is_a_timeout(directory: str, timeout: float) -> None:
    """Unless it is sound: then no lock is needed."""
    with FanoutCache(directory, SHARDS, timeout) as fanout:
        with hold(fanout._shards[2]):
            assert fanout.check() == []
        fanout._shards[2]['key'] = LARGE
        os.remove(next(Path(fanout._shards[2].directory).glob('*/*/*.val')))
        with hold(fanout._shards[2]), pytest.raises(Timeout):
            fanout.check()
        fanout.check(fix=True, retry=True)
        assert_sound(fanout)


@pytest.mark.parametrize(
    'call',
    [lambda fanout: fanout.set('key', 1), lambda fanout: fanout['key'],
     lambda fanout: fanout.pop('key'), lambda fanout: fanout.delete('key'),
     lambda fanout: fanout.incr('key'), lambda fanout: fanout.clear()],
    ids=['set', 'item', 'pop', 'delete', 'incr', 'clear'],
)  # fmt: skip
def test_errors_other_than_timeouts_are_raised(directory: str, call: Callable) -> None:
    FanoutCache(directory, 1).close()
    with FanoutCache(directory, 1) as fanout:
        with closing(sqlite3.connect(f'{directory}/000/cache.db')) as con:
            con.execute('ALTER TABLE Cache RENAME TO Moved')
        with pytest.raises(sqlite3.OperationalError):
            call(fanout)


def test_get_answers_with_the_default_when_the_database_cannot_be_read(
    directory: str, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A site with a broken disk has misses, not errors; and a log that says so, but is not full."""
    with FanoutCache(directory, 4) as fanout:
        fanout.set('key', 1)
        for number in range(4):
            with closing(sqlite3.connect(f'{directory}/{number:03d}/cache.db')) as con:
                con.execute('ALTER TABLE Cache RENAME TO Moved')
        for _ in range(3):
            assert fanout.get('key') is None
            assert fanout.get('key', 'default', expire_time=True) == ('default', None)
            assert fanout.get_many(range(10)) == {}
        (record,) = caplog.records
        assert (record.name, record.levelname) == ('diskcache.lookup', 'WARNING')
        assert directory in record.getMessage()
        assert 'no such table' in record.getMessage()
        now = time.monotonic() + 61
        monkeypatch.setattr(time, 'monotonic', lambda: now)
        assert fanout.get('key', 'default') == 'default'
        assert len(caplog.records) == 2


def test_get_answers_with_the_default_without_file_descriptors(alone: Interpreter) -> None:
    """Also where nothing can be imported any more to log it with."""

    def use_up_the_descriptors() -> list:
        import resource

        fanout = diskcache.FanoutCache(shards=2, timeout=1)
        fanout['key'] = b'value' * 1000
        fanout.close()
        sys.modules.pop('logging', None)
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (len(os.listdir('/proc/self/fd')), hard))
        answers = [fanout.get('key', 'default'), fanout.get_many(['key'])]
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        return [*answers, len(fanout.get('key'))]

    assert alone.run(use_up_the_descriptors) == ['default', {}, 5000]


# ---- Faults of the original


def test_defect_7_reopening_keeps_the_stored_size_limit(directory: str) -> None:
    FanoutCache(directory, SHARDS, size_limit=4_000_000).close()
    with FanoutCache(directory, SHARDS) as fanout:
        assert fanout.size_limit == 1_000_000
        assert stored(fanout, 'size_limit') == [1_000_000] * SHARDS


def test_defect_7_unpickling_keeps_the_stored_size_limit(directory: str) -> None:
    with FanoutCache(directory, SHARDS, size_limit=4_000_000) as fanout:
        with pickle.loads(pickle.dumps(fanout)) as unpickled:
            assert unpickled.size_limit == 1_000_000
        assert stored(fanout, 'size_limit') == [1_000_000] * SHARDS


def test_defect_7_another_process_keeps_the_stored_size_limit(
    directory: str, other: Interpreter
) -> None:
    with FanoutCache(directory, SHARDS, size_limit=4_000_000) as fanout:
        other.run('diskcache.FanoutCache(directory, 4).close()', directory=directory)
        assert stored(fanout, 'size_limit') == [1_000_000] * SHARDS


def test_a_size_limit_given_on_reopening_is_stored(directory: str) -> None:
    FanoutCache(directory, SHARDS, size_limit=4_000_000).close()
    with FanoutCache(directory, SHARDS, size_limit=8_000_000) as fanout:
        assert stored(fanout, 'size_limit') == [2_000_000] * SHARDS


def test_the_default_size_limit_is_shared_by_the_shards(fanout: FanoutCache) -> None:
    assert stored(fanout, 'size_limit') == [2**30 / SHARDS] * SHARDS


def test_a_size_limit_that_cannot_be_divided_is_stored_as_a_fraction(directory: str) -> None:
    with FanoutCache(directory, 3, size_limit=1_000_000) as fanout:
        assert stored(fanout, 'size_limit') == [1_000_000 / 3] * 3


REMOVALS: dict[str, Callable[[FanoutCache], int]] = {
    'clear': lambda fanout: fanout.clear(),
    'expire': lambda fanout: fanout.expire(),
    'evict': lambda fanout: fanout.evict('tag'),
    'cull': lambda fanout: fanout.cull(),
}


@pytest.mark.parametrize('call', REMOVALS.values(), ids=REMOVALS.keys())
def test_defect_19_a_removal_leaves_a_locked_shard_and_counts_the_others(
    fanout: FanoutCache, call: Callable
) -> None:
    fanout.reset('cull_limit', 0)
    for number in range(40):
        fanout.set(number, number, expire=-1, tag='tag')
    with hold(fanout._shards[1]):
        assert call(fanout) == 30
    assert sorted(fanout) == list(range(1, 40, SHARDS))
    assert call(fanout) == 10
    assert len(fanout) == 0


def test_defect_25_a_named_cache_has_the_disk_asked_for(fanout: FanoutCache) -> None:
    named = fanout.cache('name', disk=JSONDisk)
    assert type(named.disk) is JSONDisk
    named['key'] = [1, {'a': None}]
    with Cache(named.directory, disk=JSONDisk) as again:
        assert again['key'] == [1, {'a': None}]


@pytest.mark.parametrize('kind', ['cache', 'deque', 'index'])
def test_defect_25_named_parts_have_the_disk_of_the_whole(directory: str, kind: str) -> None:
    with FanoutCache(directory, 1, disk=JSONDisk) as fanout:
        part = getattr(fanout, kind)('name')
        assert type(getattr(part, 'cache', part).disk) is JSONDisk


@pytest.mark.parametrize(
    ('flags', 'answer'),
    [({}, 7), ({'tag': True}, (7, None)), ({'expire_time': True}, (7, None)),
     ({'expire_time': True, 'tag': True}, (7, None, None))],
    ids=['neither', 'tag', 'expire_time', 'both'],
)  # fmt: skip
def test_defect_26_a_get_that_meets_a_lock_returns_the_form_asked_for(
    directory: str, flags: dict, answer: object
) -> None:
    with FanoutCache(directory, 1, sqlite_journal_mode='delete') as fanout:
        fanout.set('key', 'value', expire=1000, tag='tag')
        with hold(*fanout._shards, statement='BEGIN EXCLUSIVE'):
            assert fanout.get('key', 7, **flags) == answer
        assert fanout.get('key') == 'value'


# ---- All shards at once


def test_iteration_goes_through_all_shards_and_back(fanout: FanoutCache) -> None:
    keys = ['a', b'b', 3, 4.5, None, (1, 2), *range(100, 120)]
    for key in keys:
        fanout[key] = 1
    assert len(fanout) == len(list(fanout)) == len(keys)
    assert set(fanout) == set(keys)
    assert list(reversed(fanout)) == list(fanout)[::-1]


def test_the_keys_of_a_shard_are_in_the_order_of_their_insertion(fanout: FanoutCache) -> None:
    for number in (8, 1, 4, 0, 5):
        fanout[number] = 1
    assert list(fanout) == [8, 4, 0, 1, 5]


def test_expired_items_count_until_they_are_removed(fanout: FanoutCache, clock: Clock) -> None:
    fanout.reset('cull_limit', 0)
    for number in range(10):
        fanout.set(number, number, expire=number)
    clock.tick(4.5)
    assert len(fanout) == len(list(fanout)) == 10
    assert fanout.expire() == 5
    assert sorted(fanout) == [5, 6, 7, 8, 9]
    assert fanout.expire() == 0


def test_evict_removes_the_items_with_a_tag(fanout: FanoutCache) -> None:
    for number in range(300):
        fanout.set(number, number, tag=['odd', 'even'][number % 2])
    assert fanout.evict('odd') == 150
    assert fanout.evict('odd') == 0
    assert sorted(fanout) == list(range(1, 300, 2))


def test_clear_removes_everything(fanout: FanoutCache) -> None:
    for number in range(300):
        fanout[number] = LARGE if number % 100 == 0 else number
    assert fanout.clear() == 300
    assert (len(fanout), list(fanout), fanout.clear()) == (0, [], 0)
    assert [value_files(shard.directory) for shard in fanout._shards] == [set()] * SHARDS


def test_cull_brings_every_shard_below_its_limit(directory: str) -> None:
    with FanoutCache(directory, SHARDS, size_limit=4_000_000, cull_limit=0) as fanout:
        for number in range(60):
            fanout[number] = LARGE
        removed = fanout.cull()
        assert removed > 0
        assert len(fanout) == 60 - removed
        assert [shard.volume() <= 1_000_000 for shard in fanout._shards] == [True] * SHARDS
        assert fanout.cull() == 0
        assert_sound(fanout)


def test_writes_keep_the_cache_below_its_size_limit(directory: str) -> None:
    with FanoutCache(directory, SHARDS, size_limit=4_000_000) as fanout:
        for number in range(100):
            fanout[number] = LARGE
        assert fanout.volume() <= 4_000_000
        assert fanout[99] == LARGE


def test_volume_is_the_pages_and_the_files_of_all_shards(fanout: FanoutCache) -> None:
    for number in range(20):
        fanout[number] = LARGE
    pages = query_shards(fanout, 'SELECT * FROM pragma_page_count(), pragma_page_size()')
    files = 20 * len(LARGE)
    assert fanout.volume() == sum(count * size for count, size in pages) + files


def test_stats_are_the_sums_of_all_shards(fanout: FanoutCache) -> None:
    fanout['before'] = fanout.get('before')
    assert fanout.stats() == (0, 0)
    for number in range(10):
        fanout[number] = number
        fanout.get(number), fanout.get(number + 1000)
        fanout[number]
    assert fanout.stats(enable=False, reset=True) == (20, 10)
    fanout.get(1)
    assert fanout.stats() == (0, 0)


def test_a_tag_index_is_made_and_dropped_in_all_shards(fanout: FanoutCache) -> None:
    count = "SELECT COUNT(*) FROM sqlite_master WHERE name = 'Cache_tag_rowid'"
    fanout.create_tag_index()
    assert query_shards(fanout, count) == [(1,)] * SHARDS
    assert fanout.tag_index == 1
    fanout.drop_tag_index()
    assert query_shards(fanout, count) == [(0,)] * SHARDS
    assert fanout.tag_index == 0


def test_reset_changes_a_setting_of_all_shards(fanout: FanoutCache) -> None:
    assert fanout.reset('cull_limit', 7) == 7
    assert fanout.cull_limit == 7
    assert stored(fanout, 'cull_limit') == [7] * SHARDS


def test_reset_loads_what_others_have_stored(fanout: FanoutCache, other: Interpreter) -> None:
    script = "diskcache.FanoutCache(directory, 4).reset('cull_limit', 3)"
    assert other.run(script, directory=fanout.directory) == 3
    assert fanout.cull_limit == 10
    assert fanout.reset('cull_limit') == 3
    assert [shard.cull_limit for shard in fanout._shards] == [3] * SHARDS


def test_reset_of_the_size_limit_is_that_of_one_shard(fanout: FanoutCache) -> None:
    assert fanout.reset('size_limit', 1_000_000) == 1_000_000
    assert stored(fanout, 'size_limit') == [1_000_000] * SHARDS


def test_reset_of_what_is_no_setting_is_an_error(fanout: FanoutCache) -> None:
    with pytest.raises(ValueError, match='misspelt'):
        fanout.reset('misspelt')
    with pytest.raises(TypeError, match='clear'):
        fanout.reset('clear', 1)


def test_check_of_a_sound_cache_has_nothing_to_report(fanout: FanoutCache) -> None:
    for number in range(20):
        fanout[number] = LARGE
    fanout.cache('name')['key'] = LARGE
    fanout.deque('name').append(LARGE)
    fanout.index('name')['key'] = LARGE
    assert fanout.check() == []
    assert fanout.check(fix=True) == []
    assert_sound(fanout)


def test_check_reports_the_faults_of_all_shards_and_mends_them(fanout: FanoutCache) -> None:
    for number in range(SHARDS):
        fanout[number] = LARGE
    orphan = Path(fanout._shards[0].directory, fanout.disk.filename()[0])
    orphan.parent.mkdir(parents=True, exist_ok=True)
    orphan.write_bytes(LARGE)
    os.utime(orphan, (0, 0))  # A new one could be that of a set under way.
    with fanout.read(3) as reader:
        missing = Path(reader.name)
    missing.write_bytes(b'')
    expected = {
        (diskcache.UnknownFileWarning, f'unknown file: {orphan}'),
        (UserWarning, f'wrong file size: {missing}, 0 != {len(LARGE)}'),
    }
    assert set(reports(fanout)) == expected
    missing.unlink()
    expected = {
        (diskcache.UnknownFileWarning, f'unknown file: {orphan}'),
        (UserWarning, f'file not found: {missing}'),
    }
    assert expected <= set(reports(fanout, fix=True))
    fanout.check(fix=True)  # Of directories that have become empty.
    assert not orphan.exists()
    assert sorted(fanout) == [0, 1, 2]
    assert_sound(fanout)


def test_check_tells_its_progress_in_each_shard(fanout: FanoutCache) -> None:
    steps = []
    assert fanout.check(progress=lambda step, done, total: steps.append(step)) == []
    expected = {
        f'{number:03d} {step}'
        for number in range(SHARDS)
        for step in ('database', 'rows', 'totals')
    }
    assert set(steps) == expected


def test_compact_gives_back_what_all_shards_do_not_need(directory: str) -> None:
    with FanoutCache(directory, SHARDS, sqlite_auto_vacuum=0) as fanout:
        fanout.set_many((number, 'x' * 1000) for number in range(4000))
        fanout.clear()
        before = fanout.volume()
        assert fanout.compact() >= before / 2
        assert fanout.volume() < before / 2
        assert_sound(fanout)


# ---- Transactions


def test_a_transaction_commits_in_all_shards(fanout: FanoutCache, other: Interpreter) -> None:
    script = 'sorted(diskcache.FanoutCache(directory, 4))'
    with fanout.transact():
        for number in range(20):
            fanout[number] = number
        assert len(fanout) == 20
        assert other.run(script, directory=fanout.directory) == []
    assert other.run(script, directory=fanout.directory) == list(range(20))


def test_an_exception_undoes_the_writes_of_all_shards(fanout: FanoutCache) -> None:
    for number in range(8):
        fanout[number] = LARGE
    before = {number: fanout[number] for number in fanout}
    with pytest.raises(ZeroDivisionError), fanout.transact():
        for number in range(16):
            fanout[number] = LARGE * 2
        fanout.incr('count')
        fanout.pop(3), fanout.delete(2)
        raise ZeroDivisionError
    assert {number: fanout[number] for number in fanout} == before
    assert_sound(fanout)


def test_an_inner_transaction_is_part_of_the_outer_one(fanout: FanoutCache) -> None:
    with pytest.raises(ZeroDivisionError), fanout.transact():
        with fanout.transact():
            fanout['inner'] = 1
        with fanout.transact(retry=False):
            fanout['second'] = 1
        raise ZeroDivisionError
    assert len(fanout) == 0
    with fanout.transact(), fanout.transact():
        fanout['both'] = 1
    assert list(fanout) == ['both']


def test_a_transaction_keeps_other_writers_out(fanout: FanoutCache, other: Interpreter) -> None:
    script = 'fanout = diskcache.FanoutCache(directory, 4)\n[fanout.set(n, n) for n in range(8)]'
    with fanout.transact():
        assert other.run(script, directory=fanout.directory) == [False] * 8
    assert other.run(script, directory=fanout.directory) == [True] * 8


def test_a_transaction_waits_for_the_locks_of_all_shards(fanout: FanoutCache) -> None:
    def work() -> int:
        with fanout.transact():
            fanout[0] = 1
            return len(fanout)

    assert wait_for_locks(work, fanout._shards[2]) == 1


@pytest.mark.parametrize('timeout', [0, 0.01])
def test_a_transaction_without_retry_is_a_timeout_and_holds_no_lock(
    directory: str, timeout: float
) -> None:
    with FanoutCache(directory, SHARDS, timeout) as fanout:
        with hold(fanout._shards[2]):
            with pytest.raises(Timeout), fanout.transact(retry=False):
                pytest.fail('the block was entered')
            with FanoutCache(directory, SHARDS, 0) as second:
                assert [second.set(number, 1) for number in range(4)] == [True, True, False, True]
        with fanout.transact(retry=False):
            fanout['key'] = 1
        assert_sound(fanout)


def test_a_transaction_is_also_a_decorator(fanout: FanoutCache) -> None:
    @fanout.transact()
    def work(fails: bool) -> None:
        fanout['a'] = fanout['b'] = 1
        if fails:
            raise LookupError

    with pytest.raises(LookupError):
        work(True)
    assert len(fanout) == 0
    work(False)
    work(False)
    assert len(fanout) == 2


# ---- Named parts

KINDS: dict[str, type] = {'cache': Cache, 'deque': Deque, 'index': Index}
every_kind = pytest.mark.parametrize('kind', KINDS)


@every_kind
def test_a_named_part_is_in_a_directory_of_its_name(
    fanout: FanoutCache, directory: str, kind: str
) -> None:
    part = getattr(fanout, kind)('name')
    assert type(part) is KINDS[kind]
    assert part.directory == os.path.join(directory, kind, 'name')
    assert os.path.exists(f'{part.directory}/cache.db')


@every_kind
def test_a_slash_in_a_name_nests(fanout: FanoutCache, directory: str, kind: str) -> None:
    part = getattr(fanout, kind)('a/b/c')
    assert part.directory == os.path.join(directory, kind, 'a', 'b', 'c')


@every_kind
def test_a_part_within_a_part_is_separate(fanout: FanoutCache, kind: str) -> None:
    inner, outer = (getattr(fanout, kind)(name) for name in ('a/b', 'a'))
    (inner.append if kind == 'deque' else partial(inner.__setitem__, 'key'))(LARGE)
    assert (len(inner), len(outer)) == (1, 0)
    assert getattr(outer, 'cache', outer).check(fix=True) == []
    assert len(list(inner)) == 1


@every_kind
@pytest.mark.parametrize('name', ['..', '../name', 'a/../../b', 'a/..', 'a/../b'])
def test_a_name_that_leads_out_of_the_directory_is_refused(
    fanout: FanoutCache, directory: str, kind: str, name: str
) -> None:
    before = sorted(os.listdir(directory)), sorted(os.listdir(os.path.dirname(directory)))
    with pytest.raises(ValueError, match='name'):
        getattr(fanout, kind)(name)
    after = sorted(os.listdir(directory)), sorted(os.listdir(os.path.dirname(directory)))
    assert after == before


@every_kind
def test_an_absolute_name_stays_in_the_directory(
    fanout: FanoutCache, directory: str, tmp_path: Path, kind: str
) -> None:
    part = getattr(fanout, kind)(str(tmp_path / 'elsewhere'))
    assert part.directory.startswith(os.path.join(directory, kind))
    assert not (tmp_path / 'elsewhere').exists()


@every_kind
@pytest.mark.parametrize('name', [None, 5, b'name'])
def test_a_name_that_is_no_str_is_a_type_error(
    fanout: FanoutCache, kind: str, name: object
) -> None:
    with pytest.raises(TypeError):
        getattr(fanout, kind)(name)


@every_kind
def test_a_name_gives_the_same_object_until_the_cache_is_closed(
    fanout: FanoutCache, kind: str
) -> None:
    get = getattr(fanout, kind)
    part = get('name')
    assert get('name') is part
    assert get('other') is not part
    fanout.close()
    assert get('name') is not part
    assert get('name').directory == part.directory


def test_kinds_of_parts_do_not_mix(fanout: FanoutCache) -> None:
    fanout.cache('name')['key'] = 1
    fanout.deque('name').extend([1, 2])
    fanout.index('name').update(a=1, b=2, c=3)
    sizes = len(fanout.cache('name')), len(fanout.deque('name')), len(fanout.index('name'))
    assert sizes == (1, 2, 3)
    assert len(fanout) == 0
    assert fanout.clear() == 0
    assert list(fanout.deque('name')) == [1, 2]


def test_a_named_cache_takes_a_timeout_and_settings(fanout: FanoutCache) -> None:
    named = fanout.cache('name', timeout=5, size_limit=12_345, eviction_policy='none')
    assert (named.timeout, named.size_limit) == (5, 12_345)
    assert named.eviction_policy == 'none'
    assert fanout.cache('default').timeout == 60
    assert fanout.cache('default').size_limit == 2**30


@pytest.mark.parametrize('kind', ['deque', 'index'])
def test_nothing_is_evicted_from_named_deques_and_indexes(fanout: FanoutCache, kind: str) -> None:
    assert getattr(fanout, kind)('name').cache.eviction_policy == 'none'


def test_a_named_deque_takes_its_longest_length(fanout: FanoutCache) -> None:
    deque = fanout.deque('name', maxlen=3)
    deque.extend(range(10))
    assert list(deque) == [7, 8, 9]
    assert fanout.deque('unlimited').maxlen == float('inf')


def test_parts_are_there_again_after_reopening(fanout: FanoutCache, other: Interpreter) -> None:
    fanout.cache('a')['key'] = LARGE
    fanout.deque('b/c').extend('xyz')
    fanout.index('d')['key'] = [1]
    script = """
    with diskcache.FanoutCache(directory, 4) as fanout:
        answer = len(fanout.cache('a')['key']), list(fanout.deque('b/c')), fanout.index('d')['key']
    answer
    """
    answer = other.run(script, directory=fanout.directory)
    assert answer == (len(LARGE), ['x', 'y', 'z'], [1])


# ---- Memoize


def test_a_memoized_function_is_called_once_for_the_same_arguments(fanout: FanoutCache) -> None:
    calls = []

    @fanout.memoize('name', expire=1000, tag='tag')
    def square(number: int) -> int:
        calls.append(number)
        return number * number

    assert [square(3), square(3), square(4), square(4)] == [9, 9, 16, 16]
    assert calls == [3, 4]
    value, expire_time, tag = fanout.get(square.__cache_key__(3), expire_time=True, tag=True)
    assert (value, tag) == (9, 'tag')
    assert expire_time is not None
    assert fanout.evict('tag') == 2
    assert square(3) == 9
    assert calls == [3, 4, 3]


def test_memoized_calls_that_mean_the_same_can_share_a_result(fanout: FanoutCache) -> None:
    @fanout.memoize(signature=True)
    def add(a: int, b: int = 2) -> int:
        return a + b

    assert add(1) == add(a=1) == add(1, b=2) == 3
    assert len(fanout) == 1


def test_memoize_without_parentheses_is_a_type_error(fanout: FanoutCache) -> None:
    with pytest.raises(TypeError):
        fanout.memoize(len)


def test_a_memoized_result_waits_to_be_stored(fanout: FanoutCache) -> None:
    function = fanout.memoize('name')(lambda number: [number])
    assert wait_for_locks(lambda: function(5), *fanout._shards) == [5]
    assert fanout[function.__cache_key__(5)] == [5]


# ---- Attributes, copies


@pytest.mark.parametrize('name', sorted(diskcache.DEFAULT_SETTINGS))
def test_settings_are_attributes(fanout: FanoutCache, name: str) -> None:
    assert [getattr(fanout, name)] * SHARDS == stored(fanout, name)


def test_the_timeout_and_the_disk_are_attributes(fanout: FanoutCache) -> None:
    assert fanout.timeout == 0.01
    assert type(fanout.disk) is Disk


@pytest.mark.parametrize('name', ['push', 'pull', 'peekitem', 'iterkeys', '_con', 'misspelt'])
def test_other_names_are_attribute_errors(fanout: FanoutCache, name: str) -> None:
    with pytest.raises(AttributeError, match=name):
        getattr(fanout, name)
    assert not hasattr(fanout, name)


def test_an_object_that_was_not_opened_has_no_attributes() -> None:
    blank = FanoutCache.__new__(FanoutCache)
    for name in ('timeout', 'disk', 'size_limit', '_shards', 'misspelt'):
        assert not hasattr(blank, name)


@pytest.mark.parametrize('copied', [copy.copy, copy.deepcopy], ids=['copy', 'deepcopy'])
def test_a_copy_works_on_the_same_directory(directory: str, copied: Callable) -> None:
    with FanoutCache(directory, 3, 0.5, JSONDisk) as fanout:
        fanout['key'] = 'value'
        with copied(fanout) as other:
            assert other is not fanout
            assert other['key'] == 'value'
            assert (other.directory, other.timeout, type(other.disk)) == (directory, 0.5, JSONDisk)
            other['new'] = 1
        assert fanout['new'] == 1
        assert len(os.listdir(directory)) == 3


@pytest.mark.parametrize('protocol', range(pickle.HIGHEST_PROTOCOL + 1))
def test_a_pickle_loads_in_another_process(
    directory: str, other: Interpreter, protocol: int
) -> None:
    script = """
    with pickle.loads(pickled) as fanout:
        fanout['there'] = 1
        answer = fanout['key'], fanout.timeout, type(fanout.disk).__name__
    answer
    """
    with FanoutCache(directory, 3, 0.5, JSONDisk) as fanout:
        fanout['key'] = ['value']
        pickled = pickle.dumps(fanout, protocol)
        assert other.run(script, pickled=pickled) == (['value'], 0.5, 'JSONDisk')
        assert fanout['there'] == 1


# ---- Closing


def test_a_closed_cache_opens_itself_again(fanout: FanoutCache) -> None:
    fanout['key'] = 'value'
    fanout.close()
    fanout.close()
    assert fanout['key'] == 'value'
    with fanout as same:
        assert same is fanout
    assert fanout.set('key', 'new')
    assert fanout.get('key') == 'new'


@pytest.mark.skipif(not os.path.isdir('/proc/self/fd'), reason='needs /proc')
def test_close_gives_back_all_descriptors_those_of_named_parts_too(
    fanout: FanoutCache, directory: str
) -> None:
    def descriptors() -> list[str]:
        paths = []
        for entry in os.scandir('/proc/self/fd'):
            try:
                paths.append(os.readlink(entry.path))
            except OSError:  # That of the directory itself.
                pass
        return [path for path in paths if path.startswith(directory)]

    for number in range(20):
        fanout[number] = number
    fanout.cache('a')['key'] = 1
    fanout.deque('b').append(1)
    fanout.index('c')['key'] = 1
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(fanout.get, range(20))) == list(range(20))
    assert descriptors()
    fanout.close()
    assert descriptors() == []


def test_a_part_that_somebody_holds_works_after_closing(fanout: FanoutCache) -> None:
    cache, deque, index = fanout.cache('a'), fanout.deque('b'), fanout.index('c')
    fanout.close()
    cache['key'], index['key'] = 1, 2
    deque.append(3)
    assert (cache['key'], index['key'], list(deque)) == (1, 2, [3])


# ---- Threads, processes, forks


def test_no_write_of_threads_is_lost(fanout: FanoutCache) -> None:
    def work(number: int) -> None:
        for turn in range(50):
            fanout.incr('count', retry=True)
            fanout[number, turn] = LARGE if turn % 10 == 0 else turn
            assert fanout[number, turn] is not None
            if turn % 10 == 0:
                with fanout.transact():
                    fanout['a'] = fanout.get('a', 0) + 1
                    fanout['b'] = fanout.get('b', 0) + 1

    with ThreadPoolExecutor(6) as pool:
        assert list(pool.map(work, range(6))) == [None] * 6
    assert (fanout['count'], fanout['a'], fanout['b']) == (300, 30, 30)
    assert len(fanout) == 303
    assert_sound(fanout)


def test_threads_get_the_same_object_for_a_name(fanout: FanoutCache) -> None:
    for name in map(str, range(20)):
        with ThreadPoolExecutor(4) as pool:
            caches = list(pool.map(fanout.cache, [name] * 4))
        assert all(cache is caches[0] for cache in caches)


@pytest.mark.parametrize('kind', ['cache', 'deque', 'index'])
def test_a_name_is_asked_for_while_another_thread_closes(fanout: FanoutCache, kind: str) -> None:
    class Name(str):
        """The cache has been closed when it is looked for a second time."""

        looks = 0

        def __hash__(self) -> int:
            self.looks += 1
            if self.looks == 2:
                with ThreadPoolExecutor() as pool:
                    pool.submit(fanout.close).result()
            return super().__hash__()

    part = getattr(fanout, kind)
    part('name')
    assert part(Name('name')).directory == part('name').directory


@pytest.fixture
def crew(crew: list[Interpreter]) -> list[Interpreter]:
    """Three processes with this package."""
    return crew[:3]


def test_no_write_of_processes_is_lost(crew: list[Interpreter], directory: str) -> None:
    script = """
    with diskcache.FanoutCache(directory, shards=4) as fanout:
        for turn in range(100):
            fanout.incr('count', retry=True)
            fanout[number, turn] = 'x' * 50_000 if turn % 10 == 0 else turn
            assert (number, turn) in fanout
            if turn % 10 == 0:
                with fanout.transact():
                    fanout['a'] = fanout.get('a', 0) + 1
                    fanout['b'] = fanout.get('b', 0) + 1
    """
    at_once(crew, script, directory=directory)
    with FanoutCache(directory, SHARDS) as fanout:
        assert (fanout['count'], fanout['a'], fanout['b']) == (300, 30, 30)
        assert len(fanout) == 303
        assert_sound(fanout)


def test_what_set_says_is_stored_is_stored(crew: list[Interpreter], directory: str) -> None:
    script = """
    with diskcache.FanoutCache(directory, shards=1, timeout=0) as fanout:
        kept = [turn for turn in range(300) if fanout.set((number, turn), turn)]
    kept
    """
    kept = at_once(crew, script, directory=directory)
    with FanoutCache(directory, 1) as fanout:
        expected = {(number, turn) for number, turns in enumerate(kept) for turn in turns}
        assert set(fanout) == expected


def test_several_processes_may_open_a_new_directory_at_once(
    crew: list[Interpreter], tmp_path: Path
) -> None:
    script = 'with diskcache.FanoutCache(directory, 4) as fanout: fanout[number] = number'
    for turn in range(3):
        directory = str(tmp_path / str(turn))
        at_once(crew, script, directory=directory)
        with FanoutCache(directory, SHARDS) as fanout:
            assert sorted(fanout) == [0, 1, 2]


@pytest.mark.skipif(not hasattr(os, 'fork'), reason='this platform cannot fork')
def test_parent_and_child_of_a_fork_both_go_on(alone: Interpreter, directory: str) -> None:
    script = """
    fanout = diskcache.FanoutCache(directory, shards=4)
    part = fanout.cache('part')
    part['before'] = fanout['before'] = 'x' * 50_000
    def work(name):
        assert len(fanout['before']) == len(part['before']) == 50_000
        for turn in range(100):
            fanout.incr('count', retry=True)
            part.incr('count', retry=True)
            fanout[name, turn] = turn
        with fanout.transact():
            fanout['sum'] = fanout.get('sum', 0) + 1
        return True
    children = [Child(work, name) for name in ('first', 'second')]
    work('parent'), [child.result() for child in children]
    answer = fanout['count'], part['count'], fanout['sum'], len(fanout), fanout.check()
    fanout.close()
    answer
    """
    assert alone.run(script, directory=directory) == (300, 300, 3, 303, [])


@pytest.mark.skipif(not hasattr(os, 'fork'), reason='this platform cannot fork')
def test_a_fork_in_a_transaction_leaves_it_to_the_parent(
    alone: Interpreter, directory: str
) -> None:
    script = """
    fanout = diskcache.FanoutCache(directory, shards=4)
    fanout[0] = 'before'
    with fanout.transact():
        for number in range(8):
            fanout[number] = 'uncommitted'
        seen = Child(lambda: [fanout.get(number) for number in range(8)]).result()
        observed = Child(lambda: diskcache.FanoutCache(directory, shards=4).set(1, 1)).result()
    answer = seen, observed, [fanout[number] for number in range(8)]
    fanout.close()
    answer
    """
    answer = alone.run(script, directory=directory)
    assert answer == (['before'] + [None] * 7, False, ['uncommitted'] * 8)


@pytest.mark.parametrize('turn', range(2))
def test_killed_writers_leave_every_shard_sound(
    crew: list[Interpreter], directory: str, turn: int
) -> None:
    script = """
    fanout = diskcache.FanoutCache(directory, shards=4)
    while True:
        with fanout.transact():
            value = fanout.get(0, 0) + 1
            for key in range(0, 16, 4):  # All in one shard, which commits as a whole.
                fanout[key] = value
            fanout[1] = bytes([value % 256]) * 50_000
    """
    with FanoutCache(directory, SHARDS, 0) as fanout:
        for interpreter in crew:
            interpreter.start(script, directory=directory)
        while fanout.get(0, 0) < 10 + turn * 7:
            assert all(interpreter.process.poll() is None for interpreter in crew)
        for interpreter in crew:
            interpreter.kill()
        assert len({fanout[key] for key in range(0, 16, 4)}) == 1
        assert len(set(fanout[1])) == 1
        with fanout.transact(retry=False):
            fanout['key'] = 1
        allowed = {diskcache.UnknownFileWarning, diskcache.EmptyDirWarning}
        assert {category for category, _ in reports(fanout)} <= allowed


@pytest.mark.skipif(sys.platform == 'win32', reason='needs a process that can be killed at once')
def test_the_lock_of_a_killed_process_is_free(alone: Interpreter, fanout: FanoutCache) -> None:
    script = """
    fanout = diskcache.FanoutCache(directory, 4)
    diskcache.held = fanout.transact()
    diskcache.held.__enter__()
    fanout['key'] = 1
    """
    alone.run(script, directory=fanout.directory)
    alone.kill()
    assert fanout.set('key', 2)
    assert_sound(fanout)


# Waiting where reading needs a lock, names, and what is left behind.


@pytest.mark.parametrize(
    ('read', 'expected'),
    [(len, 20), (list, 20), (lambda cache: list(reversed(cache)), 20), (FanoutCache.volume, 1)],
    ids=['len', 'iter', 'reversed', 'volume'],
)
def test_reading_waits_for_a_lock_where_there_is_no_write_ahead_log(
    directory: str, read: Callable[[FanoutCache], Any], expected: int
) -> None:
    with FanoutCache(directory, 2, sqlite_journal_mode='delete') as cache:
        for number in range(20):
            cache[number] = number
        cache.close()
        con = sqlite3.connect(f'{directory}/000/cache.db', isolation_level=None)
        con.execute('BEGIN EXCLUSIVE')
        with closing(con), ThreadPoolExecutor(1) as pool:
            found = pool.submit(read, cache)
            with pytest.raises(NotDone):
                found.result(timeout=0.1)
            con.execute('ROLLBACK')
            result = found.result(timeout=30)
        assert (len(result) if isinstance(result, list) else result) >= expected


def test_a_name_is_not_expanded(
    fanout: FanoutCache, directory: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv('UP', '../../../elsewhere')
    for part in (fanout.cache, fanout.deque, fanout.index):
        with pytest.raises(ValueError, match='environment'):
            part('$UP')
    assert fanout.cache('$nothing').directory.endswith('$nothing')


@pytest.mark.parametrize(
    'wrong',
    [
        {'disk': dict},
        {'timeout': 'x'},
        {'get': 1},
        {'eviction_policy': 'zz'},
        {'size_limit': float('nan')},
        {'shards': 0},
    ],
    ids=repr,
)
@pytest.mark.parametrize('kind', [Cache, FanoutCache])
def test_what_cannot_be_opened_leaves_no_temporary_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: type, wrong: dict[str, Any]
) -> None:
    if kind is Cache and 'shards' in wrong:
        pytest.skip('a Cache has no shards')
    monkeypatch.setattr(tempfile, 'tempdir', str(tmp_path))
    with pytest.raises((TypeError, ValueError)):
        kind(**wrong)
    assert list(tmp_path.iterdir()) == []


def test_a_deque_that_cannot_be_made_leaves_no_directory(
    fanout: FanoutCache, directory: str
) -> None:
    with pytest.raises(ValueError, match='maxlen'):
        fanout.deque('name', maxlen=-1)
    assert not os.path.exists(f'{directory}/deque')


def test_a_shard_is_pickled_as_a_cache(fanout: FanoutCache) -> None:
    fanout['key'] = 1
    shard = pickle.loads(pickle.dumps(fanout._shard('key')))
    assert type(shard) is Cache
    assert shard['key'] == 1
    assert shard.size_limit == fanout.size_limit
    shard.close()


@pytest.mark.parametrize('stand_in', ['module', 'directory'])
def test_what_only_looks_like_django_is_no_hindrance(tmp_path: Path, stand_in: str) -> None:
    (tmp_path / 'django').mkdir()
    prepare = 'sys.modules["django"] = types.ModuleType("django")' if stand_in == 'module' else ''
    script = (
        f'import sys, types; sys.path[:] = [sys.argv[1], sys.argv[2]] + [path for path in sys.path '
        f'if "site-packages" not in path]; {prepare}\n'
        'from diskcache import *; import diskcache\n'
        'print(Cache.__name__, "DjangoCache" in diskcache.__all__)\n'
        'print(hasattr(diskcache, "DjangoCache"))'
    )
    output = subprocess.run(
        [sys.executable, '-c', script, str(tmp_path), str(PACKAGE)],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert output.split() == ['Cache', 'False', 'False']


# --- shards are opened when they are first needed ---


def numbers_of_open(fanout: FanoutCache) -> list[int]:
    """Return the numbers of the shards that are open."""
    return [number for number, shard in enumerate(fanout._shards) if isinstance(shard, Cache)]


@pytest.fixture
def existing(directory: str) -> str:
    """A directory in which four shards have ten keys each, or so."""
    with FanoutCache(directory, shards=SHARDS) as fanout:
        for number in range(40):
            fanout[number] = str(number)
    return directory


def test_a_new_directory_has_all_its_shards(directory: str) -> None:
    """Programs look for them, or open them as a Cache."""
    with FanoutCache(directory, shards=SHARDS) as fanout:
        assert numbers_of_open(fanout) == [0, 1, 2, 3]
        assert stored(fanout, 'cull_limit') == [10] * SHARDS


def test_the_shards_of_an_existing_one_are_opened_when_they_are_needed(existing: str) -> None:
    with FanoutCache(existing, shards=SHARDS) as fanout:
        assert fanout.disk.hash(5) % SHARDS == 1
        assert numbers_of_open(fanout) == [0]
        assert fanout[5] == fanout.get(5) == '5'
        assert numbers_of_open(fanout) == [0, 1]
        assert fanout.set(7, 'new')
        assert 6 in fanout
        assert numbers_of_open(fanout) == [0, 1, 2, 3]
        assert len(fanout) == len(list(fanout)) == 40


def set_attribute(shard: Any) -> None:
    shard.cull_limit = 5


def use_as_context(shard: Any) -> None:
    with shard as opened:
        assert isinstance(opened, Cache)


#: What is done to a shard, and what its cull limit and its value of 5 are then.
SHARD_USES: dict[str, tuple[Callable, int, str | None]] = {
    'attribute': (set_attribute, 5, '5'),
    'set': (lambda shard: operator.setitem(shard, 5, 'new'), 10, 'new'),
    'delete': (lambda shard: operator.delitem(shard, 5), 10, None),
    'pop': (lambda shard: shard.pop(5), 10, None),
    'pickle': (lambda shard: pickle.loads(pickle.dumps(shard)).close(), 10, '5'),
    'copy': (lambda shard: copy.copy(shard).close(), 10, '5'),
    'reversed': (lambda shard: list(reversed(shard)), 10, '5'),
    'with': (use_as_context, 10, '5'),
}


@pytest.mark.parametrize(('use', 'limit', 'value'), SHARD_USES.values(), ids=SHARD_USES)
def test_a_shard_that_nobody_has_used_does_what_a_cache_does(
    existing: str, use: Callable, limit: int, value: str | None
) -> None:
    """Programs take `_shards` for caches, which the original's are."""
    with FanoutCache(existing, shards=SHARDS) as fanout:
        use(fanout._shards[1])
        assert numbers_of_open(fanout) == [0, 1]
        assert fanout._shards[1].cull_limit == limit
        assert fanout.get(5) == value


@pytest.mark.parametrize(
    'use',
    [
        *(len, list, FanoutCache.volume, FanoutCache.check, FanoutCache.clear, FanoutCache.expire),
        *(FanoutCache.stats, FanoutCache.cull, dict, lambda fanout: fanout.evict('tag')),
        *(lambda fanout: fanout.reset('cull_limit', 3), lambda fanout: list(reversed(fanout))),
        lambda fanout: fanout.transact().__enter__(),
    ],
)
def test_what_is_about_all_shards_is_about_those_that_nobody_has_used(
    existing: str, use: Callable
) -> None:
    with FanoutCache(existing, shards=SHARDS) as fanout:
        eager = FanoutCache(existing, shards=SHARDS)
        assert len(eager._all_shards()) == SHARDS
        use(fanout)
        assert numbers_of_open(fanout) == [0, 1, 2, 3]
        assert list(map(len, fanout._shards)) == list(map(len, eager._shards))
        eager.close()


def test_many_keys_are_spread_over_shards_that_nobody_has_used(existing: str) -> None:
    with FanoutCache(existing, shards=SHARDS) as fanout:
        assert fanout.get_many(range(40)) == {number: str(number) for number in range(40)}
    with FanoutCache(existing, shards=SHARDS) as fanout:
        assert fanout.set_many(dict.fromkeys(range(50), 0)) == 50
        assert fanout.delete_many(range(60)) == 50


@pytest.mark.parametrize('what', ['directory', 'database', 'contents'])
def test_a_shard_that_is_missing_is_made_at_once(existing: str, what: str) -> None:
    database = Path(existing, '002', 'cache.db')
    if what == 'contents':
        os.truncate(database, 0)
    elif what == 'database':
        database.unlink()
    else:
        shutil.rmtree(database.parent)
    with FanoutCache(existing, shards=SHARDS) as fanout:
        assert 2 in numbers_of_open(fanout)
        assert stored(fanout, 'cull_limit') == [10] * SHARDS


def test_a_file_in_the_place_of_a_shard_is_an_error_at_once(existing: str) -> None:
    shutil.rmtree(Path(existing, '002'))
    Path(existing, '002').write_text('no directory')
    with pytest.raises(OSError, match='002'):
        FanoutCache(existing, shards=SHARDS)


def test_settings_are_stored_in_all_shards_at_once(existing: str) -> None:
    with FanoutCache(existing, shards=SHARDS, cull_limit=5, size_limit=4000) as fanout:
        assert stored(fanout, 'cull_limit') == [5] * SHARDS
        assert stored(fanout, 'size_limit') == [1000] * SHARDS
    with FanoutCache(existing, shards=SHARDS, cull_limit=5, size_limit=4000) as fanout:
        assert numbers_of_open(fanout) == [0]
        assert {shard.size_limit for shard in fanout._shards} == {1000}


def test_settings_that_somebody_has_stored_since_stay(existing: str) -> None:
    """What this object was opened with is its own, as it has always been."""
    FanoutCache(existing, shards=SHARDS, cull_limit=5).close()
    with FanoutCache(existing, shards=SHARDS, cull_limit=5) as fanout:
        with FanoutCache(existing, shards=SHARDS) as other:
            other.reset('cull_limit', 7)
        assert fanout[5] == '5'
        assert fanout._numbered(1).cull_limit == 5
        assert stored(fanout, 'cull_limit') == [7] * SHARDS


def test_what_is_not_stored_holds_for_all_shards(existing: str) -> None:
    with FanoutCache(
        existing, shards=SHARDS, memory_limit=4000, on_error='miss', timeout=0.5
    ) as fanout:
        assert fanout[5] == '5'
        shard = fanout._numbered(1)
        assert (shard.memory_limit, shard.on_error, shard.timeout) == (1000, 'miss', 0.5)
        fanout.on_error = 'raise'
        assert {shard.on_error for shard in fanout._shards} == {'raise'}
        assert fanout.memory_limit == 4000


def test_a_shard_is_where_the_cache_was_opened(
    existing: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(Path(existing).parent)
    with FanoutCache(Path(existing).name, shards=SHARDS) as fanout:
        monkeypatch.chdir(tmp_path)
        (tmp_path / 'elsewhere').mkdir()
        monkeypatch.chdir('elsewhere')
        assert fanout[5] == '5'
        assert os.listdir() == []


def test_threads_that_need_a_shard_at_once_share_it(existing: str) -> None:
    for _ in range(5):
        with FanoutCache(existing, shards=SHARDS) as fanout, ThreadPoolExecutor(8) as pool:
            start = threading.Barrier(8)

            def need(number: int, fanout: FanoutCache, start: threading.Barrier) -> Cache:
                start.wait(30)
                fanout.incr(('count', number % 2), retry=True)
                return fanout._numbered(2)

            shards = list(pool.map(partial(need, fanout=fanout, start=start), range(8)))
            assert {id(shard) for shard in shards} == {id(fanout._shards[2])}
            assert fanout.pop(('count', 0)) == fanout.pop(('count', 1)) == 4


def test_what_has_not_been_used_can_be_closed_and_pickled(existing: str) -> None:
    fanout = FanoutCache(existing, shards=SHARDS)
    fanout.close()
    again = pickle.loads(pickle.dumps(fanout))
    assert numbers_of_open(fanout) == numbers_of_open(again) == [0]
    assert fanout[5] == again[5] == '5'
    assert again.directory == fanout.directory
    fanout.close()
    assert fanout[5] == '5'
    fanout.close()
    again.close()


def test_parent_and_child_each_open_a_shard(alone: Interpreter, existing: str) -> None:
    code = alone.run(
        """
        import os, diskcache
        fanout = diskcache.FanoutCache(directory, shards=4)
        child = os.fork()
        if child == 0:
            os._exit(0 if fanout[5] == '5' and fanout.set(6, 'child') else 1)
        _, status = os.waitpid(child, 0)
        status, fanout[5], fanout[6], len(fanout)
        """,
        directory=existing,
    )
    assert code == (0, '5', 'child', 40)


def test_a_directory_of_the_original_is_opened_likewise(
    original: Interpreter, directory: str
) -> None:
    """The first time what is missing there is made; the original goes on with it."""
    script = """
    import diskcache
    with diskcache.FanoutCache(directory, shards=4) as cache:
        answer = cache.set(key, key), len(cache)
    answer
    """
    assert original.run(script, directory=directory, key=5) == (True, 1)
    FanoutCache(directory, shards=SHARDS).close()
    with FanoutCache(directory, shards=SHARDS) as fanout:
        assert numbers_of_open(fanout) == [0]
        assert original.run(script, directory=directory, key=6) == (True, 2)
        assert fanout[5] + fanout[6] == 11


@pytest.mark.parametrize('on_error', [None, 'raise', 'miss', 'reset'])
def test_a_malformed_shard_is_met_when_it_is_needed(
    existing: str, on_error: str | None, logged: Callable
) -> None:
    """A lookup answers as it does where the damage comes while the shard is open."""
    Path(existing, '001', 'cache.db').write_bytes(b'no database' * 1000)
    with FanoutCache(existing, shards=SHARDS, on_error=on_error) as fanout:
        assert fanout[4] == '4'
        if on_error == 'raise':
            with pytest.raises(sqlite3.DatabaseError, match='not a database'):
                fanout.get(5)
            with pytest.raises(sqlite3.DatabaseError, match='not a database'):
                fanout.get_many([4, 5])
        else:
            assert fanout.get(5, 'default') == 'default'
            assert fanout.get_many([4, 5]) == {4: '4'}
            assert logged()
        if on_error == 'reset':
            assert fanout.set(5, 'new')
            assert fanout[5] == 'new'
        else:
            with pytest.raises(sqlite3.DatabaseError, match='not a database'):
                fanout[5]
            with pytest.raises(sqlite3.DatabaseError, match='not a database'):
                fanout.set(5, 'new')


def test_a_shard_that_cannot_be_opened_any_more_is_a_miss(existing: str, logged: Callable) -> None:
    with FanoutCache(existing, shards=SHARDS) as fanout:
        for file in Path(existing, '001').glob('cache.db*'):
            file.unlink()
        Path(existing, '001', 'cache.db').mkdir()
        assert fanout.get(5, 'default') == 'default'
        assert logged()
        with pytest.raises(sqlite3.OperationalError):
            fanout[5]
        os.rmdir(Path(existing, '001', 'cache.db'))
        assert fanout.set(5, 'anew')
        assert fanout.get(5) == 'anew'


@pytest.mark.skipif(sys.platform != 'linux', reason='the descriptors are looked up in /proc')
def test_a_cache_that_cannot_be_opened_keeps_no_shard_open(directory: str) -> None:
    os.mkdir(directory)
    Path(directory, '003').write_text('in the place of a shard')
    cache = FanoutCache.__new__(FanoutCache)
    with pytest.raises(OSError, match='003'):
        cache.__init__(directory, shards=8)  # type: ignore[misc]
    descriptors = Path('/proc/self/fd')
    opened = [os.readlink(each) for each in descriptors.iterdir() if each.is_symlink()]
    assert not [path for path in opened if path.startswith(os.path.realpath(directory))]
