"""`spotfsm replay` and `spotfsm verify`: verdicts on journals, and on the machines themselves."""

from __future__ import annotations

import json
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

import pytest

from adapters.cli import verify
from adapters.cli.main import run
from fsm.application import APPLICATION
from fsm.checker.report import Check, Finding
from fsm.checker.tables import check_spot_vm, check_table
from fsm.checker.verify import Part
from fsm.job import JOB
from fsm.journal import FORMAT, LineMaker
from fsm.journal_kinds import Kind
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


@pytest.mark.illegal_journal
@pytest.mark.processes
def test_a_real_journal_is_legal_and_its_first_illegal_line_is_named(inside: Command, journal: Path) -> None:
    """A worker's journal passes promise by promise; with one row changed, replay names that line and exits 1."""
    result = inside("replay", "worker.jsonl", "--json")
    told = json.loads(result.out)
    assert result.code == 0
    assert told["legal"]
    assert (told["completed"], told["poisoned"], told["unfinished"]) == (5, 1, 0)
    assert set(told["promises"].values()) == {0}
    (drain,) = told["drains"]
    assert (drain["cause"], drain["evicted"], drain["redone_s"]) == ("the queue is empty", False, 0)

    lines = journal.read_text().splitlines(keepends=True)
    number = next(n for n, line in enumerate(lines) if '"row": "J21"' in line)
    lines[number] = lines[number].replace('"to": "Completed"', '"to": "Released"')
    journal.write_text("".join(lines))
    broken = inside("replay", "worker.jsonl")
    assert broken.code == 1
    assert f"worker.jsonl:{number + 1}: row_by_row: the table decides row J21" in broken.out
    assert "FAIL  row_by_row" in broken.out


@pytest.mark.illegal_journal
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
        (b"\x7fELF\x00\x01\xff", "is not a journal"),
        (b'{"n": 1, "at": "2026-01', "holds no whole line"),
        (b"x" * 1_000_000, "is not a journal"),
        (b"[" * 100_000 + b"\n", "is not a journal"),
        (b'{"n": 1, "at": "2026-01-01T00:00:00", "source": "a", "kind": "stop"}\n', "is not a journal"),
    ],
    ids=[
        "empty", "binary", "another log", "another format", "binary without a line", "torn", "one huge line",
        "deeply nested", "times of no zone",
    ],
)  # fmt: skip
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


def test_a_directory_gets_one_line(inside: Command, directory: Path) -> None:
    """A directory where a file is wanted: one line that names it, and exit code 2."""
    (directory / "logs").mkdir()
    result = inside("replay", "logs")
    assert result.code == 2
    assert "logs cannot be read: Is a directory" in result.error_line


def _lines(count: int, *, source: str = "1-a", first: int = 1) -> list[str]:
    """Lines of a process that hears from its IMDS again and again."""
    maker, at = LineMaker(source), datetime(2026, 1, 1, tzinfo=UTC)
    made = [maker.line(at, Kind.JOURNAL, {"format": FORMAT, "pid": 1})]
    made += [maker.line(at + timedelta(seconds=n), Kind.IMDS_ANSWERS, {}) for n in range(1, count)]
    return [f"{line}\n" for line in made[first - 1 :]]


def test_the_parts_of_a_rotated_journal_come_in_any_order(inside: Command, directory: Path) -> None:
    """A journal that was rotated into three files is legal however they are named, one even twice."""
    lines = _lines(30)
    for name, part in (("j", lines[20:]), ("j.1", lines[10:20]), ("j.2", lines[:10])):
        (directory / name).write_text("".join(part))
    for order in (("j", "j.1", "j.2"), ("j.1", "j", "j.2", "j.1"), ("j.2", "j")[:1], ("j", "j.1")):
        result = inside("replay", *order)
        assert result.code == 0, result.out
    gap = inside("replay", "j", "j.2")
    assert gap.code == 1
    assert "j:1: row_by_row: line 21 of this process follows its line 10" in gap.out


