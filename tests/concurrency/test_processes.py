"""Several processes at work in one directory, some of which are killed."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest
from interpreter import Interpreter, at_once

import diskcache

LARGE = b'x' * 50_000


@pytest.mark.parametrize('settings', [{}, {'eviction_policy': 'least-recently-used'}],
                         ids=['default', 'LRU'])  # fmt: skip
def test_no_write_is_lost(
    crew: list[Interpreter], directory: str, assert_intact: Callable, settings: dict
) -> None:
    script = """
    with Cache(directory, **settings) as cache:
        for turn in range(150):
            cache.incr('count', retry=True)
            cache.set((number, turn), turn if turn % 10 else 'x' * 50_000, retry=True)
            assert cache.get((number, turn), retry=True) is not None
            with cache.transact(retry=True):
                cache['sum'] = cache.get('sum', 0) + 2
    """
    at_once(crew, script, directory=directory, settings=settings)
    with diskcache.Cache(directory) as cache:
        assert (cache['count'], cache['sum'], len(cache)) == (600, 1200, 602)
        assert_intact(cache)


def test_a_write_of_one_is_seen_by_the_others_at_once(
    cache: diskcache.Cache, other: Interpreter
) -> None:
    for turn in range(100):
        cache['key'] = turn
        assert other.run("Cache(directory)['key']", directory=cache.directory) == turn
        other.run("Cache(directory)['key'] = -1", directory=cache.directory)
        assert cache['key'] == -1
        other.run("del Cache(directory)['key']", directory=cache.directory)
        assert 'key' not in cache


def test_only_one_add_succeeds(crew: list[Interpreter], directory: str) -> None:
    script = """
    with Cache(directory) as cache:
        answer = [cache.add(turn, number, retry=True) for turn in range(100)]
    answer
    """
    answers = at_once(crew, script, directory=directory)
    assert [sum(column) for column in zip(*answers, strict=True)] == [1] * 100


def test_statistics_of_all_add_up(crew: list[Interpreter], directory: str) -> None:
    script = """
    with Cache(directory, statistics=1) as cache:
        for turn in range(100):
            cache.get('missing', retry=True)
            cache.set(number, turn, retry=True)
            cache.get(number, retry=True)
    """
    at_once(crew, script, directory=directory)
    with diskcache.Cache(directory) as cache:
        assert cache.stats() == (400, 400)


def test_clear_and_check_get_along_with_writers(
    crew: list[Interpreter], directory: str, assert_intact: Callable
) -> None:
    script = """
    with Cache(directory) as cache:
        for turn in range(40):
            if number == 0:
                cache.clear(retry=True)
            elif number == 1 and turn % 4 == 0:
                cache.check(fix=True, retry=True)
            else:
                cache.set((number, turn), 'x' * 50_000, retry=True)
                value = cache.get((number, turn), retry=True)
                assert value is None or len(value) == 50_000
    """
    at_once(crew, script, directory=directory)
    with diskcache.Cache(directory) as cache:
        assert_intact(cache)


@pytest.mark.slow
@pytest.mark.parametrize('turn', range(4))
def test_killed_writers_leave_a_sound_cache(
    crew: list[Interpreter], directory: str, turn: int
) -> None:
    script = """
    cache = Cache(directory)
    while True:
        with cache.transact(retry=True):
            value = cache.get('a', 0) + 1
            cache['a'] = cache['b'] = value
            cache['file'] = bytes([value % 256]) * 50_000
    """
    with diskcache.Cache(directory) as cache:
        for interpreter in crew:
            interpreter.start(script, directory=directory)
        while cache.get('a', 0, retry=True) < 20 + turn * 7:
            time.sleep(0.001)
        for interpreter in crew:
            interpreter.kill()
        assert cache['a'] == cache['b']
        assert cache['file'] == bytes([cache['a'] % 256]) * 50_000
        with diskcache.Cache(directory, timeout=0) as second:
            assert second.set('at once', 1)
        assert cache._sql('PRAGMA integrity_check').fetchall() == [('ok',)]
        categories = {warning.category for warning in cache.check()}
        allowed = {diskcache.UnknownFileWarning, diskcache.EmptyDirWarning}
        assert categories <= allowed, 'only files without a row may be left'


def test_a_cache_pickled_here_works_there(cache: diskcache.Cache, other: Interpreter) -> None:
    import pickle

    cache['key'] = LARGE
    script = "cache = pickle.loads(pickled)\ncache['there'] = 1\nlen(cache['key'])"
    assert other.run(script, pickled=pickle.dumps(cache)) == len(LARGE)
    assert cache['there'] == 1


@pytest.mark.parametrize('method', ['fork', 'spawn', 'forkserver'])
def test_pools_of_multiprocessing_share_a_cache(
    cache: diskcache.Cache, alone: Interpreter, method: str, tmp_path: object
) -> None:
    (tmp_path / 'pool_work.py').write_text(
        'def work(arguments):\n'
        '    cache, number = arguments\n'
        '    cache[number] = number * 2\n'
        "    return cache.incr('count', retry=True) and cache[number]\n"
    )
    script = """
    import multiprocessing
    sys.path.insert(0, path)
    import pool_work
    cache = Cache(directory)
    cache['before'] = 1
    sys.modules['__main__'].__spec__ = None
    vars(sys.modules['__main__']).pop('__file__', None)
    with multiprocessing.get_context(method).Pool(3) as pool:
        results = pool.map(pool_work.work, [(cache, number) for number in range(60)])
    assert cache['count'] == 60 and cache['before'] == 1
    results
    """
    names = {'directory': cache.directory, 'method': method, 'path': str(tmp_path)}
    assert alone.run(script, **names) == [number * 2 for number in range(60)]
