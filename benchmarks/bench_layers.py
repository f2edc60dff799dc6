"""What do FanoutCache, Index, Deque and memoizing cost, compared with the original's?

One thread, a thousand small items, caches that were used before. For memoizing, three functions of
the standard library: what a call costs that is answered from the cache, and beside it what the call
itself costs, which is when memoizing pays. DjangoCache has a script of its own.
"""

from __future__ import annotations

import ast
import difflib
import itertools
import json
import textwrap
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from measuring import Stopwatch, Suite, main

ITEMS = 1000
KEYS = [f'key-{number}' for number in range(ITEMS)]
VALUE = 'a small value'
RECORDS = {
    f'user-{number}': {'id': number, 'tags': ['a', 'b'], 'score': 0.5} for number in range(50)
}
DOCUMENT = json.dumps(RECORDS)
SOURCE = Path(textwrap.__file__).read_text(encoding='utf-8')
PROSE = ' '.join(['The quick brown fox jumps over the lazy dog.'] * 40)


class Layers:
    """The containers that the rows work on."""

    def __init__(self, directory: Path, contender: str) -> None:
        # Here and not above: in the driver's process there may be no diskcache.
        from diskcache import Cache, Deque, FanoutCache, Index

        self.fanout: Any = FanoutCache(  # Any: mypy takes its memoize for one of Cache only
            str(directory / 'fanout')
        )
        self.index = Index(str(directory / 'index'))
        self.scratch = Index(str(directory / 'scratch'))
        self.deque = Deque([VALUE] * ITEMS, str(directory / 'deque'))
        self.queue = Deque(directory=str(directory / 'queue'))
        self.cache = Cache(str(directory / 'cache'))
        self.open = FanoutCache
        self.closed_directory = str(directory / 'closed')
        with FanoutCache(self.closed_directory) as closed:
            for key in KEYS:
                closed[key] = VALUE
        for key in KEYS:
            self.fanout[key] = VALUE
            self.index[key] = VALUE

    def close(self) -> None:
        self.fanout.close()
        for layer in (self.index, self.scratch, self.deque, self.queue):
            layer.cache.close()
        self.cache.close()


suite: Suite[Layers] = Suite('layers', 'What is built on a Cache', __doc__, Layers)


def _time_each(
    operation: Callable[..., object],
    count: int,
    watch: Stopwatch,
    *arguments: Any,
    keys: Sequence[str] = KEYS,
) -> None:
    several = list(itertools.islice(itertools.cycle(keys), count))
    with watch:
        for key in several:
            operation(key, *arguments)


def _warm(lookup: Callable[[str], object]) -> None:
    """Look all keys up once: rows of lookups measure values that were read before."""
    for key in KEYS:
        lookup(key)


def _time_alike(
    operation: Callable[..., object], count: int, watch: Stopwatch, *arguments: Any
) -> None:
    with watch:
        for _ in itertools.repeat(None, count):
            operation(*arguments)


# --- FanoutCache -------------------------------------------------------------------------------


@suite.row('FanoutCache, get', count=2000, goal=40, limit='dict_get')
def fanout_get(layers: Layers, count: int, watch: Stopwatch) -> None:
    _warm(layers.fanout.get)
    _time_each(layers.fanout.get, count, watch)


@suite.row('FanoutCache, []', count=2000)
def fanout_getitem(layers: Layers, count: int, watch: Stopwatch) -> None:
    fanout = layers.fanout
    _warm(fanout.get)
    keys = list(itertools.islice(itertools.cycle(KEYS), count))
    with watch:
        for key in keys:
            fanout[key]


@suite.row('FanoutCache, set', count=300, goal=3, limit='update')
def fanout_set(layers: Layers, count: int, watch: Stopwatch) -> None:
    _time_each(layers.fanout.set, count, watch, VALUE)


@suite.row('FanoutCache, incr', count=300)
def fanout_incr(layers: Layers, count: int, watch: Stopwatch) -> None:
    _time_alike(layers.fanout.incr, count, watch, 'counter')


@suite.row('FanoutCache, len', count=300)
def fanout_len(layers: Layers, count: int, watch: Stopwatch) -> None:
    _time_alike(layers.fanout.__len__, count, watch)


@suite.row('FanoutCache, open an existing one', count=5, goal=6)
def fanout_open(layers: Layers, count: int, watch: Stopwatch) -> None:
    for _ in itertools.repeat(None, count):
        with watch:
            cache = layers.open(layers.closed_directory)
        cache.close()


@suite.row('FanoutCache, open, get, close', count=5)
def fanout_open_get_close(layers: Layers, count: int, watch: Stopwatch) -> None:
    # Beside the row above, because a shard is opened when it is needed: of some key, ...
    with watch:
        for _ in itertools.repeat(None, count):
            with layers.open(layers.closed_directory) as cache:
                cache.get('key-0')


@suite.row('FanoutCache, open, len, close', count=5)
def fanout_open_len_close(layers: Layers, count: int, watch: Stopwatch) -> None:
    # ... or all of them.
    with watch:
        for _ in itertools.repeat(None, count):
            with layers.open(layers.closed_directory) as cache:
                len(cache)


# --- Index -------------------------------------------------------------------------------------


