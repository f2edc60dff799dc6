"""Triggers of a user's own on the table that keep a statement from doing anything.

`RAISE(IGNORE)` in one makes SQLite report success for a row that it has neither written nor
deleted. What has not been done is not said to be done, and nothing that goes on until nothing is
left goes on for ever.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import closing

import pytest
from interpreter import Clock

import diskcache

LARGE = b'x' * 100_000
QUEUE_KEY = 500_000_000_000_000


def keep(cache: diskcache.Cache, event: str, condition: str = '1') -> None:
    """Let a trigger ignore each such event."""
    with closing(sqlite3.connect(f'{cache.directory}/cache.db', isolation_level=None)) as con:
        con.execute(
            f'CREATE TRIGGER keep_{event} BEFORE {event} ON Cache WHEN {condition}'
            ' BEGIN SELECT RAISE(IGNORE); END'
        )


def keep_no_more(cache: diskcache.Cache, event: str) -> None:
    """Drop that trigger."""
    with closing(sqlite3.connect(f'{cache.directory}/cache.db', isolation_level=None)) as con:
        con.execute(f'DROP TRIGGER keep_{event}')


def test_what_a_trigger_keeps_from_being_stored_is_not_said_to_be(
    cache: diskcache.Cache, assert_intact: Callable
) -> None:
    cache['old'] = LARGE
    keep(cache, 'INSERT', "NEW.key NOT LIKE 'written%'")
    keep(cache, 'UPDATE', "NEW.key NOT LIKE 'written%'")
    for key in ('old', 'new'):
        assert cache.set(key, LARGE + b'new') is False
        assert cache.set(key, 1) is False
        assert cache.add(key, LARGE + b'new') is False
        with pytest.raises(sqlite3.IntegrityError, match='trigger'):
            cache.incr('number')
    assert cache.push(LARGE) is None
    assert cache.set_many({'old': LARGE, 'new': 2}) == 0
    assert cache.touch('old', 100) is False
    with cache.transact():
        assert cache.set('new', LARGE) is False
    assert list(cache) == ['old']
    assert cache['old'] == LARGE
    assert cache.get('new') is None
    assert_intact(cache)


def test_what_a_trigger_keeps_from_being_deleted_is_not_taken(
    cache: diskcache.Cache, assert_intact: Callable
) -> None:
    key = cache.push(LARGE)
    cache.push('small')
    keep(cache, 'DELETE', "OLD.key NOT LIKE 'written%'")
    assert cache.delete(key) is False
    assert cache.delete_many([key, key + 1]) == 0
    with pytest.raises(KeyError):
        del cache[key]
    for method in (cache.pull, lambda: cache.pull(side='back'), lambda: cache.pop(key)):
        with pytest.raises(sqlite3.IntegrityError, match='trigger'):
            method()
    assert cache.clear() == cache.expire(1e12) == cache.evict('tag') == cache.cull() == 0
    cache.reset('size_limit', 0)
    assert cache.cull() == 0
    cache.reset('size_limit', 2**30)
    assert cache[key] == LARGE
    assert len(cache) == 2
    assert_intact(cache)


def test_whatever_removes_many_passes_over_what_a_trigger_keeps(cache: diskcache.Cache) -> None:
    for remove in (
        cache.clear,
        lambda: cache.evict('tag'),
        lambda: cache.expire(1e12),
        lambda: (cache.reset('size_limit', 0), cache.cull())[1],
    ):
        cache.reset('size_limit', 2**30)
        cache.set_many(((number, 1) for number in range(1000)), expire=1e6, tag='tag')
        keep(cache, 'DELETE', 'OLD.key < 10 OR OLD.key % 100 = 7')
        assert remove() == 981
        assert len(cache) == 19
        keep_no_more(cache, 'DELETE')
        cache.clear()


def test_an_expired_item_that_cannot_be_deleted_hides_no_other_for_ever(
    cache: diskcache.Cache, clock: Clock
) -> None:
    cache.push('expired', expire=1)
    cache['key'] = 1
    keep(cache, 'DELETE')
    clock.tick(2)
    with pytest.raises(sqlite3.IntegrityError):
        cache.peek()
    assert cache.get(QUEUE_KEY) is None
    assert cache['key'] == 1
    assert cache.set('another', 2)


def test_a_deque_whose_items_cannot_be_deleted_stays_longer_than_it_may_be(
    directory: str,
) -> None:
    deque = diskcache.Deque(range(10), directory)
    keep(deque.cache, 'DELETE')
    deque.maxlen = 3
    assert list(deque) == list(range(10))
    deque.append(10)
    assert list(deque) == list(range(11))
    keep_no_more(deque.cache, 'DELETE')
    deque.append(11)
    assert list(deque) == [9, 10, 11]


def test_a_trigger_resolves_its_own_conflicts(
    cache: diskcache.Cache, assert_intact: Callable
) -> None:
    """SQLite makes triggers resolve conflicts as the statement does that fires them."""
    with closing(sqlite3.connect(f'{cache.directory}/cache.db')) as con:
        con.executescript("""
            CREATE TABLE log (key PRIMARY KEY, what);
            CREATE TRIGGER inserted AFTER INSERT ON Cache
                BEGIN INSERT OR REPLACE INTO log VALUES (NEW.key, 'inserted'); END;
            CREATE TRIGGER updated AFTER UPDATE OF value ON Cache
                BEGIN INSERT OR REPLACE INTO log VALUES (NEW.key, 'updated'); END;
            CREATE TRIGGER deleted AFTER DELETE ON Cache
                BEGIN INSERT OR IGNORE INTO log VALUES (OLD.key, 'deleted'); END;
        """)
    for value in (1, LARGE, 2, 3):
        assert cache.set('set', value) is True
        assert cache.get('set') == value
    assert cache.set_many({'set': 4, 'other': 5}) == 2
    assert cache.set_many({'set': 6, 'other': 7}) == 2
    assert cache.add('set', 8) is False
    assert [cache.incr('number') for _ in range(3)] == [1, 2, 3]
    assert cache.delete('number') is True
    assert cache.add('number', 9) is True
    assert (cache['set'], cache['other'], cache['number']) == (6, 7, 9)
    with closing(sqlite3.connect(f'{cache.directory}/cache.db')) as con:
        logged = dict(con.execute('SELECT key, what FROM log'))
    assert logged == {'set': 'updated', 'other': 'updated', 'number': 'inserted'}
    assert_intact(cache)


def test_what_a_trigger_forbids_is_an_error(
    cache: diskcache.Cache, assert_intact: Callable
) -> None:
    cache['key'] = 1
    for action in ('ABORT', 'FAIL', 'ROLLBACK'):
        with closing(sqlite3.connect(f'{cache.directory}/cache.db')) as con:
            con.executescript(f"""
                DROP TRIGGER IF EXISTS forbid;
                CREATE TRIGGER forbid AFTER UPDATE OF value ON Cache
                    BEGIN SELECT RAISE({action}, 'forbidden'); END;
            """)
        for value in (2, LARGE):
            with pytest.raises(sqlite3.IntegrityError, match='forbidden'):
                cache.set('key', value)
            assert cache['key'] == 1
            cache[f'{action} {len(repr(value))}'] = value
    assert_intact(cache)
