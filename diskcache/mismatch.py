"""Warnings about a cache that is opened, or used, in another way than it was made for.

All of it is allowed, as in the original, and none of it is noticed otherwise: keys are in other
shards or mean something else, so everything is a miss; a lock is evicted, so two hold it. Each
warning is given once per directory and process.

What a directory was made with is recorded in its database, as a view without tables::

    CREATE VIEW Cache_origin AS SELECT 'diskcache.core.Disk' AS disk, 8 AS shards

A view costs no page, comes with the database wherever it is copied, and is read with the schema,
which opening a cache reads anyhow. The original looks neither at views nor at tables other than its
own. A directory that the original has made has no record. There the files tell of a Cache or
shards, and the keys of shards and of JSON.
"""

from __future__ import annotations

import contextlib as cl
import itertools as it
import os.path as op
import re
import sqlite3
from collections.abc import Callable, Iterable, Mapping, Sequence

from . import sql
from ._core import QUEUE_DIGITS, Timeout
from .cautions import warn_once
from .constants import DBNAME
from .disk import Disk, JSONDisk
from .hints import TYPE_CHECKING, Any
from .safedisk import SafeDisk

if TYPE_CHECKING:
    from .opening import Opening as Cache

#: How many items are looked at to learn what wrote them.
_SAMPLE = 10

#: A cache with a size_limit below this, in bytes, is taken to fill up.
_SMALL_LIMIT = 2**28

#: What the names of this package's classes begin with; the original's are the same.
OWN_CLASSES = 'diskcache.core.'

#: What a Disk can override without changing what can be read by others.
_FORMLESS = frozenset(
    {'filename', 'remove', '_write', 'keys', 'purpose', '_made_by', *vars(SafeDisk)}
)


def _is_queue_key(key: Any) -> bool:
    """Tell whether `push` may have made a key: only that ends in so many digits."""
    digits = str(key).rpartition('-')[2]
    return len(digits) == QUEUE_DIGITS and digits.isdecimal() and digits.isascii()


class Origin:
    """What a cache was made with."""

    def __init__(self, disk: str, shards: int | None) -> None:
        """Say what it was.

        :param disk: name of the class that determines what keys and values look like
        :param shards: of the FanoutCache that the cache is a shard of, otherwise None
        """
        self.disk = disk
        self.shards = shards

    @classmethod
    def of(cls, schema: Mapping[Any, Any]) -> Origin | None:
        """Return what the schema of a database records, if it does."""
        text = schema.get(sql.ORIGIN)
        # A damaged one is bytes, which are not UTF-8.
        found = re.fullmatch(sql.ORIGIN_CREATED, text) if isinstance(text, str) else None
        if found is None:
            return None
        disk, shards = found.groups()
        return cls(disk.replace("''", "'"), None if shards == 'NULL' else int(shards))

    def statement(self) -> str:
        """Return the SQL that records it in a new database."""
        return sql.create_origin(self.disk, self.shards)

    def record(self, caches: Iterable[Cache]) -> None:
        """Record it in caches without items; another time, where that is not possible now."""
        for cache in caches:
            with cl.suppress(Timeout, sqlite3.Error):
                cache._apply([sql.DROP_ORIGIN, self.statement()], {}, {})


def disk_name(disk: type[Disk]) -> str:
    """Return the full name of the class, of a Disk and its bases, that determines the form."""
    for cls in disk.__mro__:
        own = (name for name in vars(cls) if not (name[:2] == name[-2:] == '__'))
        if any(name not in _FORMLESS for name in own):
            return f'{cls.__module__}.{cls.__qualname__}'
    raise AssertionError('Disk has methods')


def _is_same_class(one: str, other: str) -> bool:
    """Tell whether two full names can be those of one class: its module may have another name."""
    if one.startswith(OWN_CLASSES) or other.startswith(OWN_CLASSES):
        return one == other
    return one.rpartition('.')[2] == other.rpartition('.')[2]


# --- opening a cache ---


def count_shards(directory: str) -> int:
    """Return how many shards there are in a directory."""
    numbers = it.count()
    return next(n for n in numbers if not op.exists(op.join(directory, f'{n:03d}', DBNAME)))


def check_for_shards(directory: str, read_schema: Callable[[str], Mapping[Any, Any]]) -> None:
    """Warn if a directory that is about to be opened as a Cache has a FanoutCache in it.

    :param directory: the directory
    :param read_schema: returns the schema of the cache in a directory; empty if it cannot be read
    """
    if not op.exists(op.join(directory, '000', DBNAME)):
        return
    origin = Origin.of(read_schema(op.join(directory, '000')))
    if origin is not None and origin.shards is None:
        return  # a Cache of that name
    count = count_shards(directory)
    warn_once(
        op.abspath(directory),
        'shards',
        f'{directory} holds a FanoutCache of {count} shards and is opened as a Cache, which does'
        f' not see their items: open it as FanoutCache({directory!r}, shards={count}), or give the'
        ' Cache a directory of its own',
    )


def check_for_cache(directory: str) -> None:
    """Warn if a directory that is about to be opened as a FanoutCache has a Cache in it."""
    if not op.exists(op.join(directory, DBNAME)):
        return
    warn_once(
        op.abspath(directory),
        'cache',
        f'{directory} holds a Cache and is opened as a FanoutCache, which does not see its items:'
        f' open it as Cache({directory!r}), or give the FanoutCache a directory of its own; if the'
        f' Cache is not wanted any more, remove its {DBNAME}*',
    )


