"""The names of the package and the parameters of each are those of api.txt.

That file is a list of the original's interface. Its first line is the list of the public names;
`## module` begins the names of a module: classes, and below them, indented, what is in them;
functions of the module are not indented.
"""

from __future__ import annotations

import ast
import importlib
import importlib.util
import inspect
import os
import re
import subprocess
import sys
import time
import types
import typing
from collections.abc import Iterator
from typing import NamedTuple

import pytest
from interpreter import Interpreter
from places import PACKAGE, SUPPORT

import diskcache
from diskcache import core

API = SUPPORT / 'api.txt'
PUBLIC, *LINES = API.read_text().splitlines()
DJANGO = importlib.util.find_spec('django') is not None

# What this package has beside the original's interface: parameters, which come last, ...
ADDED_PARAMETERS = {
    'Cache.check': ', *, progress=None',
    'FanoutCache.check': ', *, progress=None',
    'Cache.read': ', *, mmap=False',
    'FanoutCache.read': ', *, mmap=False',
    'DjangoCache.read': ', *, mmap=False',
    'Cache.memoize': ', *, signature=False, cache_if=None',
    'FanoutCache.memoize': ', *, signature=False, cache_if=None',
    'Index.memoize': ', *, signature=False, cache_if=None',
    'DjangoCache.memoize': ', *, signature=False, cache_if=None',
    'memoize_stampede': ', *, signature=False, cache_if=None',
    'Lock.acquire': ', timeout=None',
    'RLock.acquire': ', timeout=None',
    'BoundedSemaphore.acquire': ', timeout=None',
}
# ... and public names.
ADDED_NAMES = {
    # Attributes of instances in the original.
    'Cache': {
        'add_many',
        'compact',
        'count',
        'cull_limit',
        'delete_many',
        'eviction_policy',
        'get_many',
        'hits',
        'items',
        'keys',
        'memory_limit',
        'memory_stats',
        'misses',
        'modify',
        'on_error',
        'read_only',
        'set_many',
        'setdefault',
        'size',
        'size_limit',
        'statistics',
        'touch_many',
        'update',
        'values',
    },
    'FanoutCache': {
        'add_many',
        'compact',
        'delete_many',
        'get_many',
        'items',
        'keys',
        'memory_limit',
        'memory_stats',
        'modify',
        'on_error',
        'read_only',
        'set_many',
        'setdefault',
        'touch_many',
        'update',
        'values',
    },
    'DjangoCache': {'add_many', 'touch_many'},
    'Disk': {'min_file_size', 'pickle_protocol'},
    'Deque': {'insert'},
    'Index': {'copy', 'fromkeys', 'move_to_end'},
}
# The slots of classes in C have no parameter names.
SLOTS = {'__getitem__', '__setitem__', '__contains__', '__len__', '__iter__', '__repr__'}

ENTRY = re.compile(
    r'(?P<indent> *)(?:(?P<kind>class|property|staticmethod|classmethod) )?(?P<name>\w+)'
    r'(?P<rest>\(.*\)| = None|)$'
)


class Entry(NamedTuple):
    """A name of the interface."""

    module: str
    owner: str | None  # The class that it is in.
    kind: str  # 'class', 'property', 'none' or the kind of function.
    name: str
    rest: str  # Parameters, or bases.

    @property
    def path(self) -> str:
        """Its name within the module."""
        return f'{self.owner}.{self.name}' if self.owner else self.name

    def find(self) -> object:
        """Return what the package has by that name; skip the test if that needs Django."""
        found: object = import_module(self.module)
        for name in self.path.split('.'):
            found = getattr(found, name)
        return found


def import_module(name: str) -> object:
    """Return the module called `name`; skip the test if that needs Django."""
    if name == 'diskcache.djangocache':
        pytest.importorskip('django')
    return importlib.import_module(name)


