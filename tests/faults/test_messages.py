"""What is said of a key, a value or a name that a first program gets wrong, wherever it does so.

An error of pickling names the key and the directory in a note: the error itself is the pickler's.
"""

from __future__ import annotations

import functools as ft
import os
import shutil
import subprocess
import sys
import types
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from places import PACKAGE

import diskcache
from diskcache import Cache, CacheWarning, Deque, FanoutCache, Index, JSONDisk


class Unpicklable:
    """An object that refuses to be pickled."""

    def __reduce__(self) -> tuple:
        raise TypeError('cannot pickle this')

    def __repr__(self) -> str:
        return 'Unpicklable()'


class Thing:
    """An object of a class that goes away: `gone` removes it."""

    def __init__(self, number: int = 0) -> None:
        self.number = number

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Thing) and self.number == other.number

    def __hash__(self) -> int:
        return hash(self.number)


Thing.__module__ = 'gone_module'


@pytest.fixture
def gone(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Let things be pickled, until what is returned is called."""
    module = types.ModuleType('gone_module')
    module.Thing = Thing  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, 'gone_module', module)
    return lambda: delattr(module, 'Thing')


def notes(error: pytest.ExceptionInfo) -> str:
    """Return the notes of an exception."""
    return '\n'.join(getattr(error.value, '__notes__', []))


def django_cache(directory: str) -> Any:
    """Return a cache for Django."""
    pytest.importorskip('django')
    from diskcache.djangocache import DjangoCache

    return DjangoCache(directory, {'SHARDS': 2})


KINDS: dict[str, Callable[[str], Any]] = {
    'Cache': Cache,
    'FanoutCache': lambda directory: FanoutCache(directory, 2),
    'Index': Index,
    'DjangoCache': django_cache,
}


# --- keys and values that cannot be pickled ---

WITH_KEY: dict[str, Callable[[Any, Any], object]] = {
    'set': lambda cache, key: cache.set(key, 1),
    'add': lambda cache, key: cache.add(key, 1),
    'get': lambda cache, key: cache.get(key),
    'read': lambda cache, key: cache.read(key),
    'incr': lambda cache, key: cache.incr(key),
    'decr': lambda cache, key: cache.decr(key),
    'pop': lambda cache, key: cache.pop(key),
    'delete': lambda cache, key: cache.delete(key),
    'touch': lambda cache, key: cache.touch(key),
    'setdefault': lambda cache, key: cache.setdefault(key, 1),
    'update': lambda cache, key: cache.update({key: 1}),
    '[] =': lambda cache, key: cache.__setitem__(key, 1),
    '[]': lambda cache, key: cache[key],
    'del': lambda cache, key: cache.__delitem__(key),
    'in': lambda cache, key: key in cache,
    'set_many': lambda cache, key: cache.set_many({'a': 1, key: 1}),
    'add_many': lambda cache, key: cache.add_many({'a': 1, key: 1}),
    'get_many': lambda cache, key: cache.get_many(['a', key]),
    'delete_many': lambda cache, key: cache.delete_many(['a', key]),
    'memoize': lambda cache, key: cache.memoize('name')(str)(key),
}
OF_INDEX = {'get', 'pop', 'setdefault', 'update', '[] =', '[]', 'del', 'in', 'memoize'}


@pytest.mark.parametrize(
    ('kind', 'method'),
    [
        (kind, method)
        for kind in ('Cache', 'FanoutCache', 'Index')
        for method in WITH_KEY
        if kind != 'Index' or method in OF_INDEX
    ],
)
def test_a_key_that_cannot_be_pickled_is_shown(directory: str, kind: str, method: str) -> None:
    cache = KINDS[kind](directory)
    with pytest.raises(TypeError, match='cannot pickle this') as raised:
        WITH_KEY[method](cache, Unpicklable())
    assert 'Unpicklable()' in notes(raised)
    assert (directory in notes(raised)) == (kind != 'FanoutCache')  # it has no shard yet


@pytest.mark.parametrize('recipe', ['Lock', 'RLock', 'BoundedSemaphore'])
def test_the_key_of_a_lock_that_cannot_be_pickled_is_shown(cache: Cache, recipe: str) -> None:
    with pytest.raises(TypeError) as raised:
        getattr(diskcache, recipe)(cache, Unpicklable()).acquire()
    assert 'Unpicklable()' in notes(raised)


def test_of_a_long_key_the_beginning_is_shown(cache: Cache) -> None:
    with pytest.raises(TypeError) as raised:
        cache.get(('x' * 1000, Unpicklable()))
    assert "('xxx" in notes(raised)
    assert len(notes(raised)) < 400


def test_a_key_that_cannot_even_be_shown_hides_no_error(cache: Cache) -> None:
    class Shy(Unpicklable):
        def __repr__(self) -> str:
            raise RuntimeError('not to be seen')

    with pytest.raises(TypeError, match='cannot pickle this') as raised:
        cache.get(Shy())
    assert 'Shy object' in notes(raised)


WITH_VALUE: dict[str, Callable[[Any, Any], object]] = {
    'set': lambda cache, value: cache.set('key', value),
    'add': lambda cache, value: cache.add('key', value),
    '[] =': lambda cache, value: cache.__setitem__('key', value),
    'setdefault': lambda cache, value: cache.setdefault('key', value),
    'update': lambda cache, value: cache.update({'first': 1, 'key': value}),
    'set_many': lambda cache, value: cache.set_many({'first': 1, 'key': value}),
    'add_many': lambda cache, value: cache.add_many({'first': 1, 'key': value}),
    'memoize': lambda cache, value: cache.memoize('key')(lambda: value)(),
}
OF_DJANGO = {'set', 'add', 'set_many', 'add_many', 'memoize'}


@pytest.mark.parametrize(
    ('kind', 'method'),
    [
        (kind, method)
        for kind in KINDS
        for method in WITH_VALUE
        if method in {'Index': OF_INDEX, 'DjangoCache': OF_DJANGO}.get(kind, WITH_VALUE)
    ],
)
def test_the_key_of_a_value_that_cannot_be_pickled_is_shown(
    directory: str, kind: str, method: str
) -> None:
    cache = KINDS[kind](directory)
    with pytest.raises(TypeError, match='cannot pickle this') as raised:
        WITH_VALUE[method](cache, Unpicklable())
    assert 'key' in notes(raised).partition('of key')[2].partition(' in ')[0]
    assert directory in notes(raised)


def test_a_value_without_a_key_yet_is_of_its_directory(directory: str) -> None:
    for store in Cache(directory).push, Deque(directory=directory).append:
        with pytest.raises(TypeError) as raised:
            store(Unpicklable())
        assert notes(raised) == f'diskcache: storing a value in {directory!r}'


# --- what cannot be unpickled ---

READING: dict[str, Callable[[Any], object]] = {
    'get': lambda cache: cache.get('key'),
    'read': lambda cache: cache.read('key'),
    'pop': lambda cache: cache.pop('key'),
    'get_many': lambda cache: cache.get_many(['key']),
    '[]': lambda cache: cache['key'],
    'setdefault': lambda cache: cache.setdefault('key', 1),
    'peekitem': lambda cache: cache.peekitem(),
    'popitem': lambda cache: cache.popitem(),
    'items': lambda cache: list(cache.items()),
    'values': lambda cache: list(cache.values()),
}
READING_OF = {
    'Cache': set(READING) - {'popitem'},
    'FanoutCache': {'read', 'pop', '[]', 'setdefault'},  # the others count it as missing
    'Index': set(READING) - {'read', 'get_many'},
    'DjangoCache': {'read', 'pop'},
}


@pytest.mark.parametrize(
    ('kind', 'method'),
    [(kind, method) for kind, methods in READING_OF.items() for method in sorted(methods)],
)
def test_the_key_of_a_value_whose_class_is_gone_is_shown(
    directory: str, gone: Callable, kind: str, method: str
) -> None:
    cache = KINDS[kind](directory)
    if kind == 'Index':
        cache['key'] = Thing()
    else:
        cache.set('key', Thing())
    gone()
    for _ in range(2):  # from the database, and perhaps from memory
        with pytest.raises(AttributeError, match='Thing') as raised:
            READING[method](cache)
        assert 'key' in notes(raised).partition('of key')[2].partition(' in ')[0]
        assert directory in notes(raised)


@pytest.mark.parametrize(('kind', 'method'), [(Cache, 'pull'), (Cache, 'peek'), (Index, 'pull')])
def test_the_key_of_a_queued_value_whose_class_is_gone_is_shown(
    directory: str, gone: Callable, kind: Callable, method: str
) -> None:
    cache = kind(directory)
    cache.push(Thing())
    gone()
    with pytest.raises(AttributeError, match='Thing') as raised:
        getattr(cache, method)()
    assert f'key 500000000000000 in {directory!r}' in notes(raised)


@pytest.mark.parametrize(
    'call',
    {
        '[]': lambda deque: deque[0],
        'iter': list,
        'reversed': lambda deque: list(reversed(deque)),
        'pop': lambda deque: deque.pop(),
        'popleft': lambda deque: deque.popleft(),
        'peek': lambda deque: deque.peek(),
        'peekleft': lambda deque: deque.peekleft(),
        'count': lambda deque: deque.count(1),
        'remove': lambda deque: deque.remove(1),
        '==': lambda deque: deque == [1],
    }.values(),
)
def test_the_place_of_an_item_whose_class_is_gone_is_shown(
    directory: str, gone: Callable, call: Callable
) -> None:
    deque = Deque([Thing()], directory)
    gone()
    with pytest.raises(AttributeError, match='Thing') as raised:
        call(deque)
    assert f'key 500000000000000 in {directory!r}' in notes(raised)


@pytest.mark.parametrize(
    ('kind', 'call'),
    [
        (kind, call)
        for kind in ('Cache', 'FanoutCache', 'Index')
        for call in ('list', 'reversed', 'items', 'values', 'iterkeys', 'peekitem', 'popitem')
        if hasattr(getattr(diskcache, kind), call) or call in ('list', 'reversed')
        if (kind, call) not in {('FanoutCache', 'items'), ('FanoutCache', 'values')}
    ],
)
def test_a_key_whose_class_is_gone_is_shown(
    directory: str, gone: Callable, kind: str, call: str
) -> None:
    """As it is stored: nothing else of it is to be had."""
    cache = KINDS[kind](directory)
    cache[Thing()] = 1
    gone()
    with pytest.raises(AttributeError, match='Thing') as raised:
        if call in ('list', 'reversed'):
            list(reversed(cache) if call == 'reversed' else cache)
        else:
            found = getattr(cache, call)()
            list(found)
    assert 'gone_module' in notes(raised)
    assert directory in notes(raised)


def test_a_key_of_another_form_is_shown_as_itself(directory: str, gone: Callable) -> None:
    """Values are looked up by stored keys while views are iterated over; nobody has seen those."""
    cache = Index(directory)
    cache['a', 1] = Thing()
    gone()
    with pytest.raises(AttributeError) as raised:
        list(cache.items())
    assert "key ('a', 1) in" in notes(raised)


def test_a_damaged_pickle_names_its_key(directory: str) -> None:
    with Cache(directory) as cache:
        cache['key'] = ('a', 'b')
        cache._sql('UPDATE Cache SET value = ?', (b'\x80\x05\x8c\xff.',))
    with Cache(directory) as cache, pytest.raises(Exception) as raised:
        cache.get('key')
    assert f"key 'key' in {directory!r}" in notes(raised)
    assert Path(directory).is_dir()


def test_an_error_of_another_disk_names_it(directory: str) -> None:
    """What one Disk has written is often nothing that another can read."""
    with Cache(directory) as cache:
        cache['key'] = 'value'
    with warnings.catch_warnings():
        warnings.simplefilter('ignore', CacheWarning)
        cache = Cache(directory, disk=JSONDisk)
    with pytest.raises(TypeError, match='bytes-like') as raised:
        list(cache)
    assert notes(raised) == f"diskcache: reading the key 'key' in {directory!r}, with JSONDisk"


# --- arguments ---

WITH_EXPIRE: dict[str, Callable[[Any], object]] = {
    'set': lambda cache: cache.set('key', 1, ttl=60),
    'add': lambda cache: cache.add('key', 1, ttl=60),
    'touch': lambda cache: cache.touch('key', ttl=60),
    'set_many': lambda cache: cache.set_many({'key': 1}, ttl=60),
    'add_many': lambda cache: cache.add_many({'key': 1}, ttl=60),
    'memoize': lambda cache: cache.memoize(ttl=60),
    'Averager': lambda cache: diskcache.Averager(cache, 'key', ttl=60),
    'Lock': lambda cache: diskcache.Lock(cache, 'key', ttl=60),
    'RLock': lambda cache: diskcache.RLock(cache, 'key', ttl=60),
    'BoundedSemaphore': lambda cache: diskcache.BoundedSemaphore(cache, 'key', ttl=60),
    'throttle': lambda cache: diskcache.throttle(cache, 1, 1, ttl=60),
    'barrier': lambda cache: diskcache.barrier(cache, diskcache.Lock, ttl=60),
    'memoize_stampede': lambda cache: diskcache.memoize_stampede(cache, ttl=60),
}


@pytest.mark.parametrize('method', WITH_EXPIRE)
@pytest.mark.parametrize('kind', ['Cache', 'FanoutCache'])
def test_what_other_caches_call_expire(directory: str, kind: str, method: str) -> None:
    cache = KINDS[kind](directory)
    with pytest.raises(TypeError, match="keyword argument 'ttl': is 'expire' meant"):
        WITH_EXPIRE[method](cache)


def test_what_a_queue_of_another_cache_calls_expire(cache: Cache) -> None:
    with pytest.raises(TypeError, match="'expire' meant"):
        cache.push('value', ttl=60)


@pytest.mark.parametrize(
    'recipe',
    [
        lambda path: diskcache.Lock(path, 'key'),
        lambda path: diskcache.Averager(path, 'key'),
        lambda path: diskcache.throttle(path, 1, 1),
        lambda path: diskcache.memoize_stampede(path, 60),
        lambda path: diskcache.barrier(path, diskcache.Lock)(len),
    ],
)
def test_a_recipe_of_a_path_is_an_error_at_once(directory: str, recipe: Callable) -> None:
    with pytest.raises(TypeError, match="must be a Cache or a FanoutCache, not 'str'"):
        recipe(directory)


class Callee:
    """An object that can be called."""

    def __call__(self) -> int:
        return 1


@pytest.mark.parametrize(
    'decorator',
    [
        lambda cache, name: cache.memoize(name),
        lambda cache, name: diskcache.memoize_stampede(cache, 60, name),
        lambda cache, name: diskcache.throttle(cache, 10, 1, name),
        lambda cache, name: diskcache.barrier(cache, diskcache.Lock, name),
    ],
)
@pytest.mark.parametrize('function', [ft.partial(int, 1), Callee()])
def test_what_has_no_name_needs_one(cache: Cache, decorator: Callable, function: Callable) -> None:
    with pytest.raises(TypeError, match='pass name='):
        decorator(cache, None)(function)
    assert decorator(cache, 'name')(function)() == 1


@pytest.mark.parametrize('kind', [Cache, lambda path: FanoutCache(path, 2)])
def test_what_is_in_the_place_of_a_directory_is_named(tmp_path: Path, kind: Callable) -> None:
    path = tmp_path / 'file'
    path.write_text('')
    for place in path, path / 'below':
        with pytest.raises(OSError, match=f'{path}"? is not a directory'):
            kind(place)


def test_a_text_for_read_of_what_is_pushed(cache: Cache) -> None:
    with pytest.warns(CacheWarning, match='meant to be the tag'):
        cache.push(1, None, 'back', 60, 'tag')


def test_small_bytes_are_bytes_and_no_file(cache: Cache, tmp_path: Path) -> None:
    """As in the original: only what is in a file of its own can be opened."""
    cache['small'], cache['large'] = b'value', bytes(100_000)
    (tmp_path / 'value').write_bytes(b'value')
    with open(tmp_path / 'value', 'rb') as file:
        cache.set('file', file, read=True)
    assert cache.read('small') == cache.get('small', read=True) == b'value'
    for key, value in {'large': bytes(100_000), 'file': b'value'}.items():
        with cache.read(key) as one, cache.get(key, read=True) as other:
            assert one.read() == other.read() == value


def test_without_django_its_cache_says_what_to_install() -> None:
    """Also in an import statement, which drops the text of an AttributeError."""
    script = """
import sys
sys.modules['django'] = None
import diskcache
assert not hasattr(diskcache, 'DjangoCache')
assert 'DjangoCache' not in diskcache.__all__
from diskcache import *
try:
    diskcache.DjangoCache
except AttributeError as error:
    print(error)
from diskcache import Cache, DjangoCache
"""
    environment = {**os.environ, 'PYTHONPATH': str(PACKAGE)}
    command = [sys.executable, '-c', script]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    hint = 'DjangoCache needs Django: pip install Django'
    assert done.stdout == f'{hint}\n'
    assert f'ImportError: {hint}' in done.stderr


def import_copied(directory: Path, **added: str) -> tuple[Path, str]:
    """Copy the package, but for what is built, add files, and import it there; return the error."""
    sources = directory / 'diskcache'
    shutil.copytree(PACKAGE / 'diskcache', sources, ignore=shutil.ignore_patterns('*.so', '*.pyd'))
    for name, text in added.items():
        (sources / name).write_text(text)
    # Without site, which would find what is built of an editable installation.
    command = [sys.executable, '-S', '-c', 'import diskcache']
    done = subprocess.run(command, cwd=directory, capture_output=True, text=True)
    assert done.returncode == 1
    return sources, done.stderr


@pytest.mark.parametrize('added', [{}, {'_core.cpython-39-x86_64-linux-gnu.so': ''}], ids=len)
def test_a_package_that_is_not_built_says_what_to_do(tmp_path: Path, added: dict) -> None:
    """Who installs from a clone, and starts Python in it, imports its sources instead."""
    (tmp_path / 'src').mkdir()
    (tmp_path / 'src' / 'module.c').touch()
    sources, error = import_copied(tmp_path, **added)
    assert f'ImportError: {sources} is in a clone of the sources, and not built' in error
    assert 'leave the clone' in error
    assert 'During handling' not in error


def test_what_the_native_module_misses_is_named(tmp_path: Path) -> None:
    """Only the native module's own absence is explained, not that of what it imports."""
    _, error = import_copied(tmp_path, **{'_core.py': 'import what_is_missing\n'})
    # Python 3.15 adds that it was started without site.
    assert error.splitlines()[-1].startswith(
        "ModuleNotFoundError: No module named 'what_is_missing'"
    )
