"""``import``: the items of an export, into a directory or a cache on a server.

Items go as they are stored, so that nothing is unpickled, into a directory whose Disk stores them
in the same way. Between Disks that differ they are made objects: JSON and what is plain is, and
pickles with ``--unpickle``.

On a server items are stored in portions. What has been stored stays if the connection is lost; the
same import once more stores the same again, and the rest.
"""

from __future__ import annotations

import argparse
import contextlib as cl
import functools as ft
import os
import os.path as op
import pickle
import sqlite3
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from typing import Any, BinaryIO, Protocol

from .. import _core, sql
from .._core import Timeout
from ..cache import Cache
from ..cautions import CacheWarning
from ..constants import MODE_BINARY, MODE_PICKLE, MODE_RAW, MODE_TEXT
from ..directory import is_lasting, path_of, sync_directory
from ..disk import Disk, JSONDisk
from ..fanout import FanoutCache
from ..mismatch import OWN_CLASSES
from ..safedisk import SafeDisk
from . import export_format as form
from .arguments import shard_count
from .commands import Commands
from .errors import DONE, PARTLY, CommandError, Counts, LeftOut, UnreadableError
from .items import writable
from .output import print_json, progress
from .places import Place, existing, is_fanout, named_disk
from .servers import add_server_options, connected, is_remote, require_directory
from .stored import NoLiteralError, Stored, literal, number, unpacked_json

_PLAIN_NAME = f'{OWN_CLASSES}Disk'
_JSON_NAME = f'{OWN_CLASSES}JSONDisk'

#: A transaction of an import has so many items at most, and about so many bytes.
_BATCH_ITEMS, _BATCH_BYTES = 500, 2**22


def register(commands: Commands) -> None:
    """Add the command."""
    importing = commands.add(
        'import',
        _import,
        'store the items of an export',
        description='In addition to those that are there. A file is looked at as a whole before'
        ' anything is stored; standard input is stored as far as it is right. Import what you trust'
        ' alone: a program that reads a pickle runs what it says. Exit status 3: some items were'
        ' left out.',
        directory='an existing cache, or the URL of a server',
        servers=True,
        json_keys={
            'stored': 'items that are new',
            'replaced': 'items whose key was there',
            'kept': 'items that were not stored, for their key was there',
            'expired': 'items that have expired since',
            'left_out': 'items that could not be stored',
        },
    )
    importing.add_argument('file', metavar='FILE', help='the file (-: standard input)')
    importing.add_argument(
        '--on-conflict',
        choices=('keep', 'replace', 'newer'),
        default='replace',
        help='of a key that is there: keep it, replace it (the default), or have what was stored'
        ' later',
    )
    importing.add_argument('--no-pickles', action='store_true', help='leave out what is pickled')
    importing.add_argument(
        '--unpickle',
        action='store_true',
        help='load pickles for a directory whose Disk stores in another way; it can run code',
    )
    importing.add_argument('--create', action='store_true', help='make the directory')
    importing.add_argument(
        '--shards',
        type=shard_count,
        metavar='NUMBER',
        help='with --create: a FanoutCache of so many; of a cache on a Cluster: how many it has'
        ' (without it: 64)',
    )
    importing.add_argument('--disk', metavar='CLASS', help='the class of your own to store by')
    add_server_options(importing)


class Target(Protocol):
    """What items are stored in."""

    def begin(self, item: form.Item) -> None:
        """Take an item; the parts of its value follow, if it has any."""

    def part(self, data: bytes) -> None:
        """Take a part of the value."""

    def finish(self) -> None:
        """Take the item whose value is whole."""

    def drop(self) -> None:
        """Forget the item whose value is not whole."""

    def flush(self) -> None:
        """Store what waits."""

    def abandon(self) -> None:
        """Forget what waits."""


