"""A directory served by a process, without what network file systems may lack.

    python3 fuse_directory.py SOURCE TARGET KIND [no-maps] [no-locks] [no-links]

It shows SOURCE at TARGET, as a file system of the kind ``fuse.KIND``, until it is unmounted. It
needs fusepy (Debian: python3-fusepy) and /dev/fuse.
"""

from __future__ import annotations

import errno
import os
import sys

import fusepy as fuse

SOURCE, TARGET, KIND, *LACKS = sys.argv[1:]


class Directory(fuse.Operations):
    """Another directory, call by call."""

    def _path(self, path: str) -> str:
        return SOURCE + path

    def getattr(self, path: str, fh: int | None = None) -> dict:
        """Return the facts of a file; what is open may have been removed."""
        facts = os.lstat(self._path(path))
        names = ('st_mode', 'st_uid', 'st_gid', 'st_size', 'st_nlink', 'st_ino')
        found = {name: getattr(facts, name) for name in names}
        times = ('st_atime', 'st_mtime', 'st_ctime')
        return {**found, **{name: getattr(facts, name) for name in times}}

    def access(self, path: str, mode: int) -> None:
        """Ask whether the process may do something."""
        if not os.access(self._path(path), mode):
            raise fuse.FuseOSError(errno.EACCES)

    def readdir(self, path: str, fh: int) -> list[str]:
        """Return the names in a directory."""
        return ['.', '..', *os.listdir(self._path(path))]

    def readlink(self, path: str) -> str:
        """Return where a link leads."""
        return os.readlink(self._path(path))

    def mkdir(self, path: str, mode: int) -> None:
        """Make a directory."""
        os.mkdir(self._path(path), mode)

    def rmdir(self, path: str) -> None:
        """Remove a directory."""
        os.rmdir(self._path(path))

    def unlink(self, path: str) -> None:
        """Remove a file."""
        os.unlink(self._path(path))

    def link(self, target: str, source: str) -> None:
        """Give a file a second name."""
        if 'no-links' in LACKS:
            raise fuse.FuseOSError(errno.EPERM)
        os.link(self._path(source), self._path(target))

    def rename(self, old: str, new: str) -> None:
        """Rename a file."""
        os.rename(self._path(old), self._path(new))

    def chmod(self, path: str, mode: int) -> None:
        """Change a mode."""
        os.chmod(self._path(path), mode & 0o7777)

    def chown(self, path: str, uid: int, gid: int) -> None:
        """Change an owner."""
        os.chown(self._path(path), uid, gid)

    def truncate(self, path: str, length: int, fh: int | None = None) -> None:
        """Make a file shorter or longer."""
        os.truncate(self._path(path) if fh is None else fh, length)

    def utimens(self, path: str, times: tuple | None = None) -> None:
        """Change the times of a file."""
        os.utime(self._path(path), times)

    def open(self, path: str, flags: int) -> int:
        """Open a file."""
        return os.open(self._path(path), flags & ~os.O_NOFOLLOW)

    def create(self, path: str, mode: int, fi: object = None) -> int:
        """Create a file."""
        return os.open(self._path(path), os.O_RDWR | os.O_CREAT | os.O_EXCL, mode)

    def read(self, path: str, size: int, offset: int, fh: int) -> bytes:
        """Read from an open file."""
        return os.pread(fh, size, offset)

    def write(self, path: str, data: bytes, offset: int, fh: int) -> int:
        """Write to an open file."""
        return os.pwrite(fh, data, offset)

    def fsync(self, path: str, datasync: int, fh: int) -> None:
        """Write an open file to disk."""
        os.fsync(fh)

    def release(self, path: str, fh: int) -> None:
        """Close a file."""
        os.close(fh)

    if 'no-locks' in LACKS:

        def lock(self, path: str, fh: int, cmd: int, lock: object) -> int:
            """Refuse to lock."""
            raise fuse.FuseOSError(errno.ENOLCK)


fuse.FUSE(
    Directory(),
    TARGET,
    foreground=True,
    nothreads=True,
    subtype=KIND,
    fsname='source',
    direct_io='no-maps' in LACKS,
    default_permissions=True,
    allow_other=True,
)
