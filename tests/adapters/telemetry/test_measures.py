"""Measures are counted from a journal's entries, and agree with everybody else who counts."""

from __future__ import annotations

import pytest

from adapters.telemetry.measures import (
    BACKLOG,
    BACKLOG_AGE_S,
    BLOCKED,
    CALLS_FAILED,
    CATALOGUE,
    DRAIN_S,
    DRAINS,
    ENDED,
    LABELS_MAX,
    LOST,
    MARGIN_S,
    NOTICES,
    OTHER,
    PENDING,
    RECEIVED_S,
    REDONE_S,
    RUNNING,
    STATE,
    Kind,
    Measure,
    Measures,
)
from adapters.telemetry.prometheus import Exposition
from fsm.application import AppState
from fsm.backlog import backlog_of
from fsm.ports import JsonScalar, Peeked, RecordTotals


class Clock:
    """A clock that a test sets."""

    def __init__(self) -> None:
        self.now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def measures(clock: Clock) -> Measures:
    return Measures("1", silent_s=lambda: 0.25, now_s=clock)


def value(measures: Measures, measure: Measure, *labels: str) -> float | None:
    """A sample's value, or None if there is no such sample."""
    found = [one.value for one in measures.samples() if (one.measure, one.labels) == (measure, labels)]
    assert len(found) <= 1
    return found[0] if found else None


def job(trigger: str, before: str, after: str, *, epoch: int = 1, verdict: str = "taken") -> dict[str, JsonScalar]:
    return {
        "machine": "job", "job": "a", "epoch": epoch, "row": "J", "trigger": trigger, "from": before, "to": after,
        "verdict": verdict,
    }  # fmt: skip


def test_deliveries_are_counted_by_their_end_and_each_once(measures: Measures) -> None:
    """A delivery that ended is not running, and whatever comes late to it changes no number."""
    measures.observe("row", job("begin", "Received", "Running"))
    measures.observe("row", job("begin", "Received", "Running", epoch=2))
    assert value(measures, RUNNING) == 2
    measures.observe("row", job("lose_lease", "Running", "Abandoned"))
    measures.observe("row", job("finish", "Abandoned", "Abandoned", verdict="ignored"))
    measures.observe("row", job("lose_lease", "Abandoned", "Abandoned", verdict="ignored"))
    assert (value(measures, RUNNING), value(measures, ENDED, "abandoned"), value(measures, LOST)) == (1, 1, 1)


def test_one_state_holds_at_a_time(measures: Measures) -> None:
    """The state is a number for each, of which one is 1."""
    for state in AppState:
        measures.observe("row", {"machine": "application", "from": "x", "to": state.value, "trigger": "t"})
        assert [other for other in AppState if value(measures, STATE, other.value) == 1] == [state]


def test_a_notice_counts_while_it_stands_and_its_worth_grows_with_each_sign_of_life(
    measures: Measures, clock: Clock
) -> None:
    """What a notice was worth is known to the second, and stays when the notice is gone."""
    measures.observe("notice", {"event_id": "e", "type": "Preempt", "severity": "reclaim", "left_s": 30.0})
    measures.observe("notice", {"event_id": "f", "type": "Freeze", "severity": "freeze", "left_s": None})
    assert (value(measures, NOTICES, "Preempt"), value(measures, NOTICES, "Freeze")) == (1, 1)
    assert value(measures, PENDING) == 1
    clock.now_s += 25
    measures.observe("still_here", {"drained_for_s": 20})
    assert value(measures, RECEIVED_S) == 25
    clock.now_s += 1
    measures.observe("notice_gone", {"event_id": "e", "type": "Preempt"})
    assert (value(measures, PENDING), value(measures, RECEIVED_S)) == (0, 26)


def test_a_blocked_loop_counts_once_however_often_it_is_told(measures: Measures) -> None:
    """The pulse and then the loop tell of a long block, the loop alone of a short one."""
    for fields in ({"for_s": 5, "still": True}, {"for_s": 9}, {"for_s": 2}, {"for_s": 5, "still": True}):
        measures.observe("loop_blocked", fields)
    assert value(measures, BLOCKED) == 3


