"""Shortest paths through the tables: they cover what they say, and the compiled machines go along every one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import pairwise, product

import pytest

from fsm.application import APPLICATION
from fsm.engine import Engine
from fsm.job import JOB
from fsm.paths import Step, path_name, paths_covering_pairs, paths_covering_rows
from fsm.spot_vm import SPOT_VM
from fsm.table import FactT, StateT, Table, TriggerT
from tests.fsm.machines import ROWS
from tests.fsm.test_table import Fact, State, Trigger, toy_row, toy_table


@dataclass(frozen=True, kw_only=True)
class Walk:
    """A path with its names as text, and the way to walk it on a compiled machine."""

    machine: str
    rows: tuple[str, ...]
    states: tuple[str, ...]
    walk: Callable[[], list[tuple[str, str]]]

    def __str__(self) -> str:
        return f"{self.machine}-{'-'.join(self.rows)}"


def walks(
    table: Table[StateT, TriggerT, FactT], paths: Iterable[tuple[Step[StateT, TriggerT, FactT], ...]]
) -> list[Walk]:
    engine = Engine(table)

    def walk_of(path: tuple[Step[StateT, TriggerT, FactT], ...]) -> Walk:
        def walk() -> list[tuple[str, str]]:
            state, taken = table.initial, []
            for step in path:
                row = engine.fire(state, step.trigger, step.facts)
                state = row.after(state)
                taken.append((row.id, state.value))
            return taken

        states = tuple(step.after.value for step in path)
        return Walk(machine=table.name, rows=tuple(step.row.id for step in path), states=states, walk=walk)

    return [walk_of(path) for path in paths]


BY_ROW = [
    *walks(SPOT_VM, paths_covering_rows(SPOT_VM)),
    *walks(APPLICATION, paths_covering_rows(APPLICATION)),
    *walks(JOB, paths_covering_rows(JOB)),
]
BY_PAIR = [
    *walks(SPOT_VM, paths_covering_pairs(SPOT_VM)),
    *walks(APPLICATION, paths_covering_pairs(APPLICATION)),
    *walks(JOB, paths_covering_pairs(JOB)),
]


@pytest.mark.parametrize("path", [*BY_ROW, *BY_PAIR], ids=str)
def test_the_compiled_machine_goes_along_every_path(path: Walk) -> None:
    """From the initial state, each event of a path is decided by the path's row and leads to the path's next state."""
    assert path.walk() == list(zip(path.rows, path.states, strict=True))


# -- what they cover ---------------------------------------------------------------------------------------------------


def distances(machine: str) -> dict[str, int]:
    """How many rows it takes to come to each state, from the rows as plain text."""
    found = {INITIAL[machine]: 0}
    for steps in range(1, len(ROWS)):
        for row in ROWS:
            if row.machine == machine and row.dest and any(found.get(state) == steps - 1 for state in row.source):
                found.setdefault(row.dest, steps)
    return found


INITIAL = {SPOT_VM.name: "NotDeployed", APPLICATION.name: "Offline", JOB.name: "Received"}
FAR = {machine: distances(machine) for machine in INITIAL}
"""How far each state of each machine is."""


def soonest_rows(machine: str) -> dict[str, int]:
    """Every row, and after how many others it can be taken at the earliest."""
    rows = [row for row in ROWS if row.machine == machine]
    return {row.id: min(FAR[machine][state] for state in row.source) for row in rows}


def soonest_pairs(machine: str) -> dict[tuple[str, str], int]:
    """Every two rows that can follow one another, and after how many others at the earliest."""
    rows = [row for row in ROWS if row.machine == machine]
    found: dict[tuple[str, str], int] = {}
    for one, two in product(rows, rows):
        steps = [FAR[machine][state] for state in one.source if (one.dest or state) in two.source]
        if steps:
            found[one.id, two.id] = min(steps)
    return found


@pytest.mark.parametrize("machine", INITIAL)
def test_every_row_is_on_a_path_and_none_comes_late(machine: str) -> None:
    """All rows are covered, and each path takes its last row as soon as that can be."""
    paths = [path.rows for path in BY_ROW if path.machine == machine]
    soonest = soonest_rows(machine)
    assert {row for path in paths for row in path} == set(soonest)
    assert all(len(path) - 1 == soonest[path[-1]] for path in paths)


@pytest.mark.parametrize("machine", INITIAL)
def test_every_pair_of_rows_is_on_a_path_and_none_comes_late(machine: str) -> None:
    """All pairs are covered and no others, and each path takes its last two rows as soon as that can be."""
    paths = [path.rows for path in BY_PAIR if path.machine == machine]
    soonest = soonest_pairs(machine)
    assert {pair for path in paths for pair in pairwise(path)} == set(soonest)
    assert all(len(path) - 2 == soonest[path[-2], path[-1]] for path in paths)


@pytest.mark.parametrize("machine", INITIAL)
def test_no_path_is_superfluous(machine: str) -> None:
    """Each path goes where no other does: leave one out, and something is not covered."""
    rows = [path.rows for path in BY_ROW if path.machine == machine]
    times = Counter(row for path in rows for row in set(path))
    assert all(any(times[row] == 1 for row in path) for path in rows)
    pairs = [set(pairwise(path.rows)) for path in BY_PAIR if path.machine == machine]
    shared = Counter(pair for path in pairs for pair in path)
    assert all(any(shared[pair] == 1 for pair in path) for path in pairs)


def test_what_cannot_be_reached_is_on_no_path() -> None:
    """A row in a state that nothing leads to is left out instead of being begun in the middle."""
    table = toy_table(
        toy_row("F1", (State.DOWN,), Trigger.FLIP, dest=State.UP),
        toy_row("F2", (State.UP,), Trigger.FLIP, when=(Fact.A,)),
        toy_row("F3", (State.UP,), Trigger.FLIP, unless=(Fact.A,)),
        toy_row("R1", (State.UP, State.DOWN), Trigger.REST),
    )
    assert [path_name(path) for path in paths_covering_rows(table)] == ["F2", "F3", "R1"]
    assert sorted(path_name(path) for path in paths_covering_pairs(table)) == [
        "F2-F2", "F2-F3", "F2-R1", "F3-F2", "F3-F3", "F3-R1", "R1-F2", "R1-F3", "R1-R1",
    ]  # fmt: skip


def test_a_path_says_what_holds() -> None:
    """A step brings the facts that its row asks for, and no others."""
    path = next(path for path in paths_covering_rows(SPOT_VM) if path_name(path) == "D1-E5")
    assert [(step.state, step.trigger, sorted(step.facts), step.after) for step in path] == [
        ("NotDeployed", "Deploy", ["affordable", "capacity available"], "Running"),
        ("Running", "Evict", ["capacity available", "policy Delete"], "Deleted"),
    ]
