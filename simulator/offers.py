"""The market of a scenario: its plan as a sequence of moments, with the drought and the spike that the faults bring."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from random import Random

from simulator.market import Moment, PriceAndCapacity, constant, replayed, rounded, squeezed, stochastic
from simulator.platform import price_above_all
from simulator.scenario import ConstantMarket, MarketAt, Scenario, ScheduledMarket, StochasticMarket, TraceMarket
from simulator.traces import load_trace


def moments_of(
    scenario: Scenario, *, market: Random, faults: Random, directory: Path | None = None
) -> Iterator[Moment]:
    """The scenario's market, moment by moment.

    Args:
        scenario: whose market, faults and VMs.
        market: draws the path of a stochastic market.
        faults: draws whether and when a drought and a price spike come.
        directory: where traces are looked for.

    Raises:
        ConfigurationError: the scenario names a trace that cannot be read.
    """
    moments, plan = _plain_moments(scenario, market, directory), scenario.faults
    latest_s = scenario.horizon_s
    if faults.random() < plan.drought:
        from_s = faults.uniform(0.0, latest_s / 2)
        moments = squeezed(moments, from_s=from_s, until_s=from_s + plan.drought_s)
    if faults.random() < plan.price_spike:
        from_s = faults.uniform(0.0, latest_s / 2)
        price = price_above_all(scenario.vms, scenario.pay_as_you_go_usd_per_h)
        until_s = from_s + plan.price_spike_s
        moments = squeezed(moments, from_s=from_s, until_s=until_s, price_usd_per_h=price)
    return moments


def _plain_moments(scenario: Scenario, random: Random, directory: Path | None) -> Iterator[Moment]:
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
            return stochastic(process, random)
        case TraceMarket():
            trace = load_trace(plan.trace, directory=directory, price_usd_per_h=plan.price_usd_per_h)
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
