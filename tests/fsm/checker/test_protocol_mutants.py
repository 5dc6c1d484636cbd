"""The delivery protocol with one thing wrong: made by a machine, and noticed."""

from __future__ import annotations

from dataclasses import replace

import pytest

from fsm.checker import protocol_mutants
from fsm.checker.alterations import Alteration, alterations
from fsm.checker.protocol import QUICK
from fsm.checker.protocol_mutants import check_protocol_mutants, watched
from fsm.checker.protocol_table import Question, row_of, rows_of
from fsm.checker.stepper import honest
from fsm.delivery import Delivery, Phase, Received, Step
from fsm.job import JOB, JobState
from tests.fsm.delivery_steps import OWNER

SMALL = tuple(replace(scenario, faults=min(scenario.faults, 1)) for scenario in QUICK)
"""Every kind of world, with one fault."""
EVERY = 12
"""One mutant in so many is looked at here; all of them by `spotfsm verify --deep`."""


def test_the_rows_of_the_protocol_are_found_by_watching_it() -> None:
    """Every phase and every state of a job that is not over is in some row, and every row answers some question."""
    rows = rows_of(watched(SMALL))
    assert {row.phase for row in rows} == set(Phase) - {Phase.ENDED}
    assert {row.state for row in rows} == set(JobState) - {JobState.ABANDONED}
    assert {row_id for row in rows for row_id in row.rows} <= {row.id for row in JOB.rows}
    assert len(rows) > 100


def test_every_row_is_altered_in_every_way() -> None:
    """Each row is removed and led to each other phase; each call is dropped; each kind of event is misread."""
    rows = rows_of(watched(SMALL))
    made = list(alterations(rows))
    whats: dict[str, set[str]] = {}
    for alteration in made:
        whats.setdefault(alteration.place, set()).add(alteration.what)
    for row in rows:
        elsewhere = {f"leads to {phase}" for phase in Phase if phase not in (Phase.NEW, row.then)}
        assert {"is removed", *elsewhere} <= whats[str(row)]
        assert ("makes no call" in whats[str(row)]) is bool(row.call)
        assert ("takes no row" in whats[str(row)]) is bool(row.rows)
    for place in {f"{row.phase}, {row.event}" for row in rows}:
        assert {"the worker drains", "no worker drains", "the first delivery", "a later delivery"} <= whats[place]
    assert len({alteration.name for alteration in made}) == len(made)


def test_an_alteration_is_wrong_in_its_place_and_right_in_every_other() -> None:
    """One thing wrong is one thing: all other steps are the protocol's own."""
    questions = [question for one in watched(SMALL) for question in one.asked]
    wrong = next(one for one in alterations(rows_of(watched(SMALL))) if one.what == "is removed")
    differing = [question for question in questions if wrong(*question) != honest(*question)]
    assert differing
    assert {str(row_of(question, honest(*question))) for question in differing} == {wrong.place}


def test_mutants_of_the_protocol_are_noticed_or_are_the_same_protocol() -> None:
    """Of all the wrong protocols that one fault can show, a sample: none of them passes for right."""
    check = check_protocol_mutants(SMALL, every=EVERY)
    assert check.findings == ()
    assert check.counts["mutants"] > 200
    assert check.counts["killed"] > 100
    assert check.counts["killed"] + check.counts["the same protocol"] == check.counts["mutants"]
    assert all("every question that is ever asked there is answered as before" in note for note in check.notes)


def test_a_mutant_that_nothing_notices_is_a_finding(monkeypatch: pytest.MonkeyPatch) -> None:
    """The verdict is not a foregone one."""

    def harmless(delivery: Question) -> Step:
        step = honest(*delivery)
        return replace(step, delivery=replace(step.delivery, delete_confirmed=True))

    wrong = Alteration(place="new", what="knows the future", phase=Phase.NEW, event="Received", answer=harmless)
    monkeypatch.setattr(protocol_mutants, "alterations", lambda _: iter([wrong]))
    monkeypatch.setattr(protocol_mutants, "noticed", lambda *_: None)
    check = check_protocol_mutants(SMALL[:1])
    assert [finding.what for finding in check.findings] == ["not noticed: new: knows the future"]
    received = Question(Delivery(epoch=1, owner=OWNER, stored=True), Received(), False)
    assert wrong(*received) != honest(*received)


def test_the_shards_together_look_at_every_mutant_once() -> None:
    """Parts that are looked at side by side are the whole."""
    few = SMALL[3:4]
    whole = check_protocol_mutants(few, every=8)
    parts = [check_protocol_mutants(few, shard=shard, shards=3, every=8) for shard in range(3)]
    assert sum(part.counts["rows"] for part in parts) == whole.counts["rows"]
    assert abs(sum(part.counts["mutants"] for part in parts) - whole.counts["mutants"]) < len(parts)  # each rounds up
