"""Which caches a site has configured, without opening them."""

from __future__ import annotations

import os
import os.path as op
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from django.conf import settings
from django.utils.module_loading import import_string

from ..directory import path_of
from ..djangocache import DjangoCache
from ..locations import is_url


@dataclass(frozen=True)
class Configured:
    """A cache in CACHES whose BACKEND is a :class:`diskcache.DjangoCache`."""

    alias: str
    params: Mapping[str, Any]

    @property
    def location(self) -> Any:
        """LOCATION as it stands there, '' if it does not."""
        return self.params.get('LOCATION', '')

    @property
    def directory(self) -> str | None:
        """The directory; None if it is a new temporary one in each process, or a URL."""
        if self.location is None or self.is_remote:
            return None
        is_path = isinstance(self.location, str | bytes | os.PathLike)
        return op.abspath(path_of(self.location if is_path else str(self.location)))

    @property
    def is_remote(self) -> bool:
        """Whether it is on a server."""
        return is_url(self.location)

    @property
    def options(self) -> Mapping[str, Any]:
        """OPTIONS, empty if they are no mapping."""
        options = self.params.get('OPTIONS', {})
        return options if isinstance(options, Mapping) else {}

    @property
    def shards(self) -> Any:
        """How many shards it has."""
        return self.params.get('SHARDS', 8)

    def is_relative(self) -> bool:
        """Tell whether the directory depends on where a process is started."""
        is_path = isinstance(self.location, str | bytes | os.PathLike) and not self.is_remote
        return is_path and not op.isabs(path_of(self.location))


def configured() -> Iterator[Configured]:
    """Yield the caches of this backend, or of a class derived from it."""
    for alias, params in settings.CACHES.items():
        try:
            backend = import_string(params.get('BACKEND', ''))
        except ImportError:  # which Django reports
            continue
        if isinstance(backend, type) and issubclass(backend, DjangoCache):
            yield Configured(alias, params)
