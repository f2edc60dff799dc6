"""What is in a cache directory, or in a pickle of one of our objects, may be anything.

Each function of TARGETS takes bytes, makes damage of them and uses what is damaged. It raises an
AssertionError where that does more than fail: where it crashes, hangs, takes memory without bound,
returns a value that nobody has stored, or keeps from check() what it has passed over.

As a program it makes inputs up and tries them, in a process of its own: with atheris, which sees
which lines an input reaches, or without it by chance. `run.py` runs it; `test_fuzz.py` replays.
"""

from __future__ import annotations

import argparse
import contextlib
import faulthandler
import io
import os
import pickle
import random
import resource
import shutil
import sqlite3
import sys
import tempfile
import time
import urllib.parse
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

SECONDS_OF_ONE = 20  # A machine may be busy; nothing here takes one second.
MEMORY = 2**30
DESCRIPTORS = 256  # Each shard takes some, and a damaged pickle may ask for 255 shards, or more.

atheris: Any = None
if __name__ == '__main__' and '--replay' not in sys.argv:
    with contextlib.suppress(ImportError):
        import atheris
if atheris is not None:
    # Reading the code of a module for the first time, atheris makes it tell what it does.
    with atheris.instrument_imports(include=['diskcache']):
        import diskcache.check
        import diskcache.pickle_walker

import diskcache  # noqa: E402
from diskcache import Cache, Deque, FanoutCache, Index  # noqa: E402
from diskcache.pickle_walker import Walker  # noqa: E402


class Input:
    """Bytes that are taken one after the other; behind the last there are zeros."""

    def __init__(self, data: bytes) -> None:
        self.data = data

    def byte(self) -> int:
        return self.bytes(1)[0]

    def bytes(self, size: int) -> bytes:
        taken, self.data = self.data[:size], self.data[size:]
        return taken.ljust(size, b'\0')

    def number(self, size: int) -> int:
        return int.from_bytes(self.bytes(size), 'little', signed=size > 2)

    def rest(self, size: int) -> bytes:
        """Return so many bytes, or as many as there are."""
        return self.bytes(min(size, len(self.data)))

    def __bool__(self) -> bool:
        return bool(self.data)


# --- following a pickle ---


def pickle_walker(data: bytes) -> None:
    """Whatever it is, the walker says what is wrong, or nothing."""
    gone: set[str] = set()
    began = time.process_time()
    problem = Walker(io.BytesIO(data), len(data), gone).walk()
    assert time.process_time() - began < 5
    assert problem is None or isinstance(problem, str)
    assert all(isinstance(name, str) for name in gone)
    if data.find(pickle.STOP) < 0:
        assert problem is not None


# --- a directory ---

LARGE = 40_000
ITEMS: dict[Any, Any] = {
    'text': 'value',
    'number': 5,
    'real': 1.5,
    'bytes': b'\x00\xff' * 20,
    ('tuple', 1): ['list', {'of': 'things'}],
    'large text': 'x' * LARGE,
    'large bytes': b'y' * LARGE,
    'large list': ['z' * LARGE],
    500_000_000_000_000: 'pushed',
}
COLUMNS = ['key', 'raw', 'store_time', 'expire_time', 'access_time', 'access_count', 'tag']
COLUMNS += ['size', 'mode', 'filename', 'value']
#: A change of these can make another value of a value, of which nothing tells that it is one.
LYING_COLUMNS = {'key', 'raw', 'value', 'mode', 'filename', 'expire_time'}
FAILURES = (sqlite3.DatabaseError, diskcache.Timeout, KeyError)
#: What an unpickler or a codec may raise of damaged bytes.
UNREADABLE = (
    pickle.UnpicklingError,
    ArithmeticError,
    AttributeError,
    EOFError,
    ImportError,
    LookupError,
    MemoryError,
    TypeError,
    ValueError,
)

