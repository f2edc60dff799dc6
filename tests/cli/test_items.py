"""``ls``, ``get``, ``set`` and ``delete``."""

from __future__ import annotations

import json
import os
import pickle
import resource
import signal
import sqlite3
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from command_line import command_of, environment
from interpreter import Interpreter

import diskcache
from diskcache.cli.stored import NoLiteralError, literal, quoted

Run = Callable[..., subprocess.CompletedProcess[str]]


def lines(done: subprocess.CompletedProcess[str]) -> list[str]:
    """Return the lines of a command that has ended well."""
    assert (done.returncode, done.stderr) == (0, ''), done
    return done.stdout.splitlines()


# --- ls ---


def test_ls_shows_keys_as_they_are_stored(run: Run, cache: diskcache.Cache, danger: Any) -> None:
    """What could be taken for another type stands in quotes; nothing is unpickled."""
    keys = ['text', '5', 5, 2.5, b'\x00a', ('a', 1, None), 'two\nlines', '', 'None', "'", 10**20]
    for key in (*keys, danger):
        cache[key] = 1
    *shown, last = lines(run('ls', cache.directory))
    assert shown == [
        *('text', "'5'", '5', '2.5', "b'\\x00a'", "('a', 1, None)", "'two\\nlines'", "''"),
        *("'None'", '"\'"', str(10**20)),
    ]
    assert last.startswith('<pickle, ')
    assert last.endswith(' bytes, names posix.mkdir>')
    assert not os.path.exists(danger.path)


def test_json_has_types_and_all_columns(ask: Any, run: Run, cache: diskcache.Cache) -> None:
    cache.set(b'\xff', 'x' * 50_000, expire=60, tag=7)
    cache['a', b'b'] = 1
    first, second = map(json.loads, lines(run('ls', '--json', cache.directory)))
    assert first['key'] == {'type': 'bytes', 'base64': '/w=='}
    assert first['tag'] == {'type': 'int', 'value': 7}
    assert (first['kind'], first['size'], first['shard']) == ('text', 50_000, '')
    assert Path(cache.directory, first['file']).stat().st_size == 50_000
    assert 50 < first['expires'] - first['stored'] < 70
    assert second['key'] == {'type': 'pickle', 'value': ['a', {'base64': 'Yg=='}]}
    assert (second['file'], second['expires'], second['tag']) == (None, None, None)


def test_ls_filters(call: Run, cache: diskcache.Cache) -> None:
    cache.set('a small', 'x', tag='red')
    cache.set('a large', 'x' * 2000, tag='7', expire=600)
    cache.set('b file', b'x' * 100_000, tag=7, expire=7200)
    cache.set('b old', 'x')
    cache.set('b gone', 'x' * 50, expire=-1)  # the next write would remove it
    cache._sql("UPDATE Cache SET store_time = store_time - 7200 WHERE key = 'b old'")

    def listed(*options: str) -> list[str]:
        return lines(call('ls', cache.directory, *options))

    assert listed('--tag', 'red') == ['a small']
    assert listed('--tag', '7') == ['a large', 'b file']
    assert listed('--prefix', 'a ') == ['a small', 'a large']
    assert listed('--expired') == ['b gone']
    assert listed('--expires-within', '15m') == ['a large']
    assert listed('--expires-within', '3h') == ['a large', 'b file']
    assert listed('--min-size', '2k') == ['a large', 'b file']
    assert listed('--min-size', '2k', '--max-size', '50kB') == ['a large']
    assert listed('--older-than', '1h') == ['b old']
    assert listed('--newer-than', '1h', '--prefix', 'b') == ['b file', 'b gone']
    assert listed('--sort', 'size', '--reverse', '--limit', '2') == ['b file', 'a large']
    assert listed('--sort', 'key', '--prefix', 'b') == ['b file', 'b gone', 'b old']
    assert listed('--limit', '0') == []


def test_long_lines(run: Run, cache: diskcache.Cache) -> None:
    cache.set('key', 'x' * 1234, expire=-5, tag='red')
    (line,) = lines(run('ls', '-l', cache.directory))
    size, unit, _, _, expired, kind, tag, key = line.split()
    assert (size, unit, expired, kind, tag, key) == ('1.23', 'kB', 'expired', 'text', 'red', 'key')


