"""Which distributions have files in this package, and what to do if it is not whole.

Several have a package of this name, and installers let them overwrite each other. This module is
imported only when somebody asks, or when something is wrong.
"""

from __future__ import annotations

import os
import os.path as op
from importlib.machinery import EXTENSION_SUFFIXES
from importlib.metadata import Distribution, distributions

_PACKAGE = 'diskcache'

#: Only this project's distributions have it.
_OURS = f'{_PACKAGE}/installed.py'


def owners(directory: str) -> list[tuple[str, str, bool]]:
    """Return the distributions that own files of a package: name, version, whether editable.

    Those with our files come first.

    :param directory: the package
    """
    found = {}
    for each in distributions():
        try:
            rank, editable = _claim(each, op.realpath(directory))
            name, version = each.name, each.version
            if rank is not None and name and version and name not in found:
                found[name] = (rank, name, version, editable)
        except Exception:  # it is somebody else's, and can be damaged in any way
            continue
    return [(name, version, editable) for _, name, version, editable in sorted(found.values())]


def _claim(distribution: Distribution, directory: str) -> tuple[int | None, bool]:
    """Tell whether a distribution has files of a package, and is editable.

    :param directory: the package, without symbolic links
    :return: 0 if it is ours, 1 if it is another, None if it has none there
    """
    if _editable_in(distribution) == op.dirname(directory):
        return 0, True
    record = distribution.read_text('RECORD')
    if record is None:
        # Packages of Debian have no list; nothing else can own their files.
        inside = _PACKAGE in (distribution.read_text('top_level.txt') or '').split()
        ours = False
    else:
        names = [line.partition(',')[0] for line in record.splitlines()]
        inside = any(name.startswith(f'{_PACKAGE}/') for name in names)
        ours = _OURS in names
    if inside and op.realpath(str(distribution.locate_file(_PACKAGE))) == directory:
        return (0 if ours else 1), False
    return None, False


def without_extension(directory: str, error: ImportError) -> ImportError:
    """Return the error for a package whose native module is not found, or cannot be loaded.

    :param error: what Python says of that
    """
    wanted = f'_core{EXTENSION_SUFFIXES[0]}'
    if not op.isdir(directory):
        reason = (
            'is in an archive, from which Python loads no extension: keep the package unpacked'
            ' beside the archive, or use a tool that unpacks it, such as shiv'
        )
    elif not isinstance(error, ModuleNotFoundError):
        reason = (
            f'has an extension that cannot be loaded ({error}): perhaps it is for another machine'
            f' or C library, or damaged: {_anew(directory)}'
        )
    elif _is_clone(directory):
        reason = (
            'is in a clone of the sources, and not built for this Python: leave the clone to import'
            ' what is installed, or build it there: make build'
        )
    elif found := [name for name in os.listdir(directory) if name.endswith(('.so', '.pyd'))]:
        reason = (
            f'is for another Python: it has {" and ".join(found)}, and this one needs {wanted}:'
            ' install it with the Python that is to import it'
        )
    else:
        reason = f'has lost its extension, {wanted}: {_anew(directory)}'
    return _error(directory, reason, f'{_PACKAGE}._core')


def other_version(directory: str, version: str) -> ImportError:
    """Return the error for a package whose native module is that of another version."""
    said = f'is version {version}, and its extension is of another'
    if _is_clone(directory):
        return _error(directory, f'{said}: build it anew: make build', f'{_PACKAGE}._core')
    return _error(directory, f'{said}: {_one_alone(directory)}', f'{_PACKAGE}._core')


def mixed_up(directory: str) -> ImportError:
    """Return the error for a package that has files of the original beside those of this one."""
    reason = 'has files of several distributions'
    if len(owners(directory)) < 2:
        reason = (
            'has files of the original diskcache, or of an old build/ of this project (make clean),'
            ' and of this one'
        )
    return _error(directory, f'{reason}, which overwrite each other: {_one_alone(directory)}')


def left_over(directory: str) -> ImportError:
    """Return the error for a package of which another distribution took files with it."""
    return _error(
        directory,
        'has lost files to another distribution, which overwrote them and was uninstalled:'
        f' {_anew(directory)}',
    )


def _error(directory: str, reason: str, name: str = _PACKAGE) -> ImportError:
    return ImportError(f'{directory} {reason}', name=name, path=directory)


def _is_clone(directory: str) -> bool:
    return op.exists(op.join(op.dirname(directory), 'src', 'module.c'))


def _one_alone(directory: str) -> str:
    """Return how to come to a package of which all files are those of one distribution."""
    found = owners(directory)
    if len(found) < 2:
        return f'remove the directory, and {_anew(directory)}'
    names = ' '.join(name for name, *_ in found)
    return (
        f'uninstall all, and install one: pip uninstall -y {names};'
        f' pip install {_requirement(found[0])}'
    )


def _anew(directory: str) -> str:
    """Return how to install what a package belongs to, which pip takes for whole."""
    found = owners(directory)
    if not found or found[0][2]:
        return 'install it anew'
    return f'install it anew: pip install --force-reinstall {_requirement(found[0])}'


def _requirement(owner: tuple[str, str, bool]) -> str:
    """Return what pip has to be told to find this or nothing: the original may have the name."""
    name, version, _ = owner
    return f'{name}=={version}'


def _editable_in(distribution: Distribution) -> str | None:
    """Return the directory that a distribution is imported from without having been copied."""
    import json
    from urllib.parse import urlsplit
    from urllib.request import url2pathname

    found = json.loads(distribution.read_text('direct_url.json') or '{}')
    if not found.get('dir_info', {}).get('editable'):
        return None
    return op.realpath(url2pathname(urlsplit(found['url']).path))
