"""Meddling hooks: they raise, end the transaction, delete attributes, replace the disk.

None of it may crash or hang the interpreter, mix up transactions, or lose what was stored. A
test that could do so if it failed runs its scenario in a process of its own (`alone`), so that
a crash is the failure of that test and a hang ends with the patience of the interpreter.
"""

from __future__ import annotations

import contextlib
import sqlite3
import sys
import threading
from collections.abc import Callable

import pytest
from consistency import value_files
from interpreter import Interpreter

import diskcache

LARGE = b'x' * 100_000


# Writes that fail inside a transaction


def test_a_write_that_a_hook_fails_keeps_the_old_file_when_the_transaction_commits(
    directory: str, assert_intact: Callable
) -> None:
    class Failing(diskcache.Cache):
        failing = False

        def _row_update(self, *args: object) -> None:
            if self.failing:
                raise ZeroDivisionError
            super()._row_update(*args)

    with Failing(directory) as cache:
        cache['key'] = LARGE
        cache.failing = True
        with cache.transact():
            with pytest.raises(ZeroDivisionError):
                cache['key'] = LARGE + b'new'
            cache['other'] = 1
        assert cache['key'] == LARGE
        assert cache['other'] == 1
        assert_intact(cache)


@pytest.mark.skipif(
    not hasattr(sqlite3.Connection, 'setlimit'), reason='sqlite3 has limits from Python 3.11'
)
def test_a_write_that_sqlite_fails_keeps_the_old_file_when_the_transaction_commits(
    cache: diskcache.Cache, assert_intact: Callable
) -> None:
    cache['key'] = LARGE
    with cache.transact():
        cache._con.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, 5_000)
        with pytest.raises(sqlite3.DataError):
            cache.set('key', b'new', tag='t' * 20_000)
        cache['other'] = 1
    assert cache['key'] == LARGE
    assert cache['other'] == 1
    assert_intact(cache)


@pytest.mark.parametrize(
    'spoil',
    [
        pytest.param(lambda row: (*row[:3], [1]), id='a list as value'),
        pytest.param(lambda row: ('large', *row[1:]), id='a text as size'),
        pytest.param(lambda row: (row[0], 'm', *row[2:]), id='a text as mode'),
    ],
)
def test_a_store_hook_that_returns_a_bad_row_leaves_no_file(
    directory: str, assert_intact: Callable, spoil: Callable[[tuple], tuple]
) -> None:
    class Spoiling(diskcache.Disk):
        def store(self, *args: object, **kwargs: object) -> tuple:
            return spoil(super().store(*args, **kwargs))

    with diskcache.Cache(directory, disk=Spoiling) as cache:
        with pytest.raises((TypeError, ValueError)):
            cache['key'] = LARGE
        assert 'key' not in cache
        assert value_files(directory) == set()
        assert_intact(cache)


END_TRANSACTION = {
    'new _local': 'self._local = threading.local()',
    'no _local': 'del self._local',
    'empty _local': 'self._local.__dict__.clear()',
    'no _transaction': "vars(self._local).pop('_transaction', None)",
    'COMMIT': "self._con.execute('COMMIT')",
    'ROLLBACK': "self._con.execute('ROLLBACK')",
    'COMMIT and close': "self._con.execute('COMMIT'), self.close()",
    'a failed outer block': 'outer.__exit__(KeyError, KeyError(), None)',
}


@pytest.mark.slow
@pytest.mark.parametrize('end', END_TRANSACTION.values(), ids=END_TRANSACTION.keys())
@pytest.mark.parametrize('hook', ['_row_insert', '_row_update', '_cull'])
@pytest.mark.parametrize('size', [10, pytest.param(100_000, marks=pytest.mark.slow)])
def test_a_hook_that_ends_the_transaction_of_its_operation_is_an_error(
    alone: Interpreter, directory: str, hook: str, end: str, size: int
) -> None:
    """The engine goes on with the session after the hook: it must still be there, and not write."""

    def scenario(directory: str, hook: str, end: str, size: int) -> None:
        import pytest

        class Ending(diskcache.Cache):
            on = False

        def step(self: diskcache.Cache, *args: object) -> None:
            getattr(diskcache.Cache, hook)(self, *args)
            if self.on:
                self.on = False
                exec(end, {'self': self, 'threading': threading, 'outer': blocks[-1]})

        setattr(Ending, hook, step)
        blocks = []
        for pinned in (False, True):
            cache = Ending(directory)
            cache['old'] = 'old'
            if pinned:
                cache._con
            for key in {'_row_insert': ['new'], '_row_update': ['old']}.get(hook, ['new', 'old']):
                blocks.append(cache.transact())
                blocks[-1].__enter__()
                cache.on = True
                with pytest.raises(RuntimeError, match='ended its transaction'):
                    cache.set(key, bytes(size))
                blocks.clear()
                cache._local = threading.local()
                with diskcache.Cache(directory, timeout=0) as another:
                    assert another.set('another', 1)
                    if 'COMMIT' not in end:
                        assert another['old'] == 'old'
                        assert 'new' not in another
                    assert another.check() == []
                assert cache.set('old', 'old')
                cache.delete('new')

    alone.run(scenario, directory=directory, hook=hook, end=end, size=size)


