"""The way in: exit codes, one line for every mistake, and never a traceback."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from adapters.cli import status
from adapters.cli.commands import COMMANDS
from adapters.cli.main import build, run
from tests.adapters.cli.conftest import Command


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_explains_itself_with_an_example(inside: Command, name: str) -> None:
    """`--help` shows what a command does, and a line to start from."""
    ended = inside(name, "--help")
    assert ended.code == 0
    assert f"Usage: spotfsm {name}" in ended.out
    if name != "twin":
        assert f"Example: spotfsm {name}" in ended.out


def test_without_a_command_the_commands_are_listed(inside: Command) -> None:
    """Whoever types the bare name learns what there is."""
    ended = inside()
    assert ended.code == 0
    assert all(name in ended.out for name in COMMANDS)
    assert inside("--help").out == ended.out


def test_the_version_is_told(inside: Command) -> None:
    """A report of a fault can say which version it is about."""
    assert inside("--version").out.startswith("spotfsm ")


def test_only_the_command_that_is_called_is_imported() -> None:
    """A worker does not pay for the twin's HTTP server."""
    assert [command.name for command in build(["status"]).registered_commands] == ["status"]
    assert len(build([]).registered_commands) > 1


MISUSES = [
    (("bogus",), "bogus"),
    (("status", "--bogus"), "--bogus"),
    (("status", "extra"), "extra"),
    (("worker",), "--handler"),
    (("worker", "--handler"), "--handler"),
    (("worker", "--handler", "jobs:handle", "--concurrency", "0"), "--concurrency"),
    (("worker", "--handler", "jobs:handle", "--concurrency", "257"), "--concurrency"),
    (("worker", "--handler", "jobs:handle", "--concurrency", "many"), "--concurrency"),
    (("worker", "--handler", "jobs:handle", "--visibility-timeout", "1s"), "--visibility-timeout"),
    (("worker", "--handler", "jobs:handle", "--visibility-timeout", "8d"), "--visibility-timeout"),
    (("worker", "--handler", "jobs:handle", "--visibility-timeout", "5 minutes"), "--visibility-timeout"),
    (("worker", "--handler", "jobs:handle", "--job-timeout", "-1"), "--job-timeout"),
    (("worker", "--handler", "jobs:handle", "--imds-poll", "0.1s"), "--imds-poll"),
    (("worker", "--handler", "jobs:handle", "--instance", "a/b"), "--instance"),
    (("worker", "--handler", "jobs:handle", "--message-encoding", "utf-16"), "--message-encoding"),
    (("worker", "--handler", "jobs:handle", "--credential", "password"), "--credential"),
    (("worker", "--handler", "jobs:handle", "--imds", "ftp://x"), "--imds"),
    (("worker", "--handler", "jobs:handle", "--journal", "missing/journal"), "--journal"),
    (("worker", "--handler", "jobs:handle", "--boot-id-file", "missing"), "--boot-id-file"),
    (("worker", "--handler", "jobs:handle", "--", "true"), "--handler"),
    (("worker", "--handler", "jobs:handle", "--instances", "0"), "--instances"),
    (("worker", "--handler", "jobs:handle", "--instances", "33"), "--instances"),
    (("worker", "--handler", "jobs:handle", "--job-memory", "2G"), "--job-memory"),
    (("worker", "--handler", "jobs:plain", "--job-memory", "2"), "--job-memory"),
    (("worker", "--handler", "jobs:plain", "--job-memory", "much"), "--job-memory"),
    (("worker", "--handler", "jobs:plain", "--python", "missing/python"), "--python"),
    (("worker", "--handler", "jobs:plain", "--python", "/bin/true"), "--python"),
    (("worker", "--handler", "jobs:nothing", "--python", sys.executable), "--handler"),
    (("worker", "--python", sys.executable, "--", "true"), "--python"),
    (("worker", "--", "./missing.sh"), "COMMAND"),
    (("worker", "missing", "--until-empty"), "COMMAND"),
    (("worker", "--handler", "jobs:nothing"), "--handler"),
    (("status", "--queue", "jobs"), "--queue"),
    (("status", "--queue", "sqlite:///missing/jobs.db"), "--queue"),
    (("status", "--queue", "sqlite:///other.db"), "--queue"),
    (("status", "--queue", "https://account.blob.core.windows.net/jobs"), "--queue"),
    (("status", "--store", "sqlite:///a.db#x"), "--store"),
    (("enqueue",), "TEXT"),
    (("enqueue", "--count", "0"), "--count"),
    (("enqueue", "--file", "missing"), "--file"),
    (("prune", "--older-than", "soon"), "--older-than"),
    (("prune", "--store", "none"), "--store"),
    (("draw",), "--root"),
    (("doctor", "--queue", "x"), "--queue"),
    (("twin", "bogus"), "bogus"),
    (("twin", "evict", "--notice", "soon"), "--notice"),
    (("twin", "evict", "--url", "x"), "--url"),
    (("twin", "fault", "1000"), "kind"),
    (("twin", "serve", "--port", "70000"), "--port"),
]


