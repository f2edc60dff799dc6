"""What the pages ask of the databases of a cache.

Nothing is written: no setting, no count of hits, no access time, and no pickle is loaded, so the
Disk does not matter. Each question has its own connection, which is closed again, and a deadline.
What the columns hold is not trusted: a database may be damaged, or made by somebody else.

No question takes longer because there are more items. Pages of keys go by the rowid, or by the
index of keys; a search for what stands somewhere in a key stops at the deadline, and goes on from
there on the next page; of a large cache a sample is counted.
"""

from __future__ import annotations

import contextlib as cl
import math
import os
import os.path as op
import re
import sqlite3
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from .. import sql
from ..constants import DBNAME
from ..directory import path_of, size_of
from ..disk import Disk
from ..fanout import _PARTS, is_shard
from ..mismatch import Origin
from ..policies import EVICTION_POLICY

T = TypeVar('T')

#: Seconds that the questions of one page may take.
SECONDS = 1.0
#: Seconds to wait for a lock; readers of a write-ahead log need none.
_TIMEOUT = 1.0
#: How often a database is read again that changes while it is read without locks.
_ATTEMPTS = 20
#: Seconds for which it is known which caches there are in a directory.
_KNOWN_SECONDS = 1.0
#: The names of directories of value files.
_VALUE_DIRECTORY = re.compile('[0-9a-f]{2}')
#: Seconds in which two writes to a file may have the same time.
_TICK = 0.05
#: Seconds that closing a database takes at most between removing its index and its log.
_CLOSING_SECONDS = 0.2
#: Instructions of SQLite between two looks at the clock.
_INSTRUCTIONS = 2000
#: Rows between two looks at the clock.
_ROWS = 256

#: Items on a page, and in a list of those that go next.
PAGE = 50
NEXT = 20

#: Up to so many items are all counted; of more, so many in so many places.
COUNTED = 20_000
_WINDOWS = 200

_LOWEST, _HIGHEST = -(2**63), 2**63 - 1

#: The last byte of a value that can be asked for: SQLite counts bytes from 1.
FURTHEST = _HIGHEST - 1


class TooLong(Exception):
    """A question has not been answered within its time."""


# --- the directory ---


class Directory:
    """The directory of a Cache, or of a FanoutCache with its shards and named parts."""

    def __init__(self, directory: str) -> None:
        """Find it.

        :param directory: its path; ``~`` and environment variables are expanded
        :raises FileNotFoundError: if there is no cache in it
        """
        self.path: str = op.abspath(path_of(directory))
        if not op.isdir(self.path):
            raise FileNotFoundError(f'no such directory: {self.path}')
        self._found: dict[str, str] = {}
        self._found_until = 0.0
        #: Whether there are several caches in it.
        self.is_fanout: bool = not op.isfile(op.join(self.path, DBNAME))
        if self.is_fanout and not any(map(is_shard, self.caches())):
            raise FileNotFoundError(f'not a cache (it has no {DBNAME}): {self.path}')

    def caches(self) -> dict[str, str]:
        """Return the paths of the caches in it by their names, as of a second ago.

        The name of the only one is empty if the directory is that of a Cache.

        :raises OSError: if the directory cannot be read
        """
        if not self.is_fanout:
            return {'': self.path}
        if time.monotonic() > self._found_until:
            paths = [*_shards(self.path), *_parts(self.path)]
            self._found = {op.relpath(path, self.path): path for path in paths}
            self._found_until = time.monotonic() + _KNOWN_SECONDS
        return self._found


def _shards(directory: str) -> list[str]:
    """Return the paths of the shards of a FanoutCache."""
    names = sorted(name for name in os.listdir(directory) if is_shard(name))
    paths = (op.join(directory, name) for name in names)
    return [path for path in paths if op.isfile(op.join(path, DBNAME))]


def _parts(directory: str) -> Iterator[str]:
    """Yield the paths of the named parts of a FanoutCache.

    The directories of value files, which may be 65,536 of a part, are not gone through.
    """
    found: set[str] = set()
    for kind in _PARTS:
        for path, directories, files in os.walk(op.join(directory, kind)):
            above, name = op.split(path)
            if DBNAME in files:
                found.add(path)
                yield path
            is_of_values = above in found and _VALUE_DIRECTORY.fullmatch(name)
            directories[:] = sorted(
                each
                for each in directories
                if DBNAME not in each and not (is_of_values and _VALUE_DIRECTORY.fullmatch(each))
            )


