"""Directories go back and forth between this package and the original.

What one writes the other reads, the rows are the same byte for byte, and both can be at work
in one directory at the same time.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from pathlib import Path

import pytest
from interpreter import Interpreter, at_once
from places import PACKAGE

KEYS = [
    'text',
    '',
    'a\0b',
    '\u20ac\U0001f600',
    'x' * 50_000,
    b'bytes',
    b'',
    b'\0\xff',
    0,
    -1,
    2**63 - 1,
    -(2**63),
    1.5,
    -0.25,
    float('inf'),
    float('-inf'),
    1e308,
    5e-324,
    True,
    False,
    None,
    2**63,
    -(2**63) - 1,
    10**100,
    (),
    (1, 'a', b'b', 2.5, None, True),
    ((1, (2,)), 'same', 'same'),
    [1, [2]],
    {'a': {'b': 1}},
    frozenset([7]),
    bytearray(b'x'),
    1j,
    int,
    len,
    ...,
    range(5),
    ('x' * 300,),
    tuple(range(300)),
    'x' * 5,
    ('f', 1, None, 'x', 2),
]

VALUES = [
    0,
    -1,
    2**63 - 1,
    -(2**63),
    2**63,
    1.5,
    float('inf'),
    float('-inf'),
    True,
    False,
    None,
    '',
    'text',
    'a\0b',
    '\u20ac\U0001f600',
    'line\nline\n',
    b'',
    b'\0\xff',
    bytearray(b'x'),
    (),
    [1, [2, {'a': {3}}]],
    frozenset([1]),
    1j,
    ...,
    int,
    range(9),
    'x' * 32_767,
    'x' * 32_768,
    '\u20ac' * 32_767,
    '\u20ac' * 32_768,
    'line\n' * 10_000,
    b'x' * 32_767,
    b'x' * 32_768,
    b'\r\n\0' * 100_000,
    ['x' * 32_768],
    {'a': b'x' * 1_000_000},
]

DATA = {'keys': KEYS, 'values': VALUES}

WRITE = """
time.time = lambda: 1_700_000_000.5
options = dict(disk=JSONDisk) if json_disk else {}
with Cache(directory, **options) as cache:
    for key in keys:
        try:
            cache.set(key, 'value', expire=1e9, tag='tag')
        except TypeError:
            assert json_disk
    for number, value in enumerate(values):
        try:
            cache.set(('value', number), value, tag=[None, 'a', b'a', 1, 2.5][number % 5])
        except TypeError:
            assert json_disk
    cache.set('file', io.BytesIO(b'contents' * 10_000), read=True)
    cache.set('small file', io.BytesIO(b'contents'), read=True)
    cache.set('touched', 1, expire=1)
    cache.touch('touched', 1e6)
    cache.set('deleted', 'x' * 50_000)
    del cache['deleted']
    if not json_disk:
        cache.incr('counted', 5)
        cache.incr('counted')
        cache.push('back', prefix='queue')
        cache.push(['front'], prefix='queue', side='front', tag='queued')
        cache.push(b'x' * 50_000, prefix='files')
"""

READ = """
options = dict(disk=JSONDisk) if json_disk else {}
answers = []
def ask(function, *args, **kwargs):
    try:
        answer = function(*args, **kwargs)
        answers.append(repr(answer.read() if hasattr(answer, 'read') else answer))
    except (TypeError, KeyError) as error:
        answers.append(repr(error))
with Cache(directory, **options) as cache:
    for key in keys + [('value', number) for number in range(len(values))]:
        ask(cache.get, key, expire_time=True, tag=True)
    ask(cache.read, 'file'), ask(cache.read, 'small file')
    ask(cache.get, 'touched', None, False, True)
    ask(cache.get, 'counted'), ask(list, cache), ask(list, cache.iterkeys()), ask(len, cache)
    if not json_disk:
        ask(cache.pull, 'queue'), ask(cache.pull, 'queue'), ask(cache.pull, 'files')
    ask(cache.check)
