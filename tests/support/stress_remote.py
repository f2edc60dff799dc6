"""How late reads of a RemoteCache are, and that they are never wrong, whatever happens to servers.

    python tests/support/stress_remote.py --seconds 600

Three processes with two threads each read, as fast as they can, what three others write, on three
masters; readers write keys of their own too. In turn everything is healthy, and something is
broken: connections, servers, readers, networks.

Each value has a *number*: its owner, one thread, counts them up for each key. On a *board*, a file
that all processes map, the owner puts the number in `begun` before it writes, and in `acked`, with
the time, after the server has acknowledged it. A read is *late* if there was a newer value already
acknowledged when it began: by the time since the first of those. It must never

* find a value that has not been written, or that of another key;
* be late by more than the lease;
* be late at all where this process has written the value;
* find an older value than this process has found before.

Each phase ends with a pause in which nobody writes, longer than the lease. So what would stay old
for ever is late by more than the lease. Some keys rest for seconds anyway.

An owner whose write fails does not know its outcome. It waits until the servers have done what was
still on its way, and looks. What a failover loses is the engine's affair: until each owner has
written each of its keys anew, only what was never written counts.

Beside it a pair of processes measures what is the machine's own delay. One answers the other, and
then notes the time, as a server answers the writer, and then tells the readers: *answer* is by how
much that is later than the answer. *Waking* is by how much a sleep is longer than it was to be.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib as cl
import dataclasses as dc
import fcntl
import functools as ft
import heapq
import itertools as it
import json
import math
import mmap
import os
import random
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import redis
from servers import Cluster, Server, Watched, free_port

from diskcache import Timeout
from diskcache.remote import RemoteCache, RemoteError
from diskcache.remote.feed import LEASE

clock = time.monotonic

READERS = 3
THREADS = 2  # Of each reader.
WRITERS = 3
SPREAD = 20  # Keys of each writer,
HOT = 6  # of which so many are written all the time, and the others in bursts.

#: Each key's owner: a writer, or a thread of a reader.
OWNERS = [each for each in range(WRITERS) for _ in range(SPREAD)] + [
    WRITERS + each for each in range(READERS * THREADS)
]
KEYS = range(len(OWNERS))
RESTING = [key for key in KEYS if key < WRITERS * SPREAD and key % SPREAD >= HOT]
NAMES = [f'key {key}' for key in KEYS]
CACHE = 'stress'

FAILURES = (Timeout, ConnectionError, RemoteError)

TOLD = 12  # Violations after which a run ends.


def server_of(key: int) -> int:
    """Return which of the servers has a key, where each is by itself."""
    return OWNERS[key] % WRITERS


def content(key: int, number: int) -> str:
    """Return a value."""
    return f'{key} {number} '.ljust(100, 'x')


# --- the board -----------------------------------------------------------------------------------

RESOLUTION = 8  # Buckets for each power of two.
BUCKETS = 25 * RESOLUTION  # From a microsecond.

#: What is counted for each thread and phase.
COUNTED = ['reads', 'asked', 'failed', 'late', 'longest']
WIDTH = len(COUNTED) + BUCKETS

#: Rows: the threads of the readers, and what the probe measures.
ROWS = READERS * THREADS + 2
ANSWER, WAKING = ROWS - 2, ROWS - 1

RING = 2**12  # So many acknowledgements of each key are remembered.

HEADER = ['stopped', 'quiet', 'phase', 'silent', 'window', 'generation', 'told', 'stamp', 'down']


class Board:
    """Numbers and times that all processes see at once, 8 bytes each."""

    def __init__(self, scratch: str) -> None:
        """Map the file; it is made if it is not there."""
        owners = max(OWNERS) + 1
        sizes = [len(HEADER), *[len(KEYS)] * 5, owners, len(KEYS) * RING, ROWS * PHASES * WIDTH]
        self.scratch = scratch
        with open(f'{scratch}/board', 'a+b') as file:
            file.truncate(8 * sum(sizes))
            self._map = mmap.mmap(file.fileno(), 8 * sum(sizes))
        numbers, times = (memoryview(self._map).cast(each) for each in 'qd')
        ends = list(it.accumulate(sizes, initial=0))
        parts = [slice(*pair) for pair in it.pairwise(ends)]
        self.header, self.header_times = numbers[parts[0]], times[parts[0]]
        self.begun, self.acked, self.absent = (numbers[each] for each in parts[1:4])
        #: The last number that others have written, or later than the owner had waited for.
        self.foreign = numbers[parts[4]]
        #: The first number after the last failover.
        self.renewed = numbers[parts[5]]
        #: The generation in which an owner has written all its keys anew.
        self.owners = numbers[parts[6]]
        self.times = times[parts[7]]
        self._counts, self._longest = numbers[parts[8]], times[parts[8]]

    def __getattr__(self, name: str) -> int:
        return self.header[HEADER.index(name)]

    def put(self, name: str, number: int) -> None:
        """Store one of the numbers in the header."""
        self.header[HEADER.index(name)] = number

    def begin(self, key: int, absent: bool) -> int:
        """Note that a write of a key begins; return its number."""
        number = self.begun[key] + 1
        self.times[key * RING + number % RING] = math.inf
        if absent:
            self.absent[key] = number
        self.begun[key] = number
        return number

    def ack(self, key: int, number: int, now: float) -> None:
        """Note that a write has been acknowledged."""
        self.times[key * RING + number % RING] = now
        self.acked[key] = number

    def late_by(self, key: int, number: int, start: float) -> float:
        """Return the seconds by which a read is late that began at `start` and found this."""
        acked = self.acked[key]
        first = max(number + 1, self.renewed[key], acked - RING + 64)
        for each in range(first, acked + 1):
            at = self.times[key * RING + each % RING]
            if at <= start:
                return start - at
        return 0.0

    # Statistics

    def count(self, row: int, what: str, phase: int, more: int = 1) -> None:
        """Add to a count."""
        self._counts[(row * PHASES + phase) * WIDTH + COUNTED.index(what)] += more

    def note_delay(self, row: int, phase: int, seconds: float) -> None:
        """Note by how much something was late."""
        first = (row * PHASES + phase) * WIDTH
        bucket = int(RESOLUTION * math.log2(max(seconds * 1e6, 1)))
        self._counts[first + len(COUNTED) + min(bucket, BUCKETS - 1)] += 1
        place = first + COUNTED.index('longest')
        self._longest[place] = max(self._longest[place], seconds)

    def sum_of(self, rows: Sequence[int], what: str, phase: int) -> int:
        """Return a count of several rows."""
        place = COUNTED.index(what)
        return sum(self._counts[(row * PHASES + phase) * WIDTH + place] for row in rows)

    def percentiles(self, rows: Sequence[int], phase: int, total: int) -> list[float]:
        """Return by how many seconds 50, 99, 99.9 and 100 % are late at most."""
        starts = [(row * PHASES + phase) * WIDTH for row in rows]
        histogram = [
            sum(self._counts[start + len(COUNTED) + bucket] for start in starts)
            for bucket in range(BUCKETS)
        ]
        found = []
        for share in (0.5, 0.99, 0.999):
            left = math.floor(total * (1 - share))  # so many may be later
            bucket = BUCKETS - 1
            while bucket >= 0 and histogram[bucket] <= left:
                left -= histogram[bucket]
                bucket -= 1
            found.append(2 ** ((bucket + 1) / RESOLUTION) / 1e6 if bucket >= 0 else 0.0)
        place = COUNTED.index('longest')
        return [*found, max(self._longest[start + place] for start in starts)]

    # Stories

    def tell(self, story: str) -> None:
        """Tell what must not be; after some of it the run ends."""
        with open(f'{self.scratch}/stories', 'a') as file:
            file.write(f'{story}\n')
        self.put('told', self.told + 1)
        if self.told >= TOLD:
            self.put('stopped', 1)


# --- phases --------------------------------------------------------------------------------------


@dc.dataclass(frozen=True)
class Phase:
    """What happens for a time."""

    name: str
    faults: tuple[str, ...] = ()
    weight: float = 1
    calm: bool = False  # Readers sleep now and then, so that the processors are not always busy.
    proxied: bool = False
    near: str = ''


BREAKING = ('kill-feeds', 'stop-servers', 'kill-readers', 'flush', 'cut-feeds')

SITUATIONS = {
    each.name: each
    for each in (
        Phase('calm', calm=True, weight=2),
        Phase('busy', weight=2),
        Phase('kill-feeds', ('kill-feeds',)),
        Phase('stop-servers', ('stop-servers',)),
        Phase('silence', ('silence',), proxied=True),
        Phase('kill-readers', ('kill-readers',)),
        Phase('flush', ('flush',)),
        Phase('cut-feeds', ('cut-feeds',)),
        Phase('move-slots', ('move-slots',)),
        Phase('fail-over', ('fail-over',), weight=2),
        Phase('mixed', (*BREAKING, 'move-slots', 'fail-over'), weight=3),
    )
}
NEARS = ('memory', 'directory')
PHASES = len(NEARS) * len(SITUATIONS)

#: What a kind of site has not.
MISSING = {
    'singles': {'move-slots', 'fail-over'},
    'sentinel': {'move-slots', 'silence'},
    'cluster': {'silence'},
}


def phases_of(site: str, names: Sequence[str], nears: Sequence[str]) -> list[Phase]:
    """Return the phases of a run."""
    return [
        dc.replace(
            phase,
            near=near,
            faults=tuple(each for each in phase.faults if each not in MISSING[site]),
        )
        for name, phase in SITUATIONS.items()
        for near in nears
        if (name in names or not names) and name not in MISSING[site]
    ]


# --- a process at work ---------------------------------------------------------------------------


class Work:
    """What each process has."""

    def __init__(self, scratch: str) -> None:
        """Look at what is to be done."""
        with open(f'{scratch}/plan') as file:
            plan = json.load(file)
        self.scratch = scratch
        self.board = Board(scratch)
        self.phases = [Phase(**each) for each in plan['phases']]
        self.urls: list[str] = plan['urls']
        self.proxied: list[list[int]] = plan['proxied']
        self.ports: list[int] = plan['ports']
        self.plain = [RemoteCache(url, CACHE) for url in self.urls]
        self.parent = os.getppid()

    @property
    def over(self) -> bool:
        """Whether all are to end."""
        return self.board.stopped or os.getppid() != self.parent

    def run(self, *turns: Callable[[], None]) -> None:
        """Do each in a thread, again and again until the run is over."""

        def work(turn: Callable[[], None]) -> None:
            try:
                while not self.over:
                    turn()
            except BaseException:
                self.board.tell(traceback.format_exc())

        threads = [threading.Thread(target=work, args=(turn,)) for turn in turns]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    def wait_for_what_is_under_way(self) -> None:
        """Wait until the servers have done all that was sent to them before.

        A server looks at all connections that have something before it looks at them again. So
        after two answers it has looked at each.
        """
        for place, port in enumerate(self.ports):
            while not self.over and not self.board.down & 1 << place:
                client = redis.Redis(port=port, socket_timeout=0.5, protocol=2)
                try:
                    client.ping()
                    client.ping()
                    break
                except redis.ResponseError:  # it has looked
                    break
                except redis.TimeoutError:
                    pass
                except redis.ConnectionError:  # killed
                    time.sleep(0.05)
                    with cl.suppress(OSError), socket.create_connection(('127.0.0.1', port), 0.5):
                        continue
                    break
                finally:
                    client.close()


@cl.contextmanager
def locked(scratch: str, owner: int, wait: bool = True) -> Iterator[bool]:
    """Keep an owner's keys from being changed; a process that is killed leaves no lock."""
    descriptor = os.open(f'{scratch}/owner{owner}', os.O_RDWR | os.O_CREAT)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        yield True
    except BlockingIOError:
        yield False
    finally:
        os.close(descriptor)


