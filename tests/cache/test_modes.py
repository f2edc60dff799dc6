"""Who may read and write what is made in a cache directory: modes of directories and files."""

from __future__ import annotations

import os
import shutil
import stat
import warnings
from collections.abc import Callable
from pathlib import Path

import pytest
from interpreter import Interpreter

import diskcache
from diskcache import Cache, CacheWarning, FanoutCache

pytestmark = pytest.mark.skipif(os.name != 'posix', reason='this platform has no modes')

needs_root = pytest.mark.skipif(
    os.name != 'posix' or os.geteuid() != 0, reason='only root can become another user'
)


def fill(directory: str, kind: str, umask: int, **settings: object) -> dict[str, int]:
    """Make a cache with files of every kind in it; return the modes of all while it is open."""
    import contextlib
    import io
    import stat

    class Naming(diskcache.Disk):
        def filename(self, key: object = None, value: object = None) -> tuple[str, str]:
            return f'own/{key}', os.path.join(self._directory, 'own', str(key))

    after = contextlib.ExitStack()
    after.callback(os.umask, os.umask(umask))
    with after, getattr(diskcache, kind)(directory, **settings) as cache:
        for number in range(10):
            cache.set(number, bytes(100_000))
            cache.set(('text', number), 'x' * 100_000)
        cache.set('file', io.BytesIO(b'contents'), read=True)
        caches = [cache]
        if kind == 'FanoutCache':
            caches = [cache.cache('above/named'), cache.index('i').cache, cache.deque('d').cache]
        for part in caches:
            part.set('large', bytes(100_000))
            naming = diskcache.Cache(part.directory, disk=Naming)
            naming.set('key', bytes(100_000))
        found = {'': os.stat(directory).st_mode}
        for parent, directories, files in os.walk(directory):
            for name in (*directories, *files):
                path = os.path.join(parent, name)
                found[os.path.relpath(path, directory)] = os.stat(path).st_mode
        return {name: stat.S_IMODE(mode) for name, mode in found.items()}


def assert_modes(found: dict[str, int], directories: int, files: int) -> None:
    """Assert that all that has been made has one of two modes."""
    assert any(name.endswith('cache.db-shm') for name in found)
    assert any(name.endswith('cache.db-wal') for name in found)
    assert any(name.endswith('own/key') for name in found)
    for name, mode in found.items():
        is_file = '.' in name or name.endswith('own/key')
        assert oct(mode) == oct(files if is_file else directories), name


@pytest.mark.parametrize('umask', [0, 0o022, 0o077])
@pytest.mark.parametrize('kind', ['Cache', 'FanoutCache'])
def test_a_new_directory_and_its_files_are_its_owners_alone(
    other: Interpreter, directory: str, kind: str, umask: int
) -> None:
    """A FanoutCache is a directory of directories: with that of all shards, and of named parts."""
    shards = {'shards': 2} if kind == 'FanoutCache' else {}
    found = other.run(fill, directory=directory, kind=kind, umask=umask, **shards)
    assert_modes(found, 0o700, 0o600)


@pytest.mark.parametrize('umask', [0, 0o077])
@pytest.mark.parametrize('kind', ['Cache', 'FanoutCache'])
@pytest.mark.parametrize(('mode', 'files'), [(0o750, 0o640), (0o2770, 0o660), (0o755, 0o644)])
def test_a_mode_may_be_asked_for(
    other: Interpreter, directory: str, kind: str, umask: int, mode: int, files: int
) -> None:
    """A group that shares the cache, or a web server that sends its files."""
    shards = {'shards': 2} if kind == 'FanoutCache' else {}
    found = other.run(fill, directory=directory, kind=kind, umask=umask, mode=mode, **shards)
    assert_modes(found, mode, files)


@pytest.mark.parametrize(('existing', 'files'), [(0o755, 0o644), (0o750, 0o640), (0o700, 0o600)])
def test_a_directory_that_is_there_keeps_its_mode_and_files_match_it(
    other: Interpreter, directory: str, existing: int, files: int
) -> None:
    os.mkdir(directory)
    os.chmod(directory, existing)
    found = other.run(fill, directory=directory, kind='Cache', umask=0o022, mode=0o711)
    assert_modes(found, existing, files)


def test_the_mode_is_not_stored(directory: str) -> None:
    with Cache(directory, mode=0o750) as cache:
        assert ('mode',) not in cache._sql('SELECT key FROM Settings').fetchall()
        assert not hasattr(cache, 'mode')


REMAKINGS: dict[str, Callable[[Cache], object]] = {
    'a small value': lambda cache: cache.set('key', 'value'),
    'a large value': lambda cache: cache.set('key', bytes(100_000)),
    'a lookup': lambda cache: cache.get('key'),
    'a new session': lambda cache: (cache.close(), cache.get('key')),
}


