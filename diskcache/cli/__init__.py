"""The command line: look after a cache directory without writing a program.

docs/command-line.rst, which is made from the parser, has all commands and their options. Exit
status:

===  ===========================================================================================
0    all is well
1    no: ``check`` found problems (with ``--fix`` all of them have been mended), a key is not there
2    the command could not be carried out; of a FanoutCache for one of its caches at least
3    in part: ``check --fix`` found problems that stay; an item could not be exported or imported
130  ended by Ctrl-C
141  who read the output (``| head``) has closed it
===  ===========================================================================================

A directory is never created: opening a mistyped path as a cache would make an empty one there and
then find nothing wrong with it. (``import --create`` is told to, ``backup`` makes its DEST.) What
only shows something writes nothing. Nothing is unpickled, unless ``--unpickle`` asks for it.

On a terminal, output is laid out by ``rich`` if it is installed (the extra ``cli``), and what
takes long shows how far it is. Elsewhere output is plain lines, so that what comes out of a pipe is
never folded, or JSON; what takes long tells now and then, on standard error, how far it is.

A module that has a command adds it by a function ``register(commands)``; `MODULES` lists it.
"""

from __future__ import annotations

import contextlib as cl
import os
import sys
from collections.abc import Callable, Sequence
from importlib import import_module
from typing import TYPE_CHECKING, Any

from ..cache import Cache as Cache  # under this name a program can replace its methods
from .commands import Commands, Parser
from .completion import complete
from .errors import CLOSED_PIPE, FAILED, FAILURES, INTERRUPTED, CommandError, tell_failure
from .servers import is_remote

if TYPE_CHECKING:
    import argparse

__all__ = ['CommandError', 'main', 'parser']

#: The modules that have commands, in the order in which help lists them.
MODULES = (
    '.facts',
    '.items',
    '.maintenance',
    '.backup',
    '.exporting',
    '.importing',
    '.top',
    '.bench',
    '.completion',
    '..serve',
)


def parser(prog: str = 'diskcache') -> Parser:
    """Return the parser of all commands.

    :param prog: the program's name, for its help
    """
    from .. import __version__

    made = Parser(
        prog=prog,
        description='Look after the directory of a disk cache.',
        epilog='Exit status: 0 all is well, 1 no or not there, 2 it failed, 3 done in part.',
    )
    made.add_argument('--version', action='version', version=f'diskcache {__version__}')
    commands = Commands(made)
    for name in MODULES:
        import_module(name, __name__).register(commands)
    return made


def main(
    argv: Sequence[str] | None = None,
    prog: str = 'diskcache',
    resolve: Callable[[argparse.Namespace], Any] | None = None,
) -> int:
    """Run one command and return the exit status.

    :param argv: the arguments after the program's name (default: those of the process)
    :param prog: the program's name, for its help
    :param resolve: called with the options; returns the directory, or the RemoteCache, that their
        `directory` stands for (default: that itself)
    """
    try:
        _open_closed_streams()
        made = parser(prog)
        complete(made)
        options = made.parse_args(argv)
        if resolve is not None and getattr(options, 'directory', None) is not None:
            options.directory = resolve(options)
        return _run(options)
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        _discard_output()
        return CLOSED_PIPE


def _open_closed_streams() -> None:
    """Let standard streams that are closed from the beginning be empty, or go nowhere."""
    for name, mode in (('stdin', 'r'), ('stdout', 'w'), ('stderr', 'w')):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode))  # noqa: SIM115


def _run(options: argparse.Namespace) -> int:
    command: Callable[[argparse.Namespace], int] = options.command
    location = getattr(options, 'directory', None)
    if hasattr(sys.stdout, 'reconfigure'):
        sys.stdout.reconfigure(errors='backslashreplace')  # not every terminal has every letter
    try:
        if is_remote(location) and not options.takes_servers:
            raise CommandError(
                f'{options.name} is for a directory; a cache on a server has export and import, and'
                ' redis-cli shows what is there'
            )
        status = command(options)
    except BrokenPipeError:
        raise
    except FAILURES as error:
        status = tell_failure(error)
    return _flushed(status)


def _flushed(status: int) -> int:
    """Write what is still to be written; return the exit status."""
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        raise
    except OSError as error:
        _discard_output()
        return status if status == FAILED else tell_failure(error)
    return status


def _discard_output() -> None:
    """Let Python's own flush at exit go nowhere."""
    with cl.suppress(OSError, ValueError):
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, sys.stdout.fileno())
        os.close(null)
