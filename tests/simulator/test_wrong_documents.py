"""Documents that are well-formed and wrong: each only where it says something else, and nothing else besides."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from random import Random

import pytest

from fsm.notices import ScheduledEvent
from fsm.ports import VmIdentity
from simulator.faults import FaultPlan, Injector
from simulator.vm import SimulatedVm
from simulator.wrong_documents import LONG_PAST, WRONG_DOCUMENTS

AT = datetime(2026, 1, 1, 12, tzinfo=UTC)
OURS = ScheduledEvent(event_id="E1", event_type="Reboot", resources=("SPOT",), started=False, not_before=AT)
STARTED = replace(OURS, event_id="E2", started=True, not_before=None)
FOREIGN = replace(OURS, event_id="E3", resources=("spot-b",))
ADVICE = replace(OURS, event_id="E4", event_type="SpotRebalanceRecommendation")


@pytest.fixture
def vm() -> SimulatedVm:
    return SimulatedVm(
        VmIdentity(vm_id="vm-1", name="spot", boot_id="boot-1", priority="Spot", eviction_policy="Delete")
    )


@pytest.mark.parametrize("name", WRONG_DOCUMENTS)
def test_where_nothing_has_happened_nothing_is_wrong(name: str, vm: SimulatedVm) -> None:
    """A VM of which nothing was ever announced is told what holds, and no fault is counted."""
    injector = Injector(FaultPlan(**{name: 1.0}), Random(0))
    assert injector.shown(vm) == vm.document
    assert not injector.happened


@pytest.mark.parametrize("name", WRONG_DOCUMENTS)
def test_a_wrong_document_is_counted(name: str, vm: SimulatedVm) -> None:
    """Where an event stands, each fault makes the document another one, once a poll."""
    vm.announce(OURS)
    before = vm.document
    injector = Injector(FaultPlan(**{name: 1.0}), Random(0))
    assert injector.shown(vm) != before
    assert injector.happened == {name: 1}


@pytest.mark.parametrize(
    ("name", "changed"),
    [
        ("imds_untimed", lambda event: replace(event, not_before=None)),
        ("imds_past", lambda event: replace(event, not_before=AT - LONG_PAST)),
    ],
)
def test_only_the_times_of_ones_own_events_to_come_are_wrong(
    name: str, changed: Callable[[ScheduledEvent], ScheduledEvent], vm: SimulatedVm
) -> None:
    """An event that has started, one of another VM and one that ends nothing are shown as they are."""
    for event in (OURS, STARTED, FOREIGN, ADVICE):
        vm.announce(event)
    wrong = WRONG_DOCUMENTS[name](vm)
    assert wrong is not None
    assert wrong == replace(vm.document, events=(changed(OURS), STARTED, FOREIGN, ADVICE))


def test_an_old_document_outlives_a_boot(vm: SimulatedVm) -> None:
    """What stood when the VM was taken may be shown to its next boot."""
    vm.announce(OURS)
    vm.clear()
    vm.clear()
    stale = WRONG_DOCUMENTS["imds_stale"](vm)
    assert stale is not None
    assert stale.events == (OURS,)
    emptied = WRONG_DOCUMENTS["imds_emptied"](vm)
    assert emptied is None


def test_numbers_begin_again_and_go_on(vm: SimulatedVm) -> None:
    """After a document with number 1 again come 2 and 3, with the events that stand."""
    vm.announce(OURS)
    vm.announce(FOREIGN)
    again = WRONG_DOCUMENTS["imds_renumbered"](vm)
    assert again is not None
    assert (again.incarnation, again.events) == (1, (OURS, FOREIGN))
    vm.withdraw(FOREIGN.event_id)
    assert (vm.document.incarnation, vm.document.events) == (2, (OURS,))
