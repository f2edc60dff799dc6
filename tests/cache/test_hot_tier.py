"""Values kept in memory: what is answered from there, and that it is never an old one.

`memory_stats` tells whether a lookup was answered from memory; the proof that many processes
never see an old value is in test_coherence.py.
"""

from __future__ import annotations

import gc
import io
import os
import pickle
import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import pytest
from consistency import value_files
from interpreter import Child, Clock, Interpreter

import diskcache
from diskcache import Cache, Deque, Disk, FanoutCache, Index, JSONDisk

LARGE = b'x' * 100_000


class Answers:
    """How many lookups were answered from memory, and how many were not."""

    def __init__(self, cache: Any) -> None:
        self.cache = cache
        self.since = cache.memory_stats()

    def count(self) -> tuple[int, int]:
        """Return (hits, misses) since the last call."""
        before, self.since = self.since, self.cache.memory_stats()
        return self.since['hits'] - before['hits'], self.since['misses'] - before['misses']


@pytest.fixture
def answers(cache: Cache) -> Answers:
    """The lookups in `cache`."""
    cache.get('make the first connection')
    return Answers(cache)


@pytest.fixture
def second(cache: Cache, directory: str) -> Iterator[Cache]:
    """Another Cache object on the directory of `cache`."""
    with Cache(directory) as second:
        yield second


# What is answered from memory.

VALUES = [
    'text',
    '',
    b'bytes',
    0,
    -(2**63),
    2**70,
    1.5,
    float('inf'),
    None,
    True,
    False,
    (1, 'a'),
    [1, [2]],
    {'a': {1, 2}},
    'x' * 20_000,
    b'x' * 20_000,
]


@pytest.mark.parametrize('value', VALUES, ids=lambda value: f'{value!r:.20}')
def test_a_value_read_twice_is_read_once(
    cache: Cache, second: Cache, answers: Answers, value: object
) -> None:
    second['key'] = value
    first = cache['key']
    assert answers.count() == (0, 1)
    assert (cache['key'], type(cache['key'])) == (value, type(value))
    assert first == value
    assert answers.count() == (2, 0)


@pytest.mark.parametrize(
    'key',
    ['text', b'bytes', 5, -(2**63), 1.5, True, None, (1, 'a'), 2**70, frozenset([1])],
    ids=repr,
)
def test_keys_of_all_kinds_are_found(
    cache: Cache, second: Cache, answers: Answers, key: object
) -> None:
    second[key] = 'value'
    for _ in range(3):
        assert cache[key] == 'value'
        assert key in cache
        assert cache.get(key) == 'value'
    assert answers.count() == (8, 1)


def test_a_missing_key_is_remembered_as_missing(cache: Cache, answers: Answers) -> None:
    for _ in range(3):
        assert cache.get('key', 'default') == 'default'
        assert 'key' not in cache
        with pytest.raises(KeyError):
            cache['key']
    assert answers.count() == (8, 1)
    cache['key'] = 1
    assert cache['key'] == 1


def test_in_is_answered_from_memory_before_any_get(
    cache: Cache, second: Cache, answers: Answers
) -> None:
    second['key'] = 1
    assert 'key' in cache
    assert 'key' in cache
    assert answers.count() == (1, 1)
    assert cache['key'] == 1
    assert answers.count() == (0, 1)
    assert cache['key'] == 1
    assert answers.count() == (1, 0)


def test_keys_are_told_apart_as_the_database_does(cache: Cache) -> None:
    cache[1] = 'int'
    cache[True] = 'bool'
    cache['1'] = 'str'
    cache[b'1'] = 'bytes'
    cache[-0.5] = 'float'
    for _ in range(2):
        assert [cache[key] for key in (1, 1.0, True, '1', b'1', -0.5)] == [
            'int',
            'int',
            'bool',
            'str',
            'bytes',
            'float',
        ]
    cache[1.0] = 'float'
    assert cache[1] == cache[1.0] == 'float'
    del cache[1]
    assert 1.0 not in cache
    assert cache[True] == 'bool'


def test_a_mutable_value_is_made_afresh_each_time(cache: Cache) -> None:
    cache['key'] = [1]
    for _ in range(3):
        value = cache['key']
        assert value == [1]
        value.append(2)


def test_expire_time_and_tag_are_remembered(cache: Cache, answers: Answers, clock: Clock) -> None:
    cache.set('key', 'value', expire=10, tag='tag')
    assert cache.get('key', tag=True) == ('value', 'tag')
    answers.count()
    full = ('value', clock() + 10, 'tag')
    assert cache.get('key', expire_time=True, tag=True) == full
    assert cache.get('key', expire_time=True) == full[:2]
    assert cache.get('key') == 'value'
    assert answers.count() == (3, 0)


def test_a_tag_that_was_not_read_is_read(cache: Cache, second: Cache, answers: Answers) -> None:
    second.set('key', 'value', tag='tag')
    assert cache.get('key') == 'value'
    assert cache.get('key', tag=True) == ('value', 'tag')
    assert answers.count() == (0, 2)
    assert cache.get('key', tag=True) == ('value', 'tag')
    assert answers.count() == (1, 0)