@pytest.mark.parametrize('hook', ['_row_insert', '_cull'])
@pytest.mark.parametrize(
    'write',
    [
        pytest.param(lambda cache: cache.set('key', LARGE), id='set'),
        pytest.param(lambda cache: cache.add('key', LARGE), id='add'),
        pytest.param(lambda cache: cache.push(LARGE), id='push'),
        pytest.param(lambda cache: cache.set_many([('key', LARGE), ('other', LARGE)]), id='many'),
    ],
)
def test_a_row_that_was_written_before_a_hook_raised_keeps_its_file(
    directory: str, assert_intact: Callable, write: Callable, hook: str
) -> None:
    """The user's block goes on and commits the row: so its value must be there."""

    class Failing(diskcache.Cache):
        failing = False

    def step(self: diskcache.Cache, *args: object) -> None:
        getattr(diskcache.Cache, hook)(self, *args)
        if self.failing:
            raise ZeroDivisionError

    setattr(Failing, hook, step)
    with Failing(directory) as cache:
        with cache.transact():
            cache.failing = True
            with pytest.raises(ZeroDivisionError):
                write(cache)
            cache.failing = False
        (key,) = cache
        assert cache[key] == LARGE
        assert_intact(cache)


@pytest.mark.parametrize('pinned', [False, True])
def test_a_read_of_a_transaction_that_is_given_up_meanwhile_gets_its_answer(
    alone: Interpreter, directory: str, pinned: bool
) -> None:
    """A callback of SQLite's takes `_local` away in the middle of the read's statement."""

    def scenario(directory: str, pinned: bool) -> None:
        cache = diskcache.Cache(directory)
        cache['key'] = 'value'
        for turn in range(20):
            if pinned:
                cache._con
            answers = []

            def give_up(_statement: str, cache: diskcache.Cache = cache) -> None:
                cache._con.set_trace_callback(None)
                cache._local = threading.local()

            with contextlib.suppress(RuntimeError):
                with cache.transact():
                    cache['turn'] = turn
                    cache._con.set_trace_callback(give_up)
                    answers.append(cache.get('key'))
            assert answers == ['value']
            assert 'turn' not in cache
            with diskcache.Cache(directory, timeout=0) as another:
                assert another.set('another', turn)

    alone.run(scenario, directory=directory, pinned=pinned)


# Exceptions, and callbacks of SQLite's


@pytest.mark.parametrize('size', [10, 100_000])
def test_a_commit_that_fails_raises_its_error_beside_a_trace_callback(
    cache: diskcache.Cache, assert_intact: Callable, size: int
) -> None:
    """Undoing it runs SQL, and with it the callback, which must find no exception set."""
    con = cache._con

    def end_transaction(statement: str) -> None:
        if statement.startswith('INSERT'):
            con.rollback()

    con.set_trace_callback(end_transaction)
    with pytest.raises(sqlite3.OperationalError, match='cannot commit'):
        cache['key'] = bytes(size)
    con.set_trace_callback(None)
    assert_intact(cache)


@pytest.mark.parametrize('size', [10, 100_000])
def test_the_exception_of_a_hook_is_raised_beside_a_trace_callback(
    directory: str, assert_intact: Callable, size: int
) -> None:
    class Refusing(diskcache.Cache):
        def _row_insert(self, *args: object) -> None:
            raise ZeroDivisionError

    with Refusing(directory) as cache:
        statements: list[str] = []
        cache._con.set_trace_callback(statements.append)
        with pytest.raises(ZeroDivisionError):
            cache['key'] = bytes(size)
        cache._con.set_trace_callback(None)
        assert 'ROLLBACK' in statements
        assert_intact(cache)


# Attributes that are gone


class Closing:
    """A value that, when it is pickled, closes the cache and deletes an attribute of it."""

    cache: diskcache.Cache
    attribute: str

    def __reduce__(self) -> tuple:
        self.cache.close()
        delattr(self.cache, self.attribute)
        return int, ()


