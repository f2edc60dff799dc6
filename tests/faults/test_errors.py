"""Every bad input is an error that says what is wrong, after which nothing is amiss.

"Nothing is amiss" is one assertion, `assert_intact`: another process can write at once, check()
finds nothing, there is no file without a row and no row without its file. What was in the
cache before is unchanged.
"""

from __future__ import annotations

import datetime
import decimal
import fractions
import io
import math
import os
import pickle
import signal
import sqlite3
import sys
import threading
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from consistency import value_files
from interpreter import Interpreter

import diskcache

LARGE = b'x' * 100_000


class Unpicklable:
    """An object that refuses to be pickled."""

    def __reduce__(self) -> tuple:
        raise TypeError('cannot pickle this')


class Undecided:
    """An object that is neither true nor false."""

    def __bool__(self) -> bool:
        raise TypeError('retry is neither true nor false')


class TextReader:
    """A file in text mode."""

    def read(self, size: int = -1) -> str:
        """Return text, which no value file can hold."""
        return 'text'


BAD_ARGUMENTS = {
    # expire
    **{
        f'{method} with expire={value!r}': (
            lambda cache, method=method, arguments=arguments, value=value: getattr(cache, method)(
                *arguments, expire=value
            ),
            (TypeError, ValueError),
            'expire',
        )
        for method, arguments in {
            'set': ('key', LARGE),
            'add': ('new', LARGE),
            'touch': ('key',),
            'push': (LARGE,),
        }.items()
        for value in ('soon', math.nan, [1], datetime.timedelta(1), b'1', 1j)
    },
    # tag
    **{
        f'{method} with tag={value!r:.20}': (
            lambda cache, method=method, arguments=arguments, value=value: getattr(cache, method)(
                *arguments, tag=value
            ),
            TypeError,
            'tag',
        )
        for method, arguments in {
            'set': ('key', LARGE),
            'add': ('new', LARGE),
            'push': (LARGE,),
        }.items()
        for value in ([1], {}, (), Undecided)
    },
    'evict with a list': (lambda cache: cache.evict([1]), TypeError, 'tag'),
    'a tag past 64 bits': (
        lambda cache: cache.set('key', LARGE, tag=2**63),
        (TypeError, ValueError, OverflowError),
        None,
    ),
    'a tag with a surrogate': (
        lambda cache: cache.set('key', LARGE, tag='\ud800'),
        UnicodeEncodeError,
        None,
    ),
    # side
    **{
        f'{method} with side={side!r}': (
            lambda cache, method=method, arguments=arguments, side=side: getattr(cache, method)(
                *arguments, side=side
            ),
            (ValueError, TypeError),
            'side',
        )
        for method, arguments in {'push': (LARGE,), 'pull': (), 'peek': ()}.items()
        for side in ('middle', 'Front', '', None, 1, ['front'])
    },
    # prefix
    **{
        f'{method} with prefix={prefix!r}': (
            lambda cache, method=method, arguments=arguments, prefix=prefix: getattr(cache, method)(
                *arguments, prefix=prefix
            ),
            TypeError,
            'prefix',
        )
        for method, arguments in {'push': (LARGE,), 'pull': (), 'peek': ()}.items()
        for prefix in (5, b'bytes', ['p'])
    },
    # retry
    **{
        f'{method} with an undecided retry': (
            lambda cache, method=method, arguments=arguments: getattr(cache, method)(
                *arguments, retry=Undecided()
            ),
            (TypeError, ValueError),
            'retry',
        )
        for method, arguments in {
            'set': ('key', LARGE),
            'add': ('new', LARGE),
            'push': (LARGE,),
            'pop': ('missing',),
            'incr': ('missing',),
            'delete': ('missing',),
            'touch': ('missing',),
            'pull': ('missing',),
            'clear': (),
            'cull': (),
        }.items()
    },
    # read
    'reading from a list': (
        lambda cache: cache.set('key', [1], read=True),
        (TypeError, AttributeError),
        'value|read',
    ),
    'adding from a list': (
        lambda cache: cache.add('new', [1], read=True),
        (TypeError, AttributeError),
        'value|read',
    ),
    'pushing from a list': (
        lambda cache: cache.push([1], read=True),
        (TypeError, AttributeError),
        'value|read',
    ),
    'reading text': (lambda cache: cache.set('key', TextReader(), read=True), TypeError, None),
    'reading from a closed file': (
        lambda cache: cache.set('key', closed_file(), read=True),
        ValueError,
        None,
    ),
    # values
    'a value that cannot be pickled': (
        lambda cache: cache.set('key', Unpicklable()),
        TypeError,
        'cannot pickle this',
    ),
    'a function of no module': (
        lambda cache: cache.set('key', lambda: None),
        (pickle.PicklingError, AttributeError),
        None,
    ),
    'a lock as a value': (lambda cache: cache.set('key', threading.Lock()), TypeError, 'pickle'),
    'a surrogate in a value': (
        lambda cache: cache.set('key', '\ud800'),
        UnicodeEncodeError,
        'surrogates',
    ),
    'a surrogate in a large value': (
        lambda cache: cache.set('key', 'x' * 100_000 + '\ud800'),
        UnicodeEncodeError,
        'surrogates',
    ),
    'a surrogate in a pushed value': (
        lambda cache: cache.push('x' * 100_000 + '\ud800'),
        UnicodeEncodeError,
        'surrogates',
    ),
    # keys
    **{
        f'{method} with a key that cannot be pickled': (
            lambda cache, method=method, arguments=arguments: getattr(cache, method)(
                Unpicklable(), *arguments
            ),
            TypeError,
            'cannot pickle this',
        )
        for method, arguments in {
            'set': (LARGE,),
            'add': (LARGE,),
            'get': (),
            'pop': (),
            'incr': (),
            'delete': (),
            'touch': (),
            'read': (),
            '__getitem__': (),
            '__delitem__': (),
            '__contains__': (),
            '__setitem__': (LARGE,),
        }.items()
    },
    **{
        f'{method} with a surrogate in the key': (
            lambda cache, method=method, arguments=arguments: getattr(cache, method)(
                'key\ud800', *arguments
            ),
            UnicodeEncodeError,
            'surrogates',
        )
        for method, arguments in {
            'set': (LARGE,),
            'get': (),
            'pop': (),
            'incr': (),
            'delete': (),
            '__contains__': (),
        }.items()
    },
    # missing keys
    'a missing key': (lambda cache: cache['missing'], KeyError, 'missing'),
    'deleting a missing key': (lambda cache: cache.__delitem__('missing'), KeyError, 'missing'),
    'reading a missing key': (lambda cache: cache.read('missing'), KeyError, 'missing'),
    'incrementing a missing key': (
        lambda cache: cache.incr('missing', default=None),
        KeyError,
        'missing',
    ),
    # settings
    'an unknown policy': (
        lambda cache: cache.reset('eviction_policy', 'random'),
        ValueError,
        'eviction_policy|random',
    ),
    'an unknown setting': (lambda cache: cache.reset('nonexistent'), (ValueError, KeyError), None),
    # memoize
    'memoize without parentheses': (lambda cache: cache.memoize(len), TypeError, 'callable'),
}


