"""Value files that cannot be opened, or are not there: no descriptors left, removed, no rights."""

from __future__ import annotations

import contextlib
import os
import shlex
import sqlite3
import subprocess
import sys
import sysconfig
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from consistency import value_files
from interpreter import Interpreter
from places import SUPPORT

import diskcache

LARGE = b'x' * 100_000


@pytest.mark.parametrize(
    ('method', 'arguments'),
    [
        ('pop', (500_000_000_000_000,)),
        ('pull', ()),
        ('peek', ()),
        ('peekitem', ()),
    ],
)
def test_an_item_is_kept_when_no_descriptor_is_left_to_open_its_file(
    alone: Interpreter, directory: str, method: str, arguments: tuple
) -> None:
    pytest.importorskip('resource')

    def scenario(directory: str, method: str, arguments: tuple) -> None:
        import resource

        cache = diskcache.Cache(directory)
        assert cache.push(bytes(100_000)) == 500_000_000_000_000
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        lowest_free = os.dup(0)
        os.close(lowest_free)
        resource.setrlimit(resource.RLIMIT_NOFILE, (lowest_free, hard))
        try:
            getattr(cache, method)(*arguments)
        except OSError as error:
            raised = error
        else:
            raised = None
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        assert isinstance(raised, OSError), raised
        assert cache.get(500_000_000_000_000) == bytes(100_000)
        assert cache.check() == []

    alone.run(scenario, directory=directory, method=method, arguments=arguments)


def test_get_is_a_miss_when_no_descriptor_is_left_to_open_the_file(
    alone: Interpreter, directory: str
) -> None:
    pytest.importorskip('resource')

    def scenario(directory: str) -> None:
        import resource

        cache = diskcache.Cache(directory)
        cache['key'] = bytes(100_000)
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        lowest_free = os.dup(0)
        os.close(lowest_free)
        resource.setrlimit(resource.RLIMIT_NOFILE, (lowest_free, hard))
        try:
            missed = cache.get('key', 'default')
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        assert missed == 'default'
        assert cache['key'] == bytes(100_000)

    alone.run(scenario, directory=directory)


