"""The examples of the documents run as tests; what they leave behind is pytest's."""

from __future__ import annotations

import tempfile
from importlib.util import find_spec
from pathlib import Path

import pytest

#: Pages whose examples need what is not installed.
collect_ignore = [] if find_spec('fastapi') and find_spec('httpx2') else ['howto/fastapi.rst']


@pytest.fixture(autouse=True)
def _temporary_directories(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(tempfile, 'tempdir', str(tmp_path))
