"""Every SQL text that the Python modules execute. Those of the native core are in src/engine/sql.h.

Values are bound, not formatted in; what is put together here are columns and conditions.
"""

from __future__ import annotations

import pickle
import re

from ._core import MODE_BINARY, MODE_PICKLE, MODE_TEXT, QUEUE_HIGHEST, QUEUE_LOWEST

# --- a database ---

INTEGRITY_CHECK = 'PRAGMA integrity_check'
VACUUM = 'VACUUM'

#: The view that records what a cache was made with, and its text as it stands in the schema.
ORIGIN = 'Cache_origin'
ORIGIN_CREATED = re.compile(
    rf"CREATE VIEW {ORIGIN} AS SELECT '((?:[^']|'')*)' AS disk, (NULL|[1-9][0-9]{{0,8}}) AS shards"
)
DROP_ORIGIN = f'DROP VIEW IF EXISTS {ORIGIN}'


def create_origin(disk: str, shards: int | None) -> str:
    """Return the statement that records the name of a Disk and a number of shards."""
    name = disk.replace("'", "''")
    number = 'NULL' if shards is None else shards
    return f"CREATE VIEW IF NOT EXISTS {ORIGIN} AS SELECT '{name}' AS disk, {number} AS shards"


# --- rows ---

DELETE_ROW = 'DELETE FROM Cache WHERE rowid = ?'
DROP_TAG = 'UPDATE Cache SET tag = NULL WHERE rowid = ?'
SET_SIZE = 'UPDATE Cache SET size = ? WHERE rowid = ?'

# --- eviction policies ---

EXPIRED = 'SELECT rowid, filename FROM Cache WHERE expire_time < ? LIMIT ?'

#: The fields that a policy's `cull` selects.
VICTIM = 'rowid, filename'

#: The name of an index, in the `init` of a policy.
CREATE_INDEX = re.compile(r'\s*CREATE\s+(?:UNIQUE\s+)?INDEX\s+IF\s+NOT\s+EXISTS\s+(\w+)', re.I)


def change_row(columns: str) -> str:
    """Return the statement that makes the change of a policy's `get` to a row."""
    return f'UPDATE Cache SET {columns} WHERE rowid = ?'


# --- Deque: the items of a queue, and items by their position ---

_INTEGER = "raw = 1 AND typeof(key) = 'integer'"
_QUEUE = f'{_INTEGER} AND key > {QUEUE_LOWEST} AND key < {QUEUE_HIGHEST}'

#: The lowest and the highest key of the queue, by two steps in the index.
QUEUE_ENDS = (
    f'SELECT (SELECT key FROM Cache WHERE {_QUEUE} ORDER BY key LIMIT 1),'
    f' (SELECT key FROM Cache WHERE {_QUEUE} ORDER BY key DESC LIMIT 1)'
)
QUEUE_MIRROR = f'UPDATE Cache SET key = ? - key WHERE {_QUEUE}'
QUEUE_NTH = f'SELECT key FROM Cache WHERE {_QUEUE} ORDER BY key LIMIT 1 OFFSET ?'
QUEUE_NTH_LAST = f'SELECT key FROM Cache WHERE {_QUEUE} ORDER BY key DESC LIMIT 1 OFFSET ?'
QUEUE_SHIFT = f'UPDATE Cache SET key = key + ? WHERE {_INTEGER} AND key BETWEEN ? AND ?'

NTH = 'SELECT key, raw FROM Cache WHERE key IS NOT NULL ORDER BY key, raw LIMIT 1 OFFSET ?'
NTH_LAST = (
    'SELECT key, raw FROM Cache WHERE key IS NOT NULL ORDER BY key DESC, raw DESC LIMIT 1 OFFSET ?'
)

# --- Index: items in the order of their rowids ---

ROWID = 'SELECT rowid FROM Cache WHERE key = ? AND raw = ?'
ROWID_RANGE = 'SELECT MIN(rowid), MAX(rowid), COUNT(*) FROM Cache'
ROWID_NEGATE = 'UPDATE Cache SET rowid = -rowid'
ROWID_MIRROR = 'UPDATE Cache SET rowid = ? - rowid'
ROWID_CHANGE = 'UPDATE Cache SET rowid = ? WHERE rowid = ?'

# --- check ---

DELETE_SETTING = 'DELETE FROM Settings WHERE CAST(key AS BLOB) = CAST(? AS BLOB)'
REPLACE_SETTING = 'INSERT OR REPLACE INTO Settings VALUES (?, ?)'

COUNT_KEYS = 'SELECT COUNT(key) FROM Cache'
SUM_SIZES = 'SELECT COALESCE(SUM(size), 0) FROM Cache'
TOTAL_SIZES = 'SELECT TOTAL(size) FROM Cache'  # where the sum has more than 64 bits


def text_of(column: str) -> str:
    """Return the query for the bytes of a text in a row."""
    return f'SELECT CAST({column} AS BLOB) FROM Cache WHERE rowid = ?'


def _no_pickle(column: str) -> str:
    """Return a condition: that a column cannot be a pickle."""
    return f"(typeof({column}) <> 'blob' OR substr({column}, -1) <> x'{pickle.STOP.hex()}')"


#: A file's name as it is stored: it may be no text, or none that Python can read.
_FILENAME = 'typeof(filename), CAST(filename AS BLOB)'
_FILENAMES = f'SELECT rowid, {_FILENAME} FROM Cache WHERE'
_NO_KEY = 'key IS NULL OR raw IS NULL OR raw NOT IN (0, 1)'