@pytest.mark.parametrize('mode', [0o700, 0o750])
@pytest.mark.parametrize('use', REMAKINGS.values(), ids=REMAKINGS.keys())
def test_a_directory_that_is_made_again_has_the_mode_that_it_had(
    directory: str, mode: int, use: Callable
) -> None:
    cache = Cache(directory, mode=mode, memory_limit=0)
    cache['key'] = 'old'
    if use is REMAKINGS['a new session']:
        cache.close()
    shutil.rmtree(directory)
    use(cache)
    cache['more'] = bytes(100_000)
    for parent, _, files in os.walk(directory):
        assert oct(stat.S_IMODE(os.stat(parent).st_mode)) == oct(mode)
        for name in files:
            path = os.path.join(parent, name)
            assert oct(stat.S_IMODE(os.stat(path).st_mode)) == oct(mode & 0o666), path
    cache.close()


@needs_root
def test_what_root_makes_belongs_to_the_owner_of_the_directory(directory: str) -> None:
    """Else the program that owns it could not read what a maintenance job of root's has stored."""
    os.mkdir(directory)
    os.chown(directory, 65534, 65533)
    with Cache(directory) as cache:
        cache['key'] = bytes(100_000)
        for parent, directories, files in os.walk(directory):
            for name in (*directories, *files):
                found = os.stat(os.path.join(parent, name))
                assert (found.st_uid, found.st_gid) == (65534, 65533), name


def open_as(user: int, group: int, directory: str, name: str) -> tuple[str, str]:
    """Try, as another user, to read two files; return how that ended."""

    def attempt() -> tuple[str, str]:
        os.setgroups([])
        os.setgid(group)
        os.setuid(user)
        results = []
        for path in (f'{directory}/cache.db', f'{directory}/{name}'):
            try:
                with open(path, 'rb') as file:
                    file.read()
                results.append('read')
            except OSError as error:
                results.append(type(error).__name__)
        return tuple(results)

    return Child(attempt).result()  # noqa: F821


@needs_root
@pytest.mark.parametrize(
    ('mode', 'of_group', 'of_others'),
    [(0o700, 'PermissionError', 'PermissionError'), (0o2750, 'read', 'PermissionError')],
)
def test_other_users_can_read_what_the_mode_lets_them(
    alone: Interpreter, public_directory: str, mode: int, of_group: str, of_others: str
) -> None:
    directory = Path(public_directory)
    with Cache(directory, mode=mode) as cache:
        os.chown(directory, 0, 54321)
    shutil.rmtree(directory / 'ab', ignore_errors=True)
    (directory / 'cache.db').unlink()
    with Cache(directory) as cache:
        cache['key'] = bytes(100_000)
        ((name,),) = cache._sql('SELECT filename FROM Cache').fetchall()
        for user, group, outcome in ((65534, 54321, of_group), (65534, 65534, of_others)):
            answer = alone.run(open_as, user=user, group=group, directory=str(directory), name=name)
            assert answer == (outcome, outcome)


def caught(function: Callable, *args: object, **settings: object) -> list[str]:
    """Return the warnings about directories that others can write."""
    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter('always')
        function(*args, **settings).close()
    assert all(each.category is CacheWarning for each in found), found
    return [str(each.message) for each in found]


@pytest.mark.parametrize('kind', [Cache, FanoutCache])
@pytest.mark.parametrize('mode', [0o777, 0o1777])
def test_a_directory_that_everybody_can_write_gives_one_warning(
    directory: str, kind: type, mode: int
) -> None:
    os.mkdir(directory)
    os.chmod(directory, mode)
    (text,) = caught(kind, directory)
    assert directory in text
    assert 'every user' in text
    assert caught(kind, directory) == []


@pytest.mark.parametrize('link', [os.symlink, os.link])
def test_a_file_that_a_link_leads_to_keeps_its_mode(
    directory: str, tmp_path: Path, link: Callable[[str, str], None]
) -> None:
    """Whoever can write to the directory could so open a file that is empty to everybody."""
    other = tmp_path / 'other'
    other.touch(0o600)
    os.mkdir(directory)
    os.chmod(directory, 0o777)
    link(str(other), f'{directory}/cache.db')
    caught(Cache, directory)
    assert stat.S_IMODE(other.stat().st_mode) == 0o600


@pytest.mark.parametrize('mode', [0o700, 0o2770, 0o755])
def test_a_directory_of_a_group_gives_none(directory: str, mode: int) -> None:
    os.mkdir(directory)
    os.chmod(directory, mode)
    assert caught(Cache, directory) == []


@pytest.mark.parametrize('kind', [Cache, FanoutCache])
@pytest.mark.parametrize(
    ('mode', 'error', 'text'),
    [
        ('0750', TypeError, 'str'),
        (True, TypeError, 'bool'),
        (0o600, ValueError, '0o700'),
        (750, ValueError, 'is 0o750 meant'),
        (0o1777, ValueError, '0o1777'),
        (0o4755, ValueError, '0o4755'),
        (-1, ValueError, '-'),
    ],
)
def test_an_impossible_mode_is_an_error_before_anything_is_made(
    directory: str, kind: type, mode: object, error: type[Exception], text: str
) -> None:
    with pytest.raises(error, match=text):
        kind(directory, mode=mode)
    assert not os.path.exists(directory)
