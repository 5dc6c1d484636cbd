"""The promises, held against everything that can be seen of a run: one checker for each.

Checkers watch services, calls, replies, the journal, and how processes really ended. They never ask the worker. What
must never happen is noticed when it happens; what must happen in the end is asked when faults are over and the run is.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import ClassVar

from fsm.application import APPLICATION, AppFact
from fsm.errors import ConfigurationError, IllegalTransitionError
from fsm.job import JOB, JobState
from fsm.notices import EventsDocument, ScheduledEvent
from fsm.ports import Message
from fsm.promises import Promise
from fsm.record import DEATHS_MAX, FAILURES_MAX, Record, Status
from fsm.runner import WorkerSettings
from fsm.spot_vm import SPOT_VM
from fsm.table import FactT, StateT, Table, TriggerT
from simulator.journal import Entry
from simulator.network import Fault
from simulator.observing import Observer, Run, RunEnd
from simulator.process import Ending, Process
from simulator.work import Work
from simulator.world import World

TERMINAL = (Status.DONE, Status.POISONED)
NOTICE_S = 30.0
"""A Preempt that names no time is given this long."""
STARTED_S = 5.0
"""A reclaiming event that has started is given this long."""
DRAIN_S_MIN = 1.0
"""However late a notice is, a worker may use this long."""
RECLAIMING = ("Preempt", "Terminate", "Reboot", "Redeploy")
METADATA_PATIENCE_S = 300.0
"""A worker asks instance metadata for at least so long before it gives up."""
QUICK_S = 0.1
"""Of calls that travel for no longer than this, there and back, several fit into the shortest drain."""
GRACE_S = 1.0
"""Calls in flight at the deadline may take this long to be given up."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Violation:
    """A promise that was broken.

    Attributes:
        at_s: when it was noticed, in virtual seconds.
        what: one sentence.
    """

    promise: Promise
    at_s: float
    what: str

    def __str__(self) -> str:
        return f"{self.promise} at {self.at_s:.3f} s: {self.what}"


@dataclass(slots=True)
class Case:
    """What all checkers of a run share: the world they look at, and what they have found.

    Attributes:
        broken: called at the first violation.
        call_timeout_s: a worker waits no longer for a reply.
    """

    world: World
    work: Work
    broken: Callable[[], None]
    call_timeout_s: float = WorkerSettings().call_timeout_s
    violations: list[Violation] = field(default_factory=list)

    def note(self, promise: Promise, what: str) -> None:
        """A promise is broken."""
        self.violations.append(Violation(promise=promise, at_s=self.now_s, what=what))
        self.broken()

    def record(self, message_id: str) -> Record | None:
        return self.world.store.look(self.world.queue_name, message_id)

    @property
    def now_s(self) -> float:
        return self.world.clock.monotonic_s()


class Checker(Observer):
    """Watches for one promise."""

    promise: ClassVar[Promise]

    def __init__(self, case: Case) -> None:
        self.case = case

    def report(self, what: str) -> None:
        """Note that the promise is broken."""
        self.case.note(self.promise, what)