def closed_file() -> io.BytesIO:
    """Return a file that can no longer be read."""
    stream = io.BytesIO(b'contents')
    stream.close()
    return stream


@pytest.mark.parametrize(
    ('call', 'error', 'message'), BAD_ARGUMENTS.values(), ids=BAD_ARGUMENTS.keys()
)
@pytest.mark.parametrize('in_transaction', [False, True], ids=['alone', 'in a transaction'])
def test_a_bad_argument_is_an_error_after_which_nothing_is_amiss(
    cache: diskcache.Cache,
    assert_intact: Callable,
    call: Callable,
    error: type | tuple[type, ...],
    message: str | None,
    in_transaction: bool,
) -> None:
    cache.set('key', 'old', tag='tag')
    cache.set('file', LARGE)
    with cache.transact() if in_transaction else cache:
        with pytest.raises(error, match=message):
            call(cache)
    assert list(cache) == ['key', 'file']
    assert cache.get('key', tag=True) == ('old', 'tag')
    assert cache['file'] == LARGE
    assert_intact(cache)


@pytest.mark.parametrize('disk', [int, object(), None, 'Disk', diskcache.Cache])
def test_a_disk_that_is_no_subclass_of_disk_is_refused(directory: str, disk: object) -> None:
    with pytest.raises(ValueError, match=r'^disk must subclass diskcache\.Disk$'):
        diskcache.Cache(directory, disk=disk)
    assert not os.path.exists(directory)


