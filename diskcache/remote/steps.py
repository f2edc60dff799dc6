"""What scripts do, in steps of one key each, for while their slot moves.

Each step finds its key, wherever it is by then. Two steps are not atomic. They are in such an order
that nothing is lost if others come in between, or if this process ends.
"""

from __future__ import annotations

import contextlib as cl
from collections.abc import Callable

from ..hints import Any
from ..refusal import RefusedError
from . import scripts
from .codec import split


def _note(engine: Any, sets: bytes, item: bytes, stored: bytes, ms: int) -> None:
    """Note an item in the set of the tag of its value, if it has one.

    :param ms: left of the item; -1: no expiry
    """
    with cl.suppress(RefusedError):
        tag, _ = split(stored)
        if tag is not None:
            engine.call(*scripts.NOTE.command(sets + tag, item, max(ms, -1)))


def _store(engine: Any, item: bytes, stored: bytes, px: bytes, sets: bytes, *how: bytes) -> int:
    ms = engine.read('PTTL', item) if px == b'k' else int(px or -1)
    _note(engine, sets, item, stored, ms)  # so that evict finds it, if this process ends now
    done: int = engine.call(*scripts.STORE.command(item, stored, px, b'', *how))
    if done:
        _note(engine, sets, item, stored, ms)  # evict may have been there in between
    return done


def _touch(engine: Any, item: bytes, px: bytes, sets: bytes) -> int:
    done: int = engine.call(*scripts.TOUCH.command(item, px, b''))
    stored = engine.read('GET', item) if done else None
    if stored is not None:
        _note(engine, sets, item, stored, int(px or -1))
    return done


def _evict(engine: Any, members: bytes, tag: bytes, most: int) -> tuple[int, int]:
    count = 0
    items = engine.read('SRANDMEMBER', members, most)
    for item in items:
        count += engine.call(*scripts.EVICT_ITEM.command(item, tag))
        engine.call('SREM', members, item)
        # It may have been stored again before it was taken out of the set.
        count += engine.call(*scripts.EVICT_ITEM.command(item, tag))
    return len(items), count


def _push(
    engine: Any, queue: bytes, items: bytes, stored: bytes, px: bytes, sets: bytes, side: bytes
) -> bytes:
    last = engine.read('ZREVRANGE' if side == b'back' else 'ZRANGE', queue, 0, 0)
    step = 1 if side == b'back' else -1
    number = int(last[0]) + step if last else 500_000_000_000_000
    # The item first: a number without one is taken for one whose item is gone.
    while not engine.call(
        *scripts.STORE.command(items + b'%015d' % number, stored, px, sets, b'n')
    ):
        number += step
    digits = b'%015d' % number
    engine.call('ZADD', queue, digits, digits)
    return digits


def _peek(engine: Any, queue: bytes, items: bytes, side: bytes, passed: int) -> Any:
    command = 'ZRANGE' if side == b'front' else 'ZREVRANGE'
    found = engine.read(command, queue, passed, passed)
    if not found:
        return None
    stored, ms = engine.read(*scripts.READ.command(items + found[0]))
    if stored is None:
        _drop(engine, queue, items, found[0])
        return 0
    return [found[0], stored, ms]


def _take(engine: Any, queue: bytes, items: bytes, digits: bytes, stored: bytes) -> int:
    taken: int = engine.call(*scripts.DELETE_IF.command(items + digits, stored))
    if taken:
        _drop(engine, queue, items, digits)
    return taken


def _drop(engine: Any, queue: bytes, items: bytes, digits: bytes) -> None:
    """Remove a number whose item is gone from a queue."""
    engine.call('ZREM', queue, digits)
    # If another had dropped it, the number may have been given to a new item.
    if engine.read('EXISTS', items + digits):
        engine.call('ZADD', queue, digits, digits)


#: By what the server calls the script; called with an engine, its key and its arguments.
STEPS: dict[str, Callable[..., Any]] = {
    script.sha: steps
    for script, steps in (
        (scripts.STORE, _store),
        (scripts.TOUCH, _touch),
        (scripts.EVICT, _evict),
        (scripts.PUSH, _push),
        (scripts.PEEK, _peek),
        (scripts.TAKE, _take),
    )
}
