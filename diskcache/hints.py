"""The names of :mod:`typing` that annotations here are made of, without importing it.

To import typing takes as long as half of this package, and nothing here needs it to run. Type
checkers see the real names, and the type variables of typing.py. Whoever asks for the annotations
of this package while it runs, with :func:`typing.get_type_hints`, gets `object` for Any and for
what a variable stands for: to ask whether something is an object, or Any, has the same answer.

`TYPE_CHECKING` is a name that type checkers know, wherever it is defined.
"""

TYPE_CHECKING = False

if TYPE_CHECKING:
    from typing import (
        Any,
        BinaryIO,
        ClassVar,
        Generic,
        Literal,
        Protocol,
        TypeAlias,
        TypeVar,
        cast,
        overload,
    )

    from typing_extensions import Self, Unpack

    from .typing import (
        D,
        E,
        Items,
        K,
        LockFactory,
        Memoized,
        MemoryStats,
        N,
        P,
        Path,
        R,
        Readable,
        Settings,
        Side,
        T,
        Tag,
        V,
    )
else:
    from io import BufferedIOBase as BinaryIO
    from types import GenericAlias

    Any = LockFactory = MemoryStats = Path = Protocol = Readable = Settings = Side = Tag = object
    D = E = K = TypeAlias = N = R = Self = T = V = object
    P = ...

    class Generic:
        """Base of a class that can be subscripted with types: ``Cache[str, int]``.

        What that gives can be called and derived from, as ``list[int]`` can. It is no other class.
        """

        __class_getitem__ = classmethod(GenericAlias)

    class ClassVar:
        """Stands for anything, whatever it is subscripted with."""

        def __class_getitem__(cls, types):
            return object

    Items = Literal = Memoized = Unpack = ClassVar

    def TypeVar(name, bound=object):
        """Return what a variable's value is an instance of."""
        return object

    def cast(type_, value):
        """Return the value."""
        return value

    def overload(function):
        """Return the function, which only type checkers look at."""
        return function


__all__ = [
    'TYPE_CHECKING',
    'Any',
    'BinaryIO',
    'ClassVar',
    'D',
    'E',
    'Generic',
    'Items',
    'K',
    'Literal',
    'LockFactory',
    'Memoized',
    'MemoryStats',
    'N',
    'P',
    'Path',
    'Protocol',
    'R',
    'Readable',
    'Self',
    'Settings',
    'Side',
    'T',
    'Tag',
    'TypeAlias',
    'TypeVar',
    'Unpack',
    'V',
    'cast',
    'overload',
]
