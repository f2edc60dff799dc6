"""Which methods call which, of those that a subclass may override.

A method in C does its work itself, and calls another method only where that is overridden and it
knows to ask for it (`CACHE_HOOKS`, `DISK_HOOKS`). One that nobody has thought of would be passed by
in silence. So what calls what is taken from the original, as it runs.
"""

from __future__ import annotations

from typing import Any

import pytest
from interpreter import Interpreter

from diskcache import Cache

#: Each method of the original's Cache that programs call, and arguments for it.
ARGUMENTS: dict[str, tuple[Any, ...]] = {
    '__contains__': ('key',),
    '__delitem__': ('key',),
    '__enter__': (),
    '__getitem__': ('key',),
    '__iter__': (),
    '__len__': (),
    '__reversed__': (),
    '__setitem__': ('key', 2),
    'add': ('new', 1),
    'check': (),
    'clear': (),
    'create_tag_index': (),
    'cull': (),
    'decr': ('number',),
    'delete': ('key',),
    'drop_tag_index': (),
    'evict': ('tag',),
    'expire': (),
    'get': ('key',),
    'incr': ('number',),
    'iterkeys': (),
    'memoize': (),
    'peek': (),
    'peekitem': (),
    'pop': ('key',),
    'pull': (),
    'push': (1,),
    'read': ('key',),
    'reset': ('cull_limit',),
    'set': ('key', b'x' * 50_000),
    'stats': (),
    'touch': ('key',),
    'transact': (),
    'volume': (),
}

#: Steps that are no methods of their own here, and by whom they are not called:
#: `docs/compatibility.rst` tells.
OTHER_STEPS = {
    '_transact': set(ARGUMENTS) - {'transact'},
    '_select_delete': {'clear', 'cull', 'evict', 'expire'},
    '_iter': {'__iter__', '__reversed__'},
    'expire': {'cull'},
    'reset': {'__len__', '__setitem__', 'add', 'cull', 'push', 'set', 'volume'},
    'volume': {'__setitem__', 'add', 'cull', 'push', 'set'},
}


def calls(arguments: dict, kind: str, pairs: list | None) -> list:
    """Find which methods of a Cache or its Disk (`kind`) each method of a Cache calls.

    All are overridden at once without `pairs`; with them one at a time, and those are returned
    that are called.
    """
    import inspect
    import tempfile

    import diskcache

    base = getattr(diskcache, kind)

    def run(caller: str, names: list[str]) -> list[str]:
        called = []

        def override(name: str) -> object:
            method = getattr(base, name)

            def call(self: object, *args: object, **kwargs: object) -> object:
                called.append(name)
                return method(self, *args, **kwargs)

            return call

        recording = type(kind, (base,), {name: override(name) for name in names if name != caller})
        classes = {'Cache': diskcache.Cache, 'Disk': diskcache.Disk, kind: recording}
        with tempfile.TemporaryDirectory() as directory:
            cache = classes['Cache'](directory, disk=classes['Disk'])
            cache.set('key', b'x' * 50_000, tag='tag')
            cache.set('number', 1)
            cache.push(('pickle', 1))
            cache.set('old', 1, expire=-1)
            called.clear()
            result = getattr(cache, caller)(*arguments[caller])
            if hasattr(result, '__next__'):
                list(result)
            elif caller == 'transact':
                with result:
                    pass
            found = sorted(set(called))
            cache.close()
        return found

    if pairs is not None:
        return [[caller, name] for caller, name in pairs if run(caller, [name])]
    names = [
        name
        for name, method in vars(base).items()
        if inspect.isfunction(method) and name not in ('__init__', '__exit__', 'close')
    ]
    return [[caller, name] for caller in arguments for name in run(caller, names)]


@pytest.mark.parametrize('kind', ['Cache', 'Disk'])
def test_an_overridden_method_is_called_by_those_that_call_it_in_the_original(
    original: Interpreter, other: Interpreter, kind: str
) -> None:
    pairs = original.run(calls, arguments=ARGUMENTS, kind=kind, pairs=None)
    assert len(pairs) > 20
    called = other.run(calls, arguments=ARGUMENTS, kind=kind, pairs=pairs)
    passed_by = [
        (caller, name)
        for caller, name in pairs
        if [caller, name] not in called and caller not in OTHER_STEPS.get(name, set())
    ]
    assert passed_by == []


def test_the_methods_that_are_tried_are_all_of_the_original(original: Interpreter) -> None:
    def public(names: object = None) -> list[str]:
        import inspect

        import diskcache

        found = inspect.getmembers(diskcache.Cache, inspect.isfunction)
        return [name for name, _ in found if name[0] != '_']

    assert set(original.run(public)) - {'close'} <= ARGUMENTS.keys()


@pytest.mark.parametrize(
    'many', [name for name in dir(Cache) if name.endswith('_many') and name[0] != '_']
)
def test_a_method_for_many_calls_an_overridden_one_for_each(directory: str, many: str) -> None:
    """Also one that is new here: `x_many` does for many what `x` does for one."""
    one = many.removesuffix('_many')
    called = []

    def call(self: Cache, *args: object, **kwargs: object) -> object:
        called.append(one)
        return getattr(Cache, one)(self, *args, **kwargs)

    with type('Calling', (Cache,), {one: call})(directory) as cache:
        items = {'a': 1, 'b': 2}
        getattr(cache, many)(items if one in ('set', 'add') else list(items))
    assert called == [one] * 2
