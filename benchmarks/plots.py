"""The plots of the page: each answers one question, in black and white.

What tells contenders apart is the shape of a marker, whether it is filled, and how a line is
dashed; colour is not needed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib as mpl
from latencies import QUANTILES
from matplotlib import pyplot
from matplotlib.ticker import FuncFormatter
from results import NATIVE, ORIGINAL, Outcome, Result, format_time

mpl.use('Agg')
mpl.rcParams.update(
    {
        'figure.constrained_layout.use': True,
        'font.size': 9,
        'axes.spines.top': False,
        'axes.spines.right': False,
        'axes.grid': True,
        'axes.axisbelow': True,
        'grid.color': '0.85',
        'legend.frameon': False,
        # Text stays text, which is small and can be searched; and the same figures make the same
        # file, so that what changed can be seen.
        'svg.fonttype': 'none',
        'svg.hashsalt': 'diskcache',
    }
)

WIDTH = 7.5  # inches, as are all lengths

#: How points of the two packages are drawn.
MARKS: dict[str, dict[str, Any]] = {
    ORIGINAL: {'marker': 'o', 'color': 'black', 'markerfacecolor': 'white'},
    NATIVE: {'marker': 's', 'color': 'black', 'markerfacecolor': 'black'},
}
#: How the lines of what is beside the packages differ.
DASHES = ['-', '--', ':', '-.']


@dataclass(frozen=True)
class Plot:
    """A picture in the page."""

    #: Of its file.
    name: str
    #: The question that it answers.
    question: str
    #: Draws it, from the results by the names of their benchmarks.
    draw: Callable[[dict[str, Result]], Any]
    #: The benchmarks that it needs.
    needs: Sequence[str]

    def write(self, results: dict[str, Result], directory: Path) -> Path:
        """Draw it and write it as SVG.

        :param results: by the names of their benchmarks
        :param directory: where the file goes
        :return: the file
        """
        figure = self.draw(results)
        path = directory / f'{self.name}.svg'
        figure.savefig(path, metadata={'Date': None}, facecolor='white')
        pyplot.close(figure)
        # Trailing blanks are Matplotlib's; a diff would show them.
        lines = path.read_text(encoding='utf-8').splitlines()
        path.write_text('\n'.join(line.rstrip() for line in lines) + '\n', encoding='utf-8')
        return path


# --- what plots are made of --------------------------------------------------------------------


def _axes(height: float) -> tuple[Any, Any]:
    figure, axes = pyplot.subplots(figsize=(WIDTH, height))
    return figure, axes


def _log_times(axis: Any, label: str = 'time per operation') -> None:
    """Make an axis, `axes.xaxis` or `axes.yaxis`, one of nanoseconds on a log scale."""
    axis.axes.set(**{f'{axis.axis_name}scale': 'log', f'{axis.axis_name}label': label})
    axis.set_major_formatter(FuncFormatter(lambda value, _: _short_time(value)))
    axis.set_minor_formatter(FuncFormatter(lambda value, _: ''))


def _short_time(nanoseconds: float) -> str:
    number, unit = format_time(nanoseconds).split(' ')
    return f'{float(number):g} {unit}'


def _lines(axes: Any, titles: Sequence[str]) -> None:
    """Give every line of a chart its title, the first one on top."""
    axes.set_yticks(range(len(titles)), titles)
    axes.set_ylim(len(titles) - 0.5, -0.5)
    axes.grid(axis='y', visible=False)
    axes.tick_params(axis='y', length=0)


def _legend(axes: Any, columns: int) -> None:
    """Put the legend above the chart, where it hides nothing."""
    axes.legend(loc='lower left', bbox_to_anchor=(0, 1), ncols=columns)


def _dumbbells(outcomes: Sequence[Outcome], reference: float | None = None) -> Any:
    """Draw a line for each figure, from the original's time to the native one."""
    figure, axes = _axes(0.2 * len(outcomes) + 0.9)
    for line, outcome in enumerate(outcomes):
        times = [outcome.median(ORIGINAL), outcome.median(NATIVE)]
        if None in times:
            continue
        axes.plot(times, [line, line], color='0.6', linewidth=1, zorder=1)
        for contender, time in zip((ORIGINAL, NATIVE), times, strict=True):
            axes.plot(
                time, line, linestyle='', label=contender if not line else None, **MARKS[contender]
            )
    if reference is not None:
        axes.axvline(reference, color='black', linestyle=':', linewidth=1, label='dict.get')
    _lines(axes, [outcome.figure.title for outcome in outcomes])
    _log_times(axes.xaxis)
    _legend(axes, 3)
    return figure


