"""`spotfsm worker` as a user runs it: a process that works a queue, is told to stop, and says what it did."""

from __future__ import annotations

import json
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from adapters.twin.client import TwinClient
from tests.adapters.cli.conftest import PATIENCE_S, Command

pytestmark = pytest.mark.processes

RECEIPT_KEYS = {
    "queue",
    "instance",
    "origin",
    "received",
    "begun",
    "completed",
    "released",
    "poisoned",
    "abandoned",
    "failures",
    "checkpoints",
    "notices",
    "margin_s",
    "redone_s",
    "stopped_by",
    "hung",
    "seconds",
}
Start = Callable[..., subprocess.Popen[str]]


def wait_for(text: str, journal: Path) -> None:
    """Wait until the journal holds a text."""
    give_up_s = time.monotonic() + PATIENCE_S
    while not journal.exists() or text not in journal.read_text():
        assert time.monotonic() < give_up_s, f"{text} never came"
        time.sleep(0.02)


def test_twenty_jobs_are_worked_to_the_end(spotfsm: Command, jobs: str) -> None:
    """Put, work until nothing is left, and count: twenty completed, and nothing else."""
    assert spotfsm("enqueue", "--count", 20).code == 0
    ended = spotfsm("worker", "--handler", f"{jobs}:handle", "--until-empty", "--json", "--instance", "two")
    assert ended.code == 0, ended.err
    receipt = json.loads(ended.out)
    assert receipt.keys() == RECEIPT_KEYS
    assert (receipt["completed"], receipt["checkpoints"], receipt["instance"]) == (20, 60, "two")
    assert (receipt["origin"], receipt["stopped_by"], receipt["hung"]) == ("fresh", "the queue is empty", 0)
    status = json.loads(spotfsm("status", "--json").out)
    assert status == {
        "queue": "jobs",
        "queued": 0,
        "waiting": 0,
        "waiting_exact": True,
        "leased": 0,
        "expiring": 0,
        "poisoned": 0,
        "running": 0,
        "released": 0,
        "checkpointed": 0,
        "completed": 20,
        "poisoned_records": 0,
    }


def test_the_store_may_be_left_out(spotfsm: Command, jobs: str) -> None:
    """It works, and one line says what is given up."""
    spotfsm("enqueue", "--count", 3)
    ended = spotfsm("worker", "--handler", f"{jobs}:handle", "--until-empty", "--store", "none", "--json")
    assert json.loads(ended.out)["completed"] == 3
    assert ended.err.startswith("warning: --store: none")
    assert json.loads(spotfsm("status", "--json", "--store", "none").out)["completed"] is None


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_hands_back_what_runs(
    start: Start, spotfsm: Command, directory: Path, jobs: str, number: signal.Signals
) -> None:
    """The job is saved and released, the receipt is printed, and the exit code is 0."""
    spotfsm("enqueue", "a")
    worker = start("worker", "--handler", f"{jobs}:slow", "--journal", "journal", "--json")
    wait_for('"trigger": "checkpoint"', directory / "journal")
    worker.send_signal(number)
    out, err = worker.communicate(timeout=PATIENCE_S)
    assert worker.returncode == 0, err
    receipt = json.loads(out)
    assert (receipt["released"], receipt["stopped_by"], receipt["hung"]) == (1, number.name, 0)
    assert json.loads(spotfsm("status", "--json").out)["released"] == 1


def test_a_notice_drains_and_a_withdrawn_one_brings_the_worker_back(
    start: Start, spotfsm: Command, directory: Path, jobs: str, twin: str
) -> None:
    """Notices are told on stderr and counted; the worker is back at work without anyone's help."""
    spotfsm("enqueue", "a")
    orders = TwinClient(twin)
    worker = start(
        *(
            "worker",
            "--handler",
            f"{jobs}:slow",
            "--imds",
            twin,
            "--journal",
            "journal",
            "--json",
            "--imds-poll",
            "0.2s",
        )
    )
    wait_for('"trigger": "checkpoint"', directory / "journal")
    orders.evict(notice_s=20)
    wait_for('"row": "A26"', directory / "journal")
    orders.withdraw()
    wait_for('"row": "A7"', directory / "journal")
    worker.terminate()
    out, err = worker.communicate(timeout=PATIENCE_S)
    receipt = json.loads(out)
    assert receipt["notices"] == 1
    assert receipt["released"] == receipt["received"] >= 1
    assert "notice: Preempt in " in err
    assert "notice gone: Preempt" in err


