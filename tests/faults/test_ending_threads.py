"""Threads and generators that end with a transaction open, and what they leave to others.

None of it may crash or hang the interpreter, mix up transactions, or lose what was stored. A
test that could do so if it failed runs its scenario in a process of its own (`alone`), so that
a crash is the failure of that test and a hang ends with the patience of the interpreter.
"""

from __future__ import annotations

import asyncio
import os
import sqlite3
import sys
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from fractions import Fraction

import pytest
from consistency import value_files
from interpreter import Interpreter
from threads import in_thread

import diskcache

LARGE = b'x' * 100_000


# Threads that end, and generators that are closed, with a transaction open


def transact_and_suspend(cache: diskcache.Cache) -> Iterator[None]:
    """Write in a transaction and stop before its end."""
    with cache.transact():
        cache['lost'] = LARGE
        yield


def leave_suspended(cache: diskcache.Cache) -> object:
    """Open a transaction in a generator and return the generator."""
    generator = transact_and_suspend(cache)
    next(generator)
    return generator


def leave_entered(cache: diskcache.Cache) -> object:
    """Open a transaction with a bare `__enter__` and return its context manager."""
    transaction = cache.transact()
    transaction.__enter__()
    cache['lost'] = LARGE
    return transaction


@pytest.mark.parametrize('leave_open', [leave_suspended, leave_entered])
def test_a_transaction_ends_undone_with_its_thread(
    cache: diskcache.Cache, assert_intact: Callable, leave_open: Callable
) -> None:
    kept = in_thread(lambda: leave_open(cache))
    assert_intact(cache)
    assert 'lost' not in cache
    del kept
    assert_intact(cache)


@pytest.mark.parametrize('leave_open', [leave_suspended, leave_entered])
def test_the_next_thread_does_not_join_the_transaction_of_one_that_has_ended(
    cache: diskcache.Cache, other: Interpreter, assert_intact: Callable, leave_open: Callable
) -> None:
    kept = []
    for turn in range(5):  # Some of the later threads get the identity of an earlier one.
        kept.append(in_thread(lambda: leave_open(cache)))
        in_thread(lambda turn=turn: cache.set(turn, 'next'))
        script = 'Cache(directory).get(turn)'
        assert other.run(script, directory=cache.directory, turn=turn) == 'next'
    assert list(cache) == [0, 1, 2, 3, 4]
    kept.clear()
    assert_intact(cache)


def test_closing_a_generator_in_another_thread_undoes_its_transaction(
    cache: diskcache.Cache, other: Interpreter, assert_intact: Callable
) -> None:
    generator = leave_suspended(cache)
    in_thread(generator.close)
    assert cache._txn_id is None
    assert_intact(cache)
    cache['kept'] = 1
    assert other.run('list(Cache(directory))', directory=cache.directory) == ['kept']
    assert_intact(cache)


def test_closing_an_asynchronous_generator_in_another_task_undoes_its_transaction(
    cache: diskcache.Cache, other: Interpreter, assert_intact: Callable
) -> None:
    async def transact_and_suspend() -> AsyncIterator[None]:
        with cache.transact():
            cache['lost'] = LARGE
            yield

    async def start() -> AsyncIterator[None]:
        generator = transact_and_suspend()
        await generator.__anext__()
        return generator

    async def main() -> None:
        generator = await asyncio.create_task(start())
        await asyncio.create_task(generator.aclose())
        assert_intact(cache)
        cache['kept in the loop'] = 1

    asyncio.run(main())
    cache['kept'] = 1
    listed = other.run('list(Cache(directory))', directory=cache.directory)
    assert listed == ['kept in the loop', 'kept']
    assert_intact(cache)


# What is done to the connections of others


def test_a_pragma_of_a_thread_that_has_ended_reaches_no_other(
    cache: diskcache.Cache, assert_intact: Callable
) -> None:
    def forbid_writing() -> None:
        cache._con.execute('PRAGMA query_only=1')
        with pytest.raises(sqlite3.OperationalError):
            cache['key'] = 1

    in_thread(forbid_writing)
    cache['main'] = 1
    in_thread(lambda: cache.set('next', 1))
    assert list(cache) == ['main', 'next']
    assert_intact(cache)


def test_an_unfinished_cursor_of_a_thread_that_has_ended_makes_no_other_see_old_values(
    cache: diskcache.Cache, assert_intact: Callable
) -> None:
    for number in range(10):
        cache[number] = 'old'

    def leave_unfinished() -> sqlite3.Cursor:
        cursor = cache._con.execute('SELECT key FROM Cache')
        cursor.fetchone()
        return cursor

    kept = in_thread(leave_unfinished)
    with diskcache.Cache(cache.directory) as another:
        another[1] = 'new'
    assert cache[1] == 'new'
    assert in_thread(lambda: cache[1]) == 'new'
    assert_intact(cache)
    del kept


