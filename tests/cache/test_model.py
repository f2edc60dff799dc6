"""Cache against a model: a plain dict under a clock that moves when told to.

Hypothesis makes up sequences of operations, transactions that are rolled back among them, and
shortens those after which the two differ.
"""

from __future__ import annotations

import shutil
import tempfile
import time
from copy import deepcopy
from typing import Any, NamedTuple

import pytest
from consistency import report_texts, stored_filenames, value_files
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
)
from interpreter import Clock

import diskcache

KEYS = st.sampled_from(
    ['a', 'b', b'a', '', 0, 1, -5, 2**63, 0.5, True, None, (1, 'a'), ('a', None), 'é', 'a\0b']
)
VALUES = st.one_of(
    st.integers(),
    st.floats(allow_nan=False),
    st.text(st.characters(exclude_categories=['Cs']), max_size=20),
    st.binary(max_size=20),
    st.none(),
    st.booleans(),
    st.lists(st.integers(), max_size=3),
    st.sampled_from(['x' * 300, b'x' * 300, ['x' * 300], '\r\n' * 200, 'é' * 150]),
)
EXPIRES = st.sampled_from([None, None, None, 0.5, 5, 50])
TAGS = st.sampled_from([None, None, 'tag', b'tag', 1, 1.5, ''])
PREFIXES = st.sampled_from([None, 'p', 'p-q'])
SIDES = st.sampled_from(['front', 'back'])
MIDDLE = 500_000_000_000_000


def too_large(value: float) -> bool:
    """Tell whether `value` is an int for which the database has no room."""
    return type(value) is int and not -(2**63) <= value < 2**63


class Item(NamedTuple):
    """What the model knows of an item."""

    value: Any
    expire_time: float | None
    tag: Any


