"""The proof that no read is older than the last commit, whoever made it.

What a cache keeps in memory (the memory tier) must be what SQLite would answer. Here several
processes of this package and of the original write while others read, and each read is checked.

A *register* is one or more keys that only one writer writes, always together, each time with the
next number; a number may also mean that the keys are absent, for instance every even one. On a
*board*, a file that all processes map, the writer puts the number in `begun` before it writes, and
in `done` after it has committed. A reader

    1. takes the number in `done`, and the highest that any reader has seen before: `low`,
    2. looks a key up,
    3. takes the number in `begun`: `high`.

What it has found must be what some number from `low` to `high` stands for: less is a value older
than a commit that was over before the lookup began, or than another read; more is a value that was
never committed. Nothing else about the schedule is assumed, so a violation is a defect, never bad
luck.

A *situation* is a crew of processes and something that happens to them meanwhile: checkpoints,
forks, kills and so on. As a program this runs situations for a given time:

    python tests/support/coherence.py --seconds 60 [situation ...]

The first violation ends the run and is told with all that is known of it.
"""

from __future__ import annotations

import argparse
import contextlib
import faulthandler
import io
import mmap
import os
import random
import shutil
import signal
import sqlite3
import sys
import tempfile
import threading
import time
import traceback
from collections import Counter, deque
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from interpreter import Child, Interpreter

import diskcache

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = Path(diskcache.__file__).resolve().parent.parent
OURS = hasattr(diskcache.Cache, 'memory_stats')

PATIENCE = 20  # Seconds after which a process that does not answer is held to hang.
LARGE = 40_000  # Bytes; more than disk_min_file_size, so such a value is in a file.
BULKY = 20_000  # Bytes; inline, on five pages of the log.
AGES = 1e6  # Seconds; expiry times that are never reached in a run, and far apart.
MISSING = object()

DEFAULT_LIMIT = 8 * 2**20
TINY_LIMIT = 5_000  # Bytes for the tier that must always drop something.


class Stopped(Exception):
    """The run is over."""


# --- the board -----------------------------------------------------------------------------------


READY = 2  # State of a thread that has begun; when it stands at a gate it is that odd number.


class Board:
    """Numbers that all processes see at once.

    Each is 8 bytes, aligned; one is stored and loaded by one instruction, so it is never seen
    half written. A commit comes before the store in its thread, and the store is seen by others
    only after it: processors either keep that order (x86) or are made to by the system calls and
    the barriers of SQLite in between.
    """

    STOP, GATE, QUIET, HEADER = range(4)

    def __init__(self, path: str, workers: int, registers: int) -> None:
        """Map the file `path`, which is made if it is not there."""
        count = self.HEADER + workers + 3 * registers
        with open(path, 'a+b') as file:
            file.truncate(8 * count)
            self._map = mmap.mmap(file.fileno(), 8 * count)
        self._numbers = numbers = memoryview(self._map).cast('Q')
        first = self.HEADER + workers
        self.state = numbers[self.HEADER : first]  # Of each worker thread: the gate it stands at.
        self.begun = numbers[first : first + registers]
        self.done = numbers[first + registers : first + 2 * registers]
        self.seen = numbers[first + 2 * registers :]

    @property
    def stopped(self) -> bool:
        """Whether all are to end."""
        return self._numbers[self.STOP] != 0

    def stop(self) -> None:
        """Let all end."""
        self._numbers[self.STOP] = 1

    @property
    def gate(self) -> int:
        """Odd: workers close their caches and wait until it is even again."""
        return self._numbers[self.GATE]

    @gate.setter
    def gate(self, number: int) -> None:
        self._numbers[self.GATE] = number

    @property
    def quiet(self) -> bool:
        """Whether writers are to read only."""
        return self._numbers[self.QUIET] != 0

    @quiet.setter
    def quiet(self, wanted: bool) -> None:
        self._numbers[self.QUIET] = wanted


# --- what a number stands for --------------------------------------------------------------------


@dataclass(frozen=True)
class Slow:
    """A value that takes its time to be unpickled, so that others do something meanwhile."""

    number: int

    def __reduce__(self) -> tuple[Any, ...]:
        return revive, (self.number,)


def revive(number: int) -> Slow:
    if random.random() < 0.3:
        time.sleep(random.random() * 0.008)
    return Slow(number)


