"""The configuration of the application ``diskcache.django``."""

from __future__ import annotations

from typing import Any

from django.apps import AppConfig
from django.core import checks


class DiskCacheConfig(AppConfig):
    """The application: its label is ``diskcache``, since ``django`` would say nothing."""

    name = 'diskcache.django'
    label = 'diskcache'
    verbose_name: Any = 'diskcache'

    def ready(self) -> None:
        """Have ``manage.py check`` look at the caches; ``--tag diskcache`` only at them."""
        from .checks import check_caches

        checks.register(check_caches, checks.Tags.caches, 'diskcache')