def test_an_unfinished_cursor_of_a_private_transaction_makes_later_reads_see_no_old_values(
    cache: diskcache.Cache, assert_intact: Callable
) -> None:
    for number in range(10):
        cache[number] = 'old'
    with cache._transact() as (sql, _cleanup):
        cursor = sql('SELECT key FROM Cache')
        cursor.fetchone()
    with diskcache.Cache(cache.directory) as another:
        another[1] = 'new'
    assert cache[1] == 'new'
    cache[2] = 'newer'
    assert cache[2] == 'newer'
    assert_intact(cache)
    del cursor


def test_a_commit_through_the_connection_is_an_error_of_the_block_and_keeps_the_file(
    cache: diskcache.Cache, assert_intact: Callable
) -> None:
    with pytest.raises(sqlite3.OperationalError), cache.transact():
        cache['key'] = LARGE
        cache._con.execute('COMMIT')
    assert cache['key'] == LARGE
    assert_intact(cache)


def test_a_transaction_begun_anew_through_the_connection_keeps_the_file_of_the_one_before(
    cache: diskcache.Cache, assert_intact: Callable
) -> None:
    with pytest.raises(ZeroDivisionError), cache.transact():
        cache['kept'] = LARGE
        cache._con.execute('COMMIT')
        cache._con.execute('BEGIN IMMEDIATE')
        cache['gone'] = LARGE
        raise ZeroDivisionError
    assert cache['kept'] == LARGE
    assert list(cache) == ['kept']
    assert_intact(cache)


def test_a_rollback_does_not_read_the_table_to_find_its_files(
    cache: diskcache.Cache, assert_intact: Callable
) -> None:
    """Reading it takes tens of milliseconds in a large cache, and all threads would wait."""

    def steps_of_a_rollback() -> int:
        """Return how many thousand steps of SQLite's a rollback takes."""
        steps: list[None] = []
        connection.set_progress_handler(lambda: steps.append(None), 1000)
        with pytest.raises(ZeroDivisionError), cache.transact():
            cache['key'], cache['another'] = LARGE, LARGE
            raise ZeroDivisionError
        connection.set_progress_handler(None, 0)
        return len(steps)

    connection = cache._con
    before = steps_of_a_rollback()
    cache.set_many((number, number) for number in range(20_000))
    connection.execute("UPDATE Cache SET filename = '12/34/' || key || '.val', size = 0")
    assert steps_of_a_rollback() <= before + 1
    assert value_files(cache.directory) == set()


@pytest.mark.parametrize(
    'spoil_timeout',
    [
        pytest.param(lambda cache: setattr(cache, '_timeout', -1), id='negative'),
        pytest.param(
            lambda cache: setattr(cache, '_timeout', Fraction(1)),
            id='fraction',
        ),
    ],
)
def test_an_odd_timeout_does_not_hide_the_error_of_sqlite(
    cache: diskcache.Cache, spoil_timeout: Callable[[diskcache.Cache], None]
) -> None:
    cache._con.execute('DROP TABLE Cache')
    spoil_timeout(cache)
    for operation in (lambda: cache.get('key'), lambda: cache.set('key', 1)):
        with pytest.raises(sqlite3.OperationalError, match='no such table'):
            operation()


def test_a_negative_timeout_of_the_constructor_does_not_hide_the_error_of_sqlite(
    directory: str,
) -> None:
    with diskcache.Cache(directory, timeout=-1) as cache:
        cache['key'] = 1
        cache._con.execute('DROP TABLE Cache')
        for operation in (lambda: cache.get('key'), lambda: cache.set('key', 1)):
            with pytest.raises(sqlite3.OperationalError, match='no such table'):
                operation()


@pytest.mark.parametrize('kind', ['trace callback', 'progress handler'])
def test_a_callback_of_the_connection_that_uses_the_cache_mixes_up_no_answers(
    alone: Interpreter, directory: str, kind: str
) -> None:
    def scenario(directory: str, kind: str) -> None:
        cache = diskcache.Cache(directory)
        for number in range(100):
            cache[f'key{number}'] = number
        inner = []
        busy = False

        def call_back(*_: object) -> int:
            nonlocal busy
            if not busy:
                busy = True
                try:
                    inner.append(cache.get('key5'))
                finally:
                    busy = False
            return 0

        if kind == 'trace callback':
            cache._con.set_trace_callback(call_back)
        else:
            cache._con.set_progress_handler(call_back, 1)
        outer = [cache.get(f'key{number}') for number in range(100)]
        cache._con.set_trace_callback(None)
        cache._con.set_progress_handler(None, 0)
        assert outer == list(range(100)), outer
        assert set(inner) == {5}, inner

    alone.run(scenario, directory=directory, kind=kind)