class _Direct:
    """Stores items in a directory as they are in the export."""

    def __init__(self, places: list[Place], policy: str, unpickle: bool, counts: Counts) -> None:
        self._places = places
        self._policy = policy
        self._unpickle = unpickle
        self._counts = counts
        #: Whether a commit waits for the disk; then the files have to be there before.
        self._lasting = [is_lasting(place.cache.reset('sqlite_synchronous')) for place in places]
        self._hash = Disk('').hash
        #: For each shard the rows that wait to be stored, and the bytes in them.
        self._waiting: list[list[tuple[form.Item, tuple[Any, ...]]]] = [[] for _ in places]
        self._bytes = 0
        #: The item whose value is being written: with its shard and the name of its file.
        self._open: tuple[form.Item, int, str] | None = None
        self._file: Any = None

    def begin(self, item: form.Item) -> None:
        """Take an item; the parts of its value follow, if it has any."""
        for stored in (item.key, item.tag, item.value):
            _require_utf8(stored)
        if item.key.kind == 'pickle':
            item = item._replace(key=self._key(item.key.data))
        shard = self._hash(item.key.data) % len(self._places)
        disk = self._places[shard].cache.disk
        if not item.in_parts and not self._belongs_into_a_file(item, disk):
            mode = MODE_PICKLE if item.value.kind == 'pickle' else MODE_RAW
            self._add(shard, item, (0, mode, None, item.value.data))
            return
        name, _ = _core.Disk.filename(disk)
        self._open = item, shard, name  # before there is a file: Ctrl-C may come in between
        self._file = os.fdopen(disk._create_file(name), 'wb')
        if not item.in_parts:
            data = item.value.data
            self.part(data.encode() if isinstance(data, str) else data)
            self.finish()

    def _key(self, pickled: bytes) -> Stored:
        """Return a key as programs look it up: pickled with the protocol of the directory.

        :raises UnreadableError: if it has to be unpickled for that and is not to be
        """
        disk = self._places[0].cache.disk
        if _protocol(pickled) == _protocol(disk.put(())[0]):
            return Stored('pickle', pickled)
        data, _ = disk.put(_unpickled(pickled, self._unpickle, pickle.loads))
        return Stored('pickle', bytes(data))

    def _belongs_into_a_file(self, item: form.Item, disk: Disk) -> bool:
        data = item.value.data
        return isinstance(data, str | bytes) and len(data) >= disk.min_file_size

    def part(self, data: bytes) -> None:
        """Take a part of the value."""
        self._file.write(data)

    def finish(self) -> None:
        """Store the item whose value is whole."""
        assert self._open is not None
        item, shard, name = self._open
        if self._lasting[shard]:
            self._sync(shard, name)
        self._file.close()
        modes = {'pickle': MODE_PICKLE, 'text': MODE_TEXT}
        self._add(shard, item, (item.size, modes.get(item.value.kind, MODE_BINARY), name, None))
        self._open = None

    def _sync(self, shard: int, name: str) -> None:
        """Have the disk keep the file, and the directories that lead to it."""
        self._file.flush()
        os.fsync(self._file.fileno())
        directory = self._places[shard].cache.directory
        path = op.dirname(op.join(directory, name))
        while len(path) >= len(directory):
            sync_directory(path)
            path = op.dirname(path)

    def drop(self) -> None:
        """Forget the item whose value is not whole."""
        if self._open is not None:
            item, shard, name = self._open
            self._open = None
            if self._file is not None:
                self._file.close()
            self._remove_files(self._places[shard].cache, [(item, (0, 0, name, None))])

    def _add(self, shard: int, item: form.Item, value: tuple[Any, ...]) -> None:
        self._waiting[shard].append((item, value))
        self._bytes += item.size
        if len(self._waiting[shard]) >= _BATCH_ITEMS or self._bytes >= _BATCH_BYTES:
            self.flush()

    def flush(self) -> None:
        """Store what waits."""
        for shard, waiting in enumerate(self._waiting):
            if waiting:
                self._waiting[shard] = []
                self._store(self._places[shard].cache, waiting)
        self._bytes = 0

    def _store(self, cache: Cache, waiting: list[tuple[form.Item, tuple[Any, ...]]]) -> None:
        counts = vars(self._counts).copy()
        unused = []
        try:
            with cache._transact(True) as (execute, cleanup):
                for item, value in waiting:
                    if not self._store_one(execute, cleanup, item, value):
                        unused.append(value[2])
                if cache.cull_limit > 0:
                    cache._cull(time.time(), execute, cleanup, len(waiting) + cache.cull_limit)
        except BaseException:
            vars(self._counts).update(counts)
            self._remove_files(cache, waiting)
            raise
        for name in filter(None, unused):
            cache.disk.remove(name)

    def abandon(self) -> None:
        """Forget what waits."""
        for place, waiting in zip(self._places, self._waiting, strict=True):
            self._remove_files(place.cache, waiting)
            waiting.clear()

    def _remove_files(self, cache: Cache, waiting: list[tuple[form.Item, tuple[Any, ...]]]) -> None:
        """Remove the files of items that have not been stored; of some that is not certain."""
        for item, (_, _, name, _) in waiting:
            if name is not None:
                with cl.suppress(sqlite3.Error, Timeout):  # then `check` finds them
                    rows = cache._sql(sql.IMPORTED_KEY, _key_columns(item)).fetchall()
                    if all(filename != name for *_, filename in rows):
                        cache.disk.remove(name)

    def _store_one(
        self, execute: Any, cleanup: Any, item: form.Item, value: tuple[Any, ...]
    ) -> bool:
        """Store one, unless the key is there and it is to be kept; tell which."""
        now = time.time()
        if item.expires is not None and item.expires < now:
            self._counts.expired += 1
            return False
        key = _key_columns(item)
        accessed = item.stored if item.accessed is None else item.accessed
        size, mode, name, data = value
        columns = (
            *(item.stored, item.expires, accessed, item.accesses, item.tag.data),
            *(size, mode, name, data),
        )
        for rowid, stored, expires, filename in execute(sql.IMPORTED_KEY, key).fetchall():
            has_expired = isinstance(expires, int | float) and expires < now
            is_newer = not isinstance(stored, int | float) or item.stored > stored
            if not has_expired and not (
                self._policy == 'replace' or (self._policy == 'newer' and is_newer)
            ):
                self._counts.kept += 1
                return False
            execute(sql.IMPORT_OVER, (*columns, rowid))
            cleanup(filename)
            self._counts.replaced += 1
            return True
        execute(sql.IMPORT_NEW, (*columns, *key))
        self._counts.stored += 1
        return True


