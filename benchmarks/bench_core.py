"""What do the single operations of a Cache cost, compared with the original?

Each row is one operation on a cache with default settings (unless it says otherwise) that holds a
thousand small items, by one thread, with nobody else at work on it. Sets that are not in a
transaction commit one by one, so they pay for their share of the checkpoints too. *Hot* is what has
been read before, so that it is in this process's memory; *cold* is a cache whose ``memory_limit``
is 0, which keeps nothing there. The original knows no difference. ``dict.get`` is measured in the
same loop as ``get``, with the same keys.
"""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from measuring import Stopwatch, Suite, main
from results import ORIGINAL

if TYPE_CHECKING:
    from diskcache import Cache

ITEMS = 1000
KEYS = [f'key-{number}' for number in range(ITEMS)]
NEW_KEYS = [f'new-{number}' for number in range(ITEMS)]
ABSENT_KEYS = [f'absent-{number}' for number in range(ITEMS)]
TUPLE_KEYS = [('user', number, 'profile') for number in range(ITEMS)]
VALUE = 'a small value'
RECORD = {'id': 4711, 'name': 'Ada Lovelace', 'mail': 'ada@example.org', 'score': 0.5, 'tags': []}
BYTES_10_KB = os.urandom(10_000)
BYTES_100_KB = os.urandom(100_000)

#: Prints what the import statement alone takes, in nanoseconds.
TIME_IMPORT = (
    'import time\n'
    'started = time.perf_counter_ns()\n'
    'import diskcache\n'
    'print(time.perf_counter_ns() - started)\n'
)


class Caches:
    """The caches that the rows work on."""

    def __init__(self, directory: Path, contender: str) -> None:
        """Make and fill them.

        :param directory: an empty one
        :param contender: which package this is
        """
        # Here and not above: in the driver's process there may be no diskcache.
        from diskcache import Cache

        self.contender = contender
        self._directory = directory
        self.open = Cache
        self.closed_directory = str(directory / 'closed')
        self.small = self._make('small')
        self.various = self._make('various')
        with self.various.transact():
            for key in TUPLE_KEYS:
                self.various[key] = RECORD
        self.dict = dict.fromkeys(KEYS, VALUE)
        self.expiring = self._make('expiring')
        with self.expiring.transact():
            for name in KEYS:
                self.expiring.touch(name, expire=3600)
        self.cold = self._make('cold')
        self.cold.memory_limit = 0  # to the original an attribute like any other
        for cache in (self.various, self.cold):
            cache['10 KB'] = BYTES_10_KB
            cache['100 KB'] = BYTES_100_KB
        self.updated = self._make('updated')
        #: Rows that fill it empty it, too.
        self.scratch = Cache(str(directory / 'scratch'))
        self.recent = self._make('recent', eviction_policy='least-recently-used')
        self.frequent = self._make('frequent', eviction_policy='least-frequently-used')
        self.counted = self._make('counted', statistics=True)
        self._make('closed').close()

    def _make(self, name: str, **settings: Any) -> Cache:
        cache = self.open(str(self._directory / name), **settings)
        with cache.transact():
            for key in KEYS:
                cache[key] = VALUE
        return cache

    def close(self) -> None:
        for cache in (
            self.small,
            self.various,
            self.expiring,
            self.cold,
            self.updated,
            self.scratch,
            self.recent,
            self.frequent,
            self.counted,
        ):
            cache.close()


suite: Suite[Caches] = Suite('core', 'Single operations', __doc__, Caches)

# --- reading -----------------------------------------------------------------------------------


def _time_get(
    get: Callable[[str], object], count: int, watch: Stopwatch, keys: Sequence[str] = KEYS
) -> None:
    keys = list(itertools.islice(itertools.cycle(keys), count))
    with watch:
        for key in keys:
            get(key)


@suite.row('dict.get', count=30_000, reference=True, every=5)
def dict_get(caches: Caches, count: int, watch: Stopwatch) -> None:
    _time_get(caches.dict.get, count, watch)


