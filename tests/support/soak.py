"""A soak: everything at once, for as long as one likes, and nothing may be lost.

Eight processes, one of them with sixteen threads and one with the original package, work on the
same Cache, FanoutCache, Deque, Index and Lock, and on a small Cache that is always full. Each
thread keeps an account of what it has done, and in the end the accounts must agree with what is
stored:

* sums: the counters that all increment hold the sum of all increments, whether made by `incr`, in
  a transaction, or under a recipe's lock;
* queues: each item is taken once, in the order in which its producer put it, and what has not been
  taken is still there;
* keys: those that only one thread writes hold what it committed last, at any time. What it has
  rolled back never was. A `set` of a FanoutCache that returned False has stored nothing;
* files: each row has its file, and each file its row; `check` finds nothing, also meanwhile.

Besides, no operation may take longer than the timeout of a cache, and no process may end with more
descriptors than it began with. How long the longest operation took, and how large the log has
been, is told in the end.

    python tests/support/soak.py --seconds 600

Processes, the board that stops them, and how violations are told are those of coherence.py.
"""

from __future__ import annotations

import argparse
import contextlib
import faulthandler
import gc
import os
import pickle
import random
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from coherence import (
    LARGE,
    MISSING,
    OURS,
    PACKAGE,
    READY,
    ROOT,
    Board,
    Interpreters,
    RollBack,
    Witness,
    content,
    key_of,
    number_in,
    stories_in,
)
from consistency import stored_filenames, value_files

import diskcache

TIMEOUT = 60  # Seconds: that of a Cache, unless told otherwise. No operation may take longer.
SHARDS = 4
KEYS = 8  # Keys that a thread has for itself, in each container.
CREW = (16, 2, 2, 2, 2, 2, 2)  # Threads of each process with this package.
ORIGINALS = (2,)  # The same with the original package.
SMALL = {'size_limit': 3_000_000, 'eviction_policy': 'least-recently-used'}


# --- what all work on ----------------------------------------------------------------------------


class Stores:
    """The containers, as one process has them open."""

    def __init__(self, scratch: str) -> None:
        """Open them all, in the directory `scratch`."""
        self.cache = diskcache.Cache(f'{scratch}/cache')
        self.fanout = diskcache.FanoutCache(f'{scratch}/fanout', SHARDS)
        self.deque = diskcache.Deque(directory=f'{scratch}/deque')
        self.index = diskcache.Index(f'{scratch}/index')
        self.small = diskcache.Cache(f'{scratch}/small', **SMALL)

    def keyed(self) -> dict[str, Any]:
        """Return those in which threads have keys of their own, by name."""
        return {'cache': self.cache, 'fanout': self.fanout, 'index': self.index}

    def caches(self) -> dict[str, Any]:
        """Return the Cache objects behind all of them, by name."""
        return {
            'cache': self.cache,
            **{f'shard {number}': shard for number, shard in enumerate(self.fanout._shards)},
            'deque': self.deque._cache,
            'index': self.index._cache,
            'small': self.small,
        }

    def close(self) -> None:
        """Close them; they can be used again."""
        for cache in self.caches().values():
            cache.close()


@dataclass
class Account:
    """What one thread has done; sent to the conductor in the end."""

    thread: int
    last: dict[tuple[str, Any], int] = field(default_factory=dict)  # 0: absent.
    sums: Counter[str] = field(default_factory=Counter)
    put: Counter[str] = field(default_factory=Counter)  # Items numbered from 1, in each queue.
    taken: dict[str, list[tuple[int, int]]] = field(default_factory=dict)  # (producer, number)
    done: Counter[str] = field(default_factory=Counter)
    longest: dict[str, float] = field(default_factory=dict)  # Seconds.


def item_of(thread: int, number: int) -> tuple[int, int, bytes]:
    """Return an item for a queue; one in eight is in a file."""
    return thread, number, b'x' * (LARGE if number % 8 == 0 else 50)


# --- one thread ----------------------------------------------------------------------------------


