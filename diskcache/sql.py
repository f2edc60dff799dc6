"""Every SQL text that the Python modules execute. Those of the native core are in src/engine/sql.h.

Values are bound, not formatted in; what is put together here are columns and conditions.
"""

from __future__ import annotations

import pickle
import re
from collections.abc import Sequence

from ._core import (
    MODE_BINARY,
    MODE_PICKLE,
    MODE_RAW,
    MODE_SIGNED,
    MODE_TEXT,
    QUEUE_HIGHEST,
    QUEUE_LOWEST,
)
from .hints import Any

# --- a database ---

INTEGRITY_CHECK = 'PRAGMA integrity_check'
QUICK_CHECK = 'PRAGMA quick_check'
CHECK_SETTINGS = 'PRAGMA integrity_check(Settings)'
REINDEX = 'REINDEX'


def reindex(name: str) -> str:
    """Return the statement that makes one index anew."""
    return f'REINDEX "{name}"'


VACUUM = 'VACUUM'

#: The view that records what a cache was made with, and its text as it stands in the schema.
ORIGIN = 'Cache_origin'
ORIGIN_CREATED = (
    rf"CREATE VIEW {ORIGIN} AS SELECT '((?:[^']|'')*)' AS disk, (NULL|[1-9][0-9]{{0,8}}) AS shards"
)
DROP_ORIGIN = f'DROP VIEW IF EXISTS {ORIGIN}'


def create_origin(disk: str, shards: int | None) -> str:
    """Return the statement that records the name of a Disk and a number of shards."""
    name = disk.replace("'", "''")
    number = 'NULL' if shards is None else shards
    return f"CREATE VIEW IF NOT EXISTS {ORIGIN} AS SELECT '{name}' AS disk, {number} AS shards"


# --- indexes ---

#: The text of an index that can be compared with the table: unique, name, columns, and the one
#: without which a row is not in it.
_INDEX = (
    r'(?i)CREATE (UNIQUE )?INDEX "?(\w+)"? ON "?Cache"? ?\((\w+(?:, ?\w+)?)\)'
    r'(?: WHERE (\w+) IS NOT NULL)?'
)
_INDEXED = frozenset(
    ('key', 'raw', 'store_time', 'expire_time', 'access_time', 'access_count', 'tag', 'rowid')
)
_TABLES = ('Cache', 'Settings')


def _count_twofold(index: str, column: str, where: str) -> str:
    """Return the query that counts the entries of an index that have the same rowid twice.

    An index that names the rowid has it twice in each entry. By the named one entries are found,
    and a query reads the one at the end: so each entry is looked up by what is read of it.

    :param index: name of the index
    :param column: the one before the rowid
    :param where: which rows are in it
    """
    found = where.replace(' WHERE ', ' AND found.')
    return (
        f'SELECT COUNT(*) FROM Cache AS entry INDEXED BY "{index}"'
        f' CROSS JOIN Cache AS found INDEXED BY "{index}" ON found.{column} IS entry.{column}'
        f' AND found.rowid = entry.rowid AND +found.rowid = entry.rowid{found}'
        f'{where.replace("WHERE ", "WHERE entry.")}'
    )


