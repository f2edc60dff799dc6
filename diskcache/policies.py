"""Eviction policies: what each means in SQL, and the steps of those that a program has added."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Callable, Iterable
from typing import Any

from . import _core


def _policy(column: str | None, get: str | None = None) -> dict[str, str | None]:
    if column is None:
        return {'init': None, 'get': None, 'cull': None}
    return {
        'init': f'CREATE INDEX IF NOT EXISTS Cache_{column} ON Cache ({column})',
        'get': get,
        'cull': f'SELECT {{fields}} FROM Cache ORDER BY {column} LIMIT ?',
    }


#: What each policy means, in SQL: `init` is executed when a directory gets the policy, `get` is
#: what a lookup sets in the row that it finds, `cull` selects the rows that go first. Programs may
#: add policies of their own before they open a cache: ``{fields}`` stands for columns, ``{now}``
#: for the time. For those that are here, the native core has its own prepared statements.
EVICTION_POLICY: dict[str, dict[str, str | None]] = {
    'none': _policy(None),
    'least-recently-stored': _policy('store_time'),
    'least-recently-used': _policy('access_time', 'access_time = {now}'),
    'least-frequently-used': _policy('access_count', 'access_count = access_count + 1'),
}

_NATIVE_POLICIES = {name: dict(policy) for name, policy in EVICTION_POLICY.items()}


def find_policy(name: str) -> dict[str, str | None] | None:
    """Return the policy of a name if it is of the user's own, None if it is native or unknown."""
    policy = EVICTION_POLICY.get(name)
    return None if policy is None or policy == _NATIVE_POLICIES.get(name) else policy


#: The name of an index, in the `init` of a policy.
_CREATE_INDEX = re.compile(r'\s*CREATE\s+(?:UNIQUE\s+)?INDEX\s+IF\s+NOT\s+EXISTS\s+(\w+)', re.I)


def policy_index(name: str) -> tuple[str | None, str | None]:
    """Return the name of the index that a policy needs, if it is known, and how it is made."""
    policy = find_policy(name)
    if policy is None:
        return _core.POLICY_INDEXES[name]
    found = _CREATE_INDEX.match(policy['init'] or '')
    return found and found[1], policy['init']


#: How many rows a transaction of cull() removes by a policy of the user's own.
CULL_PORTION = 10


def delete_rows(
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