def content(number: int, in_file: bool = True) -> Any:
    """Return a value for a number: of another kind each time, in turn.

    :param in_file: whether it may be one that is kept in a file
    """
    text = f'{number:010}'
    match number % 12:
        case 0 | 6:
            return text
        case 1:
            return float(number)
        case 2:
            return text.encode() * 20
        case 3:
            return {'number': number, 'text': text}
        case 4:
            return text * (BULKY // 10)
        case 5 if in_file:
            return text.encode() * (LARGE // 10)
        case 9 if in_file:
            return text * (LARGE // 10)
        case 10 if in_file:
            return {'number': number, 'text': text * (LARGE // 10)}
        case _:
            return number


def number_in(value: Any) -> int:
    """Return the number of which `value` is a content; ValueError if it is of several."""
    if isinstance(value, Slow):
        return value.number
    if not isinstance(value, dict | str | bytes):
        return int(value)
    text = value['text'] if isinstance(value, dict) else value
    text = text.decode() if isinstance(text, bytes) else text
    number = int(text[:10])
    if text != f'{number:010}' * (len(text) // 10) or (
        isinstance(value, dict) and value['number'] != number
    ):
        raise ValueError('parts of several numbers')
    return number


def lifetime(number: int) -> float | None:
    """Return the seconds until a register's item expires, at this number."""
    return None if number % 3 == 0 else AGES * (1 + number % 7)


def details_are_of(number: int, expire_time: float | None, tag: Any) -> bool:
    """Tell whether an item's expiry and tag are those of the number that its value is of."""
    expected = lifetime(number)
    if expected is None or expire_time is None:
        return expire_time is expected and tag == number
    return abs(expire_time - time.time() - expected) < AGES / 2 and tag == number


# --- registers -----------------------------------------------------------------------------------


def at_first(number: int, part: int) -> bool:
    """Keys that are absent only until they are written."""
    return number == 0


def now_and_then(number: int, part: int) -> bool:
    """Keys that are deleted every other time."""
    return number % 2 == 0


def but_one(number: int, part: int) -> bool:
    """Keys of which only one is there, a different one each time."""
    return number == 0 or number % CULLED != part


@dataclass(frozen=True)
class Kind:
    """How the registers of a kind are written."""

    write: Callable[[Any, Register, int], None]  # (cache, register, number)
    is_absent: Callable[[int, int], bool] = at_first  # (number, part)
    parts: int = 1  # Keys of a register.
    has_details: bool = False  # Expiry and tag go with the number.
    in_expiry: bool = False  # The number is in the expiry time, the value says nothing.
    key: Callable[[int, int], Any] | None = None  # (register, part), where the key matters.
    # In a transaction the original removes the files of former values too early, before the end
    # or even if it is rolled back: then it must find none.
    in_file: bool = False


@dataclass(frozen=True)
class Register:
    """Keys that one writer writes."""

    number: int
    kind: Kind
    keys: tuple[Any, ...]


def key_of(number: int, part: int) -> Any:
    """Return a key; those of different registers are of different types."""
    name = f'register {number} part {part}'
    shapes = (
        name,
        1000 * number + part,
        name.encode(),
        (name, part, None),
        number + part / 8 + 0.1,
    )
    return shapes[number % len(shapes)]


def make_registers(kinds: tuple[str, ...], writers: int) -> list[list[Register]]:
    """Return the registers of each writer: one of each kind."""
    registers = []
    for writer in range(writers):
        own = []
        for index, name in enumerate(kinds):
            kind = KINDS[name]
            number = writer * len(kinds) + index
            make = kind.key or key_of
            own.append(Register(number, kind, tuple(make(number, p) for p in range(kind.parts))))
        registers.append(own)
    return registers


class RollBack(Exception):
    """Ends a transaction that is not to happen."""


def store(cache: Any, key: Any, number: int, in_file: bool = True) -> None:
    cache.set(key, content(number, in_file), lifetime(number), tag=number, retry=True)


def write_set(cache: Any, register: Register, number: int) -> None:
    store(cache, register.keys[0], number)


def write_slow(cache: Any, register: Register, number: int) -> None:
    cache.set(register.keys[0], Slow(number), retry=True)


def write_item(cache: Any, register: Register, number: int) -> None:
    cache[register.keys[0]] = content(number)


def write_add_delete(cache: Any, register: Register, number: int) -> None:
    (key,) = register.keys
    if number % 4 == 0:
        cache.delete(key, retry=True)
    elif number % 4 == 2:
        with contextlib.suppress(KeyError):
            del cache[key]
    elif not cache.add(key, content(number), retry=True):
        cache.set(key, content(number), retry=True)  # Not deleted: the writer before was killed.


def write_set_pop(cache: Any, register: Register, number: int) -> None:
    (key,) = register.keys
    if number % 2:
        store(cache, key, number)
    else:
        cache.pop(key, retry=True)


def write_expired(cache: Any, register: Register, number: int) -> None:
    (key,) = register.keys
    if number % 2:
        store(cache, key, number)
    elif number % 4:
        cache.touch(key, expire=-1, retry=True)
    else:
        cache.set(key, content(number), expire=-1, retry=True)


def write_evicted(cache: Any, register: Register, number: int) -> None:
    (key,) = register.keys
    tag = f'evict {register.number}'
    if number % 2:
        cache.set(key, content(number), tag=tag, retry=True)
    else:
        cache.evict(tag, retry=True)


QUEUE_START = 500_000_000_000_000


def queue_key(number: int, part: int) -> str:
    return f'queue {number}-{QUEUE_START}'


def write_queue(cache: Any, register: Register, number: int) -> None:
    (key,) = register.keys
    prefix = key.rpartition('-')[0]
    if number % 2 == 0:
        cache.pull(prefix, retry=True)
        return
    pushed = cache.push(content(number), prefix, retry=True)
    if pushed != key:  # Not pulled: the writer before was killed.
        cache.set(key, content(number), retry=True)
        cache.delete(pushed, retry=True)


def write_incr(cache: Any, register: Register, number: int) -> None:
    (key,) = register.keys
    if cache.incr(key, default=number - 1, retry=True) != number:
        cache.set(key, number, retry=True)


def write_touch(cache: Any, register: Register, number: int) -> None:
    (key,) = register.keys
    if not cache.touch(key, expire=AGES * number, retry=True):
        cache.set(key, 'touched', expire=AGES * number, retry=True)


def write_several(cache: Any, register: Register, number: int) -> None:
    with cache.transact(retry=True):
        for part, key in enumerate(register.keys):
            store(cache, key, number, register.kind.in_file)
            if part == 0 and OURS:
                assert number_in(cache[key]) == number, 'a transaction does not see its own write'


def write_rolled_back(cache: Any, register: Register, number: int) -> None:
    """Write what nobody may see, roll it back, and then write the number."""
    key, other = register.keys
    size = LARGE if register.kind.in_file and number % 8 == 0 else 100
    before = cache.get(key, MISSING), cache.get(other, MISSING)
    with contextlib.suppress(RollBack), cache.transact(retry=True):
        cache.set(key, -1)
        cache.delete(other)
        with cache.transact():
            cache.set(other, 'x' * size)
            cache.incr(key, -1)
        if OURS:
            assert (cache.get(key), cache[other]) == (-2, 'x' * size), 'own writes are not seen'
            assert key in cache
        raise RollBack
    if OURS:
        after = cache.get(key, MISSING), cache.get(other, MISSING)
        assert after == before, 'what was rolled back is still seen'
    with cache.transact(retry=True):
        store(cache, key, number, register.kind.in_file)
        store(cache, other, number, register.kind.in_file)


def write_while_others_read(cache: Any, register: Register, number: int) -> None:
    """Keep a transaction open for a while, which is then committed or rolled back."""
    for fate in ('rolled back', 'committed') if number % 2 else ('committed',):
        with contextlib.suppress(RollBack), cache.transact(retry=True):
            for key in register.keys:
                written = number if fate == 'committed' else 10**9
                store(cache, key, written, register.kind.in_file)
                time.sleep(0.0005)
            if fate == 'rolled back':
                raise RollBack


CULLED = 8  # Keys of a register of which all but one are culled; not more than cull_limit.


def write_culling(cache: Any, register: Register, number: int) -> None:
    """Write one key; all others go, as size_limit is one byte."""
    cache.set(register.keys[number % CULLED], number, retry=True)


def memoized_key(number: int, part: int) -> Any:
    return ('memoized', number, None)  # What memoize(name='memoized') makes of the call f(number).


def in_a_thread(function: Callable[[], None]) -> None:
    """Run `function` in a thread of its own: `_con` stays with the thread that asks for it."""
    errors = []

    def run() -> None:
        try:
            function()
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    if errors:
        raise errors[0]


UPDATE = (
    'UPDATE Cache SET value = ?, mode = 1, size = 0, filename = NULL, expire_time = NULL'
    ' WHERE key = ? AND raw = 1'
)
DELETE = 'DELETE FROM Cache WHERE key = ? AND raw = 1'


def sql_key(number: int, part: int) -> str:
    return f'by SQL {number} {part}'


half_read: deque[sqlite3.Cursor] = deque(maxlen=2)  # Each keeps a snapshot open.


def write_sql_transact(cache: Any, register: Register, number: int) -> None:
    """Leave a cursor behind, too: what it sees gets old, and nobody may see it with it."""
    key, other = register.keys
    with cache._transact(retry=True) as (sql, _):
        for each in (key, other):
            if sql(UPDATE, (number, each)).rowcount == 0:
                cache.set(each, number)
        if OURS:
            half_read.append(sql('SELECT key FROM Cache'))


def write_sql_mixed(cache: Any, register: Register, number: int) -> None:
    """One key by a method, the other by SQL, in one transaction."""
    key, other = register.keys

    def write() -> None:
        with cache.transact(retry=True):
            cache.set(key, number)
            if cache._sql(UPDATE, (number, other)).rowcount == 0:
                cache.set(other, number)

    in_a_thread(write)


def write_sql_alone(cache: Any, register: Register, number: int) -> None:
    (key,) = register.keys

    def write() -> None:
        if cache._con.execute(UPDATE, (number, key)).rowcount == 0:
            cache.set(key, number, retry=True)

    in_a_thread(write)


def write_sql_begin(cache: Any, register: Register, number: int) -> None:
    """In a transaction of the user's own, rolled back and then committed."""
    (key,) = register.keys

    def write() -> None:
        before = cache.get(key)
        for end, value in (('ROLLBACK', -1), ('COMMIT', number)):
            cache._sql('BEGIN IMMEDIATE')
            missing = cache._sql(UPDATE, (value, key)).rowcount == 0
            if not missing and OURS:
                assert cache.get(key) == value, 'own writes are not seen'
            cache._sql(end)
            if not missing and OURS:
                assert cache.get(key) == (value if end == 'COMMIT' else before), 'nor their end'
        if missing:
            cache.set(key, number, retry=True)

    in_a_thread(write)


def write_sql_delete(cache: Any, register: Register, number: int) -> None:
    (key,) = register.keys
    if number % 2:
        cache.set(key, number, retry=True)
    else:
        in_a_thread(lambda: cache._sql(DELETE, (key,)) and None)


def write_sql_besides(cache: Any, register: Register, number: int) -> None:
    """By a connection of the same process that the package knows nothing of."""
    (key,) = register.keys
    path = f'{cache.directory}/cache.db'
    with closing(sqlite3.connect(path, timeout=60, isolation_level=None)) as con:
        if con.execute(UPDATE, (number, key)).rowcount == 0:
            cache.set(key, number, retry=True)


KINDS = {
    'set': Kind(write_set, has_details=True),
    'item': Kind(write_item),
    'slow': Kind(write_slow),
    'memoized': Kind(write_set, has_details=True, key=memoized_key),
    'add, delete': Kind(write_add_delete, now_and_then),
    'set, pop': Kind(write_set_pop, now_and_then, has_details=True),
    'expired': Kind(write_expired, now_and_then, has_details=True),
    'evicted': Kind(write_evicted, now_and_then),
    'queue': Kind(write_queue, now_and_then, key=queue_key),
    'incr': Kind(write_incr),
    'touch': Kind(write_touch, in_expiry=True),
    'several': Kind(write_several, parts=3, has_details=True),
    'rolled back': Kind(write_rolled_back, parts=2, has_details=True),
    'kept open': Kind(write_while_others_read, parts=2, has_details=True),
    'several, files': Kind(write_several, parts=3, has_details=True, in_file=True),
    'rolled back, files': Kind(write_rolled_back, parts=2, has_details=True, in_file=True),
    'kept open, files': Kind(write_while_others_read, parts=2, has_details=True, in_file=True),
    'culling': Kind(write_culling, but_one, parts=CULLED),
    'sql in _transact': Kind(write_sql_transact, parts=2, key=sql_key),
    'sql in transact': Kind(write_sql_mixed, parts=2, key=sql_key),
    'sql alone': Kind(write_sql_alone, key=sql_key),
    'sql begin': Kind(write_sql_begin, key=sql_key),
    'sql delete': Kind(write_sql_delete, now_and_then, key=sql_key),
    'sql besides': Kind(write_sql_besides, key=sql_key),
}

USUAL = (
    'set', 'item', 'memoized', 'add, delete', 'set, pop', 'expired', 'evicted', 'queue', 'incr',
    'touch', 'several', 'rolled back',
)  # fmt: skip


# --- the readers ---------------------------------------------------------------------------------


class Absent(Exception):
    """Raised by the memoized function, so that it never stores anything."""


def has_no_result(number: int) -> Any:
    raise Absent


class Caches:
    """The Cache objects of a process on one directory, and what their memory was good for."""

    def __init__(self, directory: str, limits: tuple[int, ...]) -> None:
        """Open one for each memory limit."""
        self.directory = directory
        self.all = [self.open(limit) for limit in limits]
        self.memory: Counter[str] = Counter()  # Of those that are closed for good.

    def open(self, limit: int) -> Any:
        """Return one more, which is not kept."""
        settings: dict[str, Any] = {'memory_limit': limit} if OURS else {}
        cache: Any = diskcache.Cache(self.directory, **settings)
        cache.recall = cache.memoize(name='memoized')(has_no_result)
        return cache

    def discard(self, cache: Any) -> None:
        """Close one that was opened by `open`."""
        self.memory.update(cache.memory_stats())
        cache.close()

    def close(self) -> None:
        """Close what can be closed now; the objects can be used again."""
        for cache in self.all:
            cache.close()

    def stats(self) -> Counter[str]:
        """Return the sums of all memory_stats."""
        total = Counter(self.memory)
        for cache in self.all if OURS else []:
            total.update(cache.memory_stats())
        return total


def read_get(cache: Any, key: Any) -> Any:
    return cache.get(key, MISSING, retry=True)


def read_item(cache: Any, key: Any) -> Any:
    try:
        return cache[key]
    except KeyError:
        return MISSING


def read_memoized(cache: Any, key: Any) -> Any:
    try:
        return cache.recall(key[1])
    except Absent:
        return MISSING


def read_file(cache: Any, key: Any) -> Any:
    value = cache.get(key, MISSING, read=True, retry=True)
    if not isinstance(value, io.IOBase):
        return value
    with value:
        return value.read()


def read_front(cache: Any, key: Any) -> Any:
    """Look at the front of a queue; writers that were killed leave items behind `key` only."""
    found, value = cache.peek(key.rpartition('-')[0], (key, MISSING), retry=True)
    return value if found == key else MISSING


def read_back(cache: Any, key: Any) -> Any:
    """Look at the back of a queue, or at the key itself if it is not there."""
    found, value = cache.peek(key.rpartition('-')[0], (key, MISSING), 'back', retry=True)
    return value if found == key else read_get(cache, key)


WAYS: dict[str, Callable[[Any, Any], Any]] = {
    'get': read_get,
    '[]': read_item,
    'memoized': read_memoized,
    'read': read_file,
    'front': read_front,
    'back': read_back,
}
PLAIN_WAYS = ('get', '[]', 'read', 'in', 'details')


class Reader:
    """Looks keys up and checks what it gets; one for each thread."""

    def __init__(self, work: Work, name: str) -> None:
        """Make one that begins to know nothing."""
        self.work = work
        self.name = name
        self.board = work.board
        self.random = random.Random(f'{work.seed} {name}')
        self.low = [0] * len(work.registers)  # Of each register the number seen last.
        self.reads = 0

    def look(self, cache: Any, register: Register, part: int, way: str) -> None:
        """Look one of a register's keys up and check what is found."""
        number = register.number
        key = register.keys[part]
        low = max(self.board.done[number], self.board.seen[number], self.low[number])
        self.reads += 1
        found: Any = None
        try:
            found = self._find(cache, register, key, way)
            high = self.board.begun[number]
            at_least = self._judge(register.kind.is_absent, part, found, low, high)
        except ValueError as error:
            self._tell(cache, register, key, way, low, f'{found!r:.200}: {error}')
            raise Stopped from None
        self.low[number] = at_least
        if self.board.seen[number] < at_least:
            self.board.seen[number] = at_least

    def _find(self, cache: Any, register: Register, key: Any, way: str) -> int | bool:
        """Return the number found; False if the key is absent, True if it is there somehow."""
        if way == 'in':
            return bool(key in cache)
        if way == 'details' or register.kind.in_expiry:
            return self._find_details(cache, register.kind, key)
        value = WAYS[way](cache, key)
        return False if value is MISSING else number_in(value)

    @staticmethod
    def _find_details(cache: Any, kind: Kind, key: Any) -> int | bool:
        """Return the number found; ValueError if its expiry and tag are of another."""
        value, expire_time, tag = cache.get(key, MISSING, expire_time=True, tag=True, retry=True)
        if value is MISSING:
            return False
        if kind.in_expiry:
            value = round((expire_time - time.time()) / AGES)
        number = number_in(value)
        if kind.has_details and not details_are_of(number, expire_time, tag):
            raise ValueError(f'number {number} with expire time {expire_time} and tag {tag!r}')
        return number

    @staticmethod
    def _judge(
        is_absent: Callable[[int, int], bool], part: int, found: int | bool, low: int, high: int
    ) -> int:
        """Return the least number that it can be; ValueError if there is none."""
        if found is True or found is False:
            for number in range(low, min(low + CULLED, high) + 1):
                if is_absent(number, part) is not found:
                    return number
        elif low <= found <= high and not is_absent(found, part):
            return found
        raise ValueError(f'this stands for no number from {low} to {high}')

    def _tell(
        self, cache: Any, register: Register, key: Any, way: str, low: int, what: str
    ) -> None:
        """Write the whole story down, before anything changes."""
        number = register.number
        story = {
            'who': f'{self.work.name}, {self.name}, process {os.getpid()}',
            'key': repr(key),
            'register': f'{number}, written by {self.work.kind_names[number]!r}',
            'way': way,
            'got': what,
            'done before the lookup, or seen by a reader before': low,
            'seen by this reader before': self.low[number],
            'begun now': self.board.begun[number],
            'done now': self.board.done[number],
        }
        if OURS:
            story['memory_limit'] = cache.memory_limit
            story['memory_stats'] = str(cache.memory_stats())
            story['the same once more'] = describe(lambda: self._find(cache, register, key, way))
            with diskcache.Cache(cache.directory, memory_limit=0) as fresh:
                story['a new Cache without memory'] = describe(
                    lambda: self._find(fresh, register, key, way if way != 'memoized' else 'get')
                )
            story['memory_stats then'] = str(cache.memory_stats())
        self.work.tell('\n'.join(f'    {name}: {value}' for name, value in story.items()))

    def burst(self) -> None:
        """Look some keys up, some of them many times."""
        caches = self.work.caches
        borrowed = self.random.random() < 0.02
        cache = caches.open(DEFAULT_LIMIT) if borrowed else self.random.choice(caches.all)
        try:
            chosen = self.random.sample(self.work.registers, min(6, len(self.work.registers)))
            for _ in range(6):
                for register in chosen:
                    part = self.random.randrange(len(register.keys))
                    self.look(cache, register, part, self._way_for(register))
                if self.work.role.special == 'closes' and self.random.random() < 0.3:
                    cache.close()  # Whatever the other threads are doing with it.
                    time.sleep(self.random.random() * 0.003)
        finally:
            if borrowed:
                caches.discard(cache)

    def _way_for(self, register: Register) -> str:
        if register.kind.key is memoized_key and self.random.random() < 0.5:
            return 'memoized'
        if register.kind.key is queue_key and self.random.random() < 0.5:
            return self.random.choice(('front', 'back'))
        if register.kind.in_expiry:
            return self.random.choice(('in', 'details'))
        return self.random.choice(PLAIN_WAYS)


def describe(function: Callable[[], Any]) -> str:
    """Return what a function returns, or what it raises, as text."""
    try:
        return f'{function()!r:.200}'
    except Exception as error:
        return f'{error!r:.200}'


# --- the writers ---------------------------------------------------------------------------------


class Writer:
    """Writes its registers, each time the next number."""

    def __init__(self, work: Work, name: str, own: list[Register]) -> None:
        """Make one; what was written before it goes on from there."""
        self.work = work
        self.board = work.board
        self.own = own
        self.reader = Reader(work, name)
        self.random = self.reader.random

    def advance(self, cache: Any, register: Register) -> None:
        """Write the next number, publish it, and see it at once."""
        number = self.board.begun[register.number] + 1
        self.board.begun[register.number] = number
        register.kind.write(cache, register, number)
        self.board.done[register.number] = number
        if OURS:
            for part in range(len(register.keys)):
                self.reader.look(cache, register, part, 'get')
            if register.kind.key is queue_key:
                self.reader.look(cache, register, 0, 'front')

    def burst(self) -> None:
        """Write some registers, then let others work."""
        if self.board.quiet:
            time.sleep(0.001)
            if OURS:
                self.reader.burst()
            return
        closes = self.work.role.special == 'closes'
        for _ in range(1 if closes else self.random.randrange(1, 6)):
            cache = self.random.choice(self.work.caches.all)
            self.advance(cache, self.random.choice(self.own))
            if closes:
                cache.close()
        time.sleep(self.random.random() * (0.02 if closes else 0.003))


# --- a process -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Role:
    """What a process of a crew does."""

    package: str  # 'ours' or 'original'
    writers: int = 0
    readers: int = 0
    limits: tuple[int, ...] = (DEFAULT_LIMIT,)
    special: str = ''  # 'forks', 'kills', 'tears', 'lingers' or 'closes'

    @property
    def threads(self) -> int:
        """How many threads there are that work, or wait at the gate."""
        if self.special in ('kills', 'tears'):
            return 1
        # One of the writers is the main thread if that forks.
        return self.readers + self.writers - (self.special == 'forks')


class Witness:
    """Tells what goes wrong in one process, and ends the run with it."""

    def __init__(self, name: str, scratch: str, board: Board) -> None:
        self.name = name
        self.scratch = scratch
        self.board = board

    def tell(self, story: str) -> None:
        """Write a story down for whoever has started the run, and end it."""
        data = f'{time.time():.6f} {self.name}:\n{story}\n\n'.encode()
        descriptor = os.open(f'{self.scratch}/stories', os.O_CREAT | os.O_APPEND | os.O_WRONLY)
        os.write(descriptor, data)
        os.close(descriptor)
        self.board.stop()

    @contextlib.contextmanager
    def told(self) -> Iterator[None]:
        """Tell what goes wrong inside."""
        try:
            yield
        except Stopped:
            pass
        except BaseException as error:
            details = {name: vars(error)[name] for name in vars(error)}  # SQLite's error code.
            self.tell(f'{traceback.format_exc()}{details or ""}')


def stories_in(scratch: str) -> str:
    """Return all that was told; empty if nothing went wrong."""
    path = Path(scratch, 'stories')
    return path.read_text() if path.exists() else ''


class Work(Witness):
    """What goes on in one process."""

    def __init__(
        self,
        name: str,
        seed: str,
        directory: str,
        scratch: str,
        kinds: tuple[str, ...],
        all_writers: int,
        all_threads: int,
        role: dict[str, Any],
        first_writer: int,
        first_thread: int,
    ) -> None:
        """Take part in a run; see `Run` for the arguments."""
        self.seed = seed
        self.directory = directory
        self.role = Role(**role)
        self.first_thread = first_thread
        by_writer = make_registers(kinds, all_writers)
        self.registers = [register for own in by_writer for register in own]
        self.kind_names = list(kinds) * all_writers
        self.own = by_writer[first_writer : first_writer + self.role.writers]
        super().__init__(name, scratch, Board(f'{scratch}/board', all_threads, len(self.registers)))
        self.counts: Counter[str] = Counter()
        self.caches: Caches = None  # type: ignore[assignment]  # Opened when the work begins.

    def run(self) -> dict[str, int]:
        """Work until the run is over; return what was done, counted."""
        sys.setswitchinterval(1e-4)
        with self.told():
            if self.role.special in ('kills', 'tears'):
                self.board.state[self.first_thread] = READY
                self._kill_children()
            else:
                self.caches = Caches(self.directory, self.role.limits)
                self.caches.close()  # The original's connections are each thread's own affair.
                self._run_threads()
                self.counts.update(self.caches.stats())
                self.caches.close()
        return dict(self.counts)

    def _run_threads(self) -> None:
        forks = self.role.special == 'forks'
        workers: list[Reader | Writer] = [
            Writer(self, f'writer {index}', own)
            for index, own in enumerate(self.own)
            if index > 0 or not forks
        ]
        workers += [Reader(self, f'reader {index}') for index in range(self.role.readers)]
        threads = [
            threading.Thread(target=self._work, args=(worker, self.first_thread + index))
            for index, worker in enumerate(workers)
        ]
        for thread in threads:
            thread.start()
        if forks:
            with self.told():
                self._fork_children(Writer(self, 'forking thread', self.own[0]))
        for thread in threads:
            thread.join()
        for worker in workers:
            self._count(worker)

    def _count(self, worker: Reader | Writer) -> None:
        reader = worker.reader if isinstance(worker, Writer) else worker
        self.counts['reads'] += reader.reads

    def _work(self, worker: Reader | Writer, thread: int) -> None:
        with self.told():
            self.board.state[thread] = READY
            while not self.board.stopped:
                worker.burst()
                if self.role.special == 'closes':
                    self.caches.close()
                    time.sleep(worker.random.random() * 0.01)
                if self.board.gate % 2:
                    self._stand_at_gate(thread)

    def _stand_at_gate(self, thread: int) -> None:
        """Close everything, and wait until the gate is open."""
        gate = self.board.gate
        lingerer = None
        if self.role.special == 'lingers':
            lingerer = self.caches.open(DEFAULT_LIMIT)
            for register in self.registers:
                lingerer.get(register.keys[0], retry=True)
        self.caches.close()
        self.board.state[thread] = gate
        while self.board.gate == gate and not self.board.stopped:
            time.sleep(0.0002)
        self.board.state[thread] = gate + 1
        if lingerer is not None:  # On files that have no name any more: anything but a crash.
            for _ in range(2):
                for register in self.registers:
                    lingerer.get(register.keys[0], retry=True)
            self.caches.discard(lingerer)

    # Forks

    def _fork_children(self, writer: Writer) -> None:
        """Fork again and again, in the middle of everything; children do what their parent does."""
        while not self.board.stopped:
            writer.burst()
            writer.reader.burst()
            self.counts.update(Child(self._live_as_child, writer, 2).result())
            self.counts['forks'] += 1
        self._count(writer)

    def _live_as_child(self, writer: Writer, generations: int) -> dict[str, int]:
        """Read and write on behalf of the parent, which waits; its other threads go on."""
        before = self.caches.stats()
        self.counts.clear()
        reader = writer.reader
        reader.reads = 0
        with self.told():
            if reader.random.random() < 0.5:
                time.sleep(reader.random.random() * 0.003)  # Others write before the first read.
            for _ in range(reader.random.randrange(1, 8)):
                reader.burst()
                if reader.random.random() < 0.5:
                    writer.burst()
                if self.board.stopped:
                    break
                if generations > 1 and reader.random.random() < 0.3:
                    self.counts.update(Child(self._live_as_child, writer, generations - 1).result())
                    self.counts['forks'] += 1
            self._count(writer)
            after = self.caches.stats()
            self.counts.update({name: after[name] - before[name] for name in ('hits', 'misses')})
            self.counts['hits in children'] += after['hits'] - before['hits']
        return dict(self.counts)

    # Kills

    def _kill_children(self) -> None:
        """Start processes and kill them, at any moment, again and again.

        This one has no cache open itself, so its children inherit nothing.
        """
        chance = random.Random(f'{self.seed} kills')
        live = self._write_until_killed if self.role.special == 'kills' else self._tear_header
        while not self.board.stopped:
            pid = os.fork()
            if pid == 0:
                with self.told():
                    live()
                os._exit(0)
            time.sleep(chance.uniform(0.002, 0.03))
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
            self.counts[self.role.special] += 1

    def _tear_header(self) -> None:
        """Leave the header of the wal-index as somebody does who is killed while he writes it.

        That takes nanoseconds, so killing alone would hardly ever hit it. Of the two copies the
        second is written first; here the first one is half written. Whoever reads next finds that
        they differ, and recovers the header from the log while the others go on.
        """
        path = f'{self.directory}/cache.db'
        con = sqlite3.connect(path, timeout=PATIENCE, isolation_level=None)
        con.execute('BEGIN IMMEDIATE')
        descriptor = os.open(f'{path}-shm', os.O_RDWR)
        header = bytearray(os.pread(descriptor, 96, 0))
        header[8:12], header[48 + 8 : 48 + 12] = b'half', b'torn'
        os.pwrite(descriptor, header, 0)
        os.kill(os.getpid(), signal.SIGKILL)

    def _write_until_killed(self) -> None:
        self.caches = Caches(self.directory, self.role.limits)
        writers = [Writer(self, f'doomed {os.getpid()}', own) for own in self.own]
        for worker in writers:
            worker.random.seed()
        while not self.board.stopped:
            for writer in writers:
                cache = writer.random.choice(self.caches.all)
                writer.advance(cache, writer.random.choice(writer.own))


def work(arguments: dict[str, Any]) -> dict[str, int]:
    """Take part in a run, in a process started for that."""
    faulthandler.enable()
    return Work(**arguments).run()


def write_alone(arguments: dict[str, Any], everything: bool) -> None:
    """Write some registers, or all, while everybody else stands at the gate."""
    alone = Work(**arguments)
    with alone.told():
        alone.caches = Caches(alone.directory, (DEFAULT_LIMIT,))
        writer = Writer(alone, 'alone', alone.registers)
        writer.random.seed()
        count = len(writer.own) if everything else len(writer.own) // 3
        for register in writer.random.sample(writer.own, count):
            writer.advance(alone.caches.all[0], register)
        alone.caches.close()


def read_everything(arguments: dict[str, Any]) -> None:
    """Look at what there is when everybody has ended."""
    alone = Work(**arguments)
    with alone.told():
        alone.caches = Caches(alone.directory, (0,))
        reader = Reader(alone, 'afterwards')
        for register in alone.registers:
            for part in range(len(register.keys)):
                reader.look(alone.caches.all[0], register, part, 'get')
        alone.caches.close()


# --- a run ---------------------------------------------------------------------------------------


class Interpreters:
    """Processes of both packages, which last from one run to the next."""

    def __init__(self, original: Path) -> None:
        """Start none yet; `original` is the directory in which the original is installed."""
        self._packages = {'ours': PACKAGE, 'original': original}
        self._started: dict[str, list[Interpreter]] = {'ours': [], 'original': []}

    def take(self, package: str, count: int) -> list[Interpreter]:
        """Return so many that are alive; the first ones are always the same."""
        alive = [each for each in self._started[package] if each.process.poll() is None]
        while len(alive) < count:
            alive.append(Interpreter(self._packages[package]))
        self._started[package] = alive
        return alive[:count]

    def close(self) -> None:
        """End all, and what they have forked."""
        for started in self._started.values():
            for interpreter in started:
                interpreter.close()


@dataclass
class Outcome:
    """What has come of a run."""

    story: str  # Of all that went wrong; empty if nothing did.
    counts: Counter[str]


class Run:
    """A crew at work in one directory, and what happens to it."""

    def __init__(
        self, situation: Situation, interpreters: Interpreters, scratch: str, seed: str
    ) -> None:
        """Prepare everything in the directory `scratch`."""
        self.situation = situation
        self.interpreters = interpreters
        self.scratch = scratch
        self.directory = f'{scratch}/cache'
        self.random = random.Random(seed)
        self.counts: Counter[str] = Counter()
        self._common = {
            'seed': seed,
            'directory': self.directory,
            'scratch': scratch,
            'kinds': situation.kinds,
            'all_writers': sum(role.writers for role in situation.crew),
            'all_threads': sum(role.threads for role in situation.crew),
        }
        self.me = Work(**self._arguments('the conductor'))
        self.board = self.me.board
        diskcache.Cache(self.directory, **situation.settings).close()

    def _arguments(
        self, name: str, role: Role | None = None, first_writer: int = 0, first_thread: int = 0
    ) -> dict[str, Any]:
        return {
            **self._common,
            'name': name,
            'role': asdict(role or Role('ours')),
            'first_writer': first_writer,
            'first_thread': first_thread,
        }

    def go(self, seconds: float) -> Outcome:
        """Let the crew work for so long; return what was done, and what went wrong."""
        at_work = self._start()
        try:
            with self.me.told():
                self._wait(lambda: 0 not in self.board.state, 'a process does not begin')
                deadline = time.monotonic() + seconds
                while time.monotonic() < deadline and not self.board.stopped:
                    self.situation.disturb(self)
        finally:
            self.board.stop()
            self._end(at_work)
        read_everything(self._arguments('the conductor'))
        self.counts['writes'] = sum(self.board.done)
        return Outcome(stories_in(self.scratch), self.counts)

    def _start(self) -> list[Interpreter]:
        """Give each role of the crew to a process."""
        packages = Counter(role.package for role in self.situation.crew)
        free = {name: self.interpreters.take(name, count) for name, count in packages.items()}
        at_work = []
        writer = thread = 0
        for role in self.situation.crew:
            name = f'{role.package} {len(free[role.package])}'
            interpreter = free[role.package].pop()
            arguments = self._arguments(name, role, writer, thread)
            interpreter.start('import coherence\ncoherence.work(arguments)', arguments=arguments)
            at_work.append(interpreter)
            writer += role.writers
            thread += role.threads
        return at_work

    def _end(self, at_work: list[Interpreter]) -> None:
        for interpreter in at_work:
            try:
                self.counts.update(interpreter.result())
            except AssertionError as error:  # It has died, or hangs.
                self.me.tell(f'{error}')
                interpreter.close()

    def _wait(self, condition: Callable[[], bool], complaint: str) -> None:
        deadline = time.monotonic() + PATIENCE
        while not condition():
            if self.board.stopped:
                raise Stopped
            if time.monotonic() > deadline:
                raise TimeoutError(f'{complaint}: {self.board.state.tolist()}')
            time.sleep(0.0003)

    @contextlib.contextmanager
    def everybody_closed(self) -> Iterator[None]:
        """A block during which nobody has the directory open."""
        gate = self.board.gate + 1
        self.board.gate = gate
        self._wait(
            lambda: all(state == gate for state in self.board.state),
            f'a thread does not come to gate {gate}',
        )
        yield
        self.board.gate = gate + 1

    def write_alone(self, everything: bool = False) -> None:
        """Let this process, or one of the original, write while all others stand at the gate."""
        if self.random.random() < 0.5:
            write_alone(self._arguments('the conductor'), everything)
        else:
            count = sum(role.package == 'original' for role in self.situation.crew) + 1
            *_, scribe = self.interpreters.take('original', count)
            arguments = self._arguments('original 0', Role('original'))
            scribe.run(
                'import coherence\ncoherence.write_alone(arguments, everything)',
                arguments=arguments,
                everything=everything,
            )

    def connect(self, timeout: float = 0.1) -> closing[sqlite3.Connection]:
        """Return a connection of nobody's, as the context that closes it."""
        path = f'{self.directory}/cache.db'
        return closing(sqlite3.connect(path, timeout=timeout, isolation_level=None))


# --- what happens meanwhile ----------------------------------------------------------------------


def do_nothing(run: Run) -> None:
    time.sleep(0.01)


def checkpoint(run: Run) -> None:
    """Copy the log into the database, also so that it begins anew."""
    mode = run.random.choice(('PASSIVE', 'FULL', 'RESTART', 'TRUNCATE'))
    with contextlib.suppress(sqlite3.OperationalError), run.connect() as con:
        (busy, _, _) = con.execute(f'PRAGMA wal_checkpoint({mode})').fetchone()
        run.counts['checkpoints'] += not busy
    time.sleep(run.random.random() * 0.01)


def vacuum(run: Run) -> None:
    with contextlib.suppress(sqlite3.OperationalError), run.connect() as con:
        con.execute('VACUUM')
        run.counts['vacuums'] += 1
    time.sleep(run.random.random() * 0.02)


def close_and_reopen(run: Run) -> None:
    """Let all close, so that the log is deleted; then let one write, and all go on.

    Sometimes without writing: then the next log looks like the last one, as both are empty.
    """
    with run.everybody_closed():
        run.board.quiet = run.random.random() < 0.5
        # The log stays if two are the last ones at the same time.
        run.counts['logs deleted'] += not os.path.exists(f'{run.directory}/cache.db-wal')
        for _ in range(run.random.randrange(3)):
            run.write_alone()
    time.sleep(run.random.random() * (0.01 if run.board.quiet else 0.05))


def change_journal(run: Run) -> None:
    """Let all work without a log for a while; and try to take it away while it is in use."""
    with run.everybody_closed():
        set_journal(run, 'delete')
    time.sleep(run.random.random() * 0.05)
    with run.everybody_closed():
        set_journal(run, 'wal')
        run.counts['changes'] += 1
    for _ in range(5):
        time.sleep(run.random.random() * 0.01)
        with contextlib.suppress(sqlite3.OperationalError), run.connect(0) as con:
            con.execute('PRAGMA journal_mode = delete')


def set_journal(run: Run, mode: str) -> None:
    with diskcache.Cache(run.directory) as cache:
        cache.reset('sqlite_journal_mode', mode)
        ((now,),) = cache._sql('PRAGMA journal_mode').fetchall()
        assert now == mode, f'journal mode {now} instead of {mode}'
    run.write_alone()


def remove_directory(run: Run) -> None:
    """Make the directory anew, with later values; some still have the old one open."""
    with run.everybody_closed():
        shutil.rmtree(run.directory)
        run.write_alone(everything=True)
        run.counts['removals'] += 1
    time.sleep(run.random.random() * 0.05)


@dataclass(frozen=True)
class Situation:
    """Who works, on what, and what happens to them."""

    disturb: Callable[[Run], None] = do_nothing
    crew: tuple[Role, ...] = (
        Role('ours', writers=1, readers=2, limits=(DEFAULT_LIMIT, TINY_LIMIT, 0)),
        Role('ours', writers=1, readers=1),
        Role('original', writers=1),
    )
    kinds: tuple[str, ...] = USUAL
    counted: str = 'writes'  # What must have happened.
    settings: dict[str, Any] = field(default_factory=dict)  # Of the caches.


BY_SQL = (
    'sql in _transact', 'sql in transact', 'sql alone', 'sql begin', 'sql delete', 'sql besides',
)  # fmt: skip

SITUATIONS = {
    'plain': Situation(),
    'checkpoints': Situation(checkpoint, counted='checkpoints'),
    'vacuum': Situation(vacuum, counted='vacuums'),
    'reopening': Situation(close_and_reopen, counted='logs deleted'),
    'closing': Situation(
        crew=(
            Role('ours', readers=4, special='closes'),
            Role('ours', writers=1, special='closes'),
            Role('original', writers=1, special='closes'),
        ),
        kinds=('slow', 'add, delete'),
    ),
    'forks': Situation(
        crew=(
            Role(
                'ours', writers=2, readers=1, limits=(DEFAULT_LIMIT, TINY_LIMIT, 0), special='forks'
            ),
            Role('ours', writers=1, readers=1),
            Role('original', writers=1),
        ),
        counted='hits in children',
    ),
    'journal-modes': Situation(change_journal, counted='changes'),
    'kills': Situation(
        crew=(
            Role('ours', writers=1, readers=2, limits=(DEFAULT_LIMIT, TINY_LIMIT, 0)),
            Role('ours', writers=1, special='kills'),
            Role('original', writers=1, special='kills'),
        ),
        counted='kills',
    ),
    'recovery': Situation(
        crew=(
            Role('ours', writers=1, readers=2, limits=(DEFAULT_LIMIT, TINY_LIMIT, 0)),
            Role('ours', writers=1, readers=1),
            Role('original', writers=1),
            Role('ours', special='tears'),
        ),
        counted='tears',
    ),
    'SQL': Situation(kinds=(*BY_SQL, 'set', 'set, pop', 'several')),
    'open-transactions': Situation(
        crew=(
            Role('ours', writers=2, readers=2, limits=(DEFAULT_LIMIT,)),
            Role('ours', writers=1, readers=1),
        ),
        kinds=(
            'kept open',
            'kept open, files',
            'rolled back, files',
            'several, files',
            'set',
            'set, pop',
        ),
    ),
    'noting': Situation(  # Reads that write, or are noted in memory.
        settings={'eviction_policy': 'least-recently-used', 'statistics': 1},
    ),
    'slow-commits': Situation(  # With synchronous FULL each operation releases the GIL.
        crew=(
            Role('ours', writers=2, readers=2),
            Role('ours', writers=1, readers=1),
        ),
        settings={'sqlite_synchronous': 2},
    ),
    'culling': Situation(
        crew=(Role('ours', writers=1, readers=2), Role('ours', readers=2)),
        kinds=('culling',),
        settings={'size_limit': 1, 'cull_limit': CULLED},
    ),
    'removal': Situation(
        remove_directory,
        crew=(
            Role('ours', writers=1, readers=2, limits=(DEFAULT_LIMIT, TINY_LIMIT)),
            Role('ours', writers=1, readers=1, special='lingers'),
            Role('original', writers=1),
        ),
        counted='removals',
    ),
}


def run_situation(name: str, seconds: float, interpreters: Interpreters, seed: str = '') -> Outcome:
    """Run the situation `name` for `seconds`, in a directory that is gone afterwards."""
    with tempfile.TemporaryDirectory(prefix='coherence-') as scratch:
        return Run(SITUATIONS[name], interpreters, scratch, f'{seed} {name}').go(seconds)


def main() -> int:
    """Run situations; return the exit status: 1 if a violation was found."""
    parser = argparse.ArgumentParser(description='Look for reads that are older than a commit.')
    parser.add_argument('situations', nargs='*', metavar='SITUATION', help=', '.join(SITUATIONS))
    parser.add_argument('--seconds', type=float, default=60, help='for all of them together')
    parser.add_argument('--seed', default=str(time.time_ns()), help='of what is left to chance')
    options = parser.parse_args()
    names = options.situations or list(SITUATIONS)
    original = Path(os.environ.get('DISKCACHE_ORIGINAL', ROOT / '.original'))
    interpreters = Interpreters(original)
    print(f'diskcache of {PACKAGE}, seed {options.seed}', flush=True)
    try:
        for name in names:
            outcome = run_situation(name, options.seconds / len(names), interpreters, options.seed)
            counts = outcome.counts
            print(
                f'{name:18} {counts["reads"]:8} reads, {counts["hits"]:8} hits,'
                f' {counts["misses"]:7} misses, {counts["invalidations"]:6} invalidations,'
                f' {counts["writes"]:6} writes,'
                f' {counts[SITUATIONS[name].counted]} {SITUATIONS[name].counted}',
                flush=True,
            )
            if outcome.story:
                print(f'\n{name}:\n{outcome.story}', flush=True)
                return 1
    finally:
        interpreters.close()
    return 0


if __name__ == '__main__':
    import coherence  # Under the name that other processes know it by.

    sys.exit(coherence.main())
