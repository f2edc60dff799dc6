"""Keys, tags and values as they stand in a database, and how they are shown.

Nothing is unpickled here. A pickle of texts, numbers, bytes, tuples, lists and dicts is read by
following its few opcodes (`literal`); of any other its size is shown, and the names in it.
"""

from __future__ import annotations

import base64
import io
import json
import math
import pickletools
import struct
import zlib
from collections.abc import Sequence
from typing import Any, NamedTuple

from .._core import MODE_SIGNED
from ..constants import MODE_BINARY, MODE_NONE, MODE_PICKLE, MODE_RAW, MODE_TEXT
from ..pickle_walker import Walker

#: So many objects, and characters or bytes in them, a pickle may have that is shown as a literal.
_LITERAL_OBJECTS, _LITERAL_BYTES = 10_000, 2**20
#: So much of JSON is unpacked.
_JSON_BYTES = 2**26
#: An integer of so many bits is one in JSON: no limit of digits that Python can have is below it.
_JSON_BITS = 2048
#: So much of a text is shown in a line.
_SHOWN = 200
#: So many names of a pickle are shown.
_SHOWN_NAMES = 5

#: How the first byte of a value that a SignedDisk has signed tells its type.
_SIGNED_KINDS = {b'i': 'int', b'f': 'float', b's': 'text', b'b': 'bytes', b'P': 'pickle'}
_SIGNATURE_BYTES = 32

_OF_COLUMN = {'text': 'text', 'integer': 'int', 'real': 'float', 'blob': 'bytes'}
_OF_FILE = {MODE_BINARY: 'bytes', MODE_TEXT: 'text', MODE_PICKLE: 'pickle'}


class Stored(NamedTuple):
    """A key, a tag or a value as it is stored."""

    #: text, int, float, bytes, pickle, json, nothing (NULL), or damaged.
    kind: str
    #: A str, an int, a float or bytes; of a pickle and of JSON the bytes. A text that is not UTF-8
    #: has surrogates for what is none.
    data: Any = None


class Row(NamedTuple):
    """A row, as sql.list_rows() and its like have it; a number that is damaged is None."""

    rowid: int
    key_type: str
    key_data: Any
    raw: Any
    store_time: Any
    expire_time: Any
    access_time: Any
    access_count: Any
    tag_type: str
    tag_data: Any
    mode: Any
    filename_type: str
    filename_bytes: bytes | None
    size: Any
    value_type: str
    value_data: Any = None

    @property
    def filename(self) -> str | None:
        """The name of the value file, if there is one."""
        if self.filename_bytes is None:
            return None
        return self.filename_bytes.decode('utf-8', 'surrogateescape')

    @property
    def is_signed(self) -> bool:
        """Whether a SignedDisk has written it."""
        return isinstance(self.mode, int) and MODE_SIGNED <= self.mode <= MODE_SIGNED + MODE_PICKLE

    def key(self, is_json: bool = False) -> Stored:
        """Return the key.

        :param is_json: whether a JSONDisk has written it
        """
        if self.raw == 0:
            return Stored('pickle' if self.key_type == 'blob' else 'damaged', self.key_data)
        if is_json and self.key_type == 'blob':
            return Stored('json', self.key_data)
        return _column(self.key_type, self.key_data)

    def tag(self) -> Stored:
        """Return the tag."""
        return _column(self.tag_type, self.tag_data)

    def kind(self, is_json: bool = False) -> str:
        """Return the type of the value, without having read it."""
        if self.is_signed:
            kind = self._kind(self.mode - MODE_SIGNED, False)
            return 'signed' if kind == 'bytes' and self.filename is None else f'signed {kind}'
        return self._kind(self.mode, is_json)

    def _kind(self, mode: Any, is_json: bool) -> str:
        if mode == MODE_NONE:
            return 'nothing'
        if is_json and mode in (MODE_RAW, MODE_BINARY):
            return 'json'
        if mode == MODE_RAW:
            return _OF_COLUMN.get(self.value_type, 'damaged')
        return _OF_FILE.get(mode, 'damaged')

    def value(self, is_json: bool = False) -> Stored:
        """Return a value that is in the row; one in a file has to be read."""
        if self.is_signed:
            return self._signed_value()
        if self.mode == MODE_RAW:
            kind, data = _column(self.value_type, self.value_data)
            return Stored('json' if is_json and kind == 'bytes' else kind, data)
        if self.mode == MODE_PICKLE and self.value_type == 'blob':
            return Stored('pickle', self.value_data)
        return Stored('nothing' if self.mode == MODE_NONE else 'damaged', self.value_data)

    def _signed_value(self) -> Stored:
        data = self.value_data if isinstance(self.value_data, bytes) else b''
        kind = _SIGNED_KINDS.get(data[_SIGNATURE_BYTES : _SIGNATURE_BYTES + 1], 'damaged')
        payload = data[_SIGNATURE_BYTES + 1 :]
        try:
            if kind == 'int':
                return Stored(kind, int(payload[:20]))
            if kind == 'float':
                return Stored(kind, struct.unpack('>d', payload)[0])
        except (ValueError, struct.error):
            return Stored('damaged', payload)
        return Stored(kind, _text(payload) if kind == 'text' else payload)


