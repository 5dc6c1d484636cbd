"""The delivery protocol, as a pure step machine: one delivery of one message, from receive to its end.

Theory of operation
-------------------
`advance` takes a delivery and what just happened, and returns the delivery as it stands now, the rows it took in the
job table, and at most one *call* to make on the world. The runner makes the call and feeds the reply back; the
explorer feeds every reply there can be, crashes and lost replies included. Both run this very code, so the order of
effects is proved where it is decided:

* *Order.* A delivery has a *goal*: an event of the job table, and the proof that makes it true. With a store the
  proof is a conditional write of the record; without one it is the delete or the poison put. The event fires when the
  proof is there, and only then follow the calls that would be unsafe without it (delete, release, poison put).
* *Fence.* Each write is conditional on the version this delivery last knew. After a refusal or a lost reply the
  record is read: the very document means it was applied; ours but older, or still what it was (absent included), means
  it was not, and the same document is sent again; anything else means another delivery has the message.
* *Serial queue calls.* A renewal in flight holds back a delete or a release until its reply, because the reply brings
  the only pop receipt that still works.

The numbered rules behind this are in words in `fsm.protocol_rules`.
Nothing here waits, draws randomness or reads a clock.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection
from dataclasses import dataclass, replace
from enum import StrEnum
from functools import cache
from typing import assert_never

from fsm.job import JobFact, JobRow, JobState, JobTrigger
from fsm.record import DEATHS_MAX, FAILURES_MAX, End, Owner, Presence, Record, Status

Decide = Callable[[JobState, JobTrigger, Collection[JobFact]], JobRow]
"""`fsm.engine.Engine.fire` in production, `fsm.table.Table.row_for` in the explorer."""


class Phase(StrEnum):
    """What a delivery is waiting for."""

    NEW = "new"
    READING_RECORD = "reading the record"
    READING_PRESENCE = "reading the last owner's presence"
    WRITING = "writing the record"
    READING_BACK = "reading back a write"
    RUNNING = "running"
    PUTTING = "putting the poison message"
    DELETING = "deleting"
    RELEASING = "releasing"
    ENDED = "ended"


# -- what can happen -------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Received:
    """The message is here; `rejected` says why it cannot be a job, if it cannot."""

    rejected: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """The store answered a read: the record and its version, or None and None for "absent"."""

    record: Record | None
    version: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class PresenceFound:
    """The store answered who stands for the last owner's instance now, or None for nobody ever."""

    presence: Presence | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """The conditional write was applied."""

    version: str


@dataclass(frozen=True, slots=True)
class Done:
    """A queue call was applied."""


@dataclass(frozen=True, slots=True)
class Refused:
    """The receipt is stale, or the record is not at the expected version."""


@dataclass(frozen=True, slots=True)
class NoReply:
    """The call failed in a way that leaves open whether it was applied."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpointed:
    """The handler asks for its progress to be saved (canonical JSON)."""

    progress: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Returned:
    """The handler returned (canonical JSON)."""

    result: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Failed:
    """The handler raised; the message may come back after the pause."""

    error: str
    pause_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Interrupted:
    """The handler has let go because of an eviction or an operator's stop."""

    end: End


@dataclass(frozen=True, slots=True)
class RenewalDue:
    """Time to renew the lease."""


@dataclass(frozen=True, slots=True)
class Renewed:
    """The renewal was applied; the runner keeps the new receipt."""


@dataclass(frozen=True, slots=True)
class RenewalRefused:
    """The renewal's receipt is stale: another delivery has the message."""


@dataclass(frozen=True, slots=True)
class RenewalUnanswered:
    """The renewal may or may not have been applied; it will be tried again."""


@dataclass(frozen=True, slots=True)
class LeaseGone:
    """The lease ran out by our clock, or the same message was delivered to this process again."""


@dataclass(frozen=True, slots=True)
class TimeUp:
    """The drain has no time left for a store that does not answer."""


Event = (
    Received | Found | PresenceFound | Written | Done | Refused | NoReply | Checkpointed | Returned | Failed
    | Interrupted | RenewalDue | Renewed | RenewalRefused | RenewalUnanswered | LeaseGone | TimeUp
)  # fmt: skip