# So many that what other rows have left of the processor's caches does not matter.
@suite.row('get, hot', count=30_000, goal=150, every=5, limit='dict_get')
def get_hot(caches: Caches, count: int, watch: Stopwatch) -> None:
    _time_get(caches.small.get, count, watch)


suite.quotient(
    'get_hot_multiple', 'get, hot: multiple of dict.get', 'get_hot', 'dict_get', at_most=2
)


@suite.row('get, hot, right after other work', count=3000)
def get_hot_after_others(caches: Caches, count: int, watch: Stopwatch) -> None:
    _time_get(caches.small.get, count, watch)


@suite.row('get, hot, expiring', count=3000)
def get_expiring(caches: Caches, count: int, watch: Stopwatch) -> None:
    _time_get(caches.expiring.get, count, watch)


@suite.row('get, cold', count=2000, goal=4, limit='select')
def get_cold(caches: Caches, count: int, watch: Stopwatch) -> None:
    _time_get(caches.cold.get, count, watch)


@suite.row('get, hot miss', count=3000, goal=80, limit='dict_get')
def get_miss(caches: Caches, count: int, watch: Stopwatch) -> None:
    _time_get(caches.small.get, count, watch, ABSENT_KEYS)


@suite.row('get, cold miss', count=2000, limit='select')
def get_cold_miss(caches: Caches, count: int, watch: Stopwatch) -> None:
    _time_get(caches.cold.get, count, watch, ABSENT_KEYS)


@suite.row('in, hot', count=3000, goal=80, limit='dict_get')
def contains(caches: Caches, count: int, watch: Stopwatch) -> None:
    cache = caches.small
    keys = list(itertools.islice(itertools.cycle(KEYS), count))
    with watch:
        for key in keys:
            key in cache  # noqa: B015


@suite.row('get, hot, 10 KB', count=2000, goal=150, limit='dict_get')
def get_10_kb(caches: Caches, count: int, watch: Stopwatch) -> None:
    _time_get(caches.various.get, count, watch, ['10 KB'])


@suite.row('get, cold, 10 KB', count=1000)
def get_cold_10_kb(caches: Caches, count: int, watch: Stopwatch) -> None:
    _time_get(caches.cold.get, count, watch, ['10 KB'])


@suite.row('get, hot, 100 KB', count=500, goal=4, limit='memcpy_100_kb')
def get_100_kb(caches: Caches, count: int, watch: Stopwatch) -> None:
    _time_get(caches.various.get, count, watch, ['100 KB'])


@suite.row('get, cold, 100 KB', count=500)
def get_cold_100_kb(caches: Caches, count: int, watch: Stopwatch) -> None:
    _time_get(caches.cold.get, count, watch, ['100 KB'])


@suite.row('cache[tuple] -> dict, hot', count=ITEMS, goal=25, limit='unpickling')
def get_tuple(caches: Caches, count: int, watch: Stopwatch) -> None:
    cache = caches.various
    keys = TUPLE_KEYS[:count]
    for key in keys:  # Other rows may have written, or filled the memory.
        cache[key]
    with watch:
        for key in keys:
            cache[key]


@suite.row('memoize, hit', count=1000, goal=60, limit='lru_cache')
def memoize_hit(caches: Caches, count: int, watch: Stopwatch) -> None:
    @caches.various.memoize(name='square')
    def square(number: int) -> int:
        return number * number

    numbers = list(itertools.islice(itertools.cycle(range(100)), count))
    for number in range(100):
        square(number)
    with watch:
        for number in numbers:
            square(number)


# What the batch before has noted is written in each of these: a second has passed.
@suite.row('get, least-recently-used', count=20_000, goal=200, every=11, limit='dict_get')
def get_least_recently_used(caches: Caches, count: int, watch: Stopwatch) -> None:
    _time_get(caches.recent.get, count, watch)


@suite.row('get, least-frequently-used', count=20_000, goal=200, every=11, limit='dict_get')
def get_least_frequently_used(caches: Caches, count: int, watch: Stopwatch) -> None:
    _time_get(caches.frequent.get, count, watch)