def set_one(cache: Any, values: dict[str, str]) -> None:
    for name, value in values.items():
        cache.set(name, value)


def set_with_details(cache: Any, values: dict[str, str]) -> None:
    for name, value in values.items():
        cache.set(name, value, expire=3600, tag='tag')


def modify(cache: Any, values: dict[str, str]) -> None:
    for name, value in values.items():
        cache.modify(name, lambda old, value=value: value, expire=None, tag=None, retry=True)


def set_many(cache: Any, values: dict[str, str]) -> None:
    cache.set_many(values)


def delete(cache: Any, values: dict[str, str]) -> None:
    for name in values:
        cache.delete(name)


def delete_many(cache: Any, values: dict[str, str]) -> None:
    cache.delete_many(values)


#: Each with how many keys it writes.
WRITES = [(set_one, 1)] * 6 + [
    (set_with_details, 1),
    (modify, 1),
    (set_many, 3),
    (set_many, 3),
    (delete, 1),
    (delete_many, 2),
]
REMOVING = (delete, delete_many)


class Owner:
    """Who writes some keys."""

    def __init__(self, work: Work, number: int) -> None:
        """Take the keys."""
        self.work = work
        self.board = work.board
        self.number = number
        self.keys = [key for key in KEYS if OWNERS[key] == number]

    def write(self, cache: Any, operation: Callable[..., None], keys: Sequence[int]) -> bool:
        """Write keys; return whether it has been acknowledged."""
        board = self.board
        with locked(self.work.scratch, self.number):
            if board.quiet:
                return False
            numbers = {key: board.begin(key, operation in REMOVING) for key in keys}
            try:
                operation(cache, {NAMES[key]: content(key, numbers[key]) for key in keys})
            except FAILURES:
                self.look(keys)
                return False
            now = clock()
            for key, number in numbers.items():
                board.ack(key, number, now)
        return True

    def look(self, keys: Sequence[int]) -> None:
        """Find out what has become of writes that have failed."""
        board = self.board
        self.work.wait_for_what_is_under_way()
        for key in keys:
            number = board.begun[key]
            plain = self.work.plain[server_of(key) % len(self.work.plain)]
            with cl.suppress(*FAILURES):
                value = plain.get(NAMES[key])
                found = board.absent[key] == number if value is None else number_in(value)
                if found is True or found == number:
                    board.foreign[key] = number
                    board.ack(key, number, clock())

    def renew(self, caches: Sequence[Any]) -> None:
        """After a failover: write each key anew."""
        generation = self.board.generation
        if self.board.owners[self.number] == generation or self.board.quiet:
            return
        for key in self.keys:
            while not self.work.over:
                if self.write(caches[server_of(key) % len(caches)], set_one, [key]):
                    self.board.renewed[key] = self.board.acked[key]
                    break
                time.sleep(0.01)
        self.board.owners[self.number] = generation


