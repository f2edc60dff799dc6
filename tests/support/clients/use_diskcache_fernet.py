"""diskcache-fernet: a Cache and a FanoutCache of which the Disk encrypts the values."""

from __future__ import annotations

import io
import sqlite3
import tempfile

from cryptography.fernet import Fernet
from diskcache_fernet import FernetCache, FernetFanoutCache, SecretValue
from ours import check_package

VALUES = {
    'bytes': b'plain bytes',
    'text': 'plain text ' * 5_000,
    'large': b'plain bytes' * 10_000,
    'object': {'plain': ['text', 1, None]},
}


def main() -> None:
    """Write with one object, read with another that has the same secret."""
    check_package()
    secret = SecretValue(Fernet.generate_key())
    for kind in (FernetCache, FernetFanoutCache):
        with tempfile.TemporaryDirectory() as directory:
            with kind(directory, disk_fernet=secret) as cache:
                for key, value in VALUES.items():
                    cache.set(key, value, expire=60, tag='kept')
                assert {key: cache[key] for key in VALUES} == VALUES
            with kind(directory, disk_fernet=secret) as cache:
                assert {key: cache.get(key) for key in cache} == VALUES
                assert cache.pop('object') == VALUES['object']
                assert cache.check() == []
                assert cache.evict('kept') == 3
    with tempfile.TemporaryDirectory() as directory:
        with FernetCache(directory, disk_fernet=secret) as cache:
            cache['bytes'] = VALUES['bytes']
            cache.set('file', io.FileIO(__file__), read=True)
            assert cache['file'] == open(__file__, 'rb').read()  # noqa: SIM115
        con = sqlite3.connect(f'{directory}/cache.db')
        ((stored,),) = con.execute("SELECT value FROM Cache WHERE key = 'bytes'")
        con.close()
        assert VALUES['bytes'] not in stored


if __name__ == '__main__':
    main()
