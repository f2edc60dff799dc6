"""Deque: a double-ended queue on disk, shared by processes."""

from __future__ import annotations

import copy
import math
import operator
import pickle
import shutil
import tempfile
import threading
import time
from collections import deque
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
from diskcache import Cache, Deque, Disk, JSONDisk

LARGE = b'x' * 100_000
NO_LIMIT = float('inf')


class Backwards(Disk):
    """A Disk that keeps keys as texts, written backwards, so that they sort otherwise."""

    def put(self, key: int) -> tuple:
        """Turn the digits around."""
        return super().put(str(key)[::-1])

    def get(self, key: str, raw: bool) -> int:
        """Turn the digits around again."""
        return int(super().get(key, raw)[::-1])


class Unreadable:
    """A value that can be pickled but not unpickled."""

    def __reduce__(self) -> tuple:
        return int, ('this is no number',)


class EqualToAll:
    """An item that is equal to everything."""

    def __eq__(self, other: object) -> bool:
        return True


class EqualToNone:
    """An item that is equal to nothing, not even to itself."""

    def __eq__(self, other: object) -> bool:
        return False


class Incomparable:
    """An item that cannot be compared."""

    def __eq__(self, other: object) -> bool:
        raise ArithmeticError


class WithoutTruth:
    """An item whose comparisons have results that are neither true nor false."""

    def __eq__(self, other: object) -> Any:
        return self

    def __bool__(self) -> bool:
        raise ArithmeticError


