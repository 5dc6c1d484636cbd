"""The Spot VM against the reference's own nine rows, typed anew, and the concrete prices behind the facts."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from itertools import product
from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fsm.spot_vm import (
    PAY_AS_YOU_GO,
    SPOT_VM,
    Holding,
    Offer,
    Policy,
    Terms,
    VmFact,
    VmState,
    VmTrigger,
    cost_usd_per_h,
    holdings,
    vm_facts,
)
from fsm.table import Verdict

CURRENT = Decimal("0.05000")
STEP = Decimal("0.00001")


class Situation(NamedTuple):
    """What the reference's conditions speak of."""

    max_price: Decimal
    current_price: Decimal
    available: bool
    policy: str


Affords = Callable[[Situation], bool]


def as_meant(s: Situation) -> bool:
    """-1 is "up to the pay-as-you-go price"."""
    return s.max_price == -1 or s.max_price >= s.current_price


def as_a_number(s: Situation) -> bool:
    """-1 read literally, as the reference's conditions are written."""
    return s.max_price >= s.current_price


class ReferenceRow(NamedTuple):
    """A row of the reference's table: current state, input, conditions (None: not asked), next state."""

    number: int
    state: str
    trigger: str
    affordable: bool | None
    only_minus_one: bool
    available: bool | None
    policy: str | None
    after: str

    def speaks(self, state: str, trigger: str, s: Situation, affords: Affords) -> bool:
        """Whether the row is about this situation."""
        return (
            self.state in ("*", state)
            and self.trigger == trigger
            and self.affordable in (None, affords(s))
            and (not self.only_minus_one or s.max_price == -1)
            and self.available in (None, s.available)
            and self.policy in (None, s.policy)
        )


NINE = (
    ReferenceRow(1, "*", "Deploy", True, False, True, None, "Running"),
    ReferenceRow(2, "Running", "Evict", None, True, True, None, "Running"),
    ReferenceRow(3, "Running", "Evict", None, False, False, "Deallocate", "Stopped"),
    ReferenceRow(4, "Running", "Evict", None, False, False, "Delete", "Deleted"),
    ReferenceRow(5, "Running", "Evict", False, False, None, "Deallocate", "Stopped"),
    ReferenceRow(6, "Running", "Evict", False, False, None, "Delete", "Deleted"),
    ReferenceRow(7, "Stopped", "Restart", False, False, None, "Deallocate", "Stopped"),
    ReferenceRow(8, "Stopped", "Restart", False, False, None, "Delete", "Deleted"),
    ReferenceRow(9, "Stopped", "Restart", True, False, True, None, "Running"),
)

SITUATIONS = [
    Situation(max_price, CURRENT, available, policy)
    for max_price, available, policy in product(
        (Decimal(-1), CURRENT - STEP, CURRENT, CURRENT + STEP), (False, True), ("Deallocate", "Delete")
    )
]
CELLS = list(product(("NotDeployed", "Running", "Stopped", "Deleted"), ("Deploy", "Evict", "Restart"), SITUATIONS))


def ours(state: str, trigger: str, s: Situation) -> tuple[str, Verdict, str]:
    """The row our table takes, what it does with the event, and where it leads."""
    terms = Terms(max_price_usd_per_h=s.max_price, policy=Policy(s.policy))
    offer = Offer(price_usd_per_h=s.current_price, capacity_available=s.available)
    row = SPOT_VM.row_for(VmState(state), VmTrigger(trigger), vm_facts(terms, offer))
    return row.id, row.verdict, row.after(VmState(state)).value


def spoken(state: str, trigger: str, s: Situation, affords: Affords = as_meant) -> set[ReferenceRow]:
    return {row for row in NINE if row.speaks(state, trigger, s, affords)}


@pytest.mark.parametrize("reference", NINE, ids=[f"row {row.number}" for row in NINE])
def test_each_of_the_nine_rows_is_reproduced_cell_for_cell(reference: ReferenceRow) -> None:
    """Wherever a row of the reference speaks, our VM goes where that row says."""
    cells = [cell for cell in CELLS if reference.speaks(*cell, as_meant)]
    assert cells
    for cell in cells:
        assert ours(*cell)[2] == reference.after, cell


def test_where_the_reference_is_silent_nothing_changes() -> None:
    """A cell that none of the nine rows covers is ignored or refused: no state is invented."""
    silent = [cell for cell in CELLS if not spoken(*cell)]
    assert silent
    for cell in silent:
        _, verdict, after = ours(*cell)
        assert (verdict is not Verdict.TAKEN, after) == (True, cell[0]), cell


