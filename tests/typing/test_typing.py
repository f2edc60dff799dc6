"""What type checkers say of programs that use the package.

To mypy and to pyright each line of a program that ends with ``# error`` is one, and no other is.
So a program gets the types that its `assert_type` name. Both checkers are as strict as they can be.
They are of the extra ``dev``: `make lint` runs this.
"""

from __future__ import annotations

import importlib.util
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from places import ROOT

import diskcache

PROGRAMS = Path(__file__).parent / 'programs'
PACKAGE = Path(diskcache.__file__).parent
NAMES = sorted(path.name for path in PROGRAMS.glob('*.py'))

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(600),  # the first time mypy reads all of Django's types
    pytest.mark.xdist_group('typing'),
    pytest.mark.skipif(
        not all(map(importlib.util.find_spec, ('mypy', 'basedpyright', 'mypy_django_plugin'))),
        reason='needs the extra dev',
    ),
]

Found = dict[str, dict[int, str]]


def run(*command: str, **environment: str) -> str:
    done = subprocess.run(
        [sys.executable, '-m', *command],
        cwd=PROGRAMS,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
    )
    assert done.returncode in (0, 1), done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope='module')
def of_mypy() -> Found:
    """Return what mypy finds: messages by the line, by the name of the program."""
    found: Found = {name: {} for name in NAMES}
    # A package in site-packages is found without, and refused with it.
    path = {} if 'site-packages' in PACKAGE.parts else {'MYPYPATH': str(PACKAGE.parent)}
    output = run(
        *('mypy', '--strict', '--python-version', '3.10', '--no-error-summary'),
        *('--config-file', os.devnull, '--cache-dir', str(ROOT / '.mypy_cache' / 'programs')),
        *('--follow-imports', 'silent', *NAMES),
        **path,
    )
    for line in output.splitlines():
        match = re.fullmatch(r'(\w+\.py):(\d+): error: (.*)', line)
        if match:
            found[match[1]][int(match[2])] = match[3]
    return found


@pytest.fixture(scope='module')
def of_pyright() -> Found:
    """Return what pyright finds, in the form of `of_mypy`."""
    found: Found = {name: {} for name in NAMES}
    output = run(
        *('basedpyright', '--pythonpath', sys.executable, '--outputjson'),
        *('--project', 'pyrightconfig.json'),
        PYTHONPATH=str(PACKAGE.parent),
    )
    for each in json.loads(output)['generalDiagnostics']:
        name = Path(each['file']).name
        if each['severity'] == 'error':
            found[name][each['range']['start']['line'] + 1] = each['message']
    return found


def check(name: str, found: Found) -> None:
    lines = (PROGRAMS / name).read_text().splitlines()
    wrong = {number for number, line in enumerate(lines, 1) if line.endswith('# error')}
    problems = [
        f'{name}:{number}: {text}' for number, text in found[name].items() if number not in wrong
    ]
    missed = [
        f'{name}:{number}: nothing found: {lines[number - 1]}'
        for number in sorted(wrong - found[name].keys())
    ]
    assert problems + missed == []


@pytest.mark.parametrize('name', NAMES)
def test_mypy_finds_the_errors_and_no_others(name: str, of_mypy: Found) -> None:
    check(name, of_mypy)


@pytest.mark.parametrize('name', NAMES)
def test_pyright_finds_the_errors_and_no_others(name: str, of_pyright: Found) -> None:
    check(name, of_pyright)


def test_the_type_of_each_public_name_is_known() -> None:
    output = run(
        *('basedpyright', '--verifytypes', 'diskcache', '--ignoreexternal', '--outputjson'),
        PYTHONPATH=str(PACKAGE.parent),
        PATH=os.pathsep.join([str(Path(sys.executable).parent), os.environ.get('PATH', '')]),
    )
    report = json.loads(output)['typeCompleteness']
    assert [
        each['name']
        for each in report['symbols']
        if each['isExported'] and not (each['isTypeKnown'] and not each['isTypeAmbiguous'])
    ] == []
    assert report['completenessScore'] == 1