class NothingLost(Checker):
    """A message is deleted only when its end is safe, and every one that was put has exactly one end."""

    promise = Promise.NOTHING_LOST

    def __init__(self, case: Case) -> None:
        super().__init__(case)
        self._left: set[str] = set()
        self._put_aside: set[str] = set()
        self._finished: set[str] = set()
        self._calm_from_s: float | None = None

    def calmed(self, now_s: float) -> None:
        if self._calm_from_s is None:
            self._calm_from_s = now_s

    def enqueued(self, message_id: str) -> None:
        self._left.add(message_id)

    def put_aside(self, message_id: str) -> None:
        self._put_aside.add(message_id)

    def run_ended(self, run: Run) -> None:
        if run.end is RunEnd.FINISHED:
            self._finished.add(run.job)

    def deleted(self, message_id: str) -> None:
        self._left.discard(message_id)
        if not self.case.world.stored:
            if message_id not in self._finished and message_id not in self._put_aside:
                self.report(f"message {message_id} was deleted before its handler had finished")
            return
        record = self.case.record(message_id)
        if record is None or record.status not in TERMINAL:
            self.report(f"message {message_id} was deleted before its end was recorded")
        elif record.status is Status.POISONED and message_id not in self._put_aside:
            self.report(f"message {message_id} was deleted before it was put on the poison queue")

    def finished(self, now_s: float) -> None:
        left = sorted(self._left)
        if left and self.case.work.arrived and not self.case.violations:
            calm_s = 0.0 if self._calm_from_s is None else now_s - self._calm_from_s
            self.report(f"messages without an end after {calm_s:.0f} s of calm: {len(left)}, such as {left[0]}")
        for message_id in sorted(self._put_aside - self._left) if self.case.world.stored else ():
            record = self.case.record(message_id)
            if record is not None and record.status is Status.DONE:
                self.report(f"message {message_id} was completed and poisoned")


class NoEffectTwice(Checker):
    """A result is recorded once, and is the result of the whole work."""

    promise = Promise.NO_EFFECT_TWICE

    def __init__(self, case: Case) -> None:
        super().__init__(case)
        self._journaled: set[str] = set()

    def written(self, message_id: str, before: Record | None, after: Record) -> None:
        if before is not None and before.status in TERMINAL:
            self.report(f"the record of {message_id} was {before.status} and was written again, as {after.status}")
        if after.status is Status.DONE and not self.case.work.accepts(message_id, after.result):
            self.report(f"{message_id} was recorded with {after.result}, which is not what its whole work gives")

    def noted(self, entry: Entry) -> None:
        if entry.kind == "row" and entry.fields["row"] == "J21":
            job = entry.text("job")
            if job in self._journaled:
                self.report(f"{job} was journaled as recorded a second time, by {entry.process}")
            self._journaled.add(job)


class ProgressNeverBack(Checker):
    """Epochs and progress only rise, an epoch has one owner, and what a handler was told is saved is saved."""

    promise = Promise.PROGRESS_NEVER_BACK

    def written(self, message_id: str, before: Record | None, after: Record) -> None:
        if before is None:
            return
        if after.epoch < before.epoch:
            self.report(f"{message_id}: epoch {after.epoch} wrote over epoch {before.epoch}")
        elif after.epoch == before.epoch and after.owner != before.owner:
            self.report(f"{message_id}: epoch {after.epoch} has two owners")
        elif self.case.work.rank(message_id, after) < self.case.work.rank(message_id, before):
            self.report(f"{message_id}: progress {after.progress} wrote over {before.progress}")

    def run_saved(self, run: Run, units: int) -> None:
        if not self.case.world.stored:
            return
        record = self.case.record(run.job)
        if self.case.work.rank(run.job, record) < self.case.work.saved_rank(run, units):
            saved = None if record is None else record.progress
            self.report(f"{run.job}: checkpoint {units} was reported as saved, and {saved} is")


@dataclass(slots=True)
class Told:
    """What replies have told one process.

    Attributes:
        newest: the number of the newest reply that was read.
        standing: reclaiming events that name its VM.
        since_s: when the first of them was told.
        deadline_s: the earliest deadline they ever set.
    """

    newest: int = 0
    standing: frozenset[str] = frozenset()
    since_s: float = 0.0
    deadline_s: float = math.inf

    def hear(self, process: Process, number: int, document: EventsDocument, now_s: float) -> None:
        """Take a reply in; an older one that comes late says nothing."""
        if number < self.newest:
            return
        self.newest = number
        if not document.events:
            if self.standing:
                self.standing, self.deadline_s = frozenset(), math.inf
            return
        naming = [e for e in document.events if e.event_type in RECLAIMING and process.vm_name in e.resources]
        if naming and not self.standing:
            self.since_s, self.deadline_s = now_s, math.inf
        self.standing = frozenset(event.event_id for event in naming)
        for event in naming:
            self.deadline_s = min(self.deadline_s, max(now_s + DRAIN_S_MIN, self._deadline_s(process, event, now_s)))

    def _deadline_s(self, process: Process, event: ScheduledEvent, now_s: float) -> float:
        if event.started:
            return now_s + STARTED_S
        if event.not_before is None:
            return self.since_s + NOTICE_S
        return now_s + (event.not_before - process.clock.now()).total_seconds()


