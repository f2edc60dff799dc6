"""DjangoCache: a FanoutCache as a cache backend of Django.

    CACHES = {
        'default': {
            'BACKEND': 'diskcache.DjangoCache',
            'LOCATION': '/var/cache/site',
            'TIMEOUT': 300,             # seconds, None: no expiry
            'SHARDS': 8,                # as many as writers at a time, see FanoutCache
            'DATABASE_TIMEOUT': 0.010,  # seconds to wait for a shard's lock
            'OPTIONS': {'size_limit': 2**30},
        }
    }

Django makes a DjangoCache for each thread, and under ASGI one for each request. Opening the shards
takes milliseconds (7 ms for eight), a `get` microseconds. So all those of a process that are
configured alike share one FanoutCache, which is safe for threads, knows about forks and stays open
from one request to the next (8 µs to find it).

A LOCATION that is a URL, such as ``redis://host/0``, is a server that machines share: there it is a
RemoteCache, which this imports only then. What a server cannot do is refused, settings when the
cache is opened, methods when they are called.

The asynchronous methods (`aget` ...) run the synchronous ones in the thread that Django keeps for
what may not change its thread, all of them. A read takes microseconds and could nearly always run
in the event loop at once. But a write may have to wait for a lock, which the loop that it would
stop may be about to give back; a read of a large value, or from a slow disk, would stop everybody
else too; and pickling is code of the values: to store a QuerySet runs its query, on the database
connection of that thread. What takes many keys goes to the thread once, not once for each key.
"""

from __future__ import annotations

import contextlib as cl
import functools as ft
import hashlib
import io
import os
import os.path as op
import sqlite3
import time
from collections.abc import Callable, Coroutine, Iterable, Iterator, Mapping
from typing import (
    TYPE_CHECKING,
    Any,
    BinaryIO,
    Concatenate,
    Literal,
    NamedTuple,
    cast,
    overload,
)

from asgiref.sync import sync_to_async
from django.conf import settings
from django.core.cache.backends.base import (
    DEFAULT_TIMEOUT,
    MEMCACHE_MAX_KEY_LENGTH,
    BaseCache,
)
from django.core.exceptions import ImproperlyConfigured
from django.core.signals import setting_changed
from django.utils.crypto import salted_hmac
from django.utils.module_loading import import_string

from . import removal
from ._core import Timeout
from .cache import Cache
from .cautions import warn_once
from .constants import DBNAME, ENOVAL
from .defaults import default_disk
from .deque import Deque
from .directory import path_of
from .disk import Disk, StoredKey
from .fanout import FanoutCache
from .hints import Memoized, P, R, Tag
from .index import Index
from .locations import is_url
from .memoize import memoizer
from .settings import DEFAULT_SETTINGS
from .unloadable import passes_over

if TYPE_CHECKING:
    from .remote.site import SiteCache

__all__ = ['DjangoCache']

#: What BaseCache reads of OPTIONS; they limit other backends, here size_limit does.
_OPTIONS_OF_DJANGO = frozenset({'MAX_ENTRIES', 'CULL_FREQUENCY'})


class _Opened(NamedTuple):
    """A FanoutCache that is open, and the file that its first shard is in."""

    cache: FanoutCache[Any, Any]
    identity: tuple[int, int] | None

    @classmethod
    def open(cls, directory: Any, shards: int, timeout: float, options: Any) -> _Opened:
        cache = FanoutCache(directory, shards, timeout, **options)
        return cls(cache, cls._identify(cache))

    @staticmethod
    def _identify(cache: FanoutCache) -> tuple[int, int] | None:
        return removal.identity(op.join(cache._numbered(0)._path, DBNAME))

    def is_in_place(self) -> bool:
        """Whether the directory is still the one that was opened.

        Some flush a cache by removing its directory, and the files that a process has open live on.
        """
        return self.identity is not None and self._identify(self.cache) == self.identity


#: What is open in this process, by how it was opened. Without a lock, which a fork might inherit
#: locked: two threads that open the same at once use two FanoutCaches until they close.
_opened: dict[tuple[Any, ...], _Opened] = {}


def _share(directory: Any, shards: int, timeout: float, options: dict[str, Any]) -> FanoutCache:
    """Return the FanoutCache that is opened like this, opening it if it is not.

    If it cannot be opened again, the operations report it: for a lookup it is a miss.
    """
    disk = options.get('disk', Disk)
    disk = default_disk() if disk is Disk else disk
    # Not the options themselves, which need not be hashable for FanoutCache to refuse them.
    key = (directory, shards, timeout, disk, repr(sorted(options.items())))
    opened = _opened.get(key)
    if opened is None or not opened.is_in_place():
        try:
            opened = _opened[key] = _Opened.open(directory, shards, timeout, options)
        except (Timeout, sqlite3.OperationalError):
            if opened is None:
                raise
    return opened.cache


