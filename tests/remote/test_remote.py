"""What is peculiar to a RemoteCache: how things stand on the server, and what it refuses."""

from __future__ import annotations

import logging
import os
import pickle
import struct
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from servers import Server

import diskcache
from diskcache import Cache, JSONDisk, SafeDisk, SignedDisk, UnsafeTypeError

KEY = b'a key of sixteen bytes and more'

pytest.importorskip('redis', reason='redis-py is not installed: pip install redis')

from diskcache.remote import NotSupported, RemoteCache  # noqa: E402


@pytest.fixture
def open_cache(server: Server, name: str) -> Iterator[Callable[..., RemoteCache]]:
    """A function that opens the same cache, on each kind of server."""
    caches: list[RemoteCache] = []

    def open_cache(**arguments: Any) -> RemoteCache:
        caches.append(
            RemoteCache(server.url, arguments.pop('name', name), **{'timeout': 10, **arguments})
        )
        return caches[-1]

    yield open_cache
    for cache in caches:
        cache.clear()
        cache.close()


@pytest.fixture
def cache(open_cache: Any) -> RemoteCache:
    return open_cache()


def raw(cache: RemoteCache, *command: Any) -> Any:
    """Send a command to the server, as a stranger could."""
    return cache._engine.call(*command)


def test_keys_and_values_stand_on_the_server_as_documented(cache: Any) -> None:
    prefix = cache.name.encode() + b':'
    cache['text'], cache[b'bytes'], cache[5], cache[5.0] = 'é', b'b', 1, -7
    cache.set('tagged', 1, tag='tag')
    assert raw(cache, 'GET', prefix + b'stext') == b's\xc3\xa9'
    assert raw(cache, 'GET', prefix + b'bbytes') == b'bb'
    assert raw(cache, 'GET', prefix + b'i5') == b'-7'
    assert raw(cache, 'GET', prefix + b'stagged') == b't\x00\x00\x00\x04stag1'
    assert raw(cache, 'TYPE', prefix + b'Tstag') == b'set'


def test_caches_with_other_names_have_nothing_in_common(open_cache: Any, name: str) -> None:
    caches = [open_cache(name=name + end) for end in ('', '.b', '-b', 'b', '_', '.')]
    for number, cache in enumerate(caches):
        cache.set('key', number, tag='tag')
        cache.push(number)
    assert caches[0].clear() == 2
    assert caches[1].evict('tag') == 1
    assert [cache.get('key') for cache in caches[2:]] == [2, 3, 4, 5]
    assert [len(cache) for cache in caches] == [0, 1, 2, 2, 2, 2]


@pytest.mark.parametrize('wrong', ['', 'a:b', 'a*', 'a[b]', 'a b', 'é', 'a?', 'a{b}', 'a\n'])
def test_a_name_has_no_characters_that_mean_something(wrong: str) -> None:
    with pytest.raises(ValueError):
        RemoteCache('redis://localhost', wrong)


def test_a_set_of_a_tag_lasts_as_long_as_its_items(cache: Any) -> None:
    cache.set('brief', 1, expire=0.1, tag='tag')
    cache.set('long', 1, expire=0.3, tag='tag')
    cache.set('touched', 1, expire=0.1, tag='other')
    assert cache.touch('touched', 60)
    while raw(cache, 'EXISTS', cache.name + ':Tstag'):
        assert cache.get('touched') == 1
        time.sleep(0.01)
    assert 'long' not in cache
    assert cache.evict('other') == 1
    cache.set('brief', 1, expire=60, tag='tag')
    assert raw(cache, 'PTTL', cache.name + ':Tstag') > 0
    cache.set('ever', 1, tag='tag')
    cache.set('brief', 1, expire=60, tag='tag')
    assert raw(cache, 'PTTL', cache.name + ':Tstag') == -1


def test_a_set_of_a_tag_forgets_what_is_gone(cache: Any) -> None:
    for number in range(300):
        cache.set(number, 1, tag='tag')
        cache.delete(number)
    assert raw(cache, 'SCARD', cache.name + ':Tstag') < 10
    assert cache.evict('tag') == 0


