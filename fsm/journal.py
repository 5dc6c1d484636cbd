"""What stands in a journal: lines of one process after another, each a row that was taken or a causal mark.

A line is written before the call it announces is made. So the order of a process's lines is the order of its
decisions, and a killed process leaves every line it acted on; only a last line may be torn.

Each line ends in a *sum* over itself and the sum of the line before it: a line that was changed is found at that line,
and one that was left out at the next one, however the numbers were mended. The sum finds mistakes; whoever forges a
journal can compute it too. Lines can be read from any one on, so a journal may be cut off at both ends.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from zlib import crc32

from fsm.journal_kinds import Kind
from fsm.ports import JsonScalar

FORMAT = 2
"""Stands in the first line of every process; raised when a reader of older journals would go wrong."""
FORMATS = (1, FORMAT)
"""What can be read. Format 1 had no sums, and neither `settled` lines nor the steps of a delivery."""
LINE_BYTES_MAX = 65_536
"""No line is longer: whatever comes from outside is cut before it is noted."""
TEXT_MAX = 300
"""How much of a text from outside stands in a line."""
UNREADABLE = "unreadable"
"""The kind of what stands between lines and is none."""
_LINE_START = '{"n": '
_LINE_END = re.compile(r', "sum": "([0-9a-f]{8})"\}\s*\Z')


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
        sum: what stands at its end; empty in a journal of format 1.
        digest: of what stands before its sum.
    """

    source: str
    n: int
    at: datetime
    kind: str
    fields: Mapping[str, JsonScalar]
    where: str = ""
    sum: str = ""
    digest: int = 0

    def text(self, name: str) -> str:
        """A field as text; empty where there is none."""
        value = self.fields.get(name)
        return "" if value is None else str(value)

    @property
    def machine(self) -> str:
        """The table of a row line, or the empty text."""
        return self.text("machine") if self.kind == Kind.ROW else ""

    @property
    def row(self) -> str:
        """The id of the row that a row line notes, or the empty text."""
        return self.text("row") if self.kind == Kind.ROW else ""

    @property
    def job(self) -> str:
        """The id of the message that the line is about, or the empty text."""
        return self.text("job")

    @property
    def epoch(self) -> int:
        """The dequeue count of the delivery that the line is about, or 0."""
        value = self.fields.get("epoch")
        return value if isinstance(value, int) else 0

    def follows(self, before: str) -> bool:
        """Whether its sum is right for a line behind one with the sum `before`; empty for a process's first line."""
        return self.sum == _chained(before, self.digest)

    def __str__(self) -> str:
        return f"{self.where or f'{self.source}:{self.n}'} {self.kind} {dict(self.fields)}"


class LineMaker:
    """Makes the lines of one process: numbered, each with its sum.

    Args:
        source: the process.
    """

    def __init__(self, source: str) -> None:
        self._source = source
        self._n = 0
        self._sum = ""

    def line(self, at: datetime, kind: Kind, fields: Mapping[str, JsonScalar]) -> str:
        """The next line, without its line feed.

        Args:
            at: wall time, UTC.
            kind: what the line is about.
            fields: the rest.
        """
        self._n += 1
        stamp = at.isoformat(timespec="microseconds")
        body = json.dumps({"n": self._n, "at": stamp, "source": self._source, "kind": kind, **fields})[:-1]
        self._sum = _chained(self._sum, crc32(body.encode()))
        return f'{body}, "sum": "{self._sum}"}}'


def _chained(before: str, digest: int) -> str:
    """The sum of a line: over what stands in it, and then over the sum of the line before it."""
    return f"{crc32(before.encode(), digest):08x}"


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
        n, at = fields.pop("n"), datetime.fromisoformat(fields.pop("at"))
        if type(n) is not int or n < 1 or at.tzinfo is None:
            return None
        end = _LINE_END.search(text, start)
        if end is not None:
            fields.pop("sum")
        return Line(
            n=n,
            at=at,
            source=str(fields.pop("source")),
            kind=str(fields.pop("kind")),
            fields=fields,
            where=where,
            sum="" if end is None else end[1],
            digest=0 if end is None else crc32(text[start : end.start()].encode()),
        )
    except (ValueError, KeyError, TypeError, OverflowError, RecursionError):
        return None


def is_torn(text: str) -> bool:
    """Whether a text that is no line can be what a kill left of one: its beginning, without an end."""
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return text.startswith(_LINE_START[: len(text)])
    return False


def is_beheaded(text: str) -> bool:
    """Whether a text that is no line can be what a cut leaves of one: its end, without a beginning."""
    return not text.startswith(_LINE_START[0]) and _LINE_END.search(text) is not None
