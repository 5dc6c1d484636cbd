"""Remembers what happened in a run, and turns it into a result."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from decimal import Decimal
from heapq import heapreplace
from itertools import pairwise

from fsm.application import APPLICATION, AppState
from fsm.job import JOB, JobState
from fsm.journal_kinds import Kind
from fsm.record import Record, Status
from simulator.journal import Entry
from simulator.machine import Machine
from simulator.observing import Observer, Run, RunEnd
from simulator.platform import Platform
from simulator.process import Process
from simulator.result import AppSpan, Costs, JobHistory, Mark, RunSpan, Summary, VmSpan
from simulator.scenario import Scenario
from simulator.workload import Workload
from simulator.world import World

MARKS = ("notice", "notice_gone", "freeze", "kill", "stop_sent", "clock_jump", "loop_blocked", "acknowledged")
_HOUR_US = 3_600_000_000


class Recorder(Observer):
    """Keeps runs, ends of messages and states of applications; forgets nothing until the result is made.

    Attributes:
        settled: how many messages have been deleted.
    """

    def __init__(self, world: World, workload: Workload) -> None:
        self._world = world
        self._workload = workload
        self._arrived: dict[str, float] = {}
        self._settled: dict[str, float] = {}
        self._runs: defaultdict[str, list[Run]] = defaultdict(list)
        self._applications: defaultdict[str, list[tuple[float, AppState, str]]] = defaultdict(list)
        self._ended: dict[str, float] = {}
        self._vm_of: dict[str, str] = {}
        self._marks: list[Mark] = []
        self._at_work: dict[int, Run] = {}
        self._abandoned = self._frozen_checkpoints = 0

    @property
    def settled(self) -> int:
        return len(self._settled)

    # -- what it sees -------------------------------------------------------------------------------------------------

    def enqueued(self, message_id: str) -> None:
        self._arrived[message_id] = self._world.clock.monotonic_s()

    def deleted(self, message_id: str) -> None:
        self._settled[message_id] = self._world.clock.monotonic_s()

    def run_began(self, run: Run) -> None:
        self._runs[run.job].append(run)
        self._at_work[id(run)] = run

    def run_ended(self, run: Run) -> None:
        del self._at_work[id(run)]

    def started(self, process: Process) -> None:
        self._vm_of[process.name] = process.vm_name

    def ended(self, process: Process) -> None:
        self._ended[process.name] = self._world.clock.monotonic_s()

    def noted(self, entry: Entry) -> None:
        if entry.kind == "row" and entry.fields["machine"] == APPLICATION.name:
            if entry.fields["from"] != entry.fields["to"]:
                state = AppState(entry.text("to"))
                self._applications[entry.process].append((entry.at_s, state, entry.text("row")))
        elif entry.kind == "row" and entry.fields["machine"] == JOB.name:
            self._abandoned += entry.fields["from"] != entry.fields["to"] == JobState.ABANDONED
        elif entry.kind in MARKS:
            self._marks.append(Mark(at_s=entry.at_s, source=entry.process, kind=entry.kind, fields=entry.fields))
            if entry.kind == Kind.FREEZE:
                self._frozen_checkpoints += sum(
                    run.saving and run.process.alive and run.process.vm_name == entry.fields["vm"]
                    for run in self._at_work.values()
                )

    # -- what it tells ------------------------------------------------------------------------------------------------

    def vm_spans(self, machines: Iterable[Machine], until_s: float) -> tuple[VmSpan, ...]:
        """The states of every VM, end to end."""
        spans = []
        for machine in machines:
            ends = [*(at_s for at_s, _, _ in machine.history[1:]), until_s]
            spans += [
                VmSpan(vm=machine.name, from_s=at_s, to_s=end_s, state=state, row=row)
                for (at_s, state, row), end_s in zip(machine.history, ends, strict=True)
                if end_s > at_s
            ]
        return tuple(spans)

    def app_spans(self, until_s: float) -> tuple[AppSpan, ...]:
        """The states of every worker process, end to end; the time after its end is nothing."""
        spans = []
        for process, entered in self._applications.items():
            last_s = self._ended.get(process, until_s)
            for (at_s, state, row), (end_s, _, _) in pairwise([*entered, (last_s, AppState.OFFLINE, "")]):
                if state is not AppState.OFFLINE and end_s > at_s:
                    spans.append(
                        AppSpan(vm=self._vm_of[process], process=process, from_s=at_s, to_s=end_s, state=state, row=row)
                    )
        return tuple(spans)

    @property
    def marks(self) -> tuple[Mark, ...]:
        return tuple(self._marks)

    def job_histories(self, until_s: float) -> tuple[JobHistory, ...]:
        """Every job, in the order of arrival."""
        histories = []
        for job, arrived_s in self._arrived.items():
            task, record = self._workload.tasks[job], self._record(job)
            histories.append(
                JobHistory(
                    job=job,
                    arrived_s=arrived_s,
                    settled_s=self._settled.get(job),
                    units=task.units,
                    unit_s=task.unit_s,
                    poison=task.poison,
                    poisoned=self._poisoned(job, record),
                    runs=tuple(_span(run, until_s) for run in self._runs[job]),
                    counts={} if record is None else asdict(record.counts),
                )
            )
        return tuple(histories)

    def _record(self, job: str) -> Record | None:
        return self._world.store.look(self._world.queue_name, job) if self._world.stored else None

    def _poisoned(self, job: str, record: Record | None) -> bool:
        if record is not None:
            return record.status is Status.POISONED
        finished = any(run.end is RunEnd.FINISHED for run in self._runs[job])
        return job in self._settled and not finished

    def summary(self, jobs: Sequence[JobHistory], platform: Platform, *, over_s: float, now_s: float) -> Summary:
        """The run in numbers; `over_s` is when the last job was settled."""
        poisoned = sum(job.poisoned for job in jobs)
        lost = sum(job.settled_s is None for job in jobs)
        useful_s = sum(job.units * job.unit_s for job in jobs if job.settled_s is not None and not job.poisoned)
        worked_s = sum((run.done - run.resumed_from) * job.unit_s + run.vain_s for job in jobs for run in job.runs)
        running_s = sum(machine.bill.running_s for machine in platform.machines)
        busy_s = _busy_s([run for job in jobs for run in job.runs], over_s)
        return Summary(
            jobs=len(jobs),
            completed=len(jobs) - poisoned - lost,
            poisoned=poisoned,
            lost=lost,
            misjudged=sum(job.settled_s is not None and job.poisoned != job.poison for job in jobs),
            makespan_s=over_s,
            evictions=platform.evictions,
            announced=platform.announced,
            withdrawn=platform.withdrawn,
            refusals=platform.operator.refusals,
            runs=sum(len(job.runs) for job in jobs),
            resumes=sum(run.resumed_from > 0 for job in jobs for run in job.runs),
            abandoned=self._abandoned,
            frozen_checkpoints=self._frozen_checkpoints,
            redone_s=max(0.0, worked_s - useful_s),
            useful_s=useful_s,
            running_s=running_s,
            idle_s=max(0.0, running_s - busy_s),
            simulated_s=now_s,
        )


def costs(scenario: Scenario, machines: Sequence[Machine], jobs: Sequence[JobHistory]) -> Costs:
    """What was paid, and what the jobs that counted would have taken and cost without Spot."""
    disks = min((plan.disks_usd_per_h for plan in scenario.vms), default=Decimal(0))
    regular_s = _undisturbed_s(jobs, scenario.worker.concurrency)
    return Costs(
        compute_usd=sum((machine.bill.compute_usd for machine in machines), Decimal(0)),
        disks_usd=sum((machine.bill.disks_usd for machine in machines), Decimal(0)),
        pay_as_you_go_usd=(scenario.pay_as_you_go_usd_per_h + disks) * round(regular_s * 1_000_000) / _HOUR_US,
        pay_as_you_go_s=regular_s,
    )


def _undisturbed_s(jobs: Sequence[JobHistory], concurrency: int) -> float:
    """When the last job that counted ends, if each begins in the order of arrival as soon as there is room for it."""
    room_from_s = [0.0] * concurrency
    for job in jobs:
        if job.settled_s is not None and not job.poisoned:
            begun_s = max(job.arrived_s, room_from_s[0])
            heapreplace(room_from_s, begun_s + job.units * job.unit_s)
    return max(room_from_s)


def _span(run: Run, until_s: float) -> RunSpan:
    return RunSpan(
        job=run.job,
        epoch=run.epoch,
        vm=run.process.vm_name,
        process=run.process.name,
        from_s=run.began_s,
        to_s=until_s if run.ended_s is None else run.ended_s,
        resumed_from=run.resumed_from,
        done=run.done,
        vain_s=run.vain_s,
        checkpoints=tuple(run.checkpoints),
        end=run.end,
    )


def _busy_s(runs: Iterable[RunSpan], until_s: float) -> float:
    """Time in which at least one handler ran, summed over VMs."""
    by_vm: defaultdict[str, list[tuple[float, float]]] = defaultdict(list)
    for run in runs:
        by_vm[run.vm].append((run.from_s, min(run.to_s, until_s)))
    busy_s = 0.0
    for spans in by_vm.values():
        covered_s = 0.0
        for from_s, to_s in sorted(spans):
            busy_s += max(0.0, to_s - max(from_s, covered_s))
            covered_s = max(covered_s, to_s)
    return busy_s
