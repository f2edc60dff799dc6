"""Real servers and pools at work on the same caches, with processes that come and go.

Each forks, or starts, processes while the caches are in use (support/load_work.py), and replaces
them meanwhile. Afterwards each call has been counted once, and nothing is damaged. `make load` runs
these for longer (SECONDS=).
"""

from __future__ import annotations

import contextlib
import http.client
import importlib.util
import itertools
import os
import signal
import socket
import subprocess
import sys
import textwrap
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from consistency import report_texts
from places import PACKAGE, SUPPORT

import diskcache

SECONDS = float(os.environ.get('LOAD_SECONDS', 2))

# As `make load` and CI run it, with all servers installed. The minute that each test has is for two
# seconds of load.
pytestmark = [pytest.mark.stress, pytest.mark.timeout(58 + SECONDS)]

PATIENCE = 40  # Seconds after which a server that does not answer hangs.
CLIENTS = 6
CALLS = 300  # At least so many, so that workers are replaced.


def needs(module: str) -> pytest.MarkDecorator:
    """Skip a test where a program is not installed; `make load` installs all."""
    there = importlib.util.find_spec(module) is not None
    return pytest.mark.skipif(not there, reason=f'{module} is not installed; make load installs it')


class Load:
    """A directory with the caches, and the programs that use them."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.environment = {
            **os.environ,
            'LOAD_DIRECTORY': str(directory),
            'LOAD_THREAD': '1',
            'PYTHONPATH': os.pathsep.join((str(PACKAGE), str(SUPPORT))),
            'PYTHONFAULTHANDLER': '1',
        }

    @contextlib.contextmanager
    def program(
        self, *arguments: object, name: str = 'log', **environment: str
    ) -> Iterator[subprocess.Popen[str]]:
        """Run a program; all that it has started is killed in the end, and its log shown."""
        log = self.directory / name
        with log.open('w') as output:
            process = subprocess.Popen(
                [str(argument) for argument in arguments],
                env={**self.environment, **environment},
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                cwd=self.directory,
                text=True,
            )
        try:
            yield process
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            print(log.read_text()[-5000:])

    def script(self, source: str) -> str:
        """Run a script to its end; return what it has printed last."""
        path, log = self.directory / 'script.py', self.directory / 'script'
        path.write_text(textwrap.dedent(source))
        arguments = [sys.executable, path]
        with self.program(*arguments, name='script', LOAD_SECONDS=str(SECONDS)) as process:
            assert process.wait(SECONDS + PATIENCE) == 0, log.read_text()
        return log.read_text().splitlines()[-1]

    def serve(self, port: int, last: signal.Signals, *arguments: object) -> None:
        """Put a server with several workers to work on a port, and end it with a signal."""
        with self.program(*arguments) as process:
            calls, workers, parents = put_to_work(port, process)
            assert len(workers) > 2
            assert parents == {str(process.pid)}
            end(process, last)
        self.expect(calls)

    def expect(self, calls: int) -> None:
        """Assert that each call has been counted, and that nothing is damaged."""
        with diskcache.Cache(self.directory / 'cache') as cache:
            assert cache['count'] == calls > 0
            assert cache['first'] == cache['second']
            assert report_texts(cache) == []
        with diskcache.FanoutCache(self.directory / 'fanout', 2) as fanout:
            assert fanout['count'] == calls
            assert report_texts(fanout) == []
        items = diskcache.Deque(directory=self.directory / 'deque')
        assert len(items) == calls
        assert report_texts(items.cache) == []


@pytest.fixture
def load(tmp_path: Path) -> Load:
    """What a test needs."""
    return Load(tmp_path)


def free_port() -> int:
    """Return a port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(('127.0.0.1', 0))
        return int(probe.getsockname()[1])


def ask(port: int, number: int) -> tuple[str, str]:
    """Have a server work; return the process that has, and the one that loaded the application."""
    connection = http.client.HTTPConnection('127.0.0.1', port, timeout=PATIENCE)
    try:
        connection.request('GET', f'/{number}')
        answer = connection.getresponse()
        body = answer.read().decode()
    finally:
        connection.close()
    assert answer.status == 200, body
    worker, parent = body.split()
    return worker, parent


