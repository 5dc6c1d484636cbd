"""`spotfsm replay` and `spotfsm verify`: verdicts on journals, and on the machines themselves."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from adapters.cli import verify
from adapters.cli.main import run
from fsm.checker.report import Check, Finding
from tests.adapters.cli.conftest import Command


@pytest.fixture
def journal(spotfsm: Command, directory: Path) -> Path:
    """The journal of a real worker that completed five jobs and poisoned one."""
    (directory / "mixed.py").write_text(
        "async def handle(job):\n"
        "    await job.checkpoint(1)\n"
        "    assert job.text != 'bad'\n"
    )  # fmt: skip
    spotfsm("enqueue", "good", "--count", 5)
    spotfsm("enqueue", "bad")
    ended = spotfsm(
        "worker", "--handler", "mixed:handle", "--until-empty", "--retry-pause", "0s", "--journal", "worker.jsonl"
    )
    assert ended.code == 0, ended.err
    return directory / "worker.jsonl"


@pytest.mark.processes
def test_a_real_journal_is_legal_and_its_first_illegal_line_is_named(inside: Command, journal: Path) -> None:
    """A worker's journal passes promise by promise; with one row changed, replay names that line and exits 1."""
    result = inside("replay", "worker.jsonl", "--json")
    told = json.loads(result.out)
    assert result.code == 0
    assert told["legal"]
    assert (told["completed"], told["poisoned"], told["unfinished"]) == (5, 1, 0)
    assert set(told["promises"].values()) == {0}

    lines = journal.read_text().splitlines(keepends=True)
    number = next(n for n, line in enumerate(lines) if '"row": "J21"' in line)
    lines[number] = lines[number].replace('"to": "Completed"', '"to": "Released"')
    journal.write_text("".join(lines))
    broken = inside("replay", "worker.jsonl")
    assert broken.code == 1
    assert f"worker.jsonl:{number + 1}: row_by_row: the table decides row J21" in broken.out
    assert "FAIL  row_by_row" in broken.out


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "is empty"),
        (b"\x7fELF\x00\x01\xff\n\xfe\n", "is not a journal"),
        (b'{"level": "info", "message": "somebody else\'s log"}\n', "is not a journal"),
        (
            b'{"n": 1, "at": "2026-01-01T00:00:00+00:00", "source": "a", "kind": "journal", "format": 99}\n',
            "is of format 99",
        ),
    ],
    ids=["empty", "binary", "another log", "another format"],
)
def test_what_is_no_journal_gets_one_line(inside: Command, directory: Path, content: bytes, said: str) -> None:
    """An empty file, a binary, somebody else's log and a newer format: one line with a remedy, and exit code 2."""
    (directory / "x.jsonl").write_bytes(content)
    result = inside("replay", "x.jsonl")
    assert result.code == 2
    assert said in result.error_line
    assert result.error_line.startswith("JOURNAL: x.jsonl")


def test_a_missing_journal_gets_one_line(inside: Command) -> None:
    """A file that is not there: one line that names it, and exit code 2."""
    result = inside("replay", "nowhere.jsonl")
    assert result.code == 2
    assert "nowhere.jsonl cannot be read" in result.error_line


def test_the_machines_hold(inside: Command) -> None:
    """`verify` proves the tables, the joint machine and the protocol, and says how much it looked at."""
    result = inside("verify", "--json")
    told = json.loads(result.out)
    assert result.code == 0
    assert told["ok"]
    names = [check["name"] for check in told["checks"]]
    assert {"table: spot_vm", "table: application", "table: job", "joint machine"} <= set(names)
    protocol = [check for check in told["checks"] if check["name"].startswith("protocol")]
    assert protocol
    assert all(check["counts"]["states"] > 100 for check in protocol)


def test_what_does_not_hold_is_told_as_a_trace(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A finding is printed with its promise and the way to it, step by step, and the exit code is 1."""
    finding = Finding(promise="nothing_lost", what="the message is gone", trace=("it is received", "it is deleted"))

    def failing(*, deep: bool) -> Iterator[Check]:
        assert not deep
        yield Check(name="protocol", counts={"states": 2}, findings=(finding,))

    monkeypatch.setattr(verify, "checks", failing)
    assert run(["verify"]) == 1
    out = capsys.readouterr().out
    assert "FAIL  protocol: 2 states" in out
    assert "nothing_lost: the message is gone" in out
    assert "1. it is received\n" in out
    assert "2. it is deleted\n" in out
