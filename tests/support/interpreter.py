"""A second Python interpreter that runs scripts against the diskcache of one's choice.

This package and the original cannot be imported into one process: they share a name. So what
is to be compared, or is to happen in another process, is sent to an `Interpreter`, which stays
alive between requests (starting Python costs more than most tests) and answers in order.

A request is a script (source text) or a function, of which the source is sent: it must not
refer to anything but its arguments, the modules in `NAMES` and `Child`.

* `run` gives what the script's last expression, or the function, returned;
* `transcript` gives one line of text for each statement of a script: what an expression
  returned, or what was raised. `time.time` stands still meanwhile but for `clock.tick`, and
  what is random (directories, names of value files) is replaced, so that the transcripts of
  two packages can be compared as they are.

The file is both sides of the conversation; as a program it is the interpreter that answers.
"""

from __future__ import annotations

import ast
import contextlib
import io
import json
import math
import os
import pickle
import queue
import re
import signal
import sqlite3
import subprocess
import sys
import textwrap
import threading
import time
import traceback
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

#: What starts a Python that this machine cannot start by its path alone: an emulator, say.
RUNNER = os.environ.get('DISKCACHE_RUNNER', '').split()
PATIENCE = 500 if RUNNER else 50  # Seconds after which an answer is held to be never coming.
NAMES = (contextlib, io, json, math, os, pickle, signal, sqlite3, sys, threading, time, warnings)

Script = str | Callable[..., Any]


class Interpreter:
    """A running interpreter that imports diskcache from `package`."""

    def __init__(self, package: Path) -> None:
        """Start it; `package` is the directory that contains the package `diskcache`."""
        self.process = subprocess.Popen(
            [*RUNNER, sys.executable, __file__],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, 'PYTHONPATH': str(package)},
            start_new_session=True,
        )
        self._answers: queue.Queue[tuple[bool, Any] | None] = queue.Queue()
        self._awaited = 0
        threading.Thread(target=self._listen, daemon=True).start()
        imported = Path(self.run('diskcache.__file__')).parent.parent
        assert imported.samefile(package), f'{imported} was imported instead of {package}'

    def _listen(self) -> None:
        """Queue each answer, and None when the interpreter has ended."""
        try:
            while True:
                self._answers.put(pickle.load(self.process.stdout))
        except (EOFError, ValueError, OSError, pickle.UnpicklingError):
            self._answers.put(None)

    def start(self, script: Script, /, **names: Any) -> None:
        """Begin to run `script` with `names` defined; `result` waits for it."""
        self._request('run', script, names)

    def result(self) -> Any:
        """Return what the script last started returned; AssertionError if it failed."""
        succeeded, value = self._take_answer()
        assert succeeded, value
        return value

    def _take_answer(self) -> tuple[bool, Any]:
        try:
            answer = self._answers.get(timeout=PATIENCE)
        except queue.Empty:
            self.kill()
            raise AssertionError('the other process hangs') from None
        except BaseException:
            self.kill()  # Or the answer would be taken for that to the next request.
            raise
        self._awaited -= 1
        assert answer is not None, f'the other process ended: {self.process.wait()}'
        return answer

    def has_answered(self) -> bool:
        """Tell whether `result` would return at once."""
        return not self._answers.empty()

    def run(self, script: Script, /, **names: Any) -> Any:
        """Run `script` with `names` defined and return its value."""
        self.start(script, **names)
        return self.result()

    def transcript(self, script: str, /, **names: Any) -> list[str]:
        """Run `script` under a stopped clock and return a line for each outcome."""
        self._request('transcript', script, names)
        return self.result()

    def _request(self, kind: str, script: Script, names: dict[str, Any]) -> None:
        while self._awaited > 0:  # By a test that failed before it took the answer.
            self._take_answer()
        if callable(script):
            import inspect  # Not by the other process, which never needs it: it loads much.

            source = textwrap.dedent(inspect.getsource(script))
            script = f'{source}\n{script.__name__}(**{names!r})'
        pickle.dump((kind, textwrap.dedent(script), names), self.process.stdin)
        self.process.stdin.flush()
        self._awaited += 1

    def kill(self) -> None:
        """Kill the interpreter and the processes it has forked, whatever they are doing."""
        if self.process.returncode is None:  # Not waited for, so its id is still its own.
            if hasattr(os, 'killpg'):
                os.killpg(self.process.pid, signal.SIGKILL)
            else:
                self.process.kill()
        self.process.wait()

    def close(self) -> None:
        """End the interpreter; what it still runs is cut short."""
        self.kill()
        self.process.stdin.close()

    def __enter__(self) -> Interpreter:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class Child:
    """A forked child of this process that runs `function` and reports what it returned."""

    def __init__(self, function: Callable[..., Any], *args: Any) -> None:
        self._reader, writer = os.pipe()
        self.pid = os.fork()
        if self.pid == 0:
            try:
                answer = True, function(*args)
            except BaseException:
                answer = False, traceback.format_exc()
            try:
                os.close(self._reader)
                with os.fdopen(writer, 'wb') as stream:
                    pickle.dump(answer, stream)
            finally:
                os._exit(0)
        os.close(writer)

    def result(self) -> Any:
        """Wait for the child's end; return its answer; AssertionError if it failed."""
        with os.fdopen(self._reader, 'rb') as stream:
            answer = stream.read()
        _, status = os.waitpid(self.pid, 0)
        assert answer, f'the child died: {status}'
        succeeded, value = pickle.loads(answer)
        assert succeeded, value
        return value


