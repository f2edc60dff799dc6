"""compact: what a database and its log do not need is given back to the disk."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from interpreter import Interpreter

import diskcache

LARGE = b'x' * 50_000


def sizes(cache: diskcache.Cache) -> tuple[int, int]:
    """Return the bytes of the database and of its log."""
    database = Path(cache.directory, 'cache.db')
    return database.stat().st_size, Path(f'{database}-wal').stat().st_size


def fill(cache: diskcache.Cache) -> None:
    """Store much, and remove most of it."""
    cache.set_many((number, 'x' * 1000) for number in range(4000))
    cache['key'] = LARGE
    cache.delete_many(number for number in range(4000) if number % 10)


@pytest.mark.parametrize('auto_vacuum', [0, 1, 2])
def test_free_pages_and_the_log_are_given_back(
    directory: str, assert_intact: Callable, auto_vacuum: int
) -> None:
    with diskcache.Cache(directory, sqlite_auto_vacuum=auto_vacuum) as cache:
        fill(cache)
        before = sum(sizes(cache))
        given_back = cache.compact()
        database, log = sizes(cache)
        assert log == 0
        assert database < 1_000_000
        assert given_back == before - database
        assert cache['key'] == LARGE
        assert list(cache) == [*range(0, 4000, 10), 'key']
        assert cache.compact() >= 0
        assert_intact(cache)


def test_what_others_have_in_memory_stays_right(cache: diskcache.Cache) -> None:
    fill(cache)
    with diskcache.Cache(cache.directory) as second:
        assert second[0] == 'x' * 1000
        cache.compact()
        assert second[0] == 'x' * 1000
        cache[0] = 'new'
        assert second[0] == 'new'
        second.compact()
        assert cache[0] == 'new'


def test_a_reader_keeps_the_log_and_nobody_waits_for_it(
    cache: diskcache.Cache, other: Interpreter
) -> None:
    fill(cache)
    cache.close()  # Nothing is left in the log, of which a thread could give pages back meanwhile.
    with (
        diskcache.Cache(cache.directory, timeout=0.05) as impatient,
        closing(sqlite3.connect(f'{cache.directory}/cache.db', isolation_level=None)) as con,
    ):
        con.execute('BEGIN')
        assert con.execute('SELECT COUNT(*) FROM Cache').fetchone() == (401,)
        assert impatient.compact() == 0
        assert sizes(cache)[1] > 0
        assert other.run('Cache(directory, timeout=0).set(1, 1)', directory=cache.directory)
        assert con.execute('SELECT COUNT(*) FROM Cache').fetchone() == (401,)
        con.execute('COMMIT')
        assert impatient.compact() > 0
        assert sizes(cache)[1] == 0


@pytest.mark.parametrize('timeout', [0, 0.05, 30])
def test_sqlite_waits_as_before(directory: str, timeout: float) -> None:
    with diskcache.Cache(directory, timeout=timeout) as cache:
        cache['key'] = 'value'
        con = cache._con
        before = con.execute('PRAGMA busy_timeout').fetchone()
        cache.compact()
        assert cache._con is con
        assert con.execute('PRAGMA busy_timeout').fetchone() == before == (1000 * timeout,)


def test_inside_a_transaction_it_is_an_error_that_loses_nothing(cache: diskcache.Cache) -> None:
    with cache.transact():
        cache['key'] = LARGE
        with pytest.raises(sqlite3.OperationalError, match='VACUUM'):
            cache.compact()
        cache['other'] = 1
    assert cache['key'] == LARGE
    assert cache['other'] == 1
    assert cache.compact() >= 0


def test_a_locked_cache_is_a_timeout_unless_it_is_to_wait(directory: str, locked: Callable) -> None:
    with diskcache.Cache(directory, timeout=0.01) as cache:
        cache['key'] = 'value'
        done: list[int] = []
        with locked():
            with pytest.raises(diskcache.Timeout):
                cache.compact()
            thread = threading.Thread(target=lambda: done.append(cache.compact(retry=True)))
            thread.start()
            thread.join(0.1)
            assert done == []
        thread.join()
        assert len(done) == 1


def test_other_journals_have_no_log(directory: str) -> None:
    with diskcache.Cache(directory, sqlite_journal_mode='delete', sqlite_auto_vacuum=0) as cache:
        fill(cache)
        assert cache.compact() > 1_000_000
        assert cache['key'] == LARGE