def test_of_a_fanout_cache_all_shards_are_listed(
    call: Run, shards: diskcache.FanoutCache, directory: str
) -> None:
    """A part has a directory of its own."""
    assert sorted(lines(call('ls', directory))) == sorted(f'key {n}' for n in range(40))
    shown = lines(call('ls', directory, '--sort', 'key', '--limit', '3'))
    assert shown == ['key 0', 'key 1', 'key 10']
    assert len(lines(call('ls', directory, '--tag', 'odd'))) == 20
    assert len(lines(call('ls', f'{directory}/deque/queue'))) == 3
    assert lines(call('ls', f'{directory}/index/of/names')) == ['Ada']


def test_of_a_json_disk_keys_are_its_texts(call: Run, directory: str) -> None:
    with diskcache.Cache(directory, disk=diskcache.JSONDisk) as cache:
        cache['name'] = {'a': [1]}
        cache[['list', 1]] = 2
    assert lines(call('ls', directory)) == ["'name'", "['list', 1]"]
    assert lines(call('ls', directory, '--prefix', 'na')) == ["'name'"]
    assert lines(call('get', directory, 'name')) == ["{'a': [1]}"]
    assert lines(call('get', directory, '--tuple', '["list", 1]')) == ['2']
    assert lines(call('set', directory, 'new', '--as', 'json', '[true]')) == []
    with diskcache.Cache(directory, disk=diskcache.JSONDisk) as cache:
        assert cache['new'] == [True]


def limited() -> None:
    """Leave a process 400 MB of address space."""
    resource.setrlimit(resource.RLIMIT_AS, (400 * 2**20, 400 * 2**20))


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_many_items_need_no_memory(run: Run, directory: str) -> None:
    """100,000 items, of 400 MB, in 400 MB of address space, sorted too."""
    with diskcache.Cache(directory, size_limit=2**40, cull_limit=0) as cache:
        cache.set_many((f'key {n:06d}', b'x' * 4000) for n in range(100_000))
    for options in ([], ['--sort', 'key'], ['--json']):
        done = run('ls', directory, *options, preexec_fn=limited)
        shown = lines(done)
        assert len(shown) == 100_000
    done = run('export', directory, 'export', preexec_fn=limited)
    assert done.stdout == 'items: 100,000, left out: 0\n'
    done = run('import', f'{directory}2', 'export', '--create', preexec_fn=limited)
    assert done.stdout.startswith('stored: 100,000, ')


def test_a_listing_keeps_no_reader(run: Run, cache: diskcache.Cache) -> None:
    """A pager that waits for somebody does not keep the log from being reset."""
    cache.set_many((f'{"long " * 20}{number}', 1) for number in range(5000))
    process = subprocess.Popen(
        command_of('ls', cache.directory), stdout=subprocess.PIPE, env=environment()
    )
    assert process.stdout.readline()
    for number in range(100):
        cache[number] = 'x' * 1000
    assert cache._sql('PRAGMA wal_checkpoint(TRUNCATE)').fetchone()[0] == 0
    process.stdout.close()
    process.wait()


def test_a_closed_pipe_ends_quietly(run: Run, cache: diskcache.Cache) -> None:
    cache.set_many((f'{"long " * 20}{number}', 1) for number in range(5000))
    process = subprocess.Popen(
        command_of('ls', cache.directory),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environment(),
    )
    process.stdout.readline()
    process.stdout.close()
    assert process.stderr.read() == b''
    assert process.wait() == 141