answers
"""

ROWS = """
connection = sqlite3.connect(directory + '/cache.db')
connection.execute(
    'SELECT rowid, key, typeof(key), raw, store_time, expire_time, access_time, access_count,'
    ' tag, typeof(tag), size, mode, filename IS NULL, value, typeof(value) FROM Cache'
    ' ORDER BY rowid'
).fetchall()
"""


@pytest.fixture(params=['ours to original', 'original to ours'])
def pair(
    request: pytest.FixtureRequest, other: Interpreter, original: Interpreter
) -> tuple[Interpreter, Interpreter]:
    """The process that writes and the one that reads, either way round."""
    return (other, original) if request.param == 'ours to original' else (original, other)


@pytest.mark.parametrize('json_disk', [False, True], ids=['Disk', 'JSONDisk'])
def test_what_one_writes_the_other_reads_as_the_writer_itself(
    pair: tuple[Interpreter, Interpreter], tmp_path: Path, json_disk: bool
) -> None:
    writer, reader = pair
    answers = []
    for number, interpreter in enumerate((writer, reader)):
        directory = str(tmp_path / str(number))
        writer.run(WRITE, directory=directory, json_disk=json_disk, **DATA)
        answers.append(interpreter.run(READ, directory=directory, json_disk=json_disk, **DATA))
    assert answers[1] == answers[0]
    assert answers[1][-1] == '[]'  # check() finds nothing.


@pytest.mark.parametrize('json_disk', [False, True], ids=['Disk', 'JSONDisk'])
def test_rows_are_the_same_byte_for_byte(
    other: Interpreter, original: Interpreter, tmp_path: Path, json_disk: bool
) -> None:
    rows = []
    for interpreter, name in ((other, 'ours'), (original, 'original')):
        directory = str(tmp_path / name)
        interpreter.run(WRITE, directory=directory, json_disk=json_disk, **DATA)
        rows.append(original.run(ROWS, directory=directory))
    for ours, theirs in zip(*rows, strict=True):
        assert ours == theirs


@pytest.mark.parametrize('protocol', range(6))
def test_pickles_are_the_same_under_each_protocol(
    other: Interpreter, original: Interpreter, tmp_path: Path, protocol: int
) -> None:
    rows = []
    for interpreter, name in ((other, 'ours'), (original, 'original')):
        script = 'Cache(directory, disk_pickle_protocol=protocol).close()'
        directory = str(tmp_path / name)
        interpreter.run(script, directory=directory, protocol=protocol)
        interpreter.run(WRITE, directory=directory, json_disk=False, **DATA)
        rows.append(original.run(ROWS, directory=directory))
    assert rows[0] == rows[1]


def test_the_schema_has_the_same_objects(
    other: Interpreter, original: Interpreter, tmp_path: Path
) -> None:
    """But for the view in which ours records what it was made with: see test_mismatch."""
    script = """
    answers = []
    for policy in ['none', 'least-recently-stored', 'least-recently-used', 'least-frequently-used']:
        with Cache(directory + policy, eviction_policy=policy, tag_index=True) as cache:
            answers.append(sorted(cache._sql(
                "SELECT type, name, tbl_name FROM sqlite_master"
                " WHERE name NOT LIKE 'sqlite_stat%' AND type <> 'view'").fetchall()))
            answers.append(cache._sql('PRAGMA table_info(Cache)').fetchall())
            answers.append(cache._sql('PRAGMA table_info(Settings)').fetchall())
            answers.append(cache._sql('PRAGMA index_xinfo(Cache_key_raw)').fetchall())
            answers.append(cache._sql('PRAGMA auto_vacuum').fetchall())
            answers.append(sorted(cache._sql('SELECT * FROM Settings').fetchall()))
    answers
    """
    ours = other.run(script, directory=str(tmp_path / 'ours'))
    assert ours == original.run(script, directory=str(tmp_path / 'original'))


def test_a_row_written_by_the_other_can_be_replaced_and_removed(
    pair: tuple[Interpreter, Interpreter], directory: str
) -> None:
    writer, reader = pair
    writer.run(WRITE, directory=directory, json_disk=False, **DATA)
    script = """
    cache = Cache(directory)
    for key in keys:
        cache[key] = 'x' * 40_000
    for number in range(len(values)):
        del cache['value', number]
    cache.pop('file'), cache.pull('queue'), cache.pull('files'), cache.incr('counted')
    cache.check() == [], cache.reset('size') == cache._sql('SELECT SUM(size) FROM Cache'
        ).fetchone()[0], len(cache) == len(list(cache))
    """
    assert reader.run(script, directory=directory, **DATA) == (True, True, True)
    assert writer.run('Cache(directory).check() == []', directory=directory)


def test_nan_written_here_is_nan_in_the_original(
    other: Interpreter, original: Interpreter, directory: str
) -> None:
    other.run("Cache(directory)['key'] = float('nan')", directory=directory)
    assert original.run("math.isnan(Cache(directory)['key'])", directory=directory)


def test_text_with_carriage_returns_written_by_the_original_is_read_exactly(
    other: Interpreter, original: Interpreter, directory: str
) -> None:
    text = "'\\r\\n\\r\\n\\n\\r' * 10_000"
    original.run(f"Cache(directory)['key'] = {text}", directory=directory)
    assert other.run(f"Cache(directory)['key'] == {text}", directory=directory)


def test_settings_stored_by_one_are_seen_by_the_other(
    pair: tuple[Interpreter, Interpreter], directory: str
) -> None:
    first, second = pair
    first.run(
        """
        with Cache(directory, size_limit=123_456, cull_limit=3, tag_index=1, statistics=1,
                   eviction_policy='least-frequently-used', disk_min_file_size=99, own='x',
                   disk_pickle_protocol=3, sqlite_cache_size=123) as cache:
            cache.reset('cull_limit', 4)
        """,
        directory=directory,
    )
    script = """
    with Cache(directory) as cache:
        answer = (cache.size_limit, cache.cull_limit, cache.tag_index, cache.statistics,
            cache.eviction_policy, cache.disk.min_file_size, cache.own,
            cache.disk.pickle_protocol, cache._sql('PRAGMA cache_size').fetchone()[0])
    answer
    """
    expected = (123_456, 4, 1, 1, 'least-frequently-used', 99, 'x', 3, 123)
    assert second.run(script, directory=directory) == expected
    assert first.run(script, directory=directory) == expected


def test_a_setting_changed_by_one_is_seen_by_the_other_while_open(
    pair: tuple[Interpreter, Interpreter], directory: str
) -> None:
    first, second = pair
    second.run('global cache\ncache = diskcache.held = Cache(directory)', directory=directory)
    first.run("Cache(directory).reset('size_limit', 4321)", directory=directory)
    script = "answer = diskcache.held.reset('size_limit')\ndiskcache.held.close()\nanswer"
    assert second.run(script) == 4321


def test_statistics_of_both_add_up(pair: tuple[Interpreter, Interpreter], directory: str) -> None:
    script = """
    with Cache(directory, statistics=1) as cache:
        cache['key'] = 1
        cache.get('key'), cache.get('key'), cache.get('missing')
    """
    for interpreter in pair:
        interpreter.run(script, directory=directory)
    assert pair[1].run('Cache(directory).stats()', directory=directory) == (4, 2)


def test_a_pickled_cache_loads_in_the_other(
    pair: tuple[Interpreter, Interpreter], directory: str
) -> None:
    first, second = pair
    pickled = first.run(
        "cache = Cache(directory, 5, JSONDisk)\ncache['key'] = [1]\npickle.dumps(cache)",
        directory=directory,
    )
    script = """
    cache = pickle.loads(pickled)
    cache.directory, cache.timeout, type(cache.disk).__name__, cache['key']
    """
    assert second.run(script, pickled=pickled) == (directory, 5, 'JSONDisk', [1])


@pytest.fixture
def crew(
    other: Interpreter,
    original: Interpreter,
    lasting_interpreter: Callable[[str, Path], Interpreter],
    original_package: Path,
) -> list[Interpreter]:
    """Two processes with this package and two with the original."""
    second = lasting_interpreter('second', PACKAGE)
    return [other, second, original, lasting_interpreter('second original', original_package)]


def test_no_increment_is_lost_when_both_are_at_work(
    crew: list[Interpreter], directory: str
) -> None:
    script = """
    with Cache(directory) as cache:
        for _ in range(150):
            cache.incr('count', retry=True)
            with cache.transact(retry=True):
                cache['sum'] = cache.get('sum', 0) + 2
            cache.set((number, _), 'x' * 40_000 if _ % 10 == 0 else _, retry=True)
    """
    at_once(crew, script, directory=directory)
    for interpreter in crew[1:3]:
        answer = interpreter.run(
            "cache = Cache(directory)\ncache['count'], cache['sum'], len(cache), cache.check()",
            directory=directory,
        )
        assert answer == (600, 1200, 602, [])


def test_each_item_of_a_queue_is_pulled_once_when_both_are_at_work(
    crew: list[Interpreter], directory: str
) -> None:
    script = """
    pulled = []
    with Cache(directory) as cache:
        for turn in range(100):
            value = (number, turn) if turn % 10 else (number, turn, 'x' * 40_000)
            cache.push(value, prefix='queue', side=['back', 'front'][turn % 2], retry=True)
            if turn % 3:
                pulled.append(cache.pull('queue', retry=True)[1][:2])
    pulled
    """
    pulled = [value for each in at_once(crew, script, directory=directory) for value in each]
    rest = crew[0].run(
        """
        cache = Cache(directory)
        rest = [cache.pull('queue')[1][:2] for _ in range(len(cache))]
        assert cache.pull('queue') == (None, None) and cache.check() == []
        rest
        """,
        directory=directory,
    )
    everything = [(number, turn) for number in range(4) for turn in range(100)]
    assert sorted(pulled + rest) == everything


def test_values_in_files_are_whole_when_both_are_at_work(
    crew: list[Interpreter], directory: str
) -> None:
    script = """
    wrong = []
    with Cache(directory) as cache:
        for turn in range(60):
            cache.set('key', bytes([number]) * (40_000 + turn), retry=True)
            value = cache.get('key', b'', retry=True)
            if value and value != value[:1] * len(value):
                wrong.append(value)
            cache.add(turn, 'x' * 40_000, retry=True), cache.delete(turn - 5, retry=True)
    wrong
    """
    assert at_once(crew, script, directory=directory) == [[], [], [], []]
    assert crew[0].run('Cache(directory).check()', directory=directory) == []


def test_both_can_open_a_new_directory_at_the_same_time(
    crew: list[Interpreter], tmp_path: Path
) -> None:
    for turn in range(5):
        directory = str(tmp_path / str(turn))
        at_once(crew, 'Cache(directory).set(number, number, retry=True)', directory=directory)
        assert crew[0].run('sorted(Cache(directory))', directory=directory) == [0, 1, 2, 3]


# ---- FanoutCache, its named parts, Deque and Index

FANOUT_WRITE = """
time.time = lambda: 1_700_000_000.5
options = dict(disk=JSONDisk) if json_disk else {}
with diskcache.FanoutCache(directory, 3, size_limit=10**9 + 1, tag_index=1, **options) as fanout:
    for key in keys:
        try:
            fanout.set(key, 'value', expire=1e9, tag='tag')
        except TypeError:
            assert json_disk
    for number, value in enumerate(values):
        try:
            fanout[number] = value
        except TypeError:
            assert json_disk
    fanout.set('file', io.BytesIO(b'contents' * 10_000), read=True)
    fanout.add('added', 1), fanout.add('added', 2), fanout.touch('added', 1e6)
    fanout.set('deleted', 'x' * 50_000), fanout.delete('deleted'), fanout.pop(0)
    if not json_disk:
        fanout.incr('counted', 5), fanout.decr('counted')
        with fanout.transact():
            fanout['a'] = fanout['b'] = 1
    fanout.reset('cull_limit', 5)
    fanout.cache('part', size_limit=12_345_678)['key'] = ['value']
    fanout.cache('nested/part')['key'] = 'x' * 50_000
    index = fanout.index('part')
    index.update({'a': 1, 'b': ['x' * 50_000]}), index.setdefault('c', 3), index.pop('a')
    index['last'] = 'value'
    index.popitem()
    if not json_disk:  # Which the original cannot combine with queues.
        deque = fanout.deque('nested/part')
        deque.extend(['a', ['b'], 'x' * 50_000, 4, 5]), deque.appendleft('first')
        deque.popleft(), deque.pop(), deque.extendleft('yz')
        index.push('pushed'), index.push(['pushed'], prefix='queue', side='front')
