"""Facade: the names of the original's module of this name, wherever they are defined here.

It is a folder since Python takes that before a core.py. So it is run also where the original has
been installed over this package, and its __init__.py imports .core first: here it ends, with an
error that says so, instead of going on with the files of both (docs/decisions/0048-the-name.rst).
"""

# ruff: noqa: F401
import contextlib as cl
import errno
import functools as ft
import io
import os
import os.path as op
import pickle
import sqlite3
import threading
import time
import warnings

# Which only another distribution has. A frozen package has no folders.
if any(op.lexists(folder + '.py') for folder in __path__):
    from ..installed import mixed_up

    raise mixed_up(op.dirname(__path__[0]))

from .. import _core
from .._core import Timeout, args_to_key
from ..cache import Cache, Transaction
from ..cautions import CacheWarning, EmptyDirWarning, UnknownFileWarning
from ..constants import (
    DBNAME,
    ENOVAL,
    MODE_BINARY,
    MODE_NONE,
    MODE_PICKLE,
    MODE_RAW,
    MODE_TEXT,
    UNKNOWN,
    Constant,
)
from ..defaults import configure
from ..disk import Disk, JSONDisk, StoredKey
from ..hints import TYPE_CHECKING
from ..memoize import full_name
from ..policies import EVICTION_POLICY
from ..refusal import RefusedError, UnsafeTypeError
from ..safedisk import SafeDisk
from ..settings import DEFAULT_SETTINGS, METADATA
from ..signeddisk import SignedDisk

__all__ = [
    'DBNAME',
    'DEFAULT_SETTINGS',
    'ENOVAL',
    'EVICTION_POLICY',
    'METADATA',
    'MODE_BINARY',
    'MODE_NONE',
    'MODE_PICKLE',
    'MODE_RAW',
    'MODE_TEXT',
    'UNKNOWN',
    'Cache',
    'CacheWarning',
    'Constant',
    'Disk',
    'EmptyDirWarning',
    'JSONDisk',
    'RefusedError',
    'SafeDisk',
    'SignedDisk',
    'Timeout',
    'UnknownFileWarning',
    'UnsafeTypeError',
    'args_to_key',
    'configure',
    'full_name',
]

#: What the original's module also has, and takes long to import.
_LATER = ('codecs', 'json', 'pickletools', 'struct', 'tempfile', 'zlib')


if not TYPE_CHECKING:  # it would let any name pass

    def __getattr__(name: str) -> object:
        """Import a module of the standard library when it is asked for by this one's attribute."""
        if name not in _LATER:
            raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
        from importlib import import_module

        return globals().setdefault(name, import_module(name))


# In pickles and reprs they have the original's names, so that either library reads the other's.
for _public in (
    Cache,
    Constant,
    Disk,
    EmptyDirWarning,
    JSONDisk,
    RefusedError,
    SafeDisk,
    SignedDisk,
    StoredKey,
    Transaction,
    UnknownFileWarning,
    UnsafeTypeError,
    full_name,
):
    _public.__module__ = __name__
