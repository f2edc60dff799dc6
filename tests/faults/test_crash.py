"""Killed at any instant, or with the power lost: the short form of `crash.py` (`make crash`)."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import Any

import crash
import pytest

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        sys.platform != 'linux', reason='the steps are found by a preloaded library'
    ),
]

GROUPS = 5


@pytest.fixture
def run(preload: Callable[[str], dict[str, str]]) -> Callable[..., dict[str, Any]]:
    """A function that runs a way of crashing, with a seed of its own, and returns its figures."""

    def run(way: str, **arguments: Any) -> dict[str, Any]:
        seed = str(time.time_ns())
        figures = crash.run(way, preload('crash.c'), seed=seed, **arguments)
        return {**figures, 'seed': seed}

    return run


Run = Callable[..., dict[str, Any]]


@pytest.mark.parametrize('group', range(GROUPS))
def test_killed_at_a_step_an_operation_is_done_or_not(run: Run, group: int) -> None:
    """Whatever the step, all that was acknowledged is there, and nothing is half done."""
    figures = run('steps', most=7, mutexes=False, names=crash.NAMES[group::GROUPS])
    assert figures['wrong'] == [], figures['seed']
    assert figures['kills'] > 30


def test_killed_at_any_instant_a_writer_has_written_what_it_said(run: Run) -> None:
    figures = run('writers', seconds=2.0)
    assert figures['wrong'] == [], figures['seed']
    assert figures['kills'] > 5


def test_a_loss_of_power_takes_no_more_than_the_last_commits(run: Run) -> None:
    """With synchronous NORMAL. Of the values whose rows are left, files may be missing."""
    figures = run('power', synchronous=1, count=50, states=80)
    assert figures['wrong'] == [], figures['seed']
    assert figures['states'] == 80
    assert figures['operations lost'] > 0


def test_a_loss_of_power_takes_nothing_where_commits_are_synced(run: Run) -> None:
    """With synchronous FULL: nor the file of a value, nor the directory that was made for it."""
    figures = run('power', synchronous=2, count=50, states=80)
    assert figures['wrong'] == [], figures['seed']
    assert figures['states'] == 80
    assert figures['operations lost'] == 0


@pytest.mark.stress
def test_the_losses_of_power_would_find_a_log_that_is_not_checked(run: Run) -> None:
    """Torn frames whose checksums are put right are taken for whole: then something is wrong."""
    figures = run('power', synchronous=1, count=60, states=1000, seconds=40, forge=True)
    assert figures['wrong'] != []
