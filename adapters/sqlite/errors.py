"""SQLite's errors as ours, in one table."""

from __future__ import annotations

import sqlite3
from pathlib import Path

from fsm.errors import ConfigurationError, MissingError, ReplyLostError, SpotfsmError, ThrottledError

_PRIMARY_CODE = 0xFF
"""An extended result code holds its primary code in the low byte. [https://sqlite.org/rescode.html, read 2026-11]"""


def translated(exc: sqlite3.Error, *, path: Path, setting: str) -> SpotfsmError:
    """Our error for SQLite's; its cause is set.

    Args:
        exc: what the `sqlite3` module raised.
        path: the file.
        setting: the name under which a user gave it.
    """
    error = _chosen(exc, path=path, setting=setting)
    error.__cause__ = exc
    return error


def _chosen(exc: sqlite3.Error, *, path: Path, setting: str) -> SpotfsmError:
    match getattr(exc, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & _PRIMARY_CODE:
        case sqlite3.SQLITE_BUSY | sqlite3.SQLITE_LOCKED:
            return ThrottledError(f"{path} is locked by another process")
        case sqlite3.SQLITE_FULL:
            return ThrottledError(f"the disk of {path} is full")
        case sqlite3.SQLITE_NOTADB | sqlite3.SQLITE_CORRUPT:
            problem = f"{path} is damaged, or is not an SQLite database ({exc})"
            return ConfigurationError(setting, problem, "Restore it from a copy, or name another file.")
        case sqlite3.SQLITE_CANTOPEN | sqlite3.SQLITE_READONLY | sqlite3.SQLITE_PERM | sqlite3.SQLITE_AUTH:
            return unwritable(path, setting=setting)
        case sqlite3.SQLITE_ERROR if "no such table" in str(exc):
            return MissingError(f"nothing was created in {path} yet")
        case _:
            return ReplyLostError(f"{path}: {exc}")


def unwritable(path: Path, *, setting: str) -> ConfigurationError:
    """The file, or its directory, in which SQLite keeps its log, cannot be written."""
    problem = f"{path} cannot be opened for writing"
    return ConfigurationError(setting, problem, "Allow this user to write it and its directory, or name another file.")
