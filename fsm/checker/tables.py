"""Checks a table by itself: every cell decided once, no dead row, no state out of reach or without a way out.

`fsm.table` refuses to build a table with gaps or overlaps by counting sub-cubes. Here the cells are enumerated one by
one, so that a mistake in that arithmetic would show.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from typing import Generic

from fsm.checker.report import Check, Finding
from fsm.spot_vm import SPOT_VM, VmFact, VmState, VmTrigger
from fsm.table import Cell, FactT, Row, StateT, Table, TriggerT

VmCell = Cell[VmState, VmTrigger, VmFact]


@dataclass(frozen=True, kw_only=True)
class Claim(Generic[StateT, TriggerT, FactT]):
    """What must hold in every cell of a table, said without its rows.

    Attributes:
        name: the claim in words.
        holds: given the state, the trigger, the facts, and the state after.
    """

    name: str
    holds: Callable[[StateT, TriggerT, Collection[FactT], StateT], bool]


def check_table(
    table: Table[StateT, TriggerT, FactT], claims: Collection[Claim[StateT, TriggerT, FactT]] = ()
) -> Check:
    """Everything that can be said of a table by itself."""
    misnamed = tuple(_name_findings(table))  # over unknown names the rest makes no sense
    findings = misnamed or (*_cell_findings(table), *_state_findings(table), *_claim_findings(table, claims))
    counts = {
        "states": len(table.states),
        "rows": len(table.rows),
        "cells": sum(1 for _ in table.cells()),
        "claims": len(claims),
    }
    return Check(name=f"table: {table.name}", counts=counts, findings=findings)


def _name_findings(table: Table[StateT, TriggerT, FactT]) -> Iterator[Finding]:
    """Ids that stand twice, and states, triggers and facts that are not the table's own."""
    ids = [row.id for row in table.rows]
    for row_id in sorted({row_id for row_id in ids if ids.count(row_id) > 1}):
        yield Finding(promise="names are valid", what=f"row id {row_id} stands twice")
    for row in table.rows:
        states = {*row.source, *(() if row.dest is None else (row.dest,))} - set(table.states)
        facts = {*row.when, *row.unless} - set(table.facts)
        triggers = {row.trigger} - set(table.triggers)
        for kind, unknown in (("state", states), ("fact", facts), ("trigger", triggers)):
            for name in sorted(unknown):
                yield Finding(promise="names are valid", what=f"row {row.id} names the unknown {kind} {str(name)!r}")


def _cell_findings(table: Table[StateT, TriggerT, FactT]) -> Iterator[Finding]:
    """Coverage, disjointness, dead rows."""
    idle = {(row.id, state) for row in table.rows for state in row.source}
    for cell in table.cells():
        deciding = [
            row
            for row in table.rows
            if cell.state in row.source and row.trigger is cell.trigger and row.matches(cell.facts)
        ]
        if len(deciding) != 1:
            named = " and ".join(row.id for row in deciding) or "no row"
            yield Finding(promise="every cell is decided once", what=f"{named} decides {told_cell(cell)}")
        idle -= {(row.id, cell.state) for row in deciding}
    for row_id, state in sorted(idle):
        yield Finding(promise="no dead row", what=f"row {row_id} decides no cell in {str(state)!r}")


def _state_findings(table: Table[StateT, TriggerT, FactT]) -> Iterator[Finding]:
    """States that cannot be reached, states that cannot be left, final states that can."""
    moves = {(state, row.after(state)) for row in table.rows for state in row.source if row.after(state) is not state}
    reached = {table.initial}
    while fresh := {after for before, after in moves if before in reached} - reached:
        reached |= fresh
    leaving = {before for before, _ in moves}
    for state in table.states:
        if state not in reached:
            yield Finding(promise="no unreachable state", what=f"no row leads to {str(state)!r}")
        if state not in leaving and state not in table.final:
            yield Finding(promise="no trap state", what=f"no row leads out of {str(state)!r}, which is not final")
        if state in leaving and state in table.final:
            yield Finding(promise="final is final", what=f"a row leads out of the final state {str(state)!r}")


