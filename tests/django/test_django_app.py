"""The application `diskcache.django`, in processes with real sites: commands, checks, the panel."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip('django')

import django_project  # noqa: F401 - configures Django
from django.test import override_settings
from places import PACKAGE

import diskcache
from diskcache import DjangoCache, _core
from diskcache.django import checks
from diskcache.django.checks import check_caches
from diskcache.mismatch import count_shards

BACKEND = 'diskcache.DjangoCache'

#: What the checks look at, as Django has it by itself.
ASKED: dict[str, Any] = {
    'CACHES': {},
    'MEDIA_ROOT': '',
    'STATIC_ROOT': None,
    'STATICFILES_DIRS': [],
    'SESSION_ENGINE': 'django.contrib.sessions.backends.db',
    'SESSION_CACHE_ALIAS': 'default',
}


class Site:
    """A project in a directory of its own, with the settings of a test."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.settings: dict[str, Any] = {}

    def configure(self, **settings: Any) -> None:
        """Write its settings, as what `repr` shows."""
        self.settings = {
            'SECRET_KEY': 'none',
            'INSTALLED_APPS': ['diskcache.django'],
            'ALLOWED_HOSTS': ['*'],
            'USE_TZ': True,
            **settings,
        }
        lines = [f'{name} = {value!r}\n' for name, value in self.settings.items()]
        (self.directory / 'site_settings.py').write_text(''.join(lines))

    def cache(self, **params: Any) -> None:
        """Write settings with one cache."""
        self.configure(CACHES={'default': {'BACKEND': BACKEND, **params}})

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run Python in its directory."""
        environment = {
            **os.environ,
            'PYTHONPATH': f'{PACKAGE}{os.pathsep}{self.directory}',
            'DJANGO_SETTINGS_MODULE': 'site_settings',
        }
        return subprocess.run(
            [sys.executable, *arguments],
            capture_output=True,
            text=True,
            cwd=self.directory,
            env=environment,
        )

    def manage(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run `manage.py`."""
        return self.run('-m', 'django', *arguments)

    def evaluate(self, script: str) -> Any:
        """Run a script with Django set up; return what it prints as JSON."""
        done = self.run('-c', 'import django, json; django.setup()\n' + textwrap.dedent(script))
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    def checks(self) -> dict[str, str]:
        """What the system checks say: texts, with their hints, by numbers.

        They are asked in this process, of the settings that matter.
        """
        asked = {name: value for name, value in self.settings.items() if name in ASKED}
        texts: dict[str, str] = {}
        with override_settings(**{**ASKED, **asked}):
            for found in check_caches(None):
                number = found.id.removeprefix('diskcache.')
                texts[number] = f'{texts.get(number, "")}{found.msg} {found.hint}'
        return texts


@pytest.fixture
def site(tmp_path: Path) -> Site:
    directory = tmp_path / 'site'
    directory.mkdir()
    return Site(directory)


# --- system checks ---


def test_a_good_site_has_no_messages(site: Site, directory: str) -> None:
    site.configure(
        CACHES={
            'default': {
                'BACKEND': BACKEND,
                'LOCATION': directory,
                'TIMEOUT': None,
                'SHARDS': 2,
                'DATABASE_TIMEOUT': 10,
                'KEY_PREFIX': 'site',
                'OPTIONS': {
                    'size_limit': 2**28,
                    'disk': 'diskcache.JSONDisk',
                    'disk_compress_level': 6,
                    'sqlite_cache_size': 4096,
                    'mode': 0o750,
                    'on_error': 'miss',
                    'memory_limit': 0,
                },
            },
            'same': {'BACKEND': BACKEND, 'LOCATION': directory + '-2', 'TIMEOUT': 10},
            'other': {'BACKEND': 'django.core.cache.backends.locmem.LocMemCache'},
        }
    )
    assert site.checks() == {}
    assert not os.path.exists(directory)
    done = site.manage('check')
    assert (done.returncode, done.stdout) == (
        0,
        'System check identified no issues (0 silenced).\n',
    )
    assert site.checks() == {}


