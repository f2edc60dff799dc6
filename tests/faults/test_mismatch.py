"""A cache that is opened or used in another way than it was made for is not so in silence."""

from __future__ import annotations

import os
import shutil
import threading
import warnings
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest
from interpreter import Interpreter

import diskcache
from diskcache import Cache, Disk, FanoutCache, JSONDisk


class Squeezed(Disk):
    """A Disk whose values only it can read."""

    def __init__(self, directory: str, level: int = 1, **options: object) -> None:
        """Set how much to compress."""
        self.level = level
        super().__init__(directory, **options)

    def store(self, value: bytes, read: bool, key: object = diskcache.UNKNOWN) -> tuple:
        """Compress."""
        return super().store(zlib.compress(value, self.level), read, key=key)

    def fetch(self, mode: int, filename: str | None, value: bytes, read: bool) -> bytes:
        """Decompress."""
        return zlib.decompress(super().fetch(mode, filename, value, read))


class Placed(Disk):
    """A Disk that places its files elsewhere, and keeps what is in them as all do."""

    def filename(
        self, key: object = diskcache.UNKNOWN, value: object = diskcache.UNKNOWN
    ) -> tuple[str, str]:
        """Return a name in another folder."""
        name, _ = super().filename(key, value)
        return f'values/{name}', os.path.join(self._directory, 'values', name)


