#!/usr/bin/env python3
"""A model of the memory tier: every order of the steps of a process and of those that write.

A process has a tier: rows in memory, and the header for which they hold. Its threads write
(`Writer`) and read (`Reader`); others, who know nothing of the tier, commit or move the header
without data (`Foreign`). The model goes through all orders in which their steps can happen, each
between any two of another's, and demands one thing of each state: *where the tier's header is the
header that stands, its rows are the rows that stand*. Then no lookup is stale, whenever it comes.

The rules are those of memory.h and commit_stamp.h; each mutant breaks one of them, and must be
found.

As a program it prints a line for each, with the first wrong order that it has found.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import NamedTuple


class Rows(NamedTuple):
    """The versions of two rows, in the database or in memory (there None: not known)."""

    a: int | None
    b: int | None


NOTHING = Rows(None, None)
FIRST = Rows(0, 0)


@dataclass(frozen=True)
class State:
    """What all see, and the tier."""

    rows: Rows = FIRST
    header: int = 0
    moves: int = 0  # Of the header, so that each gets a number of its own.
    holder: int | None = None  # Who has the write lock.
    connected: bool = True  # The process has a connection.
    in_use: int = 0  # Lookups that use it: it is not closed.
    attachment: int = 0  # Which connection the tier's header is of.
    stamp: int | None = 0  # The tier's header.
    kept: Rows = FIRST  # The tier's rows.
    emptied: int = 0  # How often the tier has been.


@dataclass(frozen=True)
class Memory:
    """What one thread remembers between its steps."""

    base: int | None = None  # The header for which the tier was current, under the lock.
    emptied: int = 0
    published: int | None = None
    written: int = 0  # The version of the row `a` that a commit has made.
    header: int | None = None
    row: int | None = None
    attachment: int = 0
    failed: bool = False


def empty(state: State) -> State:
    return replace(state, stamp=None, kept=NOTHING, emptied=state.emptied + 1)


def move(state: State, rows: Rows) -> State:
    """Publish a header that has never been there."""
    return replace(state, rows=rows, moves=state.moves + 1, header=state.moves + 1)


Step = tuple[State, Memory]


@dataclass(frozen=True)
class Rules:
    """How the process keeps its tier. The defaults are right; anything else is a mutant."""

    looks_for_stamp: str = 'at unlock'
    compares_base: str = 'under the lock'
    drops_own_key: bool = True
    counts_changes: bool = True  # Rows that a trigger has changed are noticed.
    applies_failed: bool = False
    notices_emptying: bool = True
    looks_twice: bool = True  # A reader, at the header, before its SELECT and after it.
    first_look: str = 'before the SELECT'
    compares_stamp: bool = True  # Before a row that was read is put into the tier.
    empties_without_header: bool = True
    compares_attachment: bool = True


class Writer:
    """A write transaction of the process."""

    def __init__(self, writes: str, ends: str = 'COMMIT') -> None:
        """Say what it does.

        :param writes: 'nothing', 'a', or 'a and by a trigger b'
        :param ends: 'COMMIT', 'ROLLBACK', or with a COMMIT that has 'failed', or 'failed late',
            after it had published the header
        """
        self.writes = writes
        self.ends = ends

    def steps(self, rules: Rules) -> tuple[str, ...]:
        early = ('compare',) if rules.compares_base == 'before the lock' else ()
        under = ('compare',) if rules.compares_base == 'under the lock' else ()
        never = ('assume',) if rules.compares_base == 'never' else ()
        if self.ends == 'ROLLBACK':
            return (*early, 'lock', *under, *never, 'unlock')
        look = ('look',)
        end = ('publish', *look, 'unlock') if rules.looks_for_stamp == 'at unlock' else (
            'publish', 'unlock', *look)  # fmt: skip
        return (*early, 'lock', *under, *never, *end, 'apply')

    def do(self, step: str, rules: Rules, me: int, state: State, memory: Memory) -> Step | None:
        if step == 'lock':
            return None if state.holder is not None else (replace(state, holder=me), memory)
        if step == 'unlock':
            return replace(state, holder=None), memory
        if step == 'assume':
            return state, replace(memory, base=state.stamp, emptied=state.emptied)
        if step == 'compare':
            if state.stamp != state.header:
                state = empty(state)
            base = state.stamp
            return state, replace(memory, base=base, emptied=state.emptied)
        if step == 'publish':
            return self.publish(state, memory)
        if step == 'look':
            return state, replace(memory, published=self.accepted(rules, state.header, memory))
        assert step == 'apply'
        return self.apply(rules, state, memory), memory

    def publish(self, state: State, memory: Memory) -> Step:
        if self.ends.startswith('failed'):
            memory = replace(memory, failed=True)
        if self.ends == 'failed':
            return state, memory
        if self.writes == 'nothing':
            return state, memory
        by_trigger = 1 if 'b' in self.writes else 0
        rows = Rows(state.rows.a + 1, state.rows.b + by_trigger)
        return move(state, rows), replace(memory, written=rows.a)

    def accepted(self, rules: Rules, header: int, memory: Memory) -> int | None:
        """The header that the tier may take."""
        if memory.base is None:
            return None
        further = header - memory.base
        if rules.looks_for_stamp == 'after unlock, at most one further' and further > 1:
            return None
        if rules.looks_for_stamp == 'after unlock, just one further' and further != 1:
            return None
        return header

    def apply(self, rules: Rules, state: State, memory: Memory) -> State:
        if memory.base is None or state.stamp is None:
            return state
        if rules.notices_emptying and state.emptied != memory.emptied:
            return state
        unknown = rules.counts_changes and 'b' in self.writes
        if memory.failed and not rules.applies_failed:
            return state
        if memory.published is None or unknown:
            return empty(state)
        kept = state.kept
        if self.writes != 'nothing' and rules.drops_own_key:
            kept = Rows(memory.written, kept.b)
        return replace(state, kept=kept, stamp=memory.published)


class Reader:
    """A lookup of the process that has missed the tier, and fills it."""

    def __init__(self, key: str) -> None:
        self.key = key

    def steps(self, rules: Rules) -> tuple[str, ...]:
        if rules.first_look == 'after the SELECT':
            return ('select', 'H', 'same H', 'remember')
        return ('H', 'select', 'same H', 'remember')

    def do(self, step: str, rules: Rules, me: int, state: State, memory: Memory) -> Step | None:
        if step == self.steps(rules)[0]:
            if not state.connected:
                return None
            state = replace(state, in_use=state.in_use + 1)
        if step == 'H':
            return state, replace(memory, header=state.header)
        if step == 'select':
            return state, replace(memory, row=getattr(state.rows, self.key))
        if step == 'same H':
            stable = state.header == memory.header or not rules.looks_twice
            memory = replace(memory, attachment=state.attachment)
            state = replace(state, in_use=state.in_use - 1)
            return state, memory if stable else replace(memory, header=None)
        assert step == 'remember'
        if memory.header is None or not state.connected:
            return state, memory
        if rules.compares_attachment and memory.attachment != state.attachment:
            return state, memory
        if state.stamp is None or (rules.compares_stamp and state.stamp != memory.header):
            state = replace(empty(state), stamp=memory.header)
        return replace(state, kept=state.kept._replace(**{self.key: memory.row})), memory


class Closer:
    """The process closes its last connection, and opens one again."""

    def steps(self, rules: Rules) -> tuple[str, ...]:
        return ('close', 'open')

    def do(self, step: str, rules: Rules, me: int, state: State, memory: Memory) -> Step | None:
        if step == 'close':
            if state.holder is not None or state.in_use:
                return None
            state = replace(state, connected=False)
            return (empty(state) if rules.empties_without_header else state), memory
        return replace(state, connected=True, attachment=state.attachment + 1), memory


class Foreign:
    """Another process: it commits, or moves the header without data, or begins the log anew."""

    def __init__(self, does: str) -> None:
        self.does = does

    def steps(self, rules: Rules) -> tuple[str, ...]:
        return ('lock', self.does, 'unlock')

    def do(self, step: str, rules: Rules, me: int, state: State, memory: Memory) -> Step | None:
        if step == 'lock':
            return None if state.holder is not None else (replace(state, holder=me), memory)
        if step == 'unlock':
            return replace(state, holder=None), memory
        if step == 'commit b':
            return move(state, state.rows._replace(b=state.rows.b + 1)), memory
        if step == 'commit a':
            return move(state, state.rows._replace(a=state.rows.a + 1)), memory
        if step == 'move':
            return move(state, state.rows), memory
        assert step == 'commit b, log from the start'
        if state.connected:  # Somebody else has the log open, so it is not made anew.
            return move(state, state.rows._replace(b=state.rows.b + 1)), memory
        return replace(state, rows=state.rows._replace(b=state.rows.b + 1), header=0), memory


Actor = Writer | Reader | Closer | Foreign

WRITES = [
    Writer('nothing'), Writer('a'), Writer('a and by a trigger b'), Writer('a', 'ROLLBACK'),
    Writer('a', 'failed'), Writer('a', 'failed late'),
]  # fmt: skip
CASTS: list[tuple[Actor, ...]] = [
    *((writer, Foreign(does)) for writer in WRITES for does in ('commit a', 'commit b', 'move')),
    *((writer, Foreign('commit b'), Foreign('commit b')) for writer in WRITES),
    *((Reader(key), Foreign(does)) for key in 'ab' for does in ('commit a', 'commit b', 'move')),
    *((writer, Reader(key), Foreign('commit b')) for writer in WRITES for key in 'ab'),
    *((writer, Reader('b'), Reader('b'), Foreign('commit b')) for writer in WRITES),
    *((writer, Writer('a'), Foreign('commit b')) for writer in WRITES),
    (Closer(), Foreign('commit b, log from the start')),
    (Closer(), Reader('b'), Foreign('commit b, log from the start')),
]

#: What is kept may be newer than the header that it is kept for: that header does not stand any
#: more, and never comes back. So a second look is more than is needed; it costs nothing.
HOLDS: dict[str, Rules] = {
    'the rule': Rules(),
    'reader: looks at the header once, before the SELECT': Rules(looks_twice=False),
}
MUTANTS: dict[str, Rules] = {
    'looks after the unlock, at most one commit further': Rules(
        looks_for_stamp='after unlock, at most one further'
    ),
    'looks after the unlock, just one commit further': Rules(
        looks_for_stamp='after unlock, just one further'
    ),
    'looks after the unlock, whatever is there': Rules(looks_for_stamp='after unlock'),
    'does not compare the base': Rules(compares_base='never'),
    'compares the base before it has the lock': Rules(compares_base='before the lock'),
    'forgets which key it has written': Rules(drops_own_key=False),
    'does not count rows that triggers change': Rules(counts_changes=False),
    'applies a commit that has failed': Rules(applies_failed=True),
    'applies to a tier that was emptied meanwhile': Rules(notices_emptying=False),
    'reader: looks at the header after the SELECT': Rules(first_look='after the SELECT'),
    'reader: does not compare the stamp': Rules(compares_stamp=False),
    'keeps the tier without a connection': Rules(empties_without_header=False),
    'reader: does not notice that all was closed': Rules(compares_attachment=False),
}


def wrong_in(state: State) -> bool:
    """Whether a lookup that came now would be answered with what does not stand there."""
    if not state.connected or state.stamp != state.header:
        return False
    return any(kept not in (None, row) for kept, row in zip(state.kept, state.rows, strict=True))


def explore(rules: Rules, cast: tuple[Actor, ...]) -> tuple[int, list[str] | None]:
    """Return the number of states, and the first wrong order of steps."""
    programs = [actor.steps(rules) for actor in cast]
    start = State(), (0,) * len(cast), (Memory(),) * len(cast)
    seen = {start}
    todo: list[tuple[tuple[State, tuple[int, ...], tuple[Memory, ...]], tuple[str, ...]]]
    todo = [(start, ())]
    while todo:
        (state, at, memories), path = todo.pop()
        for me, actor in enumerate(cast):
            if at[me] == len(programs[me]):
                continue
            step = programs[me][at[me]]
            done = actor.do(step, rules, me, state, memories[me])
            if done is None:
                continue
            new = (
                done[0],
                (*at[:me], at[me] + 1, *at[me + 1 :]),
                (*memories[:me], done[1], *memories[me + 1 :]),
            )
            way = (*path, f'{type(actor).__name__} {me}: {step}')
            if wrong_in(new[0]):
                return len(seen), list(way)
            if new not in seen:
                seen.add(new)
                todo.append((new, way))
    return len(seen), None


def check(rules: Rules) -> tuple[int, list[str] | None]:
    """Go through all casts; return the number of states, and the first wrong order of steps."""
    states = 0
    for cast in CASTS:
        count, wrong = explore(rules, cast)
        states += count
        if wrong is not None:
            return states, wrong
    return states, None


def report() -> Iterator[bool]:
    for name, rules in {**HOLDS, **MUTANTS}.items():
        states, wrong = check(rules)
        print(f'{name}: {states:,} states,', 'holds' if wrong is None else ' / '.join(wrong))
        yield (wrong is None) == (name in HOLDS)


if __name__ == '__main__':
    sys.exit(not all(list(report())))
