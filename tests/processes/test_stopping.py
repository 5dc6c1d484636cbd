"""How a worker is told to end, and ends."""

from __future__ import annotations

import signal

import pytest

from fsm.application import AppState
from fsm.record import Status
from tests.processes.conftest import MakeVm
from tests.processes.places import Place, SqlitePlace

pytestmark = pytest.mark.processes

LONG = "tests.processes.handlers:long"
MISBEHAVE = "tests.processes.handlers:misbehave"


def test_sigterm_drains(place: Place, make_vm: MakeVm) -> None:
    """SIGTERM has every running job saved and handed back, receives no more, and ends the worker with 0."""
    jobs = {place.put("{}") for _ in range(3)}
    vm = make_vm(place, handler=LONG, visibility_timeout_s=600.0)
    vm.start()
    for job in jobs:
        vm.await_row("J19", job=job)
    vm.send(signal.SIGTERM)
    assert vm.wait() == 0
    vm.look()
    told = next(number for number, line in enumerate(vm.lines) if line.kind == "stop")
    assert not [line for line in vm.lines[told:] if line.kind == "receive"]
    for job in jobs:
        record = place.record(job)
        assert record is not None
        assert (record.status, record.counts.stops) == (Status.RELEASED, 1)
        assert record.progress is not None
    taken = [place.take(visibility_s=600) for _ in jobs]
    assert {message.message_id for message in taken if message is not None} == jobs


def test_sigterm_ends_an_idle_worker(sqlite: SqlitePlace, make_vm: MakeVm) -> None:
    """A worker with nothing to do ends with 0 when it is told to."""
    vm = make_vm(sqlite)
    vm.start()
    vm.await_state(AppState.PROCESSING)
    vm.send(signal.SIGTERM)
    assert vm.wait() == 0


def test_a_second_interrupt_does_not_wait_for_handlers(sqlite: SqlitePlace, make_vm: MakeVm) -> None:
    """The first Ctrl-C lets handlers go on within the stop grace; the second interrupts them, and loses none."""
    job = sqlite.put("hang")
    vm = make_vm(sqlite, handler=MISBEHAVE, visibility_timeout_s=600.0)
    vm.start("--stop-grace", "1h")
    vm.await_begin(job)
    vm.send(signal.SIGINT)
    vm.await_kind("stop")
    vm.await_state(AppState.EVICTED)
    assert vm.running
    vm.send(signal.SIGINT)
    assert vm.wait() == 0
    taken = sqlite.take(visibility_s=600)
    assert taken is not None
    assert taken.message_id == job


def test_a_worker_until_empty_waits_for_leased_messages(sqlite: SqlitePlace, make_vm: MakeVm) -> None:
    """`--until-empty` does not take a queue for empty whose last message another worker holds."""
    job = sqlite.put("anything")
    assert sqlite.take(visibility_s=2) is not None
    vm = make_vm(sqlite, handler="tests.processes.handlers:quick")
    vm.start("--until-empty")
    assert vm.wait() == 0
    assert sqlite.recorded(job) == 1
    assert sqlite.length() == 0