def warned(function: Callable, *args: object, **kwargs: object) -> list[str]:
    """Call a function, close what it returns, and return the texts of the warnings."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter('always')
        result = function(*args, **kwargs)
    for one in (result, getattr(result, 'cache', None)):
        getattr(one, 'close', bool)()
    assert all(warning.category is diskcache.CacheWarning for warning in caught)
    assert all(warning.filename == __file__ for warning in caught)
    return [str(warning.message) for warning in caught]


def fill(cache: Cache | FanoutCache, value: object = 'value') -> None:
    """Store some items, and close the cache."""
    for number in range(40):
        cache[f'key {number}'] = value
    cache.close()


@pytest.fixture(params=['ours', "the original's"])
def make(
    request: pytest.FixtureRequest, original: Interpreter, directory: str
) -> Callable[[str], None]:
    """A function that makes a cache in `directory`, here or with the original, and fills it."""

    def make(expression: str) -> None:
        if request.param == 'ours':
            fill(eval(expression, {**vars(diskcache), 'directory': directory}))
            return
        original.run(
            f"""
            with diskcache.{expression.replace('disk=', 'disk=diskcache.')} as cache:
                for number in range(40):
                    cache[f'key {{number}}'] = 'value'
            """,
            directory=directory,
        )

    return make


# --- shards ---


@pytest.mark.parametrize(('made', 'opened'), [(16, 8), (8, 16), (3, 2), (2, 3), (1, 8), (8, 1)])
def test_another_number_of_shards(
    make: Callable[[str], None], directory: str, made: int, opened: int
) -> None:
    make(f'FanoutCache(directory, {made})')
    (text,) = warned(FanoutCache, directory, opened)
    assert directory in text
    assert f'with {made} shards' in text
    assert f'with {opened}' in text
    assert f'shards={made}' in text
    assert warned(FanoutCache, directory, opened) == []  # it is said once


def test_each_process_is_warned(directory: str, other: Interpreter) -> None:
    fill(FanoutCache(directory, 16))
    script = """
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter('always')
        diskcache.FanoutCache(directory, shards=8).close()
    [str(warning.message) for warning in caught]
    """
    assert warned(FanoutCache, directory) == other.run(script, directory=directory) != []


def test_what_has_once_been_opened_with_more_shards_keeps_its_own_number(directory: str) -> None:
    fill(FanoutCache(directory, 4))
    assert len(warned(FanoutCache, directory, 8)) == 1
    diskcache.cautions._warned.clear()  # as in another process
    assert warned(FanoutCache, directory, 4) == []
    assert len(warned(FanoutCache, directory, 8)) == 1


def test_an_empty_one_may_get_more_shards(directory: str) -> None:
    FanoutCache(directory, 4).close()
    assert warned(FanoutCache, directory, 8) == []
    fill(FanoutCache(directory, 8))
    assert warned(FanoutCache, directory, 8) == []
    assert len(warned(FanoutCache, directory, 4)) == 1


def test_shards_that_are_still_being_made_are_no_mismatch(
    make: Callable[[str], None], directory: str
) -> None:
    """Another process has made, and perhaps used, the first of them."""
    make('FanoutCache(directory, 8)')
    for number in range(3, 8):
        shutil.rmtree(f'{directory}/{number:03d}')
    assert warned(FanoutCache, directory, 8) == []


@pytest.mark.slow
def test_many_may_open_a_new_one_at_once(directory: str, other: Interpreter) -> None:
    script = """
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter('always')
        for number in range(20):
            with diskcache.FanoutCache(f'{directory}/{number}', shards=6) as cache:
                cache[number] = number
            with diskcache.Cache(f'{directory}/cache{number}') as cache:
                cache[number] = number
    [str(warning.message) for warning in caught]
    """
    other.start(script, directory=directory)
    found: list[str] = []

    def open_all() -> None:
        for number in range(20):
            FanoutCache(f'{directory}/{number}', shards=6).close()
            Cache(f'{directory}/cache{number}').close()

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter('always')
        threads = [threading.Thread(target=open_all) for _ in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        found = [str(warning.message) for warning in caught]
    assert found == other.result() == []


# --- a Cache and a FanoutCache ---


CACHES: dict[str, Callable] = {
    'Cache': Cache,
    'Deque': lambda directory: diskcache.Deque(directory=directory),
    'Index': diskcache.Index,
}


@pytest.mark.parametrize('kind', CACHES)
def test_a_cache_where_there_are_shards(
    make: Callable[[str], None], directory: str, kind: str
) -> None:
    make('FanoutCache(directory, 5)')
    (text,) = warned(CACHES[kind], directory)
    assert 'FanoutCache of 5 shards' in text
    assert 'as a Cache' in text
    assert 'shards=5' in text
    assert directory in text
    assert warned(CACHES[kind], directory) == []


@pytest.mark.parametrize('made', ['Cache(directory)', "Cache(directory, eviction_policy='none')"])
def test_shards_where_there_is_a_cache(
    make: Callable[[str], None], directory: str, made: str
) -> None:
    make(made)
    (text,) = warned(FanoutCache, directory)
    assert f'{directory} holds a Cache' in text
    assert 'as a FanoutCache' in text
    assert warned(FanoutCache, directory) == []


def test_a_filter_that_makes_errors_of_warnings_keeps_all_as_it_is(directory: str) -> None:
    fill(Cache(directory))
    before = sorted(os.listdir(directory))
    for _ in range(2):
        with warnings.catch_warnings():
            warnings.simplefilter('error')
            with pytest.raises(UserWarning, match='holds a Cache'):
                FanoutCache(directory)
    assert sorted(os.listdir(directory)) == before


def test_caches_whose_names_are_numbers_are_no_shards(directory: str) -> None:
    fill(Cache(f'{directory}/000'))
    assert warned(Cache, directory) == []


# --- Disks ---


def test_json_opened_with_the_usual_disk(make: Callable[[str], None], directory: str) -> None:
    make('Cache(directory, disk=JSONDisk)')
    (text,) = warned(Cache, directory)
    assert directory in text
    assert 'with the Disk diskcache.core.JSONDisk' in text
    assert 'with diskcache.core.Disk' in text
    assert 'disk=JSONDisk' in text
    assert warned(Cache, directory, disk=JSONDisk) == []


def test_the_usual_disk_opened_with_json(make: Callable[[str], None], directory: str) -> None:
    make('Cache(directory)')
    (text,) = warned(Cache, directory, disk=JSONDisk)
    assert 'with the Disk diskcache.core.Disk ' in text
    assert 'with diskcache.core.JSONDisk' in text
    assert warned(Cache, directory, disk=JSONDisk) == []
    assert warned(Cache, directory) == []


def test_a_disk_that_cannot_be_told_from_the_keys_is_recorded(directory: str) -> None:
    fill(Cache(directory, disk=Squeezed), b'value')
    (text,) = warned(Cache, directory)
    assert f'with the Disk {__name__}.Squeezed' in text
    assert 'disk=Squeezed' in text
    plain = os.path.join(directory, 'plain')
    fill(Cache(plain))
    (text,) = warned(Cache, plain, disk=Squeezed)
    assert 'with the Disk diskcache.core.Disk ' in text


def test_the_warning_comes_before_the_error_about_an_argument_of_the_disk(directory: str) -> None:
    fill(Cache(directory, disk=JSONDisk, disk_compress_level=9))
    with (
        pytest.warns(UserWarning, match='with the Disk diskcache.core.JSONDisk'),
        pytest.raises(TypeError, match='compress_level'),
    ):
        Cache(directory)


def test_a_fanout_cache_tells_of_its_shards_disk_once(
    make: Callable[[str], None], directory: str
) -> None:
    make('FanoutCache(directory, 4, disk=JSONDisk)')
    (text,) = warned(FanoutCache, directory, 4)
    assert text.startswith(f'{directory} was written with the Disk diskcache.core.JSONDisk')


def test_an_empty_cache_may_get_another_disk(directory: str) -> None:
    with Cache(directory) as cache:
        cache['key'] = 'value'
        cache.clear()
    assert warned(Cache, directory, disk=JSONDisk) == []
    fill(Cache(directory, disk=JSONDisk))
    assert warned(Cache, directory, disk=JSONDisk) == []
    assert len(warned(Cache, directory)) == 1


@pytest.mark.parametrize('disk', [Disk, JSONDisk, Squeezed, Placed])
def test_the_same_disk_again_is_no_mismatch(directory: str, disk: type[Disk]) -> None:
    fill(Cache(directory, disk=disk), b'value'.hex() if disk is JSONDisk else b'value')
    assert warned(Cache, directory, disk=disk) == []
    with FanoutCache(f'{directory}/fanout', disk=disk) as fanout:
        fanout.cache('part')
        fanout.deque('part')
        fanout.index('part')
    assert warned(FanoutCache, f'{directory}/fanout', disk=disk) == []
    for part in ('cache', 'deque', 'index'):
        assert warned(Cache, f'{directory}/fanout/{part}/part', disk=disk) == []


def test_a_disk_that_changes_nothing_of_what_is_stored_is_no_mismatch(directory: str) -> None:
    class Noted(JSONDisk):
        def __init__(self, directory: str, **options: object) -> None:
            super().__init__(directory, compress_level=9, **options)

    fill(Cache(directory, disk=Placed))
    assert warned(Cache, directory) == []
    fill(Cache(f'{directory}/json', disk=Noted))
    assert warned(Cache, f'{directory}/json', disk=JSONDisk) == []


def test_a_class_that_has_gone_to_another_module_is_the_same(directory: str) -> None:
    fill(Cache(directory, disk=Squeezed), b'value')
    moved = type('Squeezed', (Squeezed,), {'__module__': '__main__', 'level': 1})
    assert warned(Cache, directory, disk=moved) == []


def test_a_queue_of_the_originals_with_json_is_no_mismatch(
    original: Interpreter, directory: str
) -> None:
    """The keys that push makes are numbers, and texts with numbers, under every Disk."""
    original.run(
        """
        with Cache(directory, disk=diskcache.JSONDisk) as cache:
            cache.push('value')
            cache.push('value', prefix='a')
        """,
        directory=directory,
    )
    assert warned(Cache, directory, disk=JSONDisk) == []


# --- with the original ---


def test_the_original_does_not_mind_the_record(
    original: Interpreter, other: Interpreter, tmp_path: Path
) -> None:
    script = """
    answers = []
    for number, options in enumerate([{}, {'disk': diskcache.JSONDisk}]):
        with diskcache.FanoutCache(f'{directory}/{number}', shards=3, **options) as cache:
            answers += [cache.check(), len(cache), sorted(cache), cache.get('key')]
            cache['other'] = 'value'
            shard = cache._shards[0]
            answers += [shard._sql('SELECT * FROM Settings ORDER BY key').fetchall()]
            answers += [sorted(name for name in vars(shard) if name[0] != '_')]
            answers += [cache.check(fix=True), cache.volume()]
    answers
    """
    for directory in (tmp_path / 'original', tmp_path / 'ours'):
        interpreter = original if directory.name == 'original' else other
        interpreter.run(
            """
            for number, options in enumerate([{}, {'disk': diskcache.JSONDisk}]):
                with diskcache.FanoutCache(
                    f'{directory}/{number}', shards=3, sqlite_page_size=4096, **options
                ) as cache:
                    cache['key'] = 'value'
            """,
            directory=str(directory),
        )
    answers = [
        original.run(script, directory=str(tmp_path / name)) for name in ('original', 'ours')
    ]
    assert answers[0] == answers[1]
    for number, disk in enumerate([Disk, JSONDisk]):
        assert warned(FanoutCache, str(tmp_path / 'ours' / str(number)), 3, disk=disk) == []


def test_the_record_takes_no_page(directory: str) -> None:
    with Cache(directory) as cache:
        volume = cache.volume()
        cache._sql('DROP VIEW Cache_origin')
        assert cache.volume() == volume


# --- a cache that may evict what is not to be lost ---


KEEPERS: dict[str, Callable] = {
    'Lock': lambda cache: diskcache.Lock(cache, 'key'),
    'RLock': lambda cache: diskcache.RLock(cache, 'key'),
    'BoundedSemaphore': lambda cache: diskcache.BoundedSemaphore(cache, 'key'),
    'Averager': lambda cache: diskcache.Averager(cache, 'key'),
    'throttle': lambda cache: diskcache.throttle(cache, 1, 1),
    'barrier': lambda cache: diskcache.barrier(cache, diskcache.Lock)(print),
    'Deque': lambda cache: diskcache.Deque.fromcache(cache),
    'Index': lambda cache: diskcache.Index.fromcache(cache),
}

SHARED = [name for name in KEEPERS if name not in ('Deque', 'Index')]


@pytest.mark.parametrize('keeper', KEEPERS)
def test_what_must_not_be_lost_in_a_small_cache_that_evicts(directory: str, keeper: str) -> None:
    with Cache(directory, size_limit=10_000_000) as cache:
        (text,) = warned(KEEPERS[keeper], cache)
        assert directory in text
        assert "'least-recently-stored'" in text
        assert '10,000,000 bytes' in text
        assert "eviction_policy='none'" in text
        assert (keeper if keeper != 'barrier' else 'Lock') in text
        for other in KEEPERS.values():  # it is said once
            assert warned(other, cache) == []


@pytest.mark.parametrize('keeper', SHARED)
def test_the_limit_of_a_fanout_cache_is_that_of_the_whole(directory: str, keeper: str) -> None:
    with FanoutCache(directory, size_limit=2**28, shards=4) as cache:
        assert warned(KEEPERS[keeper], cache) == []
    with FanoutCache(f'{directory}/small', size_limit=2**27, shards=4) as cache:
        (text,) = warned(KEEPERS[keeper], cache)
        assert '134,217,728 bytes' in text


@pytest.mark.parametrize('keeper', KEEPERS)
@pytest.mark.parametrize(
    'settings',
    [
        {},
        {'size_limit': 10_000, 'eviction_policy': 'none'},
        {'size_limit': 10_000, 'cull_limit': 0},
    ],
    ids=['large', 'none', 'no culling'],
)
def test_a_cache_that_does_not_evict_is_no_trap(
    directory: str, keeper: str, settings: dict
) -> None:
    with Cache(directory, **settings) as cache:
        assert warned(KEEPERS[keeper], cache) == []


def test_results_may_be_evicted_and_deques_by_themselves_are_not(directory: str) -> None:
    with FanoutCache(directory, size_limit=10_000_000) as cache:
        assert warned(diskcache.memoize_stampede, cache, 60) == []
        assert warned(cache.deque, 'deque') == []
        assert warned(cache.index, 'index') == []
    assert warned(diskcache.Deque, 'abc') == []
    assert warned(diskcache.Index) == []


def test_a_recipe_takes_what_behaves_like_a_cache() -> None:
    class Like:
        eviction_policy = 'least-recently-used'
        size_limit = 10
        add = staticmethod(dict)

    assert warned(diskcache.Lock, Like(), 'key') == []
