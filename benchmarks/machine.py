"""What machine the figures were measured on, and how busy it was."""

from __future__ import annotations

import datetime
import os
import platform
import sqlite3
from pathlib import Path


def describe_machine(directory: Path) -> dict[str, str | int]:
    """Say what the figures were measured on.

    :param directory: where the caches are, for its file system
    """
    return {
        'cpu': _cpu_model(),
        'cores': os.cpu_count() or 0,
        'memory': _memory(),
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


def _memory() -> str:
    try:
        gibibytes = os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') / 2**30
    except (AttributeError, OSError, ValueError):  # not on Windows
        return 'unknown'
    return f'{gibibytes:.0f} GiB'


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