@pytest.mark.skipif(sys.platform != 'linux', reason='the shim is for LD_PRELOAD')
@pytest.mark.parametrize('suffix', ['.db', '.db-wal', '.db-shm'])
def test_a_file_that_could_not_be_opened_for_writing_for_a_moment_is_written_later(
    directory: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, suffix: str
) -> None:
    """SQLite opens it for reading then; a session that cannot write must not stay in use."""
    shim = tmp_path / 'failing_open.so'
    compiler = shlex.split(sysconfig.get_config_var('CC'))
    source = SUPPORT / 'failing_open.c'
    subprocess.run([*compiler, '-shared', '-fPIC', '-o', shim, source, '-ldl'], check=True)
    monkeypatch.setenv('LD_PRELOAD', f'{os.environ.get("LD_PRELOAD", "")} {shim}')
    monkeypatch.setenv('FAILING_OPEN_SUFFIX', suffix)
    monkeypatch.setenv('FAILING_OPEN_WHILE', str(tmp_path / 'failing'))

    def scenario(directory: str) -> None:
        import subprocess

        cache = diskcache.Cache(directory, timeout=1)
        cache['key'] = 'old'
        # Another process keeps the log and the wal-index from being removed.
        script = (
            f'import sqlite3; con = sqlite3.connect({directory + "/cache.db"!r}); '
            "print(con.execute('SELECT count(*) FROM Cache').fetchall(), flush=True); input()"
        )
        keeping = subprocess.Popen(
            [sys.executable, '-c', script], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        assert keeping.stdout.readline()
        cache.close()
        failing = os.environ['FAILING_OPEN_WHILE']
        open(failing, 'w').close()
        for use in (lambda: cache.get('key'), lambda: cache.set('key', 'new')):
            with contextlib.suppress(sqlite3.OperationalError):
                assert use() == 'old'
        os.remove(failing)
        for turn in range(3):
            assert cache.set('key', turn)
            assert cache.get('key') == turn
        assert cache.check() == []
        keeping.communicate(b'\n')

    with Interpreter(Path(diskcache.__file__).parent.parent) as interpreter:
        interpreter.run(scenario, directory=directory)


@pytest.mark.skipif(sys.platform != 'linux', reason='the shim is for LD_PRELOAD')
@pytest.mark.parametrize('part', ['.val', '/cache/'])  # A file; one, or a directory of it.
def test_a_value_file_that_cannot_be_synced_is_an_error_of_the_set(
    directory: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    preload: Callable[[str], dict[str, str]],
    part: str,
) -> None:
    """With synchronous FULL nothing is acknowledged that the disk may not have."""
    for name, value in preload('failing_sync.c').items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv('FAILING_SYNC_PART', part)
    monkeypatch.setenv('FAILING_SYNC_WHILE', str(tmp_path / 'failing'))

    def scenario(directory: str) -> None:
        import errno
        import os

        import pytest
        from consistency import stored_filenames, value_files

        cache = diskcache.Cache(directory, sqlite_synchronous='full')
        cache['key'] = old = b'a' * 50_000
        failing = os.environ['FAILING_SYNC_WHILE']
        open(failing, 'w').close()
        new = b'b' * 50_000
        for write in (
            lambda: cache.set('key', new),
            lambda: cache.add('other', new),
            lambda: cache.push(new),
            lambda: cache.set_many({'small': 1, 'key': new}),
        ):
            with pytest.raises(OSError) as raised:
                write()
            assert raised.value.errno == errno.EIO
            assert raised.value.filename.startswith(f'{directory}/')
            assert cache.get('key') == old
            assert len(cache) == 1
            assert value_files(directory) == stored_filenames(cache)
        with cache.transact():
            cache['small'] = 2  # What needs no file is not concerned,
            with pytest.raises(OSError):
                cache['key'] = new
        assert cache['small'] == 2  # and a transaction can go on.
        cache.reset('sqlite_synchronous', 1)
        cache['key'] = new  # Nothing is synced then.
        os.remove(failing)
        cache.reset('sqlite_synchronous', 2)
        cache['key'] = old
        assert cache['key'] == old
        assert cache.check() == []

    with Interpreter(Path(diskcache.__file__).parent.parent) as interpreter:
        interpreter.run(scenario, directory=directory)


def test_a_database_that_nobody_may_write_can_be_read(directory: str, alone: Interpreter) -> None:
    if not hasattr(os, 'seteuid'):
        pytest.skip('this platform has no users')
    with diskcache.Cache(directory, sqlite_journal_mode='delete') as cache:
        cache['key'] = 'value'

    def scenario(directory: str) -> None:
        import pytest

        path = f'{directory}/cache.db'
        for name in (os.path.dirname(directory), directory):
            os.chmod(name, 0o755)
        os.chmod(path, 0o444)
        if os.getuid() == 0:
            parent = os.path.dirname(os.path.dirname(directory))
            while parent != '/':
                os.chmod(parent, os.stat(parent).st_mode | 0o055)
                parent = os.path.dirname(parent)
            os.seteuid(65534)
        cache = diskcache.Cache(directory)
        for _ in range(3):
            assert cache['key'] == 'value'
            assert len(cache) == 1
            with pytest.raises(sqlite3.OperationalError, match='readonly') as raised:
                cache['key'] = 'new'
            (note,) = raised.value.__notes__
            assert note == f'diskcache: the database is {path}, which this process may not write'

    alone.run(scenario, directory=directory)


@pytest.mark.parametrize('method', ['pull', 'peek', 'peekitem'])
def test_an_item_whose_file_is_missing_is_dropped(
    cache: diskcache.Cache, assert_intact: Callable, method: str
) -> None:
    cache.push(LARGE)
    (name,) = value_files(cache.directory)
    cache.push('next')
    Path(cache.directory, name).unlink()
    arguments = {'last': False} if method == 'peekitem' else {}
    assert getattr(cache, method)(**arguments) == (500_000_000_000_001, 'next')
    assert len(cache) == (0 if method == 'pull' else 1)
    assert_intact(cache)


def test_pop_of_an_item_whose_file_is_missing_is_a_miss_and_drops_it(
    cache: diskcache.Cache, assert_intact: Callable
) -> None:
    cache['key'] = LARGE
    (name,) = value_files(cache.directory)
    Path(cache.directory, name).unlink()
    assert cache.pop('key', 'default') == 'default'
    assert len(cache) == 0
    assert_intact(cache)


class Reversing(diskcache.Disk):
    """Stores and fetches in a way of its own, which cannot do with less than it has stored."""

    def store(self, value: object, read: bool, key: object = None) -> tuple:
        return super().store(bytes(value)[::-1] + b'end', read, key=key)

    def fetch(self, mode: int, filename: str | None, value: object, read: bool) -> object:
        data = super().fetch(mode, filename, value, read)
        if not data.endswith(b'end'):
            raise ValueError('the end is not there')
        return data[:-3][::-1]


class Telling(diskcache.Disk):
    """Does something before it stores, as many programs' do."""

    def store(self, value: object, read: bool, key: object = None) -> tuple:
        return super().store(value, read, key=key)


class Naming(diskcache.Disk):
    """Names its files itself."""

    def filename(self, key: object = None, value: object = None) -> tuple[str, str]:
        return 'a/b', os.path.join(self._directory, 'a/b')


@pytest.mark.parametrize('left', [0, 20_000])
@pytest.mark.parametrize('disk', [diskcache.Disk, diskcache.JSONDisk, Reversing, Telling, Naming])
def test_a_file_that_a_loss_of_power_has_cut_short_is_a_miss_with_any_disk(
    directory: str, disk: type[diskcache.Disk], left: int
) -> None:
    value = LARGE if disk is not diskcache.JSONDisk else os.urandom(50_000).hex()
    with diskcache.Cache(directory, disk=disk) as cache:
        cache['key'] = value
        assert cache['key'] == value
        (name,) = value_files(directory)
        os.truncate(f'{directory}/{name}', left)
        assert cache.get('key', 'missing') == 'missing'
        assert cache.pop('key', 'missing') == 'missing'
        assert len(cache) == 0


def test_what_a_disk_raises_over_a_whole_file_is_no_miss(directory: str) -> None:
    with diskcache.Cache(directory, disk=Reversing) as cache:
        cache['key'] = LARGE
        (name,) = value_files(directory)
        Path(directory, name).write_bytes(bytes(len(LARGE) + 3))
        with pytest.raises(ValueError, match='the end is not there'):
            cache.get('key')


@pytest.mark.slow
@pytest.mark.parametrize('method', ['pop', 'pull', 'popitem'])
def test_others_write_while_a_large_value_is_read_to_be_taken_out(
    cache: diskcache.Cache, method: str
) -> None:
    """Not all of the reading under the lock; nor is the item gone before it has been read.

    On a busy machine the writer may not get a processor meanwhile: some attempts are made. Under
    the lock it would never write.
    """
    attempts = (writes_while_it_is_taken_out(cache, method) for _ in range(8))
    assert any(attempts)


def writes_while_it_is_taken_out(cache: diskcache.Cache, method: str) -> bool:
    """Take a large value out; tell whether another thread has written in the midst of that."""
    cache.clear()
    cache.push(LARGE)
    (name,) = value_files(cache.directory)
    size = 300_000_000
    os.truncate(Path(cache.directory, name), size)
    cache._sql('UPDATE Cache SET size = ?', (size,))
    cache.close()
    writes: list[float] = []
    done = threading.Event()

    def write() -> None:
        with diskcache.Cache(cache.directory) as another:
            while not done.is_set():
                another['key'] = 1
                writes.append(time.monotonic())

    writer = threading.Thread(target=write)
    writer.start()
    try:
        while not writes:
            time.sleep(0.001)
        began = time.monotonic()
        if method == 'pop':
            value = cache.pop(500_000_000_000_000)
        elif method == 'pull':
            value = cache.pull()[1]
        else:
            value = diskcache.Index.fromcache(cache).popitem(last=False)[1]
        took = time.monotonic() - began
    finally:
        done.set()
        writer.join()
    assert len(value) == size
    assert list(cache) == ['key']
    return any(began + 0.25 * took < at < began + 0.75 * took for at in writes)


def test_a_disk_that_names_its_files_makes_their_directories_again_while_others_remove_them(
    directory: str, assert_intact: Callable
) -> None:
    class Naming(diskcache.Disk):
        def filename(self, key: object = None, value: object = None) -> tuple[str, str]:
            name = f'a/b/{key}'
            return name, os.path.join(self._directory, name)

    def write(thread: int) -> None:
        try:
            for number in range(400):
                cache[f'{thread}-{number}'] = LARGE[:40_000]
                del cache[f'{thread}-{number}']
        except BaseException as error:
            errors.append(error)

    errors: list[BaseException] = []
    with diskcache.Cache(directory, disk=Naming) as cache:
        threads = [threading.Thread(target=write, args=(number,)) for number in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert errors == []
        assert len(cache) == 0
        assert_intact(cache)


@pytest.mark.parametrize('obstacle', ['a', 'a/b'])
def test_a_file_in_place_of_a_directory_is_an_error_of_a_disk_that_names_its_files(
    directory: str, obstacle: str
) -> None:
    class Naming(diskcache.Disk):
        def filename(self, key: object = None, value: object = None) -> tuple[str, str]:
            return 'a/b/c', os.path.join(self._directory, 'a/b/c')

    with diskcache.Cache(directory, disk=Naming) as cache:
        path = Path(directory, obstacle)
        path.parent.mkdir(exist_ok=True)
        path.touch()
        with pytest.raises((FileExistsError, NotADirectoryError)):
            cache['key'] = LARGE
        assert len(cache) == 0
