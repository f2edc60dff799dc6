"""The parser: commands are added to it by the modules that carry them out."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping
from typing import Any, NoReturn

from .errors import FAILED


class Parser(argparse.ArgumentParser):
    """A parser that takes no abbreviations: a new option must not change what a script means."""

    #: What `--json` prints: names, and what they mean; of an empty name something of the whole.
    json_keys: Mapping[str, str]

    def __init__(self, **options: Any) -> None:
        super().__init__(**{**options, 'allow_abbrev': False})
        self.json_keys = {}

    def error(self, message: str) -> NoReturn:
        """Say what is wrong with the arguments; exit status 2."""
        self.print_usage()
        self.exit(FAILED, f'{self.prog}: error: {message}\n')

    def print_usage(self, file: Any = None) -> None:
        """Print it on standard error, unless told otherwise."""
        import sys

        super().print_usage(file or sys.stderr)


class Commands:
    """Where a command registers itself: a module of `MODULES` has a ``register(commands)``."""

    def __init__(self, parser: argparse.ArgumentParser) -> None:
        self._subparsers = parser.add_subparsers(
            required=True, metavar='COMMAND', dest='name', parser_class=Parser
        )

    def add(
        self,
        name: str,
        command: Callable[[argparse.Namespace], int],
        summary: str,
        *,
        description: str = '',
        directory: bool | str = True,
        json_keys: Mapping[str, str] | None = None,
        servers: bool = False,
    ) -> Parser:
        """Add a command.

        :param name: what it is called
        :param command: carries it out with the options, and returns the exit status; it may raise
            what `errors.FAILURES` has
        :param summary: what it does, in a line
        :param description: what is to be said beside the summary
        :param directory: whether it takes a DIRECTORY; a text says which
        :param json_keys: what it prints with ``--json``: the names, and what they mean (None: there
            is no such option)
        :param servers: whether it also takes the URL of a server for a DIRECTORY
        :return: its parser, for the arguments of its own
        """
        text = f'{summary[:1].upper()}{summary[1:]}.'
        parser: Parser = self._subparsers.add_parser(
            name, help=summary, description=f'{text} {description}'.strip()
        )
        parser.set_defaults(command=command, takes_servers=servers)
        if directory:
            told = directory if isinstance(directory, str) else 'an existing cache'
            parser.add_argument('directory', metavar='DIRECTORY', help=told)
        if json_keys is not None:
            parser.json_keys = json_keys
            parser.add_argument('--json', action='store_true', help='print JSON')
        return parser
