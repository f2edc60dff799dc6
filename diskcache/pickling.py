"""How objects of this package are pickled."""

from __future__ import annotations

import copyreg

from .hints import Any


def reduce(self: Any) -> tuple[Any, ...]:
    """Pickle an object by its class and __getstate__, with every protocol."""
    return copyreg.__newobj__, (type(self),), self.__getstate__()  # type: ignore[attr-defined]
