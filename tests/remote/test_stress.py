"""Reads while servers break: a short run of stress_remote.py.

`make stress-remote` runs the same for longer.
"""

from __future__ import annotations

import pytest
from servers import require

pytest.importorskip('redis', reason='redis-py is not installed: pip install redis')

import stress_remote

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]

#: For each kind of site: how many seconds, what happens, and where values are kept.
RUNS: dict[str, tuple[float, list[str], list[str]]] = {
    'singles': (20, ['busy', 'silence', 'mixed'], ['memory', 'directory']),
    'sentinel': (5, ['mixed'], ['directory']),  # which needs half a minute to mend a failover
    'cluster': (10, ['mixed'], ['memory', 'directory']),
}

#: A value is as old as the end of its read: then nobody hears what was written meanwhile.
MUTANT = """
from diskcache.remote import RemoteCache, cache
keep = RemoteCache._keep
RemoteCache._keep = lambda self, name, t0, *rest: keep(self, name, cache.clock(), *rest)
"""


@pytest.mark.parametrize('site', stress_remote.SITES)
def test_no_read_is_late_by_more_than_the_lease(site: str) -> None:
    require('redis')
    story = stress_remote.run(site, *RUNS[site])
    assert not story, story


def test_a_run_notices_what_is_wrong() -> None:
    require('redis')
    story = stress_remote.run('singles', 10, ['busy'], ['memory'], MUTANT)
    assert 'older than' in story or 'late by' in story
