"""Fork: parent and child both go on with the cache, whatever was going on at that moment.

`Child` (interpreter.py) runs a function in a forked child and brings back what it returned.
Every script runs in a process of its own.
"""

from __future__ import annotations

import os
import sqlite3

import pytest
from interpreter import Interpreter

import diskcache

pytestmark = pytest.mark.skipif(not hasattr(os, 'fork'), reason='this platform cannot fork')


def is_debug_build() -> bool:
    """Tell whether SQLite has its assertions.

    One is that no mapped page is out when the lock on a file is given up. A child does that with a
    connection that it has inherited in the middle of a read, and never uses again.
    """
    con = sqlite3.connect(':memory:')
    options = [option for (option,) in con.execute('PRAGMA compile_options')]
    con.close()
    return 'DEBUG' in options


without_assertions = pytest.mark.skipif(
    is_debug_build(), reason='a debug build of SQLite asserts that no mapped page is out'
)


@pytest.fixture
def forking(alone: Interpreter, directory: str) -> object:
    """A function that runs a script in another process and gives its last value."""
    with diskcache.Cache(directory) as cache:
        cache['before'] = 'x' * 50_000

    def run(script: str, **names: object) -> object:
        return alone.run(
            'cache = Cache(directory)\n' + dedent(script), directory=directory, **names
        )

    return run


def dedent(script: str) -> str:
    """Return `script` without its indentation."""
    import textwrap

    return textwrap.dedent(script)


def test_parent_and_child_both_go_on(forking: object) -> None:
    script = """
    cache['parent'] = 1
    def work():
        assert len(cache['before']) == 50_000
        assert cache['parent'] == 1
        cache['child'] = 2
        with cache.transact():
            cache.incr('count')
        return list(cache)
    child = Child(work)
    seen = child.result()
    cache.incr('count')
    cache['parent'] = 3
    seen, cache['child'], cache['count'], cache['parent'], cache.check()
    """
    assert forking(script) == (['before', 'parent', 'child', 'count'], 2, 2, 3, [])


def test_parent_and_children_work_at_the_same_time(forking: object) -> None:
    script = """
    def work(number):
        for turn in range(100):
            cache.incr('count', retry=True)
            cache.set((number, turn), 'x' * 50_000 if turn % 20 == 0 else turn, retry=True)
            assert cache.get((number, turn)) is not None
        return number
    cache.incr('count')
    children = [Child(work, number) for number in range(3)]
    work('parent')
    results = [child.result() for child in children]
    results, cache['count'], len(cache), cache.check()
    """
    assert forking(script) == ([0, 1, 2], 401, 402, [])


def test_children_of_children_go_on(forking: object) -> None:
    script = """
    def work(depth):
        cache.incr('count')
        return depth if depth == 0 else Child(work, depth - 1).result()
    work(4), cache['count']
    """
    assert forking(script) == (0, 5)


def test_the_connection_is_a_new_one_in_the_child(forking: object) -> None:
    script = """
    con = cache._con
    def work():
        assert cache._con is not con
        assert cache._local.pid == os.getpid()
        cache._sql("UPDATE Settings SET value = 77 WHERE key = 'own'")
        return cache._con.execute('SELECT COUNT(*) FROM Cache').fetchone()
    counted = Child(work).result()
    counted, cache._con is con, con.execute('SELECT COUNT(*) FROM Cache').fetchone()
    """
    assert forking(script) == ((1,), True, (1,))


def test_a_child_does_not_commit_what_the_parent_has_not(forking: object) -> None:
    script = """
    def work():
        return cache.get('uncommitted'), len(cache['before'])
    with cache.transact():
        cache['uncommitted'] = 1
        seen = Child(work).result()
        with Cache(directory) as observer:
            observed = observer.get('uncommitted')
        cache['more'] = 2
    seen, observed, cache['uncommitted'], cache['more'], cache.check()
    """
    assert forking(script) == ((None, 50_000), None, 1, 2, [])


