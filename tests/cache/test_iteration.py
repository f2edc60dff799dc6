"""Iteration while others write, delete, interrupt or share the iterator."""

from __future__ import annotations

import sqlite3
import sys
import threading
from collections.abc import Callable, Iterator

import pytest
from interpreter import Interpreter

import diskcache


def test_a_prefix_may_contain_nul(cache: diskcache.Cache, assert_intact: Callable) -> None:
    keys = [cache.push(number, prefix='a\0b') for number in range(2)]
    assert keys == ['a\0b-500000000000000', 'a\0b-500000000000001']
    cache.push('other', prefix='a')
    cache.push('another', prefix='a\0c')
    assert cache.peek(prefix='a\0b') == (keys[0], 0)
    assert cache.pull(prefix='a\0b', side='back') == (keys[1], 1)
    assert cache.pull(prefix='a\0b') == (keys[0], 0)
    assert cache.pull(prefix='a\0b') == (None, None)
    assert cache.pull(prefix='a')[1] == 'other'
    assert cache.pull(prefix='a\0c')[1] == 'another'
    assert_intact(cache)


@pytest.mark.parametrize('direction', [iter, reversed, diskcache.Cache.iterkeys])
def test_iteration_goes_on_after_an_interruption(
    cache: diskcache.Cache, direction: Callable[[diskcache.Cache], Iterator]
) -> None:
    for number in range(300):
        cache[f'key{number}'] = number
    expected = list(direction(cache))
    con = cache._con
    interruptions = 0
    for moment in range(1, 400, 13):
        calls = 0

        def interrupt(moment: int = moment) -> bool:
            nonlocal calls
            calls += 1
            return calls == moment

        iterator = direction(cache)
        con.set_progress_handler(interrupt, 10)
        seen = []
        while True:
            try:
                seen.append(next(iterator))
            except StopIteration:
                break
            except sqlite3.OperationalError:
                interruptions += 1
        con.set_progress_handler(None, 0)
        assert seen == expected
    assert interruptions > 0


@pytest.mark.parametrize('size', [10, 1_000], ids=lambda size: f'{size} bytes')
def test_thousands_of_keys_come_once_each_and_in_order(cache: diskcache.Cache, size: int) -> None:
    keys = [f'{number:0{size}}' for number in range(3_000)]
    cache.set_many((key, None) for key in keys)
    assert list(cache) == list(cache.iterkeys()) == keys
    assert list(reversed(cache)) == list(cache.iterkeys(reverse=True)) == keys[::-1]


def test_what_is_deleted_on_the_way_does_not_end_an_iteration(cache: diskcache.Cache) -> None:
    keys = list(range(3_000))
    cache.set_many((key, None) for key in keys)
    for iterate in (iter, reversed):
        seen = []
        for key in iterate(cache):  # type: ignore[operator]
            seen.append(key)
            if key % 500 == 0:
                cache.delete_many([key - 1, key, key + 1])
        assert set(seen) >= set(cache)
        assert len(seen) == len(set(seen))


def test_threads_that_share_an_iterator_get_each_key_at_most_once(
    alone: Interpreter, directory: str
) -> None:
    def scenario(directory: str) -> None:
        cache = diskcache.Cache(directory, sqlite_journal_mode='delete')
        keys = {f'key{number}' + 'x' * 300 for number in range(1_000)}
        with cache.transact():
            for key in keys:
                cache[key] = 1
        sys.setswitchinterval(1e-5)

        def consume(iterator: object, seen: list, errors: list) -> None:
            while True:
                try:
                    seen.append(next(iterator))
                except StopIteration:
                    return
                except ValueError:
                    pass  # Another thread is in the iterator.
                except BaseException as error:
                    errors.append(repr(error))
                    return

        for _ in range(15):
            arguments = iter(cache), [], []
            threads = [
                threading.Thread(target=consume, args=arguments, daemon=True) for _ in range(4)
            ]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join(30)
            assert not any(thread.is_alive() for thread in threads)
            _, seen, errors = arguments
            assert errors == [], errors
            assert len(seen) == len(set(seen))
            assert set(seen) == keys

    alone.run(scenario, directory=directory)


def test_an_iterator_that_is_reading_lets_nobody_else_in(directory: str) -> None:
    """Getting a connection runs Python, or gives the GIL up: who comes in finds it in use."""

    class Looking(diskcache.Cache):
        iterator: Iterator | None = None
        refused = 0

        @property
        def _con(self) -> sqlite3.Connection:
            iterator, self.iterator = self.iterator, None
            if iterator is not None:
                with pytest.raises(ValueError, match='in use'):
                    next(iterator)
                self.refused += 1
            return super()._con

    with Looking(directory) as cache:
        cache.set_many(dict.fromkeys(range(300)))
        keys = iter(cache)
        seen = []
        for _ in range(300):
            cache.iterator = keys
            seen.append(next(keys))
        assert seen == list(range(300))
        assert cache.refused > 1


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != 'linux', reason='reads /proc')
@pytest.mark.parametrize('walk', ['iterate', 'iterkeys', 'check'])
def test_memory_does_not_grow_with_the_rows(other: Interpreter, directory: str, walk: str) -> None:
    """Keys are read in pages; SQLite's own pages have a limit. All keys would be 40 MB."""
    with diskcache.Cache(directory, sqlite_cache_size=-1000) as cache:
        cache.set_many(
            (f'a key of some fifty bytes, as a web page has, {n}', n) for n in range(300_000)
        )
    script = """
    import pathlib

    def memory():
        status = pathlib.Path('/proc/self/status').read_text().splitlines()
        return next(int(line.split()[1]) for line in status if line.startswith('RssAnon'))

    with diskcache.Cache(directory, memory_limit=0) as cache:
        with diskcache.Cache() as empty:
            empty.check()  # for what it imports
        before = peak = memory()
        if walk == 'check':
            assert cache.check() == []
        else:
            for number, _ in enumerate(cache if walk == 'iterate' else cache.iterkeys()):
                if number % 10_000 == 0:
                    peak = max(peak, memory())
            assert number == 299_999
        grown = max(peak, memory()) - before
    grown
    """
    assert other.run(script, directory=directory, walk=walk) < 8 * 1024  # kilobytes
