"""Swarms of short worlds: every seed keeps every promise.

`SWARM_SEEDS=1000` runs the first thousand, `SWARM_SEEDS=1000-1999` those.
"""

from __future__ import annotations

import os
from functools import partial

import pytest

from simulator.simulation import simulate
from simulator.swarm import drawn_scenario, replay_command, shrink
from tests.simulator.sabotages import SABOTAGES

SEEDS_A_TEST = 10


def _seeds() -> list[range]:
    first, _, last = os.environ.get("SWARM_SEEDS", "200").partition("-")
    seeds = range(int(first), int(last) + 1) if last else range(int(first))
    return [seeds[at : at + SEEDS_A_TEST] for at in range(0, len(seeds), SEEDS_A_TEST)]


@pytest.mark.timeout(600)
@pytest.mark.parametrize("seeds", _seeds(), ids=lambda seeds: f"seeds-{seeds[0]}-{seeds[-1]}")
def test_swarm(seeds: range) -> None:
    """Whatever a seed draws, no promise is broken; one that breaks is told, shrunk, and how to replay it."""
    for seed in seeds:
        result = simulate(drawn_scenario(seed), seed)
        if result.violations:
            failure = shrink(result, partial(simulate, seed=seed))
            pytest.fail(str(failure))


def test_a_failure_is_told_and_shrunk(monkeypatch: pytest.MonkeyPatch) -> None:
    """A broken run names its seed, its drawn options and the one command, and shrinks to fewer jobs, VMs and faults."""
    sabotage = next(one for one in SABOTAGES if one.name == "delete before record")
    sabotage.patch(monkeypatch)
    runs = (simulate(drawn_scenario(seed), seed) for seed in range(20))
    result = next(run for run in runs if run.violations and run.summary.jobs > 5)
    failure = shrink(result, partial(simulate, seed=result.seed))
    assert failure.shrunk.violations
    assert failure.shrunk.scenario.workload.jobs == 1
    assert sum(plan.count for plan in failure.shrunk.scenario.vms) == 1
    assert not failure.shrunk.scenario.faults.drawn_options
    told = str(failure)
    assert replay_command(result) == f"spotfsm simulate swarm --seed {result.seed}"
    for part in (f"seed {result.seed} ", "workload.jobs = ", "nothing_lost", f"Replay: {replay_command(result)}"):
        assert part in told, part
