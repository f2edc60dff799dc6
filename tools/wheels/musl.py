"""A CPython against musl, which neither Debian nor the registry has, built from Debian's sources.

It has what the smoke test and the suite need: SQLite and zlib, but no OpenSSL and no libffi. The
compiler is musl-gcc: that of Debian, which is older than what zig builds the wheels for.
"""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
from pathlib import Path

import debian
from debian import Unavailable, need, run

from wheels.tree import BUILD

#: Versions that build in this way, and the suites of Debian that have their sources.
_SUITES = {'3.13': 'trixie'}

#: Quick to build: what is tried is the wheel.
_FLAGS = '-O0 -g0 -fPIC'

#: musl-gcc is gcc, and says that its programs are for glibc.
_COMPILER = """#!/bin/sh
[ "$1" = --print-multiarch ] || exec musl-gcc "$@"
"""


def python(version: str, architecture: str) -> Path:
    """Return an interpreter of a version, `3.13`, which is built if it is not there.

    :raises Unavailable: it cannot be built here
    """
    if architecture != platform.machine():
        raise Unavailable('a CPython against musl can be built for this machine only')
    if version not in _SUITES:
        raise Unavailable(f'against musl only Python {", ".join(_SUITES)} is built, not {version}')
    place = BUILD / 'musl' / version
    interpreter = place / 'bin' / f'python{version}'
    if not (place / 'complete').exists():
        need('musl-gcc', 'make')
        try:
            _build(place, version)
        except subprocess.CalledProcessError as error:
            raise Unavailable(f'Python {version} does not build: {error}') from None
        (place / 'complete').touch()
    return interpreter


def _build(place: Path, version: str) -> None:
    suite = _SUITES[version]
    sources = debian.source(f'python{version}', suite)
    amalgamation, zlib = debian.sqlite_amalgamation(suite), debian.source('zlib', 'bookworm')
    shutil.rmtree(place, ignore_errors=True)
    work = place / 'work'
    for part in ('lib', 'include', 'work/zlib', 'work/python'):
        (place / part).mkdir(parents=True)

    # As they come from their authors: Debian's own changes keep pip out of Python.
    (tar,) = (path for path in sources.parent.glob('*.orig.tar.*') if path.suffix != '.asc')
    run('tar', '-xf', tar, '--strip-components=1', '-C', work / 'python')
    shutil.copytree(zlib, work / 'zlib', dirs_exist_ok=True)

    print(f'== building Python {version} against musl', flush=True)
    compiler = work / 'cc'
    compiler.write_text(_COMPILER)
    compiler.chmod(0o755)
    environment = {**os.environ, 'CC': str(compiler), 'CFLAGS': _FLAGS}
    for header in ('sqlite3.h', 'sqlite3ext.h'):
        shutil.copy(amalgamation / header, place / 'include')
    library = place / 'lib' / 'libsqlite3.so.0'
    options = [*_FLAGS.split(), '-shared', '-Wl,-soname,libsqlite3.so.0']
    run(compiler, *options, '-o', library, amalgamation / 'sqlite3.c')
    (place / 'lib' / 'libsqlite3.so').symlink_to(library.name)
    run('./configure', '--static', f'--prefix={place}', cwd=work / 'zlib', env=environment)
    run('make', 'install', cwd=work / 'zlib', env=environment)

    # Without pkg-config, which would find headers for glibc.
    own = f'-I{place}/include', f'-L{place}/lib'
    configured = {
        **environment,
        'CPPFLAGS': own[0],
        'LDFLAGS': f'{own[1]} -Wl,-rpath,{place}/lib',
        'PKG_CONFIG': 'false',
    }
    options = [f'--prefix={place}', '--disable-test-modules', '--without-ensurepip']
    run('./configure', *options, cwd=work / 'python', env=configured)
    run('make', f'-j{os.cpu_count()}', cwd=work / 'python', env=environment)
    without_bytecode = 'COMPILEALL_OPTS=-x .'  # none is compiled in advance
    run('make', 'install', without_bytecode, cwd=work / 'python', env=environment)
    shutil.rmtree(work)
