"""What a drain's receipt says, worked out from the journal's entries."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fsm.journal import Line
from fsm.ports import JsonScalar
from fsm.receipts import KILLED, DrainReceipt, Receipts, receipts_in

Entry = tuple[float, str, dict[str, JsonScalar]]


def app(at_s: float, before: str, after: str) -> Entry:
    return at_s, "row", {"machine": "application", "from": before, "to": after, "trigger": "t", "verdict": "taken"}


def job(at_s: float, trigger: str, before: str, after: str, *, job: str = "a", verdict: str = "taken") -> Entry:
    fields: dict[str, JsonScalar] = {"machine": "job", "job": job, "epoch": 1, "trigger": trigger}
    return at_s, "row", {**fields, "from": before, "to": after, "verdict": verdict}


def begin(at_s: float, name: str = "a") -> Entry:
    return job(at_s, "begin", "Received", "Running", job=name)


def save(at_s: float, name: str = "a", verdict: str = "taken") -> Entry:
    return job(at_s, "checkpoint", "Running", "Running", job=name, verdict=verdict)


def hand_back(at_s: float, name: str = "a") -> Entry:
    return job(at_s, "interrupt", "Running", "Released", job=name)


def notice(at_s: float, left_s: float | None = 30.0, *, event: str = "e", severity: str = "reclaim") -> Entry:
    return at_s, "notice", {"event_id": event, "type": "Preempt", "severity": severity, "left_s": left_s}


WORKING: tuple[Entry, ...] = (
    (0.0, "worker", {"store": True}),
    app(0.1, "Offline", "Recovering"),
    app(0.2, "WarmingUp", "Processing"),
)


def fed(*entries: Entry, receipts: Receipts | None = None) -> list[DrainReceipt]:
    """The receipts that these entries give after a worker has come up."""
    found = receipts or Receipts()
    given = [found.take(*entry) for entry in (*WORKING, *entries)]
    return [receipt for receipt in given if receipt is not None]


def test_an_eviction_with_notice_is_told_with_its_margin_and_what_is_redone() -> None:
    """Saved at 8 s, told at 10 s, let go at 12 s: 28 s were left, and four seconds of work are done again."""
    (receipt,) = fed(
        begin(1), save(8), begin(2, "b"), notice(10), app(10, "Processing", "Evicted"), hand_back(12),
        job(12, "finish", "Running", "Completed", job="b"), app(12, "Evicted", "Drained"),
    )  # fmt: skip
    assert receipt == DrainReceipt(
        cause="Preempt",
        evicted=True,
        announced_s=30.0,
        drain_s=2.0,
        received_s=2.0,
        margin_s=28.0,
        redone_s=4.0,
        completed=1,
        released=1,
    )


def test_the_last_sign_of_life_tells_what_the_notice_was_worth() -> None:
    """A drained worker that was heard of 25 s after the notice got at least those of its 30 s."""
    receipts = Receipts()
    fed(notice(10), app(10, "Processing", "Evicted"), app(11, "Evicted", "Drained"), receipts=receipts)
    receipts.take(35.0, "still_here", {"drained_for_s": 24.0})
    final = receipts.end(35.0)
    assert final is not None
    assert (final.received_s, final.drain_s, final.margin_s) == (25.0, 1.0, 29.0)


def test_a_kill_out_of_the_blue_redoes_what_was_not_saved() -> None:
    """Every running job loses what it did since its begin or its last checkpoint; there was no notice."""
    receipts = Receipts()
    assert fed(begin(1), begin(2, "b"), save(5, "b"), receipts=receipts) == []
    receipt = receipts.end(8.0)
    assert receipt is not None
    assert (receipt.cause, receipt.evicted, receipt.announced_s, receipt.drain_s) == (KILLED, False, None, None)
    assert receipt.redone_s == pytest.approx(7.0 + 3.0)


def test_a_kill_during_a_drain_is_the_notices_and_has_no_margin() -> None:
    """Taken 4 s after the notice with one job saved and one not: the notice was worth 4 s."""
    receipts = Receipts()
    drained = fed(
        begin(1), begin(1, "b"), notice(10), app(10, "Processing", "Evicted"), save(11), hand_back(11),
        receipts=receipts,
    )  # fmt: skip
    assert drained == []
    receipt = receipts.end(14.0)
    assert receipt is not None
    assert (receipt.cause, receipt.received_s, receipt.margin_s, receipt.released) == ("Preempt", 4.0, None, 1)
    assert receipt.redone_s == pytest.approx(13.0)


def test_a_stop_is_no_eviction() -> None:
    """A SIGTERM has a grace, which is its announced time; a notice that stands goes first."""
    stop: Entry = (10.0, "stop", {"reason": "SIGTERM", "grace_s": 25.0})
    (receipt,) = fed(stop, app(10, "Processing", "Evicted"), app(11, "Evicted", "Drained"))
    assert (receipt.cause, receipt.evicted, receipt.announced_s, receipt.margin_s) == ("SIGTERM", False, 25.0, 24.0)
    (receipt,) = fed(notice(9), stop, app(10, "Processing", "Evicted"), app(11, "Evicted", "Drained"))
    assert (receipt.cause, receipt.evicted) == ("Preempt", True)


def test_advice_and_withdrawn_notices_are_no_cause() -> None:
    """A rebalance recommendation, or a notice that has vanished, is not what a later stop is put down to."""
    (receipt,) = fed(
        notice(5, None, severity="advisory", event="r"), notice(6, event="w"), (7.0, "notice_gone", {"event_id": "w"}),
        (10.0, "stop", {"reason": "SIGTERM", "grace_s": 25.0}), app(10, "Processing", "Evicted"),
        app(11, "Evicted", "Drained"),
    )  # fmt: skip
    assert receipt.cause == "SIGTERM"


def test_a_withdrawn_notice_ends_with_its_drain() -> None:
    """A worker that is back at work and idle when it is killed has nothing to tell of the notice before."""
    receipts = Receipts()
    fed(notice(5), app(5, "Processing", "Evicted"), app(6, "Evicted", "Drained"), receipts=receipts)
    receipts.take(*app(7, "Drained", "Recovering"))
    assert receipts.end(100.0) is None
    fed(notice(5), app(5, "Processing", "Evicted"), app(6, "Evicted", "Recovering"), receipts=receipts)
    assert receipts.end(100.0) is None


def test_without_a_store_and_without_the_fence_nothing_is_safe() -> None:
    """A checkpoint that saves nothing does not shorten what is done again."""
    without = Receipts()
    fed((0.0, "worker", {"store": False}), begin(1), save(9), receipts=without)
    refused = Receipts()
    fed(begin(1), save(9, verdict="refused"), receipts=refused)
    for receipts in (without, refused):
        receipt = receipts.end(10.0)
        assert receipt is not None
        assert receipt.redone_s == pytest.approx(9.0)


def lines_of(source: str, *entries: Entry, began_s: float = 0.0) -> list[Line]:
    """These entries as a process's journal has them."""
    origin = datetime(2026, 11, 25, tzinfo=UTC)
    return [
        Line(source=source, n=n, at=origin + timedelta(seconds=began_s + at_s), kind=kind, fields=fields)
        for n, (at_s, kind, fields) in enumerate(entries, start=1)
    ]


