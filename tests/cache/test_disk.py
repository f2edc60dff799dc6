"""Disk and its subclasses: which hook is called for what, and that each can be replaced.

A hook can be overridden in a subclass, patched on the class or on the instance while the cache
is open, or come with another object put in place of `cache._disk`. The tests do each to each.
"""

from __future__ import annotations

import io
import json
import os
import pickle
import pickletools
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import ClassVar

import pytest
from consistency import value_files
from interpreter import Interpreter

import diskcache
from diskcache import UNKNOWN, Disk, JSONDisk

LARGE = b'x' * 100_000
HOOKS = ('put', 'get', 'store', 'fetch', 'filename', '_write', 'remove', 'hash')

Calls = list[tuple[str, tuple, dict]]


class RecordingDisk(Disk):
    """A Disk that notes the calls of its hooks."""

    calls: ClassVar[Calls] = []


def note_calls(name: str) -> Callable:
    """Return a hook called `name` that notes its call and does what Disk does."""

    def hook(self: Disk, *args: object, **kwargs: object) -> object:
        RecordingDisk.calls.append((name, args, kwargs))
        return getattr(Disk, name)(self, *args, **kwargs)

    return hook


for _name in HOOKS:
    setattr(RecordingDisk, _name, note_calls(_name))


@pytest.fixture
def calls() -> Calls:
    """The calls of the hooks of RecordingDisk, none at first."""
    RecordingDisk.calls.clear()
    return RecordingDisk.calls


@pytest.fixture
def recorded(directory: str, calls: Calls) -> Iterator[diskcache.Cache]:
    """A cache on a RecordingDisk."""
    with diskcache.Cache(directory, disk=RecordingDisk) as cache:
        calls.clear()
        yield cache


# Which hook is called for what.


def test_an_inline_value_is_put_stored_and_fetched(recorded: diskcache.Cache, calls: Calls) -> None:
    recorded['key'] = 'value'
    assert calls == [('put', ('key',), {}), ('store', ('value', False), {'key': 'key'})]
    calls.clear()
    assert recorded['key'] == 'value'
    assert calls == [('put', ('key',), {}), ('fetch', (1, None, 'value', False), {})]


def test_a_value_in_a_file_is_named_and_written(recorded: diskcache.Cache, calls: Calls) -> None:
    recorded['key'] = LARGE
    assert [name for name, _, _ in calls] == ['put', 'store', 'filename', '_write']
    assert calls[2][1] == ('key', LARGE)
    full_path, _, mode = calls[3][1][:3]
    assert Path(full_path) == Path(recorded.directory, *value_files(recorded.directory))
    assert mode == 'xb'


OPERATIONS = {
    'add': (lambda cache: cache.add('new', 1), ['put', 'store']),
    'in': (lambda cache: 'key' in cache, ['put']),
    'touch': (lambda cache: cache.touch('key'), ['put']),
    'incr of a new key': (lambda cache: cache.incr('new'), ['put', 'store']),
    'get': (lambda cache: cache.get('key'), ['fetch', 'put']),
    'get of a missing key': (lambda cache: cache.get('missing', 'default'), ['put']),
    'iteration': (lambda cache: list(cache), ['get']),
    'iteration in reverse': (lambda cache: list(reversed(cache)), ['get']),
    'iteration in order': (lambda cache: list(cache.iterkeys()), ['get']),
    'peekitem': (lambda cache: cache.peekitem(), ['fetch', 'get']),
    'pop': (lambda cache: cache.pop('key'), ['fetch', 'put']),
    'delete': (lambda cache: cache.delete('key'), ['put']),
    'push': (lambda cache: cache.push('value', prefix='other'), ['store']),
    'peek': (lambda cache: cache.peek('queue'), ['fetch']),
    'pull': (lambda cache: cache.pull('queue'), ['fetch']),
    'memoize': (lambda cache: cache.memoize()(len)('abc'), ['put', 'put', 'store']),
}


