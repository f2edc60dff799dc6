"""What real programs do to Cache beside calling its methods.

They subclass it, override and patch methods, replace `__init__` or re-run it, reach for its
connection, pickle it, and refer to it weakly.
"""

from __future__ import annotations

import copy
import gc
import os
import pickle
import sqlite3
import threading
import weakref
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from unittest import mock

import pytest
from consistency import report_texts, value_files
from interpreter import Interpreter

import diskcache
from diskcache import Cache, Disk, FanoutCache

LARGE = b'x' * 100_000


# Overridden and patched methods.


class Doubling(Cache):
    """A Cache that stores what it is given twice, and notes how it is asked."""

    asked: list[tuple]

    def __init__(self, *args: object, **kwargs: object) -> None:
        """Set an attribute before there is a cache."""
        self.asked = []
        super().__init__(*args, **kwargs)

    def get(self, key: object, *args: object, **kwargs: object) -> object:
        """Note the call."""
        self.asked.append(('get', key, args, kwargs))
        return super().get(key, *args, **kwargs)

    def set(self, key: object, value: object, *args: object, **kwargs: object) -> bool:
        """Note the call and double the value."""
        self.asked.append(('set', key, args, kwargs))
        return super().set(key, value * 2, *args, **kwargs)


@pytest.fixture
def doubling(directory: str) -> Doubling:
    """An open Doubling."""
    return Doubling(directory)


def test_an_overridden_get_is_called_by_subscripts_and_read(doubling: Doubling) -> None:
    doubling.add('key', 'value')
    assert doubling['key'] == 'value'
    assert doubling.read('key') == 'value'
    with pytest.raises(KeyError):
        doubling['missing']
    default = {'default': diskcache.core.ENOVAL}
    assert doubling.asked == [
        ('get', 'key', (), {**default, 'retry': True}),
        ('get', 'key', (), {**default, 'read': True, 'retry': False}),
        ('get', 'missing', (), {**default, 'retry': True}),
    ]


def test_an_overridden_set_is_called_by_assignment(doubling: Doubling) -> None:
    doubling['key'] = 'value'
    assert doubling.asked == [('set', 'key', (), {'retry': True})]
    assert doubling['key'] == 'valuevalue'


def test_overridden_methods_are_called_by_memoize(doubling: Doubling) -> None:
    function = doubling.memoize(name='f', expire=10, tag='tag')(lambda number: number)
    assert function(5) == 5
    assert function(5) == 10
    get = ('get', ('f', 5, None), (), {'default': diskcache.core.ENOVAL, 'retry': True})
    assert doubling.asked == [
        get,
        ('set', ('f', 5, None), (10,), {'tag': 'tag', 'retry': True}),
        get,
    ]


@pytest.mark.parametrize('target', ['class', 'instance'])
def test_patched_methods_are_called_and_can_be_unpatched(
    cache: Cache, monkeypatch: pytest.MonkeyPatch, target: str
) -> None:
    cache['key'] = 1
    patched = Cache if target == 'class' else cache
    calls = []
    monkeypatch.setattr(patched, 'get', lambda *args, **kwargs: calls.append('get') or 'patched')
    monkeypatch.setattr(patched, 'set', lambda *args, **kwargs: calls.append('set'))
    assert cache['key'] == 'patched'
    cache['key'] = 2
    assert calls == ['get', 'set']
    monkeypatch.undo()
    assert cache['key'] == 1
    cache['key'] = 3
    assert cache['key'] == 3


def test_other_overridden_methods_are_called_by_those_that_build_on_them(directory: str) -> None:
    class Counting(Cache):
        deleted = incremented = 0

        def __delitem__(self, key: object, retry: bool = True) -> bool:
            self.deleted += 1
            return super().__delitem__(key, retry=retry)

        def incr(self, key: object, delta: int = 1, default: int = 0, retry: bool = False) -> int:
            self.incremented += 1
            return super().incr(key, delta, default, retry)

    with Counting(directory) as cache:
        cache['key'] = 1
        assert cache.delete('key') is True
        assert cache.decr('count') == -1
        assert (cache.deleted, cache.incremented) == (1, 1)


def test_a_cache_can_be_one_of_several_bases(directory: str) -> None:
    class Named:
        def __init__(self, *args: object, name: str, **kwargs: object) -> None:
            self.name = name
            super().__init__(*args, **kwargs)

    class NamedCache(Named, Cache):
        pass

    with NamedCache(directory, name='it') as cache:
        cache['key'] = 1
        assert (cache.name, cache['key']) == ('it', 1)


