"""The headers of each Python that wheels are built for."""

from __future__ import annotations

import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

from wheels import debian
from wheels.tree import BUILD

#: Debian's packages of what is not installed here.
_PACKAGES = {
    '3.11': ('libpython3.11-dev', 'bookworm'),
    '3.13': ('libpython3.13-dev', 'trixie'),
    '3.14': ('libpython3.14-dev', 'sid'),
}


def find(version: str, architecture: str) -> list[Path]:
    """Return the directories that have Python.h and pyconfig.h of a version, `3.14`.

    Those of a Python that is here do for all architectures: in pyconfig.h they are alike.

    :raises Unavailable: it is not on this machine, and cannot be fetched
    """
    for python in interpreters(version):
        script = 'import sysconfig as s; print(s.get_path("include"), s.get_path("platinclude"))'
        done = subprocess.run([python, '-c', script], capture_output=True, text=True)
        paths = [Path(path) for path in done.stdout.split()]
        if any((path / 'Python.h').exists() for path in paths):
            return sorted(set(paths))
    if version not in _PACKAGES:
        raise debian.Unavailable(f'no headers of Python {version} here, and none in Debian')
    package, suite = _PACKAGES[version]
    place = BUILD / 'headers' / f'{version}-{architecture}'
    include = debian.unpacked(place, suite, architecture, [package]) / 'usr' / 'include'
    return [include / f'python{version}', include]  # from the second by the first


def interpreters(version: str) -> list[Path]:
    """Return the interpreters of a version that are on this machine and run."""
    candidates = [
        *sorted((Path.home() / '.pyenv' / 'versions').glob(f'{version}.*/bin/python')),
        Path(f'/usr/bin/python{version}'),
        *(Path(path) for path in [shutil.which(f'python{version}')] if path),
    ]
    if sysconfig.get_python_version() == version:
        candidates.append(Path(sys.executable))
    return [path for path in candidates if path.exists() and _runs(path, version)]


def _runs(path: Path, version: str) -> bool:
    script = 'import sys; print("%d.%d" % sys.version_info[:2])'
    done = subprocess.run([path, '-c', script], capture_output=True, text=True)
    return done.returncode == 0 and done.stdout.strip() == version
