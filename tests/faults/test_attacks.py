"""What somebody does who can write to a directory, and must not get from those who read it.

Against SafeDisk: pickles, written by hand, that would call, change or import something. The tricks
are those by which restricted unpicklers have been got round. Against SignedDisk: rows and files
that are changed, moved, exchanged or made up.
"""

from __future__ import annotations

import collections
import copyreg
import fractions
import io
import os
import pickle
import shutil
import sqlite3
import struct
import sys
import uuid
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import safe_types
from consistency import report_texts
from safe_types import Called, Items, Point

from diskcache import Cache, Deque, FanoutCache, Index, RefusedError, SafeDisk, SignedDisk
from diskcache.constants import MODE_PICKLE, MODE_RAW

# --- pickles ---


def text(value: str) -> bytes:
    """Push a text."""
    return pickle.SHORT_BINUNICODE + bytes([len(value)]) + value.encode()


def named(module: str, name: str) -> bytes:
    """Push what has a name."""
    return text(module) + text(name) + pickle.STACK_GLOBAL


def called(function: bytes, *arguments: bytes) -> bytes:
    """Push what a function returns."""
    return function + pickle.MARK + b''.join(arguments) + pickle.TUPLE + pickle.REDUCE


def dictionary(**items: bytes) -> bytes:
    """Push a dict."""
    pairs = b''.join(text(name) + value for name, value in items.items())
    return pickle.EMPTY_DICT + pickle.MARK + pairs + pickle.SETITEMS


def slots(**items: bytes) -> bytes:
    """Push a state for BUILD that sets attributes."""
    return pickle.NONE + dictionary(**items) + pickle.TUPLE2


POINT = named('safe_types', 'Point')
A_POINT = POINT + pickle.EMPTY_TUPLE + pickle.NEWOBJ
CALLED = named('safe_types', 'Called')
A_CALLED = CALLED + pickle.EMPTY_TUPLE + pickle.NEWOBJ
NUMBER = pickle.BININT1 + b'\x07'
RUN = b'touch pwned'

