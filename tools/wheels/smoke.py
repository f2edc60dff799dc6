"""See that an installed wheel works: `python smoke.py` where diskcache can be imported.

It is quick enough for an emulator, and needs nothing but the standard library. It uses what can
differ from one platform to the next: the SQLite of the Python, files, locks, threads, forks,
processes, times, mapped memory, numbers of all sizes. One line, and exit status 0, if all is well.
"""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Callable

import diskcache

VALUES = [
    *(0, -1, 2**31, 2**63 - 1, -(2**63), 2**64, 1.5, -0.0, float('inf'), True, None),
    *('', 'text', 'Ähre \N{SNOWMAN} \N{PILE OF POO}', b'', bytes(range(256)), 'long' * 30_000),
    *(b'\0' * 100_000, (1, 'a', b'b'), {'a': [1, 2, {3}]}, frozenset({1, 2})),
]


def values(cache: diskcache.Cache) -> None:
    """What is stored comes back as it was, from the disk and from memory."""
    for number, value in enumerate(VALUES):
        cache[number] = value
    with diskcache.Cache(cache.directory) as other:
        for number, value in enumerate(VALUES):
            for reader in (cache, other, other):
                found = reader[number]
                assert (type(found), repr(found)) == (type(value), repr(value)), (number, found)


def keys(cache: diskcache.Cache) -> None:
    """Keys of all types are found again, and come in the order in which they were stored."""
    names = [1, 2.5, 'name', b'name', ('a', 1), None, True, 2**70]
    for name in names:
        cache.set(('wrapped', name), name)
        assert cache[('wrapped', name)] == name
    assert [key[1] for key in cache] == names


def numbers_and_times(cache: diskcache.Cache) -> None:
    assert cache.incr('count', 2**40) == 2**40
    assert cache.decr('count', 1) == 2**40 - 1
    cache.set('long', 2, expire=3600, tag='tag')
    cache.set('short', 1, expire=0.05, tag='tag')  # last: a write removes what has expired
    time.sleep(0.1)
    value, moment, tag = cache.get('long', expire_time=True, tag=True)
    assert (value, tag) == (2, 'tag'), (value, tag)
    assert moment is not None
    assert 3000 < moment - time.time() <= 3600, moment
    assert 'short' not in cache
    assert cache.expire() == 1
    assert cache.evict('tag') == 1


def memory(cache: diskcache.Cache) -> None:
    """What is read again comes from memory, until another connection has written it."""
    cache['key'] = 'old'
    for _ in range(100):
        assert cache['key'] == 'old'
    with diskcache.Cache(cache.directory) as other:
        other['key'] = 'new'
    assert cache['key'] == 'new'


def transactions(cache: diskcache.Cache) -> None:
    cache['balance'] = 1
    try:
        with cache.transact():
            cache['balance'] = 2
            raise KeyError
    except KeyError:
        pass
    assert cache['balance'] == 1
    cache.set_many({number: str(number) for number in range(1000)})
    assert cache.get_many([0, 999, 1000]) == {0: '0', 999: '999'}


def eviction(cache: diskcache.Cache) -> None:
    for policy in ('least-recently-used', 'least-frequently-used', 'least-recently-stored'):
        cache.reset('eviction_policy', policy)
        for number in range(50):
            cache[number] = b'x' * 10_000
            cache.get(number // 2)
    cache.reset('size_limit', 200_000)
    cache.cull()
    assert cache.volume() <= 200_000, cache.volume()
    assert 0 < len(cache) < 50


def threads(cache: diskcache.Cache) -> None:
    def count() -> None:
        for _ in range(100):
            cache.incr('threads')

    workers = [threading.Thread(target=count) for _ in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert cache['threads'] == 400, cache['threads']


def forks(cache: diskcache.Cache) -> None:
    if not hasattr(os, 'fork'):
        return
    cache['before'] = 1
    child = os.fork()
    if child == 0:
        os._exit(0 if cache['before'] == 1 and cache.set('after', 2) else 1)
    assert os.waitpid(child, 0)[1] == 0
    assert cache['after'] == 2


def processes(cache: diskcache.Cache) -> None:
    """Other processes of this Python; DISKCACHE_RUNNER is the emulator, if it needs one.

    In the directory of the cache: in a clone they would import its sources.
    """
    script = 'import sys, diskcache; diskcache.Cache(sys.argv[1]).incr("processes")'
    runner = [*os.environ.get('DISKCACHE_RUNNER', '').split(), sys.executable]
    for _ in range(2):
        command = [*runner, '-c', script, cache.directory]
        subprocess.run(command, cwd=cache.directory, check=True)
    assert cache['processes'] == 2


def layers(cache: diskcache.Cache) -> None:
    deque = diskcache.Deque('abc', os.path.join(cache.directory, 'deque'))
    deque.rotate(1)
    deque.appendleft('z')
    assert list(deque) == ['z', 'c', 'a', 'b']
    index = diskcache.Index(os.path.join(cache.directory, 'index'), a=1, b=2)
    assert (index.popitem(), dict(index)) == (('b', 2), {'a': 1})
    with diskcache.FanoutCache(os.path.join(cache.directory, 'fanout'), shards=2) as fanout:
        fanout.update((number, -number) for number in range(20))
        assert sum(fanout[number] for number in fanout) == -190
    with diskcache.Lock(cache, 'lock'):
        assert 'lock' in cache


def files(cache: diskcache.Cache) -> None:
    cache.set('file', b'line\n' * 50_000)
    with cache.read('file') as file:
        assert file.readline() == b'line\n'
    view = cache.read('file', mmap=True)
    assert bytes(view[-5:]) == b'line\n'
    view.release()


TESTS: list[Callable[[diskcache.Cache], None]] = [
    *(values, keys, numbers_and_times, memory, transactions, eviction),
    *(threads, forks, processes, layers, files),
]


def main() -> int:
    failed = 0
    for test in TESTS:
        directory = tempfile.mkdtemp(prefix='diskcache-smoke-')
        try:
            with diskcache.Cache(directory) as cache:
                test(cache)
                assert [str(each.message) for each in cache.check()] == [], 'check'
        except Exception:
            failed += 1
            print(f'{test.__name__} failed:', file=sys.stderr)
            traceback.print_exc()
        finally:
            shutil.rmtree(directory)
    libc = ' '.join(filter(None, platform.libc_ver())) or 'another libc'
    print(
        f'{len(TESTS) - failed} passed, {failed} failed: diskcache {diskcache.__version__},'
        f' CPython {platform.python_version()}, {platform.machine()}, {libc},'
        f' SQLite {diskcache._core.sqlite_version}'
    )
    return 1 if failed else 0


if __name__ == '__main__':
    sys.exit(main())
