"""``export`` and ``import``."""

from __future__ import annotations

import base64
import datetime
import json
import os
import pickle
import signal
import subprocess
import time
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from command_line import command_of, environment
from consistency import report_texts, stored_filenames, value_files

import diskcache

Run = Callable[..., subprocess.CompletedProcess[str]]

#: What a Cache can have, by key.
CONTENT: dict[Any, Any] = {
    **{'text': 'ü\n', 5: 7, 2.5: float('inf'), b'\xff': b'\x00', '5': 'five', 10**30: -(10**40)},
    **{('a', 1, None): {'b': [1, (2,)]}, 'None': None, 'long text': 'ü€\x00' * 100_000},
    **{'long bytes': bytes(range(256)) * 3000, 'long pickle': list(range(200_000))},
    **{'file': b'x' * 40_000, 'text file': 'x' * 40_000, 'empty': '', b'': b'', -1: -(2**63)},
    **{'set': {1, 2}, 'complex': 1j, 'largest': 2**63 - 1, 1e300: 5e-324},
}


def line(fields: Any) -> bytes:
    """Return a line of an export."""
    body = json.dumps(fields).encode()[1:]
    return b'{"crc":"%08x",%s\n' % (zlib.crc32(body), body)


HEADER = {
    **{'format': 'diskcache-export', 'version': 1, 'disk': 'diskcache.core.Disk'},
    **{'items': 1, 'created': 0.0},
}
ITEM = {'key': {'text': 'key'}, 'value': {'text': 'value'}, 'stored': 1.0}
END = {'end': True, 'items': 1}


def columns(cache: diskcache.Cache) -> list[tuple[Any, ...]]:
    """Return the rows of a cache but for the names of files."""
    select = (
        'SELECT key, raw, store_time, expire_time, access_time, access_count, tag, size, mode,'
        ' value FROM Cache ORDER BY key, raw'
    )
    return cache._sql(select).fetchall()


def test_all_comes_back_as_it_was(call: Run, cache: diskcache.Cache, tmp_path: Path) -> None:
    """Keys, values, tags, times and counts, in files and not, byte for byte."""
    cache.reset('eviction_policy', 'least-frequently-used')
    tags = [None, 'red', 5, 2.5, b'\x00']
    for number, (key, value) in enumerate(CONTENT.items()):
        cache.set(key, value, expire=[None, 600, 1e9][number % 3], tag=tags[number % 5])
    for key in list(CONTENT)[:10]:
        cache.get(key)
    cache._sql('SELECT 1')
    done = call('export', cache.directory, 'file')
    assert done.stdout == f'items: {len(CONTENT)}, left out: 0\n'
    done = call('import', 'there', 'file', '--create')
    assert (done.returncode, done.stderr) == (0, '')
    assert done.stdout.startswith(f'stored: {len(CONTENT)}, replaced: 0, kept: 0, ')
    with diskcache.Cache(tmp_path / 'there') as there:
        assert {key: there[key] for key in there} == CONTENT
        assert report_texts(there) == []
        assert value_files(there.directory) == stored_filenames(there)
        for mine, other in zip(columns(cache), columns(there), strict=True):
            assert mine == other
    assert [json.loads(each)['crc'] for each in (tmp_path / 'file').read_text().splitlines()]


def test_through_a_pipe_into_shards(call: Run, shards: Any, directory: str, tmp_path: Path) -> None:
    """Each item goes to the shard in which it is looked for, whatever its key's type."""
    for key, value in CONTENT.items():
        shards[key] = value
    exported = call('export', directory, '-', text=False)
    assert (exported.returncode, exported.stderr) == (0, b'')
    done = call(
        'import', 'there', '-', '--create', '--shards', '3', input=exported.stdout, text=False
    )
    assert done.returncode == 0
    with diskcache.FanoutCache(tmp_path / 'there', shards=3) as there:
        assert {key: there[key] for key in there} == {key: shards[key] for key in shards}
        assert len({shard.directory for shard in there._all_shards() if len(shard)}) == 3


