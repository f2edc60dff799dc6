"""What of Django's own tests of caches is run, for caches wherever they are.

This needs Django and its tests, see django_project.
"""

from __future__ import annotations

from collections.abc import Callable
from contextvars import ContextVar
from typing import Any

from asgiref.sync import async_to_sync
from cache import tests as cache_tests
from django.test import TestCase, override_settings
from django_project import BACKEND, bind
from sessions_tests import tests as session_tests
from template_tests.syntax_tests import test_cache as template_tests

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


class CommonTests(cache_tests.BaseCacheTests):
    """What Django tests with every backend."""

    def test_cull(self) -> None:
        self._perform_cull_test('cull', 50, 49)

    def test_zero_cull(self) -> None:
        self._perform_cull_test('zero_cull', 50, 49)


def bound_tests(location: Callable[[str], str], suffix: str = '') -> dict[str, type[Any]]:
    """Return the classes of tests by their names.

    :param location: returns the LOCATION of the cache of a name
    :param suffix: for the names
    """

    class DjangoCacheTests(CommonTests, TestCase):
        """The common tests."""

    class AsyncDjangoCacheTests(CommonTests, TestCase):
        """The common tests, through the asynchronous methods."""

        test_get_or_set_async_uses_specialized_implementation = None

    for_tests = cache_tests.caches_setting_for_tests
    backend = f'{__name__}.AsyncDjangoCache'
    found = [
        override_settings(CACHES=for_tests(BACKEND=BACKEND, LOCATION=location('common')))(
            DjangoCacheTests
        ),
        override_settings(CACHES=for_tests(BACKEND=backend, LOCATION=location('async')))(
            AsyncDjangoCacheTests
        ),
        *(
            bind(tests, location)
            for tests in (
                cache_tests.CacheUtils,
                cache_tests.PrefixedCacheUtils,
                cache_tests.CacheHEADTest,
                cache_tests.CacheI18nTest,
                cache_tests.PrefixedCacheI18nTest,
                cache_tests.CacheMiddlewareTest,
                cache_tests.TestWithTemplateResponse,
                cache_tests.CacheHandlerTest,
                template_tests.CacheTagTests,
                template_tests.CacheTests,
                session_tests.CacheSessionTests,
                session_tests.CacheDBSessionTests,
                session_tests.CacheDBSessionWithTimeZoneTests,
            )
        ),
    ]
    for bound in found:
        bound.__name__ = bound.__qualname__ = f'{bound.__name__}{suffix}'
    return {bound.__name__: bound for bound in found}
