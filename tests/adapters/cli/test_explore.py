"""`spotfsm explore`: names the step at which a handler goes astray, and passes one that does not."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.adapters.cli.conftest import PATIENCE_S, Command

BROKEN = "simulator.examples.invoices_broken:handle"
RIGHT = "simulator.examples.invoices_right:handle"


def test_the_broken_example_is_caught_at_its_step(inside: Command) -> None:
    """Exit 1, and the lines name the file, the line and what came out differently."""
    ended = inside("explore", BROKEN)
    assert ended.code == 1
    assert "goes astray when killed before invoices_broken.py:22 `total += 1`, after invoices_broken.py:20" in ended.out
    assert "ledger.txt has 4 lines instead of 3: 'invoice 0: Ada' once too often" in ended.out
    assert """the result is '{"invoices":2}' instead of '{"invoices":3}'""" in ended.out


def test_the_right_example_passes(inside: Command) -> None:
    """Exit 0, after as many kills as there are steps."""
    ended = inside("explore", RIGHT, "--json")
    assert ended.code == 0
    shown = json.loads(ended.out)
    assert shown["ok"]
    (message,) = shown["messages"]
    assert message["findings"] == []
    assert message["result"] == '{"invoices":3}'
    assert message["kills"] == message["steps"] > 20
    assert message["notices"] > 0


def test_every_message_is_explored(inside: Command, jobs: str) -> None:
    """Each --message has its own verdict, and what the handler prints stays out of the result."""
    ended = inside("explore", f"{jobs}:handle", "--message", "one", "--message", "two", "--json")
    assert ended.code == 0
    assert [message["result"] for message in json.loads(ended.out)["messages"]] == ['{"text":"one"}', '{"text":"two"}']
    assert "handler" not in inside("explore", f"{jobs}:talking").out


def test_a_module_is_new_in_every_process(inside: Command, directory: Path) -> None:
    """What a handler keeps in its own or an imported module is lost with its process, as on a real VM."""
    (directory / "jobs.py").write_text(
        "import seen\n"
        "async def handle(job):\n"
        "    for number in range(job.progress or 0, 2):\n"
        "        seen.NUMBERS.append(number)\n"
        "        await job.checkpoint(number + 1)\n"
        "    return seen.NUMBERS\n"
    )
    (directory / "seen.py").write_text("NUMBERS = []\n")
    sys.modules.pop("seen", None)
    ended = inside("explore", "jobs:handle")
    assert ended.code == 1
    assert "the result is '[1]' instead of '[0,1]'" in ended.out


def test_a_copied_file_is_there_in_every_run(inside: Command, directory: Path) -> None:
    """What the handler reads can be given to it; the original is not touched."""
    (directory / "jobs.py").write_text(
        "from pathlib import Path\n"
        "async def handle(job):\n"
        "    text = Path('input.txt').read_text()\n"
        "    Path('input.txt').write_text('used')\n"
        "    return len(text) > 0\n"
    )
    (directory / "input.txt").write_text("abc")
    assert inside("explore", "jobs:handle", "--copy", "input.txt").code == 0
    assert (directory / "input.txt").read_text() == "abc"
    assert inside("explore", "jobs:handle", "--copy", "nothing").error_line.startswith("--copy: ")


@pytest.mark.parametrize(
    ("handler", "complaint"),
    [
        ("jobs", "handler: 'jobs' is not of the form module:function"),
        ("jobs:missing", "handler: 'jobs' has no 'missing'"),
        ("nowhere:handle", "handler: 'nowhere' cannot be imported"),
        ("jobs:failing", "handler: message '{}': undisturbed, it fails: ValueError: no such page"),
        ("chance:handle", "handler: message '{}': undisturbed, it does something else each time"),
    ],
)
def test_what_cannot_be_explored_is_said_in_one_line(
    inside: Command, directory: Path, jobs: str, handler: str, complaint: str
) -> None:
    """Exit 2, with the setting and the reason."""
    assert jobs == "jobs"
    (directory / "chance.py").write_text("import uuid\nasync def handle(job):\n    return uuid.uuid4().hex\n")
    sys.modules.pop("chance", None)
    ended = inside("explore", handler)
    assert ended.code == 2
    assert ended.error_line.startswith(complaint)


ENDLESS = """
import asyncio

async def sleeps(job):
    while True:
        await asyncio.sleep(1)

async def deaf(job):
    while True:
        try:
            while True:
                pass
        except BaseException:
            pass

async def long(job):
    for _ in range(300):
        await asyncio.sleep(1)
"""


@pytest.fixture
def endless(directory: Path) -> None:
    """A module of handlers that never end, or not soon."""
    (directory / "endless.py").write_text(ENDLESS)


@pytest.mark.usefixtures("endless")
def test_a_handler_that_never_ends_is_told_with_the_setting(inside: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    """Exit 2 after --run-timeout, and until then where it is; the line says what raises the limit."""
    monkeypatch.delitem(sys.modules, "endless", raising=False)
    ended = inside("explore", "endless:sleeps", "--run-timeout", "3s")
    assert ended.code == 2
    *progress, error = ended.err.splitlines()
    assert progress
    assert all(line.startswith("undisturbed run: 2 s, ") and "endless.py:" in line for line in progress)
    assert error.startswith("error: handler: message '{}': undisturbed, it has not ended after 3 s, ")
    assert error.endswith("Let it end; if it is only slow, raise --run-timeout or give it a smaller --message.")


@pytest.mark.processes
@pytest.mark.usefixtures("endless")
def test_one_that_catches_whatever_is_to_end_it_is_told_as_well(spotfsm: Command, tmp_path: Path) -> None:
    """Exit 2 all the same, with the process, and without its files."""
    scratch = tmp_path / "tmp"
    scratch.mkdir()
    ended = spotfsm("explore", "endless:deaf", "--run-timeout", "1s", env={"TMPDIR": str(scratch)})
    assert ended.code == 2
    assert "error: handler: message '{}': it has not ended after " in ended.err
    assert "Traceback" not in ended.err
    assert list(scratch.iterdir()) == []


@pytest.mark.processes
@pytest.mark.parametrize("handler", ["deaf", "sleeps"])
@pytest.mark.usefixtures("endless")
def test_ctrl_c_ends_whatever_runs(start: Callable[..., subprocess.Popen[str]], handler: str) -> None:
    """Exit 130 without a complaint, whatever the handler thinks of it."""
    command = start("explore", f"endless:{handler}", "--run-timeout", "1h")
    assert command.stderr is not None
    assert command.stderr.readline().startswith("undisturbed run: ")
    command.send_signal(signal.SIGINT)
    out, err = command.communicate(timeout=PATIENCE_S)
    assert command.returncode == 130
    assert out == ""
    assert all(line.startswith("undisturbed run: ") for line in err.splitlines()), err


@pytest.mark.processes
@pytest.mark.usefixtures("endless")
def test_after_ctrl_c_there_is_what_was_tried(start: Callable[..., subprocess.Popen[str]]) -> None:
    """Exit 130, and the numbers until then."""
    command = start("explore", "endless:long", "--json")
    assert command.stderr is not None
    while " runs" not in (line := command.stderr.readline()):
        assert line, command.wait()
    command.send_signal(signal.SIGINT)
    out, _ = command.communicate(timeout=PATIENCE_S)
    assert command.returncode == 130
    shown = json.loads(out)
    assert (shown["ok"], shown["interrupted"]) == (False, True)
    (message,) = shown["messages"]
    assert message["kills"] + message["notices"] >= int(line.split()[0])
    assert message["untried"] > 0
