"""The twin's state: events over time, limits and faults, without a socket."""

from __future__ import annotations

import json
from datetime import timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from adapters.imds.parse import parse_events
from adapters.twin.events import EVENTS_VERSIONS, EventType, TwinEvent, document, new_event
from adapters.twin.faults import Endpoint, Fault, FaultKind, strike
from adapters.twin.limits import RateLimit
from adapters.twin.orders import obey
from adapters.twin.state import LOG_LENGTH_MAX, TwinState
from adapters.twin.wire import Json, Moment
from tests.adapters.twin.clock import START, HandClock

VM = "vm-spot"


def announced(
    state: TwinState, moment: Moment, *, event_id: str = "E-1", order: str = "evict", **fields: Json
) -> TwinState:
    return obey(state, order, {"event_id": event_id, **fields}, moment, "unused")[0]


def shown(state: TwinState, version: str = EVENTS_VERSIONS[0]) -> bytes:
    """The document, as it goes over the wire."""
    return json.dumps(document(state.events, state.incarnation, version)).encode()


# -- the life of an event --------------------------------------------------------------------------------------------


def test_an_event_is_scheduled_then_started_then_gone() -> None:
    """It starts exactly when it is due and disappears exactly when it is over, each with a new incarnation."""
    clock = HandClock()
    state = announced(TwinState(), clock(), notice_s=8, started_s=5)
    statuses = []
    for seconds in (0.0, 7.999, 0.001, 4.999, 0.001):
        state = state.at(clock.advance(seconds))
        statuses.append(([event.status for event in state.events], state.incarnation))
    assert statuses == [(["Scheduled"], 2), (["Scheduled"], 2), (["Started"], 3), (["Started"], 3), ([], 4)]


def test_no_event_starts_before_its_not_before() -> None:
    """NotBefore is shown in whole seconds and rounded down, so that the promise "not before" holds."""
    clock = HandClock()
    (event,) = announced(TwinState(), clock(), notice_s=8).events
    assert event.not_before == START.replace(microsecond=0) + timedelta(seconds=8)
    assert event.not_before <= START + timedelta(seconds=8)


def test_an_acknowledged_event_waits_for_the_others() -> None:
    """With several pending, none starts before all are acknowledged; advice does not count."""
    clock = HandClock()
    state = announced(TwinState(), clock(), event_id="E-1", order="reboot")
    state = announced(state, clock(), event_id="E-2", order="freeze")
    state = announced(state, clock(), event_id="E-3", order="rebalance")
    first = state.acknowledge(["E-1"], clock())
    assert first is not None
    assert {event.status for event in first.events} == {"Scheduled"}
    second = first.acknowledge(["E-2"], clock())
    assert second is not None
    assert {event.event_id: event.status for event in second.events} == {
        "E-1": "Started",
        "E-2": "Started",
        "E-3": "Scheduled",
    }


def test_an_acknowledged_event_starts_when_the_other_one_is_due() -> None:
    """What others hold up goes ahead once they have had their time."""
    clock = HandClock()
    state = announced(TwinState(), clock(), event_id="E-1", notice_s=100)
    state = announced(state, clock(), event_id="E-2", notice_s=10, vm="vm-other")
    acknowledged = state.acknowledge(["e-1"], clock())
    assert acknowledged is not None
    assert {event.status for event in acknowledged.at(clock.advance(9.999)).events} == {"Scheduled"}
    assert {event.status for event in acknowledged.at(clock.advance(0.001)).events} == {"Started"}


def test_start_requests_are_all_or_nothing() -> None:
    """One unknown id refuses the whole request, and nothing starts."""
    clock = HandClock()
    state = announced(TwinState(), clock())
    assert state.acknowledge(["E-1", "E-9"], clock()) is None


def test_advice_never_starts_and_ends_by_itself() -> None:
    """A rebalance recommendation stays Scheduled whatever is acknowledged, until its time has passed."""
    clock = HandClock()
    state = announced(TwinState(), clock(), order="rebalance", notice_s=60, started_s=10)
    acknowledged = state.acknowledge(["E-1"], clock())
    assert acknowledged is not None
    assert acknowledged.at(clock.advance(69.9)).events[0].status == "Scheduled"
    assert acknowledged.at(clock.advance(0.1)).events == ()


