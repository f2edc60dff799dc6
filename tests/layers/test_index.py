"""Index: an ordered mapping on disk, shared by processes."""

from __future__ import annotations

import copy
import math
import operator
import os
import pickle
import shutil
import tempfile
import threading
import time
from collections import ChainMap, OrderedDict, UserDict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from consistency import report_texts, stored_filenames, value_files
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from interpreter import PATIENCE, Interpreter

import diskcache
from diskcache import Cache, Disk, Index, JSONDisk

LARGE = b'x' * 100_000


class Upper(Disk):
    """A Disk that keeps the text of keys in capitals."""

    def put(self, key: str) -> tuple:
        """Write it large."""
        return super().put(key.upper())

    def get(self, key: str, raw: bool) -> str:
        """Write it small."""
        return super().get(key, raw).lower()


class Unreadable:
    """A value that can be pickled but not unpickled."""

    def __reduce__(self) -> tuple:
        return int, ('this is no number',)


class KeysOnly:
    """Something that has keys, but is no Mapping."""

    def keys(self) -> list:
        """Return the keys."""
        return ['a', 'b']

    def __getitem__(self, key: str) -> str:
        return key * 2


@pytest.fixture(autouse=True)
def _temporary_directories(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let directories of no name be made where pytest removes them."""
    monkeypatch.setattr(tempfile, 'tempdir', str(tmp_path))


@pytest.fixture
def letters(directory: str) -> Index:
    """An Index of the letters a to e and their numbers, in `directory`."""
    return Index(directory, zip('abcde', range(5), strict=True))


def interrupted() -> Iterator[tuple[str, int]]:
    """Give an item and then an error."""
    yield 'z', 0
    raise ArithmeticError


# Opening


def test_a_new_index_is_empty_and_false() -> None:
    assert (list(Index()), len(Index()), bool(Index())) == ([], 0, False)


def test_each_index_without_a_directory_has_one_of_its_own() -> None:
    assert len({Index(a=1).directory, Index(None, a=1).directory, Index({'a': 1}).directory}) == 3


@pytest.mark.parametrize('convert', [str, os.fsencode, Path])
def test_an_index_opened_again_has_its_items(directory: str, convert: Callable) -> None:
    Index(convert(directory), {'a': 1}).cache.close()
    again = Index(convert(directory), [('b', 2)], c=3)
    assert again.directory == directory
    assert dict(again) == {'a': 1, 'b': 2, 'c': 3}


@pytest.mark.parametrize(
    'make_arguments',
    [
        lambda: ({'a': 1, 'b': 2},),
        lambda: (None, {'a': 1, 'b': 2}),
        lambda: ([('a', 1), ('b', 2)],),
        lambda: (None, iter([('a', 1), ('b', 2)])),
        lambda: (OrderedDict(a=1, b=2),),
        lambda: (zip('ab', (1, 2), strict=True),),
    ],
)
def test_an_index_is_made_from_what_a_dict_is_made_from(
    make_arguments: Callable[[], tuple],
) -> None:
    index = Index(*make_arguments(), c=3)
    assert list(index.items()) == [('a', 1), ('b', 2), ('c', 3)]


def test_any_name_can_be_a_keyword(directory: str) -> None:
    names = {'directory': 1, 'other': 2, 'cache': 3, 'args': 4, 'disk': 5}
    assert Index(**names) == Index(directory, **names) == names
    index = Index()
    index.update(self=1, **names)
    assert index == {'self': 1, **names}


@pytest.mark.parametrize('arguments', [({}, {}), (None, {}, {}), ('directory', {}, {}), (1,)])
def test_other_arguments_are_errors(arguments: tuple, tmp_path: Path) -> None:
    arguments = tuple(str(tmp_path / 'new') if part == 'directory' else part for part in arguments)
    with pytest.raises(TypeError):
        Index(*arguments)


def test_fromcache_uses_the_cache_given(cache: Cache) -> None:
    index = Index.fromcache(cache, {'a': 1}, b=2)
    assert index.cache is cache
    assert index == {'a': 1, 'b': 2}


def test_the_directory_is_that_of_the_cache(letters: Index, directory: str) -> None:
    assert letters.directory == letters.cache.directory == directory


def test_items_are_never_evicted(letters: Index) -> None:
    assert letters.cache.eviction_policy == 'none'


def test_the_repr_names_the_directory(letters: Index, directory: str) -> None:
    assert repr(letters) == f'Index({directory!r}) of {len(letters)} items'


def test_an_index_cannot_be_hashed() -> None:
    with pytest.raises(TypeError):
        hash(Index())


# Items


@pytest.mark.parametrize(
    'key', [None, True, 0, -1.5, 2**70, '', 'é', b'a', (1, None), frozenset('a')], ids=repr
)
def test_keys_of_every_kind_find_their_values(key: object, letters: Index) -> None:
    assert key not in letters
    with pytest.raises(KeyError) as raised:
        letters[key]
    assert raised.value.args == (key,)
    letters[key] = 'value'
    assert (letters[key], key in letters, letters.get(key)) == ('value', True, 'value')
    del letters[key]
    assert (key in letters, letters.get(key), letters.get(key, 1)) == (False, None, 1)
    with pytest.raises(KeyError):
        del letters[key]


@pytest.mark.parametrize(
    'value',
    [None, False, 0, 1.5, 2**70, '', 'é\r\n', b'', (1, None), {'a': [1]}, 'x' * 100_000, LARGE],
    ids=lambda value: repr(value)[:20],
)
def test_values_of_every_kind_are_kept(value: object) -> None:
    index = Index(key=value)
    assert index['key'] == index.get('key') == index.setdefault('key', 1) == value
    assert index.peekitem() == ('key', value)
    assert type(index['key']) is type(value)
    assert index.pop('key', 'default') == value
    index['key'] = value
    assert index.popitem() == ('key', value)


def test_nan_is_a_value_but_no_key() -> None:
    index = Index()
    assert math.isnan(index.setdefault('key', math.nan))
    assert math.isnan(index['key'])
    for attempt in (
        lambda: index.setdefault(math.nan, 1),
        lambda: index.update({math.nan: 1}),
        lambda: operator.setitem(index, math.nan, 1),
    ):
        with pytest.raises(ValueError):
            attempt()
    assert list(index) == ['key']


def test_keys_are_those_of_the_disk_and_not_of_a_dict() -> None:
    index = Index()
    index[1] = 'int'
    index[True] = 'bool'
    assert (len(index), index[1], index[True]) == (2, 'int', 'bool')


def test_keys_keep_the_order_in_which_they_came(letters: Index) -> None:
    letters['b'] = LARGE
    del letters['c']
    letters['c'] = 2
    assert list(letters) == list('abdec')
    assert list(reversed(letters)) == list('cedba')


def test_clear_removes_all_items_and_files(letters: Index, assert_intact: Callable) -> None:
    letters['file'] = LARGE
    letters.clear()
    assert (list(letters), len(letters)) == ([], 0)
    assert_intact(letters.cache)


# pop, popitem and peekitem


def test_pop_gives_the_value_or_the_default(letters: Index) -> None:
    assert letters.pop('a') == 0
    assert (letters.pop('a', None), letters.pop('a', default=1)) == (None, 1)
    with pytest.raises(KeyError) as raised:
        letters.pop('a')
    assert raised.value.args == ('a',)


def test_items_are_popped_from_both_ends(letters: Index) -> None:
    assert letters.popitem() == ('e', 4)
    assert letters.popitem(last=False) == ('a', 0)
    assert letters.peekitem() == ('d', 3)
    assert letters.peekitem(last=False) == ('b', 1)
    assert list(letters) == list('bcd')


@pytest.mark.parametrize('method', ['popitem', 'peekitem'])
@pytest.mark.parametrize('last', [True, False])
def test_there_is_no_item_in_an_empty_index(method: str, last: bool) -> None:
    with pytest.raises(KeyError):
        getattr(Index(), method)(last)


def test_an_item_that_cannot_be_read_stays(letters: Index) -> None:
    letters['z'] = Unreadable()
    with pytest.raises(ValueError):
        letters.popitem()
    with pytest.raises(ValueError):
        letters.pop('z')
    assert list(letters) == list('abcdez')


def test_popped_items_leave_no_file(letters: Index, assert_intact: Callable) -> None:
    letters.update(f=LARGE, g=LARGE)
    assert (letters.popitem(), letters.pop('f')) == (('g', LARGE), LARGE)
    assert_intact(letters.cache)


# move_to_end


@pytest.mark.parametrize('last', [True, False])
@pytest.mark.parametrize('key', list('abcde'))
def test_a_key_is_moved_to_an_end(letters: Index, key: str, last: bool) -> None:
    expected = OrderedDict(letters)
    for _ in range(2):
        letters.move_to_end(key, last)
        expected.move_to_end(key, last)
        assert list(letters.items()) == list(expected.items())


def test_a_key_is_moved_to_the_back_by_default(letters: Index) -> None:
    letters.move_to_end('b')
    letters['f'] = 5
    assert list(letters) == list('acdebf')


def test_only_keys_can_be_moved(letters: Index) -> None:
    with pytest.raises(KeyError):
        letters.move_to_end('z')
    assert list(letters) == list('abcde')


@pytest.mark.parametrize('last', [True, False])
def test_moving_reads_and_writes_no_value(
    letters: Index, last: bool, assert_intact: Callable
) -> None:
    letters.update(x=LARGE, y=Unreadable(), z=1)
    files = stored_filenames(letters.cache)
    for key in 'xyx':
        letters.move_to_end(key, last)
    assert list(letters) == (list('abcdezyx') if last else list('xyabcdez'))
    assert letters['x'] == LARGE
    assert value_files(letters.directory) == files
    assert_intact(letters.cache)


# setdefault


def test_setdefault_keeps_the_value_that_is_there(letters: Index) -> None:
    assert letters.setdefault('a', 9) == 0
    assert letters.setdefault('z', 9) == 9
    assert letters.setdefault('none') is None
    assert (letters['a'], letters['z'], letters['none']) == (0, 9, None)


def test_setdefault_of_processes_agrees_on_one_value(
    directory: str, start_interpreter: Callable[[], Interpreter], other: Interpreter
) -> None:
    script = """
    index = diskcache.Index(directory)
    [index.setdefault(turn, (number, turn)) for turn in range(150)]
    """
    with start_interpreter() as second, start_interpreter() as third:
        processes = [other, second, third]
        for number, process in enumerate(processes):
            process.start(script, directory=directory, number=number)
        first, *rest = [process.result() for process in processes]
    assert rest == [first, first]
    assert list(Index(directory).values()) == sorted(first, key=operator.itemgetter(1))


@pytest.mark.filterwarnings('ignore:.*may evict')
def test_setdefault_of_a_value_that_cannot_be_kept_gives_it(directory: str) -> None:
    with Cache(directory, size_limit=50_000) as cache:
        index = Index.fromcache(cache)
        assert index.setdefault('key', LARGE) == LARGE
        assert 'key' not in index
        assert index.setdefault('key', 1) == 1


def test_setdefault_mends_an_item_of_which_the_file_is_gone(letters: Index) -> None:
    letters['a'] = LARGE
    (name,) = value_files(letters.directory)
    Path(letters.directory, name).unlink()
    assert letters.setdefault('a', 1) == 1
    assert letters['a'] == 1


# update


@pytest.mark.parametrize(
    'source',
    [
        {'a': 'aa', 'b': 'bb'},
        OrderedDict(a='aa', b='bb'),
        UserDict(a='aa', b='bb'),
        ChainMap({'a': 'aa', 'b': 'bb'}),
        KeysOnly(),
        [('a', 'aa'), ['b', 'bb']],
        {'a': 'aa', 'b': 'bb'}.items(),
    ],
    ids=lambda source: type(source).__name__,
)
def test_update_takes_what_the_one_of_a_dict_takes(letters: Index, source: object) -> None:
    expected = dict(letters)
    letters.update(source, c='cc', z=1)
    expected.update(source, c='cc', z=1)
    assert list(letters.items()) == list(expected.items())


def test_update_takes_generators_and_indexes(letters: Index) -> None:
    letters.update((key, key * 2) for key in 'ax')
    letters.update(Index(b='bb', y='yy'))
    letters.update(letters)
    letters.update()
    expected = {'a': 'aa', 'b': 'bb', 'c': 2, 'd': 3, 'e': 4, 'x': 'xx', 'y': 'yy'}
    assert letters == OrderedDict(expected)


def test_an_update_is_one_transaction(letters: Index) -> None:
    executed: list[str] = []
    letters.cache._con.set_trace_callback(executed.append)
    letters.update({f'key {number}': number for number in range(500)})
    assert executed.count('COMMIT') == 1


def test_a_generator_may_use_the_index_that_it_updates(letters: Index) -> None:
    def items() -> Iterator[tuple[str, int]]:
        for key, number in letters.items():
            letters['total'] = letters.get('total', 0) + number
            yield key.upper(), number

    letters.update(items())
    assert letters['total'] == 10
    assert list(letters)[:7] == ['a', 'b', 'c', 'd', 'e', 'total', 'A']


@pytest.mark.parametrize('change', ['update', 'fromcache', 'fromkeys', '|', '|='])
def test_an_overridden_setitem_is_called_for_each_item(change: str, cache: Cache) -> None:
    class Doubling(Index):
        def __setitem__(self, key: str, value: int) -> None:
            super().__setitem__(key, 2 * value)

    if change == 'fromkeys':
        assert dict(Doubling.fromkeys('ab', 3)) == {'a': 6, 'b': 6}
        return
    index = Doubling.fromcache(cache, {'a': 1})
    if change == 'update':
        index.update([('a', 2)], b=3)
    elif change == '|=':
        index |= {'a': 2, 'b': 3}
    elif change == '|':
        assert dict(index | {'b': 3}) == {'a': 4, 'b': 6}
        return
    else:
        index = Doubling.fromcache(cache, {'a': 2}, b=3)
    assert dict(index) == {'a': 4, 'b': 6}


def test_an_overridden_setitem_of_the_cache_is_called(directory: str) -> None:
    class Upper(Cache):
        def __setitem__(self, key: str, value: str) -> None:
            super().__setitem__(key, value.upper())

    index = Index.fromcache(Upper(directory, eviction_policy='none'), {'a': 'b'})
    assert dict(index) == {'a': 'B'}


def test_an_update_that_is_interrupted_raises(letters: Index) -> None:
    with pytest.raises(ArithmeticError):
        letters.update(interrupted())
    with pytest.raises(ArithmeticError), letters.transact():
        letters.update(interrupted())
    assert {key: letters[key] for key in 'abcde'} == dict(zip('abcde', range(5), strict=True))


def test_a_union_is_a_new_index(letters: Index) -> None:
    union = letters | {'z': 1, 'a': 'new'}
    assert isinstance(union, Index)
    assert union.directory != letters.directory
    assert list(union.items()) == [('a', 'new'), *zip('bcde', range(1, 5), strict=True), ('z', 1)]
    assert 'z' not in letters
    assert letters | Index(z=1) == {**letters, 'z': 1}


def test_a_union_from_the_right_begins_with_the_mapping() -> None:
    union = {'a': 1, 'b': 2} | Index(b=3, c=4)
    assert list(union.items()) == [('a', 1), ('b', 3), ('c', 4)]


def test_a_union_in_place_changes_the_index(letters: Index) -> None:
    same = letters
    same |= {'a': 'new'}
    same |= [('z', 1)]
    assert same is letters
    assert (letters['a'], letters['z']) == ('new', 1)


@pytest.mark.parametrize('stranger', [None, 1, 'ab', [('z', 1)]])
def test_a_union_needs_a_mapping(letters: Index, stranger: Any) -> None:
    with pytest.raises(TypeError):
        letters | stranger


def test_fromkeys_gives_all_keys_one_value() -> None:
    assert list(Index.fromkeys('cab').items()) == [('c', None), ('a', None), ('b', None)]
    index = Index.fromkeys(range(3), LARGE)
    assert isinstance(index, Index)
    assert index == dict.fromkeys(range(3), LARGE)


# Views


def test_keys_are_a_set(letters: Index) -> None:
    keys = letters.keys()
    assert (list(keys), len(keys), 'a' in keys, 'z' in keys) == (list('abcde'), 5, True, False)
    assert keys == set('abcde')
    assert keys & set('abz') == {'a', 'b'}
    assert keys | {'z'} == set('abcdez')
    assert keys - set('abc') == {'d', 'e'}
    assert keys ^ set('abcdz') == {'e', 'z'}
    assert keys.isdisjoint('xyz')
    assert {'a'} < keys <= set('abcde')


def test_items_are_a_set(letters: Index) -> None:
    items = letters.items()
    assert list(items) == list(zip('abcde', range(5), strict=True))
    assert len(items) == 5
    assert ('a', 0) in items
    assert ('a', 1) not in items
    assert ('z', 0) not in items
    assert items & {('a', 0), ('b', 9)} == {('a', 0)}
    assert items - {('a', 0)} == set(zip('bcde', range(1, 5), strict=True))
    assert items ^ set(items) == set()


def test_views_are_iterated_backwards_too(letters: Index) -> None:
    assert list(reversed(letters.keys())) == list('edcba')
    assert list(reversed(letters.values())) == [4, 3, 2, 1, 0]
    assert list(reversed(letters.items())) == list(zip('edcba', range(4, -1, -1), strict=True))


def test_values_are_searched_by_equality(letters: Index) -> None:
    values = letters.values()
    assert (list(values), len(values)) == ([0, 1, 2, 3, 4], 5)
    assert 2.0 in values
    assert 9 not in values


def test_views_show_later_changes(letters: Index) -> None:
    keys, values, items = letters.keys(), letters.values(), letters.items()
    letters['f'] = 5
    del letters['a']
    assert list(keys) == list('bcdef')
    assert list(values) == [1, 2, 3, 4, 5]
    assert list(items) == list(zip('bcdef', range(1, 6), strict=True))


@pytest.mark.parametrize(
    ('view', 'expected'),
    [('values', [0, 2, 4]), ('items', [('a', 0), ('c', 2), ('e', 4)])],
)
def test_items_deleted_meanwhile_are_left_out(
    letters: Index, other: Interpreter, view: str, expected: list
) -> None:
    iterator = iter(getattr(letters, view)())
    seen = [next(iterator)]
    script = "index = diskcache.Index(directory)\nfor key in 'bd': del index[key]"
    other.run(script, directory=letters.directory)
    seen.extend(iterator)
    assert seen == expected


def test_iterating_ends_when_the_index_is_cleared(letters: Index) -> None:
    iterators = [iter(letters.values()), iter(letters.items())]
    for iterator in iterators:
        next(iterator)
    letters.clear()
    assert [list(iterator) for iterator in iterators] == [[], []]


def test_views_are_iterated_while_another_process_deletes(
    directory: str, alone: Interpreter
) -> None:
    index = Index(directory, {0: 'stays'})
    script = """
    index = diskcache.Index(directory)
    for turn in range(40):
        index.update((key, key) for key in range(1, 20))
        for key in range(1, 20):
            del index[key]
    """
    alone.start(script, directory=directory)
    while not alone.has_answered():
        assert all(key == value or key == 0 for key, value in index.items())
        assert 'stays' in index.values()
        assert index != {}
    alone.result()
    assert dict(index) == {0: 'stays'}


# Equality

PAIRS = [('a', 1), ('b', 2), ('c', LARGE)]


@pytest.mark.parametrize('kind', [Index, OrderedDict])
def test_the_order_counts_among_ordered_mappings(kind: type) -> None:
    index = Index(PAIRS)
    assert index == kind(PAIRS)
    assert kind(PAIRS) == index
    assert index != kind(PAIRS[::-1])
    assert not index == kind(PAIRS[::-1])  # noqa: SIM201


@pytest.mark.parametrize('kind', [dict, UserDict])
def test_the_order_does_not_count_for_other_mappings(kind: type) -> None:
    index = Index(PAIRS)
    assert index == kind(PAIRS[::-1])
    assert kind(PAIRS[::-1]) == index
    assert not index != kind(PAIRS[::-1])  # noqa: SIM202


@pytest.mark.parametrize('kind', [Index, OrderedDict, dict])
@pytest.mark.parametrize(
    'pairs',
    [PAIRS[:2], [*PAIRS, ('d', 3)], [*PAIRS[:2], ('c', 3)], [*PAIRS[:2], ('d', LARGE)],
     [('a', 1), ('b', 2), ('d', None)], []],
    ids=['shorter', 'longer', 'value', 'key', 'none', 'empty'],
)  # fmt: skip
def test_other_items_make_it_unequal(kind: type, pairs: list) -> None:
    assert Index(PAIRS) != kind(pairs)
    assert kind(pairs) != Index(PAIRS)


def test_a_missing_key_differs_from_a_value_of_none() -> None:
    assert Index(a=None) != {'b': None}


@pytest.mark.parametrize(
    'stranger',
    [None, 0, '', [], [('a', 1)], {'a'}, object()],
    ids=lambda stranger: type(stranger).__name__,
)
def test_what_is_no_mapping_is_not_equal(stranger: object) -> None:
    for index in (Index(), Index(a=1)):
        assert not index == stranger  # noqa: SIM201
        assert index != stranger
        assert stranger != index


# Queues and memoizing


def test_values_are_pushed_and_pulled() -> None:
    index = Index()
    assert index.push('a') == 500_000_000_000_000
    assert index.push('b', side='front') == 499_999_999_999_999
    assert index.push('c', prefix='p') == 'p-500000000000000'
    assert index[500_000_000_000_000] == 'a'
    assert index.pull(side='back') == (500_000_000_000_000, 'a')
    assert index.pull() == (499_999_999_999_999, 'b')
    assert index.pull() == (None, None)
    assert index.pull(default='empty', prefix='q') == 'empty'
    assert index.pull('p') == ('p-500000000000000', 'c')


def test_a_memoized_function_is_called_once_for_the_same_arguments() -> None:
    index = Index()
    calls = []

    @index.memoize(ignore={'verbose'})
    def square(number: float, verbose: bool = False) -> float:
        calls.append(number)
        return number * number

    assert [square(3), square(3), square(3, verbose=True), square(3.0)] == [9, 9, 9, 9]
    assert calls == [3, 3.0]
    assert index[square.__cache_key__(3)] == 9
    assert square.__wrapped__(4) == 16


def test_types_of_arguments_count_if_told_to() -> None:
    @Index().memoize(name='double', typed=True)
    def double(text: Any) -> str:
        return repr(text) * 2

    assert (double(1), double(1.0), double(True)) == ('11', '1.01.0', 'TrueTrue')
    assert double.__cache_key__(1) == ('double', 1, None, int)


def test_memoizing_by_signature_knows_calls_that_mean_the_same() -> None:
    calls = []

    @Index().memoize(signature=True)
    def add(left: int, right: int = 1) -> int:
        calls.append(left)
        return left + right

    assert [add(1), add(1, 1), add(right=1, left=1)] == [2, 2, 2]
    assert calls == [1]


def test_memoize_needs_its_parentheses() -> None:
    with pytest.raises(TypeError):

        @Index().memoize
        def function() -> None:
            pass


# Copies


def test_a_copy_is_independent(letters: Index) -> None:
    letters['file'] = LARGE
    other = letters.copy()
    assert isinstance(other, Index)
    assert other.directory != letters.directory
    assert list(other.items()) == list(letters.items())
    del other['a']
    other['file'] = 1
    assert (letters['a'], letters['file']) == (0, LARGE)


@pytest.mark.parametrize('protocol', range(pickle.HIGHEST_PROTOCOL + 1))
def test_a_pickled_index_is_the_same_directory(letters: Index, protocol: int) -> None:
    same = pickle.loads(pickle.dumps(letters, protocol))
    assert type(same) is Index
    assert same.directory == letters.directory
    same['f'] = 5
    assert letters['f'] == 5


@pytest.mark.parametrize('protocol', range(pickle.HIGHEST_PROTOCOL + 1))
def test_an_index_of_a_cache_is_pickled_with_its_disk_and_policy(
    directory: str, protocol: int
) -> None:
    policy = 'least-frequently-used'
    cache = Cache(directory, timeout=3, disk=JSONDisk, eviction_policy=policy)
    same = pickle.loads(pickle.dumps(Index.fromcache(cache, a=[1]), protocol))
    assert type(same.cache.disk) is JSONDisk
    assert (same.cache.timeout, same.cache.eviction_policy) == (3, policy)
    assert dict(same) == {'a': [1]}
    with Cache(directory, disk=JSONDisk) as opened_again:
        assert opened_again.eviction_policy == policy


def test_an_index_of_a_cache_is_pickled_with_its_timeout(directory: str) -> None:
    index = Index.fromcache(Cache(directory, timeout=3, eviction_policy='none'), a=1)
    same = pickle.loads(pickle.dumps(index))
    assert (dict(same), same.cache.timeout) == ({'a': 1}, 3)


def test_a_pickled_index_works_in_another_process(letters: Index, other: Interpreter) -> None:
    script = "index = pickle.loads(pickled)\nindex['there'] = 1\nlist(index)"
    assert other.run(script, pickled=pickle.dumps(letters)) == [*'abcde', 'there']
    assert letters['there'] == 1


def test_an_index_pickled_by_one_is_loaded_by_the_other(
    directory: str, original: Interpreter
) -> None:
    cache = Cache(directory, timeout=3, eviction_policy='least-recently-used')
    for index in (Index(f'{directory}-own', a=1, b=2), Index.fromcache(cache, a=1, b=2)):
        script = """
        index = pickle.loads(pickled)
        index['there'] = 1
        list(index), pickle.dumps(index)
        """
        keys, pickled = original.run(script, pickled=pickle.dumps(index))
        same = pickle.loads(pickled)
        assert (keys, list(same), same.directory) == (['a', 'b', 'there'], keys, index.directory)


def test_the_original_reads_keys_in_the_order_they_were_moved_to(
    letters: Index, original: Interpreter
) -> None:
    letters.move_to_end('b')
    letters.move_to_end('d', last=False)
    script = "index = diskcache.Index(directory)\nindex['there'] = 1\nlist(index)"
    expected = [*'daceb', 'there']
    assert original.run(script, directory=letters.directory) == expected
    assert list(letters) == expected


def test_a_shallow_copy_has_the_items(letters: Index) -> None:
    assert list(copy.copy(letters).items()) == list(letters.items())


# Other disks


@pytest.mark.parametrize('disk', [JSONDisk, Upper])
def test_indexes_work_with_any_disk(
    directory: str, disk: type[Disk], assert_intact: Callable
) -> None:
    index = Index.fromcache(Cache(directory, disk=disk, disk_min_file_size=50))
    expected: OrderedDict[str, Any] = OrderedDict()
    mapping: Any
    for mapping in (index, expected):
        mapping.update({'a': 1, 'b': [2] * 100, 'c': 'x' * 100})
        mapping['a'] = None
        mapping.setdefault('d', 'default')
        mapping.move_to_end('b')
        mapping.move_to_end('c', last=False)
        assert mapping.pop('d') == 'default'
        assert mapping.popitem(last=False) == ('c', 'x' * 100)
    assert list(index.items()) == list(expected.items())
    assert list(reversed(index)) == list(reversed(expected))
    assert index == expected
    assert_intact(index.cache)


# Transactions, threads and processes


def test_a_transaction_that_fails_leaves_the_index_as_it_was(assert_intact: Callable) -> None:
    index = Index(a=LARGE, b=1, c=2)
    with pytest.raises(ArithmeticError), index.transact():
        index['a'] = LARGE[::2]
        index.move_to_end('a')
        index.popitem()
        index.setdefault('d', LARGE)
        index.clear()
        index['e'] = LARGE
        raise ArithmeticError
    assert list(index.items()) == [('a', LARGE), ('b', 1), ('c', 2)]
    assert_intact(index.cache)


def count_up(directory: str, turns: int) -> None:
    """Count in a transaction, and move keys about."""
    index = diskcache.Index(directory)
    for _ in range(turns):
        with index.transact():
            index['count'] = index.get('count', 0) + 1
        index.move_to_end('count')


def test_no_count_of_a_transaction_is_lost(
    directory: str, start_interpreter: Callable[[], Interpreter], other: Interpreter
) -> None:
    with start_interpreter() as second:
        for process in (other, second):
            process.start(count_up, directory=directory, turns=100)
        for process in (other, second):
            process.result()
    assert dict(Index(directory)) == {'count': 200}


def test_processes_pop_each_item_once(
    directory: str, start_interpreter: Callable[[], Interpreter], other: Interpreter
) -> None:
    index = Index(directory, ((number, number) for number in range(300)))
    script = """
    index = diskcache.Index(directory)
    popped = []
    try:
        while True:
            popped.append(index.popitem(last=False)[0])
    except KeyError:
        assert len(index) == 0
    popped
    """
    with start_interpreter() as second:
        for process in (other, second):
            process.start(script, directory=directory)
        taken = [process.result() for process in (other, second)]
    assert sorted(taken[0] + taken[1]) == list(range(300))
    assert all(keys == sorted(keys) for keys in taken)
    assert len(index) == 0


def test_processes_that_move_keys_lose_none(letters: Index, alone: Interpreter) -> None:
    def move(directory: str) -> None:
        index = diskcache.Index(directory)
        for turn in range(1500):
            index.move_to_end('abc'[turn % 3], last=turn % 2 == 0)

    alone.start(move, directory=letters.directory)
    while not alone.has_answered():
        for key in 'cde':
            letters.move_to_end(key)
            letters.move_to_end(key, last=False)
    alone.result()
    assert sorted(letters.items()) == list(zip('abcde', range(5), strict=True))


def test_threads_pop_each_item_once(directory: str) -> None:
    index = Index(directory, ((number, number) for number in range(200)))
    taken: list[int] = []

    def work() -> None:
        try:
            while True:
                taken.append(index.popitem()[0])
        except KeyError:
            pass

    threads = [threading.Thread(target=work, daemon=True) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
        assert not thread.is_alive(), 'a thread hangs'
    assert sorted(taken) == list(range(200))


def orders(directory: str, count: int) -> set:
    """Return the orders of the keys that `count` readings found."""
    index = diskcache.Index(directory)
    found = set()
    for _ in range(count):
        with index.transact():
            found.add(''.join(index))
    return found


@pytest.mark.parametrize('last', [True, False])
def test_no_other_process_sees_half_a_move(letters: Index, alone: Interpreter, last: bool) -> None:
    legal = {'abcde'[turn:] + 'abcde'[:turn] for turn in range(5)}
    alone.start(orders, directory=letters.directory, count=60)
    while not alone.has_answered():
        letters.move_to_end(letters.peekitem(last=not last)[0], last)
    assert alone.result() <= legal


@pytest.mark.parametrize(
    ('change', 'legal'),
    [
        ('items.move_to_end(items.peekitem(last=False)[0])', {'abc', 'bca', 'cab'}),
        ('items.move_to_end(items.peekitem()[0], last=False)', {'abc', 'bca', 'cab'}),
        ("items['d'] = value; items.popitem()", {'abc', 'abcd'}),
        ("items['b'] = value[::-1]", {'abc'}),
    ],
    ids=['move to the back', 'move to the front', 'popitem', 'set'],
)
def test_a_process_killed_midway_leaves_no_half_change(
    directory: str, start_interpreter: Callable[[], Interpreter], change: str, legal: set
) -> None:
    script = f"""
    value = b'x' * 100_000
    items = diskcache.Index(directory, a=value, b=value, c=value)
    turns = diskcache.Cache(directory + '-turns')
    while True:
        {change}
        turns.incr('turn')
    """
    with start_interpreter() as killed, Cache(f'{directory}-turns') as turns:
        killed.start(script, directory=directory)
        while turns.get('turn', 0, retry=True) < 20:
            assert not killed.has_answered(), killed.result()
            time.sleep(0.001)
        killed.kill()
    items = Index(directory)
    assert ''.join(items) in legal
    assert set(items.values()) == {LARGE}
    with Cache(directory, timeout=0) as second:
        assert second.set('at once', 1)
    categories = {warning.category for warning in items.cache.check()}
    allowed = {diskcache.UnknownFileWarning, diskcache.EmptyDirWarning}
    assert categories <= allowed, 'only files without a row may be left'


# Against a model

KEYS = st.sampled_from(['a', 'b', 'c', '', b'a', 0, 7, 2**63, 0.5, None, (1, 'a'), 'é'])
VALUES = st.sampled_from([0, 1, None, True, 1.5, 'a', b'a', (1, 'a'), 'x' * 60, ['x' * 60]])
PAIR_LISTS = st.lists(st.tuples(KEYS, VALUES), max_size=4)


class IndexMachine(RuleBasedStateMachine):
    """Does the same to an Index and to an OrderedDict, and compares."""

    @initialize(pairs=PAIR_LISTS)
    def open(self, pairs: list) -> None:
        """Open an index that keeps small values in files."""
        self.temporary = tempfile.TemporaryDirectory(prefix='diskcache-model-')
        self.cache = Cache(self.temporary.name, disk_min_file_size=50)
        self.model = OrderedDict(pairs)
        self.index = Index.fromcache(self.cache, pairs)

    def teardown(self) -> None:
        """Look for orphans, and remove everything."""
        if hasattr(self, 'cache'):
            assert report_texts(self.cache) == []
            assert value_files(self.cache.directory) == stored_filenames(self.cache)
            self.cache.close()
            self.temporary.cleanup()

    def both(self, operation: Callable[[Any], Any]) -> None:
        """Do something to both; the results, or the errors, must be the same."""
        outcomes = []
        for mapping in (self.model, self.index):
            try:
                outcomes.append((None, operation(mapping)))
            except KeyError as error:
                outcomes.append((type(error), None))
        assert outcomes[0] == outcomes[1]

    @rule(key=KEYS, value=VALUES)
    def set(self, key: object, value: object) -> None:
        """Store an item."""
        self.both(lambda mapping: operator.setitem(mapping, key, value))

    @rule(key=KEYS)
    def get(self, key: object) -> None:
        """Look for a key in each way."""
        self.both(lambda mapping: mapping[key])
        self.both(lambda mapping: mapping.get(key, 'default'))
        self.both(lambda mapping: key in mapping)

    @rule(key=KEYS)
    def delete(self, key: object) -> None:
        """Delete an item."""
        self.both(lambda mapping: operator.delitem(mapping, key))

    @rule(key=KEYS, defaults=st.sampled_from([(), ('default',)]))
    def pop(self, key: object, defaults: tuple) -> None:
        """Take an item out."""
        self.both(lambda mapping: mapping.pop(key, *defaults))

    @rule(last=st.booleans())
    def popitem(self, last: bool) -> None:
        """Take an item from an end."""
        self.both(lambda mapping: mapping.popitem(last))

    @rule(key=KEYS, last=st.booleans())
    def move_to_end(self, key: object, last: bool) -> None:
        """Move an item to an end."""
        self.both(lambda mapping: mapping.move_to_end(key, last))

    @rule(key=KEYS, value=VALUES)
    def setdefault(self, key: object, value: object) -> None:
        """Store an item unless there is one."""
        self.both(lambda mapping: mapping.setdefault(key, value))

    @rule(pairs=PAIR_LISTS, convert=st.sampled_from([list, dict, iter]))
    def update(self, pairs: list, convert: Callable) -> None:
        """Store several items."""
        self.both(lambda mapping: mapping.update(convert(pairs)))

    @rule(pairs=PAIR_LISTS)
    def union_in_place(self, pairs: list) -> None:
        """Store the items of another mapping."""
        self.both(lambda mapping: operator.ior(mapping, dict(pairs)) and None)

    @rule(pairs=PAIR_LISTS)
    def compare(self, pairs: list) -> None:
        """Compare with another mapping of each kind, in another order."""
        ordered = OrderedDict(pairs)
        self.both(lambda mapping: (mapping == ordered, mapping != ordered))
        reordered = dict(reversed(self.model.items()))
        self.both(lambda mapping: mapping == reordered)
        self.both(lambda mapping: mapping == OrderedDict(reordered))

    @rule(keys=st.sets(KEYS, max_size=4))
    def combine_views(self, keys: set) -> None:
        """Take the keys for a set."""
        self.both(lambda mapping: (mapping.keys() & keys, mapping.keys() - keys))
        self.both(lambda mapping: (mapping.keys() | keys, mapping.keys() ^ keys))

    @rule()
    def clear(self) -> None:
        """Remove everything."""
        self.both(lambda mapping: mapping.clear())

    @rule()
    def open_again(self) -> None:
        """Open the directory again."""
        self.cache.close()
        self.index = pickle.loads(pickle.dumps(self.index))

    @rule(pairs=PAIR_LISTS, key=KEYS, last=st.booleans())
    def roll_back(self, pairs: list, key: object, last: bool) -> None:
        """Change much in a transaction that fails."""
        with pytest.raises(ArithmeticError), self.index.transact():
            self.index.update(pairs)
            self.index[key] = 'x' * 60
            self.index.move_to_end(key, last)
            self.index.popitem(last)
            raise ArithmeticError

    @invariant()
    def same_items(self) -> None:
        """The items are those of the model, in the same order."""
        if hasattr(self, 'cache'):
            assert repr(list(self.index.items())) == repr(list(self.model.items()))
            assert list(reversed(self.index)) == list(reversed(self.model))
            assert len(self.index) == len(self.model)
            assert list(self.index.values()) == list(self.model.values())


TestModel = IndexMachine.TestCase
TestModel.settings = settings(
    max_examples=30,
    stateful_step_count=30,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)


# Items that come and go while they are copied.


@pytest.mark.parametrize(
    'make',
    [Index.copy, Index, lambda items: {} | items, lambda items: items | {}],
    ids=['copy', 'Index', '__ror__', '__or__'],
)
def test_a_copy_is_made_while_items_are_deleted(
    letters: Index, alone: Interpreter, make: Callable[[Index], Index]
) -> None:
    letters.update({number: number for number in range(30)})
    script = """
    items = diskcache.Index(directory)
    while True:
        for number in range(30):
            items.pop(number, None)
            items[number] = number
    """
    alone.start(script, directory=letters.directory)
    for _ in range(10):
        new = make(letters)
        assert set('abcde') <= set(new)
        new.cache.close()
        shutil.rmtree(new.directory)
    alone.kill()


def test_a_copy_has_the_disk_of_the_original(directory: str) -> None:
    items = Index.fromcache(Cache(directory, disk=JSONDisk), {'a': [1]})
    new = items.copy()
    assert dict(new) == {'a': [1]}
    assert type(new.cache.disk) is JSONDisk
    new.cache.close()
    shutil.rmtree(new.directory)
    items.cache.close()


class RaisesKeyError:
    """Cannot be unpickled."""

    def __reduce__(self) -> tuple:
        return raise_key_error, ()


def raise_key_error() -> None:
    """Fail in a way that a container might take for its own."""
    raise KeyError('from unpickling')


def test_an_error_of_unpickling_is_not_taken_for_a_missing_key(letters: Index) -> None:
    letters['z'] = RaisesKeyError()
    for view in (letters.items(), letters.values()):
        with pytest.raises(KeyError, match='from unpickling'):
            list(view)
