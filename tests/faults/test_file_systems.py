"""Network file systems: what a new cache has there, and what is said of one that is there.

They are served by a process (FUSE), which calls itself what it likes and can do without locks,
links and mapped memory.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import mounts
import pytest
from interpreter import Interpreter

import diskcache
from diskcache import Cache, file_systems

needs_fuse = pytest.mark.skipif(
    os.name != 'posix' or os.geteuid() != 0 or not mounts.can_mount() or not mounts.has_fuse(),
    reason='this process may not mount anything, or there is no FUSE here (python3-fusepy)',
)

PREPARE = """
import logs, mounts
logs.messages = logs.listen()
mounts.own_mounts()
mounts.mount_fuse(source, target, kind, *lacks)
"""

USE = """
import logs, warnings
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter('always')
    cache = getattr(diskcache, cls)(target + '/cache', **settings)
    cache['small'] = 1
    cache['large'] = b'x' * 100_000
    for _ in range(20):
        cache.incr('small')
    with cache.transact():
        cache['pair'] = cache['small'], len(cache['large'])
    found = cache['pair'], cache.check()
    modes = cache.sqlite_journal_mode, cache.sqlite_mmap_size
    cache.close()
    getattr(diskcache, cls)(target + '/cache').close()
(found, modes, [str(each.message) for each in caught], logs.messages)
"""


def use(
    alone: Interpreter,
    tmp_path: Path,
    kind: str,
    *lacks: str,
    cls: str = 'Cache',
    **settings: Any,
) -> tuple[tuple[str, int], list[str], list[str]]:
    """Use a cache on a file system; return its journal and what was warned and logged."""
    names = {'source': f'{tmp_path}/source', 'target': f'{tmp_path}/target'}
    alone.run(PREPARE, kind=kind, lacks=lacks, **names)
    found, modes, warned, logged = alone.run(USE, cls=cls, settings=settings, **names)
    assert found == ((21, 100_000), [])
    return modes, warned, logged


def test_a_local_directory_is_on_no_network(tmp_path: Path) -> None:
    assert file_systems.network_of(str(tmp_path)) is None
    assert file_systems.network_of(str(tmp_path / 'missing')) is None


@pytest.mark.slow
@needs_fuse
@pytest.mark.parametrize('cls', ['Cache', 'FanoutCache'])
@pytest.mark.parametrize('lacks', [(), ('no-maps', 'no-links')], ids=['maps', 'no maps'])
def test_a_new_cache_on_a_network_has_no_log_and_no_mapped_memory(
    alone: Interpreter, original: Interpreter, tmp_path: Path, cls: str, lacks: tuple
) -> None:
    """For whoever opens it, with the original too: the settings are stored."""
    modes, warned, logged = use(alone, tmp_path, 'sshfs', *lacks, cls=cls)
    assert modes == ('delete', 0)
    assert warned == []
    (message,) = logged
    assert message.startswith(f'{tmp_path}/target/cache: the directory is on a network')
    assert 'sshfs' in message
    source = f'{tmp_path}/source/cache'
    parts = [source] if cls == 'Cache' else [f'{source}/{number:03d}' for number in range(8)]
    for part in parts:
        assert oct(os.stat(f'{part}/cache.db').st_mode & 0o777) == '0o600'
        script = """
        with Cache(directory) as cache:
            answer = cache._sql('PRAGMA journal_mode').fetchall(), cache.sqlite_mmap_size
        answer
        """
        assert original.run(script, directory=part) == ([('delete',)], 0)


@needs_fuse
@pytest.mark.parametrize('cls', ['Cache', 'FanoutCache'])
def test_a_cache_that_is_there_gets_one_warning_of_what_is_not_safe(
    alone: Interpreter, tmp_path: Path, cls: str
) -> None:
    """As one that was made on a local disk, or with the original."""
    os.mkdir(tmp_path / 'source')
    getattr(diskcache, cls)(tmp_path / 'source' / 'cache').close()
    modes, (text,), logged = use(alone, tmp_path, 'sshfs', cls=cls)
    assert modes == ('wal', 2**26)
    assert text.startswith(f'{tmp_path}/target/cache is on a network file system (sshfs)')
    assert 'write-ahead log' in text
    assert 'mapped memory' in text
    assert logged == []


@needs_fuse
def test_a_log_that_is_asked_for_gets_the_warning_too(alone: Interpreter, tmp_path: Path) -> None:
    modes, (text,), _ = use(alone, tmp_path, 'sshfs', sqlite_journal_mode='wal')
    assert modes == ('wal', 0)
    assert 'write-ahead log' in text
    assert 'mapped' not in text


@needs_fuse
def test_of_an_unknown_file_system_nothing_is_assumed(alone: Interpreter, tmp_path: Path) -> None:
    assert use(alone, tmp_path, 'bindfs') == (('wal', 2**26), [], [])


@needs_fuse
def test_a_file_system_that_cannot_map_memory_has_no_log(
    alone: Interpreter, tmp_path: Path
) -> None:
    """SQLite would make one, and then not be able to open the database ever again."""
    modes, warned, (message,) = use(alone, tmp_path, 'bindfs', 'no-maps')
    assert modes == ('delete', 0)
    assert warned == []
    assert 'cannot map memory' in message


@needs_fuse
@pytest.mark.parametrize(
    ('kind', 'lacks', 'expected'),
    [('sshfs', [], 'bytes'), ('bindfs', [], 'Mapping'), ('bindfs', ['no-maps'], 'Mapping')],
)
def test_values_are_mapped_where_no_other_machine_can_remove_them(
    alone: Interpreter, tmp_path: Path, kind: str, lacks: list[str], expected: str
) -> None:
    """A page of a file that the server has removed is no memory any more: touching it kills."""
    names = {'source': f'{tmp_path}/source', 'target': f'{tmp_path}/target'}
    alone.run(PREPARE, kind=kind, lacks=lacks, **names)
    script = """
    with Cache(target + '/cache') as cache:
        cache['key'] = bytes(100_000)
        view = cache.read('key', mmap=True)
        del cache['key']
    answer = type(view.obj).__name__, view == bytes(100_000)
    del view
    answer
    """
    assert alone.run(script, **names) == (expected, True)


@needs_fuse
def test_what_is_saved_of_a_malformed_database_has_no_log_either(
    alone: Interpreter, tmp_path: Path
) -> None:
    names = {'source': f'{tmp_path}/source', 'target': f'{tmp_path}/target'}
    alone.run(PREPARE, kind='bindfs', lacks=['no-maps'], **names)
    script = """
    with Cache(target + '/cache') as cache:
        cache.set_many((number, 'x' * 300) for number in range(500))
    path = target + '/cache/cache.db'
    with open(path, 'r+b') as file:
        file.seek(12 * 4096)
        file.write(os.urandom(4096))
    with Cache(target + '/cache') as cache:
        said = [str(warning.message) for warning in cache.check(fix=True)]
    with Cache(target + '/cache') as cache:
        saved = len(cache)
    saved, next(text for text in said if text.startswith('items saved'))
    """
    saved, said = alone.run(script, **names)
    assert 400 < saved <= 500
    assert said.startswith(f'items saved: {saved};')


@needs_fuse
@pytest.mark.parametrize('kind', ['sshfs', 'bindfs'])
def test_a_file_system_without_locks_is_an_error_at_once(
    alone: Interpreter, tmp_path: Path, kind: str
) -> None:
    """SQLite takes it for a lock that somebody has, and would be waited for."""
    names = {'source': f'{tmp_path}/source', 'target': f'{tmp_path}/target'}
    alone.run(PREPARE, kind=kind, lacks=['no-locks'], **names)
    script = """
    try:
        Cache(target + '/cache')
    except sqlite3.OperationalError as error:
        answer = str(error)
    answer
    """
    text = alone.run(script, **names)
    assert text.startswith(f'{tmp_path}/target/cache is on a file system without file locks')
    assert os.listdir(tmp_path / 'source' / 'cache') == []


@pytest.mark.slow
@needs_fuse
def test_processes_share_a_cache_on_a_network(alone: Interpreter, tmp_path: Path) -> None:
    def scenario(target: str) -> object:
        def count() -> int:
            with diskcache.Cache(target + '/cache') as cache:
                for _ in range(50):
                    cache.incr('count')
            return 50

        with diskcache.Cache(target + '/cache') as cache:
            children = [Child(count) for _ in range(3)]  # noqa: F821
            done = [child.result() for child in children]
            return done, cache['count']

    names = {'source': f'{tmp_path}/source', 'target': f'{tmp_path}/target'}
    alone.run(PREPARE, kind='sshfs', lacks=['no-maps'], **names)
    assert alone.run(scenario, target=names['target']) == ([50, 50, 50], 150)


def test_nothing_is_probed_on_a_local_disk(directory: str) -> None:
    with Cache(directory) as cache:
        assert cache.sqlite_journal_mode == 'wal'
        assert not any('probe' in name or 'new' in name for name in os.listdir(directory))
