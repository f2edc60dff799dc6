"""Every interleaving of writers, kills and one reader over the table of versions.

Of src/sqlite/version_table.h. A state is what all share (row, header, chain, epoch, slot, who has
the write lock), where each writer stands, and what the reader remembers. Writers: 'own' keeps the
table and writes the reader's key; 'other' keeps it and writes another key; 'blind' keeps it and
writes the reader's key without knowing that; 'empty' commits without having written; 'foreign' does
not know the table. Each may be killed between any two steps. The reader gets an entry, by a read or
by its own commit ('author'), and later, when the header has moved, asks the table whether it still
holds. It is wrong if it answers with a row that is older than what a SELECT would have seen when it
looked at the header.

At first the chain is the header, or one that is yet to come: where the log has been put back, and
not the table, who repeats a commit that was lost comes to the same header.

Prints a line for each rule; the exit status is 1 unless the first rules hold, and each of the
others is found to be wrong.
"""

from __future__ import annotations

import itertools
import sys
from typing import NamedTuple

KEEPING = ('lock', 'compare', 'commit', 'raise', 'chain', 'unlock')
FOREIGN = ('lock', 'commit', 'unlock')

#: The steps of a writer that keeps the table, by the name of the rule.
RULES = {
    'as it is': KEEPING,
    'no epoch': ('lock', 'commit', 'raise', 'chain', 'unlock'),
    'raised before the commit': ('lock', 'compare', 'raise', 'commit', 'chain', 'unlock'),
    'the chain before the slots': ('lock', 'compare', 'commit', 'chain', 'raise', 'unlock'),
    'compared before the lock': ('compare', 'lock', 'commit', 'raise', 'chain', 'unlock'),
    'raised after the unlock': ('lock', 'compare', 'commit', 'unlock', 'raise', 'chain'),
    'unknown keys raise nothing': KEEPING,
    'the author takes its version after the unlock': (*KEEPING, 'take'),
}

FILL = ('H', 'H is chain', 'version', 'select', 'same H')
CONFIRM = ('new H', 'is chain', 'same version', 'still H')
READERS = {
    'reads': FILL + CONFIRM,
    'takes the version late': ('H', 'H is chain', 'select', 'same H', 'version', *CONFIRM),
    'takes the version first': ('version', 'H', 'H is chain', 'select', 'same H', *CONFIRM),
    'fills without the chain': ('H', 'version', 'select', 'same H', *CONFIRM),
    'looks at the chain last': (*FILL, 'new H', 'same version', 'is chain', 'still H'),
    'does not look again at the header': (*FILL, 'new H', 'is chain', 'same version', 'done'),
    'asks for the chain once': (*FILL, 'new H', 'is chain', 'H again', 'same version', 'still H'),
    'never asks for the chain': (*FILL, 'new H', 'H again', 'same version', 'still H'),
    'author': CONFIRM,
    'author, that trusts the look of another thread': ('new H', 'still H'),
}

CASTS = [
    ('own',),
    ('own', 'other'),
    ('own', 'foreign'),
    ('other', 'foreign'),
    ('own', 'empty'),
    ('empty', 'foreign'),
    ('blind',),
    ('blind', 'other'),
    ('own', 'other', 'foreign'),
    ('own', 'empty', 'foreign'),
    ('own', 'own', 'foreign'),
    ('own', 'blind', 'foreign'),
]

CHAINS = (0, 1, 2)

KILLED = 99


class Shared(NamedTuple):
    """What all processes have."""

    row: int = 0
    header: int = 0
    chain: int = 0
    epoch: int = 0
    slot: int = 0
    holder: int | None = None


class Memory(NamedTuple):
    """What the reader remembers, and the rows that it must not be behind."""

    header: int = -1
    version: int = -1
    row: int = -1
    looked: int = -1
    must: int = -1


def is_author(reader: str) -> bool:
    return reader.startswith('author')


def write(who: str, rule: str, action: str, number: int, shared: Shared, broken: bool) -> Shared:
    """Return what a step of a writer makes of the state."""
    if action == 'lock':
        return shared._replace(holder=number)
    if action == 'commit':
        changes = who in ('own', 'blind', 'foreign')
        return shared._replace(header=shared.header + (who != 'empty'), row=shared.row + changes)
    if action == 'raise':
        unknown = who == 'blind' and rule != 'unknown keys raise nothing'
        return shared._replace(
            epoch=shared.epoch + (broken or unknown), slot=shared.slot + (who == 'own')
        )
    if action == 'chain':
        return shared._replace(chain=shared.header)
    if action == 'unlock':
        return shared._replace(holder=None)
    return shared