def test_two_caches_are_merged(call: Run, ask: Any, cache: diskcache.Cache, tmp_path: Path) -> None:
    with diskcache.Cache(tmp_path / 'other') as other:
        other.set('both', 'x' * 50_000, tag='other')
        other['older'], other['mine'], other['gone'] = 'other', 'other', 'other'
        cache['both'], cache['older'] = b'y' * 50_000, b'y' * 50_000
        cache.set('gone', 'old', expire=-1)
        other._sql("UPDATE Cache SET store_time = store_time - 1000 WHERE key = 'older'")
        cache._sql("UPDATE Cache SET store_time = store_time - 100 WHERE key = 'both'")
    call('export', 'other', 'file')
    none = {'stored': 0, 'replaced': 0, 'kept': 0, 'expired': 0, 'left_out': 0}
    told = ask('import', cache.directory, 'file', '--on-conflict', 'keep')
    assert told == {**none, 'stored': 1, 'replaced': 1, 'kept': 2}
    assert (cache['mine'], cache['gone']) == ('other', 'other')
    assert cache['both'] == cache['older'] == b'y' * 50_000
    told = ask('import', cache.directory, 'file', '--on-conflict', 'newer')
    assert told == {**none, 'replaced': 1, 'kept': 3}
    assert cache.get('both', tag=True) == ('x' * 50_000, 'other')
    assert cache['older'] == b'y' * 50_000
    assert ask('import', cache.directory, 'file') == {**none, 'replaced': 4}
    assert cache['older'] == 'other'
    assert report_texts(cache) == []
    assert value_files(cache.directory) == stored_filenames(cache)


def test_another_process_that_has_read_an_item_sees_the_import(
    run: Run, cache: diskcache.Cache
) -> None:
    """It does not go on with what it has in memory."""
    cache['key'] = 'new'
    run('export', cache.directory, 'file')
    cache['key'] = 'old'
    assert cache['key'] == 'old'
    assert run('import', cache.directory, 'file').returncode == 0
    assert cache['key'] == 'new'


def test_an_import_keeps_to_the_size_limit(call: Run, cache: diskcache.Cache) -> None:
    cache.set_many((number, bytes(40_000)) for number in range(100))
    call('export', cache.directory, 'file')
    with diskcache.Cache(cache.directory + '2', size_limit=1_000_000) as small:
        assert call('import', small.directory, 'file').returncode == 0
        assert small.volume() <= 1_100_000
        assert report_texts(small) == []
        assert value_files(small.directory) == stored_filenames(small)


