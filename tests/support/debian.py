"""Packages of Debian, of any suite and architecture, without touching the system's own.

What is fetched goes through an apt configuration of its own. `Unavailable` says what is not to be
had: a mirror may lack it, or a tool is not installed.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

KEYRING = '/usr/share/keyrings/debian-archive-keyring.gpg'


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


def run(*command: str | Path, **options: object) -> None:
    """Run a command quietly; what it has printed is shown if it fails."""
    done = subprocess.run(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, **options
    )
    if done.returncode != 0:
        sys.stderr.write(done.stdout[-8000:])
        raise subprocess.CalledProcessError(done.returncode, [str(word) for word in command])


def need(*tools: str) -> None:
    """Raise Unavailable if a tool is not there."""
    packages = {
        'dpkg-source': 'dpkg-dev',
        'dpkg-buildpackage': 'dpkg-dev',
        'tclsh': 'tcl',
        'cc': 'gcc',
        'wine64': 'wine64',
    }
    for tool in tools:
        if shutil.which(tool) is None:
            package = 'qemu-user-static' if tool.startswith('qemu-') else packages.get(tool, tool)
            raise Unavailable(f'{tool} not found: apt-get install {package}')


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


def apt(state: Path, suite: str, architecture: str | None = None) -> list[str]:
    """Return the command apt-get for a suite: its source packages, or those of an architecture.

    Its lists, in `state`, are brought up to date.
    """
    kind = 'deb-src' if architecture is None else 'deb'
    for path in ('lists/partial', 'cache/archives/partial'):
        (state / path).mkdir(parents=True, exist_ok=True)
    (state / 'status').touch()
    (state / 'sources').write_text(f'{kind} [signed-by={KEYRING}] {mirror()} {suite} main\n')
    options = {
        'Acquire::Languages': 'none',
        'APT::Sandbox::User': 'root',
        'Dir::Etc::SourceList': state / 'sources',
        'Dir::Etc::SourceParts': '/dev/null',
        'Dir::State': state,
        'Dir::State::status': state / 'status',
        'Dir::Cache': state / 'cache',
    }
    if architecture is not None:
        options |= {'APT::Architecture': architecture, 'APT::Architectures': architecture}
    command = ['apt-get', '-q', *(f'-o{name}={value}' for name, value in options.items())]
    try:
        run(*command, 'update')
    except subprocess.CalledProcessError:
        raise Unavailable(f'there are no lists of {suite}, {architecture or kind}') from None
    return command


def unpack_packages(
    place: Path, suite: str, architecture: str, packages: list[str], state: Path
) -> None:
    """Unpack packages, but not those that they depend on, into a directory."""
    downloads = state / 'downloads'
    shutil.rmtree(downloads, ignore_errors=True)
    downloads.mkdir(parents=True)
    try:
        run(*apt(state, suite, architecture), 'download', *packages, cwd=downloads)
    except subprocess.CalledProcessError:
        names = ' '.join(packages)
        raise Unavailable(f'not all of {names} is to be had for {suite}, {architecture}') from None
    partial = place.with_name(place.name + '.part')
    shutil.rmtree(partial, ignore_errors=True)
    (partial / 'usr' / 'lib').mkdir(parents=True)
    (partial / 'lib').symlink_to('usr/lib')  # as base-files has it
    for package in sorted(downloads.glob('*.deb')):
        # Through a tar archive, so that directories which are links stay links (lib -> usr/lib).
        archive = subprocess.run(
            ['dpkg-deb', '--fsys-tarfile', package], check=True, stdout=subprocess.PIPE
        ).stdout
        subprocess.run(
            ['tar', '-x', '--keep-directory-symlink', '-C', partial], check=True, input=archive
        )
    shutil.rmtree(place, ignore_errors=True)
    partial.rename(place)
