"""``ls``, ``get``, ``set``, ``delete``: the items of a directory."""

from __future__ import annotations

import argparse
import contextlib as cl
import datetime
import itertools as it
import shutil
import sqlite3
import sys
import time
import warnings
from collections.abc import Iterable, Iterator
from typing import Any

from .. import sql
from ..cautions import CacheWarning
from ..disk import StoredKey
from ..fanout import FanoutCache
from ..units import human_size
from .arguments import add_key_options, convert, count, database_text, duration, size
from .commands import Commands
from .errors import DONE, NO, CommandError, tell
from .output import human_seconds, print_json
from .places import Place, opened
from .stored import Row, Stored, as_json, jsonable, shown

#: So many rows are read at a time, so that no reader keeps the log from being reset.
_PAGE_ROWS = 500
_LOWEST = -(2**63)
_DISK_HELP = 'the class, as MODULE.CLASS, that the cache is used with, if it is of your own'

ITEM_KEYS = {
    'key': '``{"type": …, "value": …}``: ``text``, ``int``, ``float``, ``bytes`` (``base64``'
    ' instead of ``value``), ``pickle`` or ``json`` (``value`` if it is of plain objects,'
    ' otherwise ``bytes``, their number, and ``names``)',
    'kind': 'the type of the value',
    'size': 'bytes of the value, as it is stored',
    'file': 'the value file, in the directory of ``shard``; null: the value is in the database',
    'stored': 'when, in seconds since 1970',
    'expires': 'likewise; null: never',
    'accessed': 'likewise, of the last lookup, which least-recently-used keeps',
    'count': 'of lookups, which least-frequently-used keeps',
    'tag': 'as ``key``; null: none',
    'shard': 'of a FanoutCache; empty: none',
}


def register(commands: Commands) -> None:
    """Add the commands."""
    listing = commands.add(
        'ls',
        _ls,
        'list the items',
        description='In the order in which they were stored first, one key on each line. Nothing is'
        ' unpickled. A text stands in quotes if it could be taken for something else.',
        json_keys={**ITEM_KEYS, '': 'one line of JSON for each item'},
    )
    listing.add_argument('--tag', type=database_text, metavar='TAG', help='only with this tag')
    listing.add_argument(
        '--prefix', metavar='TEXT', help='only keys that are texts and begin like this'
    )
    expiry = listing.add_mutually_exclusive_group()
    expiry.add_argument('--expired', action='store_true', help='only those that have expired')
    expiry.add_argument(
        '--expires-within',
        type=duration,
        metavar='TIME',
        help='only those that will, in 90, 15m, 2h, 7d',
    )
    listing.add_argument(
        '--min-size', type=size, metavar='SIZE', help='only values of at least 500, 10k, 5MB, 4MiB'
    )
    listing.add_argument('--max-size', type=size, metavar='SIZE', help='and of at most so much')
    listing.add_argument(
        '--older-than', type=duration, metavar='TIME', help='only those stored before that'
    )
    listing.add_argument(
        '--newer-than', type=duration, metavar='TIME', help='only those stored since then'
    )
    listing.add_argument('--sort', choices=list(sql.SORTED_BY), help='sort them; the lowest first')
    listing.add_argument('--reverse', action='store_true', help='the other way round')
    listing.add_argument('--limit', type=count, metavar='NUMBER', help='so many at most')
    listing.add_argument(
        '-l', '--long', action='store_true', help='also size, age, expiry, type of value, tag'
    )
    listing.add_argument('--disk', metavar='CLASS', help=_DISK_HELP)

    getting = commands.add(
        'get',
        _get,
        'write the value of a key to standard output',
        description='A text and bytes as they are, a number as text. Of a pickle the object, if it'
        ' is made of texts, numbers, bytes, tuples, lists and dicts; of any other a description:'
        ' nothing is loaded without --unpickle. The lookup is not counted. Exit status 1: there is'
        ' no such key, or it has expired.',
        json_keys={**ITEM_KEYS, 'value': 'as ``key``; with ``--unpickle`` the object'},
    )
    getting.add_argument('key', metavar='KEY', help='its key')
    add_key_options(getting)
    how = getting.add_mutually_exclusive_group()
    how.add_argument(
        '--unpickle',
        action='store_true',
        help='load a pickle, which can run whatever code it names, and print its repr',
    )
    how.add_argument('--raw', action='store_true', help='the bytes as they are stored')
    getting.add_argument('--disk', metavar='CLASS', help=_DISK_HELP)

    setting = commands.add(
        'set',
        _set,
        'store a value',
        json_keys={'stored': 'whether it has been'},
    )
    setting.add_argument('key', metavar='KEY', help='its key')
    setting.add_argument(
        'value', metavar='VALUE', help='its value, a text; - is what standard input has'
    )
    add_key_options(setting)
    setting.add_argument(
        '--as',
        dest='value_type',
        choices=('text', 'int', 'float', 'bytes', 'json'),
        default='text',
        help='what VALUE is: bytes are hexadecimal digits, or what standard input has; of JSON the'
        ' object is stored',
    )
    setting.add_argument(
        '--file', action='store_true', help='VALUE is the name of a file, whose bytes are stored'
    )
    setting.add_argument('--expire', type=duration, metavar='TIME', help='for 90, 15m, 2h, 7d')
    setting.add_argument('--tag', type=database_text, metavar='TAG', help='a tag, a text')
    setting.add_argument(
        '--add', action='store_true', help='only if the key is not there; exit status 1 if it is'
    )
    setting.add_argument('--disk', metavar='CLASS', help=_DISK_HELP)

    deleting = commands.add(
        'delete',
        _delete,
        'remove items',
        description='Exit status 1: one of the keys is not there.',
        json_keys={'removed': 'how many items'},
    )
    deleting.add_argument('keys', metavar='KEY', nargs='+', help='their keys')
    add_key_options(deleting)
    deleting.add_argument('--disk', metavar='CLASS', help=_DISK_HELP)


