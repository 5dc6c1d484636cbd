"""`spotfsm status` and `spotfsm prune`: what became of the jobs, and what is forgotten of them."""

from __future__ import annotations

import asyncio
import io
import json
import os
import pty
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

import pytest
from rich.console import Console

from adapters.cli.status_view import Table, follow
from fsm.backlog import Backlog, backlog_of
from fsm.errors import PlatformError, ReplyLostError
from fsm.ports import Peeked
from tests.adapters.cli.conftest import PATIENCE_S, Command
from tests.azurite import Azurite

Start = Callable[..., subprocess.Popen[str]]


def wait_for(journal: Path, text: str, *, times: int = 1) -> None:
    """Wait until the journal holds a text so often."""
    give_up_s = time.monotonic() + PATIENCE_S
    while not journal.exists() or journal.read_text().count(text) < times:
        assert time.monotonic() < give_up_s, f"{text} never came"
        time.sleep(0.02)


def test_people_see_a_table_and_no_line_twice(inside: Command) -> None:
    """Names and numbers; the store's own count of poisoned jobs only where it says something else."""
    inside("enqueue", "--count", 3)
    lines = inside("status").out.splitlines()
    assert [line.split() for line in lines] == [
        ["queue", "jobs"],
        ["queued", "3"],
        ["waiting", "3"],
        ["leased", "0"],
        ["running", "0"],
        ["released", "0"],
        ["checkpointed", "0"],
        ["completed", "0"],
        ["poisoned", "0"],
    ]


def test_a_long_queue_is_an_estimate_and_says_so(inside: Command) -> None:
    """Past what a look shows, the number of waiting jobs is about right, to people and to programs."""
    inside("enqueue", "--count", 40)
    assert "waiting       about 40" in inside("status").out
    status = json.loads(inside("status", "--json").out)
    assert (status["waiting"], status["waiting_exact"], status["leased"]) == (40, False, 0)


def test_the_work_that_waits_runs_and_goes_on_is_told_apart(
    inside: Command, start: Start, directory: Path, jobs: str
) -> None:
    """While a worker holds two jobs the rest waits; once it is drained, two go on from saved progress."""
    inside("enqueue", "--count", 5)
    worker = start("worker", "--handler", f"{jobs}:slow", "--concurrency", 2, "--journal", "j.jsonl")
    wait_for(directory / "j.jsonl", '"J19"', times=4)
    status = json.loads(inside("status", "--json").out)
    counted = {name: status[name] for name in ("queued", "waiting", "leased", "running", "checkpointed")}
    assert counted == {"queued": 5, "waiting": 3, "leased": 2, "running": 2, "checkpointed": 0}
    worker.send_signal(signal.SIGTERM)
    worker.communicate(timeout=PATIENCE_S)
    status = json.loads(inside("status", "--json").out)
    counted = {name: status[name] for name in ("queued", "waiting", "leased", "running", "checkpointed")}
    assert counted == {"queued": 5, "waiting": 5, "leased": 0, "running": 0, "checkpointed": 2}


def test_watching_by_pipe_is_a_line_for_each_change_and_ctrl_c_is_no_failure(inside: Command, start: Start) -> None:
    """The first line says how it stands, the next one what changed; Ctrl-C ends it with 0 and no word."""
    inside("enqueue", "--count", 1)
    watching = start("status", "--watch", "--interval", "0.1s")
    assert watching.stdout is not None
    first = watching.stdout.readline()
    inside("enqueue", "--count", 1)
    second = watching.stdout.readline()
    watching.send_signal(signal.SIGINT)
    out, err = watching.communicate(timeout=PATIENCE_S)
    assert ("waiting 1 " in first, "waiting 2 " in second, watching.returncode, out, err) == (True, True, 0, "", "")


def test_watching_for_a_program_is_an_object_a_line(inside: Command, start: Start) -> None:
    """Each line is what `status --json` says, and when."""
    inside("enqueue", "--count", 1)
    watching = start("status", "--watch", "--interval", "0.1s", "--json")
    assert watching.stdout is not None
    lines = [json.loads(watching.stdout.readline()) for _ in range(3)]
    watching.send_signal(signal.SIGINT)
    watching.communicate(timeout=PATIENCE_S)
    assert watching.returncode == 0
    once = json.loads(inside("status", "--json").out)
    for line in lines:
        assert datetime.fromisoformat(line.pop("at")).tzinfo is not None
        assert line == once


def test_watching_what_is_not_there_is_an_error(inside: Command) -> None:
    """A misspelt queue is one line and exit code 2, and no empty table."""
    ended = inside("status", "--watch")
    assert ended.code == 2
    assert ended.error_line.startswith("--queue: ")