@pytest.mark.parametrize('attribute', ['_directory', '_timeout'])
def test_an_attribute_deleted_while_a_value_is_pickled_is_an_attribute_error(
    cache: diskcache.Cache, attribute: str
) -> None:
    kept = getattr(cache, attribute)
    value = Closing()
    value.cache, value.attribute = cache, attribute
    with pytest.raises(AttributeError, match=attribute):
        cache['key'] = value
    setattr(cache, attribute, kept)
    assert 'key' not in cache


@pytest.mark.parametrize('attribute', ['_directory', '_timeout', '_local'])
def test_an_attribute_may_be_deleted_while_the_timeout_is_converted(
    alone: Interpreter, directory: str, attribute: str
) -> None:
    def scenario(directory: str, attribute: str) -> None:
        cache = diskcache.Cache(directory)
        kept = {name: getattr(cache, name) for name in ('_directory', '_timeout', '_local')}

        class Seconds:
            def __float__(self) -> float:
                if attribute in vars(type(cache)) or hasattr(cache, attribute):
                    delattr(cache, attribute)
                return 1.0

        for use in (lambda: cache.set('key', 1), lambda: cache._con, lambda: cache['key']):
            cache.close()
            cache._timeout = Seconds()
            with contextlib.suppress(AttributeError):
                use()
            for name, value in kept.items():
                setattr(cache, name, value)
            assert cache.set('key', 2)
        assert cache.check() == []

    alone.run(scenario, directory=directory, attribute=attribute)


# Disks that change while they are in use


def test_the_disk_may_be_replaced_while_a_key_or_value_is_pickled(
    alone: Interpreter, directory: str
) -> None:
    def scenario(directory: str) -> None:
        cache = diskcache.Cache(directory)

        class Replacing:
            def __init__(self, pickled: object) -> None:
                self.pickled = pickled

            def __reduce__(self) -> tuple:
                cache._disk = diskcache.Disk(cache.directory, 0, 5)
                return type(self.pickled), (self.pickled,)

        for _ in range(20):
            assert cache.get(Replacing(1)) is None or cache.get(Replacing(1)) == 2
            assert cache.set(Replacing(1), 2)
            assert cache.set('key', Replacing(bytes(100_000)))
            assert cache['key'] == bytes(100_000)
        assert cache.check() == []

    alone.run(scenario, directory=directory)


@pytest.mark.parametrize('operation', ['get', 'set', 'commit', 'rollback'])
def test_the_disk_cannot_be_deleted(alone: Interpreter, directory: str, operation: str) -> None:
    def scenario(directory: str, operation: str) -> None:
        cache = diskcache.Cache(directory)
        cache['key'] = bytes(100_000)

        class Deleting:
            def __reduce__(self) -> tuple:
                del cache._disk
                return int, ()

        try:
            if operation == 'get':
                cache.get(Deleting())
            elif operation == 'set':
                cache.set(Deleting(), 1)
            elif operation == 'commit':
                with cache.transact():
                    cache['key'] = 1
                    try:
                        del cache._disk
                    finally:
                        cache['committed'] = 1
            else:
                with cache.transact():
                    cache['key'] = b'new' * 100_000
                    del cache._disk
        except AttributeError:
            pass
        else:
            raise AssertionError('the disk was deleted')
        assert cache['key'] == bytes(100_000)
        assert cache.check() == []

    alone.run(scenario, directory=directory, operation=operation)


def test_a_disk_may_replace_itself_while_it_removes_files(
    alone: Interpreter, directory: str
) -> None:
    def scenario(directory: str) -> None:
        class Replacing(diskcache.Disk):
            def remove(self, name: str) -> None:
                cache._disk = diskcache.Disk(cache.directory, 0, 5)
                super().remove(name)

        cache = diskcache.Cache(directory, disk=Replacing)
        with cache.transact():
            for number in range(5):
                cache[number] = bytes(100_000)
        assert cache.clear() == 5
        assert cache.check() == []

    alone.run(scenario, directory=directory)


def test_the_directory_of_the_disk_may_be_assigned_while_large_values_are_written(
    alone: Interpreter, directory: str
) -> None:
    def scenario(directory: str) -> None:
        cache = diskcache.Cache(directory)
        stop = threading.Event()

        def assign() -> None:
            while not stop.is_set():
                cache._disk._directory = ''.join([directory[:-1], directory[-1]])

        sys.setswitchinterval(1e-5)
        thread = threading.Thread(target=assign, daemon=True)
        thread.start()
        try:
            for _ in range(60):
                assert cache.set('key', bytes(1_000_000))
                assert cache.get('key') == bytes(1_000_000)
        finally:
            stop.set()
            thread.join(30)
        assert not thread.is_alive()
        assert cache.check() == []

    alone.run(scenario, directory=directory)
