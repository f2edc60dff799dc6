"""Running something in another thread."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

from interpreter import PATIENCE


def in_thread(function: Callable[[], Any]) -> Any:
    """Run `function` in a thread that has ended on return; return its result or raise its error."""
    outcome: list[tuple[bool, Any]] = []

    def run() -> None:
        try:
            outcome.append((True, function()))
        except BaseException as error:
            outcome.append((False, error))

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(PATIENCE)
    assert not thread.is_alive(), 'the thread hangs'
    ((succeeded, result),) = outcome
    if not succeeded:
        raise result
    return result
