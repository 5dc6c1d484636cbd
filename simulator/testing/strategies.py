"""Hypothesis strategies for worlds: markets, evictions, faults, messages, and the Spot VM's prices.

What they draw prints as what a test may be given, and shrinks: to no eviction, to no fault, to one price for ever.
Needs `spotfsm[test]`.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from decimal import Decimal
from typing import Final

from hypothesis import strategies as st

from fsm.handler import Json
from fsm.spot_vm import PAY_AS_YOU_GO, Offer, Policy, Terms
from simulator.faults import PROBABILITIES, RATES, UNITS, FaultPlan
from simulator.market import PRICE_PLACES
from simulator.scenario import ConstantMarket, MarketAt, MarketPlan, Scenario, ScheduledMarket
from simulator.testing.steps import (
    CALLS,
    Eviction,
    Step,
    after_call,
    after_checkpoint,
    before_call,
    before_checkpoint,
)

TENTH_S: Final = 0.1
CEILING_USD_PER_H: Final = Scenario().pay_as_you_go_usd_per_h
"""A Spot price is never above pay-as-you-go."""
_SHARES: Final = (0.2, 0.05)
_RATES_PER_H: Final = (40.0, 10.0)
_OUTAGES_S: Final = (1.0, 60.0)
_NOTICES_S: Final = (0.0, 5.0, 30.0)
_PRICES_USD_PER_H: Final = tuple(map(Decimal, ("0.04", "0.01", "0.2")))
"""Few values each: an example shrinks by running worlds, and every value that can be tried is a world more."""


# -- prices, markets, and the VM ---------------------------------------------------------------------------------------


@st.composite
def prices(draw: st.DrawFn, *, most_usd_per_h: Decimal = CEILING_USD_PER_H) -> Decimal:
    """Prices above 0, exact to the last of five places."""
    return draw(st.integers(1, int(most_usd_per_h / PRICE_PLACES))) * PRICE_PLACES


def prices_around(price_usd_per_h: Decimal) -> st.SearchStrategy[Decimal]:
    """This price, and its neighbours one place in the last digit away: where a limit has to hold."""
    near = (price_usd_per_h, price_usd_per_h + PRICE_PLACES, price_usd_per_h - PRICE_PLACES)
    return st.sampled_from([price for price in near if price > 0])


def terms() -> st.SearchStrategy[Terms]:
    """What a VM was ordered with: its max price, -1 included, and its eviction policy."""
    return st.builds(Terms, max_price_usd_per_h=st.just(PAY_AS_YOU_GO) | prices(), policy=st.sampled_from(list(Policy)))


def offers(terms: Terms | None = None) -> st.SearchStrategy[Offer]:
    """What Azure offers: price and capacity; often right at the max price of these terms."""
    price = prices()
    if terms is not None and terms.max_price_usd_per_h != PAY_AS_YOU_GO:
        price = prices_around(terms.max_price_usd_per_h) | price
    return st.builds(Offer, price_usd_per_h=price, capacity_available=st.booleans())


@st.composite
def markets(
    draw: st.DrawFn,
    *,
    within_s: float = 60.0,
    changes_max: int = 4,
    prices: st.SearchStrategy[Decimal] = st.sampled_from(_PRICES_USD_PER_H),  # noqa: B008 -- it is never changed
) -> MarketPlan:
    """One offer for ever, or price and room for VMs by a timetable.

    Args:
        draw: Hypothesis's own.
        within_s: all changes come before this.
        changes_max: how many there are at most.
        prices: in USD an hour.
    """
    seconds = st.lists(st.integers(1, max(1, int(within_s))), unique=True, max_size=changes_max)
    times = [0, *sorted(draw(seconds))]
    if len(times) == 1:
        return draw(st.builds(ConstantMarket, price_usd_per_h=prices))
    moment = st.tuples(prices, st.sampled_from((-1, 1, 0)))
    offered = [draw(moment) for _ in times]
    return ScheduledMarket(
        moments=tuple(
            MarketAt(at_s=float(at_s), price_usd_per_h=price, capacity=capacity)
            for at_s, (price, capacity) in zip(times, offered, strict=True)
        )
    )


# -- evictions ---------------------------------------------------------------------------------------------------------


def steps(*, number_max: int = 10, calls: Sequence[str] = CALLS) -> st.SearchStrategy[Step]:
    """Steps of the work: before and after checkpoints, and before and after calls of the worker."""
    number = st.integers(1, number_max)
    of_handler = (st.builds(after_checkpoint, number), st.builds(before_checkpoint, number))
    if not calls:
        return st.one_of(*of_handler)
    name = st.sampled_from(list(calls))
    return st.one_of(*of_handler, st.builds(after_call, name, number), st.builds(before_call, name, number))


def evictions(
    *, within_s: float = 60.0, number_max: int = 10, calls: Sequence[str] = CALLS, max_size: int = 3
) -> st.SearchStrategy[list[Eviction]]:
    """Schedules of evictions, at times and at steps, with and without notice.

    Args:
        within_s: those at a time come before this.
        number_max: those at a step come at the `number_max`-th of its kind at the latest.
        calls: which calls of the worker are steps; none of them leaves the checkpoints.
        max_size: how many there are at most.
    """
    one = st.builds(
        Eviction,
        at=st.integers(0, int(within_s / TENTH_S)).map(_tenths) | steps(number_max=number_max, calls=calls),
        notice_s=st.none() | st.sampled_from(_NOTICES_S),
        back_after_s=st.sampled_from(_OUTAGES_S),
    )
    return st.lists(one, max_size=max_size)


def _tenths(number: int) -> float:
    return number / 10


# -- faults ------------------------------------------------------------------------------------------------------------


@st.composite
def faults(draw: st.DrawFn, *, among: Sequence[str] = (*PROBABILITIES, *RATES), max_size: int = 3) -> FaultPlan:
    """Mixes of a few faults, each strong enough to matter in a short run.

    Args:
        draw: Hypothesis's own.
        among: the names of `FaultPlan` that may be drawn.
        max_size: how many there are at once.
    """
    one = st.tuples(st.sampled_from(list(among)), st.sampled_from((0, 1)))  # together, so that they go together
    drawn = draw(st.lists(one, unique_by=lambda fault: fault[0], max_size=max_size))
    return FaultPlan(**{name: (_RATES_PER_H if "hour" in UNITS[name] else _SHARES)[at] for name, at in sorted(drawn)})


# -- messages ----------------------------------------------------------------------------------------------------------


def texts(*, max_size: int = 200) -> st.SearchStrategy[str]:
    """Messages of any text that a storage queue carries as it is: what XML can say, without control characters."""
    return st.text(st.characters(codec="utf-8", exclude_categories=("Cc", "Cs", "Cn")), min_size=1, max_size=max_size)


def json_values(*, max_leaves: int = 6) -> st.SearchStrategy[Json]:
    """Any JSON value: bodies, progress, results."""
    leaves = st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False, allow_infinity=False)
    return st.recursive(
        leaves | texts(max_size=20),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts(max_size=10), inner, max_size=3),
        max_leaves=max_leaves,
    )


def messages() -> st.SearchStrategy[str]:
    """What may lie on a queue: JSON, and texts that are none."""
    return json_values().map(json.dumps) | texts()
