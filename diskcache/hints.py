"""The names of :mod:`typing` that annotations here are made of, without importing it.

To import typing takes as long as half of this package, and nothing here needs it to run. Type
checkers see the real names. Whoever asks for the annotations of this package while it runs, with
:func:`typing.get_type_hints`, gets `object` for Any and for what a variable stands for: to ask
whether something is an object, or Any, has the same answer.

`TYPE_CHECKING` is a name that type checkers know, wherever it is defined.
"""

TYPE_CHECKING = False

if TYPE_CHECKING:
    from typing import Any, BinaryIO, Literal, ParamSpec, Protocol, TypeVar, cast, overload
else:
    from io import BufferedIOBase as BinaryIO

    Any = Protocol = object

    def TypeVar(name, bound=object):
        """Return what a variable's value is an instance of."""
        return object

    def ParamSpec(name):
        """Return what stands for any parameters."""
        return ...

    class Literal:
        """Stands for what is one of some values."""

        def __class_getitem__(cls, values):
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
    'Literal',
    'ParamSpec',
    'Protocol',
    'TypeVar',
    'cast',
    'overload',
]