def test_a_subclass_may_have_slots_and_properties(directory: str) -> None:
    class Slotted(Cache):
        __slots__ = ('extra',)

        @property
        def size_in_kilobytes(self) -> float:
            return self.volume() / 1024

    with Slotted(directory) as cache:
        cache.extra = 5
        assert cache.extra == 5
        assert cache.size_in_kilobytes > 0


# Private methods that are overridden.


def test_overridden_row_methods_are_called(directory: str) -> None:
    class Recording(Cache):
        rows: list[tuple]

        def _row_insert(self, key: object, raw: bool, now: float, columns: tuple) -> object:
            self.rows.append(('insert', key, raw, len(columns)))
            return super()._row_insert(key, raw, now, columns)

        def _row_update(self, rowid: int, now: float, columns: tuple) -> object:
            self.rows.append(('update', rowid, len(columns)))
            return super()._row_update(rowid, now, columns)

        def _cull(
            self, now: float, sql: Callable, cleanup: Callable, limit: int | None = None
        ) -> None:
            self.rows.append(('cull', callable(sql), callable(cleanup)))
            return super()._cull(now, sql, cleanup, limit)

    with Recording(directory) as cache:
        cache.rows = []
        cache['key'] = 1
        cache['key'] = LARGE
        cache['key'] = 2
        cache.add('added', 1)
        cache.push('pushed')
        cull = ('cull', True, True)
        assert cache.rows == [
            ('insert', 'key', True, 6), cull, ('update', 1, 6), cull, ('update', 1, 6), cull,
            ('insert', 'added', True, 6), cull, ('insert', 500000000000000, True, 6), cull,
        ]  # fmt: skip
        assert list(cache) == ['key', 'added', 500000000000000]
        assert value_files(directory) == set()


def test_an_overridden_cull_may_keep_everything(directory: str) -> None:
    class Hoarding(Cache):
        def _cull(self, *args: object, **kwargs: object) -> None:
            pass

    with Hoarding(directory, size_limit=500_000) as cache:
        for number in range(20):
            cache[number] = LARGE
        assert len(cache) == 20


def test_an_overridden_transact_is_used_by_the_public_one(directory: str) -> None:
    from contextlib import contextmanager

    class Watched(Cache):
        transactions = 0

        @contextmanager
        def _transact(self, retry: bool = False, filename: str | None = None) -> object:
            self.transactions += 1
            with super()._transact(retry, filename) as both:
                yield both

    with Watched(directory) as cache:
        cache['key'] = 1
        with cache.transact():
            cache['key'] = 2
        assert cache.transactions > 0
        assert cache['key'] == 2


# The private surface.


def test_private_transact_gives_sql_and_cleanup(cache: Cache, assert_intact: Callable) -> None:
    cache['key'] = LARGE
    with cache._transact(retry=True) as (sql, cleanup):
        ((rowid, filename),) = sql('SELECT rowid, filename FROM Cache').fetchall()
        sql('DELETE FROM Cache WHERE rowid = ?', (rowid,))
        cleanup(filename)
        cleanup(None)
        assert value_files(cache.directory) == {filename}
    assert 'key' not in cache
    assert value_files(cache.directory) == set()
    assert_intact(cache)


def test_private_transact_rolls_back_and_keeps_what_was_to_be_cleaned_up(
    cache: Cache, assert_intact: Callable
) -> None:
    cache['key'] = LARGE
    with pytest.raises(ZeroDivisionError), cache._transact() as (sql, cleanup):
        ((filename,),) = sql('SELECT filename FROM Cache').fetchall()
        sql('DELETE FROM Cache')
        cleanup(filename)
        raise ZeroDivisionError
    assert cache['key'] == LARGE
    assert_intact(cache)


def test_private_transact_removes_its_file_on_a_timeout(directory: str, locked: Callable) -> None:
    with Cache(directory, timeout=0) as cache:
        _, _, filename, _ = cache.disk.store(LARGE, False)
        with locked(), pytest.raises(diskcache.Timeout):
            with cache._transact(False, filename):
                pass
        assert value_files(directory) == set()