def event_name(event: Event) -> str:
    """An event's class as words: `RenewalDue` is "renewal due"."""
    return _as_words(type(event).__name__)


@cache
def _as_words(name: str) -> str:
    return re.sub(r"(?<!^)(?=[A-Z])", " ", name).lower()


# -- what can be asked of the world ----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class ReadRecord:
    """Read the record and its version."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadPresence:
    """Read who stands for this owner's instance now."""

    owner: Owner


@dataclass(frozen=True, slots=True, kw_only=True)
class WriteRecord:
    """Write the record if it is at `expected`; None means "if it is absent"."""

    record: Record
    expected: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class PutPoison:
    """Put the message on the poison queue, with the reason."""

    reason: str


@dataclass(frozen=True, slots=True)
class Delete:
    """Delete the message under the newest receipt."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Release:
    """Make the message visible again after the pause; 0 is at once."""

    pause_s: float


@dataclass(frozen=True, slots=True)
class Renew:
    """Extend the lease; the reply brings a new receipt."""


Call = ReadRecord | ReadPresence | WriteRecord | PutPoison | Delete | Release | Renew


@dataclass(frozen=True, slots=True, kw_only=True)
class Taken:
    """A row the delivery took, for the journal."""

    trigger: JobTrigger
    facts: frozenset[JobFact]
    row: JobRow
    state_before: JobState


@dataclass(frozen=True, slots=True, kw_only=True)
class Goal:
    """An event of the job table that fires once its proof is there.

    Attributes:
        trigger, facts: the event.
        draft: the record whose write is the proof, or None where the proof is a queue call or is already there.
        pause_s: for a release, how long the message stays hidden.
        reason: for poison, why.
    """

    trigger: JobTrigger
    facts: frozenset[JobFact]
    draft: Record | None = None
    pause_s: float = 0.0
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """One delivery as it stands.

    Attributes:
        epoch: the message's dequeue count.
        owner: this delivery, with a token of its own.
        stored: whether the worker has a job store.
        state: in the job table.
        phase: what is being waited for.
        record, version: the record as this delivery last knew it; None and None is "absent, as far as known".
        rejected: why the message cannot be a job, if so.
        goal: what the calls in flight are for.
        attempt: how often the present call went unanswered in a row.
        renewing: whether a renewal is in flight.
        delete_confirmed: whether the queue confirmed the delete, so that the record may be pruned one day.
    """

    epoch: int
    owner: Owner
    stored: bool
    state: JobState = JobState.RECEIVED
    phase: Phase = Phase.NEW
    record: Record | None = None
    version: str | None = None
    rejected: str | None = None
    goal: Goal | None = None
    attempt: int = 0
    renewing: bool = False
    delete_confirmed: bool = False

    @property
    def own(self) -> Record:
        """The record as it would stand with this delivery's claim: a first write claims."""
        return self.record or Record(epoch=self.epoch, owner=self.owner)

    @property
    def calling_queue(self) -> bool:
        """Whether a delete or a release is in flight or held back."""
        return self.phase in (Phase.DELETING, Phase.RELEASING)


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """What `advance` returns: the delivery now, at most one call to make, and the rows taken on the way."""

    delivery: Delivery
    call: Call | None = None
    taken: tuple[Taken, ...] = ()