USES: list[Callable[[Cache], object]] = [
    lambda cache: cache.get('text', read=True, expire_time=True, tag=True),
    lambda cache: cache.get_many([*ITEMS, 'absent']),
    lambda cache: list(cache),
    lambda cache: list(reversed(cache)),
    lambda cache: list(cache.iterkeys()),
    lambda cache: list(cache.iterkeys(reverse=True)),
    lambda cache: cache.peekitem(),
    lambda cache: cache.peek(),
    lambda cache: cache.pull(),
    lambda cache: cache.pop('large list'),
    lambda cache: cache.touch('text'),
    lambda cache: cache.incr('number'),
    lambda cache: cache.set('large text', 'new'),
    lambda cache: cache.add('text', 'new'),
    lambda cache: cache.push('new'),
    lambda cache: cache.delete('real'),
    lambda cache: cache.volume(),
    lambda cache: cache.stats(),
    lambda cache: cache.set_many(dict.fromkeys(range(20), 'x' * 100)),
    lambda cache: cache.expire(),
    lambda cache: cache.cull(),
    lambda cache: list(Deque.fromcache(cache)),
    lambda cache: list(Index.fromcache(cache).items()),
    lambda cache: cache.evict('tag'),
    lambda cache: cache.clear(),
]


def make_image(directory: str) -> None:
    """Make the directory that is to be damaged: half of the rows are in the log."""
    with Cache(directory, disk_min_file_size=LARGE // 2) as cache:
        for number, (key, value) in enumerate(ITEMS.items()):
            cache.set(key, value, tag='tag' if number % 2 else None)
            if number == 4:
                cache._sql('PRAGMA wal_checkpoint(PASSIVE)').fetchall()
        shutil.copytree(directory, directory + '-image')
    shutil.rmtree(directory)


def damage_file(take: Input, files: list[Path]) -> bool:
    """Change bytes of a file, cut it, or remove it; return whether that can change a value."""
    path = files[take.byte() % len(files)]
    is_versions = path.name == 'cache.db-hot'
    is_value = is_versions or not path.name.startswith('cache.db')
    how = take.byte() % 8
    if not path.exists():
        return False
    if how == 0 and is_value:
        path.unlink()
        return False
    if how == 1:
        os.truncate(path, path.stat().st_size * take.byte() // 256)
        return not is_value
    if how == 2 and is_value:
        path.write_bytes(path.read_bytes() + take.rest(take.byte()))
        return False
    if how == 3 and is_versions:
        path.write_bytes(take.rest(take.byte()) * take.byte())
        return False
    content = bytearray(path.read_bytes())
    for _ in range(1 + take.byte() % 4):
        at = take.number(2) if how < 6 else take.byte()
        at += 4096 * (take.byte() % 8) if how % 2 else 0
        if at < len(content):
            content[at] ^= take.byte()
    path.write_bytes(content)
    return not is_versions


def take_value(take: Input) -> Any:
    kind = take.byte() % 7
    if kind == 0:
        return None
    if kind == 1:
        return take.number(1) - 3
    if kind == 2:
        return take.number(8)
    if kind == 3:
        return float(take.number(4))
    if kind == 4:
        return take.rest(take.byte())
    if kind == 5:
        return take.rest(take.byte() % 32).decode('latin-1')
    return ['../outside.val', 'ab/../../x', '/etc/passwd', 'cache.db', '', 'x\0y'][take.byte() % 6]


def damage_table(take: Input, path: str) -> bool:
    """Change a column of a row, or a setting; return whether that can change a value."""
    where = take.byte()
    value = take_value(take)
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as con:
        con.text_factory = bytes
        with contextlib.suppress(sqlite3.Error):
            if where % 4 == 0:
                known = ('count', 'size', 'size_limit', 'cull_limit', 'eviction_policy')
                pragmas = ('sqlite_cache_size', 'sqlite_mmap_size', 'sqlite_synchronous')
                names = [*known, *pragmas, 'statistics', 'disk_min_file_size']
                name = names[where // 4 % len(names)]
                con.execute('INSERT OR REPLACE INTO Settings VALUES (?, ?)', (name, value))
                return False
            column = COLUMNS[where // 4 % len(COLUMNS)]
            row = take.byte() % len(ITEMS)
            con.execute(
                f'UPDATE Cache SET {column} = ? WHERE rowid ='
                ' (SELECT rowid FROM Cache LIMIT 1 OFFSET ?)',
                (value, row),
            )
            return column in LYING_COLUMNS
    return False


def look_up(cache: Cache, may_lie: bool) -> int:
    """Look each item up; return how many are not there or cannot be read."""
    wrong = 0
    for key, value in ITEMS.items():
        try:
            found = cache.get(key, 'absent')
        except FAILURES:
            found = 'absent'
        except UNREADABLE:
            if not may_lie:
                raise
            found = 'absent'
        wrong += found != value
        assert may_lie or found in (value, 'absent'), (key, found)
    return wrong


def use_damaged(directory: str, may_lie: bool, is_broken: bool) -> None:
    try:
        cache = Cache(directory, timeout=1)
    except (sqlite3.DatabaseError, diskcache.Timeout):
        assert is_broken, 'it cannot be opened'
        return
    with cache:
        wrong = look_up(cache, may_lie)
        try:
            found = cache.check()
            assert may_lie or not wrong or found, 'check() has not found what lookups have'
            cache.check(fix=True)
            look_up(cache, may_lie)
        except FAILURES:
            assert is_broken, 'it cannot be checked'
        for use in USES:
            try:
                use(cache)
            except FAILURES:
                pass
            except UNREADABLE:
                if not may_lie:
                    raise
        if not is_broken and cache.size_limit > 2**24:
            assert cache.set('new', 'x' * LARGE)
            assert cache['new'] == 'x' * LARGE
            with Cache(directory) as second:
                for number in range(3):
                    second['new'] = number
                    assert cache['new'] == number
                    cache['new'] = -number
                    assert second['new'] == -number


def directory(data: bytes) -> None:
    """A lookup is a value that was stored, a miss, or an error; check() finds what is wrong."""
    take = Input(data)
    base = sandbox()
    path = f'{base}/cache'
    if not os.path.exists(f'{path}-image'):
        make_image(path)
    shutil.copytree(f'{path}-image', path)
    outside = Path(base, 'outside.val')
    outside.write_bytes(b'outside')
    files = sorted(each for each in Path(path).rglob('*') if each.is_file())
    files = [each for each in files if each.name != 'cache.db-shm']
    may_lie = is_broken = False
    try:
        while take and not is_broken:
            if take.byte() % 2:
                may_lie |= damage_table(take, f'{path}/cache.db')
            else:
                broken = damage_file(take, files)
                is_broken = broken and take.byte() % 2 == 0
                may_lie |= broken
        # Whatever happens to its pages, a database may be broken by it.
        use_damaged(path, may_lie, is_broken=may_lie)
        assert outside.read_bytes() == b'outside'
    finally:
        shutil.rmtree(path, ignore_errors=True)


# --- objects of ours ---


def take_state(take: Input, depth: int = 0) -> Any:
    kind = take.byte() % (12 if depth < 3 else 8)
    if kind == 0:
        return None
    if kind == 1:
        return take.byte() % 9
    if kind == 2:
        return -take.number(4)
    if kind == 3:
        return [0.5, float('nan'), float('inf'), -1.0][take.byte() % 4]
    if kind == 4:
        return take.rest(take.byte() % 20).decode('latin-1')
    if kind == 5:
        return 'cache'
    if kind == 6:
        return take.rest(take.byte() % 20)
    if kind == 7:
        return [diskcache.Disk, diskcache.JSONDisk, Cache, int, object()][take.byte() % 5]
    items = [take_state(take, depth + 1) for _ in range(take.byte() % 6)]
    if kind == 8:
        return {f'_{number}': item for number, item in enumerate(items)}
    return tuple(items) if kind > 9 else items


OBJECTS: list[Callable[[], Any]] = [
    lambda: Cache('cache'),
    lambda: FanoutCache('fanout', shards=2),
    lambda: Deque([1, 2], 'deque'),
    lambda: Index('index', {'a': 1}),
    lambda: diskcache.Disk('cache'),
    lambda: diskcache.JSONDisk('cache'),
    lambda: diskcache.Lock(Cache('cache'), 'lock'),
    lambda: diskcache.RLock(Cache('cache'), 'rlock'),
    lambda: diskcache.BoundedSemaphore(Cache('cache'), 'semaphore'),
    lambda: diskcache.Averager(Cache('cache'), 'average'),
]


def use_object(made: Any) -> None:
    repr(made)
    for name in ('__len__', '__iter__', 'volume', 'close', 'check'):
        method = getattr(made, name, None)
        if method is not None:
            with contextlib.suppress(Exception):
                method()
    with contextlib.suppress(Exception):
        pickle.loads(pickle.dumps(made))


def state(data: bytes) -> None:
    """Objects of ours are made of any state, or of a damaged pickle, or an error says why not."""
    take = Input(data)
    base = sandbox()
    os.makedirs(f'{base}/state')
    os.chdir(f'{base}/state')
    chosen = OBJECTS[take.byte() % len(OBJECTS)]()
    try:
        if take.byte() % 2:
            made = type(chosen).__new__(type(chosen))
            setstate = getattr(made, '__setstate__', None)
            value = take_state(take)
            if setstate is not None:
                setstate(value)
        else:
            pickled = bytearray(pickle.dumps(chosen, take.byte() % 6))
            while take:
                pickled[take.number(2) % len(pickled)] = take.byte()
            made = pickle.loads(pickled)
        use_object(made)
    except (SystemError, AssertionError):
        raise
    except Exception as error:
        if not str(error) and not isinstance(error, (diskcache.Timeout, EOFError, MemoryError)):
            raise
    finally:
        with contextlib.suppress(Exception):
            getattr(chosen, 'cache', chosen).close()
        os.chdir('/')
        shutil.rmtree(f'{base}/state', ignore_errors=True)


TARGETS: dict[str, Callable[[bytes], None]] = {
    'pickle_walker': pickle_walker,
    'directory': directory,
    'state': state,
}

# --- a process that can do no harm ---

_base: list[str] = []


def sandbox() -> str:
    """Return the directory outside of which nothing is written."""
    if not _base:
        room = '/dev/shm' if os.access('/dev/shm', os.W_OK) else None
        _base.append(os.path.realpath(tempfile.mkdtemp(prefix='diskcache-fuzz-', dir=room)))
        os.environ['HOME'] = _base[0]
        sys.addaudithook(keep_inside)
    return _base[0]


_WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT
_WRITING = {'os.mkdir', 'os.remove', 'os.rename', 'os.rmdir', 'shutil.rmtree', 'sqlite3.connect'}
_watching = [False]


def keep_inside(event: str, arguments: tuple[Any, ...]) -> None:
    """Let a damaged path lead nowhere else, and a damaged pickle start nothing."""
    if not _watching[0]:
        return
    if event in ('os.system', 'subprocess.Popen', 'os.exec', 'os.posix_spawn', 'os.fork'):
        raise PermissionError(event)
    writes = event in _WRITING or (
        event == 'open' and isinstance(arguments[2], int) and arguments[2] & _WRITES
    )
    if event in ('os.remove', 'os.rmdir') and arguments[1] != -1:
        return  # relative to a directory that shutil.rmtree has opened
    if event == 'sqlite3.connect' and not arguments[0]:
        return  # a temporary database
    if writes and isinstance(arguments[0], str | bytes):
        name = os.fsdecode(arguments[0])
        if name.startswith('file:'):
            name = urllib.parse.unquote(name[5:].partition('?')[0])
        path = os.path.realpath(os.path.join(os.getcwd(), name))
        if not (path + '/').startswith(_base[0] + '/') and name != ':memory:':
            raise PermissionError(f'{event} outside: {path!r}')


def leave() -> None:
    _watching[0] = False
    for base in _base:
        shutil.rmtree(base, ignore_errors=True)


def limit_resources() -> None:
    with open('/proc/self/statm') as file:
        now = int(file.read().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (now + MEMORY, -1))
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (DESCRIPTORS, hard))


def try_one(target: Callable[[bytes], None], data: bytes) -> None:
    """Try an input, which ends the process if it takes too long.

    With atheris libFuzzer ends it, a little later, since it keeps the input.
    """
    faulthandler.dump_traceback_later(SECONDS_OF_ONE, exit=atheris is None)
    sandbox()
    _watching[0] = True
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')
        target(data)
    _watching[0] = False
    faulthandler.cancel_dump_traceback_later()


def corpus_of(directory: Path) -> list[bytes]:
    return [path.read_bytes() for path in sorted(directory.iterdir()) if path.is_file()]


def mutations(corpus: list[bytes], seed: int) -> Iterator[bytes]:
    """Yield inputs by chance: changed, joined and new ones."""
    chance = random.Random(seed)
    while True:
        data = bytearray(chance.choice(corpus) if corpus and chance.random() < 0.8 else b'')
        for _ in range(chance.randrange(1, 8)):
            at = chance.randrange(len(data) + 1)
            how = chance.randrange(4)
            if how == 0 or not data:
                data[at:at] = chance.randbytes(chance.randrange(1, 9))
            elif how == 1:
                data[at % len(data)] = chance.randrange(256)
            elif how == 2:
                del data[at : at + chance.randrange(1, 9)]
            elif corpus:
                other = chance.choice(corpus)
                data[at:] = other[chance.randrange(len(other) + 1) :]
        yield bytes(data[:4096])


def fuzz_by_chance(
    target: Callable[[bytes], None], corpus: Path, failed: Path, seconds: float, seed: int
) -> None:
    """Try inputs for so many seconds; the one at hand is in a file, should the process end."""
    ending = time.monotonic() + seconds
    count = 0
    known = corpus_of(corpus)
    for data in mutations(known, seed):
        if time.monotonic() > ending:
            break
        failed.write_bytes(data)
        try_one(target, data)
        count += 1
    failed.unlink(missing_ok=True)
    print(f'{count} inputs by chance')


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument('target', choices=TARGETS)
    parser.add_argument('corpus', type=Path)
    parser.add_argument('failed', type=Path, help='where an input that fails goes')
    parser.add_argument('--seconds', type=float, default=20)
    parser.add_argument('--seed', type=int, default=time.time_ns())
    parser.add_argument('--replay', action='store_true')
    arguments = parser.parse_args()
    target = TARGETS[arguments.target]
    corpus, failed = arguments.corpus.resolve(), arguments.failed.resolve()
    limit_resources()
    if arguments.replay:
        inputs = corpus_of(corpus)
        for data in inputs:
            failed.write_bytes(data)
            try_one(target, data)
        failed.unlink(missing_ok=True)
        print(f'{len(inputs)} inputs replayed')
        leave()
        return
    try:
        if atheris is not None:
            atheris.Setup(
                [
                    sys.argv[0],
                    f'-max_total_time={int(arguments.seconds)}',
                    f'-seed={arguments.seed % 2**32}',
                    f'-timeout={SECONDS_OF_ONE}',
                    f'-exact_artifact_path={failed}',
                    '-rss_limit_mb=2048',
                    '-max_len=4096',
                    '-len_control=0',
                    str(corpus),
                ],
                lambda data: try_one(target, data),
            )
            atheris.Fuzz()  # ends the process
        else:
            fuzz_by_chance(target, corpus, failed, arguments.seconds, arguments.seed)
    finally:
        leave()


if __name__ == '__main__':
    main()
