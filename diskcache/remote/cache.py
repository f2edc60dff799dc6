"""RemoteCache: the interface of a Cache, on a server.

Each operation is one round trip, or one for some hundred items, but for `modify`, `pop` and `pull`:
they read, and then have the server compare and change. What is not atomic says so in its docstring;
docs/howto/remote.rst has it as a table.
"""

from __future__ import annotations

import functools as ft
import itertools as it
import math
import os
import random
import re
import time
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence

from .._core import Timeout
from ..batches import checked_pairs, hashable_keys, iter_of
from ..cache import Cache
from ..cautions import hint_at_expire
from ..constants import ENOVAL, KEEP
from ..deque import checked_maxlen
from ..disk import Disk
from ..hints import Any
from ..log import log_refusal
from ..memoize import checked_expire, is_real
from ..refusal import RefusedError
from ..unloadable import passes_over
from ..views import DictMethods, Names
from . import scripts
from .cluster import ClusterEngine, is_cluster
from .cluster_feed import feed_of
from .codec import ITEMS, Codec, dump_tag
from .deque import RemoteDeque
from .engine import Command, Engine
from .feed import clock
from .index import RemoteIndex
from .near import Near
from .shards import slot_of, tags_of
from .unsupported import Lacking, NotSupported, no_files, refusing
from .waiter import Waiter

#: The most that goes to the server as an expiry, in ms: it adds the time of day.
_LONGEST = 2**53

#: The longest time that is waited for an answer, in seconds: a socket takes no infinite one.
_LONGEST_TIMEOUT = 1e6

#: Each pause of `modify` is up to this, in seconds, times the number of tries so far.
_PAUSE = 0.0005

#: The longest pause, in seconds.
_LONGEST_PAUSE = 0.02

#: The most parts of a cache: each evict asks all of them.
_MOST_SHARDS = 1024

_ITEM_KINDS = tuple(ITEMS[place : place + 1] for place in range(len(ITEMS)))

#: How many items `volume` looks at.
_SAMPLE = 100

#: So many members of a tag's set are handled at a time; the server does nothing else meanwhile.
_EVICTED = 500


def milliseconds(expire: Any) -> int | None:
    """Return an expiry as the server has it.

    :return: None for never; 0 or less for what has expired already
    :raises TypeError: if it is no number
    :raises ValueError: if it is NaN
    """
    if expire is None:
        return None
    checked_expire(expire)
    if expire != expire:
        raise ValueError('expire cannot be NaN')
    if expire <= 0:
        return 0
    return None if expire == math.inf else math.ceil(min(expire * 1000, _LONGEST))


def _px(ms: int | None) -> bytes:
    return b'' if ms is None else b'%d' % ms


def _checked_number(value: Any, what: str) -> Any:
    if not is_real(value):
        raise TypeError(f'{what} must be an int or a float, not {type(value).__name__!r}')
    return value


def _checked_sum(number: float, delta: float, what: str) -> float:
    total = number + delta
    if isinstance(total, int) and not -(2**63) <= total < 2**63:
        raise OverflowError(f'{what} does not fit into 64 bits')
    return total


def _known(found: dict[Any, Any]) -> dict[Any, Any]:
    """Return what is found without what the serializer does not trust."""
    return {key: value for key, value in found.items() if value is not ENOVAL}


