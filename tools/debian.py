"""Packages of Debian, of any suite and architecture, without touching the system's own.

What is fetched goes through an apt configuration of its own, and stays in build/debian.
`Unavailable` says what is not to be had: a mirror may lack it, or a tool is not installed.
"""

from __future__ import annotations

import platform
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

BUILD = Path(__file__).resolve().parents[1] / 'build' / 'debian'
KEYRING = '/usr/share/keyrings/debian-archive-keyring.gpg'

#: What Debian calls an architecture, where that is another name.
NAMES = {'x86_64': 'amd64', 'aarch64': 'arm64'}

#: The suites that have a version of Python, built.
PYTHONS = {'3.11': 'bookworm', '3.13': 'trixie', '3.14': 'sid'}

#: The packages of programs that are not called so.
_PACKAGES = {
    'cc': 'gcc',
    'dpkg-buildpackage': 'dpkg-dev',
    'dpkg-deb': 'dpkg',
    'dpkg-source': 'dpkg-dev',
    'readelf': 'binutils',
    'tclsh': 'tcl',
}


class Unavailable(Exception):
    """Something is not on this machine and cannot be fetched; the message says what."""


def report(name: str, run: Callable[[], str], about: str = '') -> bool:
    """Print what has come of one of several runs, which raises AssertionError where it fails.

    :return: whether it failed; one that is Unavailable did not
    """
    started = time.monotonic()
    failed = False
    try:
        outcome = run()
    except Unavailable as reason:
        outcome = f'did not run: {reason}'
    except AssertionError as error:
        outcome = f'FAILED: {error}'
        failed = True
    print(f'== {name}{about}: {outcome} ({time.monotonic() - started:.0f} s)', flush=True)
    return failed


