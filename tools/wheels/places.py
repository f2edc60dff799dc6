"""Where a wheel can run on this machine: Pythons that are installed, and others.

One against musl is built (`wheels.musl`). Those of other versions or architectures are Debian's,
unpacked: one of another architecture runs under qemu's emulator of a process, one of this by its
own dynamic linker. So none needs root, and what is unpacked cannot be started by its path alone.
"""

from __future__ import annotations

import platform
import shutil
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

import debian
from debian import Unavailable

from wheels import headers, musl
from wheels.cells import Cell
from wheels.tree import BUILD


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
    if cell.platform.libc == 'musllinux':
        python = musl.python(cell.version, cell.platform.architecture)
        return _environment(cell, out, requirement, python)
    if cell.platform.architecture == platform.machine():
        for python in headers.interpreters(cell.version):
            return _environment(cell, out, requirement, python)
    return _unpacked(cell, out, requirement)


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
    suite, architecture = debian.PYTHONS.get(cell.version), cell.platform.architecture
    if suite is None:
        raise Unavailable(
            f'no Python {cell.version} for {architecture} on this machine or in Debian'
        )
    emulator = f'qemu-{architecture}-static'
    foreign = architecture != platform.machine()
    if foreign and shutil.which(emulator) is None:
        raise Unavailable(f'{emulator} not found: apt-get install qemu-user-static')
    packages = [f'python{cell.version}']
    root = BUILD / 'roots' / f'{suite}-{architecture}'
    debian.unpacked(root, suite, architecture, packages, dependencies=True)
    python = root / 'usr' / 'bin' / packages[0]
    libraries = root / 'usr' / 'lib' / f'{architecture}-linux-gnu'
    if foreign:
        runner = [emulator, '-L', str(root)]
    else:
        (linker,) = libraries.glob('ld-linux*.so.*')
        runner = [str(linker), '--library-path', str(libraries)]
    name = f'{packages[0]} of Debian {suite}' + (f', {emulator}' if foreign else '')
    return _beside(cell, out, requirement, name, runner, python)


def _beside(
    cell: Cell, out: Path, requirement: str, name: str, runner: list[str], python: Path
) -> Place:
    """Install into a directory, for a Python that has no pip: pip is told what it is."""
    site = BUILD / 'places' / cell.name
    shutil.rmtree(site, ignore_errors=True)
    wanted = ['--implementation', 'cp', '--python-version', cell.version, '--abi', cell.abi]
    wanted += ['--platform', cell.platform.tags[0], '--only-binary', ':all:', '--target', str(site)]
    _pip('install', '--no-index', '--find-links', out, *wanted, requirement)
    return Place(name, [*runner, str(python)], site, runner)


def _pip(*arguments: str | Path) -> None:
    options = ['--quiet', '--disable-pip-version-check', '--no-input']
    subprocess.run([sys.executable, '-m', 'pip', *options, *arguments], check=True)
