"""How many items there are of each size, age and time to live.

A plot is a table with a bar in each row, which is an SVG of its own: so the words stay text of the
page, at any width, and are read by what reads pages aloud.
"""

from __future__ import annotations

import collections
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from .queries import Figures, is_number

#: Upper ends of the bars, in bytes, and in seconds, and what stands beside them.
_SIZES = [
    (64 * 4**power, name)
    for power, name in enumerate(
        (
            'up to 64 bytes',
            '256 bytes',
            '1 KiB',
            '4 KiB',
            '16 KiB',
            '64 KiB',
            '256 KiB',
            '1 MiB',
            '4 MiB',
            '16 MiB',
        )
    )
]
_TIMES = [
    (60, 'up to a minute'),
    (600, '10 minutes'),
    (3600, 'an hour'),
    (6 * 3600, '6 hours'),
    (86400, 'a day'),
    (7 * 86400, 'a week'),
    (30 * 86400, '30 days'),
    (365 * 86400, 'a year'),
]


@dataclass
class Plot:
    """A plot: its title, and labels with numbers of items."""

    title: str
    bars: list[tuple[str, int]]


def plots(figures: Figures, now: float) -> list[Plot]:
    """Return the plots of some items.

    :param figures: their sizes and times; what is no number is left out
    :param now: seconds since the epoch
    """
    sizes = [size for size, _, _ in figures.rows if is_number(size)]
    ages = [max(now - stored, 0) for _, stored, _ in figures.rows if is_number(stored)]
    left = [expiry - now for _, _, expiry in figures.rows if is_number(expiry)]
    never = sum(expiry is None for _, _, expiry in figures.rows)
    expired = sum(seconds < 0 for seconds in left)
    to_live = _bars((seconds for seconds in left if seconds >= 0), _TIMES, 'more than a year')
    return [
        Plot('Size of the value', _bars(sizes, _SIZES, 'more than 16 MiB')),
        Plot('Age', _bars(ages, _TIMES, 'more than a year')),
        Plot('Time to live', [('expired', expired), *to_live, ('never expires', never)]),
    ]


def _bars(
    numbers: Iterable[float], ends: Sequence[tuple[float, str]], above: str
) -> list[tuple[str, int]]:
    """Count numbers up to each end, and above the last."""
    counts: collections.Counter[str] = collections.Counter()
    for number in numbers:
        counts[next((label for end, label in ends if number <= end), above)] += 1
    labels = [label for _, label in ends] + [above]
    return [(label, counts[label]) for label in labels]
