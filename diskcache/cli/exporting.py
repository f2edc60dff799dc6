"""``export``: the items of a directory, or of a cache on a server, as a file.

They are in it as they are stored; nothing is unpickled.
"""

from __future__ import annotations

import argparse
import contextlib as cl
import io
import os
import os.path as op
import pickle
import stat
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from .. import sql
from ..directory import path_of
from ..disk import Disk
from ..mismatch import OWN_CLASSES
from . import export_format as form
from .arguments import shard_count
from .commands import Commands
from .errors import DONE, PARTLY, CommandError, LeftOut, UnreadableError
from .items import load, stored_rows
from .output import print_json, progress
from .places import Place, opened
from .servers import add_server_options, connected, is_remote, require_directory
from .stored import Row, Stored, number

if TYPE_CHECKING:
    from ..remote.cache import RemoteCache

_PLAIN_NAME = f'{OWN_CLASSES}Disk'

#: How often a row is read again whose value file has just been removed.
_ATTEMPTS = 5


def register(commands: Commands) -> None:
    """Add the command."""
    export = commands.add(
        'export',
        _export,
        'write the items to a file',
        description='With their tags and expiry, the values in files too, as they are stored:'
        ' nothing is unpickled. Programs need not stop; each item is as it was at some time'
        ' meanwhile (backup has all of one moment). Expired items are left out, and those of a'
        ' SignedDisk, whose signatures hold in their directory alone, but for --unpickle. Exit'
        ' status 3: some items could not be read. From a server an item may be in the file twice.',
        directory='an existing cache, or the URL of a server',
        servers=True,
        json_keys={'items': 'how many are in the file', 'left_out': 'how many are not'},
    )
    export.add_argument('file', metavar='FILE', help='the file (-: standard output)')
    export.add_argument(
        '--unpickle',
        action='store_true',
        help="load each key and value by the directory's Disk, and write it as a Disk would",
    )
    export.add_argument('--disk', metavar='CLASS', help='the class of your own that stored them')
    export.add_argument(
        '--shards',
        type=shard_count,
        metavar='NUMBER',
        help='of a cache on a Cluster: how many it has (without it: 64)',
    )
    add_server_options(export)


def _export(options: argparse.Namespace) -> int:
    left_out = LeftOut()
    export = _export_server if is_remote(options.directory) else _export_directory
    items = export(options, left_out)
    if options.file == '-':
        return PARTLY if left_out.count else DONE
    if options.json:
        print_json({'items': items, 'left_out': left_out.count})
    else:
        print(f'items: {items:,}, left out: {left_out.count:,}')
    return PARTLY if left_out.count else DONE


def _export_directory(options: argparse.Namespace, left_out: LeftOut) -> int:
    """Write the items of a directory; return how many."""
    require_directory(options)
    if options.shards is not None:
        raise CommandError('--shards is for a cache on a Cluster')
    with opened(options.directory, options.disk) as places, _written(options) as file:
        disk = _PLAIN_NAME if options.unpickle else places[0].made_with
        total = sum(len(place.cache) for place in places)
        writer = form.Writer(file, disk, total, time.time())
        with progress() as of_cache:
            told = of_cache(0, '')
            for place in places:
                for row in stored_rows(place, with_values=True):
                    if writer.items % 100 == 0:
                        told('items', writer.items, total)
                    if not _has_expired(row):
                        _export_row(place, row, writer, left_out, options.unpickle)
        writer.end()
        return writer.items


def _export_server(options: argparse.Namespace, left_out: LeftOut) -> int:
    """Write the items of a cache on a server; return how many."""
    with connected(options) as cache, _written(options) as file, progress() as of_cache:
        from . import on_server  # which needs redis-py

        told = of_cache(0, '')
        total = len(cache)
        disk = _PLAIN_NAME if options.unpickle else on_server.made_with(cache)
        writer = form.Writer(file, disk, total, time.time())
        for name, stored, expires in on_server.stored_items(cache, left_out):
            if writer.items % 100 == 0:
                told('items', writer.items, total)
            what = f'item {name!r:.200}'
            try:
                item = _unpickled(cache, name, stored, expires) if options.unpickle else None
                item = item or on_server.item_as_stored(cache, name, stored, expires)
            except UnreadableError as error:
                left_out(what, error)
            else:
                _write(what, *_split(item), writer, left_out)
        writer.end()
        return writer.items


def _unpickled(cache: RemoteCache, name: bytes, stored: bytes, expires: float | None) -> form.Item:
    """Return an item of a server as a Disk would have stored it, having loaded it."""
    from .on_server import item_of

    try:
        key = cache._codec.load_key(name)
        value, tag = cache._codec.load(key, stored)
        database_key, raw = Disk('').put(key)
        held = _stored(value, None)
    except Exception as error:  # a pickle, and a Disk, raise what they like
        raise UnreadableError(f'{type(error).__name__}: {error}') from error
    key_held = _stored(database_key, None) if raw else Stored('pickle', database_key)
    return item_of(key_held, held, tag, expires)


@cl.contextmanager
def _written(options: argparse.Namespace) -> Iterator[BinaryIO]:
    """Give a file to write, which gets its name when all is written."""
    if options.file == '-':
        if sys.stdout.isatty():
            raise CommandError('name a FILE: an export is not for a terminal')
        yield sys.stdout.buffer
        sys.stdout.buffer.flush()
        return
    path = op.realpath(options.file)  # what a link leads to is written, and no link replaced
    directory = options.directory
    if not is_remote(directory) and Path(path).is_relative_to(op.realpath(path_of(directory))):
        raise CommandError(f'it is in the directory that is to be exported: {path}')
    if op.exists(path) and not stat.S_ISREG(os.stat(path).st_mode):
        with open(path, 'wb') as file:
            yield file
        return
    parent, name = op.split(path)
    with tempfile.NamedTemporaryFile(dir=parent, prefix=f'.{name}-', delete=False) as temporary:
        try:
            yield temporary  # type: ignore[misc]
            temporary.close()
            os.replace(temporary.name, path)
        except BaseException:
            os.remove(temporary.name)
            raise


