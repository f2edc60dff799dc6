"""Tasks and greenlets that take turns in one thread do not join each other's transactions."""

from __future__ import annotations

import subprocess
import sys
import textwrap

import pytest
import trio
from places import ROOT

from diskcache import Cache, Timeout


def run_with_greenlets(script: str, directory: str) -> None:
    """Run `script` in an interpreter of its own, where gevent has patched the standard library."""
    prologue = """
        import gevent.monkey
        gevent.monkey.patch_all()
        import sys
        import gevent
        import diskcache

        cache = diskcache.Cache(sys.argv[1])
    """
    source = textwrap.dedent(prologue) + textwrap.dedent(script)
    subprocess.run(
        [sys.executable, '-c', source, directory],
        cwd=ROOT,
        check=True,
        timeout=60,
    )


def test_a_greenlet_waits_for_the_transaction_of_another(directory: str) -> None:
    run_with_greenlets(
        """
        seen = []

        def fail():
            try:
                with cache.transact():
                    cache['ours'] = 1
                    gevent.sleep(0.05)
                    raise KeyError
            except KeyError:
                seen.append('rolled back')

        def write():
            gevent.sleep(0.01)
            assert 'ours' not in cache
            cache['theirs'] = 2
            seen.append('written')

        gevent.joinall([gevent.spawn(fail), gevent.spawn(write)], raise_error=True)
        assert seen == ['rolled back', 'written']
        assert 'ours' not in cache and cache['theirs'] == 2
        """,
        directory,
    )


def test_greenlets_lose_no_updates(directory: str) -> None:
    run_with_greenlets(
        """
        cache['count'] = 0

        def count():
            with cache.transact(retry=True):
                before = cache['count']
                gevent.sleep(0.001)
                cache['count'] = before + 1

        gevent.joinall([gevent.spawn(count) for _ in range(20)], raise_error=True)
        assert cache['count'] == 20
        """,
        directory,
    )


def test_a_greenlet_waits_no_longer_than_the_timeout(directory: str) -> None:
    run_with_greenlets(
        """
        impatient = diskcache.Cache(cache.directory, timeout=0.01)
        import gevent.event

        inside = gevent.event.Event()
        done = gevent.event.Event()

        def keep():
            with impatient.transact():
                inside.set()
                done.wait()

        keeper = gevent.spawn(keep)
        inside.wait()
        try:
            impatient.set('key', 1)
        except diskcache.Timeout:
            done.set()
        keeper.join()
        assert done.is_set() and 'key' not in impatient
        """,
        directory,
    )


def test_a_transaction_of_the_main_greenlet_is_its_own(directory: str) -> None:
    run_with_greenlets(
        """
        with cache.transact():
            cache['ours'] = 1
            with cache.transact():
                cache['inner'] = 2
            other = gevent.spawn(cache.get, 'ours', 'nothing')
            other.join()
            assert other.value == 'nothing'
        assert cache['ours'] == 1
        """,
        directory,
    )


def test_a_task_of_trio_does_not_join_the_transaction_of_another(cache: Cache) -> None:
    async def fail(opened: trio.Event, tried: trio.Event) -> None:
        with pytest.raises(KeyError), cache.transact():
            cache['ours'] = 1
            opened.set()
            await tried.wait()
            raise KeyError

    async def write(opened: trio.Event, tried: trio.Event) -> None:
        await opened.wait()
        assert 'ours' not in cache
        with pytest.raises(RuntimeError, match='another task'):
            cache['theirs'] = 2
        tried.set()

    async def run() -> None:
        opened, tried = trio.Event(), trio.Event()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(fail, opened, tried)
            nursery.start_soon(write, opened, tried)

    trio.run(run)
    assert 'ours' not in cache
    cache['theirs'] = 2


def test_the_tasks_that_a_task_of_trio_starts_do_not_inherit_its_transaction(cache: Cache) -> None:
    cache['key'] = 'old'

    async def run() -> str:
        async def read(seen: list[str]) -> None:
            seen.append(cache['key'])

        seen: list[str] = []
        with cache.transact():
            cache['key'] = 'new'
            async with trio.open_nursery() as nursery:
                nursery.start_soon(read, seen)
        return seen[0]

    assert trio.run(run) == 'old'
    assert cache['key'] == 'new'


def test_in_trio_a_thread_of_a_task_waits_as_any_other(directory: str) -> None:
    async def run() -> None:
        with Cache(directory, timeout=0.01) as cache, cache.transact():
            with pytest.raises(Timeout):
                await trio.to_thread.run_sync(cache.set, 'key', 1)
            cache['key'] = 2
            assert cache['key'] == 2

    trio.run(run)
