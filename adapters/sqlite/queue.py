"""A work queue in an SQLite file, with the leases of Azure Storage Queue."""

from __future__ import annotations

import re
import sqlite3
import uuid
from collections.abc import Sequence

from adapters.sqlite import file
from adapters.sqlite.database import Access, Database
from fsm.errors import LeaseLostError, MessageRejectedError, MissingError
from fsm.ports import PEEK_MAX, Message, Peeked, WorkQueue

TEXT_BYTES_MAX = 64 * 1024
"""A message's limit on Azure, kept here so that a job can move there.
[https://learn.microsoft.com/azure/storage/queues/scalability-targets, read 2026-11]"""

_TABLES = (
    "CREATE TABLE IF NOT EXISTS queues (name TEXT PRIMARY KEY) WITHOUT ROWID",
    """CREATE TABLE IF NOT EXISTS messages (
        number INTEGER PRIMARY KEY,
        queue TEXT NOT NULL,
        visible_us INTEGER NOT NULL,
        dequeue_count INTEGER NOT NULL,
        receipt INTEGER NOT NULL,
        message_id TEXT NOT NULL,
        text TEXT NOT NULL
    )""",
    "CREATE INDEX IF NOT EXISTS messages_by_visibility ON messages (queue, visible_us)",
)
_CREATE = "INSERT OR IGNORE INTO queues (name) VALUES (?)"
_EXISTS = "SELECT 1 FROM queues WHERE name = ?"
_PUT = """INSERT INTO messages (queue, visible_us, dequeue_count, receipt, message_id, text)
    SELECT name, ?, 0, 0, ?, ? FROM queues WHERE name = ?"""
_RECEIVE = """UPDATE messages SET visible_us = ?, dequeue_count = dequeue_count + 1, receipt = receipt + 1
    WHERE number IN (SELECT number FROM messages WHERE queue = ? AND visible_us <= ? ORDER BY visible_us LIMIT ?)
    RETURNING number, receipt, dequeue_count, CAST(message_id AS BLOB), CAST(text AS BLOB)"""
_RENAME = "UPDATE messages SET message_id = ? WHERE number = ?"
_RENEW = """UPDATE messages SET visible_us = ?, receipt = receipt + 1
    WHERE number = ? AND receipt = ? AND message_id = ? AND queue = ?"""
