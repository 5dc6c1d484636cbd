"""The promises, held against every effect: what must be true when a record is written, a message deleted, a row taken.

The judge knows the truth (which processes died, what handlers did) and never asks the protocol.
"""

from __future__ import annotations

from fsm.checker.breach import Breach
from fsm.checker.pool import Pool
from fsm.checker.scene import (
    APPLIED,
    BEFORE,
    DIED,
    EVADING,
    FAILED,
    GONE,
    HIDDEN,
    NEWEST,
    NONE,
    NOTHING,
    NOW,
    RETURNED,
    STOPPING,
    Scene,
    Slot,
)
from fsm.delivery import Delivery, Phase, Release, Taken
from fsm.job import ENDED, JobFact, JobState, JobTrigger
from fsm.promises import Promise
from fsm.record import DEATHS_MAX, FAILURES_MAX, Counts, Owner, Record, Status

TERMINAL = (Status.DONE, Status.POISONED)
ENDED_AS = {Status.DONE: 1, Status.POISONED: 2}
"""How `Scene.ended` names an end."""

OUTCOMES = {
    JobTrigger.FINISH: (JobState.COMPLETED,),
    JobTrigger.FAIL: (JobState.RELEASED, JobState.POISONED),
    JobTrigger.INTERRUPT: (JobState.RELEASED,),
    JobTrigger.REJECT: (JobState.POISONED,),
    JobTrigger.LOSE_LEASE: (JobState.ABANDONED,),
}
"""How a delivery may end once the proof of its ending is there."""


