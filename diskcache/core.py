"""Cache and Disk: the Python side of the native core.

The work of every operation is done in :mod:`diskcache._core`, in C. The classes here derive from
the native ones and add what is cold (opening, settings, checking, memoizing, pickling), the
constants, and the names under which programs have always found them.
"""

from __future__ import annotations

import atexit
import codecs
import contextlib as cl
import copyreg
import errno
import functools as ft
import inspect
import io
import json
import math
import numbers
import os
import os.path as op
import pickle
import pickletools
import re
import shutil
import sqlite3
import struct
import tempfile
import threading
import time
import warnings
import zlib
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from typing import (
    Any,
    ClassVar,
    ParamSpec,
    Protocol,
    SupportsFloat,
    SupportsIndex,
    TypeVar,
    cast,
)

from . import _core, mismatch, removal
from ._core import Timeout, args_to_key
from .cautions import CacheWarning, hint_at_expire, warn, warn_once
from .views import LOOKUPS, DictMethods, Rows, has_all_of
from .wrappers import memoized

__all__ = [
    'DEFAULT_SETTINGS',
    'ENOVAL',
    'EVICTION_POLICY',
    'UNKNOWN',
    'Cache',
    'CacheWarning',
    'Disk',
    'EmptyDirWarning',
    'JSONDisk',
    'Timeout',
    'UnknownFileWarning',
]

# Modules that programs reach through this one (`diskcache.core.io` ...) without its using them.
_REACHED_THROUGH_THIS_MODULE = (codecs, errno, pickletools, struct)

P = ParamSpec('P')
R = TypeVar('R')


def _describe_timeout(self: Timeout) -> str:
    """Return what is known of a Timeout; its arguments are the original's, and do not say it."""
    message: str | None = getattr(self, 'message', None)
    if message is None:
        return Exception.__str__(self)
    return f'{message} (until then: {self.args[0]} items)' if self.args else message


Timeout.__str__ = _describe_timeout  # type: ignore[assignment,method-assign]


def full_name(func: Callable[..., Any]) -> str:
    """Return the full name of a function: its module and its qualified name.

    :param func: function or class
    :return: for example ``'package.module.Class.method'``
    """
    return f'{func.__module__}.{func.__qualname__}'


class Constant(tuple[str]):
    """A named constant, of which there is one in a process, also after copying and pickling.

    It is pickled as the original's are, since it may be a part of a key.
    """

    _known: ClassVar[dict[str, Constant]] = {}

    def __new__(cls, name: str | tuple[str]) -> Constant:
        """Return the constant of a name, a new one if there is none.

        :param name: how it is shown; or a tuple of that, which is what unpickling calls this with
        """
        (text,) = name if isinstance(name, tuple) else (name,)
        known = cls._known.get(text)
        if known is None or type(known) is not cls:
            known = cls._known.setdefault(text, tuple.__new__(cls, (text,)))
        return known

    def __reduce_ex__(self, protocol: Any) -> str | tuple[Any, ...]:
        # Protocols 0 and 1 would not call __new__.
        return super().__reduce_ex__(max(protocol, 2))

    def __repr__(self) -> str:
        return str(self[0])


class StoredKey(tuple[Any, bool]):
    """A key as it stands in the database: (database key, raw).

    Methods of :class:`Cache` take it for a key and leave the :class:`Disk` out: it names the row
    itself. A :class:`Deque` needs that, because its keys are numbers that its cache has made, which
    a Disk of another kind, such as :class:`JSONDisk`, would convert to something else.
    """

    __slots__ = ()


DBNAME = 'cache.db'
ENOVAL = Constant('ENOVAL')
UNKNOWN = Constant('UNKNOWN')

MODE_NONE = 0
MODE_RAW = 1
MODE_BINARY = 2
MODE_TEXT = 3
MODE_PICKLE = 4

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


#: What each policy means, in SQL: `init` is executed when a directory gets the policy, `get` is
#: what a lookup sets in the row that it finds, `cull` selects the rows that go first. Programs may
#: add policies of their own before they open a cache: ``{fields}`` stands for columns, ``{now}``
#: for the time. For those that are here, the native core has its own prepared statements.
EVICTION_POLICY: dict[str, dict[str, str | None]] = {
    name: {'init': create_index, 'get': get, 'cull': cull}
    for name, (_, create_index, get, cull) in _core.POLICIES.items()
}

_NATIVE_POLICIES = {name: dict(policy) for name, policy in EVICTION_POLICY.items()}


def _find_policy(name: str) -> dict[str, str | None] | None:
    """Return the policy of a name if it is of the user's own, None if it is native or unknown."""
    policy = EVICTION_POLICY.get(name)
    return None if policy is None or policy == _NATIVE_POLICIES.get(name) else policy


#: The name of an index, in the `init` of a policy.
_CREATE_INDEX = re.compile(r'\s*CREATE\s+(?:UNIQUE\s+)?INDEX\s+IF\s+NOT\s+EXISTS\s+(\w+)', re.I)


def _policy_index(name: str) -> tuple[str | None, str | None]:
    """Return the name of the index that a policy needs, if it is known, and how it is made."""
    policy = _find_policy(name)
    if policy is None:
        return _core.POLICIES[name][:2]
    found = _CREATE_INDEX.match(policy['init'] or '')
    return found and found[1], policy['init']


#: Seconds for which opening a cache waits for a lock, whatever its timeout.
_OPEN_TIMEOUT = 60.0
#: The same where the database has been truncated: only others that begin anew are waited for.
_TRUNCATED_TIMEOUT = 2.0

#: Seconds after which a database that was made anew is looked at again: whoever removes the files
#: may have removed some of it, too.
_MENDED_SECONDS = 0.005

#: How many rows a transaction of cull() removes by a policy of the user's own.
_CULL_PORTION = 10

#: How often a file is tried to be made where others remove the directories that become empty; see
#: valuefile.c, which was seen to need 500 attempts against two processes that do nothing else.
_CREATE_ATTEMPTS = 1000

#: Bytes that are read from a file-like object at a time.
_READ_BLOCK = 2**22


class UnknownFileWarning(UserWarning):
    """Reported by :meth:`Cache.check` for a file that no item refers to."""


class EmptyDirWarning(UserWarning):
    """Reported by :meth:`Cache.check` for a directory with nothing in it."""