@pytest.mark.parametrize(('operation', 'hooks'), OPERATIONS.values(), ids=OPERATIONS.keys())
def test_an_operation_calls_the_hooks_it_needs(
    recorded: diskcache.Cache, calls: Calls, operation: Callable, hooks: list[str]
) -> None:
    if operation is OPERATIONS['peek'][0] or operation is OPERATIONS['pull'][0]:
        recorded.push('value', prefix='queue')
    else:
        recorded['key'] = 1
    calls.clear()
    assert operation(recorded)
    assert sorted(name for name, _, _ in calls) == hooks


REMOVALS = {
    'set': lambda cache: cache.set('key', 1),
    'delete': lambda cache: cache.delete('key'),
    'pop': lambda cache: cache.pop('key'),
    'evict': lambda cache: cache.evict('tag'),
    'clear': lambda cache: cache.clear(),
    'expire': lambda cache: cache.expire(1e12),
    'cull': lambda cache: cache.reset('size_limit', 0) or cache.cull(),
}


@pytest.mark.parametrize('removal', REMOVALS.values(), ids=REMOVALS.keys())
def test_a_file_that_is_no_longer_needed_is_removed_by_the_hook(
    recorded: diskcache.Cache, calls: Calls, removal: Callable
) -> None:
    recorded.set('key', LARGE, expire=1e6, tag='tag')
    (name,) = value_files(recorded.directory)
    removal(recorded)
    assert [args for hook, args, _ in calls if hook == 'remove'] == [(name,)]
    assert value_files(recorded.directory) == set()


def test_a_pulled_file_is_removed_by_the_hook(recorded: diskcache.Cache, calls: Calls) -> None:
    recorded.push(LARGE)
    (name,) = value_files(recorded.directory)
    assert recorded.pull()[1] == LARGE
    assert [args for hook, args, _ in calls if hook == 'remove'] == [(name,)]


# Replacing hooks: what each does instead, and what that looks like from outside.


class Reversing(Disk):
    """A Disk that keeps texts backwards, as keys and as values."""

    def put(self, key: str) -> tuple:
        """Turn the key around."""
        return super().put(key[::-1])

    def get(self, key: str, raw: bool) -> str:
        """Turn the key around again."""
        return super().get(key, raw)[::-1]

    def store(self, value: str, read: bool, key: object = UNKNOWN) -> tuple:
        """Turn the value around."""
        return super().store(value[::-1], read, key=key)

    def fetch(self, mode: int, filename: str | None, value: object, read: bool) -> str:
        """Turn the value around again."""
        return super().fetch(mode, filename, value, read)[::-1]


def by_subclass(directory: str, hooks: dict, patch: pytest.MonkeyPatch) -> diskcache.Cache:
    """Return a cache on a Disk that overrides `hooks`."""
    return diskcache.Cache(directory, disk=type('Changed', (Disk,), hooks))


def by_grandchild(directory: str, hooks: dict, patch: pytest.MonkeyPatch) -> diskcache.Cache:
    """Return a cache on a subclass of a class that overrides `hooks`."""
    changed = type('Changed', (Disk,), hooks)
    return diskcache.Cache(directory, disk=type('Grandchild', (changed,), {}))


def by_patch_of_the_class(
    directory: str, hooks: dict, patch: pytest.MonkeyPatch
) -> diskcache.Cache:
    """Patch Disk itself after the cache was opened and used."""
    cache = diskcache.Cache(directory)
    cache['opened'] = 'before'
    del cache['opened']
    for name, hook in hooks.items():
        patch.setattr(Disk, name, hook)
    return cache


def by_patch_of_the_subclass(
    directory: str, hooks: dict, patch: pytest.MonkeyPatch
) -> diskcache.Cache:
    """Patch a subclass that overrode nothing, after the cache was opened and used."""
    plain = type('Plain', (Disk,), {})
    cache = diskcache.Cache(directory, disk=plain)
    cache['opened'] = 'before'
    del cache['opened']
    for name, hook in hooks.items():
        setattr(plain, name, hook)
    return cache


def by_patch_of_the_instance(
    directory: str, hooks: dict, patch: pytest.MonkeyPatch
) -> diskcache.Cache:
    """Set attributes of the Disk of an open cache."""
    cache = diskcache.Cache(directory)
    cache['opened'] = 'before'
    del cache['opened']
    for name, hook in hooks.items():
        setattr(cache.disk, name, hook.__get__(cache.disk))
    return cache