def put_to_work(port: int, process: subprocess.Popen[str]) -> tuple[int, set[str], set[str]]:
    """Ask a server for SECONDS; return how often, who worked, and who had loaded it."""
    deadline = time.monotonic() + PATIENCE
    while True:
        with contextlib.suppress(ConnectionRefusedError), socket.socket() as probe:
            probe.connect(('127.0.0.1', port))
            break
        assert process.poll() is None, 'the server has ended'
        assert time.monotonic() < deadline, 'the server does not start'
        time.sleep(0.05)
    numbers = itertools.count()
    answers: Counter[tuple[str, str]] = Counter()
    failures: list[BaseException] = []
    end = time.monotonic() + SECONDS

    def client() -> None:
        try:
            while not failures:
                number = next(numbers)
                if number >= CALLS and time.monotonic() >= end:
                    break
                answers[ask(port, number)] += 1
        except BaseException as error:
            failures.append(error)

    clients = [threading.Thread(target=client) for _ in range(CLIENTS)]
    for each in clients:
        each.start()
    for each in clients:
        each.join()
    assert failures == []
    return answers.total(), {worker for worker, _ in answers}, {parent for _, parent in answers}


def end(process: subprocess.Popen[str], sent: signal.Signals) -> None:
    """End a server as its users do."""
    process.send_signal(sent)
    assert process.wait(PATIENCE) == 0


# --- servers -------------------------------------------------------------------------------------


@needs('gunicorn')
@pytest.mark.parametrize(
    'kind', [('sync',), ('gthread', '--threads', '3'), ('gevent',)], ids=lambda kind: kind[0]
)
def test_gunicorn_that_loads_the_application_before_it_forks(load: Load, kind: tuple) -> None:
    """Workers end after some dozens of requests, so that it forks again and again."""
    if kind[0] == 'gevent':
        pytest.importorskip('gevent')
    port = free_port()
    arguments = ['--preload', '--workers', 3, '--bind', f'127.0.0.1:{port}']
    arguments += ['--worker-class', *kind, '--no-control-socket']
    arguments += ['--max-requests', 60, '--max-requests-jitter', 30]
    # On one processor its gevent workers wait for all of this time, whatever the application is.
    arguments += ['--graceful-timeout', 5]
    gunicorn = [sys.executable, '-m', 'gunicorn', *arguments, 'load_work:application']
    load.serve(port, signal.SIGTERM, *gunicorn)


@needs('pyuwsgi')
@pytest.mark.parametrize('threads', [1, 3])
def test_uwsgi_that_loads_the_application_before_it_forks(load: Load, threads: int) -> None:
    """Its master forks without the GIL: while a thread of the master's has it, a worker hangs."""
    del load.environment['LOAD_THREAD']
    port = free_port()
    arguments = ['--http-socket', f'127.0.0.1:{port}', '--master', '--processes', 3]
    arguments += ['--die-on-term', '--enable-threads', '--threads', threads]
    arguments += ['--max-requests', 60, '--min-worker-lifetime', 1, '--worker-reload-mercy', 5]
    arguments += ['--need-app', '--wsgi', 'load_work:application', '--disable-logging']
    arguments += ['--listen', 64, '--virtualenv', sys.prefix]
    uwsgi = Path(sys.executable).with_name('uwsgi')
    load.serve(port, signal.SIGINT, uwsgi, *arguments)


@needs('celery')
@pytest.mark.parametrize('pool', ['prefork', 'threads', 'gevent'])
def test_celery(load: Load, pool: str) -> None:
    """Tasks are acknowledged before they run; a child ends after some dozens of them.

    Few messages are waiting at a time: to take one, the worker looks through all.
    """
    if pool == 'gevent':
        pytest.importorskip('gevent')
    sender = f"""
        import os, time
        import load_work
        app = load_work.make_celery()
        end = time.monotonic() + {SECONDS}
        sent = 0
        while time.monotonic() < end or sent < 400:
            for number in range(sent, sent + 20):
                app.send_task('work', (number,))
            load_work.deliver()
            sent += 20
            while len(os.listdir(os.environ['LOAD_DIRECTORY'] + '/messages')) > 100:
                time.sleep(0.01)
        print(sent)
        """
    (load.directory / 'load_app.py').write_text('import load_work\napp = load_work.make_celery()\n')
    arguments = [
        '-A',
        'load_app',
        'worker',
        '--pool',
        pool,
        '--concurrency',
        3,
        '--loglevel',
        'error',
    ]
    arguments += ['--max-tasks-per-child', 50] if pool == 'prefork' else []
    arguments += ['--without-gossip', '--without-mingle', '--without-heartbeat']
    with load.program(sys.executable, '-m', 'celery', *arguments) as process:
        calls = int(load.script(sender))
        deadline = time.monotonic() + PATIENCE
        while len(done(load)) < calls:
            assert process.poll() is None, 'the worker has ended'
            assert time.monotonic() < deadline, f'{len(done(load))} of {calls} tasks are done'
            time.sleep(0.05)
        end(process, signal.SIGTERM)
    assert sorted(done(load)) == list(range(calls))
    if pool == 'prefork':
        assert len(list(load.directory.glob('done-*'))) > 3
    load.expect(calls)


