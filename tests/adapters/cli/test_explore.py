"""`spotfsm explore`: names the step at which a handler goes astray, and passes one that does not."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from tests.adapters.cli.conftest import Command

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
