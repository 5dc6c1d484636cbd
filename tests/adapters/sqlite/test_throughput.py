"""Figures for whoever reads the log; a slow machine fails nothing."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import pytest

from adapters.sqlite import Database, SqliteQueue, SqliteStore
from tests.contracts.records import record

TIMEOUT_S = 60.0
IN_FLIGHT = 64
JOBS = 2_000


async def test_throughput_is_shown(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Every job is renewed, recorded and deleted once, 64 at a time; how fast is printed."""
    async with Database(tmp_path / "jobs.db") as database:
        queue, store = SqliteQueue(database, "jobs"), SqliteStore(database)
        await queue.create(timeout_s=TIMEOUT_S)
        await store.create(timeout_s=TIMEOUT_S)
        await asyncio.gather(*(queue.put("x" * 100, timeout_s=TIMEOUT_S) for _ in range(JOBS)))

        async def work() -> None:
            while messages := await queue.receive(max_messages=4, visibility_timeout_s=600, timeout_s=TIMEOUT_S):
                for message in messages:
                    key = message.message_id
                    receipt = await queue.renew(key, message.pop_receipt, visibility_timeout_s=600, timeout_s=TIMEOUT_S)
                    await store.write("jobs", key, record().done("1"), expected=None, timeout_s=TIMEOUT_S)
                    await queue.delete(key, receipt, timeout_s=TIMEOUT_S)

        commits_before, started_s = database.commits, time.perf_counter()
        await asyncio.gather(*(work() for _ in range(IN_FLIGHT)))
        took_s = time.perf_counter() - started_s
        commits = database.commits - commits_before
        assert (await store.totals("jobs", timeout_s=TIMEOUT_S)).completed == JOBS
        assert await queue.length(timeout_s=TIMEOUT_S) == 0
    figures = f"{JOBS / took_s:,.0f} jobs/s (renew, record, delete), {3 * JOBS / commits:.0f} calls a commit"
    with capsys.disabled():
        print(f"\nSQLite, {IN_FLIGHT} in flight: {figures}")  # noqa: T201 -- the figure is what this test is for
