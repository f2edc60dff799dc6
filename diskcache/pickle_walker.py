"""Following a pickle without loading it.

To load one is to call what it names, whatever that is.
"""

from __future__ import annotations

import _compat_pickle
import functools as ft
import importlib.machinery
import importlib.util
import inspect
import pickle
import sys
import types
from typing import Any

#: How many bytes of a pickle are followed; of a longer one the beginning, where its classes are.
_WALKED_BYTES = 2**20


class _Everything(type):
    """What takes every place that an object of a class has in a pickle.

    It is a class, because some opcodes want one; it is the same whatever is made of it, called with
    it, or put into it.
    """

    def __setitem__(cls, key: object, value: object) -> None:
        """Forget an item."""


class _Anything(metaclass=_Everything):
    """The only one of these."""

    def __new__(cls, *args: object, **kwargs: object) -> Any:
        """Make nothing of the arguments."""
        return cls

    @staticmethod
    def _ignore(*args: object) -> None:
        """Take what is put into an object."""

    append = extend = add = __setstate__ = _ignore


class _Prefix:
    """The beginning of a file, for an unpickler."""

    def __init__(self, file: Any, size: int) -> None:
        self._file = file
        self._left = size

    def read(self, size: int = -1) -> bytes:
        """Read no further than the end of the beginning."""
        data: bytes = self._file.read(min(size, self._left) if size >= 0 else self._left)
        self._left -= len(data)
        return data

    def readline(self) -> bytes:
        """Read a line as far as it is there."""
        data: bytes = self._file.readline(self._left)
        self._left -= len(data)
        return data


class Walker(pickle.Unpickler):
    """Follows a pickle without loading it.

    To load one is to call what it names, whatever that is, and a check is for directories that one
    does not trust. So a stand-in takes the place of everything that is named. Of the name it is
    seen whether it is there, without importing anything: in a module that has not been imported yet
    any name may be.

    It costs what unpickling costs, up to a limit for large ones.
    """

    def __init__(self, file: Any, size: int, gone: set[str]) -> None:
        self._whole = size <= _WALKED_BYTES
        super().__init__(file if self._whole else _Prefix(file, _WALKED_BYTES))
        self._names_gone = gone

    def find_class(self, module: str, name: str) -> Any:
        """Return the stand-in."""
        missing = _missing(module, name)
        if missing is not None:
            self._names_gone.add(missing)
        return _Anything

    def walk(self) -> str | None:
        """Return what is wrong with the pickle, if that is certain."""
        try:
            self.load()
        except TypeError:  # of the stand-in perhaps
            return None
        except Exception as error:  # an unpickler meets all kinds in what is damaged
            return f'{type(error).__name__}: {error}' if self._whole else None
        return None


@ft.lru_cache(maxsize=2**10)
def _old_name(module: str, name: str) -> tuple[str, str]:
    """Return what a name of Python 2 is now, as old protocols have it."""
    found: tuple[str, str] = _compat_pickle.NAME_MAPPING.get(
        (module, name), (_compat_pickle.IMPORT_MAPPING.get(module, module), name)
    )
    return found


def _missing(module: str, name: str) -> str | None:
    """Return the full name of what a pickle names if it is not there, nor what Python 2 meant."""
    if _is_there(module, name) or _is_there(*_old_name(module, name)):
        return None
    return f'{module}.{name}'


def _is_there(module: str, name: str) -> bool:
    """Tell whether a module has, or may have, an attribute."""
    found: Any = sys.modules.get(module)
    if found is None:
        return _has_module(module)
    for part in name.split('.'):
        try:
            found = inspect.getattr_static(found, part)
        except AttributeError:
            return isinstance(found, types.ModuleType) and _has_own_lookup(found)
    return True


def _has_own_lookup(module: types.ModuleType) -> bool:
    """Tell whether a module makes attributes when they are asked for."""
    return type(module) is not types.ModuleType or '__getattr__' in vars(module)


def _has_module(name: str) -> bool:
    """Tell whether a module can be found; nothing is imported for that."""
    top, *parts = name.split('.')
    try:
        spec = importlib.util.find_spec(top)
        for part in parts:
            if spec is None or spec.submodule_search_locations is None:
                return False
            top = f'{top}.{part}'
            spec = importlib.machinery.PathFinder.find_spec(top, spec.submodule_search_locations)
    except (ImportError, ValueError, AttributeError):
        return False
    return spec is not None
