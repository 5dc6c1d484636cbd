"""Many runs at a time: in order, and whatever ends them, no process is left."""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from fsm.errors import ConfigurationError
from simulator.loading import load_scenario, with_option
from simulator.many import Planned, RunsAtOnce
from simulator.swarm import drawn_scenario
from tests.process_groups import members

CAMPAIGN = """
from simulator.many import RunsAtOnce
from tests.simulator.test_many import one_short

if __name__ == "__main__":
    with RunsAtOnce(one_short(), processes=2) as runs:
        for _ in runs:
            print("one is done", flush=True)
"""
ENDLESS = with_option(load_scenario("scale-out").scenario, "workload.jobs", 200_000)
"""A run that no test would see the end of."""


def one_short() -> Iterator[Planned]:
    """A short run, and then such as do not end."""
    yield Planned(scenario=drawn_scenario(0), seed=0)
    for seed in range(100):
        yield Planned(scenario=ENDLESS, seed=seed)


def test_what_is_given_up_ends_at_once_and_gives_what_was_done() -> None:
    """Runs behind one that takes long are not lost with it, and nobody waits for that one."""
    short = [Planned(scenario=drawn_scenario(seed), seed=seed) for seed in range(8)]
    plans = [short[0], Planned(scenario=ENDLESS, seed=0), *short[1:]]
    with RunsAtOnce(plans, processes=2) as runs:
        results = iter(runs)
        first, _ = next(results)
        assert first is plans[0]
        while sum(future.done() for _, future in runs._under_way) < 3:
            time.sleep(0.01)
        done = [(plan.seed, result.seed) for plan, result in runs.give_up()]
        assert len(done) >= 3
        assert all(planned == made for planned, made in done)
        assert done == sorted(done)
    assert multiprocessing.active_children() == []


def test_nobody_waits_for_runs_that_are_left() -> None:
    """Whoever leaves amid runs without end is through at once, and leaves no process behind."""
    with RunsAtOnce(one_short(), processes=2) as runs:
        next(iter(runs))
    assert multiprocessing.active_children() == []


def test_a_process_that_is_killed_is_one_line() -> None:
    """Out of memory, for example: no bug of ours, and no run that never ends."""
    with RunsAtOnce(one_short(), processes=1) as runs:
        results = iter(runs)
        next(results)
        for child in multiprocessing.active_children():
            child.kill()
        with pytest.raises(ConfigurationError, match=r"^--processes: one of them was killed"):
            next(results)


@pytest.mark.processes
@pytest.mark.skipif(not Path("/proc").is_dir(), reason="processes are looked for in /proc")
def test_a_killed_parent_takes_its_processes_along(tmp_path: Path) -> None:
    """After kill -9, which nobody can handle, no process simulates on."""
    script = tmp_path / "campaign.py"
    script.write_text(CAMPAIGN)
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    with subprocess.Popen([sys.executable, script], stdout=subprocess.PIPE, process_group=0, env=environment) as parent:
        try:
            assert parent.stdout is not None
            parent.stdout.readline()
            assert len(members(parent.pid)) >= 3
            parent.kill()
            parent.wait()
            patience_s = time.monotonic() + 20.0
            while members(parent.pid) and time.monotonic() < patience_s:
                time.sleep(0.05)
            assert members(parent.pid) == []
        finally:
            parent.kill()
            for left in members(parent.pid):
                os.kill(left, signal.SIGKILL)