def _column(kind: str, data: Any) -> Stored:
    if kind == 'null':
        return Stored('nothing')
    return Stored(_OF_COLUMN[kind], _text(data) if kind == 'text' else data)


def _text(data: bytes) -> str:
    return data.decode('utf-8', 'surrogateescape')


def number(found: Any) -> float | None:
    """Return a time in a row; None for what is none."""
    usable = isinstance(found, int | float) and math.isfinite(found) and abs(found) < 2**62
    return float(found) if usable else None


# --- what is in them ---


class NoLiteralError(Exception):
    """A pickle has something else in it than texts, numbers, bytes, tuples, lists and dicts."""


def content(stored: Stored) -> Any:
    """Return the object that is stored, if it can be had without unpickling.

    :raises NoLiteralError: of a pickle that has to be loaded, and of what is damaged
    """
    if stored.kind == 'pickle':
        return literal(stored.data)
    if stored.kind == 'json':
        return unpacked_json(stored.data)
    if stored.kind == 'damaged':
        raise NoLiteralError('it is damaged')
    return stored.data


def unpacked_json(data: bytes) -> Any:
    """Return what a JSONDisk has stored.

    :raises NoLiteralError: if it is none
    """
    try:
        unpacker = zlib.decompressobj()
        unpacked = unpacker.decompress(data, _JSON_BYTES)
        if not unpacker.eof:
            raise NoLiteralError('it is too long, or cut short')
        return json.loads(unpacked)
    except (zlib.error, ValueError, RecursionError) as error:
        raise NoLiteralError(f'it is no packed JSON: {error}') from error


def literal(data: bytes) -> Any:
    """Return the object that a pickle makes, if nothing has to be called for it.

    :raises NoLiteralError: if it has anything else in it, or is too large to be shown
    """
    if len(data) > _LITERAL_BYTES:
        raise NoLiteralError('it is too large')
    try:
        return _Literal(data).load()
    except (ValueError, IndexError, KeyError, TypeError, RecursionError) as error:
        raise NoLiteralError(str(error)) from error


_CONSTANTS = {'NONE': None, 'NEWTRUE': True, 'NEWFALSE': False}
_EMPTY: dict[str, Any] = {'EMPTY_TUPLE': tuple, 'EMPTY_LIST': list, 'EMPTY_DICT': dict}
_ATOMS = frozenset(
    ('BININT', 'BININT1', 'BININT2', 'LONG1', 'LONG4', 'BINFLOAT', 'SHORT_BINUNICODE')
) | frozenset(('BINUNICODE', 'BINUNICODE8', 'SHORT_BINBYTES', 'BINBYTES', 'BINBYTES8'))
_TUPLES = {'TUPLE1': 1, 'TUPLE2': 2, 'TUPLE3': 3}
_IGNORED = frozenset(('PROTO', 'FRAME'))
_MARK = object()


