"""``top``: what happens in a directory, looked at again and again.

Nothing is written, and no other process is asked. Commits are counted in the header of the
wal-index, which every commit changes. Whether the write lock is held is asked of the system, many
times between two looks: the part of the looks that found it held says how much writers wait.
"""

from __future__ import annotations

import argparse
import contextlib as cl
import os
import os.path as op
import struct
import sys
import time
from collections.abc import Iterator
from typing import Any

from .. import removal, sql
from ..constants import DBNAME
from ..directory import path_of, size_of
from ..units import human_size
from .arguments import count, positive
from .commands import Commands
from .errors import DONE
from .output import has_rich, print_json, ratio, table_lines
from .places import Place, opened
from .stored import as_json, jsonable, number, shown

if sys.platform == 'linux':
    import fcntl

#: Seconds between two looks at the write lock.
_LOCK_SECONDS = 0.01

#: The header of a wal-index, as far as it is read: version, unused, how many commits there were.
_INDEX_HEADER = struct.Struct('=III')
#: SQLite's lock for writing: a byte of the wal-index.
_WRITE_LOCK = 120
#: The system's record of a lock: type, whence, start, length, process.
_LOCK = struct.Struct('@hhqqi4x')

#: By policy: the query for the rows that are used most, and what is shown of their use.
_HOTTEST = {
    'least-frequently-used': (sql.MOST_COUNTED, 'access_count'),
    'least-recently-used': (sql.LAST_ACCESSED, 'access_time'),
}


def register(commands: Commands) -> None:
    """Add the command."""
    top = commands.add(
        'top',
        _top,
        'watch a directory: writes, volume, log, locks, hits, hottest keys',
        description='Until Ctrl-C. hits and misses are counted if the setting statistics is on; the'
        ' hottest keys are those that least-recently-used and least-frequently-used tell.',
        json_keys={
            'time': 'in seconds since 1970',
            'seconds': 'since the look before',
            'items': 'how many there are',
            'volume': 'bytes of the databases and the value files',
            'log': 'bytes of the logs',
            'writes': 'commits in each second; null: not known (a rollback journal)',
            'locked': 'part of the time for which a write lock was held, from 0 to 1; null: not'
            ' known (not Linux, or a rollback journal)',
            'hits': 'of the lookups since the look before; stored now and then',
            'misses': 'likewise',
            'hit_ratio': 'from 0 to 1; null if there were none',
            'shards': 'of a FanoutCache: a list of the same for each, with ``name``',
            'hottest': 'a list: ``key`` as that of ``ls``, ``shard``, ``count`` or ``accessed``',
            '': 'one line of JSON for each look',
        },
    )
    top.add_argument(
        '--interval', type=positive, default=2.0, metavar='TIME', help='between two looks (2 s)'
    )
    top.add_argument('--once', action='store_true', help='look once, for one interval')
    top.add_argument(
        '--keys', type=count, default=10, metavar='NUMBER', help='so many hottest keys (10)'
    )


#: Descriptors of wal-indexes, by what tells them apart. They stay open, also at the end: to close
#: one would release the locks that SQLite has on that file in this process.
_descriptors: dict[tuple[int, int], int] = {}


class _Watched:
    """A cache, or a shard, that is watched."""

    def __init__(self, place: Place) -> None:
        self.place = place
        self._path = op.join(place.cache.directory, f'{DBNAME}-shm')
        self._identity: tuple[int, int] | None = None
        self._looks = self._held = 0
        self.commits()
        self._before = self._numbers()

    def _numbers(self) -> dict[str, Any]:
        cache = self.place.cache
        return {
            'items': len(cache),
            'volume': cache.volume(),
            'log': size_of(op.join(cache.directory, f'{DBNAME}-wal')),
            'commits': self.commits(),
            'hits': cache.reset('hits'),
            'misses': cache.reset('misses'),
        }

    def commits(self) -> tuple[tuple[int, int], int] | None:
        """Return which wal-index there is, and how many commits it has seen."""
        identity = removal.identity(self._path)
        if identity != self._identity:
            self._open(identity)
        if self._descriptor is None or identity is None:
            return None
        data = os.pread(self._descriptor, _INDEX_HEADER.size, 0)
        if len(data) < _INDEX_HEADER.size:
            return None
        return identity, _INDEX_HEADER.unpack(data)[2]

    def _open(self, identity: tuple[int, int] | None) -> None:
        """Open the wal-index that is there now, instead of the one that was."""
        if self._identity in _descriptors:
            os.close(_descriptors.pop(self._identity))
        self._identity = identity
        if identity is not None and identity not in _descriptors:
            with cl.suppress(OSError):
                _descriptors[identity] = os.open(self._path, os.O_RDONLY)

    @property
    def _descriptor(self) -> int | None:
        return None if self._identity is None else _descriptors.get(self._identity)

    def look_at_lock(self) -> None:
        """See whether another process has the write lock just now."""
        if self._descriptor is None or sys.platform != 'linux':
            return
        asked = _LOCK.pack(fcntl.F_RDLCK, os.SEEK_SET, _WRITE_LOCK, 1, 0)
        try:
            found = fcntl.fcntl(self._descriptor, fcntl.F_GETLK, asked)
        except OSError:
            return
        self._looks += 1
        self._held += _LOCK.unpack(found)[0] != fcntl.F_UNLCK

    def look(self, seconds: float) -> dict[str, Any]:
        """Return what there is, and what has happened since the look before."""
        before, now = self._before, self._numbers()
        self._before = now
        locked = self._held / self._looks if self._looks else None
        self._looks = self._held = 0
        writes = None
        if str(self.place.cache.reset('sqlite_journal_mode')).lower() == 'wal':
            writes, locked = 0.0, locked or 0.0  # without a wal-index nobody has it open
        if now['commits'] is not None:
            index, number = now['commits']
            if before['commits'] is not None and before['commits'][0] == index:
                number = (number - before['commits'][1]) % 2**32
            writes = number / seconds
        hits, misses = (max(now[name] - before[name], 0) for name in ('hits', 'misses'))
        return {
            **{name: now[name] for name in ('items', 'volume', 'log')},
            'writes': writes,
            'locked': locked,
            'hits': hits,
            'misses': misses,
            'hit_ratio': ratio(hits, misses),
        }


