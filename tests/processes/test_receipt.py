"""The demo's receipt is worked out from its evidence, and tells when a promise is broken."""

from __future__ import annotations

import io
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

from rich.console import Console

from adapters.cli.receipt import Life, Receipt, make_receipt
from adapters.host.journal_lines import Line
from fsm.ports import JsonScalar
from fsm.record import Status

_BEGAN = datetime(2026, 11, 1, tzinfo=UTC)


def _at(seconds: float) -> datetime:
    return _BEGAN + timedelta(seconds=seconds)


def _line(process: int, seconds: float, kind: str, **fields: JsonScalar) -> Line:
    return Line(source=f"{process}-x", n=1, at=_at(seconds), kind=kind, fields=fields)


def _begins(pid: int, seconds: float) -> Line:
    return _line(pid, seconds, "row", job="a", row="J7", **{"from": "Received", "to": "Running"})


def _receipt(
    tmp_path: Path,
    *,
    statuses: dict[str, Status | None] | None = None,
    recordings: dict[str, int] | None = None,
    illegal_lines: int = 0,
) -> Receipt:
    """Two jobs of two steps each; the first worker is evicted, the second killed, the third ends by itself."""
    effects = tmp_path / "effects.jsonl"
    told = [
        ("a", 0, "began", 0.5, 11),
        ("a", 0, "done", 1.0, 11),
        ("a", 1, "began", 1.5, 11),
        ("a", 1, "began", 5.0, 12),
        ("a", 1, "done", 6.0, 12),
        ("b", 0, "began", 6.5, 12),
        ("b", 0, "done", 6.75, 12),
        ("b", 0, "began", 9.0, 13),
        ("b", 0, "done", 9.5, 13),
        ("b", 1, "began", 9.5, 13),
        ("b", 1, "done", 10.0, 13),
    ]
    effects.write_text(
        "".join(
            json.dumps({"job": job, "step": step, "event": event, "at_s": _at(at_s).timestamp(), "pid": pid}) + "\n"
            for job, step, event, at_s, pid in told
        ),
        encoding="utf-8",
    )
    lives = [
        Life(pid=11, began=_at(0), announced_s=2, ended=_at(3), evicted=True),
        Life(pid=12, began=_at(4), ended=_at(7)),
        Life(pid=13, began=_at(8)),
    ]
    lines = [
        *(_line(pid, 0, "journal", pid=pid) for pid in (11, 12, 13)),
        _line(11, 1.25, "notice", severity="reclaim"),
        _line(12, 4.25, "origin", origin="redeployed"),
        _begins(12, 4.5),
        _line(13, 8.25, "origin", origin="restarted"),
    ]
    done: dict[str, Status | None] = {"a": Status.DONE, "b": Status.DONE}
    return make_receipt(
        statuses=statuses or done,
        recordings=recordings or {"a": 1, "b": 1},
        steps=4,
        effects=effects,
        lines=lines,
        illegal_lines=illegal_lines,
        lives=lives,
        took_s=10.0,
    )


def test_a_receipt_counts_what_happened(tmp_path: Path) -> None:
    """Evictions, kills, notices, recoveries and redone work are what the evidence says."""
    receipt = json.loads(_receipt(tmp_path).to_json())
    assert receipt == {
        "jobs": 2,
        "completed": 2,
        "poisoned": 0,
        "lost": 0,
        "recorded_twice": 0,
        "steps": 4,
        "steps_redone": 2,
        "seconds_redone": 1.75,
        "evictions_with_notice": 1,
        "evictions_without_notice": 0,
        "process_kills": 1,
        "notices": [{"announced_s": 2, "left_s": 1.75}],
        "recoveries": [
            {"origin": "redeployed", "first_job_after_s": 0.5},
            {"origin": "restarted", "first_job_after_s": None},
        ],
        "illegal_lines": 0,
        "took_s": 10.0,
    }


def test_a_lost_job_breaks_the_promises(tmp_path: Path) -> None:
    """A job that is neither completed nor poisoned is lost, whether it has a record or not."""
    for left in (None, Status.OPEN, Status.RELEASED):
        receipt = _receipt(tmp_path, statuses={"a": Status.DONE, "b": left})
        assert (receipt.completed, receipt.lost, receipt.kept_the_promises) == (1, 1, False)
    receipt = _receipt(tmp_path, statuses={"a": Status.DONE, "b": Status.POISONED})
    assert (receipt.poisoned, receipt.lost, receipt.kept_the_promises) == (1, 0, True)


def test_an_illegal_line_breaks_the_promises(tmp_path: Path) -> None:
    """A journal that the replay refuses is told, whatever the store says."""
    receipt = _receipt(tmp_path, illegal_lines=1)
    assert (receipt.lost, receipt.illegal_lines, receipt.kept_the_promises) == (0, 1, False)


def test_a_result_written_twice_breaks_the_promises(tmp_path: Path) -> None:
    """A job whose result the store saw written twice is recorded twice."""
    receipt = _receipt(tmp_path, recordings={"a": 2, "b": 1})
    assert (receipt.recorded_twice, receipt.kept_the_promises) == (1, False)


def test_a_receipt_is_readable(tmp_path: Path) -> None:
    """People are shown the counts, with the notice as it was and the way back as it was."""
    console = Console(width=100, record=True, file=io.StringIO())
    console.print(_receipt(tmp_path).to_table())
    shown = console.export_text()
    for words in ("2 of 2 jobs", "2 of 4 steps (50.0%), 1.8 s", "1.8 s of 2 s", "1 redeployed, 1 restarted", "0.5 s"):
        assert words in shown, shown
