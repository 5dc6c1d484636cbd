"""Watching a world from outside: what services did, what was sent and answered, and what was journaled.

Whoever wants to know derives from `Observer` and overrides what it cares for; the `Panel` calls only those. Nothing
here asks the worker anything, and an observer changes nothing.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from enum import StrEnum
from random import Random
from typing import NamedTuple

from fsm.errors import BadReplyError
from fsm.notices import EventsDocument
from fsm.ports import Clock, Message, StoredRecord
from fsm.record import Record
from simulator.journal import Entry
from simulator.network import Fault, Faults
from simulator.process import Process
from simulator.queue import SimulatedQueue, SimulatedQueueService
from simulator.store import SimulatedStoreService
from simulator.vm import SimulatedScheduledEvents, SimulatedVm


class RunEnd(StrEnum):
    """How one run of a handler ended, as the handler saw it."""

    FINISHED = "finished"
    FAILED = "failed"
    INTERRUPTED = "interrupted"
    """It was told to let go, by an exception after a checkpoint or by cancellation."""
    KILLED = "killed"
    """Its process was gone."""


@dataclass(slots=True, kw_only=True)
class Run:
    """One run of one job's handler.

    Attributes:
        job: the message's id.
        epoch: the delivery's dequeue count.
        resumed_from: units of work it was told had been done.
        done: units of work done in all, saved or not.
        vain_s: time spent on a unit that was not done in the end.
        checkpoints: when, and at how many units.
        saving: a checkpoint has been asked for, and its answer is not there yet.
    """

    job: str
    epoch: int
    process: Process
    began_s: float
    resumed_from: int
    done: int
    vain_s: float = 0.0
    checkpoints: list[tuple[float, int]] = field(default_factory=list)
    saving: bool = False
    ended_s: float | None = None
    end: RunEnd | None = None


class Observer:
    """What can be seen. Every method does nothing until it is overridden."""

    def started(self, process: Process) -> None:
        """A worker process was started."""

    def ended(self, process: Process) -> None:
        """A worker process has ended; `process.ending` says how."""

    def sent(self, process: Process, call: str) -> None:
        """A process sends a call."""

    def faulted(self, process: Process, call: str, fault: Fault) -> None:
        """Something goes wrong with the call that was just sent."""

    def told(self, process: Process, number: int, document: EventsDocument) -> None:
        """A reply of Scheduled Events reached the process; `number` is the order in which it was asked for."""

    def leased(self, process: Process, messages: Sequence[Message]) -> None:
        """A receive of this process took effect; the reply is on its way."""

    def received(self, process: Process, messages: Sequence[Message]) -> None:
        """The reply to a receive reached the process."""

    def renewed(self, process: Process, message_id: str, receipt: str, visibility_s: float) -> None:
        """The reply to a renewal or a release reached the process."""

    def acknowledged(self, process: Process, event_id: str) -> None:
        """A process's acknowledgement of an event took effect."""

    def enqueued(self, message_id: str) -> None:
        """A job was put on the queue."""

    def delivered(self, message_id: str, dequeue_count: int) -> None:
        """The queue leased a message to somebody."""

    def deleted(self, message_id: str) -> None:
        """A message of the main queue was deleted."""

    def put_aside(self, message_id: str) -> None:
        """A message of the main queue was put on the poison queue."""

    def written(self, message_id: str, before: Record | None, after: Record) -> None:
        """A record was written."""

    def noted(self, entry: Entry) -> None:
        """Something was journaled."""

    def run_began(self, run: Run) -> None:
        """A handler begins."""

    def run_saved(self, run: Run, units: int) -> None:
        """A handler was told that its checkpoint is durable."""

    def run_ended(self, run: Run) -> None:
        """A handler has ended."""

    def calmed(self, now_s: float) -> None:
        """From now on nothing goes wrong any more."""

    def finished(self, now_s: float) -> None:
        """The run is over."""


class Panel(Observer):
    """Passes on what can be seen to the observers that care for it."""

    def __init__(self, observers: Sequence[Observer] = ()) -> None:
        self.show(observers)

    def show(self, observers: Sequence[Observer]) -> None:
        """From now on these, and no others, are told."""
        for name in (name for name, member in vars(Observer).items() if callable(member) and not name.startswith("_")):
            caring = [
                getattr(one, name) for one in observers if getattr(type(one), name) is not getattr(Observer, name)
            ]
            setattr(self, name, caring[0] if len(caring) == 1 else _to_all(caring))


def _to_all(listeners: Sequence[Callable[..., None]]) -> Callable[..., None]:
    def tell(*what: object) -> None:
        for listener in listeners:
            listener(*what)

    return tell


# -- services ----------------------------------------------------------------------------------------------------------


class Lease(NamedTuple):
    """How a message lies on the queue: its newest receipt, and when it becomes visible."""

    receipt: str
    visible_s: float