class Worker:
    """One thread: does this and that, and keeps its account."""

    def __init__(self, work: Work, thread: int) -> None:
        self.work = work
        self.stores = work.stores
        self.account = Account(thread)
        self.random = random.Random(f'{work.seed} {thread}')
        self.number = 0
        self.keys = [key_of(thread, part) for part in range(KEYS)]
        # By weight, so that the rare ones do not take all the time.
        jobs = {
            self.write: 30, self.look: 20, self.look_at_others: 10, self.remove: 8,
            self.write_in_transaction: 10, self.count_up: 10, self.put: 10, self.take: 10,
            self.count_under_lock: 1, self.write_small: 10, self.look_at_small: 5,
            self.let_expire: 3, self.evict: 3, self.clean_up: 1, self.reopen: 1, self.check: 0.3,
        }  # fmt: skip
        self.jobs = list(jobs)
        self.weights = list(jobs.values())

    def run(self) -> None:
        """Work until the run is over."""
        with self.work.told():
            self.work.board.state[self.account.thread] = READY
            while not self.work.board.stopped:
                (job,) = self.random.choices(self.jobs, self.weights)
                job()
            for name, store in self.stores.keyed().items():
                for key in self.keys:
                    self.look_up(name, store, key)

    @contextlib.contextmanager
    def timed(self, name: str) -> Iterator[None]:
        """Count what happens inside, and note how long it takes."""
        start = time.monotonic()
        yield
        seconds = time.monotonic() - start
        self.account.done[name] += 1
        self.account.longest[name] = max(seconds, self.account.longest.get(name, 0.0))
        if seconds > TIMEOUT:
            raise AssertionError(f'{name} took {seconds:.1f} seconds')

    def next_number(self) -> int:
        self.number += 1
        return self.number

    def some_store(self) -> tuple[str, Any]:
        return self.random.choice(list(self.stores.keyed().items()))

    # Keys of one's own

    def write(self) -> None:
        """Set a key to its next value, a file of it or not."""
        name, store = self.some_store()
        key = self.random.choice(self.keys)
        number = self.next_number()
        value = content(number)
        there = self.account.last.get((name, key), 0) != 0
        if name == 'index':
            with self.timed('index []='):
                store[key] = value
            stored = True
        elif self.random.random() < 0.2:
            with self.timed(f'{name} add'):
                stored = store.add(key, value)
            if stored == there and (there or name == 'cache'):
                self.tell_lost(f'{name} {key!r}: add returned {stored}')
        else:
            with self.timed(f'{name} set'):
                stored = store.set(key, value, expire=1e6, tag=f'thread {self.account.thread}')
            if not stored:
                self.account.done[f'{name} set: False'] += 1
                if name == 'cache':
                    self.tell_lost(f'{name} {key!r}: set returned False')
        if stored:
            self.account.last[name, key] = number

    def look(self) -> None:
        name, store = self.some_store()
        self.look_up(name, store, self.random.choice(self.keys))

    def look_up(self, name: str, store: Any, key: Any) -> None:
        """Find the value committed last."""
        with self.timed(f'{name} get'):
            value = self.get(store, key)
        number = 0 if value is MISSING else number_in(value)
        expected = self.account.last.get((name, key), 0)
        if number != expected:
            self.tell_lost(f'{name} {key!r}: {number} instead of {expected}')

    @staticmethod
    def get(store: Any, key: Any) -> Any:
        if isinstance(store, diskcache.Index):
            return store.get(key, MISSING)
        return store.get(key, MISSING, retry=True)

    def tell_lost(self, what: str) -> None:
        raise AssertionError(f'thread {self.account.thread}: {what}')

    def look_at_others(self) -> None:
        """Find some value of another thread, whole; or none."""
        name, store = self.some_store()
        thread = self.random.randrange(self.work.all_threads)
        with self.timed(f'{name} get'):
            value = self.get(store, key_of(thread, self.random.randrange(KEYS)))
        if value is not MISSING:
            number_in(value)

    def remove(self) -> None:
        """Delete or pop a key."""
        name, store = self.some_store()
        key = self.random.choice(self.keys)
        expected = self.account.last.get((name, key), 0)
        if name != 'index' and self.random.random() < 0.5:
            with self.timed(f'{name} delete'):
                deleted = store.delete(key, retry=True)
            if deleted != (expected != 0):
                self.tell_lost(f'{name} {key!r}: delete returned {deleted}, there was {expected}')
        else:
            retry = {} if name == 'index' else {'retry': True}
            with self.timed(f'{name} pop'):
                value = store.pop(key, MISSING, **retry)
            number = 0 if value is MISSING else number_in(value)
            if number != expected:
                self.tell_lost(f'{name} {key!r}: {number} was popped instead of {expected}')
        self.account.last[name, key] = 0

    def write_in_transaction(self) -> None:
        """Write two keys and a sum together, or not at all."""
        keys = self.random.sample(self.keys, 2)
        numbers = self.next_number(), self.next_number()
        fails = self.random.random() < 0.3
        cache = self.stores.cache
        with self.timed('transact'), contextlib.suppress(RollBack), cache.transact():
            # The original removes files too early if it rolls back, so there it must have none.
            in_file = OURS or not fails
            for key, number in zip(keys, numbers, strict=True):
                if OURS or not fails:
                    cache.set(key, content(number, in_file))
                else:
                    cache.set(('rolled back', self.account.thread), number)
            cache.incr('in transactions')
            if fails:
                raise RollBack
        if not fails:
            self.account.last.update({('cache', k): n for k, n in zip(keys, numbers, strict=True)})
            self.account.sums['in transactions'] += 1

    # Sums

    def count_up(self) -> None:
        """Add to a number that all add to."""
        delta = self.random.randrange(1, 10)
        name, store = self.some_store()
        with self.timed(f'{name} incr'):
            if name == 'index':
                with store.transact():
                    store['count'] = store.get('count', 0) + delta
            elif self.random.random() < 0.3:
                delta = -delta
                store.decr('count', -delta, retry=True)
            else:
                store.incr('count', delta, retry=True)
        self.account.sums[name] += delta

    def count_under_lock(self) -> None:
        """Read a number and write it back, which only a lock makes one step."""
        cache = self.stores.cache
        with self.timed('lock'):
            lock = diskcache.Lock(cache, 'lock')
            lock.acquire()
        try:
            count = cache.get('under lock', 0)
            cache['under lock'] = count + 1
        finally:
            lock.release()
        self.account.sums['under lock'] += 1

    # Queues

    def put(self) -> None:
        """Append an item to the Deque, or to a queue in the Cache."""
        name = self.random.choice(('deque', 'queue'))
        self.account.put[name] += 1
        item = item_of(self.account.thread, self.account.put[name])
        with self.timed(f'{name} put'):
            if name == 'deque':
                self.stores.deque.append(item)
            else:
                self.stores.cache.push(item, prefix='queue')

    def take(self) -> None:
        """Take the first item of one of them."""
        name = self.random.choice(('deque', 'queue'))
        with self.timed(f'{name} take'):
            if name == 'deque':
                try:
                    item = self.stores.deque.popleft()
                except IndexError:
                    item = None
            else:
                _, item = self.stores.cache.pull(prefix='queue')
        if item is not None:
            producer, number, _ = item
            if item != item_of(producer, number):
                self.tell_lost(f'{name}: item {number} of {producer} has changed')
            self.account.taken.setdefault(name, []).append((producer, number))

    # A cache that is full

    def write_small(self) -> None:
        """Set a key of one's own in the small cache, where it may soon be gone."""
        key = self.random.choice(self.keys)
        number = self.next_number()
        with self.timed('small set'):
            stored = self.stores.small.set(key, content(number))
        if not stored:
            self.tell_lost('set returned False')
        self.account.last['small', key] = number

    def look_at_small(self) -> None:
        """Find the value written last, or none."""
        key = self.random.choice(self.keys)
        with self.timed('small get'):
            value = self.stores.small.get(key, MISSING)
        expected = self.account.last.get(('small', key), 0)
        if value is not MISSING and number_in(value) != expected:
            self.tell_lost(f'small {key!r}: {number_in(value)} instead of {expected}')

    # What removes many

    def let_expire(self) -> None:
        """Set a key that expires at once, or soon."""
        cache = self.stores.cache
        key = 'expires', self.account.thread, self.random.randrange(3)
        number = self.next_number()
        with self.timed('cache set'):
            cache.set(key, content(number), expire=-1)
        if cache.get(key, MISSING, retry=True) is not MISSING:
            self.tell_lost(f'{key!r} has expired and is still seen')

    def evict(self) -> None:
        """Remove the items with a tag, which are one's own."""
        tag = f'evicted {self.account.thread}'
        count = self.random.randrange(1, 4)
        for number in range(count):
            self.stores.cache.set(
                ('evicted', self.account.thread, number), content(number), tag=tag
            )
        with self.timed('evict'):
            evicted = self.stores.cache.evict(tag)
        if evicted != count:
            self.tell_lost(f'evicted {evicted} items instead of {count}')

    def clean_up(self) -> None:
        """Remove what has expired, and from the small cache what is too much."""
        with self.timed('expire'):
            self.stores.cache.expire()
        with self.timed('cull'):
            self.random.choice((self.stores.cache, self.stores.small)).cull()

    def reopen(self) -> None:
        """Close what the other threads are working with; or have a copy for a moment."""
        cache = self.random.choice(list(self.stores.caches().values()))
        if self.random.random() < 0.5:
            with self.timed('close'):
                cache.close()
            return
        with self.timed('open'):
            copy = pickle.loads(pickle.dumps(self.stores.cache))
            copy.incr('count', 1, retry=True)
            copy.close()
        self.account.sums['cache'] += 1

    def check(self) -> None:
        """Let a cache check and mend itself: nothing is wrong, also while others write."""
        if not OURS:
            return
        name, cache = self.random.choice(list(self.stores.caches().items()))
        with self.timed('check'):
            problems = cache.check(fix=True, retry=True)
        told = [str(problem.message) for problem in problems if not problem.message.harmless]
        if told:
            self.tell_lost(f'{name}: {told}')


