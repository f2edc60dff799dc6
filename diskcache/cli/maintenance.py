"""``check``, ``compact``, ``cull``, ``expire``, ``evict``, ``clear``: looking after a directory."""

from __future__ import annotations

import argparse
import os.path as op
import sqlite3
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from .. import removal
from .._core import Timeout
from ..cache import Cache
from ..constants import DBNAME
from ..directory import path_of
from ..opening import unopened
from ..salvage import Salvage
from .arguments import add_key_options
from .commands import Commands
from .errors import DONE, FAILURES, NO, PARTLY, CommandError, tell_failure
from .items import key_of
from .output import bytes_shown, print_json, print_rows, progress
from .places import all_caches, item_caches, open_existing, open_recorded

if TYPE_CHECKING:
    from ..check import Progress

#: Seconds to wait for the lock of a database that cannot be opened, as a Cache would.
_TIMEOUT = 60

_OF_ITEMS = 'an existing cache; of a FanoutCache that is its shards'
_OF_ALL = 'an existing cache; of a FanoutCache also the caches, Deques and Indexes below it'


def register(commands: Commands) -> None:
    """Add the commands."""
    check = commands.add(
        'check',
        _check,
        'compare the database with the value files',
        description='What is shown and is no problem: that classes of the program that uses the'
        ' cache are missing here; that items are refused, by a SafeDisk or a SignedDisk, which'
        " another program may load; that a file in the directory is somebody else's, or a new one"
        ' whose value may just be being stored. Exit status 1: there are problems; with --fix all'
        ' of them have been mended. 3: some of them stay.',
        directory=_OF_ALL,
        json_keys={
            'problems': 'how many',
            'left': 'how many of them stay',
            'found': 'a list: ``kind`` (``UserWarning``, ``UnknownFileWarning``, …), ``cache`` (the'
            ' name of a part of a FanoutCache, or empty), ``text``, ``mended``, ``harmless``',
        },
    )
    check.add_argument('--fix', action='store_true', help='mend what is found')
    commands.add(
        'compact',
        _compact,
        'give free pages and the log back to the disk',
        description='Nobody can write meanwhile: a second or two for each 100 MB.',
        directory=_OF_ALL,
        json_keys={'given_back': 'bytes'},
    )
    removed = {'removed': 'how many items'}
    commands.add(
        'expire', _expire, 'remove items that have expired', directory=_OF_ITEMS, json_keys=removed
    )
    commands.add(
        'cull',
        _cull,
        'remove items that have expired, then others until the cache is within its size_limit',
        directory=_OF_ITEMS,
        json_keys=removed,
    )
    evict = commands.add(
        'evict', _evict, 'remove the items with a tag', directory=_OF_ITEMS, json_keys=removed
    )
    evict.add_argument('tag', metavar='TAG', help='the tag')
    add_key_options(evict, 'TAG')
    clear = commands.add(
        'clear',
        _clear,
        'remove every item; settings and statistics stay',
        description='On a terminal it asks first. A script, whose standard input is none, is not'
        ' asked. Exit status 1: the answer was no.',
        directory=_OF_ITEMS,
        json_keys=removed,
    )
    clear.add_argument('-y', '--yes', action='store_true', help='do not ask')


# --- check ---


class _Checked:
    """What checks have found so far, of one cache or of all that a FanoutCache has."""

    def __init__(self, fix: bool) -> None:
        self._fix = fix
        #: What is shown: for people, and as JSON.
        self.rows: list[tuple[str, str]] = []
        self.found: list[dict[str, Any]] = []
        #: How many problems there are, and how many of them stay.
        self.problems = self.left = 0
        #: So many shards the FanoutCache was made with.
        self.shards = 0

    def check(self, name: str, path: str, progress: Progress) -> None:
        """Check one cache."""
        if texts := _salvage_unopenable(path, self._fix):
            for text in texts:
                self._note(UserWarning.__name__, name, text, text, mended=self._fix)
            self.problems += 1
            if not self._fix:
                self.left += 1
                return
        with open_existing(path) as cache:
            found = cache.check(fix=self._fix, progress=progress)
            origin = cache._origin
        if origin is not None and origin.shards is not None:
            self.shards = max(self.shards, origin.shards)
        for each in found:
            message: Any = each.message  # with the attributes that `check` gives it
            kind = each.category.__name__
            shown = _told(message, self._fix)
            self._note(kind, name, str(message), shown, message.mended, message.harmless)
            if not message.harmless:
                self.problems += 1
                self.left += not message.mended

    def _note(
        self, kind: str, name: str, text: str, shown: str, mended: bool, harmless: bool = False
    ) -> None:
        self.rows.append((kind, (name and f'{name}: ') + shown))
        self.found.append(
            {'kind': kind, 'cache': name, 'text': text, 'mended': mended, 'harmless': harmless}
        )

    def look_for_shards(self, directory: str) -> None:
        """Find shards that are not there, after those that are."""
        for number in range(self.shards):
            database = op.join(path_of(directory), f'{number:03d}', DBNAME)
            if not op.exists(database):
                why = ' (stays: opening the FanoutCache makes it, empty)' if self._fix else ''
                text = f'missing: {database}'
                self._note(UserWarning.__name__, '', text, text + why, mended=False)
                self.problems += 1
                self.left += 1


