"""A commit of another process leaves what is mapped of the database (Linux, local file systems)."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest
from interpreter import Interpreter

from diskcache import Cache, _core

#: As statfs() gives them: ext4, XFS, Btrfs, tmpfs, overlayfs.
KNOWN = (0xEF53, 0x58465342, 0x9123683E, 0x01021994, 0x794C7630)

pytestmark = pytest.mark.skipif(sys.platform != 'linux', reason='it is kept on Linux only')

COMMIT = """
cache = Cache(directory)
cache.incr(0)
cache._sql('PRAGMA wal_checkpoint').fetchall()
"""


def resident() -> int:
    """How many KB of the database this process has mapped and touched; 0 if nothing is mapped."""
    maps = Path('/proc/self/smaps').read_text()
    return sum(map(int, re.findall(r'/cache\.db\n.*?\nRss: +(\d+) kB', maps, re.DOTALL)))


def test_a_commit_of_another_process_leaves_the_mapping(directory: str, other: Interpreter) -> None:
    with Cache(directory, memory_limit=0) as cache:
        if _core._file_system(directory) not in KNOWN:
            pytest.skip('it is not kept on this file system')
        for number in range(2000):
            cache[number] = number and b'x' * 1000
        other.run(COMMIT, directory=directory)
        assert cache[0] == 1
        for number in range(1, 2000):
            assert cache[number] == b'x' * 1000
        touched = resident()
        other.run(COMMIT, directory=directory)
        assert cache[0] == 2
        assert 0 < touched == resident()
