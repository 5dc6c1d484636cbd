"""What IMDS may send, and what of it is believed."""

from __future__ import annotations

import json
import string
from datetime import UTC, datetime, timedelta, timezone
from email.utils import format_datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adapters.imds.parse import DOCUMENT_BYTES_MAX, NAME_LENGTH_MAX, Json, parse_compute, parse_events
from fsm.errors import BadReplyError
from fsm.notices import Severity

PREEMPT: dict[str, Json] = {
    "EventId": "C7061BAC-AFDC-4513-B24B-AA5F13A16123",
    "EventStatus": "Scheduled",
    "EventType": "Preempt",
    "ResourceType": "VirtualMachine",
    "Resources": ["vm-spot"],
    "NotBefore": "Sat, 11 Apr 2026 22:26:58 GMT",
    "Description": "",
    "EventSource": "Platform",
    "DurationInSeconds": -1,
}
"""As published for an evicted Spot VM."""


def document(*events: Json, **fields: Json) -> bytes:
    return json.dumps({"DocumentIncarnation": 2, "Events": list(events), **fields}).encode()


def without(field: str) -> dict[str, Json]:
    return {name: value for name, value in PREEMPT.items() if name != field}


def test_a_published_preempt_is_read_whole() -> None:
    """Every field of the documented sample arrives, typed."""
    (event,) = parse_events(document(PREEMPT)).events
    assert event.event_id == "C7061BAC-AFDC-4513-B24B-AA5F13A16123"
    assert event.severity is Severity.RECLAIM
    assert event.names("VM-Spot")
    assert not event.started
    assert event.not_before == datetime(2026, 4, 11, 22, 26, 58, tzinfo=UTC)
    assert event.duration_s is None
    assert event.source == "Platform"


def test_an_empty_document_is_no_event() -> None:
    """A well-formed document without events is the one thing that means "no event"."""
    parsed = parse_events(document())
    assert parsed.events == ()
    assert parsed.incarnation == 2


@pytest.mark.parametrize("field", ["EventStatus", "NotBefore", "Description", "EventSource", "DurationInSeconds"])
def test_a_field_that_older_versions_lack_may_be_missing(field: str) -> None:
    """An event of an older api-version is an event all the same."""
    (event,) = parse_events(document(without(field))).events
    assert event.names("vm-spot")


@pytest.mark.parametrize("field", ["EventId", "EventType", "Resources"])
@pytest.mark.parametrize("value", [None, "", "  ", 7, [], {}, [""], [None], [["vm-spot"]]])
def test_an_event_that_cannot_be_placed_is_refused(field: str, value: Json) -> None:
    """Without an id, a type or the VMs it is about, an event would be overlooked: the document is refused instead."""
    for broken in ({**PREEMPT, field: value}, without(field)):
        with pytest.raises(BadReplyError):
            parse_events(document(broken))


@pytest.mark.parametrize("resources", [None, "", [], {}, [None], "vm-spot"])
def test_advice_of_a_type_to_come_hides_no_notice(resources: Json) -> None:
    """Whatever it has for Resources, the notice beside it is read, and the advice is about nobody."""
    advice = {**PREEMPT, "EventId": "E-2", "EventType": "CapacityOutlook", "Resources": resources}
    found = parse_events(document(advice, PREEMPT)).events
    assert [event.names("vm-spot") for event in found] == [False, True]


@pytest.mark.parametrize("field", ["EventId", "EventType"])
def test_an_id_or_a_type_of_ages_is_refused(field: str) -> None:
    """At the limit it is read; one more would fill journals and metrics."""
    assert parse_events(document({**PREEMPT, field: "x" * NAME_LENGTH_MAX})).events
    with pytest.raises(BadReplyError, match="over 1000 characters"):
        parse_events(document({**PREEMPT, field: "x" * (NAME_LENGTH_MAX + 1)}))


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"null",
        b"[]",
        b'"text"',
        b"{}",
        b'{"DocumentIncarnation": 1}',
        b'{"DocumentIncarnation": 1, "Events": null}',
        b'{"DocumentIncarnation": 1, "Events": {}}',
        b'{"DocumentIncarnation": 1, "Events": [null]}',
        b'{"Events": []}',
        b'{"DocumentIncarnation": true, "Events": []}',
        b'{"DocumentIncarnation": "one", "Events": []}',
        b'{"DocumentIncarnation": NaN, "Events": []}',
        b'{"DocumentIncarnation": 1, "Events": [{"EventId": "a"}], "Events": []}',
        b'{"DocumentIncarnation": 1, "Events": [{"EventId": "a"}], "events": []}',
        b'{"DocumentIncarnation": ' + b"9" * 5000 + b', "Events": []}',
        b'\xff\xfe{"DocumentIncarnation": 1, "Events": []}',
        b"<html>Service Unavailable</html>",
    ],
)
def test_what_is_not_a_document_is_never_an_empty_one(body: bytes) -> None:
    """Torn, foreign or contradictory bodies are errors, so that they cannot withdraw a standing notice."""
    with pytest.raises(BadReplyError):
        parse_events(body)


