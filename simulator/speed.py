"""How fast the simulator is: virtual time over processor time, and how the cost of a run grows.

Processor time, not wall time: other programs on the machine do not count. Everything is on: faults, all checkers, the
journal, Scheduled Events once a second.
"""

from __future__ import annotations

import gc
import time
from dataclasses import dataclass

from simulator.faults import FaultPlan
from simulator.scenario import Length, Scenario, VmPlan, WorkerPlan, WorkloadPlan
from simulator.simulation import simulate

DAY_S = 86_400.0
FAULTS_OF_EACH_KIND = FaultPlan(
    request_reset=0.001,
    reply_reset=0.001,
    throttled=0.001,
    slow=0.001,
    write_late=0.001,
    write_torn=0.001,
    lease_short=0.001,
    imds_silent=0.001,
    imds_wrong=0.001,
    imds_late=0.001,
    kill_before=0.00001,
    kill_after=0.00001,
    notice_withdrawn=0.05,
    notice_foreign=0.05,
    freeze=0.05,
    clock_jump=0.05,
    clock_skew_s_max=5.0,
)
"""Rare, as in a bad month: each call is asked for them all the same."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Speed:
    """One measurement.

    Attributes:
        simulated_s: virtual seconds.
        cpu_s: processor seconds.
        entries: lines in the journal.
    """

    vms: int
    jobs: int
    simulated_s: float
    cpu_s: float
    entries: int

    @property
    def times_real_time(self) -> float:
        return self.simulated_s / self.cpu_s

    @property
    def vm_s_per_cpu_s(self) -> float:
        return self.vms * self.simulated_s / self.cpu_s

    @property
    def cpu_ms_per_job(self) -> float:
        return 1000.0 * self.cpu_s / self.jobs


def measure_one_vm(*, days: float = 1.0) -> Speed:
    """One VM, polled once a second, with a job every half hour, evictions, and faults of each kind."""
    jobs = max(1, round(days * 48))
    return measure(
        Scenario(
            name="one VM",
            horizon_s=days * DAY_S * 2,
            vms=(VmPlan(evictions_per_h=0.1),),
            workload=WorkloadPlan(
                jobs=jobs,
                every_s=1800.0,
                arrivals=Length.FIXED,
                service_s=1200.0,
                unit_s=60.0,
                checkpoint_every_s=300.0,
            ),
            faults=FAULTS_OF_EACH_KIND,
        )
    )


def measure_vms(vms: int, *, hours: float = 2.0) -> Speed:
    """So many hours of work for each of this many VMs, all on one queue."""
    return measure(
        Scenario(
            name=f"{vms} VMs",
            vms=(VmPlan(count=vms, evictions_per_h=0.1),),
            workload=WorkloadPlan(
                jobs=round(vms * 12 * hours), service_s=2400.0, unit_s=60.0, checkpoint_every_s=300.0
            ),
            faults=FAULTS_OF_EACH_KIND,
        )
    )


def measure_jobs(jobs: int) -> Speed:
    """This many short jobs on four VMs.

    They take times of their own. Jobs of one length would run in step, and share what happens at one moment: the first
    thousand of them would be cheaper apiece than a hundred thousand, which fall out of step.
    """
    return measure(
        Scenario(
            name=f"{jobs} jobs",
            horizon_s=30 * DAY_S,
            vms=(VmPlan(count=4),),
            workload=WorkloadPlan(
                jobs=jobs, service_s=2.0, service=Length.EXPONENTIAL, unit_s=1.0, checkpoint_every_s=0.0
            ),
            worker=WorkerPlan(concurrency=16),
            faults=FaultPlan(request_reset=0.001, reply_reset=0.001, throttled=0.001, slow=0.001, write_late=0.001),
        )
    )


def measure(scenario: Scenario) -> Speed:
    """Run a scenario once.

    Raises:
        AssertionError: it broke a promise: its speed is worth nothing.
    """
    gc.collect()
    began_s = time.process_time()
    result = simulate(scenario, 0)
    cpu_s = time.process_time() - began_s
    assert not result.violations, result.violations
    return Speed(
        vms=sum(plan.count for plan in scenario.vms),
        jobs=scenario.workload.jobs,
        simulated_s=result.summary.simulated_s,
        cpu_s=cpu_s,
        entries=len(result.journal),
    )
