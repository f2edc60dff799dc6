"""A Django site in gunicorn with several processes, its caches on servers, asked over HTTP."""

from __future__ import annotations

import http.client
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip('django')
pytest.importorskip('gunicorn')
pytest.importorskip('redis')

from places import PACKAGE
from servers import Server, free_port

SUPPORT = Path(__file__).resolve().parent.parent / 'support'
WORKERS = 2
PATIENCE = 30


@dataclass
class Answer:
    """What came back for a request."""

    status: int
    pid: int
    cookie: str
    text: str

    @property
    def json(self) -> Any:
        return json.loads(self.text)


class Site:
    """A running gunicorn."""

    def __init__(self, directory: Path, urls: dict[str, str]) -> None:
        self.port = free_port()
        self.log = directory / 'log'
        command = [
            *(sys.executable, '-m', 'gunicorn', 'served_site:application', '--preload'),
            *('--bind', f'127.0.0.1:{self.port}', '--workers', str(WORKERS)),
            '--no-control-socket',
        ]
        environment = {
            **os.environ,
            'PYTHONPATH': f'{PACKAGE}{os.pathsep}{SUPPORT}',
            'SITE_URLS': json.dumps(urls),
            'SITE_DATABASE': str(directory / 'database'),
        }
        with self.log.open('wb') as log:
            self.process = subprocess.Popen(
                command, env=environment, stdout=log, stderr=log, start_new_session=True
            )
        deadline = time.monotonic() + PATIENCE
        while True:
            try:
                self.ask('/count/')
                return
            except OSError:
                assert self.process.poll() is None, self.log.read_text()
                assert time.monotonic() < deadline
                time.sleep(0.05)

    def ask(self, path: str, cookie: str = '', method: str = 'GET') -> Answer:
        """Send a request, to whatever worker takes it."""
        connection = http.client.HTTPConnection('127.0.0.1', self.port, timeout=PATIENCE)
        try:
            connection.request(method, path, headers={'Cookie': cookie} if cookie else {})
            response = connection.getresponse()
            text = response.read().decode()
            set_cookie = response.headers.get('Set-Cookie', '').partition(';')[0]
            pid = int(response.headers.get('X-Served-By', 0))
            return Answer(response.status, pid, set_cookie or cookie, text)
        finally:
            connection.close()

    def ask_all(self, path: str, cookie: str = '') -> list[Answer]:
        """Ask until each worker has answered; return all answers."""
        answers: list[Answer] = []
        deadline = time.monotonic() + PATIENCE
        while len({answer.pid for answer in answers}) < WORKERS:
            assert time.monotonic() < deadline
            answers.append(self.ask(path, cookie))
        return answers

    def stop(self) -> None:
        """End all of it."""
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()


@pytest.fixture(scope='module')
def site(
    tmp_path_factory: pytest.TempPathFactory, lasting_server: Callable[[str], Server]
) -> Iterator[Site]:
    """A site with its pages on a Redis and its sessions on a Valkey."""
    urls = {'default': lasting_server('redis').url, 'sessions': lasting_server('valkey').url}
    site = Site(tmp_path_factory.mktemp('site'), urls)
    yield site
    site.stop()
    print(site.log.read_text())


def test_a_page_of_the_middleware_is_made_once_for_all_workers(site: Site) -> None:
    answers = site.ask_all('/page/')
    assert {answer.text for answer in answers} == {f'made by {answers[0].pid}'}
    assert {answer.status for answer in answers} == {200}


def test_a_fragment_is_made_once_for_each_name(site: Site) -> None:
    for name in ('Ada', 'Grace'):
        answers = site.ask_all(f'/fragment/?name={name}')
        assert {answer.text for answer in answers} == {str(answers[0].pid)}


def test_a_session_goes_on_in_every_worker(site: Site) -> None:
    first = site.ask('/session/')
    answers = site.ask_all('/session/', first.cookie)
    visits = [answer.json['visits'] for answer in answers]
    assert visits == list(range(2, len(answers) + 2))
    assert site.ask('/session/').json['visits'] == 1


def test_a_message_is_shown_once(site: Site) -> None:
    cookie = site.ask('/session/').cookie
    said = site.ask('/say/', cookie, 'POST')
    assert said.status == 302
    shown = [site.ask('/session/', cookie).json['messages'] for _ in range(3)]
    assert shown == [['saved'], [], []]


def test_all_workers_count_together(site: Site) -> None:
    answers = site.ask_all('/count/')
    counts = [answer.json['count'] for answer in answers]
    assert counts == list(range(counts[0], counts[0] + len(counts)))


def test_a_site_goes_on_when_its_servers_are_there_again(
    tmp_path: Path, start_server: Callable[..., Server]
) -> None:
    pages, sessions = start_server(), start_server()
    site = Site(tmp_path, {'default': pages.url, 'sessions': sessions.url})
    try:
        cookie = site.ask('/session/').cookie
        assert site.ask('/session/', cookie).json['visits'] == 2
        sessions.kill()
        # The database has the session; but it cannot be put into the cache again.
        assert site.ask('/session/', cookie).status == 500
        assert site.ask('/fragment/?name=b', cookie).status == 200
        sessions.start()
        assert site.ask('/session/', cookie).json['visits'] == 3
        pages.kill()
        pages.start()
        assert site.ask('/page/').status == 200
    finally:
        site.stop()
        print(site.log.read_text())