def test_ctrl_c_ends_quietly(cache: diskcache.Cache) -> None:
    process = subprocess.Popen(
        command_of('top', cache.directory, '--interval', '0.1'),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environment(),
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    process.stdout.readline()
    process.send_signal(signal.SIGINT)
    assert process.communicate()[1] == b''
    assert process.returncode == 130


# --- get ---


def test_get_writes_the_value_as_it_is(call: Run, cache: diskcache.Cache, danger: Any) -> None:
    blob = bytes(range(256)) * 1000
    cache['text'] = 'ü\nline'
    cache['large text'] = 'ü' * 100_000
    cache['bytes'], cache['file'] = blob[:256], blob
    cache[5], cache[2.5] = 10, 1e300
    cache['plain'] = {'a': [1, (2, None)], 'b': b'c'}
    cache['danger'] = danger
    for key, value in (
        ('text', 'ü\nline\n'.encode()),
        ('large text', b'\xc3\xbc' * 100_000 + b'\n'),
        ('bytes', blob[:256]),
        ('file', blob),
        ('plain', b"{'a': [1, (2, None)], 'b': b'c'}\n"),
    ):
        assert call('get', cache.directory, key, text=False).stdout == value
    assert call('get', cache.directory, '--int', '5').stdout == '10\n'
    assert call('get', cache.directory, '--float', '2.5').stdout == '1e+300\n'
    done = call('get', cache.directory, 'danger')
    assert 'names posix.mkdir' in done.stdout
    assert not os.path.exists(danger.path)
    raw = call('get', cache.directory, 'danger', '--raw', text=False).stdout
    assert raw == pickle.dumps(danger, pickle.HIGHEST_PROTOCOL)
    assert not os.path.exists(danger.path)
    assert call('get', cache.directory, 'danger', '--unpickle').returncode == 0
    assert os.path.exists(danger.path)


def test_a_key_that_would_run_code_is_not_loaded(
    run: Run, ask: Any, cache: diskcache.Cache, danger: Any
) -> None:
    cache[danger] = danger
    directory = cache.directory
    assert ask('ls', directory)['key']['names'] == ['posix.mkdir']
    for command in ('stats', 'info', 'check', 'top --once --interval 0.1', 'expire', 'compact'):
        name, *options = command.split()
        assert run(name, directory, *options).returncode == 0
    run('export', directory, 'export')
    assert run('import', f'{directory}2', 'export', '--create').returncode == 0
    assert run('backup', directory, 'copy').returncode == 0
    assert not os.path.exists(danger.path)


def test_keys_of_each_type(call: Run, cache: diskcache.Cache) -> None:
    keys = [5, 5.5, b'\x00\xff', '5', ('a', (1, 2.5), None, True)]
    given = [
        *(['--int', '5'], ['--float', '5.5'], ['--bytes', '00ff'], ['5']),
        ['--tuple', '["a", [1, 2.5], null, true]'],
    ]
    for number, (key, arguments) in enumerate(zip(keys, given, strict=True)):
        cache[key] = f'value {number}'
        assert lines(call('get', cache.directory, *arguments)) == [f'value {number}']
        assert call('delete', cache.directory, *arguments).returncode == 0
        assert key not in cache
        assert call('set', cache.directory, *arguments, 'again').returncode == 0
        assert cache[key] == 'again'


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        (['--int', 'five'], "'five' is no whole number"),
        (['--float', 'x'], "'x' is no number"),
        (['--bytes', 'xyz'], "'xyz' is no hexadecimal number of bytes"),
        (['--tuple', '{"a": 1}'], 'is no JSON list'),
        (['--tuple', '[' * 100_000], 'is no JSON list'),
        (['--float', 'nan'], 'this cannot be a key'),
    ],
)
def test_what_is_no_key_is_an_error(
    call: Run, cache: diskcache.Cache, arguments: list[str], message: str
) -> None:
    done = call('get', cache.directory, *arguments)
    assert done.returncode == 2
    assert message in done.stderr
    assert 'Traceback' not in done.stderr


def test_what_is_not_there_or_has_expired(run: Run, cache: diskcache.Cache) -> None:
    cache.set('gone', 1, expire=-1)
    for key in ('gone', 'never'):
        done = run('get', cache.directory, key)
        assert (done.returncode, done.stdout) == (1, '')
        assert done.stderr == f'diskcache: no such key: {key}\n'
    cache['file'] = b'x' * 50_000
    (path,) = Path(cache.directory).glob('*/*/*.val')
    path.write_bytes(b'short')
    done = run('get', cache.directory, 'file')
    assert (done.returncode, done.stdout) == (2, '')
    assert 'not whole' in done.stderr


