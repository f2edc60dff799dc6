"""What does a disk that syncs slowly cost?

Two processes use one cache on a disk on which each sync takes 5, 20 or 100 ms longer than it does
here: a shim that is loaded before everything else (``tests/support/slow_sync.c``) sees to that.
One sets keys of 1,000 bytes without a pause, so that the log has to be copied again and again. The
other sets a key every 3 ms, with a timeout of 10 ms; measured are its latencies, and the share of
its sets that gave up.

SQLite itself syncs with the write lock in the first commit after each reset of the log, which the
more often happens the more is written: that is the least that others have to wait.
"""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
import sysconfig
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from latencies import SET, Latencies, in_processes, latency_figures
from measuring import ROOT, Missing, Suite, main
from results import Figure

TIMEOUT = 0.010  # Seconds.
PAUSE = 0.003
VALUE = bytes(1000)
KEYS = 500
WRITE = 'write'  # A set of the process that never pauses.

FIGURES = {
    **latency_figures((SET,), may_lose=True),
    'rate': Figure('', 'sets without a pause', unit='rate'),
}


class Disk:
    """Where the caches are, and the shim."""

    def __init__(self, directory: Path, contender: str) -> None:
        self._directory = directory / 'cache'
        self._shim = directory / 'slow_sync.so'
        compiler = shlex.split(sysconfig.get_config_var('CC') or 'cc')
        source = ROOT / 'tests' / 'support' / 'slow_sync.c'
        if sys.platform != 'linux' or shutil.which(compiler[0]) is None:
            raise Missing('the shim needs Linux and a C compiler')
        command = [*compiler, '-shared', '-fPIC', '-o', str(self._shim), str(source), '-ldl']
        subprocess.run(command, check=True)

    def run(self, milliseconds: int, count: int) -> dict[str, float]:
        directory = str(self._directory)
        settings = {'LD_PRELOAD': str(self._shim), 'SLOW_SYNC_MILLISECONDS': str(milliseconds)}
        os.environ.update(settings)
        try:
            busy, other = in_processes(2, work, directory, count * PAUSE)
        finally:
            for name in settings:
                del os.environ[name]
        shutil.rmtree(self._directory)
        figures: dict[str, float] = other.figures()
        figures['rate'] = (busy.ended - busy.began) / len(busy.of(WRITE))
        return figures

    def close(self) -> None:
        pass


def work(start: Callable[[], object], number: int, directory: str, seconds: float) -> Latencies:
    """Be one of the two processes."""
    # Here and not above: in the driver's process there may be no diskcache.
    from diskcache import Cache, Timeout

    cache: Any = Cache(directory, timeout=TIMEOUT if number else 60)
    latencies = Latencies()
    record = latencies.of(SET if number else WRITE).append
    clock = time.perf_counter_ns
    turn = 0
    start()
    latencies.began = clock()
    end = latencies.began + int(1e9 * seconds)
    while clock() < end:
        began = clock()
        try:
            cache.set(turn % KEYS, VALUE)
        except Timeout:
            latencies.lost += 1
        record(clock() - began)
        turn += 1
        if number:
            time.sleep(PAUSE)
    latencies.ended = clock()
    cache.close()
    return latencies


suite: Suite[Disk] = Suite('slowdisk', 'A slow disk', __doc__, Disk)


@suite.load('syncs slower by 5 ms', 1000, FIGURES)
def five(disk: Disk, count: int) -> dict[str, float]:
    return disk.run(5, count)


@suite.load('20 ms', 1000, FIGURES)
def twenty(disk: Disk, count: int) -> dict[str, float]:
    return disk.run(20, count)


@suite.load('100 ms', 1000, FIGURES)
def hundred(disk: Disk, count: int) -> dict[str, float]:
    return disk.run(100, count)


if __name__ == '__main__':
    main(suite, rounds=3, quick_rounds=1, warm_up=False)
