"""A simulated VM's operator: `VmControl` over the platform, whose every answer is a row of the Spot VM table."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

from fsm.errors import MissingError, RefusalCause, RefusedError
from fsm.ports import VmControl, VmView
from fsm.spot_vm import ABSENT, Terms, VmFact, VmRow, VmState, VmTrigger
from fsm.table import Verdict
from simulator.machine import Machine
from simulator.platform import Platform

_POWER = {VmState.RUNNING: "running", VmState.STOPPED: "deallocated"}


class SimulatedVmControl(VmControl):
    """Operates one machine of a platform, whose own operator should then do nothing."""

    def __init__(self, platform: Platform, machine: Machine) -> None:
        self._platform = platform
        self._machine = machine

    async def look(self, *, timeout_s: float) -> VmView:  # noqa: ARG002 -- nothing here takes time
        """The machine as it is."""
        machine = self._machine
        if machine.state in ABSENT:
            return VmView(state=machine.state, power="", priority="", terms=None)
        return VmView(state=machine.state, power=_POWER[machine.state], priority="Spot", terms=machine.terms)

    async def start(self, *, timeout_s: float) -> None:  # noqa: ARG002
        """Restart the machine."""
        self._order(VmTrigger.RESTART)

    async def deallocate(self, *, timeout_s: float) -> None:  # noqa: ARG002
        """Deallocate the machine."""
        self._order(VmTrigger.DEALLOCATE)

    async def reprice(self, max_price_usd_per_h: Decimal, *, timeout_s: float) -> None:  # noqa: ARG002
        """Give the machine another max price."""
        terms = Terms(max_price_usd_per_h=max_price_usd_per_h, policy=self._machine.terms.policy)
        if self._order(VmTrigger.REPRICE).verdict is Verdict.TAKEN:
            self._machine.terms = replace(self._machine.terms, max_price_usd_per_h=terms.max_price_usd_per_h)

    async def simulate_eviction(self, *, timeout_s: float) -> None:  # noqa: ARG002
        """Have the platform take the machine, announced or not as its plan says."""
        if self._machine.state in ABSENT:
            raise MissingError(f"there is no VM {self._machine.name}")
        self._platform.order_eviction(self._machine)

    def _order(self, trigger: VmTrigger) -> VmRow:
        """Put an order to the table.

        Raises:
            MissingError, RefusedError: the row refuses it.
        """
        absent = self._machine.state in ABSENT
        row = self._platform.fire(self._machine, trigger)
        if row.verdict is not Verdict.REFUSED:
            return row
        if absent:
            raise MissingError(f"{self._machine.name}: {row.outcome} ({row.id})")
        cause = RefusalCause.CAPACITY if VmFact.CAPACITY_AVAILABLE in row.unless else RefusalCause.PRICE
        raise RefusedError(f"{self._machine.name}: {row.outcome} ({row.id})", cause=cause, code=row.id)
