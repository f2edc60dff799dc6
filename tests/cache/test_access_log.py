"""Lookups under LRU, LFU and statistics: noted in memory, written with the next transaction.

What others see late is a time or a count. Here stands when they see it at the latest.
"""

from __future__ import annotations

import os
import signal
import sqlite3
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing

import pytest
from interpreter import Child, Clock, Interpreter

import diskcache
from diskcache import Cache, FanoutCache

LFU = 'least-frequently-used'
LRU = 'least-recently-used'


def stored(directory: str) -> tuple[int, int, int]:
    """Return what is in the file, as everybody else sees it: accesses of 'key', hits, misses."""
    with closing(sqlite3.connect(f'{directory}/cache.db')) as con:
        ((count,),) = con.execute("SELECT SUM(access_count) FROM Cache WHERE key = 'key'")
        settings = dict(
            con.execute("SELECT key, value FROM Settings WHERE key IN ('hits', 'misses')")
        )
    return count or 0, settings['hits'], settings['misses']


@pytest.fixture
def counting(directory: str) -> Iterator[Cache]:
    """A cache that counts everything, with one item, that has been looked up three times."""
    with Cache(directory, eviction_policy=LFU, statistics=1) as cache:
        cache['key'] = 'value'
        for _ in range(3):
            assert cache['key'] == 'value'
        assert cache.get('missing') is None
        yield cache


def test_a_lookup_writes_nothing(counting: Cache, directory: str) -> None:
    assert stored(directory) == (0, 0, 0)


def begin_and_end(cache: Cache) -> None:
    """Open a transaction in which nothing is done."""
    with cache.transact():
        pass


WRITES: dict[str, Callable[[Cache], object]] = {
    'set': lambda cache: cache.set('other', 1),
    'delete': lambda cache: cache.delete('other'),
    'cull': lambda cache: cache.cull(),
    'expire': lambda cache: cache.expire(),
    'stats': lambda cache: cache.stats(),
    'reset': lambda cache: cache.reset('hits'),
    'reset with a value': lambda cache: cache.reset('cull_limit', 5),
    'a look at the connection': lambda cache: cache._sql,
    'a transaction': begin_and_end,
    'close': lambda cache: cache.close(),
}


@pytest.mark.parametrize('write', WRITES.values(), ids=WRITES.keys())
def test_what_is_noted_is_written_with(
    counting: Cache, directory: str, write: Callable[[Cache], object]
) -> None:
    write(counting)
    assert stored(directory) == (3, 3, 1)


def test_it_is_written_once(counting: Cache, directory: str) -> None:
    for _ in range(3):
        counting['other'] = 1
        counting.close()
    assert stored(directory) == (3, 3, 1)
    assert counting.stats() == (3, 1)


def test_a_lookup_a_second_later_writes_what_is_noted(counting: Cache, directory: str) -> None:
    time.sleep(1.1)
    assert counting['key'] == 'value'
    assert stored(directory) == (4, 4, 1)


def test_a_rollback_keeps_it(counting: Cache, directory: str) -> None:
    with pytest.raises(ZeroDivisionError), counting.transact():
        assert counting['key'] == 'value'
        raise ZeroDivisionError
    assert stored(directory) == (0, 0, 0)
    counting.close()
    assert stored(directory) == (4, 4, 1)


def test_lookups_inside_a_transaction_are_written_with_it(counting: Cache, directory: str) -> None:
    with counting.transact():
        assert counting['key'] == 'value'
        assert counting.get('missing') is None
    assert stored(directory) == (4, 4, 2)


def test_a_locked_database_delays_it(
    counting: Cache,
    directory: str,
    locked: Callable[..., AbstractContextManager[sqlite3.Connection]],
) -> None:
    time.sleep(1.1)
    with locked():
        assert [counting['key'] for _ in range(10)] == ['value'] * 10
        assert stored(directory) == (0, 0, 0)
    counting['other'] = 1
    assert stored(directory) == (13, 13, 1)


def test_a_note_that_the_database_refuses_fails_one_write_and_leaves_no_file(
    counting: Cache, directory: str
) -> None:
    """It is written with somebody else's write, which has its value in a file already."""
    with closing(sqlite3.connect(f'{directory}/cache.db')) as con:
        con.execute(
            "CREATE TRIGGER refuse BEFORE UPDATE OF access_count ON Cache WHEN new.key = 'key' "
            "BEGIN SELECT RAISE(ABORT, 'refused'); END"
        )
    writes: list[Callable[[], object]] = [
        lambda: counting.set('large', 'x' * 50_000),
        lambda: counting.set_many(dict.fromkeys(range(3), 'x' * 50_000)),
        lambda: counting.push('x' * 50_000),
    ]
    for write in writes:
        assert counting['key'] == 'value'
        with pytest.raises(sqlite3.IntegrityError, match='refused'):
            write()
        assert counting.check() == []
        write()
    assert counting.check() == []
    assert len(counting) == 6