def test_a_remembered_value_expires(cache: Cache, clock: Clock) -> None:
    cache.set('key', 'value', expire=10)
    assert cache['key'] == 'value'
    clock.tick(9)
    assert cache['key'] == 'value'
    clock.tick(2)
    assert 'key' not in cache
    assert cache.get('key', 'default') == 'default'
    cache.touch('key')
    cache['key'] = 'again'
    assert cache['key'] == 'again'


def test_of_a_value_in_a_file_only_the_row_is_remembered(
    cache: Cache, second: Cache, answers: Answers, directory: str
) -> None:
    second['key'] = LARGE
    assert cache['key'] == LARGE
    assert cache['key'] == LARGE
    with cache.read('key') as reader:
        assert reader.read() == LARGE
    assert answers.count() == (2, 1)
    assert cache.memory_stats()['bytes'] < 10_000
    (name,) = value_files(directory)
    Path(directory, name).unlink()
    assert cache.get('key') is None


def test_many_keys_are_answered_at_once(cache: Cache, answers: Answers) -> None:
    for number in range(10):
        cache[number] = [number]
    keys = [*range(10), 'missing']
    expected = [*([number] for number in range(10)), diskcache.ENOVAL]
    assert cache._get_values(keys) == expected
    assert answers.count() == (0, 11)
    assert cache._get_values(keys) == expected
    assert answers.count() == (11, 0)
    assert cache[3] == [3]
    assert answers.count() == (1, 0)


ENDS: dict[str, Callable[[Cache], Any]] = {
    'front': lambda cache: cache.peek(),
    'back': lambda cache: cache.peek(side='back'),
    'front of a prefix': lambda cache: cache.peek('prefix'),
    'back of a prefix': lambda cache: cache.peek('prefix', side='back'),
    'first': lambda cache: cache.peekitem(last=False),
    'last': lambda cache: cache.peekitem(),
    'lowest': lambda cache: cache._peek_nth(0),
    'highest': lambda cache: cache._peek_nth(-1),
}


@pytest.fixture(params=list(ENDS))
def look(request: pytest.FixtureRequest) -> Callable[[Cache], Any]:
    """A look at an end."""
    return ENDS[request.param]


def push_some(cache: Cache) -> None:
    """Store what makes all ends different."""
    for number in range(3):
        cache.push([number], tag=f'tag {number}')
        cache.push(f'text {number}', 'prefix')


def test_an_end_looked_at_twice_is_read_once(
    cache: Cache, answers: Answers, look: Callable[[Cache], Any]
) -> None:
    push_some(cache)
    answers.count()
    first = look(cache)
    assert answers.count() == (0, 1)
    assert look(cache) == look(cache) == first
    assert answers.count() == (2, 0)


def test_each_end_is_remembered_by_itself(cache: Cache) -> None:
    push_some(cache)
    with Cache(cache.directory, memory_limit=0) as fresh:
        for _ in range(2):
            for name, look in ENDS.items():
                assert look(cache) == look(fresh), name


def test_an_empty_end_is_remembered(cache: Cache, answers: Answers) -> None:
    for _ in range(3):
        assert cache.peek() == (None, None)
        assert cache.peek('prefix', 'default', 'back') == 'default'
        with pytest.raises(KeyError):
            cache.peekitem()
        assert cache._peek_nth(0) is diskcache.ENOVAL
    assert answers.count() == (8, 4)


def test_the_ends_of_a_deque_are_answered_from_memory(directory: str) -> None:
    deque = Deque([1, [2], 3], directory)
    answers = Answers(deque._cache)
    for _ in range(3):
        assert (deque.peekleft(), deque.peek(), deque[0], deque[-1]) == (1, 3, 1, 3)
    assert answers.count() == (8, 4)


@pytest.mark.parametrize('who', ['cache', 'second', 'other', 'original'])
def test_an_end_is_that_of_the_last_commit(
    cache: Cache, directory: str, request: pytest.FixtureRequest, who: str
) -> None:
    changes = [
        'cache.push(1)',
        "cache.push(2, 'prefix', side='front')",
        "cache.push('back', 'prefix')",
        'cache["a"] = 5',
        'cache["zz"] = 6',
        'cache["zz"] = 7',
        'cache.delete("zz")',
        'cache.pull()',
        "cache.pull('prefix')",
        "cache.pull('prefix', side='back')",
        'cache.set_many({"b": 8, 1: 9})',
        'cache.touch("a", expire=100)',
        'cache.evict(None); cache.clear()',
    ]
    with Cache(directory, memory_limit=0) as fresh:
        for change in changes:
            for look in ENDS.values():
                with suppress(KeyError):
                    look(cache)
            if who in ('cache', 'second'):
                exec(change, {'cache': request.getfixturevalue(who)})
            elif who == 'other' or 'many' not in change:
                process: Interpreter = request.getfixturevalue(who)
                script = f'with Cache(directory) as cache:\n    {change}'
                process.run(script, directory=directory)
            for name, look in ENDS.items():
                assert seen(look, cache) == seen(look, fresh), (change, name)


