"""What an eviction hands back is there at once, and what it costs a job is nothing."""

from __future__ import annotations

import json

import pytest

from fsm.application import AppState
from fsm.record import Status
from tests.processes.conftest import MakeVm
from tests.processes.places import Place, SqlitePlace

pytestmark = pytest.mark.processes

LONG = "tests.processes.handlers:long"
MISBEHAVE = "tests.processes.handlers:misbehave"


def test_a_drained_job_is_there_for_a_single_bare_receive(place: Place, make_vm: MakeVm) -> None:
    """Once a worker says that it has drained, one bare receive a job brings them all, long before their leases end."""
    jobs = {place.put("{}") for _ in range(3)}
    vm = make_vm(place, handler=LONG, visibility_timeout_s=600.0)
    vm.start()
    for job in jobs:
        vm.await_begin(job)
    vm.twin.evict(notice_s=30)
    vm.await_state(AppState.DRAINED)
    taken = [place.take(visibility_s=600) for _ in jobs]
    assert {message.message_id for message in taken if message is not None} == jobs
    assert place.take(visibility_s=600) is None
    for job in jobs:
        record = place.record(job)
        assert record is not None
        assert (record.status, record.counts.evictions) == (Status.RELEASED, 1)


@pytest.mark.parametrize("announced", [True, False], ids=["announced", "unannounced"])
def test_five_evictions_in_a_row_poison_nothing(sqlite: SqlitePlace, make_vm: MakeVm, *, announced: bool) -> None:
    """A job that is evicted five times in a row goes on where it was, completes, and has spent no budget."""
    job = sqlite.put(json.dumps({"steps": 60, "step_s": 0.05}))
    vm = make_vm(sqlite)
    for _ in range(5):
        seen = len(vm.lines)
        vm.start()
        vm.await_row("J19", job=job, after=seen)
        if announced:
            vm.twin.evict(notice_s=30)
            vm.await_state(AppState.DRAINED, after=seen)
        vm.kill()
        vm.look()
        vm.reboot()
    vm.start()
    vm.await_row("J21", job=job)
    record = sqlite.record(job)
    assert record is not None
    assert (record.status, record.counts.evictions, record.counts.failures, record.counts.deaths) == ("done", 5, 0, 0)
    assert sqlite.recorded(job) == 1
    assert sqlite.poisoned() == []


def test_five_failures_poison(place: Place, make_vm: MakeVm) -> None:
    """A job that fails five times is put on the poison queue with its body and its error, and is run no more."""
    job = place.put("raise")
    vm = make_vm(place, handler=MISBEHAVE)
    vm.start("--retry-pause", "0", "--until-empty")
    assert vm.wait() == 0
    record = place.record(job)
    assert record is not None
    assert (record.status, record.counts.failures) == (Status.POISONED, 5)
    (poisoned,) = (json.loads(text) for text in place.poisoned())
    assert (poisoned["job_id"], poisoned["body"], poisoned["deliveries"]) == (job, "raise", 5)
    assert "as it was told to" in poisoned["error"]
    assert place.length() == 0
