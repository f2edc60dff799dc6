"""memoize: what is computed again and what is not."""

from __future__ import annotations

import asyncio
import collections
import copy
import functools as ft
import gc
import inspect
import itertools
import json
import pickle
import random
import sys
import types
import warnings
import weakref
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import django_project  # noqa: F401  configures Django before its backend is imported
import pytest
from interpreter import Clock, Interpreter

import diskcache
from diskcache.djangocache import DjangoCache


@pytest.fixture
def calls() -> list:
    """The arguments with which the functions of a test were called."""
    return []


def test_a_function_is_called_once_for_the_same_arguments(
    cache: diskcache.Cache, calls: list
) -> None:
    @cache.memoize()
    def square(number: int) -> int:
        calls.append(number)
        return number * number

    assert [square(3), square(3), square(4), square(number=3), square(number=3)] == [9, 9, 16, 9, 9]
    assert calls == [3, 4, 3]


def test_the_order_of_keywords_makes_no_difference(cache: diskcache.Cache, calls: list) -> None:
    @cache.memoize()
    def function(**kwargs: int) -> int:
        calls.append(kwargs)
        return len(calls)

    assert function(a=1, b=2) == function(b=2, a=1) == 1
    assert function(a=2, b=1) == 2


@pytest.mark.parametrize('result', [None, 0, False, '', b'', (), [], 'x' * 50_000, 1.5])
def test_results_of_every_kind_are_kept(
    cache: diskcache.Cache, calls: list, result: object
) -> None:
    @cache.memoize()
    def function() -> object:
        calls.append(None)
        return result

    assert function() == function() == result
    assert type(function()) is type(result)
    assert len(calls) == 1


def test_an_exception_is_not_kept(cache: diskcache.Cache, calls: list) -> None:
    @cache.memoize()
    def function() -> int:
        calls.append(None)
        if len(calls) == 1:
            raise LookupError
        return 5

    with pytest.raises(LookupError):
        function()
    assert len(cache) == 0
    assert function() == function() == 5
    assert len(calls) == 2


@pytest.mark.parametrize('typed', [False, True])
def test_typed_tells_equal_arguments_apart(
    cache: diskcache.Cache, calls: list, typed: bool
) -> None:
    @cache.memoize(typed=typed)
    def function(key: tuple) -> int:
        calls.append(key)
        return len(calls)

    key = function.__cache_key__
    assert (key(3) == key(3.0)) is not typed
    assert (key(key=3) == key(key=3.0)) is not typed
    assert key(3) == key(3)


@pytest.mark.filterwarnings('ignore::diskcache.CacheWarning')
@pytest.mark.parametrize('ignore', [{1}, [1], (1,), {1, 'b'}, {'b', 1, 'unknown', 99}])
def test_ignored_arguments_make_no_difference(
    cache: diskcache.Cache, calls: list, ignore: object
) -> None:
    @cache.memoize(ignore=ignore)
    def function(a: int, b: int) -> int:
        calls.append((a, b))
        return len(calls)

    assert function(1, 2) == function(1, 3) == 1
    assert function(2, 2) == 2


def test_expire_and_tag_are_those_of_the_items(
    cache: diskcache.Cache, calls: list, clock: Clock
) -> None:
    @cache.memoize(expire=10, tag='tag')
    def function() -> int:
        calls.append(None)
        return len(calls)

    assert function() == 1
    key = function.__cache_key__()
    assert cache.get(key, expire_time=True, tag=True) == (1, clock.now + 10, 'tag')
    clock.tick(11)
    assert function() == 2
    assert cache.evict('tag') == 1
    assert function() == 3


@pytest.mark.parametrize('expire', [0, 0.0, -1])
def test_nothing_is_kept_that_would_expire_at_once(
    cache: diskcache.Cache, calls: list, expire: float
) -> None:
    @cache.memoize(expire=expire)
    def function() -> None:
        calls.append(None)

    function()
    function()
    assert len(calls) == 2
    assert len(cache) == 0


