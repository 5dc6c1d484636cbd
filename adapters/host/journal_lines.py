"""Journals read back: the lines that `adapters.host.journal` wrote, whole or torn, while they grow or afterwards."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Self

from fsm.ports import JsonScalar

_LINE_START = b'{"n": '


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One line of a journal.

    Attributes:
        source: the process that wrote it.
        n: its number there, from 1.
        at: wall time, UTC.
        kind: `row`, `receive`, `notice`, ...
        fields: the rest.
    """

    source: str
    n: int
    at: datetime
    kind: str
    fields: Mapping[str, JsonScalar]

    def text(self, name: str) -> str:
        """A field as text; empty where there is none."""
        return str(self.fields.get(name) or "")

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
        return int(self.fields.get("epoch") or 0)

    def __str__(self) -> str:
        return f"{self.source}:{self.n} {self.kind} {dict(self.fields)}"


class JournalFollower:
    """Reads a growing journal; each call of `new_lines` goes on where the last one stopped. A context manager."""

    def __init__(self, path: Path) -> None:
        path.touch()
        self._file = path.open("rb")
        self._rest = b""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_reason: object) -> None:
        self._file.close()

    def new_lines(self) -> Iterator[Line]:
        """The lines that were finished since the last call."""
        *whole, self._rest = (self._rest + self._file.read()).split(b"\n")
        return _lines_in(whole)


def read_lines(*paths: Path) -> list[Line]:
    """Every whole line of these journals; those of one source are in their order.

    A line that a kill tore is passed over: the call it was to announce was never made. What stands behind the tear on
    the same line is another process's and is kept.
    """
    return [line for path in paths for line in _lines_in(path.read_bytes().split(b"\n"))]


def _lines_in(texts: list[bytes]) -> Iterator[Line]:
    for text in texts:
        start = text.rfind(_LINE_START)
        try:
            fields = json.loads(text[start:]) if start >= 0 else None
        except ValueError:
            fields = None
        if fields is not None:
            yield Line(
                n=fields.pop("n"),
                at=datetime.fromisoformat(fields.pop("at")),
                source=fields.pop("source"),
                kind=fields.pop("kind"),
                fields=fields,
            )
