"""Connections in users' hands: through `_con`, `_sql` and the `sql` of `_transact()`.

Whoever has one may use it for as long as he likes, beside the cache and after it, in any thread.
Only close() closes the one of its own thread. What could crash or hang if it failed runs in a
process of its own (`alone`).
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import sys
import sysconfig
import threading
import time
from collections.abc import Callable, Iterator

import pytest
from consistency import write_at_once
from interpreter import Interpreter
from threads import in_thread

import diskcache

LARGE = b'x' * 100_000
SELECT = 'SELECT value FROM Cache WHERE key = ?'

linux_only = pytest.mark.skipif(not os.path.isdir('/proc/self/fd'), reason='only Linux lists them')


def descriptors(directory: str) -> int:
    """Count the descriptors of this process for files of the directory."""
    links = (os.path.join('/proc/self/fd', name) for name in os.listdir('/proc/self/fd'))
    return sum(os.path.realpath(link).startswith(os.path.realpath(directory)) for link in links)


# The connection lives as long as somebody has it

TAKE = {
    '_con': lambda cache: cache._con.execute,
    '_sql': lambda cache: cache._sql,
    '_transact': lambda cache: take_from_transact(cache),
    'the thread that ended': lambda cache: in_thread(lambda: cache._con.execute),
}


def take_from_transact(cache: diskcache.Cache) -> Callable:
    """Return the `sql` of a block that is over."""
    with cache._transact() as (sql, _cleanup):
        return sql


@pytest.fixture(params=TAKE.values(), ids=TAKE.keys())
def taken(request: pytest.FixtureRequest, directory: str) -> Iterator[tuple]:
    """A cache, and the `execute` of a connection of it that the test has got hold of."""
    with diskcache.Cache(directory, timeout=7) as cache:
        cache['key'] = 'value'
        yield cache, request.param(cache)


def test_a_connection_outlives_its_cache(directory: str, other: Interpreter) -> None:
    """Not even its closing is left to the cache: `Cache(directory)._con` alone is a connection."""
    con = diskcache.Cache(directory)._con
    con.execute("INSERT INTO Settings VALUES ('own', 1)")
    assert con.execute("SELECT value FROM Settings WHERE key = 'own'").fetchall() == [(1,)]
    con.close()
    assert other.run(write_at_once, directory=directory)


def test_what_was_taken_can_be_used_after_the_cache_is_gone(taken: tuple, directory: str) -> None:
    cache, execute = taken
    cache = None  # noqa: F841 (the fixture has it still)
    assert execute(SELECT, ('key',)).fetchall() == [('value',)]
    execute("UPDATE Cache SET value = 'changed'")
    with diskcache.Cache(directory) as another:
        assert another['key'] == 'changed'


@pytest.mark.parametrize('take', TAKE.values(), ids=TAKE.keys())
def test_what_was_taken_outlives_the_cache(
    directory: str, other: Interpreter, take: Callable
) -> None:
    cache = diskcache.Cache(directory, timeout=7)
    cache['key'] = 'value'
    execute = take(cache)
    cache['key'] = 'newer'
    del cache
    assert execute(SELECT, ('key',)).fetchall() == [('newer',)]
    execute("UPDATE Cache SET value = 'changed'")
    assert other.run("Cache(directory)['key']", directory=directory) == 'changed'


def test_a_connection_left_to_its_user_waits_and_checkpoints_as_any_other(taken: tuple) -> None:
    """While the library works on it the library does both; then SQLite must again."""
    cache, execute = taken
    cache.__init__(cache.directory + '-elsewhere')
    assert execute('PRAGMA busy_timeout').fetchone() == (7000,)
    assert execute('PRAGMA wal_autocheckpoint').fetchone() == (1000,)


def test_a_checkpoint_interval_of_the_users_own_stays(directory: str) -> None:
    cache = diskcache.Cache(directory)
    con = cache._con
    con.execute('PRAGMA wal_autocheckpoint = 77')
    del cache
    assert con.execute('PRAGMA wal_autocheckpoint').fetchone() == (77,)


@linux_only
def test_the_connection_of_a_thread_is_closed_with_the_thread_unless_someone_has_it(
    cache: diskcache.Cache,
) -> None:
    cache.close()
    for _ in range(3):
        in_thread(lambda: (cache.set('key', 2), cache._con.execute('SELECT 1').fetchall()))
        assert descriptors(cache.directory) == 0
    kept = in_thread(lambda: cache._con)
    assert descriptors(cache.directory) > 0
    assert kept.execute('SELECT 1').fetchall() == [(1,)]
    kept.close()
    assert descriptors(cache.directory) == 0


@linux_only
@pytest.mark.parametrize('in_hands', [False, True])
def test_no_connection_is_left_open_by_a_cache_that_is_dropped(
    directory: str, in_hands: bool
) -> None:
    for _ in range(5):
        cache = diskcache.Cache(directory)
        cache['key'] = 1
        if in_hands:
            cache._con.execute('SELECT 1').fetchall()
            cache.close()
            cache._con.execute('SELECT 1').fetchall()
        del cache
        assert descriptors(directory) == 0


@pytest.mark.slow
def test_another_thread_may_be_at_work_on_the_connection_of_a_cache_that_is_dropped(
    alone: Interpreter, directory: str
) -> None:
    def scenario(directory: str) -> None:
        count = 'WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n LIMIT 100000) '
        for _ in range(10):
            cache = diskcache.Cache(directory)
            started = threading.Event()
            results = []

            def work(cache: list, started: threading.Event, results: list) -> None:
                con = cache.pop()._con
                started.set()
                for _ in range(5):
                    results.append(con.execute(count + 'SELECT max(x) FROM n').fetchall())

            thread = threading.Thread(target=work, args=([cache], started, results))
            thread.start()
            started.wait()
            time.sleep(0.005)
            del cache
            thread.join()
            assert results == [[(100_000,)]] * 5, results
        with diskcache.Cache(directory, timeout=0) as cache:
            assert cache.set('key', 1)

    alone.run(scenario, directory=directory)


@pytest.mark.slow
@pytest.mark.parametrize('work', ['check', 'SQL', 'transact'])
def test_a_cache_may_be_initialized_again_while_another_thread_works(
    alone: Interpreter, directory: str, work: str
) -> None:
    def scenario(directory: str, work: str) -> None:
        cache = diskcache.Cache(directory)
        for number in range(500):
            cache[number] = 'x' * 300
        use = {
            'check': lambda: cache.check() == [],
            'SQL': lambda: cache._con.execute('SELECT count(*) FROM Cache').fetchone() == (500,),
            'transact': lambda: count_in_transaction() == (500,),
        }[work]

        def count_in_transaction() -> tuple:
            with cache._transact(True) as (sql, _cleanup):
                return sql('SELECT count(*) FROM Cache').fetchone()

        outcomes = []
        stop = threading.Event()

        def repeat() -> None:
            while not stop.is_set():
                try:
                    outcomes.append(use())
                except AttributeError:  # Between two attributes that __init__ sets.
                    continue
                except RuntimeError:  # The transaction was begun when __init__ had looked already.
                    assert work in ('check', 'transact')
                time.sleep(0.001)

        thread = threading.Thread(target=repeat)
        thread.start()
        initialized = 0
        while thread.is_alive() and (initialized < 200 or len(outcomes) <= 10):
            with contextlib.suppress(RuntimeError):  # The other thread has a transaction open.
                cache.__init__(directory)
            initialized += 1
            time.sleep(0.001 if initialized < 200 else 0.1)  # At last the other gets its turns.
        stop.set()
        thread.join()
        assert set(outcomes) == {True}, set(outcomes)
        assert len(outcomes) > 10, 'the thread has ended'
        assert cache.check() == []

    alone.run(scenario, directory=directory, work=work)


# close() in the middle of SQL on the connection that it closes

CLOSE_IN = {
    'a trace callback': """
        con.set_trace_callback(lambda statement: cache.close())
        con.execute('UPDATE Cache SET access_count = 1').lastrowid
        """,
    'a function': """
        con.create_function('f', 1, lambda value: cache.close() or value)
        con.execute('UPDATE Cache SET value = f(value)').rowcount
        """,
    'a parameter': """
        class Parameter:
            def __conform__(self, protocol):
                return cache.close() or 5
        con.execute('UPDATE Cache SET access_count = ?', (Parameter(),)).lastrowid
        """,
    'a sequence of parameters': """
        class Parameters:
            def __len__(self):
                return 1
            def __getitem__(self, index):
                return cache.close() or 5
        con.execute('UPDATE Cache SET access_count = ?', Parameters()).lastrowid
        """,
    'one of many': """
        con.executemany('UPDATE Cache SET access_count = ?', ((cache.close() or 5,) for _ in 'ab'))
        """,
    'a progress handler': """
        con.set_progress_handler(lambda: cache.close() and 0, 1)
        con.execute('VACUUM').fetchall()
        """,
    'a script': """
        con.create_function('f', 1, lambda value: cache.close() or value)
        con.executescript('SELECT f(1); SELECT f(2); SELECT 3;')
        """,
    'COMMIT': """
        con.execute('BEGIN IMMEDIATE')
        con.execute('UPDATE Cache SET access_count = 1')
        con.set_trace_callback(lambda statement: cache.close())
        con.commit()
        """,
    'a callback left behind': """
        with cache._transact() as (sql, _):
            sql.__self__.set_trace_callback(lambda statement: cache.close())
        del sql
        for _ in range(3):
            assert cache[1] == 1
            cache[2] = 2
        """,
    'what copying the log asks': """
        con.set_trace_callback(lambda statement: 'PRAGMA' in statement and cache.close())
        for _ in range(200):
            cache[3] = bytes(30_000)
        cache[3] = 3
        """,
    'a finalizer': """
        class Finalized:
            def __init__(self):
                self.itself = self
            def __del__(self):
                cache.close()
        for threshold in range(1, 60):
            gc.disable()
            Finalized()
            gc.set_threshold(threshold)
            gc.enable()
            try:
                cache._con.execute('SELECT key FROM Cache LIMIT ?', (5,)).fetchall()
            except sqlite3.ProgrammingError:
                pass  # It was closed between two calls.
            gc.disable()
            gc.collect()
        """,
    'check()': """
        class Finalized:
            def __init__(self):
                self.itself = self
            def __del__(self):
                cache.close()
        for threshold in range(1, 400, 7):
            gc.disable()
            Finalized()
            gc.set_threshold(threshold)
            gc.enable()
            try:
                assert cache.check() == []
            except sqlite3.ProgrammingError:
                pass
            gc.disable()
            gc.collect()
        """,
}


#: These close it a hundred times, to meet each moment.
CLOSE_OFTEN = ('what copying the log asks', 'a finalizer', 'check()')


@pytest.mark.parametrize(
    'script',
    [
        pytest.param(script, id=name, marks=pytest.mark.slow if name in CLOSE_OFTEN else ())
        for name, script in CLOSE_IN.items()
    ],
)
def test_a_cache_closed_in_the_middle_of_sql_lets_that_come_to_its_end(
    alone: Interpreter, directory: str, script: str
) -> None:
    """Python's sqlite3 does not stand being closed there."""

    def scenario(directory: str, script: str) -> None:
        import gc
        import textwrap

        cache = diskcache.Cache(directory)
        cache.set_many((number, number) for number in range(20))
        for _ in range(5):
            names = {'cache': cache, 'con': cache._con, 'gc': gc, 'sqlite3': sqlite3}
            exec(textwrap.dedent(script), names)
            names.clear()
            cache.close()
            assert cache._con.execute('SELECT count(*) FROM Cache').fetchone() == (20,)
        assert cache.check() == []
        with diskcache.Cache(directory, timeout=0) as another:
            assert another.set('another', 1)

    alone.run(scenario, directory=directory, script=script)