#: The caches on servers, likewise: they connect, and start anew in a fork, by themselves.
_remote: dict[tuple[Any, ...], SiteCache] = {}

#: Makes the keys of memoized calls with a URL, the same in all versions of Python.
_DISK_OF_KEYS = Disk('', pickle_protocol=5)

#: What OPTIONS may have with a URL: what RemoteCache takes.
_REMOTE_OPTIONS = frozenset(
    {'name', 'near', 'serializer', 'keys', 'timeout', 'max_value', 'shards'}
)

_SERVER_EVICTS = 'set maxmemory and maxmemory-policy on the server'

#: What a server has not got, beside OPTIONS and in it: what to do instead.
_NOT_BESIDE = {
    'SHARDS': "leave it out; of a Cluster, put 'shards' into OPTIONS",
    'DATABASE_TIMEOUT': "put 'timeout' into OPTIONS: seconds to wait for an answer",
}
_NOT_IN_OPTIONS = {
    'size_limit': _SERVER_EVICTS,
    'eviction_policy': _SERVER_EVICTS,
    'cull_limit': _SERVER_EVICTS,
    'statistics': 'leave it out, and ask the server: INFO stats',
    'tag_index': 'leave it out: a server has an index of tags',
    'disk': "use 'serializer'",
    'on_error': 'leave it out: a value that cannot be loaded is a miss',
    'memory_limit': "use 'near'",
    'mode': 'give its user rights on the server',
    'read_only': 'give its user rights on the server',
    'disk_min_file_size': 'leave it out: a server has no files',
    'disk_pickle_protocol': 'leave it out: all programs of a server use one',
}


