"""The command line: look after a cache directory without writing a program.

=============================  ================================================================
``check DIRECTORY [--fix]``    compare the database with the value files, report problems
``compact DIRECTORY``          give free pages and the log back to the disk
``stats DIRECTORY``            items, volume, hits and misses, and the settings that shape them
``clear DIRECTORY``            remove every item; settings and statistics stay
=============================  ================================================================

Exit status:

=  =============================================================================================
0  all is well
1  ``check`` found problems; with ``--fix`` all of them have been mended
2  the command could not be carried out
3  ``check --fix`` found problems, and some of them stay
=  =============================================================================================

That classes of the program that uses the cache are missing here, or that a file in the directory is
somebody else's, or a new one whose value may just be being stored, is shown, but it is no problem.
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
from typing import Any

from . import removal
from ._core import Timeout
from .cache import Cache
from .cautions import CacheWarning
from .constants import DBNAME
from .directory import path_of
from .opening import unopened
from .salvage import Salvage

#: Between two lines that tell how far a check is.
SECONDS_BETWEEN_LINES = 5.0

SETTINGS_SHOWN = ('eviction_policy', 'size_limit', 'cull_limit', 'statistics', 'tag_index')


#: Seconds to wait for the lock of a database that cannot be opened, as a Cache would.
_TIMEOUT = 60


class CommandError(Exception):
    """The command could not be carried out; the message is for the user."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return the exit status.

    :param argv: the arguments after the program's name (default: those of the process)
    """
    options = _parser().parse_args(argv)
    command: Callable[[Cache, argparse.Namespace], int] = options.command

    try:
        if options.command is _check and (texts := _salvage_unopenable(options)):
            _print_rows((UserWarning.__name__, text) for text in texts)
            return 1
        with _open_existing(options.directory) as cache:
            return command(cache, options)
    except Timeout:
        message = 'the cache is locked by another process; try again'
    except (CommandError, OSError, sqlite3.Error) as error:
        message = str(error)

    print(f'diskcache: {message}', file=sys.stderr)
    return 2


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog='diskcache', description='Look after the directory of a disk cache.'
    )
    commands = parser.add_subparsers(required=True, metavar='COMMAND')

    def add(name: str, command: Callable[..., int], summary: str) -> argparse.ArgumentParser:
        subparser = commands.add_parser(name, help=summary, description=summary)
        subparser.add_argument('directory', metavar='DIRECTORY', help='an existing cache')
        subparser.set_defaults(command=command)
        return subparser

    check = add('check', _check, 'compare the database with the value files')
    check.add_argument('--fix', action='store_true', help='mend what is found')
    add('compact', _compact, 'give free pages and the log back to the disk')
    add('stats', _stats, 'show items, volume, hits, misses and settings')
    add('clear', _clear, 'remove every item')
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


def _salvage_unopenable(options: argparse.Namespace) -> list[str]:
    """Save what can be read of a database that is too malformed to be opened, with ``--fix``.

    :return: what is wrong with it and what has been done; nothing if it can be opened
    """
    path = _existing(options.directory)
    seen = removal.identity(op.join(path, DBNAME))
    try:
        _open_existing(path).close()
        return []
    except sqlite3.DatabaseError as error:
        if not removal.is_malformed(error):
            raise
        problem = str(error)
    if not options.fix:
        return [problem, 'the cache cannot be opened (--fix saves what can be read)']
    with unopened(path, _TIMEOUT) as locker:
        salvage = Salvage(path, seen, {}, None)
        salvage.run(locker._transact)
    return [problem, *salvage.report, 'now it can be opened: check it again']


def _open_existing(directory: str) -> Cache:
    """Open a cache that is there already; `Cache` itself would create one."""
    path = _existing(directory)

    with warnings.catch_warnings():
        # What is done here is the same for every Disk.
        warnings.simplefilter('ignore', CacheWarning)
        return Cache(path)


def _check(cache: Cache, options: argparse.Namespace) -> int:
    with _progress() as progress:
        found = cache.check(fix=options.fix, progress=progress)
    _print_rows((_kind(warning), _told(warning, options.fix)) for warning in found)

    problems = [warning for warning in found if not _message(warning).harmless]
    if not problems:
        print('no problems found')
        return 0

    if not options.fix:
        print(f'problems found: {len(problems)}, not mended (--fix does)')
        return 1

    left = sum(not _message(warning).mended for warning in problems)
    outcome = f'{left} of them stay' if left else 'all mended'
    print(f'problems found: {len(problems)}, {outcome}')
    return 3 if left else 1


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


def _compact(cache: Cache, options: argparse.Namespace) -> int:
    print(f'given back: {cache.compact():,} bytes')
    return 0


def _stats(cache: Cache, options: argparse.Namespace) -> int:
    # reset() with a name alone reads that row. stats() would switch the counting on.
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


def _clear(cache: Cache, options: argparse.Namespace) -> int:
    print(f'items removed: {cache.clear():,}')
    return 0


@cl.contextmanager
def _progress() -> Iterator[Callable[[str, int, int | None], object]]:
    """Give what shows the progress of a check: a bar, or now and then a line."""
    if sys.stderr.isatty() and _has_rich():
        from rich.console import Console
        from rich.progress import Progress

        with Progress(console=Console(stderr=True), transient=True) as bar:
            task = bar.add_task('')
            yield lambda step, done, total: bar.update(
                task, description=step, completed=done, total=total
            )
        return

    last = time.monotonic()

    def tell(step: str, done: int, total: int | None) -> None:
        nonlocal last
        if time.monotonic() - last >= SECONDS_BETWEEN_LINES:
            last = time.monotonic()
            of = '' if total is None else f' of {total:,}'
            print(f'{step}: {done:,}{of}', file=sys.stderr, flush=True)

    yield tell


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