@pytest.mark.parametrize('timeout', ['soon', [1], object()])
def test_a_timeout_that_is_no_number_is_refused(directory: str, timeout: object) -> None:
    with pytest.raises(TypeError, match='timeout'):
        diskcache.Cache(directory, timeout=timeout)
    with diskcache.Cache(directory) as cache:
        assert cache.set('key', 1)


@pytest.mark.skipif(sys.version_info < (3, 11), reason='exceptions have no notes')
def test_what_cannot_be_pushed_names_the_directory(directory: str) -> None:
    """It has no key yet that could be named."""
    with diskcache.Cache(directory) as cache:
        with pytest.raises((AttributeError, pickle.PicklingError)) as raised:
            cache.push(lambda: 0)
        assert raised.value.__notes__ == [f'diskcache: storing a value in {directory!r}']


@pytest.mark.parametrize('kind', ['Cache', 'FanoutCache'])
def test_a_timeout_is_any_number(kind: str, directory: str) -> None:
    """Those of numpy, for instance, are neither int nor float, and sqlite3 takes them."""
    for timeout in (decimal.Decimal('0.5'), fractions.Fraction(1, 2)):
        with getattr(diskcache, kind)(directory, timeout=timeout) as cache:
            cache['key'] = 1
            assert cache['key'] == 1
            assert cache.timeout is timeout


@pytest.mark.parametrize('kind', ['Cache', 'FanoutCache'])
def test_a_directory_is_what_str_says(kind: str, directory: str) -> None:
    """Some classes for paths, and lazy texts, are neither str nor os.PathLike."""

    class Lazy:
        def __str__(self) -> str:
            return directory

    with (
        pytest.warns(diskcache.CacheWarning, match='the directory is no path'),
        getattr(diskcache, kind)(Lazy()) as cache,
    ):
        assert cache.directory == directory


@pytest.mark.parametrize('policy', ['random', '', None, 5])
def test_an_unknown_policy_is_refused_and_not_stored(directory: str, policy: object) -> None:
    with pytest.raises((ValueError, TypeError), match='eviction_policy'):
        diskcache.Cache(directory, eviction_policy=policy)
    with diskcache.Cache(directory) as cache:
        assert cache.eviction_policy == 'least-recently-stored'
        assert cache.set('key', 1)


def test_an_argument_of_the_disk_that_it_does_not_know_is_a_type_error(directory: str) -> None:
    with pytest.raises(TypeError, match='colour'):
        diskcache.Cache(directory, disk_colour='red')
    with diskcache.Cache(directory) as cache:
        assert cache.set('key', 1)


def test_a_directory_that_is_a_file_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / 'file'
    path.write_text('contents')
    with pytest.raises((OSError, sqlite3.OperationalError)):
        diskcache.Cache(path)
    assert path.read_text() == 'contents'


def test_a_directory_that_cannot_be_made_is_an_os_error_that_names_it(tmp_path: Path) -> None:
    (tmp_path / 'file').write_text('contents')
    with pytest.raises(OSError, match='file/below'):
        diskcache.Cache(tmp_path / 'file' / 'below')


def test_a_database_that_is_none_is_an_error_and_stays_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / 'cache.db'
    path.write_bytes(b'no database' * 1000)
    with pytest.raises(sqlite3.DatabaseError):
        diskcache.Cache(tmp_path)
    assert path.read_bytes() == b'no database' * 1000


@pytest.mark.parametrize('before', range(4))
def test_a_long_message_of_sqlite_is_cut_at_the_end_of_a_character(
    cache: diskcache.Cache, assert_intact: Callable, before: int
) -> None:
    """The message is the user's own text; whichever byte it is cut at, it can be read."""
    message = 'x' * before + '\U0001f340' * 500
    cache._con.execute(
        f"CREATE TRIGGER refuse BEFORE INSERT ON Cache BEGIN SELECT RAISE(ABORT, '{message}'); END"
    )
    with pytest.raises(sqlite3.IntegrityError) as raised:
        cache['key'] = LARGE
    assert message.startswith(str(raised.value))
    assert len(str(raised.value)) > 100
    cache._con.execute('DROP TRIGGER refuse')
    assert_intact(cache)


