"""Eviction policies: what each means in SQL, and the steps of those that a program has added."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Callable, Iterable, Mapping

from . import _core, sql
from .hints import Any

#: What each policy means, in SQL: `init` is executed when a directory gets the policy, `get` is
#: what a lookup sets in the row that it finds, `cull` selects the rows that go first. Programs may
#: add policies of their own before they open a cache: ``{fields}`` stands for columns, ``{now}``
#: for the time. For those that are here, the native core has its own prepared statements.
EVICTION_POLICY: dict[str, dict[str, str | None]] = {
    name: {'init': create_index, 'get': get, 'cull': cull}
    for name, (_, create_index, get, cull) in _core.POLICIES.items()
}

_NATIVE_POLICIES = {name: tuple(policy.items()) for name, policy in EVICTION_POLICY.items()}


def find_policy(name: str) -> dict[str, str | None] | None:
    """Return the policy of a name if it is of the user's own, None if it is native or unknown.

    Every thread that opens a cache comes here. Without a GIL, `get` and `==` of a dict take its
    lock, and a child that is forked meanwhile waits for that for ever. This takes none.
    """
    if name not in EVICTION_POLICY:
        return None
    policy = EVICTION_POLICY[name]
    native = name in _NATIVE_POLICIES and _NATIVE_POLICIES[name] == tuple(policy.items())
    return None if native else policy


def policy_index(name: str) -> tuple[str | None, str | None]:
    """Return the name of the index that a policy needs, if it is known, and how it is made."""
    policy = find_policy(name)
    if policy is None:
        return _core.POLICIES[name][:2]
    found = re.match(sql.CREATE_INDEX, policy['init'] or '')
    return found and found[1], policy['init']


def change_by_lookup(policy: Mapping[str, str | None], now: float) -> str | None:
    """Return the statement by which a lookup changes its row (?), if the policy has one."""
    return policy['get'] and sql.change_row(policy['get'].format(now=now))


def victims(policy: Mapping[str, str | None], now: float) -> str | None:
    """Return the query for the rows that go first, so many (?); None if none is to go."""
    return policy['cull'] and policy['cull'].format(fields=sql.VICTIM, now=now)


#: How many rows a transaction of cull() removes by a policy of the user's own.
CULL_PORTION = 10


def delete_rows(
    execute: Callable[..., sqlite3.Cursor],
    cleanup: Callable[[str | None], object],
    rows: Iterable[tuple[Any, ...]],
) -> int:
    """Delete rows (rowid, ..., filename); return how many are gone, which a trigger may prevent."""
    count = 0
    for rowid, *_, filename in rows:
        if execute(sql.DELETE_ROW, (rowid,)).rowcount > 0:
            cleanup(filename)
            count += 1
    return count
