"""How fast the simulator is, and how its cost grows: processor time of runs in processes of their own."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

from simulator import speed
from simulator.speed import Speed
from tests.bench.figures import Figure, Pairs, measure_in_turn
from tests.bench.measures import Plan
from tests.processes.spot_vm import ROOT

ROUNDS_MAX = 3
"""A round takes about two minutes."""
VMS = (1, 10, 50)
JOBS = (1_000, 10_000, 100_000)


def simulator(plan: Plan, _directory: Path) -> Iterator[Figure]:
    """Times real time, and the cost of 50 VMs and of 100,000 jobs over that of one and of 1,000."""
    rounds = min(plan.rounds, ROUNDS_MAX)
    ones = [measured("measure_one_vm") for _ in range(rounds)]
    yield Pairs(
        name="simulated time of one VM, 1 Hz, with faults, checkers and journal",
        goal="5000 or better",
        unit="s",
        against="processor time",
        ours=[one.simulated_s for one in ones],
        theirs=[one.cpu_s for one in ones],
        digits=1,
    )
    costs = measure_in_turn(rounds, {str(vms): partial(_ms_a_vm_hour, vms) for vms in VMS})
    for vms in VMS[1:]:
        yield _growth(f"simulating {vms} VMs", "ms a VM-hour", costs[str(vms)], costs[str(VMS[0])], "one VM")
    sizes = JOBS[: 3 if plan.share == 1.0 else 2]
    costs = measure_in_turn(rounds, {str(jobs): partial(_ms_a_job, jobs) for jobs in sizes})
    for jobs in sizes[1:]:
        yield _growth(
            f"simulating {jobs:,} jobs", "ms a job", costs[str(jobs)], costs[str(JOBS[0])], f"{JOBS[0]:,} jobs"
        )


def _growth(name: str, unit: str, many: Sequence[float], few: Sequence[float], against: str) -> Figure:
    return Pairs(name=name, goal="1.0 or less", unit=unit, against=against, ours=many, theirs=few, digits=3)


def _ms_a_vm_hour(vms: int) -> float:
    one = measured("measure_vms", vms)
    return 1000.0 * one.cpu_s / (vms * one.simulated_s / 3600.0)


def _ms_a_job(jobs: int) -> float:
    return measured("measure_jobs", jobs).cpu_ms_per_job


def measured(name: str, *given: int) -> Speed:
    """One measurement of `simulator.speed`, in a fresh interpreter."""
    assert hasattr(speed, name)
    code = (
        "import dataclasses, json, sys; from simulator import speed; "
        f"print(json.dumps(dataclasses.asdict(speed.{name}(*json.loads(sys.argv[1])))))"
    )
    ended = subprocess.run(
        [sys.executable, "-c", code, json.dumps(given)], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert ended.returncode == 0, ended.stderr
    return Speed(**json.loads(ended.stdout))
