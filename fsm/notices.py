"""Scheduled Events: what a document says about this VM, and what is to be done about it.

Pure: documents and times in, facts out. A reply that could not be had changes nothing; only a document in which an
event no longer stands withdraws it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum

PREEMPT_NOTICE_S = 30.0
"""The longest notice of a Preempt, and the deadline of one that names no time. [`fsm.sources.SPOT_VMS`]"""
STARTED_GRACE_S = 5.0
"""What is left, at best, once an event has started: its NotBefore is blank then. [`fsm.sources.EVICTION_TIMES`]"""


class Severity(StrEnum):
    """What a notice asks of a worker, gentlest first."""

    ADVISORY = "advisory"
    """Checkpoint soon: the rebalance recommendation, and every unknown type. [`fsm.sources.REBALANCE`]"""
    FREEZE = "freeze"
    """The VM pauses and goes on: checkpoint soon, extend leases past the pause."""
    RECLAIM = "reclaim"
    """The VM goes away: drain."""


RECLAIMING_TYPES = frozenset({"preempt", "terminate", "reboot", "redeploy"})
"""Event types that end the process. [`fsm.sources.SCHEDULED_EVENTS`]"""


@dataclass(frozen=True, slots=True, kw_only=True)
class ScheduledEvent:
    """One event of a Scheduled Events document, as the platform sent it.

    Attributes:
        event_type: `Preempt`, `Terminate`, `Reboot`, `Redeploy`, `Freeze`, `SpotRebalanceRecommendation`, or one
        unknown.
        resources: the names of the VMs it is about; a document is broadcast to a whole set.
        started: whether its status is `Started`.
        not_before: when it may start, or None where the platform does not say.
        duration_s: how long a freeze lasts; None where unknown.
    """

    event_id: str
    event_type: str
    resources: tuple[str, ...]
    started: bool
    not_before: datetime | None
    duration_s: float | None = None
    source: str = ""

    @property
    def severity(self) -> Severity:
        """What the event asks for, by its type; an unknown type is advice."""
        kind = self.event_type.lower()
        if kind in RECLAIMING_TYPES:
            return Severity.RECLAIM
        return Severity.FREEZE if kind == "freeze" else Severity.ADVISORY

    def names(self, vm_name: str) -> bool:
        """Whether this VM is among the resources; names are compared without regard to case."""
        return vm_name.lower() in {resource.lower() for resource in self.resources}


@dataclass(frozen=True, slots=True, kw_only=True)
class EventsDocument:
    """A reply of the Scheduled Events endpoint; the incarnation is compared by inequality only."""

    incarnation: int
    events: tuple[ScheduledEvent, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Notice:
    """An event that names this VM, with the deadline it sets.

    Attributes:
        deadline_s: on the monotonic clock; None for a notice that sets none.
        first_seen_s: on the monotonic clock.
    """

    event: ScheduledEvent
    first_seen_s: float
    deadline_s: float | None

    @property
    def severity(self) -> Severity:
        return self.event.severity


@dataclass(frozen=True, slots=True, kw_only=True)
class Notices:
    """The notices that stand, by event id."""

    standing: Mapping[str, Notice] = field(default_factory=dict)

    @property
    def reclaiming(self) -> tuple[Notice, ...]:
        """The notices that end this process."""
        return tuple(notice for notice in self.standing.values() if notice.severity is Severity.RECLAIM)

    @property
    def deadline_s(self) -> float | None:
        """The earliest deadline of a reclaiming notice, on the monotonic clock."""
        return min((notice.deadline_s for notice in self.reclaiming if notice.deadline_s is not None), default=None)

    def after(self, document: EventsDocument, *, vm_name: str, now: datetime, now_s: float) -> Notices:
        """The notices that stand once this document has been read.

        Args:
            document: the reply.
            vm_name: IMDS `compute.name`, never the hostname.
            now: the wall clock, which NotBefore is compared with.
            now_s: the monotonic clock, which deadlines are kept on.
        """
        standing: dict[str, Notice] = {}
        for event in document.events:
            if not event.names(vm_name):
                continue
            seen = self.standing.get(event.event_id)
            first_seen_s = now_s if seen is None else seen.first_seen_s
            deadline_s = _deadline_s(event, first_seen_s=first_seen_s, now=now, now_s=now_s)
            if seen is not None and seen.deadline_s is not None and deadline_s is not None:
                deadline_s = min(deadline_s, seen.deadline_s)
            standing[event.event_id] = Notice(event=event, first_seen_s=first_seen_s, deadline_s=deadline_s)
        return replace(self, standing=standing)


def _deadline_s(event: ScheduledEvent, *, first_seen_s: float, now: datetime, now_s: float) -> float | None:
    """When the event may take effect, on the monotonic clock; None for an event that ends nothing."""
    if event.severity is not Severity.RECLAIM:
        return None
    if event.started:
        return now_s + STARTED_GRACE_S
    if event.not_before is not None:
        return now_s + max(0.0, (event.not_before - now).total_seconds())
    return first_seen_s + PREEMPT_NOTICE_S
