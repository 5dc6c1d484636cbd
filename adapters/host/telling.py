"""What both kinds of children are told about the end, and when."""

from __future__ import annotations

import asyncio
import time

from fsm.ports import JobControl

GRACE_S_MAX = 1.0
"""From SIGTERM to SIGKILL: a drain leaves 5 s for handing back, of which saving has its share."""
GRACE_SHARE = 0.25
"""The share of what is left until a deadline that may be spent on a process that does not end."""
SERVICE_STOPS_S = 1.0
"""systemd sends SIGTERM to every process of a service; the worker may hear of it after its children."""
_LOOK_S = 0.02


def grace_s(control: JobControl) -> float:
    """How long a process may take to end once it was told to."""
    deadline_s = control.deadline_s()
    if deadline_s is None:
        return GRACE_S_MAX
    return max(0.0, min(GRACE_S_MAX, GRACE_SHARE * (deadline_s - time.monotonic())))


async def drain_begins(control: JobControl) -> bool:
    """Whether a drain is on, or begins within a moment: then a process that was told to end has not failed."""
    for _ in range(round(SERVICE_STOPS_S / _LOOK_S)):
        if control.deadline_s() is not None:
            return True
        await asyncio.sleep(_LOOK_S)
    return False