async def test_a_service_that_is_silent_for_a_while_does_not_end_the_view(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """What goes wrong in between is said, and the next count is shown."""
    answers: list[Backlog | PlatformError] = [backlog(1), ReplyLostError("no answer"), backlog(2)]

    async def count() -> Backlog:
        if not answers:
            raise asyncio.CancelledError
        answer = answers.pop(0)
        if isinstance(answer, PlatformError):
            raise answer
        return answer

    with pytest.raises(asyncio.CancelledError):
        await follow("jobs", count, interval_s=0.0, as_json=False)
    shown = capsys.readouterr()
    assert [line.split()[1:3] for line in shown.out.splitlines()] == [["waiting", "1"], ["waiting", "2"]]
    assert shown.err == "no answer\n"


def test_rates_are_those_of_the_last_minute_and_are_not_guessed() -> None:
    """Nothing is said of a moment; after a change of pace only the last minute counts; a gap in between is bridged."""
    now_s = 0.0
    table = Table("jobs", now_s=lambda: now_s)
    rates = []
    for at_s, waiting in ((0, 0), (5, 1), (30, 6), (60, 12), (90, 72), (120, 132)):
        now_s = at_s
        table.show(backlog(waiting))
        rates.append(table.rate("waiting"))
    table.fail(ReplyLostError("no answer"))
    assert rates == [None, None, 12, 12, 66, 120]
    assert table.rate("running") is None, "there is no store"
    screen = io.StringIO()
    Console(width=100, file=screen).print(table.render())
    shown = screen.getvalue()
    assert "+120" in shown
    assert "no answer" in shown


def backlog(waiting: int) -> Backlog:
    return backlog_of(length=waiting, peeked=Peeked(waiting=waiting, expiring=0), poisoned=0, totals=None)


def test_on_a_terminal_the_view_stays_in_its_place_and_ends_with_0(inside: Command, directory: Path) -> None:
    """A person sees a table with what each count means, and Ctrl-C leaves the terminal as it was."""
    inside("enqueue", "--count", 7)
    master, slave = pty.openpty()
    watching = subprocess.Popen(
        [sys.executable, "-m", "adapters.cli", "status", "--watch", "--interval", "0.2s"],
        cwd=directory,
        stdin=slave,
        stdout=slave,
        stderr=slave,
        env={**os.environ, "TERM": "xterm-256color", "COLUMNS": "80", "LINES": "24"},
    )
    os.close(slave)
    shown = b""
    deadline_s = time.monotonic() + PATIENCE_S
    while shown.count(b"queue jobs") < 3:
        assert time.monotonic() < deadline_s, shown
        if select.select([master], [], [], 0.1)[0]:
            shown += os.read(master, 65536)
    watching.send_signal(signal.SIGINT)
    assert watching.wait(timeout=PATIENCE_S) == 0
    if select.select([master], [], [], 0.5)[0]:
        shown += os.read(master, 65536)
    os.close(master)
    text = shown.decode()
    assert "can be received now" in text
    assert "Traceback" not in text
    assert text.rindex("\x1b[?25h") > text.rindex("\x1b[?25l"), "the cursor is shown again"


@pytest.mark.processes
@pytest.mark.parametrize("where", ["sqlite", pytest.param("azurite", marks=pytest.mark.azurite)])
def test_records_are_pruned_when_they_are_old_enough(
    spotfsm: Command, jobs: str, where: str, request: pytest.FixtureRequest
) -> None:
    """What ended just now is kept by default, and removed by --older-than 0."""
    places: tuple[str, ...] = ()
    if where == "azurite":
        azurite = request.getfixturevalue("azurite")
        assert isinstance(azurite, Azurite)
        places = ("--queue", azurite.queue_url("cli-prune"), "--store", azurite.blob_url("cli-prune"))
        spotfsm("enqueue", "--count", 4, *places, "--create")
    else:
        spotfsm("enqueue", "--count", 4)
    assert spotfsm("worker", "--handler", f"{jobs}:handle", "--until-empty", *places).code == 0
    assert json.loads(spotfsm("prune", "--json", *places).out) == {
        "queue": places[1][-9:] if places else "jobs",
        "pruned": 0,
    }
    assert json.loads(spotfsm("status", "--json", *places).out)["completed"] == 4
    assert json.loads(spotfsm("prune", "--json", "--older-than", "0s", *places).out)["pruned"] == 4
    assert json.loads(spotfsm("status", "--json", *places).out)["completed"] == 0
