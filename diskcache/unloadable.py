"""What cannot be loaded: which exceptions say so, and what is logged of it.

To load a value is to run code: of pickle, of the classes in it and the modules that those need, of
a Disk. No list of what that may raise is complete. So any error counts but for those that are not
about the value: memory or stack that are used up, the operating system, a lock, and what a signal
handler has raised, which only happened to come in that moment. What is no Exception, such as
KeyboardInterrupt, never counts.
"""

from __future__ import annotations

import sys
from types import TracebackType

from ._core import READING_NOTE, Timeout
from .log import log_few

#: How the log calls it.
_GROUP = 'what cannot be loaded counts as missing, and stays'

_NOT_OF_THE_VALUE = (MemoryError, RecursionError, OSError, Timeout)


def passes_over(directory: str, error: Exception) -> bool:
    """Tell whether an error is one of loading a key or a value; then it is logged.

    :param directory: of the cache
    :param error: from whatever has loaded it; a note says which key it is
    """
    notes: list[str] = getattr(error, '__notes__', [])
    note = next((each for each in notes if each.startswith(READING_NOTE)), None)
    if note is None or isinstance(error, _NOT_OF_THE_VALUE) or _is_of_a_signal(error.__traceback__):
        return False
    log_few(
        'unloadable',
        directory,
        _GROUP,
        note,
        _GROUP + ': %s: %r',
        note.removeprefix('diskcache: '),
        error,
    )
    return True


def note_reading(error: Exception, what: str) -> None:
    """Note in an error from loading a key or a value which it is, as the native core does."""
    notes = [*getattr(error, '__notes__', ()), f'{READING_NOTE}{what}']
    error.__notes__ = notes  # type: ignore[attr-defined]


def _is_of_a_signal(traceback: TracebackType | None) -> bool:
    """Tell whether a traceback leads through the handler of a signal."""
    signal = sys.modules.get('signal')
    if signal is None:  # a program that has handlers has imported it
        return False
    handlers = {
        getattr(signal.getsignal(number), '__code__', None) for number in signal.valid_signals()
    }
    while traceback is not None:
        if traceback.tb_frame.f_code in handlers:
            return True
        traceback = traceback.tb_next
    return False
