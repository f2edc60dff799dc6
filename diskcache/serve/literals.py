"""Keys, tags, values and numbers as text that is safe to read.

A key stands as it would in a Python program, so that 5 and '5' are told apart, and what does not
print (line ends, NUL, what turns the direction of writing) is escaped. Of a pickle, which is not
loaded, the texts and numbers are shown that stand in it.
"""

from __future__ import annotations

import datetime
import io
import json
import pickletools
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from .._core import MODE_SIGNED
from ..cli.errors import printable
from ..constants import MODE_BINARY, MODE_PICKLE, MODE_RAW, MODE_TEXT
from ..pickle_walker import Walker
from .queries import Item, is_number

#: Letters of a key in a list, and of a text in a pickle.
_LETTERS = 100
#: Opcodes of a pickle that are looked at for the texts in it, and bytes of it.
_OPCODES = 200
_PICKLE_BYTES = 2**16
#: Bytes that compressed JSON is decompressed to; a few can become gigabytes.
JSON_BYTES = 2**20

#: What a SignedDisk puts in front of a value in a row: the signature and a letter, bytes.
SIGNED_BYTES = 33


def text_of(data: bytes) -> str:
    """Return bytes of a text column as text; what is no UTF-8 becomes lone surrogates."""
    return data.decode('utf-8', 'surrogateescape')


def shortened(text: str, letters: int = _LETTERS) -> str:
    """Return a text, or its beginning and three dots."""
    return text if len(text) <= letters else text[:letters] + '…'


def key(item: Item, is_json: bool = False, letters: int = _LETTERS) -> str:
    """Return the key of an item as it would stand in a program.

    :param item: the item
    :param is_json: whether a JSONDisk has written it
    :param letters: how many letters it may have
    """
    is_cut = len(item.key) < item.key_size
    if item.raw not in (0, 1) or item.key_type == 'null':
        return f'(no key: {shortened(repr(item.key), letters)})'
    if item.raw == 0 and item.key_type == 'blob':
        return shortened(f'pickle of {", ".join(atoms(item.key)) or "…"}', letters)
    if item.key_type == 'blob':
        json_text = decompressed(item.key) if is_json and not is_cut else None
        if json_text is not None:
            return shortened(printable(text_of(json_text)), letters)
    return column(item.key_type, item.key, letters, is_cut)


def column(kind: str, data: Any, letters: int = _LETTERS, is_cut: bool = False) -> str:
    """Return what is in a column as it would stand in a program.

    :param kind: its type, as SQLite has it
    :param data: a number, or the bytes of a text or a blob; of a key always bytes
    :param letters: how many letters it may have
    :param is_cut: whether there is more of it
    """
    if kind == 'null':
        return 'None'
    if kind in ('integer', 'real'):
        return data.decode('ascii', 'replace') if isinstance(data, bytes) else repr(data)
    value: Any = text_of(data) if kind == 'text' else data
    end = '…' if is_cut or len(value) > letters else ''
    return repr(value[:letters]) + end


def atoms(pickled: bytes) -> Iterator[str]:
    """Yield the texts and numbers in a pickle, or in its beginning, without loading it."""
    try:
        for number, (opcode, argument, _) in enumerate(pickletools.genops(pickled[:_PICKLE_BYTES])):
            if number > _OPCODES:
                return
            if opcode.name in _SINGLETONS:
                yield _SINGLETONS[opcode.name]
            elif isinstance(argument, str) and opcode.name not in ('GLOBAL', 'INST'):
                yield repr(shortened(argument))
            elif isinstance(argument, str):
                yield printable(shortened(argument.replace(' ', '.')))
            elif isinstance(argument, bytes | bytearray):
                yield repr(bytes(argument[:_LETTERS]))
            elif opcode.name in _NUMBERS:
                yield shortened(repr(argument))
    except Exception:  # whatever pickletools raises for what is damaged, or cut off
        return


_SINGLETONS = {'NONE': 'None', 'NEWTRUE': 'True', 'NEWFALSE': 'False'}
_NUMBERS = frozenset(('INT', 'BININT', 'BININT1', 'BININT2', 'LONG', 'LONG1', 'LONG4'))
_NUMBERS |= {'FLOAT', 'BINFLOAT'}


def decompressed(data: bytes) -> bytes | None:
    """Return what a JSONDisk has compressed, up to a limit; None if it has not."""
    try:
        return zlib.decompressobj().decompress(data, JSON_BYTES)
    except zlib.error:
        return None


# --- values ---