# Connections of a subclass's own


def test_tasks_do_not_mix_transactions_when_the_connection_is_a_new_one_each_time(
    alone: Interpreter, directory: str
) -> None:
    def scenario(directory: str) -> None:
        import asyncio

        class Fresh(diskcache.Cache):
            @property
            def _con(self) -> sqlite3.Connection:
                path = os.path.join(self.directory, 'cache.db')
                return sqlite3.connect(path, isolation_level=None, check_same_thread=False)

        cache = Fresh(directory)
        written, read = asyncio.Event(), asyncio.Event()

        async def write() -> None:
            with cache.transact():
                cache['key'] = 1
                written.set()
                await read.wait()
                cache['key'] = 2

        async def look() -> None:
            await written.wait()
            for _ in range(3):
                cache.get('key')
            read.set()

        async def main() -> None:
            await asyncio.gather(write(), look())

        asyncio.run(main())
        assert cache['key'] == 2
        assert Fresh(directory).get('key') == 2

    alone.run(scenario, directory=directory)


def test_threads_that_share_one_connection_get_the_right_values(
    alone: Interpreter, directory: str
) -> None:
    def scenario(directory: str) -> None:
        class Shared(diskcache.Cache):
            @property
            def _con(self) -> sqlite3.Connection:
                if 'shared' not in self.__dict__:
                    path = os.path.join(self.directory, 'cache.db')
                    self.__dict__['shared'] = sqlite3.connect(
                        path, isolation_level=None, check_same_thread=False
                    )
                return self.__dict__['shared']

        cache = Shared(directory, sqlite_journal_mode='delete')
        for number in range(100):
            cache[number] = str(number) * 1_000
        wrong = []

        def read(start: int) -> None:
            for turn in range(500):
                number = (turn * 7 + start) % 100
                try:
                    value = cache.get(number)
                except Exception as error:
                    value = repr(error)
                if value != str(number) * 1_000:
                    wrong.append((number, value))

        sys.setswitchinterval(1e-5)
        threads = [threading.Thread(target=read, args=(start,), daemon=True) for start in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(40)
        assert not any(thread.is_alive() for thread in threads)
        assert wrong == []

    alone.run(scenario, directory=directory)


def test_threads_with_different_files_do_not_mix_transactions(
    alone: Interpreter, directory: str
) -> None:
    def scenario(directory: str) -> None:
        import shutil

        class Separate(diskcache.Cache):
            @property
            def _con(self) -> sqlite3.Connection:
                con = getattr(self._local, 'own', None)
                if con is None:
                    path = os.path.join(self.directory, f'{threading.current_thread().name}.db')
                    con = self._local.own = sqlite3.connect(
                        path, isolation_level=None, check_same_thread=False
                    )
                return con

        diskcache.Cache(directory, sqlite_journal_mode='delete').close()
        names = [threading.current_thread().name, 'first', 'second', 'third']
        for name in names:
            shutil.copy(f'{directory}/cache.db', f'{directory}/{name}.db')
        cache = Separate(directory, timeout=5)
        errors = []

        def write() -> None:
            name = threading.current_thread().name
            try:
                for number in range(100):
                    cache.set(f'{name} {number}', number)
            except diskcache.Timeout:
                errors.append(name)

        def run(names: list[str]) -> None:
            threads = [threading.Thread(target=write, name=name, daemon=True) for name in names]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join(30)
            assert not any(thread.is_alive() for thread in threads)

        sys.setswitchinterval(1e-5)
        run(names[1:])
        assert errors == [], errors
        cache._timeout = 0.1
        with cache.transact():
            cache['main'] = 1
            run(names[1:2])  # May time out, or write into its own file.
            cache['main too'] = 2
        for name in names:
            con = sqlite3.connect(f'{directory}/{name}.db')
            keys = {key for (key,) in con.execute('SELECT key FROM Cache')}
            con.close()
            if name == names[0]:
                assert keys == {'main', 'main too'}, (name, keys)
            else:
                assert keys == {f'{name} {number}' for number in range(100)}, (name, keys)

    alone.run(scenario, directory=directory)