@pytest.mark.parametrize(("arguments", "named"), MISUSES, ids=[" ".join(arguments) for arguments, _ in MISUSES])
def test_a_mistake_is_one_line_that_names_the_setting(
    inside: Command, jobs: str, arguments: tuple[str, ...], named: str
) -> None:
    """Exit code 2, and a line with the setting, the problem and what to do."""
    assert jobs
    inside("enqueue", "--create")
    ended = inside(*arguments)
    assert ended.code == 2
    assert named in ended.error_line


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (("simulate", "price-spike", "weekend"), "Got unexpected extra argument(s) (weekend)."),
        (("simulate", "--jurnal", "x"), "No such option: --jurnal (Possible options: --journal)."),
        (("simulat",), "No such command 'simulat'. Did you mean 'simulate'?"),
        (("simulate", "--seed"), "Option '--seed' requires an argument."),
    ],
)
def test_the_way_to_help_is_a_sentence_of_its_own(inside: Command, arguments: tuple[str, ...], problem: str) -> None:
    """However the problem's sentence ends: with a bracket, with a question, or with nothing."""
    ended = inside(*arguments)
    assert ended.code == 2
    assert ended.error_line == f"{problem} See spotfsm --help and spotfsm COMMAND --help."


def test_a_file_that_is_no_database_is_named(inside: Command, directory: Path, jobs: str) -> None:
    """A damaged file, or another program's, is neither read nor overwritten."""
    (directory / "torn.db").write_bytes(b"SQLite format 3\0" + b"\xff" * 5000)
    (directory / "notes.db").write_text("these are my notes\n" * 400)
    for name in ("torn.db", "notes.db"):
        before = (directory / name).read_bytes()
        for arguments in (("status",), ("enqueue", "a"), ("worker", "--handler", f"{jobs}:handle", "--until-empty")):
            ended = inside(*arguments, "--queue", f"sqlite:///{name}")
            assert ended.code == 2
            assert "--queue" in ended.error_line
        assert (directory / name).read_bytes() == before


UNKNOWN = [
    (("--queue", "sqlite:///a.db#flims"), "--queue"),
    (("--queue", "sqlite:///b.db#films"), "--queue"),
    (("--queue", "sqlite:///a.db#films", "--store", "sqlite:///typo.db"), "--store"),
]


@pytest.mark.parametrize("unknown", UNKNOWN, ids=["name", "file", "store"])
@pytest.mark.parametrize("command", ["status", "prune", "worker", "worker --instances 2"])
def test_what_nobody_created_is_unknown(
    inside: Command, directory: Path, jobs: str, command: str, unknown: tuple[tuple[str, ...], str]
) -> None:
    """A misspelt address is not an empty queue or store: one line names the setting and what creates it."""
    places, named = unknown
    inside("enqueue", "a", "--queue", "sqlite:///a.db#films")
    working = ("--handler", f"{jobs}:handle", "--until-empty") if command.startswith("worker") else ()
    ended = inside(*command.split(), *places, *working)
    assert ended.code == 2
    assert ended.error_line.startswith(f"{named}: ")
    assert "`spotfsm enqueue --create`" in ended.error_line or command == "prune"
    assert {path.name for path in directory.glob("*.db")} == {"a.db"}


