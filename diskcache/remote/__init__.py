"""RemoteCache: the interface of a Cache on a server, Redis or Valkey, that many machines share.

It needs the package redis, which the extra ``redis`` installs. ``import diskcache`` does not import
it.
"""

from __future__ import annotations

try:
    import redis  # noqa: F401
except ModuleNotFoundError as _error:
    if _error.name != 'redis':
        raise
    raise ImportError(
        "diskcache.remote needs redis-py: pip install 'redis[hiredis]'", name='redis'
    ) from None

from .cache import RemoteCache
from .deque import RemoteDeque
from .engine import RemoteError
from .index import RemoteIndex
from .unsupported import NotSupported

__all__ = ['NotSupported', 'RemoteCache', 'RemoteDeque', 'RemoteError', 'RemoteIndex']