def test_a_value_file_that_leads_elsewhere_is_not_read(
    call: Run, cache: diskcache.Cache, tmp_path: Path
) -> None:
    secret = tmp_path / 'secret'
    secret.write_bytes(b's' * 50_000)
    cache['file'] = b'x' * 50_000
    for name in ('../secret', str(secret), 'link'):
        Path(cache.directory, 'link').unlink(missing_ok=True)
        Path(cache.directory, 'link').symlink_to(secret)
        cache._sql('UPDATE Cache SET filename = ?', (name,))
        assert call('get', cache.directory, 'file').returncode == 2
        done = call('export', cache.directory, '-')
        assert (done.returncode, 's' * 50 in done.stdout) == (3, False)
        assert call('backup', cache.directory, f'copy {name[0] == "l"} {len(name)}').returncode == 3
    files = [path for path in tmp_path.rglob('*') if path.is_file() and not path.is_symlink()]
    assert [path for path in files if path.read_bytes()[:3] == b'sss'] == [secret]


# --- set and delete ---


def test_set(call: Run, cache: diskcache.Cache, tmp_path: Path) -> None:
    (tmp_path / 'file').write_bytes(b'\xff' * 70_000)
    for arguments, value in (
        (['text'], 'text'),
        (['--as', 'int', '5'], 5),
        (['--as', 'float', '2.5'], 2.5),
        (['--as', 'bytes', '00ff'], b'\x00\xff'),
        (['--as', 'json', '{"a": [1]}'], {'a': [1]}),
        (['--file', 'file'], b'\xff' * 70_000),
    ):
        done = call('set', cache.directory, 'key', *arguments, '--tag', 'red', '--expire', '1h')
        assert (done.returncode, done.stdout, done.stderr) == (0, '', '')
        found, expires, tag = cache.get('key', expire_time=True, tag=True)
        assert (found, tag) == (value, 'red')
        assert 3500 < expires - time.time() < 3700
    assert call('set', cache.directory, 'in', '-', input='ü'.encode()).returncode == 0
    assert cache['in'] == 'ü'
    done = call('set', cache.directory, 'in', '-', '--as', 'bytes', input=b'\xff', text=False)
    assert (done.returncode, cache['in']) == (0, b'\xff')
    done = call('set', cache.directory, 'in', '-', input=b'\xff', text=False)
    assert (done.returncode, cache['in']) == (2, b'\xff')
    done = call('set', cache.directory, 'in', 'other', '--add')
    assert (done.returncode, cache['in']) == (1, b'\xff')


def test_set_and_delete_find_the_shard(
    call: Run, shards: diskcache.FanoutCache, directory: str
) -> None:
    for number in range(10):
        done = call('set', directory, f'new {number}', 'x', '--json')
        assert json.loads(done.stdout) == {'stored': True}
    assert all(shards[f'new {number}'] == 'x' for number in range(10))
    done = call('delete', directory, 'new 1', 'key 1', 'never', '--json')
    assert (done.returncode, json.loads(done.stdout)) == (1, {'removed': 2})
    assert done.stderr == 'diskcache: no such key: never\n'
    assert 'key 1' not in shards


def test_nothing_is_written_in_another_form(call: Run, directory: str) -> None:
    """A Disk of a program's own has to be named."""

    class OwnDisk(diskcache.Disk):
        def store(self, *args: Any, **kwargs: Any) -> Any:
            return super().store(*args, **kwargs)

        def put(self, key: Any) -> Any:
            return super().put(f'own {key}')

    with diskcache.Cache(directory, disk=OwnDisk) as cache:
        cache['key'] = 1
    for command in (['set', directory, 'key', 'x'], ['get', directory, 'key']):
        done = call(*command)
        assert done.returncode == 2
        assert 'OwnDisk: name its class, --disk MODULE.CLASS' in done.stderr
    assert lines(call('ls', directory)) == ['own key']
    done = call('ls', directory, '--disk', 'no.such.Class')
    assert (done.returncode, done.stderr[:11]) == (2, 'diskcache: ')