def _refused_by_server(params: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield the settings that mean nothing with a URL, and what to do instead."""
    for name in params:
        if name in _NOT_BESIDE:
            yield name, _NOT_BESIDE[name]
        elif name.lower() in DEFAULT_SETTINGS:
            yield f'{name} beside OPTIONS', 'leave it out: a server has no such setting'
    for name in map(str, params.get('OPTIONS', {})):
        if name in _REMOTE_OPTIONS or name in _OPTIONS_OF_DJANGO:
            continue
        instead = _NOT_IN_OPTIONS.get(name)
        if instead is None and name.startswith('sqlite_'):
            instead = 'leave it out: a server has no SQLite'
        elif instead is None:
            instead = f'OPTIONS may have {", ".join(sorted(_REMOTE_OPTIONS))}'
        yield f'{name!r} in OPTIONS', instead


def _derive_keys(*secrets: str) -> tuple[bytes, ...]:
    """Return keys for signatures that nothing else is signed with."""
    return tuple(
        salted_hmac('diskcache.DjangoCache', 'server', secret, algorithm='sha256').digest()
        for secret in secrets
    )


_derived_keys: Callable[..., tuple[bytes, ...]] = ft.lru_cache(maxsize=8)(_derive_keys)


def _connect(url: str, options: dict[str, Any]) -> FanoutCache:
    """Return the cache at a URL, which is the same for the same options.

    Values are signed unless the site has chosen a serializer: any object can be stored, and who can
    write to the server cannot run code in the site.
    """
    from .remote.site import SiteCache  # which needs redis-py

    chosen = {'name': 'django', 'serializer': 'signed', **options}
    if chosen['serializer'] == 'signed' and not chosen.get('keys'):
        chosen['keys'] = _derived_keys(settings.SECRET_KEY, *settings.SECRET_KEY_FALLBACKS)
    serializer = chosen['serializer']
    if isinstance(serializer, str) and '.' in serializer:
        serializer = chosen['serializer'] = import_string(serializer)
    which = id(serializer) if isinstance(serializer, type) else serializer  # two may have one name
    key = (url, repr(which), repr(sorted(chosen.items())))
    cache = _remote.get(key)
    if cache is None:
        cache = _remote.setdefault(key, SiteCache(url, **chosen))
    return cast('FanoutCache[Any, Any]', cache)  # it has the methods that are called here


def _has_urls(location: Any) -> bool:
    """Tell whether a location is several URLs, as Django's own backend takes them."""
    return isinstance(location, list | tuple | set) and any(map(is_url, location))


#: What stands beside OPTIONS, by the name that it has as a parameter of FanoutCache.
_BESIDE_OPTIONS = {
    'directory': 'LOCATION',
    'shards': 'SHARDS',
    'timeout': 'DATABASE_TIMEOUT',
}

#: What these warnings are about: all caches of a site are configured there.
_SETTINGS = 'CACHES'


def _check(location: Any, params: Mapping[str, Any]) -> None:
    """Look at what a site has configured.

    :raises ImproperlyConfigured: if it cannot be meant
    """
    options = params.get('OPTIONS', {})
    if not isinstance(options, Mapping):
        kind = type(options).__name__
        raise ImproperlyConfigured(f'OPTIONS of a DjangoCache must be a dict, not {kind!r}')
    if is_url(location):
        for name, instead in _refused_by_server(params):
            raise ImproperlyConfigured(
                f'{name} means nothing for a DjangoCache at a URL; {instead}'
            )
        return
    if _has_urls(location):  # as a path, it would have the password in it
        raise ImproperlyConfigured('LOCATION of a DjangoCache is one URL, and no list of them')
    for name in options:
        beside = _BESIDE_OPTIONS.get(name, name)
        if beside in _BESIDE_OPTIONS.values():
            raise ImproperlyConfigured(
                f'{beside} of a DjangoCache stands beside OPTIONS, not in it'
            )
    for name in params:
        if name.lower() in DEFAULT_SETTINGS:
            text = f'{name} beside OPTIONS is ignored: {name.lower()!r} in OPTIONS is meant?'
            warn_once(_SETTINGS, name, text)
    if location == '':
        text = f'a DjangoCache without LOCATION is in the current directory, {os.getcwd()}'
        warn_once(_SETTINGS, 'no LOCATION', text)
    elif location is not None and '://' in str(location):
        text = 'LOCATION of a DjangoCache is the path of a directory, or one URL; it becomes a path'
        warn_once(_SETTINGS, f'LOCATION {location}', text)


def _forget(*, setting: str, **kwargs: Any) -> None:
    """Keep nothing open for caches that a test had configured."""
    if setting == _SETTINGS:
        _opened.clear()
        _remote.clear()


setting_changed.connect(_forget)


def _async(
    method: Callable[Concatenate[Any, P], R],
) -> Callable[Concatenate[Any, P], Coroutine[Any, Any, R]]:
    """Return the asynchronous twin of a method, for why it is like this see above.

    It has the method's parameters and calls what a subclass makes of the method.
    """
    name = method.__name__

    async def twin(self: Any, /, *args: P.args, **kwargs: P.kwargs) -> R:
        call = sync_to_async(getattr(self, name), thread_sensitive=True)
        return await call(*args, **kwargs)  # type: ignore[no-any-return]

    ft.update_wrapper(twin, method)
    twin.__name__ = f'a{name}'
    twin.__qualname__ = f'DjangoCache.a{name}'
    twin.__doc__ = f'Do what :meth:`{name}` does, without blocking the event loop.'
    return twin


class DjangoCache(BaseCache):
    """Cache backend for Django: a :class:`FanoutCache` behind Django's interface.

    Keys are `KEY_PREFIX:VERSION:key`, or what KEY_FUNCTION makes. Where Django's interface has no
    word for a locked database, the methods wait for the lock as long as it takes; those with a
    parameter `retry` can do otherwise. :exc:`Timeout` is never raised.

    With a URL as LOCATION it is a RemoteCache. There `retry` means nothing. What a server cannot do
    raises :exc:`NotImplementedError`. A lookup that gets no answer is a miss, and is logged; what
    writes raises :exc:`Timeout`, :exc:`ConnectionError` or RemoteError.
    """

    def __init__(self, directory: str | os.PathLike[str], params: Mapping[str, Any]) -> None:
        """Open the cache, as Django does for a `BACKEND` of this name.

        :param directory: LOCATION; ``~`` and environment variables are expanded. Or the URL of a
            server
        :param params: the other settings: what Django documents for every backend, and SHARDS
            (number of shards, 8), DATABASE_TIMEOUT (seconds to wait for a lock, 0.010) and OPTIONS:
            any of :data:`DEFAULT_SETTINGS`, `mode`, `read_only` and `on_error` (see
            :class:`FanoutCache`), and `disk`, a subclass of :class:`Disk` or the path to import it
            from. MAX_ENTRIES and CULL_FREQUENCY are accepted and make no difference. With a URL,
            OPTIONS are those of RemoteCache: `name` (``'django'``), `serializer` (``'signed'`` with
            `keys`, or keys derived from SECRET_KEY and SECRET_KEY_FALLBACKS; a class may be a path
            to import it from), `near`, `timeout`, `max_value` and `shards`
        :raises django.core.exceptions.ImproperlyConfigured: if OPTIONS is no mapping, has what
            stands beside it, or a setting means nothing with a URL
        :raises ValueError: if a setting has an impossible value
        :raises TypeError: if a setting is of the wrong type
        :raises ImportError: if `disk` cannot be imported; if redis-py cannot, with a URL
        :raises OSError: if the directory cannot be made
        :raises Timeout: if another process keeps a shard locked for a minute
        :raises sqlite3.Error: if a database cannot be opened
        """
        _check(directory, params)
        super().__init__(dict(params))
        options = {
            name: value
            for name, value in params.get('OPTIONS', {}).items()
            if name not in _OPTIONS_OF_DJANGO
        }
        self._is_remote = is_url(directory)
        if self._is_remote:
            self._open = ft.partial(_connect, cast('str', directory), options)
            self._cache = self._open()
            return
        if isinstance(options.get('disk'), str):
            options['disk'] = import_string(options['disk'])
        if directory is not None:  # A process may go elsewhere between two requests.
            directory = op.abspath(path_of(directory))
        shards = params.get('SHARDS', 8)
        timeout = params.get('DATABASE_TIMEOUT', 0.010)
        self._open = ft.partial(_share, directory, shards, timeout, options)
        self._cache = self._open()

    @ft.cached_property
    def _cache(self) -> FanoutCache:
        """The FanoutCache, until :meth:`close`; then once more that of the same settings.

        At a URL it is a SiteCache.
        """
        return self._open()

    @property
    def directory(self) -> str:
        """Directory of the cache. At a URL there is none, which is an :exc:`AttributeError`."""
        return self._cache.directory

    def cache(self, name: str) -> Cache[Any, Any]:
        """Return the :class:`Cache` of a name, which is in a directory below this one.

        With a URL, this and the two below are on the server: see RemoteCache.

        It has none of Django's prefixes and versions.

        :param name: its name; ``/`` makes sub-directories
        :return: the Cache
        :raises ValueError: if the name leads out of the directory
        """
        return self._cache.cache(name)

    def deque(self, name: str, maxlen: float | None = None) -> Deque[Any]:
        """Return the :class:`Deque` of a name, which is in a directory below this one.

        :param name: its name; ``/`` makes sub-directories
        :param maxlen: the most items it may have (None: no limit)
        :return: the Deque
        :raises ValueError: if the name leads out of the directory, or `maxlen` is negative
        """
        return self._cache.deque(name, maxlen=maxlen)

    def index(self, name: str) -> Index[Any, Any]:
        """Return the :class:`Index` of a name, which is in a directory below this one.

        :param name: its name; ``/`` makes sub-directories
        :return: the Index
        :raises ValueError: if the name leads out of the directory
        """
        return self._cache.index(name)

    def validate_key(self, key: Any) -> None:
        """Warn of a key that memcached would refuse, as Django's own backends do.

        :param key: what `make_key` returned. A KEY_FUNCTION may return other things than str,
            which this cache takes and to which memcached's rules do not apply
        """
        # Django's own check takes more time than all the rest of a get. It finds fault with long
        # keys, blanks and control characters, so it need not see a key that has none of them.
        if isinstance(key, str) and (
            len(key) > MEMCACHE_MAX_KEY_LENGTH or ' ' in key or not key.isprintable()
        ):
            self._find_fault(key)

    def _find_fault(self, key: str) -> None:
        """Check a key as Django does.

        A method of its own: each call of one that has super() counts a reference to a cell that all
        threads share.
        """
        super().validate_key(key)

    def add(
        self,
        key: str,
        value: Any,
        timeout: float | None = DEFAULT_TIMEOUT,
        version: int | None = None,
        read: bool = False,
        tag: Tag = None,
        retry: bool = True,
    ) -> bool:
        """Store a value if the key has none. Of several who try at once, one succeeds.

        The parameters are those of :meth:`set`.

        :return: whether it was stored
        :raises TypeError: and whatever else pickling, or a wrong argument, raises
        """
        key = self.make_and_validate_key(key, version)
        return self._cache.add(key, value, self.get_backend_timeout(timeout), read, tag, retry)

    def get(
        self,
        key: str,
        default: Any = None,
        version: int | None = None,
        read: bool = False,
        expire_time: bool = False,
        tag: bool = False,
        retry: bool = False,
    ) -> Any:
        """Return a value.

        :param key: key of the item
        :param default: what to return if it is missing, the lock not had within DATABASE_TIMEOUT,
            or the database not read or the value not loaded: that is logged, see
            :meth:`FanoutCache.get`
        :param version: its version (None: VERSION)
        :param read: return a file opened for reading, if the value is in one
        :param expire_time: also return when it expires, in seconds since the epoch, or None
        :param tag: also return the tag, or None
        :param retry: wait for the lock as long as it takes
        :return: the value, or a tuple (value[, expire_time][, tag])
        """
        key = self.make_and_validate_key(key, version)
        return self._cache.get(key, default, read, expire_time, tag, retry)

    @overload
    def read(self, key: str, version: int | None = None, *, mmap: Literal[True]) -> memoryview: ...

    @overload
    def read(
        self, key: str, version: int | None = None, *, mmap: Literal[False] = False
    ) -> BinaryIO: ...

    def read(
        self, key: str, version: int | None = None, *, mmap: bool = False
    ) -> BinaryIO | memoryview:
        """Return a value as a file opened for reading.

        The attribute `name` of the file is its path, which X-Sendfile and its like want.

        :param key: key of the item, stored with ``read=True``
        :param version: its version (None: VERSION)
        :param mmap: return a memoryview of the bytes, as :meth:`Cache.read` does
        :return: file in binary mode, to be closed; the value itself if it is kept in the database.
            With ``mmap=True`` a read-only memoryview in all cases
        :raises KeyError: if the key is missing
        :raises TypeError: if `mmap` is true and the value is not bytes
        """
        key = self.make_and_validate_key(key, version)
        return self._cache.read(key, mmap=True) if mmap else self._cache.read(key)

    def set(  # type: ignore[override] # which returns nothing
        self,
        key: str,
        value: Any,
        timeout: float | None = DEFAULT_TIMEOUT,
        version: int | None = None,
        read: bool = False,
        tag: Tag = None,
        retry: bool = True,
    ) -> bool:
        """Store a value.

        :param key: any str
        :param value: any picklable object, or a file if `read` is true
        :param timeout: seconds until it expires (not given: TIMEOUT, None: never, 0 or less: at
            once)
        :param version: its version (None: VERSION)
        :param read: `value` is a file opened for reading in binary mode
        :param tag: int, float, str or bytes to find the item by, see :meth:`evict`
        :param retry: wait for the lock as long as it takes
        :return: whether it was stored: not if `retry` is false and the lock could not be had within
            DATABASE_TIMEOUT, or if it is larger than a shard may be
        :raises TypeError: and whatever else pickling, or a wrong argument, raises
        """
        key = self.make_and_validate_key(key, version)
        return self._cache.set(key, value, self.get_backend_timeout(timeout), read, tag, retry)

    def touch(
        self,
        key: str,
        timeout: float | None = DEFAULT_TIMEOUT,
        version: int | None = None,
        retry: bool = True,
    ) -> bool:
        """Set when an item expires.

        :param key: key of the item
        :param timeout: seconds from now (not given: TIMEOUT, None: never, 0 or less: at once)
        :param version: its version (None: VERSION)
        :param retry: wait for the lock as long as it takes
        :return: whether the key was found, and the lock had within DATABASE_TIMEOUT
        """
        key = self.make_and_validate_key(key, version)
        return self._cache.touch(key, self.get_backend_timeout(timeout), retry)

    def pop(
        self,
        key: str,
        default: Any = None,
        version: int | None = None,
        expire_time: bool = False,
        tag: bool = False,
        retry: bool = True,
    ) -> Any:
        """Remove an item and return its value, atomically.

        The parameters and the result are those of :meth:`get`.
        """
        key = self.make_and_validate_key(key, version)
        return self._cache.pop(key, default, expire_time, tag, retry)

    def delete(self, key: str, version: int | None = None, retry: bool = True) -> bool:
        """Remove an item.

        :param key: key of the item
        :param version: its version (None: VERSION)
        :param retry: wait for the lock as long as it takes
        :return: whether it was there and is removed
        """
        return self._cache.delete(self.make_and_validate_key(key, version), retry)

    def incr(
        self,
        key: str,
        delta: float = 1,
        version: int | None = None,
        default: float | None = None,
        retry: bool = True,
    ) -> Any:
        """Add to a number, atomically. When it expires stays as it was.

        :param key: key of the item
        :param delta: what to add
        :param version: its version (None: VERSION)
        :param default: value of a missing key before, which then never expires (None: a missing key
            is an error)
        :param retry: wait for the lock as long as it takes
        :return: the new value; None if `retry` is false and the lock could not be had in time
        :raises ValueError: if the key is missing and `default` is None
        :raises TypeError: if the value is no number
        :raises OverflowError: if the result does not fit 64 bits
        """
        stored = self.make_and_validate_key(key, version)
        try:
            return self._cache.incr(stored, delta, default, retry)
        except KeyError:
            raise ValueError(f'Key {key!r} not found') from None

    def decr(
        self,
        key: str,
        delta: float = 1,
        version: int | None = None,
        default: float | None = None,
        retry: bool = True,
    ) -> Any:
        """Subtract from a number, atomically. It may become negative.

        Parameters, result and errors are those of :meth:`incr`.
        """
        return self.incr(key, -delta, version, default, retry)

    def has_key(self, key: str, version: int | None = None) -> bool:
        """Tell whether there is an item with this key that has not expired.

        :param key: key of the item
        :param version: its version (None: VERSION)
        """
        return self.make_and_validate_key(key, version) in self._cache

    def get_many(
        self, keys: Iterable[str], version: int | None = None, retry: bool = False
    ) -> dict[str, Any]:
        """Return the values of keys, those of a shard read at one moment.

        :param keys: keys of the items
        :param version: their version (None: VERSION)
        :param retry: wait for the locks as long as it takes; without it, the items are missing of
            which the lock is not to be had within DATABASE_TIMEOUT
        :return: the values by their keys, without the keys that are missing
        """
        asked = list(dict.fromkeys(keys))
        names = [self.make_and_validate_key(key, version) for key in asked]
        values = self._cache._get_values(names, retry)
        pairs = zip(asked, values, strict=True)
        return {key: value for key, value in pairs if value is not ENOVAL}

    def set_many(
        self,
        data: Mapping[str, Any],
        timeout: float | None = DEFAULT_TIMEOUT,
        version: int | None = None,
        tag: Tag = None,
        retry: bool = True,
    ) -> list[str]:
        """Store values, those of a shard in one transaction.

        What is more than 1,024 items for a shard, or 4 MiB of them, is several transactions, see
        :meth:`Cache.set_many`.

        :param data: the values by their keys
        :param timeout: seconds until they expire (not given: TIMEOUT, None: never, 0 or less: at
            once)
        :param version: their version (None: VERSION)
        :param tag: int, float, str or bytes to find the items by, see :meth:`evict`
        :param retry: wait for the locks as long as it takes
        :return: the keys that were not stored, for the reasons that :meth:`set` has
        :raises TypeError: and whatever else pickling, or a wrong argument, raises; nothing is
            stored by the transaction in which it happens, and those before it stay
        """
        return self._store_many(data, timeout, version, tag, retry, add=False)

    def add_many(
        self,
        data: Mapping[str, Any],
        timeout: float | None = DEFAULT_TIMEOUT,
        version: int | None = None,
        tag: Tag = None,
        retry: bool = True,
    ) -> list[str]:
        """Store values under those of the keys that have none, those of a shard in one transaction.

        The parameters and errors are those of :meth:`set_many`.

        :return: the keys of which the value was not stored
        """
        return self._store_many(data, timeout, version, tag, retry, add=True)

    def _store_many(
        self,
        data: Mapping[str, Any],
        timeout: float | None,
        version: int | None,
        tag: Any,
        retry: bool,
        add: bool,
    ) -> list[str]:
        """Store values by their keys; return the keys of those that were not stored."""
        keys = list(data)
        pairs = [(self.make_and_validate_key(key, version), data[key]) for key in keys]
        expire = self.get_backend_timeout(timeout)
        refused = self._cache._store_many(pairs, expire, tag, retry, add)
        return [keys[position] for position in refused]

    def touch_many(
        self,
        keys: Iterable[str],
        timeout: float | None = DEFAULT_TIMEOUT,
        version: int | None = None,
        retry: bool = True,
    ) -> list[str]:
        """Set when items expire, those of a shard in one transaction.

        Django has no such method. As of `set_many`, the keys are returned for which the method for
        a single one returns false.

        :param keys: keys of the items
        :param timeout: seconds from now (not given: TIMEOUT, None: never, 0 or less: at once)
        :param version: their version (None: VERSION)
        :param retry: wait for the locks as long as it takes
        :return: the keys that were not found, or of which the lock was not to be had within
            DATABASE_TIMEOUT
        """
        asked = list(keys)
        names = [self.make_and_validate_key(key, version) for key in asked]
        missing = self._cache._touch_many(names, self.get_backend_timeout(timeout), retry)
        return [asked[position] for position in sorted(missing)]

    def delete_many(
        self, keys: Iterable[str], version: int | None = None, retry: bool = True
    ) -> None:
        """Remove items, those of a shard in one transaction.

        :param keys: keys of the items; missing ones are ignored
        :param version: their version (None: VERSION)
        :param retry: wait for the locks as long as it takes; without it, the items stay of which
            the lock is not to be had within DATABASE_TIMEOUT
        """
        names = [self.make_and_validate_key(key, version) for key in keys]
        self._cache.delete_many(names, retry=retry)

    def incr_version(self, key: str, delta: int = 1, version: int | None = None) -> int:
        """Give an item another version. Its value, tag and the time when it expires stay.

        Nobody else can write to the cache meanwhile. At a URL others can: of several who give it
        another version one succeeds, and for a moment the item has neither.

        :param key: key of the item
        :param delta: what to add to its version
        :param version: its version (None: VERSION)
        :return: the new version
        :raises ValueError: if the key is missing
        """
        if version is None:
            version = self.version
        old = self.make_and_validate_key(key, version)
        new = self.make_and_validate_key(key, version + delta)
        if not (self._move_remotely if self._is_remote else self._move)(old, new):
            raise ValueError(f'Key {key!r} not found')
        return version + delta

    def _move_remotely(self, old: Any, new: Any) -> bool:
        return cast('SiteCache', self._cache)._move(old, new)

    def _move(self, old: Any, new: Any) -> bool:
        """Give an item another key; return whether there is one."""
        with self._cache.transact():
            found = self._copy(old, new)
            if found and new != old:
                self._cache.delete(old)
        return found

    def _copy(self, source: Any, target: Any) -> bool:
        """Store the item of one key in the cache under another; return whether there is one.

        A file is copied as a file. What else a Disk gives for ``read=True`` is not always the
        value, so that is asked for once more.
        """
        value, expire_time, tag = self._cache.get(source, ENOVAL, True, True, True)
        in_file = isinstance(value, io.BufferedReader)
        if not in_file:
            value, expire_time, tag = self._cache.get(source, ENOVAL, False, True, True)
        if value is ENOVAL:
            return False
        expire = None if expire_time is None else expire_time - time.time()
        with value if in_file else cl.nullcontext():
            self._cache.set(target, value, expire, in_file, tag)
        return True

    def decr_version(self, key: str, delta: int = 1, version: int | None = None) -> int:
        """Give an item an earlier version; see :meth:`incr_version`."""
        return self.incr_version(key, -delta, version)

    def expire(self) -> int:
        """Remove the items that have expired.

        :return: number of items removed
        """
        return self._cache.expire(retry=True)

    def stats(self, enable: bool = True, reset: bool = False) -> tuple[int, int]:
        """Return how often lookups found their key, and how often not.

        :param enable: whether to count from now on
        :param reset: whether to set the counts to zero
        :return: (hits, misses)
        """
        return self._cache.stats(enable, reset)

    def create_tag_index(self) -> None:
        """Create an index on tags, which makes :meth:`evict` fast; it stays until dropped.

        The setting `tag_index` in OPTIONS does the same.
        """
        self._cache.create_tag_index()

    def drop_tag_index(self) -> None:
        """Drop the index on tags."""
        self._cache.drop_tag_index()

    def evict(self, tag: Tag) -> int:
        """Remove the items with a tag, whatever their version and prefix.

        :param tag: the tag
        :return: number of items removed
        """
        return self._cache.evict(tag, retry=True)

    def cull(self) -> int:
        """Remove items, as the eviction policy says, until no shard is over its size limit.

        :return: number of items removed
        """
        return self._cache.cull(retry=True)

    def clear(self) -> int:  # type: ignore[override]
        """Remove all items, whatever their version and prefix.

        :return: number of items removed
        """
        return self._cache.clear(retry=True)

    def close(self, **kwargs: Any) -> None:
        """End a request: what the next one can use stays open.

        Django calls this after each request, without arguments, as a program would. To close the
        connections then would cost the next request more than all that it asks of the cache: the
        last one to close a database also writes back its log. So it only makes sure that a
        directory that was replaced since is opened again. Connections are few, are not inherited by
        a fork, and are closed when the process ends.

        :param kwargs: ``connections=True`` does close them, for all threads: those in use when they
            are given back. The next operation opens them again. Anything else, such as what a
            signal sends, is ignored
        """
        if kwargs.get('connections'):
            self._cache.close()
        self.__dict__.pop('_cache', None)

    def get_backend_timeout(self, timeout: float | None = DEFAULT_TIMEOUT) -> float | None:
        """Return a timeout as a FanoutCache wants it.

        :param timeout: seconds until an item expires (not given: TIMEOUT, None: never)
        :return: seconds, or None; negative for 0, so that an item has expired even if the clock is
            then set back a little
        """
        if timeout is DEFAULT_TIMEOUT:
            timeout = self.default_timeout
        return -1 if timeout == 0 else timeout

    def memoize(
        self,
        name: str | None = None,
        timeout: float | None = DEFAULT_TIMEOUT,
        version: int | None = None,
        typed: bool = False,
        tag: Tag = None,
        ignore: Iterable[int | str] = (),
        *,
        signature: bool = False,
        cache_if: Callable[[Any], object] | None = None,
    ) -> Callable[[Callable[P, R]], Memoized[P, R]]:
        """Decorate a function so that its results are kept in the cache.

        The wrapper has an attribute ``__cache_key__``: a function that returns the key for given
        arguments, as :meth:`get` and the other methods take it. It is the function's name and a
        hash of the arguments as the Disk stores them.

        :param name: what keys begin with (None: the function's full name)
        :param timeout: seconds until a result expires (not given: TIMEOUT, None: never, 0 or less:
            nothing is stored)
        :param version: version of the results (None: VERSION)
        :param typed: whether arguments of different types are different
        :param tag: for the stored results
        :param ignore: positions and names of arguments that do not count
        :param signature: make keys from the function's signature, see :meth:`Cache.memoize`
        :param cache_if: called with each new result; it is stored only if this returns something
            true (None: always)
        :return: decorator
        :raises TypeError: if the decorator is used without parentheses
        """

        def find_disk() -> Disk:
            # A key is a hash, which nobody loads: a serializer need not trust what is in it.
            return _DISK_OF_KEYS if self._is_remote else self._cache.disk

        def cache_key(name: str, arguments: tuple[Any, ...]) -> str:
            if isinstance(arguments, StoredKey):
                stored = arguments[0]
            else:
                stored, _ = find_disk().put(arguments)
            data = stored if isinstance(stored, bytes | memoryview) else repr(stored).encode()
            return f'{name}:{hashlib.sha256(data).hexdigest()}'

        def lookup(key: str, func: Any, args: Any, kwargs: Any) -> Any:
            try:
                return self.get(key, ENOVAL, version, retry=True)
            except Exception as error:
                if passes_over(self._cache._place(), error):
                    return ENOVAL
                raise

        def store(key: str, result: Any, seconds: float) -> None:
            expire = self.get_backend_timeout(timeout)
            if (expire is None or expire > 0) and not self._cache.read_only:
                self.set(key, result, timeout, version, tag=tag, retry=True)

        return memoizer(
            find_disk, name, typed, ignore, signature, cache_if, lookup, store, cache_key
        )

    # get_or_set stays as it is in Django: it calls a default that is a function, and aget_or_set
    # calls it in the event loop, where it may expect to be.
    if TYPE_CHECKING:  # for what type checkers cannot infer; stubtest compares the two

        async def aadd(
            self,
            key: str,
            value: Any,
            timeout: float | None = ...,
            version: int | None = None,
            read: bool = False,
            tag: Tag = None,
            retry: bool = True,
        ) -> bool: ...
        async def aget(
            self,
            key: str,
            default: Any = None,
            version: int | None = None,
            read: bool = False,
            expire_time: bool = False,
            tag: bool = False,
            retry: bool = False,
        ) -> Any: ...
        @overload
        async def aread(
            self, key: str, version: int | None = None, *, mmap: Literal[True]
        ) -> memoryview: ...
        @overload
        async def aread(
            self, key: str, version: int | None = None, *, mmap: Literal[False] = False
        ) -> BinaryIO: ...
        async def aread(
            self, key: str, version: int | None = None, *, mmap: bool = False
        ) -> BinaryIO | memoryview: ...
        async def aset(  # type: ignore[override] # as for set
            self,
            key: str,
            value: Any,
            timeout: float | None = ...,
            version: int | None = None,
            read: bool = False,
            tag: Tag = None,
            retry: bool = True,
        ) -> bool: ...
        async def atouch(
            self,
            key: str,
            timeout: float | None = ...,
            version: int | None = None,
            retry: bool = True,
        ) -> bool: ...
        async def apop(
            self,
            key: str,
            default: Any = None,
            version: int | None = None,
            expire_time: bool = False,
            tag: bool = False,
            retry: bool = True,
        ) -> Any: ...
        async def adelete(
            self, key: str, version: int | None = None, retry: bool = True
        ) -> bool: ...
        async def aincr(
            self,
            key: str,
            delta: float = 1,
            version: int | None = None,
            default: float | None = None,
            retry: bool = True,
        ) -> Any: ...
        async def adecr(
            self,
            key: str,
            delta: float = 1,
            version: int | None = None,
            default: float | None = None,
            retry: bool = True,
        ) -> Any: ...
        async def ahas_key(self, key: str, version: int | None = None) -> bool: ...
        async def aget_many(
            self, keys: Iterable[str], version: int | None = None, retry: bool = False
        ) -> dict[str, Any]: ...
        async def aset_many(
            self,
            data: Mapping[str, Any],
            timeout: float | None = ...,
            version: int | None = None,
            tag: Tag = None,
            retry: bool = True,
        ) -> list[str]: ...
        async def aadd_many(
            self,
            data: Mapping[str, Any],
            timeout: float | None = ...,
            version: int | None = None,
            tag: Tag = None,
            retry: bool = True,
        ) -> list[str]: ...
        async def atouch_many(
            self,
            keys: Iterable[str],
            timeout: float | None = ...,
            version: int | None = None,
            retry: bool = True,
        ) -> list[str]: ...
        async def adelete_many(
            self, keys: Iterable[str], version: int | None = None, retry: bool = True
        ) -> None: ...
        async def aincr_version(
            self, key: str, delta: int = 1, version: int | None = None
        ) -> int: ...
        async def adecr_version(
            self, key: str, delta: int = 1, version: int | None = None
        ) -> int: ...
        async def aexpire(self) -> int: ...
        async def astats(self, enable: bool = True, reset: bool = False) -> tuple[int, int]: ...
        async def acreate_tag_index(self) -> None: ...
        async def adrop_tag_index(self) -> None: ...
        async def aevict(self, tag: Tag) -> int: ...
        async def acull(self) -> int: ...
        async def aclear(self) -> int: ...  # type: ignore[override]
        async def aclose(self, **kwargs: Any) -> None: ...
    else:
        aadd = _async(add)
        aget = _async(get)
        aread = _async(read)
        aset = _async(set)
        atouch = _async(touch)
        apop = _async(pop)
        adelete = _async(delete)
        aincr = _async(incr)
        adecr = _async(decr)
        ahas_key = _async(has_key)
        aget_many = _async(get_many)
        aset_many = _async(set_many)
        aadd_many = _async(add_many)
        atouch_many = _async(touch_many)
        adelete_many = _async(delete_many)
        aincr_version = _async(incr_version)
        adecr_version = _async(decr_version)
        aexpire = _async(expire)
        astats = _async(stats)
        acreate_tag_index = _async(create_tag_index)
        adrop_tag_index = _async(drop_tag_index)
        aevict = _async(evict)
        acull = _async(cull)
        aclear = _async(clear)
        aclose = _async(close)
