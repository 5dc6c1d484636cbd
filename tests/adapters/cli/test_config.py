"""Settings: flags over the environment over the TOML file, under one name."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.adapters.cli.conftest import Command


@pytest.fixture(autouse=True)
def queues(inside: Command) -> None:
    """Three queues of different lengths."""
    for length, name in enumerate(("one", "two", "three"), 1):
        inside("enqueue", "--count", length, "--queue", f"sqlite:///a.db#{name}")


def queue_of(ended_out: str) -> str:
    return str(json.loads(ended_out)["queue"])


def test_a_flag_wins_over_the_environment_and_that_over_the_file(inside: Command, directory: Path) -> None:
    """The nearer to the command, the stronger."""
    (directory / "spotfsm.toml").write_text('queue = "sqlite:///a.db#one"\n')
    env = {"SPOTFSM_QUEUE": "sqlite:///a.db#two"}
    assert queue_of(inside("status", "--json").out) == "one"
    assert queue_of(inside("status", "--json", env=env).out) == "two"
    assert queue_of(inside("status", "--json", "--queue", "sqlite:///a.db#three", env=env).out) == "three"


def test_a_file_can_be_named(inside: Command, directory: Path) -> None:
    """By flag or by variable; the one in the working directory is then not read."""
    (directory / "spotfsm.toml").write_text("no TOML at all")
    (directory / "other.toml").write_text('queue = "sqlite:///a.db#two"\n')
    assert queue_of(inside("status", "--json", "--config", "other.toml").out) == "two"
    assert queue_of(inside("status", "--json", env={"SPOTFSM_CONFIG": "other.toml"}).out) == "two"


def test_a_command_has_a_table_of_its_own(inside: Command, directory: Path) -> None:
    """What stands in its table wins over what all commands share, and other commands do not see it."""
    (directory / "spotfsm.toml").write_text(
        'queue = "sqlite:///a.db#one"\nimds = "none"\n[status]\nqueue = "sqlite:///a.db#two"\n[worker]\nconcurrency = 4'
    )
    assert queue_of(inside("status", "--json").out) == "two"
    assert queue_of(inside("enqueue", "x", "--json").out) == "one"


def test_values_are_checked_like_flags(inside: Command, directory: Path, jobs: str) -> None:
    """Numbers and durations may be written as TOML has them; a bad one names its flag."""
    (directory / "spotfsm.toml").write_text(
        f'queue = "sqlite:///a.db#one"\n[worker]\nhandler = "{jobs}:handle"\nvisibility-timeout = "1ms"\n'
    )
    ended = inside("worker", "--until-empty")
    assert ended.code == 2
    assert ended.error_line.startswith("--visibility-timeout: ")


@pytest.mark.processes
def test_a_worker_is_set_up_by_a_file_alone(spotfsm: Command, directory: Path, jobs: str) -> None:
    """Everything a unit file would repeat can stand in one place."""
    (directory / "spotfsm.toml").write_text(
        f'queue = "sqlite:///a.db#three"\ninstance = 7\n[worker]\nhandler = "{jobs}:handle"\nuntil_empty = true\n'
        "visibility_timeout = 30\nconcurrency = 2\n"
    )
    receipt = json.loads(spotfsm("worker", "--json").out)
    assert (receipt["queue"], receipt["instance"], receipt["completed"]) == ("three", "7", 3)


@pytest.mark.processes
@pytest.mark.parametrize(("value", "code"), [("1", 0), ("true", 0), ("maybe", 2)])
def test_a_switch_can_be_set_in_the_environment(spotfsm: Command, jobs: str, value: str, code: int) -> None:
    """A unit file may say `SPOTFSM_UNTIL_EMPTY=1`; what is neither yes nor no is refused."""
    env = {"SPOTFSM_UNTIL_EMPTY": value, "SPOTFSM_QUEUE": "sqlite:///a.db#one", "SPOTFSM_HANDLER": f"{jobs}:handle"}
    ended = spotfsm("worker", env=env)
    assert ended.code == code
    if code:
        assert ended.error_line.startswith("--until-empty: ")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("queue = ", "is not TOML"),
        ("qeue = 'x'", "'qeue' at the top of"),
        ("handler = 'jobs:handle'", "'handler' at the top of"),
        ("[status]\nconcurrency = 3", "'concurrency' under [status]"),
        ("[stauts]\nqueue = 'x'", "'stauts' as a table"),
        ("queue = ['a', 'b']", "queue in"),
        ("queue = 2026-11-01", "queue in"),
    ],
)
def test_a_file_with_a_mistake_is_refused(inside: Command, directory: Path, text: str, told: str) -> None:
    """A misspelt setting is not a setting that is not there."""
    (directory / "spotfsm.toml").write_text(text)
    ended = inside("status")
    assert ended.code == 2
    assert told in ended.error_line


@pytest.mark.parametrize("name", ["missing.toml", "."])
def test_a_file_that_cannot_be_read_is_named(inside: Command, name: str) -> None:
    """Whoever names a file wants it to be read."""
    ended = inside("status", "--config", name)
    assert ended.code == 2
    assert ended.error_line.startswith(f"--config: {name} cannot be read")