def by_replacement(directory: str, hooks: dict, patch: pytest.MonkeyPatch) -> diskcache.Cache:
    """Put another Disk in the place of `_disk` of an open cache."""
    cache = diskcache.Cache(directory)
    cache['opened'] = 'before'
    del cache['opened']
    cache._disk = type('Changed', (Disk,), hooks)(directory, min_file_size=2**15)
    return cache


WAYS = [
    by_subclass,
    by_grandchild,
    by_patch_of_the_class,
    by_patch_of_the_subclass,
    by_patch_of_the_instance,
    by_replacement,
]


@pytest.fixture(params=WAYS, ids=lambda way: way.__name__)
def changed(
    request: pytest.FixtureRequest, directory: str, monkeypatch: pytest.MonkeyPatch
) -> Callable[[dict], diskcache.Cache]:
    """A function that gives a cache the hooks of whose Disk are replaced, in each way."""
    return lambda hooks: request.param(directory, hooks, monkeypatch)


BASE = {name: getattr(Disk, name) for name in HOOKS}


def test_put_and_get_can_be_replaced(changed: Callable) -> None:
    cache = changed(
        {
            'put': lambda self, key: (f'<{key}>', True),
            'get': lambda self, key, raw: key[1:-1],
        }
    )
    cache['key'] = 1
    assert cache['key'] == 1
    assert 'key' in cache
    assert list(cache) == ['key']
    assert cache.peekitem() == ('key', 1)
    assert cache._sql('SELECT key FROM Cache').fetchall() == [('<key>',)]
    assert cache.pop('key') == 1


def test_store_and_fetch_can_be_replaced(changed: Callable) -> None:
    cache = changed(
        {
            'store': lambda self, value, read, key=UNKNOWN: (0, 1, None, json.dumps(value)),
            'fetch': lambda self, mode, filename, value, read: json.loads(value),
        }
    )
    cache['key'] = [1, {'a': None}]
    assert cache['key'] == [1, {'a': None}]
    cache.push({'b': 2})
    assert cache.peek()[1] == {'b': 2}
    assert cache.pull()[1] == {'b': 2}
    assert cache._sql('SELECT value FROM Cache').fetchall() == [('[1, {"a": null}]',)]


def test_filename_can_be_replaced(changed: Callable) -> None:
    def filename(self: Disk, key: object = UNKNOWN, value: object = UNKNOWN) -> tuple[str, str]:
        return f'own/{key}.bin', os.path.join(self._directory, 'own', f'{key}.bin')

    cache = changed({'filename': filename})
    cache['key'] = LARGE
    assert value_files(cache.directory) == {'own/key.bin'}
    assert cache['key'] == LARGE
    del cache['key']
    assert value_files(cache.directory) == set()


def test_write_can_be_replaced(changed: Callable) -> None:
    def write(
        self: Disk, full_path: str, iterator: Iterator, mode: str, encoding: str | None = None
    ) -> int:
        written.append(mode)
        return BASE['_write'](self, full_path, iterator, mode, encoding)

    written: list[str] = []
    cache = changed({'_write': write})
    cache['bytes'], cache['text'], cache['pickle'] = LARGE, 'x' * 100_000, [LARGE]
    cache.set('file', io.BytesIO(b'contents'), read=True)
    assert written == ['xb', 'x', 'xb', 'xb']
    assert cache['bytes'] == LARGE
    assert cache['text'] == 'x' * 100_000
    assert cache['pickle'] == [LARGE]
    assert cache['file'] == b'contents'


def test_remove_can_be_replaced(changed: Callable) -> None:
    removed: list[str] = []
    cache = changed({'remove': lambda self, path: removed.append(path)})
    cache['key'] = LARGE
    names = value_files(cache.directory)
    del cache['key']
    assert set(removed) == names
    assert value_files(cache.directory) == names


