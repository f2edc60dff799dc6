"""`diskcache export` and `import` of caches on servers, and what other commands say of them."""

from __future__ import annotations

import base64
import datetime
import decimal
import json
import os
import pickle
import subprocess
import time
import zlib
from collections import ChainMap
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip('redis')

from command_line import command_of, environment
from redis import Redis
from servers import Server

import diskcache
from diskcache.cli import main
from diskcache.remote import RemoteCache

KEY = b'k' * 16

ITEMS: dict[Any, Any] = {
    'text': 'text\n',
    'long text': 'täxt' * 100_000,
    'bytes': b'\0\xff',
    'long bytes': bytes(range(256)) * 2_000,
    5: -(2**63),
    2.5: float('inf'),
    b'by\xff': 0.1,
    ('a', 7, None): {'list': [1, 2.5, None]},
    'time': datetime.datetime(2020, 1, 1),
    decimal.Decimal('1.5'): {1, 2},
}


@pytest.fixture
def call(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., tuple[int, str, str]]:
    """A function that runs a command in `tmp_path`; returns status, output and errors."""

    def call(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.chdir(tmp_path)
        try:
            status = main(list(map(str, arguments)))
        except SystemExit as error:
            status = int(str(error))
        return (status, *capsys.readouterr())

    return call


@pytest.fixture
def client(server: Server) -> Iterator[Redis]:
    with Redis(port=server.port) as client:
        yield client


@pytest.fixture
def cache(directory: str) -> Iterator[diskcache.Cache]:
    """A directory with ITEMS, some with a tag or an expiry."""
    with diskcache.Cache(directory) as cache:
        for number, (key, value) in enumerate(ITEMS.items()):
            expire = 1000.5 if number % 2 else None
            tag = (None, 'tag', b'tag', 5, 2.5)[number % 5]
            cache.set(key, value, expire=expire, tag=tag)
        yield cache


def described(cache: Any) -> dict[Any, Any]:
    """What is in a cache: values, tags, and when they expire to a fifth of a second."""
    found = {}
    for key in cache:
        value, expire_time, tag = cache.get(key, expire_time=True, tag=True)
        found[key] = value, expire_time and round(expire_time / 5) * 5, tag
    return found


def same_but_for_moments(one: dict[Any, Any], other: dict[Any, Any]) -> bool:
    """Whether two are the same; times may be a step apart."""
    if one.keys() != other.keys():
        return False
    return all(
        (value, tag) == other[key][::2] and abs((when or 0) - (other[key][1] or 0)) <= 5
        for key, (value, when, tag) in one.items()
    )


def test_items_go_to_a_server_and_back(
    call: Callable[..., Any], cache: diskcache.Cache, server: Server, name: str
) -> None:
    assert call('export', cache.directory, 'file')[0] == 0
    status, output, _ = call('import', server.url, 'file', '--name', name)
    assert (status, output) == (
        0,
        f'stored: {len(ITEMS)}, replaced: 0, kept: 0, expired: 0, left out: 0\n',
    )
    remote = RemoteCache(server.url, name)
    assert same_but_for_moments(described(cache), described(remote))
    assert remote.evict('tag') == 2
    assert call('import', server.url, 'file', '--name', name)[0] == 0
    assert call('export', server.url, 'back', '--name', name)[:2] == (
        0,
        f'items: {len(ITEMS)}, left out: 0\n',
    )
    assert call('import', '--create', 'copy', 'back')[0] == 0
    with diskcache.Cache(Path.cwd() / 'copy') as copy:
        assert same_but_for_moments(described(cache), described(copy))
        assert copy.check() == []


def test_items_that_are_signed_go_to_a_server_and_back(
    call: Callable[..., Any],
    cache: diskcache.Cache,
    server: Server,
    name: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (tmp_path / 'key').write_bytes(KEY + b'\n')
    monkeypatch.setenv('CACHE_KEY', KEY.decode())
    call('export', cache.directory, 'file')
    assert call('import', server.url, 'file', '--name', name, '--key-file', 'key')[0] == 0
    remote = RemoteCache(server.url, name, serializer='signed', keys=[KEY])
    assert same_but_for_moments(described(cache), described(remote))
    assert call('export', server.url, 'back', '--name', name, '--key-env', 'CACHE_KEY')[0] == 0
    call('import', '--create', 'copy', 'back')
    with diskcache.Cache(tmp_path / 'copy') as copy:
        assert same_but_for_moments(described(cache), described(copy))
    for option in ((), ('--key-env', 'OTHER_KEY')):
        monkeypatch.setenv('OTHER_KEY', 'o' * 16)
        status, output, errors = call('export', server.url, 'back', '--name', name, *option)
        assert (status, output) == (3, f'items: 0, left out: {len(ITEMS)}\n')
        assert 'sign' in errors


def test_what_has_no_signature_is_left_out(
    call: Callable[..., Any], server: Server, client: Redis, name: str, tmp_path: Path
) -> None:
    (tmp_path / 'key').write_bytes(KEY)
    RemoteCache(server.url, name, serializer='signed', keys=[KEY])['signed'] = 1
    client.set(f'{name}:sforged', 5)
    client.copy(f'{name}:ssigned', f'{name}:sother')
    arguments = ('export', server.url, 'file', '--name', name, '--key-file', 'key')
    status, output, errors = call(*arguments)
    assert (status, output) == (3, 'items: 1, left out: 2\n')
    assert 'no signature' in errors


class Danger:
    """What makes a directory when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = str(path)

    def __reduce__(self) -> Any:
        return os.mkdir, (self.path,)


def test_what_the_serializer_does_not_take_is_left_out_and_not_loaded(
    call: Callable[..., Any], directory: str, server: Server, name: str, tmp_path: Path
) -> None:
    made = tmp_path / 'made'
    with diskcache.Cache(directory) as cache:
        cache['good'] = {'a': 1}
        cache['danger'] = Danger(made)
        cache['map'] = ChainMap({'a': 1})
    call('export', directory, 'file')
    status, output, errors = call('import', server.url, 'file', '--name', name)
    assert status == 3
    assert 'stored: 1, ' in output
    assert 'left out: 2' in output
    assert 'ChainMap is not allowed by SafeDisk' in errors
    arguments = ('--name', name, '--serializer', 'pickle')
    assert call('import', server.url, 'file', *arguments)[0] == 0
    status, output, errors = call('export', server.url, 'back', '--name', name)
    assert (status, output) == (3, 'items: 1, left out: 2\n')
    assert 'ChainMap is not allowed by SafeDisk' in errors
    assert call('export', server.url, 'back', *arguments)[0] == 0
    (tmp_path / 'key').write_bytes(KEY)
    signed = ('--name', f'{name}-2', '--key-file', 'key')
    assert call('import', server.url, 'back', *signed)[0] == 0
    assert call('export', server.url, 'again', *signed)[:2] == (0, 'items: 3, left out: 0\n')
    assert not made.exists()
    remote = RemoteCache(server.url, f'{name}-2', serializer='signed', keys=[KEY])
    assert remote['map'] == ChainMap({'a': 1})


def test_unpickling_is_asked_for(
    call: Callable[..., Any], server: Server, name: str, tmp_path: Path
) -> None:
    RemoteCache(server.url, name, serializer='pickle')['danger'] = Danger(tmp_path / 'made')
    assert call('export', server.url, 'file', '--name', name, '--unpickle')[0] == 3  # it is refused
    assert not (tmp_path / 'made').exists()


class OwnDisk(diskcache.Disk):
    """A Disk that keeps all values as texts of its own."""

    def store(self, value: Any, read: bool, key: Any = None) -> Any:
        return super().store('own ' + json.dumps(value), read, key=key)

    def fetch(self, mode: int, filename: str | None, value: Any, read: bool) -> Any:
        return json.loads(super().fetch(mode, filename, value, read).removeprefix('own '))


@pytest.mark.parametrize('disk', ['JSONDisk', 'OwnDisk'])
def test_a_disk_of_another_form_is_named(
    call: Callable[..., Any], server: Server, name: str, tmp_path: Path, disk: str
) -> None:
    cls: Any = diskcache.JSONDisk if disk == 'JSONDisk' else OwnDisk
    option = ('--disk', f'{cls.__module__}.{disk}')
    remote = RemoteCache(server.url, name, serializer=cls)
    remote.set('a', {'b': [1, 2]}, tag='t')
    remote['c'] = 'text'
    unpickle = () if disk == 'JSONDisk' else ('--unpickle',)
    assert call('export', server.url, 'file', '--name', name, *option, *unpickle)[0] == 0
    remote.clear()
    assert call('import', server.url, 'file', '--name', name, *option)[0] == 0
    assert remote.get('a', tag=True) == ({'b': [1, 2]}, 't')
    assert remote['c'] == 'text'


def test_a_pickle_as_a_key_is_looked_at_too(
    call: Callable[..., Any], server: Server, client: Redis, name: str, tmp_path: Path
) -> None:
    client.set(f'{name}:p'.encode() + pickle.dumps(Danger(tmp_path / 'made')), 5)
    client.set(f'{name}:p'.encode() + b'damaged', 5)
    assert call('export', server.url, 'file', '--name', name)[:2] == (3, 'items: 0, left out: 2\n')
    assert not (tmp_path / 'made').exists()


def test_an_item_that_hardly_ever_expires_is_stored(
    call: Callable[..., Any], directory: str, server: Server, name: str
) -> None:
    with diskcache.Cache(directory) as cache:
        cache.set('a', 1, expire=2.0**61)
    call('export', directory, 'file')
    assert call('import', server.url, 'file', '--name', name)[0] == 0
    assert RemoteCache(server.url, name)['a'] == 1


def test_numbers_can_be_incremented_after_they_have_moved(
    call: Callable[..., Any], directory: str, server: Server, name: str
) -> None:
    with diskcache.Cache(directory) as cache:
        cache['count'] = 5
    call('export', directory, 'file')
    call('import', server.url, 'file', '--name', name)
    assert RemoteCache(server.url, name).incr('count') == 6


@pytest.mark.parametrize('protocol', [2, 4])
def test_a_key_is_found_whatever_protocol_it_was_pickled_with(
    call: Callable[..., Any], directory: str, server: Server, name: str, protocol: int
) -> None:
    with diskcache.Cache(directory, disk_pickle_protocol=protocol) as cache:
        cache['a', 1] = 'value'
    call('export', directory, 'file')
    for more in ((), ('--serializer', 'pickle')):
        RemoteCache(server.url, name).clear()
        call('import', server.url, 'file', '--name', name, *more)
        assert RemoteCache(server.url, name)['a', 1] == 'value'


def test_a_key_of_another_protocol_that_has_to_be_loaded_is_left_out_until_it_may_be(
    call: Callable[..., Any], directory: str, server: Server, name: str
) -> None:
    key = datetime.date(2020, 1, 1)
    with diskcache.Cache(directory, disk_pickle_protocol=4) as cache:
        cache[key] = 'value'
    call('export', directory, 'file')
    options = ('--name', name, '--serializer', 'pickle')
    status, _, errors = call('import', server.url, 'file', *options)
    assert status == 3
    assert '--unpickle loads it' in errors
    remote = RemoteCache(server.url, name, serializer='pickle')
    assert len(remote) == 0
    assert call('import', server.url, 'file', *options, '--unpickle')[0] == 0
    assert remote[key] == 'value'


def test_a_key_that_is_there_is_replaced_or_kept(
    call: Callable[..., Any], directory: str, server: Server, name: str
) -> None:
    with diskcache.Cache(directory) as cache:
        cache.set_many({'a': 1, 'b': 2, 'c': 3}, tag='t')
    call('export', directory, 'file')
    remote = RemoteCache(server.url, name)
    remote['a'] = 'there'
    asked = ('import', server.url, 'file', '--name', name, '--json')
    counts = json.loads(call(*asked, '--on-conflict', 'keep')[1])
    assert counts == {'stored': 2, 'replaced': 0, 'kept': 1, 'expired': 0, 'left_out': 0}
    assert remote['a'] == 'there'
    counts = json.loads(call(*asked)[1])
    assert counts == {'stored': 0, 'replaced': 3, 'kept': 0, 'expired': 0, 'left_out': 0}
    assert remote.get('a', tag=True) == (1, 't')
    status, _, errors = call(*asked, '--on-conflict', 'newer')
    assert status == 2
    assert 'does not know when' in errors


def test_what_has_expired_meanwhile_is_left_out(
    call: Callable[..., Any], directory: str, server: Server, name: str
) -> None:
    with diskcache.Cache(directory) as cache:
        cache.set('short', 1, expire=1)
        cache.set('long', 1, expire=1000)
    call('export', directory, 'file')
    time.sleep(1.1)
    assert (
        'stored: 1, replaced: 0, kept: 0, expired: 1'
        in call('import', server.url, 'file', '--name', name)[1]
    )


def test_a_value_that_is_too_large_for_a_server_is_left_out(
    call: Callable[..., Any], directory: str, server: Server, name: str
) -> None:
    with diskcache.Cache(directory) as cache:
        cache['large'] = b'x' * (2**24 + 1)
        cache['good'] = b'x' * (2**24 - 1)
    call('export', directory, 'file')
    status, output, errors = call('import', server.url, 'file', '--name', name)
    assert status == 3
    assert 'stored: 1, ' in output
    assert '16,777,217 bytes' in errors


def test_what_is_none_of_the_cache_is_left_out(
    call: Callable[..., Any], server: Server, client: Redis, name: str
) -> None:
    remote = RemoteCache(server.url, name)
    remote.set('a', 1, tag='t')
    remote.push('b')
    client.hset(f'{name}:sessions', 'of', 'another program')
    client.set(f'{name}:sdamaged', b'\xff')
    client.set(f'{name}:sfile', b'm' + (2).to_bytes(8, 'big') + b'sname')
    client.set(f'{name}:smode', b'm' + (77).to_bytes(8, 'big') + b'sname')
    status, output, errors = call('export', server.url, 'file', '--name', name)
    assert (status, output) == (3, 'items: 2, left out: 4\n')
    assert 'WRONGTYPE' in errors


def test_many_items_go_in_bounded_memory(
    call: Callable[..., Any], server: Server, name: str, tmp_path: Path
) -> None:
    import tracemalloc

    remote = RemoteCache(server.url, name)
    for start in range(0, 200, 20):
        remote.set_many((f'key {number}', b'x' * 500_000) for number in range(start, start + 20))
    tracemalloc.start()
    try:
        assert call('export', server.url, 'file', '--name', name)[0] == 0
        remote.clear()
        assert call('import', server.url, 'file', '--name', name)[0] == 0
        most = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert len(remote) == 200
    assert (tmp_path / 'file').stat().st_size > 100_000_000
    assert most < 50_000_000


def test_an_import_that_loses_its_server_goes_on_when_it_is_repeated(
    call: Callable[..., Any], directory: str, start_server: Callable[..., Server], tmp_path: Path
) -> None:
    with diskcache.Cache(directory) as cache:
        cache.set_many((number, 'x' * 2000) for number in range(20_000))
    assert call('export', directory, 'file')[0] == 0
    server = start_server()
    process = subprocess.Popen(
        command_of('import', server.url, 'file'),
        cwd=tmp_path,
        env=environment(),
        stderr=subprocess.PIPE,
        text=True,
    )
    remote = RemoteCache(server.url)
    while len(remote) < 1000:
        assert process.poll() is None
    server.kill()
    _, errors = process.communicate()
    assert process.returncode == 2
    assert 'stored until then: ' in errors
    assert 'the same import' in errors
    server.start()
    assert call('import', server.url, 'file')[0] == 0
    assert len(remote) == 20_000


def test_an_export_that_loses_its_server_leaves_no_file(
    call: Callable[..., Any], tmp_path: Path
) -> None:
    (tmp_path / 'file').write_text('older')
    status, _, errors = call('export', 'redis://:secret@127.0.0.1:1', 'file')
    assert status == 2
    assert 'refused' in errors
    assert 'secret' not in errors
    assert (tmp_path / 'file').read_text() == 'older'
    assert os.listdir(tmp_path) == ['file']


def test_the_password_may_be_in_the_environment(
    call: Callable[..., Any],
    start_server: Callable[..., Server],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    server = start_server('redis', '--requirepass', 'p@ss/word')
    for url in (
        f'redis://127.0.0.1:{server.port}/0',
        f'redis://default@127.0.0.1:{server.port}/0',
        f'unix://{server.socket}',
    ):
        monkeypatch.delenv('DISKCACHE_PASSWORD', raising=False)
        assert call('export', url, 'file')[0] == 2
        monkeypatch.setenv('DISKCACHE_PASSWORD', 'p@ss/word')
        assert call('export', url, 'file')[0] == 0


@pytest.mark.parametrize(
    ('arguments', 'text'),
    [
        (('export', 'URL', 'f', '--key-file', 'missing'), 'No such file'),
        (('export', 'URL', 'f', '--key-env', 'MISSING_KEY'), 'no MISSING_KEY'),
        (('export', 'URL', 'f', '--name', 'a:b'), 'name must be'),
        (('export', 'memcached://:secret@host', 'f'), 'url must begin'),
        (('import', 'URL', 'f', '--create'), '--create'),
        (('import', 'URL', 'f', '--disk', 'diskcache.Disk', '--serializer', 'safe'), 'exclude'),
        (('export', '.', 'f', '--name', 'a'), 'for a server'),
        (('stats', 'redis://:secret@host'), 'stats is for a directory'),
        (('get', 'redis://:secret@host', 'key'), 'get is for a directory'),
        (('clear', 'redis://:secret@host', '--yes'), 'clear is for a directory'),
        (('check', 'redis://:secret@host'), 'check is for a directory'),
        (('backup', 'redis://:secret@host', 'copy'), 'backup is for a directory'),
        (('serve', 'redis://:secret@host'), 'serve is for a directory'),
    ],
)
def test_what_cannot_be_done_is_told_without_the_password(
    call: Callable[..., Any], directory: str, server: Server, arguments: Any, text: str
) -> None:
    with diskcache.Cache(directory) as cache:
        cache['a'] = 1
    call('export', directory, 'f')
    status, _, errors = call(*(server.url if each == 'URL' else each for each in arguments))
    assert status == 2
    assert text in errors
    assert 'secret' not in errors


def test_an_export_with_a_forged_pickle_as_key_does_no_harm(
    call: Callable[..., Any], directory: str, server: Server, name: str, tmp_path: Path
) -> None:
    with diskcache.Cache(directory) as cache:
        cache['a', 1] = 'x'
    call('export', directory, 'file')
    pickled = base64.b64encode(pickle.dumps(Danger(tmp_path / 'made'))).decode()
    lines = (tmp_path / 'file').read_bytes().splitlines()
    fields = json.loads(lines[1])
    fields['key'] = {'pickle': pickled}
    del fields['crc']
    body = json.dumps(fields).encode()[1:]
    lines[1] = b'{"crc":"%08x",%s' % (zlib.crc32(body), body)
    (tmp_path / 'file').write_bytes(b'\n'.join(lines) + b'\n')
    for more in ((), ('--serializer', 'pickle')):
        call('import', server.url, 'file', '--name', name, *more)
    assert not (tmp_path / 'made').exists()


@pytest.mark.parametrize('more', [(), ('--serializer', 'pickle')])
def test_what_was_forged_does_not_spoil_an_export(
    call: Callable[..., Any], server: Server, client: Redis, name: str, more: tuple[str, ...]
) -> None:
    RemoteCache(server.url, name).set('a', 1, tag='t')
    too_large = b'9999999999999999999'
    client.set(f'{name}:svalue', too_large)
    client.set(f'{name}:i{too_large.decode()}', b'skey')
    client.set(f'{name}:stag', b't\0\0\0\x14i' + too_large + b'stag')
    client.set(f'{name}:spickle', b'm' + (4).to_bytes(8, 'big') + b'12')
    assert call('export', server.url, 'file', '--name', name, *more)[:2] == (
        3,
        'items: 1, left out: 4\n',
    )
    assert call('import', '--create', 'copy', 'file')[0] == 0
