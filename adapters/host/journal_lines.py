"""Journals read back: the lines that `adapters.host.journal` wrote, whole or torn, while they grow or afterwards."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Self

from fsm.errors import ConfigurationError
from fsm.journal import FORMAT, LINE_BYTES_MAX, UNREADABLE, Line, is_beheaded, is_torn, parse_line
from fsm.journal_kinds import Kind

__all__ = ["JournalFollower", "Line", "read_journals"]

_EXAMPLE_CHARS = 60
_BLANK = " \t\r\n\0"
"""A crash of the machine may leave zeros where a line was to be."""


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


def read_journals(*paths: Path) -> list[Line]:
    """Every line of these journals, for judging them; what is no line, and not torn by a kill, stands as `UNREADABLE`.

    The files come in the order of their first lines, however they are named: so the parts of a rotated journal are in
    theirs. A file that is named twice is read once. Within a file nothing is sorted: lines that changed places are a
    fault.

    Raises:
        ConfigurationError: a file cannot be read, is not a journal, is of a format this version does not know, or
            holds a line that another one holds as well.
    """
    files = {path: _judged(path) for path in {path.resolve(): path for path in paths}.values()}
    _refuse_copies(files)
    in_order = sorted(files.values(), key=lambda own: next(line.at for line in own if line.kind != UNREADABLE))
    return [line for own in in_order for line in own]


def _refuse_copies(files: Mapping[Path, Sequence[Line]]) -> None:
    """Find the files that hold the very same line: one process's lines would be judged as if it had lived twice.

    Raises:
        ConfigurationError: there are such files.
    """
    files_of = Counter(source for own in files.values() for source in {line.source for line in own})
    seen: dict[tuple[str, int, datetime, str], Path] = {}
    for path, own in files.items():
        for line in own:
            if line.kind == UNREADABLE or files_of[line.source] == 1:
                continue
            other = seen.setdefault((line.source, line.n, line.at, line.sum), path)
            if other != path:
                problem = f"{other} and {path} hold the same lines, such as line {line.n} of {line.source:.80}"
                raise ConfigurationError("JOURNAL", problem, "Name one of the two.")


def _judged(path: Path) -> list[Line]:
    """The lines of one file, if it is a journal that can be read."""
    try:
        own, is_empty = list(_lines_of(path)), path.is_file() and path.stat().st_size == 0
    except OSError as exc:
        raise ConfigurationError("JOURNAL", f"{path} cannot be read: {exc.strerror}", "Name a journal file.") from exc
    if all(line.kind == UNREADABLE for line in own):
        problem = "is empty" if is_empty else "is not a journal" if own else "holds no whole line"
        raise ConfigurationError("JOURNAL", f"{path} {problem}", "Name a file that a worker wrote with --journal.")
    for line in own:
        known = line.fields.get("format")
        if line.kind == Kind.JOURNAL and type(known) is int and known > FORMAT:
            remedy = f"Read it with the spotfsm that wrote it; this one reads up to format {FORMAT}."
            raise ConfigurationError("JOURNAL", f"{line.where} is of format {known}", remedy)
    return own


def _lines_of(path: Path) -> Iterator[Line]:
    """The file's lines; what is none as `UNREADABLE`, but for what a kill tore or a cut left.

    A torn line is the last of its file, or the next process's first line stands right behind it. Of a file that was cut
    off in the middle of a line, the end of that line is the first there is.
    """
    torn: Line | None = None
    for number, text in enumerate(_texts(path), start=1):
        where = f"{path}:{number}"
        line = None if text is None else parse_line(text, where=where)
        if torn is not None and not (line is not None and line.kind == Kind.JOURNAL):
            yield torn
        torn = None
        if line is not None:
            yield line
        elif text is None:
            yield _unreadable(path, number, f"longer than any line of a journal, {LINE_BYTES_MAX} bytes", "")
        elif text.strip(_BLANK) and not (number == 1 and is_beheaded(text)):
            torn = _unreadable(path, number, "not a line of a journal", text)
            if not is_torn(text):
                yield torn
                torn = None


def _texts(path: Path) -> Iterator[str | None]:
    """The file line by line; None for one that is too long to be of a journal, which is passed over piece by piece."""
    with path.open("rb") as file:
        while piece := file.readline(LINE_BYTES_MAX + 1):
            too_long = len(piece) > LINE_BYTES_MAX
            while too_long and piece and not piece.endswith(b"\n"):
                piece = file.readline(LINE_BYTES_MAX)
            yield None if too_long else piece.decode(errors="replace")


def _unreadable(path: Path, number: int, why: str, text: str) -> Line:
    return Line(
        source=str(path),
        n=number,
        at=datetime.min.replace(tzinfo=UTC),
        kind=UNREADABLE,
        fields={"why": why, "text": text[:_EXAMPLE_CHARS]},
        where=f"{path}:{number}",
    )
