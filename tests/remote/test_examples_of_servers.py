"""The examples in packaging/remote/: servers take the configurations, systemd the unit."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

pytest.importorskip('redis')

from places import ROOT
from servers import KINDS, Server

from diskcache.cli import main
from diskcache.remote import RemoteCache, RemoteError

EXAMPLES = ROOT / 'packaging' / 'remote'


@pytest.fixture
def rights(tmp_path: Path) -> Path:
    """A users.acl with the user of docs/howto/remote.rst, as docs/howto/growing.rst tells."""
    text = (ROOT / 'docs' / 'howto' / 'remote.rst').read_text()
    user = re.search(r'ACL SETUSER (web on >password .*?)\n\n', text, re.DOTALL)[1]
    path = tmp_path / 'users.acl'
    path.write_text('user default off\nuser ' + re.sub(r'\s+', ' ', user) + '\n')
    return path


def start(
    start_server: Callable[..., Server], kind: str, name: str, rights: Path, *options: str
) -> RemoteCache:
    """Start a server as one of the configurations says, and return a cache on it."""
    given: list[str] = []
    for line in (EXAMPLES / f'{name}.conf').read_text().splitlines():
        setting, *values = shlex.split(line, comments=True) or ['']
        if setting == 'aclfile':
            values = [str(rights)]
        if setting and setting not in ('bind', 'port'):
            given += [f'--{setting}', *values]
    server = start_server(kind, *given, *options)
    return RemoteCache(f'redis://web:password@127.0.0.1:{server.port}/0', 'site', near=True)


@pytest.mark.parametrize('kind', KINDS)
@pytest.mark.parametrize('name', ['cache', 'lasting'])
def test_a_server_takes_the_configuration_and_the_user_has_the_rights(
    start_server: Callable[..., Server], rights: Path, kind: str, name: str
) -> None:
    cache = start(start_server, kind, name, rights)
    cache.set('a', 1, expire=100, tag='t')
    assert cache.get('a', expire_time=True, tag=True)[2] == 't'
    assert cache.incr('a') == 2
    assert cache.touch('a', 50)
    assert cache.push('b') == 500000000000000
    assert cache.pull() == (500000000000000, 'b')
    assert len(cache) == 1
    assert cache.volume() > 0
    assert cache.evict('t') == 1
    assert cache.modify('c', lambda value: 5) == 5
    cache.set('d', 5, tag='t')
    file = str(rights.parent / 'file')
    assert main(['export', cache.url, file, '--name', 'site']) == 0
    assert cache.clear() == 2
    assert main(['import', cache.url, file, '--name', 'site']) == 0
    assert (cache['c'], cache.evict('t')) == (5, 1)


def test_a_cache_that_is_full_evicts_and_one_that_lasts_refuses(
    start_server: Callable[..., Server], rights: Path
) -> None:
    small = ('--maxmemory', '4mb')
    value = b'x' * 100_000
    cache = start(start_server, 'redis', 'cache', rights, *small)
    for number in range(200):
        cache[number] = value
    assert cache[199] == value
    assert len(cache) < 100
    lasting = start(start_server, 'redis', 'lasting', rights, *small)
    with pytest.raises(RemoteError, match='maxmemory'):
        for number in range(200):
            lasting[number] = value
    assert lasting[0] == value


def test_systemd_takes_the_unit() -> None:
    if shutil.which('systemd-analyze') is None:
        pytest.skip('no systemd-analyze: apt-get install systemd')
    if not Path('/usr/bin/redis-server').exists():
        pytest.skip('no redis-server: apt-get install redis-server')
    unit = EXAMPLES / 'diskcache-server@.service'
    done = subprocess.run(['systemd-analyze', 'verify', unit], capture_output=True, text=True)
    complaints = [line for line in done.stderr.splitlines() if unit.name in line]
    assert complaints == []
    assert done.returncode == 0, done.stderr
