"""The parsers of what comes from outside, over three hundred thousand spoiled inputs.

A parser gives a sound value or refuses in one way; whatever it gives can be worked with, written down and shown.
"""

from __future__ import annotations

import base64
import json
import math
import os
import random
import secrets
from datetime import UTC, datetime

import pytest

from adapters.imds.parse import NAME_LENGTH_MAX, parse_compute, parse_events
from fsm.errors import BadReplyError, MessageRejectedError
from fsm.journal import parse_line
from fsm.messages import MESSAGE_BYTES_MAX, Encoding, decode_body, poison_body
from fsm.notices import Notices, ScheduledEvent, Severity
from fsm.record import Counts, End, Owner, Record, decode_record, encode_record
from tests.hostile.fuzz import spoiled

SEED_VARIABLE = "FUZZ_SEED"
NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
PREEMPT = {
    "EventId": "C7061BAC-AFDC-4513-B24B-AA5F13A16123",
    "EventType": "Preempt",
    "ResourceType": "VirtualMachine",
    "Resources": ["vm-spot"],
    "EventStatus": "Scheduled",
    "NotBefore": "Mon, 23 Nov 2026 12:00:30 GMT",
    "Description": "",
    "EventSource": "Platform",
    "DurationInSeconds": -1,
}
FREEZE = {**PREEMPT, "EventType": "Freeze", "NotBefore": "2026-11-23T12:15:00Z", "DurationInSeconds": 9}
OWNER = Owner(vm_id="v", boot_id="b", instance="1", process="p", token="t")
RECORD = Record(epoch=3, owner=OWNER, counts=Counts(failures=1, evictions=2), counted_epoch=2)


def dumped(*values: object) -> list[bytes]:
    return [json.dumps(value).encode() for value in values]


EVENTS = dumped(
    {"DocumentIncarnation": 1, "Events": []},
    {"DocumentIncarnation": 2, "Events": [PREEMPT]},
    {"DocumentIncarnation": "3", "Events": [FREEZE, {**PREEMPT, "EventStatus": "Started", "NotBefore": ""}]},
)
COMPUTE = dumped(
    {"vmId": "7f6bd0c7-3f6e-4d0e-9a39-3d1f5c1b2a10", "name": "vm-spot", "priority": "Spot", "evictionPolicy": "Delete"}
)
BODIES = [
    b'{"book": "Emma", "pages": 20}',
    "Ünïcödé \U0001f680".encode(),
    base64.b64encode(b'{"book": "Emma", "pages": 20}'),
    base64.b64encode("Ünïcödé \U0001f680".encode()),
    b"<QueueMessage><MessageText>x</MessageText></QueueMessage>",
    b"x" * MESSAGE_BYTES_MAX,
]
RECORDS = [
    encode_record(record).encode()
    for record in (
        RECORD,
        RECORD.saved('{"page":7}'),
        RECORD.saved("[[1,2],3]").released(End.FAILURE, "why"),
        RECORD.done('{"pages":20}'),
        RECORD.poisoned("kills its worker"),
    )
]
LINES = dumped(
    {"n": 1, "at": NOW.isoformat(), "source": "7-a", "kind": "journal", "format": 1},
    {
        "n": 2,
        "at": NOW.isoformat(),
        "source": "7-a",
        "kind": "row",
        "machine": "job",
        "row": "J7",
        "job": "m",
        "epoch": 2,
    },
)


@pytest.fixture
def draw() -> random.Random:
    """Randomness from a seed, which is shown where the test fails; FUZZ_SEED repeats it."""
    seed = int(os.environ.get(SEED_VARIABLE) or secrets.randbelow(1_000_000))
    print(f"replay with {SEED_VARIABLE}={seed}")  # noqa: T201 -- pytest shows it
    return random.Random(seed)


def test_scheduled_events(draw: random.Random) -> None:
    """Any bytes are a document of sound events that the notices and the journal can take in, or a bad reply."""
    notices = Notices()
    read = 0
    for body in spoiled(EVENTS, draw, 120_000):
        try:
            document = parse_events(body)
        except BadReplyError:
            continue
        read += 1
        for event in document.events:
            expect_sound(event)
        notices = notices.after(document, vm_name="vm-spot", now=NOW, now_s=1000.0)
        for notice in notices.standing.values():
            assert notice.deadline_s is None or notice.deadline_s >= 1000.0
    assert read > 6000  # what is spoiled is not all nonsense


def expect_sound(event: ScheduledEvent) -> None:
    """Nothing in it can hurt whoever goes on with it."""
    assert event.event_id
    assert event.event_type
    assert event.resources or event.severity is Severity.ADVISORY  # for nobody that we know, which is no harm
    assert len(event.event_id) <= NAME_LENGTH_MAX
    assert len(event.event_type) <= NAME_LENGTH_MAX
    assert all(event.resources)
    assert event.not_before is None or event.not_before.tzinfo is UTC
    assert event.duration_s is None or (math.isfinite(event.duration_s) and event.duration_s >= 0)
    json.dumps([event.event_id, event.event_type, *event.resources, event.source], ensure_ascii=False).encode()


def test_instance_metadata(draw: random.Random) -> None:
    """Any bytes name a VM that can be written anywhere, or are a bad reply."""
    read = 0
    for body in spoiled(COMPUTE, draw, 40_000):
        try:
            compute = parse_compute(body)
        except BadReplyError:
            continue
        read += 1
        assert compute.vm_id
        assert compute.name
        "".join((compute.vm_id, compute.name, compute.priority, compute.eviction_policy)).encode()
    assert read > 2000


def test_message_bodies(draw: random.Random) -> None:
    """Any body is given to the handler as Unicode, or rejected; and fits into a poison message that can be put."""
    given = 0
    for body in spoiled(BODIES, draw, 20_000):
        text = body.decode(errors="surrogateescape")
        for encoding in Encoding:
            try:
                decode_body(text, encoding).encode()
                given += 1
            except MessageRejectedError as exc:
                poison = poison_body(queue="jobs", message_id="m", body=text, error=str(exc), deliveries=1)
                assert len(poison.encode()) <= MESSAGE_BYTES_MAX
    assert given > 4000


def test_records(draw: random.Random) -> None:
    """Any bytes are a record, which is read again as it was written, or a bad reply."""
    read = 0
    for body in spoiled(RECORDS, draw, 80_000):
        try:
            record = decode_record(body)
        except BadReplyError:
            continue
        read += 1
        assert decode_record(encode_record(record)) == record
    assert read > 1500


def test_journal_lines(draw: random.Random) -> None:
    """Any text is a line of a journal, or none."""
    lines = [parse_line(body.decode(errors="replace")) for body in spoiled(LINES, draw, 40_000)]
    assert sum(line is not None for line in lines) > 1000
    assert all(line is None or str(line) for line in lines)


@pytest.mark.parametrize("levels", [100, 900, 990, 1000, 5000, 200_000])
@pytest.mark.parametrize("opening", ["[", '{"a":'])
def test_records_of_any_depth(levels: int, opening: str) -> None:
    """A record whose progress is nested deeper than Python goes is a bad reply, and no crash."""
    closing = "]" if opening == "[" else "}"
    body = encode_record(RECORD.saved(opening * levels + "1" + closing * levels))
    try:
        assert decode_record(body).progress
    except BadReplyError:
        assert levels >= 900
