"""What stands in a journal: lines of one process after another, each a row that was taken or a causal mark.

A line is written before the call it announces is made. So the order of a process's lines is the order of its
decisions, and a killed process leaves every line it acted on; only a last line may be torn.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from fsm.ports import JsonScalar

FORMAT = 1
"""Stands in the first line of every process; raised when a reader of older journals would go wrong."""
UNREADABLE = "unreadable"
"""The kind of what stands between lines and is none."""
_LINE_START = '{"n": '


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One line of a journal.

    Attributes:
        source: the process that wrote it.
        n: its number there, from 1.
        at: wall time, UTC.
        kind: `row`, `receive`, `notice`, ...
        fields: the rest.
        where: file and line number, for people.
    """

    source: str
    n: int
    at: datetime
    kind: str
    fields: Mapping[str, JsonScalar]
    where: str = ""

    def text(self, name: str) -> str:
        """A field as text; empty where there is none."""
        value = self.fields.get(name)
        return "" if value is None else str(value)

    @property
    def machine(self) -> str:
        """The table of a row line, or the empty text."""
        return self.text("machine") if self.kind == "row" else ""

    @property
    def row(self) -> str:
        """The id of the row that a row line notes, or the empty text."""
        return self.text("row") if self.kind == "row" else ""

    @property
    def job(self) -> str:
        """The id of the message that the line is about, or the empty text."""
        return self.text("job")

    @property
    def epoch(self) -> int:
        """The dequeue count of the delivery that the line is about, or 0."""
        value = self.fields.get("epoch")
        return value if isinstance(value, int) else 0

    def __str__(self) -> str:
        return f"{self.where or f'{self.source}:{self.n}'} {self.kind} {dict(self.fields)}"


def parse_line(text: str, *, where: str = "") -> Line | None:
    """The line in a text, or None if there is none.

    A process that was killed may have left a torn line without an end, and another process's line behind it on the same
    line of the file: that one is found.
    """
    start = text.rfind(_LINE_START)
    try:
        fields = json.loads(text[start:]) if start >= 0 else None
        if not isinstance(fields, dict):
            return None
        return Line(
            n=int(fields.pop("n")),
            at=datetime.fromisoformat(fields.pop("at")),
            source=str(fields.pop("source")),
            kind=str(fields.pop("kind")),
            fields=fields,
            where=where,
        )
    except (ValueError, KeyError, TypeError, OverflowError, RecursionError):
        return None