def test_where_nothing_may_be_lost_files_are_synced_first(
    call: Run, cache: diskcache.Cache, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With ``sqlite_synchronous=2``: each file, and the directories that lead to it."""
    cache['large'], cache['small'] = bytes(50_000), 1
    call('export', cache.directory, 'file')
    synced = []
    fsync = os.fsync

    def record(descriptor: int) -> None:
        synced.append(os.readlink(f'/proc/self/fd/{descriptor}'))
        fsync(descriptor)

    for synchronous, count in ((1, 0), (2, 4)):
        directory = str(tmp_path / f'there {synchronous}')
        diskcache.Cache(directory, sqlite_synchronous=synchronous).close()
        monkeypatch.setattr(os, 'fsync', record)
        assert call('import', directory, 'file').returncode == 0
        monkeypatch.undo()
        assert len(synced) == count
    assert synced[0].endswith('.val')
    assert synced[-1] == directory


def test_expired_items_stay_behind(run: Run, ask: Any, cache: diskcache.Cache) -> None:
    cache.set('gone', 1, expire=-1)
    cache.set('soon', 1, expire=3600)
    assert ask('export', cache.directory, 'file') == {'items': 1, 'left_out': 0}
    past = {**ITEM, 'expires': time.time() - 1}
    Path(cache.directory, '../file').write_bytes(line(HEADER) + line(past) + line(END))
    told = ask('import', cache.directory, 'file')
    assert (told['stored'], told['expired']) == (0, 1)


# --- between Disks ---


def test_to_a_json_disk_and_back(
    call: Run, ask: Any, cache: diskcache.Cache, tmp_path: Path
) -> None:
    """Pickles of plain objects need not be loaded."""
    cache.set('list', [1, 'a'], tag='red', expire=600)
    cache['text'], cache['path'], cache['bytes'] = 'x' * 300_000, Path('a'), b'\xff'
    call('export', cache.directory, 'file')
    with diskcache.Cache(tmp_path / 'json', disk=diskcache.JSONDisk):
        pass
    done = call('import', 'json', 'file')
    assert done.returncode == 3
    assert done.stdout.startswith('stored: 2, ')
    assert 'left out: item 3: ' in done.stderr
    with diskcache.Cache(tmp_path / 'json', disk=diskcache.JSONDisk) as there:
        assert there.get('list', tag=True) == ([1, 'a'], 'red')
        assert there['text'] == 'x' * 300_000
    assert ask('export', 'json', 'back') == {'items': 2, 'left_out': 0}
    done = call('import', 'json2', 'back', '--create')
    assert done.returncode == 0
    with diskcache.Cache(tmp_path / 'json2', disk=diskcache.JSONDisk) as there:
        assert there['list'] == [1, 'a']
    cache.clear()
    assert call('import', cache.directory, 'back').returncode == 0
    assert cache.get('list', tag=True) == ([1, 'a'], 'red')
    assert cache['text'] == 'x' * 300_000


SITE_DISK = """
import diskcache
class SiteDisk(diskcache.SignedDisk):
    keys = (b'k' * 32,)
"""


def test_out_of_a_signed_directory_and_into_another(
    run: Run, directory: str, tmp_path: Path
) -> None:
    """Signatures hold in their directory alone, so items are loaded, and signed anew."""
    (tmp_path / 'site_disk.py').write_text(SITE_DISK)
    names: dict[str, Any] = {}
    exec(SITE_DISK, names)
    signed = names['SiteDisk']
    paths = {**environment(), 'PYTHONPATH': f'{environment()["PYTHONPATH"]}:{tmp_path}'}
    with diskcache.Cache(directory, disk=signed) as cache:
        cache['list'] = [1, (2,)]
        cache['file'] = b'x' * 300_000
        cache._sql("UPDATE Cache SET value = value || 'x' WHERE key = 'list'")
        cache['list'] = [1, (2,)]
        cache['text'] = 'a'
        cache._sql("UPDATE Cache SET tag = 'changed' WHERE key = 'text'")
    assert run('export', directory, 'file').returncode == 3
    done = run('export', directory, 'file', '--unpickle', '--disk', 'site_disk.SiteDisk', env=paths)
    assert (done.returncode, done.stdout) == (3, 'items: 2, left out: 1\n')
    with diskcache.Cache(tmp_path / 'there', disk=signed) as cache:
        cache['mine'] = 1
    assert run('import', 'there', 'file').returncode == 2
    done = run('import', 'there', 'file', '--disk', 'site_disk.SiteDisk', env=paths)
    assert (done.returncode, done.stderr) == (0, '')
    with diskcache.Cache(tmp_path / 'there', disk=signed) as cache:
        assert cache['list'] == [1, (2,)]
        assert cache['file'] == b'x' * 300_000


def test_pickles_can_be_left_out(run: Run, ask: Any, cache: diskcache.Cache, danger: Any) -> None:
    cache['danger'], cache['text'], cache['a', 1] = danger, 'x', 1
    run('export', cache.directory, 'file')
    told = ask('import', 'there', 'file', '--create', '--no-pickles', status=3)
    assert (told['stored'], told['left_out']) == (1, 2)
    assert not os.path.exists(danger.path)


# --- what is damaged, or made to do harm ---


def changed(data: bytes, place: int) -> bytes:
    return data[:place] + bytes([data[place] ^ 0x01]) + data[place + 1 :]


def test_no_damage_goes_unnoticed(cache: diskcache.Cache, tmp_path: Path) -> None:
    """Each byte that is changed, and each cut; nothing is stored then."""
    from diskcache.cli.export_format import DamagedError, Reader

    cache['key'], cache['b'] = 'value', b'\xff'
    cache['parts'] = bytes(200_000)
    from diskcache.cli import main

    file = tmp_path / 'file'
    assert main(['export', cache.directory, str(file)]) == 0
    data = file.read_bytes()
    places = [*range(800), *range(800, len(data), 997), *range(len(data) - 100, len(data))]
    path = tmp_path / 'damaged'
    for damaged in (
        *(changed(data, place) for place in places),
        *(data[:place] for place in places),
        *(data + more for more in (b'\n', b'x', line(END))),
        b'',
    ):
        path.write_bytes(damaged)
        with open(path, 'rb') as opened, pytest.raises(DamagedError):
            list(Reader(opened).records())


def test_a_line_that_is_missing_or_twice_is_noticed(
    call: Run, cache: diskcache.Cache, tmp_path: Path
) -> None:
    for number in range(5):
        cache[number] = 'x'
    cache['parts'] = bytes(500_000)
    call('export', cache.directory, 'file')
    lines = (tmp_path / 'file').read_bytes().splitlines(keepends=True)
    assert len(lines) == 1 + 5 + 1 + 3 + 1
    for number in range(len(lines)):
        for kept in ([], [lines[number]] * 2):
            damaged = [*lines[:number], *kept, *lines[number + 1 :]]
            (tmp_path / 'damaged').write_bytes(b''.join(damaged))
            done = call('import', cache.directory, 'damaged', '--on-conflict', 'keep')
            assert done.returncode == 2, number
            assert done.stderr.endswith('; nothing has been stored\n')


def test_what_came_through_a_pipe_before_the_damage_stays(
    run: Run, cache: diskcache.Cache, tmp_path: Path
) -> None:
    cache.set_many((number, 'x' * 1000) for number in range(700))
    cache['parts'] = bytes(500_000)
    data = run('export', cache.directory, '-', text=False).stdout
    done = run('import', 'there', '-', '--create', input=data[:-300_000], text=False)
    assert done.returncode == 2
    assert b'it is cut short; stored until then: 700 items' in done.stderr
    with diskcache.Cache(tmp_path / 'there') as there:
        assert len(there) == 700
        assert report_texts(there) == []
        assert value_files(there.directory) == set()


def test_an_export_that_is_killed_has_no_name_yet(
    cache: diskcache.Cache, run: Run, tmp_path: Path
) -> None:
    """An export that is there is whole; and one through a pipe tells that it is not."""
    cache.set_many((number, bytes(30_000)) for number in range(3000))
    process = subprocess.Popen(
        command_of('export', cache.directory, 'file'), cwd=tmp_path, env=environment()
    )
    while not any(
        path.name.startswith('.file-') and path.stat().st_size for path in tmp_path.iterdir()
    ):
        time.sleep(0.001)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not (tmp_path / 'file').exists()
    (left,) = tmp_path.glob('.file-*')
    done = run('import', 'there', left, '--create')
    assert done.returncode == 2
    assert 'nothing has been stored' in done.stderr
    assert not (tmp_path / 'there').exists()


@pytest.mark.parametrize('place', range(5))
def test_an_interrupted_import_leaves_no_file_without_a_row(
    run: Run, cache: diskcache.Cache, tmp_path: Path, place: int
) -> None:
    """What has been stored until then stays."""
    cache.set_many((number, bytes(40_000 + number)) for number in range(2000))
    run('export', cache.directory, 'file')
    diskcache.Cache(tmp_path / 'there').close()
    process = subprocess.Popen(
        command_of('import', 'there', 'file'),
        cwd=tmp_path,
        env=environment(),
        stderr=subprocess.PIPE,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    with diskcache.Cache(tmp_path / 'there') as there:
        while len(value_files(there.directory)) <= 40 * place:
            time.sleep(0.001)
        process.send_signal(signal.SIGINT)
        assert b'Traceback' not in process.communicate()[1]
        assert process.returncode == 130
        assert value_files(there.directory) == stored_filenames(there)
        assert report_texts(there) == []


def b64(data: bytes) -> str:
    return base64.b64encode(data).decode()


@pytest.mark.parametrize(
    'lines',
    [
        [{**HEADER, 'format': 'other'}, END],
        [{**HEADER, 'version': 2}, END],
        [{**HEADER, 'disk': 5}, END],
        [{**HEADER, 'items': -1}, END],
        [ITEM, END],
        [HEADER, {**ITEM, 'key': None}, END],
        [HEADER, {**ITEM, 'key': {}}, END],
        [HEADER, {**ITEM, 'key': {'text': 5}}, END],
        [HEADER, {**ITEM, 'key': {'text': '\ud800'}}, END],
        [HEADER, {**ITEM, 'key': {'int': 2**63}}, END],
        [HEADER, {**ITEM, 'key': {'int': True}}, END],
        [HEADER, {**ITEM, 'key': {'int': 1.5}}, END],
        [HEADER, {**ITEM, 'key': {'float': 'nan'}}, END],
        [HEADER, {**ITEM, 'key': {'float': 5}}, END],
        [HEADER, {**ITEM, 'key': {'bytes': '?'}}, END],
        [HEADER, {**ITEM, 'key': {'bytes': 5}}, END],
        [HEADER, {**ITEM, 'key': {'nothing': 5}}, END],
        [HEADER, {**ITEM, 'tag': {'pickle': b64(b'N.')}}, END],
        [HEADER, {**ITEM, 'tag': None}, END],
        [HEADER, {**ITEM, 'stored': 'now'}, END],
        [HEADER, {**ITEM, 'stored': True}, END],
        [HEADER, {**ITEM, 'stored': float('nan')}, END],
        [HEADER, {**ITEM, 'expires': 10**400}, END],
        [HEADER, {**ITEM, 'count': -1}, END],
        [HEADER, {**ITEM, 'value': {'type': 'int', 'size': 1}}, END],
        [HEADER, {**ITEM, 'value': {'type': 'text', 'size': 0}}, END],
        [HEADER, {**ITEM, 'value': {'type': 'text', 'size': -5}}, END],
        [HEADER, {**ITEM, 'value': {'type': 'text', 'size': 2**70}}, END],
        [HEADER, {**ITEM, 'value': {'type': 'bytes', 'size': 2}}, {'part': b64(b'abc')}, END],
        [HEADER, {**ITEM, 'value': {'type': 'bytes', 'size': 2}}, {'part': b64(b'a')}, END],
        [HEADER, {**ITEM, 'value': {'type': 'bytes', 'size': 2}}, {'part': ''}, END],
        [HEADER, {'part': b64(b'a')}, END],
        [HEADER, {'broken': 'x'}, END],
        [HEADER, {'end': True}],
        [HEADER, ITEM, {'end': True, 'items': 2}],
        [HEADER, ITEM, END, ITEM],
        [HEADER, HEADER, END],
        [HEADER, {}],
    ],
)
def test_wrong_fields_are_damage(lines: list[Any], directory: str, tmp_path: Path) -> None:
    """Also where the checksums are right."""
    from diskcache.cli.export_format import DamagedError, Reader

    path = tmp_path / 'file'
    path.write_bytes(b''.join(map(line, lines)))
    with open(path, 'rb') as file, pytest.raises(DamagedError):
        list(Reader(file).records())


def test_hostile_lines_end_in_an_error(run: Run, cache: diskcache.Cache, tmp_path: Path) -> None:
    """Nesting, numbers without end and lines without end are refused, in little memory."""
    import resource

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_AS, (600 * 2**20, 600 * 2**20))

    for fields, message in (
        (b'"key":' + b'[' * 100_000 + b'}', 'it is no JSON'),
        (b'"key":{"int":' + b'9' * 1_000_000 + b'},"value":{"int":1},"stored":1}', ''),
        (b'"a":"' + b'x' * 50_000_000 + b'"}', 'it is too long'),
        (b'"key":"\xff"}', 'it is no JSON'),
    ):
        body = b'{"crc":"%08x",%s\n' % (zlib.crc32(fields), fields)
        (tmp_path / 'file').write_bytes(line(HEADER) + body + line(END))
        done = run('import', cache.directory, 'file', preexec_fn=limit)
        assert done.returncode == 2
        assert done.stderr.startswith(f'diskcache: line 2: {message}'), done.stderr
        assert done.stderr.count('\n') == 1
    assert len(cache) == 0


def test_the_file_is_no_export(call: Run, cache: diskcache.Cache, tmp_path: Path) -> None:
    for data in (b'', b'\n', b'{}', b'PK\x03\x04' * 1000, pickle.dumps('x')):
        (tmp_path / 'file').write_bytes(data)
        assert call('import', cache.directory, 'file').returncode == 2
    assert call('import', cache.directory, 'nowhere').returncode == 2
    done = call('import', cache.directory, 'file', '--create')
    assert 'line 1: ' in done.stderr


def test_create_makes_no_cache_where_something_is(
    call: Run, cache: diskcache.Cache, tmp_path: Path
) -> None:
    call('export', cache.directory, 'file')
    (tmp_path / 'full').mkdir()
    (tmp_path / 'full' / 'x').touch()
    for place in ('full', 'file', cache.directory):
        done = call('import', place, 'file', '--create')
        assert (done.returncode, 'it is there already' in done.stderr) == (2, True)
    assert call('import', cache.directory, 'file', '--shards', '2').returncode == 2
    assert [path.name for path in (tmp_path / 'full').iterdir()] == ['x']


def test_a_value_that_cannot_be_read_is_left_out(
    run: Run, cache: diskcache.Cache, tmp_path: Path
) -> None:
    cache['file'], cache['other'] = bytes(300_000), 1
    (path,) = Path(cache.directory).glob('*/*/*.val')
    path.unlink()
    done = run('export', cache.directory, 'file')
    assert (done.returncode, done.stdout) == (3, 'items: 1, left out: 1\n')
    assert done.stderr == 'diskcache: left out: row 1: its value file is not there, or not whole\n'
    broken = {**ITEM, 'value': {'type': 'bytes', 'size': 10}}
    (tmp_path / 'file').write_bytes(
        b''.join(map(line, [HEADER, broken, {'part': b64(b'12345')}, {'broken': 'why'}, ITEM, END]))
    )
    done = run('import', 'there', 'file', '--create')
    assert (done.returncode, done.stdout[:9]) == (3, 'stored: 1')
    assert done.stderr == 'diskcache: left out: item 1: why\n'
    with diskcache.Cache(tmp_path / 'there') as there:
        assert value_files(there.directory) == set()


def test_an_export_is_not_for_a_terminal(on_terminal: Any, cache: diskcache.Cache) -> None:
    status, shown = on_terminal('export', cache.directory, '-')
    assert (status, 'not for a terminal' in shown) == (2, True)


def test_only_its_owner_can_read_an_export(
    run: Run, cache: diskcache.Cache, tmp_path: Path
) -> None:
    run('export', cache.directory, 'file')
    assert (tmp_path / 'file').stat().st_mode & 0o777 == 0o600


def test_a_link_is_not_replaced_by_an_export(
    run: Run, cache: diskcache.Cache, tmp_path: Path
) -> None:
    (tmp_path / 'below').mkdir()
    (tmp_path / 'link').symlink_to('below/file')
    for _ in range(2):  # a link that leads to nothing yet, and to a file
        assert run('export', cache.directory, 'link').returncode == 0
        assert (tmp_path / 'link').is_symlink()
        assert (tmp_path / 'below' / 'file').read_bytes().startswith(b'{"crc":')


def test_an_export_goes_into_no_cache(run: Run, cache: diskcache.Cache, tmp_path: Path) -> None:
    (tmp_path / 'link').symlink_to(cache.directory)
    for file in (f'{cache.directory}/cache.db', 'link/file'):
        assert run('export', cache.directory, file).returncode == 2
    assert report_texts(cache) == []


def test_a_key_and_a_tag_that_do_not_fit_into_a_line_are_left_out(
    call: Run, ask: Any, cache: diskcache.Cache
) -> None:
    longest = '\U0001f600' * 2**19
    cache.set(longest, 1, tag=longest)
    cache.set('key', 1, tag=longest[:-3])
    cache.set(longest, 1, tag=longest)
    assert ask('export', cache.directory, 'file', status=3) == {'items': 1, 'left_out': 1}
    assert ask('import', 'there', 'file', '--create')['stored'] == 1


def test_an_export_writes_no_escapes_to_a_terminal(
    call: Run, cache: diskcache.Cache, tmp_path: Path
) -> None:
    part = {'value': {'type': 'bytes', 'size': 1}}
    for lines in (
        [{**HEADER, 'items': 0, 'disk': 'its\x1b[2JDisk'}, {**END, 'items': 0}],
        [HEADER, {**ITEM, **part}, {'broken': 'its\x1b[2Jreason'}, {**END, 'items': 0}],
    ):
        (tmp_path / 'file').write_bytes(b''.join(map(line, lines)))
        done = call('import', cache.directory, 'file')
        assert 'its\\x1b[2J' in done.stderr, done


def test_a_flush_that_fails_leaves_no_file_without_a_row(
    call: Run, directory: str, tmp_path: Path
) -> None:
    with diskcache.Cache(directory) as cache:
        cache.set_many((number, bytes(40_000)) for number in range(40))
    assert call('export', directory, 'file').returncode == 0
    with diskcache.FanoutCache(tmp_path / 'there', 2) as there:
        first, second = there._all_shards()
        first._sql(
            "CREATE TRIGGER refuse BEFORE INSERT ON Cache BEGIN SELECT RAISE(FAIL, 'refused'); END"
        )
        done = call('import', 'there', 'file')
        assert (done.returncode, 'refused' in done.stderr) == (2, True)
        assert len(there) == 0
        assert value_files(first.directory) == value_files(second.directory) == set()


@pytest.mark.parametrize(('one', 'other'), [(2, 5), (5, 4)])
def test_a_key_is_pickled_as_the_directory_has_it(
    call: Run, tmp_path: Path, one: int, other: int
) -> None:
    day = datetime.date(2020, 1, 1)
    with diskcache.Cache(tmp_path / 'one', disk_pickle_protocol=one) as cache:
        cache['a', 1] = 'tuple'
        cache[day] = 'day'
    call('export', tmp_path / 'one', tmp_path / 'file')
    with diskcache.FanoutCache(tmp_path / 'other', 3, disk_pickle_protocol=other) as target:
        done = call('import', tmp_path / 'other', tmp_path / 'file')
        assert (done.returncode, target.get(('a', 1)), len(target)) == (3, 'tuple', 1)
        assert '--unpickle loads it' in done.stderr
        done = call('import', tmp_path / 'other', tmp_path / 'file', '--unpickle')
        assert done.returncode == 0
        assert (target.get(('a', 1)), target.get(day), len(target)) == ('tuple', 'day', 2)
