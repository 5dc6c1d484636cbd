"""The time of an invented world: the event loop's, and a wall clock that starts where it is told to."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

from fsm.ports import Clock

ORIGIN = datetime(2026, 1, 1, tzinfo=UTC)
"""The wall clock when the loop's time is 0."""


class SimulatedClock(Clock):
    """Runs with the event loop it is asked in, so that a virtual loop makes it virtual."""

    def __init__(self, origin: datetime = ORIGIN) -> None:
        self._origin = origin

    def now(self) -> datetime:
        return self._origin + timedelta(seconds=self.monotonic_s())

    def monotonic_s(self) -> float:
        return asyncio.get_running_loop().time()
