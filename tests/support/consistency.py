"""What a cache directory must look like when nothing is under way."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import diskcache


def write_at_once(directory: str) -> bool:
    """Write into `directory` without waiting for a lock that was left, and undo it.

    The copying in the background may have it for a moment.
    """
    with diskcache.Cache(directory, timeout=1) as cache:
        return cache.set('written by another process', 1) and cache.delete(
            'written by another process'
        )


def reports(
    cache: diskcache.Cache | diskcache.FanoutCache, fix: bool = False
) -> list[tuple[type[Warning], str]]:
    """Return the categories and the texts of what check() reports."""
    return [(warning.category, str(warning.message)) for warning in cache.check(fix=fix)]


def report_texts(cache: diskcache.Cache | diskcache.FanoutCache, fix: bool = False) -> list[str]:
    """Return the texts of what check() reports."""
    return [text for _, text in reports(cache, fix)]


def value_files(directory: str) -> set[str]:
    """Return the relative paths of all files in `directory` that are no part of the database."""
    return {
        str(path.relative_to(directory))
        for path in Path(directory).rglob('*')
        if path.is_file() and not path.name.startswith('cache.db')
    }


def stored_filenames(cache: diskcache.Cache) -> set[str]:
    """Return the relative paths of the value files that the rows of `cache` name."""
    select = 'SELECT filename FROM Cache WHERE filename IS NOT NULL'
    with closing(sqlite3.connect(f'{cache.directory}/cache.db')) as con:
        return {name for (name,) in con.execute(select)}
