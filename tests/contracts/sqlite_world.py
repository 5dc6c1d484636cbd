"""SQLite's queue and store as worlds: real files, a database object for each client, and a clock moved by hand."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, closing
from pathlib import Path

from adapters.sqlite import Database, SqliteQueue, SqliteStore, Synchronous
from fsm.ports import JobStore, WorkQueue
from tests.contracts.worlds import QueueWorld, StoreWorld, WorldMaker


class _SqliteWorld:
    """One file, one hand-moved clock, and databases that are closed with the world.

    No promise of the suite is about a loss of power, so that commits need not wait for the disk.
    """

    exact = True
    margin_s = 0.001
    lease_s = 30.0
    retention_s = 7 * 86_400.0

    def __init__(self, path: Path, clients: AsyncExitStack) -> None:
        self._path = path
        self._clients = clients
        self._now_us = time.time_ns() // 1000

    async def pass_time(self, seconds: float) -> None:
        self._now_us += round(seconds * 1_000_000)

    async def _database(self) -> Database:
        database = Database(self._path, synchronous=Synchronous.NORMAL, now_us=lambda: self._now_us)
        return await self._clients.enter_async_context(database)


class SqliteQueueWorld(_SqliteWorld, QueueWorld):
    """Clients of one file, as different processes have them."""

    async def client(self, name: str = "jobs") -> WorkQueue:
        return SqliteQueue(await self._database(), name)


class SqliteStoreWorld(_SqliteWorld, StoreWorld):
    """Clients of one file, as different processes have them."""

    async def client(self) -> JobStore:
        return SqliteStore(await self._database())

    async def spoil(self, queue: str, message_id: str) -> None:
        with closing(sqlite3.connect(self._path)) as connection, connection:
            changed = connection.execute(
                'UPDATE records SET document = \'{"format": 1, "epo\' WHERE queue = ? AND message_id = ?',
                (queue, message_id),
            )
            assert changed.rowcount == 1


@asynccontextmanager
async def _queue_world(directory: Path) -> AsyncIterator[QueueWorld]:
    async with AsyncExitStack() as clients:
        yield SqliteQueueWorld(directory / "world.db", clients)


@asynccontextmanager
async def _store_world(directory: Path) -> AsyncIterator[StoreWorld]:
    async with AsyncExitStack() as clients:
        yield SqliteStoreWorld(directory / "world.db", clients)


SQLITE = WorldMaker(id="sqlite", queue_world=_queue_world, store_world=_store_world)