def test_functions_of_one_name_share_their_results(cache: diskcache.Cache) -> None:
    first = cache.memoize(name='same')(lambda number: 'first')
    second = cache.memoize(name='same')(lambda number: 'second')
    third = cache.memoize(name='other')(lambda number: 'third')
    assert (first(1), second(1), third(1)) == ('first', 'first', 'third')


def test_the_wrapper_looks_like_the_function(cache: diskcache.Cache) -> None:
    def function(number: int, *, option: str = 'x') -> None:
        """Explain."""

    wrapper = cache.memoize()(function)
    assert wrapper.__wrapped__ is function
    assert (wrapper.__name__, wrapper.__doc__) == ('function', 'Explain.')
    assert wrapper.__module__ == function.__module__
    assert wrapper.__annotations__ == function.__annotations__


def test_a_method_is_memoized_for_each_object(cache: diskcache.Cache) -> None:
    class Point(tuple):
        __slots__ = ()

        @cache.memoize(name='Point.total', ignore={0})
        def total(self, factor: int) -> int:
            return sum(self) * factor

    assert Point((1, 2)).total(2) == 6
    assert Point((5, 5)).total(2) == 6


def test_a_recursive_function_is_memoized_on_the_way(cache: diskcache.Cache, calls: list) -> None:
    @cache.memoize()
    def fibonacci(number: int) -> int:
        calls.append(number)
        return number if number < 2 else fibonacci(number - 1) + fibonacci(number - 2)

    assert fibonacci(80) == 23416728348467685
    assert len(calls) == 81


def test_a_function_that_cannot_be_pickled_is_no_obstacle(cache: diskcache.Cache) -> None:
    assert cache.memoize(name='f')(lambda number: number + 1)(1) == 2


@pytest.mark.parametrize('argument', [object, len])
def test_the_decorator_must_be_called(cache: diskcache.Cache, argument: Callable) -> None:
    with pytest.raises(TypeError, match='name cannot be callable'):
        cache.memoize(argument)


def test_results_are_shared_with_other_processes(
    cache: diskcache.Cache, other: Interpreter
) -> None:
    script = "Cache(directory).memoize(name='f')(lambda *args: 'theirs')(1, (2, 'x'))"
    assert other.run(script, directory=cache.directory) == 'theirs'
    assert cache.memoize(name='f')(lambda *args: 'ours')(1, (2, 'x')) == 'theirs'


def test_results_are_shared_with_the_original(
    cache: diskcache.Cache, original: Interpreter
) -> None:
    script = "Cache(directory).memoize(name='f', typed=True)(lambda *a, **k: 'theirs')(1, b=('x',))"
    assert original.run(script, directory=cache.directory) == 'theirs'
    function = cache.memoize(name='f', typed=True)(lambda *args, **kwargs: 'ours')
    assert function(1, b=('x',)) == 'theirs'


@pytest.mark.parametrize('typed', [False, True])
def test_keys_from_the_signature_are_one_for_calls_that_mean_the_same(
    cache: diskcache.Cache, calls: list, typed: bool
) -> None:
    @cache.memoize(signature=True, typed=typed)
    def function(a: object, b: object = 2, *rest: object, c: object = 3, **more: object) -> None:
        calls.append((a, b, rest, c, more))

    for args, kwargs in (
        ((1,), {}),
        ((1, 2), {}),
        ((), {'a': 1}),
        ((), {'b': 2, 'a': 1}),
        ((1,), {'c': 3}),
    ):
        function(*args, **kwargs)
    assert len(calls) == 1
    function(1, y=1, x=2)
    function(1, x=2, y=1)
    assert len(calls) == 2


