"""Numbers as texts for people."""

from __future__ import annotations

_UNITS = ('kB', 'MB', 'GB', 'TB', 'PB', 'EB')


def human_size(size: float) -> str:
    """Return a number of bytes with three digits: ``812 B``, ``1.25 MB``."""
    if size < 1000:
        return f'{size:.0f} B'
    for unit in _UNITS:
        size /= 1000
        if size < 999.5 or unit == _UNITS[-1]:
            break
    digits = 2 if size < 9.995 else 1 if size < 99.95 else 0
    return f'{size:.{digits}f} {unit}'
