"""What the benchmark scripts share: two packages measured in turn, a table, JSON, the machine.

Both packages are called diskcache, so each lives in a process of its own, a *worker*: the same
script, started with ``PYTHONPATH`` set to the package. The driver asks the workers in turn for one
batch of one row (a row is one operation to be measured), in swapped order from round to round, and
with all rows in every round. So whatever disturbs the machine for a while disturbs both packages
and many rows a little, instead of deciding one row; medians do the rest.

A script makes a :class:`Suite`, adds rows with its decorator, and calls :func:`main`::

    suite: Suite[Caches] = Suite('core', Caches)

    @suite.row('get, small', count=2000, goal=2)
    def get_small(caches: Caches, count: int, watch: Stopwatch) -> None:
        get, keys = caches.small.get, caches.keys(count)
        with watch:
            for key in keys:
                get(key)

    if __name__ == '__main__':
        main(suite, rounds=60)

A row's function prepares, measures `count` operations inside ``with watch``, and tidies up.
"""

from __future__ import annotations

import argparse
import datetime
import gc
import json
import os
import platform
import signal
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, Generic, Protocol, TypeVar

ROOT = Path(__file__).resolve().parent.parent
ORIGINAL_VERSION = '5.6.3'

# --- what is measured --------------------------------------------------------------------------


class Stopwatch:
    """Adds up the nanoseconds spent inside its ``with`` blocks, where nothing is collected."""

    def __init__(self) -> None:
        self.elapsed = 0
        self._started = 0

    def __enter__(self) -> None:
        gc.disable()
        self._started = time.perf_counter_ns()

    def __exit__(self, *exception: object) -> None:
        self.elapsed += time.perf_counter_ns() - self._started
        gc.enable()

    def add(self, nanoseconds: int) -> None:
        """Add time that was measured elsewhere, in another process for example."""
        self.elapsed += nanoseconds


class Subject(Protocol):
    """What the rows of a suite work on, made in each worker."""

    def close(self) -> None:
        """Let go of files and connections."""


S = TypeVar('S', bound=Subject)
RowFunction = Callable[[S, int, Stopwatch], None]


@dataclass(frozen=True)
class Row(Generic[S]):
    """One operation that is measured."""

    name: str
    title: str
    #: Operations in a batch: enough to make the clock and the loop's set-up negligible.
    count: int
    #: How many times faster than the original it is to be, if that has been said.
    goal: float | None
    function: RowFunction[S]


class Suite(Generic[S]):
    """The rows of one script, and what makes the subject they work on."""

    def __init__(self, name: str, make_subject: Callable[[Path], S]) -> None:
        """Make a suite without rows.

        :param name: of the script's result: ``build/benchmarks/bench_<name>.json``
        :param make_subject: called in each worker with a directory of its own, before any row
        """
        self.name = name
        self.make_subject = make_subject
        self.rows: dict[str, Row[S]] = {}

    def row(
        self, title: str, count: int, goal: float | None = None
    ) -> Callable[[RowFunction[S]], RowFunction[S]]:
        """Return a decorator that makes a function a row, named after the function.

        :param title: how the table calls it
        :param count: operations in a batch
        :param goal: how many times faster than the original it is to be
        """

        def decorator(function: RowFunction[S]) -> RowFunction[S]:
            name = function.__name__
            self.rows[name] = Row(name, title, count, goal, function)
            return function

        return decorator


@dataclass
class Comparison:
    """Nanoseconds per operation of one row, round by round."""

    original: list[float] = field(default_factory=list)
    native: list[float] = field(default_factory=list)

    def ratios(self) -> list[float]:
        """How many times faster than the original, in each round."""
        return [
            original / native for original, native in zip(self.original, self.native, strict=True)
        ]

    def ratio(self) -> float:
        """How many times faster than the original: the median of the rounds."""
        return statistics.median(self.ratios())


# --- the workers -------------------------------------------------------------------------------


class WorkerFailed(Exception):
    """A worker could not do what it was asked for; the message says why."""


