"""The job machine: one delivery of one message.

A delivery is received, runs or not, and ends once: completed, released (handed back for another delivery), poisoned, or
abandoned (somebody else has the message now; not another write). An event fires when the write that makes it true has
succeeded, so the state never runs ahead of the world; `fsm.delivery` says in which order those writes are made.
"""

from __future__ import annotations

from enum import StrEnum

from fsm.sources import CONDITIONAL_WRITES, QUEUE_SDK, QUEUES_COMPARED, UPDATE_MESSAGE
from fsm.table import Row, Table, Verdict


class JobState(StrEnum):
    """Where a delivery stands."""

    RECEIVED = "Received"
    RUNNING = "Running"
    COMPLETED = "Completed"
    RELEASED = "Released"
    POISONED = "Poisoned"
    ABANDONED = "Abandoned"


class JobTrigger(StrEnum):
    """What can happen to a delivery."""

    BEGIN = "begin"
    REJECT = "reject"
    LOSE_LEASE = "lose_lease"
    CHECKPOINT = "checkpoint"
    FINISH = "finish"
    FAIL = "fail"
    INTERRUPT = "interrupt"


class JobFact(StrEnum):
    """What the rows look at."""

    DRAINING = "draining"
    """The application has left Processing: a notice names this VM, or a stop was requested."""
    STORELESS = "storeless"
    """The worker has no job store."""
    FIRST_DELIVERY = "first delivery"
    """The dequeue count is 1: the first write may claim, create-only."""
    CLAIMED = "claimed"
    """The record carries this delivery's epoch and token."""
    RECORD_DONE = "record done"
    """The record says that a delivery recorded the result."""
    RECORD_POISONED = "record poisoned"
    """The record says that a delivery gave the job up."""
    BUDGET_SPENT = "budget spent"
    """No failure, or no death without progress, is left."""
    SAFE_TO_DELETE = "safe to delete"
    """The poison mark is written or, without a store, the poison message is put."""
    FENCE_HOLDS = "fence holds"
    """The last write found the version this delivery left, or there is no store."""
    RECORDED = "recorded"
    """The result is in the record."""
    DELETED = "deleted"
    """The queue confirmed the delete."""


S, T, F = JobState, JobTrigger, JobFact
JobRow = Row[JobState, JobTrigger, JobFact]

ENDED = (S.COMPLETED, S.RELEASED, S.POISONED, S.ABANDONED)
"""The states no row leaves."""

_AT_LEAST_ONCE = QUEUES_COMPARED.says("Storage queues deliver at least once")
_RECEIPTS = UPDATE_MESSAGE.says("only the newest pop receipt works")
_TOO_LATE = "the delivery has ended; late and doubled events are normal and change nothing"

