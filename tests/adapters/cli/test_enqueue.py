"""`spotfsm enqueue`: what is put, how often, and what is said of what was not."""

from __future__ import annotations

import asyncio
import json
import sqlite3
from pathlib import Path

import pytest

from adapters import wiring
from adapters.addresses import find_storage
from tests.adapters.cli.conftest import Command
from tests.azurite import Azurite


def bodies(queue: str | None = None) -> list[str]:
    """Every message on the queue, in the order of their texts; they stay leased."""

    async def receive() -> list[str]:
        found: list[str] = []
        async with wiring.open_storage(find_storage(queue, None)) as storage:
            while page := await storage.queue.receive(max_messages=32, visibility_timeout_s=60, timeout_s=10):
                found += [message.text for message in page]
        return sorted(found)

    return asyncio.run(receive())


def test_each_argument_is_a_message(inside: Command) -> None:
    """The embedded queue is created on the fly."""
    assert inside("enqueue", "b", "a", "a").code == 0
    assert bodies() == ["a", "a", "b"]


def test_a_worker_can_be_started_before_the_first_message(inside: Command, directory: Path) -> None:
    """--create alone makes the queue and a store in another file, and puts nothing; what is there, it leaves alone."""
    places = ("--queue", "sqlite:///a.db#films", "--store", "sqlite:///b.db")
    for queued in (0, 1):
        ended = inside("enqueue", "--create", "--json", *places)
        assert (ended.code, json.loads(ended.out)["put"]) == (0, 0)
        status = json.loads(inside("status", "--json", *places).out)
        assert (status["queued"], status["completed"]) == (queued, 0)
        inside("enqueue", "a", *places)
    assert {path.name for path in directory.glob("*.db")} == {"a.db", "b.db"}


def test_each_line_of_a_file_is_a_message(inside: Command, directory: Path) -> None:
    """Empty lines are none; blanks and the last line without an end are kept."""
    (directory / "lines").write_bytes("one\r\n\n two \nthrée".encode())
    assert inside("enqueue", "zero", "--file", "lines").code == 0
    assert bodies() == [" two ", "one", "thr\u00e9e", "zero"]


def test_a_count_repeats_and_numbers_the_messages(inside: Command) -> None:
    """`{n}` is the number; without a message the numbers are the messages."""
    inside("enqueue", '{"page": {n}}', "--count", 2)
    inside("enqueue", "--count", 2)
    assert bodies() == ["1", "2", '{"page": 1}', '{"page": 2}']


def test_base64_is_as_functions_have_it(inside: Command) -> None:
    """The body lies on the queue as base64 of UTF-8."""
    inside("enqueue", "\u00e9", "--message-encoding", "base64")
    assert bodies() == ["w6k="]


def test_json_has_the_documented_keys_and_the_ids_in_order(inside: Command) -> None:
    """A program can find each job again by the id of its message."""
    ended = inside("enqueue", "--count", 70, "--json")
    result = json.loads(ended.out)
    assert {key: result[key] for key in ("queue", "put", "unknown", "rejected")} == {
        "queue": "jobs",
        "put": 70,
        "unknown": 0,
        "rejected": 0,
    }
    with sqlite3.connect("spotfsm.db") as database:
        texts = dict(database.execute("SELECT message_id, text FROM messages"))
    database.close()
    assert [texts[message_id] for message_id in result["ids"]] == [str(number) for number in range(1, 71)]


def test_what_the_queue_cannot_take_is_reported_and_the_rest_is_put(inside: Command, directory: Path) -> None:
    """A message over the limit is named by its number; exit code 2, for it will never fit."""
    (directory / "lines").write_text(f"a\n{'x' * 70_000}\nb\n")
    ended = inside("enqueue", "--file", "lines", "--json")
    assert ended.code == 2
    assert "message 2 was not put" in ended.err
    assert json.loads(ended.out)["rejected"] == 1
    assert bodies() == ["a", "b"]


def test_a_file_that_is_not_there_creates_no_queue(inside: Command, directory: Path) -> None:
    """A mistyped name is one line, and leaves nothing behind."""
    ended = inside("enqueue", "--file", "nowhere")
    assert ended.code == 2
    assert ended.error_line.startswith("--file: nowhere cannot be read: No such file or directory. ")
    assert list(directory.iterdir()) == []


def test_a_file_that_is_not_text_is_a_mistake(inside: Command, directory: Path) -> None:
    """A binary is no list of messages."""
    (directory / "binary").write_bytes(b"\xff\xfe\x00")
    ended = inside("enqueue", "--file", "binary")
    assert ended.code == 2
    assert ended.error_line.startswith("--file: ")


@pytest.mark.processes
def test_standard_input_is_read_line_by_line(spotfsm: Command) -> None:
    """A pipe is a list of messages."""
    assert spotfsm("enqueue", "--file", "-", stdin="a\n\nb\nc").code == 0
    assert bodies() == ["a", "b", "c"]


def test_on_azure_a_queue_is_created_only_when_told(inside: Command, azurite: Azurite) -> None:
    """Without --create the line says how; with it the queue, its poison queue and the store are there."""
    queue, store = azurite.queue_url("cli-enqueue"), azurite.blob_url("cli-enqueue")
    ended = inside("enqueue", "a", "--queue", queue, "--store", store)
    assert ended.code == 2
    assert "--create" in ended.error_line
    assert inside("enqueue", "a", "--queue", queue, "--store", store, "--create").code == 0
    assert inside("enqueue", "b", "--queue", queue).code == 0
    result = json.loads(inside("status", "--queue", queue, "--store", store, "--json").out)
    assert (result["queued"], result["poisoned"], result["completed"]) == (2, 0, 0)


def test_lost_replies_are_counted_and_not_repeated(inside: Command, directory: Path) -> None:
    """Nobody answers: no message is put twice, most are not tried at all, and the line says where it stopped."""
    (directory / "lines").write_text("".join(f"{number}\n" for number in range(1000)))
    ended = inside("enqueue", "--file", "lines", "--queue", "http://127.0.0.1:9/devstoreaccount1/jobs", "--json")
    result = json.loads(ended.out)
    assert ended.code == 1
    assert result["put"] == 0
    assert 64 <= result["unknown"] < 300
    assert f"messages from number {result['unknown'] + 1} on were not put" in ended.err
