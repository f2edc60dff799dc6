"""A process is killed, or power is lost, and nothing that was acknowledged is wrong afterwards.

Three ways, each of which this runs as a program; `make crash` runs all of them:

`steps`
    One operation at a time. `crash.c`, preloaded, kills the process at each of its steps: before
    each system call that changes something, in the midst of each write, at each lock and mutex, and
    at the points that a debug build names. Meanwhile a *witness*, another process, has the cache
    open.
`writers`
    Several processes write, one is killed at a random instant, and another takes its place.
`power`
    A process works and `crash.c` records what it does with files. `power_loss.py` makes the states
    in which the disk can be after each sync, and after other entries of the record.

Each time a fresh process opens what is left. It must find what was before the operation under way
or what is after it, but nothing between; each row's file; a sound database; and for `check()`
nothing to report but the files and empty directories of an operation that was cut off.

After a loss of power it depends on `synchronous`. FULL: as above. NORMAL: the state after some
earlier operation, none that a sync has confirmed being lost; and a value file that was not on the
disk is a miss.
"""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import gc
import json
import os
import pickle
import random
import shlex
import shutil
import signal
import sqlite3
import subprocess
import sys
import sysconfig
import tempfile
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any, NamedTuple

import power_loss

import diskcache
import diskcache.check  # What each child would import anew.
from diskcache import check_files

SUPPORT = Path(__file__).resolve().parent
PACKAGE = Path(diskcache.__file__).resolve().parent.parent
MEMORY = '/dev/shm'  # What is killed keeps its files on any disk; here it is quick.
SMALLEST_FILE = 2**15  # Larger values are kept in files, by default.

Cache = Any
Content = dict[Any, Any]


class MISSING:
    """What a lookup gives that finds nothing."""


class Wrong(Exception):
    """Something is not as it must be after a crash."""