def test_arguments_without_measure(call: Run, cache: diskcache.Cache) -> None:
    """Numbers that no database has, and bytes that are no text, are errors or find nothing."""
    cache['key'] = 'x'
    many = '9' * 400
    for arguments, status, shown in (
        (['ls', '--limit', many], 0, 'key\n'),
        (['ls', '--min-size', many], 0, ''),
        (['ls', '--max-size', many], 0, 'key\n'),
        (['ls', '--older-than', f'{many}w'], 0, ''),
        (['ls', '--newer-than', many], 0, 'key\n'),
        (['ls', '--tag', '\udcff'], 2, ''),
        (['ls', '--prefix', '\udcff'], 0, ''),
        (['get', '\udcff'], 2, ''),
        (['get', '--int', '9' * 30], 1, ''),
        (['get', '--int', '9' * 5000], 2, ''),
        (['set', 'a', '\udcff'], 2, ''),
        (['set', 'a', 'x', '--tag', '\udcff'], 2, ''),
        (['set', 'a', 'x', '--expire', many], 0, ''),
        (['delete', '\udcff'], 2, ''),
        (['evict', '\udcff'], 2, ''),
        (['evict', '--int', '9' * 30], 2, ''),
    ):
        name, *rest = arguments
        done = call(name, cache.directory, *rest)
        assert (done.returncode, done.stdout) == (status, shown), arguments


@pytest.mark.skipif(not os.path.exists('/dev/full'), reason='the system has no full device')
def test_a_full_disk_behind_the_output_is_an_error(cache: diskcache.Cache) -> None:
    cache['key'] = 'x' * 1000
    cache.set_many((f'{"long " * 20}{number}', 1) for number in range(2000))
    for arguments in (['ls'], ['get', 'key'], ['stats'], ['export', '-']):
        name, *rest = arguments
        with open('/dev/full', 'wb') as full:
            done = subprocess.run(
                command_of(name, cache.directory, *rest),
                stdout=full,
                stderr=subprocess.PIPE,
                env=environment(),
            )
        assert done.returncode == 2
        assert done.stderr == b'diskcache: [Errno 28] No space left on device\n'


# --- directories ---


def test_nothing_is_made_by_a_mistyped_directory(call: Run, tmp_path: Path) -> None:
    (tmp_path / 'empty').mkdir()
    for directory in ('nowhere', 'empty'):
        for command in (
            *('ls', 'get KEY', 'set KEY value', 'delete KEY', 'stats', 'info', 'check'),
            *('cull', 'expire', 'evict TAG', 'clear --yes', 'compact', 'export file'),
            *('backup copy', 'import file', 'top --once'),
        ):
            name, *arguments = command.split()
            done = call(name, directory, *arguments)
            assert done.returncode == 2, command
            assert done.stderr.startswith(
                ('diskcache: no such directory', 'diskcache: not a cache')
            )
    assert sorted(path.name for path in tmp_path.rglob('*')) == ['empty']


def everything(directory: str) -> dict[str, tuple[float, bytes]]:
    """Return the files of a directory: when they were changed, and what is in them."""
    paths = [path for path in Path(directory).rglob('*') if path.is_file()]
    return {str(path): (path.stat().st_mtime, path.read_bytes()) for path in paths}


SHOWING = ('ls -l', 'get key', 'stats', 'info', 'export -', 'top --once --interval 0.1')


def test_a_directory_of_the_original(
    call: Run, original: Interpreter, directory: str, tmp_path: Path
) -> None:
    """What only shows something does not write there; the copies open there."""

    def make(directory: str) -> None:
        with diskcache.Cache(directory) as cache:
            cache.set('key', 'x' * 100_000, tag='red')
            cache['tuple', 1] = [1]
        with diskcache.FanoutCache(directory + '8', shards=8) as cache:
            for number in range(30):
                cache[number] = number

    def read(directory: str) -> list[Any]:
        with diskcache.Cache(directory) as cache:
            found = [len(cache['key']), cache['tuple', 1], len(cache.check())]
        with diskcache.FanoutCache(directory + '8', shards=8) as cache:
            return [*found, sum(cache[number] for number in range(30)), len(cache.check())]

    original.run(make, directory=directory)
    before = everything(directory), everything(directory + '8')
    for command in SHOWING:
        name, *options = command.split()
        assert call(name, directory, *options).returncode == 0
    assert len(lines(call('ls', directory + '8'))) == 30
    assert (everything(directory), everything(directory + '8')) == before
    copy = str(tmp_path / 'copy')
    assert call('backup', directory, copy).returncode == 0
    assert call('backup', directory + '8', copy + '8').returncode == 0
    assert original.run(read, directory=copy) == [100_000, [1], 0, 435, 0]
    call('export', directory, 'export')
    call('export', directory + '8', 'export8')
    there = str(tmp_path / 'imported')
    assert call('import', there, 'export', '--create').returncode == 0
    assert call('import', there + '8', 'export8', '--create', '--shards', '8').returncode == 0
    assert original.run(read, directory=there) == [100_000, [1], 0, 435, 0]


