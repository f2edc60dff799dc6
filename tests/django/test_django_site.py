"""The Django site of the examples, in gunicorn with several worker processes, asked over HTTP."""

from __future__ import annotations

import http.client
import json
import os
import re
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from places import PACKAGE, ROOT

import diskcache

# The tests share one server, in one process.
pytestmark = pytest.mark.xdist_group('site')

WORKERS = 4
PATIENCE = 20  # Seconds after which an answer is held to be never coming.


@dataclass
class Answer:
    """What came back for one request."""

    status: int
    headers: http.client.HTTPMessage
    body: bytes

    @property
    def pid(self) -> int:
        """The process id of the worker that answered."""
        return int(self.headers['X-Served-By'])

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def cookie(self) -> str:
        """What a browser would send back."""
        return self.headers['Set-Cookie'].partition(';')[0]

    def shown_pid(self, element: str) -> int:
        """The process id in an element of the page."""
        return int(re.search(rf'id="{element}">(\d+)<', self.body.decode())[1])


class Site:
    """A running gunicorn with the site."""

    def __init__(self, log: Path, **environment: str) -> None:
        """Start it on a free port; it writes its log to the file `log`."""
        self.log = log
        with log.open('w') as stderr:
            self.process = subprocess.Popen(
                [sys.executable, '-m', 'gunicorn', '--config', 'examples/django_site/server.py'],
                cwd=ROOT,
                env={**os.environ, 'PYTHONPATH': str(PACKAGE), 'PORT': '0', **environment},
                stdout=subprocess.PIPE,
                stderr=stderr,
                start_new_session=True,
                text=True,
            )
        try:
            self.host, self.port, self.directory = self._read_announcement()
        except BaseException:
            self.kill()
            raise

    def _read_announcement(self) -> tuple[str, int, Path]:
        """Wait until the server says that it is ready; return where it and its caches are."""
        for line in self.process.stdout:
            if found := re.match(r'http://([\d.]+):(\d+)/ .* share the caches in (.*)', line):
                return found[1], int(found[2]), Path(found[3])
        raise AssertionError(f'gunicorn ended: {self.process.wait()}\n{self.log.read_text()}')

    def connect(self) -> http.client.HTTPConnection:
        """Open a connection, which gunicorn's sync workers use for one request."""
        connection = http.client.HTTPConnection(self.host, self.port, timeout=PATIENCE)
        connection.connect()
        return connection

    def ask(self, path: str, method: str = 'GET', cookie: str = '', form: str = '') -> Answer:
        """Send one request, to whatever worker takes it."""
        return exchange(self.connect(), path, method, cookie, form)

    def ask_each_worker(self, path: str, method: str = 'GET', cookie: str = '') -> list[Answer]:
        """Send one request to each worker, one after another.

        A sync worker has one connection at a time, and connections are taken in the order in which
        they were opened. So when the last of them is answered, the others, on which nothing has
        been sent yet, are with the other workers. If one of these is still starting, this waits.
        """
        connections = [self.connect() for _ in range(WORKERS)]
        answers = [exchange(each, path, method, cookie) for each in reversed(connections)]
        assert len({answer.pid for answer in answers}) == WORKERS
        return answers

    def figures(self) -> dict[str, int]:
        """What the status page says about the default cache."""
        return self.ask('/status/').json['caches']['default']

    def stop(self, sent: signal.Signals = signal.SIGTERM) -> int:
        """End the server and return its exit status."""
        # To gunicorn, a worker that is ended while it imports Django is one that failed to start.
        self.ask_each_worker('/status/')
        self.process.send_signal(sent)
        try:
            return self.process.wait(PATIENCE)
        finally:
            self.kill()

    def kill(self) -> None:
        """Kill whatever is left of the server and its workers, and show its log (to pytest)."""
        try:
            os.killpg(self.process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        self.process.wait()
        self.process.stdout.close()
        print(self.log.read_text())


def exchange(
    connection: http.client.HTTPConnection, path: str, method: str, cookie: str, form: str = ''
) -> Answer:
    """Send one request on `connection`, read the answer, and close it."""
    headers = {'Cookie': cookie} if cookie else {}
    if form:
        headers['Content-Type'] = 'application/x-www-form-urlencoded'
    try:
        connection.request(method, path, form or None, headers)
        response = connection.getresponse()
        return Answer(response.status, response.headers, response.read())
    finally:
        connection.close()


@pytest.fixture
def start_site(tmp_path: Path) -> Iterator[Callable[..., Site]]:
    """A function that starts a server of this test's own; its caches are below `tmp_path`."""
    started: list[Site] = []

    def start(**environment: str) -> Site:
        environment = {'CACHE_DIR': str(tmp_path / 'caches'), **environment}
        started.append(Site(tmp_path / f'gunicorn-{len(started)}.log', **environment))
        return started[-1]

    yield start
    for site in started:
        site.kill()


@pytest.fixture(scope='module')
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """The server that most tests share."""
    base = tmp_path_factory.mktemp('site')
    site = Site(base / 'gunicorn.log', CACHE_DIR=str(base / 'caches'))
    yield site
    site.kill()


def complaints(site: Site) -> list[str]:
    """What `check` finds wrong in the caches of the site."""
    found = []
    for name in ('default', 'lasting'):
        with diskcache.FanoutCache(site.directory / name) as shards:
            found += [str(warning.message) for warning in shards.check(retry=True)]
    return found


# --- what one worker has stored, the others use ------------------------------------------------


def test_a_cached_page_is_rendered_once_for_all_workers(site: Site) -> None:
    answers = site.ask_each_worker('/page/')
    assert {answer.status for answer in answers} == {200}
    assert {answer.body for answer in answers} == {answers[0].body}
    assert {answer.shown_pid('page') for answer in answers} == {answers[0].pid}


def test_pages_with_different_queries_are_different(site: Site) -> None:
    first, second = (site.ask_each_worker(f'/page/?number={number}') for number in (1, 2))
    assert {answer.shown_pid('page') for answer in first} == {first[0].pid}
    assert {answer.shown_pid('page') for answer in second} == {second[0].pid}


def test_a_fragment_is_rendered_once_within_pages_that_are_not(site: Site) -> None:
    answers = site.ask_each_worker('/')
    assert all(answer.shown_pid('page') == answer.pid for answer in answers)
    assert len({answer.shown_pid('fragment') for answer in answers}) == 1


def test_a_fragment_is_rendered_once_for_each_name(site: Site) -> None:
    first = site.ask('/hello/', 'POST', form='name=%3CAda%3E')
    assert first.status == 302
    answers = site.ask_each_worker('/hello/', cookie=first.cookie)
    assert all(b'>&lt;Ada&gt;</b>' in answer.body for answer in answers)
    assert {answer.shown_pid('fragment') for answer in answers} == {answers[0].pid}
    assert b'>stranger</b>' in site.ask('/hello/').body


def test_a_fragment_is_made_anew_when_it_is_deleted(site: Site) -> None:
    cookie = site.ask('/hello/', 'POST', form='name=Grace').cookie
    before = site.ask('/hello/', cookie=cookie).body
    assert site.ask('/hello/', cookie=cookie).body == before
    time.sleep(1)  # The page tells the second.
    site.ask('/hello/', 'POST', cookie)
    after = site.ask('/hello/', cookie=cookie).body
    assert after != before
    assert b'>Grace</b>' in after


def test_a_session_goes_on_in_every_worker(site: Site) -> None:
    first = site.ask('/session/')
    answers = site.ask_each_worker('/session/', cookie=first.cookie)
    assert [answer.json['visits'] for answer in answers] == [2, 3, 4, 5]
    assert {answer.json['started_by'] for answer in answers} == {first.pid}


def test_a_browser_without_a_cookie_gets_a_session_of_its_own(site: Site) -> None:
    first, second = site.ask('/session/'), site.ask('/session/')
    assert first.cookie != second.cookie
    assert second.json['visits'] == 1


def test_a_memoized_function_is_called_once_for_all_workers(site: Site) -> None:
    answers = site.ask_each_worker('/factors/600851475143/')
    expected = {'factors': [71, 839, 1471, 6857], 'computed_by': answers[0].pid}
    assert [answer.json for answer in answers] == [expected] * WORKERS


@pytest.mark.parametrize('number', ['0', '1000000000001'])
def test_numbers_that_take_too_long_are_refused(site: Site, number: str) -> None:
    assert site.ask(f'/factors/{number}/').status == 400


def test_the_status_adds_up_what_the_workers_counted(site: Site) -> None:
    before = site.figures()
    gained = dict.fromkeys(before, 0)
    deadline = time.monotonic() + PATIENCE
    while gained['hits'] < WORKERS:  # A worker stores what it has counted after a second.
        assert time.monotonic() < deadline
        site.ask_each_worker('/factors/97/')
        time.sleep(0.3)
        gained = {name: value - before[name] for name, value in site.figures().items()}
    assert gained['items'] == 1
    assert gained['misses'] >= 1


def test_the_status_gives_the_process_and_the_volume(site: Site) -> None:
    size = len(site.ask('/primes.txt').body)
    answers = site.ask_each_worker('/status/')
    assert all(answer.json['pid'] == answer.pid for answer in answers)
    assert all(answer.json['caches']['default']['volume'] > size for answer in answers)


def test_sessions_and_the_counter_do_not_wait_for_the_other_cache(site: Site) -> None:
    first = site.ask('/session/')
    before = site.ask('/counter/').json['count']
    with ExitStack() as locks:
        for shard in site.directory.glob('default/*/cache.db'):
            connection = locks.enter_context(closing(sqlite3.connect(shard, isolation_level=None)))
            connection.execute('BEGIN IMMEDIATE')
        assert site.ask('/session/', cookie=first.cookie).json['visits'] == 2
        assert site.ask('/counter/', 'POST').json['count'] == before + 1


# --- a file ------------------------------------------------------------------------------------


def test_every_worker_sends_the_whole_file(site: Site) -> None:
    answers = site.ask_each_worker('/primes.txt')
    numbers = answers[0].body.split()
    assert (len(numbers), numbers[0], numbers[-1]) == (78_498, b'2', b'999983')
    assert {answer.body for answer in answers} == {answers[0].body}
    assert {answer.headers['Content-Length'] for answer in answers} == {str(len(answers[0].body))}
    assert {answer.headers['Content-Type'] for answer in answers} == {'text/plain'}


def test_the_file_is_the_one_in_the_cache(site: Site) -> None:
    body = site.ask('/primes.txt').body
    with diskcache.FanoutCache(site.directory / 'default') as shards:
        with shards.read(':1:primes.txt') as reader:
            assert reader.read() == body


def test_with_x_sendfile_the_header_names_the_file_and_the_body_is_empty(
    start_site: Callable[..., Site],
) -> None:
    site = start_site(USE_X_SENDFILE='1')
    for answer in site.ask_each_worker('/primes.txt'):
        path = Path(answer.headers['X-Sendfile'])
        assert path.resolve().is_relative_to(site.directory.resolve() / 'default')
        assert path.read_bytes().startswith(b'2\n3\n5\n7\n11\n')
        assert (answer.status, answer.body) == (200, b'')


# --- a counter, and load -----------------------------------------------------------------------


def test_the_counter_is_exact_under_parallel_load(site: Site) -> None:
    before = site.ask('/counter/').json['count']

    def count(_: int) -> int:
        return site.ask('/counter/', 'POST').json['count']

    with ThreadPoolExecutor(8) as threads:
        counts = list(threads.map(count, range(240)))
    assert sorted(counts) == list(range(before + 1, before + 241))
    assert [answer.json['count'] for answer in site.ask_each_worker('/counter/')] == [
        before + 240
    ] * WORKERS


@dataclass
class Visitor:
    """A browser that uses all of the site for some rounds, and notes what it got."""

    site: Site
    file: bytes  # What the file must hold.
    progress: threading.Semaphore  # Released after each answer.
    attempted: int = 0  # Requests to count one more.
    counts: list[int] = field(default_factory=list)  # Those answered.
    failed: int = 0  # Requests, of any kind, that got no answer.
    wrong: list[object] = field(default_factory=list)
    cookie: str = ''
    visits: tuple[int, int] = (0, 0)  # The least and the most that the session may hold.

    def browse(self, rounds: int) -> None:
        for _ in range(rounds):
            self.attempted += 1
            self.get('/counter/', self.note_count, 'POST')
            self.visits = (self.visits[0], self.visits[1] + 1)
            self.get('/session/', self.note_visits)
            self.get('/page/', lambda answer: answer.shown_pid('page') > 0)
            self.get('/', lambda answer: answer.shown_pid('page') == answer.pid)
            self.get('/factors/1001/', lambda answer: answer.json['factors'] == [7, 11, 13])
            self.get('/primes.txt', lambda answer: answer.body == self.file)

    def get(self, path: str, is_right: Callable[[Answer], bool], method: str = 'GET') -> None:
        try:
            answer = self.site.ask(path, method, self.cookie)
        except TimeoutError:
            self.wrong.append(f'{path}: no answer in {PATIENCE} seconds')
        except (ConnectionError, http.client.HTTPException):
            self.failed += 1
        else:
            if answer.status != 200 or not is_right(answer):
                self.wrong.append((path, answer.status, answer.body[:500]))
            self.progress.release()

    def note_count(self, answer: Answer) -> bool:
        self.counts.append(answer.json['count'])
        return True

    def note_visits(self, answer: Answer) -> bool:
        if not self.cookie:
            self.cookie = answer.cookie
        count = answer.json['visits']
        least, most = self.visits
        self.visits = (count, count)
        return least < count <= most


@pytest.mark.slow
def test_a_worker_killed_under_load_takes_nothing_with_it(start_site: Callable[..., Site]) -> None:
    site = start_site()
    workers = {answer.pid for answer in site.ask_each_worker('/page/')}
    victim = min(workers)
    progress = threading.Semaphore(0)
    file = site.ask('/primes.txt').body
    visitors = [Visitor(site, file, progress) for _ in range(6)]

    with ThreadPoolExecutor(len(visitors)) as threads:
        browsing = [threads.submit(visitor.browse, 20) for visitor in visitors]
        for _ in range(200):  # Of 720 answers.
            assert progress.acquire(timeout=PATIENCE)
        os.kill(victim, signal.SIGKILL)
        for each in browsing:
            each.result()

    assert [visitor.wrong for visitor in visitors] == [[]] * len(visitors)
    # The killed worker had one connection at most; those that waited went to the others.
    assert sum(visitor.failed for visitor in visitors) <= 1

    attempted = sum(visitor.attempted for visitor in visitors)
    counts = [count for visitor in visitors for count in visitor.counts]
    total = site.ask('/counter/').json['count']
    assert len(set(counts)) == len(counts)
    assert len(counts) <= total <= attempted

    survivors = {answer.pid for answer in site.ask_each_worker('/counter/')}
    assert workers - survivors == {victim}
    assert complaints(site) == []


def test_a_site_that_is_loaded_before_the_workers_are_forked_works_too(
    start_site: Callable[..., Site],
) -> None:
    site = start_site(GUNICORN_CMD_ARGS='--preload')
    counts = [answer.json['count'] for answer in site.ask_each_worker('/counter/', 'POST')]
    assert counts == [1, 2, 3, 4]
    assert len({answer.body for answer in site.ask_each_worker('/page/')}) == 1
    assert complaints(site) == []


# --- starting and ending -----------------------------------------------------------------------


@pytest.mark.slow
def test_what_is_stored_outlives_the_server(start_site: Callable[..., Site]) -> None:
    site = start_site()
    session = site.ask('/session/')
    site.ask('/counter/', 'POST')
    factors = site.ask('/factors/91/').body
    assert site.stop() == 0
    assert complaints(site) == []

    site = start_site()
    again = site.ask('/session/', cookie=session.cookie)
    assert again.json == {'visits': 2, 'started_by': session.pid}
    assert site.ask('/counter/').json == {'count': 1}
    assert site.ask('/factors/91/').body == factors


@pytest.mark.slow
def test_a_temporary_directory_goes_when_ctrl_c_ends_the_server(
    start_site: Callable[..., Site], tmp_path: Path
) -> None:
    site = start_site(CACHE_DIR='', TMPDIR=str(tmp_path))
    site.ask('/page/')
    assert site.directory.parent == tmp_path
    assert (site.directory / 'default').is_dir()
    assert site.stop(signal.SIGINT) == 0
    assert not site.directory.exists()
