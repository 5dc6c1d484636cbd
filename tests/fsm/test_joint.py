"""The joint rules: each move decided once, and the three machines sound together in every world they can reach."""

from __future__ import annotations

from dataclasses import replace

import pytest

from fsm.application import APPLICATION, AppState, AppTrigger
from fsm.errors import IllegalTableError
from fsm.job import ENDED, JOB, JobFact, JobState, JobTrigger
from fsm.joint import (
    AFTER_APPLICATION,
    AFTER_JOB,
    AFTER_VM,
    Coupling,
    DropJobs,
    FireApplication,
    FireJobs,
    JointRow,
    facts_of_application,
    facts_of_vm,
)
from fsm.spot_vm import SPOT_VM, VmState
from fsm.table import FactT, StateT, TriggerT
from tests.fsm.joint_world import Explored, Taken, World, comes_back, explore, job_event
from tests.fsm.machines import ROWS


@pytest.fixture(scope="module")
def explored() -> Explored:
    return explore()


# -- the rules themselves ----------------------------------------------------------------------------------------------

VM_IN, VM_OUT = FireApplication(AppTrigger.RECOVER), FireApplication(AppTrigger.VM_GONE)
DRAINED = FireApplication(AppTrigger.DRAINED)
RULE_IDS = [
    *(rule.id for rule in AFTER_VM.rows),
    *(rule.id for rule in AFTER_APPLICATION.rows),
    *(rule.id for rule in AFTER_JOB.rows),
]


@pytest.mark.parametrize("state", VmState)
def test_a_vm_that_runs_starts_its_worker_and_takes_it_along(state: VmState) -> None:
    """Every row that leads into Running recovers the worker, every row out of it kills it, no other row does either."""
    for row in SPOT_VM.rows:
        if state in row.source:
            came = row.after(state) is VmState.RUNNING and state is not VmState.RUNNING
            went = state is VmState.RUNNING and row.after(state) is not VmState.RUNNING
            expected = (VM_IN,) if came else (VM_OUT,) if went else ()
            assert AFTER_VM.consequences(row, state, all_settled=True) == expected, row.id
            assert AFTER_VM.consequences(row, state, all_settled=False) == expected, row.id


@pytest.mark.parametrize("state", AppState)
def test_jobs_are_interrupted_by_a_drain_and_vanish_with_the_process(state: AppState) -> None:
    """Rows into Evicted interrupt what is unsettled, or end the drain at once; rows into Offline drop the jobs."""
    for row in APPLICATION.rows:
        if state in row.source:
            after = row.after(state)
            began_drain = after is AppState.EVICTED and state is not AppState.EVICTED
            gone = after is AppState.OFFLINE and state is not AppState.OFFLINE
            unsettled = (FireJobs(JobTrigger.INTERRUPT),) if began_drain else (DropJobs(),) if gone else ()
            settled = (DRAINED,) if began_drain else (DropJobs(),) if gone else ()
            assert AFTER_APPLICATION.consequences(row, state, all_settled=False) == unsettled, row.id
            assert AFTER_APPLICATION.consequences(row, state, all_settled=True) == settled, row.id


@pytest.mark.parametrize("state", JobState)
def test_the_last_settled_job_ends_a_drain(state: JobState) -> None:
    """A delivery that ends tells the application if it was the last; one that goes on, or had ended, tells nothing."""
    for row in JOB.rows:
        if state in row.source:
            ended = state not in ENDED and row.after(state) in ENDED
            assert AFTER_JOB.consequences(row, state, all_settled=True) == ((DRAINED,) if ended else ()), row.id
            assert AFTER_JOB.consequences(row, state, all_settled=False) == (), row.id


def every_move_is_decided_once(coupling: Coupling[StateT, TriggerT, FactT]) -> None:
    moves = coupling.moves()
    assert len(moves) == len(set(moves))
    for left, entered in moves:
        for all_settled in (False, True):
            rules = [rule for rule in coupling.rows if rule.matches(left, entered, all_settled=all_settled)]
            assert rules == [coupling.rule_for(left, entered, all_settled=all_settled)]


def test_every_move_is_decided_exactly_once() -> None:
    """Whatever a table can do to its state, one joint rule says what follows, settled or not."""
    every_move_is_decided_once(AFTER_VM)
    every_move_is_decided_once(AFTER_APPLICATION)
    every_move_is_decided_once(AFTER_JOB)


def test_staying_sets_nothing_off() -> None:
    """A row that keeps the state is decided by no joint rule: a second notice interrupts nobody a second time."""
    for state in AppState:
        assert AFTER_APPLICATION.rule_for(state, state, all_settled=False) is None
    again = APPLICATION.row("A23")
    assert AFTER_APPLICATION.consequences(again, AppState.EVICTED, all_settled=False) == ()


