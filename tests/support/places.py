"""Where things are."""

from __future__ import annotations

from pathlib import Path

import diskcache

#: The checkout.
ROOT = Path(__file__).resolve().parents[2]

#: What goes on the path so that another process imports this package.
PACKAGE = Path(diskcache.__file__).resolve().parent.parent

#: The programs and shims that tests run.
SUPPORT = Path(__file__).resolve().parent
