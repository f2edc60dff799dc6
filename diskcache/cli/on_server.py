"""The items of a cache on a server, on their way to an export and from one.

They are as the server has them: nothing is loaded, but where a Disk has to say whether it trusts
it. This needs redis-py.
"""

from __future__ import annotations

import io
import itertools as it
import pickle
import struct
import time
from collections.abc import Iterable, Iterator
from typing import Any

from .._core import MODE_SIGNED, Timeout
from ..batches import batches
from ..constants import MODE_PICKLE, MODE_RAW
from ..disk import Disk
from ..mismatch import disk_name
from ..refusal import RefusedError
from ..remote import RemoteCache, RemoteError, scripts
from ..remote.cache import milliseconds
from ..safedisk import SafeDisk
from ..signeddisk import Row, SignedDisk
from . import export_format as form
from .errors import CommandError, Counts, LeftOut, UnreadableError
from .stored import NoLiteralError, Stored, literal, unpacked_json

#: So many items, and about so many bytes, are stored at a time.
_BATCH_ITEMS, _BATCH_BYTES = 500, 2**22

#: What the pickles begin with by which programs look keys up: their protocol is 5.
_AS_PROGRAMS_DO = b'\x80\x05'

_SIGNED_KINDS = {b'P': 'pickle', b's': 'text', b'b': 'bytes', b'i': 'int', b'f': 'float'}

# --- to an export ---


def made_with(cache: RemoteCache) -> str:
    """Return the full name of the Disk that determines what keys and values look like.

    What is signed is exported without its signature, as a Disk has it.
    """
    codec = cache._codec
    if (codec.has_plain_keys and codec.has_plain_values) or isinstance(codec.disk, SignedDisk):
        return disk_name(Disk)
    return disk_name(type(codec.disk))


def stored_items(
    cache: RemoteCache, left_out: LeftOut
) -> Iterator[tuple[bytes, bytes, float | None]]:
    """Yield names, values and when they expire; of each item as it was at some time meanwhile.

    An item that is there all the time is yielded, and perhaps twice.
    """
    for names in cache._scan():
        for portion in _portions(cache, names):
            start = time.time()
            for name, (stored, ms) in zip(portion, _read(cache, portion, left_out), strict=True):
                if stored is not None:
                    yield name, stored, None if ms < 0 else start + ms / 1000


def _portions(cache: RemoteCache, names: list[bytes]) -> Iterator[list[bytes]]:
    """Yield names of items that fit into memory together."""
    usage = cache._engine.many(('MEMORY', 'USAGE', name) for name in names)
    sized = zip(names, it.chain.from_iterable(usage), strict=True)
    for portion in batches(sized, lambda pair: pair[1] or 0):
        yield [name for name, _ in portion]


def _read(
    cache: RemoteCache, names: list[bytes], left_out: LeftOut
) -> Iterable[tuple[bytes | None, int]]:
    """Return values and ms left; what is none of a cache is left out."""
    commands = [scripts.READ.command(name) for name in names]
    try:
        return [answer for answers in cache._engine.many(commands) for answer in answers]
    except RemoteError:  # one is of another type: a hash, for instance
        return [_read_one(cache, name, left_out) for name in names]


def _read_one(cache: RemoteCache, name: bytes, left_out: LeftOut) -> tuple[bytes | None, int]:
    try:
        stored, ms = cache._engine.read(*scripts.READ.command(name))
        return stored, ms
    except RemoteError as error:
        left_out(f'item {name!r:.200}', error)
        return None, 0