@pytest.mark.parametrize('serializer', ['pickle', 'safe', 'signed', JSONDisk])
def test_each_serializer_stores_and_loads(open_cache: Any, serializer: Any) -> None:
    keys = (KEY,) if serializer == 'signed' else ()
    cache = open_cache(serializer=serializer, keys=keys)
    for value in ('text', 5, 2.5, None, [1, {'a': None}], 'x' * 100_000):
        cache.set('key', value, tag='tag', expire=60)
        assert cache.get('key', tag=True) == (value, 'tag')
        assert cache.set_many({'key': value}) == 1
        assert cache.get_many(['key']) == {'key': value}
    cache['number'] = 5
    assert cache.incr('number', 2) == 7
    assert cache.incr('new') == 1
    assert cache['number'] == 7
    cache.set('number', 2**63 - 1, tag=1.0)
    with pytest.raises(OverflowError):
        cache.incr('number')
    assert cache.touch('number', 50)
    assert cache.modify('number', lambda value: value - 1) == 2**63 - 2
    assert cache.get('number', tag=True) == (2**63 - 2, 1)
    assert set(cache) == {'key', 'number', 'new'}
    assert cache.evict(1) == 1
    assert cache.pop('key') == 'x' * 100_000


@pytest.mark.parametrize('serializer', ['safe', 'signed', 'pickle', JSONDisk])
def test_a_result_is_renewed_early_with_each_serializer(open_cache: Any, serializer: Any) -> None:
    cache = open_cache(serializer=serializer, keys=(KEY,) if serializer == 'signed' else ())
    calls: list[int] = []
    renewed = threading.Event()

    @diskcache.memoize_stampede(cache, expire=60, name='early', beta=1e12)
    def early() -> int:
        calls.append(0)
        if len(calls) == 2:
            renewed.set()
        return len(calls)

    assert early() == early() == 1
    assert renewed.wait(30)


def test_queues_need_keys_that_the_server_can_make(open_cache: Any) -> None:
    for arguments in ({'serializer': 'signed', 'keys': (KEY,)}, {'serializer': JSONDisk}):
        with pytest.raises(NotSupported, match='queue'):
            open_cache(**arguments).push(1)


def test_safe_is_the_default(cache: Any) -> None:
    assert type(cache.disk) is SafeDisk
    with pytest.raises(UnsafeTypeError):
        cache['key'] = os.getcwd
    with pytest.raises(UnsafeTypeError):
        cache[(os.getcwd,)] = 1
    assert len(cache) == 0


def test_wrong_serializers_are_refused() -> None:
    for wrong, error in (('json', ValueError), (SafeDisk('x'), TypeError), (5, TypeError)):
        with pytest.raises(error):
            RemoteCache('redis://localhost', serializer=wrong)
    with pytest.raises(ValueError):
        RemoteCache('redis://localhost', serializer='signed')
    with pytest.raises(ValueError):
        RemoteCache('redis://localhost', keys=(KEY,))


class Evil:
    """Runs a command when it is unpickled."""

    def __init__(self, path: str) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return os.mkdir, (self.path,)


HOSTILE = [
    b'',
    b't',
    b't\xff\xff\xff\xff',
    b't\x00\x00\x00\x02s',
    b't\x00\x00\x00\x01s',
    b'm',
    b'm12345678',
]
HOSTILE += [
    b'm' + bytes(8),
    b'm' + bytes(7) + b'\x02sx',
    b'm' + bytes(7) + b'\x03sx',
    b's\xff',
    b'fx',
]
HOSTILE += [
    b'i5',
    b'z',
    b'\x00',
    b'-',
    b'--5',
    b'1' * 30,
    b'5 ',
    b'm' * 5000,
    b'm' * 50_000,
    b'm' + bytes(7) + b'\x01m' + bytes(7) + b'\x015',
    b't\x00\x00\x00\x02zx5',
]


@pytest.mark.parametrize('serializer', ['safe', 'signed'])
@pytest.mark.parametrize('stored', HOSTILE, ids=lambda stored: repr(stored)[:20])
def test_a_damaged_value_is_a_miss(open_cache: Any, stored: bytes, serializer: str) -> None:
    cache = open_cache(serializer=serializer, keys=(KEY,) if serializer == 'signed' else ())
    raw(cache, 'SET', cache.name + ':skey', stored)
    assert cache.get('key', 'missing') == 'missing'
    assert cache.get('key', expire_time=True, tag=True) == (None, None, None)
    assert cache.get_many(['key']) == {}
    assert cache.pop('key') is None
    cache.evict('x')
    cache.touch('key', 50)
    with pytest.raises(KeyError):
        cache['key']
    assert cache.modify('key', lambda value: 'new') == 'new'
    assert cache['key'] == 'new'


