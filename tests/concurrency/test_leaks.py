"""Operations again and again leave nothing behind: a short run of leaks.py.

`make soak` runs the same for longer.
"""

from __future__ import annotations

from pathlib import Path

import leaks
import pytest
from interpreter import Interpreter


@pytest.mark.slow
def test_nothing_grows(alone: Interpreter, tmp_path: Path) -> None:
    assert alone.run('import leaks\nleaks.run(1, directory)', directory=str(tmp_path)) == []


def test_what_grows_is_found() -> None:
    before = leaks.Measurement(10, 1000, 1000, 10, 10, 1000)
    assert leaks.differences(before, leaks.Measurement(1010, 1100, 1020, 11, 11, 2000)) == []
    after = leaks.Measurement(1010, 2000, 2000, 1010, 1010, 20_000)
    assert [text.split(':')[0] for text in leaks.differences(before, after)] == [
        'blocks', 'objects', 'references', 'descriptors', 'kilobytes',
    ]  # fmt: skip
