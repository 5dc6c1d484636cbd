"""Paths are counted as journals have them: each process one application, each delivery one job machine."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from functools import cache

import pytest

from fsm.delivery import Phase
from fsm.drawing import Journey, Machine, drawing_with_path, journey_of
from fsm.drawing.journey import joint_journey_of, protocol_journey_of
from fsm.errors import ConfigurationError
from fsm.journal import Line
from tests.fsm.test_replay import eventful_world
from tests.journal_checks import lines_in

PATHS = (Machine.APPLICATION, Machine.JOB, Machine.JOINT, Machine.DELIVERY)
"""What a worker's journal has a path of."""


@cache
def path_lines() -> Sequence[Line]:
    """The journal of three worker processes."""
    return lines_in(eventful_world().journal.lines)


def line(
    row: str, before: str, after: str, *, source: str = "p1", machine: str = "application", **rest: str | int
) -> Line:
    fields = {"machine": machine, "row": row, "from": before, "to": after, **rest}
    return Line(source=source, n=1, at=datetime(2026, 1, 1, tzinfo=UTC), kind="row", fields=fields)


LINES = [
    line("A1", "Offline", "Recovering"),
    line("A1", "Offline", "Recovering", source="p2"),
    line("A8", "Recovering", "Recovering"),
    line("A3", "Recovering", "WarmingUp"),
    line("J8", "Received", "Running", machine="job", job="a", epoch=1),
    line("J28", "Running", "Released", machine="job", job="a", epoch=1),
    line("J7", "Received", "Running", machine="job", job="a", epoch=2, source="p2"),
    line("J8", "Received", "Running", machine="job", job="b", epoch=1),
    Line(source="p1", n=9, at=datetime(2026, 1, 1, tzinfo=UTC), kind="notice", fields={"machine": "application"}),
]


def test_every_process_is_an_application_of_its_own() -> None:
    """Rows are counted by state, states by arrivals, and each process stands where its last row left it."""
    assert journey_of("application", LINES) == Journey(
        rows={("Offline", "A1"): 2, ("Recovering", "A8"): 1, ("Recovering", "A3"): 1},
        visits={"Offline": 2, "Recovering": 2, "WarmingUp": 1},
        present={"WarmingUp": 1, "Recovering": 1},
    )


def test_every_delivery_is_a_job_machine_of_its_own() -> None:
    """A message that is delivered twice begins twice, and its first delivery stays where it ended."""
    journey = journey_of("job", LINES)
    assert journey.visits == {"Received": 3, "Running": 3, "Released": 1}
    assert journey.present == {"Released": 1, "Running": 2}
    assert (journey.times("J8"), journey.times("J7"), journey.times("J1")) == (2, 1, 0)


def test_of_one_job_the_newest_delivery_is_present() -> None:
    """A job is where its newest delivery is; what ended before is only counted."""
    journey = journey_of("job", LINES, job="a")
    assert journey.rows == {("Received", "J8"): 1, ("Running", "J28"): 1, ("Received", "J7"): 1}
    assert journey.present == {"Running": 1}


def test_every_vm_of_a_platform_is_a_machine_of_its_own() -> None:
    """A simulated platform writes for all of its VMs, and each stands where its own last row left it."""
    deployed = [line("D1", "NotDeployed", "Running", source="platform", machine="spot_vm", vm=vm) for vm in "abc"]
    evicted = line("E2", "Running", "Stopped", source="platform", machine="spot_vm", vm="b")
    journey = journey_of("spot_vm", [*deployed, evicted])
    assert journey.visits == {"NotDeployed": 3, "Running": 3, "Stopped": 1}
    assert journey.present == {"Running": 2, "Stopped": 1}


def test_a_journal_without_the_machine_has_no_path() -> None:
    """Nothing is counted and nobody is anywhere."""
    assert journey_of("spot_vm", LINES) == Journey()


def test_the_joint_rules_path_is_what_the_lines_say() -> None:
    """Rules are counted by the lines that name them, and of a job's begin by the only rule there is."""
    lines = path_lines()
    path = joint_journey_of(lines)
    begun = sum(
        line.machine == "job" and (line.text("from"), line.text("to")) == ("Received", "Running") for line in lines
    )
    assert path.rules["C12"] == begun > 12
    assert path.rules["C13"] + path.rules["C14"] == sum(line.kind == "settled" for line in lines)
    assert path.rules["C4"] == sum(line.row in ("A20", "A21") and line.text("from") == "Processing" for line in lines)
    picture = drawing_with_path(Machine.JOINT, lines).picture
    assert picture.is_path
    assert {edge.taken for edge in picture.edges} == {True, False}
    assert not any(node.present for node in picture.nodes)


def test_the_protocols_path_is_whole() -> None:
    """Every delivery of an uncut journal goes from `new` step by step; a killed process's stay where they were."""
    lines = path_lines()
    path = protocol_journey_of(lines)
    deliveries = {(line.source, line.job, line.epoch) for line in lines if line.text("steps")}
    settled = sum(line.kind == "settled" for line in lines)
    assert path.visits[Phase.NEW] == len(deliveries) == sum(path.present.values())
    assert path.present[Phase.ENDED] == settled
    assert len(deliveries) - settled == path.present[Phase.RUNNING] == 8
    for phase in Phase:
        came = sum(times for (before, _, after, _), times in path.steps.items() if after == phase != before)
        went = sum(times for (before, _, after, _), times in path.steps.items() if before == phase != after)
        assert came + (path.visits[phase] if phase is Phase.NEW else 0) == path.visits[phase]
        assert path.visits[phase] - went == path.present.get(phase, 0)


def test_of_one_job_the_protocol_shows_one_delivery_after_another() -> None:
    """With a job's id its deliveries alone are drawn, and where the newest one is."""
    lines = path_lines()
    job = next(line.job for line in lines if line.row == "J7")
    picture = drawing_with_path(Machine.DELIVERY, lines, job=job).picture
    assert [(node.lines, node.present) for node in picture.nodes if node.present] == [(("ended",), 1)]
    assert any(edge.taken for edge in picture.edges if edge.source == "reading_the_record")


def test_a_path_that_no_line_tells_is_a_mistake() -> None:
    """A journal of another format, or of another job, has no steps to draw."""
    with pytest.raises(ConfigurationError, match="--journal: it has no line of a joint rule"):
        drawing_with_path(Machine.JOINT, LINES[:4])
    with pytest.raises(ConfigurationError, match="--journal: it has no line of a delivery's steps"):
        drawing_with_path(Machine.DELIVERY, LINES)
    with pytest.raises(ConfigurationError, match="--job: 'x' is not in the journal"):
        drawing_with_path(Machine.DELIVERY, path_lines(), job="x")
