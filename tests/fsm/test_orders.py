"""An operator's orders: sent where the table lets them, refused with its row where it does not."""

from __future__ import annotations

from decimal import Decimal
from itertools import product

import pytest

from fsm.orders import Judgement, Order, judge
from fsm.spot_vm import PAY_AS_YOU_GO, SPOT_VM, Offer, Policy, Terms, VmState, vm_facts
from fsm.table import Verdict

N, R, S, D = VmState.NOT_DEPLOYED, VmState.RUNNING, VmState.STOPPED, VmState.DELETED
LIMITED = Terms(max_price_usd_per_h=Decimal("0.05"))
UNLIMITED = Terms(max_price_usd_per_h=PAY_AS_YOU_GO)
LIMITED_DELETE = Terms(max_price_usd_per_h=Decimal("0.05"), policy=Policy.DELETE)


def ids(judgement: Judgement) -> list[str]:
    return [row.id for row in judgement.rows]


@pytest.mark.parametrize(
    ("order", "state", "terms", "rows", "granted"),
    [
        (Order.START, S, UNLIMITED, ["S1", "S2"], "S1"),
        (Order.START, S, LIMITED, ["S1", "S2", "S3"], "S1"),
        (Order.START, S, LIMITED_DELETE, ["S1", "S2", "S4"], "S1"),
        (Order.START, R, LIMITED, ["S5"], None),
        (Order.START, N, LIMITED, ["S6"], None),
        (Order.START, D, LIMITED, ["S6"], None),
        (Order.DEALLOCATE, R, LIMITED, ["O1"], "O1"),
        (Order.DEALLOCATE, S, LIMITED, ["O2"], None),
        (Order.DEALLOCATE, D, LIMITED, ["O3"], None),
        (Order.REPRICE, R, LIMITED, ["O6"], None),
        (Order.REPRICE, S, LIMITED, ["O7"], "O7"),
        (Order.REPRICE, N, LIMITED, ["O8"], None),
        (Order.SIMULATE_EVICTION, R, LIMITED, ["E2"], "E2"),
        (Order.SIMULATE_EVICTION, R, UNLIMITED, ["E2"], "E2"),
        (Order.SIMULATE_EVICTION, R, LIMITED_DELETE, ["E3"], "E3"),
        (Order.SIMULATE_EVICTION, S, LIMITED, ["E6"], None),
    ],
)
def test_an_order_meets_its_rows(
    order: Order, state: VmState, terms: Terms, rows: list[str], granted: str | None
) -> None:
    """With nothing known of price and room, every row that may decide is found, and the one that helps is named."""
    judgement = judge(order, state, terms)
    assert ids(judgement) == rows
    assert (judgement.granted and judgement.granted.id) == granted


@pytest.mark.parametrize(
    ("terms", "price", "rows", "granted"),
    [
        (LIMITED, "0.05", ["S1", "S2"], True),
        (LIMITED, "0.05001", ["S3"], False),
        (LIMITED_DELETE, "0.05001", ["S4"], False),
        (UNLIMITED, "9", ["S1", "S2"], True),
    ],
)
def test_a_known_price_decides_a_start(terms: Terms, price: str, rows: list[str], granted: bool) -> None:
    """Above the max price no start is sent: row 8's deletion is disputed, and in neither reading does the VM run."""
    judgement = judge(Order.START, S, terms, price_usd_per_h=Decimal(price))
    assert ids(judgement) == rows
    assert (judgement.granted is not None) is granted
    if not granted:
        assert judgement.against.id == rows[0]
        assert not judgement.idle


def test_what_is_so_already_is_nothing_to_do() -> None:
    """A doubled order is no fault; a refused one is none that is done."""
    assert judge(Order.START, R, LIMITED).idle
    assert judge(Order.DEALLOCATE, S, LIMITED).idle
    assert judge(Order.SIMULATE_EVICTION, S, LIMITED).idle
    assert not judge(Order.REPRICE, R, LIMITED).idle
    assert not judge(Order.START, N, LIMITED).idle


@pytest.mark.parametrize(("order", "state", "terms"), [*product(Order, VmState, (LIMITED, UNLIMITED, LIMITED_DELETE))])
@pytest.mark.parametrize("price", [None, Decimal("0.04"), Decimal("0.06")])
def test_whatever_turns_out_is_one_of_the_rows(
    order: Order, state: VmState, terms: Terms, price: Decimal | None
) -> None:
    """Under every offer that agrees with what is known, the table's own row is among those that were found."""
    found = judge(order, state, terms, price_usd_per_h=price)
    for now, room in product((Decimal("0.04"), Decimal("0.06")), (False, True)):
        if (price is not None and now != price) or (order is Order.SIMULATE_EVICTION and room):
            continue
        facts = vm_facts(terms, Offer(price_usd_per_h=now, capacity_available=room))
        row = SPOT_VM.row_for(state, order.trigger, facts)
        assert row.id in ids(found)
        if found.granted is None:
            assert row.verdict is not Verdict.TAKEN or row.after(state) not in order.goal