"""

FANOUT_READ = """
answers = []
def ask(function, *args, **kwargs):
    try:
        answer = function(*args, **kwargs)
        answers.append(repr(answer.read() if hasattr(answer, 'read') else answer))
    except (TypeError, KeyError) as error:
        answers.append(repr(error))
options = dict(disk=JSONDisk) if json_disk else {}
with diskcache.FanoutCache(directory, 3, **options) as fanout:
    for key in [*keys, *range(len(values)), 'added', 'counted', 'a', 'b', 'deleted']:
        ask(fanout.get, key, expire_time=True, tag=True)
    ask(fanout.read, 'file'), ask(list, fanout), ask(list, reversed(fanout)), ask(len, fanout)
    ask(getattr, fanout, 'cull_limit'), ask(fanout.check), ask(fanout.stats)
    ask(fanout.cache('part').get, 'key'), ask(fanout.cache('nested/part').get, 'key')
    ask(list, fanout.index('part').items())
    if not json_disk:
        ask(list, fanout.deque('nested/part')), ask(list, reversed(fanout.deque('nested/part')))
        ask(fanout.index('part').pull), ask(fanout.index('part').pull, 'queue')
        ask(fanout.evict, 'tag')
answers
"""

# The rows and the settings of every database below the directory.
ALL_ROWS = """
databases = {}
for path, _, files in os.walk(directory):
    if 'cache.db' in files:
        connection = sqlite3.connect(path + '/cache.db')
        databases[os.path.relpath(path, directory)] = connection.execute(
            'SELECT rowid, key, typeof(key), raw, store_time, expire_time, access_time,'
            ' access_count, tag, typeof(tag), size, mode, filename IS NULL, value, typeof(value)'
            ' FROM Cache ORDER BY rowid'
        ).fetchall() + connection.execute(
            'SELECT key, value, typeof(value) FROM Settings ORDER BY key').fetchall()
        connection.close()
