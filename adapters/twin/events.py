"""Scheduled events as Azure plays them: Scheduled, then Started, then gone.

Pure. An event starts when it is due (its NotBefore), or earlier once it is acknowledged and every other pending event
of the set is acknowledged or due too. No "Completed" is ever shown: an event that is over, or was withdrawn, is no
longer in the document.

Facts: https://learn.microsoft.com/azure/virtual-machines/linux/scheduled-events (read 2026-11), and for the rebalance
recommendation https://learn.microsoft.com/azure/virtual-machines/spot-eviction-risk-notifications (read 2026-11).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from email.utils import format_datetime
from enum import StrEnum

from adapters.twin.wire import EventReport, Json, Moment

EVENTS_VERSIONS = ("2024-07-09", "2020-07-01", "2019-08-01", "2019-04-01", "2019-01-01", "2017-11-01", "2017-08-01")
"""What the endpoint speaks, newest first. `latest` and the previews before are no longer served."""
STARTED_S = 30.0
"""How long an event that takes the VM stands as Started; the order or a new boot says otherwise. The twin's choice."""


class EventType(StrEnum):
    """The expected impact, as Azure spells it."""

    PREEMPT = "Preempt"
    FREEZE = "Freeze"
    REBOOT = "Reboot"
    REDEPLOY = "Redeploy"
    TERMINATE = "Terminate"
    REBALANCE = "SpotRebalanceRecommendation"


@dataclass(frozen=True, slots=True, kw_only=True)
class EventKind:
    """What all events of one type have in common.

    Attributes:
        notice_s: the documented minimum notice (for a Preempt the documented maximum), used where an order names none.
        since: the api-version that brought the type; older ones do not show it.
        advisory: it never starts, and acknowledging it has no effect.
    """

    notice_s: float
    source: str
    description: str
    since: str = "2017-08-01"
    advisory: bool = False


KINDS: Mapping[EventType, EventKind] = {
    EventType.PREEMPT: EventKind(notice_s=30, source="Platform", description="", since="2017-11-01"),
    EventType.FREEZE: EventKind(
        notice_s=15 * 60,
        source="Platform",
        description="Virtual machine is being paused because of a memory-preserving Live Migration operation.",
    ),
    EventType.REBOOT: EventKind(
        notice_s=15 * 60,
        source="User",
        description="Virtual machine is going to be restarted as requested by authorized user.",
    ),
    EventType.REDEPLOY: EventKind(
        notice_s=10 * 60,
        source="User",
        description="Virtual machine is going to be redeployed as requested by authorized user.",
    ),
    EventType.TERMINATE: EventKind(
        notice_s=5 * 60,
        source="User",
        description="Virtual machine is going to be deleted as requested by authorized user.",
        since="2019-01-01",
    ),
    EventType.REBALANCE: EventKind(
        notice_s=15 * 60, source="Platform", description="", since="2024-07-09", advisory=True
    ),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class TwinEvent:
    """One event.

    Attributes:
        not_before: the wall time shown while it is scheduled.
        due_at_s: when it starts by itself, on the monotonic clock.
        started_s: how long it stands as Started.
        duration_s: the interruption it announces in whole seconds; -1 for unknown.
        started_at_s: None while it is scheduled.
    """

    event_id: str
    event_type: EventType
    resources: tuple[str, ...]
    not_before: datetime
    due_at_s: float
    started_s: float
    duration_s: int = -1
    acknowledged: bool = False
    started_at_s: float | None = None

    @property
    def kind(self) -> EventKind:
        return KINDS[self.event_type]

    @property
    def pending(self) -> bool:
        """Whether it has yet to start; an advisory event never does."""
        return self.started_at_s is None and not self.kind.advisory

    @property
    def status(self) -> str:
        return "Scheduled" if self.started_at_s is None else "Started"

    def names(self, vm_name: str) -> bool:
        return vm_name.lower() in {resource.lower() for resource in self.resources}

    def over(self, at_s: float) -> bool:
        """Whether it is no longer shown: it has run its course, or was advice whose time has passed."""
        if self.kind.advisory:
            return at_s >= self.due_at_s + self.started_s
        return self.started_at_s is not None and at_s >= self.started_at_s + self.started_s

    def report(self) -> EventReport:
        return {
            "event_id": self.event_id,
            "event_type": self.event_type.value,
            "resources": list(self.resources),
            "status": self.status,
            "not_before": self.not_before.isoformat() if self.started_at_s is None else None,
            "acknowledged": self.acknowledged,
        }


def new_event(
    event_id: str,
    event_type: EventType,
    resources: tuple[str, ...],
    moment: Moment,
    *,
    notice_s: float,
    started_s: float,
    duration_s: int = -1,
) -> TwinEvent:
    """An event announced now. NotBefore has whole seconds and is rounded down: nothing starts before it."""
    return TwinEvent(
        event_id=event_id,
        event_type=event_type,
        resources=resources,
        not_before=(moment.wall + timedelta(seconds=notice_s)).replace(microsecond=0),
        due_at_s=moment.at_s + notice_s,
        started_s=started_s,
        duration_s=duration_s,
    )


def advanced(events: Sequence[TwinEvent], at_s: float) -> tuple[TwinEvent, ...]:
    """The events as they stand at this time."""
    pending = [event for event in events if event.pending]
    all_ready = all(event.acknowledged or event.due_at_s <= at_s for event in pending)
    moved: list[TwinEvent] = []
    for event in events:
        if event.pending and event.due_at_s <= at_s:
            moved.append(replace(event, started_at_s=event.due_at_s))
        elif event.pending and event.acknowledged and all_ready:
            moved.append(replace(event, started_at_s=at_s))
        else:
            moved.append(event)
    return tuple(event for event in moved if not event.over(at_s))


def document(events: Sequence[TwinEvent], incarnation: int, version: str) -> Json:
    """The Scheduled Events document under this api-version."""
    return {
        "DocumentIncarnation": incarnation,
        "Events": [_shown(event, version) for event in events if event.kind.since <= version],
    }


def _shown(event: TwinEvent, version: str) -> Json:
    """One event with the fields that this version has."""
    fields: dict[str, Json] = {
        "EventId": event.event_id,
        "EventStatus": event.status,
        "EventType": event.event_type.value,
        "ResourceType": "VirtualMachine",
        "Resources": list(event.resources),
        "NotBefore": format_datetime(event.not_before, usegmt=True) if event.started_at_s is None else "",
    }
    if version >= "2019-04-01":
        fields["Description"] = event.kind.description
    if version >= "2019-08-01":
        fields["EventSource"] = event.kind.source
    if version >= "2020-07-01":
        fields["DurationInSeconds"] = event.duration_s
    return fields
