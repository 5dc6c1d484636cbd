"""The delivery protocol's steps, found by running it.

`fsm.delivery.advance` is code, not a table. Here it gets every kind of event in every phase, from every kind of
delivery that can come there, and each step is noted with the *facts* that held before it. The facts decide: should the
code ever look at something that none of them names, two steps with the same facts would end differently, and exploring
fails.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from enum import StrEnum
from functools import cache

from fsm.delivery import (
    Checkpointed,
    Delivery,
    Done,
    Event,
    Failed,
    Found,
    Goal,
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
    TimeUp,
    Written,
    advance,
    event_name,
)
from fsm.job import ENDED, JOB, JobState, JobTrigger
from fsm.record import DEATHS_MAX, FAILURES_MAX, Counts, End, Owner, Presence, Record, Status


class ProtocolFact(StrEnum):
    """What the steps depend on besides the phase and the event. Of two guards as short, the one that is told first."""

    SETTLED = "settled"
    """The job machine has ended; only queue calls are left."""
    DRAINING = "draining"
    STORED = "stored"
    """The worker has a job store."""
    FIRST_DELIVERY = "first delivery"
    REJECTED = "rejected"
    """The message cannot be decoded, or is too large."""
    BUDGET_SPENT = "budget spent"
    """No failure is left or, without a store, the message came too often."""
    BEGUN = "begun"
    """The handler runs, or has just ended."""
    CLAIM = "for a claim"
    CHECKPOINT = "for a checkpoint"
    RESULT = "for the result"
    REJECTION = "for a rejection"
    DEATHS = "for spent deaths"
    FAILURES = "for spent failures"
    UNBEGUN = "for an unbegun release"
    RETRY = "for a retry"
    RELEASE = "for a release"
    AS_WRITTEN = "as written"
    """The record found is the very document that was sent."""
    NOT_WRITTEN = "not written"
    """It is at the version last known, or this delivery's own and older."""
    NEWER = "another's"
    """Another delivery has the message."""
    ABSENT = "absent"
    OPEN = "open"
    RELEASED = "released"
    DONE = "done"
    POISONED = "poisoned"


F = ProtocolFact

