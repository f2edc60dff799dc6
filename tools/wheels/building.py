"""A CPython that neither Debian nor the registry has, built from Debian's sources.

Against musl, for free threading, for another processor: zig is its compiler too, and Debian's
Python of the same sources does what its build has to do in Python. It has what the smoke test and
the suite need: SQLite and zlib, but no OpenSSL and no libffi.
"""

from __future__ import annotations

import os
import platform
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import debian
from debian import Unavailable, need, run

from wheels.cells import Cell

BUILD = debian.BUILD.with_name('wheels')

#: Quick to build, and quick enough under an emulator: what is tried is the wheel.
_FLAGS = '-O1 -g0 -fPIC -fno-sanitize=undefined -Wno-date-time'

#: A tool of the build as a program of its own. A compiler asked for the name of its platform is
#: silent: CPython then takes its own.
_SCRIPT = """#!/bin/sh
[ "$1" = --print-multiarch ] || exec {command} "$@"
"""

#: What configure cannot find out of another machine.
_ANSWERS = ('ac_cv_buggy_getaddrinfo=no', 'ac_cv_file__dev_ptmx=yes', 'ac_cv_file__dev_ptc=no')


def python(cell: Cell) -> Path:
    """Return an interpreter for a cell, which is built if it is not there.

    :raises Unavailable: it cannot be built here
    """
    place = BUILD / 'pythons' / cell.name
    if not (place / 'complete').exists():
        version = cell.version.rstrip('t')
        if version not in debian.PYTHONS:
            raise Unavailable(f'Debian has no source of Python {version}')
        suite = debian.PYTHONS[version]
        sources = debian.source(f'python{version}', suite)
        need('make', 'readelf')
        try:
            _build(place, cell, sources, debian.sqlite_amalgamation(suite))
        except subprocess.CalledProcessError as error:
            raise Unavailable(f'{cell.name}: its Python does not build: {error}') from None
        (place / 'complete').touch()
    return place / 'bin' / f'python{cell.version}'


def debian_python(version: str, architecture: str) -> tuple[Path, list[str]]:
    """Return Debian's interpreter of a version, and the command that it is started by.

    :raises Unavailable: it cannot be fetched, or cannot run here
    """
    suite, package = debian.PYTHONS[version], f'python{version}'
    root = BUILD / 'roots' / f'{package}-{architecture}'
    runner = debian.runner(root, suite, architecture, package)
    return root / 'usr' / 'bin' / package, runner


def configure_options(cell: Cell, place: Path, helper: Path) -> list[str]:
    """Return what the configure of a CPython is called with.

    :param place: where it is installed
    :param helper: a Python of the same sources that runs here
    """
    system = 'linux-musl' if cell.platform.libc == 'musllinux' else 'linux-gnu'
    options = [
        # Python 3.11 takes the C library of --build for that of --host.
        f'--build={platform.machine()}-build-{system}',
        f'--host={cell.platform.architecture}-{system}',
        f'--prefix={place}',
        f'--with-build-python={helper}',
        '--disable-test-modules',
        '--without-ensurepip',
        *_ANSWERS,
    ]
    return options + ['--disable-gil'] * cell.free_threaded


def _build(place: Path, cell: Cell, sources: Path, amalgamation: Path) -> None:
    zlib = debian.source('zlib', 'bookworm')
    interpreter, runner = debian_python(cell.version.rstrip('t'), platform.machine())
    shutil.rmtree(place, ignore_errors=True)
    work = place / 'work'
    for part in ('lib', 'include', 'work/zlib', 'work/python'):
        (place / part).mkdir(parents=True)

    # As they come from their authors: Debian's own changes keep pip out of Python.
    (tar,) = (path for path in sources.parent.glob('*.orig.tar.*') if path.suffix != '.asc')
    run('tar', '-xf', tar, '--strip-components=1', '-C', work / 'python')
    shutil.copytree(zlib, work / 'zlib', dirs_exist_ok=True)

    print(f'== building Python {cell.version} for {cell.name}', flush=True)
    environment = {**os.environ, **_tools(work, cell.platform.target), 'CFLAGS': _FLAGS}
    for header in ('sqlite3.h', 'sqlite3ext.h'):
        shutil.copy(amalgamation / header, place / 'include')
    library = place / 'lib' / 'libsqlite3.so.0'
    options = [*_FLAGS.split(), '-shared', '-Wl,-soname,libsqlite3.so.0']
    run(environment['CC'], *options, '-o', library, amalgamation / 'sqlite3.c')
    (place / 'lib' / 'libsqlite3.so').symlink_to(library.name)
    run('./configure', '--static', f'--prefix={place}', cwd=work / 'zlib', env=environment)
    run('make', 'install', cwd=work / 'zlib', env=environment)

    # Without pkg-config, which would find headers for this machine.
    own = f'-I{place}/include', f'-L{place}/lib'
    configured = {
        **environment,
        'CPPFLAGS': own[0],
        'LDFLAGS': f'{own[1]} -Wl,-rpath,{place}/lib',
        'PKG_CONFIG': 'false',
    }
    helper = _script(work / 'helper', *runner, interpreter)
    options = configure_options(cell, place, helper)
    run('./configure', *options, cwd=work / 'python', env=configured)
    run('make', f'-j{os.cpu_count()}', cwd=work / 'python', env=environment)
    without_bytecode = 'COMPILEALL_OPTS=-x .'  # none is compiled in advance
    run('make', 'install', without_bytecode, cwd=work / 'python', env=environment)
    shutil.rmtree(work)


def _tools(work: Path, target: str) -> dict[str, str]:
    """Return the environment variables by which a build takes zig's programs, made in `work`."""
    tools = {'CC': ['cc', '-target', target, '-dynamic'], 'AR': ['ar'], 'RANLIB': ['ranlib']}
    cache = str(BUILD / 'zig')
    environment = {'ZIG_GLOBAL_CACHE_DIR': cache, 'ZIG_LOCAL_CACHE_DIR': cache}
    environment['READELF'] = f'{shutil.which("readelf")}'  # that of this machine does for all
    for variable, command in tools.items():
        path = work / variable.lower()
        environment[variable] = str(_script(path, sys.executable, '-m', 'ziglang', *command))
    # CPython knows musl by a macro of its stdarg.h, before which clang has one of its own.
    environment['CPP'] = f'{environment["CC"]} -E -D__DEFINED_va_list'
    return environment


def _script(path: Path, *command: str | Path) -> Path:
    path.write_text(_SCRIPT.format(command=shlex.join(map(str, command))))
    path.chmod(0o755)
    return path
