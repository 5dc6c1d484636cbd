"""What Scheduled Events shows of a platform: notices of its evictions, and events that come to nothing.

Azure broadcasts an event to every VM of the set; a worker finds its own VM among the resources, or not.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta
from random import Random

from fsm.notices import ScheduledEvent
from fsm.ports import Clock
from simulator.machine import Machine
from simulator.scenario import VmPlan

ACKNOWLEDGED_S = 1.0
"""An acknowledged event starts about this much later."""


class Notices:
    """Announces events on machines, and takes them back.

    Args:
        machines: which of them run is looked at whenever something is announced.
        clock: the platform's.
        random: draws whether the announced time is kept.
        spelt: how an event spells the names of its VMs.
    """

    def __init__(
        self,
        machines: Sequence[Machine],
        clock: Clock,
        random: Random,
        spelt: Callable[[Sequence[str]], tuple[str, ...]] = tuple,
    ) -> None:
        self._machines = machines
        self._clock = clock
        self._random = random
        self._spelt = spelt
        self._events = 0
        self._acknowledged: dict[str, asyncio.Event] = {}

    async def give(self, machines: Sequence[Machine], event_type: str, notice_s: float) -> str:
        """Announce an event, and wait until it is time: as announced, earlier, or soon after it was acknowledged.

        Args:
            machines: whom it is about; the plan of the first says whether the time is kept.
            event_type: as Scheduled Events name it.
            notice_s: how long before it starts.

        Returns:
            The event's id; it is shown until it is retracted. Whoever does not wait so long has taken it back.
        """
        event = self._new_event([machine.name for machine in machines], event_type, in_s=notice_s)
        try:
            await self._wait_for(event, machines[0].plan, notice_s)
        except asyncio.CancelledError:
            self.retract(event.event_id)
            raise
        return event.event_id

    async def _wait_for(self, event: ScheduledEvent, plan: VmPlan, notice_s: float) -> None:
        self._announce(event)
        acknowledged = self._acknowledged[event.event_id] = asyncio.Event()
        draw, late_s = self._random.random(), 0.0
        if draw < plan.early:
            notice_s *= self._random.random()
        elif draw < plan.early + plan.late:
            late_s = self._random.uniform(0.0, plan.late_s_max)
        with suppress(TimeoutError):
            async with asyncio.timeout(notice_s):
                await acknowledged.wait()
                await asyncio.sleep(ACKNOWLEDGED_S)
                late_s = 0.0
        del self._acknowledged[event.event_id]
        if late_s > 0:
            self._announce(replace(event, started=True, not_before=None))
            await asyncio.sleep(late_s)

    async def show(
        self, names: Sequence[str], event_type: str, lasts_s: float, *, in_s: float, duration_s: float | None = None
    ) -> None:
        """Announce an event, and take it back after `lasts_s`; nothing else comes of it."""
        event = self._new_event(names, event_type, in_s=in_s, duration_s=duration_s)
        self._announce(event)
        try:
            await asyncio.sleep(lasts_s)
        finally:
            self.retract(event.event_id)

    def acknowledged(self, event_id: str) -> None:
        """A worker lets an event start."""
        if event_id in self._acknowledged:
            self._acknowledged[event_id].set()

    def retract(self, event_id: str) -> None:
        """Take an event back wherever it is shown."""
        for machine in self._machines:
            if any(event.event_id == event_id for event in machine.vm.document.events):
                machine.vm.withdraw(event_id)

    def _announce(self, event: ScheduledEvent) -> None:
        for machine in self._machines:
            if machine.running:
                machine.vm.announce(event)

    def _new_event(
        self, names: Sequence[str], event_type: str, *, in_s: float, duration_s: float | None = None
    ) -> ScheduledEvent:
        self._events += 1
        return ScheduledEvent(
            event_id=f"E{self._events:06d}",
            event_type=event_type,
            resources=self._spelt(names),
            started=False,
            not_before=self._clock.now() + timedelta(seconds=in_s),
            duration_s=duration_s,
            source="Platform",
        )
