"""Servers, and caches on them."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from servers import KINDS, Server, require


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Keep the tests of a file in one process, which starts each server once."""
    for item in items:
        if item.path.parent == Path(__file__).parent:
            item.add_marker(pytest.mark.xdist_group(item.path.stem))


@pytest.fixture(scope='session')
def lasting_server() -> Iterator[Callable[[str], Server]]:
    """A function that returns the server of a kind, which lasts for the session."""
    servers: dict[str, Server] = {}

    def lasting(kind: str) -> Server:
        require(kind)
        if kind not in servers:
            servers[kind] = Server(kind)
        return servers[kind]

    yield lasting
    for server in servers.values():
        server.stop()


@pytest.fixture
def start_server() -> Iterator[Callable[..., Server]]:
    """A function that starts a server for this test alone."""
    servers: list[Server] = []

    def start(kind: str = 'redis', *options: str) -> Server:
        require(kind)
        servers.append(Server(kind, *options))
        return servers[-1]

    yield start
    for server in servers:
        server.stop()


@pytest.fixture
def name() -> str:
    """The name of a cache that nobody else uses."""
    return f'test-{uuid.uuid4().hex}'


@pytest.fixture(params=list(KINDS))
def server(request: pytest.FixtureRequest, lasting_server: Callable[[str], Server]) -> Server:
    """Each kind of server, one after the other."""
    return lasting_server(request.param)


@pytest.fixture
def redis_server(lasting_server: Callable[[str], Server]) -> Server:
    """A Redis."""
    return lasting_server('redis')
