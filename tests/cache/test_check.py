"""check: what it reports, what it repairs, and what it leaves alone."""

from __future__ import annotations

import datetime
import io
import os
import pickle
import re
import signal
import sys
import threading
import time
import types
import uuid
import warnings
import zlib
from array import array
from collections import Counter, OrderedDict, defaultdict, deque
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from consistency import reports, stored_filenames, value_files
from interpreter import Interpreter

import diskcache
from diskcache import EmptyDirWarning, UnknownFileWarning
from diskcache.check import UnloadableWarning

LARGE = b'x' * 100_000
LONG = 400 * 24 * 60 * 60  # Seconds; longer than any grace time.


@pytest.fixture(autouse=True)
def few_rows(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """Have each cache looked at as one of many rows; undo() gives the usual bound back."""
    monkeypatch.setattr('diskcache.check._FEW_ROWS', 0)
    return monkeypatch


def value_path(cache: diskcache.Cache, key: str = 'key') -> Path:
    """Return the path of the value file of `key`."""
    select = 'SELECT filename FROM Cache WHERE key = ?'
    return Path(cache.directory, cache._sql(select, (key,)).fetchone()[0])


def age(path: Path) -> None:
    """Make `path` look as if it had been written long ago."""
    then = time.time() - LONG
    os.utime(path, (then, then))


def orphan(cache: diskcache.Cache, old: bool) -> Path:
    """Make a value file without a row."""
    path = Path(cache.directory, cache.disk.filename()[0])
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(LARGE)
    if old:
        age(path)
    return path


def test_a_sound_cache_has_nothing_to_report(cache: diskcache.Cache) -> None:
    for number in range(50):
        cache[number] = LARGE if number % 5 == 0 else number
        cache.delete(number - 7)
    cache.push('x' * 50_000)
    assert cache.check() == []
    assert cache.check(fix=True) == []
    assert cache.check(fix=False, retry=True) == []
    assert cache[45] == LARGE


def test_a_missing_file_is_reported_and_its_row_removed(
    cache: diskcache.Cache, assert_intact: Callable
) -> None:
    cache['key'], cache['other'] = LARGE, LARGE
    path = value_path(cache)
    cache.disk.remove(os.path.relpath(path, cache.directory))
    assert reports(cache) == [(UserWarning, f'file not found: {path}')]
    assert reports(cache, fix=True) == [(UserWarning, f'file not found: {path}')]
    assert list(cache) == ['other']
    assert_intact(cache)


@pytest.mark.parametrize('contents', [b'', b'short', LARGE + b'longer'])
def test_a_file_of_the_wrong_size_is_reported_and_its_row_removed(
    cache: diskcache.Cache, assert_intact: Callable, contents: bytes
) -> None:
    """It cannot be told from half a value, which must not become a hit by being mended."""
    cache['key'] = LARGE
    path = value_path(cache)
    path.write_bytes(contents)
    text = f'wrong file size: {path}, {len(contents)} != {len(LARGE)}'
    assert reports(cache) == [(UserWarning, text)]
    assert (UserWarning, text) in reports(cache, fix=True)
    assert_intact(cache)
    assert list(cache) == []


def test_an_old_orphan_is_reported_and_removed(
    cache: diskcache.Cache, assert_intact: Callable
) -> None:
    cache['key'] = LARGE
    path = orphan(cache, old=True)
    assert reports(cache) == [(UnknownFileWarning, f'unknown file: {path}')]
    assert (UnknownFileWarning, f'unknown file: {path}') in reports(cache, fix=True)
    assert not path.exists()
    assert cache['key'] == LARGE
    assert_intact(cache)


def test_what_is_left_of_files_that_were_being_written_is_reported_and_removed(
    cache: diskcache.Cache,
) -> None:
    names = [
        'ab/cd/0123456789abcdef0123456789ab.cache.db-tmp',
        'cache.db-123-140123456789-new',
    ]
    os.makedirs(os.path.join(cache.directory, 'ab/cd'))
    paths = [Path(cache.directory, name) for name in names]
    for path in paths:
        path.touch()
    assert cache.check(fix=True) == []  # They may be just being written.
    for path in paths:
        age(path)
    found = {text for _, text in reports(cache, fix=True)}
    assert {f'unknown file: {path}' for path in paths} <= found
    assert not any(path.exists() for path in paths)


def test_a_fresh_orphan_is_reported_but_not_removed(cache: diskcache.Cache) -> None:
    path = orphan(cache, old=False)
    assert (UnknownFileWarning, f'unknown file: {path}') in reports(cache, fix=True)
    assert path.exists()


USERS_FILES = [
    'notes.txt',
    'ab/notes.txt',
    'ab/cd/notes.txt',
    'ab/cd/notes.val',
    'ab/cd/0123456789abcdef0123456789ab',
    'ab/cd/0123456789ABCDEF0123456789AB.val',
    'ab/cd/0123456789abcdef0123456789a.val',
    'ab/cd/0123456789abcdef0123456789abc.val',
    'ab/cd/ef/0123456789abcdef0123456789ab.val',
    'ab/0123456789abcdef0123456789ab.val',
    'abc/cd/0123456789abcdef0123456789ab.val',
    'zz/cd/0123456789abcdef0123456789ab.val',
    '0123456789abcdef0123456789ab.val',
]


@pytest.mark.parametrize('name', USERS_FILES)
def test_a_file_of_the_user_is_reported_but_never_removed(
    cache: diskcache.Cache, name: str
) -> None:
    path = Path(cache.directory, name)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text('of the user')
    age(path)
    assert reports(cache) == [(UnknownFileWarning, f'unknown file: {path}')]
    cache.check(fix=True)
    assert path.read_text() == 'of the user'


def test_files_named_after_the_database_are_not_reported(cache: diskcache.Cache) -> None:
    for name in ('cache.db-journal', 'cache.db.backup', 'my-cache.db', 'cache.db-anything'):
        path = Path(cache.directory, name)
        path.touch()
        age(path)
    assert cache.check() == []
    assert cache.check(fix=True) == []
    assert Path(cache.directory, 'my-cache.db').exists()


@pytest.mark.parametrize('place', ['nested', 'deep/er/nested', '000', 'cache/name', 'ab/cd'])
def test_a_cache_inside_the_cache_is_left_alone(cache: diskcache.Cache, place: str) -> None:
    with diskcache.Cache(os.path.join(cache.directory, place)) as nested:
        nested['key'] = LARGE
        age(value_path(nested))
        orphaned = orphan(nested, old=True)
        cache.check(fix=True)
        assert nested['key'] == LARGE
        assert orphaned.exists()
        assert not any(issubclass(category, UnknownFileWarning) for category, _ in reports(cache))


def test_links_are_not_followed(cache: diskcache.Cache, tmp_path: Path) -> None:
    outside = tmp_path / 'outside' / 'ab' / 'cd'
    outside.mkdir(parents=True)
    path = outside / '0123456789abcdef0123456789ab.val'
    path.write_text('outside')
    age(path)
    os.symlink(tmp_path / 'outside' / 'ab', os.path.join(cache.directory, 'ab'))
    cache.check(fix=True)
    assert path.read_text() == 'outside'


def test_an_empty_directory_is_reported_and_removed(cache: diskcache.Cache) -> None:
    path = Path(cache.directory, 'ab')
    path.mkdir()
    age(path)
    assert reports(cache) == [(EmptyDirWarning, f'empty directory: {path}')]
    assert reports(cache, fix=True) == [(EmptyDirWarning, f'empty directory: {path}')]
    assert not path.exists()
    assert cache.check() == []


def test_empty_directories_in_empty_directories_are_all_removed_at_once(
    cache: diskcache.Cache,
) -> None:
    """A process that is killed while it makes directories, or removes them, leaves such."""
    cache['key'] = LARGE
    taken = value_path(cache, 'key').relative_to(cache.directory).parts[0]
    ab, cd = [name for name in ('ab', 'cd', 'ef') if name != taken][:2]
    for name in (f'{ab}/cd', f'{ab}/ef/12/34', cd):
        os.makedirs(os.path.join(cache.directory, name))
    names = {ab, f'{ab}/cd', f'{ab}/ef', f'{ab}/ef/12', f'{ab}/ef/12/34', cd}
    expected = {(EmptyDirWarning, f'empty directory: {cache.directory}/{name}') for name in names}
    assert set(reports(cache)) == expected
    assert set(reports(cache, fix=True)) == expected
    assert reports(cache) == []
    assert cache['key'] == LARGE


def test_the_directories_of_what_is_removed_go_too(cache: diskcache.Cache) -> None:
    for key in ('missing', 'pipe', 'sound'):
        cache[key] = LARGE
    value_path(cache, 'missing').unlink()
    path = value_path(cache, 'pipe')
    path.unlink()
    path.mkdir()
    orphaned = orphan(cache, old=True)
    assert len(reports(cache, fix=True)) >= 3
    assert reports(cache) == []
    assert not orphaned.parent.exists() or orphaned.parent == value_path(cache, 'sound').parent
    assert not path.exists()
    assert list(cache) == ['sound']


def test_a_value_named_otherwise_than_its_path_is_written_is_sound(directory: str) -> None:
    class Naming(diskcache.Disk):
        def filename(self, key: object = None, value: object = None) -> tuple[str, str]:
            return f'a//./{key}', os.path.join(self._directory, f'a//./{key}')

    with diskcache.Cache(f'{directory}/../{os.path.basename(directory)}/', disk=Naming) as cache:
        cache['key'] = LARGE
        assert cache.check(fix=True) == []
        assert cache['key'] == LARGE


@pytest.mark.parametrize(
    ('setting', 'text'),
    [
        ('count', 'Settings.count != COUNT(Cache.key); 8 != 3'),
        ('size', 'Settings.size != SUM(Cache.size); 100005 != 100000'),
    ],
)
def test_wrong_metadata_is_reported_and_repaired(
    cache: diskcache.Cache, assert_intact: Callable, setting: str, text: str
) -> None:
    cache['a'], cache['b'], cache['c'] = 1, 2, LARGE
    cache._sql('UPDATE Settings SET value = value + 5 WHERE key = ?', (setting,)).fetchall()
    assert reports(cache) == [(UserWarning, text)]
    assert reports(cache, fix=True) == [(UserWarning, text)]
    assert cache.check() == []
    assert (len(cache), cache.reset('size')) == (3, 100_000)
    assert_intact(cache)


def test_without_fix_nothing_is_changed(cache: diskcache.Cache) -> None:
    cache['key'], cache['missing'] = LARGE, LARGE
    value_path(cache, 'missing').unlink()
    path = orphan(cache, old=True)
    cache._sql("UPDATE Settings SET value = 99 WHERE key = 'count'").fetchall()
    first = sorted(map(str, reports(cache)))
    assert sorted(map(str, reports(cache))) == first
    assert path.exists()
    assert cache._sql('SELECT COUNT(*) FROM Cache').fetchone() == (2,)


@pytest.mark.parametrize('action', ['ignore', 'error', 'once', 'always', 'default'])
def test_reports_do_not_depend_on_the_filters_for_warnings(
    cache: diskcache.Cache, action: str
) -> None:
    Path(cache.directory, 'unknown').touch()
    with warnings.catch_warnings():
        warnings.simplefilter(action)
        for _ in range(2):
            (warning,) = cache.check()
            assert issubclass(warning.category, UnknownFileWarning)
            assert isinstance(warning, warnings.WarningMessage)


def test_reports_do_not_appear_as_warnings(
    cache: diskcache.Cache, recwarn: pytest.WarningsRecorder
) -> None:
    Path(cache.directory, 'unknown').touch()
    assert len(cache.check()) == 1
    assert len(recwarn) == 0


def test_the_filters_of_other_threads_are_left_alone(cache: diskcache.Cache) -> None:
    Path(cache.directory, 'unknown').touch()
    filters, show = list(warnings.filters), warnings.showwarning
    cache.check()
    assert warnings.filters == filters
    assert warnings.showwarning is show


def test_a_damaged_database_is_reported(cache: diskcache.Cache) -> None:
    for number in range(100):
        cache[number] = 'x' * 100
    cache._sql('PRAGMA writable_schema = ON').fetchall()
    cache._sql(
        "UPDATE sqlite_master SET sql = replace(sql, 'key, raw', 'raw, key')"
        " WHERE name = 'Cache_key_raw'"
    ).fetchall()
    cache.close()
    with diskcache.Cache(cache.directory) as damaged:
        found = damaged.check()
    assert any('Cache_key_raw' in str(warning.message) for warning in found)


@pytest.mark.parametrize('fix', [False, True])
def test_a_sound_cache_is_checked_without_the_lock(
    directory: str, locked: Callable, fix: bool
) -> None:
    with diskcache.Cache(directory, timeout=0) as cache:
        cache['key'] = LARGE
        with locked():
            assert cache.check(fix=fix) == []


@pytest.mark.parametrize('fix', [False, True])
@pytest.mark.parametrize('timeout', [0, 0.01])
def test_what_seems_wrong_in_a_locked_cache_is_a_timeout(
    directory: str, locked: Callable, fix: bool, timeout: float
) -> None:
    """It may be a row, or a file, of the one who has the lock."""
    with diskcache.Cache(directory, timeout=timeout) as cache:
        cache['key'] = LARGE
        value_path(cache).unlink()
        with locked(), pytest.raises(diskcache.Timeout):
            cache.check(fix=fix)
        assert len(reports(cache, fix)) > 0


@pytest.mark.parametrize('fix', [False, True])
def test_with_retry_a_check_waits_for_the_lock(directory: str, locked: Callable, fix: bool) -> None:
    with diskcache.Cache(directory, timeout=0.01) as cache:
        cache['key'] = LARGE
        path = value_path(cache)
        path.unlink()
        with locked():
            thread = threading.Thread(target=lambda: done.append(cache.check(fix, retry=True)))
            done: list[Any] = []
            thread.start()
            thread.join(0.1)
            assert done == []
        thread.join()
        ((warning, *_),) = done
        assert str(warning.message) == f'file not found: {path}'


def test_many_damages_at_once_are_all_repaired(
    cache: diskcache.Cache, assert_intact: Callable
) -> None:
    for number in range(30):
        cache[str(number)] = LARGE
    for number in range(0, 30, 3):
        value_path(cache, str(number)).unlink()
    for number in range(1, 30, 3):
        os.truncate(value_path(cache, str(number)), number)
    orphans = [orphan(cache, old=True) for _ in range(5)]
    cache._sql("UPDATE Settings SET value = value * 2 WHERE key IN ('count', 'size')").fetchall()
    cache.check(fix=True)
    cache.check(fix=True)  # What became empty by the first.
    assert all(cache[str(number)] == LARGE for number in range(2, 30, 3))
    assert not any(path.exists() for path in orphans)
    assert value_files(cache.directory) == stored_filenames(cache)
    assert_intact(cache)


def outcomes(cache: diskcache.Cache) -> dict[str, tuple[bool, bool, str]]:
    """Mend a cache; return, by its text, what has become of each thing found."""
    return {
        str(warning.message).replace(cache.directory, ''): (
            warning.message.mended,
            warning.message.harmless,
            warning.message.reason,
        )
        for warning in cache.check(fix=True)
    }


def test_each_warning_tells_whether_it_has_been_mended(cache: diskcache.Cache) -> None:
    cache['key'], cache['pickle'] = LARGE, ('a',)
    path = value_path(cache)
    path.unlink()
    cache._sql("UPDATE Cache SET value = ? WHERE key = 'pickle'", (b'\x80\x63N.',))
    new, old = orphan(cache, old=False), orphan(cache, old=True)
    Path(cache.directory, 'README').write_text('of the user')
    assert not any(warning.message.mended for warning in cache.check())
    found = {text.split(': ')[0]: outcome for text, outcome in outcomes(cache).items()}
    assert found.keys() == {'file not found', 'damaged pickle', 'unknown file'}
    assert found['file not found'][:2] == (True, False)
    assert found['damaged pickle'][:2] == (False, False)
    found = outcomes(cache)
    assert found.pop('unknown file: /README') == (False, True, 'it is none of the cache')
    mended, harmless, reason = found.pop(f'unknown file: {str(new)[len(cache.directory) :]}')
    assert (mended, harmless) == (False, True)
    assert 'just being stored' in reason
    assert len(found) == 1
    assert new.exists()
    assert not old.exists()


def test_warnings_name_the_line_that_called(cache: diskcache.Cache) -> None:
    Path(cache.directory, 'unknown').touch()
    (warning,) = cache.check()
    assert warning.filename == __file__


MISSING = [
    'INDEX Cache_key_raw',
    'INDEX Cache_expire_time',
    'INDEX Cache_store_time',
    'INDEX Cache_tag_rowid',
    'TRIGGER Settings_count_insert',
    'TRIGGER Settings_size_update',
]


@pytest.mark.parametrize('what', MISSING)
def test_a_missing_index_or_trigger_is_reported_and_made(
    directory: str, assert_intact: Callable, what: str
) -> None:
    with diskcache.Cache(directory, tag_index=1) as cache:
        cache.set('key', LARGE, tag='tag')
        cache._sql(f'DROP {what}')
        cache._sql("UPDATE Cache SET size = 5 WHERE key = 'key'")
        if what.startswith('TRIGGER'):
            cache.set('other', LARGE, tag='tag')
        text = f'missing in the database: {what.split()[1]}'
        assert (UserWarning, text) in reports(cache)
        assert (UserWarning, text) in reports(cache, fix=True)
        assert_intact(cache)
        assert what.split()[1] in cache._inspect()[1]


def test_others_can_write_between_two_indexes_that_are_made(cache: diskcache.Cache) -> None:
    """SQLite cannot divide the making of one."""
    names = ['Cache_key_raw', 'Cache_expire_time']
    for name in names:
        cache._sql(f'DROP INDEX {name}')
    statements: list[str] = []
    cache._con.set_trace_callback(statements.append)
    assert len(reports(cache, fix=True)) == 2
    made = [re.sub('.*(Cache_[a-z_]+) ON.*|(COMMIT).*', r'\1\2', text) for text in statements]
    assert [text for text in made if text in (*names, 'COMMIT')][:4] == [
        names[0], 'COMMIT', names[1], 'COMMIT',
    ]  # fmt: skip


def test_of_rows_with_the_same_key_the_last_one_stays(
    cache: diskcache.Cache, assert_intact: Callable
) -> None:
    cache['key'] = LARGE
    path = value_path(cache)
    cache._sql('DROP INDEX Cache_key_raw')
    cache._sql(
        'INSERT INTO Cache (key, raw, store_time, access_time, mode, value)'
        " SELECT key, raw, store_time + 1, access_time, 1, 'new' FROM Cache"
    )
    assert (UserWarning, 'key stored twice: row 1') in reports(cache, fix=True)
    assert cache['key'] == 'new'
    assert not path.exists()
    assert_intact(cache)


def test_an_index_that_lacks_rows_is_made_anew(
    cache: diskcache.Cache, assert_intact: Callable
) -> None:
    """The pages of the index are those of a time at which there were fewer rows."""
    cache.set_many((number, 'x' * 100) for number in range(100))
    cache._sql('PRAGMA writable_schema = ON')
    select = "SELECT sql FROM sqlite_master WHERE name = 'Cache_key_raw'"
    ((create,),) = cache._sql(select).fetchall()
    change = "UPDATE sqlite_master SET sql = ? WHERE name = 'Cache_key_raw'"
    cache._sql(change, (f'{create} WHERE key < 0',))
    cache.close()
    cache._sql('REINDEX')  # As a partial index it has no row.
    cache._sql('PRAGMA writable_schema = ON')
    cache._sql(change, (create,))
    cache.close()
    with diskcache.Cache(cache.directory) as damaged:
        assert any('Cache_key_raw' in text for _, text in reports(damaged))
        statements: list[str] = []
        damaged._con.set_trace_callback(statements.append)
        found = damaged.check(fix=True)
        # Not the others, since it has the write lock meanwhile.
        assert [text for text in statements if 'REINDEX' in text] == ['REINDEX "Cache_key_raw"']
        assert any('Cache_key_raw' in str(warning.message) for warning in found)
        assert all(warning.message.mended for warning in found)
        assert damaged[50] == 'x' * 100
        assert_intact(damaged)


def statements_of_check(cache: diskcache.Cache) -> list[str]:
    """Return the checks of SQLite's that a check of a sound cache runs."""
    statements: list[str] = []
    cache._con.set_trace_callback(statements.append)
    assert cache.check() == []
    cache._con.set_trace_callback(None)
    return [text for text in statements if text.startswith('PRAGMA') and '_check' in text]


def test_rows_are_not_looked_up_in_each_index(directory: str, original: Interpreter) -> None:
    """SQLite's integrity_check takes three times as long as comparing each index with the table."""
    original.run(
        f"""
cache = diskcache.Cache({directory!r}, tag_index=1)
cache.set(1, 'a', tag='a', expire=1000)
cache.set('b', 'b')
cache.close()
"""
    )
    for tag_index in (1, 0):
        with diskcache.Cache(directory, tag_index=tag_index) as cache:
            cache.set((1, 2), None, tag='a', expire=1000)
            checks = statements_of_check(cache)
            assert checks == ['PRAGMA quick_check', 'PRAGMA integrity_check(Settings)']


def test_few_rows_are_left_to_sqlite(cache: diskcache.Cache, few_rows: pytest.MonkeyPatch) -> None:
    few_rows.undo()
    cache['key'] = 'value'
    assert statements_of_check(cache) == ['PRAGMA integrity_check']


def test_counters_are_compared_in_the_pass_over_rows_that_are_few_and_plain(
    cache: diskcache.Cache,
) -> None:
    def counts() -> bool:
        statements: list[str] = []
        cache._con.set_trace_callback(statements.append)
        assert cache.check() == []
        cache._con.set_trace_callback(None)
        return any('COUNT(key)' in text for text in statements)

    cache.set_many((number, number) for number in range(100))
    cache['file'] = LARGE
    assert not counts()
    cache.set_many((number, number) for number in range(40_000))
    assert counts()


def test_counters_are_compared_after_rows_have_been_mended(cache: diskcache.Cache) -> None:
    """With a trigger that does not count, where the counters were right before."""
    cache['key'] = LARGE
    value_path(cache).unlink()
    cache._sql('DROP TRIGGER Settings_count_delete')
    cache._sql('CREATE TRIGGER Settings_count_delete AFTER DELETE ON Cache BEGIN SELECT 1; END')
    assert [text.split(':')[0] for _, text in reports(cache, fix=True)] == [
        'file not found',
        'Settings.count != COUNT(Cache.key); 1 != 0',
    ]
    assert reports(cache) == []


@pytest.mark.parametrize(
    'create',
    [
        'CREATE TABLE mine (x)',
        'CREATE INDEX mine ON Cache (value)',
        'CREATE INDEX mine ON Cache (length(key))',
        'CREATE INDEX mine ON Cache (tag COLLATE NOCASE)',
        'CREATE INDEX mine ON Cache (tag DESC)',
        'CREATE INDEX mine ON Cache (tag) WHERE mode = 1',
        'CREATE INDEX mine ON Settings (value)',
    ],
)
def test_what_a_user_has_added_to_the_database_is_left_to_sqlite(
    cache: diskcache.Cache, create: str
) -> None:
    cache['key'] = 'value'
    cache._sql(create)
    assert statements_of_check(cache) == ['PRAGMA integrity_check']


@pytest.mark.parametrize(
    ('index', 'was', 'fault'),
    [
        ('Cache_store_time', 'ON Cache (access_time)', 'missing'),
        ('Cache_store_time', 'ON Cache (store_time DESC)', ''),
        ('Cache_store_time', 'ON Cache (store_time) WHERE store_time > 5', 'missing'),
        ('Cache_expire_time', 'ON Cache (access_time) WHERE access_time > 0', 'missing'),
        ('Cache_key_raw', 'ON Cache (key, access_count)', 'missing'),
    ],
)
def test_an_index_with_other_entries_than_rows_is_found(
    cache: diskcache.Cache, index: str, was: str, fault: str
) -> None:
    """Its pages are those of another index."""
    for number in range(20):
        cache.set(number, number, expire=1000 + number)
    cache._sql(
        'UPDATE Cache SET store_time = key, access_time = key + (key > 10), access_count = key'
    )
    ((create,),) = cache._sql('SELECT sql FROM sqlite_master WHERE name = ?', (index,)).fetchall()
    change = 'UPDATE sqlite_master SET sql = ? WHERE name = ?'
    for text, statement in (
        (create[: create.index('ON Cache')] + was, f'REINDEX {index}'),
        (create, 'SELECT 1'),
    ):
        cache._sql('PRAGMA writable_schema = ON')
        cache._sql(change, (text, index))
        cache.close()
        cache._sql(statement)
    with diskcache.Cache(cache.directory) as damaged:
        found = [text for _, text in reports(damaged)]
        assert any(index in text and fault in text for text in found)


@pytest.mark.parametrize('where', ['', ' WHERE tag IS NOT NULL'])
def test_an_entry_that_names_another_row_than_it_is_of_is_found(
    cache: diskcache.Cache, assert_intact: Callable, where: str
) -> None:
    """The index of tags has the rowid twice in each entry, and by the first rows are found."""
    cache.create_tag_index()
    for number in range(1, 100):
        cache.set(number, number, tag='tag' if number % 3 else None)
    cache._sql('DROP INDEX Cache_tag_rowid')
    cache._sql(f'CREATE INDEX Cache_tag_rowid ON Cache (tag, rowid){where}')
    assert statements_of_check(cache)[0] == 'PRAGMA quick_check'
    cache.close()
    database = Path(cache.directory, 'cache.db')
    content = database.read_bytes()
    entry = b'\4\x13\1\1tag'  # a header of three types: of a text of three, of two numbers
    assert content.count(entry + b'22') == 1
    database.write_bytes(content.replace(entry + b'22', entry + b'32'))
    with diskcache.Cache(cache.directory) as damaged:
        assert any('Cache_tag_rowid' in text for _, text in reports(damaged))
        assert all(warning.message.mended for warning in damaged.check(fix=True))
        assert_intact(damaged)


def test_a_text_in_the_schema_that_is_not_utf_8_is_left_to_sqlite(cache: diskcache.Cache) -> None:
    cache['key'] = 'value'
    cache._sql('CREATE TABLE mine (x DEFAULT "Disk")')
    cache._sql('PRAGMA writable_schema = ON')
    change = "UPDATE sqlite_master SET sql = CAST(replace(sql, 'Disk', x'ff') AS TEXT)"
    assert cache._sql(f"{change} WHERE name IN ('mine', 'Cache_origin')").rowcount == 2
    cache.close()
    with diskcache.Cache(cache.directory) as damaged:
        assert statements_of_check(damaged) == ['PRAGMA integrity_check']


def test_the_same_key_twice_is_found_though_the_index_has_both(cache: diskcache.Cache) -> None:
    cache._sql('DROP INDEX Cache_key_raw')
    cache._sql('CREATE INDEX Cache_key_raw ON Cache (key, raw)')
    insert = "INSERT INTO Cache(key, raw, mode, size, value) VALUES ('key', 1, 1, 0, 'value')"
    cache._sql(insert)
    cache._sql(insert)
    cache._sql('PRAGMA writable_schema = ON')
    cache._sql(
        "UPDATE sqlite_master SET sql = replace(sql, 'CREATE INDEX', 'CREATE UNIQUE INDEX')"
        " WHERE name = 'Cache_key_raw'"
    )
    cache.close()
    with diskcache.Cache(cache.directory) as damaged:
        assert any('non-unique' in text for _, text in reports(damaged))


def test_progress_is_told_without_a_lock(cache: diskcache.Cache, other: Interpreter) -> None:
    cache.set_many((number, number) for number in range(2500))
    cache['key'] = LARGE
    cache._sql('UPDATE Cache SET size = 5 WHERE key < 1500')
    told = []

    def progress(step: str, done: int, total: int | None) -> None:
        told.append((step, done, total))
        script = "Cache(directory, timeout=0).set('at once', 1)"
        assert other.run(script, directory=cache.directory)

    assert len(cache.check(fix=True, progress=progress)) == 1500
    assert told[:4] == [
        ('database', 0, None),
        ('rows', 0, 2502),
        ('rows', 1000, 2502),
        ('rows', 2000, 2502),
    ]
    assert told[-1] == ('totals', 0, None)
    assert ('files', 1, 1) in told
    assert cache.check() == []


def test_what_progress_raises_ends_the_check(cache: diskcache.Cache, other: Interpreter) -> None:
    cache.set_many((number, number) for number in range(2500))
    cache._sql('UPDATE Cache SET size = 5')

    def progress(step: str, done: int, total: int | None) -> None:
        if done == 2000:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        cache.check(fix=True, progress=progress)
    assert other.run("Cache(directory, timeout=0).set('a', 1)", directory=cache.directory)
    assert cache._sql('SELECT COUNT(*) FROM Cache WHERE size = 5').fetchone() == (500,)


@pytest.mark.slow
def test_memory_does_not_grow_with_rows_and_files(alone: Interpreter, directory: str) -> None:
    """Neither all rows nor all names of files are in memory at one time."""

    def scenario(directory: str) -> int:
        import tracemalloc

        with Cache(directory, disk_min_file_size=10, cull_limit=0) as cache:  # noqa: F821
            cache.set_many((number, 'x' * 20) for number in range(5_000))
            cache.set_many(((number, 'tuple'), (number,)) for number in range(5_000))
            assert cache.check() == []
            tracemalloc.start()
            assert cache.check() == []
            return tracemalloc.get_traced_memory()[1]

    assert alone.run(scenario, directory=directory) < 700_000


# --- pickles ---


class Marked:
    """An object of a class of a user's own; to load one leaves a mark."""

    loaded = 0

    def __init__(self, name: str = '') -> None:
        self.name = name

    def __setstate__(self, state: dict) -> None:
        type(self).loaded += 1
        self.__dict__.update(state)


def store_things(cache: diskcache.Cache, monkeypatch: pytest.MonkeyPatch) -> types.ModuleType:
    """Store values and a key of a class of a module, and return the module."""
    module = types.ModuleType('module_of_things')
    thing = type('Thing', (Marked,), {'__module__': module.__name__})
    module.Thing = thing  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, module.__name__, module)
    cache['value'] = thing('a')
    cache['large'] = [thing('b'), LARGE]
    cache[(1, thing('c'))] = 1
    cache['other'] = {'a': [1, 2.5, None, {3}], 'b': OrderedDict(a=Decimal(1))}
    return module


