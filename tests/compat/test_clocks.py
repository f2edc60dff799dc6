"""Packages that tests move the time with: expiry goes by what time.time() returns then."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

BEFORE, LATER = 'import time_machine', 'from diskcache import Cache'


@pytest.mark.parametrize(
    'begin',
    [
        f'{LATER}; {BEFORE}',
        f'{BEFORE}; {LATER}',
        f'{BEFORE}\nwith time_machine.travel(0): pass\n{LATER}',
        f'{BEFORE}\nwith time_machine.travel(0): {LATER}',
    ],
    ids=['imported first', 'imported afterwards', 'after a travel', 'on a travel'],
)
def test_time_machine_moves_expiry(begin: str, tmp_path: Path) -> None:
    """It has time.time() do something else, and leaves the object as it is."""
    pytest.importorskip('time_machine')
    done = subprocess.run(
        [sys.executable, '-c', f"""{begin}
cache = Cache({str(tmp_path)!r})
with time_machine.travel(10**9, tick=False):
    cache.set('key', 'value', expire=60)
    assert cache.get('key', expire_time=True) == ('value', 10**9 + 60)
with time_machine.travel(10**9 + 59):
    assert cache['key'] == 'value'
with time_machine.travel(10**9 + 61):
    assert cache.get('key') is None
assert cache.get('key') is None
cache.close()
"""],
        check=False,
        capture_output=True,
        text=True,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, '')
