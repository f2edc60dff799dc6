"""The size limit: what a cache takes up on disk, after each write and whoever writes.

A write that finds the volume at the limit or above removes others until it is below. It stops at
`cull_limit` items, unless these are together smaller than what it has stored. So the volume is
never more than one value above the limit, and a full cache does not grow.
"""

from __future__ import annotations

import io
import os
import random
import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from itertools import count, islice
from pathlib import Path
from typing import Any

import pytest
from consistency import report_texts, value_files
from interpreter import Clock, Interpreter

import diskcache

KB, MB = 2**10, 2**20
SMALLEST, LARGEST = 32 * KB, MB  # Bytes of a value.
LIMIT = 4 * MB
ROW = 6 * 4 * KB  # What the pages of a row can be more than its value; less than SMALLEST.
POLICIES = ['least-recently-stored', 'least-recently-used', 'least-frequently-used']
WHERE = {'in files': 2**15, 'inline': 2**30}  # disk_min_file_size


def used(directory: str) -> int:
    """Return the bytes of all value files and of the pages in use, as they are on disk."""
    files = sum(os.path.getsize(f'{directory}/{name}') for name in value_files(directory))
    return files + pages_in_use(directory)


def pages_in_use(directory: str) -> int:
    """Return the bytes of the database but for its free pages."""
    with closing(sqlite3.connect(f'{directory}/cache.db', isolation_level=None)) as con:
        con.execute('BEGIN')
        pages, free, size = (
            con.execute(f'PRAGMA {name}').fetchone()[0]
            for name in ('page_count', 'freelist_count', 'page_size')
        )
    return (pages - free) * size


def assert_exact(cache: diskcache.Cache) -> None:
    """The counts that triggers keep are those of the rows and of the files."""
    with closing(sqlite3.connect(f'{cache.directory}/cache.db')) as con:
        rows = con.execute('SELECT count(*), sum(size) FROM Cache').fetchone()
        settings = dict(con.execute('SELECT key, value FROM Settings'))
    assert rows == (settings['count'], settings['size'])
    files = value_files(cache.directory)
    assert sum(os.path.getsize(f'{cache.directory}/{name}') for name in files) == rows[1]


def fill_with_small(cache: diskcache.Cache, volume: int) -> None:
    """Store items of a hundred bytes until the cache takes up so much."""
    numbers = count()
    while cache.volume() < volume:
        with cache.transact():
            for number in islice(numbers, 100):
                cache[f'small {number}'] = 'x' * 100


@pytest.fixture
def full(directory: str) -> Callable[..., diskcache.Cache]:
    """A function that opens a cache full of small items: LIMIT is reached."""

    def open_full(**settings: Any) -> diskcache.Cache:
        cache = diskcache.Cache(directory, **{**settings, 'cull_limit': 0})
        fill_with_small(cache, LIMIT)
        cache.reset('cull_limit', settings.get('cull_limit', 10))
        cache.reset('size_limit', LIMIT)
        return cache

    return open_full


# --- any writes, one after the other -------------------------------------------------------------


@dataclass
class Item:
    """What is known of an item without asking the cache."""

    size: int  # Bytes of the value.
    store_time: float
    access_time: float
    expire_time: float | None = None
    access_count: int = 0


RANKS: dict[str, Callable[[Item], float]] = {
    'least-recently-stored': lambda item: item.store_time,
    'least-recently-used': lambda item: item.access_time,
    'least-frequently-used': lambda item: item.access_count,
}


