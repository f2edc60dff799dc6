"""The example that shows a near tier at work ends when it is told to, and its servers with it."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from places import PACKAGE, ROOT
from servers import require

pytest.importorskip('redis', reason='redis-py is not installed: pip install redis')
pytest.importorskip('rich', reason='rich is not installed: pip install rich')

pytestmark = pytest.mark.slow


@pytest.fixture
def demo(tmp_path: Path) -> Iterator[Any]:
    """A function that starts it, with arguments, in a process group of its own."""
    require('redis')
    started: list[subprocess.Popen[str]] = []

    def demo(*arguments: str) -> subprocess.Popen[str]:
        started.append(
            subprocess.Popen(
                [sys.executable, str(ROOT / 'examples' / 'remote_near.py'), *arguments],
                env={**os.environ, 'TMPDIR': str(tmp_path), 'PYTHONPATH': str(PACKAGE)},
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
                start_new_session=True,
            )
        )
        return started[-1]

    yield demo
    for process in started:
        process.kill()
        process.communicate()
    deadline = time.monotonic() + 30
    while servers_in(tmp_path) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not servers_in(tmp_path)


def servers_in(directory: Path) -> list[str]:
    """Return the processes that work in a directory below this."""
    found = []
    for process in Path('/proc').glob('[0-9]*'):
        with contextlib.suppress(OSError):
            if os.readlink(process / 'cwd').startswith(str(directory)):
                found.append(process.name)
    return found


def test_it_ends_after_some_seconds(demo: Any, tmp_path: Path) -> None:
    out, errors = demo('--seconds', '5').communicate(timeout=50)
    assert 'answered near' in out
    assert errors == ''
    assert list(tmp_path.iterdir()) == servers_in(tmp_path) == []


def test_it_ends_with_a_signal(demo: Any, tmp_path: Path) -> None:
    for send, number in ((os.killpg, signal.SIGINT), (os.kill, signal.SIGTERM)):
        process = demo()
        assert 'lookups/s' in process.stdout.readline()
        assert servers_in(tmp_path)
        send(process.pid, number)  # Ctrl-C is for all of them
        _, errors = process.communicate(timeout=50)
        assert (process.returncode, errors) == (0, '')
        assert list(tmp_path.iterdir()) == servers_in(tmp_path) == []


def test_its_servers_end_when_it_is_killed(demo: Any, tmp_path: Path) -> None:
    process = demo()
    assert 'lookups/s' in process.stdout.readline()
    process.kill()
