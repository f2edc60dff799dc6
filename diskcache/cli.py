"""The command line: look after a cache directory without writing a program.

=============================  ================================================================
``check DIRECTORY [--fix]``    compare the database with the value files, report problems
``compact DIRECTORY``          give free pages and the log back to the disk
``stats DIRECTORY``            items, volume, hits and misses, and the settings that shape them
``clear DIRECTORY``            remove every item; settings and statistics stay
``serve DIRECTORY``            show the cache in a browser, see :mod:`diskcache.serve`
``info``                       which diskcache this is: version, files, the distribution
=============================  ================================================================

Exit status:

=  =============================================================================================
0  all is well
1  ``check`` found problems; with ``--fix`` all of them have been mended
2  the command could not be carried out; of a FanoutCache for one of its caches at least
3  ``check --fix`` found problems, and some of them stay
=  =============================================================================================

``check``, ``compact`` and ``serve`` take the directory of a FanoutCache, too: all its shards, and
the caches, Deques and Indexes below it. The others take one cache, or one shard.

What is shown and is no problem: that classes of the program that uses the cache are missing here;
that items are refused, by a SafeDisk or a SignedDisk, which another program may load; that a file
in the directory is somebody else's, or a new one whose value may just be being stored.
A directory is never created: opening a mistyped path as a cache would make an empty one there and
then find nothing wrong with it.

On a terminal, output is laid out by ``rich`` if the extra ``diskcache[cli]`` is installed, and
``check`` shows how far it is. Elsewhere output is plain lines, so that what comes out of a pipe is
never folded; a check that takes long tells now and then, on standard error, how far it is.
"""

from __future__ import annotations

import argparse
import contextlib as cl
import importlib.util
import os.path as op
import sqlite3
import sys
import time
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from . import _core, removal, serve
from ._core import Timeout
from .cache import Cache
from .cautions import CacheWarning
from .constants import DBNAME
from .directory import path_of
from .fanout import cache_directories
from .mismatch import count_shards
from .opening import unopened
from .salvage import Salvage

if TYPE_CHECKING:
    from .check import Progress

#: Between two lines that tell how far a check is.
SECONDS_BETWEEN_LINES = 5.0

SETTINGS_SHOWN = ('eviction_policy', 'size_limit', 'cull_limit', 'statistics', 'tag_index')

#: Seconds to wait for the lock of a database that cannot be opened, as a Cache would.
_TIMEOUT = 60


class CommandError(Exception):
    """The command could not be carried out; the message is for the user."""


#: What keeps a command from being carried out.
_FAILURES = (Timeout, CommandError, OSError, sqlite3.Error)


def main(
    argv: Sequence[str] | None = None,
    prog: str = 'diskcache',
    resolve: Callable[[str], str] | None = None,
) -> int:
    """Run one command and return the exit status.

    :param argv: the arguments after the program's name (default: those of the process)
    :param prog: the program's name, for its help
    :param resolve: returns the directory that an argument stands for (default: that itself)
    """
    options = _parser(prog).parse_args(argv)
    command: Callable[[argparse.Namespace], int] = options.command
    if resolve is not None and hasattr(options, 'directory'):
        options.directory = resolve(options.directory)

    try:
        return command(options)
    except _FAILURES as error:
        return _tell_failure(error)


def _tell_failure(error: Exception, name: str = '') -> int:
    """Say why a command could not be carried out, for a part of a FanoutCache or all."""
    text = str(error)
    if isinstance(error, Timeout):
        text = 'the cache is locked by another process; try again'
    print(f'diskcache: {name and name + ": "}{text}', file=sys.stderr)
    return 2


def _parser(prog: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=prog, description='Look after the directory of a disk cache.'
    )
    commands = parser.add_subparsers(required=True, metavar='COMMAND')

    def add_plain(name: str, command: Callable[..., int], summary: str) -> argparse.ArgumentParser:
        subparser = commands.add_parser(name, help=summary, description=summary)
        subparser.set_defaults(command=command)
        return subparser

    def add(name: str, command: Callable[..., int], summary: str) -> argparse.ArgumentParser:
        subparser = add_plain(name, command, summary)
        subparser.add_argument('directory', metavar='DIRECTORY', help='an existing cache')
        return subparser

    check = add('check', _check, 'compare the database with the value files')
    check.add_argument('--fix', action='store_true', help='mend what is found')
    add('compact', _compact, 'give free pages and the log back to the disk')
    add('stats', _stats, 'show items, volume, hits, misses and settings')
    add('clear', _clear, 'remove every item')
    serve.add_parser(commands)
    add_plain('info', _info, 'show which diskcache this is, and where it is from')
    return parser


