"""How keys and values stand on the server.

A key is `name:`, its kind, and its bytes::

    s text    b bytes    i an int, decimal    f a float, 8 bytes    p a pickle

A float that is a whole number is an int, since both are one key. `T` and `Q` are kinds too: of the
sets of tags and of the queues, see scripts.py.

On a Cluster the keys are `name:{n}`, the kind, and the bytes: see shards.py.

A value is a decimal number as it stands, so that the server can add to it, or its kind and its
bytes::

    s text    b bytes    f a float    p a pickle
    m a mode of a Disk of one's own, 8 bytes, and any of these

In front of it stands the tag, if there is one: `t`, its length in 4 bytes, and the tag as a key.

A Disk converts both, as it does for a directory; it never gets a file. With one that signs, the
signature covers name, key, tag and value. It does not cover the expiry, which the server keeps.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Sequence

from .._core import MODE_SIGNED
from ..constants import MODE_BINARY, MODE_PICKLE, MODE_RAW, MODE_TEXT
from ..disk import Disk
from ..hints import Any
from ..refusal import RefusedError
from ..safedisk import SafeDisk
from ..signeddisk import SignedDisk
from ..unloadable import note_reading
from .shards import shard_of, tags_of
from .unsupported import NotSupported

#: Larger than any value: all of them stay out of files, bytes.
_NO_FILES = 2**62

#: The same in all versions of Python, since pickles are keys too.
_PROTOCOL = 5

_NUMBER = re.compile(rb'-?\d{1,19}')

_TAG_LENGTH = struct.Struct('>I')
_FLOAT = struct.Struct('>d')
_MODE = struct.Struct('>q')

#: Kinds of keys that are items, and not sets of tags or queues.
ITEMS = b'sbifp'


def _is_int64(number: float) -> bool:
    return -(2**63) <= number < 2**63


def _dump_key(key: Any, raw: bool) -> bytes:
    """Return a key, or a tag, as its kind and bytes."""
    if not raw:
        return b'p' + bytes(key)
    if isinstance(key, str):
        return b's' + key.encode()
    if isinstance(key, float) and not (key.is_integer() and _is_int64(key)):
        return b'f' + _FLOAT.pack(key)
    if isinstance(key, int | float):
        return b'i%d' % int(key)
    return b'b' + bytes(key)


def _load_int(data: bytes) -> int:
    """Return a decimal number.

    :raises RefusedError: if it is none, or does not fit into 64 bits
    """
    if _NUMBER.fullmatch(data):
        number = int(data)
        if _is_int64(number):
            return number
    raise RefusedError('what stands on the server is not of the form of diskcache')


def _load_key(stored: bytes) -> tuple[Any, bool]:
    """Return what was given to _dump_key.

    :raises RefusedError: if it is damaged
    """
    kind, data = stored[:1], stored[1:]
    try:
        if kind == b's':
            return data.decode(), True
        if kind == b'i':
            return _load_int(data), True
        if kind == b'f':
            return _FLOAT.unpack(data)[0], True
    except (UnicodeDecodeError, struct.error):
        kind = b''
    if kind == b'b' or kind == b'p':
        return data, kind == b'b'
    raise RefusedError('what stands on the server is not of the form of diskcache')


def dump_tag(tag: Any) -> bytes:
    """Return a tag as it stands on the server.

    :raises TypeError: if it is no int, float, str or bytes
    :raises OverflowError: if an int does not fit into 64 bits
    :raises ValueError: if it is NaN
    """
    if not isinstance(tag, int | float | str | bytes):
        raise TypeError(f'tag must be int, float, str or bytes, not {type(tag).__name__!r}')
    if isinstance(tag, int) and not _is_int64(tag):
        raise OverflowError('the tag does not fit into 64 bits')
    if tag != tag:
        raise ValueError('tag must not be NaN')
    return _dump_key(tag, True)


def _dump_body(inline: Any) -> bytes:
    """Return what a Disk keeps in its column."""
    if isinstance(inline, int):
        return b'%d' % inline
    if isinstance(inline, float):
        return b'f' + _FLOAT.pack(inline)
    if isinstance(inline, str):
        return b's' + inline.encode()
    return b'b' + bytes(inline)


def _load_body(body: bytes) -> tuple[int, Any]:
    """Return mode and column of a value.

    :raises RefusedError: if it is damaged
    """
    if body[:1] == b'p':
        return MODE_PICKLE, body[1:]
    if body[:1] == b'm' and len(body) > _MODE.size:
        (mode,) = _MODE.unpack_from(body, 1)
        if mode in (MODE_BINARY, MODE_TEXT):
            raise RefusedError('there is no file on a server')
        body = body[1 + _MODE.size :]
        if body[:1] != b'm':  # once, and no deeper
            return mode, _load_body(body)[1]
    if _NUMBER.fullmatch(body):
        return MODE_RAW, _load_int(body)
    if body[:1] in (b'i', b''):
        raise RefusedError('what stands on the server is not of the form of diskcache')
    return MODE_RAW, _load_key(body)[0]


def split(stored: bytes) -> tuple[bytes | None, bytes]:
    """Return the tag of a value, as dump_tag gives it, and what stands behind it.

    :raises RefusedError: if it is damaged
    """
    if stored[:1] != b't':
        return None, stored
    start = 1 + _TAG_LENGTH.size
    if len(stored) < start:
        raise RefusedError('what stands on the server is not of the form of diskcache')
    end = start + _TAG_LENGTH.unpack_from(stored, 1)[0]
    return stored[start:end], stored[end:]


def _disk_of(serializer: Any, keys: Any) -> type[Disk]:
    if isinstance(keys, str | bytes):
        raise TypeError(f'keys must be a list of bytes, not {type(keys).__name__!r}')
    if serializer == 'signed':
        return SignedDisk.with_keys(*keys)
    if keys:
        raise ValueError("keys are for serializer='signed'")
    known: dict[Any, type[Disk]] = {'safe': SafeDisk, 'pickle': Disk}
    if isinstance(serializer, str):
        if serializer not in known:
            raise ValueError(
                f"serializer must be 'safe', 'signed', 'pickle' or a Disk, not {serializer!r}"
            )
        return known[serializer]
    if not (isinstance(serializer, type) and issubclass(serializer, Disk)):
        raise TypeError(f'serializer must be a name or a subclass of Disk, not {serializer!r}')
    return serializer


class Codec:
    """Converts keys, values and tags, of one cache."""

    def __init__(
        self,
        name: str,
        serializer: Any,
        keys: Sequence[bytes],
        label: str,
        max_value: int,
        shards: int = 0,
    ) -> None:
        """Make the Disk.

        :param name: what keys begin with
        :param serializer: 'safe', 'signed', 'pickle', or a subclass of Disk
        :param keys: for 'signed'
        :param label: how the log calls the cache
        :param max_value: what is longer is refused, bytes
        :param shards: on a Cluster, how many parts the cache has; 0 on a server
        :raises TypeError: if an argument is of the wrong type
        :raises ValueError: if the serializer is not known, or keys are missing or not needed
        """
        cls = _disk_of(serializer, keys)
        self.disk: Any = cls(label, min_file_size=_NO_FILES, pickle_protocol=_PROTOCOL)
        if isinstance(self.disk, SignedDisk):
            self.disk._directory_id = name
        self.prefix: bytes = name.encode() + b':'
        #: What stands in front of the kind, for each shard.
        self.heads: tuple[bytes, ...] = (self.prefix,)
        if shards:
            self.heads = tuple(b'%b{%b}' % (self.prefix, tag) for tag in tags_of(shards))
        self._shards = shards
        self._text = None if shards else self.prefix + b's'
        self._max_value = max_value
        self._plain_keys = cls.put is Disk.put
        #: Whether the server can make a key, and its value is the same under any.
        self.has_plain_keys: bool = self._plain_keys and self.disk._seal is None
        #: Whether values stand on the server as Disk has them, and an int as a decimal number.
        self.has_plain_values: bool = cls.store is Disk.store and cls.fetch is Disk.fetch

    def key(self, key: Any) -> bytes:
        """Return a key as it stands on the server.

        :raises ValueError: if it is NaN, or longer than max_value
        """
        if type(key) is str and self._plain_keys:
            encoded = key.encode()
            name = self.name(b's' + encoded) if self._text is None else self._text + encoded
        else:
            name = self.name(_dump_key(*self.disk.put(key)))
        if len(name) > self._max_value:
            raise ValueError(f'a key of {len(name):,} bytes is longer than max_value')
        return name

    def name(self, rest: bytes) -> bytes:
        """Return how a key of the server is called.

        :param rest: its kind and bytes
        """
        return self.heads[shard_of(rest, self._shards) if self._shards else 0] + rest

    def head(self, name: bytes) -> bytes:
        """Return what stands in front of the kind; all of it if it is no name of this cache."""
        if not self._shards:
            return self.prefix
        end = name.find(b'}') + 1
        return name[:end] if end else name

    def tag_sets(self, name: bytes) -> bytes:
        """Return what the sets of the tags of an item begin with."""
        return self.head(name) + b'T'

    def kind(self, name: bytes) -> bytes:
        """Return the kind of what has a name; nothing if it is none of this cache."""
        place = len(self.head(name))
        return name[place : place + 1]

    def pickled_key(self, pickled: bytes) -> bytes:
        """Return a key that is pickled already as it stands on the server; it is not loaded."""
        return self.name(b'p' + pickled)

    def load_key(self, name: bytes) -> Any:
        """Return the key that stands on the server so.

        :raises RefusedError: if the Disk does not trust it, or it is damaged
        """
        stored, raw = self.stored_key(name)
        try:
            return self.disk.get(stored, raw)
        except Exception as error:
            note_reading(error, f'key {stored!r:.200}')
            raise

    def stored_key(self, name: bytes) -> tuple[Any, bool]:
        """Return what the Disk has made of the key that stands on the server so.

        :raises RefusedError: if it is damaged
        """
        stored, raw = _load_key(name[len(self.head(name)) :])
        if stored != stored:
            raise RefusedError('NaN is no key')
        return stored, raw

    def order(self, name: bytes) -> tuple[int, Any]:
        """Return what keys are sorted by: numbers, then texts, then bytes, then pickles."""
        try:
            key, raw = _load_key(name[len(self.head(name)) :])
        except RefusedError:
            return 3, name
        if isinstance(key, int | float):
            return 0, key
        return (1 if isinstance(key, str) else 2 if raw else 3), key

    def dump(self, key: Any, value: Any, tag: Any) -> bytes:
        """Return a value as it stands on the server.

        :raises ValueError: if it is longer than max_value
        :raises TypeError: if the tag is of the wrong type
        :raises NotSupported: if the Disk writes a file
        """
        return self._with_tag(key, self._dump_value(key, value, tag), tag)

    def dump_pickle(self, key: Any, pickled: bytes, tag: Any) -> bytes:
        """Return a value that is pickled already as it stands on the server; it is not loaded.

        It is for a Disk that stores any object, and signs it or not. The errors are those of dump.
        """
        if self.disk._seal is None:
            return self._with_tag(key, b'p' + pickled, tag)
        body = self._body(key, MODE_PICKLE | MODE_SIGNED, b'P' + pickled, tag)
        return self._with_tag(key, body, tag)

    def _with_tag(self, key: Any, stored: bytes, tag: Any) -> bytes:
        if tag is not None:
            head = dump_tag(tag)
            stored = b't' + _TAG_LENGTH.pack(len(head)) + head + stored
        if len(stored) > self._max_value:
            raise ValueError(
                f'the value of key {key!r:.200} has {len(stored):,} bytes, more than the'
                f' max_value of {self._max_value:,}'
            )
        return stored

    def _dump_value(self, key: Any, value: Any, tag: Any) -> bytes:
        if self.has_plain_values:
            if type(value) is str:
                return b's' + value.encode()
            if type(value) is bytes:
                return b'b' + value
        _, mode, filename, inline = self.disk.store(value, False, key=key)
        if filename is not None:
            name = type(self.disk).__name__
            raise NotSupported(f'{name}, which writes files', 'a server has none', 'use another')
        return self._body(key, mode, inline, tag)

    def _body(self, key: Any, mode: int, inline: Any, tag: Any) -> bytes:
        """Return what a Disk has stored, signed if it signs."""
        if self.disk._seal is not None:
            tag = None if tag is None else _load_key(dump_tag(tag))[0]
            inline = self.disk._seal(*self.disk.put(key), tag, None, mode, inline)
        body = _dump_body(inline)
        if mode == MODE_RAW:
            return body
        if mode == MODE_PICKLE and body[:1] == b'b':
            return b'p' + body[1:]
        return b'm' + _MODE.pack(mode) + body

    def columns(self, stored: bytes) -> tuple[Any, int, Any]:
        """Return the tag, the mode and the column of a value; nothing is loaded or verified.

        :raises RefusedError: if it is damaged
        """
        head, body = split(stored)
        return (None if head is None else _load_key(head)[0], *_load_body(body))

    def load(self, key: Any, stored: bytes) -> tuple[Any, Any]:
        """Return value and tag.

        :raises RefusedError: if the Disk does not trust it, or it is damaged
        """
        if self.has_plain_values:
            kind = stored[:1]
            if kind == b'b':
                return stored[1:], None
            if kind == b's':
                try:
                    return stored[1:].decode(), None
                except UnicodeDecodeError:  # which is refused below
                    pass
        try:
            tag, mode, inline = self.columns(stored)
            if self.disk._fetch_row is not None:
                row = (*self.disk.put(key), tag, None, mode)
                return self.disk._fetch_row(*row, None, inline, False), tag
            return self.disk.fetch(mode, None, inline, False), tag
        except Exception as error:
            note_reading(error, f'value of key {key!r:.200}')
            raise
