"""An operator's order, checked against the Spot VM table before anything is asked of the platform.

Outside of the VM not every fact is known: whether there is room never is, and the price only where somebody tells it.
So an order is put to the table under every assignment of what is not known. It is sent if some row of those would do
what is wanted; otherwise the row that stands against it is the answer.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from itertools import product

from fsm.spot_vm import PAY_AS_YOU_GO, SPOT_VM, Policy, Terms, VmFact, VmRow, VmState, VmTrigger
from fsm.table import Verdict


class Order(StrEnum):
    """What an operator may ask for."""

    START = "start"
    DEALLOCATE = "deallocate"
    REPRICE = "reprice"
    SIMULATE_EVICTION = "simulate-eviction"

    @property
    def trigger(self) -> VmTrigger:
        """The input of the table that the order is."""
        return _ORDERS[self][0]

    @property
    def goal(self) -> frozenset[VmState]:
        """The states that are wanted."""
        return _ORDERS[self][1]


_ORDERS: Mapping[Order, tuple[VmTrigger, frozenset[VmState]]] = {
    Order.START: (VmTrigger.RESTART, frozenset({VmState.RUNNING})),
    Order.DEALLOCATE: (VmTrigger.DEALLOCATE, frozenset({VmState.STOPPED})),
    Order.REPRICE: (VmTrigger.REPRICE, frozenset({VmState.STOPPED})),
    Order.SIMULATE_EVICTION: (VmTrigger.EVICT, frozenset({VmState.STOPPED, VmState.DELETED})),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Judgement:
    """What the table says of an order.

    Attributes:
        rows: those that may decide it, in the table's order; more than one where facts are not known.
        granted: the row that would do what is wanted, or None.
    """

    rows: tuple[VmRow, ...]
    granted: VmRow | None

    @property
    def against(self) -> VmRow:
        """The row that stands against an order that is not granted."""
        assert self.granted is None, "nothing stands against it"
        return self.rows[0]

    @property
    def idle(self) -> bool:
        """Whether there is nothing to do: what is wanted is so already."""
        return all(row.verdict is Verdict.IGNORED for row in self.rows)


def judge(order: Order, state: VmState, terms: Terms, *, price_usd_per_h: Decimal | None = None) -> Judgement:
    """Put an order to the table.

    Args:
        order: what is wanted.
        state: of the VM.
        terms: the VM's own.
        price_usd_per_h: the current Spot price, or None where nobody knows it.
    """
    known = {VmFact.POLICY_DELETE: terms.policy is Policy.DELETE}
    if terms.max_price_usd_per_h == PAY_AS_YOU_GO:
        known[VmFact.AFFORDABLE] = True
    elif price_usd_per_h is not None:
        known[VmFact.AFFORDABLE] = terms.affords(price_usd_per_h)
    if order is Order.SIMULATE_EVICTION:
        known[VmFact.CAPACITY_AVAILABLE] = False  # Azure acts as if it needed the capacity back
    rows = _possible(state, order.trigger, known)
    granted = (row for row in rows if row.verdict is Verdict.TAKEN and row.after(state) in order.goal)
    return Judgement(rows=rows, granted=next(granted, None))


def _possible(state: VmState, trigger: VmTrigger, known: Mapping[VmFact, bool]) -> tuple[VmRow, ...]:
    """The rows that decide this under some assignment of the facts that are not known."""
    open_facts = [fact for fact in SPOT_VM.facts_at(state, trigger) if fact not in known]
    found = {
        SPOT_VM.row_for(state, trigger, _holding({**known, **dict(zip(open_facts, signs, strict=True))})).id
        for signs in product((True, False), repeat=len(open_facts))
    }
    return tuple(row for row in SPOT_VM.rows if row.id in found)


def _holding(signs: Mapping[VmFact, bool]) -> frozenset[VmFact]:
    return frozenset(fact for fact, holds in signs.items() if holds)