def _existing(directory: str) -> str:
    """Return the path of a cache that is there already."""
    path = path_of(directory)

    if not op.isdir(path):
        raise CommandError(f'no such directory: {path}')

    if not op.isfile(op.join(path, DBNAME)):
        shard = op.join(path, '000')
        hint = f'; it is a FanoutCache: name a shard, {shard}' if op.isdir(shard) else ''
        raise CommandError(f'not a cache (it has no {DBNAME}): {path}{hint}')
    return path


def _caches(directory: str) -> list[tuple[str, str]]:
    """Return the names and paths of a cache that is there, or of all that a FanoutCache has."""
    path = path_of(directory)
    if not op.isfile(op.join(path, DBNAME)) and count_shards(path):
        return [(op.relpath(each, path), each) for each in cache_directories(path)]
    return [('', _existing(directory))]


def _salvage_unopenable(path: str, fix: bool) -> list[str]:
    """Save what can be read of a database that is too malformed to be opened, with ``--fix``.

    :return: what is wrong with it and what has been done; nothing if it can be opened
    """
    seen = removal.identity(op.join(path, DBNAME))
    try:
        _open_existing(path).close()
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


def _open_existing(directory: str) -> Cache:
    """Open a cache that is there already; `Cache` itself would create one."""
    path = _existing(directory)

    with warnings.catch_warnings():
        # What is done here is the same for every Disk.
        warnings.simplefilter('ignore', CacheWarning)
        return Cache(path)


class _Checked:
    """What checks have found so far, of one cache or of all that a FanoutCache has."""

    def __init__(self, fix: bool) -> None:
        self._fix = fix
        self.rows: list[tuple[str, str]] = []
        #: How many problems there are, and how many of them stay.
        self.problems = self.left = 0
        #: So many shards the FanoutCache was made with.
        self.shards = 0

    def check(self, name: str, path: str, progress: Progress) -> None:
        """Check one cache."""
        shown = name and f'{name}: '
        if texts := _salvage_unopenable(path, self._fix):
            self.rows += [(UserWarning.__name__, shown + text) for text in texts]
            self.problems += 1
            if not self._fix:
                self.left += 1
                return
        with _open_existing(path) as cache:
            found = cache.check(fix=self._fix, progress=progress)
            origin = cache._origin
        if origin is not None and origin.shards is not None:
            self.shards = max(self.shards, origin.shards)
        self.rows += [(_kind(each), shown + _told(each, self._fix)) for each in found]
        problems = [_message(each) for each in found if not _message(each).harmless]
        self.problems += len(problems)
        self.left += sum(not problem.mended for problem in problems)

    def look_for_shards(self, directory: str) -> None:
        """Find shards that are not there, after those that are."""
        for number in range(self.shards):
            database = op.join(path_of(directory), f'{number:03d}', DBNAME)
            if not op.exists(database):
                why = ' (stays: opening the FanoutCache makes it, empty)' if self._fix else ''
                self.rows.append((UserWarning.__name__, f'missing: {database}{why}'))
                self.problems += 1
                self.left += 1


def _check(options: argparse.Namespace) -> int:
    caches = _caches(options.directory)
    checked = _Checked(options.fix)
    status = 0
    with _progress(len(caches)) as of_cache:
        for number, (name, path) in enumerate(caches):
            try:
                checked.check(name, path, of_cache(number, name))
            except _FAILURES as error:  # the others are checked nevertheless
                status = _tell_failure(error, name)
    if any(name for name, _ in caches):
        checked.look_for_shards(options.directory)
    _print_rows(checked.rows)

    if not checked.problems:
        if not status:
            print('no problems found')
        return status

    outcome = 'all mended'
    if not options.fix:
        outcome = 'not mended (--fix does)'
    elif checked.left:
        outcome = f'{checked.left} of them stay'
    print(f'problems found: {checked.problems}, {outcome}')
    return status or (3 if options.fix and checked.left else 1)


def _message(warning: warnings.WarningMessage) -> Any:
    """Return the message with the attributes that `check` gives it."""
    return warning.message


def _kind(warning: warnings.WarningMessage) -> str:
    return warning.category.__name__


