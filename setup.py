"""Build of the C extension; everything else about the package is in pyproject.toml.

Three environment variables change how the extension is compiled:

* ``DISKCACHE_WERROR=1``: many warnings, and each is an error. CI sets it; users do not, because a
  newer compiler than ours may warn where ours is silent.
* ``DISKCACHE_SANITIZE=address,undefined``: passed to the compiler's ``-fsanitize``, with what makes
  the reports readable. The interpreter itself is not instrumented, so load the runtime first:
  ``LD_PRELOAD=$(gcc -print-file-name=libasan.so) ASAN_OPTIONS=detect_leaks=0 python ...``.
* ``DISKCACHE_DEBUG=1``: invariants are checked at each operation (``src/base/debug.h``). One that
  does not hold ends the process. Much slower; for tests.

SQLite is found at import, behind the ``sqlite3`` module that is in use: there is no header to find
and no library to link here (docs/decisions/0001-one-sqlite-per-process.rst).
"""

import os
import re
import shutil
import sys
import sysconfig
from glob import glob
from pathlib import Path

import setuptools
from setuptools import Distribution, Extension, setup
from setuptools.command.build_ext import build_ext
from setuptools.command.build_py import build_py
from setuptools.command.sdist import sdist
from setuptools.errors import CompileError

if sys.platform == 'win32':
    # Where <stdatomic.h> is an experiment still; not tried, see docs/platforms-other.rst.
    compile_args = ['/std:c11', '/experimental:c11atomics']
    link_args = []
    libraries = ['bcrypt']  # the system's random numbers
else:
    compile_args = ['-std=c11', '-fvisibility=hidden']
    link_args = []
    # Part of libc on macOS and in glibc 2.34; older glibc has dlopen and pthread_atfork apart.
    libraries = ['dl', 'pthread'] if sys.platform.startswith('linux') else []

    if os.environ.get('DISKCACHE_WERROR') == '1':
        compile_args += ['-Wall', '-Wextra', '-Werror']

    if os.environ.get('DISKCACHE_DEBUG') == '1':
        compile_args += ['-DDISKCACHE_DEBUG', '-g', '-O1']
    else:
        # Without the assertions in Python's headers. Python's own flags say so too, but setuptools
        # leaves those out where CFLAGS is set, as distributions and cibuildwheel do.
        compile_args += ['-DNDEBUG']

    sanitizers = os.environ.get('DISKCACHE_SANITIZE')
    if sanitizers:
        sanitize = [f'-fsanitize={sanitizers}', '-fno-sanitize-recover=all']
        compile_args += [*sanitize, '-fno-omit-frame-pointer', '-g', '-O1']
        link_args += sanitize

NAME = os.environ.get('DISKCACHE_DISTRIBUTION')


class NamedDistribution(Distribution):
    """What pyproject.toml says, but for the name, which cannot be left open there."""

    def parse_config_files(self, *args, **kwargs):
        super().parse_config_files(*args, **kwargs)
        self.metadata.name = NAME or self.metadata.name


class NamedSdist(sdist):
    """An sdist whose pyproject.toml has the name that it was made with."""

    def make_release_tree(self, base_dir, files):
        super().make_release_tree(base_dir, files)
        path = Path(base_dir, 'pyproject.toml')
        text = re.sub(
            r'^name = ".*"',
            f'name = "{self.distribution.get_name()}"',
            path.read_text(),
            flags=re.M,
        )
        path.unlink()  # it may be a link to that of the clone
        path.write_text(text)


class CleanBuildPy(build_py):
    """A build into a directory in which an older commit may have left its core.py and cli.py.

    All that is there goes into the wheel. Beside the folder core the first looks like one of the
    original's (diskcache/core/__init__.py).
    """

    def run(self):
        for name in ('core.py', 'cli.py'):
            Path(self.build_lib, 'diskcache', name).unlink(missing_ok=True)
        super().run()


class ExplainedBuildExt(build_ext):
    """A build that says in one sentence what it lacks."""

    def build_extensions(self):
        compiler = getattr(self.compiler, 'compiler', None)  # on Windows it is looked for later
        if compiler and shutil.which(compiler[0]) is None:
            self._stop(f'a C compiler ({compiler[0]} is not there)', 'gcc')
        try:
            super().build_extensions()
        except CompileError:  # which flags and variables of the compiler can keep from happening
            if compiler and not any(Path(path, 'Python.h').exists() for path in self._headers()):
                version, place = sysconfig.get_python_version(), sysconfig.get_path('include')
                lacking = f'the C headers of Python {version} (Python.h is not in {place})'
                self._stop(lacking, 'python3-dev')
            raise

    def _headers(self):
        for name in ('CPATH', 'C_INCLUDE_PATH'):
            yield from filter(None, os.environ.get(name, '').split(os.pathsep))
        for option in self.compiler.compiler_so:  # CFLAGS and CPPFLAGS are among them
            if option.startswith('-I'):
                yield option[2:]
        yield from self.compiler.include_dirs

    def _stop(self, lacking, package):
        name = self.distribution.get_name()
        raise SystemExit(
            f'{name}: to be built from its sources it needs {lacking}; install that (Debian and'
            f' Ubuntu: apt-get install {package}), or a wheel, which needs nothing'
        )


OLDEST = 77  # as pyproject.toml says to those who heed it: pip --no-build-isolation does not
if int(setuptools.__version__.partition('.')[0]) < OLDEST:
    raise SystemExit(
        f'{NAME or "diskcache"}: to be built from its sources it needs setuptools {OLDEST} or'
        f' newer, and {sys.executable} has {setuptools.__version__}: pip install --upgrade'
        ' setuptools, or build with isolation: pip install .'
    )

setup(
    distclass=NamedDistribution,
    cmdclass={'build_ext': ExplainedBuildExt, 'build_py': CleanBuildPy, 'sdist': NamedSdist},
    ext_modules=[
        Extension(
            'diskcache._core',
            sources=sorted(glob('src/**/*.c', recursive=True)),
            depends=sorted(
                glob('src/**/*.h', recursive=True) + glob('src/**/*.def', recursive=True)
            ),
            include_dirs=['src'],
            libraries=libraries,
            extra_compile_args=compile_args,
            extra_link_args=link_args,
        )
    ],
)
