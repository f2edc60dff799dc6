"""The command line: what it prints, and its exit status."""

from __future__ import annotations

import os
import pty
import shutil
import sqlite3
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from command_line import shown_on
from places import PACKAGE

import diskcache

LARGE = b'x' * 50_000


def run(*arguments: object, **options: object) -> subprocess.CompletedProcess[str]:
    """Run the command line in a process of its own."""
    return subprocess.run(
        [sys.executable, '-m', 'diskcache', *map(str, arguments)],
        capture_output=True,
        text=True,
        cwd=PACKAGE,
        **options,
    )


def damage(cache: diskcache.Cache) -> None:
    """Let a value file be gone."""
    cache['key'] = LARGE
    (path,) = Path(cache.directory).glob('*/*/*.val')
    path.unlink()


def test_a_sound_cache_has_no_problems(cache: diskcache.Cache) -> None:
    cache['key'] = LARGE
    for fix in ([], ['--fix']):
        done = run('check', cache.directory, *fix)
        assert (done.returncode, done.stdout, done.stderr) == (0, 'no problems found\n', '')


def test_problems_are_shown_then_mended(cache: diskcache.Cache) -> None:
    damage(cache)
    done = run('check', cache.directory)
    assert done.returncode == 1
    *shown, last = done.stdout.splitlines()
    assert last == 'problems found: 1, not mended (--fix does)'
    assert sum('empty directory' in line for line in shown) == 2
    assert not any(line.endswith('mended)') for line in shown)
    done = run('check', cache.directory, '--fix')
    assert done.returncode == 1
    assert done.stdout.startswith('UserWarning: file not found: ')
    assert done.stdout.endswith('.val (mended)\nproblems found: 1, all mended\n')
    assert run('check', cache.directory).returncode == 0


def test_what_cannot_be_mended_is_not_called_mended(cache: diskcache.Cache) -> None:
    damage(cache)
    cache['pickle'] = ('a',)
    cache._sql("UPDATE Cache SET value = ? WHERE key = 'pickle'", (b'\x80\x63N.',))
    done = run('check', cache.directory, '--fix')
    assert done.returncode == 3
    assert '(stays: another Python may be able to read it)\n' in done.stdout
    assert done.stdout.endswith('problems found: 2, 1 of them stay\n')
    done = run('check', cache.directory, '--fix')
    assert done.returncode == 3
    assert done.stdout.endswith('problems found: 1, 1 of them stay\n')


def test_files_of_others_and_classes_of_others_are_no_problems(cache: diskcache.Cache) -> None:
    path = Path(cache.directory, 'README')
    path.write_text('of the user')
    cache['key'] = Path('a')
    cache._sql('UPDATE Cache SET value = ?', (b'cno_such_module\nThing\n.',))
    for fix in ([], ['--fix']):
        done = run('check', cache.directory, *fix)
        assert done.returncode == 0
        first, second, last = done.stdout.splitlines()
        assert 'no_such_module.Thing is not there' in first
        assert f'unknown file: {path}' in second
        assert last == 'no problems found'
    assert path.read_text() == 'of the user'


def test_compact_gives_back_free_pages_and_the_log(directory: str) -> None:
    with diskcache.Cache(directory, sqlite_auto_vacuum=0) as cache:
        cache.set_many((number, 'x' * 1000) for number in range(3000))
        cache.clear()
    before = sum(path.stat().st_size for path in Path(directory).iterdir())
    done = run('compact', directory)
    assert (done.returncode, done.stderr) == (0, '')
    after = sum(path.stat().st_size for path in Path(directory).iterdir())
    assert before - after > 2_000_000
    assert done.stdout.startswith('given back: ')
    assert run('compact', directory).returncode == 0


@pytest.mark.parametrize('command', ['check', 'compact', 'stats', 'clear'])
def test_what_is_no_cache_is_an_error_and_stays(tmp_path: Path, command: str) -> None:
    done = run(command, tmp_path)
    assert done.returncode == 2
    assert done.stderr.startswith('diskcache: not a cache')
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize('command', ['stats', 'clear'])
def test_of_a_fanout_cache_one_names_the_whole_or_a_shard(directory: str, command: str) -> None:
    with diskcache.FanoutCache(directory, 2) as cache:
        cache.update((number, number) for number in range(10))
    for place, count in ((f'{directory}/000', 5), (directory, 10 if command == 'stats' else 5)):
        done = run(command, place)
        assert done.returncode == 0
        assert f': {count}\n' in done.stdout


def fill_parts(directory: str) -> dict[str, diskcache.Cache]:
    """Make a FanoutCache of two shards with parts; return what has a database."""
    cache = diskcache.FanoutCache(directory, 2)
    return {
        '000': cache._shards[0],
        '001': cache._shards[1],
        'cache/a': cache.cache('a'),
        'cache/a/b': cache.cache('a/b'),
        'deque/ab': cache.deque('ab').cache,
        'index/c': cache.index('c').cache,
    }