def _quantiles(result: Result, loads: Sequence[tuple[str, str]], kind: str) -> Any:
    """Draw a line over the quantiles for each load and package.

    :param loads: names of rows, and what they are called
    :param kind: of operation
    """
    figure, axes = _axes(3.2)
    positions = range(len(QUANTILES))
    for (row, title), dashes in zip(loads, DASHES, strict=False):
        outcomes = [result.outcome(f'{row}.{kind}_{name}') for name in QUANTILES]
        for contender in (ORIGINAL, NATIVE):
            values = [outcome.median(contender) for outcome in outcomes]
            if None not in values:
                axes.plot(
                    positions,
                    values,
                    linestyle=dashes,
                    label=f'{contender}{title}',
                    **MARKS[contender],
                )
    axes.set_xticks(positions, [name.replace('_', '.') for name in QUANTILES])
    _log_times(axes.yaxis, f'time of a {kind}')
    _legend(axes, 2)
    return figure


def _league(result: Result, rows: Sequence[tuple[str, str]]) -> Any:
    """Draw a line for each contender that is there, and a point for each of two figures."""
    contenders = [contender for contender in result.contenders if contender.missing is None]
    contenders.sort(key=lambda contender: result.outcome(rows[0][0]).median(contender.name) or 0)
    figure, axes = _axes(0.27 * len(contenders) + 1)
    for (row, title), marks in zip(rows, MARKS.values(), strict=True):
        points = [
            (time, line)
            for line, contender in enumerate(contenders)
            if (time := result.outcome(row).median(contender.name)) is not None
        ]
        if points:
            axes.plot(*zip(*points, strict=True), linestyle='', label=title, **marks)
    _lines(axes, [contender.title for contender in contenders])
    for label, contender in zip(axes.get_yticklabels(), contenders, strict=True):
        label.set_weight('bold' if contender.name == NATIVE else 'normal')
    axes.grid(axis='y', visible=True)
    _log_times(axes.xaxis)
    _legend(axes, 2)
    return figure


# --- the plots ---------------------------------------------------------------------------------


def _goals(results: dict[str, Result]) -> Any:
    outcomes = [
        (result, outcome)
        for result in results.values()
        for outcome in result.outcomes
        if outcome.figure.goal is not None and outcome.ratio(NATIVE) is not None
    ]
    figure, axes = _axes(0.2 * len(outcomes) + 0.9)
    labels = {True: 'reached', False: 'missed'}
    for line, (_, outcome) in enumerate(outcomes):
        ratio, reached = outcome.ratio(NATIVE), bool(outcome.is_reached())
        axes.plot([1, ratio], [line, line], color='0.6', linewidth=1, zorder=1)
        axes.plot(
            ratio,
            line,
            marker='s',
            color='black',
            markerfacecolor='black' if reached else 'white',
            linestyle='',
            label=labels.pop(reached, None),
        )
        axes.plot(
            outcome.figure.goal,
            line,
            marker='|',
            markersize=10,
            markeredgewidth=1.5,
            color='black',
            linestyle='',
            label=None if line else 'goal',
        )
    axes.axvline(1, color='black', linewidth=1)
    _lines(axes, [_goal_title(result, outcome) for result, outcome in outcomes])
    axes.set(xscale='log', xlabel='times faster than the original')
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f'{value:g}'))
    _legend(axes, 3)
    return figure


def _goal_title(result: Result, outcome: Outcome) -> str:
    return (
        f'Django: {outcome.figure.title}' if result.benchmark == 'django' else outcome.figure.title
    )


def _operations(results: dict[str, Result]) -> Any:
    core = results['core']
    outcomes = [
        outcome
        for outcome in core.outcomes
        if outcome.figure.compared
        and outcome.median(NATIVE) is not None
        and outcome.figure.name not in ('open_existing', 'open_get_close', 'import_package')
    ]
    return _dumbbells(outcomes, core.outcome('dict_get').median(NATIVE))


def _layers(results: dict[str, Result]) -> Any:
    return _dumbbells(
        [
            outcome
            for outcome in results['layers'].outcomes
            if outcome.figure.compared and not outcome.figure.name.startswith('memoize_')
        ]
    )


def _memoize(results: dict[str, Result]) -> Any:
    layers = results['layers']
    prefix = 'memoize_'
    names = [
        outcome.figure.name.removeprefix(prefix)
        for outcome in layers.outcomes
        if outcome.figure.name.startswith(prefix)
    ]
    figure, axes = _axes(0.3 * len(names) + 0.9)
    for line, name in enumerate(names):
        memoized, called = layers.outcome(f'{prefix}{name}'), layers.outcome(f'call_{name}')
        times = [called.median(NATIVE), memoized.median(ORIGINAL), memoized.median(NATIVE)]
        axes.plot(times, [line] * 3, color='0.6', linewidth=1, zorder=1)
        labels = ['the call itself', 'memoized, original', 'memoized, native']
        marks = [{'marker': 'x', 'color': 'black'}, MARKS[ORIGINAL], MARKS[NATIVE]]
        for time, label, mark in zip(times, labels, marks, strict=True):
            axes.plot(time, line, linestyle='', label=None if line else label, **mark)
    _lines(
        axes,
        [layers.outcome(f'call_{name}').figure.title.removesuffix(', called') for name in names],
    )
    _log_times(axes.xaxis, 'time per call')
    _legend(axes, 3)
    return figure