def listed() -> Iterator[Entry]:
    """Yield what api.txt lists."""
    module, owner = '', None
    for line in filter(None, LINES):
        if line.startswith('## '):
            module, owner = line[3:], None
            continue
        found = ENTRY.match(line)
        assert found, f'{API} has a line of an unknown form: {line}'
        if not found['indent']:
            owner = None
        kind = 'none' if found['rest'] == ' = None' else found['kind'] or 'function'
        yield Entry(module, owner, kind, found['name'], found['rest'])
        if kind == 'class':
            owner = found['name']


ENTRIES = list(listed())
FUNCTIONS = ('function', 'staticmethod', 'classmethod')


def entries(*kinds: str, public: bool = False) -> pytest.MarkDecorator:
    """Return the parametrization over the entries of `kinds`, or only over the public ones."""
    found = [
        entry
        for entry in ENTRIES
        if entry.kind in kinds and not (public and entry.name.startswith('_'))
    ]
    assert found, f'{API} lists no {kinds}'
    return pytest.mark.parametrize(
        'entry', found, ids=[f'{entry.module[10:]}.{entry.path}' for entry in found]
    )


def test_the_list_is_read_whole() -> None:
    counts = {kind: sum(entry.kind == kind for entry in ENTRIES) for kind in ('class', 'none')}
    assert counts == {'class': 15, 'none': 2}
    assert len(ENTRIES) == sum(bool(line) and not line.startswith('## ') for line in LINES)


def test_the_package_has_exactly_the_public_names() -> None:
    expected = ast.literal_eval(PUBLIC)
    if not DJANGO:
        expected.remove('DjangoCache')
    assert sorted(diskcache.__all__) == expected
    assert [name for name in expected if not hasattr(diskcache, name)] == []


def test_star_import_gives_the_public_names() -> None:
    namespace: dict[str, object] = {}
    exec('from diskcache import *', namespace)
    assert set(namespace) - {'__builtins__'} == set(diskcache.__all__)


def test_a_public_name_is_the_one_of_its_module() -> None:
    for entry in ENTRIES:
        if entry.owner is None and entry.name in diskcache.__all__:
            assert getattr(diskcache, entry.name) is entry.find()


def test_an_unknown_name_of_the_package_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match='misspelt'):
        diskcache.misspelt


def test_importing_the_package_does_not_import_django() -> None:
    script = "import sys, diskcache; assert 'django' not in sys.modules"
    environment = {**os.environ, 'PYTHONPATH': str(PACKAGE)}
    subprocess.run([sys.executable, '-c', script], env=environment, check=True)


@entries('class')
def test_classes_have_their_names_and_bases(entry: Entry) -> None:
    found = entry.find()
    assert inspect.isclass(found)
    assert entry.rest.strip('()') in [base.__name__ for base in found.__mro__[1:]]
    assert (found.__module__, found.__qualname__) == (entry.module, entry.name)


@entries('class')
def test_classes_have_no_public_names_but_those_listed(entry: Entry) -> None:
    found = entry.find()
    assert inspect.isclass(found)
    own = [base for base in found.__mro__ if base.__module__.startswith('diskcache.')]
    inherited = {name for base in set(found.__mro__) - set(own) for name in vars(base)}
    names = {name for base in own for name in vars(base) if not name.startswith('_')}
    classes = {base.__name__ for base in own}
    expected = {each.name for each in ENTRIES if each.owner in classes}
    expected = expected.union(*(ADDED_NAMES.get(name, set()) for name in classes))
    if entry.name == 'DjangoCache':  # Each has an asynchronous twin, as in Django's own class.
        expected |= {f'a{name}' for name in expected | inherited}
    assert names - expected - inherited == set()


@entries('property')
def test_properties_are_properties(entry: Entry) -> None:
    owner = getattr(import_module(entry.module), str(entry.owner))
    assert isinstance(inspect.getattr_static(owner, entry.name), property)


@entries('none')
def test_what_is_none_is_none(entry: Entry) -> None:
    assert entry.find() is None


@entries('staticmethod', 'classmethod')
def test_class_and_static_methods_are_such(entry: Entry) -> None:
    owner = getattr(import_module(entry.module), str(entry.owner))
    assert type(inspect.getattr_static(owner, entry.name)).__name__ == entry.kind


