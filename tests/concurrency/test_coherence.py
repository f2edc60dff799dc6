"""No read is older than the last commit: a short run of each situation of coherence.py.

`make stress` runs the same for longer.
"""

from __future__ import annotations

import mmap
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import coherence
import pytest
from interpreter import Interpreter

import diskcache

pytestmark = pytest.mark.skipif(not hasattr(os, 'fork'), reason='writers are killed after a fork')

SECONDS = 0.4  # For each situation.
HITS = 100  # That memory must have answered meanwhile, or nothing was tested.


@pytest.fixture(scope='module')
def interpreters(original_package: Path) -> Iterator[coherence.Interpreters]:
    """The processes that do the work."""
    interpreters = coherence.Interpreters(original_package)
    yield interpreters
    interpreters.close()


@pytest.mark.slow
@pytest.mark.parametrize('situation', sorted(coherence.SITUATIONS))
def test_no_read_is_older_than_the_last_commit(
    interpreters: coherence.Interpreters, situation: str
) -> None:
    counted = coherence.SITUATIONS[situation].counted
    for seconds in (SECONDS, 4 * SECONDS, 16 * SECONDS):  # Longer where the machine is busy.
        outcome = coherence.run_situation(situation, seconds, interpreters)
        assert not outcome.story, outcome.story
        if outcome.counts['hits'] >= HITS and outcome.counts[counted] > 0:
            break
    assert outcome.counts['hits'] >= HITS
    assert outcome.counts[counted] > 0


# --- what the runs above meet but rarely ----------------------------------------------------------


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != 'linux', reason='the descriptors are looked up in /proc')
@pytest.mark.parametrize('situation', ['closing', 'journal-modes'])
def test_no_lock_is_lost_to_a_descriptor_closed_in_another_thread(
    original_package: Path,
    preload: Callable[[str], dict[str, str]],
    monkeypatch: pytest.MonkeyPatch,
    situation: str,
) -> None:
    monkeypatch.setenv('LD_PRELOAD', preload('slow_close.c')['LD_PRELOAD'])
    interpreters = coherence.Interpreters(original_package)
    try:
        outcome = coherence.run_situation(situation, 4 * SECONDS, interpreters)
    finally:
        interpreters.close()
    assert not outcome.story, outcome.story
    assert outcome.counts[coherence.SITUATIONS[situation].counted] > 0


class Intruder:
    """A value with which others get their turn in the middle of a lookup."""

    def __reduce__(self) -> tuple[Any, ...]:
        return unpickle_intruder, ()


turns: list[Any] = []


def unpickle_intruder() -> str:
    while turns:
        turns.pop()()
    return 'old'


def test_a_row_read_before_all_have_closed_is_not_kept(directory: str, other: Interpreter) -> None:
    with diskcache.Cache(directory) as cache:
        cache['key'] = Intruder()

    def replace() -> None:
        cache.close()
        script = "with Cache(directory) as cache:\n    cache['key'] = 'new'"
        other.run(script, directory=directory)
        assert 'another' not in cache  # Open again; the log is empty, as it was before.

    with diskcache.Cache(directory) as cache:
        turns.append(replace)
        assert cache['key'] == 'old'
        assert cache['key'] == 'new'


COUNT = """
import mmap, sys
from diskcache import Cache

with open(sys.argv[2], 'r+b') as file, Cache(sys.argv[1]) as cache:
    done = mmap.mmap(file.fileno(), 8)
    for number in range(1, 3001):
        cache.set(number, 1)
        done[:] = number.to_bytes(8, 'little')
"""


@pytest.mark.parametrize('package', ['ours', 'original'])
def test_no_number_of_items_is_older_than_the_last_commit(
    directory: str, tmp_path: Path, original_package: Path, package: str
) -> None:
    """Which memory answers, too."""
    board = tmp_path / 'board'
    board.write_bytes(bytes(8))
    paths = {} if package == 'ours' else {'PYTHONPATH': str(original_package)}
    with diskcache.Cache(directory) as cache, board.open('rb') as file:
        done = mmap.mmap(file.fileno(), 8, access=mmap.ACCESS_READ)
        writer = subprocess.Popen(
            [sys.executable, '-c', COUNT, directory, str(board)], env={**os.environ, **paths}
        )
        while (before := int.from_bytes(done[:], 'little')) < 3000 and writer.poll() is None:
            first, second = len(cache), len(cache)
            assert before <= first <= second
        assert writer.wait(60) == 0
        assert len(cache) == 3000


