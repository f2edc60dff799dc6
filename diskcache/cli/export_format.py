"""The format of ``export``: JSON Lines. docs/export-format.rst specifies it.

What is read may be damaged, cut short, or made by somebody to do harm: each line has a checksum
and a limit, each field is looked at, and nothing is unpickled.
"""

from __future__ import annotations

import base64
import binascii
import json
import math
import zlib
from collections.abc import Iterator
from typing import Any, BinaryIO, NamedTuple

from .stored import Stored

FORMAT, VERSION = 'diskcache-export', 1

#: A line has so many bytes at most, with its end.
LONGEST_LINE = 2**23
#: A value of more bytes is in parts, of so many bytes each; a part may have up to the first number.
PART_BYTES = 3 * 2**16
_LONGEST_PART = 2**22

#: ``{"crc":"0123abcd",``: the CRC-32 of all behind it, without the end of the line.
_PREFIX = b'{"crc":"'
_PREFIX_BYTES = len(_PREFIX) + 10

#: The types of keys, tags and values, and the one field in which each is.
KEY_TYPES = frozenset(('text', 'int', 'float', 'bytes', 'pickle'))
TAG_TYPES = frozenset(('text', 'int', 'float', 'bytes'))
PART_TYPES = frozenset(('text', 'bytes', 'pickle'))


class DamagedError(Exception):
    """What is read is no export, or a damaged one."""


class Header(NamedTuple):
    """What an export begins with."""

    version: int
    #: The full name of the Disk that determines what keys and values look like.
    disk: str
    #: How many items there were about.
    items: int


class Item(NamedTuple):
    """An item, as it is stored; of a value in parts the data is None."""

    key: Stored
    value: Stored
    stored: float
    expires: float | None
    tag: Stored
    accessed: float | None
    accesses: int
    #: Bytes of the value; of one in parts they follow.
    size: int

    @property
    def in_parts(self) -> bool:
        """Whether the value follows in parts."""
        return self.value.data is None


class Part(NamedTuple):
    """A part of the value of the item before it."""

    data: bytes


class Broken(NamedTuple):
    """Instead of the next part: the value could not be read to its end, and there is no item."""

    reason: str


class End(NamedTuple):
    """What an export ends with."""

    #: Items in it, without the broken ones.
    items: int


Record = Header | Item | Part | Broken | End


# --- writing ---


class Writer:
    """Writes an export."""

    def __init__(self, file: BinaryIO, disk: str, items: int, created: float) -> None:
        self._file = file
        self.items: int = 0
        self._write(
            {'format': FORMAT, 'version': VERSION, 'disk': disk, 'items': items, 'created': created}
        )

    def item(self, item: Item) -> None:
        """Write an item; of one in parts these have to follow."""
        fields: dict[str, Any] = {'key': _encode(item.key)}
        if item.in_parts:
            fields['value'] = {'type': item.value.kind, 'size': item.size}
        else:
            fields['value'] = _encode(item.value)
        fields['stored'] = item.stored
        if item.expires is not None:
            fields['expires'] = item.expires
        if item.tag.kind != 'nothing':
            fields['tag'] = _encode(item.tag)
        if item.accessed is not None:
            fields['accessed'] = item.accessed
        if item.accesses:
            fields['count'] = item.accesses
        self._write(fields)
        self.items += 1

    def part(self, data: bytes) -> None:
        """Write a part of the value of the last item."""
        self._write({'part': base64.b64encode(data).decode()})

    def broken(self, reason: str) -> None:
        """Take the last item back, of which not all parts could be read."""
        self._write({'broken': reason})
        self.items -= 1

    def end(self) -> None:
        """Write the end, without which an export is cut short."""
        self._write({'end': True, 'items': self.items})

    def _write(self, fields: dict[str, Any]) -> None:
        body = json.dumps(fields, allow_nan=False, separators=(',', ':')).encode()[1:]
        if len(body) + _PREFIX_BYTES >= LONGEST_LINE:
            raise ValueError('it is too long for the format')
        self._file.write(b'%s%08x",%s\n' % (_PREFIX, zlib.crc32(body), body))


def fits(key: Stored, tag: Stored) -> bool:
    """Tell whether a key and a tag fit into a line; a character may take 12 bytes of it."""
    lengths = (len(each.data) for each in (key, tag) if isinstance(each.data, str | bytes))
    return sum(lengths) <= LONGEST_LINE // 16


def _encode(stored: Stored) -> dict[str, Any]:
    kind, data = stored
    if kind == 'text':
        try:
            data.encode()
        except UnicodeEncodeError:  # bytes that are no UTF-8, or half a character
            return {'utf8': base64.b64encode(data.encode('utf-8', 'surrogateescape')).decode()}
        return {'text': data}
    if kind == 'float' and not math.isfinite(data):
        return {'float': repr(data)}
    if kind in ('bytes', 'pickle'):
        return {kind: base64.b64encode(data).decode()}
    return {kind: data}


# --- reading ---