FILENAME = f'{_FILENAMES} rowid = ?'
#: Rows that no key can be the key of; with a Disk of this package's also those without a pickle.
WITHOUT_KEY = f'{_FILENAMES} {_NO_KEY}'
WITHOUT_KEY_OR_PICKLE = f'{_FILENAMES} {_NO_KEY} OR (raw = 0 AND {_no_pickle("key")})'

WITH_FILE = f'SELECT rowid, mode, size, {_FILENAME} FROM Cache WHERE filename IS NOT NULL'

_NOWHERE = (
    f'filename IS NULL AND (mode IN ({MODE_BINARY}, {MODE_TEXT})'
    f' OR (mode = {MODE_PICKLE} AND value IS NULL))'
)
_BROKEN = f'mode = {MODE_PICKLE} AND value IS NOT NULL AND {_no_pickle("value")}'
#: Rows without a value, with one that is no pickle, or with the size of no file.
WRONG_VALUES = (
    f'SELECT rowid, {_NOWHERE}, {_BROKEN} FROM Cache'
    f' WHERE ({_NOWHERE}) OR ({_BROKEN}) OR (filename IS NULL AND size IS NOT 0)'
)

PICKLED_KEYS = f'SELECT rowid, key FROM Cache WHERE raw = 0 AND NOT {_no_pickle("key")}'
PICKLED_VALUES = (
    'SELECT rowid, CAST(key AS BLOB), typeof(key), value FROM Cache'
    f' WHERE mode = {MODE_PICKLE} AND value IS NOT NULL AND NOT {_no_pickle("value")}'
)
PICKLED_FILES = (
    f'SELECT rowid, CAST(key AS BLOB), typeof(key), {_FILENAME} FROM Cache'
    f' WHERE mode = {MODE_PICKLE} AND value IS NULL AND filename IS NOT NULL'
)

# --- salvage: from the copy of a damaged database, and from what the program sqlite3 finds ---

ATTACH = 'ATTACH ? AS ?'


#: Whether a database can be read at all, and has the table of a cache.
HAS_TABLE = "SELECT COUNT(*) FROM sqlite_master WHERE type = 'table' AND name = 'Cache'"


def set_pragma(name: str, value: int | str) -> str:
    return f'PRAGMA {name} = {value}'


def drop_trigger(name: str) -> str:
    return f'DROP TRIGGER {name}'


ALL_ROWIDS = 'SELECT rowid FROM Cache'
SALVAGED_SETTINGS = 'SELECT key, value FROM damaged.Settings NOT INDEXED'
RECOVERED_SETTINGS = 'SELECT key, value FROM recovered.Settings NOT INDEXED'
SALVAGED_ORIGIN = 'SELECT name, sql FROM damaged.sqlite_master WHERE name = ?'
SALVAGED_INDEX = (
    'SELECT rowid, typeof(key), CAST(key AS BLOB), raw FROM damaged.Cache INDEXED BY Cache_key_raw'
)
SALVAGED_INDEX_BACK = f'{SALVAGED_INDEX} ORDER BY key DESC, raw DESC'
SALVAGED_ROWIDS_FROM = 'SELECT rowid FROM damaged.Cache NOT INDEXED WHERE rowid >= ? ORDER BY rowid'
SALVAGED_ROWIDS_BACK = 'SELECT rowid FROM damaged.Cache NOT INDEXED ORDER BY rowid DESC'

_COLUMNS = (
    'rowid, key, raw, store_time, expire_time, access_time, access_count, tag, size, mode,'
    ' filename, value'
)
#: What is found is a row of a cache.
_IS_ROW = (
    "typeof(raw) = 'integer' AND raw IN (0, 1) AND typeof(mode) = 'integer' AND key IS NOT NULL"
)
#: Of two rows of one key, which only a damaged index lets be, the later one is taken.
_SALVAGE = (
    f'INSERT OR REPLACE INTO main.Cache ({_COLUMNS}) SELECT {_COLUMNS}'
    f' FROM damaged.Cache AS found NOT INDEXED WHERE {_IS_ROW} AND rowid'
)
SALVAGE_ROWS = f'{_SALVAGE} BETWEEN ? AND ?'
#: The same for one, which does not look at the row behind it.
SALVAGE_ROW = (
    f'{_SALVAGE} = ? AND NOT EXISTS (SELECT 1 FROM main.Cache AS other WHERE other.key = found.key'
    ' AND other.raw = found.raw AND other.rowid > found.rowid)'
)
RECOVERED_ROWS = 'recovered.Cache'
#: Rows of pages to which nothing leads: the columns have lost their names.
LOST_ROWS = (
    '(SELECT id AS rowid, c1 AS key, c2 AS raw, c3 AS store_time, c4 AS expire_time,'
    ' c5 AS access_time, c6 AS access_count, c7 AS tag, c8 AS size, c9 AS mode, c10 AS filename,'
    ' c11 AS value FROM recovered.lost_and_found WHERE nfield = 12 AND c0 IS NULL)'
)


def rowids_of(rows: str) -> str:
    """Return the query for the numbers of recovered rows."""
    return f'SELECT rowid FROM {rows} WHERE {_IS_ROW} ORDER BY rowid DESC'


def recover_row(rows: str) -> str:
    """Return the statement that adds a recovered row, unless its number or its key is there."""
    return (
        f'INSERT OR IGNORE INTO main.Cache ({_COLUMNS}) SELECT {_COLUMNS}'
        f' FROM {rows} WHERE rowid = ? AND {_IS_ROW}'
    )
