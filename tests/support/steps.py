"""Another process acts between any two steps of an operation, and no read is stale afterwards.

What processes share, they change with system calls. So of each operation, with each outcome, every
system call is found (`at_each_step.c`, preloaded), and the operation is done once for each of
them, with another process doing something just before that call, and just after it: committing a
key, this package's or the original's, or moving the header of the wal-index in another way. Where
the other cannot, because the write lock is held, it goes away. Then all that the cache's memory
answers is compared with the database.

Unlike `coherence.py`, which runs processes against each other and waits for them to meet badly,
this visits each meeting once, on a machine of any speed.

As a program it is one of the two processes: `python steps.py --walk ARGUMENTS`, with the arguments
of `walk` in JSON, or `python steps.py DIRECTORY`, which does what it is told to.
"""

from __future__ import annotations

import contextlib
import ctypes
import io
import itertools
import json
import logging
import os
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import diskcache

PACKAGE = Path(diskcache.__file__).resolve().parent.parent
LARGE = b'x' * 40_000  # Kept in a file.
MISSING = 'there is nothing'
MANY_STEPS = 2_000  # No operation has so many.


class RollBack(Exception):
    """Ends a transaction that is not to happen."""


# --- the other process ----------------------------------------------------------------------------


class Other:
    """What another process can do; each method is one thing, with a new value each time."""

    def __init__(self, directory: str) -> None:
        self.cache = diskcache.Cache(directory, timeout=0)
        self.con = sqlite3.connect(f'{directory}/cache.db', timeout=0, isolation_level=None)
        self.numbers = itertools.count(1_000_000)

    def set_other(self) -> None:
        self.cache.set('b', next(self.numbers))

    def set_same(self) -> None:
        self.cache.set('a', next(self.numbers))

    def delete_other(self) -> None:
        self.cache.delete('b')

    def push(self) -> None:
        self.cache.push(next(self.numbers), prefix='q')

    def set_twice(self) -> None:
        self.set_other()
        self.set_other()

    def truncate_log(self) -> None:
        self.con.execute('PRAGMA wal_checkpoint(TRUNCATE)').fetchall()

    def begin_log_anew(self) -> None:
        """Copy all of the log, and commit: the first frame is overwritten."""
        self.con.execute('PRAGMA wal_checkpoint(PASSIVE)').fetchall()
        self.set_other()

    def reset_log_and_roll_back(self) -> None:
        """Move the header, but not the data."""
        self.con.execute('PRAGMA wal_checkpoint(PASSIVE)').fetchall()
        self.con.execute('BEGIN IMMEDIATE')
        try:
            self.con.execute('PRAGMA cache_size = 1')  # So that pages are written before the end.
            self.con.execute(
                'WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 40)'
                " INSERT INTO Cache (key, raw, value) SELECT 'spill' || i, 1, zeroblob(4000) FROM n"
            )
        finally:
            self.con.execute('ROLLBACK')

    def vacuum(self) -> None:
        self.con.execute('VACUUM')

    def serve(self, requests: io.BufferedReader, answers: io.RawIOBase) -> None:
        """Read names of actions, a line each; "!" does the last one."""
        action: Callable[[], None] | None = None
        for line in requests:
            answer = b'+'
            if line == b'!\n':
                assert action is not None
                try:
                    action()
                except (diskcache.Timeout, sqlite3.OperationalError):
                    answer = b'-'  # Locked.
            else:
                action = getattr(self, line.decode().strip())
            answers.write(answer)


ACTIONS = [
    'set_other', 'set_same', 'delete_other', 'push', 'set_twice', 'truncate_log',
    'begin_log_anew', 'reset_log_and_roll_back', 'vacuum',
]  # fmt: skip


class Visitor:
    """The other process, seen from the one whose steps are walked through."""

    def __init__(self, directory: str, package: Path = PACKAGE) -> None:
        environment = {**os.environ, 'PYTHONPATH': str(package)}
        environment.pop('LD_PRELOAD', None)
        self.process = subprocess.Popen(
            [sys.executable, __file__, directory],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=environment,
        )
        self.to = self.process.stdin.fileno()
        self.answers = self.process.stdout.fileno()
        self.steps = ctypes.CDLL(None)
        self.steps.step_disarm.restype = ctypes.c_long

    def prepare(self, action: str) -> None:
        """Say what is to be done when it is time."""
        os.write(self.to, f'{action}\n'.encode())
        assert os.read(self.answers, 1) == b'+', action

    def arm(self, number: int) -> None:
        """Let it be done at the step `number` of this thread from now."""
        self.steps.step_arm(ctypes.c_long(number), self.to, self.answers)

    def disarm(self) -> tuple[int, bool]:
        """Return the number of steps since, and whether the action was possible."""
        passed = self.steps.step_disarm()
        return passed, self.steps.step_answer() == ord('+')

    def close(self) -> None:
        self.process.stdin.close()
        assert self.process.wait(20) == 0
        self.process.stdout.close()


