"""One VM of a simulated platform: its state in the Spot VM table, its boots, its bill."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal

from fsm.ports import VmIdentity
from fsm.spot_vm import ABSENT, SPOT_VM, Offer, Terms, VmState, cost_usd_per_h
from simulator.clock import SimulatedClock
from simulator.process import Process
from simulator.scenario import VmPlan
from simulator.vm import SimulatedVm

_HOUR_US = 3_600_000_000


class SkewedClock(SimulatedClock):
    """A VM's own wall clock, which may be wrong; its monotonic clock is right.

    Attributes:
        skew_s: by how much it is ahead.
    """

    def __init__(self, skew_s: float = 0.0) -> None:
        super().__init__()
        self.skew_s = skew_s

    def now(self) -> datetime:
        return super().now() + timedelta(seconds=self.skew_s)


@dataclass(slots=True)
class Bill:
    """What a VM has cost: exact sums of exact products.

    Attributes:
        compute_usd, disks_usd: in USD.
        running_s: time in Running, all of which is paid for.
    """

    compute_usd: Decimal = Decimal(0)
    disks_usd: Decimal = Decimal(0)
    running_s: float = 0.0
    paid_until_s: float = 0.0

    def charge(self, now_s: float, state: VmState, terms: Terms, offer: Offer, disks_usd_per_h: Decimal) -> None:
        """Bill the time since the last charge, in which state and offer did not change."""
        span_us = round((now_s - self.paid_until_s) * 1_000_000)
        self.paid_until_s = now_s
        compute_usd_per_h = cost_usd_per_h(state, terms, offer, disks_usd_per_h=Decimal(0))
        both_usd_per_h = cost_usd_per_h(state, terms, offer, disks_usd_per_h=disks_usd_per_h)
        self.compute_usd += compute_usd_per_h * span_us / _HOUR_US
        self.disks_usd += (both_usd_per_h - compute_usd_per_h) * span_us / _HOUR_US
        if state is VmState.RUNNING:
            self.running_s += span_us / 1_000_000


@dataclass(slots=True, eq=False)
class Machine:
    """A VM, whether it runs or not.

    Attributes:
        name: the same in every life of the VM.
        state: in the Spot VM table.
        generation: how often it was created; a new one has a new vmId.
        boots: how often it was allocated; each has a new boot id.
        no_room_until_s: until then there is no capacity for this very VM.
        allocation: rises with each allocation on the platform: the latest are taken first.
        doomed: an eviction is on its way.
        changed: set whenever its state has changed or the operator is to look again.
        history: when it entered which state, and the row that took it there.
    """

    name: str
    plan: VmPlan
    clock: SkewedClock
    terms: Terms = field(init=False)
    vm: SimulatedVm = field(init=False)
    state: VmState = SPOT_VM.initial
    generation: int = 0
    boots: int = 0
    no_room_until_s: float = 0.0
    allocation: int = 0
    doomed: bool = False
    process: Process | None = None
    changed: asyncio.Event = field(default_factory=asyncio.Event)
    bill: Bill = field(default_factory=Bill)
    history: list[tuple[float, VmState, str]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.terms = Terms(max_price_usd_per_h=self.plan.max_price_usd_per_h, policy=self.plan.policy)
        self.vm = SimulatedVm(self._identity())
        self.history.append((0.0, self.state, ""))

    @property
    def running(self) -> bool:
        return self.state is VmState.RUNNING

    @property
    def worker(self) -> Process | None:
        """Its worker's process, if one is alive."""
        return self.process if self.process is not None and self.process.alive else None

    def gone_since(self, boot: int) -> bool:
        """Whether this boot of the VM is over."""
        return self.boots != boot or not self.running

    def allocate(self, before: VmState, allocation: int) -> None:
        """The VM comes up: a new boot, and a new VM if there was none."""
        self.allocation = allocation
        self.boots += 1
        if before in ABSENT:
            self.generation += 1
        self.vm.identity = self._identity()
        self.vm.clear()

    def _identity(self) -> VmIdentity:
        return VmIdentity(
            vm_id=f"{self.name}-id-{self.generation}",
            name=self.name,
            boot_id=f"{self.name}-boot-{self.boots}",
            priority="Spot",
            eviction_policy=self.plan.policy.value,
        )


StartWorker = Callable[[Machine], Process]