# --- a database ---


def ask(path: str, question: Callable[[sqlite3.Connection], T], deadline: float) -> T:
    """Ask something of the database of a cache, at one moment, without writing anything.

    :param path: directory of the cache
    :param question: is called with a connection; again if the database changes meanwhile
    :param deadline: on the clock of :func:`time.monotonic`
    :return: what `question` returns
    :raises TooLong: if the deadline passes
    :raises sqlite3.Error: if the database cannot be read
    """
    database = op.join(path, DBNAME)
    for _ in range(_ATTEMPTS):
        mode = _mode_of_reading(database, deadline)
        if mode == _UNLOCKED:
            _settle(database)
        before = _state(database)
        try:
            with _connected(database, mode, deadline) as connection:
                answer = question(connection)
        except sqlite3.Error as error:
            if str(error) == 'interrupted':
                raise TooLong from None
            if _state(database) == before:
                raise
            continue
        except UnicodeDecodeError:  # what SQLite says of a damaged schema has that in it
            raise sqlite3.DatabaseError(f'the schema of {database} is damaged') from None
        if mode != _UNLOCKED or _state(database) == before:
            return answer
    raise sqlite3.OperationalError(f'{database} is being written all the time')


#: How a database is opened if nobody else has it open: without making the files of its log.
_UNLOCKED = 'mode=ro&immutable=1'


def _mode_of_reading(database: str, deadline: float) -> str:
    """Return how SQLite is to open a database without making any file.

    :raises TooLong: if the deadline passes
    :raises sqlite3.OperationalError: if there are commits that cannot be read like that
    """
    index, log = database + '-shm', database + '-wal'
    closed = time.monotonic() + _CLOSING_SECONDS
    while not op.exists(index) and size_of(log) > 0:
        # Who closes the database last removes the log just after the index.
        now = time.monotonic()
        if now > deadline:
            raise TooLong
        if now > closed:
            raise sqlite3.OperationalError(
                f'{log} has commits that are not in the database yet: open the cache once, and'
                ' close it'
            )
        time.sleep(0.001)
    if op.exists(index) and op.exists(log):
        return 'mode=ro' if os.access(index, os.W_OK) else 'mode=ro&readonly_shm=1'
    if op.exists(database + '-journal'):
        return 'mode=ro'
    return _UNLOCKED


def _settle(database: str) -> None:
    """Wait until a later write to a database has another time than the last one."""
    with cl.suppress(OSError):
        if abs(time.time() - op.getmtime(database)) < _TICK:
            time.sleep(_TICK)


def _state(database: str) -> tuple[Any, ...]:
    """Return what differs once somebody opens a database to write, or has written."""
    state: list[Any] = []
    for path in (database, database + '-wal', database + '-shm', database + '-journal'):
        try:
            facts = os.stat(path)
            state.append((facts.st_ino, facts.st_size, facts.st_mtime_ns))
        except OSError:
            state.append(None)
    return tuple(state)


@cl.contextmanager
def _connected(database: str, mode: str, deadline: float) -> Iterator[sqlite3.Connection]:
    if not op.isfile(database):  # SQLite would wait for somebody to write to a pipe
        raise sqlite3.OperationalError(f'{database} is not there')
    connection = sqlite3.connect(
        f'{Path(database).absolute().as_uri()}?{mode}',
        timeout=_TIMEOUT,
        isolation_level=None,
        check_same_thread=False,
        uri=True,
    )
    with cl.closing(connection):
        connection.text_factory = _text
        connection.set_progress_handler(lambda: time.monotonic() > deadline, _INSTRUCTIONS)
        for statement in sql.SHOW_SAFELY:
            connection.execute(statement)
        yield connection


def _text(data: bytes) -> str:
    return data.decode('utf-8', 'backslashreplace')


# --- rows ---


@dataclass(frozen=True)
class Item:
    """A row, as far as it is shown. Times, counts and modes may be of any type."""

    cache: str
    rowid: int
    key_type: str
    key: bytes  #: or the beginning of it
    key_size: int
    raw: Any
    store_time: Any
    expire_time: Any
    access_time: Any
    access_count: Any
    tag_type: str
    tag: Any
    mode: Any
    filename: bytes | None
    value_type: str
    size: int

    @classmethod
    def of(cls, cache: str, row: tuple[Any, ...]) -> Item:
        """Make one of the columns `sql.SHOWN` of a row."""
        return cls(cache, *row)


