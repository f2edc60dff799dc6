"""Databases that SQLite calls malformed: what is saved of them, and how a cache begins anew.

What could be read before is there after, and nothing that was never stored. The damaged database
stays beside, under another name, and so do value files whose rows are lost.
"""

from __future__ import annotations

import contextlib
import logging
import os
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from pathlib import Path

import mounts
import pytest
from consistency import report_texts, stored_filenames, value_files
from interpreter import Interpreter

import diskcache
from diskcache import Cache, Deque, FanoutCache
from diskcache.cli import main


@pytest.fixture(autouse=True)
def many_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have each cache checked as one of many rows; of few a check does less."""
    monkeypatch.setattr('diskcache.check._FEW_ROWS', 0)


PAGE = 4096
ITEMS = 1500
DAMAGED = 'cache.db-damaged-'


def value_of(number: int) -> str:
    return f'{number}-' + 'x' * (number % 300)


def fill(directory: str) -> None:
    """Make a cache of many pages, with settings, tags, expiry, statistics and value files."""
    with Cache(directory, cull_limit=3, statistics=1, tag_index=1) as cache:
        cache.set_many((number, value_of(number)) for number in range(ITEMS))
        for number in range(5):
            cache['file', number] = bytes([number]) * 40_000
        cache.set('tagged', ('a', 1), tag='tag', expire=10_000)
        cache.get('tagged')


def overwrite(directory: str, offset: int, content: bytes) -> None:
    with open(f'{directory}/cache.db', 'r+b') as file:
        file.seek(offset)
        file.write(content)


def pages_of(directory: str) -> int:
    return os.path.getsize(f'{directory}/cache.db') // PAGE


def pages_with(directory: str, text: bytes, kind: bytes) -> list[int]:
    """Return the pages of a kind, the first byte of each, that have a text in them."""
    content = Path(directory, 'cache.db').read_bytes()
    pages = (content[start : start + PAGE] for start in range(0, len(content), PAGE))
    return [number for number, page in enumerate(pages) if page[:1] == kind and text in page]


def ruin_pages(count: int) -> Callable[[str, random.Random], None]:
    """Return a damage: random bytes in the place of so many pages, but the first two."""

    def ruin(directory: str, chance: random.Random) -> None:
        for page in chance.sample(range(2, pages_of(directory)), count):
            overwrite(directory, page * PAGE, chance.randbytes(PAGE))

    return ruin


def ruin_bytes(directory: str, chance: random.Random) -> None:
    """Write some random bytes anywhere."""
    for _ in range(20):
        overwrite(
            directory, chance.randrange(pages_of(directory) * PAGE - 100), chance.randbytes(64)
        )


def ruin_all(directory: str, chance: random.Random) -> None:
    """Leave nothing but the first page."""
    overwrite(directory, PAGE, chance.randbytes((pages_of(directory) - 1) * PAGE))


DAMAGES: dict[str, Callable[[str, random.Random], None]] = {
    'header': lambda directory, chance: overwrite(directory, 0, bytes(100)),
    'first page': lambda directory, chance: overwrite(directory, 0, bytes(PAGE)),
    'random first page': lambda directory, chance: overwrite(directory, 0, chance.randbytes(PAGE)),
    'a page': ruin_pages(1),
    'pages': ruin_pages(8),
    'bytes': ruin_bytes,
    'half': lambda directory, chance: os.truncate(
        f'{directory}/cache.db', pages_of(directory) // 2 * PAGE
    ),
    'end': lambda directory, chance: os.truncate(
        f'{directory}/cache.db', pages_of(directory) * PAGE - 5000
    ),
    'all': ruin_all,
}


def readable(directory: str, work: Path) -> set[object]:
    """Return the keys whose values can be read of a copy, one by one."""
    shutil.copytree(directory, work)
    found: set[object] = set()
    with closing(sqlite3.connect(work / 'cache.db')) as con:
        for number in range(ITEMS):
            with suppress(sqlite3.Error):
                select = 'SELECT value FROM Cache WHERE key = ? AND raw = 1'
                found.update(number for _ in con.execute(select, (number,)))
    return found


def damaged_files(directory: str) -> list[str]:
    """Return the names of the databases that have been put aside."""
    names = (path.name for path in Path(directory).iterdir())
    return [name for name in names if name.startswith(DAMAGED) and not name.endswith('-wal')]


def schema(directory: str) -> set[tuple[str, str]]:
    with closing(sqlite3.connect(f'{directory}/cache.db')) as con:
        return set(con.execute('SELECT type, name FROM sqlite_master'))


@pytest.fixture(params=['with the program sqlite3', 'without'])
def program(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The tests that use this run with what there is of the program, and without it."""
    if request.param == 'without':
        monkeypatch.setenv('PATH', str(tmp_path / 'nothing'))
    elif shutil.which('sqlite3') is None:
        pytest.skip('the program sqlite3 is not installed')


# What is saved.