MISTAKES: dict[str, tuple[dict[str, Any], str, str]] = {
    'options that are none': ({'OPTIONS': ['a']}, 'E001', "type 'list'"),
    'shards in the options': ({'OPTIONS': {'shards': 4}}, 'E001', 'Put SHARDS beside OPTIONS'),
    'a timeout in them': ({'OPTIONS': {'timeout': 1}}, 'E001', 'Put DATABASE_TIMEOUT beside'),
    'no number of shards': ({'SHARDS': '8'}, 'E003', "SHARDS is '8'"),
    'no shards': ({'SHARDS': 0}, 'E003', 'SHARDS is 0'),
    'no wait': ({'DATABASE_TIMEOUT': '1'}, 'E003', "DATABASE_TIMEOUT is '1'"),
    'a size as text': ({'OPTIONS': {'size_limit': '1GB'}}, 'E003', "['size_limit'] is '1GB'"),
    'no policy': ({'OPTIONS': {'eviction_policy': 'lru'}}, 'E003', 'least-recently-stored'),
    'no way of errors': ({'OPTIONS': {'on_error': 'ignore'}}, 'E003', "'miss'"),
    'no Disk': ({'OPTIONS': {'disk': 'no.Disk'}}, 'E003', 'cannot be imported'),
    'addresses': ({'LOCATION': ['127.0.0.1:11211']}, 'W002', 'or one URL'),
    'a relative path': ({'LOCATION': 'cache'}, 'W003', 'Make it absolute'),
    'a setting beside': ({'SIZE_LIMIT': 1}, 'W004', "Put 'size_limit' into OPTIONS"),
    'a misspelt setting': ({'OPTIONS': {'size_limt': 1}}, 'W005', "Is 'size_limit' meant?"),
    'a misspelt pragma': ({'OPTIONS': {'sqlite_mmap_siz': 1}}, 'W005', "'sqlite_mmap_size'"),
    'the word of others': ({'OPTIONS': {'max_size': 1}}, 'W005', "Is 'size_limit' meant?"),
    'an option of others': ({'OPTIONS': {'COMPRESSOR': 'x'}}, 'W005', 'changes nothing'),
    'a wait of minutes': ({'DATABASE_TIMEOUT': 300}, 'W012', 'Is TIMEOUT meant'),
    'a timeout of an instant': ({'TIMEOUT': 0.01}, 'W012', 'Is DATABASE_TIMEOUT meant'),
    'a number of entries': ({'OPTIONS': {'MAX_ENTRIES': 100}}, 'I002', 'size_limit'),
}


@pytest.mark.parametrize(('params', 'number', 'text'), MISTAKES.values(), ids=MISTAKES)
def test_a_mistake_has_a_message_and_a_hint(
    site: Site, directory: str, params: dict[str, Any], number: str, text: str
) -> None:
    site.cache(**{'LOCATION': directory, **params})
    found = site.checks()
    assert list(found) == [number]
    assert text in found[number]
    assert "Cache 'default': " in found[number]