def run(*command: str | Path, cwd: Path | None = None, env: dict[str, str] | None = None) -> None:
    """Run a command quietly; what it has printed is shown if it fails.

    :raises subprocess.CalledProcessError: it fails
    """
    done = subprocess.run(
        command, cwd=cwd, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    if done.returncode != 0:
        sys.stderr.write(done.stdout[-8000:])
        raise subprocess.CalledProcessError(done.returncode, [str(word) for word in command])


def need(*tools: str) -> None:
    """Raise Unavailable if a program is not there."""
    for tool in tools:
        if shutil.which(tool) is None:
            own = 'qemu-user-static' if tool.startswith('qemu-') else tool
            raise Unavailable(f'{tool} not found: apt-get install {_PACKAGES.get(tool, own)}')


def mirror() -> str:
    """Return where this machine has Debian's packages from."""
    need('apt-get')
    targets = subprocess.run(
        ['apt-get', 'indextargets', '--format', '$(CREATED_BY) $(COMPONENT) $(REPO_URI)'],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    for line in targets.splitlines():
        kind, component, uri = line.split(' ', 2)
        if (kind, component) == ('Packages', 'main') and uri.rstrip('/').endswith('/debian'):
            return uri
    raise Unavailable('this machine has no source of packages of Debian')


def unpacked(
    place: Path, suite: str, architecture: str, packages: Sequence[str], dependencies: bool = False
) -> Path:
    """Return a directory with what packages have in them, which are fetched if it is not there.

    :param dependencies: what they depend on too, so that programs in it run
    """
    if place.exists():
        return place
    need('dpkg-deb')
    name = NAMES.get(architecture, architecture)
    state = BUILD / 'apt' / f'{suite}-{name}'
    archives = state / 'cache' / 'archives'
    apt = _apt(state, suite, name)
    shutil.rmtree(archives, ignore_errors=True)
    (archives / 'partial').mkdir(parents=True)
    wanted = ['download', *packages]
    if dependencies:
        options = ['--yes', '--no-install-recommends', '--download-only']
        wanted = ['install', *options, *packages]
    _fetch([*apt, *wanted], archives, f'{" ".join(packages)} of {suite}, {name},')

    partial = place.with_name(place.name + '.part')
    shutil.rmtree(partial, ignore_errors=True)
    for folder in ('bin', 'lib', 'lib64', 'sbin'):  # the links that base-files has
        (partial / 'usr' / folder).mkdir(parents=True)
        (partial / folder).symlink_to(f'usr/{folder}')
    for package in sorted(archives.glob('*.deb')):
        # What a package has in /lib goes through the link.
        tar = subprocess.run(
            ['dpkg-deb', '--fsys-tarfile', package], check=True, capture_output=True
        ).stdout
        command = ['tar', '-x', '--keep-directory-symlink', '-C', str(partial)]
        subprocess.run(command, check=True, capture_output=True, input=tar)
        package.unlink()
    partial.rename(place)
    return place


def runner(place: Path, suite: str, architecture: str, package: str) -> list[str]:
    """Return the command that starts a program with the libraries of a package of Debian.

    :param place: the directory where the package is unpacked, if it is not there
    """
    emulator = f'qemu-{architecture}-static'
    foreign = architecture != platform.machine()
    if foreign:
        need(emulator)
    unpacked(place, suite, architecture, [package], dependencies=True)
    if foreign:
        return [emulator, '-L', str(place)]
    (linker,) = (place / 'lib').rglob('ld-*.so.*')
    return [str(linker), '--library-path', str(linker.parent)]


def python_headers(version: str, architecture: str) -> list[Path]:
    """Return the directories that have Python.h and pyconfig.h of a version, `3.14`."""
    if version not in PYTHONS:
        raise Unavailable(f'no headers of Python {version} here, and none in Debian')
    package = f'libpython{version}-dev'
    place = BUILD / 'headers' / f'{version}-{architecture}'
    include = unpacked(place, PYTHONS[version], architecture, [package]) / 'usr' / 'include'
    return [include / f'python{version}', include]  # from the second by the first


def source(package: str, suite: str) -> Path:
    """Return the unpacked source package of a suite, which is fetched if it is not there.

    What it was unpacked from is beside it.
    """
    place = BUILD / 'src' / f'{package}-{suite}'
    if not place.exists():
        need('dpkg-source')
        apt = _apt(BUILD / 'apt' / f'{suite}-source', suite, None)
        partial = place.with_name(place.name + '.part')
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        _fetch([*apt, 'source', package], partial, f'the source of {package} of {suite}')
        partial.rename(place)
    return next(path for path in place.iterdir() if path.is_dir())


def sqlite_amalgamation(suite: str) -> Path:
    """Return the directory with sqlite3.c and sqlite3.h of a suite's SQLite, and nothing built."""
    place = BUILD / 'amalgamation' / suite
    if not (place / 'sqlite3.c').exists():
        need('make', 'cc', 'tclsh')
        configure = source('sqlite3', suite) / 'configure'
        place.mkdir(parents=True, exist_ok=True)
        run(configure, '--enable-fts4', '--enable-fts5', cwd=place)
        run('make', 'sqlite3.c', cwd=place)
    return place


def _apt(state: Path, suite: str, architecture: str | None) -> list[str]:
    """Return the command apt-get for a suite: its source packages, or those of an architecture.

    Its lists, in `state`, are brought up to date.
    """
    kind = 'deb-src' if architecture is None else 'deb'
    for path in ('lists/partial', 'cache/archives/partial'):
        (state / path).mkdir(parents=True, exist_ok=True)
    (state / 'status').touch()
    (state / 'sources').write_text(f'{kind} [signed-by={KEYRING}] {mirror()} {suite} main\n')
    options: dict[str, str | Path] = {
        'Acquire::Languages': 'none',
        'APT::Sandbox::User': 'root',
        'Dir::Cache': state / 'cache',
        'Dir::Etc::SourceList': state / 'sources',
        'Dir::Etc::SourceParts': '/dev/null',
        'Dir::State': state,
        'Dir::State::status': state / 'status',
    }
    if architecture is not None:
        options |= {'APT::Architecture': architecture, 'APT::Architectures': architecture}
    command = ['apt-get', '-q', *(f'-o{name}={value}' for name, value in options.items())]
    _fetch([*command, 'update'], state, f'the lists of {suite}, {architecture or "sources"},')
    return command


def _fetch(command: Sequence[str], cwd: Path, what: str) -> None:
    try:
        run(*command, cwd=cwd)
    except subprocess.CalledProcessError:
        raise Unavailable(f'{what} cannot be fetched') from None
