"""Scheduled Events as a whole worker process meets them: the slow first call, older hosts, and acknowledgements.

https://learn.microsoft.com/azure/virtual-machines/linux/scheduled-events (read 2026-11)
"""

from __future__ import annotations

import json
import signal
import time
from datetime import datetime

import pytest

from adapters.imds.client import EVENTS_VERSIONS
from adapters.twin.faults import Endpoint, FaultKind
from adapters.twin.wire import RequestReport
from fsm.application import AppState
from tests.processes.conftest import MakeVm
from tests.processes.places import SqlitePlace
from tests.processes.spot_vm import PATIENCE_S, SpotVm

pytestmark = pytest.mark.processes

LONG = "tests.processes.handlers:long"


def test_the_first_call_holds_up_nothing(sqlite: SqlitePlace, make_vm: MakeVm) -> None:
    """While the first call waits for its two minutes, jobs are done, a notice is obeyed, and a stop ends the worker."""
    job = sqlite.put(json.dumps({"steps": 2}))
    vm = make_vm(sqlite)
    vm.twin.fault(FaultKind.SLOW, endpoint=Endpoint.SCHEDULED_EVENTS, count=1, delay_s=120)
    began_s = time.monotonic()
    vm.start()
    vm.await_row("J21", job=job)
    vm.twin.evict(notice_s=30)
    vm.await_state(AppState.DRAINED)
    vm.send(signal.SIGTERM)
    assert vm.wait() == 0
    assert time.monotonic() - began_s < 100
    slow, *others = _polls(vm.twin.state()["requests"])
    assert slow["fault"] == FaultKind.SLOW
    assert {poll["status"] for poll in others} == {200}


@pytest.mark.parametrize("refusal_status", [400, 404])
def test_a_host_without_the_preview_is_asked_in_its_own_version(
    sqlite: SqlitePlace, make_vm: MakeVm, refusal_status: int
) -> None:
    """One refusal is all that the newest version costs: every later request is in the older one, and notices count."""
    vm = make_vm(sqlite)
    vm.twin.set_versions(EVENTS_VERSIONS[-1], refusal_status=refusal_status)
    vm.start()
    vm.await_state(AppState.PROCESSING)
    vm.twin.evict(notice_s=30)
    vm.await_state(AppState.DRAINED)
    versions = [poll["api_version"] for poll in _polls(vm.twin.state()["requests"])]
    assert versions[:2] == [*EVENTS_VERSIONS]
    assert {*versions[1:]} == {EVENTS_VERSIONS[-1]}


@pytest.mark.parametrize("wanted", [True, False], ids=["wanted", "not wanted"])
def test_an_event_is_acknowledged_after_the_drain_and_only_when_wanted(
    sqlite: SqlitePlace, make_vm: MakeVm, wanted: bool
) -> None:
    """Acknowledging takes the rest of the notice away: it comes once every job is handed back, or not at all."""
    job = sqlite.put("{}")
    vm = make_vm(sqlite, handler=LONG)
    vm.start(*(["--acknowledge"] if wanted else []))
    vm.await_begin(job)
    event_id = vm.twin.evict(notice_s=30)
    released = vm.await_kind("released")
    drained = vm.await_state(AppState.DRAINED)
    if wanted:
        vm.await_kind("acknowledged")
    _await_polls(vm, 2)
    granted = vm.twin.state()["acknowledgements"]
    assert [one["event_id"] for one in granted] == [event_id] * wanted
    assert all(datetime.fromisoformat(one["at"]) > max(released.at, drained.at) for one in granted)
    (event,) = vm.twin.state()["events"]
    assert event["status"] == ("Started" if wanted else "Scheduled")


def _polls(requests: list[RequestReport]) -> list[RequestReport]:
    return [request for request in requests if request["path"].endswith("/scheduledevents")]


def _await_polls(vm: SpotVm, polls: int) -> None:
    """Wait until the worker has looked that often again."""
    seen = vm.twin.state()["requests_total"]
    give_up_s = time.monotonic() + PATIENCE_S
    while vm.twin.state()["requests_total"] < seen + polls:
        assert time.monotonic() < give_up_s, "the worker does not look any more"
        time.sleep(0.02)
