"""A wheel of the package that is tested, made of it as it is: nothing is compiled."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

from places import PACKAGE, ROOT

_SOURCES = ('diskcache', 'diskcache.py', 'setup.py', 'pyproject.toml', 'README.rst', 'LICENSE')


def our_wheel(work: Path, directory: Path, name: str) -> None:
    """Have setuptools make a wheel under a name, with the extension that is there."""
    sources = work / name
    sources.mkdir()
    for each in _SOURCES:
        path = (PACKAGE if each.startswith('diskcache') else ROOT) / each
        copy = shutil.copytree if path.is_dir() else shutil.copy
        copy(path, sources / each)
    library = sources / 'library'
    setup = [sys.executable, 'setup.py', '--quiet']
    build = ['build', '--build-lib', str(library)]
    options = {
        'cwd': sources,
        'env': {**os.environ, 'DISKCACHE_DISTRIBUTION': name},
        'check': True,
        'capture_output': True,
    }
    subprocess.run([*setup, 'build_py', '--build-lib', str(library)], **options)
    for extension in (sources / 'diskcache').glob('_core.*.so'):
        shutil.copy(extension, library / 'diskcache')
    made = ['bdist_wheel', '--skip-build', '--dist-dir', str(directory)]
    subprocess.run([*setup, *build, *made], **options)
