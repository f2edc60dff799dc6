"""The original's tutorial: each of its examples gives exactly the output that is printed there."""

from __future__ import annotations

import doctest
from pathlib import Path

import pytest

import diskcache

EXAMPLES = Path(__file__).with_name('tutorial_examples.txt')


def test_the_examples_of_the_original_tutorial_give_its_outputs() -> None:
    parser = doctest.DocTestParser()
    test = parser.get_doctest(EXAMPLES.read_text(), {}, EXAMPLES.name, str(EXAMPLES), 0)
    report: list[str] = []
    result = doctest.DocTestRunner(verbose=False).run(test, out=report.append)
    assert (result.failed, ''.join(report)) == (0, '')
    assert result.attempted == 137


def test_metadata_is_as_it_was_when_it_was_last_read(directory: str) -> None:
    """Programs read `cache.count`; it is an attribute, which only what reads Settings renews."""
    with diskcache.Cache(directory, disk_min_file_size=0) as cache:
        assert (cache.count, cache.size, cache.hits, cache.misses) == (0, 0, 0, 0)
        cache['key'] = b'value'
        assert (cache.count, cache.size) == (0, 0)
        assert len(cache) == cache.count == 1
        assert cache.reset('size') == cache.size == 5
        cache['key'] = b'other value'
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
