"""What the logger `diskcache` says, in a process that has no pytest."""

from __future__ import annotations

import logging


def listen() -> list[str]:
    """Return a list that gets each message from now on."""
    messages: list[str] = []

    class Handler(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            messages.append(record.getMessage())

    logging.getLogger('diskcache').addHandler(Handler())
    return messages