def test_a_service_that_does_not_answer_is_no_misuse(inside: Command) -> None:
    """Nobody listens there: exit code 1, for a later try may succeed."""
    ended = inside("status", "--queue", "http://127.0.0.1:9/devstoreaccount1/jobs")
    assert ended.code == 1
    assert ended.error_line.startswith("--queue: ")


def test_a_bug_of_ours_is_one_line_too(
    inside: Command, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """A traceback is shown to those who ask for one."""

    def broken(*_: object, **__: object) -> None:
        raise ZeroDivisionError("1/0")

    monkeypatch.setattr(status, "find_storage", broken)
    ended = inside("status")
    assert ended.code == 70
    assert ended.error_line.startswith("ZeroDivisionError: 1/0. This is a bug")
    monkeypatch.setenv("SPOTFSM_DEBUG", "1")
    assert run(["status"]) == 70
    assert "Traceback" in capfd.readouterr().err


def test_nothing_that_a_terminal_would_obey_is_printed(inside: Command) -> None:
    """An escape sequence in an argument stays harmless in the error about it."""
    ended = inside("status", "--queue", "sqlite:///a.db#\x1b[2J\nx")
    assert ended.code == 2
    assert ended.error_line.isprintable()


@pytest.mark.processes
def test_a_reader_that_goes_away_is_no_error(spotfsm: Command, directory: Path) -> None:
    """`spotfsm ... | head -1` ends without a word."""
    spotfsm("enqueue", "a")
    ended = subprocess.run(
        f"{sys.executable} -m adapters.cli enqueue --count 20000 --json | head -1",
        shell=True,
        cwd=directory,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert "Traceback" not in ended.stderr
    assert "error" not in ended.stderr


@pytest.mark.processes
@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_what_a_job_prints_gets_into_no_file_of_ours(spotfsm: Command, directory: Path, closed: str) -> None:
    """Started without standard streams, a worker does its jobs, and their words are nowhere in its files."""
    (directory / "jobs.py").write_text("def handle(job):\n    print('a word', flush=True)\n")
    spotfsm("enqueue", "a", "b")
    worker = "worker --handler jobs:handle --until-empty --journal journal"
    ended = subprocess.run(
        f"{sys.executable} -m adapters.cli {worker} {closed}", shell=True, cwd=directory, timeout=60, check=False
    )
    assert ended.returncode == 0
    assert json.loads(spotfsm("status", "--json").out)["completed"] == 2
    assert not [
        path
        for path in directory.iterdir()
        if path.is_file() and path.suffix != ".py" and b"a word" in path.read_bytes()
    ]


@pytest.mark.processes
@pytest.mark.parametrize("kind", ["async def", "def"])
@pytest.mark.parametrize("log", ["2>/dev/full", "2>&1 >/dev/null | true", "--log json 2>/dev/full"])
def test_a_log_that_cannot_be_written_stops_no_job(spotfsm: Command, directory: Path, log: str, kind: str) -> None:
    """Whether its disk is full or its reader has gone, jobs that print are done, as if everything had been read."""
    (directory / "jobs.py").write_text(f"{kind} handle(job):\n    print('a word', flush=job.text == 'never')\n")
    spotfsm("enqueue", "a", "b")
    worker = f"{sys.executable} -m adapters.cli worker --handler jobs:handle --until-empty"
    script = f"set -o pipefail; {worker} {log}"
    subprocess.run(["bash", "-c", script], cwd=directory, timeout=60, check=True)
    assert json.loads(spotfsm("status", "--json").out)["completed"] == 2


@pytest.mark.processes
def test_a_full_disk_is_no_bug_of_ours(spotfsm: Command, directory: Path) -> None:
    """A result that cannot be written is one line, and exit code 1."""
    spotfsm("enqueue", "a")
    with Path("/dev/full").open("w") as full:
        ended = subprocess.run(
            [sys.executable, "-m", "adapters.cli", "status"],
            cwd=directory, stdout=full, stderr=subprocess.PIPE, text=True, timeout=60, check=False,
        )  # fmt: skip
    assert ended.returncode == 1
    assert ended.stderr.startswith("error: there is no room for what was to be written")
    assert ended.stderr.count("\n") == 1
