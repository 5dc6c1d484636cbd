"""Scheduled Events as facts: what names this VM, until when, and what has vanished."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fsm.notices import (
    PREEMPT_NOTICE_S,
    RECLAIMING_TYPES,
    STARTED_GRACE_S,
    EventsDocument,
    Notice,
    Notices,
    ScheduledEvent,
    Severity,
)

VM = "vm-spot"
NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
NOW_S = 1_000.0
NONE = Notices()


def event(
    event_id: str = "E1",
    *,
    event_type: str = "Preempt",
    resources: tuple[str, ...] = (VM,),
    started: bool = False,
    in_s: float | None = None,
) -> ScheduledEvent:
    not_before = None if in_s is None else NOW + timedelta(seconds=in_s)
    return ScheduledEvent(
        event_id=event_id, event_type=event_type, resources=resources, started=started, not_before=not_before
    )


def seen(before: Notices, *events: ScheduledEvent, after_s: float = 0.0) -> Notices:
    """The notices after a document read `after_s` seconds past the beginning, on both clocks."""
    return before.after(
        EventsDocument(incarnation=1, events=events),
        vm_name=VM,
        now=NOW + timedelta(seconds=after_s),
        now_s=NOW_S + after_s,
    )


# -- what an event asks for --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("event_type", ["Preempt", "Terminate", "Reboot", "Redeploy", "preempt", "TERMINATE"])
def test_the_types_that_end_the_process_reclaim(event_type: str) -> None:
    """Preempt, Terminate, Reboot and Redeploy drain, however their type is written."""
    notices = seen(NONE, event(event_type=event_type))
    assert [notice.severity for notice in notices.reclaiming] == [Severity.RECLAIM]


def test_a_freeze_does_not_reclaim() -> None:
    """A frozen VM goes on afterwards: the notice stands, sets no deadline, and drains nobody."""
    notices = seen(NONE, event(event_type="Freeze", in_s=900))
    assert (notices.reclaiming, notices.deadline_s) == ((), None)
    assert notices.standing["E1"].severity is Severity.FREEZE
    assert notices.standing["E1"].deadline_s is None


@given(event_type=st.text().filter(lambda text: text.lower() not in {*RECLAIMING_TYPES, "freeze"}))
def test_an_unknown_type_is_advice(event_type: str) -> None:
    """The rebalance recommendation, and whatever Azure invents next, never stops a worker."""
    assert event(event_type="SpotRebalanceRecommendation").severity is Severity.ADVISORY
    notices = seen(NONE, event(event_type=event_type))
    assert notices.standing["E1"].severity is Severity.ADVISORY
    assert notices.deadline_s is None


# -- whom it names -----------------------------------------------------------------------------------------------------


@given(name=st.text(st.characters(codec="ascii", categories=["L", "N", "Pd"]), min_size=1), data=st.data())
def test_names_are_compared_without_regard_to_case(name: str, data: st.DataObject) -> None:
    """However Azure writes a VM's name in an event, it is this VM."""
    written = "".join(data.draw(st.sampled_from([letter.lower(), letter.upper()])) for letter in name)
    assert event(resources=("another", written)).names(name)


@given(resources=st.lists(st.text()))
def test_an_event_of_other_vms_is_not_ours(resources: list[str]) -> None:
    """A document is broadcast to a whole set: what does not name this VM leaves no notice."""
    others = tuple(name for name in resources if name.lower() != VM)
    assert seen(NONE, event(resources=others)).standing == {}


def test_a_longer_name_is_another_vm() -> None:
    """Names are compared whole: vm-spot is not vm-spot_1."""
    assert not event(resources=("vm-spot_1", "a-vm-spot")).names(VM)


# -- until when --------------------------------------------------------------------------------------------------------


@given(in_s=st.floats(0, 900))
def test_a_given_time_is_the_deadline(in_s: float) -> None:
    """NotBefore, moved from the wall clock to the monotonic one."""
    assert seen(NONE, event(in_s=in_s)).deadline_s == pytest.approx(NOW_S + in_s, abs=1e-5)


@given(ago_s=st.floats(0, 900))
def test_a_time_that_is_over_is_now(ago_s: float) -> None:
    """A NotBefore in the past leaves no time, and never a negative one."""
    assert seen(NONE, event(in_s=-ago_s)).deadline_s == NOW_S


def test_without_a_time_the_longest_notice_counts_from_the_first_sight() -> None:
    """A Preempt that names no time is given 30 s from when it was first seen, not from each poll."""
    first = seen(NONE, event())
    assert first.deadline_s == NOW_S + PREEMPT_NOTICE_S == NOW_S + 30
    assert seen(first, event(), after_s=12).deadline_s == first.deadline_s


