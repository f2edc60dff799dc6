"""Disk-backed cache: a persistent, shared mapping over SQLite, with a native core.

>>> from diskcache import Cache
>>> with Cache() as cache:
...     cache['key'] = 'value'
...     cache['key']
'value'
"""

import sys as _sys

__title__ = 'diskcache'
__version__ = '5.7.0'
__build__ = 0x050700
__license__ = 'Apache-2.0'

try:
    from ._core import Timeout
except ImportError as _error:
    if _error.name not in ('_core', f'{__name__}._core'):  # it says itself what it lacks
        raise
    from .installed import without_extension

    raise without_extension(__path__[0], _error) from None

from . import _core as _core

if getattr(_core, 'version', None) != __version__:
    from .installed import other_version

    raise other_version(__path__[0], __version__)

from .constants import KEEP as KEEP  # not in __all__, which is the original's
from .core import (
    DEFAULT_SETTINGS,
    ENOVAL,
    EVICTION_POLICY,
    UNKNOWN,
    Cache,
    Disk,
    EmptyDirWarning,
    JSONDisk,
    UnknownFileWarning,
)
from .core import CacheWarning as CacheWarning
from .core import RefusedError as RefusedError
from .core import SafeDisk as SafeDisk
from .core import SignedDisk as SignedDisk
from .core import UnsafeTypeError as UnsafeTypeError
from .core import configure as configure
from .fanout import FanoutCache
from .hints import TYPE_CHECKING
from .locations import open as open
from .persistent import Deque, Index
from .recipes import (
    Averager,
    BoundedSemaphore,
    Lock,
    RLock,
    barrier,
    memoize_stampede,
    throttle,
)

if TYPE_CHECKING:
    from .djangocache import DjangoCache

__all__ = [
    'DEFAULT_SETTINGS',
    'ENOVAL',
    'EVICTION_POLICY',
    'UNKNOWN',
    'Averager',
    'BoundedSemaphore',
    'Cache',
    'Deque',
    'Disk',
    'EmptyDirWarning',
    'FanoutCache',
    'Index',
    'JSONDisk',
    'Lock',
    'RLock',
    'Timeout',
    'UnknownFileWarning',
    'barrier',
    'memoize_stampede',
    'throttle',
]


def _has_django() -> bool:
    """Tell whether Django is installed, without importing it, or importlib.util."""
    if 'django' in _sys.modules:
        spec = getattr(_sys.modules['django'], '__spec__', None)  # None: a stand-in
    else:
        finders = (finder for finder in _sys.meta_path if hasattr(finder, 'find_spec'))
        spec = next(filter(None, (find.find_spec('django', None) for find in finders)), None)
    return spec is not None and spec.origin is not None  # not just a directory of that name


if _has_django():
    __all__ += ['DjangoCache']


if not TYPE_CHECKING:  # it would let any name pass

    def __getattr__(name: str) -> object:
        """Import DjangoCache when it is asked for: Django takes longer than all the rest."""
        if name in ('DjangoCache', 'djangocache') and 'DjangoCache' in __all__:
            from importlib import import_module  # which does not ask for the attribute first

            module = import_module('.djangocache', __name__)
            return module if name == 'djangocache' else module.DjangoCache
        if name == 'DjangoCache':
            from opcode import opmap

            text = 'DjangoCache needs Django: pip install Django'
            caller = _sys._getframe(1)
            # From an AttributeError the statement would make an error of its own, without the hint.
            if caller.f_code.co_code[caller.f_lasti] == opmap['IMPORT_FROM']:
                raise ImportError(text, name=__name__, path=__file__)
            raise AttributeError(text)
        raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
