"""Somebody empties or removes the directory beneath live caches, as deployments do: they go on."""

from __future__ import annotations

import os
import shutil
import sqlite3
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from consistency import report_texts
from interpreter import Interpreter
from places import ROOT

import diskcache
from diskcache import Cache, Deque, FanoutCache, Index, removal

LARGE = b'x' * 100_000


def empty(directory: str) -> None:
    """Do what `rm -rf directory/*` does."""
    for path in sorted(Path(directory).iterdir()):
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink()


def remove(directory: str) -> None:
    shutil.rmtree(directory)


def replace(directory: str) -> None:
    """Put another cache in the place of the directory."""
    with Cache(directory + '-other') as other:
        other['other'] = 'value'
    shutil.rmtree(directory)
    Path(directory + '-other').rename(directory)


def wait_a_second() -> None:
    """Wait for as long as a value in memory may outlive the file that it was read from."""
    time.sleep(1.05)


def left_wrong(cache: Cache | FanoutCache) -> list[str]:
    """Return what check() says, but for files that could not be removed, as others were made then.

    They may be those of a write under way, and are removed later.
    """
    found = report_texts(cache)
    return [message for message in found if not message.startswith('unknown file')]


ends = pytest.mark.parametrize('end', [empty, remove])


@ends
def test_a_cache_goes_on(directory: str, other: Interpreter, end: Callable[[str], None]) -> None:
    with Cache(directory) as cache:
        cache['small'], cache['large'] = 1, LARGE
        end(directory)
        cache['new'], cache['file'] = 2, LARGE
        assert 'small' not in cache
        assert cache.get('large') is None
        assert cache['new'] == 2
        assert cache['file'] == LARGE
        assert cache.check() == []
        read = 'sorted(Cache(directory))'
        assert other.run(read, directory=directory) == ['file', 'new']


@ends
def test_the_first_lookup_notices_it(directory: str, end: Callable[[str], None]) -> None:
    """The value is not in memory, so SQLite is asked."""
    with Cache(directory, memory_limit=0) as cache:
        cache['key'] = 1
        end(directory)
        assert cache.get('key') is None
        assert os.path.exists(f'{directory}/cache.db')


def test_values_in_memory_are_noticed_to_be_gone_after_a_second(directory: str) -> None:
    with Cache(directory) as cache:
        cache['key'] = 1
        assert cache['key'] == 1
        empty(directory)
        wait_a_second()
        assert 'key' not in cache


def test_another_cache_in_its_place_is_used(directory: str) -> None:
    with Cache(directory) as cache:
        cache['key'] = 1
        replace(directory)
        assert cache.get('other') == 'value'
        assert list(cache) == ['other']


@ends
def test_a_cache_that_is_closed_goes_on(directory: str, end: Callable[[str], None]) -> None:
    cache = Cache(directory)
    cache['key'] = 1
    cache.close()
    end(directory)
    assert cache.get('key') is None
    cache['key'] = 2
    assert cache['key'] == 2
    cache.close()


def test_the_settings_are_stored_again(directory: str) -> None:
    with Cache(
        directory, size_limit=10**7, eviction_policy='least-recently-used', tag_index=True
    ) as cache:
        cache.reset('cull_limit', 3)
        empty(directory)
        cache['key'] = 1
    with Cache(directory) as again:
        assert again.size_limit == 10**7
        assert again.cull_limit == 3
        assert again.eviction_policy == 'least-recently-used'
        assert again.tag_index == 1
        assert again.check() == []


def test_the_settings_of_another_cache_in_its_place_stay(directory: str) -> None:
    with Cache(directory, size_limit=10**7, own=1) as cache:
        with Cache(directory + '-other', size_limit=10**8) as other:
            other.reset('cull_limit', 3)
        shutil.rmtree(directory)
        Path(directory + '-other').rename(directory)
        assert cache.get('key') is None
        with Cache(directory) as again:
            assert (again.size_limit, again.cull_limit, again.own) == (10**8, 3, 1)


def test_a_subclass_that_opens_the_directory_itself_goes_on(directory: str) -> None:
    """Some repeat what the original's __init__ does."""

    class Own(Cache):
        def __init__(self, directory: str) -> None:
            with Cache(directory):
                pass
            self._directory = directory
            self._timeout = 60
            self._local = threading.local()
            for name, value in diskcache.DEFAULT_SETTINGS.items():
                setattr(self, name, value)
            self._disk = diskcache.Disk(directory)

    with Own(directory) as cache:
        cache['key'] = 1
        empty(directory)
        cache['new'] = 2
        assert list(cache) == ['new']
        assert cache.check() == []


def test_shards_go_on(directory: str) -> None:
    with FanoutCache(directory, shards=3) as cache:
        for number in range(30):
            cache[number] = LARGE
        empty(directory)
        for number in range(30):
            assert cache.set(number, number)
        assert [cache[number] for number in range(30)] == list(range(30))
        assert len(cache) == 30
        assert cache.check() == []


def test_an_index_and_a_deque_go_on(directory: str) -> None:
    index = Index(f'{directory}/index', {'key': 1})
    deque = Deque([1, 2], f'{directory}/deque')
    empty(directory)
    index['new'] = 2
    deque.append(3)
    assert dict(index) == {'new': 2}
    assert list(deque) == [3]


