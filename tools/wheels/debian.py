"""Packages of Debian, of any suite and architecture, unpacked into a directory and not installed.

Fetching goes through an apt configuration of its own, so that the system's is left alone.
"""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

from wheels.tree import BUILD

#: What Debian calls an architecture.
NAMES = {'x86_64': 'amd64', 'aarch64': 'arm64'}


class Unavailable(Exception):
    """Something is not on this machine and cannot be fetched; the message says what."""


def unpacked(
    place: Path, suite: str, architecture: str, packages: Sequence[str], dependencies: bool = False
) -> Path:
    """Return a directory with what packages have in them, which are fetched if need be.

    :param dependencies: what they depend on too, so that programs in it run
    :raises Unavailable: they cannot be fetched
    """
    if place.exists():
        return place
    if shutil.which('apt-get') is None or shutil.which('dpkg-deb') is None:
        raise Unavailable(f'{packages[0]} comes from Debian, and this machine has no apt-get')
    state = BUILD / 'apt' / f'{suite}-{architecture}'
    archives = state / 'cache' / 'archives'
    apt = _configured(state, suite, NAMES[architecture])
    try:
        if not (state / 'updated').exists():
            _run('apt-get', *apt, 'update')
            (state / 'updated').touch()
        if dependencies:
            options = ('--yes', '--no-install-recommends', '--download-only')
            _run('apt-get', *apt, *options, 'install', *packages)
        else:
            _run('apt-get', *apt, 'download', *packages, cwd=archives)
    except subprocess.CalledProcessError as error:
        raise Unavailable(f'{packages[0]} of {suite} cannot be fetched: {error.stderr}') from None

    partial = place.with_name(place.name + '.part')
    shutil.rmtree(partial, ignore_errors=True)
    for name in ('bin', 'lib', 'lib64', 'sbin'):
        (partial / 'usr' / name).mkdir(parents=True)
        (partial / name).symlink_to(f'usr/{name}')
    for deb in sorted(archives.glob('*.deb')):
        _unpack(deb, partial)
        deb.unlink()
    partial.rename(place)
    return place


def _unpack(deb: Path, place: Path) -> None:
    """Unpack a package. What it has in /lib goes through the link to /usr/lib."""
    tar = subprocess.run(['dpkg-deb', '--fsys-tarfile', deb], check=True, capture_output=True)
    command = ['tar', '-x', '--keep-directory-symlink', '-C', str(place)]
    subprocess.run(command, check=True, capture_output=True, input=tar.stdout)


def mirror() -> str:
    """Return where this machine has Debian's packages from."""
    form = '$(CREATED_BY) $(COMPONENT) $(REPO_URI)'
    targets = _run('apt-get', 'indextargets', '--format', form)
    for line in targets.splitlines():
        kind, component, uri = line.split(' ', 2)
        if (kind, component) == ('Packages', 'main') and uri.rstrip('/').endswith('/debian'):
            return uri
    raise Unavailable('this machine has no source of packages of Debian')


def _configured(state: Path, suite: str, architecture: str) -> list[str]:
    """Make a configuration of apt in a directory; return the options that choose it."""
    for path in ('lists/partial', 'cache/archives/partial'):
        (state / path).mkdir(parents=True, exist_ok=True)
    (state / 'status').touch()
    keyring = '/usr/share/keyrings/debian-archive-keyring.gpg'
    (state / 'sources').write_text(f'deb [signed-by={keyring}] {mirror()} {suite} main\n')
    options = {
        'APT::Architecture': architecture,
        'APT::Architectures': architecture,
        'APT::Sandbox::User': 'root',
        'Dir::Cache': state / 'cache',
        'Dir::Etc::SourceList': state / 'sources',
        'Dir::Etc::SourceParts': '/dev/null',
        'Dir::State': state,
        'Dir::State::status': state / 'status',
    }
    return ['--quiet', *(f'-o{name}={value}' for name, value in options.items())]


def _run(*command: str | Path, cwd: Path | None = None) -> str:
    done = subprocess.run(command, check=True, capture_output=True, text=True, cwd=cwd)
    return done.stdout
