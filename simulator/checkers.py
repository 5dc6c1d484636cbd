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

from fsm.application import APPLICATION, AppFact, AppState
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
POLL_PATIENCE_S = 2.0
"""A poll that is not answered delays the next one by no more than this, however often they are due."""
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
        imds_poll_s: how often it asks for Scheduled Events.
    """

    world: World
    work: Work
    broken: Callable[[], None]
    call_timeout_s: float = WorkerSettings().call_timeout_s
    imds_poll_s: float = WorkerSettings().imds_poll_s
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
        first_s: when each of them was told first.
        since_s: when the first of them was told.
        deadline_s: the earliest deadline they ever set.
    """

    newest: int = 0
    standing: frozenset[str] = frozenset()
    first_s: dict[str, float] = field(default_factory=dict)
    since_s: float = 0.0
    deadline_s: float = math.inf

    def hear(self, process: Process, number: int, document: EventsDocument, now_s: float) -> None:
        """Take a reply in; an older one that comes late says nothing."""
        if number < self.newest:
            return
        self.newest = number
        if not document.events:
            if self.standing:
                self.standing, self.first_s, self.deadline_s = frozenset(), {}, math.inf
            return
        naming = [e for e in document.events if e.event_type in RECLAIMING and _names(e, process.vm_name)]
        if naming and not self.standing:
            self.since_s, self.deadline_s = now_s, math.inf
        self.first_s = {event.event_id: self.first_s.get(event.event_id, now_s) for event in naming}
        self.standing = frozenset(self.first_s)
        for event in naming:
            self.deadline_s = min(self.deadline_s, max(now_s + DRAIN_S_MIN, self._deadline_s(process, event, now_s)))

    def _deadline_s(self, process: Process, event: ScheduledEvent, now_s: float) -> float:
        if event.started:
            return now_s + STARTED_S
        if event.not_before is None:
            return self.first_s[event.event_id] + NOTICE_S
        return now_s + (event.not_before - process.clock.now()).total_seconds()


def _names(event: ScheduledEvent, vm_name: str) -> bool:
    """Whether the event names the VM, however it is spelt; a longer or a shorter name is another VM's."""
    return any(name.casefold() == vm_name.casefold() for name in event.resources)


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
    """After the deadline no handler runs and nothing is saved; an event is acknowledged only when all is settled.

    And whoever is to drain must know of it: from its start to its end a worker asks for Scheduled Events all the time,
    whatever becomes of its polls.
    """

    promise = Promise.DRAINED_IN_TIME

    def __init__(self, case: Case) -> None:
        super().__init__(case)
        self._told: defaultdict[Process, Told] = defaultdict(Told)
        self._runs: defaultdict[Process, dict[int, Run]] = defaultdict(dict)
        self._unsettled: defaultdict[str, set[tuple[str, int]]] = defaultdict(set)
        self._asked_s: dict[str, float] = {}
        self._ask_within_s = max(case.imds_poll_s, POLL_PATIENCE_S) + QUICK_S

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
        asked_s = self._asked_s.get(process.name)
        if asked_s is None:  # it does not know yet who it is, or has come to its end
            return
        silent_s = self.case.now_s - max(asked_s, process.life.thawed_s)
        if silent_s > self._ask_within_s:
            self.report(f"{process.name} has not asked for Scheduled Events for {silent_s:.1f} s")
        if call == "events.poll" or silent_s > self._ask_within_s:  # it is told once
            self._asked_s[process.name] = self.case.now_s

    def received(self, process: Process, messages: Sequence[Message]) -> None:
        self._unsettled[process.name].update((message.message_id, message.dequeue_count) for message in messages)

    def noted(self, entry: Entry) -> None:
        if entry.kind != "row":
            return
        if entry.fields["machine"] == APPLICATION.name:
            if entry.fields["to"] == AppState.OFFLINE:
                self._asked_s.pop(entry.process, None)
            else:
                self._asked_s.setdefault(entry.process, self.case.now_s)
        elif entry.fields["machine"] == JOB.name and entry.fields["to"] not in (JobState.RECEIVED, JobState.RUNNING):
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


