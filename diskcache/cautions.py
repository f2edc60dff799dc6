"""Warnings of what is taken as it is, and is probably not what was meant."""

from __future__ import annotations

import functools as ft
import os.path as op
import sys
import types
import warnings
from collections.abc import Callable

from .hints import E, P, R


class CacheWarning(UserWarning):
    """Something that is taken as it is, and is probably not what was meant."""


class UnknownFileWarning(UserWarning):
    """Reported by :meth:`Cache.check` for a file that no item refers to."""


class EmptyDirWarning(UserWarning):
    """Reported by :meth:`Cache.check` for a directory with nothing in it."""


class UnloadableWarning(UserWarning):
    """Pickles need a class or a module that this program has not got."""


#: What has been warned of once: subjects and kinds.
_warned: set[tuple[str, str]] = set()


def warn(text: str) -> None:
    """Warn the line outside of this package that led here."""
    _, level = _outside()
    warnings.warn(text, CacheWarning, level)


def _outside() -> tuple[types.FrameType, int]:
    """Return the line outside of this package that led here, and its level for who asks."""
    package = op.join(op.dirname(__file__), '')
    level = 1
    frame = sys._getframe(1)
    while frame.f_back is not None and frame.f_code.co_filename.startswith(package):
        frame = frame.f_back
        level += 1
    return frame, level


def recorded(message: Warning) -> warnings.WarningMessage:
    """Return a warning of the line outside of this package that led here, as if recorded.

    It is not issued: that would go by the filters, which belong to all threads.
    """
    frame, _ = _outside()
    return warnings.WarningMessage(message, type(message), frame.f_code.co_filename, frame.f_lineno)


def warn_once(subject: str, kind: str, text: str) -> None:
    """Warn of something, once in a process.

    :param subject: what it is about, the path of a directory for instance
    :param kind: what about it; of each kind it is warned of once
    :param text: the warning
    """
    if (subject, kind) in _warned:
        return
    _warned.add((subject, kind))
    try:
        warn(text)
    except BaseException:  # an error, by the user's filter: the next attempt is one too
        _warned.discard((subject, kind))
        raise


def hinted(error: E, hint: str) -> E:
    """Return an error whose message is the original's, with what can be done about it beside.

    As its cause and not as a note, which doctest takes for a part of the message.
    """
    error.__cause__ = type(error)(hint)
    return error


def hint_at_expire(function: Callable[P, R]) -> Callable[P, R]:
    """Decorate a function that takes `expire`: say so to those who call it `ttl`, as others do.

    The core has it in its parser of arguments.
    """

    @ft.wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        if 'ttl' in kwargs:
            name = function.__qualname__
            raise TypeError(
                f"{name}() got an unexpected keyword argument 'ttl': is 'expire' meant?"
            )
        return function(*args, **kwargs)

    return call
