"""Run the tests on other copies of SQLite, and on Pythons that carry SQLite inside.

    python tests/support/sqlite_matrix.py sqlite [NAME...]    `make test-sqlite`
    python tests/support/sqlite_matrix.py static [NAME...]    `make test-static`

*sqlite*: `bookworm`, `trixie` and `sid` are libsqlite3 of these suites of Debian, built from the
source package; with `-debug`, with SQLite's own assertions, which end a process that misuses it.
The dynamic linker finds them in the place of the system's. `0.5.4.post2` and its like are versions
of pysqlite3-binary, which takes the place of sqlite3 in all processes of the tests.

*static*: Debian's python3.11, from its source package, with SQLite linked in and its names hidden,
as stand-alone Pythons have it: `with` loadable extensions, where all must work, and `without`,
where the import must fail with one clear sentence.

What is built stays in build/sqlite, and is used again. Needed are a C compiler, make, dpkg-dev and
tcl; for the static Pythons also the headers of zlib, OpenSSL and libffi, and libsqlite3-dev.
"""

from __future__ import annotations

import argparse
import os
import re
import shlex
import shutil
import subprocess
import sys
import sysconfig
import time
from collections.abc import Callable
from pathlib import Path

from places import ROOT

sys.path.append(str(ROOT / 'tools'))

import debian
from debian import Unavailable, need, run

BUILD = ROOT / 'build' / 'sqlite'

SUITES = ('bookworm', 'trixie', 'sid')
DEBIAN = tuple(suite + kind for suite in SUITES for kind in ('', '-debug'))
# In older ones SQLite waits for locks in whole seconds (it is built without usleep), and whoever
# leaves the waiting to SQLite, as the original does, hardly gets a lock beside others.
WHEELS = ('0.5.2.post3', '0.5.4.post2')
STATIC = ('with', 'without')

# What `--short` runs: the files that meet SQLite's locks, journal and interface most.
SHORT = [
    *('cache/test_cache_subclass.py', 'cache/test_check.py', 'cache/test_hot_tier.py'),
    *('cache/test_policies.py', 'cache/test_queue.py', 'cache/test_transactions.py'),
    *('compat/test_sqlite.py', 'concurrency/test_checkpoints.py', 'concurrency/test_fork.py'),
]
# What a Python that carries SQLite inside must pass at least; all of it, without --short.
SHORT_STATIC = [
    *SHORT,
    *('compat/test_conformance.py', 'compat/test_interchange.py'),
    'concurrency/test_coherence.py',
]

# As configure --enable-debug defines it; -O1 because -O0 makes the tests four times as slow.
DEBUG_FLAGS = '-O1 -g -DSQLITE_DEBUG=1 -DSQLITE_ENABLE_SELECTTRACE -DSQLITE_ENABLE_WHERETRACE'
RELEASE_FLAGS = '-O2'
ALL_FLAGS = '-fPIC -shared -fno-strict-aliasing -Wl,-soname,libsqlite3.so.0'

# For the site-packages of an environment: its processes have pysqlite3 in the place of sqlite3.
REPLACE = "import os, sys; p = os.environ.get('DISKCACHE_REPLACE_SQLITE3'); \
p and (sys.path.append(p), sys.modules.update(sqlite3=__import__('pysqlite3')))\n"

PATIENCE = 3600  # Seconds after which a run of the tests is held to hang.

Environment = dict[str, str]


# --- SQLite as a shared library ---


def build_library(name: str) -> Path:
    """Return the directory with the libsqlite3.so.0 that `name` stands for."""
    suite, _, kind = name.partition('-')
    place = BUILD / name
    if (place / 'libsqlite3.so.0').exists():
        return place
    amalgamation = debian.sqlite_amalgamation(suite)
    source = debian.source('sqlite3', suite)
    print(f'== compiling {source.name}, {kind or "release"}', flush=True)
    rules = (source / 'debian' / 'rules').read_text()
    flags = [
        *shlex.split(DEBUG_FLAGS if kind == 'debug' else RELEASE_FLAGS),
        *shlex.split(ALL_FLAGS),
        *sorted(set(re.findall(r'-DSQLITE_\w+(?:=\d+)?', rules))),
        *('-DSQLITE_ENABLE_FTS4', '-DSQLITE_ENABLE_FTS5'),
    ]
    place.mkdir(parents=True, exist_ok=True)
    partial = place / 'partial.so'
    run('cc', *flags, '-o', partial, 'sqlite3.c', '-lm', '-ldl', '-lpthread', cwd=amalgamation)
    partial.rename(place / 'libsqlite3.so.0')
    return place