def done(load: Load) -> list[int]:
    """Return the numbers of the tasks that have been done."""
    files = load.directory.glob('done-*')
    return [int(line) for file in files for line in file.read_text().split('\n')[:-1]]


# --- pools ---------------------------------------------------------------------------------------

POOLS = {
    'multiprocessing': """
        with multiprocessing.get_context(method).Pool(3, maxtasksperchild=40) as pool:
            while time.monotonic() < end or calls < 300:
                workers.update(pool.map(load_work.work, range(calls, calls + 60), chunksize=5))
                calls += 60
        """,
    'concurrent.futures': """
        while time.monotonic() < end or calls < 300:
            context = multiprocessing.get_context(method)
            with concurrent.futures.ProcessPoolExecutor(3, context) as pool:
                workers.update(pool.map(load_work.work, range(calls, calls + 120)))
            calls += 120
        """,
    'processes with threads': """
        while time.monotonic() < end or calls < 300:
            context = multiprocessing.get_context(method)
            starts = range(calls, calls + 120, 40)
            crew = [context.Process(target=work_in_threads, args=(first,)) for first in starts]
            for process in crew:
                process.start()
            for process in crew:
                process.join()
                assert process.exitcode == 0
                workers.add(process.pid)
            calls += 120
        """,
}


@pytest.mark.parametrize('method', ['fork', 'spawn', 'forkserver'])
@pytest.mark.parametrize('pool', POOLS.values(), ids=POOLS.keys())
def test_pools_and_processes(load: Load, pool: str, method: str) -> None:
    script = """
        import concurrent.futures, multiprocessing, os, sys, threading, time
        import load_work

        def work_in_threads(first):
            with concurrent.futures.ThreadPoolExecutor(4) as threads:
                list(threads.map(load_work.work, range(first, first + 40)))

        if __name__ == '__main__':
            method, calls, workers = 'METHOD', 0, set()
            end = time.monotonic() + float(os.environ['LOAD_SECONDS'])
            BODY
            assert os.getpid() not in workers and len(workers) > 2, workers
            print(calls)
        """
    body = textwrap.indent(textwrap.dedent(pool).strip(), ' ' * 4)
    source = textwrap.dedent(script).replace('METHOD', method).replace('    BODY', body)
    load.expect(int(load.script(source)))


@needs('gevent')
def test_greenlets_and_processes_of_gevent(load: Load) -> None:
    """Greenlets work in a parent and in the children that it forks meanwhile."""
    script = """
        import gevent.monkey
        gevent.monkey.patch_all()
        import gevent, os, time
        import load_work

        end, calls = time.monotonic() + float(os.environ['LOAD_SECONDS']), 0
        while time.monotonic() < end:
            first, calls = calls, calls + 120
            crew = [gevent.spawn(load_work.work, first + n) for n in range(40)]
            gevent.sleep(0)
            children = []
            for part in (40, 80):
                pid = gevent.os.fork()
                if pid == 0:
                    code = 1
                    try:
                        own = [gevent.spawn(load_work.work, first + part + n) for n in range(40)]
                        gevent.joinall(own, raise_error=True)
                        code = 0
                    finally:
                        os._exit(code)
                children.append(pid)
            gevent.joinall(crew, raise_error=True)
            for pid in children:
                assert gevent.os.waitpid(pid, 0)[1] == 0
        print(calls)
        """
    load.expect(int(load.script(script)))


@needs('trio')
def test_tasks_and_threads_of_trio(load: Load) -> None:
    """Tasks work by themselves and in threads, several processes of them."""
    script = """
        import multiprocessing, os, time
        import trio
        import load_work

        async def task(first):
            for number in range(first, first + 10):
                if number % 2:
                    load_work.work(number)
                    await trio.sleep(0)
                else:
                    await trio.to_thread.run_sync(load_work.work, number)

        async def main(first):
            async with trio.open_nursery() as nursery:
                for number in range(first, first + 60, 10):
                    nursery.start_soon(task, number)

        def run(first):
            trio.run(main, first)

        if __name__ == '__main__':
            context = multiprocessing.get_context('fork')
            end, calls = time.monotonic() + float(os.environ['LOAD_SECONDS']), 0
            while time.monotonic() < end:
                crew = [context.Process(target=run, args=(calls + 60 * n,)) for n in range(3)]
                for process in crew:
                    process.start()
                for process in crew:
                    process.join()
                    assert process.exitcode == 0
                calls += 180
            print(calls)
        """
    load.expect(int(load.script(script)))
