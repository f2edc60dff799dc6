"""Fuzz for so many seconds in all: the engine and the pickles of keys in C, the rest in Python.

    run.py --seconds 600 [--seed 1] [TARGET ...]

What is found of interest goes to build/fuzz/TARGET/corpus, beside what is kept in corpus/TARGET.
An input that fails is left in build/fuzz/TARGET-failed, and the run ends with an error that says
how to try it again. The targets in C need clang; those in Python go by chance without atheris.
"""

from __future__ import annotations

import argparse
import os
import shlex
import shutil
import subprocess
import sys
import sysconfig
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
BUILD = ROOT / 'build' / 'fuzz'
ENGINE = [f'src/{layer}/*.c' for layer in ('base', 'sqlite', 'engine')]
IN_C = {'store': ENGINE, 'key_pickle': ['src/python/key_pickle.c']}
IN_PYTHON = ['pickle_walker', 'directory', 'state']
SANITIZE = '-fsanitize=address,undefined -fno-sanitize-recover=all'


def compiler_flags(target: str) -> list[str]:
    """Return how a target in C is compiled."""
    flags = shlex.split('-g -O1 -std=c11 -Wall -Wextra') + shlex.split(SANITIZE)
    if target == 'store':
        return [*flags, '-D_GNU_SOURCE', '-Wno-macro-redefined', '-Isrc', '-Itests/engine']
    return [*flags, '-Isrc', '-isystem', sysconfig.get_path('include')]


def libraries(target: str) -> list[str]:
    """Return what a target in C is linked with."""
    if target == 'store':
        return ['-ldl', '-lpthread', '-lm']
    directory = sysconfig.get_config_var('LIBDIR')
    version = sysconfig.get_config_var('LDVERSION')
    return [f'-L{directory}', f'-Wl,-rpath,{directory}', f'-lpython{version}']


def build(target: str, compiler: str, main: list[str]) -> Path:
    """Build a target in C; `main` is what calls it."""
    program = BUILD / f'fuzz_{target}'
    sources = [path for pattern in IN_C[target] for path in sorted(ROOT.glob(pattern))]
    command = [compiler, *compiler_flags(target), *main, f'tests/fuzz/fuzz_{target}.c']
    command += ['-o', str(program), *map(str, sources), *libraries(target)]
    subprocess.run(command, cwd=ROOT, check=True)
    return program


def fuzz_in_c(target: str, corpus: Path, failed: Path, seconds: int, seed: int) -> list[str]:
    program = build(target, 'clang', ['-fsanitize=fuzzer'])
    return [
        str(program),
        f'-max_total_time={seconds}',
        f'-seed={seed % 2**32}',
        '-timeout=20',
        '-rss_limit_mb=2048',
        '-max_len=4096',
        '-print_final_stats=1',
        f'-exact_artifact_path={failed}',
        str(corpus),
        str(HERE / 'corpus' / target),
    ]


def fuzz_in_python(target: str, corpus: Path, failed: Path, seconds: int, seed: int) -> list[str]:
    for path in (HERE / 'corpus' / target).iterdir():
        shutil.copy(path, corpus)
    script = str(HERE / 'fuzz_python.py')
    times = [f'--seconds={seconds}', f'--seed={seed}']
    return [sys.executable, script, target, str(corpus), str(failed), *times]


def fuzz(target: str, seconds: int, seed: int) -> bool:
    """Fuzz one target; return whether all went well."""
    corpus, failed = BUILD / target / 'corpus', BUILD / f'{target}-failed'
    corpus.mkdir(parents=True, exist_ok=True)
    failed.unlink(missing_ok=True)
    if target in IN_C and not shutil.which('clang'):
        print(f'== {target}: there is no clang, it is not fuzzed')
        return True
    prepare = fuzz_in_c if target in IN_C else fuzz_in_python
    command = prepare(target, corpus, failed, seconds, seed)
    log = BUILD / f'{target}.log'
    # Of Python's memory little is given back at its end.
    environment = {**os.environ, 'ASAN_OPTIONS': f'detect_leaks={int(target == "store")}'}
    with open(log, 'wb') as output:
        result = subprocess.run(command, stdout=output, stderr=output, env=environment, check=False)
    lines = log.read_text(errors='replace').splitlines()
    told = [line for line in lines if 'number_of_executed_units' in line or 'Done' in line]
    told += [line for line in lines if line.endswith('inputs by chance')]
    print(f'== {target}: {(told or ["-"])[-1].strip()}', flush=True)
    if result.returncode == 0:
        return True
    print('\n'.join(line[:300] for line in lines[-40:]))
    if failed.exists():
        again = BUILD / target / 'failed'
        shutil.rmtree(again, ignore_errors=True)
        again.mkdir()
        shutil.copy(failed, again)
        run = (
            f'{BUILD}/fuzz_{target} {failed}'
            if target in IN_C
            else f'{sys.executable} {HERE}/fuzz_python.py {target} {again} /tmp/failed --replay'
        )
        print(f'the input is {failed}; again: {run}')
    return False


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('targets', nargs='*', help='all, unless some are named')
    parser.add_argument('--seconds', type=int, default=600, help='in all')
    parser.add_argument('--seed', type=int, default=time.time_ns(), help='another each time')
    arguments = parser.parse_args()
    targets = arguments.targets or [*IN_C, *IN_PYTHON]
    seconds = max(1, arguments.seconds // len(targets))
    went_well = [fuzz(target, seconds, arguments.seed) for target in targets]
    return 0 if all(went_well) else 1


if __name__ == '__main__':
    sys.exit(main())
