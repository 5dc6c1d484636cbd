"""Notices of an eviction, and what real workers do about them; the order of the journal's lines is the proof."""

from __future__ import annotations

import json
import random
import time

import pytest

from fsm.application import AppState
from fsm.notices import Severity
from fsm.replay.checks import no_work_after_notice
from tests.journal_checks import BEGINS, notices_seen
from tests.processes.conftest import MakeVm
from tests.processes.places import Place, SqlitePlace
from tests.processes.spot_vm import SpotVm

pytestmark = pytest.mark.processes

TRIES = 3
KILLED_WITHIN_S = 1.5
"""A longer notice is cut short, as Azure does: what must not happen would happen at once."""


def _fill(place: Place, count: int) -> set[str]:
    """Many short jobs, so that a worker at work is for ever receiving."""
    return {place.put(json.dumps({"steps": 3, "step_s": 0.02})) for _ in range(count)}


@pytest.mark.timeout(300)
@pytest.mark.parametrize("notice_s", [0, 2, 8, 30])
def test_no_receive_begins_after_a_notice_and_nothing_is_lost(
    sqlite: SqlitePlace, make_vm: MakeVm, notice_s: float
) -> None:
    """However short the notice: after the reply that names this VM no receive and no job begins, and none is lost."""
    draw = random.Random(notice_s)
    vm = make_vm(sqlite, concurrency=3)
    jobs: set[str] = set()
    for _ in range(TRIES):
        jobs |= _fill(sqlite, 60)
        seen = len(vm.lines)
        vm.start()
        vm.await_kind("received", after=seen)
        time.sleep(draw.uniform(0.0, 0.4))
        vm.twin.evict(notice_s=notice_s)
        vm.await_kind("notice", after=seen)
        time.sleep(draw.uniform(0.0, min(notice_s or 1.0, KILLED_WITHIN_S)))
        vm.kill()
        vm.look()
        vm.reboot()
    assert notices_seen(vm.lines) == TRIES
    assert list(no_work_after_notice(vm.lines)) == []
    _expect_all_done(sqlite, vm, jobs)


def test_a_notice_finds_work_to_refuse(sqlite: SqlitePlace, make_vm: MakeVm) -> None:
    """The proof above has substance: without a notice the same worker receives again and again."""
    _fill(sqlite, 60)
    vm = make_vm(sqlite, concurrency=3)
    vm.start("--until-empty")
    assert vm.wait() == 0
    vm.look()
    receives = [line for line in vm.lines if line.kind == "receive"]
    assert len(receives) > 15


def test_a_notice_for_another_vm_stops_nothing(sqlite: SqlitePlace, make_vm: MakeVm) -> None:
    """A notice that names another VM of the set is none of ours: jobs go on."""
    vm = make_vm(sqlite)
    vm.start()
    vm.await_state(AppState.PROCESSING)
    vm.twin.evict(notice_s=5, vm="vm-other")
    _await_polls(vm, 3)
    (job,) = _fill(sqlite, 1)
    vm.await_row("J21", job=job)
    assert notices_seen(vm.lines) == 0


def test_a_withdrawn_notice_leaves_the_worker_at_work(place: Place, make_vm: MakeVm) -> None:
    """A worker that drained for a notice that then vanished goes back to work by itself, in the same process."""
    vm = make_vm(place, handler="tests.processes.handlers:long", visibility_timeout_s=600.0)
    interrupted = place.put("{}")
    vm.start()
    vm.await_begin(interrupted)
    vm.twin.evict(notice_s=30)
    drained = vm.await_state(AppState.DRAINED)
    seen = len(vm.lines)
    vm.twin.withdraw()
    working = vm.await_state(AppState.PROCESSING, after=seen)
    begun = vm.await_begin(interrupted, after=seen)
    assert drained.source == working.source == begun.source
    assert begun.epoch == 2


def test_a_rebalance_recommendation_stops_nothing(sqlite: SqlitePlace, make_vm: MakeVm) -> None:
    """Advice that an eviction is likely is read, and jobs go on beginning."""
    vm = make_vm(sqlite)
    vm.start()
    vm.await_state(AppState.PROCESSING)
    vm.twin.rebalance()
    notice = vm.await_kind("notice")
    assert notice.text("severity") == Severity.ADVISORY
    seen = len(vm.lines)
    (job,) = _fill(sqlite, 1)
    vm.await_row("J21", job=job)
    assert any(line.row in BEGINS for line in vm.lines[seen:])


def _await_polls(vm: SpotVm, polls: int) -> None:
    """Wait until the worker has asked its IMDS that often again."""
    asked = vm.twin.state()["requests_total"]
    give_up_s = time.monotonic() + 30.0
    while vm.twin.state()["requests_total"] < asked + polls:
        assert time.monotonic() < give_up_s, "the worker does not poll"
        time.sleep(0.05)


def _expect_all_done(place: Place, vm: SpotVm, jobs: set[str]) -> None:
    """Let one more worker finish, and find each job recorded once."""
    vm.start("--until-empty")
    assert vm.wait(within_s=90.0) == 0
    vm.look()
    assert {job for job in jobs if place.recorded(job) != 1} == set()
    assert place.length() == 0
    assert place.poisoned() == []
