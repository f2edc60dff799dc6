"""configure() and the environment: the Disk of caches that are opened without one."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from places import SUPPORT
from safe_types import Other, Point

import diskcache
from diskcache import Cache, Deque, Disk, FanoutCache, Index, JSONDisk, SafeDisk, UnsafeTypeError

VARIABLES = ('DISKCACHE_DISK', 'DISKCACHE_SAFE_TYPES', 'DISKCACHE_SAFE_MODULES')


@pytest.fixture(autouse=True)
def without(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Nothing is said, before and after."""
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
    yield
    diskcache.configure()


def say(monkeypatch: pytest.MonkeyPatch, *values: str) -> None:
    """Set the variables."""
    for name, value in zip(VARIABLES, values, strict=False):
        monkeypatch.setenv(name, value)


def disk_of(directory: Path, **arguments: Any) -> type[Disk]:
    """Return the class of the Disk that a new cache has."""
    with Cache(directory, **arguments) as cache:
        return type(cache.disk)


def test_nothing_said_is_a_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert disk_of(tmp_path) is Disk
    say(monkeypatch, '', '', '')
    assert disk_of(tmp_path) is Disk


def test_all_that_is_opened_without_a_disk_has_it(tmp_path: Path) -> None:
    """As libraries do, to which nobody can pass one."""
    diskcache.configure(disk=SafeDisk)
    assert disk_of(tmp_path / 'a') is SafeDisk
    assert disk_of(tmp_path / 'b', disk=Disk) is SafeDisk
    assert disk_of(tmp_path / 'c', disk=JSONDisk) is JSONDisk
    assert disk_of(tmp_path / 'd', disk=type('Own', (Disk,), {})) is not SafeDisk
    for opened in (Deque([1], tmp_path / 'e'), Index(str(tmp_path / 'f'))):
        assert type(opened.cache.disk) is SafeDisk
        with pytest.raises(UnsafeTypeError):
            opened.cache['key'] = Point()
        opened.cache.close()
    with FanoutCache(tmp_path / 'g', shards=2) as cache:
        assert {type(shard.disk) for shard in cache._shards} == {SafeDisk}
        assert type(cache.cache('part').disk) is SafeDisk
    diskcache.configure()
    assert disk_of(tmp_path / 'h') is Disk


def test_a_subclass_of_the_original_s_form_has_it_too(tmp_path: Path) -> None:
    """It passes on its own default, which is the original's."""

    class Own(Cache):
        def __init__(self, directory: Path, timeout: float = 60, disk: Any = Disk) -> None:
            super().__init__(directory, timeout, disk)

    diskcache.configure(disk=SafeDisk)
    with Own(tmp_path) as cache:
        assert type(cache.disk) is SafeDisk


def test_django_has_it(tmp_path: Path) -> None:
    pytest.importorskip('django')
    import django_project  # noqa: F401

    from diskcache import DjangoCache

    before = DjangoCache(str(tmp_path), {'SHARDS': 1})
    diskcache.configure(disk=SafeDisk)
    after = DjangoCache(str(tmp_path), {'SHARDS': 1})
    before.set('key', Point())
    assert after.get('key') is None
    after.set('key', {1: 2})
    assert before.get('key') == {1: 2}
    with pytest.raises(UnsafeTypeError):
        after.set('key', Point())
    before.close()
    after.close()


def test_it_must_be_a_disk() -> None:
    for wrong in (int, 'SafeDisk', SafeDisk('.')):
        with pytest.raises(ValueError, match='subclass'):
            diskcache.configure(disk=wrong)  # type: ignore[arg-type]


def test_the_environment_names_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for said, disk in (('SafeDisk', SafeDisk), ('JSONDisk', JSONDisk), (' Disk ', Disk)):
        say(monkeypatch, said)
        assert disk_of(tmp_path / said) is disk
    say(monkeypatch, 'diskcache.SafeDisk')
    assert disk_of(tmp_path / 'a') is SafeDisk
    say(monkeypatch, 'diskcache.core:JSONDisk')
    assert disk_of(tmp_path / 'b') is JSONDisk
    diskcache.configure(disk=SafeDisk)  # which goes before
    assert disk_of(tmp_path / 'c') is SafeDisk