def test_an_os_error_of_fetch_is_a_miss(changed: Callable) -> None:
    def fetch(self: Disk, *args: object) -> None:
        raise FileNotFoundError

    cache = changed({'fetch': fetch})
    cache['key'] = 'value'
    assert cache.get('key') is None
    assert cache.get('key', 'default', tag=True) == ('default', None)
    with pytest.raises(KeyError):
        cache['key']
    assert cache.pop('key', 'default') == 'default'


@pytest.mark.parametrize('hook', ['put', 'store', 'filename', '_write'])
def test_an_error_of_a_hook_leaves_the_cache_as_it_was(
    changed: Callable, hook: str, assert_intact: Callable
) -> None:
    def fail(self: Disk, *args: object, **kwargs: object) -> None:
        raise ZeroDivisionError

    cache = changed({hook: fail})
    with pytest.raises(ZeroDivisionError):
        cache['key'] = LARGE
    assert len(cache) == 0
    assert value_files(cache.directory) == set()


def test_an_error_of_fetch_other_than_os_error_is_raised(changed: Callable) -> None:
    def fetch(self: Disk, *args: object) -> None:
        raise ZeroDivisionError

    cache = changed({'fetch': fetch})
    cache['key'] = 'value'
    for read in (cache.get, cache.pop, cache.__getitem__):
        with pytest.raises(ZeroDivisionError):
            read('key')
    assert 'key' in cache


def test_a_patch_that_is_undone_is_undone(directory: str) -> None:
    with diskcache.Cache(directory) as cache:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Disk, 'put', lambda self, key: ('same', True))
            cache['a'] = 1
            assert cache['b'] == 1
        assert 'a' not in cache
        assert cache['same'] == 1


def test_both_sides_of_a_disk_that_changes_keys_and_values(directory: str) -> None:
    with diskcache.Cache(directory, disk=Reversing) as cache:
        cache['abc'] = 'value'
        cache['large'] = 'ab' * 50_000
        assert cache['abc'] == 'value'
        assert cache['large'] == 'ab' * 50_000
        assert list(cache) == ['abc', 'large']
        row = cache._sql('SELECT key, value FROM Cache').fetchone()
        assert row == ('cba', 'eulav')


# Arguments of the Disk.


def test_settings_of_the_disk_are_its_arguments_and_attributes(directory: str) -> None:
    class Coloured(Disk):
        def __init__(self, directory: str, colour: str = 'red', **kwargs: int) -> None:
            self.colour = colour
            super().__init__(directory, **kwargs)

    with diskcache.Cache(directory, disk=Coloured, disk_colour='blue') as cache:
        assert (cache.disk.colour, cache.disk_colour) == ('blue', 'blue')
        cache.reset('disk_colour', 'green')
        assert (cache.disk.colour, cache.disk_colour) == ('green', 'green')
    with diskcache.Cache(directory, disk=Coloured) as cache:
        assert cache.disk.colour == 'green'
        assert cache.disk.min_file_size == 2**15


def test_min_file_size_decides_what_goes_to_a_file(directory: str) -> None:
    with diskcache.Cache(directory, disk_min_file_size=10) as cache:
        cache['short text'], cache['short bytes'] = 'x' * 9, b'x' * 9
        assert value_files(directory) == set()
        cache['text'], cache['bytes'] = 'x' * 10, b'x' * 10
        assert len(value_files(directory)) == 2
        cache.disk.min_file_size = 100
        cache['longer'] = 'x' * 99
        assert len(value_files(directory)) == 2


def test_a_protocol_of_none_is_the_default_of_pickle(directory: str) -> None:
    """As for pickle itself, and in the original, which stores the setting so."""
    with diskcache.Cache(directory, disk_pickle_protocol=None) as cache:
        cache[1, 2] = [3]
    with diskcache.Cache(directory) as cache:
        assert cache.disk.pickle_protocol is cache.disk_pickle_protocol is None
        assert cache[1, 2] == [3]
        ((key, value),) = cache._sql('SELECT key, value FROM Cache')
        assert key == pickletools.optimize(pickle.dumps((1, 2)))
        assert cache.memoize(signature=True)(divmod)(7, 2) == (3, 1)
        assert value == pickle.dumps([3])