#: Each must neither call nor change anything. `EXT` stands for a code that has been used before.
PICKLES: dict[str, bytes] = {
    # Names.
    'a function': called(named('os', 'system'), text(RUN.decode())),
    'a function, as protocol 0 has it': b"cos\nsystem\n(S'" + RUN + b"'\ntR.",
    'an old name': b"c__builtin__\neval\n(S'1'\ntR.",
    'an instance of an old class': b"(S'" + RUN + b"'\nios\nsystem\n.",
    'the same, the class on the stack': b"(cos\nsystem\nS'" + RUN + b"'\no.",
    'a module': named('os', ''),
    'a dotted name': called(named('safe_types', 'Called.__call__'), A_CALLED, NUMBER),
    'a module in a module': named('datetime', 'sys.modules'),
    'a method of an allowed type': named('collections', 'OrderedDict.fromkeys'),
    'attributes of an allowed type': named('uuid', 'UUID.__init__.__globals__'),
    'bases of an allowed type': named('builtins', 'int.__base__.__subclasses__'),
    'a dotted module': named('os.path.os', 'system'),
    'a method of an added type': named('safe_types', 'Point.__init__'),
    'what a module has imported': named('safe_types', 'Popen'),
    'a module that it has imported': named('safe_types', 'dataclasses'),
    'a function of an added module': called(named('safe_types', 'function'), NUMBER),
    'builtins of an added module': named('safe_types', '__builtins__'),
    'no text as a name': NUMBER + text('system') + pickle.STACK_GLOBAL,
    'getattr': called(named('builtins', 'getattr'), A_POINT, text('__class__')),
    'eval': called(named('builtins', 'eval'), text('1')),
    'map': called(named('builtins', 'list'), called(named('builtins', 'map'), CALLED, NUMBER)),
    'type': called(named('builtins', 'type'), text('T'), pickle.EMPTY_TUPLE, dictionary()),
    'a type that makes types': called(
        named('safe_types', 'Meta'), text('T'), pickle.EMPTY_TUPLE, dictionary()
    ),
    'object': named('builtins', 'object') + pickle.EMPTY_TUPLE + pickle.NEWOBJ,
    'attrgetter': called(called(named('operator', 'attrgetter'), text('__class__')), A_POINT),
    'methodcaller': called(named('operator', 'methodcaller'), text('x')),
    'partial': called(named('functools', 'partial'), CALLED),
    'reduce': called(named('functools', 'reduce'), CALLED, NUMBER),
    'import_module': called(named('importlib', 'import_module'), text('antigravity')),
    'a pickle in the pickle': called(named('pickle', 'loads'), text('x')),
    'code': named('types', 'CodeType'),
    '_reconstructor': called(named('copyreg', '_reconstructor'), POINT, POINT, pickle.NONE),
    'another codec': called(named('_codecs', 'encode'), text('x'), text('rot13')),
    'another codec of a type': called(named('builtins', 'bytearray'), text('x'), text('mbcs')),
    'another codec of a text': called(named('builtins', 'str'), pickle.EMPTY_TUPLE, text('rot13')),
    'another codec of a new object': named('builtins', 'str')
    + b'C\x00'
    + text('rot13')
    + pickle.TUPLE2
    + pickle.NEWOBJ,
    'another codec by keyword': named('builtins', 'str')
    + pickle.EMPTY_TUPLE
    + dictionary(object=b'C\x00', encoding=text('rot13'))
    + pickle.NEWOBJ_EX,
    'a file that is no time zone': called(named('zoneinfo', 'ZoneInfo'), text('../../a.b')),
    'a subclass': named('builtins', 'BaseException') + pickle.EMPTY_TUPLE + pickle.NEWOBJ,
    'a factory': called(named('collections', 'defaultdict'), named('os', 'system')),
    'keywords': named('subprocess', 'Popen')
    + pickle.EMPTY_TUPLE
    + dictionary(args=text('x'))
    + pickle.NEWOBJ_EX,
    # Objects that are named in no table.
    'an extension code': b'EXT' + pickle.MARK + NUMBER + pickle.TUPLE + pickle.REDUCE,
    'a persistent id': b'Pid\n',
    'the same on the stack': NUMBER + pickle.BINPERSID,
    'a buffer': pickle.NEXT_BUFFER,
    # Calls of what the pickle has made.
    'an object is called': called(A_CALLED, NUMBER),
    'an object from the memo is called': A_CALLED
    + pickle.MEMOIZE
    + pickle.POP
    + called(pickle.BINGET + b'\x00', NUMBER),
    'an object is taken for a class': A_CALLED + pickle.EMPTY_TUPLE + pickle.NEWOBJ,
    'an object is called with keywords': A_CALLED
    + pickle.EMPTY_TUPLE
    + dictionary()
    + pickle.NEWOBJ_EX,
    'an object as a __setstate__': A_POINT
    + dictionary(__setstate__=A_CALLED)
    + pickle.BUILD
    + NUMBER
    + pickle.BUILD,
    'an object as an append': A_POINT
    + dictionary(append=A_CALLED)
    + pickle.BUILD
    + NUMBER
    + pickle.APPEND,
    'an object as an extend': A_POINT
    + dictionary(extend=A_CALLED)
    + pickle.BUILD
    + pickle.MARK
    + NUMBER
    + pickle.APPENDS,
    'an object as an add': A_POINT
    + dictionary(add=A_CALLED)
    + pickle.BUILD
    + pickle.MARK
    + NUMBER
    + pickle.ADDITEMS,
    # Changes of types.
    'a type gets an attribute': POINT + slots(x=NUMBER) + pickle.BUILD,
    'a type gets a method': POINT + slots(__eq__=CALLED) + pickle.BUILD,
    'a type from the memo': POINT
    + pickle.MEMOIZE
    + pickle.POP
    + pickle.BINGET
    + b'\x00'
    + slots(x=NUMBER)
    + pickle.BUILD,
    'a type of the library': named('uuid', 'UUID') + slots(x=NUMBER) + pickle.BUILD,
    'another': named('fractions', 'Fraction') + slots(x=NUMBER) + pickle.BUILD,
    'a third': named('collections', 'Counter') + slots(x=NUMBER) + pickle.BUILD,
    'a type gets a dict': POINT + dictionary(x=NUMBER) + pickle.BUILD,
    'a type built into Python': named('builtins', 'int') + slots(x=NUMBER) + pickle.BUILD,
    'an item of a type': named('safe_types', 'Colour') + text('RED') + NUMBER + pickle.SETITEM,
    'an object gets a class': A_POINT + slots(__class__=CALLED) + pickle.BUILD,
    'an object gets a dict': A_POINT + slots(__dict__=dictionary(a=NUMBER)) + pickle.BUILD,
}

