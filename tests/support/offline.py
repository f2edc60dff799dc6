"""Run the tests as who builds a package does: from the sdist, without a network, not as root.

    python tests/support/offline.py [PYTEST ARGUMENT...]    `make test-offline`

The source distribution is made and unpacked in build/offline, and given to a user that owns nothing
else. In a namespace without a network this user builds the extension and tests it. What the tests
need of Python is installed before, in an environment that the user can only read. There is no
original to compare with, and no second SQLite: tests that need one are skipped.

This needs root, and a Python that other users can read.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

from places import ROOT

sys.path.append(str(ROOT / 'tools'))

from debian import Unavailable, need, run

BUILD = ROOT / 'build' / 'offline'
USER = 54321  # Nobody's number.

BARE = ['setpriv', f'--reuid={USER}', f'--regid={USER}', '--clear-groups']

INSIDE = """
set -e
ip link set lo up
exec "$@"
"""

TESTS = """
set -e
! python -c 'import socket; socket.create_connection(("192.0.2.1", 80), 1)' 2>/dev/null
python setup.py --quiet build --build-lib lib --build-temp temp
exec pytest -q -p no:cacheprovider -m 'not slow and not stress' "$@"
"""


def find_python() -> str:
    """Return an interpreter that the user can run."""
    for name in (sys.executable, 'python3', '/usr/bin/python3'):
        base = subprocess.run(
            [name, '-c', 'import sys; print(sys._base_executable)'], capture_output=True, text=True
        ).stdout.strip()
        # By way of a shell: setpriv itself still finds what only root may.
        attempt = [*BARE, 'sh', '-c', 'exec "$0" -c ""', base]
        if base and subprocess.run(attempt, capture_output=True).returncode == 0:
            return base
    raise Unavailable('no Python here can be run by other users')


def make_environment(python: str) -> None:
    """Install what the build and the tests need, but not the package."""
    text = (ROOT / 'pyproject.toml').read_text()
    lists = re.findall(r'^(?:requires|test) = \[(.*?)\]', text, re.MULTILINE | re.DOTALL)
    needed = [name for each in lists for name in re.findall(r'"([^"]+)"', each)]
    if not (BUILD / 'venv' / 'bin' / 'pytest').exists():
        run(python, '-m', 'venv', BUILD / 'venv')
        run(BUILD / 'venv' / 'bin' / 'python', '-m', 'pip', 'install', *needed)


def unpack(python: Path) -> Path:
    """Make the source distribution, and unpack it for the user."""
    shutil.rmtree(BUILD / 'dist', ignore_errors=True)
    run(python, 'setup.py', '--quiet', 'sdist', '--dist-dir', BUILD / 'dist', cwd=ROOT)
    (archive,) = (BUILD / 'dist').iterdir()
    home = BUILD / 'home'
    shutil.rmtree(home, ignore_errors=True)
    home.mkdir()
    shutil.unpack_archive(archive, home, filter='data')
    run('chown', '-R', f'{USER}:{USER}', home)
    return next(home.iterdir())


def main(arguments: list[str]) -> int:
    """Build and test; the exit code of the tests."""
    try:
        if os.geteuid() != 0:
            raise Unavailable('a namespace without a network needs root')
        need('unshare', 'setpriv', 'ip')
        make_environment(find_python())
    except Unavailable as reason:
        print(f'== offline: did not run: {reason}')
        return 0
    source = unpack(BUILD / 'venv' / 'bin' / 'python')
    temporary = source.parent / 'tmp'
    temporary.mkdir(mode=0o700)
    os.chown(temporary, USER, USER)
    environment = {
        'DISKCACHE_PYSQLITE3': str(temporary),
        'DISKCACHE_WITHOUT_ORIGINAL': '1',
        'HOME': str(source.parent),
        'LC_ALL': 'C.UTF-8',
        'PATH': f'{BUILD}/venv/bin:/usr/sbin:/usr/bin:/sbin:/bin',
        'PYTHONPATH': str(source / 'lib'),
        'TMPDIR': str(temporary),
    }
    command = ['unshare', '--net', 'sh', '-c', INSIDE, '-', *BARE, 'sh', '-c', TESTS, '-']
    return subprocess.run([*command, *arguments], cwd=source, env=environment).returncode


if __name__ == '__main__':
    sys.exit(main(sys.argv[1:]))