# --- environments ---


def make(target: str, **variables: object) -> None:
    """Make a target of the project's Makefile."""
    run(
        'make',
        '--no-print-directory',
        target,
        *(f'{k}={v}' for k, v in variables.items()),
        cwd=ROOT,
    )


def build_environment(place: Path, interpreter: str | Path) -> Path:
    """Return the interpreter of a virtual environment that has the package and its tests' needs."""
    make('build', VENV=place, PYTHON=interpreter)
    make('pysqlite3', VENV=place)
    return place / 'bin' / 'python'


def fetch_wheel(version: str, python: Path) -> Path:
    """Return the directory in which that version of pysqlite3-binary is."""
    place = BUILD / f'pysqlite3-{version}-{sysconfig.get_config_var("SOABI")}'
    if not place.exists():
        package = f'pysqlite3-binary=={version}'
        pip = [python, '-m', 'pip', '--quiet', '--disable-pip-version-check', 'install']
        try:
            run(*pip, '--no-deps', '--only-binary=:all:', '--target', place, package)
        except subprocess.CalledProcessError:
            raise Unavailable(f'{package} cannot be installed for this Python') from None
    return place


def version_in(python: Path, environment: Environment) -> str:
    """Return the version of SQLite that sqlite3 has there, and see that diskcache has the same."""
    script = (
        'import sqlite3; from diskcache import _core;'
        'assert _core.sqlite_version == sqlite3.sqlite_version; print(sqlite3.sqlite_version)'
    )
    return subprocess.run(
        [python, '-c', script],
        env=environment,
        cwd=ROOT,
        check=True,
        text=True,
        stdout=subprocess.PIPE,
    ).stdout.strip()


# --- runs ---


class Matrix:
    """The runs that are asked for, and what became of them."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.short = options.short
        self.python = Path(options.python)
        self.pytest_args = shlex.split(options.pytest_args)
        self.rows: list[tuple[str, str, str]] = []
        self.failed = False

    def perform(self, name: str, action: Callable[[str], tuple[str, str]]) -> None:
        """Perform one run, and note what it says."""
        started = time.monotonic()
        try:
            version, outcome = action(name)
        except Unavailable as reason:
            version, outcome = '-', f'did not run: {reason}'
        except (subprocess.SubprocessError, AssertionError) as error:
            version, outcome = '-', f'failed: {error}'
            self.failed = True
        self.rows.append((name, version, outcome))
        print(f'== {name}: {outcome} ({time.monotonic() - started:.0f} s)', flush=True)

    def run_tests(self, python: Path, environment: Environment, short: list[str], log: str) -> str:
        """Run the Python tests there; return pytest's last line."""
        files = [f'tests/{name}' for name in short] if self.short else []
        path = BUILD / 'log' / f'{log}.txt'
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open('w') as file:
            done = subprocess.run(
                [python, '-m', 'pytest', '-q', *files, *self.pytest_args],
                env=environment,
                cwd=ROOT,
                stdout=file,
                stderr=subprocess.STDOUT,
                timeout=PATIENCE,
            )
        lines = path.read_text(errors='replace').rstrip().splitlines()
        if done.returncode != 0:
            self.failed = True
            print(*(line for line in lines if line.startswith(('FAILED', 'ERROR'))), sep='\n')
        return lines[-1] if lines else f'no output, exit status {done.returncode}'

    def run_engine(self, environment: Environment, log: str) -> str:
        """Run the tests of the C engine there; return how many have passed."""
        path = BUILD / 'log' / f'{log}-engine.txt'
        with path.open('w') as file:
            done = subprocess.run(
                ['make', '-C', 'tests/engine', 'run'],
                env=environment,
                cwd=ROOT,
                stdout=file,
                stderr=subprocess.STDOUT,
            )
        self.failed = self.failed or done.returncode != 0
        passed = sum(int(n) for n in re.findall(r'^(\d+) passed', path.read_text(), re.MULTILINE))
        return f'engine: {passed} passed' + ('' if done.returncode == 0 else ', and some FAILED')

    def run_library(self, name: str) -> tuple[str, str]:
        """Run the tests on a shared library."""
        path = str(build_library(name))
        environment = {**os.environ, 'LD_LIBRARY_PATH': path}
        version = version_in(self.python, environment)
        expected = debian.source('sqlite3', name.partition('-')[0]).name.partition('-')[2]
        if version != expected:
            raise Unavailable(f'sqlite3 of {self.python} does not use libsqlite3.so.0')
        outcome = self.run_tests(self.python, environment, SHORT, name)
        return version, f'{outcome}; {self.run_engine(environment, name)}'

    def run_wheel(self, name: str) -> tuple[str, str]:
        """Run the tests on pysqlite3-binary."""
        python = build_environment(BUILD / 'venv', self.python)
        site = next((BUILD / 'venv' / 'lib').glob('python*/site-packages'))
        (site / 'replace_sqlite3.pth').write_text(REPLACE)
        place = fetch_wheel(name, python)
        environment = {**os.environ, 'DISKCACHE_REPLACE_SQLITE3': str(place)}
        return version_in(python, environment), self.run_tests(python, environment, SHORT, name)

    def run_static(self, name: str) -> tuple[str, str]:
        """Run the tests on a Python that carries SQLite inside."""
        interpreter = build_python(name)
        python = build_environment(BUILD / f'venv-static-{name}', interpreter)
        if name == 'with':
            version = version_in(python, dict(os.environ))
            return version, self.run_tests(python, dict(os.environ), SHORT_STATIC, 'static-with')
        done = subprocess.run(
            [python, '-c', 'import diskcache'], cwd='/', capture_output=True, text=True
        )
        *_, last = done.stderr.rstrip().splitlines() or ['']
        words = ('ImportError: ', '--enable-loadable-sqlite-extensions', 'pysqlite3-binary')
        assert done.returncode == 1, 'it could be imported'
        assert all(word in last for word in words), last
        return '-', f'1 passed: {last}'


