"""Directories go back and forth between this package and the original.

What one writes the other reads, the rows are the same byte for byte, and both can be at work
in one directory at the same time.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import PACKAGE
from interpreter import Interpreter

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
    script = """
    answers = []
    for policy in diskcache.EVICTION_POLICY:
        with Cache(directory + policy, eviction_policy=policy, tag_index=True) as cache:
            answers.append(sorted(cache._sql(
                "SELECT type, name, tbl_name FROM sqlite_master"
                " WHERE name NOT LIKE 'sqlite_stat%'").fetchall()))
            answers.append(cache._sql('PRAGMA table_info(Cache)').fetchall())
            answers.append(cache._sql('PRAGMA table_info(Settings)').fetchall())
            answers.append(cache._sql('PRAGMA index_xinfo(Cache_key_raw)').fetchall())
            answers.append(cache._sql('PRAGMA auto_vacuum').fetchall())
            answers.append(cache._sql('PRAGMA page_size').fetchall())
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
def crew(original_package: Path) -> Iterator[list[Interpreter]]:
    """Two processes with this package and two with the original."""
    with (
        Interpreter(PACKAGE) as a,
        Interpreter(PACKAGE) as b,
        Interpreter(original_package) as c,
        Interpreter(original_package) as d,
    ):
        yield [a, b, c, d]


def at_once(crew: list[Interpreter], script: str, **names: object) -> list:
    """Run `script` in all of `crew` at the same time; `number` tells each which one it is."""
    for number, interpreter in enumerate(crew):
        interpreter.start(script, number=number, **names)
    return [interpreter.result() for interpreter in crew]


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
