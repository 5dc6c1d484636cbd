"""Real processes on one file: killed in the middle, and side by side."""

from __future__ import annotations

import os
import random
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import IO

import pytest

from adapters.sqlite import Database, SqliteQueue, SqliteStore
from adapters.sqlite.database import Access

pytestmark = pytest.mark.processes

TIMEOUT_S = 30.0
KILLS = 5


def start(role: str, path: Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "tests.adapters.sqlite.child", role, str(path)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def lines_of(child: subprocess.Popen[str]) -> IO[str]:
    assert child.stdout is not None
    return child.stdout


def outputs(children: list[subprocess.Popen[str]]) -> list[list[str]]:
    """The lines of each child, once all have ended well."""
    ended = [child.communicate(timeout=60)[0].splitlines() for child in children]
    assert [child.returncode for child in children] == [0] * len(children)
    return ended


def killed_after(child: subprocess.Popen[str], lines: int) -> list[str]:
    """What a child said up to its SIGKILL, which it gets while it goes on writing."""
    said = [lines_of(child).readline() for _ in range(lines)]
    child.send_signal(signal.SIGKILL)
    said += lines_of(child).readlines()
    lines_of(child).close()
    assert child.wait(timeout=60) == -signal.SIGKILL
    return [line.rstrip("\n") for line in said if line.endswith("\n")]


async def test_a_kill_loses_nothing_confirmed(tmp_path: Path) -> None:
    """After each of several SIGKILLs amid heavy writes all that was confirmed is there, and the file is usable."""
    seed = int(os.environ.get("SPOTFSM_TEST_SEED", random.SystemRandom().randrange(2**32)))
    print(f"replay with SPOTFSM_TEST_SEED={seed}")  # noqa: T201 -- pytest shows it when the test fails
    moments = random.Random(seed)
    path = tmp_path / "jobs.db"
    async with Database(path) as database:
        await SqliteQueue(database, "jobs").create(timeout_s=TIMEOUT_S)
        await SqliteStore(database).create(timeout_s=TIMEOUT_S)
    said: list[list[str]] = []
    for _ in range(KILLS):
        said += [line.split() for line in killed_after(start("write", path), moments.randrange(50, 500))]
        await check(path, said)


async def check(path: Path, said: list[list[str]]) -> None:
    """Compare all that was ever confirmed with what there is, and write once more."""
    put = {words[1] for words in said if words[0] == "put"}
    deleted = {words[1] for words in said if words[0] == "deleted"}
    saved = {words[1]: int(words[2]) for words in said if words[0] == "saved"}
    assert put
    assert deleted
    assert saved
    async with Database(path) as database:
        queue, store = SqliteQueue(database, "jobs"), SqliteStore(database)
        there = await ids_in(database)
        assert deleted.isdisjoint(there)
        # a message may be gone unsaid: its delete was committed, and the process killed before the reply; but each
        # message was saved before it was deleted
        assert put - deleted - there <= saved.keys()
        for key, step in saved.items():
            stored = await store.read("jobs", key, timeout_s=TIMEOUT_S)
            assert stored is not None
            assert int(stored.record.progress or "-1") >= step
        message_id = await queue.put("after the kill", timeout_s=TIMEOUT_S)
        assert await ids_in(database) == there | {message_id}
        assert await queue.receive(max_messages=32, visibility_timeout_s=600, timeout_s=TIMEOUT_S)


async def ids_in(database: Database) -> set[str]:
    """Every message's id, read behind the queue's back, with SQLite's own word that the file is whole."""

    def work(connection: sqlite3.Connection) -> set[str]:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        return {row[0] for row in connection.execute("SELECT message_id FROM messages")}

    return await database.run(work, access=Access.READ, timeout_s=TIMEOUT_S)


async def test_processes_share_a_queue(tmp_path: Path) -> None:
    """Four processes empty one queue: each message is deleted once, and none is taken from its holder."""
    path = tmp_path / "jobs.db"
    async with Database(path) as database:
        queue = SqliteQueue(database, "jobs")
        await queue.create(timeout_s=TIMEOUT_S)
        put = [await queue.put(str(number), timeout_s=TIMEOUT_S) for number in range(300)]
        said = [line.split() for lines in outputs([start("drain", path) for _ in range(4)]) for line in lines]
        assert sorted(said) == sorted(["deleted", message_id] for message_id in put)
        assert await queue.length(timeout_s=TIMEOUT_S) == 0


async def test_processes_create_at_once(tmp_path: Path) -> None:
    """Processes that all create the same file at the same time all succeed, and each one's message is there."""
    path = tmp_path / "jobs.db"
    ended = outputs([start("create", path) for _ in range(6)])
    put = {line.split()[1] for lines in ended for line in lines}
    assert len(put) == 6
    async with Database(path) as database:
        assert await ids_in(database) == put