def test_private_transact_nests_in_transact_and_the_other_way_round(cache: Cache) -> None:
    with cache.transact(), cache._transact() as (sql, _), cache.transact():
        cache['a'] = 1
        assert sql('SELECT COUNT(*) FROM Cache').fetchone() == (1,)
        assert cache._con.in_transaction


def test_the_connection_is_a_genuine_one_inside_the_same_transaction(
    cache: Cache, other: Interpreter
) -> None:
    assert type(cache._con) is sqlite3.Connection
    assert cache._con is cache._con
    with cache.transact():
        cache['key'] = 1
        assert cache._con.in_transaction
        assert cache._con.execute('SELECT value FROM Cache').fetchall() == [(1,)]
        cache._con.execute('UPDATE Cache SET value = 2')
        assert cache['key'] == 2
        assert other.run("'key' in Cache(directory)", directory=cache.directory) is False
    assert not cache._con.in_transaction
    assert other.run("Cache(directory)['key']", directory=cache.directory) == 2


def test_what_the_connection_changes_is_rolled_back_with_the_transaction(cache: Cache) -> None:
    cache['key'] = 1
    con = cache._con
    with pytest.raises(ZeroDivisionError), cache.transact():
        con.execute('UPDATE Cache SET value = 2')
        cache._sql('DELETE FROM Settings')
        raise ZeroDivisionError
    assert cache['key'] == 1
    assert cache.reset('count') == 1


def test_a_transaction_begun_on_the_connection_is_seen_by_the_cache(cache: Cache) -> None:
    cache._con.execute('CREATE TABLE Own (value)')
    cache._sql('INSERT INTO Own VALUES (?)', (5,))
    assert cache._sql_retry('SELECT value FROM Own').fetchall() == [(5,)]
    assert cache._sql_retry('INSERT INTO Own VALUES (?)', (6,)).rowcount == 1
    assert [value for (value,) in cache._sql('SELECT value FROM Own')] == [5, 6]


def test_each_thread_has_a_connection_of_its_own(cache: Cache) -> None:
    connections = [cache._con]
    thread = threading.Thread(target=lambda: connections.append(cache._con))
    thread.start()
    thread.join()
    assert connections[0] is not connections[1]
    assert cache._con is connections[0]


def test_private_attributes(cache: Cache) -> None:
    assert cache._directory == cache.directory
    assert cache._timeout == cache.timeout == 60
    assert cache._disk is cache.disk
    assert cache._page_size == cache._sql('PRAGMA page_size').fetchone()[0]
    assert cache._txn_id is None
    assert isinstance(cache._local, threading.local)
    assert cache._con is cache._local.con
    assert cache._local.pid == os.getpid()


@pytest.mark.parametrize(
    ('name', 'value'),
    [
        ('_disk', Disk('elsewhere')),
        ('_directory', 'elsewhere'),
        ('_timeout', 1),
        ('_local', threading.local()),
        ('_txn_id', 5),
        ('_page_size', 512),
        ('memory_limit', 0),
        ('eviction_policy', 'none'),
        ('size_limit', 0),
        ('cull_limit', 0),
        ('statistics', 1),
        ('tag_index', 1),
        ('count', 5),
    ],
)
def test_an_attribute_can_be_patched_for_a_while(cache: Cache, name: str, value: object) -> None:
    """unittest.mock deletes what it has set, and sets the former if nothing is left to be found."""
    cache.memory_limit = 12345
    cache['key'] = 1
    former = getattr(cache, name)
    with mock.patch.object(cache, name, value):
        assert getattr(cache, name) is value or getattr(cache, name) == value
        with mock.patch.object(cache, name, value):
            pass
        assert getattr(cache, name) is value or getattr(cache, name) == value
    assert getattr(cache, name) is former or getattr(cache, name) == former
    assert cache['key'] == 1
    cache['key'] = 2
    assert cache['key'] == 2


@pytest.mark.parametrize('name', ['_directory', 'min_file_size', 'pickle_protocol'])
def test_an_attribute_that_is_deleted_is_not_there(cache: Cache, name: str) -> None:
    owner: object = cache if name == '_directory' else cache.disk
    former = getattr(owner, name)
    delattr(owner, name)
    with pytest.raises(AttributeError, match=name):
        getattr(owner, name)
    if owner is cache:
        with pytest.raises(AttributeError, match=name):
            cache.get('key')
    setattr(owner, name, former)
    cache['key'] = (1, LARGE)
    assert cache['key'] == (1, LARGE)


