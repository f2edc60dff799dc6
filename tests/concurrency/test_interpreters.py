"""Interpreters of one process, each with a GIL of its own (PEP 684), at work on one directory.

None forks: CPython 3.12 and 3.13 end a child that was forked beside such an interpreter.
"""

from __future__ import annotations

import sys
from collections.abc import Callable

import pytest
from interpreter import Interpreter

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
