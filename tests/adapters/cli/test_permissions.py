"""The least privilege of each command: it is enough, nothing of it is too much, and doctor names what is missing."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import fields, replace
from itertools import count
from pathlib import Path

import pytest

from adapters.cli.permissions import NEEDS, ROLES, Needs, Permission
from tests.adapters.cli.conftest import Command
from tests.azurite import Azurite
from tests.proxy.guard import guarded

HANDLER = """
import asyncio

async def handle(job):
    await job.checkpoint(1)
    await asyncio.sleep(1.5)  # longer than half a lease
    if job.text == "fails":
        raise ValueError("as it was told to")
"""
WORKER = (
    *("worker", "--handler", "permitted:handle", "--until-empty", "--imds", "none"),
    *("--visibility-timeout", "2", "--retry-pause", "0", "--idle-poll-max", "0.2"),
)
COMMANDS: dict[str, Sequence[str]] = {
    "worker": WORKER,
    "enqueue": ("enqueue", "another"),
    "enqueue --create": ("enqueue", "another", "--create"),
    "status": ("status", "--json"),
    "doctor": ("doctor", "--json", "--imds", "none"),
    "prune": ("prune", "--older-than", "0s", "--json"),
}
MESSAGE_PROCESSOR = (Permission.LOOK_AT_MESSAGES, Permission.PROCESS_MESSAGES)
"""All that the built-in role has."""
_names = (f"permitted-{number}" for number in count())


@pytest.fixture
def name(inside: Command, azurite: Azurite, directory: Path) -> str:
    """A queue with a job that will do and one that will not, whose owner has every right."""
    name = next(_names)
    (directory / "permitted.py").write_text(HANDLER)
    places = ("--queue", azurite.queue_url(name), "--store", azurite.blob_url(f"{name}-store"))
    assert inside("enqueue", "works", "fails", "--create", *places).code == 0
    return name


def test_every_need_is_tried() -> None:
    """No command is left out."""
    assert COMMANDS.keys() == NEEDS.keys()
    assert ROLES.keys() == set(Permission)


@pytest.mark.parametrize("command", [one for one in COMMANDS if one != "prune"])
def test_a_command_needs_what_is_said_and_no_more(inside: Command, azurite: Azurite, name: str, command: str) -> None:
    """With these rights it does its work, renews, poisons and counts, and there is none that it does not use."""
    with guarded(azurite, name, NEEDS[command]) as storage:
        ended = inside(*COMMANDS[command], *storage.options)
        assert ended.code == 0, ended.out + ended.err
        assert storage.denied == Needs()
        assert storage.used == NEEDS[command]


def test_pruning_needs_what_is_said_and_no_more(inside: Command, azurite: Azurite, name: str) -> None:
    """Records and their confirmations are read and deleted, and nothing else is touched."""
    with guarded(azurite, name, NEEDS["worker"]) as storage:
        assert inside(*WORKER, *storage.options).code == 0
    with guarded(azurite, name, NEEDS["prune"]) as storage:
        ended = inside(*COMMANDS["prune"], *storage.options)
        assert json.loads(ended.out)["pruned"] == 2
        assert storage.denied == Needs()
        assert storage.used == NEEDS["prune"]


@pytest.mark.parametrize(
    ("place", "missing"),
    [(place.name, permission) for place in fields(Needs) for permission in getattr(NEEDS["doctor"], place.name)],
)
def test_doctor_names_the_right_that_is_missing(
    inside: Command, azurite: Azurite, name: str, place: str, missing: Permission
) -> None:
    """Whatever is not granted, one line names it and the roles that have it; and it alone is complained of."""
    everything = NEEDS["doctor"]
    granted = [one for one in getattr(everything, place) if one is not missing]
    with guarded(azurite, name, replace(everything, **{place: granted})) as storage:
        ended = inside(*COMMANDS["doctor"], *storage.options)
    bad = [check for check in json.loads(ended.out)["checks"] if "403" in check["text"]]
    assert len(bad) == 1, bad
    assert f"Grant {missing} ({ROLES[missing]})" in bad[0]["remedy"]
    needed = missing in getattr(NEEDS["worker"], place)
    assert (bad[0]["verdict"], ended.code) == (("FAIL", 1) if needed else ("warn", 0))
    assert "messages" not in bad[0]["text"] or name in bad[0]["text"]


def test_the_message_processor_role_is_found_too_little(inside: Command, azurite: Azurite, name: str) -> None:
    """The built-in role with the promising name can neither count messages nor renew a lease: both are said."""
    role = replace(NEEDS["doctor"], queue=MESSAGE_PROCESSOR)
    with guarded(azurite, name, role) as storage:
        ended = inside(*COMMANDS["doctor"], *storage.options)
    failed = {check["name"]: check["remedy"] for check in json.loads(ended.out)["checks"] if check["verdict"] == "FAIL"}
    assert failed.keys() == {"queue", "leases"}
    assert all("Message Processor does not have it" in remedy for remedy in failed.values())
    assert ended.code == 1


@pytest.mark.parametrize("command", ["enqueue", "enqueue --create", "status", "prune"])
def test_a_command_that_is_denied_says_so_in_one_line(
    inside: Command, azurite: Azurite, name: str, command: str
) -> None:
    """Exit code 2, the setting, Azure's own word for it, and where to find out more."""
    with guarded(azurite, name, Needs()) as storage:
        ended = inside(*COMMANDS[command], *storage.options)
    assert ended.code == 2
    assert ended.error_line.startswith("--")
    assert "AuthorizationPermissionMismatch (403)" in ended.error_line
    assert "spotfsm doctor" in ended.error_line
