"""The sources that the wheels are made of, and the sdist that has the same."""

from __future__ import annotations

import importlib
import io
import os
import shutil
import subprocess
import sys
import tarfile
from dataclasses import dataclass
from pathlib import Path

from setuptools import Extension

from wheels import clone, packing
from wheels.clone import ROOT

BUILD = ROOT / 'build' / 'wheels'

#: What an extension says that needs no GIL.
_WITHOUT_GIL = 'Py_MOD_GIL_NOT_USED'


def can_do_without_gil() -> bool:
    return any(_WITHOUT_GIL in path.read_text() for path in (ROOT / 'src').rglob('*.[ch]'))


@dataclass
class Tree:
    """An unpacked sdist."""

    path: Path
    #: What it is called, as file names have it: a-b is a_b.
    stem: str
    sdist: Path

    @property
    def version(self) -> str:
        return self.path.name.rpartition('-')[2]


def make(out: Path, epoch: int) -> Tree:
    """Make the sdist, of what git knows of, and unpack it: so it is complete, or nothing builds.

    The environment variable DISKCACHE_DISTRIBUTION has the distribution's name; setup.py reads it.
    """
    shutil.rmtree(BUILD / 'tree', ignore_errors=True)
    copy, made = BUILD / 'tree' / 'copy', BUILD / 'tree' / 'sdist'
    for name in clone.files():
        (copy / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / name, copy / name)

    setup(copy, 'sdist', '--formats=tar', '--dist-dir', str(made))
    (tar,) = made.iterdir()
    with tarfile.open(tar) as archive:
        archive.extractall(BUILD / 'tree', filter='data')
    path = BUILD / 'tree' / tar.name.removesuffix('.tar')
    sdist = out / f'{path.name}.tar.gz'
    packing.write(sdist, packing.gzip(_repacked(path, epoch)))
    return Tree(path, path.name.rpartition('-')[0], sdist)


def setup(directory: Path, *arguments: str) -> None:
    """Run setup.py there; what it prints is shown if it fails.

    :raises SystemExit: it fails
    """
    done = subprocess.run(
        [sys.executable, 'setup.py', '--quiet', *arguments],
        cwd=directory,
        env={**os.environ, 'PYTHONDONTWRITEBYTECODE': '1'},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    if done.returncode != 0:
        raise SystemExit(f'wheels: setup.py {arguments[0]} fails:\n{done.stdout}')


def _repacked(path: Path, epoch: int) -> bytes:
    """Return the tar of a tree, which has the same bytes wherever and whenever it is made."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode='w', format=tarfile.PAX_FORMAT) as archive:
        for file in sorted(each for each in path.rglob('*') if each.is_file()):
            member = tarfile.TarInfo(f'{path.name}/{file.relative_to(path).as_posix()}')
            member.size = file.stat().st_size
            member.mtime = epoch
            member.mode = 0o755 if file.stat().st_mode & 0o100 else 0o644
            with file.open('rb') as opened:
                archive.addfile(member, opened)
    return buffer.getvalue()


def extension(tree: Tree) -> Extension:
    """Return what setup.py says of the extension: sources, flags, libraries."""
    before = Path.cwd()
    os.chdir(tree.path)  # where setup.py looks for the sources
    try:
        # setuptools puts its own distutils there; later Pythons have no other.
        distribution = importlib.import_module('distutils.core').run_setup(
            'setup.py', stop_after='config'
        )
        (found,) = distribution.ext_modules
    finally:
        os.chdir(before)
    assert isinstance(found, Extension)
    return found


def python_files(tree: Tree) -> dict[str, bytes]:
    """Return what all wheels have in common: metadata, the package without its extension."""
    staged = BUILD / 'tree' / 'staged'
    setup(tree.path, 'build_py', '--build-lib', str(staged))
    setup(tree.path, 'dist_info', '--output-dir', str(staged))
    files = {
        path.relative_to(staged).as_posix(): path.read_bytes()
        for path in staged.rglob('*')
        if path.is_file() and path.suffix != '.pyc'
    }
    if not any(name.startswith(f'{tree.stem}-{tree.version}.dist-info/') for name in files):
        raise SystemExit(f'wheels: {tree.path.name} has another name in its metadata')
    return files
