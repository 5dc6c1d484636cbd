"""The history of every record, kept by the database itself: what a store held, whoever wrote it and died since.

SQLite's triggers append each version of each record to a table of its own, in the transaction that writes it. The demo
and the tests read it as evidence; a worker neither knows nor needs it.
"""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from fsm.record import Record, Status, decode_record

_KEEP = """
CREATE TABLE IF NOT EXISTS record_history (
    number INTEGER PRIMARY KEY, message_id TEXT NOT NULL, version TEXT NOT NULL, document TEXT NOT NULL
);
CREATE TRIGGER IF NOT EXISTS keep_first_version AFTER INSERT ON records BEGIN
    INSERT INTO record_history (message_id, version, document) VALUES (new.message_id, new.version, new.document);
END;
CREATE TRIGGER IF NOT EXISTS keep_each_version AFTER UPDATE OF version ON records BEGIN
    INSERT INTO record_history (message_id, version, document) VALUES (new.message_id, new.version, new.document);
END;
"""
_READ = "SELECT message_id, version, document FROM record_history ORDER BY number"
_BUSY_TIMEOUT_S = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class PastRecord:
    """One version of one record."""

    message_id: str
    version: str
    record: Record


def keep_history(path: Path) -> None:
    """Keep every version that is written from now on; the store must have been created."""
    with closing(sqlite3.connect(path, timeout=_BUSY_TIMEOUT_S)) as connection:
        connection.executescript(_KEEP)


def read_history(path: Path) -> Sequence[PastRecord]:
    """Every version kept so far, in the order in which they were committed."""
    with closing(sqlite3.connect(path, timeout=_BUSY_TIMEOUT_S)) as connection:
        rows = connection.execute(_READ).fetchall()
    return [
        PastRecord(message_id=message_id, version=version, record=decode_record(document))
        for message_id, version, document in rows
    ]


def recordings(history: Sequence[PastRecord]) -> Mapping[str, int]:
    """How often each job's result was written."""
    return Counter(past.message_id for past in history if past.record.status is Status.DONE)
