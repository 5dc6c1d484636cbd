"""The same seed gives the same journal, byte for byte: in every run, every process, under every hash seed."""

from __future__ import annotations

import asyncio
import hashlib
import os
import subprocess
import sys
from pathlib import Path

from fsm.ports import VmIdentity
from fsm.runner import WorkerSettings
from simulator.loop import virtually
from simulator.scenario import WorkloadPlan
from simulator.simulation import simulate
from simulator.swarm import drawn_scenario
from simulator.vm import SimulatedVm
from simulator.workload import Workload
from simulator.world import World

SEEDS = (1, 5, 11, 49)
ROOT = Path(__file__).parents[2]


def _digest() -> str:
    """One hash over the journals and the numbers of some worlds in which much goes wrong."""
    digest = hashlib.sha256()
    for seed in SEEDS:
        result = simulate(drawn_scenario(seed), seed)
        digest.update("\n".join(result.journal).encode())
        digest.update(repr((result.summary, result.costs, result.market, result.vms, result.jobs)).encode())
    return digest.hexdigest()


def test_a_seed_is_a_journal() -> None:
    """Twice in this process and once in processes with other hash seeds: not a byte differs."""
    here = [_digest(), _digest()]
    command = [sys.executable, "-c", "from tests.simulator.test_determinism import _digest; print(_digest())"]
    there = [
        subprocess.run(
            command,
            env={**os.environ, "PYTHONHASHSEED": hash_seed, "PYTHONPATH": str(ROOT)},
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=True,
            timeout=100,
        ).stdout.strip()
        for hash_seed in ("0", "1", "4242")
    ]
    assert {*here, *there} == {here[0]}


def test_another_seed_is_another_journal() -> None:
    """Seeds differ, so that more of them find more."""
    journals = [simulate(drawn_scenario(seed), seed).journal for seed in (5, 11)]
    assert journals[0] != journals[1]


def test_notices_of_one_document_are_journaled_in_its_order() -> None:
    """Two notices that become known together stand in the journal as in the document, whatever strings hash to."""

    async def main() -> list[str]:
        world = World()
        vm = SimulatedVm(
            VmIdentity(vm_id="id", name="vm-1", boot_id="boot", priority="Spot", eviction_policy="Deallocate")
        )
        for number in range(20):
            vm.notify(f"event-{number}", "Freeze")
        process = world.start(vm, Workload(WorkloadPlan(), world).runner, WorkerSettings())
        await asyncio.sleep(5.0)
        await process.kill()
        return [entry.text("event_id") for entry in world.entries if entry.kind == "notice"]

    assert virtually(main) == [f"event-{number}" for number in range(20)]
