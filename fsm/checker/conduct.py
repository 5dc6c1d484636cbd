"""What a delivery may do, step by step: every call, every row and every end of it needs a reason.

A promise is broken by what comes of a step, and often only much later and by a second fault. Here a step is judged by
itself: by what the delivery knew, what happened, and what it did. Nothing is said of how it decides.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from fsm.checker.breach import Breach
from fsm.delivery import (
    Call,
    Checkpointed,
    Delete,
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
    PutPoison,
    ReadPresence,
    ReadRecord,
    Received,
    Refused,
    Release,
    Renew,
    RenewalDue,
    RenewalRefused,
    RenewalUnanswered,
    Renewed,
    Returned,
    Step,
    TimeUp,
    WriteRecord,
    Written,
    call_of,
)
from fsm.job import ENDED, JobFact, JobState, JobTrigger
from fsm.promises import Promise
from fsm.record import Status

UNBEGUN_OR_RUNNING = (JobState.RECEIVED, JobState.RUNNING)
_DOUBT = (NoReply, TimeUp)
"""The events that tell nothing of a call."""


def judge_step(
    before: Delivery,
    event: Event,
    draining: bool,  # noqa: FBT001 -- as the seam it judges
    step: Step,
) -> tuple[Breach, ...]:
    """What is wrong with this step, wherever it leads."""
    if before.phase is Phase.ENDED:
        idle = step == Step(delivery=before)
        return () if idle else (Breach(Promise.PROGRESS_NEVER_BACK, "the delivery has ended, and goes on"),)
    return (
        *_of_the_drain(before, event, step, draining=draining),
        *_of_the_lease(before, event, step),
        *_of_the_call(before, event, step),
        *_of_the_rows(before, event, step),
        *_of_the_knowledge(before, event, step),
        *_of_the_handler(before, event, step),
        *_of_the_end(before, event, step),
    )


def _of_the_drain(before: Delivery, event: Event, step: Step, *, draining: bool) -> Iterator[Breach]:
    """In a drain nothing is claimed, and only in a drain is a job handed back unbegun, its claim closed."""
    record, unbegun = step.delivery.record, before.state is JobState.RECEIVED
    claimed = record is not None and record.owner == before.owner and record.status is Status.OPEN
    if claimed and unbegun and step.delivery.state is JobState.RELEASED and not isinstance(event, TimeUp):
        yield Breach(Promise.EVICTION_IS_NOT_FAILURE, "a job is handed back unbegun, and its claim is left open")
    written = step.call.record if isinstance(step.call, WriteRecord) else None
    claims = written is not None and written.status is Status.OPEN
    again = before.goal is not None and written == before.goal.draft
    if draining and unbegun and claims and not again:
        yield Breach(Promise.NO_WORK_AFTER_NOTICE, "a job is claimed in a drain")
    asks = step.call is not None and step.delivery.phase in (Phase.READING_RECORD, Phase.READING_PRESENCE)
    if draining and unbegun and asks and not isinstance(step.call, Renew):
        yield Breach(
            Promise.DRAINED_IN_TIME, "a job that has not begun waits in a drain for what the store knows of it"
        )
    if not draining and any(JobFact.DRAINING in taken.facts for taken in step.taken):
        yield Breach(Promise.ALWAYS_COMES_BACK, "a job is handed back unbegun, and nobody drains")


def _of_the_lease(before: Delivery, event: Event, step: Step) -> Iterator[Breach]:
    """A lease that is lost ends the delivery; one that is renewed changes nothing else."""
    after = step.delivery
    lost = isinstance(event, RenewalRefused) and before.state in UNBEGUN_OR_RUNNING
    if isinstance(event, LeaseGone) or lost:
        abandoned = before.state not in UNBEGUN_OR_RUNNING or after.state is JobState.ABANDONED
        if after.phase is not Phase.ENDED or not abandoned or not step.taken:
            yield Breach(Promise.PROGRESS_NEVER_BACK, "it knows that its lease is lost, and goes on")
    elif isinstance(event, RenewalDue | Renewed | RenewalRefused | RenewalUnanswered):
        asked = isinstance(event, RenewalDue) and isinstance(step.call, Renew)
        held_back = before.calling_queue and not isinstance(event, RenewalDue)
        idle = step.call is None or asked or (held_back and isinstance(step.call, Delete | Release))
        renewing = asked or (before.renewing and isinstance(event, RenewalDue))
        if not idle or after != replace(before, renewing=renewing):
            yield Breach(Promise.ROW_BY_ROW, "a renewal changes more than the lease")
    if isinstance(step.call, Delete | Release) and after.renewing:
        yield Breach(Promise.RELEASED_AT_ONCE, "a queue call is sent while a renewal is in flight")


def _of_the_call(before: Delivery, event: Event, step: Step) -> Iterator[Breach]:
    """Each call has its reason: what is known is not asked, what was answered is not asked again."""
    call, waiting = step.call, before.phase not in (Phase.NEW, Phase.RUNNING)
    if call is None:
        return
    if step.delivery.state is JobState.ABANDONED:
        yield Breach(Promise.PROGRESS_NEVER_BACK, "the delivery is abandoned, and it calls")
    if waiting and not isinstance(event, (*_DOUBT, Renewed, RenewalRefused, RenewalUnanswered)):
        if call == call_of(replace(before, renewing=False)):
            yield Breach(Promise.ALWAYS_COMES_BACK, "a call that was answered is made again")
        if before.calling_queue and isinstance(event, Done | Refused):
            yield Breach(Promise.PROGRESS_NEVER_BACK, "the message is out of its hands, and it calls again")
    if not _has_a_reason(before, event, call, step.delivery):
        yield Breach(_AT_STAKE.get(type(call), Promise.ALWAYS_COMES_BACK), f"{type(call).__name__} without a reason")


_AT_STAKE: dict[type[Call], Promise] = {
    Delete: Promise.NOTHING_LOST,
    PutPoison: Promise.NOTHING_LOST,
    WriteRecord: Promise.PROGRESS_NEVER_BACK,
    Release: Promise.RELEASED_AT_ONCE,
}
"""What a call may break that is made without a reason; a read or a renewal only costs time."""


def _has_a_reason(before: Delivery, event: Event, call: Call, after: Delivery) -> bool:
    if isinstance(call, ReadRecord | ReadPresence | WriteRecord) and not before.stored:
        return False
    if isinstance(call, PutPoison | Delete) and isinstance(event, _DOUBT):
        return after.phase is before.phase
    match call:
        case Renew():
            return isinstance(event, RenewalDue) and not before.calling_queue
        case ReadRecord() if after.phase is Phase.READING_BACK:
            return before.phase in (Phase.WRITING, Phase.READING_BACK) and isinstance(event, (*_DOUBT, Refused))
        case ReadRecord():
            first = isinstance(event, Received) and before.epoch > 1
            return first or (isinstance(event, NoReply) and before.phase is Phase.READING_RECORD)
        case ReadPresence(owner=owner):
            found = event.record if isinstance(event, Found) else before.record
            known = found is not None and found.status is Status.OPEN and found.epoch < before.epoch
            return known and found is not None and found.owner == owner
        case WriteRecord(record=record, expected=expected):
            own = (record.epoch, record.owner) == (before.epoch, before.owner)
            closing = isinstance(event, Written) and record.status is Status.RELEASED
            news = record != after.record and expected == after.version
            return own and news and (closing or isinstance(event, _WRITES_AFTER))
        case PutPoison():
            return after.state is JobState.POISONED or (not after.stored and after.state in UNBEGUN_OR_RUNNING)
        case Delete():
            over = after.state in (JobState.COMPLETED, JobState.POISONED)
            return over or (not after.stored and after.state is JobState.RUNNING)
        case Release(pause_s=pause_s):
            pause_asked_s = after.goal.pause_s if after.goal and after.goal.trigger is JobTrigger.FAIL else 0.0
            return after.state is JobState.RELEASED and pause_s == pause_asked_s


_WRITES_AFTER = (Received, Found, PresenceFound, Checkpointed, Returned, Failed, Interrupted, Done)
"""What can be a reason to write: something new to say, or the knowledge that the last write was not applied."""


def _of_the_rows(before: Delivery, event: Event, step: Step) -> Iterator[Breach]:
    """The job's state changes by rows alone, by those of the goal, and with a job store not before a reply."""
    state, goal = before.state, before.goal
    for taken in step.taken:
        if taken.state_before is not state:
            yield Breach(Promise.ROW_BY_ROW, f"row {taken.row.id} is taken in {taken.state_before}, and it is {state}")
        state = taken.row.after(taken.state_before)
        if taken.trigger in (JobTrigger.BEGIN, JobTrigger.LOSE_LEASE):
            continue
        given_up = isinstance(event, TimeUp) and taken.trigger is JobTrigger.INTERRUPT
        meant = goal is not None and (
            taken.trigger is goal.trigger or (given_up and goal.trigger is JobTrigger.CHECKPOINT)
        )
        if before.stored and not (meant and isinstance(event, Written | Found | TimeUp)):
            yield Breach(Promise.ROW_BY_ROW, f"row {taken.row.id} is taken, and nothing has been written for it")
    if step.delivery.state is not state:
        yield Breach(Promise.ROW_BY_ROW, f"no row leads from {before.state} to {step.delivery.state}")