def seen(look: Callable[[Cache], Any], cache: Cache) -> Any:
    """What a look returns, or that it finds nothing."""
    try:
        return look(cache)
    except KeyError:
        return KeyError


def test_a_remembered_end_that_expires_is_dropped(
    cache: Cache, clock: Clock, look: Callable[[Cache], Any]
) -> None:
    for prefix in (None, 'prefix'):
        cache.push('short', prefix, expire=10)
        cache.push('long', prefix)
        cache.push('short', prefix, expire=10)
    seen(look, cache)
    clock.tick(5)
    assert 'short' in str(look(cache))
    clock.tick(10)
    assert 'long' in str(look(cache))
    assert 'long' in str(look(cache))
    assert len(cache) in (4, 5)  # What was looked at is gone; 'long' is between the others.


def test_what_goes_with_an_end_is_remembered(cache: Cache, answers: Answers, clock: Clock) -> None:
    key = cache.push('value', expire=10, tag='tag')
    expected = ((key, 'value'), clock() + 10, 'tag')
    answers.count()
    for _ in range(2):
        assert cache.peek(expire_time=True, tag=True) == expected
        assert cache.peekitem(expire_time=True, tag=True) == expected
    assert answers.count() == (2, 2)


def test_keys_at_an_end_keep_their_type(cache: Cache) -> None:
    for key in ('text', b'bytes', 5, 1.5, (1, 'a'), None):
        cache[key] = key
        for _ in range(2):
            assert cache.peekitem() == (key, key)


def test_of_a_file_at_an_end_only_the_row_is_remembered(cache: Cache, directory: str) -> None:
    cache.push(LARGE)
    for _ in range(2):
        assert cache.peek()[1] == LARGE
    assert cache.memory_stats()['bytes'] < 10_000
    (name,) = value_files(directory)
    Path(directory, name).unlink()
    assert cache.peek() == (None, None)
    assert len(cache) == 0


def test_a_mutable_value_at_an_end_is_made_afresh(cache: Cache) -> None:
    cache.push([1])
    for _ in range(3):
        value = cache.peek()[1]
        assert value == [1]
        value.append(2)


def test_ends_are_those_of_the_own_transaction(cache: Cache) -> None:
    cache.push(1)
    assert cache.peek()[1] == 1
    with suppress(ZeroDivisionError), cache.transact():
        cache.push(0, side='front')
        assert cache.peek()[1] == 0
        raise ZeroDivisionError
    assert cache.peek()[1] == 1


def test_a_prefix_of_a_type_of_its_own_names_the_same_queue(cache: Cache) -> None:
    class Name(str):
        __hash__ = None  # type: ignore[assignment]

    cache.push(1, 'prefix')
    for _ in range(2):
        assert cache.peek(Name('prefix'))[1] == cache.peek('prefix')[1] == 1


def test_a_disk_of_its_own_fetches_each_value_at_an_end(directory: str) -> None:
    class Counting(Disk):
        fetched = 0

        def fetch(self, mode: Any, filename: Any, value: Any, read: Any) -> Any:
            Counting.fetched += 1
            return super().fetch(mode, filename, value, read)

    with Cache(directory, disk=Counting) as cache:
        cache.push('value')
        assert [cache.peek()[1], cache.peek()[1], cache.peekitem()[1]] == ['value'] * 3
    assert Counting.fetched == 3


# What is not old.


def test_a_write_of_another_object_is_seen(cache: Cache, second: Cache, answers: Answers) -> None:
    for number in range(5):
        second['key'] = number
        assert cache['key'] == number
        assert cache['key'] == number
    assert answers.count() == (5, 5)
    assert cache.memory_stats()['invalidations'] >= 4


@pytest.mark.parametrize('who', ['other', 'original'])
def test_a_write_of_another_process_is_seen(
    cache: Cache, directory: str, request: pytest.FixtureRequest, who: str
) -> None:
    process: Interpreter = request.getfixturevalue(who)
    script = 'with Cache(directory) as cache: cache[key] = value'
    for number in range(5):
        assert cache.get('key') == (number - 1 if number else None)
        process.run(script, directory=directory, key='key', value=number)
        assert cache['key'] == number
    process.run('with Cache(directory) as cache: del cache["key"]', directory=directory)
    assert 'key' not in cache