def check_shards(directory: str, found: int, shards: Sequence[Cache]) -> None:
    """Warn if a FanoutCache has been opened with another number of shards than it was made with.

    :param directory: of the FanoutCache
    :param found: how many shards there were before
    :param shards: all that it has now
    """
    count = len(shards)
    if found == 0:
        return
    origin = shards[0]._origin
    if origin is not None and origin.shards is not None:
        made = origin.shards
    elif found > count or (found < count and _has_misplaced_key(shards[:found], count)):
        made = found
    else:  # or another is making the rest of them just now
        made = count
    if made == count:
        return
    if found <= count and not any(map(_has_items, shards)):
        Origin(disk_name(type(shards[0].disk)), count).record(shards)
        return
    warn_once(
        op.abspath(directory),
        'number',
        f'{directory} was made with {made} shards and is opened with {count}, so that most keys are'
        f' looked for in another shard than they are in: open it with shards={made}, or remove the'
        f' directory to begin anew with {count}',
    )


def _has_misplaced_key(shards: Sequence[Cache], count: int) -> bool:
    """Tell whether some item would be in another shard if there had always been so many."""
    for number, shard in enumerate(shards):
        for database_key, raw in _sample(shard):
            try:
                key = shard.disk.get(database_key, raw)
                if shard.disk.hash(key) % count != number:
                    return True
            except Exception:  # whatever a Disk raises for what is not its own
                continue
    return False


def _has_items(cache: Cache) -> bool:
    try:
        return len(cache) > 0
    except (Timeout, sqlite3.Error):
        return True


def _sample(cache: Cache) -> list[tuple[Any, bool]]:
    """Return the keys of some items as they are stored, without those that push() has made."""
    try:
        keys = list(it.islice(cache._stored_keys(), _SAMPLE))
    except (Timeout, sqlite3.Error):
        return []
    return [(key, raw) for key, raw in keys if not (raw and _is_queue_key(key))]


def check_recorded_disk(cache: Cache, disk: type[Disk], is_empty: bool) -> None:
    """Warn if a cache is about to be opened with another Disk than is recorded.

    :param cache: the cache, which has no Disk yet
    :param disk: what it is to have
    :param is_empty: whether it has no items; then the new Disk is recorded
    """
    origin = cache._origin
    if origin is None or _is_same_class(origin.disk, disk_name(disk)):
        return
    if is_empty:
        Origin(disk_name(disk), origin.shards).record([cache])
    else:
        _warn_of_disk(cache, origin.disk, disk)


def check_stored_keys(cache: Cache) -> None:
    """Warn if the items of a cache without a record are not such as its Disk writes."""
    if cache._origin is None:
        made = _infer_disk(cache)
        if made is not None:
            _warn_of_disk(cache, disk_name(made), type(cache.disk))


def _warn_of_disk(cache: Cache, made: str, disk: type[Disk]) -> None:
    directory = cache.directory
    if cache._shard_count is not None:
        directory = op.dirname(directory)
    warn_once(
        op.abspath(directory),
        'disk',
        f'{directory} was written with the Disk {made} and is opened with {disk_name(disk)}, for'
        ' which its keys and values may be others, or none: open it with'
        f' disk={made.rpartition(".")[2]}, or clear() it first',
    )


def _infer_disk(cache: Cache) -> type[Disk] | None:
    """Return the Disk that seems to have written the items, None if it may be that of the cache."""
    keys = _sample(cache)
    if not keys:
        return None
    if type(cache.disk).get is Disk.get:
        is_json = type(cache.disk).put is Disk.put and all(it.starmap(_is_json, keys))
        return JSONDisk if is_json else None
    for database_key, raw in keys:
        try:
            cache.disk.get(database_key, raw)
        except Exception:  # whatever it raises for what is not its own
            continue
        return None
    return JSONDisk if all(it.starmap(_is_json, keys)) else Disk


def _is_json(database_key: Any, raw: bool) -> bool:
    """Tell whether a key is what JSONDisk makes of one."""
    if not raw or not isinstance(database_key, bytes):
        return False
    try:
        JSONDisk._decompress(database_key)
    except Exception:  # of zlib, of the text's encoding, of JSON
        return False
    return True


# --- using a cache ---


def check_eviction(cache: Any, user: str) -> None:
    """Warn if a cache may evict what something that must not lose it keeps there.

    :param cache: Cache, FanoutCache, or what behaves like one
    :param user: what keeps it, for the message
    """
    policy = getattr(cache, 'eviction_policy', 'none')
    limit = getattr(cache, 'size_limit', None)
    directory = getattr(cache, 'directory', None)
    if policy == 'none' or not isinstance(limit, int | float) or not isinstance(directory, str):
        return
    limit *= getattr(cache, '_count', 1)  # of a FanoutCache it is that of a shard
    if limit < _SMALL_LIMIT and getattr(cache, 'cull_limit', False):
        warn_once(
            op.abspath(directory),
            'eviction',
            f'{directory}: a cache with the eviction_policy {policy!r} and a size_limit of'
            f' {limit:,.0f} bytes may evict what {user} keeps in it: use one with'
            " eviction_policy='none'",
        )
