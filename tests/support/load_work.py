"""What the processes of test_load.py do; a WSGI application, tasks of celery, and a plain function.

The caches are opened when this is imported: in the parent, before it forks, where a server loads
the application first. They have been used there, and are in use by a thread while it forks.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterable
from typing import Any

import diskcache

DIRECTORY = os.environ['LOAD_DIRECTORY']
PARENT = os.getpid()

cache = diskcache.Cache(f'{DIRECTORY}/cache', eviction_policy='least-recently-used')
fanout = diskcache.FanoutCache(f'{DIRECTORY}/fanout', shards=2, timeout=60)
items = diskcache.Deque(directory=f'{DIRECTORY}/deque')

KEYS = 40


def value_of(number: int) -> bytes:
    """Return a value all of whose bytes are the same; one in three is in a file."""
    return bytes([number % 256]) * (50_000 if number % 3 == 0 else 100)


def check_whole(value: bytes | None) -> None:
    """Fail if a value is a mixture, or a part, of others."""
    assert value is None or (len(set(value)) == 1 and len(value) in (100, 50_000)), value[:100]


def work(number: int) -> int:
    """Do a little of everything; return the process that has done it."""
    cache.incr('count', retry=True)
    fanout.incr('count', retry=True)
    for store in (cache, fanout):
        key = number % KEYS
        check_whole(store.get(key, retry=True))
        assert store.set(key, value_of(number), retry=True)
        check_whole(store.get((number + 7) % KEYS, retry=True))
        if number % 11 == 0:
            check_whole(store.pop((number + 3) % KEYS, retry=True))
        own = os.getpid(), threading.get_ident()
        assert store.set(own, number, retry=True)
        assert store.get(own, retry=True) == number
    with cache.transact(retry=True):
        first, second = cache.get('first'), cache.get('second')
        assert first == second, (first, second)
        cache['first'] = cache['second'] = number
    items.append(number)
    return os.getpid()


def use_while_forking() -> None:
    """Use the caches as a program does while it starts, and in a thread that goes on."""
    for number in range(KEYS):
        cache.get(number)
        fanout.get(number)

    def read() -> None:
        number = 0
        while True:
            number += 1
            check_whole(cache.get(number % KEYS, retry=True))
            check_whole(fanout.get(number % KEYS, retry=True))
            if number % 20 == 0:
                time.sleep(0.001)  # With gevent this is a greenlet.

    threading.Thread(target=read, daemon=True).start()


if os.environ.get('LOAD_THREAD'):
    use_while_forking()


def application(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    """Answer a request, /NUMBER, with the number of the process and of the one that loaded this."""
    pid = work(int(environ['PATH_INFO'].strip('/')))
    start_response('200 OK', [('Content-Type', 'text/plain')])
    return [f'{pid} {PARENT}'.encode()]


def make_celery() -> Any:
    """Return an application of celery whose messages are files.

    The worker may look at a file that is not written yet, and end (kombu 5). So messages are
    written to a directory of their own, and :func:`deliver` moves what is whole.
    """
    import celery

    app = celery.Celery('load_work', broker='filesystem://')
    for name in ('written', 'messages', 'control'):
        os.makedirs(f'{DIRECTORY}/{name}', exist_ok=True)
    app.conf.broker_transport_options = {
        'data_folder_in': f'{DIRECTORY}/messages',
        'data_folder_out': f'{DIRECTORY}/written',
        'control_folder': f'{DIRECTORY}/control',
        'polling_interval': 0.01,
    }
    app.conf.worker_prefetch_multiplier = 16
    app.task(name='work')(record)
    return app


def deliver() -> None:
    """Give the worker the messages that have been sent."""
    for name in os.listdir(f'{DIRECTORY}/written'):
        os.rename(f'{DIRECTORY}/written/{name}', f'{DIRECTORY}/messages/{name}')


def record(number: int) -> None:
    """Work, and note in a file of its own process that it has been done."""
    pid = work(number)
    with open(f'{DIRECTORY}/done-{pid}', 'a') as file:
        file.write(f'{number}\n')
