"""A read that begins with a lease is right, though the lock may be gone."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

import diskcache

SECONDS = 1.5
KEYS = 90

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform == 'win32', reason='there are no leases'),
]

#: Another program, which copies and overwrites the log with each transaction.
WRITER = """
import sqlite3, sys
con = sqlite3.connect(sys.argv[1], timeout=30, isolation_level=None)
con.execute('PRAGMA synchronous = 0')
con.execute('PRAGMA wal_autocheckpoint = 1')
number = 0
print('ready', flush=True)
while True:
    number += 1
    con.execute('UPDATE Cache SET value = ?', (number,))
"""


@pytest.fixture
def written(tmp_path: Path) -> Iterator[diskcache.Cache]:
    """A cache without a memory tier, whose values all are the same number, of each moment."""
    with diskcache.Cache(str(tmp_path), eviction_policy='none', memory_limit=0) as cache:
        cache.set_many(dict.fromkeys(range(KEYS), 0))
        writer = subprocess.Popen(
            [sys.executable, '-c', WRITER, str(tmp_path / 'cache.db')], stdout=subprocess.PIPE
        )
        assert writer.stdout is not None
        writer.stdout.readline()
        yield cache
        writer.kill()
        writer.wait()
        writer.stdout.close()


def lose_locks(cache: diskcache.Cache) -> None:
    """Close a descriptor of the wal-index, for which the system takes the process's locks on it."""
    with open(os.path.join(cache.directory, 'cache.db-shm'), 'rb'):
        pass


def test_a_read_of_many_is_of_one_moment(written: diskcache.Cache) -> None:
    # It has a lock of its own, and does not go on with one that may be gone.
    end = time.monotonic() + SECONDS
    while time.monotonic() < end:
        for key in range(20):
            written.get(key)
        lose_locks(written)
        assert len(set(written.get_many(range(KEYS)).values())) == 1


def test_a_lookup_never_goes_back(written: diskcache.Cache) -> None:
    # Where the lock was gone, and somebody wrote meanwhile, it is done again.
    latest = 0
    end = time.monotonic() + SECONDS
    while time.monotonic() < end:
        for key in range(20):
            number = written[key]
            assert isinstance(number, int)
            assert number >= latest
            latest = number
        lose_locks(written)
    assert latest > 0


def test_a_transaction_that_only_reads_is_of_one_moment(written: diskcache.Cache) -> None:
    end = time.monotonic() + SECONDS
    while time.monotonic() < end:
        for key in range(20):
            written.get(key)
        lose_locks(written)
        with written.transact(retry=True):
            assert len({written[key] for key in range(KEYS)}) == 1