def test_close_closes_a_connection_with_a_cursor_not_read_to_its_end(
    cache: diskcache.Cache, other: Interpreter
) -> None:
    con = cache._con
    cursor = con.execute('SELECT key FROM Settings')
    cursor.fetchone()
    cache.close()
    for use in (cursor.fetchone, lambda: con.execute('SELECT 1')):
        with pytest.raises(sqlite3.ProgrammingError):
            use()
    assert other.run(write_at_once, directory=cache.directory)


def test_close_closes_a_cursor_that_the_collector_no_longer_looks_at(
    alone: Interpreter, directory: str
) -> None:
    """As servers do before they fork. A Connection of Python 3.15 has no list of its cursors."""

    def scenario(directory: str) -> None:
        import gc

        cache = diskcache.Cache(directory)
        cursor = cache._con.execute('SELECT key FROM Settings')
        cursor.fetchone()
        gc.freeze()
        cache.close()
        try:
            cursor.fetchone()
        except sqlite3.ProgrammingError:
            return
        raise AssertionError('it is open')

    alone.run(scenario, directory=directory)


# A connection that its user closes


@pytest.mark.parametrize('size', [10, 100_000])
def test_a_connection_closed_inside_a_block_undoes_it(
    cache: diskcache.Cache, assert_intact: Callable, size: int
) -> None:
    cache['key'] = 'old'
    with pytest.raises(sqlite3.ProgrammingError, match='closed'), cache.transact():
        cache['key'] = bytes(size)
        cache._con.close()
    assert cache['key'] == 'old'
    assert_intact(cache)
    assert cache._con.execute('SELECT 1').fetchone() == (1,)


