"""What the benchmark scripts share: contenders measured in turn, each in a process of its own.

Both packages are called diskcache, so each lives in a process of its own, a *worker*: the same
script, started with ``PYTHONPATH`` set to the package. Where other programs are measured beside
them, each has its worker too. The driver asks the workers in turn for one batch of one row (a row
is one operation to be measured), in reversed order from round to round, and with all rows in every
round. So whatever disturbs the machine for a while disturbs all contenders and many rows a little,
instead of deciding one row; medians do the rest.

A script makes a :class:`Suite`, adds rows with its decorators, and calls :func:`main`::

    suite: Suite[Caches] = Suite('core', 'Single operations', __doc__, Caches)

    @suite.row('get, small', count=2000, goal=2)
    def get_small(caches: Caches, count: int, watch: Stopwatch) -> None:
        get, keys = caches.small.get, caches.keys(count)
        with watch:
            for key in keys:
                get(key)

    if __name__ == '__main__':
        main(suite, rounds=60)

A row's function prepares, measures `count` operations inside ``with watch``, and tidies up. A row
of several figures, such as the latencies of several processes, returns them instead:
:meth:`Suite.load`.
"""

from __future__ import annotations

import argparse
import gc
import inspect
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, Any, Generic, Protocol, TypeVar

from machine import describe_machine
from results import LIMIT, NATIVE, ORIGINAL, Contender, Figure, Outcome, Result

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


class Missing(Exception):
    """Raised when the subject is made: the contender is not there; the message says why."""


class Unable(Exception):
    """Raised by a row: the contender cannot do that; the message says why."""


class Subject(Protocol):
    """What the rows of a suite work on, made in each worker."""

    def close(self) -> None:
        """Let go of files, connections and servers."""


S = TypeVar('S', bound=Subject)
RowFunction = Callable[[S, int, Stopwatch], None]
#: Returns the figures by their short names.
LoadFunction = Callable[[S, int], Mapping[str, float]]


@dataclass(frozen=True)
class Row(Generic[S]):
    """One operation that is measured, or a load of several."""

    name: str
    #: Operations in a batch: enough to make the clock and the loop's set-up negligible.
    count: int
    #: The same in a quick run.
    quick_count: int
    #: By their short names; a row of one figure calls it ''.
    figures: Mapping[str, Figure]
    function: LoadFunction[S]
    #: It is measured in every so many rounds.
    every: int
    #: What nothing can be faster than, by its name in limits.py.
    limit: str | None = None