def test_keys_from_the_signature_differ_for_calls_that_differ(
    cache: diskcache.Cache, calls: list
) -> None:
    @cache.memoize(signature=True)
    def function(a: object, *rest: object, x: object = 0) -> tuple:
        calls.append(a)
        return a, rest, x

    assert function(1, x=None) == (1, (), None)
    assert function(1, None, 'x') == (1, (None, 'x'), 0)
    assert len(calls) == 2


def test_keys_from_the_signature_ignore_by_name_or_position(
    cache: diskcache.Cache, calls: list
) -> None:
    @cache.memoize(signature=True, ignore=('verbose', 1, 'trace'))
    def function(a: int, path: str = '', verbose: bool = False, **more: object) -> int:
        calls.append(a)
        return a

    function(1)
    function(1, 'elsewhere', verbose=True, trace='yes')
    assert calls == [1]
    function(1, colour='red')
    assert calls == [1, 1]


def test_a_call_that_does_not_fit_the_signature_is_a_type_error(cache: diskcache.Cache) -> None:
    @cache.memoize(signature=True)
    def function(a: int) -> int:
        return a

    with pytest.raises(TypeError):
        function()
    assert len(cache) == 0


# Which results are kept, and coroutine functions: the same for everything that memoizes.


def decorators(directory: str) -> dict[str, Callable[..., Any]]:
    """Return every memoize there is, as a function of cache_if."""
    fanout = diskcache.FanoutCache(f'{directory}/fanout', 2)
    return {
        'Cache': diskcache.Cache(f'{directory}/cache').memoize,
        'FanoutCache': fanout.memoize,
        'Index': diskcache.Index(f'{directory}/index').memoize,
        'memoize_stampede': ft.partial(diskcache.memoize_stampede, fanout, 1000),
        'DjangoCache': DjangoCache(f'{directory}/django', {'SHARDS': 2}).memoize,
    }


KINDS = ['Cache', 'FanoutCache', 'Index', 'memoize_stampede', 'DjangoCache']


@pytest.mark.parametrize('kind', KINDS)
def test_only_results_that_the_predicate_wants_are_kept(
    directory: str, calls: list, kind: str
) -> None:
    @decorators(directory)[kind](cache_if=lambda result: result is not None)
    def find(name: str) -> str | None:
        calls.append(name)
        return name if name == 'known' else None

    assert [find('known'), find('known'), find('unknown'), find('unknown')] == [
        'known',
        'known',
        None,
        None,
    ]
    assert calls == ['known', 'unknown', 'unknown']


def test_what_the_predicate_raises_is_raised(cache: diskcache.Cache) -> None:
    @cache.memoize(cache_if=lambda result: result > 1)
    def function() -> str:
        return 'text'

    with pytest.raises(TypeError):
        function()
    assert len(cache) == 0


@pytest.mark.parametrize('kind', KINDS)
def test_what_a_coroutine_function_returns_is_kept(directory: str, calls: list, kind: str) -> None:
    @decorators(directory)[kind](cache_if=lambda result: result > 1)
    async def square(number: int) -> int:
        """Square a number, in time."""
        await asyncio.sleep(0)
        calls.append(number)
        return number * number

    async def main() -> list[int]:
        return [await square(number) for number in (3, 3, 1, 1, 3)]

    assert inspect.iscoroutinefunction(square)
    assert (square.__name__, square.__doc__) == ('square', 'Square a number, in time.')
    assert asyncio.run(main()) == [9, 9, 1, 1, 9]
    assert calls == [3, 1, 1]
    assert square.__cache_key__(3) != square.__cache_key__(1)


def test_an_exception_of_a_coroutine_function_is_raised_and_not_kept(
    cache: diskcache.Cache, calls: list
) -> None:
    @cache.memoize()
    async def fail() -> None:
        calls.append(1)
        raise LookupError

    for _ in range(2):
        with pytest.raises(LookupError):
            asyncio.run(fail())
    assert len(calls) == 2


