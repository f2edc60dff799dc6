"""The SQLite that a process uses, of which there may be several copies.

Two copies of SQLite that open the same file in one process drop each other's locks, and commits are
lost. So diskcache is bound to the copy behind the `sqlite3.connect` that is there when it is
imported, and uses no other. The second copy here is a real one: `pysqlite3-binary`, which programs
put in the place of `sqlite3`. Since a process is bound once and for all, most tests run a function
in a process of its own.
"""

from __future__ import annotations

import inspect
import json
import os
import shlex
import sqlite3
import subprocess
import sys
import sysconfig
import textwrap
import threading
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from interpreter import Interpreter

import diskcache
from diskcache import Cache, Deque, Index, Timeout

PACKAGE = Path(diskcache.__file__).resolve().parent.parent
PATIENCE = 50  # Seconds after which a process is held to hang.

Run = Callable[..., Any]


@pytest.fixture(scope='session')
def pysqlite3() -> str:
    """The directory in which pysqlite3-binary is installed."""
    path = Path(os.environ.get('DISKCACHE_PYSQLITE3', Path(sys.prefix) / 'pysqlite3'))
    if not path.exists():
        pytest.fail(
            f'{path} is not there: run `make pysqlite3`, which makes it, or set DISKCACHE_PYSQLITE3'
            ' to the directory that contains pysqlite3'
        )
    if not list(path.glob('pysqlite3/_sqlite3*.so')):
        pytest.skip('pysqlite3-binary has no wheel for this Python')
    return str(path)


REPLACE = "import sys, pysqlite3; sys.modules['sqlite3'] = pysqlite3"