@pytest.mark.parametrize(
    'use',
    [
        pytest.param(lambda cache: cache.set('key', LARGE), id='set'),
        pytest.param(lambda cache: cache.get('key'), id='get'),
        pytest.param(lambda cache: len(cache), id='len'),
        pytest.param(lambda cache: list(cache), id='iteration'),
        pytest.param(lambda cache: cache.transact().__enter__(), id='transact'),
        pytest.param(lambda cache: cache.clear(), id='clear'),
    ],
)
def test_operations_after_the_connection_was_closed_inside_a_block_say_so(
    cache: diskcache.Cache, assert_intact: Callable, use: Callable
) -> None:
    cache['key'] = 'old'
    with pytest.raises(ZeroDivisionError), cache.transact():
        cache['key'] = 'new'
        cache._con.close()
        for _ in range(2):
            with pytest.raises(sqlite3.ProgrammingError, match='closed'):
                use(cache)
        raise ZeroDivisionError
    assert cache['key'] == 'old'
    assert_intact(cache)


def test_a_hook_that_closes_the_connection_is_an_error(
    directory: str, assert_intact: Callable
) -> None:
    class Closing(diskcache.Cache):
        on = False

        def _row_insert(self, *args: object) -> None:
            super()._row_insert(*args)
            if self.on:
                self._con.close()

    with Closing(directory) as cache:
        for size in (10, 100_000):
            cache.on = True
            with pytest.raises(sqlite3.ProgrammingError, match='closed'):
                cache['key'] = bytes(size)
            cache.on = False
            assert 'key' not in cache
            assert_intact(cache)


