"""The original's own tests, on this package.

They come from its source distribution (`make original-suite`). That leaves out the two modules
which the tests of its Django backend import: here are settings, and the model that Django has for
its own tests of caches. Each file runs in a process of its own, in a package `tests` as there.

Every test must pass but for those in `LEFT_OUT`, each with the reason. Most of these put a mock in
the place of something inside, which here is in C or called in another way.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from xml.etree import ElementTree

import pytest
from places import PACKAGE, ROOT

pytest.importorskip('django')

import django

SUITE = Path(os.environ.get('DISKCACHE_ORIGINAL_SUITE', ROOT / '.original-suite'), 'tests')
DJANGO = Path(os.environ.get('DISKCACHE_DJANGO_SOURCE', ROOT / '.django-source'))

SECONDS = 280  # for one file; the longest takes half a minute

#: How many tests there are in each file.
COUNTS = {
    'test_core': 87,
    'test_deque': 33,
    'test_djangocache': 64,
    'test_doctest': 6,
    'test_fanout': 42,
    'test_index': 12,
    'test_recipes': 5,
}

CONNECTION = 'mocks the connection that each thread has in `_local`: SQLite is called from C'
FILES = "mocks the `open` of its module: files are opened in C, and by Python's own `open`"
DISK = 'mocks `_disk` by what is no Disk'
TRANSACT = 'mocks `_transact`, `expire` and `volume`: the whole of cull() is in C'
DEQUE = 'mocks the `_cache` of a Deque, and expects certain calls of it'
SHARDS = 'mocks the shards, and expects a second call of one that has timed out'
CULLING = (
    'expects that `cull_limit` items go where fewer are enough: culling stops at size_limit, and'
    ' takes more for a value that is larger than they are together'
    ' (docs/decisions/0014-culling.rst)'
)

LEFT_OUT = {
    'test_core': {
        'test_pragma_error': CONNECTION,
        'test_set_timeout': CONNECTION,
        'test_add_timeout': CONNECTION,
        'test_clear_timeout': CONNECTION,
        'test_get_keyerror4': FILES,
        'test_disk_write_os_error': FILES,
        'test_pop_ioerror': DISK,
        'test_pull_ioerror': DISK,
        'test_peek_ioerror': DISK,
        'test_peekitem_ioerror': DISK,
        'test_cull_timeout': TRANSACT,
        'test_least_recently_stored': CULLING,
        'test_least_recently_used': CULLING,
        'test_least_frequently_used': CULLING,
        'test_check': "expects check(fix=True) to delete a file that has none of the cache's names",
    },
    'test_deque': dict.fromkeys(
        [
            'test_index_positive',
            'test_index_negative',
            'test_index_out_of_range',
            'test_iter_keyerror',
            'test_reversed_keyerror',
            'test_remove_keyerror',
            'test_rotate_indexerror',
            'test_rotate_indexerror_negative',
        ],
        DEQUE,
    ),
    'test_doctest': {'test_tutorial': 'the tutorial is not in the source distribution'},
    'test_fanout': {'test_remove_timeout': SHARDS},
}

SETTINGS = """
CACHES = {'default': {'BACKEND': 'diskcache.DjangoCache', 'LOCATION': '%s'}}
DATABASES = {
    name: {'ENGINE': 'django.db.backends.sqlite3', 'NAME': ':memory:'}
    for name in ('default', 'other')
}
DEFAULT_AUTO_FIELD = 'django.db.models.AutoField'
INSTALLED_APPS = ['cache']
SECRET_KEY = 'not a secret'
"""

CONFTEST = """
import django, pytest, time
from django.db import connections
from django.test.utils import setup_test_environment

@pytest.fixture(scope='session', autouse=True)
def _databases():
    django.setup()
    setup_test_environment()
    for connection in connections.all():
        connection.creation.create_test_db(verbosity=0)

@pytest.fixture(autouse=True)
def _sleep_moves_the_clock(monkeypatch, request):
    if request.module.__name__ == 'tests.test_djangocache':  # which sleeps for half a minute
        real_time, slept = time.time, []
        monkeypatch.setattr(time, 'time', lambda: real_time() + sum(slept))
        monkeypatch.setattr(time, 'sleep', slept.append)
"""


@pytest.fixture
def run(tmp_path: Path) -> Callable[..., dict[str, str]]:
    """A function that runs a file of the suite; it returns what has failed, and why, by name."""
    tests = tmp_path / 'tests'
    tests.mkdir()
    (tests / '__init__.py').touch()
    (tests / 'settings.py').write_text(SETTINGS % (tmp_path / 'site'))
    (tests / 'models.py').write_text('from cache.models import Poll, expensive_calculation\n')
    (tmp_path / 'conftest.py').write_text(CONFTEST)
    temporary = tmp_path / 'temporary'
    temporary.mkdir()

    def run(name: str, package: Path) -> dict[str, str]:
        file = tests / f'{name}.py'
        file.symlink_to(SUITE / file.name)
        report = tmp_path / 'report.xml'
        paths = [package, DJANGO / django.__version__ / 'tests']
        options = ['-q', '-p', 'no:cacheprovider', '-c', os.devnull, '--rootdir', tmp_path]
        done = subprocess.run(
            [sys.executable, '-m', 'pytest', *options, '--junitxml', report, file],
            cwd=tmp_path,
            env={
                **os.environ,
                'PYTHONPATH': os.pathsep.join(map(str, paths)),
                'DJANGO_SETTINGS_MODULE': 'tests.settings',
                'TMPDIR': str(temporary),
            },
            capture_output=True,
            text=True,
            timeout=SECONDS,
        )
        assert done.returncode in (0, 1), done.stdout + done.stderr
        cases = list(ElementTree.parse(report).iter('testcase'))
        assert len({case.get('name') for case in cases}) == COUNTS[name]
        return {
            case.get('name', ''): problem.text or ''
            for case in cases
            for problem in case
            if problem.tag in ('failure', 'error')
        }

    return run


def test_the_suite_is_there() -> None:
    assert SUITE.is_dir(), f'{SUITE} is not there: run `make original-suite`, which fetches it'


@pytest.mark.slow
@pytest.mark.skipif(not SUITE.is_dir(), reason="the original's tests are not there")
@pytest.mark.parametrize('name', COUNTS)
def test_all_pass_but_those_left_out(run: Callable[..., dict[str, str]], name: str) -> None:
    failures = run(name, PACKAGE)
    unexpected = set(failures) - set(LEFT_OUT.get(name, ()))
    assert not unexpected, '\n'.join(failures[name] for name in unexpected)