databases
"""

both_disks = pytest.mark.parametrize('json_disk', [False, True], ids=['Disk', 'JSONDisk'])


@both_disks
def test_a_fanout_cache_of_one_is_read_by_the_other_as_by_itself(
    pair: tuple[Interpreter, Interpreter], tmp_path: Path, json_disk: bool
) -> None:
    writer, reader = pair
    answers = []
    for number, interpreter in enumerate((writer, reader)):
        names = {'directory': str(tmp_path / str(number)), 'json_disk': json_disk, **DATA}
        writer.run(FANOUT_WRITE, **names)
        answers.append(interpreter.run(FANOUT_READ, **names))
    assert answers[1] == answers[0]
    assert '[]' in answers[1]  # check() finds nothing.


@both_disks
def test_rows_and_settings_of_all_shards_and_parts_are_the_same(
    other: Interpreter, original: Interpreter, tmp_path: Path, json_disk: bool
) -> None:
    found = []
    for interpreter, name in ((other, 'ours'), (original, 'original')):
        directory = str(tmp_path / name)
        interpreter.run(FANOUT_WRITE, directory=directory, json_disk=json_disk, **DATA)
        found.append(original.run(ALL_ROWS, directory=directory))
    ours, theirs = found
    assert len(ours) == (6 if json_disk else 7)
    assert ours.keys() == theirs.keys()
    for database, rows in theirs.items():
        assert ours[database] == rows, database


@pytest.mark.parametrize('shards', [1, 2, 7, 8, 64])
@both_disks
def test_a_key_belongs_to_the_same_shard(
    other: Interpreter, original: Interpreter, tmp_path: Path, shards: int, json_disk: bool
) -> None:
    script = """
    disk = (JSONDisk if json_disk else Disk)(directory)
    shards = []
    for key in keys:
        try:
            shards.append(disk.hash(key) % count)
        except TypeError:
            shards.append(None)
    shards
    """
    more = [1, 1.0, -1, -1.0, 0.0, -0.0, 2**32 - 1, 2**32, -(2**32), 2**53 + 1, 'ä' * 9999]
    names = {'directory': str(tmp_path), 'keys': KEYS + more, 'count': shards}
    ours = other.run(script, json_disk=json_disk, **names)
    assert ours == original.run(script, json_disk=json_disk, **names)


def test_a_new_size_limit_of_one_is_kept_by_ours_and_seen_by_the_original(
    other: Interpreter, original: Interpreter, directory: str
) -> None:
    original.run(
        'diskcache.FanoutCache(directory, 4, size_limit=8_000_000).close()', directory=directory
    )
    script = 'diskcache.FanoutCache(directory, 4).size_limit'
    assert other.run(script, directory=directory) == 2_000_000
    script = "Cache(directory + '/000').size_limit"
    assert original.run(script, directory=directory) == 2_000_000


# What is done to a Deque of 'a' to 'g' and a large value, by this package.
DEQUE_CHANGES = {
    'rotate': 'deque.rotate()',
    'rotate by many': 'deque.rotate(3), deque.rotate(-100), deque.rotate(17)',
    'reverse': 'deque.reverse()',
    'reverse and rotate': 'deque.reverse(), deque.rotate(2), deque.reverse(), deque.rotate(-1)',
    'insert': "deque.insert(3, 'new'), deque.insert(0, ['first']), deque.insert(99, 'last')",
    'insert before the end': "deque.insert(-1, 'new'), deque.insert(-99, 'first')",
    'setting an item': "deque[2], deque[-1] = 'x' * 60_000, ['new']",
    'deleting items': 'del deque[2], deque[0], deque[-1]',
    'remove': "deque.remove('d'), deque.remove('a')",
    'appending at both ends': "deque.append(1), deque.appendleft(2), deque.extendleft('xyz')",
    'multiplying': 'deque *= 3',
    'adding itself': 'deque.extend(deque), deque.extendleft(deque)',
    'clear': "deque.clear(), deque.append('only')",
    'everything taken': '[deque.popleft() for _ in range(8)]',
    'a shorter maximum': 'deque.maxlen = 3',
}


@pytest.mark.parametrize('change', DEQUE_CHANGES.values(), ids=DEQUE_CHANGES.keys())
def test_the_original_goes_on_with_a_deque_that_was_changed_here(
    other: Interpreter, original: Interpreter, directory: str, change: str
) -> None:
    script = f"""
    deque = diskcache.Deque([*'abcdefg', 'x' * 50_000], directory)
    {change}
    list(deque)
    """
    model = deque(other.run(script, directory=directory))
    script = """
    deque = diskcache.Deque(directory=directory)
    contents = list(deque), list(reversed(deque)), len(deque), deque.cache.check()
    for number in range(3):
        deque.append(['back', number])
        deque.appendleft(['front', number])
    taken = [deque.popleft() for _ in range(4)] + [deque.pop() for _ in range(2)]
    contents, taken, list(deque)
    """
    contents, taken, rest = original.run(script, directory=directory)
    assert contents == (list(model), list(reversed(model)), len(model), [])
    for number in range(3):
        model.append(['back', number])
        model.appendleft(['front', number])
    assert taken == [model.popleft() for _ in range(4)] + [model.pop() for _ in range(2)]
    assert rest == list(model)
    assert other.run('list(diskcache.Deque(directory=directory))', directory=directory) == rest


@pytest.mark.parametrize('change', ['deque.rotate(2)', 'deque.reverse()', 'deque.rotate(-3)'])
def test_a_deque_that_the_original_has_changed_is_changed_here(
    other: Interpreter, original: Interpreter, directory: str, change: str
) -> None:
    script = f"deque = diskcache.Deque('abcdefg', directory)\n{change}\nlist(deque)"
    before = deque(original.run(script, directory=directory))
    script = f'deque = diskcache.Deque(directory=directory)\n{change}\nlist(deque)'
    after = other.run(script, directory=directory)
    eval(change.replace('deque', 'before'), {'before': before})
    assert after == list(before)
    script = 'list(diskcache.Deque(directory=directory))'
    assert original.run(script, directory=directory) == after


def test_an_index_keeps_its_order_in_both(
    pair: tuple[Interpreter, Interpreter], directory: str
) -> None:
    first, second = pair
    first.run("diskcache.Index(directory, zip('dbca', range(4)))", directory=directory)
    script = """
    index = diskcache.Index(directory)
    index['b'], index['e'] = 'new', [1]
    del index['c']
    list(index.items()), list(reversed(index)), index.peekitem(), index == dict(index)
    """
    items = [('d', 0), ('b', 'new'), ('a', 3), ('e', [1])]
    answer = second.run(script, directory=directory)
    assert answer == (items, list('eabd'), ('e', [1]), True)
    script = 'index = diskcache.Index(directory)\nlist(index.items()), index.popitem(last=False)'
    assert first.run(script, directory=directory) == (items, ('d', 0))


def test_the_original_has_the_order_after_move_to_end(
    other: Interpreter, original: Interpreter, directory: str
) -> None:
    script = """
    index = diskcache.Index(directory, {'a': 1, 'b': 'x' * 50_000, 'c': [3]})
    index.move_to_end('a'), index.move_to_end('b'), index.move_to_end('b', last=False)
    list(index)
    """
    assert other.run(script, directory=directory) == ['b', 'c', 'a']
    script = """
    index = diskcache.Index(directory)
    index['new'] = 4
    list(index), len(index['b']), index.cache.check(), index.popitem(last=False)[0]
    """
    answer = original.run(script, directory=directory)
    assert answer == (['b', 'c', 'a', 'new'], 50_000, [], 'b')


MEMOIZED = """
calls = []
def function(*args, **kwargs):
    calls.append((args, kwargs))
    return [args, kwargs]