@dataclass(slots=True)
class Held:
    """A delivery, as the queue and the process that it went to know it.

    Attributes:
        receipt: the newest that the process knows.
        handed_back: the process was told that the message is visible again.
        lapsed: the lease was over while the process lived, or its only receipt was lost.
        unsaved: the process ended though calls had failed it, or with a handler that would not let go.
    """

    process: Process
    receipt: str
    handed_back: bool = False
    lapsed: bool = False
    unsaved: bool = False

    @property
    def may_be_death(self) -> bool:
        """Whether a claim that it left open may be counted as a death.

        One that lapsed before its process ended by itself cannot be told from one whose process died.
        """
        match self.process.ending:
            case Ending.DIED | Ending.CRASHED:
                return True
            case Ending.STOPPED | Ending.GAVE_UP:
                return self.lapsed or self.unsaved
            case _:
                return False


class EvictionIsNotFailure(Checker):
    """Failures are counted for handlers that failed, deaths for processes that died, and each delivery at most once.

    The claim that is counted as a death names its delivery, and the queue knows which process that was given to. Of a
    stop it is asked that it leaves no claim open, unless the calls of its process had failed it, or were slow.
    """

    promise = Promise.EVICTION_IS_NOT_FAILURE

    def __init__(self, case: Case) -> None:
        super().__init__(case)
        self._failed: Counter[str] = Counter()
        self._fruitless: Counter[str] = Counter()
        self._held: defaultdict[str, dict[int, Held]] = defaultdict(dict)
        self._holding: defaultdict[Process, dict[str, Held]] = defaultdict(dict)
        self._runs: defaultdict[Process, Counter[str]] = defaultdict(Counter)
        self._disturbed: set[Process] = set()

    # -- which process has what ---------------------------------------------------------------------------------------

    def leased(self, process: Process, messages: Sequence[Message]) -> None:
        for message in messages:
            deliveries = self._held[message.message_id]
            for earlier in deliveries.values():
                earlier.lapsed |= earlier.process.alive and not earlier.handed_back
            held = Held(process=process, receipt=message.pop_receipt)
            deliveries[message.dequeue_count] = self._holding[process][message.message_id] = held

    def renewed(self, process: Process, message_id: str, receipt: str, visibility_s: float) -> None:
        held = self._holding[process].get(message_id)
        if held is not None:
            held.receipt, held.handed_back = receipt, visibility_s == 0

    def faulted(self, process: Process, call: str, fault: Fault) -> None:
        if call.startswith(("queue.", "store.")) and (_spoilt(fault) or fault.request_s + fault.reply_s > QUICK_S):
            self._disturbed.add(process)

    def noted(self, entry: Entry) -> None:
        if entry.kind == "freeze":
            self._disturbed.update(p for p in self._holding if p.vm_name == entry.fields["vm"] and p.alive)

    def ended(self, process: Process) -> None:
        disturbed, runs = process in self._disturbed, self._runs.pop(process, Counter())
        for message_id, held in self._holding.pop(process, {}).items():
            held.unsaved = disturbed or runs[message_id] > 0
            lease = self.case.world.queues.lease(message_id)
            if lease is not None and not held.handed_back:
                held.lapsed |= lease.visible_s <= self.case.now_s or lease.receipt != held.receipt
            self._judge_stop(message_id, held)
        self._disturbed.discard(process)

    def run_began(self, run: Run) -> None:
        self._runs[run.process][run.job] += 1

    def run_ended(self, run: Run) -> None:
        self._runs[run.process][run.job] -= 1
        if run.end is RunEnd.FAILED:
            self._failed[run.job] += 1

    # -- what is counted ----------------------------------------------------------------------------------------------

    def written(self, message_id: str, before: Record | None, after: Record) -> None:
        self._judge_deaths(message_id, before, after)
        counts, failed, fruitless = after.counts, self._failed[message_id], self._fruitless[message_id]
        if after.status is Status.POISONED and failed < FAILURES_MAX and fruitless < DEATHS_MAX:
            self.report(f"{message_id} was poisoned after {failed} failures and {fruitless} deaths without progress")
        if counts.failures > failed:
            self.report(f"{message_id} has {counts.failures} failures on record, and failed {failed} times")
        if counts.fruitless_deaths > fruitless:
            self.report(
                f"{message_id} has {counts.fruitless_deaths} deaths on record since its last progress, not {fruitless}"
            )
        ended = counts.failures + counts.deaths + counts.evictions + counts.lapses + counts.stops
        if ended > after.epoch:
            self.report(f"{message_id} has {ended} ends on record in {after.epoch} deliveries")

    def _judge_deaths(self, message_id: str, before: Record | None, after: Record) -> None:
        """Take a death that this write counts in, and see whether the process that claimed last has died."""
        if before is None:
            if after.counts.deaths:
                self.report(f"{message_id} has {after.counts.deaths} deaths on record, and nobody had claimed it")
            return
        died = after.counts.deaths - before.counts.deaths
        self._fruitless[message_id] += died
        if after.progress != before.progress:
            self._fruitless[message_id] = 0
        held = self._held[message_id].get(before.epoch)
        if died > 1 or (died and (held is None or not held.may_be_death)):
            ending = "nobody" if held is None else f"{held.process.name}, which {held.process.ending or 'lives'}"
            self.report(f"{died} deaths of {message_id} were counted; epoch {before.epoch} was held by {ending}")

    def _judge_stop(self, message_id: str, held: Held) -> None:
        """A process that ended by itself leaves no claim that the next one would take for that of a dead process."""
        if held.process.ending is not Ending.STOPPED or held.may_be_death:
            return
        record = self.case.record(message_id)
        if record is not None and record.status is Status.OPEN and self._held[message_id].get(record.epoch) is held:
            self.report(f"{held.process.name} stopped in good order, and its claim of {message_id} stays open")

    def deleted(self, message_id: str) -> None:
        for kept in (self._failed, self._fruitless, self._held):
            kept.pop(message_id, None)