def test_the_end_of_a_process_writes_it(directory: str) -> None:
    def in_child() -> None:
        import atexit

        cache = Cache(directory, eviction_policy=LFU, statistics=1)
        cache['key'] = 'value'
        cache['key']
        atexit._run_exitfuncs()

    Child(in_child).result()
    assert stored(directory) == (1, 1, 0)


def test_a_killed_process_loses_counts_and_no_value(directory: str, alone: Interpreter) -> None:
    script = """
    cache = Cache(directory, eviction_policy='least-frequently-used', statistics=1)
    cache['key'] = 'value'
    for _ in range(5): cache['key']
    """
    alone.run(script, directory=directory)
    os.killpg(alone.process.pid, signal.SIGKILL)
    alone.process.wait()
    assert stored(directory) == (0, 0, 0)
    with Cache(directory) as cache:
        assert cache['key'] == 'value'
        assert cache.check() == []


def test_a_fork_counts_nothing_twice(counting: Cache, directory: str) -> None:
    def in_child() -> None:
        assert counting['key'] == 'value'
        counting.close()

    Child(in_child).result()
    counting.close()
    assert stored(directory) == (4, 4, 1)


def test_what_was_used_last_is_kept(directory: str, clock: Clock) -> None:
    with Cache(directory, eviction_policy=LRU, cull_limit=0) as cache:
        for number in range(100):
            cache[number] = 'x' * 1000
            clock.tick(1)
        for number in range(10):
            clock.tick(1)
            assert cache[number] == 'x' * 1000
        cache.reset('size_limit', cache.volume() // 2)
        assert cache.cull() > 0
        assert [number for number in range(10) if number not in cache] == []


def test_an_access_does_not_go_back_in_time(directory: str, clock: Clock) -> None:
    with Cache(directory, eviction_policy=LRU) as cache, Cache(directory) as second:
        cache['key'] = 'value'
        clock.tick(10)
        assert cache['key'] == 'value'
        clock.tick(10)
        assert second['key'] == 'value'
        second.close()
        cache.close()
        with closing(sqlite3.connect(f'{directory}/cache.db')) as con:
            ((accessed,),) = con.execute('SELECT access_time FROM Cache')
        assert accessed == clock()


def test_many_rows_are_noted(directory: str) -> None:
    with Cache(directory, eviction_policy=LFU) as cache:
        with cache.transact():
            for number in range(20_000):
                cache[number] = number
        for number in range(20_000):
            assert cache[number] == number
        cache.close()
        with closing(sqlite3.connect(f'{directory}/cache.db')) as con:
            ((count,),) = con.execute('SELECT COUNT(*) FROM Cache WHERE access_count = 1')
        assert count == 20_000


def test_shards_count_too(directory: str) -> None:
    with FanoutCache(directory, 2, statistics=1) as cache:
        for number in range(10):
            cache.set(number, number)
            assert cache[number] == number
            assert cache.get(f'no {number}') is None
        assert cache.stats() == (10, 10)


def test_an_interpreter_that_ends_writes_what_is_noted_in_its_own_caches_only(
    alone: Interpreter, directory: str
) -> None:
    """Writing runs Python, and the objects of another interpreter are not its business."""

    def scenario(directory: str) -> None:
        try:
            import _interpreters as interpreters
        except ImportError:
            import _xxsubinterpreters as interpreters

        def stored(path: str) -> int:
            con = sqlite3.connect(f'{path}/cache.db')
            return con.execute("SELECT value FROM Settings WHERE key = 'hits'").fetchone()[0]

        cache = diskcache.Cache(directory, statistics=1)
        cache['key'] = 1
        assert cache['key'] == 1
        script = '\n'.join(
            [
                'import sys',
                f'sys.path[:] = {sys.path!r}',
                'import diskcache',
                f'cache = diskcache.Cache({directory + "-inner"!r}, statistics=1)',
                "cache['key'] = 1",
                "assert cache['key'] == 1",
            ]
        )
        try:
            interpreter = interpreters.create('legacy')
        except TypeError:
            interpreter = interpreters.create(isolated=False)
        failure = interpreters.run_string(interpreter, script)
        assert not failure, failure
        interpreters.destroy(interpreter)
        assert stored(directory + '-inner') == 1
        assert stored(directory) == 0
        cache.close()
        assert stored(directory) == 1

    alone.run(scenario, directory=directory)