@pytest.mark.parametrize('location', [{}, {'LOCATION': ''}])
def test_a_cache_without_location_is_named(
    site: Site, location: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(site.directory)
    site.cache(**location)
    found = site.checks()
    assert list(found) == ['W001']
    assert f'now {site.directory}' in found['W001']


def test_a_temporary_cache_is_no_mistake(site: Site) -> None:
    site.cache(LOCATION=None)
    assert site.checks() == {}


def test_a_directory_that_is_a_file_is_an_error(site: Site, tmp_path: Path) -> None:
    path = tmp_path / 'file'
    path.write_text('')
    for location in (path, path / 'cache'):
        site.cache(LOCATION=str(location))
        assert f'{path} is not a directory' in site.checks()['E002']


def test_a_directory_that_cannot_be_written_is_an_error(
    site: Site, directory: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Root can write everywhere: so the check is asked in this process, where it cannot."""
    denied = {directory}
    monkeypatch.setattr(checks, 'is_unwritable', lambda path, name: path in denied)
    os.mkdir(directory, 0o700)
    params: dict[str, Any] = {'BACKEND': BACKEND, 'LOCATION': directory}
    with override_settings(CACHES={'default': params}):
        (found,) = checks.check_caches(None)
        assert (found.id, found.level) == ('diskcache.E002', 40)
        assert f'cannot write to {directory}' in found.msg
        params['OPTIONS'] = {'read_only': True}
        assert checks.check_caches(None) == []
        params['LOCATION'] = f'{directory}/new/cache'
        del params['OPTIONS']
        assert [each.id for each in checks.check_caches(None)] == ['diskcache.E002']


def test_a_network_file_system_is_named(directory: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_core, '_file_system', lambda path: 0x6969)
    with override_settings(CACHES={'default': {'BACKEND': BACKEND, 'LOCATION': directory}}):
        (found,) = checks.check_caches(None)
        assert found.id == 'diskcache.W006'
        assert 'NFS' in found.msg


def test_a_directory_that_others_can_write_or_read_is_named(site: Site, directory: str) -> None:
    os.mkdir(directory)
    os.chmod(directory, 0o777)
    site.cache(LOCATION=directory)
    assert f'chmod o-w {directory}' in site.checks()['W007']
    os.chmod(directory, 0o700)
    for name, root in (
        ('MEDIA_ROOT', directory),
        ('MEDIA_ROOT', str(Path(directory).parent)),
        ('STATIC_ROOT', f'{directory}/static'),
        ('STATICFILES_DIRS', [('prefix', directory)]),
        ('STATICFILES_DIRS', [directory]),
    ):
        caches = {'default': {'BACKEND': BACKEND, 'LOCATION': directory}}
        site.configure(CACHES=caches, **{name: root})
        assert list(site.checks()) == ['W008']


def test_two_caches_in_one_directory_that_differ_are_named(
    site: Site, directory: str, tmp_path: Path
) -> None:
    (tmp_path / 'link').symlink_to(tmp_path)
    one = {'BACKEND': BACKEND, 'LOCATION': directory, 'KEY_PREFIX': 'a'}
    other = {**one, 'LOCATION': str(tmp_path / 'link' / 'cache'), 'KEY_PREFIX': 'b', 'TIMEOUT': 5}
    site.configure(CACHES={'default': one, 'other': other})
    assert site.checks() == {}
    for params, name in (
        ({'SHARDS': 4}, 'SHARDS'),
        ({'OPTIONS': {'size_limit': 1000}}, 'size_limit'),
        ({'OPTIONS': {'disk': 'diskcache.JSONDisk'}}, 'disk'),
    ):
        site.configure(CACHES={'default': one, 'other': {**other, **params}})
        assert f"with 'default', but not {name}." in site.checks()['W009']


def test_a_directory_that_was_made_otherwise_is_named(site: Site, directory: str) -> None:
    diskcache.FanoutCache(directory, 3).close()
    site.cache(LOCATION=directory)
    assert 'Set SHARDS to 3' in site.checks()['W010']
    site.cache(LOCATION=directory, SHARDS=3)
    assert site.checks() == {}
    diskcache.Cache(f'{directory}-2').close()
    site.cache(LOCATION=f'{directory}-2')
    assert 'holds a Cache' in site.checks()['W011']


def test_sessions_that_may_be_evicted_are_named(site: Site, directory: str) -> None:
    params: dict[str, Any] = {'BACKEND': BACKEND, 'LOCATION': directory}
    engine = 'django.contrib.sessions.backends.cache'
    site.configure(CACHES={'default': params}, SESSION_ENGINE=engine)
    assert list(site.checks()) == ['I001']
    site.configure(CACHES={'default': params}, SESSION_ENGINE=engine + 'd_db')
    assert site.checks() == {}
    safe = {**params, 'OPTIONS': {'eviction_policy': 'none'}}
    site.configure(CACHES={'default': safe}, SESSION_ENGINE=engine)
    assert site.checks() == {}
    other = {**safe, 'LOCATION': f'{directory}-2'}
    caches = {'default': params, 'sessions': other}
    site.configure(CACHES=caches, SESSION_ENGINE=engine, SESSION_CACHE_ALIAS='sessions')
    assert site.checks() == {}


def test_checks_run_with_those_of_django_and_can_be_silenced(site: Site, directory: str) -> None:
    params = {'BACKEND': BACKEND, 'LOCATION': directory, 'SIZE_LIMIT': 5}
    site.configure(CACHES={'default': params})
    done = site.manage('check', '--fail-level', 'WARNING')
    assert done.returncode == 1
    assert '(diskcache.W004)' in done.stderr
    site.configure(CACHES={'default': params}, SILENCED_SYSTEM_CHECKS=['diskcache.W004'])
    assert site.manage('check', '--fail-level', 'WARNING').returncode == 0


# --- commands ---


@pytest.fixture
def filled(site: Site, directory: str) -> Site:
    """A site with a cache that has two items."""
    site.configure(
        CACHES={
            'default': {'BACKEND': BACKEND, 'LOCATION': directory, 'SHARDS': 2},
            'memory': {'BACKEND': 'django.core.cache.backends.locmem.LocMemCache'},
            'temporary': {'BACKEND': BACKEND, 'LOCATION': None},
        }
    )
    cache = DjangoCache(directory, {'SHARDS': 2})
    cache.set('a', 1)
    cache.set('b', b'x' * 50_000)
    cache.close(connections=True)
    return site


def test_a_command_takes_the_alias_of_a_cache(filled: Site, directory: str) -> None:
    done = filled.manage('diskcache', 'check', 'default')
    assert (done.returncode, done.stdout, done.stderr) == (0, 'no problems found\n', '')
    (path,) = Path(directory).glob('*/*/*/*.val')
    path.unlink()
    done = filled.manage('diskcache', 'check', 'default')
    assert done.returncode == 1
    assert 'not mended' in done.stdout
    done = filled.manage('diskcache', 'check', 'default', '--fix', '--settings=site_settings')
    assert done.returncode == 1
    assert 'all mended' in done.stdout
    done = filled.manage('diskcache', 'compact', directory, '--no-color')
    assert (done.returncode, done.stderr) == (0, '')
    assert done.stdout.startswith('given back: ')


def test_the_help_of_a_command_has_its_whole_name(filled: Site) -> None:
    done = filled.manage('diskcache', 'check', '--help')
    assert done.returncode == 0
    assert done.stdout.startswith('usage: manage.py diskcache check')
    assert '--fix' in done.stdout
    for arguments in ([], ['--help']):
        done = filled.manage('diskcache', *arguments)
        assert done.returncode == 0
        assert 'diskcache' in done.stdout


@pytest.mark.parametrize(
    ('alias', 'text'),
    [
        ('no', "CACHES has no 'no' with this backend; it has: default, temporary"),
        ('memory', "CACHES has no 'memory' with this backend"),
        ('temporary', 'temporary directory in each process'),
        ('redis://:secret@host', 'takes an alias'),
    ],
)
def test_what_is_no_cache_of_the_site_is_an_error(filled: Site, alias: str, text: str) -> None:
    done = filled.manage('diskcache', 'check', alias)
    assert done.returncode == 1
    assert text in done.stderr
    assert 'Traceback' not in done.stderr
    assert 'secret' not in done.stderr


def test_an_import_makes_the_directory_as_the_site_has_it(site: Site, directory: str) -> None:
    site.cache(LOCATION=directory, SHARDS=3)
    use = 'from django.core.cache import cache; print(json.dumps({}))'
    assert site.evaluate(use.format("cache.set('a', 1)")) is True
    assert site.manage('diskcache', 'export', 'default', 'file').returncode == 0
    shutil.rmtree(directory)
    done = site.manage('diskcache', 'import', '--create', 'default', 'file')
    assert (done.returncode, done.stdout[:9]) == (0, 'stored: 1')
    assert site.evaluate(use.format("[cache.get('a'), cache._cache.directory]")) == [1, directory]
    assert count_shards(directory) == 3


def test_a_cache_that_is_not_there_is_an_error_and_not_made(site: Site, directory: str) -> None:
    site.cache(LOCATION=directory)
    done = site.manage('diskcache', 'check', 'default')
    assert done.returncode == 2
    assert f'no such directory: {directory}' in done.stderr
    assert not os.path.exists(directory)


def test_a_program_calls_a_command(filled: Site, directory: str) -> None:
    found = filled.evaluate(
        """
        import io
        from django.core.management import CommandError, call_command
        output = io.StringIO()
        call_command('diskcache', 'check', 'default', stdout=output)
        import pathlib, django.conf
        directory = django.conf.settings.CACHES['default']['LOCATION']
        (path,) = pathlib.Path(directory).glob('*/*/*/*.val')
        path.unlink()
        try:
            call_command('diskcache', 'check', 'default', stdout=io.StringIO())
        except CommandError as error:
            print(json.dumps([output.getvalue(), str(error), error.returncode]))
        """
    )
    assert found == ['no problems found\n', 'diskcache check: exit status 1', 1]


def test_a_broken_site_can_mend_its_cache(filled: Site, directory: str) -> None:
    """The command runs no system checks: Django's would open the caches first."""
    filled.configure(
        CACHES={
            'default': {'BACKEND': BACKEND, 'LOCATION': directory, 'SHARDS': 2},
            'bad': {'BACKEND': BACKEND, 'LOCATION': '/proc/nowhere'},
        }
    )
    assert filled.manage('check').returncode != 0
    assert filled.manage('diskcache', 'check', 'default').returncode == 0


def test_the_package_does_without_django() -> None:
    script = 'import sys, diskcache, diskcache.cli; assert "django" not in sys.modules'
    done = subprocess.run([sys.executable, '-c', script], cwd=PACKAGE)
    assert done.returncode == 0


# --- the panel of the debug toolbar ---

URLS = """
from django.core.cache import caches
from django.http import HttpResponse
from django.urls import include, path

cache = caches['default']

def view(request):
    cache.set('a', 'x' * 50_000)
    found = [cache.get('a') is not None, cache.get('b', 'default'), cache.get('b', tag=True)]
    found += [cache.get_many(('a', 'c')).keys() == {'a'}, 'a' in cache]
    cache.get_or_set('d', lambda: 1)
    cache.set(request.GET.get('key', 'key'), 1)
    return HttpResponse('<html><body>' + repr(found) + '</body></html>')

async def asynchronous(request):
    await cache.aset('a', 1)
    return HttpResponse('<html><body>' + repr(await cache.aget('a')) + '</body></html>')

urlpatterns = [
    path('', view), path('async/', asynchronous), path('__debug__/', include('debug_toolbar.urls')),
]
"""


@pytest.fixture
def toolbar_site(site: Site, directory: str) -> Site:
    """A site with the debug toolbar, and no other panel than ours and the toolbar's own."""
    pytest.importorskip('debug_toolbar')
    (site.directory / 'site_urls.py').write_text(URLS)
    site.configure(
        DEBUG=True,
        ROOT_URLCONF='site_urls',
        INSTALLED_APPS=['django.contrib.staticfiles', 'debug_toolbar', 'diskcache.django'],
        MIDDLEWARE=['debug_toolbar.middleware.DebugToolbarMiddleware'],
        INTERNAL_IPS=['127.0.0.1'],
        STATIC_URL='/static/',
        TEMPLATES=[
            {
                'BACKEND': 'django.template.backends.django.DjangoTemplates',
                'APP_DIRS': True,
            }
        ],
        DEBUG_TOOLBAR_PANELS=[
            'debug_toolbar.panels.cache.CachePanel',
            'diskcache.django.panel.DiskCachePanel',
        ],
        DEBUG_TOOLBAR_CONFIG={'SHOW_TOOLBAR_CALLBACK': 'builtins.bool', 'IS_RUNNING_TESTS': False},
        CACHES={
            'default': {'BACKEND': BACKEND, 'LOCATION': directory, 'SHARDS': 2},
            'unused': {'BACKEND': BACKEND, 'LOCATION': f'{directory}-2'},
        },
    )
    return site


ASK = """
    from django.test import Client
    from debug_toolbar.toolbar import DebugToolbar
    from debug_toolbar.store import get_store
    import diskcache

    client = Client()
    answers = [client.get(path).content.decode() for path in {paths!r}]
    from diskcache.django import panel
    assert panel._current.get() is None  # nothing is recorded between requests
    ids = list(get_store().request_ids())
    stats = [get_store().panel(each, 'DiskCachePanel') for each in ids]
    pages = []
    for each in ids:
        toolbar = DebugToolbar.fetch(each, 'DiskCachePanel')
        pages.append(toolbar.get_panel_by_id('DiskCachePanel').content)
    print(json.dumps([answers, stats, pages]))
"""


def test_the_panel_shows_calls_and_the_caches(toolbar_site: Site) -> None:
    answers, (stats,), (page,) = toolbar_site.evaluate(ASK.format(paths=['/']))
    assert "[True, 'default', (None, None), True, True]" in answers[0]
    names = [call['name'] for call in stats['calls']]
    assert names == [
        *('set', 'get', 'get', 'get', 'get_many', 'has_key', 'get', 'add', 'get', 'set')
    ]
    assert (stats['hits'], stats['misses']) == (4, 4)
    assert stats['calls'][4]['about'] == "['a', 'c']"
    (figures,) = stats['caches']
    assert figures['alias'] == 'default'
    assert figures['more'] == 3
    assert figures['answered'] > 0
    assert figures['volume'] > 50_000
    assert '10' in page
    assert 'get_many' in page


def test_the_panel_escapes_keys_and_tells_requests_apart(toolbar_site: Site) -> None:
    key = '<script>alert(1)</script>'
    paths = [f'/?key={key}', '/', '/async/']
    answers, stats, pages = toolbar_site.evaluate(ASK.format(paths=paths))
    assert not any(key in page for page in pages)
    assert sum('&lt;script&gt;' in page for page in pages) == 1
    assert sorted(each['count'] for each in stats) == [2, 8, 10]
    assert answers[2].startswith('<html><body>1\n')


def test_outside_of_a_request_nothing_is_recorded(toolbar_site: Site) -> None:
    found = toolbar_site.evaluate(
        """
        from django.core.cache import cache
        from diskcache.django import panel
        panel.DiskCachePanel.ready()
        cache.set('a', 1)
        missing = object()
        print(json.dumps([cache.get('a'), cache.get('b', missing) is missing,
                          panel._current.get()]))
        """
    )
    assert found == [1, True, None]


# --- caches on servers ---


@pytest.fixture
def server_url() -> Iterator[str]:
    pytest.importorskip('redis')
    from servers import require, serving

    require('redis')
    with serving('redis') as server:
        yield server.url


URL = 'redis://:secret@127.0.0.1:1/0'

MISTAKES_ON_SERVERS: dict[str, tuple[dict[str, Any], str, str]] = {
    'shards': ({'SHARDS': 4}, 'E004', "'shards' into OPTIONS"),
    'a wait for locks': ({'DATABASE_TIMEOUT': 1}, 'E004', "'timeout' into OPTIONS"),
    'a limit': ({'OPTIONS': {'size_limit': 1}}, 'E004', 'maxmemory'),
    'options that are none': ({'OPTIONS': ['a']}, 'E001', "type 'list'"),
    'another address': ({'LOCATION': 'memcached://:secret@host'}, 'E005', 'begin with one of'),
    'addresses': ({'LOCATION': [URL, 'redis://b']}, 'E005', 'a list of URLs'),
    'a name': ({'OPTIONS': {'name': 'a:b'}}, 'E005', 'name must be'),
    'no serializer': ({'OPTIONS': {'serializer': 'json'}}, 'E005', 'serializer must be'),
    'no class': ({'OPTIONS': {'serializer': 'no.Disk'}}, 'E005', 'No module named'),
    'pickles': ({'OPTIONS': {'serializer': 'pickle'}}, 'W013', 'can run code'),
    'entries': ({'OPTIONS': {'MAX_ENTRIES': 1}}, 'I002', 'maxmemory'),
}


@pytest.mark.parametrize(
    ('params', 'number', 'text'), MISTAKES_ON_SERVERS.values(), ids=MISTAKES_ON_SERVERS
)
def test_a_mistake_about_a_server_has_a_message(
    site: Site, params: dict[str, Any], number: str, text: str
) -> None:
    pytest.importorskip('redis')
    site.cache(**{'LOCATION': URL, **params})
    found = site.checks()
    assert list(found) == [number]
    assert text in found[number]
    assert 'secret' not in found[number]


def test_a_good_cache_on_a_server_has_no_messages_and_makes_nothing(
    site: Site, directory: str
) -> None:
    pytest.importorskip('redis')
    site.cache(LOCATION=URL, OPTIONS={'near': directory, 'timeout': 2, 'name': 'site'})
    assert site.checks() == {}
    assert not os.path.exists(directory)


def test_sessions_on_a_server_and_caches_of_one_name_are_named(site: Site) -> None:
    pytest.importorskip('redis')
    cache = {'BACKEND': BACKEND, 'LOCATION': URL}
    site.configure(
        CACHES={
            'default': {**cache, 'OPTIONS': {'timeout': 5}},
            'pages': {**cache, 'OPTIONS': {'name': 'pages', 'serializer': 'safe'}},
        },
        SESSION_ENGINE='django.contrib.sessions.backends.cache',
    )
    assert list(site.checks()) == ['I001']
    assert 'noeviction' in site.checks()['I001']
    site.configure(CACHES={'default': cache, 'other': {**cache, 'OPTIONS': {'serializer': 'safe'}}})
    found = site.checks()
    assert list(found) == ['W009']
    assert "with 'default', but not serializer" in found['W009']
    assert 'secret' not in found['W009']


def test_a_cache_on_a_server_is_exported_and_imported_by_its_alias(
    site: Site, server_url: str
) -> None:
    site.cache(LOCATION=server_url, OPTIONS={'name': 'site'})
    count = """
        from django.core.cache import cache
        from django.http import HttpResponse
        {}
        page = cache.get('page')
        print(json.dumps([cache.get('a'), page and page.content.decode()]))
    """
    stored = "cache.set('a', 1); cache.set('page', HttpResponse('text'), timeout=100)"
    assert site.evaluate(count.format(stored)) == [1, 'text']
    done = site.manage('diskcache', 'export', 'default', 'file')
    assert (done.returncode, done.stdout) == (0, 'items: 2, left out: 0\n')
    assert site.evaluate(count.format('cache.clear()')) == [None, None]
    done = site.manage('diskcache', 'import', 'default', 'file')
    assert (done.returncode, done.stdout[:9]) == (0, 'stored: 2')
    assert site.evaluate(count.format('')) == [1, 'text']


@pytest.mark.parametrize(
    ('command', 'text'),
    [
        (('stats', 'default'), 'stats is for a directory'),
        (('export', 'default', 'file', '--name', 'other'), 'leave out --name'),
    ],
)
def test_what_a_command_cannot_do_on_a_server_is_told(
    site: Site, command: tuple[str, ...], text: str
) -> None:
    pytest.importorskip('redis')
    site.cache(LOCATION=URL)
    done = site.manage('diskcache', *command)
    assert done.returncode == 2
    assert text in done.stderr
    assert 'secret' not in done.stderr


def test_the_panel_shows_calls_of_a_cache_on_a_server(toolbar_site: Site, server_url: str) -> None:
    caches = {'default': {'BACKEND': BACKEND, 'LOCATION': server_url}}
    toolbar_site.configure(**{**toolbar_site.settings, 'CACHES': caches})
    answers, (stats,), (page,) = toolbar_site.evaluate(ASK.format(paths=['/']))
    assert "[True, 'default', (None, None), True, True]" in answers[0]
    assert (stats['hits'], stats['misses']) == (4, 4)
    assert stats['caches'] == [{'alias': 'default', 'is_remote': True}]
    assert 'on a server' in page
