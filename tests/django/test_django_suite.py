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
from typing import Any

import pytest

pytest.importorskip('django')

from django.core.cache import DEFAULT_CACHE_ALIAS, cache, caches
from django.test import override_settings
from django_project import CACHES_DIRECTORY, HAS_SOURCE, SOURCE, databases_in_memory, location

from diskcache import DjangoCache


@pytest.fixture(scope='module', autouse=True)
def _environment() -> Iterator[None]:
    """Databases in memory, and the rest of what Django's test runner sets up."""
    with databases_in_memory():
        yield
    shutil.rmtree(CACHES_DIRECTORY, ignore_errors=True)


@pytest.fixture(autouse=True)
def _sleep_moves_the_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """What Django's tests sleep for the sake of expiry, half a minute, passes at once."""
    real_time, slept = time.time, []
    monkeypatch.setattr(time, 'time', lambda: real_time() + sum(slept))
    monkeypatch.setattr(time, 'sleep', slept.append)


BOUND = []
if HAS_SOURCE:
    from django_suite import LEAST_TESTS, AsyncDjangoCache, bound_tests

    BOUND += bound_tests(location).values()
    globals().update((bound.__name__, bound) for bound in BOUND)


def test_djangos_tests_are_there() -> None:
    assert HAS_SOURCE, f'{SOURCE} is not there: run `make django-source`, which fetches it'


@pytest.mark.skipif(not HAS_SOURCE, reason="Django's tests are not there")
def test_djangos_tests_are_all_found() -> None:
    load = unittest.defaultTestLoader.loadTestsFromTestCase
    counts = {bound.__name__: load(bound).countTestCases() for bound in BOUND}
    assert min(counts.values()) > 0, counts
    assert sum(counts.values()) >= LEAST_TESTS, counts


@pytest.mark.skipif(not HAS_SOURCE, reason="Django's tests are not there")
@pytest.mark.parametrize('bound', BOUND, ids=lambda bound: bound.__name__)
def test_they_use_this_backend(bound: Any) -> None:
    with override_settings(**bound._overridden_settings):
        assert {type(caches[alias]) for alias in caches} <= {DjangoCache, AsyncDjangoCache}
        assert cache.directory.startswith(str(CACHES_DIRECTORY))
        assert DEFAULT_CACHE_ALIAS in list(caches)
