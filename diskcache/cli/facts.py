"""``info`` and ``stats``: what a directory is, and what is in it."""

from __future__ import annotations

import argparse
import os
import os.path as op
import time
from typing import Any

from .. import __version__, _core, sql
from ..constants import DBNAME
from ..directory import path_of, size_of
from ..settings import DEFAULT_SETTINGS, METADATA
from ..units import human_size
from .commands import Commands
from .errors import DONE
from .output import bytes_shown, print_json, print_rows, ratio, table_lines
from .places import Place, is_fanout, opened
from .stored import jsonable

#: In this order in `stats`.
SETTINGS_SHOWN = ('eviction_policy', 'size_limit', 'cull_limit', 'statistics', 'tag_index')

_LOG = f'{DBNAME}-wal'


def register(commands: Commands) -> None:
    """Add the commands."""
    commands.add(
        'stats',
        _stats,
        'show items, volume, hits, misses and settings',
        description='Of a FanoutCache for each shard and each part, too. hits and misses are'
        ' counted if the setting statistics is on.',
        directory='an existing cache, or a FanoutCache',
        json_keys={
            'directory': 'its path',
            'items': 'how many, also expired ones',
            'expired': 'how many of them have expired',
            'volume': 'bytes of the database and the value files',
            'hits': 'lookups that found their key',
            'misses': 'and those that did not',
            'hit_ratio': 'from 0 to 1; null if none was counted',
            'settings': 'by name, those that shape it',
            'shards': 'of a FanoutCache: a list of the same for each, with ``name``',
            'parts': 'likewise, the caches, Deques and Indexes below it',
        },
    )
    info = commands.add(
        'info',
        _info,
        'show which diskcache this is, and what a directory is',
        directory=False,
        json_keys={
            'version': 'and other facts of the installation, if no DIRECTORY is given',
            'directory': 'its path',
            'kind': '``Cache`` or ``FanoutCache``',
            'shards': 'how many; null: of a Cache',
            'disk': 'the class that keys and values were stored by, as far as it is recorded',
            'parts': 'the names of what is below a FanoutCache',
            'database': 'bytes of the databases',
            'free': 'bytes of them that are not in use: ``compact`` gives them back',
            'log': 'bytes of the logs',
            'files': 'bytes in value files',
            'settings': 'all that are stored in the first shard',
        },
    )
    info.add_argument('directory', metavar='DIRECTORY', nargs='?', help='an existing cache')


# --- stats ---


def facts_of(place: Place) -> dict[str, Any]:
    """Return what `stats` tells of one cache, as JSON has it."""
    cache = place.cache
    ((expired,),) = place.run(sql.COUNT_EXPIRED, time.time())
    # reset() with a name alone reads that row. stats() would switch the counting on.
    hits, misses = cache.reset('hits'), cache.reset('misses')
    return {
        'directory': cache.directory,
        'items': len(cache),
        'expired': expired,
        'volume': cache.volume(),
        'hits': hits,
        'misses': misses,
        'hit_ratio': ratio(hits, misses),
        'settings': {name: jsonable(getattr(cache, name)) for name in SETTINGS_SHOWN},
    }