@suite.row('Index, []', count=2000, goal=100, limit='dict_get')
def index_get(layers: Layers, count: int, watch: Stopwatch) -> None:
    index = layers.index
    _warm(index.get)
    keys = list(itertools.islice(itertools.cycle(KEYS), count))
    with watch:
        for key in keys:
            index[key]


@suite.row('Index, [] =', count=300, limit='update')
def index_set(layers: Layers, count: int, watch: Stopwatch) -> None:
    index = layers.index
    keys = list(itertools.islice(itertools.cycle(KEYS), count))
    with watch:
        for key in keys:
            index[key] = VALUE


@suite.row('Index, setdefault', count=1000)
def index_setdefault(layers: Layers, count: int, watch: Stopwatch) -> None:
    _time_each(layers.index.setdefault, count, watch, VALUE)


@suite.row('Index, items, each', count=ITEMS)
def index_items(layers: Layers, count: int, watch: Stopwatch) -> None:
    items = layers.index.items()
    with watch:
        for _item in items:
            pass


@suite.row('Index, popitem', count=200)
def index_popitem(layers: Layers, count: int, watch: Stopwatch) -> None:
    index = layers.scratch
    with index.transact():
        for key in KEYS[:count]:
            index[key] = VALUE
    _time_alike(index.popitem, count, watch)


# --- Deque -------------------------------------------------------------------------------------


@suite.row('Deque, append', count=300, goal=3.5, limit='insert')
def deque_append(layers: Layers, count: int, watch: Stopwatch) -> None:
    _time_alike(layers.queue.append, count, watch, VALUE)
    layers.queue.clear()


@suite.row('Deque, popleft', count=300, limit='delete')
def deque_popleft(layers: Layers, count: int, watch: Stopwatch) -> None:
    layers.queue.extend([VALUE] * count)
    _time_alike(layers.queue.popleft, count, watch)


@suite.row('Deque, peekleft', count=500)
def deque_peekleft(layers: Layers, count: int, watch: Stopwatch) -> None:
    _time_alike(layers.deque.peekleft, count, watch)


@suite.row('Deque, [10]', count=500)
def deque_getitem(layers: Layers, count: int, watch: Stopwatch) -> None:
    _time_alike(layers.deque.__getitem__, count, watch, 10)


@suite.row('Deque, iterate, each', count=ITEMS)
def deque_iterate(layers: Layers, count: int, watch: Stopwatch) -> None:
    deque = layers.deque
    with watch:
        for _value in deque:
            pass


@suite.row('Deque, rotate', count=50)
def deque_rotate(layers: Layers, count: int, watch: Stopwatch) -> None:
    _time_alike(layers.deque.rotate, count, watch)


# --- memoizing ---------------------------------------------------------------------------------


def load_document(text: str) -> Any:
    """Parse JSON: fifty records."""
    return json.loads(text)


def parse_source(source: str) -> str:
    """Parse a module, and say what is in it."""
    return ast.dump(ast.parse(source))


def wrap_prose(text: str, width: int) -> str:
    """Wrap two thousand characters."""
    return textwrap.fill(text, width)


def find_close(word: str, cutoff: float = 0.6) -> list[str]:
    """Find the words of a thousand that are like this one."""
    return difflib.get_close_matches(word, KEYS, 5, cutoff)


#: By the names of the rows: the function and its arguments.
FUNCTIONS: dict[str, tuple[str, Callable[..., Any], tuple[Any, ...], dict[str, Any]]] = {
    'json': ('json.loads of 50 records', load_document, (DOCUMENT,), {}),
    'wrap': ('textwrap.fill of 2 KB', wrap_prose, (PROSE, 72), {}),
    'close': ('difflib.get_close_matches', find_close, ('key-77',), {'cutoff': 0.8}),
    'ast': ('ast.dump of a 20 KB module', parse_source, (SOURCE,), {}),
}


def _add_memoize_rows(name: str) -> None:
    title, function, arguments, keywords = FUNCTIONS[name]

    def call(layers: Layers, count: int, watch: Stopwatch) -> None:
        with watch:
            for _ in itertools.repeat(None, count):
                function(*arguments, **keywords)

    def hit(layers: Layers, count: int, watch: Stopwatch) -> None:
        memoized = layers.cache.memoize(name=name)(function)
        memoized(*arguments, **keywords)
        with watch:
            for _ in itertools.repeat(None, count):
                memoized(*arguments, **keywords)

    call.__name__, hit.__name__ = f'call_{name}', f'memoize_{name}'
    suite.row(f'{title}, called', count=1, reference=True)(call)
    suite.row(f'{title}, memoized', count=100)(hit)


for _name in FUNCTIONS:
    _add_memoize_rows(_name)


@suite.row('FanoutCache, memoize, hit', count=1000)
def fanout_memoize(layers: Layers, count: int, watch: Stopwatch) -> None:
    def square(number: int) -> int:
        return number * number

    memoized = layers.fanout.memoize(name='square')(square)
    numbers = list(itertools.islice(itertools.cycle(range(100)), count))
    for number in range(100):
        memoized(number)
    with watch:
        for number in numbers:
            memoized(number)


if __name__ == '__main__':
    main(suite, rounds=60)
