"""Drives `fsm.delivery.advance` by hand: every step is decided twice, by the table and by the engine."""

from __future__ import annotations

from collections.abc import Iterable

from fsm.delivery import (
    Call,
    Checkpointed,
    Delivery,
    Done,
    Event,
    Failed,
    Found,
    Interrupted,
    LeaseGone,
    NoReply,
    Phase,
    PresenceFound,
    Received,
    Refused,
    RenewalDue,
    RenewalRefused,
    RenewalUnanswered,
    Renewed,
    Returned,
    Step,
    Taken,
    TimeUp,
    Written,
    advance,
)
from fsm.engine import Engine
from fsm.job import JOB, JobState
from fsm.record import End, Owner, Presence, Record

_ENGINE = Engine(JOB)

OWNER = Owner(vm_id="vm-1", boot_id="boot-1", instance="0", process="process-1", token="token-now")
EARLIER = Owner(vm_id="vm-2", boot_id="boot-2", instance="0", process="process-2", token="token-before")
LATER = Owner(vm_id="vm-3", boot_id="boot-3", instance="0", process="process-3", token="token-after")


def step(delivery: Delivery, event: Event, *, draining: bool = False) -> Step:
    """One step, decided by the table and by the compiled engine, which must agree."""
    by_table = advance(delivery, event, draining=draining, decide=JOB.row_for)
    by_engine = advance(delivery, event, draining=draining, decide=_ENGINE.fire)
    assert by_table == by_engine
    return by_table


class Hand:
    """A delivery in the tester's hand: feeds events, keeps the last call and every row and call so far."""

    def __init__(self, *, epoch: int = 1, stored: bool = True, draining: bool = False) -> None:
        self.delivery = Delivery(epoch=epoch, owner=OWNER, stored=stored)
        self.draining = draining
        self.call: Call | None = None
        self.calls: list[Call] = []
        self.taken: list[Taken] = []

    def feed(self, *events: Event) -> Call | None:
        """Feed these events and return the call that the last of them asks for."""
        for event in events:
            result = step(self.delivery, event, draining=self.draining)
            self.delivery, self.call = result.delivery, result.call
            self.taken += result.taken
            if result.call is not None:
                self.calls.append(result.call)
        return self.call

    @property
    def phase(self) -> Phase:
        return self.delivery.phase

    @property
    def state(self) -> JobState:
        return self.delivery.state

    @property
    def rows(self) -> list[str]:
        return [taken.row.id for taken in self.taken]


def claimed(*, epoch: int = 2, left: Record | None = None) -> Hand:
    """A later delivery that has claimed a record which was handed back, and runs."""
    record = earlier_record(epoch=epoch - 1) if left is None else left
    hand = Hand(epoch=epoch)
    hand.feed(Received(), Found(record=record, version="v1"), Written(version="v2"))
    assert hand.phase is Phase.RUNNING
    return hand


def earlier_record(*, epoch: int = 1, end: End = End.EVICTION) -> Record:
    """A record that the delivery before this one handed back."""
    return Record(epoch=epoch, owner=EARLIER).released(end)


def presence_of(owner: Owner, *, boot_id: str | None = None, process: str | None = None) -> Presence:
    """The presence that stands for an owner's instance."""
    return Presence(
        vm_id=owner.vm_id,
        vm_name="name",
        boot_id=boot_id or owner.boot_id,
        instance=owner.instance,
        process=process or owner.process,
    )


def events_for(delivery: Delivery, records: Iterable[Record | None] = ()) -> list[Event]:
    """Everything that can happen to a delivery next: the replies to its call, and what comes from outside.

    Args:
        delivery: as it stands.
        records: what a read may find besides what the delivery itself wrote.
    """
    events: list[Event] = [LeaseGone()]
    if delivery.phase is Phase.ENDED:
        return [*events, RenewalDue(), Renewed(), Written(version="v9"), Done(), Returned(result="1")]
    if delivery.renewing:
        events += [Renewed(), RenewalRefused(), RenewalUnanswered()]
    else:
        events.append(RenewalDue())
    return [*events, *_replies_to(delivery, records)]


def _replies_to(delivery: Delivery, records: Iterable[Record | None]) -> list[Event]:
    own = [] if delivery.goal is None or delivery.goal.draft is None else [delivery.goal.draft]
    found: list[Event] = [
        Found(record=record, version=None if record is None else "v5") for record in [*records, delivery.record, *own]
    ]
    match delivery.phase:
        case Phase.NEW:
            return [Received(), Received(rejected="undecodable")]
        case Phase.READING_RECORD | Phase.READING_BACK:
            return [*found, NoReply()]
        case Phase.READING_PRESENCE:
            assert delivery.record is not None
            owner = delivery.record.owner
            presences = [None, *(presence_of(owner, boot_id=boot, process=process) for boot, process in _PRESENCES)]
            return [*(PresenceFound(presence=presence) for presence in presences), NoReply()]
        case Phase.WRITING:
            return [Written(version="v7"), Refused(), NoReply(), TimeUp()]
        case Phase.RUNNING:
            ends = [Interrupted(end=end) for end in (End.EVICTION, End.STOP)]
            return [Checkpointed(progress="1"), Returned(result="2"), Failed(error="e", pause_s=3.0), *ends]
        case Phase.PUTTING:
            return [Done(), NoReply()]
        case Phase.DELETING | Phase.RELEASING if delivery.renewing:
            return []
        case _:
            return [Done(), Refused(), NoReply()]


_PRESENCES: tuple[tuple[str | None, str | None], ...] = (
    (None, None),
    ("boot-9", None),
    (None, "process-9"),
    (None, "process-1"),
)
