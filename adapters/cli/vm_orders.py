"""Carrying out an operator's order: looked at, put to the table, sent, waited for, and looked at again."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, TypeVar

import typer

from adapters import wiring
from adapters.azure.planning.retail import Os, usual_spelling
from adapters.cli import planning
from adapters.cli.output import duration_text, say, show_json, show_table
from fsm.errors import ConfigurationError, PlatformError, RefusalCause, RefusedError, ReplyLostError, SpotfsmError
from fsm.orders import Judgement, Order, judge
from fsm.ports import VmControl, VmView
from fsm.spot_vm import PAY_AS_YOU_GO, Policy, Terms, VmRow, VmState

if TYPE_CHECKING:
    from adapters.azure.planning.planner import Planner

Answer = TypeVar("Answer")

LOOK_TIMEOUT_S = 120.0
WATCH_S = 5.0
"""Between looks at a VM that is being evicted."""
_SAY_EVERY_S = 5.0
_CHANGING = frozenset({"deallocating", "deleting"})
"""Power words of a VM that is on its way out: nothing can be asked of it until it is there."""
_SETTLED = frozenset({"running", "deallocated"})
_REMEDIES = {
    RefusalCause.PRICE: "Raise the max price while it is deallocated (`spotfsm vm reprice`), or wait for the price.",
    RefusalCause.CAPACITY: "Try again in a minute and then ever later, or take another size, zone or region.",
    RefusalCause.QUOTA: "Ask for more Spot cores (LowPriorityCores) there, or delete a VM: a deallocated one keeps its "
    "own.",
    RefusalCause.OTHER: "See what else is being done with the VM, and try again.",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Which VM, and how Azure is asked about it."""

    settings: wiring.ManagementSettings
    resource_group: str
    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Ordered:
    """An order, and how it is to be carried out.

    Attributes:
        max_price_usd_per_h: of a repricing.
        yes: do not ask before something is deleted.
        watch: stay until an eviction has happened.
    """

    order: Order
    timeout_s: float
    max_price_usd_per_h: Decimal | None = None
    yes: bool = False
    watch: bool = False


class Operator:
    """One VM, its control, and the price of its size."""

    def __init__(self, place: Place, control: VmControl, planner: Planner) -> None:
        self._place = place
        self._control = control
        self._planner = planner

    async def look(self) -> VmView:
        """The VM.

        Raises:
            ConfigurationError: there is none.
        """
        view = await _told(self._control.look(timeout_s=LOOK_TIMEOUT_S), f"looking at {self._place.name}")
        if not view.power:
            problem = f"there is no VM {self._place.name!r} in {self._place.resource_group}"
            raise ConfigurationError("name", problem, "Check the name, the group and the subscription.")
        return view

    async def price(self, view: VmView) -> Decimal | None:
        """The current Spot price of the VM's size, or None where it cannot be told: an old one would be none."""
        try:
            plan = await self._planner.price_plan([usual_spelling(view.size)], [view.region], Os(view.os or Os.LINUX))
        except (SpotfsmError, ValueError) as exc:
            say(f"note: the current Spot price is not known: {exc}")
            return None
        return plan.quotes[0].spot.usd_per_h

    async def judge(self, order: Order, view: VmView) -> tuple[Judgement, Decimal | None]:
        """What the table says of an order, and the price it was told, where that matters and is known.

        Raises:
            ConfigurationError: the VM is no Spot VM.
        """
        if view.terms is None:
            problem = f"{self._place.name} has priority {view.priority}, and the table is of Spot VMs"
            raise ConfigurationError("name", problem, "Use `az vm` for it.")
        limited = view.terms.max_price_usd_per_h != PAY_AS_YOU_GO
        asked = limited and order is Order.START and view.state is VmState.STOPPED
        price = await self.price(view) if asked else None
        return judge(order, view.state, view.terms, price_usd_per_h=price), price

    async def send(self, ordered: Ordered) -> None:
        """Send the order, and wait for it.

        Raises:
            RefusedError: with its kind and what to do about it.
            SpotfsmError: otherwise.
        """
        control, limit_s = self._control, ordered.timeout_s
        match ordered.order:
            case Order.START:
                sent = control.start(timeout_s=limit_s)
            case Order.DEALLOCATE:
                sent = control.deallocate(timeout_s=limit_s)
            case Order.REPRICE:
                assert ordered.max_price_usd_per_h is not None
                sent = control.reprice(ordered.max_price_usd_per_h, timeout_s=limit_s)
            case Order.SIMULATE_EVICTION:
                sent = control.simulate_eviction(timeout_s=limit_s)
        try:
            await _told(sent, f"{ordered.order} {self._place.name}")
        except RefusedError as exc:
            kind = "" if exc.cause is RefusalCause.OTHER else f"refused for {exc.cause}: "
            text = f"{kind}{exc}".rstrip(".")
            raise RefusedError(f"{text}. {_REMEDIES[exc.cause]}", cause=exc.cause, code=exc.code) from exc

    async def watch(self, timeout_s: float) -> VmView:
        """Look until the VM is no longer allocated.

        Raises:
            ReplyLostError: it still is.
        """
        began_s = time.monotonic()
        while (view := await self._control.look(timeout_s=LOOK_TIMEOUT_S)).state is VmState.RUNNING:
            passed_s = time.monotonic() - began_s
            if passed_s > timeout_s:
                raise ReplyLostError(f"{self._place.name} still runs after {duration_text(timeout_s)}")
            say(f"{self._place.name} is {view.power} after {passed_s:.0f} s")
            await asyncio.sleep(WATCH_S)
        return view


