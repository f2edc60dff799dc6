"""What does an operation cost where there are many items?

Caches of 1,000 to 1,000,000 items of 100 bytes, and one of 100,000 items whose values are in files.
The keys come in no order, so neighbours in the table are none in the index. Each tenth item has the
tag that is evicted, each tenth expires. ``FULL=1`` adds 10,000,000 items, and hours.

A get is not served from the memory tier (``memory_limit=0``). To clear, evict, expire and cull
works on a copy of the directory, and is told for each row that went. Who walks through all items,
or checks them, does so in a process of its own; *memory* is by how much that process grew
(``RssAnon``), of which SQLite may keep 32 MB as pages, in either package. The original's
``iterkeys`` passes over what it has returned with each step.

In lmdb, which is told not to wait for the disk, each operation is a transaction. It has no tags,
expiry or culling.
"""

from __future__ import annotations

import os
import random
import shutil
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from bench_peers import Lmdb, import_peer
from latencies import in_processes
from measuring import Row, Suite, Unable, main
from results import NATIVE, Figure

#: Items. In the second kind of cache each value is in a file.
SIZES = [1_000, 10_000, 100_000, 1_000_000]
FILES = 100_000
#: What a quick run measures.
QUICK = 10_000
#: The size that goals are for.
GOALS_AT = 1_000_000

VALUE = f'{"value":0>100}'
TAGS = 10
TAG = 'tag-5'
EXPIRES = 3  # The tag of the items that expire.
MINUTE = 60
#: Bytes from which on a value is in a file, where each is.
SMALL_FILE = 64
#: Operations that do not grow with the cache, and rows to cull.
SINGLE = 1000
TO_CULL = 5000
#: Items of a transaction while a cache is filled.
PORTION = 10_000

if os.environ.get('FULL', '') not in ('', '0'):
    SIZES.append(10_000_000)


def keys_of(size: int) -> list[str]:
    """Return the keys of a cache in the order in which they are stored."""
    keys = [f'key-{number}' for number in range(size)]
    random.Random(size).shuffle(keys)
    return keys


def items_of(size: int) -> Iterator[tuple[int, str]]:
    """Yield the number of the tag and the key of each item."""
    return ((place % TAGS, key) for place, key in enumerate(keys_of(size)))