def _key_columns(item: form.Item) -> tuple[Any, int]:
    return item.key.data, int(item.key.kind != 'pickle')


def _require_utf8(stored: Stored) -> None:
    """Raise UnreadableError if SQLite's interface of Python cannot store a text."""
    if isinstance(stored.data, str):
        try:
            stored.data.encode()
        except UnicodeEncodeError:
            raise UnreadableError('it has a text that is no UTF-8') from None


def _protocol(pickled: bytes) -> bytes:
    """Return the byte that names the protocol of a pickle; nothing for 0 and 1."""
    return bytes(pickled[1:2]) if pickled[:1] == b'\x80' else b''


def _unpickled(pickled: bytes, unpickle: bool, loads: Callable[[bytes], Any]) -> Any:
    """Return the object of a pickle.

    :param unpickle: whether it may be loaded if it cannot be had otherwise
    :param loads: what loads it
    :raises UnreadableError: if it has to be loaded and may not be, or if that fails
    """
    try:
        return loads(pickled) if unpickle else literal(pickled)
    except NoLiteralError as error:
        raise UnreadableError(f'{error}; --unpickle loads it') from error
    except Exception as error:  # a pickle raises what it likes
        raise UnreadableError(f'{type(error).__name__}: {error}') from error


class _Converted:
    """Stores items as objects, by the methods of a cache, which may be any that has them.

    They are stored now: when they were is not known to the methods.
    """

    def __init__(
        self,
        cache: Cache | FanoutCache,
        places: list[Place],
        policy: str,
        is_json: bool,
        unpickle: bool,
        counts: Counts,
    ) -> None:
        self._cache = cache
        self._places = places
        self._policy = policy
        self._is_json = is_json
        self._unpickle = unpickle
        disk = places[0].cache.disk
        self._loads = disk._from_pickle if isinstance(disk, SafeDisk) else pickle.loads
        self._counts = counts
        self._open: tuple[form.Item, Any] | None = None

    def begin(self, item: form.Item) -> None:
        """Take an item; the parts of its value follow, if it has any."""
        if item.in_parts:
            self._open = item, tempfile.SpooledTemporaryFile(_BATCH_BYTES)  # noqa: SIM115
        else:
            self._store(item, self._object(item.value), False)

    def part(self, data: bytes) -> None:
        """Take a part of the value."""
        assert self._open is not None
        self._open[1].write(data)

    def finish(self) -> None:
        """Store the item whose value is whole."""
        assert self._open is not None
        item, file = self._open
        self._open = None
        with file:
            file.seek(0)
            if item.value.kind == 'bytes' and not self._is_json:
                self._store(item, file, True)
                return
            data = file.read()
            if item.value.kind == 'text':
                data = data.decode('utf-8', 'surrogateescape')
            self._store(item, self._object(Stored(item.value.kind, data)), False)

    def drop(self) -> None:
        """Forget the item whose value is not whole."""
        if self._open is not None:
            self._open[1].close()
            self._open = None

    def flush(self) -> None:
        """Nothing waits."""

    def abandon(self) -> None:
        """Nothing waits."""

    def _object(self, stored: Stored) -> Any:
        """Return the object that is stored.

        :raises UnreadableError: if it has to be unpickled and is not to be, or if it fails
        """
        if stored.kind == 'pickle':
            return _unpickled(stored.data, self._unpickle, self._loads)
        if stored.kind == 'bytes' and self._is_json:
            try:
                return unpacked_json(stored.data)
            except NoLiteralError as error:
                raise UnreadableError(error) from error
        return stored.data

    def _store(self, item: form.Item, value: Any, is_file: bool) -> None:
        key = self._object(item.key)
        tag = item.tag.data
        now = time.time()
        expire = None if item.expires is None else item.expires - now
        if expire is not None and expire < 0:
            self._counts.expired += 1
            return
        try:
            found = self._find(key, now)
            if found is not None and not (
                self._policy == 'replace' or (self._policy == 'newer' and item.stored > found)
            ):
                self._counts.kept += 1
                return
            done = self._cache.set(key, value, expire=expire, read=is_file, tag=tag, retry=True)
        except CommandError as error:
            raise UnreadableError(error) from error
        except (TypeError, ValueError, OverflowError, pickle.PicklingError) as error:
            raise UnreadableError(error) from error
        if not done:
            raise UnreadableError('the value is too large for the cache')
        if found is None:
            self._counts.stored += 1
        else:
            self._counts.replaced += 1

    def _find(self, key: Any, now: float) -> float | None:
        """Return when the item that a key has was stored; None if there is none."""
        for place in self._places:
            for row in place.rows(sql.FOUND_ROW, *place.encoded(key)):
                if row.expire_time is None or row.expire_time >= now:
                    return number(row.store_time) or 0.0
        return None


