"""Where a wheel can run on this machine: Pythons that are installed, and others.

Those of other versions or architectures are Debian's, unpacked; one that Debian has not is built
(`wheels.building`), for a C library of Debian's. One of another architecture runs under qemu's
emulator of a process, one of this by its own dynamic linker. So none needs root, and what is
unpacked or built cannot be started by its path alone.
"""

from __future__ import annotations

import platform
import shutil
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

import debian

from wheels import building, headers
from wheels.cells import Cell
from wheels.tree import BUILD

#: The packages that have the C library which a Python is built for.
_LIBRARIES = {'manylinux': 'libc6', 'musllinux': 'musl'}


@dataclass
class Place:
    """A Python with a wheel installed in it."""

    name: str
    #: How it is started.
    command: list[str]
    #: Where its packages are, if it does not know itself.
    site: Path | None = None
    #: What starts a program there, where its path does not.
    runner: list[str] = field(default_factory=list)


def of_cell(cell: Cell, out: Path, requirement: str) -> Place:
    """Install a wheel, which pip has to choose from `out`, where it can run.

    :raises Unavailable: nowhere on this machine
    """
    glibc = cell.platform.libc == 'manylinux'
    if glibc and cell.platform.architecture == platform.machine():
        for python in headers.interpreters(cell.version):
            return _environment(cell, out, requirement, python)
    if glibc and cell.version in debian.PYTHONS:
        return _unpacked(cell, out, requirement)
    return _built(cell, out, requirement)


def _environment(cell: Cell, out: Path, requirement: str, python: Path) -> Place:
    """Install into a virtual environment."""
    place = BUILD / 'places' / cell.name
    shutil.rmtree(place, ignore_errors=True)
    subprocess.run([python, '-m', 'venv', '--without-pip', place], check=True)
    _pip(
        '--python',
        place / 'bin' / 'python',
        'install',
        '--no-index',
        '--find-links',
        out,
        requirement,
    )
    return Place(f'{python}', [str(place / 'bin' / 'python')])


def _unpacked(cell: Cell, out: Path, requirement: str) -> Place:
    """Install beside a Python of Debian."""
    python, runner = building.debian_python(cell.version, cell.platform.architecture)
    name = f'{python.name} of Debian {debian.PYTHONS[cell.version]}'
    return _beside(cell, out, requirement, name, runner, python)


def _built(cell: Cell, out: Path, requirement: str) -> Place:
    """Install beside a Python that is built."""
    package, architecture = _LIBRARIES[cell.platform.libc], cell.platform.architecture
    root = BUILD / 'roots' / f'{package}-{architecture}'
    runner = debian.runner(root, 'trixie', architecture, package)
    python = building.python(cell)
    name = f'{python.name}, built from the sources of Debian'
    return _beside(cell, out, requirement, name, runner, python)


def _beside(
    cell: Cell, out: Path, requirement: str, name: str, runner: list[str], python: Path
) -> Place:
    """Install into a directory, for a Python that has no pip: pip is told what it is."""
    site = BUILD / 'places' / cell.name
    shutil.rmtree(site, ignore_errors=True)
    wanted = ['--implementation', 'cp', '--python-version', cell.version.rstrip('t')]
    wanted += ['--abi', cell.abi]
    wanted += ['--platform', cell.platform.tags[0], '--only-binary', ':all:', '--target', str(site)]
    _pip('install', '--no-index', '--find-links', out, *wanted, requirement)
    name = f'{name}, by {Path(runner[0]).name}'
    return Place(name, [*runner, str(python)], site, runner)


def _pip(*arguments: str | Path) -> None:
    options = ['--quiet', '--disable-pip-version-check', '--no-input']
    subprocess.run([sys.executable, '-m', 'pip', *options, *arguments], check=True)