def test_rule_ids_are_unique_and_none_is_a_rows() -> None:
    """A joint rule's id in a journal cannot be taken for a row's, nor for another rule's."""
    rows = [row.id for row in ROWS]
    assert len({*RULE_IDS, *rows}) == len(RULE_IDS) + len(rows)


def test_shared_facts_are_the_other_machines_state() -> None:
    """A worker recovers on a running VM only, and nothing begins outside Processing."""
    assert {state for state in VmState if facts_of_vm(state)} == {VmState.RUNNING}
    assert {state for state in AppState if JobFact.DRAINING not in facts_of_application(state)} == {AppState.PROCESSING}


# -- illegal couplings -------------------------------------------------------------------------------------------------

EXTRA = JointRow[VmState](
    id="X", leaves=(VmState.STOPPED,), enters=(VmState.DELETED,), outcome="", why="a second rule for one move"
)
IDLE = JointRow[VmState](
    id="X", leaves=(VmState.DELETED,), enters=(VmState.STOPPED,), outcome="", why="no row makes this move"
)


def test_an_illegal_coupling_does_not_build() -> None:
    """A move decided twice, by nobody, or a rule without a move stops the coupling and is named."""
    with pytest.raises(IllegalTableError, match="C3 and X decides 'Stopped' to 'Deleted', not all settled"):
        Coupling(table=SPOT_VM, rows=(*AFTER_VM.rows, EXTRA))
    with pytest.raises(IllegalTableError, match="no rule decides 'Stopped' to 'Deleted', all settled"):
        Coupling(table=SPOT_VM, rows=AFTER_VM.rows[:2])
    with pytest.raises(IllegalTableError, match="rule X is about no move of the table"):
        Coupling(table=SPOT_VM, rows=(*AFTER_VM.rows, IDLE))
    with pytest.raises(IllegalTableError, match=r"joint rules of spot_vm.*rule id C1 stands twice"):
        Coupling(table=SPOT_VM, rows=(*AFTER_VM.rows, replace(IDLE, id="C1")))


# -- the joint space, explored to its end ------------------------------------------------------------------------------


def test_nobody_works_without_a_vm(explored: Explored) -> None:
    """Where the VM does not run, the worker is offline and holds no job."""
    for world in explored.worlds:
        if world.vm is not VmState.RUNNING:
            assert (world.app, world.jobs) == (AppState.OFFLINE, ()), world


def test_nobody_works_on_once_reclaimed_or_stopped(explored: Explored) -> None:
    """While a notice stands or a stop is wanted, no world has a worker in Processing."""
    for world in explored.worlds:
        assert not (world.app is AppState.PROCESSING and (world.notice or world.stop)), world


def test_jobs_live_in_processing_and_in_a_drain_only(explored: Explored) -> None:
    """A worker that holds a delivery is in Processing, or in a drain that has told the delivery to let go."""
    for world in explored.worlds:
        if world.jobs:
            assert world.app is AppState.PROCESSING or (world.app is AppState.EVICTED and world.interrupted), world


def test_nothing_begins_during_a_drain(explored: Explored) -> None:
    """Whatever the record says, no delivery goes from Received to Running while its worker drains."""
    draining = [world for world in explored.worlds if world.app is AppState.EVICTED and world.jobs]
    assert draining
    for world in draining:
        for at, state in enumerate(world.jobs):
            if state is JobState.RECEIVED:
                ready = frozenset({JobFact.CLAIMED, JobFact.FIRST_DELIVERY, JobFact.STORELESS})
                begun = job_event(world, at, JobTrigger.BEGIN, ready, Taken())
                assert begun.jobs.count(JobState.RUNNING) == world.jobs.count(JobState.RUNNING)


def test_work_always_comes_back(explored: Explored) -> None:
    """From every world there is, calm steps alone lead to a worker in Processing: no deadlock, no dead worker."""
    stuck = [world for world in explored.worlds if not comes_back(world)]
    assert stuck == []


def test_the_exploration_is_not_empty(explored: Explored) -> None:
    """Every row of the VM and of the application, every row of a live job, and every joint rule is used somewhere."""
    ended = {row.id for row in JOB.rows if set(row.source) <= set(ENDED)}
    assert explored.taken.rows == {row.id for row in ROWS} - ended
    assert explored.taken.rules == set(RULE_IDS)
    busy = World(vm=VmState.RUNNING, app=AppState.PROCESSING, jobs=(JobState.RECEIVED, JobState.RUNNING))
    assert busy in explored.worlds
