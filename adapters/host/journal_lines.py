"""Journals read back: the lines that `adapters.host.journal` wrote, whole or torn, while they grow or afterwards."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Self

from fsm.errors import ConfigurationError
from fsm.journal import FORMAT, UNREADABLE, Line, parse_line

__all__ = ["JournalFollower", "Line", "read_journals", "read_lines"]

_EXAMPLE_CHARS = 60


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
        for text in whole:
            line = parse_line(text.decode(errors="replace"))
            if line is not None:
                yield line


def read_lines(*paths: Path) -> list[Line]:
    """Every whole line of these journals; those of one source are in their order.

    A line that a kill tore is passed over: the call it was to announce was never made. What stands behind the tear on
    the same line is another process's and is kept.
    """
    return [line for path in paths for line in _lines_of(path) if line.kind != UNREADABLE]


def read_journals(*paths: Path) -> list[Line]:
    """Every line of these journals, for judging them; what is no line, other than a torn end, stands as `UNREADABLE`.

    Raises:
        ConfigurationError: a file cannot be read, is not a journal, or is of a format this version does not know.
    """
    lines: list[Line] = []
    for path in paths:
        try:
            own = list(_lines_of(path))
        except OSError as exc:
            raise ConfigurationError(
                "JOURNAL", f"{path} cannot be read: {exc.strerror}", "Name a journal file."
            ) from exc
        remedy = "Name a file that a worker wrote with --journal."
        if not own:
            raise ConfigurationError("JOURNAL", f"{path} is empty", remedy)
        if all(line.kind == UNREADABLE for line in own):
            raise ConfigurationError("JOURNAL", f"{path} is not a journal", remedy)
        for line in own:
            if line.kind == "journal" and line.fields.get("format") != FORMAT:
                remedy = f"Read it with the spotfsm that wrote it; this one reads format {FORMAT}."
                raise ConfigurationError("JOURNAL", f"{line.where} is of format {line.text('format')}", remedy)
        lines += own
    return lines


def _lines_of(path: Path) -> Iterator[Line]:
    """The file's lines; a torn or foreign one as `UNREADABLE`, but for the last, which a kill may have torn."""
    texts = path.read_bytes().split(b"\n")
    for number, text in enumerate(texts, start=1):
        where = f"{path}:{number}"
        line = parse_line(text.decode(errors="replace"), where=where)
        if line is not None:
            yield line
        elif text.strip() and number < len(texts):
            start = text[:_EXAMPLE_CHARS].decode(errors="replace")
            yield Line(
                source=str(path),
                n=number,
                at=datetime.min.replace(tzinfo=UTC),
                kind=UNREADABLE,
                fields={"text": start},
                where=where,
            )
