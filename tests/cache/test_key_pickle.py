"""The optimizer of pickled keys does exactly what pickletools.optimize does.

Keys are compared in the database by these bytes, so nothing less than equality will do: over
pickles of every kind of object, and over streams no pickler would write, as far as pickletools
takes them. The last part is about keys that are pickled without the pickler, to the same bytes.
"""

from __future__ import annotations

import codecs
import collections
import copyreg
import dataclasses
import datetime
import decimal
import enum
import fractions
import os
import pickle
import pickletools
import struct
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from diskcache import Disk, _core

# pickletools undoes escapes with a codec that warns of those it does not know.
pytestmark = pytest.mark.filterwarnings('ignore:invalid escape sequence:DeprecationWarning')

PROTOCOLS = range(pickle.HIGHEST_PROTOCOL + 1)
FRAME_SIZE_TARGET = 64 * 1024

generous = settings(
    deadline=None,
    max_examples=200,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)

#: `make test` asks for few examples, which are others each time; everything else has them all.
brief = settings(generous, max_examples=50 if 'DISKCACHE_BRIEF' in os.environ else 200)


def outcome(function: Callable[[bytes], bytes], data: bytes) -> bytes | type[BaseException]:
    """Return what the function returns or the type of what it raises."""
    try:
        return function(data)
    except Exception as error:
        return type(error)


def check_same(data: bytes) -> None:
    """Assert that both optimizers give the same bytes, or fail with the same exception."""
    actual = outcome(_core._optimize_pickle, data)
    expected = outcome(pickletools.optimize, data)
    if actual != expected:  # comparing first: pytest is slow to explain large differences
        pytest.fail(f'{data!r:.200}: {actual!r:.200} is not {expected!r:.200}')


def check_stream(data: bytes) -> None:
    """Assert the same of what no pickler has made; what pickletools refuses may pass, unharmed."""
    actual = outcome(_core._optimize_pickle, data)
    expected = outcome(pickletools.optimize, data)
    if actual != expected and isinstance(expected, bytes):
        pytest.fail(f'{data!r:.200}: {actual!r:.200} is not {expected!r:.200}')


def check_object(value: object) -> None:
    for protocol in PROTOCOLS:
        check_same(pickle.dumps(value, protocol))


# ---- Objects ----


class Color(enum.Enum):
    RED = 1
    GREEN = 'green'


class Point(collections.namedtuple('Point', 'x y')):
    __slots__ = ()


@dataclasses.dataclass(frozen=True)
class Account:
    name: str
    amount: Any


class Nested:
    class Inner:
        pass


class Plain:
    """Pickled by its __dict__."""

    def __init__(self, value: object) -> None:
        self.value = value


class Slotted:
    """Pickled by the state its slots make."""

    __slots__ = ('value',)

    def __init__(self, value: object) -> None:
        self.value = value


class Reduced:
    """Pickled by everything that __reduce__ can return."""

    def __init__(self, value: object = None) -> None:
        self.value = value
        self.items: list[object] = []
        self.pairs: dict[str, object] = {}

    def __reduce__(
        self,
    ) -> tuple[type, tuple[object], object, Iterator[object], Iterator[tuple[str, object]]]:
        return (Reduced, (self.value,), {'state': 1}, iter([1, 2]), iter({'a': 1}.items()))

    def append(self, item: object) -> None:
        self.items.append(item)

    def __setitem__(self, key: str, item: object) -> None:
        self.pairs[key] = item


class NewArguments(tuple[Any, ...]):
    """Pickled with NEWOBJ_EX from protocol 4 on."""

    def __new__(cls, *, value: object) -> NewArguments:
        return super().__new__(cls, (value,))

    def __getnewargs_ex__(self) -> tuple[tuple[()], dict[str, object]]:
        return (), {'value': self[0]}


class Text(str):
    pass


class Octets(bytes):
    pass


class Real(float):
    pass


class Number(enum.IntEnum):
    ONE = 1
    FIVE = 5


class Several(tuple[Any, ...]):
    pass


class Extension:
    """In the extension registry: pickled with EXT1."""


def module_function() -> None:
    pass


integers = st.one_of(
    st.integers(-300, 300),
    st.builds(
        lambda power, offset, sign: sign * (2**power + offset),
        st.sampled_from([8, 15, 16, 31, 32, 63, 64, 2000, 2040, 3000, 9000]),
        st.integers(-2, 2),
        st.sampled_from([1, -1]),
    ),
    st.integers(),
)
long_sizes = st.one_of(
    st.sampled_from([0, 255, 256, 4096]),
    st.integers(FRAME_SIZE_TARGET - 40, FRAME_SIZE_TARGET + 10),
)
strings = st.one_of(
    st.text(st.characters(), max_size=20),
    st.text('\\uU\n\r\0 a\x7f\x80é€\ud800\U0001f600', max_size=12),
    st.builds(lambda character, size: character * size, st.sampled_from('aé€'), long_sizes),
)
byte_strings = st.one_of(st.binary(max_size=20), st.builds(lambda size: b'\xff' * size, long_sizes))
hashable_leaves = st.one_of(
    st.none(),
    st.booleans(),
    integers,
    st.floats(),
    st.complex_numbers(),
    strings,
    byte_strings,
    st.decimals().filter(lambda number: not number.is_snan()),  # which is not hashable
    st.fractions(),
    st.dates(),
    st.datetimes(timezones=st.sampled_from([None, datetime.timezone.utc])),
    st.timedeltas(),
    st.uuids(),
    st.sampled_from([*Color, Color, Point, Nested.Inner, len, module_function, fractions.Fraction]),
    st.sampled_from([Ellipsis, NotImplemented, str.upper, [].append, object(), range(3)]),
    st.builds(Text, st.text(max_size=5)),
)
leaves = st.one_of(hashable_leaves, st.builds(bytearray, byte_strings))


