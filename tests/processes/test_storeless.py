"""Workers without a job store: no record keeps them from doing a job twice, and still no message is lost."""

from __future__ import annotations

import json

import pytest

from tests.journal_checks import BEGINS
from tests.processes.conftest import MakeVm
from tests.processes.places import Place

pytestmark = pytest.mark.processes

STEPS = 6


def test_a_killed_worker_without_a_store_loses_no_message(place: Place, make_vm: MakeVm) -> None:
    """Without a store a killed worker's jobs begin again from their start, until each has come to its end."""
    jobs = {place.put(json.dumps({"steps": STEPS, "step_s": 0.05})) for _ in range(30)}
    vm = make_vm(place)
    for number in range(3):
        seen = len(vm.lines)
        vm.start(store=False)
        vm.await_line(lambda line: line.text("to") == "Completed", after=seen)
        vm.kill()
        vm.look()
        if number == 1:
            vm.reboot()
    vm.start("--until-empty", store=False)
    assert vm.wait() == 0
    vm.look()
    effects = [json.loads(text) for text in vm.effects.read_text(encoding="utf-8").splitlines()]
    assert {effect["job"] for effect in effects if effect["event"] == "saved" and effect["value"] == STEPS} == jobs
    assert any(line.row in BEGINS and line.epoch > 1 for line in vm.lines)
    assert place.length() == 0
    assert place.poisoned() == []
    assert place.history() == []
