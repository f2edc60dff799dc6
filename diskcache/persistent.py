"""Facade: the names of the original's module of this name, wherever they are defined here."""

# ruff: noqa: F401
import operator as op
from collections import OrderedDict
from collections.abc import MutableMapping, Sequence
from contextlib import contextmanager

from .cache import Cache
from .constants import ENOVAL
from .deque import Deque, _make_compare
from .hints import TYPE_CHECKING, ClassVar
from .index import Index, KeysView
from .views import ItemsView, ValuesView

__all__ = ['ENOVAL', 'Cache', 'Deque', 'Index', 'ItemsView', 'KeysView', 'ValuesView']


if not TYPE_CHECKING:  # it would let any name pass

    def __getattr__(name: str) -> object:
        """Return what the original's module also has, and takes long to import."""
        if name == 'rmtree':
            from shutil import rmtree

            return rmtree
        raise AttributeError(f'module {__name__!r} has no attribute {name!r}')


# In pickles and reprs they have the original's names, so that either library reads the other's.
for _public in (Deque, Index, KeysView, _make_compare):
    _public.__module__ = __name__
    # Of the other file. CPython 3.13 looks for the text of a class there, and not for its name.
    if '__firstlineno__' in vars(_public):
        del _public.__firstlineno__  # type: ignore[union-attr]
