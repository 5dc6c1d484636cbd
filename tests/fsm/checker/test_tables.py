"""The checks of a table by itself, and the mutants that they and the others must notice."""

from __future__ import annotations

from dataclasses import replace

import pytest

from fsm.application import APPLICATION, AppState
from fsm.checker.mutants import (
    check_mutants,
    check_reference_faults,
    killed_application,
    killed_job,
    killed_vm,
    mutants_of,
)
from fsm.checker.tables import VM_CLAIMS, check_spot_vm, check_table
from fsm.errors import IllegalTableError
from fsm.job import JOB
from fsm.spot_vm import SPOT_VM, VmState


def test_all_three_tables_are_whole() -> None:
    """Every cell is decided once, every row decides, every state is reached and can be left."""
    for check in (check_spot_vm(), check_table(APPLICATION), check_table(JOB)):
        assert check.findings == ()
        assert check.counts["cells"] > check.counts["rows"]


@pytest.mark.parametrize(
    ("without", "doubled", "finding"),
    [
        ("A22", None, "no row decides 'shutdown' in 'Processing' with no fact"),
        (None, "A36", "A36 and A99 decides 'exit' in 'Drained' with no fact"),
    ],
)
def test_enumeration_finds_what_counting_would_have_missed(
    without: str | None, doubled: str | None, finding: str
) -> None:
    """The cells are looked at one by one: a table that slipped past its constructor is caught here."""
    table = replace(APPLICATION)
    rows = [row for row in table.rows if row.id != without]
    if doubled is not None:
        rows.append(replace(table.row(doubled), id="A99"))
    object.__setattr__(table, "rows", tuple(rows))
    assert finding in [found.what for found in check_table(table).findings]


def test_a_state_that_nothing_leads_to_or_out_of_is_named() -> None:
    """Unreachable states and traps, each by name."""
    rows = tuple(
        replace(row, dest=AppState.OFFLINE) if row.dest is AppState.RECOVERING and row.id != "A1" else row
        for row in APPLICATION.rows
    )
    assert check_table(replace(APPLICATION, rows=rows)).ok  # Recovering is still reached by A1
    rows = tuple(replace(row, dest=None) if row.dest is AppState.DRAINED else row for row in APPLICATION.rows)
    assert "no row leads to 'Drained'" in [one.what for one in check_table(replace(APPLICATION, rows=rows)).findings]
    rows = tuple(replace(row, dest=None) if row.source == (AppState.OFFLINE,) else row for row in APPLICATION.rows)
    found = [one.what for one in check_table(replace(APPLICATION, rows=rows)).findings]
    assert "no row leads out of 'Offline', which is not final" in found
    object.__setattr__(table := replace(JOB), "final", (*JOB.final, JOB.initial))
    assert "a row leads out of the final state 'Received'" in [one.what for one in check_table(table).findings]


def test_each_claim_about_the_vm_is_needed() -> None:
    """Leaving any claim out lets a wrong table pass: none of them is idle."""
    wrong = []
    for mutant in mutants_of(SPOT_VM):
        try:
            wrong.append(mutant.build())
        except IllegalTableError:
            continue
    for left_out in VM_CLAIMS:
        kept = [claim for claim in VM_CLAIMS if claim is not left_out]
        full = {at for at, table in enumerate(wrong) if check_table(table, VM_CLAIMS).ok}
        assert full < {at for at, table in enumerate(wrong) if check_table(table, kept).ok}, left_out.name


def test_every_vm_mutant_dies_or_is_the_same_machine() -> None:
    """One survivor: a new max price leaves a stopped VM stopped, said in two ways."""
    check = check_mutants(SPOT_VM, killed_vm)
    assert check.findings == ()
    assert check.counts["the same machine"] == 1
    assert check.counts["mutants"] > 100


def test_every_application_mutant_dies_or_is_the_same_machine() -> None:
    """Two survivors, each a row that keeps the state, said in two ways."""
    check = check_mutants(APPLICATION, killed_application)
    assert check.findings == ()
    assert check.counts["the same machine"] == 2
    assert check.counts["mutants"] > 200


def test_every_job_mutant_dies_or_is_the_same_machine() -> None:
    """One survivor: a saved checkpoint keeps a job running, said in two ways."""
    check = check_mutants(JOB, killed_job)
    assert check.findings == ()
    assert check.counts["the same machine"] == 1
    assert check.counts["mutants"] > 200


def test_a_mutant_that_nothing_notices_is_a_finding() -> None:
    """The verdict on mutants is not a foregone one."""
    check = check_mutants(SPOT_VM, lambda _: None)
    assert not check.ok
    assert any("row E2, leads to 'Deleted'" in finding.what for finding in check.findings)


def test_the_right_tables_are_not_killed() -> None:
    """What kills a mutant does not kill the original."""
    assert killed_vm(SPOT_VM) is None
    assert killed_application(APPLICATION) is None
    assert killed_job(JOB) is None


def test_the_faults_of_the_reference_are_noticed() -> None:
    """A max price of -1 as a number, Deleted as an end, no way back from a withdrawn notice."""
    check = check_reference_faults()
    assert check.findings == ()
    assert len(check.notes) == 3
    assert all("always_comes_back" in note or "nothing leads" in note for note in check.notes)


def test_the_vm_s_claims_hold_for_the_table_in_use() -> None:
    """The claims are about the table that runs, with all its states."""
    assert set(SPOT_VM.states) == set(VmState)
    assert check_table(SPOT_VM, VM_CLAIMS).ok