def run_as_nobody(arguments: list[str], package: str) -> tuple[int, str]:
    """Run the command line as another user."""
    import argparse  # noqa: F401  all of it now: that user cannot read the package
    import contextlib
    import io

    import diskcache.check
    import diskcache.salvage  # noqa: F401
    from diskcache.cli import main, parser

    parser()

    def attempt() -> tuple[int, str]:
        os.setgroups([])
        os.setgid(65534)
        os.setuid(65534)
        out = io.TextIOWrapper(io.BytesIO(), 'utf-8')
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(out):
            status = main(arguments)
        out.flush()
        return status, out.buffer.getvalue().decode()

    return Child(attempt).result()  # noqa: F821


needs_root = pytest.mark.skipif(os.geteuid() != 0, reason='needs root')


@needs_root
def test_a_directory_that_cannot_be_written(alone: Interpreter, public_directory: str) -> None:
    """All that only shows something works; what would write says so."""
    with diskcache.Cache(public_directory, mode=0o755) as cache:
        cache.set('key', 'x' * 50_000)
    target = os.path.join(os.path.dirname(public_directory), 'copies')
    os.mkdir(target)
    os.chmod(target, 0o777)
    before = everything(public_directory)

    def attempt(*arguments: str) -> tuple[int, str]:
        return alone.run(run_as_nobody, arguments=list(arguments), package='')

    for command in ('ls -l', 'get key', 'stats', 'info', 'top --once --interval 0.1'):
        name, *options = command.split()
        status, text = attempt(name, public_directory, *options)
        assert status == 0, text
    assert attempt('backup', public_directory, f'{target}/copy')[0] == 0
    assert attempt('export', public_directory, f'{target}/export')[0] == 0
    for command in ('set a b', 'delete key', 'clear', 'cull', 'compact', 'check --fix'):
        name, *options = command.split()
        status, text = attempt(name, public_directory, *options)
        assert status == 2, (command, text)
        # Beside it stands what is logged, where that user can read the module logging.
        assert any(line.startswith('diskcache: ') for line in text.splitlines()), (command, text)
    assert everything(public_directory) == before


@needs_root
def test_a_directory_that_cannot_be_read(alone: Interpreter, public_directory: str) -> None:
    diskcache.Cache(public_directory).close()
    for name in ('ls', 'stats', 'check', 'clear', 'info'):
        status, text = alone.run(run_as_nobody, arguments=[name, public_directory], package='')
        assert status == 2
        assert 'Permission denied' in text


def test_a_damaged_directory(call: Run, cache: diskcache.Cache) -> None:
    """No command ends in a traceback, whatever the columns have; nor if there is no database."""
    names = ('key', 'raw', 'store_time', 'expire_time', 'access_count', 'tag', 'mode', 'value')
    for number, name in enumerate(names):
        cache[number] = 'x'
        cache._sql(f"UPDATE Cache SET {name} = x'80fe' WHERE key = ?", (number,))
        cache[100 + number] = 'x'
        cache._sql(f"UPDATE Cache SET {name} = 'text' WHERE key = ?", (100 + number,))
    cache['text'] = 'x'
    cache._sql("UPDATE Cache SET value = CAST(x'ff' AS TEXT) WHERE key = 'text'")
    cache['file'] = b'x' * 50_000
    cache._sql("UPDATE Cache SET filename = x'ff', size = 'y' WHERE key = 'file'")
    cache['signed'] = b'x'
    cache._sql("UPDATE Cache SET mode = 17 WHERE key = 'signed'")
    commands = [
        *('ls', 'ls -l', 'ls --json', 'ls --sort size', 'stats', 'info', 'get file', 'get text'),
        *('get signed', 'get --int 7', 'export -', 'top --once --interval 0.1'),
    ]
    cache.close()
    for command in commands:
        name, *options = command.split()
        done = call(name, cache.directory, *options, text=False)
        assert b'Traceback' not in done.stderr, (command, done.stderr.decode())
    Path(cache.directory, 'cache.db').write_bytes(b'garbage ' * 1000)
    for command in (*commands, 'set a b', 'delete a', 'clear', 'cull', 'compact', 'backup copy'):
        name, *options = command.split()
        done = call(name, cache.directory, *options)
        assert done.returncode == 2, command
        assert done.stderr == 'diskcache: file is not a database\n'
    assert not Path(cache.directory).with_name('copy').exists()