class Worker:
    """A process that measures one package, as a context manager.

    The protocol is one JSON object a line: the worker says which package it found, then answers
    each request for a batch with its nanoseconds or with an error.
    """

    def __init__(self, script: Path, package_path: Path, directory: Path) -> None:
        """Start the process and wait until its subject is made.

        :param script: the benchmark script, which calls :func:`main`
        :param package_path: directory that holds the package ``diskcache``
        :param directory: for the worker's files; made here
        :raises WorkerFailed: if the package cannot be imported or is another one
        """
        directory.mkdir()
        self._process = subprocess.Popen(
            [sys.executable, str(script), '--worker', str(directory)],
            env={**os.environ, 'PYTHONPATH': str(package_path)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        try:
            hello = self._answer()
            self.version: str = hello['version']
            found = Path(hello['file'])
            if package_path.resolve() not in found.resolve().parents:
                raise WorkerFailed(f'diskcache was to come from {package_path}, but is {found}')
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Worker:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def close(self) -> None:
        """End the process; it closes its subject first."""
        with suppress(BrokenPipeError):  # it has ended already
            self._pipe('stdin').close()
        try:
            self._process.wait(timeout=30)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._pipe('stdout').close()

    def batch(self, row: Row[Any]) -> float:
        """Let the worker run one batch of a row.

        :return: nanoseconds per operation
        :raises WorkerFailed: if the row raised an error
        """
        stdin = self._pipe('stdin')
        with suppress(BrokenPipeError):  # if it has ended, there is no answer either
            stdin.write(json.dumps({'row': row.name}) + '\n')
            stdin.flush()
        nanoseconds: int = self._answer()['nanoseconds']
        return nanoseconds / row.count

    def _answer(self) -> dict[str, Any]:
        line = self._pipe('stdout').readline()
        answer: dict[str, Any] = json.loads(line) if line else {'error': 'it ended unexpectedly'}
        if 'error' in answer:
            raise WorkerFailed(answer['error'])
        return answer

    def _pipe(self, name: str) -> IO[str]:
        pipe: IO[str] = getattr(self._process, name)
        return pipe


def _serve(suite: Suite[S], directory: Path) -> None:
    """Be a worker: answer requests until the driver closes the pipe."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the driver's; it closes the pipe
    requests, answers = sys.stdin, sys.stdout
    sys.stdout = sys.stderr  # what anything else prints is no answer

    def answer(content: dict[str, Any]) -> None:
        answers.write(json.dumps(content) + '\n')
        answers.flush()

    try:
        import diskcache

        subject = suite.make_subject(directory)
    except Exception:
        answer({'error': traceback.format_exc()})
        return
    try:
        answer({'version': diskcache.__version__, 'file': diskcache.__file__})
        for request in requests:
            row = suite.rows[json.loads(request)['row']]
            watch = Stopwatch()
            try:
                row.function(subject, row.count, watch)
            except Exception:
                answer({'error': f'row {row.name}:\n{traceback.format_exc()}'})
            else:
                answer({'nanoseconds': watch.elapsed})
    finally:
        subject.close()


def compare(
    original: Worker, native: Worker, rows: Sequence[Row[Any]], rounds: int
) -> dict[str, Comparison]:
    """Measure the rows with both workers in turn.

    :param rounds: batches of each row that count; one more, the first, warms up
    :return: the comparisons by the names of the rows, in the order of `rows`
    :raises WorkerFailed: if a row raised an error
    """
    comparisons = {row.name: Comparison() for row in rows}
    with _progress(rounds + 1) as show:
        for number in range(rounds + 1):
            for row in rows:
                if number % 2:
                    native_time, original_time = native.batch(row), original.batch(row)
                else:
                    original_time, native_time = original.batch(row), native.batch(row)
                if number:
                    comparisons[row.name].original.append(original_time)
                    comparisons[row.name].native.append(native_time)
            show(number + 1)
    return comparisons


@contextmanager
def _progress(total: int) -> Iterator[Callable[[int], None]]:
    """Give a function that shows how many rounds are done, if there is somebody to see it."""
    visible = sys.stderr.isatty()

    def show(done: int) -> None:
        if visible:
            print(f'\rround {done} of {total}', end='', file=sys.stderr, flush=True)

    try:
        yield show
    finally:
        if visible:
            print('\r\033[K', end='', file=sys.stderr, flush=True)


# --- the machine -------------------------------------------------------------------------------


def describe_machine(directory: Path) -> dict[str, str | int]:
    """Say what the figures were measured on.

    :param directory: where the caches are, for its file system
    """
    return {
        'cpu': _cpu_model(),
        'cores': os.cpu_count() or 0,
        'kernel': f'{platform.system()} {platform.release()}',
        'file_system': _file_system(directory),
        'python': f'{platform.python_implementation()} {platform.python_version()}',
        'sqlite': sqlite3.sqlite_version,
        'load_before': _load_average(),
        'date': datetime.datetime.now(datetime.timezone.utc).isoformat(timespec='seconds'),
    }


def _cpu_model() -> str:
    try:
        for line in Path('/proc/cpuinfo').read_text().splitlines():
            name, _, value = line.partition(':')
            if name.strip() == 'model name':
                return value.strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def _file_system(directory: Path) -> str:
    """The type of the file system that the longest mount point above the directory has."""
    resolved = directory.resolve()
    best_mount_point, best_type = Path(), 'unknown'
    try:
        lines = Path('/proc/self/mounts').read_text().splitlines()
    except OSError:
        return best_type
    for line in lines:
        _, mount_point, file_system = line.split(' ')[:3]
        mounted_at = Path(mount_point.replace('\\040', ' '))
        # >=: what was mounted last at the same place hides what was there before.
        if resolved.is_relative_to(mounted_at) and len(mounted_at.parts) >= len(
            best_mount_point.parts
        ):
            best_mount_point, best_type = mounted_at, file_system
    return best_type


def _load_average() -> str:
    try:
        return f'{os.getloadavg()[0]:.2f}'
    except (AttributeError, OSError):  # not on Windows
        return 'unknown'


# --- results -----------------------------------------------------------------------------------


def format_time(nanoseconds: float) -> str:
    """Format a duration with three significant digits and a fitting unit."""
    value = nanoseconds
    for unit in ('ns', 'µs', 'ms'):
        if value < 1000:
            return f'{_three_digits(value)} {unit}'
        value /= 1000
    return f'{_three_digits(value)} s'


def _three_digits(value: float) -> str:
    decimals = 2 if value < 10 else 1 if value < 100 else 0
    return f'{value:.{decimals}f}'


def format_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Format a reStructuredText table: the first column to the left, the others to the right.

    :param header: titles of the columns
    :param rows: cells; none in the first column may be empty
    """
    widths = [max(map(len, column)) for column in zip(header, *rows, strict=True)]
    rule = '  '.join('=' * width for width in widths)
    lines = [
        '  '.join(
            cell.rjust(width) if column else cell.ljust(width)
            for column, (cell, width) in enumerate(zip(cells, widths, strict=True))
        ).rstrip()
        for cells in (header, *rows)
    ]
    return '\n'.join([rule, lines[0], rule, *lines[1:], rule])


def format_comparisons(rows: Sequence[Row[Any]], comparisons: Mapping[str, Comparison]) -> str:
    """Format the table of a comparison: medians, ratios, goals."""
    cells = []
    for row in rows:
        comparison = comparisons[row.name]
        ratios = comparison.ratios()
        ratio = comparison.ratio()
        goal, reached = '', ''
        if row.goal is not None:
            goal, reached = f'{row.goal:g}', 'yes' if ratio >= row.goal else 'no'
        cells.append(
            [
                row.title,
                format_time(statistics.median(comparison.original)),
                format_time(statistics.median(comparison.native)),
                f'{ratio:.2f}',
                f'{min(ratios):.2f}-{max(ratios):.2f}',
                goal,
                reached,
            ]
        )
    header = ['operation', 'original', 'native', 'ratio', 'min-max', 'goal', 'reached']
    return format_table(header, cells)


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write a result, making the directories above it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content, indent=2, ensure_ascii=False) + '\n', encoding='utf-8')


