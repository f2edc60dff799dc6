"""Disk-backed cache: a persistent, shared mapping over SQLite, with a native core.

>>> from diskcache import Cache
>>> with Cache() as cache:
...     cache['key'] = 'value'
...     cache['key']
'value'
"""

from .core import (
    DEFAULT_SETTINGS,
    ENOVAL,
    EVICTION_POLICY,
    UNKNOWN,
    Cache,
    Disk,
    EmptyDirWarning,
    JSONDisk,
    Timeout,
    UnknownFileWarning,
)

__all__ = [
    'DEFAULT_SETTINGS',
    'ENOVAL',
    'EVICTION_POLICY',
    'UNKNOWN',
    'Cache',
    'Disk',
    'EmptyDirWarning',
    'JSONDisk',
    'Timeout',
    'UnknownFileWarning',
]

__title__ = 'diskcache'
__version__ = '5.7.0'
__build__ = 0x050700
__license__ = 'Apache-2.0'
