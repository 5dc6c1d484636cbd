"""The joint rules: what a change of state in one machine sets off in another.

Theory of operation
-------------------
Three machines run side by side: the VM, the application on it, and one job machine for each delivery the application
holds. Each has its own table and knows nothing of the others. They are coupled here and nowhere else, by rows that
look at *moves*: a machine left one state and entered another. A row names the moves it is about and the event that
they set off in another machine, or none and the reason. The other machine's own table then decides what becomes of the
event; its answer may be a move again, and so on.

A row that changes no state sets nothing off. Every move that a table can make is decided by exactly one row here;
building a coupling that leaves one out, or decides one twice, raises.

A delivery is *settled* when its machine has ended and its last queue call was answered; only then is its ending put to
the rules here. A receive that is in flight counts as an unsettled delivery: what it brings is released unbegun.

Two facts of a machine are another machine's state, and `facts_of_vm` and `facts_of_application` say so.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Generic

from fsm.application import APPLICATION, LIVE, WORKING, AppFact, AppState, AppTrigger
from fsm.errors import IllegalTableError
from fsm.job import ENDED, JOB, JobFact, JobState, JobTrigger
from fsm.sources import REFERENCE, UPDATE_MESSAGE
from fsm.spot_vm import NOT_ALLOCATED, SPOT_VM, VmFact, VmState, VmTrigger
from fsm.table import FactT, Row, StateT, Table, TriggerT

RECEIVING = (AppState.PROCESSING,)
"""The states in which a receive may be sent: a job machine is born in no other way."""


@dataclass(frozen=True, slots=True)
class FireApplication:
    """Put this event to the application."""

    trigger: AppTrigger


@dataclass(frozen=True, slots=True)
class FireJobs:
    """Put this event to every delivery that is not settled."""

    trigger: JobTrigger


@dataclass(frozen=True, slots=True)
class DropJobs:
    """Every delivery is gone with its process: no row, no write, no call. Its lease lapses by itself."""


Consequence = FireApplication | FireJobs | DropJobs


class JointFact(StrEnum):
    """What the joint rows look at besides the move."""

    ALL_SETTLED = "all settled"
    """No delivery of this process is unsettled, and no receive is in flight."""


@dataclass(frozen=True, kw_only=True)
class JointRow(Generic[StateT]):
    """One joint rule.

    Attributes:
        id: stands in the journal beside the rows it sets off.
        leaves, enters: the moves it is about: from any of the former to any of the latter.
        when, unless: facts that must hold, and must not.
        fires: what it sets off, or None for nothing.
        outcome, why, rests_on: as in `fsm.table.Row`.
    """

    id: str
    leaves: tuple[StateT, ...]
    enters: tuple[StateT, ...]
    when: tuple[JointFact, ...] = ()
    unless: tuple[JointFact, ...] = ()
    fires: Consequence | None = None
    outcome: str
    why: str
    rests_on: str = ""

    def matches(self, left: StateT, entered: StateT, *, all_settled: bool) -> bool:
        """Whether the rule is about this move."""
        barred = self.unless if all_settled else self.when
        return left != entered and left in self.leaves and entered in self.enters and not barred


@dataclass(frozen=True, kw_only=True)
class Coupling(Generic[StateT, TriggerT, FactT]):
    """What the moves of one machine set off in the others.

    Raises:
        IllegalTableError: a move of the table that no rule or more than one decides, a doubled id, or a rule about no
            move at all.
    """

    table: Table[StateT, TriggerT, FactT]
    rows: tuple[JointRow[StateT], ...]

    def __post_init__(self) -> None:
        faults = tuple(self._faults())
        if faults:
            raise IllegalTableError(f"joint rules of {self.table.name}", faults)

    def consequences(
        self, row: Row[StateT, TriggerT, FactT], before: StateT, *, all_settled: bool
    ) -> tuple[Consequence, ...]:
        """What is to be fired in the other machines once this row was taken in state `before`."""
        decided = self.rule_for(before, row.after(before), all_settled=all_settled)
        return () if decided is None or decided.fires is None else (decided.fires,)

    def rule_for(self, left: StateT, entered: StateT, *, all_settled: bool) -> JointRow[StateT] | None:
        """The joint rule that decides this move; None where nothing moved."""
        for rule in self.rows:
            if rule.matches(left, entered, all_settled=all_settled):
                return rule
        return None

    def moves(self) -> tuple[tuple[StateT, StateT], ...]:
        """Every change of state that the table can make, in the order of its rows."""
        made = {
            (state, row.after(state)): None
            for row in self.table.rows
            for state in row.source
            if row.after(state) != state
        }
        return tuple(made)

    def _faults(self) -> Iterator[str]:
        ids = [rule.id for rule in self.rows]
        for doubled in sorted({rule_id for rule_id in ids if ids.count(rule_id) > 1}):
            yield f"rule id {doubled} stands twice"
        idle = set(ids)
        for left, entered in self.moves():
            for all_settled in (False, True):
                deciding = [rule.id for rule in self.rows if rule.matches(left, entered, all_settled=all_settled)]
                idle -= set(deciding)
                if len(deciding) != 1:
                    named = " and ".join(deciding) or "no rule"
                    settled = "all settled" if all_settled else "not all settled"
                    yield f"{named} decides {str(left)!r} to {str(entered)!r}, {settled}"
        for rule_id in sorted(idle):
            yield f"rule {rule_id} is about no move of the table"


A, V, J = AppState, VmState, JobState
VmRule, AppRule, JobRule = JointRow[VmState], JointRow[AppState], JointRow[JobState]
ALL_SETTLED = (JointFact.ALL_SETTLED,)

AFTER_VM: Coupling[VmState, VmTrigger, VmFact] = Coupling(
    table=SPOT_VM,
    rows=(
        VmRule(
            id="C1", leaves=NOT_ALLOCATED, enters=(V.RUNNING,), fires=FireApplication(AppTrigger.RECOVER),
            outcome="the worker is started", why="its unit starts it at every boot, without a human",
            rests_on=REFERENCE.says("the orchestration"),
        ),
        VmRule(
            id="C2", leaves=(V.RUNNING,), enters=(V.STOPPED, V.DELETED), fires=FireApplication(AppTrigger.VM_GONE),
            outcome="the worker is killed with its VM", why="an eviction is a kill to whoever runs on the VM",
            rests_on="promise drained_in_time",
        ),
        VmRule(
            id="C3", leaves=(V.STOPPED,), enters=(V.DELETED,), outcome="nobody is there to notice",
            why="no process runs on a stopped VM",
        ),
    ),
)  # fmt: skip

AFTER_APPLICATION: Coupling[AppState, AppTrigger, AppFact] = Coupling(
    table=APPLICATION,
    rows=(
        AppRule(
            id="C4", leaves=WORKING, enters=(A.EVICTED,), unless=ALL_SETTLED, fires=FireJobs(JobTrigger.INTERRUPT),
            outcome="every job is interrupted, begun or not",
            why="what has not begun is handed back at once, what runs saves itself and lets go",
            rests_on="promise released_at_once",
        ),
        AppRule(
            id="C5", leaves=WORKING, enters=(A.EVICTED,), when=ALL_SETTLED, fires=FireApplication(AppTrigger.DRAINED),
            outcome="drained at once", why="without a job there is nothing to wait for",
            rests_on="promise drained_in_time",
        ),
        AppRule(
            id="C6", leaves=LIVE, enters=(A.OFFLINE,), fires=DropJobs(),
            outcome="the jobs vanish: their leases lapse, and their messages come back",
            why="a process that is gone writes nothing; after a drain there is no job left to vanish",
            rests_on="promise nothing_lost",
        ),
        AppRule(
            id="C7", leaves=(A.OFFLINE,), enters=(A.RECOVERING,), outcome="no job is there yet",
            why="a new process holds no delivery; what the last one left comes back by itself",
            rests_on="delivery protocol, rule 5",
        ),
        AppRule(
            id="C8", leaves=(A.RECOVERING,), enters=(A.WARMING_UP,), outcome="no job is there yet",
            why="nothing is received before the queue has answered", rests_on="delivery protocol, rule 5",
        ),
        AppRule(
            id="C9", leaves=(A.WARMING_UP,), enters=RECEIVING, outcome="receiving begins",
            why="jobs are born of messages, not of events", rests_on="delivery protocol, rule 1",
        ),
        AppRule(
            id="C10", leaves=(A.EVICTED,), enters=(A.DRAINED, A.RECOVERING), outcome="no job is left",
            why="a drain ends when every delivery is settled", rests_on="promise drained_in_time",
        ),
        AppRule(
            id="C11", leaves=(A.DRAINED,), enters=(A.RECOVERING,), outcome="no job is there yet",
            why="the drain left none, and nothing was received since", rests_on="promise no_work_after_notice",
        ),
    ),
)  # fmt: skip

AFTER_JOB: Coupling[JobState, JobTrigger, JobFact] = Coupling(
    table=JOB,
    rows=(
        JobRule(
            id="C12", leaves=(J.RECEIVED,), enters=(J.RUNNING,), outcome="the application does not change",
            why="a worker is working whether it holds one job or many",
        ),
        JobRule(
            id="C13", leaves=(J.RECEIVED, J.RUNNING), enters=ENDED, unless=ALL_SETTLED,
            outcome="others are still unsettled", why="a drain waits for the last",
            rests_on="promise released_at_once",
        ),
        JobRule(
            id="C14", leaves=(J.RECEIVED, J.RUNNING), enters=ENDED, when=ALL_SETTLED,
            fires=FireApplication(AppTrigger.DRAINED), outcome="the last job is settled",
            why="outside a drain the application's table ignores it: having no jobs is not a reason to stop",
            rests_on=UPDATE_MESSAGE.says("visibility 0 shows the message at once: only then is a release settled"),
        ),
    ),
)  # fmt: skip


# -- facts that are another machine's state ------------------------------------------------------------------------


def facts_of_vm(state: VmState) -> frozenset[AppFact]:
    """What the VM's state means to the application."""
    return frozenset({AppFact.VM_RUNNING}) if state is VmState.RUNNING else frozenset()


def facts_of_application(state: AppState) -> frozenset[JobFact]:
    """What the application's state means to its jobs: whoever is not in Processing begins nothing."""
    return frozenset() if state in RECEIVING else frozenset({JobFact.DRAINING})