def test_deleting_the_disk_or_the_limit_sets_what_was_there_before(cache: Cache) -> None:
    """What was there at first cannot be deleted: other threads may be using it."""
    for name, value in (('_disk', Disk(cache.directory)), ('memory_limit', 5)):
        former = getattr(cache, name)
        for _ in range(3):
            setattr(cache, name, value)
        for expected in (value, value, former):
            delattr(cache, name)
            assert getattr(cache, name) == expected
        with pytest.raises(AttributeError, match=name):
            delattr(cache, name)
        assert getattr(cache, name) == former
    for _ in range(100):
        cache._disk = Disk(cache.directory)
    cache['key'] = 1
    assert cache['key'] == 1


def test_the_memory_limit_of_a_fanout_cache_can_be_patched_for_a_while() -> None:
    with FanoutCache(shards=2, memory_limit=1000) as cache:
        with mock.patch.object(cache, 'memory_limit', 0):
            assert cache.memory_limit == 0
        assert cache.memory_limit == 1000


def test_txn_id_is_that_of_the_thread_in_a_transaction(cache: Cache) -> None:
    with cache.transact():
        assert cache._txn_id == threading.get_ident()
    assert cache._txn_id is None


def test_close_closes_the_connection_of_this_thread(cache: Cache) -> None:
    con = cache._con
    cache.close()
    with pytest.raises(sqlite3.ProgrammingError):
        con.execute('SELECT 1')
    assert cache._con is not con
    assert cache._con.execute('SELECT 1').fetchone() == (1,)


def test_iteration_in_both_directions_by_the_private_iterator(cache: Cache) -> None:
    cache['a'], cache['b'] = 1, 2
    iterator = cache._iter(ascending=False)
    assert next(iterator) is None
    assert list(iterator) == ['b', 'a']


def test_private_select_delete(cache: Cache) -> None:
    for number in range(250):
        cache.set(number, number, tag='tag')
    select = 'SELECT rowid, filename FROM Cache WHERE tag = ? AND rowid > ? ORDER BY rowid LIMIT ?'
    assert cache._select_delete(select, ['tag', 0, 100], arg_index=1) == 250
    assert len(cache) == 0


# Another file, or another way to be made.


class Elsewhere(Cache):
    """A Cache that opens another file than cache.db."""

    @property
    def _con(self) -> sqlite3.Connection:
        con = getattr(self._local, 'con', None)
        if con is None:
            path = os.path.join(self._directory, 'elsewhere.db')
            con = self._local.con = sqlite3.connect(path, isolation_level=None)
        return con


def test_an_overridden_connection_is_used(directory: str) -> None:
    with Elsewhere(directory) as cache:
        cache['key'] = 1
        cache['large'] = LARGE
        with cache.transact():
            cache.incr('key')
        cache.push('pushed')
        assert (cache['key'], cache['large'], cache.pull()[1]) == (2, LARGE, 'pushed')
        assert list(cache) == ['key', 'large']
        with pytest.raises(ZeroDivisionError), cache.transact():
            del cache['large']
            raise ZeroDivisionError
        assert cache['large'] == LARGE
    assert not os.path.exists(os.path.join(directory, 'cache.db'))
    with closing(sqlite3.connect(os.path.join(directory, 'elsewhere.db'))) as con:
        assert con.execute('SELECT key FROM Cache').fetchall() == [('key',), ('large',)]
    with Elsewhere(directory) as cache:
        assert cache['key'] == 2


def test_an_overridden_connection_is_used_in_each_thread(directory: str) -> None:
    with Elsewhere(directory) as cache:

        def work(number: int) -> None:
            cache[number] = number
            assert cache[number] == number
            cache.close()

        threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sorted(cache) == [0, 1, 2, 3]
    assert not os.path.exists(os.path.join(directory, 'cache.db'))


class Handmade(Cache):
    """A Cache on an existing directory that sets every attribute itself."""

    def __init__(self, directory: str) -> None:
        """Set the attributes, and load the settings, without writing anything."""
        self._directory = directory
        self._timeout = 60
        self._local = threading.local()
        self._txn_id = None
        self._disk = Disk(directory, min_file_size=2**15, pickle_protocol=4)
        for key, value in self._sql('SELECT key, value FROM Settings').fetchall():
            setattr(self, key, value)
        ((self._page_size,),) = self._sql('PRAGMA page_size').fetchall()


