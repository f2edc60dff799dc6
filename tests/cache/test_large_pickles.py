"""Values that are pickled into files: not copied on the way, and complete or not there."""

from __future__ import annotations

import errno
import os
import pickle
import sys
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from consistency import stored_filenames, value_files
from interpreter import Interpreter

import diskcache
from diskcache import Cache, SafeDisk

MEGABYTE = 2**20


class Array:
    """What numpy's arrays are to pickle: from protocol 5 on they hand out their memory."""

    def __init__(self, content: Any) -> None:
        self.content = content

    def __reduce_ex__(self, protocol: int) -> tuple:
        return Array, (pickle.PickleBuffer(self.content) if protocol >= 5 else self.content,)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Array) and bytes(self.content) == bytes(other.content)

    __hash__ = None  # type: ignore[assignment]


class Bytes(bytes):
    """Bytes that are not stored as they are."""


class Failing:
    """An object that cannot be pickled."""

    def __reduce__(self) -> str:
        raise ArithmeticError('on purpose')


def columns_first() -> memoryview:
    """Return memory that is contiguous, but in another order than that of C."""
    numpy = pytest.importorskip('numpy')
    return memoryview(numpy.asfortranarray(numpy.arange(200_000.0).reshape(400, 500)))


VALUES: dict[str, Callable[[], Any]] = {
    'memory': lambda: Array(bytearray(os.urandom(MEGABYTE))),
    'memory that cannot be written to': lambda: Array(os.urandom(MEGABYTE)),
    'bytes in a dict': lambda: {'head': 1, 'body': os.urandom(MEGABYTE), 'tail': [1.5, None]},
    'text in a dict': lambda: {'ascii': 'x' * MEGABYTE, 'other': '\u20ac' * MEGABYTE},
    'many small objects': lambda: [{'number': i, 'text': str(i)} for i in range(40_000)],
    'one object twice': lambda: [Array(bytearray(MEGABYTE))] * 2,
    'many buffers': lambda: [Array(bytearray(size)) for size in range(0, 300_000, 9999)],
    'just a file': lambda: [b'x' * 33_000],
    'just more than a frame': lambda: [b'x' * 10_000, b'y' * 60_000],
    'a subclass of bytes': lambda: Bytes(MEGABYTE),
}


def content_of(cache: Cache) -> bytes:
    """Return what is in the only value file."""
    (name,) = stored_filenames(cache)
    return Path(cache.directory, name).read_bytes()


@pytest.mark.parametrize('make', VALUES.values(), ids=VALUES.keys())
@pytest.mark.parametrize('protocol', [2, 4, 5])
def test_a_file_has_the_bytes_that_pickle_makes(
    directory: str, make: Callable[[], Any], protocol: int
) -> None:
    """The original, and whoever else reads the directory, finds what it would have written."""
    value = make()
    expected = pickle.dumps(value, protocol)
    with Cache(directory, disk_pickle_protocol=protocol) as cache:
        cache['key'] = value
        assert content_of(cache) == expected
        assert cache['key'] == pickle.loads(expected)
        assert cache.volume() > len(expected)
        assert cache.check() == []


@pytest.mark.parametrize('limit', [0, 1, 60_000, 100_000, 2**18, 2**18 + 1, 2**30])
def test_a_pickle_in_many_parts_is_where_its_size_says(directory: str, limit: int) -> None:
    """In the row below min_file_size, and in a file from there on."""
    value = [b'x' * 10_000, b'y' * 70_000, 'z' * 70_000, b'' * 3, bytearray(70_000)]
    pickled = pickle.dumps(value, pickle.HIGHEST_PROTOCOL)
    with Cache(directory, disk_min_file_size=limit) as cache:
        cache['key'] = value
        ((inline, size),) = cache._sql('SELECT value, size FROM Cache').fetchall()
        expected = (None, len(pickled)) if len(pickled) >= limit else (pickled, 0)
        assert (inline, size) == expected
        assert cache['key'] == value


def test_memory_in_another_order_is_stored_as_it_is(directory: str) -> None:
    """pickle takes any contiguous memory in its own order, and so does a file."""
    array = Array(columns_first())
    with Cache(directory) as cache:
        cache['key'] = array
        assert content_of(cache) == pickle.dumps(array, pickle.HIGHEST_PROTOCOL)


@pytest.mark.parametrize('writable', [True, False])
def test_an_array_of_numpy_comes_back_as_it_was(cache: Cache, writable: bool) -> None:
    numpy = pytest.importorskip('numpy')
    array = numpy.random.rand(1000, 200)
    array.setflags(write=writable)
    arrays = {'rows': array, 'columns': numpy.asfortranarray(array), 'part': array[::2, ::3]}
    for key, value in arrays.items():
        cache[key] = value
        found = cache[key]
        assert numpy.array_equal(found, value)
        assert found.flags.f_contiguous == pickle.loads(pickle.dumps(value, 5)).flags.f_contiguous
    assert cache['rows'].flags.writeable == writable


