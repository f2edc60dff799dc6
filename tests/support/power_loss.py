"""The states in which a disk can be after a loss of power, made of a record of what a process did.

`crash.c`, preloaded, records each change of a file or a directory, each sync and each mark of the
program, in their order. After any of the entries power may be lost. What is on the disk then:

* of a file what had been written when it was last synced. Of what was written since, any part, in
  pieces of 4 KB: a disk writes in an order of its own;
* of a directory the names that it had when it was last synced. Of the changes since, any part. A
  rename is one change.

That is all that POSIX promises. Where `ordered` is true the states are fewer: of a value file what
was not synced is there up to some point, and nothing behind it, as file systems have it that write
the data of a file before its length (ext4, XFS, Btrfs). The files of SQLite get no such grace.
"""

from __future__ import annotations

import os
import random
import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

PIECE = 4096
HEADER = struct.Struct('<c3xIIIQq')


class Entry(NamedTuple):
    """One thing that was done."""

    kind: str
    inode: int
    offset: int
    first: bytes
    second: bytes


def read_record(path: str) -> Iterator[Entry]:
    """Yield what was done, in its order."""
    with open(path, 'rb') as file:
        while header := file.read(HEADER.size):
            kind, first_size, second_size, _, inode, offset = HEADER.unpack(header)
            yield Entry(kind.decode(), inode, offset, file.read(first_size), file.read(second_size))


#: Tells whether a change that was not synced is on the disk: its number, whether it is of names.
Keeps = Callable[[int, bool], bool]


class File:
    """A file: what is certain of it, and what was done to it since."""

    def __init__(self) -> None:
        self.synced = bytearray()
        self.pending: list[tuple[int, int, bytes | None]] = []  # number, offset, data or cut

    def sync(self) -> None:
        for _, offset, data in self.pending:
            apply(self.synced, offset, data)
        self.pending.clear()

    def after(self, keeps: Keeps, ordered: bool) -> bytearray:
        content = bytearray(self.synced)
        for number, offset, data in self.pending:
            if data is None:
                if keeps(number, False):
                    apply(content, offset, None)
                continue
            begin = 0
            while begin < len(data):
                end = min(len(data), begin + PIECE - (offset + begin) % PIECE)
                if keeps(number, False):
                    apply(content, offset + begin, data[begin:end])
                elif ordered:
                    return content
                begin = end
        return content


def apply(content: bytearray, offset: int, data: bytes | None) -> None:
    """Write into a file's content; None cuts it."""
    length = offset if data is None else max(len(content), offset + len(data))
    if length > len(content):
        content.extend(bytes(length - len(content)))
    del content[length:]
    if data is not None:
        content[offset : offset + len(data)] = data


class Directory:
    """A directory: the names that are certain, and how they have changed since."""

    def __init__(self) -> None:
        self.names: dict[str, File | Directory] = {}
        self.synced: dict[str, File | Directory] = {}
        self.pending: list[tuple[int, dict[str, File | Directory | None]]] = []

    def change(self, number: int, changes: dict[str, File | Directory | None]) -> None:
        update(self.names, changes)
        self.pending.append((number, changes))

    def sync(self) -> None:
        self.synced = dict(self.names)
        self.pending.clear()

    def after(self, keeps: Keeps) -> dict[str, File | Directory]:
        names = dict(self.synced)
        for number, changes in self.pending:
            if keeps(number, True):
                update(names, changes)
        return names


def update(names: dict[str, File | Directory], changes: dict[str, File | Directory | None]) -> None:
    for name, what in changes.items():
        if what is None:
            names.pop(name, None)
        else:
            names[name] = what