_GOALS = {
    (JobTrigger.BEGIN, JobState.RUNNING): F.CLAIM,
    (JobTrigger.BEGIN, JobState.RELEASED): F.UNBEGUN,
    (JobTrigger.BEGIN, JobState.POISONED): F.DEATHS,
    (JobTrigger.REJECT, JobState.POISONED): F.REJECTION,
    (JobTrigger.CHECKPOINT, None): F.CHECKPOINT,
    (JobTrigger.FINISH, JobState.COMPLETED): F.RESULT,
    (JobTrigger.FAIL, JobState.RELEASED): F.RETRY,
    (JobTrigger.FAIL, JobState.POISONED): F.FAILURES,
    (JobTrigger.INTERRUPT, JobState.RELEASED): F.RELEASE,
}
"""What a write or a queue call is for, by the event it makes true and where the job table leads on it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ProtocolStep:
    """One step.

    Attributes:
        phase, event: where, and what happened.
        facts: what held before.
        after: the next phase.
        rows: the rows of the job table taken.
        has_new_goal: whether the next call is for something else than the last one.
    """

    phase: Phase
    event: str
    facts: frozenset[ProtocolFact]
    after: Phase
    rows: tuple[str, ...]
    has_new_goal: bool


_THIS = Owner(vm_id="vm-1", boot_id="boot-1", instance="0", process="process-1", token="this")  # noqa: S106 -- no secret
_OTHER = Owner(vm_id="vm-2", boot_id="boot-2", instance="0", process="process-2", token="other")  # noqa: S106
_VERSION, _OTHER_VERSION = "version", "another version"
_EPOCHS = {True: (1, 2), False: (1, 2, FAILURES_MAX, DEATHS_MAX + 1)}
"""The dequeue counts that make a difference, with a store and without."""


@cache
def protocol_steps() -> tuple[ProtocolStep, ...]:
    """Every step of the protocol; two that differ in nothing but their data are one.

    Raises:
        AssertionError: the facts do not decide a step.
    """
    waiting = [
        Delivery(epoch=epoch, owner=_THIS, stored=stored) for stored, epochs in _EPOCHS.items() for epoch in epochs
    ]
    known = set(waiting)
    found: dict[tuple[Phase, str, frozenset[ProtocolFact]], ProtocolStep] = {}
    for delivery in waiting:  # it grows
        for event in _events(delivery):
            for draining in (True,) if isinstance(event, TimeUp) else (False, True):
                step = advance(delivery, event, draining=draining, decide=JOB.row_for)
                seen = ProtocolStep(
                    phase=delivery.phase,
                    event=event_name(event),
                    facts=_facts(delivery, event, draining=draining),
                    after=step.delivery.phase,
                    rows=tuple(taken.row.id for taken in step.taken),
                    has_new_goal=step.delivery.goal != delivery.goal,
                )
                first = found.setdefault((seen.phase, seen.event, seen.facts), seen)
                assert first == seen, f"the facts do not decide {seen} and {first}"
                after = replace(step.delivery, attempt=0)
                if after not in known and after.phase is not Phase.ENDED:
                    known.add(after)
                    waiting.append(after)
    return tuple(found.values())


# -- what can happen -----------------------------------------------------------------------------------------------


def _events(d: Delivery) -> Iterator[Event]:
    """Every kind of event that can come next."""
    yield LeaseGone()
    if d.renewing:
        yield from (Renewed(), RenewalRefused(), RenewalUnanswered())
    else:
        yield RenewalDue()
    match d.phase:
        case Phase.NEW:
            yield from (Received(), Received(rejected="not a job"))
        case Phase.READING_RECORD:
            yield from _finds(d)
            yield NoReply()
        case Phase.READING_BACK:
            yield from _finds(d)
            yield from (NoReply(), TimeUp())
        case Phase.READING_PRESENCE:
            yield from (PresenceFound(presence=None), NoReply())
            for boot in ("boot-2", "boot-3"):
                held = Presence(vm_id="vm-2", vm_name="vm", boot_id=boot, instance="0", process="process-3")
                yield PresenceFound(presence=held)
        case Phase.WRITING:
            yield from (Written(version=_VERSION), Refused(), NoReply(), TimeUp())
        case Phase.RUNNING:
            yield from (Checkpointed(progress="1"), Returned(result="2"), Failed(error="error", pause_s=1.0))
            yield Interrupted(end=End.EVICTION)
        case Phase.PUTTING:
            yield from (Done(), NoReply())
        case Phase.DELETING | Phase.RELEASING if not d.renewing:
            yield from (Done(), Refused(), NoReply())
        case _:
            pass


def _finds(d: Delivery) -> Iterator[Found]:
    """Every kind of record that a read can find: none, another's of each age, and this delivery's own."""
    yield Found(record=None, version=None)
    spent = Counts(failures=FAILURES_MAX - 1, deaths=DEATHS_MAX - 1, fruitless_deaths=DEATHS_MAX - 1)
    older = Record(epoch=d.epoch - 1, owner=_OTHER)
    newer = Record(epoch=d.epoch + 1, owner=_OTHER)
    others = [newer, newer.released(End.EVICTION), newer.done("3"), newer.poisoned("error")]
    if older.epoch >= 1:
        others += [older, older.released(End.EVICTION), replace(older, counts=spent)]
        others += [older.done("3"), older.poisoned("error"), replace(older, counts=spent).released(End.EVICTION)]
    yield from (Found(record=record, version=_OTHER_VERSION) for record in others)
    draft = None if d.goal is None else d.goal.draft
    if draft is not None:
        yield from (Found(record=own, version=_OTHER_VERSION) for own in (draft, replace(draft, progress="0")))
    if d.version is not None:
        yield Found(record=d.record, version=d.version)


# -- what held -----------------------------------------------------------------------------------------------------


def _facts(d: Delivery, event: Event, *, draining: bool) -> frozenset[ProtocolFact]:
    signs = {
        F.SETTLED: d.state in ENDED,
        F.DRAINING: draining,
        F.STORED: d.stored,
        F.FIRST_DELIVERY: d.epoch == 1,
        F.REJECTED: isinstance(event, Received) and event.rejected is not None,
        F.BUDGET_SPENT: _is_budget_spent(d),
        F.BEGUN: d.state is JobState.RUNNING,
    }
    held = {fact for fact, holds in signs.items() if holds}
    if d.goal is not None and d.state not in ENDED:
        held.add(_purpose(d.state, d.goal))
    if isinstance(event, Found):
        held.add(_kind(d, event))
    return frozenset(held)


def _is_budget_spent(d: Delivery) -> bool:
    if d.phase is Phase.NEW:
        return not d.stored and d.epoch > DEATHS_MAX
    if d.phase is not Phase.RUNNING:
        return False
    return d.own.ended(End.FAILURE).counts.budget_spent if d.stored else d.epoch >= FAILURES_MAX


def _purpose(state: JobState, goal: Goal) -> ProtocolFact:
    """What the call in flight is for."""
    return _GOALS[goal.trigger, JOB.row_for(state, goal.trigger, goal.facts).dest]


def _kind(d: Delivery, event: Found) -> ProtocolFact:
    """What a record that was found means to this delivery."""
    found = event.record
    draft = None if d.goal is None else d.goal.draft
    if draft is not None:
        if found == draft:
            return F.AS_WRITTEN
        ours = found is not None and (found.epoch, found.owner) == (draft.epoch, draft.owner)
        if ours or event.version == d.version:
            return F.NOT_WRITTEN
        if d.state is JobState.RUNNING:
            return F.NEWER
    if found is None:
        return F.ABSENT if draft is None else F.NEWER
    if found.status in (Status.OPEN, Status.RELEASED) and found.epoch >= d.epoch:
        return F.NEWER
    return F(found.status.value)
