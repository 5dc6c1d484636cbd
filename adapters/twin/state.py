"""The twin's whole state as one frozen value, and what can happen to it.

Pure: every change returns a new state, and time is passed in. The incarnation moves with each change of the events, as
Azure's does: equal incarnations mean equal documents.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field, replace

from adapters.twin.events import EVENTS_VERSIONS, TwinEvent, advanced
from adapters.twin.faults import Endpoint, Fault, strike
from adapters.twin.limits import RateLimit
from adapters.twin.profile import VmProfile
from adapters.twin.wire import AcknowledgementReport, Moment, RequestReport, TwinReport

LOG_LENGTH_MAX = 1000
"""How many requests and how many acknowledgements are remembered."""
IMDS_PER_S = 5
"""https://learn.microsoft.com/azure/virtual-machines/instance-metadata-service#rate-limiting (read 2026-11)"""
IDENTITY_PER_S = 20
IDENTITY_CONCURRENT_MAX = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class TwinState:
    """One VM's IMDS.

    Attributes:
        boot_id: what a VM of this boot would find in /proc/sys/kernel/random/boot_id; IMDS itself never shows it.
        events_version: the newest api-version of scheduled events on offer: older hosts have no preview.
        refusal_status: how a newer one is refused, 400 or 404.
        imds_limit: for everything but tokens.
        identity_limit: for tokens.
    """

    profile: VmProfile = field(default_factory=VmProfile)
    boot_id: str = "00000000-0000-0000-0000-000000000001"
    incarnation: int = 1
    events: tuple[TwinEvent, ...] = ()
    faults: tuple[Fault, ...] = ()
    events_version: str = EVENTS_VERSIONS[0]
    refusal_status: int = 400
    imds_limit: RateLimit = field(default_factory=lambda: RateLimit(per_s=IMDS_PER_S))
    identity_limit: RateLimit = field(default_factory=lambda: RateLimit(per_s=IDENTITY_PER_S))
    requests_total: int = 0
    requests: tuple[RequestReport, ...] = field(default=(), repr=False)
    acknowledgements: tuple[AcknowledgementReport, ...] = field(default=(), repr=False)

    # -- events ----------------------------------------------------------------------------------------------------

    def at(self, moment: Moment) -> TwinState:
        """The state at this time: due events started, and those that are over gone."""
        return self._with_events(advanced(self.events, moment.at_s))

    def announce(self, event: TwinEvent, moment: Moment) -> TwinState:
        """A new event; with no notice left it appears as Started at once."""
        return self._with_events((*self.events, event)).at(moment)

    def acknowledge(self, event_ids: Collection[str], moment: Moment) -> TwinState | None:
        """StartRequests for these events, all or nothing: None if one of them is unknown. Idempotent."""
        wanted = {event_id.lower() for event_id in event_ids}
        if not wanted <= {event.event_id.lower() for event in self.events}:
            return None
        events = tuple(
            replace(event, acknowledged=True) if event.event_id.lower() in wanted else event for event in self.events
        )
        granted: tuple[AcknowledgementReport, ...] = tuple(
            {"at": moment.wall.isoformat(), "event_id": event.event_id}
            for event in events
            if event.event_id.lower() in wanted
        )
        log = (*self.acknowledgements, *granted)[-LOG_LENGTH_MAX:]
        return replace(self, events=events, acknowledgements=log).at(moment)

    def withdraw(self, event_ids: Collection[str]) -> TwinState:
        """Take these events out of the document, which is all that a cancellation looks like."""
        return self._with_events(tuple(event for event in self.events if event.event_id not in event_ids))

    def boot(self, boot_id: str) -> TwinState:
        """The VM came up anew: a new boot id, and whatever was announced to it is over."""
        over = [event.event_id for event in self.events if event.names(self.profile.name)]
        return replace(self.withdraw(over), boot_id=boot_id)

    def _with_events(self, events: tuple[TwinEvent, ...]) -> TwinState:
        if events == self.events:
            return self
        return replace(self, events=events, incarnation=self.incarnation + 1)

    # -- requests --------------------------------------------------------------------------------------------------

    def strike(self, endpoint: Endpoint, moment: Moment) -> tuple[TwinState, Fault | None]:
        """The state after a request to this endpoint met the faults in force, and the fault it met."""
        faults, struck = strike(self.faults, endpoint, moment.at_s)
        return replace(self, faults=faults), struck

    def admit(self, endpoint: Endpoint, moment: Moment) -> tuple[TwinState, bool]:
        """The state after one more request was counted, and whether it is within the limit."""
        if endpoint is Endpoint.IDENTITY:
            limit, allowed = self.identity_limit.take(moment.at_s)
            return replace(self, identity_limit=limit), allowed
        limit, allowed = self.imds_limit.take(moment.at_s)
        return replace(self, imds_limit=limit), allowed

    def logged(self, request: RequestReport) -> TwinState:
        """The state with this request in the log."""
        log = (*self.requests, request)[-LOG_LENGTH_MAX:]
        return replace(self, requests=log, requests_total=self.requests_total + 1)

    def report(self, moment: Moment) -> TwinReport:
        """Everything, for programs to read."""
        return {
            "now": moment.wall.isoformat(),
            "identity": self.profile.report(),
            "boot_id": self.boot_id,
            "incarnation": self.incarnation,
            "events": [event.report() for event in self.events],
            "faults": [fault.report(moment.at_s) for fault in self.faults if fault.in_force(moment.at_s)],
            "requests_total": self.requests_total,
            "requests": list(self.requests),
            "acknowledgements": list(self.acknowledgements),
        }
