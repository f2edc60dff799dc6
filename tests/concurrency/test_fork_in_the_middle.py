"""Forks at bad moments: in a hook, in a trace callback, while threads open and close caches.

None of it may crash or hang the interpreter, mix up transactions, or lose what was stored. A
test that could do so if it failed runs its scenario in a process of its own (`alone`), so that
a crash is the failure of that test and a hang ends with the patience of the interpreter.
"""

from __future__ import annotations

import os
import signal
import threading

import pytest
from interpreter import Child, Interpreter

import diskcache

needs_fork = pytest.mark.skipif(not hasattr(os, 'fork'), reason='this platform cannot fork')


@needs_fork
def test_a_fork_while_another_thread_is_in_a_trace_callback_does_not_deadlock(
    alone: Interpreter, directory: str
) -> None:
    def scenario(directory: str) -> None:
        cache = diskcache.Cache(directory)
        cache['key'] = 1
        inside, leave = threading.Event(), threading.Event()

        def trace(_statement: str) -> None:
            inside.set()
            leave.wait(30)

        def read() -> None:
            cache._con.set_trace_callback(trace)
            cache.get('key')

        thread = threading.Thread(target=read, daemon=True)
        thread.start()
        assert inside.wait(30)
        child = Child(lambda: diskcache.Cache(directory).get('key'))
        assert child.result() == 1
        leave.set()
        thread.join(30)
        assert not thread.is_alive()
        assert cache.set('key', 2)

    alone.run(scenario, directory=directory)


@needs_fork
@pytest.mark.parametrize(
    'size',
    [
        pytest.param(10, id='in the row'),
        pytest.param(100_000, id='in a file'),
    ],
)
def test_a_fork_in_a_hook_leaves_the_write_to_the_parent(
    alone: Interpreter, directory: str, size: int
) -> None:
    def scenario(directory: str, size: int) -> None:
        class Forking(diskcache.Cache):
            pid = None

            def _row_insert(self, *args: object) -> None:
                super()._row_insert(*args)
                self.pid = os.fork()
                if self.pid == 0:
                    signal.alarm(30)  # A child that hangs ends.
                else:
                    self.status = os.waitpid(self.pid, 0)[1]

        cache = Forking(directory, timeout=0.5)
        try:
            cache['key'] = bytes(size)
        except RuntimeError:
            code = 42
        except BaseException:
            code = 1
        else:
            code = 0
        if cache.pid == 0:
            os._exit(code)
        assert os.WEXITSTATUS(cache.status) == 42, cache.status
        assert code == 0
        assert cache['key'] == bytes(size)
        assert cache.check() == []

    alone.run(scenario, directory=directory, size=size)


@needs_fork
def test_a_fork_while_threads_open_and_close_caches_hangs_nobody(
    alone: Interpreter, directory: str
) -> None:
    def scenario(directory: str) -> None:
        cache = diskcache.Cache(directory)
        cache['before'] = bytes(50_000)
        stop = threading.Event()
        errors = []

        def hammer(number: int) -> None:
            turn = 0
            try:
                while not stop.is_set():
                    cache.set((number, turn % 10), turn, retry=True)
                    with diskcache.Cache(f'{directory} of thread {number}') as another:
                        another.set(turn % 10, turn)
                    turn += 1
            except BaseException as error:
                errors.append(repr(error))

        def work(child: int) -> int:
            cache.incr('children', retry=True)
            with diskcache.Cache(f'{directory} of child {child}') as another:
                another['copy'] = cache['before']
                return len(another['copy'])

        threads = [
            threading.Thread(target=hammer, args=(number,), daemon=True) for number in range(3)
        ]
        for thread in threads:
            thread.start()
        sizes = {Child(work, child).result() for child in range(30)}
        stop.set()
        for thread in threads:
            thread.join(10)
        assert not any(thread.is_alive() for thread in threads)
        assert errors == [], errors
        assert sizes == {50_000}
        assert cache['children'] == 30
        assert cache.check() == []

    alone.run(scenario, directory=directory)


@needs_fork
def test_no_write_of_a_child_is_lost_while_threads_of_the_parent_close_the_cache(
    alone: Interpreter, directory: str
) -> None:
    def scenario(directory: str) -> None:
        cache = diskcache.Cache(directory)
        stop = threading.Event()

        def hammer(number: int) -> None:
            while not stop.is_set():
                cache.set(('thread', number), number, retry=True)
                cache.close()

        threads = [
            threading.Thread(target=hammer, args=(number,), daemon=True) for number in range(3)
        ]
        for thread in threads:
            thread.start()
        for _ in range(60):
            Child(lambda: cache.incr('children', retry=True)).result()
        stop.set()
        for thread in threads:
            thread.join(10)
        assert not any(thread.is_alive() for thread in threads)
        assert cache['children'] == 60
        assert cache.check() == []

    alone.run(scenario, directory=directory)


@needs_fork
def test_what_a_child_writes_with_a_cache_of_its_own_outlasts_that_of_the_parent(
    alone: Interpreter, directory: str
) -> None:
    def scenario(directory: str) -> None:
        cache = diskcache.Cache(directory)
        cache['parent'] = 1
        told, tell = os.pipe()
        reported, report = os.pipe()

        def work() -> bool:
            with diskcache.Cache(directory) as own:
                own['child'] = 1
                os.write(report, b'.')
                os.read(told, 1)
                return own.set('child too', 2)

        child = Child(work)
        os.read(reported, 1)
        cache.close()
        cache['parent too'] = 2
        os.write(tell, b'.')
        assert child.result()
        assert set(cache) == {'parent', 'child', 'parent too', 'child too'}, list(cache)

    alone.run(scenario, directory=directory)