def advance(delivery: Delivery, event: Event, *, draining: bool, decide: Decide) -> Step:
    """Take one step.

    Args:
        delivery: as the last step left it.
        event: what happened: the reply to the last call, or something from outside.
        draining: whether a notice names this VM or a stop was requested, at this moment.
        decide: the job table.

    Raises:
        AssertionError: an event that cannot happen in this phase: a bug of the caller.
    """
    return _Stepper(draining=draining, decide=decide).advance(delivery, event)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Stepper:
    """The rules, with the two things every one of them may look at."""

    draining: bool
    decide: Decide

    def advance(self, d: Delivery, event: Event) -> Step:
        if d.phase is Phase.ENDED:  # a late reply, or a handler that outlived its delivery
            return Step(delivery=d)
        match event:
            case RenewalDue() | Renewed() | RenewalRefused() | RenewalUnanswered():
                return self._renewal(d, event)
            case LeaseGone():
                return self._lose(d)
            case TimeUp():
                return self._give_up_saving(d)
            case Received():
                assert d.phase is Phase.NEW
                return self._claim_first_or_read(d if event.rejected is None else replace(d, rejected=event.rejected))
            case Found() if d.phase is Phase.READING_RECORD:
                return self._consider(d, event, presence=None, presence_read=False)
            case Found():
                assert d.phase is Phase.READING_BACK
                return self._read_back(d, event)
            case PresenceFound():
                assert d.phase is Phase.READING_PRESENCE
                found = Found(record=d.record, version=d.version)
                return self._consider(d, found, presence=event.presence, presence_read=True)
            case Written():
                assert d.phase is Phase.WRITING
                return self._proved(d, version=event.version)
            case Done():
                return self._queue_call_done(d)
            case Refused():
                return self._refused(d)
            case NoReply():
                return self._unanswered(d)
            case Checkpointed() | Returned() | Failed() | Interrupted():
                assert d.phase is Phase.RUNNING, f"the handler reported in phase {d.phase}"
                return self._handler_reported(d, event)
            case _:
                assert_never(event)

    # -- claim ----------------------------------------------------------------------------------------------------

    def _claim_first_or_read(self, d: Delivery) -> Step:
        """A first delivery needs no read: nobody was before it, and its first write is create-only."""
        if self.draining:
            return self._hand_back_unbegun(d)
        if not d.stored:
            return self._begin_without_store(d)
        if d.epoch > 1:
            return _enter(replace(d, phase=Phase.READING_RECORD, attempt=0))
        if d.rejected is not None:
            return self._poison_unbegun(d, d.own, JobTrigger.REJECT, d.rejected)
        return self._pursue(d, Goal(trigger=JobTrigger.BEGIN, facts=frozenset({JobFact.FIRST_DELIVERY})))

    def _begin_without_store(self, d: Delivery) -> Step:
        """Without a store the dequeue count is all there is to judge a job by."""
        if d.rejected is not None:
            goal = Goal(trigger=JobTrigger.REJECT, facts=_storeless(JobFact.SAFE_TO_DELETE), reason=d.rejected)
        elif d.epoch > DEATHS_MAX:
            facts = _storeless(JobFact.BUDGET_SPENT, JobFact.SAFE_TO_DELETE)
            reason = f"received {d.epoch} times without an end; there is no job store to tell why"
            goal = Goal(trigger=JobTrigger.BEGIN, facts=facts, reason=reason)
        else:
            goal = Goal(trigger=JobTrigger.BEGIN, facts=_storeless())
        return self._pursue(d, goal)

    def _consider(self, d: Delivery, found: Found, *, presence: Presence | None, presence_read: bool) -> Step:
        """Judge the record that an earlier delivery left, and claim it if it may be claimed."""
        d = replace(d, record=found.record, version=found.version, attempt=0)
        if self.draining:
            return self._hand_back_unbegun(d)
        record = found.record
        if record is None:
            record = Record(epoch=d.epoch, owner=d.owner)
        elif record.status is Status.DONE:
            return self._pursue(d, Goal(trigger=JobTrigger.BEGIN, facts=frozenset({JobFact.RECORD_DONE})))
        elif record.status is Status.POISONED:
            facts = frozenset({JobFact.RECORD_POISONED})
            return self._pursue(d, Goal(trigger=JobTrigger.BEGIN, facts=facts, reason=record.error or ""))
        elif record.epoch >= d.epoch:
            return self._lose(d)
        elif record.status is Status.OPEN:
            if not presence_read:
                return _enter(replace(d, phase=Phase.READING_PRESENCE))
            record = record.ended(how_ended(record.owner, presence))
        claim = record.claimed(epoch=d.epoch, owner=d.owner)
        if d.rejected is not None:
            return self._poison_unbegun(d, claim, JobTrigger.REJECT, d.rejected)
        if claim.counts.budget_spent:
            reason = claim.error or "kills its worker"
            return self._poison_unbegun(d, claim, JobTrigger.BEGIN, reason, JobFact.BUDGET_SPENT)
        return self._pursue(d, Goal(trigger=JobTrigger.BEGIN, facts=frozenset({JobFact.CLAIMED}), draft=claim))

    def _poison_unbegun(self, d: Delivery, claim: Record, trigger: JobTrigger, reason: str, *facts: JobFact) -> Step:
        """Claim and mark in one write."""
        held = frozenset({JobFact.SAFE_TO_DELETE, *facts})
        return self._pursue(d, Goal(trigger=trigger, facts=held, draft=claim.poisoned(reason), reason=reason))

    def _hand_back_unbegun(self, d: Delivery) -> Step:
        """Nothing begins during a drain; a claim that was already made is closed."""
        ours = d.record is not None and d.record.owner == d.owner
        draft = d.own.released(End.STOP) if ours else None
        facts = frozenset({JobFact.DRAINING})
        return self._pursue(d, Goal(trigger=JobTrigger.BEGIN, facts=facts, draft=draft))

    # -- run ------------------------------------------------------------------------------------------------------

    def _handler_reported(self, d: Delivery, event: Checkpointed | Returned | Failed | Interrupted) -> Step:
        """Turn what the handler did into a goal."""
        match event:
            case Checkpointed(progress=progress):
                facts = frozenset({JobFact.FENCE_HOLDS})
                draft = d.own.saved(progress) if d.stored else None
                return self._pursue(d, Goal(trigger=JobTrigger.CHECKPOINT, facts=facts, draft=draft))
            case Returned(result=result):
                if not d.stored:
                    return self._pursue(d, Goal(trigger=JobTrigger.FINISH, facts=_storeless(JobFact.DELETED)))
                facts = frozenset({JobFact.RECORDED})
                return self._pursue(d, Goal(trigger=JobTrigger.FINISH, facts=facts, draft=d.own.done(result)))
            case Failed(error=error, pause_s=pause_s):
                return self._fail(d, error, pause_s)
            case Interrupted(end=end):
                draft = d.own.released(end) if d.stored else None
                return self._pursue(d, Goal(trigger=JobTrigger.INTERRUPT, facts=frozenset(), draft=draft))
            case _:
                assert_never(event)

    def _fail(self, d: Delivery, error: str, pause_s: float) -> Step:
        """Count the failure; the table says whether the job is tried again."""
        failed = d.own.ended(End.FAILURE)
        spent = failed.counts.budget_spent if d.stored else d.epoch >= FAILURES_MAX
        facts = frozenset({JobFact.BUDGET_SPENT, JobFact.SAFE_TO_DELETE}) if spent else frozenset()
        if not d.stored:
            facts |= _storeless()
        row = self.decide(d.state, JobTrigger.FAIL, facts)
        draft = failed.poisoned(error) if row.dest is JobState.POISONED else failed.released(End.FAILURE, error)
        goal = Goal(
            trigger=JobTrigger.FAIL, facts=facts, draft=draft if d.stored else None, pause_s=pause_s, reason=error
        )
        return self._pursue(d, goal)

    # -- goals ----------------------------------------------------------------------------------------------------

    def _pursue(self, d: Delivery, goal: Goal) -> Step:
        """Make the call that proves the goal, or reach it at once where nothing has to be proved."""
        if goal.draft is not None:
            return _enter(replace(d, goal=goal, phase=Phase.WRITING, attempt=0))
        if not d.stored and JobFact.SAFE_TO_DELETE in goal.facts:
            return _enter(replace(d, goal=goal, phase=Phase.PUTTING, attempt=0))
        if not d.stored and JobFact.DELETED in goal.facts:
            return _enter(replace(d, goal=goal, phase=Phase.DELETING, attempt=0))
        return self._reach(d, goal)

    def _proved(self, d: Delivery, *, version: str) -> Step:
        """The write was applied: the goal is reached, unless a drain has begun before the job did."""
        goal = d.goal
        assert goal is not None
        assert goal.draft is not None
        d = replace(d, record=goal.draft, version=version)
        claimed = goal.trigger is JobTrigger.BEGIN and JobFact.CLAIMED in goal.facts
        if claimed and self.draining:
            return self._hand_back_unbegun(d)
        return self._reach(d, goal)

    def _reach(self, d: Delivery, goal: Goal) -> Step:
        """Fire the goal's event, and go on to what its new state asks for."""
        row = self.decide(d.state, goal.trigger, goal.facts)
        taken = Taken(trigger=goal.trigger, facts=goal.facts, row=row, state_before=d.state)
        state = row.after(d.state)
        kept = None if state is JobState.RUNNING else goal
        return _enter(replace(d, state=state, phase=_phase_after(state, d, goal), goal=kept, attempt=0), taken)

    def _lose(self, d: Delivery) -> Step:
        """Somebody else has the message, or may have it: not another write, not another queue call."""
        row = self.decide(d.state, JobTrigger.LOSE_LEASE, frozenset())
        taken = Taken(trigger=JobTrigger.LOSE_LEASE, facts=frozenset(), row=row, state_before=d.state)
        return _enter(replace(d, state=row.after(d.state), phase=Phase.ENDED), taken)

    def _give_up_saving(self, d: Delivery) -> Step:
        """Out of time: a job that cannot be saved is handed back as its last checkpoint left it.

        The write in flight may still land; it is fenced, so that it can only land before the next claim. A checkpoint
        is given up with its job. A done or poison mark is read back like any other write that went unanswered.
        """
        goal = d.goal
        assert d.phase in (Phase.WRITING, Phase.READING_BACK), f"time ran out for a write in phase {d.phase}"
        assert goal is not None
        if d.state is JobState.RECEIVED and self.draining:
            goal = Goal(trigger=JobTrigger.BEGIN, facts=frozenset({JobFact.DRAINING}))
        elif goal.trigger is JobTrigger.CHECKPOINT:
            goal = Goal(trigger=JobTrigger.INTERRUPT, facts=frozenset())
        if self.decide(d.state, goal.trigger, goal.facts).dest is not JobState.RELEASED:
            return self._unanswered(d)
        return self._reach(d, goal)

    # -- replies --------------------------------------------------------------------------------------------------

    def _read_back(self, d: Delivery, found: Found) -> Step:
        """Tell whether the write that got no clear answer was applied: rules 3 and 4 of the protocol."""
        goal = d.goal
        assert goal is not None
        draft = goal.draft
        assert draft is not None
        if found.record == draft:
            assert found.version is not None
            return self._proved(d, version=found.version)
        ours = found.record is not None and (found.record.epoch, found.record.owner) == (draft.epoch, draft.owner)
        unchanged = found.version == d.version
        if ours or unchanged:
            return _enter(replace(d, phase=Phase.WRITING, version=found.version, attempt=d.attempt + 1))
        if d.state is JobState.RECEIVED and found.record is not None and not _is_claim_lost(d, found.record):
            return self._consider(d, found, presence=None, presence_read=False)
        return self._lose(d)

    def _queue_call_done(self, d: Delivery) -> Step:
        goal = d.goal
        assert goal is not None
        match d.phase:
            case Phase.PUTTING if d.stored:
                return _enter(replace(d, phase=Phase.DELETING, attempt=0))
            case Phase.PUTTING:
                return self._reach(d, goal)
            case Phase.DELETING if d.state is JobState.RUNNING:
                return self._reach(replace(d, delete_confirmed=True), goal)
            case Phase.DELETING:
                return _enter(replace(d, phase=Phase.ENDED, delete_confirmed=True))
            case Phase.RELEASING:
                return _enter(replace(d, phase=Phase.ENDED))
            case _:
                raise AssertionError(f"a queue call was answered in phase {d.phase}")

    def _refused(self, d: Delivery) -> Step:
        match d.phase:
            case Phase.WRITING:
                return _enter(replace(d, phase=Phase.READING_BACK))
            case Phase.DELETING if d.state is JobState.RUNNING:
                return self._lose(d)
            case Phase.DELETING | Phase.RELEASING:
                return _enter(replace(d, phase=Phase.ENDED))
            case _:
                raise AssertionError(f"a call was refused in phase {d.phase}")

    def _unanswered(self, d: Delivery) -> Step:
        """Make the same call again; but a write is read back first, and nothing is claimed in a drain."""
        assert d.phase not in (Phase.NEW, Phase.RUNNING), f"a call went unanswered in phase {d.phase}"
        d = replace(d, attempt=d.attempt + 1)
        if self.draining and d.phase in (Phase.READING_RECORD, Phase.READING_PRESENCE):
            return self._hand_back_unbegun(d)
        return _enter(replace(d, phase=Phase.READING_BACK) if d.phase is Phase.WRITING else d)

    # -- the lease ------------------------------------------------------------------------------------------------

    def _renewal(self, d: Delivery, event: RenewalDue | Renewed | RenewalRefused | RenewalUnanswered) -> Step:
        match event:
            case RenewalDue():
                if d.renewing or d.calling_queue:
                    return Step(delivery=d)
                return Step(delivery=replace(d, renewing=True), call=Renew())
            case Renewed() | RenewalUnanswered():
                return self._after_renewal(replace(d, renewing=False))
            case RenewalRefused():
                d = replace(d, renewing=False)
                lost = d.state in (JobState.RECEIVED, JobState.RUNNING)
                return self._lose(d) if lost else self._after_renewal(d)
            case _:
                assert_never(event)

    def _after_renewal(self, d: Delivery) -> Step:
        """Let the call go that waited for this renewal's reply."""
        return _enter(d) if d.calling_queue else Step(delivery=d)