results = []
for options in ({}, {'typed': True}, {'name': 'own'}, {'ignore': {1, 'a'}}, {'ignore': ('a',)}):
    memoized = owner.memoize(**options)(function)
    results += [memoized(), memoized(1), memoized(1.0), memoized(1, 'x'), memoized(a=1, b=2)]
    results += [memoized(None, c=[3]), memoized(('x' * 300,), b='a'), memoized('x' * 50_000)]
len(calls), results
"""

MEMOIZERS = {
    'Cache': 'owner = Cache(directory)',
    'FanoutCache': 'owner = diskcache.FanoutCache(directory, 4)',
    'Index': 'owner = diskcache.Index(directory)',
}


@pytest.mark.parametrize('owner', MEMOIZERS.values(), ids=MEMOIZERS.keys())
def test_a_result_memoized_by_one_is_found_by_the_other(
    pair: tuple[Interpreter, Interpreter], directory: str, owner: str
) -> None:
    first, second = pair
    calls, results = first.run(f'{owner}\n{MEMOIZED}', directory=directory)
    assert calls > 20
    assert second.run(f'{owner}\n{MEMOIZED}', directory=directory) == (0, results)


#: Classes that programs may pickle, by the modules that the original has them in.
CLASSES = {
    'core': [
        'Cache',
        'Constant',
        'Disk',
        'EmptyDirWarning',
        'JSONDisk',
        'Timeout',
        'UnknownFileWarning',
    ],
    'fanout': ['FanoutCache'],
    'persistent': ['Deque', 'Index'],
    'recipes': ['Averager', 'BoundedSemaphore', 'Lock', 'RLock'],
}

PICKLED: dict[str, tuple[str, str, object]] = {
    'classes and functions': (
        f'classes = {CLASSES}\n'
        'it = [getattr(getattr(diskcache, module), name)'
        ' for module in classes for name in classes[module]]\n'
        'it += [diskcache.core.full_name, diskcache.barrier, diskcache.throttle]\n'
        'it += [diskcache.memoize_stampede]',
        "[f'{each.__module__}.{each.__qualname__}' for each in it]",
        [f'diskcache.{module}.{name}' for module in CLASSES for name in CLASSES[module]]
        + ['diskcache.core.full_name']
        + [f'diskcache.recipes.{name}' for name in ('barrier', 'throttle', 'memoize_stampede')],
    ),
    'constants': (
        'it = diskcache.ENOVAL, diskcache.UNKNOWN',
        'repr(it), type(it[0]).__module__',  # in the original it is another object then
        ('(ENOVAL, UNKNOWN)', 'diskcache.core'),
    ),
    'Timeout': (
        'it = diskcache.Timeout(5)',
        'type(it) is diskcache.Timeout, it.args',
        (True, (5,)),
    ),
    'Disk': (
        'it = Disk(directory, 5, 3)',
        'type(it) is Disk, it._directory == directory, it.min_file_size, it.pickle_protocol',
        (True, True, 5, 3),
    ),
    'JSONDisk': (
        'it = JSONDisk(directory, 7, min_file_size=5)',
        'type(it) is JSONDisk, it.compress_level, it.min_file_size, it.put([1])[1]',
        (True, 7, 5, True),
    ),
    'Averager': (
        "it = diskcache.Averager(Cache(directory), 'key')\nit.add(1)\nit.add(2)",
        'it.get(), it.add(3), it.get()',
        (1.5, None, 2.0),
    ),
    'BoundedSemaphore': (
        "it = diskcache.BoundedSemaphore(Cache(directory), 'key', 2)\nit.acquire()",
        'it.release(), it._cache.get("key"), it._value',
        (None, 2, 2),
    ),
    'Lock': (
        "it = diskcache.Lock(Cache(directory), 'key')\nit.acquire()",
        'it.locked(), it.release() and None, it.locked()',
        (True, None, False),
    ),
    'RLock': (
        "it = diskcache.RLock(Cache(directory), 'key')",
        'it.acquire() and None, it.acquire() and None, it._cache.get("key")[1]',
        (None, None, 2),
    ),
    'FanoutCache': (
        "it = diskcache.FanoutCache(directory, 3, 0.5, JSONDisk)\nit['key'] = ['value']",
        "it['key'], it.timeout, type(it.disk).__name__, len(os.listdir(directory))",
        (['value'], 0.5, 'JSONDisk', 3),
    ),
    'Deque': (
        'it = diskcache.Deque([1, [2], 3, 4], directory, maxlen=3)',
        'list(it), it.maxlen, it.append(5), list(it)',
        ([[2], 3, 4], 3, None, [3, 4, 5]),
    ),
    'Deque without a maximum': (
        'it = diskcache.Deque([1, [2], 3, 4], directory)',
        "list(it), it.maxlen == float('inf')",
        ([1, [2], 3, 4], True),
    ),
    'Deque.fromcache': (
        'it = diskcache.Deque.fromcache(Cache(directory), [1, [2], 3], maxlen=3)',
        'list(it), it.maxlen, it.directory == directory',
        ([1, [2], 3], 3, True),
    ),
    'Index': (
        "it = diskcache.Index(directory, {'b': 1, 'a': [2]})",
        'list(it.items()), it.directory == directory',
        ([('b', 1), ('a', [2])], True),
    ),
    'Index.fromcache': (
        "it = diskcache.Index.fromcache(Cache(directory), {'b': 1, 'a': [2]})",
        'list(it.items()), it.directory == directory',
        ([('b', 1), ('a', [2])], True),
    ),
    'parts of a FanoutCache': (
        'fanout = diskcache.FanoutCache(directory, 2)\n'
        "it = fanout.cache('a'), fanout.deque('b/c', maxlen=5), fanout.index('d')\n"
        "it[0]['key'] = 'value'\nit[1].extend('xyz')\nit[2]['key'] = 5",
        "it[0]['key'], list(it[1]), it[1].maxlen, dict(it[2])",
        ('value', ['x', 'y', 'z'], 5, {'key': 5}),
    ),
}


@pytest.mark.parametrize(('make', 'use', 'answer'), PICKLED.values(), ids=PICKLED.keys())
# Protocols 0 and 1 make objects with object.__new__, which native types refuse.
@pytest.mark.parametrize('protocol', [2, 4, 5])
def test_a_pickle_made_by_one_loads_in_the_other(
    pair: tuple[Interpreter, Interpreter],
    directory: str,
    make: str,
    use: str,
    answer: object,
    protocol: int,
) -> None:
    first, second = pair
    script = f'{make}\npickle.dumps(it, protocol)'
    pickled = first.run(script, directory=directory, protocol=protocol)
    script = f'it = pickle.loads(pickled)\n{use}'
    assert second.run(script, pickled=pickled, directory=directory) == answer


def test_what_a_pickled_index_of_ours_keeps_it_keeps_in_the_original_too(
    other: Interpreter, original: Interpreter, directory: str
) -> None:
    script = """
    cache = Cache(directory, 7, JSONDisk, eviction_policy='least-recently-used')
    pickle.dumps(diskcache.Index.fromcache(cache, {'a': [1]}))
    """
    pickled = other.run(script, directory=directory)
    script = """
    it = pickle.loads(pickled)
    it['a'], type(it.cache.disk).__name__, it.cache.timeout, it.cache.eviction_policy
    """
    for interpreter in (other, original):
        found = interpreter.run(script, pickled=pickled)
        assert found == ([1], 'JSONDisk', 7, 'least-recently-used')


def test_what_a_pickled_deque_of_ours_keeps_it_keeps_in_the_original_too(
    other: Interpreter, original: Interpreter, directory: str
) -> None:
    script = """
    cache = Cache(directory, 7, eviction_policy='least-recently-used')
    pickle.dumps(diskcache.Deque.fromcache(cache, ['a', [1]], maxlen=2))
    """
    pickled = other.run(script, directory=directory)
    script = """
    it = pickle.loads(pickled)
    list(it), it.maxlen, it.cache.timeout, it.cache.eviction_policy
    """
    for interpreter in (other, original):
        found = interpreter.run(script, pickled=pickled)
        assert found == (['a', [1]], 2, 7, 'least-recently-used')


def test_no_write_to_a_fanout_cache_is_lost_when_both_are_at_work(
    crew: list[Interpreter], directory: str
) -> None:
    script = """
    with diskcache.FanoutCache(directory, 4) as fanout:
        for turn in range(60):
            fanout.incr('count', retry=True)
            fanout.set((number, turn), 'x' * 40_000 if turn % 10 == 0 else turn, retry=True)
            if turn % 10 == 0:
                with fanout.transact():
                    fanout['a'] = fanout.get('a', 0, retry=True) + 1
                    fanout['b'] = fanout.get('b', 0, retry=True) + 1
    """
    at_once(crew, script, directory=directory)
    script = """
    fanout = diskcache.FanoutCache(directory, 4)
    fanout['count'], fanout['a'], fanout['b'], len(fanout), fanout.check()
    """
    for interpreter in crew[1:3]:
        assert interpreter.run(script, directory=directory) == (240, 24, 24, 243, [])


def test_each_item_of_a_deque_is_taken_once_when_both_are_at_work(
    crew: list[Interpreter], directory: str
) -> None:
    script = """
    deque, taken = diskcache.Deque(directory=directory), []
    for turn in range(60):
        item = (number, turn) if turn % 10 else (number, turn, 'x' * 40_000)
        [deque.append, deque.appendleft][turn % 2](item)
        if number < 2 and turn % 7 == 0:  # Those with this package.
            deque.rotate(turn - 30), deque.reverse()
        if turn % 3:
            taken.append([deque.pop, deque.popleft][turn % 2]()[:2])
    taken
    """
    taken = [item for each in at_once(crew, script, directory=directory) for item in each]
    script = """
    deque = diskcache.Deque(directory=directory)
    [item[:2] for item in deque], deque.cache.check()
    """
    rest, problems = crew[0].run(script, directory=directory)
    assert crew[3].run(script, directory=directory) == (rest, problems)
    assert problems == []
    assert sorted(taken + rest) == [(number, turn) for number in range(4) for turn in range(60)]


def test_nothing_of_an_index_is_lost_when_both_are_at_work(
    crew: list[Interpreter], directory: str
) -> None:
    script = """
    index, popped = diskcache.Index(directory), []
    first = [index.setdefault(('first', turn), number) for turn in range(20)]
    for turn in range(60):
        index[number, turn] = 'x' * 40_000 if turn % 10 == 0 else turn
        with index.transact():
            index['sum'] = index.get('sum', 0) + 1
        index.push((number, turn), prefix='queue')
        popped.append(index.pull('queue')[1])
        if turn % 4 == 0:
            index.pop((number, turn))
    first, popped
    """
    answers = at_once(crew, script, directory=directory)
    assert all(first == answers[0][0] for first, _ in answers)
    popped = sorted(item for _, each in answers for item in each)
    assert popped == [(number, turn) for number in range(4) for turn in range(60)]
    script = """
    index = diskcache.Index(directory)
    index['sum'], len(index), len(list(index.items())), index.cache.check()
    """
    size = 20 + 1 + 4 * 45
    for interpreter in (crew[0], crew[3]):
        assert interpreter.run(script, directory=directory) == (240, size, size, [])


# ---- DjangoCache

DJANGO_PREPARE = """
import django.conf
from diskcache import DjangoCache
if not django.conf.settings.configured:
    django.conf.settings.configure()