def test_the_protocol_of_the_disk_is_that_of_the_pickles(directory: str) -> None:
    with diskcache.Cache(directory, disk_pickle_protocol=2) as cache:
        cache[1, 2] = [3]
        assert cache[1, 2] == [3]
        cache.disk.pickle_protocol = 4
        assert (1, 2) not in cache
        cache[3, 4] = [5]
        assert cache[3, 4] == [5]
        rows = cache._sql('SELECT key, value FROM Cache ORDER BY rowid').fetchall()
        assert [(key[:2], value[:2]) for key, value in rows] == [
            (b'\x80\x02', b'\x80\x02'),
            (b'\x80\x04', b'\x80\x04'),
        ]


@pytest.mark.parametrize('level', [0, 1, 9])
def test_json_disk_compresses_as_told(directory: str, level: int) -> None:
    import zlib

    with diskcache.Cache(directory, disk=JSONDisk, disk_compress_level=level) as cache:
        cache['key'] = ['value'] * 100
        assert cache['key'] == ['value'] * 100
        ((key, value),) = cache._sql('SELECT key, value FROM Cache').fetchall()
        assert key == zlib.compress(b'"key"', level)
        assert value == zlib.compress(json.dumps(['value'] * 100).encode(), level)


def test_a_subclass_of_json_disk_may_call_its_hooks(directory: str) -> None:
    class Upper(JSONDisk):
        def put(self, key: str) -> tuple:
            return super().put(key.upper())

        def store(self, value: object, read: bool, key: object = UNKNOWN) -> tuple:
            return super().store({'wrapped': value}, read, key=key)

        def fetch(self, mode: int, filename: str | None, value: object, read: bool) -> object:
            return super().fetch(mode, filename, value, read)['wrapped']

    with diskcache.Cache(directory, disk=Upper) as cache:
        cache['key'] = 5
        assert cache['KEY'] == 5
        assert list(cache) == ['KEY']


# Texts that are difficult.


@pytest.mark.parametrize('text', ['\0', 'a\0b', 'a\0', '\x00' * 40_000, '\r\n', '\ufeffbom', 'é'])
def test_difficult_texts_come_back_as_keys_and_values(cache: diskcache.Cache, text: str) -> None:
    cache[text] = text
    assert cache[text] == text
    assert list(cache) == [text]
    assert list(cache.iterkeys()) == [text]


@pytest.mark.parametrize('text', ['\ud800', 'a\udcff', 'x' * 40_000 + '\udfff'])
def test_surrogates_cannot_be_encoded(cache: diskcache.Cache, text: str) -> None:
    with pytest.raises(UnicodeEncodeError):
        cache['key'] = text
    with pytest.raises(UnicodeEncodeError):
        cache[text] = 1
    assert len(cache) == 0
    cache['key'] = [text]
    assert cache['key'] == [text]


# Hashes: FanoutCache finds its shard by them, so they are facts of what is on disk.

HASHED = [
    '', 'a', '\u20ac', '\U0001f600', 'x' * 10_000, b'', b'a', b'\0\xff' * 5000,
    *range(-3, 4), 2**32 - 2, 2**32 - 1, 2**32, 2**63 - 1, -(2**63), 2**63, 10**50,
    0.0, -0.0, 1.0, -1.5, 1e308, 5e-324, float('inf'), None, True, False, (), (1, 'a'), [1],
    frozenset([3]), ('text',) * 100, {'a': 1}, 1j, int,
]  # fmt: skip


@pytest.mark.parametrize('protocol', range(6))
@pytest.mark.parametrize('disk', ['Disk', 'JSONDisk'])
def test_hashes_are_those_of_the_original(
    other: Interpreter, original: Interpreter, directory: str, protocol: int, disk: str
) -> None:
    script = """
    disk = getattr(diskcache, name)(directory, pickle_protocol=protocol)
    hashes = []
    for key in keys:
        try:
            hashes.append(disk.hash(key))
        except TypeError:
            hashes.append('TypeError')
    hashes
    """
    options = {'name': disk, 'protocol': protocol, 'keys': HASHED, 'directory': directory}
    assert other.run(script, **options) == original.run(script, **options)
