"""What the strategies draw may be used as it is, can be pasted, and shrinks to nothing at all."""

from __future__ import annotations

import dataclasses
import json
from decimal import Decimal

import pytest
from hypothesis import find, given, settings
from hypothesis import strategies as st
from hypothesis.vendor.pretty import pretty

from fsm.handler import Job, Json
from fsm.spot_vm import Offer, Terms
from simulator import scenario, testing
from simulator.faults import PROBABILITIES, RATES
from simulator.market import PRICE_PLACES
from simulator.testing import (
    NO_FAULTS,
    ConstantMarket,
    Eviction,
    FaultPlan,
    ScheduledMarket,
    SpotWorld,
    after_checkpoint,
)
from simulator.testing import strategies as spot

QUICK = settings(deadline=None, max_examples=50)


async def echo(job: Job) -> Json:
    """The message is the result."""
    return job.text


@QUICK
@given(text=spot.messages())
def test_a_message_arrives_as_it_was_put(text: str) -> None:
    """Whatever is drawn can be put on the queue, and reaches the handler."""
    with SpotWorld(echo) as world:
        job = world.put(text=text)
        world.run()
        assert job.result == text


@given(body=spot.json_values())
def test_a_body_is_json(body: Json) -> None:
    """What is drawn survives JSON, so that a result can be compared with it."""
    assert json.loads(json.dumps(body)) == body


@QUICK
@given(market=spot.markets(), orders=spot.evictions())
def test_markets_and_evictions_end_well(market: scenario.MarketPlan, orders: list[Eviction]) -> None:
    """Any market and any schedule of evictions is one that a world takes, and lives through."""
    with SpotWorld(echo, market=market, evictions=orders) as world:
        job = world.put("x")
        world.run()
        assert job.completed


@given(order=spot.evictions().filter(bool).map(lambda orders: orders[0]))
def test_an_eviction_can_be_pasted(order: Eviction) -> None:
    """What a failed test shows of an eviction is what makes it."""
    assert eval(repr(order), vars(testing)) == order


@given(plan=spot.faults())
def test_a_mix_of_faults_can_be_pasted(plan: FaultPlan) -> None:
    """What is shown of a mix makes it, and nothing else: by Python, and by Hypothesis, which asks in its own way."""
    assert eval(repr(plan), vars(testing)) == plan
    assert repr(plan).count("=") == len(plan.drawn_options)
    assert pretty(plan) == repr(plan)


def test_a_test_that_fails_shows_the_faults_it_needs() -> None:
    """A falsifying example has the one fault of thirty that matters, as a test would write it."""

    @settings(database=None, derandomize=True)
    @given(plan=spot.faults(among=("slow", "throttled", "death")))
    def fails(plan: FaultPlan) -> None:
        assert not plan.throttled

    with pytest.raises(AssertionError) as caught:
        fails()
    shown = "".join(caught.value.__notes__)
    assert "plan=FaultPlan(throttled=0.2)," in "".join(shown.split()), shown


@given(plan=spot.faults(max_size=2))
def test_a_mix_of_faults_is_small(plan: FaultPlan) -> None:
    """As many faults as were asked for at most, each a share or a rate."""
    assert len(plan.drawn_options) <= 2
    for name, strength in plan.drawn_options.items():
        assert strength > 0
        assert name in RATES or strength <= 1


@given(data=st.data(), terms=spot.terms())
def test_offers_come_close_to_the_limit(data: st.DataObject, terms: Terms) -> None:
    """Prices have five places and are above 0, those around a limit are no further than one place from it."""
    offer: Offer = data.draw(spot.offers(terms))
    assert offer.price_usd_per_h % PRICE_PLACES == 0
    assert offer.price_usd_per_h > 0
    if terms.max_price_usd_per_h > 0:
        near = data.draw(spot.prices_around(terms.max_price_usd_per_h))
        assert abs(near - terms.max_price_usd_per_h) <= PRICE_PLACES


def test_everything_shrinks_to_nothing() -> None:
    """A failure that needs none of it is shown without: no eviction, no fault, one price."""
    assert find(spot.evictions(), lambda _: True) == []
    assert find(spot.faults(), lambda _: True) == NO_FAULTS
    assert find(spot.markets(), lambda _: True) == ConstantMarket(price_usd_per_h=Decimal("0.04"))
    assert find(spot.prices(), lambda _: True) == PRICE_PLACES


def test_what_a_failure_needs_shrinks_to_just_that() -> None:
    """One eviction at the first step, one change of the market at its first moment, one fault of the right kind."""
    (order,) = find(spot.evictions(), lambda orders: any(isinstance(one.at, testing.Step) for one in orders))
    assert dataclasses.replace(order, back_after_s=60.0) == Eviction(at=after_checkpoint(1))
    market = find(spot.markets(), lambda market: isinstance(market, ScheduledMarket))
    assert isinstance(market, ScheduledMarket)
    assert [moment.at_s for moment in market.moments] == [0.0, 1.0]
    plan = find(spot.faults(), lambda plan: plan.throttled > 0)
    assert list(plan.drawn_options) == ["throttled"]
    assert "throttled" in PROBABILITIES