def test_the_connection_of_a_thread_is_another_one_then(directory: str) -> None:
    with Cache(directory) as cache:
        former = cache._con
        cache['key'] = 1
        empty(directory)
        cache['new'] = 2
        assert cache._con is not former
        assert cache._sql('SELECT COUNT(*) FROM Cache').fetchall() == [(1,)]
        assert former.execute('SELECT COUNT(*) FROM Cache').fetchall() == [(1,)]  # the old file's


def test_a_transaction_ends_in_the_file_where_it_began(directory: str) -> None:
    with Cache(directory) as cache:
        with cache.transact():
            cache['key'] = 1
            empty(directory)
            cache['more'] = 2
        assert list(cache) == []
        cache['new'] = 3
        assert list(cache) == ['new']


def test_statistics_of_rows_that_are_gone_are_not_written_to_others(directory: str) -> None:
    with Cache(directory, eviction_policy='least-frequently-used') as cache:
        cache['key'] = 1
        for _ in range(5):
            assert cache['key'] == 1
        empty(directory)
        cache['new'] = 2
        counts = cache._sql('SELECT key, access_count FROM Cache').fetchall()
        assert counts == [('new', 0)]


def test_what_is_left_of_a_removed_database_is_not_used(directory: str) -> None:
    """SQLite would go on with the wal-index, of which others that have it open still have locks."""
    with Cache(directory) as cache:
        for number in range(100):
            cache[number] = number
        os.remove(f'{directory}/cache.db')
        assert os.path.exists(f'{directory}/cache.db-shm')
        cache['new'] = 1
        with Cache(directory) as again:
            assert list(again) == ['new']
            assert again.check() == []


def test_a_new_cache_does_not_use_what_is_left(directory: str) -> None:
    with Cache(directory) as cache:
        cache['key'] = 1
        os.remove(f'{directory}/cache.db')
        with Cache(directory) as again:
            again['new'] = 2
            assert list(again) == ['new']
            assert list(cache) == ['new']


def test_a_directory_that_cannot_be_made_is_an_error_each_time(
    directory: str, caplog: pytest.LogCaptureFixture
) -> None:
    with Cache(directory, memory_limit=0) as cache:
        cache['key'] = 1
        shutil.rmtree(directory)
        Path(directory).touch()
        for _ in range(2):
            with pytest.raises((OSError, sqlite3.OperationalError), match=directory):
                cache.get('key')
        assert caplog.records == []  # Nothing was made anew.
        os.remove(directory)
        assert cache.get('key') is None


def test_threads_go_on(directory: str) -> None:
    failures: list[BaseException] = []

    def work(cache: Cache, until: float) -> None:
        number = 0
        try:
            while time.monotonic() < until:
                number += 1
                cache.set((threading.get_ident(), number), LARGE if number % 5 == 0 else number)
                value: Any = cache.get((threading.get_ident(), number - 1))
                assert value in (None, LARGE, number - 1)
        except BaseException as error:
            failures.append(error)

    with Cache(directory) as cache:
        until = time.monotonic() + 1.5
        threads = [threading.Thread(target=work, args=(cache, until)) for _ in range(4)]
        for thread in threads:
            thread.start()
        while time.monotonic() < until:
            time.sleep(0.2)
            try:
                empty(directory)
            except OSError:
                pass  # Files are made and removed meanwhile.
        for thread in threads:
            thread.join()
        assert failures == []
        cache['last'] = 1
        cache.check(fix=True)
        assert left_wrong(cache) == []


def work_in_a_process(directory: str, number: int, seconds: float) -> int:
    """Write and read for so long; return how many operations there were."""
    import time

    count = 0
    with diskcache.FanoutCache(directory, shards=2, timeout=10) as cache:
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            count += 1
            cache.set((number, count), b'x' * 40_000 if count % 5 == 0 else count)
            cache.get((number, count - 1))
    return count


@pytest.mark.slow
def test_processes_go_on_and_agree_afterwards(directory: str) -> None:
    package = ROOT
    with Interpreter(package) as first, Interpreter(package) as second:
        for number, process in enumerate([first, second]):
            process.start(work_in_a_process, directory=directory, number=number, seconds=2.0)
        while not (first.has_answered() and second.has_answered()):
            time.sleep(0.1)
            if os.path.exists(directory) and not first.has_answered():
                try:
                    empty(directory)
                except OSError:
                    pass
        assert first.result() > 10
        assert second.result() > 10
        with FanoutCache(directory, shards=2) as cache:
            cache['key'] = 1
            for process in first, second:
                read = 'diskcache.FanoutCache(directory, shards=2)["key"]'
                assert process.run(read, directory=directory) == 1
            cache.check(fix=True)
            assert left_wrong(cache) == []


@pytest.mark.skipif(not hasattr(os, 'fork'), reason='there is no fork')
def test_a_child_that_was_forked_while_files_were_renamed_keeps_nobody_out(tmp_path: Path) -> None:
    """It has the descriptor too, of a lock that closing one of the two does not give back."""
    fcntl = pytest.importorskip('fcntl')
    end, ends = os.pipe()
    with removal._locked(str(tmp_path)):
        child = os.fork()
        if child == 0:
            os.close(ends)
            os.read(end, 1)
            os._exit(0)
    another = os.open(tmp_path, os.O_RDONLY)
    try:
        fcntl.flock(another, fcntl.LOCK_EX | fcntl.LOCK_NB)
    finally:
        for descriptor in (another, end, ends):
            os.close(descriptor)
        os.waitpid(child, 0)