CHANGES: dict[str, Callable[[Cache], Any]] = {
    'set': lambda cache: cache.set('key', 2),
    'set with expire': lambda cache: cache.set('key', 2, expire=-1),
    'set in a file': lambda cache: cache.set('key', LARGE),
    'set read': lambda cache: cache.set('key', io.BytesIO(LARGE), read=True),
    'delete': lambda cache: cache.delete('key'),
    'del': lambda cache: cache.__delitem__('key'),
    'pop': lambda cache: cache.pop('key'),
    'incr': lambda cache: cache.incr('key'),
    'decr': lambda cache: cache.decr('key'),
    'touch': lambda cache: cache.touch('key', expire=-1),
    'add': lambda cache: cache.add('missing', 1),
    'clear': lambda cache: cache.clear(),
    'evict': lambda cache: cache.evict('tag'),
    'expire': lambda cache: cache.expire(now=10**11),
    'cull': lambda cache: (cache.reset('size_limit', 0), cache.cull()),
    'push': lambda cache: cache.push('pushed'),
    'push with prefix': lambda cache: cache.push('pushed', prefix='a'),
    'SQL': lambda cache: cache._sql("UPDATE Cache SET value = 3 WHERE key = 'key'"),
    'SQL in a transaction': lambda cache: update_in_transaction(cache),
    'rows': lambda cache: cache._select_delete(
        'SELECT rowid, filename FROM Cache WHERE rowid > ? LIMIT 9', [0]
    ),
}
ASKED = ['key', 'missing', 500000000000000, 'a-500000000000000', 'large']


def update_in_transaction(cache: Cache) -> None:
    """Change rows with SQL inside a transaction."""
    with cache._transact() as (sql, _):
        sql("DELETE FROM Cache WHERE key = 'large'")
        sql("UPDATE Cache SET value = 4 WHERE key = 'key'")


def ask(cache: Cache) -> list[object]:
    """Return what the cache has for ASKED, in three ways that must agree."""
    found = [cache.get(key) for key in ASKED]
    assert found == cache._get_values(ASKED) or diskcache.ENOVAL in cache._get_values(ASKED)
    assert [value is not None for value in found] == [key in cache for key in ASKED]
    return found


@pytest.mark.parametrize('change', CHANGES.values(), ids=CHANGES.keys())
@pytest.mark.parametrize('by', ['itself', 'another object', 'a transaction', 'another thread'])
def test_every_change_is_seen(
    cache: Cache, second: Cache, change: Callable[[Cache], Any], by: str
) -> None:
    cache.set('key', 1, expire=3600, tag='tag')
    cache.set('large', LARGE, expire=3600, tag='tag')
    for _ in range(2):
        assert ask(cache) == [1, None, None, None, LARGE]
    if by == 'itself':
        change(cache)
    elif by == 'another object':
        change(second)
    elif by == 'a transaction':
        with cache.transact():
            change(cache)
            inside = [cache.get(key) for key in ASKED]
        assert [cache.get(key) for key in ASKED] == inside
    else:
        thread = threading.Thread(target=change, args=(cache,))
        thread.start()
        thread.join()
    with Cache(cache.directory, memory_limit=0) as plain:
        expected = [plain.get(key) for key in ASKED]
    for _ in range(2):
        assert ask(cache) == expected
    assert ask(second) == expected


def test_own_writes_leave_the_rest_in_memory(cache: Cache, answers: Answers) -> None:
    for number in range(10):
        cache[number] = number
        cache[number]
    answers.count()
    cache[3] = 'new'
    cache.incr(4)
    del cache[5]
    cache.pop(6)
    assert [cache.get(number) for number in (0, 1, 2, 7, 8, 9)] == [0, 1, 2, 7, 8, 9]
    assert answers.count() == (6, 0)
    assert [cache.get(number) for number in (4, 5, 6)] == [5, None, None]
    assert answers.count() == (0, 3)
    assert cache[3] == 'new'
    assert answers.count() == (1, 0)


ODD_NUMBERS = [-0.0, float('nan'), -(2**63) - 1, 1e300]


@pytest.mark.parametrize('value', VALUES + ODD_NUMBERS, ids=lambda value: f'{value!r:.20}')
def test_what_was_just_set_is_what_others_read(
    cache: Cache, second: Cache, answers: Answers, value: object
) -> None:
    cache['key'] = value
    cache.set_many({'one of many': value})
    for key in ('key', 'one of many'):
        assert repr(cache[key]) == repr(second[key])
        assert type(cache[key]) is type(second[key])


def test_what_was_just_set_is_in_memory(cache: Cache, answers: Answers) -> None:
    cache['key'] = ['value']
    cache.set('tagged', 'value', expire=100, tag='tag')
    cache.set_many((number, b'') for number in range(10))
    assert cache.add('added', 1.5)
    assert cache['key'] == ['value']
    assert cache.get('tagged', expire_time=True, tag=True)[::2] == ('value', 'tag')
    assert [cache[number] for number in range(10)] == [b''] * 10
    assert cache['added'] == 1.5
    assert answers.count() == (13, 0)


def test_a_list_just_set_is_another_one_when_it_is_got(cache: Cache, answers: Answers) -> None:
    value = [1]
    cache['key'] = value
    value.append(2)
    assert cache['key'] == [1]
    assert answers.count() == (1, 0)


def test_what_was_just_set_expires(cache: Cache, answers: Answers, clock: Clock) -> None:
    cache.set('key', 'value', expire=10)
    assert cache['key'] == 'value'
    clock.tick(11)
    assert 'key' not in cache
    assert answers.count() == (2, 0)


