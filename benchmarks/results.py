"""What a benchmark found: figures, contenders, goals; as a reStructuredText table and as JSON.

A figure is one number that was measured of each contender in every round, always one of which less
is better: nanoseconds as a rule. Its ratio says how many times less it is than the original's, and
is the median of the rounds' ratios, so that what slowed a whole round down does not count.
"""

from __future__ import annotations

import json
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

#: From how many figures on the table of peers has a line for each of them.
MANY = 12

#: The two contenders that every benchmark has, and what nothing can be faster than.
ORIGINAL, NATIVE, LIMIT = 'original', 'native', 'limit'


@dataclass(frozen=True)
class Figure:
    """One number that is measured of each contender."""

    name: str
    #: How tables call it.
    title: str
    #: How it is shown: 'time' and 'rate' are nanoseconds (a rate is shown as so many a second),
    #: 'share' is a part of 1, 'multiple' a plain number, 'memory' bytes.
    unit: str = 'time'
    #: How many times less than the original's it is to be.
    goal: float | None = None
    #: What it is not to exceed.
    at_most: float | None = None
    #: Whether the contenders differ in it: it has a ratio then.
    compared: bool = True
    #: Whether it has a line in the table, or is for plots only.
    listed: bool = True


@dataclass(frozen=True)
class Contender:
    """Something that is measured: one of the two packages, or another program or backend."""

    name: str
    title: str
    version: str = ''
    #: Why it could not be measured.
    missing: str | None = None


@dataclass
class Outcome:
    """What the rounds made of one figure."""

    figure: Figure
    #: By the contender's name, round by round.
    rounds: dict[str, list[float]] = field(default_factory=dict)

    def add(self, contender: str, value: float) -> None:
        """Add what one more round found."""
        self.rounds.setdefault(contender, []).append(value)

    def median(self, contender: str) -> float | None:
        """Return the median of the rounds, None if there were none."""
        values = self.rounds.get(contender)
        return statistics.median(values) if values else None

    def ratios(self, contender: str) -> list[float]:
        """Return how many times less than the original's it was in each round."""
        if not self.figure.compared:
            return []
        pairs = zip(
            self.rounds.get(ORIGINAL, ()), self.rounds.get(contender, ()), strict=False
        )  # not strict: one of them may not have been measured
        return [original / value for original, value in pairs if value]

    def ratio(self, contender: str) -> float | None:
        """Return the median of :meth:`ratios`, None if there are none."""
        ratios = self.ratios(contender)
        return statistics.median(ratios) if ratios else None

    def has_goal(self) -> bool:
        """Whether something was to be reached."""
        return self.figure.goal is not None or self.figure.at_most is not None

    def is_reached(self) -> bool | None:
        """Whether the goal is reached, None if there is none or it was not measured."""
        ratio, median = self.ratio(NATIVE), self.median(NATIVE)
        if self.figure.goal is not None:
            return None if ratio is None else ratio >= self.figure.goal
        if self.figure.at_most is not None:
            return None if median is None else median <= self.figure.at_most
        return None

    def format_median(self, contender: str) -> str:
        """Format the median with its unit."""
        median = self.median(contender)
        return '-' if median is None else FORMATS[self.figure.unit](median)

    def format_ratio(self, contender: str) -> str:
        """Format the ratio."""
        ratio = self.ratio(contender)
        return '-' if ratio is None else three_digits(ratio)

    def format_limit(self) -> str:
        """Format what nothing can be faster than, empty if that was not measured."""
        return self.format_median(LIMIT) if LIMIT in self.rounds else ''

    def format_both(self, contender: str) -> str:
        """Format the median and the ratio together."""
        ratio = self.ratio(contender)
        median = self.format_median(contender)
        return median if ratio is None else f'{median} ({three_digits(ratio)})'

    def format_goal(self) -> str:
        """Format the goal, empty if there is none."""
        if self.figure.goal is not None:
            return f'{self.figure.goal:g}'
        if self.figure.at_most is not None:
            is_time = self.figure.unit == 'time'
            most = format_time(self.figure.at_most) if is_time else f'{self.figure.at_most:g}'
            return f'at most {most}'
        return ''

    def format_reached(self) -> str:
        """Say whether the goal is reached, empty if that cannot be said."""
        return {True: 'yes', False: 'no', None: ''}[self.is_reached()]


