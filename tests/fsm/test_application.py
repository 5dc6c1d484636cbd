"""The application machine under any course of notices, stops, outages and evictions."""

from __future__ import annotations

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from fsm.application import APPLICATION, LIVE, ORIGIN_OF_ROW, WORKING, AppFact, AppState, AppTrigger, Origin
from fsm.engine import Engine
from fsm.table import Verdict

F, S, T = AppFact, AppState, AppTrigger
PRESENCES = {
    Origin.FRESH: frozenset[AppFact](),
    Origin.RECREATED: frozenset({F.SEEN_BEFORE}),
    Origin.REDEPLOYED: frozenset({F.SEEN_BEFORE, F.SAME_VM}),
    Origin.RESTARTED: frozenset({F.SEEN_BEFORE, F.SAME_VM, F.SAME_BOOT}),
    Origin.RESUMED: frozenset({F.SEEN_BEFORE, F.SAME_VM, F.SAME_BOOT, F.SAME_PROCESS}),
}


@pytest.mark.parametrize("origin", Origin)
def test_each_origin_is_told_from_the_presence_record(origin: Origin) -> None:
    """vmId, boot id and process tell the five ways of coming back apart, each by a row of its own."""
    row = APPLICATION.row_for(S.RECOVERING, T.RESUME, PRESENCES[origin] | {F.STORE_ANSWERED})
    assert ORIGIN_OF_ROW[row.id] is origin
    assert row.outcome.startswith(origin.value)


def test_every_way_of_resuming_has_an_origin() -> None:
    """No row leads from Recovering to WarmingUp without saying where the worker came from."""
    resumed = {row.id for row in APPLICATION.rows if row.trigger is T.RESUME and row.dest is S.WARMING_UP}
    assert resumed == set(ORIGIN_OF_ROW)
    assert set(ORIGIN_OF_ROW.values()) == set(Origin)


def test_without_a_store_every_start_is_a_fresh_one() -> None:
    """Without a store the presence is never found, and the store counts as answering: the worker resumes."""
    assert ORIGIN_OF_ROW[APPLICATION.row_for(S.RECOVERING, T.RESUME, {F.STORE_ANSWERED}).id] is Origin.FRESH


class WorkerLife(RuleBasedStateMachine):
    """A worker whose events come in any order, late and doubled, as its runner may put them."""

    def __init__(self) -> None:
        super().__init__()
        self.engine = Engine(APPLICATION)
        self.state = APPLICATION.initial
        self.journal: list[tuple[AppTrigger, frozenset[AppFact], str]] = []
        self.vm_running = self.notice = self.stop = False
        self.unsettled = 0

    def fire(self, trigger: AppTrigger, *facts: AppFact) -> None:
        """Put an event to the engine, with what holds at this moment."""
        signs = {F.VM_RUNNING: self.vm_running, F.NOTICE_PENDING: self.notice, F.STOP_REQUESTED: self.stop}
        held = frozenset({fact for fact, holds in signs.items() if holds} | set(facts))
        row = self.engine.fire(self.state, trigger, held)
        before, self.state = self.state, row.after(self.state)
        self.journal.append((trigger, held, row.id))
        assert (row.verdict is Verdict.TAKEN) or self.state is before
        if trigger is T.VM_GONE or (before in LIVE and self.state is S.OFFLINE):
            self.stop, self.unsettled = False, 0

    # -- the VM and its operator ---------------------------------------------------------------------------------------

    @initialize()
    def the_vm_comes_up(self) -> None:
        self.vm_running = True
        self.fire(T.RECOVER)

    @rule()
    def vm_goes(self) -> None:
        self.vm_running = self.notice = False
        self.fire(T.VM_GONE)

    @rule()
    def unit_starts(self) -> None:
        """At boot, after an exit, and sometimes twice."""
        self.vm_running = True
        self.fire(T.RECOVER)

    @precondition(lambda self: self.vm_running)
    @rule()
    def notice_comes(self) -> None:
        self.notice = True
        self.fire(T.SHUTDOWN)

    @rule()
    def notice_vanishes(self) -> None:
        self.notice = False
        self.fire(T.WITHDRAWN)

    @precondition(lambda self: self.state is not S.OFFLINE)
    @rule()
    def operator_stops(self) -> None:
        self.stop = True
        self.fire(T.SHUTDOWN)

    # -- the worker's own ----------------------------------------------------------------------------------------------

    @rule(answered=st.booleans(), origin=st.sampled_from(Origin))
    def store_is_asked(self, answered: bool, origin: Origin) -> None:
        self.fire(T.RESUME, *PRESENCES[origin], *([F.STORE_ANSWERED] if answered else []))

    @rule(healthy=st.booleans())
    def queue_is_tried(self, healthy: bool) -> None:
        self.fire(T.START, *([F.HEALTHY] if healthy else []))

    @precondition(lambda self: self.state is S.PROCESSING)
    @rule()
    def job_begins(self) -> None:
        self.unsettled += 1

    @precondition(lambda self: self.unsettled)
    @rule()
    def job_settles(self) -> None:
        self.unsettled -= 1
        if not self.unsettled:
            self.fire(T.DRAINED)

    @precondition(lambda self: not self.unsettled)
    @rule()
    def nothing_is_left(self) -> None:
        self.fire(T.DRAINED)

    @rule()
    def process_would_exit(self) -> None:
        self.fire(T.EXIT)

    # -- what always holds ---------------------------------------------------------------------------------------------

    @invariant()
    def nobody_works_without_a_vm(self) -> None:
        assert self.vm_running or self.state is S.OFFLINE

    @invariant()
    def nobody_works_on_once_reclaimed_or_stopped(self) -> None:
        assert not (self.state is S.PROCESSING and (self.notice or self.stop))

    @invariant()
    def a_drain_leaves_no_job(self) -> None:
        assert not self.unsettled or self.state in (S.PROCESSING, S.EVICTED)

    def teardown(self) -> None:
        """Replaying each event with its facts takes the same rows and ends in the same state."""
        state = APPLICATION.initial
        for trigger, held, row_id in self.journal:
            row = APPLICATION.row_for(state, trigger, held)
            assert row.id == row_id
            state = row.after(state)
        assert state is self.state

    @invariant()
    def work_comes_back(self) -> None:
        """Left in peace, the worker is in Processing after a handful of events, wherever it is now."""
        state, stop = self.state, self.stop
        for _ in range(8):
            trigger = {
                S.OFFLINE: T.RECOVER, S.RECOVERING: T.RESUME, S.WARMING_UP: T.START, S.EVICTED: T.DRAINED,
                S.DRAINED: T.EXIT if stop else T.WITHDRAWN, S.PROCESSING: T.SHUTDOWN,
            }[state if not (stop and state in WORKING) else S.PROCESSING]  # fmt: skip
            if state is S.PROCESSING and not stop:
                return
            held = {F.VM_RUNNING, F.STORE_ANSWERED, F.HEALTHY, *([F.STOP_REQUESTED] if stop else [])}
            state = APPLICATION.row_for(state, trigger, held).after(state)
            stop = stop and state is not S.OFFLINE
        raise AssertionError(f"from {self.state} the worker ends in {state}")


TestWorkerLife = WorkerLife.TestCase