def _phase_after(state: JobState, d: Delivery, goal: Goal) -> Phase:
    """What a delivery does next once its goal has led to this state."""
    match state:
        case JobState.RUNNING:
            return Phase.RUNNING
        case JobState.COMPLETED:
            return Phase.ENDED if JobFact.DELETED in goal.facts else Phase.DELETING
        case JobState.POISONED:
            return Phase.PUTTING if d.stored else Phase.DELETING
        case JobState.RELEASED:
            return Phase.RELEASING
        case JobState.RECEIVED | JobState.ABANDONED:
            raise AssertionError(f"goal {goal.trigger} led to {state}")
        case _:
            assert_never(state)


def _enter(d: Delivery, *taken: Taken) -> Step:
    """The step into the delivery's present phase: with the call that this phase makes, if it makes one now."""
    return Step(delivery=d, call=call_of(d), taken=taken)


def call_of(d: Delivery) -> Call | None:
    """The call that a delivery makes in its phase. A delete or a release is held back while a renewal is in flight."""
    match d.phase:
        case Phase.NEW | Phase.RUNNING | Phase.ENDED:
            return None
        case Phase.READING_RECORD | Phase.READING_BACK:
            return ReadRecord()
        case Phase.READING_PRESENCE:
            assert d.record is not None
            return ReadPresence(owner=d.record.owner)
        case Phase.DELETING:
            return None if d.renewing else Delete()
        case Phase.WRITING | Phase.PUTTING | Phase.RELEASING:
            goal = d.goal
            assert goal is not None
            if d.phase is Phase.PUTTING:
                return PutPoison(reason=goal.reason)
            if d.phase is Phase.RELEASING:
                return None if d.renewing else Release(pause_s=goal.pause_s)
            assert goal.draft is not None
            return WriteRecord(record=goal.draft, expected=d.version)
        case _:
            assert_never(d.phase)


def how_ended(owner: Owner, presence: Presence | None) -> End:
    """How the delivery behind an open claim ended, judged by who stands for its instance now.

    Another boot means the VM was taken; the same boot and a later process mean that the process died; the same process,
    or no presence at all, says nothing but that the lease lapsed. Nor does an earlier process: that is a write of one
    that is dead, which was long on its way and arrived after the owner's own.
    """
    if presence is None:
        return End.LAPSE
    if presence.boot_id != owner.boot_id:
        return End.EVICTION
    return End.DEATH if presence.process > owner.process else End.LAPSE


def _is_claim_lost(d: Delivery, found: Record) -> bool:
    """Whether a refused claim is final: an open or released record of this epoch or a newer one."""
    return found.status in (Status.OPEN, Status.RELEASED) and found.epoch >= d.epoch


def _storeless(*facts: JobFact) -> frozenset[JobFact]:
    return frozenset({JobFact.STORELESS, *facts})
