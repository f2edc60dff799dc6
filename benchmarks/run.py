"""Run all benchmarks and write docs/benchmarks.rst, with its plots, from what they found.

    python benchmarks/run.py                  # forty minutes, on an idle machine
    python benchmarks/run.py core web         # some; the page has the others' last results
    python benchmarks/run.py --quick          # a minute, to see that all of it works
    python benchmarks/run.py --only-page      # the page again from the results that there are

A quick run writes its results and its page below build/benchmarks/quick, never to docs: its figures
are not to be trusted.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from measuring import ORIGINAL_VERSION, ROOT, quick_is_asked_for
from results import LIMIT, NATIVE, ORIGINAL, Result, format_table

#: In the order of the page; each is a script, ``bench_<name>.py``.
BENCHMARKS = [
    'core',
    'layers',
    'processes',
    'threads',
    'web',
    'files',
    'growth',
    'slowdisk',
    'peers',
    'django',
    'remote',
]
BUILD = ROOT / 'build' / 'benchmarks'
#: Seconds after which a script is not going to end.
TIMEOUT = 3600

PAGE = """\
Benchmarks
==========

.. This file is written by benchmarks/run.py (``make bench``) and not to be edited.

This package beside diskcache {original}, the original, measured in turn in one run on one machine.
Times differ from machine to machine: what counts are the ratios, the original's time divided by
ours. A figure is the median of the rounds, a ratio the median of the rounds' ratios, and *min-max*
their range. The *goal* of a ratio is the least it was to be. The *limit* is what nothing that does
the same can be faster than, measured in the same run: a ``dict``, a ``memcpy``, unpickling, or the
same SQL on the same tables, executed from C.{warning}

{machine}

.. contents::
   :local:


Goals
-----

{reached} of {total} goals were reached.

{goals_plot}

{goals}
"""

SECTION = """

{title}
{rule}

{about}

{plots}

{tables}
"""

PLOT = """\
.. figure:: {path}
   :alt: {question}

   {question}"""


def main() -> None:
    """Do what the command line says."""
    arguments = _parse_arguments()
    try:
        import plots  # noqa: F401 (before forty minutes have passed)
    except ImportError as error:
        sys.exit(f"{error}\nThe page's plots need Matplotlib: pip install matplotlib")
    build = BUILD / 'quick' if arguments.quick else BUILD
    page = build / 'benchmarks.rst' if arguments.quick else ROOT / 'docs' / 'benchmarks.rst'
    failed = []
    if not arguments.only_page:
        failed = [
            name for name in arguments.names or BENCHMARKS if not _run(name, build, arguments)
        ]
    results = {
        name: Result.read(path) for name in BENCHMARKS if (path := build / f'{name}.json').exists()
    }
    if failed:
        sys.exit(f'failed: {", ".join(failed)}; {page} is as it was')
    if not results:
        sys.exit(f'there are no results in {build}')
    write_page(results, page)
    print(f'written: {page}')


def _run(name: str, build: Path, arguments: argparse.Namespace) -> bool:
    """Run one benchmark; return whether it worked."""
    print(f'== {name}', flush=True)
    command = [
        *(sys.executable, str(ROOT / 'benchmarks' / f'bench_{name}.py')),
        *('--json', str(build / f'{name}.json')),
    ]
    if arguments.quick:
        command.append('--quick')
    if arguments.directory is not None:
        command += ['--directory', str(arguments.directory)]
    started = time.monotonic()
    try:
        worked = subprocess.run(command, timeout=TIMEOUT).returncode == 0
    except subprocess.TimeoutExpired:
        print(f'stopped: it took more than {TIMEOUT} s', file=sys.stderr)
        return False
    print(f'== {name}: {time.monotonic() - started:.0f} s\n', flush=True)
    return worked


def write_page(results: dict[str, Result], page: Path) -> None:
    """Write the page and its plots.

    :param results: by the names of their benchmarks
    :param page: the file; plots go to a directory beside it that is called like it
    """
    from plots import GOALS, PLOTS, Plot

    pictures = page.with_suffix('')
    pictures.mkdir(parents=True, exist_ok=True)
    for stale in pictures.glob('*.svg'):
        stale.unlink()

    def picture(plot: Plot) -> str:
        path = plot.write(results, pictures)
        return PLOT.format(path=path.relative_to(page.parent).as_posix(), question=plot.question)

    any_result = next(iter(results.values()))
    outcomes = [
        (result, outcome)
        for result in results.values()
        for outcome in result.outcomes
        if outcome.has_goal()
    ]
    text = PAGE.format(
        original=ORIGINAL_VERSION,
        warning='\n\n**A quick run: its figures are not to be trusted.**'
        if any_result.quick
        else '',
        machine=_machine(results),
        reached=sum(outcome.is_reached() is True for _, outcome in outcomes),
        total=len(outcomes),
        goals_plot=picture(GOALS),
        goals=format_table(
            ['operation', ORIGINAL, NATIVE, LIMIT, 'ratio', 'goal', 'reached'],
            [
                [
                    f'{result.benchmark}: {outcome.figure.title}',
                    outcome.format_median(ORIGINAL),
                    outcome.format_median(NATIVE),
                    outcome.format_limit(),
                    outcome.format_ratio(NATIVE),
                    outcome.format_goal(),
                    outcome.format_reached() or 'not measured',
                ]
                for result, outcome in outcomes
            ],
        ),
    )
    for name, result in results.items():
        text += SECTION.format(
            title=result.title,
            rule='-' * len(result.title),
            about='\n\n'.join(result.about),
            plots='\n\n'.join(
                picture(plot) for plot in PLOTS if name in plot.needs and result.is_measured()
            ),
            tables=result.tables(),
        )
    page.write_text(text, encoding='utf-8')


def _machine(results: dict[str, Result]) -> str:
    """Describe the machine, and when and how long each benchmark ran on it."""
    machine = next(iter(results.values())).machine
    lines = [
        ('processor', f'{machine["cpu"]}, {machine["cores"]} cores'),
        ('memory', f'{machine["memory"]}'),
        ('system', f'{machine["kernel"]}, {machine["file_system"]}'),
        ('software', f'{machine["python"]}, SQLite {machine["sqlite"]}'),
    ]
    runs = [
        [
            name,
            str(result.machine['date']),
            str(result.machine['load_before']),
            str(result.rounds),
            f'{result.seconds:.0f} s',
            result.contender(NATIVE).version,
        ]
        for name, result in results.items()
    ]
    header = ['benchmark', 'date', 'load before', 'rounds', 'took', 'version']
    fields = '\n'.join(f':{name}: {value}' for name, value in lines)
    return f'{fields}\n\n{format_table(header, runs)}'


def _parse_arguments(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description='Run all benchmarks and write docs/benchmarks.rst.'
    )
    parser.add_argument('names', nargs='*', metavar='name', help=f'of: {", ".join(BENCHMARKS)}')
    parser.add_argument(
        '--quick',
        action='store_true',
        default=quick_is_asked_for(),
        help='a minute, to see that it works (also: QUICK=1 in the environment)',
    )
    parser.add_argument(
        '--only-page', action='store_true', help='run nothing; write the page from the last results'
    )
    parser.add_argument(
        '--directory', type=Path, help="where the caches are made (the system's temporary one)"
    )
    parsed = parser.parse_args(arguments)
    unknown = [name for name in parsed.names if name not in BENCHMARKS]
    if unknown:
        parser.error(f'no such benchmark: {", ".join(unknown)}')
    return parsed


if __name__ == '__main__':
    main()