#: How often, in seconds, a kind of failure is logged.
_LOG_INTERVAL = 60.0
#: When which kind of failure was logged last: a time on the monotonic clock by directory and kind.
_logged: dict[tuple[str, str], float] = {}


def _log(directory: str, text: str, *args: object) -> None:
    """Log a warning about a directory.

    :param text: in the form of logging
    """
    import logging  # which takes longer to import than this package

    logging.getLogger('diskcache').warning('%s: ' + text, directory, *args)


def _log_failure(directory: str, error: Exception) -> None:
    """Log an error that is answered with a default, once per directory, kind and minute."""
    code = getattr(error, 'sqlite_errorname', None) or str(error)  # the former from Python 3.11 on
    kind = f'{type(error).__name__} {code}'
    now = time.monotonic()
    if now - _logged.get((directory, kind), -math.inf) >= _LOG_INTERVAL:
        text = 'a lookup failed, and is answered as if the key were missing: %r'
        with cl.suppress(ImportError, OSError):  # there may be no file descriptor left
            _log(directory, text, error)
            _logged[directory, kind] = now


def _reduce(self: Any) -> tuple[Any, ...]:
    """Pickle an object by its class and __getstate__, with every protocol."""
    return copyreg.__newobj__, (type(self),), self.__getstate__()  # type: ignore[attr-defined]


class Disk(_core.Disk):
    """How keys and values are stored: the serialization of a :class:`Cache`.

    Meant to be subclassed: a Cache calls whichever of put, get, store, fetch, filename, remove and
    hash a subclass overrides, and does the rest natively.
    """

    def __init__(
        self, directory: str, min_file_size: int = 0, pickle_protocol: int | None = 0
    ) -> None:
        """Set the directory and the limits.

        :param directory: directory of the value files
        :param min_file_size: values of at least this size are kept in files: bytes, for a str
            characters
        :param pickle_protocol: protocol for pickling keys and values (None: pickle's default)
        :raises TypeError: if an argument is of the wrong type
        """
        self._directory = directory
        self.min_file_size = min_file_size
        self.pickle_protocol = pickle_protocol

    __reduce__ = _reduce

    def __getstate__(self) -> dict[str, Any]:
        return {
            **self.__dict__,
            '_directory': self._directory,
            'min_file_size': self.min_file_size,
            'pickle_protocol': self.pickle_protocol,
        }

    def __setstate__(self, state: dict[str, Any]) -> None:
        for name, value in state.items():
            setattr(self, name, value)

    def store(self, value: Any, read: bool, key: Any = UNKNOWN) -> tuple[int, int, str | None, Any]:
        """Convert a value to the columns that keep it, writing its file if it is large.

        :param value: any picklable object, or a file if `read` is true
        :param read: `value` is a file opened for reading in binary mode
        :param key: key of the value, for subclasses that name files after it
        :return: (size in bytes of the file, mode, file name, inline value)
        :raises OSError: if the file cannot be written; nothing is left behind
        :raises ValueError: if `filename` names a file that is not in the directory
        :raises pickle.PicklingError: and whatever else pickling raises
        """
        if not self._hooked():
            return super().store(value, read)
        if read and type(value) not in (str, bytes, int, float):
            filename, full_path = self._new_file(key, value)
            blocks = iter(ft.partial(value.read, _READ_BLOCK), b'')
            return self._write(full_path, blocks, 'xb'), MODE_BINARY, filename, None
        mode, content, in_file = self._encode(value)
        if not in_file:
            inline = sqlite3.Binary(content) if type(content) is bytes else content
            return 0, mode, None, inline
        filename, full_path = self._new_file(key, value)
        if mode == MODE_TEXT:
            self._write(full_path, io.StringIO(content, newline=''), 'x', 'UTF-8')
            return op.getsize(full_path), mode, filename, None
        self._write(full_path, io.BytesIO(content), 'xb')
        return len(content), mode, filename, None

    def filename(self, key: Any = UNKNOWN, value: Any = UNKNOWN) -> tuple[str, str]:
        """Return a new random name for a value file.

        :param key: key of the value, for subclasses
        :param value: the value, for subclasses
        :return: (name relative to the directory, full path)
        """
        return super().filename()

    def _new_file(self, key: Any, value: Any) -> tuple[str, str]:
        """Return what `filename` does, if a file of that name will be read again."""
        filename, full_path = self.filename(key, value)
        if not self._is_inside(filename):
            raise ValueError(f'a value file must be in the cache directory, not {filename!r}')
        return filename, full_path

    def _write(
        self,
        full_path: str,
        iterator: Iterable[Any],
        mode: str,
        encoding: str | None = None,
    ) -> int:
        """Write a file piece by piece, making its directories; no half-written file is left.

        Called for subclasses that override this method or `filename`; otherwise files are written
        natively.

        :param full_path: path of the file
        :param iterator: pieces, bytes or str
        :param mode: ``'xb'``, or ``'x'`` for text
        :param encoding: of text
        :return: sum of the pieces' lengths
        :raises OSError: if the file cannot be written
        """
        newline = None if 'b' in mode else ''
        for left in reversed(range(_CREATE_ATTEMPTS)):
            try:
                os.makedirs(op.dirname(full_path), exist_ok=True)
            except (FileNotFoundError, FileExistsError):  # pruned while it was made
                if not left:
                    raise
                continue
            try:
                writer = open(full_path, mode, encoding=encoding, newline=newline)  # noqa: SIM115
                break
            except FileNotFoundError:  # pruned since it was made
                if not left:
                    raise
        size = 0
        try:
            with writer:
                for chunk in iterator:
                    size += len(chunk)
                    writer.write(chunk)
        except BaseException:
            with cl.suppress(OSError):
                os.remove(full_path)
            raise
        return size