def test_a_connection_closed_between_operations_is_replaced(
    cache: diskcache.Cache, assert_intact: Callable
) -> None:
    for turn in range(3):
        cache._con.close()
        cache[turn] = turn
        cache._con.close()
        assert cache[turn] == turn
    assert_intact(cache)


# The sql of _transact() after its block


def test_a_cursor_opened_after_the_block_makes_nobody_read_old_values(
    cache: diskcache.Cache, assert_intact: Callable
) -> None:
    for number in range(10):
        cache[number] = 'old'
    with cache._transact() as (sql, _cleanup):
        pass
    cursor = sql('SELECT key, value FROM Cache ORDER BY key')
    assert cursor.fetchone() == (0, 'old')
    with diskcache.Cache(cache.directory) as another:
        another[1] = 'new'
    for _ in range(3):
        assert cache[1] == 'new'
        assert in_thread(lambda: cache[1]) == 'new'
    cache[2] = 'newer'
    assert cache[2] == 'newer'
    assert cursor.fetchone() == (1, 'old')
    assert_intact(cache)


def test_what_is_done_with_the_sql_after_the_block_concerns_nobody_else(
    cache: diskcache.Cache, assert_intact: Callable
) -> None:
    with cache._transact() as (sql, _cleanup):
        pass
    sql('PRAGMA query_only = 1')
    cache['key'] = 1
    in_thread(lambda: cache.set('key', 2))
    sql('PRAGMA query_only = 0')
    sql('BEGIN')
    sql('UPDATE Cache SET value = 3')
    assert cache['key'] == 2
    sql('ROLLBACK')
    del sql
    assert cache['key'] == 2
    assert_intact(cache)


