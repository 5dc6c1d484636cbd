"""Two worlds with one Spot VM in each: Azure's compute SDK over HTTP, and the simulator's platform."""

from __future__ import annotations

import asyncio
from abc import abstractmethod
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from decimal import Decimal
from typing import Protocol

import pytest

from adapters.azure import vm_control
from adapters.azure.identity import Identity
from adapters.azure.management import ArmToken
from adapters.twin.server import serve_twin
from fsm.ports import VmControl
from fsm.spot_vm import Policy, VmState, VmTrigger
from simulator.scenario import Action, MarketAt, OperatorPlan, Scenario, ScheduledMarket, VmPlan, WorkloadPlan
from simulator.stage import Stage
from simulator.vm_control import SimulatedVmControl
from simulator.workload import Workload
from tests.adapters.azure.compute import GROUP, NAME, Compute
from tests.adapters.azure.planning.cloud import SUBSCRIPTION, serve_cloud

MAX_PRICE = Decimal("0.05")
DEAR = Decimal("0.06")


class VmWorld(Protocol):
    """A platform with one Spot VM, which runs, and whose max price is `MAX_PRICE`; the price is below it."""

    @abstractmethod
    def control(self) -> VmControl:
        """The VM's operator."""

    @abstractmethod
    async def raise_price(self) -> None:
        """From now on the price is above the VM's limit; a VM that is already stopped is not touched."""

    @abstractmethod
    async def take_capacity(self) -> None:
        """From now on the price is right, and there is no room."""

    @abstractmethod
    async def delete(self) -> None:
        """The VM is no more."""

    @abstractmethod
    async def pass_time(self) -> None:
        """Let pass the time in which an eviction that was accepted happens."""


VmWorldMaker = Callable[[Policy], AbstractAsyncContextManager[VmWorld]]


@dataclass
class AzureVmWorld(VmWorld):
    """Through the SDK to a service on loopback."""

    compute: Compute
    azure: VmControl

    def control(self) -> VmControl:
        return self.azure

    async def raise_price(self) -> None:
        self.compute.refused_later["start"] = ("SpotPriceGreaterThanProvidedMaxPrice", "the max price is lower")

    async def take_capacity(self) -> None:
        self.compute.refused_later["start"] = ("SkuNotAvailable", "no room")

    async def delete(self) -> None:
        self.compute.exists = False

    async def pass_time(self) -> None:
        for _ in range(self.compute.evicts_after + 1):
            await self.azure.look(timeout_s=10.0)


@asynccontextmanager
async def _azure_world(policy: Policy) -> AsyncIterator[VmWorld]:
    with serve_cloud() as cloud, pytest.MonkeyPatch.context() as patch:
        patch.setattr(vm_control, "POLL_S", 0.01)
        patch.setattr(vm_control, "LOOK_PAUSE_S", 0.01)
        compute = Compute(url=cloud.url, power="running", policy=policy.value, max_price=float(MAX_PRICE))
        cloud.more = [compute]
        async with serve_twin() as twin:
            patch.setenv("AZURE_POD_IDENTITY_AUTHORITY_HOST", twin.url)
            async with (
                ArmToken(Identity.MANAGED) as token,
                vm_control.AzureVmControl(
                    token, root=cloud.url, subscription=SUBSCRIPTION, resource_group=GROUP, name=NAME
                ) as control,
            ):
                yield AzureVmWorld(compute=compute, azure=control)


@dataclass
class SimulatedVmWorld(VmWorld):
    """In virtual time: the market is dear from the second hour on, and full from the third."""

    stage: Stage

    def control(self) -> VmControl:
        return SimulatedVmControl(self.stage.platform, self.stage.platform.machines[0])

    async def raise_price(self) -> None:
        await asyncio.sleep(3600.0 - self.stage.case.now_s)
        await asyncio.sleep(1.0)

    async def take_capacity(self) -> None:
        await asyncio.sleep(7200.0 - self.stage.case.now_s)
        await asyncio.sleep(1.0)

    async def delete(self) -> None:
        self.stage.platform.fire(self.stage.platform.machines[0], VmTrigger.DELETE)

    async def pass_time(self) -> None:
        await asyncio.sleep(300.0)


@asynccontextmanager
async def _simulated_world(policy: Policy) -> AsyncIterator[VmWorld]:
    market = ScheduledMarket(
        moments=(
            MarketAt(price_usd_per_h=Decimal("0.04")),
            MarketAt(at_s=3600.0, price_usd_per_h=DEAR),
            MarketAt(at_s=7200.0, price_usd_per_h=Decimal("0.04"), capacity=0),
        )
    )
    scenario = Scenario(
        market=market,
        vms=(VmPlan(max_price_usd_per_h=MAX_PRICE, policy=policy),),
        operator=OperatorPlan(action=Action.NOTHING),
        workload=WorkloadPlan(jobs=1),
    )
    assert asyncio.get_running_loop().time() < 60.0, "the market's timetable is in virtual time: no fixture has it"
    stage = Stage(scenario, 0, lambda world: Workload(scenario.workload, world), over=lambda: None)
    stage.show()
    stage.platform.open()
    await asyncio.sleep(0)  # the operator deploys at once
    assert stage.platform.machines[0].state is VmState.RUNNING
    try:
        yield SimulatedVmWorld(stage)
    finally:
        await stage.close()


VM_WORLDS = (
    pytest.param(_azure_world, id="azure"),
    pytest.param(_simulated_world, id="simulator", marks=pytest.mark.looptime(noop_cycles=0, idle_timeout=0)),
)