@suite.row('get, statistics', count=20_000, goal=200, every=11, limit='dict_get')
def get_statistics(caches: Caches, count: int, watch: Stopwatch) -> None:
    _time_get(caches.counted.get, count, watch)


# --- writing -----------------------------------------------------------------------------------


def _time_set(cache: Cache, keys: list[Any], value: object, count: int, watch: Stopwatch) -> None:
    set_item = cache.set
    keys = list(itertools.islice(itertools.cycle(keys), count))
    with watch:
        for key in keys:
            set_item(key, value)


@suite.row('set, update', count=500, goal=3.3, limit='update')
def set_update(caches: Caches, count: int, watch: Stopwatch) -> None:
    _time_set(caches.updated, KEYS, VALUE, count, watch)


@suite.row('set, new key', count=500, goal=3.3, limit='insert')
def set_new(caches: Caches, count: int, watch: Stopwatch) -> None:
    _time_set(caches.scratch, NEW_KEYS, VALUE, count, watch)
    caches.scratch.clear()


@suite.row('set, tuple -> dict', count=300, goal=4)
def set_tuple(caches: Caches, count: int, watch: Stopwatch) -> None:
    _time_set(caches.various, TUPLE_KEYS, RECORD, count, watch)


@suite.row('set, 10 KB', count=300, goal=4)
def set_10_kb(caches: Caches, count: int, watch: Stopwatch) -> None:
    _time_set(caches.updated, ['10 KB'], BYTES_10_KB, count, watch)


@suite.row('set, 100 KB', count=30, goal=6)
def set_100_kb(caches: Caches, count: int, watch: Stopwatch) -> None:
    _time_set(caches.updated, ['100 KB'], BYTES_100_KB, count, watch)


@suite.row('set in a transaction, update', count=ITEMS, goal=7, limit='update_in_transaction')
def set_update_in_transaction(caches: Caches, count: int, watch: Stopwatch) -> None:
    cache = caches.updated
    set_item = cache.set
    with watch, cache.transact():
        for key in KEYS:
            set_item(key, VALUE)


@suite.row('set in a transaction, new key', count=ITEMS, goal=7, limit='insert_in_transaction')
def set_new_in_transaction(caches: Caches, count: int, watch: Stopwatch) -> None:
    cache = caches.scratch
    set_item = cache.set
    with watch, cache.transact():
        for key in NEW_KEYS:
            set_item(key, VALUE)
    cache.clear()


@suite.row('set_many, new keys, per item', count=ITEMS, goal=7, limit='insert_in_transaction')
def set_many(caches: Caches, count: int, watch: Stopwatch) -> None:
    # The original has nothing but a loop in a transaction.
    cache = caches.scratch
    items = dict.fromkeys(NEW_KEYS, VALUE)
    if caches.contender == ORIGINAL:
        with watch, cache.transact():
            for key, value in items.items():
                cache.set(key, value)
    else:
        with watch:
            cache.set_many(items)
    cache.clear()


@suite.row('touch', count=500, limit='touch')
def touch(caches: Caches, count: int, watch: Stopwatch) -> None:
    touch_item = caches.updated.touch
    keys = KEYS[:count]
    with watch:
        for key in keys:
            touch_item(key)


@suite.row('add', count=500, goal=3.3, limit='insert')
def add(caches: Caches, count: int, watch: Stopwatch) -> None:
    add_item = caches.scratch.add
    keys = NEW_KEYS[:count]
    with watch:
        for key in keys:
            add_item(key, VALUE)
    caches.scratch.clear()


@suite.row('incr', count=500, goal=2.2, limit='increment')
def incr(caches: Caches, count: int, watch: Stopwatch) -> None:
    increment = caches.updated.incr
    with watch:
        for _ in itertools.repeat(None, count):
            increment('counter')


@suite.row('delete', count=500, goal=3.3, limit='delete')
def delete(caches: Caches, count: int, watch: Stopwatch) -> None:
    cache = caches.scratch
    delete_item = cache.delete
    keys = NEW_KEYS[:count]
    _fill(cache, keys)
    with watch:
        for key in keys:
            delete_item(key)