@pytest.fixture(autouse=True)
def _temporary_directories(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let directories of no name be made where pytest removes them."""
    monkeypatch.setattr(tempfile, 'tempdir', str(tmp_path))


@pytest.fixture
def numbers(directory: str) -> Deque:
    """A Deque of the numbers 0 to 9 in `directory`."""
    return Deque(range(10), directory)


def interrupted(count: int) -> Iterator[int]:
    """Give `count` numbers and then an error."""
    yield from range(count)
    raise ArithmeticError


# Opening


def test_a_new_deque_is_empty_and_false() -> None:
    assert list(Deque()) == []
    assert len(Deque()) == 0
    assert not Deque()


def test_each_deque_without_a_directory_has_one_of_its_own() -> None:
    assert Deque('ab').directory != Deque('cd').directory


@pytest.mark.parametrize('convert', [str, Path])
def test_a_deque_opened_again_has_its_items(directory: str, convert: Callable) -> None:
    Deque('abc', convert(directory)).cache.close()
    assert list(Deque('de', convert(directory))) == list('abcde')


def test_the_directory_is_that_of_the_cache(directory: str) -> None:
    letters = Deque('abc', directory)
    assert letters.directory == letters.cache.directory == directory


def test_fromcache_uses_the_cache_given(cache: Cache) -> None:
    letters = Deque.fromcache(cache, 'abcde', maxlen=4)
    assert letters.cache is cache
    assert (list(letters), letters.maxlen) == (list('bcde'), 4)


def test_items_are_never_evicted(directory: str) -> None:
    assert Deque(directory=directory).cache.eviction_policy == 'none'


def test_the_repr_names_the_directory(directory: str) -> None:
    deque = Deque('abc', directory)
    assert repr(deque) == f'Deque(directory={directory!r}) of 3 items'


def test_a_deque_cannot_be_hashed() -> None:
    with pytest.raises(TypeError):
        hash(Deque())


@pytest.mark.parametrize('iterable', [1, None, object()])
def test_only_iterables_are_accepted(iterable: object) -> None:
    with pytest.raises(TypeError):
        Deque(iterable)


# The length limit


@pytest.mark.parametrize('limit', [None, NO_LIMIT])
def test_none_and_infinity_are_no_limit(limit: float | None) -> None:
    letters = Deque('abc', maxlen=limit)
    assert letters.maxlen == NO_LIMIT
    letters.maxlen = 2
    letters.maxlen = limit
    letters.extend('de')
    assert (list(letters), letters.maxlen) == (list('bcde'), NO_LIMIT)


@pytest.mark.parametrize(
    ('limit', 'error'), [(-1, ValueError), ('3', TypeError), ([], TypeError), (2.5, TypeError)]
)
def test_impossible_limits_are_refused(limit: Any, error: type[Exception]) -> None:
    with pytest.raises(error):
        Deque(maxlen=limit)
    letters = Deque('abc', maxlen=5)
    with pytest.raises(error):
        letters.maxlen = limit
    assert (list(letters), letters.maxlen) == (list('abc'), 5)


def test_a_refused_limit_changes_nothing_on_disk(directory: str) -> None:
    Deque('abc', directory)
    with pytest.raises(ValueError):
        Deque('de', directory, maxlen=-1)
    assert list(Deque(directory=directory)) == list('abc')


def test_a_full_deque_drops_items_from_the_other_end() -> None:
    letters = Deque('abcde', maxlen=3)
    assert list(letters) == list('cde')
    letters.append('f')
    assert list(letters) == list('def')
    letters.appendleft('g')
    assert list(letters) == list('gde')
    letters.extend('hi')
    assert list(letters) == list('ehi')
    letters.extendleft('jk')
    assert list(letters) == list('kje')
    letters += 'lmno'
    assert list(letters) == list('mno')


def test_a_full_deque_refuses_an_insert() -> None:
    letters = Deque('abc', maxlen=3)
    with pytest.raises(IndexError):
        letters.insert(1, 'd')
    assert list(letters) == list('abc')


def test_setting_the_limit_drops_items_from_the_left(numbers: Deque) -> None:
    numbers.maxlen = 3
    assert (list(numbers), numbers.maxlen) == ([7, 8, 9], 3)


def test_a_deque_opened_with_a_smaller_limit_shrinks_from_the_left(directory: str) -> None:
    Deque(range(10), directory)
    assert list(Deque(directory=directory, maxlen=3)) == [7, 8, 9]
    with Cache(directory) as cache:
        assert list(Deque.fromcache(cache, maxlen=2)) == [8, 9]


def test_a_deque_of_length_zero_stays_empty(assert_intact: Callable) -> None:
    nothing = Deque([LARGE], maxlen=0)
    nothing.append(LARGE)
    nothing.appendleft(LARGE)
    nothing.extend([LARGE, LARGE])
    nothing.extendleft([LARGE, LARGE])
    assert list(nothing) == []
    assert_intact(nothing.cache)


def test_dropped_items_leave_no_file(assert_intact: Callable) -> None:
    files = Deque([LARGE] * 5, maxlen=3)
    files.append(LARGE)
    files.maxlen = 1
    assert list(files) == [LARGE]
    assert_intact(files.cache)


# Both ends


def test_items_are_appended_and_popped_at_both_ends() -> None:
    letters = Deque('abc')
    letters.append('d')
    letters.appendleft('z')
    assert (letters.peek(), letters.peekleft()) == ('d', 'z')
    assert (letters.pop(), letters.popleft()) == ('d', 'z')
    assert list(letters) == list('abc')


@pytest.mark.parametrize('method', ['pop', 'popleft', 'peek', 'peekleft'])
def test_there_is_nothing_to_take_from_an_empty_deque(method: str) -> None:
    with pytest.raises(IndexError):
        getattr(Deque(), method)()


def test_an_item_that_cannot_be_read_stays(directory: str) -> None:
    items = Deque([1, Unreadable()], directory)
    with pytest.raises(ValueError):
        items.pop()
    assert len(items) == 2
    del items[-1]
    assert list(items) == [1]


def test_clear_removes_all_items_and_files(assert_intact: Callable) -> None:
    items = Deque([LARGE, 1, LARGE])
    items.clear()
    assert list(items) == []
    assert_intact(items.cache)
    items.extend('ab')
    assert list(items) == list('ab')


@pytest.mark.parametrize(
    'value',
    [None, True, 0, 1.5, -math.inf, 2**70, '', 'é\r\n', b'', (1, None), {'a': [1]},
     'x' * 100_000, LARGE, [0] * 100_000],
    ids=lambda value: repr(value)[:20],
)  # fmt: skip
def test_values_of_every_kind_are_kept(value: object) -> None:
    items = Deque([value])
    items.append(value)
    assert items[0] == items.peekleft() == items.popleft() == items.pop() == value
    items.insert(0, value)
    assert type(items[0]) is type(value)


def test_nan_is_kept() -> None:
    items = Deque([math.nan])
    assert math.isnan(items[0])
    assert math.isnan(items.pop())


# Extending


def test_extend_keeps_the_order_and_extendleft_turns_it() -> None:
    letters = Deque('c')
    letters.extend('de')
    letters.extendleft('ba')
    assert list(letters) == list('abcde')


def test_a_deque_can_be_extended_by_itself() -> None:
    letters = Deque('abc')
    letters.extend(letters)
    assert list(letters) == list('abcabc')
    letters = Deque('abc')
    letters += letters
    assert list(letters) == list('abcabc')
    letters = Deque('abc')
    letters.extendleft(letters)
    assert list(letters) == list('cbaabc')


def test_adding_in_place_gives_the_same_deque() -> None:
    letters = before = Deque('abc')
    letters += 'd'
    assert letters is before


EXTENSIONS = {
    'extend': Deque.extend,
    'extendleft': Deque.extendleft,
    '+=': operator.iadd,
    'opening': lambda items, iterable: Deque(iterable, items.directory),
    'fromcache': lambda items, iterable: Deque.fromcache(items.cache, iterable),
}


@pytest.mark.parametrize('extend', EXTENSIONS.values(), ids=EXTENSIONS)
def test_nothing_is_stored_if_the_iterable_raises(extend: Callable, directory: str) -> None:
    letters = Deque('abc', directory)
    with pytest.raises(ArithmeticError):
        extend(letters, interrupted(50))
    assert list(letters) == list('abc')


@pytest.mark.parametrize('extend', EXTENSIONS.values(), ids=EXTENSIONS)
def test_nothing_is_stored_if_one_value_cannot_be(
    extend: Callable, directory: str, assert_intact: Callable
) -> None:
    letters = Deque('abc', directory)
    with pytest.raises((pickle.PicklingError, AttributeError)):
        extend(letters, [LARGE, 1, lambda: 0, LARGE])
    assert list(letters) == list('abc')
    assert_intact(letters.cache)


KEEPING = {
    'append': lambda items: items.append(LARGE),
    'appendleft': lambda items: items.appendleft(LARGE),
    'extend': lambda items: items.extend(['d', LARGE]),
    'insert': lambda items: items.insert(1, LARGE),
    'set': lambda items: operator.setitem(items, 1, LARGE),
}


@pytest.mark.filterwarnings('ignore:.*may evict')
@pytest.mark.parametrize('keep', KEEPING.values(), ids=KEEPING)
def test_a_value_that_the_cache_does_not_keep_is_an_error(
    directory: str, keep: Callable, assert_intact: Callable
) -> None:
    letters = Deque.fromcache(Cache(directory, size_limit=60_000), 'abc')
    with pytest.raises(ValueError):
        keep(letters)
    assert list(letters) == list('abc')
    assert_intact(letters.cache)


def test_an_iterable_that_takes_long_locks_nobody_out(directory: str) -> None:
    def one_by_one() -> Iterator[bool]:
        for number in range(3):
            with Cache(directory, timeout=0) as second:
                yield second.set('another', number)

    numbers = Deque(directory=directory)
    numbers.extend(one_by_one())
    del numbers.cache['another']
    assert list(numbers) == [True, True, True]


# Indexes


@pytest.mark.parametrize('size', [0, 1, 2, 7])
def test_every_index_names_the_item_of_a_list(size: int) -> None:
    expected = list(range(size))
    numbers = Deque(expected)
    for index in range(-size, size):
        assert numbers[index] == expected[index]
        numbers[index] = expected[index] = index * 10
        assert list(numbers) == expected


@pytest.mark.parametrize('index', [-1, -2, 0, 1, 2, 6, -7])
def test_an_item_is_deleted_by_its_index(index: int, assert_intact: Callable) -> None:
    expected = [LARGE + bytes([number]) for number in range(7)]
    items = Deque(expected)
    del items[index]
    del expected[index]
    assert list(items) == expected
    assert_intact(items.cache)


@pytest.mark.parametrize('index', [10, 11, -11, -12, 10**30])
def test_indexes_out_of_range_are_errors(numbers: Deque, index: int) -> None:
    with pytest.raises(IndexError):
        numbers[index]
    with pytest.raises(IndexError):
        numbers[index] = 0
    with pytest.raises(IndexError):
        del numbers[index]
    assert list(numbers) == list(range(10))


@pytest.mark.parametrize('index', [0.5, '0', None, slice(2)])
def test_indexes_that_are_no_int_are_errors(numbers: Deque, index: Any) -> None:
    with pytest.raises(TypeError):
        numbers[index]
    with pytest.raises(TypeError):
        numbers[index] = 0
    with pytest.raises(TypeError):
        del numbers[index]
    assert list(numbers) == list(range(10))


def test_a_replaced_item_keeps_its_place_and_leaves_no_file(assert_intact: Callable) -> None:
    items = Deque(['a', LARGE, 'c'])
    items[1] = LARGE[::2]
    items[0] = LARGE
    assert list(items) == [LARGE, LARGE[::2], 'c']
    items[1] = 'small'
    assert list(items) == [LARGE, 'small', 'c']
    assert_intact(items.cache)


def test_a_value_that_cannot_be_stored_replaces_nothing() -> None:
    letters = Deque('abc')
    with pytest.raises((pickle.PicklingError, AttributeError)):
        letters[1] = lambda: 0
    with pytest.raises((pickle.PicklingError, AttributeError)):
        letters.insert(1, lambda: 0)
    assert list(letters) == list('abc')


@pytest.mark.parametrize('index', [-100, -6, -5, -4, -3, -1, 0, 1, 2, 3, 4, 5, 6, 100])
def test_an_item_is_inserted_where_a_list_has_it(index: int) -> None:
    expected = list('abcde')
    letters = Deque(expected)
    for letter in 'xyz':
        expected.insert(index, letter)
        letters.insert(index, letter)
        assert list(letters) == expected


def test_index_searches_between_start_and_stop() -> None:
    expected = list('abcab')
    letters = Deque(expected)
    for start in range(-7, 8):
        for stop in range(-7, 8):
            for letter in 'ac':
                try:
                    found = expected.index(letter, start, stop)
                except ValueError:
                    with pytest.raises(ValueError):
                        letters.index(letter, start, stop)
                else:
                    assert letters.index(letter, start, stop) == found


def test_items_are_searched_by_equality() -> None:
    items = Deque([1, 'a', 1.0, True, 2, [3], EqualToNone()])
    assert (items.count(1), items.count(9), items.count([3])) == (3, 0, 1)
    assert (items.index('a'), items.index(2)) == (1, 4)
    assert True in items
    assert [3] in items
    assert EqualToNone() not in items
    with pytest.raises(ValueError):
        items.index(9)


# Removing by value


def test_remove_takes_the_first_of_equal_items() -> None:
    letters = Deque('abcabc')
    letters.remove('b')
    assert list(letters) == list('acabc')
    letters.remove('b')
    assert list(letters) == list('acac')
    with pytest.raises(ValueError):
        letters.remove('b')
    assert list(letters) == list('acac')


def test_remove_leaves_no_file(assert_intact: Callable) -> None:
    items = Deque([LARGE, 1, LARGE])
    items.remove(LARGE)
    assert list(items) == [1, LARGE]
    assert_intact(items.cache)


@pytest.mark.parametrize('item', [Incomparable(), WithoutTruth()],
                         ids=['incomparable', 'without truth'])  # fmt: skip
def test_an_error_of_a_comparison_removes_nothing(item: object) -> None:
    items = Deque(['a', item, 'b'])
    for search in (items.remove, items.count, items.index):
        with pytest.raises(ArithmeticError):
            search('b')
    assert len(items) == 3
    items.remove('a')
    assert len(items) == 2


def test_the_item_decides_whether_it_is_equal() -> None:
    items = Deque([EqualToNone(), EqualToAll(), 1])
    items.remove(1)
    assert [type(item) for item in items] == [EqualToNone, int]
    with pytest.raises(ValueError):
        items.remove(EqualToNone())


# Turning


@pytest.mark.parametrize('size', [0, 1, 2, 5])
def test_a_rotation_is_that_of_collections_deque(size: int) -> None:
    expected = deque(range(size))
    numbers = Deque(expected)
    numbers.rotate()
    expected.rotate()
    assert list(numbers) == list(expected)
    for steps in [*range(-2 * size - 1, 2 * size + 2), 10**20, -(10**20)]:
        numbers.rotate(steps)
        for _ in range(abs(steps) % size if size else 0):
            expected.rotate(1 if steps > 0 else -1)
        assert list(numbers) == list(expected), steps


@pytest.mark.parametrize('steps', ['1', 1.0, None])
def test_a_rotation_needs_an_int(numbers: Deque, steps: Any) -> None:
    with pytest.raises(TypeError):
        numbers.rotate(steps)
    assert list(numbers) == list(range(10))


@pytest.mark.parametrize('size', [0, 1, 2, 5])
def test_reverse_turns_the_order(size: int) -> None:
    numbers = Deque(range(size))
    assert numbers.reverse() is None
    assert list(numbers) == list(range(size))[::-1]


TURNS = {'rotate': lambda items: items.rotate(2), 'reverse': lambda items: items.reverse()}


@pytest.mark.parametrize('turn', TURNS.values(), ids=TURNS)
def test_turning_reads_and_writes_no_value(turn: Callable, assert_intact: Callable) -> None:
    items = Deque([LARGE, Unreadable(), LARGE[::2], 'small', Unreadable()])
    files = stored_filenames(items.cache)
    turn(items)
    turn(items)
    turn(items)
    assert len(items) == 5
    assert value_files(items.directory) == files
    assert_intact(items.cache)


@pytest.mark.parametrize('turn', TURNS.values(), ids=TURNS)
def test_files_survive_turning(turn: Callable, assert_intact: Callable) -> None:
    contents = [bytes([number]) * 100_000 for number in range(5)]
    items = Deque(contents)
    expected = deque(contents)
    turn(items)
    turn(expected)
    assert list(items) == list(expected)
    assert_intact(items.cache)


def test_a_turned_deque_goes_on_growing_at_both_ends() -> None:
    numbers = Deque(range(4))
    expected = deque(range(4))
    for items in (numbers, expected):
        for turn in range(10):
            items.rotate(turn % 3 - 1)
            items.append(turn)
            items.reverse()
            items.appendleft(turn)
            items.insert(turn // 2, -turn)
    assert list(numbers) == list(expected)


# Copies, sums and comparisons


def test_a_copy_is_the_same_directory(numbers: Deque) -> None:
    numbers.maxlen = 5
    for same in (numbers.copy(), copy.copy(numbers), pickle.loads(pickle.dumps(numbers))):
        assert type(same) is Deque
        assert (same.directory, same.maxlen) == (numbers.directory, 5)
        same.append(10)
        assert numbers.pop() == 10
        numbers.appendleft(0)


@pytest.mark.parametrize('protocol', range(pickle.HIGHEST_PROTOCOL + 1))
def test_a_deque_of_a_cache_is_pickled_with_its_disk_and_policy(
    directory: str, protocol: int
) -> None:
    policy = 'least-recently-used'
    cache = Cache(directory, timeout=3, disk=JSONDisk, eviction_policy=policy)
    letters = Deque.fromcache(cache, 'abc', maxlen=4)
    same = pickle.loads(pickle.dumps(letters, protocol))
    assert type(same.cache.disk) is JSONDisk
    assert (same.cache.timeout, same.cache.eviction_policy) == (3, policy)
    assert (list(same), same.maxlen) == (list('abc'), 4)
    with Cache(directory, disk=JSONDisk) as opened_again:
        assert opened_again.eviction_policy == policy


def test_a_deque_of_a_cache_is_pickled_and_copied_with_its_timeout(directory: str) -> None:
    letters = Deque.fromcache(Cache(directory, timeout=3, eviction_policy='none'), 'abc')
    for same in (letters.copy(), pickle.loads(pickle.dumps(letters))):
        assert (list(same), same.cache.timeout) == (list('abc'), 3)


def test_a_copy_of_a_deque_of_a_cache_keeps_the_disk(directory: str) -> None:
    cache = Cache(directory, timeout=3, disk=JSONDisk, eviction_policy='least-recently-used')
    same = Deque.fromcache(cache, 'abc').copy()
    assert type(same.cache.disk) is JSONDisk
    assert (list(same), same.cache.eviction_policy) == (list('abc'), 'least-recently-used')


def test_a_pickled_deque_works_in_another_process(numbers: Deque, other: Interpreter) -> None:
    script = 'numbers = pickle.loads(pickled)\nnumbers.append(10)\nlist(numbers)'
    assert other.run(script, pickled=pickle.dumps(numbers)) == list(range(11))
    assert numbers.pop() == 10


def test_a_sum_is_a_new_deque() -> None:
    letters, digits = Deque('abc'), Deque('12')
    total = letters + digits
    assert isinstance(total, Deque)
    assert list(total) == list('abc12')
    total.append('3')
    assert (list(letters), list(digits)) == (list('abc'), list('12'))


def test_a_sum_has_the_limit_of_the_left_deque() -> None:
    total = Deque('abcd', maxlen=4) + Deque('ef')
    assert (list(total), total.maxlen) == (list('cdef'), 4)


@pytest.mark.parametrize('factor', [-1, 0, 1, 2, 3])
def test_a_product_is_a_new_deque(factor: int) -> None:
    letters = Deque('abc', maxlen=5)
    expected = deque('abc', maxlen=5)
    for product in (letters * factor, factor * letters):
        assert (list(product), product.maxlen) == (list(expected * factor), 5)
        assert product.directory != letters.directory
    assert list(letters) == list('abc')


@pytest.mark.parametrize('factor', [-1, 0, 1, 2, 3])
def test_a_deque_is_multiplied_in_place(factor: int, assert_intact: Callable) -> None:
    items = same = Deque([LARGE, 'b'], maxlen=5)
    same *= factor
    assert same is items
    assert list(items) == list(deque([LARGE, 'b'], maxlen=5) * factor)
    assert_intact(items.cache)


COMPARISONS = ['eq', 'ne', 'lt', 'le', 'gt', 'ge']


@pytest.mark.parametrize('convert', [Deque, list, tuple, ''.join], ids=['Deque', 'list', 'tuple',
                                                                        'str'])  # fmt: skip
def test_a_deque_compares_like_a_list(convert: Callable) -> None:
    texts = ['', 'a', 'b', 'ab', 'abc', 'ba']
    for left in texts:
        deque_of_left = Deque(left)
        for right in texts:
            converted = convert(right)
            for name in COMPARISONS:
                compare = getattr(operator, name)
                expected = compare(list(left), list(right))
                assert compare(deque_of_left, converted) is expected, (left, name, right)


def test_what_is_no_sequence_is_not_equal_and_has_no_order() -> None:
    letters = Deque('abc')
    for stranger in (None, 1, {'a': 1}, {'a', 'b', 'c'}, iter('abc')):
        assert not letters == stranger  # noqa: SIM201
        assert letters != stranger
        for name in COMPARISONS[2:]:
            with pytest.raises(TypeError):
                getattr(operator, name)(letters, stranger)


# Iterating


def test_items_are_iterated_both_ways(numbers: Deque) -> None:
    assert list(numbers) == list(range(10))
    assert list(reversed(numbers)) == list(range(10))[::-1]


@pytest.mark.parametrize('direction', [iter, reversed])
def test_items_deleted_meanwhile_are_left_out(
    numbers: Deque, other: Interpreter, direction: Callable
) -> None:
    seen = []
    for number in direction(numbers):
        seen.append(number)
        if len(seen) == 1:
            script = 'deque = diskcache.Deque(directory=directory)\nfor n in 3, 5: deque.remove(n)'
            other.run(script, directory=numbers.directory)
            numbers.remove(number)
    assert sorted(seen) == [0, 1, 2, 4, 6, 7, 8, 9]


def test_an_iteration_ends_when_the_deque_is_cleared(numbers: Deque) -> None:
    items = iter(numbers)
    next(items)
    numbers.clear()
    assert list(items) == []


# Other disks

DISKS = {'JSONDisk': JSONDisk, 'Backwards': Backwards}


@pytest.mark.parametrize('disk', DISKS.values(), ids=DISKS)
@pytest.mark.parametrize('maxlen', [None, 12])
def test_deques_work_with_any_disk(
    directory: str, disk: type[Disk], maxlen: int | None, assert_intact: Callable
) -> None:
    items = Deque.fromcache(Cache(directory, disk=disk, disk_min_file_size=50), maxlen=maxlen)
    expected: deque[Any] = deque(maxlen=maxlen)
    for container in (items, expected):
        for number in range(10):
            container.append(number)
            container.appendleft(-number)
        container.rotate(3)
        container.reverse()
        container[2] = 'two' * 100
        container[-1] = [0] * 100
        del container[4]
        container.insert(3, 'three')
        container.extend(['x', 'y'])
        container.extendleft(['z'])
        container.remove(5)
    assert list(items) == list(expected)
    assert list(reversed(items)) == list(reversed(expected))
    assert [items[index] for index in range(len(items))] == list(expected)
    assert (items.peek(), items.peekleft()) == (expected[-1], expected[0])
    assert (items.pop(), items.popleft()) == (expected.pop(), expected.popleft())
    assert list(Deque.fromcache(Cache(directory, disk=disk))) == list(expected)
    assert_intact(items.cache)


# Transactions


def test_a_transaction_that_fails_leaves_the_deque_as_it_was(assert_intact: Callable) -> None:
    before = [LARGE, 'b', LARGE[::2], 'd']
    items = Deque(before)
    with pytest.raises(ArithmeticError), items.transact():
        items.rotate()
        items.append(items.popleft())
        items.insert(2, LARGE)
        items.reverse()
        items.extend([LARGE, 'e'])
        items[1] = LARGE
        del items[0]
        raise ArithmeticError
    assert list(items) == before
    assert_intact(items.cache)


def test_a_change_waits_for_the_transaction_of_another_process(
    numbers: Deque, alone: Interpreter
) -> None:
    def work(directory: str) -> None:
        numbers = diskcache.Deque(directory=directory)
        with numbers.transact():
            first = numbers.popleft()
            numbers.appendleft('locked')
            time.sleep(0.2)
            numbers.popleft()
            numbers.appendleft(first)

    alone.start(work, directory=numbers.directory)
    while not alone.has_answered():
        numbers.rotate(1)
        assert 'locked' not in list(numbers)
        numbers.rotate(-1)
    alone.result()
    assert list(numbers) == list(range(10))


# What other processes see


def snapshots(directory: str, count: int) -> set:
    """Return what `count` readings of the whole deque gave."""
    letters = diskcache.Deque(directory=directory)
    found = set()
    for _ in range(count):
        with letters.transact():
            found.add(tuple(letters))
    return found


def rotations(items: str) -> set[tuple[str, ...]]:
    """Return all rotations of `items`."""
    return {tuple(items[steps:] + items[:steps]) for steps in range(len(items))}


def set_and_reset(letters: Deque) -> None:
    """Replace an item, and put it back."""
    letters[1] = 'B'
    letters[1] = 'b'


def insert_and_delete(letters: Deque) -> None:
    """Insert an item, and delete it."""
    letters.insert(2, 'X')
    del letters[2]


def extend_and_shrink(letters: Deque) -> None:
    """Add three items, and drop them in one step."""
    letters.extend('XYZ')
    letters.rotate(3)
    letters.maxlen = 5
    letters.maxlen = None


def extendleft_and_cut(letters: Deque) -> None:
    """Add three items on the left, and drop them in one step."""
    letters.extendleft('ZYX')
    letters.maxlen = 5
    letters.maxlen = None


def multiply_and_shrink(letters: Deque) -> None:
    """Double the deque, and halve it in one step."""
    letters *= 2
    letters.maxlen = 5
    letters.maxlen = None


#: Changes that end where they began, and what may be seen of them.
CHANGES: dict[str, tuple[Callable[[Deque], Any], set[tuple[str, ...]]]] = {
    'rotate': (lambda letters: letters.rotate(2), rotations('abcde')),
    'reverse': (lambda letters: letters.reverse(), {tuple('abcde'), tuple('edcba')}),
    'set': (set_and_reset, {tuple('abcde'), tuple('aBcde')}),
    'insert': (insert_and_delete, {tuple('abcde'), tuple('abXcde')}),
    'extend': (extend_and_shrink, {tuple('abcde'), tuple('abcdeXYZ'), tuple('XYZabcde')}),
    'extendleft': (extendleft_and_cut, {tuple('abcde'), tuple('XYZabcde')}),
    'multiply': (multiply_and_shrink, {tuple('abcde'), tuple('abcdeabcde')}),
}


@pytest.mark.parametrize(('change', 'legal'), CHANGES.values(), ids=CHANGES)
def test_no_other_process_sees_half_a_change(
    directory: str, alone: Interpreter, change: Callable, legal: set
) -> None:
    letters = Deque('abcde', directory)
    alone.start(snapshots, directory=directory, count=60)
    while not alone.has_answered():
        change(letters)
    assert alone.result() <= legal


#: Changes of a deque of large values, and what may be left of them when the process is killed.
CUT_SHORT = {
    'rotate': ('items.rotate(2)', rotations('abcde')),
    'reverse': ('items.reverse()', {tuple('abcde'), tuple('edcba')}),
    'set': ("items[1] = large('B'); items[1] = large('b')", {tuple('abcde'), tuple('aBcde')}),
    'insert': ("items.insert(2, large('X')); del items[2]", {tuple('abcde'), tuple('abXcde')}),
    'extend': (
        "items.extend(map(large, 'XYZ')); items.pop(); items.pop(); items.pop()",
        {tuple('abcde'), tuple('abcdeXYZ'), tuple('abcdeXY'), tuple('abcdeX')},
    ),
}


@pytest.mark.parametrize(('change', 'legal'), CUT_SHORT.values(), ids=CUT_SHORT)
def test_a_process_killed_midway_leaves_no_half_change(
    directory: str, start_interpreter: Callable[[], Interpreter], change: str, legal: set
) -> None:
    script = f"""
    def large(letter):
        return letter.encode() * 100_000
    items = diskcache.Deque(map(large, 'abcde'), directory)
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
    items = Deque(directory=directory)
    contents = list(items)
    assert tuple(chr(value[0]) for value in contents) in legal
    assert {len(value) for value in contents} == {100_000}
    with Cache(directory, timeout=0) as second:
        assert second.set('at once', 1)
    categories = {warning.category for warning in items.cache.check()}
    allowed = {diskcache.UnknownFileWarning, diskcache.EmptyDirWarning}
    assert categories <= allowed, 'only files without a row may be left'


def append_and_popleft(directory: str, number: int, turns: int) -> list:
    """Append items of one's own, and pop whatever comes."""
    queue = diskcache.Deque(directory=directory)
    popped = []
    for turn in range(turns):
        queue.append((number, turn))
        popped.append(queue.popleft())
    return popped


def assert_each_once_and_in_order(taken: list[list[tuple[int, int]]], turns: int) -> None:
    """Assert that what several took is what each of them had put in."""
    expected = [(number, turn) for number in range(len(taken)) for turn in range(turns)]
    assert sorted(item for items in taken for item in items) == expected
    for items in taken:
        for number in range(len(taken)):
            own = [turn for owner, turn in items if owner == number]
            assert own == sorted(own)


def test_processes_pop_each_item_once(
    directory: str, start_interpreter: Callable[[], Interpreter], other: Interpreter
) -> None:
    with start_interpreter() as second, start_interpreter() as third:
        processes = [other, second, third]
        for number, process in enumerate(processes):
            process.start(append_and_popleft, directory=directory, number=number, turns=80)
        taken = [process.result() for process in processes]
    assert_each_once_and_in_order(taken, 80)
    assert list(Deque(directory=directory)) == []


def in_threads(count: int, function: Callable[[int], Any]) -> list[Any]:
    """Return what `function` gave in each of `count` threads, which are given their numbers."""
    results: list[Any] = [None] * count

    def run(number: int) -> None:
        results[number] = function(number)

    threads = [threading.Thread(target=run, args=(number,), daemon=True) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
        assert not thread.is_alive(), 'a thread hangs'
    return results


def test_threads_pop_each_item_once(directory: str) -> None:
    queue = Deque(directory=directory)

    def work(number: int) -> list:
        popped = []
        for turn in range(60):
            queue.append((number, turn))
            popped.append(queue.popleft())
        return popped

    assert_each_once_and_in_order(in_threads(4, work), 60)
    assert list(queue) == []


def test_threads_that_turn_a_deque_lose_nothing(numbers: Deque) -> None:
    def work(number: int) -> None:
        for _ in range(20):
            numbers.rotate(number + 1)
            numbers.reverse()
            numbers.insert(5, 'x')
            numbers.remove('x')

    in_threads(3, work)
    assert sorted(numbers) == list(range(10))


def test_remove_finds_an_item_that_another_process_moves(
    directory: str, alone: Interpreter
) -> None:
    letters = Deque('a' * 200, directory)
    script = """
    letters = diskcache.Deque(directory=directory)
    while True:
        letters.rotate(100)
    """
    alone.start(script, directory=directory)
    for _ in range(30):
        letters.append('b')
        letters.remove('b')
    assert not alone.has_answered(), alone.result()
    alone.kill()
    assert list(letters) == ['a'] * 200


def test_rotations_of_several_processes_add_up(directory: str, alone: Interpreter) -> None:
    letters = Deque('abcde', directory)
    script = """
    letters = diskcache.Deque(directory=directory)
    for _ in range(1001):
        letters.rotate(1)
    """
    expected = deque('abcde')
    expected.rotate(1001)
    alone.start(script, directory=directory)
    while not alone.has_answered():
        letters.rotate(2)
        expected.rotate(2)
    alone.result()
    assert list(letters) == list(expected)


def test_no_other_process_sees_a_deque_longer_than_its_limit(
    directory: str, alone: Interpreter
) -> None:
    limited = Deque('abcde', directory, maxlen=5)
    script = """
    limited = diskcache.Deque(directory=directory)
    {len(limited) for _ in range(5000)}
    """
    alone.start(script, directory=directory)
    while not alone.has_answered():
        limited.append('x')
        limited.appendleft('y')
        limited.extend('uv')
        limited.extendleft('zw')
    assert alone.result() == {5}


# The original


def test_the_original_reads_a_turned_deque_and_goes_on(
    directory: str, original: Interpreter
) -> None:
    numbers = Deque(range(6), directory)
    numbers.rotate(2)
    numbers.insert(2, 'inserted')
    numbers.reverse()
    numbers.appendleft(LARGE)
    expected = [LARGE, 3, 2, 1, 0, 'inserted', 5, 4]
    script = """
    deque = diskcache.Deque(directory=directory)
    found = list(deque)
    deque.append('back')
    deque.appendleft('front')
    deque.rotate()
    found
    """
    assert original.run(script, directory=directory) == expected
    assert list(numbers) == ['back', 'front', *expected]


def test_a_deque_pickled_by_one_is_loaded_by_the_other(
    directory: str, original: Interpreter
) -> None:
    cache = Cache(directory, timeout=3, eviction_policy='least-recently-used')
    for numbers in (Deque([1, 2], f'{directory}-own', maxlen=4), Deque.fromcache(cache, [1, 2], 4)):
        script = """
        numbers = pickle.loads(pickled)
        numbers.append(3)
        list(numbers), numbers.maxlen, pickle.dumps(numbers)
        """
        items, maxlen, pickled = original.run(script, pickled=pickle.dumps(numbers))
        assert (items, maxlen) == ([1, 2, 3], 4)
        same = pickle.loads(pickled)
        assert (list(same), same.maxlen, same.directory) == (items, 4, numbers.directory)


# Against a model

VALUES = st.one_of(
    st.integers(0, 5),
    st.sampled_from([None, True, 1.0, 'a', b'a', (1, 'a'), 'x' * 60, b'x' * 60, ['x' * 60]]),
)
LISTS = st.lists(VALUES, max_size=5)
INDEXES = st.integers(-9, 9)


class DequeMachine(RuleBasedStateMachine):
    """Does the same to a Deque and to a collections.deque, and compares."""

    @initialize(
        items=LISTS,
        maxlen=st.none() | st.integers(0, 8),
        disk=st.sampled_from([Disk, Backwards]),
    )
    def open(self, items: list, maxlen: int | None, disk: type[Disk]) -> None:
        """Open a deque that keeps small values in files."""
        self.temporary = tempfile.TemporaryDirectory(prefix='diskcache-model-')
        self.cache = Cache(self.temporary.name, disk=disk, disk_min_file_size=50)
        self.model = deque(items, maxlen)
        self.deque = Deque.fromcache(self.cache, items, maxlen)

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
        for items in (self.model, self.deque):
            try:
                outcomes.append((None, operation(items)))
            except (IndexError, ValueError) as error:
                outcomes.append((type(error), None))
        assert outcomes[0] == outcomes[1]

    @rule(value=VALUES)
    def append(self, value: object) -> None:
        """Add an item at the back."""
        self.both(lambda items: items.append(value))

    @rule(value=VALUES)
    def appendleft(self, value: object) -> None:
        """Add an item at the front."""
        self.both(lambda items: items.appendleft(value))

    @rule()
    def pop(self) -> None:
        """Take an item from the back."""
        self.both(lambda items: items.pop())

    @rule()
    def popleft(self) -> None:
        """Take an item from the front."""
        self.both(lambda items: items.popleft())

    @rule(values=LISTS)
    def extend(self, values: list) -> None:
        """Add items at the back."""
        self.both(lambda items: items.extend(values))

    @rule(values=LISTS)
    def extendleft(self, values: list) -> None:
        """Add items at the front."""
        self.both(lambda items: items.extendleft(values))

    @rule()
    def extend_by_itself(self) -> None:
        """Double a short deque."""
        if len(self.model) < 6:
            self.both(lambda items: items.extend(items))

    @rule(steps=st.integers(-20, 20))
    def rotate(self, steps: int) -> None:
        """Rotate."""
        self.both(lambda items: items.rotate(steps))

    @rule()
    def reverse(self) -> None:
        """Reverse."""
        self.both(lambda items: items.reverse())

    @rule(index=INDEXES, value=VALUES)
    def insert(self, index: int, value: object) -> None:
        """Insert an item."""
        self.both(lambda items: items.insert(index, value))

    @rule(index=INDEXES)
    def get(self, index: int) -> None:
        """Read an item."""
        self.both(lambda items: items[index])

    @rule(index=INDEXES, value=VALUES)
    def set(self, index: int, value: object) -> None:
        """Replace an item."""
        self.both(lambda items: operator.setitem(items, index, value))

    @rule(index=INDEXES)
    def delete(self, index: int) -> None:
        """Delete an item by its index."""
        self.both(lambda items: operator.delitem(items, index))

    @rule(value=VALUES)
    def remove(self, value: object) -> None:
        """Delete an item by its value."""
        self.both(lambda items: items.remove(value))

    @rule(value=VALUES)
    def search(self, value: object) -> None:
        """Look for a value in each way."""
        self.both(lambda items: items.count(value))
        self.both(lambda items: items.index(value))
        self.both(lambda items: value in items)

    @rule(factor=st.integers(0, 2))
    def multiply(self, factor: int) -> None:
        """Repeat a short deque, in place."""
        if len(self.model) < 6:
            self.both(lambda items: operator.imul(items, factor) and None)

    @rule(maxlen=st.none() | st.integers(0, 8))
    def limit(self, maxlen: int | None) -> None:
        """Change the limit."""
        self.deque.maxlen = maxlen
        self.model = deque(self.model, maxlen)

    @rule(maxlen=st.none() | st.integers(0, 8))
    def open_again(self, maxlen: int | None) -> None:
        """Open the directory again, with another limit."""
        self.cache.close()
        self.deque = Deque.fromcache(self.cache, maxlen=maxlen)
        self.model = deque(self.model, maxlen)

    @rule(values=LISTS, steps=st.integers(-5, 5))
    def roll_back(self, values: list, steps: int) -> None:
        """Change much in a transaction that fails."""
        with pytest.raises(ArithmeticError), self.deque.transact():
            self.deque.extend(values)
            self.deque.rotate(steps)
            self.deque.reverse()
            if self.deque:
                self.deque[0] = 'x' * 60
                self.deque.popleft()
            raise ArithmeticError

    @rule()
    def clear(self) -> None:
        """Remove everything."""
        self.both(lambda items: items.clear())

    @invariant()
    def same_items(self) -> None:
        """The items are those of the model, in both directions."""
        if hasattr(self, 'cache'):
            assert repr(list(self.deque)) == repr(list(self.model))
            assert repr(list(reversed(self.deque))) == repr(list(reversed(self.model)))
            assert len(self.deque) == len(self.model)


TestModel = DequeMachine.TestCase
TestModel.settings = settings(
    max_examples=30,
    stateful_step_count=30,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)


# On a cache that evicts.


@pytest.mark.filterwarnings('ignore:.*may evict')
def test_a_value_that_the_cache_would_not_keep_is_an_error_and_changes_nothing(
    directory: str,
) -> None:
    cache = Cache(directory, size_limit=100_000)
    items = Deque.fromcache(cache, [1, 2, 3])
    huge = b'x' * 200_000
    for change in (
        lambda: items.append(huge),
        lambda: items.appendleft(huge),
        lambda: items.extend([4, huge]),
        lambda: items.insert(1, huge),
        lambda: operator.setitem(items, 0, huge),
    ):
        with pytest.raises(ValueError, match='size_limit'):
            change()
        assert list(items) == [1, 2, 3]
    items.maxlen = 3
    with pytest.raises(ValueError, match='size_limit'):
        items.append(huge)
    assert list(items) == [1, 2, 3]
    cache.close()


@pytest.mark.parametrize('maxlen', [2**62, 2**64, 1e300])
def test_a_maxlen_may_be_larger_than_any_memory(directory: str, maxlen: float) -> None:
    items = Deque('abc', directory, maxlen)
    items.extend('def')
    assert list(items) == list('abcdef')
    items.cache.close()


def test_an_error_of_unpickling_is_not_taken_for_a_bad_index(directory: str) -> None:
    items = Deque([RaisesIndexError()], directory)
    with pytest.raises(IndexError, match='from unpickling'):
        items[-1]
    items.cache.close()


class RaisesIndexError:
    """Cannot be unpickled."""

    def __reduce__(self) -> tuple:
        return raise_index_error, ()


def raise_index_error() -> None:
    """Fail in a way that a container might take for its own."""
    raise IndexError('from unpickling')


def test_a_new_deque_has_the_disk_of_the_old_one(directory: str) -> None:
    items = Deque.fromcache(Cache(directory, disk=JSONDisk), 'ab')
    for new in (items + items, items * 2):
        assert list(new) == list('abab')
        assert type(new.cache.disk) is JSONDisk
        new.cache.close()
        shutil.rmtree(new.directory)
    items.cache.close()


def test_an_index_may_be_a_whole_float(directory: str) -> None:
    """As in the original: programs compute one with ``/``."""
    items = Deque('abcd', directory)
    assert (items[4 / 2], items[-1.0]) == ('c', 'd')
    items[1.0] = 'x'
    del items[0.0]
    assert list(items) == ['x', 'c', 'd']
    with pytest.raises(TypeError):
        items[0.5]


class Tagging(Deque):
    """Adds items in its own way, by the methods that the original's others call."""

    def _append(self, value: Any) -> None:
        super().append(('back', value))

    append = _append

    def _appendleft(self, value: Any) -> None:
        super().appendleft(('front', value))

    appendleft = _appendleft


def test_overridden_methods_for_one_item_are_called_for_many(directory: str) -> None:
    deque = Tagging('a', directory)
    deque.extend('b')
    deque += 'c'
    deque.extendleft('d')
    deque.append('e')
    assert list(deque) == [('front', 'd'), *(('back', letter) for letter in 'abce')]
    deque.extend(deque)
    assert len(deque) == 10
    with pytest.raises(ZeroDivisionError):
        deque.extend(1 // number for number in (1, 0))
    assert len(deque) == 10
    assert deque[-1] == ('back', ('back', 'e'))


class Ending(Deque):
    """Takes items in its own way, by the methods that the original's others call."""

    def _popleft(self) -> Any:
        value = super().popleft()
        dropped.append(value)
        return value

    def _pop(self) -> Any:
        value = super().pop()
        dropped.append(value)
        return value


dropped: list[Any] = []


def test_overridden_methods_take_what_is_over_maxlen(directory: str) -> None:
    dropped.clear()
    deque = Ending('abc', directory, maxlen=2)
    deque.append('d')
    deque.appendleft('e')
    deque.extend('f')
    deque.maxlen = 1
    assert dropped == ['a', 'b', 'd', 'e', 'c']
    assert list(deque) == ['f']