def compare_indexes(schema: dict[str, Any]) -> str | None:
    """Return the query that tells whether the indexes of Cache have its rows in them, in order.

    :param schema: the texts of what is in a database, by names
    :return: None if there is anything in it that is not known here
    """
    table: list[str] = []
    indexes: list[str] = []
    conditions: list[str] = []
    for name, text in schema.items():
        if text is None:
            if name != 'sqlite_autoindex_Settings_1':
                return None
        elif not isinstance(text, str):  # a damaged one is not UTF-8
            return None
        elif text.startswith('CREATE TABLE'):
            if name not in _TABLES:
                return None
        elif re.match('CREATE (UNIQUE )?INDEX', text, re.I):
            match = re.fullmatch(_INDEX, text)
            if match is None or match[2] != name:
                return None
            columns = re.split(', ?', match[3])
            if not _INDEXED.issuperset([*columns, match[4] or columns[0]]) or columns[0] == 'rowid':
                return None
            entry = ', '.join([*columns, 'rowid'])
            where = '' if match[4] is None else f' WHERE {match[4]} IS NOT NULL'
            kept = where and f' FILTER ({where[1:]})'
            number = len(indexes)
            table.append(
                f'COUNT(*){kept} AS count{number}, diskcache_checksum({entry}){kept} AS sum{number}'
            )
            indexes.append(
                f'(SELECT COUNT(*) AS count, diskcache_checksum({entry}) AS sum,'
                f' diskcache_ascends({len(columns) if match[1] else 0}, {entry}) AS ascends'
                f' FROM Cache INDEXED BY "{name}"{where}) AS index{number}'
            )
            conditions.append(
                f'index{number}.ascends AND index{number}.count = count{number}'
                f' AND index{number}.sum = sum{number}'
            )
            if columns[1:] == ['rowid']:
                conditions.append(
                    f'index{number}.count = ({_count_twofold(name, columns[0], where)})'
                )
    if not indexes:
        return None
    return (
        f'SELECT {" AND ".join(conditions)}'
        f' FROM (SELECT {", ".join(table)} FROM Cache NOT INDEXED), {", ".join(indexes)}'
    )


# --- rows ---

DELETE_ROW = 'DELETE FROM Cache WHERE rowid = ?'

# --- rows that are signed ---

_SIGNED = 'key, raw, tag, expire_time, mode, value'
SIGNED_ROW = f'SELECT rowid, {_SIGNED} FROM Cache WHERE key = ? AND raw = ?'
TOUCH_SIGNED = 'UPDATE Cache SET expire_time = ?, value = ? WHERE rowid = ?'
INCREMENT_SIGNED = 'UPDATE Cache SET store_time = ?, mode = ?, value = ? WHERE rowid = ?'
SIGNED_PAGE = f'SELECT rowid, filename, {_SIGNED} FROM Cache WHERE rowid BETWEEN ? AND ?'
SET_VALUE = 'UPDATE Cache SET value = ? WHERE rowid = ?'

# --- eviction policies ---

EXPIRED = 'SELECT rowid, filename FROM Cache WHERE expire_time < ? LIMIT ?'

#: The fields that a policy's `cull` selects.
VICTIM = 'rowid, filename'

#: The name of an index, in the `init` of a policy.
CREATE_INDEX = r'(?i)\s*CREATE\s+(?:UNIQUE\s+)?INDEX\s+IF\s+NOT\s+EXISTS\s+(\w+)'


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
QUEUE_SIGNED = (
    f'SELECT rowid, {_SIGNED} FROM Cache WHERE {_QUEUE} AND key BETWEEN ? AND ? AND rowid > ?'
    ' ORDER BY rowid LIMIT ?'
)
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
INCREASE_SETTING = 'UPDATE Settings SET value = value + ? WHERE key = ?'


COUNT_KEYS = 'SELECT COUNT(key) FROM Cache'
SUM_SIZES = 'SELECT COALESCE(SUM(size), 0) FROM Cache'


def _totals(total: str) -> str:
    """Return the query for what is kept and what is so: both of one moment."""

    def kept(name: str) -> str:
        number = "CASE WHEN typeof(value) IN ('integer', 'real') THEN value END"
        return f"(SELECT {number} FROM Settings WHERE key = '{name}')"

    return f'SELECT {kept("count")}, {kept("size")}, COUNT(key), {total} FROM Cache'


TOTALS = _totals('COALESCE(SUM(size), 0)')
LARGE_TOTALS = _totals('TOTAL(size)')  # where the sum has more than 64 bits