# --- one process ---------------------------------------------------------------------------------


def descriptors() -> list[str]:
    """Return what the descriptors of this process refer to; nothing where that is not told."""
    found = []
    with contextlib.suppress(FileNotFoundError):
        for name in os.listdir('/proc/self/fd'):
            with contextlib.suppress(OSError):
                found.append(os.readlink(f'/proc/self/fd/{name}'))
    return sorted(found)


class Work(Witness):
    """What goes on in one process."""

    stores: Stores

    def __init__(
        self, name: str, seed: str, scratch: str, first_thread: int, threads: int, all_threads: int
    ) -> None:
        """Take part in a run; see `Run` for the arguments."""
        super().__init__(name, scratch, Board(f'{scratch}/board', all_threads, 0))
        self.seed = seed
        self.first_thread = first_thread
        self.threads = threads
        self.all_threads = all_threads

    def run(self) -> list[dict[str, Any]]:
        """Work until the run is over; return the accounts of all threads."""
        before = descriptors()
        workers: list[Worker] = []
        with self.told():
            self.stores = Stores(self.scratch)
            workers = [Worker(self, self.first_thread + each) for each in range(self.threads)]
            threads = [threading.Thread(target=worker.run) for worker in workers]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            self.stores.close()
            del self.stores, threads
            accounts = [{**vars(worker.account)} for worker in workers]
            workers.clear()
            gc.collect()  # The original's connections of other threads go with their locals.
            if (after := descriptors()) != before:
                raise AssertionError(f'descriptors {after} instead of {before}')
            return accounts
        return []


