"""What is in memory outlives the commits of others to other rows, and to no row that they change.

Others are other objects and processes of this package, which keep the table of versions
(``cache.db-hot``), the original, which does not know it, and raw SQL. The rule itself is walked
through by model_versions.py; that many processes never see an old value is in test_coherence.py.
"""

from __future__ import annotations

import os
import shutil
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from interpreter import Interpreter

from diskcache import Cache

KEYS = ['text', b'bytes', 5, 1.5, (1, 'tuple'), 'x' * 1000, None]
MODEL = Path(__file__).parents[1] / 'support' / 'model_versions.py'
HEAD = 128  # Bytes before the slots.
EPOCH = 16  # Where it is in the file.


@pytest.fixture
def second(cache: Cache, directory: str) -> Iterator[Cache]:
    """Another Cache object on the directory of `cache`."""
    with Cache(directory) as second:
        yield second


def table_of(directory: str) -> Path:
    """Return the path of a directory's table of versions."""
    return Path(directory, 'cache.db-hot')


def read_all(cache: Cache, keys: list = KEYS) -> int:
    """Read all keys; return how many of them were not in memory."""
    before = cache.memory_stats()['misses']
    for key in keys:
        cache.get(key)
    return cache.memory_stats()['misses'] - before


def fill(cache: Cache) -> None:
    """Store a value under each key, and have all of them in memory."""
    for key in KEYS:
        cache[key] = 'value'
    read_all(cache)
    assert read_all(cache) == 0


def test_a_commit_of_another_object_leaves_the_other_rows_in_memory(
    cache: Cache, second: Cache
) -> None:
    second['other'] = 0  # the first one finds no chain
    fill(cache)
    for number in range(10):
        second['other'] = number
        assert read_all(cache) == 0
    assert cache['other'] == 9


def test_a_commit_of_another_process_leaves_the_other_rows_in_memory(
    cache: Cache, directory: str, other: Interpreter
) -> None:
    write = 'with Cache(directory) as cache: cache["other"] = number'
    other.run(write, directory=directory, number=-1)
    fill(cache)
    for number in range(5):
        other.run(write, directory=directory, number=number)
        assert read_all(cache) == 0
        assert cache['other'] == number


def test_what_another_process_has_set_is_in_memory_there_and_is_read_here(
    cache: Cache, directory: str, other: Interpreter
) -> None:
    for number in range(10):
        cache['key'] = number
        got = other.run(
            """
            with Cache(directory) as cache:
                found = [cache['key'], cache['key']]
                cache['key'] = -found[0]
                found += [cache['key']]
            found
            """,
            directory=directory,
        )
        assert got == [number, number, -number]
        assert cache['key'] == -number


@pytest.mark.parametrize('key', KEYS, ids=lambda key: f'{key!r:.10}')
def test_a_key_that_is_written_is_read_anew_and_no_other(
    cache: Cache, second: Cache, key: Any
) -> None:
    second['other'] = 0
    fill(cache)
    second[key] = 'new'
    assert cache.get(key) == 'new'
    assert read_all(cache) == 0


@pytest.mark.parametrize(('one', 'other'), [(1, 1.0), (1.0, 1), (0, -0.0), (2**60, float(2**60))])
def test_numbers_that_sqlite_holds_to_be_equal_are_one_key(
    cache: Cache, second: Cache, one: Any, other: Any
) -> None:
    cache[one] = 'old'
    assert cache[one] == 'old'
    second['another'] = 1
    assert cache[one] == 'old'
    second[other] = 'new'
    assert cache[one] == 'new'


