"""How much work there is and how it stands: the signal that a scaler or a person goes by.

A queue's length counts what waits and what is leased alike. A look at its front counts what waits, but only up to
`PEEK_MAX` messages. The store knows which jobs are claimed, but a first delivery claims with its first checkpoint or
result, and a killed worker's claims stand until its jobs are received again. So what waits is exact for a short queue,
and an estimate for a long one: the length less the claims.
"""

from __future__ import annotations

from dataclasses import dataclass

from fsm.ports import PEEK_MAX, Peeked, RecordTotals


@dataclass(frozen=True, slots=True, kw_only=True)
class Backlog:
    """The jobs of one queue, as far as they can be told apart; from the store's fields None without one.

    Attributes:
        queued: messages on the queue: waiting, leased or pausing after a failure.
        waiting: messages that can be received now.
        waiting_exact: whether that many wait; if not, about so many do, and `PEEK_MAX` at least.
        leased: the rest: in the hands of workers, held by what is left of a killed worker's lease, or pausing.
        running: claimed in the store.
        released: handed back, by a drain or after a failure, and waiting for their next delivery.
        checkpointed: those of them that go on from saved progress.
        completed: done.
        poisoned: messages on the poison queue.
        poisoned_records: jobs given up, whether or not their message still lies there.
        expiring: waiting messages that the queue will drop by itself, of the first `PEEK_MAX`.
    """

    queued: int
    waiting: int
    waiting_exact: bool
    leased: int
    running: int | None
    released: int | None
    checkpointed: int | None
    completed: int | None
    poisoned: int
    poisoned_records: int | None
    expiring: int


def backlog_of(*, length: int, peeked: Peeked, poisoned: int, totals: RecordTotals | None) -> Backlog:
    """Put together what the queue, its poison queue and the store say, each at its own moment."""
    exact = peeked.waiting < PEEK_MAX
    claimed = 0 if totals is None else totals.running
    waiting = peeked.waiting if exact else max(PEEK_MAX, length - claimed)
    return Backlog(
        queued=length,
        waiting=waiting,
        waiting_exact=exact,
        leased=max(0, length - waiting),
        running=None if totals is None else totals.running,
        released=None if totals is None else totals.released,
        checkpointed=None if totals is None else totals.checkpointed,
        completed=None if totals is None else totals.completed,
        poisoned=poisoned,
        poisoned_records=None if totals is None else totals.poisoned,
        expiring=peeked.expiring,
    )
