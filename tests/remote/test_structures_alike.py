"""The tests of Deque and Index, run over RemoteDeque and RemoteIndex, on each kind of server.

Those that are left out are in DIFFERENT, with the reason. What of it a user may notice is said in
docs/howto/remote.rst.
"""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable, Iterator
from types import ModuleType

import pytest
from hypothesis.stateful import run_state_machine_as_test
from interpreter import Interpreter
from places import ROOT
from servers import Server

import diskcache

pytest.importorskip('redis', reason='redis-py is not installed: pip install redis')

import stand_ins

#: A step is a round trip here, and there are thousands: on a busy machine they take a while.
pytestmark = pytest.mark.timeout(240)

#: Tests that are left out.
DIFFERENT = {
    'of directories, files, statements and the original': [
        *('deque fromcache_uses_the_cache_given', 'deque items_are_never_evicted'),
        *('deque the_repr_names_the_directory', 'deque turning_reads_and_writes_no_value'),
        *('deque an_iterable_that_takes_long_locks_nobody_out',),
        'deque the_original_reads_a_turned_deque_and_goes_on',
        'deque a_deque_pickled_by_one_is_loaded_by_the_other',
        *('index fromcache_uses_the_cache_given', 'index items_are_never_evicted'),
        *('index the_repr_names_the_directory', 'index moving_reads_and_writes_no_value'),
        *('index an_update_is_one_transaction',),
        'index setdefault_mends_an_item_of_which_the_file_is_gone',
        'index the_original_reads_keys_in_the_order_they_were_moved_to',
        'index an_index_pickled_by_one_is_loaded_by_the_other',
    ],
    'a server evicts, and refuses no value for its size': [
        'deque a_value_that_the_cache_does_not_keep_is_an_error',
        'deque a_value_that_the_cache_would_not_keep_is_an_error_and_changes_nothing',
        'index setdefault_of_a_value_that_cannot_be_kept_gives_it',
    ],
    'pickled with a RemoteCache': [
        'deque a_copy_is_the_same_directory',
        'deque a_copy_of_a_deque_of_a_cache_keeps_the_disk',
        'deque a_deque_of_a_cache_is_pickled_and_copied_with_its_timeout',
        'deque a_deque_of_a_cache_is_pickled_with_its_disk_and_policy',
        'index a_pickled_index_is_the_same_directory',
        'index an_index_of_a_cache_is_pickled_with_its_disk_and_policy',
        'index an_index_of_a_cache_is_pickled_with_its_timeout',
    ],
    'there is no transact': [
        'deque a_transaction_that_fails_leaves_the_deque_as_it_was',
        'deque a_change_waits_for_the_transaction_of_another_process',
        'index a_transaction_that_fails_leaves_the_index_as_it_was',
        'index no_count_of_a_transaction_is_lost',
    ],
    'a page shows what is removed when it has been read': [
        'deque items_deleted_meanwhile_are_left_out',
        'deque an_iteration_ends_when_the_deque_is_cleared',
        'index items_deleted_meanwhile_are_left_out',
        'index iterating_ends_when_the_index_is_cleared',
    ],
    'new ones are local': [
        'deque a_sum_is_a_new_deque',
        'index a_union_is_a_new_index',
        'index a_copy_is_independent',
        'index a_copy_is_made_while_items_are_deleted',
        'index fromkeys_gives_all_keys_one_value',
    ],
    "methods of a subclass are not called by the others'": [
        'deque overridden_methods_for_one_item_are_called_for_many',
        'deque overridden_methods_take_what_is_over_maxlen',
        'index an_overridden_setitem_is_called_for_each_item',
        'index an_overridden_setitem_of_the_cache_is_called',
    ],
    'takes as long as so many round trips': [
        'deque no_other_process_sees_a_deque_longer_than_its_limit',
        'deque rotations_of_several_processes_add_up',
    ],
}


def load(kind: str) -> ModuleType:
    """Return the module of the tests of a kind, in which Deque and Index are the remote ones."""
    path = ROOT / 'tests' / 'layers' / f'test_{kind}.py'
    spec = importlib.util.spec_from_file_location(f'remote_test_{kind}', path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # where pickle looks for its classes
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(diskcache, 'Deque', stand_ins.Deque)
        patch.setattr(diskcache, 'Index', stand_ins.Index)
        spec.loader.exec_module(module)
    return module


def adopt(kind: str) -> None:
    """Make the tests and fixtures of a kind tests and fixtures of this module."""
    module = load(kind)
    for name, value in vars(module).items():
        if name.startswith('test_') and f'{kind} {name[5:]}' not in left_out:
            globals()[f'test_{kind}_{name[5:]}'] = value
    del getattr(module, f'{kind.title()}Machine').roll_back  # which needs transact


left_out = {name for names in DIFFERENT.values() for name in names}
adopt('deque')
adopt('index')

from remote_test_deque import _temporary_directories, numbers  # noqa: E402, F401
from remote_test_index import letters  # noqa: E402, F401


def test_what_is_left_out_is_there() -> None:
    modules = {kind: sys.modules[f'remote_test_{kind}'] for kind in ('deque', 'index')}
    for name in left_out:
        kind, _, test = name.partition(' ')
        assert hasattr(modules[kind], f'test_{test}'), name


@pytest.mark.parametrize('kind', ['deque', 'index'])
def test_it_is_like_a_model(kind: str) -> None:
    module = sys.modules[f'remote_test_{kind}']
    machine = getattr(module, f'{kind.title()}Machine')
    run_state_machine_as_test(machine, settings=module.TestModel.settings)


@pytest.fixture(params=['redis', pytest.param('valkey', marks=pytest.mark.slow)])
def server(request: pytest.FixtureRequest, lasting_server: Callable[[str], Server]) -> Server:
    """Each kind of server."""
    return lasting_server(request.param)


@pytest.fixture(autouse=True)
def _placed(server: Server, name: str) -> None:
    """Have Deque and Index be on each kind of server."""
    stand_ins.place(server.url, name)


@pytest.fixture
def start_interpreter(
    server: Server, name: str, start_interpreter: Callable[[], Interpreter]
) -> Callable[[], Interpreter]:
    """A function that starts a process in which they are remote, too."""

    def start() -> Interpreter:
        interpreter = start_interpreter()
        script = 'import stand_ins\nstand_ins.install(url, name)'
        interpreter.run(script, url=server.url, name=name)
        return interpreter

    return start


@pytest.fixture
def alone(start_interpreter: Callable[[], Interpreter]) -> Iterator[Interpreter]:
    """Such a process."""
    with start_interpreter() as interpreter:
        yield interpreter


@pytest.fixture
def other(alone: Interpreter) -> Interpreter:
    """The same."""
    return alone


@pytest.fixture
def assert_intact() -> Callable[[object], None]:
    """Nothing: there are no files and no database."""
    return lambda cache: None
