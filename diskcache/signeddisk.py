"""SignedDisk: a Disk that signs what it stores, and loads nothing that has not got its signature.

The signature, HMAC-SHA-256, stands in the row, in front of the value. It covers all of the row that
matters, so that no part of one can be changed or be put elsewhere: the directory's id, the key, the
mode, the tag, when the item expires, and the value. Of a value in a file it covers the digest,
which stands behind the signature; so the signature can be renewed without reading the file.

    value = signature (32 bytes), then one of
            'F', SHA-256 of the file's content
            'P', a pickle
            'i' 'f' 's' 'b', a number, a text, bytes

Modes are those of a Disk and MODE_SIGNED. So nobody takes such a value for another, and the SQL by
which numbers are incremented does not find it.

What changes a row has to sign it anew, after it has looked at the former signature:
`Cache._touch_signed`, `Cache._increment_signed`, and what renumbers the items of a Deque.
"""

from __future__ import annotations

import functools as ft
import io
import os
import pickle
import struct
from collections.abc import Callable, Sequence

from . import _core
from ._core import MODE_SIGNED
from .constants import MODE_BINARY, MODE_PICKLE, MODE_RAW, MODE_TEXT, UNKNOWN
from .hints import Any, BinaryIO, Self
from .refusal import RefusedError
from .safedisk import SafeDisk

#: What is signed begins with this: no other use of a key makes the same signatures.
_VERSION = b'diskcache SignedDisk 1'

_SIGNATURE_BYTES = 32  # of SHA-256

#: A shorter key could be guessed, bytes.
_SHORTEST_KEY = 16

#: A file up to this size is read into memory to be looked at, bytes; a larger one is copied.
_IN_MEMORY = 2**22

#: What Disk keeps as it is.
_RAW_TYPES = frozenset((str, bytes, int, float))


def _import_hashing() -> tuple[Any, Any]:
    """Return the modules, which take longer to import than this package."""
    import hashlib
    import hmac

    return hashlib.sha256, hmac


_hashing: Callable[[], tuple[Any, Any]] = ft.cache(_import_hashing)


def _sha256(content: bytes = b'') -> Any:
    return _hashing()[0](content)


def _hmac(key: bytes, message: bytes) -> bytes:
    return _hashing()[1].digest(key, message, 'sha256')  # type: ignore[no-any-return]


def _is_same(one: bytes, other: bytes) -> bool:
    """Compare in a time that does not tell where they differ."""
    return _hashing()[1].compare_digest(one, other)  # type: ignore[no-any-return]


class Row:
    """The columns that a signature covers; `value` has it."""

    __slots__ = ('expire_time', 'key', 'mode', 'raw', 'tag', 'value')

    key: Any
    raw: bool
    tag: Any
    expire_time: float | None
    mode: int
    value: Any

    def __init__(
        self, key: Any, raw: bool, tag: Any, expire_time: float | None, mode: int, value: Any
    ) -> None:
        self.key = key
        self.raw = raw
        self.tag = tag
        self.expire_time = expire_time
        self.mode = mode
        self.value = value

    def changed(self, **changes: Any) -> Row:
        """Return a row with other values in some of the columns."""
        return Row(**{name: changes.get(name, getattr(self, name)) for name in self.__slots__})


def _part(value: Any) -> bytes:
    """Return a column as bytes that no other column's value has, nor a longer or shorter one's."""
    if value is None:
        kind, data = b'n', b''
    elif isinstance(value, int):
        kind, data = b'i', str(int(value)).encode()
    elif isinstance(value, float):
        kind, data = b'f', struct.pack('>d', value + 0.0)  # the sign of zero may get lost
    elif isinstance(value, str):
        kind, data = b's', value.encode('utf-8', 'surrogatepass')
    else:
        kind, data = b'b', bytes(value)
    return kind + len(data).to_bytes(8, 'big') + data


def _key_part(key: Any) -> bytes:
    """Return the same for a key: of numbers, those that are equal are one key."""
    if isinstance(key, float) and key.is_integer() and -(2**63) <= key < 2**63:
        key = int(key)
    return _part(key)


class _Digesting:
    """A file that is read to be stored, and its digest."""

    def __init__(self, file: Any) -> None:
        self._file = file
        self.digest = _sha256()

    def read(self, size: int) -> Any:
        """Read a piece."""
        data = self._file.read(size)
        self.digest.update(data)
        return data