@dataclass
class Overview:
    """What a cache says of itself."""

    settings: dict[str, Any] = field(default_factory=dict)
    origin: Origin | None = None
    #: Bytes on disk: of the database's pages, and of value files.
    volume: int = 0
    #: Why nothing is known.
    error: str = ''

    def number(self, name: str) -> float:
        """Return a setting that is a number, 0 if it is none."""
        value = self.settings.get(name)
        return float(value) if value is not None and is_number(value) else 0


def is_number(value: Any) -> bool:
    """Tell whether a column has a number in it that one can calculate with."""
    return isinstance(value, int | float) and math.isfinite(value)


def overview(path: str, deadline: float) -> Overview:
    """Return what a cache says of itself; an error of the database is a part of that."""

    def question(connection: sqlite3.Connection) -> Overview:
        settings = {str(k): v for k, v in connection.execute(sql.SHOWN_SETTINGS)}
        ((pages,),) = connection.execute(sql.SHOWN_PAGES)
        row = connection.execute(sql.SHOWN_ORIGIN, (sql.ORIGIN,)).fetchone()
        found = Overview(settings, Origin.of({sql.ORIGIN: row and row[0]}), pages)
        found.volume += int(found.number('size'))
        return found

    try:
        return ask(path, question, deadline)
    except (TooLong, sqlite3.Error) as error:
        return Overview(error=_told(error))


def _told(error: Exception) -> str:
    return 'it took too long' if isinstance(error, TooLong) else str(error)


def item(cache: str, path: str, rowid: int, deadline: float) -> Item | None:
    """Return the item in a row, with all of its key up to 64 KiB; None if there is none.

    :raises TooLong: if the deadline passes
    :raises sqlite3.Error: if the database cannot be read
    """
    row = ask(path, lambda con: con.execute(sql.SHOWN_ITEM, (rowid,)).fetchone(), deadline)
    return None if row is None else Item.of(cache, row)


def piece_of_value(path: str, item: Item, start: int, size: int, deadline: float) -> bytes | None:
    """Return some bytes of a value as it is stored, inline or in its file.

    :param path: directory of the cache
    :param item: the item
    :param start: the first byte
    :param size: the most bytes
    :param deadline: on the clock of :func:`time.monotonic`
    :return: the bytes; None if there is no file that can be read, or none of this directory
    :raises TooLong: if the deadline passes
    :raises sqlite3.Error: if the database cannot be read
    """
    if item.filename is None:
        row = ask(
            path,
            lambda con: con.execute(sql.SHOWN_VALUE, (start + 1, size, item.rowid)).fetchone(),
            deadline,
        )
        return None if row is None else row[0] or b''
    try:
        name = item.filename.decode()
    except UnicodeDecodeError:
        return None
    if not name or '\0' in name:
        return None
    with cl.suppress(OSError):
        file = Disk(path)._open_file(name)
        if file is not None:
            with file:
                file.seek(start)
                return file.read(size)
    return None


# --- pages of items ---


@dataclass(frozen=True)
class Wanted:
    """Which items are looked for.

    `how` is 'all', 'begins' (the key, with `text`), 'contains' (`text` in the key), or 'tag'.
    """

    how: str = 'all'
    text: str = ''
    tag: Any = None
    newest: bool = False


@dataclass
class Found:
    """A page of items."""

    items: list[Item] = field(default_factory=list)
    #: Where the next page begins, as a cache and a row (None: its first); None: there is none.
    next: tuple[str, int | None] | None = None
    #: The search has stopped at its deadline.
    stopped: bool = False
    #: The row is gone at which the page was to begin.
    lost: bool = False
    #: What could not be read, and why.
    errors: list[str] = field(default_factory=list)