def test_a_transaction_left_open_with_the_sql_ends_when_that_is_dropped(
    cache: diskcache.Cache, assert_intact: Callable
) -> None:
    with cache._transact() as (sql, _cleanup):
        pass
    sql('BEGIN IMMEDIATE')
    sql("INSERT INTO Settings VALUES ('own', 1)")
    del sql
    cache.set('key', 1)
    assert_intact(cache)


@pytest.mark.parametrize('journal', ['wal', 'delete'])
@pytest.mark.parametrize(
    'statements',
    [
        pytest.param(['BEGIN IMMEDIATE'], id='lock'),
        pytest.param(['BEGIN', 'UPDATE Settings SET value = 1 WHERE 0'], id='write'),
        pytest.param(['SELECT key FROM Settings'], id='cursor'),
    ],
)
def test_a_lock_that_the_thread_itself_keeps_is_an_error_at_once(
    directory: str, assert_intact: Callable, journal: str, statements: list[str]
) -> None:
    """It has it through the `sql` of a block that is over; waiting would be for ever."""
    with diskcache.Cache(directory, sqlite_journal_mode=journal) as cache:
        with cache._transact() as (sql, _cleanup):
            pass
        cursors = [sql(statement) for statement in statements]
        cursors[-1].fetchone()
        if (journal, len(statements), statements[0]) == ('wal', 1, 'SELECT key FROM Settings'):
            assert cache.set('key', LARGE, retry=True)  # Readers and writers do not meet there.
        else:
            with pytest.raises(sqlite3.OperationalError, match='end it to write'):
                cache.set('key', LARGE, retry=True)
        cursors.clear()
        if statements[0] != 'SELECT key FROM Settings':
            sql('ROLLBACK')
        assert cache.set('key', LARGE)
        assert_intact(cache)


@linux_only
def test_blocks_one_after_the_other_share_their_connections(cache: diskcache.Cache) -> None:
    before = descriptors(cache.directory)
    for _ in range(20):
        with cache._transact() as (sql, _cleanup):
            sql('SELECT 1').fetchall()
        cache.check()
    in_use = descriptors(cache.directory)
    for _ in range(20):
        with cache._transact() as (sql, _cleanup):
            sql('SELECT 1').fetchall()
        cache.check()
    assert descriptors(cache.directory) == in_use <= before + 12


# Threads that share a connection