CHANGES: dict[str, Callable[[Cache], Any]] = {
    'set': lambda cache: cache.set('text', 'new'),
    'set_many': lambda cache: cache.set_many({'text': 'new', 'else': 1}),
    'delete': lambda cache: cache.delete('text'),
    'delete_many': lambda cache: cache.delete_many(['text']),
    'pop': lambda cache: cache.pop('text'),
    'touch': lambda cache: cache.touch('text', expire=-1),
    'add over expired': lambda cache: (cache.touch('text', expire=-1), cache.add('text', 'new')),
    'incr': lambda cache: cache.incr(5, default=0) if 5 not in cache else cache.set(5, 6),
    'clear': lambda cache: cache.clear(),
    'evict': lambda cache: (cache.set('text', 'new', tag='tag'), cache.evict('tag')),
    'expire': lambda cache: (cache.set('text', 'new', expire=-1), cache.expire()),
    'cull': lambda cache: (cache.reset('size_limit', 0), cache.cull()),
    'transaction': lambda cache: in_transaction(cache),
    'a transaction of SQL': lambda cache: sql_in_transaction(
        cache, "UPDATE Cache SET value = 'new' WHERE key = 'text'"
    ),
    'a transaction of SQL for all': lambda cache: sql_in_transaction(cache, 'DELETE FROM Cache'),
    'SQL beside a set': lambda cache: sql_beside_a_set(cache),
    'a transaction of SQL that empties the table at once': lambda cache: empty_at_once(cache),
    'SQL': lambda cache: cache._sql("UPDATE Cache SET value = 'new' WHERE key = 'text'"),
    'SQL through _con': lambda cache: cache._con.execute('DELETE FROM Cache'),
    'SQL, and a set': lambda cache: (
        cache._sql("UPDATE Cache SET value = 'new' WHERE key = 'text'"),
        cache.set('another', 1),
    ),
}


def in_transaction(cache: Cache) -> None:
    """Change a key inside a transaction with other keys."""
    with cache.transact():
        cache['else'] = 1
        cache['text'] = 'new'


def sql_in_transaction(cache: Cache, statement: str) -> None:
    """Change rows with SQL inside a transaction."""
    with cache._transact() as (sql, _):
        sql(statement)