class Disk:
    """What a process has done so far with all that is below a directory."""

    def __init__(self, root: str) -> None:
        self.root = Directory()
        self.path = root
        self.inodes: dict[int, File | Directory] = {os.stat(root).st_ino: self.root}
        self.number = 0

    def find(self, path: bytes) -> tuple[Directory, str]:
        """Return the directory of a path, and its name there."""
        *above, name = os.path.relpath(path.decode(), self.path).split('/')
        directory = self.root
        for each in above:
            inner = directory.names[each]
            assert isinstance(inner, Directory)
            directory = inner
        return directory, name

    def do(self, entry: Entry) -> None:
        """Take in the next thing that was done."""
        self.number += 1
        if entry.kind in 'cm':
            made = File() if entry.kind == 'c' else Directory()
            self.inodes[entry.inode] = made  # The number of one that is gone may be used again.
            directory, name = self.find(entry.first)
            directory.change(self.number, {name: made})
        elif entry.kind in 'wt':
            file = self.inodes[entry.inode]
            assert isinstance(file, File)
            data = entry.first if entry.kind == 'w' else None
            file.pending.append((self.number, entry.offset, data))
        elif entry.kind == 's':
            self.inodes[entry.inode].sync()
        elif entry.kind == 'l':
            directory, name = self.find(entry.first)
            target, new_name = self.find(entry.second)
            target.change(self.number, {new_name: directory.names[name]})
        elif entry.kind == 'u':
            directory, name = self.find(entry.first)
            directory.change(self.number, {name: None})
        elif entry.kind == 'r':
            directory, name = self.find(entry.first)
            target, new_name = self.find(entry.second)
            assert target is directory
            directory.change(self.number, {name: None, new_name: directory.names[name]})
        else:
            assert entry.kind == '!', entry

    def is_certain(self, name: str) -> bool:
        """Tell whether a file is on the disk, by its name and with all its content."""
        directories = [self.root]
        for directory in directories:
            file = directory.synced.get(name)
            if isinstance(file, File) and not file.pending:
                return True
            inner = directory.synced.values()
            directories += [each for each in inner if isinstance(each, Directory)]
        return False

    def build(self, target: str, keeps: Keeps, ordered: bool) -> None:
        """Make a directory of what is on the disk."""
        build_directory(Path(target), self.root, keeps, ordered)


def build_directory(path: Path, directory: Directory, keeps: Keeps, ordered: bool) -> None:
    path.mkdir()
    for name, what in directory.after(keeps).items():
        if isinstance(what, Directory):
            build_directory(path / name, what, keeps, ordered)
        else:
            of_sqlite = name.startswith('cache.db')
            (path / name).write_bytes(what.after(keeps, ordered and not of_sqlite))


def ways(generator: random.Random, number: int) -> Iterator[tuple[str, Keeps]]:
    """Yield ways for a disk to choose what it has written by now, with their names."""
    yield 'nothing more', lambda n, names: False
    yield 'everything', lambda n, names: True
    yield 'only names', lambda n, names: names
    yield 'only data', lambda n, names: not names
    while True:
        cut = generator.randint(max(0, number - 60), number)
        yield f'up to {cut}', lambda n, names, cut=cut: n <= cut
        for part in (0.1, 0.5, 0.9):
            yield f'{part:.0%}', lambda n, names, part=part: generator.random() < part
        yield 'half, all names', lambda n, names: names or generator.random() < 0.5


# --- a SQLite that does not look ------------------------------------------------------------------

LOG_HEADER = struct.Struct('>8I')
FRAME_HEADER = struct.Struct('>6I')


def forge_log(path: str) -> None:
    """Give each frame of a log the checksum that it should have, as if SQLite did not look at them.

    What is torn is then taken for whole. Without this nobody would know whether anything is torn.
    """
    log = bytearray(Path(path).read_bytes()) if os.path.exists(path) else bytearray()
    if len(log) < LOG_HEADER.size:
        return
    magic, _, page_size, _, *salts, first, second = LOG_HEADER.unpack_from(log)
    order = '>' if magic & 1 else '<'
    for at in range(LOG_HEADER.size, len(log), FRAME_HEADER.size + page_size):
        page = slice(at + FRAME_HEADER.size, at + FRAME_HEADER.size + page_size)
        if len(log) < page.stop or [*FRAME_HEADER.unpack_from(log, at)[2:4]] != salts:
            break
        for words in (log[at : at + 8], log[page]):
            for one, two in struct.iter_unpack(f'{order}2I', words):
                first = (first + one + second) & 0xFFFFFFFF
                second = (second + two + first) & 0xFFFFFFFF
        struct.pack_into('>2I', log, at + 16, first, second)
    Path(path).write_bytes(log)
