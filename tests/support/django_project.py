"""Django, set up once for this process, and what of Django's own tests is bound to our backend.

Importing this needs Django and configures it. The tests of Django come from its source distribution
(`make django-source`): `SOURCE` is the directory with those of the installed version.
"""

from __future__ import annotations

import contextlib as cl
import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import django
from django.conf import settings
from django.db import connections
from django.test import override_settings
from django.test.utils import setup_test_environment, teardown_test_environment

BACKEND = 'diskcache.DjangoCache'
ROOT = Path(__file__).resolve().parents[2]
SOURCE = (
    Path(os.environ.get('DISKCACHE_DJANGO_SOURCE', ROOT / '.django-source'))
    / django.__version__
    / 'tests'
)
#: Where the bound tests keep their caches; whoever runs them removes it.
CACHES_DIRECTORY = Path(tempfile.gettempdir(), f'diskcache-django-{os.getpid()}')

APPS_WITH_TESTS = ['cache', 'sessions_tests', 'template_tests']
HAS_SOURCE = SOURCE.exists()

if HAS_SOURCE:
    sys.path.append(str(SOURCE))  # At the end: its modules have names like `signals`.

settings.configure(
    # As in the settings with which Django runs these tests.
    DATABASES={
        'default': {'ENGINE': 'django.db.backends.sqlite3', 'NAME': ':memory:'},
        'other': {'ENGINE': 'django.db.backends.sqlite3', 'NAME': ':memory:'},
    },
    DEFAULT_AUTO_FIELD='django.db.models.AutoField',
    INSTALLED_APPS=[
        'django.contrib.contenttypes',
        'django.contrib.auth',
        'django.contrib.sites',
        'django.contrib.sessions',
        *(APPS_WITH_TESTS if HAS_SOURCE else ()),
    ],
    LANGUAGE_CODE='en',
    MIGRATION_MODULES=dict.fromkeys(('auth', 'contenttypes', 'sessions', 'sites')),
    ROOT_URLCONF='urls',
    SECRET_KEY='not a secret',
    SITE_ID=1,
    TEMPLATES=[
        {
            'BACKEND': 'django.template.backends.django.DjangoTemplates',
            'DIRS': [str(SOURCE / 'templates')],
        }
    ],
    USE_TZ=False,
)
django.setup()


@cl.contextmanager
def databases_in_memory() -> Iterator[None]:
    """Have databases in memory for a block, and the rest of what Django's test runner sets up."""
    setup_test_environment()
    for connection in connections.all():
        connection.creation.create_test_db(verbosity=0)
    yield
    for connection in connections.all():
        connection.creation.destroy_test_db(':memory:', verbosity=0)
    teardown_test_environment()


def location(name: str) -> str:
    """Return the directory of the cache called `name` of the bound tests."""
    return str(CACHES_DIRECTORY / name)


def bind(django_tests: type[Any], location: Callable[[str], str] = location) -> type[Any]:
    """Return the class of Django's tests `django_tests` with our backend for all its caches.

    :param location: returns the LOCATION of the cache of an alias
    """
    own = getattr(django_tests, '_overridden_settings', None) or {}
    caches = {
        alias: {**params, 'BACKEND': BACKEND, 'LOCATION': location(alias)}
        for alias, params in own.get('CACHES', {'default': {}}).items()
    }
    bound = type(django_tests.__name__, (django_tests,), {'__module__': __name__})
    return override_settings(CACHES=caches)(bound)
