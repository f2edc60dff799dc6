"""What a server cannot do, and what to do instead."""

from __future__ import annotations

from collections.abc import Callable

from ..hints import Any


class NotSupported(NotImplementedError):
    """A method or an attribute that a server cannot have; the text says what to do."""

    def __init__(self, what: str, reason: str, instead: str, of: str = 'RemoteCache') -> None:
        """Say what it is.

        :param what: the method or attribute
        :param reason: why a server cannot have it, a clause
        :param instead: what to do, a clause
        :param of: the class that has not got it
        """
        super().__init__(f'{what} is not supported by {of}: {reason}; {instead}')


class MissingAttribute(NotSupported, AttributeError):
    """The same, which hasattr() and getattr() with a default understand."""


_SERVER_EVICTS = 'the server evicts', 'set maxmemory and maxmemory-policy there'
_SERVER_COUNTS = 'lookups are counted by the server', 'ask it: INFO stats'
_NO_DIRECTORY = 'there is no directory', 'use `url` and `name`'
_NO_SQL = 'there is no SQLite', 'use the methods of the cache'

#: Methods, each with the reason and the substitute.
METHODS = {
    'transact': ('a server has no transaction that waits for a client', 'use modify(key, func)'),
    'check': ('the server keeps its own data in order', 'ask the server: redis-cli INFO'),
    'compact': ('the server gives memory back itself', 'use MEMORY PURGE of redis-cli'),
    'create_tag_index': ('tags always have an index here', 'leave the call out'),
    'drop_tag_index': ('tags always have an index here', 'leave the call out'),
    'memory_stats': ('what is kept near is not counted', 'ask the server: INFO stats'),
    'peekitem': ('a server does not keep the order of insertion', 'use push() and peek()'),
    'read': ('a server has no files', 'use get(key)'),
    'reset': ('settings are not stored on the server', 'pass them to RemoteCache(...)'),
    'stats': _SERVER_COUNTS,
    '__reversed__': ('a server does not keep the order of insertion', 'use iterkeys(reverse=True)'),
}

#: Attributes.
ATTRIBUTES = {
    'count': ('it is not stored', 'use len(cache), an estimate'),
    'cull_limit': _SERVER_EVICTS,
    'eviction_policy': _SERVER_EVICTS,
    'size_limit': _SERVER_EVICTS,
    'size': ('it is not stored', 'use volume(), an estimate'),
    'hits': _SERVER_COUNTS,
    'misses': _SERVER_COUNTS,
    'statistics': _SERVER_COUNTS,
    'memory_limit': ('what is kept near has a limit of its own', 'pass near='),
    'on_error': ('what cannot be loaded is an error', 'catch it'),
    'directory': _NO_DIRECTORY,
    '_con': _NO_SQL,
    '_sql': _NO_SQL,
    '_sql_retry': _NO_SQL,
}


class Lacking:
    """An attribute that raises NotSupported. A `__getattr__` would make all others slower."""

    def __init__(self, name: str) -> None:
        """Take its name."""
        self._name = name

    def __get__(self, instance: Any, owner: Any = None) -> Any:
        """Raise it, but for who asks the class."""
        if instance is None:
            return self
        raise MissingAttribute(self._name, *ATTRIBUTES[self._name])


def refusing(name: str) -> Callable[..., Any]:
    """Return a method that raises NotSupported."""

    def refused(self: Any, *args: Any, **kwargs: Any) -> Any:
        raise NotSupported(f'{name}()', *METHODS[name])

    refused.__name__ = refused.__qualname__ = name
    refused.__doc__ = f'Not supported: {METHODS[name][0]}; {METHODS[name][1]}.'
    return refused


def no_files(read: Any, method: str) -> None:
    """Raise NotSupported if `read` is true: a value would be a file."""
    if read:
        raise NotSupported(f'{method}(read=True)', 'a server has no files', 'pass the bytes')