def test_a_boot_ends_what_was_announced_to_this_vm() -> None:
    """Once the VM is up again its eviction is over; what concerns others goes on."""
    clock = HandClock()
    state = announced(TwinState(), clock(), event_id="E-1")
    state = announced(state, clock(), event_id="E-2", vm=["vm-other", "VM-Spot"])
    state = announced(state, clock(), event_id="E-3", vm="vm-other")
    booted = state.boot("boot-2")
    assert [event.event_id for event in booted.events] == ["E-3"]
    assert booted.boot_id == "boot-2"
    assert booted.incarnation > state.incarnation


@pytest.mark.parametrize(
    ("version", "absent"),
    [
        ("2019-01-01", {"Description", "EventSource", "DurationInSeconds"}),
        ("2019-04-01", {"EventSource", "DurationInSeconds"}),
        ("2019-08-01", {"DurationInSeconds"}),
        ("2020-07-01", set()),
        ("2024-07-09", set()),
    ],
)
def test_older_versions_lack_newer_fields(version: str, absent: set[str]) -> None:
    """Each version shows the fields it had, and the client reads every one of them."""
    state = announced(TwinState(), HandClock()())
    (event,) = json.loads(shown(state, version))["Events"]
    assert {"Description", "EventSource", "DurationInSeconds"} - event.keys() == absent
    assert parse_events(shown(state, version)).events[0].names(VM)


@pytest.mark.parametrize(("order", "since"), [("evict", "2017-11-01"), ("rebalance", "2024-07-09")])
def test_a_type_is_shown_from_its_version_on(order: str, since: str) -> None:
    """Older versions do not know newer types of event, and leave them out."""
    state = announced(TwinState(), HandClock()(), order=order)
    for version in EVENTS_VERSIONS:
        assert len(parse_events(shown(state, version)).events) == (version >= since)


EVENTS = st.builds(
    new_event,
    event_id=st.uuids().map(str),
    event_type=st.sampled_from(EventType),
    resources=st.just((VM,)),
    moment=st.just(Moment(wall=START, at_s=0.0)),
    notice_s=st.floats(0, 100),
    started_s=st.floats(0, 100),
)


@given(
    events=st.lists(EVENTS, max_size=4, unique_by=lambda event: event.event_id),
    times_s=st.lists(st.floats(0, 300), min_size=1, max_size=6).map(sorted),
)
def test_looking_changes_nothing(events: list[TwinEvent], times_s: list[float]) -> None:
    """However often the document is asked for on the way, at a given time it says the same."""
    asked = asked_once = TwinState(events=tuple(events))
    for at_s in times_s:
        asked = asked.at(Moment(wall=START, at_s=at_s))
    asked_once = asked_once.at(Moment(wall=START, at_s=times_s[-1]))
    assert asked.events == asked_once.events