def kind(item: Item) -> str:
    """Return what a value is: 'int', 'float', 'str', 'bytes', 'pickle', 'signed' or 'unknown'."""
    mode = item.mode - MODE_SIGNED if is_signed(item) else item.mode
    if mode == MODE_RAW:
        native = {'integer': 'int', 'real': 'float', 'text': 'str', 'blob': 'bytes'}
        # A SignedDisk has numbers and texts behind a signature.
        return 'signed' if is_signed(item) else native.get(item.value_type, 'unknown')
    return {MODE_BINARY: 'bytes', MODE_TEXT: 'str', MODE_PICKLE: 'pickle'}.get(mode, 'unknown')


def is_signed(item: Item) -> bool:
    """Tell whether a SignedDisk has written an item."""
    return isinstance(item.mode, int) and item.mode > MODE_SIGNED


@dataclass
class Pickled:
    """What can be said of a pickle without loading it."""

    #: What is wrong with it, if that is certain.
    problem: str | None
    #: The classes and functions that it names, and those of them that are not here.
    names: list[str] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    #: Texts and numbers in it.
    atoms: list[str] = field(default_factory=list)


def pickled(data: bytes, size: int) -> Pickled:
    """Describe a pickle.

    :param data: the pickle, or its beginning
    :param size: bytes of all of it
    """
    gone: set[str] = set()
    walker = Walker(io.BytesIO(data), size, gone)
    problem = walker.walk()
    if size > len(data):  # what is wrong may be only that the rest is not here
        problem = None
    names = sorted(f'{module}.{name}' for module, name in walker.names)
    return Pickled(problem, names, sorted(gone), list(atoms(data)))


def as_json(text: str) -> str | None:
    """Return JSON with indents; None if a text is none, or would become too long by them."""
    if text.lstrip()[:1] not in ('{', '['):
        return None
    parts: list[str] = []
    length = 0
    try:
        for part in json.JSONEncoder(indent=2, ensure_ascii=False).iterencode(json.loads(text)):
            parts.append(part)
            length += len(part)
            if length > 2 * JSON_BYTES:
                return None
    except (ValueError, RecursionError):
        return None
    return ''.join(parts)


def is_text(data: bytes) -> bool:
    """Tell whether bytes are better shown as text than as hexadecimal digits."""
    text = data.decode('utf-8', 'replace')
    odd = sum(not letter.isprintable() and letter not in '\r\n\t' for letter in text[:2000])
    return odd + text.count('�', 0, 2000) <= len(text[:2000]) // 20


def lines(text: str) -> str:
    """Return a text of several lines in which everything else prints."""
    return '\n'.join(printable(line.replace('\t', '    ')) for line in text.split('\n'))


def hex_dump(data: bytes, start: int = 0) -> str:
    """Return bytes as lines of hexadecimal digits and what is ASCII among them.

    :param data: the bytes
    :param start: the number of the first
    """
    rows = []
    for at in range(0, len(data), 16):
        row = data[at : at + 16]
        ascii_text = ''.join(chr(byte) if 32 <= byte < 127 else '·' for byte in row)
        rows.append(f'{start + at:08x}  {row.hex(" "):47}  {ascii_text}')
    return '\n'.join(rows)


# --- numbers ---


def count(number: float) -> str:
    """Return a number of things."""
    return f'{number:,.0f}'


def size(number: Any) -> str:
    """Return a number of bytes, rounded."""
    if not is_number(number):
        return shortened(printable(repr(number)))
    amount = float(number)
    for unit in ('bytes', 'KiB', 'MiB', 'GiB'):
        if abs(amount) < 1000:
            return f'{amount:,.0f} {unit}' if unit == 'bytes' else f'{amount:.3g} {unit}'
        amount /= 1024
    return f'{amount:,.3g} TiB'


def moment(seconds: Any) -> str:
    """Return a time since the epoch as a date."""
    if seconds is None:
        return 'never'
    try:
        when = datetime.datetime.fromtimestamp(seconds).astimezone()
        return when.strftime('%Y-%m-%d %H:%M:%S %z')
    except (TypeError, ValueError, OverflowError, OSError):
        return shortened(printable(repr(seconds)))


def span(seconds: Any) -> str:
    """Return a number of seconds in the largest unit that fits."""
    if not is_number(seconds):
        return '?'
    amount = abs(float(seconds))
    for unit, length in (('d', 86400), ('h', 3600), ('min', 60)):
        if amount >= length:
            return f'{amount / length:,.0f} {unit}'
    return f'{amount:.0f} s'


def ago(seconds: Any, now: float) -> str:
    """Return how long before, or after, now a time is."""
    if seconds is None:
        return 'never'
    if not is_number(seconds):
        return '?'
    text = span(now - seconds)
    return f'{text} ago' if seconds <= now else f'in {text}'