DISKS = {
    'SafeDisk': SafeDisk,
    'with types': SafeDisk.with_types(Point, Items, Called, safe_types.Colour),
    'with a module': SafeDisk.with_types(modules=['safe_types']),
}


class Watched:
    """What must stay as it is."""

    TYPES = (Point, Called, Items, uuid.UUID, fractions.Fraction, collections.Counter)

    def __init__(self) -> None:
        Called.calls.clear()
        self.before = self._seen()

    def _seen(self) -> list[Any]:
        return [dict(vars(cls)) for cls in self.TYPES]

    def check(self) -> None:
        """See that it is."""
        assert Called.calls == []
        assert self._seen() == self.before
        assert not Path('pwned').exists()
        assert not {'antigravity', 'encodings.rot_13', 'encodings.mbcs'} & sys.modules.keys()


@pytest.fixture
def watched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Watched]:
    """See that nothing is called, made or changed."""
    monkeypatch.chdir(tmp_path)
    watched = Watched()
    yield watched
    watched.check()


@pytest.fixture
def extension_code() -> Iterator[bytes]:
    """The opcode of an extension that the program has and has used: then it is known as it is."""
    copyreg.add_extension('safe_types', 'function', 5)
    try:
        assert pickle.loads(pickle.dumps(safe_types.function)) is safe_types.function
        yield pickle.EXT1 + b'\x05'
    finally:
        copyreg.remove_extension('safe_types', 'function', 5)


def execute(directory: str, statement: str, *arguments: Any) -> list[Any]:
    """Do something to the database of somebody else."""
    with closing(sqlite3.connect(f'{directory}/cache.db', isolation_level=None)) as con:
        return con.execute(statement, arguments).fetchall()


def misses(lookup: Callable[[], Any]) -> bool:
    """Tell whether a lookup finds nothing, or what is there is no pickle that can be loaded."""
    try:
        return lookup() in ('missed', [])
    except (RefusedError, pickle.UnpicklingError, TypeError, AttributeError):
        return True


@pytest.mark.parametrize('attack', PICKLES)
def test_a_pickle_does_nothing_but_make_objects(
    directory: str, watched: Watched, request: pytest.FixtureRequest, attack: str
) -> None:
    """As a value in the row, in a file, and as a key: a miss, or an error of unpickling."""
    payload = PICKLES[attack]
    if b'EXT' in payload:
        payload = payload.replace(b'EXT', request.getfixturevalue('extension_code'))
    if not payload.endswith(pickle.STOP):
        payload = pickle.PROTO + b'\x04' + payload + pickle.STOP
    with Cache(directory) as cache:
        for key, size in (('inline', 2**15), ('file', 0), ('key', 2**15)):
            cache.disk.min_file_size = size
            cache[key] = [1]
    execute(directory, "UPDATE Cache SET value = ? WHERE key = 'inline'", payload)
    ((name,),) = execute(directory, "SELECT filename FROM Cache WHERE key = 'file'")
    Path(directory, name).write_bytes(payload)
    execute(directory, "UPDATE Cache SET size = ? WHERE key = 'file'", len(payload))
    execute(directory, "UPDATE Cache SET key = ?, raw = 0 WHERE key = 'key'", payload)
    for disk in DISKS.values():
        with Cache(directory, disk=disk) as cache:
            assert misses(lambda: cache.get('inline', 'missed'))
            assert misses(lambda: cache.get('file', 'missed'))
            assert misses(lambda: [key for key in cache if key not in ('file', 'inline')])
            assert misses(lambda: [key for key in cache.iterkeys() if not isinstance(key, str)])
            cache.check()
            watched.check()


