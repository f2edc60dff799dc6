"""The connection to the server: its URL, its commands, and its errors as this package has them.

Connections come from redis-py's pool: each thread takes one for a command, and a forked child makes
its own. Commands that write are sent once: after a time-out nobody knows whether the server has run
them. Those that read are sent again, once, if their connection is lost.
"""

from __future__ import annotations

import builtins
import functools as ft
import os
import re
import weakref
from collections.abc import Callable, Iterable, Iterator
from urllib.parse import urlsplit

import redis
from redis import exceptions
from redis.backoff import NoBackoff
from redis.retry import Retry

from .._core import Timeout
from ..batches import batches
from ..hints import Any, Protocol
from .scripts import BY_SHA

#: A command, as redis-py takes it.
Command = tuple[Any, ...]

#: The schemes, each with redis-py's own.
SCHEMES = {
    'redis': 'redis',
    'rediss': 'rediss',
    'unix': 'unix',
    'valkey': 'redis',
    'valkeys': 'rediss',
    'redis+sentinel': 'redis',
    'rediss+sentinel': 'rediss',
    'redis+cluster': 'redis',
    'rediss+cluster': 'rediss',
    'valkey+cluster': 'redis',
    'valkeys+cluster': 'rediss',
}

#: Options that a URL may change. Each thread may have a connection: redis-py stops at 100.
_DEFAULTS = {'max_connections': 2**31}

#: So many keys are asked for with one SCAN.
_SCANNED = 1000


class NotSent(exceptions.ConnectionError):  # type: ignore[misc]
    """There was no connection; so the command has not been sent."""


class RemoteError(Exception):
    """The server refuses a command, because it is out of memory for instance."""


def translated(error: redis.RedisError, label: str) -> Exception:
    """Return an error of redis-py as one of Python or of this package.

    :param label: of the cache
    """
    text = f'{label}: {error}'
    if isinstance(error, redis.sentinel.MasterNotFoundError):
        # Its own text has all that the Sentinels' connections were made with.
        text = f'{label}: no Sentinel was reached that knows a master of this name'
    if isinstance(error, exceptions.TimeoutError):
        return Timeout(text)
    refused = (
        exceptions.AuthenticationError,
        exceptions.AuthorizationError,
        exceptions.NoPermissionError,
    )
    if isinstance(error, refused):
        return PermissionError(text)
    if isinstance(error, exceptions.ConnectionError | exceptions.ClusterDownError):
        return builtins.ConnectionError(text)
    return RemoteError(text)


def forms(scheme: str) -> str:
    """Return what a URL looks like."""
    place = 'host[:port][/db]'
    if scheme == 'unix':
        place = '/path'
    elif scheme.endswith('+sentinel'):
        place = 'host:port,host:port/name-of-the-master[/db]'
    elif scheme.endswith('+cluster'):
        place = 'host:port,host:port'
    return (
        f'{scheme}://[user:password@]{place}[?option=value]; in user, password and options write'
        ' / as %2F, ? as %3F, # as %23 and @ as %40'
    )


def check_password(scheme: str, rest: str) -> None:
    """Raise ValueError if a password is cut in two, the end of which would be shown in an address.

    :param rest: of the URL, behind ``://``
    """
    authority = re.split('[/?#]', rest, maxsplit=1)[0]
    if authority and authority[-1] != '@' if scheme == 'unix' else '@' in rest[len(authority) :]:
        raise ValueError


class _Whole:
    """A connection of redis-py's that is never connected by half.

    Its answers to the first commands may not have been read, or SELECT not been sent.
    """

    def connect(self) -> None:
        """Connect; if a signal handler raises meanwhile, disconnect."""
        try:
            super().connect()  # type: ignore[misc]
        except BaseException:
            self.disconnect()  # type: ignore[attr-defined]
            raise


def _make_whole(cls: type) -> type:
    return type(cls.__name__, (_Whole, cls), {})


_whole: Callable[[type], type] = ft.lru_cache(_make_whole)


def _checked_db(db: str) -> str:
    if not re.fullmatch('[0-9]*', db):
        raise ValueError
    return db


def place_of(host: str, port: int) -> str:
    """Return host and port as a URL has them."""
    return f'[{host}]:{port}' if ':' in host else f'{host}:{port}'


def addresses_of(hosts: str, port: int) -> list[tuple[str, int]]:
    """Return each host and port of some that a URL has.

    :param port: of those that have none
    """
    parts = [urlsplit(f'//{host}') for host in hosts.split(',')]
    return [(part.hostname or 'localhost', part.port or port) for part in parts]


