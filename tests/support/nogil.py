"""Run the tests on a Python without a GIL, built from Debian's source package.

    python tests/support/nogil.py [--pytest-args=ARGS]    `make test-nogil`

The interpreter is built in build/nogil, and used again. That takes some minutes and needs what
building CPython needs; where it is not to be had, that is said, and is no failure. First comes the
stress of threads (stress_threads.py), then the tests. The module does not declare that it needs no
GIL, so PYTHON_GIL=0 keeps that off.
"""

from __future__ import annotations

import argparse
import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

from places import ROOT

sys.path.append(str(ROOT / 'tools'))

from debian import need, report, run, source

BUILD = ROOT / 'build' / 'nogil'
SUITE = 'trixie'
SOURCE = 'python3.13'
#: Of the tests' packages those that can be had for it.
PACKAGES = [
    'Django>=5.2',
    'cloudpickle>=3',
    'dill>=0.3.8',
    'hypothesis>=6.100,<6.140',  # later ones need a compiler for Rust
    'pytest>=8',
    'pytest-timeout>=2.3',
    'pytest-xdist>=3.6',
    'rich>=13',
    'setuptools>=77',
    'trio>=0.26',
    'wheel',
]
PATIENCE = 3600  # Seconds after which the tests are held to hang.


def build_python() -> Path:
    """Return the interpreter, with the tests' packages."""
    python = BUILD / 'venv' / 'bin' / 'python'
    if (BUILD / 'complete').exists():
        return python
    need('cc', 'make')
    configure = source(SOURCE, SUITE) / 'configure'
    objects = BUILD / 'objects'
    shutil.rmtree(BUILD, ignore_errors=True)
    objects.mkdir(parents=True)
    run(configure, '--disable-gil', f'--prefix={BUILD / "python"}', cwd=objects)
    run('make', f'-j{os.cpu_count()}', cwd=objects)
    run('make', 'install', cwd=objects)
    run(BUILD / 'python' / 'bin' / 'python3.13t', '-m', 'venv', BUILD / 'venv')
    run(python, '-m', 'pip', 'install', '--quiet', *PACKAGES)
    (BUILD / 'complete').touch()
    return python


def run_tests(pytest_args: list[str]) -> str:
    """Run the stress and the tests; return the tests' last line."""
    python = build_python()
    run(python, 'setup.py', '--quiet', 'build_ext', '--inplace', cwd=ROOT)
    environment = {**os.environ, 'PYTHON_GIL': '0'}
    stress = [python, 'tests/support/stress_threads.py']
    assert subprocess.run(stress, cwd=ROOT, env=environment).returncode == 0, 'the stress'
    tests = [python, '-m', 'pytest', '-q', '-p', 'no:cacheprovider', *pytest_args]
    done = subprocess.run(
        tests, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True, timeout=PATIENCE
    )
    lines = done.stdout.splitlines() or ['nothing printed']
    assert done.returncode == 0, '\n'.join(lines[-40:])
    return lines[-1]


if __name__ == '__main__':
    parser = argparse.ArgumentParser(description=__doc__.partition('\n')[0])
    parser.add_argument('--pytest-args', default='', help='further arguments for pytest')
    arguments = shlex.split(parser.parse_args().pytest_args)
    sys.exit(report('free threads', lambda: run_tests(arguments)))
