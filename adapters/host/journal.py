"""The journal as JSON lines.

Each line is handed to the operating system before the call it announces is made, so that a killed process leaves
every line it acted on; only a crash of the machine can take the last ones. Lines are appended whole: several workers
may share a file.
"""

from __future__ import annotations

import json
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
from fsm.journal import FORMAT
from fsm.ports import Journal, JsonScalar
from fsm.receipts import Receipts


class JsonLinesJournal(Journal):
    """Appends to a file.

    Every line has `n` (rising by one within a source), `at` (wall time, UTC), `source` (one process) and `kind`.

    Raises:
        ConfigurationError: the file cannot be opened for appending.
    """

    def __init__(self, path: Path) -> None:
        try:
            self._fd = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o644)
        except OSError as exc:
            remedy = "Name a file in a directory that exists and can be written."
            raise ConfigurationError("--journal", f"{path} cannot be opened: {exc.strerror}", remedy) from exc
        self._path = path
        self._source = f"{os.getpid()}-{uuid.uuid4().hex[:8]}"
        self._one_at_a_time = threading.Lock()
        self._n = 0
        self._failed = False
        self._end_torn_line()
        self.write("journal", {"format": FORMAT, "pid": os.getpid()})

    def write(self, kind: str, fields: Mapping[str, JsonScalar]) -> None:
        with self._one_at_a_time:  # the pulse writes from a thread of its own
            self._write(kind, fields)

    def _write(self, kind: str, fields: Mapping[str, JsonScalar]) -> None:
        self._n += 1
        at = datetime.now(UTC).isoformat(timespec="microseconds")
        line = json.dumps({"n": self._n, "at": at, "source": self._source, "kind": kind, **fields}) + "\n"
        try:
            os.write(self._fd, line.encode())
        except OSError as exc:
            if not self._failed:  # said once: a full disk must not stop the drain
                self._failed = True
                print(f"--journal: {self._path} cannot be written: {exc.strerror}", file=sys.stderr)  # noqa: T201

    def _end_torn_line(self) -> None:
        """A kill may have torn the last line of another process: ours begins on a line of its own."""
        if not stat.S_ISREG(os.fstat(self._fd).st_mode) or not os.access(self._path, os.R_OK):
            return
        with self._path.open("rb") as file:
            if file.seek(0, os.SEEK_END) > 0:
                file.seek(-1, os.SEEK_END)
                if file.read(1) != b"\n":
                    os.write(self._fd, b"\n")

    def close(self) -> None:
        os.close(self._fd)


class NoJournal(Journal):
    """Keeps nothing: for workers without `--journal`."""

    def write(self, kind: str, fields: Mapping[str, JsonScalar]) -> None:
        """Drop the entry."""

    def close(self) -> None:
        """Do nothing."""


class ReceiptJournal(Journal):
    """Passes every entry on, and adds a `drain` entry, its receipt, when a drain is over."""

    def __init__(self, journal: Journal, *, now_s: Callable[[], float] = time.monotonic) -> None:
        self._journal = journal
        self._now_s = now_s
        self._receipts = Receipts()

    def write(self, kind: str, fields: Mapping[str, JsonScalar]) -> None:
        self._journal.write(kind, fields)
        receipt = self._receipts.take(self._now_s(), kind, fields)
        if receipt is not None:
            self._journal.write("drain", receipt.fields())

    def close(self) -> None:
        self._journal.close()


class WatchedJournal(Journal):
    """Shows every entry to an observer, then passes it on."""

    def __init__(self, journal: Journal, observe: Callable[[str, Mapping[str, JsonScalar]], None]) -> None:
        self._journal = journal
        self._observe = observe

    def write(self, kind: str, fields: Mapping[str, JsonScalar]) -> None:
        self._observe(kind, fields)
        self._journal.write(kind, fields)

    def close(self) -> None:
        self._journal.close()