def find(
    caches: Mapping[str, str],
    wanted: Wanted,
    start: tuple[str, int | None] | None,
    deadline: float,
) -> Found:
    """Return a page of the items of some caches, one cache after the other.

    :param caches: paths by names
    :param wanted: which items
    :param start: `next` of the page before, None for the first page
    :param deadline: on the clock of :func:`time.monotonic`
    """
    found = Found()
    names = list(caches)
    name, row = (
        start if start is not None and start[0] in caches else (names[0] if names else '', None)
    )
    first = names.index(name) if names else 0
    for number in range(first, len(names)):
        # Each page looks at something, however late it is.
        if len(found.items) >= PAGE or (number > first and time.monotonic() > deadline):
            found.next = names[number], None
            break
        search = _Search(names[number], wanted, row, PAGE - len(found.items), deadline)
        row = None
        try:
            more = ask(caches[search.cache], search.run, deadline + _TIMEOUT)
        except (TooLong, sqlite3.Error) as error:
            found.errors.append(f'{search.cache}: {_told(error)}' if search.cache else _told(error))
            continue
        found.items += search.items
        found.lost |= search.lost
        if more is not None:
            found.next = search.cache, more
            break
    found.stopped = found.next is not None and len(found.items) < PAGE
    return found


class _Search:
    """A search in one cache."""

    def __init__(
        self, cache: str, wanted: Wanted, start: int | None, limit: int, deadline: float
    ) -> None:
        self.cache = cache
        self._wanted = wanted
        self._start = start
        self._limit = limit
        self._deadline = deadline
        self.items: list[Item] = []
        self.lost = False

    def run(self, connection: sqlite3.Connection) -> int | None:
        """Search; return the row to go on with, None if that was all."""
        self.items = []
        steps: dict[str, Callable[[sqlite3.Connection], int | None]]
        steps = {'begins': self._by_key, 'contains': self._by_row, 'tag': self._by_row}
        return steps.get(self._wanted.how, self._all)(connection)

    def _take(self, rows: Iterator[tuple[Any, ...]]) -> int | None:
        """Take rows until there are enough; return the number of the one that is too many."""
        for row in rows:
            if len(self.items) == self._limit:
                return int(row[0])
            self.items.append(Item.of(self.cache, row))
        return None

    def _first(self) -> int:
        if self._start is not None:
            return self._start
        return _HIGHEST if self._wanted.newest else _LOWEST

    def _all(self, connection: sqlite3.Connection) -> int | None:
        statement = sql.SHOWN_BACKWARD if self._wanted.newest else sql.SHOWN_FORWARD
        return self._take(connection.execute(statement, (self._first(), self._limit + 1)))

    def _by_row(self, connection: sqlite3.Connection) -> int | None:
        """Look at each row, until the deadline."""
        newest = self._wanted.newest
        what: Any
        if self._wanted.how == 'tag':
            statement = sql.TAGGED_BACKWARD if newest else sql.TAGGED_FORWARD
            what = self._wanted.tag
        else:
            statement = sql.CONTAINING_BACKWARD if newest else sql.CONTAINING_FORWARD
            what = self._wanted.text.encode('utf-8', 'surrogateescape')
        rows = connection.execute(statement, (what, self._first()))
        for number, (rowid, matches) in enumerate(rows):
            if number % _ROWS == 0 and number and time.monotonic() > self._deadline:
                return int(rowid)
            if matches:
                if len(self.items) == self._limit:
                    return int(rowid)
                row = connection.execute(sql.SHOWN_ROW, (rowid,)).fetchone()
                if row is not None:  # or the table is damaged
                    self.items.append(Item.of(self.cache, row))
        return None

    def _by_key(self, connection: sqlite3.Connection) -> int | None:
        """Look up the beginning of keys in their index: numbers, text, then bytes."""
        ranges = list(_ranges(self._wanted.text))
        kind = None
        if self._start is not None:
            row = connection.execute(sql.KEY_KIND, (self._start,)).fetchone()
            if row is None:
                self.lost = True
            else:
                kind = row[0] if row[0] in ('text', 'blob') else 'number'
        for low, high in ranges:
            if kind is not None and _kind(low) != kind:
                continue
            room = self._limit - len(self.items) + 1
            if kind is not None:
                rows = connection.execute(sql.KEYS_FROM_ROW, (self._start, high, room))
                kind = None
            else:
                rows = connection.execute(sql.KEYS_BETWEEN, (low, high, room))
            more = self._take(rows)
            if more is not None:
                return more
        return None


