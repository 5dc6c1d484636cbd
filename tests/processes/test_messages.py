"""Messages that cannot be jobs, and messages that come twice."""

from __future__ import annotations

import base64
import json
import signal

import pytest

from fsm.record import Status
from tests.processes.conftest import MakeVm
from tests.processes.places import Place, SqlitePlace

pytestmark = pytest.mark.processes

QUICK = "tests.processes.handlers:quick"


def test_an_undecodable_message_is_poisoned_and_spoils_no_other(place: Place, make_vm: MakeVm) -> None:
    """A body that is no base64 where base64 is due is set aside as it is; the messages beside it are done."""
    bad = place.put("no base64 !!")
    good = [place.put(base64.b64encode(b"{}").decode()) for _ in range(5)]
    vm = make_vm(place, handler=QUICK)
    vm.start("--message-encoding", "base64", "--until-empty")
    assert vm.wait() == 0
    record = place.record(bad)
    assert record is not None
    assert record.status is Status.POISONED
    (poisoned,) = (json.loads(text) for text in place.poisoned())
    assert (poisoned["job_id"], poisoned["body"]) == (bad, "no base64 !!")
    assert [place.recorded(job) for job in good] == [1] * 5
    assert place.length() == 0


def test_an_oversized_message_is_poisoned_and_spoils_no_other(place: Place, make_vm: MakeVm) -> None:
    """A body over the limit is set aside; the messages beside it are done."""
    bad, good = place.put("x" * 1001), place.put("x" * 1000)
    vm = make_vm(place, handler=QUICK)
    vm.start("--message-bytes-max", "1000", "--until-empty")
    assert vm.wait() == 0
    (poisoned,) = (json.loads(text) for text in place.poisoned())
    assert (poisoned["job_id"], poisoned["body"]) == (bad, "x" * 1001)
    assert place.recorded(good) == 1
    assert place.length() == 0


def test_a_message_as_large_as_a_queue_takes_is_poisoned_whole(place: Place, make_vm: MakeVm) -> None:
    """A failing job whose body leaves no room for an envelope goes to the poison queue alone, body and all."""
    body = "x" * (64 * 1024)
    bad = place.put(body)
    vm = make_vm(place, handler="tests.processes.handlers:steps")
    vm.start("--retry-pause", "0", "--until-empty")
    assert vm.wait() == 0
    assert place.poisoned() == [body]
    record = place.record(bad)
    assert record is not None
    assert record.status is Status.POISONED


def test_a_message_that_comes_again_ends_the_older_run(sqlite: SqlitePlace, make_vm: MakeVm) -> None:
    """A process that receives what it is already running abandons the older run, and the newer one goes on from it."""
    job = sqlite.put(json.dumps({"steps": 40, "step_s": 0.05}))
    vm = make_vm(sqlite, visibility_timeout_s=600.0)
    vm.start()
    vm.await_row("J19", job=job)
    sqlite.show_again(job)
    abandoned = vm.await_row("J16", job=job)
    done = vm.await_row("J21", job=job)
    assert (abandoned.epoch, done.epoch) == (1, 2)
    assert abandoned.source == done.source
    after = vm.lines[vm.lines.index(abandoned) + 1 :]
    assert not [line for line in after if line.job == job and line.epoch == 1 and line.row]
    assert sqlite.recorded(job) == 1


def test_a_worker_frozen_past_its_leases_writes_nothing_more(place: Place, make_vm: MakeVm) -> None:
    """A worker that was stopped in its tracks until another had taken its job over does not write when it goes on."""
    job = place.put(json.dumps({"steps": 30, "step_s": 0.1}))
    frozen, other = make_vm(place, name="vm-a"), make_vm(place, name="vm-b")
    frozen.start()
    frozen.await_row("J19", job=job)
    frozen.send(signal.SIGSTOP)
    other.start()
    taken_over = other.await_begin(job)
    frozen.send(signal.SIGCONT)
    frozen.await_row("J16", job=job)
    done = other.await_row("J21", job=job)
    assert (taken_over.epoch, done.epoch) == (2, 2)
    assert place.recorded(job) == 1
