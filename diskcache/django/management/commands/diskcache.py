"""``manage.py diskcache``: the command line of diskcache, with the alias of a cache.

    manage.py diskcache check default --fix
    manage.py diskcache stats sessions

What it takes is what ``diskcache`` takes, but that an alias of CACHES, or a directory, stands where
that has a directory. Of a cache at a URL, ``export`` and ``import`` know by the alias its name, and
how its values are signed.
"""

from __future__ import annotations

import argparse
import contextlib as cl
import os.path as op
import sys
from typing import Any, cast

from django.core.cache import caches
from django.core.management.base import BaseCommand, CommandError, CommandParser

from ....cli import main
from ....djangocache import DjangoCache
from ....locations import is_url
from ...sites import configured


class Command(BaseCommand):
    """Look after the caches of the site."""

    help = 'Look after a disk cache: manage.py diskcache COMMAND ALIAS [options]'
    # What is wrong with the site must not keep anybody from mending its cache.
    requires_system_checks: Any = ()

    def add_arguments(self, parser: CommandParser) -> None:
        """Take what comes as it is: the command line of diskcache has the parser."""
        parser.add_argument(
            'arguments',
            nargs=argparse.REMAINDER,
            metavar='COMMAND',
            help='check, compact, stats, clear ... and an alias of CACHES; --help after COMMAND',
        )

    def handle(self, *args: Any, **options: Any) -> None:
        """Run the command, and exit with its status.

        :raises CommandError: if there is no such cache; or, where a program has called this, if
            the command has failed
        """
        arguments = _without_options_of_django(options['arguments'] or ['--help'])
        output = options.get('stdout')
        with cl.redirect_stdout(output) if output is not None else cl.nullcontext():
            status = main(arguments, prog='manage.py diskcache', resolve=place_of)
        if status == 0:
            return
        if getattr(self, '_called_from_command_line', False):
            sys.exit(status)
        raise CommandError(f'diskcache {arguments[0]}: exit status {status}', returncode=status)


def place_of(options: argparse.Namespace) -> Any:
    """Return the directory or the RemoteCache of a cache of the site, or a directory itself.

    One that an import makes gets as many shards as the site has configured.

    :raises CommandError: if there is no such cache, or it has no lasting directory
    """
    alias = options.directory
    sites = {cache.alias: cache for cache in configured()}
    if alias in sites:
        if sites[alias].is_remote:
            return cast('DjangoCache', caches[alias])._cache
        directory = sites[alias].directory
        if directory is None:
            raise CommandError(f'the cache {alias!r} has a temporary directory in each process')
        if getattr(options, 'create', False) and options.shards is None:
            options.shards = sites[alias].shards
        return directory
    if op.isabs(alias):
        return alias
    if is_url(alias):  # which may have a password in it
        raise CommandError('manage.py diskcache takes an alias of CACHES; diskcache takes URLs')
    known = ', '.join(sites) or 'none'
    raise CommandError(f'CACHES has no {alias!r} with this backend; it has: {known}')


def _without_options_of_django(arguments: list[str]) -> list[str]:
    """Leave out the options that each command of Django has, which it has obeyed already."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument('--settings')
    parser.add_argument('--pythonpath')
    for flag in ('--no-color', '--force-color', '--skip-checks', '--traceback'):
        parser.add_argument(flag, action='store_true')
    return parser.parse_known_args(arguments)[1]