class SignedDisk(SafeDisk):
    """A Disk that signs what it stores: what somebody else has written or changed is a miss.

    The keys are the caller's, and not stored. A subclass has them as `keys`, or :meth:`with_keys`
    makes one::

        class SiteDisk(SignedDisk):
            keys = (os.environb[b'CACHE_KEY'],)

        cache = Cache('/var/cache/site', disk=SiteDisk)

    Values may have any type. The keys of items may have those of :class:`SafeDisk`, since they are
    read before there is anything to check.

    Not prevented: that an older value of a key is put back, that items are removed, the order in
    which they stand, and that the whole directory takes the place of another one with the same
    keys, unless the two have different `purpose`.
    """

    #: The keys: the first one signs, all verify. Each is bytes, 16 or more, of a random source.
    keys: tuple[bytes, ...] = ()
    #: Is signed too: what the directories are for, where some have the same keys.
    purpose: str = ''

    #: Of the directory, which the Cache sets.
    _directory_id: str | None = None

    def __init__(self, directory: str, *args: Any, **kwargs: Any) -> None:
        """Set the directory and the limits, as :class:`Disk` does.

        :param directory: directory of the value files
        :param args: for :class:`Disk`
        :param kwargs: for :class:`Disk`
        :raises ValueError: if the class has no keys, or one is too short
        :raises TypeError: if a key is no bytes
        """
        _check_keys(type(self).keys)
        #: Reads the directory's id where only others can set it, and may not have done so yet.
        self._find_directory_id: Callable[[], str | None] | None = None
        super().__init__(directory, *args, **kwargs)

    @classmethod
    def with_keys(cls, *keys: bytes, purpose: str | None = None) -> type[Self]:
        """Return a subclass with keys.

        It cannot be pickled, nor can a cache that has it, since the keys would be in the pickle:
        for that, write a class with `keys` into a module.

        :param keys: the first one signs, all verify. Each is bytes, 16 or more, of a random source
        :param purpose: is signed too: what the directories are for, where some have the same keys
            (None: that of this class)
        :return: a subclass, to be used as `disk` of a cache
        :raises ValueError: if there is no key, or one is too short
        :raises TypeError: if a key is no bytes, or the purpose no str
        """
        _check_keys(keys)
        if not isinstance(purpose, str | None):
            raise TypeError(f'purpose must be a str, not {type(purpose).__name__!r}')
        body = {
            'keys': keys,
            'purpose': cls.purpose if purpose is None else purpose,
            '__module__': cls.__module__,
            '__qualname__': f'{cls.__qualname__}.with_keys(...)',
            '__doc__': cls.__doc__,
        }
        metaclass: Any = type(cls)
        return metaclass(cls.__name__, (cls,), body)  # type: ignore[no-any-return]

    # --- signatures ---

    def _message(self, row: Row, payload: bytes) -> bytes:
        directory_id = self._directory_id  # another thread may forget it
        if directory_id is None and self._find_directory_id is not None:
            directory_id = self._directory_id = self._find_directory_id()
            if directory_id is None:
                raise RefusedError('nothing in the directory has been signed yet')
        if directory_id is None:
            raise RuntimeError('a SignedDisk signs for a Cache, which tells it of its directory')
        return b''.join(
            (
                _part(_VERSION),
                _part(self.purpose),
                _part(directory_id),
                _key_part(row.key),
                _part(bool(row.raw)),
                _part(row.tag),
                _part(row.expire_time),
                _part(row.mode),
                _part(payload),
            )
        )

    def _seal(  # type: ignore[override]
        self, key: Any, raw: bool, tag: Any, expire_time: float | None, mode: int, payload: Any
    ) -> bytes:
        """Return a value as it stands in its row: the native core calls it for each that it writes.

        :param payload: what :meth:`store` returned
        """
        return self._sign(Row(key, raw, tag, expire_time, mode, None), payload)

    def _sign(self, row: Row, payload: bytes) -> bytes:
        return _hmac(self.keys[0], self._message(row, payload)) + payload

    def _verify(self, row: Row) -> bytes:
        """Return what is behind the signature of a row.

        :raises RefusedError: if that is not its signature
        """
        is_signed = isinstance(row.mode, int) and row.mode & MODE_SIGNED
        if not (is_signed and isinstance(row.value, bytes)):
            raise RefusedError('the item has no signature')
        signature, payload = row.value[:_SIGNATURE_BYTES], row.value[_SIGNATURE_BYTES:]
        message = self._message(row, payload)
        for key in self.keys:
            if _is_same(_hmac(key, message), signature):
                return payload
        raise RefusedError('the signature is not that of the item')

    def _renew(self, row: Row, **changes: Any) -> bytes:
        """Return the value of a row that is about to be changed, signed for what it will be.

        :raises RefusedError: if it has not got its signature now
        """
        payload = self._verify(row)
        return self._sign(row.changed(**changes), payload)

    def _number(self, row: Row) -> Any:
        """Return the value of a row if it is a number, else None.

        :raises RefusedError: if it has not got its signature
        """
        payload = self._verify(row)
        kind, data = payload[:1], payload[1:]
        return _decode(kind, data, row.mode & ~MODE_SIGNED) if kind in (b'i', b'f') else None

    # --- values ---

    def store(self, value: Any, read: bool, key: Any = UNKNOWN) -> tuple[int, int, str | None, Any]:
        """Convert a value to columns, as :meth:`Disk.store` does; :meth:`_seal` completes them."""
        if read and type(value) not in _RAW_TYPES and hasattr(value, 'read'):
            reader = _Digesting(value)
            size, mode, filename, _ = super().store(reader, True, key=key)
            return size, mode | MODE_SIGNED, filename, b'F' + reader.digest.digest()
        if read and type(value) not in _RAW_TYPES:
            return super().store(value, read, key=key)  # which raises TypeError
        mode, payload, content, in_file = self._payload(value)
        if not in_file:
            return 0, mode | MODE_SIGNED, None, payload
        size, _, filename, _ = super().store(content, False, key=key)
        return size, mode | MODE_SIGNED, filename, b'F' + _sha256(content).digest()

    def _payload(self, value: Any) -> tuple[int, bytes, bytes, bool]:
        """Return the mode of a value, what is signed of it inline or else in a file, and which."""
        if type(value) in _RAW_TYPES:
            mode, content, in_file = self._encode(value)
        else:
            mode = MODE_PICKLE
            content = pickle.dumps(value, self.pickle_protocol)
            in_file = len(content) >= self.min_file_size
        if mode == MODE_PICKLE:
            return mode, b'P' + content, content, in_file
        if isinstance(content, str):
            text = content.encode('utf-8')
            return mode, b's' + text, text, in_file
        if isinstance(content, bytes):
            return mode, b'b' + content, content, in_file
        if isinstance(content, int):
            return mode, b'i' + str(content).encode(), b'', in_file
        return mode, b'f' + struct.pack('>d', content), b'', in_file

    def fetch(self, mode: int, filename: str | None, value: Any, read: bool) -> Any:
        """Refuse a value whose row is not known: there is nothing to check it by."""
        raise RefusedError('a value without its row cannot be checked')

    def _fetch_row(  # type: ignore[override]
        self,
        key: Any,
        raw: bool,
        tag: Any,
        expire_time: float | None,
        mode: int,
        filename: str | None,
        value: Any,
        read: bool,
    ) -> Any:
        """Return the value of a row; the native core calls it.

        :raises RefusedError: if the signature is not that of the row, or the file another
        """
        payload = self._verify(Row(key, raw, tag, expire_time, mode, value))
        kind, data = payload[:1], payload[1:]
        form = mode & ~MODE_SIGNED
        if kind != b'F':
            return _decode(kind, data, form)
        if read and form == MODE_BINARY:
            return self._checked_copy(filename, data)
        content = super().fetch(MODE_BINARY, filename, None, False)
        if not _is_same(_sha256(content).digest(), data):
            raise RefusedError(f'the file {filename} is not that of the item')
        if form == MODE_BINARY:
            return content
        return content.decode('utf-8') if form == MODE_TEXT else pickle.loads(content)

    def _checked_copy(self, filename: str | None, digest: bytes) -> BinaryIO:
        """Return the content of a value file as a file that nobody else can write to."""
        import tempfile  # which takes longer to import than this package

        checked = _sha256()
        with super().fetch(MODE_BINARY, filename, None, True) as file:
            size = os.fstat(file.fileno()).st_size
            copy = io.BytesIO() if size <= _IN_MEMORY else tempfile.TemporaryFile()  # noqa: SIM115
            for block in iter(lambda: file.read(_core.READ_BLOCK), b''):
                checked.update(block)
                copy.write(block)
        if not _is_same(checked.digest(), digest):
            copy.close()
            raise RefusedError(f'the file {filename} is not that of the item')
        copy.seek(0)
        return copy

    def _check_row(self, row: Row, filename: str | None) -> None:
        """Look at the signature of a row, and at its file, without loading anything.

        :raises RefusedError: if it, or the file, is another
        :raises OSError: if the file cannot be read
        """
        payload = self._verify(row)
        if payload[:1] == b'F':
            self._checked_copy(filename, payload[1:]).close()


def _decode(kind: bytes, data: bytes, form: int) -> Any:
    """Return an inline value; its kind has been signed, and so has its mode."""
    if kind == b'P' and form == MODE_PICKLE:
        return pickle.loads(data)
    if form != MODE_RAW:
        raise RefusedError(f'an item of mode {form} is not stored like this')
    if kind == b's':
        return data.decode('utf-8')
    if kind == b'b':
        return data
    return int(data) if kind == b'i' else struct.unpack('>d', data)[0]


def _check_keys(keys: Any) -> None:
    if isinstance(keys, bytes | str) or not isinstance(keys, Sequence):
        raise TypeError('the keys of a SignedDisk must be a sequence of bytes')
    if not keys:
        raise ValueError(
            'a SignedDisk needs keys: derive a class with keys = (...,), or use with_keys()'
        )
    for key in keys:
        if not isinstance(key, bytes):
            raise TypeError(f'a key of a SignedDisk must be bytes, not {type(key).__name__!r}')
        if len(key) < _SHORTEST_KEY:
            raise ValueError(f'a key of a SignedDisk must have at least {_SHORTEST_KEY} bytes')