class NoWorkAfterNotice(Checker):
    """From a reply that names the VM for reclaiming until one that does not: no receive is sent, no handler begins."""

    promise = Promise.NO_WORK_AFTER_NOTICE

    def __init__(self, case: Case) -> None:
        super().__init__(case)
        self._told: defaultdict[Process, Told] = defaultdict(Told)

    def told(self, process: Process, number: int, document: EventsDocument) -> None:
        self._told[process].hear(process, number, document, self.case.now_s)

    def sent(self, process: Process, call: str) -> None:
        if call == "queue.receive" and self._told[process].standing:
            self.report(f"{process.name} sent a receive while {min(self._told[process].standing)} named its VM")

    def run_began(self, run: Run) -> None:
        if self._told[run.process].standing:
            self.report(
                f"{run.process.name} began {run.job} while {min(self._told[run.process].standing)} named its VM"
            )


class DrainedInTime(Checker):
    """After the deadline no handler runs and nothing is saved; an event is acknowledged only when all is settled."""

    promise = Promise.DRAINED_IN_TIME

    def __init__(self, case: Case) -> None:
        super().__init__(case)
        self._told: defaultdict[Process, Told] = defaultdict(Told)
        self._runs: defaultdict[Process, dict[int, Run]] = defaultdict(dict)
        self._unsettled: defaultdict[str, set[tuple[str, int]]] = defaultdict(set)

    def told(self, process: Process, number: int, document: EventsDocument) -> None:
        told = self._told[process]
        told.hear(process, number, document, self.case.now_s)
        if told.standing and self._late(process):
            for run in self._runs[process].values():
                self.report(f"{run.job} still runs in {process.name} after the deadline of its drain")

    def run_began(self, run: Run) -> None:
        self._runs[run.process][id(run)] = run

    def run_ended(self, run: Run) -> None:
        self._runs[run.process].pop(id(run), None)

    def sent(self, process: Process, call: str) -> None:
        if call == "store.write" and self._told[process].standing and self._late(process):
            self.report(f"{process.name} still writes after the deadline of its drain")

    def received(self, process: Process, messages: Sequence[Message]) -> None:
        self._unsettled[process.name].update((message.message_id, message.dequeue_count) for message in messages)

    def noted(self, entry: Entry) -> None:
        if entry.kind != "row" or entry.fields["machine"] != JOB.name:
            return
        if entry.fields["to"] not in (JobState.RECEIVED, JobState.RUNNING):
            self._unsettled[entry.process].discard((entry.text("job"), int(entry.fields.get("epoch") or 0)))

    def acknowledged(self, process: Process, event_id: str) -> None:
        if self._runs[process]:
            self.report(f"{process.name} acknowledged {event_id} while a handler was running")
        elif self._unsettled[process.name] and not process.life.dead:
            self.report(f"{process.name} acknowledged {event_id} while a job was unsettled")

    def _late(self, process: Process) -> bool:
        """Whether the deadline is over; a freeze since the notice excuses everything, nobody can drain in one."""
        told = self._told[process]
        return self.case.now_s > told.deadline_s + GRACE_S and process.life.thawed_s < told.since_s