def key_of(options: argparse.Namespace, text: str) -> Any:
    """Return the key that a text stands for.

    :raises CommandError: if it stands for none
    """
    try:
        return convert(text, options.key_type)
    except ValueError as error:
        raise CommandError(str(error)) from error


# --- ls ---


def _ls(options: argparse.Namespace) -> int:
    conditions = _conditions(options)
    with opened(options.directory, options.disk) as places, cl.ExitStack() as stack:
        if options.sort or options.reverse:
            rows = _sorted_rows(places, conditions, options, stack)
        else:
            rows = (
                (place, row) for place in places for row in stored_rows(place, dict(conditions))
            )
        if options.prefix is not None:
            rows = ((place, row) for place, row in rows if _begins(place, row, options.prefix))
        _print_items(it.islice(rows, options.limit), options)
    return DONE


def _conditions(options: argparse.Namespace) -> dict[str, Any]:
    """Return the conditions for rows, and what each compares with."""
    now = time.time()
    found: dict[str, Any] = {}
    if options.tag is not None:
        found[sql.WITH_TAG] = options.tag
    if options.expired:
        found[sql.EXPIRES_BEFORE] = now
    if options.expires_within is not None:
        found[sql.EXPIRES_FROM] = now
        found[sql.EXPIRES_BEFORE] = now + options.expires_within
    if options.min_size is not None:
        found[sql.SIZE_FROM] = options.min_size
    if options.max_size is not None:
        found[sql.SIZE_UP_TO] = options.max_size
    if options.older_than is not None:
        found[sql.STORED_BEFORE] = now - options.older_than
    if options.newer_than is not None:
        found[sql.STORED_AFTER] = now - options.newer_than
    return found


def stored_rows(
    place: Place, conditions: dict[str, Any] | None = None, *, with_values: bool = False
) -> Iterator[Row]:
    """Yield the rows that meet conditions, in the order of their numbers, a page at a time."""
    found = conditions or {}
    select = sql.list_rows(list(found), with_values)
    low = _LOWEST
    page = _PAGE_ROWS // 5 if with_values else _PAGE_ROWS
    while True:
        rows = list(place.rows(select, low, *found.values(), page))
        yield from rows
        if len(rows) < page or rows[-1].rowid == 2**63 - 1:
            return
        low = rows[-1].rowid + 1


def _sorted_rows(
    places: list[Place],
    conditions: dict[str, Any],
    options: argparse.Namespace,
    stack: cl.ExitStack,
) -> Iterator[tuple[Place, Row]]:
    """Yield rows in an order, for which a temporary database on disk has their numbers."""
    order = stack.enter_context(cl.closing(sqlite3.connect('')))
    for statement in sql.CREATE_ORDER:
        order.execute(statement)
    select = sql.order_rows(options.sort or 'stored', list(conditions))
    for number, place in enumerate(places):
        cursor = place.run(select, *conditions.values())
        order.executemany(sql.ADD_SORTED, ((value, number, rowid) for value, rowid in cursor))
    for number, rowid in order.execute(
        sql.READ_SORTED_BACK if options.reverse else sql.READ_SORTED
    ):
        for row in places[number].rows(sql.LISTED_ROW, rowid):  # unless it has gone meanwhile
            yield places[number], row


