"""The Spot VM machine: what Azure does to the VM, and what its operator may ask of Azure.

The reference's nine rows are here cell for cell, with its three inputs (Deploy, Evict, Restart); the operator's
Deallocate, Delete and Reprice complete them. Two of its rows had to be narrowed: an eviction for the price (E4, E5) now
says that capacity is there, because otherwise it overlaps an eviction for capacity (E2, E3). Nothing is lost by that:
where both causes hold, both of the reference's rows lead to the same state.

A max price of -1 means "up to the pay-as-you-go price". It is always affordable, and never a number to compare. Read
as a number, as the reference's conditions are written, it is below every price: its row 1 could then never deploy a VM
with a max price of -1, and its row 2 (such a VM keeps running) would contradict its rows 5 and 6 (a VM whose max price
is below the current one is stopped or deleted). A test shows both.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from fractions import Fraction
from typing import Final, assert_never

from fsm.sources import REFERENCE, SPOT_ERRORS, SPOT_VMS, VM_STATES
from fsm.table import Row, Table, Verdict


class VmState(StrEnum):
    """Where a Spot VM stands."""

    NOT_DEPLOYED = "NotDeployed"
    RUNNING = "Running"
    STOPPED = "Stopped"
    """Deallocated: no compute, but its disks, its name and its place in the quota."""
    DELETED = "Deleted"
    """Gone with its disks. Not a final state: it can be deployed again, as a new VM of the same name."""


class VmTrigger(StrEnum):
    """What can be done to a Spot VM: the reference's three inputs, and the operator's other three."""

    DEPLOY = "Deploy"
    EVICT = "Evict"
    RESTART = "Restart"
    DEALLOCATE = "Deallocate"
    DELETE = "Delete"
    REPRICE = "Reprice"


class VmFact(StrEnum):
    """What the rows look at."""

    AFFORDABLE = "affordable"
    """The max price is -1, or at least the current price."""
    CAPACITY_AVAILABLE = "capacity available"
    """Azure has room for this size in this place."""
    POLICY_DELETE = "policy Delete"
    """The eviction policy is Delete; otherwise it is Deallocate."""


S, T, F = VmState, VmTrigger, VmFact
VmRow = Row[VmState, VmTrigger, VmFact]

ALLOCATED = (S.RUNNING,)
"""The states in which Azure holds compute for the VM."""
NOT_ALLOCATED = (S.NOT_DEPLOYED, S.STOPPED, S.DELETED)
ABSENT = (S.NOT_DEPLOYED, S.DELETED)
"""The states in which there is no such VM to ask anything of."""

_NO_CAPACITY = SPOT_ERRORS.says("SkuNotAvailable: an error, and nothing changes")
_PRICE = SPOT_ERRORS.says("SpotPriceGreaterThanProvidedMaxPrice: an error, and nothing changes")
_NOT_FOUND = "Azure Resource Manager answers 404 ResourceNotFound"
_POLICY = SPOT_VMS.says("eviction policy")

SPOT_VM = Table(
    name="spot_vm",
    states=VmState,
    triggers=VmTrigger,
    facts=VmFact,
    initial=S.NOT_DEPLOYED,
    rows=(
        # -- Deploy --------------------------------------------------------------------------------------------------
        VmRow(
            id="D1", source=NOT_ALLOCATED, trigger=T.DEPLOY, when=(F.AFFORDABLE, F.CAPACITY_AVAILABLE), dest=S.RUNNING,
            outcome="deployed", why="the price is within the limit, and there is room",
            rests_on=REFERENCE.says("row 1"),
        ),
        VmRow(
            id="D2", source=NOT_ALLOCATED, trigger=T.DEPLOY, when=(F.AFFORDABLE,), unless=(F.CAPACITY_AVAILABLE,),
            verdict=Verdict.REFUSED, outcome="refused: no capacity", why="a Spot VM has no claim to capacity",
            rests_on=_NO_CAPACITY,
        ),
        VmRow(
            id="D3", source=NOT_ALLOCATED, trigger=T.DEPLOY, unless=(F.AFFORDABLE,), verdict=Verdict.REFUSED,
            outcome="refused: the max price is below the current price",
            why="the max price is compared when the VM is created", rests_on=_PRICE,
        ),
        VmRow(
            id="D4", source=ALLOCATED, trigger=T.DEPLOY, verdict=Verdict.IGNORED, outcome="already running",
            why="deploying the same template again changes nothing", rests_on=REFERENCE.says("row 1, from any state"),
        ),
        # -- Evict ---------------------------------------------------------------------------------------------------
        VmRow(
            id="E1", source=ALLOCATED, trigger=T.EVICT, when=(F.AFFORDABLE, F.CAPACITY_AVAILABLE),
            verdict=Verdict.IGNORED, outcome="no cause: keeps running",
            why="only missing capacity or a price over the limit evicts; with -1 the price never does",
            rests_on=REFERENCE.says("row 2, for every affordable max price"),
        ),
        VmRow(
            id="E2", source=ALLOCATED, trigger=T.EVICT, unless=(F.CAPACITY_AVAILABLE, F.POLICY_DELETE), dest=S.STOPPED,
            outcome="evicted for capacity: deallocated", why="Azure wants the capacity back, at any price",
            rests_on=REFERENCE.says("row 3"),
        ),
        VmRow(
            id="E3", source=ALLOCATED, trigger=T.EVICT, when=(F.POLICY_DELETE,), unless=(F.CAPACITY_AVAILABLE,),
            dest=S.DELETED, outcome="evicted for capacity: deleted with its disks",
            why="Azure wants the capacity back, at any price", rests_on=REFERENCE.says("row 4"),
        ),
        VmRow(
            id="E4", source=ALLOCATED, trigger=T.EVICT, when=(F.CAPACITY_AVAILABLE,),
            unless=(F.AFFORDABLE, F.POLICY_DELETE), dest=S.STOPPED, outcome="evicted for the price: deallocated",
            why="the current price has passed the max price", rests_on=REFERENCE.says("row 5, apart from row 3"),
        ),
        VmRow(
            id="E5", source=ALLOCATED, trigger=T.EVICT, when=(F.CAPACITY_AVAILABLE, F.POLICY_DELETE),
            unless=(F.AFFORDABLE,), dest=S.DELETED, outcome="evicted for the price: deleted with its disks",
            why="the current price has passed the max price", rests_on=REFERENCE.says("row 6, apart from row 4"),
        ),
        VmRow(
            id="E6", source=NOT_ALLOCATED, trigger=T.EVICT, verdict=Verdict.IGNORED, outcome="nothing to evict",
            why="nothing is allocated; late and doubled evictions are normal", rests_on=_POLICY,
        ),
        # -- Restart -------------------------------------------------------------------------------------------------
        VmRow(
            id="S1", source=(S.STOPPED,), trigger=T.RESTART, when=(F.AFFORDABLE, F.CAPACITY_AVAILABLE), dest=S.RUNNING,
            outcome="restarted", why="a deallocated VM starts where price and capacity allow it",
            rests_on=REFERENCE.says("row 9"),
        ),
        VmRow(
            id="S2", source=(S.STOPPED,), trigger=T.RESTART, when=(F.AFFORDABLE,), unless=(F.CAPACITY_AVAILABLE,),
            verdict=Verdict.REFUSED, outcome="refused: no capacity", why="an allocation is never guaranteed",
            rests_on=_NO_CAPACITY,
        ),
        VmRow(
            id="S3", source=(S.STOPPED,), trigger=T.RESTART, unless=(F.AFFORDABLE, F.POLICY_DELETE),
            verdict=Verdict.REFUSED, outcome="refused: the max price is below the current price",
            why="the max price is compared again at every start", rests_on=REFERENCE.says("row 7"),
        ),
        VmRow(
            id="S4", source=(S.STOPPED,), trigger=T.RESTART, when=(F.POLICY_DELETE,), unless=(F.AFFORDABLE,),
            dest=S.DELETED, outcome="deleted", why="kept as the reference writes it",
            rests_on=REFERENCE.says("row 8"),
            disputed="Azure refuses the start with SpotPriceGreaterThanProvidedMaxPrice and keeps the VM: the policy "
            f"speaks of evictions, and a stopped VM cannot be evicted ({SPOT_ERRORS})",
        ),
        VmRow(
            id="S5", source=ALLOCATED, trigger=T.RESTART, verdict=Verdict.IGNORED, outcome="already running",
            why="starting a running VM changes nothing", rests_on=VM_STATES.says("Start leads to Running"),
        ),
        VmRow(
            id="S6", source=ABSENT, trigger=T.RESTART, verdict=Verdict.REFUSED, outcome="refused: not found",
            why="a start does not create a VM", rests_on=_NOT_FOUND,
        ),
        # -- the operator --------------------------------------------------------------------------------------------
        VmRow(
            id="O1", source=ALLOCATED, trigger=T.DEALLOCATE, dest=S.STOPPED, outcome="deallocated by the operator",
            why="compute is given back and no longer paid, whatever the eviction policy is",
            rests_on=VM_STATES.says("Deallocated is not billed for compute"),
        ),
        VmRow(
            id="O2", source=(S.STOPPED,), trigger=T.DEALLOCATE, verdict=Verdict.IGNORED, outcome="already deallocated",
            why="asking twice changes nothing", rests_on=VM_STATES.says("Deallocated"),
        ),
        VmRow(
            id="O3", source=ABSENT, trigger=T.DEALLOCATE, verdict=Verdict.REFUSED, outcome="refused: not found",
            why="there is nothing to deallocate", rests_on=_NOT_FOUND,
        ),
        VmRow(
            id="O4", source=(S.RUNNING, S.STOPPED), trigger=T.DELETE, dest=S.DELETED, outcome="deleted by the operator",
            why="a VM can be deleted wherever it exists; here its disks go with it, as under policy Delete",
            rests_on=_POLICY,
        ),
        VmRow(
            id="O5", source=ABSENT, trigger=T.DELETE, verdict=Verdict.REFUSED, outcome="refused: not found",
            why="there is nothing to delete", rests_on=_NOT_FOUND,
        ),
        VmRow(
            id="O6", source=ALLOCATED, trigger=T.REPRICE, verdict=Verdict.REFUSED,
            outcome="refused: deallocate first", why="the max price of an allocated VM cannot change",
            rests_on=SPOT_ERRORS.says("MaxPriceChangeNotAllowedForAllocatedVMs"),
        ),
        VmRow(
            id="O7", source=(S.STOPPED,), trigger=T.REPRICE, outcome="the new max price holds from the next start",
            why="a deallocated VM holds no capacity that an old price was promised for",
            rests_on=SPOT_ERRORS.says("MaxPriceChangeNotAllowedForAllocatedVMs: deallocate and try again"),
        ),
        VmRow(
            id="O8", source=ABSENT, trigger=T.REPRICE, verdict=Verdict.REFUSED, outcome="refused: not found",
            why="there is no max price to change; the next Deploy brings its own", rests_on=_NOT_FOUND,
        ),
    ),
)  # fmt: skip


# -- the concrete world behind the facts ---------------------------------------------------------------------------

PAY_AS_YOU_GO: Final = Decimal(-1)
"""The max price that stands for "up to the pay-as-you-go price": never evicted for its price."""
PRICE_PLACES_MAX: Final = 5
"""Decimal places of a max price; Azure takes no more."""


class Policy(StrEnum):
    """What an eviction leaves."""

    DEALLOCATE = "Deallocate"
    DELETE = "Delete"


class Holding(StrEnum):
    """What a VM takes up in a state, paid or not."""

    COMPUTE = "compute"
    """Paid by the hour at the current Spot price."""
    DISKS = "disks"
    """Paid by the hour, whether the VM runs or not."""
    QUOTA = "quota"
    """Cores of the subscription's Spot quota: not paid, and not there for another VM."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """What the operator agreed to when the VM was created or repriced.

    Attributes:
        max_price_usd_per_h: -1, or above 0 with at most 5 decimal places.
        policy: what an eviction leaves.

    Raises:
        ValueError: for any other max price.
    """

    max_price_usd_per_h: Decimal
    policy: Policy = Policy.DEALLOCATE

    def __post_init__(self) -> None:
        price = self.max_price_usd_per_h
        if not price.is_finite() or (price <= 0 and price != PAY_AS_YOU_GO):
            raise ValueError(f"a max price is -1 or above 0 USD per hour, not {price}")
        if (Fraction(price) * 10**PRICE_PLACES_MAX).denominator != 1:
            raise ValueError(f"a max price has at most {PRICE_PLACES_MAX} decimal places, not {price}")

    def affords(self, price_usd_per_h: Decimal) -> bool:
        """Whether the VM may run at this price."""
        return self.max_price_usd_per_h == PAY_AS_YOU_GO or self.max_price_usd_per_h >= price_usd_per_h


@dataclass(frozen=True, slots=True, kw_only=True)
class Offer:
    """What Azure offers at a moment, for the VM's size and place.

    Attributes:
        price_usd_per_h: the current Spot price, above 0.
        capacity_available: whether there is room.

    Raises:
        ValueError: the price is not a number above 0.
    """

    price_usd_per_h: Decimal
    capacity_available: bool

    def __post_init__(self) -> None:
        if not self.price_usd_per_h.is_finite() or self.price_usd_per_h <= 0:
            raise ValueError(f"a Spot price is above 0 USD per hour, not {self.price_usd_per_h}")


def vm_facts(terms: Terms, offer: Offer) -> frozenset[VmFact]:
    """The facts that hold for these terms under this offer."""
    signs = {
        F.AFFORDABLE: terms.affords(offer.price_usd_per_h),
        F.CAPACITY_AVAILABLE: offer.capacity_available,
        F.POLICY_DELETE: terms.policy is Policy.DELETE,
    }
    return frozenset(fact for fact, holds in signs.items() if holds)


def holdings(state: VmState) -> frozenset[Holding]:
    """What the VM takes up in this state, as the reference's column "Output" has it."""
    match state:
        case VmState.RUNNING:
            return frozenset(Holding)
        case VmState.STOPPED:
            return frozenset({Holding.DISKS, Holding.QUOTA})
        case VmState.NOT_DEPLOYED | VmState.DELETED:
            return frozenset()
        case _:
            assert_never(state)


def cost_usd_per_h(state: VmState, terms: Terms, offer: Offer, *, disks_usd_per_h: Decimal) -> Decimal:
    """What the VM costs by the hour in this state.

    Compute is paid at the current price, not at the max price, and never above it: a VM whose max price was just passed
    is evicted, not charged more.
    """
    held = holdings(state)
    compute_usd_per_h = offer.price_usd_per_h
    if terms.max_price_usd_per_h != PAY_AS_YOU_GO:
        compute_usd_per_h = min(compute_usd_per_h, terms.max_price_usd_per_h)
    return (compute_usd_per_h if Holding.COMPUTE in held else Decimal(0)) + (
        disks_usd_per_h if Holding.DISKS in held else Decimal(0)
    )
