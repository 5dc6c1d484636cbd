"""What a worker tells while it runs, on stderr: a line for people, or the same event as a JSON object a line.

A service whose stderr is systemd's journal gets JSON by itself: what reads it there (journald's own filters, the Azure
Monitor Agent) reads fields. systemd names the journal's stream in the environment; that it is ours is checked as its
manual says. [https://www.freedesktop.org/software/systemd/man/latest/systemd.exec.html, JOURNAL_STREAM, read 2026-11]
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from enum import StrEnum
from typing import NamedTuple

from adapters.cli.output import one_line, say
from fsm.ports import JsonScalar

_JOURNAL_STREAM = "JOURNAL_STREAM"


class LogFormat(StrEnum):
    """How events are told."""

    AUTO = "auto"
    JSON = "json"
    TEXT = "text"

    def resolved(self) -> LogFormat:
        """JSON or text: what was asked for, or what suits whoever reads our stderr."""
        if self is not LogFormat.AUTO:
            return self
        return LogFormat.JSON if _goes_to_the_journal() else LogFormat.TEXT


class Level(StrEnum):
    """How much an event matters."""

    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


class Log(NamedTuple):
    """Where a worker's events go.

    Attributes:
        form: JSON or TEXT.
        worker: its name on the VM.
        shared: whether other workers tell theirs on the same stderr.
    """

    form: LogFormat
    worker: str
    shared: bool = False

    def tell(
        self, text: str, *, event: str, level: Level = Level.INFO, fields: Mapping[str, JsonScalar] | None = None
    ) -> None:
        """Tell one event; `fields` are for programs."""
        if self.form is LogFormat.JSON:
            at = datetime.now(UTC).isoformat(timespec="milliseconds")
            known = {"at": at, "level": level.value, "event": event, "worker": self.worker, "pid": os.getpid()}
            told = {**known, "text": one_line(text)}
            print(json.dumps({**told, **(fields or {}), **told}), file=sys.stderr, flush=True)
        else:
            say(f"{self.worker}: {text}" if self.shared else text)


def _goes_to_the_journal() -> bool:
    device, _, inode = os.environ.get(_JOURNAL_STREAM, "").partition(":")
    if not (device.isascii() and device.isdigit() and inode.isascii() and inode.isdigit()):
        return False
    try:
        found = os.fstat(sys.stderr.fileno())
    except (OSError, ValueError):
        return False
    return (found.st_dev, found.st_ino) == (int(device), int(inode))
