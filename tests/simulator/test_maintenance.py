"""What ends a VM's boot beside an eviction: deleted, booted again where it is, or on another host."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from simulator.faults import FaultPlan
from simulator.result import SimulationResult
from simulator.scenario import Deed, Scenario, ScriptedEvent, VmPlan, WorkloadPlan
from simulator.simulation import simulate

NOTICE_S = 20.0
BOOT_S = 10.0


def _after(do: Deed, *, faults: FaultPlan | None = None, count: int = 1) -> SimulationResult:
    scenario = Scenario(
        vms=(VmPlan(count=count, boot_s=BOOT_S),),
        workload=WorkloadPlan(jobs=4 * count, service_s=300.0, checkpoint_every_s=10.0),
        script=(ScriptedEvent(at_s=100.0, do=do, vm="vm-1", notice_s=NOTICE_S),),
        faults=faults or FaultPlan(),
    )
    result = simulate(scenario, 0)
    assert result.violations == ()
    assert result.summary.completed == 4 * count
    return result


def _lines(result: SimulationResult, kind: str) -> list[dict[str, object]]:
    return [line for line in map(json.loads, result.journal) if line["kind"] == kind]


@pytest.mark.parametrize(
    ("do", "origin", "rows"),
    [
        (Deed.REBOOT, "redeployed", ["D1"]),
        (Deed.REDEPLOY, "redeployed", ["D1", "O1", "S1"]),
        (Deed.TERMINATE, "recreated", ["D1", "O4", "D1"]),
    ],
)
def test_a_boot_ends_at_its_time_and_nothing_is_redone(do: Deed, origin: str, rows: list[str]) -> None:
    """The worker drains, its VM ends as announced, and the next boot finds itself to be what the event made of it."""
    result = _after(do)
    (notice,) = _lines(result, "notice")
    assert notice["type"] == do.value.capitalize()
    assert [line["origin"] for line in _lines(result, "origin")] == ["fresh", origin]
    assert [line["row"] for line in _lines(result, "row") if line["machine"] == "spot_vm"] == rows
    assert result.faults == {do.value: 1}
    assert result.summary.redone_s == 0
    assert result.summary.evictions == 0


def test_an_event_that_names_several_ends_them_all() -> None:
    """Every VM that a shared event names boots again, with its name in capitals or not."""
    result = _after(Deed.REBOOT, faults=FaultPlan(notice_shared=1.0, notice_cased=1.0), count=3)
    assert result.faults == {"notice_cased": 1, "notice_shared": 1, "reboot": 3}
    assert sorted(str(line["vm"]) for line in _lines(result, "kill")) == ["vm-1", "vm-2", "vm-3"]
    assert [line["origin"] for line in _lines(result, "origin")] == ["fresh"] * 3 + ["redeployed"] * 3


def test_advice_stops_nobody() -> None:
    """An event that asks for nothing is noted as advice, and the worker goes on."""
    result = _after(Deed.ADVICE)
    assert [line["severity"] for line in _lines(result, "notice")] == ["advisory"]
    assert [line["origin"] for line in _lines(result, "origin")] == ["fresh"]
    assert "A20" not in {line["row"] for line in _lines(result, "row")}


def test_maintenance_that_a_calm_world_sees_is_taken_back() -> None:
    """A VM whose maintenance was announced when faults end is not ended, and works again."""
    scenario = Scenario(
        horizon_s=60.0,
        vms=(VmPlan(boot_s=BOOT_S),),
        workload=WorkloadPlan(jobs=2, service_s=100.0),
        script=(ScriptedEvent(at_s=30.0, do=Deed.REBOOT, notice_s=5000.0),),
    )
    result = simulate(scenario, 0)
    assert result.ok
    assert "A31" in {line["row"] for line in _lines(result, "row")}
    assert "reboot" not in result.faults
    assert simulate(replace(scenario, script=()), 0).summary.makespan_s < result.summary.makespan_s