def test_the_last_of_several_sets_counts(cache: Cache, answers: Answers) -> None:
    with cache.transact():
        cache['key'] = 'first'
        cache['key'] = 'second'
        cache['deleted'] = 1
        del cache['deleted']
        cache['incremented'] = 1
        cache.incr('incremented')
    assert cache['key'] == 'second'
    assert answers.count() == (1, 0)
    assert cache.get('deleted') is None
    assert cache['incremented'] == 2


def test_a_value_refused_for_its_size_is_not_there(directory: str) -> None:
    with Cache(directory, size_limit=100_000) as cache:
        cache['key'] = 'value'
        assert cache['key'] == 'value'
        assert not cache.set('key', b'x' * 200_000)
        assert cache.get('key') is None
        assert not cache.set_many({'key': b'x' * 200_000})
        assert cache.get('key') is None


def test_a_large_transaction_fills_no_more_than_the_limit(cache: Cache) -> None:
    cache.memory_limit = 100_000
    cache.get('key')
    with cache.transact():
        for number in range(1000):
            cache[number] = 'x' * 1000
    assert cache.memory_stats()['bytes'] <= 100_000
    assert [cache[number] for number in (0, 500, 999)] == ['x' * 1000] * 3


def test_a_disk_that_fetches_otherwise_is_asked(directory: str) -> None:
    class Upper(Disk):
        def fetch(self, mode: int, filename: str | None, value: Any, read: bool) -> Any:
            return super().fetch(mode, filename, value, read).upper()

    with Cache(directory, disk=Upper) as cache:
        cache.get('key')
        cache['key'] = 'value'
        assert [cache['key'], cache['key']] == ['VALUE', 'VALUE']


def test_what_is_rolled_back_was_never_seen(cache: Cache, second: Cache) -> None:
    cache['key'] = 1
    assert cache['key'] == 1
    with pytest.raises(ZeroDivisionError), cache.transact():
        cache['key'] = 2
        assert cache['key'] == 2
        del cache['key']
        assert 'key' not in cache
        raise ZeroDivisionError
    assert cache['key'] == 1
    assert second['key'] == 1


def test_a_transaction_sees_its_own_writes_and_others_do_not(cache: Cache, second: Cache) -> None:
    cache['key'] = 1
    seen = []
    assert cache['key'] == second['key'] == 1
    with cache.transact():
        cache['key'] = 2
        thread = threading.Thread(target=lambda: seen.append(cache['key']))
        thread.start()
        thread.join()
        seen.append(cache['key'])
        seen.append(second['key'])
    assert seen == [1, 2, 1]
    assert cache['key'] == second['key'] == 2


def test_the_number_of_items_is_that_of_the_last_commit(
    cache: Cache, directory: str, other: Interpreter
) -> None:
    script = 'with Cache(directory) as cache: cache[key] = 1; len(cache); cache.expire()'
    for number in range(3):
        assert (len(cache), len(cache), cache.count) == (2 * number,) * 3
        other.run(script, directory=directory, key=number)
        assert len(cache) == 2 * number + 1
        cache.set(f'own {number}', 1)
    cache.clear()
    assert len(cache) == 0


def test_the_number_of_items_is_that_of_the_own_transaction(cache: Cache, second: Cache) -> None:
    seen = []
    cache['before'] = 1
    assert len(cache) == len(second) == 1
    with suppress(ZeroDivisionError), cache.transact():
        cache['new'] = 1
        assert len(cache) == 2
        thread = threading.Thread(target=lambda: seen.extend((len(cache), len(second))))
        thread.start()
        thread.join()
        raise ZeroDivisionError
    assert seen == [1, 1]
    assert len(cache) == len(second) == 1
    cache._sql('UPDATE Settings SET value = 7 WHERE key = "count"')
    assert len(cache) == len(second) == 7


def test_the_number_of_items_is_what_it_has_been_set_to(cache: Cache, second: Cache) -> None:
    """reset() changes any name of the table of settings, and the number is one of them."""
    cache['key'] = 1
    assert len(cache) == len(second) == 1
    cache.reset('count', 7)
    assert len(cache) == len(second) == 7
    cache.reset('count', 1)
    assert len(cache) == len(second) == 1


def test_an_open_transaction_of_a_connection_in_hands_is_seen(cache: Cache) -> None:
    cache['key'] = 1
    assert cache['key'] == 1
    con = cache._con
    con.execute('BEGIN')
    con.execute('UPDATE Cache SET value = 2')
    assert cache['key'] == 2
    con.execute('ROLLBACK')
    assert cache['key'] == 1


def test_after_the_last_one_has_closed_nothing_is_remembered(
    cache: Cache, directory: str, other: Interpreter
) -> None:
    cache['key'] = 1
    assert cache['key'] == 1
    cache.close()
    assert not os.path.exists(f'{directory}/cache.db-wal')
    other.run('with Cache(directory) as cache: cache["key"] = 2', directory=directory)
    assert cache['key'] == 2


