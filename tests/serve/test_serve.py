"""The pages of `diskcache serve`, over HTTP, of real directories."""

from __future__ import annotations

import hashlib
import html
import http.client
import json
import os
import re
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
import time
import urllib.parse
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import pytest
from consistency import report_texts
from interpreter import Interpreter
from places import PACKAGE

import diskcache
from diskcache.cli.places import open_recorded
from diskcache.serve import queries
from diskcache.serve.server import Server

LARGE = b'x' * 100_000
SEARCHED = 200  # Rows; fewer than are looked at between two looks at the clock.

#: A key or a value like this must never be a part of a page's own HTML.
SCRIPT = '<script>alert(1)</script>"\'&'


@dataclass
class Answer:
    """What came back for one request."""

    status: int
    headers: http.client.HTTPMessage
    html: str

    @property
    def text(self) -> str:
        """What a reader sees of it, with single blanks."""
        return ' '.join(html.unescape(re.sub(r'<[^>]*>', ' ', self.html)).split())

    @property
    def codes(self) -> list[str]:
        """What stands in the elements `code`, but for the directory's path."""
        found = re.findall(r'<code>(.*?)</code>', self.html, re.DOTALL)
        return [html.unescape(each) for each in found[1:]]

    def link(self, text: str) -> str | None:
        """The address that a text leads to."""
        found = re.search(rf'<a href="([^"]*)"[^>]*>{re.escape(text)}</a>', self.html)
        return found and html.unescape(found[1])

    def form(self, button: str) -> tuple[str, dict[str, str]]:
        """Where the form with a button goes, and its hidden fields."""
        forms = re.findall(r'<form method="post".*?</form>', self.html, re.DOTALL)
        (form,) = (each for each in forms if f'>{button}</button>' in each)
        fields = re.findall(r'<input type="hidden" name="([^"]*)" value="([^"]*)">', form)
        action = re.search(r'action="([^"]*)"', form)[1]
        return action, {name: html.unescape(value) for name, value in fields}


