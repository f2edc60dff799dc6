"""Decorated functions go to other processes by value, as joblib, Ray and Dask send a script's.

cloudpickle and dill pickle a function of ``__main__`` with all that it refers to: our wrappers,
what they keep, and the caches, of which only the directory goes along.
"""

from __future__ import annotations

import copy
import io
import os
import pickle
import subprocess
import sys
from pathlib import Path

import pytest
from interpreter import Interpreter

import diskcache
from diskcache.core import Constant

DECORATORS = {
    'memoize': "cache.memoize('plain')",
    'memoize with options': "cache.memoize('name', True, 60, 'tag', {1, 'z'})",
    'memoize by signature': "cache.memoize('signature', signature=True, ignore=['z'])",
    'memoize some': "cache.memoize('some', cache_if=lambda result: result)",
    'memoize of a FanoutCache': "fanout.memoize('fanout', expire=60)",
    'memoize of an Index': "diskcache.Index.fromcache(cache).memoize('index')",
    'memoize_stampede': "diskcache.memoize_stampede(cache, 60, 'stampede')",
    'throttle': "diskcache.throttle(cache, 1000, 1, 'throttle')",
    'barrier by Lock': "diskcache.barrier(cache, diskcache.Lock, 'Lock')",
    'barrier by RLock': "diskcache.barrier(fanout, diskcache.RLock, 'RLock')",
    'barrier by BoundedSemaphore': "diskcache.barrier(cache, diskcache.BoundedSemaphore, 'places')",
}

SCRIPT = """
import pickle, sys, diskcache, {library} as library
directory = sys.argv[1]
cache = diskcache.Cache(directory)
fanout = diskcache.FanoutCache(directory + '-fanout', shards=2)
for decorate in {decorators}:
    @decorate
    def function(x, y=1):
        return x + y + 5
    assert function(2, y=1) == 8
    @decorate
    async def coroutine(x, y=1):
        return x + y + 5
    pickle.dump(library.dumps([function, coroutine]), sys.stdout.buffer)
"""

THERE = """
import asyncio, {library} as library
function, coroutine = library.loads(pickled)
[function(1), function(2, y=1), asyncio.run(coroutine(2, 2))]
"""


def skip_unless_it_pickles_code(name: str) -> None:
    """Skip a test with a library that cannot pickle any function here."""
    library = pytest.importorskip(name)
    try:
        library.dumps(compile('1', '', 'eval'))
    except Exception as error:
        pytest.skip(f'{name} {library.__version__} cannot pickle any code here: {error}')


@pytest.fixture(scope='module', params=['cloudpickle', 'dill'])
def pickled(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> tuple[str, dict[str, bytes]]:
    """The library, and its pickle of each of the decorated functions of a script."""
    skip_unless_it_pickles_code(request.param)
    directory = tmp_path_factory.mktemp(request.param)
    decorators = f'[{", ".join(DECORATORS.values())}]'
    script = directory / 'script.py'
    script.write_text(SCRIPT.format(library=request.param, decorators=decorators))
    command = [sys.executable, str(script), str(directory / 'cache')]
    environment = {**os.environ, 'PYTHONPATH': str(Path(diskcache.__file__).parent.parent)}
    done = subprocess.run(command, stdout=subprocess.PIPE, check=True, env=environment)
    stream = io.BytesIO(done.stdout)
    return request.param, {name: pickle.load(stream) for name in DECORATORS}


@pytest.mark.parametrize('name', DECORATORS)
def test_a_decorated_function_works_in_another_process(
    other: Interpreter, pickled: tuple[str, dict[str, bytes]], name: str
) -> None:
    library, pickles = pickled
    answers = other.run(THERE.format(library=library), pickled=pickles[name])
    assert answers == [7, 8, 9]


USES_MODULE = """
import sys, diskcache, dill
from diskcache import recipes
cache = diskcache.Cache(sys.argv[1])
def function(x):
    with diskcache.Lock(cache, 'lock', expire=60):
        return cache.get(x, default=diskcache.ENOVAL) is diskcache.ENOVAL
recursively = dill.dumps(function, recurse=True)
lock, again = diskcache.Lock(cache, 'other'), diskcache.RLock(cache, 'again')
lock.acquire(), again.acquire()
for pickled in (dill.dumps(function), recursively, dill.dumps(recipes)):
    loaded = dill.loads(pickled)
    assert loaded is recipes or loaded(1)
again.release()
assert lock.release()
"""


def test_a_function_that_refers_to_the_package_can_be_pickled_with_dill(tmp_path: Path) -> None:
    """Which pickles a module by value, with all that is in it, if it is not installed.

    Reading it back puts that into the module: what is held by then is to stay so.
    """
    skip_unless_it_pickles_code('dill')
    script = tmp_path / 'script.py'
    script.write_text(USES_MODULE)
    command = [sys.executable, str(script), str(tmp_path / 'cache')]
    environment = {**os.environ, 'PYTHONPATH': str(Path(diskcache.__file__).parent.parent)}
    subprocess.run(command, check=True, env=environment)


@pytest.mark.parametrize('protocol', range(pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize('constant', [diskcache.ENOVAL, diskcache.UNKNOWN])
def test_constants_are_themselves_after_pickling(constant: Constant, protocol: int) -> None:
    """They are compared with `is`."""
    for library in (pickle, pytest.importorskip('cloudpickle'), pytest.importorskip('dill')):
        assert library.loads(library.dumps(constant, protocol=protocol)) is constant
    assert copy.copy(constant) is copy.deepcopy(constant) is constant
    assert repr(constant) in ('ENOVAL', 'UNKNOWN')
    own = Constant('OWN')
    assert pickle.loads(pickle.dumps(own, protocol)) is own
    assert isinstance(own, tuple)


def test_constants_are_the_same_bytes_as_the_originals(
    cache: diskcache.Cache, original: Interpreter
) -> None:
    """They may be a part of a key, as in memoize_stampede's."""
    cache['key', diskcache.ENOVAL] = diskcache.UNKNOWN
    script = "Cache(directory)['key', diskcache.ENOVAL] = [diskcache.UNKNOWN]"
    original.run(script, directory=cache.directory)
    assert len(cache) == 1
    assert cache['key', diskcache.ENOVAL][0] is diskcache.UNKNOWN
    ((_, key),) = cache
    assert key is diskcache.ENOVAL
