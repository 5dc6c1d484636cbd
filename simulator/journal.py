"""The journal of a simulated world: one for all processes, in the order in which things happened."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta

from fsm.journal import LineMaker
from fsm.journal_kinds import Kind
from fsm.ports import Journal, JsonScalar
from simulator.clock import ORIGIN
from simulator.loop import Life

PLATFORM = "platform"
"""The source of what the platform, and not a worker, did."""


@dataclass(slots=True)
class Entry:
    """One journal entry, with the virtual second at which it was written."""

    at_s: float
    process: str
    kind: Kind
    fields: Mapping[str, JsonScalar]

    def text(self, name: str) -> str:
        """A field as text; empty where there is none."""
        return str(self.fields.get(name) or "")


class MemoryJournal(Journal):
    """Shows what one process writes to whoever keeps it.

    Args:
        process: the source of its entries.
        keep: shown every entry.
        life: nothing is written once the process is dead.
    """

    def __init__(self, process: str, keep: Callable[[Entry], None], life: Life | None = None) -> None:
        self._process = process
        self._keep = keep
        self._life = life

    def write(self, kind: Kind, fields: Mapping[str, JsonScalar]) -> None:
        if self._life is None or not self._life.dead:
            self._keep(Entry(asyncio.get_running_loop().time(), self._process, kind, fields))

    def close(self) -> None:
        """Keep everything."""


class JournalLines:
    """The entries of a world as the lines that workers' own journals would hold, each source counting its own.

    A line is made at once: a text takes less room than an entry, of which a long run has hundreds of thousands.

    Attributes:
        lines: all of them, in the order in which things happened.
    """

    def __init__(self) -> None:
        self.lines: list[str] = []
        self._makers: dict[str, LineMaker] = {}

    def note(self, entry: Entry) -> None:
        """Append an entry's line."""
        maker = self._makers.get(entry.process)
        if maker is None:
            maker = self._makers[entry.process] = LineMaker(entry.process)
        self.lines.append(maker.line(ORIGIN + timedelta(seconds=entry.at_s), entry.kind, entry.fields))
