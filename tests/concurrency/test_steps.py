"""No read is stale, whatever another process does between two steps: `steps.py`, and its models.

`make steps` walks through all of it; `make test` does the actions that differ most.
"""

from __future__ import annotations

import itertools
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import model_memory
import pytest
import steps

CHOSEN = [
    ('default', 'set_other', 'ours'),
    ('default', 'set_same', 'original'),
    ('default', 'push', 'ours'),
    ('default', 'truncate_log', 'ours'),
    ('default', 'begin_log_anew', 'original'),
    ('notes', 'set_other', 'ours'),
    ('small', 'set_same', 'ours'),
]
ALL = itertools.product(steps.SETTINGS, steps.ACTIONS, ('ours', 'original'))


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != 'linux', reason='the steps are found by a preloaded library')
@pytest.mark.parametrize(
    ('settings', 'action', 'package'),
    [
        *CHOSEN,
        *(pytest.param(*one, marks=pytest.mark.stress) for one in ALL if one not in CHOSEN),
    ],
)
def test_no_read_is_stale_whatever_another_process_does_between_two_steps(
    preload: Callable[[str], dict[str, str]],
    directory: str,
    original_package: Path,
    settings: str,
    action: str,
    package: str,
) -> None:
    arguments = {
        'directory': directory,
        'package': str(steps.PACKAGE if package == 'ours' else original_package),
        'settings': settings,
        'action': action,
    }
    walked = subprocess.run(
        [sys.executable, steps.__file__, '--walk', json.dumps(arguments)],
        env={**os.environ, **preload('at_each_step.c'), 'PYTHONPATH': str(steps.PACKAGE)},
        capture_output=True,
        text=True,
    )
    assert walked.returncode == 0, walked.stderr
    stale, visits = json.loads(walked.stdout)
    assert stale == []
    assert visits > 300  # Or the other process was always kept out.


@pytest.mark.slow
@pytest.mark.parametrize('rule', model_memory.HOLDS)
def test_the_model_of_the_hot_tier_holds(rule: str) -> None:
    states, wrong = model_memory.check(model_memory.HOLDS[rule])
    assert wrong is None
    assert states > 20_000


@pytest.mark.slow
@pytest.mark.parametrize('mutant', model_memory.MUTANTS)
def test_the_model_finds_each_broken_rule(mutant: str) -> None:
    _, wrong = model_memory.check(model_memory.MUTANTS[mutant])
    assert wrong is not None
