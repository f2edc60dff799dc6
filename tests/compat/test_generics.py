"""What ``Cache[str, int]`` is while a program runs; for type checkers see `tests/typing`."""

from __future__ import annotations

import pickle
import subprocess
import sys
import typing
from pathlib import Path
from types import GenericAlias
from typing import Any

import pytest

from diskcache import DEFAULT_SETTINGS, Cache, Deque, FanoutCache, Index, _core, hints, settings
from diskcache import typing as public

GENERIC = [Cache, FanoutCache, Deque, Index]


class Ages(Cache[str, int]):
    """A class whose base has types."""


@pytest.mark.parametrize('cls', [*GENERIC, _core.Cache])
def test_a_class_takes_types(cls: Any) -> None:
    types: Any = int if cls is Deque else (str, int)
    alias = cls[types]
    assert isinstance(alias, GenericAlias)
    assert typing.get_origin(alias) is cls
    assert typing.get_args(alias) == (types if isinstance(types, tuple) else (types,))
    assert repr(alias).endswith('[int]' if cls is Deque else '[str, int]')


@pytest.mark.parametrize('cls', GENERIC)
def test_with_types_it_makes_the_same_objects(cls: Any, directory: str) -> None:
    shown = cls[int](directory=directory) if cls is Deque else cls[str, int](directory)
    assert type(shown) is cls
    assert isinstance(shown, cls)
    again = pickle.loads(pickle.dumps(shown))
    assert (type(again), again.directory) == (cls, directory)


def test_a_class_derives_from_a_cache_with_types(directory: str) -> None:
    assert Ages.__mro__[1] is Cache
    assert issubclass(Ages, Cache)
    with Ages(directory) as ages:
        ages['Ann'] = 36
        assert type(pickle.loads(pickle.dumps(ages))) is Ages
    with Cache(directory) as cache:
        assert cache['Ann'] == 36
        assert not isinstance(cache, Ages)


def test_an_alias_is_no_class(cache: Cache) -> None:
    with pytest.raises(TypeError):
        isinstance(cache, Cache[str, int])


def test_types_need_no_setting_of_their_own(directory: str) -> None:
    with Cache[str, int](directory) as cache:
        names = {key for (key,) in cache._sql('SELECT key FROM Settings')}
    assert not any('class' in name for name in names)


def test_what_annotations_name_is_there_while_a_program_runs() -> None:
    """And it means what it says to `get_type_hints`."""
    assert set(public.__all__) <= set(vars(public))
    assert set(hints.__all__) - {'TYPE_CHECKING'} <= set(vars(hints))
    assert typing.get_type_hints(Cache.memoize)['tag'] is object
    assert typing.get_type_hints(public.Settings)['size_limit'] is float


def test_each_setting_has_a_type() -> None:
    names = {*DEFAULT_SETTINGS, 'sqlite_page_size', 'disk_compress_level', *settings._PARAMETERS}
    assert public.Settings.__annotations__.keys() == names


def test_the_package_does_not_import_typing(tmp_path: Path) -> None:
    script = """
import sys, diskcache
with diskcache.Cache[str, int]('cache') as cache:
    cache['key'] = 1
    cache.memoize()(len)
assert 'diskcache.typing' not in sys.modules
"""
    subprocess.run([sys.executable, '-c', script], check=True, cwd=tmp_path)
