"""A job store in an SQLite file: records with conditional writes, and presences."""

from __future__ import annotations

import json
import sqlite3
import uuid
from collections.abc import Callable, Sequence
from dataclasses import asdict
from datetime import timedelta

from adapters.sqlite import file
from adapters.sqlite.database import Access, Database
from fsm.errors import BadReplyError, VersionConflictError
from fsm.ports import JobStore, RecordTotals, StoredRecord
from fsm.record import Presence, Record, Status, decode_record, encode_record

_TABLES = (
    """CREATE TABLE IF NOT EXISTS records (
        queue TEXT NOT NULL,
        message_id TEXT NOT NULL,
        version TEXT NOT NULL,
        status TEXT NOT NULL,
        confirmed_us INTEGER,
        document TEXT NOT NULL,
        PRIMARY KEY (queue, message_id)
    )""",
    """CREATE TABLE IF NOT EXISTS presences (
        key TEXT NOT NULL,
        vm TEXT NOT NULL,
        instance TEXT NOT NULL,
        document TEXT NOT NULL,
        PRIMARY KEY (key, vm, instance)
    ) WITHOUT ROWID""",
)
_READ = "SELECT document, version FROM records WHERE queue = ? AND message_id = ?"
_INSERT = """INSERT INTO records (queue, message_id, version, status, document) VALUES (?, ?, ?, ?, ?)
    ON CONFLICT DO NOTHING"""
_UPDATE = """UPDATE records SET version = ?, status = ?, document = ?
    WHERE queue = ? AND message_id = ? AND version = ?"""
_CONFIRM = "UPDATE records SET confirmed_us = ? WHERE queue = ? AND message_id = ? AND confirmed_us IS NULL"
_PRUNE = "DELETE FROM records WHERE queue = ? AND status IN (?, ?) AND confirmed_us <= ?"
_TOTALS = "SELECT status, count(*) FROM records WHERE queue = ? GROUP BY status"
_CHECKPOINTED = """SELECT count(*) FROM records
    WHERE queue = ? AND status = ? AND json_type(document, '$.progress') IS NOT NULL"""
_READ_PRESENCE = "SELECT document FROM presences WHERE key = ? AND vm = ? AND instance = ?"
_WRITE_PRESENCE = "INSERT OR REPLACE INTO presences (key, vm, instance, document) VALUES (?, ?, ?, ?), (?, ?, ?, ?)"
_BY_ID, _BY_NAME = "id", "name"


class SqliteStore(JobStore):
    """The job store of a database.

    Args:
        database: entered by the caller, and shared with whatever else lives in the file. A queue and a store on one
            `Database` commit together.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    async def read(self, queue: str, message_id: str, *, timeout_s: float) -> StoredRecord | None:
        def work(connection: sqlite3.Connection) -> tuple[str, str] | None:
            row: tuple[str, str] | None = connection.execute(_READ, (queue, message_id)).fetchone()
            return row

        row = await self._database.run(work, access=Access.READ, timeout_s=timeout_s)
        return None if row is None else StoredRecord(record=decode_record(row[0]), version=row[1])

    async def write(
        self, queue: str, message_id: str, record: Record, *, expected: str | None, timeout_s: float
    ) -> str:
        version = uuid.uuid4().hex  # never used again, so that a pruned record's version matches nothing
        document = encode_record(record)

        def work(connection: sqlite3.Connection) -> None:
            if expected is None:
                done = connection.execute(_INSERT, (queue, message_id, version, record.status.value, document))
            else:
                arguments = (version, record.status.value, document, queue, message_id, expected)
                done = connection.execute(_UPDATE, arguments)
            if not done.rowcount:
                wanted = "exists" if expected is None else f"is not at version {expected}"
                raise VersionConflictError(f"the record of {queue}/{message_id} {wanted}")

        await self._database.run(work, access=Access.WRITE, timeout_s=timeout_s)
        return version

    async def read_presence(self, vm_id: str, instance: str, *, timeout_s: float) -> Presence | None:
        return await self._read_presence(_BY_ID, vm_id, instance, timeout_s=timeout_s)

    async def read_presence_named(self, vm_name: str, instance: str, *, timeout_s: float) -> Presence | None:
        return await self._read_presence(_BY_NAME, vm_name, instance, timeout_s=timeout_s)

    async def write_presence(self, presence: Presence, *, timeout_s: float) -> None:
        document = json.dumps(asdict(presence))
        by_id = (_BY_ID, presence.vm_id, presence.instance, document)
        by_name = (_BY_NAME, presence.vm_name, presence.instance, document)
        await self._do(lambda connection: connection.execute(_WRITE_PRESENCE, (*by_id, *by_name)), timeout_s)

    async def confirm_deleted(self, queue: str, message_ids: Sequence[str], *, timeout_s: float) -> None:
        def work(connection: sqlite3.Connection) -> None:
            now_us = self._database.now_us()
            keys = ((now_us, queue, message_id) for message_id in message_ids)
            connection.executemany(_CONFIRM, keys)

        await self._do(work, timeout_s)

    async def prune(self, queue: str, *, older_than: timedelta, timeout_s: float) -> int:
        def work(connection: sqlite3.Connection) -> int:
            latest_us = self._database.now_us() - older_than // timedelta(microseconds=1)
            terminal = (Status.DONE.value, Status.POISONED.value)
            return connection.execute(_PRUNE, (queue, *terminal, latest_us)).rowcount

        return await self._database.run(work, access=Access.WRITE, timeout_s=timeout_s)

    async def totals(self, queue: str, *, timeout_s: float) -> RecordTotals:
        def work(connection: sqlite3.Connection) -> tuple[dict[str, int], int]:
            rows: list[tuple[str, int]] = connection.execute(_TOTALS, (queue,)).fetchall()
            (checkpointed,) = connection.execute(_CHECKPOINTED, (queue, Status.RELEASED.value)).fetchone()
            return dict(rows), checkpointed

        counted, checkpointed = await self._database.run(work, access=Access.READ, timeout_s=timeout_s)
        return RecordTotals(
            running=counted.get(Status.OPEN, 0),
            released=counted.get(Status.RELEASED, 0),
            checkpointed=checkpointed,
            completed=counted.get(Status.DONE, 0),
            poisoned=counted.get(Status.POISONED, 0),
        )

    async def create(self, *, timeout_s: float) -> None:
        def work(connection: sqlite3.Connection) -> None:
            file.mark(connection)
            for table in _TABLES:
                connection.execute(table)

        await self._database.run(work, access=Access.CREATE, timeout_s=timeout_s)

    async def _do(self, work: Callable[[sqlite3.Connection], object], timeout_s: float) -> None:
        await self._database.run(work, access=Access.WRITE, timeout_s=timeout_s)

    async def _read_presence(self, key: str, vm: str, instance: str, *, timeout_s: float) -> Presence | None:
        def work(connection: sqlite3.Connection) -> tuple[str] | None:
            row: tuple[str] | None = connection.execute(_READ_PRESENCE, (key, vm, instance)).fetchone()
            return row

        row = await self._database.run(work, access=Access.READ, timeout_s=timeout_s)
        if row is None:
            return None
        try:
            return Presence(**json.loads(row[0]))
        except (ValueError, TypeError) as exc:
            raise BadReplyError(f"a stored presence cannot be read: {exc}") from exc