@pytest.mark.slow
@pytest.mark.usefixtures('program')
@pytest.mark.parametrize('seed', [1, pytest.param(2, marks=pytest.mark.slow)])
@pytest.mark.parametrize('damage', DAMAGES.values(), ids=DAMAGES.keys())
def test_what_was_readable_is_saved(
    directory: str, tmp_path: Path, damage: Callable, seed: int
) -> None:
    fill(directory)
    sound = schema(directory)
    damage(directory, random.Random(seed))
    before = readable(directory, tmp_path / 'copy')
    with suppress(sqlite3.DatabaseError), Cache(directory) as cache:
        found = report_texts(cache, fix=True)
        assert damaged_files(directory) != [] or not any('malformed' in text for text in found)
    if before or not damaged_files(directory):
        main(['check', '--fix', directory])
    with Cache(directory, memory_limit=0) as cache:
        after = {number for number in range(ITEMS) if number in cache}
        assert after >= before
        if damage is not ruin_bytes:  # which may have changed a value: there is no checksum
            assert all(cache[number] == value_of(number) for number in after)
        assert len(cache) == len(list(cache))
        assert [text for text in report_texts(cache) if not text.startswith('unknown file')] == []
        assert stored_filenames(cache) <= value_files(directory)
        assert cache.set('new', 1)
        assert cache['new'] == 1
    unknown = {('view', 'Cache_origin'), ('index', 'Cache_tag_rowid')}  # where nothing tells
    assert schema(directory) >= sound - unknown


@pytest.mark.usefixtures('program')
@pytest.mark.parametrize('damage', ['header', 'first page'])
def test_a_database_without_a_header_is_saved_as_a_whole(directory: str, damage: str) -> None:
    fill(directory)
    DAMAGES[damage](directory, random.Random(1))
    with pytest.raises(sqlite3.DatabaseError, match='not a database'):
        Cache(directory)
    assert main(['check', directory]) == 1
    assert damaged_files(directory) == []  # not without --fix
    assert main(['check', '--fix', directory]) == 1
    assert main(['check', directory]) == 0
    with Cache(directory) as cache:
        assert [cache[number] for number in range(ITEMS)] == [*map(value_of, range(ITEMS))]
        assert cache['file', 3] == b'\3' * 40_000
        assert cache.get('tagged', tag=True) == (('a', 1), 'tag')
        assert (cache.cull_limit, cache.statistics, cache.tag_index) == (3, 1, 1)
        assert cache.reset('count') == ITEMS + 6
        assert cache.reset('size') == 5 * 40_000
        assert cache.reset('hits') >= 1
        assert cache.evict('tag') == 1


def test_what_is_lost_is_named_and_its_files_stay(directory: str) -> None:
    with Cache(directory) as cache:
        for number in range(100):
            cache[f'key {number}'] = bytes([number]) * 33_000
    for page in pages_with(directory, b'key 50', b'\r')[:1]:
        overwrite(directory, page * PAGE, os.urandom(PAGE))
    with Cache(directory) as cache:
        then = time.time() - 10_000
        for name in value_files(directory):
            os.utime(Path(directory, name), (then, then))
        found = report_texts(cache, fix=True)
        lost = [text for text in found if text.startswith('item lost')]
        kept = {*cache}
        assert f'items saved: {len(kept)}; lost: {100 - len(kept)}' in found
        assert len(lost) == 100 - len(kept)
        assert all(
            f"'key {number}'" in ' '.join(lost)
            for number in range(100)
            if f'key {number}' not in kept
        )
        unknown = [text for text in found if text.startswith('unknown file')]
        assert len(value_files(directory)) == 100
        assert len(unknown) == 100 - len(kept)
        assert [cache[key] for key in kept] == [bytes([int(key[4:])]) * 33_000 for key in kept]
        report_texts(cache, fix=True)  # the next one removes them
        assert value_files(directory) == stored_filenames(cache)


def test_a_damaged_index_loses_nothing(directory: str) -> None:
    """Of two rows of one key, which it lets be, the later one is taken."""
    with Cache(directory) as cache:
        cache.set_many((number, value_of(number)) for number in range(ITEMS))
    with closing(sqlite3.connect(f'{directory}/cache.db', isolation_level=None)) as con:
        con.execute('PRAGMA writable_schema = ON')
        con.execute(
            "UPDATE sqlite_master SET sql = 'CREATE INDEX Cache_key_raw ON Cache (key, raw)"
            " WHERE key > 10' WHERE name = 'Cache_key_raw'"
        )
    with closing(sqlite3.connect(f'{directory}/cache.db', isolation_level=None)) as con:
        con.execute("INSERT INTO Cache (key, raw, mode, value) VALUES (5, 1, 1, 'later')")
        con.execute('PRAGMA writable_schema = ON')
        con.execute(
            "UPDATE sqlite_master SET sql = 'CREATE UNIQUE INDEX Cache_key_raw ON Cache"
            " (key, raw)' WHERE name = 'Cache_key_raw'"
        )
    with Cache(directory) as cache:
        assert any('missing from index' in text for text in report_texts(cache))
        report_texts(cache, fix=True)
        assert report_texts(cache) == []
        assert len(cache) == ITEMS
        assert cache[5] == 'later'
        assert all(cache[number] == value_of(number) for number in range(ITEMS) if number != 5)


