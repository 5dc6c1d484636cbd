"""The verdict on a kill campaign finds each broken promise in the evidence of it, and no fault where there is none."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from adapters.sqlite.history import PastRecord
from fsm.record import End, Owner, Record
from tests.processes.places import SqlitePlace, sqlite_place
from tests.torture.verdict import Evidence, JobSpec


def _owner(token: str) -> Owner:
    return Owner(vm_id="v", boot_id="b", instance="1", process="p", token=token)


OPEN = Record(epoch=1, owner=_owner("first")).saved("1")
AGAIN = OPEN.ended(End.EVICTION).claimed(epoch=2, owner=_owner("second"))
SAVED = AGAIN.saved("2")
DONE = SAVED.done('{"steps":2}')
GOOD = (OPEN, AGAIN, SAVED, DONE)


def _faults(
    tmp_path: Path, *, records: Sequence[Record] = GOOD, effects: Sequence[tuple[int, str, int]] = ()
) -> list[str]:
    file = tmp_path / "effects.jsonl"
    file.write_text(
        "".join(
            json.dumps({"job": "j", "attempt": attempt, "event": event, "value": value}) + "\n"
            for attempt, event, value in effects
        ),
        encoding="utf-8",
    )
    with sqlite_place(tmp_path) as place:
        return _evidence(place, records, file).faults()


def _evidence(place: SqlitePlace, records: Sequence[Record], effects: Path) -> Evidence:
    history = [PastRecord(message_id="j", version=str(number), record=record) for number, record in enumerate(records)]
    jobs = {"j": JobSpec(steps=2, step_s=0.0, fails=0)}
    return Evidence(place=place, jobs=jobs, history=history, lines=[], effects=effects)


def test_a_job_that_came_through_has_no_fault(tmp_path: Path) -> None:
    """A record that was claimed, saved, claimed again, saved and done once is as it should be."""
    effects = [(1, "began", 0), (1, "saved", 1), (2, "began", 1), (2, "saved", 2)]
    assert _faults(tmp_path, effects=effects) == []


@pytest.mark.parametrize(
    ("records", "found"),
    [
        ((), "job j is lost: its record says nothing"),
        ((OPEN,), "job j is lost: its record says open"),
        ((*GOOD, DONE), "job j was recorded 2 times"),
        ((*GOOD, SAVED), "job j was written after it was done"),
        ((OPEN, AGAIN, SAVED, SAVED.done("{}")), "job j has the result {}"),
        ((AGAIN, OPEN, DONE), "epoch 1 wrote over epoch 2"),
        ((OPEN, replace(OPEN, owner=_owner("thief")), DONE), "two owners wrote in epoch 1"),
        ((OPEN, AGAIN, SAVED, AGAIN, DONE), "progress 1 over 2"),
        (
            (
                OPEN.released(End.FAILURE, "e"),
                OPEN.ended(End.FAILURE).claimed(epoch=2, owner=_owner("second")).done("1"),
            ),
            "counts 1 failures, and failed at most 0 times",
        ),
    ],
)
def test_a_broken_promise_is_found_in_the_history(tmp_path: Path, records: Sequence[Record], found: str) -> None:
    """Each way in which a store's history can break a promise is found."""
    faults = _faults(tmp_path, records=records)
    assert any(found in fault for fault in faults), faults


def test_progress_that_a_handler_misses_is_found(tmp_path: Path) -> None:
    """A run that begins below what an earlier run was told is saved is found."""
    faults = _faults(tmp_path, effects=[(1, "began", 0), (1, "saved", 2), (2, "began", 1)])
    assert faults == ["job j: run 2 began at 1, and 2 was saved before"]


def test_what_is_left_on_the_queue_is_found(tmp_path: Path) -> None:
    """A message that is still there at the end is found."""
    (tmp_path / "effects.jsonl").touch()
    with sqlite_place(tmp_path) as place:
        place.put("{}")
        assert _evidence(place, GOOD, tmp_path / "effects.jsonl").faults() == ["1 messages are left on the queue"]