def test_a_coroutine_function_is_renewed_in_its_event_loop(
    cache: diskcache.Cache, calls: list
) -> None:
    @diskcache.memoize_stampede(cache, expire=1000, beta=10**12)
    async def function() -> int:
        await asyncio.sleep(0.001)
        calls.append(asyncio.get_running_loop())
        return len(calls)

    async def main() -> tuple[int, int, int]:
        first = await function()
        second = await function()
        while len(calls) < 2:
            await asyncio.sleep(0.001)
        await asyncio.sleep(0.01)
        return first, second, cache[function.__cache_key__()][0]

    assert asyncio.run(main()) == (1, 1, 2)
    assert calls[0] is calls[1]


def test_a_memoized_method_knows_its_object(cache: diskcache.Cache, calls: list) -> None:
    class Shop(NamedTuple):
        name: str

        @cache.memoize(ignore=(0,))
        def price(self, item: str) -> int:
            calls.append((self.name, item))
            return len(item)

    assert [Shop('a').price('apple'), Shop('b').price('apple')] == [5, 5]
    assert calls == [('a', 'apple')]


@pytest.mark.parametrize('count', [0, 1, 5, 17, 40])
def test_keywords_are_sorted_however_many_they_are(cache: diskcache.Cache, count: int) -> None:
    def function(**kwargs: int) -> None: ...

    keywords = {f'{number * 7919 % 101:03}': number for number in range(count)}
    key = cache.memoize('f')(function).__cache_key__(**keywords)
    expected = [part for item in sorted(keywords.items()) for part in item]
    assert key == ('f', None, *expected)
    assert diskcache.core.args_to_key(('f',), (), keywords, False, ()) == key


@pytest.mark.parametrize(
    'arguments',
    [(['f'], (), {}, False, ()), (('f',), 5, {}, False, ()), (('f',), (), [1], False, ())],
)
def test_parts_of_a_key_of_other_types_are_type_errors(arguments: tuple[Any, ...]) -> None:
    with pytest.raises(TypeError):
        diskcache.core.args_to_key(*arguments)
    with pytest.raises(TypeError):
        diskcache.core.args_to_key(('f',), (), {}, False, 5)


def test_arguments_of_a_key_can_be_any_iterable_and_any_mapping() -> None:
    """Programs with a memoize of their own give the original's function what they have."""
    key = ('f', 1, 2, None, 'a', 3, int, int, int)
    for args in ([1, 2], range(1, 3), iter((1, 2))):
        for kwargs in ({'a': 3}, types.MappingProxyType({'a': 3}), collections.ChainMap({'a': 3})):
            args = list(args)
            assert diskcache.core.args_to_key(('f',), args, kwargs, True, ()) == key
    assert diskcache.core.args_to_key(('f',), [], None, False, ()) == ('f', None)


@pytest.mark.parametrize('moment', ['__lt__', '__hash__', '__eq__'])
def test_a_name_that_empties_the_arguments_while_it_is_compared_does_no_harm(
    alone: Interpreter, moment: str
) -> None:
    """The key is that of the arguments as they were; nothing of them is freed before it is made."""

    def scenario(moment: str) -> None:
        class Name(str):
            __slots__ = ()
            __hash__ = str.__hash__

        def strike(self: str, *args: object) -> object:
            nonlocal armed
            if armed:
                armed = False
                keywords.clear()
                rubbish.append([bytearray(48) for _ in range(1000)])
            return getattr(str, moment)(self, *args)

        armed = False
        rubbish: list[object] = []
        setattr(Name, moment, strike)
        for _ in range(50):
            armed = False
            keywords = {Name(f'name{number:02}'): [number] * 3 for number in range(40, 0, -1)}
            expected = [[number] * 3 for number in range(1, 40)]
            armed = True
            key = diskcache.core.args_to_key(('f',), (1,), keywords, True, ('name40',))
            assert not armed
            assert key[:3] == ('f', 1, None), key
            assert list(key[4:81:2]) == expected, key
            assert all(type(name) is Name for name in key[3:81:2]), key
            assert key[81:] == (int, *[list] * 39), key

    alone.run(scenario, moment=moment)


