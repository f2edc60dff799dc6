"""Servers, and caches on them."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from servers import KINDS, Cluster, Server, require

#: That of the only shard, if there is one.
SLOT = 13_907


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


@pytest.fixture(scope='session')
def lasting_cluster() -> Iterator[Callable[[str], Cluster]]:
    """A function that returns three masters of a kind, which last for the session."""
    clusters: dict[str, Cluster] = {}

    def lasting(kind: str) -> Cluster:
        require(kind)
        if kind not in clusters:
            clusters[kind] = Cluster(kind)
        return clusters[kind]

    yield lasting
    for cluster in clusters.values():
        cluster.stop()


@pytest.fixture
def cluster(lasting_cluster: Callable[[str], Cluster]) -> Iterator[Cluster]:
    """Three masters. Slots that a test has moved are moved back."""
    from diskcache.remote.shards import slot_of, tags_of

    cluster = lasting_cluster('redis')
    before = {slot: cluster.owner(slot) for slot in map(slot_of, tags_of(64))}
    yield cluster
    for slot, owner in before.items():
        cluster.move(slot, owner)
    cluster.wait()


@pytest.fixture
def start_cluster() -> Iterator[Callable[..., Cluster]]:
    """A function that starts a Cluster for this test alone."""
    clusters: list[Cluster] = []

    def start(kind: str = 'redis', *arguments: Any, **more: Any) -> Cluster:
        require(kind)
        clusters.append(Cluster(kind, *arguments, **more))
        return clusters[-1]

    yield start
    for cluster in clusters:
        cluster.stop()


@pytest.fixture(scope='session')
def moving_cluster() -> Iterator[Cluster]:
    """Two masters between which the slot of shards=1 goes to and fro, key by key."""
    require('redis')
    cluster = Cluster('redis', 2)
    stop = threading.Event()

    def move() -> None:
        while not stop.is_set():
            for target in cluster.servers:
                cluster.begin_move(SLOT, target)
                while cluster.move_keys(SLOT, target, 1):
                    stop.wait(0.002)
                stop.wait(0.02)
                cluster.end_move(SLOT, target)
                stop.wait(0.02)

    mover = threading.Thread(target=move)
    cluster.move(SLOT, cluster.servers[1])
    mover.start()
    yield cluster
    stop.set()
    mover.join()
    cluster.stop()


@pytest.fixture
def start_server() -> Iterator[Callable[..., Server]]:
    """A function that starts a server for this test alone."""
    servers: list[Server] = []

    def start(kind: str = 'redis', *options: str, config: Path | None = None) -> Server:
        require(kind)
        servers.append(Server(kind, *options, config=config))
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


@pytest.fixture
def open_cache(name: str) -> Iterator[Callable[..., Any]]:
    """A function that opens the same cache on a server or a Cluster, which may be a URL."""
    from diskcache.remote import RemoteCache

    caches: list[RemoteCache] = []

    def open_cache(place: Server | Cluster | str, **arguments: Any) -> RemoteCache:
        url = place if isinstance(place, str) else place.url
        caches.append(RemoteCache(url, name, **{'timeout': 10, **arguments}))
        return caches[-1]

    yield open_cache
    for cache in caches:
        cache.close()
