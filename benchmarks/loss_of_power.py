"""What does a file system keep of a cache that syncs nothing, when power is lost?

    sudo .venv/bin/python benchmarks/loss_of_power.py ext4 --options data=writeback --losses 10

A program writes values, three in four of them in files. Then the file system, on a loop device, is
shut down without a flush, as xfstests do it, and mounted again: what had not reached the disk is
gone. For ext4 and XFS on Linux, which have that call. No test: it takes the rights of root.
"""

from __future__ import annotations

import argparse
import fcntl
import json
import os
import random
import signal
import struct
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import diskcache

MEGABYTES = 600
SIZES = [40_000, 100_000, 300_000, 1000]
SECONDS = [3, 33, 36, 41]  # The system writes back what is older than 30.

#: FS_IOC_SHUTDOWN, and its way without a flush.
SHUTDOWN = 0x8004587D
NO_LOG_FLUSH = 2


def value_of(number: int) -> bytes:
    size = SIZES[number % len(SIZES)]
    return (b'%07d.' % number * (size // 8 + 1))[:size]


def write_for_ever(directory: str) -> None:
    cache = diskcache.Cache(directory, cull_limit=0)
    number = 0
    while True:
        cache[number] = value_of(number)
        number += 1
        if number % 150 == 0:
            cache.close()  # Which copies the log into the database, and syncs both.
        time.sleep(0.01)


def look(directory: str) -> Counter[str]:
    """Count what is found."""
    found: Counter[str] = Counter()
    if not os.path.exists(f'{directory}/cache.db'):
        return Counter({'no cache': 1})
    with diskcache.Cache(directory) as cache:
        ((answer,),) = cache._sql('PRAGMA integrity_check').fetchall()
        found[f'databases: {answer}'] += 1
        for key in cache:
            value = cache.get(key)
            right = value == value_of(key)
            found['missing' if value is None else 'right' if right else 'wrong'] += 1
    for path in Path(directory).rglob('*.val'):
        found['files' if path.stat().st_size else 'empty files'] += 1
    return found


@contextmanager
def mounted(image: str, place: str, kind: str, options: str) -> Iterator[None]:
    subprocess.run(['mount', '-t', kind, '-o', f'loop,{options}', image, place], check=True)
    try:
        yield
    finally:
        while subprocess.run(['umount', place], capture_output=True).returncode != 0:
            time.sleep(0.1)  # Until the file system has noticed that nobody is there any more.


def in_child(*arguments: str) -> subprocess.Popen[bytes]:
    package = str(Path(diskcache.__file__).resolve().parent.parent)
    environment = {**os.environ, 'PYTHONPATH': package}
    command = [sys.executable, __file__, *arguments]
    # The writer ends with an error when the file system does.
    return subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=environment
    )


def lose(image: str, place: str, kind: str, options: str) -> Counter[str]:
    """Write, lose power, and return what is found afterwards."""
    force = '-F' if kind == 'ext4' else '-f'
    subprocess.run([f'mkfs.{kind}', '-q', force, image], check=True)
    directory = f'{place}/cache'
    with mounted(image, place, kind, options):
        writer = in_child('--write', directory)
        try:
            time.sleep(random.choice(SECONDS))
            descriptor = os.open(place, os.O_RDONLY)
            fcntl.ioctl(descriptor, SHUTDOWN, struct.pack('I', NO_LOG_FLUSH))
            os.close(descriptor)
        finally:
            writer.send_signal(signal.SIGKILL)
            writer.communicate()
    with mounted(image, place, kind, options):
        output, _ = in_child('--look', directory).communicate()
    return Counter(json.loads(output))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('kind', choices=['ext4', 'xfs'])
    parser.add_argument('--options', default='defaults', help='of mount')
    parser.add_argument('--losses', type=int, default=6)
    arguments = parser.parse_args()
    total: Counter[str] = Counter()
    with tempfile.TemporaryDirectory() as parent:
        image, place = f'{parent}/image', f'{parent}/place'
        os.mkdir(place)
        with open(image, 'wb') as file:
            file.truncate(MEGABYTES * 2**20)
        for _ in range(arguments.losses):
            total += lose(image, place, arguments.kind, arguments.options)
    print(f'{arguments.kind}, {arguments.options}, {arguments.losses} losses: {dict(total)}')


if __name__ == '__main__':
    if sys.argv[1] == '--write':
        write_for_ever(sys.argv[2])
    elif sys.argv[1] == '--look':
        print(json.dumps(look(sys.argv[2])))
    else:
        main()