class Author:
    """Writes items of random sizes in all the ways there are, and knows what must be there."""

    def __init__(self, cache: diskcache.Cache, clock: Clock, seed: str) -> None:
        self.cache = cache
        self.clock = clock
        self.random = random.Random(seed)
        self.items: dict[Any, Item] = {}
        self.evicted = 0

    def value(self) -> bytes:
        """Return a value; small ones and large ones are about as frequent."""
        return b'x' * round(SMALLEST * (LARGEST / SMALLEST) ** self.random.random())

    def some_key(self) -> Any:
        return self.random.choice(list(self.items)) if self.items else 'first'

    def new_key(self) -> str:
        return f'key {self.random.getrandbits(40)}'

    def note(self, key: Any, size: int, expire: float | None = None) -> Any:
        now = self.clock.now
        expire_time = None if expire is None else now + expire
        self.items.pop(key, None)
        self.items[key] = Item(size, now, now, expire_time)
        return key

    def read(self) -> None:
        """Look some items up, which changes who is next to go."""
        for key in self.random.sample(list(self.items), len(self.items) // 3):
            self.clock.tick(1)
            item = self.items[key]
            if self.cache.get(key) is not None:
                item.access_time = self.clock.now
                item.access_count += 1

    def write(self, way: str) -> Any:
        """Write one item and return its key."""
        self.clock.tick(1)
        key = self.some_key() if way == 'overwrite' else self.new_key()
        value = self.value()
        lifetime = None
        if way == 'add':
            assert self.cache.add(key, value)
        elif way == 'push':
            key = self.cache.push(value)
        elif way == 'stream':
            assert self.cache.set(key, io.BytesIO(value), read=True)
        elif way == 'expiring':
            lifetime = self.random.randrange(1, 20)
            assert self.cache.set(key, value, lifetime, tag='mortal')
        elif way == 'incr':
            value = b''
            assert self.cache.incr(key, default=5) == 6
        else:
            assert self.cache.set(key, value)
        return self.note(key, len(value), lifetime)

    WAYS = ('set', 'overwrite', 'add', 'push', 'stream', 'expiring', 'incr')

    def take_stock(self, written: set[Any]) -> None:
        """Look at what has gone, and at what is on disk."""
        remaining = set(self.cache)
        gone = {key: self.items.pop(key) for key in set(self.items) - remaining}
        assert remaining == set(self.items)
        volume = used(self.cache.directory)
        assert volume == self.cache.volume()
        assert volume < self.cache.size_limit + LARGEST
        others = [item for key, item in self.items.items() if key not in written]
        evicted = [item for item in gone.values() if not self.has_expired(item)]
        self.evicted += len(evicted)
        if evicted:
            assert not any(self.has_expired(item) for item in others)
            rank = RANKS[self.cache.eviction_policy]
            assert max(map(rank, evicted)) <= min(map(rank, others), default=float('inf'))
            if len(written) == 1:  # After several, some may have become smaller again.
                # One fewer would not have done. Which was the last one is known but for a tie.
                last = max(evicted, key=lambda item: (rank(item), item.size))
                assert volume + last.size + ROW >= self.cache.size_limit

    def has_expired(self, item: Item) -> bool:
        return item.expire_time is not None and item.expire_time < self.clock.now


@contextmanager
def author_in(
    directory: str, clock: Clock, policy: str, where: str, **settings: Any
) -> Iterator[Author]:
    """An author at work in a new cache, which is intact in the end."""
    with diskcache.Cache(
        directory, eviction_policy=policy, disk_min_file_size=WHERE[where], size_limit=LIMIT,
        **settings,
    ) as cache:  # fmt: skip
        yield Author(cache, clock, f'{policy} {where}')
        assert_exact(cache)
        assert report_texts(cache) == []


@pytest.mark.parametrize('where', WHERE)
@pytest.mark.parametrize('policy', POLICIES)
def test_each_write_leaves_the_volume_within_one_value_of_the_limit(
    directory: str, clock: Clock, policy: str, where: str
) -> None:
    with author_in(directory, clock, policy, where) as author:
        for turn in range(70):
            author.read()
            key = author.write(Author.WAYS[turn % len(Author.WAYS)])
            author.take_stock({key})
            assert key in author.items  # What was just written stays.
        assert author.evicted > 10


@pytest.mark.parametrize('where', WHERE)
@pytest.mark.parametrize('policy', POLICIES)
def test_the_writes_of_a_transaction_keep_to_the_limit(
    directory: str, clock: Clock, policy: str, where: str
) -> None:
    with author_in(directory, clock, policy, where) as author:
        for _ in range(8):
            author.read()
            with author.cache.transact():
                written = {author.write(way) for way in author.random.choices(Author.WAYS, k=7)}
                assert pages_and_files_inside(author.cache) < LIMIT + LARGEST
            author.take_stock(written)


def pages_and_files_inside(cache: diskcache.Cache) -> int:
    """Return the volume as this thread's open transaction sees it, without free pages."""
    ((free,),) = cache._sql('PRAGMA freelist_count').fetchall()
    ((page_size,),) = cache._sql('PRAGMA page_size').fetchall()
    return cache.volume() - free * page_size


@pytest.mark.parametrize('where', WHERE)
def test_under_the_policy_none_only_what_has_expired_goes(
    directory: str, clock: Clock, where: str
) -> None:
    with author_in(directory, clock, 'none', where) as author:
        for way in Author.WAYS * 6:
            author.write(way)
        remaining = set(author.cache)
        assert all(author.has_expired(author.items[key]) for key in set(author.items) - remaining)
        assert used(directory) > LIMIT + LARGEST


def test_a_write_that_is_rolled_back_leaves_the_limit_as_it_was(directory: str) -> None:
    with diskcache.Cache(directory, size_limit=LIMIT) as cache:
        for number in range(20):
            with pytest.raises(ZeroDivisionError), cache.transact():
                cache[number] = b'x' * MB
                raise ZeroDivisionError
            cache[-number] = b'x' * SMALLEST * 4
            assert used(directory) < LIMIT + MB
        assert len(cache) == 20  # Of what never was, nothing counts.
        assert_exact(cache)


# --- large values in the place of small ones -----------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize('where', WHERE)
@pytest.mark.parametrize('cull_limit', [1, 10])
@pytest.mark.parametrize('policy', POLICIES)
def test_large_values_in_a_cache_full_of_small_ones(
    full: Callable, directory: str, policy: str, cull_limit: int, where: str
) -> None:
    settings = {'cull_limit': cull_limit, 'disk_min_file_size': WHERE[where]}
    with full(eviction_policy=policy, **settings) as cache:
        for number in range(10):
            assert cache.set(number, b'x' * LARGEST)
            assert used(directory) < LIMIT + LARGEST
        assert_exact(cache)


def test_large_values_push_out_no_more_small_ones_than_they_must(
    full: Callable, directory: str
) -> None:
    with full() as cache:
        before = len(cache)
        cache['large'] = b'x' * SMALLEST
        gone = before + 1 - len(cache)
        assert gone > cache.cull_limit
        assert gone * 100 < SMALLEST + ROW
        assert LIMIT - ROW < used(directory) < LIMIT + ROW


def test_with_expired_items_in_its_place_nothing_else_goes(directory: str, clock: Clock) -> None:
    with diskcache.Cache(directory, cull_limit=0) as cache:
        for number in range(100):
            cache.set(('lasting', number), b'x' * 5000)
            cache.set(('mortal', number), b'x' * 5000, expire=1)
        clock.tick(2)
        cache.reset('size_limit', cache.volume())
        cache.reset('cull_limit', 1)
        cache['large'] = b'x' * 200_000
        assert len(cache) == 201 - 200_000 // 5000
        assert all(('lasting', number) in cache for number in range(100))


@pytest.mark.parametrize('cull_limit', [1, 3])
@pytest.mark.parametrize('size', [10, 5000, 100_000])
def test_items_of_one_size_go_cull_limit_at_a_time(
    directory: str, size: int, cull_limit: int
) -> None:
    with diskcache.Cache(directory, cull_limit=0) as cache:
        for number in range(20):
            cache[number] = 'é' * (size // 2)
        cache.reset('size_limit', size + 10)  # Exceeded by far, as if it had been lowered.
        cache.reset('cull_limit', cull_limit)
        for number in range(3):
            cache[f'new {number}'] = 'é' * (size // 2)
            assert len(cache) == 20 + (number + 1) * (1 - cull_limit)


def test_a_numbers_write_removes_cull_limit_items_at_most(full: Callable) -> None:
    with full() as cache:
        cache.reset('size_limit', LIMIT // 2)
        before = len(cache)
        cache['number'] = 1
        assert len(cache) == before + 1 - 10
        cache.incr('counter')
        assert len(cache) == before + 2 - 20


# --- what the volume is made of ------------------------------------------------------------------


def test_pages_that_have_become_free_are_used_before_anything_goes(directory: str) -> None:
    settings = {'sqlite_auto_vacuum': 0, 'size_limit': LIMIT, 'disk_min_file_size': MB}
    with diskcache.Cache(directory, **settings) as cache:
        for number in range(30):
            cache[number] = b'x' * 100_000
        for number in range(20):
            del cache[number]
        before = cache.volume()  # The file does not shrink.
        for number in range(100, 125):
            cache[number] = b'x' * 100_000
        assert len(cache) == 35
        assert before <= cache.volume() < LIMIT
        for number in range(200, 250):
            cache[number] = b'x' * 100_000
            assert used(directory) < LIMIT + 100_000 + ROW
            assert cache.volume() < LIMIT + 2 * 100_000
        assert len(cache) > 35
        assert_exact(cache)


@pytest.mark.parametrize('part', ['key', 'tag', 'tag without index'])
def test_long_keys_and_tags_count(directory: str, part: str) -> None:
    index = part != 'tag without index'
    with diskcache.Cache(directory, size_limit=8 * MB, tag_index=index) as cache:
        for number in range(30):
            long = f'{number:03}' + 'x' * 500_000
            if part == 'key':
                cache[long] = number
            else:
                cache.set(number, number, tag=long)
            assert used(directory) < 8 * MB + 2 * len(long)
        assert 5 < len(cache) < 20


@pytest.mark.parametrize(
    'change',
    [
        lambda cache: cache.reset('eviction_policy', 'least-recently-used'),
        lambda cache: cache.create_tag_index(),
        lambda cache: diskcache.Cache(cache.directory, tag_index=1).close(),
    ],
    ids=['policy', 'tags', 'another object'],
)
def test_a_new_index_counts_at_the_next_write(directory: str, change: Callable) -> None:
    with diskcache.Cache(directory) as cache:
        with cache.transact():
            for number in range(20_000):
                cache.set(f'{number:020}', 1, tag=f'tag of {number}')
        cache.reset('size_limit', used(directory) + 200_000)
        cache['a'] = 1
        assert len(cache) == 20_001
        change(cache)
        assert used(directory) >= cache.size_limit
        cache['b'] = 1
        assert len(cache) == 20_002 - 10


def test_small_pages(directory: str) -> None:
    Path(directory).mkdir()
    with closing(sqlite3.connect(f'{directory}/cache.db')) as con:
        con.execute('PRAGMA page_size = 512')
        con.execute('VACUUM')
    settings = {'size_limit': 50 * MB, 'disk_min_file_size': 2**30}
    with diskcache.Cache(directory, **settings) as cache:
        assert cache._sql('PRAGMA page_size').fetchall() == [(512,)]
        for number in range(30):
            cache[number] = b'x' * 2 * MB
            assert used(directory) < 50 * MB + 2 * MB
        assert 20 < len(cache) < 27


def test_pages_of_another_size_after_a_vacuum_by_another(
    directory: str, other: Interpreter
) -> None:
    """Only without a log can their size change while the cache is open."""
    settings = {'sqlite_journal_mode': 'delete', 'size_limit': LIMIT, 'disk_min_file_size': MB}
    with diskcache.Cache(directory, **settings) as cache:
        for number in range(10):
            cache[number] = b'x' * 200_000
        script = """
        con = sqlite3.connect(f'{directory}/cache.db')
        con.execute('PRAGMA page_size = 65536'), con.execute('VACUUM')
        con.close()
        """
        other.run(script, directory=directory)
        assert cache.volume() == used(directory)
        for number in range(10, 40):
            cache[number] = b'x' * 200_000
            assert used(directory) < LIMIT + 4 * 65536
        assert len(cache) > 10


def test_a_limit_that_nothing_can_meet(directory: str) -> None:
    with diskcache.Cache(directory) as cache:
        for number in range(30):
            cache[number] = number
        cache.size_limit = 0
        for number in range(5):
            cache[f'new {number}'] = number
            assert f'new {number}' in cache
        assert len(cache) == 1


# --- others write, too ---------------------------------------------------------------------------


def write_large(directory: str, cull_limit: int) -> None:
    cache = diskcache.Cache(directory)
    cache.cull_limit = cull_limit  # Its own affair, not stored.
    for number in range(6):
        cache.set(f'of another {number}', b'x' * 2**20)
    cache.close()


def in_a_thread(directory: str, cull_limit: int) -> None:
    thread = threading.Thread(target=write_large, args=(directory, cull_limit))
    thread.start()
    thread.join()


@pytest.mark.parametrize('who', ['object', 'thread', 'other', 'original'])
def test_what_another_has_written_counts_at_the_next_write(
    directory: str, who: str, request: pytest.FixtureRequest
) -> None:
    with diskcache.Cache(directory, size_limit=8 * MB) as cache:
        for number in range(4):
            cache[number] = b'x' * MB
        if who in ('object', 'thread'):
            write = {'object': write_large, 'thread': in_a_thread}[who]
            write(directory, 0)
        else:
            interpreter = request.getfixturevalue(who)
            interpreter.run(write_large, directory=directory, cull_limit=0)
        assert used(directory) > 10 * MB
        cache['small'] = 'x'
        assert used(directory) < 8 * MB
        assert len(cache) == 8
        assert_exact(cache)


def test_expiry_that_another_has_brought_forward_counts_at_the_next_write(
    cache: diskcache.Cache, other: Interpreter
) -> None:
    cache.set('key', 1, expire=1000)
    cache['before'] = 1
    other.run("Cache(directory).touch('key', expire=-1)", directory=cache.directory)
    assert len(cache) == 2
    cache['after'] = 1
    assert sorted(cache) == ['after', 'before']


def test_a_limit_that_another_has_set_holds_here_after_a_reset(
    directory: str, other: Interpreter
) -> None:
    with diskcache.Cache(directory, size_limit=8 * MB) as cache:
        for number in range(6):
            cache[number] = b'x' * MB
        other.run("Cache(directory).reset('size_limit', 2 * 2**20)", directory=directory)
        cache['small'] = 'x'
        assert len(cache) == 7  # A setting is read when the cache is opened, or on demand.
        assert cache.reset('size_limit') == 2 * MB
        cache['small'] = 'y'
        assert used(directory) < 2 * MB
        assert len(cache) == 2


def write_random(directory: str, seed: int, writes: int) -> int:
    """Write; return the largest volume that there was after a write, as of one commit."""
    chance = __import__('random').Random(seed)
    cache = diskcache.Cache(directory)
    con = sqlite3.connect(f'{directory}/cache.db', isolation_level=None)
    largest = 0
    for _ in range(writes):
        size = round(2**15 * 32 ** chance.random())
        cache.set(chance.getrandbits(40), b'x' * size, retry=True)
        con.execute('BEGIN')
        ((files,),) = con.execute("SELECT value FROM Settings WHERE key = 'size'").fetchall()
        ((pages,),) = con.execute('PRAGMA page_count').fetchall()
        con.execute('COMMIT')
        largest = max(largest, files + pages * 4096)
    con.close()
    cache.close()
    return largest


@pytest.mark.parametrize('policy', POLICIES)
@pytest.mark.parametrize('second', ['alone', 'original'])
def test_two_processes_that_write_at_once_keep_to_the_limit(
    directory: str, other: Interpreter, second: str, policy: str, request: pytest.FixtureRequest
) -> None:
    interpreters = other, request.getfixturevalue(second)
    with diskcache.Cache(directory, size_limit=LIMIT, eviction_policy=policy) as cache:
        for seed, interpreter in enumerate(interpreters):
            interpreter.start(write_random, directory=directory, seed=seed, writes=60)
        assert all(interpreter.result() < LIMIT + LARGEST for interpreter in interpreters)
        assert used(directory) < LIMIT + LARGEST
        assert len(cache) > 1
        assert_exact(cache)
        assert report_texts(cache) == []


def test_a_new_directory_has_the_pages_of_sqlite_unless_it_is_told_otherwise(
    tmp_path: Path, original: Interpreter
) -> None:
    """Programs compare volume() with what the original has for an empty cache."""
    for number, (settings, expected) in enumerate(
        [({}, 4096), ({'sqlite_page_size': 2048}, 2048), ({'sqlite_journal_mode': 'delete'}, 4096)]
    ):
        directory = str(tmp_path / str(number))
        with diskcache.Cache(directory, **settings) as cache:
            if not settings:
                opened = 'Cache(directory).volume()'
                assert original.run(opened, directory=f'{directory}-original') == cache.volume()
            cache['key'] = 'value'
            assert cache._page_size == expected
        with diskcache.Cache(directory) as cache:
            assert cache._page_size == expected
            assert cache._sql('PRAGMA page_size').fetchall() == [(expected,)]
            assert cache['key'] == 'value'
    with pytest.raises(ValueError, match='sqlite_page_size'):
        diskcache.Cache(str(tmp_path / 'impossible'), sqlite_page_size='a; b')


def test_a_directory_keeps_the_pages_that_the_original_made_it_with(
    original: Interpreter, directory: str
) -> None:
    original.run("Cache(directory).set('key', 'value')", directory=directory)
    with diskcache.Cache(directory) as cache:
        cache['other'] = 'value'
        assert cache._sql('PRAGMA page_size').fetchall() == [(4096,)]
        assert cache._page_size == 4096
    with diskcache.Cache(directory, sqlite_page_size=2048) as cache:
        assert cache._sql('PRAGMA page_size').fetchall() == [(4096,)]
        assert sorted(cache) == ['key', 'other']
