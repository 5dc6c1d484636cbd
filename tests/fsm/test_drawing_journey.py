"""Paths are counted as journals have them: each process one application, each delivery one job machine."""

from __future__ import annotations

from datetime import UTC, datetime

from fsm.drawing import Journey, journey_of
from fsm.journal import Line


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


def test_a_journal_without_the_machine_has_no_path() -> None:
    """Nothing is counted and nobody is anywhere."""
    assert journey_of("spot_vm", LINES) == Journey()
