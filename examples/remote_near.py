"""Two processes read from three servers what a third writes, and keep it near, in one directory.

It starts three servers, Redis or Valkey, whichever is installed, each of which has a third of the
items. A table shows once a second

* how many lookups there are, and how many of them asked a server: the others were answered near,
* how many invalidations the servers send: each write is told to each process that listens,
* how many lookups found an old value, and how old: by the time since a newer one was acknowledged.

Ctrl-C ends it, and the servers. Without a terminal there is a line for each second.

    python examples/remote_near.py [--seconds N] [--writes N]
"""

from __future__ import annotations

import argparse
import contextlib as cl
import ctypes
import itertools as it
import multiprocessing as mp
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

try:
    import redis
    from rich.console import Console, Group
    from rich.live import Live
    from rich.table import Table
    from rich.text import Text
except ImportError:
    sys.exit('this example needs rich and redis-py: pip install rich redis')

from diskcache.remote import RemoteCache

SERVERS = 3
READERS = 2
ITEMS = 300
REMEMBERED = 64  # acknowledgements of each item

# What a reader counts.
LOOKUPS, OLD = range(2)
# By how many seconds it was late: in this second, and ever.
LATE, LATEST = range(2)


class Board:
    """What all processes see at once."""

    def __init__(self) -> None:
        self.ended = mp.RawValue('b', 0)
        #: The number of each item's value that has been acknowledged, and when.
        self.numbers = mp.RawArray('q', ITEMS)
        self.times = mp.RawArray('d', ITEMS * REMEMBERED)
        self.writes = mp.RawValue('q', 0)
        self.counts = [mp.RawArray('q', 2) for _ in range(READERS)]
        self.late = [mp.RawArray('d', 2) for _ in range(READERS)]

    def acknowledged(self, item: int, number: int) -> None:
        self.times[item * REMEMBERED + number % REMEMBERED] = time.monotonic()
        self.numbers[item] = number

    def late_by(self, item: int, number: int, start: float) -> float:
        """Return the seconds for which a newer value had been there when a lookup began."""
        newest = self.numbers[item]
        if number >= newest:
            return 0.0
        next_one = max(number + 1, newest - REMEMBERED + 1)
        acknowledged: float = self.times[item * REMEMBERED + next_one % REMEMBERED]
        return max(0.0, start - acknowledged)


# --- the processes -------------------------------------------------------------------------------


def until_the_end(board: Board) -> Iterator[None]:
    """Go on until the end, or until the process that shows the table is gone."""
    parent = os.getppid()
    while not board.ended.value and os.getppid() == parent:
        yield


def write(board: Board, urls: Sequence[str], a_second: float) -> None:
    caches = [RemoteCache(url, 'demo') for url in urls]
    for number, _ in zip(it.count(), until_the_end(board)):
        # Each item first, in turn, and then any.
        item = number if number < ITEMS else random.randrange(ITEMS)
        value = board.numbers[item] + 1
        caches[item % SERVERS].set(f'item {item}', value)
        board.acknowledged(item, value)
        board.writes.value += 1
        if number >= ITEMS:
            time.sleep(random.expovariate(a_second))


def read(board: Board, urls: Sequence[str], near: str, reader: int) -> None:
    caches = [RemoteCache(url, 'demo', near=near) for url in urls]
    counts, late = board.counts[reader], board.late[reader]
    for _ in until_the_end(board):
        for item in random.choices(range(ITEMS), k=50):
            start = time.monotonic()
            value = caches[item % SERVERS].get(f'item {item}', 0)
            counts[LOOKUPS] += 1
            seconds = board.late_by(item, value, start)
            if seconds > 0:
                counts[OLD] += 1
                late[LATE] = max(late[LATE], seconds)
                late[LATEST] = max(late[LATEST], seconds)
        time.sleep(0.001)


@cl.contextmanager
def working(board: Board, ports: Sequence[int], near: str, writes: float) -> Iterator[None]:
    """Have a process write and others read, for a block."""
    urls = [f'redis://127.0.0.1:{port}' for port in ports]
    context = mp.get_context('spawn')
    processes = [
        context.Process(target=write, args=(board, urls, writes)),
        *(context.Process(target=read, args=(board, urls, near, each)) for each in range(READERS)),
    ]
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)  # as they inherit it
    for process in processes:
        process.start()
    signal.signal(signal.SIGINT, before)
    try:
        yield
    finally:
        board.ended.value = 1
        for process in processes:
            process.join()


# --- the servers ---------------------------------------------------------------------------------


def end_with_parent() -> None:
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG


@cl.contextmanager
def serving(directory: str) -> Iterator[list[int]]:
    """Start servers for a block; give their ports."""
    program = shutil.which('redis-server') or shutil.which('valkey-server')
    if program is None:
        sys.exit('this example starts servers: apt-get install redis-server')
    ports: list[int] = []
    servers = []
    try:
        for _ in range(SERVERS):
            with socket.create_server(('127.0.0.1', 0)) as listener:
                ports.append(listener.getsockname()[1])
            options = f'--port {ports[-1]} --bind 127.0.0.1 --dir {directory} --save'
            servers.append(
                subprocess.Popen(
                    [program, *options.split(), ''],
                    stdout=subprocess.DEVNULL,
                    start_new_session=True,  # Ctrl-C is not for them
                    preexec_fn=end_with_parent if sys.platform == 'linux' else None,
                )
            )
        for port in ports:
            wait_for(port)
        yield ports
    finally:
        for server in servers:
            server.terminate()
            server.wait()


