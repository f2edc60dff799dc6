"""Which policy should decide what the memory tier drops: SIEVE, S3-FIFO or LRU?

A simulation, in Python, of the three on request traces: independent requests with a Zipf
distribution, the same interrupted by scans over keys that are asked for once, and a set of popular
keys that changes over time. The answer is the share of requests that find their key, for tiers of
different sizes. No clock is involved, so one run is enough; the cost of a hit is the same for SIEVE
and S3-FIFO (a bit or a counter is set), and that of a miss differs by the number of list operations
printed beside.

SIEVE: Y. Zhang and others, "SIEVE is Simpler than LRU", NSDI 2024.
S3-FIFO: J. Yang and others, "FIFO Queues are All You Need for Cache Eviction", SOSP 2023.
"""

from __future__ import annotations

import argparse
import bisect
import itertools as it
import random
from collections import OrderedDict, deque
from collections.abc import Callable, Iterator
from typing import Protocol

KEYS = 20_000
REQUESTS = 200_000


class Policy(Protocol):
    """A cache of so many keys: `request` tells whether the key was there, and lets it in if not."""

    moves: int

    def request(self, key: int) -> bool: ...


class Lru:
    """Least recently used, for comparison: every hit moves the key."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.keys: OrderedDict[int, None] = OrderedDict()
        self.moves = 0

    def request(self, key: int) -> bool:
        """Look up a key."""
        if key in self.keys:
            self.keys.move_to_end(key)
            self.moves += 1
            return True
        if len(self.keys) >= self.size:
            self.keys.popitem(last=False)
            self.moves += 1
        self.keys[key] = None
        self.moves += 1
        return False


class Sieve:
    """One queue, in the order of arrival, and a hand that spares what was visited."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.visited: dict[int, bool] = {}
        self.newer: dict[int, int | None] = {}
        self.older: dict[int, int | None] = {}
        self.oldest: int | None = None
        self.newest: int | None = None
        self.hand: int | None = None
        self.moves = 0

    def request(self, key: int) -> bool:
        """Look up a key."""
        if key in self.visited:
            self.visited[key] = True
            return True
        if len(self.visited) >= self.size:
            self._evict()
        self.visited[key] = False
        self.older[key], self.newer[key] = self.newest, None
        if self.newest is not None:
            self.newer[self.newest] = key
        else:
            self.oldest = key
        self.newest = key
        self.moves += 1
        return False

    def _evict(self) -> None:
        hand = self.hand if self.hand is not None else self.oldest
        assert hand is not None
        while self.visited[hand]:
            self.visited[hand] = False
            self.moves += 1
            following = self.newer[hand]
            hand = following if following is not None else self.oldest
            assert hand is not None
        older, newer = self.older.pop(hand), self.newer.pop(hand)
        if older is not None:
            self.newer[older] = newer
        else:
            self.oldest = newer
        if newer is not None:
            self.older[newer] = older
        else:
            self.newest = older
        self.hand = newer
        del self.visited[hand]
        self.moves += 1


class S3Fifo:
    """A small queue for new keys, a main one for those asked for again, a ghost of the rest."""

    def __init__(self, size: int) -> None:
        self.small_size = max(1, size // 10)
        self.size = size
        self.small: deque[int] = deque()
        self.main: deque[int] = deque()
        self.ghost: OrderedDict[int, None] = OrderedDict()
        self.count: dict[int, int] = {}
        self.moves = 0

    def request(self, key: int) -> bool:
        """Look up a key."""
        if key in self.count:
            self.count[key] = min(self.count[key] + 1, 3)
            return True
        while len(self.count) >= self.size:
            self._evict()
        if key in self.ghost:
            del self.ghost[key]
            self.main.append(key)
        else:
            self.small.append(key)
        self.count[key] = 0
        self.moves += 1
        return False

    def _evict(self) -> None:
        if len(self.small) >= self.small_size or not self.main:
            key = self.small.popleft()
            self.moves += 1
            if self.count[key] > 1:
                self.count[key] = 0
                self.main.append(key)
                return
            del self.count[key]
            self.ghost[key] = None
            if len(self.ghost) > self.size:
                self.ghost.popitem(last=False)
            return
        while True:
            key = self.main.popleft()
            self.moves += 1
            if not self.count[key]:
                del self.count[key]
                return
            self.count[key] -= 1
            self.main.append(key)


def zipf(random_: random.Random, alpha: float, first: int = 0) -> Iterator[int]:
    """Yield keys for ever, the n-th most popular one with a probability like 1 / n ** alpha."""
    steps = list(it.accumulate(1 / rank**alpha for rank in range(1, KEYS + 1)))
    while True:
        yield first + bisect.bisect(steps, random_.random() * steps[-1])


def with_scans(requests: Iterator[int]) -> Iterator[int]:
    """Put a scan over 5,000 keys that nobody asks for again behind every 20,000 requests."""
    for number in it.count(1):
        yield from it.islice(requests, 20_000)
        yield from range(number * 10**6, number * 10**6 + 5000)


def drifting(random_: random.Random) -> Iterator[int]:
    """Yield keys of which the popular ones are others after every 20,000 requests."""
    for number in it.count():
        yield from it.islice(zipf(random_, 1.0, number * KEYS // 10), 20_000)


TRACES: dict[str, Callable[[random.Random], Iterator[int]]] = {
    'Zipf 0.8': lambda random_: zipf(random_, 0.8),
    'Zipf 1.0': lambda random_: zipf(random_, 1.0),
    'Zipf 1.0, scans': lambda random_: with_scans(zipf(random_, 1.0)),
    'popularity drifts': drifting,
}
POLICIES: dict[str, Callable[[int], Policy]] = {'SIEVE': Sieve, 'S3-FIFO': S3Fifo, 'LRU': Lru}


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--requests', type=int, default=REQUESTS)
    options = parser.parse_args()
    rule = f'{"=" * 18}  {"=" * 8}  ' + '  '.join('=' * 18 for _ in POLICIES)
    print('Share of requests that find their key, and list operations for each request:\n')
    print(rule)
    print(f'{"trace":18}  {"size":8}  ' + '  '.join(f'{name:18}' for name in POLICIES))
    print(rule)
    for trace, size in it.product(TRACES, (200, 1000, 4000)):
        cells = []
        for policy in (make(size) for make in POLICIES.values()):
            requests = it.islice(TRACES[trace](random.Random(7)), options.requests)
            hits = sum(map(policy.request, requests))
            cells.append(f'{hits / options.requests:.3f}, {policy.moves / options.requests:.2f}')
        print(f'{trace:18}  {size:<8}  ' + '  '.join(f'{cell:18}' for cell in cells))
    print(rule)


if __name__ == '__main__':
    main()