@pytest.mark.parametrize(
    'attack', ['a function', 'an object is called', 'a type gets an attribute']
)
def test_the_attacks_work_against_a_disk(
    directory: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, attack: str
) -> None:
    """So that the test before tests something."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(Point, 'x', 0)
    watched = Watched()
    with Cache(directory) as cache:
        cache['key'] = [1]
        execute(
            directory, 'UPDATE Cache SET value = ?', b'\x80\x04' + PICKLES[attack] + pickle.STOP
        )
        cache.get('key')
    with pytest.raises(AssertionError):
        watched.check()
    Called.calls.clear()


def test_what_costs_no_more_than_it_says_is_loaded(directory: str) -> None:
    """The careful unpickler loads what an honest pickle does with the same opcodes."""
    with Cache(directory, disk=DISKS['with types']) as cache:
        cache['key'] = value = [
            Items([1, 2]),
            Point(3, 4),
            {'a': {Point.__name__}},
            uuid.UUID(int=1),
        ]
        assert cache['key'] == value
        items = cache['key'][0]
        assert type(items) is Items


# --- signatures ---

KEY, OTHER_KEY = b'0123456789abcdef' * 2, b'fedcba9876543210' * 2


class SiteDisk(SignedDisk):
    """The Disk of a site."""

    keys = (KEY,)


VALUES: dict[str, Any] = {
    'number': 5,
    'text': 'a text',
    'bytes': b'some bytes',
    'list': [1, 2],
    'large text': 'x' * 50_000,
    'large bytes': b'x' * 50_000,
    'large list': [b'x' * 50_000],
}


@pytest.fixture
def signed(directory: str) -> Iterator[Cache]:
    """A cache with signatures, and one item of each kind."""
    with Cache(directory, disk=SiteDisk) as cache:
        for key, value in VALUES.items():
            cache.set(key, value, expire=1000, tag='a tag')
            cache[key, 'other'] = value
        yield cache


def assert_refused(cache: Cache, *keys: Any, by_file: bool = False) -> None:
    """See that a key is missing, for whatever looks at its value, and is reported.

    What does not look at the value's file takes the row for what it is.
    """
    for key in keys:
        assert cache.get(key, 'missed') == 'missed', key
        assert cache.get(key, 'missed', read=True, tag=True) == ('missed', None), key
        assert cache.get_many([key]) == {}, key
        assert cache.pop(key, 'missed') == 'missed', key
        with pytest.raises(KeyError):
            cache[key]
        assert cache.touch(key, 1000) == by_file, key
        assert cache.touch_many([key], 1000) == by_file, key
        with pytest.raises(TypeError if by_file else KeyError):
            cache.incr(key, default=None)
        assert cache.get(key, 'missed') == 'missed', key
    found = report_texts(cache)
    assert len([text for text in found if text.startswith('refused:')]) >= len(keys)


def columns(cache: Cache, key: Any, names: str) -> Any:
    """Return columns of a row."""
    stored = cache.disk.put(key)
    ((*found,),) = execute(
        cache.directory, f'SELECT {names} FROM Cache WHERE key = ? AND raw = ?', *stored
    )
    return found


def change(cache: Cache, key: Any, assignment: str, *values: Any) -> None:
    """Change a row."""
    statement = f'UPDATE Cache SET {assignment} WHERE key = ? AND raw = ?'
    execute(cache.directory, statement, *values, *cache.disk.put(key))


CONTENT = 'size, mode, filename, value'
SET_CONTENT = 'size = ?, mode = ?, filename = ?, value = ?'


@pytest.mark.parametrize('key', VALUES)
def test_what_is_untouched_is_found(signed: Cache, key: str) -> None:
    """And no attack is refused for another reason than what it does."""
    for _ in range(2):
        assert signed[key] == signed[key, 'other'] == VALUES[key]
        assert signed.get(key, tag=True) == (VALUES[key], 'a tag')
    assert signed.check() == []
    with Cache(signed.directory, disk=SiteDisk) as again:
        assert again.pop(key) == VALUES[key]


@pytest.mark.parametrize('key', VALUES)
def test_1_a_value_moved_to_another_key(signed: Cache, key: str) -> None:
    change(signed, (key, 'other'), SET_CONTENT, *columns(signed, key, CONTENT))
    assert_refused(signed, (key, 'other'))
    assert signed[key] == VALUES[key]


def test_2_two_rows_that_have_changed_places(signed: Cache) -> None:
    one, other = (columns(signed, key, 'rowid')[0] for key in ('number', 'text'))
    change(signed, 'number', 'key = ?', 'nowhere')
    execute(signed.directory, 'UPDATE Cache SET key = ? WHERE rowid = ?', 'number', other)
    execute(signed.directory, 'UPDATE Cache SET key = ? WHERE rowid = ?', 'text', one)
    assert_refused(signed, 'number', 'text')


@pytest.mark.parametrize('key', [key for key in VALUES if key.startswith('large')])
def test_3_a_value_file_that_is_another(signed: Cache, key: str) -> None:
    """Another key's, of the same length, and one that is cut short, and one with a bit changed."""
    name = columns(signed, (key, 'other'), 'filename')[0]
    path = Path(signed.directory, name)
    content = path.read_bytes()
    signed['another'] = b'y' * len(content)
    change(signed, key, 'filename = ?', columns(signed, 'another', 'filename')[0])
    assert_refused(signed, key, by_file=True)
    for damaged in (content[:-1], content + b'x', b'', content[:9] + b'!' + content[10:]):
        path.write_bytes(damaged)
        change(signed, (key, 'other'), 'size = ?', len(damaged))
        assert_refused(signed, (key, 'other'), by_file=True)
    path.write_bytes(content)
    assert signed[key, 'other'] == VALUES[key]