"""

DJANGO_CACHE = """
cache = DjangoCache(directory, {
    'SHARDS': 3, 'TIMEOUT': 500, 'KEY_PREFIX': 'site', 'VERSION': 2, 'DATABASE_TIMEOUT': 0.5,
    'OPTIONS': {'size_limit': 10**9, 'cull_limit': 5, 'tag_index': 1}})
"""

DJANGO_WRITE = """
time.time = lambda: 1_700_000_000.5
cache.set('text', 'value'), cache.set('object', {'a': [1, None]}, timeout=None, tag='tag')
cache.set('versioned', 1, version=7), cache.set('short', 'x', timeout=10)
cache.set('large', b'x' * 50_000), cache.set('file', io.BytesIO(b'contents'), read=True)
cache.set('\\u20ac ' * 5, 'key with spaces')
cache.add('text', 'not added'), cache.add('added', 'value', timeout=100, tag='tag')
cache.set('count', 5), cache.incr('count', 3), cache.decr('count'), cache.touch('text', 1000)
cache.set_many({f'many {number}': number for number in range(10)}, timeout=50)
cache.get_or_set('made', lambda: [1, 2], 60), cache.set('gone', 1), cache.delete('gone')
cache.set('popped', 1), cache.pop('popped')
cache.cache('part')['key'] = 1
cache.deque('part').extend('abc')
cache.index('part')['key'] = 2
"""

DJANGO_READ = """
time.time = lambda: 1_700_000_005.5
keys = ['text', 'object', 'short', 'large', 'added', 'count', 'made', 'gone', '\\u20ac ' * 5]
answers = [cache.get(key, 'default', expire_time=True, tag=True) for key in keys]
answers.append([cache.get('versioned'), cache.get('versioned', version=7), 'text' in cache])
with cache.read('file') as reader:
    answers.append(reader.read())