@entries(*FUNCTIONS)
def test_parameters_and_defaults_are_those_listed(entry: Entry) -> None:
    found = inspect.signature(entry.find())
    # The names that the defaults in the list refer to.
    namespace = {**vars(core), 'time': time, **vars(import_module(entry.module))}
    parameters = entry.rest[:-1] + ADDED_PARAMETERS.get(entry.path, '')
    exec(f'def expected{parameters}): pass', namespace)
    expected = list(inspect.signature(namespace['expected']).parameters.values())
    if entry.kind == 'classmethod':
        del expected[0]  # Which is bound.
    is_slot = isinstance(entry.find(), types.WrapperDescriptorType)
    if entry.name in SLOTS and (is_slot or entry.module == 'diskcache.core'):
        assert len(found.parameters) == len(expected)
        return
    assert list(found.parameters) == [parameter.name for parameter in expected]
    for parameter in expected:
        if parameter.name != 'self':  # Which is positional only in C.
            assert found.parameters[parameter.name].kind is parameter.kind
        assert repr(found.parameters[parameter.name].default) == repr(parameter.default)


@entries(*FUNCTIONS, 'property', 'class', public=True)
def test_everything_public_is_documented(entry: Entry) -> None:
    assert inspect.getdoc(entry.find())


@pytest.mark.skipif(not DJANGO, reason='needs Django')
def test_every_module_is_an_attribute_of_the_package() -> None:
    """Once it is imported, as in the original, of which each imports the next one."""
    modules = ('core', 'fanout', 'persistent', 'recipes', 'djangocache')
    script = f'import diskcache; print(*(getattr(diskcache, m).__name__ for m in {modules}))'
    done = subprocess.run([sys.executable, '-c', script], capture_output=True, text=True)
    assert done.stdout.split() == [f'diskcache.{module}' for module in modules], done.stderr


@pytest.mark.parametrize('module', ['core', 'fanout', 'persistent', 'recipes'])
def test_what_could_be_imported_from_a_module_still_can(original: Interpreter, module: str) -> None:
    """Programs import and patch what stands in a module, whichever it is defined in here."""
    names = original.run(f"""
    import types, diskcache.{module} as module
    [name for name, value in vars(module).items()
        if not (name.startswith('__') or isinstance(value, types.ModuleType))]
    """)
    found = importlib.import_module(f'diskcache.{module}')
    assert [name for name in names if not hasattr(found, name)] == []


def test_types_of_attributes_can_be_asked_for() -> None:
    """Their names are looked up in the module that a class says it is from."""
    for name in ('Cache', 'Deque', 'Disk', 'FanoutCache', 'Index', 'JSONDisk', 'Lock'):
        typing.get_type_hints(getattr(diskcache, name))
    for name in ('SafeDisk', 'SignedDisk'):
        typing.get_type_hints(getattr(diskcache, name))


def test_parameters_are_accepted_by_name(directory: str) -> None:
    with core.Cache(directory=directory, timeout=5, disk=core.Disk) as cache:
        cache.set(key='key', value=1, expire=None, read=False, tag=None, retry=False)
        assert cache.get(key='key') == 1
        cache.disk.put(key='key')
        assert cache.disk.fetch(mode=1, filename=None, value=5, read=False) == 5
        assert cache.disk.get(key='key', raw=True) == 'key'
        assert cache.disk.hash(key=1) == 1
        assert cache.disk.remove(file_path='not/there') is None


@pytest.mark.parametrize('name', ['Cache', 'Disk', 'JSONDisk', 'Deque', 'Index'])
def test_inspect_finds_no_text_of_a_class_rather_than_a_wrong_one(name: str) -> None:
    """It looks in the module that the class names, as pickles do. Methods have their text."""
    cls = getattr(diskcache, name)
    assert cls.__module__ in ('diskcache.core', 'diskcache.persistent')
    with pytest.raises(OSError):
        inspect.getsource(cls)
    assert 'def __init__' in inspect.getsource(cls.__init__)