class Reader:
    """Reads an export, and looks at all that it says."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        #: The number of the line at hand.
        self.line: int = 0
        #: Bytes read.
        self.bytes: int = 0

    def records(self) -> Iterator[Record]:
        """Yield what is in it: the header, items with their parts, the end.

        :raises DamagedError: at what is damaged; what came before is as it was written
        """
        yield self._header()
        items, left = 0, 0
        while True:
            record = self._record(left > 0)
            if isinstance(record, End):
                if record.items != items:
                    raise self._damaged(f'it has {items} items, and had {record.items}')
                if self._file.read(1):
                    raise self._damaged('something follows the end')
                yield record
                return
            if isinstance(record, Item):
                items += 1
                left = record.size if record.in_parts else 0
            elif isinstance(record, Part):
                left -= len(record.data)
                if left < 0:
                    raise self._damaged('a value is longer than its size')
            elif isinstance(record, Broken):
                items, left = items - 1, 0
            yield record

    def _damaged(self, what: str) -> DamagedError:
        return DamagedError(f'line {self.line}: {what}')

    def _fields(self) -> dict[str, Any]:
        """Return the next line."""
        line = self._file.readline(LONGEST_LINE)
        self.line += 1
        self.bytes += len(line)
        if not line:
            raise self._damaged('the end is missing: the file is cut short')
        if not line.endswith(b'\n'):
            cut = len(line) < LONGEST_LINE
            raise self._damaged('it is cut short' if cut else 'it is too long')
        body = line[_PREFIX_BYTES:-1]
        if line[:_PREFIX_BYTES] != b'%s%08x",' % (_PREFIX, zlib.crc32(body)):
            what = 'is no line of an export' if self.line == 1 else 'its checksum is wrong'
            raise self._damaged(what)
        try:
            fields = json.loads(b'{' + body)
        except (ValueError, RecursionError):
            raise self._damaged('it is no JSON') from None
        if not isinstance(fields, dict):
            raise self._damaged('it is no JSON object')
        return fields

    def _header(self) -> Header:
        fields = self._fields()
        version, disk, items = (fields.get(name) for name in ('version', 'disk', 'items'))
        if fields.get('format') != FORMAT:
            raise self._damaged('it is no export of diskcache')
        if type(version) is not int or version != VERSION:
            raise self._damaged(f'it has version {version}; this program reads version {VERSION}')
        if not isinstance(disk, str) or type(items) is not int or items < 0:
            raise self._damaged('the header is wrong')
        return Header(version, disk, items)

    def _record(self, parts: bool) -> Record:
        """Return the next line.

        :param parts: whether a part has to come
        """
        fields = self._fields()
        if 'part' in fields or 'broken' in fields:
            if not parts:
                raise self._damaged('a part of no value')
            if 'broken' in fields:
                return Broken(str(fields['broken'])[:1000])
            data = self._base64(fields['part'])
            if not 0 < len(data) <= _LONGEST_PART:
                raise self._damaged('a part of a wrong size')
            return Part(data)
        if parts:
            raise self._damaged('a part of a value is missing')
        if fields.get('end') is True:
            if type(fields.get('items')) is not int:
                raise self._damaged('the end is wrong')
            return End(fields['items'])
        return self._item(fields)

    def _item(self, fields: dict[str, Any]) -> Item:
        key = self._decode(fields.get('key'), KEY_TYPES)
        value, size = self._value(fields.get('value'))
        tag = Stored('nothing')
        if 'tag' in fields:
            tag = self._decode(fields['tag'], TAG_TYPES)
        if key.kind == 'float' and math.isnan(key.data):
            raise self._damaged('a key that is no number')
        stored = self._time(fields.get('stored'))
        expires, accessed = (
            self._time(fields[name]) if name in fields else None for name in ('expires', 'accessed')
        )
        count = fields.get('count', 0)
        if type(count) is not int or not 0 <= count < 2**63:
            raise self._damaged('a wrong count')
        return Item(key, value, stored, expires, tag, accessed, count, size)

    def _time(self, number: Any) -> float:
        # The comparison comes first: an int may be too large to be made a float, and NaN is none.
        if type(number) not in (int, float) or not abs(number) <= 2**62:
            raise self._damaged('a wrong time')
        return float(number)

    def _value(self, fields: Any) -> tuple[Stored, int]:
        if isinstance(fields, dict) and 'size' in fields:
            kind, size = fields.get('type'), fields['size']
            if kind not in PART_TYPES or type(size) is not int or not 0 < size < 2**63:
                raise self._damaged('a wrong value')
            return Stored(kind), size
        value = self._decode(fields, KEY_TYPES)
        if isinstance(value.data, str):
            return value, len(value.data.encode('utf-8', 'surrogateescape'))
        return value, len(value.data) if isinstance(value.data, bytes) else 0

    def _decode(self, fields: Any, types: frozenset[str]) -> Stored:
        """Return a key, a tag or a value."""
        if not isinstance(fields, dict) or len(fields) != 1:
            raise self._damaged('a key, a tag or a value is wrong')
        ((kind, data),) = fields.items()
        if kind == 'utf8':
            return Stored('text', self._base64(data).decode('utf-8', 'surrogateescape'))
        if kind not in types:
            raise self._damaged(f'a key, a tag or a value has the type {kind[:20]!r}')
        if kind in ('bytes', 'pickle'):
            return Stored(kind, self._base64(data))
        if kind == 'text' and isinstance(data, str):
            try:
                data.encode()
            except UnicodeEncodeError:
                raise self._damaged('a text with half a character') from None
            return Stored(kind, data)
        if kind == 'int' and type(data) is int and -(2**63) <= data < 2**63:
            return Stored(kind, data)
        if kind == 'float' and data in ('inf', '-inf', 'nan'):
            return Stored(kind, float(data))
        if kind == 'float' and type(data) is float and math.isfinite(data):
            return Stored(kind, data)
        raise self._damaged(f'a wrong {kind}')

    def _base64(self, text: Any) -> bytes:
        try:
            return base64.b64decode(text, validate=True)
        except (binascii.Error, ValueError, TypeError):
            raise self._damaged('wrong base64') from None
