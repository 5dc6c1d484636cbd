"""The contract of `fsm.ports.ScheduledEvents` and `fsm.ports.InstanceMetadata`: IMDS and the simulator alike."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import timedelta
from itertools import pairwise
from pathlib import Path
from typing import Protocol

import pytest

from adapters.imds.client import ImdsClient
from adapters.twin.server import Twin, serve_twin
from fsm.notices import Notices, Severity
from fsm.ports import InstanceMetadata, ScheduledEvents, VmIdentity
from simulator.vm import SimulatedMetadata, SimulatedScheduledEvents, SimulatedVm
from tests.adapters.imds.conftest import BOOT_ID
from tests.adapters.twin.clock import START, HandClock

TIMEOUT_S = 10.0
VM = VmIdentity(vm_id="v-7", name="vmss_7", boot_id=BOOT_ID, priority="Spot", eviction_policy="Delete")
ORDERS = {"Preempt": "evict", "Freeze": "freeze", "SpotRebalanceRecommendation": "rebalance"}


class World(Protocol):
    """A VM named `VM`, and the hand of the platform over it."""

    @property
    @abstractmethod
    def events(self) -> ScheduledEvents: ...

    @property
    @abstractmethod
    def metadata(self) -> InstanceMetadata: ...

    @abstractmethod
    def announce(self, event_id: str, event_type: str, *, notice_s: float) -> None:
        """Announce an event that names the VM."""

    @abstractmethod
    def withdraw(self, event_id: str) -> None:
        """Cancel it."""


class TwinWorld(World):
    """The client over HTTP, and the twin."""

    def __init__(self, twin: Twin, client: ImdsClient) -> None:
        self._twin = twin
        self._client = client

    @property
    def events(self) -> ScheduledEvents:
        return self._client

    @property
    def metadata(self) -> InstanceMetadata:
        return self._client

    def announce(self, event_id: str, event_type: str, *, notice_s: float) -> None:
        self._twin.order(ORDERS[event_type], {"event_id": event_id, "notice_s": notice_s})

    def withdraw(self, event_id: str) -> None:
        self._twin.order("withdraw", {"event_id": event_id})


class SimulatedWorld(World):
    """The simulator's VM."""

    def __init__(self) -> None:
        self._vm = SimulatedVm(VM)

    @property
    def events(self) -> ScheduledEvents:
        return SimulatedScheduledEvents(self._vm)

    @property
    def metadata(self) -> InstanceMetadata:
        return SimulatedMetadata(self._vm)

    def announce(self, event_id: str, event_type: str, *, notice_s: float) -> None:
        not_before = (START + timedelta(seconds=notice_s)).replace(microsecond=0)
        self._vm.notify(event_id, event_type, not_before=not_before if notice_s else None, started=not notice_s)

    def withdraw(self, event_id: str) -> None:
        self._vm.withdraw(event_id)


@asynccontextmanager
async def twin_world(directory: Path) -> AsyncIterator[World]:
    boot_id_file = directory / "boot_id"
    boot_id_file.write_text(BOOT_ID)
    async with serve_twin(moment=HandClock()) as twin, ImdsClient(twin.url, boot_id_file=boot_id_file) as client:
        twin.order("identity", {"vm_id": VM.vm_id, "name": VM.name, "eviction_policy": VM.eviction_policy})
        yield TwinWorld(twin, client)


@asynccontextmanager
async def simulated_world(_directory: Path) -> AsyncIterator[World]:
    yield SimulatedWorld()


@pytest.fixture(params=[twin_world, simulated_world])
async def world(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[World]:
    opened = request.param(tmp_path)
    assert isinstance(opened, AbstractAsyncContextManager)
    async with opened as world:
        yield world


async def test_the_identity_is_the_vms_own(world: World) -> None:
    """Name, vmId, boot id, priority and policy are those of this VM and this boot."""
    assert await world.metadata.identity(timeout_s=TIMEOUT_S) == VM


async def test_nothing_announced_is_an_empty_document(world: World) -> None:
    """Without an event the document is empty, and its incarnation stays."""
    one, two = [await world.events.poll(timeout_s=TIMEOUT_S) for _ in range(2)]
    assert one.events == ()
    assert one == two


@pytest.mark.parametrize(
    ("event_type", "severity"),
    [
        ("Preempt", Severity.RECLAIM),
        ("Freeze", Severity.FREEZE),
        ("SpotRebalanceRecommendation", Severity.ADVISORY),
    ],
)
async def test_an_announced_event_names_this_vm(world: World, event_type: str, severity: Severity) -> None:
    """An event is there at the next poll, names the VM by `compute.name`, and says when it may start."""
    world.announce("E-1", event_type, notice_s=900)
    (event,) = (await world.events.poll(timeout_s=TIMEOUT_S)).events
    assert (event.event_id, event.severity, event.started) == ("E-1", severity, False)
    assert event.names((await world.metadata.identity(timeout_s=TIMEOUT_S)).name)
    assert event.not_before == (START + timedelta(seconds=900)).replace(microsecond=0)


async def test_an_event_without_notice_is_first_seen_started(world: World) -> None:
    """A started event has no NotBefore any more, and sets a deadline all the same."""
    world.announce("E-1", "Preempt", notice_s=0)
    document = await world.events.poll(timeout_s=TIMEOUT_S)
    assert document.events[0].started
    assert document.events[0].not_before is None
    assert Notices().after(document, vm_name=VM.name, now=START, now_s=0.0).deadline_s is not None


async def test_every_change_moves_the_incarnation(world: World) -> None:
    """Announced, started and withdrawn are three changes: no two documents in a row share an incarnation."""
    incarnations = [(await world.events.poll(timeout_s=TIMEOUT_S)).incarnation]
    world.announce("E-1", "Preempt", notice_s=30)
    incarnations.append((await world.events.poll(timeout_s=TIMEOUT_S)).incarnation)
    await world.events.acknowledge("E-1", timeout_s=TIMEOUT_S)
    incarnations.append((await world.events.poll(timeout_s=TIMEOUT_S)).incarnation)
    world.withdraw("E-1")
    incarnations.append((await world.events.poll(timeout_s=TIMEOUT_S)).incarnation)
    assert all(one != two for one, two in pairwise(incarnations))


async def test_acknowledging_starts_the_event_once(world: World) -> None:
    """Acknowledged, an event starts; acknowledged again, nothing changes."""
    world.announce("E-1", "Preempt", notice_s=30)
    await world.events.acknowledge("E-1", timeout_s=TIMEOUT_S)
    once = await world.events.poll(timeout_s=TIMEOUT_S)
    await world.events.acknowledge("E-1", timeout_s=TIMEOUT_S)
    assert once.events[0].started
    assert await world.events.poll(timeout_s=TIMEOUT_S) == once


async def test_a_withdrawn_event_is_gone(world: World) -> None:
    """A cancellation is a disappearance; the other events stay."""
    world.announce("E-1", "Preempt", notice_s=30)
    world.announce("E-2", "Freeze", notice_s=900)
    world.withdraw("E-1")
    assert [event.event_id for event in (await world.events.poll(timeout_s=TIMEOUT_S)).events] == ["E-2"]
