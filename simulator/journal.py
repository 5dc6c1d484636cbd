"""The journal of a simulated world: one list for all processes, in the order in which things happened."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

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
    """Keeps what one process wrote, in a list that all processes of a world share.

    Args:
        process: the source of its entries.
        entries: the list.
        life: nothing is written once the process is dead.
        observe: shown every entry.
    """

    def __init__(
        self,
        process: str,
        entries: list[Entry],
        life: Life | None = None,
        observe: Callable[[Entry], None] | None = None,
    ) -> None:
        self._process = process
        self._entries = entries
        self._life = life
        self._observe = observe

    def write(self, kind: Kind, fields: Mapping[str, JsonScalar]) -> None:
        if self._life is None or not self._life.dead:
            entry = Entry(asyncio.get_running_loop().time(), self._process, kind, fields)
            self._entries.append(entry)
            if self._observe is not None:
                self._observe(entry)

    def close(self) -> None:
        """Keep everything."""


def journal_lines(entries: Iterable[Entry], *, origin: datetime = ORIGIN) -> Iterable[str]:
    """The entries as the lines a worker's own journal would hold, each source counting its own."""
    makers: dict[str, LineMaker] = {}
    for entry in entries:
        if entry.process not in makers:
            makers[entry.process] = LineMaker(entry.process)
        at = origin + timedelta(seconds=entry.at_s)
        yield makers[entry.process].line(at, entry.kind, entry.fields)
