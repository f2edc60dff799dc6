"""Parse the whole standard library through a cache: cold, warm, and from four processes at once.

Two functions are memoized, as a linter or a documentation tool might memoize them:

* `parse` reads a module and returns its syntax tree. The tree is a large value: a few hundred
  kilobytes of pickle for a long module, so it goes to a file of its own.
* `survey` asks `parse` for the tree and counts what is in it. Its result is a small value.

A file's modification time and size are arguments too, so a changed file is a new key and nothing
stale is ever used.

Four runs are timed, each in new processes that share nothing but the cache's directory:

1. cold: one process, an empty cache. Every module is parsed, and tree and survey are stored.
2. warm: one new process. The surveys come from the cache; nothing is parsed.
3. four at once, cold: an empty cache again. Each process wants all modules, but starts at another
   quarter of the list, so that it soon meets what the others have stored.
4. four at once, warm.

What the clock sees is the work: it starts when all processes have been started and have imported
what they need. Hits and misses are the cache's own statistics. At the end all runs must have found
the same figures, and one of the trees is read back from the cache to name what the figures found.

    python examples/stdlib_ast.py [--limit N] [--processes N] [--directory DIR]
"""

from __future__ import annotations

import argparse
import ast
import multiprocessing as mp
import sys
import sysconfig
import tempfile
import time
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import cast

from diskcache import Cache

try:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
    from rich.table import Table
except ImportError:
    sys.exit('this example draws with rich: pip install rich')

Source = tuple[str, int, int]  # path, modification time in nanoseconds, size in bytes

PROGRESS_STEP = 16  # files between two messages of a worker
DEFINITIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)


@dataclass
class Survey:
    """What was counted, in one module or in many."""

    modules: int = 0
    unparsable: int = 0
    functions: int = 0
    classes: int = 0
    depth: int = 0  # definitions inside one another
    deepest: Source | None = None
    names: Counter[str] = field(default_factory=Counter)

    def add(self, other: Survey) -> None:
        self.modules += other.modules
        self.unparsable += other.unparsable
        self.functions += other.functions
        self.classes += other.classes
        self.names.update(other.names)
        # The path decides between equals: processes visit the modules in different orders.
        if other.deepest and (
            self.deepest is None or (-other.depth, other.deepest) < (-self.depth, self.deepest)
        ):
            self.depth, self.deepest = other.depth, other.deepest


# --- the memoized work -------------------------------------------------------------------------


def memoized(
    cache: Cache,
) -> tuple[Callable[[str, int, int], ast.Module], Callable[[str, int, int], Survey]]:
    """Return `parse` and `survey`, memoized in `cache`."""

    @cache.memoize(name='parse')
    def parse(path: str, mtime_ns: int, size: int) -> ast.Module:
        return ast.parse(Path(path).read_bytes(), filename=path)

    @cache.memoize(name='survey')
    def survey(path: str, mtime_ns: int, size: int) -> Survey:
        try:
            tree = parse(path, mtime_ns, size)
        except (SyntaxError, ValueError, RecursionError):
            # Some modules are there to be rejected: lib2to3's tests, for one.
            return Survey(unparsable=1)
        return survey_tree(tree, (path, mtime_ns, size))

    return parse, survey


def survey_tree(tree: ast.Module, source: Source) -> Survey:
    found = Survey(modules=1, deepest=source)

    for node in ast.walk(tree):
        if isinstance(node, ast.Name):
            found.names[node.id] += 1
        elif isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            found.functions += 1
        elif isinstance(node, ast.ClassDef):
            found.classes += 1

    found.depth = len(deepest_definition(tree))
    return found


def deepest_definition(tree: ast.Module) -> list[str]:
    """Return the names of the definitions that are nested the deepest, outermost first."""
    deepest: list[str] = []
    todo: list[tuple[ast.AST, list[str]]] = [(tree, [])]

    while todo:
        node, names = todo.pop()
        if isinstance(node, DEFINITIONS):
            names = [*names, node.name]
            if len(names) > len(deepest):
                deepest = names
        todo += [(child, names) for child in statements(node)]

    return deepest


def statements(node: ast.AST) -> Iterator[ast.AST]:
    """Yield the children of a node that can hold a definition: expressions cannot."""
    for child in ast.iter_child_nodes(node):
        if not isinstance(child, (ast.expr, ast.expr_context, ast.operator, ast.arguments)):
            yield child


# --- the worker processes ----------------------------------------------------------------------


def work(directory: str, sources: Sequence[Source], pipe: Connection) -> None:
    """Survey all `sources` in one process: a message when ready, then progress, then the sum."""
    warnings.simplefilter('ignore')  # the compiler has opinions on the test modules
    pipe.send(0)
    pipe.recv()
    total = Survey()

    with Cache(directory, statistics=True) as cache:
        _, survey = memoized(cache)

        for count, source in enumerate(sources, start=1):
            total.add(survey(*source))
            if count % PROGRESS_STEP == 0:
                pipe.send(PROGRESS_STEP)

    pipe.send(len(sources) % PROGRESS_STEP)
    pipe.send(total)
    pipe.close()


@dataclass
class Run:
    """One line of the table."""

    name: str
    processes: int
    files: int  # asked for, by all processes together
    seconds: float
    hits: int
    misses: int
    volume: int  # bytes, afterwards
    total: Survey

    @property
    def rate(self) -> float:
        return self.files / self.seconds


