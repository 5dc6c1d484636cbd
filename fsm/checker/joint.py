"""VM, application and jobs together: every state they can reach, and the promises that concern states.

Theory of operation
-------------------
Nothing here decides. Each step is one event, put to one machine's table; what the joint rules set off is put to the
next. Late and doubled events are among the steps, because the tables must bear them. A notice or a stop is a fact that
stands until it is withdrawn or its process is gone.

Each step is judged as it is taken: what no event may do, and what no state may be. `fsm.checker.joint_search` takes
them all.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from itertools import chain, combinations, product
from typing import NamedTuple, assert_never

from fsm.application import APPLICATION, AppFact, AppState, AppTrigger
from fsm.job import ENDED, JOB, JobFact, JobState, JobTrigger
from fsm.joint import (
    AFTER_APPLICATION,
    AFTER_JOB,
    AFTER_VM,
    RECEIVING,
    Consequence,
    Coupling,
    DropJobs,
    FireApplication,
    FireJobs,
    JointRow,
    facts_of_application,
    facts_of_vm,
)
from fsm.promises import Promise
from fsm.spot_vm import SPOT_VM, VmFact, VmState, VmTrigger
from fsm.table import FactT, Table

VmTable = Table[VmState, VmTrigger, VmFact]
AppTable = Table[AppState, AppTrigger, AppFact]
JobTable = Table[JobState, JobTrigger, JobFact]
VmRules = tuple[JointRow[VmState], ...]
AppRules = tuple[JointRow[AppState], ...]
JobRules = tuple[JointRow[JobState], ...]


class Joint(NamedTuple):
    """Where everything stands.

    Attributes:
        notice: a reclaiming notice names the VM.
        stop: an operator wants the process to end.
        receiving: a receive is in flight.
        jobs: the deliveries that are not settled.
        told: the event that a joint rule put to them, as long as not all are settled.
    A delivery that has ended stays in hands until its last call is answered.
    """

    vm: VmState
    app: AppState
    notice: bool = False
    stop: bool = False
    receiving: bool = False
    jobs: tuple[JobState, ...] = ()
    told: JobTrigger | None = None

    @property
    def settled(self) -> bool:
        return not self.jobs and not self.receiving

    @property
    def wanted_gone(self) -> bool:
        return self.notice or self.stop


@dataclass(frozen=True, kw_only=True)
class Machines:
    """The three tables and what couples them.

    Raises:
        IllegalTableError: a table makes a move that no joint rule decides.
    """

    vm: VmTable = SPOT_VM
    application: AppTable = APPLICATION
    job: JobTable = JOB
    affordable: frozenset[VmFact] = frozenset({VmFact.AFFORDABLE, VmFact.CAPACITY_AVAILABLE})
    vm_rules: VmRules = AFTER_VM.rows
    application_rules: AppRules = AFTER_APPLICATION.rows
    job_rules: JobRules = AFTER_JOB.rows
    after_vm: Coupling[VmState, VmTrigger, VmFact] = field(init=False)
    after_application: Coupling[AppState, AppTrigger, AppFact] = field(init=False)
    after_job: Coupling[JobState, JobTrigger, JobFact] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "after_vm", Coupling(table=self.vm, rows=self.vm_rules))
        object.__setattr__(self, "after_application", Coupling(table=self.application, rows=self.application_rules))
        object.__setattr__(self, "after_job", Coupling(table=self.job, rows=self.job_rules))


CHAIN_MAX = 8
"""The joint rules set off three events in a row at most; more than this many is a chain without an end."""


class Turn:
    """One step: the state it leads to, the rows and rules taken, and the promises broken."""

    def __init__(self, machines: Machines, state: Joint, event: str) -> None:
        self._machines = machines
        self.state = state
        self.event = event
        self._depth = 0
        self.rows: list[str] = []
        self.said: list[str] = []
        self.breaches: list[tuple[str, str]] = []

    @property
    def line(self) -> str:
        """The step in words."""
        return "; ".join([self.event, *self.said]) + "."

    def vm(self, trigger: VmTrigger, facts: frozenset[VmFact]) -> None:
        before = self.state
        row = self._machines.vm.row_for(before.vm, trigger, facts)
        self._took("VM", row.id, row.outcome)
        after = before._replace(vm=row.after(before.vm))
        if after.vm is not VmState.RUNNING:
            after = after._replace(notice=False, stop=False)
        self.state = after
        self._ruled(self._machines.after_vm.rule_for(before.vm, after.vm, all_settled=before.settled))
        self._set_off(self._machines.after_vm.consequences(row, before.vm, all_settled=before.settled))
        if after.vm is VmState.RUNNING is not before.vm and self.state.app is AppState.OFFLINE:
            self._broke(Promise.ALWAYS_COMES_BACK, "the VM comes to run, and its worker is not started")

    def app(self, trigger: AppTrigger, facts: frozenset[AppFact] = frozenset()) -> None:
        before = self.state
        held = facts | facts_of_vm(before.vm)
        held |= {AppFact.NOTICE_PENDING} if before.notice else frozenset()
        held |= {AppFact.STOP_REQUESTED} if before.stop else frozenset()
        row = self._machines.application.row_for(before.app, trigger, held)
        self._took("application", row.id, row.outcome)
        after = before._replace(app=row.after(before.app))
        self._judge_app(before, after, trigger, facts)
        if after.app is AppState.OFFLINE and before.app is not AppState.OFFLINE:
            after = after._replace(stop=False, receiving=False)
        self.state = after
        coupling = self._machines.after_application
        self._ruled(coupling.rule_for(before.app, after.app, all_settled=before.settled))
        self._set_off(coupling.consequences(row, before.app, all_settled=before.settled))

    def job(self, at: int, trigger: JobTrigger, facts: frozenset[JobFact], *, let_go: bool = False) -> None:
        before = self.state
        was = before.jobs[at]
        row = self._machines.job.row_for(was, trigger, (facts - {JobFact.DRAINING}) | facts_of_application(before.app))
        self._took("job", row.id, row.outcome)
        now = row.after(was)
        if now is JobState.RUNNING and was is JobState.RECEIVED and before.app not in RECEIVING:
            self._broke(Promise.NO_WORK_AFTER_NOTICE, "a job begins while the worker is being drained")
        if let_go and was not in ENDED and now is not JobState.RELEASED:
            self._broke(Promise.RELEASED_AT_ONCE, "a job that is told to let go is not handed back")
        rest = before.jobs[:at] + before.jobs[at + 1 :]
        self.state = before._replace(jobs=tuple(sorted((*rest, now))))
        if now not in ENDED:
            self._set_off_by(self._machines.after_job.rule_for(was, now, all_settled=False))

    def settle(self, at: int) -> None:
        """An ended delivery's last call is answered: only now is its end put to the joint rules."""
        before = self.state
        jobs = before.jobs[:at] + before.jobs[at + 1 :]
        self.state = before._replace(jobs=jobs, told=before.told if jobs else None)
        rule = self._machines.after_job.rule_for(JobState.RUNNING, before.jobs[at], all_settled=self.state.settled)
        self._set_off_by(rule)

    def receive_answered(self, *, with_message: bool) -> None:
        """A receive's reply: a message, or none, which settles a drain that waited for nothing else."""
        jobs = tuple(sorted((*self.state.jobs, JobState.RECEIVED))) if with_message else self.state.jobs
        self.state = self.state._replace(receiving=False, jobs=jobs)
        if self.state.settled:
            self.app(AppTrigger.DRAINED)

    def _set_off_by(self, rule: JointRow[JobState] | None) -> None:
        self._ruled(rule)
        if rule is not None and rule.fires is not None:
            self._set_off((rule.fires,))

    def _set_off(self, consequences: tuple[Consequence, ...]) -> None:
        if self._depth > CHAIN_MAX:
            self._broke(Promise.ALWAYS_COMES_BACK, "the joint rules set each other off without an end")
            return
        self._depth += 1
        for consequence in consequences:
            match consequence:
                case FireApplication(trigger=trigger):
                    self.app(trigger)
                case FireJobs(trigger=job_trigger):
                    if self.state.app in RECEIVING:
                        self._broke(Promise.ALWAYS_COMES_BACK, "the jobs are told to let go, and nobody drains")
                    self.state = self.state._replace(told=job_trigger if self.state.jobs else None)
                case DropJobs():
                    if self.state.app is not AppState.OFFLINE:
                        self._broke(Promise.NOTHING_LOST, "the jobs are dropped by a worker that lives")
                    self.state = self.state._replace(jobs=(), receiving=False, told=None)
                case _:
                    assert_never(consequence)
        self._depth -= 1

    def _took(self, machine: str, row_id: str, outcome: str) -> None:
        self.rows.append(row_id)
        self.said.append(f"{machine} {row_id}, {outcome}")

    def _ruled(self, rule: object) -> None:
        rule_id = getattr(rule, "id", None)
        if isinstance(rule_id, str):
            self.rows.append(rule_id)

    def _broke(self, promise: str, what: str) -> None:
        self.breaches.append((promise, what))

    def _judge_app(self, before: Joint, after: Joint, trigger: AppTrigger, facts: frozenset[AppFact]) -> None:
        """What no event may do to the application."""
        if after.app is before.app:
            return
        ready = AppFact.HEALTHY in facts and not before.wanted_gone and before.app is AppState.WARMING_UP
        if after.app in RECEIVING and not ready:
            self._broke(Promise.NO_WORK_AFTER_NOTICE, "work begins though nothing has shown that it may")
        if after.app is AppState.OFFLINE and trigger not in (AppTrigger.EXIT, AppTrigger.VM_GONE):
            self._broke(Promise.ALWAYS_COMES_BACK, "the worker ends, and nobody asked it to")
        if trigger is AppTrigger.VM_GONE and before.vm is VmState.RUNNING:
            self._broke(Promise.ALWAYS_COMES_BACK, "the worker is gone with its VM, and the VM runs")
        if trigger is AppTrigger.EXIT and not before.settled:
            self._broke(Promise.DRAINED_IN_TIME, "the worker ends in good order with a job in its hands")

    def judge(self) -> None:
        """What no state may be, once all that was set off has happened."""
        state = self.state
        if state.app is not AppState.OFFLINE and state.vm is not VmState.RUNNING:
            self._broke(Promise.ROW_BY_ROW, "a worker lives on a VM that does not run")
        if not state.settled and state.app not in (*RECEIVING, AppState.EVICTED):
            self._broke(Promise.DRAINED_IN_TIME, f"a job is in the hands of a worker that is {state.app}")
        if state.settled and state.app is AppState.EVICTED:
            self._broke(Promise.DRAINED_IN_TIME, "the drain has nothing to wait for, and waits")
        if state.app in RECEIVING and state.wanted_gone:
            self._broke(Promise.NO_WORK_AFTER_NOTICE, "the worker works on after a notice")