def _number(argument: Any) -> int:
    return int(argument)


class _Literal:
    """Makes the object of a pickle; beside each on the stack stands how many objects it shows."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._stack: list[tuple[Any, int]] = []
        self._memo: dict[int, tuple[Any, int]] = {}
        self._weight = 0

    def load(self) -> Any:
        for opcode, argument, _ in pickletools.genops(self._data):
            name = opcode.name
            if name == 'STOP':
                found, _ = self._pop()
                if self._stack:
                    raise ValueError('it leaves something on the stack')
                return found
            if name in _ATOMS:
                self._push(argument, 1)
            elif name in _CONSTANTS:
                self._push(_CONSTANTS[name], 1)
            elif name in _EMPTY:
                self._push(_EMPTY[name](), 1)
            elif name in _TUPLES:
                self._push_tuple([self._pop() for _ in range(_TUPLES[name])][::-1])
            elif name == 'TUPLE':
                self._push_tuple(self._pop_to_mark())
            elif name in ('APPEND', 'APPENDS'):
                self._append(self._pop_to_mark() if name == 'APPENDS' else [self._pop()])
            elif name in ('SETITEM', 'SETITEMS'):
                several = name == 'SETITEMS'
                self._set(self._pop_to_mark() if several else [self._pop(), self._pop()][::-1])
            elif name == 'MARK':
                self._stack.append((_MARK, 0))
            elif name == 'MEMOIZE':
                self._memo[len(self._memo)] = self._top()
            elif name in ('BINPUT', 'LONG_BINPUT'):
                self._memo[_number(argument)] = self._top()
            elif name in ('BINGET', 'LONG_BINGET'):
                self._fetch(_number(argument))
            elif name not in _IGNORED:
                raise ValueError(f'it has {name} in it')
        raise ValueError('it ends too early')

    def _push(self, found: Any, count: int) -> None:
        self._weight += count
        if self._weight > _LITERAL_OBJECTS:
            raise ValueError('it has too many objects in it')
        self._stack.append((found, count))

    def _top(self) -> tuple[Any, int]:
        if self._stack[-1][0] is _MARK:
            raise ValueError('a mark is remembered')
        return self._stack[-1]

    def _pop(self) -> tuple[Any, int]:
        top = self._top()
        self._stack.pop()
        return top

    def _pop_to_mark(self) -> list[tuple[Any, int]]:
        items = []
        while self._stack[-1][0] is not _MARK:
            items.append(self._stack.pop())
        self._stack.pop()
        return items[::-1]

    def _push_tuple(self, items: list[tuple[Any, int]]) -> None:
        self._push(tuple(item for item, _ in items), 1 + sum(count for _, count in items))

    def _append(self, items: list[tuple[Any, int]]) -> None:
        target, count = self._pop()
        if type(target) is not list:
            raise ValueError('it is appended to what is no list')
        target.extend(item for item, _ in items)
        self._stack.append((target, count + sum(number for _, number in items)))

    def _set(self, items: list[tuple[Any, int]]) -> None:
        target, count = self._pop()
        if type(target) is not dict or len(items) % 2:
            raise ValueError('items are set in what is no dict')
        objects = [item for item, _ in items]
        target.update(zip(objects[::2], objects[1::2], strict=True))
        self._stack.append((target, count + sum(number for _, number in items)))

    def _fetch(self, number: int) -> None:
        found, count = self._memo[number]
        if isinstance(found, list | dict):  # it may contain itself
            raise ValueError('a list or a dict is there twice')
        weight = len(found) if isinstance(found, str | bytes) else 0
        self._push(found, count + weight // 100)


# --- how they are shown ---


def described_pickle(data: bytes) -> str:
    """Return what can be said of a pickle without loading it."""
    names = [f'{module}.{name}' for module, name in named(data)]
    text = f'pickle, {len(data):,} bytes'
    if names:
        text += f', names {", ".join(names[:_SHOWN_NAMES])}'
        text += f' and {len(names) - _SHOWN_NAMES} more' if len(names) > _SHOWN_NAMES else ''
    return f'<{_quoted_if_odd(text)}>'


def named(data: bytes) -> list[tuple[str, str]]:
    """Return the names in a pickle, sorted: what would be looked up to load it."""
    walker = Walker(io.BytesIO(data), len(data), set())
    try:
        walker.walk()
    except Exception:  # a damaged one: its names up to there
        pass
    return sorted(walker.names)


def shown(stored: Stored, limit: int | None = _SHOWN) -> str:
    """Return a key, a tag or a value as one line of text.

    A text stands as it is, unless it could be taken for something else: then in quotes.

    :param limit: so many characters at most (None: all)
    """
    kind, data = stored
    if kind == 'nothing':
        return ''
    if kind in ('pickle', 'json'):
        try:
            return _cut(repr(content(stored)), limit)
        except (NoLiteralError, RecursionError, ValueError):
            if kind == 'json':
                return f'<no JSON, {len(data):,} bytes>'
            return described_pickle(data)
    if kind == 'damaged':
        return f'<damaged, {repr(data)[:40]}>'
    if kind == 'text':
        return quoted(_cut(data, limit))
    return repr(data) if limit is None or kind != 'bytes' else _cut(repr(data[:limit]), limit)


def _cut(text: str, limit: int | None) -> str:
    return text if limit is None or len(text) <= limit else f'{text[:limit]}…'


def quoted(text: str) -> str:
    """Return a text as it is; in quotes if it could be taken for something else."""
    odd = (
        not text.isprintable()
        or not text
        or text[0] in '\'"([{<- '
        or text[-1] == ' '
        or text[:2] in ("b'", 'b"')
        or text in ('None', 'True', 'False')
        or _is_number(text)
    )
    return repr(text) if odd else text


def _quoted_if_odd(text: str) -> str:
    return text if text.isprintable() else repr(text)


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def as_json(stored: Stored) -> dict[str, Any] | None:
    """Return a key, a tag or a value for JSON; None for nothing.

    ``{"type": …, "value": …}``; of bytes ``base64`` instead of ``value``; of a pickle that cannot
    be shown its ``bytes`` and ``names``.
    """
    kind, data = stored
    if kind == 'nothing':
        return None
    if kind == 'bytes':
        return {'type': kind, 'base64': base64.b64encode(data).decode()}
    if kind in ('pickle', 'json'):
        try:
            return {'type': kind, 'value': jsonable(content(stored))}
        except (NoLiteralError, RecursionError):
            names = [f'{module}.{name}' for module, name in named(data)] if kind == 'pickle' else []
            return {'type': kind, 'bytes': len(data), 'names': names}
    if kind == 'damaged':
        return {'type': kind, 'value': repr(data)[:_SHOWN]}
    return {'type': kind, 'value': jsonable(data)}


def jsonable(found: Any) -> Any:
    """Return an object of texts, numbers, bytes, tuples, lists and dicts as JSON can have it.

    Bytes are ``{"base64": …}``, numbers that JSON has not a text (``0x…`` of
    a very large one), dicts with other keys than texts ``{"items": [[key, value], …]}``; and what
    is none of them its ``repr``.
    """
    if found is None or isinstance(found, bool | str):
        return found
    if isinstance(found, int):
        # Python writes so many digits alone.
        return found if found.bit_length() <= _JSON_BITS else hex(found)
    if isinstance(found, float):
        return found if math.isfinite(found) else repr(found)
    if isinstance(found, bytes):
        return {'base64': base64.b64encode(found).decode()}
    if isinstance(found, Sequence):
        return [jsonable(item) for item in found]
    if isinstance(found, dict):
        if all(type(key) is str for key in found):
            return {key: jsonable(value) for key, value in found.items()}
        return {'items': [[jsonable(key), jsonable(value)] for key, value in found.items()]}
    return repr(found)