def test_another_directory_is_not_taken_for_the_first(cache: Cache, tmp_path: Path) -> None:
    with Cache(str(tmp_path / 'second')) as second:
        second['key'] = 2
    cache['key'] = 1
    assert cache['key'] == 1
    cache._directory = str(tmp_path / 'second')
    assert cache['key'] == 2


def test_another_disk_makes_its_own_values(cache: Cache) -> None:
    class Shouting(Disk):
        def fetch(self, *args: Any) -> Any:
            return str(super().fetch(*args)).upper()

    cache['key'] = 'value'
    assert cache['key'] == 'value'
    cache._disk = Shouting(cache.directory, 2**15, 5)
    assert [cache['key'], cache['key']] == ['VALUE', 'VALUE']


def test_what_a_former_disk_has_made_is_not_remembered(cache: Cache) -> None:
    plain = cache.disk

    class Leaving(Disk):
        def fetch(self, *args: Any, **kwargs: Any) -> Any:
            cache._disk = plain  # as another thread may, meanwhile
            return f'of the former: {super().fetch(*args, **kwargs)}'

    cache['key'] = 'value'
    cache._disk = Leaving(cache.directory)
    assert cache['key'] == 'of the former: value'
    assert [cache['key'], cache['key']] == ['value', 'value']


