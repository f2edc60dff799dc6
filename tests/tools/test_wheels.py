"""Names of wheels, and the name that setup.py gives; `make wheels` has the rest."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest
from places import ROOT

sys.path.insert(0, str(ROOT / 'tools'))

from debian import Unavailable
from wheels import building, clone
from wheels.cells import all_cells, chosen
from wheels.output import make_room


def test_a_wheel_is_called_by_python_library_and_architecture() -> None:
    (cell,) = chosen(['cp311-manylinux-aarch64'], free_threaded=False)
    assert cell.tag == 'cp311-cp311-manylinux_2_17_aarch64.manylinux2014_aarch64'
    assert cell.tags == [
        'cp311-cp311-manylinux_2_17_aarch64',
        'cp311-cp311-manylinux2014_aarch64',
    ]
    assert cell.suffix == '.cpython-311-aarch64-linux-gnu.so'
    assert cell.platform.target == 'aarch64-linux-gnu.2.17'


def test_python_without_a_gil_is_another_abi() -> None:
    (cell,) = chosen(['cp313t-musllinux-x86_64'], free_threaded=True)
    assert cell.tag == 'cp313-cp313t-musllinux_1_2_x86_64'
    assert cell.suffix == '.cpython-313t-x86_64-linux-musl.so'
    assert not any(cell.free_threaded for cell in all_cells(free_threaded=False))


def test_the_extension_of_python_3_10_is_found_on_all_builds_against_musl() -> None:
    """Some call the library gnu, in the ending of an extension."""
    (cell,) = chosen(['cp310-musllinux-x86_64'], free_threaded=False)
    assert cell.suffix == '.so'


def test_a_pattern_that_names_no_wheel_is_refused() -> None:
    with pytest.raises(SystemExit, match=r'cp39-.* is none of cp310-manylinux-x86_64, '):
        chosen(['cp39-*'], free_threaded=False)


@pytest.mark.parametrize(
    ('name', 'host', 'free_threaded'),
    [
        ('cp311-musllinux-x86_64', 'x86_64-linux-musl', False),
        ('cp313-musllinux-aarch64', 'aarch64-linux-musl', False),
        ('cp313t-manylinux-aarch64', 'aarch64-linux-gnu', True),
    ],
)
def test_a_python_is_built_for_the_platform_of_its_wheel(
    tmp_path: Path, name: str, host: str, free_threaded: bool
) -> None:
    """Never for this machine, though it may be alike: what configure compiles may not run here."""
    (cell,) = chosen([name], free_threaded=True)
    options = building.configure_options(cell, tmp_path, Path(sys.executable))
    (build,) = (option for option in options if option.startswith('--build='))
    assert f'--host={host}' in options
    assert build.removeprefix('--build=') != host
    assert build.rpartition('-')[2] == host.rpartition('-')[2]
    assert ('--disable-gil' in options) is free_threaded


def test_a_python_of_which_debian_has_no_source_cannot_be_built() -> None:
    (cell,) = chosen(['cp312-musllinux-x86_64'], free_threaded=False)
    with pytest.raises(Unavailable, match=r'no source of Python 3\.12'):
        building.python(cell)


@pytest.mark.parametrize('for_all', [False, True], ids=['some', 'all'])
def test_wheels_of_another_name_or_version_do_not_stay(tmp_path: Path, for_all: bool) -> None:
    """They would be uploaded too; those of earlier runs stay if only some are made now."""
    sdist, wheel = 'a_b-1.0.tar.gz', 'a_b-1.0-cp311-cp311-any.whl'
    others = {'a_b-1.0.1-cp311-cp311-any.whl', 'a_b-1.0.1.tar.gz', 'a-1.0-py3-none-any.whl'}
    for name in (sdist, wheel, *others, 'notes.txt'):
        (tmp_path / name).touch()
    make_room(tmp_path / sdist, for_all=for_all)
    left = {path.name for path in tmp_path.iterdir()}
    assert left == {sdist, 'notes.txt'} | (set() if for_all else {wheel})


def git(place: Path, *arguments: str) -> None:
    person = ['-c', 'user.name=a', '-c', 'user.email=a@example.org']
    subprocess.run(['git', *person, *arguments], cwd=place, check=True, capture_output=True)


def test_what_is_not_committed_is_told(tmp_path: Path) -> None:
    """The wheels have the time of a commit that has other bytes."""
    git(tmp_path, 'init')
    for name in ('a', 'b', 'c'):
        (tmp_path / name).touch()
    git(tmp_path, 'add', 'a', 'b')
    git(tmp_path, 'commit', '-m', 'First')
    assert clone.changed(tmp_path) == []
    (tmp_path / 'a').write_text('other')
    (tmp_path / 'b').unlink()
    assert clone.changed(tmp_path) == ['a', 'b']
    assert clone.files(tmp_path) == [Path('a')]


def test_wheels_are_made_in_a_clone_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither in an unpacked sdist, nor in one below a clone of something else."""
    monkeypatch.setenv('GIT_CEILING_DIRECTORIES', str(tmp_path.parent))
    with pytest.raises(SystemExit, match=f'{tmp_path} is no clone of the sources'):
        clone.commit_time(tmp_path)
    git(tmp_path, 'init')
    with pytest.raises(SystemExit, match='is no clone of the sources'):
        clone.files(tmp_path)
    monkeypatch.setenv('PATH', str(tmp_path))
    with pytest.raises(SystemExit, match='git not found'):
        clone.files(tmp_path)


@pytest.mark.parametrize('name', ['diskcache-native', None], ids=['named', 'unnamed'])
def test_an_sdist_keeps_the_name_it_was_made_with(tmp_path: Path, name: str | None) -> None:
    """Who builds from it, pip for one, has no such variable, and expects that name."""
    options = ['egg_info', '--egg-base', tmp_path, 'sdist', '--formats', 'tar', '-d', tmp_path]
    environment = {**os.environ, **({'DISKCACHE_DISTRIBUTION': name} if name else {})}
    command = [sys.executable, 'setup.py', '--quiet', *options]
    subprocess.run(command, cwd=ROOT, env=environment, check=True, capture_output=True)
    (path,) = tmp_path.glob('*.tar')
    wanted = name or 'diskcache'
    assert path.name == f'{wanted.replace("-", "_")}-5.7.0.tar'
    with tarfile.open(path) as archive:
        for file in ('pyproject.toml', 'PKG-INFO'):
            (member,) = (each for each in archive.getnames() if re.fullmatch(f'[^/]+/{file}', each))
            text = archive.extractfile(member).read().decode()
            found = re.search(r'^[Nn]ame(?: = "|: )([\w-]+)', text, re.MULTILINE)
            assert found[1] == wanted
