"""check() while others write: what is sound is not reported, and nobody waits for long."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import pytest
from consistency import value_files
from interpreter import Interpreter

import diskcache

LARGE = b'x' * 50_000


def wait_for_a_file(directory: str) -> Path:
    """Wait until a value file is complete."""
    while not any(name.endswith('.val') for name in value_files(directory)):
        time.sleep(0.001)
    (name,) = value_files(directory)
    return Path(directory, name)


@pytest.mark.parametrize('age', [0, 10**6], ids=['new', 'old'])
def test_the_file_of_a_set_that_waits_for_the_lock_is_not_reported(
    directory: str,
    locked: Callable[..., AbstractContextManager],
    alone: Interpreter,
    other: Interpreter,
    age: int,
) -> None:
    """Even if it has waited longer than files are left alone."""
    with diskcache.Cache(directory) as cache:
        with locked():
            script = "Cache(directory).set('key', b'x' * 50_000, retry=True)"
            alone.start(script, directory=directory)
            path = wait_for_a_file(directory)
            then = time.time() - age
            os.utime(path, (then, then))
            script = '[str(each.message) for each in Cache(directory).check(fix=True)]'
            other.start(script, directory=directory)
            time.sleep(0.2)  # It may be anywhere by now; no moment is the wrong one.
            assert not other.has_answered()
        assert other.result() == []
        assert alone.result()
        assert cache['key'] == LARGE


def test_what_a_transaction_has_not_committed_is_not_reported(
    cache: diskcache.Cache, other: Interpreter, assert_intact: Callable
) -> None:
    cache['key'] = LARGE
    with cache.transact():
        cache['key'] = LARGE
        cache['new'] = LARGE
        del cache['key']
        script = '[str(each.message) for each in Cache(directory).check(fix=True)]'
        other.start(script, directory=cache.directory)
        time.sleep(0.2)
    assert other.result() == []
    assert cache['new'] == LARGE
    assert_intact(cache)


@pytest.mark.slow
def test_a_check_beside_writers_finds_nothing_and_harms_nothing(
    cache: diskcache.Cache, start_interpreter: Callable, assert_intact: Callable
) -> None:
    script = """
    cache = Cache(directory)
    turn = 0
    while not os.path.exists(directory + '/cache.db-stop'):
        turn += 1
        key = number, turn % 20
        cache.set(key, b'x' * 50_000 if turn % 2 else turn, retry=True)
        cache.set((number, 'pickle'), [turn, 'x' * (40_000 if turn % 3 else 1)], retry=True)
        assert cache.get(key, retry=True) == (b'x' * 50_000 if turn % 2 else turn)
        open(directory + f'/cache.db-began-{number}', 'w').close()
        if turn % 7 == 0:
            assert cache.delete(key, retry=True)
        if turn % 11 == 0:
            with cache.transact(retry=True):
                cache[number] = b'x' * 50_000
                time.sleep(0.01)
    turn
    """
    writers = [start_interpreter() for _ in range(2)]
    for number, writer in enumerate(writers):
        writer.start(script, directory=cache.directory, number=number)
    try:
        while len(list(Path(cache.directory).glob('cache.db-began-*'))) < 2:
            time.sleep(0.01)
        for _ in range(15):
            found = cache.check(fix=True, retry=True)
            assert [str(each.message) for each in found if not each.message.harmless] == []
    finally:
        Path(cache.directory, 'cache.db-stop').touch()
    assert all(writer.result() > 0 for writer in writers)
    assert_intact(cache)


def test_others_write_while_a_check_mends(cache: diskcache.Cache, alone: Interpreter) -> None:
    """A trigger notes with each row that is mended what another process has counted until then."""
    cache.set_many((number, number) for number in range(3000))
    cache['count'] = 0
    cache._sql('UPDATE Cache SET size = 5 WHERE typeof(key) = ?', ('integer',))
    cache._sql('CREATE TABLE Seen (count)')
    cache._sql(
        'CREATE TRIGGER note AFTER UPDATE OF size ON Cache BEGIN'
        " INSERT INTO Seen SELECT value FROM Cache WHERE key = 'count'; END"
    )
    script = """
    cache = Cache(directory)
    while not os.path.exists(directory + '/cache.db-stop'):
        cache.incr('count')
    """
    alone.start(script, directory=cache.directory)
    while cache['count'] == 0:
        time.sleep(0.001)
    try:
        assert len(cache.check(fix=True)) == 3000
    finally:
        Path(cache.directory, 'cache.db-stop').touch()
    alone.result()
    ((mended, counts),) = cache._sql('SELECT COUNT(*), COUNT(DISTINCT count) FROM Seen')
    assert mended == 3000
    assert counts > 5
    assert cache.check() == []


@pytest.mark.slow
def test_counters_are_mended_while_others_write(cache: diskcache.Cache, alone: Interpreter) -> None:
    cache.reset('cull_limit', 0)  # What is kept of the size would evict all.
    cache.set_many((number, number) for number in range(20_000))
    script = """
    cache = Cache(directory)
    turn = 0
    while not os.path.exists(directory + '/cache.db-stop'):
        cache[turn] = b'x' * 50_000
        cache.pop(turn + 1)
        turn += 2
    """
    alone.start(script, directory=cache.directory)
    try:
        for kept in (5, 0, 'text', -3, 2**63 - 1):
            cache._sql("UPDATE Settings SET value = ? WHERE key IN ('count', 'size')", (kept,))
            cache.check(fix=True, retry=True)
            assert cache.check() == []
    finally:
        Path(cache.directory, 'cache.db-stop').touch()
    alone.result()
    assert cache.check() == []
