"""What tests ask of the journals that real workers left: the replay's verdict, and how many notices were read."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from fsm.journal import Line
from fsm.notices import Severity
from fsm.replay import replay
from fsm.replay.checks import BEGINS

__all__ = ["BEGINS", "faults_in", "notices_seen"]


def faults_in(lines: Sequence[Line]) -> list[str]:
    """One sentence for every line that breaks a promise; `lines` are of all processes that worked one queue."""
    return [str(fault) for fault in replay(lines).faults]


def notices_seen(lines: Iterable[Line]) -> int:
    """How many notices that reclaim the VM were read."""
    return sum(line.kind == "notice" and line.text("severity") == Severity.RECLAIM for line in lines)
