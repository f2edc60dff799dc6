"""What the pages may change, with ``--write``.

A cache is opened for each change, with the Disk that it was made with, and closed again; one that
has gone is not made anew. An item is deleted by
its row, since to name its key might mean to load a pickle; but only if its key is still the one
that was shown, for the number of a row that is gone may be another's.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import Any

from .. import sql
from ..cli.places import open_recorded
from ..disk import Disk
from ..policies import delete_rows
from .queries import Item


def fingerprint(key_type: str, key: bytes, raw: Any) -> str:
    """Return what tells a key from all others."""
    parts = repr((key_type, bytes(key or b''), raw))
    return hashlib.sha256(parts.encode()).hexdigest()


def can_be_deleted(item: Item) -> bool:
    """Tell whether all of the key of an item is known, so that it can be compared."""
    return len(item.key) == item.key_size


def delete(path: str, rowid: int, expected: str) -> int:
    """Delete an item.

    :param path: directory of the cache
    :param rowid: its row
    :param expected: :func:`fingerprint` of its key
    :return: how many are gone: 0 if it was not there any more
    :raises CommandError: if the cache has gone
    :raises Timeout: if the lock is not to be had within a minute
    :raises sqlite3.Error: if the database cannot be written
    """
    with open_recorded(path) as cache, cache._transact(False) as (execute, cleanup):
        rows = []
        for key_type, key, raw, kind, filename in execute(sql.DELETED_ROW, (rowid,)).fetchall():
            if fingerprint(key_type, key, raw) == expected:
                rows.append((rowid, _inside(kind, filename)))
        return delete_rows(execute, cleanup, rows)


def _inside(kind: str, filename: bytes | None) -> str | None:
    """Return the name of a file of the directory, None if it is none."""
    if kind != 'text' or filename is None:
        return None
    name = filename.decode('utf-8', 'replace')
    return name if Disk._is_inside(name) else None


def evict(paths: Iterable[str], tag: Any) -> int:
    """Remove the items with a tag from some caches; return how many. Errors as of `delete`."""
    return _sum(paths, lambda cache: cache.evict(tag))


def expire(paths: Iterable[str]) -> int:
    """Remove the items that have expired; return how many. Errors as of `delete`."""
    return _sum(paths, lambda cache: cache.expire())


def cull(paths: Iterable[str]) -> int:
    """Remove items until no cache is over its limit; return how many. Errors as of `delete`."""
    return _sum(paths, lambda cache: cache.cull())


def _sum(paths: Iterable[str], change: Any) -> int:
    total = 0
    for path in paths:
        with open_recorded(path) as cache:
            total += change(cache)
    return total