def test_check_takes_all_of_a_fanout_cache(directory: str) -> None:
    """One report says where each problem is, and the exit status is that of the whole."""
    parts = fill_parts(directory)
    done = run('check', directory)
    assert (done.returncode, done.stdout, done.stderr) == (0, 'no problems found\n', '')
    for cache in parts.values():
        damage(cache)
    done = run('check', directory)
    *shown, last = done.stdout.splitlines()
    places = [line.split(': ')[1] for line in shown if 'file not found' in line]
    assert (places, done.returncode) == (list(parts), 1)
    assert last == 'problems found: 6, not mended (--fix does)'
    parts['index/c']['pickle'] = ('a',)
    parts['index/c']._sql("UPDATE Cache SET value = x'80634e2e' WHERE key = 'pickle'")
    done = run('check', directory, '--fix')
    assert (done.returncode, done.stderr) == (3, '')
    assert done.stdout.endswith('\nproblems found: 7, 1 of them stay\n')
    del parts['index/c']['pickle']
    assert run('check', directory).returncode == 0


def test_check_of_a_fanout_cache_goes_on_after_what_cannot_be_checked(directory: str) -> None:
    """What was found is shown, and the exit status says that it is not all."""
    for cache in fill_parts(directory).values():
        damage(cache)
        cache.close()
    Path(directory, '001/cache.db').write_bytes(b'garbage ' * 1024)
    con = sqlite3.connect(f'{directory}/deque/ab/cache.db')
    con.execute('DROP TABLE Cache')
    con.execute('CREATE TABLE Cache (a)')
    con.close()
    done = run('check', directory)
    assert done.returncode == 2
    assert done.stderr.startswith('diskcache: deque/ab: ')
    assert '001: the cache cannot be opened (--fix saves what can be read)' in done.stdout
    assert done.stdout.count('file not found') == 4
    done = run('check', directory, '--fix')
    assert done.returncode == 2
    assert '001: items saved: 0' in done.stdout
    assert done.stdout.endswith('problems found: 5, all mended\n')
    shutil.rmtree(f'{directory}/deque')
    assert run('check', directory).returncode == 0
    done = run('compact', directory)
    assert (done.returncode, done.stderr) == (0, '')


def test_a_shard_that_is_gone_is_reported(directory: str) -> None:
    """Those behind it are checked; what it had is lost."""
    cache = diskcache.FanoutCache(directory, 3)
    damage(cache._shards[2])
    cache.close()
    shutil.rmtree(f'{directory}/001')
    done = run('check', directory, '--fix')
    assert done.returncode == 3
    assert 'UserWarning: 002: file not found: ' in done.stdout
    assert f'UserWarning: missing: {directory}/001/cache.db (stays' in done.stdout
    assert 'problems found: 2, 1 of them stay' in done.stdout


def test_compact_takes_all_of_a_fanout_cache(directory: str) -> None:
    parts = fill_parts(directory)
    for cache in parts.values():
        cache.set_many((number, 'x' * 1000) for number in range(500))
        cache.clear()
    logs = [Path(cache.directory, 'cache.db-wal') for cache in parts.values()]
    done = run('compact', directory)
    assert (done.returncode, done.stderr) == (0, '')
    assert done.stdout.startswith('given back: ')
    assert [log.stat().st_size for log in logs] == [0] * 6


def test_what_is_refused_is_no_problem(cache: diskcache.Cache) -> None:
    """Another program may be allowed to load it; nothing is wrong with the cache."""
    cache['key'] = Path('a'), threading.Thread
    done = run('check', cache.directory, env={**os.environ, 'DISKCACHE_DISK': 'SafeDisk'})
    assert (done.returncode, done.stderr) == (0, '')
    assert 'threading.Thread is not allowed by SafeDisk' in done.stdout
    assert done.stdout.endswith('\nno problems found\n')


@pytest.mark.parametrize('of_fanout', [False, True], ids=['Cache', 'FanoutCache'])
def test_on_a_terminal_the_outcome_is_the_same(directory: str, of_fanout: bool) -> None:
    """There rich shows a bar and a table; of a FanoutCache a bar for its caches, too."""
    pytest.importorskip('rich')
    cache = fill_parts(directory)['001'] if of_fanout else diskcache.Cache(directory)
    damage(cache)
    cache.set_many((number, number) for number in range(3000))
    cache.close()
    controller, terminal = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, '-m', 'diskcache', 'check', directory, '--fix'],
        stdin=terminal,
        stdout=terminal,
        stderr=terminal,
        cwd=PACKAGE,
    )
    os.close(terminal)
    *_, shown = shown_on(controller)
    assert process.wait() == 1
    assert b'file not found' in shown
    assert b'problems found: 1, all mended' in shown
    assert (b'caches' in shown) == of_fanout


def test_a_locked_cache_is_an_error(cache: diskcache.Cache) -> None:
    damage(cache)
    script = (
        'import sys, diskcache, diskcache.cli as cli\n'
        'opened = diskcache.Cache.__init__\n'
        'def impatient(self, directory): opened(self, directory, timeout=0)\n'
        'cli.Cache.__init__ = impatient\n'
        'sys.exit(cli.main(sys.argv[1:]))'
    )
    with cache.transact():
        arguments = [sys.executable, '-c', script, 'check', cache.directory]
        done = subprocess.run(arguments, capture_output=True, text=True, cwd=PACKAGE)
    assert done.returncode == 2
    assert 'locked by another process' in done.stderr
