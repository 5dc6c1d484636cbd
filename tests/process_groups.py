"""Which processes of a group are left: a test that interrupts one as a terminal does must leave none."""

from __future__ import annotations

from pathlib import Path


def members(group: int) -> list[int]:
    """The processes of a group that live, by their ids; what is dead and not collected does not."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, _, member_of = stat.read_text().rpartition(")")[2].split()[:3]
        except (OSError, ValueError):  # it has just ended
            continue
        if state != "Z" and int(member_of) == group:
            found.append(int(stat.parent.name))
    return sorted(found)