class RemoteCache(DictMethods):
    """A cache on a server, which machines share.

    It is safe to use from many threads, and in a forked child.
    """

    #: What the recipes and memoize ask a cache.
    read_only = False

    @hint_at_expire
    def __init__(
        self,
        url: str,
        name: str = 'default',
        *,
        near: bool | str | os.PathLike[str] | Cache | None = None,
        serializer: str | type[Disk] = 'safe',
        keys: Sequence[bytes] = (),
        timeout: float = 1.0,
        max_value: int = 2**24,
        shards: int = 64,
    ) -> None:
        """Set where the cache is. The first operation connects.

        :param url: ``redis://[user:password@]host[:port][/db]``, with TLS ``rediss://``, or
            ``unix:///path/of/socket?db=n``; ``valkey://`` and ``valkeys://`` mean the same as the
            first two. The master that Sentinels know by a name:
            ``redis+sentinel://host:port,host:port/name[/db]``. The Cluster to which some nodes
            belong: ``redis+cluster://host:port,host:port``. redis-py's options may follow behind a
            ``?``; ``sentinel_password`` and ``sentinel_username`` are for the Sentinels
        :param name: of the cache: letters, digits, ``_``, ``.``, ``-`` and ``/``. Caches of one
            server with different names have nothing in common
        :param near: keep what was read near too: True, in this process's memory (8 MiB); a
            directory, which the processes of this machine share; or a Cache that serves as one
        :param serializer: ``'safe'``, what :class:`diskcache.SafeDisk` stores and loads;
            ``'signed'``, any object, signed with the first of `keys`; ``'pickle'``, any object:
            whoever can write to the server can then run code in each reader; or a subclass of Disk
        :param keys: for ``'signed'``: bytes, 16 or more each. The first signs, all verify
        :param timeout: seconds to wait for a connection, and for an answer
        :param max_value: bytes that a value may have on the server; more is refused before it is
            sent
        :param shards: parts of the cache on a Cluster, up to 1024, each of which is on one node.
            Who shares a cache must use the same number. On a server it means nothing
        :raises ValueError: if an argument has an impossible value
        :raises TypeError: if an argument is of the wrong type
        """
        if not isinstance(name, str):
            raise TypeError(f'name must be a str, not {type(name).__name__!r}')
        if not re.fullmatch(r'[A-Za-z0-9_./-]+', name):
            raise ValueError(
                f'name must be of letters, digits, "_", ".", "-" and "/", not {name!r}'
            )
        if not (_checked_number(timeout, 'timeout') > 0):
            raise ValueError(f'timeout must be positive, not {timeout!r}')
        if not (_checked_number(max_value, 'max_value') > 0):
            raise ValueError(f'max_value must be positive, not {max_value!r}')
        if near is not None and not isinstance(near, bool | str | os.PathLike | Cache):
            raise TypeError(f'near must be True, a directory or a Cache, not {near!r}')
        if not isinstance(shards, int) or not 1 <= shards <= _MOST_SHARDS:
            raise ValueError(f'shards must be an int from 1 to {_MOST_SHARDS:,}, not {shards!r}')
        self.url = url
        self.name = name
        self.timeout = timeout
        self.max_value = max_value
        self._arguments: dict[str, Any] = {
            'near': near,
            'serializer': serializer,
            'keys': keys,
            'shards': shards,
        }
        seconds = min(timeout, _LONGEST_TIMEOUT)
        if not is_cluster(url):
            self._engine: Engine | ClusterEngine = Engine(url, seconds)
            shards = 0
        else:
            self._engine = ClusterEngine(url, seconds, map(slot_of, tags_of(shards)))
        self._label, self._codec = self._codec_of(name, shards)
        self._caches: dict[str, RemoteCache] = {}
        self._deques: dict[str, RemoteDeque[Any]] = {}
        self._indexes: dict[str, RemoteIndex[Any, Any]] = {}
        self._near: Near | None = None
        if near is not None and near is not False:
            feed = feed_of(self._engine, self._codec.prefix, seconds)
            self._near = Near(near, feed, self._engine.address)

    def _codec_of(self, name: str, shards: int = 0) -> tuple[str, Codec]:
        """Return what the log calls something of this name, and the Codec for it."""
        label = f'{self._engine.address}/{name}'.replace('\0', r'\0')  # a Disk takes none
        serializer, keys = self._arguments['serializer'], self._arguments['keys']
        return label, Codec(name, serializer, keys, label, self.max_value, shards)

    @property
    def disk(self) -> Any:
        """The Disk that converts keys and values; it never has a file."""
        return self._codec.disk

    # --- looking up ---

    def get(
        self,
        key: Any,
        default: Any = None,
        read: bool = False,
        expire_time: bool = False,
        tag: bool = False,
        retry: bool = False,
    ) -> Any:
        """Look a key up.

        :param key: any object that the serializer takes
        :param default: what to return if the key is absent, has expired, or its value is not
            trusted by the serializer
        :param read: not supported
        :param expire_time: return the expire time too (seconds since the epoch, or None)
        :param tag: return the tag too
        :param retry: means nothing here, as for all methods: there is no lock
        :return: the value, or the default; a tuple with expire time and tag, in this order, if
            asked for
        :raises Timeout: if the server does not answer in time
        :raises ConnectionError: if there is no server
        """
        if read:
            no_files(read, 'get')
        name = self._codec.key(key)
        near = self._near
        stored: bytes | None
        left = math.inf
        found = None if near is None else near.get(name)
        if found is not None:
            stored, left = found
        elif near is not None or expire_time:
            stored, left = self._read(name)
        else:
            stored = self._engine.read('GET', name)
        value, its_tag = (ENOVAL, None) if stored is None else self._load(key, stored)
        if value is ENOVAL:
            value, left, its_tag = default, math.inf, None
        if not (expire_time or tag):
            return value
        when = (None if left == math.inf else time.time() + left,) if expire_time else ()
        return (value, *when, *((its_tag,) if tag else ()))

    def _read(self, name: bytes) -> tuple[bytes | None, float]:
        """Return a value as it stands on the server, and the seconds left; keep it near."""
        t0 = clock()
        return self._keep(name, t0, *self._engine.read(*scripts.READ.command(name)))

    def _keep(
        self, name: bytes, t0: float, stored: bytes | None, ms: int
    ) -> tuple[bytes | None, float]:
        """Keep what was read near; return the same as _read."""
        left = math.inf if ms < 0 else ms / 1000
        if stored is None:
            self._hear_one(name)
        elif self._near is not None:
            self._near.put(name, t0, t0 + left, stored)
        return stored, left

    def _load(self, key: Any, stored: bytes) -> tuple[Any, Any]:
        """Return value and tag; ENOVAL if the serializer does not trust it, which is logged."""
        try:
            return self._codec.load(key, stored)
        except RefusedError as error:
            log_refusal(self._label, key, error)
            return ENOVAL, None

    def __getitem__(self, key: Any) -> Any:
        value = self.get(key, default=ENOVAL)
        if value is ENOVAL:
            raise KeyError(key)
        return value

    def __contains__(self, key: Any) -> bool:
        name = self._codec.key(key)
        if self._near is not None and self._near.get(name) is not None:
            return True
        found = bool(self._engine.read('EXISTS', name))
        if not found:
            self._hear_one(name)
        return found

    def get_many(self, keys: Iterable[Any], *, retry: bool = False) -> dict[Any, Any]:
        """Look many keys up, with one round trip for a thousand of them. Each is read by itself.

        :param keys: iterable of hashable keys
        :return: dict of those that are there
        :raises Timeout: if the server does not answer in time
        :raises ConnectionError: if there is no server
        """
        found: dict[Any, Any] = {}
        near = self._near
        wanted: list[tuple[Any, bytes]] = []
        for key in hashable_keys(keys):
            name = self._codec.key(key)
            kept = None if near is None else near.get(name)
            if kept is None:
                wanted.append((key, name))
            else:
                found[key] = self._load(key, kept[0])[0]
        rest = iter(wanted)
        names = (name for _, name in wanted)
        if near is None:
            for answers in self._read_many([('GET', name) for name in names]):
                for (key, _), stored in zip(it.islice(rest, len(answers)), answers, strict=True):
                    if stored is not None:
                        found[key] = self._load(key, stored)[0]
            return _known(found)
        t0 = clock()
        for answers in self._read_many(list(map(scripts.READ.command, names))):
            for (key, name), (stored, ms) in zip(
                it.islice(rest, len(answers)), answers, strict=True
            ):
                if self._keep(name, t0, stored, ms)[0] is not None:
                    found[key] = self._load(key, stored)[0]
            t0 = clock()
        return _known(found)

    def _read_many(self, commands: list[Command]) -> Iterator[list[Any]]:
        """Run commands that only read; what has no answer once more if the connection is lost."""
        done = 0
        try:
            for answers in self._engine.many(commands):
                done += len(answers)
                yield answers
        except ConnectionError:
            yield from self._engine.many(commands[done:])

    # --- writing ---

    def _write(self, name: bytes, *command: Any) -> Any:
        """Run a command that writes a key; after it this process does not use what it had kept."""
        try:
            return self._engine.call(*command)
        finally:  # after an error too: it may have been run
            if self._near is not None:
                self._near.feed.hear(name)

    def _delete(self, name: bytes) -> bool:
        return bool(self._write(name, 'UNLINK', name))

    def _delete_if(self, name: bytes, stored: bytes) -> bool:
        return bool(self._write(name, *scripts.DELETE_IF.command(name, stored)))

    def _set_command(self, key: Any, value: Any, ms: int | None, tag: Any) -> tuple[bytes, Command]:
        name = self._codec.key(key)
        stored = self._codec.dump(key, value, tag)
        if ms is not None and ms <= 0:
            return name, ('UNLINK', name)
        return name, self._store_command(name, stored, ms, tagged=tag is not None)

    def _add_command(self, key: Any, value: Any, ms: int | None, tag: Any) -> tuple[bytes, Command]:
        name = self._codec.key(key)
        stored = self._codec.dump(key, value, tag)
        return name, self._store_command(name, stored, ms, tagged=tag is not None, add=True)

    def _store_command(
        self, name: bytes, stored: bytes, ms: int | None, *, tagged: bool, add: bool = False
    ) -> Command:
        """Return the command that stores an item: a script if that is more than one step."""
        if tagged or add:
            how = b'n' if add else b''
            return scripts.STORE.command(name, stored, _px(ms), self._codec.tag_sets(name), how)
        return ('SET', name, stored) if ms is None else ('SET', name, stored, 'PX', ms)

    @hint_at_expire
    def set(
        self,
        key: Any,
        value: Any,
        expire: float | None = None,
        read: bool = False,
        tag: Any = None,
        retry: bool = False,
    ) -> bool:
        """Store a value under a key.

        :param key: any object that the serializer takes
        :param value: the same
        :param expire: seconds until the item expires (None: never)
        :param read: not supported
        :param tag: int, float, str or bytes to evict() by, or None
        :return: True
        :raises ValueError: if key or value has more bytes than `max_value`, or a key is NaN
        :raises TypeError: if expire or tag is of the wrong type, or the serializer does not take
            the value
        :raises Timeout: if the server does not answer in time: nobody knows whether it has stored
            the value
        :raises ConnectionError: if there is no server
        :raises RemoteError: if it refuses, being out of memory for instance
        """
        no_files(read, 'set')
        name, command = self._set_command(key, value, milliseconds(expire), tag)
        self._write(name, *command)
        return True

    def __setitem__(self, key: Any, value: Any) -> None:
        self.set(key, value)

    @hint_at_expire
    def add(
        self,
        key: Any,
        value: Any,
        expire: float | None = None,
        read: bool = False,
        tag: Any = None,
        retry: bool = False,
    ) -> bool:
        """Store a value under a key that is absent. Of many who try at once, one succeeds.

        Parameters and errors are those of :meth:`set`.

        :return: whether the value was stored
        """
        no_files(read, 'add')
        ms = milliseconds(expire)
        if ms is not None and ms <= 0:
            self._set_command(key, value, ms, tag)  # for its errors
            return key not in self
        name, command = self._add_command(key, value, ms, tag)
        return bool(self._write(name, *command))

    def touch(self, key: Any, expire: float | None = None, retry: bool = False) -> bool:
        """Give an item another expiry.

        :param key: any object that the serializer takes
        :param expire: seconds from now until the item expires (None: never)
        :return: whether the key was there
        """
        name, command = self._touch_command(key, milliseconds(expire))
        return bool(self._write(name, *command))

    def _touch_command(self, key: Any, ms: int | None) -> tuple[bytes, Command]:
        name = self._codec.key(key)
        if ms is not None and ms <= 0:
            return name, ('UNLINK', name)
        return name, scripts.TOUCH.command(name, _px(ms), self._codec.tag_sets(name))

    def incr(self, key: Any, delta: Any = 1, default: Any = 0, retry: bool = False) -> Any:
        """Add to a number, atomically. Its expiry and tag stay.

        :param key: any object that the serializer takes
        :param delta: int or float to add
        :param default: number to begin with if the key is absent; None: KeyError
        :return: the new value
        :raises KeyError: if the key is absent and default is None
        :raises TypeError: if delta, default or the stored value is no number
        :raises OverflowError: if the sum does not fit into 64 bits; the value stays as it was
        """
        _checked_number(delta, 'delta')
        first = None
        if default is not None:
            first = _checked_sum(_checked_number(default, 'default'), delta, 'default + delta')
        name = self._codec.key(key)
        ints = type(delta) is int and -(2**63) <= delta < 2**63
        if self._codec.has_plain_values and ints and type(first) in (int, type(None)):
            initial = b'' if first is None else str(first).encode()
            answer = self._write(name, *scripts.INCREMENT.command(name, delta, initial))
            if answer == b'missing':
                raise KeyError(key)
            if answer == b'overflow':
                raise OverflowError(f'the value of key {key!r} plus delta exceeds 64 bits')
            if answer != b'other':
                return int(answer)

        def added(value: Any) -> Any:
            if value is ENOVAL:
                if first is None:
                    raise KeyError(key)
                return first
            if type(value) not in (int, float):
                raise TypeError(f'the value of key {key!r} is not an int or a float')
            return _checked_sum(value, delta, f'the value of key {key!r} plus delta')

        return self.modify(key, added, ENOVAL, retry=True)

    def decr(self, key: Any, delta: Any = 1, default: Any = 0, retry: bool = False) -> Any:
        """Subtract from a number, atomically; see :meth:`incr`."""
        return self.incr(key, -_checked_number(delta, 'delta'), default)

    @hint_at_expire
    def modify(
        self,
        key: Any,
        func: Callable[[Any], Any],
        default: Any = None,
        expire: Any = KEEP,
        tag: Any = KEEP,
        retry: bool = False,
    ) -> Any:
        """Replace a value by what a function makes of it, atomically: no other write comes between.

        The server compares the value with the one that was read. If they differ the function is
        called again with the new one, until nobody was faster.

        :param key: any object that the serializer takes
        :param func: called with the value; returns the new one, :data:`diskcache.ENOVAL` to delete
            the item, or :data:`diskcache.KEEP` to leave it as it is. If it raises, the item stays
            as it is, too
        :param default: what `func` is called with if the key is missing
        :param expire: seconds until the item expires (None: never; without it the time of its
            expiry stays)
        :param tag: the item's tag (without it the tag stays)
        :param retry: try for as long as it takes, and not only for `timeout`
        :return: the value that is stored then; ENOVAL if there is none
        :raises Timeout: if others were always faster, or the server does not answer in time
        """
        name = self._codec.key(key)
        ms = None if expire is KEEP else milliseconds(expire)
        deadline = time.monotonic() + self.timeout
        for tries in it.count(1):
            stored = self._engine.read('GET', name)
            value, old_tag = (ENOVAL, None) if stored is None else self._load(key, stored)
            new = func(default if value is ENOVAL else value)
            if new is KEEP:
                self._hear([name])
                return value
            if new is ENOVAL or (ms is not None and ms <= 0):
                if new is not ENOVAL:
                    self._codec.dump(key, new, None)  # for its errors
                if stored is None or self._delete_if(name, stored):
                    return new
            else:
                replacement = self._codec.dump(key, new, old_tag if tag is KEEP else tag)
                px = b'k' if expire is KEEP and stored is not None else _px(ms)
                how = (b'n',) if stored is None else (b'c', stored)
                sets = self._codec.tag_sets(name)
                command = scripts.STORE.command(name, replacement, px, sets, *how)
                if self._write(name, *command):
                    return new
            if not retry and time.monotonic() > deadline:
                raise Timeout(f'{self._label}: others were always faster to change {key!r:.200}')
            time.sleep(random.random() * min(_LONGEST_PAUSE, _PAUSE * tries))

    def setdefault(self, key: Any, default: Any = None) -> Any:
        """Return the value of a key; store one first, if it has none.

        :param key: any object that the serializer takes
        :param default: its value if it is missing
        :return: the value
        """
        return self.modify(
            key, lambda value: default if value is ENOVAL else KEEP, ENOVAL, retry=True
        )

    def pop(
        self,
        key: Any,
        default: Any = None,
        expire_time: bool = False,
        tag: bool = False,
        retry: bool = False,
    ) -> Any:
        """Delete a key and return its value, atomically. A value that cannot be loaded stays.

        :param key: any object that the serializer takes
        :param default: what to return if the key is absent, or its value is not trusted
        :param expire_time: return the expire time too (seconds since the epoch, or None)
        :param tag: return the tag too
        :return: the value, or the default; a tuple with expire time and tag, in this order, if
            asked for
        """
        name = self._codec.key(key)
        while True:
            stored, ms = self._engine.read(*scripts.READ.command(name))
            value, its_tag = (ENOVAL, None) if stored is None else self._load(key, stored)
            if value is ENOVAL:
                value, its_tag, ms = default, None, -1
                self._hear([name])
            elif not self._delete_if(name, stored):
                continue
            return self._with(value, ms, its_tag, expire_time, tag)

    @staticmethod
    def _with(value: Any, ms: int, its_tag: Any, expire_time: bool, tag: bool) -> Any:
        """Return a value, in a tuple with expire time and tag if they are asked for."""
        if not (expire_time or tag):
            return value
        when = (None if ms < 0 else time.time() + ms / 1000,) if expire_time else ()
        return (value, *when, *((its_tag,) if tag else ()))

    def delete(self, key: Any, retry: bool = False) -> bool:
        """Delete a key, if it is there.

        :param key: any object that the serializer takes
        :return: whether it was there
        """
        return self._delete(self._codec.key(key))

    def __delitem__(self, key: Any) -> None:
        if not self.delete(key):
            raise KeyError(key)

    def _many(self, commands: Iterable[tuple[bytes, Command]]) -> list[int]:
        """Run commands that write a key each; return how many, and how many answers are true."""
        names: list[bytes] = []
        counts = [0, 0]

        def noted() -> Iterator[Command]:
            for name, command in commands:
                names.append(name)
                yield command

        try:
            for answers in self._engine.many(noted()):
                counts[0] += len(answers)
                counts[1] += sum(map(bool, answers))
                self._hear(names)
        finally:
            self._hear(names)
        return counts

    def _hear(self, names: list[bytes]) -> None:
        """Note that this process has written or read keys, and goes back to nothing older.

        The list is empty then.
        """
        if self._near is not None:
            for name in names:
                self._near.feed.hear(name)
        names.clear()

    def _hear_one(self, name: bytes) -> None:
        self._hear([name])

    @hint_at_expire
    def set_many(
        self, items: Any, expire: float | None = None, tag: Any = None, *, retry: bool = False
    ) -> int:
        """Store values under keys, with one round trip for a thousand of them.

        Each is stored by itself: others can see some of them, and after an error some are stored.

        :param items: mapping, or iterable of pairs (key, value), such as a generator
        :param expire: seconds until each item expires (None: never)
        :param tag: for the items
        :return: number of items
        :raises TypeError: if an item is no pair, and as :meth:`set` does
        :raises ValueError: if an item is not of length two, and as :meth:`set` does
        """
        ms = milliseconds(expire)
        return self._many(self._set_command(*pair, ms, tag) for pair in checked_pairs(items))[0]

    @hint_at_expire
    def add_many(
        self, items: Any, expire: float | None = None, tag: Any = None, *, retry: bool = False
    ) -> int:
        """Store values under those of the keys that are absent; see :meth:`set_many`.

        :return: number of items stored
        """
        ms = milliseconds(expire)
        if ms is not None and ms <= 0:
            return sum(self.add(*pair, expire, tag=tag) for pair in checked_pairs(items))
        return self._many(self._add_command(*pair, ms, tag) for pair in checked_pairs(items))[1]

    @hint_at_expire
    def touch_many(
        self, keys: Iterable[Any], expire: float | None = None, *, retry: bool = False
    ) -> int:
        """Give items another expiry, with one round trip for a thousand of them.

        :param keys: iterable of keys
        :param expire: seconds from now until each expires (None: never)
        :return: number of items that were there
        """
        ms = milliseconds(expire)
        each = iter_of(keys, 'keys', 'an iterable of keys')
        return self._many(self._touch_command(key, ms) for key in each)[1]

    def delete_many(self, keys: Iterable[Any], *, retry: bool = False) -> int:
        """Delete keys, with one round trip for a thousand of them.

        :param keys: iterable of keys
        :return: number of items that were there
        """
        names = map(self._codec.key, iter_of(keys, 'keys', 'an iterable of keys'))
        return self._many((name, ('UNLINK', name)) for name in names)[1]

    # --- queues ---

    def _queue(self, prefix: str | None, side: str) -> tuple[bytes, bytes, Callable[[bytes], Any]]:
        """Return the name of a queue, what its items' names begin with, and what makes keys."""
        if side not in ('front', 'back'):
            raise ValueError(f"side must be 'front' or 'back', not {side!r}")
        if not self._codec.has_plain_keys:
            raise NotSupported(
                f'a queue with {type(self.disk).__name__}',
                'its keys are made on the server',
                "use serializer='safe' or 'pickle'",
            )
        if prefix is not None and not isinstance(prefix, str):
            raise TypeError(f'prefix must be a str, not {type(prefix).__name__!r}')
        if prefix is None:
            items = self._codec.name(b'i')
            return self._codec.head(items) + b'Q', items, int
        items = self._codec.key(f'{prefix}-')
        queue = b'%bQ%b-' % (self._codec.head(items), prefix.encode())
        return queue, items, lambda digits: f'{prefix}-{digits.decode()}'

    @hint_at_expire
    def push(
        self,
        value: Any,
        prefix: str | None = None,
        side: str = 'back',
        expire: float | None = None,
        read: bool = False,
        tag: Any = None,
        retry: bool = False,
    ) -> Any:
        """Append a value to a queue, under a key made for it.

        :param value: any object that the serializer takes
        :param prefix: names the queue; its keys are 'prefix-' and 15 digits. None: its keys are
            ints around 500000000000000
        :param side: 'back' or 'front' of the queue
        :param expire: seconds until the item expires (None: never)
        :param read: not supported
        :param tag: for the item
        :return: the key
        :raises ValueError: if side is none of the two
        :raises NotSupported: with a serializer that signs, or converts keys: the key is made on
            the server
        """
        no_files(read, 'push')
        queue, items, key_of = self._queue(prefix, side)
        ms = milliseconds(expire)
        stored = self._codec.dump(None, value, tag)
        px = _px(ms if ms is None else max(ms, 1))
        sets = self._codec.tag_sets(queue)
        command = scripts.PUSH.command(queue, items, stored, px, sets, side.encode())
        digits = self._engine.call(*command)
        self._hear_one(items + digits)
        return key_of(digits)

    def peek(
        self,
        prefix: str | None = None,
        default: Any = (None, None),
        side: str = 'front',
        expire_time: bool = False,
        tag: bool = False,
        retry: bool = False,
    ) -> Any:
        """Look at the next item of a queue. What the serializer does not trust is passed over.

        :param prefix: names the queue, as for :meth:`push`
        :param default: what to return if the queue is empty
        :param side: 'front' or 'back' of the queue
        :param expire_time: return the expire time too (seconds since the epoch, or None)
        :param tag: return the tag too
        :return: (key, value), or the default; a tuple of it with expire time and tag, in this
            order, if asked for
        :raises ValueError: if side is none of the two
        """
        return self._next_item(prefix, default, side, expire_time, tag, take=False)

    def pull(
        self,
        prefix: str | None = None,
        default: Any = (None, None),
        side: str = 'front',
        expire_time: bool = False,
        tag: bool = False,
        retry: bool = False,
    ) -> Any:
        """Take the next item out of a queue, atomically; see :meth:`peek`.

        An item that cannot be loaded stays.
        """
        return self._next_item(prefix, default, side, expire_time, tag, take=True)

    def _next_item(
        self,
        prefix: str | None,
        default: Any,
        side: str,
        expire_time: bool,
        tag: bool,
        take: bool,
    ) -> Any:
        queue, items, key_of = self._queue(prefix, side)
        passed = 0
        while True:
            peek = scripts.PEEK.command(queue, items, side.encode(), passed)
            found = self._engine.call(*peek)
            if found is None:
                return self._with(default, -1, None, expire_time, tag)
            if found == 0:
                continue
            digits, stored, ms = found
            key = key_of(digits)
            value, its_tag = self._load(key, stored)
            if value is ENOVAL:
                passed += 1
            elif not take or self._take(queue, items, digits, stored):
                return self._with((key, value), ms, its_tag, expire_time, tag)

    def _take(self, queue: bytes, items: bytes, digits: bytes, stored: bytes) -> bool:
        command = scripts.TAKE.command(queue, items, digits, stored)
        return bool(self._write(items + digits, *command))

    # --- all items ---

    def _scan(self) -> Iterator[list[bytes]]:
        """Yield the names of items, some at a time."""
        kind = self._codec.kind
        for names in self._engine.scan(self._codec.prefix + b'*'):
            yield [name for name in names if kind(name) in _ITEM_KINDS]

    def __iter__(self) -> Generator[Any, None, None]:
        """Yield keys in no order: each that is there all the time, and some perhaps twice."""
        for names in self._scan():
            for name in names:
                yield from self._load_key(name)

    def _load_key(self, name: bytes) -> Iterator[Any]:
        """Yield the key of a name, unless it cannot be loaded, which is logged."""
        try:
            key = self._codec.load_key(name)
        except RefusedError as error:
            log_refusal(self._label, None, error)
        except Exception as error:
            if not passes_over(self._label, error):
                raise
        else:
            yield key

    def iterkeys(self, reverse: bool = False) -> Iterator[Any]:
        """Iterate over the keys in the order that :meth:`diskcache.Cache.iterkeys` has.

        All are loaded.

        :param reverse: backwards
        :return: iterator
        """
        names = {name for names in self._scan() for name in names}
        for name in sorted(names, key=self._codec.order, reverse=reverse):
            yield from self._load_key(name)

    def _names(self, reverse: bool) -> Names | None:
        return None

    def __len__(self) -> int:
        """Return about how many items there are: the server is asked for all of their keys."""
        return sum(map(len, self._scan()))

    def volume(self) -> int:
        """Return about how many bytes of the server's memory the items take, by a sample."""
        sample: list[bytes] = []
        count = 0
        for names in self._scan():
            count += len(names)
            sample += names[: _SAMPLE - len(sample)]
        commands: list[Command] = [('MEMORY', 'USAGE', name) for name in sample]
        sizes = [size for answers in self._read_many(commands) for size in answers if size]
        return count * sum(sizes) // len(sizes) if sizes else 0

    def clear(self, retry: bool = False) -> int:
        """Remove all items of this cache, and nothing else of the server.

        What is stored meanwhile may stay.

        :return: number of items removed
        """
        count = 0
        try:
            for names in self._engine.scan(self._codec.prefix + b'*'):
                commands: Iterator[Command] = (('UNLINK', name) for name in names)
                answers = it.chain.from_iterable(self._engine.many(commands))
                for name, removed in zip(names, answers, strict=True):
                    count += removed and self._codec.kind(name) in _ITEM_KINDS
        finally:
            self._hear_all()
        return count

    def _hear_all(self) -> None:
        if self._near is not None:
            self._near.feed.hear_all()

    def evict(self, tag: Any, retry: bool = False) -> int:
        """Remove the items with a tag, some hundred at a time, each portion atomically.

        :param tag: int, float, str or bytes, as given to set()
        :return: number of items removed
        :raises TypeError: if the tag is of the wrong type
        """
        if tag is None:
            return 0
        head = dump_tag(tag)
        count = 0
        sets = [each + b'T' + head for each in self._codec.heads]
        try:
            while sets:
                commands = [scripts.EVICT.command(each, head, _EVICTED) for each in sets]
                answers = list(it.chain.from_iterable(self._engine.many(commands)))
                count += sum(removed for _, removed in answers)
                sets = [each for each, (taken, _) in zip(sets, answers, strict=True) if taken]
            return count
        finally:
            self._hear_all()

    def expire(self, now: float | None = None, retry: bool = False) -> int:
        """Return 0: the server removes what has expired."""
        return 0

    def cull(self, retry: bool = False) -> int:
        """Return 0: the server removes items when it is full, if its maxmemory-policy says so."""
        return 0

    def _waiter(self, key: Any) -> Waiter:
        """Return what a recipe waits with until a key is written; a context manager."""
        return Waiter(self._engine, self._codec.key(key), self._hear_one)

    # --- its parts ---

    def cache(self, name: str) -> RemoteCache:
        """Return the cache of a name below this one's, with the same arguments otherwise.

        That is the RemoteCache of the name ``f'{self.name}/{name}'``. It is no part of this one's
        items. The same object is returned for a name until ``close``.

        :param name: of letters, digits, ``_``, ``.``, ``-`` and ``/``
        :return: the cache
        :raises ValueError: if the name has other characters
        """
        cache = self._caches.get(name)
        if cache is None:
            cache = type(self)(self.url, f'{self.name}/{name}', **self._more_arguments())
        return self._caches.setdefault(name, cache)

    def deque(self, name: str, maxlen: float | None = None) -> RemoteDeque[Any]:
        """Return the deque of a name, on the same server. It is no part of this cache's items.

        The same object is returned for a name until ``close``: only the first call's `maxlen`
        counts.

        :param name: any str that is not empty
        :param maxlen: the most items it may have (None: no limit)
        :return: the deque
        :raises ValueError: if `maxlen` is negative, or the name is empty
        :raises TypeError: if `maxlen` is no whole number, or the name no str
        """
        checked_maxlen(maxlen)
        deque = self._deques.get(name)
        if deque is None:
            deque = RemoteDeque(self, name, maxlen=maxlen)
        return self._deques.setdefault(name, deque)

    def index(self, name: str) -> RemoteIndex[Any, Any]:
        """Return the index of a name, on the same server. It is no part of this cache's items.

        The same object is returned for a name until ``close``.

        :param name: any str that is not empty
        :return: the index
        :raises ValueError: if the name is empty
        :raises TypeError: if it is no str
        """
        index = self._indexes.get(name)
        if index is None:
            index = RemoteIndex(self, name)
        return self._indexes.setdefault(name, index)

    # --- the object ---

    memoize: Any = Cache.memoize

    def close(self) -> None:
        """Close the connections. The next operation makes new ones."""
        caches, self._caches = self._caches, {}
        for cache in caches.values():
            cache.close()
        self._deques.clear()
        self._indexes.clear()
        if self._near is not None:
            self._near.close()
        self._engine.close()

    def __enter__(self) -> RemoteCache:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f'{type(self).__name__}({self._label!r})'

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle by what it was made with, the URL's password included."""
        if self._arguments['keys']:
            raise TypeError("a RemoteCache with keys cannot be pickled: use a SignedDisk's class")
        return ft.partial(type(self), **self._more_arguments()), (self.url, self.name)

    def _more_arguments(self) -> dict[str, Any]:
        return {**self._arguments, 'timeout': self.timeout, 'max_value': self.max_value}

    # What a server cannot do.
    check: Callable[..., Any] = refusing('check')
    compact: Callable[..., Any] = refusing('compact')
    create_tag_index: Callable[..., Any] = refusing('create_tag_index')
    drop_tag_index: Callable[..., Any] = refusing('drop_tag_index')
    memory_stats: Callable[..., Any] = refusing('memory_stats')
    peekitem: Callable[..., Any] = refusing('peekitem')
    read: Callable[..., Any] = refusing('read')
    reset: Callable[..., Any] = refusing('reset')
    stats: Callable[..., Any] = refusing('stats')
    transact: Callable[..., Any] = refusing('transact')
    __reversed__: Callable[..., Any] = refusing('__reversed__')

    # And what it has not got.
    count: Any = Lacking('count')
    cull_limit: Any = Lacking('cull_limit')
    eviction_policy: Any = Lacking('eviction_policy')
    size_limit: Any = Lacking('size_limit')
    size: Any = Lacking('size')
    hits: Any = Lacking('hits')
    misses: Any = Lacking('misses')
    statistics: Any = Lacking('statistics')
    memory_limit: Any = Lacking('memory_limit')
    on_error: Any = Lacking('on_error')
    directory: Any = Lacking('directory')
    _con: Any = Lacking('_con')
    _sql: Any = Lacking('_sql')
    _sql_retry: Any = Lacking('_sql_retry')
