"""DjangoCache with a URL as LOCATION."""

from __future__ import annotations

import logging
import os
import pickle
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any, ClassVar

import pytest

pytest.importorskip('django')
pytest.importorskip('redis')

import django_project  # noqa: F401 - configures Django
from asgiref.sync import async_to_sync
from django.core.exceptions import ImproperlyConfigured
from django.http import HttpResponse
from django.test import override_settings
from places import PACKAGE
from redis import Redis
from servers import Server

import diskcache
from diskcache import DjangoCache
from diskcache.remote import NotSupported, RemoteCache, RemoteError


class Thing:
    """What a site might keep."""

    def __init__(self, number: int) -> None:
        self.number = number


@pytest.fixture
def client(server: Server) -> Iterator[Redis]:
    """What sees all that is on the server."""
    with Redis(port=server.port) as client:
        yield client


@pytest.fixture
def open_cache(server: Server, name: str) -> Callable[..., DjangoCache]:
    """A function that opens the cache of this test, with OPTIONS."""

    def open_cache(**options: Any) -> DjangoCache:
        return DjangoCache(server.url, {'OPTIONS': {'name': name, **options}})

    return open_cache


@pytest.fixture
def cache(open_cache: Callable[..., DjangoCache]) -> DjangoCache:
    return open_cache()


# --- what is stored, and who can read it ---


def test_any_object_is_stored(cache: DjangoCache) -> None:
    cache.set('thing', Thing(5))
    cache.set('page', HttpResponse('text', headers={'X-Own': 'yes'}))
    assert cache.get('thing').number == 5
    assert cache.get('page').headers['X-Own'] == 'yes'


class Danger:
    """What makes a list longer wherever it is unpickled."""

    loaded: ClassVar[list[int]] = []

    def __reduce__(self) -> Any:
        return self.loaded.append, (1,)


