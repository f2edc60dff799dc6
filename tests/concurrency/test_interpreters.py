"""Interpreters of one process, each with a GIL of its own (PEP 684), at work on one directory.

None forks beside another that lives: CPython 3.12 to 3.15 end or hang such a child, even if nothing
was imported there.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from concurrent import futures

import pytest
from interpreter import Interpreter
from places import SUPPORT

from diskcache import Cache

pytestmark = pytest.mark.skipif(
    sys.version_info < (3, 12), reason='interpreters have one GIL before Python 3.12'
)


def test_interpreters_of_their_own_gil_import_it_at_the_same_time(
    alone: Interpreter, directory: str
) -> None:
    """Each opens a cache of its own, whose fork handlers and binding to SQLite are one."""
    alone.run(
        """
        from subinterpreters import at_once, create, destroy, run
        at_once(4, '''
            with diskcache.Cache(f'{directory}/{number}') as cache:
                cache['key'] = number
                assert cache['key'] == number
        ''', directory=directory)
        for number in range(4):
            with Cache(f'{directory}/{number}') as cache:
                assert cache['key'] == number
        """,
        directory=directory,
    )


def test_no_increment_of_any_interpreter_is_lost(
    alone: Interpreter, directory: str, assert_intact: Callable
) -> None:
    """Nor one by the main interpreter. Each opens and closes connections all the time."""
    alone.run(
        """
        import textwrap
        from subinterpreters import at_once, create, destroy, run
        WORK = '''
            for turn in range(20):
                with diskcache.Cache(directory) as cache:
                    for _ in range(10):
                        cache.incr('count', retry=True)
                    cache.set((number, turn), b'x' * 50_000, retry=True)
                    assert cache[number, turn] == b'x' * 50_000
        '''
        thread = threading.Thread(target=at_once, args=(3, WORK), kwargs={'directory': directory})
        thread.start()
        names = {'diskcache': diskcache, 'directory': directory, 'number': 'main'}
        exec(textwrap.dedent(WORK), names)
        thread.join()
        with Cache(directory) as cache:
            assert cache['count'] == 4 * 20 * 10
            assert len(cache) == 1 + 4 * 20
            assert cache.check() == []
        """,
        directory=directory,
    )


def test_what_one_interpreter_writes_another_does_not_have_from_memory(
    alone: Interpreter, directory: str
) -> None:
    alone.run(
        """
        from subinterpreters import at_once, create, destroy, run
        cache = Cache(directory)
        cache['key'] = -1
        interpreter = create()
        for number in range(20):
            run(interpreter, "diskcache.Cache(directory).set('key', number)", directory=directory,
                number=number)
            assert cache['key'] == number
        destroy(interpreter)
        cache.close()
        """,
        directory=directory,
    )


def test_an_interpreter_that_ends_stores_its_own_accesses_only(
    alone: Interpreter, directory: str
) -> None:
    """Those of another belong to its threads, which run meanwhile."""
    alone.run(
        """
        from subinterpreters import at_once, create, destroy, run
        def stored(path):
            con = sqlite3.connect(f'{path}/cache.db')
            try:
                return con.execute("SELECT value FROM Settings WHERE key = 'hits'").fetchone()[0]
            finally:
                con.close()

        cache = Cache(directory, statistics=1)
        cache['key'] = 1
        assert cache['key'] == 1
        interpreter = create()
        run(interpreter, '''
            cache = diskcache.Cache(directory + '-inner', statistics=1)
            cache['key'] = 1
            assert cache['key'] == 1
        ''', directory=directory)
        destroy(interpreter)
        assert stored(directory + '-inner') == 1
        assert stored(directory) == 0
        cache.close()
        assert stored(directory) == 1
        """,
        directory=directory,
    )


def test_interpreters_make_and_end_caches_at_the_same_time(alone: Interpreter) -> None:
    """They are in one list of the process."""
    alone.run(
        """
        from subinterpreters import at_once
        at_once(3, '''
            for _ in range(5000):
                caches = [diskcache.Cache.__new__(diskcache.Cache) for _ in range(50)]
                del caches[::2]
        ''')
        """
    )


def test_twenty_import_it_at_the_same_time(alone: Interpreter, directory: str) -> None:
    """And make one directory, of which nothing stays open."""
    alone.run(
        """
        from subinterpreters import at_once
        at_once(20, "with diskcache.Cache(directory) as cache: cache.incr('count', retry=True)",
            directory=directory)
        names = [os.path.realpath(f'/proc/self/fd/{n}') for n in os.listdir('/proc/self/fd')]
        assert not any(name.startswith(os.path.realpath(directory)) for name in names)
        with Cache(directory) as cache:
            assert cache['count'] == 20
            assert cache.check() == []
        """,
        directory=directory,
    )


def test_interpreters_end_while_another_uses_their_directory(
    alone: Interpreter, directory: str
) -> None:
    """Each leaves open whatever it had of it."""
    alone.run(
        """
        from subinterpreters import at_once, create, destroy, run
        thread = threading.Thread(target=at_once, args=(1, '''
            with diskcache.Cache(directory) as cache:
                while not cache.get('end'):
                    cache.incr('count', retry=True)
                    cache.incr('turns', retry=True)
                    cache.set('large', bytes(cache['turns'] % 3 * 30_000), retry=True)
        '''), kwargs={'directory': directory})
        thread.start()
        for _ in range(10):
            interpreter = create()
            run(interpreter, '''
                cache = diskcache.Cache(directory)
                cache.incr('count', retry=True)
                transaction = cache.transact(retry=True)
                transaction.__enter__()
                cache.incr('count')
                cursor = cache._con.execute('SELECT key FROM Cache')
                cursor.fetchone()
                keys = iter(cache)
                next(keys)
            ''', directory=directory)
            destroy(interpreter)
        with Cache(directory) as cache:
            cache.set('end', 1, retry=True)
            thread.join()
            assert cache['count'] == cache['turns'] + 10
            assert cache.check() == []
        """,
        directory=directory,
    )


ENDS_WITHOUT_US = """
from subinterpreters import create, destroy, interpreters
for _ in range(2):
    interpreter = create()
    interpreters.run_string(interpreter, 'import sqlite3')
    destroy(interpreter)
