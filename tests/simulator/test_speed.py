"""A larger world costs in proportion, counted in calls, which no busy machine changes; `make bench` has the seconds."""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import FrameType

from simulator.speed import Speed, measure_jobs, measure_one_vm, measure_vms

CALLS_A_SECOND_MAX = 600
"""What one VM's second may take, a quarter more than it does: at 5,000 times real time that is 3 million a second."""


def _calls(measure: Callable[[], Speed]) -> tuple[int, Speed]:
    """How many functions are called, of Python's and of C's, and what was measured."""
    calls = 0

    def count(_frame: FrameType, event: str, _argument: object) -> None:
        nonlocal calls
        if event in ("call", "c_call"):
            calls += 1

    before = sys.getprofile()
    sys.setprofile(count)
    try:
        speed = measure()
    finally:
        sys.setprofile(before)
    return calls, speed


def test_a_simulated_second_takes_few_calls() -> None:
    """What a VM's second costs with faults, checkers and journal on is bounded."""
    calls, speed = _calls(lambda: measure_one_vm(days=0.05))
    assert calls / speed.simulated_s < CALLS_A_SECOND_MAX


def test_cost_grows_no_faster_than_linearly_with_vms() -> None:
    """Twelve VMs with twelve times the work take at most twelve times the calls of one, a VM and second."""
    one, one_speed = _calls(lambda: measure_vms(1, hours=0.5))
    twelve, twelve_speed = _calls(lambda: measure_vms(12, hours=0.5))
    assert twelve / (12 * twelve_speed.simulated_s) < 1.05 * one / one_speed.simulated_s


def test_cost_grows_no_faster_than_linearly_with_jobs() -> None:
    """Four thousand jobs take no more calls each than five hundred."""
    few, _ = _calls(lambda: measure_jobs(500))
    many, _ = _calls(lambda: measure_jobs(4_000))
    assert many / 4_000 < 1.05 * few / 500