class EvictionIsNotFailure(Checker):
    """Failures are counted for handlers that failed, deaths for processes that died, and each delivery at most once."""

    promise = Promise.EVICTION_IS_NOT_FAILURE

    def __init__(self, case: Case) -> None:
        super().__init__(case)
        self._failed: Counter[str] = Counter()
        self._held_by: defaultdict[str, set[Process]] = defaultdict(set)

    def received(self, process: Process, messages: Sequence[Message]) -> None:
        for message in messages:
            self._held_by[message.message_id].add(process)

    def run_ended(self, run: Run) -> None:
        if run.end is RunEnd.FAILED:
            self._failed[run.job] += 1

    def written(self, message_id: str, _before: Record | None, after: Record) -> None:
        counts, failed = after.counts, self._failed[message_id]
        if after.status is Status.POISONED and failed < FAILURES_MAX and counts.fruitless_deaths < DEATHS_MAX:
            self.report(f"{message_id} was poisoned after {failed} failures and {counts.fruitless_deaths} deaths")
        if counts.failures > failed:
            self.report(f"{message_id} has {counts.failures} failures on record, and failed {failed} times")
        if counts.deaths:
            died = sum(process.ending not in (None, Ending.EVICTED) for process in self._held_by[message_id])
            if counts.deaths > died:
                self.report(f"{message_id} has {counts.deaths} deaths on record, and {died} of its processes died")
        ended = counts.failures + counts.deaths + counts.evictions + counts.lapses + counts.stops
        if ended > after.epoch:
            self.report(f"{message_id} has {ended} ends on record in {after.epoch} deliveries")

    def deleted(self, message_id: str) -> None:
        self._failed.pop(message_id, None)
        self._held_by.pop(message_id, None)


class ReleasedAtOnce(Checker):
    """When a worker says that it is drained, no message it held is hidden any longer.

    What the queue leased to it counts from that moment on, whether it has read the reply or not. Messages are excused
    that failed by themselves: they pause; and processes whose calls were refused, lost or given up. Calls that were
    merely slow excuse those that were not done before the deadline, and messages whose lease ran out meanwhile; they
    excuse no more, for it is slow calls that show a wrong order of them.
    """

    promise = Promise.RELEASED_AT_ONCE

    def __init__(self, case: Case) -> None:
        super().__init__(case)
        self._held: defaultdict[str, dict[str, str]] = defaultdict(dict)
        self._holders: defaultdict[str, set[str]] = defaultdict(set)
        self._failed: defaultdict[str, set[str]] = defaultdict(set)
        self._disturbed: set[str] = set()
        self._slowed: set[str] = set()
        self._abandoned: defaultdict[str, set[str]] = defaultdict(set)
        self._told: defaultdict[str, Told] = defaultdict(Told)

    def told(self, process: Process, number: int, document: EventsDocument) -> None:
        self._told[process.name].hear(process, number, document, self.case.now_s)

    def leased(self, process: Process, messages: Sequence[Message]) -> None:
        for message in messages:
            self._held[process.name][message.message_id] = message.pop_receipt
            self._holders[message.message_id].add(process.name)
            self._failed[process.name].discard(message.message_id)
            self._abandoned[process.name].discard(message.message_id)

    def renewed(self, process: Process, message_id: str, receipt: str, _visibility_s: float) -> None:
        if message_id in self._held[process.name]:
            self._held[process.name][message_id] = receipt

    def run_ended(self, run: Run) -> None:
        if run.end is RunEnd.FAILED:
            self._failed[run.process.name].add(run.job)

    def deleted(self, message_id: str) -> None:
        for name in self._holders.pop(message_id, ()):
            if name in self._held:
                self._held[name].pop(message_id, None)

    def faulted(self, process: Process, call: str, fault: Fault) -> None:
        if call.startswith("events."):
            return
        spoilt = fault.refused or fault.replied or fault.arrived
        slow_s = fault.request_s + fault.reply_s
        if spoilt or slow_s > self.case.call_timeout_s:
            self._disturbed.add(process.name)
        elif slow_s > QUICK_S:
            self._slowed.add(process.name)

    def ended(self, process: Process) -> None:
        for kept in (self._held, self._failed, self._abandoned, self._told):
            kept.pop(process.name, None)

    def noted(self, entry: Entry) -> None:
        if entry.kind == "freeze":
            self._disturbed.update(name for name in self._held if name.startswith(f"{entry.fields['vm']}/"))
        if entry.kind != "row":
            return
        if entry.fields["machine"] == JOB.name and entry.fields["to"] == JobState.ABANDONED:
            self._abandoned[entry.process].add(entry.text("job"))
        if entry.fields["row"] in ("A26", "A27", "A28"):
            self._judge(entry)

    def _judge(self, entry: Entry) -> None:
        """A process says that it is drained."""
        held = self._held.pop(entry.process, {})
        slowed = entry.process in self._slowed
        if self._is_excused(entry):
            return
        for message_id, receipt in held.items():
            if slowed and message_id in self._abandoned[entry.process]:
                continue
            lease = self.case.world.queues.lease(message_id)
            if lease is None or lease.receipt != receipt or message_id in self._failed[entry.process]:
                continue
            if lease.visible_s > self.case.now_s:
                hidden_s = lease.visible_s - self.case.now_s
                self.report(f"{entry.process} is drained, and {message_id} stays hidden for {hidden_s:.1f} s")

    def _is_excused(self, entry: Entry) -> bool:
        """Whether this process cannot be held to it in the drain that has just ended."""
        disturbed, slowed = entry.process in self._disturbed, entry.process in self._slowed
        self._disturbed.discard(entry.process)
        self._slowed.discard(entry.process)
        told = self._told[entry.process]
        early = told.standing and self.case.now_s < told.deadline_s - QUICK_S
        stopping = AppFact.STOP_REQUESTED in entry.text("facts").split(", ")  # then its grace may be the deadline
        return disturbed or (slowed and (stopping or not early))


