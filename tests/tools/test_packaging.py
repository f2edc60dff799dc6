"""The recipes in packaging/ say of the package what pyproject.toml says."""

from __future__ import annotations

import re

import pytest
from places import ROOT

PYPROJECT = (ROOT / 'pyproject.toml').read_text()
DEBIAN = ROOT / 'packaging' / 'debian'
RECIPE = ROOT / 'packaging' / 'conda' / 'recipe.yaml'
WORKFLOW = ROOT / '.github' / 'workflows' / 'wheels.yml'


def found(pattern: str, text: str) -> str:
    match = re.search(pattern, text, re.MULTILINE)
    assert match is not None, pattern
    return match[1]


VERSION = found(r'^version = "(.*)"', PYPROJECT)


def test_the_versions_are_that_of_the_package() -> None:
    """A release changes pyproject.toml; a recipe that names another version builds another one."""
    module = (ROOT / 'diskcache' / '__init__.py').read_text()
    assert found(r"^__version__ = '(.*)'", module) == VERSION
    numbers = bytes(int(number) for number in VERSION.split('.'))
    assert found(r'^__build__ = 0x(.*)', module) == numbers.hex()
    assert found(r'^#define VERSION "(.*)"', (ROOT / 'src' / 'module.c').read_text()) == VERSION
    assert found(r'^ +version: "(.*)"', RECIPE.read_text()) == VERSION
    assert found(r'^python-diskcache \((.*)-\d', (DEBIAN / 'changelog').read_text()) == VERSION


def test_the_source_is_what_the_workflow_publishes() -> None:
    """On the registry `diskcache` is the original, which has no file of our version."""
    name = found(r'^  DISKCACHE_DISTRIBUTION: (.*)', WORKFLOW.read_text())
    file = f'{name.replace("-", "_")}-${{{{ version }}}}.tar.gz'
    assert found(r'^  url: .*/source/d/(.*)', RECIPE.read_text()) == f'{name}/{file}'


@pytest.mark.parametrize('path', [DEBIAN / 'control', RECIPE], ids=['debian', 'conda'])
def test_what_the_build_needs_is_there(path) -> None:
    """The build goes without isolation there: the recipe itself must ask for new setuptools."""
    oldest = found(r'^requires = \["setuptools>=(\d+)"', PYPROJECT)
    assert re.search(rf'setuptools \(?>= ?{oldest}\b', path.read_text())


def test_the_command_and_the_licence_are_the_same() -> None:
    """conda makes the command itself, and both recipes name the licence."""
    command = found(r'^\[project.scripts\]\ndiskcache = "(.*)"', PYPROJECT)
    licence = found(r'^license = "(.*)"', PYPROJECT)
    assert found(r'^ +- diskcache = (.*)', RECIPE.read_text()) == command
    assert found(r'^ +license: (.*)', RECIPE.read_text()) == licence
    assert found(r'^License: (.*)', (DEBIAN / 'copyright').read_text()) == licence


def test_nobody_is_told_to_install_the_original() -> None:
    """With diskcache[cli] pip fetches that, if the distribution is called otherwise."""
    said = [
        str(path.relative_to(ROOT))
        for folder in ('benchmarks', 'diskcache', 'docs', 'examples')
        for path in (ROOT / folder).rglob('*')
        if path.suffix in ('.py', '.rst') and re.search(r'\bdiskcache\[[a-z]', path.read_text())
    ]
    assert said == []
