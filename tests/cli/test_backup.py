"""``backup``: a copy of one moment, beside writers that never stop."""

from __future__ import annotations

import os
import shutil
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from command_line import command_of, environment
from consistency import report_texts
from interpreter import Interpreter
from places import PACKAGE

import diskcache

Run = Callable[..., subprocess.CompletedProcess[str]]

#: Writes pairs that are equal in each transaction, in files and not, and a number that grows with
#: each, until it is killed.
WRITER = """
import sys, diskcache
directory, shards = sys.argv[1], int(sys.argv[2])
if shards:
    cache = diskcache.FanoutCache(directory, shards, timeout=60)
else:
    cache = diskcache.Cache(directory)
number = 0
while True:
    number += 1
    with cache.transact(retry=True):
        value = b'%08d' % number
        for key in (f'a {number % 10}', f'b {number % 10}'):
            cache.set(key, value * 5000, retry=True)
        for shard in range(20):
            cache.set(f'number {shard}', number, retry=True)
        cache.delete(f'a {number * 7 % 10}', retry=True)
        cache.delete(f'b {number * 7 % 10}', retry=True)
    if number == 3:
        print('ready', flush=True)
"""


@pytest.fixture
def writer(directory: str) -> Any:
    """A function that starts a process which writes into `directory` all the time."""
    started = []

    def start(shards: int, package: Path) -> None:
        process = subprocess.Popen(
            [sys.executable, '-c', WRITER, directory, str(shards)],
            stdout=subprocess.PIPE,
            env={**environment(), 'PYTHONPATH': str(package)},
        )
        started.append(process)
        assert process.stdout.readline() == b'ready\n'

    yield start
    for process in started:
        process.kill()
        process.wait()


@pytest.mark.parametrize('shards', [0, 4], ids=['Cache', 'FanoutCache'])
@pytest.mark.parametrize('by_original', [False, True], ids=['ours', 'original'])
def test_a_copy_beside_writers_is_of_one_moment(
    ask: Any,
    writer: Any,
    original: Interpreter,
    original_package: Path,
    directory: str,
    tmp_path: Path,
    shards: int,
    by_original: bool,
) -> None:
    """No value is half of one transaction and half of another, and no file is missing."""

    def read(directory: str, shards: int) -> list[Any]:
        if shards:
            cache = diskcache.FanoutCache(directory, shards=shards)
        else:
            cache = diskcache.Cache(directory)
        with cache:
            pairs = [cache.get(f'a {n}') == cache.get(f'b {n}') for n in range(10)]
            numbers = {cache[f'number {n}'] for n in range(20)}
            files = [len(cache.get(f'a {n}') or b'') == 40_000 for n in range(10)]
            found = [str(warning.message) for warning in cache.check()]
            return [all(pairs), len(numbers), sum(files) > 0, found]

    writer(shards, original_package if by_original else PACKAGE)
    for number in range(3):
        copy = str(tmp_path / f'copy{number}')
        told = ask('backup', directory, copy)
        assert told['missing'] == 0
        assert told['files'] >= 2
        assert read(copy, shards) == [True, 1, True, []]
        assert original.run(read, directory=copy, shards=shards) == [True, 1, True, []]
        assert not [path for path in Path(copy).rglob('*') if path.name.startswith('.')]
    assert not [path for path in tmp_path.iterdir() if path.name.startswith('.')]


def test_all_parts_of_a_fanout_cache_are_copied(
    run: Run, shards: diskcache.FanoutCache, directory: str, tmp_path: Path
) -> None:
    shards.set('file', b'x' * 50_000, tag='red', expire=600)
    shards.index('of/names')['large'] = 'ü' * 100_000
    done = run('backup', directory, 'copy')
    assert (done.returncode, done.stderr) == (0, '')
    assert done.stdout.startswith('items: 46, value files: 2, ')
    with diskcache.FanoutCache(tmp_path / 'copy', shards=8) as copy:
        assert list(copy.deque('queue')) == ['a', 'b', 'c']
        assert list(copy.index('of/names')) == ['Ada', 'large']
        assert copy.get('file', tag=True) == (b'x' * 50_000, 'red')
        assert {key: copy[key] for key in copy} == {key: shards[key] for key in shards}
        assert report_texts(copy) == []