def _import(options: argparse.Namespace) -> int:
    if is_remote(options.directory):
        _require_for_server(options)
    else:
        _require_for_directory(options)
    counts, left_out = Counts(), LeftOut()
    with cl.ExitStack() as stack:
        if options.file == '-':
            file: Any = sys.stdin.buffer
        else:
            file = stack.enter_context(open(options.file, 'rb'))
        told = stack.enter_context(progress())(0, '')
        if file.seekable() and options.file != '-':
            _verify(file, told)
        reader = form.Reader(file)
        try:
            records = reader.records()
            header = next(records)
            assert isinstance(header, form.Header)
            if is_remote(options.directory):
                target = _server_target(options, header, stack, counts)
            else:
                target = _directory_target(options, header, stack, counts)
            _store_all(records, target, header, options.no_pickles, left_out, told)
        except form.DamagedError as error:
            done = counts.stored + counts.replaced
            raise CommandError(f'{error}; stored until then: {done:,} items') from error
    if options.json:
        print_json({**vars(counts), 'left_out': left_out.count})
    else:
        print(
            f'stored: {counts.stored:,}, replaced: {counts.replaced:,}, kept: {counts.kept:,},'
            f' expired: {counts.expired:,}, left out: {left_out.count:,}'
        )
    return PARTLY if left_out.count else DONE


def _require_for_directory(options: argparse.Namespace) -> None:
    require_directory(options)
    if options.shards is not None and not options.create:
        raise CommandError('--shards is for --create')
    if not options.create:
        _require_there(options.directory)


def _require_for_server(options: argparse.Namespace) -> None:
    """Refuse what cannot be done on a server.

    :raises CommandError: which names it
    """
    if options.create:
        raise CommandError('--create is for a directory')
    if options.on_conflict == 'newer':
        raise CommandError('--on-conflict newer: a server does not know when an item was stored')


