"""A scenario's expectations, held against what came out."""

from __future__ import annotations

from collections.abc import Iterator

from simulator.result import SimulationResult


def missed_expectations(result: SimulationResult) -> tuple[str, ...]:
    """One sentence for each expectation that was not met."""
    return tuple(_missed(result))


def _missed(result: SimulationResult) -> Iterator[str]:
    expect, summary, costs = result.scenario.expect, result.summary, result.costs
    planned = result.scenario.workload.jobs
    if summary.jobs < planned and not result.violations:  # nothing is proved by work that never came
        yield f"jobs: {planned} planned, {summary.jobs} had arrived when horizon_s and calm_s_max were over"
    exact = (
        ("completed", expect.completed, summary.completed),
        ("poisoned", expect.poisoned, summary.poisoned),
        ("lost", expect.lost, summary.lost),
    )
    for name, wanted, found in exact:
        if wanted is not None and found != wanted:
            yield f"{name}: {wanted} expected, {found} found"
    at_most = (
        ("makespan_s", expect.makespan_s_max, summary.makespan_s),
        ("evictions", expect.evictions_max, summary.evictions),
        ("misjudged", expect.misjudged_max, summary.misjudged),
        ("redone_s", expect.redone_s_max, summary.redone_s),
        ("cost_usd", expect.cost_usd_max, costs.total_usd),
    )
    for name, most, found_value in at_most:
        if most is not None and found_value > most:
            yield f"{name}: at most {most} expected, {found_value} found"
    at_least = (
        ("poisoned", expect.poisoned_min, summary.poisoned),
        ("makespan_s", expect.makespan_s_min, summary.makespan_s),
        ("evictions", expect.evictions_min, summary.evictions),
        ("resumes", expect.resumes_min, summary.resumes),
        ("abandoned", expect.abandoned_min, summary.abandoned),
        ("frozen_checkpoints", expect.frozen_checkpoints_min, summary.frozen_checkpoints),
        ("withdrawn", expect.withdrawn_min, summary.withdrawn),
        ("saving", expect.saving_min, costs.saving),
    )
    for name, least, found_value in at_least:
        if least is not None and found_value < least:
            yield f"{name}: at least {least} expected, {found_value} found"