_DELETE = "DELETE FROM messages WHERE number = ? AND receipt = ? AND message_id = ? AND queue = ?"
_UUID = re.compile("[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_LENGTH = "SELECT count(*) FROM messages WHERE queue = ?"
_PEEK = "SELECT count(*) FROM (SELECT 1 FROM messages WHERE queue = ? AND visible_us <= ? LIMIT ?)"


class SqliteQueue(WorkQueue):
    """One queue of a database.

    A pop receipt is the message's row number and how often its receipt was replaced, so that finding the row needs no
    index of its own.

    Rows that another program wrote are read with care: bytes that are not Unicode stand in the text as half surrogates.

    Args:
        database: entered by the caller, and shared with whatever else lives in the file.
        name: the queue's name.
    """

    def __init__(self, database: Database, name: str) -> None:
        self._database = database
        self._name = name

    @property
    def name(self) -> str:
        return self._name

    async def receive(self, *, max_messages: int, visibility_timeout_s: float, timeout_s: float) -> Sequence[Message]:
        assert 1 <= max_messages <= 32

        def work(connection: sqlite3.Connection) -> list[Message]:
            now_us = self._database.now_us()
            until_us = now_us + _us(visibility_timeout_s)
            rows: list[tuple[int, int, int, bytes, bytes]]
            rows = connection.execute(_RECEIVE, (until_us, self._name, now_us, max_messages)).fetchall()
            if not rows:
                self._check_exists(connection)
            return [
                Message(
                    message_id=_checked_id(connection, number, message_id),
                    text=text.decode(errors="surrogateescape"),
                    dequeue_count=dequeue_count,
                    pop_receipt=f"{number}:{receipt}",
                    expires_at=None,
                )
                for number, receipt, dequeue_count, message_id, text in rows
            ]

        return await self._database.run(work, access=Access.WRITE, timeout_s=timeout_s)

    async def renew(self, message_id: str, pop_receipt: str, *, visibility_timeout_s: float, timeout_s: float) -> str:
        number, receipt = _parsed(pop_receipt)

        def work(connection: sqlite3.Connection) -> None:
            until_us = self._database.now_us() + _us(visibility_timeout_s)
            done = connection.execute(_RENEW, (until_us, number, receipt, message_id, self._name))
            if not done.rowcount:
                self._refuse(connection, message_id)

        await self._database.run(work, access=Access.WRITE, timeout_s=timeout_s)
        return f"{number}:{receipt + 1}"

    async def delete(self, message_id: str, pop_receipt: str, *, timeout_s: float) -> None:
        number, receipt = _parsed(pop_receipt)

        def work(connection: sqlite3.Connection) -> None:
            done = connection.execute(_DELETE, (number, receipt, message_id, self._name))
            if not done.rowcount:
                self._refuse(connection, message_id)

        await self._database.run(work, access=Access.WRITE, timeout_s=timeout_s)

    async def put(self, text: str, *, timeout_s: float) -> str:
        _check_text(text)
        message_id = str(uuid.uuid4())

        def work(connection: sqlite3.Connection) -> None:
            done = connection.execute(_PUT, (self._database.now_us(), message_id, text, self._name))
            if not done.rowcount:
                raise self._missing()

        await self._database.run(work, access=Access.WRITE, timeout_s=timeout_s)
        return message_id

    async def length(self, *, timeout_s: float) -> int:
        def work(connection: sqlite3.Connection) -> int:
            self._check_exists(connection)
            (length,) = connection.execute(_LENGTH, (self._name,)).fetchone()
            assert isinstance(length, int)
            return length

        return await self._database.run(work, access=Access.READ, timeout_s=timeout_s)

    async def peek(self, *, timeout_s: float) -> Peeked:
        """Count what waits; nothing in it expires: this queue has no time to live.

        Raises:
            ReplyLostError, ThrottledError, MissingError.
        """

        def work(connection: sqlite3.Connection) -> int:
            self._check_exists(connection)
            (waiting,) = connection.execute(_PEEK, (self._name, self._database.now_us(), PEEK_MAX)).fetchone()
            assert isinstance(waiting, int)
            return waiting

        return Peeked(waiting=await self._database.run(work, access=Access.READ, timeout_s=timeout_s), expiring=0)

    async def create(self, *, timeout_s: float) -> None:
        def work(connection: sqlite3.Connection) -> None:
            file.mark(connection)
            for table in _TABLES:
                connection.execute(table)
            connection.execute(_CREATE, (self._name,))

        await self._database.run(work, access=Access.CREATE, timeout_s=timeout_s)

    def _refuse(self, connection: sqlite3.Connection, message_id: str) -> None:
        """Say why nothing matched.

        Raises:
            MissingError, LeaseLostError.
        """
        self._check_exists(connection)
        raise LeaseLostError(f"message {message_id} is gone, or was received or renewed since")

    def _check_exists(self, connection: sqlite3.Connection) -> None:
        if connection.execute(_EXISTS, (self._name,)).fetchone() is None:
            raise self._missing()

    def _missing(self) -> MissingError:
        return MissingError(f"there is no queue {self._name!r} in {self._database.path}")


def _checked_id(connection: sqlite3.Connection, number: int, message_id: bytes) -> str:
    """The message's id; one that is no UUID, which another program has written, is replaced for good."""
    text = message_id.decode("ascii", errors="replace")
    if _UUID.fullmatch(text):
        return text
    fresh = str(uuid.uuid4())
    connection.execute(_RENAME, (fresh, number))
    return fresh


def _us(seconds: float) -> int:
    return round(seconds * 1_000_000)


def _parsed(pop_receipt: str) -> tuple[int, int]:
    """Row number and receipt number.

    Raises:
        LeaseLostError: it is not a receipt of ours.
    """
    number, _, receipt = pop_receipt.partition(":")
    try:
        return int(number), int(receipt)
    except ValueError:
        raise LeaseLostError(f"{pop_receipt!r} is no pop receipt of this queue") from None


def _check_text(text: str) -> None:
    """Refuse what Azure could not carry.

    Raises:
        MessageRejectedError: over the limit, or not Unicode.
    """
    try:
        size = len(text.encode())
    except UnicodeEncodeError as exc:
        raise MessageRejectedError(f"a message that is not Unicode cannot be put: {exc}") from exc
    if size > TEXT_BYTES_MAX:
        raise MessageRejectedError(f"a message of {size} bytes is over the limit of {TEXT_BYTES_MAX}")
