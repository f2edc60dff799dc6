"""Finalizers, and references that are let go."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable

import pytest
from interpreter import Interpreter

import diskcache


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


@pytest.mark.parametrize('uses_connection', [False, True])
def test_a_cache_that_a_finalizer_has_brought_back_ends_in_a_cycle(
    alone: Interpreter, directory: str, uses_connection: bool
) -> None:
    """Its finalizer is not called again, and the collector may clear its Connection first."""

    def scenario(directory: str, uses_connection: bool) -> None:
        import gc

        class Keeper:
            def __init__(self, cache: diskcache.Cache) -> None:
                self.cache, cache.keeper = cache, self

            def __del__(self) -> None:
                kept.append(self)

        kept: list = []
        Keeper(diskcache.Cache(directory))
        gc.collect()
        cache = kept[0].cache
        cache['key'] = 1
        if uses_connection:
            cache._con.execute('SELECT 1')
        later: list = [cache]
        later.append(later)  # is cleared after the Connection, and the cache ends then
        kept.clear()
        del cache, later
        gc.collect()
        with diskcache.Cache(directory, timeout=0) as cache:
            assert cache['key'] == 1
            cache['key'] = 2

    alone.run(scenario, directory=directory, uses_connection=uses_connection)


def test_the_collector_does_not_close_the_connection_of_a_cache_in_a_cycle(
    alone: Interpreter, directory: str
) -> None:
    """Without a GIL it finalizes what the oldest thread has made before what others have."""

    def scenario(directory: str) -> None:
        import concurrent.futures
        import gc
        import warnings

        with (
            concurrent.futures.ThreadPoolExecutor(1) as other,
            warnings.catch_warnings(record=True) as caught,
        ):
            warnings.simplefilter('always')
            cache = other.submit(diskcache.Cache, directory).result()
            cache.itself = cache
            cache.stats(enable=True)
            other.submit(cache.close).result()
            cache.get('absent')
            del cache
            gc.collect()
        assert [str(warning.message) for warning in caught] == []
        with diskcache.Cache(directory) as cache:
            assert cache.stats() == (0, 1)

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
