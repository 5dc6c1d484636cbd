"""A path that machines of one table took, counted for drawing."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from fsm.journal import Line


@dataclass(frozen=True, slots=True, kw_only=True)
class Journey:
    """Where machines of one table went.

    Attributes:
        rows: how often a row was taken in a state, by the state and the row's id.
        visits: how often a state was come to; a machine's first state counts.
        present: how many machines stand in a state at the end.
    """

    rows: Mapping[tuple[str, str], int] = field(default_factory=dict)
    visits: Mapping[str, int] = field(default_factory=dict)
    present: Mapping[str, int] = field(default_factory=dict)

    def times(self, row_id: str) -> int:
        """How often a row was taken, in whatever state."""
        return sum(times for (_, taken), times in self.rows.items() if taken == row_id)


def journey_of(machine: str, lines: Iterable[Line], *, job: str | None = None) -> Journey:
    """The path of a table's machines through journals, whose lines are in order within a process.

    Every process is an application of its own, and every delivery a job machine of its own.

    Args:
        machine: the table's name.
        lines: of one journal or of several.
        job: the id of the only message to look at; then only its newest delivery is present.
    """
    rows: Counter[tuple[str, str]] = Counter()
    visits: Counter[str] = Counter()
    stands: dict[tuple[str, str, int], str] = {}
    for line in lines:
        if line.machine == machine and (job is None or line.job == job):
            before, after = line.text("from"), line.text("to")
            one = (line.source, line.job, line.epoch)
            if one not in stands:
                visits[before] += 1
            if before != after:
                visits[after] += 1
            rows[before, line.row] += 1
            stands[one] = after
    newest = max((epoch for _, _, epoch in stands), default=0)
    present = Counter(state for (_, _, epoch), state in stands.items() if job is None or epoch == newest)
    return Journey(rows=rows, visits=visits, present=present)