class Judge:
    """Judges effects; says nothing of how they came about."""

    def __init__(self, records: Pool[Record], *, stored: bool, rejected: bool) -> None:
        self._records = records
        self._stored = stored
        self._rejected = rejected

    # -- the store ------------------------------------------------------------------------------------------------

    def write(self, scene: Scene, number: int, told: int) -> tuple[Breach, ...]:
        """A write was applied: is the record it leaves one that may follow the record it found?"""
        old = None if scene.record == NONE else self._records[scene.record]
        new = self._records[number]
        return (
            *_overwritten(old, new),
            *self._ended(scene, new, told),
            *self._counted(old, new, told),
        )

    def _ended(self, scene: Scene, new: Record, told: int) -> tuple[Breach, ...]:
        breaches = []
        if new.status is Status.DONE:
            if told != RETURNED:
                breaches.append(Breach(Promise.NO_EFFECT_TWICE, "recorded as done, and no handler has returned"))
            if scene.ended == ENDED_AS[Status.DONE]:
                breaches.append(Breach(Promise.NO_EFFECT_TWICE, "the result is recorded a second time"))
            if scene.ended == ENDED_AS[Status.POISONED] or scene.poison:
                breaches.append(Breach(Promise.NOTHING_LOST, "the job is both poisoned and completed"))
        if new.status is Status.POISONED and scene.ended == ENDED_AS[Status.DONE]:
            breaches.append(Breach(Promise.NOTHING_LOST, "the job is both completed and poisoned"))
        return tuple(breaches)

    def _counted(self, old: Record | None, new: Record, told: int) -> tuple[Breach, ...]:
        breaches = []
        before = Counts() if old is None else old.counts
        claimed = None if old is None or old.owner == new.owner else old
        if new.counts.failures > before.failures and told != FAILED:
            breaches.append(Breach(Promise.EVICTION_IS_NOT_FAILURE, "a failure is counted, and no handler failed"))
        if new.counts.deaths > before.deaths and (claimed is None or claimed.owner.process != DIED):
            breaches.append(Breach(Promise.EVICTION_IS_NOT_FAILURE, "a death is counted, and that process did not die"))
        spent = new.counts.failures >= FAILURES_MAX or new.counts.fruitless_deaths >= DEATHS_MAX
        if new.status is Status.POISONED and not spent and not self._rejected:
            breaches.append(Breach(Promise.EVICTION_IS_NOT_FAILURE, "poisoned, and its budget is not spent"))
        if new.status not in TERMINAL and spent:
            breaches.append(Breach(Promise.NOTHING_LOST, "the budget is spent, and the job is not poisoned"))
        return (*breaches, *_tagged(old, new, told), *_kinds(old, new, told))

    def verdict(self, owner: Owner, delivery: Delivery) -> tuple[Breach, ...]:
        """A claimant has learnt who stands for the last owner's instance: does it see the end that there was?"""
        goal = delivery.goal
        if goal is None or goal.draft is None or delivery.record is None:
            return ()
        counted = goal.draft.counts.deaths > delivery.record.counts.deaths
        died = owner.process == DIED and owner.boot_id == NOW
        if died and not counted:
            return (Breach(Promise.NOTHING_LOST, "a worker that died is not counted: its killer would never end"),)
        taken_for_other = goal.draft.counts.evictions == delivery.record.counts.evictions
        if owner.boot_id == BEFORE and taken_for_other:
            return (Breach(Promise.EVICTION_IS_NOT_FAILURE, "a VM was taken, and that is not what is counted"),)
        return ()

    # -- the queue ------------------------------------------------------------------------------------------------

    def delete(self, scene: Scene) -> tuple[Breach, ...]:
        """The message is gone: is everything safe elsewhere?"""
        if not self._stored:
            safe = scene.finished or scene.poison
            return () if safe else (Breach(Promise.NOTHING_LOST, "deleted, neither run to its end nor put aside"),)
        if scene.record == NONE:
            pruned = scene.ended != 0
            return () if pruned else (Breach(Promise.NOTHING_LOST, "deleted, and there is no record of it"),)
        status = self._records[scene.record].status
        if status not in TERMINAL:
            return (Breach(Promise.NOTHING_LOST, f"deleted, and its record is {status}"),)
        if status is Status.POISONED and not scene.poison:
            return (Breach(Promise.NOTHING_LOST, "deleted, and the poison message is not put"),)
        return ()

    def put(self, scene: Scene) -> tuple[Breach, ...]:
        """A poison message was put: may this job still be completed?"""
        if self._stored and scene.ended == ENDED_AS[Status.DONE]:
            return (Breach(Promise.NOTHING_LOST, "the job is both completed and poisoned"),)
        return ()

    def left(self, scene: Scene, slot: Slot) -> tuple[Breach, ...]:
        """A delivery ended by itself: is the message out of its hands?"""
        if scene.place != HIDDEN or slot.receipt != NEWEST or scene.twins:  # of twins, one leaves it to the other
            return ()
        return (Breach(Promise.ALWAYS_COMES_BACK, "a delivery ends, and leaves its message leased to nobody"),)

    def refused_release(self, slot: Slot) -> tuple[Breach, ...]:
        """A release was refused: was it this delivery's own haste?"""
        if slot.renewal == APPLIED:
            what = "the release went out under a receipt that its own renewal had replaced"
            return (Breach(Promise.RELEASED_AT_ONCE, what),)
        return ()

    # -- the protocol's steps -------------------------------------------------------------------------------------

    def rows(
        self, taken: tuple[Taken, ...], delivery: Delivery, scene: Scene, *, draining: bool, out_of_time: bool
    ) -> tuple[Breach, ...]:
        """Rows were taken: is what they say already true?"""
        breaches = []
        for one in taken:
            after = one.row.after(one.state_before)
            if one.state_before not in ENDED and after not in OUTCOMES.get(one.trigger, tuple(JobState)):
                breaches.append(Breach(Promise.ROW_BY_ROW, f"{one.trigger} leads to {after} by row {one.row.id}"))
            if after is JobState.RUNNING and one.state_before is JobState.RECEIVED and draining:
                breaches.append(Breach(Promise.NO_WORK_AFTER_NOTICE, "a job begins in a drain"))
            if after is JobState.RUNNING and self._rejected:
                breaches.append(
                    Breach(Promise.NOTHING_LOST, "a message that cannot be a job is begun, and not put aside")
                )
            if not self._stored and not self._rejected:
                breaches += _budgeted(one, after, delivery.epoch)
            if not self._proved(one, after, delivery, scene, out_of_time=out_of_time):
                what = f"row {one.row.id} ({one.row.outcome}) is taken before it is true"
                breaches.append(Breach(Promise.NOTHING_LOST, what))
        return tuple(breaches)

    def _proved(self, taken: Taken, after: JobState, delivery: Delivery, scene: Scene, *, out_of_time: bool) -> bool:
        """Whether the world is as the row says."""
        moved = after is not taken.state_before
        if not self._stored:
            if moved and after is JobState.COMPLETED:
                return scene.place == GONE
            return scene.poison if moved and after is JobState.POISONED else True
        record = None if scene.record == NONE else self._records[scene.record]
        if moved and after in (JobState.COMPLETED, JobState.POISONED):
            wanted = Status.DONE if after is JobState.COMPLETED else Status.POISONED
            return scene.ended == ENDED_AS[wanted]
        if taken.trigger is JobTrigger.CHECKPOINT:
            saved = None if delivery.record is None else delivery.record.progress
            return record is not None and progress_of(record.progress) >= progress_of(saved)
        if moved and after is JobState.RELEASED and taken.trigger is JobTrigger.FAIL and not out_of_time:
            return record is not None and record.counted_epoch >= delivery.epoch
        return True

    def time_up(self, before: Delivery, after: Delivery) -> tuple[Breach, ...]:
        """The drain is out of time: is what cannot be saved on its way back?"""
        goal = before.goal
        assert goal is not None
        settles = goal.trigger is JobTrigger.FINISH or (
            goal.draft is not None and goal.draft.status is Status.POISONED and before.state is JobState.RUNNING
        )
        if settles and after.phase is Phase.RELEASING:
            return (Breach(Promise.NOTHING_LOST, "a job that is done or spent is handed back, and its mark given up"),)
        if settles or after.phase is Phase.RELEASING:
            return ()
        return (Breach(Promise.DRAINED_IN_TIME, f"out of time, and the delivery is {after.phase}"),)

    def release(self, call: Release, taken: tuple[Taken, ...]) -> tuple[Breach, ...]:
        """A release is sent: does a drained job go back without a pause?"""
        failed = any(one.trigger is JobTrigger.FAIL for one in taken)
        if call.pause_s > 0 and taken and not failed:
            return (Breach(Promise.RELEASED_AT_ONCE, "an interrupted job is released with a pause"),)
        return ()


