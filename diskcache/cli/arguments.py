"""What stands on a command line: durations, sizes, keys and values, as objects."""

from __future__ import annotations

import argparse
import json
import re
from typing import Any

#: Seconds in what durations are given in, and bytes in what sizes are.
_SECONDS = {'': 1, 's': 1, 'm': 60, 'h': 3600, 'd': 86400, 'w': 604800}
_BYTES = {
    '': 1,
    **{letter: 1000**power for power, letter in enumerate('kmgt', 1)},
    **{f'{letter}i': 1024**power for power, letter in enumerate('kmgt', 1)},
}

#: What is larger is taken for this.
_LARGEST = 2.0**60

_NUMBER = r'(\d+(?:\.\d+)?)\s*'


def duration(text: str) -> float:
    """Return the seconds of ``90``, ``15m``, ``2h``, ``7d``."""
    match = re.fullmatch(_NUMBER + '([smhdw]?)', text.strip(), re.ASCII)
    if match is None:
        raise argparse.ArgumentTypeError(f'{text!r} is no duration, such as 90, 15m, 2h or 7d')
    return min(float(match[1]) * _SECONDS[match[2]], _LARGEST)


def size(text: str) -> int:
    """Return the bytes of ``500``, ``10k``, ``5MB`` (powers of 1,000), ``4MiB`` (of 1,024)."""
    match = re.fullmatch(_NUMBER + '((?:[kmgt]i?)?)b?', text.strip().lower(), re.ASCII)
    if match is None:
        raise argparse.ArgumentTypeError(f'{text!r} is no size, such as 500, 10k, 5MB or 4MiB')
    return int(min(float(match[1]) * _BYTES[match[2]], _LARGEST))


def count(text: str) -> int:
    """Return a number that is not negative."""
    try:
        number = int(text)
    except ValueError:
        number = -1
    if number < 0:
        raise argparse.ArgumentTypeError(f'{text!r} is no number of items')
    return min(number, int(_LARGEST))


def shard_count(text: str) -> int:
    """Return a number of shards."""
    number = count(text)
    if not 1 <= number <= 1000:
        raise argparse.ArgumentTypeError(f'{text!r} is no number of shards (1 to 1000)')
    return number


def database_text(text: str) -> str:
    """Return a text that a database can have: what was no UTF-8 cannot be in one."""
    try:
        text.encode()
    except UnicodeEncodeError:
        raise argparse.ArgumentTypeError(f'{text!r} is no UTF-8') from None
    return text


def positive(text: str) -> float:
    """Return the seconds of a pause."""
    seconds = duration(text)
    if seconds <= 0:
        raise argparse.ArgumentTypeError(f'{text!r} is no pause')
    return seconds


def add_key_options(parser: argparse.ArgumentParser, what: str = 'KEY') -> None:
    """Add the options that tell the type of a key or a tag; without one it is a text."""
    group = parser.add_mutually_exclusive_group()
    for name, summary in (
        ('int', 'a whole number'),
        ('float', 'a number'),
        ('bytes', 'bytes, in hexadecimal digits'),
        ('tuple', """a tuple, as a JSON list: '["user", 7, null]'"""),
    ):
        if name != 'tuple' or what == 'KEY':
            group.add_argument(
                f'--{name}',
                dest='key_type',
                action='store_const',
                const=name,
                help=f'{what} is {summary}',
            )
    parser.set_defaults(key_type='text')


def convert(text: str, kind: str) -> Any:
    """Return the key or the value that a text stands for.

    :param kind: text, int, float, bytes, tuple or json
    :raises ValueError: if it stands for none
    """
    try:
        text.encode()
        if kind == 'int':
            return int(text)
        if kind == 'float':
            return float(text)
        if kind == 'bytes':
            return bytes.fromhex(text)
        if kind == 'json':
            return json.loads(text)
        if kind == 'tuple':
            found = json.loads(text)
            if not isinstance(found, list):
                raise ValueError
            return _tuples(found)
    except (ValueError, RecursionError) as error:
        what = {
            'text': 'UTF-8',
            'int': 'whole number',
            'float': 'number',
            'bytes': 'hexadecimal number of bytes',
            'json': 'JSON',
            'tuple': 'JSON list',
        }[kind]
        raise ValueError(f'{text[:100]!r} is no {what}') from error
    return text


def _tuples(found: Any) -> Any:
    """Return JSON with tuples for its lists."""
    if isinstance(found, dict):
        raise ValueError
    return tuple(map(_tuples, found)) if isinstance(found, list) else found