Event = Callable[[Turn], None]
ANSWERED = frozenset({AppFact.STORE_ANSWERED})
KNOWN = (AppFact.SEEN_BEFORE, AppFact.SAME_VM, AppFact.SAME_BOOT, AppFact.SAME_PROCESS)


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """An event that can happen: its name in words, its effect, and whether it happens in calm.

    Attributes:
        calm: it happens sooner or later while nobody wants the VM gone.
        patient: it happens sooner or later even while somebody does.
        origin: for an answer of the store, how much it knows of this worker; it says the same each time.
    """

    name: str
    event: Event
    calm: bool = False
    patient: bool = False
    origin: int | None = None


def steps(machines: Machines, state: Joint, *, jobs_max: int) -> Iterator[Step]:
    """Everything that can happen."""
    yield from _vm_steps(machines, state)
    yield from _worker_steps(state)
    yield from _delivery_steps(machines, state, jobs_max=jobs_max)


def _vm_steps(machines: Machines, state: Joint) -> Iterator[Step]:
    for trigger in (VmTrigger.DEPLOY, VmTrigger.RESTART):
        event = partial(Turn.vm, trigger=trigger, facts=machines.affordable)
        yield Step(name=f"VM: {trigger}, all clear", event=event, calm=True)
    for trigger, facts in product(VmTrigger, _subsets(tuple(VmFact))):
        held = ", ".join(sorted(facts)) or "no fact"
        yield Step(name=f"VM: {trigger} ({held})", event=partial(Turn.vm, trigger=trigger, facts=facts))
    if state.vm is VmState.RUNNING and not state.notice:
        yield Step(name="a notice names the VM", event=partial(_wanted, notice=True))
    if state.vm is VmState.RUNNING and not state.stop:  # an early stop finds a process that has not yet recovered
        yield Step(name="the operator stops the worker", event=partial(_wanted, stop=True))
    if state.notice:
        yield Step(name="the notice is withdrawn", event=_withdrawn, calm=True)


