"""A Cluster: servers that share the slots, each of which belongs to one master.

A command goes to the master that has the slot of its key. It may answer that it has not run it,
because the slot is elsewhere (MOVED), its key is (ASK), or neither can be had for a moment
(TRYAGAIN, CLUSTERDOWN). To follow such an answer is not to send a command twice. RedisCluster of
redis-py is not used: it sends writes again after a time-out, and does not tell who has answered.

What is known of the slots may be old, and is put right by these answers. Who finds another owner
first notes it, and then lets nothing hold that was kept near: what is kept later was asked for
later, and so from that owner.
"""

from __future__ import annotations

import builtins
import random
import re
import time
from collections.abc import Callable, Iterable, Iterator

import redis
from redis import exceptions

from ..batches import batches
from ..hints import Any
from .engine import (
    SCHEMES,
    Command,
    Engine,
    NotSent,
    addresses_of,
    check_password,
    forms,
    place_of,
    size_of,
    translated,
)
from .shards import SLOTS, slot_of
from .steps import STEPS

#: Each pause before a command is sent again that was refused for a moment, in seconds.
_PAUSE = 0.02

#: So many times a command follows an answer to another node; a pause from the third on.
_REDIRECTIONS = 16
_PATIENCE = 3

#: The owners of the slots are not asked for again for so many seconds.
_REFRESH = 0.1

_MOVING = re.compile(rb'\[(\d+)->-(\w+)\]')


def is_cluster(url: str) -> bool:
    """Tell whether a URL is of a Cluster."""
    scheme = url.partition('://')[0]
    return scheme in SCHEMES and scheme.endswith('+cluster')


def _is_moving(error: object) -> bool:
    """Tell whether a script has done nothing, because its slot moves."""
    return isinstance(error, exceptions.ResponseError) and str(error).startswith('MOVING')


#: Answers of who has not run the command.
_REFUSALS = (exceptions.AskError, exceptions.TryAgainError, exceptions.ClusterDownError, NotSent)


def _key_of(command: Command) -> bytes:
    """Return the key that decides where a command goes."""
    place = {'EVALSHA': 3, 'EVAL': 3, 'MEMORY': 2}.get(command[0], 1)
    key = command[place]
    return key if isinstance(key, bytes) else str(key).encode()


class Node(Engine):
    """One of the servers."""

    #: When it could not be reached, seconds of time.monotonic().
    failed: float = 0.0

    @property
    def host(self) -> str:
        """Its host."""
        return str(self._pool.connection_kwargs['host'])

    @property
    def port(self) -> int:
        """Its port."""
        return int(self._pool.connection_kwargs['port'])


#: A master, a slot, the master's epoch, and whether it has the slot; else its keys come to it.
_Share = tuple[Node, int, bytes, bool]