def test_3_a_value_file_that_is_a_link(signed: Cache, tmp_path: Path) -> None:
    """Elsewhere there may be what the reader, but not the attacker, may read."""
    secret = tmp_path / 'secret'
    secret.write_bytes(b'secret')
    path = Path(signed.directory, columns(signed, 'large bytes', 'filename')[0])
    path.unlink()
    path.symlink_to(secret)
    change(signed, 'large bytes', 'size = 6')
    assert signed.get('large bytes', 'missed') == 'missed'
    assert signed.get('large bytes', 'missed', read=True) == 'missed'
    assert signed.check() != []
    assert signed.pop('large bytes', 'missed') == 'missed'


@pytest.mark.parametrize('key', VALUES)
def test_4_another_mode(signed: Cache, key: str) -> None:
    """A text that its user has made up becomes no pickle, and what has no signature is nothing."""
    for mode in {*range(8), *range(16, 22), 2**40, -1, 'text'} - {columns(signed, key, 'mode')[0]}:
        change(signed, key, 'mode = ?', mode)
        assert signed.get(key, 'missed') == 'missed'
        assert not signed.touch(key)
    assert_refused(signed, key)


def test_4_bytes_that_are_a_pickle(signed: Cache, watched: Watched) -> None:
    """A user of the site has stored them, and the attacker only changes how they are read."""
    attack = pickle.dumps(Point()) + PICKLES['a function'] + pickle.STOP
    for key, size in (('inline', 0), ('file', 50_000)):
        signed[key] = attack + b' ' * size
        change(signed, key, 'mode = 20')
        assert_refused(signed, key)
        change(signed, key, 'mode = 4')
        assert_refused(signed, key)


@pytest.mark.parametrize('key', VALUES)
def test_5_another_tag(signed: Cache, key: str) -> None:
    for tag in (None, 'another', b'a tag', 5):
        change(signed, key, 'tag = ?', tag)
        assert_refused(signed, key)
    change(signed, (key, 'other'), 'tag = ?', '')
    assert_refused(signed, (key, 'other'))


@pytest.mark.parametrize('key', VALUES)
def test_6_another_expiry(signed: Cache, key: str) -> None:
    """Neither longer, nor without one, nor one where there was none."""
    for expire_time in (None, 1e15, 9e9 + 0.5, 'no number'):
        change(signed, key, 'expire_time = ?', expire_time)
        assert_refused(signed, key)
    change(signed, (key, 'other'), 'expire_time = ?', 9e9)
    assert_refused(signed, (key, 'other'))


@pytest.mark.parametrize('key', VALUES)
def test_7_a_row_from_another_directory(signed: Cache, tmp_path: Path, key: str) -> None:
    """Of the same site: key, value, tag and expiry are the same, and the directory is not."""
    with Cache(tmp_path / 'another', disk=SiteDisk) as another:
        another.set(key, VALUES[key], expire=1000, tag='a tag')
        moved = columns(another, key, f'{CONTENT}, expire_time')
        change(signed, key, f'{SET_CONTENT}, expire_time = ?', *moved)
        if moved[2] is not None:
            path = Path(signed.directory, moved[2])
            path.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(Path(another.directory, moved[2]), path)
        assert_refused(signed, key)


