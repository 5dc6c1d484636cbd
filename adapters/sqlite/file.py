"""Opening the one file: is it there, is it ours, is it as durable as promised?"""

from __future__ import annotations

import os
import sqlite3
import time
from enum import StrEnum
from pathlib import Path

from adapters.sqlite.errors import unwritable
from fsm.errors import ConfigurationError, MissingError

APPLICATION_ID = 0x73706673
"""Marks a file as ours ("spfs"), in the header field SQLite keeps for this. [https://sqlite.org/fileformat2.html]"""
SCHEMA_VERSION = 1
"""`PRAGMA user_version` of the tables this program reads and writes."""
_SQLITE_MIN = (3, 35, 0)
"""The first SQLite with RETURNING. [https://sqlite.org/lang_returning.html]"""
_BUSY_PAUSE_S = 0.005
"""Between two tries where SQLite does not wait for a lock by itself."""


class Synchronous(StrEnum):
    """When a commit reaches the disk."""

    FULL = "FULL"
    """Before it is confirmed: it survives a loss of power."""
    NORMAL = "NORMAL"
    """Some time later: it survives the death of the process, and not always the loss of power."""


def check(path: Path, *, setting: str) -> None:
    """Refuse what cannot become a database, before SQLite says so in its own words.

    Raises:
        ConfigurationError: the directory is missing, the path is a directory, or either cannot be written.
    """
    if sqlite3.sqlite_version_info < _SQLITE_MIN:
        wanted = ".".join(map(str, _SQLITE_MIN))
        problem = f"this Python comes with SQLite {sqlite3.sqlite_version}, older than {wanted}"
        raise ConfigurationError(setting, problem, "Use another Python, or an Azure address.")
    directory = path.parent
    if not is_there(directory):
        raise ConfigurationError(setting, f"the directory {directory} does not exist", "Create it first.")
    if os.path.isdir(path):  # noqa: PTH112 -- unlike pathlib's, it does not raise where looking is forbidden
        raise ConfigurationError(setting, f"{path} is a directory", "Name a file in it.")
    if not os.access(directory, os.W_OK | os.X_OK) or (is_there(path) and not os.access(path, os.R_OK | os.W_OK)):
        raise unwritable(path, setting=setting)


def is_there(path: Path) -> bool:
    """Whether the path exists, or may exist where this user must not look."""
    try:
        return path.exists()
    except OSError:
        return True


def connect(
    path: Path, *, create: bool, setting: str, synchronous: Synchronous, busy_timeout_s: float
) -> sqlite3.Connection:
    """Open the file, whose path is absolute, for the thread that calls.

    Raises:
        MissingError: there is no such file, and it is not to be created.
        ConfigurationError: it is another program's, or of a newer version of this one.
        sqlite3.Error: whatever else SQLite refuses.
    """
    if not create and not is_there(path):
        raise MissingError(f"there is no file {path}: nothing was created yet")
    connection = sqlite3.connect(
        f"{path.as_uri()}?mode={'rwc' if create else 'rw'}",
        uri=True,
        timeout=busy_timeout_s,
        isolation_level=None,
    )
    try:
        _check_owner(connection, path, setting=setting)
        if _write_ahead(connection, wait_s=busy_timeout_s) != "wal":
            problem = f"the file system of {path} has no shared memory, which SQLite's write-ahead log needs"
            raise ConfigurationError(setting, problem, "Name a file on a local disk.")
        connection.execute(f"PRAGMA synchronous = {synchronous.value}")
    except BaseException:
        connection.close()
        raise
    return connection


def mark(connection: sqlite3.Connection) -> None:
    """Mark the file as ours, within the transaction that creates its first tables."""
    connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
    connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")


def _check_owner(connection: sqlite3.Connection, path: Path, *, setting: str) -> None:
    connection.execute("BEGIN")  # one look at all three, while another process may be creating the file
    (application,) = connection.execute("PRAGMA application_id").fetchone()
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    (tables,) = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
    connection.execute("COMMIT")
    if application == 0 and version == 0 and tables == 0:
        return
    if application != APPLICATION_ID:
        raise ConfigurationError(setting, f"{path} is another program's database", "Name another file.")
    if version != SCHEMA_VERSION:
        problem = f"{path} has tables of version {version}, and this program knows version {SCHEMA_VERSION}"
        raise ConfigurationError(setting, problem, "Use the spotfsm that wrote it, or name another file.")


def _write_ahead(connection: sqlite3.Connection, *, wait_s: float) -> str:
    """Switch to the write-ahead log, and return the journal mode SQLite says it is in.

    SQLite honours its busy timeout everywhere but here, so that processes creating the file together wait by hand.
    """
    until_s = time.monotonic() + wait_s
    while True:
        try:
            (journal_mode,) = connection.execute("PRAGMA journal_mode = WAL").fetchone()
        except sqlite3.OperationalError as exc:
            if exc.sqlite_errorcode != sqlite3.SQLITE_BUSY or time.monotonic() >= until_s:
                raise
            time.sleep(_BUSY_PAUSE_S)
        else:
            assert isinstance(journal_mode, str)
            return journal_mode