def _pool(scheme: str, rest: str, ours: dict[str, Any]) -> tuple[Any, str]:
    """Return the pool of a server, and its address."""
    options = redis.connection.parse_url(f'{SCHEMES[scheme]}://{rest}')
    parts = urlsplit(f'{SCHEMES[scheme]}://{rest}')
    where = (
        parts.path
        if scheme == 'unix'
        else place_of(parts.hostname or 'localhost', parts.port or 6379)
    )
    if scheme != 'unix':
        _checked_db(parts.path.strip('/'))
    connection_class = options.pop('connection_class', redis.Connection)
    pool = redis.ConnectionPool(
        connection_class=_whole(connection_class), **{**_DEFAULTS, **options, **ours}
    )
    return pool, f'{where}/{options.get("db", 0)}'


def _sentinel_pool(scheme: str, rest: str, ours: dict[str, Any]) -> tuple[Any, str]:
    """Return the pool of the master that Sentinels know, and its address.

    With TLS, the Sentinels too are reached so.
    """
    rest, mark, query = rest.partition('?')
    before, _, path = rest.partition('/')
    service, _, db = path.partition('/')
    credentials, at, hosts = before.rpartition('@')
    if not service:
        raise ValueError
    options = redis.connection.parse_url(
        f'{SCHEMES[scheme]}://{credentials}{at}/{_checked_db(db) or 0}{mark}{query}'
    )
    secure = options.pop('connection_class', None) is not None
    kind = 'SentinelManagedSSLConnection' if secure else 'SentinelManagedConnection'
    connection_class = _whole(getattr(redis.sentinel, kind))
    theirs = {name: value for name, value in options.items() if name.startswith('ssl_')}
    for name in ('username', 'password'):
        theirs[name] = options.pop(f'sentinel_{name}', None)
    manager = redis.sentinel.Sentinel(
        addresses_of(hosts, 26379), sentinel_kwargs={'ssl': secure, **theirs, **ours}
    )
    pool = redis.sentinel.SentinelConnectionPool(
        service,
        manager,
        connection_class=connection_class,
        **{**_DEFAULTS, **options, **ours},
    )
    return pool, f'{hosts}/{service}/{options.get("db", 0)}'


def size_of(command: Command) -> int:
    return sum(len(part) for part in command if isinstance(part, bytes))


def with_text(command: Command) -> Command:
    """Return the command that sends the text of a script that the server has not got."""
    return ('EVAL', BY_SHA[command[1]].text, *command[2:])


