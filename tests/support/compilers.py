"""Build with each compiler and optimization that there is, and run a part of the tests.

    python tests/support/compilers.py [NAME...]    `make compilers`

For each: the engine's tests without sanitizers, then the extension, a warning being an error, and
on it the files `TESTS`. A compiler that is not installed did not run, and that is said. What is
built stays in build/compilers.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from functools import partial
from importlib.util import find_spec
from pathlib import Path

from places import ROOT

sys.path.append(str(ROOT / 'tools'))

from debian import Unavailable, report

BUILD = ROOT / 'build' / 'compilers'

#: The name: compiler and flags. zig's clang is newer than that of any Debian.
BUILDS = {
    **{f'gcc-{version}': (f'gcc-{version}', '-O2') for version in range(10, 17)},
    **{f'clang-{version}': (f'clang-{version}', '-O2') for version in range(13, 23)},
    'zig': ('zig cc', '-O2'),
    'gcc -O0': ('gcc', '-O0'),
    'gcc -O3 -flto': ('gcc', '-O3 -flto'),
    'clang -O0': ('clang', '-O0'),
    'clang -O3': ('clang', '-O3'),
    'without sqlite3.h': ('gcc', '-O2 -DDC_WITHOUT_SQLITE_HEADER'),
}
TESTS = [
    'cache/test_hot_tier.py',
    'cache/test_queue.py',
    'compat/test_sqlite.py',
]

PATIENCE = 1200


def find_compiler(name: str) -> str:
    """Return the command of a compiler."""
    if name == 'zig cc':
        spec = find_spec('ziglang')
        if spec is None or spec.origin is None:
            raise Unavailable('there is no ziglang: make compilers installs it')
        return f'{Path(spec.origin).parent / "zig"} cc'
    if shutil.which(name) is None:
        raise Unavailable('not installed')
    return name


def run_step(command: list[str | Path], log: Path, **environment: str) -> str:
    """Run a command; return its last line, and raise AssertionError if it fails."""
    with log.open('a') as file:
        done = subprocess.run(
            command,
            cwd=ROOT,
            env={**os.environ, **environment},
            stdout=file,
            stderr=subprocess.STDOUT,
            timeout=PATIENCE,
        )
    if done.returncode != 0:
        raise AssertionError(f'{" ".join(map(str, command[:6]))}: see {log}')
    return log.read_text(errors='replace').rstrip().rpartition('\n')[2].strip('= ')


def run_build(name: str) -> str:
    """Build and test with one compiler; return pytest's last line."""
    wanted, flags = BUILDS[name]
    compiler = find_compiler(wanted)
    place = BUILD / name.replace(' ', '_')
    place.mkdir(parents=True, exist_ok=True)
    log = place / 'log.txt'
    log.unlink(missing_ok=True)
    run_step(
        [
            *('make', '--no-print-directory', '-C', 'tests/engine', 'run', f'CC={compiler}'),
            *(f'BUILD={place / "engine"}', f'SANITIZE={flags} -Wno-error'),
        ],
        log,
    )
    # Flags of the interpreter's own may be unknown to another compiler.
    unknown = '' if wanted.startswith('gcc') else ' -Wno-ignored-optimization-argument'
    run_step(
        [
            *(sys.executable, 'setup.py', '--quiet', 'build', '--force'),
            *('--build-lib', place / 'lib', '--build-temp', place / 'temp'),
        ],
        log,
        CC=compiler,
        LDSHARED=f'{compiler} -shared',
        CFLAGS=flags + unknown,
        DISKCACHE_WERROR='1',
    )
    # Through the script: `python -m pytest` would put the sources first.
    pytest = Path(sys.executable).parent / 'pytest'
    files = [f'tests/{file}' for file in TESTS]
    options = ['-q', '-p', 'no:cacheprovider', '-m', 'not slow and not stress']
    return run_step([pytest, *options, *files], log, PYTHONPATH=str(place / 'lib'))


def main(names: list[str]) -> int:
    """Run what the command line asks for; 1 if something failed."""
    failed = [report(name, partial(run_build, name)) for name in names or BUILDS]
    return 1 if any(failed) else 0


if __name__ == '__main__':
    sys.exit(main(sys.argv[1:]))
