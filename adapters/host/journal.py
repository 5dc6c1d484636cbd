"""The journal as JSON lines.

Each line is handed to the operating system before the call it announces is made, so that a killed process leaves
every line it acted on; only a crash of the machine can take the last ones. Lines are appended whole: several workers
may share a file.
"""

from __future__ import annotations

import errno
import os
import stat
import sys
import threading
import time
import uuid
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path

from fsm.errors import ConfigurationError
from fsm.journal import FORMAT, LineMaker
from fsm.journal_kinds import Kind
from fsm.ports import Journal, JsonScalar
from fsm.receipts import Receipts

_APPENDING = os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC


class JsonLinesJournal(Journal):
    """Appends to a file.

    Every line has `n` (rising by one within a source), `at` (wall time, UTC), `source` (one process) and `kind`, and
    ends in a `sum` over itself and the source's line before it.

    Raises:
        ConfigurationError: the file cannot be opened for appending.
    """

    def __init__(self, path: Path) -> None:
        try:
            self._fd = os.open(path, _APPENDING | os.O_CREAT, 0o644)
        except OSError as exc:
            raise _unusable(path, exc) from exc
        self._path = path
        self._lines = LineMaker(f"{os.getpid()}-{uuid.uuid4().hex[:8]}")
        self._one_at_a_time = threading.Lock()
        self._failed = False
        self._write(Kind.JOURNAL, {"format": FORMAT, "pid": os.getpid()}, after=self._end_of_torn_line())

    def write(self, kind: Kind, fields: Mapping[str, JsonScalar]) -> None:
        with self._one_at_a_time:  # the pulse writes from a thread of its own
            self._write(kind, fields)

    def _write(self, kind: Kind, fields: Mapping[str, JsonScalar], *, after: str = "") -> None:
        line = self._lines.line(datetime.now(UTC), kind, fields)
        try:
            os.write(self._fd, f"{after}{line}\n".encode())
        except OSError as exc:
            if not self._failed:  # said once: a full disk must not stop the drain
                self._failed = True
                print(f"--journal: {self._path} cannot be written: {exc.strerror}", file=sys.stderr)  # noqa: T201

    def _end_of_torn_line(self) -> str:
        """A kill may have torn the last line of another process: ours begins on a line of its own, right behind it."""
        if not stat.S_ISREG(os.fstat(self._fd).st_mode) or not os.access(self._path, os.R_OK):
            return ""
        with self._path.open("rb") as file:
            if file.seek(0, os.SEEK_END) > 0:
                file.seek(-1, os.SEEK_END)
                if file.read(1) != b"\n":
                    return "\n"
        return ""

    def close(self) -> None:
        os.close(self._fd)


def check_journal(path: Path) -> None:
    """Find out whether a worker could append to this file, and neither create nor change it.

    Raises:
        ConfigurationError: it could not.
    """
    try:
        try:
            os.close(os.open(path, _APPENDING | os.O_NONBLOCK))
        except FileNotFoundError:
            directory = path.parent.stat()
            if not (stat.S_ISDIR(directory.st_mode) and os.access(path.parent, os.W_OK | os.X_OK)):
                raise PermissionError(errno.EACCES, os.strerror(errno.EACCES)) from None
    except OSError as exc:
        raise _unusable(path, exc) from exc


def _unusable(path: Path, error: OSError) -> ConfigurationError:
    remedy = "Name a file in a directory that exists and can be written."
    return ConfigurationError("--journal", f"{path} cannot be opened: {error.strerror}", remedy)


class NoJournal(Journal):
    """Keeps nothing: for workers without `--journal`."""

    def write(self, kind: Kind, fields: Mapping[str, JsonScalar]) -> None:
        """Drop the entry."""

    def close(self) -> None:
        """Do nothing."""


class ReceiptJournal(Journal):
    """Passes every entry on, and adds a `drain` entry, its receipt, when a drain is over."""

    def __init__(self, journal: Journal, *, now_s: Callable[[], float] = time.monotonic) -> None:
        self._journal = journal
        self._now_s = now_s
        self._receipts = Receipts()

    def write(self, kind: Kind, fields: Mapping[str, JsonScalar]) -> None:
        self._journal.write(kind, fields)
        receipt = self._receipts.take(self._now_s(), kind, fields)
        if receipt is not None:
            self._journal.write(Kind.DRAIN, receipt.fields())

    def close(self) -> None:
        self._journal.close()


class WatchedJournal(Journal):
    """Shows every entry to an observer, then passes it on."""

    def __init__(self, journal: Journal, observe: Callable[[Kind, Mapping[str, JsonScalar]], None]) -> None:
        self._journal = journal
        self._observe = observe

    def write(self, kind: Kind, fields: Mapping[str, JsonScalar]) -> None:
        self._observe(kind, fields)
        self._journal.write(kind, fields)

    def close(self) -> None:
        self._journal.close()
