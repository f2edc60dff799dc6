"""The interpreter's own tests, run against Deque and Index.

`test.test_deque` is imported a second time with Deque under the name of `collections.deque`, and
the classes of `test.mapping_tests`, made for whatever acts like a dict, are bound to Index. What a
persistent container cannot satisfy, or is documented to do otherwise, is in `LEFT_OUT` with the
reason. The tests in that table run as well and must fail, so that the table stays true.

Not run are the doctests of `test.test_deque`, which show the items as the repr of a deque.
"""

from __future__ import annotations

import collections
import importlib
import importlib.util
import os
import sys
import tempfile
import unittest
from collections.abc import Iterable, Iterator
from types import ModuleType, SimpleNamespace
from typing import Any
from unittest import mock

import pytest

import diskcache

try:
    importlib.import_module('test.test_deque')
    importlib.import_module('test.mapping_tests')
except ImportError:
    pytest.skip(
        'this Python comes without its tests; on Debian: apt-get install libpython3-testsuite',
        allow_module_level=True,
    )


class WithDict(type(diskcache.Deque)):
    """Lets a subclass name `__dict__` among its slots, which collections.deque has not."""

    def __new__(cls, name: str, bases: tuple[type, ...], namespace: dict[str, Any]) -> type:
        slots = namespace.get('__slots__', ())
        if '__dict__' in slots:
            slots = tuple(slot for slot in slots if slot != '__dict__')
            namespace = {**namespace, '__slots__': slots}
        return super().__new__(cls, name, bases, namespace)


class BoundDeque(diskcache.Deque, metaclass=WithDict):
    """A Deque with the parameters of collections.deque and its None for a maxlen there is not."""

    def __init__(
        self, iterable: Iterable[Any] = (), maxlen: float | None = None, *, directory: Any = None
    ) -> None:
        super().__init__(iterable, directory, maxlen)

    @property
    def maxlen(self) -> float | None:
        """The most items that are kept."""
        limit = super().maxlen
        return None if limit == float('inf') else limit

    @maxlen.setter
    def maxlen(self, limit: float | None) -> None:
        diskcache.Deque.maxlen.fset(self, limit)


class BoundIndex(diskcache.Index):
    """An Index of which popitem takes no argument, like that of dict."""

    def popitem(self) -> tuple[Any, Any]:
        """Remove and return the last item."""
        return super().popitem()


