"""The caches that a directory has, and opening them without making anything.

The items of a FanoutCache are those of its shards. The caches, Deques and Indexes below it are
named by directories of their own (DIRECTORY/deque/NAME); `check`, `compact`, `stats`, `info` and
`backup` take them along.
"""

from __future__ import annotations

import contextlib as cl
import os
import os.path as op
import sqlite3
import warnings
from collections.abc import Iterator
from typing import Any

from .._core import Timeout
from ..cache import Cache
from ..cautions import CacheWarning
from ..constants import DBNAME
from ..defaults import default_disk
from ..defaults import find_disk as disk_of_name
from ..directory import path_of
from ..disk import Disk, JSONDisk, StoredKey
from ..fanout import cache_directories, is_shard
from ..mismatch import OWN_CLASSES, Origin, count_shards, disk_name
from .errors import FAILURES, CommandError
from .stored import Row, Stored

#: The classes whose keys and values are those of a Disk.
_PLAIN = {f'{OWN_CLASSES}{name}' for name in ('Disk', 'SafeDisk')}
_SIGNED = f'{OWN_CLASSES}SignedDisk'
_JSON = f'{OWN_CLASSES}JSONDisk'


def existing(directory: str) -> str:
    """Return the path of a cache that is there already.

    :raises CommandError: if there is none
    """
    path = path_of(directory)

    if not op.isdir(path):
        raise CommandError(f'no such directory: {path}')

    if not op.isfile(op.join(path, DBNAME)):
        os.listdir(path)  # an error that says so if it cannot be read
        raise CommandError(f'not a cache (it has no {DBNAME}): {path}')
    return path


def is_fanout(directory: str) -> bool:
    """Tell whether a directory is that of a FanoutCache."""
    path = path_of(directory)
    return not op.isfile(op.join(path, DBNAME)) and count_shards(path) > 0


def all_caches(directory: str) -> list[tuple[str, str]]:
    """Return the names and paths of a cache that is there, or of all that a FanoutCache has."""
    path = path_of(directory)
    if is_fanout(path):
        return [(op.relpath(each, path), each) for each in cache_directories(path)]
    return [('', existing(directory))]


def item_caches(directory: str) -> list[tuple[str, str]]:
    """Return the names and paths of a cache that is there, or of the shards of a FanoutCache.

    :raises CommandError: if there is none, or a shard is missing
    """
    path = path_of(directory)
    if not is_fanout(path):
        return [('', existing(directory))]
    names = [name for name, _ in all_caches(path) if is_shard(name)]
    if names != [f'{number:03d}' for number in range(len(names))]:
        raise CommandError(f'a shard is missing: {path} has {", ".join(names)} (check tells more)')
    return [(name, op.join(path, name)) for name in names]


def open_existing(directory: str, disk: type[Disk] | None = None, **options: Any) -> Cache:
    """Open a cache that is there already; `Cache` itself would create one."""
    path = existing(directory)
    if disk is not None:
        options['disk'] = disk

    with warnings.catch_warnings():
        # What is done here is the same for every Disk.
        warnings.simplefilter('ignore', CacheWarning)
        return Cache(path, **options)


def named_disk(name: str | None) -> type[Disk] | None:
    """Return the Disk of the option ``--disk``, which is imported.

    :raises CommandError: if there is none of that name
    """
    if name is None:
        return None
    try:
        return disk_of_name(name)
    except Exception as error:  # a module that is imported raises what it likes
        raise CommandError(f'--disk {name}: {error}') from error


