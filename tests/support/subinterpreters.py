"""Interpreters of this process, each with a GIL of its own.

The module that makes them is private in each Python so far.
"""

from __future__ import annotations

import sys
import textwrap
import threading
from typing import Any

try:
    import _interpreters as interpreters
except ImportError:
    import _xxsubinterpreters as interpreters


def create() -> Any:
    """Return a new interpreter with a GIL of its own."""
    if sys.version_info >= (3, 13):
        return interpreters.create('isolated')
    return interpreters.create(isolated=True)


def destroy(interpreter: Any) -> None:
    """End an interpreter."""
    interpreters.destroy(interpreter)


def run(interpreter: Any, script: str, **names: object) -> None:
    """Run `script` there with `names` and `diskcache` defined; AssertionError if it fails."""
    lines = [f'import sys; sys.path[:] = {sys.path!r}', 'import diskcache']
    lines += [f'{name} = {value!r}' for name, value in names.items()]
    failure = interpreters.run_string(interpreter, '\n'.join([*lines, textwrap.dedent(script)]))
    assert not failure, failure


def at_once(count: int, script: str, **names: object) -> None:
    """Run `script` in `count` new interpreters at once, in a thread each, with its `number`."""
    failures: list[BaseException] = []
    start = threading.Barrier(count)

    def work(number: int) -> None:
        interpreter = create()
        try:
            start.wait()
            run(interpreter, script, number=number, **names)
        except BaseException as failure:
            failures.append(failure)
        finally:
            destroy(interpreter)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures, failures