@pytest.mark.parametrize('error', ['None', 'ZeroDivisionError()'])
def test_leaving_the_transaction_of_the_parent_in_the_child_ends_nothing(
    forking: object, error: str
) -> None:
    script = f"""
    error = {error}
    def leave():
        try:
            answer = transaction.__exit__(type(error), error, None) if error else (
                transaction.__exit__(None, None, None))
        except RuntimeError:
            answer = 'RuntimeError'
        return answer, cache.get('uncommitted'), len(cache['before'])
    transaction = cache.transact()
    transaction.__enter__()
    cache['uncommitted'] = 1
    outcome = Child(leave).result()
    cache['more'] = 2
    transaction.__exit__(None, None, None)
    outcome, cache['uncommitted'], cache['more'], cache.check()
    """
    ((answer, uncommitted, size), *rest) = forking(script)
    assert answer == 'RuntimeError' or (error != 'None' and not answer)
    assert (uncommitted, size) == (None, 50_000)
    assert rest == [1, 2, []]


def test_a_child_of_a_transaction_writes_when_the_parent_has_committed(forking: object) -> None:
    script = """
    reader, writer = os.pipe()
    def work():
        os.read(reader, 1)
        cache.set('child', 2, retry=True)
        with cache.transact(retry=True):
            cache.incr('parent')
        return cache['parent']
    with cache.transact():
        cache['parent'] = 1
        child = Child(work)
        cache['large'] = 'x' * 50_000
    os.write(writer, b'.')
    child.result(), cache['child'], cache['parent'], len(cache['large']), cache.check()
    """
    assert forking(script) == (2, 2, 2, 50_000, [])


def test_a_child_that_exits_in_the_transaction_of_the_parent_does_not_end_it(
    forking: object,
) -> None:
    script = """
    def work():
        return 'done'  # And out, by os._exit.
    with cache.transact():
        cache['a'] = 1
        Child(work).result()
        try:
            Cache(directory, timeout=0).set('b', 1)
        except diskcache.Timeout:
            locked = True
        cache['c'] = 3
    locked, sorted(cache), cache.check()
    """
    assert forking(script) == (True, ['a', 'before', 'c'], [])


def test_a_child_may_close_and_forget_the_cache(forking: object) -> None:
    script = """
    def work():
        global cache
        cache.close()
        del cache
        import gc
        gc.collect()
        return 'closed'
    with cache.transact():
        cache['a'] = 1
    closed = Child(work).result()
    cache['b'] = 2
    closed, cache['a'], cache['b'], cache.check()
    """
    assert forking(script) == ('closed', 1, 2, [])


def test_a_fork_while_threads_work_harms_neither_side(forking: object) -> None:
    script = """
    stop = threading.Event()
    def hammer(number):
        turn = 0
        while not stop.is_set():
            cache.set((number, turn % 10), turn, retry=True)
            cache.get((number, turn % 10))
            turn += 1
    threads = [threading.Thread(target=hammer, args=(number,)) for number in range(3)]
    for thread in threads:
        thread.start()
    def work(number):
        cache.incr('children', retry=True)
        return len(cache['before'])
    sizes = [Child(work, number).result() for number in range(20)]
    stop.set()
    for thread in threads:
        thread.join()
    set(sizes), cache['children'], cache.check()
    """
    assert forking(script) == ({50_000}, 20, [])


SQL_OF_ANOTHER_THREAD = {
    'check()': 'cache.check()',
    'short': "cache._con.execute('SELECT value FROM Cache').fetchall()",
    'writing': "cache._con.execute('UPDATE Cache SET access_count = access_count + 1')",
    'longer than a fork waits': """cache._con.execute(
        'WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n LIMIT 2000000) '
        'SELECT max(x) FROM n').fetchall()""",
    'in a transaction': """
        with cache._transact(True) as (sql, _):
            sql('SELECT value FROM Cache ORDER BY random()').fetchall()
    """,
}