def number_in(value: str) -> int:
    """Return the number in a value."""
    return int(value.split(' ')[1])


class Writer(Owner):
    """A process that writes."""

    def __init__(self, work: Work, number: int) -> None:
        """Begin with bursts somewhere."""
        super().__init__(work, number)
        self.random = random.Random()
        self.burst = it.cycle(it.product(self.keys[HOT:], reversed(range(5))))

    def turn(self) -> None:
        """Write something, or pause."""
        self.renew(self.work.plain)
        operation, count = self.random.choice(WRITES)
        if self.random.random() < 0.08:
            key, left = next(self.burst)
            keys = [key]
            # At last it is there: what is absent is never near.
            operation = delete if left and operation in REMOVING else set_one
        else:
            keys = self.random.sample(self.keys[:HOT], count)
        plain = self.work.plain
        self.write(plain[server_of(keys[0]) % len(plain)], operation, keys)
        time.sleep(0.01 if self.board.quiet else self.random.expovariate(500))


class Reader:
    """A process that reads, in several threads."""

    def __init__(self, work: Work, number: int) -> None:
        """Open the caches: for each kind of near tier, directly and through the proxy."""
        self.work = work
        self.board = work.board
        self.number = number
        proxied = [f'redis://127.0.0.1:{port}/0' for port, _ in work.proxied]
        self.caches = {
            # Who waits for long does not find out that there is silence; the lease has to.
            (near, through): [self._open(url, place, 10 if through else 1) for url in urls]
            for near, place in (('memory', True), ('directory', f'{work.scratch}/near'))
            for through, urls in ((False, work.urls), (True, proxied))
        }
        self.seen = [0] * len(KEYS)
        self.generation = 0

    def _open(self, url: str, near: Any, timeout: float) -> Any:
        cache = RemoteCache(url, CACHE, near=near, timeout=timeout)
        for name in ('read', 'many'):
            setattr(cache._engine, name, self._counting(getattr(cache._engine, name)))
        return cache

    def _counting(self, call: Callable[..., Any]) -> Callable[..., Any]:
        def counting(*arguments: Any, **options: Any) -> Any:
            local.asked = True
            if self.board.silent:  # rather than to wait in vain, and to read nothing meanwhile
                raise ConnectionError
            return call(*arguments, **options)

        return counting

    def run(self) -> None:
        """Read until the run is over."""
        self.work.wait_for_what_is_under_way()  # what a killed predecessor has written
        first = self.number * THREADS
        turns = [ReaderThread(self, first + each).turn for each in range(THREADS)]
        self.work.run(*turns)


