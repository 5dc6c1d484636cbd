"""A scenario: market, VMs, operator, workload, worker, faults, script and expectations, as a TOML file says them.

Every table of the file is one frozen dataclass here, and its fields are the keys. A wrong key, type or
value is one line that names the file, the key and what was expected. Durations are numbers of seconds or text such as
"90s", "5m", "2h" and "3d"; money is USD.
"""

from __future__ import annotations

from dataclasses import MISSING, dataclass, field
from decimal import Decimal
from enum import StrEnum
from typing import Any

from fsm.spot_vm import PAY_AS_YOU_GO, Policy
from simulator.faults import NO_FAULTS, FaultPlan

HOUR_S = 3600.0


def _at_least(least: float, default: Any = MISSING, *, most: float | None = None) -> Any:
    metadata = {"least": least} if most is None else {"least": least, "most": most}
    return field(default=default, metadata=metadata)


_PRICE = {"least": 0.00001, "most": 1_000_000.0}
_COST = {"least": 0.0, "most": 1_000_000.0}


# -- the market -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class MarketAt:
    """What is offered from a moment on.

    Attributes:
        capacity: for how many VMs there is room; -1 for any number.
    """

    at_s: float = _at_least(0.0, 0.0)
    price_usd_per_h: Decimal = field(metadata=_PRICE)
    capacity: int = _at_least(-1, -1)


@dataclass(frozen=True, slots=True, kw_only=True)
class ConstantMarket:
    """One price, and room for a number of VMs (-1: any)."""

    price_usd_per_h: Decimal = field(default=Decimal("0.04"), metadata=_PRICE)
    capacity: int = _at_least(-1, -1)


