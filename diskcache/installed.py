"""Which distributions have files in this package, and what to do if it is more than one.

Several have a package of this name, and installers let them overwrite each other. This module is
imported only when somebody asks, or when something is wrong.
"""

from __future__ import annotations

import os.path as op
from importlib.metadata import Distribution, distributions

_PACKAGE = 'diskcache'

#: Only this project's distributions have it.
_OURS = f'{_PACKAGE}/installed.py'


def owners(directory: str) -> list[tuple[str, str]]:
    """Return the names of the distributions that own files of a package, and what to add to each.

    That is its version, and that it is editable. Those with our files come first.

    :param directory: the package
    """
    found = {}
    for each in distributions():
        name, version = each.metadata['Name'], each.version
        if name in found or _PACKAGE not in (each.read_text('top_level.txt') or '').split():
            continue
        # Packages of Debian have no list; nothing else can own their files.
        files = [_OURS] if each.files is None else [file.as_posix() for file in each.files]
        inside = any(file.startswith(f'{_PACKAGE}/') for file in files)
        if inside and op.realpath(str(each.locate_file(_PACKAGE))) == op.realpath(directory):
            found[name] = (_OURS not in files, name, version)
        elif _editable_in(each) == op.realpath(op.dirname(directory)):
            found[name] = (False, name, f'{version}, editable')
    return [(name, version) for _, name, version in sorted(found.values())]


def without_extension(directory: str) -> ImportError:
    """Return the error for a package whose native module is not found."""
    if op.isdir(directory):
        reason = (
            'is not built for this Python: if it is in a clone of the sources, leave the clone to'
            ' import what is installed, or build it there: make build'
        )
    else:
        reason = (
            'is in an archive, from which Python loads no extension: keep the package unpacked'
            ' beside the archive, or use a tool that unpacks it, such as shiv'
        )
    return ImportError(f'{directory} {reason}', name=f'{_PACKAGE}._core', path=directory)


def mixed_up(directory: str) -> ImportError:
    """Return the error for a package that has files of several distributions."""
    names = [name for name, _ in owners(directory)]
    if len(names) < 2:
        return ImportError(
            f'{directory} has files of the original diskcache, or of an old build/ of this project'
            ' (make clean), and of this one, which overwrite each other: remove the directory, and'
            ' install one of them',
            name=_PACKAGE,
            path=directory,
        )
    return ImportError(
        f'{directory} has files of several distributions, which overwrite each other: uninstall'
        f' all, and install one: pip uninstall -y {" ".join(names)}; pip install {names[0]}',
        name=_PACKAGE,
        path=directory,
    )


def left_over(directory: str) -> ImportError:
    """Return the error for a package of which another distribution took files with it."""
    names = [name for name, _ in owners(directory)] or [_PACKAGE]
    return ImportError(
        f'{directory} has lost files to another distribution, which overwrote them and was'
        f' uninstalled: install them anew: pip install --force-reinstall {names[0]}',
        name=_PACKAGE,
        path=directory,
    )


def _editable_in(distribution: Distribution) -> str | None:
    """Return the directory that a distribution is imported from without having been copied."""
    import json
    from urllib.parse import urlsplit
    from urllib.request import url2pathname

    found = json.loads(distribution.read_text('direct_url.json') or '{}')
    if not found.get('dir_info', {}).get('editable'):
        return None
    return op.realpath(url2pathname(urlsplit(found['url']).path))
