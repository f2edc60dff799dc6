"""The examples of the documents run as tests; `home` in them is a directory of their own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest


@pytest.fixture(autouse=True)
def _home(doctest_namespace: dict[str, Any], tmp_path: Path) -> None:
    doctest_namespace['home'] = tmp_path
