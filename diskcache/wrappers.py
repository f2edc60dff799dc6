"""The functions that take a decorated function's place.

They have a module of their own for those who pickle functions by value, as dill and cloudpickle
do for the functions of a script. A wrapper has the module's name of the function that it wraps, so
dill takes everything in the module below for that function's, and pickles it along: so there is
nothing here that cannot be pickled.
"""

from __future__ import annotations

import functools as ft
import time
from collections.abc import Callable
from contextlib import AbstractContextManager

from .hints import Any

__all__ = ['guarded', 'is_coroutine_function', 'memoized', 'throttled']


def is_coroutine_function(func: Callable[..., Any]) -> bool:
    """Tell whether calling a function gives a coroutine."""
    import inspect  # which takes as long to import as all the rest

    return inspect.iscoroutinefunction(func)


def memoized(
    func: Callable[..., Any],
    cache_key: Callable[..., Any],
    absent: object,
    lookup: Callable[..., Any],
    keep: Callable[[Any, Any, float], object],
    recall: Callable[[Any, tuple[Any, ...], dict[str, Any]], Any] | None = None,
) -> Callable[..., Any]:
    """Return the wrapper of every `memoize`.

    :param func: the function; if it is a coroutine function, so is the wrapper
    :param cache_key: makes keys of arguments; the wrapper's attribute `__cache_key__`
    :param absent: what `lookup` returns if there is no result
    :param lookup: called with the key, the function, its arguments and its keyword arguments
    :param keep: called with the key, a new result and the time when it was begun to be computed
    :param recall: called with the wrapper, its arguments and its keyword arguments: returns a
        result that is to be had without making the key, or `absent`
    """

    def wrapper(*args: Any, **kwargs: Any) -> Any:
        if recall is not None:
            result = recall(itself, args, kwargs)
            if result is not absent:
                return result
        key = itself.__cache_key__(*args, **kwargs)
        result = lookup(key, func, args, kwargs)
        if result is absent:
            start = time.perf_counter()
            result = func(*args, **kwargs)
            keep(key, result, start)
        return result

    async def coroutine_wrapper(*args: Any, **kwargs: Any) -> Any:
        if recall is not None:
            result = recall(itself, args, kwargs)
            if result is not absent:
                return result
        key = itself.__cache_key__(*args, **kwargs)
        result = lookup(key, func, args, kwargs)
        if result is absent:
            start = time.perf_counter()
            result = await func(*args, **kwargs)
            keep(key, result, start)
        return result

    chosen = coroutine_wrapper if is_coroutine_function(func) else wrapper
    itself: Any = ft.wraps(func)(chosen)
    itself.__cache_key__ = cache_key
    return itself  # type: ignore[no-any-return]


def throttled(
    func: Callable[..., Any], take: Callable[[], float], sleep: Callable[[float], Any]
) -> Callable[..., Any]:
    """Return a function that sleeps for as long as `take` says before it calls `func`."""

    @ft.wraps(func)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        while delay := take():
            sleep(delay)
        return func(*args, **kwargs)

    return wrapper


def guarded(func: Callable[..., Any], lock: AbstractContextManager[Any]) -> Callable[..., Any]:
    """Return a function that calls `func` while it holds a lock."""

    @ft.wraps(func)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        with lock:
            return func(*args, **kwargs)

    return wrapper
