"""Several workers on one VM ask IMDS in turns, and together stay under its limit.

IMDS answers 5 requests a second to a whole VM [`fsm.sources.INSTANCE_METADATA`]. All processes of a host have the same
monotonic clock, so that no word is needed between them: time is cut into slots, and each worker asks only in its own.
"""

from __future__ import annotations

import asyncio
import math
from dataclasses import dataclass

from fsm.notices import EventsDocument
from fsm.ports import InstanceMetadata, ScheduledEvents, VmIdentity

SLOT_S = 0.3
"""Three slots and a bit a second: late ones included, no second sees more than five."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """The place of one of `count` workers, from 0."""

    place: int
    count: int

    @property
    def period_s(self) -> float:
        """From one turn to the next."""
        return self.count * SLOT_S

    def after(self, now_s: float, *, last: int) -> int:
        """The number of the first turn that begins from now on and comes after turn number `last`."""
        return max(last + 1, math.ceil((now_s - self.place * SLOT_S) / self.period_s))

    def at_s(self, number: int) -> float:
        """When a turn begins, on the monotonic clock."""
        return number * self.period_s + self.place * SLOT_S


class Turns:
    """Waits for the turns of one worker, one request each."""

    def __init__(self, turn: Turn) -> None:
        self._turn = turn
        self._last = -1

    async def mine(self) -> None:
        """Return when it is this worker's turn, once a turn."""
        now_s = asyncio.get_running_loop().time()
        self._last = self._turn.after(now_s, last=self._last)
        await asyncio.sleep(self._turn.at_s(self._last) - now_s)


class EventsInTurns(ScheduledEvents):
    """Scheduled Events, asked for in turns. The wait for a turn is no part of a call's time limit."""

    def __init__(self, events: ScheduledEvents, turns: Turns) -> None:
        self._events = events
        self._turns = turns

    async def poll(self, *, timeout_s: float) -> EventsDocument:
        await self._turns.mine()
        return await self._events.poll(timeout_s=timeout_s)

    async def acknowledge(self, event_id: str, *, timeout_s: float) -> None:
        await self._turns.mine()
        await self._events.acknowledge(event_id, timeout_s=timeout_s)


class MetadataInTurns(InstanceMetadata):
    """Instance metadata, asked for in turns."""

    def __init__(self, metadata: InstanceMetadata, turns: Turns) -> None:
        self._metadata = metadata
        self._turns = turns

    async def identity(self, *, timeout_s: float) -> VmIdentity:
        await self._turns.mine()
        return await self._metadata.identity(timeout_s=timeout_s)