def test_7_a_row_from_another_shard(directory: str) -> None:
    with FanoutCache(directory, shards=2, disk=SiteDisk) as cache:
        cache[0], cache[1] = 'zero', 'one'
        moved = columns(cache._shards[0], 0, CONTENT)
        change(cache._shards[1], 1, SET_CONTENT, *moved)
        assert (cache.get(0), cache.get(1)) == ('zero', None)


def test_7_a_directory_with_the_id_of_another(tmp_path: Path) -> None:
    """Who copies it too is stopped by the purpose, which is not in the directory."""

    class Mail(SiteDisk):
        purpose = 'mail'

    class Pages(SiteDisk):
        purpose = 'pages'

    with Cache(tmp_path / 'mail', disk=Mail) as mail:
        mail['key'] = 'secret'
    shutil.copytree(tmp_path / 'mail', tmp_path / 'pages')
    with Cache(tmp_path / 'pages', disk=Pages) as pages:
        assert pages.get('key') is None


@pytest.mark.parametrize('key', VALUES)
def test_8_a_value_that_is_cut_short_or_longer(signed: Cache, key: str) -> None:
    value = columns(signed, key, 'value')[0]
    for other in (
        *(value[:size] for size in (0, 1, 31, 32, 33, len(value) - 1)),
        *(value + b'x', value[32:], b'x' * len(value), value.hex(), None, 5, 1.5),
    ):
        change(signed, key, 'value = ?', other)
        assert_refused(signed, key)


@pytest.mark.parametrize('key', VALUES)
def test_8_any_bit_that_is_changed(signed: Cache, key: str) -> None:
    value = columns(signed, key, 'value')[0]
    for place in range(len(value)):
        other = value[:place] + bytes([value[place] ^ 1]) + value[place + 1 :]
        change(signed, key, 'value = ?', other)
        assert signed.get(key, 'missed') == 'missed'


def test_9_another_kind_of_key(signed: Cache) -> None:
    """A text becomes bytes, a pickled key bytes, a number a text."""
    change(signed, 'number', 'key = ?', b'number')
    change(signed, 'text', 'raw = 0')
    pickled = bytes(signed.disk.put(('bytes', 'other'))[0])
    change(signed, ('bytes', 'other'), 'raw = 1')
    signed[7] = 'seven'
    change(signed, 7, 'key = ?', '7')
    assert_refused(signed, b'number', pickled, '7')


def test_9_keys_that_are_pickles(signed: Cache, watched: Watched) -> None:
    """They are read before there is a signature to look at."""
    for attack in PICKLES.values():
        payload = pickle.PROTO + b'\x04' + attack + pickle.STOP
        execute(signed.directory, "UPDATE Cache SET key = ?, raw = 0 WHERE key = 'text'", payload)
        for attempt in (lambda: list(signed), lambda: list(signed.items())):
            try:
                attempt()
            except (RefusedError, pickle.UnpicklingError, TypeError, AttributeError, KeyError):
                pass
        change(signed, 'number', "mode = 1, value = 'x'")
        execute(
            signed.directory, 'UPDATE Cache SET key = ?, raw = 1 WHERE key = ?', 'text', payload
        )


@pytest.mark.parametrize('value', [5, 'text', b'bytes', pickle.dumps(Point())])
def test_10_what_was_never_signed(signed: Cache, value: Any, watched: Watched) -> None:
    """Rows that are made up, or that a Disk has written."""
    mode = MODE_PICKLE if isinstance(value, bytes) else MODE_RAW
    for made_up in (value, b'\0' * 32 + struct.pack('>q', 5), KEY, None):
        for made_up_mode in (mode, mode | 16):
            change(signed, 'text', 'mode = ?, value = ?', made_up_mode, made_up)
            assert_refused(signed, 'text')
    change(signed, 'number', 'mode = 1, value = 5')
    assert signed.incr('number', default=100) == 101  # which does not take the 5 for granted
    assert signed['number'] == 101


def test_10_another_key(signed: Cache) -> None:
    with Cache(signed.directory, disk=SignedDisk.with_keys(OTHER_KEY)) as forger:
        for key, value in VALUES.items():
            forger[key] = value
    assert_refused(signed, *VALUES)


def test_10_a_trigger_that_writes(signed: Cache) -> None:
    """What is written by the program itself, but not signed by it."""
    execute(
        signed.directory,
        'CREATE TRIGGER attack AFTER INSERT ON Cache BEGIN'
        " UPDATE Cache SET value = 'forged', mode = 1 WHERE rowid = new.rowid; END",
    )
    signed['new'] = 'value'
    assert_refused(signed, 'new')


