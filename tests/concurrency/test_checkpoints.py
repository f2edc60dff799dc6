"""The log is copied into the database beside everything else, and stays short."""

from __future__ import annotations

import os
import shutil
import sqlite3
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from interpreter import Child, Interpreter

from diskcache import Cache

PAGE = 4096
FRAME = PAGE + 24
MEMORY = '/dev/shm'

LIMIT = 32 + 2 * 1000 * FRAME  # Twice the pages at which SQLite itself begins to copy.


@pytest.fixture
def directory(tmp_path: Path) -> Iterator[str]:
    """A path where syncs take no time: where they take long the log may be four times as long."""
    if not os.path.isdir(MEMORY) or shutil.disk_usage(MEMORY).free < 2**28:
        yield str(tmp_path / 'cache')
        return
    with tempfile.TemporaryDirectory(dir=MEMORY) as parent:
        yield f'{parent}/cache'


Intact = Callable[[Cache], None]


def log_size(directory: str) -> int:
    """Return the size of the log, in bytes."""
    return Path(directory, 'cache.db-wal').stat().st_size


def fill(cache: Cache, first: int, count: int) -> None:
    for number in range(first, first + count):
        cache[number] = number


def test_the_log_of_a_busy_writer_stays_short(directory: str) -> None:
    with Cache(directory) as cache:
        for first in range(0, 2000, 100):
            fill(cache, first, 100)
            assert log_size(directory) <= LIMIT
        assert len(cache) == 2000


def test_the_log_stays_short_while_others_read_and_write(
    directory: str, other: Interpreter, original: Interpreter
) -> None:
    script = """
    with Cache(directory) as cache:
        for number in range(2000):
            cache[name, number] = number
            for key in range(5):
                cache.get(key)
    """
    with Cache(directory) as cache:
        other.start(script, directory=directory, name='other')
        original.start(script, directory=directory, name='original')
        largest = 0
        while not (other.has_answered() and original.has_answered()):
            cache.incr('turns', retry=True)
            largest = max(largest, log_size(directory))
        other.result()
        original.result()
        assert largest <= LIMIT
        assert len(cache) == 4001


def test_what_a_reader_keeps_in_the_log_goes_when_it_has_read(directory: str) -> None:
    with Cache(directory) as cache:
        cache['before'] = 1
        reader = sqlite3.connect(f'{directory}/cache.db', isolation_level=None)
        reader.execute('BEGIN')
        assert reader.execute('SELECT count(*) FROM Cache').fetchone() == (1,)
        fill(cache, 0, 498)  # Pauses come ever more rarely; the next one would come soon.
        assert log_size(directory) > LIMIT
        assert reader.execute('SELECT count(*) FROM Cache').fetchone() == (1,)
        reader.close()
        size = log_size(directory)
        fill(cache, 1000, 1000)
        assert log_size(directory) < size + 200 * FRAME  # Begun anew; the file does not shrink, but
        reader = sqlite3.connect(f'{directory}/cache.db', isolation_level=None)
        _, pages, _ = reader.execute('PRAGMA wal_checkpoint(PASSIVE)').fetchone()
        reader.close()
        assert pages * FRAME <= LIMIT  # it is used from the front.


def test_closing_waits_for_the_copying(directory: str, assert_intact: Intact) -> None:
    for turn in range(5):
        with Cache(directory) as cache:
            # The last of these finds that it is time to copy.
            while (
                not os.path.exists(f'{directory}/cache.db-wal')
                or log_size(directory) < 1000 * FRAME
            ):
                fill(cache, 0, 10)
        assert not os.path.exists(f'{directory}/cache.db-wal'), turn  # The last one has closed it.
    assert_intact(Cache(directory))


def test_a_child_forked_while_the_log_is_copied_goes_on(
    directory: str, assert_intact: Intact
) -> None:
    with Cache(directory) as cache:
        for turn in range(5):
            fill(cache, 0, 240)

            def read_and_write(turn: int = turn) -> bool:
                cache[f'child {turn}'] = turn
                fill(cache, 0, 500)
                return cache[f'child {turn}'] == turn and cache[100] == 100

            child = Child(read_and_write)
            fill(cache, 0, 100)
            assert child.result()
        assert [cache[f'child {turn}'] for turn in range(5)] == list(range(5))
    assert_intact(Cache(directory))


def test_threads_share_one_copying(directory: str, assert_intact: Intact) -> None:
    errors: list[BaseException] = []
    with Cache(directory) as cache:

        def work(number: int) -> None:
            try:
                for item in range(400):
                    cache[number, item] = item
            except BaseException as error:
                errors.append(error)

        threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert errors == []
        assert len(cache) == 3200
        assert log_size(directory) <= LIMIT
    assert_intact(Cache(directory))