def test_once_started_a_few_seconds_are_left() -> None:
    """A started event has a blank NotBefore; what is left counts from the first sight of that."""
    scheduled = seen(NONE, event(in_s=25))
    started = seen(scheduled, event(started=True), after_s=3)
    assert started.deadline_s == NOW_S + 3 + STARTED_GRACE_S
    assert seen(started, event(started=True), after_s=6).deadline_s == started.deadline_s


def test_an_event_may_be_started_when_it_is_first_seen() -> None:
    """Failing hardware gives no time: the event appears as started, and the worker has the grace."""
    assert seen(NONE, event(event_type="Reboot", started=True)).deadline_s == NOW_S + STARTED_GRACE_S


def test_the_grace_does_not_lengthen_a_shorter_notice() -> None:
    """An event that starts two seconds before its deadline keeps the deadline."""
    scheduled = seen(NONE, event(in_s=10))
    assert seen(scheduled, event(started=True), after_s=8).deadline_s == scheduled.deadline_s


times = st.none() | st.floats(-60, 900)


@given(polls=st.lists(st.tuples(st.booleans(), times), min_size=1, max_size=8))
def test_the_earlier_deadline_holds(polls: list[tuple[bool, float | None]]) -> None:
    """Whatever later documents say of the same event, its deadline never moves back."""
    notices, deadlines = NONE, list[float]()
    for after_s, (started, in_s) in enumerate(polls):
        notices = seen(notices, event(started=started, in_s=in_s), after_s=after_s)
        assert notices.deadline_s is not None
        deadlines.append(notices.deadline_s)
        assert notices.standing["E1"].first_seen_s == NOW_S
    assert deadlines == sorted(deadlines, reverse=True)


@given(in_s=st.dictionaries(st.sampled_from("ABCDE"), st.floats(0, 900), min_size=1))
def test_of_several_notices_the_earliest_deadline_counts(in_s: dict[str, float]) -> None:
    """The drain is over when the first of the events may take the VM."""
    notices = seen(NONE, event("F", event_type="Freeze"), *(event(event_id, in_s=s) for event_id, s in in_s.items()))
    assert notices.deadline_s == min(
        notice.deadline_s for notice in notices.reclaiming if notice.deadline_s is not None
    )
    assert notices.deadline_s == pytest.approx(NOW_S + min(in_s.values()), abs=1e-5)


def test_without_a_reclaiming_notice_there_is_no_deadline() -> None:
    """No notice, no deadline."""
    assert (NONE.deadline_s, NONE.reclaiming) == (None, ())


# -- what vanishes -----------------------------------------------------------------------------------------------------

documents = st.lists(
    st.builds(
        event,
        st.sampled_from("ABC"),
        event_type=st.sampled_from(["Preempt", "Freeze", "Redeploy", "New"]),
        resources=st.sampled_from([(VM,), ("other",), ("other", VM.upper())]),
        started=st.booleans(),
        in_s=times,
    ),
    max_size=4,
    unique_by=lambda found: found.event_id,
)


@given(history=st.lists(documents, min_size=1, max_size=6))
def test_exactly_the_last_documents_events_stand(history: list[list[ScheduledEvent]]) -> None:
    """An event that no longer stands in a document is withdrawn or over, and one that stands is a notice."""
    notices = NONE
    for after_s, events in enumerate(history):
        notices = seen(notices, *events, after_s=after_s)
    assert {event_id: notice.event for event_id, notice in notices.standing.items()} == {
        found.event_id: found for found in history[-1] if found.names(VM)
    }


@given(events=documents)
def test_reading_a_document_twice_changes_nothing(events: list[ScheduledEvent]) -> None:
    """The same reply at the same time leaves the same notices: duplicates are normal."""
    once = seen(NONE, *events)
    assert seen(once, *events) == once


def test_a_withdrawn_event_that_comes_back_is_new() -> None:
    """What vanished left nothing behind: its return counts from its return."""
    first = seen(NONE, event())
    gone = seen(first, after_s=5)
    assert gone.standing == {}
    back = seen(gone, event(), after_s=20)
    assert back.standing["E1"] == Notice(
        event=event(), first_seen_s=NOW_S + 20, deadline_s=NOW_S + 20 + PREEMPT_NOTICE_S
    )


def test_reading_leaves_the_notices_before_as_they_were() -> None:
    """Notices are values: whoever compares before and after sees both."""
    first = seen(NONE, event())
    seen(first, event("E2"), after_s=1)
    assert set(first.standing) == {"E1"}
