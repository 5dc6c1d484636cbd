"""What a run came to: everything a report needs, as values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal

from fsm.application import AppState
from fsm.ports import JsonScalar
from fsm.promises import Promise
from fsm.spot_vm import VmState
from simulator.checkers import Violation
from simulator.market import Moment
from simulator.observing import RunEnd
from simulator.scenario import Scenario


@dataclass(frozen=True, slots=True, kw_only=True)
class VmSpan:
    """A VM was in a state from one time to another; `row` of the Spot VM table took it there."""

    vm: str
    from_s: float
    to_s: float
    state: VmState
    row: str


@dataclass(frozen=True, slots=True, kw_only=True)
class AppSpan:
    """A worker process was in a state of the application table; `row` took it there."""

    vm: str
    process: str
    from_s: float
    to_s: float
    state: AppState
    row: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RunSpan:
    """One run of a job's handler.

    Attributes:
        resumed_from: units of work that were already saved.
        done: units done when it ended.
        vain_s: time spent on a unit that was not done in the end: the run was cut short in it, or it failed.
        checkpoints: when, and at how many units.
        end: how it ended; None for a run that was still on.
    """

    job: str
    epoch: int
    vm: str
    process: str
    from_s: float
    to_s: float
    resumed_from: int
    done: int
    vain_s: float
    checkpoints: tuple[tuple[float, int], ...]
    end: RunEnd | None


@dataclass(frozen=True, slots=True, kw_only=True)
class JobHistory:
    """All that became of one job.

    Attributes:
        arrived_s: when it was put on the queue.
        settled_s: when its message was deleted; None for never.
        units, unit_s: the work in it.
        poison: it always fails.
        poisoned: it ended on the poison queue.
        counts: what its record counts, by name; empty without a store.
    """

    job: str
    arrived_s: float
    settled_s: float | None
    units: int
    unit_s: float
    poison: bool
    poisoned: bool
    runs: tuple[RunSpan, ...]
    counts: Mapping[str, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Mark:
    """Something at a moment: a notice, its withdrawal, a freeze, a kill, a clock's jump."""

    at_s: float
    source: str
    kind: str
    fields: Mapping[str, JsonScalar]


@dataclass(frozen=True, slots=True, kw_only=True)
class Costs:
    """What a run cost by the Spot VM table's billing.

    Attributes:
        compute_usd, disks_usd: for all VMs until the last job was settled.
        pay_as_you_go_usd: what the jobs that counted would have cost on one pay-as-you-go VM of the same size that is
            there from the start until the last of them is done, its disks included.
        pay_as_you_go_s: until when that is: each begins in the order of arrival, as the worker's concurrency allows.
    """

    compute_usd: Decimal
    disks_usd: Decimal
    pay_as_you_go_usd: Decimal
    pay_as_you_go_s: float

    @property
    def total_usd(self) -> Decimal:
        return self.compute_usd + self.disks_usd

    @property
    def saving(self) -> float:
        """The share of the pay-as-you-go cost that was saved; below 0 for a loss."""
        return float(1 - self.total_usd / self.pay_as_you_go_usd) if self.pay_as_you_go_usd else 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """A run in numbers.

    Attributes:
        jobs: put on the queue.
        lost: without an end when the run was over.
        misjudged: good jobs that were poisoned, and bad ones that were not.
        makespan_s: from the start until the last job was settled, or until the run was given up.
        evictions, announced: VMs that were taken, and how many of these had a notice.
        withdrawn: notices that came to nothing.
        refusals: allocations the platform refused.
        resumes: runs that began from a checkpoint.
        abandoned: deliveries that were given up for a lost lease.
        frozen_checkpoints: checkpoints that were on their way when their VM stood still.
        redone_s: work that was done more than once, or for nothing.
        useful_s: work that counted.
        running_s: VM time paid for.
        idle_s: of that, time in which no handler ran on the VM.
    """

    jobs: int
    completed: int
    poisoned: int
    lost: int
    misjudged: int
    makespan_s: float
    evictions: int
    announced: int
    withdrawn: int
    refusals: int
    runs: int
    resumes: int
    abandoned: int
    frozen_checkpoints: int
    redone_s: float
    useful_s: float
    running_s: float
    idle_s: float
    simulated_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class SimulationResult:
    """One run of a scenario.

    Attributes:
        violations: promises that were broken; what they are in is `summary` and `journal`.
        faults: how often each fault of the plan really happened, by name.
        missed: expectations of the scenario that were not met, one sentence each.
        journal: the lines of all sources in order, as `spotfsm replay` reads them.
    """

    scenario: Scenario
    seed: int
    summary: Summary
    costs: Costs
    market: tuple[Moment, ...]
    vms: tuple[VmSpan, ...]
    applications: tuple[AppSpan, ...]
    jobs: tuple[JobHistory, ...]
    marks: tuple[Mark, ...]
    promises: Mapping[Promise, bool]
    violations: tuple[Violation, ...]
    faults: Mapping[str, int]
    missed: tuple[str, ...]
    journal: tuple[str, ...]

    @property
    def ok(self) -> bool:
        """Whether every promise was kept and every expectation met."""
        return not self.violations and not self.missed
