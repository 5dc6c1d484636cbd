"""IMDS that is silent, slow, broken or lying, while jobs run."""

from __future__ import annotations

import json

import pytest

from adapters.twin.faults import FaultKind
from fsm.application import AppState
from tests.processes.conftest import MakeVm
from tests.processes.places import SqlitePlace

pytestmark = pytest.mark.processes

FAULTS = (
    FaultKind.SILENT,
    FaultKind.SLOW,
    FaultKind.GONE,
    FaultKind.THROTTLED,
    FaultKind.BROKEN,
    FaultKind.TORN,
    FaultKind.RESET,
    FaultKind.OVERSIZED,
    FaultKind.NOT_FOUND,
)


@pytest.mark.timeout(240)
def test_work_goes_on_whatever_imds_does(sqlite: SqlitePlace, make_vm: MakeVm) -> None:
    """Each way in which IMDS fails is noted once, is never read as a notice or as its end, and stops no job."""
    jobs = []
    vm = make_vm(sqlite)
    vm.start()
    vm.await_state(AppState.PROCESSING)
    for kind in FAULTS:
        seen = len(vm.lines)
        vm.twin.fault(kind)
        failed = vm.await_kind("call_failed", after=seen)
        assert failed.text("call") == "poll"
        jobs.append(sqlite.put(json.dumps({"steps": 2})))
        vm.await_row("J21", job=jobs[-1])
        vm.twin.clear()
        vm.await_kind("imds_answers", after=seen)
        assert not [line for line in vm.lines[seen:] if line.kind.startswith("notice")]
    assert {sqlite.recorded(job) for job in jobs} == {1}
    vm.twin.evict(notice_s=30)
    vm.await_state(AppState.DRAINED)


@pytest.mark.parametrize("kind", [FaultKind.SILENT, FaultKind.BROKEN, FaultKind.TORN])
def test_a_notice_stands_while_imds_fails(sqlite: SqlitePlace, make_vm: MakeVm, kind: FaultKind) -> None:
    """An error is never read as "no event": a drained worker stays drained until a whole reply says otherwise."""
    vm = make_vm(sqlite)
    vm.start()
    vm.await_state(AppState.PROCESSING)
    vm.twin.evict(notice_s=60)
    vm.await_state(AppState.DRAINED)
    seen = len(vm.lines)
    vm.twin.fault(kind)
    vm.await_kind("call_failed", after=seen)
    vm.twin.withdraw()
    sqlite.put("{}")
    assert vm.state == AppState.DRAINED
    assert not [line for line in vm.lines[seen:] if line.kind in ("receive", "notice_gone")]
    vm.twin.clear()
    vm.await_state(AppState.PROCESSING, after=seen)


def test_a_worker_waits_for_imds_to_come_up(sqlite: SqlitePlace, make_vm: MakeVm) -> None:
    """A worker whose IMDS is being updated when it starts waits for it, and then works."""
    job = sqlite.put(json.dumps({"steps": 2}))
    vm = make_vm(sqlite)
    vm.twin.fault(FaultKind.GONE)
    vm.start()
    failed = vm.await_kind("call_failed")
    assert failed.text("call") == "identity"
    vm.twin.clear()
    vm.await_row("J21", job=job)
