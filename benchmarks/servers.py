"""Servers that a benchmark measures its package beside: started for it, and ended with it.

Each listens on a unix socket in the benchmark's directory, and on a free port of the loopback where
that is asked for. It keeps nothing on disk.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from measuring import Missing

#: Seconds that a server may take to answer.
START_TIMEOUT = 10


@dataclass(frozen=True)
class Kind:
    """A kind of server, and the module that asks it."""

    program: str
    #: Up to the path of its socket.
    arguments: Sequence[str]
    client: str
    client_title: str


KINDS = {
    'redis': Kind(
        'redis-server',
        ('--port', '0', '--save', '', '--appendonly', 'no', '--unixsocket'),
        'redis',
        'redis-py',
    ),
    'memcached': Kind('memcached', ('-m', '256', '-s'), 'pymemcache', 'pymemcache'),
}


class Server:
    """A redis-server or a memcached that is running."""

    def __init__(self, name: str, directory: Path, loopback: bool = False) -> None:
        """Start it and wait until it answers.

        :param name: of its kind
        :param directory: where its socket is made
        :param loopback: whether a redis-server listens on a port too
        :raises Missing: if it or its client is not installed, or it does not start
        """
        kind = KINDS[name]
        self._program = kind.program
        path = shutil.which(kind.program)
        if path is None:
            raise Missing(f'no {kind.program} is installed')
        try:
            importlib.import_module(kind.client)
        except ImportError as error:
            raise Missing(str(error)) from error
        self.socket = str(directory / 'socket')
        command = [path, *kind.arguments, self.socket]
        self.port = _free_port() if loopback else 0
        if loopback:
            command += ['--bind', '127.0.0.1', '--port', str(self.port)]
        if name == 'memcached' and os.geteuid() == 0:
            command += ['-u', 'root']  # or it refuses to run as root
        answer = subprocess.run([path, '--version'], stdout=subprocess.PIPE, text=True, check=True)
        #: That of the client and its own.
        self.version = (
            f'{kind.client_title} {importlib.metadata.version(kind.client)}, '
            f'server {_version_in(answer.stdout)}'
        )
        self._process = subprocess.Popen(
            command,
            cwd=directory,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            self._wait()
        except BaseException:
            self.close()
            raise

    def _wait(self) -> None:
        deadline = time.monotonic() + START_TIMEOUT
        while time.monotonic() < deadline and self._process.poll() is None:
            with socket.socket(socket.AF_UNIX) as connection:
                try:
                    connection.connect(self.socket)
                except OSError:
                    time.sleep(0.01)
                else:
                    return
        raise Missing(f'{self._program} does not start')

    def close(self) -> None:
        """End it."""
        self._process.terminate()
        try:
            self._process.wait(timeout=START_TIMEOUT)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(('127.0.0.1', 0))
        return int(listener.getsockname()[1])


def _version_in(line: str) -> str:
    for word in line.split():
        number = word.removeprefix('v=')
        if number[:1].isdigit():
            return number
    return ''