def test_settings_modes_and_signatures_come_along(run: Run, directory: str, tmp_path: Path) -> None:
    class SiteDisk(diskcache.SignedDisk):
        keys = (b'k' * 32,)

    options = {'eviction_policy': 'none', 'statistics': 1, 'disk': SiteDisk}
    with diskcache.Cache(directory, mode=0o2750, **options) as cache:
        cache['key'] = ['x' * 50_000]
        cache.get('key')
    assert run('backup', directory, 'copy').returncode == 0
    with diskcache.Cache(tmp_path / 'copy', disk=SiteDisk) as copy:
        assert copy['key'] == ['x' * 50_000]
        assert (copy.eviction_policy, copy.statistics) == ('none', 1)

    def modes(directory: Path) -> set[tuple[bool, int]]:
        found = [directory, *directory.rglob('*')]
        return {(path.is_dir(), stat.S_IMODE(path.stat().st_mode)) for path in found}

    assert modes(tmp_path / 'copy') == modes(Path(directory)) == {(True, 0o2750), (False, 0o640)}


def test_a_cache_with_a_rollback_journal(run: Run, directory: str, tmp_path: Path) -> None:
    """Its writers wait for the whole copy."""
    with diskcache.Cache(directory, sqlite_journal_mode='delete') as cache:
        cache['key'], cache['file'] = 1, bytes(50_000)
        assert run('backup', directory, 'copy').returncode == 0
        cache['key'] = 2
    with diskcache.Cache(tmp_path / 'copy') as copy:
        assert (copy['key'], len(copy['file']), copy.sqlite_journal_mode) == (1, 50_000, 'delete')
        assert report_texts(copy) == []


def test_where_a_copy_cannot_be_made(run: Run, cache: diskcache.Cache, tmp_path: Path) -> None:
    """What is there stays."""
    (tmp_path / 'full').mkdir()
    (tmp_path / 'full' / 'file').write_text('of the user')
    (tmp_path / 'file').write_text('of the user')
    (tmp_path / 'empty').mkdir()
    for place in ('full', 'file', 'no/such', 'cache/copy', 'cache'):
        done = run('backup', cache.directory, place)
        assert done.returncode == 2, place
        assert done.stderr.startswith('diskcache: ')
    assert (tmp_path / 'full' / 'file').read_text() == 'of the user'
    assert run('backup', cache.directory, 'empty').returncode == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == ['cache', 'empty', 'file', 'full']


def test_missing_files_are_told(run: Run, cache: diskcache.Cache) -> None:
    cache['a'], cache['b'], cache['c'] = b'x' * 40_000, b'y' * 40_000, 1
    first, second = Path(cache.directory).glob('*/*/*.val')
    first.unlink()
    second.write_bytes(b'short')
    done = run('backup', cache.directory, 'copy')
    assert done.returncode == 3
    assert 'missing, or not whole: 2' in done.stderr


def test_a_backup_that_is_interrupted_leaves_nothing(
    cache: diskcache.Cache, tmp_path: Path
) -> None:
    """Nor does it leave a lock."""
    cache.set_many((number, bytes(40_000)) for number in range(3000))
    process = subprocess.Popen(
        command_of('backup', cache.directory, 'copy'),
        cwd=tmp_path,
        env=environment(),
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
        stderr=subprocess.PIPE,
    )
    while not any(path.name.startswith('.copy-') for path in tmp_path.iterdir()):
        time.sleep(0.001)
    process.send_signal(signal.SIGINT)
    assert b'Traceback' not in process.communicate()[1]
    assert process.returncode == 130
    assert [path.name for path in tmp_path.iterdir()] == ['cache']
    cache['new'] = 1


def test_the_disk_is_full(run: Run, cache: diskcache.Cache, tmp_path: Path) -> None:
    """A copy that does not fit is no copy."""
    import resource

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)

    cache['large'] = bytes(300_000)
    done = run('backup', cache.directory, 'copy', preexec_fn=limit)
    assert done.returncode == 2
    assert [path.name for path in tmp_path.iterdir()] == ['cache']
    done = run('export', cache.directory, 'export', preexec_fn=limit)
    assert done.returncode == 2
    assert [path.name for path in tmp_path.iterdir()] == ['cache']


def test_a_copy_in_the_process_that_uses_the_cache(cache: diskcache.Cache, tmp_path: Path) -> None:
    """main() can be called by a program that has the cache open."""
    from diskcache.cli import main

    cache['key'] = bytes(50_000)
    assert main(['backup', cache.directory, str(tmp_path / 'copy')]) == 0
    cache['other'] = 1
    with diskcache.Cache(tmp_path / 'copy') as copy:
        assert list(copy) == ['key']
    shutil.rmtree(tmp_path / 'copy')
    assert os.path.isdir(PACKAGE)


def test_a_directory_whose_name_is_no_utf_8(run: Run, tmp_path: Path) -> None:
    source = os.path.join(tmp_path, os.fsdecode(b'a\xff%3f?#'))
    with diskcache.Cache(source) as cache:
        cache['key'] = bytes(100_000)
    assert run('backup', source, 'copy').returncode == 0
    with diskcache.Cache(tmp_path / 'copy') as copy:
        assert copy['key'] == bytes(100_000)