def equal_pairs() -> list:
    """Pairs of equal arguments: of one of them parts are one object, of the other they are not."""
    word = ''.join(['ab', 'c'])
    one = [{'role': word, 'content': 'hi'}, {'role': word, 'content': [word, [word]]}]
    return [
        (('abc', word), (word, word)),
        (one, copy.deepcopy(json.loads(json.dumps(one)))),
        ([[1, 2], [1, 2]], [[1, 2]] * 2),
        (frozenset([word]), frozenset(['abc'])),
        (([word] * 3, {word: word}), (['abc', 'ab' + word[2:], word], {'abc': word})),
    ]


@pytest.mark.parametrize('kind', ['Cache', 'FanoutCache', 'Index', 'stampede', 'Django', 'JSON'])
def test_equal_arguments_share_a_result_by_signature(
    directory: str, calls: list, kind: str
) -> None:
    """Also if they are other objects: read from JSON, say, or built by the program."""
    caches = {
        'Cache': lambda: diskcache.Cache(directory),
        'JSON': lambda: diskcache.Cache(directory, disk=diskcache.JSONDisk),
        'FanoutCache': lambda: diskcache.FanoutCache(directory, shards=3),
        'Index': lambda: diskcache.Index(directory),
        'stampede': lambda: diskcache.Cache(directory),
        'Django': lambda: DjangoCache(directory, {'SHARDS': 2}),
    }
    cache = caches[kind]()
    memoize = (
        ft.partial(diskcache.memoize_stampede, cache, 1000) if kind == 'stampede' else cache.memoize
    )

    @memoize(signature=True)
    def function(first: object, second: object = None) -> int:
        calls.append(first)
        return len(calls)

    for one, other in equal_pairs():
        if kind != 'JSON' or not isinstance(one, frozenset):
            assert function(one) == function(other)
            assert function(one, other) == function(other, one) == function(one, one)


def test_keys_by_signature_are_what_they_were_where_nothing_is_shared(
    cache: diskcache.Cache,
) -> None:
    """What has been stored is found; and what refers to itself, or shares much, has a key too."""
    function = cache.memoize('name', signature=True)(lambda argument: len(argument))
    assert function.__cache_key__([1, 'a']) == ('name', None, 'argument', [1, 'a'])
    recursive: list = [1]
    recursive.append(recursive)
    assert function(recursive) == function(recursive) == 2
    shared: list = ['x' * 1000]
    for _ in range(50):
        shared = [shared, shared]
    assert function(shared) == function(shared) == 2
    with pytest.raises((TypeError, AttributeError, pickle.PicklingError)):
        function([lambda: None])


def test_a_name_to_ignore_may_be_a_str(cache: diskcache.Cache, calls: list) -> None:
    """It is that one name, not its letters."""

    @cache.memoize(ignore='self')
    def function(s: int, self: int = 0) -> int:
        calls.append(s)
        return len(calls)

    assert function(s=1, self=1) == function(s=1, self=2) == 1
    assert function(s=2, self=1) == 2
    by_signature = cache.memoize('name', signature=True, ignore='self')(function.__wrapped__)
    assert by_signature(5, 1) == by_signature(5, 2)
    assert by_signature(5, 1) != by_signature(6, 1)


def test_a_name_to_ignore_that_the_function_does_not_have_is_warned_of(
    cache: diskcache.Cache, recwarn: pytest.WarningsRecorder
) -> None:
    def function(argument: int) -> int:
        return argument

    def taking_any(**kwargs: int) -> int:
        return len(kwargs)

    for memoize in (cache.memoize, ft.partial(diskcache.memoize_stampede, cache, 60)):
        memoize(ignore=['argument', 0])(function)
        memoize('other', ignore={'anything'})(taking_any)
        memoize('builtin', ignore={'anything'})(len)
        assert not [warning for warning in recwarn if 'function' in str(warning.message)]
        with pytest.warns(diskcache.CacheWarning, match="'argumnt'") as caught:
            memoize(ignore=['argumnt'])(function)
        assert [warning.filename for warning in caught] == [__file__]


