"""What a process hears of changes on a Cluster: see feed.py, whose rule it is for each master."""

from __future__ import annotations

from .cluster import ClusterEngine, Node
from .engine import Engine
from .feed import LEASE, Feed, PlacedFeed, clock
from .shards import slot_of


class ClusterFeed:
    """What this process hears of the keys with a prefix, from each master.

    What was read from a master holds if that one's feed says so, and if its slot is known to be
    that master's still: within the last `LEASE` seconds it has answered a lookup in that slot. A
    master that is none any more need not say so on its feed.
    """

    def __init__(self, engine: ClusterEngine, prefix: bytes, timeout: float) -> None:
        """Take what is needed.

        :param engine: the servers
        :param prefix: of the keys
        :param timeout: seconds to wait for an answer
        """
        self._engine = engine
        self._arguments = prefix, timeout
        engine.on_ask = self.hear
        engine.on_change = self._change
        self.start_anew()

    def start_anew(self) -> None:
        """Forget the connections, which are a parent's."""
        self._feeds: dict[Node, PlacedFeed] = {}
        #: By slot: until when it is known to be its owner's, seconds.
        self._leases: dict[int, float] = {}

    def _feed(self, slot: int) -> PlacedFeed:
        """Return the feed of the master of a slot."""
        node = self._engine.known_owner(slot)
        feed = self._feeds.get(node)
        if feed is None:
            feed = self._feeds.setdefault(node, PlacedFeed(node, *self._arguments))
        return feed

    def left(self, name: bytes, times: object) -> float:
        """Return for how many seconds what was read may be used; 0.0 if it may not be now."""
        slot = slot_of(name)
        return self._feed(slot).left(name, times) if clock() < self._leases.get(slot, 0.0) else 0.0

    def answered(self, name: bytes, t0: float) -> Feed:
        """Note that a read which was sent at t0 has been answered.

        That the owner of the slot has answered (ASK) is enough. If the answer was of another one,
        a change has been noted since t0, so that nothing of before holds.

        :return: the feed of who owns the slot
        """
        slot = slot_of(name)
        self._leases[slot] = max(t0 + LEASE, self._leases.get(slot, 0.0))
        return self._feed(slot)

    def hear(self, name: bytes) -> None:
        """Note that a key has been written, or is not where its slot is."""
        self._feed(slot_of(name)).hear(name)

    def hear_all(self) -> None:
        """Note that any key may have been written."""
        for feed in list(self._feeds.values()):
            feed.hear_all()

    def _change(self) -> None:
        """Let nothing hold that was read from an owner of before."""
        self.hear_all()
        masters = self._engine.masters()
        for node, feed in list(self._feeds.items()):
            if node not in masters:
                self._feeds.pop(node, None)  # another thread may do the same
                feed.close()

    def close(self) -> None:
        """Close the connections; the next lookup makes others."""
        for feed in list(self._feeds.values()):
            feed.close()


def feed_of(engine: Engine | ClusterEngine, prefix: bytes, timeout: float) -> Feed | ClusterFeed:
    """Return what hears of the keys of a server, or a Cluster."""
    if isinstance(engine, ClusterEngine):
        return ClusterFeed(engine, prefix, timeout)
    return (PlacedFeed if engine.has_sentinels else Feed)(engine, prefix, timeout)