def _top(options: argparse.Namespace) -> int:
    with opened(options.directory) as places:
        watched = [_Watched(place) for place in places]
        looks = _looks(path_of(options.directory), watched, options)
        if options.json:
            for found in looks:
                print_json(found)
        elif options.once or not (sys.stdout.isatty() and has_rich()):
            for number, found in enumerate(looks):
                print(('\n' if number else '') + '\n'.join(_lines(found)), flush=True)
        else:
            _show_live(looks)
    return DONE


def _looks(
    directory: str, watched: list[_Watched], options: argparse.Namespace
) -> Iterator[dict[str, Any]]:
    """Yield what is seen, once in each interval."""
    last = time.monotonic()
    while True:
        end = last + options.interval
        while (now := time.monotonic()) < end:
            for each in watched:
                each.look_at_lock()
            time.sleep(min(_LOCK_SECONDS, end - now))
        seconds, last = now - last, now
        found = {each.place.name: each.look(seconds) for each in watched}
        yield {
            'directory': directory,
            'time': time.time(),
            'seconds': seconds,
            **_together(list(found.values())),
            **(
                {'shards': [{'name': name, **facts} for name, facts in found.items()]}
                if len(found) > 1
                else {}
            ),
            'hottest': _hottest([each.place for each in watched], options.keys),
        }
        if options.once:
            return


def _together(found: list[dict[str, Any]]) -> dict[str, Any]:
    total: dict[str, Any] = {
        name: sum(each[name] for each in found)
        for name in ('items', 'volume', 'log', 'hits', 'misses')
    }
    writes = [each['writes'] for each in found if each['writes'] is not None]
    locked = [each['locked'] for each in found if each['locked'] is not None]
    return {
        **total,
        'writes': sum(writes) if writes else None,
        'locked': max(locked) if locked else None,
        'hit_ratio': ratio(total['hits'], total['misses']),
    }


def _hottest(places: list[Place], most: int) -> list[dict[str, Any]]:
    """Return the keys that are used most, if the eviction policy keeps that."""
    policy = str(places[0].cache.reset('eviction_policy'))
    if policy not in _HOTTEST or not most:
        return []
    select, column = _HOTTEST[policy]
    rows = [(place, row) for place in places for row in place.rows(select, most)]
    used = [
        (getattr(row, column), place, row)
        for place, row in rows
        if (number(getattr(row, column)) or 0) > 0
    ]
    used.sort(key=lambda each: each[0], reverse=True)
    name = 'count' if column == 'access_count' else 'accessed'
    return [
        {
            'key': as_json(row.key(place.is_json)),
            'shown': shown(row.key(place.is_json), 60),
            'shard': place.name,
            name: jsonable(use),
        }
        for use, place, row in used[:most]
    ]


def _lines(found: dict[str, Any]) -> list[str]:
    """Return what is seen as lines of text."""
    head = ('items', 'volume', 'log', 'writes/s', 'locked', 'hits', 'misses', 'hit ratio', 'name')
    rows = [_cells(each, each['name']) for each in found.get('shards', ())]
    rows.append(_cells(found, 'together' if rows else found['directory']))
    moment = time.strftime('%H:%M:%S', time.localtime(found['time']))
    lines = [f'{moment}  {found["directory"]}', *table_lines(head, rows)]
    if found['hottest']:
        lines += ['', 'hottest keys']
        for each in found['hottest']:
            use = (
                f'{each["count"]:,}'
                if 'count' in each
                else f'{max(found["time"] - each["accessed"], 0):.1f} s ago'
            )
            lines.append(f'{use:>12}  {each["shown"]}')
    return lines


def _cells(facts: dict[str, Any], name: str) -> tuple[str, ...]:
    def shown_or_not(number: float | None, layout: str) -> str:
        return '-' if number is None else format(number, layout)

    return (
        f'{facts["items"]:,}',
        human_size(facts['volume']),
        human_size(facts['log']),
        shown_or_not(facts['writes'], ',.1f'),
        shown_or_not(facts['locked'], '.0%'),
        f'{facts["hits"]:,}',
        f'{facts["misses"]:,}',
        shown_or_not(facts['hit_ratio'], '.1%'),
        name,
    )


def _show_live(looks: Iterator[dict[str, Any]]) -> None:
    from rich.console import Console
    from rich.live import Live
    from rich.text import Text

    console = Console()
    with Live(Text('…'), console=console, auto_refresh=False, screen=True) as live:
        for found in looks:
            live.update(Text('\n'.join(_lines(found)), no_wrap=True), refresh=True)