def test_journals_tell_every_drain_and_every_kill() -> None:
    """Of three processes one was evicted with notice, one killed at work, and one stopped: three receipts, in order."""
    drained = (notice(10), app(10, "Processing", "Evicted"), app(11, "Evicted", "Drained"))
    still_here: Entry = (30.0, "still_here", {"drained_for_s": 19.0})
    stop: Entry = (40.0, "stop", {"reason": "SIGTERM", "grace_s": 25.0})
    stopped = (stop, app(40, "Processing", "Evicted"), app(41, "Evicted", "Drained"), app(41, "Drained", "Offline"))
    lines = [
        *lines_of("stopped", *WORKING, begin(1), job(2, "finish", "Running", "Completed"), *stopped),
        *lines_of("killed", *WORKING, begin(1), save(4), begin(20, "b")),
        *lines_of("evicted", *WORKING, begin(1), *drained[:2], hand_back(10.5), drained[2], still_here),
        *lines_of("idle", *WORKING),
    ]
    found = receipts_in(lines)
    assert [(source, one.cause, one.evicted) for source, one in found] == [
        ("killed", KILLED, False),
        ("evicted", "Preempt", True),
        ("stopped", "SIGTERM", False),
    ]
    assert found[0][1].redone_s == pytest.approx(16.0)
    assert found[1][1].received_s == pytest.approx(20.0)
    assert found[1][1].margin_s == pytest.approx(29.0)


