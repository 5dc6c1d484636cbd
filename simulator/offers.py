"""The market of a run: what its plan says, with the drought and the price spike that its faults may bring."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from random import Random

from fsm.errors import ConfigurationError
from fsm.spot_vm import PAY_AS_YOU_GO
from simulator.faults import Injector
from simulator.market import Moment, PriceAndCapacity, constant, replayed, rounded, squeezed, stochastic
from simulator.scenario import (
    ConstantMarket,
    MarketAt,
    Scenario,
    ScheduledMarket,
    StochasticMarket,
    TraceMarket,
    VmPlan,
)
from simulator.traces import load_trace
from simulator.world import World


def moments_of(scenario: Scenario, world: World, injector: Injector, directory: Path | None) -> Iterator[Moment]:
    """What is offered, moment by moment.

    Raises:
        ConfigurationError: the scenario names a trace that cannot be read, or is over before the run begins.
    """
    moments, faults, random = _planned(scenario, world, directory), scenario.faults, world.random("market faults")
    if random.random() < faults.drought:
        from_s, until_s = _stretch(random, faults.drought_s, scenario.horizon_s)
        injector.expect("drought", from_s, until_s)
        moments = squeezed(moments, from_s=from_s, until_s=until_s)
    if random.random() < faults.price_spike:
        from_s, until_s = _stretch(random, faults.price_spike_s, scenario.horizon_s)
        injector.expect("price_spike", from_s, until_s)
        price = price_above_all(scenario.vms, scenario.pay_as_you_go_usd_per_h)
        moments = squeezed(moments, from_s=from_s, until_s=until_s, price_usd_per_h=price)
    return moments


def _stretch(random: Random, lasts_s: float, horizon_s: float) -> tuple[float, float]:
    """From when to when: early enough that a time without it follows, where the horizon leaves one."""
    spare_s = horizon_s - lasts_s if horizon_s > lasts_s else horizon_s
    from_s = random.uniform(0.0, spare_s / 2)
    return from_s, from_s + lasts_s


def price_above_all(plans: Sequence[VmPlan], ceiling_usd_per_h: Decimal) -> Decimal:
    """A price that is over every max price there is."""
    limits = [plan.max_price_usd_per_h for plan in plans if plan.max_price_usd_per_h != PAY_AS_YOU_GO]
    return min(ceiling_usd_per_h, max(limits, default=ceiling_usd_per_h) * 2)


def _planned(scenario: Scenario, world: World, directory: Path | None) -> Iterator[Moment]:
    plan, ceiling = scenario.market, scenario.pay_as_you_go_usd_per_h
    match plan:
        case ConstantMarket():
            return constant(min(plan.price_usd_per_h, ceiling), capacity_of(plan.capacity))
        case ScheduledMarket():
            moments = [_moment(at) for at in plan.moments]
            gap_s = max(plan.repeat_every_s - moments[-1].at_s, 0.001)
            return replayed(moments, repeat=plan.repeat_every_s > 0, gap_s=gap_s)
        case StochasticMarket():
            process = PriceAndCapacity(
                tick_s=plan.tick_s,
                mean_usd_per_h=plan.price_usd_per_h,
                ceiling_usd_per_h=ceiling,
                deviation=plan.price_deviation,
                persistence=plan.price_persistence,
                down=plan.capacity_down,
                up=plan.capacity_up,
                daily=plan.daily,
                weekly=plan.weekly,
            )
            return stochastic(process, world.random("market"))
        case TraceMarket():
            trace = load_trace(plan.trace, directory=directory, price_usd_per_h=plan.price_usd_per_h)
            if plan.from_s >= (ends_s := trace.moments[-1].at_s + trace.gap_s):
                problem = f"{plan.trace} is over after {ends_s:.0f} s"
                raise ConfigurationError("market.from_s", problem, "Begin earlier in the trace.")
            return replayed(_from(trace.moments, plan.from_s), repeat=plan.repeat, gap_s=trace.gap_s)


def capacity_of(capacity: int) -> int | None:
    """A scenario's capacity, in which -1 is room for any number, as a moment's."""
    return None if capacity < 0 else capacity


def _moment(at: MarketAt) -> Moment:
    return Moment(at_s=at.at_s, price_usd_per_h=rounded(at.price_usd_per_h), capacity=capacity_of(at.capacity))


def _from(moments: Sequence[Moment], from_s: float) -> list[Moment]:
    """The moments from a time on, which becomes 0."""
    standing = [moment for moment in moments if moment.at_s <= from_s][-1]
    later = [replace(moment, at_s=moment.at_s - from_s) for moment in moments if moment.at_s > from_s]
    return [replace(standing, at_s=0.0), *later]