answers.append(cache.get_many([f'many {number}' for number in range(12)]))
answers.append([cache.cache('part')['key'], list(cache.deque('part')), cache.index('part')['key']])
answers.append([cache.incr('count'), cache.evict('tag'), cache.has_key('object')])
answers
"""


def django_script(*parts: str) -> str:
    """Return a script in which `cache` is a DjangoCache; skip the test if there is no Django."""
    pytest.importorskip('django')
    return '\n'.join((DJANGO_PREPARE, DJANGO_CACHE, *parts))


def test_what_one_django_cache_writes_the_other_reads_as_the_writer_itself(
    pair: tuple[Interpreter, Interpreter], tmp_path: Path
) -> None:
    writer, reader = pair
    answers = []
    for number, interpreter in enumerate((writer, reader)):
        directory = str(tmp_path / str(number))
        writer.run(django_script(DJANGO_WRITE), directory=directory)
        answers.append(interpreter.run(django_script(DJANGO_READ), directory=directory))
    assert answers[1] == answers[0]
    assert answers[1][0] == ('value', 1_700_001_000.5, None)


def test_rows_and_settings_of_django_caches_are_the_same(
    other: Interpreter, original: Interpreter, tmp_path: Path
) -> None:
    found = []
    for interpreter, name in ((other, 'ours'), (original, 'original')):
        directory = str(tmp_path / name)
        interpreter.run(django_script(DJANGO_WRITE), directory=directory)
        found.append(original.run(ALL_ROWS, directory=directory))
    ours, theirs = found
    assert ours.keys() == theirs.keys()
    for database, rows in theirs.items():
        assert ours[database] == rows, database


def test_no_increment_is_lost_when_both_serve_one_django_site(
    crew: list[Interpreter], directory: str
) -> None:
    for interpreter in crew:  # Before the work: the original cannot open while others write.
        interpreter.run(django_script('diskcache.site = cache'), directory=directory)
    script = """
    cache = diskcache.site
    cache.add('count', 0)
    for turn in range(60):
        cache.incr('count')
        cache.set(f'{number} {turn}', 'x' * 40_000 if turn % 10 == 0 else turn)
    """
    at_once(crew, script)
    script = """
    cache = diskcache.site
    cache.get('count'), [cache.get(f'{n} {turn}') for n in range(4) for turn in range(60)]
    """
    for interpreter in (crew[0], crew[3]):
        count, values = interpreter.run(script)
        assert count == 240
        assert None not in values