class Browser:
    """Asks a server as a browser would."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.host = f'127.0.0.1:{server.server_address[1]}'

    def send(
        self,
        path: str,
        method: str = 'GET',
        body: str | None = None,
        **headers: str,
    ) -> Answer:
        """Send one request with a path as it is."""
        connection = http.client.HTTPConnection(self.host, timeout=30)
        with closing(connection):
            named = {name.replace('_', '-'): value for name, value in headers.items()}
            connection.request(method, path, body, named)
            response = connection.getresponse()
            text = response.read().decode()
            return Answer(response.status, response.headers, text)

    def get(self, page: str = '', **parameters: object) -> Answer:
        """Ask for a page, which is there."""
        page = page.removeprefix('./')
        query = urllib.parse.urlencode({k.rstrip('_'): v for k, v in parameters.items()})
        answer = self.send(f'/{self.server.site_token}/{page}{query and "?" + query}')
        assert answer.status == 200, answer.text
        return answer

    def post(self, action: str, fields: dict[str, str], **headers: str) -> Answer:
        """Send a form."""
        headers = {'Content_Type': 'application/x-www-form-urlencoded', **headers}
        body = urllib.parse.urlencode(fields)
        return self.send(f'/{self.server.site_token}/{action}', 'POST', body, **headers)


@contextmanager
def served(directory: str, write: bool = False) -> Iterator[Browser]:
    """A server of a directory, in a thread, and what asks it."""
    with Server(directory, write=write) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield Browser(server)
        finally:
            server.shutdown()
            thread.join()


def contents(directory: str) -> dict[str, str]:
    """The files in a directory, by what is in them."""
    return {
        str(path.relative_to(directory)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(Path(directory).rglob('*'))
        if path.is_file()
    }


def page_of_row(cache: diskcache.Cache, browser: Browser, **parameters: object) -> Answer:
    """The page of the only item."""
    ((rowid,),) = cache._sql('SELECT rowid FROM Cache').fetchall()
    return browser.get('item', in_='', row=rowid, **parameters)


def all_keys(browser: Browser, page: str = 'items', **parameters: object) -> list[str]:
    """The keys of all pages of a list."""
    answer = browser.get(page, **parameters)
    keys = answer.codes
    while following := answer.link('Next page') or answer.link('Search on'):
        answer = browser.get(following)
        keys += answer.codes
    return keys


PAGES = ['', 'items', 'next', 'plots', 'items?q=a', 'items?q=a&how=contains', 'items?order=newest']


# --- looking ---


def test_looking_writes_nothing(directory: str) -> None:
    with diskcache.Cache(directory, statistics=1, eviction_policy='least-frequently-used') as cache:
        cache.set('a', LARGE, expire=100, tag='t')
        cache['b'] = {'a': 1}
        cache.get('a')
    before = contents(directory)
    with served(directory) as browser:
        for page in PAGES:
            browser.get(page)
        for row in (1, 2):
            browser.get('item', row=row)
    assert contents(directory) == before


def test_looking_beside_a_writer_sees_its_commits_and_counts_nothing(
    directory: str, other: Interpreter
) -> None:
    def write(directory: str, number: int) -> None:
        import diskcache

        diskcache.kept = diskcache.Cache(directory, statistics=1)
        diskcache.kept[f'key{number}'] = number

    def count() -> tuple[int, int]:
        import diskcache

        return diskcache.kept.stats()

    diskcache.Cache(directory, statistics=1).close()
    with served(directory) as browser:
        assert 'No items.' in browser.get('items').text
        for number in range(3):
            other.run(write, directory=directory, number=number)
            assert all_keys(browser) == [repr(f'key{each}') for each in range(number + 1)]
            browser.get('item', row=1)
    assert other.run(count) == (0, 0)


def test_pages_hold_beside_a_process_that_writes_all_the_time(
    directory: str, alone: Interpreter
) -> None:
    def write_on(directory: str) -> None:
        import threading

        import diskcache

        def run() -> None:
            number = 0
            while True:
                with diskcache.Cache(directory) as cache:  # its log comes and goes
                    for _ in range(20):
                        number += 1
                        cache.set(number % 300, 'x' * (number % 3000))

        threading.Thread(target=run, daemon=True).start()

    with diskcache.Cache(directory) as cache:
        cache.update(dict.fromkeys(range(300), 'x'))
    alone.run(write_on, directory=directory)
    with served(directory) as browser:
        for _ in range(3):
            assert len(all_keys(browser)) == 300
            for page in ('', 'next', 'plots'):
                assert 'class="error"' not in browser.get(page).html


@pytest.mark.parametrize('fails', [False, True])
def test_what_changes_while_it_is_read_is_asked_again(
    directory: str, other: Interpreter, fails: bool
) -> None:
    def write(directory: str) -> None:
        import diskcache

        with diskcache.Cache(directory) as cache:
            cache['another'] = 1

    counts = []

    def question(connection: sqlite3.Connection) -> int:
        ((count,),) = connection.execute('SELECT COUNT(*) FROM Cache')
        counts.append(count)
        if len(counts) == 1:
            other.run(write, directory=directory)
            if fails:
                raise sqlite3.DatabaseError('database disk image is malformed')
        return count

    with diskcache.Cache(directory) as cache:
        cache['key'] = 1
    assert queries.ask(directory, question, time.monotonic() + 60) == 2
    assert counts == [1, 2]


def test_the_first_page_has_the_statistics_and_settings(directory: str) -> None:
    with diskcache.Cache(directory, statistics=1, cull_limit=17) as cache:
        cache['a'] = LARGE
        cache.get('a')
        cache.get('a')
        cache.get('b')
    with served(directory) as browser:
        text = browser.get().text
        assert 'items 1 volume' in text
        assert 'hits 2 misses 1 hit ratio 66.7%' in text
        assert 'cull_limit 17' in text
        assert 'of 1 GiB' in text


def test_a_fanout_cache_is_shown_whole_and_by_shards_and_parts(directory: str) -> None:
    with diskcache.FanoutCache(directory, 3) as cache:
        cache.update({f'key{number}': number for number in range(200)})
        cache.cache('part')['of part'] = 1
        counts = [len(shard) for shard in cache._all_shards()]
    with served(directory) as browser:
        first = browser.get()
        assert 'items 200 volume' in first.text
        for number, count in enumerate(counts):
            assert f'00{number} {count} ' in first.text
            assert len(all_keys(browser, in_=f'00{number}')) == count
        assert sorted(all_keys(browser)) == sorted(repr(f'key{each}') for each in range(200))
        assert sorted(all_keys(browser, q='key19')) == [
            repr(f'key{each}') for each in (19, *range(190, 200))
        ]
        assert all_keys(browser, in_='cache/part') == ["'of part'"]
        for page in PAGES:
            browser.get(page)


def test_a_directory_of_django_is_shown(directory: str) -> None:
    pytest.importorskip('django')
    import django_project  # noqa: F401 - configures Django

    cache = diskcache.DjangoCache(directory, {'SHARDS': 2})
    cache.set('page', 'text', version=3)
    with served(directory) as browser:
        assert all_keys(browser, q='page', how='contains') == ["':3:page'"]
    cache.close(connections=True)


def test_pages_follow_each_other_without_gap_or_double(cache: diskcache.Cache) -> None:
    cache.update(dict.fromkeys(range(217)))
    keys = [str(each) for each in range(217)]
    with served(cache.directory) as browser:
        assert all_keys(browser) == keys
        assert all_keys(browser, order='newest') == keys[::-1]


def test_keys_are_found_by_their_beginning(cache: diskcache.Cache) -> None:
    found = ['ab', 'abc', 'ab\U0010ffff', 'ab\ud7ff', b'ab', b'ab\xff']
    for key in [*found, 'a', 'b', 'ac', 'AB', b'a', b'ac', ('ab',), 'xab', 5, 5.5, 55, '5', '50']:
        cache[key] = 1
    with served(cache.directory) as browser:
        assert set(all_keys(browser, q='ab')) == {repr(key) for key in found}
        assert all_keys(browser, q='5') == ['5', '5.5', "'5'", "'50'"]
        assert all_keys(browser, q='\ue000') == []
        assert all_keys(browser, q='ab\ud7ff') == [repr('ab\ud7ff')]
        assert all_keys(browser, q='ab\U0010ffff') == [repr('ab\U0010ffff')]


def test_many_keys_with_one_beginning_are_paged_in_order(cache: diskcache.Cache) -> None:
    for number in range(120):
        cache[f'key{number:03d}'] = cache[f'key{number:03d}'.encode()] = 1
    keys = [f'key{number:03d}' for number in range(120)]
    with served(cache.directory) as browser:
        expected = [*map(repr, keys), *(repr(key.encode()) for key in keys)]
        assert all_keys(browser, q='key') == expected


def test_a_page_that_begins_at_an_item_that_is_gone_says_so(cache: diskcache.Cache) -> None:
    cache.update({f'key{number:03d}': 1 for number in range(120)})
    with served(cache.directory) as browser:
        following = browser.get('items', q='key').link('Next page')
        del cache['key050']
        answer = browser.get(following)
        assert 'The item is gone at which this page began' in answer.text
        assert "'key000'" in answer.codes


def test_keys_are_found_by_what_is_in_them(cache: diskcache.Cache) -> None:
    found = ['xaby', 'ab', b'\x00ab', ('f', 'ab', 1)]
    for key in [*found, 'a b', 1]:
        cache[key] = 1
    with served(cache.directory) as browser:
        keys = all_keys(browser, q='ab', how='contains')
        assert keys == ["'xaby'", "'ab'", "b'\\x00ab'", "pickle of 'f', 'ab', 1"]


def test_a_search_stops_at_its_deadline_and_goes_on(
    cache: diskcache.Cache, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache.update({f'key{number}': None for number in range(1000)})
    cache['needle'] = 1
    monkeypatch.setattr('diskcache.serve.queries.SECONDS', 0.0)
    monkeypatch.setattr('diskcache.serve.queries._ROWS', SEARCHED)
    with served(cache.directory) as browser:
        answer = browser.get('items', q='needle', how='contains')
        searches = 1
        while following := answer.link('Search on'):
            answer = browser.get(following)
            searches += 1
        assert answer.codes == ["'needle'"]
        assert searches > 2


def test_items_of_a_tag_are_listed(cache: diskcache.Cache) -> None:
    tags = ['web', b'web', 7, 2.5, '']
    for number, tag in enumerate(tags):
        cache.set(number, 1, tag=tag)
    cache['without'] = 1
    with served(cache.directory) as browser:
        answer = browser.get('items')
        for number, tag in enumerate(tags):
            listed = browser.get(answer.link(html.escape(repr(tag))))
            assert listed.codes == [repr(tag), str(number)]


def test_what_goes_next_is_listed(directory: str) -> None:
    with diskcache.Cache(directory, eviction_policy='least-recently-used') as cache:
        for number in range(5):
            cache.set(number, 1, expire=None if number == 2 else 1000 - number)
        cache.get(0)
    with served(directory) as browser:
        text = browser.get('next').html
        expires, evicts = text.split('Is evicted next')
        assert re.findall(r'<code>(\d)</code>', expires) == ['4', '3', '1', '0']
        assert re.findall(r'<code>(\d)</code>', evicts) == ['1', '2', '3', '4', '0']


@pytest.mark.parametrize('policy', ['none', 'of another program'])
def test_a_policy_by_which_nothing_goes_is_named(directory: str, policy: str) -> None:
    with diskcache.Cache(directory, eviction_policy='none') as cache:
        cache['a'] = 1
        cache._sql("UPDATE Settings SET value = ? WHERE key = 'eviction_policy'", (policy,))
    with served(directory) as browser:
        text = browser.get('next').text
        assert f'By the policy {policy} ,' in text
        assert 'Nothing is.' in text or 'not known here' in text


def test_plots_count_all_items_of_a_small_cache(cache: diskcache.Cache) -> None:
    cache['large'] = LARGE
    cache['text'] = 'x' * 200
    cache.set('number', 1, expire=1000)
    cache.set('gone', 1, expire=-1)
    with served(cache.directory) as browser:
        text = browser.get('plots').text
        assert 'Of all 4 items.' in text
        for bar in ('up to 64 bytes 2', '256 bytes 1', '256 KiB 1', 'up to a minute 4'):
            assert bar in text
        assert 'expired 1' in text
        assert 'an hour 1' in text
        assert 'never expires 2' in text


def test_plots_of_a_large_cache_are_those_of_a_sample(
    cache: diskcache.Cache, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr('diskcache.serve.queries.COUNTED', 400)
    cache.update({number: 'x' * (100 if number < 1000 else 10) for number in range(2000)})
    with served(cache.directory) as browser:
        text = browser.get('plots').text
        assert 'Of a sample of 400 items' in text
        assert 'up to 64 bytes 200 256 bytes 200' in text


# --- values ---

VALUES = {
    'an int': (5, 'int, 8 bytes', '5'),
    'a float': (2.5, 'float, 8 bytes', '2.5'),
    'a text': ('a\nb\tü', 'str, 6 bytes', 'a\nb    ü'),
    'an odd text': ('\x00\x1b[31m\u202e\U000e0001', 'str', '\\x00\\x1b[31m\\u202e\\U000e0001'),
    'JSON': ('{"b":[1,null]}', 'str', '{\n  "b": [\n    1,\n    null\n  ]\n}'),
    'no JSON': ('[' * 50_000, 'str', '[' * 50_000),
    'a large number in JSON': ('[1' + '0' * 20_000 + ']', 'str', '[1' + '0' * 20_000 + ']'),
    'bytes of a text': (b'abc', 'bytes', 'abc'),
    'bytes': (
        b'\x00\xff',
        'bytes',
        '00000000  00 ff                                            ··',
    ),
    'HTML': (SCRIPT, 'str', SCRIPT),
}


@pytest.mark.parametrize(('value', 'kind', 'shown'), VALUES.values(), ids=VALUES)
def test_a_value_is_shown(cache: diskcache.Cache, value: object, kind: str, shown: str) -> None:
    cache['key'] = value
    with served(cache.directory) as browser:
        answer = page_of_row(cache, browser)
        assert f'value {kind}' in answer.text
        assert answer.codes[-1] == shown


@pytest.mark.parametrize('inline', [False, True])
def test_a_large_value_is_shown_in_parts(directory: str, inline: bool) -> None:
    value = 'aü𝄞' * 40_000  # letters are cut at the ends of parts
    with diskcache.Cache(directory, disk_min_file_size=2**30 if inline else 1000) as cache:
        cache['key'] = value
        with served(directory) as browser:
            shown, parts = '', 0
            answer = page_of_row(cache, browser)
            while True:
                shown += answer.codes[-1]
                parts += 1
                following = answer.link('The next ones')
                if following is None:
                    break
                answer = browser.get(following)
            assert shown == value
            assert parts == 5
            digits = page_of_row(cache, browser, as_='hex', at=100_000).codes[-1]
            assert digits.startswith('000186a0  84 9e 61 c3')


def test_a_value_of_a_json_disk_is_shown_as_json(directory: str) -> None:
    with diskcache.Cache(directory, disk=diskcache.JSONDisk) as cache:
        cache[['a', 1]] = {'b': None}
        with served(directory) as browser:
            assert browser.get('items').codes == ['["a", 1]']
            answer = page_of_row(cache, browser)
            assert json.loads(answer.codes[-1]) == {'b': None}


def test_what_json_decompresses_to_is_bounded(directory: str) -> None:
    with diskcache.Cache(directory, disk=diskcache.JSONDisk) as cache:
        cache['key'] = ' ' * 10_000_000
        with served(directory) as browser:
            answer = page_of_row(cache, browser)
            assert len(answer.html) < 2_000_000


def test_a_pickle_is_described_and_not_loaded(cache: diskcache.Cache, tmp_path: Path) -> None:
    touched = tmp_path / 'touched'
    code = f'cposix\nsystem\n(Vtouch {touched}\ntR.'.encode()
    cache['key'] = ('x', 'placeholder')
    cache['other'] = 1
    cache._sql("UPDATE Cache SET value = ? WHERE key = 'key'", (code,))
    cache._sql("UPDATE Cache SET key = ?, raw = 0 WHERE key = 'other'", (code,))
    with served(cache.directory, write=True) as browser:
        for page in PAGES:
            browser.get(page)
        for row in (1, 2):
            answer = browser.get('item', row=row)
        assert f"pickle of posix.system, 'touch {touched}'" in answer.text
        answer = browser.get('item', row=1)
        assert 'names posix.system' in answer.text
        assert f"in it posix.system, 'touch {touched}'" in answer.text
        browser.post(*browser.get('item', row=2).form('Delete this item'))
    assert not touched.exists()
    assert len(cache) == 1


def test_a_pickle_that_is_damaged_or_needs_what_is_not_here_is_named(
    cache: diskcache.Cache,
) -> None:
    cache['key'] = ('x',)
    with served(cache.directory) as browser:
        for pickled, told in (
            (b'cno_such_module\nThing\n.', 'not here no_such_module.Thing'),
            (b'\x80\x05(.', 'damaged UnpicklingError'),
            (b'\x80\x05' + b'(' * 30_000, 'damaged EOFError'),
            (b'', 'damaged EOFError'),
        ):
            cache._sql('UPDATE Cache SET value = ?', (pickled,))
            assert told in page_of_row(cache, browser).text


def test_a_signed_value_is_shown_without_the_key(directory: str) -> None:
    class Signed(diskcache.SignedDisk):
        keys = (b'k' * 32,)

    with diskcache.Cache(directory, disk=Signed) as cache:
        cache['key'] = {'in': 'it'}
        with served(directory) as browser:
            answer = page_of_row(cache, browser)
            assert 'signature there is one' in answer.text
            assert "in it 'in', 'it'" in answer.text


# --- what is hostile, or damaged ---


@pytest.mark.parametrize('key', [SCRIPT, f'{SCRIPT}\x00\n\u202e', 'x' * 100_000, '', '\u2028'])
def test_no_key_is_html(cache: diskcache.Cache, key: str) -> None:
    cache.set(key, key, tag=key)
    cache[key.encode()] = key.encode()
    cache[(key, 1)] = (key, 1)
    with served(cache.directory, write=True) as browser:
        for page in PAGES:
            assert '<script' not in browser.get(page).html.lower()
        for row in (1, 2, 3):
            answer = browser.get('item', row=row)
            assert '<script' not in answer.html.lower()
            assert not re.search('[\x00\u202e\u2028]', answer.html)
        assert '<script' not in browser.get('items', q=key[:1000]).html.lower()


def test_lone_surrogates_are_shown_escaped(cache: diskcache.Cache) -> None:
    cache._sql(
        "INSERT INTO Cache(key, raw, mode, value, tag) VALUES (CAST(x'61eda08062ff' AS TEXT), 1, 1,"
        " CAST(x'eda080' AS TEXT), CAST(x'ff' AS TEXT))"
    )
    with served(cache.directory) as browser:
        shown = "'a\\udced\\udca0\\udc80b\\udcff'"
        assert browser.get('items').codes == [shown]
        answer = page_of_row(cache, browser)
        assert answer.codes == [shown, '\\udced\\udca0\\udc80']
        assert "tag '\\udcff'" in answer.text
        for query in ('%ff', '%ed%a0%80', '%00', '%', '%zz'):
            for how in ('begins', 'contains'):
                token = browser.server.site_token
                assert browser.send(f'/{token}/items?q={query}&how={how}').status == 200


def test_rows_of_any_types_are_shown(cache: diskcache.Cache) -> None:
    columns = (
        'key, raw, store_time, expire_time, access_time, access_count, tag, size, mode, filename,'
        ' value'
    )
    odd = [None, -(2**63), 2**63 - 1, 1e308, float('inf'), 'text', b'\xff' * 1000, '', 0]
    for number in range(60):
        row = [odd[(number * 7 + at * (number % 5 + 1)) % len(odd)] for at in range(11)]
        marks = ', '.join('?' * 11)
        cache._sql(f'INSERT OR IGNORE INTO Cache({columns}) VALUES ({marks})', row)
    rows = [row for (row,) in cache._sql('SELECT rowid FROM Cache')]
    assert len(rows) > 30
    with served(cache.directory, write=True) as browser:
        for page in PAGES:
            browser.get(page)
        for row in rows:
            answer = browser.get('item', row=row)
            for form in ('text', 'hex'):
                browser.get('item', row=row, as_=form)
        assert len(answer.html) < 100_000


def test_settings_of_any_types_are_shown(cache: diskcache.Cache) -> None:
    for name, value in {
        'count': 'text',
        'size': b'\xff',
        'hits': float('inf'),
        SCRIPT: None,
    }.items():
        cache._sql('INSERT OR REPLACE INTO Settings VALUES (?, ?)', (name, value))
    cache._sql("INSERT OR REPLACE INTO Settings VALUES (CAST(x'ff' AS TEXT), zeroblob(10000000))")
    with served(cache.directory) as browser:
        for page in PAGES:
            answer = browser.get(page)
            assert '<script' not in answer.html
            assert len(answer.html) < 100_000


@pytest.mark.parametrize(
    'filename',
    [
        '../secret',
        '/etc/passwd',
        'ab/../../secret',
        'link',
        'directory',
        'pipe',
        'cache.db',
        'cache.db-hot',
        '',
        '\x00',
        'gone.val',
        'x' * 5000,
    ],
)
def test_only_value_files_of_the_directory_are_read(
    cache: diskcache.Cache, filename: str, tmp_path: Path
) -> None:
    (tmp_path / 'secret').write_text('the secret')
    Path(cache.directory, 'link').symlink_to(tmp_path / 'secret')
    Path(cache.directory, 'directory').mkdir()
    os.mkfifo(Path(cache.directory, 'pipe'))
    cache['key'] = LARGE
    cache._sql('UPDATE Cache SET filename = ?', (filename,))
    with served(cache.directory, write=True) as browser:
        answer = page_of_row(cache, browser)
        assert 'The value file is not there, or cannot be read.' in answer.text
        assert 'the secret' not in answer.text
        browser.post(*answer.form('Delete this item'))
    assert len(cache) == 0
    assert (tmp_path / 'secret').exists()
    assert Path(cache.directory, 'cache.db').exists()


def test_a_file_that_is_shorter_than_its_row_says_ends(cache: diskcache.Cache) -> None:
    cache['key'] = LARGE
    (path,) = Path(cache.directory).glob('*/*/*.val')
    path.write_bytes(LARGE[:70_000])
    with served(cache.directory) as browser:
        answer = page_of_row(cache, browser)
        answer = browser.get(answer.link('The next ones'))
        assert 'Bytes 65,536 to 70,000 of 100,000.' in answer.text
        assert answer.link('The next ones') is None


@pytest.mark.parametrize('damage', ['header', 'middle', 'schema', 'no table', 'view', 'gone'])
def test_a_damaged_database_is_an_error_on_the_page(directory: str, damage: str) -> None:
    with diskcache.FanoutCache(directory, 2) as cache:
        cache.update({f'key{number}': 'x' * 100 for number in range(1000)})
    database = Path(directory, '000', 'cache.db')
    data = bytearray(database.read_bytes())
    if damage == 'header':
        data[:100] = b'\xff' * 100
    elif damage == 'middle':
        data[4096 * 3 :] = os.urandom(len(data) - 4096 * 3)
    elif damage == 'schema':  # what SQLite says of it is no UTF-8
        data[:] = data.replace(b'CREATE TRIGGER', b'CREATE TRIGGEX')
        data[:] = data.replace(b'Settings_count_insert', b'Settings_count_inser\xf7')
    if damage in ('header', 'middle', 'schema'):
        database.write_bytes(data)
    elif damage == 'gone':
        database.unlink()
    else:
        with closing(sqlite3.connect(database)) as con:
            con.execute('DROP TABLE Cache')
            if damage == 'view':  # rows without end
                con.execute(
                    'CREATE VIEW Cache AS WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1'
                    ' FROM n) SELECT x AS key, 1 AS raw, x AS store_time, 1 AS expire_time, 1 AS'
                    ' access_time, 1 AS access_count, 1 AS tag, 1 AS size, 1 AS mode, NULL AS'
                    ' filename, x AS value, x AS rowid FROM n'
                )
            con.commit()
    with served(directory) as browser:
        for page in PAGES:
            answer = browser.get(page)
            assert 'Traceback' not in answer.html
        found = all_keys(browser, in_='001')
        assert len(found) > 400


def test_a_directory_that_is_gone_is_an_error_on_the_page(
    directory: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr('diskcache.serve.queries._KNOWN_SECONDS', -1)
    with diskcache.FanoutCache(directory, 2) as cache:
        cache['a'] = 1
    with served(directory) as browser:
        os.rename(directory, directory + '-away')
        answer = browser.send(f'/{browser.server.site_token}/')
        assert answer.status == 500
        assert 'No such file or directory' in answer.text


def test_json_that_indents_would_blow_up_is_shown_as_text(cache: diskcache.Cache) -> None:
    cache['key'] = '[' * 400 + ','.join(['[]'] * 9_000) + ']' * 400
    with served(cache.directory) as browser:
        answer = page_of_row(cache, browser)
        assert len(answer.html) < 200_000
        assert answer.codes[-1].startswith('[[[[')


def test_directories_of_value_files_are_not_gone_through(
    directory: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with diskcache.FanoutCache(directory, 2) as cache:
        for number in range(30):
            cache.cache('part')[number] = LARGE
        cache.cache('part/ab')['nested'] = 1
        cache.cache('ab/cd')['of hexadecimal digits'] = 1
    listed = []
    scan = os.scandir
    monkeypatch.setattr(os, 'scandir', lambda path: listed.append(str(path)) or scan(path))
    with served(directory) as browser:
        text = browser.get().text
        assert all(name in text for name in ('cache/part', 'cache/part/ab', 'cache/ab/cd'))
        assert all_keys(browser, in_='cache/ab/cd') == ["'of hexadecimal digits'"]
    assert not [path for path in listed if re.search('part/../..$', path)]


def test_what_a_process_that_was_killed_has_committed_is_seen(
    directory: str, alone: Interpreter
) -> None:
    def write(directory: str) -> None:
        import diskcache

        diskcache.kept = diskcache.Cache(directory)
        diskcache.kept['key'] = 1

    alone.run(write, directory=directory)
    alone.kill()
    assert Path(directory, 'cache.db-wal').stat().st_size > 0
    with served(directory) as browser:
        assert all_keys(browser) == ["'key'"]
        Path(directory, 'cache.db-shm').unlink()
        answer = browser.get('items')
        assert 'has commits that are not in the database yet' in answer.text


# --- who may ask ---


HOSTS = {
    '127.0.0.1': 200,
    'localhost': 200,
    'LocalHost:9': 200,
    '127.0.0.1:1': 200,
    'evil.example': 421,
    'evil.example:80': 421,
    '127.0.0.1.evil.example': 421,
    'localhost.evil.example:8000': 421,
    'evil.example@127.0.0.1': 421,
    '127.0.0.1:x': 421,
    '': 421,
    '0.0.0.0': 421,
}


@pytest.mark.parametrize(('host', 'status'), HOSTS.items())
def test_only_this_machine_is_the_host(cache: diskcache.Cache, host: str, status: int) -> None:
    cache['the key'] = 1
    with served(cache.directory) as browser:
        for page in ('', 'items', 'style.css'):
            answer = browser.send(f'/{browser.server.site_token}/{page}', Host=host)
            assert answer.status == status
            assert status == 200 or 'the key' not in answer.html


def test_without_the_secret_of_the_address_there_is_nothing(cache: diskcache.Cache) -> None:
    cache['the key'] = 1
    with served(cache.directory) as browser:
        token = browser.server.site_token
        paths = ['/', '/items', '/style.css', f'/{token}', f'/{token[:-1]}/', f'/{token}x/items']
        paths += [
            '//',
            f'/x/{token}/',
            f'/?{token}/',
            '/%2e%2e/',
            f'http://127.0.0.1/{token}/',
            '*',
        ]
        paths += ['/\xff/', '/../../../etc/passwd', f'/{token.upper()}/items']
        for path in paths:
            answer = browser.send(urllib.parse.quote(path, safe='/%?:*'))
            assert (answer.status, answer.text) == (
                404,
                'Use the address that diskcache serve has printed.',
            )


@pytest.mark.parametrize(
    'page',
    [
        '../../etc/passwd',
        '..%2f..%2fetc/passwd',
        'style.css/..',
        'item?row=999',
        'item?row=x',
        'item?row=99999999999999999999',
        'item?in=../..&row=1',
        'items?in=..',
        'items?in=/etc',
        'items?in=000/../000',
        'items?tag=x:00',
        'items?tag=i:' + '9' * 5000,
        'items?tag=t:zz',
        'delete',
    ],
)
def test_what_is_not_there_is_not_found(directory: str, page: str) -> None:
    with diskcache.FanoutCache(directory, 2) as cache:
        cache['a'] = 1
    with served(directory) as browser:
        assert browser.send(f'/{browser.server.site_token}/{page}').status == 404


def test_parameters_that_no_page_has_are_ignored(cache: diskcache.Cache) -> None:
    cache.update(dict.fromkeys(range(120), 1))
    with served(cache.directory) as browser:
        for name in ('page', 'in_', 'after_', 'self', '<b>'):
            assert len(all_keys(browser, **{f'{name}_': 'x'})) == 120


def test_the_tag_that_equals_nothing_is_no_tag(cache: diskcache.Cache) -> None:
    cache['without a tag'] = 1
    with served(cache.directory, write=True) as browser:
        path = f'/{browser.server.site_token}/items?tag=r:nan'
        assert browser.send(path).status == 404
        fields = {'token': browser.server.form_token, 'tag': 'r:nan'}
        assert browser.post('evict', fields).status == 404
    assert 'without a tag' in cache


@pytest.mark.parametrize('value', [1, 'text', LARGE])
def test_behind_the_end_of_a_value_there_is_nothing(cache: diskcache.Cache, value: object) -> None:
    cache['key'] = value
    with served(cache.directory) as browser:
        for at in (2**63 - 1, 2**63 - 2, 10**6):
            assert 'x' * 20 not in page_of_row(cache, browser, at=at).text


def test_too_many_parameters_are_refused(cache: diskcache.Cache) -> None:
    with served(cache.directory) as browser:
        answer = browser.send(f'/{browser.server.site_token}/items?' + 'a=b&' * 1000)
        assert answer.status == 400


def test_what_answers_say_to_a_browser(cache: diskcache.Cache) -> None:
    """Nothing is loaded from elsewhere, run, framed, stored, or taken for another type."""
    cache['key'] = SCRIPT
    with served(cache.directory, write=True) as browser:
        token = browser.server.site_token
        for path in (f'/{token}/', f'/{token}/item?row=1', f'/{token}/style.css', '/', '/x'):
            headers = browser.send(path).headers
            policy = headers['Content-Security-Policy']
            assert "default-src 'none'; style-src 'self'; form-action 'self'" in policy
            assert "frame-ancestors 'none'" in policy
            assert headers['X-Content-Type-Options'] == 'nosniff'
            assert headers['Referrer-Policy'] == 'same-origin'
            assert headers['Cache-Control'] == 'no-store'
            assert 'Python' not in headers['Server']
        for page in PAGES:
            text = browser.get(page).html
            assert not re.search(r'<script|<style|\sstyle=|\son\w+=|https?://|//\w', text)


def test_a_head_request_has_no_body_and_other_methods_are_refused(cache: diskcache.Cache) -> None:
    with served(cache.directory, write=True) as browser:
        path = f'/{browser.server.site_token}/'
        answer = browser.send(path, 'HEAD')
        assert (answer.status, answer.html) == (200, '')
        for method in ('PUT', 'DELETE', 'OPTIONS', 'TRACE', '<script>'):
            answer = browser.send(path, method)
            assert answer.status == 501
            assert answer.headers.get_content_type() == 'text/plain'
            assert answer.headers['X-Content-Type-Options'] == 'nosniff'
            assert answer.headers['Cache-Control'] == 'no-store'


def trickle(address: tuple[str, int], ended: threading.Event) -> None:
    """Send a request that never ends, a byte at a time, until the server ends it."""
    with socket.create_connection(address, timeout=0.02) as client, suppress(ConnectionError):
        client.sendall(b'GET / HTTP/1.0\r\nX: ')
        while not ended.is_set():
            client.sendall(b'x')
            with suppress(TimeoutError):
                if client.recv(1000) == b'':
                    break


def test_requests_that_never_end_keep_nobody_from_an_answer(
    cache: diskcache.Cache, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr('diskcache.serve.server._ARRIVAL', 1)
    monkeypatch.setattr('diskcache.serve.server._Handler.timeout', 30)
    ended = threading.Event()
    with served(cache.directory) as browser:
        clients = [
            threading.Thread(target=trickle, args=(browser.server.server_address, ended))
            for _ in range(16)
        ]
        for client in clients:
            client.start()
        alarm = threading.Timer(20, ended.set)
        alarm.start()
        for client in clients:
            client.join()
        alarm.cancel()
        assert not ended.is_set()
        browser.get()


# --- changes ---


@pytest.fixture
def filled(directory: str) -> Iterator[diskcache.Cache]:
    """A cache with items that have expired, one with a tag, and one that stays."""
    with diskcache.Cache(directory, cull_limit=0) as cache:
        cache.set('tagged', LARGE, tag='t')
        cache.set(('a', 'pickle'), {'b': LARGE})
        cache.set('expired', 1, expire=-1)
        cache['key'] = 1
        yield cache


def test_without_write_there_is_no_button_and_no_change(filled: diskcache.Cache) -> None:
    with served(filled.directory) as browser:
        for page in (*PAGES, 'item?row=1', 'items?tag=t:74'):
            assert '<form method="post"' not in browser.get(page).html
        for action in ('delete', 'evict', 'expire', 'cull'):
            assert browser.post(action, {'token': '', 'tag': 't:74'}).status == 403
            assert browser.post(action, {'token': 'None'}).status == 403
    assert len(filled) == 4


def test_items_are_deleted(filled: diskcache.Cache) -> None:
    with served(filled.directory, write=True) as browser:
        for row in (1, 2):
            answer = browser.post(*browser.get('item', row=row).form('Delete this item'))
            assert answer.status == 303
            assert '1 item removed.' in browser.get(answer.headers['Location']).text
    assert sorted(map(repr, filled)) == ["'expired'", "'key'"]
    assert report_texts(filled) == []


def test_an_item_that_took_the_place_of_another_is_not_deleted(filled: diskcache.Cache) -> None:
    with served(filled.directory, write=True) as browser:
        form = browser.get('item', row=4).form('Delete this item')
        del filled['key']
        filled['another'] = 1  # in the row of the one before
        assert filled._sql("SELECT rowid FROM Cache WHERE key = 'another'").fetchone() == (4,)
        answer = browser.post(*form)
        assert '0 items removed.' in browser.get(answer.headers['Location']).text
    assert 'another' in filled


def test_a_tag_is_evicted_and_what_has_expired_removed(filled: diskcache.Cache) -> None:
    with served(filled.directory, write=True) as browser:
        answer = browser.post(*browser.get('items', tag='t:74').form('Evict this tag'))
        assert '1 item removed.' in browser.get(answer.headers['Location']).text
        assert 'tagged' not in filled
        answer = browser.post(*browser.get().form('Remove what has expired'))
        assert '1 item removed.' in browser.get(answer.headers['Location']).text
    assert len(filled) == 2


def test_culling_removes_what_is_over_the_limit(directory: str) -> None:
    with diskcache.Cache(directory, cull_limit=0, size_limit=200_000) as cache:
        cache.update(dict.fromkeys(range(10), LARGE))
        with served(directory, write=True) as browser:
            answer = browser.post(*browser.get().form('Cull to the size limit'))
            assert answer.status == 303
        assert cache.volume() <= 200_000


def test_changes_are_for_all_shards_or_one(directory: str) -> None:
    with diskcache.FanoutCache(directory, 2, cull_limit=0) as cache:
        for number in range(100):
            cache.set(number, 1, expire=-1)
        count = len(cache._all_shards()[1])
        with served(directory, write=True) as browser:
            form = browser.get('', in_='001').form('Remove what has expired')
            answer = browser.post(*form)
            assert f'{count} items removed.' in browser.get(answer.headers['Location']).text
            browser.post(*browser.get().form('Remove what has expired'))
        assert len(cache) == 0


def forged(browser: Browser, fields: dict[str, str]) -> Iterator[Callable[[], Answer]]:
    """Yield what sends the form as it must not be taken."""
    page = f'/{browser.server.site_token}/expire'
    kind = 'application/x-www-form-urlencoded'
    body = urllib.parse.urlencode(fields)
    wrong = {**fields, 'token': 'x' * 32}
    yield lambda: browser.post('expire', wrong)
    yield lambda: browser.post('expire', {})
    yield lambda: browser.post('expire', {**fields, 'token': fields['token'] + 'x'})
    yield lambda: browser.post('expire', fields, Origin='http://evil.example')
    yield lambda: browser.post('expire', fields, Origin='null')
    yield lambda: browser.post('expire', fields, Origin='http://127.0.0.1:1')
    yield lambda: browser.post('expire', fields, Sec_Fetch_Site='cross-site')
    yield lambda: browser.post('expire', fields, Sec_Fetch_Site='same-site')
    yield lambda: browser.post('expire', fields, Host='evil.example')
    yield lambda: browser.post('expire', fields, Content_Type='text/plain')
    yield lambda: browser.post('expire', {**fields, 'x': 'x' * 100_000})
    yield lambda: browser.send(page, 'POST', None, Content_Type=kind, Transfer_Encoding='chunked')
    yield lambda: browser.send(page, 'POST', body, Content_Type=kind, Content_Length='-1')
    yield lambda: browser.send(f'{page}?{body}', 'GET')
    yield lambda: browser.send(f'/wrong/expire?{body}', 'POST', body, Content_Type=kind)


def test_forms_of_others_are_refused(filled: diskcache.Cache) -> None:
    with served(filled.directory, write=True) as browser:
        _, fields = browser.get().form('Remove what has expired')
        for send in forged(browser, fields):
            assert 400 <= send().status < 500
        assert len(filled) == 4
        origin = {'Origin': f'http://{browser.host}', 'Sec_Fetch_Site': 'same-origin'}
        assert browser.post('expire', fields, **origin).status == 303
    assert len(filled) == 3


def test_a_program_sends_the_token_in_a_header(filled: diskcache.Cache) -> None:
    with served(filled.directory, write=True) as browser:
        assert browser.post('expire', {}, X_Diskcache_Token='wrong').status == 403
        token = browser.server.form_token
        assert browser.post('expire', {}, X_Diskcache_Token=token).status == 303
    assert len(filled) == 3


def test_a_cache_that_cannot_be_written_is_an_error(
    filled: diskcache.Cache, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = open_recorded
    monkeypatch.setattr(
        'diskcache.serve.changes.open_recorded', lambda path: opened(path, writes=False)
    )
    with served(filled.directory, write=True) as browser:
        answer = browser.post(*browser.get().form('Remove what has expired'))
        assert answer.status == 500
        assert 'attempt to write a readonly database' in answer.text


def test_a_cache_that_is_gone_is_not_made_anew(filled: diskcache.Cache) -> None:
    away = f'{filled.directory}-away'
    with served(filled.directory, write=True) as browser:
        forms = [
            browser.get().form('Remove what has expired'),
            browser.get().form('Cull to the size limit'),
            browser.get('items', tag='t:74').form('Evict this tag'),
            browser.get('item', row=1).form('Delete this item'),
        ]
        os.rename(filled.directory, away)
        try:
            for form in forms:
                answer = browser.post(*form)
                assert answer.status == 500
                assert 'no such directory' in answer.text
                assert not os.path.exists(filled.directory)
        finally:
            os.rename(away, filled.directory)


# --- the command ---


def start(*arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, '-m', 'diskcache', 'serve', *arguments],
        cwd=PACKAGE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )


def test_the_command_prints_the_address_and_ends_with_ctrl_c(cache: diskcache.Cache) -> None:
    cache['the key'] = 1
    process = start(cache.directory)
    try:
        address = urllib.parse.urlsplit(process.stdout.readline().strip())
        assert address.hostname == '127.0.0.1'
        connection = http.client.HTTPConnection(address.netloc, timeout=30)
        with closing(connection):
            connection.request('GET', f'{address.path}items')
            assert 'the key' in connection.getresponse().read().decode()
        assert process.stdout.readline().startswith('Ctrl-C ends it.')
        process.send_signal(signal.SIGINT)
        output, errors = process.communicate(timeout=30)
    finally:
        process.kill()
        process.wait()
    assert (process.returncode, errors) == (0, '')
    assert output == '\n'


def test_what_cannot_be_served_is_an_error(tmp_path: Path, cache: diskcache.Cache) -> None:
    with Server(cache.directory) as server:
        taken = str(server.server_address[1])
        for arguments, told in (
            ([str(tmp_path)], 'diskcache: not a cache'),
            ([str(tmp_path / 'no')], 'diskcache: no such directory'),
            ([cache.directory, '--port', taken], 'Address already in use'),
            ([cache.directory, '--port', '65536'], 'no port: 65536'),
            ([cache.directory, '--port', 'x'], 'invalid'),
        ):
            process = start(*arguments)
            _, errors = process.communicate(timeout=30)
            assert process.returncode == 2
            assert told in errors
            assert 'Traceback' not in errors
    assert [path.name for path in tmp_path.iterdir()] == ['cache']