local = threading.local()


class ReaderThread(Owner):
    """A thread of a reader."""

    def __init__(self, reader: Reader, row: int) -> None:
        """Take the thread's key."""
        super().__init__(reader.work, WRITERS + row)
        self.reader = reader
        self.row = row
        self.random = random.Random()
        self.next_write = 0.0
        self.own = range(
            WRITERS * SPREAD + reader.number * THREADS,
            WRITERS * SPREAD + (reader.number + 1) * THREADS,
        )

    def turn(self) -> None:
        """Look some keys up, and now and then write one's own."""
        number = self.board.phase
        phase = self.work.phases[number]
        caches = self.reader.caches[phase.near, phase.proxied]
        self.renew(caches)
        if phase.proxied:
            for key in self.random.choices(RESTING, k=40):
                self.look_up(caches, number, [key])
            return
        if clock() >= self.next_write:
            self.next_write = clock() + self.random.expovariate(50)
            key = self.keys[0]
            operation = self.random.choice((set_one, set_one, set_many, delete, set_with_details))
            self.write(caches[server_of(key) % len(caches)], operation, [key])
            self.look_up(caches, number, [key])
        for key in self.random.choices(KEYS, k=40):
            self.look_up(caches, number, [key])
        several = self.random.choice([range(key, key + 3) for key in range(0, 60, 20)])
        self.look_up(caches, number, list(several))
        if phase.calm:
            time.sleep(0.002)

    def look_up(self, caches: Sequence[Any], phase: int, keys: list[int]) -> None:
        """Look keys up, of one server, and check what is found."""
        board = self.board
        if board.generation != self.reader.generation:
            self.reader.seen = [0] * len(KEYS)
            self.reader.generation = board.generation
        seen, generation, quiet = self.reader.seen, board.generation, board.quiet
        low = [seen[key] for key in keys]
        cache = caches[server_of(keys[0]) % len(caches)]
        local.asked = False
        start = clock()
        try:
            if len(keys) == 1:
                values = [cache.get(NAMES[keys[0]])]
            else:
                found = cache.get_many([NAMES[key] for key in keys])
                values = [found.get(NAMES[key]) for key in keys]
        except FAILURES:
            board.count(self.row, 'failed', phase)
            time.sleep(0.001)
            return
        if not quiet:
            board.count(self.row, 'reads', phase, len(keys))
            if local.asked:
                board.count(self.row, 'asked', phase)
        for key, value, lowest in zip(keys, values, low, strict=True):
            number = board.absent[key] if value is None else number_in(value)
            story = ''
            if value is not None and (
                value != content(key, number) or not 0 < number <= board.begun[key]
            ):
                story = 'was never written'
            elif board.window or board.generation != generation:
                continue
            elif number < lowest:
                story = f'was older than {lowest}, which this process had found'
            elif number < board.acked[key] and (late := board.late_by(key, number, start)):
                if not quiet:
                    board.count(self.row, 'late', phase)
                    board.note_delay(self.row, phase, late)
                if key in self.own and number >= board.foreign[key]:
                    story = f'was late by {1000 * late:.1f} ms, though it is its own'
                elif late > LEASE:
                    story = f'was late by {late:.3f} s'
            if value is not None:
                seen[key] = max(seen[key], number)
            if story:
                newest = f'begun {board.begun[key]}, acked {board.acked[key]}'
                named = self.work.phases[phase]
                board.tell(
                    f'{named.name}, {named.near}: reader {self.reader.number}: {NAMES[key]}:'
                    f' {value!r:.30} ({number}) {story}; {newest}'
                    f'{", in the pause" if quiet else ""}'
                )


