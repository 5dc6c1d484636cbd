"""A VM whose document and identity are set by hand."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from fsm.errors import BadReplyError
from fsm.notices import Severity
from fsm.ports import VmIdentity
from simulator.network import Fault
from simulator.vm import SimulatedMetadata, SimulatedScheduledEvents, SimulatedVm

pytestmark = pytest.mark.looptime(noop_cycles=0, idle_timeout=0)

TIMEOUT_S = 5.0
IDENTITY = VmIdentity(vm_id="vm-1", name="spot", boot_id="boot-1", priority="Spot", eviction_policy="Delete")


@pytest.fixture
def vm() -> SimulatedVm:
    return SimulatedVm(IDENTITY)


async def test_a_notice_stands_until_withdrawn(vm: SimulatedVm) -> None:
    """An announced event stands in the document, names the VM, and is gone once withdrawn."""
    events = SimulatedScheduledEvents(vm)
    assert (await events.poll(timeout_s=TIMEOUT_S)).events == ()
    at = datetime(2026, 1, 1, tzinfo=UTC)
    vm.notify("event-1", not_before=at)
    (event,) = (await events.poll(timeout_s=TIMEOUT_S)).events
    assert event.names("SPOT")
    assert event.severity is Severity.RECLAIM
    assert (event.not_before, event.started) == (at, False)
    vm.withdraw("event-1")
    assert (await events.poll(timeout_s=TIMEOUT_S)).events == ()


async def test_every_change_is_an_incarnation(vm: SimulatedVm) -> None:
    """The incarnation differs after each change of the document, and only then."""
    events = SimulatedScheduledEvents(vm)
    seen = [(await events.poll(timeout_s=TIMEOUT_S)).incarnation]
    vm.notify("event-1")
    seen.append((await events.poll(timeout_s=TIMEOUT_S)).incarnation)
    vm.notify("event-1", started=True)
    seen.append((await events.poll(timeout_s=TIMEOUT_S)).incarnation)
    vm.withdraw("event-1")
    seen.append((await events.poll(timeout_s=TIMEOUT_S)).incarnation)
    assert len(set(seen)) == 4
    assert (await events.poll(timeout_s=TIMEOUT_S)).incarnation == seen[-1]


async def test_acknowledging_starts_the_event_once(vm: SimulatedVm) -> None:
    """An acknowledged event starts and loses its time; again, or for an unknown event, nothing happens."""
    events = SimulatedScheduledEvents(vm)
    vm.notify("event-1", not_before=datetime(2026, 1, 1, tzinfo=UTC))
    for event_id in ("event-1", "event-1", "event-9"):
        await events.acknowledge(event_id, timeout_s=TIMEOUT_S)
    assert vm.acknowledged == ["event-1"]
    (event,) = (await events.poll(timeout_s=TIMEOUT_S)).events
    assert (event.started, event.not_before) == (True, None)


async def test_identity_is_as_set(vm: SimulatedVm) -> None:
    """The metadata endpoint answers who the VM is now."""
    metadata = SimulatedMetadata(vm)
    assert await metadata.identity(timeout_s=TIMEOUT_S) == IDENTITY


async def test_the_endpoints_misbehave_as_told(vm: SimulatedVm) -> None:
    """Each endpoint's calls go through the seam under their own names."""

    def faults(call: str) -> Fault | None:
        asked.append(call)
        return Fault(refused=BadReplyError("torn"))

    asked: list[str] = []
    events, metadata = SimulatedScheduledEvents(vm, faults=faults), SimulatedMetadata(vm, faults=faults)
    vm.notify("event-1")
    with pytest.raises(BadReplyError):
        await events.poll(timeout_s=TIMEOUT_S)
    with pytest.raises(BadReplyError):
        await events.acknowledge("event-1", timeout_s=TIMEOUT_S)
    with pytest.raises(BadReplyError):
        await metadata.identity(timeout_s=TIMEOUT_S)
    assert asked == ["events.poll", "events.acknowledge", "metadata.identity"]
    assert vm.acknowledged == []
