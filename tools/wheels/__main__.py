"""Build, check and try wheels: `make wheels`, or `python -m wheels [CELL...]` in tools/.

A CELL is a pattern such as `cp311-manylinux-x86_64` or `*-musllinux-*`; without one it is all.
The exit code is 1 if one of those is not built or fails, 0 if one cannot be run here.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from debian import Unavailable

from wheels import checks, clone, compiling, headers, output, packing, tree, trying
from wheels.cells import Cell, chosen


def main() -> int:
    parser = argparse.ArgumentParser(prog='wheels', description='Build the wheels of Linux.')
    parser.add_argument('cells', nargs='*', metavar='CELL', help='such as cp311-manylinux-x86_64')
    parser.add_argument('--out', type=Path, default=Path('dist/wheels'), help='where they go')
    parser.add_argument('--smoke', action='store_true', help='do not run the suite')
    options = parser.parse_args()
    out = options.out.resolve()

    cells = chosen(options.cells, tree.can_do_without_gil())
    epoch = clone.commit_time()
    if changed := clone.changed():
        print(f'== not what was committed: {", ".join(changed)}', flush=True)
    made = tree.make(out, epoch)
    output.make_room(made.sdist, for_all=not options.cells)
    print(f'== {made.sdist.name}', flush=True)
    built, faults = build(made, cells, out, epoch)
    checks.metadata([made.sdist, *built.values()])
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        outcomes = pool.map(
            lambda cell: trying.attempt(cell, out, made, with_suite=not options.smoke), built
        )
        for cell, outcome in zip(built, outcomes, strict=True):
            said = [line for line in (outcome.smoke, outcome.suite) if line]
            print(f'== {cell.name}: {outcome.where}', *said, sep='\n   ', flush=True)
            if outcome.failed:
                faults.append(f'{cell.name} fails on {outcome.where}')
    for fault in faults:
        print(f'wheels: {fault}', file=sys.stderr)
    return 1 if faults else 0


def build(
    made: tree.Tree, cells: list[Cell], out: Path, epoch: int
) -> tuple[dict[Cell, Path], list[str]]:
    """Build the wheels; return them, and what is wrong with them."""
    common = tree.python_files(made)
    compiler = compiling.Compiler(made, tree.extension(made))
    version = compiling.compiler_version()
    info = f'{made.stem}-{made.version}.dist-info'
    name = made.stem.replace('_', '-')
    built, faults = {}, []
    for cell in cells:
        started = time.monotonic()
        try:
            found = headers.find(cell.version.rstrip('t'), cell.platform.architecture)
            library = compiler.extension_of(cell, found)
        except Unavailable as reason:
            print(f'== {cell.name}: not built: {reason}', flush=True)
            faults.append(f'{cell.name} is not built: {reason}')
            continue
        sbom = packing.sbom(name, made.version, cell, version, library, epoch)
        files = {
            **common,
            f'diskcache/_core{cell.suffix}': library,
            f'{info}/WHEEL': packing.description(cell),
            f'{info}/sboms/{name}.cdx.json': sbom,
        }
        path = out / f'{made.stem}-{made.version}-{cell.tag}.whl'
        packing.write(path, packing.wheel(files, epoch))
        faults += checks.problems(path, cell)
        built[cell] = path
        size, seconds = path.stat().st_size, time.monotonic() - started
        print(f'== {cell.name}: {size:,} bytes, in {seconds:.0f} s', flush=True)
    return built, faults


if __name__ == '__main__':
    sys.exit(main())
