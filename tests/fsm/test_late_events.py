"""Events that come twice, late, or in another order than they were sent: in every cell, and over real prices."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fsm.engine import Engine
from fsm.journal import LineMaker, parse_line
from fsm.journal_kinds import Kind
from fsm.spot_vm import PAY_AS_YOU_GO, SPOT_VM, Offer, Policy, Terms, VmRow, VmState, VmTrigger, vm_facts
from tests.fsm.machines import CASES, Case

STEP = Decimal("0.00001")
AT = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_an_event_that_comes_twice_does_what_it_does_once(case: Case) -> None:
    """Wherever an event leads, the same event under the same facts leads no further: a duplicate is harmless."""
    after = case.by_engine().after
    known = looked_at(case.machine, case.state, case.trigger) & looked_at(case.machine, after, case.trigger)
    again = [
        other
        for other in CASES
        if (other.machine, other.state, other.trigger) == (case.machine, after, case.trigger)
        and other.facts & known == case.facts & known
    ]
    assert again
    assert {other.by_engine().after for other in again} == {after}


def looked_at(machine: str, state: str, trigger: str) -> frozenset[str]:
    """The facts that some row looks at in this place."""
    cells = (case.facts for case in CASES if (case.machine, case.state, case.trigger) == (machine, state, trigger))
    return frozenset[str]().union(*cells)


@dataclass(frozen=True, slots=True)
class Arrival:
    """An event of a VM, and what Azure offers at the moment it arrives; the price in steps above the max price."""

    trigger: VmTrigger
    steps_above: int
    capacity_available: bool


arrivals = st.lists(
    st.builds(Arrival, st.sampled_from(VmTrigger), st.integers(-1, 1), st.booleans()), min_size=1, max_size=12
)
terms = st.builds(
    Terms,
    max_price_usd_per_h=st.one_of(
        st.just(PAY_AS_YOU_GO), st.integers(2, 10**8).map(lambda units: units * STEP), st.just(STEP + STEP)
    ),
    policy=st.sampled_from(Policy),
)
_ENGINE = Engine(SPOT_VM)


def fired(state: VmState, arrival: Arrival, agreed: Terms) -> VmRow:
    """The row that the compiled machine takes, at a price one step below, at, or one step above the max price."""
    limit = Decimal("0.5") if agreed.max_price_usd_per_h == PAY_AS_YOU_GO else agreed.max_price_usd_per_h
    offer = Offer(price_usd_per_h=limit + arrival.steps_above * STEP, capacity_available=arrival.capacity_available)
    return _ENGINE.fire(state, arrival.trigger, vm_facts(agreed, offer))


def lived(stream: list[Arrival], agreed: Terms) -> VmState:
    state = SPOT_VM.initial
    for arrival in stream:
        state = fired(state, arrival, agreed).after(state)
    return state


@given(stream=arrivals, agreed=terms)
def test_a_vm_runs_by_the_last_word_and_by_no_other(stream: list[Arrival], agreed: Terms) -> None:
    """It comes to run at a price up to the max, to the last place, and is taken above it; duplicates change nothing."""
    state = SPOT_VM.initial
    for arrival in stream:
        granted = arrival.capacity_available and (
            agreed.max_price_usd_per_h == PAY_AS_YOU_GO or arrival.steps_above <= 0
        )
        after = fired(state, arrival, agreed).after(state)
        if after is VmState.RUNNING is not state:
            assert granted
            assert arrival.trigger in (VmTrigger.DEPLOY, VmTrigger.RESTART)
        if state is VmState.RUNNING and arrival.trigger is VmTrigger.EVICT:
            assert (after is VmState.RUNNING) is granted
        assert fired(after, arrival, agreed).after(after) is after
        state = after


@given(data=st.data(), stream=arrivals, agreed=terms)
def test_whatever_came_late_or_in_another_order_a_granted_deployment_runs(
    data: st.DataObject, stream: list[Arrival], agreed: Terms
) -> None:
    """No order of earlier events, doubled or delayed, leaves a VM that cannot be deployed any more."""
    muddled = data.draw(st.permutations([*stream, *data.draw(st.lists(st.sampled_from(stream), max_size=4))]))
    granted = Arrival(VmTrigger.DEPLOY, 0, True)
    assert lived([*muddled, granted], agreed) is VmState.RUNNING
    late = data.draw(st.sampled_from(stream))
    if late.trigger in (VmTrigger.DEPLOY, VmTrigger.RESTART, VmTrigger.REPRICE):
        assert lived([*muddled, granted, late], agreed) is VmState.RUNNING


@given(stream=arrivals, agreed=terms)
def test_a_vm_s_journal_rebuilds_its_state(stream: list[Arrival], agreed: Terms) -> None:
    """The row ids of a journal are enough: taken one after the other they lead where the VM went."""
    maker, state, lines = LineMaker("vm"), SPOT_VM.initial, []
    for arrival in stream:
        row = fired(state, arrival, agreed)
        lines.append(maker.line(AT, Kind.ROW, {"machine": SPOT_VM.name, "row": row.id}))
        state = row.after(state)
    rebuilt = SPOT_VM.initial
    for text in lines:
        line = parse_line(text)
        assert line is not None
        rebuilt = SPOT_VM.row(line.row).after(rebuilt)
    assert rebuilt is state