def test_narrowing_the_price_evictions_loses_nothing() -> None:
    """Rows 5 and 6 overlap rows 3 and 4 where both causes hold; both lead to one state, so either may decide."""
    both = [cell for cell in CELLS if len(spoken(*cell)) > 1]
    assert {tuple(sorted(row.number for row in spoken(*cell))) for cell in both} == {(3, 5), (4, 6)}
    for cell in both:
        assert len({row.after for row in spoken(*cell)}) == 1
        assert ours(*cell)[0] == ("E2" if cell[2].policy == "Deallocate" else "E3")


def test_price_evictions_are_narrowed_to_available_capacity() -> None:
    """E4 and E5 decide exactly where the price alone is the cause."""
    priced = [cell for cell in CELLS if ours(*cell)[0] in ("E4", "E5")]
    alone = [cell for cell in CELLS if spoken(*cell) and {row.number for row in spoken(*cell)} <= {5, 6}]
    assert priced == alone
    assert all(cell[2].available for cell in priced)


def test_the_second_row_is_generalised_to_every_affordable_price() -> None:
    """E1 covers the reference's row 2, and beside it only max prices that the current price has not passed."""
    idle = [cell for cell in CELLS if ours(*cell)[0] == "E1"]
    assert {cell[2].max_price for cell in idle} == {Decimal(-1), CURRENT, CURRENT + STEP}
    assert all(row.number == 2 for cell in idle for row in spoken(*cell))


def test_the_disputed_row_stands_as_written_and_says_so() -> None:
    """S4 is the one disputed row: the reference deletes a stopped VM that Azure would refuse to start and keep."""
    disputed = {row.id: row.disputed for row in SPOT_VM.rows if row.disputed}
    assert set(disputed) == {"S4"}
    assert "SpotPriceGreaterThanProvidedMaxPrice" in disputed["S4"]
    deleted = [cell for cell in CELLS if ours(*cell)[0] == "S4"]
    assert {row.number for cell in deleted for row in spoken(*cell)} == {8}


def test_read_as_a_number_minus_one_can_never_be_deployed() -> None:
    """The reference's literal reading: no price is below -1, so its row 1 never speaks for a VM of -1. Ours deploys."""
    minus_one = [cell for cell in CELLS if cell[1] == "Deploy" and cell[2].max_price == -1]
    assert not any(spoken(*cell, as_a_number) for cell in minus_one)
    assert any(ours(*cell)[2] == "Running" for cell in minus_one if cell[0] != "Running")


def test_read_as_a_number_minus_one_makes_two_rows_contradict() -> None:
    """The reference's literal reading: row 2 keeps a VM of -1 running, and rows 5 and 6 take it away."""
    speaking = [spoken(*cell, as_a_number) for cell in CELLS]
    torn = {tuple(sorted(row.number for row in rows)) for rows in speaking if len({row.after for row in rows}) > 1}
    assert torn == {(2, 5), (2, 6)}
    kept = [cell for cell in CELLS if cell[0] == "Running" and cell[1] == "Evict" and cell[2].max_price == -1]
    assert {ours(*cell)[2] for cell in kept if cell[2].available} == {"Running"}


# -- the operator ------------------------------------------------------------------------------------------------------

REFUSALS = {
    ("Running", "Reprice"): "refused: deallocate first",
    **dict.fromkeys(
        product(("NotDeployed", "Deleted"), ("Deallocate", "Delete", "Reprice", "Restart")), "refused: not found"
    ),
}


def test_the_operator_is_refused_what_azure_refuses() -> None:
    """A running VM is not repriced, and nothing is asked of a VM that is not there; the refusal has its reason."""
    operator = (VmTrigger.DEALLOCATE, VmTrigger.DELETE, VmTrigger.REPRICE, VmTrigger.RESTART)
    refused = {
        (cell.state.value, cell.trigger.value): row.outcome
        for cell in SPOT_VM.cells()
        if cell.trigger in operator
        and (row := SPOT_VM.row_for(cell.state, cell.trigger, cell.facts)).verdict is Verdict.REFUSED
        and cell.state is not VmState.STOPPED
    }
    assert refused == REFUSALS
    assert "MaxPriceChangeNotAllowedForAllocatedVMs" in SPOT_VM.row("O6").rests_on


