"""What goes wrong with whole VMs and processes beside evictions: drawn by the hour, or ordered by the script."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from random import Random
from typing import TYPE_CHECKING, assert_never

from fsm.journal_kinds import Kind
from simulator.faults import ELSEWHERE, Injector
from simulator.journal import PLATFORM
from simulator.machine import Machine
from simulator.process import Ending
from simulator.scenario import Deed, Maintenance, Scenario, ScriptedEvent
from simulator.world import World

if TYPE_CHECKING:
    from simulator.platform import Platform

ADVICE = ("SpotRebalanceRecommendation", "Defragment")
"""Types of events that ask for nothing: the one there is, and one that nobody knows."""
SIGKILL_AFTER_S = 15.0
"""A process that was told to stop is killed this long after its grace, as its unit says."""

_Deed = Callable[[Machine], Coroutine[None, None, None]]


class Mischief:
    """Does to the machines of a platform what faults and script want.

    Args:
        platform: whose machines.
        random: draws how long things last.
    """

    def __init__(
        self, platform: Platform, scenario: Scenario, world: World, injector: Injector, random: Random
    ) -> None:
        self._platform = platform
        self._scenario = scenario
        self._world = world
        self._injector = injector
        self._random = random
        self._journal = world.journal_of(PLATFORM)
        self._until_calm: list[asyncio.Task[object]] = []

    def begin(self) -> None:
        """From now on deeds are done: the hourly ones until `cease`, the scripted ones at their times."""
        for machine in self._platform.machines:
            for name, deed in self._deeds():
                rate = getattr(self._scenario.faults, name)
                if rate > 0:
                    self._until_calm.append(self._platform.spawn(self._again_and_again(machine, name, rate, deed)))
        for event in self._scenario.script:
            self._platform.spawn(self._at_its_time(event))

    def cease(self) -> None:
        """From now on nothing happens any more."""
        for task in self._until_calm:
            task.cancel()
        self._injector.silent.clear()

    def _deeds(self) -> tuple[tuple[str, _Deed], ...]:
        plan, draw = self._scenario.faults, self._random
        return (
            ("imds_outage", lambda m: self._silence(m, draw.uniform(0.0, plan.imds_outage_s_max))),
            ("notice_withdrawn", lambda m: self._withdrawn_notice(m, draw.uniform(0.0, 40.0))),
            ("notice_foreign", lambda m: self._foreign_notice(m, draw.uniform(0.0, 40.0))),
            ("freeze", lambda m: self._freeze(m, draw.uniform(0.0, plan.freeze_s_max), announced=draw.random() < 0.5)),
            ("death", self._kill),
            ("stop", self._stop),
            (
                "terminate",
                lambda m: self._maintain(m, Maintenance.TERMINATE, draw.uniform(0.0, plan.maintenance_s_max)),
            ),
            ("reboot", lambda m: self._maintain(m, Maintenance.REBOOT, draw.uniform(0.0, plan.maintenance_s_max))),
            ("redeploy", lambda m: self._maintain(m, Maintenance.REDEPLOY, draw.uniform(0.0, plan.maintenance_s_max))),
            ("advice", lambda m: self._advice(m, draw.choice(ADVICE), draw.uniform(0.0, 40.0))),
            ("clock_jump", lambda m: self._jump(m, draw.uniform(-1.0, 1.0) * plan.clock_jump_s_max)),
        )

    async def _again_and_again(self, machine: Machine, name: str, rate: float, deed: _Deed) -> None:
        random = self._world.random(f"{name} {machine.name}")
        while True:
            await asyncio.sleep(random.expovariate(rate / 3600.0))
            if machine.running:
                await deed(machine)

    async def _at_its_time(self, event: ScriptedEvent) -> None:
        await asyncio.sleep(event.at_s)
        for machine in self._platform.machines:
            if not self._platform.is_calm and event.vm in ("*", machine.name):
                self._platform.spawn(self.perform(event, machine))

    async def perform(self, event: ScriptedEvent, machine: Machine) -> None:
        """Do to a machine what the event says, whatever its time and its VM."""
        match event.do:
            case Deed.EVICT:
                await self._platform.evict(machine, outage_s=event.lasts_s, notice_s=event.notice_s)
            case Deed.FREEZE:
                await self._freeze(machine, event.lasts_s, announced=event.notice_s >= 0, notice_s=event.notice_s)
            case Deed.WITHDRAWN_NOTICE:
                await self._withdrawn_notice(machine, event.lasts_s)
            case Deed.FOREIGN_NOTICE:
                await self._foreign_notice(machine, event.lasts_s)
            case Deed.ADVICE:
                await self._advice(machine, ADVICE[0], event.lasts_s)
            case Deed.TERMINATE | Deed.REBOOT | Deed.REDEPLOY:
                maintenance = Maintenance(event.do.value.capitalize())
                ending = self._maintain(machine, maintenance, max(0.0, event.notice_s))
                self._until_calm.append(self._platform.spawn(ending))
            case Deed.IMDS_OUTAGE:
                await self._silence(machine, event.lasts_s)
            case Deed.KILL:
                await self._kill(machine)
            case Deed.STOP:
                await self._stop(machine)
            case Deed.CLOCK_JUMP:
                await self._jump(machine, event.lasts_s)
            case _:
                assert_never(event.do)

    # -- deeds --------------------------------------------------------------------------------------------------------

    async def _silence(self, machine: Machine, lasts_s: float) -> None:
        self._injector.silent.add(machine.name)
        try:
            await asyncio.sleep(lasts_s)
        finally:
            self._injector.silent.discard(machine.name)

    async def _withdrawn_notice(self, machine: Machine, lasts_s: float) -> None:
        """An event that names the VM, and vanishes without having started."""
        if not machine.doomed:
            self._platform.withdrawn += 1
            self._injector.happened["notice_withdrawn"] += 1
            await self._platform.notices.show([machine.name], "Preempt", lasts_s, in_s=lasts_s + 10.0)

    async def _foreign_notice(self, machine: Machine, lasts_s: float) -> None:
        """An event that names others: one elsewhere, one whose name begins as the VM's, and one whose name does so."""
        self._injector.happened["notice_foreign"] += 1
        others = (ELSEWHERE, f"{machine.name}-b", machine.name[:-1])
        await self._platform.notices.show(others, "Preempt", lasts_s, in_s=30.0)

    async def _advice(self, machine: Machine, event_type: str, lasts_s: float) -> None:
        """An event that names the VM, asks for nothing, and comes to nothing."""
        self._injector.happened["advice"] += 1
        await self._platform.notices.show([machine.name], event_type, lasts_s, in_s=lasts_s)

    async def _maintain(self, machine: Machine, maintenance: Maintenance, notice_s: float) -> None:
        """The VM is deleted or boots again, and is told so before; in a calm world it is taken back."""
        ended = await self._platform.maintain(machine, maintenance, notice_s)
        if ended:
            self._injector.happened[maintenance.value.lower()] += ended

    async def _freeze(self, machine: Machine, lasts_s: float, *, announced: bool, notice_s: float = 15.0) -> None:
        """The VM stands still: its worker does nothing, and the world goes on."""
        if announced:
            await self._platform.notices.show([machine.name], "Freeze", notice_s, in_s=notice_s, duration_s=lasts_s)
            if self._platform.is_calm:
                return
        process = machine.worker
        if process is None or process.life.frozen:
            return
        self._journal.write(Kind.FREEZE, {"vm": machine.name, "for_s": round(lasts_s, 3)})
        self._injector.happened["freeze"] += 1
        process.life.freeze()
        await asyncio.sleep(lasts_s)
        process.life.thaw()

    async def _kill(self, machine: Machine) -> None:
        if machine.worker is not None:
            self._journal.write(Kind.KILL, {"vm": machine.name})
            self._injector.happened["death"] += 1
            machine.worker.die(Ending.DIED)

    async def _stop(self, machine: Machine) -> None:
        """SIGTERM, and SIGKILL for whoever does not listen."""
        process = machine.worker
        if process is not None:
            self._journal.write(Kind.STOP_SENT, {"vm": machine.name})
            self._injector.happened["stop"] += 1
            process.signals.send("SIGTERM")
            await asyncio.wait([process.task], timeout=self._scenario.worker.stop_grace_s + SIGKILL_AFTER_S)
            process.die(Ending.DIED)

    async def _jump(self, machine: Machine, by_s: float) -> None:
        self._journal.write(Kind.CLOCK_JUMP, {"vm": machine.name, "by_s": round(by_s, 3)})
        self._injector.happened["clock_jump"] += 1
        machine.clock.skew_s += by_s
