"""What RemoteDeque and RemoteIndex share: a name, keys on the server, and a Codec.

The keys of a structure are `name/{kind/its name}`, and a letter. A cache's name has no brace, so
that they are keys of no cache, and of no other structure. What is in the braces is the same for all
of them, which a Cluster keeps on one node then.
"""

from __future__ import annotations

from ..cache import Cache
from ..constants import ENOVAL
from ..hints import TYPE_CHECKING, Any, ClassVar
from ..log import log_refusal
from ..refusal import RefusedError
from .scripts import BY_SHA, Script
from .unsupported import MissingAttribute, NotSupported

if TYPE_CHECKING:
    from .cache import RemoteCache

#: So many items, and about so many bytes, come with one answer, at most.
PAGE_ITEMS = 1000
PAGE_BYTES = 2**20


class PartScript(Script):
    """A script of some keys of a structure."""

    def __init__(self, letters: str, *parts: str) -> None:
        """Take its text.

        :param letters: at the ends of the keys, in their order
        :param parts: the text, in pieces
        """
        super().__init__(*parts)
        self.letters: str = letters
        BY_SHA[self.sha] = self


class Part:
    """A structure that belongs to a RemoteCache."""

    #: What it is, in its keys.
    _kind: ClassVar[str]
    #: The letters at the end of its keys.
    _letters: ClassVar[str]

    _cache: RemoteCache
    _name: str

    def _open(self, cache: RemoteCache, name: str) -> None:
        """Take the cache, and a name.

        :raises TypeError: if the name is no str
        :raises ValueError: if it is empty
        """
        if not isinstance(name, str):
            raise TypeError(f'name must be a str, not {type(name).__name__!r}')
        if not name:
            raise ValueError('name must not be empty')
        self._cache = cache
        self._name = name
        self._engine = cache._engine
        # What is signed is signed for this name: no cache has one with braces.
        whole = f'{cache.name}/{{{self._kind}/{name}}}'
        self._label, self._codec = cache._codec_of(whole)
        self._keys = {letter: (whole + letter).encode() for letter in self._letters}
        self._key = self._keys[self._letters[0]]

    @property
    def cache(self) -> RemoteCache:
        """The RemoteCache that it belongs to; its items are no items of that."""
        return self._cache

    @property
    def name(self) -> str:
        """Its name."""
        return self._name

    @property
    def directory(self) -> str:
        """Not supported: there is no directory; use `cache` and `name`."""
        raise MissingAttribute(
            'directory', 'there is no directory', 'use `cache` and `name`', type(self).__name__
        )

    def transact(self) -> Any:
        """Not supported; each method is atomic, and a ``Lock`` keeps others off meanwhile.

        :raises NotSupported: always
        """
        raise self._refusal(
            'transact()',
            'a server has no transaction that waits for a client',
            'use one method, or hold a Lock(cache, key) meanwhile',
        )

    @classmethod
    def _refusal(cls, what: str, reason: str, instead: str) -> NotSupported:
        return NotSupported(what, reason, instead, cls.__name__)

    def _script(self, script: PartScript, args: tuple[Any, ...]) -> tuple[Any, ...]:
        keys = [self._keys[letter] for letter in script.letters]
        return ('EVALSHA', script.sha, len(keys), *keys, *args)

    def _run(self, script: PartScript, *args: Any) -> Any:
        """Run a script; once."""
        return self._engine.call(*self._script(script, args))

    def _ask(self, script: PartScript, *args: Any) -> Any:
        """Run a script that only reads: once more if the connection is lost."""
        return self._engine.read(*self._script(script, args))

    def _load(self, key: Any, stored: bytes) -> Any:
        """Return a value; RefusedError if the serializer does not trust it."""
        return self._codec.load(key, stored)[0]

    def _trusted(self, key: Any, stored: bytes) -> Any:
        """Return a value; ENOVAL if the serializer does not trust it, which is logged."""
        try:
            return self._load(key, stored)
        except RefusedError as error:
            self._note_refusal(key, error)
            return ENOVAL

    def _note_refusal(self, key: Any, error: RefusedError) -> None:
        log_refusal(self._label, key, error)

    def _local_cache(self) -> Cache[Any, Any]:
        """Open a Cache with the same Disk in a new temporary directory."""
        return Cache(disk=type(self._codec.disk), eviction_policy='none')

    def clear(self) -> None:
        """Remove all items."""
        self._engine.call('UNLINK', *self._keys.values())

    def __repr__(self) -> str:
        return f'{type(self).__name__}({self._cache!r}, {self._name!r})'

    __hash__: ClassVar[None] = None  # type: ignore[assignment]