# --- arguments that are known without making a key ---


class Text(str):
    """A str with a type of its own."""

    __slots__ = ()


def pool() -> list:
    """Arguments that are easily taken for each other, each time new objects."""
    text = ''.join(['te', 'xt'])
    again = ''.join(['te', 'xt'])
    return [
        *((), (1,), (1.0,), (True,), (0,), (0.0,), (-0.0,), (False,), (None,)),
        *((float('nan'),), (float('inf'),), (2**40,), (2**70,), (-1,), (-2,)),
        *((text,), (text.encode(),), (Text(text),), (text, text), (text, again), ('f',)),
        *(((text,),), ((text, text),), ((text, again),), ((text, (again, 1)),), (((),), ())),
        *((bytearray(b'text'),), ([text],), ('\udc80',), ('x' * 70_000,), ((1, 1.0, True, None),)),
    ]


@pytest.mark.parametrize('ignore', [(), (0,), ('b',)])
def test_what_is_known_of_arguments_is_what_their_key_says(
    cache: diskcache.Cache, ignore: tuple
) -> None:
    """By type and by value, and two objects are not one: as if the key were made each time."""
    counter = itertools.count()

    @cache.memoize('f', ignore=ignore)
    def function(*args: Any, **kwargs: Any) -> int:
        return next(counter)

    known: dict = {}
    for turn in range(3):
        calls = [(args, {}) for args in pool()]
        calls += [((), {'b': args[0]}) for args in pool() if args]
        calls += [(args, {'b': 'b', 'a': 1}) for args in pool()]
        calls += [(args, {'a': 1, 'b': ''.join('b')}) for args in pool()]
        for args, kwargs in random.Random(turn).sample(calls, len(calls)):
            stored = cache.disk.put(function.__cache_key__(*args, **kwargs))
            result = function(*args, **kwargs)
            assert known.setdefault(stored, result) == result, (args, kwargs)
            assert cache._recall(function, args, kwargs) in (result, diskcache.ENOVAL)


@pytest.fixture
def recalled(cache: diskcache.Cache, calls: list) -> Callable:
    """A memoized function, of which `cache._recall` knows what it has been called with."""

    @cache.memoize()
    def function(*args: Any, **kwargs: Any) -> int:
        calls.append((args, kwargs))
        return len(calls)

    return function


def knows(cache: diskcache.Cache, function: Callable, *args: Any, **kwargs: Any) -> bool:
    """Tell whether a call is answered without making its key, once it has been made."""
    function(*args, **kwargs)
    function(*args, **kwargs)
    return cache._recall(function, args, kwargs) is not diskcache.ENOVAL


def test_a_call_with_simple_arguments_is_answered_without_its_key(
    cache: diskcache.Cache, recalled: Callable
) -> None:
    assert knows(cache, recalled, 1, 'a', b'b', 1.5, None, True, (1, ('c', 2)), d='e')
    assert knows(cache, recalled)
    assert knows(cache, cache.memoize('list')(lambda: [1]))  # unpickled each time
    assert knows(cache, cache.memoize('expires', expire=60)(lambda: 1))


@pytest.mark.parametrize(
    'argument', [Text('a'), ['a'], bytearray(b'a'), {'a': 1}, {1}, 1j, ([],), (((((1,),),),),)]
)
def test_what_may_change_is_in_no_table(
    cache: diskcache.Cache, recalled: Callable, argument: object
) -> None:
    assert not knows(cache, recalled, argument)
    assert not knows(cache, recalled, key=argument)


