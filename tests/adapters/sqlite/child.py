"""A process of its own on a database file, for tests that kill it or run several.

Its arguments are a role and the file. Each line it prints is a promise it was given: the call named there returned.
"""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

from adapters.sqlite import Database, SqliteQueue, SqliteStore
from fsm.errors import LeaseLostError
from fsm.record import canonical
from tests.contracts.records import record

TIMEOUT_S = 30.0
LEASE_S = 600.0
IN_FLIGHT = 16


def say(*words: str) -> None:
    """Print at once, so that not even a killed process loses a line it printed."""
    os.write(1, (" ".join(words) + "\n").encode())


async def write_for_ever(queue: SqliteQueue, store: SqliteStore) -> None:
    """Put, receive, renew, record and delete without an end, and say what was confirmed."""

    async def keep_writing(writer: int) -> None:
        while True:
            message_id = await queue.put(f"work of {os.getpid()}", timeout_s=TIMEOUT_S)
            say("put", message_id)
            for message in await queue.receive(max_messages=2, visibility_timeout_s=LEASE_S, timeout_s=TIMEOUT_S):
                key = message.message_id
                receipt = await queue.renew(key, message.pop_receipt, visibility_timeout_s=LEASE_S, timeout_s=TIMEOUT_S)
                version = None
                for step in range(2):
                    document = record(progress=canonical(step))
                    version = await store.write("jobs", key, document, expected=version, timeout_s=TIMEOUT_S)
                    say("saved", key, str(step))
                if writer % 2:
                    await queue.delete(key, receipt, timeout_s=TIMEOUT_S)
                    say("deleted", key)

    await asyncio.gather(*(keep_writing(writer) for writer in range(IN_FLIGHT)))


async def drain(queue: SqliteQueue) -> None:
    """Receive and delete until the queue is empty, and say what was deleted."""
    while messages := await queue.receive(max_messages=8, visibility_timeout_s=LEASE_S, timeout_s=TIMEOUT_S):
        for message in messages:
            try:
                await queue.delete(message.message_id, message.pop_receipt, timeout_s=TIMEOUT_S)
            except LeaseLostError:
                say("stolen", message.message_id)
            else:
                say("deleted", message.message_id)


async def main(role: str, path: Path) -> None:
    async with Database(path) as database:
        queue, store = SqliteQueue(database, "jobs"), SqliteStore(database)
        match role:
            case "write":
                await write_for_ever(queue, store)
            case "drain":
                await drain(queue)
            case "create":
                await asyncio.gather(queue.create(timeout_s=TIMEOUT_S), store.create(timeout_s=TIMEOUT_S))
                say("put", await queue.put("first", timeout_s=TIMEOUT_S))
            case _:
                raise AssertionError(f"no role {role!r}")


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], Path(sys.argv[2])))