def item_as_stored(
    cache: RemoteCache, name: bytes, stored: bytes, expires: float | None
) -> form.Item:
    """Return an item as an export has it.

    :raises UnreadableError: if it has no such form
    """
    codec = cache._codec
    try:
        key, raw = codec.stored_key(name)
        tag, mode, column = codec.columns(stored)
        if mode & MODE_SIGNED:
            value = _verified(codec.disk, Row(key, raw, tag, None, mode, column))
        elif isinstance(codec.disk, SignedDisk):
            raise UnreadableError('it has no signature')
        elif mode == MODE_PICKLE and not isinstance(column, bytes):
            raise UnreadableError('what should be a pickle is none')
        else:
            value = Stored('pickle' if mode == MODE_PICKLE else _kind(column), column)
            if not raw:
                _require_trusted(codec.disk, key)
            if mode == MODE_PICKLE:
                _require_trusted(codec.disk, column)
    except RefusedError as error:
        raise UnreadableError(error) from error
    if mode & ~MODE_SIGNED not in (MODE_RAW, MODE_PICKLE):
        raise UnreadableError('a Disk of its own has stored it; --unpickle --disk CLASS loads it')
    return item_of(Stored(_kind(key) if raw else 'pickle', key), value, tag, expires)


def _require_trusted(disk: Disk, pickled: bytes) -> None:
    """Have a SafeDisk look at a pickle: in a directory, programs would load it.

    :raises UnreadableError: if it does not load it
    """
    if isinstance(disk, SafeDisk):
        try:
            disk._from_pickle(pickled)
        except Exception as error:  # of one that is damaged, too
            raise UnreadableError(error) from error


def _verified(disk: Disk, row: Row) -> Stored:
    """Return the value of a row that is signed.

    :raises UnreadableError: if there are no keys
    :raises RefusedError: if the signature is not that of the row
    """
    if not isinstance(disk, SignedDisk):
        raise UnreadableError('it is signed; --key-file or --key-env verifies it')
    payload = disk._verify(row)
    kind, data = _SIGNED_KINDS.get(payload[:1], ''), payload[1:]
    if not kind:
        raise UnreadableError('its value is in a file')
    if kind == 'text':
        return Stored(kind, data.decode())
    if kind == 'int':
        return Stored(kind, int(data))
    return Stored(kind, struct.unpack('>d', data)[0] if kind == 'float' else data)


def _kind(data: Any) -> str:
    return {str: 'text', int: 'int', float: 'float'}.get(type(data), 'bytes')


def item_of(key: Stored, value: Stored, tag: Any, expires: float | None) -> form.Item:
    """Return an item that is stored now."""
    held = Stored('nothing') if tag is None else Stored(_kind(tag), tag)
    return form.Item(key, value, time.time(), expires, held, None, 0, 0)


# --- from an export ---


