"""Swarms: short worlds drawn from a seed, each with its own mix; and what is said when one of them breaks a promise.

A failing run is told by its seed and by what was drawn; it is replayed by one command, and shrunk: fewer jobs, fewer
VMs, fewer faults and a shorter horizon, as long as the same promise still breaks.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields, is_dataclass, replace
from decimal import Decimal
from random import Random
from typing import Final

from fsm.promises import Promise
from fsm.spot_vm import PAY_AS_YOU_GO, Policy
from simulator.faults import DAYS_S, NO_FAULTS, UNITS, FaultPlan, drawn, with_news
from simulator.result import SimulationResult
from simulator.scenario import (
    Action,
    ConstantMarket,
    Length,
    OperatorPlan,
    Scenario,
    StochasticMarket,
    VmPlan,
    WorkerPlan,
    WorkloadPlan,
)

SWARM: Final = "swarm"
"""The name under which `spotfsm simulate` draws a scenario from its seed."""
SHRINK_RUNS_MAX: Final = 60
LEASE_OUTLIVES_RESTART_S: Final = 20.0
"""A lease of this length, renewed when half of it is over, is still there when a unit has started its worker again."""
STOPS_PER_H: Final = 40.0
"""Of every VM, in swarms that have stops: one in some minutes, so that most runs see some of them."""
_WORSE_THAN_SLOW: Final = tuple(name for name, unit in UNITS.items() if unit in ("per call", "per write"))


def drawn_scenario(seed: int) -> Scenario:
    """A short world of its own for each seed: some 20 simulated minutes of faults, then calm.

    Where capacity or a fair price is gone for days, these days come on top: nothing runs in them.
    """
    draw = Random(f"{seed}/swarm")  # noqa: S311 -- a simulation is to be repeatable, not secret
    horizon_s = draw.choice((600.0, 1200.0))
    unit_s = draw.choice((0.1, 1.0, 5.0))
    service_s = unit_s * draw.choice((1, 5, 30))
    faults = drawn(draw, run_s=horizon_s)
    jobs = draw.randint(1, 30)
    # Deliveries that overlap are rare by chance: where leases are short and calls slow, many hungry workers wait for
    # every job, a call is either quick or slow enough to be overtaken, no call is given up too early, and few workers
    # die over one.
    overlapping = bool(faults.lease_short and faults.slow)
    if overlapping:
        kill_before, kill_after = (min(0.002, share) for share in (faults.kill_before, faults.kill_after))
        faults = replace(
            faults, lease_short=0.8, slow=0.3, slow_s_max=9.0, kill_before=kill_before, kill_after=kill_after
        )
        service_s = unit_s
    market, vms = _drawn_market(draw), _drawn_vms(draw, least=3 if overlapping else 1, limited=faults.price_spike > 0)
    # Nor does a notice often find calls on their way: where calls are slow and notices common, nothing worse happens to
    # calls, the notices leave time for them, and there is always work.
    hurried = not overlapping and faults.latency_s_max >= 1.0 and vms.announced == 1.0
    if hurried:
        faults = replace(faults, **dict.fromkeys(_WORSE_THAN_SLOW, 0.0))
        vms = replace(vms, evictions_per_h=max(30.0, vms.evictions_per_h), notice_s_min=20.0, notice_s_max=30.0)
    # Nor does a stop by the operator often find a worker at work: where there are stops, there are many, and there is
    # always work.
    stopped = not overlapping and not hurried and faults.stop > 0
    if stopped:
        faults = replace(faults, stop=STOPS_PER_H)
    busy = overlapping or hurried or stopped
    scenario = Scenario(
        name=SWARM,
        about=f"drawn from seed {seed}",
        horizon_s=horizon_s + _days_s(faults),
        calm_s_max=20_000.0,
        market=market,
        vms=(vms,),
        operator=OperatorPlan(
            action=draw.choice((Action.RESTART, Action.REDEPLOY, Action.RECREATE)),
            first_pause_s=draw.choice((1.0, 30.0)),
            pause_s_max=3600.0 if _days_s(faults) else 120.0,
        ),
        workload=WorkloadPlan(
            jobs=30 if busy else jobs,
            every_s=draw.choice((5.0, 15.0) if busy else (0.0, 0.0, 5.0, 30.0)),
            service_s=service_s,
            service=draw.choice(tuple(Length)),
            unit_s=unit_s,
            checkpoint_every_s=draw.choice((0.0, unit_s, unit_s * 4)),
            checkpoint_s=draw.choice((0.0, 0.0, unit_s)),
            poison=draw.choice((0.0, 0.0, 0.0, 0.1)),
            failing=draw.choice((0.0, 0.0, 0.02)),
        ),
        worker=WorkerPlan(
            store=draw.random() < 0.85,
            concurrency=draw.choice((3, 16) if overlapping else (1, 3, 16)),
            visibility_timeout_s=draw.choice((20.0, 20.0, 60.0) if hurried else (5.0, 20.0, 60.0)),
            idle_poll_s_max=0.5 if overlapping else draw.choice((0.5, 5.0)),
            call_timeout_s=10.0 if overlapping or hurried else draw.choice((1.0, 10.0)),
            acknowledge=draw.random() < 0.3,
        ),
        faults=faults,
    )
    # What Scheduled Events say beside evictions is drawn apart, so that all that was drawn before stays; worlds that
    # show one rare thing keep to it.
    if not (overlapping or hurried):
        news = Random(f"{seed}/swarm/news")  # noqa: S311 -- as above
        scenario = replace(scenario, faults=with_news(faults, news))
    # A process that died is told from one that lost its lease by the next one in its place: that has to be there before
    # the lease is over, or nobody can count the death.
    deadly = draw.choice((0.0, 0.0, 0.0, 0.0, 0.1))
    if scenario.worker.visibility_timeout_s < LEASE_OUTLIVES_RESTART_S:
        return scenario
    return replace(scenario, workload=replace(scenario.workload, deadly=deadly))


def _days_s(faults: FaultPlan) -> float:
    """How long nothing runs, at most, when a drought or a price spike lasts for days."""
    for_days = faults.drought > 0 and faults.drought_s == DAYS_S
    return DAYS_S if for_days or (faults.price_spike > 0 and faults.price_spike_s == DAYS_S) else 0.0


def _drawn_market(draw: Random) -> ConstantMarket | StochasticMarket:
    if draw.random() < 0.5:
        return ConstantMarket()
    return StochasticMarket(
        tick_s=60.0,
        price_deviation=draw.choice((0.0, 0.05)),
        capacity_down=draw.choice((0.0, 0.05, 0.2)),
        capacity_up=draw.choice((0.2, 0.5)),
        daily=draw.choice((0.0, 1.0)),
    )


def _drawn_vms(draw: Random, *, least: int, limited: bool) -> VmPlan:
    """VMs of one kind; those with a limit feel the price."""
    return VmPlan(
        count=max(least, draw.choice((1, 2, 3, 4))),
        max_price_usd_per_h=Decimal("0.041") if limited or draw.random() < 0.5 else PAY_AS_YOU_GO,
        policy=draw.choice(tuple(Policy)),
        evictions_per_h=draw.choice((0.0, 6.0, 30.0, 120.0)),
        outage_s=draw.choice((1.0, 60.0)),
        announced=draw.choice((0.0, 0.5, 1.0)),
        notice_s_max=draw.choice((0.0, 5.0, 30.0)),
        early=draw.choice((0.0, 0.5)),
        late=draw.choice((0.0, 0.5)),
        boot_s=draw.choice((0.0, 10.0)),
    )


# -- what is said of a failing run ------------------------------------------------------------------------------------


def drawn_options(scenario: Scenario) -> str:
    """What differs from the defaults, one option a line, by its key in a scenario file."""
    return "\n".join(f"{key} = {value}" for key, value in _options("", scenario, Scenario()))


def _options(prefix: str, value: object, default: object) -> Iterator[tuple[str, object]]:
    if isinstance(value, tuple) and value and is_dataclass(value[0]):
        for number, one in enumerate(value):
            yield from _options(f"{prefix}.{number}", one, type(one)() if isinstance(one, VmPlan) else None)
    elif is_dataclass(value):
        comparable = type(default) is type(value)
        if not comparable:
            yield f"{prefix}.kind", type(value).__name__
        for field in fields(value):
            key = f"{prefix}.{field.name}" if prefix else field.name
            other = getattr(default, field.name) if comparable else None
            yield from _options(key, getattr(value, field.name), other)
    elif value != default and value is not None:
        yield prefix, value


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """A run that broke a promise, and the shortest one found that breaks it too.

    Attributes:
        tried: how many runs the shrinking took.
    """

    result: SimulationResult
    shrunk: SimulationResult
    tried: int

    def __str__(self) -> str:
        scenario, shrunk = self.result.scenario, self.shrunk.scenario
        size = f"{shrunk.workload.jobs} jobs, {vm_count(shrunk)} VMs, {shrunk.horizon_s:g} s of faults"
        return "\n".join(
            (
                f"seed {self.result.seed} of scenario {scenario.name!r} breaks a promise.",
                "Drawn:",
                drawn_options(scenario),
                "",
                *(str(violation) for violation in self.result.violations),
                "",
                f"Shrunk in {self.tried} runs to {size}:",
                drawn_options(shrunk),
                *(str(violation) for violation in self.shrunk.violations),
                "",
                f"Replay: {replay_command(self.result)}",
            )
        )


def replay_command(result: SimulationResult) -> str:
    """The one command that runs this again."""
    return f"spotfsm simulate {result.scenario.name} --seed {result.seed}"


def vm_count(scenario: Scenario) -> int:
    return sum(plan.count for plan in scenario.vms)


# -- shrinking --------------------------------------------------------------------------------------------------------

Run = Callable[[Scenario], SimulationResult]


def shrink(result: SimulationResult, run: Run, *, runs_max: int = SHRINK_RUNS_MAX) -> Failure:
    """Look for a smaller scenario that breaks one of the same promises, greedily.

    Args:
        result: of the run that failed.
        run: runs a scenario with the same seed.
        runs_max: how many runs may be spent.
    """
    broken, smallest, tried = _broken(result), result, 0
    shrinking = True
    while shrinking:
        shrinking = False
        for candidate in _smaller(smallest.scenario):
            if tried == runs_max:
                return Failure(result=result, shrunk=smallest, tried=tried)
            tried += 1
            attempt = run(candidate)
            if _broken(attempt) & broken:
                smallest, shrinking = attempt, True
                break
    return Failure(result=result, shrunk=smallest, tried=tried)


def _broken(result: SimulationResult) -> set[Promise]:
    return {violation.promise for violation in result.violations}


def _smaller(scenario: Scenario) -> Iterator[Scenario]:
    """Scenarios that are smaller by one step, the biggest steps first."""
    workload, faults = scenario.workload, scenario.faults
    if faults.drawn_options:
        yield replace(scenario, faults=NO_FAULTS)
    if workload.jobs > 1:
        yield replace(scenario, workload=replace(workload, jobs=1))
        yield replace(scenario, workload=replace(workload, jobs=workload.jobs // 2))
    if vm_count(scenario) > 1:
        yield replace(scenario, vms=(replace(scenario.vms[0], count=1),))
    if len(scenario.script) > 1:
        for at in range(len(scenario.script)):
            yield replace(scenario, script=(*scenario.script[:at], *scenario.script[at + 1 :]))
    if not isinstance(scenario.market, ConstantMarket):
        yield replace(scenario, market=ConstantMarket())
    if any(plan.evictions_per_h for plan in scenario.vms):
        yield replace(scenario, vms=tuple(replace(plan, evictions_per_h=0.0) for plan in scenario.vms))
    for name in faults.drawn_options:
        yield replace(scenario, faults=replace(faults, **{name: getattr(NO_FAULTS, name)}))
    if workload.poison or workload.failing or workload.deadly:
        yield replace(scenario, workload=replace(workload, poison=0.0, failing=0.0, deadly=0.0))
    if scenario.horizon_s > 60:
        yield replace(scenario, horizon_s=scenario.horizon_s / 2)
