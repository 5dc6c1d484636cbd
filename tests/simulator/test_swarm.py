"""Swarms of short worlds: every seed keeps every promise, and every fault there is really happens.

`SWARM_SEEDS=2000` runs the first two thousand, `SWARM_SEEDS=1000-1999` those. `make swarm` is for long campaigns.
"""

from __future__ import annotations

import os
from collections import Counter
from functools import partial

import pytest

from simulator.faults import FAULTS
from simulator.many import Planned, RunsAtOnce
from simulator.simulation import simulate
from simulator.swarm import drawn_scenario, replay_command, shrink
from tests.simulator.sabotages import SABOTAGES

SEEDS_A_TEST = 250
PROCESSES = 2


def _seeds() -> list[range]:
    first, _, last = os.environ.get("SWARM_SEEDS", "1000").partition("-")
    seeds = range(int(first), int(last) + 1) if last else range(int(first))
    return [seeds[at : at + SEEDS_A_TEST] for at in range(0, len(seeds), SEEDS_A_TEST)]


@pytest.mark.timeout(900)
@pytest.mark.parametrize("seeds", _seeds(), ids=lambda seeds: f"seeds-{seeds[0]}-{seeds[-1]}")
def test_swarm(seeds: range) -> None:
    """Whatever a seed draws, no promise is broken; one that breaks is told, shrunk, and how to replay it.

    And none of it is empty: in so many seeds each fault has happened, a VM evicted in a drought of days included.
    """
    happened: Counter[str] = Counter()
    plans = (Planned(scenario=drawn_scenario(seed), seed=seed) for seed in seeds)
    with RunsAtOnce(plans, processes=PROCESSES) as runs:
        for _, result in runs:
            happened.update(result.faults)
            if result.violations:
                failure = shrink(result, partial(simulate, seed=result.seed))
                pytest.fail(str(failure))
    if len(seeds) == SEEDS_A_TEST:
        assert [fault for fault in FAULTS if not happened[fault]] == []


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
