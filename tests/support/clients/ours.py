"""What the programs of this folder have in common. `make clients` runs them; see the Makefile."""

from __future__ import annotations

import importlib.metadata
import os
import sys

import diskcache


def check_package() -> None:
    """Fail unless `import diskcache` gives the wheel that was installed before the client was."""
    assert diskcache.__file__.startswith(sys.prefix + os.sep), diskcache.__file__
    assert not diskcache._core.__file__.endswith('.py')  # the original has none
    installed = importlib.metadata.version('diskcache')
    assert installed == diskcache.__version__ == os.environ['DISKCACHE_VERSION'], installed
