"""``cull``, ``expire``, ``evict``, ``clear``, ``stats``, ``info``, ``top``, ``bench`` and others.

``check`` and ``compact`` are in tests/cache/test_command_line.py.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from command_line import command_of, environment
from interpreter import Interpreter
from places import PACKAGE, ROOT

import diskcache
from diskcache.cli import parser
from diskcache.cli.output import human_seconds, table_lines
from diskcache.units import human_size

Run = Callable[..., subprocess.CompletedProcess[str]]


# --- what removes items ---


def test_items_are_removed_from_all_shards(
    call: Run, ask: Any, shards: diskcache.FanoutCache, directory: str
) -> None:
    """What is below the FanoutCache stays."""
    shards.set('tag 5', 1, tag=5)
    assert ask('evict', directory, 'odd') == {'removed': 20}
    assert ask('evict', directory, '5') == {'removed': 0}
    assert ask('evict', directory, '--int', '5') == {'removed': 1}
    for shard in shards._all_shards():
        shard._sql('UPDATE Cache SET expire_time = 1 WHERE rowid = 1')
    count = len(shards)
    removed = ask('expire', directory)['removed']
    assert (0 < removed <= 8, len(shards)) == (True, count - removed)
    done = call('clear', directory, '--yes')
    assert (done.returncode, done.stdout) == (0, f'items removed: {count - removed}\n')
    assert (len(shards), list(shards.deque('queue'))) == (0, ['a', 'b', 'c'])


def test_cull_makes_room(call: Run, cache: diskcache.Cache) -> None:
    cache.reset('cull_limit', 0)
    cache.set_many((number, bytes(50_000)) for number in range(40))
    cache.reset('size_limit', 1_000_000)
    done = call('cull', cache.directory)
    assert done.returncode == 0
    assert int(done.stdout.removeprefix('items removed: ')) > 20
    assert cache.volume() <= 1_000_000


@pytest.mark.parametrize(('answer', 'status'), [('y', 0), ('n', 1), ('', 1)])
def test_clear_asks_on_a_terminal(
    on_terminal: Any, cache: diskcache.Cache, answer: str, status: int
) -> None:
    cache['key'] = 1
    found, shown = on_terminal('clear', cache.directory, answer=f'{answer}\n'.encode())
    assert found == status
    assert 'Remove 1 items from' in shown
    assert ('key' in cache) == bool(status)


def test_clear_does_not_ask_a_script(run: Run, cache: diskcache.Cache) -> None:
    cache['key'] = 1
    done = run('clear', cache.directory)
    assert (done.returncode, done.stdout) == (0, 'items removed: 1\n')


def test_an_empty_directory_of_json_stays_one(call: Run, directory: str) -> None:
    """To open it with another Disk would record that."""
    with diskcache.Cache(directory, disk=diskcache.JSONDisk) as cache:
        cache['key'] = 1
    for command in (['clear'], ['compact'], ['set', 'a', 'b'], ['clear'], ['cull'], ['ls']):
        name, *rest = command
        assert call(name, directory, *rest).returncode == 0
        assert 'made with: diskcache.core.JSONDisk\n' in call('info', directory).stdout


def test_check_as_json(ask: Any, cache: diskcache.Cache) -> None:
    cache['key'] = bytes(50_000)
    (path,) = Path(cache.directory).glob('*/*/*.val')
    path.unlink()
    told = ask('check', cache.directory, status=1)
    assert (told['problems'], told['left']) == (1, 1)
    first = told['found'][0]
    assert first['text'].startswith('file not found')
    assert (first['kind'], first['cache'], first['mended']) == ('UserWarning', '', False)
    told = ask('check', cache.directory, '--fix', status=1)
    assert (told['problems'], told['left'], told['found'][0]['mended']) == (1, 0, True)
    assert ask('check', cache.directory)['problems'] == 0


# --- what shows a directory ---


def test_stats(call: Run, ask: Any, shards: diskcache.FanoutCache, directory: str) -> None:
    shards.stats(enable=True)
    for number in range(60):
        shards.get(f'key {number}')
    shards.set('gone', 1, expire=-1)
    hits, misses = shards.stats(enable=True)
    told = ask('stats', directory)
    assert (told['items'], told['expired'], told['hits'], told['misses']) == (41, 1, hits, misses)
    assert told['hit_ratio'] == pytest.approx(40 / 60)
    assert told['settings']['size_limit'] == 2**30
    assert sum(shard['items'] for shard in told['shards']) == 41
    assert {part['name']: part['items'] for part in told['parts']} == {
        'deque/queue': 3,
        'index/of/names': 1,
    }
    text = call('stats', directory).stdout
    assert 'hit ratio: 66.7%\n' in text
    assert len(text.splitlines()) == 12 + 1 + 1 + 8 + 2
    alone = ask('stats', f'{directory}/deque/queue')
    assert (alone['items'], 'shards' in alone) == (3, False)


def test_info_of_a_directory(ask: Any, shards: diskcache.FanoutCache, directory: str) -> None:
    shards.set('file', bytes(50_000))
    told = ask('info', directory)
    assert (told['kind'], told['shards'], told['files']) == ('FanoutCache', 8, 50_000)
    assert told['disk'] == 'diskcache.core.Disk'
    assert told['parts'] == ['deque/queue', 'index/of/names']
    assert told['settings']['eviction_policy'] == 'least-recently-stored'
    assert ask('info', f'{directory}/000')['kind'] == 'Cache'
    assert ask('info')['version'] == diskcache.__version__


def test_a_django_directory(ask: Any, directory: str) -> None:
    pytest.importorskip('django')
    import django_project  # noqa: F401

    cache = diskcache.DjangoCache(directory, {'SHARDS': 4})
    cache.set('name', 'Ada', 60)
    assert ask('ls', directory)['key']['value'] == ':1:name'
    assert ask('get', directory, ':1:name')['value']['value'] == 'Ada'
    assert ask('info', directory)['shards'] == 4
    cache.close()


def test_top_counts_what_others_do(ask: Any, call: Run, alone: Interpreter, directory: str) -> None:
    def work(directory: str) -> None:
        with diskcache.Cache(directory) as cache:
            for number in range(10**9):
                cache[number % 100] = number

    with diskcache.Cache(directory, eviction_policy='least-frequently-used', statistics=1) as cache:
        cache['hot'], cache['cold'] = 1, 2
        for _ in range(5):
            cache.get('hot')
        cache.stats()
        alone.start(work, directory=directory)
        while len(cache) < 100:
            time.sleep(0.01)
        told = ask('top', directory, '--once', '--interval', '0.5')
        assert told['writes'] > 1
        assert 0 <= told['locked'] <= 1
        assert told['items'] == 102
        assert told['hottest'][0]['key'] == {'type': 'text', 'value': 'hot'}
        assert told['hottest'][0]['count'] == 5
        shown = call('top', directory, '--once', '--interval', '0.1').stdout
        assert 'hottest keys\n           5  hot\n' in shown
        alone.kill()
        told = ask('top', directory, '--once', '--interval', '0.2')
        assert told['writes'] == 0


def test_top_sees_a_lock_that_is_held(ask: Any, cache: diskcache.Cache, alone: Any) -> None:
    if sys.platform != 'linux':
        pytest.skip('the system does not tell')

    def hold(directory: str) -> None:
        with diskcache.Cache(directory) as cache, cache.transact():
            time.sleep(1000)

    alone.start(hold, directory=cache.directory)
    while True:
        try:
            with diskcache.Cache(cache.directory, timeout=0) as other, other.transact():
                pass
        except diskcache.Timeout:
            break
        time.sleep(0.01)
    assert ask('top', cache.directory, '--once', '--interval', '0.2')['locked'] == 1
    alone.kill()
    assert ask('top', cache.directory, '--once', '--interval', '0.2')['locked'] == 0


def test_top_takes_no_locks_away(cache: diskcache.Cache, alone: Interpreter) -> None:
    """It opens the wal-index of a cache that the process may have locked itself."""
    from diskcache.cli import main

    with cache.transact():
        cache['key'] = 1
        assert main(['top', cache.directory, '--once', '--interval', '0.05', '--json']) == 0

        def write(directory: str) -> str:
            try:
                with diskcache.Cache(directory, timeout=0) as cache:
                    cache.set('other', 1)
            except diskcache.Timeout:
                return 'locked'
            return 'written'

        assert alone.run(write, directory=cache.directory) == 'locked'


def test_top_on_a_terminal(cache: diskcache.Cache, on_terminal: Any) -> None:
    pytest.importorskip('rich')
    status, shown = on_terminal('top', cache.directory, '--interval', '0.2', until=b'writes/s')
    assert (status, 'writes/s' in shown) == (130, True)


# --- bench, completion, the parser ---


def test_bench_measures_both(ask: Any, original_package: Path, tmp_path: Path) -> None:
    """In a temporary directory, which is removed; beside a cache, not in it."""
    with diskcache.Cache(tmp_path / 'cache') as cache:
        told = ask('bench', cache.directory, '--number', '10', '--original', original_package)
    assert told['directory'] == str(tmp_path)
    assert told['ours'].keys() == told['original'].keys() > {'get', 'set, new key'}
    assert all(figure > 0 for figure in told['ours'].values())
    assert [path.name for path in tmp_path.iterdir()] == ['cache']
    assert not (set(os.listdir(tmp_path / 'cache')) - {'cache.db', 'cache.db-hot'})


def test_bench_says_what_is_not_there(call: Run, tmp_path: Path) -> None:
    assert call('bench', 'nowhere').returncode == 2
    done = call('bench', '.', '--original', 'nowhere')
    assert (done.returncode, 'the original is not there' in done.stderr) == (2, True)


@pytest.mark.parametrize('shell', ['bash', 'zsh', 'fish'])
def test_completion(call: Run, shell: str) -> None:
    pytest.importorskip('argcomplete')
    done = call('completion', shell)
    assert (done.returncode, 'diskcache' in done.stdout) == (0, True)


def test_a_shell_is_given_commands_and_options(tmp_path: Path) -> None:
    """As bash asks for it."""
    pytest.importorskip('argcomplete')

    def completed(line: str) -> list[str]:
        variables = {
            **environment(),
            **{'_ARGCOMPLETE': '1', '_ARGCOMPLETE_IFS': '\n', 'COMP_LINE': line},
            **{'COMP_POINT': str(len(line)), 'COMP_TYPE': '9'},
        }
        with open(tmp_path / 'out', 'wb+') as out:
            subprocess.run(
                ['bash', '-c', '"$@" 8>&1 9>&2 >/dev/null 2>&1', '-', *command_of()],
                env=variables,
                stdout=out,
                check=False,
            )
            out.seek(0)
            return out.read().decode().split()

    assert {'export', 'expire'} <= set(completed('diskcache exp'))
    assert '--on-conflict' in completed('diskcache import x y --on')
    assert {'keep', 'replace', 'newer'} == set(completed('diskcache import x y --on-conflict '))


def test_the_page_is_that_of_the_parser() -> None:
    """`python docs/command_pages.py` writes it."""
    program = ROOT / 'docs' / 'command_pages.py'
    environment = {**os.environ, 'PYTHONPATH': str(PACKAGE)}
    done = subprocess.run(
        [sys.executable, program, '--check'], env=environment, capture_output=True, text=True
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, '', '')


def test_each_command_that_shows_something_has_json() -> None:
    """And says what it prints."""
    (commands,) = (action for action in parser()._actions if action.dest == 'name')
    without = {name for name, command in commands.choices.items() if not command.json_keys}
    assert without == {'completion', 'serve'}
    for command in commands.choices.values():
        command.format_help()  # a % that is none would be an error


def test_version_and_usage(run: Run) -> None:
    assert run('--version').stdout == f'diskcache {diskcache.__version__}\n'
    done = run()
    assert (done.returncode, done.stdout) == (2, '')
    assert 'COMMAND' in done.stderr
    done = run('nonsense', 'x')
    assert done.returncode == 2
    done = run('ls')
    assert (done.returncode, 'DIRECTORY' in done.stderr) == (2, True)
    for wrong in (['--limit', '-1'], ['--min-size', 'x'], ['--older-than', '5y'], ['--lim', '1']):
        assert run('ls', '.', *wrong).returncode == 2


def test_without_rich_and_argcomplete(
    cache: diskcache.Cache, tmp_path: Path, on_terminal: Any, run: Run
) -> None:
    """The package alone does all but completion, also on a terminal."""
    for name in ('rich', 'argcomplete'):
        (tmp_path / name).mkdir()
        (tmp_path / name / '__init__.py').write_text('raise ImportError')
    (tmp_path / 'sitecustomize.py').write_text(
        'import importlib.util as u\n'
        'found = u.find_spec\n'
        'u.find_spec = lambda name, *rest: None if name == "rich" else found(name, *rest)\n'
    )
    variables = {**environment(), 'PYTHONPATH': f'{tmp_path}:{environment()["PYTHONPATH"]}'}
    done = run('completion', 'bash', env=variables)
    assert (done.returncode, 'needs argcomplete' in done.stderr) == (2, True)
    for name in ('stats', 'check', 'ls'):
        assert run(name, cache.directory, env=variables).returncode == 0
    assert json.loads(run('stats', cache.directory, '--json', env=variables).stdout)


def test_figures() -> None:
    sizes = [0, 999, 1000, 9994, 12_345, 999_499, 999_500, 10**9, 10**21]
    assert [human_size(size) for size in sizes] == [
        *('0 B', '999 B', '1.00 kB', '9.99 kB', '12.3 kB', '999 kB', '1.00 MB', '1.00 GB'),
        '1000 EB',
    ]
    times = [0, 119, 600, 7200, 10**6, -5, float('inf')]
    assert [human_seconds(each) for each in times] == [
        *('0 s', '119 s', '10 min', '2 h', '12 d', '-5 s', 'forever'),
    ]
    assert table_lines(('a', 'name'), [('1,000', 'x')]) == ['    a  name', '1,000  x']


def test_top_leaves_out_times_that_are_no_numbers(call: Run, directory: str) -> None:
    with diskcache.Cache(directory, eviction_policy='least-recently-used') as cache:
        cache['key'] = cache['damaged'] = 1
        cache._sql("UPDATE Cache SET access_time = 9e999 WHERE key = 'damaged'")
        done = call('top', directory, '--once', '--interval', '1')
    assert done.returncode == 0
    assert 'key' in done.stdout.splitlines()[-1]
    assert 'damaged' not in done.stdout