def _told(warning: warnings.WarningMessage, fix: bool) -> str:
    """Return what has been found, and with `fix` what has become of it."""
    message = _message(warning)
    if not fix or message.mended:
        return f'{message}{" (mended)" if fix else ""}'
    return f'{message} (stays{f": {message.reason}" if message.reason else ""})'


def _compact(options: argparse.Namespace) -> int:
    given = status = 0
    for name, path in _caches(options.directory):
        try:
            with _open_existing(path) as cache:
                given += cache.compact()
        except _FAILURES as error:
            status = _tell_failure(error, name)
    print(f'given back: {given:,} bytes')
    return status


def _stats(options: argparse.Namespace) -> int:
    # reset() with a name alone reads that row. stats() would switch the counting on.
    with _open_existing(options.directory) as cache:
        rows = [
            ('directory', cache.directory),
            ('items', f'{len(cache):,}'),
            ('volume', f'{cache.volume():,} bytes'),
            ('hits', f'{cache.reset("hits"):,}'),
            ('misses', f'{cache.reset("misses"):,}'),
        ]
        rows += [(name, str(getattr(cache, name))) for name in SETTINGS_SHOWN]
    _print_rows(rows)
    return 0


def _clear(options: argparse.Namespace) -> int:
    with _open_existing(options.directory) as cache:
        print(f'items removed: {cache.clear():,}')
    return 0


def _info(options: argparse.Namespace) -> int:
    import platform

    from . import __version__
    from .installed import owners

    package = op.dirname(op.abspath(__file__))
    found = [f'{name} {version}' for name, version in owners(package)]
    rows = [
        ('implementation', 'in C, over the SQLite of Python'),
        ('version', __version__),
        ('package', package),
        ('extension', str(_core.__file__)),
        ('distribution', ' and '.join(found) or 'none: it was not installed'),
        ('python', f'{platform.python_implementation()} {platform.python_version()}'),
        ('platform', platform.platform()),
        ('sqlite', _core.sqlite_version),
    ]
    _print_rows(rows)
    return 0


@cl.contextmanager
def _progress(count: int) -> Iterator[Callable[[int, str], Progress]]:
    """Give what shows the progress of checks, of so many caches: bars, or now and then a line.

    It is called with the number of caches that are done and the name of the next.
    """
    if sys.stderr.isatty() and _has_rich():
        with _Bars(count) as bars:
            yield bars.of_cache
        return

    last = time.monotonic()

    def of_cache(number: int, name: str) -> Progress:
        before = name and f'{name} ({number + 1} of {count}) '

        def tell(step: str, done: int, total: int | None) -> None:
            nonlocal last
            if time.monotonic() - last >= SECONDS_BETWEEN_LINES:
                last = time.monotonic()
                of = '' if total is None else f' of {total:,}'
                print(f'{before}{step}: {done:,}{of}', file=sys.stderr, flush=True)

        return tell

    yield of_cache


class _Bars:
    """A bar for the step that is under way and, where there are several caches, one for them."""

    def __init__(self, count: int) -> None:
        from rich.console import Console
        from rich.progress import Progress as Bars

        self._bars = Bars(console=Console(stderr=True), transient=True)
        self._caches = self._bars.add_task('caches', total=count, visible=count > 1)
        self._step = ''
        self._task = self._bars.add_task('', total=None)

    def __enter__(self) -> _Bars:
        self._bars.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bars.stop()

    def of_cache(self, number: int, name: str) -> Progress:
        """Return what is told the progress of the next cache."""
        self._bars.update(self._caches, completed=number)

        def tell(step: str, done: int, total: int | None) -> None:
            step = f'{name} {step}'.strip()
            if step != self._step:  # a bar that has had a total keeps one
                self._bars.remove_task(self._task)
                self._step, self._task = step, self._bars.add_task(step, total=total)
            self._bars.update(self._task, completed=done)

        return tell


def _has_rich() -> bool:
    return importlib.util.find_spec('rich') is not None


def _print_rows(rows: Iterable[tuple[str, str]]) -> None:
    if not (sys.stdout.isatty() and _has_rich()):
        for name, text in rows:
            print(f'{name}: {text}')
        return

    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(show_header=False, box=None, pad_edge=False)
    table.add_column(style='bold', no_wrap=True)
    table.add_column(overflow='fold')

    for name, text in rows:
        # Text, not str: a path such as [red] is no markup.
        table.add_row(name, Text(text))

    Console().print(table)