def test_10_items_of_queues(directory: str) -> None:
    """An item that nobody has asked for by its key is an error; the others are signed anew."""
    with Cache(directory, disk=SiteDisk, eviction_policy='none') as cache:
        deque = Deque.fromcache(cache, range(6))
        keys = list(cache)
        change(cache, keys[0], 'value = (SELECT value FROM Cache WHERE key = ?)', keys[1])
        with pytest.raises(RefusedError):
            deque.popleft()
        with pytest.raises(RefusedError):
            deque.peekleft()
        deque.rotate(2)
        assert list(deque) == [4, 5, 1, 2, 3]
        deque.reverse()
        assert list(deque) == [3, 2, 1, 5, 4]
        assert len(cache.check()) == 1


def test_renumbering_does_not_sign_what_was_forged(directory: str) -> None:
    """An item under a key that it has not been signed for stays refused, wherever it is moved."""
    with Cache(directory, disk=SiteDisk, eviction_policy='none') as cache:
        deque = Deque.fromcache(cache, range(5))
        first, second, *_ = list(cache)
        values = [columns(cache, key, 'value')[0] for key in (first, second)]
        change(cache, first, 'value = ?', values[1])
        change(cache, second, 'value = ?', values[0])
        for steps in (1, -1, 3, 2):
            deque.rotate(steps)
            assert sorted(deque) == [2, 3, 4]
        for _ in range(3):
            deque.reverse()
            assert sorted(deque) == [2, 3, 4]


def test_touch_does_not_sign_what_was_forged(signed: Cache) -> None:
    change(signed, 'number', 'value = ?', columns(signed, ('number', 'other'), 'value')[0])
    assert not signed.touch('number', 1)
    assert signed.touch_many(['number', 'text']) == 1
    assert signed.get('number') is None
    assert signed['text'] == VALUES['text']


def test_a_file_that_is_changed_while_it_is_read(signed: Cache) -> None:
    """What get(read=True) has looked at is what its caller reads."""
    for size in (100, 2**23):
        signed.set('file', io.BytesIO(b'x' * size), read=True)
        path = Path(signed.directory, columns(signed, 'file', 'filename')[0])
        with signed.get('file', read=True) as file:
            with path.open('r+b') as attacker:
                attacker.write(b'y' * size)
            assert file.read() == b'x' * size


def test_a_file_that_is_changed_while_it_is_stored(signed: Cache) -> None:
    """What is signed is what the caller gave, not what stands in the file by then."""

    class Reader(io.BytesIO):
        """Has the attacker at work before its last piece is read."""

        def read(self, size: int | None = -1, /) -> bytes:
            piece = super().read(size)
            if not piece:
                for path in Path(signed.directory).rglob('*tmp'):
                    path.write_bytes(b'y' * os.path.getsize(path))
            return piece

    assert signed.set('file', Reader(b'x' * 100_000), read=True)
    assert signed.get('file', 'missed') == 'missed'


def test_an_index_and_its_views(directory: str) -> None:
    with Cache(directory, disk=SiteDisk, eviction_policy='none') as cache:
        index = Index.fromcache(cache, a=1, b=2, c=3)
        change(cache, 'b', 'value = ?', columns(cache, 'a', 'value')[0])
        assert list(index.items()) == [('a', 1), ('c', 3)]
        assert list(index.values()) == [1, 3]
        index.move_to_end('a')
        assert list(index.items()) == [('c', 3), ('a', 1)]


def test_the_id_of_the_directory(signed: Cache) -> None:
    """Another one, or none, has nobody take anything for signed."""
    directory = signed.directory
    signed.close()
    execute(directory, "UPDATE Settings SET value = 'x' WHERE key = 'signed_directory'")
    with Cache(directory, disk=SiteDisk) as cache:
        assert cache.get_many(VALUES) == {}
    execute(directory, "DELETE FROM Settings WHERE key = 'signed_directory'")
    with Cache(directory, disk=SiteDisk) as cache:
        assert cache.get_many(VALUES) == {}
        cache['new'] = 1
    with Cache(directory, disk=SiteDisk) as cache:
        assert cache.get_many([*VALUES, 'new']) == {'new': 1}