def _salvage_unopenable(path: str, fix: bool) -> list[str]:
    """Save what can be read of a database that is too malformed to be opened, with ``--fix``.

    :return: what is wrong with it and what has been done; nothing if it can be opened
    """
    seen = removal.identity(op.join(path, DBNAME))
    try:
        open_existing(path).close()
        return []
    except sqlite3.DatabaseError as error:
        if not removal.is_malformed(error):
            raise
        problem = str(error)
    if not fix:
        return [problem, 'the cache cannot be opened (--fix saves what can be read)']
    with unopened(path, _TIMEOUT) as locker:
        salvage = Salvage(path, seen, {}, None)
        salvage.run(locker._transact)
    return [problem, *salvage.report]


def _told(message: Any, fix: bool) -> str:
    """Return what has been found, and with `fix` what has become of it."""
    if not fix or message.mended:
        return f'{message}{" (mended)" if fix else ""}'
    return f'{message} (stays{f": {message.reason}" if message.reason else ""})'


def _check(options: argparse.Namespace) -> int:
    caches = all_caches(options.directory)
    checked = _Checked(options.fix)
    status = DONE
    with progress(len(caches)) as of_cache:
        for number, (name, path) in enumerate(caches):
            try:
                checked.check(name, path, of_cache(number, name))
            except FAILURES as error:  # the others are checked nevertheless
                status = tell_failure(error, name)
    if any(name for name, _ in caches):
        checked.look_for_shards(options.directory)
    if options.json:
        print_json({'problems': checked.problems, 'left': checked.left, 'found': checked.found})
    else:
        _print_checked(checked, options.fix, bool(status))
    if status or not checked.problems:
        return status
    return PARTLY if options.fix and checked.left else NO


def _print_checked(checked: _Checked, fix: bool, failed: bool) -> None:
    print_rows(checked.rows)
    if not checked.problems:
        if not failed:
            print('no problems found')
        return
    outcome = 'all mended'
    if not fix:
        outcome = 'not mended (--fix does)'
    elif checked.left:
        outcome = f'{checked.left} of them stay'
    print(f'problems found: {checked.problems}, {outcome}')


# --- what changes a directory ---


def _each(caches: list[tuple[str, str]], work: Callable[[Cache], int]) -> tuple[int, int]:
    """Do the same to each of some caches, also after one to which it cannot be done.

    :param caches: names and paths
    :param work: returns a number
    :return: the sum of what it has returned, and the exit status
    """
    total, status = 0, DONE
    for name, path in caches:
        try:
            with open_recorded(path) as cache:
                total += work(cache)
        except Timeout as error:
            total += error.args[0] if error.args and isinstance(error.args[0], int) else 0
            status = tell_failure(error, name)
        except FAILURES as error:
            status = tell_failure(error, name)
    return total, status


def _compact(options: argparse.Namespace) -> int:
    given, status = _each(all_caches(options.directory), Cache.compact)
    if options.json:
        print_json({'given_back': given})
    else:
        print(f'given back: {bytes_shown(given)}')
    return status


def _remove(options: argparse.Namespace, work: Callable[[Cache], int]) -> int:
    removed, status = _each(item_caches(options.directory), work)
    if options.json:
        print_json({'removed': removed})
    else:
        print(f'items removed: {removed:,}')
    return status


def _expire(options: argparse.Namespace) -> int:
    return _remove(options, Cache.expire)


def _cull(options: argparse.Namespace) -> int:
    return _remove(options, Cache.cull)


def _evict(options: argparse.Namespace) -> int:
    tag = key_of(options, options.tag)
    if isinstance(tag, int) and not -(2**63) <= tag < 2**63:
        raise CommandError(f'a tag has 64 bits at most: {tag}')
    return _remove(options, lambda cache: cache.evict(tag))


def _clear(options: argparse.Namespace) -> int:
    caches = item_caches(options.directory)
    if not options.yes and sys.stdin.isatty():
        count = 0
        for _, path in caches:
            with open_recorded(path, writes=False) as cache:
                count += len(cache)
        sys.stderr.write(f'Remove {count:,} items from {path_of(options.directory)}? [y/N] ')
        sys.stderr.flush()
        if sys.stdin.readline().strip().lower() not in ('y', 'yes'):
            return NO
    return _remove(options, Cache.clear)