#: All but the last of the rows that have the same key, which an index keeps from being.
DOUBLES = (
    'SELECT rowid, typeof(filename), CAST(filename AS BLOB) FROM (SELECT rowid, filename,'
    ' row_number() OVER (PARTITION BY key, raw ORDER BY store_time DESC, rowid DESC) AS number'
    ' FROM Cache WHERE key IS NOT NULL AND raw IS NOT NULL) WHERE number > 1'
)

#: What follows looks at the rows from one number to another.
_PAGE = 'rowid BETWEEN ? AND ?'


def text_of(column: str) -> str:
    """Return the query for the bytes of a text in a row, and for its file."""
    return f'SELECT CAST({column} AS BLOB), {_FILENAME} FROM Cache WHERE rowid = ?'


def set_column(column: str) -> str:
    """Return the statement that sets a column of a row."""
    return f'UPDATE Cache SET {column} = ? WHERE rowid = ?'


def _no_pickle(column: str) -> str:
    """Return a condition: that a column cannot be a pickle."""
    return f"(typeof({column}) <> 'blob' OR substr({column}, -1) <> x'{pickle.STOP.hex()}')"


#: A file's name as it is stored: it may be no text, or none that Python can read.
_FILENAME = 'typeof(filename), CAST(filename AS BLOB)'
_NO_KEY = 'key IS NULL OR raw IS NULL OR raw NOT IN (0, 1)'

#: Rows that no key can be the key of; with a Disk of this package's also those without a pickle.
WITHOUT_KEY = f'SELECT rowid, {_FILENAME} FROM Cache WHERE {_PAGE} AND ({_NO_KEY})'
WITHOUT_KEY_OR_PICKLE = (
    f'SELECT rowid, {_FILENAME} FROM Cache'
    f' WHERE {_PAGE} AND ({_NO_KEY} OR (raw = 0 AND {_no_pickle("key")}))'
)

#: Columns that are numbers, in the order of the query: it tells for each whether it is none.
NUMBERS = ('expire_time', 'store_time', 'access_time', 'access_count')
_NO_NUMBERS = [f"typeof({column}) IN ('text', 'blob')" for column in NUMBERS]
WITHOUT_NUMBERS = (
    f'SELECT rowid, {_FILENAME}, {", ".join(_NO_NUMBERS)} FROM Cache'
    f' WHERE {_PAGE} AND ({" OR ".join(_NO_NUMBERS)})'
)

FILENAMES = f'SELECT {_FILENAME} FROM Cache WHERE filename IS NOT NULL'
WITH_FILE = (
    f'SELECT rowid, mode, size, {_FILENAME} FROM Cache WHERE {_PAGE} AND filename IS NOT NULL'
)

_IS_SIGNED = f'mode BETWEEN {MODE_SIGNED} AND {MODE_SIGNED + MODE_PICKLE}'
_NO_MODE = (
    "(typeof(mode) NOT IN ('integer', 'null')"
    f' OR (mode NOT BETWEEN 0 AND {MODE_PICKLE} AND NOT {_IS_SIGNED}))'
)
_NOWHERE = (
    f'(filename IS NULL AND (mode IN ({MODE_BINARY}, {MODE_TEXT})'
    f' OR (mode = {MODE_PICKLE} AND value IS NULL)))'
)
_BROKEN = f'(mode = {MODE_PICKLE} AND value IS NOT NULL AND {_no_pickle("value")})'
#: Rows with a mode that is none, without a value, with one that is no pickle, or with the size of
#: no file.
WRONG_VALUES = (
    f'SELECT rowid, {_FILENAME}, {_NO_MODE}, {_NOWHERE}, {_BROKEN} FROM Cache WHERE {_PAGE}'
    f' AND ({_NO_MODE} OR {_NOWHERE} OR {_BROKEN} OR (filename IS NULL AND size IS NOT 0))'
)