def _processes(results: dict[str, Result]) -> Any:
    loads = [('eight', ''), ('eight_fanout', ', FanoutCache(8)')]
    return _quantiles(results['processes'], loads, 'set')


def _threads(results: dict[str, Result]) -> Any:
    return _quantiles(results['threads'], [('many_set', '')], 'set')


def _spinner(results: dict[str, Result]) -> Any:
    threads = results['threads']
    lines = [
        (f'{row}.{kind}_mean', f'{kind}, {title}')
        for kind in ('get', 'set')
        for row, title in (('alone', 'alone'), ('beside_spinner', 'beside the thread'))
    ]
    figure, axes = _axes(0.3 * len(lines) + 0.9)
    for line, (name, _) in enumerate(lines):
        for contender in (ORIGINAL, NATIVE):
            axes.plot(
                threads.outcome(name).median(contender),
                line,
                linestyle='',
                label=None if line else contender,
                **MARKS[contender],
            )
    _lines(axes, [title for _, title in lines])
    axes.grid(axis='y', visible=True)
    _log_times(axes.xaxis, 'mean time per operation')
    _legend(axes, 2)
    return figure


#: Rows of the web benchmark, by how many of 10,000 requests are writes.
_WEB_ROWS = {'none': 'writes_0', '1': 'writes_1', '10': 'writes_10', '100': 'writes_100'}


def _web_hits(results: dict[str, Result]) -> Any:
    web = results['web']
    figure, axes = _axes(2.6)
    ratios = [web.outcome(f'{row}.hit_ratio').median(NATIVE) or 0 for row in _WEB_ROWS.values()]
    bars = axes.bar(list(_WEB_ROWS), [100 * ratio for ratio in ratios], 0.5, color='0.4')
    axes.bar_label(bars, [f'{100 * ratio:.0f} %' for ratio in ratios])
    axes.set(ylim=(0, 100), ylabel='hits, %', xlabel='writes among 10,000 requests')
    axes.grid(axis='x', visible=False)
    return figure


def _web_rate(results: dict[str, Result]) -> Any:
    web = results['web']
    figure, axes = _axes(2.8)
    positions = range(len(_WEB_ROWS))
    styles: list[dict[str, Any]] = [
        {'color': 'white', 'edgecolor': 'black', 'hatch': '///'},
        {'color': '0.4', 'edgecolor': 'black'},
    ]
    for shift, contender, style in zip((-0.2, 0.2), (ORIGINAL, NATIVE), styles, strict=True):
        times = [web.outcome(f'{row}.rate').median(contender) for row in _WEB_ROWS.values()]
        rates = [1e9 / time if time else 0 for time in times]
        bars = axes.bar(
            [position + shift for position in positions], rates, 0.36, label=contender, **style
        )
        axes.bar_label(bars, [f'{rate / 1000:,.0f}' for rate in rates])
    axes.set_xticks(positions, list(_WEB_ROWS))
    axes.set(ylabel='requests a second, thousands', xlabel='writes among 10,000 requests')
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f'{value / 1000:,.0f}'))
    axes.grid(axis='x', visible=False)
    _legend(axes, 2)
    return figure


def _files(results: dict[str, Result]) -> Any:
    files = results['files']
    sizes = {'1_kb': 1, '10_kb': 10, '100_kb': 100, '1_mb': 1000, '10_mb': 10_000}
    figure, axes = _axes(3.2)
    for kind, dashes in zip(('get', 'set'), DASHES, strict=False):
        for contender in (ORIGINAL, NATIVE):
            times = [files.outcome(f'{kind}_{size}').median(contender) for size in sizes]
            if None not in times:
                axes.plot(
                    list(sizes.values()),
                    times,
                    linestyle=dashes,
                    label=f'{kind}, {contender}',
                    **MARKS[contender],
                )
    axes.set(xscale='log', xlabel='size of the value')
    axes.set_xticks(list(sizes.values()), [size.replace('_', ' ').upper() for size in sizes])
    axes.minorticks_off()
    _log_times(axes.yaxis)
    _legend(axes, 2)
    return figure


#: What is drawn of the growth, by the beginnings of the names of rows.
_GROWTH = {
    'get': 'random get',
    'update': 'random update',
    'set_new': 'set, new',
    'evict': 'evict by tag',
    'expire': 'expire',
    'clear': 'clear',
    'cull': 'cull',
    'iterkeys': 'iterkeys',
    'iterate': 'iterate',
    'check': 'check',
}
_LMDB: dict[str, Any] = {'marker': 'x', 'color': 'black', 'linestyle': ':'}


