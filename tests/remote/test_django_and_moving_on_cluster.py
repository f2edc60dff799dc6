"""DjangoCache on a Cluster, and `diskcache export` and `import` of what is there."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip('django')
pytest.importorskip('redis')

import django_project  # noqa: F401 - configures Django
from servers import Cluster

import diskcache
from diskcache import DjangoCache
from diskcache.cli import main
from diskcache.remote import RemoteCache


@pytest.fixture
def call(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., int]:
    """A function that runs a command in `tmp_path`."""

    def call(*arguments: object) -> int:
        monkeypatch.chdir(tmp_path)
        return main(list(map(str, arguments)))

    return call


def test_a_site_uses_a_cluster(cluster: Cluster, name: str) -> None:
    cache = DjangoCache(cluster.url, {'OPTIONS': {'name': name, 'shards': 16, 'near': True}})
    pairs = {f'key-{number}': {number} for number in range(300)}
    assert cache.set_many(pairs, timeout=100, tag='t') == []
    assert cache.get_many(pairs) == pairs
    assert cache.add_many({'key-1': 5, 'other': 5}) == ['key-1']
    assert cache.touch_many(['key-1', 'missing']) == ['missing']
    assert cache.incr_version('key-2') == 2
    assert cache.get('key-2', version=2, tag=True) == ({2}, 't')
    assert cache.incr('count', default=0) == 1
    assert cache.evict('t') == 300
    assert cache.clear() == 2


@pytest.mark.parametrize('more', [(), ('--shards', 8)])
def test_items_go_to_a_cluster_and_back(
    call: Callable[..., int], directory: str, cluster: Cluster, name: str, more: Any
) -> None:
    with diskcache.Cache(directory) as cache:
        cache.set_many((('user', number), {number: 'x' * 500}) for number in range(2000))
        cache.set_many((number, b'x') for number in range(100, 200))
        cache.set('tagged', frozenset({1}), expire=100, tag='t')
        cache['large'] = 'x' * 5_000_000
        before = dict(cache.items())
    arguments = ('--name', name, *more)
    assert call('export', directory, 'file') == 0
    for how in ((), ('--serializer', 'pickle')):
        remote = RemoteCache(cluster.url, name, shards=8 if more else 64)
        remote.clear()
        assert call('import', cluster.url, 'file', *arguments, *how) == 0
        assert remote.get_many(before) == before
        assert remote.evict('t') == 1
        assert call('import', cluster.url, 'file', *arguments, '--on-conflict', 'keep') == 0
        assert call('export', cluster.url, f'back{len(how)}', *arguments, *how) == 0
    assert call('import', '--create', 'copy', 'back0') == 0
    with diskcache.Cache(Path.cwd() / 'copy') as copy:
        assert dict(copy.items()) == before
        assert copy.evict('t') == 1