def empty_at_once(cache: Cache) -> None:
    """Delete all rows in a way of which SQLite tells nobody."""
    with cache.transact():
        cache['else'] = 1
        triggers = cache._sql("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall()
        for (name,) in triggers:
            cache._sql(f'DROP TRIGGER {name}')
        cache._sql('DELETE FROM Cache')


def sql_beside_a_set(cache: Cache) -> None:
    """Change a row with SQL in a transaction that also sets another key."""
    with cache.transact():
        cache['else'] = 1
        cache._sql("UPDATE Cache SET value = 'new' WHERE key = 'text'")
        cache['more'] = 2


@pytest.mark.parametrize('change', CHANGES.values(), ids=CHANGES)
def test_every_kind_of_write_is_seen(
    cache: Cache, second: Cache, directory: str, change: Callable[[Cache], Any]
) -> None:
    second['else'] = 0
    fill(cache)
    second['else'] = 5
    read_all(cache)
    change(second)
    with Cache(directory, memory_limit=0) as fresh:
        assert [cache.get(key) for key in KEYS] == [fresh.get(key) for key in KEYS]
        assert [cache.get(key) for key in KEYS] == [fresh.get(key) for key in KEYS]


def test_rows_that_are_dropped_page_by_page_are_gone(cache: Cache, second: Cache) -> None:
    """SQLite reports each row that it deletes, but not where it empties a table at once."""
    second.set_many(dict.fromkeys(range(3000), 'x' * 100))
    assert {cache.get(key) for key in range(3000)} == {'x' * 100}
    second.clear()
    assert {cache.get(key) for key in range(3000)} == {None}


@pytest.mark.parametrize('policy', ['least-recently-stored', 'least-recently-used'])
def test_what_a_write_of_others_evicts_is_gone_and_the_rest_stays_in_memory(
    directory: str, policy: str
) -> None:
    size = 100_000
    settings: dict = {'eviction_policy': policy, 'size_limit': 10 * size, 'cull_limit': 2}
    with Cache(directory, **settings) as cache, Cache(directory) as second:
        keys = list(range(40))
        for number in keys:
            second[number] = b'x' * size
            found = [cache.get(key) for key in keys]
            with Cache(directory, memory_limit=0) as fresh:
                assert found == [fresh.get(key) for key in keys]
            assert read_all(cache, keys) == 0
            second[100 + number] = b'y' * size
            assert read_all(cache, keys) <= settings['cull_limit']


@pytest.mark.parametrize('policy', ['least-recently-stored', 'least-recently-used'])
def test_what_its_own_write_evicts_is_gone_from_memory(directory: str, policy: str) -> None:
    size = 100_000
    settings: dict = {'eviction_policy': policy, 'size_limit': 10 * size, 'cull_limit': 2}
    with Cache(directory, **settings) as cache, Cache(directory, memory_limit=0) as fresh:
        for number in range(30):
            cache[number] = b'x' * size
            assert [key in cache for key in range(30)] == [key in fresh for key in range(30)]


@pytest.mark.parametrize('in_one', [Cache.set_many, lambda cache, items: set_each(cache, items)])
def test_what_a_transaction_sets_and_then_evicts_is_gone(directory: str, in_one: Callable) -> None:
    with Cache(directory, size_limit=60_000) as cache, Cache(directory, memory_limit=0) as fresh:
        cache['warm'] = cache.get('warm')
        in_one(cache, {'first': 1, 'large': b'x' * 40_000})
        for key in ('first', 'large', 'warm'):
            assert cache.get(key) == fresh.get(key)
        assert 'first' not in fresh


def set_each(cache: Cache, items: dict) -> None:
    """Set items in one transaction."""
    with cache.transact():
        for key, value in items.items():
            cache[key] = value


def test_a_write_of_the_original_is_seen_also_after_one_of_ours(
    cache: Cache, second: Cache, directory: str, original: Interpreter
) -> None:
    second['else'] = 0
    for number in range(5):
        fill(cache)
        second['else'] = number
        original.run(
            'with Cache(directory) as cache: cache["text"] = number',
            directory=directory,
            number=number,
        )
        if number % 2:
            second['else'] = 'after'
        assert cache['text'] == number
        assert cache['else'] == ('after' if number % 2 else number)


def test_a_cache_without_memory_keeps_the_table_too(cache: Cache, directory: str) -> None:
    with Cache(directory, memory_limit=0) as writer:
        writer['else'] = 0
        fill(cache)
        writer['text'] = 'new'
        assert cache['text'] == 'new'
        assert read_all(cache) == 0
        writer['else'] = 1
        assert read_all(cache) == 0


def test_own_writes_are_in_memory_while_others_write(cache: Cache, second: Cache) -> None:
    second['else'] = 0
    cache.get('own')
    for number in range(20):
        second['else'] = number
        cache['own'] = number
        before = cache.memory_stats()['misses']
        assert cache['own'] == number
        assert cache.memory_stats()['misses'] == before


def test_a_value_is_confirmed_that_another_thread_has_seen_replaced(
    cache: Cache, second: Cache
) -> None:
    """A thread may be late to learn that it has committed; others know of later commits then."""
    second['key'] = second['other'] = 0
    assert cache['other'] == 0
    cache.reset('sqlite_synchronous', 2)  # So it commits without the GIL.
    interval = sys.getswitchinterval()
    sys.setswitchinterval(10.0)  # It gets the GIL back only where this thread sleeps.
    try:
        for number in range(1, 30):
            cache['other'] = number
            thread = threading.Thread(target=cache.set, args=('key', -number))
            thread.start()
            while second['key'] != -number:
                time.sleep(0)
            second['key'] = number
            assert cache['other'] == number  # The memory has the header of that commit now.
            thread.join()
            assert cache['key'] == number
    finally:
        sys.setswitchinterval(interval)


def test_counting_accesses_changes_no_row_for_others(directory: str) -> None:
    with (
        Cache(directory, eviction_policy='least-recently-used') as cache,
        Cache(directory) as second,
    ):
        second['else'] = 0
        fill(cache)
        for number in range(5):
            for key in KEYS:
                second.get(key)
            second['else'] = number  # with the accesses
            assert read_all(cache) == 0


def test_another_database_of_the_name_is_read(cache: Cache, directory: str, tmp_path: Path) -> None:
    with Cache(str(tmp_path / 'other')) as other:
        other['text'] = 'other'
    fill(cache)
    cache.close()
    for name in os.listdir(directory):
        if name != 'cache.db-hot':
            Path(directory, name).unlink()
    shutil.copy(tmp_path / 'other' / 'cache.db', directory)
    assert cache['text'] == 'other'
    assert cache['text'] == 'other'


# The file.


def use(directory: str) -> None:
    """Have two objects read and write."""
    with Cache(directory) as cache, Cache(directory) as second:
        for number in range(3):
            second['else'] = number
            cache['text'] = number
            assert [second['text'], second['text'], cache['else']] == [number] * 3
            second['text'] = 'new'
            assert cache['text'] == 'new'


@pytest.fixture
def closed(directory: str) -> str:
    """The directory of a cache that is not open."""
    with Cache(directory) as cache:
        cache['key'] = 'value'
    return directory


def test_the_table_has_the_mode_of_the_database_and_all_its_blocks(closed: str) -> None:
    facts = table_of(closed).stat()
    assert facts.st_mode == Path(closed, 'cache.db').stat().st_mode
    assert facts.st_size == HEAD + 8 * 2**14
    assert facts.st_blocks * 512 >= facts.st_size
    assert sorted(os.listdir(closed)) == ['cache.db', 'cache.db-hot']


def test_the_table_is_no_file_that_a_check_complains_of(closed: str, original: Interpreter) -> None:
    with Cache(closed) as cache:
        assert cache.check() == []
    check = 'with Cache(directory) as cache: found = len(cache.check())\nfound'
    assert original.run(check, directory=closed) == 0


def damage(path: Path, kind: str) -> None:
    """Put something else in the place of a table."""
    contents = path.read_bytes()
    path.unlink()
    if kind == 'short':
        path.write_bytes(contents[:-8])
    elif kind == 'empty':
        path.touch()
    elif kind == 'long':
        path.write_bytes(contents + bytes(8))
    elif kind == 'zeros':
        path.write_bytes(bytes(len(contents)))
    elif kind == 'other count':
        path.write_bytes(contents[:8] + struct.pack('=Q', 2**13) + contents[16:])
    elif kind == 'no power of two':
        path.write_bytes(contents[:8] + struct.pack('=Q', 3) + contents[16 : HEAD + 24])
    elif kind == 'link':
        (path.parent / 'else').write_bytes(contents)
        path.symlink_to('else')
    elif kind == 'pipe':
        os.mkfifo(path)
    elif kind == 'directory':
        path.mkdir()


@pytest.mark.parametrize(
    'kind',
    [
        *('short', 'empty', 'long', 'zeros', 'other count', 'no power of two'),
        *('link', 'pipe', 'directory', 'nothing'),
    ],
)
def test_a_table_that_cannot_be_trusted_is_not_used(closed: str, kind: str) -> None:
    path = table_of(closed)
    damage(path, kind)
    before = path.lstat() if kind != 'nothing' else None
    contents = path.read_bytes() if path.is_file() else None
    use(closed)
    if before is not None:
        assert path.lstat().st_ino == before.st_ino
        assert path.lstat().st_mtime_ns == before.st_mtime_ns
    if contents is not None:  # Also of what a link leads to.
        assert path.read_bytes() == contents


def test_what_a_killed_process_has_left_is_not_in_the_way(closed: str, alone: Interpreter) -> None:
    table_of(closed).unlink()
    left = alone.run(
        """
        import os
        for number in range(20):
            open(f'{directory}/cache.db-{os.getpid()}-{number}-new', 'w').close()
        with Cache(directory) as cache:
            cache['key'] = 'value'
            left = os.listdir(directory)
        left
        """,
        directory=closed,
    )
    assert 'cache.db-hot' in left
    assert sum(name.endswith('-new') for name in left) == 19


@pytest.mark.skipif(not hasattr(os, 'geteuid') or os.geteuid() != 0, reason='only root can')
def test_a_table_of_another_user_is_not_used(closed: str) -> None:
    os.chown(table_of(closed), 4711, 4711)
    before = table_of(closed).stat().st_mtime_ns
    use(closed)
    assert table_of(closed).stat().st_mtime_ns == before


@pytest.mark.parametrize('bit', [0o020, 0o002])
def test_a_table_that_more_users_can_write_than_the_database_is_not_used(
    closed: str, bit: int
) -> None:
    """They could have old values served by programs whose database they cannot write."""
    path = table_of(closed)
    path.chmod(0o600 | bit)
    Path(closed, 'cache.db').chmod(0o600)
    before = path.stat().st_mtime_ns, path.read_bytes()
    use(closed)
    assert (path.stat().st_mtime_ns, path.read_bytes()) == before
    Path(closed, 'cache.db').chmod(0o600 | bit)
    use(closed)
    assert path.read_bytes() != before[1]


@pytest.mark.parametrize('slots', [2, 4, 2**16])
def test_keys_that_share_a_slot_are_told_apart(closed: str, slots: int) -> None:
    path = table_of(closed)
    magic = path.read_bytes()[:8]
    path.write_bytes(magic + struct.pack('=Q', slots) + bytes(HEAD - 16 + 8 * slots))
    with Cache(closed) as cache, Cache(closed) as second:
        for number in range(20):
            second[number % 7] = number
            cache['own', number % 3] = number
            with Cache(closed, memory_limit=0) as fresh:
                for key in [*range(7), *(('own', each) for each in range(3))]:
                    assert cache.get(key) == fresh.get(key) == second.get(key)


@pytest.mark.parametrize('replaced', [False, True])
def test_a_table_that_is_removed_while_it_is_used(
    cache: Cache, directory: str, replaced: bool
) -> None:
    """Who has opened it before, and who opens it now, are foreign to each other."""
    fill(cache)
    contents = table_of(directory).read_bytes()
    table_of(directory).unlink()
    if replaced:
        table_of(directory).write_bytes(contents)  # an older state of it, too
    with Cache(directory) as second:
        for number in range(5):
            second['text'] = number
            assert cache['text'] == number
            cache['text'] = -number
            assert second['text'] == -number
            fill(cache)
            assert read_all(second) <= len(KEYS)


@pytest.mark.parametrize('ahead', range(6))
def test_sessions_of_one_object_on_two_tables(
    directory: str, other: Interpreter, ahead: int
) -> None:
    """A version of one table says nothing in the other, where the number may mean another row."""

    def write(number: int) -> None:
        code = 'with Cache(directory) as cache: cache["key"] = number'
        other.run(code, directory=directory, number=number)

    write(-1)
    with Cache(directory) as cache:
        assert cache['key'] == -1
        with table_of(directory).open('r+b') as first:
            table_of(directory).unlink()
            for number in range(0, 8, 2):
                (epoch,) = struct.unpack('=Q', os.pread(first.fileno(), 8, EPOCH))
                os.pwrite(first.fileno(), struct.pack('=Q', epoch + ahead), EPOCH)
                write(number)
                with cache.transact():  # has one session; the other thread opens one
                    in_thread(lambda: cache['key'])
                    cache['else'] = number
                assert cache['key'] == number
                write(number + 1)
                cache['else'] = number + 1
                assert cache['key'] == number + 1


def test_what_is_written_with_a_session_on_another_table(directory: str) -> None:
    """Its version there says nothing in the table that memory asks.

    Both tables begin with the same versions: that of the commit of `cache` in the one is that of
    the later commit of `second` in the other.
    """
    with Cache(directory) as cache:
        cache['key'] = 0
        table_of(directory).unlink()
        with Cache(directory) as second:
            second['key'] = 1
            with cache.transact():  # has the session on the first table
                cache.reset('sqlite_cache_size', 4096)  # takes its header from memory
                in_thread(lambda: cache['key'])  # gives it that of a session on the second one
            assert cache['key'] == 1
            for number in range(2, 40, 2):
                cache['key'] = number
                assert cache['key'] == number
                second['key'] = number + 1
                assert cache['key'] == number + 1


def test_a_log_that_is_put_back_beside_a_later_table(directory: str) -> None:
    """A commit that was lost, and is made again without the table, gives the header of that time.

    So it is after a loss of power, which may take commits from the log, or with a backup that has
    no table. The table then knows of that header, and of nothing that was written since the log was
    put back.
    """

    def run_and_kill(statement: str) -> None:
        code = 'import os, sys, diskcache; cache = diskcache.Cache(sys.argv[1]); '
        code += f'{statement}; os.kill(os.getpid(), 9)'
        subprocess.run([sys.executable, '-c', code, directory])

    run_and_kill('cache["key"] = "old"')
    kept = {name: Path(directory, name).read_bytes() for name in ('cache.db', 'cache.db-wal')}
    run_and_kill('cache.delete("key")')
    for name, contents in kept.items():
        Path(directory, name).write_bytes(contents)
    with Cache(directory) as cache, Cache(directory) as second:
        assert cache['key'] == 'old'
        second._sql("DELETE FROM Cache WHERE key = 'key'")
        assert 'key' not in cache


def in_thread(function: Callable[[], object]) -> None:
    """Call a function in another thread."""
    thread = threading.Thread(target=function)
    thread.start()
    thread.join()


def test_the_model_holds_and_finds_each_wrong_order() -> None:
    done = subprocess.run([sys.executable, MODEL], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


def test_a_forked_child_sees_what_its_parent_writes(cache: Cache) -> None:
    fill(cache)
    ready, written = os.pipe(), os.pipe()
    child = os.fork()
    if child == 0:
        try:
            first = cache['text']
            os.write(ready[1], b'x')
            os.read(written[0], 1)
            os._exit(0 if (first, cache['text']) == ('value', 'new') else 1)
        finally:
            os._exit(2)
    os.read(ready[0], 1)
    cache['text'] = 'new'
    os.write(written[1], b'x')
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    for each in (*ready, *written):
        os.close(each)
