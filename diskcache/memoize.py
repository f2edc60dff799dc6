"""memoize: keys for calls, and the decorators that keep results under them."""

from __future__ import annotations

import io
import pickle
import time
from collections.abc import Callable, Iterable

from . import _core
from ._core import args_to_key
from .cautions import hinted, warn, warn_once
from .constants import ENOVAL
from .disk import Disk, StoredKey
from .hints import TYPE_CHECKING, Any, Memoized, P, Protocol, R, cast
from .wrappers import memoized

if TYPE_CHECKING:
    import inspect


def full_name(func: Callable[..., Any]) -> str:
    """Return the full name of a function: its module and its qualified name.

    :param func: function or class
    :return: for example ``'package.module.Class.method'``
    """
    return f'{func.__module__}.{func.__qualname__}'


def name_of(func: Callable[..., Any]) -> str:
    try:
        return full_name(func)
    except AttributeError:  # a partial, or an object that can be called
        kind = type(func).__name__
        raise TypeError(f'a {kind!r} object has no name to make keys with: pass name=') from None


def is_real(value: object) -> bool:
    """Tell whether something is a real number, or a bool."""
    if isinstance(value, int | float):
        return True
    import numbers

    return isinstance(value, numbers.Real)


def checked_expire(expire: Any) -> None:
    if expire is not None and not is_real(expire):
        raise TypeError(f'expire must be a number of seconds, not {expire!r}')


class Store(Protocol):
    """What :meth:`Cache.memoize` needs, so that it can be FanoutCache's too."""

    @property
    def disk(self) -> Disk: ...

    @property
    def read_only(self) -> bool: ...

    def get(self, key: Any, default: Any = ..., *, retry: bool = ...) -> Any: ...

    def set(
        self, key: Any, value: Any, expire: float | None = ..., *, tag: Any = ..., retry: bool = ...
    ) -> Any: ...


def _bound_arguments(
    signature: inspect.Signature,
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    ignore: frozenset[Any],
) -> dict[str, Any]:
    """Return the arguments of a call by name, defaults included, in one form for each meaning.

    :param ignore: names and positions of parameters, or names of further keyword arguments, that
        do not count
    :raises TypeError: if the function cannot be called like this
    """
    bound = signature.bind(*args, **kwargs)
    bound.apply_defaults()
    named: dict[str, Any] = {}
    for index, (name, parameter) in enumerate(signature.parameters.items()):
        if index in ignore or name in ignore:
            continue
        value = bound.arguments[name]
        if parameter.kind is parameter.VAR_KEYWORD:
            value = tuple(sorted(item for item in value.items() if item[0] not in ignore))
        named[name] = value
    return named


#: Bytes of a pickle without memo references; beyond, the key is pickled as any other.
_LONGEST_PLAIN_PICKLE = 2**22


class _BoundedBytes(io.BytesIO):
    """Takes no more than so many bytes: what shares much is very long without references."""

    def write(self, data: Any, /) -> int:
        if self.tell() > _LONGEST_PLAIN_PICKLE:
            raise OverflowError
        return super().write(data)


def _by_value(disk: Disk, key: tuple[Any, ...]) -> tuple[Any, ...]:
    """Return a key that is stored as the same for equal parts, of which some may be one object.

    A pickle refers to an object that it has had before. Without that, two equal strings and one
    string twice are the same. What refers to itself cannot do without, and stays as it is.

    :param disk: the Disk that the key is for; one with a `put` of its own is left to it
    :param key: the key
    :return: the key itself if it is stored without references, or what it is to be stored as
    """
    if type(disk).put is not Disk.put or 'put' in disk.__dict__:
        return key
    protocol = disk.pickle_protocol
    if protocol is None:
        protocol = pickle.DEFAULT_PROTOCOL
    if _core._pickle_key(key, protocol) is not None:  # it has no object twice
        return key
    stream = _BoundedBytes()
    pickler = pickle.Pickler(stream, protocol)
    pickler.fast = True
    try:
        pickler.dump(key)
        pickled = _core._optimize_pickle(stream.getvalue())
        stored, _ = disk.put(key)
    except Exception:  # looking the key up raises it again, unless it is for want of references
        return key
    return key if stored == pickled else StoredKey((pickled, False))


def _signature(func: Callable[..., Any]) -> inspect.Signature:
    import inspect  # which takes as long to import as all the rest

    return inspect.signature(func)