JOB = Table(
    name="job",
    states=JobState,
    triggers=JobTrigger,
    facts=JobFact,
    initial=S.RECEIVED,
    final=ENDED,
    rows=(
        # -- Received ------------------------------------------------------------------------------------------------
        JobRow(
            id="J1", source=(S.RECEIVED,), trigger=T.BEGIN, when=(F.DRAINING,), dest=S.RELEASED,
            outcome="handed back unbegun",
            why="no job begins once the VM is being reclaimed; another VM can have it at once",
            rests_on="promise no_work_after_notice",
        ),
        JobRow(
            id="J2", source=(S.RECEIVED,), trigger=T.BEGIN, when=(F.RECORD_DONE,), unless=(F.DRAINING,),
            dest=S.COMPLETED, outcome="already recorded: the message is deleted, the handler is not run",
            why="a delivery that recorded its result and died before the delete leaves the message behind",
            rests_on=_AT_LEAST_ONCE,
        ),
        JobRow(
            id="J3", source=(S.RECEIVED,), trigger=T.BEGIN, when=(F.RECORD_POISONED,),
            unless=(F.DRAINING, F.RECORD_DONE), dest=S.POISONED, outcome="already poisoned: put and deleted",
            why="a delivery that marked the record may have died before it put the poison message",
            rests_on="delivery protocol, rule 10",
        ),
        JobRow(
            id="J4", source=(S.RECEIVED,), trigger=T.BEGIN, when=(F.BUDGET_SPENT, F.SAFE_TO_DELETE),
            unless=(F.DRAINING, F.RECORD_DONE, F.RECORD_POISONED), dest=S.POISONED,
            outcome="poisoned: the budget is spent",
            why="a job that keeps killing its worker must not take the queue down with it",
            rests_on="delivery protocol, rule 5",
        ),
        JobRow(
            id="J5", source=(S.RECEIVED,), trigger=T.BEGIN, when=(F.BUDGET_SPENT,),
            unless=(F.DRAINING, F.RECORD_DONE, F.RECORD_POISONED, F.SAFE_TO_DELETE), verdict=Verdict.REFUSED,
            outcome="to be poisoned, and not yet marked",
            why="the state follows the write that makes it true",
            rests_on="delivery protocol, rule 1",
        ),
        JobRow(
            id="J6", source=(S.RECEIVED,), trigger=T.BEGIN, when=(F.STORELESS,),
            unless=(F.DRAINING, F.RECORD_DONE, F.RECORD_POISONED, F.BUDGET_SPENT), dest=S.RUNNING,
            outcome="begun without a record",
            why="without a store the lease is the only guard",
            rests_on=_AT_LEAST_ONCE,
        ),
        JobRow(
            id="J7", source=(S.RECEIVED,), trigger=T.BEGIN, when=(F.CLAIMED,),
            unless=(F.DRAINING, F.RECORD_DONE, F.RECORD_POISONED, F.BUDGET_SPENT, F.STORELESS), dest=S.RUNNING,
            outcome="begun under its claim",
            why="the record carries this delivery's epoch: an older delivery can no longer write",
            rests_on="delivery protocol, rule 3",
        ),
        JobRow(
            id="J8", source=(S.RECEIVED,), trigger=T.BEGIN, when=(F.FIRST_DELIVERY,),
            unless=(F.DRAINING, F.RECORD_DONE, F.RECORD_POISONED, F.BUDGET_SPENT, F.STORELESS, F.CLAIMED),
            dest=S.RUNNING, outcome="begun; its first write will claim",
            why="nobody was before a first delivery, so a short job costs one write, create-only",
            rests_on="delivery protocol, rule 3",
        ),
        JobRow(
            id="J9", source=(S.RECEIVED,), trigger=T.BEGIN,
            unless=(
                F.DRAINING, F.RECORD_DONE, F.RECORD_POISONED, F.BUDGET_SPENT, F.STORELESS, F.CLAIMED, F.FIRST_DELIVERY,
            ),
            verdict=Verdict.REFUSED, outcome="not claimed yet",
            why="an earlier delivery may still be running: the claim must come first",
            rests_on="delivery protocol, rule 3",
        ),
        JobRow(
            id="J10", source=(S.RECEIVED,), trigger=T.REJECT, when=(F.SAFE_TO_DELETE,), dest=S.POISONED,
            outcome="poisoned: the message cannot be a job",
            why="an undecodable or oversized message would fail for ever",
            rests_on=QUEUE_SDK.says("under its decode policies one bad message fails a whole page"),
        ),
        JobRow(
            id="J11", source=(S.RECEIVED,), trigger=T.REJECT, unless=(F.SAFE_TO_DELETE,), verdict=Verdict.REFUSED,
            outcome="to be poisoned, and not yet marked", why="the state follows the write that makes it true",
            rests_on="delivery protocol, rule 1",
        ),
        JobRow(
            id="J12", source=(S.RECEIVED,), trigger=T.INTERRUPT, dest=S.RELEASED, outcome="handed back unbegun",
            why="what was received and has not begun is the first thing a drain gives back",
            rests_on="promise released_at_once",
        ),
        JobRow(
            id="J13", source=(S.RECEIVED,), trigger=T.CHECKPOINT, verdict=Verdict.REFUSED, outcome="not begun",
            why="only a running handler has progress",
        ),
        JobRow(
            id="J14", source=(S.RECEIVED,), trigger=T.FINISH, verdict=Verdict.REFUSED, outcome="not begun",
            why="only a running handler has a result",
        ),
        JobRow(
            id="J15", source=(S.RECEIVED,), trigger=T.FAIL, verdict=Verdict.REFUSED, outcome="not begun",
            why="only a running handler can fail",
        ),
        # -- Received and Running ------------------------------------------------------------------------------------
        JobRow(
            id="J16", source=(S.RECEIVED, S.RUNNING), trigger=T.LOSE_LEASE, dest=S.ABANDONED,
            outcome="abandoned: no write and no delete from here on",
            why="somebody else has the message now, or may have it; a zombie writes nothing",
            rests_on=_RECEIPTS,
        ),
        # -- Running -------------------------------------------------------------------------------------------------
        JobRow(
            id="J17", source=(S.RUNNING,), trigger=T.BEGIN, verdict=Verdict.IGNORED, outcome="already begun",
            why="a delivery begins once; a second delivery of the message is a machine of its own",
            rests_on=_AT_LEAST_ONCE,
        ),
        JobRow(
            id="J18", source=(S.RUNNING,), trigger=T.REJECT, verdict=Verdict.REFUSED, outcome="already begun",
            why="a message is judged before it begins",
        ),
        JobRow(
            id="J19", source=(S.RUNNING,), trigger=T.CHECKPOINT, when=(F.FENCE_HOLDS,), outcome="progress saved",
            why="the next delivery resumes here", rests_on="promise progress_never_back",
        ),
        JobRow(
            id="J20", source=(S.RUNNING,), trigger=T.CHECKPOINT, unless=(F.FENCE_HOLDS,), verdict=Verdict.REFUSED,
            outcome="not saved: the record is another delivery's", why="a checkpoint never overwrites a newer one",
            rests_on=CONDITIONAL_WRITES.says("a write over another version answers 412"),
        ),
        JobRow(
            id="J21", source=(S.RUNNING,), trigger=T.FINISH, when=(F.RECORDED,), dest=S.COMPLETED,
            outcome="result recorded", why="from the record on, the job is done, whatever becomes of the message",
            rests_on="promise no_effect_twice",
        ),
        JobRow(
            id="J22", source=(S.RUNNING,), trigger=T.FINISH, when=(F.STORELESS, F.DELETED), unless=(F.RECORDED,),
            dest=S.COMPLETED, outcome="message deleted", why="without a store the delete is the only record",
            rests_on=_AT_LEAST_ONCE,
        ),
        JobRow(
            id="J23", source=(S.RUNNING,), trigger=T.FINISH, when=(F.STORELESS,), unless=(F.RECORDED, F.DELETED),
            verdict=Verdict.REFUSED, outcome="not deleted yet", why="the state follows the effect that makes it true",
            rests_on="delivery protocol, rule 1",
        ),
        JobRow(
            id="J24", source=(S.RUNNING,), trigger=T.FINISH, unless=(F.RECORDED, F.STORELESS),
            verdict=Verdict.REFUSED, outcome="not recorded yet", why="the state follows the write that makes it true",
            rests_on="delivery protocol, rule 1",
        ),
        JobRow(
            id="J25", source=(S.RUNNING,), trigger=T.FAIL, unless=(F.BUDGET_SPENT,), dest=S.RELEASED,
            outcome="failed: tried again after a pause", why="most failures pass; a pause gives them time",
            rests_on="delivery protocol, rule 5",
        ),
        JobRow(
            id="J26", source=(S.RUNNING,), trigger=T.FAIL, when=(F.BUDGET_SPENT, F.SAFE_TO_DELETE), dest=S.POISONED,
            outcome="poisoned: failed too often", why="a job that always fails is set aside with its error",
            rests_on=QUEUES_COMPARED.says("Storage queues have no dead-lettering"),
        ),
        JobRow(
            id="J27", source=(S.RUNNING,), trigger=T.FAIL, when=(F.BUDGET_SPENT,), unless=(F.SAFE_TO_DELETE,),
            verdict=Verdict.REFUSED, outcome="to be poisoned, and not yet marked",
            why="the state follows the write that makes it true", rests_on="delivery protocol, rule 1",
        ),
        JobRow(
            id="J28", source=(S.RUNNING,), trigger=T.INTERRUPT, dest=S.RELEASED,
            outcome="interrupted: handed back at once, resumable at its last checkpoint",
            why="an eviction is no failure and costs no budget", rests_on="promise released_at_once",
        ),
        # -- ended: one row a trigger, each with its reason ------------------------------------------------------------
        JobRow(
            id="J29", source=ENDED, trigger=T.BEGIN, verdict=Verdict.IGNORED, outcome="ended", why=_TOO_LATE,
        ),
        JobRow(
            id="J30", source=ENDED, trigger=T.REJECT, verdict=Verdict.IGNORED, outcome="ended", why=_TOO_LATE,
        ),
        JobRow(
            id="J31", source=ENDED, trigger=T.LOSE_LEASE, verdict=Verdict.IGNORED, outcome="ended",
            why="nothing is written after the end but the delete, the release or the poison put, and a refusal of "
            "those changes no state: what made the end true is already in the record", rests_on=_RECEIPTS,
        ),
        JobRow(
            id="J32", source=ENDED, trigger=T.CHECKPOINT, verdict=Verdict.REFUSED, outcome="ended: nothing is saved",
            why="a handler that outlives its delivery must not overwrite the next one's progress",
            rests_on="promise progress_never_back",
        ),
        JobRow(
            id="J33", source=ENDED, trigger=T.FINISH, verdict=Verdict.IGNORED, outcome="ended: the result is dropped",
            why="a handler that outlives its delivery has no say any more", rests_on="promise no_effect_twice",
        ),
        JobRow(
            id="J34", source=ENDED, trigger=T.FAIL, verdict=Verdict.IGNORED, outcome="ended: the error is dropped",
            why="a handler that outlives its delivery has no say any more",
        ),
        JobRow(
            id="J35", source=ENDED, trigger=T.INTERRUPT, verdict=Verdict.IGNORED, outcome="ended",
            why="a drain finds some deliveries already settling", rests_on="promise drained_in_time",
        ),
    ),
)  # fmt: skip