def test_a_message_of_sqlite_in_another_encoding_can_be_read(cache: diskcache.Cache) -> None:
    """A trigger of some other program, in Latin-1: what cannot be decoded is replaced."""
    con = cache._con
    con.execute(
        'CREATE TRIGGER refuse BEFORE INSERT ON Cache '
        "BEGIN SELECT RAISE(ABORT, 'verboten: ????'); END"
    )
    con.execute('PRAGMA writable_schema = 1')
    con.execute(
        "UPDATE sqlite_master SET sql = CAST(replace(CAST(sql AS BLOB), '????', ?) AS TEXT) "
        "WHERE name = 'refuse'",
        (b'fl\xf6te',),
    )
    cache.close()
    with pytest.raises(sqlite3.IntegrityError, match='verboten: fl\ufffdte'):
        cache['key'] = 1


LOCKED_OUT = {
    'set': lambda cache: cache.set('key', LARGE),
    'add': lambda cache: cache.add('new', LARGE),
    'incr': lambda cache: cache.incr('count'),
    'decr': lambda cache: cache.decr('count'),
    'touch': lambda cache: cache.touch('key', 5),
    'pop': lambda cache: cache.pop('key'),
    'delete': lambda cache: cache.delete('key'),
    'del without retry': lambda cache: cache.__delitem__('key', retry=False),
    'push': lambda cache: cache.push(LARGE),
    'pull': lambda cache: cache.pull(),
    'evict': lambda cache: cache.evict('tag'),
    'expire': lambda cache: cache.expire(1e12),
    'clear': lambda cache: cache.clear(),
    'transact': lambda cache: cache.transact().__enter__(),
}


@pytest.mark.parametrize('call', LOCKED_OUT.values(), ids=LOCKED_OUT.keys())
@pytest.mark.parametrize('timeout', [0, 0.02])
def test_a_lock_of_another_connection_is_a_timeout(
    directory: str, locked: Callable, assert_intact: Callable, call: Callable, timeout: float
) -> None:
    with diskcache.Cache(directory, timeout=timeout) as cache:
        cache.set('key', 'old', expire=1e6, tag='tag')
        cache.push('pushed')
        with locked():
            with pytest.raises(diskcache.Timeout):
                call(cache)
            assert cache['key'] == 'old'
        assert value_files(directory) == set()
        assert list(cache) == ['key', 500000000000000]
        assert_intact(cache)


@pytest.mark.parametrize('call', ['clear', 'expire', 'evict', 'cull'])
def test_a_timeout_of_a_removal_tells_how_many_were_removed(
    directory: str, locked: Callable, call: str
) -> None:
    with diskcache.Cache(directory, timeout=0, cull_limit=0) as cache:
        cache.set('key', 1, expire=-1, tag='tag')
        with locked(), pytest.raises(diskcache.Timeout) as raised:
            getattr(cache, call)(*(['tag'] if call == 'evict' else []))
        assert raised.value.args == (0,)
        assert getattr(cache, call)(*(['tag'] if call == 'evict' else [])) == 1


READS = {
    'get': lambda cache: cache.get('key'),
    'in': lambda cache: 'key' in cache,
    'iteration': lambda cache: list(cache),
    'iterkeys': lambda cache: list(cache.iterkeys()),
}


@pytest.mark.parametrize('call', READS.values(), ids=READS.keys())
def test_a_read_that_meets_a_lock_is_a_timeout(
    directory: str, locked: Callable, call: Callable
) -> None:
    with diskcache.Cache(directory, timeout=0, sqlite_journal_mode='delete') as cache:
        cache['key'] = 1
        with locked('BEGIN EXCLUSIVE'), pytest.raises(diskcache.Timeout):
            call(cache)
        assert cache['key'] == 1


def test_retry_outlasts_the_lock_of_another_process(
    directory: str, alone: Interpreter, assert_intact: Callable
) -> None:
    script = """
    connection = sqlite3.connect(directory + '/cache.db', isolation_level=None)
    connection.execute('BEGIN IMMEDIATE')
    open(directory + '/cache.db-held', 'w').close()
    time.sleep(0.3)
    connection.execute('COMMIT').fetchall()
    """
    with diskcache.Cache(directory, timeout=0) as cache:
        alone.start(script, directory=directory)
        while not os.path.exists(f'{directory}/cache.db-held'):
            assert alone.process.poll() is None
        assert cache.set('key', LARGE, retry=True)
        alone.result()
        assert cache['key'] == LARGE
        assert_intact(cache)


