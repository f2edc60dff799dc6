"""The examples of the documents run as tests; what they leave behind is pytest's."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from servers import require, serving

#: Pages whose examples need what is not installed.
collect_ignore = [] if find_spec('fastapi') and find_spec('httpx2') else ['howto/fastapi.rst']


@pytest.fixture(autouse=True)
def _temporary_directories(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(tempfile, 'tempdir', str(tmp_path))


@pytest.fixture(autouse=True)
def _server(
    request: pytest.FixtureRequest, doctest_namespace: dict[str, Any], tmp_path: Path
) -> Iterator[None]:
    """Give the pages about servers the URL of one, and a directory."""
    if request.node.path.name not in ('remote.rst', 'growing.rst'):
        yield
        return
    pytest.importorskip('redis', reason='redis-py is not installed: pip install redis')
    require('redis')
    with serving('redis') as server:
        doctest_namespace.update(url=server.url, home=tmp_path)
        yield