@dataclass(frozen=True, slots=True, kw_only=True)
class ScheduledMarket:
    """Price and capacity by a timetable, once or again every `repeat_every_s` (0: once)."""

    moments: tuple[MarketAt, ...]
    repeat_every_s: float = _at_least(0.0, 0.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class StochasticMarket:
    """An AR(1) of the price's logarithm and a two-state chain of capacity.

    Attributes:
        price_usd_per_h: the price's median.
        price_deviation: the standard deviation of the logarithm's innovations, a tick.
        price_persistence: how much of a deviation is left after a tick.
        capacity_down, capacity_up: the chances a tick that capacity goes and comes back.
        daily, weekly: how much the chance of losing capacity swings by the hour, and drops at the weekend.
    """

    tick_s: float = _at_least(1.0, 300.0)
    price_usd_per_h: Decimal = field(default=Decimal("0.04"), metadata=_PRICE)
    price_deviation: float = _at_least(0.0, 0.01, most=1.0)
    price_persistence: float = _at_least(0.0, 0.95, most=0.999999)
    capacity_down: float = _at_least(0.0, 0.0, most=1.0)
    capacity_up: float = _at_least(0.0, 0.2, most=1.0)
    daily: float = _at_least(0.0, 0.0, most=1.0)
    weekly: float = _at_least(0.0, 0.0, most=1.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class TraceMarket:
    """A recorded market.

    Attributes:
        trace: a file beside the scenario, or the name of one that comes with spotfsm.
        from_s: where in the trace the run begins.
        price_usd_per_h: the price where the trace has none.
    """

    trace: str
    from_s: float = _at_least(0.0, 0.0)
    repeat: bool = True
    price_usd_per_h: Decimal = field(default=Decimal("0.04"), metadata=_PRICE)


MarketPlan = ConstantMarket | ScheduledMarket | StochasticMarket | TraceMarket
MARKET_KINDS = {
    "constant": ConstantMarket,
    "schedule": ScheduledMarket,
    "stochastic": StochasticMarket,
    "trace": TraceMarket,
}


# -- VMs and who operates them ----------------------------------------------------------------------------------------


class Length(StrEnum):
    """How a duration is drawn around its mean."""

    FIXED = "fixed"
    EXPONENTIAL = "exponential"
    UNIFORM = "uniform"
    """From 0 to twice the mean."""


@dataclass(frozen=True, slots=True, kw_only=True)
class VmPlan:
    """A group of like VMs.

    Attributes:
        evictions_per_h: how often Azure takes one of these VMs, beside what the market's capacity does; 0.05 an hour
            is the upper end of the lowest band Azure publishes.
        outage_s: how long there is no room for that VM afterwards.
        announced: the share of evictions that Scheduled Events announce.
        notice_s_min, notice_s_max: between announcement and eviction.
        early: the share of announced evictions that come before the announced time.
        late: the share that come after it, by up to `late_s_max`: VMs have been seen to run on for 2.5 minutes.
        boot_s: from allocation to the worker's start.
    """

    name: str = "vm"
    count: int = _at_least(1, 1, most=1000)
    max_price_usd_per_h: Decimal = PAY_AS_YOU_GO
    policy: Policy = Policy.DEALLOCATE
    disks_usd_per_h: Decimal = field(default=Decimal("0.002"), metadata=_COST)
    evictions_per_h: float = _at_least(0.0, 0.0, most=3600.0)
    outage_s: float = _at_least(0.0, 600.0)
    outage: Length = Length.EXPONENTIAL
    announced: float = _at_least(0.0, 0.8, most=1.0)
    notice_s_min: float = _at_least(0.0, 0.0)
    notice_s_max: float = _at_least(0.0, 30.0)
    early: float = _at_least(0.0, 0.0, most=1.0)
    late: float = _at_least(0.0, 0.0, most=1.0)
    late_s_max: float = _at_least(0.0, 150.0)
    boot_s: float = _at_least(0.0, 40.0)
    boot: Length = Length.FIXED


class Action(StrEnum):
    """What the operator does about a VM that was taken."""

    RESTART = "restart"
    """Start it again; a deleted one is deployed anew."""
    REDEPLOY = "redeploy"
    """Deploy the same template again, whatever is left of the VM."""
    RECREATE = "recreate"
    """Delete what is left, and deploy a new VM of the same name."""
    NOTHING = "nothing"


@dataclass(frozen=True, slots=True, kw_only=True)
class OperatorPlan:
    """What is done about a VM that was taken: tried again after pauses that double."""

    action: Action = Action.RESTART
    first_pause_s: float = _at_least(0.0, 60.0)
    pause_s_max: float = _at_least(1.0, 3600.0)


# -- work -------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkloadPlan:
    """The jobs.

    Attributes:
        jobs: how many in all.
        at_once: how many are there at the beginning; the others arrive one by one.
        every_s: the mean time between arrivals; 0 for all at once.
        arrivals: how those times are drawn.
        service_s: the mean time of work in a job, without its checkpoints.
        unit_s: the piece of work after which a handler looks whether it should save.
        checkpoint_every_s: work between checkpoints; 0 for none.
        checkpoint_s: what a checkpoint takes beside its write.
        poison: the share of jobs that always fail.
        failing: the chance that a unit of a good job's work fails.
        deadly: the share of jobs that always kill the worker that runs them.
    """

    jobs: int = _at_least(1, 20, most=1_000_000)
    at_once: int = _at_least(0, 0)
    every_s: float = _at_least(0.0, 0.0)
    arrivals: Length = Length.EXPONENTIAL
    service_s: float = _at_least(0.0, 300.0)
    service: Length = Length.FIXED
    unit_s: float = _at_least(0.001, 10.0)
    checkpoint_every_s: float = _at_least(0.0, 60.0)
    checkpoint_s: float = _at_least(0.0, 0.0)
    poison: float = _at_least(0.0, 0.0, most=1.0)
    failing: float = _at_least(0.0, 0.0, most=1.0)
    deadly: float = _at_least(0.0, 0.0, most=1.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerPlan:
    """The worker's settings, as `spotfsm worker` takes them; `store` false is a worker without a job store."""

    store: bool = True
    concurrency: int = _at_least(1, 8, most=1000)
    visibility_timeout_s: float = _at_least(1.0, 60.0)
    idle_poll_s_max: float = _at_least(0.1, 5.0)
    imds_poll_s: float = _at_least(0.2, 1.0)
    stop_grace_s: float = _at_least(1.0, 25.0)
    call_timeout_s: float = _at_least(0.1, 10.0)
    acknowledge: bool = False


# -- script, expectations, sweep --------------------------------------------------------------------------------------


class Maintenance(StrEnum):
    """What ends a VM's boot beside an eviction, by the type of the event that announces it."""

    TERMINATE = "Terminate"
    """The VM is deleted."""
    REBOOT = "Reboot"
    """It boots again where it is."""
    REDEPLOY = "Redeploy"
    """It boots again on another host, if there is room."""


class Deed(StrEnum):
    """What a script can do to a VM."""

    EVICT = "evict"
    FREEZE = "freeze"
    WITHDRAWN_NOTICE = "withdrawn notice"
    FOREIGN_NOTICE = "foreign notice"
    ADVICE = "advice"
    TERMINATE = "terminate"
    REBOOT = "reboot"
    REDEPLOY = "redeploy"
    IMDS_OUTAGE = "imds outage"
    KILL = "kill"
    STOP = "stop"
    CLOCK_JUMP = "clock jump"


@dataclass(frozen=True, slots=True, kw_only=True)
class ScriptedEvent:
    """Something that happens at a given time.

    Attributes:
        vm: its name, such as "vm-1"; "*" is every VM.
        lasts_s: how long a freeze, a notice or a silence of Scheduled Events lasts, the outage after an eviction, or by
            how much a clock jumps.
        notice_s: how long before it an eviction or a freeze is announced, below 0 for not at all; a termination, reboot
            or redeployment is always announced.
    """

    at_s: float = _at_least(0.0)
    do: Deed
    vm: str = "*"
    lasts_s: float = 60.0
    notice_s: float = -1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Expectations:
    """What must come out; each one that is set decides the exit code.

    Every promise of the project is expected always, and needs no line here.

    Attributes:
        misjudged_max: good jobs that are poisoned, and bad ones that are not.
        abandoned_min: deliveries that are given up for a lost lease.
        frozen_checkpoints_min: checkpoints that are on their way when their VM stands still.
    """

    completed: int | None = _at_least(0, None)
    poisoned: int | None = _at_least(0, None)
    poisoned_min: int | None = _at_least(0, None)
    misjudged_max: int | None = _at_least(0, None)
    lost: int = _at_least(0, 0)
    makespan_s_min: float | None = _at_least(0.0, None)
    makespan_s_max: float | None = _at_least(0.0, None)
    cost_usd_max: Decimal | None = None
    saving_min: float | None = None
    evictions_min: int | None = _at_least(0, None)
    evictions_max: int | None = _at_least(0, None)
    redone_s_max: float | None = _at_least(0.0, None)
    resumes_min: int | None = _at_least(0, None)
    abandoned_min: int | None = _at_least(0, None)
    frozen_checkpoints_min: int | None = _at_least(0, None)
    withdrawn_min: int | None = _at_least(0, None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sweep:
    """One key of the scenario, such as `workload.checkpoint_every_s`, and the values it is to take."""

    key: str
    values: tuple[str | float | int | bool, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """A world to be.

    Attributes:
        name: of the file, without its ending.
        about: one sentence for people.
        horizon_s: when the faults end, if the work has not ended before.
        calm_s_max: how long the work may then take; a message without an end after that breaks `nothing_lost`.
        pay_as_you_go_usd_per_h: what the same VM costs without eviction; a Spot price is never above it.
    """

    name: str = ""
    about: str = ""
    horizon_s: float = _at_least(1.0, 24 * HOUR_S)
    calm_s_max: float = _at_least(60.0, 48 * HOUR_S)
    pay_as_you_go_usd_per_h: Decimal = field(default=Decimal("0.20"), metadata=_PRICE)
    market: MarketPlan = ConstantMarket()
    vms: tuple[VmPlan, ...] = (VmPlan(),)
    operator: OperatorPlan = OperatorPlan()
    workload: WorkloadPlan = WorkloadPlan()
    worker: WorkerPlan = WorkerPlan()
    faults: FaultPlan = NO_FAULTS
    script: tuple[ScriptedEvent, ...] = ()
    expect: Expectations = Expectations()
    sweep: tuple[Sweep, ...] = ()