class RowByRow(Checker):
    """Every row in the journal is what its table decides, from where the last one led; effects follow their row."""

    promise = Promise.ROW_BY_ROW

    def __init__(self, case: Case) -> None:
        super().__init__(case)
        self._states: defaultdict[tuple[str, str], dict[str, str]] = defaultdict(dict)
        self._ended: set[str] = set()

    def noted(self, entry: Entry) -> None:
        if entry.kind != "row":
            return
        machine = str(entry.fields["machine"])
        fault = _ROW_FAULT[machine](entry)
        if fault:
            self.report(f"{entry.process}: row {entry.fields['row']} of {machine}: {fault}")
        states = self._states[machine, entry.process]
        one = entry.text("vm") or _delivery(entry.text("job"), entry.fields.get("epoch", ""))
        known = states.get(one, _INITIAL[machine])
        if entry.fields["from"] != known:
            self.report(
                f"{entry.process}: row {entry.fields['row']} of {machine} leaves {entry.fields['from']}, not {known}"
            )
        after = states[one] = str(entry.fields["to"])
        if machine == JOB.name and after in (JobState.COMPLETED, JobState.POISONED):
            self._ended.add(entry.text("job"))

    def deleted(self, message_id: str) -> None:
        if self.case.world.stored and message_id not in self._ended:
            self.report(f"message {message_id} was deleted, and no row says that it has ended")
        self._ended.discard(message_id)

    def run_began(self, run: Run) -> None:
        state = self._states[JOB.name, run.process.name].get(_delivery(run.job, run.epoch))
        if state != JobState.RUNNING:
            self.report(f"{run.job} begins in epoch {run.epoch}, and its last row leads to {state}")

    def ended(self, process: Process) -> None:
        for machine in (APPLICATION.name, JOB.name):
            self._states.pop((machine, process.name), None)