class Clock:
    """A stand-in for `time.time` that moves only when told to."""

    def __init__(self) -> None:
        self.now = 1_700_000_000.0

    def __call__(self) -> float:
        return self.now

    def tick(self, seconds: float) -> None:
        """Let `seconds` pass."""
        self.now += seconds


def serve(requests: io.BufferedReader, answers: io.BufferedWriter) -> None:
    """Answer requests until there are no more."""
    real_time = time.time
    while True:
        try:
            kind, script, names = pickle.load(requests)
        except EOFError:
            return
        namespace = prepare_namespace(names)
        perform = transcribe if kind == 'transcript' else evaluate
        try:
            answer = pickle.dumps((True, perform(script, namespace)))
        except BaseException:
            answer = pickle.dumps((False, f'{script}\n\n{traceback.format_exc()}'))
        finally:
            time.time = real_time
        answers.write(answer)
        answers.flush()


def prepare_namespace(names: dict[str, Any]) -> dict[str, Any]:
    """Return what a script finds defined."""
    import diskcache

    namespace: dict[str, Any] = {'__name__': '__main__', 'diskcache': diskcache, 'Child': Child}
    namespace.update((name, getattr(diskcache, name)) for name in ('Cache', 'Disk', 'JSONDisk'))
    namespace.update((module.__name__, module) for module in NAMES)
    namespace['sqlite3'] = sqlite3  # Which may be pysqlite3.
    namespace.update(names)
    return namespace


def evaluate(script: str, namespace: dict[str, Any]) -> Any:
    """Run `script`; return the value of its last statement if that is an expression."""
    *statements, last = ast.parse(script).body
    exec(compile(ast.Module(statements, []), 'script', 'exec'), namespace)
    if isinstance(last, ast.Expr):
        return eval(compile(ast.Expression(last.value), 'script', 'eval'), namespace)
    exec(compile(ast.Module([last], []), 'script', 'exec'), namespace)
    return None


def transcribe(script: str, namespace: dict[str, Any]) -> list[str]:
    """Run `script`; return, for each statement that has an outcome, the line that tells it."""
    lines = []
    clock = namespace['clock'] = Clock()
    time.time = clock
    try:
        for statement in ast.parse(script).body:
            try:
                value = evaluate(ast.unparse(statement), namespace)
            except Exception as error:
                outcome = f'raised {describe_error(error)}'
            else:
                if not isinstance(statement, ast.Expr):
                    continue
                outcome = f'-> {describe(value)}'
            line = f'{ast.unparse(statement)} {outcome}'
            line = line.replace(str(namespace.get('directory', '\0')), '<directory>')
            lines.append(re.sub(r'[0-9a-f]{2}/[0-9a-f]{2}/[0-9a-f]{28}\.val', '<file>', line))
    finally:
        for cache in namespace.values():
            if isinstance(cache, namespace['Cache']):
                cache.close()
    return lines


def describe(value: Any) -> str:
    """Return a text that is the same for equal values of the same types."""
    if hasattr(value, 'read'):
        with value:
            return f'file with {value.read()!r}'
    if isinstance(value, list) and any(isinstance(item, warnings.WarningMessage) for item in value):
        return repr(sorted(f'{item.category.__name__}: {item.message}' for item in value))
    return repr(value)


def describe_error(error: Exception) -> str:
    """Return the class of `error`, and its arguments where they are part of the interface."""
    shown = isinstance(error, KeyError) or type(error).__name__ == 'Timeout'
    return f'{type(error).__name__}{error.args}' if shown else type(error).__name__


if __name__ == '__main__':
    own_output = os.fdopen(os.dup(1), 'wb')
    os.dup2(2, 1)  # What a script prints must not get among the answers.
    serve(sys.stdin.buffer, own_output)


def at_once(crew: list[Interpreter], script: str, **names: object) -> list[Any]:
    """Run `script` in all of `crew` at the same time; `number` tells each which one it is."""
    for number, interpreter in enumerate(crew):
        interpreter.start(script, number=number, **names)
    return [interpreter.result() for interpreter in crew]