@pytest.mark.parametrize('gone', ['class', 'module'])
def test_pickles_whose_class_is_gone_are_reported_and_stay(
    cache: diskcache.Cache, monkeypatch: pytest.MonkeyPatch, gone: str
) -> None:
    """Another program that shares the directory may have it."""
    module = store_things(cache, monkeypatch)
    thing = module.Thing
    assert cache.check() == []
    if gone == 'class':
        del module.Thing
    else:
        del sys.modules[module.__name__]
    for fix in (True, False):
        ((category, text),) = reports(cache, fix)
        assert category is UnloadableWarning
        assert 'module_of_things.Thing is not there: the key of row 3 and 2 more' in text
    assert len(cache) == 4
    module.Thing = thing
    sys.modules[module.__name__] = module
    assert cache.check() == []
    assert cache['value'].name == 'a'


def test_check_loads_and_imports_nothing(
    cache: diskcache.Cache, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Whoever checks a directory may well not trust it."""
    store_things(cache, monkeypatch)
    monkeypatch.setattr(Marked, 'loaded', 0)
    (tmp_path / 'never_imported').mkdir()
    (tmp_path / 'never_imported' / '__init__.py').write_text('raise SystemExit')
    (tmp_path / 'never_imported' / 'part.py').write_text('raise SystemExit')
    monkeypatch.syspath_prepend(tmp_path)
    mark = tmp_path / 'mark'
    calling = f"cos\nsystem\n(S'touch {mark}'\ntR.".encode()
    for number, pickled in enumerate(
        (calling, b'cnever_imported\nThing\n.', b'cnever_imported.part\nThing\n.')
    ):
        cache[number] = (number,)
        cache._sql('UPDATE Cache SET value = ? WHERE key = ?', (pickled, number))
    assert cache.check() == []
    assert not mark.exists()
    assert Marked.loaded == 0
    cache._sql('UPDATE Cache SET value = ? WHERE key = 1', (b'cnever_imported.no\nThing\n.',))
    ((_, text),) = reports(cache)
    assert text.startswith('never_imported.no.Thing is not there: the value of key 1 ')


@pytest.mark.parametrize('where', ['key', 'value', 'file'])
def test_a_damaged_pickle_is_reported_and_stays(cache: diskcache.Cache, where: str) -> None:
    """It may be one of a newer Python."""
    damaged = b'\x80\x63N.' if where == 'value' else b'\x80\x05\x8c\xffab.'
    cache['name'] = [LARGE] if where == 'file' else ('a',)
    if where == 'file':
        path = value_path(cache, 'name')
        path.write_bytes(damaged + path.read_bytes()[len(damaged) : -1] + b'.')
    else:
        cache._sql(f'UPDATE Cache SET {where} = ?, raw = ?', (damaged, where != 'key'))
    for fix in (True, False):
        ((category, text),) = reports(cache, fix)
        assert category is UserWarning
        assert 'damaged pickle: ' in text
        assert ('the key of row 1' if where == 'key' else "key 'name' (row 1)") in text
    assert len(cache) == 1


@pytest.mark.parametrize('protocol', range(pickle.HIGHEST_PROTOCOL + 1))
def test_sound_pickles_of_all_kinds_and_protocols_are_no_problem(
    directory: str, protocol: int
) -> None:
    with diskcache.Cache(directory, disk_pickle_protocol=protocol) as cache:
        for number, value in enumerate(
            [
                OrderedDict(a=1),
                defaultdict(list, {'a': [1]}),
                Counter('abca'),
                Decimal('1.5'),
                datetime.datetime(2024, 1, 2, tzinfo=datetime.timezone.utc),
                re.compile('a'),
                {frozenset([1]), (2, 3)},
                bytearray(b'abc'),
                complex(1, 2),
                range(5),
                Path('a/b'),
                ValueError('text'),
                array('d', [1, 2]),
                Marked.__init__,
                len,
                uuid.UUID(int=5),
                deque([1], 5),
                Marked('a'),
                signal.SIGINT,
                2**100,
                os.stat('.'),
                b'x' * 2**21,
                [b'x' * 2**21, 'y' * 2**21],
            ]
        ):
            cache[number] = [value, value]
            cache[number, 'key'] = 1
        assert cache.check() == []


BOMBS = {
    # tuples of the same two, fifty deep: hashing the outermost would visit 2**50
    'a key that takes years to hash': b'\x80\x05})' + b'2\x86' * 50 + b'Ns.',
    'a set of what takes years to hash': b'\x80\x05\x8f()' + b'2\x86' * 60 + b'\x90.',
    # the number of an object that is remembered: of memory for all numbers below it
    'an object with a large number': b'\x80\x03Nr\xff\xff\xff\x7f.',
    'the same as text': b'Np2147483647\n.',
    'bytes of a terabyte': b'\x80\x05\x8e' + (2**40).to_bytes(8, 'little') + b'.',
    'a bytearray of a terabyte': b'\x80\x05\x96' + (2**40).to_bytes(8, 'little') + b'.',
    'a frame of a terabyte': b'\x80\x05\x95' + (2**40).to_bytes(8, 'little') + b'N.',
    'a hundred thousand names': b'\x80\x03'
    + b''.join(b'ca%d\nb\n0' % n for n in range(100_000))
    + b'N.',
    'many lists in each other': b'\x80\x03' + b'](' * 200_000 + b'e' * 200_000 + b'.',
}


@pytest.mark.skipif(sys.platform != 'linux', reason='needs a limit of memory')
def test_a_pickle_costs_no_more_time_and_memory_than_its_size(
    alone: Interpreter, directory: str
) -> None:
    """Whoever checks a directory may well not trust it, and a check holds the write lock."""

    def scenario(directory: str, bombs: dict[str, bytes]) -> list[str]:
        import resource

        with open('/proc/self/statm') as file:
            size = int(file.read().split()[0]) * resource.getpagesize()
        cache = diskcache.Cache(directory)
        for name, bomb in bombs.items():
            cache[name] = ('value',)
            cache._sql('UPDATE Cache SET value = ? WHERE key = ?', (bomb, name))
        cache['large'] = [bytes(50_000)]
        soft, hard = resource.getrlimit(resource.RLIMIT_AS)
        resource.setrlimit(resource.RLIMIT_AS, (size + 2**29, hard))
        found = [str(warning.message) for warning in cache.check()]
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))
        return found

    found = alone.run(scenario, directory=directory, bombs=BOMBS)
    assert not any('MemoryError' in text for text in found)
    told = [text for text in found if text.startswith('damaged pickle')]
    damaged = {name for name in BOMBS if any(repr(name) in text for text in told)}
    assert damaged == {name for name in BOMBS if 'terabyte' in name}


def spoil_json(cache: diskcache.Cache) -> list[str]:
    """Damage values of a JSONDisk; return how the reports of it end."""
    too_deep = zlib.compress(b'[' * 900_000)
    damages = {
        'cut': ('substr(value, 1, length(value) - 3)', 'it ends too early'),
        'text': ("'text'", 'it is not bytes'),
        'none': ("x'00112233'", 'incorrect header check'),
        'brace': (f"x'{zlib.compress(b'{a').hex()}'", 'double quotes: line 1 column 2 (char 1)'),
        'latin': (f"x'{zlib.compress(bytes([34, 228, 34])).hex()}'", 'continuation byte'),
        'deep': (f"x'{too_deep.hex()}'", 'JSON array from a unicode string'),
    }
    for number, (name, (value, _)) in enumerate(damages.items(), 1):
        cache[name] = name
        cache._sql(f'UPDATE Cache SET value = {value} WHERE rowid = {number}')
    return [end for _, end in damages.values()]


@pytest.mark.parametrize('disk', [diskcache.JSONDisk, diskcache.Disk])
def test_what_json_disk_cannot_load_is_reported_and_stays(directory: str, disk: type) -> None:
    """Also where it is checked with another Disk, as on the command line.

    What is long is judged by its beginning. A file may be one that was stored with read=True.
    """
    with diskcache.Cache(directory, disk=diskcache.JSONDisk, on_error='miss') as cache:
        ends = spoil_json(cache)
        cache['sound'] = ['sound', {'a': 1.5}, None]
        cache['long'] = 'x' * 3_000_000
        cache['file'] = os.urandom(50_000).hex()
        cache['damaged file'] = os.urandom(50_000).hex()
        ((name,),) = cache._sql(
            'SELECT filename FROM Cache WHERE key = ?', (cache.disk.put('damaged file')[0],)
        ).fetchall()
        with open(f'{directory}/{name}', 'r+b') as file:
            file.seek(10_000)
            file.write(bytes(10_000))
        assert [cache.get(name) for name in ('cut', 'text', 'none', 'brace', 'latin')] == [None] * 5
        cache.set('own', io.BytesIO(LARGE), read=True)
        rows = len(cache)
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')
        cache = diskcache.Cache(directory, disk=disk)
    *found, last = (warning.message for warning in cache.check(fix=True))
    assert [str(each).startswith('damaged JSON: the value of') for each in found] == [True] * 6
    assert [str(each).endswith(end) for each, end in zip(found, ends, strict=True)] == [True] * 6
    assert not any(each.mended or each.harmless for each in found)
    assert re.fullmatch('a compressed file without JSON is not for JSONDisk: .*', str(last))
    assert name in str(last)
    assert last.harmless
    assert len(cache) == rows
    cache.close()


def test_what_another_disk_stored_is_reported_in_sum_with_json_disk(directory: str) -> None:
    """It is no damage: whoever has stored it can load it."""
    with diskcache.Cache(directory) as cache:
        cache.set_many((number, ('pickle', number)) for number in range(5))
        cache.set_many((f'{number}'.encode(), LARGE.decode()) for number in range(5))
        cache['text'] = 'text'
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')
        cache = diskcache.Cache(directory, disk=diskcache.JSONDisk)
    found = [warning.message for warning in cache.check()]
    assert [str(each).partition(' is not for JSONDisk: ')[0] for each in found] == [
        'a pickle',
        'what is no JSON',
    ]
    others = [re.findall(r'and (\d) more', str(each)) for each in found]
    assert others == [['4'], ['5']]  # keys that are bytes are among the second
    assert all(each.harmless for each in found)
    cache.close()


def test_what_another_disk_wrote_is_not_judged(directory: str) -> None:
    """The command line opens each cache with the usual Disk."""

    class Hiding(diskcache.Disk):
        def store(self, value: Any, read: bool, key: Any = diskcache.UNKNOWN) -> Any:
            size, mode, name, stored = super().store(value, read, key=key)
            return size, mode, name, bytes(stored)[::-1]

        def fetch(self, mode: int, filename: str | None, value: Any, read: bool) -> Any:
            return super().fetch(mode, filename, value[::-1], read)

    with diskcache.Cache(directory, disk=Hiding) as cache:
        cache['key'] = ('value',)
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')
        plain = diskcache.Cache(directory)
    assert plain.check(fix=True) == []
    with diskcache.Cache(directory, disk=Hiding) as cache:
        assert cache['key'] == ('value',)
