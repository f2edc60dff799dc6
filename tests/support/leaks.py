"""Operations again and again: memory, objects and descriptors must stay what they are.

A *round* is each operation once, those that fail included. After some rounds everything that is
kept for later is there. From then on a round must leave nothing behind: the blocks that CPython has
allocated, the objects that the garbage collector knows, the references to the objects that are
stored, the memory of the process that is its own, and its descriptors.

    python tests/support/leaks.py --seconds 600

A build of Python that counts references is not needed.
"""

from __future__ import annotations

import argparse
import contextlib
import gc
import os
import pickle
import sqlite3
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

import diskcache

LARGE = b'x' * 50_000
MINIMUM = 60  # Rounds, of which a half goes before the first measurement.


class Unpicklable:
    """What cannot be pickled."""

    def __reduce__(self) -> str:
        raise TypeError('not this')


class Operations:
    """All operations, on containers of this process."""

    def __init__(self, directory: str) -> None:
        self.directory = directory
        self.cache = diskcache.Cache(f'{directory}/cache', statistics=1, tag_index=1, timeout=1)
        self.small = diskcache.Cache(
            f'{directory}/small', size_limit=500_000, eviction_policy='least-recently-used'
        )
        self.fanout = diskcache.FanoutCache(f'{directory}/fanout', 2)
        self.deque = diskcache.Deque(directory=f'{directory}/deque', maxlen=10)
        self.index = diskcache.Index(f'{directory}/index')
        self.square = self.cache.memoize(signature=True)(lambda number: number * number)
        self.key = ('a key', 5)
        self.value = ['a value', {'of': 'several objects'}]
        self.round = 0

    def names(self) -> list[str]:
        """Return the names of all operations."""
        return [name for name in vars(type(self)) if name.startswith('do_')]

    def do_set_and_get(self) -> None:
        for cache in (self.cache, self.small, self.fanout):
            for key in (1, 'text', b'bytes', 1.5, self.key):
                cache.set(key, self.value, expire=1000, tag='tag')
                assert cache.get(key, expire_time=True, tag=True)[0] == self.value
                assert cache.get('missing', self.value) is self.value
                cache[key] = LARGE
                assert cache[key] == LARGE
                assert key in cache
                with cache.read(key) as file:
                    assert len(file.read()) == len(LARGE)
                assert cache.read(key, mmap=True) == LARGE
                cache.set(key, [self.value, LARGE * 6])
                assert cache[key] == [self.value, LARGE * 6]
                cache[key] = LARGE
                cache.touch(key, 500)
                assert cache.pop(key) == LARGE
                assert cache.add(key, self.value)
                assert cache.delete(key)

    def do_culling(self) -> None:
        for number in range(7):
            self.small[self.round % 3, number] = LARGE

    def do_counting(self) -> None:
        for cache in (self.cache, self.fanout):
            cache.incr('count', 3)
            cache.decr('count', 3)
            cache.set('text', 'text')
            with contextlib.suppress(TypeError):
                cache.incr('text')

    def do_many(self) -> None:
        items = {(self.round % 3, number): [number] for number in range(50)}
        for cache in (self.cache, self.fanout):
            cache.set_many(items.items(), expire=100)
            assert cache.get_many(items) == items
            cache.add_many(items.items())
            cache.touch_many(items)
            cache.delete_many(items)

    def do_queues(self) -> None:
        for prefix in (None, 'prefix'):
            for side in ('front', 'back'):
                self.cache.push(self.value, prefix, side)
                assert self.cache.peek(prefix, side=side)[1] == self.value
                self.cache.push(LARGE, prefix)
                self.cache.pull(prefix, side='back')
                self.cache.pull(prefix)

    def do_transactions(self) -> None:
        with self.cache.transact(), self.cache.transact():
            self.cache['a'] = LARGE
        with contextlib.suppress(KeyError), self.cache.transact():
            self.cache['a'] = LARGE[1:]
            raise KeyError
        assert self.cache['a'] == LARGE

    def do_iterating(self) -> None:
        for cache in (self.cache, self.fanout, self.index):
            list(cache), list(reversed(cache)), list(cache.items())
            next(iter(cache), None)
        list(self.cache.iterkeys()), self.cache.peekitem()

    def do_layers(self) -> None:
        self.deque.extend([self.value, LARGE, 3])
        self.deque.rotate(1)
        self.deque.appendleft(4)
        assert self.deque.pop() is not None
        self.index.update(a=self.value, b=LARGE)
        assert self.index.popitem()[0] == 'b'
        self.index.setdefault('c', self.value)
        assert len({*self.index}) == 2

    def do_recipes(self) -> None:
        with diskcache.Lock(self.cache, 'lock'), diskcache.RLock(self.cache, 'rlock'):
            self.square(self.round % 5)
        diskcache.Averager(self.cache, 'average').add(1)

    def do_cleaning(self) -> None:
        self.cache.set('gone', 1, expire=0.0001)
        self.cache.set('tagged', LARGE, tag='of this round')
        self.cache.evict('of this round')
        self.cache.expire()
        self.cache.cull(), self.cache.volume(), self.cache.stats(reset=True)
        self.cache.reset('cull_limit', 10)
        if self.round % 10 == 1:
            assert self.cache.check(fix=True) == []
            self.cache.compact()
            self.fanout.clear()

    def do_failing(self) -> None:
        for call, error in (
            (lambda: self.cache['missing'], KeyError),
            (lambda: self.cache.set('key', Unpicklable()), TypeError),
            (lambda: self.cache.set(Unpicklable(), 1), TypeError),
            (lambda: self.cache.set('key', self.value, tag=()), TypeError),
            (lambda: self.cache.set('key', [5], read=True), TypeError),
            (lambda: self.cache.get(), TypeError),
            (lambda: self.cache.read('missing'), KeyError),
            (lambda: self.cache._sql('SELECT nothing FROM nowhere'), sqlite3.Error),
        ):
            try:
                call()
            except error:
                continue
            raise AssertionError(f'no {error.__name__}')

    def do_timeouts(self) -> None:
        with (
            diskcache.Cache(self.cache.directory, timeout=0) as other,
            self.cache.transact(),
            contextlib.suppress(diskcache.Timeout),
        ):
            other.set('key', LARGE)

    def do_opening(self) -> None:
        copy = pickle.loads(pickle.dumps(self.cache))
        assert copy.get('a') is not None
        copy.close()
        with diskcache.FanoutCache(f'{self.directory}/fanout', 2) as fanout:
            fanout['key'] = self.value
        self.index.cache.close()

    def do_connections(self) -> None:
        self.small._con.execute('SELECT COUNT(*) FROM Cache').fetchone()
        with self.small._transact() as (sql, _):
            sql('SELECT COUNT(*) FROM Cache').fetchone()

    def do_threads(self) -> None:
        def work() -> None:
            for number in range(2):
                self.cache.set((number, 'thread'), LARGE, retry=True)
                self.cache.get((number, 'thread'))
                self.small._con.execute('SELECT COUNT(*) FROM Cache').fetchone()

        threads = [threading.Thread(target=work) for _ in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    def do_forks(self) -> None:
        if self.round % 10 != 1 or not hasattr(os, 'fork'):
            return
        pid = os.fork()
        if pid == 0:
            code = 1
            try:
                self.do_set_and_get()
                code = 0
            finally:
                os._exit(code)
        assert os.waitpid(pid, 0)[1] == 0


@dataclass
class Measurement:
    """What is there between two rounds."""

    rounds: int
    blocks: int
    objects: int
    references: int
    descriptors: int
    kilobytes: int


def measure(operations: Operations) -> Measurement:
    """Count what is there."""
    gc.collect()
    kilobytes = 0
    with contextlib.suppress(FileNotFoundError), open('/proc/self/status') as status:
        kilobytes = next(int(line.split()[1]) for line in status if line.startswith('RssAnon'))
    has_descriptors = os.path.isdir('/proc/self/fd')
    return Measurement(
        operations.round,
        sys.getallocatedblocks(),
        len(gc.get_objects()),
        sys.getrefcount(operations.value) + sys.getrefcount(operations.key),
        len(os.listdir('/proc/self/fd')) if has_descriptors else 0,
        kilobytes,
    )


def differences(before: Measurement, after: Measurement) -> list[str]:
    """Return what has grown by more than what is kept for later."""
    rounds = after.rounds - before.rounds
    allowed = {
        # A block in ten rounds is less than the least that an operation could leave.
        'blocks': 600 + rounds // 10,
        'objects': 300 + rounds // 100,
        'references': 4,
        'descriptors': 12,  # Threads that meet make the pools larger.
        'kilobytes': 8_000 + rounds // 10,
    }
    return [
        f'{name}: {getattr(before, name)}, {rounds} rounds later {getattr(after, name)}'
        for name, growth in allowed.items()
        if getattr(after, name) - getattr(before, name) > growth
    ]


def run(
    seconds: float, directory: str, tell: Callable[[str], object] = lambda line: None
) -> list[str]:
    """Go round for so long; return what has grown."""
    operations = Operations(directory)
    names = operations.names()
    start = time.monotonic()
    before: Measurement | None = None
    told = 0.0
    while True:
        passed = time.monotonic() - start
        if before is None and passed >= seconds / 5 and operations.round >= MINIMUM // 2:
            before = measure(operations)
        if before is not None and passed >= seconds and operations.round >= MINIMUM:
            break
        if passed - told > 60:
            told = passed
            tell(f'{passed:.0f} s: {measure(operations)}')
        operations.round += 1
        for name in names:
            getattr(operations, name)()
    after = measure(operations)
    tell(f'{before}\n{after}')
    return differences(before, after)


def main() -> int:
    """Go round; return the exit status: 1 if something has grown."""
    parser = argparse.ArgumentParser(description='Repeat operations, and look for leaks.')
    parser.add_argument('--seconds', type=float, default=60)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix='leaks-') as directory:
        found = run(options.seconds, directory, lambda line: print(line, flush=True))
    print('\n'.join(found) or 'nothing has grown')
    return 1 if found else 0


if __name__ == '__main__':
    sys.exit(main())