def _wanted(turn: Turn, *, notice: bool = False, stop: bool = False) -> None:
    turn.state = turn.state._replace(notice=turn.state.notice or notice, stop=turn.state.stop or stop)
    turn.app(AppTrigger.SHUTDOWN)


def _withdrawn(turn: Turn) -> None:
    turn.state = turn.state._replace(notice=False)
    turn.app(AppTrigger.WITHDRAWN)


def _worker_steps(state: Joint) -> Iterator[Step]:
    """The worker's own events, at any time: answers come late, and events come twice."""

    def app(trigger: AppTrigger, facts: frozenset[AppFact] = frozenset()) -> Event:
        return lambda turn: turn.app(trigger, facts)

    yield Step(name="the process starts", event=app(AppTrigger.RECOVER), calm=True, patient=True)
    for depth in range(len(KNOWN) + 1):
        known = frozenset(KNOWN[:depth])
        name = f"the store answers ({', '.join(sorted(known)) or 'nothing known'})"
        yield Step(name=name, event=app(AppTrigger.RESUME, ANSWERED | known), calm=True, patient=True, origin=depth)
    yield Step(name="the store does not answer", event=app(AppTrigger.RESUME))
    yield Step(
        name="the queue answers", event=app(AppTrigger.START, frozenset({AppFact.HEALTHY})), calm=True, patient=True
    )
    yield Step(name="the queue does not answer", event=app(AppTrigger.START))
    wanted = state.wanted_gone
    yield Step(name="shut down", event=app(AppTrigger.SHUTDOWN), calm=wanted, patient=wanted)
    if state.settled:
        yield Step(name="drained", event=app(AppTrigger.DRAINED))
    yield Step(name="withdrawn, once more", event=app(AppTrigger.WITHDRAWN))
    yield Step(name="exit", event=app(AppTrigger.EXIT), calm=state.stop, patient=state.stop)


