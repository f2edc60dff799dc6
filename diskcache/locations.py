"""Opening a cache by where it is: a directory or a URL."""

from __future__ import annotations

import os
import re

from .cache import Cache
from .hints import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .remote.cache import RemoteCache


def is_url(location: object) -> bool:
    """Tell whether a location is a URL, and no path of a directory."""
    return (
        isinstance(location, str) and re.match('[A-Za-z][A-Za-z0-9+.-]+://', location) is not None
    )


def open(location: str | os.PathLike[str] | None = None, **arguments: Any) -> Cache | RemoteCache:
    """Open a cache in a directory, or on a server.

    >>> import diskcache
    >>> cache = diskcache.open()
    >>> type(cache).__name__
    'Cache'
    >>> cache.close()

    :param location: directory, for a :class:`Cache`; or URL, such as ``redis://host/0``, for a
        :class:`diskcache.remote.RemoteCache`. None: a new temporary directory
    :param arguments: for the class
    :return: the cache
    :raises ImportError: if it is a URL, and redis-py is not installed
    :raises ValueError: if the URL is of no kind that is known; and whatever the class raises
    """
    if isinstance(location, str) and is_url(location):
        from .remote import RemoteCache  # which needs redis-py

        return RemoteCache(location, **arguments)
    return Cache(location, **arguments)
