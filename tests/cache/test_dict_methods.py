"""A Cache, and a FanoutCache, is used like a dictionary."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import pytest
from interpreter import Clock, Interpreter

import diskcache
from diskcache import Cache, FanoutCache


@pytest.fixture(params=['Cache', 'FanoutCache'])
def store(request: pytest.FixtureRequest, directory: str) -> Iterator[Cache | FanoutCache]:
    """An empty cache of either kind."""
    with getattr(diskcache, request.param)(directory) as store:
        yield store


def test_a_dict_can_be_made_of_it(store: Cache, clock: Clock) -> None:
    """Without what has expired, which iterating includes."""
    store['a'], store['b'] = 1, [2]
    store.set('expired', 3, expire=1)
    clock.tick(2)
    assert dict(store) == {**store} == {'a': 1, 'b': [2]}
    assert set(store) == {'a', 'b', 'expired'}


def test_its_views_are_those_of_a_dict(store: Cache, clock: Clock) -> None:
    store.update({'a': 1, ('b', 2): 2}, c=3)
    store.set('expired', 4, expire=1)
    clock.tick(2)
    assert set(store.keys()) == {'a', ('b', 2), 'c'}
    assert sorted(store.values()) == [1, 2, 3]
    assert dict(store.items()) == {'a': 1, ('b', 2): 2, 'c': 3}
    assert list(reversed(store.keys())) == list(store.keys())[::-1]
    assert list(reversed(store.values())) == list(store.values())[::-1]
    assert list(reversed(store.items())) == list(store.items())[::-1]
    assert 'a' in store.keys() and 'expired' not in store.keys()  # noqa: PT018, SIM118
    assert 3 in store.values()
    assert 4 not in store.values()
    assert ('c', 3) in store.items()
    assert ('expired', 4) not in store.items()
    assert store.keys() & {'a', 'z'} == {'a'}
    for key in store.keys():  # noqa: SIM118
        del store[key]
    assert list(store.items()) == []


class PickledAnew:
    """A key that is never pickled to the same bytes, as a frozenset with other hashes is not."""

    times = itertools.count()

    def __init__(self, number: int, time: int = 0) -> None:
        self.number = number

    def __reduce__(self) -> tuple:
        return PickledAnew, (self.number, next(self.times))


@pytest.mark.parametrize('kind', ['Cache', 'FanoutCache', 'Index'])
def test_its_views_have_keys_that_cannot_be_looked_up(kind: str, directory: str) -> None:
    """They are there, and copying or comparing a cache must not leave them out."""
    store = getattr(diskcache, kind)(directory)
    for number in range(100):
        store[PickledAnew(number)] = number
    numbers = set(range(100))
    for turn in (iter, reversed):
        assert {key.number for key in turn(store.keys())} == numbers
        assert set(turn(store.values())) == numbers
        assert {(key.number, value) for key, value in turn(store.items())} == {
            (number, number) for number in numbers
        }
    assert set(diskcache.Index(store.items()).values()) == numbers


def test_its_views_ask_a_subclass(directory: str) -> None:
    """Which may have other keys and values than the database."""

    class Doubled(Cache):
        def __getitem__(self, key: int) -> int:
            return 2 * super().__getitem__(key)

    with Doubled(directory) as store:
        store[1] = 5
        assert list(store.items()) == list(diskcache.Index.fromcache(store).items()) == [(1, 10)]


@pytest.mark.parametrize('name', ['keys', 'values', 'items'])
@pytest.mark.parametrize('kind', ['Cache', 'FanoutCache', 'Index'])
def test_its_views_are_called_as_those_of_a_mapping(kind: str, name: str, directory: str) -> None:
    store = getattr(diskcache, kind)(directory)
    assert repr(getattr(store, name)()) == f'{name.capitalize()}View({store!r})'


def test_update_takes_what_dict_update_takes(store: Cache, directory: str) -> None:
    class Keyed:
        def keys(self) -> list:
            return ['k']

        def __getitem__(self, key: str) -> int:
            return 7

    store.update([('a', 1), ('b', 2)])
    store.update((key, 3) for key in 'bc')
    store.update(Keyed(), d=8)
    store.update()
    assert dict(store) == {'a': 1, 'b': 3, 'c': 3, 'k': 7, 'd': 8}
    same = store
    same |= {'a': 5}
    same |= [('e', 9)]
    assert same is store
    assert (store['a'], store['e']) == (5, 9)
    with Cache(directory + '-other') as other:
        other |= store
        assert dict(other) == dict(store)
        assert dict(diskcache.Index(store)) == dict(store)
    for wrong, error in ((5, TypeError), ([5], TypeError), ([(1, 2, 3)], ValueError)):
        with pytest.raises(error):
            store.update(wrong)


def test_setdefault_stores_what_is_missing(store: Cache, clock: Clock) -> None:
    assert store.setdefault('key', [1]) == [1]
    assert store.setdefault('key', [2]) == [1]
    assert store.setdefault('none') is None
    assert 'none' in store
    store.set('expired', 1, expire=1)
    clock.tick(2)
    assert store.setdefault('expired', 2) == store['expired'] == 2


def test_of_several_setdefaults_one_stores(
    store: Cache, other: Interpreter, alone: Interpreter
) -> None:
    script = """
    with getattr(diskcache, kind)(directory) as store:
        answers = [store.setdefault(number, (os.getpid(), number)) for number in range(200)]
    answers
    """
    names = {'kind': type(store).__name__, 'directory': store.directory}
    for interpreter in (other, alone):
        interpreter.start(script, **names)
    assert other.result() == alone.result() == [store[number] for number in range(200)]


def test_its_repr_names_the_class_and_the_directory(store: Cache) -> None:
    assert repr(store) == f'{type(store).__name__}({store.directory!r})'

    class Mine(type(store)):
        pass

    assert repr(Mine.__new__(Mine)) == 'Mine(None)'
