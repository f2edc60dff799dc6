"""The command line: what it prints, and its exit status."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest
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


@pytest.mark.parametrize('command', ['check', 'compact', 'stats', 'clear'])
def test_of_a_fanout_cache_one_names_a_shard(directory: str, command: str) -> None:
    """Whoever names the whole of it is told so."""
    diskcache.FanoutCache(directory, 2).close()
    done = run(command, directory)
    assert done.returncode == 2
    assert done.stderr.endswith(f'it is a FanoutCache: name a shard, {directory}/000\n')
    assert run(command, f'{directory}/000').returncode == 0


def test_on_a_terminal_the_outcome_is_the_same(cache: diskcache.Cache) -> None:
    """There rich shows a bar and a table."""
    pytest.importorskip('rich')
    damage(cache)
    cache.set_many((number, number) for number in range(3000))
    controller, terminal = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, '-m', 'diskcache', 'check', cache.directory, '--fix'],
        stdin=terminal,
        stdout=terminal,
        stderr=terminal,
        cwd=PACKAGE,
    )
    os.close(terminal)
    shown = b''
    while True:
        try:
            read = os.read(controller, 1000)
        except OSError:  # what Linux says at its end
            break
        if not read:
            break
        shown += read
    os.close(controller)
    assert process.wait() == 1
    assert b'file not found' in shown
    assert b'problems found: 1, all mended' in shown


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
