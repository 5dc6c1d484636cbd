"""A VM whose metadata and scheduled events are set by hand."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

from fsm.notices import EventsDocument, ScheduledEvent
from fsm.ports import InstanceMetadata, ScheduledEvents, VmIdentity
from simulator.network import Faults, no_faults, perform


class SimulatedVm:
    """What the platform knows of one VM; its endpoints read it, tests and the simulator set it.

    Args:
        identity: who the VM is, as set by the last (re)creation.

    Attributes:
        document: the Scheduled Events document as it stands.
        earlier: the last one with other events, if there was one.
        acknowledged: the events somebody let start, in order, each once.
    """

    def __init__(self, identity: VmIdentity) -> None:
        self.identity = identity
        self.document = EventsDocument(incarnation=1, events=())
        self.earlier: EventsDocument | None = None
        self.acknowledged: list[str] = []

    def announce(self, event: ScheduledEvent) -> None:
        """Add the event, or replace the one of its id; the incarnation changes."""
        others = tuple(other for other in self.document.events if other.event_id != event.event_id)
        self._publish((*others, event))

    def notify(
        self, event_id: str, event_type: str = "Preempt", *, not_before: datetime | None = None, started: bool = False
    ) -> None:
        """Announce an event that names this VM alone."""
        self.announce(
            ScheduledEvent(
                event_id=event_id,
                event_type=event_type,
                resources=(self.identity.name,),
                started=started,
                not_before=not_before,
                source="Platform",
            )
        )

    def withdraw(self, event_id: str) -> None:
        """Take the event out of the document: it was cancelled, or it is over."""
        self._publish(tuple(event for event in self.document.events if event.event_id != event_id))

    def clear(self) -> None:
        """Take every event out: the VM is gone, or has just come up."""
        self._publish(())

    def renumber(self) -> bool:
        """Number documents from 1 again, as when Scheduled Events are turned on anew; whether that changes anything."""
        before, self.document = self.document, replace(self.document, incarnation=1)
        return self.document != before

    def acknowledge(self, event_id: str) -> None:
        """Start the event; of one that is not in the document nothing is known, and nothing happens."""
        if event_id in self.acknowledged:
            return
        for event in self.document.events:
            if event.event_id == event_id:
                self.acknowledged.append(event_id)
                self.announce(replace(event, started=True, not_before=None))

    def _publish(self, events: tuple[ScheduledEvent, ...]) -> None:
        if events != self.document.events:
            self.earlier = self.document
        self.document = EventsDocument(incarnation=self.document.incarnation + 1, events=events)


class SimulatedScheduledEvents(ScheduledEvents):
    """The Scheduled Events endpoint of one VM.

    Args:
        vm: whose.
        faults: asked for each call, as `events.poll` and `events.acknowledge`.
    """

    def __init__(self, vm: SimulatedVm, *, faults: Faults = no_faults) -> None:
        self._vm = vm
        self._faults = faults

    async def poll(self, *, timeout_s: float) -> EventsDocument:
        return await perform("events.poll", self._document, faults=self._faults, timeout_s=timeout_s)

    def _document(self) -> EventsDocument:
        """What a poll that arrives now is answered with."""
        return self._vm.document

    async def acknowledge(self, event_id: str, *, timeout_s: float) -> None:
        await perform(
            "events.acknowledge", lambda: self._vm.acknowledge(event_id), faults=self._faults, timeout_s=timeout_s
        )


class SimulatedMetadata(InstanceMetadata):
    """The instance metadata endpoint of one VM.

    Args:
        vm: whose.
        faults: asked for each call, as `metadata.identity`.
    """

    def __init__(self, vm: SimulatedVm, *, faults: Faults = no_faults) -> None:
        self._vm = vm
        self._faults = faults

    async def identity(self, *, timeout_s: float) -> VmIdentity:
        return await perform("metadata.identity", lambda: self._vm.identity, faults=self._faults, timeout_s=timeout_s)