def work(arguments: dict[str, Any]) -> list[dict[str, Any]]:
    """Take part in a run, in a process started for that."""
    faulthandler.enable()
    sys.setswitchinterval(1e-4)
    return Work(**arguments).run()


# --- all of them ---------------------------------------------------------------------------------


@dataclass
class Outcome:
    """What has come of a run."""

    story: str  # Of all that went wrong; empty if nothing did.
    done: Counter[str]
    longest: dict[str, float]  # Seconds.
    largest_log: dict[str, int]  # Bytes, by the name of the directory.

    def table(self) -> str:
        """Return it as text."""
        lines = [f'{"operation":18} {"count":>9} {"longest":>11}']
        lines += [
            f'{name:18} {count:9} {1000 * self.longest.get(name, 0):8.1f} ms'
            for name, count in sorted(self.done.items())
        ]
        lines += [f'{"all":18} {sum(self.done.values()):9}', '']
        lines += [
            f'largest log of {name:11} {size / 2**20:6.1f} MiB'
            for name, size in sorted(self.largest_log.items())
        ]
        return '\n'.join(lines)


class Run:
    """The crew at work, and the reckoning afterwards."""

    def __init__(self, interpreters: Interpreters, scratch: str, seed: str) -> None:
        """Prepare everything in the directory `scratch`."""
        self.interpreters = interpreters
        self.scratch = scratch
        self.seed = seed
        self.all_threads = sum(CREW) + sum(ORIGINALS)
        self.board = Board(f'{scratch}/board', self.all_threads, 0)
        self.me = Witness('the conductor', scratch, self.board)
        self.accounts: list[Account] = []
        self.largest_log: Counter[str] = Counter()
        stores = Stores(scratch)
        self.directories = {name: cache.directory for name, cache in stores.caches().items()}
        stores.close()

    def go(self, seconds: float) -> Outcome:
        """Let the crew work for so long, then compare the accounts with what is stored."""
        at_work = self._start()
        deadline = time.monotonic() + seconds
        try:
            with self.me.told():
                while time.monotonic() < deadline and not self.board.stopped:
                    self._look_at_logs()
                    if any(interpreter.has_answered() for interpreter in at_work):
                        break  # It has died; what it was doing is told below.
                    time.sleep(0.01)
        finally:
            self.board.stop()
            self._end(at_work)
        with self.me.told():
            if 0 in self.board.state:
                raise AssertionError('a thread has not begun')
            self._reckon()
        done: Counter[str] = Counter()
        longest: Counter[str] = Counter()
        for account in self.accounts:
            done.update(account.done)
            longest |= Counter(account.longest)
        return Outcome(stories_in(self.scratch), done, dict(longest), dict(self.largest_log))

    def _start(self) -> list[Any]:
        at_work = []
        thread = 0
        for package, crew in (('ours', CREW), ('original', ORIGINALS)):
            interpreters = self.interpreters.take(package, len(crew))
            for number, (interpreter, threads) in enumerate(zip(interpreters, crew, strict=True)):
                arguments = {
                    'name': f'{package} {number}',
                    'seed': self.seed,
                    'scratch': self.scratch,
                    'first_thread': thread,
                    'threads': threads,
                    'all_threads': self.all_threads,
                }
                interpreter.start('import soak\nsoak.work(arguments)', arguments=arguments)
                at_work.append(interpreter)
                thread += threads
        return at_work

    def _end(self, at_work: list[Any]) -> None:
        for interpreter in at_work:
            try:
                self.accounts += [Account(**account) for account in interpreter.result()]
            except AssertionError as error:  # It has died, or hangs.
                self.me.tell(f'{error}')
                interpreter.close()

    def _look_at_logs(self) -> None:
        for name, directory in self.directories.items():
            with contextlib.suppress(FileNotFoundError):
                size = os.path.getsize(f'{directory}/cache.db-wal')
                self.largest_log[name] = max(self.largest_log[name], size)

    # The reckoning

    def _reckon(self) -> None:
        """Compare what is stored with the accounts; AssertionError with all that differs."""
        if stories_in(self.scratch):
            return  # An account may be missing.
        stores = Stores(self.scratch)
        wrong = [
            *self._wrong_keys(stores),
            *self._wrong_sums(stores),
            *self._wrong_items('deque', list(stores.deque)),
            *self._wrong_items('queue', iter(partial(self._pull, stores), None)),
            *self._wrong_files(stores),
        ]
        stores.close()
        if wrong:
            raise AssertionError('\n'.join(wrong))

    @staticmethod
    def _pull(stores: Stores) -> Any:
        return stores.cache.pull(prefix='queue')[1]

    def _wrong_keys(self, stores: Stores) -> Iterator[str]:
        keyed = {**stores.keyed(), 'small': stores.small}
        for account in self.accounts:
            for (name, key), expected in account.last.items():
                value = keyed[name].get(key, MISSING)
                number = 0 if value is MISSING else number_in(value)
                if number != expected and (name != 'small' or number != 0):
                    yield f'{name} {key!r} of thread {account.thread}: {number}, not {expected}'

    def _wrong_sums(self, stores: Stores) -> Iterator[str]:
        stored = {
            'cache': stores.cache.get('count', 0),
            'fanout': stores.fanout.get('count', 0),
            'index': stores.index.get('count', 0),
            'in transactions': stores.cache.get('in transactions', 0),
            'under lock': stores.cache.get('under lock', 0),
        }
        for name, number in stored.items():
            expected = sum(account.sums[name] for account in self.accounts)
            if number != expected:
                yield f'the sum {name!r} is {number}, not {expected}'

    def _wrong_items(self, name: str, left: Any) -> Iterator[str]:
        put = {
            (account.thread, number)
            for account in self.accounts
            for number in range(1, account.put[name] + 1)
        }
        taken = Counter(item for account in self.accounts for item in account.taken.get(name, ()))
        taken.update((producer, number) for producer, number, _ in left)
        for item, count in taken.items():
            if count > 1:
                yield f'{name}: item {item} was taken {count} times'
        for item in put - set(taken):
            yield f'{name}: item {item} is lost'
        for item in set(taken) - put:
            yield f'{name}: item {item} was never put'
        for account in self.accounts:
            last: dict[int, int] = {}
            for producer, number in account.taken.get(name, ()):
                if number < last.get(producer, 0):
                    yield f'{name}: item {number} of {producer} came after {last[producer]}'
                last[producer] = number

    @staticmethod
    def _wrong_files(stores: Stores) -> Iterator[str]:
        for name, cache in stores.caches().items():
            for problem in cache.check():
                yield f'{name}: {problem.message}'
            if value_files(cache.directory) != stored_filenames(cache):
                yield f'{name}: the value files are not those of the rows'
            ((count, size),) = cache._sql('SELECT count(*), sum(size) FROM Cache').fetchall()
            if (count, size or 0) != (len(cache), cache.reset('size')):
                yield f'{name}: {count} rows with {size} bytes, counted {len(cache)}'
        if stores.small.volume() > SMALL['size_limit'] + LARGE:
            yield f'small: {stores.small.volume()} bytes'


