"""The names of :mod:`typing` that annotations here are made of, without importing it.

To import typing takes as long as half of this package, and nothing here needs it to run. Type
checkers see the real names. Whoever asks for the annotations of this package while it runs, with
:func:`typing.get_type_hints`, gets `object` for Any and for what a variable stands for: to ask
whether something is an object, or Any, has the same answer.

`TYPE_CHECKING` is a name that type checkers know, wherever it is defined.
"""

TYPE_CHECKING = False

if TYPE_CHECKING:
    from typing import Any, BinaryIO, ParamSpec, Protocol, TypeVar, cast
else:
    from io import BufferedIOBase as BinaryIO

    Any = Protocol = object

    def TypeVar(name, bound=object):
        """Return what a variable's value is an instance of."""
        return object

    def ParamSpec(name):
        """Return what stands for any parameters."""
        return ...

    def cast(type_, value):
        """Return the value."""
        return value


__all__ = ['TYPE_CHECKING', 'Any', 'BinaryIO', 'ParamSpec', 'Protocol', 'TypeVar', 'cast']