def _ignored(ignore: int | str | Iterable[int | str]) -> frozenset[Any]:
    """Return a set of the positions and names given; a str is one name, and not its letters."""
    return frozenset((ignore,) if isinstance(ignore, int | str) else ignore)


def _check_ignored(func: Callable[..., Any], ignored: frozenset[Any]) -> None:
    """Warn of names that no argument of the function can have."""
    try:
        parameters = _signature(func).parameters.values()
    except (TypeError, ValueError):  # a builtin's may not be known
        return
    if any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters):
        return
    names = {parameter.name for parameter in parameters}
    for name in sorted(name for name in ignored if isinstance(name, str) and name not in names):
        warn(f'memoize: {full_name(func)} has no argument {name!r} that could be ignored')


#: The code of the lambdas that have been memoized under a name of their scope, by cache and name.
_lambdas: dict[tuple[str, str], Any] = {}


def _check_lambda(func: Callable[..., Any], name: str, directory: str) -> None:
    """Warn of a second lambda of a scope, which has the name of the first and so its results."""
    code = getattr(func, '__code__', None)
    if code is None or func.__name__ != '<lambda>':
        return
    if _lambdas.setdefault((directory, name), code) != code:
        warn_once(
            name, 'lambdas', f'{name}: two lambdas of one scope share their results, pass name='
        )


def memoizer(
    find_disk: Callable[[], Disk],
    name: str | None,
    typed: bool,
    ignore: Iterable[int | str],
    signature: bool,
    cache_if: Callable[[Any], object] | None,
    lookup: Callable[..., Any],
    store: Callable[[Any, Any, float], Any],
    cache_key: Callable[[str, tuple[Any, ...]], Any] | None = None,
    recall: Callable[..., Any] | None = None,
) -> Callable[[Callable[P, R]], Memoized[P, R]]:
    """Return the decorator of every `memoize`; for its parameters see :meth:`Cache.memoize`.

    :param find_disk: returns the Disk of the cache
    :param lookup: `lookup(key, func, args, kwargs)` returns the stored result, or ENOVAL
    :param store: `store(key, result, seconds)` stores what took so long to compute
    :param cache_key: makes the key in the cache of the name and what :func:`args_to_key` returns
    :param recall: `recall(wrapper, args, kwargs)` returns a result that `lookup` would return too,
        or ENOVAL
    :raises TypeError: if the decorator is used without parentheses
    """
    if callable(name):
        raise hinted(
            TypeError('name cannot be callable'), 'write @cache.memoize(), with parentheses'
        )
    if name is not None and not isinstance(name, str):
        warn(  # type: ignore[unreachable]
            f'memoize: the first argument is the name, {name!r}: is expire={name!r} meant?'
        )
    skipped = _ignored(ignore)

    def keep(key: Any, result: Any, start: float) -> None:
        seconds = time.perf_counter() - start
        if cache_if is None or cache_if(result):
            store(key, result, seconds)

    def decorator(func: Callable[P, R]) -> Memoized[P, R]:
        base = (name_of(func) if name is None else name,)
        if name is None:
            _check_lambda(func, base[0], getattr(find_disk(), '_directory', ''))
        if skipped:
            _check_ignored(func, skipped)
        disk = find_disk if signature else None
        __cache_key__ = _key_maker(func, base, typed, skipped, disk, cache_key)

        quick = recall if type(__cache_key__) is _core.CacheKey else None
        wrapper = memoized(func, __cache_key__, ENOVAL, lookup, keep, quick)
        return cast('Memoized[P, R]', wrapper)

    return decorator


def _key_maker(
    func: Callable[..., Any],
    base: tuple[Any, ...],
    typed: bool,
    ignore: frozenset[Any],
    find_disk: Callable[[], Disk] | None,
    cache_key: Callable[[str, tuple[Any, ...]], Any] | None,
) -> Callable[..., Any]:
    """Return the function that makes the cache key of a call, for `__cache_key__`.

    :param find_disk: for keys from the function's signature, or None
    """
    from_call = _core.CacheKey(base, typed, ignore)
    if find_disk is None and cache_key is None:
        return from_call
    parameters = _signature(func) if find_disk is not None else None

    def __cache_key__(*args: Any, **kwargs: Any) -> Any:
        """Return the cache key for these arguments."""
        if find_disk is None or parameters is None:
            key = from_call(*args, **kwargs)
        else:
            named = _bound_arguments(parameters, args, kwargs, ignore)
            key = _by_value(find_disk(), args_to_key(base, (), named, typed, ()))
        return key if cache_key is None else cache_key(base[0], key)

    return __cache_key__
