"""Shortest paths through a table that take every row, and every two rows that can follow one another.

A path is what a test plays: from the table's initial state, step by step, each with the event, the facts that hold, and
the row that must decide it. Of the facts only those hold that the row asks for; the table is total and disjoint, so
that no other row can decide the step. Rows in states that cannot be reached are on no path.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Generic, TypeVar

from fsm.table import FactT, Row, StateT, Table, TriggerT

KeyT = TypeVar("KeyT", bound=Hashable)
PathT = TypeVar("PathT", bound=Sequence[object])


@dataclass(frozen=True, kw_only=True)  # not slotted: a frozen slotted generic cannot be built through its alias on 3.11
class Step(Generic[StateT, TriggerT, FactT]):
    """One event: the state it finds, the trigger, the facts that hold, and the row that decides it."""

    state: StateT
    trigger: TriggerT
    facts: frozenset[FactT]
    row: Row[StateT, TriggerT, FactT]

    @property
    def after(self) -> StateT:
        """The state it leaves."""
        return self.row.after(self.state)


def path_name(path: Sequence[Step[StateT, TriggerT, FactT]]) -> str:
    """A path by its rows: `A1-A3-A13`."""
    return "-".join(step.row.id for step in path)


def paths_covering_rows(table: Table[StateT, TriggerT, FactT]) -> tuple[tuple[Step[StateT, TriggerT, FactT], ...], ...]:
    """Paths on which every row is taken; each is a shortest one to its last row."""
    ways = _ways(table)
    found: dict[str, tuple[Step[StateT, TriggerT, FactT], ...]] = {}
    for row in table.rows:
        reached = [ways[state] + (_step(row, state),) for state in row.source if state in ways]
        if reached:
            found[row.id] = min(reached, key=len)
    return _needed(found, lambda path: [step.row.id for step in path])


def paths_covering_pairs(
    table: Table[StateT, TriggerT, FactT],
) -> tuple[tuple[Step[StateT, TriggerT, FactT], ...], ...]:
    """Paths on which every two rows that can follow one another do so; each is a shortest one to its last two rows."""
    ways = _ways(table)
    found: dict[tuple[str, str], tuple[Step[StateT, TriggerT, FactT], ...]] = {}
    for first in table.rows:
        for state in sorted((state for state in first.source if state in ways), key=lambda state: len(ways[state])):
            for second in table.rows:
                if first.after(state) in second.source:
                    path = ways[state] + (_step(first, state), _step(second, first.after(state)))
                    found.setdefault((first.id, second.id), path)
    return _needed(found, lambda path: list(pairwise(step.row.id for step in path)))


def _step(row: Row[StateT, TriggerT, FactT], state: StateT) -> Step[StateT, TriggerT, FactT]:
    return Step(state=state, trigger=row.trigger, facts=frozenset(row.when), row=row)


def _ways(
    table: Table[StateT, TriggerT, FactT],
) -> Mapping[StateT, tuple[Step[StateT, TriggerT, FactT], ...]]:
    """A shortest path to every state that can be reached."""
    ways: dict[StateT, tuple[Step[StateT, TriggerT, FactT], ...]] = {table.initial: ()}
    waiting = deque([table.initial])
    while waiting:
        state = waiting.popleft()
        for row in table.rows:
            if state in row.source and row.after(state) not in ways:
                ways[row.after(state)] = (*ways[state], _step(row, state))
                waiting.append(row.after(state))
    return ways


def _needed(found: Mapping[KeyT, PathT], covered_by: Callable[[PathT], Iterable[KeyT]]) -> tuple[PathT, ...]:
    """The paths without those that only go where a longer one has been, in the order they were found."""
    covered: set[KeyT] = set()
    needed: set[KeyT] = set()
    for key, path in sorted(found.items(), key=lambda item: -len(item[1])):
        if key not in covered:
            needed.add(key)
            covered.update(covered_by(path))
    return tuple(path for key, path in found.items() if key in needed)