def test_an_init_that_sets_the_attributes_itself_makes_a_working_cache(
    directory: str, assert_intact: Callable
) -> None:
    with Cache(directory, cull_limit=3) as cache:
        cache['key'] = 1
    with Handmade(directory) as cache:
        assert cache['key'] == 1
        cache['large'] = LARGE
        with cache.transact():
            cache.incr('key')
        assert (cache['key'], cache['large'], cache.cull_limit) == (2, LARGE, 3)
        assert cache.volume() > len(LARGE)
        assert_intact(cache)


class Rebuilt(Cache):
    """A Cache whose `__init__` makes the directory itself, by SQL and `reset`, as some have."""

    def __init__(self, directory: str, **settings: object) -> None:
        """Reset each setting, before there is a table and when there is only that of settings."""
        os.makedirs(directory, exist_ok=True)
        self._directory = directory
        self._timeout = 0
        self._local = threading.local()
        self._txn_id = None
        sql = self._sql_retry
        settings = {**diskcache.DEFAULT_SETTINGS, **settings}
        for key in sorted(settings):
            if key.startswith('sqlite_'):
                self.reset(key, settings[key], update=False)
            elif not key.startswith('disk_'):
                self.reset(key, settings[key])
        (_, settings_table), *others = diskcache._core.SCHEMA
        sql(settings_table)
        limits = {key[5:]: value for key, value in settings.items() if key.startswith('disk_')}
        self._disk = Disk(directory, **limits)
        for key, value in settings.items():
            sql('INSERT OR REPLACE INTO Settings VALUES (?, ?)', (key, value))
            self.reset(key, value)
        for key, value in diskcache.core.METADATA.items():
            sql('INSERT OR IGNORE INTO Settings VALUES (?, ?)', (key, value))
            self.reset(key)
        ((self._page_size,),) = sql('PRAGMA page_size').fetchall()
        for _, statement in others:
            sql(statement)
        index = diskcache.EVICTION_POLICY[self.eviction_policy]['init']
        if index is not None:
            sql(index)
        if self.tag_index:
            self.create_tag_index()
        else:
            self.drop_tag_index()
        self.close()
        self._timeout = 60


@pytest.mark.parametrize('policy', sorted(diskcache.EVICTION_POLICY))
def test_settings_can_be_reset_before_there_are_tables(
    directory: str, policy: str, assert_intact: Callable
) -> None:
    for _ in range(2):
        with Rebuilt(directory, eviction_policy=policy, tag_index=1, statistics=1) as cache:
            assert (cache.eviction_policy, cache.count) == (policy, len(cache))
            cache.set('key', LARGE, tag='tag')
            assert cache.get('key') == LARGE
            assert_intact(cache)
    with Cache(directory) as cache:
        assert (cache.eviction_policy, cache.tag_index, cache.statistics) == (policy, 1, 1)
        assert cache['key'] == LARGE
        assert cache.evict('tag') == 1


def test_attributes_can_be_set_by_way_of_object(directory: str) -> None:
    """As frozen dataclasses do, and classes with a __setattr__ of their own."""

    class Plain(Cache):
        def __setattr__(self, name: str, value: object) -> None:
            object.__setattr__(self, name, value)

        def __delattr__(self, name: str) -> None:
            object.__delattr__(self, name)

    class PlainDisk(diskcache.Disk):
        def __setattr__(self, name: str, value: object) -> None:
            object.__setattr__(self, name, value)

    with Plain(directory, disk=PlainDisk, cull_limit=5) as cache:
        cache['key'] = 1
        assert (cache['key'], cache.cull_limit) == (1, 5)
        cache.mine = 7
        assert cache.mine == 7
        del cache.mine
        assert not hasattr(cache, 'mine')


def test_init_can_be_run_again(directory: str) -> None:
    with Cache(directory) as cache:
        cache['key'] = 'first'
        cache.__init__(directory + '-second', 5, size_limit=1_000_000)
        assert cache.directory == directory + '-second'
        assert (cache.timeout, cache.size_limit) == (5, 1_000_000)
        assert cache.get('key') is None
        cache['key'] = 'second'
        assert cache['key'] == 'second'
        cache.__init__(directory)
        assert cache['key'] == 'first'


