"""The Disk of caches that are opened without one: what the program or its environment says.

Libraries open caches of their own, to which a program cannot pass `disk`. So it can say once for
the whole process what takes the place of :class:`Disk`.
"""

from __future__ import annotations

import contextlib as cl
import os
from collections.abc import Iterator

from .disk import Disk, JSONDisk
from .hints import Any
from .safedisk import SafeDisk
from .signeddisk import SignedDisk

_DISK = 'DISKCACHE_DISK'
_TYPES = 'DISKCACHE_SAFE_TYPES'
_MODULES = 'DISKCACHE_SAFE_MODULES'

_KNOWN: dict[str, type[Disk]] = {
    cls.__name__: cls for cls in (Disk, JSONDisk, SafeDisk, SignedDisk)
}

#: What the program has said, if it has.
_configured: type[Disk] | None = None

#: What the environment says, and what was made of it.
_read: tuple[tuple[str, ...], type[Disk]] | None = None


def configure(*, disk: type[Disk] | None = None) -> None:
    """Set what the caches of this process use instead of :class:`Disk`, which is the default.

    It holds for all caches that are opened from now on without `disk`, or with ``disk=Disk``; to
    have one that is pickled as ever, derive a class from Disk. It goes before the environment
    variable ``DISKCACHE_DISK``, which has ``SafeDisk``, or the full name of a class. With SafeDisk,
    ``DISKCACHE_SAFE_TYPES`` has the full names of types that are allowed too, and
    ``DISKCACHE_SAFE_MODULES`` those of modules, see :meth:`SafeDisk.with_types`; names are divided
    by commas.

    :param disk: subclass of Disk (None: what the environment says)
    :raises ValueError: if it is no subclass of Disk
    """
    global _configured
    if disk is not None and not (isinstance(disk, type) and issubclass(disk, Disk)):
        raise ValueError('disk must subclass diskcache.Disk')
    _configured = disk


def default_disk() -> type[Disk]:
    """Return the Disk of caches that are opened without one.

    :raises ValueError: if an environment variable has what cannot be meant
    """
    global _read
    if _configured is not None:
        return _configured
    said = tuple(os.environ.get(name, '') for name in (_DISK, _TYPES, _MODULES))
    if _read is None or _read[0] != said:
        _read = said, _from_environment(*said)
    return _read[1]


def _from_environment(disk: str, types: str, modules: str) -> type[Disk]:
    with _naming(_DISK, disk):
        found = find_disk(disk.strip())
    for variable, text in ((_TYPES, types), (_MODULES, modules)):
        for name in filter(None, (part.strip() for part in text.split(','))):
            with _naming(variable, name):
                if not issubclass(found, SafeDisk):
                    raise ValueError(f'{_DISK} is not SafeDisk, but {disk!r}')
                if variable == _TYPES:
                    found = found.with_types(_find_class(name))
                else:
                    found = found.with_types(modules=[name])
    return found


@cl.contextmanager
def _naming(variable: str, text: str) -> Iterator[None]:
    """Have an error name the environment variable that it is about."""
    try:
        yield
    except Exception as error:  # a module that is imported raises what it likes
        raise ValueError(f'{variable}: {text!r}: {error}') from error


def find_disk(name: str) -> type[Disk]:
    found = _KNOWN.get(name) if name else Disk
    if found is None:
        found = _find_class(name)
    if not issubclass(found, Disk):
        raise ValueError('this is no subclass of diskcache.Disk')
    return found


def _find_class(name: str) -> type[Any]:
    """Return the class of a full name, ``package.module.Class`` or ``package.module:A.B``."""
    module, _, path = name.partition(':') if ':' in name else name.rpartition('.')
    if not module or not path:
        raise ValueError('the full name of a class is needed, with its module')
    from importlib import import_module

    found: Any = import_module(module)
    for part in path.split('.'):
        found = getattr(found, part)
    if not isinstance(found, type):
        raise TypeError('this is no class')
    return found