@asynccontextmanager
async def operating(place: Place) -> AsyncIterator[Operator]:
    """What operates the VM."""
    waiting = planning.PagesRead()
    async with wiring.open_operator(
        place.settings, resource_group=place.resource_group, name=place.name, on_wait=waiting.wait
    ) as (control, planner):
        yield Operator(place, control, planner)


async def carry_out(place: Place, ordered: Ordered) -> tuple[VmView, VmRow]:
    """Carry out an order, and return the VM as it then is with the row that was taken.

    Raises:
        PlatformError: the table refuses it, or Azure does.
        ConfigurationError: there is no such Spot VM, or nobody agreed to its deletion.
    """
    async with operating(place) as operator:
        view = await operator.look()
        judgement, price = await operator.judge(ordered.order, view)
        if view.power in _CHANGING:
            raise PlatformError(f"{place.name} is {view.power}. Try again when that is done.")
        if judgement.idle and view.power in _SETTLED:
            say(f"{place.name} is {view.power}: {judgement.rows[0].outcome} ({judgement.rows[0].id})")
            return view, judgement.rows[0]
        if judgement.granted is None and not judgement.idle:
            raise PlatformError(_against(place.name, view, judgement.against, price))
        row = judgement.granted or judgement.rows[0]
        _agreed(place.name, view, ordered)
        await operator.send(ordered)
        if ordered.order is not Order.SIMULATE_EVICTION:
            return await operator.look(), row
        if not ordered.watch:
            say(f"accepted: {place.name} goes within half an hour, usually in a minute or two, and after a notice")
            return view, row
        return await operator.watch(ordered.timeout_s), row


def _against(name: str, view: VmView, row: VmRow, price_usd_per_h: Decimal | None) -> str:
    """Why an order is not sent."""
    text = f"{name} is {view.power}: row {row.id} of the Spot VM table: {row.outcome}, because {row.why}"
    if price_usd_per_h is not None and view.terms is not None:
        limit = planning.money(view.terms.max_price_usd_per_h)
        text += f" (the max price is {limit} and the current one {planning.money(price_usd_per_h)} USD an hour)"
    return f"{text}; but {row.disputed}" if row.disputed else text


def _agreed(name: str, view: VmView, ordered: Ordered) -> None:
    """Have somebody agree to what cannot be undone.

    Raises:
        ConfigurationError: nobody does.
    """
    deletes = view.terms is not None and view.terms.policy is Policy.DELETE
    if ordered.order is not Order.SIMULATE_EVICTION or not deletes or ordered.yes:
        return
    if not sys.stdin.isatty():
        problem = f"the eviction policy of {name} is Delete: the VM and its disks will be deleted"
        raise ConfigurationError("--yes", problem, "Add it if that is meant.")
    typer.confirm(f"The eviction policy of {name} is Delete: delete the VM and its disks?", abort=True, err=True)


async def _told(work: Awaitable[Answer], what: str) -> Answer:
    """Wait for something that may take minutes, and say so now and then."""

    async def tell() -> None:
        began_s = time.monotonic()
        await asyncio.sleep(planning.QUIET_S)
        while True:
            say(f"{what}: {time.monotonic() - began_s:.0f} s")
            await asyncio.sleep(_SAY_EVERY_S)

    telling = asyncio.create_task(tell())
    try:
        return await work
    finally:
        telling.cancel()
        with suppress(asyncio.CancelledError):
            await telling


# -- showing -----------------------------------------------------------------------------------------------------------


def report(name: str, view: VmView, price_usd_per_h: Decimal | None = None) -> dict[str, str | None]:
    """The VM for programs, and for people."""
    terms: Terms | None = view.terms
    return {
        "name": name,
        "state": view.state.value,
        "power": view.power,
        "provisioning": view.provisioning,
        "priority": view.priority,
        "size": view.size,
        "region": view.region,
        "zone": view.zone,
        "os": view.os,
        "eviction_policy": None if terms is None else terms.policy.value,
        "max_price_usd_per_h": None if terms is None else planning.exact(terms.max_price_usd_per_h),
        "spot_usd_per_h": planning.exact(price_usd_per_h),
    }


def show_outcome(name: str, view: VmView, row: VmRow, *, as_json: bool) -> None:
    """What became of an order."""
    said = report(name, view)
    if as_json:
        show_json({**said, "row": row.id})
    else:
        print(f"{name} is {view.power or 'gone'} ({row.id} {row.outcome})")


def show_vm(name: str, view: VmView, price_usd_per_h: Decimal | None, *, as_json: bool) -> None:
    """The VM, and what the table says of each order."""
    said = report(name, view, price_usd_per_h)
    judged: Mapping[Order, Judgement] = {}
    if view.terms is not None:
        judged = {order: judge(order, view.state, view.terms, price_usd_per_h=price_usd_per_h) for order in Order}
    if as_json:
        ids = {order.value: [row.id for row in judgement.rows] for order, judgement in judged.items()}
        show_json({**said, "orders": ids})
        return
    outcomes = {
        order.value: "; or ".join(f"{row.outcome} ({row.id})" for row in judgement.rows)
        for order, judgement in judged.items()
    }
    show_table([*((key, value or None) for key, value in said.items()), *outcomes.items()])