def _ranges(text: str) -> Iterator[tuple[Any, Any]]:
    """Yield the ranges of keys that begin with a text, in the order in which SQLite sorts them."""
    with cl.suppress(ValueError):
        number = int(text)
        if _LOWEST <= number < _HIGHEST:
            yield number, number + 1
    with cl.suppress(UnicodeEncodeError):
        data = text.encode()
        yield text, _above(text)
        yield data, data[:-1] + bytes([data[-1] + 1])  # UTF-8 has no byte 255


def _kind(key: object) -> str:
    """Return in which range a key is."""
    return 'text' if isinstance(key, str) else 'blob' if isinstance(key, bytes) else 'number'


def _above(text: str) -> str | bytes:
    """Return the lowest text, or bytes, above all that begin with a text."""
    while text:
        last = ord(text[-1]) + 1
        if last <= 0x10FFFF:
            return text[:-1] + chr(0xE000 if last == 0xD800 else last)
        text = text[:-1]
    return b''


# --- what goes next, and how the items are distributed ---


def next_to_expire(caches: Mapping[str, str], deadline: float) -> tuple[list[Item], list[str]]:
    """Return the items of some caches that expire next, or have expired, and what went wrong."""
    items, errors = _heads(caches, lambda _: sql.NEXT_TO_EXPIRE, deadline)
    items.sort(key=lambda item: item.expire_time if is_number(item.expire_time) else math.inf)
    return items[:NEXT], errors


def next_to_evict(
    caches: Mapping[str, str], policies: Mapping[str, str], deadline: float
) -> tuple[list[Item], list[str]]:
    """Return the items of some caches that go next if there is no room, those of a cache together.

    :param caches: paths by names
    :param policies: eviction policies by names; of one that this program does not know, and of
        'none', nothing goes
    :param deadline: on the clock of :func:`time.monotonic`
    :return: the items, and what went wrong
    """
    now = time.time()

    def statement(name: str) -> str | None:
        cull = EVICTION_POLICY.get(policies.get(name, ''), {}).get('cull')
        return cull and cull.format(fields=sql.SHOWN, now=now)

    return _heads(caches, statement, deadline)


def _heads(
    caches: Mapping[str, str], statement: Callable[[str], str | None], deadline: float
) -> tuple[list[Item], list[str]]:
    """Return the first rows of a query of each cache, and what went wrong."""
    items: list[Item] = []
    errors: list[str] = []
    for name, path in caches.items():
        query = statement(name)
        if not query:
            continue

        def question(connection: sqlite3.Connection, query: str = query) -> list[tuple[Any, ...]]:
            return connection.execute(query, (NEXT,)).fetchall()

        try:
            rows = ask(path, question, deadline)
        except (TooLong, sqlite3.Error) as error:
            errors.append(f'{name}: {_told(error)}' if name else _told(error))
        else:
            items += [Item.of(name, row) for row in rows]
    return items, errors


@dataclass
class Figures:
    """Sizes and times of the items of some caches, or of a sample of them."""

    #: Bytes of the value, when it was stored, when it expires, as the columns have them.
    rows: list[tuple[Any, Any, Any]] = field(default_factory=list)
    is_sample: bool = False
    errors: list[str] = field(default_factory=list)


def figures(caches: Mapping[str, str], deadline: float) -> Figures:
    """Return sizes and times of up to about `COUNTED` items, from all over each cache."""
    found = Figures()
    share = max(COUNTED // max(len(caches), 1), _WINDOWS)
    for name, path in caches.items():

        def question(connection: sqlite3.Connection) -> tuple[list[tuple[Any, Any, Any]], bool]:
            ((low, high),) = connection.execute(sql.SHOWN_ENDS)
            if low is None:
                return [], False
            rows = connection.execute(sql.SHOWN_FIGURES, (low, high, share + 1)).fetchall()
            if len(rows) <= share:
                return rows, False
            rows = []
            step = (high - low) // _WINDOWS + 1
            for first in range(low, high + 1, step):
                if time.monotonic() > deadline:
                    break
                window = first, min(first + step - 1, _HIGHEST), share // _WINDOWS
                rows += connection.execute(sql.SHOWN_FIGURES, window)
            return rows, True

        try:
            rows, is_sample = ask(path, question, deadline + _TIMEOUT)
        except (TooLong, sqlite3.Error) as error:
            found.errors.append(f'{name}: {_told(error)}' if name else _told(error))
        else:
            found.rows += rows
            found.is_sample |= is_sample
    return found