class ServerTarget:
    """Stores items on a server, some at a time. What is pickled stays so, where that is possible.

    They are stored now: a server does not know when they were.
    """

    def __init__(
        self, cache: RemoteCache, keep: bool, is_json: bool, unpickle: bool, counts: Counts
    ) -> None:
        self._cache = cache
        self._codec = cache._codec
        self._keep = keep
        self._is_json = is_json
        self._unpickle = unpickle
        self._counts = counts
        #: Names, values, whether they have a tag, and when they expire, of what waits.
        self._waiting: list[tuple[bytes, bytes, bool, float | None]] = []
        self._bytes = 0
        self._open: tuple[form.Item, io.BytesIO] | None = None

    def begin(self, item: form.Item) -> None:
        """Take an item; the parts of its value follow, if it has any."""
        if not item.in_parts:
            self._take(item, item.value)
        elif item.size > self._cache.max_value:
            raise UnreadableError(f'its value has {item.size:,} bytes, too many for a server')
        else:
            self._open = item, io.BytesIO()

    def part(self, data: bytes) -> None:
        """Take a part of the value."""
        assert self._open is not None
        self._open[1].write(data)

    def finish(self) -> None:
        """Take the item whose value is whole."""
        assert self._open is not None
        item, file = self._open
        self._open = None
        data: Any = file.getvalue()
        if item.value.kind == 'text':
            data = data.decode('utf-8', 'surrogateescape')
        self._take(item, Stored(item.value.kind, data))

    def drop(self) -> None:
        """Forget the item whose value is not whole."""
        self._open = None

    def abandon(self) -> None:
        """Forget what waits."""
        self._waiting.clear()

    def _take(self, item: form.Item, value: Stored) -> None:
        if item.expires is not None and item.expires <= time.time():
            self._counts.expired += 1
            return
        try:
            key, name = self._key(item.key)
            stored = self._value(key, value, item.tag.data)
        except Exception as error:  # a pickle, and a Disk, raise what they like
            hint = ''
            if isinstance(error, NoLiteralError):
                hint = '; --unpickle loads it'
            raise UnreadableError(f'{error}{hint}') from error
        self._waiting.append((name, stored, item.tag.data is not None, item.expires))
        self._bytes += len(stored)
        if len(self._waiting) >= _BATCH_ITEMS or self._bytes >= _BATCH_BYTES:
            self.flush()

    def _key(self, stored: Stored) -> tuple[Any, bytes]:
        """Return a key as an object, and as it stands on the server."""
        disk = self._codec.disk
        key = stored.data
        if stored.kind == 'pickle' and isinstance(disk, SafeDisk):
            key = disk._from_pickle(stored.data)
        elif stored.kind == 'pickle' and type(disk) is Disk and not self._unpickle:
            try:
                key = literal(stored.data)
            except NoLiteralError:
                if not stored.data.startswith(_AS_PROGRAMS_DO):
                    raise
                return None, self._codec.pickled_key(stored.data)
        elif stored.kind == 'pickle':
            key = pickle.loads(stored.data) if self._unpickle else literal(stored.data)
        elif stored.kind == 'bytes' and self._is_json:
            key = unpacked_json(stored.data)
        return key, self._codec.key(key)

    def _value(self, key: Any, stored: Stored, tag: Any) -> bytes:
        """Return a value as it stands on the server."""
        disk = self._codec.disk
        value = stored.data
        if stored.kind == 'pickle':
            if type(disk) is Disk or isinstance(disk, SignedDisk):
                return self._codec.dump_pickle(key, stored.data, tag)
            if isinstance(disk, SafeDisk):
                value = disk._from_pickle(stored.data)
            else:
                value = pickle.loads(stored.data) if self._unpickle else literal(stored.data)
        elif stored.kind == 'bytes' and self._is_json:
            value = unpacked_json(stored.data)
        return self._codec.dump(key, value, tag)

    def flush(self) -> None:
        """Store what waits.

        :raises CommandError: if the server does not; some of it may be stored
        """
        waiting, self._waiting, self._bytes = self._waiting, [], 0
        if not waiting:
            return
        there, done = self._store(waiting)
        stored = sum(done)
        if self._keep:
            self._counts.kept += len(done) - stored
            self._counts.stored += stored
        else:
            self._counts.replaced += there
            self._counts.stored += stored - there

    def _store(self, waiting: Any) -> tuple[int, list[bool]]:
        """Store items; return how many keys were there before, and which items are stored."""
        engine = self._cache._engine
        now = time.time()
        commands = []
        for name, stored, has_tag, expires in waiting:
            ms = None if expires is None else milliseconds(max(expires - now, 0.001))
            commands.append(
                self._cache._store_command(name, stored, ms, tagged=has_tag, add=self._keep)
            )
        try:
            names = [name for name, *_ in waiting]
            found = engine.many(('EXISTS', name) for name in names) if not self._keep else ()
            there = sum(map(sum, found))
            done = [bool(answer) for some in engine.many(commands) for answer in some]
        except (Timeout, OSError, RemoteError) as error:
            stored = self._counts.stored + self._counts.replaced
            raise CommandError(
                f'{error}; stored until then: {stored:,} items, and some more, which the same'
                ' import stores once more'
            ) from error
        finally:
            self._cache._hear([name for name, *_ in waiting])
        return there, done
