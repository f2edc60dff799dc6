"""The headers of each Python that wheels are built for."""

from __future__ import annotations

import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import debian

#: Where `make test-nogil` builds.
WITHOUT_GIL = debian.BUILD.with_name('nogil')


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
    return debian.python_headers(version, architecture)


def interpreters(version: str) -> list[Path]:
    """Return the interpreters of a version, `3.13` or `3.13t`, that are on this machine and run."""
    candidates = [
        *sorted((Path.home() / '.pyenv' / 'versions').glob(f'{version}.*/bin/python')),
        Path(f'/usr/bin/python{version}'),
        *(Path(path) for path in [shutil.which(f'python{version}')] if path),
        WITHOUT_GIL / version.rstrip('t') / 'plain' / 'python' / 'bin' / f'python{version}',
    ]
    if sysconfig.get_python_version() == version:
        candidates.append(Path(sys.executable))
    return [path for path in candidates if path.exists() and _runs(path, version)]


def _runs(path: Path, version: str) -> bool:
    script = 'import sys; print("%d.%d" % sys.version_info[:2] + ("t" in sys.abiflags) * "t")'
    done = subprocess.run([path, '-c', script], capture_output=True, text=True)
    return done.returncode == 0 and done.stdout.strip() == version
