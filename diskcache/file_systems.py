"""Which directories are on a network file system, and what a cache does there.

SQLite's write-ahead log needs memory that all processes map, and no two machines have that. A
rollback journal needs only file locks, which some of these file systems have for all machines, and
some for each machine by itself.
"""

from __future__ import annotations

import contextlib as cl
import os
import os.path as op
import sqlite3
import threading
from collections.abc import Mapping

from . import _core
from .hints import Any

#: Network and cluster file systems by the number that statfs() gives (Linux).
NETWORK = {
    0x6969: 'NFS',
    0x517B: 'SMB',
    0xFE534D42: 'SMB',
    0xFF534D42: 'CIFS',
    0x01021997: '9P',
    0x00C36400: 'Ceph',
    0x0BD00BD0: 'Lustre',
    0x47504653: 'GPFS',
    0x5346414F: 'AFS',
    0x6B414653: 'AFS',
    0x73757245: 'Coda',
    0x564C: 'NCP',
    0x19830326: 'BeeGFS',
    0xAAD7AAEA: 'PanFS',
    0x20030528: 'OrangeFS',
    0x7461636F: 'OCFS2',
    0x01161970: 'GFS2',
    0x786F4256: 'a shared folder of VirtualBox',
    0xBACBACBC: 'a shared folder of VMware',
}

#: The number of all that a process serves (FUSE), and the kinds that are known to be networks. Of
#: the others nothing is known.
FUSE = 0x65735546
NETWORK_BY_FUSE = frozenset(
    {'afp', 'afuse', 'beegfs', 'blobfuse', 'blobfuse2', 'ceph', 'curlftpfs', 'cvmfs2', 'davfs'}
    | {'gcsfuse', 'glusterfs', 'goofys', 'gvfsd-fuse', 'hdfs', 'httpfs', 'juicefs', 'lizardfs'}
    | {'mfs', 'moosefs', 'mountpoint-s3', 'rclone', 's3fs', 's3ql', 'seaweedfs', 'smbnetfs'}
    | {'sshfs', 'virtiofs', 'vmhgfs-fuse'}
)

#: Settings of a new cache there, which are stored in it and hold for all who open it.
SETTINGS: dict[str, Any] = {'sqlite_journal_mode': 'delete', 'sqlite_mmap_size': 0}


def network_of(directory: str) -> str | None:
    """Return what network file system a directory is on, None if it is none that is known."""
    number = _core._file_system(directory)
    if number == FUSE:
        kind = _mounted_kind(directory).removeprefix('fuse.')
        return kind if kind in NETWORK_BY_FUSE else None
    return NETWORK.get(number)


def limits_of(directory: str) -> str | None:
    """Return on what a new database is to be without a write-ahead log; None if it can have one.

    :raises sqlite3.OperationalError: if it can have none at all
    """
    number = _core._file_system(directory)
    if number != FUSE and number not in NETWORK:
        return None
    can_map = _probe(directory)
    network = network_of(directory)
    if network is not None:
        return f'a network file system ({network})'
    return None if can_map else 'a file system that cannot map memory for several processes'


def require_locks(directory: str) -> None:
    """Do nothing where a file can be locked, or where that is not to be doubted.

    :raises sqlite3.OperationalError: if none can: SQLite takes that for a lock that another has
    """
    number = _core._file_system(directory)
    if number == FUSE or number in NETWORK:
        _probe(directory)


def _probe(directory: str) -> bool:
    """Try what a database needs on a file in a directory; return whether it can be mapped.

    :raises sqlite3.OperationalError: if it cannot be locked
    """
    import fcntl  # Which is not there on all systems, as are not these file systems.
    import mmap

    path = op.join(directory, f'{_core.DATABASE_NAME}-{os.getpid()}-{threading.get_ident()}-probe')
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        os.ftruncate(descriptor, mmap.PAGESIZE)
        try:
            fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise sqlite3.OperationalError(
                f'{directory} is on a file system without file locks, which a database needs:'
                f' {error.strerror}'
            ) from None
        with mmap.mmap(descriptor, mmap.PAGESIZE):
            return True
    except OSError:
        return False
    finally:
        os.close(descriptor)
        with cl.suppress(OSError):
            os.remove(path)


def _mounted_kind(directory: str) -> str:
    """Return the kind of file system under which a directory is mounted, as mount shows it."""
    try:
        device = os.stat(directory).st_dev
        with open('/proc/self/mountinfo', encoding='utf-8', errors='replace') as mounts:
            for line in mounts:
                fields, _, kind = line.partition(' - ')
                if fields.split()[2] == f'{os.major(device)}:{os.minor(device)}':
                    return kind.split()[0]
    except (OSError, IndexError):
        pass
    return ''


def dangers(settings: Mapping[str, Any]) -> list[str]:
    """Return what is not safe there, of what a cache is opened with."""
    found = []
    if str(settings.get('sqlite_journal_mode')).lower() == 'wal':
        found.append(
            'its write-ahead log (sqlite_journal_mode) works for the processes of one machine'
            ' only, and if another writes too values are lost and the database is damaged'
        )
    if settings.get('sqlite_mmap_size'):
        found.append('mapped memory (sqlite_mmap_size) may show what another machine has changed')
    return found