def run_soak(seconds: float, interpreters: Interpreters, seed: str = '') -> Outcome:
    """Soak for so long, in a directory that is gone afterwards."""
    with tempfile.TemporaryDirectory(prefix='soak-') as scratch:
        return Run(interpreters, scratch, seed).go(seconds)


def main() -> int:
    """Soak; return the exit status: 1 if anything was lost."""
    parser = argparse.ArgumentParser(description='Do everything at once and lose nothing.')
    parser.add_argument('--seconds', type=float, default=60)
    parser.add_argument('--seed', default=str(time.time_ns()), help='of what is left to chance')
    options = parser.parse_args()
    original = Path(os.environ.get('DISKCACHE_ORIGINAL', ROOT / '.original'))
    interpreters = Interpreters(original)
    print(
        f'diskcache of {PACKAGE}, seed {options.seed}: {len(CREW + ORIGINALS)} processes,'
        f' {sum(CREW + ORIGINALS)} threads, {options.seconds:g} seconds',
        flush=True,
    )
    try:
        outcome = run_soak(options.seconds, interpreters, options.seed)
    finally:
        interpreters.close()
    print(outcome.table())
    if outcome.story:
        print(f'\n{outcome.story}')
        return 1
    print('\nnothing was lost')
    return 0


if __name__ == '__main__':
    import soak  # Under the name that other processes know it by.

    sys.exit(soak.main())