def test_a_stopped_vm_may_be_repriced() -> None:
    """Repricing is granted, not ignored, once the VM is deallocated; the state stays."""
    row = SPOT_VM.row_for(VmState.STOPPED, VmTrigger.REPRICE, ())
    assert (row.verdict, row.after(VmState.STOPPED)) == (Verdict.TAKEN, VmState.STOPPED)


# -- prices ------------------------------------------------------------------------------------------------------------

cents = st.integers(1, 10**8).map(lambda units: units * STEP)
"""Prices from 0.00001 to 1000 USD an hour, exact to the last place."""


@given(price=cents, current=cents, available=st.booleans(), policy=st.sampled_from(Policy))
def test_the_facts_are_exact_over_prices(price: Decimal, current: Decimal, available: bool, policy: Policy) -> None:
    """A max price affords what it is at least as high as, to the last of five places."""
    facts = vm_facts(
        Terms(max_price_usd_per_h=price, policy=policy), Offer(price_usd_per_h=current, capacity_available=available)
    )
    assert (VmFact.AFFORDABLE in facts) is (int(price / STEP) >= int(current / STEP))
    assert (VmFact.CAPACITY_AVAILABLE in facts) is available
    assert (VmFact.POLICY_DELETE in facts) is (policy is Policy.DELETE)


@given(current=cents)
def test_the_boundary_is_one_hundred_thousandth_wide(current: Decimal) -> None:
    """Equal prices are affordable, one step below is not, and -1 always is."""
    assert Terms(max_price_usd_per_h=current).affords(current)
    assert not Terms(max_price_usd_per_h=current).affords(current + STEP)
    assert Terms(max_price_usd_per_h=PAY_AS_YOU_GO).affords(current)


@pytest.mark.parametrize("text", ["0", "-0", "-0.00001", "-1.00001", "-2", "NaN", "Infinity", "-Infinity"])
def test_a_max_price_that_azure_does_not_take_is_refused(text: str) -> None:
    """Only -1 and finite prices above 0 are max prices."""
    with pytest.raises(ValueError, match="a max price is -1 or above 0 USD per hour"):
        Terms(max_price_usd_per_h=Decimal(text))


@pytest.mark.parametrize("text", ["0.000001", "1.000015", "0.1234567890123456789012345678901"])
def test_a_max_price_has_five_places(text: str) -> None:
    """A sixth place is refused, however many digits the number has."""
    with pytest.raises(ValueError, match="a max price has at most 5 decimal places"):
        Terms(max_price_usd_per_h=Decimal(text))


@pytest.mark.parametrize("text", ["0.00001", "0.1000000", "12E+1", "-1", "-1.0"])
def test_a_max_price_is_judged_by_its_value(text: str) -> None:
    """Trailing zeros and exponents do not matter."""
    assert Terms(max_price_usd_per_h=Decimal(text)).max_price_usd_per_h == Decimal(text)


@pytest.mark.parametrize("text", ["0", "-0.05", "NaN", "Infinity"])
def test_a_spot_price_is_above_zero(text: str) -> None:
    """A missing or a placeholder price is never taken for a free VM."""
    with pytest.raises(ValueError, match="a Spot price is above 0 USD per hour"):
        Offer(price_usd_per_h=Decimal(text), capacity_available=True)


def test_what_is_paid_follows_the_references_outputs() -> None:
    """Running holds compute, disks and quota; stopped holds disks and quota; a VM that is not there holds nothing."""
    assert holdings(VmState.RUNNING) == {Holding.COMPUTE, Holding.DISKS, Holding.QUOTA}
    assert holdings(VmState.STOPPED) == {Holding.DISKS, Holding.QUOTA}
    assert holdings(VmState.DELETED) == holdings(VmState.NOT_DEPLOYED) == frozenset()


@given(price=st.one_of(cents, st.just(PAY_AS_YOU_GO)), current=cents, disks=cents)
def test_the_current_price_is_paid_and_never_more_than_the_max(
    price: Decimal, current: Decimal, disks: Decimal
) -> None:
    """Compute costs the current price, capped; disks are paid as long as they exist; sums are exact."""
    terms = Terms(max_price_usd_per_h=price)
    offer = Offer(price_usd_per_h=current, capacity_available=True)
    cost = {state: cost_usd_per_h(state, terms, offer, disks_usd_per_h=disks) for state in VmState}
    compute = current if price == -1 or price > current else price
    assert cost == {
        VmState.NOT_DEPLOYED: 0,
        VmState.RUNNING: compute + disks,
        VmState.STOPPED: disks,
        VmState.DELETED: 0,
    }
