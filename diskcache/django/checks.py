"""System checks: what is probably not meant in CACHES, before a request finds out.

Nothing is opened or made. What each message says is what happens at run time; some of it the
backend says too, when a cache is first used. Django's own checks open all caches: what the backend
refuses ends them before any message is shown, but for ``manage.py check --tag diskcache``.

====  =============================================================================
E001  OPTIONS is no dict, or has in it what stands beside it
E002  the directory is none, or this process cannot write to it
E003  a value that opening the cache refuses
E004  a setting that means nothing for a cache at a URL
E005  a URL, or a setting for it, that opening the cache refuses, or redis-py is missing
W001  no LOCATION: the cache is in the current directory
W002  LOCATION is a list, or has ``://`` in it, and is neither a path nor a URL
W003  LOCATION is relative: each process may have another directory
W004  what belongs into OPTIONS stands beside it, without effect
W005  OPTIONS has what is no setting, perhaps misspelt
W006  the directory is on a network file system
W007  every user of the machine can write to the directory, and so run code
W008  the directory is one that the web server sends out, or that users upload to
W009  two caches share a directory and do not agree on what is in it
W010  the directory was made with another number of shards
W011  the directory is one of a Cache
W012  TIMEOUT and DATABASE_TIMEOUT seem to be mixed up
W013  pickles on a server are not signed: who can write there can run code
I001  sessions are in a cache that evicts, or on a server that may
I002  an option of other backends has no effect
====  =============================================================================
"""

from __future__ import annotations

import difflib
import os
import os.path as op
import stat
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.cache import DEFAULT_CACHE_ALIAS
from django.core.checks import CheckMessage, Error, Info, Warning
from django.utils.module_loading import import_string

from ..constants import DBNAME
from ..directory import is_unwritable
from ..djangocache import (
    _BESIDE_OPTIONS,
    _OPTIONS_OF_DJANGO,
    _REMOTE_OPTIONS,
    _connect,
    _has_urls,
    _refused_by_server,
)
from ..file_systems import network_of
from ..mismatch import count_shards
from ..settings import _KNOWN, _MEANT, _PARAMETERS, DEFAULT_SETTINGS, is_usable
from .sites import Configured, configured

#: Seconds; whoever waits longer for a lock has meant the time until items expire.
_LONG_WAIT = 60


def check_caches(app_configs: Any, **kwargs: Any) -> list[CheckMessage]:
    """Return what is wrong, or probably not meant, in CACHES and with its directories."""
    caches = list(configured())
    found: list[CheckMessage] = []
    for cache in caches:
        if cache.is_remote:
            found += _check_remote(cache)
            continue
        if _has_urls(cache.location):
            hint = 'Make it one URL. Opening the cache is an error.'
            found.append(_message(Error, 'E005', cache, 'LOCATION is a list of URLs.', hint))
            continue
        found += _check_options(cache)
        found += _check_values(cache)
        found += _check_location(cache)
        if cache.directory is not None:
            found += _check_directory(cache, cache.directory)
            found += _check_exposure(cache, cache.directory)
            found += _check_shards(cache, cache.directory)
    found += _check_pairs(caches)
    found += _check_sessions(caches)
    return found


def _message(
    kind: Callable[..., CheckMessage], number: str, cache: Configured, text: str, hint: str
) -> CheckMessage:
    return kind(f'Cache {cache.alias!r}: {text}', hint=hint, id=f'diskcache.{number}')


def _check_remote(cache: Configured) -> Iterator[CheckMessage]:
    """Look at a cache on a server, which is not asked."""
    yield from _check_type_of_options(cache)
    for name, instead in _refused_by_server({**cache.params, 'OPTIONS': cache.options}):
        text = f'{name} means nothing for a cache at a URL.'
        yield _message(Error, 'E004', cache, text, f'{instead[:1].upper()}{instead[1:]}.')
    for name in sorted(_OPTIONS_OF_DJANGO.intersection(cache.options)):
        hint = 'Limit the server: maxmemory.'
        yield _message(Info, 'I002', cache, f'{name} in OPTIONS has no effect.', hint)
    options = {name: cache.options[name] for name in _REMOTE_OPTIONS.intersection(cache.options)}
    options.pop('near', None)  # a directory would be made
    try:
        _connect(cache.location, options)
    except (ImportError, TypeError, ValueError) as error:
        hint = 'Opening the cache is an error.'
        yield _message(Error, 'E005', cache, f'{error}.', hint)
    if cache.options.get('serializer') == 'pickle':
        text = 'who can write to its server can run code in the site.'
        yield _message(Warning, 'W013', cache, text, "Leave 'serializer' out: pickles are signed.")


def _check_type_of_options(cache: Configured) -> Iterator[CheckMessage]:
    options = cache.params.get('OPTIONS', {})
    if not isinstance(options, Mapping):
        text = f'OPTIONS is of the type {type(options).__name__!r}.'
        yield _message(Error, 'E001', cache, text, 'Make it a dict.')