def _has_expired(row: Row) -> bool:
    return row.expire_time is not None and row.expire_time < time.time()


def _item(row: Row, key: Stored, value: Stored, size: int) -> form.Item:
    counted = isinstance(row.access_count, int) and row.access_count >= 0
    return form.Item(
        key,
        value,
        number(row.store_time) or 0.0,
        number(row.expire_time),
        row.tag(),
        number(row.access_time),
        row.access_count if counted else 0,
        size,
    )


class _Gone(Exception):
    """The row is not there any more."""


def _export_row(
    place: Place, row: Row, writer: form.Writer, left_out: LeftOut, unpickle: bool
) -> None:
    what = f'{place.name and place.name + ", "}row {row.rowid}'
    try:
        item, file = _loaded(place, row) if unpickle else _as_stored(place, row)
    except _Gone:
        return
    except UnreadableError as error:
        left_out(what, error)
        return
    _write(what, item, file, writer, left_out)


def _write(
    what: str, item: form.Item, file: BinaryIO | None, writer: form.Writer, left_out: LeftOut
) -> None:
    """Write an item, and what is in its file in parts."""
    with file or cl.nullcontext():
        if not form.fits(item.key, item.tag):
            left_out(what, 'its key or its tag is too long for the format')
            return
        writer.item(item)
        left = item.size if file else 0
        while left:
            data = _read(file, min(left, form.PART_BYTES))
            if not data:
                writer.broken('its value file could not be read to its end')
                left_out(what, 'its value file could not be read to its end')
                return
            writer.part(data)
            left -= len(data)


def _read(file: Any, size: int) -> bytes:
    try:
        return file.read(size)  # type: ignore[no-any-return]
    except OSError:
        return b''


def _as_stored(place: Place, row: Row) -> tuple[form.Item, BinaryIO | None]:
    """Return a row as an export has it, and the file that its value is in, if that is long.

    :raises _Gone: if it has gone
    :raises UnreadableError: if it has no such form
    """
    if row.is_signed:
        raise UnreadableError('it is signed for its directory; --unpickle with --disk loads it')
    for _ in range(_ATTEMPTS):
        if row.filename is None:
            value = row.value()
            return _with_value(row, row.key(), value)
        file = place.open_value(row)
        if file is not None:
            return _with_file(row, file)
        before = row
        row = next(place.rows(sql.WHOLE_ROW, row.rowid), None)  # type: ignore[assignment]
        if row is None:
            raise _Gone
        if row.filename == before.filename:
            break
    raise UnreadableError('its value file is not there, or not whole')


def _with_file(row: Row, file: BinaryIO) -> tuple[form.Item, BinaryIO | None]:
    size, kind = row.size, row.kind()
    if kind not in form.PART_TYPES:
        file.close()
        raise UnreadableError('it is damaged')
    if size > form.PART_BYTES:
        return _item(row, row.key(), Stored(kind), size), file
    with file:
        data = _read(file, size)
    if len(data) != size:
        raise UnreadableError('its value file cannot be read')
    text = data.decode('utf-8', 'surrogateescape') if kind == 'text' else data
    return _with_value(row, row.key(), Stored(kind, text))


def _with_value(row: Row, key: Stored, value: Stored) -> tuple[form.Item, BinaryIO | None]:
    """Return an item with a value that is in memory."""
    if key.kind not in form.KEY_TYPES or value.kind not in form.KEY_TYPES:
        raise UnreadableError('it is damaged, or has no value')
    return _split(_item(row, key, value, 0))


def _split(item: form.Item) -> tuple[form.Item, BinaryIO | None]:
    """Return an item, and its value as a file if that is long."""
    kind, data = item.value
    content = data.encode('utf-8', 'surrogateescape') if isinstance(data, str) else data
    size = len(content) if isinstance(content, bytes) else 0
    if size > form.PART_BYTES:
        return item._replace(value=Stored(kind), size=size), io.BytesIO(content)
    return item._replace(size=size), None


def _loaded(place: Place, row: Row) -> tuple[form.Item, BinaryIO | None]:
    """Return a row as a Disk would have stored it, having loaded it.

    :raises UnreadableError: if it cannot be loaded
    """
    protocol = place.cache.disk.pickle_protocol
    try:
        key, value = load(place, row)
        database_key, raw = Disk('', pickle_protocol=protocol).put(key)
        stored = _stored(value, protocol)
    except Exception as error:  # a pickle, and a Disk, raise what they like
        raise UnreadableError(f'{type(error).__name__}: {error}') from error
    return _with_value(
        row, _stored(database_key, protocol) if raw else Stored('pickle', database_key), stored
    )


def _stored(value: Any, protocol: int | None) -> Stored:
    """Return a value as a Disk would have stored it."""
    if type(value) is str:
        return Stored('text', value)
    if type(value) is bytes:
        return Stored('bytes', value)
    if type(value) is float or (type(value) is int and -(2**63) <= value < 2**63):
        return Stored(type(value).__name__, value)
    return Stored('pickle', pickle.dumps(value, protocol))
