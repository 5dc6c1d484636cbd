"""`spotfsm dev`: what it prints works as printed, and it leaves nothing behind."""

from __future__ import annotations

import json
import os
import shlex
import signal
import subprocess
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.adapters.cli.conftest import PATIENCE_S, Command

Start = Callable[..., subprocess.Popen[str]]


def pasted(command: str, directory: Path) -> dict[str, int]:
    """Run a line in a shell that knows nothing of us, and return the receipt it prints."""
    ended = subprocess.run(
        ["/bin/sh", "-c", f"{command} --json"],
        cwd=directory,
        env={"PATH": os.environ["PATH"], "HOME": str(directory)},
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    receipt: dict[str, int] = json.loads(ended.stdout)
    return receipt


def expect_gone(boot_id_file: Path, imds: str) -> None:
    """Neither files nor servers are left."""
    assert not boot_id_file.parent.exists()
    with pytest.raises(urllib.error.URLError, match="refused"):
        urllib.request.urlopen(imds, timeout=5)


@pytest.mark.azurite
@pytest.mark.processes
def test_the_printed_command_does_all_the_work(start: Start, directory: Path) -> None:
    """Pasted into a shell, the line on stdout completes the 100 messages; Ctrl-C ends the cloud, and all of it."""
    cloud = start("dev")
    assert cloud.stdout is not None
    command = next(line for line in cloud.stdout if line.strip()).strip()
    receipt = pasted(command, directory)
    assert (receipt["completed"], receipt["abandoned"], receipt["failures"]) == (100, 0, 0)
    cloud.send_signal(signal.SIGINT)
    _, err = cloud.communicate(timeout=PATIENCE_S)
    assert cloud.returncode == 0, err
    words = shlex.split(command)
    expect_gone(Path(words[words.index("--boot-id-file") + 1]), words[words.index("--imds") + 1])


@pytest.mark.azurite
@pytest.mark.processes
def test_a_program_reads_it_as_json_and_ends_it(start: Start) -> None:
    """Under --json all is one object, whose command works as well; SIGTERM ends the cloud as Ctrl-C does."""
    cloud = start("dev", "--messages", "1", "--json")
    assert cloud.stdout is not None
    printed = ""
    while not printed.endswith("\n}\n"):
        printed += cloud.stdout.readline()
        assert cloud.poll() is None
    told = json.loads(printed)
    assert told.keys() == {"queue", "store", "imds", "boot_id_file", "environment", "worker"}
    assert told["worker"][:3] == ["env", *(f"{name}={value}" for name, value in told["environment"].items())]
    assert {told["queue"], told["store"], told["imds"], told["boot_id_file"]} < {*told["worker"]}
    cloud.send_signal(signal.SIGTERM)
    _, err = cloud.communicate(timeout=PATIENCE_S)
    assert cloud.returncode == 0, err
    expect_gone(Path(told["boot_id_file"]), told["imds"])


def test_without_azurite_the_remedy_is_named(inside: Command) -> None:
    """An Azurite that is not there ends the command at once, in one line with the setting and the remedy."""
    ended = inside("dev", "--azurite", "nowhere")
    assert ended.code == 2
    assert ended.error_line.startswith("--azurite: there is no Azurite at nowhere. Name the directory")