def wait_for(port: int) -> None:
    deadline = time.monotonic() + 30
    while True:
        with redis.Redis(port=port) as client:
            try:
                client.ping()
                return
            except redis.ConnectionError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.02)


# --- what is shown -------------------------------------------------------------------------------


class Totals:
    """What has been counted until a moment."""

    def __init__(self, board: Board, clients: Sequence[Any]) -> None:
        self.time = time.monotonic()
        self.writes = board.writes.value
        self.lookups = [counts[LOOKUPS] for counts in board.counts]
        self.old = [counts[OLD] for counts in board.counts]
        # With each value that is to be kept near a server is asked for the time it is left.
        self.asked = [
            client.info('commandstats').get('cmdstat_pttl', {}).get('calls', 0)
            for client in clients
        ]
        self.listeners = [len(client.client_list(_type='pubsub')) for client in clients]


class Second:
    """What has happened between two moments."""

    def __init__(self, board: Board, before: Totals, now: Totals) -> None:
        seconds = now.time - before.time
        lookups = [new - old for old, new in zip(before.lookups, now.lookups, strict=True)]
        old = [new - old for old, new in zip(before.old, now.old, strict=True)]
        asked = sum(now.asked) - sum(before.asked)
        writes = (now.writes - before.writes) / seconds
        #: Of each reader: lookups a second, the share that found old values, in %, by how many ms.
        self.readers = [
            (each / seconds, 100 * older / max(each, 1), 1000 * late[LATE], 1000 * late[LATEST])
            for each, older, late in zip(lookups, old, board.late, strict=True)
        ]
        self.writes = writes
        self.invalidations = writes * sum(now.listeners) / SERVERS
        self.asked = asked / seconds
        self.near = 100 * max(0, 1 - asked / max(sum(lookups), 1))
        for late in board.late:
            late[LATE] = 0.0

    def line(self) -> str:
        """Return it as one line."""
        lookups, shares, late, latest = zip(*self.readers, strict=True)
        return (
            f'{sum(lookups):,.0f} lookups/s, {self.near:.1f} % answered near; {self.writes:,.0f}'
            f' writes/s, {self.invalidations:,.0f} invalidations/s; {max(shares):.3f} % found an'
            f' old value, by up to {max(late):.2f} ms (ever: {max(latest):.2f})'
        )

    def tables(self, ports: Sequence[int]) -> list[Table]:
        """Return it as tables."""
        readers = Table(title=f'{READERS} processes, which share a near directory', expand=True)
        readers.add_column('')
        for heading in ('lookups/s', 'found an old value, %', 'by up to, ms', 'ever, ms'):
            readers.add_column(heading, justify='right')
        for number, (lookups, share, late, latest) in enumerate(self.readers, 1):
            figures = f'{lookups:,.0f}', f'{share:.3f}', f'{late:.2f}', f'{latest:.2f}'
            readers.add_row(f'reader {number}', *figures)
        places = ', '.join(map(str, ports))
        servers = Table(title=f'{SERVERS} masters, on the ports {places}', expand=True)
        for heading in ('writes/s', 'invalidations/s', 'lookups/s that ask', 'answered near, %'):
            servers.add_column(heading, justify='right')
        servers.add_row(
            f'{self.writes:,.0f}',
            f'{self.invalidations:,.0f}',
            f'{self.asked:,.0f}',
            f'{self.near:.1f}',
        )
        return [readers, servers]


def show(board: Board, ports: Sequence[int], seconds: float) -> None:
    """Show what happens, until the end."""
    console = Console()
    live = Live(console=console, auto_refresh=False) if console.is_terminal else None
    clients = [redis.Redis(port=port) for port in ports]
    end = time.monotonic() + seconds
    before = Totals(board, clients)
    with live or cl.nullcontext():
        while time.monotonic() < end and not board.ended.value:
            due = min(end, time.monotonic() + 1)
            while time.monotonic() < due and not board.ended.value:
                time.sleep(0.05)
            now = Totals(board, clients)
            second = Second(board, before, now)
            before = now
            if live is None:
                print(second.line(), flush=True)
            else:
                live.update(Group(*second.tables(ports), Text('Ctrl-C ends')), refresh=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--seconds', type=float, default=float('inf'), help='until Ctrl-C')
    parser.add_argument('--writes', type=float, default=200, help='a second')
    options = parser.parse_args()
    board = Board()

    def end(*_: object) -> None:  # rather than an exception, which may come where it is lost
        board.ended.value = 1

    signal.signal(signal.SIGINT, end)
    signal.signal(signal.SIGTERM, end)
    with (
        tempfile.TemporaryDirectory(prefix='remote-near-') as directory,
        serving(directory) as ports,
        working(board, ports, str(Path(directory, 'near')), options.writes),
    ):
        show(board, ports, options.seconds)


if __name__ == '__main__':
    main()