# --- Pythons with SQLite inside ---

STATIC_SQLITE = (
    '_sqlite3 _sqlite/blob.c _sqlite/connection.c _sqlite/cursor.c _sqlite/microprotocols.c'
    ' _sqlite/module.c _sqlite/prepare_protocol.c _sqlite/row.c _sqlite/statement.c _sqlite/util.c'
    ' -I$(srcdir)/Modules/_sqlite {library} -lm\n'
)


def build_python(name: str) -> Path:
    """Return a python3.11 with SQLite inside, `with` or `without` loadable extensions."""
    place = BUILD / f'python-{name}'
    interpreter = place / 'bin' / 'python3.11'
    complete = place / 'complete'
    if complete.exists():
        return interpreter
    need('make', 'cc')
    library = Path(f'/usr/lib/{sysconfig.get_config_var("MULTIARCH")}/libsqlite3.a')
    if not library.exists():
        raise Unavailable(f'{library} is not there: apt-get install libsqlite3-dev')
    # As it comes from its authors: Debian's own changes keep pip out of it.
    source = debian.source('python3.11', 'bookworm').parent
    work = BUILD / f'python-{name}-build'
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    run('tar', '-xzf', *source.glob('*.orig.tar.gz'), '--strip-components=1', cwd=work)
    print(f'== building python3.11 {name} loadable extensions', flush=True)
    run(
        './configure',
        f'--prefix={place}',
        '--disable-test-modules',
        *(['--enable-loadable-sqlite-extensions'] if name == 'with' else []),
        'CFLAGS=-O1',
        'LDFLAGS=-Wl,--exclude-libs,ALL',
        cwd=work,
    )
    with (work / 'Modules' / 'Setup.local').open('a') as file:
        file.write('*static*\n' + STATIC_SQLITE.format(library=library))
    run('make', f'-j{os.cpu_count()}', cwd=work)
    run('make', 'install', cwd=work)
    shutil.rmtree(work)
    complete.touch()
    return interpreter


def main() -> int:
    """Run what the command line asks for; 1 if something failed."""
    parser = argparse.ArgumentParser(description='Run the tests on other copies of SQLite.')
    parser.add_argument('kind', choices=('sqlite', 'static'))
    parser.add_argument('names', nargs='*', help='which (default: all)')
    parser.add_argument('--short', action='store_true', help='only the tests that meet SQLite most')
    parser.add_argument(
        '--python', default=sys.executable, help='of an environment with the package'
    )
    parser.add_argument('--pytest-args', default='', help='what pytest is given besides')
    options = parser.parse_args()
    names = options.names or (STATIC if options.kind == 'static' else (*DEBIAN, *WHEELS))
    matrix = Matrix(options)
    for name in names:
        if options.kind == 'static':
            matrix.perform(name, matrix.run_static)
        else:
            matrix.perform(name, matrix.run_library if name in DEBIAN else matrix.run_wheel)
    for name, version, outcome in matrix.rows:
        print(f'{name:16} {version:8} {outcome}')
    return 1 if matrix.failed else 0


if __name__ == '__main__':
    sys.exit(main())
