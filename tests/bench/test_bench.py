"""The benchmark's own machinery: its arithmetic, and that each of its loops does its jobs. No time is asserted."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest

from tests.bench.child import Task
from tests.bench.figures import Pairs, measure_in_turn, spread
from tests.bench.measures import run
from tests.bench.queues import azurite_queue, sqlite_queue
from tests.bench.simulated import measured

JOBS = 40


def test_a_ratio_is_taken_pair_by_pair() -> None:
    """The ratio is the median of the pairs' own ratios, not the ratio of two medians."""
    pairs = Pairs(name="n", unit="u", against="a", ours=[1.0, 20.0, 9.0], theirs=[1.0, 10.0, 3.0])
    assert pairs.ratios == [1.0, 2.0, 3.0]
    assert (pairs.to_json()["ratio"], pairs.to_json()["ratio_min"], pairs.to_json()["ratio_max"]) == (2.0, 1.0, 3.0)
    assert spread(pairs.ratios, 1) == "2.0 (1.0 to 3.0)"


def test_every_round_begins_with_another_measure() -> None:
    """No measure is always the first, so that none always profits from what the one before it left."""
    order: list[str] = []

    def measure(name: str) -> float:
        order.append(name)
        return 0.0

    measure_in_turn(3, {name: partial(measure, name) for name in "abc"})
    assert order == ["a", "b", "c", "b", "c", "a", "c", "a", "b"]


@pytest.mark.processes
def test_the_simulator_is_measured_with_everything_on() -> None:
    """A measurement in a process of its own brings its world back: so many VMs, the journal, and virtual time."""
    speed = measured("measure_jobs", 200)
    assert (speed.vms, speed.jobs) == (4, 200)
    assert speed.simulated_s > 0
    assert speed.entries > 2 * speed.jobs


@pytest.mark.processes
@pytest.mark.parametrize(("loop", "stored"), [("ours", True), ("ours", False), ("sqlite", False)])
def test_each_loop_on_sqlite_does_its_jobs(tmp_path: Path, loop: str, *, stored: bool) -> None:
    """A loop ends once every job is done, with its figures."""
    with sqlite_queue(tmp_path, JOBS) as filled:
        queue = filled.queue if loop == "ours" else filled.bare
        store = filled.store if stored else "none"
        outcome = run(Task(loop=loop, queue=queue, store=store, jobs=JOBS, concurrency=8, memory_at=(JOBS,)))
    assert outcome.seconds > 0
    assert outcome.peak_kib[str(JOBS)] > 0


@pytest.mark.processes
@pytest.mark.azurite
@pytest.mark.parametrize("concurrency", [1, 64])
@pytest.mark.parametrize(("loop", "stored"), [("ours", True), ("azure", False)])
def test_each_loop_on_azurite_does_its_jobs(loop: str, concurrency: int, *, stored: bool) -> None:
    """A loop ends once every job is done, one at a time or many at once."""
    with azurite_queue(JOBS) as filled:
        queue = filled.queue if loop == "ours" else filled.bare
        store = filled.store if stored else "none"
        outcome = run(Task(loop=loop, queue=queue, store=store, jobs=JOBS, concurrency=concurrency))
    assert outcome.seconds > 0