@pytest.mark.parametrize('operation', ['set', 'get'])
def test_retry_pauses_between_attempts_to_open_a_locked_file(
    directory: str, alone: Interpreter, operation: str
) -> None:
    """Under an exclusive lock not even the settings can be read: no session can be opened."""

    def scenario(directory: str, operation: str) -> None:
        def use() -> object:
            if operation == 'get':
                return cache.get('before', retry=True)
            return cache.set('key', 2, retry=True)

        cache = diskcache.Cache(directory, timeout=0, sqlite_journal_mode='delete')
        cache['before'] = 1
        cache.close()
        locking = sqlite3.connect(
            f'{directory}/cache.db', isolation_level=None, check_same_thread=False
        )
        locking.execute('BEGIN EXCLUSIVE')

        def strike(*_: object) -> None:
            raise KeyboardInterrupt

        signal.signal(signal.SIGALRM, strike)
        signal.setitimer(signal.ITIMER_REAL, 0.1)
        try:
            use()
        except KeyboardInterrupt:
            interrupted = True
        assert interrupted
        unlocking = threading.Timer(1.0, locking.rollback)
        unlocking.start()
        began, used = time.monotonic(), time.process_time()
        assert use() == 1
        share = (time.process_time() - used) / (time.monotonic() - began)
        assert share < 0.6, share  # A processor of its own is what a loop without pauses takes.
        unlocking.join()
        assert cache.check() == []

    alone.run(scenario, directory=directory, operation=operation)


def test_an_error_has_code_and_name_as_those_of_sqlite3_have(cache: diskcache.Cache) -> None:
    """Programs look at them, and the original's errors are of sqlite3."""
    (pages,) = cache._sql('PRAGMA page_count').fetchone()
    cache._sql(f'PRAGMA max_page_count = {pages}')
    with pytest.raises(sqlite3.OperationalError) as raised:
        cache['key'] = bytes(30_000)
    assert (raised.value.sqlite_errorcode, raised.value.sqlite_errorname) == (13, 'SQLITE_FULL')
    with pytest.raises(sqlite3.OperationalError) as of_sqlite:
        cache._sql('INSERT INTO Cache (key, value) VALUES (1, ?)', (bytes(30_000),))
    for name in ('sqlite_errorcode', 'sqlite_errorname'):
        if hasattr(of_sqlite.value, name):  # from Python 3.11 on
            assert getattr(raised.value, name) == getattr(of_sqlite.value, name)


def test_a_cursor_that_keeps_an_old_snapshot_open_is_an_error_at_once(
    cache: diskcache.Cache, other: Interpreter, assert_intact: Callable
) -> None:
    """No waiting ends that, not even with retry=True: the thread itself must do something."""
    for number in range(10):
        cache[number] = number
    cursor = cache._con.execute('SELECT key FROM Cache')
    cursor.fetchone()
    other.run("Cache(directory)['other'] = 1", directory=cache.directory)
    for write in (
        lambda: cache.set('key', LARGE),
        lambda: cache.set('key', LARGE, retry=True),
        lambda: cache.delete(1, retry=True),
        lambda: cache.transact(retry=True).__enter__(),
    ):
        with pytest.raises(sqlite3.OperationalError, match='cursor') as raised:
            write()
        assert raised.value.sqlite_errorcode == 517
        named = hasattr(sqlite3, 'SQLITE_BUSY_SNAPSHOT')  # from Python 3.11 on
        name = 'SQLITE_BUSY_SNAPSHOT' if named else 'SQLITE_BUSY'
        assert raised.value.sqlite_errorname == name
    thread = threading.Thread(target=lambda: cache.set('from a thread', 1))
    thread.start()
    thread.join()
    cursor.close()
    assert cache.set('key', LARGE)
    assert cache['from a thread'] == 1
    assert_intact(cache)


