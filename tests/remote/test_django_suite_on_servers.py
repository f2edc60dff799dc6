"""Django's own tests of caches, with this package as the backend and a URL as LOCATION.

They are those of tests/django/test_django_suite.py, which says what is left out there. Nothing else
is left out here.

What the tests sleep for the sake of expiry passes at once: the clock of this process is moved, and
what the servers have expires so much earlier.
"""

from __future__ import annotations

import os
import shutil
import tempfile
import time
import unittest
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip('django')
pytest.importorskip('redis')

from django.core.cache import DEFAULT_CACHE_ALIAS, cache, caches
from django.test import override_settings
from django_project import HAS_SOURCE, SOURCE, databases_in_memory
from redis import Redis
from servers import KINDS, Server, find

from diskcache import DjangoCache
from diskcache.remote.site import SiteCache

#: The sockets of the servers: the classes need their names when they are made.
SOCKETS = Path(tempfile.gettempdir(), f'diskcache-django-sockets-{os.getpid()}')
THERE = [kind for kind in KINDS if find(kind)]

#: By the name of a cache the number of its database.
DATABASES: dict[str, int] = {}


def locations(kind: str) -> Any:
    """Return the function that returns the LOCATION of the cache of a name."""

    def location(name: str) -> str:
        return f'unix://{SOCKETS}/{kind}?db={DATABASES.setdefault(name, len(DATABASES))}'

    return location


BOUND: dict[str, type[Any]] = {}
if HAS_SOURCE:
    from django_suite import LEAST_TESTS, AsyncDjangoCache, bound_tests

    for kind in THERE:
        BOUND.update(bound_tests(locations(kind), f'On{kind.capitalize()}'))
    globals().update(BOUND)


@pytest.fixture(scope='module', autouse=True)
def _environment() -> Iterator[None]:
    """The servers, databases in memory, and the rest of what Django's test runner sets up."""
    SOCKETS.mkdir()
    options = ('--databases', '64', '--unixsocket')
    servers = [Server(kind, *options, str(SOCKETS / kind)) for kind in THERE]
    with databases_in_memory():
        yield
    for server in servers:
        server.stop()
    shutil.rmtree(SOCKETS)


def let_pass(seconds: float) -> None:
    """Have what the servers keep expire so much earlier."""
    for kind in THERE:
        for number in DATABASES.values():
            with Redis(unix_socket_path=str(SOCKETS / kind), db=number) as server:
                for key in server.scan_iter():
                    left = server.pttl(key)
                    if left >= 0:
                        server.pexpire(key, max(0, left - int(seconds * 1000)))


@pytest.fixture(autouse=True)
def _sleep_moves_the_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """What Django's tests sleep passes at once."""
    real_time, slept = time.time, []

    def sleep(seconds: float) -> None:
        slept.append(seconds)
        let_pass(seconds)

    monkeypatch.setattr(time, 'time', lambda: real_time() + sum(slept))
    monkeypatch.setattr(time, 'sleep', sleep)


def test_djangos_tests_are_there() -> None:
    assert HAS_SOURCE, f'{SOURCE} is not there: run `make django-source`, which fetches it'


@pytest.mark.skipif(not BOUND, reason="no server, or Django's tests are not there")
def test_djangos_tests_are_all_found_for_each_server() -> None:
    load = unittest.defaultTestLoader.loadTestsFromTestCase
    counts = {name: load(bound).countTestCases() for name, bound in BOUND.items()}
    assert min(counts.values()) > 0, counts
    assert sum(counts.values()) >= LEAST_TESTS * len(THERE), counts


@pytest.mark.parametrize('name', BOUND)
def test_they_use_a_server(name: str) -> None:
    with override_settings(**BOUND[name]._overridden_settings):
        assert {type(caches[alias]) for alias in caches} <= {DjangoCache, AsyncDjangoCache}
        assert isinstance(cache._cache, SiteCache)
        assert cache._cache.url.startswith(f'unix://{SOCKETS}/')
        assert DEFAULT_CACHE_ALIAS in list(caches)