@pytest.mark.parametrize("depth", [1_000, 100_000])
@pytest.mark.parametrize("opening", [b"[", b'{"a":'])
def test_deep_json_is_refused(depth: int, opening: bytes) -> None:
    """A body nested beyond reason is an error of the platform, not a crash of ours."""
    with pytest.raises(BadReplyError):
        parse_events(b'{"DocumentIncarnation": 1, "Extra": ' + opening * depth)


def test_a_document_over_a_megabyte_is_refused() -> None:
    """At the limit a document is read; one byte more is not IMDS."""
    assert parse_events(document().ljust(DOCUMENT_BYTES_MAX)).events == ()
    with pytest.raises(BadReplyError):
        parse_events(document().ljust(DOCUMENT_BYTES_MAX + 1))


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("Mon, 19 Sep 2016 18:29:47 GMT", datetime(2016, 9, 19, 18, 29, 47, tzinfo=UTC)),
        ("2026-04-11T22:26:58Z", datetime(2026, 4, 11, 22, 26, 58, tzinfo=UTC)),
        ("2026-04-11T22:26:58.1234567Z", datetime(2026, 4, 11, 22, 26, 58, 123456, tzinfo=UTC)),
        ("2026-04-12T00:26:58+02:00", datetime(2026, 4, 11, 22, 26, 58, tzinfo=UTC)),
        ("2026-04-11T22:26:58", datetime(2026, 4, 11, 22, 26, 58, tzinfo=UTC)),
        (" ", None),
        ("", None),
        (None, None),
        (0, None),
        ("soon", None),
        ("0001-01-01T00:00:00+14:00", None),
        ("1" * 1000, None),
    ],
)
def test_not_before_is_read_in_both_formats_or_not_at_all(text: Json, moment: datetime | None) -> None:
    """RFC 1123 and ISO 8601 become UTC; a blank, and what is no time, become "not said"."""
    (event,) = parse_events(document({**PREEMPT, "NotBefore": text})).events
    assert event.not_before == moment


@given(
    moment=st.datetimes(min_value=datetime(1970, 1, 2), max_value=datetime(2100, 1, 1)),  # noqa: DTZ001 -- zones below
    offset_min=st.integers(-14 * 60, 14 * 60),
)
def test_every_time_survives_both_formats(moment: datetime, offset_min: int) -> None:
    """Whatever the second and the zone, NotBefore is read as the instant that was written."""
    aware = moment.replace(microsecond=0, tzinfo=timezone(timedelta(minutes=offset_min)))
    for text in (format_datetime(aware), format_datetime(aware.astimezone(UTC), usegmt=True), aware.isoformat()):
        (event,) = parse_events(document({**PREEMPT, "NotBefore": text})).events
        assert event.not_before == aware
        assert event.not_before is not None
        assert event.not_before.tzinfo is UTC


@pytest.mark.parametrize(
    ("raw", "duration_s"),
    [("-1", None), ("0", 0.0), ("9", 9.0), ("1e999", None), ("9" * 400, None), ('"9"', None), ("true", None)],
)
def test_a_duration_is_a_length_or_unknown(raw: str, duration_s: float | None) -> None:
    """0 means no impact; -1, and whatever is no length of time, mean unknown."""
    body = document({**PREEMPT, "DurationInSeconds": "X"}).replace(b'"X"', raw.encode())
    (event,) = parse_events(body).events
    assert event.duration_s == duration_s


def test_unknown_types_and_extra_fields_are_kept_and_skipped() -> None:
    """A type this version does not know is advice, and fields it does not know are no fault."""
    (event,) = parse_events(document({**PREEMPT, "EventType": "Hibernate", "Region": {"a": [1]}}, Extra=[None])).events
    assert event.event_type == "Hibernate"
    assert event.severity is Severity.ADVISORY


@pytest.mark.parametrize(
    ("status", "started"), [("Started", True), ("started", True), ("Scheduled", False), (3, False)]
)
def test_only_started_is_started(status: Json, started: bool) -> None:
    """The status decides how much time is left; no other status means that the event is under way."""
    (event,) = parse_events(document({**PREEMPT, "EventStatus": status})).events
    assert event.started is started


def test_half_a_character_cannot_hurt_later() -> None:
    """A lone surrogate in an id is replaced, so that the journal can be written whatever IMDS sends."""
    (event,) = parse_events(document({**PREEMPT, "EventId": "\ud800x"})).events
    assert event.event_id.encode()


