"""Every cell of every machine, against a restatement of what it must do."""

from __future__ import annotations

import pytest

from tests.fsm import restated
from tests.fsm.machines import CASES, ROWS, Case, PlainRow


@pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])
def test_every_cell_leads_where_its_description_says(case: Case) -> None:
    """The table and the compiled machine take the same row in every cell, and it leads where the restatement does."""
    decided = case.by_table()
    assert case.by_engine() == decided
    assert restated.states_after(case.machine, case.state, case.trigger, case.facts) == {decided.after}


@pytest.mark.parametrize("row", ROWS, ids=[row.id for row in ROWS])
def test_every_row_decides_some_cell(row: PlainRow) -> None:
    """No row is dead: each is the one that decides at least one cell in each of its states."""
    taken_in = {case.state for case in CASES if case.machine == row.machine and case.by_table().row_id == row.id}
    assert taken_in == set(row.source)


def test_every_restated_rule_is_needed() -> None:
    """The restatement has no rule that covers no cell: it cannot agree by being empty."""
    for machine, rules in restated.MACHINES.items():
        cells = [case for case in CASES if case.machine == machine]
        for rule in rules:
            assert any(
                case.state in rule.states.split()
                and case.trigger == rule.trigger
                and case.facts.issuperset(rule.holds)
                and case.facts.isdisjoint(rule.fails)
                for case in cells
            ), rule


def test_what_is_ignored_or_refused_changes_nothing() -> None:
    """A row that is not taken leaves the state as it was, in every cell."""
    untaken = [case for case in CASES if case.by_table().verdict != "taken"]
    assert untaken
    for case in untaken:
        assert case.by_table().after == case.state


def test_work_that_moves_nothing_is_told_from_having_none() -> None:
    """Repricing, a second shutdown, a withdrawal during a drain and a checkpoint are taken and stay where they are."""
    staying = {row.id: row.trigger for row in ROWS if row.verdict == "taken" and row.dest is None}
    assert staying == {"O7": "Reprice", "A23": "shutdown", "A34": "withdrawn", "J19": "checkpoint"}


def test_no_row_refuses_a_fact() -> None:
    """Evictions, lost leases, interrupts, drains, withdrawals and the loss of the VM just happen: nobody is asked."""
    facts = {"Evict", "lose_lease", "interrupt", "drained", "withdrawn", "vm_gone"}
    refused = {row.trigger for row in ROWS if row.verdict == "refused"}
    assert facts <= {row.trigger for row in ROWS} - refused


def test_ended_deliveries_stay_ended() -> None:
    """No event moves a delivery out of Completed, Released, Poisoned or Abandoned, whatever holds."""
    ended = [case for case in CASES if case.machine == "job" and case.state not in ("Received", "Running")]
    assert {case.state for case in ended} == {"Completed", "Released", "Poisoned", "Abandoned"}
    for case in ended:
        assert case.by_table().after == case.state


def test_a_deleted_vm_can_be_deployed_again() -> None:
    """Deleted is no final state of a VM: the reference's picture lets it look like one, its row 1 does not."""
    again = [case for case in CASES if case.machine == "spot_vm" and case.state == "Deleted"]
    assert {case.by_table().after for case in again} == {"Deleted", "Running"}


def test_row_ids_are_unique_across_machines() -> None:
    """A row id names one row of one machine, so that a journal line needs nothing else."""
    ids = [row.id for row in ROWS]
    assert len(ids) == len(set(ids))
