"""Run the tests on the newest Pythons, in a chroot of Debian sid.

    python tests/support/sid.py [VERSION...]    `make test-sid`

The chroot is made by debootstrap in build/sid, and used again. It sees this checkout under its own
path, and of the rest of the machine only how pip is set up. The engine's tests run there too,
with sid's gcc. This needs root. Where the chroot cannot be made, because a mirror lacks files say,
that is said, and is no failure.
"""

from __future__ import annotations

import argparse
import os
import shlex
import shutil
import subprocess
import sys
from functools import partial
from pathlib import Path

from places import ROOT

sys.path.append(str(ROOT / 'tools'))

from debian import Unavailable, mirror, need, report

BUILD = ROOT / 'build' / 'sid'
VERSIONS = ('3.14', '3.15')

PACKAGES = [
    'ca-certificates',
    'gcc',
    'git',
    'libc6-dev',
    'libsqlite3-dev',
    'make',
    'procps',
    'tzdata',
]

#: What pip needs of the machine, if it is there.
SHARED = (
    '/etc/resolv.conf',
    '/etc/hosts',
    '/etc/pip.conf',
    '/etc/ssl/certs',
    '/etc/xdg/pip',
    '/opt',
)

PATIENCE = 3600  # Seconds after which the tests are held to hang.


def make_chroot() -> Path:
    """Return the root directory of the chroot."""
    place = BUILD / 'root'
    if (place / 'complete').exists():
        return place
    need('debootstrap')
    if os.geteuid() != 0:
        raise Unavailable('a chroot needs root')
    pythons = [f'python{version}-{part}' for version in VERSIONS for part in ('dev', 'venv')]
    shutil.rmtree(place, ignore_errors=True)
    BUILD.mkdir(parents=True, exist_ok=True)
    print('== debootstrap sid', flush=True)
    log = BUILD / 'debootstrap.log'
    with log.open('w') as file:
        done = subprocess.run(
            [
                *('debootstrap', '--variant=minbase'),
                '--include=' + ','.join(PACKAGES + pythons),
                *('sid', place, mirror()),
            ],
            stdout=file,
            stderr=subprocess.STDOUT,
        )
    if done.returncode != 0:
        raise Unavailable(f'debootstrap failed: {log.read_text().rstrip().splitlines()[-1]}')
    (place / 'complete').touch()
    return place


def run_inside(place: Path, command: str, log: Path) -> int:
    """Run a command of the shell in the chroot, in this checkout; return its exit code.

    The mounts are in a namespace of their own, and end with it.
    """
    lines = ['set -e', 'mount --make-rprivate /']
    for source in ('/proc', '/dev', '/sys', str(ROOT), *SHARED):
        if Path(source).exists():
            target = place / source.lstrip('/')
            if Path(source).is_dir():
                target.mkdir(parents=True, exist_ok=True)
            else:
                target.parent.mkdir(parents=True, exist_ok=True)
                target.touch()
            lines.append(f'mount --rbind {shlex.quote(source)} {shlex.quote(str(target))}')
    lines.append(
        f'exec chroot {shlex.quote(str(place))} /bin/sh -ec '
        + shlex.quote(f'cd {shlex.quote(str(ROOT))}; {command}')
    )
    kept = ('LANG', 'TERM', 'DISKCACHE_ORIGINAL', 'DISKCACHE_ORIGINAL_SUITE')
    environment = {name: os.environ[name] for name in kept if name in os.environ}
    environment |= {name: value for name, value in os.environ.items() if name.startswith('PIP_')}
    environment |= {'HOME': '/root', 'PATH': '/usr/sbin:/usr/bin:/sbin:/bin', 'LC_ALL': 'C.UTF-8'}
    with log.open('w') as file:
        return subprocess.run(
            ['unshare', '--mount', 'sh', '-c', '\n'.join(lines)],
            env=environment,
            stdout=file,
            stderr=subprocess.STDOUT,
            timeout=PATIENCE,
        ).returncode


def last_line(log: Path) -> str:
    lines = log.read_text(errors='replace').rstrip().splitlines()
    for line in lines:
        if line.startswith(('FAILED', 'ERROR', 'not ok')):
            print(line[:300])
    return lines[-1].strip('= ') if lines else 'no output'


def run_version(place: Path, version: str, pytest_args: str) -> str:
    """Build for a Python there and run the tests; raise AssertionError if something fails."""
    venv = BUILD / f'venv-{version}'
    log = BUILD / f'build-{version}.log'
    variables = f'PYTHON=python{version} VENV={venv}'
    targets = 'build django-source original-suite pysqlite3 original'
    if run_inside(place, f'make {targets} {variables}', log) != 0:
        raise Unavailable(f'it cannot be built: {last_line(log)}')
    log = BUILD / f'tests-{version}.log'
    tests = f'make pytest {variables} PYTEST_ARGS={shlex.quote(pytest_args)}'
    code = run_inside(place, tests, log)
    outcome = last_line(log)
    if code != 0:
        raise AssertionError(f'{outcome}; {log}')
    return outcome


def run_engine(place: Path) -> str:
    """Run the engine's tests with the compiler there."""
    log = BUILD / 'engine.log'
    if run_inside(place, f'make -C tests/engine run CC=gcc BUILD={BUILD}/engine', log) != 0:
        raise AssertionError(f'{last_line(log)}; {log}')
    run_inside(place, 'gcc --version | head -n 1', BUILD / 'gcc.log')
    return 'passed, with ' + last_line(BUILD / 'gcc.log')


def main() -> int:
    """Run what the command line asks for; 1 if something failed."""
    parser = argparse.ArgumentParser(description='The tests on the newest Pythons.')
    parser.add_argument('versions', nargs='*', metavar='VERSION', help=' '.join(VERSIONS))
    parser.add_argument('--pytest-args', default='', help='what pytest is given besides')
    options = parser.parse_args()
    versions = options.versions or list(VERSIONS)
    try:
        place = make_chroot()
    except Unavailable as reason:
        print(f'== sid: did not run: {reason}')
        return 0
    failed = [report('engine', partial(run_engine, place))]
    for version in versions:
        failed.append(report(version, partial(run_version, place, version, options.pytest_args)))
    return 1 if any(failed) else 0


if __name__ == '__main__':
    sys.exit(main())
