"""What a person sees of a running worker: a line for each event that matters, and none for what goes well."""

from __future__ import annotations

import asyncio
import os
import pty
import select
import sys
import time
from pathlib import Path

import pytest

from adapters.cli.watch import KEYS_MAX, REPEAT_S, Watch
from fsm.runner import Tally
from tests.adapters.cli.conftest import PATIENCE_S, Command


def row(state: str, before: str = "Offline", outcome: str = "so it is") -> dict[str, str]:
    return {"machine": "application", "row": "A1", "trigger": "t", "from": before, "to": state, "outcome": outcome}


def failure(job: int, reason: str = "no such page") -> dict[str, str]:
    return {"machine": "job", "job": str(job), "trigger": "fail", "from": "Running", "to": "Released", "reason": reason}


@pytest.fixture
def watch() -> Watch:
    return Watch(interactive=False)


def test_state_changes_are_told_and_jobs_are_not(watch: Watch, capsys: pytest.CaptureFixture[str]) -> None:
    """A thousand jobs that go well make no line."""
    watch.observe("row", row("Processing", outcome="work begins"))
    for job in range(1000):
        watch.observe("row", {**failure(job), "trigger": "finish"})
        watch.observe("receive", {"asked": 8})
    watch.observe("row", row("Processing", before="Processing"))
    assert capsys.readouterr().err == "Processing: work begins\n"


def test_failures_are_told_once_in_a_while_with_their_number(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """A queue of failing jobs does not flood the log, and nothing is hidden."""
    now_s = 1000.0
    watch = Watch(interactive=False, now_s=lambda: now_s)
    for job in range(500):
        watch.observe("row", failure(job))
    assert capsys.readouterr().err == "job 0 failed: no such page\n"
    now_s += REPEAT_S
    watch.observe("row", failure(500))
    assert capsys.readouterr().err == "job 500 failed: no such page (and 499 more like it before)\n"


def test_failed_calls_of_different_kinds_are_each_told(watch: Watch, capsys: pytest.CaptureFixture[str]) -> None:
    """One broken service does not hide another, and however many there are, memory is bounded."""
    for call in ("receive", "renew", "receive"):
        watch.observe("call_failed", {"call": call, "error": "ReplyLostError", "text": "no reply"})
    assert capsys.readouterr().err == "receive failed: no reply\nrenew failed: no reply\n"
    for number in range(10 * KEYS_MAX):
        watch.observe("call_failed", {"call": str(number), "error": "E", "text": "t"})
    assert len(watch._said) <= KEYS_MAX


def test_notices_are_told_with_the_time_they_leave(watch: Watch, capsys: pytest.CaptureFixture[str]) -> None:
    """An eviction has a deadline; advice has none; both are counted."""
    for event_id, kind, left_s in (
        ("1", "Preempt", 28.5),
        ("2", "SpotRebalanceRecommendation", None),
        ("3", "Preempt", -1),
    ):
        watch.observe("notice", {"event_id": event_id, "type": kind, "left_s": left_s})
    watch.observe("notice_gone", {"event_id": "1", "type": "Preempt"})
    assert capsys.readouterr().err.splitlines() == [
        "notice: Preempt in 28.5s",
        "notice: SpotRebalanceRecommendation",
        "notice: Preempt in 0s",
        "notice gone: Preempt",
    ]
    assert watch.notices == 3


def test_the_first_origin_and_the_first_stop_are_the_receipts(watch: Watch) -> None:
    """A worker that resumed after a withdrawn notice still says where it came from, and what first stopped it."""
    for origin in ("redeployed", "resumed"):
        watch.observe("origin", {"origin": origin})
    for reason in ("SIGTERM", "SIGINT"):
        watch.observe("stop", {"reason": reason, "grace_s": 25.0})
    assert (watch.origin, watch.stopped_by) == ("redeployed", "SIGTERM")


def test_everything_else_worth_a_line_has_one(watch: Watch, capsys: pytest.CaptureFixture[str]) -> None:
    """A blocked loop, an IMDS that is back, an acknowledgement and a warning are told."""
    watch.observe("loop_blocked", {"for_s": 3.2})
    watch.observe("imds_answers", {})
    watch.observe("acknowledged", {"event_id": "E"})
    watch.observe("warning", {"text": "--queue: on a bad\ndisk"})
    assert capsys.readouterr().err.splitlines() == [
        "the event loop was blocked for 3.2 s: a handler must not block",
        "IMDS answers again",
        "acknowledged event E",
        "warning: --queue: on a bad disk",
    ]


def test_the_live_line_has_counts_notices_and_the_time_left(watch: Watch) -> None:
    """State first; then what is done, what runs, what was announced, and how long there is."""
    watch.follow(lambda: Tally(received=10, completed=5, released=2))
    watch.observe("row", row("Processing"))
    assert watch._line() == "Processing  5 completed  3 running  2 released"
    watch.observe("notice", {"event_id": "1", "type": "Preempt", "left_s": 100.0})
    watch.observe("row", row("Evicted"))
    assert watch._line().startswith("Evicted")
    assert "Preempt" in watch._line()
    assert watch._line().endswith(" s left")
    watch.observe("row", row("Recovering"))
    watch.observe("notice_gone", {"event_id": "1", "type": "Preempt"})
    assert watch._line() == "Recovering  5 completed  3 running  2 released"


async def test_without_a_terminal_nothing_is_drawn(watch: Watch, capsys: pytest.CaptureFixture[str]) -> None:
    """A log file gets lines, not a picture of a line."""
    async with watch.shown():
        await asyncio.sleep(0)
    assert capsys.readouterr().err == ""


@pytest.mark.processes
def test_on_a_terminal_the_line_is_live(spotfsm: Command, directory: Path, jobs: str) -> None:
    """The worker draws its state and counts on the terminal, ends with the receipt, and leaves no line behind."""
    spotfsm("enqueue", "a")
    arguments = [sys.executable, "-m", "adapters.cli", "worker", "--handler", f"{jobs}:slow"]
    pid, terminal = pty.fork()
    if pid == 0:
        os.environ["TERM"] = "xterm"
        os.execv(sys.executable, arguments)
    seen, told, give_up_s = b"", False, time.monotonic() + PATIENCE_S
    while time.monotonic() < give_up_s:
        if select.select([terminal], [], [], 0.1)[0]:
            try:
                data = os.read(terminal, 65536)
            except OSError:
                break
            seen += data
        if b"1 running" in seen and not told:
            told = True
            os.write(terminal, b"\x03")
    os.close(terminal)
    _, status = os.waitpid(pid, 0)
    assert os.waitstatus_to_exitcode(status) == 0, seen.decode()
    assert told
    assert b"Processing" in seen
    assert b"stopped by" in seen
