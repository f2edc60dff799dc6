"""Distributions that have the same package: one is noticed, and said in one sentence.

pip lets them overwrite each other. The wheels are real, and so are pip and the environments; what
is built is taken from the package that is tested, and the original's files from where it is
installed. Most of it takes long and seldom changes: `make recipes`.
"""

from __future__ import annotations

import base64
import hashlib
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import zipfile
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path

import pytest
from own_wheel import our_wheel
from places import PACKAGE, ROOT

OURS = 'diskcache-native'
ORIGINAL = 'diskcache'

#: A library that needs the original, as its metadata says.
CLIENT = 'needs-diskcache'

#: One that allows no other version.
OLD_CLIENT = 'wants-original'


def make_wheel(directory: Path, name: str, files: dict[str, bytes]) -> None:
    """Write a wheel of files, with its RECORD."""
    info = next(path.split('/')[0] for path in files if '.dist-info/' in path)
    record = ''.join(
        f'{path},sha256={base64.urlsafe_b64encode(hashlib.sha256(data).digest()).decode()[:-1]},\n'
        for path, data in files.items()
    )
    with zipfile.ZipFile(directory / name, 'w') as archive:
        for path, data in {**files, f'{info}/RECORD': record.encode()}.items():
            archive.writestr(path, data)


@pytest.fixture(scope='session')
def index(tmp_path_factory: pytest.TempPathFactory, original_package: Path) -> Path:
    """A directory of wheels: the original, this package under its name and ours, a client."""
    directory = tmp_path_factory.mktemp('index')
    files = {
        path.relative_to(original_package).as_posix(): path.read_bytes()
        for folder in original_package.glob('diskcache*')
        for path in folder.rglob('*')
        if path.is_file()
        and path.suffix != '.pyc'
        and path.name not in ('RECORD', 'INSTALLER', 'REQUESTED')
    }
    make_wheel(directory, 'diskcache-5.6.3-py3-none-any.whl', files)
    for name in (OURS, ORIGINAL):
        our_wheel(tmp_path_factory.mktemp('build'), directory, name)
    for name, requirement in ((CLIENT, 'diskcache>=5'), (OLD_CLIENT, 'diskcache==5.6.3')):
        module = name.replace('-', '_')
        info = f'{module}-1.0.dist-info'
        head = f'Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\nRequires-Dist: {requirement}\n'
        wheel = b'Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n'
        files = {
            f'{module}.py': b'from diskcache import Cache\n',
            f'{info}/METADATA': head.encode(),
            f'{info}/WHEEL': wheel,
        }
        make_wheel(directory, f'{module}-1.0-py3-none-any.whl', files)
    return directory