def hashable_containers(items: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.one_of(
        st.lists(items, max_size=6).map(tuple),
        st.frozensets(items, max_size=6),
        st.builds(Point, items, items),
        st.builds(Account, st.text(max_size=5), items),
        st.builds(lambda value: NewArguments(value=value), items),
    )


def containers(items: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.one_of(
        st.lists(items, max_size=6),
        st.lists(items, max_size=6).map(tuple),
        st.dictionaries(hashable_leaves, items, max_size=6),
        st.lists(items, max_size=4).map(collections.deque),
        st.builds(Plain, items),
        st.builds(Reduced, items),
        st.builds(Point, items, items),
        st.builds(Account, st.text(max_size=5), items),
    )


hashables = st.recursive(hashable_leaves, hashable_containers, max_leaves=8)
objects = st.recursive(
    st.one_of(leaves, hashables, st.sets(hashables, max_size=5)), containers, max_leaves=15
)
# Drawing from a few objects again and again is what makes a pickler fetch from its memo.
shared_objects = st.lists(objects, min_size=1, max_size=4).flatmap(
    lambda pool: st.recursive(st.sampled_from(pool), containers, max_leaves=15)
)


@brief
@given(objects)
def test_any_object(value: object) -> None:
    check_object(value)


@pytest.mark.slow
@generous
@given(shared_objects)
def test_objects_with_shared_references(value: object) -> None:
    check_object(value)


def recursive_objects() -> Iterator[object]:
    in_list: list[object] = []
    in_list.append(in_list)
    yield in_list
    in_dict: dict[str, object] = {}
    in_dict['self'] = in_dict
    yield in_dict
    in_tuple: tuple[list[object], str] = ([], 'tail')
    in_tuple[0].append(in_tuple)
    yield in_tuple
    plain = Plain(None)
    plain.value = {'me': plain, 'twice': (plain, plain)}
    yield plain
    member = Plain(None)
    member.value = frozenset([member])
    yield member.value
    reduced = Reduced()
    reduced.value = [reduced.items]
    yield [reduced, reduced]


@pytest.mark.parametrize('value', [*recursive_objects()], ids=lambda value: type(value).__name__)
def test_recursive_objects(value: object) -> None:
    check_object(value)


def test_an_object_with_slots() -> None:
    for protocol in PROTOCOLS[2:]:
        check_same(pickle.dumps([Slotted('a'), Slotted('a')], protocol))


@pytest.mark.parametrize('code', [1, 0xFF, 0x100, 0xFFFF, 0x10000, 0x7FFFFFFF])
def test_an_object_in_the_extension_registry(code: int) -> None:
    copyreg.add_extension(__name__, 'Extension', code)
    try:
        check_object([Extension, Extension(), Extension])
    finally:
        copyreg.remove_extension(__name__, 'Extension', code)


@pytest.mark.slow
@pytest.mark.parametrize('count', [1, 63, 64, 65, 255, 256, 257, 1000, 5000])
def test_many_memo_entries(count: int) -> None:
    names = [f'name {number}' for number in range(count)]
    check_object(names)
    check_object(names + names)
    check_object(names + names[::2] + names[1::3])
    check_object((names, tuple(names), dict.fromkeys(names)))


@pytest.mark.parametrize('protocol', [4, 5])
def test_keys_do_not_need_pickletools(protocol: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the C code can do it does, rather than pass everything on to pickletools.

    It can do protocols 4 and 5, which nobody has to ask for, and keys of up to 64 KiB.
    """
    keys: list[object] = [
        ('mod.func', 1, 'abc', None),
        ('é€\ud800\U0001f600', 'back\\slash\n', b'bytes', bytearray(b'array'), True, False),
        (0, -1, 255, 2**16, -(2**31), 2**63, -(2**100), 1.5, -0.0, 1e300, float('nan'), 1j),
        (float('inf'), -float('inf'), 5e-324),
        (('same',) * 3, frozenset([1, 2]), {'a': [1, {2}]}, ..., int, len, Color.RED),
        (Point(1, 2), Account('name', 3), Plain(4), datetime.datetime(2020, 1, 1)),
        (decimal.Decimal('1.5'), fractions.Fraction(1, 3), uuid.UUID(int=1)),
        [str(number) for number in range(300)] * 2,
        (b'x' * 30_000, 'y' * 30_000, 2**3000),
    ]
    streams = [pickle.dumps(key, protocol) for key in keys]
    expected = [pickletools.optimize(data) for data in streams]

    def fail(*arguments: object, **keywords: object) -> None:
        raise AssertionError('pickletools was called')

    monkeypatch.setattr(pickletools, '_genops', fail)
    assert [_core._optimize_pickle(data) for data in streams] == expected


def test_an_optimized_key_still_loads() -> None:
    key = ('mod.func', ('twice', 'twice'), 'twice', 1.5, None)
    for protocol in PROTOCOLS:
        assert pickle.loads(_core._optimize_pickle(pickle.dumps(key, protocol))) == key


@pytest.mark.slow
@generous
@given(objects)
def test_optimizing_twice_changes_nothing(value: object) -> None:
    for protocol in PROTOCOLS:
        once = pickletools.optimize(pickle.dumps(value, protocol))
        check_same(once)


def test_buffers_out_of_band() -> None:
    payload = bytearray(b'payload')
    for read_only in (False, True):
        view = memoryview(payload).toreadonly() if read_only else payload
        value = ['before', pickle.PickleBuffer(view), 'before', pickle.PickleBuffer(view)]
        buffers: list[pickle.PickleBuffer] = []
        check_same(pickle.dumps(value, 5, buffer_callback=buffers.append))
        check_same(pickle.dumps(value, 5))
        assert buffers


def test_a_stream_of_the_pickler_in_python() -> None:
    value = [('a', 'a'), {'k': b'x' * 70_000}, ['y' * 70_000], Plain(1)]
    for protocol in PROTOCOLS:
        check_same(pickle._dumps(value, protocol))  # type: ignore[attr-defined]


# ---- Frames ----


def binbytes(size: int) -> bytes:
    """Return a BINBYTES opcode of that size in all."""
    payload = size - 5
    return b'B' + struct.pack('<I', payload) + bytes(payload)


NEAR_TARGET = range(FRAME_SIZE_TARGET - 3, FRAME_SIZE_TARGET + 4)


@pytest.mark.slow
@pytest.mark.parametrize('size', NEAR_TARGET)
def test_a_frame_near_its_target_size(size: int) -> None:
    head = b'\x80\x04'
    check_same(head + b'N' * size + b'.')
    check_same(head + b'N' * size + b'\x94h\0.')
    check_same(head + b'N\x94' + b'N' * size + b'h\0' * 5 + b'.')
    check_same(head + b'N\x94' * size + b'h\0.')
    check_same(head + b'N' * size + b'\x94' * 20 + b'N' * size + b'.')
    check_same(head + b'N' * size + b'\x80\x05' + b'N' * size + b'.')
    check_same(head + b'N' * size + b'\x95' + bytes(8) + b'.')
    check_same(b'\x80\x03' + b'N' * size + b'.')


@pytest.mark.parametrize('size', NEAR_TARGET)
def test_an_opcode_near_the_target_size(size: int) -> None:
    for head in (b'\x80\x04', b'\x80\x03', b''):
        check_same(head + binbytes(size) + b'.')
        check_same(head + binbytes(size) * 2 + b'.')
        for count in range(6):
            check_same(head + b'N' * count + binbytes(size) + b'N' * count + binbytes(size) + b'.')


@pytest.mark.parametrize('count', range(7))
def test_a_frame_near_its_least_size(count: int) -> None:
    check_same(b'\x80\x04' + b'N' * count + b'.')
    check_same(b'\x80\x05' + b'N' * FRAME_SIZE_TARGET + b'N' * count + b'.')
    check_same(b'\x80\x05' + binbytes(70_000) + b'N' * count + b'.')


@brief
@given(st.lists(st.integers(5, 70_000), max_size=12), st.sampled_from(PROTOCOLS))
def test_any_sequence_of_long_opcodes(sizes: list[int], protocol: int) -> None:
    check_same(b'\x80%c' % protocol + b'\x94'.join(map(binbytes, sizes)) + b'h\0N.')


@pytest.mark.parametrize('protocol', PROTOCOLS)
def test_lists_of_long_values(protocol: int) -> None:
    for size in (1_000, 30_000, 65_530, 65_536, 65_540, 200_000):
        check_same(pickle.dumps([b'x' * size, 'y' * size, b'z' * size, 'é' * size], protocol))
    check_same(pickle.dumps([f'{number:050}' for number in range(5_000)], protocol))


# ---- Streams that no pickler writes ----

HAND_MADE = {
    'empty': b'',
    'nothing but STOP': b'.',
    'no STOP': b'\x80\x04N',
    'something after STOP': b'\x80\x04N\x94.N\x94garbage',
    'an unknown opcode': b'\x80\x04\xffN.',
    'protocol 6': b'\x80\x06N.',
    'protocol 255': b'\x80\xffN.',
    'protocol 6 later': b'N\x80\x06.',
    'a late PROTO': b'N\x80\x02.',
    'a late PROTO of a framed protocol': b'\x80\x02N\x94NNNN\x80\x04h\0.',
    'two PROTO': b'\x80\x04\x80\x02NNNNN.',
    'PROTO cut short': b'\x80',
    'BINGET without a header': b'Nq\0h\0.',
    'LONG_BINGET without a header': b'Nr\0\0\0\0j\0\0\0\0.',
    'GET without a header': b'Np0\ng0\n.',
    'GET and BINGET': b'Np0\ng0\nh\0.',
    'GET of a binary PUT': b'Nq\0g0\n.',
    'GET under protocol 2': b'\x80\x02Np0\ng0\n.',
    'GET under protocol 4': b'\x80\x04Np0\ng0\n.',
    'MEMOIZE under protocol 0': b'N\x94g0\n.',
    'MEMOIZE under protocol 2': b'\x80\x02N\x94h\0.',
    'PUT under protocol 4': b'\x80\x04Np0\nNq\1Nr\2\0\0\0h\1.',
    'FRAME under protocol 2': b'\x80\x02\x95\xff\xff\xff\xff\xff\xff\xff\xffNq\0.',
    'FRAME without a header': b'\x95' + bytes(8) + b'NNNNN.',
    'FRAME cut short': b'\x80\x04\x95' + bytes(7),
    'a GET without its PUT': b'\x80\x02Nh\0.',
    'a GET in text without its PUT': b'Ng0\n.',
    'a GET before its PUT': b'\x80\x02h\0Nq\0.',
    'a GET in text before its PUT': b'g0\nNp0\n.',
    'PUT that does not begin at 0': b'\x80\x02Nq\7h\7.',
    'PUT downwards': b'\x80\x02Nq\1Nq\0h\0h\1.',
    'PUT twice': b'\x80\x02Nq\0Nq\0h\0.',
    'PUT twice and MEMOIZE': b'\x80\x02Nq\0Nq\0N\x94h\1.',
    'PUT ahead of MEMOIZE': b'\x80\x02Nq\1N\x94h\1.',
    'PUT far away': b'\x80\x02Nr\xff\xff\xff\xffj\xff\xff\xff\xff.',
    'PUT of a large number': b'Np99999999999999999999\ng99999999999999999999\n.',
    'PUT of a negative number': b'Np-1\ng-1\n.',
    'PUT with leading zeros': b'Np00\ng000\n.',
    'PUT of True': b'Np0\nNp01\ng1\n.',
    'PUT with spaces': b'Np 0 \ng0\n.',
    'PUT of an empty line': b'Np\n.',
    'PUT without a newline': b'Np0',
}


@pytest.mark.parametrize('data', HAND_MADE.values(), ids=HAND_MADE.keys())
def test_a_hand_made_stream(data: bytes) -> None:
    check_stream(data)


def counted(width: str, payloads: list[bytes]) -> list[bytes]:
    """Return arguments with a length before them: right ones, then ones that are too long."""
    size = struct.calcsize(width)
    highest = b'\xff' * (size - 1)
    right = [struct.pack(width, len(payload)) + payload for payload in payloads]
    return [*right, struct.pack(width, 3), highest + b'\x7f', highest + b'\xff']


BYTES = [b'', b'abc', b'\xff.\n\x94', bytes(255)]
UTF8 = [
    b'',
    b'ascii',
    b'ascii that is longer than a block',
    'é€\U0001f600'.encode(),
    'mostly ascii, é, and more ascii'.encode(),
    b'\xed\xa0\x80',
    b'\xed\xbf\xbf',
    b'\xf4\x8f\xbf\xbf',
    b'\x80',
    b'\xbf',
    b'\xc0\x80',
    b'\xc1\xbf',
    b'\xc2',
    b'\xc2A',
    b'\xc2\xc2',
    b'\xe0\x9f\xbf',
    b'\xe2\x82',
    b'\xe2\x82A',
    b'\xed\xc0\x80',
    b'\xf0\x8f\xbf\xbf',
    b'\xf0\x9f\x98',
    b'\xf4\x90\x80\x80',
    b'\xf5\x80\x80\x80',
    b'\xff',
    b'12345678\xff',
]
INTEGERS = [
    *(b'0', b'1', b'00', b'01', b'02', b'-1', b'-0', b'+1', b'007', b'', b'-', b'--1', b' 1 '),
    *(b'1_000', b'_1', b'1.0', b'1e3', b'0x10', b'L', b'1LL', b'a', b'1\r', b'\xd9\xa1'),
    *(b'9' * 640, b'-' + b'9' * 640, b'9' * 641, b'9' * 4300, b'9' * 4301, b'9' * 70_000),
]
NAMES = [
    *(b'os', b'', b'with space', b'\xc3\xa9', b'\\n', b'\\', b'\\x41', b'\\q', b'a\0b', b'\x7f'),
    b'n' * 70_000,
]
ARGUMENTS: dict[str, list[bytes]] = {
    'uint1': [b'\0', b'\1', b'\5', b'\xff'],
    'uint2': [b'\0\0', b'\xff\xff', b'\n.'],
    'uint4': [bytes(4), b'\1\0\0\0', b'\xff' * 4],
    'int4': [bytes(4), b'\xff' * 4, b'\0\0\0\x80'],
    'uint8': [bytes(8), b'\xff' * 8],
    'float8': [struct.pack('>d', 1.5), struct.pack('>d', float('nan'))],
    'string1': counted('<B', BYTES),
    'string4': counted('<I', BYTES),
    'bytes1': counted('<B', BYTES),
    'bytes4': counted('<I', BYTES),
    'bytes8': counted('<Q', BYTES),
    'bytearray8': counted('<Q', BYTES),
    'long1': counted('<B', BYTES),
    'long4': counted('<I', BYTES),
    'unicodestring1': counted('<B', UTF8),
    'unicodestring4': counted('<I', UTF8),
    'unicodestring8': counted('<Q', UTF8),
    'decimalnl_short': [line + b'\n' for line in INTEGERS],
    'decimalnl_long': [line + end for line in INTEGERS for end in (b'\n', b'L\n')],
    'floatnl': [
        line + b'\n'
        for line in (
            *(b'1.5', b'-1.5', b'0.0', b'-0.0', b'1e+16', b'1.5e-07', b'1e400', b'1', b'12e5'),
            *(b'inf', b'-inf', b'nan', b'-nan', b'Infinity', b'NaN', b'+1.5', b'.5', b'5.'),
            *(b'', b'-', b'.', b'e5', b'1e', b'1e+', b'1.5.5', b'1_0.0', b' 1.5', b'1.5x', b'x'),
        )
    ],
    'stringnl': [
        line + b'\n'
        for line in (
            *(b"'abc'", b'"abc"', b"''", b"'", b'"', b'abc', b'', b"'abc", b"abc'", b'\'abc"'),
            *(b"'a\\nb'", b"'\\'", b"'\\x4'", b"'\xe9'", b"'\\xe9'", b"'it's'", b"'a\"b'"),
        )
    ],
    'stringnl_noescape': [name + b'\n' for name in NAMES],
    'stringnl_noescape_pair': [one + b'\n' + two + b'\n' for one in NAMES for two in NAMES[:6]],
    'unicodestringnl': [
        line + b'\n'
        for line in (
            *(b'', b'ascii', b'\xe9\xff', b'\\u20ac', b'\\U0001f600', b'\\U0010ffff', b'\\ud800'),
            *(b'\\U00110000', b'\\Uffffffff', b'\\u20a', b'\\u20ag', b'\\U0001f60', b'\\u', b'\\'),
            *(b'\\\\', b'\\\\u', b'\\\\u20ac', b'\\\\\\u20ac', b'\\\\\\u', b'\\n\\x41', b'a\\'),
        )
    ],
}


def encodings(info: pickletools.OpcodeInfo) -> list[bytes]:
    """Return the opcode with every one of its arguments above."""
    code = info.code.encode('latin-1')
    return [code + argument for argument in (ARGUMENTS[info.arg.name] if info.arg else [b''])]


@pytest.mark.parametrize('info', pickletools.opcodes, ids=lambda info: info.name)
def test_each_opcode_alone(info: pickletools.OpcodeInfo) -> None:
    for encoded in encodings(info):
        for head in (b'', b'\x80\x02', b'\x80\x04', b'Np0\n', b'\x80\x05N\x94'):
            check_stream(head + encoded + b'.')
            check_stream(head + encoded + b'NNN' + encoded + b'h\0.')


@pytest.mark.parametrize('info', pickletools.opcodes, ids=lambda info: info.name)
def test_each_opcode_in_a_second_frame(info: pickletools.OpcodeInfo) -> None:
    first_frame = b'\x80\x04N\x94' + binbytes(FRAME_SIZE_TARGET)
    for encoded in encodings(info):
        check_stream(first_frame + encoded + b'NNNNh\0.')


@pytest.mark.parametrize('info', pickletools.opcodes, ids=lambda info: info.name)
def test_each_opcode_cut_short(info: pickletools.OpcodeInfo) -> None:
    for encoded in encodings(info):
        for size in {0, 1, 2, 3, 4, 5, 8, 9, len(encoded) // 2, len(encoded) - 1, len(encoded)}:
            check_stream(encoded[:size])
            check_stream(b'\x80\x04N\x94' + encoded[:size])


@pytest.mark.parametrize('code', range(256))
def test_every_byte_as_an_opcode(code: int) -> None:
    for tail in (b'', b'.', bytes(8) + b'.', b'0\n0\n.', b'\1a\n.'):
        check_stream(bytes([code]) + tail)


# Memo numbers near those a stream really has, so that some of the streams are right.
memo_opcodes = st.one_of(
    st.just(b'\x94'),
    st.builds(
        lambda form, number: form(number),
        st.sampled_from(
            [
                lambda number: b'p%d\n' % number,
                lambda number: b'q%c' % number,
                lambda number: b'r' + struct.pack('<I', number),
                lambda number: b'g%d\n' % number,
                lambda number: b'h%c' % number,
                lambda number: b'j' + struct.pack('<I', number),
            ]
        ),
        st.integers(0, 4),
    ),
)
any_opcodes = st.sampled_from(
    [encoded for info in pickletools.opcodes for encoded in encodings(info) if len(encoded) < 100]
)
heads = st.sampled_from([b'', *(b'\x80%c' % protocol for protocol in range(7))])


@brief
@given(heads, st.lists(st.one_of(memo_opcodes, st.just(b'N')), max_size=20))
def test_any_stream_of_memo_opcodes(head: bytes, opcodes: list[bytes]) -> None:
    check_stream(head + b''.join(opcodes) + b'.')


@brief
@given(heads, st.lists(st.one_of(memo_opcodes, any_opcodes), max_size=8))
def test_any_stream_of_opcodes(head: bytes, opcodes: list[bytes]) -> None:
    check_stream(head + b''.join(opcodes) + b'.')


@brief
@given(st.binary(max_size=100))
def test_garbage(data: bytes) -> None:
    check_stream(data)
    check_stream(data + b'.')


@pytest.mark.slow
@generous
@given(shared_objects, st.sampled_from(PROTOCOLS), st.data())
def test_a_damaged_pickle(value: object, protocol: int, choice: st.DataObject) -> None:
    data = bytearray(pickle.dumps(value, protocol))
    for _ in range(choice.draw(st.integers(1, 3))):
        # What is drawn must not depend on the pickle: which equal objects it shares varies.
        at = choice.draw(st.integers(0, 2**16)) % (len(data) + 1)
        new = choice.draw(st.one_of(st.binary(max_size=2), any_opcodes, memo_opcodes))
        data[at : at + choice.draw(st.integers(0, 3))] = new
    check_stream(bytes(data))


@pytest.mark.parametrize('protocol', PROTOCOLS)
def test_a_truncated_pickle(protocol: int) -> None:
    data = pickle.dumps([('mod.func', 1, 'é', None, 2**70, 1.5, Point(1, 2))] * 2, protocol)
    for size in range(len(data)):
        check_stream(data[:size])


# ---- Keys without the pickler ----

KEY_PROTOCOLS = (4, 5)
KEY_OBJECTS_MAX = 32
KEY_SIZE_MAX = 65_536 - 2 - 9  # of what PROTO and FRAME leave of the buffer


def optimized(key: object, protocol: int) -> bytes:
    return pickletools.optimize(pickle.dumps(key, protocol))


def size_in_frames(key: object) -> int:
    """Return how many bytes all opcodes but PROTO and FRAME take."""
    data = optimized(key, 5)
    frames = sum(opcode.name == 'FRAME' for opcode, _, _ in pickletools.genops(data))
    return len(data) - 2 - 9 * frames


def parts(key: object) -> Iterator[object]:
    """Yield the key and all that is in it."""
    yield key
    if isinstance(key, tuple):
        for item in key:
            yield from parts(item)


def is_simple(key: object) -> bool:
    """Return whether the key is one that needs no pickler."""
    remembered = []
    for part in parts(key):
        if type(part) not in (tuple, str, bytes, int, float, bool, type(None)):
            return False
        if isinstance(part, int) and not -(2**63) <= part < 2**63:
            return False
        if isinstance(part, str) and any('\ud800' <= character <= '\udfff' for character in part):
            return False
        if isinstance(part, (str, bytes)) or (isinstance(part, tuple) and part):
            remembered.append(id(part))
    return (
        len(set(remembered)) == len(remembered) <= KEY_OBJECTS_MAX
        and size_in_frames(key) <= KEY_SIZE_MAX
    )


def check_key(key: object) -> None:
    """Assert that a simple key is pickled as it should be, and any other is not."""
    simple = is_simple(key)
    for protocol in KEY_PROTOCOLS:
        actual = _core._pickle_key(key, protocol)
        expected = optimized(key, protocol) if simple else None
        if actual != expected:
            pytest.fail(f'{key!r:.200}: {actual!r:.200} is not {expected!r:.200}')


def check_simple(key: object) -> None:
    assert is_simple(key)
    check_key(key)


def check_declined(key: object) -> None:
    for protocol in KEY_PROTOCOLS:
        assert _core._pickle_key(key, protocol) is None
        assert _core._pickle_key((1, (key, 'tail')), protocol) is None


INTEGER_EDGES = [
    sign * (2**power) + offset
    for power in (0, 7, 8, 15, 16, 23, 24, 31, 32, 39, 40, 47, 48, 55, 56, 62, 63, 64, 127, 2040)
    for sign in (1, -1)
    for offset in (-2, -1, 0, 1, 2)
]
SIZE_EDGES = [0, 1, 2, 3, 254, 255, 256, 257, 65_534, 65_535, 65_536, 65_537, 70_000]
FLOATS = [
    *(0.0, -0.0, 1.0, -1.5, 0.1, 1e308, -1e308, 5e-324, -5e-324, 2.2250738585072014e-308),
    *(sys.float_info.max, sys.float_info.epsilon, float('inf'), float('-inf')),
    *(float('nan'), -float('nan'), struct.unpack('<d', b'\1\2\3\4\5\6\xf7\x7f')[0]),
]
key_texts = st.one_of(
    st.text(max_size=20),
    st.text(st.characters(), max_size=5),  # surrogates among them
    st.sampled_from(['', 'a', 'é', '€', '\U0001f600', 'name', 'mod.func', sys.intern('interned')]),
    st.builds(
        lambda character, size: character * size,
        st.sampled_from(['a', 'é', '€', '\U0001f600']),
        st.sampled_from(SIZE_EDGES[:8]),
    ),
)
key_leaves = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.integers(-(2**63), 2**63 - 1),
    st.sampled_from(INTEGER_EDGES),
    st.floats(),
    st.sampled_from(FLOATS),
    key_texts,
    st.binary(max_size=20),
    st.builds(bytes, st.sampled_from(SIZE_EDGES)),
)


def tuples_of(items: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.lists(items, max_size=6).map(tuple)


simple_keys = st.recursive(st.one_of(key_leaves, st.just(())), tuples_of, max_leaves=25)
keys_with_repetitions = st.lists(simple_keys, min_size=1, max_size=30).flatmap(
    lambda pool: st.recursive(st.sampled_from(pool), tuples_of, max_leaves=8)
)


@brief
@given(simple_keys)
def test_any_simple_key(key: object) -> None:
    check_key(key)


@pytest.mark.slow
@generous
@given(keys_with_repetitions)
def test_a_key_with_repetitions(key: object) -> None:
    check_key(key)


@brief
@given(objects)
def test_any_object_as_a_key(key: object) -> None:
    check_key(key)


@pytest.mark.parametrize('number', INTEGER_EDGES)
def test_an_int_at_the_edge_of_an_opcode(number: int) -> None:
    check_key(number)
    check_key((number, -number, (number,)))


@pytest.mark.parametrize('number', FLOATS, ids=lambda number: struct.pack('>d', number).hex())
def test_a_float(number: float) -> None:
    check_simple(number)
    check_simple((number, number))


@pytest.mark.parametrize('size', SIZE_EDGES)
def test_text_and_bytes_at_the_edge_of_an_opcode(size: int) -> None:
    for key in (bytes(size), *(character * size for character in 'aé€\U0001f600')):
        check_key(key)
        check_key((key, 1))
        check_key(('head', key, (key[:0], key[: size // 2])))


@pytest.mark.parametrize('text', ['é', '€', '\U0001f600'])
def test_text_whose_encoding_is_at_the_edge_of_an_opcode(text: str) -> None:
    for size in (255, 256, 65_400):
        for extra in range(5):
            check_key('x' * extra + text * (size // len(text.encode())))


@pytest.mark.parametrize('key', [None, True, 0, 255, 256, -1, '', 'a', b'', b'a', (), ((),), (1,)])
def test_a_pickle_at_the_least_size_of_a_frame(key: object) -> None:
    check_simple(key)


@pytest.mark.parametrize('size', range(8))
def test_a_tuple_of_each_size(size: int) -> None:
    check_simple(tuple(range(size)))
    check_simple(((),) * size)
    check_simple(tuple((number,) * number for number in range(size)))
    check_simple((None, tuple(range(size)), True))


@pytest.mark.slow
@pytest.mark.parametrize('longest', [KEY_SIZE_MAX, FRAME_SIZE_TARGET])
@pytest.mark.parametrize('difference', range(-12, 4))
def test_a_key_near_the_longest(longest: int, difference: int) -> None:
    size = longest + difference
    payload = bytes(size - 20)
    for tail in range(14):
        check_key((payload, *(None,) * tail))
        check_key((payload.decode(), *(None,) * tail))
    check_key(('é' * (size // 2), size % 2 == 1))
    check_key((None,) * size)
    check_key((1,) * (size // 2))
    check_key(((payload,), (), 'tail'))


def test_a_key_of_several_frames() -> None:
    half = FRAME_SIZE_TARGET // 2
    check_key((b'x' * half, b'y' * half, b'z' * half))
    check_key((b'x' * half, 'y' * half, 1.5, (None, 'tail')))
    check_declined(tuple(range(100_000)))


def test_the_same_object_twice() -> None:
    text, octets, items = 'some text', b'some bytes', (1, 2)
    for twice in (text, octets, items):
        for key in (
            (twice, twice),
            (twice, 1, 2, 3, 4, twice),
            (twice, (twice,)),
            ((0, (twice,)), ('between', twice)),
        ):
            assert pickle.loads(optimized(key, 5)) == key
            check_declined(key)


def test_constants_that_are_the_same_object() -> None:
    check_declined((sys.intern('name'), sys.intern('name')))
    check_declined(('', ''))
    check_declined((b'', b''))
    check_declined((chr(0x61), chr(0x61)))  # there is one object for each character of Latin-1
    check_simple(((), ()))
    check_simple((None, None, True, True, 1, 1))
    number = 10**9
    check_simple((number, number))
    check_simple((FLOATS[4], FLOATS[4]))


def test_equal_objects_that_are_not_the_same() -> None:
    text = 'some text'
    check_simple((text, ''.join(['some', ' text']), text.encode(), text.encode()))
    check_simple(((1, text), (1, ''.join(['some', ' text']))))


@pytest.mark.parametrize('count', range(KEY_OBJECTS_MAX - 3, KEY_OBJECTS_MAX + 3))
def test_as_many_objects_as_can_be_remembered(count: int) -> None:
    names = [f'name {number}' for number in range(count)]
    check_key(tuple(names))
    check_key(tuple(name.encode() for name in names))
    check_key(((0, *names[:5]), (1, *names[5:]), ()))
    check_key((*names[:-1], names[0]))
    check_key((*names[:-1], names[-2]))
    check_key((*names, *range(1000), *[()] * 1000))


@pytest.mark.parametrize('depth', [*range(40), 1000, 100_000])
def test_tuples_in_tuples(depth: int) -> None:
    key: tuple[Any, ...] = ()
    for level in range(depth):
        key = (key,) if level % 2 else (key, 1)
    if depth < 40:
        check_key(key)
    else:
        check_declined(key)
    while key:  # Python 3.10 to 3.12 would take such a one apart recursively
        key = key[0]


@pytest.mark.parametrize(
    'text', [chr(0xD800), chr(0xDFFF), 'a\udc80', '€\udbff', '\U0001f600\ud83d\ude00']
)
def test_a_surrogate(text: str) -> None:
    check_declined(text)
    check_declined('x' * 60_000 + text)
    check_simple(''.join(chr(ord(character) ^ 0x8000) for character in text))


@pytest.mark.parametrize('text', ['a\udbff', 'b\udc80', '\U0001f600\udfff'])
def test_declining_a_surrogate_runs_no_python_code(text: str) -> None:
    calls = []

    def strict(error: UnicodeError) -> tuple[str, int]:
        calls.append(error)
        raise error

    codecs.register_error('strict', strict)
    try:
        check_declined(text)
    finally:
        codecs.register_error('strict', codecs.strict_errors)
    assert not calls


def test_text_beside_the_surrogates() -> None:
    check_simple('\ud7ff\ue000')
    check_simple('\U0001d800\U0010dfff')


@pytest.mark.parametrize(
    'key',
    [
        *(Text('text'), Octets(b'bytes'), Number.ONE, Real(1.5), Several((1, 2)), Point(1, 2)),
        *([], [1], {}, set(), frozenset([1]), bytearray(b'a'), 1j, ..., NotImplemented, object()),
        *(decimal.Decimal(1), datetime.date(2020, 1, 1), uuid.UUID(int=1), Color.RED, int, len),
        *(memoryview(b'a'), (number for number in ()), type(None), Plain(1), range(3)),
    ],
    ids=lambda key: type(key).__name__,
)
def test_objects_of_other_types(key: object) -> None:
    check_declined(key)


@pytest.mark.parametrize('protocol', [-(2**70), -(2**32) + 5, -1, 0, 1, 2, 3, 6, 2**32 + 5, 2**70])
def test_other_protocols(protocol: int) -> None:
    assert _core._pickle_key(('name', 1), protocol) is None


def test_a_protocol_must_be_an_int() -> None:
    for protocol in ('5', 5.0, None):
        with pytest.raises(TypeError):
            _core._pickle_key((), protocol)  # type: ignore[arg-type]


def test_a_simple_key_still_loads() -> None:
    key = ('mod.func', 1, None, ('nested', b'bytes', -(2**40)), 'é€', 1.5, True, ())
    for protocol in KEY_PROTOCOLS:
        pickled = _core._pickle_key(key, protocol)
        assert pickled is not None
        assert pickle.loads(pickled) == key


@pytest.mark.parametrize('protocol', [-1, *PROTOCOLS, True, Number.FIVE])
def test_a_disk_heeds_its_protocol(protocol: int, tmp_path: Path) -> None:
    disk = Disk(str(tmp_path), pickle_protocol=4)
    disk.pickle_protocol = protocol
    twice = 'twice'
    for key in (('name', 1, None), (), None, True, 2**64, (twice, twice), ['list'], Point(1, 2)):
        pickled, raw = disk.put(key)
        assert not raw
        assert bytes(pickled) == optimized(key, protocol)


def test_a_disk_without_a_protocol(tmp_path: Path) -> None:
    disk = Disk(str(tmp_path))
    del disk.pickle_protocol
    with pytest.raises(AttributeError):
        disk.put(('name', 1))
    with pytest.raises(TypeError):
        disk.pickle_protocol = '5'  # type: ignore[assignment]
    with pytest.raises(AttributeError):
        disk.put(('name', 1))


# A Python that pickles otherwise.

OTHERWISE = """
import logging, pickle, pickletools, sys
messages = []
class Keep(logging.Handler):
    def emit(self, record):
        messages.append((record.name, record.levelname, record.getMessage()))
logging.getLogger().addHandler(Keep())
{change}
import diskcache
for protocol in (5, 2):
    with diskcache.Cache(sys.argv[1] + str(protocol), disk_pickle_protocol=protocol) as cache:
        for key in (('name', 1), ['list']):
            cache[key] = 'value'
            assert cache[key] == 'value'
            expected = pickletools.optimize(pickle.dumps(key, protocol))
            ((stored,),) = cache._sql('SELECT key FROM Cache ORDER BY rowid DESC LIMIT 1')
            assert bytes(stored) == expected, (stored, expected)
        assert list(cache) == [('name', 1), ['list']]
print([(name, level, 'pickles keys otherwise' in text) for name, level, text in messages])
"""


@pytest.mark.parametrize(
    ('change', 'warnings'),
    [
        ('', 0),
        ('pickletools.optimize = lambda pickled: pickled', 1),
        ('dumps = pickle.dumps; pickle.dumps = lambda key, protocol: dumps(key, protocol - 1)', 1),
    ],
)
def test_keys_are_left_to_a_pickle_module_that_makes_other_bytes(
    change: str, warnings: int, tmp_path: Path
) -> None:
    """Keys are found by their bytes, which must be those of this Python's own modules.

    Protocol 5 is checked; protocol 2 is left to those modules anyhow: nothing to warn of.
    """
    script = OTHERWISE.format(change=change)
    run = subprocess.run(
        [sys.executable, '-c', script, str(tmp_path / 'cache')], capture_output=True, text=True
    )
    assert run.returncode == 0, run.stderr
    expected = [('diskcache.mechanism', 'WARNING', True)] * warnings
    assert run.stdout.strip() == repr(expected)
