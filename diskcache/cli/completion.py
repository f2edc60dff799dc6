"""``completion``: what a shell needs to complete commands, options and paths.

The library ``argcomplete`` does it: for each completion the shell runs ``diskcache``, which asks
its parser.
"""

from __future__ import annotations

import argparse
import os

from .commands import Commands
from .errors import DONE, CommandError

SHELLS = ('bash', 'zsh', 'fish')


def register(commands: Commands) -> None:
    """Add the command."""
    completion = commands.add(
        'completion',
        _completion,
        'write what a shell needs to complete commands and options',
        description='Needs argcomplete (extra cli). bash: eval "$(diskcache completion bash)" in'
        ' ~/.bashrc; zsh: the same in ~/.zshrc, after compinit; fish: diskcache completion fish >'
        ' ~/.config/fish/completions/diskcache.fish',
        directory=False,
    )
    completion.add_argument('shell', choices=SHELLS, help='which one')


def _completion(options: argparse.Namespace) -> int:
    try:
        from argcomplete.shell_integration import shellcode
    except ImportError:
        raise CommandError('completion needs argcomplete: pip install argcomplete') from None
    print(shellcode(['diskcache'], shell=options.shell))
    return DONE


def complete(parser: argparse.ArgumentParser) -> None:
    """Answer a shell that wants to complete a line, and end the process; otherwise do nothing."""
    if '_ARGCOMPLETE' in os.environ:
        try:
            import argcomplete
        except ImportError:
            return
        argcomplete.autocomplete(parser)
