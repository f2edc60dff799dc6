"""Run the tests of the C engine on Windows, as Wine has it.

    python tests/support/wine.py [PROGRAM...]    `make test-wine`

The programs are built by zig, and so is SQLite, from Debian's sources. What the tests take from
POSIX is in tests/engine/windows; `WITHOUT` says which of them need more. Where there is no Wine
that is said, and is no failure. What is built stays in build/wine.
"""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

from foreign import all_programs, find_zig, run_programs
from places import ROOT

sys.path.append(str(ROOT / 'tools'))

from debian import Unavailable, report, run, sqlite_amalgamation

BUILD = ROOT / 'build' / 'wine'
TARGET = 'x86_64-windows-gnu'

#: What the other programs are about.
WITHOUT = {
    'test_api': 'how libraries are found elsewhere',
    'test_failures': 'calls of POSIX that fail',
    'test_frozen': 'reading without a right to write, which is off on Windows',
    'test_invariants': 'children that are aborted',
    'test_read_lease': 'forks and signals',
    'test_record': 'memory that is not to be had, by an option of the linker',
    'test_valuefile': 'links, pipes, limits and mounts',
}


def find_wine() -> str:
    """Return the command of Wine; Debian has it outside of the path."""
    for name in ('wine64', '/usr/lib/wine/wine64'):
        if (path := shutil.which(name)) is not None:
            return path
    raise Unavailable('wine64 not found: apt-get install wine64')


def build_sqlite(zig: Path) -> Path:
    """Return SQLite as a library of Windows."""
    library = BUILD / 'sqlite3.dll'
    if not library.exists():
        source = sqlite_amalgamation('trixie') / 'sqlite3.c'
        BUILD.mkdir(parents=True, exist_ok=True)
        exported = '-DSQLITE_API=__declspec(dllexport)'
        command = [str(zig), 'cc', '-target', TARGET, '-O0', '-shared', exported]
        partial = BUILD / 'partial.dll'
        run(*command, '-o', partial, source)
        partial.rename(library)
    return library


def run_engine(names: list[str]) -> str:
    """Run the programs that can run; raise AssertionError if something fails."""
    wine, zig = find_wine(), find_zig()
    library = build_sqlite(zig)
    os.environ |= {
        'DC_TEST_SQLITE': f'Z:{library}',
        'WINEDEBUG': '-all',
        'WINEPREFIX': str(BUILD / 'prefix'),
    }
    run(wine, 'wineboot', '--init')  # once for all programs, which start at the same time
    chosen = set(names) or all_programs() - set(WITHOUT)
    return run_programs(
        BUILD,
        chosen,
        CC=f'{zig} cc -target {TARGET} -Wno-unused-command-line-argument',
        LDLIBS='-lbcrypt',
        TEST_CPPFLAGS=f'-I{ROOT}/tests/engine -isystem {ROOT}/tests/engine/windows -D_GNU_SOURCE',
        RUNNER=wine,
    )


if __name__ == '__main__':
    sys.exit(report('Windows', lambda: run_engine(sys.argv[1:])))