def _total(directory: str, each: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the same for the shards of a FanoutCache together."""
    total = {name: sum(facts[name] for facts in each) for name in ('items', 'expired', 'volume')}
    hits, misses = (sum(facts[name] for facts in each) for name in ('hits', 'misses'))
    settings = dict(each[0]['settings'])
    limits = [facts['settings']['size_limit'] for facts in each]
    settings['size_limit'] = 'inf' if 'inf' in limits else sum(limits)
    return {
        'directory': directory,
        **total,
        'hits': hits,
        'misses': misses,
        'hit_ratio': ratio(hits, misses),
        'settings': settings,
    }


def _stats(options: argparse.Namespace) -> int:
    with opened(options.directory, parts=True) as places:
        found = {place.name: facts_of(place) for place in places}
    shards = [{'name': name, **facts} for name, facts in found.items() if name.isdigit()]
    parts = [
        {'name': name, **facts} for name, facts in found.items() if name and not name.isdigit()
    ]
    total = found[''] if not shards else _total(path_of(options.directory), shards)
    if options.json:
        print_json({**total, **({'shards': shards, 'parts': parts} if shards else {})})
        return DONE
    _print_stats(total)
    if shards:
        print()
        head = ('items', 'expired', 'volume', 'hits', 'misses', 'hit ratio', 'name')
        lines = [_line(facts) for facts in (*shards, *parts)]
        print('\n'.join(table_lines(head, lines)))
    return DONE


def _print_stats(facts: dict[str, Any]) -> None:
    limit = facts['settings']['size_limit']
    settings = {
        **facts['settings'],
        'size_limit': limit if isinstance(limit, str) else bytes_shown(limit),
    }
    print_rows(
        [
            ('directory', facts['directory']),
            ('items', f'{facts["items"]:,}'),
            ('expired', f'{facts["expired"]:,}'),
            ('volume', bytes_shown(facts['volume'])),
            ('hits', f'{facts["hits"]:,}'),
            ('misses', f'{facts["misses"]:,}'),
            ('hit ratio', _percent(facts['hit_ratio'])),
            *((name, str(value)) for name, value in settings.items()),
        ]
    )


def _percent(part: float | None) -> str:
    return '-' if part is None else f'{part:.1%}'


def _line(facts: dict[str, Any]) -> tuple[str, ...]:
    return (
        f'{facts["items"]:,}',
        f'{facts["expired"]:,}',
        human_size(facts['volume']),
        f'{facts["hits"]:,}',
        f'{facts["misses"]:,}',
        _percent(facts['hit_ratio']),
        facts['name'],
    )


# --- info ---


def _info(options: argparse.Namespace) -> int:
    if options.directory is None:
        found = _installation()
        rows = list(found.items())
    else:
        found, rows = _described(options.directory)
    if options.json:
        print_json(found)
    else:
        print_rows(rows)
    return DONE


def _installation() -> dict[str, str]:
    import platform

    from ..installed import owners

    package = op.dirname(op.abspath(_core.__file__ or ''))
    found = [
        f'{name} {version}{", editable" if editable else ""}'
        for name, version, editable in owners(package)
    ]
    return {
        'implementation': 'in C, over the SQLite of Python',
        'version': __version__,
        'package': package,
        'extension': str(_core.__file__),
        'distribution': ' and '.join(found) or 'none: it was not installed',
        'python': f'{platform.python_implementation()} {platform.python_version()}',
        'platform': platform.platform(),
        'sqlite': _core.sqlite_version,
    }


def _described(directory: str) -> tuple[dict[str, Any], list[tuple[str, str]]]:
    fanout = is_fanout(directory)
    sizes = dict.fromkeys(('database', 'free', 'log', 'files'), 0)
    with opened(directory, parts=True) as places:
        for place in places:
            path = place.cache.directory
            ((free,),) = place.run(sql.FREE_PAGES)
            sizes['database'] += size_of(op.join(path, DBNAME))
            sizes['free'] += free * place.cache._page_size
            sizes['log'] += size_of(op.join(path, _LOG))
            sizes['files'] += place.cache.reset('size')
        shards = [place for place in places if place.name.isdigit()]
        first = places[0]
        stored = first.cache._inspect()[0]
        found: dict[str, Any] = {
            'directory': path_of(directory),
            'kind': 'FanoutCache' if fanout else 'Cache',
            'shards': len(shards) if fanout else None,
            'disk': first.made_with if first.cache._origin is not None else None,
            'parts': [place.name for place in places if place.name and place not in shards],
            **sizes,
            'settings': {
                str(name): jsonable(stored[name])
                for name in sorted(stored, key=str)
                if name not in METADATA
            },
        }
        mode = os.stat(path_of(directory)).st_mode & 0o7777
    kind = f'FanoutCache of {len(shards)} shards' if fanout else 'Cache'
    if first.shards is not None and not fanout:
        kind = f'shard of a FanoutCache of {first.shards}'
    rows = [
        ('directory', found['directory']),
        ('kind', kind),
        ('made with', found['disk'] or 'not recorded: the original, perhaps'),
        ('mode', f'{mode:04o}'),
        *(('part', name) for name in found['parts']),
        *((name, bytes_shown(number)) for name, number in sizes.items()),
        *((name, _setting_shown(name, value)) for name, value in found['settings'].items()),
    ]
    return found, rows


def _setting_shown(name: str, value: Any) -> str:
    changed = name in DEFAULT_SETTINGS and name != 'size_limit' and value != DEFAULT_SETTINGS[name]
    return f'{value}{f" (default: {DEFAULT_SETTINGS[name]})" if changed else ""}'
