"""Initializing again, transactions made by hand, objects made without __init__."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from consistency import value_files
from interpreter import Interpreter
from threads import in_thread

import diskcache

LARGE = b'x' * 100_000


def test_a_cache_in_a_transaction_cannot_be_initialized_again(
    cache: diskcache.Cache, tmp_path: Path, assert_intact: Callable
) -> None:
    with pytest.raises(RuntimeError), cache.transact():
        cache['key'] = LARGE
        cache.__init__(str(tmp_path / 'elsewhere'))
    assert cache.directory == str(tmp_path / 'cache')
    assert 'key' not in cache
    cache['key'] = LARGE
    with diskcache.Cache(str(tmp_path / 'cache')) as another:
        assert another['key'] == LARGE
    assert_intact(cache)


def test_a_cache_cannot_be_initialized_again_while_another_thread_is_in_a_transaction(
    cache: diskcache.Cache, tmp_path: Path, assert_intact: Callable
) -> None:
    with cache.transact():
        cache['key'] = LARGE
        with pytest.raises(RuntimeError):
            in_thread(lambda: cache.__init__(str(tmp_path / 'elsewhere')))
    assert cache['key'] == LARGE
    assert_intact(cache)


def test_a_cache_initialized_again_elsewhere_has_its_rows_and_files_there(
    cache: diskcache.Cache, tmp_path: Path, assert_intact: Callable
) -> None:
    before, elsewhere = cache.directory, str(tmp_path / 'elsewhere')
    cache['before'] = LARGE
    cache.__init__(elsewhere)
    cache['after'] = LARGE
    assert cache.directory == elsewhere
    assert list(cache) == ['after']
    assert cache['after'] == LARGE
    assert len(value_files(elsewhere)) == len(value_files(before)) == 1
    assert in_thread(lambda: list(cache)) == ['after']
    assert_intact(cache)
    with diskcache.Cache(before) as another:
        assert list(another) == ['before']
        assert_intact(another)


@pytest.mark.parametrize('use', ['transaction.__enter__()', 'transaction._cleanup("name")'])
def test_a_transaction_made_by_hand_cannot_be_used(alone: Interpreter, use: str) -> None:
    script = f"""
    import diskcache.core
    transaction = diskcache.core.Transaction()
    try:
        {use}
    except RuntimeError as error:
        outcome = 'RuntimeError'
    outcome
    """
    assert alone.run(script) == 'RuntimeError'


@pytest.mark.parametrize('name', ['Cache', 'Disk', 'JSONDisk'])
def test_no_method_of_an_object_that_was_not_initialized_crashes(
    alone: Interpreter, tmp_path: Path, name: str
) -> None:
    def scenario(name: str, working_directory: str) -> None:
        os.chdir(working_directory)  # Some methods make the directory 'a'.
        kind = getattr(diskcache, name)
        candidates = ((), (1,), ('a',), (b'a',), (1, 2), ('a', 1), (1, 2, 3), (2, 'x', None, True))
        for method in dir(kind):
            if method in ('__class__', '__init_subclass__', '__new__', '__subclasshook__'):
                continue
            if method == '__init__':  # Would make the object a usable one.
                continue
            for arguments in candidates:
                uninitialized = kind.__new__(kind)
                try:
                    getattr(uninitialized, method)(*arguments)
                except Exception:
                    pass

    alone.run(scenario, name=name, working_directory=str(tmp_path))


def test_the_name_of_a_directory_need_not_be_text(tmp_path: Path) -> None:
    """On Linux it is bytes: Python has what is not UTF-8 as surrogates."""
    with diskcache.Cache(os.fsencode(tmp_path) + b'/\xa7') as cache:  # type: ignore[arg-type]
        cache['key'] = b'value' * 20_000
        assert cache.pop('key') == b'value' * 20_000
    assert os.listdir(os.fsencode(tmp_path)) == [b'\xa7']


def test_an_empty_name_of_a_directory_is_refused() -> None:
    with pytest.raises(FileNotFoundError, match='Cache directory "" does not exist'):
        diskcache.Cache('')