def _of_the_knowledge(before: Delivery, event: Event, step: Step) -> Iterator[Breach]:
    """A delivery keeps what it is told: the version of its write, and that the message is deleted."""
    after = step.delivery
    if isinstance(event, Written) and after.version != event.version:
        yield Breach(Promise.PROGRESS_NEVER_BACK, "it takes its write for another version than the store has")
    if isinstance(event, Found) and after.phase is not Phase.ENDED:
        read = before.phase is not Phase.READING_RECORD or after.record == event.record
        if not read or after.version != event.version:
            yield Breach(Promise.PROGRESS_NEVER_BACK, "it takes the record for another than the store has")
    deleted = isinstance(event, Done) and before.phase is Phase.DELETING
    if after.delete_confirmed is not (before.delete_confirmed or deleted):
        yield Breach(Promise.NO_EFFECT_TWICE, "what it says of its delete is not what the queue said")


def _of_the_handler(before: Delivery, event: Event, step: Step) -> Iterator[Breach]:
    """A handler begins once, goes on once its checkpoint is saved, and is done when it says so."""
    after = step.delivery
    if isinstance(event, Checkpointed) and before.stored:
        saving = isinstance(step.call, WriteRecord) and step.call.record.progress == event.progress
        if not saving:
            yield Breach(Promise.PROGRESS_NEVER_BACK, "a handler has progress, and it is not written")
    if after.phase is not Phase.RUNNING or isinstance(event, RenewalDue | Renewed | RenewalUnanswered):
        return
    triggers = [taken.trigger for taken in step.taken if taken.row.after(taken.state_before) is JobState.RUNNING]
    if before.state is JobState.RECEIVED and JobTrigger.BEGIN not in triggers:
        yield Breach(Promise.ROW_BY_ROW, "a handler runs, and no row has begun it")
    if before.state is JobState.RUNNING and JobTrigger.CHECKPOINT not in triggers:
        yield Breach(Promise.PROGRESS_NEVER_BACK, "a handler goes on, and nothing says that its checkpoint is saved")


_ENDS_AFTER = (LeaseGone, RenewalRefused, Done, Refused, Found, PresenceFound)
"""What can end a delivery: a lease that is lost, the last queue call answered, a record that is another's."""


def _of_the_end(before: Delivery, event: Event, step: Step) -> Iterator[Breach]:
    if step.delivery.phase is not Phase.ENDED or before.phase is Phase.ENDED:
        return
    if not isinstance(event, _ENDS_AFTER):
        yield Breach(Promise.ALWAYS_COMES_BACK, "a delivery ends, and nothing has ended it")
    if step.delivery.state not in ENDED:
        yield Breach(Promise.ROW_BY_ROW, f"a delivery ends, and its job is {step.delivery.state}")