def test_it_adds_types_and_modules(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    say(monkeypatch, 'SafeDisk', 'safe_types.Point, safe_types:Outer.Inner,')
    with Cache(tmp_path) as cache, Cache(tmp_path) as again:
        assert type(cache.disk) is type(again.disk)
        cache['key'] = Point(1, 2)
        assert again['key'] == Point(1, 2)
        with pytest.raises(UnsafeTypeError):
            cache['key'] = Other()
    say(monkeypatch, 'SafeDisk', '', 'decimal,safe_types')
    with Cache(tmp_path) as cache:
        cache['key'] = [Point(), Other()]
        assert cache['key'] == [Point(), Other()]


@pytest.mark.parametrize(
    ('said', 'name', 'text'),
    [
        (['NoDisk'], 'DISKCACHE_DISK', 'NoDisk'),
        (['no_such_module.Disk'], 'DISKCACHE_DISK', 'no_such_module'),
        (['decimal.Decimal'], 'DISKCACHE_DISK', 'subclass'),
        (['os.path'], 'DISKCACHE_DISK', 'class'),
        (['SafeDisk', 'safe_types.Nothing'], 'DISKCACHE_SAFE_TYPES', 'Nothing'),
        (['SafeDisk', 'Point'], 'DISKCACHE_SAFE_TYPES', 'Point'),
        (['SafeDisk', 'safe_types.function'], 'DISKCACHE_SAFE_TYPES', 'function'),
        (['SafeDisk', 'functools.partial'], 'DISKCACHE_SAFE_TYPES', 'safe'),
        (['SafeDisk', '', 'no_such_module'], 'DISKCACHE_SAFE_MODULES', 'no_such_module'),
        (['SafeDisk', '', 'subprocess'], 'DISKCACHE_SAFE_MODULES', 'safe'),
        (['', 'safe_types.Point'], 'DISKCACHE_SAFE_TYPES', 'SafeDisk'),
        (['JSONDisk', '', 'decimal'], 'DISKCACHE_SAFE_MODULES', 'SafeDisk'),
    ],
)
def test_bad_values_are_errors_that_name_the_variable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, said: list[str], name: str, text: str
) -> None:
    """And nothing is opened: to go on with a Disk would be worse."""
    say(monkeypatch, *said)
    for opens in (Cache, FanoutCache):
        with pytest.raises(ValueError, match=name) as raised:
            opens(tmp_path / 'cache')
        assert text in str(raised.value)
    assert list(tmp_path.iterdir()) == []


def test_a_signed_disk_of_a_module_can_be_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    Path(tmp_path, 'site_disk.py').write_text(
        'import diskcache\nclass SiteDisk(diskcache.SignedDisk):\n    keys = (b"x" * 32,)\n'
    )
    say(monkeypatch, 'site_disk.SiteDisk')
    assert disk_of(tmp_path / 'a').__name__ == 'SiteDisk'
    say(monkeypatch, 'SignedDisk')
    with pytest.raises(ValueError, match='keys'):
        disk_of(tmp_path / 'b')


def test_the_command_line_heeds_it(tmp_path: Path) -> None:
    with Cache(tmp_path / 'cache') as cache:
        cache['key'] = Point()
    command = [sys.executable, '-m', 'diskcache', 'check', tmp_path / 'cache']
    environment = {**os.environ, 'PYTHONPATH': str(SUPPORT)}
    for disk, refused in (('', False), ('SafeDisk', True)):
        done = subprocess.run(
            command,
            env={**environment, 'DISKCACHE_DISK': disk},
            capture_output=True,
            text=True,
            check=True,
        )
        assert ('safe_types.Point is not allowed' in done.stdout) == refused
