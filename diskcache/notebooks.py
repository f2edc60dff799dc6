"""What a notebook shows of a cache, and the keys that it completes.

Nothing is loaded, since a pickle is code, and nothing is made or changed: what is shown stands in
the databases. A directory that is not there, or cannot be read now, is shown as that.
"""

from __future__ import annotations

import itertools as it
import os.path as op
import sqlite3
from collections.abc import Iterable
from html import escape

from ._core import Timeout
from .constants import DBNAME
from .directory import size_of
from .hints import Any
from .opening import unopened
from .units import human_size

#: So many keys are offered, the last inserted.
_MOST_KEYS = 1000

#: Types of keys that stand in the database as they are, and can be written between brackets.
_PLAIN = (str, int, bytes)


def _facts(directory: str, read_only: int) -> tuple[dict[str, Any], int]:
    """Return the stored settings of a cache and its size on disk in bytes.

    :raises Timeout: if somebody has the database locked
    :raises sqlite3.Error: if it is not there, or cannot be read
    """
    if not op.exists(op.join(directory, DBNAME)):
        raise sqlite3.OperationalError('there is no database')
    with unopened(directory) as reader:
        reader._read_only = read_only
        stored = reader._inspect()[0]
    files = [op.join(directory, f'{DBNAME}{suffix}') for suffix in ('', '-wal')]
    return stored, stored['size'] + sum(map(size_of, files))


def _table(title: str, rows: Iterable[tuple[str, object]]) -> str:
    lines = (
        f'<tr><th>{escape(name)}</th><td>{escape(str(value))}</td></tr>' for name, value in rows
    )
    return f'<table><caption>{escape(title)}</caption>{"".join(lines)}</table>'


def table_of(
    shown: object, directory: str | None, caches: Iterable[tuple[str, int]], **more: object
) -> str:
    """Return a table about a cache as HTML.

    :param shown: the object; its class is the title
    :param directory: that it is in
    :param caches: the directory of each Cache that it consists of, and its `_read_only`
    :param more: further rows
    """
    rows: list[tuple[str, object]] = [('directory', directory)]
    items = volume = limit = 0.0
    policy: object = None
    try:
        for path, read_only in caches:
            stored, taken = _facts(path, read_only)
            items += stored['count']
            volume += taken
            limit += stored['size_limit']
            policy = stored['eviction_policy']
    except (KeyError, OSError, TypeError, ValueError, Timeout, sqlite3.Error) as error:
        rows.append(('cannot be read', error or type(error).__name__))
    else:
        rows.append(('items', f'{items:,.0f}'))
        rows.append(('on disk', human_size(volume)))
        if policy != 'none':
            rows.append(('limit', f'{human_size(limit)}, {policy}'))
    rows += more.items()
    return _table(type(shown).__name__, rows)


def keys_of(caches: Iterable[Any]) -> list[Any]:
    """Return keys that can be written between brackets, of the items inserted last.

    :param caches: each Cache
    """
    found: list[Any] = []
    for cache in caches:
        if not op.exists(op.join(cache._path, DBNAME)):
            continue
        try:
            with cache._without_reset():
                rows = it.islice(cache._naming_keys(reverse=True), _MOST_KEYS - len(found))
                found += (key for key in rows if type(key) in _PLAIN)
        except (OSError, Timeout, sqlite3.Error):
            continue
    return found
