"""The settings of a cache: their defaults, and the rules for their names and values."""

from __future__ import annotations

import pickle
from collections.abc import Iterable, Mapping

from . import _core
from .cautions import warn
from .hints import Any
from .policies import EVICTION_POLICY

DEFAULT_SETTINGS: dict[str, Any] = {
    'statistics': 0,
    'tag_index': 0,
    'eviction_policy': 'least-recently-stored',
    'size_limit': 2**30,
    'cull_limit': 10,
    'sqlite_auto_vacuum': 1,
    'sqlite_cache_size': 2**13,
    'sqlite_journal_mode': 'wal',
    'sqlite_mmap_size': 2**26,
    'sqlite_synchronous': 1,
    'disk_min_file_size': 2**15,
    'disk_pickle_protocol': pickle.HIGHEST_PROTOCOL,
}

METADATA = {'count': 0, 'size': 0, 'hits': 0, 'misses': 0}

#: What a SignedDisk knows its directory by: random, stored among the settings, and no attribute.
DIRECTORY_ID = 'signed_directory'

_KNOWN = frozenset([*DEFAULT_SETTINGS, 'sqlite_page_size'])

#: What only here is the name of a method, or is or shall be that of a parameter: with the original
#: programs may have stored settings of these names.
_ADDED = frozenset(
    {'add_many', 'compact', 'delete_many', 'get_many', 'set_many', 'touch_many', 'memory_stats'}
) | frozenset({'items', 'keys', 'setdefault', 'update', 'values'})
_PARAMETERS = frozenset({'memory_limit', 'mode', 'on_error', 'read_only'})

#: What others call a setting, or its name without the prefix.
_MEANT = {
    'max_size': 'size_limit',
    'maxsize': 'size_limit',
    'compress_level': 'disk_compress_level',
    'min_file_size': 'disk_min_file_size',
    'pickle_protocol': 'disk_pickle_protocol',
}


def ignored(owner: type, stored: Iterable[str]) -> list[str]:
    """Return the names, of stored settings, that are not made attributes."""
    return sorted(
        name for name in stored if name in _ADDED or name in _PARAMETERS or is_taken(owner, name)
    )


def is_taken(owner: type, name: str) -> bool:
    """Tell whether an attribute of this name would hide a method or property of the class."""
    if name in _KNOWN:
        return False
    attribute = getattr(owner, name, None)
    if name in METADATA and attribute is getattr(_core.Cache, name):
        return False
    return callable(attribute) or hasattr(type(attribute), '__get__')


def check(owner: type, settings: dict[str, Any]) -> None:
    """Look at keyword arguments, and take out those that are ignored.

    :param owner: class of the cache
    :param settings: the arguments
    :raises TypeError: if one has the name of a method, or a value that cannot be stored
    """
    for name in _ADDED & settings.keys():  # which the original stores
        del settings[name]
        warn(f'the setting {name!r} is ignored: it is a method or parameter here')
    for name, value in settings.items():
        if is_taken(owner, name):
            raise TypeError(f'{name!r} is the name of a method, it cannot be a setting')
        if not isinstance(value, int | float | str | bytes | None):
            kind = type(value).__name__
            raise TypeError(f'setting {name} must be int, float, str or bytes, not {kind!r}')
        if name not in _KNOWN and name not in METADATA:
            _warn_if_misspelt(name)
        if name == 'size_limit' and isinstance(value, int | float) and value < 0:
            warn(f'size_limit={value}: a cache with a negative limit keeps nothing')


def damaged(stored: Mapping[Any, Any]) -> set[Any]:
    """Return the names, of stored settings, whose values are not usable, or which are none."""
    return {
        name
        for name, value in stored.items()
        if not isinstance(name, str) or not is_usable(name, value)
    }


def is_usable(name: str, value: Any) -> bool:
    """Tell whether a stored value can be what somebody has set: it may have been damaged."""
    if name == 'eviction_policy':
        return isinstance(value, str) and value in EVICTION_POLICY
    if name.startswith('sqlite_'):
        if isinstance(value, str):
            return value.isascii() and value.replace('_', '').isalnum()
        return isinstance(value, int) or (isinstance(value, float) and value.is_integer())
    if name == 'disk_pickle_protocol':
        return isinstance(value, int | None)
    return name not in DEFAULT_SETTINGS or isinstance(value, int | float)


def _warn_if_misspelt(name: str) -> None:
    import difflib

    if name in _MEANT:
        warn(f'unknown setting {name!r}: is {_MEANT[name]!r} meant?')
        return
    names = [*_KNOWN, *_PARAMETERS, 'directory', 'disk', 'timeout']
    close = difflib.get_close_matches(name, names, 1, 0.8)
    if close:
        warn(f'unknown setting {name!r}: is {close[0]!r} meant?')
