"""What is logged only for those who have switched it on: see the table in log.py."""

from __future__ import annotations

import logging
import sqlite3
import subprocess
import sys
from contextlib import closing

import pytest

import diskcache


def test_what_a_fanout_cache_gives_up_is_told_to_those_who_want_to_know(
    directory: str, caplog: pytest.LogCaptureFixture
) -> None:
    with diskcache.FanoutCache(directory, shards=1, timeout=0.01) as cache:
        cache['key'] = 1
        with closing(sqlite3.connect(f'{directory}/000/cache.db', isolation_level=None)) as con:
            con.execute('BEGIN IMMEDIATE')
            assert cache.set('key', 2) is False
            assert caplog.records == []
            with caplog.at_level(logging.INFO, 'diskcache.lock'):
                assert cache.set('key', 2) is False
                assert cache.clear() == 0
            con.execute('ROLLBACK')
    assert {record.name for record in caplog.records} == {'diskcache.lock'}
    assert {record.levelname for record in caplog.records} == {'INFO'}
    first, second = (record.getMessage() for record in caplog.records)
    assert first.startswith(f'{directory}: set is given up: ')
    assert second.startswith(f'{directory}/000: clear is given up: ')


@pytest.mark.parametrize('policy', ['least-recently-stored', 'of the program'])
def test_what_cull_removes_is_told_to_those_who_want_to_know(
    directory: str,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
    policy: str,
) -> None:
    own = dict(diskcache.EVICTION_POLICY['least-recently-stored'])
    monkeypatch.setitem(diskcache.EVICTION_POLICY, 'of the program', own)
    with diskcache.Cache(
        directory, eviction_policy=policy, size_limit=100_000, cull_limit=0
    ) as cache:
        for number in range(50):
            cache[number] = bytes(10_000)
        with caplog.at_level(logging.INFO, 'diskcache.eviction'):
            removed = cache.cull()
    (message,) = (record.getMessage() for record in caplog.records)
    assert message == f'{directory}: cull has removed {removed} items'


def test_who_logs_nothing_does_not_import_logging(directory: str) -> None:
    script = f"""
import sys, diskcache
with diskcache.Cache({directory!r}) as cache:
    cache.cull()
assert 'logging' not in sys.modules
"""
    subprocess.run([sys.executable, '-c', script], check=True)
