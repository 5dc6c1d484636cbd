"""What a scaler goes by: exact where it can be, and an estimate with a known error where it cannot."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from fsm.backlog import backlog_of
from fsm.ports import PEEK_MAX, Peeked, RecordTotals

few = st.integers(0, 100)


@given(waiting=few, begun_unclaimed=few, claimed=few, killed=st.integers(0, 100), pausing=few)
def test_no_waiting_job_is_left_out(
    waiting: int, begun_unclaimed: int, claimed: int, killed: int, pausing: int
) -> None:
    """Whatever the jobs do, a short queue is told exactly, a long one nearly, and every message counts once.

    `killed` are claims that stand though their message waits again: they may hide waiting jobs, but never the last 32.
    """
    killed = min(killed, waiting)
    length = waiting + begun_unclaimed + claimed + pausing
    backlog = backlog_of(
        length=length,
        peeked=Peeked(waiting=min(waiting, PEEK_MAX), expiring=0),
        poisoned=0,
        totals=RecordTotals(running=claimed + killed, released=pausing, checkpointed=0, completed=7, poisoned=0),
    )
    assert backlog.waiting + backlog.leased == backlog.queued
    if waiting < PEEK_MAX:
        assert (backlog.waiting_exact, backlog.waiting) == (True, waiting)
    else:
        assert not backlog.waiting_exact
        assert backlog.waiting >= PEEK_MAX
        assert backlog.waiting >= waiting - killed


def test_without_a_store_the_queue_alone_is_told() -> None:
    """What only a store knows is None, and a long queue counts as waiting altogether."""
    backlog = backlog_of(length=50, peeked=Peeked(waiting=PEEK_MAX, expiring=3), poisoned=2, totals=None)
    assert (backlog.waiting, backlog.leased, backlog.poisoned, backlog.expiring) == (50, 0, 2, 3)
    assert (backlog.running, backlog.released, backlog.checkpointed, backlog.completed) == (None,) * 4


def test_counts_of_different_moments_make_no_negative_number() -> None:
    """Messages that were deleted between two looks are not owed to anybody."""
    backlog = backlog_of(length=1, peeked=Peeked(waiting=5, expiring=0), poisoned=0, totals=None)
    assert (backlog.waiting, backlog.leased) == (5, 0)