@pytest.mark.illegal_journal
@pytest.mark.parametrize("first", [0, 12], ids=["whole", "a part"])
def test_a_copy_beside_its_journal_is_one_clear_line(inside: Command, directory: Path, first: int) -> None:
    """The same lines in two files are no life of a process: both files are named, and nothing is judged."""
    lines = _lines(30)
    (directory / "j").write_text("".join(lines))
    (directory / "j.1").write_text("".join(_lines(30, source="2-b")))
    (directory / "a-copy").write_text("".join(lines[first:]))
    result = inside("replay", "j.1", "j", "a-copy")
    assert (result.code, result.out) == (2, "")
    assert result.error_line == (
        f"JOURNAL: j and a-copy hold the same lines, such as line {first + 1} of 1-a. Name one of the two."
    )
    (directory / "a-link").symlink_to("j")
    assert inside("replay", "j", "a-link").code == 0


@pytest.mark.illegal_journal
@pytest.mark.parametrize(
    ("between", "next_line", "said"),
    [
        ('{"n": 31, "at": "2026-0', 0, None),
        ("\0" * 40, 0, None),
        ('{"n": 31, "at": "2026-0', 1, "not a line of a journal"),
        ("somebody was here", 0, "not a line of a journal"),
        ('{"n": 31, "at": "2026-01-01T00:00:00+00:00", "source": "1-a"}', 0, "not a line of a journal"),
        ("x" * 70_000, 0, "longer than any line of a journal, 65536 bytes"),
    ],
    ids=["torn by a kill", "zeroed by a crash", "torn, and it went on", "a remark", "half a line", "huge"],
)
def test_only_what_a_kill_tore_may_stand_between_lines(
    inside: Command, directory: Path, between: str, next_line: int, said: str | None
) -> None:
    """A torn line is passed over where the next process's first line stands right behind it, and nowhere else."""
    behind = _lines(5, source="2-b", first=1 + next_line)
    (directory / "j").write_text("".join((*_lines(30), between, "\n", *behind)))
    result = inside("replay", "j")
    assert (result.code, said) in ((0, None), (1, said))
    if said is not None:
        assert f"j:31: row_by_row: {said}" in result.out


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


def test_parts_are_done_side_by_side_and_told_in_order(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The parts of a check are added up, and the checks come in their order whichever is done first."""

    def three(*, deep: bool) -> tuple[Part, ...]:
        assert not deep
        return (
            Part(check="tables", run=partial(check_table, APPLICATION)),
            Part(check="tables", run=partial(check_table, JOB)),
            Part(check="the VM", run=check_spot_vm),
        )

    monkeypatch.setattr(verify, "parts", three)
    assert run(["verify", "--json"]) == 0
    checks = json.loads(capsys.readouterr().out)["checks"]
    assert [check["name"] for check in checks] == ["table: application", "table: spot_vm"]
    assert checks[0]["counts"]["rows"] == len(APPLICATION.rows) + len(JOB.rows)


@pytest.mark.processes
def test_a_proof_that_is_killed_leaves_nobody_behind() -> None:
    """Whoever proves a part ends with the one who asked for it."""
    # The quick proof may be over before it has anything to say.
    command = [sys.executable, "-m", "adapters.cli", "verify", "--deep"]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as proof:
        assert proof.stderr is not None
        assert "parts are done" in proof.stderr.readline()
        children = Path(f"/proc/{proof.pid}/task/{proof.pid}/children").read_text().split()
        assert children
        proof.kill()
        proof.stderr.read()  # ends once nobody holds the other end
    commands = [Path(f"/proc/{child}/cmdline") for child in children]
    assert not any(command.exists() and command.read_bytes() for command in commands)  # a dead one's is empty


def test_what_does_not_hold_is_told_as_a_trace(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A finding is printed with its promise and the way to it, step by step, and the exit code is 1."""
    finding = Finding(promise="nothing_lost", what="the message is gone", trace=("it is received", "it is deleted"))

    def failing(*, deep: bool) -> tuple[Part, ...]:
        assert not deep
        check = Check(name="protocol", counts={"states": 2}, findings=(finding,))
        return (Part(check="protocol", run=lambda: check),)

    monkeypatch.setattr(verify, "parts", failing)
    assert run(["verify"]) == 1
    out = capsys.readouterr().out
    assert "FAIL  protocol: 2 states" in out
    assert "nothing_lost: the message is gone" in out
    assert "1. it is received\n" in out
    assert "2. it is deleted\n" in out
