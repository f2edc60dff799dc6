"""The URL of a server where a command takes a directory, and the options that belong to it."""

from __future__ import annotations

import argparse
import contextlib as cl
import os
import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from .._core import Timeout
from ..locations import is_url
from .errors import CommandError
from .places import named_disk

if TYPE_CHECKING:
    from ..remote.cache import RemoteCache

#: Seconds to wait for an answer: a command waits longer than a program.
_TIMEOUT = 30.0

#: The environment variable that has the password, for a URL without one.
_PASSWORD = 'DISKCACHE_PASSWORD'


def is_remote(location: object) -> bool:
    """Tell whether it is on a server: a URL, or a RemoteCache."""
    is_path = location is None or isinstance(location, str | bytes | os.PathLike)
    return is_url(location) or not is_path


def add_server_options(parser: argparse.ArgumentParser) -> None:
    """Add the options that are for a server."""
    parser.add_argument(
        '--name',
        dest='name_given',
        metavar='NAME',
        help='of a server: the name of the cache (without it: default)',
    )
    for option, metavar, key_of, where in (
        ('--key-file', 'FILE', _key_in_file, 'in a file, without the end of its line'),
        ('--key-env', 'VARIABLE', _key_in_env, 'in an environment variable'),
    ):
        parser.add_argument(
            option,
            dest='keys',
            action='append',
            type=key_of,
            metavar=metavar,
            help=f'of a server: a key by which values are signed, {where}; of several the first'
            ' signs',
        )
    parser.add_argument(
        '--serializer',
        choices=('safe', 'pickle'),
        help='of a server without keys: take pickles that SafeDisk allows (safe, the default), or'
        ' any, as they are: whoever can write there can then run code in each reader',
    )


def require_directory(options: argparse.Namespace) -> None:
    """Refuse the options that are for a server.

    :raises CommandError: which names them
    """
    if options.name_given or options.keys or options.serializer:
        raise CommandError('--name, --key-file, --key-env and --serializer are for a server')


def _key_in_file(path: str) -> bytes:
    try:
        with open(path, 'rb') as file:
            return file.read().rstrip(b'\r\n')
    except OSError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _key_in_env(name: str) -> bytes:
    key = os.environ.get(name)
    if not key:
        raise argparse.ArgumentTypeError(f'the environment has no {name}')
    return os.fsencode(key)


def _with_password(url: str) -> str:
    """Return a URL with the password of the environment, if it has none of its own."""
    password = os.environ.get(_PASSWORD)
    scheme, _, rest = url.partition('://')
    authority = re.split('[/?#]', rest, maxsplit=1)[0]
    user, at, _ = authority.rpartition('@')
    if not password or ':' in user:
        return url
    return f'{scheme}://{user}:{quote(password, safe="")}@{rest[len(user + at) :]}'


@cl.contextmanager
def connected(options: argparse.Namespace) -> Iterator[RemoteCache]:
    """Give the cache on a server that a command is about.

    :raises CommandError: if there is no such server, or it does not answer
    """
    try:
        from ..remote import RemoteCache, RemoteError
    except ImportError as error:
        raise CommandError(error) from error
    try:
        given = options.directory
        if not isinstance(given, str):  # which stays open for who has given it
            _require_no_options(options)
            yield given
            return
        try:
            cache = RemoteCache(_with_password(given), **_arguments(options))
        except (TypeError, ValueError) as error:
            raise CommandError(error) from error
        with cl.closing(cache):
            yield cache
    except Timeout as error:
        raise CommandError(f'no answer in time: {error}') from error
    except RemoteError as error:
        raise CommandError(error) from error


def _require_no_options(options: argparse.Namespace) -> None:
    if any((options.name_given, options.keys, options.disk, options.serializer, options.shards)):
        raise CommandError('the site says what the cache is like: leave out --name and the like')


def _arguments(options: argparse.Namespace) -> dict[str, Any]:
    """Return the arguments of the RemoteCache."""
    disk = named_disk(options.disk)
    if sum(map(bool, (disk, options.serializer, options.keys))) > 1:
        raise CommandError('--disk, --serializer and keys exclude each other')
    chosen: Any = 'signed' if options.keys else disk or options.serializer or 'safe'
    return {
        'name': options.name_given or 'default',
        'serializer': chosen,
        'keys': options.keys or (),
        'timeout': _TIMEOUT,
        'shards': options.shards or 64,
    }