def _begins(place: Place, row: Row, prefix: str) -> bool:
    key = row.key(place.is_json)
    if key.kind == 'text':
        return bool(key.data.startswith(prefix))
    if key.kind == 'json':
        found = (as_json(key) or {}).get('value')
        return isinstance(found, str) and found.startswith(prefix)
    return False


def item_json(place: Place, row: Row) -> dict[str, Any]:
    """Return what is told of an item, for JSON."""
    return {
        'key': as_json(row.key(place.is_json)),
        'kind': row.kind(place.is_json),
        'size': jsonable(row.size),
        'file': None if row.filename is None else row.filename,
        'stored': jsonable(row.store_time),
        'expires': jsonable(row.expire_time),
        'accessed': jsonable(row.access_time),
        'count': jsonable(row.access_count),
        'tag': as_json(row.tag()),
        'shard': place.name,
    }


def _print_items(rows: Iterable[tuple[Place, Row]], options: argparse.Namespace) -> None:
    if options.json:
        for place, row in rows:
            print_json(item_json(place, row))
        return
    now = time.time()
    for place, row in rows:
        key = shown(row.key(place.is_json))
        print(_long_line(place, row, key, now) if options.long else key)


def _long_line(place: Place, row: Row, key: str, now: float) -> str:
    size = human_size(row.size) if isinstance(row.size, int) else '?'
    stored = '?'
    if isinstance(row.store_time, float | int):
        with cl.suppress(ValueError, OverflowError, OSError):
            stored = datetime.datetime.fromtimestamp(row.store_time).isoformat(' ', 'seconds')
    expires = '-'
    if isinstance(row.expire_time, float | int):
        left = row.expire_time - now
        expires = 'expired' if left < 0 else f'in {human_seconds(left)}'
    tag = shown(row.tag()) or '-'
    kind = row.kind(place.is_json)
    return f'{size:>8}  {stored:19}  {expires:>10}  {kind:7}  {tag:10}  {key}'


# --- get ---


def _get(options: argparse.Namespace) -> int:
    with opened(options.directory, options.disk) as places, cl.ExitStack() as stack:
        found = _find(places, key_of(options, options.key))
        if found is None:
            tell(f'no such key: {options.key}')
            return NO
        place, row, file = found
        if file is not None:
            stack.enter_context(file)
        as_it_is = options.raw or row.kind(place.is_json) == 'bytes'
        if options.unpickle:
            _print_loaded(place, row, options)
        elif options.json:
            value = as_json(place.value_of(row, file))
            print_json({**item_json(place, row), 'value': value})
        elif file is not None and as_it_is and not sys.stdout.isatty():
            shutil.copyfileobj(file, sys.stdout.buffer, 2**20)
        else:
            _write(place.value_of(row, file), options.raw)
    return DONE


def _find(places: list[Place], key: Any) -> tuple[Place, Row, Any] | None:
    """Return the row of a key that has not expired, and its value file, open, if it has one.

    :return: None if there is none
    :raises CommandError: if its value file is not there
    """
    for place in places:
        database_key, raw = place.encoded(key)
        missing = None
        while True:  # a value file that is gone may have been replaced
            rows = [
                row
                for row in place.rows(sql.FOUND_ROW, database_key, raw)
                if row.expire_time is None or row.expire_time >= time.time()
            ]
            if not rows:
                break
            row = rows[0]  # without its unique index a damaged table has several
            file = place.open_value(row)
            if file is not None or row.filename is None:
                return place, row, file
            if row.filename == missing:
                raise CommandError(f'the value file is not there, or not whole: {missing}')
            missing = row.filename
    return None


def _print_loaded(place: Place, row: Row, options: argparse.Namespace) -> None:
    """Load a value by the Disk, and print it."""
    try:
        _, found = load(place, row)
        if options.json:
            found = jsonable(found)
        elif not isinstance(found, str | bytes):
            found = repr(found)
    except Exception as error:  # a pickle raises what it likes, and so does a repr()
        raise CommandError(f'it cannot be loaded: {type(error).__name__}: {error}') from error
    if options.json:
        print_json({**item_json(place, row), 'value': found})
    else:
        _write(Stored('text' if isinstance(found, str) else 'bytes', found), False)


