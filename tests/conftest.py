"""Fixtures of the whole suite."""

from __future__ import annotations

import gc
import os
import shlex
import signal
import sqlite3
import subprocess
import sysconfig
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from pathlib import Path

import pytest
from consistency import report_texts, stored_filenames, value_files, write_at_once
from interpreter import RUNNER, Clock, Interpreter
from places import PACKAGE, ROOT, SUPPORT

import diskcache

LONGEST_TEST = 600 if RUNNER else 60  # Seconds; a test that takes longer hangs. Emulators are slow.


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Let no test take longer than LONGEST_TEST, or than it says itself; pytest-timeout ends it."""
    for item in items:
        if item.get_closest_marker('timeout') is None:
            item.add_marker(pytest.mark.timeout(LONGEST_TEST))


def pytest_collection_finish() -> None:
    """Let the garbage collector pass over what the thousands of tests are made of."""
    gc.collect()
    gc.freeze()


@pytest.fixture
def directory(tmp_path: Path) -> str:
    """The path of a cache directory that does not exist yet."""
    return str(tmp_path / 'cache')


@pytest.fixture
def public_directory() -> Iterator[str]:
    """The same in a place where other users can pass through, as they cannot below `tmp_path`."""
    with tempfile.TemporaryDirectory() as parent:
        os.chmod(parent, 0o755)
        yield os.path.join(parent, 'cache')


@pytest.fixture
def cache(directory: str) -> Iterator[diskcache.Cache]:
    """A Cache with the default settings in `directory`."""
    with diskcache.Cache(directory) as cache:
        yield cache


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """The time as diskcache sees it, which stands still but for `clock.tick(seconds)`."""
    clock = Clock()
    monkeypatch.setattr(time, 'time', clock)
    return clock


@pytest.fixture(scope='session')
def original_package() -> Path:
    """The directory in which the original diskcache is installed."""
    path = Path(os.environ.get('DISKCACHE_ORIGINAL', ROOT / '.original'))
    if not (path / 'diskcache' / 'core.py').exists():
        complain = pytest.skip if 'DISKCACHE_WITHOUT_ORIGINAL' in os.environ else pytest.fail
        complain(
            f'the original diskcache is not installed in {path}: run `make test`, which installs'
            ' it, or set DISKCACHE_ORIGINAL to the directory that contains it'
        )
    return path


@pytest.fixture(scope='session')
def preload(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], dict[str, str]]:
    """A function that compiles a shim of support; returns the environment that preloads it."""
    directory = tmp_path_factory.mktemp('shims')

    def preload(source: str) -> dict[str, str]:
        shim = directory / f'{Path(source).stem}.so'
        if not shim.exists():
            compiler = shlex.split(sysconfig.get_config_var('CC'))
            path = SUPPORT / source
            subprocess.run([*compiler, '-shared', '-fPIC', '-o', shim, path, '-ldl'], check=True)
        return {'LD_PRELOAD': f'{os.environ.get("LD_PRELOAD", "")} {shim}'}

    return preload


@pytest.fixture(scope='session')
def start_interpreter() -> Iterator[Callable[[], Interpreter]]:
    """A function that starts one more process with this package; all end with the session."""
    started: list[Interpreter] = []

    def start() -> Interpreter:
        started.append(Interpreter(PACKAGE))
        return started[-1]

    yield start
    for interpreter in started:
        interpreter.close()


@pytest.fixture(scope='session')
def lasting_interpreter() -> Iterator[Callable[[str, Path], Interpreter]]:
    """A function that returns the process of a name, with the package of a directory.

    It lasts for the session, or until a test has killed it: then the next call starts another.
    """
    interpreters: dict[str, Interpreter] = {}

    def lasting(name: str, package: Path) -> Interpreter:
        if name not in interpreters or interpreters[name].process.poll() is not None:
            interpreters[name] = Interpreter(package)
        return interpreters[name]

    yield lasting
    for interpreter in interpreters.values():
        interpreter.close()


@pytest.fixture
def other(lasting_interpreter: Callable[[str, Path], Interpreter]) -> Interpreter:
    """Another process, with this package."""
    return lasting_interpreter('other', PACKAGE)


@pytest.fixture
def original(
    lasting_interpreter: Callable[[str, Path], Interpreter], original_package: Path
) -> Interpreter:
    """Another process, with the original package."""
    return lasting_interpreter('original', original_package)


@pytest.fixture
def crew(lasting_interpreter: Callable[[str, Path], Interpreter]) -> list[Interpreter]:
    """Four processes with this package."""
    return [lasting_interpreter(name, PACKAGE) for name in ('other', 'second', 'third', 'fourth')]


@pytest.fixture
def alone(start_interpreter: Callable[[], Interpreter]) -> Iterator[Interpreter]:
    """A process of this test's own, for signals, forks and limits of resources."""
    with start_interpreter() as interpreter:
        yield interpreter


@pytest.fixture
def locked(directory: str) -> Callable[..., AbstractContextManager[sqlite3.Connection]]:
    """A context in which another connection holds the write lock of `directory`."""

    @contextmanager
    def lock(statement: str = 'BEGIN IMMEDIATE') -> Iterator[sqlite3.Connection]:
        with closing(sqlite3.connect(f'{directory}/cache.db', isolation_level=None)) as con:
            con.execute(statement)
            yield con
            con.execute('ROLLBACK')

    return lock


@pytest.fixture
def interruptible() -> Iterator[None]:
    """SIGINT raises KeyboardInterrupt, also where a shell that starts the tests has it ignored."""
    previous = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, previous)


@pytest.fixture
def logged(caplog: pytest.LogCaptureFixture) -> Callable[[], list[str]]:
    """A function that returns what the loggers of `diskcache` have logged, and forgets it."""

    def logged() -> list[str]:
        records = caplog.record_tuples
        messages = [text for name, _, text in records if name.startswith('diskcache.')]
        caplog.clear()
        return messages

    return logged


@pytest.fixture
def assert_intact(other: Interpreter) -> Callable[[diskcache.Cache], None]:
    """The assertion that nothing of a cache is lost, locked or orphaned."""

    def assert_intact(cache: diskcache.Cache) -> None:
        assert other.run(write_at_once, directory=cache.directory)
        assert report_texts(cache) == []
        assert value_files(cache.directory) == stored_filenames(cache)

    return assert_intact