def test_threads_read_while_one_of_them_changes_the_journal(
    alone: Interpreter, directory: str
) -> None:
    script = """
    cache = Cache(directory, timeout=0.01, sqlite_synchronous=2)  # Operations release the GIL.
    cache['key'] = 'value'
    wrong = []
    stop = threading.Event()
    def read():
        while not stop.is_set():
            try:
                if cache['key'] != 'value':
                    wrong.append('another value')
            except diskcache.Timeout:
                pass  # Just being changed.
            except Exception as error:
                wrong.append(error)
    thread = threading.Thread(target=read)
    thread.start()
    changes = 0
    for turn in range(60):
        for mode in ('delete', 'wal'):
            time.sleep(0.002)
            try:
                cache.reset('sqlite_journal_mode', mode)
                changes += 1
            except diskcache.Timeout:
                pass  # The reader has a connection of its own.
    stop.set()
    thread.join()
    changes > 0, wrong, cache.memory_stats()['hits'] > 0
    """
    assert alone.run(script, directory=directory) == (True, [], True)


# --- the check itself -----------------------------------------------------------------------------


class Stub:
    """A cache that answers what it is told to."""

    directory: str
    memory_limit = 0
    answer: Any

    def get(self, key: Any, default: Any = None, **_: Any) -> Any:
        return default if self.answer is None else self.answer

    def __contains__(self, key: Any) -> bool:
        return self.answer is not None

    def memory_stats(self) -> dict[str, int]:
        return {}


class Check:
    """A reader of one register, and the board between it and the writer."""

    def __init__(self, scratch: Path, kind: str) -> None:
        self.scratch = scratch
        self.cache = Stub()
        self.cache.directory = str(scratch / 'cache')
        work = coherence.Work(
            name='check', seed='', directory=self.cache.directory, scratch=str(scratch),
            kinds=(kind,), all_writers=1, all_threads=1,
            role={'package': 'ours'}, first_writer=0, first_thread=0,
        )  # fmt: skip
        self.board = work.board
        self.register = work.registers[0]
        self.reader = coherence.Reader(work, 'reader')

    def accepts(self, answer: Any, done: int, begun: int, way: str = 'get') -> bool:
        """Tell whether a reader is content with `answer`."""
        self.board.done[0], self.board.begun[0] = done, begun
        self.cache.answer = answer
        try:
            self.reader.look(self.cache, self.register, 0, way)
        except coherence.Stopped:
            return False
        return True


@pytest.mark.parametrize(
    ('kind', 'answer', 'done', 'begun', 'accepted'),
    [
        ('item', 5, 5, 5, True),
        ('item', 5, 4, 5, True),  # Committed, but not published yet.
        ('item', 4, 4, 5, True),  # Not committed yet.
        ('item', 4, 5, 5, False),
        ('item', 6, 5, 5, False),  # Rolled back, or from nowhere.
        ('item', None, 0, 0, True),
        ('item', None, 0, 1, True),
        ('item', None, 1, 1, False),  # Found to be absent before the first set.
        ('item', '00000000060000000006', 6, 6, True),
        ('item', '00000000060000000007', 6, 7, False),  # Torn.
        ('add, delete', 5, 5, 5, True),
        ('add, delete', None, 5, 6, True),
        ('add, delete', None, 5, 5, False),
        ('add, delete', None, 6, 6, True),
        ('add, delete', 5, 6, 6, False),  # Deleted, and still there.
        ('add, delete', 7, 6, 7, True),
    ],
)
def test_what_the_check_accepts(
    tmp_path: Path, kind: str, answer: Any, done: int, begun: int, accepted: bool
) -> None:
    check = Check(tmp_path, kind)
    assert check.accepts(answer, done, begun) is accepted
    assert check.board.stopped is not accepted
    assert (tmp_path / 'stories').exists() is not accepted


def test_a_key_is_checked_even_if_its_value_is_not_read(tmp_path: Path) -> None:
    check = Check(tmp_path, 'add, delete')
    assert check.accepts(5, 5, 5, way='in')
    assert check.accepts(None, 6, 6, way='in')
    assert not check.accepts(5, 6, 6, way='in')


def test_a_reader_does_not_go_back_behind_another_read(tmp_path: Path) -> None:
    check = Check(tmp_path, 'item')
    assert check.accepts(5, 4, 5)
    assert check.board.seen[0] == 5
    assert not check.accepts(4, 4, 5)


def test_expiry_and_tag_must_be_of_the_same_number_as_the_value(tmp_path: Path) -> None:
    check = Check(tmp_path, 'set')
    assert check.accepts((3, None, 3), 3, 3, way='details')
    assert not check.accepts((3, None, 2), 3, 3, way='details')


def test_a_violation_is_told_with_all_that_is_known(tmp_path: Path) -> None:
    check = Check(tmp_path, 'item')
    assert not check.accepts(4, 7, 8)
    story = (tmp_path / 'stories').read_text()
    for part in ("key: 'register 0 part 0'", 'way: get', 'got: 4', 'before: 7', 'begun now: 8',
                 'memory_stats', 'a new Cache without memory: False'):  # fmt: skip
        assert part in story