def test_a_log_that_a_killed_process_left_is_read(
    run: Run, alone: Interpreter, directory: str
) -> None:
    def fill(directory: str) -> None:
        globals()['kept'] = diskcache.Cache(directory)
        globals()['kept']['key'] = 'value'

    alone.run(fill, directory=directory)
    alone.kill()
    assert lines(run('get', directory, 'key')) == ['value']
    os.remove(f'{directory}/cache.db-shm')
    assert lines(run('ls', directory)) == ['key']


# --- pickles that are shown without loading them ---


@pytest.mark.parametrize(
    'found',
    [
        *(None, True, (), [], {}, (1, 'a', 2.5, b'b', None), [[1], [2]], {'a': {1: (2,)}}),
        *(10**30, -1, 300, 'x' * 300, b'x' * 300, list(range(2000)), 'a' * 70_000, (('a', 'a'),)),
    ],
)
def test_a_literal_is_what_was_pickled(found: Any) -> None:
    for protocol in range(2, pickle.HIGHEST_PROTOCOL + 1):
        if not (protocol == 2 and 'b' in repr(found)[:30]):  # old bytes call a function
            assert literal(pickle.dumps(found, protocol)) == found


def nested(depth: int) -> Any:
    """Return a tuple that shows as many objects as 2 ** depth."""
    found: Any = ()
    for _ in range(depth):
        found = found, found
    return found


looped: list[Any] = []
looped.append(looped)


@pytest.mark.parametrize(
    'data',
    [
        *(pickle.dumps(value) for value in (nested(40), looped, {1}, Path('a'), 1j)),
        *(b'', b'\x80', b'.', b'N', b'NN.', b'(.', b't.', b'\x80\x04K\x01a.', b'}Na.', b'h\x05.'),
        *(b'](e.', b'N(\x94.', b'\x8d' + b'\xff' * 8 + b'.', b'K' * 100, b'}(NNNu.', b'}]Ns.'),
        pickle.dumps('x' * 3_000_000),
    ],
)
def test_anything_else_is_no_literal(data: bytes) -> None:
    if data != b'](e.':  # which is right: nothing is appended
        with pytest.raises(NoLiteralError):
            literal(data)


def test_texts_that_could_be_something_else_are_quoted() -> None:
    for text in ('a', 'a b', 'ü', 'key:1', 'a"b'):
        assert quoted(text) == text
    for text in (
        '',
        '1',
        '-1',
        '1e5',
        'nan',
        'None',
        '(1,)',
        '[a',
        '{',
        '<x',
        "b'a'",
        'a ',
        '\x1b',
    ):
        assert quoted(text) == repr(text)


def test_a_terminal_is_not_harmed(on_terminal: Any, cache: diskcache.Cache) -> None:
    """What a value, a key or a tag has in it cannot command the terminal."""
    cache.set('\x1b[31mred', '\x1b]0;title\x07', tag='\x1b[5m')
    cache.set('bytes', b'\x1b[31m')
    for command in (['ls', '-l'], ['get', '\x1b[31mred'], ['get', 'bytes'], ['stats']):
        name, *options = command
        status, shown = on_terminal(name, cache.directory, *options)
        assert status == 0
        assert '\x1b]0' not in shown
        assert '\x1b[5m' not in shown
        assert '\x1b[31m' not in shown