class Engine:
    """A server."""

    def __init__(self, url: str, timeout: float) -> None:
        """Take the URL; nothing is connected yet.

        :param url: ``redis://[user:password@]host[:port][/db]``, ``rediss://`` with TLS,
            ``unix:///path/of/socket[?db=n]``; ``valkey://`` and ``valkeys://`` mean the same as
            the first two; ``redis+sentinel://[user:password@]host:port,host:port/name[/db]`` and
            ``rediss+sentinel://``, the master of that name. redis-py's options follow behind a
            ``?``, and ``sentinel_username`` and ``sentinel_password``
        :param timeout: seconds to wait for a connection, and for an answer
        :raises ValueError: if it is no such URL
        """
        scheme, colon, rest = url.partition('://')
        if not colon or scheme not in SCHEMES:
            raise ValueError(f'url must begin with one of {", ".join(SCHEMES)}, and ://')
        ours = {
            'protocol': 2,  # in which invalidations come on a connection of their own
            'decode_responses': False,
            'socket_timeout': timeout,
            'socket_connect_timeout': timeout,
            'retry': Retry(NoBackoff(), 0),
        }
        #: Whether another server may take its place.
        self.has_sentinels: bool = scheme.endswith('+sentinel')
        make = _sentinel_pool if self.has_sentinels else _pool
        try:
            check_password(scheme, rest)
            self._make_pool = ft.partial(make, scheme, rest, ours)
            self._pool, where = self._make_pool()
        except ValueError:  # the text of which may have a part of the password
            raise ValueError(f'url must be {forms(scheme)}') from None
        try:
            self._connection()
        except TypeError as error:
            raise ValueError(f'url has an option that redis-py does not know: {error}') from None
        #: Where the server is, without a password.
        self.address: str = f'{scheme}://{where}'
        self._client: Any = redis.Redis(connection_pool=self._pool)
        inherited.add(self)

    def start_anew(self) -> None:
        """In a forked child: make a pool, since another thread may have held the parent's lock."""
        self._pool, _ = self._make_pool()
        self._client = redis.Redis(connection_pool=self._pool)

    def send(self, commands: list[Command]) -> Any:
        """Send commands; return the connection on which the answers come."""
        try:
            connection = self._pool.get_connection()
        except exceptions.ConnectionError as error:
            if type(error) is exceptions.ConnectionError:
                raise NotSent(*error.args) from error
            raise
        try:
            connection.send_packed_command(connection.pack_commands(commands))
        except BaseException:
            self.give_up(connection)
            raise
        return connection

    def receive(self, connection: Any, commands: list[Command]) -> list[Any]:
        """Return the answers to what was sent, those that are errors too."""
        answers: list[Any] = []
        try:
            for command in commands:
                try:
                    answers.append(self._client.parse_response(connection, command[0]))
                except exceptions.ResponseError as error:
                    answers.append(error)
        except BaseException:  # of a signal handler, too: an answer may not have been read
            self.give_up(connection)
            raise
        self._pool.release(connection)
        return answers

    def give_up(self, connection: Any) -> None:
        """Close a connection whose answers nobody will read."""
        connection.disconnect()
        self._pool.release(connection)

    def run(self, command: Command, asking: bool = False) -> Any:
        """Run a command, which may be a script's; once.

        :param asking: on a Cluster, for a key of a slot that is about to be this node's
        :raises redis.RedisError: if it fails
        """
        commands: list[Command] = [('ASKING',), command] if asking else [command]
        answer = self.receive(self.send(commands), commands)[-1]
        if isinstance(answer, exceptions.NoScriptError):
            return self.run(with_text(command), asking)
        if isinstance(answer, redis.RedisError):
            raise answer
        return answer

    def call(self, *command: Any) -> Any:
        """Run a command, which may be a script's; once.

        :return: what redis-py makes of the answer
        :raises Timeout: if there is no answer in time; the command may have been run
        :raises ConnectionError: if there is no server
        :raises PermissionError: if it refuses password, or command
        :raises RemoteError: if it refuses the command otherwise
        """
        try:
            return self.run(command)
        except redis.RedisError as error:
            raise translated(error, self.address) from error

    def read(self, *command: Any) -> Any:
        """Run a command that only reads: once more if the connection is lost."""
        try:
            return self.call(*command)
        except builtins.ConnectionError:
            return self.call(*command)

    def many(self, commands: Iterable[Command]) -> Iterator[list[Any]]:
        """Run commands, some at a time; yield the answers to so many.

        :raises Timeout: and the other errors of `call`, for the first that fails; the others of
            its portion have been run
        """
        for portion in batches(commands, size_of):
            try:
                answers = self.receive(self.send(portion), portion)
            except redis.RedisError as error:
                raise translated(error, self.address) from error
            for place, answer in enumerate(answers):
                if isinstance(answer, exceptions.NoScriptError):
                    answers[place] = self.call(*portion[place])
            for answer in answers:
                if isinstance(answer, redis.RedisError):
                    raise translated(answer, self.address) from answer
            yield answers

    def scan(self, pattern: bytes) -> Iterator[list[bytes]]:
        """Yield lists of keys that match: each at least once, if it is there all the time."""
        cursor: Any = 0
        while True:
            cursor, keys = self.read('SCAN', cursor, 'MATCH', pattern, 'COUNT', _SCANNED)
            if keys:
                yield keys
            if not int(cursor):
                return

    def node(self, key: bytes) -> Engine:
        """Return the server that has a key: this one, and one of several on a Cluster."""
        return self

    def connect(self) -> Any:
        """Return a new connection of redis-py's, which belongs to the caller.

        :raises redis.RedisError: if there is no server
        """
        connection = self._connection()
        connection.connect()
        return connection

    def _connection(self) -> Any:
        """Return a connection that the pool does not count: it would do so for ever."""
        return self._pool.connection_class(**self._pool.connection_kwargs)

    def serves(self, connection: Any) -> bool:
        """Tell whether a connection is to the server that commands go to now."""
        master = getattr(self._pool, 'master_address', None)
        return master is None or tuple(master) == (connection.host, connection.port)

    def close(self) -> None:
        """Close all connections that are not in use; the next command makes another."""
        self._pool.disconnect(inuse_connections=False)


class _StartsAnew(Protocol):
    def start_anew(self) -> None: ...


#: What is to start anew in a forked child: the engines of this process, and what is near.
inherited: weakref.WeakSet[_StartsAnew] = weakref.WeakSet()


def _start_anew() -> None:
    for each in list(inherited):
        each.start_anew()


if hasattr(os, 'register_at_fork'):  # not on Windows
    os.register_at_fork(after_in_child=_start_anew)
