"""The native core: see the C sources in src/."""

import sqlite3
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager
from types import TracebackType
from typing import Any, BinaryIO, NoReturn, TypeVar, final

from .disk import Disk as _PublicDisk
from .disk import StoredKey as _StoredKey

_C = TypeVar('_C', bound=Cache)
_Items = Mapping[Any, Any] | Iterable[tuple[Any, Any]]

SCHEMA: tuple[tuple[str, str], ...]
#: By policy: its index, the statement that makes it, `get` and `cull` of EVICTION_POLICY.
POLICIES: dict[str, tuple[str | None, str | None, str | None, str | None]]
READING_NOTE: str
TAG_INDEX_NAME: str
TAG_INDEX_CREATE: str
TAG_INDEX_DROP: str
sqlite_version: str

# What is said in C (src/base/format.h, limits.h, record.h).
MODE_NONE: int
MODE_RAW: int
MODE_BINARY: int
MODE_TEXT: int
MODE_PICKLE: int
DATABASE_NAME: str
VALUE_FILE_DIGITS: int
VALUE_FILE_SUFFIX: str
TEMPORARY_FILE_SUFFIX: str
QUEUE_LOWEST: int
QUEUE_HIGHEST: int
QUEUE_ORIGIN: int
QUEUE_DIGITS: int
MEMORY_LIMIT: int
BATCH_ITEMS: int
BATCH_BYTES: int
CREATE_ATTEMPTS: int
READ_BLOCK: int

class Timeout(Exception):
    message: str

class Disk:
    _directory: str
    _directory_mode: int
    min_file_size: int
    pickle_protocol: int | None
    def put(self, key: Any) -> tuple[Any, bool]: ...
    def get(self, key: Any, raw: bool) -> Any: ...
    def store(
        self, value: Any, read: bool, key: Any = None
    ) -> tuple[int, int, str | None, Any]: ...
    def fetch(self, mode: int, filename: str | None, value: Any, read: bool) -> Any: ...
    def filename(self, key: Any = None, value: Any = None) -> tuple[str, str]: ...
    def remove(self, file_path: str) -> None: ...
    def hash(self, key: Any) -> int: ...
    def _encode(self, value: Any) -> tuple[int, Any, bool]: ...
    @staticmethod
    def _is_inside(filename: str, /) -> bool: ...
    def _local_name(self, filename: str) -> str: ...
    def _create_file(self, filename: str) -> int: ...
    def _open_file(self, filename: str) -> BinaryIO | None: ...
    def _hooked(self) -> bool: ...

@final
class CacheKey:
    def __new__(
        cls, base: tuple[Any, ...], typed: bool, ignore: Iterable[int | str]
    ) -> CacheKey: ...
    def __call__(self, *args: Any, **kwargs: Any) -> tuple[Any, ...]: ...

def args_to_key(
    base: tuple[Any, ...],
    args: Iterable[Any],
    kwargs: Mapping[str, Any] | None,
    typed: bool,
    ignore: Iterable[int | str],
) -> tuple[Any, ...]: ...

class Transaction:
    def __enter__(self) -> Any: ...
    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
        /,
    ) -> bool: ...
    def _cleanup(self, filename: str | None, /) -> None: ...

@final
class KeyIterator(Iterator[Any]):
    def __next__(self) -> Any: ...

@final
class Pin: ...