def test_a_damaged_pickle_is_an_error_that_names_the_key(cache: Any) -> None:
    raw(cache, 'SET', cache.name + ':skey', b'p\x80\x05]q')
    with pytest.raises((pickle.UnpicklingError, EOFError, IndexError)) as caught:
        cache['key']
    assert any("'key'" in note for note in caught.value.__notes__)

    @cache.memoize(name='work')
    def work() -> int:
        return 5

    raw(cache, 'SET', cache._codec.key(work.__cache_key__()), b'p\x80\x05]q')
    assert work() == 5
    assert cache[work.__cache_key__()] == 5


@pytest.mark.parametrize('serializer', ['safe', 'pickle'])
def test_a_damaged_key_does_not_end_iteration(
    open_cache: Any, serializer: str, caplog: pytest.LogCaptureFixture
) -> None:
    cache = open_cache(serializer=serializer)
    cache.set_many({'key': 1, (1, 2): 2})
    for damaged in (b'\x80\x05]q', b'', b'\x80\x05cno_module\nname\n.'):
        raw(cache, 'SET', cache.name.encode() + b':p' + damaged, b'5')
    with caplog.at_level(logging.WARNING, 'diskcache'):
        assert set(cache) == set(cache.iterkeys()) == {'key', (1, 2)}
        assert dict(cache.items()) == {'key': 1, (1, 2): 2}
    assert caplog.text


@pytest.mark.parametrize('serializer', ['safe', 'signed', JSONDisk])
def test_a_hostile_pickle_is_not_loaded(
    open_cache: Any, tmp_path: Any, serializer: Any, caplog: pytest.LogCaptureFixture
) -> None:
    cache = open_cache(serializer=serializer, keys=(KEY,) if serializer == 'signed' else ())
    path = tmp_path / 'made'
    evil = pickle.dumps(Evil(str(path)))
    with caplog.at_level(logging.WARNING, 'diskcache'):
        for stored in (
            b'p' + evil,
            b'm' + bytes(7) + b'\x04b' + evil,
            b't\x00\x00\x00\x01sp' + evil,
        ):
            raw(cache, 'SET', cache._codec.key('key'), stored)
            assert cache.get('key') is None
            assert cache.pop('key') is None
        raw(cache, 'SET', cache.name.encode() + b':p' + evil, b'5')
        if serializer is not JSONDisk:
            assert list(cache) == list(cache.iterkeys()) == ['key']
    assert not path.exists()
    assert 'refused' in caplog.text


def test_pickles_are_loaded_when_asked_for(open_cache: Any, tmp_path: Any) -> None:
    cache = open_cache(serializer='pickle')
    cache['key'] = os.path.join
    assert cache['key'] is os.path.join


NAN = b'f' + struct.pack('>d', float('nan'))


def test_what_is_not_ours_is_left_out_of_iteration(cache: Any) -> None:
    cache['key'] = 1
    for end in (b'z', b'i12x', b'i', b'f1', b's\xff', b'', b'Q', b'Tstag', NAN):
        raw(cache, 'SET', cache.name.encode() + b':' + end, b'5')
    assert list(cache) == ['key']
    assert dict(cache.items()) == {'key': 1}
    assert list(cache.iterkeys()) == ['key']
    assert cache.clear() >= 1


def test_a_key_of_another_type_is_an_error(cache: Any) -> None:
    raw(cache, 'RPUSH', cache.name + ':skey', 'x')
    with pytest.raises(diskcache.remote.RemoteError, match='WRONGTYPE'):
        cache['key']
    assert cache.delete('key')


def test_signed_values_cannot_be_changed_or_moved(open_cache: Any) -> None:
    cache = open_cache(serializer='signed', keys=(KEY,))
    cache['key'] = {'any': os.path.join}
    cache.set('tagged', 1, tag='tag')
    stored = raw(cache, 'GET', cache.name + ':skey')
    assert cache['key'] == {'any': os.path.join}
    raw(cache, 'SET', cache.name + ':sother', stored)
    assert cache.get('other') is None
    raw(cache, 'SET', cache.name + ':skey', stored[:-3] + bytes([stored[-3] ^ 1]) + stored[-2:])
    assert cache.get('key') is None
    tagged = raw(cache, 'GET', cache.name + ':stagged')
    raw(cache, 'SET', cache.name + ':stagged', tagged.replace(b'stag', b'sTAG'))
    assert cache.get('tagged') is None
    other = open_cache(name=cache.name + 'x', serializer='signed', keys=(KEY,))
    raw(cache, 'SET', other.name + ':skey', stored)
    assert other.get('key') is None
    raw(cache, 'SET', cache.name + ':snumber', '5')
    with pytest.raises(KeyError):
        cache.incr('number', default=None)
    assert cache.incr('number') == 1
    newer = open_cache(serializer='signed', keys=(b'another key of sixteen bytes', KEY))
    raw(cache, 'SET', cache.name + ':skey', stored)
    assert newer['key'] == {'any': os.path.join}


