"""benchmarks/instructions.py, the gate on instruction counts: what passes, and what does not.

The counting itself is `make count`, which needs valgrind and some minutes of nobody's time.
"""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from types import ModuleType

import pytest
from places import ROOT

RECORDED = {'hot get': 600, 'cold get': 15_000, 'set': 50_000}


@pytest.fixture
def instructions() -> ModuleType:
    """The program, as a module."""
    path = ROOT / 'benchmarks' / 'instructions.py'
    spec = importlib.util.spec_from_file_location('instructions', path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(
    ('counted', 'passes'),
    [
        ({}, True),
        ({'hot get': 618, 'cold get': 15_450, 'set': 51_500}, True),  # 3 % more, each
        ({'hot get': 619}, False),
        ({'cold get': 15_451}, False),
        ({'set': 51_501}, False),
        ({'hot get': 300, 'set': 51_501}, False),  # less of one makes up for nothing
        ({'hot get': 300, 'cold get': 1, 'set': 49_000}, True),
    ],
)
def test_three_percent_more_than_recorded_is_the_limit(
    instructions: ModuleType, counted: dict[str, int], passes: bool
) -> None:
    assert instructions.compare({**RECORDED, **counted}, RECORDED) is passes


def test_what_is_recorded_has_a_figure_for_each_operation_and_a_reason(
    instructions: ModuleType,
) -> None:
    if not instructions.RECORD.exists():
        pytest.skip('nothing is recorded')
    records = json.loads(Path(instructions.RECORD).read_text())
    assert records
    for where, record in records.items():
        assert record.keys() == {*instructions.COUNTS, 'reason'}, where
        assert record['reason'], where