def _check_options(cache: Configured) -> Iterator[CheckMessage]:
    yield from _check_type_of_options(cache)
    for name in map(str, cache.options):
        beside = _BESIDE_OPTIONS.get(name, name)
        if beside in _BESIDE_OPTIONS.values():
            text = f'{name} is in OPTIONS.'
            yield _message(Error, 'E001', cache, text, f'Put {beside} beside OPTIONS.')
        elif name in _OPTIONS_OF_DJANGO:
            text = f'{name} in OPTIONS has no effect.'
            hint = 'Limit the cache by its bytes: size_limit in OPTIONS.'
            yield _message(Info, 'I002', cache, text, hint)
        elif not _is_setting(name):
            text = f'{name!r} in OPTIONS is no setting of this backend.'
            yield _message(Warning, 'W005', cache, text, _meant(name))
    for name in map(str, cache.params):
        if name.lower() in DEFAULT_SETTINGS:
            text = f'{name} beside OPTIONS has no effect.'
            yield _message(Warning, 'W004', cache, text, f'Put {name.lower()!r} into OPTIONS.')


def _is_setting(name: str) -> bool:
    """Tell whether an option is known, or can be of a Disk or a pragma of SQLite."""
    known = name in _KNOWN or name in _PARAMETERS or name == 'disk'
    return known or (name.startswith(('disk_', 'sqlite_')) and not _close(name))


def _close(name: str) -> list[str]:
    return difflib.get_close_matches(name.lower(), [*_KNOWN, *_PARAMETERS, 'disk'], 1, 0.8)


def _meant(name: str) -> str:
    close = [_MEANT[name]] if name in _MEANT else _close(name)
    if close:
        return f'Is {close[0]!r} meant?'
    return 'It is stored with the cache and changes nothing. Remove it.'


def _check_values(cache: Configured) -> Iterator[CheckMessage]:
    def refused(name: str, value: Any, hint: str) -> CheckMessage:
        return _message(Error, 'E003', cache, f'{name} is {value!r}.', hint)

    shards = cache.shards
    if not isinstance(shards, int) or isinstance(shards, bool) or shards < 1:
        yield refused('SHARDS', shards, 'Make it the number of databases, 1 or more.')
    wait = cache.params.get('DATABASE_TIMEOUT', 0.010)
    timeout = cache.params.get('TIMEOUT', 300)
    if not isinstance(wait, int | float) or isinstance(wait, bool) or not wait >= 0:
        hint = 'Make it the seconds to wait for a lock, such as 0.01.'
        yield refused('DATABASE_TIMEOUT', wait, hint)
    elif wait > _LONG_WAIT:
        text = f'a request waits up to {wait} seconds for a lock (DATABASE_TIMEOUT).'
        hint = 'Is TIMEOUT meant, the seconds until an item expires?'
        yield _message(Warning, 'W012', cache, text, hint)
    if isinstance(timeout, float) and 0 < timeout < 1:
        text = (
            f'items expire at once, since TIMEOUT is {timeout}, and Django drops what is less than'
        )
        hint = 'Is DATABASE_TIMEOUT meant, the seconds to wait for a lock?'
        yield _message(Warning, 'W012', cache, f'{text} a second.', hint)
    for name, value in cache.options.items():
        if name in DEFAULT_SETTINGS and not is_usable(name, value):
            hint = f'The default is {DEFAULT_SETTINGS[name]!r}.'
            yield refused(f'OPTIONS[{name!r}]', value, hint)
        elif name == 'on_error' and value not in ('raise', 'miss', 'reset', None):
            yield refused("OPTIONS['on_error']", value, "Make it 'raise', 'miss' or 'reset'.")
    disk = cache.options.get('disk')
    if isinstance(disk, str):
        try:
            import_string(disk)
        except ImportError as error:
            yield refused("OPTIONS['disk']", disk, f'It cannot be imported: {error}')


def _check_location(cache: Configured) -> Iterator[CheckMessage]:
    location = cache.location
    if location == '':
        text = f'it has no LOCATION, and is in the current directory, now {os.getcwd()}.'
        hint = 'Make LOCATION the absolute path of a directory on a local disk.'
        yield _message(Warning, 'W001', cache, text, hint)
    elif isinstance(location, list | tuple | set) or '://' in str(location):
        kind = type(location).__name__
        text = f'LOCATION, of the type {kind!r}, becomes the name of a directory.'
        hint = 'Make LOCATION the absolute path of a directory, or one URL such as redis://host/0.'
        yield _message(Warning, 'W002', cache, text, hint)
    elif cache.is_relative():
        text = f'LOCATION {str(location)!r} is relative, now {cache.directory}.'
        hint = 'Make it absolute: processes may be started in different directories.'
        yield _message(Warning, 'W003', cache, text, hint)