def test_a_class_with_keys_signs_too(open_cache: Any) -> None:
    cache = open_cache(serializer=SignedDisk.with_keys(KEY, purpose='test'))
    cache['key'] = 5
    assert cache['key'] == 5
    assert open_cache(serializer='signed', keys=(KEY,)).get('key') is None


class FileDisk(SafeDisk):
    """Keeps values in files of its own."""

    def store(self, value: Any, read: bool, key: Any = None) -> Any:
        return 5, 4, 'name', None


def test_files_are_not_supported(open_cache: Any, cache: Any) -> None:
    with pytest.raises(NotSupported, match='files'):
        open_cache(serializer=FileDisk)['key'] = 1
    for call in (
        lambda: cache.set('key', 1, read=True),
        lambda: cache.add('key', 1, read=True),
        lambda: cache.push(1, read=True),
        lambda: cache.get('key', read=True),
    ):
        with pytest.raises(NotSupported, match='files'):
            call()


def test_what_is_not_supported_says_what_to_do(cache: Any) -> None:
    for method in (
        *('transact', 'check', 'compact', 'create_tag_index', 'drop_tag_index', 'memory_stats'),
        *('peekitem', 'read', 'reset', 'stats'),
    ):
        with pytest.raises(NotSupported, match=rf'^{method}\(\) is not supported by .*: .*; .*'):
            getattr(cache, method)()
    with pytest.raises(NotImplementedError):
        reversed(cache)
    for attribute in ('size_limit', 'eviction_policy', 'cull_limit', 'directory', '_con'):
        with pytest.raises(NotSupported, match=attribute):
            getattr(cache, attribute)
        assert not hasattr(cache, attribute)
    with pytest.raises(AttributeError):
        cache.unheard_of


def test_everything_public_of_cache_is_there_or_refused() -> None:
    from diskcache.remote.unsupported import ATTRIBUTES

    of_directories = {'EVICTION_POLICY', 'timeout'}
    for each in dir(Cache):
        if not each.startswith('_') and each not in of_directories:
            assert hasattr(RemoteCache, each) or each in ATTRIBUTES, each


def test_large_values_are_refused_before_they_are_sent(open_cache: Any) -> None:
    cache = open_cache(max_value=1000)
    cache['key'] = b'x' * 999
    sent = raw(cache, 'INFO', 'stats')['total_net_input_bytes']
    for call in (
        lambda: cache.set('key', b'x' * 100_000),
        lambda: cache.add('new', ['x' * 100_000]),
        lambda: cache.push('x' * 100_000),
        lambda: cache.set_many({'key': 'x' * 100_000}),
        lambda: cache.get('x' * 100_000),
    ):
        with pytest.raises(ValueError, match='max_value'):
            call()
    with pytest.raises(ValueError, match='max_value'):
        cache.modify('key', lambda value: value * 2)
    assert raw(cache, 'INFO', 'stats')['total_net_input_bytes'] - sent < 5000
    assert cache['key'] == b'x' * 999


def test_wrong_arguments_are_refused() -> None:
    url = 'redis://localhost'
    for wrong in ('http://host', '/a/directory', 'localhost:6379', 'redis+sentinel://host'):
        with pytest.raises(ValueError, match='redis'):
            RemoteCache(wrong)
    impossible: tuple[dict[str, Any], ...] = (
        *({'timeout': 0}, {'timeout': -1}, {'timeout': float('nan')}),
        *({'max_value': 0}, {'name': ''}),
    )
    for arguments in impossible:
        with pytest.raises(ValueError, match=f'{next(iter(arguments))} must'):
            RemoteCache(url, **arguments)
    mistyped: tuple[dict[str, Any], ...] = (
        *({'timeout': 'x'}, {'near': 5}, {'timeout': None}, {'max_value': 'x'}, {'name': 5}),
        {'keys': b'k' * 16, 'serializer': 'signed'},
    )
    for arguments in mistyped:
        with pytest.raises(TypeError, match=f'{next(iter(arguments))} must'):
            RemoteCache(url, **arguments)
    with pytest.raises(ValueError, match='NaN'):
        RemoteCache(url).set('key', 1, expire=float('nan'))


