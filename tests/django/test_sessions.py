"""Sessions of Django in our cache, alone (`cache`) and before a database (`cached_db`)."""

from __future__ import annotations

import time
from collections.abc import Iterator
from importlib import import_module
from typing import Any

import pytest

pytest.importorskip('django')

import django_project  # noqa: F401 - configures Django
from django.contrib.sessions.models import Session
from django.core.cache import caches
from django.db import connection
from django.test import override_settings

ENGINES = ('cache', 'cached_db')


@pytest.fixture
def settings(directory: str) -> Iterator[None]:
    """A cache for sessions, and the table of those that are in the database too."""
    sessions = {
        'BACKEND': 'diskcache.DjangoCache',
        'LOCATION': directory,
        'SHARDS': 2,
        'OPTIONS': {'eviction_policy': 'none'},
    }
    other = {**sessions, 'LOCATION': f'{directory}-2'}
    with override_settings(
        CACHES={'default': other, 'sessions': sessions}, SESSION_CACHE_ALIAS='sessions'
    ):
        # Django's own tests leave the table behind in a process that has run them.
        is_new = Session._meta.db_table not in connection.introspection.table_names()
        if is_new:
            with connection.schema_editor() as editor:
                editor.create_model(Session)
        yield
        Session.objects.all().delete()
        if is_new:
            with connection.schema_editor() as editor:
                editor.delete_model(Session)


def store(engine: str) -> Any:
    return import_module(f'django.contrib.sessions.backends.{engine}').SessionStore


@pytest.mark.parametrize('engine', ENGINES)
def test_a_session_is_stored_and_found_again(settings: None, engine: str) -> None:
    session = store(engine)()
    session['name'] = 'Ada'
    session.save()
    assert store(engine)(session.session_key)['name'] == 'Ada'
    assert len(caches['sessions']._cache) == 1
    assert len(caches['default']._cache) == 0
    assert Session.objects.count() == (engine == 'cached_db')


@pytest.mark.parametrize('engine', ENGINES)
def test_a_session_that_is_deleted_is_gone(settings: None, engine: str) -> None:
    session = store(engine)()
    session['name'] = 'Ada'
    session.save()
    session.delete()
    assert not store(engine)().exists(session.session_key)
    assert 'name' not in store(engine)(session.session_key)
    assert Session.objects.count() == 0


@pytest.mark.parametrize(('engine', 'names'), [('cache', []), ('cached_db', ['Ada'])])
def test_what_the_cache_has_lost_only_the_database_has(
    settings: None, engine: str, names: list[str]
) -> None:
    session = store(engine)()
    session['name'] = 'Ada'
    session.save()
    caches['sessions'].clear()
    found = store(engine)(session.session_key)
    assert list(found.values()) == names
    assert len(caches['sessions']._cache) == len(names)  # it is back for the next request


def test_a_session_expires_with_its_cookie(settings: None) -> None:
    session = store('cache')()
    session.set_expiry(1000)
    session['name'] = 'Ada'
    session.save()
    _, expire_time = caches['sessions'].get(session.cache_key, expire_time=True)
    assert 900 < expire_time - time.time() <= 1000
    caches['sessions'].touch(session.cache_key, timeout=-1)
    assert 'name' not in store('cache')(session.session_key)