def test_a_drained_worker_that_is_stopped_lived_until_then() -> None:
    """The notice was worth all the time until the process ended, whoever ended it."""
    drained = (notice(10), app(10, "Processing", "Evicted"), app(11, "Evicted", "Drained"))
    stop: Entry = (40.0, "stop", {"reason": "SIGTERM", "grace_s": 25.0})
    ((_, receipt),) = receipts_in(lines_of("p", *WORKING, *drained, stop, app(40, "Drained", "Offline")))
    assert receipt.cause == "Preempt"
    assert receipt.drain_s == pytest.approx(1.0)
    assert receipt.received_s == pytest.approx(30.0)


def test_a_notice_that_vanished_was_outlived_until_then() -> None:
    """Withdrawn twenty seconds after it was seen, it was worth those; the work that follows adds nothing to it."""
    drained = (notice(10), app(10, "Processing", "Evicted"), app(11, "Evicted", "Drained"))
    gone: Entry = (30.0, "notice_gone", {"event_id": "e", "type": "Preempt"})
    back = (app(30, "Drained", "Recovering"), app(31, "WarmingUp", "Processing"), begin(40))
    first, second = receipts_in(lines_of("p", *WORKING, *drained, gone, *back))
    assert first[1].cause == "Preempt"
    assert first[1].received_s == pytest.approx(20.0)
    assert second[1].cause == KILLED


def test_a_live_worker_and_its_journal_give_the_same_receipt() -> None:
    """What was told at the end of the drain is what the journal tells, but for the life that came after it."""
    entries = (
        begin(1),
        save(8),
        notice(10),
        app(10, "Processing", "Evicted"),
        hand_back(12),
        app(12, "Evicted", "Drained"),
    )
    (live,) = fed(*entries)
    ((_, replayed),) = receipts_in(lines_of("p", *WORKING, *entries))
    assert replayed == live


@given(
    saves=st.lists(st.floats(0.0, 100.0), max_size=20).map(sorted),
    let_go_s=st.floats(100.0, 200.0),
)
def test_what_is_redone_is_the_time_since_the_last_save(saves: list[float], let_go_s: float) -> None:
    """Only what came after the last save is done again, and nothing is remembered of a job that ended."""
    receipts = Receipts()
    (receipt,) = fed(
        begin(0.0), *(save(at_s) for at_s in saves), notice(100.0), app(100.0, "Processing", "Evicted"),
        hand_back(let_go_s), app(let_go_s, "Evicted", "Drained"), receipts=receipts,
    )  # fmt: skip
    assert receipt.redone_s == pytest.approx(let_go_s - (saves[-1] if saves else 0.0))
    assert receipts._safe_s == {}


def test_a_receipt_is_an_entry_of_plain_values() -> None:
    """Its fields are what a journal holds, with times in milliseconds."""
    (receipt,) = fed(notice(10, 29.98765), app(10, "Processing", "Evicted"), app(11.23456, "Evicted", "Drained"))
    fields = receipt.fields()
    assert fields["drain_s"] == 1.235
    assert fields["margin_s"] == 28.753
    assert all(isinstance(value, str | int | float | bool | None) for value in fields.values())