def test_a_reader_beside_writers_misses_nothing(call: Run, directory: str) -> None:
    """A value whose file is removed while it is opened has been replaced by another."""
    stop = threading.Event()

    def write() -> None:
        with diskcache.Cache(directory) as cache:
            number = 0
            while not stop.is_set():
                number += 1
                cache['key'] = str(number).encode() * 20_000

    diskcache.Cache(directory).set('key', b'0' * 20_000)
    writer = threading.Thread(target=write)
    writer.start()
    try:
        for _ in range(5):
            assert call('get', directory, 'key').returncode == 0
            assert call('export', directory, '-').returncode == 0
    finally:
        stop.set()
        writer.join()


def test_the_database_is_not_locked_by_what_shows(
    run: Run, cache: diskcache.Cache, locked: Any
) -> None:
    cache['key'] = 'value'
    with locked():
        assert lines(run('get', cache.directory, 'key')) == ['value']
        assert lines(run('ls', cache.directory)) == ['key']
    assert sqlite3.connect(f'{cache.directory}/cache.db').execute('SELECT 1').fetchone() == (1,)


def test_numbers_too_long_for_json_are_texts(call: Run, ask: Any, cache: diskcache.Cache) -> None:
    cache[10**5000,] = -(10**5000)
    cache['longest'] = 2**2047
    done = call('ls', cache.directory, '--json')
    first, _ = map(json.loads, done.stdout.splitlines())
    assert first['key'] == {'type': 'pickle', 'value': [hex(10**5000)]}
    assert ask('get', cache.directory, 'longest')['value']['value'] == 2**2047


def test_what_cannot_be_shown_is_an_error(call: Run, cache: diskcache.Cache) -> None:
    itself: list[Any] = []
    itself.append(itself)
    cache['long'] = 10**5000
    cache['itself'] = itself
    for arguments in (['long', '--unpickle'], ['itself', '--unpickle', '--json']):
        done = call('get', cache.directory, *arguments)
        assert (done.returncode, done.stdout) == (2, '')
        assert 'it cannot be loaded' in done.stderr


@pytest.mark.parametrize(
    ('arguments', 'status'),
    [
        (['ls'], 0),
        (['stats'], 0),
        (['info'], 0),
        (['check'], 0),
        (['get', 'key'], 0),
        (['get', 'missing'], 1),
        (['export', 'file'], 0),
        (['export', '-'], 0),
        (['import', '-'], 2),
        (['import', 'file'], 2),
        (['clear'], 0),
    ],
)
def test_standard_streams_that_are_closed_from_the_beginning(
    cache: diskcache.Cache, tmp_path: Path, arguments: list[str], status: int
) -> None:
    cache['key'] = 1
    (tmp_path / 'file').touch()
    name, *others = arguments
    process = subprocess.run(
        command_of(name, cache.directory, *others),
        cwd=tmp_path,
        env=environment(),
        preexec_fn=lambda: os.closerange(0, 3),
    )
    assert process.returncode == status


def test_nothing_is_told_on_standard_output_if_standard_error_is_closed(
    cache: diskcache.Cache,
) -> None:
    process = subprocess.run(
        command_of('get', cache.directory, 'missing'),
        env=environment(),
        stdout=subprocess.PIPE,
        preexec_fn=lambda: os.close(2),
    )
    assert (process.returncode, process.stdout) == (1, b'')


def test_settings_write_no_escapes_to_a_terminal(call: Run, cache: diskcache.Cache) -> None:
    cache._sql("INSERT INTO Settings VALUES ('name' || char(27) || '[2J', char(27) || '[2J')")
    assert 'name\\x1b[2J: \\x1b[2J\n' in call('info', cache.directory).stdout


@pytest.mark.parametrize(('value', 'shown'), [(2.5, '2.5'), (-7, '-7'), ('text', 'text')])
def test_a_value_that_is_signed_is_shown(call: Run, directory: str, value: Any, shown: str) -> None:
    disk = diskcache.SignedDisk.with_keys(b'k' * 16)
    with diskcache.Cache(directory, disk=disk) as cache:
        cache['a'] = value
    assert call('get', directory, 'a').stdout == f'{shown}\n'