def test_a_patched_fetch_is_called_on_each_hit(
    cache: Cache, answers: Answers, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache['key'] = 'value'
    assert [cache['key'], cache['key']] == ['value', 'value']
    calls = []

    def fetch(*args: Any) -> str:
        calls.append(args)
        return 'patched'

    monkeypatch.setattr(cache.disk, 'fetch', fetch)
    assert [cache['key'], cache['key']] == ['patched', 'patched']
    assert len(calls) == 2
    assert answers.count() == (4, 0)


@pytest.mark.parametrize('mode', ['delete', 'truncate', 'persist'])
def test_without_a_write_ahead_log_nothing_is_remembered(
    directory: str, second_process_writes: Callable[[object], None], mode: str
) -> None:
    with Cache(directory, sqlite_journal_mode=mode) as cache:
        for number in range(3):
            second_process_writes(number)
            assert [cache['key'], cache['key']] == [number, number]
        assert cache.memory_stats()['hits'] == 0


@pytest.fixture
def second_process_writes(other: Interpreter, directory: str) -> Callable[[object], None]:
    """A function that stores a value under 'key' in another process."""

    def write(value: object) -> None:
        script = 'with Cache(directory) as cache: cache["key"] = value'
        other.run(script, directory=directory, value=value)

    return write


def test_changing_the_journal_turns_it_off_and_on(
    cache: Cache, answers: Answers, second_process_writes: Callable[[object], None]
) -> None:
    cache['key'] = 0
    assert [cache['key'], cache['key']] == [0, 0]
    cache.reset('sqlite_journal_mode', 'delete')
    answers.count()
    cache['key'] = 1
    assert [cache['key'], cache['key']] == [1, 1]
    assert answers.count()[0] == 0
    cache.reset('sqlite_journal_mode', 'wal')
    second_process_writes(2)
    assert [cache['key'], cache['key'], cache['key']] == [2, 2, 2]
    assert answers.count()[0] >= 1


def test_exclusive_locking_has_no_shared_memory(directory: str) -> None:
    with Cache(directory) as cache:
        cache['key'] = 1
    with Cache(directory, sqlite_locking_mode='exclusive') as cache:
        assert [cache['key'], cache['key']] == [1, 1]
        assert cache.memory_stats()['hits'] == 0


def test_an_overridden_connection_is_not_remembered(directory: str) -> None:
    class Own(Cache):
        @property
        def _con(self) -> sqlite3.Connection:
            con = getattr(self._local, 'con', None)
            if con is None:
                con = self._local.con = sqlite3.connect(
                    f'{self._directory}/cache.db', isolation_level=None
                )
            return con

    with Own(directory) as cache:
        cache['key'] = 1
        assert [cache['key'], cache['key']] == [1, 1]
        assert cache.memory_stats()['hits'] == 0


def test_a_fork_begins_with_nothing_and_both_go_on(cache: Cache, second: Cache) -> None:
    cache['key'] = 1
    assert [cache['key'], cache['key']] == [1, 1]

    def in_child() -> list[object]:
        seen = [cache['key'], cache['key'], cache.memory_stats()['hits'] > 0]
        cache['key'] = 2
        return [*seen, cache['key'], second['key']]

    assert Child(in_child).result() == [1, 1, True, 2, 2]
    assert cache['key'] == second['key'] == 2


# Its size.


def test_the_limit_is_kept(directory: str) -> None:
    with Cache(directory, memory_limit=50_000) as cache:
        for number in range(1000):
            cache[number] = 'x' * 500
        for _ in range(2):
            for number in range(1000):
                assert cache[number] == 'x' * 500
                assert cache.memory_stats()['bytes'] <= 50_000
        assert cache.memory_stats()['bytes'] > 30_000
        cache.memory_limit = 10_000
        assert cache.memory_stats()['bytes'] <= 10_000
        cache.memory_limit = 0
        assert cache.memory_stats()['bytes'] == 0
        answers = Answers(cache)
        assert [cache[1], cache[1]] == ['x' * 500] * 2
        assert answers.count() == (0, 0)
        cache.memory_limit = 10_000
        assert [cache[1], cache[1]] == ['x' * 500] * 2
        assert answers.count() == (1, 1)


def test_what_is_asked_for_again_outlives_a_scan(directory: str) -> None:
    with Cache(directory, memory_limit=100_000) as cache:
        with cache.transact():
            for number in range(5000):
                cache[number] = 'x' * 200
        for _ in range(3):
            for number in range(20):
                cache[number]
        for number in range(100, 5000):
            cache[number]
        answers = Answers(cache)
        for number in range(20):
            cache[number]
        hits, _ = answers.count()
        assert hits >= 15


def test_a_value_that_is_a_large_part_of_the_limit_is_not_kept(directory: str) -> None:
    with Cache(directory, memory_limit=20_000) as cache:
        cache['small'] = 1
        cache['large'] = 'x' * 10_000
        for _ in range(3):
            assert cache['small'] == 1
            assert cache['large'] == 'x' * 10_000
        assert cache.memory_stats()['hits'] == 2


def test_the_limit_is_not_stored(directory: str) -> None:
    with Cache(directory, memory_limit=1000) as cache:
        assert cache.memory_limit == 1000
        with closing(sqlite3.connect(f'{directory}/cache.db')) as con:
            ((count,),) = con.execute("SELECT COUNT(*) FROM Settings WHERE key LIKE 'memory%'")
        assert count == 0
    with Cache(directory) as cache:
        assert cache.memory_limit == 2**23


@pytest.mark.parametrize(
    ('limit', 'error'),
    [(-1, ValueError), (float('nan'), ValueError), ('much', TypeError), ([], TypeError)],
)
def test_a_bad_limit_is_an_error_that_names_it(directory: str, limit: Any, error: type) -> None:
    with pytest.raises(error, match='memory_limit'):
        Cache(directory, memory_limit=limit)
    assert not os.path.exists(directory)
    with Cache(directory) as cache:
        with pytest.raises(error, match='memory_limit'):
            cache.memory_limit = limit
        with pytest.raises(AttributeError, match='memory_limit'):
            del cache.memory_limit
        assert cache.memory_limit == 2**23


# The layers.


def test_shards_share_the_limit(directory: str) -> None:
    with FanoutCache(directory, 4, memory_limit=80_000) as cache:
        assert [shard.memory_limit for shard in cache._shards] == [20_000] * 4
        assert cache.memory_limit == 80_000
        for number in range(20):
            cache[number] = number
        for _ in range(3):
            assert [cache[number] for number in range(20)] == list(range(20))
        stats = cache.memory_stats()
        assert (stats['hits'], stats['misses']) == (40, 20)
        cache.memory_limit = 0
        assert cache.memory_stats()['bytes'] == 0
    with FanoutCache(directory, 4) as cache:
        assert cache.memory_limit == 2**23


def test_an_index_and_memoized_calls_are_answered_from_memory(directory: str) -> None:
    index = Index(directory, a=1)

    @index.memoize()
    def square(number: int) -> int:
        return number * number

    for _ in range(3):
        assert [index['a'], square(3)] == [1, 9]
    assert index.cache.memory_stats()['hits'] >= 2
    index.cache.close()


def test_a_turned_deque_is_read_anew(directory: str) -> None:
    deque = Deque('abcdef', directory)
    for _ in range(3):
        assert list(deque) == list('abcdef')
    deque.rotate(2)
    assert list(deque) == list('efabcd')
    deque.reverse()
    assert list(deque) == list('dcbafe')
    deque[0] = 'x'
    assert [deque[0], deque.peekleft(), deque.popleft(), deque.peekleft()] == ['x', 'x', 'x', 'c']
    deque.cache.close()


def test_another_kind_of_disk_is_served(directory: str) -> None:
    with Cache(directory, disk=JSONDisk) as cache:
        cache['key'] = {'a': [1]}
        answers = Answers(cache)
        for _ in range(3):
            assert cache['key'] == {'a': [1]}
            assert 'missing' not in cache
        assert answers.count() == (4, 2)


# Rows that are changed by what no operation has said.


def test_a_trigger_of_somebody_elses_changes_another_row(cache: Cache, directory: str) -> None:
    """What a write does to other keys, by whoever's trigger, is seen at once."""
    cache['a'], cache['b'] = 0, 1
    with closing(sqlite3.connect(f'{directory}/cache.db')) as con:
        con.execute(
            "CREATE TRIGGER other AFTER UPDATE ON Cache WHEN NEW.key = 'a'"
            " BEGIN UPDATE Cache SET value = NEW.value + 70 WHERE key = 'b'; END"
        )
    assert cache['b'] == 1
    cache['a'] = 5
    assert cache['b'] == 75
    with cache.transact():
        cache['a'] = 6
    assert cache['b'] == 76
    assert cache.incr('a') == 7
    assert cache['b'] == 77


@pytest.mark.parametrize(
    'trigger',
    [
        "AFTER INSERT ON Cache WHEN NEW.key = 'new' BEGIN DELETE FROM Cache WHERE key = 'b'; END",
        "AFTER DELETE ON Cache WHEN OLD.key = 'a' BEGIN"
        " INSERT INTO Cache (key, raw, mode, value) VALUES ('c', 1, 1, 'by a trigger'); END",
        "AFTER UPDATE OF expire_time ON Cache WHEN NEW.key = 'a'"
        " BEGIN UPDATE Cache SET expire_time = 1.0 WHERE key = 'b'; END",
        "AFTER UPDATE ON Settings WHEN NEW.key = 'count'"
        " BEGIN UPDATE Cache SET value = 'counted' WHERE key = 'b'; END",
        "AFTER INSERT ON Cache WHEN NEW.key = 'new' BEGIN"
        " INSERT OR REPLACE INTO Cache (key, raw, mode, value) VALUES ('b', 1, 1, 'replaced'); END",
    ],
    ids=['insert deletes', 'delete inserts', 'touch expires', 'count updates', 'insert replaces'],
)
@pytest.mark.parametrize('temporary', [False, True])
def test_what_triggers_do_is_never_hidden_by_memory(
    cache: Cache, directory: str, trigger: str, temporary: bool
) -> None:
    for key in 'ab':
        cache[key] = 'before'
    kind = 'TEMP' if temporary else ''
    if temporary:  # On the one connection that it is made with.
        cache._con.execute(f'CREATE {kind} TRIGGER other {trigger}')
    else:
        with closing(sqlite3.connect(f'{directory}/cache.db')) as con:
            con.execute(f'CREATE {kind} TRIGGER other {trigger}')
    with Cache(directory, memory_limit=0) as truth:
        for write in (
            lambda: cache.set('new', 1),
            lambda: cache.touch('a', 1000),
            lambda: cache.delete('a'),
            lambda: cache.push('item', 'a'),
            lambda: cache.pull('a'),
        ):
            seen = [cache.get(key) for key in ('a', 'b', 'c', 'new')]
            write()
            seen = [cache.get(key) for key in ('a', 'b', 'c', 'new')]
            assert seen == [truth.get(key) for key in ('a', 'b', 'c', 'new')]


def test_a_trigger_that_changes_what_is_being_set_is_seen(cache: Cache, directory: str) -> None:
    with closing(sqlite3.connect(f'{directory}/cache.db')) as con:
        con.execute(
            "CREATE TRIGGER other AFTER INSERT ON Cache WHEN NEW.key = 'key'"
            " BEGIN UPDATE Cache SET value = 'changed' WHERE rowid = NEW.rowid; END"
        )
    cache.get('key')
    cache['key'] = 'set'
    assert cache['key'] == 'changed'


def test_a_trigger_that_ignores_a_write_is_seen(cache: Cache, directory: str) -> None:
    """Neither what was not inserted nor what was not updated is remembered as if it had been."""
    cache['there'] = 'old'
    with closing(sqlite3.connect(f'{directory}/cache.db')) as con:
        for event in ('INSERT', 'UPDATE'):
            con.execute(
                f'CREATE TRIGGER no_{event} BEFORE {event} ON Cache BEGIN SELECT RAISE(IGNORE); END'
            )
    for key in ('there', 'absent'):
        for value in ('new', LARGE):
            assert cache.get(key) == ('old' if key == 'there' else None)
            cache.set(key, value)
            assert cache.get(key) == ('old' if key == 'there' else None)


def test_an_own_write_leaves_the_memory_of_other_keys(cache: Cache, answers: Answers) -> None:
    """Counting changed rows must not take the library's own triggers for somebody else's."""
    cache.set_many({'a': 1, 'b': 2, 'large': LARGE})
    for key in ('a', 'b', 'large'):
        cache[key]
    answers.count()
    cache['a'] = 5
    cache['new'] = LARGE  # The count and the size in Settings change, by triggers.
    cache.delete('large')
    cache.touch('b', 100)
    cache.incr('a')
    cache.push('item')
    assert cache['b'] == 2
    assert cache['a'] == 6
    cache['b'], cache['new']
    assert answers.count()[0] >= 2


# Objects.


def test_a_pickled_cache_has_a_memory_of_its_own(cache: Cache) -> None:
    cache['key'] = 1
    assert [cache['key'], cache['key']] == [1, 1]
    with pickle.loads(pickle.dumps(cache)) as same:
        assert same.memory_stats()['hits'] == 0


def test_objects_in_memory_are_let_go(directory: str) -> None:
    cache = Cache(directory)
    value = 'a value that is nobody else has' * 3
    cache['key'] = value
    first = cache['key']
    assert cache['key'] is first
    gc.collect()
    before = len(gc.get_referrers(first))
    cache.close()
    del cache
    gc.collect()
    assert len(gc.get_referrers(first)) <= before
