"""Types that a program may let a SafeDisk load, and some that no program should."""

from __future__ import annotations

import dataclasses
import enum
import typing
from subprocess import Popen as Popen  # which a module has, and which is not its own


@dataclasses.dataclass
class Point:
    """An ordinary class."""

    x: int = 0
    y: int = 0


@dataclasses.dataclass
class Other:
    """Another one, which is not allowed unless it is said."""

    x: int = 0


class Colour(enum.Enum):
    """An enumeration."""

    RED = 1
    BLUE = 2


class Pair(typing.NamedTuple):
    """A tuple with names."""

    left: int
    right: int


class Outer:
    """Has a class inside."""

    class Inner:
        """Has a dotted name."""

        def __eq__(self, other: object) -> bool:
            return type(other) is type(self)

        __hash__ = None  # type: ignore[assignment]


class Items(list):  # type: ignore[type-arg]
    """A list of a program's own."""


class Called:
    """An object that can be called; what has been called it with is noted."""

    calls: typing.ClassVar[list[object]] = []

    def __call__(self, *args: object) -> Called:
        self.calls.append(args)
        return self


class Meta(type):
    """A type that makes types."""


def function(*args: object) -> None:
    """No type."""
    Called.calls.append(args)