class TwinLife(RuleBasedStateMachine):
    """Orders, acknowledgements, boots and time in any order."""

    @initialize()
    def begin(self) -> None:
        self.clock = HandClock()
        self.state = TwinState()
        self.seen: dict[int, bytes] = {}
        self.highest = 0
        self.count = 0

    @rule(
        order=st.sampled_from(["evict", "freeze", "reboot", "rebalance"]),
        notice_s=st.floats(0, 60),
        other=st.booleans(),
    )
    def announce(self, order: str, notice_s: float, other: bool) -> None:
        self.count += 1
        vm = "vm-other" if other else VM
        self.state = announced(
            self.state, self.clock(), event_id=f"E-{self.count}", order=order, notice_s=notice_s, vm=vm
        )

    @rule(seconds=st.floats(0, 40))
    def wait(self, seconds: float) -> None:
        self.state = self.state.at(self.clock.advance(seconds))

    @rule(data=st.data())
    def acknowledge(self, data: st.DataObject) -> None:
        if self.state.events:
            event = data.draw(st.sampled_from(self.state.events))
            acknowledged = self.state.acknowledge([event.event_id], self.clock())
            assert acknowledged is not None
            self.state = acknowledged

    @rule(data=st.data())
    def withdraw(self, data: st.DataObject) -> None:
        if self.state.events:
            event = data.draw(st.sampled_from(self.state.events))
            self.state = self.state.withdraw([event.event_id])

    @rule()
    def boot(self) -> None:
        self.count += 1
        self.state = self.state.boot(f"boot-{self.count}")
        assert not any(event.names(VM) for event in self.state.events)

    @invariant()
    def the_same_incarnation_is_the_same_document(self) -> None:
        """An incarnation works as an ETag, and never falls."""
        now_shown = shown(self.state)
        assert self.seen.setdefault(self.state.incarnation, now_shown) == now_shown
        assert self.state.incarnation >= self.highest
        self.highest = self.state.incarnation

    @invariant()
    def nothing_starts_early_without_consent(self) -> None:
        """A started event is due, or was acknowledged."""
        for event in self.state.events:
            if event.status == "Started":
                assert event.acknowledged or event.due_at_s <= self.clock().at_s

    @invariant()
    def the_client_reads_what_is_shown(self) -> None:
        """Every document the twin can show is one the client accepts, event by event."""
        assert len(parse_events(shown(self.state)).events) == len(self.state.events)


TestTwinLife = TwinLife.TestCase
TestTwinLife.settings = settings(max_examples=60, stateful_step_count=25, deadline=None)


# -- limits and faults -----------------------------------------------------------------------------------------------


@given(per_s=st.integers(1, 6), gaps_s=st.lists(st.floats(0, 0.6), max_size=60))
def test_no_second_holds_more_than_the_limit(per_s: int, gaps_s: list[float]) -> None:
    """In any window of a second at most so many requests pass, and a refusal always has that many before it."""
    limit, at_s, passed_s = RateLimit(per_s=per_s), 0.0, list[float]()
    for gap_s in gaps_s:
        at_s += gap_s
        limit, allowed = limit.take(at_s)
        recent = [other_s for other_s in passed_s if at_s - other_s < 1.0]
        assert allowed == (len(recent) < per_s)
        if allowed:
            passed_s.append(at_s)


def test_a_fault_strikes_where_when_and_as_often_as_told() -> None:
    """An endpoint, an end and a count limit a fault; the oldest one that fits strikes."""
    faults: tuple[Fault, ...] = (
        Fault(kind=FaultKind.GONE, endpoint=Endpoint.INSTANCE, remaining=1),
        Fault(kind=FaultKind.TORN, until_s=10.0),
    )
    faults, struck = strike(faults, Endpoint.SCHEDULED_EVENTS, 0.0)
    assert struck is not None
    assert struck.kind is FaultKind.TORN
    faults, struck = strike(faults, Endpoint.INSTANCE, 1.0)
    assert struck is not None
    assert struck.kind is FaultKind.GONE
    faults, struck = strike(faults, Endpoint.INSTANCE, 9.999)
    assert struck is not None
    assert struck.kind is FaultKind.TORN
    assert strike(faults, Endpoint.INSTANCE, 10.0) == ((), None)


def test_only_tokens_are_refused_for_want_of_an_identity() -> None:
    """`refuse_identity` leaves scheduled events and instance metadata alone."""
    faults = (Fault(kind=FaultKind.REFUSE_IDENTITY),)
    assert strike(faults, Endpoint.INSTANCE, 0.0)[1] is None
    assert strike(faults, Endpoint.IDENTITY, 0.0)[1] == faults[0]


def test_the_logs_are_bounded() -> None:
    """However long a twin runs, it remembers the newest requests only, and counts them all."""
    state = TwinState()
    for number in range(LOG_LENGTH_MAX + 3):
        state = state.logged(
            {"at": "", "method": "GET", "path": str(number), "api_version": "", "status": 200, "fault": None}
        )
    assert len(state.requests) == LOG_LENGTH_MAX
    assert state.requests[-1]["path"] == str(LOG_LENGTH_MAX + 2)
    assert state.requests_total == LOG_LENGTH_MAX + 3