class Cache:
    _directory: str
    @property
    def _path(self) -> str: ...
    _timeout: float
    _local: Any
    _disk: _PublicDisk
    _page_size: int
    _read_only: int
    _txn_id: int | None
    @property
    def _own_policy(self) -> dict[str, str | None] | None: ...
    count: int
    size: int
    hits: int
    misses: int
    eviction_policy: str
    size_limit: int
    cull_limit: int
    statistics: int
    memory_limit: int
    on_error: str | None
    def memory_stats(self) -> dict[str, int]: ...
    def get(
        self,
        key: Any,
        default: Any = None,
        read: bool = False,
        expire_time: bool = False,
        tag: bool = False,
        retry: bool = False,
    ) -> Any: ...
    def _get_values(self, keys: Iterable[Any], retry: bool = False) -> list[Any]: ...
    def read(self, key: Any, retry: bool = False) -> Any: ...
    def set(
        self,
        key: Any,
        value: Any,
        expire: float | None = None,
        read: bool = False,
        tag: Any = None,
        retry: bool = False,
    ) -> bool: ...
    def add(
        self,
        key: Any,
        value: Any,
        expire: float | None = None,
        read: bool = False,
        tag: Any = None,
        retry: bool = False,
    ) -> bool: ...
    def touch(self, key: Any, expire: float | None = None, retry: bool = False) -> bool: ...
    def incr(
        self, key: Any, delta: float = 1, default: float | None = 0, retry: bool = False
    ) -> Any: ...
    def decr(
        self, key: Any, delta: float = 1, default: float | None = 0, retry: bool = False
    ) -> Any: ...
    def pop(
        self,
        key: Any,
        default: Any = None,
        expire_time: bool = False,
        tag: bool = False,
        retry: bool = False,
    ) -> Any: ...
    def delete(self, key: Any, retry: bool = False) -> bool: ...
    def push(
        self,
        value: Any,
        prefix: str | None = None,
        side: str = 'back',
        expire: float | None = None,
        read: bool = False,
        tag: Any = None,
        retry: bool = False,
    ) -> Any: ...
    def pull(
        self,
        prefix: str | None = None,
        default: Any = (None, None),
        side: str = 'front',
        expire_time: bool = False,
        tag: bool = False,
        retry: bool = False,
    ) -> Any: ...
    def peek(
        self,
        prefix: str | None = None,
        default: Any = (None, None),
        side: str = 'front',
        expire_time: bool = False,
        tag: bool = False,
        retry: bool = False,
    ) -> Any: ...
    def peekitem(
        self,
        last: bool = True,
        expire_time: bool = False,
        tag: bool = False,
        retry: bool = False,
    ) -> Any: ...
    def set_many(
        self,
        items: _Items,
        expire: float | None = None,
        tag: Any = None,
        retry: bool = False,
    ) -> int: ...
    def add_many(
        self,
        items: _Items,
        expire: float | None = None,
        tag: Any = None,
        retry: bool = False,
    ) -> int: ...
    def _store_many(
        self,
        pairs: Iterable[tuple[Any, Any]],
        expire: float | None = None,
        tag: Any = None,
        retry: bool = False,
        add: bool = False,
    ) -> list[int]: ...
    def touch_many(
        self, keys: Iterable[Any], expire: float | None = None, retry: bool = False
    ) -> int: ...
    def _touch_many(
        self, keys: Iterable[Any], expire: float | None = None, retry: bool = False
    ) -> list[int]: ...
    def delete_many(self, keys: Iterable[Any], *, retry: bool = False) -> int: ...
    def get_many(self, keys: Iterable[Any], *, retry: bool = False) -> dict[Any, Any]: ...
    def clear(self, retry: bool = False) -> int: ...
    def evict(self, tag: Any, retry: bool = False) -> int: ...
    def expire(self, now: float | None = None, retry: bool = False) -> int: ...
    def cull(self, retry: bool = False) -> int: ...
    def iterkeys(self, reverse: bool = False) -> Iterator[Any]: ...
    def _stored_keys(self, reverse: bool = False) -> Iterator[_StoredKey]: ...
    def _naming_keys(self, reverse: bool = False) -> Iterator[Any]: ...
    def _decode_key(self, stored: _StoredKey) -> Any: ...
    def _peek_nth(self, index: int) -> Any: ...
    def _raise_timeout(self) -> NoReturn: ...
    def _drop_end(self, side: str) -> bool: ...
    def _popitem(self, last: bool = True) -> tuple[Any, Any]: ...
    def _damaged_texts(self, column: str) -> list[int]: ...
    def volume(self) -> int: ...
    def close(self) -> None: ...
    def transact(self, retry: bool = False) -> AbstractContextManager[None]: ...
    def _transact(
        self, retry: bool = False, filename: str | None = None
    ) -> AbstractContextManager[
        tuple[Callable[..., sqlite3.Cursor], Callable[[str | None], None]]
    ]: ...
    def _row_insert(self, key: Any, raw: bool, now: float, columns: tuple[Any, ...]) -> None: ...
    def _row_update(self, rowid: int, now: float, columns: tuple[Any, ...]) -> None: ...
    def _cull(self, now: float, sql: Any, cleanup: Any, limit: int | None = None) -> None: ...
    def _connection(self) -> sqlite3.Connection: ...
    def _require_writable(self) -> None: ...
    def _inspect(self) -> tuple[dict[str, Any], dict[str, Any], int]: ...
    def _apply(
        self, statements: Iterable[str], settings: dict[str, Any], defaults: dict[str, Any]
    ) -> None: ...
    def _setting(self, name: str) -> Any: ...
    def _update_setting(self, name: str, value: Any) -> None: ...
    def _set_pragma(self, name: str, value: Any) -> None: ...
    def __getitem__(self, key: Any, /) -> Any: ...
    def __setitem__(self, key: Any, value: Any, /) -> None: ...
    def __delitem__(self, key: Any, retry: bool = True) -> bool: ...
    def __contains__(self, key: Any, /) -> bool: ...
    def __len__(self) -> int: ...
    def __iter__(self) -> Iterator[Any]: ...
    def __reversed__(self) -> Iterator[Any]: ...
    def __enter__(self: _C) -> _C: ...

def _register(
    disk: type,
    cache: type,
    transaction: type,
    stored_key: type,
    enoval: Any,
    unknown: Any,
    find_policy: Callable[[str], object],
) -> None: ...
def _file_system(path: Any) -> int: ...
def _flush_notes() -> None: ...
def _before_fork() -> None: ...
def _after_fork() -> None: ...
def _optimize_pickle(pickled: bytes) -> bytes: ...
def _pickle_key(object: Any, protocol: int) -> bytes | None: ...