def _delivery_steps(machines: Machines, state: Joint, *, jobs_max: int) -> Iterator[Step]:
    if state.app in RECEIVING and not state.receiving and len(state.jobs) < jobs_max:
        yield Step(name="a receive is sent", event=_receive)
    if state.receiving:
        for brings in (False, True):
            name = "the receive brings a message" if brings else "the receive brings nothing"
            answered = partial(Turn.receive_answered, with_message=brings)
            yield Step(name=name, event=answered, calm=True, patient=True)
    for at, job in enumerate(state.jobs):
        if job in ENDED:
            yield Step(name=f"the {job} job is settled", event=partial(Turn.settle, at=at), calm=True, patient=True)
        elif state.told is not None:
            name = f"the {job} job lets go"
            let_go = partial(Turn.job, at=at, trigger=state.told, facts=frozenset(), let_go=True)
            yield Step(name=name, event=let_go, calm=True, patient=True)
        elif state.app is AppState.EVICTED:
            name = f"the {job} job, received late, is handed back"
            begin = partial(Turn.job, at=at, trigger=JobTrigger.BEGIN, facts=frozenset())
            yield Step(name=name, event=begin, calm=True, patient=True)
        for trigger in (one for one in JobTrigger if one is not JobTrigger.INTERRUPT or job in ENDED):
            for facts in _subsets(machines.job.facts_at(job, trigger)):
                held = ", ".join(sorted(facts)) or "no fact"
                event = partial(Turn.job, at=at, trigger=trigger, facts=facts)
                yield Step(name=f"the {job} job: {trigger} ({held})", event=event)


def _receive(turn: Turn) -> None:
    turn.state = turn.state._replace(receiving=True)


def _subsets(facts: tuple[FactT, ...]) -> Iterator[frozenset[FactT]]:
    sized = (combinations(facts, size) for size in range(len(facts) + 1))
    return (frozenset(held) for held in chain.from_iterable(sized))