class JSONDisk(Disk):
    """A Disk that stores keys and values as compressed JSON."""

    def __init__(self, directory: str, compress_level: int = 1, **kwargs: Any) -> None:
        """Set the compression level.

        :param directory: directory of the value files
        :param compress_level: of zlib, 0 to 9
        :param kwargs: for :class:`Disk`
        """
        self.compress_level = compress_level
        super().__init__(directory, **kwargs)

    def _compress(self, data: Any) -> bytes:
        return zlib.compress(json.dumps(data).encode('utf-8'), self.compress_level)

    @staticmethod
    def _decompress(data: bytes) -> Any:
        return json.loads(zlib.decompress(data).decode('utf-8'))

    def put(self, key: Any) -> tuple[Any, bool]:
        """Convert a key, as :meth:`Disk.put` does.

        :raises TypeError: if JSON cannot represent the key
        """
        return super().put(self._compress(key))

    def get(self, key: Any, raw: bool) -> Any:
        """Convert a database key back, as :meth:`Disk.get` does."""
        return self._decompress(super().get(key, raw))

    def store(self, value: Any, read: bool, key: Any = UNKNOWN) -> tuple[int, int, str | None, Any]:
        """Convert a value, as :meth:`Disk.store` does.

        :raises TypeError: if JSON cannot represent the value
        """
        return super().store(value if read else self._compress(value), read, key=key)

    def fetch(self, mode: int, filename: str | None, value: Any, read: bool) -> Any:
        """Convert columns back to the value, as :meth:`Disk.fetch` does."""
        data = super().fetch(mode, filename, value, read)
        return data if read else self._decompress(data)


E = TypeVar('E', bound=Exception)


def _hinted(error: E, hint: str) -> E:
    """Return an error whose message is the original's, with what can be done about it beside.

    As its cause and not as a note, which doctest takes for a part of the message.
    """
    error.__cause__ = type(error)(hint)
    return error


def _bound_arguments(
    signature: inspect.Signature,
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    ignore: frozenset[Any],
) -> dict[str, Any]:
    """Return the arguments of a call by name, defaults included, in one form for each meaning.

    :param ignore: names and positions of parameters, or names of further keyword arguments, that
        do not count
    :raises TypeError: if the function cannot be called like this
    """
    bound = signature.bind(*args, **kwargs)
    bound.apply_defaults()
    named: dict[str, Any] = {}
    for index, (name, parameter) in enumerate(signature.parameters.items()):
        if index in ignore or name in ignore:
            continue
        value = bound.arguments[name]
        if parameter.kind is inspect.Parameter.VAR_KEYWORD:
            value = tuple(sorted(item for item in value.items() if item[0] not in ignore))
        named[name] = value
    return named


class _Store(Protocol):
    """What :meth:`Cache.memoize` needs, so that it can be FanoutCache's too."""

    @property
    def disk(self) -> Disk: ...

    def get(self, key: Any, default: Any = ..., *, retry: bool = ...) -> Any: ...

    def set(
        self, key: Any, value: Any, expire: float | None = ..., *, tag: Any = ..., retry: bool = ...
    ) -> Any: ...


#: Bytes of a pickle without memo references; beyond, the key is pickled as any other.
_LONGEST_PLAIN_PICKLE = 2**22


class _BoundedBytes(io.BytesIO):
    """Takes no more than so many bytes: what shares much is very long without references."""

    def write(self, data: Any, /) -> int:
        if self.tell() > _LONGEST_PLAIN_PICKLE:
            raise OverflowError
        return super().write(data)


def _by_value(disk: Disk, key: tuple[Any, ...]) -> tuple[Any, ...]:
    """Return a key that is stored as the same for equal parts, of which some may be one object.

    A pickle refers to an object that it has had before. Without that, two equal strings and one
    string twice are the same. What refers to itself cannot do without, and stays as it is.

    :param disk: the Disk that the key is for; one with a `put` of its own is left to it
    :param key: the key
    :return: the key itself if it is stored without references, or what it is to be stored as
    """
    if type(disk).put is not Disk.put or 'put' in disk.__dict__:
        return key
    protocol = disk.pickle_protocol
    if protocol is None:
        protocol = pickle.DEFAULT_PROTOCOL
    if _core._pickle_key(key, protocol) is not None:  # it has no object twice
        return key
    stream = _BoundedBytes()
    pickler = pickle.Pickler(stream, protocol)
    pickler.fast = True
    try:
        pickler.dump(key)
        pickled = _core._optimize_pickle(stream.getvalue())
        stored, _ = disk.put(key)
    except Exception:  # looking the key up raises it again, unless it is for want of references
        return key
    return key if stored == pickled else StoredKey((pickled, False))


def _ignored(ignore: int | str | Iterable[int | str]) -> frozenset[Any]:
    """Return a set of the positions and names given; a str is one name, and not its letters."""
    return frozenset((ignore,) if isinstance(ignore, int | str) else ignore)


def _check_ignored(func: Callable[..., Any], ignored: frozenset[Any]) -> None:
    """Warn of names that no argument of the function can have."""
    try:
        parameters = inspect.signature(func).parameters.values()
    except (TypeError, ValueError):  # a builtin's may not be known
        return
    if any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters):
        return
    names = {parameter.name for parameter in parameters}
    for name in sorted(name for name in ignored if isinstance(name, str) and name not in names):
        warn(f'memoize: {full_name(func)} has no argument {name!r} that could be ignored')


def _name_of(func: Callable[..., Any]) -> str:
    try:
        return full_name(func)
    except AttributeError:  # a partial, or an object that can be called
        kind = type(func).__name__
        raise TypeError(f'a {kind!r} object has no name to make keys with: pass name=') from None


#: What SQLite says of tables that have the names of a cache's, and other columns.
_FOREIGN_TABLES = ('no such column', 'has no column', 'datatype mismatch')

#: The code of the lambdas that have been memoized under a name of their scope, by cache and name.
_lambdas: dict[tuple[str, str], Any] = {}


def _check_lambda(func: Callable[..., Any], name: str, directory: str) -> None:
    """Warn of a second lambda of a scope, which has the name of the first and so its results."""
    code = getattr(func, '__code__', None)
    if code is None or func.__name__ != '<lambda>':
        return
    if _lambdas.setdefault((directory, name), code) != code:
        warn_once(
            name, 'lambdas', f'{name}: two lambdas of one scope share their results, pass name='
        )


def _checked_expire(expire: Any) -> None:
    if expire is not None and not isinstance(expire, numbers.Real):
        raise TypeError(f'expire must be a number of seconds, not {expire!r}')


