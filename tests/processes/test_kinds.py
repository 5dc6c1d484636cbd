"""Plain functions and commands under real workers: evicted, killed, crashed, held, and resumed."""

from __future__ import annotations

import json
import os
import re
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from fsm.application import AppState
from fsm.record import Status
from tests.processes import kinds
from tests.processes.conftest import MakeVm
from tests.processes.places import SqlitePlace
from tests.processes.spot_vm import PATIENCE_S, ROOT, SpotVm

pytestmark = pytest.mark.processes

PLAIN = ("--handler", f"{kinds.__name__}:handle")
COMMAND = ("--", sys.executable, str(Path(kinds.__file__)))
Kind = tuple[str, ...]
both = pytest.mark.parametrize("kind", [PLAIN, COMMAND], ids=["plain", "command"])


def body(**order: object) -> str:
    """A message for `tests.processes.kinds`."""
    return json.dumps(order)


def effects(vm: SpotVm) -> list[dict[str, Any]]:
    """What handlers noted so far."""
    if not vm.effects.exists():
        return []
    return [json.loads(line) for line in vm.effects.read_text().splitlines()]


def await_effect(vm: SpotVm, wanted: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
    """The first effect that is wanted, once there is one.

    Raises:
        AssertionError: there is none in time.
    """
    give_up_s = time.monotonic() + PATIENCE_S
    while True:
        found = next(filter(wanted, effects(vm)), None)
        if found is not None:
            return found
        assert time.monotonic() < give_up_s, "no handler did it"
        time.sleep(0.01)


def begins(job: str, vm: SpotVm) -> list[object]:
    """With which progress the runs of a job began."""
    return [effect["value"] for effect in effects(vm) if effect["job"] == job and effect["event"] == "began"]


def drained_within(vm: SpotVm, within_s: float) -> None:
    """Wait for the end of the drain, and see by the journal's own time that it did not take longer."""
    drained = vm.await_state(AppState.DRAINED)
    assert (drained.at - vm.await_kind("notice").at).total_seconds() < within_s


@both
def test_an_eviction_in_the_middle_hands_the_job_on(sqlite: SqlitePlace, make_vm: MakeVm, kind: Kind) -> None:
    """Saved, released and counted as an eviction in time; the next worker goes on from there and records once."""
    job = sqlite.put(body(steps=12, step_s=0.1))
    vm = make_vm(sqlite, handler="", visibility_timeout_s=600.0)
    vm.start(*kind)
    await_effect(vm, lambda effect: effect["event"] == "saved" and effect["value"] >= 3)
    vm.twin.evict(notice_s=20)
    drained_within(vm, 10.0)  # a handler that lets go at once is not waited for
    record = sqlite.record(job)
    assert record is not None
    assert (record.status, record.counts.evictions, record.counts.failures) == (Status.RELEASED, 1, 0)
    assert record.progress is not None
    vm.kill()
    vm.reboot()
    vm.start("--until-empty", *kind)
    assert vm.wait() == 0
    assert begins(job, vm) == [None, int(record.progress)]
    assert sqlite.recorded(job) == 1


@both
def test_a_killed_worker_leaves_nobody_who_goes_on(sqlite: SqlitePlace, make_vm: MakeVm, kind: Kind) -> None:
    """SIGKILL of the worker alone ends its jobs and all that they started; the next worker resumes and records once."""
    job = sqlite.put(body(do="with another"))
    vm = make_vm(sqlite, handler="")
    vm.start(*kind)
    vm.await_row("J19", job=job)
    await_effect(vm, lambda effect: effect["event"] == "beat")
    vm.kill()
    give_up_s = time.monotonic() + 10.0
    while True:
        written = vm.effects.stat().st_size
        time.sleep(0.3)
        if vm.effects.stat().st_size == written:
            break
        assert time.monotonic() < give_up_s, "somebody goes on writing"
    vm.start("--until-empty", *kind)
    assert vm.wait() == 0
    (first, again) = begins(job, vm)
    assert first is None
    assert isinstance(again, int)
    assert again >= 1
    assert sqlite.recorded(job) == 1


def test_a_handler_that_holds_its_interpreter_holds_up_nothing(sqlite: SqlitePlace, make_vm: MakeVm) -> None:
    """It computes for longer than a lease: the lease is kept, a notice is read, and the drain is in time."""
    jobs = [sqlite.put(body(do="hold", for_s=600)) for _ in range(2)]
    vm = make_vm(sqlite, handler="", visibility_timeout_s=2.0)
    vm.start(*PLAIN)
    vm.await_kind("renewed")
    time.sleep(3.0)
    vm.twin.evict(notice_s=5)
    left_s = vm.await_kind("notice").fields["left_s"]
    assert isinstance(left_s, float)
    assert left_s > 3.0, "the notice was not read at once"
    drained_within(vm, left_s)
    assert not [line for line in vm.lines if line.kind == "loop_blocked"]
    for job in jobs:
        renewed = [line.at for line in vm.lines if line.kind == "renewed" and line.job == job]
        assert len(renewed) >= 2
        assert max((after - before).total_seconds() for before, after in pairwise(renewed)) < 2.0
        record = sqlite.record(job)
        assert record is not None
        assert (record.epoch, record.status, record.counts.evictions) == (1, Status.RELEASED, 1)


def test_a_job_that_kills_its_process_is_its_own_failure(sqlite: SqlitePlace, make_vm: MakeVm) -> None:
    """It is poisoned after five tries; the worker and every other job go on."""
    bad = sqlite.put(body(do="die"))
    good = [sqlite.put(body(steps=2, step_s=0.1)) for _ in range(3)]
    vm = make_vm(sqlite, handler="")
    vm.start("--retry-pause", "0", "--until-empty", *PLAIN)
    assert vm.wait() == 0
    (poisoned,) = (json.loads(text) for text in sqlite.poisoned())
    assert "exited with 9" in poisoned["error"]
    record = sqlite.record(bad)
    assert record is not None
    assert (record.counts.failures, record.counts.deaths) == (5, 0)
    assert [sqlite.recorded(job) for job in good] == [1, 1, 1]


@dataclass(frozen=True, slots=True, kw_only=True)
class Over:
    """A job that goes over a limit."""

    kind: Kind
    order: str
    limit: tuple[str, str]
    told: str


@pytest.mark.parametrize(
    "over",
    [
        Over(kind=COMMAND, order=body(do="hang"), limit=("--job-timeout", "0.5"), told="ran for longer than 0.5 s"),
        Over(kind=PLAIN, order=body(do="fill", mebibytes=200), limit=("--job-memory", "100M"), told="--job-memory"),
    ],
    ids=["time", "memory"],
)
def test_limits_hold(sqlite: SqlitePlace, make_vm: MakeVm, over: Over) -> None:
    """A job over its limit is ended, and fails with the limit's name."""
    job = sqlite.put(over.order)
    vm = make_vm(sqlite, handler="")
    vm.start("--retry-pause", "1h", *over.limit, *over.kind)
    vm.await_row("J25", job=job)
    record = sqlite.record(job)
    assert record is not None
    assert over.told in str(record.error)


def test_a_job_that_ignores_everything_is_abandoned_safely(sqlite: SqlitePlace, make_vm: MakeVm) -> None:
    """It does not hear SIGTERM: it is killed before the deadline, handed back at once, and done by the next worker."""
    job = sqlite.put(body(do="stubborn"))
    vm = make_vm(sqlite, handler="", visibility_timeout_s=600.0)
    vm.start(*COMMAND)
    began = await_effect(vm, lambda effect: effect["event"] == "began")
    time.sleep(0.3)
    vm.twin.evict(notice_s=3)
    left_s = vm.await_kind("notice").fields["left_s"]
    assert isinstance(left_s, float)
    drained_within(vm, left_s)
    with pytest.raises(ProcessLookupError):
        os.kill(began["pid"], 0)
    vm.kill()
    vm.reboot()
    vm.start("--until-empty", *COMMAND)
    assert vm.wait() == 0
    assert sqlite.recorded(job) == 1


def test_a_service_that_tells_all_its_processes_loses_no_budget(sqlite: SqlitePlace, make_vm: MakeVm) -> None:
    """A job that SIGTERM reaches before the worker is stopped, and has not failed."""
    job = sqlite.put(body(do="hang"))
    vm = make_vm(sqlite, handler="")
    vm.start(*PLAIN)
    began = await_effect(vm, lambda effect: effect["event"] == "began")
    os.kill(began["pid"], signal.SIGTERM)
    time.sleep(0.2)
    vm.send(signal.SIGTERM)
    assert vm.wait() == 0
    record = sqlite.record(job)
    assert record is not None
    assert (record.status, record.counts.failures, record.counts.stops) == (Status.RELEASED, 0, 1)


def test_the_command_of_the_readme_does_what_the_readme_says(
    sqlite: SqlitePlace, make_vm: MakeVm, tmp_path: Path
) -> None:
    """It renders every page once or a little more, is interrupted in the middle, and goes on where it was."""
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    script = re.search(r"^```sh\n(#!/bin/sh\n# spotfsm worker .*?)^```", readme, re.DOTALL | re.MULTILINE)
    assert script is not None
    render = tmp_path / "render"
    render.write_text(f'#!/bin/sh\nsleep 0.05; echo "$1" >> {tmp_path}/pages\n')
    command = tmp_path / "job.sh"
    command.write_text(script[1].replace("./render", str(render)))
    for file in (render, command):
        file.chmod(0o755)
    job = sqlite.put("{}")
    vm = make_vm(sqlite, handler="")
    vm.start("--", str(command))
    vm.await_row("J19", job=job)
    vm.send(signal.SIGTERM)
    assert vm.wait() == 0
    record = sqlite.record(job)
    assert record is not None
    assert (record.status, record.counts.stops) == (Status.RELEASED, 1)
    vm.start("--until-empty", "--", str(command))
    assert vm.wait() == 0
    record = sqlite.record(job)
    assert record is not None
    assert record.result == '{"pages":20}'
    pages = (tmp_path / "pages").read_text().split()
    assert sorted(map(int, set(pages))) == list(range(20))
    assert len(pages) <= 21