class Place:
    """A cache, or a shard, that a command looks into, and how its keys and values are stored."""

    def __init__(self, name: str, cache: Cache, disk: type[Disk] | None) -> None:
        self.name = name
        self.cache = cache
        self._given = disk
        self._origin = cache._origin

    @property
    def made_with(self) -> str:
        """The full name of the Disk that determines what keys and values look like."""
        if self._origin is not None:
            return self._origin.disk
        return disk_name(type(self.cache.disk))

    @property
    def shards(self) -> int | None:
        """Of the FanoutCache that it is a shard of, as far as that is recorded."""
        return None if self._origin is None else self._origin.shards

    @property
    def is_json(self) -> bool:
        """Whether keys and values are JSON."""
        return self.made_with == _JSON

    @property
    def is_signed(self) -> bool:
        """Whether what is in it is signed."""
        return self.made_with == _SIGNED

    @property
    def is_own(self) -> bool:
        """Whether its form is one of this package's."""
        return self.made_with in (*_PLAIN, _JSON)

    def require_disk(self, also_signed: bool = False) -> None:
        """Raise CommandError if keys would have another form than those that are there.

        :param also_signed: values are not written, so those of a SignedDisk will do
        """
        if self._given is not None or type(self.cache.disk) is not Disk or self.is_own:
            return
        if not (also_signed and self.is_signed):
            raise CommandError(
                f'{self.cache.directory} was made with {self.made_with}: name its class,'
                ' --disk MODULE.CLASS'
            )

    def encoded(self, key: Any) -> StoredKey:
        """Return a key as it stands in the database.

        :raises CommandError: if it cannot be a key
        """
        self.require_disk(also_signed=True)
        try:
            database_key, raw = self.cache.disk.put(key)
        except Exception as error:  # whatever the Disk raises
            raise CommandError(f'this cannot be a key: {error}') from error
        return StoredKey((database_key, raw))

    def run(self, select: str, *parameters: Any) -> Any:
        """Return the rows of a query."""
        return self.cache._run_alone(select, False, parameters)

    def rows(self, select: str, *parameters: Any) -> Iterator[Row]:
        """Yield the rows of one of the queries of sql.py that list them."""
        for fields in self.run(select, *parameters).fetchall():
            yield Row(*fields)

    def open_value(self, row: Row) -> Any:
        """Return the value file of a row, open; None if it is not there, or not whole."""
        filename = row.filename
        try:
            if filename is None or not Disk._is_inside(filename):
                return None
            file = self.cache.disk._open_file(filename)
        except (OSError, ValueError):
            return None
        if file is not None and os.fstat(file.fileno()).st_size != row.size:
            file.close()
            return None
        return file

    def value_of(self, row: Row, file: Any) -> Stored:
        """Return the value of a row as it is stored.

        :param file: what `open_value` has returned
        """
        if file is None:
            return row.value(self.is_json)
        kind = row.kind(self.is_json).removeprefix('signed ')
        data = file.read()
        return Stored(kind, data.decode('utf-8', 'surrogateescape') if kind == 'text' else data)


@cl.contextmanager
def opened(
    directory: str, disk: str | None = None, *, writes: bool = False, parts: bool = False
) -> Iterator[list[Place]]:
    """Give the caches whose items are those of a directory.

    :param directory: of a Cache or a FanoutCache
    :param disk: the name of a Disk (None: the recorded one, if it is of this package)
    :param writes: whether they are to be written; otherwise nothing at all is
    :param parts: also the caches below a FanoutCache
    :raises CommandError: if there are none
    """
    given = named_disk(disk)
    found = all_caches(directory) if parts else item_caches(directory)
    with cl.ExitStack() as stack:
        places = []
        for name, path in found:
            try:
                cache = open_recorded(path, given, writes=writes)
            except FAILURES as error:
                if not name or isinstance(error, Timeout):
                    raise
                raise CommandError(f'{name}: {error}') from error
            stack.enter_context(cl.closing(cache))
            if writes and cache.read_only:
                raise CommandError(f'{path} cannot be written by this user')
            places.append(Place(name, cache, given))
        yield places


def open_recorded(path: str, disk: type[Disk] | None = None, *, writes: bool = True) -> Cache:
    """Open a cache that is there with the Disk of this package that it was made with.

    Opened with another, one that is empty would be recorded to be of that.

    :param path: its directory
    :param disk: instead of the recorded one
    :param writes: whether it is to be written; otherwise nothing at all is
    """
    cache = _open_reading(path, disk)
    if disk is None and default_disk() is Disk and _made_with_json(cache._origin):
        disk = JSONDisk
        cache.close()
        cache = _open_reading(path, disk)
    if writes:
        cache.close()
        cache = open_existing(path, disk)
    return cache


def _made_with_json(origin: Origin | None) -> bool:
    return origin is not None and origin.disk == _JSON


def _open_reading(path: str, disk: type[Disk] | None) -> Cache:
    try:
        return open_existing(path, disk, read_only=True)
    except sqlite3.OperationalError:
        # A process that was killed has left a log, without the index that a reader needs.
        if not os.access(path, os.W_OK):
            raise
        return open_existing(path, disk)