@suite.row('pop', count=500, limit='delete')
def pop(caches: Caches, count: int, watch: Stopwatch) -> None:
    cache = caches.scratch
    pop_item = cache.pop
    keys = NEW_KEYS[:count]
    _fill(cache, keys)
    with watch:
        for key in keys:
            pop_item(key)


@suite.row('push', count=500, goal=3, limit='insert')
def push(caches: Caches, count: int, watch: Stopwatch) -> None:
    push_item = caches.scratch.push
    with watch:
        for _ in itertools.repeat(None, count):
            push_item(VALUE)
    caches.scratch.clear()


@suite.row('pull', count=500, goal=2.5, limit='delete')
def pull(caches: Caches, count: int, watch: Stopwatch) -> None:
    cache = caches.scratch
    pull_item = cache.pull
    with cache.transact():
        for _ in itertools.repeat(None, count):
            cache.push(VALUE)
    with watch:
        for _ in itertools.repeat(None, count):
            pull_item()


@suite.row('evict, per key', count=ITEMS)
def evict(caches: Caches, count: int, watch: Stopwatch) -> None:
    cache = caches.scratch
    with cache.transact():
        for key in NEW_KEYS:
            cache.set(key, VALUE, tag='new')
    with watch:
        cache.evict('new')


@suite.row('expire, per key', count=ITEMS)
def expire(caches: Caches, count: int, watch: Stopwatch) -> None:
    cache = caches.scratch
    with cache.transact():
        for key in NEW_KEYS:
            cache.set(key, VALUE, expire=3600)
    with watch:
        cache.expire(time.time() + 7200)


@suite.row('clear of 10,000, per key', count=10 * ITEMS, goal=10, every=5)
def clear(caches: Caches, count: int, watch: Stopwatch) -> None:
    cache = caches.scratch
    _fill(cache, [f'many-{number}' for number in range(count)])
    with watch:
        cache.clear()


def _fill(cache: Cache, keys: list[str]) -> None:
    with cache.transact():
        for key in keys:
            cache.set(key, VALUE)


# --- the cache as a whole ----------------------------------------------------------------------


@suite.row('len', count=2000, goal=4, limit='length')
def length(caches: Caches, count: int, watch: Stopwatch) -> None:
    cache = caches.small
    with watch:
        for _ in itertools.repeat(None, count):
            len(cache)


@suite.row('iterate, per key', count=10 * ITEMS, goal=4, limit='keys')
def iterate(caches: Caches, count: int, watch: Stopwatch) -> None:
    cache = caches.small
    with watch:
        for _ in itertools.repeat(None, count // ITEMS):
            for _key in cache:
                pass


@suite.row('open an existing cache', count=5, goal=6, limit='open_database')
def open_existing(caches: Caches, count: int, watch: Stopwatch) -> None:
    open_cache, directory = caches.open, caches.closed_directory
    for _ in itertools.repeat(None, count):
        with watch:
            cache = open_cache(directory)
        cache.close()


@suite.row('open, get, close', count=5)
def open_get_close(caches: Caches, count: int, watch: Stopwatch) -> None:
    # Beside the row above, because opening could be made fast by putting work off.
    open_cache, directory = caches.open, caches.closed_directory
    with watch:
        for _ in itertools.repeat(None, count):
            cache = open_cache(directory)
            cache.get('key-0')
            cache.close()


@suite.row('import diskcache', count=1, goal=1)
def import_package(caches: Caches, count: int, watch: Stopwatch) -> None:
    # Inherits PYTHONPATH from the worker, and with it the package. Without site (-S), because an
    # environment's .pth files, those of editable installations above all, import half of what the
    # package needs before the clock starts.
    finished = subprocess.run(
        [sys.executable, '-S', '-c', TIME_IMPORT], check=True, stdout=subprocess.PIPE, text=True
    )
    watch.add(int(finished.stdout))


if __name__ == '__main__':
    main(suite, rounds=60)