def test_options_of_the_url_do_not_change_the_protocol(server: Server, name: str) -> None:
    with RemoteCache(f'{server.url}?protocol=3&decode_responses=1', name, near=True) as cache:
        cache['key'] = b'\xff'
        assert cache['key'] == b'\xff'


def test_valkey_is_a_scheme_too(server: Server, name: str) -> None:
    with RemoteCache(server.url.replace('redis', 'valkey', 1), name) as cache:
        cache['key'] = 1
        assert cache['key'] == 1


def test_open_takes_a_directory_or_a_url(server: Server, name: str, directory: str) -> None:
    with diskcache.open(directory, timeout=5) as cache:
        assert type(cache) is Cache
        assert cache.directory == directory
    with diskcache.open(server.url, name=name, timeout=5) as remote:
        assert type(remote) is RemoteCache
        assert remote.name == name
    with pytest.raises(ValueError, match='redis'):
        diskcache.open('http://host')


def test_passwords_are_not_shown() -> None:
    cache = RemoteCache('redis://user:secret@host:1234/5', 'name')
    assert repr(cache) == "RemoteCache('redis://host:1234/5/name')"


@pytest.mark.parametrize(
    'url',
    [
        f'{scheme}://{user}:{password}@host:1/site'
        for scheme in ('redis', 'rediss', 'valkey', 'unix', 'redis+sentinel')
        for user in ('', 'user')
        for password in (
            '12/34',
            'pw/34',
            '12?34',
            '12?34=5',
            'pw?34',
            '12#34',
            'pw#34',
            'a@12?34',
            'a@12/34',
        )
    ],
)
def test_a_password_that_is_not_quoted_is_refused_and_not_shown(url: str) -> None:
    with pytest.raises(ValueError, match='%2F') as caught:
        RemoteCache(url)
    text = ''.join(traceback.format_exception(caught.value))
    assert '12' not in text.rpartition('ValueError')[2]
    assert '34' not in text.rpartition('ValueError')[2]
    assert 'pw' not in text.rpartition('ValueError')[2]
    assert 'direct cause' not in text
    assert 'During handling' not in text


@pytest.mark.parametrize(
    'url',
    [
        'redis://host/site',
        'redis://host:port/0',
        'redis://host:99999/0',
        'redis://[::1',
        'redis://host:1,other:2/0',
        'redis+sentinel://host/site/other',
        'redis://host?no_such_option=1',
        'redis+sentinel://host/site?no_such_option=1',
        'unix://run/socket',
    ],
)
def test_a_url_that_means_nothing_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match='url'):
        RemoteCache(url)


@pytest.mark.parametrize(
    'url',
    [
        'unix:///run/a@b/socket?db=1',
        'unix://user:a%40b@/run/socket',
        'redis://user:p%2Fw@host/1',
        'redis://:a@b@host',
        'rediss://host/1?ssl_cert_reqs=none',
        'rediss+sentinel://:x@host,[::1]:5/site/3?ssl_cert_reqs=none',
    ],
)
def test_a_url_that_means_something_is_accepted(url: str) -> None:
    assert RemoteCache(url).url == url


def test_a_pickled_cache_is_the_same_cache(cache: Any, open_cache: Any) -> None:
    cache['key'] = 1
    copy = pickle.loads(pickle.dumps(cache))
    assert copy['key'] == 1
    assert (copy.url, copy.name, copy.timeout) == (cache.url, cache.name, cache.timeout)
    copy.close()
    with pytest.raises(TypeError, match='keys'):
        pickle.dumps(open_cache(serializer='signed', keys=(KEY,)))


def test_a_closed_cache_opens_again(open_cache: Any) -> None:
    cache = open_cache(near=True)
    cache['key'] = 1
    assert cache['key'] == 1
    cache.close()
    assert cache['key'] == 1


def run(code: str) -> str:
    done = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, check=False)
    return (done.stdout + done.stderr).strip().splitlines()[-1]


def test_diskcache_does_not_import_it() -> None:
    code = "import sys, diskcache; print([m for m in sys.modules if 'redis' in m or 'remote' in m])"
    assert run(code) == '[]'


def test_without_redis_py_the_error_says_what_to_install() -> None:
    for statement in ('from diskcache.remote import RemoteCache', 'diskcache.open("redis://host")'):
        assert run(f"import sys, diskcache; sys.modules['redis'] = None; {statement}") == (
            "ImportError: diskcache.remote needs redis-py: pip install 'redis[hiredis]'"
        )