class Environment:
    """A virtual environment of this test's own, without pip in it."""

    def __init__(self, place: Path, index: Path) -> None:
        subprocess.run([sys.executable, '-m', 'venv', '--without-pip', place], check=True)
        self.place = place
        self._index = index

    def pip(self, *arguments: str) -> str:
        options = ['--disable-pip-version-check', '--python', str(self.place)]
        if arguments[0] != 'check':
            options.append('--quiet')
        if arguments[0] == 'install':
            options += [arguments[0], '--no-index', '--find-links', str(self._index)]
            arguments = arguments[1:]
        return self._run(sys.executable, '-m', 'pip', *options, *arguments)

    def python(self, script: str) -> str:
        return self._run(str(self.place / 'bin' / 'python'), '-c', script)

    def script(self, *arguments: str) -> str:
        return self._run(str(self.place / 'bin' / 'diskcache'), *arguments)

    def _run(self, *command: str) -> str:
        """Run something far from the clone; return all that it prints."""
        done = subprocess.run(
            command,
            cwd=self.place,
            env={**os.environ, 'PYTHONPATH': ''},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        return done.stdout

    def package(self) -> Path:
        return next((self.place / 'lib').glob('python*')) / 'site-packages' / 'diskcache'


@pytest.fixture
def environment(tmp_path: Path, index: Path) -> Environment:
    return Environment(tmp_path / 'environment', index)


USE = 'import diskcache; print(diskcache.__version__, diskcache.Cache.__module__)'
IN_WORDS = 'has files of several distributions, which overwrite each other'
ORDERS = [
    pytest.param([f'{ORIGINAL}==5.6.3', OURS], id='original-first'),
    pytest.param([OURS, f'{ORIGINAL}==5.6.3'], id='original-last'),
]


def import_copy(directory: Path, script: str = 'import diskcache') -> str:
    """Import the package that is in a directory; return the last line of the error."""
    command = [sys.executable, '-S', '-c', script]
    done = subprocess.run(command, cwd=directory, capture_output=True, text=True)
    assert done.returncode == 1, done.stdout
    return done.stderr.rstrip().splitlines()[-1]


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """A directory with the package as it is installed."""
    shutil.copytree(PACKAGE / 'diskcache', tmp_path / 'diskcache')
    for path in (tmp_path / 'diskcache').glob('_core.*.so'):
        if path.name != f'_core{EXTENSION_SUFFIXES[0]}':  # of a clone that several Pythons share
            path.unlink()
    shutil.copy(PACKAGE / 'diskcache.py', tmp_path)
    return tmp_path


def add_metadata(place: Path, name: str, files: dict[str, str]) -> None:
    """Write what an installer leaves of a distribution beside its package."""
    info = place / f'{name}-1.0.dist-info'
    info.mkdir()
    for path, text in files.items():
        (info / path).write_text(text)


@pytest.mark.parametrize('over', [False, True], ids=['beneath', 'over'])
def test_files_of_the_original_are_noticed(copy: Path, original_package: Path, over: bool) -> None:
    """Whose files lie on top: those that only the original has, or all that it has."""
    for path in (original_package / 'diskcache').glob('*.py'):
        if over or not (copy / 'diskcache' / path.name).exists():
            shutil.copy(path, copy / 'diskcache')
    said = import_copy(copy)
    assert said.startswith(f'ImportError: {copy / "diskcache"} has files of the original diskcache')
    assert said.endswith('remove the directory, and install it anew')


@pytest.mark.parametrize('lost', ['__init__.py', '*.py'])
def test_a_package_without_its_beginning_is_noticed(copy: Path, lost: str) -> None:
    """It would be a namespace: `import diskcache` would succeed, and nothing be in it."""
    for path in (copy / 'diskcache').glob(lost):
        path.unlink()
    said = import_copy(copy)
    assert said.startswith(f'ImportError: {copy / "diskcache"} has lost files')
    assert 'install' in said
    assert 'pip install' not in said  # there is no record of a name; diskcache is the original's


def test_what_one_owner_is_left_of_is_installed_by_force(copy: Path) -> None:
    """pip goes by its records, and takes for installed what has lost its directory."""
    (copy / 'diskcache' / 'core.py').touch()
    files = {'METADATA': 'Name: ours\nVersion: 1.0\n', 'RECORD': 'diskcache/installed.py,,\n'}
    add_metadata(copy, 'ours', files)
    assert import_copy(copy).endswith(
        'remove the directory, and install it anew: pip install --force-reinstall ours==1.0'
    )


@pytest.mark.parametrize(
    'damaged',
    [
        pytest.param({'RECORD': 'diskcache/x,,\n'}, id='no-name'),
        pytest.param({'top_level.txt': 'diskcache\n'}, id='no-name-no-list'),
        pytest.param({'METADATA': '\udcff', 'RECORD': 'diskcache/x,,\n'}, id='no-utf-8'),
        pytest.param({'METADATA': 'Name: x\n', 'RECORD': 'diskcache/x,,\n'}, id='no-version'),
        pytest.param({'METADATA': 'Name: x\nVersion: 1\n', 'RECORD': 'a,b,c,d\n'}, id='list'),
        pytest.param({'direct_url.json': '{', 'RECORD': 'diskcache/x,,\n'}, id='origin'),
        pytest.param({'direct_url.json': '[]', 'RECORD': 'diskcache/x,,\n'}, id='odd-origin'),
    ],
)
def test_damaged_records_do_not_hide_who_has_files(copy: Path, damaged: dict[str, str]) -> None:
    """Neither does it matter what made the wheel: only setuptools lists the top level."""
    (copy / 'diskcache' / 'core.py').touch()
    info = copy / 'damaged-1.0.dist-info'
    info.mkdir()
    for path, text in damaged.items():
        (info / path).write_text(text, errors='surrogateescape')
    for name, file in (('another', 'core.py'), ('ours', 'installed.py')):
        record = f'diskcache/__init__.py,,\ndiskcache/{file},,\n'
        metadata = f'Name: {name}\nVersion: 1.0\n'
        add_metadata(copy, name, {'METADATA': metadata, 'RECORD': record})
    said = import_copy(copy)
    assert said.endswith('pip uninstall -y ours another; pip install ours==1.0'), said


def extension_in(copy: Path) -> Path:
    (path,) = (copy / 'diskcache').glob('_core.*.so')
    return path


def test_an_extension_for_another_python_is_named(copy: Path) -> None:
    """As in a directory that another version of Python has installed into."""
    ours = extension_in(copy).name
    extension_in(copy).rename(copy / 'diskcache' / '_core.cpython-27-x86_64-linux-gnu.so')
    assert import_copy(copy) == (
        f'ImportError: {copy / "diskcache"} is for another Python: it has'
        f' _core.cpython-27-x86_64-linux-gnu.so, and this one needs {ours}: install it with the'
        ' Python that is to import it'
    )


def test_a_lost_extension_is_named(copy: Path) -> None:
    path = extension_in(copy)
    path.unlink()
    assert import_copy(copy) == (
        f'ImportError: {copy / "diskcache"} has lost its extension, {path.name}: install it anew'
    )


def test_an_extension_that_cannot_be_loaded_is_named(copy: Path) -> None:
    """As that of a wheel for another C library is, if it is called alike."""
    path = extension_in(copy)
    path.write_bytes(b'')
    said = import_copy(copy)
    start = f'ImportError: {copy / "diskcache"} has an extension that cannot be loaded ({path}: '
    assert said.startswith(start)
    assert said.endswith('or damaged: install it anew')


def test_an_extension_of_another_version_is_noticed(copy: Path) -> None:
    """Two of ours, of different names and versions: an installer may leave files of both."""
    module = copy / 'diskcache' / '__init__.py'
    text = module.read_text()
    module.write_text(text.replace("__version__ = '", "__version__ = '1."))
    said = import_copy(copy)
    assert said.startswith(f'ImportError: {copy / "diskcache"} is version 1.5')
    assert 'and its extension is of another: ' in said
    (copy / 'setup.py').touch()  # as of a project that carries the package along
    assert 'make build' not in import_copy(copy)
    (copy / 'src').mkdir()
    (copy / 'src' / 'module.c').touch()
    assert import_copy(copy).endswith(': build it anew: make build')


def test_a_package_without_a_folder_is_no_fault() -> None:
    """Such are frozen packages, those of an executable that has its modules inside."""
    script = """
import importlib.util, sys
import diskcache
spec = importlib.util.find_spec('diskcache.core')
spec.submodule_search_locations = []
module = importlib.util.module_from_spec(spec)
spec.loader.exec_module(module)
assert module.Cache is diskcache.Cache
"""
    subprocess.run([sys.executable, '-c', script], cwd=PACKAGE, check=True)


def test_a_module_without_its_package_is_named(copy: Path) -> None:
    shutil.rmtree(copy / 'diskcache')
    said = import_copy(copy)
    assert said.startswith('ImportError: ')
    assert said.endswith(f'remove {copy / "diskcache.py"}')


def test_a_build_leaves_out_what_an_older_one_had(tmp_path: Path) -> None:
    """Once core was a file. From build/lib it would go into the wheel, which then is no use."""
    old = tmp_path / 'diskcache' / 'core.py'
    old.parent.mkdir()
    old.write_text('')
    command = [sys.executable, 'setup.py', '--quiet', 'build_py', f'--build-lib={tmp_path}']
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    assert (old.parent / 'core' / '__init__.py').exists()
    assert not old.exists()


def test_a_build_says_what_it_lacks(tmp_path: Path) -> None:
    """In one sentence, at the end: pip shows it below all that a build prints."""
    places = [f'--build-temp={tmp_path / "temp"}', f'--build-lib={tmp_path / "lib"}']
    done = subprocess.run(
        [sys.executable, 'setup.py', '--quiet', 'build_ext', '--force', *places],
        cwd=ROOT,
        env={**os.environ, 'CC': '/no/cc'},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1
    *_, last = done.stderr.splitlines()
    start = 'diskcache: to be built from its sources it needs a C compiler (/no/cc is not there); '
    assert last.startswith(start + 'install that')


def test_flags_of_others_switch_no_assertions_on(tmp_path: Path) -> None:
    """Those of Python's headers. CFLAGS takes the place of the flags that Python was built with."""
    log = tmp_path / 'log'
    compiler = tmp_path / 'compiler'
    compiler.write_text(f'#!/bin/sh\necho "$*" >>{log}\n')
    compiler.chmod(0o755)
    places = [f'--build-temp={tmp_path / "temp"}', f'--build-lib={tmp_path / "lib"}']
    subprocess.run(
        [sys.executable, 'setup.py', '--quiet', 'build_ext', '--force', *places],
        cwd=ROOT,
        env={**os.environ, 'CC': str(compiler), 'CFLAGS': '-O2'},
        check=True,
        capture_output=True,
    )
    compiled = [line for line in log.read_text().splitlines() if ' -c ' in line]
    assert len(compiled) > 80
    assert [line for line in compiled if '-DNDEBUG' not in line.split()] == []


def test_a_build_by_old_setuptools_says_so() -> None:
    """Otherwise they fill a screen with what they do not understand of pyproject.toml."""
    script = (
        'import runpy, setuptools; setuptools.__version__ = "76.1";'
        ' runpy.run_path("setup.py", run_name="__main__")'
    )
    command = [sys.executable, '-c', script, '--version']
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 1
    *_, last = done.stderr.splitlines()
    oldest = re.search(r'"setuptools>=(\d+)"', (ROOT / 'pyproject.toml').read_text())[1]
    start = f'diskcache: to be built from its sources it needs setuptools {oldest} or newer, and '
    assert last.startswith(start)


@pytest.mark.parametrize('given', [True, False], ids=['given', 'missing'])
def test_headers_may_be_where_only_the_compiler_is_told(tmp_path: Path, given: bool) -> None:
    """The compiler is one that looks for the headers in a single directory, and makes nothing."""
    include = tmp_path / 'include'
    compiler = tmp_path / 'compiler'
    compiler.write_text(f'#!/bin/sh\ncase "$*" in *-I{include}*|*-shared*) ;; *) exit 1; esac\n')
    compiler.chmod(0o755)
    places = [f'--build-temp={tmp_path / "temp"}', f'--build-lib={tmp_path / "lib"}']
    script = (
        'import runpy, setuptools, distutils.sysconfig;'
        f' distutils.sysconfig.get_python_inc = lambda **_: {str(tmp_path / "none")!r};'
        ' runpy.run_path("setup.py")'
    )
    flags = {'CFLAGS': f'-I{include}'} if given else {}
    done = subprocess.run(
        [sys.executable, '-c', script, '--quiet', 'build_ext', '--force', *places],
        cwd=ROOT,
        env={**os.environ, 'CC': str(compiler), **flags},
        capture_output=True,
        text=True,
    )
    assert (done.returncode == 0) == given, done.stderr
    if not given:
        last = done.stderr.splitlines()[-1]
        lacking = f'the C headers of Python {sysconfig.get_python_version()} (Python.h is not in '
        assert last.startswith(f'diskcache: to be built from its sources it needs {lacking}')


@pytest.mark.slow
@pytest.mark.xdist_group('installing')
@pytest.mark.parametrize('order', ORDERS)
def test_both_installed_are_noticed_and_named(environment: Environment, order: list[str]) -> None:
    for requirement in order:
        assert environment.pip('install', requirement) == ''
    said = environment.python(USE).splitlines()[-1]
    remedy = f'pip uninstall -y {OURS} {ORIGINAL}; pip install {OURS}==5.7.0'
    assert said == (
        f'ImportError: {environment.package()} {IN_WORDS}: uninstall all, and install one: {remedy}'
    )
    assert environment.script('info').splitlines()[-1] == said
    for command in remedy.split('; '):
        environment.pip(*command.split()[1:])
    assert environment.python(USE) == '5.7.0 diskcache.core\n'


@pytest.mark.slow
@pytest.mark.xdist_group('installing')
@pytest.mark.parametrize('order', ORDERS)
def test_uninstalling_the_original_leaves_what_says_so(
    environment: Environment, order: list[str]
) -> None:
    """pip takes the files along that both had; the remedy brings them back."""
    for requirement in order:
        environment.pip('install', requirement)
    environment.pip('uninstall', '-y', ORIGINAL)
    said = environment.python(USE).splitlines()[-1]
    assert said.startswith(f'ImportError: {environment.package()} has lost files to another')
    _, _, remedy = said.partition('anew: ')
    assert remedy == f'pip install --force-reinstall {OURS}==5.7.0'
    environment.pip(*remedy.split()[1:])
    assert environment.python(USE) == '5.7.0 diskcache.core\n'


@pytest.mark.stress
@pytest.mark.parametrize('order', ORDERS)
def test_uninstalling_ours_leaves_nothing_that_can_be_used(
    environment: Environment, order: list[str]
) -> None:
    """Then nothing of ours is left that could say so; what remains of the original is no half."""
    for requirement in order:
        environment.pip('install', requirement)
    environment.pip('uninstall', '-y', OURS)
    left = sorted(path.name for path in environment.package().glob('*.py'))
    assert left == ['cli.py', 'core.py']  # folders here, so these two are only the original's
    assert 'ImportError: cannot import name' in environment.python('from diskcache import Cache')
    environment.pip('install', '--force-reinstall', f'{ORIGINAL}==5.6.3')
    assert environment.python(USE) == '5.6.3 diskcache.core\n'


@pytest.mark.stress
def test_under_its_name_this_package_takes_the_originals_place(environment: Environment) -> None:
    """pip uninstalls what has the same name first, in both directions."""
    environment.pip('install', f'{ORIGINAL}==5.6.3')
    environment.pip('install', '--upgrade', ORIGINAL)
    assert environment.python(USE) == '5.7.0 diskcache.core\n'
    assert f'distribution: {ORIGINAL} 5.7.0\n' in environment.script('info')
    environment.pip('install', f'{ORIGINAL}==5.6.3')
    assert environment.python(USE) == '5.6.3 diskcache.core\n'


@pytest.mark.stress
def test_info_names_the_distribution(environment: Environment) -> None:
    environment.pip('install', OURS)
    said = environment.script('info')
    assert f'distribution: {OURS} 5.7.0\n' in said
    assert f'package: {environment.package()}\n' in said
    assert f'extension: {environment.package()}/_core.' in said


@pytest.mark.stress
def test_info_names_a_distribution_without_a_list_of_files(environment: Environment) -> None:
    """As the packages of Debian are."""
    environment.pip('install', OURS)
    (record,) = environment.package().parent.glob('diskcache_native-*.dist-info/RECORD')
    record.unlink()
    assert f'distribution: {OURS} 5.7.0\n' in environment.script('info')


# --- what docs/howto/installing.rst says ---


@pytest.mark.stress
def test_a_constraint_has_pip_take_this_package(environment: Environment, tmp_path: Path) -> None:
    constraints = tmp_path / 'constraints.txt'
    constraints.write_text('diskcache==5.7.0\n')
    environment.pip('install', '--constraint', str(constraints), CLIENT)
    assert environment.python('import needs_diskcache; ' + USE) == '5.7.0 diskcache.core\n'
    assert environment.pip('check') == 'No broken requirements found.\n'


@pytest.mark.stress
def test_a_constraint_names_the_file_and_its_hash(
    environment: Environment, index: Path, tmp_path: Path
) -> None:
    wheel = wheel_of(index, ORIGINAL, '5.7.0')
    constraints = tmp_path / 'constraints.txt'
    digest = hashlib.sha256(wheel.read_bytes()).hexdigest()
    for given in (digest[::-1], digest):
        constraints.write_text(f'diskcache @ {wheel.as_uri()}#sha256={given}\n')
        said = environment.pip('install', '--constraint', str(constraints), CLIENT)
        assert (said == '') == (given == digest), said
    assert environment.python('import needs_diskcache; ' + USE) == '5.7.0 diskcache.core\n'


@pytest.mark.stress
def test_without_dependencies_pip_leaves_the_original_out(environment: Environment) -> None:
    environment.pip('install', OURS)
    environment.pip('install', '--no-deps', CLIENT)
    assert environment.python('import needs_diskcache; ' + USE) == '5.7.0 diskcache.core\n'
    assert 'needs-diskcache 1.0 requires diskcache' in environment.pip('check')


@pytest.mark.stress
def test_a_library_that_pulls_the_original_afterwards_is_noticed(environment: Environment) -> None:
    environment.pip('install', OURS)
    environment.pip('install', CLIENT, f'{ORIGINAL}<5.7')
    assert IN_WORDS in environment.python('import needs_diskcache')


class Project:
    """A directory with a pyproject.toml, for a tool that makes the environment itself."""

    def __init__(self, place: Path) -> None:
        self.place = place

    def write(self, text: str) -> None:
        head = '[project]\nname = "app"\nversion = "1"\nrequires-python = ">=3.10"\n'
        (self.place / 'pyproject.toml').write_text(head + text)

    def run(self, *command: str) -> str:
        environment = {**os.environ, 'PYTHONPATH': '', 'POETRY_VIRTUALENVS_IN_PROJECT': 'true'}
        environment.pop('VIRTUAL_ENV', None)
        done = subprocess.run(
            command,
            cwd=self.place,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        assert done.returncode == 0, done.stdout
        return done.stdout

    def python(self, script: str) -> str:
        return self.run(str(self.place / '.venv' / 'bin' / 'python'), '-c', script)


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return Project(tmp_path)


def need(tool: str) -> str:
    """Return where a tool is; `make recipes` puts it on the path."""
    path = shutil.which(tool)
    if path is None:
        pytest.skip(f'{tool} is not installed: make recipes')
    return path


def wheel_of(index: Path, name: str, version: str) -> Path:
    (path,) = index.glob(f'{name.replace("-", "_")}-{version}-*.whl')
    return path


def sync_by_uv(project: Project, index: Path, dependencies: list[str], tables: str) -> None:
    """Let uv install what a project depends on.

    :param tables: of its pyproject.toml, below [tool.uv]
    """
    project.write(f"""
dependencies = {dependencies}
[tool.uv]
no-index = true
find-links = ["{index}"]
{tables}
""")
    project.run(need('uv'), 'sync', '--offline', '--python', sys.executable)


@pytest.mark.stress
def test_uv_leaves_the_original_out(project: Project, index: Path) -> None:
    """A requirement that is never wanted overrides those of all libraries."""
    override = 'override-dependencies = ["diskcache ; sys_platform == \'never\'"]'
    sync_by_uv(project, index, [CLIENT, OURS], override)
    assert project.python('import needs_diskcache; ' + USE) == '5.7.0 diskcache.core\n'
    assert '5.6.3' not in (project.place / 'uv.lock').read_text()
    assert list(project.place.rglob('diskcache-*.dist-info')) == []


@pytest.mark.stress
def test_uv_takes_this_package_under_its_name(project: Project, index: Path) -> None:
    source = f'diskcache = {{ path = "{wheel_of(index, ORIGINAL, "5.7.0")}" }}'
    sync_by_uv(project, index, [CLIENT, 'diskcache'], f'[tool.uv.sources]\n{source}')
    assert project.python('import needs_diskcache; ' + USE) == '5.7.0 diskcache.core\n'


@pytest.mark.stress
def test_uv_overrides_a_library_that_wants_the_original(project: Project, index: Path) -> None:
    override = 'override-dependencies = ["diskcache==5.7.0"]'
    source = f'diskcache = {{ path = "{wheel_of(index, ORIGINAL, "5.7.0")}" }}'
    tables = f'{override}\n[tool.uv.sources]\n{source}'
    sync_by_uv(project, index, [OLD_CLIENT, 'diskcache'], tables)
    assert project.python('import wants_original; ' + USE) == '5.7.0 diskcache.core\n'


@pytest.mark.stress
def test_uv_pip_heeds_an_override(environment: Environment, index: Path, tmp_path: Path) -> None:
    overrides = tmp_path / 'overrides.txt'
    overrides.write_text("diskcache ; sys_platform == 'never'\n")
    options = ['--offline', '--no-index', '--find-links', str(index)]
    where = ['--python', str(environment.place), '--overrides', str(overrides)]
    Project(tmp_path).run(need('uv'), 'pip', 'install', *options, *where, CLIENT, OURS)
    assert environment.python('import needs_diskcache; ' + USE) == '5.7.0 diskcache.core\n'


@pytest.mark.stress
def test_both_installed_by_uv_are_noticed(environment: Environment, index: Path) -> None:
    """uv unpacks several at once, so that nobody knows which comes last."""
    options = ['--offline', '--no-index', '--find-links', str(index)]
    where = ['--python', str(environment.place)]
    wanted = [OURS, f'{ORIGINAL}==5.6.3']
    Project(environment.place).run(need('uv'), 'pip', 'install', *options, *where, *wanted)
    assert IN_WORDS in environment.python(USE)


@pytest.mark.stress
@pytest.mark.parametrize('table', ['project', 'poetry'])
def test_poetry_takes_this_package_under_its_name(
    project: Project, index: Path, table: str
) -> None:
    """A requirement of the project's own, with where it comes from, holds for libraries too.

    Where the table `project` lists what is required, Poetry's own table only says more of that.
    """
    client = wheel_of(index, CLIENT, '1.0')
    listed = f'dependencies = ["{CLIENT} @ {client.as_uri()}", "diskcache"]'
    project.write(f"""
{listed if table == 'project' else ''}
[tool.poetry]
package-mode = false
[tool.poetry.dependencies]
diskcache = {{ path = "{wheel_of(index, ORIGINAL, '5.7.0')}" }}
{f'{CLIENT} = {{ path = "{client}" }}' if table == 'poetry' else ''}
""")
    poetry = need('poetry')
    project.run(poetry, 'env', 'use', '--no-interaction', sys.executable)
    project.run(poetry, 'install', '--no-interaction')
    assert project.python('import needs_diskcache; ' + USE) == '5.7.0 diskcache.core\n'
    assert '5.6.3' not in (project.place / 'poetry.lock').read_text()