def test_a_stored_journal_mode_that_cannot_be_set_is_a_warning(
    directory: str,
    locked: Callable,
    assert_intact: Callable,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Somebody else has made a log of it and has it open; nobody can change that then."""
    with diskcache.Cache(directory, sqlite_journal_mode='delete') as cache:
        cache['before'] = 1
    with closing(sqlite3.connect(f'{directory}/cache.db', isolation_level=None)) as con:
        assert con.execute('PRAGMA journal_mode = wal').fetchone() == ('wal',)
        assert con.execute('SELECT count(*) FROM Cache').fetchone() == (1,)
        with diskcache.Cache(directory, timeout=5) as cache:
            for turn in range(3):
                assert cache.get('before', retry=True) == 1
                cache[turn] = LARGE
                cache.close()
            (record,) = caplog.records
            assert (record.name, record.levelname) == ('diskcache.directory', 'WARNING')
            assert directory in record.getMessage()
            assert con.execute('PRAGMA journal_mode').fetchone() == ('wal',)
    with diskcache.Cache(directory) as cache:
        assert cache._sql('PRAGMA journal_mode').fetchone() == ('delete',)
        assert len(cache) == 4
        assert_intact(cache)
    assert len(caplog.records) == 1


def test_threads_that_open_sessions_on_such_a_file_do_not_wait_for_each_other(
    directory: str, alone: Interpreter
) -> None:
    """Each would have the file open, and wait for the other to close it, once somebody else has."""

    def scenario(directory: str) -> None:
        cache = diskcache.Cache(directory, sqlite_journal_mode='delete')
        cache.close()
        con = sqlite3.connect(f'{directory}/cache.db', isolation_level=None)
        con.execute('PRAGMA journal_mode = wal')
        con.execute('SELECT count(*) FROM Cache').fetchall()
        outcomes = []
        threads = [
            threading.Thread(target=lambda key=key: outcomes.append(cache.set(key, 1, retry=True)))
            for key in 'abc'
        ]
        for thread in threads:
            thread.start()
        time.sleep(0.2)
        con.close()
        for thread in threads:
            thread.join()
        assert outcomes == [True] * 3
        assert cache.check() == []

    alone.run(scenario, directory=directory)


def test_waiting_for_a_lock_can_be_interrupted(directory: str, alone: Interpreter) -> None:
    script = """
    connection = sqlite3.connect(directory + '/cache.db', isolation_level=None)
    connection.execute('BEGIN IMMEDIATE')
    outcomes = []
    def strike(*_): raise KeyboardInterrupt
    signal.signal(signal.SIGALRM, strike)
    with Cache(directory, timeout=50) as cache:
        for retry in (False, True):
            signal.setitimer(signal.ITIMER_REAL, 0.05)
            try:
                cache.set('key', 'x' * 100_000, retry=retry)
            except KeyboardInterrupt:
                outcomes.append('interrupted')
    connection.execute('ROLLBACK')
    with Cache(directory, timeout=0) as cache:
        outcomes.append(cache.set('key', 1))
        outcomes.append(cache.check())
    outcomes
    """
    diskcache.Cache(directory).close()
    expected = ['interrupted', 'interrupted', True, []]
    assert alone.run(script, directory=directory) == expected


@pytest.mark.parametrize(
    'call',
    [lambda cache: cache.set('key', 1), lambda cache: cache.incr('key'),
     lambda cache: cache.clear(), lambda cache: cache.compact(),
     lambda cache: cache.set_many({'key': 1}), lambda cache: cache.transact().__enter__()],
    ids=['set', 'incr', 'clear', 'compact', 'set_many', 'transact'],
)  # fmt: skip
def test_a_timeout_says_where_for_how_long_and_who(
    directory: str, locked: Callable, call: Callable
) -> None:
    """Its arguments stay the original's: none, or the number of items that were removed."""
    with diskcache.Cache(directory, timeout=0.05) as cache:
        with locked():
            with pytest.raises(diskcache.Timeout) as caught:
                call(cache)
        assert directory in str(caught.value)
        assert '0.05 seconds' in str(caught.value)
        assert 'this very thread' not in str(caught.value)
        assert caught.value.args in ((), (0,))
        with diskcache.Cache(directory) as other, other.transact():
            with pytest.raises(diskcache.Timeout, match='this very thread'):
                call(cache)
    assert str(diskcache.Timeout()) == ''
    assert str(diskcache.Timeout(5)) == '5'


@pytest.mark.parametrize(
    'call',
    [lambda cache: cache.set('key', lambda: None), lambda cache: cache.add('key', lambda: None),
     lambda cache: cache.set_many({'other': 1, 'key': lambda: None}),
     lambda cache: cache.update({'key': lambda: None})],
    ids=['set', 'add', 'set_many', 'update'],
)  # fmt: skip
def test_a_value_that_cannot_be_pickled_is_named(cache: diskcache.Cache, call: Callable) -> None:
    """The pickler's error does not say which of many items it is about."""
    with pytest.raises((AttributeError, TypeError, pickle.PicklingError)) as caught:
        call(cache)
    assert "'key'" in caught.value.__notes__[0]
    assert cache.directory in caught.value.__notes__[0]
