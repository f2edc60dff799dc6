"""Queues: push, pull, peek and peekitem."""

from __future__ import annotations

import io
import os
import sqlite3
from collections import deque
from collections.abc import Callable
from contextlib import closing

import pytest
from interpreter import Clock, Interpreter, at_once

import diskcache

PREFIXES = [None, 'p', '', 'p-q', '-', '%_', '\u20ac', "'"]


@pytest.mark.parametrize('prefix', PREFIXES)
@pytest.mark.parametrize('push_side', ['back', 'front'])
@pytest.mark.parametrize('pull_side', ['back', 'front'])
def test_both_sides_behave_like_those_of_a_deque(
    cache: diskcache.Cache, prefix: str | None, push_side: str, pull_side: str
) -> None:
    model: deque[int] = deque()
    for number in range(20):
        cache.push(number, prefix=prefix, side=push_side)
        (model.append if push_side == 'back' else model.appendleft)(number)
        if number % 3 == 0:
            expected = model.pop() if pull_side == 'back' else model.popleft()
            assert cache.peek(prefix, side=pull_side)[1] == expected
            assert cache.pull(prefix, side=pull_side)[1] == expected
    while model:
        assert cache.pull(prefix)[1] == model.popleft()
    assert cache.pull(prefix) == (None, None)
    assert cache.peek(prefix, default='empty', side=pull_side) == 'empty'


@pytest.mark.parametrize('encoding', ['UTF-16le', 'UTF-16be'])
def test_queues_of_a_database_whose_text_is_utf_16(directory: str, encoding: str) -> None:
    """The size of a key's text is another there; the original does not look at it."""
    os.makedirs(directory, exist_ok=True)
    with closing(sqlite3.connect(os.path.join(directory, 'cache.db'))) as connection:
        connection.execute(f'PRAGMA encoding = "{encoding}"')
        connection.execute('CREATE TABLE other (id)')
    with diskcache.Cache(directory) as cache:
        for prefix in PREFIXES:
            cache.set(f'{prefix}-50000000000000x', 'no key of a queue')
            for number in range(3):
                cache.push((prefix, number), prefix=prefix)
            cache.push((prefix, -1), prefix=prefix, side='front')
        for prefix in reversed(PREFIXES):
            assert cache.peek(prefix)[1] == (prefix, -1)
            assert [cache.pull(prefix)[1] for _ in range(4)] == [(prefix, n) for n in range(-1, 3)]
            assert cache.pull(prefix) == (None, None)


def test_queues_of_different_prefixes_do_not_mix(cache: diskcache.Cache) -> None:
    for prefix in PREFIXES:
        for number in range(3):
            cache.push((prefix, number), prefix=prefix)
    for prefix in reversed(PREFIXES):
        assert [cache.pull(prefix)[1] for _ in range(3)] == [(prefix, n) for n in range(3)]
        assert cache.pull(prefix) == (None, None)


def test_keys_of_queues_are_those_of_items(cache: diskcache.Cache) -> None:
    key = cache.push('value', prefix='p', expire=100, tag='tag')
    assert key == 'p-500000000000000'
    assert cache.get(key, tag=True) == ('value', 'tag')
    cache[key] = 'changed'
    assert cache.pull('p', tag=True) == ((key, 'changed'), None)


@pytest.mark.parametrize('value', [None, 'x' * 50_000, b'x' * 50_000, [1], 1.5, '', ('a', None)])
def test_values_of_every_kind_can_be_queued(
    cache: diskcache.Cache, assert_intact: Callable, value: object
) -> None:
    key = cache.push(value)
    assert cache.peek() == (key, value)
    assert cache.peekitem() == (key, value)
    assert cache.pull() == (key, value)
    assert_intact(cache)


def test_a_file_can_be_queued(cache: diskcache.Cache, assert_intact: Callable) -> None:
    cache.push(io.BytesIO(b'contents'), read=True, prefix='p')
    assert cache.pull('p')[1] == b'contents'
    assert_intact(cache)


@pytest.mark.parametrize('side', ['front', 'back'])
def test_expired_items_are_dropped_on_the_way(
    cache: diskcache.Cache, clock: Clock, assert_intact: Callable, side: str
) -> None:
    for _ in range(5):
        cache.push('x' * 50_000, expire=1)
    key = cache.push('alive', side='back' if side == 'front' else 'front')
    for _ in range(5):
        cache.push('x' * 50_000, expire=1, side=side)
    clock.tick(2)
    assert cache.peek(side=side) == (key, 'alive')
    assert cache.pull(side=side) == (key, 'alive')
    assert cache.pull(side=side) == (None, None)
    assert len(cache) == 0
    assert_intact(cache)


def test_peekitem_drops_expired_items_on_the_way(cache: diskcache.Cache, clock: Clock) -> None:
    cache.set('a', 1, expire=1)
    cache.set('b', 2)
    cache.set('c', 'x' * 50_000, expire=1)
    clock.tick(2)
    assert cache.peekitem() == ('b', 2)
    assert cache.peekitem(last=False) == ('b', 2)
    assert list(cache) == ['b']


def test_a_transaction_moves_an_item_from_queue_to_queue(cache: diskcache.Cache) -> None:
    cache.push('x' * 50_000, prefix='from')
    with pytest.raises(ZeroDivisionError), cache.transact():
        _, value = cache.pull('from')
        cache.push(value, prefix='to')
        raise ZeroDivisionError
    assert cache.peek('from')[1] == 'x' * 50_000
    assert cache.pull('to') == (None, None)
    with cache.transact():
        _, value = cache.pull('from')
        cache.push(value, prefix='to')
    assert cache.peek('to')[1] == 'x' * 50_000
    assert cache.pull('from') == (None, None)


def test_processes_pull_each_item_once_and_in_order(
    cache: diskcache.Cache, crew: list[Interpreter]
) -> None:
    script = """
    pulled = []
    with Cache(directory) as cache:
        for turn in range(100):
            cache.push((number, turn), prefix='q', retry=True)
            pulled.append(cache.pull('q', retry=True)[1])
    pulled
    """
    pulled = at_once(crew[:3], script, directory=cache.directory)
    assert sorted(item for items in pulled for item in items) == [
        (n, turn) for n in range(3) for turn in range(100)
    ]
    for items in pulled:
        for number in range(3):
            turns = [turn for pusher, turn in items if pusher == number]
            assert turns == sorted(turns)