#: How many rows a SignedDisk has written, and the first of them.
COUNT_SIGNED = f'SELECT COUNT(*), MIN(rowid) FROM Cache WHERE {_PAGE} AND {_IS_SIGNED}'

PICKLED_KEYS = f'SELECT rowid, key FROM Cache WHERE {_PAGE} AND raw = 0 AND NOT {_no_pickle("key")}'
PICKLED_VALUES = (
    f'SELECT rowid, CAST(key AS BLOB), typeof(key), value FROM Cache WHERE {_PAGE}'
    f' AND mode = {MODE_PICKLE} AND value IS NOT NULL AND NOT {_no_pickle("value")}'
)
#: Keys and values that are stored as they are, and the bytes of those that are bytes.
RAW_KEYS = f"SELECT rowid, key FROM Cache WHERE {_PAGE} AND raw = 1 AND typeof(key) = 'blob'"
RAW_VALUES = (
    "SELECT rowid, CAST(key AS BLOB), typeof(key), CASE typeof(value) WHEN 'blob' THEN value END"
    f' FROM Cache WHERE {_PAGE} AND mode = {MODE_RAW}'
)
RAW_FILES = (
    f'SELECT rowid, CAST(key AS BLOB), typeof(key), {_FILENAME} FROM Cache WHERE {_PAGE}'
    f' AND mode IN ({MODE_BINARY}, {MODE_TEXT}) AND filename IS NOT NULL'
)
PICKLED_FILES = (
    f'SELECT rowid, CAST(key AS BLOB), typeof(key), {_FILENAME} FROM Cache WHERE {_PAGE}'
    f' AND mode = {MODE_PICKLE} AND value IS NULL AND filename IS NOT NULL'
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
ALL_SETTINGS = 'SELECT key, value FROM Settings'
SALVAGED_SETTINGS = 'SELECT key, value FROM damaged.Settings NOT INDEXED'
RECOVERED_SETTINGS = 'SELECT key, value FROM recovered.Settings NOT INDEXED'
SALVAGED_ORIGIN = 'SELECT name, sql FROM damaged.sqlite_master WHERE name = ?'
SALVAGED_INDEX = (
    'SELECT _rowid_, typeof(key), CAST(key AS BLOB), raw FROM damaged.Cache'
    ' INDEXED BY Cache_key_raw'
)
SALVAGED_INDEX_BACK = f'{SALVAGED_INDEX} ORDER BY key DESC, raw DESC'
#: In a damaged schema the column `rowid` may not be the number of a row; `_rowid_` always is.
SALVAGED_ROWIDS_FROM = (
    'SELECT _rowid_ FROM damaged.Cache NOT INDEXED WHERE _rowid_ >= ? ORDER BY _rowid_'
)
SALVAGED_ROWIDS_BACK = 'SELECT _rowid_ FROM damaged.Cache NOT INDEXED ORDER BY _rowid_ DESC'

_COLUMNS_BEHIND = (
    'key, raw, store_time, expire_time, access_time, access_count, tag, size, mode, filename, value'
)
_COLUMNS = f'rowid, {_COLUMNS_BEHIND}'
#: What is found is a row of a cache.
_IS_ROW = (
    "typeof(raw) = 'integer' AND raw IN (0, 1) AND typeof(mode) = 'integer' AND key IS NOT NULL"
)
#: Of two rows of one key, which only a damaged index lets be, the later one is taken.
_SALVAGE = (
    f'INSERT OR REPLACE INTO main.Cache ({_COLUMNS}) SELECT _rowid_, {_COLUMNS_BEHIND}'
    f' FROM damaged.Cache AS found NOT INDEXED WHERE {_IS_ROW} AND _rowid_'
)
SALVAGE_ROWS = f'{_SALVAGE} BETWEEN ? AND ?'
#: The same for one, which does not look at the row behind it.
SALVAGE_ROW = (
    f'{_SALVAGE} = ? AND NOT EXISTS (SELECT 1 FROM main.Cache AS other WHERE other.key = found.key'
    ' AND other.raw = found.raw AND other.rowid > found._rowid_)'
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


# --- check: the names of files, in a database of its own that SQLite keeps on disk ---

CREATE_NAMES = (
    'PRAGMA cache_size = -1000',
    'PRAGMA journal_mode = OFF',
    'PRAGMA synchronous = OFF',
    'CREATE TABLE Name (name BLOB PRIMARY KEY) WITHOUT ROWID',
)
ADD_NAME = 'INSERT OR IGNORE INTO Name VALUES (?)'
HAS_NAME = 'SELECT 1 FROM Name WHERE name = ?'
COUNT_NAMES = 'SELECT COUNT(*) FROM Name'

# --- compact ---

CHECKPOINT = 'PRAGMA wal_checkpoint(PASSIVE)'
TRUNCATE_LOG = 'PRAGMA wal_checkpoint(TRUNCATE)'


def busy_timeout(seconds: float) -> str:
    """Return the statement that says how long SQLite itself waits for a lock."""
    return f'PRAGMA busy_timeout = {round(1000 * seconds)}'


# --- serve: what a page shows of a database, whatever is in its columns ---

#: How a database is opened: nothing is changed, and nothing run that the schema names.
SHOW_SAFELY = ('PRAGMA trusted_schema = 0', 'PRAGMA query_only = 1', 'BEGIN')

SHOWN_SETTINGS = (
    'SELECT substr(CAST(key AS TEXT), 1, 100),'
    " CASE WHEN typeof(value) IN ('text', 'blob') THEN substr(value, 1, 1000) ELSE value END"
    ' FROM Settings LIMIT 200'
)
SHOWN_PAGES = 'SELECT page_count * page_size FROM pragma_page_count, pragma_page_size'
SHOWN_ORIGIN = "SELECT substr(sql, 1, 10000) FROM sqlite_master WHERE type = 'view' AND name = ?"

_SHOWN_BYTES = (
    "COALESCE(CAST(CASE WHEN filename IS NOT NULL THEN size WHEN typeof(value) = 'blob'"
    " THEN length(value) WHEN typeof(value) = 'text' THEN length(CAST(value AS BLOB))"
    ' WHEN value IS NOT NULL THEN 8 END AS INTEGER), 0)'
)
_SHOWN_NUMBERS = ('raw', 'store_time', 'expire_time', 'access_time', 'access_count')


def _shown_number(column: str) -> str:
    """Return a column that is a number, or the type of what is there instead."""
    return f"CASE WHEN typeof({column}) IN ('text', 'blob') THEN typeof({column}) ELSE {column} END"


def _shown(key_bytes: int) -> str:
    """Return the columns that are shown of a row, and so many bytes of its key.

    The substr() of no bytes is NULL.
    """
    return (
        'rowid, typeof(key),'
        f" COALESCE(substr(CAST(key AS BLOB), 1, {key_bytes}), x''),"
        ' COALESCE(length(CAST(key AS BLOB)), 0),'
        f' {", ".join(map(_shown_number, _SHOWN_NUMBERS))},'
        " typeof(tag), CASE WHEN typeof(tag) IN ('integer', 'real') THEN tag"
        f" ELSE COALESCE(substr(CAST(tag AS BLOB), 1, 200), x'') END, {_shown_number('mode')},"
        ' CASE WHEN filename IS NOT NULL THEN'
        " COALESCE(substr(CAST(filename AS BLOB), 1, 4096), x'') END,"
        f' typeof(value), {_SHOWN_BYTES}'
    )


SHOWN = _shown(300)
SHOWN_ITEM = f'SELECT {_shown(2**16)} FROM Cache WHERE rowid = ?'
SHOWN_VALUE = 'SELECT substr(CAST(value AS BLOB), ?, ?) FROM Cache WHERE rowid = ?'
SHOWN_FORWARD = f'SELECT {SHOWN} FROM Cache WHERE rowid >= ? ORDER BY rowid LIMIT ?'
SHOWN_BACKWARD = f'SELECT {SHOWN} FROM Cache WHERE rowid <= ? ORDER BY rowid DESC LIMIT ?'
SHOWN_ROW = f'SELECT {SHOWN} FROM Cache WHERE rowid = ?'
#: Each row's number, and whether what is looked for is in it.
CONTAINING_FORWARD = (
    'SELECT rowid, instr(CAST(key AS BLOB), ?) FROM Cache WHERE rowid >= ? ORDER BY rowid'
)
CONTAINING_BACKWARD = (
    'SELECT rowid, instr(CAST(key AS BLOB), ?) FROM Cache WHERE rowid <= ? ORDER BY rowid DESC'
)
TAGGED_FORWARD = 'SELECT rowid, tag IS ? FROM Cache WHERE rowid >= ? ORDER BY rowid'
TAGGED_BACKWARD = 'SELECT rowid, tag IS ? FROM Cache WHERE rowid <= ? ORDER BY rowid DESC'
#: Keys in their order, from one to another, by the index of keys.
KEYS_BETWEEN = f'SELECT {SHOWN} FROM Cache WHERE key >= ? AND key < ? ORDER BY key, raw LIMIT ?'
KEYS_FROM_ROW = (
    f'SELECT {SHOWN} FROM Cache WHERE (key, raw) >= (SELECT key, raw FROM Cache WHERE rowid = ?)'
    ' AND key < ? ORDER BY key, raw LIMIT ?'
)
KEY_KIND = 'SELECT typeof(key) FROM Cache WHERE rowid = ?'
NEXT_TO_EXPIRE = (
    f'SELECT {SHOWN} FROM Cache WHERE expire_time IS NOT NULL ORDER BY expire_time LIMIT ?'
)
SHOWN_ENDS = 'SELECT (SELECT MIN(rowid) FROM Cache), (SELECT MAX(rowid) FROM Cache)'
SHOWN_FIGURES = (
    f'SELECT {_SHOWN_BYTES}, {_shown_number("store_time")}, {_shown_number("expire_time")}'
    ' FROM Cache'
    ' WHERE rowid BETWEEN ? AND ? ORDER BY rowid LIMIT ?'
)
#: A row that is to be deleted if it is still the one that was shown.
DELETED_ROW = (
    'SELECT typeof(key), CAST(key AS BLOB), raw, typeof(filename), CAST(filename AS BLOB)'
    ' FROM Cache WHERE rowid = ?'
)


# --- the command line: rows as they are stored ---


def _stored(column: str) -> str:
    """Return the field for what a column has; a text as bytes, which may be no UTF-8."""
    return f"CASE typeof({column}) WHEN 'text' THEN CAST({column} AS BLOB) ELSE {column} END"


def _number_in(column: str) -> str:
    """Return the field for a number in a column; NULL if there is something else in it."""
    return f"CASE WHEN typeof({column}) IN ('integer', 'real') THEN {column} END"


#: Bytes of a value, wherever it is.
_VALUE_BYTES = (
    'CASE WHEN filename IS NULL THEN COALESCE(length(CAST(value AS BLOB)), 0)'
    f' ELSE {_number_in("size")} END'
)
_TIMES = ', '.join(map(_number_in, ('store_time', 'expire_time', 'access_time', 'access_count')))
_LISTED = (
    f'rowid, typeof(key), {_stored("key")}, {_number_in("raw")}, {_TIMES},'
    f' typeof(tag), {_stored("tag")}, {_number_in("mode")}, {_FILENAME}, {_VALUE_BYTES},'
    ' typeof(value)'
)
_LISTED_VALUE = f'{_LISTED}, {_stored("value")}'

#: Conditions for rows; each has one parameter.
WITH_TAG = 'CAST(tag AS TEXT) = ?'
EXPIRES_BEFORE = 'expire_time < ?'
EXPIRES_FROM = 'expire_time >= ?'
STORED_BEFORE = 'store_time < ?'
STORED_AFTER = 'store_time > ?'
SIZE_FROM = f'{_VALUE_BYTES} >= ?'
SIZE_UP_TO = f'{_VALUE_BYTES} <= ?'

#: What rows can be sorted by.
SORTED_BY = {
    'key': _stored('key'),
    'size': _VALUE_BYTES,
    'stored': _number_in('store_time'),
    'expires': _number_in('expire_time'),
    'accessed': _number_in('access_time'),
    'count': _number_in('access_count'),
    'tag': _stored('tag'),
}


def list_rows(conditions: Sequence[str], with_values: bool = False) -> str:
    """Return the query for the rows from a number on that meet conditions, up to so many."""
    where = ' AND '.join(['rowid >= ?', *conditions])
    fields = _LISTED_VALUE if with_values else _LISTED
    return f'SELECT {fields} FROM Cache WHERE {where} ORDER BY rowid LIMIT ?'


def order_rows(name: str, conditions: Sequence[str]) -> str:
    """Return the query for what rows are to be sorted by, and their numbers."""
    where = f' WHERE {" AND ".join(conditions)}' if conditions else ''
    return f'SELECT {SORTED_BY[name]}, rowid FROM Cache{where}'


LISTED_ROW = f'SELECT {_LISTED} FROM Cache WHERE rowid = ?'
FOUND_ROW = f'SELECT {_LISTED_VALUE} FROM Cache WHERE key = ? AND raw = ?'
WHOLE_ROW = f'SELECT {_LISTED_VALUE} FROM Cache WHERE rowid = ?'
MOST_COUNTED = f'SELECT {_LISTED} FROM Cache ORDER BY access_count DESC LIMIT ?'
LAST_ACCESSED = f'SELECT {_LISTED} FROM Cache ORDER BY access_time DESC LIMIT ?'
COUNT_EXPIRED = 'SELECT COUNT(*) FROM Cache WHERE expire_time < ?'
FREE_PAGES = 'PRAGMA freelist_count'

#: Rows in the order in which they are to be shown, in a database that SQLite keeps on disk.
CREATE_ORDER = (
    'PRAGMA cache_size = -1000',
    'PRAGMA journal_mode = OFF',
    'PRAGMA synchronous = OFF',
    'CREATE TABLE Sorted (value, shard INTEGER, number INTEGER)',
)
ADD_SORTED = 'INSERT INTO Sorted VALUES (?, ?, ?)'
READ_SORTED = 'SELECT shard, number FROM Sorted ORDER BY value, shard, number'
READ_SORTED_BACK = 'SELECT shard, number FROM Sorted ORDER BY value DESC, shard DESC, number DESC'

# --- the command line: backup, import ---

BEGIN = 'BEGIN'
JOURNAL_MODE = 'PRAGMA journal_mode'
SCHEMA_VERSION = 'SELECT COUNT(*) FROM sqlite_master'
SIZED_FILENAMES = f'SELECT size, {_FILENAME} FROM Cache WHERE filename IS NOT NULL'

IMPORTED_KEY = (
    'SELECT rowid, store_time, expire_time, filename FROM Cache WHERE key = ? AND raw = ?'
)
_IMPORTED = (
    'store_time',
    'expire_time',
    'access_time',
    'access_count',
    'tag',
    'size',
    'mode',
    'filename',
    'value',
)
IMPORT_NEW = (
    f'INSERT INTO Cache ({", ".join(_IMPORTED)}, key, raw)'
    f' VALUES ({", ".join("?" * (len(_IMPORTED) + 2))})'
)
IMPORT_OVER = f'UPDATE Cache SET {", ".join(f"{name} = ?" for name in _IMPORTED)} WHERE rowid = ?'
