"""Messages that mean harm, through real workers and both queues: each is processed or poisoned, and hurts nobody."""

from __future__ import annotations

import base64
import json
import sqlite3
import uuid
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

import pytest

from fsm.record import Record, Status
from tests.processes.conftest import MakeVm
from tests.processes.places import QUEUE, Place, SqlitePlace
from tests.processes.spot_vm import SpotVm

pytestmark = pytest.mark.processes

ECHO, PARSE = "tests.hostile.handlers:echo", "tests.hostile.handlers:parse"
GOOD = 6
"""Innocent messages among the others."""

CARRIED = (
    "",
    " ",
    "\t\r\n",
    "]]>",
    "<QueueMessage><MessageText>x</MessageText></QueueMessage>",
    '<?xml version="1.0"?><!DOCTYPE a [<!ENTITY b SYSTEM "file:///etc/passwd">]><a>&b;</a>',
    '<!DOCTYPE a [<!ENTITY b "bbbb"><!ENTITY c "&b;&b;&b;&b;">]>&c;',
    "&#0; &#x1b; &lt; &amp;amp; %00 %2e%2e%2f",
    "\x7f\x85\u2028\u202e\ufeff\U000e0001\U0010fffd",
    "\\ud800 \\x00 {n} {0} %s $(reboot) `reboot` ; rm -rf ~ | \" ' --help",
    "../../../../etc/passwd",
    "sqlite:///etc/passwd#jobs",
    "adapters.cli:main",
    '{"__proto__": {"handler": "os:system"}, "handler": "os:system"}',
    "'; DROP TABLE messages; --",
    "{'spotfsm_poison': 1}",
    "x" * 65_000,
    "€" * 21_000,
)
"""What either queue carries as it is."""
DECODED = (
    *(text for text in CARRIED if len(text) < 1000),
    "\x00",
    "\x01\x1b[31m\x07\x9b",
    "\ufffe\uffff",
    "a\rb",
    "\x00" * 40_000,
)
"""What base64 carries."""
NOT_BASE64 = ("=", "YQ", "YQ=\n=", "-_8=", "%%%", "gICA", "7aCA", "PD94", "YQ==YQ==", "\uff39\uff31==")
"""What base64 is not: `gICA` is no UTF-8, `7aCA` is half a character, and `PD94` is text, for once."""


def deep(levels: int) -> str:
    return "[" * levels + "]" * levels


class Ended:
    """A worker that worked all messages of a place to the end, and what it left."""

    def __init__(self, place: Place, vm: SpotVm, *options: str) -> None:
        good = [place.put("{}" if "base64" not in options else base64.b64encode(b"{}").decode()) for _ in range(GOOD)]
        vm.start("--until-empty", "--retry-pause", "0", *options)
        assert vm.wait(within_s=60.0) == 0, vm.output.read_text()
        self.last: dict[str, Record] = {past.message_id: past.record for past in place.history()}
        assert [self.last[job].status for job in good] == [Status.DONE] * GOOD
        assert place.length() == 0
        expect_plain(vm.output)
        expect_plain(vm.output.with_suffix(".jsonl"))

    def result(self, job: str) -> object:
        """What was recorded of a job that was processed."""
        assert self.last[job].status is Status.DONE, self.last[job].error
        return json.loads(self.last[job].result or "null")

    def poison(self, job: str) -> str:
        """Why a job was poisoned."""
        assert self.last[job].status is Status.POISONED
        return self.last[job].error or ""


def expect_plain(file: Path) -> None:
    """A terminal that is shown this file obeys nothing in it."""
    text = file.read_bytes().decode("ascii" if file.suffix == ".jsonl" else "utf-8")
    assert text.replace("\n", "").isprintable()