# --- beside it -----------------------------------------------------------------------------------


def probe(work: Work) -> None:
    """Measure the machine's own delay."""
    board = work.board
    ours, theirs = socket.socketpair()
    place = HEADER.index('stamp')
    if os.fork() == 0:
        ours.close()
        while theirs.recv(1):
            theirs.send(b'.')
            board.header_times[place] = clock()
        os._exit(0)
    while not work.over:
        due = clock() + 0.002
        time.sleep(0.002)
        waking = clock() - due
        board.header_times[place] = 0.0
        ours.send(b'.')
        ours.recv(1)
        answered = clock()
        while not (stamp := board.header_times[place]):
            time.sleep(0.0002)
        if not board.quiet:
            phase = board.phase
            for row, delay in ((WAKING, waking), (ANSWER, max(0.0, stamp - answered))):
                board.count(row, 'reads', phase)
                board.note_delay(row, phase, delay)


async def pump(board: Board, reader: Any, writer: Any) -> None:
    with cl.suppress(OSError):
        while data := await reader.read(2**16):
            while board.silent:
                await asyncio.sleep(0.005)
            writer.write(data)
            await writer.drain()
    writer.close()


async def proxy(work: Work) -> None:
    """Pass on what is said to servers and what they answer, but for times of silence."""

    async def connected(target: int, reader: Any, writer: Any) -> None:
        try:
            there = await asyncio.open_connection('127.0.0.1', target)
        except OSError:
            writer.close()
            return
        await asyncio.gather(pump(work.board, reader, there[1]), pump(work.board, there[0], writer))

    tasks = set()
    for port, target in work.proxied:
        await asyncio.start_server(
            lambda *pair, target=target: tasks.add(asyncio.ensure_future(connected(target, *pair))),
            *('127.0.0.1', port),
        )
    while not work.over:
        await asyncio.sleep(0.05)


def work(role: str, number: int, scratch: str) -> None:
    """Take part in a run."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # it is for the process that ends all others
    work = Work(scratch)
    if role == 'reader':
        Reader(work, number).run()
    elif role == 'writer':
        work.run(Writer(work, number).turn)
    elif role == 'probe':
        probe(work)
    else:
        asyncio.run(proxy(work))


# --- servers -------------------------------------------------------------------------------------


class Singles:
    """Three servers that know nothing of each other."""

    longest_stop = 3.0

    def __init__(self) -> None:
        self.servers = [Server('redis') for _ in range(WRITERS)]
        self.urls = [server.url for server in self.servers]

    def masters(self) -> list[Server]:
        return self.servers

    def stop(self) -> None:
        for server in self.servers:
            server.stop()


class Guarded:
    """A master and its replica, with a Sentinel."""

    longest_stop = 0.3  # After half a second the replica is the master.

    def __init__(self) -> None:
        self.watched = Watched()
        self.servers = [self.watched.master, self.watched.replica]
        self.urls = [self.watched.url]

    def masters(self) -> list[Server]:
        return [each for each in self.servers if role_of(each) == 'master']

    def let_take_over(self, master: Server) -> Server:
        """Return the replica that will; the Sentinel lets it."""
        return next(each for each in self.servers if each is not master)

    def stop(self) -> None:
        self.watched.stop()


class Sharded:
    """A Cluster."""

    longest_stop = 3.0

    def __init__(self) -> None:
        self.cluster = Cluster('redis', WRITERS, 1)
        self.servers = self.cluster.servers
        self.urls = [self.cluster.url]

    def masters(self) -> list[Server]:
        return [each for each in self.servers if role_of(each) == 'master']

    def let_take_over(self, master: Server) -> Server:
        """Let a replica take a master's place that does not answer, and return it."""
        for server in self.servers:
            if server is not master and server.ask('ROLE')[:3:2] == ['slave', master.port]:
                server.ask('CLUSTER', 'FAILOVER', 'TAKEOVER')
                return server
        raise LookupError(f'no replica of {master.port}')

    def stop(self) -> None:
        self.cluster.stop()


def role_of(server: Server) -> str:
    """Return a server's role, or nothing if it does not answer."""
    try:
        with admin(server) as client:
            return str(client.info('replication')['role'])
    except redis.RedisError:
        return ''


@cl.contextmanager
def admin(server: Server) -> Iterator[Any]:
    """Connect to a server for a block."""
    client = redis.Redis(port=server.port, socket_timeout=5, protocol=2)
    try:
        yield client
    finally:
        client.close()