def _result(
    suite: Suite[Any],
    rows: Sequence[Row[Any]],
    comparisons: Mapping[str, Comparison],
    machine: Mapping[str, str | int],
    versions: Mapping[str, str],
) -> dict[str, Any]:
    return {
        'benchmark': suite.name,
        'machine': machine,
        'versions': versions,
        'rows': [
            {
                'name': row.name,
                'title': row.title,
                'count': row.count,
                'goal': row.goal,
                'ratio': comparisons[row.name].ratio(),
                'ratio_min': min(comparisons[row.name].ratios()),
                'ratio_max': max(comparisons[row.name].ratios()),
                'original_ns': statistics.median(comparisons[row.name].original),
                'native_ns': statistics.median(comparisons[row.name].native),
                'original_rounds_ns': comparisons[row.name].original,
                'native_rounds_ns': comparisons[row.name].native,
            }
            for row in rows
        ],
    }


# --- the command line --------------------------------------------------------------------------


def main(suite: Suite[Any], rounds: int, quick_rounds: int = 3) -> None:
    """Run a script's suite as its command line says, as the driver or as a worker.

    :param suite: with all its rows
    :param rounds: batches of each row, unless the command line says otherwise
    :param quick_rounds: the same with ``--quick``
    """
    arguments = _parse_arguments(suite, rounds, quick_rounds)
    if arguments.worker is not None:
        _serve(suite, arguments.worker)
        return
    rows = [suite.rows[name] for name in arguments.rows or suite.rows]
    original_path = Path(os.environ.get('DISKCACHE_ORIGINAL') or ROOT / '.original')
    if not (original_path / 'diskcache').is_dir():
        sys.exit(
            f'{original_path} does not hold the original. Install it there, or name another '
            f'directory in DISKCACHE_ORIGINAL:\n'
            f'    pip install --target {original_path} diskcache=={ORIGINAL_VERSION}'
        )
    # The driver's own module is this one; the workers are to run the script that was started.
    script = Path(sys.argv[0]).resolve()
    try:
        with ExitStack() as stack:
            directory = Path(
                stack.enter_context(tempfile.TemporaryDirectory(dir=arguments.directory))
            )
            machine = describe_machine(directory)
            original = stack.enter_context(Worker(script, original_path, directory / 'original'))
            if original.version != ORIGINAL_VERSION:
                sys.exit(f'{original_path} holds {original.version}, not {ORIGINAL_VERSION}')
            native = stack.enter_context(Worker(script, ROOT, directory / 'native'))
            versions = {'original': original.version, 'native': native.version}
            started = time.monotonic()
            comparisons = compare(original, native, rows, arguments.rounds)
            seconds = time.monotonic() - started
    except WorkerFailed as error:
        sys.exit(f'a worker failed: {error}')
    except KeyboardInterrupt:
        sys.exit('interrupted')
    print(
        f'{machine["cpu"]}, {machine["cores"]} cores, {machine["kernel"]}, '
        f'{machine["file_system"]};\n{machine["python"]}, SQLite {machine["sqlite"]}; '
        f'{machine["date"]}, load {machine["load_before"]} before.\n'
        f'Original {versions["original"]}, native {versions["native"]}; medians of '
        f'{arguments.rounds} rounds, {seconds:.0f} s.\n'
    )
    print(format_comparisons(rows, comparisons))
    write_json(arguments.json, _result(suite, rows, comparisons, machine, versions))