def _budgeted(taken: Taken, after: JobState, epoch: int) -> list[Breach]:
    """Without a store the dequeue count is the budget: is it spent when it is said to be, and not before?"""
    spent_at = {JobTrigger.BEGIN: DEATHS_MAX + 1, JobTrigger.FAIL: FAILURES_MAX}.get(taken.trigger)
    if spent_at is None:
        return []
    if after is JobState.POISONED and epoch < spent_at:
        return [Breach(Promise.NOTHING_LOST, f"poisoned at delivery {epoch}, and its budget is not spent")]
    if after in (JobState.RUNNING, JobState.RELEASED) and epoch >= spent_at and JobFact.DRAINING not in taken.facts:
        return [Breach(Promise.NOTHING_LOST, f"the budget is spent at delivery {epoch}, and the job is not poisoned")]
    return []


def progress_of(progress: str | None) -> int:
    """Progress as a number: the explored handlers count."""
    return 0 if progress is None else int(progress)


def _overwritten(old: Record | None, new: Record) -> tuple[Breach, ...]:
    """What may never be written over."""
    if old is None:
        return ()
    breaches = []
    if old.status in TERMINAL:
        breaches.append(Breach(Promise.NO_EFFECT_TWICE, f"a record that is {old.status} is written over"))
    if new.epoch < old.epoch or (new.epoch == old.epoch and new.owner != old.owner):
        breaches.append(Breach(Promise.PROGRESS_NEVER_BACK, "a delivery writes over the claim of another"))
    if progress_of(new.progress) < progress_of(old.progress):
        breaches.append(Breach(Promise.PROGRESS_NEVER_BACK, "progress goes back"))
    return tuple(breaches)


def _ends(counts: Counts) -> int:
    """How many deliveries' ends are counted."""
    return counts.failures + counts.deaths + counts.evictions + counts.lapses + counts.stops


def _tagged(old: Record | None, new: Record, told: int) -> tuple[Breach, ...]:
    """Is each end counted once, under its epoch: an open claim's by whoever claims next, any other by its delivery?"""
    before, tag = (Counts(), 0) if old is None else (old.counts, old.counted_epoch)
    owed = old is not None and old.owner != new.owner and old.status is Status.OPEN and old.counted_epoch < old.epoch
    ends, tag = (1, old.epoch) if owed and old is not None else (0, tag)
    match new.status:
        case Status.RELEASED:
            ends, tag = 1, new.epoch
        case Status.POISONED:
            ends, tag = (1 if told == FAILED else ends), new.epoch
        case Status.DONE:
            tag = new.epoch
        case _:
            pass
    if _ends(new.counts) - _ends(before) > ends:
        return (Breach(Promise.EVICTION_IS_NOT_FAILURE, "the end of one delivery is counted twice"),)
    if _ends(new.counts) - _ends(before) < ends:
        return (Breach(Promise.EVICTION_IS_NOT_FAILURE, "a delivery has ended, and it is not counted"),)
    if new.counted_epoch != tag:
        return (Breach(Promise.EVICTION_IS_NOT_FAILURE, "an end is counted under the epoch of another"),)
    return ()


def _kinds(old: Record | None, new: Record, told: int) -> tuple[Breach, ...]:
    """Is an end counted as what it was, and does progress clear the deaths without it?"""
    before = Counts() if old is None else old.counts
    claimed = None if old is None or old.owner == new.owner else old
    evicted = told == EVADING or (claimed is not None and claimed.owner.boot_id == BEFORE)
    breaches = []
    if new.counts.evictions > before.evictions and not evicted:
        breaches.append(Breach(Promise.EVICTION_IS_NOT_FAILURE, "an eviction is counted, and there was none"))
    if new.counts.lapses > before.lapses and claimed is None:
        breaches.append(Breach(Promise.EVICTION_IS_NOT_FAILURE, "a lapse is counted, and there was none"))
    if new.counts.stops > before.stops and (claimed is not None or told not in (NOTHING, STOPPING)):
        breaches.append(Breach(Promise.EVICTION_IS_NOT_FAILURE, "a stop is counted, and there was none"))
    advanced = progress_of(new.progress) > progress_of(None if old is None else old.progress)
    died = new.counts.deaths - before.deaths
    if new.counts.fruitless_deaths != (0 if advanced else before.fruitless_deaths + died):
        breaches.append(Breach(Promise.EVICTION_IS_NOT_FAILURE, "the deaths without progress are miscounted"))
    if (new.status is Status.DONE) is (new.result is None):
        breaches.append(
            Breach(Promise.NO_EFFECT_TWICE, f"a record that is {new.status}, and its result does not say so")
        )
    return tuple(breaches)