def test_a_callback_in_another_thread_gets_the_gil_while_an_operation_waits(
    alone: Interpreter, directory: str
) -> None:
    """Its SQL has SQLite's mutex of the connection that the operation waits for."""

    def scenario(directory: str) -> None:
        cache = diskcache.Cache(directory)
        cache['key'] = 'value'
        con = cache._con
        entered = threading.Event()

        def slow(value: int) -> int:
            entered.set()
            time.sleep(0.05)
            return value

        con.create_function('slow', 1, slow)
        for use in (
            lambda: cache.get('key'),
            lambda: cache.set('key', 'value'),
            lambda: cache.check(),
            lambda: cache.close(),
        ):
            entered.clear()
            thread = threading.Thread(
                target=lambda: con.execute('SELECT slow(1), slow(2), slow(3)').fetchall()
            )
            thread.start()
            entered.wait()
            use()
            thread.join()
        assert cache['key'] == 'value'

    alone.run(scenario, directory=directory)


@pytest.mark.skipif(not hasattr(sqlite3, 'enable_shared_cache'), reason='gone from Python')
@pytest.mark.filterwarnings('ignore::DeprecationWarning')
def test_a_process_with_a_shared_cache_works_without_it_here(
    alone: Interpreter, directory: str
) -> None:
    """Two connections with a common cache have one file, and lock each other out by tables."""

    def scenario(directory: str) -> None:
        import warnings

        warnings.simplefilter('ignore')
        sqlite3.enable_shared_cache(True)
        directory = f'{directory} 100% #?&é'
        caches = [diskcache.Cache(directory), diskcache.Cache(directory)]
        errors = []

        def work(number: int) -> None:
            try:
                for turn in range(300):
                    cache = caches[number % 2]
                    cache.set((number, turn % 10), 'x' * turn)
                    assert len(cache.get((number, turn % 10))) == turn
                    cache.incr('count')
            except BaseException as error:
                errors.append(repr(error))

        sys.setswitchinterval(1e-5)
        threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert errors == [], errors
        assert caches[0]['count'] == 1200
        assert caches[1].check() == []
        assert os.path.exists(os.path.join(directory, 'cache.db'))

    alone.run(scenario, directory=directory)


@pytest.mark.slow
def test_a_connection_is_never_opened_while_another_thread_is_at_that(
    alone: Interpreter, directory: str
) -> None:
    """Not even if that thread takes very long: a lock could get lost. It is a Timeout then.

    Meanwhile that thread itself may open others.
    """

    def scenario(directory: str) -> None:
        blocking = []
        entered, leave = threading.Event(), threading.Event()

        def hold_up(event: str, arguments: tuple) -> None:
            if event == 'sqlite3.connect' and threading.get_ident() in blocking:
                blocking.clear()
                entered.set()
                leave.wait()
                with diskcache.Cache(directory + '-inner') as inner:
                    inner['key'] = 1

        def open_slowly() -> None:
            blocking.append(threading.get_ident())
            cache['slow'] = 1

        cache = diskcache.Cache(directory)
        cache.close()
        quick = diskcache.Cache(directory, timeout=0)
        quick.close()
        sys.addaudithook(hold_up)
        thread = threading.Thread(target=open_slowly)
        thread.start()
        entered.wait()
        try:
            quick.set('key', 1)
        except diskcache.Timeout:
            refused = True
        assert refused
        leave.set()
        thread.join()
        assert quick.set('key', 2)
        assert (cache['slow'], cache['key']) == (1, 2)

    alone.run(scenario, directory=directory)


@pytest.mark.skipif(
    not sysconfig.get_config_var('Py_GIL_DISABLED'), reason='only there objects are freed late'
)
def test_a_free_threaded_python_keeps_no_statement_beyond_its_use(cache: diskcache.Cache) -> None:
    """It would be freed late where another thread has used it last, and the connection with it."""
    prepared = []
    con = cache._con
    con.set_authorizer(lambda *_: prepared.append(1) or sqlite3.SQLITE_OK)
    counts = []
    for _ in range(3):
        con.execute('SELECT count(*) FROM Cache').fetchall()
        counts.append(len(prepared))
    assert counts[0] > 0
    assert counts[2] - counts[1] == counts[1] - counts[0] == counts[0]