def _growth(results: dict[str, Result]) -> Any:
    growth = results['growth']
    columns = 3
    figure, grid = pyplot.subplots(
        -(-len(_GROWTH) // columns), columns, figsize=(WIDTH, 8), sharex=True, squeeze=False
    )
    for axes in grid.flat[len(_GROWTH) :]:
        axes.set_visible(False)
    for axes, (row, title) in zip(grid.flat, _GROWTH.items(), strict=False):
        for contender, marks in {**MARKS, 'lmdb': _LMDB}.items():
            points = _growth_points(growth, row, contender)
            if points:
                axes.plot(*zip(*points, strict=True), label=contender, **marks)
        axes.set(xscale='log', title=title)
        _log_times(axes.yaxis, '')
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f'{value:,.0f}'))
        axes.tick_params(axis='x', labelrotation=45)
    handles, labels = grid.flat[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc='outside upper left', ncols=3)
    figure.supxlabel('items')
    return figure


def _growth_points(growth: Result, row: str, contender: str) -> list[tuple[int, float]]:
    """Return the times of an operation by the number of items."""
    points = {}
    for outcome in growth.outcomes:
        operation, _, size = outcome.figure.name.removesuffix('.time').rpartition('_')
        median = outcome.median(contender)
        if operation == row and size.isdigit() and median is not None:
            points[int(size)] = median
    return sorted(points.items())


def _peers(results: dict[str, Result]) -> Any:
    return _league(results['peers'], [('get', 'get'), ('set_small', 'set')])


def _django(results: dict[str, Result]) -> Any:
    return _league(results['django'], [('get', 'get'), ('set_small', 'set')])


#: Rows of the remote benchmark, with the contender of each: what they are called, and drawn like.
_REMOTE_LINES: list[tuple[str, str, str, dict[str, Any]]] = [
    ('memory', NATIVE, 'RemoteCache, near in memory', {**MARKS[NATIVE]}),
    ('directory', NATIVE, 'RemoteCache, near in a directory', {**MARKS[NATIVE], 'linestyle': '--'}),
    ('nothing', NATIVE, 'RemoteCache', {**MARKS[NATIVE], 'linestyle': ':'}),
    ('memory', 'redis', "redis-py's cache", {**MARKS[ORIGINAL]}),
    ('nothing', 'redis', 'redis-py', {**MARKS[ORIGINAL], 'linestyle': ':'}),
]


def _remote(results: dict[str, Result]) -> Any:
    remote = results['remote']
    figure, axes = _axes(3.2)
    prefix = 'read_nothing_'
    writers = [
        int(outcome.figure.name.removeprefix(prefix).removesuffix('.rate'))
        for outcome in remote.outcomes
        if outcome.figure.name.startswith(prefix)
    ]
    for kind, contender, title, marks in _REMOTE_LINES:
        times = [remote.outcome(f'read_{kind}_{n}.rate').median(contender) for n in writers]
        points = [(n, 1e9 / time) for n, time in zip(writers, times, strict=True) if time]
        if points:
            axes.plot(*zip(*points, strict=True), label=title, **marks)
    axes.set(yscale='log', xlabel='processes that write', ylabel='reads a second')
    axes.set_xticks(writers)
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f'{value:,.0f}'))
    _legend(axes, 2)
    return figure


#: The one that belongs to no single benchmark.
GOALS = Plot('goals', 'How many times faster is it, and what was to be reached?', _goals, ())

PLOTS = [
    Plot('core', 'How long does each operation take?', _operations, ('core',)),
    Plot('layers', 'How long does each operation take?', _layers, ('layers',)),
    Plot('memoize', 'When does memoizing pay?', _memoize, ('layers',)),
    Plot(
        'processes',
        'How long does a set take beside 7 other processes?',
        _processes,
        ('processes',),
    ),
    Plot('threads', 'How long does a set take beside 15 other threads?', _threads, ('threads',)),
    Plot('spinner', 'What does a thread that computes cost the others?', _spinner, ('threads',)),
    Plot('web_hits', "How often is a page in the process's memory?", _web_hits, ('web',)),
    Plot('web_rate', 'How many requests are answered?', _web_rate, ('web',)),
    Plot('files', 'How does the time grow with the value?', _files, ('files',)),
    Plot('growth', 'What does an operation cost where there are many items?', _growth, ('growth',)),
    Plot('peers', 'How long do get and set take?', _peers, ('peers',)),
    Plot('django', 'How long do get and set take?', _django, ('django',)),
    Plot('remote', 'How many reads are answered while others write?', _remote, ('remote',)),
]
