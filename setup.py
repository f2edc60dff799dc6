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
import sys
from glob import glob

from setuptools import Extension, setup

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

    sanitizers = os.environ.get('DISKCACHE_SANITIZE')
    if sanitizers:
        sanitize = [f'-fsanitize={sanitizers}', '-fno-sanitize-recover=all']
        compile_args += [*sanitize, '-fno-omit-frame-pointer', '-g', '-O1']
        link_args += sanitize

setup(
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
    ]
)