class ObservedQueueService(SimulatedQueueService):
    """The queues of a world.

    Args:
        name: the main queue's; the other is the poison queue.
        panel: is told what takes effect.
        short_lease: asked at each delivery for the share of its lease that the service keeps to; 1 is all of it.
    """

    def __init__(
        self, name: str, panel: Observer, *, clock: Clock, random: Random, short_lease: Callable[[], float]
    ) -> None:
        super().__init__(clock=clock, random=random)
        self._main = name
        self._panel = panel
        self._short_lease = short_lease
        self._known: set[str] = set()
        self._sent_alone: set[str] = set()

    def put(self, name: str, text: str, *, time_to_live_s: float | None = None) -> str:
        message_id = super().put(name, text, time_to_live_s=time_to_live_s)
        if name == self._main:
            self._known.add(message_id)
            self._panel.enqueued(message_id)
        else:
            self._panel.put_aside(self._poisoned(text))
        return message_id

    def _poisoned(self, text: str) -> str:
        """Whose message lies on the poison queue: its envelope says so; a body too large for one is told by itself."""
        with suppress(ValueError, TypeError, KeyError):
            if (named := json.loads(text)["job_id"]) in self._known:
                return str(named)
        alike = [kept.message_id for kept in self._queue(self._main).by_id.values() if kept.text == text]
        fresh = [message_id for message_id in alike if message_id not in self._sent_alone]
        self._sent_alone.update(fresh[:1])
        return (fresh or alike or [""])[0]

    def receive(self, name: str, *, max_messages: int, visibility_timeout_s: float) -> list[Message]:
        kept_s = visibility_timeout_s * self._short_lease()
        messages = super().receive(name, max_messages=max_messages, visibility_timeout_s=kept_s)
        if name == self._main:
            for message in messages:
                self._panel.delivered(message.message_id, message.dequeue_count)
        return messages

    def delete(self, name: str, message_id: str, pop_receipt: str) -> None:
        super().delete(name, message_id, pop_receipt)
        if name == self._main:
            self._panel.deleted(message_id)

    def lease(self, message_id: str) -> Lease | None:
        """How a message of the main queue stands; None for one that is gone."""
        kept = self._living(self._queue(self._main), message_id)
        return None if kept is None else Lease(kept.receipt, kept.visible_us / 1_000_000)


class ObservedStoreService(SimulatedStoreService):
    """The job store of a world.

    Args:
        panel: is told what takes effect.
        tear_s: asked at each write for how long its document is torn, 0 for not at all.
    """

    def __init__(self, panel: Observer, *, clock: Clock, tear_s: Callable[[], float]) -> None:
        super().__init__(clock=clock, exists=True)
        self._panel = panel
        self._tear_s = tear_s
        self._torn_until_s: dict[tuple[str, str], float] = {}

    def read(self, queue: str, message_id: str) -> StoredRecord | None:
        if self._torn_until_s and self._torn_until_s.get((queue, message_id), 0.0) > self._clock.monotonic_s():
            raise BadReplyError("a stored record cannot be read: its last write is half there")
        return super().read(queue, message_id)

    def look(self, queue: str, message_id: str) -> Record | None:
        """The record as it will be once it is whole."""
        stored = super().read(queue, message_id)
        return None if stored is None else stored.record

    def write(self, queue: str, message_id: str, record: Record, *, expected: str | None) -> str:
        before = self.look(queue, message_id)
        version = super().write(queue, message_id, record, expected=expected)
        if (torn_s := self._tear_s()) > 0:
            self._torn_until_s[queue, message_id] = self._clock.monotonic_s() + torn_s
        self._panel.written(message_id, before, record)
        return version


# -- clients -----------------------------------------------------------------------------------------------------------


class ObservedQueue(SimulatedQueue):
    """One process's client of the main queue."""

    def __init__(
        self,
        service: SimulatedQueueService,
        name: str,
        *,
        faults: Faults,
        panel: Observer,
        whose: Callable[[], Process],
    ) -> None:
        super().__init__(service, name, faults=faults)
        self._panel = panel
        self._whose = whose

    async def receive(self, *, max_messages: int, visibility_timeout_s: float, timeout_s: float) -> Sequence[Message]:
        messages = await super().receive(
            max_messages=max_messages, visibility_timeout_s=visibility_timeout_s, timeout_s=timeout_s
        )
        self._panel.received(self._whose(), messages)
        return messages

    def _lease(self, *, max_messages: int, visibility_timeout_s: float) -> list[Message]:
        messages = super()._lease(max_messages=max_messages, visibility_timeout_s=visibility_timeout_s)
        self._panel.leased(self._whose(), messages)
        return messages

    async def renew(self, message_id: str, pop_receipt: str, *, visibility_timeout_s: float, timeout_s: float) -> str:
        receipt = await super().renew(
            message_id, pop_receipt, visibility_timeout_s=visibility_timeout_s, timeout_s=timeout_s
        )
        self._panel.renewed(self._whose(), message_id, receipt, visibility_timeout_s)
        return receipt


class ObservedScheduledEvents(SimulatedScheduledEvents):
    """One process's Scheduled Events endpoint.

    Args:
        shown: asked at each poll what the VM is told; rightly its document.
    """

    def __init__(
        self,
        vm: SimulatedVm,
        *,
        faults: Faults,
        panel: Observer,
        whose: Callable[[], Process],
        shown: Callable[[SimulatedVm], EventsDocument],
    ) -> None:
        super().__init__(vm, faults=faults)
        self._shown = shown
        self._panel = panel
        self._whose = whose
        self._asked = 0

    async def poll(self, *, timeout_s: float) -> EventsDocument:
        self._asked += 1
        number = self._asked
        document = await super().poll(timeout_s=timeout_s)
        self._panel.told(self._whose(), number, document)
        return document

    def _document(self) -> EventsDocument:
        return self._shown(self._vm)

    async def acknowledge(self, event_id: str, *, timeout_s: float) -> None:
        self._panel.acknowledged(self._whose(), event_id)
        await super().acknowledge(event_id, timeout_s=timeout_s)