WITHOUT_INIT = {
    'directory': lambda cache: cache.directory,
    'timeout': lambda cache: cache.timeout,
    'disk': lambda cache: cache.disk,
    '_con': lambda cache: cache._con,
    '_sql': lambda cache: cache._sql,
    '_sql_retry': lambda cache: cache._sql_retry,
    'set': lambda cache: cache.set('key', 1),
    'set in a file': lambda cache: cache.set('key', LARGE),
    'add': lambda cache: cache.add('key', 1),
    'assignment': lambda cache: cache.__setitem__('key', 1),
    'get': lambda cache: cache.get('key'),
    'subscript': lambda cache: cache['key'],
    'read': lambda cache: cache.read('key'),
    'in': lambda cache: 'key' in cache,
    'touch': lambda cache: cache.touch('key'),
    'incr': lambda cache: cache.incr('key'),
    'decr': lambda cache: cache.decr('key'),
    'pop': lambda cache: cache.pop('key'),
    'delete': lambda cache: cache.delete('key'),
    'del': lambda cache: cache.__delitem__('key'),
    'push': lambda cache: cache.push('value'),
    'pull': lambda cache: cache.pull(),
    'peek': lambda cache: cache.peek(),
    'peekitem': lambda cache: cache.peekitem(),
    'memoized': lambda cache: cache.memoize()(len)('abc'),
    'check': lambda cache: cache.check(),
    'create_tag_index': lambda cache: cache.create_tag_index(),
    'drop_tag_index': lambda cache: cache.drop_tag_index(),
    'evict': lambda cache: cache.evict('tag'),
    'expire': lambda cache: cache.expire(),
    'cull': lambda cache: cache.cull(),
    'clear': lambda cache: cache.clear(),
    'iterkeys': lambda cache: list(cache.iterkeys()),
    'iter': lambda cache: list(cache),
    'reversed': lambda cache: list(reversed(cache)),
    'stats': lambda cache: cache.stats(),
    'volume': lambda cache: cache.volume(),
    'close': lambda cache: cache.close(),
    'enter': lambda cache: cache.__enter__(),
    'exit': lambda cache: cache.__exit__(None, None, None),
    'len': lambda cache: len(cache),
    'pickle': lambda cache: pickle.dumps(cache),
    'reset': lambda cache: cache.reset('size_limit'),
    'reset to a value': lambda cache: cache.reset('size_limit', 5),
    'transact': lambda cache: cache.transact().__enter__(),
    '_transact': lambda cache: cache._transact().__enter__(),
}


@pytest.mark.parametrize('use', WITHOUT_INIT.values(), ids=WITHOUT_INIT.keys())
def test_a_cache_without_init_is_an_attribute_error(use: Callable) -> None:
    with pytest.raises(AttributeError):
        use(Cache.__new__(Cache))


def test_a_cache_whose_init_failed_is_an_attribute_error(directory: str) -> None:
    cache = Cache.__new__(Cache)
    with pytest.raises(ValueError):
        cache.__init__(directory, disk=int)
    with pytest.raises(AttributeError):
        cache.get('key')
    cache.__init__(directory)
    cache['key'] = 1
    assert cache['key'] == 1


def test_a_disk_without_init_is_an_attribute_error_or_works() -> None:
    disk = Disk.__new__(Disk)
    with pytest.raises(AttributeError):
        disk.store('value', False)
    with pytest.raises(AttributeError):
        disk.filename()
    with pytest.raises(AttributeError):
        disk.put((1, 2))


# Objects among objects.


def test_a_cache_has_a_dict_and_weak_references(directory: str) -> None:
    cache = Cache(directory)
    cache.own = 'attribute'
    assert vars(cache)['own'] == 'attribute'
    reference = weakref.ref(cache)
    assert reference() is cache
    cache.close()
    del cache
    gc.collect()
    assert reference() is None


def test_a_cache_in_a_cycle_is_collected(directory: str) -> None:
    cache = Cache(directory)
    cache['key'] = 1
    cache.myself = cache
    cache.transaction = cache.transact()
    reference = weakref.ref(cache)
    del cache
    gc.collect()
    assert reference() is None


def test_a_cache_that_dies_in_a_transaction_leaves_no_lock(
    directory: str, assert_intact: Callable
) -> None:
    cache = Cache(directory)
    transaction = cache.transact()
    transaction.__enter__()
    cache['key'] = LARGE
    del cache, transaction
    gc.collect()
    with Cache(directory) as cache:
        assert 'key' not in cache
        assert_intact_but_for_orphans(cache)