# --- operations -----------------------------------------------------------------------------------

Cache = Any
KEYS = ['a', 'b', 'tagged', 'expired', 'file', ('tuple', 1), 'number', 'absent', 2**60, 'added']

OPERATIONS: dict[str, Callable[[Cache], object]] = {
    'get, hot': lambda c: c.get('a'),
    'get, absent': lambda c: c.get('absent'),
    'get, expired': lambda c: c.get('expired'),
    'get, not in memory': lambda c: c.get('cold'),
    'get, file': lambda c: c.get('file'),
    'get_many': lambda c: c.get_many(['a', 'cold', 'file']),
    'in': lambda c: 'cold' in c,
    'peek': lambda c: c.peek('q'),
    'peek, empty': lambda c: c.peek('none'),
    'peekitem': lambda c: c.peekitem(),
    'set, new key': lambda c: c.set('added', 5),
    'set, over a row': lambda c: c.set('a', 5, expire=100, tag='x'),
    'set, over a file': lambda c: c.set('file', 6),
    'set, a file': lambda c: c.set('a', LARGE),
    'set, refused': lambda c: c.set('a', b'y' * 10**6),
    'set, pickled': lambda c: c.set(('tuple', 1), {'x': 2}),
    '[]=': lambda c: c.__setitem__('a', 7),
    'add, new key': lambda c: c.add('added', 5),
    'add, there': lambda c: c.add('a', 5),
    'add, expired': lambda c: c.add('expired', 5),
    'touch': lambda c: c.touch('a', expire=50),
    'touch, absent': lambda c: c.touch('absent', expire=50),
    'touch, expired': lambda c: c.touch('expired', expire=50),
    'incr': lambda c: c.incr('number'),
    'incr, new key': lambda c: c.incr('added'),
    'incr, absent': lambda c: c.incr('absent', default=None),
    'incr, no number': lambda c: c.incr('tagged'),
    'incr, expired': lambda c: c.incr('expired'),
    'delete': lambda c: c.delete('a'),
    'delete, absent': lambda c: c.delete('absent'),
    'delete, expired': lambda c: c.delete('expired'),
    'delete, file': lambda c: c.delete('file'),
    'del, absent': lambda c: c.__delitem__('absent'),
    'pop': lambda c: c.pop('a'),
    'pop, absent': lambda c: c.pop('absent'),
    'pop, expired': lambda c: c.pop('expired'),
    'pop, file': lambda c: c.pop('file'),
    'pop, pickled': lambda c: c.pop(('tuple', 1)),
    'push': lambda c: c.push(1, 'q'),
    'pull': lambda c: c.pull('q'),
    'pull, empty': lambda c: c.pull('none'),
    'set_many': lambda c: c.set_many({'a': 1, 'added': LARGE}),
    'set_many, nothing': lambda c: c.set_many({}),
    'add_many': lambda c: c.add_many({'a': 1, 'added': 2}),
    'touch_many': lambda c: c.touch_many(['a', 'absent'], 5),
    'delete_many': lambda c: c.delete_many(['a', 'absent']),
    'delete_many, absent': lambda c: c.delete_many(['absent']),
    'expire': lambda c: c.expire(),
    'expire, nothing': lambda c: c.expire(now=1),
    'evict': lambda c: c.evict('t'),
    'evict, nothing': lambda c: c.evict('none'),
    'cull': lambda c: c.cull(),
    'clear': lambda c: c.clear(),
    'len': lambda c: len(c),
    'iterate': lambda c: list(c),
    'transact, empty': lambda c: transact(c, lambda c: None),
    'transact, only reads': lambda c: transact(c, lambda c: (c.get('a'), c.get('cold'), 'b' in c)),
    'stats': lambda c: c.stats(enable=bool(c.statistics)),
    'close': lambda c: c.close(),
}  # fmt: skip

#: Operations that are also done inside a transaction, which is committed or rolled back.
WRITES = [
    'get, not in memory', 'set, new key', 'set, over a row', 'set, a file', 'set, over a file',
    'set, refused', 'add, there', 'touch', 'touch, absent', 'incr', 'incr, no number', 'delete',
    'delete, absent', 'pop', 'pop, absent', 'pop, file', 'push', 'pull', 'pull, empty', 'evict',
    'expire, nothing', 'clear',
]  # fmt: skip


