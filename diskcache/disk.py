"""Disk: how keys and values are stored, in Python where the native core leaves it to a subclass."""

from __future__ import annotations

import contextlib as cl
import functools as ft
import io
import os
import os.path as op
import sqlite3
from collections.abc import Iterable

from . import _core
from .constants import MODE_BINARY, MODE_TEXT, UNKNOWN
from .hints import Any
from .pickling import reduce
from .refusal import RefusedError


class StoredKey(tuple[Any, bool]):
    """A key as it stands in the database: (database key, raw).

    Methods of :class:`Cache` take it for a key and leave the :class:`Disk` out: it names the row
    itself. A :class:`Deque` needs that, because its keys are numbers that its cache has made, which
    a Disk of another kind, such as :class:`JSONDisk`, would convert to something else.
    """

    __slots__ = ()


class Disk(_core.Disk):
    """How keys and values are stored: the serialization of a :class:`Cache`.

    Meant to be subclassed: a Cache calls whichever of put, get, store, fetch, filename, remove and
    hash a subclass overrides, and does the rest natively.
    """

    def __init__(
        self, directory: str, min_file_size: int = 0, pickle_protocol: int | None = 0
    ) -> None:
        """Set the directory and the limits.

        :param directory: directory of the value files
        :param min_file_size: values of at least this size are kept in files: bytes, for a str
            characters
        :param pickle_protocol: protocol for pickling keys and values (None: pickle's default)
        :raises TypeError: if an argument is of the wrong type
        """
        self._directory = directory
        self.min_file_size = min_file_size
        self.pickle_protocol = pickle_protocol

    #: What a Disk has that signs the rows: see signeddisk.py. The native core calls them.
    _seal = None
    _fetch_row = None

    def __reduce__(self) -> tuple[Any, ...]:
        return reduce(self)

    def __getstate__(self) -> dict[str, Any]:
        return {
            **self.__dict__,
            '_directory': self._directory,
            'min_file_size': self.min_file_size,
            'pickle_protocol': self.pickle_protocol,
        }

    def __setstate__(self, state: dict[str, Any]) -> None:
        for name, value in state.items():
            setattr(self, name, value)

    def store(self, value: Any, read: bool, key: Any = UNKNOWN) -> tuple[int, int, str | None, Any]:
        """Convert a value to the columns that keep it, writing its file if it is large.

        :param value: any picklable object, or a file if `read` is true
        :param read: `value` is a file opened for reading in binary mode
        :param key: key of the value, for subclasses that name files after it
        :return: (size in bytes of the file, mode, file name, inline value)
        :raises OSError: if the file cannot be written; nothing is left behind
        :raises ValueError: if `filename` names a file that is not in the directory
        :raises pickle.PicklingError: and whatever else pickling raises
        """
        if not self._hooked():
            return super().store(value, read)
        if read and type(value) not in (str, bytes, int, float):
            filename, full_path = self._new_file(key, value)
            blocks = iter(ft.partial(value.read, _core.READ_BLOCK), b'')
            return self._write(full_path, blocks, 'xb'), MODE_BINARY, filename, None
        mode, content, in_file = self._encode(value)
        if not in_file:
            inline = sqlite3.Binary(content) if type(content) is bytes else content
            return 0, mode, None, inline
        filename, full_path = self._new_file(key, value)
        if mode == MODE_TEXT:
            self._write(full_path, io.StringIO(content, newline=''), 'x', 'UTF-8')
            return op.getsize(full_path), mode, filename, None
        self._write(full_path, io.BytesIO(content), 'xb')
        return len(content), mode, filename, None

    def filename(self, key: Any = UNKNOWN, value: Any = UNKNOWN) -> tuple[str, str]:
        """Return a new random name for a value file.

        :param key: key of the value, for subclasses
        :param value: the value, for subclasses
        :return: (name relative to the directory, full path)
        """
        return super().filename()

    def _new_file(self, key: Any, value: Any) -> tuple[str, str]:
        """Return what `filename` does, if a file of that name will be read again."""
        filename, full_path = self.filename(key, value)
        if not self._is_inside(filename):
            raise ValueError(f'a value file must be in the cache directory, not {filename!r}')
        return filename, full_path

    def _write(
        self,
        full_path: str,
        iterator: Iterable[Any],
        mode: str,
        encoding: str | None = None,
    ) -> int:
        """Write a file piece by piece, making its directories; no half-written file is left.

        Called for subclasses that override this method or `filename`; otherwise files are written
        natively.

        :param full_path: path of the file
        :param iterator: pieces, bytes or str
        :param mode: ``'xb'``, or ``'x'`` for text
        :param encoding: of text
        :return: sum of the pieces' lengths
        :raises OSError: if the file cannot be written
        """
        newline = None if 'b' in mode else ''
        relative = op.relpath(full_path, self._directory)
        opener = None
        if self._is_inside(relative):  # in modes that match the directory, and through no link

            def opener(path: str, flags: int) -> int:
                return self._create_file(relative)

        else:
            os.makedirs(op.dirname(full_path), exist_ok=True)
        writer = open(full_path, mode, encoding=encoding, newline=newline, opener=opener)  # noqa: SIM115
        size = 0
        try:
            with writer:
                for chunk in iterator:
                    size += len(chunk)
                    writer.write(chunk)
        except BaseException:
            with cl.suppress(OSError):
                os.remove(full_path)
            raise
        return size


class JSONDisk(Disk):
    """A Disk that stores keys and values as compressed JSON."""

    def __init__(self, directory: str, compress_level: int = 1, **kwargs: Any) -> None:
        """Set the compression level.

        :param directory: directory of the value files
        :param compress_level: of zlib, 0 to 9
        :param kwargs: for :class:`Disk`
        """
        import json  # noqa: F401  both now, as a program may have no way to them later: after chroot
        import zlib  # noqa: F401

        self.compress_level = compress_level
        super().__init__(directory, **kwargs)

    def _compress(self, data: Any) -> bytes:
        import json
        import zlib

        return zlib.compress(json.dumps(data).encode('utf-8'), self.compress_level)

    @staticmethod
    def _decompress(data: bytes) -> Any:
        import json
        import zlib

        return json.loads(zlib.decompress(data).decode('utf-8'))

    def put(self, key: Any) -> tuple[Any, bool]:
        """Convert a key, as :meth:`Disk.put` does.

        :raises TypeError: if JSON cannot represent the key
        """
        return super().put(self._compress(key))

    def get(self, key: Any, raw: bool) -> Any:
        """Convert a database key back, as :meth:`Disk.get` does."""
        return self._decompress(super().get(key, raw))

    def store(self, value: Any, read: bool, key: Any = UNKNOWN) -> tuple[int, int, str | None, Any]:
        """Convert a value, as :meth:`Disk.store` does.

        :raises TypeError: if JSON cannot represent the value
        """
        return super().store(value if read else self._compress(value), read, key=key)

    def _from_pickle(self, pickled: Any) -> Any:
        """Refuse a pickle, unless a subclass stores in its own way: JSON has none."""
        own = ('put', 'get', 'store', 'fetch')
        if all(getattr(type(self), name) is getattr(JSONDisk, name) for name in own):
            raise RefusedError('there is a pickle in a directory of JSON')
        return super()._from_pickle(pickled)

    def fetch(self, mode: int, filename: str | None, value: Any, read: bool) -> Any:
        """Convert columns back to the value, as :meth:`Disk.fetch` does."""
        data = super().fetch(mode, filename, value, read)
        return data if read else self._decompress(data)
