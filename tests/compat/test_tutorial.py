"""The original's tutorial: each of its examples gives exactly the output that is printed there.

The text is not ours to copy: it lies beside the checkout where this project is developed.
"""

from __future__ import annotations

import doctest

import pytest
from places import ROOT

import diskcache

TUTORIAL = ROOT.parent / 'shared' / 'original-tutorial.txt'


@pytest.mark.skipif(not TUTORIAL.exists(), reason='the text of the original is not here')
def test_the_examples_of_the_original_tutorial_give_its_outputs() -> None:
    failed, attempted = doctest.testfile(str(TUTORIAL), module_relative=False)
    assert failed == 0
    assert attempted == 137


def test_metadata_is_as_it_was_when_it_was_last_read(directory: str) -> None:
    """Programs read `cache.count`; it is an attribute, which only what reads Settings renews."""
    with diskcache.Cache(directory, disk_min_file_size=0) as cache:
        assert (cache.count, cache.size, cache.hits, cache.misses) == (0, 0, 0, 0)
        cache['key'] = b'value'
        assert cache.count == 0
        assert len(cache) == cache.count == 1
        assert cache.reset('size') == cache.size == 5
        with diskcache.Cache(directory) as other:
            other['key'] = b'other value'
        assert cache.size == 5
        cache.volume()
        assert cache.size == 11
        cache.stats(enable=True)
        assert cache.get('key'), cache.get('missing')
        assert (cache.hits, cache.misses) == (0, 0)
        assert cache.stats() == (cache.hits, cache.misses) == (1, 0)
    with diskcache.Cache(directory) as cache:
        assert (cache.count, cache.size, cache.hits, cache.misses) == (1, 11, 1, 0)
    assert diskcache.Cache(directory, count=5).count == 1  # as for the original, no setting


def test_what_may_evict_renews_the_size(directory: str) -> None:
    """A write looks whether there is too much, by `volume`; programs read `cache.size` after it."""
    with diskcache.Cache(directory, disk_min_file_size=0) as cache:
        cache['key'] = b'value'
        assert cache.size == 5
        cache.add('other', b'val')
        cache.push(b'v')
        assert cache.size == 9
        with cache.transact():
            cache['key'] = b''
            assert cache.size == 4
        cache['key'] = b'value'
        cache.size = 7
        assert cache.size == 7
        del cache.size
        assert not hasattr(cache, 'size')
        cache['key'] = b'value'
        assert cache.size == 9
        cache.reset('cull_limit', 0)
        assert cache.reset('size') == 9
        cache['key'] = b''
        assert cache.size == 9
        assert cache.reset('size') == 4
    with diskcache.Cache(directory, eviction_policy='none', cull_limit=10) as cache:
        cache['key'] = b'value'
        assert cache.size == 4


def test_a_subclass_may_have_methods_of_those_names(directory: str) -> None:
    class Counting(diskcache.Cache):
        def count(self) -> int:
            return len(self)

    with Counting(directory) as cache:
        cache['key'] = 1
        assert cache.count() == 1


def test_memoize_without_parentheses_says_what_the_original_says() -> None:
    """The hint is beside the message, which programs may compare."""
    with diskcache.Cache() as cache:
        with pytest.raises(TypeError) as caught:
            cache.memoize(len)
        assert caught.value.args == ('name cannot be callable',)
        assert str(caught.value.__cause__) == 'write @cache.memoize(), with parentheses'