def test_what_others_have_written_is_not_unpickled(
    cache: DjangoCache, client: Redis, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    cache.set('thing', Thing(5))
    key = f'{name}:s:1:thing'
    assert client.exists(key)
    for body in (b'p' + pickle.dumps(Danger()), client.get(key)[:-5] + b'spoil', b'sno'):
        client.set(key, body)
        with caplog.at_level(logging.WARNING, 'diskcache'):
            assert cache.get('thing', 'absent') == 'absent'
            assert cache.get_many(['thing']) == {}
    assert Danger.loaded == []
    assert 'refused' in caplog.text


def test_a_value_of_one_key_is_none_of_another(
    cache: DjangoCache, client: Redis, name: str
) -> None:
    cache.set('one', Thing(1))
    client.copy(f'{name}:s:1:one', f'{name}:s:1:other')
    assert cache.get('other') is None


def test_keys_come_from_the_secret_key_and_may_be_replaced(
    open_cache: Callable[..., DjangoCache],
) -> None:
    with override_settings(SECRET_KEY='old'):
        open_cache().set('a', Thing(1))
    with override_settings(SECRET_KEY='new', SECRET_KEY_FALLBACKS=['old']):
        assert open_cache().get('a').number == 1
        open_cache().set('b', Thing(2))
    with override_settings(SECRET_KEY='new'):
        assert open_cache().get('a') is None
        assert open_cache().get('b').number == 2
    with override_settings(SECRET_KEY='old'):
        assert open_cache().get('b') is None


def test_keys_of_the_site_may_be_given(open_cache: Callable[..., DjangoCache]) -> None:
    open_cache(keys=[b'k' * 16]).set('a', Thing(1))
    assert open_cache().get('a') is None
    assert open_cache(serializer='signed', keys=[b'k' * 16]).get('a').number == 1


class OwnDisk(diskcache.SafeDisk):
    """A Disk of the site."""


def test_another_serializer_may_be_chosen(
    open_cache: Callable[..., DjangoCache], client: Redis, name: str
) -> None:
    open_cache(serializer='pickle').set('a', Thing(1))
    assert client.get(f'{name}:s:1:a')[:1] == b'p'
    assert open_cache(serializer='pickle').get('a').number == 1
    with pytest.raises(diskcache.UnsafeTypeError):
        open_cache(serializer='safe').set('a', Thing(1))
    assert type(open_cache(serializer=f'{__name__}.OwnDisk')._cache.disk) is OwnDisk
    assert type(open_cache(serializer=OwnDisk)._cache.disk) is OwnDisk


def test_two_serializers_of_one_name_are_two(open_cache: Callable[..., DjangoCache]) -> None:
    one, other = (diskcache.SignedDisk.with_keys(letter * 16) for letter in (b'a', b'b'))
    open_cache(serializer=one).set('a', 1)
    assert open_cache(serializer=other).get('a') is None


# --- settings ---

MISTAKES: dict[str, tuple[dict[str, Any], str]] = {
    'shards': ({'SHARDS': 4}, "SHARDS .* 'shards'"),
    'a wait for locks': ({'DATABASE_TIMEOUT': 1}, "DATABASE_TIMEOUT .* 'timeout'"),
    'a limit': ({'OPTIONS': {'size_limit': 1}}, "'size_limit' .* maxmemory"),
    'a policy': ({'OPTIONS': {'eviction_policy': 'none'}}, "'eviction_policy' .* maxmemory-policy"),
    'a Disk': ({'OPTIONS': {'disk': 'a.B'}}, "'disk' .* 'serializer'"),
    'a pragma': ({'OPTIONS': {'sqlite_mmap_size': 1}}, "'sqlite_mmap_size' .* no SQLite"),
    'files': ({'OPTIONS': {'disk_min_file_size': 1}}, "'disk_min_file_size' .* no files"),
    'statistics': ({'OPTIONS': {'statistics': True}}, "'statistics' .* INFO stats"),
    'a setting beside': ({'SIZE_LIMIT': 1}, 'SIZE_LIMIT beside OPTIONS'),
    'what is none': ({'OPTIONS': {'COMPRESSOR': 1}}, "'COMPRESSOR' .* may have keys, max_value"),
    'options that are none': ({'OPTIONS': []}, 'dict'),
}


@pytest.mark.parametrize(('params', 'match'), MISTAKES.values(), ids=MISTAKES)
def test_a_setting_that_means_nothing_there_is_named(params: dict[str, Any], match: str) -> None:
    with pytest.raises(ImproperlyConfigured, match=match):
        DjangoCache('redis://127.0.0.1:1', params)


def test_what_limits_other_backends_is_accepted(cache: DjangoCache, server: Server) -> None:
    DjangoCache(server.url, {'OPTIONS': {'MAX_ENTRIES': 3, 'CULL_FREQUENCY': 2}})


@pytest.mark.parametrize('url', ['memcached://secret@host', 'redis://a:se/cret@host'])
def test_a_url_that_is_none_is_refused_without_its_password(url: str) -> None:
    with pytest.raises(ValueError, match='url must') as caught:
        DjangoCache(url, {})
    assert 'cret' not in str(caught.value)


def test_a_list_of_urls_is_refused_and_no_directory_is_named_after_it(
    directory: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    os.mkdir(directory)
    monkeypatch.chdir(directory)
    urls: Any = ['redis://a:secret@host', 'redis://a:secret@other']
    with pytest.raises(ImproperlyConfigured, match='one URL') as caught:
        DjangoCache(urls, {})
    assert 'secret' not in str(caught.value)
    assert os.listdir(directory) == []


def test_a_directory_needs_no_redis(directory: str) -> None:
    script = (
        "import sys; from django.conf import settings; settings.configure(SECRET_KEY='a')\n"
        'from diskcache import DjangoCache\n'
        f"DjangoCache({directory!r}, {{}}).set('a', 1)\n"
        "assert 'redis' not in sys.modules and 'diskcache.remote' not in sys.modules"
    )
    environment = {'PYTHONPATH': str(PACKAGE)}
    subprocess.run([sys.executable, '-c', script], check=True, env=environment)


def test_caches_of_other_names_have_nothing_in_common(
    open_cache: Callable[..., DjangoCache], name: str
) -> None:
    one, other = open_cache(), open_cache(name=f'{name}-2')
    one.set('a', 1)
    other.set('a', 2)
    other.clear()
    assert one.get('a') == 1


# --- connections ---


def test_requests_and_threads_share_connections(
    open_cache: Callable[..., DjangoCache], client: Redis
) -> None:
    def serve() -> None:
        cache = open_cache()
        cache.set('a', 1)
        cache.close()

    serve()
    before = client.info('stats')['total_connections_received']
    for _ in range(20):
        serve()
        thread = threading.Thread(target=serve)
        thread.start()
        thread.join()
    assert client.info('stats')['total_connections_received'] == before
    assert open_cache()._cache is open_cache()._cache


def test_connections_are_closed_when_told_so(cache: DjangoCache, client: Redis) -> None:
    cache.set('a', 1)
    before = client.info('clients')['connected_clients']
    cache.close(connections=True)
    deadline = time.monotonic() + 60
    while client.info('clients')['connected_clients'] >= before:
        assert time.monotonic() < deadline
    assert cache.get('a') == 1


def test_what_is_near_is_used(open_cache: Callable[..., DjangoCache], client: Redis) -> None:
    cache = open_cache(near=True)
    cache.set('a', Thing(1))
    before = client.info('commandstats')['cmdstat_get']['calls']
    assert [cache.get('a').number for _ in range(100)] == [1] * 100
    assert client.info('commandstats')['cmdstat_get']['calls'] < before + 50


# --- the methods ---


def test_a_missing_key_is_not_incremented(cache: DjangoCache) -> None:
    with pytest.raises(ValueError, match='not found'):
        cache.incr('a')
    assert cache.incr('a', 2, default=3) == 5
    assert cache.decr('a') == 4


def test_many_tell_which_were_not_stored(cache: DjangoCache) -> None:
    assert cache.set_many({'a': 1, 'b': 2}, tag='t') == []
    assert cache.add_many({'a': 5, 'c': 3}, tag='t') == ['a']
    assert cache.get_many(['a', 'b', 'c', 'd']) == {'a': 1, 'b': 2, 'c': 3}
    assert cache.touch_many(['a', 'x', 'b', 'y'], 100) == ['x', 'y']
    assert cache.get('a', expire_time=True)[1] > time.time() + 50
    assert cache.add_many({'a': 5, 'd': 3}, timeout=0) == ['a']
    assert cache.evict('t') == 3
    assert cache.get_many(['a', 'b', 'c', 'd']) == {}


def test_another_version_keeps_value_tag_and_expiry(cache: DjangoCache) -> None:
    cache.set('a', Thing(1), timeout=100, tag='t')
    assert cache.incr_version('a') == 2
    assert cache.get('a') is None
    value, expire_time, tag = cache.get('a', version=2, expire_time=True, tag=True)
    assert (value.number, tag) == (1, 't')
    assert 90 < expire_time - time.time() <= 100
    assert cache.incr_version('a', 0, version=2) == 2
    cache.set('lasting', 1, timeout=None)
    cache.incr_version('lasting')
    assert cache.get('lasting', version=2, expire_time=True) == (1, None)
    with pytest.raises(ValueError, match="'b' not found"):
        cache.incr_version('b')


def test_of_many_who_give_another_version_one_succeeds(cache: DjangoCache) -> None:
    done: list[int] = []

    def try_it(start: threading.Barrier) -> None:
        start.wait()
        try:
            done.append(cache.incr_version('a'))
        except ValueError:
            pass

    for _ in range(20):
        cache.set('a', 1)
        start = threading.Barrier(4)
        threads = [threading.Thread(target=try_it, args=(start,)) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert done == [2]
        done.clear()


def test_results_are_memoized(cache: DjangoCache) -> None:
    calls = []

    @cache.memoize(tag='t')
    def double(number: int) -> Thing:
        calls.append(number)
        return Thing(2 * number)

    assert [double(3).number, double(3).number] == [6, 6]
    assert calls == [3]
    assert cache.get(double.__cache_key__(3)).number == 6


@pytest.mark.parametrize('signature', [False, True])
def test_arguments_of_any_type_make_keys(cache: DjangoCache, signature: bool) -> None:
    calls = []

    @cache.memoize(signature=signature)
    def number_of(thing: Thing) -> int:
        calls.append(thing)
        return thing.number

    assert [number_of(Thing(number)) for number in (1, 1, 2)] == [1, 1, 2]
    assert len(calls) == 2


def test_a_default_may_be_called(cache: DjangoCache) -> None:
    assert cache.get_or_set('a', lambda: 5) == 5
    assert cache.get_or_set('a', lambda: 6) == 5


def test_the_asynchronous_methods_do_the_same(cache: DjangoCache) -> None:
    async def use() -> Any:
        await cache.aset('a', Thing(1), tag='t')
        thing = await cache.aget('a')
        await cache.aset_many({'b': 2})
        found = await cache.aget_many(['b'])
        count = await cache.aclear()
        await cache.aclose()
        return thing.number, found, count

    assert async_to_sync(use)() == (1, {'b': 2}, 2)


@pytest.mark.parametrize(
    'use',
    [
        lambda cache: cache.read('a'),
        lambda cache: cache.get('a', read=True),
        lambda cache: cache.set('a', b'', read=True),
        lambda cache: cache.stats(),
        lambda cache: cache.create_tag_index(),
        lambda cache: cache.directory,
        lambda cache: cache._cache.transact(),
    ],
)
def test_what_a_server_cannot_do_is_refused(
    cache: DjangoCache, use: Callable[[DjangoCache], Any]
) -> None:
    with pytest.raises(NotSupported, match='not supported by RemoteCache'):
        use(cache)
    assert not hasattr(cache, 'directory')


def test_the_server_removes_what_has_expired(cache: DjangoCache) -> None:
    assert (cache.expire(), cache.cull()) == (0, 0)


# --- faults ---


def test_without_its_server_lookups_are_misses_and_writes_are_errors(
    start_server: Callable[..., Server], caplog: pytest.LogCaptureFixture
) -> None:
    server = start_server()
    cache = DjangoCache(server.url, {})
    cache.set('a', 1)
    server.kill()
    with caplog.at_level(logging.WARNING, 'diskcache'):
        assert cache.get('a', 'absent') == 'absent'
        assert cache.get('a', 'absent', expire_time=True, tag=True) == ('absent', None, None)
        assert cache.get_many(['a']) == {}
        assert not cache.has_key('a')
        assert 'a' not in cache
    assert 'a lookup failed' in caplog.text
    for write in (
        lambda: cache.set('a', 1),
        lambda: cache.add('a', 1),
        lambda: cache.set_many({'a': 1}),
        lambda: cache.touch_many(['a']),
        lambda: cache.incr('a'),
        lambda: cache.delete('a'),
        lambda: cache.incr_version('a'),
        lambda: cache.clear(),
    ):
        with pytest.raises(ConnectionError):
            write()


def test_a_wrong_password_is_no_miss(start_server: Callable[..., Server]) -> None:
    server = start_server('redis', '--requirepass', 'secret')
    cache = DjangoCache(f'redis://:wrong@127.0.0.1:{server.port}', {})
    with pytest.raises(PermissionError):
        cache.get('a')


def test_a_server_that_is_full_refuses_writes(start_server: Callable[..., Server]) -> None:
    server = start_server('redis', '--maxmemory', '1', '--maxmemory-policy', 'noeviction')
    cache = DjangoCache(server.url, {})
    assert cache.get('a') is None
    with pytest.raises(RemoteError):
        cache.set('a', 1)


def test_what_cannot_be_loaded_any_more_is_a_miss(
    cache: DjangoCache, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    cache.set_many({'a': Thing(1), 'b': 2})
    monkeypatch.delitem(globals(), 'Thing')
    with caplog.at_level(logging.WARNING, 'diskcache'):
        assert cache.get('a', 'absent') == 'absent'
        assert cache.get_many(['a', 'b']) == {'b': 2}
    assert 'cannot be loaded' in caplog.text


def test_a_remote_cache_may_look_at_it(cache: DjangoCache, server: Server, name: str) -> None:
    cache.set('a', Thing(1))
    disk = type(cache._cache.disk)
    assert list(RemoteCache(server.url, name, serializer=disk)) == [':1:a']


def test_named_parts_are_on_the_server(cache: DjangoCache, client: Redis, name: str) -> None:
    deque, index = cache.deque('of/things', maxlen=2), cache.index('of/things')
    deque.extend([Thing(1), Thing(2), Thing(3)])
    index['thing'] = Thing(4)
    part = cache.cache('of/things')
    part['thing'] = Thing(5)
    cache.clear()
    cache.close()
    assert [thing.number for thing in cache.deque('of/things')] == [2, 3]
    assert cache.index('of/things')['thing'].number == 4
    assert cache.cache('of/things')['thing'].number == 5
    assert client.exists(f'{name}/of/things:sthing')
