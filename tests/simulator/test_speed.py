"""The simulator stays fast, and a larger world costs in proportion; `make bench` gives the figures."""

from __future__ import annotations

from simulator.speed import measure_jobs, measure_one_vm, measure_vms


def test_one_vm_runs_thousands_of_times_faster_than_it_would() -> None:
    """5,000 times real time is the aim; a machine that is busy and half as fast must still pass."""
    measure_one_vm(days=0.05)
    assert measure_one_vm(days=0.3).times_real_time > 2_500


def test_cost_grows_no_faster_than_linearly_with_vms() -> None:
    """Sixteen VMs cost at most sixteen times one, and a third more for noise."""
    assert measure_vms(16).vm_s_per_cpu_s > measure_vms(1).vm_s_per_cpu_s * 0.75


def test_cost_grows_no_faster_than_linearly_with_jobs() -> None:
    """Eight thousand jobs cost no more each than a thousand do, and a third more for noise."""
    measure_jobs(200)
    assert measure_jobs(8_000).cpu_ms_per_job < measure_jobs(1_000).cpu_ms_per_job * 1.33
