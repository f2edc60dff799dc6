"""Everything at once, and nothing is lost: a short run of soak.py.

`make soak` runs the same for longer.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import soak
from coherence import Interpreters

# One run for all, in one process.
pytestmark = [pytest.mark.slow, pytest.mark.xdist_group('soak')]

SECONDS = 3
LOG_LIMIT = 2**26  # Bytes; the log is some 4 MiB, or 32 where syncs are slow, and a transaction.


@pytest.fixture(scope='module')
def outcome(original_package: Path) -> Iterator[soak.Outcome]:
    """What has come of a run."""
    interpreters = Interpreters(original_package)
    try:
        yield soak.run_soak(SECONDS, interpreters)
    finally:
        interpreters.close()


def test_nothing_is_lost(outcome: soak.Outcome) -> None:
    assert not outcome.story, outcome.story


def test_everything_was_done(outcome: soak.Outcome) -> None:
    expected = {'cache set', 'fanout set', 'index []=', 'small set', 'deque put', 'deque take',
                'queue put', 'queue take', 'cache incr', 'fanout incr', 'index incr', 'transact',
                'lock', 'evict', 'expire', 'cull', 'check', 'close', 'open'}  # fmt: skip
    assert {name for name in expected if not outcome.done[name]} == set()


def test_the_logs_stay_bounded(outcome: soak.Outcome) -> None:
    assert outcome.largest_log
    assert max(outcome.largest_log.values()) < LOG_LIMIT


@pytest.mark.skipif(not os.path.isdir('/proc/self/fd'), reason='nothing tells the descriptors')
def test_descriptors_are_seen() -> None:
    """A run counts them before and after, which is worth nothing where it sees none."""
    assert len(soak.descriptors()) >= 3, sys.platform