def _claim_findings(
    table: Table[StateT, TriggerT, FactT], claims: Collection[Claim[StateT, TriggerT, FactT]]
) -> Iterator[Finding]:
    for claim in claims:
        for state in table.states:
            for trigger in table.triggers:
                for facts in _assignments(tuple(table.facts)):
                    row = table.row_for(state, trigger, facts)
                    if not claim.holds(state, trigger, facts, row.after(state)):
                        cell = Cell(state=state, trigger=trigger, facts=facts)
                        yield Finding(promise=claim.name, what=f"row {row.id} breaks it: {told_cell(cell)}")
                        break


def _assignments(facts: Collection[FactT]) -> list[frozenset[FactT]]:
    """Every assignment of all facts; only tables with few facts have claims."""
    held: list[frozenset[FactT]] = [frozenset()]
    for fact in facts:
        held += [one | {fact} for one in held]
    return held


def told_cell(cell: Cell[StateT, TriggerT, FactT]) -> str:
    """A cell in words."""
    facts = ", ".join(sorted(cell.facts)) or "no fact"
    return f"{str(cell.trigger)!r} in {str(cell.state)!r} with {facts}"


def told_row(row: Row[StateT, TriggerT, FactT]) -> str:
    """A row's place in words."""
    return f"{row.id} ({'/'.join(row.source)} on {row.trigger})"


# -- the Spot VM ---------------------------------------------------------------------------------------------------

S, T = VmState, VmTrigger


def _granted(facts: Collection[VmFact]) -> bool:
    return VmFact.AFFORDABLE in facts and VmFact.CAPACITY_AVAILABLE in facts


def _cause(facts: Collection[VmFact]) -> bool:
    return not _granted(facts)


def _left_by_policy(facts: Collection[VmFact]) -> VmState:
    return S.DELETED if VmFact.POLICY_DELETE in facts else S.STOPPED


VM_CLAIMS: tuple[Claim[VmState, VmTrigger, VmFact], ...] = (
    Claim(
        name="a VM comes to run only where price and capacity allow it",
        holds=lambda state, _, facts, after: after is not S.RUNNING or state is S.RUNNING or _granted(facts),
    ),
    Claim(
        name="where price and capacity allow it, a deployment succeeds from anywhere, and a start of what is stopped",
        holds=lambda state, trigger, facts, after: (
            not (trigger is T.DEPLOY or (trigger is T.RESTART and state is S.STOPPED))
            or not _granted(facts)
            or after is S.RUNNING
        ),
    ),
    Claim(
        name="an eviction takes a running VM exactly when there is a cause, and leaves what its policy says",
        holds=lambda state, trigger, facts, after: (
            trigger is not T.EVICT
            or state is not S.RUNNING
            or after is (_left_by_policy(facts) if _cause(facts) else S.RUNNING)
        ),
    ),
    Claim(
        name="a deployment or a start that is not granted changes nothing, but for the reference's row 8",
        holds=lambda state, trigger, facts, after: (
            trigger not in (T.DEPLOY, T.RESTART)
            or (_granted(facts) and state is not S.RUNNING)
            or after
            is (
                S.DELETED
                if trigger is T.RESTART
                and state is S.STOPPED
                and VmFact.AFFORDABLE not in facts
                and VmFact.POLICY_DELETE in facts
                else state
            )
            or after is S.RUNNING
        ),
    ),
    Claim(
        name="an operator who deallocates stops what runs, and nothing else",
        holds=lambda state, trigger, _, after: (
            trigger is not T.DEALLOCATE or after is (S.STOPPED if state is S.RUNNING else state)
        ),
    ),
    Claim(
        name="an operator who deletes deletes what exists, and nothing else",
        holds=lambda state, trigger, _, after: (
            trigger is not T.DELETE or after is (S.DELETED if state in (S.RUNNING, S.STOPPED) else state)
        ),
    ),
    Claim(
        name="a new max price changes no state",
        holds=lambda state, trigger, _, after: trigger is not T.REPRICE or after is state,
    ),
)
"""What the reference's rows and Azure's documents say, said once more without rows."""


def check_spot_vm(table: Table[VmState, VmTrigger, VmFact] = SPOT_VM) -> Check:
    """The Spot VM's table, with its claims."""
    return check_table(table, VM_CLAIMS)