def test_drains_are_told_apart_by_cause(measures: Measures) -> None:
    """The margin is the last drain's, and a stop does not hide an eviction's."""
    for evicted, margin_s in ((True, 27.5), (False, 24.0)):
        measures.observe("drain", {"evicted": evicted, "drain_s": 2.5, "margin_s": margin_s, "redone_s": 1.5})
    assert (value(measures, DRAINS, "eviction"), value(measures, DRAIN_S, "eviction")) == (1, 2.5)
    assert (value(measures, MARGIN_S, "eviction"), value(measures, MARGIN_S, "stop")) == (27.5, 24.0)
    assert value(measures, REDONE_S) == 3.0


def test_labels_are_bounded(measures: Measures) -> None:
    """However many kinds of errors there are, memory and the scrape are bounded, and none is lost."""
    for number in range(2 * LABELS_MAX):
        measures.observe("call_failed", {"call": f"call {number}", "error": "E", "text": "t"})
    counted = [one.value for one in measures.samples() if one.measure is CALLS_FAILED]
    assert len(counted) == LABELS_MAX + 1
    assert sum(counted) == 2 * LABELS_MAX
    assert value(measures, CALLS_FAILED, OTHER, OTHER) == LABELS_MAX


def test_the_backlog_has_an_age_and_interest_in_it_is_taken_once(measures: Measures, clock: Clock) -> None:
    """Nobody counts for nobody: a count is due after somebody read, and once."""
    assert not measures.take_interest()
    assert value(measures, BACKLOG, "waiting") is None
    assert (measures.take_interest(), measures.take_interest()) == (True, False)
    totals = RecordTotals(running=1, released=2, checkpointed=1, completed=3, poisoned=0)
    measures.count_backlog(backlog_of(length=5, peeked=Peeked(waiting=4, expiring=0), poisoned=1, totals=totals))
    clock.now_s += 7
    found = {key: value(measures, BACKLOG, key) for key in ("waiting", "leased", "checkpointed", "poisoned")}
    assert found == {"waiting": 4, "leased": 1, "checkpointed": 1, "poisoned": 1}
    assert value(measures, BACKLOG_AGE_S) == 7


def test_entries_that_say_nothing_to_measure_are_passed_over(measures: Measures) -> None:
    """A journal has entries of other kinds, and rows of other machines."""
    before = list(measures.samples())
    measures.observe("journal", {"format": 1})
    measures.observe("row", {"machine": "spot_vm", "from": "a", "to": "b", "trigger": "t", "verdict": "taken"})
    assert list(measures.samples()) == before


def test_every_measure_is_exposed_under_the_name_in_the_table(measures: Measures) -> None:
    """What Prometheus gets are the catalogue's names and kinds, with the process's own beside them."""
    measures.observe("worker", {"vm_name": 'a "vm"', "queue": "jobs", "vm_id": "v"})
    text, content_type = Exposition(measures).render("")
    assert content_type.startswith("text/plain")
    lines = text.decode().splitlines()
    types = dict(line.split()[2:4] for line in lines if line.startswith("# TYPE "))
    for measure in CATALOGUE:
        if measure.exposed in types:
            assert types[measure.exposed] == measure.kind.value
            assert measure.name.startswith("spotfsm_")
            assert (measure.kind is Kind.COUNTER) == measure.exposed.endswith("_total")
    served = {measure for measure in CATALOGUE if measure.exposed in types}
    assert served >= {one for one in CATALOGUE if one.kind is Kind.COUNTER and not one.labels}
    assert 'spotfsm_worker{queue="jobs",vm="a \\"vm\\"",worker="1"} 1.0' in lines
    assert "process_resident_memory_bytes" in types
    openmetrics, content_type = Exposition(measures).render("application/openmetrics-text; version=1.0.0")
    assert content_type.startswith("application/openmetrics-text")
    assert openmetrics.endswith(b"# EOF\n")
