"""Fixtures of the command line's tests."""

from __future__ import annotations

import contextlib
import io
import json
import os
import pty
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from command_line import command_of, environment, shown_on

import diskcache
from diskcache.cli import main

Done = subprocess.CompletedProcess


@pytest.fixture
def run(tmp_path: Path) -> Callable[..., Done[str]]:
    """A function that runs the command line in `tmp_path`; bytes with ``text=False``."""

    def run(*arguments: object, text: bool = True, **options: Any) -> Done[str]:
        options.setdefault('env', environment())
        if 'input' not in options:
            options.setdefault('stdin', subprocess.DEVNULL)
        return subprocess.run(
            command_of(*arguments), capture_output=True, text=text, cwd=tmp_path, **options
        )

    return run


@pytest.fixture
def call(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Done[Any]]:
    """A function that does what `run` does in this process: for tests of many commands."""

    def call(*arguments: object, text: bool = True, **options: Any) -> Done[Any]:
        monkeypatch.chdir(tmp_path)
        out, err = (
            io.TextIOWrapper(io.BytesIO(), 'utf-8', errors)
            for errors in ('strict', 'backslashreplace')
        )
        given = options.get('input', b'')
        monkeypatch.setattr(sys, 'stdin', io.TextIOWrapper(io.BytesIO(given), 'utf-8'))
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            try:
                status = main(list(map(str, arguments)))
            except SystemExit as error:
                status = int(str(error))
        written = []
        for each in (out, err):
            each.flush()
            data = each.buffer.getvalue()  # type: ignore[attr-defined]
            written.append(data.decode() if text else data)
        return Done(arguments, status, *written)

    return call


@pytest.fixture
def ask(call: Callable[..., Done[str]]) -> Callable[..., Any]:
    """A function that runs a command with ``--json``, which has to end well."""

    def ask(*arguments: object, status: int = 0) -> Any:
        done = call(*arguments, '--json')
        assert done.returncode == status, done
        return json.loads(done.stdout)

    return ask


@pytest.fixture
def on_terminal(tmp_path: Path) -> Callable[..., tuple[int, str]]:
    """A function that runs the command line on a terminal; returns the exit status and the text.

    `answer` is typed; when `until` is shown the command is interrupted.
    """

    def on_terminal(
        *arguments: object, answer: bytes = b'', until: bytes | None = None
    ) -> tuple[int, str]:
        controller, terminal = pty.openpty()
        process = subprocess.Popen(
            command_of(*arguments),
            stdin=terminal,
            stdout=terminal,
            stderr=terminal,
            cwd=tmp_path,
            env={**environment(), 'TERM': 'xterm', 'COLUMNS': '150', 'LINES': '50'},
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
        )
        os.close(terminal)
        os.write(controller, answer)
        shown = b''
        for shown in shown_on(controller):
            if until is not None and until in shown:
                process.send_signal(signal.SIGINT)
                until = None
        return process.wait(), shown.decode(errors='replace')

    return on_terminal


class Danger:
    """What makes a directory when it is unpickled."""

    path = ''

    def __init__(self, path: Path) -> None:
        self.path = str(path)

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (self.path,)


@pytest.fixture
def danger(tmp_path: Path) -> Any:
    """An object whose pickle makes a directory wherever it is loaded."""
    return Danger(tmp_path / 'loaded')


@pytest.fixture
def shards(directory: str) -> diskcache.FanoutCache:
    """A FanoutCache of eight shards in `directory`, with a Deque and an Index below it."""
    cache = diskcache.FanoutCache(directory, shards=8)
    for number in range(40):
        cache.set(f'key {number}', number, tag='even' if number % 2 == 0 else 'odd')
    cache.deque('queue').extend('abc')
    cache.index('of/names')['Ada'] = 1
    return cache
