"""Workers that are broken on purpose: each breaks one rule that a promise rests on, and a checker has to notice."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime

import pytest

import fsm.delivery
import fsm.notices
from fsm.backoff import Backoff
from fsm.delivery import Call, Delivery, Event, Found, PutPoison, Release, Step, WriteRecord, Written
from fsm.delivery import Done as CallDone
from fsm.errors import PlatformError
from fsm.job import JobTrigger
from fsm.notices import EventsDocument, ScheduledEvent, Severity
from fsm.ports import ScheduledEvents
from fsm.promises import Promise
from fsm.record import FAILURES_MAX, Counts, End, Owner, Presence, Record, Status
from fsm.runner import Ports, Worker, WorkerSettings, receiving
from fsm.runner.delivering import Delivering
from fsm.runner.situation import Situation
from fsm.runner.watching import FIRST_POLL_TIMEOUT_S, POLL_TIMEOUT_S, Watch
from fsm.runner.workplace import Workplace
from simulator.store import SimulatedStore
from simulator.world import MakeWorker

Patch = pytest.MonkeyPatch


@dataclass(frozen=True, slots=True, kw_only=True)
class Sabotage:
    """One way to break the worker.

    Attributes:
        caught_by: the promises of which one must be seen to break.
        make_worker: a worker with sabotaged ports.
        patch: or what is changed in the core.
        likely_seed: is tried first, to save time; it may become any other when swarms are drawn in another way.
    """

    name: str
    caught_by: frozenset[Promise]
    make_worker: MakeWorker = Worker
    patch: Callable[[Patch], None] = lambda _patch: None
    likely_seed: int = 0


# -- sabotaged ports --------------------------------------------------------------------------------------------------


class _UnfencedStore(SimulatedStore):
    """Writes over whatever is there."""

    async def write(
        self,
        queue: str,
        message_id: str,
        record: Record,
        *,
        expected: str | None,  # noqa: ARG002 -- not to look at it is the sabotage
        timeout_s: float,
    ) -> str:
        def write_over() -> str:
            kept = self._service._records.get((queue, message_id))
            version = None if kept is None else kept.version
            return self._service.write(queue, message_id, record, expected=version)

        return await self._perform("write", write_over, timeout_s)


class _AbsentStore(SimulatedStore):
    """Forgets who is there."""

    async def write_presence(self, presence: Presence, *, timeout_s: float) -> None:
        """Say that it is written."""


class _ErrorsAreNoEvents(ScheduledEvents):
    """Takes a poll that failed for a document without events."""

    def __init__(self, inner: ScheduledEvents) -> None:
        self._inner = inner

    async def poll(self, *, timeout_s: float) -> EventsDocument:
        try:
            return await self._inner.poll(timeout_s=timeout_s)
        except PlatformError:
            return EventsDocument(incarnation=-1, events=())

    async def acknowledge(self, event_id: str, *, timeout_s: float) -> None:
        await self._inner.acknowledge(event_id, timeout_s=timeout_s)


class _NoticesStay(_ErrorsAreNoEvents):
    """Never forgets a notice."""

    def __init__(self, inner: ScheduledEvents) -> None:
        super().__init__(inner)
        self._seen: dict[str, ScheduledEvent] = {}

    async def poll(self, *, timeout_s: float) -> EventsDocument:
        document = await self._inner.poll(timeout_s=timeout_s)
        self._seen.update({event.event_id: event for event in document.events})
        return EventsDocument(incarnation=document.incarnation, events=tuple(self._seen.values()))


class _NumbersRise(_ErrorsAreNoEvents):
    """Takes a document only if its number is above all before."""

    def __init__(self, inner: ScheduledEvents) -> None:
        super().__init__(inner)
        self._newest = EventsDocument(incarnation=-1, events=())

    async def poll(self, *, timeout_s: float) -> EventsDocument:
        document = await self._inner.poll(timeout_s=timeout_s)
        if document.incarnation > self._newest.incarnation:
            self._newest = document
        return self._newest


class _TimesAreTrusted(_ErrorsAreNoEvents):
    """Leaves events out that are not to come, for want of a time or for one that is past; a start is a start."""

    async def poll(self, *, timeout_s: float) -> EventsDocument:
        document = await self._inner.poll(timeout_s=timeout_s)
        return replace(document, events=tuple(e for e in document.events if e.started or self._is_to_come(e)))

    def _is_to_come(self, event: ScheduledEvent) -> bool:
        raise NotImplementedError


class _PastIsOver(_TimesAreTrusted):
    """Knows that worlds begin with the year 2026."""

    def _is_to_come(self, event: ScheduledEvent) -> bool:
        return event.not_before is None or event.not_before > datetime(2026, 1, 1, tzinfo=UTC)


class _UntimedIsNothing(_TimesAreTrusted):
    def _is_to_come(self, event: ScheduledEvent) -> bool:
        return event.not_before is not None


def _with_events(sabotaged: Callable[[ScheduledEvents], ScheduledEvents]) -> MakeWorker:
    return lambda ports, settings: Worker(replace(ports, events=sabotaged(ports.events)), settings)


def _unfenced(ports: Ports, settings: WorkerSettings) -> Worker:
    store = ports.store
    if isinstance(store, SimulatedStore):
        store = _UnfencedStore(store._service, faults=store._faults)
    return Worker(replace(ports, store=store), settings)


def _absent(ports: Ports, settings: WorkerSettings) -> Worker:
    store = ports.store
    if isinstance(store, SimulatedStore):
        store = _AbsentStore(store._service, faults=store._faults)
    return Worker(replace(ports, store=store), settings)


class _AcknowledgesFirst(Worker):
    """Lets the event start, and drains then."""

    async def _drain(self, place: Workplace) -> None:
        for notice in self._situation.notices.reclaiming:
            try:
                await self._ports.events.acknowledge(notice.event.event_id, timeout_s=1.0)
            except PlatformError as exc:
                place.note_failure("acknowledge", None, exc)
        await super()._drain(place)


class _DrainsForEver(Worker):
    """Lets every handler finish, however late it is."""

    async def _drain(self, place: Workplace) -> None:
        while not self._all_settled():
            await self._situation.anything()
        await super()._drain(place)


class _CutsReceives(Worker):
    """Does not wait for a receive that is in flight when a notice comes."""

    async def _drain(self, place: Workplace) -> None:
        if self._receiving is not None:
            self._receiving.cancel()
        await super()._drain(place)


async def _never_poll(_self: Watch) -> None:
    """Trust that nothing will come."""
    await asyncio.Event().wait()


async def _poll_one_by_one(self: Watch) -> None:
    timeout_s = FIRST_POLL_TIMEOUT_S
    while True:
        self._open += 1
        self._asked += 1
        await self._poll(self._asked, timeout_s=timeout_s)
        timeout_s = POLL_TIMEOUT_S
        await asyncio.sleep(self._place.settings.imds_poll_s)


class _AbandonsAll(Worker):
    """Lets go of every job at a notice, as if all leases were lost."""

    async def _drain(self, place: Workplace) -> None:
        for delivery in tuple(self._deliveries):
            delivery.lose_lease()
        await super()._drain(place)


# -- sabotaged core ---------------------------------------------------------------------------------------------------

_perform = Delivering._perform
_severity = vars(ScheduledEvent)["severity"]
_consider = fsm.delivery._Stepper._consider
_how_ended = fsm.delivery.how_ended
_call_of = fsm.delivery.call_of
_released = Record.released


async def _delete_then_record(self: Delivering, call: Call) -> Event:
    if isinstance(call, WriteRecord) and call.record.status is Status.DONE:
        await _perform(self, fsm.delivery.Delete())
    return await _perform(self, call)


async def _poison_unmarked(self: Delivering, call: Call) -> Event:
    if isinstance(call, WriteRecord) and call.record.status is Status.POISONED:
        return Written(version=call.expected or "0")
    return await _perform(self, call)


async def _never_put(self: Delivering, call: Call) -> Event:
    return CallDone() if isinstance(call, PutPoison) else await _perform(self, call)


async def _never_release(self: Delivering, call: Call) -> Event:
    return CallDone() if isinstance(call, Release) else await _perform(self, call)


async def _never_hand_back(self: Delivering, call: Call) -> Event:
    goal = self._delivery.goal
    if isinstance(call, Release) and goal is not None and goal.trigger is JobTrigger.BEGIN:
        return CallDone()
    return await _perform(self, call)


def _call_though_renewing(delivery: Delivery) -> Call | None:
    return _call_of(replace(delivery, renewing=False))


async def _never_renew(self: Delivering) -> None:
    """Let the lease run out."""


async def _save_nothing(self: Delivering, progress: str) -> None:
    """Say that it is saved."""


def _claim_over_newer(self: fsm.delivery._Stepper, d: Delivery, found: Found, **read: object) -> Step:
    record = found.record
    if record is not None and record.status is Status.OPEN and record.epoch >= d.epoch and record.owner != d.owner:
        found = Found(record=replace(record, epoch=d.epoch - 1), version=found.version)
    presence = read.get("presence")
    assert presence is None or isinstance(presence, Presence)
    return _consider(self, d, found, presence=presence, presence_read=bool(read["presence_read"]))


def _evictions_are_failures(owner: Owner, presence: Presence | None) -> End:
    end = _how_ended(owner, presence)
    return End.FAILURE if end is End.EVICTION else end


def _lapses_are_deaths(owner: Owner, presence: Presence | None) -> End:
    end = _how_ended(owner, presence)
    return End.DEATH if end is End.LAPSE else end


def _count_again(self: Record, end: End) -> Record:
    return replace(self, counts=self.counts.plus(end), counted_epoch=self.epoch)


def _save_and_keep_deaths(self: Record, progress: str) -> Record:
    return replace(self, progress=progress)


def _leave_open_at_stop(self: Record, end: End, error: str | None = None) -> Record:
    return self if end is End.STOP else _released(self, end, error)


def _advice_reclaims(event: ScheduledEvent) -> Severity:
    known = _severity.fget(event)
    return Severity.RECLAIM if known is Severity.ADVISORY else known


def _obeys_all_but(kind: str) -> Callable[[Patch], None]:
    return _patched(fsm.notices, "RECLAIMING_TYPES", fsm.notices.RECLAIMING_TYPES - {kind})


def _names_alike(event: ScheduledEvent, vm_name: str) -> bool:
    return any(name.lower().startswith(vm_name.lower()) for name in event.resources)


def _names_as_a_part(event: ScheduledEvent, vm_name: str) -> bool:
    return any(name.lower() in vm_name.lower() for name in event.resources)


def _names_first(event: ScheduledEvent, vm_name: str) -> bool:
    return event.resources[0].lower() == vm_name.lower()


def _names_to_the_letter(event: ScheduledEvent, vm_name: str) -> bool:
    return vm_name in event.resources


def _patched(target: type | object, name: str, value: object) -> Callable[[Patch], None]:
    return lambda patch: patch.setattr(target, name, value)


P = Promise
SABOTAGES = (
    Sabotage(
        name="no fence",
        caught_by=frozenset({P.PROGRESS_NEVER_BACK, P.NO_EFFECT_TWICE}),
        likely_seed=17,
        make_worker=_unfenced,
    ),
    Sabotage(
        name="delete before record",
        caught_by=frozenset({P.NOTHING_LOST}),
        patch=_patched(Delivering, "_perform", _delete_then_record),
    ),
    Sabotage(
        name="acknowledge before drained",
        caught_by=frozenset({P.DRAINED_IN_TIME}),
        likely_seed=12,
        make_worker=_AcknowledgesFirst,
    ),
    Sabotage(
        name="drain without a deadline",
        caught_by=frozenset({P.DRAINED_IN_TIME}),
        likely_seed=51,
        make_worker=_DrainsForEver,
    ),
    Sabotage(
        name="Scheduled Events never asked for",
        caught_by=frozenset({P.DRAINED_IN_TIME}),
        patch=_patched(Watch, "run", _never_poll),
    ),
    Sabotage(
        name="next poll waits for a slow one",
        caught_by=frozenset({P.DRAINED_IN_TIME}),
        likely_seed=6,
        patch=_patched(Watch, "run", _poll_one_by_one),
    ),
    Sabotage(
        name="deaths not cleared by progress",
        caught_by=frozenset({P.EVICTION_IS_NOT_FAILURE}),
        likely_seed=29,
        patch=_patched(Record, "saved", _save_and_keep_deaths),
    ),
    Sabotage(
        name="job that kills its worker never given up",
        caught_by=frozenset({P.NOTHING_LOST}),
        likely_seed=71,
        patch=_patched(Counts, "budget_spent", property(lambda counts: counts.failures >= FAILURES_MAX)),
    ),
    Sabotage(
        name="claim left open by a stop",
        caught_by=frozenset({P.EVICTION_IS_NOT_FAILURE}),
        likely_seed=29,
        patch=_patched(Record, "released", _leave_open_at_stop),
    ),
    Sabotage(
        name="evictions counted as failures",
        caught_by=frozenset({P.EVICTION_IS_NOT_FAILURE}),
        likely_seed=12,
        patch=_patched(fsm.delivery, "how_ended", _evictions_are_failures),
    ),
    Sabotage(
        name="lapses counted as deaths",
        caught_by=frozenset({P.EVICTION_IS_NOT_FAILURE}),
        likely_seed=16,
        patch=_patched(fsm.delivery, "how_ended", _lapses_are_deaths),
    ),
    Sabotage(
        name="counts not tagged with their epoch",
        caught_by=frozenset({P.EVICTION_IS_NOT_FAILURE}),
        likely_seed=9,
        patch=_patched(Record, "ended", _count_again),
    ),
    Sabotage(
        name="renewal skipped",
        caught_by=frozenset({P.NOTHING_LOST, P.ALWAYS_COMES_BACK}),
        likely_seed=5,
        patch=_patched(Delivering, "renew", _never_renew),
    ),
    Sabotage(
        name="notice of another VM obeyed",
        caught_by=frozenset({P.ALWAYS_COMES_BACK}),
        likely_seed=3,
        patch=_patched(ScheduledEvent, "names", lambda _self, _name: True),
    ),
    Sabotage(
        name="error read as no event",
        caught_by=frozenset({P.NO_WORK_AFTER_NOTICE}),
        likely_seed=29,
        make_worker=_with_events(_ErrorsAreNoEvents),
    ),
    Sabotage(
        name="withdrawn notice ignored",
        caught_by=frozenset({P.ALWAYS_COMES_BACK}),
        likely_seed=3,
        make_worker=_with_events(_NoticesStay),
    ),
    Sabotage(
        name="work after a notice",
        caught_by=frozenset({P.NO_WORK_AFTER_NOTICE}),
        likely_seed=11,
        patch=_patched(Situation, "working", property(lambda _self: True)),
    ),
    Sabotage(
        name="late claim over a newer delivery",
        caught_by=frozenset({P.PROGRESS_NEVER_BACK}),
        likely_seed=91,
        patch=_patched(fsm.delivery._Stepper, "_consider", _claim_over_newer),
    ),
    Sabotage(
        name="interrupted job not released",
        caught_by=frozenset({P.RELEASED_AT_ONCE}),
        likely_seed=11,
        patch=_patched(Delivering, "_perform", _never_release),
    ),
    Sabotage(
        name="receive in flight not awaited",
        caught_by=frozenset({P.RELEASED_AT_ONCE}),
        likely_seed=60,
        make_worker=_CutsReceives,
    ),
    Sabotage(
        name="every job abandoned at a drain",
        caught_by=frozenset({P.RELEASED_AT_ONCE}),
        likely_seed=26,
        make_worker=_AbandonsAll,
    ),
    Sabotage(
        name="an hour's pause after an empty receive",
        caught_by=frozenset({P.ALWAYS_COMES_BACK}),
        likely_seed=20,
        patch=_patched(receiving, "Backoff", lambda **_limits: Backoff(first_s=3600.0, most_s=3600.0)),
    ),
    Sabotage(
        name="job not begun not released",
        caught_by=frozenset({P.RELEASED_AT_ONCE}),
        likely_seed=60,
        patch=_patched(Delivering, "_perform", _never_hand_back),
    ),
    Sabotage(
        name="release before the renewal's reply",
        caught_by=frozenset({P.RELEASED_AT_ONCE}),
        likely_seed=60,
        patch=_patched(fsm.delivery, "call_of", _call_though_renewing),
    ),
    Sabotage(
        name="poison without its mark",
        caught_by=frozenset({P.NOTHING_LOST}),
        likely_seed=9,
        patch=_patched(Delivering, "_perform", _poison_unmarked),
    ),
    Sabotage(
        name="poison never put",
        caught_by=frozenset({P.NOTHING_LOST}),
        likely_seed=8,
        patch=_patched(Delivering, "_perform", _never_put),
    ),
    Sabotage(
        name="checkpoint not saved",
        caught_by=frozenset({P.PROGRESS_NEVER_BACK}),
        patch=_patched(Delivering, "checkpoint", _save_nothing),
    ),
    Sabotage(
        name="presence never written",
        caught_by=frozenset({P.NOTHING_LOST}),
        likely_seed=36,
        make_worker=_absent,
    ),
    Sabotage(
        name="rows not journaled",
        caught_by=frozenset({P.ROW_BY_ROW}),
        patch=_patched(Delivering, "_note", lambda _self, _taken: None),
    ),
    *(
        Sabotage(
            name=f"{kind} not obeyed",
            caught_by=frozenset({P.NO_WORK_AFTER_NOTICE}),
            patch=_obeys_all_but(kind),
        )
        for kind in ("terminate", "reboot", "redeploy")
    ),
    Sabotage(
        name="event of an unknown type obeyed",
        caught_by=frozenset({P.ALWAYS_COMES_BACK}),
        patch=_patched(ScheduledEvent, "severity", property(_advice_reclaims)),
    ),
    Sabotage(
        name="name that begins as this VM's obeyed",
        caught_by=frozenset({P.ALWAYS_COMES_BACK}),
        likely_seed=15,
        patch=_patched(ScheduledEvent, "names", _names_alike),
    ),
    Sabotage(
        name="name that is a part of this VM's obeyed",
        caught_by=frozenset({P.ALWAYS_COMES_BACK}),
        likely_seed=15,
        patch=_patched(ScheduledEvent, "names", _names_as_a_part),
    ),
    Sabotage(
        name="first name of an event alone read",
        caught_by=frozenset({P.NO_WORK_AFTER_NOTICE}),
        likely_seed=8,
        patch=_patched(ScheduledEvent, "names", _names_first),
    ),
    Sabotage(
        name="names compared to the letter",
        caught_by=frozenset({P.NO_WORK_AFTER_NOTICE}),
        patch=_patched(ScheduledEvent, "names", _names_to_the_letter),
    ),
    Sabotage(
        name="documents believed only while their numbers rise",
        caught_by=frozenset({P.NO_WORK_AFTER_NOTICE}),
        make_worker=_with_events(_NumbersRise),
    ),
    Sabotage(
        name="event whose time is past taken for over",
        caught_by=frozenset({P.NO_WORK_AFTER_NOTICE}),
        likely_seed=31,
        make_worker=_with_events(_PastIsOver),
    ),
    Sabotage(
        name="event without a time taken for none",
        caught_by=frozenset({P.NO_WORK_AFTER_NOTICE}),
        likely_seed=31,
        make_worker=_with_events(_UntimedIsNothing),
    ),
)
