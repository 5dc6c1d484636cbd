"""VM, application and jobs together: the promises that concern states, in every state there is."""

from __future__ import annotations

from dataclasses import replace

import pytest

from fsm.application import APPLICATION, AppRow, AppState
from fsm.checker.joint import Machines
from fsm.checker.joint_search import check_joint, explore_joint
from fsm.checker.report import Finding
from fsm.job import JOB, JobState
from fsm.promises import Promise


def test_every_promise_about_states_holds_and_every_row_is_taken() -> None:
    """Safety in every state, liveness from every state, and nothing in the tables that stands for nothing."""
    check = check_joint()
    assert check.findings == ()
    assert check.counts["states"] > 100


def changed(row_id: str, dest: AppState | None) -> Machines:
    """The machines with one row of the application leading elsewhere."""
    rows: tuple[AppRow, ...] = tuple(replace(row, dest=dest) if row.id == row_id else row for row in APPLICATION.rows)
    return Machines(application=replace(APPLICATION, rows=rows))


def found(machines: Machines) -> dict[str, Finding]:
    return {finding.promise: finding for finding in explore_joint(machines).findings}


@pytest.mark.parametrize(
    ("row_id", "dest", "promise"),
    [
        ("A28", AppState.DRAINED, Promise.ALWAYS_COMES_BACK),
        ("A26", AppState.RECOVERING, Promise.ALWAYS_COMES_BACK),
        ("A5", None, Promise.ALWAYS_COMES_BACK),
        ("A20", None, Promise.NO_WORK_AFTER_NOTICE),
    ],
)
def test_a_wrong_row_breaks_the_promise_it_serves(row_id: str, dest: AppState | None, promise: Promise) -> None:
    """Each wrong turn shows as the promise that a user would miss."""
    assert promise in found(changed(row_id, dest))


def test_what_never_comes_back_is_told_with_its_dead_end_or_its_circle() -> None:
    """The trace of what fails to happen says how things stand at its end, or which steps come again and again."""
    dead_end = found(changed("A28", AppState.DRAINED))[Promise.ALWAYS_COMES_BACK]
    assert dead_end.trace[-1] == (
        "From here nothing happens by itself: the VM is Running, the application Drained, no job."
    )
    circle = found(changed("A26", AppState.RECOVERING))[Promise.ALWAYS_COMES_BACK]
    assert "it can go in circles" in circle.what
    assert circle.trace[-1] == "From here the last 2 steps can come again and again."
    assert [line.split(";")[0] for line in circle.trace[-3:-1]] == ["the store answers (nothing known)", "shut down"]


def test_a_job_that_begins_in_a_drain_is_told_step_by_step() -> None:
    """The trace starts at the very beginning and ends with the step that breaks the promise."""
    rows = tuple(replace(row, dest=JobState.RUNNING) if row.id == "J1" else row for row in JOB.rows)
    finding = found(Machines(job=replace(JOB, rows=rows)))[Promise.NO_WORK_AFTER_NOTICE]
    assert finding.trace[0].startswith("VM: Deploy")
    assert "job J1" in finding.trace[-1]
    assert any("application A13, work begins" in line for line in finding.trace)


def test_an_unused_row_is_reported() -> None:
    """With one delivery at a time, the rule for "others are still unsettled" has no use."""
    assert "C13" not in explore_joint(Machines(), jobs_max=1).taken
    assert "C13" in explore_joint(Machines(), jobs_max=2).taken