"""


@pytest.mark.skipif(not hasattr(os, 'fork'), reason='this platform cannot fork')
def test_a_process_forks_that_has_imported_it_only_in_an_interpreter_that_ended(
    directory: str,
) -> None:
    """What is to be done around a fork is the process's, and does not end with the interpreter."""
    if subprocess.run([sys.executable, '-c', ENDS_WITHOUT_US], cwd=SUPPORT).returncode != 0:
        pytest.skip('this CPython crashes after interpreters that have imported sqlite3 have ended')
    script = f"""
import os, sys
sys.path[:] = {sys.path!r}
from subinterpreters import create, destroy, run
interpreter = create()
run(interpreter, '''
    cache = diskcache.Cache(directory, statistics=1)
    cache['key'] = 1
    con, value = cache._con, cache['key']
''', directory={directory!r})
destroy(interpreter)
assert 'diskcache' not in sys.modules
cache = dict()
for _ in range(2):
    child = os.fork()
    if child == 0:
        cache['child'] = 1
        os._exit(3)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 3
    import diskcache
    cache = diskcache.Cache({directory!r})
cache.close()
"""
    subprocess.run([sys.executable, '-c', script], check=True, timeout=60)
    with Cache(directory) as cache:
        assert list(cache) == ['key', 'child']
        assert cache.stats() == (1, 0)


@pytest.mark.skipif(
    not hasattr(futures, 'InterpreterPoolExecutor'), reason='there is no pool of interpreters here'
)
def test_a_pool_of_interpreters_is_given_the_cache(alone: Interpreter, directory: str) -> None:
    alone.run(
        """
        from concurrent.futures import InterpreterPoolExecutor
        cache = Cache(directory)
        with InterpreterPoolExecutor(4) as pool:
            for future in [pool.submit(cache.incr, 'count', retry=True) for _ in range(100)]:
                future.result()
            assert list(pool.map(cache.get, ['count'])) == [100]
        assert cache['count'] == 100
        """,
        directory=directory,
    )


@pytest.mark.skipif(
    sys.version_info < (3, 14), reason='CPython 3.12 and 3.13 crash where several import Django'
)
def test_interpreters_use_the_backend_of_django(alone: Interpreter, directory: str) -> None:
    pytest.importorskip('django')
    alone.run(
        """
        from subinterpreters import at_once
        at_once(3, '''
            import django
            from django.conf import settings
            backend = {'BACKEND': 'diskcache.DjangoCache', 'LOCATION': directory}
            settings.configure(CACHES={'default': backend})
            django.setup()
            from django.core.cache import cache
            cache.set(number, number)
            assert cache.get(number) == number
            cache.add('count', 0, timeout=None)
            cache.incr('count')
        ''', directory=directory)
        with diskcache.FanoutCache(directory, shards=8) as cache:
            assert len(cache) == 4
            assert cache[':1:count'] == 3
        """,
        directory=directory,
    )