def _check_directory(cache: Configured, directory: str) -> Iterator[CheckMessage]:
    there = directory
    while not op.lexists(there) and there != op.dirname(there):
        there = op.dirname(there)
    user = f'user {os.geteuid()}' if hasattr(os, 'geteuid') else 'this process'
    if not op.isdir(there):
        text = f'{there} is not a directory.'
        yield _message(Error, 'E002', cache, text, 'Choose another LOCATION, or remove it.')
        return
    read_only = bool(cache.options.get('read_only'))
    places = [there]
    if there == directory:
        places += [op.join(there, f'{number:03d}') for number in range(count_shards(there))]
    unwritable = [place for place in places if is_unwritable(place, DBNAME)]
    if unwritable and not read_only:
        text = f'{user} cannot write to {unwritable[0]}.'
        hint = 'Give the directory to the user that the site runs as, or choose another LOCATION.'
        yield _message(Error, 'E002', cache, text, hint)
    network = network_of(there)
    if network is not None:
        text = f'{directory} is on a network file system ({network}).'
        hint = 'Use a local disk: files are locked there, and memory shared between processes.'
        yield _message(Warning, 'W006', cache, text, hint)
    mode = os.stat(there).st_mode
    if there == directory and mode & stat.S_IWOTH and os.name != 'nt':
        text = f'every user of this machine can write to {directory}, and so run code in the site.'
        yield _message(Warning, 'W007', cache, text, f'chmod o-w {directory}')


def _check_exposure(cache: Configured, directory: str) -> Iterator[CheckMessage]:
    own = Path(directory).resolve()
    for name, root in _public_roots():
        path = Path(root).resolve()
        if own == path or path in own.parents or own in path.parents:
            text = f'{directory} and {name}, {root}, are in one another.'
            hint = (
                'Choose another LOCATION: who reads files there reads the cache, and who can'
                ' write one can run code in the site.'
            )
            yield _message(Warning, 'W008', cache, text, hint)


def _public_roots() -> Iterator[tuple[str, Any]]:
    for name in ('MEDIA_ROOT', 'STATIC_ROOT'):
        root = getattr(settings, name, None)
        if root:
            yield name, root
    for root in getattr(settings, 'STATICFILES_DIRS', ()):
        yield 'STATICFILES_DIRS', root[1] if isinstance(root, list | tuple) else root


def _check_shards(cache: Configured, directory: str) -> Iterator[CheckMessage]:
    if op.exists(op.join(directory, DBNAME)):
        text = f'{directory} holds a Cache, whose items are not seen.'
        yield _message(Warning, 'W011', cache, text, 'Choose a directory of its own.')
    made = count_shards(directory)
    if made and made != cache.shards and isinstance(cache.shards, int):
        text = f'{directory} was made with {made} shards, and SHARDS is {cache.shards}.'
        hint = f'Set SHARDS to {made}, or remove the directory: most keys are not found.'
        yield _message(Warning, 'W010', cache, text, hint)


def _check_pairs(caches: Iterable[Configured]) -> Iterator[CheckMessage]:
    first: dict[tuple[Any, ...], Configured] = {}
    for cache in caches:
        hint = 'Give it a LOCATION of its own, or the same settings: whoever opens it last wins.'
        place: tuple[Any, ...]
        if cache.is_remote:
            shared, place = 'a server', (cache.location, cache.options.get('name', 'django'))
            hint = "Give it a 'name' of its own in OPTIONS, or the same settings."
        elif cache.directory is not None:
            shared = op.realpath(cache.directory)
            place = (shared,)
        else:
            continue
        other = first.setdefault(place, cache)
        differing = sorted(_differing(other, cache))
        if differing:
            names = ', '.join(differing)
            text = f'it shares {shared} with {other.alias!r}, but not {names}.'
            yield _message(Warning, 'W009', cache, text, hint)


def _differing(one: Configured, other: Configured) -> Iterator[str]:
    if one.shards != other.shards:
        yield 'SHARDS'
    ignored = _OPTIONS_OF_DJANGO | ({'near', 'timeout', 'max_value'} if one.is_remote else set())
    for name in {*one.options, *other.options} - ignored:
        if one.options.get(name) != other.options.get(name):
            yield str(name)


def _check_sessions(caches: Iterable[Configured]) -> Iterator[CheckMessage]:
    engine = getattr(settings, 'SESSION_ENGINE', '')
    if engine != 'django.contrib.sessions.backends.cache':
        return
    alias = getattr(settings, 'SESSION_CACHE_ALIAS', DEFAULT_CACHE_ALIAS)
    for cache in caches:
        if cache.alias == alias and cache.is_remote:
            text = 'sessions are on a server, which may evict them: that logs users out.'
            hint = 'Give them a server with maxmemory-policy noeviction, or use cached_db.'
            yield _message(Info, 'I001', cache, text, hint)
            continue
        policy = cache.options.get('eviction_policy', DEFAULT_SETTINGS['eviction_policy'])
        if cache.alias == alias and policy != 'none':
            text = 'sessions are in it, and may be evicted, which logs users out.'
            hint = (
                "Give them a cache with {'eviction_policy': 'none'} in OPTIONS, or use cached_db."
            )
            yield _message(Info, 'I001', cache, text, hint)