def transact(cache: Cache, function: Callable[[Cache], object]) -> None:
    with cache.transact():
        function(cache)


def roll_back(cache: Cache, function: Callable[[Cache], object]) -> None:
    with contextlib.suppress(RollBack), cache.transact():
        with contextlib.suppress(KeyError, TypeError):
            function(cache)
        raise RollBack


def all_operations() -> Iterator[tuple[str, Callable[[Cache], object]]]:
    yield from OPERATIONS.items()
    for name in WRITES:
        operation = OPERATIONS[name]
        yield f'{name}; in a transaction', lambda c, f=operation: transact(c, f)
        yield f'{name}; rolled back', lambda c, f=operation: roll_back(c, f)


SETTINGS: dict[str, dict[str, Any]] = {
    'default': {},
    'notes': {'eviction_policy': 'least-recently-used', 'statistics': 1},
    'small': {'size_limit': 60_000},
}


# --- the walk -------------------------------------------------------------------------------------


class Walk:
    """A cache, the same directory without memory, and another process that acts on it."""

    def __init__(self, directory: str, package: Path, settings: dict[str, Any]) -> None:
        self.cache = diskcache.Cache(directory, timeout=0.05, **settings)
        self.truth = diskcache.Cache(directory, memory_limit=0)
        self.visitor = Visitor(directory, package)
        self.trials = self.visits = 0

    def close(self) -> None:
        self.visitor.close()
        self.cache.close()
        self.truth.close()

    def reset(self) -> None:
        """Bring the directory to where each trial begins, and the rows into memory."""
        with self.truth.transact(retry=True):
            self.truth.clear()
            for key in ('a', 'b', 'cold'):
                self.truth[key] = 1
            self.truth.set('tagged', 'text', tag='t')
            self.truth.set('expired', 1, expire=-1)
            self.truth['file'] = LARGE
            self.truth[('tuple', 1)] = {'x': 1}
            self.truth['number'] = 5
            self.truth[2**60] = 'large integer'
            self.truth.push('first', 'q')
            self.truth.push('second', 'q')
        self.look(self.cache)

    @staticmethod
    def look(cache: Cache) -> dict[Any, Any]:
        """Return what a cache says of all that is watched."""
        seen = {key: cache.get(key, MISSING, expire_time=True, tag=True) for key in KEYS}
        seen.update((('in', key), key in cache) for key in KEYS)
        for prefix in ('q', 'none'):
            for side in ('front', 'back'):
                seen['peek', prefix, side] = cache.peek(prefix, MISSING, side)
        for last in (False, True):
            with contextlib.suppress(KeyError):
                seen['peekitem', last] = cache.peekitem(last)
        return seen

    def visit(self, name: str, operation: Callable[[Cache], object], action: str) -> list[str]:
        """Do the operation once for each of its steps; return what was stale."""
        stale = []
        self.visitor.prepare(action)
        for number in range(1, MANY_STEPS):
            self.reset()
            self.visitor.arm(number)
            try:
                operation(self.cache)
            except (diskcache.Timeout, KeyError, TypeError):
                pass
            finally:
                passed, done = self.visitor.disarm()
            self.trials += 1
            self.visits += done
            before = self.look(self.cache)
            right = self.look(self.truth)
            for key in right:
                if before.get(key) != right[key]:
                    stale.append(
                        f'{name}, {action} at step {number} of {passed}:'
                        f' {key} is {before.get(key)!r}, not {right[key]!r}'
                    )
            if passed < number:
                return stale
        raise AssertionError(f'{name} does not end')


def watch_log(messages: list[str]) -> None:
    """Add what the library logs, a self-check that has failed, say; but not what was refused."""

    class Keep(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if 'larger than size_limit' not in record.getMessage():
                messages.append(record.getMessage())

    logging.getLogger('diskcache').addHandler(Keep())


def walk(directory: str, package: str, settings: str, action: str) -> tuple[list[str], int]:
    """Walk through all operations; return what was stale, and how often the other process acted."""
    walk = Walk(directory, Path(package), SETTINGS[settings])
    stale: list[str] = []
    watch_log(stale)
    try:
        for name, operation in all_operations():
            stale += walk.visit(name, operation, action)
    finally:
        walk.close()
    return stale, walk.visits


if __name__ == '__main__':
    if sys.argv[1] == '--walk':
        print(json.dumps(walk(**json.loads(sys.argv[2]))))
    else:
        Other(sys.argv[1]).serve(sys.stdin.buffer, os.fdopen(1, 'wb', 0))
