"""How a command shows what it has found: plain lines, JSON or, on a terminal, by ``rich``."""

from __future__ import annotations

import contextlib as cl
import importlib.util
import json
import math
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING

from ..units import human_size
from .errors import printable

if TYPE_CHECKING:
    from ..check import Progress

#: Between two lines that tell how far a command is.
SECONDS_BETWEEN_LINES = 5.0


def bytes_shown(size: float) -> str:
    """Return a number of bytes in full and, where that is long, with three digits."""
    return f'{size:,.0f} bytes' + (f' ({human_size(size)})' if size >= 10_000 else '')


def human_seconds(seconds: float) -> str:
    """Return a time in the largest unit of which there is one: ``5 s``, ``3 h``, ``12 d``."""
    sign, left = ('-', -seconds) if seconds < 0 else ('', seconds)
    if not math.isfinite(left):
        return f'{sign}forever'
    for limit, unit, of in ((120, 's', 1), (7200, 'min', 60), (172800, 'h', 3600)):
        if left < limit:
            return f'{sign}{left / of:.0f} {unit}'
    return f'{sign}{left / 86400:,.0f} d'


def ratio(hits: int, misses: int) -> float | None:
    """Return the part of lookups that found their key; None if there were none."""
    return hits / (hits + misses) if hits + misses else None


def has_rich() -> bool:
    """Tell whether ``rich`` is installed."""
    return importlib.util.find_spec('rich') is not None


def print_json(found: object) -> None:
    """Print one JSON text on one line."""
    print(json.dumps(found, allow_nan=False), flush=True)


def print_rows(rows: Iterable[tuple[str, str]]) -> None:
    """Print pairs of a name and a text."""
    rows = [(printable(name), printable(text)) for name, text in rows]
    if not (sys.stdout.isatty() and has_rich()):
        for name, text in rows:
            print(f'{name}: {text}')
        return

    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(show_header=False, box=None, pad_edge=False)
    table.add_column(style='bold', no_wrap=True)
    table.add_column(overflow='fold')

    for name, text in rows:
        # Text, not str: a path such as [red] is no markup.
        table.add_row(name, Text(text))

    Console().print(table)


def table_lines(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> list[str]:
    """Return the lines of a table; the last column is on the left, all others on the right."""
    lines = [head, *rows]
    widths = [max(len(line[number]) for line in lines) for number in range(len(head))]
    return [
        '  '.join(
            [
                *(cell.rjust(width) for cell, width in zip(line[:-1], widths[:-1], strict=True)),
                line[-1],
            ]
        ).rstrip()
        for line in lines
    ]


@cl.contextmanager
def progress(count: int = 1) -> Iterator[Callable[[int, str], Progress]]:
    """Give what shows the progress of work on so many caches: bars, or now and then a line.

    It is called with the number of caches that are done and the name of the next.
    """
    if sys.stderr.isatty() and has_rich():
        with _Bars(count) as bars:
            yield bars.of_cache
        return

    last = time.monotonic()

    def of_cache(number: int, name: str) -> Progress:
        before = name and f'{name} ({number + 1} of {count}) '

        def tell(step: str, done: int, total: int | None) -> None:
            nonlocal last
            if time.monotonic() - last >= SECONDS_BETWEEN_LINES:
                last = time.monotonic()
                of = '' if total is None else f' of {total:,}'
                print(f'{before}{step}: {done:,}{of}', file=sys.stderr, flush=True)

        return tell

    yield of_cache


class _Bars:
    """A bar for the step that is under way and, where there are several caches, one for them."""

    def __init__(self, count: int) -> None:
        from rich.console import Console
        from rich.progress import Progress as Bars

        self._bars = Bars(console=Console(stderr=True), transient=True)
        self._caches = self._bars.add_task('caches', total=count, visible=count > 1)
        self._step = ''
        self._task = self._bars.add_task('', total=None)

    def __enter__(self) -> _Bars:
        self._bars.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bars.stop()

    def of_cache(self, number: int, name: str) -> Progress:
        """Return what is told the progress of the next cache."""
        self._bars.update(self._caches, completed=number)

        def tell(step: str, done: int, total: int | None) -> None:
            step = f'{name} {step}'.strip()
            if step != self._step:  # a bar that has had a total keeps one
                self._bars.remove_task(self._task)
                self._step, self._task = step, self._bars.add_task(step, total=total)
            self._bars.update(self._task, completed=done)

        return tell