def test_an_argument_that_changes_is_another_one(
    cache: diskcache.Cache, recalled: Callable
) -> None:
    argument = [1]
    assert [recalled(argument), recalled(argument)] == [1, 1]
    argument.append(2)
    assert [recalled(argument), recalled(argument)] == [2, 2]


def test_ignored_positions_may_be_anything(cache: diskcache.Cache) -> None:
    class Multiplier:
        @cache.memoize(ignore={0})
        def twice(self, number: int) -> int:
            return 2 * number

    assert Multiplier().twice(3) == Multiplier().twice(3) == 6
    assert cache._recall(Multiplier.twice, (Multiplier(), 3), {}) == 6


@pytest.mark.parametrize(
    'ignore', [{'large'}, {'large', 1}, {'large', 'other', Text('text')}, range(90)]
)
def test_ignored_arguments_are_not_kept_alive(cache: diskcache.Cache, ignore: Any) -> None:
    """They are not in the key, and so nothing tells how large they are."""
    large = 'large'.ljust(100_000)
    before = sys.getrefcount(large)

    with warnings.catch_warnings():
        warnings.simplefilter('ignore', diskcache.CacheWarning)

        @cache.memoize('function', ignore=ignore)
        def function(*args: Any, **kwargs: Any) -> int:
            return len(args)

    if 'large' in ignore:
        for kwargs in ({'large': large}, {'other': 1, 'large': large}):
            assert function(5, **kwargs) == function(5, **kwargs) == 1
            assert cache._recall(function, (5,), kwargs) in (1, diskcache.ENOVAL)
    else:
        args = (None,) * 70 + (large,)
        assert function(*args) == function(*args) == 71
        del args
    assert sys.getrefcount(large) == before + ('large' in ignore)  # `kwargs`


def test_a_call_with_many_ignored_names_has_its_own_key(cache: diskcache.Cache) -> None:
    ignored = {f'ignored {number}': number for number in range(40)}
    function = cache.memoize('function', ignore=ignored)(lambda **kwargs: kwargs['last'])
    for _ in range(3):
        assert [function(**ignored, last=number) for number in range(3)] == [0, 1, 2]
        assert [function(last=number, **ignored) for number in range(3)] == [0, 1, 2]


def test_a_result_that_another_process_has_changed_is_not_recalled(
    cache: diskcache.Cache, recalled: Callable, other: Interpreter
) -> None:
    assert knows(cache, recalled, 'a')
    script = 'diskcache.Cache(directory)[key] = "new"'
    other.run(
        f'import diskcache; {script}', directory=cache.directory, key=recalled.__cache_key__('a')
    )
    assert recalled('a') == 'new'
    cache.delete(recalled.__cache_key__('a'))
    assert recalled('a') == 2


def test_a_result_that_has_expired_is_not_recalled(
    cache: diskcache.Cache, calls: list, clock: Clock
) -> None:
    @cache.memoize(expire=10)
    def function(number: int) -> int:
        calls.append(number)
        return len(calls)

    assert knows(cache, function, 1)
    clock.tick(11)
    assert function(1) == 2


def test_inside_a_transaction_nothing_is_recalled(
    cache: diskcache.Cache, recalled: Callable
) -> None:
    assert knows(cache, recalled, 'a')
    with cache.transact():
        cache[recalled.__cache_key__('a')] = 'own'
        assert recalled('a') == 'own'
        assert cache._recall(recalled, ('a',), {}) is diskcache.ENOVAL


def test_a_key_maker_of_the_programs_own_is_called(
    cache: diskcache.Cache, recalled: Callable
) -> None:
    assert knows(cache, recalled, 'a')
    cache['own'] = 'result'
    recalled.__cache_key__ = lambda *args: 'own'
    assert recalled('a') == 'result'