def call_in_new_process(
    function: Callable[..., Any],
    /,
    *,
    replaced_by: str = '',
    prefix: tuple[str, ...] = (),
    **names: Any,
) -> Any:
    """Call `function`, of which the source is sent, in a new process; return what it returns.

    What is in `replaced_by`, the directory of pysqlite3, takes the place of sqlite3 before anything
    else happens, as its users are told to do. What is in `prefix` runs the interpreter.
    """
    program = [
        'from __future__ import annotations',
        REPLACE if replaced_by else '',
        textwrap.dedent(inspect.getsource(function)),
        f'import json\nprint(json.dumps({function.__name__}(**{names!r})))',
    ]
    done = subprocess.run(
        [*prefix, sys.executable, '-c', '\n'.join(program)],
        cwd='/',  # In a clone this process would import what is there, and another interpreter not.
        env={
            **os.environ,
            'PYTHONPATH': f'{PACKAGE}{os.pathsep}{replaced_by}',
            'DISKCACHE_REPLACE_SQLITE3': '',  # Which sqlite_matrix.py may have set.
        },
        capture_output=True,
        text=True,
        timeout=PATIENCE,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


# Another sqlite3 in the place of Python's own, before the import.


def write_beside_another(directory: str, look: bool) -> Any:
    import sqlite3
    import subprocess
    import sys

    import diskcache

    cache = diskcache.Cache(directory)
    cache['key'] = 1
    script = f"""if True:
        import diskcache
        with diskcache.Cache({directory!r}) as cache:
            for number in range(400):
                cache['other', number] = number
        """
    other = subprocess.Popen([sys.executable, '-c', script])
    count = 0
    while other.poll() is None:
        cache['mine', count] = count
        count += 1
        if look:  # As programs do that want to know the number of rows.
            con = sqlite3.connect(directory + '/cache.db')
            con.execute('SELECT COUNT(*) FROM Cache').fetchall()
            con.close()
    wrong = [n for n in range(count) if cache.get(('mine', n)) != n]
    wrong += [n for n in range(400) if cache.get(('other', n)) != n]
    return [wrong, other.returncode, count]


@pytest.mark.parametrize('look', [False, True], ids=['alone', 'looked-at'])
def test_where_sqlite3_is_replaced_no_commit_is_lost(
    directory: str, pysqlite3: str, look: bool
) -> None:
    """The other process uses Python's own sqlite3, so that both copies are at the file, rightly."""
    wrong, returncode, count = call_in_new_process(
        write_beside_another, replaced_by=pysqlite3, directory=directory, look=look
    )
    assert (wrong, returncode) == ([], 0)
    with Cache(directory) as cache:
        assert [n for n in range(count) if cache.get(('mine', n)) != n] == []
        assert [n for n in range(400) if cache.get(('other', n)) != n] == []
        assert cache.check() == []


def use_everything(directory: str) -> Any:
    import sqlite3
    import threading

    import diskcache

    with diskcache.Cache(directory) as cache:
        cache['key'] = 1
        cache['large'] = 'x' * 100_000
        with cache.transact():
            cache.incr('key')
            cache._sql('UPDATE Cache SET value = value + 40 WHERE key = ?', ('key',))
        numbers: list[int] = []
        thread = threading.Thread(target=lambda: numbers.append(cache['key']))
        thread.start()
        thread.join()
        (used,) = cache._con.execute('SELECT sqlite_version()').fetchone()
        versions = {used, diskcache.core._core.sqlite_version, sqlite3.sqlite_version}
        kind = isinstance(cache._con, sqlite3.Connection)
        return [kind, len(versions), cache['key'], numbers, cache['large'], len(cache.check())]


def test_where_sqlite3_is_replaced_everything_works(directory: str, pysqlite3: str) -> None:
    answers = call_in_new_process(use_everything, replaced_by=pysqlite3, directory=directory)
    assert answers == [True, 1, 42, [42], 'x' * 100_000, 0]


@pytest.mark.skipif('LD_PRELOAD' in os.environ, reason='something else is preloaded')
def test_where_another_sqlite_is_preloaded_everything_works(directory: str, pysqlite3: str) -> None:
    """It takes the calls of the one that is linked, which then must not be called at all."""
    (library,) = Path(pysqlite3).glob('pysqlite3/_sqlite3*.so')
    prefix = ('env', f'LD_PRELOAD={library}')
    answers = call_in_new_process(use_everything, prefix=prefix, directory=directory)
    assert answers == [True, 1, 42, [42], 'x' * 100_000, 0]


def cause_errors(directory: str) -> Any:
    import os
    import sqlite3

    import diskcache

    cache = diskcache.Cache(directory)
    cache._con.execute('DROP TABLE Cache')
    os.makedirs(directory + '/other/cache.db')
    raised = []
    for action in (
        lambda: cache.set('key', 1),
        lambda: cache.get('key'),
        lambda: cache._sql('no SQL'),
        lambda: diskcache.Cache(directory + '/other'),
    ):
        try:
            action()
        except sqlite3.OperationalError as error:
            raised.append(type(error).__module__)
    return raised


def test_errors_are_those_of_the_sqlite3_in_use(directory: str, pysqlite3: str) -> None:
    assert call_in_new_process(cause_errors, directory=f'{directory}1') == ['sqlite3'] * 4
    answers = call_in_new_process(cause_errors, replaced_by=pysqlite3, directory=f'{directory}2')
    assert answers == ['pysqlite3.dbapi2'] * 4


def use_what_has_no_file(directory: str) -> Any:
    import sys

    import pysqlite3._sqlite3 as inner

    sys.modules['_sqlite3'] = inner
    del inner.__file__
    import diskcache

    with diskcache.Cache(directory) as cache:
        cache['key'] = 1
        return cache['key']


def test_without_a_library_of_the_system_the_replaced_sqlite3_is_enough(
    directory: str, pysqlite3: str
) -> None:
    """As in a small container, with an interpreter that carries SQLite inside."""
    hide = (
        'for library in /usr/lib/*/libsqlite3.so* /lib/*/libsqlite3.so*; do'
        ' mount --bind /dev/null "$library" 2>/dev/null; done; exec "$0" "$@"'
    )
    prefix = ('unshare', '--mount', 'sh', '-c', hide)
    if subprocess.run([*prefix, 'true'], capture_output=True).returncode != 0:
        pytest.skip('needs root, for a mount namespace of its own')
    assert (
        call_in_new_process(
            use_what_has_no_file, replaced_by=pysqlite3, prefix=prefix, directory=directory
        )
        == 1
    )


# Another one after the import.


def replace_after_the_import(directory: str, path: str) -> Any:
    import sqlite3 as own
    import sys

    import diskcache

    sys.path.append(path)
    import pysqlite3

    sys.modules['sqlite3'] = pysqlite3
    cache = diskcache.Cache(directory)
    cache['key'] = 1
    kind = isinstance(cache._con, own.Connection)
    cache.close()
    try:
        cache._sql('no SQL')
    except own.OperationalError:
        return [kind, cache['key'], len(cache.check())]


def test_sqlite3_replaced_after_the_import_changes_nothing(directory: str, pysqlite3: str) -> None:
    answers = call_in_new_process(replace_after_the_import, directory=directory, path=pysqlite3)
    assert answers == [True, 1, 0]


def connect_with_another(directory: str, path: str) -> Any:
    import os
    import sys

    import diskcache

    sys.path.append(path)
    import pysqlite3

    class Other(diskcache.Cache):
        own = None

        @property
        def _con(self):
            if self.own is None:
                path = os.path.join(self._directory, 'other.db')
                self.own = pysqlite3.connect(path, isolation_level=None)
            return self.own

    try:
        Other(directory)
    except RuntimeError as error:
        return [str(error), 'cache.db' in os.listdir(directory)]


def test_a_connection_on_another_copy_is_refused(directory: str, pysqlite3: str) -> None:
    message, opened = call_in_new_process(connect_with_another, directory=directory, path=pysqlite3)
    assert 'another copy of SQLite' in message
    assert 'sqlite3.connect' in message
    assert not opened


def connect_before_the_import(directory: str) -> Any:
    import os
    import sqlite3

    os.mkdir(directory)
    con = sqlite3.connect(directory + '/early.db', isolation_level=None)
    import diskcache

    class Early(diskcache.Cache):
        _con = con

    try:
        Early(directory)
    except RuntimeError as error:
        return str(error)


def test_a_connection_from_before_the_import_is_refused(directory: str) -> None:
    """It has the same copy of SQLite, but nothing can tell that."""
    message = call_in_new_process(connect_before_the_import, directory=directory)
    assert 'before diskcache was imported' in message


def import_twice(directory: str, path: str) -> Any:
    import sys

    def import_again():
        for name in [name for name in sys.modules if name.split('.')[0] == 'diskcache']:
            del sys.modules[name]
        import diskcache

        return diskcache

    cache = import_again().Cache(directory)
    cache['key'] = 1
    own = sys.modules['sqlite3']
    sys.path.append(path)
    import pysqlite3

    sys.modules['sqlite3'] = pysqlite3
    try:
        import_again()
    except ImportError as error:
        message = str(error)
    cache['key'] += 1
    sys.modules['sqlite3'] = own
    again = import_again().Cache(directory)
    again['key'] += 1
    return [message, cache['key'], again['key']]


def test_a_second_import_with_another_copy_is_refused(directory: str, pysqlite3: str) -> None:
    """It never binds anew: caches of the first import are in use, and stay so."""
    message, *numbers = call_in_new_process(import_twice, directory=directory, path=pysqlite3)
    assert 'another copy of SQLite' in message
    assert numbers == [3, 3]


def import_in_another_interpreter(directory: str, path: str) -> Any:
    try:
        import _interpreters as interpreters  # From Python 3.13 on.

        interpreter = interpreters.create('legacy')
    except ImportError:
        import _xxsubinterpreters as interpreters

        interpreter = interpreters.create(isolated=False)
    import diskcache

    cache = diskcache.Cache(directory)
    cache['key'] = 1
    script = f"""if True:
        import sys
        if {path!r}:
            sys.path.append({path!r})
            import pysqlite3
            sys.modules['sqlite3'] = pysqlite3
        try:
            import diskcache
            with diskcache.Cache({directory!r}) as cache:
                cache['key'] += 1
            outcome = 'imported'
        except ImportError as error:
            outcome = str(error)
        with open({directory!r} + '/outcome', 'w') as file:
            file.write(outcome)
        """
    interpreters.run_string(interpreter, script)
    return [open(directory + '/outcome').read(), cache['key']]


def test_another_interpreter_of_the_process_uses_the_same_copy(directory: str) -> None:
    answers = call_in_new_process(import_in_another_interpreter, directory=directory, path='')
    assert answers == ['imported', 2]


def test_another_interpreter_with_another_copy_is_refused(directory: str, pysqlite3: str) -> None:
    message, number = call_in_new_process(
        import_in_another_interpreter, directory=directory, path=pysqlite3
    )
    assert 'another copy of SQLite' in message
    assert number == 1


# Where SQLite loads no extensions: by name.


def import_without_extensions(directory: str) -> Any:
    import sqlite3

    class Plain(sqlite3.Connection):
        enable_load_extension = None

    connect = sqlite3.connect
    sqlite3.connect = lambda *args, **kwargs: connect(*args, factory=Plain, **kwargs)
    import diskcache

    with diskcache.Cache(directory) as cache:
        cache['key'] = 1
        return [cache['key'], len(cache.check())]


@pytest.mark.parametrize('replaced', [False, True])
def test_functions_are_found_by_name_where_there_are_no_extensions(
    directory: str, pysqlite3: str, replaced: bool
) -> None:
    if not replaced and '_sqlite3' in sys.builtin_module_names:
        pytest.skip('an interpreter with SQLite inside may hide its names')
    path = pysqlite3 if replaced else ''
    answers = call_in_new_process(import_without_extensions, replaced_by=path, directory=directory)
    assert answers == [1, 0]


def import_what_cannot_be_found(directory: str, path: str) -> Any:
    import sqlite3 as own
    import sys
    import types

    sys.path.append(path)
    import pysqlite3

    class Watched:
        """A Connection in the hands of a tool: not of sqlite3's class, and without extensions."""

        def __init__(self, *args, **kwargs):
            self.connection = pysqlite3.connect(*args, **kwargs)

        def execute(self, *args):
            return self.connection.execute(*args)

        def close(self):
            self.connection.close()

    watched = types.ModuleType('sqlite3')
    watched.__dict__.update(vars(pysqlite3))
    watched.connect = Watched
    sys.modules['sqlite3'] = watched
    messages = []
    for _ in range(2):
        try:
            import diskcache
        except ImportError as error:
            messages.append(str(error))
    left = [name for name in sys.modules if name.split('.')[0] == 'diskcache']
    for module in (own, pysqlite3):
        functions = module.connect(':memory:').execute('PRAGMA function_list').fetchall()
        left += [name for name, *_ in functions if 'diskcache' in name]
    sys.modules['sqlite3'] = own
    import diskcache

    with diskcache.Cache(directory) as cache:
        cache['key'] = 1
        return [messages, left, cache['key']]


def test_an_import_that_finds_only_another_copy_says_so_and_leaves_nothing(
    directory: str, pysqlite3: str
) -> None:
    messages, left, value = call_in_new_process(
        import_what_cannot_be_found, directory=directory, path=pysqlite3
    )
    assert len(messages) == 2
    assert messages[0] == messages[1]
    for words in ('copy of SQLite', '--enable-loadable-sqlite-extensions', 'pysqlite3-binary'):
        assert words in messages[0]
    assert left == []
    assert value == 1


# Finding the handle behind a Connection.


def connect_through_a_function(directory: str) -> Any:
    import sqlite3

    connect = sqlite3.connect
    made = []

    def remember(*args, **kwargs):
        made.append(connect(*args, **kwargs))
        return made[-1]

    sqlite3.connect = remember
    import diskcache

    with diskcache.Cache(directory) as cache:
        cache['key'] = 1
        return [cache._con in made, cache['key']]


def test_connect_may_be_a_function_of_somebody_elses(directory: str) -> None:
    """Tools that watch a program put theirs in the place of sqlite3's."""
    assert call_in_new_process(connect_through_a_function, directory=directory) == [True, 1]


def open_others_while_one_is_opened(directory: str) -> Any:
    import sqlite3
    import sys

    import diskcache

    others = []
    opening = False

    def hook(event, arguments):
        nonlocal opening
        if event in ('sqlite3.connect', 'sqlite3.connect/handle') and not opening:
            opening = True
            others.append(sqlite3.connect(':memory:'))
            opening = False

    sys.addaudithook(hook)
    with diskcache.Cache(directory) as cache:
        cache['key'] = 1
        answers = [
            len(others) > 0,
            cache['key'],
            cache._con.execute('PRAGMA database_list').fetchall(),
        ]
    opening = True
    con = sqlite3.connect(directory + '/cache.db')
    return [*answers, con.execute('SELECT key, value FROM Cache').fetchall()]


def test_what_an_audit_hook_opens_is_not_taken_for_our_own(directory: str) -> None:
    answers = call_in_new_process(open_others_while_one_is_opened, directory=directory)
    assert answers[:2] == [True, 1]
    assert answers[2][0][2].endswith('cache.db')
    assert answers[3] == [['key', 1]]


def forget_extensions(directory: str) -> Any:
    import ctypes

    import diskcache

    cache = diskcache.Cache(directory)
    cache['key'] = 1
    cache.close()
    ctypes.CDLL('libsqlite3.so.0').sqlite3_reset_auto_extension()
    with cache:
        return [cache['key'], cache._con.execute('SELECT 1').fetchone()]


def test_a_program_may_empty_sqlites_list_of_extensions(directory: str) -> None:
    try:
        answers = call_in_new_process(forget_extensions, directory=directory)
    except AssertionError as error:
        if 'cannot open shared object file' not in str(error):
            raise
        pytest.skip('no libsqlite3.so.0')
    assert answers == [1, [1]]


PERSISTENT_EXTENSION = """
#include <sqlite3ext.h>
SQLITE_EXTENSION_INIT1
static void answer(sqlite3_context *context, int count, sqlite3_value **values)
{
    sqlite3_result_int(context, 42);
}
int sqlite3_extension_init(sqlite3 *handle, char **message, const sqlite3_api_routines *api)
{
    SQLITE_EXTENSION_INIT2(api)
    sqlite3_create_function(handle, "answer", 0, SQLITE_UTF8, 0, answer, 0, 0);
    sqlite3_auto_extension((void (*)(void))sqlite3_extension_init);
    return SQLITE_OK_LOAD_PERMANENTLY;
}
"""


def load_an_extension(library: str) -> Any:
    import sqlite3

    import diskcache  # noqa: F401

    con = sqlite3.connect(':memory:')
    con.enable_load_extension(True)
    con.load_extension(library)
    return sqlite3.connect(':memory:').execute('SELECT answer()').fetchone()


def test_extensions_of_others_find_their_own_functions(tmp_path: Path, pysqlite3: str) -> None:
    """SQLite adds each extension to the global scope, and one that installs itself for all
    connections asks there for its own entry point: ours must not have the same name."""
    source = tmp_path / 'persistent.c'
    source.write_text(PERSISTENT_EXTENSION)
    library = tmp_path / 'persistent.so'
    compiler = shlex.split(sysconfig.get_config_var('CC'))
    command = [*compiler, '-shared', '-fPIC', '-o', str(library), str(source)]
    if subprocess.run(command, capture_output=True).returncode != 0:
        pytest.skip('needs a C compiler and sqlite3ext.h')
    assert call_in_new_process(load_an_extension, replaced_by=pysqlite3, library=str(library)) == [
        42
    ]


# A database that another process keeps busy while connections are opened.


def keep_for_itself(path: str) -> None:
    """Hold the file exclusively for a moment, and give it back, again and again."""
    import sqlite3

    end = time.monotonic() + 2
    while time.monotonic() < end:
        con = sqlite3.connect(path, isolation_level=None, timeout=60)
        con.execute('PRAGMA locking_mode = EXCLUSIVE')
        con.execute('BEGIN IMMEDIATE')
        con.execute('UPDATE Cache SET value = value')
        con.execute('COMMIT')
        time.sleep(0.01)
        con.close()


def lock_out_readers(path: str) -> None:
    """Write with a rollback journal, most of the time."""
    import sqlite3

    end = time.monotonic() + 2
    con = sqlite3.connect(path, isolation_level=None, timeout=60)
    while time.monotonic() < end:
        con.execute('BEGIN EXCLUSIVE')
        time.sleep(0.003)
        con.execute('ROLLBACK')
        time.sleep(0.002)
    con.close()


def change_the_schema(path: str) -> None:
    """Make tables and drop them, all the time."""
    import sqlite3

    end = time.monotonic() + 2
    con = sqlite3.connect(path, isolation_level=None, timeout=60)
    number = 0
    while time.monotonic() < end:
        number += 1
        con.execute(f'CREATE TABLE Other{number % 5} (x)')
        con.execute(f'DROP TABLE Other{number % 5}')
    con.close()


@pytest.mark.slow
@pytest.mark.parametrize('busy', [keep_for_itself, change_the_schema])
def test_sessions_are_opened_while_the_database_is_busy(
    directory: str, other: Interpreter, busy: Callable[[str], None]
) -> None:
    """With SQLite 3.53 even `SELECT 1` reads the schema, and finds the file locked."""
    Cache(directory).close()
    other.start(busy, path=f'{directory}/cache.db')
    while not other.has_answered():
        with Cache(directory) as cache:
            assert cache._con
            assert len(cache) == 0
    assert other.result() is None


def make_deque(directory: str) -> tuple[Cache, Callable[[], Any]]:
    deque = Deque('ab', directory)
    return deque.cache, lambda: deque.rotate(1)


def make_index(directory: str) -> tuple[Cache, Callable[[], Any]]:
    index = Index(directory, a=1, b=2)
    return index.cache, lambda: index.move_to_end('a')


def make_cache(directory: str) -> tuple[Cache, Callable[[], Any]]:
    cache = Cache(directory)
    return cache, cache.check


@pytest.mark.slow
@pytest.mark.parametrize('make', [make_deque, make_index, make_cache])
def test_operations_with_sql_of_their_own_open_sessions_meanwhile(
    directory: str, other: Interpreter, make: Callable[[str], tuple[Cache, Callable[[], Any]]]
) -> None:
    cache, operate = make(directory)
    cache.reset('sqlite_journal_mode', 'delete')
    other.start(lock_out_readers, path=f'{directory}/cache.db')
    while not other.has_answered():
        cache.close()
        operate()
    assert other.result() is None
    cache.close()


class Pinging(sqlite3.Connection):
    """A Connection that sees first whether the database can be read, as some programs' do."""

    def execute(self, sql: str, *args: Any) -> sqlite3.Cursor:
        """Read something before anything else."""
        super().execute('SELECT COUNT(*) FROM sqlite_master').fetchall()
        return super().execute(sql, *args)


class WithPing(Cache):
    """A Cache whose Connections ask the database before it is found out what is behind them."""

    @property
    def _con(self) -> sqlite3.Connection:
        con = getattr(self._local, 'pinging', None)
        if con is None:
            path = os.path.join(self._directory, 'cache.db')
            con = sqlite3.connect(path, timeout=0, isolation_level=None, factory=Pinging)
            self._local.pinging = con
        return con


def test_a_lock_in_the_way_of_an_overridden_connection_is_waited_for(directory: str) -> None:
    Cache(directory, sqlite_journal_mode='delete').close()
    path = f'{directory}/cache.db'
    with closing(sqlite3.connect(path, isolation_level=None, check_same_thread=False)) as con:
        con.execute('BEGIN EXCLUSIVE')
        release = threading.Timer(0.2, con.execute, ['ROLLBACK'])
        release.start()
        with WithPing(directory) as cache:
            cache['key'] = 1
            assert cache['key'] == 1
        release.join()


def test_a_lock_that_stays_in_its_way_is_a_timeout(directory: str) -> None:
    Cache(directory, sqlite_journal_mode='delete').close()
    cache = WithPing(directory, timeout=0.05)
    cache['key'] = 1

    def use_in_a_new_thread() -> None:
        with pytest.raises(Timeout):
            cache.get('key')
        done.append(True)

    done: list[bool] = []
    with closing(sqlite3.connect(f'{directory}/cache.db', isolation_level=None)) as con:
        con.execute('BEGIN EXCLUSIVE')
        thread = threading.Thread(target=use_in_a_new_thread)
        thread.start()
        thread.join()
        con.execute('ROLLBACK')
    assert done == [True]
    assert cache['key'] == 1


def test_another_error_of_an_overridden_connection_is_raised_as_it_is(directory: str) -> None:
    """Also one that SQLite has the same code for as for a function that is not there."""
    Cache(directory).close()

    class Guarded(Cache):
        @property
        def _con(self) -> sqlite3.Connection:
            con = getattr(self._local, 'guarded', None)
            if con is None:
                con = self._local.guarded = sqlite3.connect(f'{directory}/cache.db')
                con.set_authorizer(lambda *_: sqlite3.SQLITE_DENY)
            return con

    with pytest.raises(sqlite3.DatabaseError, match='not authorized'):
        Guarded(directory)