@pytest.mark.slow
@without_assertions
@pytest.mark.parametrize('sql', SQL_OF_ANOTHER_THREAD.values(), ids=SQL_OF_ANOTHER_THREAD.keys())
def test_a_child_goes_on_whatever_sql_another_thread_was_running(forking: object, sql: str) -> None:
    """Python runs it inside SQLite's mutexes, which nobody gives back in the child."""
    script = f"""
    for number in range(500):
        cache[number] = 'x' * 300
    stop = threading.Event()
    def hammer():
        import textwrap
        code = compile(textwrap.dedent({sql!r}), 'sql', 'exec')
        while not stop.is_set():
            exec(code, {{'cache': cache}})
    def work():
        signal.alarm(10)  # A child that hangs dies.
        cache.incr('children', retry=True)
        assert cache._con.execute('SELECT count(*) FROM Cache').fetchone()[0] > 500
        with Cache(directory) as another:
            another.set('another', 1, retry=True)
        cache.close()
        return len(cache['before'])
    thread = threading.Thread(target=hammer, daemon=True)
    thread.start()
    sizes = {{Child(work).result() for _ in range(15)}}
    stop.set()
    thread.join()
    sizes, cache['children'], cache.check()
    """
    assert forking(script) == ({50_000}, 15, [])


def test_the_connection_of_the_forking_thread_is_closed_in_the_child(forking: object) -> None:
    script = """
    con = cache._con
    con.execute('SELECT 1').fetchall()
    def work():
        assert cache['before']
        try:
            con.execute('SELECT 1')
        except sqlite3.ProgrammingError as error:
            return str(error)
    answer = Child(work).result()
    answer, con.execute('SELECT 1').fetchall()
    """
    assert forking(script) == ('Cannot operate on a closed database.', [(1,)])


def test_a_cursor_not_read_to_its_end_at_the_fork_is_the_parents(forking: object) -> None:
    script = """
    for number in range(100):
        cache[number] = number
    cursor = cache._con.execute('SELECT key FROM Cache')
    first = cursor.fetchone()
    def work():
        cache['child'] = 1
        with cache.transact():
            cache.incr('count')
        return len(cache['before']), len(cache)
    seen = Child(work).result()
    rest = cursor.fetchall()
    seen, len(rest), cache['child'], cache['count'], cache.check()
    """
    assert forking(script) == ((50_000, 103), 100, 1, 1, [])


def test_a_child_forgets_what_another_thread_had_of_its_connection(forking: object) -> None:
    """Python drops it in the child, before os.fork() returns there.

    Ending a cursor takes a mutex that only the parent could give back.
    """
    script = """
    for number in range(100):
        cache[number] = number
    had, done = threading.Event(), threading.Event()
    mine = threading.local()
    def look():
        mine.cursor = cache._con.execute('SELECT key FROM Cache')
        mine.first = mine.cursor.fetchone()
        had.set()
        done.wait(30)
        rests.append(len(mine.cursor.fetchall()))
    rests = []
    thread = threading.Thread(target=look)
    thread.start()
    had.wait(30)
    pid = os.fork()
    if pid == 0:
        os._exit(3 if len(cache) == 101 else 4)
    deadline = time.monotonic() + 20
    while not (ended := os.waitpid(pid, os.WNOHANG))[0] and time.monotonic() < deadline:
        time.sleep(0.01)
    if not ended[0]:
        os.kill(pid, signal.SIGKILL)
    done.set()
    thread.join(30)
    os.waitstatus_to_exitcode(ended[1]) if ended[0] else 'it hangs', rests
    """
    assert forking(script) == (3, [100])


def test_a_child_leaves_a_block_with_a_cursor_of_the_parents(forking: object) -> None:
    """Of an exception, sys.exit() say, which drops what the block has had."""
    script = """
    for number in range(100):
        cache[number] = number
    def work():
        with cache._transact() as (sql, _):
            cursor = sql('SELECT key FROM Cache')
            cursor.fetchone()
            pid = os.fork()
            if pid == 0:
                signal.alarm(20)
                raise SystemExit
            return pid
    pid = None
    try:
        pid = work()
    except SystemExit:
        pass
    if pid is None:
        os._exit(3)
    os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), cache.check()
    """
    assert forking(script) == (3, [])