def _server_target(
    options: argparse.Namespace, header: form.Header, stack: cl.ExitStack, counts: Counts
) -> Target:
    _require_known(header)
    cache = stack.enter_context(connected(options))
    from .on_server import ServerTarget  # which needs redis-py

    keep = options.on_conflict == 'keep'
    return ServerTarget(cache, keep, header.disk == _JSON_NAME, options.unpickle, counts)


def _directory_target(
    options: argparse.Namespace, header: form.Header, stack: cl.ExitStack, counts: Counts
) -> Target:
    if options.create:
        _create(options, header)
    places, cache = stack.enter_context(writable(options))
    return _target(options, header, places, cache, counts)


def _require_there(directory: str) -> None:
    if not is_fanout(directory):
        existing(directory)


def _verify(file: BinaryIO, told: Callable[[str, int, int | None], object]) -> None:
    """Look at a whole export before anything of it is stored.

    :raises CommandError: if it is damaged
    """
    size = os.fstat(file.fileno()).st_size
    reader = form.Reader(file)
    try:
        for done, _ in enumerate(reader.records()):
            if done % 100 == 0:
                told('looking at the file', reader.bytes, size)
    except form.DamagedError as error:
        raise CommandError(f'{error}; nothing has been stored') from error
    file.seek(0)


def _create(options: argparse.Namespace, header: form.Header) -> None:
    """Make the directory of an import."""
    path = path_of(options.directory)
    if op.lexists(path) and not (op.isdir(path) and not os.listdir(path)):
        raise CommandError(f'--create: it is there already: {path}')
    disk = named_disk(options.disk) or (JSONDisk if header.disk == _JSON_NAME else Disk)
    with warnings.catch_warnings():
        warnings.simplefilter('ignore', CacheWarning)
        if options.shards:
            FanoutCache(path, options.shards, disk=disk).close()
        else:
            Cache(path, disk=disk).close()


def _target(
    options: argparse.Namespace,
    header: form.Header,
    places: list[Place],
    cache: Any,
    counts: Counts,
) -> Target:
    is_json = header.disk == _JSON_NAME
    made_with = places[0].made_with
    if made_with == header.disk and made_with in (_PLAIN_NAME, _JSON_NAME):
        return _Direct(places, options.on_conflict, options.unpickle, counts)
    _require_known(header)
    return _Converted(cache, places, options.on_conflict, is_json, options.unpickle, counts)


def _require_known(header: form.Header) -> None:
    if header.disk not in (_PLAIN_NAME, _JSON_NAME):
        raise CommandError(
            f'the export was made with {header.disk}: export it with --unpickle --disk CLASS'
        )


def _store_all(
    records: Iterator[form.Record],
    target: Target,
    header: form.Header,
    no_pickles: bool,
    left_out: LeftOut,
    told: Callable[[str, int, int | None], object],
) -> None:
    """Store all items.

    :raises export_format.DamagedError: if the export is damaged; what came before is stored
    """
    items = left = 0
    taken = False
    try:
        for record in _flushing(records, target):
            if isinstance(record, form.Item):
                if items % 100 == 0:
                    told('items', items, header.items)
                items += 1
                left = record.size if record.in_parts else 0
                taken = _try(ft.partial(_begin, target, record, no_pickles), items, left_out)
            elif isinstance(record, form.Part):
                left -= len(record.data)
                if taken:
                    target.part(record.data)
                if taken and not left:
                    _try(target.finish, items, left_out)
            elif isinstance(record, form.Broken):
                if taken:
                    target.drop()
                left_out(f'item {items}', record.reason)
    except BaseException:
        target.drop()
        target.abandon()
        raise


def _flushing(records: Iterator[form.Record], target: Target) -> Iterator[form.Record]:
    """Yield records; at their end, or at damage, store the whole items that wait."""
    try:
        yield from records
    except form.DamagedError:
        target.flush()
        raise
    target.flush()


def _begin(target: Target, item: form.Item, no_pickles: bool) -> None:
    if no_pickles and 'pickle' in (item.key.kind, item.value.kind):
        raise UnreadableError('it is a pickle')
    target.begin(item)


def _try(work: Callable[[], object], place: int, left_out: LeftOut) -> bool:
    """Tell whether an item could be taken."""
    try:
        work()
    except UnreadableError as error:
        left_out(f'item {place}', error)
        return False
    return True
