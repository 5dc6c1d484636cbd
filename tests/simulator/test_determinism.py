"""The same seed gives the same journal, byte for byte: in every run, every process, under every hash seed."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from itertools import islice
from pathlib import Path

import pytest

from fsm.ports import VmIdentity
from fsm.runner import WorkerSettings
from simulator.loading import load_scenario, shipped_names
from simulator.loop import virtually
from simulator.scenario import Scenario, WorkloadPlan
from simulator.simulation import PROGRESS_EVERY_S, simulate
from simulator.swarm import drawn_scenario
from simulator.vm import SimulatedVm
from simulator.workload import Workload
from simulator.world import World
from tests.journal_checks import lines_in

SEEDS = (1, 5, 8, 11, 28, 49, 109)
"""Swarms with freezes, kills, withdrawn notices, short leases, a drought of days, and policy Delete among them."""
WATCHED_SEEDS = (103, 112, 119)
"""Worlds with timers that are due at one instant: one timer more, and others are called in another order."""
SPAN_S = 300.0
"""So much of each scenario is enough to be sure, and takes little."""
HASH_SEEDS = ("0", "4242")
ROOT = Path(__file__).parents[2]


def _worlds() -> Iterator[tuple[str, Scenario, int]]:
    """Some swarms, and the beginning of every scenario that ships."""
    for seed in SEEDS:
        yield f"swarm {seed}", drawn_scenario(seed), seed
    for name in shipped_names():
        scenario = load_scenario(name).scenario
        yield name, replace(scenario, horizon_s=min(scenario.horizon_s, SPAN_S), calm_s_max=60.0, sweep=()), 7


def digests(*, swarms_alone: bool = False) -> dict[str, str]:
    """One hash for each world, over its journal, byte for byte, and all that a report shows."""
    found = {}
    for name, scenario, seed in islice(_worlds(), len(SEEDS) if swarms_alone else None):
        result = simulate(scenario, seed)
        digest = hashlib.sha256("\n".join(result.journal).encode())
        numbers = (result.summary, result.costs, result.market, result.vms, result.applications, result.jobs)
        digest.update(repr((numbers, result.marks, result.faults, result.violations)).encode())
        found[name] = digest.hexdigest()
    return found


@pytest.mark.timeout(300)
def test_a_seed_is_a_journal() -> None:
    """Twice in this process, and once in processes with other hash seeds: not a byte differs."""
    code = "import json; from tests.simulator.test_determinism import digests; print(json.dumps(digests()))"
    with ExitStack() as stack:
        others = [
            stack.enter_context(
                subprocess.Popen(
                    [sys.executable, "-c", code],
                    env={**os.environ, "PYTHONHASHSEED": hash_seed, "PYTHONPATH": str(ROOT)},
                    cwd=ROOT,
                    stdout=subprocess.PIPE,
                    text=True,
                )
            )
            for hash_seed in HASH_SEEDS
        ]
        here = digests()
        again = digests(swarms_alone=True)
        assert again == {name: here[name] for name in again}
        for other in others:
            said, _ = other.communicate()
            assert json.loads(said) == here
    assert len(set(here.values())) == len(here), "each world is another"


def test_whoever_watches_a_run_changes_nothing() -> None:
    """A run whose progress is told has the journal of one whose progress is not: it replays what a campaign found."""
    told: list[tuple[float, int, int]] = []
    for seed in WATCHED_SEEDS:
        watched = simulate(drawn_scenario(seed), seed, on_progress=lambda *progress: told.append(progress))
        assert watched.journal == simulate(drawn_scenario(seed), seed).journal, f"seed {seed}"
    assert told
    assert all(at_s > 0 and at_s % PROGRESS_EVERY_S == 0 for at_s, _, _ in told)


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
        return [line.text("event_id") for line in lines_in(world.journal.lines) if line.kind == "notice"]

    assert virtually(main) == [f"event-{number}" for number in range(20)]
