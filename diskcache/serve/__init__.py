"""A page to look at a cache in a browser: ``diskcache serve DIRECTORY``.

=============  ==========================================================================
``queries``    what is asked of the databases: nothing is written, and no pickle is loaded
``literals``   keys, tags and values as text
``plots``      how many items there are of each size, age and time to live
``pages``      the HTML
``changes``    what ``--write`` allows: delete, evict, expire, cull
``server``     HTTP, and who may ask
=============  ==========================================================================
"""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ..cli.commands import Commands


def register(commands: Commands) -> None:
    """Add the command to those of the command line."""
    parser = commands.add(
        'serve',
        run,
        'show the cache in a browser, on this machine only',
        directory='an existing cache, or a FanoutCache',
    )
    parser.add_argument(
        '--port', type=_port, default=0, help='port of 127.0.0.1 (default: 0, any that is free)'
    )
    parser.add_argument(
        '--write', action='store_true', help='let the pages delete, evict, expire and cull'
    )


def _port(text: str) -> int:
    """Return the number of a port; argparse makes a message of the error."""
    port = int(text)
    if not 0 <= port < 2**16:
        raise argparse.ArgumentTypeError(f'no port: {text}')
    return port


def run(options: argparse.Namespace) -> int:
    """Serve the pages until Ctrl-C.

    :param options: the arguments: `directory`, `port` and `write`
    :return: the exit status, 0
    :raises OSError: if there is no cache in the directory, or the port is taken
    """
    from .server import serve  # http.server takes longer to import than all of diskcache

    return serve(options.directory, options.port, options.write)
