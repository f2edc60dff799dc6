"""Constants: what marks a missing value, or one that stays, and how a value is stored."""

from __future__ import annotations

from ._core import DATABASE_NAME as DBNAME
from ._core import MODE_BINARY, MODE_NONE, MODE_PICKLE, MODE_RAW, MODE_TEXT
from .hints import Any

__all__ = [
    'DBNAME',
    'ENOVAL',
    'KEEP',
    'MODE_BINARY',
    'MODE_NONE',
    'MODE_PICKLE',
    'MODE_RAW',
    'MODE_TEXT',
    'UNKNOWN',
    'Constant',
]


class Constant(tuple[str]):
    """A named constant, of which there is one in a process, also after copying and pickling.

    It is pickled as the original's are, since it may be a part of a key.
    """

    def __new__(cls, name: str | tuple[str]) -> Constant:
        """Return the constant of a name, a new one if there is none.

        :param name: how it is shown; or a tuple of that, which is what unpickling calls this with
        """
        (text,) = name if isinstance(name, tuple) else (name,)
        known = _known.get(text)
        if known is None or type(known) is not cls:
            known = _known.setdefault(text, tuple.__new__(cls, (text,)))
        return known

    def __reduce_ex__(self, protocol: Any) -> str | tuple[Any, ...]:
        # Protocols 0 and 1 would not call __new__.
        return super().__reduce_ex__(max(protocol, 2))

    def __repr__(self) -> str:
        return str(self[0])


#: All of them, by name.
_known: dict[str, Constant] = {}

ENOVAL: Constant = Constant('ENOVAL')

#: For :meth:`Cache.modify`: what is there stays.
KEEP: Constant = Constant('KEEP')

UNKNOWN: Constant = Constant('UNKNOWN')
