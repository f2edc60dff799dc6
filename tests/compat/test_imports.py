"""What `import diskcache` imports, and what annotations are without typing."""

from __future__ import annotations

import os
import subprocess
import sys
import typing
from pathlib import Path

import pytest
from places import PACKAGE

import diskcache

#: Prints what the import adds: each module, and whether it is Python.
_WHAT_IS_IMPORTED = """
import sys
before = set(sys.modules)
sys.path.insert(0, sys.argv[1])
import diskcache
for name in sorted(set(sys.modules) - before):
    print(name, str(getattr(sys.modules[name], '__file__', None)).endswith('.py'))
"""

#: What both do without that used to take half of the time.
_PUT_OFF = {
    *('asyncio', 'inspect', 'json', 'logging', 'numbers', 'opcode', 'pickletools', 'random'),
    *('secrets', 'shutil', 'tempfile', 'typing', 'importlib.util'),
}


def imported(path: str) -> dict[str, bool]:
    """What importing the package that is in a directory imports; whether each is Python."""
    # Without site, which imports half of it for the .pth files of an environment.
    done = subprocess.run(
        [sys.executable, '-S', '-c', _WHAT_IS_IMPORTED, path],
        check=True,
        capture_output=True,
        text=True,
        env={**os.environ, 'PYTHONPATH': ''},
    )
    return {
        name: is_python == 'True' for name, is_python in map(str.split, done.stdout.splitlines())
    }


def test_no_module_is_imported_that_the_original_does_without(original_package: Path) -> None:
    """A program that starts, and may not even use its cache, pays no more than before.

    Our own modules are exempt, those in C, and `__future__`, which a compiler directive imports.
    """
    before, now = imported(str(original_package)), imported(str(PACKAGE))
    more = {name for name in now.keys() - before.keys() if now[name]}
    assert {name for name in more if not name.startswith('diskcache.')} == {'__future__'}
    assert now.keys() & _PUT_OFF == set()


def test_an_import_that_fails_says_what_it_misses() -> None:
    """Of what the native module takes from others, where a signal may stop it, too."""
    script = 'import pickle; del pickle.loads\nimport diskcache'
    environment = {**os.environ, 'PYTHONPATH': str(PACKAGE)}
    command = [sys.executable, '-c', script]
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith("AttributeError: module 'pickle' has no attr")
    assert 'SystemError' not in done.stderr


def test_a_check_of_a_sound_cache_imports_little(tmp_path: Path) -> None:
    """To import what follows pickles takes longer than to check a small cache."""
    script = (
        'import sys, diskcache\ncache = diskcache.Cache(sys.argv[1])\ncache[1] = 1\n'
        'assert cache.check() == []\nprint(*sys.modules)'
    )
    done = subprocess.run(
        [sys.executable, '-S', '-c', script, str(tmp_path)],
        check=True,
        capture_output=True,
        text=True,
        env={**os.environ, 'PYTHONPATH': str(PACKAGE)},
    )
    assert set(done.stdout.split()) & (_PUT_OFF | {'dataclasses', 'zlib'}) == set()


@pytest.mark.parametrize('name', ['Cache', 'FanoutCache', 'Deque', 'Index', 'Disk', 'SignedDisk'])
def test_annotations_resolve_although_typing_is_not_imported(name: str) -> None:
    """Programs ask for them: to document, to check, or to fill in arguments."""
    cls = getattr(diskcache, name)
    for method in vars(cls).values():
        if getattr(method, '__annotations__', None):
            typing.get_type_hints(method)


def test_the_annotation_any_is_resolved_as_a_type_that_all_have() -> None:
    hints = typing.get_type_hints(diskcache.FanoutCache.set)
    assert hints['key'] in (object, typing.Any)
    assert hints['return'] is bool
