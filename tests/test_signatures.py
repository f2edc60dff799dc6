"""The names of diskcache.core and the parameters of each are those of api_core.txt.

That file is a list of the original's interface: classes, and below them, indented, what is in
them; module functions are not indented.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from diskcache import core

API = Path(__file__).with_name('api_core.txt')
# Parameters that the original does not have, by keyword only.
ADDED = {('Cache', 'memoize'): ['signature']}
SLOTS = {'__getitem__', '__setitem__', '__contains__', '__len__', '__iter__', '__repr__'}


def listed(kind: str) -> Iterator[tuple[str | None, str, str]]:
    """Yield (class, name, parameters) of each entry of `kind`: class, property or callable."""
    owner = None
    for line in API.read_text().splitlines():
        if line.startswith('class '):
            owner, base = re.match(r'class (\w+)\((\w+)\)', line).groups()
            if kind == 'class':
                yield None, owner, base
        elif found := re.match(r'(    )?(?:staticmethod )?(\w+)(\(.*\))$', line):
            if kind == 'callable':
                yield owner if found[1] else None, found[2], found[3]
        elif (found := re.match(r'    property (\w+)', line)) and kind == 'property':
            yield owner, found[1], ''


def entries(kind: str, public: bool = False) -> pytest.MarkDecorator:
    """Return the parametrization over the entries of `kind`, or only over the public ones."""
    found = [entry for entry in listed(kind) if not (public and entry[1].startswith('_'))]
    assert found, f'{API} lists no {kind}'
    return pytest.mark.parametrize(
        ('owner', 'name', 'rest'),
        found,
        ids=['.'.join(filter(None, (owner, name))) for owner, name, _ in found],
    )


def find(owner: str | None, name: str) -> object:
    """Return what is called `name` in the class or the module."""
    return getattr(getattr(core, owner) if owner else core, name)


@entries('class')
def test_classes_have_their_names_and_bases(owner: None, name: str, rest: str) -> None:
    found = getattr(core, name)
    assert inspect.isclass(found)
    assert rest in [base.__name__ for base in found.__mro__[1:]]
    assert (found.__module__, found.__qualname__) == ('diskcache.core', name)


@entries('property')
def test_properties_are_properties(owner: str, name: str, rest: str) -> None:
    assert isinstance(inspect.getattr_static(getattr(core, owner), name), property)


@entries('callable')
def test_parameters_and_defaults_are_those_listed(owner: str | None, name: str, rest: str) -> None:
    namespace = dict(vars(core))
    exec(f'def expected{rest}: pass', namespace)
    expected = inspect.signature(namespace['expected'])
    found = inspect.signature(find(owner, name))
    names = list(expected.parameters)
    if name in SLOTS:
        assert len(found.parameters) == len(names)
        return
    added = ADDED.get((owner, name), [])
    assert list(found.parameters) == names + added
    for addition in added:
        assert found.parameters[addition].kind is inspect.Parameter.KEYWORD_ONLY
    for parameter in expected.parameters.values():
        if parameter.name != 'self':  # Which is positional only in C.
            assert found.parameters[parameter.name].kind is parameter.kind
        assert repr(found.parameters[parameter.name].default) == repr(parameter.default)


@entries('callable', public=True)
def test_everything_public_is_documented(owner: str | None, name: str, rest: str) -> None:
    assert inspect.getdoc(find(owner, name))


def test_parameters_are_accepted_by_name(directory: str) -> None:
    with core.Cache(directory=directory, timeout=5, disk=core.Disk) as cache:
        cache.set(key='key', value=1, expire=None, read=False, tag=None, retry=False)
        assert cache.get(key='key') == 1
        cache.disk.put(key='key')
        assert cache.disk.fetch(mode=1, filename=None, value=5, read=False) == 5
        assert cache.disk.get(key='key', raw=True) == 'key'
        assert cache.disk.hash(key=1) == 1
        assert cache.disk.remove(file_path='not/there') is None