def test_texts_are_processed_as_they_are(place: Place, make_vm: MakeVm) -> None:
    """Markup, line ends, paths, commands and letters that turn lines around reach the handler, to the letter."""
    jobs = {place.put(text): text for text in CARRIED}
    ended = Ended(place, make_vm(place, handler=ECHO))
    assert {job: ended.result(job) for job in jobs} == {job: {"text": text} for job, text in jobs.items()}
    assert place.poisoned() == []


def test_base64_is_decoded_or_poisoned(place: Place, make_vm: MakeVm) -> None:
    """Control characters, and whatever else base64 carries, reach the handler; what is no base64 is set aside whole."""
    good = {place.put(base64.b64encode(text.encode()).decode()): text for text in DECODED}
    good[place.put("PD94")] = "<?x"
    bad = {place.put(text): text for text in NOT_BASE64 if text != "PD94"}
    ended = Ended(place, make_vm(place, handler=ECHO), "--message-encoding", "base64")
    assert {job: ended.result(job) for job in good} == {job: {"text": text} for job, text in good.items()}
    assert all("not base64 of UTF-8" in ended.poison(job) for job in bad)
    envelopes = [json.loads(text) for text in place.poisoned()]
    assert {envelope["job_id"]: envelope["body"] for envelope in envelopes} == bad


def test_json_of_any_depth_fails_its_job_alone(place: Place, make_vm: MakeVm) -> None:
    """JSON that is nested beyond Python's reach, or has numbers that no number is, poisons its own job."""
    shallow = {place.put(text): text for text in (deep(100), '"\\ud800"', '{"": [1e308, -0.0]}', '["\\u0000"]')}
    bad = [
        place.put(text)
        for text in (deep(30_000), '{"a":' * 9000 + "1" + "}" * 9000, "NaN", "[1e999]", "9" * 60_000, "{", "nul")
    ]
    ended = Ended(place, make_vm(place, handler=PARSE))
    assert {job: ended.result(job) for job in shallow} == {job: json.loads(text) for job, text in shallow.items()}
    assert all(ended.poison(job) for job in bad)
    assert len(place.poisoned()) == len(bad)


def test_rows_of_another_program_hurt_nobody(sqlite: SqlitePlace, make_vm: MakeVm, tmp_path: Path) -> None:
    """Ids full of tricks, texts that are no text, and ten megabytes at once: processed, or poisoned and cut."""
    ids = ("../../escape", "/etc/passwd", "", "a" * 5000, "'; DROP TABLE messages; --", "\x00", "NUL", b"\xff\xfe")
    texts = (b"\xff\xfe\xfd", b"\x00\xff", "x" * 10_000_000, "\x01\x1b[2J")
    rows = [*((one, "fine") for one in ids), *((str(uuid.uuid4()), text) for text in texts)]
    _insert(tmp_path / "jobs.db", rows)
    vm = make_vm(sqlite, handler=ECHO)
    before = {path.name for path in tmp_path.iterdir()}
    ended = Ended(sqlite, vm)
    statuses = sorted(record.status for record in ended.last.values())
    assert statuses == sorted([Status.DONE] * (GOOD + len(ids) + 1) + [Status.POISONED] * 3)
    assert {uuid.UUID(job).version for job in ended.last} == {4}
    envelopes = [json.loads(text) for text in sqlite.poisoned()]
    assert sorted(len(envelope["body"]) for envelope in envelopes) == [2, 3, 4096]
    after = {path.name.removesuffix("-wal").removesuffix("-shm") for path in tmp_path.iterdir()}
    assert after - before <= {"vm-a.log", "vm-a.jsonl"}


def _insert(file: Path, rows: Sequence[tuple[str | bytes, str | bytes]]) -> None:
    """As a program would that knows the tables and nothing else."""
    with closing(sqlite3.connect(file, isolation_level=None)) as connection:
        connection.executemany(
            "INSERT INTO messages (queue, visible_us, dequeue_count, receipt, message_id, text) "
            f"VALUES ('{QUEUE}', 0, 0, 0, ?, ?)",
            rows,
        )