def run(
    name: str, directory: Path, sources: Sequence[Source], processes: int, progress: Progress
) -> Run:
    """Survey all `sources` in each of so many new processes that share the cache `directory`."""
    files = processes * len(sources)
    task = progress.add_task(name, total=files)
    spawn = mp.get_context('spawn')  # nothing is inherited, as if started from a shell
    workers = []
    pipes = []

    for number in range(processes):
        first = number * len(sources) // processes
        order = [*sources[first:], *sources[:first]]
        pipe, far_end = spawn.Pipe()
        worker = spawn.Process(target=work, args=(str(directory), order, far_end), daemon=True)
        worker.start()
        far_end.close()  # so that the end of the worker is the end of the pipe
        workers.append(worker)
        pipes.append(pipe)

    for pipe in pipes:
        pipe.recv()

    totals: list[Survey] = []
    start = time.perf_counter()

    for pipe in pipes:
        pipe.send('go')

    while len(totals) < processes:
        for pipe in cast('list[Connection]', wait(pipes)):
            message = pipe.recv()
            if isinstance(message, Survey):
                totals.append(message)
                pipes.remove(pipe)
            else:
                progress.advance(task, message)

    seconds = time.perf_counter() - start

    for worker in workers:
        worker.join()

    if any(total != totals[0] for total in totals):
        raise RuntimeError(f'{name}: the processes found different figures')

    with Cache(str(directory)) as cache:
        hits, misses = cache.stats(reset=True)
        return Run(name, processes, files, seconds, hits, misses, cache.volume(), totals[0])


# --- the whole ---------------------------------------------------------------------------------


def standard_library() -> list[Source]:
    root = Path(sysconfig.get_path('stdlib'))
    outside = {'site-packages', 'dist-packages'}
    sources = []

    for path in sorted(root.rglob('*.py')):
        if outside.isdisjoint(path.relative_to(root).parts) and path.is_file():
            status = path.stat()
            sources.append((str(path), status.st_mtime_ns, status.st_size))

    return sources


def measure(base: Path, sources: Sequence[Source], processes: int, console: Console) -> list[Run]:
    columns = (TextColumn('{task.description:22}'), BarColumn(), MofNCompleteColumn())
    alone, together = base / 'alone', base / 'together'

    with Progress(*columns, console=console) as progress:
        return [
            run('cold', alone, sources, 1, progress),
            run('warm, a new process', alone, sources, 1, progress),
            run(f'cold, {processes} at once', together, sources, processes, progress),
            run(f'warm, {processes} at once', together, sources, processes, progress),
        ]


def show(runs: Sequence[Run], console: Console) -> None:
    table = Table(caption='speed-up: files per second, against the first line')
    for title in ('run', 'files', 'seconds', 'hits', 'misses', 'volume', 'speed-up'):
        table.add_column(title, justify='left' if title == 'run' else 'right', no_wrap=True)

    for line in runs:
        table.add_row(
            line.name,
            f'{line.files:,}',
            f'{line.seconds:.2f}',
            f'{line.hits:,}',
            f'{line.misses:,}',
            f'{line.volume / 1e6:.1f} MB',
            f'{line.rate / runs[0].rate:.1f}',
        )

    console.print(table)


def conclude(base: Path, total: Survey, console: Console) -> None:
    """Print what was found; the deepest definition is named from its tree, out of the cache."""
    console.print(
        f'{total.modules:,} modules ({total.unparsable} more do not parse), '
        f'{total.functions:,} functions, {total.classes:,} classes',
        highlight=False,
    )
    names = ', '.join(f'{name} {count:,}' for name, count in total.names.most_common(5))
    console.print(f'most used names: {names}', highlight=False)

    if total.deepest is not None:
        with Cache(str(base / 'alone')) as cache:
            parse, _ = memoized(cache)
            names = '.'.join(deepest_definition(parse(*total.deepest)))
        console.print(
            f'deepest nesting: {total.depth} definitions, {names} in {total.deepest[0]}',
            highlight=False,
            soft_wrap=True,
        )


def main() -> None:
    parser = argparse.ArgumentParser(description='Parse the standard library through a cache.')
    parser.add_argument('--limit', type=int, metavar='N', help='only N modules, evenly chosen')
    parser.add_argument('--processes', type=int, default=4, metavar='N', help='default: 4')
    parser.add_argument(
        '--directory', type=Path, metavar='DIR', help='keep the caches, in a new directory here'
    )
    options = parser.parse_args()

    if options.processes < 1 or (options.limit is not None and options.limit < 1):
        parser.error('--processes and --limit take a number from 1')

    sources = standard_library()
    if options.limit is not None and options.limit < len(sources):
        sources = [sources[n * len(sources) // options.limit] for n in range(options.limit)]

    console = Console()
    console.print(f'{len(sources):,} modules of Python {sys.version.split()[0]}', highlight=False)

    if options.directory is None:
        with tempfile.TemporaryDirectory(prefix='stdlib-ast-') as temporary:
            survey_in(Path(temporary), sources, options.processes, console)
    else:
        options.directory.mkdir(parents=True, exist_ok=True)
        base = Path(tempfile.mkdtemp(prefix='stdlib-ast-', dir=options.directory))
        survey_in(base, sources, options.processes, console)
        console.print(f'the caches are in {base}', highlight=False, soft_wrap=True)


def survey_in(base: Path, sources: Sequence[Source], processes: int, console: Console) -> None:
    runs = measure(base, sources, processes, console)

    if any(line.total != runs[0].total for line in runs):
        raise RuntimeError('the runs found different figures')

    show(runs, console)
    conclude(base, runs[0].total, console)


if __name__ == '__main__':
    main()