# -- ten thousand broken documents -----------------------------------------------------------------------------------

TEXTS = st.text(string.printable, max_size=12)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | TEXTS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXTS, inner, max_size=4),
    max_leaves=12,
)
NAMES = st.text(string.ascii_letters, min_size=1, max_size=8)
EVENTS = st.fixed_dictionaries(
    {
        "EventId": st.uuids().map(str),
        "EventType": st.sampled_from(["Preempt", "Freeze", "Reboot", "Novelty"]),
        "Resources": st.lists(NAMES, min_size=1, max_size=3),
        "EventStatus": st.sampled_from(["Scheduled", "Started"]),
        "NotBefore": st.sampled_from(["", "Sat, 11 Apr 2026 22:26:58 GMT"]),
    }
)
DOCUMENTS = st.lists(EVENTS, min_size=1, max_size=3).map(
    lambda events: json.dumps({"DocumentIncarnation": 3, "Events": events}, separators=(",", ":")).encode()
)
"""Sound documents with at least one event."""


@settings(max_examples=100, deadline=None)
@given(body=DOCUMENTS)
def test_no_document_cut_short_is_believed(body: bytes) -> None:
    """Every one of its beginnings, the empty one included, is refused."""
    assert parse_events(body).events
    for length in range(len(body)):
        with pytest.raises(BadReplyError):
            parse_events(body[:length])


@settings(max_examples=400, deadline=None)
@given(body=DOCUMENTS, data=st.data())
def test_no_damage_empties_a_document(body: bytes, data: st.DataObject) -> None:
    """However up to three bytes are overwritten, every event is still there, or it is refused."""
    whole = len(parse_events(body).events)
    damages = data.draw(
        st.lists(
            st.lists(st.tuples(st.integers(0, len(body) - 1), st.integers(0, 255)), min_size=1, max_size=3),
            min_size=30,
            max_size=30,
        )
    )
    for damage in damages:
        damaged = bytearray(body)
        for place, byte in damage:
            damaged[place] = byte
        try:
            parsed = parse_events(bytes(damaged))
        except BadReplyError:
            continue
        assert len(parsed.events) == whole


@settings(max_examples=500, deadline=None)
@given(
    value=st.fixed_dictionaries(
        {},
        optional={
            "DocumentIncarnation": JSON | st.integers(),
            "Events": JSON | st.lists(EVENTS | st.dictionaries(st.sampled_from([*PREEMPT]), JSON)),
        },
    )
    | JSON
)
def test_any_json_is_a_document_or_refused(value: object) -> None:
    """No JSON value raises anything but BadReplyError, and only an empty list of events reads as none."""
    try:
        parsed = parse_events(json.dumps(value).encode())
    except BadReplyError:
        return
    assert isinstance(value, dict)
    events = next(field for name, field in value.items() if name.lower() == "events")
    assert len(parsed.events) == len(events)


@settings(max_examples=500, deadline=None)
@given(body=st.binary(max_size=64))
def test_any_bytes_are_refused_in_the_same_way(body: bytes) -> None:
    """Noise is a bad reply, of both kinds of document."""
    for parse in (parse_events, parse_compute):
        with pytest.raises(BadReplyError):
            parse(body)


# -- instance metadata -----------------------------------------------------------------------------------------------


def test_compute_names_the_vm() -> None:
    """The four facts the worker needs are read, and the rest is skipped."""
    compute = parse_compute(
        b'{"vmId": "v-1", "name": "vmss_3", "priority": "Spot", "evictionPolicy": "Delete", "tagsList": []}'
    )
    assert (compute.vm_id, compute.name) == ("v-1", "vmss_3")
    assert (compute.priority, compute.eviction_policy) == ("Spot", "Delete")


@pytest.mark.parametrize(
    "body",
    [
        b"{}",
        b'{"vmId": "v-1"}',
        b'{"vmId": "v-1", "name": ""}',
        b'{"vmId": 3, "name": "n"}',
        b'{"vmId": "v-1", "name": "' + b"n" * (NAME_LENGTH_MAX + 1) + b'"}',
    ],
)
def test_a_vm_without_a_name_is_refused(body: bytes) -> None:
    """An empty name would match no notice for ever, and an empty vmId would make every VM the same one."""
    with pytest.raises(BadReplyError):
        parse_compute(body)


def test_priority_and_policy_may_be_missing() -> None:
    """They are newer than instance metadata itself; then they are blank."""
    compute = parse_compute(b'{"vmId": "v-1", "name": "vm-spot"}')
    assert (compute.priority, compute.eviction_policy) == ("", "")