class Packages:
    """How the two packages do it."""

    def __init__(self, contender: str) -> None:
        import diskcache

        self._make = diskcache.Cache
        #: The original has no memory tier.
        self._options: dict[str, Any] = {'memory_limit': 0} if contender == NATIVE else {}

    def open(self, path: str, **settings: Any) -> Any:
        return self._make(path, **self._options, **settings)

    def fill(self, path: str, size: int, files: bool) -> None:
        # Culling while it is filled would take what expires.
        options: dict[str, Any] = {'tag_index': 1, 'size_limit': 2**40, 'cull_limit': 0}
        if files:
            options['disk_min_file_size'] = SMALL_FILE
        with self._make(path, **options) as cache:
            items = items_of(size)
            for _ in range(0, size, PORTION):
                with cache.transact():
                    for (tag, key), _ in zip(items, range(PORTION), strict=False):
                        expire = MINUTE * MINUTE if tag == EXPIRES else None
                        cache.set(key, VALUE, expire=expire, tag=f'tag-{tag}')
            cache.reset('cull_limit', 10)

    def evict(self, cache: Any) -> int:
        return int(cache.evict(TAG))

    def expire(self, cache: Any) -> int:
        return int(cache.expire(now=time.time() + 2 * MINUTE * MINUTE))

    def cull(self, cache: Any) -> int:
        rows = min(len(cache) // 10, TO_CULL)
        cache.reset('size_limit', cache.volume() * (len(cache) - rows) // len(cache))
        return int(cache.cull())

    def clear(self, cache: Any) -> int:
        return int(cache.clear())


class GrowingLmdb(Lmdb):
    """An lmdb environment that has room for the most items."""

    def __init__(self, contender: str) -> None:
        import_peer('lmdb')

    def open(self, path: str, **settings: Any) -> GrowingLmdb:
        if settings:
            raise Unable('has no settings for that')
        super().__init__(path, map_size=2**34)
        return self

    def fill(self, path: str, size: int, files: bool) -> None:
        if files:
            raise Unable('has no files for values')
        store = self.open(path)
        with self._environment.begin(write=True) as transaction:
            for _, key in items_of(size):
                transaction.put(key.encode(), VALUE.encode())
        store.close()

    def __iter__(self) -> Iterator[str]:
        with self._environment.begin() as transaction:
            for key in transaction.cursor().iternext(values=False):
                yield key.decode()

    iterkeys = __iter__

    def check(self) -> None:
        raise Unable('has no tags, no expiry, no culling and no check')

    evict = expire = cull = lambda self, store: self.check()

    def clear(self, store: Any) -> int:
        with self._environment.begin(write=True) as transaction:
            count = transaction.stat()['entries']
            transaction.drop(self._environment.open_db(), delete=False)
        return int(count)


def library(contender: str) -> Any:
    """Return how a contender does it."""
    return (GrowingLmdb if contender == 'lmdb' else Packages)(contender)


class Growth:
    """Filled caches of a contender, and copies of them."""

    def __init__(self, directory: Path, contender: str) -> None:
        self.name = contender
        self.library = library(contender)
        self._directory = directory
        self._random = random.Random(0)
        #: Its items are looked up, replaced and added to: by size, and whether there are files.
        self._lasting: dict[tuple[int, bool], Any] = {}
        self._keys: dict[int, list[str]] = {}
        if contender == 'lmdb':
            self.version = str(import_peer('lmdb').__version__)

    def path(self, size: int, files: bool) -> Path:
        """Return a filled directory, which nobody changes."""
        path = self._directory / f'{size}{"-files" if files else ""}'
        if not path.exists():
            self.library.fill(str(path), size, files)
        return path

    def lasting(self, size: int, files: bool) -> Any:
        """Return a cache that stays open."""
        if (size, files) not in self._lasting:
            copy = self._copy(size, files, 'lasting')
            self._lasting[size, files] = library(self.name).open(str(copy))
        return self._lasting[size, files]

    def some_keys(self, size: int, count: int) -> list[str]:
        """Return keys at random, of items that do not expire."""
        if size not in self._keys:
            self._keys[size] = [key for tag, key in items_of(size) if tag != EXPIRES]
        return self._random.choices(self._keys[size], k=count)

    @contextmanager
    def copy(self, size: int, files: bool) -> Iterator[Any]:
        """Open a copy, which goes."""
        path = self._copy(size, files, 'copy')
        store = self.library.open(str(path))
        try:
            yield store
        finally:
            store.close()
            shutil.rmtree(path)

    def _copy(self, size: int, files: bool, name: str) -> Path:
        original = self.path(size, files)
        copy = original.with_name(f'{original.name}-{name}')
        # Value files are never written to, only removed.
        shutil.copytree(original, copy, copy_function=_copy_or_link)
        return copy

    def close(self) -> None:
        for store in self._lasting.values():
            store.close()


def _copy_or_link(source: str, target: str) -> None:
    if source.endswith('.val'):
        os.link(source, target)
    else:
        shutil.copyfile(source, target)


# --- what is measured --------------------------------------------------------------------------


def get(growth: Growth, size: int, files: bool, count: int) -> dict[str, float]:
    keys = growth.some_keys(size, count)
    get_item = growth.lasting(size, files).get
    return _each(keys, get_item)


def update(growth: Growth, size: int, files: bool, count: int) -> dict[str, float]:
    keys = growth.some_keys(size, count)
    set_item = growth.lasting(size, files).set
    return _each(keys, lambda key: set_item(key, VALUE))


def set_new(growth: Growth, size: int, files: bool, count: int) -> dict[str, float]:
    first = random.getrandbits(40)
    # Not behind one another in the index either.
    keys = [f'key-{(first + number * 7919) % 2**40}-new' for number in range(count)]
    set_item = growth.lasting(size, files).set
    return _each(keys, lambda key: set_item(key, VALUE))


def _each(keys: list[str], operation: Callable[[str], object]) -> dict[str, float]:
    started = time.perf_counter_ns()
    for key in keys:
        operation(key)
    return {'': (time.perf_counter_ns() - started) / len(keys)}


def _removal(name: str) -> Callable[[Growth, int, bool, int], dict[str, float]]:
    def remove(growth: Growth, size: int, files: bool, count: int) -> dict[str, float]:
        operation = getattr(growth.library, name)
        with growth.copy(size, files) as store:
            if growth.name != 'lmdb' and name == 'cull':
                store.expire(now=time.time() + 2 * MINUTE * MINUTE)
            started = time.perf_counter_ns()
            rows = operation(store)
            return {'': (time.perf_counter_ns() - started) / rows}

    return remove


def _walk(name: str) -> Callable[[Growth, int, bool, int], dict[str, float]]:
    def walk(growth: Growth, size: int, files: bool, count: int) -> dict[str, float]:
        path = str(growth.path(size, files))
        if name == 'check' and growth.name == 'lmdb':
            growth.library.check()
        ((elapsed, memory),) = in_processes(1, look, growth.name, path, name)
        return {'time': elapsed / size, 'memory': memory}

    return walk


def look(
    start: Callable[[], object], number: int, contender: str, path: str, name: str
) -> tuple[int, int]:
    """Look at all items, and tell how long it took, and by how many bytes the process grew."""
    store: Any = library(contender).open(path)
    if name == 'check':  # Once before, for what is imported then.
        with store.__class__() as empty:
            empty.check()
        shutil.rmtree(empty.directory)
    peak = before = _memory()
    done = threading.Event()

    def watch() -> None:
        nonlocal peak
        while not done.wait(0.005):
            peak = max(peak, _memory())

    watcher = threading.Thread(target=watch)
    watcher.start()
    start()
    started = time.perf_counter_ns()
    if name == 'check':
        store.check()
    else:
        _exhaust(store if name == 'iterate' else store.iterkeys())
    elapsed = time.perf_counter_ns() - started
    done.set()
    watcher.join()
    store.close()
    return elapsed, max(peak, _memory()) - before


def _exhaust(items: Iterable[object]) -> None:
    for _ in items:
        pass


def _memory() -> int:
    """Return the bytes of this process that are no file's; 0 where the system does not tell."""
    try:
        status = Path('/proc/self/status').read_text(encoding='ascii').splitlines()
    except OSError:
        return 0
    return 1024 * next(int(line.split()[1]) for line in status if line.startswith('RssAnon'))


#: Titles, functions and goals by names.
SINGLES = {
    'get': ('random get, not in memory', get, 2.5),
    'update': ('random update', update, 3),
    'set_new': ('set, new', set_new, None),
}
REMOVALS = {
    'evict': ('evict by tag', 2),
    'expire': ('expire', 2),
    'clear': ('clear', 2),
    'cull': ('cull', 2),
}
WALKS = {'iterkeys': ('iterkeys', 100), 'iterate': ('iterate', None), 'check': ('check', 1.2)}

suite: Suite[Growth] = Suite('growth', 'Growth', __doc__, Growth, {'lmdb': 'lmdb'})


def _add(
    name: str,
    title: str,
    size: int,
    files: bool,
    function: Callable[[Growth, int, bool, int], dict[str, float]],
    goal: float | None,
    every: int = 1,
) -> None:
    name = f'{name}_{"files" if files else size}'
    title = f'{f"{size:,} files" if files else f"{size:,}"}: {title}'
    if size != GOALS_AT:
        goal = None
    if name.partition('_')[0] in WALKS:
        figures = {
            'time': Figure(f'{name}.time', title, goal=goal),
            'memory': Figure(f'{name}.memory', f'{title}, memory', 'memory', compared=False),
        }
    else:
        figures = {'': Figure(name, title, goal=goal)}

    def measure(growth: Growth, count: int) -> dict[str, float]:
        if not count:
            raise Unable(f'has no more than {QUICK:,} items in a quick run')
        return function(growth, size, files, count)

    quick = 0 if size > QUICK else SINGLE // 10
    suite.rows[name] = Row(name, SINGLE, quick, figures, measure, every)


def _add_all(size: int, files: bool) -> None:
    for name, (title, function, goal) in SINGLES.items():
        _add(name, title, size, files, function, goal)
    for name, (title, aim) in REMOVALS.items():
        _add(name, f'{title}, each', size, files, _removal(name), aim)
    for name, (title, wish) in WALKS.items():
        if not files or name == 'check':
            # The original takes minutes for the keys of a million.
            every = 3 if name == 'iterkeys' and size >= GOALS_AT else 1
            _add(name, f'{title}, each', size, files, _walk(name), wish, every)


for items in SIZES:
    _add_all(items, False)
_add_all(FILES, True)


if __name__ == '__main__':
    main(suite, rounds=3, quick_rounds=1, warm_up=False)