def test_a_process_that_ends_while_the_log_is_copied_loses_nothing(
    directory: str, alone: Interpreter, assert_intact: Intact
) -> None:
    script = """
    cache = Cache(directory)
    for number in range(300):
        cache[number] = number
    os._exit(0)
    """
    with pytest.raises(AssertionError, match='ended: 0'):
        alone.run(script, directory=directory)
    with Cache(directory) as cache:
        assert list(cache) == list(range(300))
    assert_intact(Cache(directory))


def test_signals_are_not_for_the_thread_that_copies(directory: str, alone: Interpreter) -> None:
    script = """
    seen = []
    signal.signal(signal.SIGALRM, lambda *_: seen.append(threading.current_thread()))
    signal.setitimer(signal.ITIMER_REAL, 0.001, 0.001)
    with Cache(directory) as cache:
        for number in range(2000):
            cache[number] = number
    signal.setitimer(signal.ITIMER_REAL, 0)
    len(seen) > 0, len(Cache(directory))
    """
    assert alone.run(script, directory=directory) == (True, 2000)


def test_with_exclusive_locking_the_log_is_copied_too(directory: str) -> None:
    with Cache(directory, sqlite_locking_mode='exclusive', timeout=1) as cache:
        fill(cache, 0, 2000)
        assert log_size(directory) <= LIMIT
        assert len(cache) == 2000


def test_the_log_of_a_connection_of_ones_own_is_copied(directory: str) -> None:
    class Own(Cache):
        @property
        def _con(self) -> sqlite3.Connection:
            con = getattr(self._local, 'own', None)
            if con is None:
                con = sqlite3.connect(f'{self._directory}/cache.db', isolation_level=None)
                self._local.own = con
            return con

    cache = Own(directory)
    fill(cache, 0, 1500)
    assert log_size(directory) <= LIMIT
    cache._con.close()


def test_a_journal_changed_through_the_connection_is_not_taken_for_the_log(
    directory: str, alone: Interpreter
) -> None:
    script = """
    cache = Cache(directory)
    cache._con.execute('PRAGMA journal_mode = delete').fetchall()
    open_before = set(os.listdir('/proc/self/fd'))
    for number in range(5):
        cache[number] = number
    list(cache), open_before - set(os.listdir('/proc/self/fd'))
    """
    keys, closed = alone.run(script, directory=directory)
    assert keys == [0, 1, 2, 3, 4]
    assert '0' not in closed


def test_a_read_that_does_not_end_leaves_the_lock_to_others(
    directory: str, other: Interpreter
) -> None:
    with Cache(directory) as cache:
        cache['before'] = 1
        reader = sqlite3.connect(f'{directory}/cache.db', isolation_level=None)
        reader.execute('BEGIN')
        reader.execute('SELECT count(*) FROM Cache').fetchone()
        fill(cache, 0, 1000)
        other.start('Cache(directory).set("other", 1, retry=True)', directory=directory)
        fill(cache, 0, 500)
        assert other.result()
        reader.close()


def test_writes_do_not_time_out_because_their_own_process_copies_the_log(directory: str) -> None:
    with Cache(directory, timeout=0) as cache:
        for number in range(6000):
            cache[number] = bytes(3000)
            assert cache.set(number, 1)
        assert len(cache) == 6000


def test_threads_that_have_connections_start_one_copying(directory: str) -> None:
    def descriptors() -> int:
        return sum(os.readlink(f'/proc/self/fd/{name}').startswith(directory) for name in names())

    def names() -> list[str]:
        return [
            name for name in os.listdir('/proc/self/fd') if os.path.exists(f'/proc/self/fd/{name}')
        ]

    with Cache(directory) as cache:

        def work() -> None:
            cache._con
            for number in range(200):
                cache.set(number, b'x' * 20_000, retry=True)

        threads = [threading.Thread(target=work) for _ in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert descriptors() == 0


def test_without_a_descriptor_left_the_log_is_copied_too(
    directory: str, alone: Interpreter
) -> None:
    script = """
    import resource
    cache = Cache(directory)
    cache['first'] = 'x' * 3000
    resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
    taken = []
    try:
        while True:
            taken.append(os.open('/dev/null', os.O_RDONLY))
    except OSError:
        pass
    for number in range(6000):
        cache[number % 1000] = 'x' * 3000
    for descriptor in taken:
        os.close(descriptor)
    os.stat(f'{directory}/cache.db-wal').st_size
    """
    assert alone.run(script, directory=directory) <= LIMIT


def test_with_exclusive_locking_by_ones_own_connection_the_log_is_copied_too(
    directory: str,
) -> None:
    with Cache(directory, timeout=60) as cache:
        cache._sql('PRAGMA locking_mode = exclusive').fetchall()
        fill(cache, 0, 2000)  # An attempt to open another connection would wait for the timeout.
        assert log_size(directory) <= LIMIT


def test_the_log_is_copied_where_con_is_overridden_and_asks_its_base(directory: str) -> None:
    class Asking(Cache):
        @property
        def _con(self) -> sqlite3.Connection:
            return super()._con

    with Asking(directory) as cache:
        fill(cache, 0, 3000)
        assert log_size(directory) <= LIMIT