@dataclass
class Result:
    """What one benchmark found."""

    benchmark: str
    title: str
    #: What the benchmark asks and how, in paragraphs of reStructuredText.
    about: list[str]
    machine: dict[str, str | int]
    quick: bool
    rounds: int
    seconds: float
    contenders: list[Contender]
    outcomes: list[Outcome]
    #: What a contender cannot do, in sentences.
    remarks: list[str] = field(default_factory=list)

    def outcome(self, name: str) -> Outcome:
        """Return the outcome of a figure; one without rounds if only some rows were measured."""
        for outcome in self.outcomes:
            if outcome.figure.name == name:
                return outcome
        return Outcome(Figure(name, name))

    def is_measured(self) -> bool:
        """Whether any contender was there."""
        return any(outcome.rounds for outcome in self.outcomes)

    def contender(self, name: str) -> Contender:
        """Return a contender."""
        return next(contender for contender in self.contenders if contender.name == name)

    def peers(self) -> list[Contender]:
        """Return the contenders apart from the two packages."""
        return [
            contender
            for contender in self.contenders
            if contender.name not in (ORIGINAL, NATIVE, LIMIT)
        ]

    def write(self, path: Path) -> None:
        """Write it as JSON, making the directories above the file."""
        content = {
            **{
                name: value
                for name, value in vars(self).items()
                if name not in ('contenders', 'outcomes')
            },
            'contenders': [asdict(contender) for contender in self.contenders],
            'figures': [
                {
                    **asdict(outcome.figure),
                    'reached': outcome.is_reached(),
                    'medians': {name: outcome.median(name) for name in outcome.rounds},
                    'ratios': {name: outcome.ratio(name) for name in outcome.rounds},
                    'rounds': outcome.rounds,
                }
                for outcome in self.outcomes
            ],
        }
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(content, indent=1, ensure_ascii=False) + '\n', encoding='utf-8')

    @classmethod
    def read(cls, path: Path) -> Result:
        """Read what :meth:`write` wrote."""
        content: dict[str, Any] = json.loads(path.read_text(encoding='utf-8'))
        names = Figure.__dataclass_fields__
        outcomes = [
            Outcome(
                Figure(**{name: value for name, value in figure.items() if name in names}),
                figure['rounds'],
            )
            for figure in content.pop('figures')
        ]
        contenders = [Contender(**contender) for contender in content.pop('contenders')]
        return cls(outcomes=outcomes, contenders=contenders, **content)

    def tables(self) -> str:
        """Format what was found: original against native, and all contenders if there are more."""
        tables = [self._comparison()]
        if self.peers():
            tables.append(self._league())
        if self.remarks:
            tables.append('\n'.join(f'* {remark}' for remark in self.remarks))
        return '\n\n'.join(tables)

    def _comparison(self) -> str:
        has_limits = any(LIMIT in outcome.rounds for outcome in self.outcomes)
        has_original = self.contender(ORIGINAL).missing is None
        limit = [LIMIT] if has_limits else []
        first = [ORIGINAL] if has_original else []
        ratio = ['ratio', 'min-max'] if has_original else []
        header = ['operation', *first, NATIVE, *limit, *ratio, 'goal', 'reached']
        cells = []
        for outcome in self.outcomes:
            if not outcome.figure.listed:
                continue
            ratios = outcome.ratios(NATIVE)
            spread = f'{three_digits(min(ratios))}-{three_digits(max(ratios))}' if ratios else ''
            cells.append(
                [
                    outcome.figure.title,
                    *([outcome.format_median(ORIGINAL)] if has_original else []),
                    outcome.format_median(NATIVE),
                    *([outcome.format_limit()] if has_limits else []),
                    *([outcome.format_ratio(NATIVE) if ratios else '', spread] if ratio else []),
                    outcome.format_goal(),
                    outcome.format_reached(),
                ]
            )
        return format_table(header, cells)

    def _league(self) -> str:
        """Format a line for each contender: of each figure its median and its ratio."""
        listed = [outcome for outcome in self.outcomes if outcome.figure.listed]
        if len(listed) > MANY:
            return self._transposed_league(listed)
        header = ['contender', *(outcome.figure.title for outcome in listed)]
        cells = []
        for contender in self.contenders:
            if contender.name == LIMIT:
                continue
            name = f'{contender.title} {contender.version}'.strip()
            if contender.missing is not None:
                name += f' - missing: {contender.missing}'
            cells.append([name, *(outcome.format_both(contender.name) for outcome in listed)])
        return format_table(header, cells)

    def _transposed_league(self, listed: Sequence[Outcome]) -> str:
        """Format a line for each figure that is known of a peer, a column for each contender."""
        measured = [
            outcome
            for outcome in listed
            if any(outcome.median(peer.name) is not None for peer in self.peers())
        ]
        there = [each for each in self.contenders if each.missing is None]
        header = ['operation', *(f'{each.title} {each.version}'.strip() for each in there)]
        cells = [
            [outcome.figure.title, *(outcome.format_both(each.name) for each in there)]
            for outcome in measured
        ]
        missing = [
            f'* {each.title} - missing: {each.missing}' for each in self.peers() if each.missing
        ]
        return '\n'.join([format_table(header, cells), *([''] if missing else []), *missing])


def format_time(nanoseconds: float) -> str:
    """Format a duration with three significant digits and a fitting unit."""
    value = nanoseconds
    for unit in ('ns', 'µs', 'ms'):
        if abs(value) < 1000:
            return f'{three_digits(value)} {unit}'
        value /= 1000
    return f'{three_digits(value)} s'


def three_digits(value: float) -> str:
    """Format a number with three significant digits, more if it has more before the point."""
    decimals = 2 if abs(value) < 10 else 1 if abs(value) < 100 else 0
    return f'{value:.{decimals}f}'


#: By a figure's unit.
FORMATS: Mapping[str, Callable[[float], str]] = {
    'time': format_time,
    'rate': lambda nanoseconds: f'{1e9 / nanoseconds:,.0f}/s',
    'share': lambda part: f'{100 * part:.2f} %',
    'multiple': lambda number: three_digits(number) if number >= 0.1 else f'{number:.2g}',
    'memory': lambda size: f'{size / 2**20:.1f} MB',
}


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
