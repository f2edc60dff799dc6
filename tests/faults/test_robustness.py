"""Hostile surroundings: no descriptors left, dying threads, meddling hooks, forks at bad moments.

None of it may crash or hang the interpreter, mix up transactions, or lose what was stored. A
test that could do so if it failed runs its scenario in a process of its own (`alone`), so that
a crash is the failure of that test and a hang ends with the patience of the interpreter.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import shlex
import signal
import sqlite3
import subprocess
import sys
import sysconfig
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from fractions import Fraction
from pathlib import Path

import pytest
from consistency import value_files
from interpreter import PATIENCE, Child, Interpreter
from places import SUPPORT

import diskcache

LARGE = b'x' * 100_000

needs_fork = pytest.mark.skipif(not hasattr(os, 'fork'), reason='this platform cannot fork')


def in_thread(function: Callable[[], object]) -> object:
    """Run `function` in a thread that has ended on return; return its result or raise its error."""
    outcome: list[tuple[bool, object]] = []

    def run() -> None:
        try:
            outcome.append((True, function()))
        except BaseException as error:
            outcome.append((False, error))

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(PATIENCE)
    assert not thread.is_alive(), 'the thread hangs'
    ((succeeded, result),) = outcome
    if not succeeded:
        raise result
    return result


# Value files that cannot be opened


@pytest.mark.parametrize(
    ('method', 'arguments'),
    [
        ('pop', (500_000_000_000_000,)),
        ('pull', ()),
        ('peek', ()),
        ('peekitem', ()),
    ],
)
def test_an_item_is_kept_when_no_descriptor_is_left_to_open_its_file(
    alone: Interpreter, directory: str, method: str, arguments: tuple
) -> None:
    pytest.importorskip('resource')

    def scenario(directory: str, method: str, arguments: tuple) -> None:
        import resource

        cache = diskcache.Cache(directory)
        assert cache.push(bytes(100_000)) == 500_000_000_000_000
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        lowest_free = os.dup(0)
        os.close(lowest_free)
        resource.setrlimit(resource.RLIMIT_NOFILE, (lowest_free, hard))
        try:
            getattr(cache, method)(*arguments)
        except OSError as error:
            raised = error
        else:
            raised = None
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        assert isinstance(raised, OSError), raised
        assert cache.get(500_000_000_000_000) == bytes(100_000)
        assert cache.check() == []

    alone.run(scenario, directory=directory, method=method, arguments=arguments)


def test_get_is_a_miss_when_no_descriptor_is_left_to_open_the_file(
    alone: Interpreter, directory: str
) -> None:
    pytest.importorskip('resource')

    def scenario(directory: str) -> None:
        import resource

        cache = diskcache.Cache(directory)
        cache['key'] = bytes(100_000)
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        lowest_free = os.dup(0)
        os.close(lowest_free)
        resource.setrlimit(resource.RLIMIT_NOFILE, (lowest_free, hard))
        try:
            missed = cache.get('key', 'default')
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        assert missed == 'default'
        assert cache['key'] == bytes(100_000)

    alone.run(scenario, directory=directory)


@pytest.mark.skipif(sys.platform != 'linux', reason='the shim is for LD_PRELOAD')
@pytest.mark.parametrize('suffix', ['.db', '.db-wal', '.db-shm'])
def test_a_file_that_could_not_be_opened_for_writing_for_a_moment_is_written_later(
    directory: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, suffix: str
) -> None:
    """SQLite opens it for reading then; a session that cannot write must not stay in use."""
    shim = tmp_path / 'failing_open.so'
    compiler = shlex.split(sysconfig.get_config_var('CC'))
    source = SUPPORT / 'failing_open.c'
    subprocess.run([*compiler, '-shared', '-fPIC', '-o', shim, source, '-ldl'], check=True)
    monkeypatch.setenv('LD_PRELOAD', f'{os.environ.get("LD_PRELOAD", "")} {shim}')
    monkeypatch.setenv('FAILING_OPEN_SUFFIX', suffix)
    monkeypatch.setenv('FAILING_OPEN_WHILE', str(tmp_path / 'failing'))

    def scenario(directory: str) -> None:
        import subprocess

        cache = diskcache.Cache(directory, timeout=1)
        cache['key'] = 'old'
        # Another process keeps the log and the wal-index from being removed.
        script = (
            f'import sqlite3; con = sqlite3.connect({directory + "/cache.db"!r}); '
            "print(con.execute('SELECT count(*) FROM Cache').fetchall(), flush=True); input()"
        )
        keeping = subprocess.Popen(
            [sys.executable, '-c', script], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        assert keeping.stdout.readline()
        cache.close()
        failing = os.environ['FAILING_OPEN_WHILE']
        open(failing, 'w').close()
        for use in (lambda: cache.get('key'), lambda: cache.set('key', 'new')):
            with contextlib.suppress(sqlite3.OperationalError):
                assert use() == 'old'
        os.remove(failing)
        for turn in range(3):
            assert cache.set('key', turn)
            assert cache.get('key') == turn
        assert cache.check() == []
        keeping.communicate(b'\n')

    with Interpreter(Path(diskcache.__file__).parent.parent) as interpreter:
        interpreter.run(scenario, directory=directory)


def test_a_database_that_nobody_may_write_can_be_read(directory: str, alone: Interpreter) -> None:
    if not hasattr(os, 'seteuid'):
        pytest.skip('this platform has no users')
    with diskcache.Cache(directory, sqlite_journal_mode='delete') as cache:
        cache['key'] = 'value'

    def scenario(directory: str) -> None:
        import pytest

        path = f'{directory}/cache.db'
        for name in (os.path.dirname(directory), directory):
            os.chmod(name, 0o755)
        os.chmod(path, 0o444)
        if os.getuid() == 0:
            parent = os.path.dirname(os.path.dirname(directory))
            while parent != '/':
                os.chmod(parent, os.stat(parent).st_mode | 0o055)
                parent = os.path.dirname(parent)
            os.seteuid(65534)
        cache = diskcache.Cache(directory)
        for _ in range(3):
            assert cache['key'] == 'value'
            assert len(cache) == 1
            with pytest.raises(sqlite3.OperationalError, match='readonly') as raised:
                cache['key'] = 'new'
            (note,) = raised.value.__notes__
            assert note == f'diskcache: the database is {path}, which this process may not write'

    alone.run(scenario, directory=directory)


@pytest.mark.parametrize('method', ['pull', 'peek', 'peekitem'])
def test_an_item_whose_file_is_missing_is_dropped(
    cache: diskcache.Cache, assert_intact: Callable, method: str
) -> None:
    cache.push(LARGE)
    (name,) = value_files(cache.directory)
    cache.push('next')
    Path(cache.directory, name).unlink()
    arguments = {'last': False} if method == 'peekitem' else {}
    assert getattr(cache, method)(**arguments) == (500_000_000_000_001, 'next')
    assert len(cache) == (0 if method == 'pull' else 1)
    assert_intact(cache)


def test_pop_of_an_item_whose_file_is_missing_is_a_miss_and_drops_it(
    cache: diskcache.Cache, assert_intact: Callable
) -> None:
    cache['key'] = LARGE
    (name,) = value_files(cache.directory)
    Path(cache.directory, name).unlink()
    assert cache.pop('key', 'default') == 'default'
    assert len(cache) == 0
    assert_intact(cache)


@pytest.mark.parametrize('method', ['pop', 'pull', 'popitem'])
def test_others_write_while_a_large_value_is_read_to_be_taken_out(
    cache: diskcache.Cache, method: str
) -> None:
    """Not all of the reading under the lock; nor is the item gone before it has been read."""
    cache.push(LARGE)
    (name,) = value_files(cache.directory)
    size = 300_000_000
    os.truncate(Path(cache.directory, name), size)
    cache._sql('UPDATE Cache SET size = ?', (size,))
    cache.close()
    writes: list[float] = []
    done = threading.Event()

    def write() -> None:
        with diskcache.Cache(cache.directory) as another:
            while not done.is_set():
                another['key'] = 1
                writes.append(time.monotonic())

    writer = threading.Thread(target=write)
    writer.start()
    try:
        while not writes:
            time.sleep(0.001)
        began = time.monotonic()
        if method == 'pop':
            value = cache.pop(500_000_000_000_000)
        elif method == 'pull':
            value = cache.pull()[1]
        else:
            value = diskcache.Index.fromcache(cache).popitem(last=False)[1]
        took = time.monotonic() - began
    finally:
        done.set()
        writer.join()
    assert len(value) == size
    assert any(began + 0.25 * took < at < began + 0.75 * took for at in writes)
    assert list(cache) == ['key']


def test_a_disk_that_names_its_files_makes_their_directories_again_while_others_remove_them(
    directory: str, assert_intact: Callable
) -> None:
    class Naming(diskcache.Disk):
        def filename(self, key: object = None, value: object = None) -> tuple[str, str]:
            name = f'a/b/{key}'
            return name, os.path.join(self._directory, name)

    def write(thread: int) -> None:
        try:
            for number in range(400):
                cache[f'{thread}-{number}'] = LARGE[:40_000]
                del cache[f'{thread}-{number}']
        except BaseException as error:
            errors.append(error)

    errors: list[BaseException] = []
    with diskcache.Cache(directory, disk=Naming) as cache:
        threads = [threading.Thread(target=write, args=(number,)) for number in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert errors == []
        assert len(cache) == 0
        assert_intact(cache)


@pytest.mark.parametrize('obstacle', ['a', 'a/b'])
def test_a_file_in_place_of_a_directory_is_an_error_of_a_disk_that_names_its_files(
    directory: str, obstacle: str
) -> None:
    class Naming(diskcache.Disk):
        def filename(self, key: object = None, value: object = None) -> tuple[str, str]:
            return 'a/b/c', os.path.join(self._directory, 'a/b/c')

    with diskcache.Cache(directory, disk=Naming) as cache:
        path = Path(directory, obstacle)
        path.parent.mkdir(exist_ok=True)
        path.touch()
        with pytest.raises((FileExistsError, NotADirectoryError)):
            cache['key'] = LARGE
        assert len(cache) == 0


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


@pytest.mark.parametrize('end', END_TRANSACTION.values(), ids=END_TRANSACTION.keys())
@pytest.mark.parametrize('hook', ['_row_insert', '_row_update', '_cull'])
@pytest.mark.parametrize('size', [10, 100_000])
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


# Initializing again, Transaction and objects made without __init__


def test_a_cache_in_a_transaction_cannot_be_initialized_again(
    cache: diskcache.Cache, tmp_path: Path, assert_intact: Callable
) -> None:
    with pytest.raises(RuntimeError), cache.transact():
        cache['key'] = LARGE
        cache.__init__(str(tmp_path / 'elsewhere'))
    assert cache.directory == str(tmp_path / 'cache')
    assert 'key' not in cache
    cache['key'] = LARGE
    with diskcache.Cache(str(tmp_path / 'cache')) as another:
        assert another['key'] == LARGE
    assert_intact(cache)


def test_a_cache_cannot_be_initialized_again_while_another_thread_is_in_a_transaction(
    cache: diskcache.Cache, tmp_path: Path, assert_intact: Callable
) -> None:
    with cache.transact():
        cache['key'] = LARGE
        with pytest.raises(RuntimeError):
            in_thread(lambda: cache.__init__(str(tmp_path / 'elsewhere')))
    assert cache['key'] == LARGE
    assert_intact(cache)


def test_a_cache_initialized_again_elsewhere_has_its_rows_and_files_there(
    cache: diskcache.Cache, tmp_path: Path, assert_intact: Callable
) -> None:
    before, elsewhere = cache.directory, str(tmp_path / 'elsewhere')
    cache['before'] = LARGE
    cache.__init__(elsewhere)
    cache['after'] = LARGE
    assert cache.directory == elsewhere
    assert list(cache) == ['after']
    assert cache['after'] == LARGE
    assert len(value_files(elsewhere)) == len(value_files(before)) == 1
    assert in_thread(lambda: list(cache)) == ['after']
    assert_intact(cache)
    with diskcache.Cache(before) as another:
        assert list(another) == ['before']
        assert_intact(another)


@pytest.mark.parametrize('use', ['transaction.__enter__()', 'transaction._cleanup("name")'])
def test_a_transaction_made_by_hand_cannot_be_used(alone: Interpreter, use: str) -> None:
    script = f"""
    import diskcache.core
    transaction = diskcache.core.Transaction()
    try:
        {use}
    except RuntimeError as error:
        outcome = 'RuntimeError'
    outcome
    """
    assert alone.run(script) == 'RuntimeError'


@pytest.mark.parametrize('name', ['Cache', 'Disk', 'JSONDisk'])
def test_no_method_of_an_object_that_was_not_initialized_crashes(
    alone: Interpreter, tmp_path: Path, name: str
) -> None:
    def scenario(name: str, working_directory: str) -> None:
        os.chdir(working_directory)  # Some methods make the directory 'a'.
        kind = getattr(diskcache, name)
        candidates = ((), (1,), ('a',), (b'a',), (1, 2), ('a', 1), (1, 2, 3), (2, 'x', None, True))
        for method in dir(kind):
            if method in ('__class__', '__init_subclass__', '__new__', '__subclasshook__'):
                continue
            if method == '__init__':  # Would make the object a usable one.
                continue
            for arguments in candidates:
                uninitialized = kind.__new__(kind)
                try:
                    getattr(uninitialized, method)(*arguments)
                except Exception:
                    pass

    alone.run(scenario, name=name, working_directory=str(tmp_path))


# Iteration and queues


def test_a_prefix_may_contain_nul(cache: diskcache.Cache, assert_intact: Callable) -> None:
    keys = [cache.push(number, prefix='a\0b') for number in range(2)]
    assert keys == ['a\0b-500000000000000', 'a\0b-500000000000001']
    cache.push('other', prefix='a')
    cache.push('another', prefix='a\0c')
    assert cache.peek(prefix='a\0b') == (keys[0], 0)
    assert cache.pull(prefix='a\0b', side='back') == (keys[1], 1)
    assert cache.pull(prefix='a\0b') == (keys[0], 0)
    assert cache.pull(prefix='a\0b') == (None, None)
    assert cache.pull(prefix='a')[1] == 'other'
    assert cache.pull(prefix='a\0c')[1] == 'another'
    assert_intact(cache)


@pytest.mark.parametrize('direction', [iter, reversed, diskcache.Cache.iterkeys])
def test_iteration_goes_on_after_an_interruption(
    cache: diskcache.Cache, direction: Callable[[diskcache.Cache], Iterator]
) -> None:
    for number in range(300):
        cache[f'key{number}'] = number
    expected = list(direction(cache))
    con = cache._con
    interruptions = 0
    for moment in range(1, 400, 13):
        calls = 0

        def interrupt(moment: int = moment) -> bool:
            nonlocal calls
            calls += 1
            return calls == moment

        iterator = direction(cache)
        con.set_progress_handler(interrupt, 10)
        seen = []
        while True:
            try:
                seen.append(next(iterator))
            except StopIteration:
                break
            except sqlite3.OperationalError:
                interruptions += 1
        con.set_progress_handler(None, 0)
        assert seen == expected
    assert interruptions > 0


@pytest.mark.parametrize('size', [10, 1_000], ids=lambda size: f'{size} bytes')
def test_thousands_of_keys_come_once_each_and_in_order(cache: diskcache.Cache, size: int) -> None:
    keys = [f'{number:0{size}}' for number in range(3_000)]
    cache.set_many((key, None) for key in keys)
    assert list(cache) == list(cache.iterkeys()) == keys
    assert list(reversed(cache)) == list(cache.iterkeys(reverse=True)) == keys[::-1]


def test_what_is_deleted_on_the_way_does_not_end_an_iteration(cache: diskcache.Cache) -> None:
    keys = list(range(3_000))
    cache.set_many((key, None) for key in keys)
    for iterate in (iter, reversed):
        seen = []
        for key in iterate(cache):  # type: ignore[operator]
            seen.append(key)
            if key % 500 == 0:
                cache.delete_many([key - 1, key, key + 1])
        assert set(seen) >= set(cache)
        assert len(seen) == len(set(seen))


def test_threads_that_share_an_iterator_get_each_key_at_most_once(
    alone: Interpreter, directory: str
) -> None:
    def scenario(directory: str) -> None:
        cache = diskcache.Cache(directory, sqlite_journal_mode='delete')
        keys = {f'key{number}' + 'x' * 300 for number in range(1_000)}
        with cache.transact():
            for key in keys:
                cache[key] = 1
        sys.setswitchinterval(1e-5)

        def consume(iterator: object, seen: list, errors: list) -> None:
            while True:
                try:
                    seen.append(next(iterator))
                except StopIteration:
                    return
                except ValueError:
                    pass  # Another thread is in the iterator.
                except BaseException as error:
                    errors.append(repr(error))
                    return

        for _ in range(15):
            arguments = iter(cache), [], []
            threads = [
                threading.Thread(target=consume, args=arguments, daemon=True) for _ in range(4)
            ]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join(30)
            assert not any(thread.is_alive() for thread in threads)
            _, seen, errors = arguments
            assert errors == [], errors
            assert len(seen) == len(set(seen))
            assert set(seen) == keys

    alone.run(scenario, directory=directory)


def test_an_iterator_that_is_reading_lets_nobody_else_in(directory: str) -> None:
    """Getting a connection runs Python, or gives the GIL up: who comes in finds it in use."""

    class Looking(diskcache.Cache):
        iterator: Iterator | None = None
        refused = 0

        @property
        def _con(self) -> sqlite3.Connection:
            iterator, self.iterator = self.iterator, None
            if iterator is not None:
                with pytest.raises(ValueError, match='in use'):
                    next(iterator)
                self.refused += 1
            return super()._con

    with Looking(directory) as cache:
        cache.set_many(dict.fromkeys(range(300)))
        keys = iter(cache)
        seen = []
        for _ in range(300):
            cache.iterator = keys
            seen.append(next(keys))
        assert seen == list(range(300))
        assert cache.refused > 1


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


# Forks at bad moments


@needs_fork
def test_a_fork_while_another_thread_is_in_a_trace_callback_does_not_deadlock(
    alone: Interpreter, directory: str
) -> None:
    def scenario(directory: str) -> None:
        cache = diskcache.Cache(directory)
        cache['key'] = 1
        inside, leave = threading.Event(), threading.Event()

        def trace(_statement: str) -> None:
            inside.set()
            leave.wait(30)

        def read() -> None:
            cache._con.set_trace_callback(trace)
            cache.get('key')

        thread = threading.Thread(target=read, daemon=True)
        thread.start()
        assert inside.wait(30)
        child = Child(lambda: diskcache.Cache(directory).get('key'))
        assert child.result() == 1
        leave.set()
        thread.join(30)
        assert not thread.is_alive()
        assert cache.set('key', 2)

    alone.run(scenario, directory=directory)


@needs_fork
@pytest.mark.parametrize(
    'size',
    [
        pytest.param(10, id='in the row'),
        pytest.param(100_000, id='in a file'),
    ],
)
def test_a_fork_in_a_hook_leaves_the_write_to_the_parent(
    alone: Interpreter, directory: str, size: int
) -> None:
    def scenario(directory: str, size: int) -> None:
        class Forking(diskcache.Cache):
            pid = None

            def _row_insert(self, *args: object) -> None:
                super()._row_insert(*args)
                self.pid = os.fork()
                if self.pid == 0:
                    signal.alarm(30)  # A child that hangs ends.
                else:
                    self.status = os.waitpid(self.pid, 0)[1]

        cache = Forking(directory, timeout=0.5)
        try:
            cache['key'] = bytes(size)
        except RuntimeError:
            code = 42
        except BaseException:
            code = 1
        else:
            code = 0
        if cache.pid == 0:
            os._exit(code)
        assert os.WEXITSTATUS(cache.status) == 42, cache.status
        assert code == 0
        assert cache['key'] == bytes(size)
        assert cache.check() == []

    alone.run(scenario, directory=directory, size=size)


@needs_fork
def test_a_fork_while_threads_open_and_close_caches_hangs_nobody(
    alone: Interpreter, directory: str
) -> None:
    def scenario(directory: str) -> None:
        cache = diskcache.Cache(directory)
        cache['before'] = bytes(50_000)
        stop = threading.Event()
        errors = []

        def hammer(number: int) -> None:
            turn = 0
            try:
                while not stop.is_set():
                    cache.set((number, turn % 10), turn, retry=True)
                    with diskcache.Cache(f'{directory} of thread {number}') as another:
                        another.set(turn % 10, turn)
                    turn += 1
            except BaseException as error:
                errors.append(repr(error))

        def work(child: int) -> int:
            cache.incr('children', retry=True)
            with diskcache.Cache(f'{directory} of child {child}') as another:
                another['copy'] = cache['before']
                return len(another['copy'])

        threads = [
            threading.Thread(target=hammer, args=(number,), daemon=True) for number in range(3)
        ]
        for thread in threads:
            thread.start()
        sizes = {Child(work, child).result() for child in range(30)}
        stop.set()
        for thread in threads:
            thread.join(10)
        assert not any(thread.is_alive() for thread in threads)
        assert errors == [], errors
        assert sizes == {50_000}
        assert cache['children'] == 30
        assert cache.check() == []

    alone.run(scenario, directory=directory)


@needs_fork
def test_no_write_of_a_child_is_lost_while_threads_of_the_parent_close_the_cache(
    alone: Interpreter, directory: str
) -> None:
    def scenario(directory: str) -> None:
        cache = diskcache.Cache(directory)
        stop = threading.Event()

        def hammer(number: int) -> None:
            while not stop.is_set():
                cache.set(('thread', number), number, retry=True)
                cache.close()

        threads = [
            threading.Thread(target=hammer, args=(number,), daemon=True) for number in range(3)
        ]
        for thread in threads:
            thread.start()
        for _ in range(60):
            Child(lambda: cache.incr('children', retry=True)).result()
        stop.set()
        for thread in threads:
            thread.join(10)
        assert not any(thread.is_alive() for thread in threads)
        assert cache['children'] == 60
        assert cache.check() == []

    alone.run(scenario, directory=directory)


@needs_fork
def test_what_a_child_writes_with_a_cache_of_its_own_outlasts_that_of_the_parent(
    alone: Interpreter, directory: str
) -> None:
    def scenario(directory: str) -> None:
        cache = diskcache.Cache(directory)
        cache['parent'] = 1
        told, tell = os.pipe()
        reported, report = os.pipe()

        def work() -> bool:
            with diskcache.Cache(directory) as own:
                own['child'] = 1
                os.write(report, b'.')
                os.read(told, 1)
                return own.set('child too', 2)

        child = Child(work)
        os.read(reported, 1)
        cache.close()
        cache['parent too'] = 2
        os.write(tell, b'.')
        assert child.result()
        assert set(cache) == {'parent', 'child', 'parent too', 'child too'}, list(cache)

    alone.run(scenario, directory=directory)


# Finalizers and references


@pytest.mark.skipif(not os.path.isdir('/proc/self/fd'), reason='only Linux lists descriptors')
def test_a_finalizer_in_a_cycle_with_the_cache_leaks_no_descriptor(
    alone: Interpreter, directory: str
) -> None:
    def scenario(directory: str) -> None:
        import gc

        class Holder:
            def __init__(self, cache: diskcache.Cache) -> None:
                self.cache, cache.holder, self.itself = cache, self, self

            def __del__(self) -> None:
                finalized.append(self.cache.get('key'))

        finalized: list = []
        gc.collect()
        before = len(os.listdir('/proc/self/fd'))
        for _ in range(20):
            cache = diskcache.Cache(directory)
            cache['key'] = 1
            Holder(cache)
            del cache
            gc.collect()
        assert finalized == [1] * 20
        assert len(os.listdir('/proc/self/fd')) == before

    alone.run(scenario, directory=directory)


def test_a_finalizer_that_runs_while_an_operation_fails_does_not_join_its_transaction(
    alone: Interpreter, directory: str
) -> None:
    def scenario(directory: str) -> None:
        import gc

        class Finalized:
            def __init__(self, key: tuple) -> None:
                self.key, self.itself = key, self

            def __del__(self) -> None:
                try:
                    returned[self.key] = cache.set(self.key, 1)
                except BaseException as error:
                    returned[self.key] = repr(error)

        cache = diskcache.Cache(directory)
        cache['text'] = 'text'
        returned: dict = {}
        keys = [(threshold, turn) for threshold in (1, 2, 3, 5, 8, 12, 700) for turn in range(60)]
        for key in keys:
            Finalized(key)
            gc.set_threshold(key[0])
            try:
                cache.incr('text')
            except TypeError:
                pass
            finally:
                gc.set_threshold(700, 10, 10)
        gc.collect()
        assert returned == dict.fromkeys(keys, True), returned
        assert all(key in cache for key in keys)
        assert cache['text'] == 'text'

    alone.run(scenario, directory=directory)


class SurrogateKeys(diskcache.Disk):
    """A Disk whose keys no database takes."""

    text = 'ab' * 50 + '\ud800'

    def put(self, _key: object) -> tuple[str, bool]:
        """Return a text that cannot be encoded."""
        return self.text, True


@pytest.mark.parametrize(
    'operation',
    [
        lambda cache, text: cache.get(text),
        lambda cache, text: cache.set('key', text),
        lambda cache, text: cache.set('key', 1, tag=text),
        lambda cache, text: cache.evict(text),
        lambda cache, text: cache.push(1, prefix=text),
        lambda cache, text: cache._disk.fetch(1, None, text, False),
        lambda cache, text: cache._row_insert('key', True, 0.0, (None, text, 0, 1, None, 'value')),
        lambda cache, text: cache._update_setting('name', text),
    ],
    ids=['get', 'value', 'tag', 'evict', 'prefix', 'fetch', 'row', 'setting'],
)
def test_a_text_that_cannot_be_encoded_is_not_leaked(
    cache: diskcache.Cache, operation: Callable[[diskcache.Cache, str], object]
) -> None:
    text = SurrogateKeys.text
    before = sys.getrefcount(text)
    for _ in range(100):
        try:
            operation(cache, text)
        except (UnicodeEncodeError, OSError):
            pass
    after = sys.getrefcount(text)
    assert after == before


@pytest.mark.parametrize(
    'operation',
    [
        lambda cache: cache.get(1),
        lambda cache: cache.set(1, 1),
        lambda cache: cache._disk.hash(1),
    ],
    ids=['get', 'set', 'hash'],
)
def test_a_key_of_a_hook_that_cannot_be_encoded_is_not_leaked(
    directory: str, operation: Callable[[diskcache.Cache], object]
) -> None:
    with diskcache.Cache(directory, disk=SurrogateKeys) as cache:
        before = sys.getrefcount(SurrogateKeys.text)
        for _ in range(100):
            try:
                operation(cache)
            except UnicodeEncodeError:
                pass
        after = sys.getrefcount(SurrogateKeys.text)  # The assertion itself would hold one more.
        assert after == before
