"""Django's own tests of caches, with this package as the backend.

`DjangoCacheTests` are those that Django runs for each of its backends, `AsyncDjangoCacheTests` the
same through the asynchronous methods. The others are Django's tests of what is built on a cache,
which run there on a cache in memory: the middleware, `cache_page`, `{% cache %}`, sessions.

Left out, or changed:

* `test_cull` and `test_zero_cull` want MAX_ENTRIES and CULL_FREQUENCY to limit the cache. Here
  `size_limit` does, so instead the same entries must all stay.
* `test_get_or_set_async_uses_specialized_implementation` of Django 6.1, through the asynchronous
  methods: it forgets an argument of aget_or_set, and does nothing unless get_or_set is overridden.
* The classes of the other backends (Dummy, Db, LocMem, Memcached, FileBased, Redis): what they add
  to the common tests is about the insides of those. tests_async.py has nothing else: it tests that
  the dummy cache keeps nothing.
* CustomCacheKeyValidationTests, CacheClosingTests, DefaultNonExpiringCacheKeyTests,
  TestMakeTemplateFragmentKey: they test a backend of their own, or none.
* The sessions in a database, in files and in cookies alone.
"""

from __future__ import annotations

import shutil
import time
import unittest
from collections.abc import Iterator
from contextvars import ContextVar
from typing import Any

import pytest

pytest.importorskip('django')

from asgiref.sync import async_to_sync
from django.core.cache import DEFAULT_CACHE_ALIAS, cache, caches
from django.db import connections
from django.test import TestCase, override_settings
from django.test.utils import setup_test_environment, teardown_test_environment
from django_project import BACKEND, CACHES_DIRECTORY, HAS_SOURCE, SOURCE, bind, location

from diskcache import DjangoCache

LEAST_TESTS = 380  # Django 5.2 has 390; far fewer would mean that they are not found.

inside: ContextVar[bool] = ContextVar('inside', default=False)


def through_async(name: str) -> Any:
    """Return a method that calls the asynchronous twin of the method called `name`."""

    def method(self: DjangoCache, *args: Any, **kwargs: Any) -> Any:
        if inside.get():  # It is the twin that calls.
            return getattr(super(AsyncDjangoCache, self), name)(*args, **kwargs)
        token = inside.set(True)
        try:
            return async_to_sync(getattr(self, f'a{name}'))(*args, **kwargs)
        finally:
            inside.reset(token)

    return method


class AsyncDjangoCache(DjangoCache):
    """A DjangoCache of which the methods do their work through their asynchronous twins."""


for name in dir(DjangoCache):
    if not name.startswith('_') and hasattr(DjangoCache, f'a{name}'):
        setattr(AsyncDjangoCache, name, through_async(name))


@pytest.fixture(scope='module', autouse=True)
def _environment() -> Iterator[None]:
    """Databases in memory, and the rest of what Django's test runner sets up."""
    setup_test_environment()
    for connection in connections.all():
        connection.creation.create_test_db(verbosity=0)
    yield
    for connection in connections.all():
        connection.creation.destroy_test_db(':memory:', verbosity=0)
    teardown_test_environment()
    shutil.rmtree(CACHES_DIRECTORY, ignore_errors=True)


@pytest.fixture(autouse=True)
def _sleep_moves_the_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """What Django's tests sleep for the sake of expiry, half a minute, passes at once."""
    real_time, slept = time.time, []
    monkeypatch.setattr(time, 'time', lambda: real_time() + sum(slept))
    monkeypatch.setattr(time, 'sleep', slept.append)


if HAS_SOURCE:
    from cache import tests as cache_tests
    from sessions_tests import tests as session_tests
    from template_tests.syntax_tests import test_cache as template_tests

    class CommonTests(cache_tests.BaseCacheTests):
        """What Django tests with every backend."""

        def test_cull(self) -> None:
            self._perform_cull_test('cull', 50, 49)

        def test_zero_cull(self) -> None:
            self._perform_cull_test('zero_cull', 50, 49)

    @override_settings(
        CACHES=cache_tests.caches_setting_for_tests(BACKEND=BACKEND, LOCATION=location('common'))
    )
    class DjangoCacheTests(CommonTests, TestCase):
        """The common tests."""

    @override_settings(
        CACHES=cache_tests.caches_setting_for_tests(
            BACKEND=f'{__name__}.AsyncDjangoCache', LOCATION=location('async')
        )
    )
    class AsyncDjangoCacheTests(CommonTests, TestCase):
        """The common tests, through the asynchronous methods."""

        test_get_or_set_async_uses_specialized_implementation = None

    BOUND = [
        bind(cache_tests.CacheUtils),
        bind(cache_tests.PrefixedCacheUtils),
        bind(cache_tests.CacheHEADTest),
        bind(cache_tests.CacheI18nTest),
        bind(cache_tests.PrefixedCacheI18nTest),
        bind(cache_tests.CacheMiddlewareTest),
        bind(cache_tests.TestWithTemplateResponse),
        bind(cache_tests.CacheHandlerTest),
        bind(template_tests.CacheTagTests),
        bind(template_tests.CacheTests),
        bind(session_tests.CacheSessionTests),
        bind(session_tests.CacheDBSessionTests),
        bind(session_tests.CacheDBSessionWithTimeZoneTests),
    ]
    globals().update((bound.__name__, bound) for bound in BOUND)
    BOUND += [DjangoCacheTests, AsyncDjangoCacheTests]


def test_djangos_tests_are_there() -> None:
    assert HAS_SOURCE, f'{SOURCE} is not there: run `make django-source`, which fetches it'


@pytest.mark.skipif(not HAS_SOURCE, reason="Django's tests are not there")
def test_djangos_tests_are_all_found() -> None:
    load = unittest.defaultTestLoader.loadTestsFromTestCase
    counts = {bound.__name__: load(bound).countTestCases() for bound in BOUND}
    assert min(counts.values()) > 0, counts
    assert sum(counts.values()) >= LEAST_TESTS, counts


@pytest.mark.skipif(not HAS_SOURCE, reason="Django's tests are not there")
@pytest.mark.parametrize('bound', BOUND if HAS_SOURCE else (), ids=lambda bound: bound.__name__)
def test_they_use_this_backend(bound: Any) -> None:
    with override_settings(**bound._overridden_settings):
        assert {type(caches[alias]) for alias in caches} <= {DjangoCache, AsyncDjangoCache}
        assert cache.directory.startswith(str(CACHES_DIRECTORY))
        assert DEFAULT_CACHE_ALIAS in list(caches)
