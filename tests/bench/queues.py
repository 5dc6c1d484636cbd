"""Queues that are filled before the clock starts."""

from __future__ import annotations

import asyncio
import sqlite3
import time
import uuid
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

from azure.storage.blob.aio import ContainerClient
from azure.storage.queue.aio import QueueClient

from tests.azurite import KEY, Azurite
from tests.processes.places import QUEUE, run_now, sqlite_place

BODY = '{"book": "Emma", "pages": 20}'
_PUTS_AT_ONCE = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Filled:
    """A queue with jobs, and an empty store.

    Attributes:
        bare: how the bare loop is told of the queue.
    """

    queue: str
    store: str
    bare: str


@contextmanager
def azurite_queue(jobs: int) -> Iterator[Filled]:
    """Queues and a container in an Azurite of their own.

    An Azurite in memory looks every minute through all it was ever given, for what may be thrown away; after some ten
    thousand messages that takes more than a minute, in which it answers nobody.
    """
    with Azurite() as azurite:
        queue = azurite.queue_url("bench")
        filled = Filled(queue=queue, store=azurite.blob_url("bench"), bare=queue)
        run_now(_fill_azurite(filled, jobs))
        yield filled


async def _fill_azurite(filled: Filled, jobs: int) -> None:
    async with (
        QueueClient.from_queue_url(filled.queue, credential=KEY) as queue,
        QueueClient.from_queue_url(f"{filled.queue}-poison", credential=KEY) as poison_queue,
        ContainerClient.from_container_url(filled.store, credential=KEY) as container,
    ):
        await queue.create_queue()
        await poison_queue.create_queue()
        await container.create_container()
        at_once = asyncio.Semaphore(_PUTS_AT_ONCE)

        async def put() -> None:
            async with at_once:
                await queue.send_message(BODY, time_to_live=-1)

        await asyncio.gather(*(put() for _ in range(jobs)))


@contextmanager
def sqlite_queue(directory: Path, jobs: int) -> Iterator[Filled]:
    """A file of its own, gone afterwards."""
    own = directory / uuid.uuid4().hex
    own.mkdir()
    with sqlite_place(own, history=False) as place:
        file = own / "jobs.db"
        rows = ((QUEUE, time.time_ns() // 1000, str(uuid.uuid4()), BODY) for _ in range(jobs))
        with closing(sqlite3.connect(file)) as connection, connection:
            connection.executemany(
                "INSERT INTO messages (queue, visible_us, dequeue_count, receipt, message_id, text) "
                "VALUES (?, ?, 0, 0, ?, ?)",
                rows,
            )
        yield Filled(queue=place.queue_url, store=place.store_url, bare=str(file))
    for left in own.iterdir():
        left.unlink()
    own.rmdir()