class AlwaysComesBack(Checker):
    """No worker crashes, none stops working unless a reply named its VM, and in a calm world each asks for work.

    A worker may give up on instance metadata that was silent for minutes, for its unit starts it again. Queue and store
    are there in every world: about those it has no reason to.
    """

    promise = Promise.ALWAYS_COMES_BACK

    def __init__(self, case: Case) -> None:
        super().__init__(case)
        self._told: defaultdict[str, Told] = defaultdict(Told)
        self._started_s: dict[str, float] = {}
        self.asked: set[str] = set()

    def started(self, process: Process) -> None:
        self._started_s[process.name] = self.case.now_s

    def told(self, process: Process, number: int, document: EventsDocument) -> None:
        self._told[process.name].hear(process, number, document, self.case.now_s)

    def sent(self, process: Process, call: str) -> None:
        if call == "queue.receive":
            self.asked.add(process.vm_name)

    def calmed(self, _now_s: float) -> None:
        self.asked.clear()

    def ended(self, process: Process) -> None:
        if process.ending is Ending.CRASHED or (process.ending is Ending.GAVE_UP and not self._in_vain(process)):
            self.report(f"{process.name} {process.ending}: {process.error!r}")

    def _in_vain(self, process: Process) -> bool:
        """Whether it asked instance metadata for as long as it has to."""
        about_metadata = isinstance(process.error, ConfigurationError) and process.error.setting == "--imds"
        return about_metadata and self.case.now_s - self._started_s[process.name] >= METADATA_PATIENCE_S

    def noted(self, entry: Entry) -> None:
        if entry.kind == "row" and entry.fields["row"] == "A20" and not self._told[entry.process].standing:
            self.report(f"{entry.process} stopped working, and no reply had named its VM")


def _delivery(job: str, epoch: object) -> str:
    return f"{job} {epoch}"


ALL_CHECKERS: tuple[type[Checker], ...] = (
    NothingLost,
    NoEffectTwice,
    ProgressNeverBack,
    NoWorkAfterNotice,
    DrainedInTime,
    EvictionIsNotFailure,
    ReleasedAtOnce,
    RowByRow,
    AlwaysComesBack,
)
"""One for each promise."""
NEED_A_STORE = frozenset({Promise.NO_EFFECT_TWICE, Promise.PROGRESS_NEVER_BACK, Promise.EVICTION_IS_NOT_FAILURE})


def checkers_for(case: Case) -> tuple[Checker, ...]:
    """The checkers whose promise's conditions this world meets."""
    return tuple(checker(case) for checker in ALL_CHECKERS if case.world.stored or checker.promise not in NEED_A_STORE)


def _faults_under(table: Table[StateT, TriggerT, FactT]) -> Callable[[Entry], str]:
    """What is wrong with a row entry, judged by its table; the empty text for nothing."""
    seen: dict[tuple[object, ...], str] = {}

    def judge(entry: Entry) -> str:
        try:
            state, trigger = table.states(entry.text("from")), table.triggers(entry.text("trigger"))
            facts = {table.facts(fact) for fact in entry.text("facts").split(", ") if fact}
            row = table.row_for(state, trigger, facts)
        except (ValueError, IllegalTransitionError) as exc:
            return str(exc)
        said = (entry.fields["row"], entry.fields["to"], entry.fields["verdict"])
        decided = (row.id, row.after(state).value, row.verdict.value)
        return "" if said == decided else f"the table decides {decided}"

    def judged_before(entry: Entry) -> str:
        fields = entry.fields
        key = (fields["row"], fields["from"], fields["to"], fields["trigger"], fields["facts"], fields["verdict"])
        fault = seen.get(key)
        if fault is None:
            fault = seen[key] = judge(entry)
        return fault

    return judged_before


_ROW_FAULT = {
    APPLICATION.name: _faults_under(APPLICATION),
    JOB.name: _faults_under(JOB),
    SPOT_VM.name: _faults_under(SPOT_VM),
}
_INITIAL = {
    APPLICATION.name: APPLICATION.initial.value,
    JOB.name: JOB.initial.value,
    SPOT_VM.name: SPOT_VM.initial.value,
}