@pytest.fixture
def memory_for() -> Iterator[Callable[[Callable[[], object]], int]]:
    """A function that returns how many bytes a call has had at most, its result included."""
    tracemalloc.start()

    def memory_for(call: Callable[[], object]) -> int:
        before = tracemalloc.get_traced_memory()[0]
        tracemalloc.reset_peak()
        call()
        return tracemalloc.get_traced_memory()[1] - before

    yield memory_for
    tracemalloc.stop()


@pytest.mark.parametrize('kind', [bytes, lambda size: Array(bytearray(size))])
def test_what_is_large_is_not_copied_into_a_pickle(
    cache: Cache, memory_for: Callable[[Callable[[], object]], int], kind: Callable[[int], object]
) -> None:
    """It goes from the object to the file, and from the file to the object."""
    value = [1, kind(16 * MEGABYTE), 2]
    assert memory_for(lambda: cache.set('key', value)) < 2 * MEGABYTE
    assert memory_for(lambda: cache['key']) < 18 * MEGABYTE
    assert cache['key'] == value


def test_text_of_ascii_is_not_copied(
    cache: Cache, memory_for: Callable[[Callable[[], object]], int]
) -> None:
    cache['key'] = 'x' * (16 * MEGABYTE)
    assert memory_for(lambda: cache['key']) < 18 * MEGABYTE


@pytest.mark.parametrize('length', [0, 1, 7, 8, 9, 4095, 300_000])
@pytest.mark.parametrize('last', ['', '\x7f', '\x80', '\xff', '\u20ac', '\U0001f600'])
def test_text_in_a_file_is_the_same_text(directory: str, length: int, last: str) -> None:
    """Also what is ASCII up to its last character."""
    text = 'x' * length + last
    with Cache(directory, disk_min_file_size=0, memory_limit=0) as cache:
        cache['key'] = text
        assert content_of(cache) == text.encode()
        found = cache['key']
        assert (found, type(found), hash(found)) == (text, str, hash(text))


def test_a_file_that_is_no_utf8_is_an_error(cache: Cache) -> None:
    cache['key'] = 'x' * 40_000
    (name,) = value_files(cache.directory)
    Path(cache.directory, name).write_bytes(b'x' * 39_999 + b'\xff')
    with pytest.raises(UnicodeDecodeError):
        cache['key']


# What fails.


@pytest.mark.parametrize('first', [10, 100_000, 2 * MEGABYTE])
def test_what_cannot_be_pickled_leaves_nothing(
    cache: Cache, assert_intact: Callable[[Cache], None], first: int
) -> None:
    """Not even where a part of it has been written already; what was there stays."""
    cache['key'] = old = [bytes(MEGABYTE)]
    descriptors = len(os.listdir('/proc/self/fd')) if sys.platform == 'linux' else 0
    for write in (cache.set, cache.add, lambda _, value: cache.push(value)):
        with pytest.raises(ArithmeticError):
            write('key' if write == cache.set else 'new', [bytes(first), Failing()])
    assert cache['key'] == old
    assert len(cache) == 1
    assert [path.name for path in Path(cache.directory).rglob('*tmp*')] == []
    if sys.platform == 'linux':
        assert len(os.listdir('/proc/self/fd')) == descriptors
    assert_intact(cache)


def test_a_file_that_cannot_be_written_whole_leaves_nothing(
    alone: Interpreter, directory: str
) -> None:
    """The error is the system's, and says which file it is about."""
    pytest.importorskip('resource')

    def scenario(directory: str) -> tuple:
        import resource
        from pathlib import Path

        cache = diskcache.Cache(directory)
        cache['key'] = 'old'
        soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (2**20, hard))
        try:
            cache['key'] = [bytes(2**21)]
        except OSError as error:
            raised = error
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        files = [path.name for path in Path(directory).rglob('*') if 'cache.db' not in path.name]
        return raised.errno, raised.filename.startswith(directory), files, cache['key']

    number, is_named, files, value = alone.run(scenario, directory=directory)
    assert (number, is_named, files, value) == (errno.EFBIG, True, [], 'old')


DAMAGED = {
    'its end is missing': lambda pickled: pickled[:-1] + b'0',
    'a frame longer than the file': lambda pickled: (
        b'\x80\x05\x95' + b'\xff' * 7 + b'\x00' + pickled[11:]
    ),
    'no pickle': lambda pickled: bytes(len(pickled)),
    'an unknown opcode': lambda pickled: pickled[:2] + b'\xff' * 9 + pickled[11:],
}


@pytest.mark.parametrize('damage', DAMAGED.values(), ids=DAMAGED.keys())
def test_a_damaged_pickle_is_an_error_that_names_the_key(
    cache: Cache, damage: Callable[[bytes], bytes]
) -> None:
    cache['key'] = [bytes(MEGABYTE)]
    (name,) = value_files(cache.directory)
    path = Path(cache.directory, name)
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises((pickle.UnpicklingError, EOFError, IndexError)) as raised:
        cache['key']
    if sys.version_info >= (3, 11):
        assert any('key' in note for note in raised.value.__notes__)