def load(place: Place, row: Row) -> tuple[Any, Any]:
    """Return the key and the value of a row as objects: what is pickled is loaded.

    :raises Exception: whatever the pickle, or the Disk, raises
    """
    disk = place.cache.disk
    database_key: Any = row.key_data
    if row.key_type == 'text':
        database_key = row.key_data.decode('utf-8', 'surrogateescape')
    key = disk.get(database_key, bool(row.raw))
    value: Any = row.value_data
    if row.value_type == 'text':
        value = row.value_data.decode('utf-8', 'surrogateescape')
    fetch_row = getattr(disk, '_fetch_row', None)
    if row.is_signed and fetch_row is not None:
        found = place.cache.get(StoredKey((database_key, bool(row.raw))), default=_GONE, retry=True)
        if found is _GONE:
            raise CommandError('its signature does not hold, or it has gone')
        return key, found
    return key, disk.fetch(row.mode, row.filename, value, False)


_GONE = object()


def _write(value: Stored, raw: bool) -> None:
    """Write a value to standard output; on a terminal, as text that does it no harm."""
    kind, data = value
    if isinstance(data, str) and (raw or not sys.stdout.isatty()):
        data = data.encode('utf-8', 'surrogateescape')
        _write_bytes(data if raw else data + b'\n')
    elif isinstance(data, bytes) and (
        raw or (kind in ('bytes', 'damaged') and not sys.stdout.isatty())
    ):
        _write_bytes(data)
    elif kind == 'text' and all(line.isprintable() for line in data.splitlines()):
        print(data)
    else:
        print(shown(value, None))


def _write_bytes(data: bytes) -> None:
    sys.stdout.flush()
    sys.stdout.buffer.write(data)
    sys.stdout.buffer.flush()


# --- set and delete ---


@cl.contextmanager
def writable(options: argparse.Namespace) -> Iterator[tuple[list[Place], Any]]:
    """Give the shards, and what has the methods of a Cache for all of them."""
    with opened(options.directory, options.disk, writes=True) as places:
        for place in places:
            place.require_disk()
        if len(places) == 1 and not places[0].name:
            yield places, places[0].cache
            return
        with fanout_of(options.directory, places) as cache:
            yield places, cache


@cl.contextmanager
def fanout_of(directory: str, places: list[Place]) -> Iterator[FanoutCache]:
    """Give the FanoutCache whose shards these are."""
    with warnings.catch_warnings():
        warnings.simplefilter('ignore', CacheWarning)
        cache = FanoutCache(
            directory, len(places), timeout=60, disk=type(places[0].cache.disk), on_error='raise'
        )
    with cl.closing(cache):
        yield cache


def _set(options: argparse.Namespace) -> int:
    key = key_of(options, options.key)
    with cl.ExitStack() as stack:
        value, is_file = _given_value(options, stack)
        places, cache = stack.enter_context(writable(options))
        places[0].encoded(key)
        method = cache.add if options.add else cache.set
        try:
            stored = method(
                key, value, expire=options.expire, read=is_file, tag=options.tag, retry=True
            )
        except (TypeError, ValueError, OverflowError) as error:
            raise CommandError(f'it cannot be stored: {error}') from error
    if options.json:
        print_json({'stored': bool(stored)})
    if not stored:
        tell('the key is there' if options.add else 'the value is too large for the cache')
        return NO
    return DONE


def _given_value(options: argparse.Namespace, stack: cl.ExitStack) -> tuple[Any, bool]:
    """Return the value, and whether it is a file to be read."""
    if options.file:
        return stack.enter_context(open(options.value, 'rb')), True
    text = options.value
    if text == '-':
        if options.value_type == 'bytes':
            return sys.stdin.buffer, True
        text = _stdin_text(sys.stdin.buffer)
    try:
        return convert(text, options.value_type), False
    except ValueError as error:
        raise CommandError(str(error)) from error


def _stdin_text(file: Any) -> str:
    try:
        return file.read().decode('utf-8')  # type: ignore[no-any-return]
    except UnicodeDecodeError as error:
        raise CommandError('standard input is no text; --as bytes stores it as it is') from error


def _delete(options: argparse.Namespace) -> int:
    keys = [key_of(options, text) for text in options.keys]
    with writable(options) as (places, cache):
        for key in keys:
            places[0].encoded(key)
        removed = [bool(cache.delete(key, retry=True)) for key in keys]
    if options.json:
        print_json({'removed': sum(removed)})
    for text, done in zip(options.keys, removed, strict=True):
        if not done:
            tell(f'no such key: {text}')
    return DONE if all(removed) else NO