def import_copy(name: str, **names: Any) -> ModuleType:
    """Import the module `test.NAME` once more, with other values for some of its `names`."""
    path = importlib.import_module(f'test.{name}').__file__
    spec = importlib.util.spec_from_file_location(f'copy_of_{name}', path)
    module = sys.modules[spec.name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    vars(module).update(names)
    return module


with mock.patch.object(collections, 'deque', BoundDeque):
    deque_tests = import_copy('test_deque', BIG=1100)  # Instead of 100,000 items.

#: How deep mappings are put into each other, which each version of Python finds out in its own way.
DEPTH = 10
mapping_tests = import_copy(
    'mapping_tests',
    sys=SimpleNamespace(getrecursionlimit=lambda: DEPTH),
    C_RECURSION_LIMIT=DEPTH,
    get_c_recursion_limit=lambda: DEPTH,
)


class TestIndexAsBasicMapping(mapping_tests.BasicTestMappingProtocol):
    """What any mapping does."""

    type2test = BoundIndex
    __test__ = False


class TestIndexAsMapping(mapping_tests.TestMappingProtocol):
    """What a mapping does that can be copied and made from keys."""

    type2test = BoundIndex
    __test__ = False


class TestIndexAsDict(mapping_tests.TestHashMappingProtocol):
    """What a dict does."""

    type2test = BoundIndex
    __test__ = False


SUITES = {
    'deque': [
        deque_tests.TestBasic,
        deque_tests.TestVariousIteratorArgs,
        deque_tests.TestSubclass,
        deque_tests.TestSubclassWithKwargs,
        deque_tests.TestSequence,
    ],
    'mapping': [TestIndexAsBasicMapping, TestIndexAsMapping, TestIndexAsDict],
}

IDENTITY = 'items are copies: what comes out is equal to what went in, but another object'
MUTATION = 'a deque may change during an iteration, as other processes change it any time'
LOCAL = 'items of a local class cannot be pickled'
BY_PICKLE = 'keys are known by their pickles, without __hash__ and __eq__; local classes have none'
REPR = 'the repr names the directory and not the items, which may be many'
GENERATORS = 'iterators are generators'

#: What is left out, and why. A test that is here and passes fails the suite.
LEFT_OUT = {
    'TestBasic.test_comparisons': 'a Deque is equal to every sequence with its items, also a list',
    'TestBasic.test_container_iterator': LOCAL,
    'TestBasic.test_contains': MUTATION,
    'TestBasic.test_contains_count_stop_crashes': MUTATION,
    'TestBasic.test_contains_count_index_stop_crashes': MUTATION,
    'TestBasic.test_copy': IDENTITY,
    'TestBasic.test_count': LOCAL,
    'TestBasic.test_deepcopy': 'an item is copied when it is stored, and does not change later',
    'TestBasic.test_index': MUTATION,
    'TestBasic.test_iterator_pickle': GENERATORS,
    'TestBasic.test_maxlen': REPR,
    'TestBasic.test_maxlen_attribute': 'maxlen can be set',
    'TestBasic.test_pickle_recursive': IDENTITY,
    'TestBasic.test_remove': IDENTITY,
    'TestBasic.test_repr': REPR,
    'TestBasic.test_reversed_new': GENERATORS,
    'TestBasic.test_sizeof': 'about the memory of the C structure',
    'TestVariousIteratorArgs.test_iter_with_altered_data': MUTATION,
    'TestVariousIteratorArgs.test_runtime_error_on_empty_deque': MUTATION,
    'TestSubclass.test_bug_31608': 'about C code that trusts __new__',
    'TestSubclass.test_pickle_recursive': IDENTITY,
    'TestSequence.test_contains_order': LOCAL,
    'TestIndexAsMapping.test_setdefault': IDENTITY,
    'TestIndexAsDict.test_eq': BY_PICKLE,
    'TestIndexAsDict.test_getitem': BY_PICKLE,
    'TestIndexAsDict.test_pop': BY_PICKLE,
    'TestIndexAsDict.test_repr': REPR,
    'TestIndexAsDict.test_repr_deep': REPR,
    'TestIndexAsDict.test_setdefault': IDENTITY,
}
if sys.version_info >= (3, 11):
    LEFT_OUT['TestSubclass.test_copy_pickle'] = 'attributes of the object are not in its pickle'


# A hundred collections of all garbage, a thousand deques of hundreds of items.
SLOW = {'TestBasic.test_gc_doesnt_blowup', 'TestBasic.test_reverse'}


def every_test(suite: str) -> list[Any]:
    """Return the tests of a suite as pytest's parameters, and those inherited twice once."""
    seen = set()
    parameters = []
    for case in SUITES[suite]:
        for name in unittest.defaultTestLoader.getTestCaseNames(case):
            function = getattr(case, name)
            if function in seen:
                continue
            seen.add(function)
            title = f'{case.__name__}.{name}'
            reason = LEFT_OUT.get(title)
            marks = [pytest.mark.xfail(reason=reason, strict=True)] if reason else []
            marks += [pytest.mark.slow] if title in SLOW else []
            parameters.append(pytest.param(case(name), id=title, marks=marks))
    return parameters


@pytest.fixture(autouse=True)
def _directories_removed(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Let all temporary directories of a test be made in one that does not outlive it.

    In memory where that is possible, as the tests open thousands.
    """
    memory = '/dev/shm' if os.access('/dev/shm', os.W_OK) else None
    with tempfile.TemporaryDirectory(prefix='diskcache-suites-', dir=memory) as directory:
        monkeypatch.setattr(tempfile, 'tempdir', directory)
        yield


@pytest.mark.parametrize('case', every_test('deque'))
def test_deque_passes_the_tests_of_collections_deque(case: unittest.TestCase) -> None:
    case.debug()


@pytest.mark.parametrize('case', every_test('mapping'))
def test_index_passes_the_tests_of_mappings(case: unittest.TestCase) -> None:
    case.debug()
