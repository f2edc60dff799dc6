"""A panel for django-debug-toolbar: what a request has asked of the disk caches.

    DEBUG_TOOLBAR_PANELS = [..., 'diskcache.django.panel.DiskCachePanel']

The toolbar's own panel for caches has the calls of any backend, with their stack traces. This one
has what only this backend knows: which lookups memory has answered, how full the caches are, and
how many items have gone while the request was served.

The methods of the backend are wrapped once, when the toolbar starts. A wrapper calls what it wraps,
and no more, unless a request with this panel is being served in its context.
"""

from __future__ import annotations

import contextlib as cl
import contextvars
import functools as ft
import inspect
import sqlite3
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from importlib import resources
from typing import Any

from debug_toolbar.panels import Panel
from django.core.cache import caches
from django.template import Context, Engine

from .._core import Timeout
from ..djangocache import DjangoCache
from .sites import configured

#: The methods that are recorded; each has its asynchronous twin, which calls it.
_LOOKUPS = ('get', 'get_many', 'has_key')
_METHODS = (
    *_LOOKUPS,
    *('add', 'set', 'set_many', 'add_many', 'touch', 'touch_many', 'delete', 'delete_many'),
    *('pop', 'incr', 'incr_version', 'read', 'expire', 'evict', 'cull', 'clear'),
)

#: Calls that are listed, and letters of the key that are shown of each.
_LISTED = 500
_LETTERS = 200


@dataclass
class _Record:
    """What one request has asked for."""

    calls: list[dict[str, Any]] = field(default_factory=list)
    count: int = 0
    seconds: float = 0.0
    hits: int = 0
    misses: int = 0


#: The record of the request that is being served in this context.
_current: contextvars.ContextVar[_Record | None] = contextvars.ContextVar(
    'diskcache_panel', default=None
)


class DiskCachePanel(Panel):  # type: ignore[misc]
    """Calls, hits and misses of a request; memory, volume and items of the caches."""

    nav_title = 'Disk cache'
    title = 'Disk cache'
    is_async = True

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._record = _Record()
        self._before: dict[str, dict[str, int]] = {}

    @classmethod
    def ready(cls) -> None:
        """Wrap the methods of the backend, once."""
        for name in _METHODS:
            method = getattr(DjangoCache, name)
            if not hasattr(method, '_diskcache_panel'):
                setattr(DjangoCache, name, _recorded(name, method))

    @property
    def nav_subtitle(self) -> str:
        """How many calls there were, and how long they took."""
        stats = self.get_stats()
        count = stats.get('count', 0)
        return f'{count} call{"" if count == 1 else "s"} in {stats.get("milliseconds", 0):.2f} ms'

    @property
    def content(self) -> str:
        """The panel as HTML, with whatever engines the site has for its own templates."""
        text = resources.files(__package__).joinpath('panel.html').read_text('utf-8')
        rendered: str = Engine().from_string(text).render(Context(self.get_stats()))
        return rendered

    def enable_instrumentation(self) -> None:
        """Record what is called from now on in this context."""
        self._before = _measure()
        _current.set(self._record)

    def disable_instrumentation(self) -> None:
        """Record nothing any more."""
        _current.set(None)

    def generate_stats(self, request: Any, response: Any) -> None:
        """Hand over what has been recorded, as what JSON can hold."""
        after = _measure()
        record = self._record
        self.record_stats(
            {
                'count': record.count,
                'milliseconds': 1000 * record.seconds,
                'hits': record.hits,
                'misses': record.misses,
                'calls': record.calls,
                'caches': [
                    {'alias': alias, **figures, **_difference(self._before.get(alias), figures)}
                    for alias, figures in after.items()
                ],
            }
        )

    def generate_server_timing(self, request: Any, response: Any) -> None:
        """Tell the browser how long the calls took."""
        stats = self.get_stats()
        self.record_server_timing('time', 'Disk cache', stats.get('milliseconds', 0))


def _measure() -> dict[str, dict[str, int]]:
    """Return the figures of the caches that are open in this thread, by their aliases.

    A cache on a server has none: to count its items would be to ask for all of their keys.
    """
    measured: dict[str, dict[str, int]] = {}
    handler: Any = caches  # of which the stubs do not know the connections
    opened = {id(cache) for cache in caches.all(initialized_only=True)}
    for site in configured():
        alias = site.alias
        if not hasattr(handler._connections, alias) or id(handler[alias]) not in opened:
            continue
        if site.is_remote:
            measured[alias] = {}
            continue
        cache = handler[alias]._cache
        with cl.suppress(Timeout, sqlite3.Error, OSError):
            memory = cache.memory_stats()
            measured[alias] = {
                'memory_hits': memory['hits'],
                'memory_misses': memory['misses'],
                'memory_bytes': memory['bytes'],
                'item_count': len(cache),
                'volume': cache.volume(),
                'limit': sum(shard.size_limit for shard in cache._all_shards()),
            }
    return measured


def _difference(before: dict[str, int] | None, after: dict[str, int]) -> dict[str, Any]:
    """Return how often memory has answered meanwhile, and how full the cache is."""
    if not after:
        return {'is_remote': True}
    start = before or {**dict.fromkeys(after, 0), 'item_count': after['item_count']}
    return {
        'answered': after['memory_hits'] - start['memory_hits'],
        'asked': after['memory_misses'] - start['memory_misses'],
        'more': after['item_count'] - start['item_count'],
        'percent': 100 * after['volume'] / after['limit'] if after['limit'] > 0 else 100.0,
    }


def _recorded(name: str, method: Callable[..., Any]) -> Callable[..., Any]:
    """Return a method of the backend that is recorded where a request asks for it."""
    parameters = inspect.signature(method)

    @ft.wraps(method)
    def call(self: Any, *args: Any, **kwargs: Any) -> Any:
        record = _current.get()
        if record is None:
            return method(self, *args, **kwargs)
        bound = parameters.bind(self, *args, **kwargs)
        missing = object()
        given: Any = None
        if name == 'get':
            given = bound.arguments.get('default')
            bound.arguments['default'] = missing
        elif name == 'get_many':  # a generator can be asked once
            bound.arguments['keys'] = list(bound.arguments['keys'])
        start = time.perf_counter()
        try:
            result = method(*bound.args, **bound.kwargs)
        finally:
            seconds = time.perf_counter() - start
            _note(record, name, bound, seconds)
        if name == 'get':
            found = (result[0] if isinstance(result, tuple) and result else result) is not missing
            _count(record, int(found), int(not found))
            if result is missing:
                result = given
            elif not found:
                result = (given, *result[1:])
        elif name == 'has_key':
            _count(record, int(result), int(not result))
        elif name == 'get_many':
            _count(record, len(result), len(set(bound.arguments['keys'])) - len(result))
        return result

    call._diskcache_panel = True  # type: ignore[attr-defined]
    return call


def _note(record: _Record, name: str, bound: inspect.BoundArguments, seconds: float) -> None:
    record.count += 1
    record.seconds += seconds
    if len(record.calls) < _LISTED:
        about = next(
            (bound.arguments[each] for each in ('key', 'keys', 'tag') if each in bound.arguments),
            '',
        )
        if 'data' in bound.arguments:
            about = f'{len(bound.arguments["data"])} items'
        record.calls.append(
            {'name': name, 'about': str(about)[:_LETTERS], 'milliseconds': 1000 * seconds}
        )


def _count(record: _Record, hits: int, misses: int) -> None:
    record.hits += hits
    record.misses += misses