class ClusterEngine:
    """The servers of a Cluster, with the methods of an Engine."""

    def __init__(self, url: str, timeout: float, slots: Iterable[int]) -> None:
        """Take the URL; nothing is connected yet.

        :param url: ``redis+cluster://[user:password@]host:port,host:port``, some of its nodes;
            ``rediss+cluster://`` with TLS, and the same with ``valkey`` and ``valkeys``. redis-py's
            options follow behind a ``?``
        :param timeout: seconds to wait for a connection, for an answer, and for a slot that
            nobody serves
        :param slots: of the keys that `scan` is to find
        :raises ValueError: if it is no such URL
        """
        scheme, _, rest = url.partition('://')
        self._timeout = timeout
        self._slots = frozenset(slots)
        #: By host and port.
        self._nodes: dict[str, Node] = {}
        try:
            check_password(scheme, rest)
            before, mark, options = rest.partition('?')
            before, _, path = before.partition('/')
            credentials, at, hosts = before.rpartition('@')
            places = addresses_of(hosts, 6379)
            if path not in ('', '0'):
                raise ValueError
        except ValueError:  # the text of which may have a part of the password
            raise ValueError(f'url must be {forms(scheme)}') from None
        self._url = f'{SCHEMES[scheme]}://{credentials}{at}', f'/0{mark}{options}'
        self._seeds = [self._node(*place) for place in places]
        if not self._seeds[0].address.endswith('/0'):
            raise ValueError('a Cluster has only the database 0')
        #: Which nodes it was given, without a password.
        self.address: str = f'{scheme}://{hosts}'
        #: The master of each slot, if it is known.
        self._owners: list[Node | None] = [None] * SLOTS
        self._stale = True
        self._refreshed = -_REFRESH
        #: Who was told to have a slot last.
        self._told: Node | None = None
        #: Called with a key that another node has than the owner of its slot.
        self.on_ask: Callable[[bytes], object] = bool
        #: Called after another owner of a slot has been noted.
        self.on_change: Callable[[], object] = bool

    # --- nodes and slots ---

    def _node(self, host: str, port: int) -> Node:
        place = place_of(host, port)
        node = self._nodes.get(place)
        if node is None:
            node = self._nodes.setdefault(
                place, Node(f'{self._url[0]}{place}{self._url[1]}', self._timeout)
            )
        return node

    def known_owner(self, slot: int) -> Node:
        """Return the master that has a slot, as far as is known."""
        return self._owners[slot] or self._seeds[0]

    def node(self, key: bytes) -> Node:
        """Return the master that has a key, as far as is known."""
        return self.known_owner(slot_of(key))

    def _owner(self, slot: int) -> Node:
        """Return the master that has a slot; the nodes are asked if that may be wrong.

        :raises Timeout: and the other errors of `call`, if no node answers
        """
        if self._stale and time.monotonic() - self._refreshed > _REFRESH:
            self._refresh()
        return self.known_owner(slot)

    def masters(self) -> set[Node]:
        """Return the nodes that have slots, as far as is known."""
        return {node for node in self._owners if node is not None}

    def _refresh(self) -> None:
        """Ask a node for the owners of all slots; those that have failed come last."""
        self._stale = False
        self._refreshed = time.monotonic()
        known = list(self.masters().union(self._seeds))
        random.shuffle(known)
        known.sort(key=lambda node: (node is not self._told, node.failed))
        command: Command = ('CLUSTER', 'SLOTS')
        for node in known:
            try:
                ranges = node.run(command)
            except redis.RedisError as error:
                self._fail(node)
                if node is known[-1]:
                    raise translated(error, node.address) from error
            else:
                self._take(ranges, node)
                return

    def _take(self, ranges: Any, asked: Node) -> None:
        """Note the owners of the slots."""
        owners: list[Node | None] = [None] * SLOTS
        for first, last, (host, port, *_), *_ in ranges:
            node = self._node(host.decode() if host else asked.host, port)
            owners[first : last + 1] = [node] * (last + 1 - first)
        if owners != self._owners:
            self._owners = owners
            self.on_change()
            needed = self.masters().union(self._seeds)
            for place, node in list(self._nodes.items()):
                if node not in needed:
                    self._nodes.pop(place, None)  # another thread may do the same
                    node.close()

    def _fail(self, node: Node) -> None:
        """Note that a node did not answer: its slots may have another owner."""
        node.failed = time.monotonic()
        self._stale = True
        if node is self._told:
            self._told = None

    def _moved(self, error: exceptions.MovedError, asked: Node) -> None:
        """Note the owner of a slot that a node has told; it is asked for the other slots soon."""
        told = self._node(error.host or asked.host, error.port)
        self._told = told
        self._owners[error.slot_id] = told
        self._stale = True
        self.on_change()

    # --- commands ---

    def call(self, *command: Any) -> Any:
        """Run a command, which may be a script's; once.

        :return: what redis-py makes of the answer
        :raises Timeout: if there is no answer in time; the command may have been run
        :raises ConnectionError: if the slot has no master that can be reached
        :raises PermissionError: if it refuses password, or command
        :raises RemoteError: if it refuses the command otherwise
        """
        return self._run(command, reads=False)

    def read(self, *command: Any) -> Any:
        """Run a command that only reads: once more if the connection is lost."""
        return self._run(command, reads=True)

    def _run(self, command: Command, reads: bool) -> Any:
        key = _key_of(command)
        slot = slot_of(key)
        begun = time.monotonic()
        target: Node | None = None
        redirected = 0
        refusal: redis.RedisError | None = None  # for a moment; then the count begins anew
        while True:
            asking = target is not None
            node = target or self._owner(slot)
            try:
                return node.run(command, asking)
            except redis.RedisError as error:
                if _is_moving(error):
                    return STEPS[command[1]](self, *command[3:])
                target = self._next(error, node, key)
                failure = translated(error, node.address)
                if isinstance(error, NotSent):
                    redirected += 1
                    follow = redirected <= _REDIRECTIONS and self._owner(slot) is not node
                elif isinstance(error, exceptions.AskError):
                    redirected += 1
                    follow = redirected <= _REDIRECTIONS
                    if redirected > _PATIENCE:
                        time.sleep(_PAUSE)
                    if refusal is not None:  # which says more than where else to ask
                        failure = translated(refusal, node.address)
                elif isinstance(error, _REFUSALS):
                    follow, redirected, refusal = True, 0, error
                    time.sleep(_PAUSE)
                else:
                    follow = reads and isinstance(failure, builtins.ConnectionError)
                    reads = False
                if not follow or time.monotonic() - begun > self._timeout:
                    raise failure from error

    def _next(self, error: redis.RedisError, node: Node, key: bytes) -> Node | None:
        """Learn from an error.

        :return: the node that is to be asked for the key; None: the owner of its slot
        """
        if isinstance(error, exceptions.MovedError):
            self._moved(error, node)
        elif isinstance(error, exceptions.AskError):
            self.on_ask(key)
            return self._node(error.host or node.host, error.port)
        elif isinstance(error, exceptions.ClusterDownError):
            self._stale = True
        elif isinstance(error, exceptions.ConnectionError | exceptions.TimeoutError):
            self._fail(node)
        return None

    def many(self, commands: Iterable[Command]) -> Iterator[list[Any]]:
        """Run commands, some at a time; yield the answers to so many.

        Each node is sent all of its commands before the first answer is read.

        :raises Timeout: and the other errors of `call`, for one that fails; those of its portion
            for nodes that can be reached have been run
        """
        for portion in batches(commands, size_of):
            answers = self._answers(portion)
            failure: Exception | None = None
            for place, (answer, node) in enumerate(answers):
                if isinstance(answer, NotSent) and failure is not None:
                    continue
                if isinstance(answer, (*_REFUSALS, exceptions.NoScriptError)) or _is_moving(answer):
                    try:
                        answers[place] = self.call(*portion[place]), node
                    except Exception as error:
                        failure = failure or error
                elif isinstance(answer, redis.RedisError):
                    self._next(answer, node, b'')
                    failure = failure or translated(answer, node.address)
            if failure is not None:
                raise failure
            yield [answer for answer, _ in answers]

    def _answers(self, portion: list[Command]) -> list[tuple[Any, Node]]:
        """Return the answer to each command, be it an error, and who has given it."""
        places: dict[Node, list[int]] = {}
        for place, command in enumerate(portion):
            places.setdefault(self._owner(slot_of(_key_of(command))), []).append(place)
        answers: list[Any] = [None] * len(portion)
        sent: dict[Node, Any] = {}
        try:
            for step in (True, False):
                for node, its_places in places.items():
                    commands = [portion[place] for place in its_places]
                    try:
                        if step:
                            sent[node] = node.send(commands)
                            continue
                        if node not in sent:
                            continue
                        found = node.receive(sent.pop(node), commands)
                    except redis.RedisError as error:
                        found = [error] * len(commands)
                    for place, answer in zip(its_places, found, strict=True):
                        answers[place] = answer, node
        finally:
            for node, connection in sent.items():
                node.give_up(connection)
        return answers

    def scan(self, pattern: bytes) -> Iterator[list[bytes]]:
        """Yield lists of keys that match: each at least once, if it is there all the time.

        A key can leave a master before it was found there, for one that was asked before. So those
        to which slots came, or are coming, are asked once more, for these.
        """
        asked: set[_Share] = set()
        while True:
            shares = self._shares()
            if not asked:
                shares = {share for share in shares if share[3]}
            wanted: dict[Node, set[int]] = {}
            for node, slot, *_ in shares - asked:
                wanted.setdefault(node, set()).add(slot)
            if not wanted:
                return
            asked = shares
            for node, slots in wanted.items():
                for names in node.scan(pattern):
                    yield [name for name in names if slot_of(name) in slots]

    def _shares(self) -> set[_Share]:
        """Return what each master has of the slots, and what comes to it.

        A slot that moved away and back is told by the epoch: who gets one gets the latest.

        :raises ConnectionError: if a slot has no master for so long as the timeout is
        """
        begun = time.monotonic()
        while True:
            self._refresh()
            shares: set[_Share] = set()
            for node in self.masters():
                try:
                    text = node.run(('CLUSTER', 'NODES'))
                except redis.RedisError as error:
                    self._fail(node)
                    raise translated(error, node.address) from error
                shares.update(self._shares_of(node, text))
            # What a node says of others may be old: all slots must be somebody's own.
            if self._slots <= {slot for _, slot, _, has in shares if has}:
                return shares
            if time.monotonic() - begun > self._timeout:
                raise builtins.ConnectionError(f'{self.address}: a slot has no master')
            time.sleep(_PAUSE)

    def _shares_of(self, node: Node, text: bytes) -> Iterator[_Share]:
        """Yield what a node says that it has, and what leaves it, for whom."""
        lines = {line[0]: line for line in map(bytes.split, text.splitlines())}
        mine = next(line for line in lines.values() if b'myself' in line[2])
        # `ip:port@port,hostname`: how this one is called by the others is how they are.
        named = mine[1].split(b',')[1:2] == [node.host.encode()]
        for word in mine[8:]:
            leaves = _MOVING.fullmatch(word)
            if leaves:
                other = lines[leaves[2]]
                address, *names = other[1].decode().split(',')
                host, _, port = address.partition('@')[0].rpartition(':')
                if named and names:
                    host = names[0]
                if int(leaves[1]) in self._slots:
                    target = self._node(host or node.host, int(port))
                    yield target, int(leaves[1]), other[6], False
            elif word[:1] != b'[':
                first, _, last = word.partition(b'-')
                for slot in self._slots.intersection(range(int(first), int(last or first) + 1)):
                    yield node, slot, mine[6], True

    def close(self) -> None:
        """Close all connections that are not in use; the next command makes another."""
        for node in list(self._nodes.values()):
            node.close()
