"""What do large values cost, which a Cache keeps in files?

Bytes, text and open files, of 1 KB to 10 MB, each written over the value before and read back by
one thread. From 32 KB on a value is a file of its own; a smaller one is in the database and, read
for the second time, in the process's memory. The files come from the page cache: it is not the disk
that is measured. A file of 10 MB is read whole in both cases, once by ``get``, once through the
handle that ``read`` returns. Mapped it is not read at all; with the original that takes a mapping
of one's own, of the file that ``read`` returns. An array of numpy is stored as a pickle. The limit
of a get is to copy the bytes.
"""

from __future__ import annotations

import io
import itertools
import mmap
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from measuring import Stopwatch, Suite, main
from results import NATIVE

KILOBYTE, MEGABYTE = 1000, 1_000_000
#: By the names of the rows: what tables call it, bytes, and operations in a batch.
SIZES = {
    '1_kb': ('1 KB', KILOBYTE, 200),
    '10_kb': ('10 KB', 10 * KILOBYTE, 100),
    '100_kb': ('100 KB', 100 * KILOBYTE, 20),
    '1_mb': ('1 MB', MEGABYTE, 10),
    '10_mb': ('10 MB', 10 * MEGABYTE, 2),
}
NUMBER_OF_FILES = 100


class Files:
    """The cache, and what is stored in it."""

    def __init__(self, directory: Path, contender: str) -> None:
        # Here and not above: in the driver's process there may be no diskcache.
        import numpy

        from diskcache import Cache

        self.maps = contender == NATIVE
        self.cache = Cache(str(directory / 'cache'))
        self.scratch = Cache(str(directory / 'scratch'))
        self.values = {name: os.urandom(size) for name, (_, size, _) in SIZES.items()}
        for name, value in self.values.items():
            self.cache[name] = value
        self.text = 'äöü' * (MEGABYTE // 6)
        self.cache['text'] = self.text
        self.array = numpy.random.default_rng(0).random(20 * MEGABYTE // 8)
        self.cache['array'] = self.array

    def close(self) -> None:
        self.cache.close()
        self.scratch.close()


suite: Suite[Files] = Suite('files', 'Large values', __doc__, Files)


def _time(operation: Callable[..., object], count: int, watch: Stopwatch, *arguments: Any) -> None:
    with watch:
        for _ in itertools.repeat(None, count):
            operation(*arguments)


def _add_rows(name: str) -> None:
    title, _, count = SIZES[name]

    def set_bytes(files: Files, count: int, watch: Stopwatch) -> None:
        _time(files.cache.set, count, watch, name, files.values[name])

    def get_bytes(files: Files, count: int, watch: Stopwatch) -> None:
        _time(files.cache.get, count, watch, name)

    set_bytes.__name__, get_bytes.__name__ = f'set_{name}', f'get_{name}'
    suite.row(f'set, {title}', count=count)(set_bytes)
    goal = 3 if name == '10_mb' else None
    suite.row(f'get, {title}', count=count, goal=goal, limit=f'memcpy_{name}')(get_bytes)


for _name in SIZES:
    _add_rows(_name)


@suite.row('set, text of 1 MB', count=5)
def set_text(files: Files, count: int, watch: Stopwatch) -> None:
    _time(files.cache.set, count, watch, 'text', files.text)


@suite.row('get, text of 1 MB', count=5)
def get_text(files: Files, count: int, watch: Stopwatch) -> None:
    _time(files.cache.get, count, watch, 'text')


@suite.row('set, array of 20 MB', count=1)
def set_array(files: Files, count: int, watch: Stopwatch) -> None:
    _time(files.cache.set, count, watch, 'array', files.array)


@suite.row('get, array of 20 MB', count=2, limit='memcpy_20_mb')
def get_array(files: Files, count: int, watch: Stopwatch) -> None:
    _time(files.cache.get, count, watch, 'array')


def _map(files: Files, name: str) -> memoryview:
    """Return the bytes of a value as memory, as it can be done with each package."""
    if files.maps:
        return files.cache.read(name, mmap=True)
    with files.cache.read(name) as handle:
        return memoryview(mmap.mmap(handle.fileno(), 0, access=mmap.ACCESS_READ))


@suite.row('read, 10 MB mapped', count=50)
def map_bytes(files: Files, count: int, watch: Stopwatch) -> None:
    _time(_map, count, watch, files, '10_mb')


@suite.row('read, 10 MB mapped, a byte of each page', count=5)
def map_and_touch(files: Files, count: int, watch: Stopwatch) -> None:
    with watch:
        for _ in itertools.repeat(None, count):
            bytes(_map(files, '10_mb')[:: mmap.PAGESIZE])


@suite.row('set, from a file of 10 MB', count=2)
def set_stream(files: Files, count: int, watch: Stopwatch) -> None:
    for _ in itertools.repeat(None, count):
        stream = io.BytesIO(files.values['10_mb'])
        with watch:
            files.cache.set('10_mb', stream, read=True)


@suite.row('read, a handle of 10 MB', count=2)
def read_handle(files: Files, count: int, watch: Stopwatch) -> None:
    buffer = bytearray(2**20)
    with watch:
        for _ in itertools.repeat(None, count):
            with files.cache.read('10_mb') as handle:
                while handle.readinto(buffer):
                    pass


@suite.row(f'set of {NUMBER_OF_FILES} files of 100 KB, each', count=NUMBER_OF_FILES)
def set_many_files(files: Files, count: int, watch: Stopwatch) -> None:
    value = files.values['100_kb']
    with watch:
        for number in range(count):
            files.scratch.set(number, value)
    files.scratch.clear()


@suite.row(f'clear of {NUMBER_OF_FILES} files, each', count=NUMBER_OF_FILES)
def clear_files(files: Files, count: int, watch: Stopwatch) -> None:
    value = files.values['100_kb']
    for number in range(count):
        files.scratch.set(number, value)
    with watch:
        files.scratch.clear()


if __name__ == '__main__':
    main(suite, rounds=40)