def test_a_vm_whose_disks_go_with_it_is_warned_of(
    start: Start, spotfsm: Command, directory: Path, jobs: str, twin: str
) -> None:
    """Queue, store and journal lie on a disk that the policy Delete destroys: said on stderr and in the journal."""
    spotfsm("enqueue", "--create")
    TwinClient(twin).set_identity(eviction_policy="Delete")
    worker = start("worker", "--handler", f"{jobs}:handle", "--imds", twin, "--journal", "journal", "--until-empty")
    _, err = worker.communicate(timeout=PATIENCE_S)
    assert "warning: --queue: " in err
    assert "warning: --journal: " in err
    kinds = [json.loads(line)["kind"] for line in (directory / "journal").read_text().splitlines()]
    assert kinds.count("warning") == 2


def test_a_handler_that_will_not_let_go_does_not_keep_the_process(
    start: Start, spotfsm: Command, directory: Path, jobs: str
) -> None:
    """The drain ends, the receipt is printed, the line says who stayed, and the process is gone."""
    spotfsm("enqueue", "a")
    worker = start(
        *("worker", "--handler", f"{jobs}:stubborn", "--journal", "journal", "--json", "--stop-grace", "0.5s")
    )
    wait_for('"trigger": "begin"', directory / "journal")
    worker.terminate()
    out, err = worker.communicate(timeout=PATIENCE_S)
    assert worker.returncode == 1
    assert json.loads(out)["hung"] == 1
    assert "1 handler did not let go" in err


def test_not_even_a_worker_that_breaks_is_kept_by_such_a_handler(
    start: Start, spotfsm: Command, directory: Path, jobs: str
) -> None:
    """The store is destroyed while a handler hangs: the error is one line, and the process ends."""
    places = ("--queue", "sqlite:///a.db", "--store", "sqlite:///b.db")
    spotfsm("enqueue", "stubborn", "saving", *places)
    worker = start("worker", "--handler", f"{jobs}:stubborn_or_saving", "--journal", "journal", *places)
    wait_for('"count": 2', directory / "journal")
    for file in directory.glob("b.db*"):
        file.write_bytes(b"no database any more" * 10_000)
    (directory / "go").touch()
    _, err = worker.communicate(timeout=PATIENCE_S)
    assert worker.returncode == 2, err
    assert err.count("error: --store: ") == 1
    assert "1 handler did not let go" in err
    assert "Traceback" not in err


def test_what_a_handler_prints_does_not_spoil_the_receipt(spotfsm: Command, jobs: str) -> None:
    """With --json stdout is one JSON document; without it a handler prints where it likes."""
    spotfsm("enqueue", "a")
    ended = spotfsm("worker", "--handler", f"{jobs}:talking", "--until-empty", "--json")
    assert json.loads(ended.out)["completed"] == 1
    assert "a word of the handler's" in ended.err
    spotfsm("enqueue", "a")
    assert "a word of the handler's" in spotfsm("worker", "--handler", f"{jobs}:talking", "--until-empty").out


def test_failures_are_told_and_five_of_them_poison(spotfsm: Command, jobs: str) -> None:
    """Every job ends; the reason is on stderr, the message in the poison queue."""
    spotfsm("enqueue", "a")
    ended = spotfsm(
        *(
            "worker",
            "--handler",
            f"{jobs}:failing",
            "--until-empty",
            "--json",
            "--retry-pause",
            "0",
            "--idle-poll-max",
            "0.1",
        )
    )
    receipt = json.loads(ended.out)
    assert (receipt["failures"], receipt["poisoned"], receipt["completed"]) == (5, 1, 0)
    assert "no such page" in ended.err
    status = json.loads(spotfsm("status", "--json").out)
    assert (status["queued"], status["poisoned"], status["poisoned_records"]) == (0, 1, 1)


@pytest.mark.parametrize("kind", ["silent", "500", "410", "torn"])
def test_a_sick_imds_is_waited_for(start: Start, spotfsm: Command, jobs: str, twin: str, kind: str) -> None:
    """An answer that is none is told in a line and asked for again; once IMDS answers, the worker works."""
    spotfsm("enqueue", "--create")
    orders = TwinClient(twin)
    orders.fault(kind, endpoint="instance", count=1)
    worker = start("worker", "--handler", f"{jobs}:handle", "--imds", twin, "--journal", "journal", "--until-empty")
    _, err = worker.communicate(timeout=PATIENCE_S)
    assert worker.returncode == 0
    assert "identity failed: " in err
    assert "Traceback" not in err


def test_a_second_ctrl_c_while_imds_is_silent_ends_the_worker(
    start: Start, spotfsm: Command, directory: Path, jobs: str
) -> None:
    """A worker that waits for an IMDS that is not there can be stopped."""
    spotfsm("enqueue", "--create")
    worker = start("worker", "--handler", f"{jobs}:handle", "--imds", "http://127.0.0.1:9", "--journal", "journal")
    wait_for('"call": "identity"', directory / "journal")
    worker.send_signal(signal.SIGINT)
    out, err = worker.communicate(timeout=PATIENCE_S)
    assert worker.returncode == 0, err
    assert "received" in out