class ReleasedAtOnce(Checker):
    """When a worker says that it is drained, no message it held is hidden any longer.

    What the queue leased to it counts from that moment on, whether it has read the reply or not. Messages are excused
    that failed by themselves: they pause; and processes whose calls were refused, lost or given up. Calls that were
    merely slow excuse those that were not done before the deadline, and messages whose lease ran out meanwhile; they
    excuse no more, for it is slow calls that show a wrong order of them. The deadline is the earliest of this drain:
    a notice that vanishes and stands again gives a drain that is on no more time.
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
        self._due_s: defaultdict[str, float] = defaultdict(lambda: math.inf)

    def told(self, process: Process, number: int, document: EventsDocument) -> None:
        told = self._told[process.name]
        told.hear(process, number, document, self.case.now_s)
        if told.standing:
            self._due_s[process.name] = min(self._due_s[process.name], told.deadline_s)

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
        slow_s = fault.request_s + fault.reply_s
        if _spoilt(fault) or slow_s > self.case.call_timeout_s:
            self._disturbed.add(process.name)
        elif slow_s > QUICK_S:
            self._slowed.add(process.name)

    def ended(self, process: Process) -> None:
        for kept in (self._held, self._failed, self._abandoned, self._told, self._due_s):
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
        if entry.fields["machine"] == APPLICATION.name and entry.fields["to"] == AppState.RECOVERING:
            told = self._told[entry.process]
            self._due_s[entry.process] = told.deadline_s if told.standing else math.inf

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
        early = self._told[entry.process].standing and self.case.now_s < self._due_s[entry.process] - QUICK_S
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


def _spoilt(fault: Fault) -> bool:
    """Whether a call was refused or got no reply of its own, however quick it was."""
    return fault.refused is not None or fault.replied is not None or fault.arrived is not None


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
