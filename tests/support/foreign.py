"""Run the tests of the C engine on other processors, emulated.

    python tests/support/foreign.py [--short] [ARCHITECTURE...]    `make test-foreign`

The programs are built by zig, and run by qemu-user with the C library and the SQLite of Debian for
that architecture; i386 runs without qemu where the kernel can. `--short` runs the programs that
meet the layout of memory and of SQLite's files most. What is fetched and built stays in
build/foreign, and is used again.

Undefined behaviour ends a program. There is no address sanitizer for these.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from pathlib import Path

from places import ROOT

sys.path.append(str(ROOT / 'tools'))

from debian import Unavailable, need, report, unpacked

BUILD = ROOT / 'build' / 'foreign'

PACKAGES = ['libc6', 'libgcc-s1', 'libsqlite3-0']
UNDEFINED = '-fsanitize=undefined -fno-sanitize-recover=all -fsanitize-trap=all'

SHORT = ('commit_stamp', 'db', 'record', 'rows', 'version_table', 'wal_append')

PATIENCE = 1800  # Seconds after which the programs are held to hang.


@dataclass(frozen=True)
class Architecture:
    """A processor, by the names that Debian, zig and qemu have for it."""

    zig: str
    qemu: str
    suite: str
    about: str


ARCHITECTURES = {
    'i386': Architecture('x86-linux-gnu', 'i386', 'bookworm', '32 bits'),
    'armhf': Architecture('arm-linux-gnueabihf', 'arm', 'bookworm', '32 bits, weakly ordered'),
    'mipsel': Architecture('mipsel-linux-gnueabihf', 'mipsel', 'bookworm', '32 bits at once'),
    's390x': Architecture('s390x-linux-gnu', 's390x', 'bookworm', 'big-endian'),
    'arm64': Architecture('aarch64-linux-gnu', 'aarch64', 'bookworm', 'weakly ordered'),
    'riscv64': Architecture('riscv64-linux-gnu', 'riscv64', 'trixie', 'weakly ordered'),
}
#: The C library that zig links for: that of bookworm.
C_LIBRARY = '2.36'


def find_zig() -> Path:
    """Return the compiler of the package ziglang."""
    spec = find_spec('ziglang')
    if spec is None or spec.origin is None:
        raise Unavailable('there is no ziglang: make test-foreign installs it')
    return Path(spec.origin).parent / 'zig'


def all_programs() -> set[str]:
    """Return the names of the programs of the engine's tests."""
    return {path.stem for path in (ROOT / 'tests' / 'engine').glob('test_*.c')}


def runner_for(name: str, root: Path) -> str:
    """Return what runs a program of that architecture."""
    loader = root / 'lib' / 'ld-linux.so.2'
    if name == 'i386' and loader.exists():
        libraries = ':'.join(str(path) for path in root.glob('**/i386-linux-gnu') if path.is_dir())
        command = [str(loader), '--library-path', libraries]
        if subprocess.run([*command, '--version'], capture_output=True).returncode == 0:
            return ' '.join(command)
    emulator = f'qemu-{ARCHITECTURES[name].qemu}-static'
    need(emulator)
    return f'{emulator} -L {root}'


def run_engine(name: str, short: bool) -> str:
    """Run the engine's tests; return what has passed, and raise if something has not."""
    architecture = ARCHITECTURES[name]
    need('make')
    zig = find_zig()
    place = BUILD / name
    root = unpacked(place / 'root', architecture.suite, name, PACKAGES)
    chosen = {f'test_{each}' for each in SHORT} if short else {*all_programs(), 'fuzz_store'}
    return run_programs(
        place,
        chosen,
        CC=f'{zig} cc -target {architecture.zig}.{C_LIBRARY}',
        RUNNER=runner_for(name, root),
    )


def run_programs(place: Path, programs: set[str], **variables: str) -> str:
    """Build and run programs of the engine's tests, with these variables of their Makefile.

    :return: how many tests passed
    :raises AssertionError: some did not
    """
    log = place / 'engine.log'
    with log.open('w') as file:
        done = subprocess.run(
            [
                *('make', '--no-print-directory', '-C', 'tests/engine'),
                *(f'run-{each}' for each in sorted(programs)),
                f'SANITIZE={UNDEFINED}',
                f'BUILD={place / "engine"}',
                *(f'{key}={value}' for key, value in variables.items()),
            ],
            cwd=ROOT,
            env={**os.environ, 'LC_ALL': 'C.UTF-8'},
            stdout=file,
            stderr=subprocess.STDOUT,
            timeout=PATIENCE,
        )
    text = log.read_text(errors='replace')
    passed = sum(map(int, re.findall(r'^(\d+) passed', text, re.MULTILINE)))
    skipped = len(re.findall(r'^ok .* # SKIP', text, re.MULTILINE))
    if done.returncode != 0:
        print(
            *re.findall(r'^(?:not ok|#.*not so|.*error:|make: \*\*\*).*', text, re.MULTILINE),
            sep='\n',
        )
        raise AssertionError(f'{passed} passed, others did not: {log}')
    return f'{passed} passed, {skipped} skipped'


def main() -> int:
    """Run what the command line asks for; 1 if something failed."""
    parser = argparse.ArgumentParser(description="The engine's tests on other processors.")
    parser.add_argument('names', nargs='*', metavar='ARCHITECTURE', help=' '.join(ARCHITECTURES))
    parser.add_argument('--short', action='store_true', help='only some of the programs')
    options = parser.parse_args()
    failed = [
        report(name, partial(run_engine, name, options.short), f' ({ARCHITECTURES[name].about})')
        for name in options.names or ARCHITECTURES
    ]
    return 1 if any(failed) else 0


if __name__ == '__main__':
    sys.exit(main())