def _parse_arguments(suite: Suite[Any], rounds: int, quick_rounds: int) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=f'Compare this package with diskcache {ORIGINAL_VERSION}.'
    )
    parser.add_argument(
        'rows', nargs='*', metavar='row', help=f'what to measure, of: {", ".join(suite.rows)}'
    )
    length = parser.add_mutually_exclusive_group()
    length.add_argument(
        '--rounds', type=_positive, default=rounds, help='batches of each row (%(default)s)'
    )
    length.add_argument(
        '--quick',
        dest='rounds',
        action='store_const',
        const=quick_rounds,
        help=f'only {quick_rounds} rounds, to see that it works',
    )
    parser.add_argument(
        '--directory', type=Path, help="where the caches are made (the system's temporary one)"
    )
    parser.add_argument(
        '--json',
        type=Path,
        default=ROOT / 'build' / 'benchmarks' / f'bench_{suite.name}.json',
        help='where the result is written (%(default)s)',
    )
    parser.add_argument('--worker', type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    unknown = [name for name in arguments.rows if name not in suite.rows]
    if unknown:
        parser.error(f'no such row: {", ".join(unknown)}')
    if arguments.directory is not None and not arguments.directory.is_dir():
        parser.error(f'no such directory: {arguments.directory}')
    return arguments


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError('must be at least 1')
    return number