def assert_intact_but_for_orphans(cache: Cache) -> None:
    """Assert that `cache` can be written at once."""
    with Cache(cache.directory, timeout=0) as second:
        assert second.set('at once', 1)


@pytest.mark.parametrize('protocol', range(pickle.HIGHEST_PROTOCOL + 1))
def test_a_cache_can_be_pickled_and_copied(directory: str, protocol: int) -> None:
    with Cache(directory, timeout=7, disk=diskcache.JSONDisk) as cache:
        cache['key'] = [1]
        for twin in (
            pickle.loads(pickle.dumps(cache, protocol)),
            copy.copy(cache),
            copy.deepcopy(cache),
        ):
            assert twin is not cache
            assert (twin.directory, twin.timeout) == (directory, 7)
            assert type(twin.disk) is diskcache.JSONDisk
            assert twin['key'] == [1]
            twin.close()


def test_unpickling_keeps_the_settings_that_are_stored(directory: str) -> None:
    with Cache(directory, size_limit=12345, eviction_policy='none') as cache:
        twin = pickle.loads(pickle.dumps(cache))
        assert (twin.size_limit, twin.eviction_policy) == (12345, 'none')
        twin.close()


def test_directories_are_expanded_and_made_for_their_owner_only(
    tmp_path: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv('HOME', str(tmp_path / 'home'))
    monkeypatch.setenv('PLACE', 'somewhere')
    with Cache('~/$PLACE/below') as cache:
        assert cache.directory == str(tmp_path / 'home' / 'somewhere' / 'below')
    with Cache(tmp_path / 'path') as cache:
        assert cache.directory == str(tmp_path / 'path')
        assert os.stat(cache.directory).st_mode & 0o777 == 0o700


@pytest.mark.filterwarnings('ignore::diskcache.CacheWarning')
def test_a_directory_is_whatever_has_the_path_for_its_text(tmp_path: Path) -> None:
    """Such as the lazy strings of Django, and the values of configuration libraries."""

    class Lazy:
        """Knows its text when it is asked for it."""

        def __init__(self, text: str) -> None:
            self.text = text

        def __str__(self) -> str:
            return self.text

    for open_cache in (Cache, FanoutCache, lambda path: diskcache.Deque([], path)):
        cache = open_cache(Lazy(str(tmp_path / open_cache.__name__)))
        assert cache.directory == str(tmp_path / open_cache.__name__)
        assert type(cache.directory) is str


def test_a_relative_directory_stays_where_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Programs change the current directory, in tests for example; pickles go elsewhere too."""
    here, there = tmp_path / 'here', tmp_path / 'there'
    here.mkdir()
    there.mkdir()
    monkeypatch.chdir(here)
    fanout = FanoutCache('fanout', shards=2)
    caches = [Cache('cache'), fanout, fanout.cache('part'), Rebuilt('rebuilt')]
    views = [diskcache.Deque([1], 'deque'), diskcache.Index('index', {'key': 1})]
    assert [each.directory for each in caches] == [
        'cache',
        'fanout',
        'fanout/cache/part',
        'rebuilt',
    ]
    assert [each.directory for each in views] == ['deque', 'index']
    for cache in caches:
        cache['small'], cache['large'] = 1, LARGE
    monkeypatch.chdir(there)
    for cache in caches:
        with ThreadPoolExecutor(1) as pool:
            assert pool.submit(cache.get, 'small').result() == 1
        cache.close()
        cache['other'] = LARGE
        assert (cache['small'], cache['large'], cache['other']) == (1, LARGE, LARGE)
        with cache.read('large') as file:
            assert file.name.startswith(str(here))
        assert report_texts(cache) == []
        if type(cache) is not Rebuilt:
            monkeypatch.chdir('/')
            copied = pickle.loads(pickle.dumps(cache))
            assert copied['large'] == LARGE
            assert os.path.isabs(copied.directory)
            monkeypatch.chdir(there)
    for view in views:
        view.cache.close()
        assert list(pickle.loads(pickle.dumps(view))) == list(view)
    assert fanout.index('late').directory == str(here / 'fanout' / 'index' / 'late')
    assert os.listdir(there) == []


def test_a_cache_without_directory_gets_a_temporary_one() -> None:
    import shutil

    with Cache() as cache:
        cache['key'] = 1
        assert os.path.basename(cache.directory).startswith('diskcache-')
    shutil.rmtree(cache.directory)