def read(action: str, shared: Shared, memory: Memory) -> Memory | None:
    """Return what a step of the reader makes of its memory; None if it asks SQLite instead."""
    version = shared.slot + shared.epoch
    goes_on = True
    if action == 'H':
        memory = memory._replace(header=shared.header)
    elif action == 'version':
        memory = memory._replace(version=version)
    elif action == 'select':
        memory = memory._replace(row=shared.row)
    elif action == 'same H':
        goes_on = shared.header == memory.header
    elif action == 'new H':
        memory = memory._replace(looked=shared.header, must=shared.row)
        goes_on = shared.header != memory.header
    elif action == 'H again':
        memory = memory._replace(must=shared.row)
        goes_on = shared.header == memory.looked
    elif action == 'H is chain':
        goes_on = shared.chain == memory.header
    elif action == 'is chain':
        goes_on = shared.chain == memory.looked
    elif action == 'same version':
        goes_on = version == memory.version
    elif action == 'still H':
        goes_on = shared.header == memory.looked
    return memory if goes_on else None


def explore(
    rule: str, cast: tuple[str, ...], reader: str, chain: int
) -> tuple[int, tuple[str, ...] | None]:
    """Return how many states there are, and the first path that ends wrong, or None."""
    programs = [FOREIGN if who == 'foreign' else RULES[rule] for who in cast]
    steps = READERS[reader]
    takes_late = 'take' in RULES[rule]
    # The author's entry comes from the first writer's commit.
    started = -1 if is_author(reader) else 0
    seen = set()
    todo = [((0,) * len(cast), (False,) * len(cast), Shared(chain=chain), started, Memory(), ())]
    while todo:
        at, broken, shared, step, memory, path = todo.pop()
        state = (at, broken, shared, step, memory)
        if state in seen:
            continue
        seen.add(state)
        for number, who in enumerate(cast):
            if at[number] >= len(programs[number]):
                continue
            action = programs[number][at[number]]
            if action == 'lock' and shared.holder is not None:
                continue
            new = write(who, rule, action, number, shared, broken[number])
            flags, now, known = broken, step, memory
            if action == 'compare':
                differs = shared.header != shared.chain
                flags = (*broken[:number], differs, *broken[number + 1 :])
            if is_author(reader) and number == 0:
                if action == 'raise':
                    known = known._replace(row=new.row, header=new.header)
                if action == ('take' if takes_late else 'raise'):
                    known = known._replace(version=new.slot + new.epoch)
                if action == programs[0][-1]:
                    now = 0
            moved = (*at[:number], at[number] + 1, *at[number + 1 :])
            todo.append((moved, flags, new, now, known, (*path, f'{who}{number}: {action}')))
            if at[number]:  # it is killed here; the system gives its lock back
                holder = None if shared.holder == number else shared.holder
                dead = (*at[:number], KILLED, *at[number + 1 :])
                left = shared._replace(holder=holder)
                todo.append((dead, broken, left, step, memory, (*path, f'{who}{number}: killed')))
        if 0 <= step < len(steps):
            remembered = read(steps[step], shared, memory)
            if remembered is None:
                continue
            path = (*path, f'reader: {steps[step]}')
            if step == len(steps) - 1 and remembered.row < remembered.must:
                return len(seen), path
            todo.append((at, broken, shared, step + 1, remembered, path))
    return len(seen), None


def trials() -> list[tuple[str, str, bool]]:
    """Return the rules, the readers, and whether they are right together."""
    right = (
        'reads',
        'takes the version first',
        'does not look again at the header',
        'asks for the chain once',
        'author',
    )
    wrong = (
        'takes the version late',
        'fills without the chain',
        'looks at the chain last',
        'never asks for the chain',
        'author, that trusts the look of another thread',
    )
    tried = [('as it is', reader, True) for reader in right]
    tried += [('as it is', reader, False) for reader in wrong]
    for rule in RULES:
        if rule == 'the author takes its version after the unlock':
            tried.append((rule, 'author', False))
        elif rule != 'as it is':
            tried.append((rule, 'reads', False))
    return tried


def main() -> int:
    """Try all of them."""
    good = True
    for rule, reader, is_right in trials():
        states, wrong = 0, None
        for cast, chain in itertools.product(CASTS, CHAINS):
            if is_author(reader) and cast[0] not in ('own', 'other'):
                continue
            count, path = explore(rule, cast, reader, chain)
            states += count
            if path is not None:
                wrong = path
                break
        good &= (wrong is None) == is_right
        said = 'holds' if wrong is None else 'wrong: ' + ', '.join(wrong)
        print(f'{rule}; the reader {reader}: {states:,} states, {said}')
    return not good


if __name__ == '__main__':
    sys.exit(main())