def text(number: int, size: int) -> bytes:
    """Return a value in which each piece can be told from each other one's, and from zeros."""
    return (b'%07d.' % number * (size // 8 + 1))[:size]


def shown(content: Any) -> str:
    """Return a text for a value that may be large."""
    return f'{content[:8]!r} * {len(content)}' if isinstance(content, bytes) else repr(content)


def differing(content: Content, others: list[Content]) -> str:
    """Return a text of where content differs from each of others."""
    texts = []
    for other in others:
        keys = [key for key in {**content, **other} if content.get(key) != other.get(key)]
        texts.append(
            ', '.join(
                f'{key!r}: {shown(content.get(key))}, not {shown(other.get(key))}' for key in keys
            )
        )
    return '; or '.join(texts)


# --- looking at what is left ----------------------------------------------------------------------


def content_of(cache: Cache) -> Content:
    """Return all that lookups find, by what iteration finds."""
    return {key: cache.get(key, MISSING) for key in cache}


def complaints(cache: Cache) -> list[str]:
    """Return what `check()` says, but for what an operation that was cut off leaves.

    Nobody else is at work, whose rows it would have to wait for.
    """
    check_files._PATIENCE = check_files._PAUSE = 0.0
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')
        found = cache.check()
    strays = (diskcache.UnknownFileWarning, diskcache.EmptyDirWarning)
    return [str(each.message) for each in found if not issubclass(each.category, strays)]


def look(directory: str, allowed: Callable[[str], bool] = lambda complaint: False) -> Content:
    """Open what is left, see that it is sound and can be used, and return the content."""
    with diskcache.Cache(directory, timeout=0) as cache:
        content = content_of(cache)
        with closing(sqlite3.connect(f'{directory}/cache.db')) as con:
            sound = con.execute('PRAGMA integrity_check').fetchall()
        if sound != [('ok',)]:
            raise Wrong(f'integrity_check: {sound}')
        found = [complaint for complaint in complaints(cache) if not allowed(complaint)]
        if found:
            raise Wrong(f'check: {found}')
        for value in (1, text(1, 40_000)):
            if not cache.set('probe', value) or cache.pop('probe') != value:
                raise Wrong('it cannot be written to')
    return content


def in_child(function: Callable[..., Any], *arguments: Any) -> Any:
    """Return what a function returns in a forked process; raise Wrong with what it raises."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        answer: tuple[bool, Any]
        try:
            answer = True, function(*arguments)
        except Wrong as error:
            answer = False, str(error)
        except (sqlite3.Error, OSError, diskcache.Timeout) as error:
            answer = False, repr(error)
        except BaseException:
            answer = False, traceback.format_exc()
        with open(writing, 'wb', closefd=False) as file:
            pickle.dump(answer, file)
        os._exit(0)
    os.close(writing)
    with open(reading, 'rb') as file:
        data = file.read()
    os.waitpid(child, 0)
    if not data:
        raise Wrong('the process that looked has died')
    right, result = pickle.loads(data)
    if not right:
        raise Wrong(result)
    return result


class Witness:
    """A process that has the cache open, and its rows in memory, while another is killed."""

    def __init__(self, directory: str) -> None:
        self.asked, self.asking = os.pipe()
        self.answer, self.answering = os.pipe()
        self.child = os.fork()
        if self.child == 0:
            os.close(self.asking)
            os.close(self.answer)
            self.serve(directory)
        os.close(self.asked)
        os.close(self.answering)
        os.read(self.answer, 1)

    def serve(self, directory: str) -> None:
        """Say when it has read everything; when asked, look again and answer."""
        result: Any
        try:
            with diskcache.Cache(directory, timeout=0) as cache:
                content_of(cache)
                self.wait()
                result = content_of(cache)
                if not cache.set('witness', 1) or cache.pop('witness') != 1:
                    result = 'it cannot write'
        except BaseException:
            result = traceback.format_exc()
            self.wait()
        with open(self.answering, 'wb') as file:
            pickle.dump(result, file)
        os._exit(0)

    def wait(self) -> None:
        if self.asked >= 0:
            os.write(self.answering, b'!')
            os.read(self.asked, 1)
            self.asked = -1

    def ask(self) -> Content:
        os.write(self.asking, b'?')
        os.close(self.asking)
        with open(self.answer, 'rb') as file:
            result = pickle.load(file)
        os.waitpid(self.child, 0)
        if isinstance(result, str):
            raise Wrong(f'witness: {result}')
        assert isinstance(result, dict)
        return result


# --- steps ----------------------------------------------------------------------------------------


class RollBack(Exception):
    """Ends a transaction that is not to happen."""


def transact(cache: Cache, fail: bool = False) -> None:
    with contextlib.suppress(RollBack), cache.transact():
        cache['a'] = 5
        cache['file'] = text(5, 50_000)
        cache['added'] = text(6, 50_000)
        del cache['other file']
        cache.incr('number')
        if fail:
            raise RollBack


def set_from_file(cache: Cache) -> None:
    with open(__file__, 'rb') as file:
        cache.set('file', file, read=True)


def set_and_copy(cache: Cache) -> None:
    """Write where the log is so long that it is copied into the database, and wait for that."""
    cache.set_many({f'long {n}': text(n, 30_000) for n in range(10)})
    cache.close()


OPERATIONS: dict[str, Callable[[Cache], object]] = {
    'set, new key': lambda c: c.set('added', 5),
    'set, over a row': lambda c: c.set('a', 5, expire=100, tag='x'),
    'set, over a file': lambda c: c.set('file', 6),
    'set, a file': lambda c: c.set('added', text(7, 40_000)),
    'set, a file over a file': lambda c: c.set('file', text(8, 300_000)),
    'set, a file that is read': set_from_file,
    'set, a pickle in parts': lambda c: c.set('file', [text(14, 70_000), text(15, 300_000), 16]),
    'add, a file': lambda c: c.add('added', text(9, 40_000)),
    'add, there': lambda c: c.add('file', text(9, 40_000)),
    'incr': lambda c: c.incr('number'),
    'touch': lambda c: c.touch('file', expire=1000),
    'set, evicting': lambda c: c.set('added', text(13, 60_000)),
    'delete': lambda c: c.delete('a'),
    'delete, file': lambda c: c.delete('file'),
    'pop': lambda c: c.pop('a'),
    'pop, file': lambda c: c.pop('file'),
    'push, file': lambda c: c.push(text(10, 40_000), 'q'),
    'pull, file': lambda c: c.pull('q'),
    'set_many': lambda c: c.set_many({'a': 1, 'file': text(11, 40_000), 'added': text(12, 40_000)}),
    'delete_many': lambda c: c.delete_many(['a', 'file', 'other file']),
    'transaction': lambda c: transact(c),
    'rolled back': lambda c: transact(c, fail=True),
    'clear': lambda c: c.clear(),
    'evict': lambda c: c.evict('t'),
    'expire': lambda c: c.expire(),
    'a setting': lambda c: c.reset('eviction_policy', 'least-recently-used'),
    'checkpoint': lambda c: c._sql('PRAGMA wal_checkpoint(TRUNCATE)').fetchall(),
    'close': lambda c: c.close(),
    'checkpoint of a long log': set_and_copy,
}  # fmt: skip
LONG_LOG = 'checkpoint of a long log'
OPENING = ('open, new', 'open, old log', 'open, cut log')
#: A series of transactions, as many as it takes: some of what they delete may still be there.
SERIES = ('clear', 'evict', 'expire')
#: Added to the name of an operation: nobody else has the cache open, so closing it ends its log.
ALONE = ', alone'
NAMES = (*OPERATIONS, *(f'{name}{ALONE}' for name in ('close', LONG_LOG)), *OPENING)


class Outcome(NamedTuple):
    """What a process has come to."""

    acknowledged: bool
    names: list[str]  # of steps: all of them, or the one at which it was killed


class Steps:
    """Kills a process at each step of each operation."""

    def __init__(self, parent: str, generator: random.Random, mutexes: bool) -> None:
        self.parent = Path(parent)
        self.directory = str(self.parent / 'cache')
        self.generator = generator
        self.mutexes = mutexes
        self.shim = ctypes.CDLL(None)
        self.kills: Counter[str] = Counter()
        self.wrong: list[str] = []
        self.templates: dict[str, str] = {}

    # What each trial begins with.

    def template(self, name: str) -> str:
        """Return a directory to copy, made by a process that is gone."""
        if name not in self.templates:
            path = str(self.parent / f'template {len(self.templates)}')
            self.templates[name] = path
            in_child(self.fill, path, name)
        return self.templates[name]

    @staticmethod
    def fill(path: str, name: str) -> None:
        if name == 'open, new':
            return
        cache = diskcache.Cache(path, cull_limit=0)
        cache.update(
            {'a': 1, 'cold': 'text', 'file': text(1, 40_000), 'number': 5, ('tuple', 1): {'x': 1}}
        )
        cache.set('other file', text(2, 60_000), tag='t')
        cache.set('tagged', 'text', tag='t')
        cache.set('expired', text(3, 40_000), expire=-1)
        cache.push(text(4, 40_000), 'q')
        cache.push('second', 'q')
        if name == 'set, evicting':
            cache.reset('cull_limit', 10)
            cache.reset('size_limit', 200_000)
        if name.startswith(LONG_LOG):
            while os.stat(f'{path}/cache.db-wal').st_size < 3_900_000:
                cache.incr('turns')
                cache['long'] = text(cache['turns'], 30_000)
        if name == 'open, cut log':
            with open(f'{path}/cache.db-wal', 'r+b') as log:
                log.truncate(os.fstat(log.fileno()).st_size - 1000)
        # No close(), which would leave no log; in_child() ends without it.

    def prepare(self, name: str) -> None:
        shutil.rmtree(self.directory, ignore_errors=True)
        if os.path.exists(self.template(name)):
            shutil.copytree(self.template(name), self.directory)

    # The process that is killed.

    def run(self, name: str, arm: Callable[[int], None]) -> Outcome:
        """Do an operation in a process that dies at the latest when it has been done."""
        reading, writing = os.pipe()
        child = os.fork()
        if child == 0:
            try:
                self.victim(name, arm, writing)
            except BaseException:
                os.write(writing, b'failed\n' + traceback.format_exc().encode())
            os._exit(1)
        os.close(writing)
        with open(reading) as file:
            lines = file.read().splitlines()
        _, status = os.waitpid(child, 0)
        if 'failed' in lines or os.waitstatus_to_exitcode(status) != -signal.SIGKILL:
            raise Wrong('\n'.join(lines))
        acknowledged = lines[-1:] == ['acknowledged']
        return Outcome(acknowledged, lines[:-1] if acknowledged else lines)

    def victim(self, name: str, arm: Callable[[int], None], writing: int) -> None:
        operation = OPERATIONS.get(name.removesuffix(ALONE))
        if operation is None:
            arm(writing)
            self.opened = diskcache.Cache(self.directory)
        else:
            cache = diskcache.Cache(self.directory)
            content_of(cache)
            arm(writing)
            operation(cache)
        self.shim.crash_disarm()
        os.write(writing, b'acknowledged\n')
        os.kill(os.getpid(), signal.SIGKILL)

    def witness(self, name: str) -> Witness | None:
        # Its own writes would evict, too.
        watched = name in OPERATIONS and name != 'set, evicting'
        return Witness(self.directory) if watched else None

    # Each step.

    def walk(self, name: str, most: int) -> int:
        """Kill at the steps of an operation, at `most` of them; return how many it has."""
        self.prepare(name)
        before = in_child(look, self.directory) if os.path.exists(self.directory) else {}
        self.prepare(name)
        witness = self.witness(name)
        outcome = self.run(name, lambda to: self.shim.crash_list(int(self.mutexes), to))
        if witness is not None:
            witness.ask()
        assert outcome.acknowledged
        after = in_child(look, self.directory)
        count = len(outcome.names)
        ways = [(number, False) for number in range(1, count + 2)]
        ways += [(n + 1, True) for n, step in enumerate(outcome.names) if 'write' in step]
        if len(ways) > most:
            ways = self.generator.sample(ways, most)
        for number, torn in ways:
            self.trial(name, number, torn, before, after)
        return count

    def trial(self, name: str, number: int, torn: bool, before: Content, after: Content) -> None:
        self.prepare(name)
        at = 'an unknown step'
        try:
            witness = self.witness(name)
            outcome = self.run(
                name,
                lambda to: self.shim.crash_arm(
                    ctypes.c_long(number), int(torn), int(self.mutexes), to
                ),
            )
            at = outcome.names[-1] if outcome.names else 'its end'
            self.kills[at] += 1
            allowed = [after] if outcome.acknowledged else [before, after]
            series = name in SERIES
            if witness is not None:
                self.compare('the witness finds', witness.ask(), allowed, series)
            self.compare('afterwards there is', in_child(look, self.directory), allowed, series)
        except Wrong as error:
            self.wrong.append(f'{name}, killed at step {number}, {at}: {error}')

    @staticmethod
    def compare(what: str, content: Content, allowed: list[Content], series: bool) -> None:
        between = series and allowed[-1].items() <= content.items() <= allowed[0].items()
        if content not in allowed and not between:
            raise Wrong(f'{what} {differing(content, allowed)}')


def steps(
    parent: str, seed: str, most: int, mutexes: bool, names: Sequence[str] = ()
) -> dict[str, Any]:
    """Walk through operations; return figures and what was wrong."""
    walk = Steps(parent, random.Random(seed), mutexes)
    count = 0
    for name in names or NAMES:
        count += walk.walk(name, most)
    kills = sum(walk.kills.values())
    return {'steps': count, 'kills': kills, 'at': walk.kills, 'wrong': walk.wrong}


# --- writers --------------------------------------------------------------------------------------


def write_for_ever(directory: str, name: str, first: int, acknowledge: int) -> None:
    """Write the next number in several ways, each time telling that it has been done."""
    cache = diskcache.Cache(directory, cull_limit=0)
    for number in range(first, sys.maxsize):
        value = text(number, [40_000, 100, 70_000, 9_000][number % 4])
        with cache.transact(retry=True):
            cache[name, 'one'] = number, value
            cache[name, 'two'] = value
            if number % 3 == 0:
                cache.pop((name, 'three'))
            else:
                cache[name, 'three'] = number
        os.write(acknowledge, b'%20d' % number)
        if number % 50 == 0:
            cache.close()


class Writer:
    """A process that writes numbers, and what it has acknowledged."""

    def __init__(self, directory: str, name: str) -> None:
        self.directory, self.name = directory, name
        self.acknowledged = 0
        self.start(1)

    def start(self, first: int) -> None:
        self.reading, writing = os.pipe()
        self.child = os.fork()
        if self.child == 0:
            try:
                write_for_ever(self.directory, self.name, first, writing)
            except BaseException:
                traceback.print_exc()
            os._exit(1)
        os.close(writing)
        os.set_blocking(self.reading, False)

    def listen(self) -> bool:
        """Take in what has been acknowledged; tell whether anything was."""
        with contextlib.suppress(BlockingIOError):
            while data := os.read(self.reading, 20 * 1000):
                self.acknowledged = int(data[-20:])
                return True
        return False

    def kill(self) -> None:
        os.kill(self.child, signal.SIGKILL)
        _, status = os.waitpid(self.child, 0)
        if os.waitstatus_to_exitcode(status) != -signal.SIGKILL:
            raise Wrong(f'writer {self.name} has ended by itself')
        while self.listen():
            pass
        os.close(self.reading)

    def check(self, cache: Cache) -> None:
        """See that the last number is there, whole, or the one after it."""
        found = cache.get((self.name, 'one'), (0, None))
        number, value = found
        if number not in (self.acknowledged, self.acknowledged + 1):
            raise Wrong(f'{self.name}: {number} is there, {self.acknowledged} was acknowledged')
        if number == 0:
            return
        right = {
            'one': (number, text(number, [40_000, 100, 70_000, 9_000][number % 4])),
            'two': value,
            'three': number if number % 3 else MISSING,
        }
        content = {key: cache.get((self.name, key), MISSING) for key in right}
        if content != right:
            raise Wrong(f'{self.name}: {number} is half there: {differing(content, [right])}')
        self.acknowledged = number


def writers(parent: str, seed: str, seconds: float) -> dict[str, Any]:
    """Kill writers at random instants for some time; return figures and what was wrong."""
    generator = random.Random(seed)
    directory = f'{parent}/written'
    wrong: list[str] = []
    kills = 0
    crew = [Writer(directory, name) for name in 'abc']
    end = time.monotonic() + seconds
    try:
        while time.monotonic() < end and not wrong:
            time.sleep(generator.random() ** 2 * 0.05)
            for writer in crew:
                writer.listen()
            # All of them now and then: then nobody is left who has the files open.
            killed = crew if generator.random() < 0.2 else [generator.choice(crew)]
            try:
                for writer in killed:
                    writer.kill()
                    kills += 1
                in_child(look_at_writers, directory, killed, len(killed) == len(crew))
            except Wrong as error:
                wrong.append(f'after {kills} kills: {error}')
            for writer in killed:
                writer.acknowledged = in_child(number_of, directory, writer.name)
                writer.start(writer.acknowledged + 1)
    finally:
        for writer in crew:
            with contextlib.suppress(ProcessLookupError, ChildProcessError):
                os.kill(writer.child, signal.SIGKILL)
                os.waitpid(writer.child, 0)
    numbers = sum(writer.acknowledged for writer in crew)
    return {'kills': kills, 'transactions': numbers, 'wrong': wrong}


def number_of(directory: str, name: str) -> int:
    with diskcache.Cache(directory) as cache:
        number, _ = cache.get((name, 'one'), (0, None))
        assert isinstance(number, int)
        return number


def look_at_writers(directory: str, killed: list[Writer], all_of_them: bool) -> None:
    if all_of_them:
        look(directory)
    with diskcache.Cache(directory) as cache:
        for writer in killed:
            writer.check(cache)


# --- power ----------------------------------------------------------------------------------------

FIRST_PUSHED = 500_000_000_000_000
BULK = 130

Work = list[Any]


def make_work(generator: random.Random, count: int) -> list[Work]:
    """Return operations for a process, which both it and the model of it can do."""
    kinds = {
        'set': 30, 'delete': 6, 'pop': 5, 'incr': 5, 'add': 5, 'push': 8, 'pull': 6, 'transact': 10,
        'roll back': 3, 'set_many': 6, 'delete_many': 3, 'clear': 1, 'checkpoint': 7, 'reopen': 3,
    }  # fmt: skip
    sizes = [10, 500, 3000, 12_000, 33_000, 50_000, 140_000]
    work: list[Work] = []

    def key() -> str:
        return f'k{generator.randrange(12)}'

    def value() -> list[int]:
        return [generator.randrange(10**7), generator.choice(sizes)]

    for kind in generator.choices([*kinds], [*kinds.values()], k=count):
        if kind in ('set', 'add'):
            work.append([kind, key(), value()])
        elif kind in ('delete', 'pop'):
            work.append([kind, key()])
        elif kind == 'push':
            work.append([kind, value()])
        elif kind in ('transact', 'roll back', 'set_many'):
            work.append([kind, [[key(), value()] for _ in range(generator.randint(2, 5))]])
            if kind != 'set_many':
                work[-1].append(key())
        elif kind == 'delete_many':
            work.append([kind, [key(), key(), key()]])
        elif kind == 'checkpoint':
            work.append([kind, generator.choice(['PASSIVE', 'FULL', 'RESTART', 'TRUNCATE'])])
        else:
            work.append([kind])
    # Twice so much that a thread copies the log; the first time close() waits for that.
    bulk = [[f'bulk{n}', [value()[0], 30_000]] for n in range(BULK)]
    remove = ['delete_many', [key for key, _ in bulk]]
    work[count // 3 : count // 3] = [['set_many', bulk], ['reopen'], remove]
    work[count // 3 * 2 : count // 3 * 2] = [['set_many', bulk]]
    work[count // 3 * 2 + 6 : count // 3 * 2 + 6] = [remove]
    return work


def do(cache: Cache, kind: str, *arguments: Any) -> None:
    """Do one of them to a cache."""
    if kind in ('set', 'add'):
        key, (number, size) = arguments
        getattr(cache, kind)(key, text(number, size))
    elif kind in ('delete', 'pop'):
        getattr(cache, kind)(*arguments)
    elif kind == 'incr':
        cache.incr('number')
    elif kind == 'push':
        cache.push(text(*arguments[0]))
    elif kind == 'pull':
        cache.pull()
    elif kind in ('transact', 'roll back'):
        items, key = arguments
        with contextlib.suppress(RollBack), cache.transact():
            for each, value in items:
                cache[each] = text(*value)
            cache.pop(key)
            if kind == 'roll back':
                raise RollBack
    elif kind == 'set_many':
        cache.set_many({key: text(*value) for key, value in arguments[0]})
    elif kind == 'delete_many':
        cache.delete_many(arguments[0])
    elif kind == 'clear':
        cache.clear()
    elif kind == 'checkpoint':
        with closing(sqlite3.connect(f'{cache.directory}/cache.db', timeout=10)) as con:
            con.execute(f'PRAGMA wal_checkpoint({arguments[0]})').fetchall()
    else:
        cache.close()


def after(content: Content, kind: str, *arguments: Any) -> Content:
    """Return what such content is after one of them."""
    content = dict(content)
    if kind == 'set' or (kind == 'add' and arguments[0] not in content):
        content[arguments[0]] = text(*arguments[1])
    elif kind in ('delete', 'pop'):
        content.pop(arguments[0], None)
    elif kind == 'incr':
        content['number'] = content.get('number', 0) + 1
    elif kind in ('push', 'pull'):
        pushed = [key for key in content if isinstance(key, int)]
        if kind == 'push':
            content[max(pushed, default=FIRST_PUSHED - 1) + 1] = text(*arguments[0])
        elif pushed:
            del content[min(pushed)]
    elif kind in ('transact', 'set_many'):
        content.update((key, text(*value)) for key, value in arguments[0])
        if kind == 'transact':
            content.pop(arguments[1], None)
    elif kind == 'delete_many':
        for key in arguments[0]:
            content.pop(key, None)
    elif kind == 'clear':
        content.clear()
    return content


def below(settings: dict[str, Any]) -> str:
    """Return where the cache is: with FULL in directories that it makes itself."""
    return '/made/too' if settings['sqlite_synchronous'] >= 2 else ''


def work_recorded(root: str, record: str, settings: dict[str, Any], work: list[Work]) -> None:
    """Do the work, with marks in the record: which is under way, and which is done."""
    shim = ctypes.CDLL(None)
    shim.crash_record(record.encode(), root.encode())
    cache = diskcache.Cache(root + below(settings), cull_limit=0, **settings)
    for number, each in enumerate(work):
        shim.crash_mark(b'begin %d' % number)
        do(cache, *each)
        shim.crash_mark(b'done %d' % number)


class Power:
    """Loses power at instants of a record, in many ways."""

    def __init__(
        self, parent: str, generator: random.Random, synchronous: int, count: int, forge: bool
    ) -> None:
        self.parent = parent
        self.forge = forge  # The checksums of the log.
        self.generator = generator
        self.full = synchronous >= 2
        self.work = make_work(generator, count)
        self.settings = {'sqlite_synchronous': synchronous}
        self.states: list[Content] = [{}]
        for each in self.work:
            self.states.append(after(self.states[-1], *each))
        self.wrong: list[str] = []
        self.replayed = 0
        self.lost = 0  # operations, in all
        self.missed = 0  # values whose file was not on the disk
        self.strict = self.full  # whether data of value files may be anything

    def record(self) -> str:
        """Run the work in a process of its own; return where what it does is recorded."""
        root, record = f'{self.parent}/root', f'{self.parent}/record'
        os.mkdir(root)
        subprocess.run(
            [sys.executable, __file__, '--work', root, record],
            input=json.dumps([self.settings, self.work]).encode(),
            check=True,
        )
        return record

    def run(self, states: int, seconds: float) -> None:
        """Make so many states, at most for some time."""
        entries = list(power_loss.read_record(self.record()))
        assert any(entry.first == b'done %d' % (len(self.work) - 1) for entry in entries)
        instants = self.choose(entries, states)
        disk = power_loss.Disk(f'{self.parent}/root')
        self.begun = self.done = self.confirmed = 0
        end = time.monotonic() + seconds
        for number, entry in enumerate(entries):
            for _ in range(instants[number]):
                if time.monotonic() < end and len(self.wrong) < (1 if self.forge else 5):
                    self.lose(disk, number)
            disk.do(entry)
            if entry.kind == '!':
                word, which = entry.first.split()
                if word == b'begin':
                    self.begun = int(which) + 1
                else:
                    self.done = int(which) + 1
            elif entry.kind == 's' and disk.is_certain('cache.db-wal'):
                self.confirmed = self.done

    def choose(self, entries: list[power_loss.Entry], states: int) -> Counter[int]:
        """Return how many states to make before each entry: half of them around syncs."""
        syncs = [n for n, entry in enumerate(entries) if entry.kind == 's']
        around = syncs + [n + 1 for n in syncs]
        chosen = self.generator.choices(around, k=states // 2)
        chosen += self.generator.choices(range(len(entries)), k=states - len(chosen))
        return Counter(chosen)

    def lose(self, disk: power_loss.Disk, number: int) -> None:
        """Lose power now, in one way, and look at what is left."""
        ways = power_loss.ways(self.generator, disk.number)
        skipped = self.generator.randrange(9)
        name, keeps = next(way for n, way in enumerate(ways) if n == skipped)
        target = f'{self.parent}/state'
        shutil.rmtree(target, ignore_errors=True)
        disk.build(target, keeps, ordered=not self.strict)
        directory = target + below(self.settings)
        if self.forge:
            power_loss.forge_log(f'{directory}/cache.db-wal')
        self.replayed += 1
        try:
            lost, missed = in_child(self.judge, directory)
            self.lost += lost
            self.missed += missed
        except Wrong as error:
            where = (
                f'operation {self.begun}, {self.work[self.begun - 1][0]}' if self.begun else 'begin'
            )
            self.wrong.append(f'power lost at entry {number} ({where}), {name} written: {error}')

    def judge(self, directory: str) -> tuple[int, int]:
        """Return how many operations and values are lost; raise Wrong if they must not be."""
        content = look(directory, lambda complaint: not self.full and is_of_files(complaint))
        least = self.done if self.full else self.confirmed
        for number in range(self.begun, least - 1, -1):
            right = [self.states[number]]
            if number > least and self.work[number - 1][0] in SERIES:
                before = self.states[number - 1]
                right.append({key: before[key] for key in content if key in before})
            for each in right:
                missed = differences(content, each, self.full)
                if missed is not None:
                    return self.done - min(number, self.done), missed
        raise Wrong('there is ' + differing(content, [self.states[self.done]]))


def is_of_files(complaint: str) -> bool:
    return complaint.startswith(('file not found', 'wrong file size', 'no pickle'))


def differences(content: Content, right: Content, full: bool) -> int | None:
    """Return how many values are missing for want of their files; None if anything else differs."""
    if content.keys() != right.keys():
        return None
    missed = 0
    for key, value in content.items():
        if value is MISSING and not full and len(right[key]) >= SMALLEST_FILE:
            missed += 1
        elif value != right[key]:
            return None
    return missed


def power(
    parent: str,
    seed: str,
    synchronous: int,
    count: int,
    states: int,
    seconds: float = 600.0,
    forge: bool = False,
) -> dict[str, Any]:
    """Lose power again and again; return figures and what was wrong."""
    loss = Power(parent, random.Random(seed), synchronous, count, forge)
    loss.run(states, seconds)
    return {
        'states': loss.replayed,
        'operations lost': loss.lost,
        'files missed': loss.missed,
        'wrong': loss.wrong,
    }


# --- as a program ---------------------------------------------------------------------------------

WAYS: dict[str, Callable[..., dict[str, Any]]] = {
    'steps': steps,
    'writers': writers,
    'power': power,
}


def compile_shim(directory: str) -> dict[str, str]:
    """Compile crash.c; return the environment that preloads it."""
    shim = f'{directory}/crash.so'
    compiler = shlex.split(sysconfig.get_config_var('CC'))
    command = [*compiler, '-shared', '-fPIC', '-o', shim, str(SUPPORT / 'crash.c'), '-ldl']
    subprocess.run(command, check=True)
    return {'LD_PRELOAD': f'{os.environ.get("LD_PRELOAD", "")} {shim}'}


def run(way: str, environment: dict[str, str], **arguments: Any) -> dict[str, Any]:
    """Run one way in a process of its own, in a directory that goes with it."""
    roomy = os.path.isdir(MEMORY) and shutil.disk_usage(MEMORY).free > 2**28
    place = MEMORY if roomy else None
    with tempfile.TemporaryDirectory(dir=place, prefix='crash-') as parent:
        result = subprocess.run(
            [sys.executable, __file__, '--way', way, json.dumps({'parent': parent, **arguments})],
            env={**os.environ, **environment, 'PYTHONPATH': str(PACKAGE)},
            stdout=subprocess.PIPE,
            text=True,
        )
    if result.returncode != 0:
        raise Wrong(f'{way} has ended with {result.returncode}')
    figures = json.loads(result.stdout)
    assert isinstance(figures, dict)
    return figures


class Run:
    """All ways one after the other, for some time."""

    def __init__(self, environment: dict[str, str], seed: str, seconds: float) -> None:
        self.environment = environment
        self.seed = seed
        self.seconds = seconds
        self.end = time.monotonic() + seconds
        self.wrong: list[str] = []
        self.totals: Counter[str] = Counter()

    def go(self, way: str, name: str, **arguments: Any) -> None:
        figures = run(way, self.environment, **arguments)
        self.wrong += figures.pop('wrong')
        self.totals.update({figure: n for figure, n in figures.items() if isinstance(n, int)})
        told = ', '.join(f'{n} {figure}' for figure, n in figures.items() if isinstance(n, int))
        print(f'{name}: {told}', flush=True)

    def all(self, short: bool) -> None:
        most = 6 if short else 10**6
        self.go('steps', 'steps', seed=self.seed, most=most, mutexes=False)
        self.go('writers', 'writers', seed=self.seed, seconds=self.seconds / 8)
        for turn in range(10**6):
            for synchronous, level in ((1, 'NORMAL'), (2, 'FULL')):
                seed = f'{self.seed} {turn}'
                states = 100 if short else 1000
                name = f'loss of power, synchronous {level}'
                self.go('power', name, seed=seed, synchronous=synchronous, count=60, states=states)
            if self.wrong or time.monotonic() > self.end:
                return
            most = 3 if short else 25
            self.go('steps', 'mutexes too', seed=seed, most=most, mutexes=True)

    def report(self) -> None:
        print(', '.join(f'{n} {figure}' for figure, n in self.totals.items()))
        for each in self.wrong:
            print(each)
        print(f'{len(self.wrong)} wrong')


def main() -> int:
    parser = argparse.ArgumentParser(description='Kill processes, lose power, and look.')
    parser.add_argument('--seconds', type=float, default=300.0, help='for all of it, about')
    parser.add_argument('--short', action='store_true', help='only some of each, in half a minute')
    parser.add_argument('--seed', default=str(time.time_ns()))
    options = parser.parse_args()
    print(f'seed {options.seed}, {PACKAGE}', flush=True)
    with tempfile.TemporaryDirectory() as directory:
        seconds = 20.0 if options.short else options.seconds
        everything = Run(compile_shim(directory), options.seed, seconds)
        everything.all(options.short)
    everything.report()
    return 1 if everything.wrong else 0


if __name__ == '__main__':
    if sys.argv[1:2] == ['--way']:
        gc.disable()  # In a child it would have all pages copied.
        print(json.dumps(WAYS[sys.argv[2]](**json.loads(sys.argv[3]))))
    elif sys.argv[1:2] == ['--work']:
        work_recorded(sys.argv[2], sys.argv[3], *json.load(sys.stdin))
    else:
        sys.exit(main())
