"""Programs that carry this package along: PyInstaller, zipapp, shiv.

They run in an environment without the package. What makes them is no tool of this project:
`make recipes` puts it on the path.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import zipapp
from pathlib import Path

import django
import pytest
from own_wheel import our_wheel

#: Not that of the environment, which has the package.
PYTHON = (getattr(sys, '_base_executable', sys.executable), '-I')

PATIENCE = 600  # seconds: PyInstaller reads all modules, of Django too

PROGRAM = '''
"""Keep values, results and a queue in a directory; print what is there, and where the code is."""
import os
import sys

import diskcache


def main():
    directory = sys.argv[1]
    with diskcache.Cache(directory) as cache:

        @cache.memoize()
        def square(number):
            cache.incr('calls')
            return number * number

        results = [square(number) for number in (2, 3, 2)]
        cache['object'] = {'a': {1, 2}, 'b': b'x' * 100_000}
        found = cache['object']
        runs = cache.incr('runs')
        calls = cache['calls']
    queue = diskcache.Deque(directory=os.path.join(directory, 'queue'))
    queue.append(runs)
    child = os.fork()
    if child == 0:
        queue.append('child')
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
    print(results, found['a'], len(found['b']), calls, list(queue))
    print(diskcache.__file__)


if __name__ == '__main__':
    main()
'''

FIRST = "[4, 9, 4] {1, 2} 100000 2 [1, 'child']"
SECOND = "[4, 9, 4] {1, 2} 100000 2 [1, 'child', 2, 'child']"


@pytest.fixture(scope='session')
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory that has this package, as pip installs it, and the program."""
    wheels, site = tmp_path_factory.mktemp('wheels'), tmp_path_factory.mktemp('site')
    our_wheel(tmp_path_factory.mktemp('build'), wheels, 'diskcache-native')
    pip = [sys.executable, '-m', 'pip', '--quiet', '--disable-pip-version-check', 'install']
    options = ['--no-index', '--find-links', str(wheels), '--target', str(site)]
    subprocess.run([*pip, *options, 'diskcache-native'], check=True)
    (site / 'program.py').write_text(PROGRAM)
    return site


def tool(name: str) -> str:
    """Return where a tool is; `make recipes` puts it on the path."""
    path = shutil.which(name)
    if path is None:
        pytest.skip(f'{name} is not installed: make recipes')
    return path


def make(work: Path, site: Path, *command: str | Path) -> None:
    """Run a tool that finds the package, and nothing of the clone."""
    done = subprocess.run(
        command,
        cwd=work,
        env={**os.environ, 'PYTHONPATH': str(site)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert done.returncode == 0, done.stdout


def run(work: Path, *command: str | Path) -> tuple[str, Path]:
    """Run the program; return what it printed, and where its package was."""
    done = subprocess.run(
        [*command, work / 'cache'],
        cwd='/',
        env={'HOME': str(work), 'TMPDIR': str(work), 'PATH': os.defpath},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert done.returncode == 0, done.stdout
    said, place = done.stdout.splitlines()
    return said, Path(place)


def run_twice(work: Path, *command: str | Path) -> Path:
    """Run the program, and again on what it has left; return where its package was."""
    said, _ = run(work, *command)
    assert said == FIRST
    said, place = run(work, *command)
    assert said == SECOND
    return place


@pytest.mark.stress
@pytest.mark.timeout(PATIENCE)
@pytest.mark.parametrize('kind', ['onedir', 'onefile'])
def test_a_program_is_frozen_by_pyinstaller(tmp_path: Path, site: Path, kind: str) -> None:
    """Nothing has to be named: it finds the extension and what that imports."""
    options = [f'--{kind}', '--log-level', 'ERROR']
    make(tmp_path, site, tool('pyinstaller'), *options, site / 'program.py')
    frozen = tmp_path / 'dist' / 'program'
    place = run_twice(tmp_path, frozen if kind == 'onefile' else frozen / 'program')
    assert place.is_relative_to(tmp_path)
    assert not place.is_relative_to(site)


@pytest.mark.stress
@pytest.mark.timeout(PATIENCE)
@pytest.mark.parametrize('used', [False, True], ids=['not-used', 'used'])
def test_only_a_program_that_uses_django_gets_it(tmp_path: Path, site: Path, used: bool) -> None:
    """DjangoCache imports Django, and all that refers to the package might use it."""
    script = tmp_path / 'script.py'
    script.write_text('import diskcache\n' + 'import django\n' * used)
    options = ['--onedir', '--log-level', 'ERROR', '--debug', 'noarchive']
    paths = ['--paths', Path(django.__file__).parents[1]]
    make(tmp_path, site, tool('pyinstaller'), *options, *paths, script)
    inside = tmp_path / 'dist' / 'script' / '_internal'
    assert (inside / 'django').exists() == used
    assert (inside / 'diskcache' / 'djangocache.pyc').exists()


@pytest.mark.stress
def test_a_program_is_an_archive_of_shiv(tmp_path: Path, site: Path) -> None:
    """It unpacks what it carries into a directory of the user when it is first run."""
    archive = tmp_path / 'program.pyz'
    options = ['--site-packages', site, '--entry-point', 'program:main', '--output-file', archive]
    make(tmp_path, site, tool('shiv'), *options)
    place = run_twice(tmp_path, *PYTHON, archive)
    assert place.is_relative_to(tmp_path / '.shiv')


BESIDE = """
import os, sys
sys.path.insert(0, os.path.join(os.path.dirname(sys.path[0]), 'lib'))
import program
program.main()
"""


@pytest.mark.slow
def test_an_archive_of_zipapp_has_the_package_beside_it(tmp_path: Path, site: Path) -> None:
    source = tmp_path / 'source'
    source.mkdir()
    shutil.copy(site / 'program.py', source)
    (source / '__main__.py').write_text(BESIDE)
    zipapp.create_archive(source, tmp_path / 'program.pyz')
    shutil.copytree(site, tmp_path / 'lib', ignore=shutil.ignore_patterns('program.py'))
    place = run_twice(tmp_path, *PYTHON, tmp_path / 'program.pyz')
    assert place.is_relative_to(tmp_path / 'lib')


@pytest.mark.slow
def test_inside_an_archive_the_package_says_that_it_cannot_be_there(
    tmp_path: Path, site: Path
) -> None:
    """No Python loads an extension from an archive."""
    (tmp_path / 'site').mkdir()
    shutil.copytree(site / 'diskcache', tmp_path / 'site' / 'diskcache')
    archive = tmp_path / 'program.pyz'
    zipapp.create_archive(tmp_path / 'site', archive, main='diskcache.__main__:main')
    done = subprocess.run([*PYTHON, archive], capture_output=True, text=True)
    assert done.returncode == 1
    said = done.stderr.splitlines()[-1]
    assert said.startswith(f'ImportError: {archive / "diskcache"} is in an archive, ')
    assert 'unpacked' in said