def test_a_file_that_is_cut_short_is_a_miss(cache: Cache) -> None:
    cache['key'] = [bytes(MEGABYTE)]
    (name,) = value_files(cache.directory)
    os.truncate(Path(cache.directory, name), MEGABYTE // 2)
    assert cache.get('key', 'missing') == 'missing'


def test_the_opcodes_of_old_protocols_are_read_too(cache: Cache) -> None:
    """A pickle of a new protocol may have them, outside of any frame, and lines anywhere."""
    for filling in (1, 4070, 4080, 4090, 4095, 9000):
        cache['key'] = [bytes(MEGABYTE)]
        (name,) = value_files(cache.directory)
        path = Path(cache.directory, name)
        whole = len(path.read_bytes())
        parts = [
            b'\x80\x04(',
            b'X' + filling.to_bytes(4, 'little') + b'f' * filling,
            b'cbuiltins\nbytearray\n',
            b'I12345\n',
            b'V' + b'line' * 2000 + b'\n',
            b'l.',
        ]
        pickled = b''.join(parts)
        path.write_bytes(pickled.ljust(whole, b'?'))
        assert cache['key'] == ['f' * filling, bytearray, 12345, 'line' * 2000]
        del cache['key']


# Who takes part.


def test_a_disk_that_looks_at_pickles_sees_the_whole(directory: str) -> None:
    class Looking(diskcache.Disk):
        seen: list[int] = []  # noqa: RUF012

        def _to_pickle(self, value: Any) -> bytes:
            pickled = super()._to_pickle(value)
            self.seen.append(len(pickled))
            return pickled

        def _from_pickle(self, pickled: bytes) -> Any:
            self.seen.append(len(pickled))
            return super()._from_pickle(pickled)

    with Cache(directory, disk=Looking) as cache:
        cache['key'] = [bytes(MEGABYTE)]
        assert cache['key'] == [bytes(MEGABYTE)]
    size = len(pickle.dumps([bytes(MEGABYTE)], pickle.HIGHEST_PROTOCOL))
    assert Looking.seen == [size, size]


def test_a_safe_disk_refuses_what_is_large_too(directory: str) -> None:
    with Cache(directory) as cache:
        cache['key'] = [Array(bytearray(MEGABYTE))]
    with Cache(directory, disk=SafeDisk) as cache:
        assert cache.get('key', 'refused') == 'refused'


def test_while_it_is_pickled_others_can_write(cache: Cache, other: Interpreter) -> None:
    """No lock is held, and nothing is written yet: other threads change what is not pickled yet."""

    class Slow:
        def __reduce__(self) -> tuple:
            assert not [path for path in Path(cache.directory).rglob('*') if path.is_dir()]
            script = 'cache = Cache(directory, timeout=0); cache["other"] = 1; cache.check()'
            found.append(other.run(script, directory=cache.directory))
            return int, (5,)

    found: list[Any] = []
    cache['key'] = [bytes(MEGABYTE), Slow(), bytes(MEGABYTE)]
    assert found == [[]]
    assert cache['key'] == [bytes(MEGABYTE), 5, bytes(MEGABYTE)]
    assert cache['other'] == 1


def test_what_has_been_pickled_may_be_changed_already(cache: Cache) -> None:
    """A bytearray is stored as it was, and can be resized: nobody looks at it any more."""

    class Growing:
        def __reduce__(self) -> tuple:
            array.extend(b'more')
            array[0] = 1
            return int, (5,)

    array = bytearray(MEGABYTE)
    cache['key'] = [array, Growing()]
    assert cache['key'] == [bytearray(MEGABYTE), 5]


def test_a_cache_can_be_used_by_what_it_loads(cache: Cache) -> None:
    """An object may look into the same cache while it is pickled, and while it is loaded."""
    cache['inner'] = [b'i' * MEGABYTE]
    cache['key'] = [Looking(cache), b'o' * MEGABYTE]
    assert cache['key'] == [b'i' * MEGABYTE, b'o' * MEGABYTE]


class Looking:
    """An object that is pickled as what another key has."""

    def __init__(self, cache: Cache) -> None:
        self.cache = cache

    def __reduce__(self) -> tuple:
        self.cache['written'] = [b'w' * MEGABYTE]
        assert self.cache['written'] == [b'w' * MEGABYTE]
        return look, (self.cache.directory,)


def look(directory: str) -> bytes:
    """Return what is stored under another key."""
    with Cache(directory) as cache:
        return cache['inner'][0]  # type: ignore[no-any-return]


def test_the_original_reads_it_and_is_read(cache: Cache, original: Interpreter) -> None:
    value = {'memory': bytearray(b'm' * MEGABYTE), 'bytes': b'b' * MEGABYTE, 'list': [1] * 50_000}
    cache['ours'] = value
    script = """
    with Cache(directory) as cache:
        cache['theirs'] = cache['ours']
        answer = cache['ours'], len(cache.check())
    answer
    """
    assert original.run(script, directory=cache.directory) == (value, 0)
    assert cache['theirs'] == value