@without_assertions
def test_a_connection_that_outlives_its_cache_is_in_no_childs_way(
    alone: Interpreter, directory: str
) -> None:
    """SQLite in the child counts its locks as the child's own, and they would never come free."""
    script = """
    cache = Cache(directory, sqlite_journal_mode='delete')
    for number in range(100):
        cache[number] = number
    con = Cache(directory)._con
    cursor = con.execute('SELECT key FROM Cache')
    cursor.fetchone()
    reader, writer = os.pipe()
    def work():
        with Cache(directory) as own:
            os.write(writer, b'.')
            return own.set('child', 1), len(own)
    child = Child(work)
    os.read(reader, 1)
    cursor.close()
    con.close()
    child.result(), cache['child'], cache.check()
    """
    assert alone.run(script, directory=directory) == ((True, 101), 1, [])


def test_a_child_forked_by_a_callback_of_sqlite_goes_on(forking: object) -> None:
    """The callback is inside a statement, and the child does not come back to it."""
    script = """
    con = cache._con
    children = []
    def fork(statement):
        if not children:
            children.append(None)
            children[0] = Child(lambda: (cache.set('child', 1), len(cache['before'])))
    outcomes = []
    for use in (
        lambda: con.execute('SELECT count(*) FROM Cache').fetchall(),
        lambda: cache.get('before'),
        lambda: cache.set('parent', 1),
    ):
        children.clear()
        con.set_trace_callback(fork)
        use()
        con.set_trace_callback(None)
        outcomes.append(children[0].result())
    outcomes, cache['child'], cache['parent'], cache.check()
    """
    assert forking(script) == ([(True, 50_000)] * 3, 1, 1, [])


def test_statistics_noted_before_a_fork_are_counted_once(forking: object) -> None:
    script = """
    cache.stats(enable=True, reset=True)
    for _ in range(10):
        cache.get('before')
    def work():
        cache.get('before')
        cache.close()
    for _ in range(3):
        Child(work).result()
    cache.get('missing')
    cache.close()
    cache.stats()
    """
    assert forking(script) == (13, 1)


def test_descriptors_of_the_parent_are_closed_in_the_child_on_first_use(
    forking: object, directory: str
) -> None:
    if not os.path.isdir('/proc/self/fd'):
        pytest.skip('only Linux lists descriptors')
    script = """
    def count():
        links = [os.path.join('/proc/self/fd', name) for name in os.listdir('/proc/self/fd')]
        return sum(os.path.realpath(link).startswith(os.path.realpath(directory)) for link in links)
    cache['a'] = 1
    def work():
        assert cache['a'] == 1
        used = count()
        cache.close()
        return used, count()
    before = count()
    (used, closed) = Child(work).result()
    used <= before, closed
    """
    assert forking(script) == (True, 0)


@pytest.mark.skipif(sqlite3.__name__ != 'sqlite3', reason='pysqlite3 raises no audit events')
def test_an_audit_hook_that_forks_while_a_connection_is_opened(
    directory: str, alone: Interpreter
) -> None:
    script = """
    children = []
    def fork_once(event, arguments):
        if event == 'sqlite3.connect' and not children:
            children.append(None)
            pid = os.fork()
            if pid == 0:
                os._exit(0)
            children[0] = os.waitpid(pid, 0)[1]
    sys.addaudithook(fork_once)
    cache = Cache(directory)
    cache['key'] = 1
    children, cache['key']
    """
    assert alone.run(script, directory=directory) == ([0], 1)


def test_a_fork_while_a_cache_is_just_ending_leaves_it_alone(forking: object) -> None:
    """Its attributes and callbacks go last: each may run code when no reference to it is left."""
    script = """
    import os, weakref
    def fork(_=None):
        results.append(Child(lambda: cache['before'][:3]).result())
    class Forks:
        __del__ = fork
    results = []
    for _ in range(3):
        ending = Cache(directory, statistics=1)
        ending.get('before')
        ending.attribute = Forks()
        callback = weakref.ref(ending, fork)
        del ending
    results, cache.check()
    """
    assert forking(script) == (['xxx'] * 6, [])
