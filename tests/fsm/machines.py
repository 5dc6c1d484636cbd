"""Every machine, with its names as plain text: what tests that hold for all of them run on."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from itertools import chain, combinations

from fsm.application import APPLICATION
from fsm.engine import Engine
from fsm.job import JOB
from fsm.spot_vm import SPOT_VM
from fsm.table import FactT, Row, StateT, Table, TriggerT


@dataclass(frozen=True, slots=True)
class Decided:
    """What became of an event."""

    row_id: str
    verdict: str
    after: str


@dataclass(frozen=True, slots=True)
class Case:
    """A cell, and the two ways to decide it: the table's lookup and the compiled machine."""

    machine: str
    state: str
    trigger: str
    facts: frozenset[str]
    by_table: Callable[[], Decided]
    by_engine: Callable[[], Decided]

    @property
    def name(self) -> str:
        return f"{self.machine}-{self.state}-{self.trigger}-{'+'.join(sorted(self.facts)) or 'none'}".replace(" ", "_")


@dataclass(frozen=True, slots=True)
class PlainRow:
    """A row with its names as text."""

    machine: str
    id: str
    source: tuple[str, ...]
    trigger: str
    when: frozenset[str]
    unless: frozenset[str]
    dest: str | None
    verdict: str
    outcome: str
    why: str
    rests_on: str
    disputed: str


def _decided(row: Row[StateT, TriggerT, FactT], state: StateT) -> Decided:
    return Decided(row.id, row.verdict.value, row.after(state).value)


def _cases(table: Table[StateT, TriggerT, FactT]) -> list[Case]:
    engine = Engine(table)

    def case(state: StateT, trigger: TriggerT, facts: Collection[FactT]) -> Case:
        return Case(
            machine=table.name,
            state=state.value,
            trigger=trigger.value,
            facts=frozenset(fact.value for fact in facts),
            by_table=lambda: _decided(table.row_for(state, trigger, facts), state),
            by_engine=lambda: _decided(engine.fire(state, trigger, facts), state),
        )

    return [case(cell.state, cell.trigger, cell.facts) for cell in table.cells()]


def _rows(table: Table[StateT, TriggerT, FactT]) -> list[PlainRow]:
    return [
        PlainRow(
            machine=table.name,
            id=row.id,
            source=tuple(state.value for state in row.source),
            trigger=row.trigger.value,
            when=frozenset(fact.value for fact in row.when),
            unless=frozenset(fact.value for fact in row.unless),
            dest=None if row.dest is None else row.dest.value,
            verdict=row.verdict.value,
            outcome=row.outcome,
            why=row.why,
            rests_on=row.rests_on,
            disputed=row.disputed,
        )
        for row in table.rows
    ]


CASES = [*_cases(SPOT_VM), *_cases(APPLICATION), *_cases(JOB)]
ROWS = [*_rows(SPOT_VM), *_rows(APPLICATION), *_rows(JOB)]


def every_subset(facts: Collection[FactT]) -> list[frozenset[FactT]]:
    """Every assignment of these facts."""
    ordered = list(facts)
    sized = (combinations(ordered, size) for size in range(len(ordered) + 1))
    return [frozenset(held) for held in chain.from_iterable(sized)]
