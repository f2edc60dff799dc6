"""The documents: the reference has all that is public, the site can be built, read and searched."""

from __future__ import annotations

import functools as ft
import http.server
import inspect
import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path

import pytest
from places import ROOT

import diskcache

ENTRY = re.compile(r'^\.\. (?:auto\w+|data):: *([\w.]+(?:\n +[\w.]+)*)\n', re.MULTILINE)

#: Names that are not this package's interface.
OTHERS = {'TYPE_CHECKING'}


def without_twins(names: set[str]) -> set[str]:
    """Return names without those of asynchronous twins: aget is one where there is get."""
    return {name for name in names if not (name[0] == 'a' and name[1:] in names)}


def public_names() -> Iterator[str]:
    """Yield what can be imported from the package, and what its classes have."""
    names = {name for name in vars(diskcache) if name[0] != '_'} | set(diskcache.__all__)
    for name in sorted(names - OTHERS):
        value = getattr(diskcache, name)
        if inspect.ismodule(value):
            continue
        yield name
        if inspect.isclass(value) and not issubclass(value, Exception):
            bases = [base for base in value.__mro__ if base.__module__.startswith('diskcache')]
            own = {
                name
                for base in bases
                for name, attribute in vars(base).items()
                if name[0] != '_' and hasattr(attribute, '__get__')
            }
            yield from (f'{name}.{attribute}' for attribute in sorted(without_twins(own)))


@ft.cache
def entries() -> dict[str, bool]:
    """Return the names that the reference has, and whether there is an example.

    Entries that follow each other with nothing in between share what comes after the last of them.
    """
    found: dict[str, bool] = {}
    for page in (ROOT / 'docs' / 'reference').glob('*.rst'):
        waiting: list[str] = []
        text = page.read_text()
        matches = list(ENTRY.finditer(text))
        ends = [match.start() for match in matches[1:]] + [len(text)]
        for match, end in zip(matches, ends, strict=True):
            waiting += match[1].split()
            body = text[match.end() : end]
            if body.strip():
                found.update(dict.fromkeys(waiting, '>>> ' in body))
                waiting = []
    return found


def documented(name: str) -> str | None:
    """Return the entry of a name, which may be that of a class it is inherited from."""
    owner, _, attribute = name.partition('.')
    value = getattr(diskcache, owner)
    bases = value.__mro__ if attribute else ()
    names = [name, *(f'{base.__name__}.{attribute}' for base in bases)]
    return next((each for each in names if each in entries()), None)


def test_the_reference_has_each_public_name() -> None:
    assert [name for name in public_names() if documented(name) is None] == []


def test_the_reference_has_what_is_for_servers() -> None:
    pytest.importorskip('redis')
    from diskcache import remote

    assert [name for name in remote.__all__ if name not in entries()] == []


def test_each_name_of_the_reference_has_an_example() -> None:
    assert [name for name, has_example in entries().items() if not has_example] == []


@pytest.fixture(scope='module')
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the directory of the site, which is built with warnings as errors."""
    pytest.importorskip('sphinx')
    pytest.importorskip('furo')
    built = tmp_path_factory.mktemp('site')
    options = ['--quiet', '--nitpicky', '--fail-on-warning', '--keep-going']
    places = ['-c', ROOT / 'docs', '-d', built / 'doctrees', ROOT, built / 'html']
    command = [sys.executable, '-m', 'sphinx', *options, *places]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return built / 'html'


class Page(HTMLParser):
    """What a reader without scripts has of a page: its text and its links."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.text, self.links = '', set[str]()
        self.feed(text)

    def handle_data(self, data: str) -> None:
        self.text += data

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == 'a':
            self.links.add(dict(attrs).get('href') or '')


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_site_can_be_read_without_scripts(site: Path) -> None:
    first = Page((site / 'docs' / 'index.html').read_text())
    assert "cache['Oslo']" in first.text
    for target in (
        'tutorial.html',
        'reference/cache.html',
        '../CHANGELOG.html',
        '../SECURITY.html',
    ):
        assert target in first.links
        assert (site / 'docs' / target).exists()
    assert 'url=docs/index.html' in (site / 'index.html').read_text()


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_reference_shows_what_is_in_c(site: Path) -> None:
    text = Page((site / 'docs' / 'reference' / 'cache.html').read_text()).text
    assert 'get(key, default=None, read=False, expire_time=False' in text
    assert 'seconds until the item expires' in text


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_site_can_be_searched_in_a_browser(site: Path, tmp_path: Path) -> None:
    browser = shutil.which('chromium')
    if browser is None:
        pytest.skip('needs chromium')

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *args: object) -> None:
            pass

    handler = ft.partial(Quiet, directory=str(site))
    with http.server.ThreadingHTTPServer(('127.0.0.1', 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f'http://127.0.0.1:{server.server_port}/search.html?q=cull_limit'
        options = ['--headless', '--no-sandbox', '--disable-gpu', '--virtual-time-budget=20000']
        profile = f'--user-data-dir={tmp_path}'
        command = [browser, *options, profile, '--dump-dom', url]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        server.shutdown()
    results = Page(done.stdout.partition('id="search-results"')[2])
    found = {link.partition('?')[0].partition('#')[0] for link in results.links}
    assert 'docs/howto/eviction.html' in found
    assert 'docs/howto/fastapi.html' not in found
