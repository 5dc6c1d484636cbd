"""IMDS documents as bytes in, values out: what is accepted, and what is refused.

Pure. Lenient where the platform varies: unknown event types, fields that an older or newer version lacks or adds, names
in any case, a `NotBefore` in either of the two formats in the wild. Strict wherever silence would be read as "no
event": whatever is torn, doubled or lacks an id, a type or its resources raises, so that a broken document never looks
like an empty one.

The shapes are those of https://learn.microsoft.com/azure/virtual-machines/linux/scheduled-events and
https://learn.microsoft.com/azure/virtual-machines/instance-metadata-service (read 2026-11).
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from fsm.errors import BadReplyError
from fsm.notices import EventsDocument, ScheduledEvent, Severity

DOCUMENT_BYTES_MAX = 1024 * 1024
"""Far above any real document (a few hundred bytes an event); more than this is not IMDS."""
_TIME_LENGTH_MAX = 64
"""A longer `NotBefore` is no time."""
NAME_LENGTH_MAX = 1000
"""A longer id, type or name is not IMDS either, and shall not fill journals and metrics: real ones have tens."""

Json = Mapping[str, "Json"] | Sequence["Json"] | str | int | float | bool | None
"""Any JSON value; the keys of objects are lower-cased."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ComputeMetadata:
    """What `/metadata/instance/compute` says of this VM; texts as IMDS writes them."""

    vm_id: str
    name: str
    priority: str
    eviction_policy: str


def parse_events(body: bytes) -> EventsDocument:
    """A Scheduled Events document.

    Raises:
        BadReplyError: it is no JSON object, is over `DOCUMENT_BYTES_MAX`, has no incarnation or no list of events, or
            holds an event without an id, a type or, unless it is advice, a list of resources.
    """
    document = _object(body, "a scheduled events document")
    events = document.get("events")
    if not isinstance(events, list):
        raise BadReplyError("IMDS sent a scheduled events document without a list of Events")
    return EventsDocument(
        incarnation=_incarnation(document.get("documentincarnation")),
        events=tuple(_event(event) for event in events),
    )


def parse_compute(body: bytes) -> ComputeMetadata:
    """The compute part of instance metadata.

    Raises:
        BadReplyError: it is no JSON object, is over `DOCUMENT_BYTES_MAX`, or does not name the VM.
    """
    compute = _object(body, "instance metadata")
    vm_id, name = _text(compute.get("vmid")), _text(compute.get("name"))
    if not vm_id or not name:
        raise BadReplyError("IMDS sent instance metadata without a vmId or a name")
    if max(len(vm_id), len(name)) > NAME_LENGTH_MAX:
        raise BadReplyError(f"IMDS sent instance metadata with a vmId or a name of over {NAME_LENGTH_MAX} characters")
    return ComputeMetadata(
        vm_id=vm_id,
        name=name,
        priority=_text(compute.get("priority")),
        eviction_policy=_text(compute.get("evictionpolicy")),
    )


def _object(body: bytes, what: str) -> Mapping[str, Json]:
    """The JSON object in the body, its keys lower-cased."""
    if len(body) > DOCUMENT_BYTES_MAX:
        raise BadReplyError(f"IMDS sent {what} of more than {DOCUMENT_BYTES_MAX} bytes")
    try:
        value: Json = json.loads(body, object_pairs_hook=_without_duplicates, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as exc:  # torn, no Unicode, doubled keys, numbers too long, nested too deep
        raise BadReplyError(f"IMDS sent {what} that is not JSON: {exc}") from exc
    if not isinstance(value, dict):
        raise BadReplyError(f"IMDS sent {what} that is no JSON object")
    return value


def _without_duplicates(pairs: list[tuple[str, Json]]) -> dict[str, Json]:
    """An object's fields by lower-cased name; of two `Events` neither can be trusted."""
    fields = {name.lower(): value for name, value in pairs}
    if len(fields) != len(pairs):
        raise ValueError("a field stands twice")
    return fields


def _refuse_constant(constant: str) -> Json:
    """NaN and Infinity are Python's, not JSON's."""
    raise ValueError(f"{constant} is not JSON")


def _incarnation(value: Json) -> int:
    """The incarnation, which readers compare to tell "nothing changed": it must not be invented."""
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) <= 20:
        return int(value)
    raise BadReplyError("IMDS sent a scheduled events document without a DocumentIncarnation")


def _event(value: Json) -> ScheduledEvent:
    """One event; whatever it cannot do without is demanded."""
    if not isinstance(value, dict):
        raise BadReplyError("IMDS sent a scheduled event that is no JSON object")
    event_id, event_type = _text(value.get("eventid")), _text(value.get("eventtype"))
    if not event_id or not event_type:
        raise BadReplyError("IMDS sent a scheduled event without an EventId or an EventType")
    if max(len(event_id), len(event_type)) > NAME_LENGTH_MAX:
        raise BadReplyError(f"IMDS sent an EventId or an EventType of over {NAME_LENGTH_MAX} characters")
    event = ScheduledEvent(
        event_id=event_id,
        event_type=event_type,
        resources=_resources(value.get("resources")),
        started=_text(value.get("eventstatus")).lower() == "started",
        not_before=_time(value.get("notbefore")),
        duration_s=_duration_s(value.get("durationinseconds")),
        source=_text(value.get("eventsource")),
    )
    if not event.resources and event.severity is not Severity.ADVISORY:  # it would silently be about nobody
        raise BadReplyError(f"IMDS sent the scheduled event {event_id!r:.100} without a list of Resources")
    return event


def _resources(value: Json) -> tuple[str, ...]:
    """The names of the VMs; none where one of them is no name."""
    names = [_text(name) for name in value] if isinstance(value, list) else []
    return tuple(names) if all(names) else ()


def _time(value: Json) -> datetime | None:
    """`NotBefore` in UTC: RFC 1123 as IMDS writes it, ISO 8601 as Microsoft's mock server does; None when unsaid."""
    text = _text(value)
    if not text or len(text) > _TIME_LENGTH_MAX:
        return None
    for read in (datetime.fromisoformat, parsedate_to_datetime):
        try:
            moment = read(text)
            return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
        except (ValueError, TypeError, OverflowError, IndexError):
            continue
    return None


def _duration_s(value: Json) -> float | None:
    """How long the interruption lasts; -1, and whatever is no number, means unknown."""
    if not isinstance(value, int | float) or isinstance(value, bool):
        return None
    try:
        duration_s = float(value)
    except OverflowError:
        return None
    return duration_s if math.isfinite(duration_s) and duration_s >= 0 else None


def _text(value: Json) -> str:
    """A string without its margins, safe to write anywhere; "" for anything else."""
    return value.strip().encode("utf-8", "replace").decode("utf-8") if isinstance(value, str) else ""