class Suite(Generic[S]):
    """The rows of one script, and what makes the subject they work on."""

    def __init__(
        self,
        name: str,
        title: str,
        about: str | None,
        make_subject: Callable[[Path, str], S],
        peers: Mapping[str, str] | None = None,
    ) -> None:
        """Make a suite without rows.

        :param name: of the script's result: ``build/benchmarks/<name>.json``
        :param title: the heading over its result
        :param about: the script's docstring: its question, then what is to be known
        :param make_subject: called in each worker with a directory of its own and the contender's
            name, before any row; what it returns may have a `version`. It raises :exc:`Missing` if
            the contender is not there
        :param peers: titles by names of contenders other than the two packages
        """
        self.name = name
        self.title = title
        self.about = inspect.cleandoc(about or '').split('\n\n')
        self.make_subject = make_subject
        self.peers = dict(peers or {})
        self.rows: dict[str, Row[S]] = {}
        self.quotients: list[tuple[Figure, str, str, str | None]] = []

    def row(
        self,
        title: str,
        count: int,
        goal: float | None = None,
        *,
        reference: bool = False,
        every: int = 1,
        limit: str | None = None,
    ) -> Callable[[RowFunction[S]], RowFunction[S]]:
        """Return a decorator that makes a function a row, named after the function.

        :param title: how the table calls it
        :param count: operations in a batch
        :param goal: how many times faster than the original it is to be
        :param reference: if it does not use the package: something to compare with
        :param every: it is measured in every so many rounds; an odd number, so that the order
            of the contenders still changes
        :param limit: what nothing can be faster than, by its name in limits.py
        """

        def decorator(function: RowFunction[S]) -> RowFunction[S]:
            def measure(subject: S, count: int) -> dict[str, float]:
                watch = Stopwatch()
                function(subject, count, watch)
                return {'': watch.elapsed / count}

            name = function.__name__
            figure = Figure(name, title, goal=goal, compared=not reference)
            self.rows[name] = Row(name, count, count, {'': figure}, measure, every, limit)
            return function

        return decorator

    def load(
        self,
        title: str,
        count: int,
        figures: Mapping[str, Figure],
        goals: Mapping[str, float] | None = None,
        *,
        every: int = 1,
    ) -> Callable[[LoadFunction[S]], LoadFunction[S]]:
        """Return a decorator that makes a function a row of several figures.

        :param title: how the table calls it; the titles of the figures follow it
        :param count: what the function is called with: operations of each process, for example
        :param figures: by the names that the function returns them under
        :param goals: how many times faster than the original they are to be
        :param every: see :meth:`row`
        """

        def decorator(function: LoadFunction[S]) -> LoadFunction[S]:
            name = function.__name__
            named = {
                short: replace(
                    figure,
                    name=f'{name}.{short}',
                    title=f'{title}: {figure.title}',
                    goal=(goals or {}).get(short),
                )
                for short, figure in figures.items()
            }
            self.rows[name] = Row(name, count, max(1, count // 20), named, function, every)
            return function

        return decorator

    def quotient(
        self,
        name: str,
        title: str,
        numerator: str,
        denominator: str,
        at_most: float,
        beside: str | None = None,
    ) -> None:
        """Add a figure that is one row's divided by another's of the same round.

        :param numerator: name of the row that is divided
        :param denominator: name of the row that it is divided by
        :param at_most: what it is not to exceed
        :param beside: the peer whose row this package's is divided by; without it both are of the
            same contender
        """
        figure = Figure(name, title, 'multiple', at_most=at_most, compared=False)
        self.quotients.append((figure, numerator, denominator, beside))


# --- the workers -------------------------------------------------------------------------------


class WorkerFailed(Exception):
    """A worker could not do what it was asked for; the message says why."""


class Worker:
    """A process that measures one contender, as a context manager.

    The protocol is one JSON object a line: the worker says what it is, then answers each request
    for a batch with its figures, with why it cannot, or with an error.
    """

    def __init__(
        self, script: Path, contender: Contender, package_path: Path | None, directory: Path
    ) -> None:
        """Start the process and wait until its subject is made.

        :param script: the benchmark script, which calls :func:`main`
        :param contender: what it is to measure
        :param package_path: directory that holds the package ``diskcache``, if that is measured
        :param directory: for the worker's files; made here
        :raises WorkerFailed: if the package cannot be imported or is another one
        """
        directory.mkdir()
        environment = {name: value for name, value in os.environ.items() if name != 'PYTHONPATH'}
        if package_path is not None:
            environment['PYTHONPATH'] = str(package_path)
        self._process = subprocess.Popen(
            [
                *(sys.executable, str(script)),
                *('--worker', str(directory), '--contender', contender.name),
            ],
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        try:
            hello = self._answer()
            self.contender = replace(
                contender, version=hello.get('version', ''), missing=hello.get('missing')
            )
            self._check_package(package_path, hello.get('package'))
        except BaseException:
            self.close()
            raise

    def _check_package(self, wanted: Path | None, found: str | None) -> None:
        if wanted is None:
            return
        if found is None:
            raise WorkerFailed(f'{self.contender.title}: {self.contender.missing}')
        if wanted.resolve() not in Path(found).resolve().parents:
            raise WorkerFailed(f'diskcache was to come from {wanted}, but is {found}')

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

    def batch(self, row: Row[Any], count: int) -> dict[str, float]:
        """Let the worker run one batch of a row.

        :param count: how many operations, or whatever the row counts
        :return: the figures, by their short names
        :raises Unable: if the contender cannot do it
        :raises WorkerFailed: if the row raised an error
        """
        stdin = self._pipe('stdin')
        with suppress(BrokenPipeError):  # if it has ended, there is no answer either
            stdin.write(json.dumps({'row': row.name, 'count': count}) + '\n')
            stdin.flush()
        answer = self._answer()
        if 'unable' in answer:
            raise Unable(answer['unable'])
        figures: dict[str, float] = answer['figures']
        return figures

    def _answer(self) -> dict[str, Any]:
        line = self._pipe('stdout').readline()
        answer: dict[str, Any] = json.loads(line) if line else {'error': 'it ended unexpectedly'}
        if 'error' in answer:
            raise WorkerFailed(answer['error'])
        return answer

    def _pipe(self, name: str) -> IO[str]:
        pipe: IO[str] = getattr(self._process, name)
        return pipe


def _subject(
    suite: Suite[Any], directory: Path, contender: str
) -> tuple[Subject, Callable[[Row[Any], int], Mapping[str, float]]]:
    """Make what a contender works on, and what measures a batch of a row with it."""
    if contender != LIMIT:
        subject: Subject = suite.make_subject(directory, contender)
        return subject, lambda row, count: row.function(subject, count)
    from limits import KNOWN, Limits

    limits = Limits(directory)
    return limits, lambda row, count: {'': KNOWN[row.limit or ''](limits, count) / count}


def _serve(suite: Suite[S], directory: Path, contender: str) -> None:
    """Be a worker: answer requests until the driver closes the pipe."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the driver's; it closes the pipe
    requests, answers = sys.stdin, sys.stdout
    sys.stdout = sys.stderr  # what anything else prints is no answer

    def answer(content: dict[str, Any]) -> None:
        answers.write(json.dumps(content) + '\n')
        answers.flush()

    hello: dict[str, Any] = {}
    try:
        if contender not in suite.peers:
            import diskcache

            hello = {'version': diskcache.__version__, 'package': diskcache.__file__}
        subject, measure = _subject(suite, directory, contender)
    except Missing as error:
        answer({**hello, 'missing': str(error)})
        return
    except Exception as error:
        if (
            contender == LIMIT or contender in suite.peers
        ):  # what is wrong with a peer is no reason to measure nothing
            answer({**hello, 'missing': f'{type(error).__name__}: {error}'})
        else:
            answer({'error': f'{contender}:\n{traceback.format_exc()}'})
        return
    try:
        answer({'version': getattr(subject, 'version', ''), **hello})
        for line in requests:
            request = json.loads(line)
            try:
                figures = measure(suite.rows[request['row']], request['count'])
            except Unable as error:
                answer({'unable': str(error)})
            except Exception:
                answer({'error': f'{contender}, row {request["row"]}:\n{traceback.format_exc()}'})
            else:
                answer({'figures': dict(figures)})
    finally:
        subject.close()


class Rounds:
    """Asks workers in turn for batches of rows, and collects what they answer."""

    def __init__(self, workers: Sequence[Worker], rows: Sequence[Row[Any]], quick: bool) -> None:
        """Make it ready.

        :param workers: of the contenders that are there
        :param rows: what to measure
        :param quick: whether batches may be smaller than what makes figures good
        """
        self._workers = workers
        self._rows = rows
        self._quick = quick
        self._unable: dict[tuple[str, str], str] = {}
        self.outcomes = {
            figure.name: Outcome(figure) for row in rows for figure in row.figures.values()
        }

    def run(self, rounds: int, warm_up: bool) -> None:
        """Measure.

        :param rounds: how many
        :param warm_up: whether one more, which does not count, comes first
        :raises WorkerFailed: if a row raised an error
        """
        with _progress(rounds) as show:
            for number in range(-1 if warm_up else 0, rounds):
                for row in self._rows:
                    if number % row.every == 0 or number < 0:
                        self._measure(row, number)
                show(number + 1)

    def _measure(self, row: Row[Any], number: int) -> None:
        workers = self._workers if number // row.every % 2 else self._workers[::-1]
        for worker in workers:
            contender = worker.contender
            if (contender.name, row.name) in self._unable:
                continue
            if contender.name == LIMIT and row.limit is None:
                continue
            try:
                answer = worker.batch(row, row.quick_count if self._quick else row.count)
            except Unable as error:
                self._unable[contender.name, row.name] = f'{contender.title} {error}.'
                continue
            except WorkerFailed as error:
                if contender.name in (ORIGINAL, NATIVE):
                    raise
                reason = str(error).strip().splitlines()[-1]
                self._unable[contender.name, row.name] = f'{contender.title} failed: {reason}'
                continue
            if number < 0:
                continue
            for short, value in answer.items():
                self.outcomes[row.figures[short].name].add(contender.name, value)

    def remarks(self) -> list[str]:
        """Say what contenders cannot do, each sentence once."""
        return list(dict.fromkeys(self._unable.values()))

    def divide(
        self, quotient: Figure, numerator: str, denominator: str, beside: str | None
    ) -> None:
        """Add a figure that is a quotient of two that were measured; see :meth:`Suite.quotient`."""
        if numerator not in self.outcomes or denominator not in self.outcomes:
            return
        above, below = self.outcomes[numerator].rounds, self.outcomes[denominator].rounds
        pairs = [(name, name) for name in above] if beside is None else [(NATIVE, beside)]
        self.outcomes[quotient.name] = Outcome(
            quotient,
            {
                contender: [x / y for x, y in zip(above[contender], below[other], strict=True)]
                for contender, other in pairs
                if contender in above and other in below
            },
        )


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


# --- the command line --------------------------------------------------------------------------


def main(suite: Suite[Any], rounds: int, quick_rounds: int = 2, warm_up: bool = True) -> None:
    """Run a script's suite as its command line says, as the driver or as a worker.

    :param suite: with all its rows
    :param rounds: batches of each row, unless the command line says otherwise
    :param quick_rounds: the same in a quick run
    :param warm_up: whether a round that does not count comes first
    """
    arguments = _parse_arguments(suite, rounds, quick_rounds)
    if arguments.worker is not None:
        _serve(suite, arguments.worker, arguments.contender)
        return
    try:
        result = _measure(suite, arguments, warm_up)
    except WorkerFailed as error:
        sys.exit(f'a worker failed: {error}')
    except KeyboardInterrupt:
        sys.exit('interrupted')
    print(summary(result), result.tables(), sep='\n\n')
    result.write(arguments.json)


def _measure(suite: Suite[Any], arguments: argparse.Namespace, warm_up: bool) -> Result:
    native = _path_from('DISKCACHE_NATIVE', ROOT)
    packages = {ORIGINAL: _original_path(), NATIVE: native, LIMIT: native}
    limit = {LIMIT: LIMIT} if any(row.limit for row in suite.rows.values()) else {}
    # The driver's own module is this one; the workers are to run the script that was started.
    script = Path(sys.argv[0]).resolve()
    with ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(dir=arguments.directory)))
        machine = describe_machine(directory)
        workers = [
            stack.enter_context(
                Worker(script, Contender(name, title), packages.get(name), directory / name)
            )
            for name, title in {ORIGINAL: ORIGINAL, NATIVE: NATIVE, **limit, **suite.peers}.items()
        ]
        version = workers[0].contender.version
        if version != ORIGINAL_VERSION:
            raise WorkerFailed(f'{packages[ORIGINAL]} holds {version}, not {ORIGINAL_VERSION}')
        rounds = Rounds(
            [worker for worker in workers if worker.contender.missing is None],
            [suite.rows[name] for name in arguments.rows or suite.rows],
            arguments.quick,
        )
        started = time.monotonic()
        rounds.run(arguments.rounds, warm_up and not arguments.quick)
        seconds = time.monotonic() - started
    for quotient in suite.quotients:
        rounds.divide(*quotient)
    return Result(
        benchmark=suite.name,
        title=suite.title,
        about=suite.about,
        machine=machine,
        quick=arguments.quick,
        rounds=arguments.rounds,
        seconds=seconds,
        contenders=[worker.contender for worker in workers],
        outcomes=list(rounds.outcomes.values()),
        remarks=[*rounds.remarks(), *_missing_limits(workers)],
    )


def _missing_limits(workers: Sequence[Worker]) -> list[str]:
    """Say why the limits were not measured, if they were not."""
    return [
        f'The limits were not measured: {worker.contender.missing}.'
        for worker in workers
        if worker.contender.name == LIMIT and worker.contender.missing is not None
    ]


def summary(result: Result) -> str:
    """Say in a few lines on what machine, of what and how long a result was measured."""
    machine = result.machine
    return (
        f'{result.about[0]}\n\n'
        f'{machine["cpu"]}, {machine["cores"]} cores, {machine["kernel"]}, '
        f'{machine["file_system"]};\n{machine["python"]}, SQLite {machine["sqlite"]}; '
        f'{machine["date"]}, load {machine["load_before"]} before.\n'
        f'Original {result.contender(ORIGINAL).version}, native '
        f'{result.contender(NATIVE).version}; medians of {result.rounds} rounds, '
        f'{result.seconds:.0f} s{", quick: figures not to be trusted" if result.quick else ""}.'
    )


def _original_path() -> Path:
    path = _path_from('DISKCACHE_ORIGINAL', ROOT / '.original')
    if not (path / 'diskcache').is_dir():
        sys.exit(
            f'{path} does not hold the original. Install it there, or name another '
            f'directory in DISKCACHE_ORIGINAL:\n'
            f'    pip install --target {path} diskcache=={ORIGINAL_VERSION}'
        )
    return path


def _path_from(variable: str, default: Path) -> Path:
    return Path(os.environ.get(variable) or default).resolve()


def quick_is_asked_for() -> bool:
    """Whether the environment says ``QUICK=1``."""
    return os.environ.get('QUICK', '') not in ('', '0')


def _parse_arguments(suite: Suite[Any], rounds: int, quick_rounds: int) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=f'{suite.about[0]} Compares this package with diskcache {ORIGINAL_VERSION}.'
    )
    parser.add_argument(
        'rows', nargs='*', metavar='row', help=f'what to measure, of: {", ".join(suite.rows)}'
    )
    parser.add_argument('--rounds', type=_positive, help=f'batches of each row ({rounds})')
    parser.add_argument(
        '--quick',
        action='store_true',
        default=quick_is_asked_for(),
        help='small batches and few rounds, to see that it works (also: QUICK=1 in the '
        'environment)',
    )
    parser.add_argument(
        '--directory', type=Path, help="where the caches are made (the system's temporary one)"
    )
    build = ROOT / 'build' / 'benchmarks'
    parser.add_argument(
        '--json',
        type=Path,
        help=f'where the result is written ({build / suite.name}.json; {suite.name}-some.json if '
        'only some rows are measured)',
    )
    parser.add_argument('--worker', type=Path, help=argparse.SUPPRESS)
    parser.add_argument('--contender', help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    unknown = [name for name in arguments.rows if name not in suite.rows]
    if unknown:
        parser.error(f'no such row: {", ".join(unknown)}')
    if arguments.directory is not None and not arguments.directory.is_dir():
        parser.error(f'no such directory: {arguments.directory}')
    if arguments.json is None:
        # The page wants whole results.
        arguments.json = build / f'{suite.name}{"-some" if arguments.rows else ""}.json'
    if arguments.rounds is None:
        arguments.rounds = quick_rounds if arguments.quick else rounds
    return arguments


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError('must be at least 1')
    return number