#: Each with its share of the time.
SITES: dict[str, tuple[Callable[[], Any], float]] = {
    'singles': (Singles, 0.3),
    'sentinel': (Guarded, 0.2),
    'cluster': (Sharded, 0.5),
}


# --- all of them ---------------------------------------------------------------------------------


class Run:
    """A run: it begins, breaks and mends, and looks at what is left."""

    def __init__(self, site: Any, phases: list[Phase], scratch: str, mutant: str = '') -> None:
        """Prepare everything in the directory `scratch`.

        :param mutant: code that readers run before they begin
        """
        self.site = site
        self.phases = phases
        self.scratch = scratch
        self.mutant = mutant
        self.board = Board(scratch)
        servers = site.servers
        needed = any(phase.proxied for phase in phases)
        plan = {
            'phases': [dc.asdict(phase) for phase in phases],
            'urls': site.urls,
            'ports': [server.port for server in servers],
            'proxied': [(free_port(), server.port) for server in servers] if needed else [],
        }
        Path(scratch, 'plan').write_text(json.dumps(plan))
        self.children: dict[tuple[str, int], subprocess.Popen[bytes]] = {}
        #: Servers that do not answer.
        self.down: set[Any] = set()
        #: Whether masters change their places or slots.
        self.busy = False
        self.steps: list[tuple[float, int, Callable[[], float | None]]] = []
        self.counter = it.count()
        self.done: Counter[tuple[int, str]] = Counter()

    def start(self, role: str, number: int = 0) -> None:
        """Start a process."""
        arguments = f'{role!r}, {number}, {self.scratch!r}'
        code = f'{self.mutant}\nimport stress_remote\nstress_remote.work({arguments})'
        self.children[role, number] = subprocess.Popen(
            [sys.executable, '-c', code],
            env={**os.environ, 'PYTHONPATH': os.pathsep.join(sys.path)},
        )

    def go(self, seconds: float) -> None:
        """Go through the phases, in so many seconds."""
        pause = LEASE + 0.5
        each = max(seconds / len(self.phases) - pause, 1)
        weights = sum(phase.weight for phase in self.phases) / len(self.phases)
        try:
            self.begin()
            for number, phase in enumerate(self.phases):
                self.board.put('phase', number)
                time.sleep(0.3)  # nobody is in the middle of the former one
                self.board.put('quiet', 0)
                self.go_through(phase, each * phase.weight / weights)
                self.board.put('quiet', 1)
                self.wait(pause)
                if self.board.stopped:
                    break
                self.look_at_what_is_left(phase)
        finally:
            self.board.put('stopped', 1)
            self.board.put('silent', 0)
            for server in self.down:
                server.kill(signal.SIGCONT)
            for child in self.children.values():
                child.send_signal(signal.SIGCONT)
                try:
                    child.wait(20)
                except subprocess.TimeoutExpired:
                    self.board.tell('a process does not end')
                    child.kill()

    def begin(self) -> None:
        """Start all processes, and wait until each key is written."""
        self.board.put('generation', 1)
        if any(phase.proxied for phase in self.phases):
            self.start('proxy')
        for role, count in (('writer', WRITERS), ('reader', READERS), ('probe', 1)):
            for number in range(count):
                self.start(role, number)
        until = clock() + 60
        while not self.renewed and not self.board.stopped:
            self.wait(0.05)
            if clock() > until:
                self.board.tell('an owner does not write its keys')
                return
        self.board.put('quiet', 1)

    @property
    def renewed(self) -> bool:
        """Whether each owner has written all its keys."""
        return all(each == self.board.generation for each in self.board.owners)

    def wait(self, seconds: float) -> None:
        """Wait, and see that nobody has ended."""
        until = clock() + seconds
        while clock() < until and not self.board.stopped:
            time.sleep(0.05)
            for (role, number), child in self.children.items():
                if child.poll() is not None:
                    self.board.tell(f'{role} {number} has ended: {child.returncode}')
                    self.board.put('stopped', 1)

    # Faults

    def soon(self, delay: float, step: Callable[[], float | None]) -> None:
        """Have something done in so many seconds, and again after so many as it returns.

        The phase does not end before it is done.
        """
        heapq.heappush(self.steps, (clock() + delay, next(self.counter), step))

    def go_through(self, phase: Phase, seconds: float) -> None:
        """Let a phase happen, with its faults again and again."""
        until = clock() + seconds

        def repeat(fault: Callable[[], float]) -> float | None:
            again = fault()
            return again if clock() + again < until else None

        for fault in phase.faults:
            again = ft.partial(repeat, getattr(self, fault.replace('-', '_')))
            self.soon(min(0.3 + random.random(), seconds / 2), again)
        if 'cut-feeds' in phase.faults:
            self.limit_feeds('100kb 0 0')
        while (clock() < until or self.steps) and not self.board.stopped:
            self.wait(0.02)
            while self.steps and self.steps[0][0] <= clock():
                step = heapq.heappop(self.steps)[2]
                again = step()
                if again is not None:
                    self.soon(again, step)
        if 'cut-feeds' in phase.faults:
            self.limit_feeds('32mb 8mb 60')

    def tick(self, what: str) -> None:
        """Count what was done."""
        self.done[self.board.phase, what] += 1

    def alive(self) -> list[Any]:
        """Return the servers that answer."""
        return [each for each in self.site.servers if each not in self.down]

    def kill_feeds(self) -> float:
        for server in self.alive():
            with cl.suppress(redis.RedisError), admin(server) as client:
                client.execute_command('CLIENT', 'KILL', 'TYPE', 'pubsub')
        self.tick('kills of feeds')
        return 0.7

    def stop_servers(self) -> float:
        if self.down or self.busy:
            return 0.3
        server = random.choice(self.site.servers)
        server.kill(signal.SIGSTOP)
        self.down.add(server)

        def go_on() -> None:
            server.kill(signal.SIGCONT)
            self.down.discard(server)

        self.soon(random.uniform(0.2, self.site.longest_stop), go_on)
        self.tick('stopped')
        return 2

    def silence(self) -> float:
        self.board.put('silent', 1)
        self.soon(random.uniform(LEASE, 2 * LEASE), lambda: self.board.put('silent', 0))
        self.tick('silences')
        return 2 * LEASE + 1

    def kill_readers(self) -> float:
        number = random.randrange(READERS)
        child = self.children['reader', number]
        child.kill()
        child.wait()
        self.start('reader', number)
        self.tick('readers killed')
        return 2

    def flush(self) -> float:
        if self.down or self.busy:
            return 0.3
        with cl.ExitStack() as stack:
            for owner in range(max(OWNERS) + 1):
                if not stack.enter_context(locked(self.scratch, owner, wait=False)):
                    return 0.01
            numbers = {key: self.board.begin(key, absent=True) for key in KEYS}
            for server in self.site.masters():
                with admin(server) as client:
                    client.flushall()
            now = clock()
            for key, number in numbers.items():
                self.board.foreign[key] = number
                self.board.ack(key, number, now)
        self.tick('flushes')
        return 1

    def cut_feeds(self) -> float:
        """Tell a process that is stopped more than a server keeps for it."""
        reader = self.children['reader', random.randrange(READERS)]
        reader.send_signal(signal.SIGSTOP)
        for server in self.alive():
            with cl.suppress(redis.RedisError), admin(server) as client:
                before = len(client.client_list(_type='pubsub'))
                for start in range(0, 8000, 1000):
                    pipeline = client.pipeline(transaction=False)
                    for number in range(start, start + 1000):
                        pipeline.set(f'{CACHE}:s{number:01000}', 1, px=1)
                    pipeline.execute(raise_on_error=False)
                if len(client.client_list(_type='pubsub')) < before:
                    self.tick('feeds cut')
        reader.send_signal(signal.SIGCONT)
        return 1

    def limit_feeds(self, limit: str) -> None:
        for server in self.site.servers:
            with cl.suppress(redis.RedisError), admin(server) as client:
                client.config_set('client-output-buffer-limit', f'pubsub {limit}')

    def move_slots(self) -> float:
        """Move the slot of some key; for a while it is between two masters."""
        if self.down or self.busy:
            return 0.3
        source, target = random.sample(self.site.masters(), 2)
        name = source.ask('RANDOMKEY')
        if name is None:
            return 0.01
        slot = source.ask('CLUSTER', 'KEYSLOT', name)
        here, there = (server.ask('CLUSTER', 'MYID') for server in (source, target))
        self.busy = True
        target.ask('CLUSTER', 'SETSLOT', slot, 'IMPORTING', here)
        source.ask('CLUSTER', 'SETSLOT', slot, 'MIGRATING', there)

        def go_on() -> float | None:
            if names := source.ask('CLUSTER', 'GETKEYSINSLOT', slot, 1):
                source.ask('MIGRATE', '127.0.0.1', target.port, '', 0, 60_000, 'KEYS', *names)
                return 0.05
            for server in (target, source, *self.site.masters()):
                server.ask('CLUSTER', 'SETSLOT', slot, 'NODE', there)
            self.busy = False
            return None

        self.soon(0.1, go_on)
        self.tick('slots moved')
        return 0.5

    def fail_over(self) -> float:
        """Let a replica take the place of a master that is killed, or silent."""
        if self.down or self.busy:
            return 0.3
        server = random.choice(self.site.masters())
        number = random.choice((signal.SIGSTOP, signal.SIGKILL))
        self.busy = True
        self.board.put('window', 1)
        server.kill(number)
        self.down.add(server)
        self.board.put('down', 1 << self.site.servers.index(server))
        replica = self.site.let_take_over(server)

        def wait_for_replica() -> float | None:
            if role_of(replica) != 'master':
                return 0.05
            self.write_anew(lambda: self.soon(LEASE + 1, bring_back))
            return None

        def bring_back() -> None:
            self.board.put('window', 1)
            if number == signal.SIGKILL:
                server.start()
            else:
                server.kill(signal.SIGCONT)
            self.soon(0.05, wait_for_server)

        def wait_for_server() -> float | None:
            if role_of(server) != 'slave':
                return 0.05
            self.down.discard(server)
            self.board.put('down', 0)
            self.write_anew(over)
            return None

        def over() -> None:
            self.busy = False
            self.tick('masters ' + ('killed' if number == signal.SIGKILL else 'replaced'))

        self.soon(0.05, wait_for_replica)
        return 1

    def write_anew(self, then: Callable[[], None]) -> None:
        """Have all keys written, which ends the time in which old values do not count."""
        self.board.put('generation', self.board.generation + 1)

        def wait_for_owners() -> float | None:
            if not self.renewed:
                return 0.05
            self.board.put('window', 0)
            then()
            return None

        self.soon(0.05, wait_for_owners)

    # What is left

    def look_at_what_is_left(self, phase: Phase) -> None:
        """Compare what the servers have with what was written."""
        board = self.board
        caches = [RemoteCache(url, CACHE, timeout=10) for url in self.site.urls]
        for key in KEYS:
            value = caches[server_of(key) % len(caches)].get(NAMES[key])
            number = board.absent[key] if value is None else number_in(value)
            if not board.acked[key] <= number <= board.begun[key]:
                board.tell(f'{phase.name}: {NAMES[key]} is {number} on the server: {value!r:.30}')
        for cache in caches:
            cache.close()

    def table(self) -> str:
        """Return what was measured."""
        board = self.board
        rows = range(READERS * THREADS)
        lines = [
            f'{"":50}{"late by, ms":>34}{"answer, ms":>17}{"waking, ms":>17}',
            f'{"":13}{"near":10}{"reads":>11}{"asked":>8}{"failed":>8}{"late":>9}{"p50":>7}{"p99":>8}'
            + f'{"p99.9":>8}{"longest":>9}' * 3,
        ]
        for number, phase in enumerate(self.phases[: board.phase + 1]):
            reads = board.sum_of(rows, 'reads', number)
            late = [1000 * each for each in board.percentiles(rows, number, reads)]
            own = [
                1000 * each
                for row in (ANSWER, WAKING)
                for each in board.percentiles([row], number, board.sum_of([row], 'reads', number))
            ]
            asked, failed, many = (
                board.sum_of(rows, each, number) for each in ('asked', 'failed', 'late')
            )
            done = [f'{count} {what}' for (at, what), count in self.done.items() if at == number]
            lines.append(
                f'{phase.name:13}{phase.near:10}{reads:11,}{asked / max(reads, 1):8.1%}{failed:8,}'
                f'{many / max(reads, 1):9.3%}{late[0]:7.2f}{late[1]:8.2f}'
                + ''.join(
                    f'{each:8.2f}{longest:9.2f}' for each, longest in (late[2:], own[2:4], own[6:8])
                )
                + f'  {", ".join(done)}'
            )
        healthy = [
            board.percentiles(rows, number, board.sum_of(rows, 'reads', number))[2]
            for number, phase in enumerate(self.phases[: board.phase + 1])
            if not phase.faults
        ]
        if healthy:
            lines.append(
                f'healthy: 99.9 % of the reads are late by at most {1000 * max(healthy):.2f} ms'
                ' (the goal: 5)'
            )
        return '\n'.join(lines)