class CacheMachine(RuleBasedStateMachine):
    """Does the same to a Cache and to a dict of Items, and compares."""

    @initialize(
        policy=st.sampled_from(sorted(diskcache.EVICTION_POLICY)),
        statistics=st.booleans(),
        tag_index=st.booleans(),
    )
    def open(self, policy: str, statistics: bool, tag_index: bool) -> None:
        """Open a cache that keeps small values in files, and culls only what is told to."""
        self.clock = Clock()
        self.real_time, time.time = time.time, self.clock
        self.directory = tempfile.mkdtemp(prefix='diskcache-model-')
        self.cache = diskcache.Cache(
            self.directory,
            eviction_policy=policy,
            statistics=statistics,
            tag_index=tag_index,
            cull_limit=0,
            disk_min_file_size=200,
        )
        self.items: dict[Any, Item] = {}
        self.transactions: list[tuple[Any, dict[Any, Item]]] = []

    def teardown(self) -> None:
        """Close and remove everything, and let time go on."""
        if hasattr(self, 'cache'):
            while self.transactions:
                self.commit()
            assert report_texts(self.cache) == []
            assert value_files(self.directory) == stored_filenames(self.cache)
            self.cache.close()
            time.time = self.real_time
            shutil.rmtree(self.directory)

    # The model. Its keys are pairs of type and key, as True and 1 are two keys of a Cache.

    @staticmethod
    def model_key(key: Any) -> tuple[type, Any]:
        """Return the key of the model for `key`."""
        return type(key), key

    def alive(self, key: Any) -> Item | None:
        """Return the item of `key` unless there is none or it has expired."""
        item = self.items.get(self.model_key(key))
        expired = item and item.expire_time is not None and item.expire_time <= self.clock.now
        return None if expired else item

    def expire_time(self, expire: float | None) -> float | None:
        """Return the time at which an item stored now expires."""
        return None if expire is None else self.clock.now + expire

    def queue(self, prefix: str | None) -> list[Any]:
        """Return the keys of a queue in order, those of expired items among them."""
        if prefix is None:
            return sorted(
                key
                for kind, key in self.items
                if kind is int and MIDDLE - 1000 < key < MIDDLE + 1000
            )
        return sorted(
            key
            for kind, key in self.items
            if kind is str and key.rpartition('-')[0] == prefix and len(key) == len(prefix) + 16
        )

    # Operations.

    @rule(key=KEYS, value=VALUES, expire=EXPIRES, tag=TAGS)
    def set(self, key: Any, value: Any, expire: float | None, tag: Any) -> None:
        """Store an item, in the place of an old one if there is one."""
        assert self.cache.set(key, value, expire=expire, tag=tag) is True
        self.items[self.model_key(key)] = Item(value, self.expire_time(expire), tag)

    @rule(key=KEYS, value=VALUES)
    def assign(self, key: Any, value: Any) -> None:
        """Store an item without expiry or tag."""
        self.cache[key] = value
        self.items[self.model_key(key)] = Item(value, None, None)

    @rule(key=KEYS, value=VALUES, expire=EXPIRES, tag=TAGS)
    def add(self, key: Any, value: Any, expire: float | None, tag: Any) -> None:
        """Store an item unless there is one."""
        absent = self.alive(key) is None
        assert self.cache.add(key, value, expire=expire, tag=tag) is absent
        if absent:
            self.items[self.model_key(key)] = Item(value, self.expire_time(expire), tag)

    @rule(key=KEYS)
    def get(self, key: Any) -> None:
        """Read an item in each way."""
        item = self.alive(key)
        assert (key in self.cache) is (item is not None)
        found = self.cache.get(key, 'default', expire_time=True, tag=True)
        assert found == (item or ('default', None, None))
        if item is None:
            assert self.cache.get(key) is None
            with pytest.raises(KeyError):
                self.cache[key]
        else:
            assert self.cache[key] == item.value
            assert type(self.cache[key]) is type(item.value)
            assert type(found[2]) is type(item.tag)

    @rule(key=KEYS)
    def pop(self, key: Any) -> None:
        """Remove an item and read it."""
        item = self.alive(key)
        found = self.cache.pop(key, 'default', expire_time=True, tag=True)
        assert found == (item or ('default', None, None))
        if item is not None:
            del self.items[self.model_key(key)]

    @rule(key=KEYS)
    def delete(self, key: Any) -> None:
        """Remove an item."""
        present = self.alive(key) is not None
        assert self.cache.delete(key) is present
        if present:
            del self.items[self.model_key(key)]

    @rule(key=KEYS, expire=EXPIRES)
    def touch(self, key: Any, expire: float | None) -> None:
        """Change the expiry of an item."""
        item = self.alive(key)
        assert self.cache.touch(key, expire=expire) is (item is not None)
        if item is not None:
            changed = item._replace(expire_time=self.expire_time(expire))
            self.items[self.model_key(key)] = changed

    @rule(key=KEYS, delta=st.integers(-(2**62), 2**62), default=st.sampled_from([0, 7, None]))
    def incr(self, key: Any, delta: int, default: int | None) -> None:
        """Count up what can be counted up; everything else is an error that changes nothing."""
        item = self.alive(key)
        if item is None and default is None:
            with pytest.raises(KeyError):
                self.cache.incr(key, delta, default)
            return
        value = default if item is None else item.value
        if type(value) not in (int, float) or too_large(value):
            with pytest.raises((TypeError, OverflowError)):
                self.cache.incr(key, delta, default)
            return
        value += delta
        if too_large(value):
            with pytest.raises(OverflowError):
                self.cache.incr(key, delta, default)
            return
        assert self.cache.incr(key, delta, default) == value
        expire_time, tag = (None, None) if item is None else item[1:]
        self.items[self.model_key(key)] = Item(value, expire_time, tag)

    @rule(prefix=PREFIXES, side=SIDES, value=VALUES, expire=EXPIRES, tag=TAGS)
    def push(
        self, prefix: str | None, side: str, value: Any, expire: float | None, tag: Any
    ) -> None:
        """Put an item at a side of a queue."""
        keys = self.queue(prefix)
        number = MIDDLE
        if keys:
            key = keys[-1 if side == 'back' else 0]
            number = key if prefix is None else int(key.rpartition('-')[2])
            number += 1 if side == 'back' else -1
        expected = number if prefix is None else f'{prefix}-{number:015d}'
        assert self.cache.push(value, prefix, side, expire=expire, tag=tag) == expected
        self.items[self.model_key(expected)] = Item(value, self.expire_time(expire), tag)

    @rule(prefix=PREFIXES, side=SIDES, remove=st.booleans())
    def pull_or_peek(self, prefix: str | None, side: str, remove: bool) -> None:
        """Read the item at a side of a queue; items that have expired are removed on the way."""
        expected: tuple[Any, ...] = ((None, None), None, None)
        keys = self.queue(prefix)
        for key in keys if side == 'front' else reversed(keys):
            item = self.items[self.model_key(key)]
            if item.expire_time is None or item.expire_time >= self.clock.now:
                expected = ((key, item.value), item.expire_time, item.tag)
                if remove:
                    del self.items[self.model_key(key)]
                break
            del self.items[self.model_key(key)]
        method = self.cache.pull if remove else self.cache.peek
        assert method(prefix, side=side, expire_time=True, tag=True) == expected

    @rule(tag=TAGS)
    def evict(self, tag: Any) -> None:
        """Remove all items of a tag."""
        keys = [
            key
            for key, item in self.items.items()
            if tag is not None and type(item.tag) is type(tag) and item.tag == tag
        ]
        assert self.cache.evict(tag) == len(keys)
        for key in keys:
            del self.items[key]

    @rule()
    def expire(self) -> None:
        """Remove all items that have expired."""
        keys = [
            key
            for key, item in self.items.items()
            if item.expire_time is not None and item.expire_time < self.clock.now
        ]
        assert self.cache.expire() == len(keys)
        for key in keys:
            del self.items[key]

    @rule()
    def clear(self) -> None:
        """Remove everything."""
        assert self.cache.clear() == len(self.items)
        self.items.clear()

    @rule(seconds=st.sampled_from([0.25, 1, 10, 100]))
    def wait(self, seconds: float) -> None:
        """Let time pass."""
        self.clock.tick(seconds)

    @precondition(lambda self: not self.transactions)
    @rule()
    def close(self) -> None:
        """Close the cache, which opens itself again."""
        self.cache.close()

    @precondition(lambda self: len(self.transactions) < 3)
    @rule()
    def begin(self) -> None:
        """Begin a transaction, or one inside another."""
        transaction = self.cache.transact()
        transaction.__enter__()
        self.transactions.append((transaction, deepcopy(self.items)))

    @precondition(lambda self: self.transactions)
    @rule()
    def commit(self) -> None:
        """Leave the innermost transaction."""
        transaction, _ = self.transactions.pop()
        assert not transaction.__exit__(None, None, None)

    @precondition(lambda self: self.transactions)
    @rule()
    def roll_back(self) -> None:
        """Leave all transactions by an exception."""
        error = ZeroDivisionError()
        while self.transactions:
            transaction, self.items = self.transactions.pop()
            assert not transaction.__exit__(ZeroDivisionError, error, None)

    # What must hold at any time.

    @invariant()
    def same_keys(self) -> None:
        """The keys are those of the model, in the order in which they were inserted."""
        if hasattr(self, 'cache'):
            keys = [self.model_key(key) for key in self.cache]
            assert keys == list(self.items)
            assert len(self.cache) == len(self.items)
            assert [self.model_key(key) for key in reversed(self.cache)] == keys[::-1]

    @invariant()
    def same_keys_in_order_of_the_database(self) -> None:
        """iterkeys gives the same keys in both directions."""
        if hasattr(self, 'cache'):
            keys = [self.model_key(key) for key in self.cache.iterkeys()]
            assert sorted(keys, key=repr) == sorted(self.items, key=repr)
            reverse = [self.model_key(key) for key in self.cache.iterkeys(reverse=True)]
            assert reverse == keys[::-1]


TestModel = CacheMachine.TestCase
TestModel.settings = settings(
    max_examples=60,
    stateful_step_count=40,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
