"""What is probably not what was meant: one warning, of the user's line, and then it is done.

A program that runs on the original runs here. All of these are `CacheWarning`, so that a program
can filter them.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import pytest
from interpreter import Interpreter

import diskcache
from diskcache import Cache, CacheWarning, FanoutCache


def warned(function: Callable[..., Any], *args: Any, **kwargs: Any) -> list[str]:
    """Return what a call warns of, having seen that it is of this file."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter('always')
        result = function(*args, **kwargs)
        if hasattr(result, 'close'):
            result.close()
    assert all(each.category is CacheWarning for each in caught), caught
    assert all(each.filename == __file__ for each in caught), caught
    return [str(each.message) for each in caught]


@pytest.mark.parametrize('kind', ['Cache', 'FanoutCache'])
def test_stored_settings_of_the_names_of_methods_are_ignored(
    original: Interpreter, directory: str, kind: str
) -> None:
    """The original stores any keyword as a setting, and here are names that it has not got."""
    script = """
    getattr(diskcache, kind)(directory, keys=1, mode='r', on_error=2, read_only=True, own=4,
                             memory_limit=5, get_many=6).close()
    """
    original.run(script, directory=directory, kind=kind)
    cls = getattr(diskcache, kind)
    (text,) = warned(cls, directory)
    for name in ('keys', 'mode', 'on_error', 'read_only', 'memory_limit', 'get_many'):
        assert name in text
    assert directory in text
    assert '000' not in text.partition(':')[0]
    assert warned(cls, directory) == []
    with cls(directory) as cache:
        one = cache if kind == 'Cache' else cache._shards[0]
        assert one.own == 4
        assert one.memory_limit > 5
        assert cache.get_many(['key']) == {}
        assert one._setting('mode') == 'r'


def test_such_a_setting_is_ignored_when_it_is_given(directory: str) -> None:
    (text,) = warned(Cache, directory, keys=5)
    assert "'keys'" in text
    with Cache(directory) as cache:
        assert ('keys',) not in cache._sql('SELECT key FROM Settings').fetchall()
    for cls in (Cache, FanoutCache):
        with pytest.raises(TypeError, match='read_only'):
            cls(directory, read_only=True)
        with pytest.raises(TypeError, match='get'):
            cls(directory, get=5)
