"""File systems of a test's own: what a process mounts after `own_mounts` nobody else sees."""

from __future__ import annotations

import ctypes
import os
import shutil
import subprocess
import time

_CLONE_NEWNS = 0x00020000
_MS_RDONLY = 1
_MS_REMOUNT = 32
_MS_BIND = 4096
_MS_REC = 16384
_MS_PRIVATE = 1 << 18

_libc = ctypes.CDLL(None, use_errno=True)


def _call(name: str, *args: object) -> None:
    if getattr(_libc, name)(*args) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f'{name}: {os.strerror(number)}')


def mount(source: str, target: str, kind: str, flags: int = 0, data: str = '') -> None:
    """Mount a file system, as the system call does."""
    _call(
        'mount',
        source.encode(),
        target.encode(),
        kind.encode(),
        ctypes.c_ulong(flags),
        data.encode(),
    )


def own_mounts() -> None:
    """Let what this process mounts from now on be its own, and end with it."""
    _call('unshare', _CLONE_NEWNS)
    mount('none', '/', 'none', _MS_REC | _MS_PRIVATE)


def can_mount() -> bool:
    """Tell whether a process here can do that."""
    if not hasattr(os, 'fork') or not hasattr(_libc, 'unshare'):
        return False
    pid = os.fork()
    if pid == 0:
        try:
            own_mounts()
        except OSError:
            os._exit(1)
        os._exit(0)
    return os.waitpid(pid, 0)[1] == 0


def mount_memory(target: str, options: str = '') -> None:
    """Mount an empty file system in memory."""
    os.makedirs(target, exist_ok=True)
    mount('none', target, 'tmpfs', 0, options)


def make_read_only(target: str) -> None:
    """Mount what is mounted there again, so that nobody can write."""
    mount('none', target, 'none', _MS_REMOUNT | _MS_RDONLY)


def bind_read_only(source: str, target: str) -> None:
    """Show a directory in another place, where nobody can write."""
    os.makedirs(target, exist_ok=True)
    mount(source, target, 'none', _MS_BIND)
    mount('none', target, 'none', _MS_REMOUNT | _MS_BIND | _MS_RDONLY)


def has_squashfs() -> bool:
    """Tell whether an image can be made and mounted."""
    with open('/proc/filesystems', encoding='utf-8') as kinds:
        known = 'squashfs' in kinds.read()
    return known and shutil.which('mksquashfs') is not None and os.path.exists('/dev/loop-control')


def mount_squashfs(source: str, image: str, target: str) -> None:
    """Make an image of a directory, and mount it."""
    os.makedirs(target, exist_ok=True)
    subprocess.run(['mksquashfs', source, image, '-quiet', '-no-progress'], check=True)
    subprocess.run(['mount', '-t', 'squashfs', '-o', 'loop,ro', image, target], check=True)


#: Debian's, which has fusepy as a package.
_PYTHON = '/usr/bin/python3'


def has_fuse() -> bool:
    """Tell whether a file system can be served by a process."""
    if not os.path.exists('/dev/fuse') or not os.path.exists(_PYTHON):
        return False
    return subprocess.run([_PYTHON, '-c', 'import fusepy'], capture_output=True).returncode == 0


def mount_fuse(source: str, target: str, kind: str, *lacks: str) -> None:
    """Show a directory in another place, as a file system of a kind which lacks something.

    See fuse_directory.py. Its process ends with the group of this one.
    """
    for path in (source, target):
        os.makedirs(path, exist_ok=True)
    server = os.path.join(os.path.dirname(__file__), 'fuse_directory.py')
    process = subprocess.Popen([_PYTHON, server, source, target, kind, *lacks])
    while not os.path.ismount(target):
        if process.poll() is not None:
            raise OSError(f'the file system could not be mounted: {process.returncode}')
        time.sleep(0.01)