@pytest.mark.parametrize('patched', ['class', 'object'])
def test_a_get_of_the_programs_own_is_given_the_key(
    directory: str, monkeypatch: pytest.MonkeyPatch, patched: str
) -> None:
    class Own(diskcache.Cache):
        pass

    def get(key: Any, *args: Any, **kwargs: Any) -> Any:
        seen.append(key)
        return diskcache.Cache.get(cache, key, *args, **kwargs)

    seen: list = []
    with Own(directory) as cache:
        square = cache.memoize('square')(lambda number: number * number)
        assert knows(cache, square, 3)
        if patched == 'class':
            monkeypatch.setattr(Own, 'get', lambda self, *args, **kwargs: get(*args, **kwargs))
        else:
            monkeypatch.setattr(cache, 'get', get)
        assert square(3) == 9
        assert seen == [('square', 3, None)]


def test_a_disk_with_keys_of_its_own_is_asked(directory: str) -> None:
    class Own(diskcache.Disk):
        def put(self, key: Any) -> tuple:
            return super().put(f'{prefixes[-1]} {key}')

    prefixes = ['a']

    with diskcache.Cache(directory, disk=Own) as cache:
        count = cache.memoize('count')(lambda: len(cache))
        assert count() == count() == 0
        prefixes.append('b')
        assert count() == count() == 1
        prefixes.append('a')
        assert count() == 0


def test_another_protocol_makes_other_keys(cache: diskcache.Cache, recalled: Callable) -> None:
    assert recalled('a') == recalled('a') == 1
    cache.reset('disk_pickle_protocol', 4)
    assert recalled('a') == recalled('a') == 2
    cache.reset('disk_pickle_protocol', 2)
    assert recalled('a') == recalled('a') == 3
    cache.reset('disk_pickle_protocol', pickle.HIGHEST_PROTOCOL)
    assert recalled('a') == 1


def test_calls_are_counted_however_they_are_answered(directory: str) -> None:
    settings: dict = {'statistics': 1, 'eviction_policy': 'least-frequently-used'}
    with diskcache.Cache(directory, **settings) as cache:
        function = cache.memoize('function')(lambda number: number)
        before = cache.memory_stats()['hits']
        for _ in range(10):
            function(5)
        assert cache.memory_stats()['hits'] == before + 8  # a set does not tell of the rowid
        assert cache.stats() == (9, 1)
        assert cache._sql('SELECT access_count FROM Cache').fetchall() == [(9,)]


def test_a_table_has_a_limit(cache: diskcache.Cache) -> None:
    """What it keeps alive is forgotten when it is full; what is too large is not remembered."""
    size = cache.memoize('size')(len)
    first, large = 'first'.ljust(50), 'large'.ljust(100_000)
    before = sys.getrefcount(first), sys.getrefcount(large)
    assert knows(cache, size, first)
    assert size(large) == size(large) == 100_000
    assert sys.getrefcount(first) > before[0]
    with cache.transact():
        for number in range(2000):
            size(f'{number}'.ljust(50))
    for number in range(2000):
        size(f'{number}'.ljust(50))
    assert (sys.getrefcount(first), sys.getrefcount(large)) == before


def test_threads_share_a_table(cache: diskcache.Cache) -> None:
    double = cache.memoize('double')(lambda number, text: (2 * number, text))

    def work(seed: int) -> None:
        choose = random.Random(seed)
        for _ in range(3000):
            number, text = choose.choice((choose.randrange(900), 0.5, True)), str(seed % 3)
            assert double(number, text) == (2 * number, text)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(work, range(4)))


def test_a_function_that_is_part_of_a_cycle_is_collected(cache: diskcache.Cache) -> None:
    class Owner:
        pass

    def make() -> weakref.ref:
        owner: Any = Owner()
        owner.function = cache.memoize('f')(lambda text: len(text) + bool(owner))
        assert owner.function('a') == owner.function('a') == 2
        return weakref.ref(owner)

    reference = make()
    gc.collect()
    assert reference() is None
