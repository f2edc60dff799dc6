"""Write docs/command-line.rst from the parser: run as `python docs/command_pages.py`.

With `--check` nothing is written, and the exit status is 1 if the page is not what it should be.
"""

from __future__ import annotations

import argparse
import sys
import textwrap
from collections.abc import Iterable, Iterator
from pathlib import Path

from diskcache.cli import parser
from diskcache.cli.commands import Parser

PAGE = Path(__file__).resolve().parent / 'command-line.rst'
WIDTH = 118

HEAD = """\
Command line
============

..
    Written by docs/command_pages.py, from the parser. Do not edit it here.

::

    diskcache COMMAND DIRECTORY ...
    python -m diskcache COMMAND DIRECTORY ...

Both are the same. DIRECTORY is that of a ``Cache``, of a ``FanoutCache``, of a ``DjangoCache`` (which is that of a
FanoutCache), of a ``Deque`` or of an ``Index``; the original's are read as well. The items of a FanoutCache are those of
its shards. What is below it has directories of its own: ``DIRECTORY/cache/NAME``, ``DIRECTORY/deque/NAME``,
``DIRECTORY/index/NAME``.

* No command makes a directory, but ``import --create`` and ``backup``, which makes DEST.
* What only shows something writes nothing, and works where this user can only read.
* ``export`` and ``import`` take the URL of a server too (`Grow from one machine to many <howto/growing.rst>`_). Its password may
  be in the environment variable ``DISKCACHE_PASSWORD``; a key of signatures is never on the command line.
* Nothing is unpickled without ``--unpickle``. A pickle of texts, numbers, bytes, tuples, lists and dicts is shown as the
  object, by following its opcodes; of any other its size is shown, and what it names.
* With ``--json`` a command that shows something prints JSON instead, with the names below. They stay.
* On a terminal ``rich`` shows bars and tables, if it is installed (the extra ``cli``).

.. contents::
   :local:
   :depth: 1


Exit status
-----------

{status}

A FanoutCache has one exit status: what cannot be done to one shard (2) is done to the others nevertheless.


Keys, times, sizes
------------------

A key is a text. For others there are ``--int``, ``--float``, ``--bytes`` and ``--tuple``::

    diskcache get DIRECTORY --int 5
    diskcache get DIRECTORY --bytes 00ff
    diskcache get DIRECTORY --tuple '["user", 7, null]'
    diskcache get DIRECTORY -- -key-with-a-dash

A time is ``90`` (seconds), ``15m``, ``2h``, ``7d`` or ``2w``; a size ``500`` (bytes), ``10k``, ``5MB`` (powers of 1,000) or
``4MiB`` (of 1,024). A directory that was made with a ``JSONDisk`` is recognized. Where the class is one of your own, name it
for what writes, and for keys: ``--disk package.module.Class``. It is imported; so is what ``DISKCACHE_DISK`` names.
"""

STATUS = [
    ('0', 'all is well'),
    (
        '1',
        '``check`` found problems (with ``--fix`` all of them are mended); a key is not there; ``clear`` was told no',
    ),
    ('2', 'the command could not be carried out; standard error says why'),
    (
        '3',
        'in part: ``check --fix`` found problems that stay; an item could not be exported or imported; value files'
        ' were missing for a ``backup``',
    ),
    ('130', 'ended by Ctrl-C'),
    ('141', 'what read the output (``| head``) has closed it'),
]


def table(rows: Iterable[tuple[str, str]], head: tuple[str, str]) -> str:
    """Return a simple table of two columns; the second is folded."""
    rows = [head, *rows]
    first = max(len(left) for left, _ in rows)
    second = WIDTH - first - 2
    folded = [(left, textwrap.wrap(right, second)) for left, right in rows]
    longest = max(len(line) for _, right in folded for line in right)
    rule = f'{"=" * first}  {"=" * longest}'
    lines = [rule]
    for number, (left, right) in enumerate(folded):
        lines += [
            f'{left if place == 0 else "":{first}}  {line}' for place, line in enumerate(right)
        ]
        if number == 0:
            lines.append(rule)
    return '\n'.join([*lines, rule])


def options_of(command: Parser) -> Iterator[tuple[str, str]]:
    """Yield what a command takes, and what it is for."""
    for action in command._actions:
        if action.help == argparse.SUPPRESS or isinstance(action, argparse._HelpAction):
            continue
        names = ', '.join(action.option_strings) or str(action.metavar or action.dest)
        if action.choices is not None:
            values = '|'.join(map(str, action.choices))
            names = f'{names} {values}' if action.option_strings else values
        elif action.option_strings and action.nargs != 0:
            names += f' {action.metavar}'
        yield f'``{names}``', str(action.help)


def usage_of(name: str, command: Parser) -> str:
    """Return how it is called."""
    given = []
    for action in command._actions:
        if not action.option_strings:
            text = str(action.metavar or '|'.join(map(str, action.choices or ())))
            many = '...' if action.nargs == '+' else ''
            given.append(f'[{text}]' if action.nargs == '?' else text + many)
    return f'diskcache {name} [OPTIONS] {" ".join(given)}'.strip()


def page() -> str:
    """Return what the page should be."""
    made = parser()
    subparsers = next(
        action for action in made._actions if isinstance(action, argparse._SubParsersAction)
    )
    parts = [HEAD.format(status=table(STATUS, ('status', 'meaning')))]
    for name, command in subparsers.choices.items():
        assert isinstance(command, Parser)
        text = '\n'.join(textwrap.wrap(str(command.description), WIDTH, break_on_hyphens=False))
        usage = f'::\n\n    {usage_of(name, command)}'
        options = table(options_of(command), ('argument', 'meaning'))
        section = [f'\n{name}\n{"-" * len(name)}\n', usage, '', text, '', options]
        if command.json_keys:
            keys = [(f'``{key}``', text) for key, text in command.json_keys.items() if key]
            whole = command.json_keys.get('', 'an object')
            section += ['', f'With ``--json``, {whole}:', '', table(keys, ('name', 'meaning'))]
        parts.append('\n'.join(section) + '\n')
    return '\n'.join(parts)


def main(arguments: list[str]) -> int:
    """Write the page, or compare it."""
    if arguments == ['--check']:
        if PAGE.read_text() != page():
            print(f'{PAGE.name} is not that of the parser: run docs/command_pages.py')
            return 1
        return 0
    PAGE.write_text(page())
    return 0


if __name__ == '__main__':
    sys.exit(main(sys.argv[1:]))
