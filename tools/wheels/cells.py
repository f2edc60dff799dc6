"""The Pythons and platforms that wheels are built for: a wheel is a cell of that table."""

from __future__ import annotations

import fnmatch
from collections.abc import Sequence
from dataclasses import dataclass

#: Versions of CPython.
VERSIONS = ('3.10', '3.11', '3.12', '3.13', '3.14')

#: Built only if the extension says that it can do without the GIL (`can_do_without_gil`).
FREE_THREADED = ('3.13t', '3.14t')

ARCHITECTURES = ('x86_64', 'aarch64')


@dataclass(frozen=True)
class Platform:
    """A C library with an architecture."""

    libc: str
    architecture: str

    @property
    def target(self) -> str:
        """What zig calls it; glibc with the version of which functions are used at most."""
        return f'{self.architecture}-linux-{"gnu.2.17" if self.libc == "manylinux" else "musl"}'

    @property
    def tags(self) -> tuple[str, ...]:
        if self.libc == 'manylinux':  # installers of before 2021 know only the second name
            return (f'manylinux_2_17_{self.architecture}', f'manylinux2014_{self.architecture}')
        return (f'musllinux_1_2_{self.architecture}',)


@dataclass(frozen=True)
class Cell:
    """A Python, `3.13` or `3.13t`, on a platform."""

    version: str
    platform: Platform

    @property
    def free_threaded(self) -> bool:
        return self.version.endswith('t')

    @property
    def abi(self) -> str:
        return 'cp' + self.version.replace('.', '')

    @property
    def tags(self) -> list[str]:
        """Return the tags of the wheel, as WHEEL has them."""
        return [f'{self.abi.rstrip("t")}-{self.abi}-{tag}' for tag in self.platform.tags]

    @property
    def tag(self) -> str:
        """Return the same as one, as the name of the wheel has it."""
        return f'{self.abi.rstrip("t")}-{self.abi}-{".".join(self.platform.tags)}'

    @property
    def name(self) -> str:
        return f'{self.abi}-{self.platform.libc}-{self.platform.architecture}'

    @property
    def suffix(self) -> str:
        """Return how the file of the extension ends.

        Python 3.10 calls musl "gnu" in some builds and "musl" in others, so that its wheel for musl
        has the ending that all take.
        """
        libc = 'gnu' if self.platform.libc == 'manylinux' else 'musl'
        if (self.version, libc) == ('3.10', 'musl'):
            return '.so'
        return f'.cpython-{self.abi[2:]}-{self.platform.architecture}-linux-{libc}.so'


def all_cells(free_threaded: bool) -> list[Cell]:
    versions = VERSIONS + (FREE_THREADED if free_threaded else ())
    platforms = [
        Platform(libc, architecture)
        for libc in ('manylinux', 'musllinux')
        for architecture in ARCHITECTURES
    ]
    return [Cell(version, platform) for platform in platforms for version in versions]


def chosen(patterns: Sequence[str], free_threaded: bool) -> list[Cell]:
    """Return the cells that patterns such as `cp311-*` name; all, without any.

    :raises SystemExit: a pattern names none
    """
    cells = all_cells(free_threaded)
    for pattern in patterns:
        if not any(fnmatch.fnmatch(cell.name, pattern) for cell in cells):
            raise SystemExit(f'wheels: {pattern} is none of {", ".join(c.name for c in cells)}')
    return [
        cell
        for cell in cells
        if not patterns or any(fnmatch.fnmatch(cell.name, pattern) for pattern in patterns)
    ]