def run(
    kind: str,
    seconds: float,
    names: Sequence[str] = (),
    nears: Sequence[str] = NEARS,
    mutant: str = '',
) -> str:
    """Make a run, print its table, and return what must not be.

    :param kind: one of SITES
    :param names: of situations; without any all
    :param nears: of NEARS
    :param mutant: code that readers run before they begin
    """
    site = SITES[kind][0]()
    try:
        with tempfile.TemporaryDirectory(prefix='stress-remote-') as scratch:
            a_run = Run(site, phases_of(kind, names, nears), scratch, mutant)
            a_run.go(seconds)
            print(f'{kind}\n{a_run.table()}\n', flush=True)
            stories = Path(scratch, 'stories')
            return stories.read_text() if stories.exists() else ''
    finally:
        site.stop()


def main() -> int:
    """Make runs; return the exit status: 1 if anything was wrong."""
    parser = argparse.ArgumentParser(description='Read what others write on servers that break.')
    parser.add_argument('--seconds', type=float, default=600)
    parser.add_argument('--site', choices=SITES, action='append')
    parser.add_argument('--near', choices=NEARS, action='append')
    parser.add_argument('--mutant', default='', help='code that readers run first')
    parser.add_argument('situations', nargs='*', help=', '.join(SITUATIONS))
    options = parser.parse_args()
    if unknown := set(options.situations) - set(SITUATIONS):
        parser.error(f'no such situation: {", ".join(unknown)}')
    sites = options.site or list(SITES)
    share = options.seconds / sum(SITES[each][1] for each in sites)
    stories = [
        run(
            site,
            share * SITES[site][1],
            options.situations,
            options.near or NEARS,
            options.mutant,
        )
        for site in sites
    ]
    print('\n'.join(filter(None, stories)) or 'nothing was wrong')
    return 1 if any(stories) else 0


if __name__ == '__main__':
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
