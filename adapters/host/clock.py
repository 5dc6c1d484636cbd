"""The system's clocks and its randomness."""

from __future__ import annotations

import asyncio
import random
import uuid
from datetime import UTC, datetime

from fsm.ports import Clock, Randomness


class SystemClock(Clock):
    """Wall time from the system, monotonic time from the running event loop."""

    def now(self) -> datetime:
        return datetime.now(UTC)

    def monotonic_s(self) -> float:
        return asyncio.get_running_loop().time()


class SystemRandomness(Randomness):
    """The system's randomness; pauses need no secrecy, tokens come from the operating system."""

    def uniform(self, low: float, high: float) -> float:
        return random.uniform(low, high)  # noqa: S311 -- spreads pauses, guards nothing

    def token(self) -> str:
        return uuid.uuid4().hex