def _memoizer(
    find_disk: Callable[[], Disk],
    name: str | None,
    typed: bool,
    ignore: Iterable[int | str],
    signature: bool,
    cache_if: Callable[[Any], object] | None,
    lookup: Callable[..., Any],
    store: Callable[[Any, Any, float], Any],
    cache_key: Callable[[str, tuple[Any, ...]], Any] | None = None,
) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Return the decorator of every `memoize`; for its parameters see :meth:`Cache.memoize`.

    :param find_disk: returns the Disk of the cache
    :param lookup: `lookup(key, func, args, kwargs)` returns the stored result, or ENOVAL
    :param store: `store(key, result, seconds)` stores what took so long to compute
    :param cache_key: makes the key in the cache of the name and what :func:`args_to_key` returns
    :raises TypeError: if the decorator is used without parentheses
    """
    if callable(name):
        raise _hinted(
            TypeError('name cannot be callable'), 'write @cache.memoize(), with parentheses'
        )
    if name is not None and not isinstance(name, str):
        warn(  # type: ignore[unreachable]
            f'memoize: the first argument is the name, {name!r}: is expire={name!r} meant?'
        )
    skipped = _ignored(ignore)

    def keep(key: Any, result: Any, start: float) -> None:
        seconds = time.perf_counter() - start
        if cache_if is None or cache_if(result):
            store(key, result, seconds)

    def decorator(func: Callable[P, R]) -> Callable[P, R]:
        base = (_name_of(func) if name is None else name,)
        if name is None:
            _check_lambda(func, base[0], getattr(find_disk(), '_directory', ''))
        if skipped:
            _check_ignored(func, skipped)
        disk = find_disk if signature else None
        __cache_key__ = _key_maker(func, base, typed, skipped, disk, cache_key)

        wrapper = memoized(func, __cache_key__, ENOVAL, lookup, keep)
        return cast(Callable[P, R], wrapper)

    return decorator


def _key_maker(
    func: Callable[..., Any],
    base: tuple[Any, ...],
    typed: bool,
    ignore: frozenset[Any],
    find_disk: Callable[[], Disk] | None,
    cache_key: Callable[[str, tuple[Any, ...]], Any] | None,
) -> Callable[..., Any]:
    """Return the function that makes the cache key of a call, for `__cache_key__`.

    :param find_disk: for keys from the function's signature, or None
    """
    from_call = _core.CacheKey(base, typed, ignore)
    if find_disk is None and cache_key is None:
        return from_call
    parameters = inspect.signature(func) if find_disk is not None else None

    def __cache_key__(*args: Any, **kwargs: Any) -> Any:
        """Return the cache key for these arguments."""
        if find_disk is None or parameters is None:
            key = from_call(*args, **kwargs)
        else:
            named = _bound_arguments(parameters, args, kwargs, ignore)
            key = _by_value(find_disk(), args_to_key(base, (), named, typed, ()))
        return key if cache_key is None else cache_key(base[0], key)

    return __cache_key__


def path_of(directory: Any) -> str:
    """Return the path that an argument names, with ``~`` and environment variables expanded.

    An object that is no path for Python is one by its str, as in the original.
    """
    if not isinstance(directory, str | bytes | os.PathLike):
        directory = str(directory)
        warn_once(directory, 'str', f'the directory is no path: its str is taken, {directory!r}')
    return op.expandvars(op.expanduser(os.fsdecode(directory)))


@cl.contextmanager
def _temporary_unless_given(
    directory: str | os.PathLike[str] | None,
) -> Generator[str | os.PathLike[str], None, None]:
    """Give the directory, or a new temporary one, which goes again if the block fails."""
    if directory is not None:
        yield directory
        return
    made = tempfile.mkdtemp(prefix='diskcache-')
    try:
        yield made
    except BaseException:
        shutil.rmtree(made, ignore_errors=True)
        raise


class Transaction(cl.ContextDecorator, _core.Transaction):
    """What :meth:`Cache.transact` returns: a context manager, also usable as a decorator."""


def _delete_rows(
    sql: Callable[..., sqlite3.Cursor],
    cleanup: Callable[[str | None], object],
    rows: Iterable[tuple[Any, ...]],
) -> int:
    """Delete rows (rowid, ..., filename); return how many are gone, which a trigger may prevent."""
    count = 0
    for rowid, *_, filename in rows:
        if sql('DELETE FROM Cache WHERE rowid = ?', (rowid,)).rowcount > 0:
            cleanup(filename)
            count += 1
    return count


class _Settings:
    """The rules for the names and values of settings."""

    known = frozenset([*DEFAULT_SETTINGS, 'sqlite_page_size'])
    #: What only here is the name of a method, or is or shall be that of a parameter: with the
    #: original programs may have stored settings of these names.
    added = (
        frozenset({'add_many', 'delete_many', 'get_many', 'set_many', 'touch_many', 'memory_stats'})
        | frozenset({'items', 'keys', 'setdefault', 'update', 'values'})
        | frozenset({'mode', 'on_error'})
    )
    parameters = frozenset({'memory_limit', 'read_only'})
    #: What others call it, or without its prefix.
    meant: ClassVar[dict[str, str]] = {
        'max_size': 'size_limit',
        'maxsize': 'size_limit',
        'compress_level': 'disk_compress_level',
        'min_file_size': 'disk_min_file_size',
        'pickle_protocol': 'disk_pickle_protocol',
    }

    @classmethod
    def ignored(cls, owner: type, stored: Iterable[str]) -> list[str]:
        """Return the names, of stored settings, that are not made attributes."""
        return sorted(
            name
            for name in stored
            if name in cls.added or name in cls.parameters or cls.is_taken(owner, name)
        )

    @classmethod
    def is_taken(cls, owner: type, name: str) -> bool:
        """Whether an attribute of this name would hide a method or property of the class."""
        if name in cls.known:
            return False
        attribute = getattr(owner, name, None)
        if name in METADATA and attribute is getattr(_core.Cache, name):
            return False
        return callable(attribute) or hasattr(type(attribute), '__get__')

    @classmethod
    def check(cls, owner: type, settings: dict[str, Any]) -> None:
        """Look at keyword arguments.

        :raises TypeError: if one has the name of a method, or a value that cannot be stored
        """
        for name in cls.added & settings.keys():  # which the original stores
            del settings[name]
            warn(f'the setting {name!r} is ignored: it is a method or parameter here')
        for name, value in settings.items():
            if name == 'read_only':
                raise TypeError('read_only is not supported')
            if cls.is_taken(owner, name):
                raise TypeError(f'{name!r} is the name of a method, it cannot be a setting')
            if not isinstance(value, int | float | str | bytes | None):
                kind = type(value).__name__
                raise TypeError(f'setting {name} must be int, float, str or bytes, not {kind!r}')
            if name not in cls.known and name not in METADATA:
                cls.warn_if_misspelt(name)
            if name == 'size_limit' and isinstance(value, int | float) and value < 0:
                warn(f'size_limit={value}: a cache with a negative limit keeps nothing')

    @classmethod
    def damaged(cls, stored: dict[Any, Any]) -> set[Any]:
        """Return the names, of stored settings, whose values are not usable, or which are none."""
        return {
            name
            for name, value in stored.items()
            if not isinstance(name, str) or not cls.is_usable(name, value)
        }

    @staticmethod
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

    @classmethod
    def warn_if_misspelt(cls, name: str) -> None:
        import difflib

        if name in cls.meant:
            warn(f'unknown setting {name!r}: is {cls.meant[name]!r} meant?')
            return
        close = difflib.get_close_matches(
            name, [*cls.known, 'directory', 'disk', 'memory_limit', 'timeout'], 1, 0.8
        )
        if close:
            warn(f'unknown setting {name!r}: is {close[0]!r} meant?')


class Cache(DictMethods, _core.Cache):
    """Disk-backed cache: a persistent mapping shared by threads and processes.

    >>> cache = Cache()
    >>> cache['key'] = 'value'
    >>> cache['key']
    'value'
    >>> cache.close()
    """

    eviction_policy: str
    size_limit: int
    cull_limit: int
    statistics: int
    tag_index: int

    #: Settings that are neither given nor stored.
    _default_settings: Mapping[str, Any] = DEFAULT_SETTINGS
    #: Of the FanoutCache that this is a shard of.
    _shard_count: int | None = None
    #: What is recorded of the directory.
    _origin: mismatch.Origin | None = None
    #: The settings that are attributes; these at least, if a subclass opens the directory itself.
    _setting_names: Iterable[str] = tuple(DEFAULT_SETTINGS)

    def __init__(
        self,
        directory: str | os.PathLike[str] | None = None,
        timeout: float = 60,
        disk: type[Disk] = Disk,
        **settings: Any,
    ) -> None:
        """Open a cache, making its directory if there is none.

        :param directory: path; ``~`` and environment variables are expanded; a relative one is that
            of the current directory now, wherever the process goes. None: a new temporary directory
        :param timeout: seconds to wait for a lock before an operation raises :exc:`Timeout`
        :param disk: subclass of :class:`Disk`
        :param settings: any of :data:`DEFAULT_SETTINGS`; they are stored in the directory and hold
            for everyone who opens it. And `memory_limit`, which is not stored: bytes that this
            object may keep in memory of what it has read (8 MiB; 0: nothing)
        :raises ValueError: if `disk` is no subclass of Disk, or a setting has an impossible value
        :raises TypeError: if an argument is of the wrong type, or a setting is named like a method
        :raises OSError: if the directory cannot be made
        :raises Timeout: if another process keeps the database locked for a minute
        :raises sqlite3.Error: if the database cannot be opened
        """
        if isinstance(disk, Disk):
            raise _hinted(
                ValueError('disk must subclass diskcache.Disk'), 'pass the class, not an object'
            )
        if not (isinstance(disk, type) and issubclass(disk, Disk)):
            raise ValueError('disk must subclass diskcache.Disk')
        if not isinstance(timeout, SupportsFloat | SupportsIndex):
            raise TypeError(f'timeout must be a number of seconds, not {type(timeout).__name__!r}')
        if getattr(self, '_txn_id', None) is not None:
            raise RuntimeError('a cache with an open transaction cannot be initialized again')
        memory_limit = settings.pop('memory_limit', None)
        self._check_settings(settings)
        if memory_limit is not None:
            self.memory_limit = memory_limit
        with _temporary_unless_given(directory) as given:
            self._open(path_of(given), timeout, disk, settings)

    def _check_settings(self, settings: dict[str, Any]) -> None:
        """Look at keyword arguments; errors as those of __init__."""
        _Settings.check(type(self), settings)

    def _open(self, path: str, timeout: float, disk: type[Disk], settings: dict[str, Any]) -> None:
        self._opening = True
        try:
            self._open_directory(path, timeout, disk, settings)
        finally:
            self._opening = False

    def _open_directory(
        self, path: str, timeout: float, disk: type[Disk], settings: dict[str, Any]
    ) -> None:
        mismatch.check_for_shards(path)
        self._make_directory(path)
        self._directory = path
        truncated = self._is_truncated()
        self._timeout = _TRUNCATED_TIMEOUT if truncated else _OPEN_TIMEOUT
        self._local = threading.local()
        self._txn_id = None
        _core.Cache.close(self)  # if __init__ is run again
        try:
            self._open_files(disk, settings)
        except Timeout:
            if not truncated:
                raise
            raise sqlite3.DatabaseError(
                f'{op.join(path, DBNAME)} has been truncated to nothing while another process has'
                ' it open, which must close it first'
            ) from None
        self._timeout = timeout

    def _open_files(self, disk: type[Disk], settings: dict[str, Any]) -> None:
        """Open the database, again if it has been removed meanwhile."""
        database = op.join(self._path, DBNAME)
        for more in removal.attempts():
            before = removal.identity(database)
            try:
                removal.remove_remains(database)
                self._open_database(disk, settings)
                return
            except (sqlite3.OperationalError, sqlite3.IntegrityError) as error:
                if any(text in str(error) for text in _FOREIGN_TABLES):
                    text = f'{database} is not a diskcache database'
                    raise sqlite3.DatabaseError(text) from error
                same = removal.identity(database) == before and op.exists(database + '-shm')
                if same or not more:
                    raise
            _core.Cache.close(self)
            self._make_directory(self._path)

    def _open_database(self, disk: type[Disk], settings: dict[str, Any]) -> None:
        stored, schema, self._page_size = self._inspect()
        damaged = _Settings.damaged(stored)
        usable = {name: value for name, value in stored.items() if name not in damaged}
        current = {**self._default_settings, **usable, **settings}
        for name in METADATA:
            current.pop(name, None)
        for name in damaged - settings.keys():  # the default holds, but is not stored over it
            text = 'the stored setting %s is damaged, and ignored: %r'
            _log(self._directory, text, name, stored.pop(name))
            stored[name] = current.get(name)
        is_empty = stored.get('count') == 0
        self._origin = mismatch.Origin.of(schema)
        mismatch.check_recorded_disk(self, disk, is_empty)
        self._disk = disk(
            self._path,
            **{name[5:]: value for name, value in current.items() if name[:5] == 'disk_'},
        )
        ignored = [name for name in _Settings.ignored(type(self), current) if name not in METADATA]
        self._setting_names = [name for name in current if name not in ignored]
        for name in self._setting_names:
            setattr(self, name, current[name])
        if ignored:
            names = ', '.join(ignored)
            place = self._place()
            warn_once(
                place,
                f'ignored {names}',
                f'{place}: stored settings are ignored, as methods or parameters: {names}',
            )
        for name in METADATA:
            if not _Settings.is_taken(type(self), name):
                setattr(self, name, stored.get(name, 0))
        if 'Cache' in schema and not is_empty:
            mismatch.check_stored_keys(self)
        self._complete_directory(current, stored, schema)

    def _mend(self, unopened: bool) -> bool:
        """Make what has been removed beneath the cache anew: directory, database, settings.

        :param unopened: the database could not be opened, perhaps for another reason
        :return: whether that was not for another reason
        """
        database = op.join(self._path, DBNAME)
        removed = not op.exists(database)
        if unopened and not removed:
            return False
        own = {name: getattr(self, name) for name in self._setting_names}
        for more in removal.attempts():
            try:
                self._make_directory(self._path)
                removal.remove_remains(database)
                stored, schema, self._page_size = self._inspect()
                kept = {name: value for name, value in stored.items() if name in own}
                self._complete_directory({**own, **kept}, stored, schema)
            except (FileNotFoundError, sqlite3.OperationalError):
                if not more:
                    raise
            else:
                time.sleep(_MENDED_SECONDS)
                if self._has_all_files():
                    break
            _core.Cache.close(self)
        if removed:
            _log(self._path, 'the database has been removed, and is made anew')
        return True

    def _has_all_files(self) -> bool:
        """Tell whether the files of a database that is open are there."""
        database = op.join(self._path, DBNAME)
        wal = getattr(self, 'sqlite_journal_mode', None) == 'wal'
        return op.exists(database) and (not wal or op.exists(database + '-shm'))

    def _is_truncated(self) -> bool:
        """Tell whether the database is empty and there is a log of it, as SQLite never leaves them.

        If nobody has it open SQLite begins anew. But whoever has keeps its lock until it is closed.
        """
        path = op.join(self._path, DBNAME)
        has_log = op.exists(path + '-wal') or op.exists(path + '-shm')
        try:
            return has_log and op.getsize(path) == 0  # in this order: another may be making both
        except OSError:
            return False

    def _place(self) -> str:
        """Return the directory that warnings name."""
        return self._path

    @staticmethod
    def _make_directory(path: str) -> None:
        try:
            os.makedirs(path, 0o700, exist_ok=True)
        except OSError as error:
            there = path
            while not op.lexists(there):
                there = op.dirname(there)
            if not op.isdir(there):
                text = f'Cache directory "{path}"'
                text += ' is not a directory' if there == path else f': {there} is not a directory'
                raise OSError(error.errno, text) from None
            raise OSError(
                error.errno,
                f'Cache directory "{path}" does not exist and could not be created',
            ) from None

    def _complete_directory(
        self, current: dict[str, Any], stored: dict[str, Any], schema: dict[str, Any]
    ) -> None:
        """Make what is missing in the directory; nothing is written if nothing is."""
        if not schema and 'sqlite_page_size' in current:
            # First of all: the file is made by the first pragma that is stored in it.
            self._set_pragma('page_size', current['sqlite_page_size'])
        for name in sorted(current):
            if name.startswith('sqlite_') and (name not in stored or stored[name] != current[name]):
                self._set_pragma(name[7:], current[name])
        changed = {
            name: value
            for name, value in current.items()
            if name not in stored or stored[name] != value
        }
        missing = [create for name, create in _core.SCHEMA if name not in schema]
        index, create_index = _policy_index(self.eviction_policy)
        if create_index is not None and index not in schema:
            missing.append(create_index)
        if bool(self.tag_index) != (_core.TAG_INDEX_NAME in schema):
            missing.append(_core.TAG_INDEX_CREATE if self.tag_index else _core.TAG_INDEX_DROP)
        if not schema:
            origin = mismatch.Origin(mismatch.disk_name(type(self._disk)), self._shard_count)
            missing.append(origin.statement())
        defaults = {name: value for name, value in METADATA.items() if name not in stored}
        if changed or missing or defaults:
            self._apply(missing, changed, defaults)
        if not schema:
            self._page_size = self._inspect()[2]

    @property
    def directory(self) -> str:
        """Directory of the cache."""
        return self._directory

    @property
    def timeout(self) -> float:
        """Seconds to wait for a lock."""
        return self._timeout

    @property
    def disk(self) -> Disk:
        """The :class:`Disk` that converts keys and values."""
        return self._disk

    @property
    def _con(self) -> sqlite3.Connection:
        """Connection of this thread; inside a transaction the one that it runs on."""
        return self._connection()

    @property
    def _sql(self) -> Callable[..., sqlite3.Cursor]:
        """The `execute` method of `_con`."""
        return self._con.execute

    @property
    def _sql_retry(self) -> Callable[..., sqlite3.Cursor]:
        """Like `_sql`, waiting for a locked database for up to a minute."""
        sql = self._sql

        def execute(statement: str, *args: Any, **kwargs: Any) -> sqlite3.Cursor:
            deadline = time.monotonic() + _OPEN_TIMEOUT
            delay = 0.0001
            while True:
                try:
                    return sql(statement, *args, **kwargs)
                except sqlite3.OperationalError as error:
                    if str(error) != 'database is locked' or time.monotonic() > deadline:
                        raise
                time.sleep(delay)
                delay = min(2 * delay, 0.01)

        return execute

    def _call_each(
        self, name: str, calls: list[tuple[Any, ...]], keywords: dict[str, Any], retry: bool
    ) -> list[bool]:
        """Call a method for each of many items, in one transaction.

        `set_many` and its like do it where a subclass overrides the method for a single item.

        :param name: set, add, touch or delete
        :param calls: what each call is given
        :param keywords: what all calls are given, besides `retry`
        :param retry: wait for the lock as long as it takes
        :return: whether each call returned something true
        :raises Timeout: if the lock cannot be had within the timeout and `retry` is false
        """
        method = getattr(self, name)
        with self.transact(retry=retry):
            return [bool(method(*call, **keywords, retry=retry)) for call in calls]

    @hint_at_expire
    def memoize(
        self: _Store,
        name: str | None = None,
        typed: bool = False,
        expire: float | None = None,
        tag: Any = None,
        ignore: Iterable[int | str] = (),
        *,
        signature: bool = False,
        cache_if: Callable[[Any], object] | None = None,
    ) -> Callable[[Callable[P, R]], Callable[P, R]]:
        """Decorate a function so that its results are kept in the cache.

        Of a coroutine function, what it returns when awaited is kept; the wrapper is one too. The
        cache itself is asked without awaiting: that takes microseconds at most.

        The wrapper has an attribute ``__cache_key__``: a function that returns the key for given
        arguments.

        :param name: what keys begin with (None: the function's full name)
        :param typed: whether arguments of different types are different
        :param expire: seconds until a result expires (None: never; 0 or less: nothing is stored)
        :param tag: for the stored results
        :param ignore: positions and names of arguments that do not count; a str is one name
        :param signature: make keys from the function's signature: calls that mean the same, by
            position, by keyword or by a default, then share a result, and others never do. Without
            it keys are the original's, for which ``f(1)`` and ``f(x=1)`` differ, and
            ``f(1, x=None)`` and ``f(1, None, 'x')`` do not. Then it does not matter either which
            of equal arguments are the same object.
        :param cache_if: called with each new result; it is stored only if this returns something
            true (None: always)
        :return: decorator
        :raises TypeError: if the decorator is used without parentheses
        """

        _checked_expire(expire)

        def lookup(key: Any, func: Any, args: Any, kwargs: Any) -> Any:
            return self.get(key, default=ENOVAL, retry=True)

        def store(key: Any, result: Any, seconds: float) -> None:
            if expire is None or expire > 0:
                self.set(key, result, expire, tag=tag, retry=True)

        def find_disk() -> Disk:
            return self.disk

        return _memoizer(find_disk, name, typed, ignore, signature, cache_if, lookup, store)

    def check(self, fix: bool = False, retry: bool = False) -> list[warnings.WarningMessage]:
        """Check the database and the value files against each other.

        With `fix`, what nobody could look up or read goes: rows without their file, rows of which
        key or value is no pickle and should be one; see :mod:`diskcache.check`. Sizes and counts
        are corrected, and of the files that no row names those go that this package made and left,
        if they are not new: a set by another process may be under way. Users' own files and caches
        in sub-directories are left alone.

        Pickles of keys and values are followed, the first MiB of each, but not loaded, because
        that runs code: nothing is imported or called. One that is damaged, or needs a class or
        module that is not there, is reported, and stays, also with `fix`: another program, or
        another Python, that shares the directory may be able to read it.

        While the files are looked at nobody else can write.

        :param fix: whether to mend what is found
        :param retry: wait for the lock as long as it takes
        :return: the problems found, as recorded warnings
        :raises Timeout: if the lock cannot be had within the cache's timeout and `retry` is false
        """
        from .check import Check  # it is about what is defined here

        messages = [row[0] for row in self._run_alone('PRAGMA integrity_check', retry)]
        if fix:
            self._run_alone('VACUUM', retry)
        with self._transact(retry) as (sql, cleanup):
            check = Check(self, sql, cleanup, fix)
            check.run()
        with warnings.catch_warnings(record=True) as found:
            warnings.simplefilter('always')
            for message in messages:
                if message != 'ok':
                    warnings.warn(message, stacklevel=2)
            for category, text in check.found:
                warnings.warn(text, category, stacklevel=2)
        return found

    def _run_alone(self, statement: str, retry: bool) -> list[Any]:
        """Run SQL that no transaction can contain, waiting for the lock as a transaction does."""
        while True:
            try:
                return self._sql(statement).fetchall()  # SQLite waits for as long as the timeout.
            except sqlite3.OperationalError as error:
                if str(error) != 'database is locked':
                    raise
            if not retry:
                self._raise_timeout()
            time.sleep(0.001)

    def create_tag_index(self) -> None:
        """Create an index on tags, which makes :meth:`evict` fast; it stays until dropped."""
        self._apply([_core.TAG_INDEX_CREATE], {}, {})
        self.reset('tag_index', 1)

    def drop_tag_index(self) -> None:
        """Drop the index on tags."""
        self._apply([_core.TAG_INDEX_DROP], {}, {})
        self.reset('tag_index', 0)

    def _select_delete(
        self,
        select: str,
        args: list[Any],
        row_index: int = 0,
        arg_index: int = 0,
        retry: bool = False,
    ) -> int:
        """Delete what a query selects, a transaction for each of its portions.

        :param select: query for rowid, ..., filename with a LIMIT
        :param args: its parameters; changed here
        :param row_index: column of the last row that
        :param arg_index: becomes this parameter of the next portion's query
        :param retry: wait for the lock as long as it takes
        :return: number of rows deleted
        :raises Timeout: with the number of rows deleted until then
        """
        count = 0
        while True:
            try:
                with self._transact(retry) as (sql, cleanup):
                    rows = sql(select, args).fetchall()
                    deleted = _delete_rows(sql, cleanup, rows)
            except Timeout as timeout:
                timeout.args = (count,)
                raise
            if not deleted:  # a trigger may keep the rows, which would be selected for ever
                return count
            count += deleted
            args[arg_index] = rows[-1][row_index]

    def _note_access(self, rowid: int) -> None:
        """Write what an eviction policy of the user's own wants of a row that has been found."""
        columns = self._own_policy and self._own_policy['get']
        if columns:
            # The value has been found, and is not withheld because somebody else is writing.
            with cl.suppress(Timeout), self._transact() as (sql, _):
                now = time.time()
                sql(f'UPDATE Cache SET {columns.format(now=now)} WHERE rowid = ?', (rowid,))

    def _cull(
        self,
        now: float,
        sql: Callable[..., sqlite3.Cursor],
        cleanup: Callable[[str | None], object],
        limit: int | None = None,
    ) -> None:
        """Remove expired items and, above size_limit, others, as every write does at its end.

        :param now: seconds since the epoch
        :param sql: executes SQL in the thread's open transaction
        :param cleanup: called with the name of each file that is then to be removed
        :param limit: number of items to remove at most (None: cull_limit)
        """
        if self._own_policy is None:
            super()._cull(now, sql, cleanup, limit)
            return
        left = self.cull_limit if limit is None else limit
        if left > 0:
            expired = 'SELECT rowid, filename FROM Cache WHERE expire_time < ? LIMIT ?'
            left -= _delete_rows(sql, cleanup, sql(expired, (now, left)).fetchall())
        select = self._own_policy['cull']
        if left > 0 and select is not None and self.volume() >= self.size_limit:
            select = select.format(fields='rowid, filename', now=now)
            _delete_rows(sql, cleanup, sql(select, (left,)).fetchall())

    def cull(self, retry: bool = False) -> int:
        """Remove the items that have expired, then others, in the order of the eviction policy.

        :param retry: wait for the lock as long as it takes
        :return: number of items removed; the volume is within size_limit then, if the policy lets
            it be
        :raises Timeout: if the lock cannot be had within the cache's timeout and `retry` is false,
            with the number of items removed until then
        """
        if self._own_policy is None:
            return super().cull(retry)
        now = time.time()
        count = self.expire(now, retry)
        select = self._own_policy['cull']
        if select is None:
            return count
        select = select.format(fields='rowid, filename', now=now)
        try:
            while self.volume() > self.size_limit:
                with self._transact(retry) as (sql, cleanup):
                    rows = sql(select, (_CULL_PORTION,)).fetchall()
                    deleted = _delete_rows(sql, cleanup, rows)
                if not deleted:
                    break
                count += deleted
        except Timeout as timeout:
            timeout.args = (count,)
            raise
        return count

    def _iter(self, ascending: bool = True) -> Generator[Any, None, None]:
        """Yield None, then the keys in the order of their insertion, or backwards.

        The end is fixed with the first value yielded.
        """
        keys: Iterator[Any] = (
            _core.Cache.__iter__(self) if ascending else _core.Cache.__reversed__(self)
        )
        yield
        yield from keys

    def _stored_rows(self, reverse: bool) -> Rows | None:
        """Return what views go by, in the order of insertion; None if a subclass decides that."""
        if not has_all_of(type(self), Cache, (*LOOKUPS, 'get')):
            return None
        return ((self, key) for key in self._stored_keys(reverse, inserted=True))

    def stats(self, enable: bool = True, reset: bool = False) -> tuple[int, int]:
        """Return how often lookups found their key, and how often not.

        To call this to look turns counting on, in the directory and for everyone, as the original
        does: pass ``enable=cache.statistics`` to leave it as it is, or call `memory_stats`.

        :param enable: whether to count from now on
        :param reset: whether to set the counts to zero
        :return: (hits, misses)
        """
        result = self.reset('hits'), self.reset('misses')
        if reset:
            self.reset('hits', 0)
            self.reset('misses', 0)
        self.reset('statistics', enable)
        return result

    def __exit__(self, *exception: Any) -> None:
        self.close()

    def __repr__(self) -> str:
        return f'{type(self).__name__}({getattr(self, "_directory", None)!r})'

    def __getstate__(self) -> tuple[str, float, type[Disk]]:
        return self._path, self.timeout, type(self.disk)

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        self.__init__(*state)  # type: ignore[misc]

    __reduce__ = _reduce

    def reset(self, key: str, value: Any = ENOVAL, update: bool = True) -> Any:
        """Load a setting again, or change it.

        A setting is an attribute of the cache, and stored in the directory; changing the attribute
        alone holds for this object only. `count`, `size`, `hits` and `misses` are attributes too:
        as they were when the cache was opened or when they were last read, by this method,
        ``len(cache)``, :meth:`volume` or :meth:`stats`; `size` also by every write that may evict.

        :param key: name of the setting
        :param value: new value; without it the stored one is loaded
        :param update: whether to store the new value too
        :return: the value
        :raises ValueError: if there is no such setting, or the value is impossible
        :raises TypeError: if the key is the name of a method, or the value of the wrong type
        :raises Timeout: if the lock cannot be had within the cache's timeout
        """
        if value is ENOVAL:
            try:
                value = self._setting(key)
            except KeyError:
                raise ValueError(f'no setting {key!r} is stored') from None
            if not _Settings.is_usable(key, value):
                raise sqlite3.DatabaseError(f'the stored setting {key!r} is damaged: {value!r}')
            setattr(self, key, value)
            return value
        if _Settings.is_taken(type(self), key):
            raise TypeError(f'{key!r} is the name of a method, it cannot be a setting')
        if key.startswith('sqlite_'):
            self._set_pragma(key[7:], value)
        elif key.startswith('disk_'):
            setattr(self._disk, key[5:], value)
        setattr(self, key, value)
        if update:
            self._store_setting(key, value)
        return value

    def _store_setting(self, key: str, value: Any) -> None:
        """Change a stored setting, as far as there are tables: a subclass may be making them."""
        try:
            self._update_setting(key, value)
        except sqlite3.OperationalError:
            if 'Settings' in self._inspect()[1]:
                raise
        if key == 'eviction_policy':
            index, create_index = _policy_index(value)
            _, schema, _ = self._inspect()
            if create_index is not None and 'Cache' in schema and index not in schema:
                self._apply([create_index], {}, {})


atexit.register(_core._flush_notes)
if hasattr(os, 'register_at_fork'):  # not on Windows
    os.register_at_fork(
        before=_core._before_fork,
        after_in_parent=_core._after_fork,
        after_in_child=_core._after_fork,
    )
_core._register(
    disk=Disk,
    cache=Cache,
    transaction=Transaction,
    stored_key=StoredKey,
    enoval=ENOVAL,
    unknown=UNKNOWN,
    find_policy=_find_policy,
)
