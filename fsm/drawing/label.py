"""What stands on an edge: an event, its guard, the rows that decide it, and what becomes of it.

A label is written as UML has it, `event [guard] / outcome`, with each row's id before its outcome. It is kept in
pieces, so that one format can set them in type and another can join them, each breaking lines to its own width.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum

LINE_CHARACTERS = 27
"""Characters in a line of a label: Mermaid would break a longer one at any space."""


class Ink(StrEnum):
    """What a piece of a label is."""

    EVENT = "event"
    GUARD = "guard"
    ROW = "row"
    TAKEN = "taken"
    """A row that the drawn path took."""
    OUTCOME = "outcome"


@dataclass(frozen=True, slots=True)
class Piece:
    """Words that are never parted."""

    text: str
    ink: Ink


Chunk = tuple[Piece, ...]
"""Pieces that are parted only where a line cannot hold them all."""
Clause = tuple[Chunk, ...]
"""What begins on a line of its own."""
Label = tuple[Clause, ...]
TIMES = "\N{MULTIPLICATION SIGN}"
"""Before a count."""
_STROKE = Piece("/", Ink.GUARD)
Measure = Callable[[Chunk], float]


def text_of(line: Chunk) -> str:
    """A line as plain text."""
    return " ".join(piece.text for piece in line)


def _characters(line: Chunk) -> float:
    return len(text_of(line))


def wrapped(label: Label, width: float, measure: Measure = _characters) -> tuple[Chunk, ...]:
    """The label's lines, none wider than `width` as far as its pieces allow."""
    return tuple(line for clause in label for line in _lines(clause, width, measure))


def _lines(clause: Clause, width: float, measure: Measure) -> Iterator[Chunk]:
    held: Chunk = ()
    for chunk in clause:
        for part in (chunk,) if measure(chunk) <= width else _parts(chunk):
            if held and measure(held + part) > width:
                yield held
                held = ()
            held += part
    if held:
        yield held


def _parts(chunk: Chunk) -> Iterator[Chunk]:
    """A chunk's pieces, the stroke before a row with the row's first word."""
    glued = 3 if chunk[0] == _STROKE else 1
    yield chunk[:glued]
    yield from ((piece,) for piece in chunk[glued:])


def event(name: str) -> Chunk:
    """An event's name, which may have several words."""
    return (Piece(name, Ink.EVENT),)


def guard(atoms: Sequence[str]) -> Chunk:
    """A guard in brackets; nothing for no guard."""
    if not atoms:
        return ()
    return tuple(Piece(text, Ink.GUARD) for text in re.split(r"(?<=,) |(?<= or) ", f"[{', '.join(atoms)}]"))


def row(row_id: str, outcome: str, *, times: int = 0) -> Chunk:
    """A row's id, how often a drawn path took it, and the head of its outcome.

    The head is what comes before the first colon or semicolon: short enough for an edge.
    """
    name = Piece(f"{row_id} {TIMES}{times}", Ink.TAKEN) if times else Piece(row_id, Ink.ROW)
    head = outcome.partition(":")[0].partition(";")[0]
    return name, *(Piece(word, Ink.OUTCOME) for word in head.split())


def clause(before: Iterable[Chunk], rows: Sequence[Chunk]) -> Clause:
    """A clause: an event, a guard or both, then a stroke and the rows."""
    conditions = tuple(chunk for chunk in before if chunk)
    listed = [*(_with_comma(chunk) for chunk in rows[:-1]), *rows[-1:]]
    if conditions and listed:
        listed[0] = (_STROKE, *listed[0])
    return (*conditions, *listed)


def _with_comma(chunk: Chunk) -> Chunk:
    return (*chunk[:-1], Piece(f"{chunk[-1].text},", chunk[-1].ink))
