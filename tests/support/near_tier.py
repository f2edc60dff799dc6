"""What the tests of the near tier share: its clock, and processes that read."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any


class Clock:
    """The clock of the near tier, which can be put forward."""

    def __init__(self) -> None:
        self.ahead = 0.0

    def __call__(self) -> float:
        return time.clock_gettime(time.CLOCK_BOOTTIME) + self.ahead


READER = """
import sys, threading, time
from diskcache.remote import RemoteCache
url, name, near, seconds = sys.argv[1:]
cache = RemoteCache(url, name, near=near if near else True, timeout=30)
end = time.monotonic() + float(seconds)
faults = []
def read():
    last = {}
    while time.monotonic() < end:
        for key in range(5):
            value = cache.get(key, 0)
            if value < last.get(key, 0):
                faults.append((key, value, last[key]))
            last[key] = value
threads = [threading.Thread(target=read) for _ in range(2)]
for thread in threads: thread.start()
for thread in threads: thread.join()
print(len(faults), faults[:3], flush=True)
sys.stdin.readline()
time.sleep(0.01)
print([cache.get(key) for key in range(5)], flush=True)
"""


def watch_readers(
    url: str,
    name: str,
    directory: Path | None,
    seconds: int,
    writer: Any,
    disturb: Callable[[threading.Event], object],
) -> None:
    """See that no reader goes back in time, and that each has the latest values in the end.

    :param url: and `name`: of the cache
    :param directory: in which two processes of two threads keep values; None: in memory
    :param seconds: for which they read; `writer` writes for one more
    :param writer: the same cache
    :param disturb: called in a thread, until the event is set
    """
    command = [sys.executable, '-c', READER, url, name, str(directory or ''), str(seconds)]
    pipe = subprocess.PIPE
    readers = [subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True) for _ in range(2)]
    stop = threading.Event()
    disturber = threading.Thread(target=disturb, args=(stop,))
    disturber.start()
    number = 0
    end = time.monotonic() + seconds + 1
    while time.monotonic() < end:
        number += 1
        writer[number % 5] = number
    stop.set()
    disturber.join()
    written = [writer[key] for key in range(5)]
    for reader in readers:
        assert reader.stdout is not None
        assert reader.stdout.readline() == '0 []\n'
        out, _ = reader.communicate('\n', timeout=50)
        assert out == f'{written}\n'
