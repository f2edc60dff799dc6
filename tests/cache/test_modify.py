"""modify() replaces a value by what a function makes of it, and nothing comes between."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Iterator

import pytest
from interpreter import Clock

import diskcache
from diskcache import ENOVAL, KEEP, Cache, FanoutCache, Timeout


@pytest.fixture(params=['Cache', 'FanoutCache', 'JSONDisk'])
def store(request: pytest.FixtureRequest, directory: str) -> Iterator[Cache | FanoutCache]:
    """An empty cache of each kind."""
    kinds = {
        'Cache': lambda: Cache(directory),
        'FanoutCache': lambda: FanoutCache(directory, shards=3),
        'JSONDisk': lambda: Cache(directory, disk=diskcache.JSONDisk),
    }
    with kinds[request.param]() as cache:
        yield cache


def item(store: Cache | FanoutCache, key: object) -> tuple:
    """Return value, expiry and tag of an item."""
    return store.get(key, default=None, expire_time=True, tag=True)


def test_a_value_is_replaced_by_what_the_function_returns(store: Cache) -> None:
    store['words'] = ['a']
    assert store.modify('words', lambda words: [*words, 'b']) == ['a', 'b']
    assert store['words'] == ['a', 'b']


def test_a_list_that_the_function_has_changed_is_stored_too(store: Cache) -> None:
    def append(words: list) -> list:
        words.append('b')
        return words

    store['words'] = ['a']
    store.modify('words', append)
    assert store['words'] == ['a', 'b']


def test_a_missing_or_expired_key_begins_at_the_default(store: Cache, clock: Clock) -> None:
    assert store.modify('new', lambda value: [value]) == [None]
    assert store.modify('other', lambda value: value + 1, default=41) == 42
    store.set('old', 1, expire=5)
    clock.tick(6)
    assert store.modify('old', lambda value: value * 2, default=100) == 200
    assert item(store, 'old') == (200, None, None)


def test_expiry_and_tag_stay_unless_they_are_given(store: Cache, clock: Clock) -> None:
    store.set('key', 1, expire=10, tag='odd')
    _, expiry, _ = item(store, 'key')
    clock.tick(4)
    store.modify('key', lambda value: value + 1)
    value, later, tag = item(store, 'key')
    assert (value, tag) == (2, 'odd')
    assert later == pytest.approx(expiry, abs=1e-3)
    store.modify('key', lambda value: value + 1, expire=None)
    assert item(store, 'key') == (3, None, 'odd')
    store.modify('key', lambda value: value + 1, tag=None)
    assert item(store, 'key') == (4, None, None)
    store.modify('key', lambda value: value + 1, expire=5, tag='even')
    clock.tick(6)
    assert item(store, 'key') == (None, None, None)


def test_the_function_can_delete_the_item(store: Cache) -> None:
    store['key'] = 1
    assert store.modify('key', lambda value: ENOVAL) is ENOVAL
    assert 'key' not in store
    assert store.modify('missing', lambda value: ENOVAL) is ENOVAL


def test_the_function_can_leave_the_item_as_it_is(store: Cache) -> None:
    store.set('key', 1, expire=10, tag='odd')
    before = item(store, 'key')
    assert store.modify('key', lambda value: KEEP, expire=99, tag='even') == 1
    assert item(store, 'key') == before
    assert store.modify('missing', lambda value: KEEP, default=5) is ENOVAL
    assert 'missing' not in store


def test_the_item_stays_if_the_function_raises(store: Cache) -> None:
    store['key'] = 1
    with pytest.raises(ZeroDivisionError):
        store.modify('key', lambda value: value / 0)
    assert store['key'] == 1
    assert store.set('key', 2)  # no lock is left behind


def test_a_value_in_a_file_is_replaced_and_its_file_goes(directory: str) -> None:
    with Cache(directory) as cache:
        cache['key'] = b'a' * 100_000
        cache.modify('key', lambda value: value * 2)
        assert cache['key'] == b'a' * 200_000
        assert cache.check() == []


def test_an_outer_transaction_takes_it_back(directory: str) -> None:
    with Cache(directory) as cache:
        cache['key'] = 1
        with pytest.raises(ZeroDivisionError), cache.transact():
            assert cache.modify('key', lambda value: value + 1) == 2
            raise ZeroDivisionError
        assert cache['key'] == 1


def test_without_the_lock_in_time_it_is_an_error_and_nothing_is_called(
    store: Cache | FanoutCache, directory: str
) -> None:
    """A result could not tell it: that of a FanoutCache either."""
    called: list = []
    shards = {'shards': 3} if isinstance(store, FanoutCache) else {}
    holder = store
    holder['key'] = 1
    store = type(holder)(directory, timeout=0.01, disk=type(holder.disk), **shards)
    with store, holder.transact(), pytest.raises(Timeout):
        store.modify('key', called.append)
    assert called == []


def test_a_cache_too_small_for_the_item_says_that_there_is_none(directory: str) -> None:
    with Cache(directory, size_limit=1, cull_limit=10) as cache:
        assert cache.modify('key', lambda value: 'x' * 100) is ENOVAL
        assert 'key' not in cache


def test_who_calls_expire_ttl_is_told(store: Cache) -> None:
    with pytest.raises(TypeError, match="is 'expire' meant"):
        store.modify('key', lambda value: 1, ttl=5)


COUNT = """
import sys
import diskcache

cache = getattr(diskcache, sys.argv[1])(sys.argv[2])
for _ in range(int(sys.argv[3])):
    cache.modify('state', lambda state: (state[0] + 1, state[1]), default=(0, 'x'), retry=True)
"""


@pytest.mark.parametrize('kind', ['Cache', 'FanoutCache'])
def test_no_change_of_other_processes_and_threads_is_lost(kind: str, directory: str) -> None:
    processes = [
        subprocess.Popen([sys.executable, '-c', COUNT, kind, directory, '500']) for _ in range(3)
    ]
    with getattr(diskcache, kind)(directory) as cache:

        def count() -> None:
            for _ in range(250):
                cache.modify(
                    'state', lambda state: (state[0] + 1, state[1]), default=(0, 'x'), retry=True
                )

        threads = [threading.Thread(target=count) for _ in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert [process.wait(60) for process in processes] == [0, 0, 0]
        assert cache['state'] == (2000, 'x')