@pytest.mark.usefixtures('program')
def test_a_schema_in_which_the_number_of_a_row_is_a_column_loses_nothing(directory: str) -> None:
    """One bit makes another type of it, of which no row has a value."""
    fill(directory)
    content = Path(directory, 'cache.db').read_bytes()
    overwrite(directory, content.index(b'INTEGER PRIMARY'), b'INTEGDR')
    with Cache(directory) as cache:
        assert 'items saved: 1506; lost: 0' in report_texts(cache, fix=True)
        assert report_texts(cache) == []
        assert [cache[number] for number in range(ITEMS)] == [*map(value_of, range(ITEMS))]
        assert cache['file', 3] == b'\3' * 40_000


def test_garbage_in_the_log_ends_it_and_loses_nothing_older(
    directory: str, alone: Interpreter
) -> None:
    """SQLite takes what is whole of it: that is no damage to be mended."""
    with Cache(directory) as cache:
        cache['old'] = 1

    def write(directory: str) -> None:
        sys.held = Cache(directory)
        for number in range(100):
            sys.held[number] = 'x' * 1000

    alone.run(write, directory=directory)
    alone.kill()
    with open(f'{directory}/cache.db-wal', 'r+b') as log:
        log.seek(log.seek(0, os.SEEK_END) // 2)
        log.write(os.urandom(50_000))
    with Cache(directory) as cache:
        assert cache['old'] == 1
        assert 10 < len(cache) < 101
        assert report_texts(cache, fix=True) == []
        assert damaged_files(directory) == []


def test_what_is_in_the_log_is_saved(directory: str, alone: Interpreter) -> None:
    with Cache(directory) as cache:
        cache['old'] = 1

    def write(directory: str) -> None:
        sys.held = Cache(directory)
        sys.held['in the log'] = 2

    alone.run(write, directory=directory)
    alone.kill()
    assert os.path.getsize(f'{directory}/cache.db-wal') > 0
    overwrite(directory, 0, bytes(100))
    main(['check', '--fix', directory])
    with Cache(directory) as cache:
        assert (cache['old'], cache['in the log']) == (1, 2)


def test_the_original_reads_what_was_saved(directory: str, original: Interpreter) -> None:
    fill(directory)
    overwrite(directory, 0, bytes(100))
    main(['check', '--fix', directory])
    read = 'c = Cache(directory); (len(c), c[7], c["file", 2][:2], len(c.check()))'
    assert original.run(read, directory=directory) == (ITEMS + 6, value_of(7), b'\2\2', 0)


def test_a_shard_stays_one(directory: str) -> None:
    with FanoutCache(directory, shards=2, size_limit=10**8) as cache:
        cache.set_many((number, value_of(number)) for number in range(ITEMS))
        shard = cache._shards[1].directory
    ruin_pages(1)(shard, random.Random(3))
    with FanoutCache(directory, shards=2) as cache:
        cache.check(fix=True)
        assert cache.check() == []
        assert all(cache.get(number) in (None, value_of(number)) for number in range(ITEMS))
        assert cache.reset('size_limit') == 10**8 / 2
    with FanoutCache(directory, shards=2) as cache:
        assert cache._shards[1]._origin.shards == 2


# Others who have it open.


def test_another_process_goes_on_with_the_new_database(directory: str, alone: Interpreter) -> None:
    fill(directory)
    alone.run('sys.held = Cache(directory, memory_limit=0); sys.held[1]', directory=directory)
    ruin_pages(3)(directory, random.Random(5))
    with Cache(directory, memory_limit=0) as cache:
        assert report_texts(cache, fix=True) != []
        cache['new'] = 1
        assert alone.run('sys.held["new"]') == 1
        alone.run('sys.held["other"] = 2')
        assert cache['other'] == 2
        assert len(damaged_files(directory)) == 1
        assert report_texts(cache) == []


def test_what_others_write_meanwhile_is_not_lost(directory: str, alone: Interpreter) -> None:
    """They wait for the lock, and then write into the new database."""
    fill(directory)

    def start(directory: str) -> None:
        def write() -> None:
            cache = Cache(directory, memory_limit=0)
            number = 0
            while not sys.stop.is_set():
                number += 1
                with contextlib.suppress(sqlite3.DatabaseError):
                    if cache.set(('new', number), number):
                        sys.stored.append(number)

        sys.stop, sys.stored = threading.Event(), []
        sys.writer = threading.Thread(target=write)
        sys.writer.start()

    page = pages_with(directory, value_of(50).encode(), b'\r')[0]
    overwrite(directory, page * PAGE, os.urandom(PAGE))
    alone.run(start, directory=directory)
    with Cache(directory, memory_limit=0) as cache:
        while len(alone.run('sys.stored')) < 20:
            time.sleep(0.01)
        assert any(text.startswith('items saved') for text in report_texts(cache, fix=True))
        before = len(alone.run('sys.stored'))
        while len(alone.run('sys.stored')) < before + 20:
            time.sleep(0.01)
        stored = alone.run('sys.stop.set(); sys.writer.join(); sys.stored')
        assert [number for number in stored if cache.get(('new', number)) != number] == []


def test_of_two_that_save_it_at_once_one_does(directory: str, alone: Interpreter) -> None:
    fill(directory)
    ruin_pages(3)(directory, random.Random(5))
    check = '[str(w.message) for w in Cache(directory).check(fix=True)]'
    mine: list[str] = []

    def save() -> None:
        with Cache(directory) as cache:
            mine.extend(report_texts(cache, fix=True))

    thread = threading.Thread(target=save)
    thread.start()
    theirs = alone.run(check, directory=directory)
    thread.join()
    assert len(damaged_files(directory)) == 1
    assert sum(text.startswith('items saved') for text in [*mine, *theirs]) == 1
    with Cache(directory) as cache:
        assert report_texts(cache) == []


@pytest.mark.skipif(os.name != 'posix', reason='needs signals')
@pytest.mark.parametrize('event', ['os.rename', 'os.remove', 'os.link'])
def test_an_interrupt_does_not_come_between_the_former_database_and_its_successor(
    alone: Interpreter, directory: str, event: str
) -> None:
    """Without a database in its place the next one who opens the cache would find it empty."""

    def check(directory: str, awaited: str) -> tuple[list[int], int]:
        def interrupt(event: str, args: tuple) -> None:
            if event == awaited and os.path.basename(str(args[0])).startswith('cache.db'):
                at.append(len(at))
                os.kill(os.getpid(), signal.SIGINT)

        at: list[int] = []
        signal.signal(signal.SIGINT, signal.default_int_handler)
        cache = Cache(directory)
        cache.set('in the log', 1)
        sys.addaudithook(interrupt)
        with contextlib.suppress(KeyboardInterrupt):
            cache.check(fix=True)
            signal.sigtimedwait([], 1)  # until the handler has run
        awaited = ''
        cache.close()
        return at, len(Cache(directory))

    fill(directory)
    page = pages_with(directory, value_of(50).encode(), b'\r')[0]
    overwrite(directory, page * PAGE, os.urandom(PAGE))
    at, left = alone.run(check, directory=directory, awaited=event)
    assert at
    assert left > ITEMS - 100


# on_error

READS: dict[str, tuple[Callable, object]] = {
    'get': (lambda cache: cache.get(5, 'default'), 'default'),
    '[]': (lambda cache: cache[5], KeyError),
    'read': (lambda cache: cache.read(5), KeyError),
    'in': (lambda cache: 5 in cache, False),
    'get_many': (lambda cache: cache.get_many([5, 6]), {}),
}
OTHERS: dict[str, tuple[Callable, object]] = {
    'set': (lambda cache: cache.set(5, 6), True),
    '[] =': (lambda cache: cache.__setitem__(5, 6), None),
    'add': (lambda cache: cache.add(5, 6), True),
    'incr': (lambda cache: cache.incr(5), 1),
    'touch': (lambda cache: cache.touch(5), False),
    'delete': (lambda cache: cache.delete(5), False),
    'pop': (lambda cache: cache.pop(5, 'default'), 'default'),
    'push': (lambda cache: cache.push(6), 500_000_000_000_000),
    'pull': (lambda cache: cache.pull(), (None, None)),
    'peek': (lambda cache: cache.peek(), (None, None)),
    'peekitem': (lambda cache: cache.peekitem(), KeyError),
    'set_many': (lambda cache: cache.set_many({5: 6, 7: 8}), 2),
    'set_many of a list': (lambda cache: cache.set_many([(5, 6), (7, 8)]), 2),
    'delete_many': (lambda cache: cache.delete_many([5, 6]), 0),
    'clear': (lambda cache: cache.clear(), 0),
    'evict': (lambda cache: cache.evict('tag'), 0),
    'len': (len, 0),
    'list': (list, []),
    'sorted': (lambda cache: list(cache.iterkeys()), []),
    'transact': (lambda cache: cache.transact().__enter__(), None),
    'stats': (lambda cache: cache.stats(), (0, 0)),
}


def ruined(directory: str, on_error: str | None) -> Cache:
    """Return a cache whose database has been ruined since it was opened."""
    fill(directory)
    cache = Cache(directory, on_error=on_error, memory_limit=0, statistics=0)
    cache.close()
    ruin_all(directory, random.Random(1))
    return cache


def assert_outcome(operate: Callable, cache: Cache, expected: object) -> None:
    if isinstance(expected, type):
        with pytest.raises(expected):
            operate(cache)
    else:
        assert operate(cache) == expected


@pytest.mark.parametrize(('operate', 'expected'), READS.values(), ids=READS.keys())
def test_a_lookup_in_a_malformed_database_is_a_miss(
    directory: str, logged: Callable[[], list[str]], operate: Callable, expected: object
) -> None:
    cache = ruined(directory, 'miss')
    assert_outcome(operate, cache, expected)
    (message,) = logged()
    assert directory in message
    assert 'malformed' in message
    assert damaged_files(directory) == []


@pytest.mark.parametrize('operate', [operate for operate, _ in OTHERS.values()], ids=OTHERS.keys())
def test_what_cannot_be_a_miss_is_an_error(directory: str, operate: Callable) -> None:
    """What is not stored does not look stored, and a queue does not look empty."""
    cache = ruined(directory, 'miss')
    with pytest.raises(sqlite3.DatabaseError, match='malformed'):
        operate(cache)
    assert damaged_files(directory) == []


@pytest.mark.slow
@pytest.mark.parametrize(
    ('operate', 'expected'),
    [*READS.values(), *OTHERS.values()],
    ids=[*READS, *OTHERS],
)
def test_with_reset_each_operation_begins_the_database_anew(
    directory: str, logged: Callable[[], list[str]], operate: Callable, expected: object
) -> None:
    cache = ruined(directory, 'reset')
    assert_outcome(operate, cache, expected)
    (message,) = logged()
    (name,) = damaged_files(directory)
    assert name in message
    assert directory in message
    if operate is OTHERS['transact'][0]:
        return
    assert cache.set('new', 1)
    assert cache['new'] == 1
    assert (cache.cull_limit, cache.tag_index) == (3, 1)
    assert [text for text in report_texts(cache) if not text.startswith('unknown file')] == []
    assert len(value_files(directory)) == 5  # until check(fix=True)
    assert logged() == []


def test_what_is_used_up_is_not_stored_as_if_it_were_whole(directory: str) -> None:
    """Of a file that has been read, and of a generator, nothing is left for another attempt."""
    for give in (
        lambda cache: cache.set('key', (Path(directory) / 'cache.db').open('rb'), read=True),
        lambda cache: cache.set_many((number, number) for number in range(10)),
        lambda cache: cache.delete_many(iter([1, 2])),
    ):
        cache = ruined(directory, 'reset')
        with pytest.raises(sqlite3.DatabaseError, match='malformed'):
            give(cache)
        assert len(cache) == 0  # and yet it has been begun anew
        assert len(damaged_files(directory)) == 1
        cache.close()
        shutil.rmtree(directory)


@pytest.mark.parametrize('damage', ['header', 'random first page', 'all'])
def test_with_reset_a_malformed_database_can_be_opened(
    directory: str, logged: Callable[[], list[str]], damage: str
) -> None:
    fill(directory)
    DAMAGES[damage](directory, random.Random(1))
    for on_error in ('raise', 'miss', None):
        with pytest.raises(sqlite3.DatabaseError):
            Cache(directory, on_error=on_error)
    with Cache(directory, on_error='reset') as cache:
        assert len(cache) == 0
        cache['key'] = 1
    (message,) = logged()
    assert damaged_files(directory)[0] in message
    with Cache(directory) as cache:
        assert cache['key'] == 1


@pytest.mark.usefixtures('interruptible')
@pytest.mark.parametrize('left', [0, 1], ids=['before it is opened', 'after that'])
@pytest.mark.parametrize('malformed', [False, True])
def test_an_interrupt_is_not_lost_while_a_file_is_identified(
    directory: str, left: int, malformed: bool
) -> None:
    """With `reset` a session's file is looked at in Python, which is where a signal is noticed."""

    class Interrupted(Cache):
        left = -1

        def _identify(self) -> tuple[int, int] | None:
            Interrupted.left -= 1
            if Interrupted.left == -1:
                signal.raise_signal(signal.SIGINT)
            return super()._identify()

    fill(directory)
    cache = Interrupted(directory, on_error='reset')
    cache.close()
    if malformed:
        DAMAGES['header'](directory, random.Random(1))
    Interrupted.left = left
    with pytest.raises(KeyboardInterrupt):
        cache.get(5)
    assert damaged_files(directory) == []
    assert cache.get(5) == (None if malformed else value_of(5))
    cache.close()


def test_in_a_transaction_nothing_is_begun_anew(directory: str) -> None:
    """What it has done until then could not be repeated. The next operation begins anew."""
    fill(directory)
    for kind in (b'\n', b'\2'):  # leaves of indexes, and what leads to them
        for page in pages_with(directory, b'', kind)[1:]:
            overwrite(directory, page * PAGE, os.urandom(PAGE))
    with Cache(directory, on_error='reset', memory_limit=0) as cache:
        with pytest.raises(sqlite3.DatabaseError, match='malformed'), cache.transact():
            cache.get(5)
        assert damaged_files(directory) == []
        assert cache.get(5) is None
        assert len(damaged_files(directory)) == 1


def test_no_check_resets_while_another_ends(directory: str) -> None:
    """Two threads check: the first to end must not have the database begun anew for the other."""
    fill(directory)
    with Cache(directory, on_error='reset') as cache:
        ruin_pages(pages_of(directory) - 2)(directory, random.Random(1))
        began, ended = threading.Event(), threading.Event()

        def end_late(step: str, done: int, total: int | None) -> None:
            began.set()
            ended.wait(10)

        with ThreadPoolExecutor(1) as thread:

            def end_early(step: str, done: int, total: int | None) -> None:
                checks.append(thread.submit(cache.check, progress=end_late))
                assert began.wait(10)
                raise ZeroDivisionError

            checks: list = []
            with pytest.raises(ZeroDivisionError):
                cache.check(progress=end_early)
            ended.set()
            assert checks[0].result() != []
        assert damaged_files(directory) == []
        assert cache.on_error == 'reset'
        assert cache.get(1) is None
        assert len(damaged_files(directory)) == 1


def test_check_saves_and_does_not_reset(directory: str) -> None:
    fill(directory)
    ruin_pages(3)(directory, random.Random(5))
    with Cache(directory, on_error='reset', memory_limit=0) as cache:
        assert report_texts(cache) != []
        assert damaged_files(directory) == []
        assert any(text.startswith('items saved') for text in report_texts(cache, fix=True))
        assert len(cache) > 100
        assert cache.on_error == 'reset'


def test_of_processes_that_notice_at_once_one_renames(
    directory: str, start_interpreter: Callable[[], Interpreter]
) -> None:
    """All go on with the same database."""
    fill(directory)
    others = [start_interpreter() for _ in range(3)]
    for other in others:
        other.run(
            'sys.held = Cache(directory, on_error="reset", memory_limit=0); sys.held[1]',
            directory=directory,
        )
    ruin_all(directory, random.Random(1))

    def hammer(number: int) -> int:
        for _ in range(30):
            sys.held.incr('total')
        return sys.held.set(number, number)

    with ThreadPoolExecutor() as threads:
        calls = [threads.submit(other.run, hammer, number=n) for n, other in enumerate(others)]
    assert [call.result() for call in calls] == [True] * 3
    assert len(damaged_files(directory)) == 1
    with Cache(directory) as cache:
        assert [cache[number] for number in range(3)] == [0, 1, 2]
        assert cache['total'] == 90
        for other in others:
            assert other.run('sys.held["total"]') == 90
            other.close()


def test_a_fanout_cache_resets_the_shard(directory: str) -> None:
    with FanoutCache(directory, shards=2, on_error='reset', memory_limit=0) as cache:
        cache.set_many((number, number) for number in range(500))
        cache.close()
        shards = cache._shards
        sound = len(shards[0])
        shards[0].close()
        ruin_all(shards[1].directory, random.Random(1))
        assert sum(cache.get(number) is not None for number in range(500)) == sound
        assert cache.set_many((number, number) for number in range(500)) == 500
        assert len(cache) == 500


def test_a_deque_goes_on_with_reset(directory: str) -> None:
    deque = Deque.fromcache(Cache(directory, on_error='reset', eviction_policy='none'), range(1000))
    deque.cache.close()
    ruin_all(directory, random.Random(1))
    deque.append(5)
    assert list(deque) == [5]


def test_it_is_logged_where_it_cannot_be_renamed(
    directory: str,
    caplog: pytest.LogCaptureFixture,
    logged: Callable[[], list[str]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As on Windows, where somebody has it open."""
    caplog.set_level(logging.WARNING)
    cache = ruined(directory, 'reset')

    def refuse(*_: object) -> None:
        raise PermissionError('in use')

    monkeypatch.setattr(os, 'rename', refuse)
    with pytest.raises(sqlite3.DatabaseError, match='malformed'):
        cache.get(5)
    assert 'in use' in logged()[0]
    monkeypatch.undo()
    assert cache.get(5) is None


@pytest.mark.parametrize('pages', [1, 2, 3])
def test_a_database_that_ends_before_its_tables_is_replaced(directory: str, pages: int) -> None:
    """There is nothing to be read in it, and it is no reason not to go on."""
    fill(directory)
    Path(directory, 'cache.db').write_bytes(b'garbage ' * (pages * PAGE // 8))
    main(['check', '--fix', directory])
    with Cache(directory) as cache:
        cache['key'] = 'value'
        assert len(cache) == 1
    assert len(list(Path(directory).glob(f'{DAMAGED}*'))) >= 1


@pytest.mark.parametrize('old', [False, True], ids=['new', 'old'])
def test_what_a_killed_salvage_has_left_is_removed_when_it_is_gone(
    directory: str, tmp_path: Path, alone: Interpreter, old: bool
) -> None:
    """Not before: it has all that can be read. A lock tells, which ends with its process.

    A new one stays, too: its maker may be just before the lock.
    """

    def salvage(directory: str, path: str) -> None:
        from diskcache.cli import main

        os.environ['PATH'] = path + os.pathsep + os.environ['PATH']
        main(['check', '--fix', directory])

    held = tmp_path / 'held'
    program = tmp_path / 'bin' / 'sqlite3'  # which holds the salvage up
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\necho > {held}\nexec sleep 50\n')
    program.chmod(0o755)
    fill(directory)
    shutil.copy(f'{directory}/cache.db', tmp_path / 'sound')
    overwrite(directory, 0, bytes(100))
    alone.start(salvage, directory=directory, path=str(program.parent))
    while not held.exists():
        time.sleep(0.01)
    (work,) = Path(directory).glob('cache.db-salvage-*')

    def look() -> list[tuple[str, bool, bool]]:
        if old:
            os.utime(work, (1, 1))
        with Cache(directory) as cache:
            found = [warning.message for warning in cache.check(fix=True)]
        return [(str(each), each.mended, each.harmless) for each in found]  # type: ignore

    os.replace(tmp_path / 'sound', f'{directory}/cache.db')
    assert look() == []
    assert work.exists()
    alone.kill()
    assert look() == [(f'left by a salvage: {work}', old, not old)]
    assert work.exists() != old


def test_what_recover_prints_does_not_lead_out_of_the_database(
    directory: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is SQL of whoever has written the file, and may have been made for that."""
    real = shutil.which('sqlite3')
    if real is None:
        pytest.skip('the program sqlite3 is not installed')
    target = tmp_path / 'target'
    (tmp_path / 'bin').mkdir()
    (tmp_path / 'script.sql').write_text(
        f".shell touch {target}\nATTACH '{target}' AS x; CREATE TABLE x.t (a);\n"
    )
    program = tmp_path / 'bin' / 'sqlite3'
    answer = f'*.recover*) cat {tmp_path}/script.sql;; *) exec {real} "$@";;'
    program.write_text(f'#!/bin/sh\ncase "$*" in {answer} esac\n')
    program.chmod(0o755)
    monkeypatch.setenv('PATH', f'{tmp_path}/bin:{os.environ["PATH"]}')
    fill(directory)
    overwrite(directory, 0, bytes(100))
    main(['check', '--fix', directory])
    assert not target.exists()
    with Cache(directory) as cache:
        assert len(cache) == ITEMS + 6


def can_recover(work: Path) -> bool:
    """Tell whether the program sqlite3 has a .recover that works; that of Debian 12 has not."""
    program = shutil.which('sqlite3')
    if program is None:
        return False
    with closing(sqlite3.connect(work / 'sound.db')) as con:
        con.execute('CREATE TABLE t (a)')
    command = [program, '-batch', '-safe', work / 'sound.db', '.recover --ignore-freelist']
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


@pytest.mark.parametrize('table', ['Cache', 'Settings'])
@pytest.mark.parametrize('program', ['with the program sqlite3', 'without'])
def test_rows_that_no_page_leads_to(
    directory: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, table: str, program: str
) -> None:
    """The first page of a table is gone: .recover looks at each page for rows."""
    fill(directory)
    if program == 'without':
        monkeypatch.setenv('PATH', str(tmp_path / 'nothing'))
    elif not can_recover(tmp_path):
        pytest.skip('there is no .recover that works')
    with closing(sqlite3.connect(f'{directory}/cache.db')) as con:
        select = 'SELECT rootpage FROM sqlite_master WHERE name = ?'
        ((page,),) = con.execute(select, (table,))
    overwrite(directory, (page - 1) * PAGE, os.urandom(PAGE))
    main(['check', '--fix', directory])
    with Cache(directory) as cache:
        saved = [number for number in range(ITEMS) if cache.get(number) == value_of(number)]
        assert len(cache) >= len(saved)
        if table == 'Settings' or program != 'without':
            assert len(saved) == ITEMS
            assert cache['file', 3] == b'\3' * 40_000
            assert cache.get('tagged', tag=True) == (('a', 1), 'tag')


#: Writes a key, and stands still at one of its steps, for each line: a directory and a number.
WRITER = """
import ctypes, os, sys
import diskcache
shim = ctypes.CDLL(None)
for line in sys.stdin:
    directory, step = line.rsplit(None, 1)
    with diskcache.Cache(directory) as cache:
        cache['before'] = 1
        shim.step_arm(ctypes.c_long(int(step)), 1, 0)
        cache['new'] = 2
        passed = shim.step_disarm()
        print(passed, flush=True)
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != 'linux', reason='the steps are found by a preloaded library')
def test_nothing_is_lost_that_another_writes_however_long_it_stands_still(
    directory: str, tmp_path: Path, preload: Callable[[str], dict[str, str]]
) -> None:
    """Between the look whether the database has moved and BEGIN, others may save it meanwhile.

    What was written then went to the damaged database, which nobody reads.
    """
    fill(directory)
    (page, *_) = pages_with(directory, value_of(200).encode(), b'\x0d')
    overwrite(directory, page * PAGE, bytes(PAGE))
    with subprocess.Popen(
        [sys.executable, '-c', WRITER],
        env={**os.environ, **preload('at_each_step.c')},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        bufsize=0,
    ) as writer:
        assert writer.stdin is not None
        assert writer.stdout is not None
        lost, saved, steps = [], 0, range(1, 1000)
        for step in steps:
            copy = str(tmp_path / f'{step}')
            shutil.copytree(directory, copy)
            writer.stdin.write(f'{copy} {step}\n'.encode())
            answer = writer.stdout.readline()
            if answer != b'!\n':
                assert int(answer) < step
                break
            os.kill(writer.pid, signal.SIGSTOP)
            try:
                with Cache(copy, timeout=0.05) as cache, suppress(diskcache.Timeout):
                    saved += bool(cache.check(fix=True))
            finally:
                os.kill(writer.pid, signal.SIGCONT)
            writer.stdin.write(b'.')
            writer.stdout.readline()
            with Cache(copy) as cache:
                if cache.get('new') != 2:
                    lost.append(step)
        writer.stdin.close()
    assert lost == []
    assert saved > 5


def damage_index(directory: str) -> None:
    """Overwrite the first page of the index of keys."""
    with closing(sqlite3.connect(f'{directory}/cache.db')) as con:
        ((root,),) = con.execute("SELECT rootpage FROM sqlite_master WHERE name = 'Cache_key_raw'")
    overwrite(directory, (root - 1) * PAGE, b'x' * PAGE)


@pytest.mark.skipif(sys.platform == 'win32', reason='links need a privilege')
@pytest.mark.parametrize('on_error', ['miss', 'reset'])
def test_a_database_behind_a_link_is_replaced_where_it_is(
    directory: str, tmp_path: Path, on_error: str
) -> None:
    """Its log is beside the file, and whether the file has moved is all that others look at.

    A database in the place of the link is one that nobody who has the other open gets to see, and
    that lacks what is in the log.
    """
    fill(directory)
    damage_index(directory)
    real = tmp_path / 'other' / 'real.db'
    real.parent.mkdir()
    os.rename(f'{directory}/cache.db', real)
    os.symlink(real, f'{directory}/cache.db')
    with (
        Cache(directory, on_error='miss') as another,
        Cache(directory, on_error='miss' if on_error == 'reset' else 'raise') as cache,
    ):
        another.stats(enable=True)
        another.reset('cull_limit', 7)  # is in the log
        if on_error == 'miss':
            assert 'items saved: 1506; lost: 0' in report_texts(cache, fix=True)
            assert another[5] == cache[5] == value_of(5)
            assert cache.reset('cull_limit') == 7
            assert cache.check() == []
        else:
            cache.on_error = 'reset'
            cache['old'] = 1
        cache['new'] = 2
        assert another['new'] == 2
        another['newer'] = 3
        assert cache['newer'] == 3
    assert real.exists()
    assert os.path.islink(f'{directory}/cache.db')


# Want of room.

needs_mounts = pytest.mark.skipif(
    os.name != 'posix' or os.geteuid() != 0 or not mounts.can_mount(),
    reason='this process may not mount anything',
)


@pytest.mark.slow
@needs_mounts
@pytest.mark.usefixtures('program')
def test_nothing_is_lost_for_want_of_room(
    alone: Interpreter, directory: str, tmp_path: Path
) -> None:
    """Either all is saved, or it is an error, and the database stays where it is.

    A log that could not be copied into the new database was left behind, with all items.
    """

    def check(directory: str, tmp_path: str, rooms: list[int]) -> list[tuple[str, int, int]]:
        import shutil

        import mounts

        def check_once(path: str) -> str:
            with Cache(path) as cache:
                texts = [str(warning.message) for warning in cache.check(fix=True)]
            return next((text for text in texts if text.startswith('items saved')), '')

        mounts.own_mounts()
        found = []
        for room in rooms:
            target = f'{tmp_path}/{room}'
            mounts.mount_memory(target, f'size={room}')
            shutil.copytree(directory, f'{target}/cache')
            try:
                said = check_once(f'{target}/cache')
            except (OSError, sqlite3.OperationalError):
                said = ''
            with contextlib.suppress(OSError, sqlite3.OperationalError):
                check_once(f'{target}/cache')  # one more attempt keeps no more open
            opened = [
                os.readlink(f'/proc/self/fd/{number}')
                for number in os.listdir('/proc/self/fd')
                if os.path.lexists(f'/proc/self/fd/{number}')
            ]
            mounts.mount('none', target, 'tmpfs', 32, 'size=50m')
            with Cache(f'{target}/cache', on_error='miss') as cache:
                found.append((said, len(cache), opened.count(f'{target}/cache/cache.db')))
        return found

    fill(directory)
    page = pages_with(directory, value_of(50).encode(), b'\r')[0]
    overwrite(directory, page * PAGE, os.urandom(PAGE))
    size = sum(path.stat().st_size for path in Path(directory).rglob('*'))
    database = pages_of(directory) * PAGE
    rooms = [size + share * database // 4 for share in range(3, 18, 2)]
    found = alone.run(check, directory=directory, tmp_path=str(tmp_path), rooms=rooms)
    saved = [said for said, _, _ in found if said]
    assert 0 < len(saved) < len(rooms)
    assert set(saved) == {saved[0]}
    items = int(saved[0].split()[2].rstrip(';'))
    assert items > ITEMS - 100
    assert [each for each in found if (each[1] != items if each[0] else each[1] < items)] == []
    assert max(opened for _, _, opened in found) <= 1
