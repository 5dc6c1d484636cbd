"""The embedded default: a work queue and a job store in one SQLite file, with nothing to install."""

from adapters.sqlite.database import Database
from adapters.sqlite.file import Synchronous
from adapters.sqlite.queue import SqliteQueue
from adapters.sqlite.store import SqliteStore

__all__ = ["Database", "SqliteQueue", "SqliteStore", "Synchronous"]
