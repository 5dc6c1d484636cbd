"""What spotfsm promises, by name: tests, checkers, the explorer and the journal's replay all use these names.

Each promise holds for every schedule of kills, notices, faults and duplicates. Where it needs a condition, the
condition is part of its sentence.
"""

from __future__ import annotations

from enum import StrEnum


class Promise(StrEnum):
    """The promises; `sentence` says each in words."""

    NOTHING_LOST = "nothing_lost"
    NO_EFFECT_TWICE = "no_effect_twice"
    PROGRESS_NEVER_BACK = "progress_never_back"
    NO_WORK_AFTER_NOTICE = "no_work_after_notice"
    DRAINED_IN_TIME = "drained_in_time"
    EVICTION_IS_NOT_FAILURE = "eviction_is_not_failure"
    RELEASED_AT_ONCE = "released_at_once"
    ROW_BY_ROW = "row_by_row"
    ALWAYS_COMES_BACK = "always_comes_back"

    @property
    def sentence(self) -> str:
        """The promise with its conditions."""
        return _SENTENCES[self]


_SENTENCES = {
    Promise.NOTHING_LOST: (
        "Every message put on the queue ends as exactly one of completed and poisoned, never as nothing. "
        "Conditions: it was put without a time to live, as `spotfsm enqueue` puts it; and if it kills whichever worker "
        "runs it, that worker is started again before half of its visibility timeout is over, for later its death "
        "cannot be told from a lapsed lease, and the job is tried for ever."
    ),
    Promise.NO_EFFECT_TWICE: (
        "A job's result is recorded once, however often the job ran. Condition: the worker has a job store; it holds "
        "for each message id, and two messages are two jobs."
    ),
    Promise.PROGRESS_NEVER_BACK: (
        "A checkpoint never overwrites a newer one, and a worker that lost its lease (a zombie) writes nothing."
    ),
    Promise.NO_WORK_AFTER_NOTICE: (
        "Once a reply of Scheduled Events has named this VM for reclaiming, no receive is sent and no job begins."
    ),
    Promise.DRAINED_IN_TIME: (
        "At the deadline every job is finished, checkpointed and handed back, or abandoned without harm. An eviction "
        "before its announced time is only a kill."
    ),
    Promise.EVICTION_IS_NOT_FAILURE: (
        "No eviction, announced or not, and no lapsed lease ever spends a job's budget. Conditions: the worker has a "
        "job store, for without one the queue's dequeue count is all there is; and a claim that a lapse left open is "
        "met before its process is replaced on the same boot, for after that it cannot be told from a process that "
        "died, and counts as one of ten deaths. A stop by the operator during which the store is silent leaves such a "
        "claim, too."
    ),
    Promise.RELEASED_AT_ONCE: (
        "A drained job can be received again at once, not after its visibility timeout. Exception: the reply to a "
        "renewal was lost, and with it the only pop receipt that works."
    ),
    Promise.ROW_BY_ROW: "Every state change anywhere is a row of a table, and stands in the journal with its row id.",
    Promise.ALWAYS_COMES_BACK: (
        "Once the VM runs again and nothing reclaims it, work resumes without a human: no deadlock, no starvation, and "
        "no worker left dead by a withdrawn notice."
    ),
}
