"""The simulated Azure: it allocates, refuses, announces or not, evicts, and starts workers; and the operator's policy.

Every change of a VM is a row of the Spot VM table, taken by the engine that runs it in production, and what it sets off
is decided by the joint rules. A VM is evicted when the market has no room for it or a price above its limit, or when it
is its turn by its plan's rate. Whether that is announced, how long before, and whether the announced time is kept, is
drawn.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from contextlib import suppress
from contextvars import Context
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from random import Random

from fsm.application import AppTrigger
from fsm.engine import Engine
from fsm.joint import AFTER_VM, FireApplication
from fsm.journal_kinds import Kind
from fsm.notices import ScheduledEvent
from fsm.spot_vm import PAY_AS_YOU_GO, SPOT_VM, Offer, VmFact, VmRow, VmState, VmTrigger, vm_facts
from simulator.faults import FaultPlan, Injector
from simulator.journal import PLATFORM
from simulator.machine import Machine, SkewedClock, StartWorker, announce, retract
from simulator.market import Market, Moment
from simulator.observing import Observer
from simulator.process import Ending, Process
from simulator.scenario import Action, Deed, Scenario, ScriptedEvent, VmPlan
from simulator.workload import drawn_length
from simulator.world import World

RESTART_WORKER_S = 5.0
"""A worker whose process ended is started again after this, as its unit says."""
ACKNOWLEDGED_S = 1.0
"""An acknowledged event starts about this much later."""


class Platform(Observer):
    """All VMs of a scenario, the market they live in, and their operator.

    Attributes:
        machines: in the order of the scenario.
        evictions, announced, withdrawn: how often VMs were taken, how often that was announced, and how many
            announcements came to nothing.
        refusals: how often an allocation was refused.
    """

    def __init__(
        self, scenario: Scenario, world: World, market: Market, injector: Injector, start_worker: StartWorker
    ) -> None:
        self._scenario = scenario
        self._world = world
        self._market = market
        self._injector = injector
        self._start_worker = start_worker
        self._engine = Engine(SPOT_VM)
        self._journal = world.journal(PLATFORM)
        self._random = world.random("platform")
        self._allocations = 0
        self._events = 0
        self._acknowledged: dict[str, asyncio.Event] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._mischief: list[asyncio.Task[None]] = []
        self._calm = False
        self.failure: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.evictions = self.announced = self.withdrawn = self.refusals = 0
        skewed = scenario.faults.clock_skew_s_max
        self.machines = [
            Machine(f"{plan.name}-{number}", plan, SkewedClock(self._random.uniform(-skewed, skewed)))
            for plan in scenario.vms
            for number in range(1, plan.count + 1)
        ]
        self._by_name = {machine.name: machine for machine in self.machines}

    # -- its life -----------------------------------------------------------------------------------------------------

    def open(self) -> None:
        """Begin: the market moves, the operator deploys, the script and the faults run."""
        self._note_market()
        self._spawn(self._follow_market())
        for machine in self.machines:
            self._spawn(self._operate(machine))
            for name, deed in self._hourly_deeds():
                rate = getattr(self._scenario.faults, name)
                if rate > 0:
                    self._mischief.append(self._spawn(self._hourly(machine, name, rate, deed)))
        for event in self._scenario.script:
            self._spawn(self._perform(event))

    def calm(self) -> None:
        """From now on there is room and the price is right, and nothing goes wrong; the operator looks at once."""
        self._calm = True
        for task in self._mischief:
            task.cancel()
        self._injector.silent.clear()
        for machine in self.machines:
            machine.no_room_until_s = 0.0
            if not machine.doomed:
                for event in machine.vm.document.events:
                    machine.vm.withdraw(event.event_id)
            if machine.process is not None:
                machine.process.life.thaw()
            machine.changed.set()

    async def close(self) -> None:
        """Stop everything; the last bill is made."""
        self.settle_bills()
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)

    def settle_bills(self) -> None:
        """Bill every VM up to now."""
        for machine in self.machines:
            self._charge(machine)

    def every(self, period_s: float, look: Callable[[], None]) -> None:
        """Call back at regular times."""

        async def go_on() -> None:
            while True:
                await asyncio.sleep(period_s)
                look()

        self._spawn(go_on())

    def _spawn(self, work: Coroutine[None, None, None]) -> asyncio.Task[None]:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._done)
        return task

    def _done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None and not self.failure.done():
            self.failure.set_exception(error)

    # -- the table ----------------------------------------------------------------------------------------------------

    @property
    def offer(self) -> Offer:
        """What the market offers now; once all is calm, room at the price it had."""
        moment = self._market.now
        return Offer(price_usd_per_h=moment.price_usd_per_h, capacity_available=moment.capacity != 0)

    def facts(self, machine: Machine) -> frozenset[VmFact]:
        """The facts about one VM now."""
        if self._calm:
            return vm_facts(machine.terms, Offer(price_usd_per_h=Decimal("0.00001"), capacity_available=True))
        return vm_facts(
            machine.terms,
            Offer(price_usd_per_h=self._market.now.price_usd_per_h, capacity_available=self._has_room(machine)),
        )

    def _has_room(self, machine: Machine) -> bool:
        if self._now_s() < machine.no_room_until_s:
            return False
        capacity = self._market.now.capacity
        if capacity is None:
            return True
        before = sum(m.running and (not machine.running or m.allocation < machine.allocation) for m in self.machines)
        return before < capacity

    def fire(self, machine: Machine, trigger: VmTrigger) -> VmRow:
        """Put an input to the VM's table, journal the row, and set off what the joint rules say."""
        facts, before = self.facts(machine), machine.state
        row = self._engine.fire(before, trigger, facts)
        after = row.after(before)
        rule = AFTER_VM.rule_for(before, after, all_settled=True)
        self._journal.write(
            Kind.ROW,
            {
                "machine": SPOT_VM.name,
                "vm": machine.name,
                "row": row.id,
                "trigger": trigger.value,
                "from": before.value,
                "to": after.value,
                "verdict": row.verdict.value,
                "facts": ", ".join(sorted(facts)),
                "outcome": row.outcome,
                "joint_rule": None if rule is None else rule.id,
            },
        )
        if after is before:
            return row
        self._charge(machine)
        machine.state = after
        machine.history.append((self._now_s(), after, row.id))
        machine.changed.set()
        for consequence in AFTER_VM.consequences(row, before, all_settled=True):
            assert isinstance(consequence, FireApplication)
            if consequence.trigger is AppTrigger.RECOVER:
                self._boot(machine, before)
            else:
                assert consequence.trigger is AppTrigger.VM_GONE
                self._take(machine)
        return row

    def _boot(self, machine: Machine, before: VmState) -> None:
        self._allocations += 1
        machine.allocate(before, self._allocations)
        self._spawn(self._come_up(machine, machine.boots))

    def _take(self, machine: Machine) -> None:
        """The VM is gone, and its worker with it."""
        machine.vm.document = type(machine.vm.document)(incarnation=machine.vm.document.incarnation + 1, events=())
        if machine.worker is not None:
            machine.worker.die(Ending.EVICTED)

    def _charge(self, machine: Machine) -> None:
        machine.bill.charge(
            self._now_s(), machine.state, machine.terms, self.offer, disks_usd_per_h=machine.plan.disks_usd_per_h
        )

    # -- coming up ----------------------------------------------------------------------------------------------------

    async def _come_up(self, machine: Machine, boot: int) -> None:
        """Boot, then start the worker; later start it again whenever it ends while the VM runs."""
        plan, faults = machine.plan, self._scenario.faults
        if plan.evictions_per_h > 0:
            self._spawn(self._take_its_turn(machine, boot))
        if not self._calm and self._random.random() < faults.evicted_at_start:
            self._spawn(self._evict_after(machine, self._random.uniform(0.0, 5.0), boot))
        await asyncio.sleep(drawn_length(self._random, plan.boot_s, plan.boot))
        if machine.boots != boot or not machine.running:
            return
        machine.process = self._start_worker(machine)
        if not self._calm and self._random.random() < faults.evicted_recovering:
            self._spawn(self._evict_after(machine, self._random.uniform(0.0, 2.0), boot))

    def ended(self, process: Process) -> None:
        """A worker ended: its unit starts it again, unless the VM went with it."""
        machine = self._by_name[process.vm_name]
        if machine.process is process and machine.running and process.ending is not Ending.CRASHED:
            self._spawn(self._restart_worker(machine, machine.boots))

    async def _restart_worker(self, machine: Machine, boot: int) -> None:
        await asyncio.sleep(RESTART_WORKER_S)
        if machine.boots == boot and machine.running and machine.worker is None:
            machine.process = self._start_worker(machine)

    # -- going down ---------------------------------------------------------------------------------------------------

    async def _take_its_turn(self, machine: Machine, boot: int) -> None:
        """Evict at the plan's rate, for as long as this boot lasts."""
        while True:
            await asyncio.sleep(self._random.expovariate(machine.plan.evictions_per_h / 3600.0))
            if machine.boots != boot or not machine.running or self._calm:
                return
            await self.evict(machine)

    async def _evict_after(self, machine: Machine, pause_s: float, boot: int) -> None:
        await asyncio.sleep(pause_s)
        if machine.boots == boot and not self._calm:
            await self.evict(machine)

    async def evict(
        self, machine: Machine, *, outage_s: float | None = None, notice_s: float | None = None, market: bool = False
    ) -> None:
        """Take a VM, with or without a notice.

        Args:
            machine: which.
            outage_s: how long there is no room for it then; drawn by its plan if None.
            notice_s: below 0 for none; drawn by its plan if None.
            market: the reason is the market's, and may have passed when the time has come.
        """
        if not machine.running or machine.doomed:
            return
        machine.doomed, boot, plan = True, machine.boots, machine.plan
        event_id = ""
        try:
            if notice_s is None:
                announced = self._random.random() < plan.announced
                notice_s = self._random.uniform(plan.notice_s_min, plan.notice_s_max) if announced else -1.0
            if notice_s >= 0:
                event_id = await self._give_notice(machine, notice_s)
            if _gone(machine, boot) or (self._calm and not event_id):
                return
            if outage_s is None and not market:
                outage_s = drawn_length(self._random, plan.outage_s, plan.outage)
            if self.take(machine, outage_s=None if market else outage_s):
                self.announced += bool(event_id)
            else:
                self.withdrawn += bool(event_id)
        finally:
            machine.doomed = False
            retract(self.machines, event_id)

    def take(self, machine: Machine, *, outage_s: float | None) -> bool:
        """Take a VM in this very moment, announced or not.

        Args:
            machine: which.
            outage_s: how long there is no room for it then; None leaves it to the market whether it has to go.

        Returns:
            Whether it was taken.
        """
        if outage_s is not None:
            machine.no_room_until_s = max(machine.no_room_until_s, self._now_s() + max(outage_s, 1e-3))
        taken = self.fire(machine, VmTrigger.EVICT).dest is not None
        self.evictions += taken
        return taken

    def order_eviction(self, machine: Machine) -> None:
        """Take a VM when it suits the platform: with or without a notice, as its plan draws it."""
        self._spawn(self.evict(machine))

    async def _give_notice(self, machine: Machine, notice_s: float) -> str:
        """Announce, and wait until it is time: as announced, earlier, or soon after it was acknowledged."""
        event_id = self._new_event_id()
        event = ScheduledEvent(
            event_id=event_id,
            event_type="Preempt",
            resources=(machine.name,),
            started=False,
            not_before=self._world.clock.now() + timedelta(seconds=notice_s),
            duration_s=None,
            source="Platform",
        )
        announce(self.machines, event)
        acknowledged = self._acknowledged[event_id] = asyncio.Event()
        plan, draw, late_s = machine.plan, self._random.random(), 0.0
        if draw < plan.early:
            notice_s *= self._random.random()
        elif draw < plan.early + plan.late:
            late_s = self._random.uniform(0.0, plan.late_s_max)
        with suppress(TimeoutError):
            async with asyncio.timeout(notice_s):
                await acknowledged.wait()
                await asyncio.sleep(ACKNOWLEDGED_S)
                late_s = 0.0
        del self._acknowledged[event_id]
        if late_s > 0:
            announce(self.machines, replace(event, started=True, not_before=None))
            await asyncio.sleep(late_s)
        return event_id

    def acknowledged(self, process: Process, event_id: str) -> None:
        """A worker lets an event start."""
        if event_id in self._acknowledged and not process.life.dead:
            self._acknowledged[event_id].set()

    def _new_event_id(self) -> str:
        self._events += 1
        return f"E{self._events:06d}"

    # -- the market ---------------------------------------------------------------------------------------------------

    async def _follow_market(self) -> None:
        while (change_s := self._market.next_change_s) is not None:
            await asyncio.sleep(max(0.0, change_s - self._now_s()))
            if self._calm:
                return
            self.settle_bills()
            if self._market.advance(self._now_s()):
                self._offer_changed()

    def offer_now(self, moment: Moment) -> None:
        """Let the market offer something else from now on, until its next moment; for tests that go step by step."""
        self.settle_bills()
        self._market.set(moment)
        self._offer_changed()

    def _offer_changed(self) -> None:
        self._note_market()
        for machine in self.machines:
            if machine.running and not machine.doomed and self._is_due(machine):
                self._spawn(self.evict(machine, market=True))

    def _is_due(self, machine: Machine) -> bool:
        """Whether the table would evict it now."""
        return SPOT_VM.row_for(machine.state, VmTrigger.EVICT, self.facts(machine)).dest is not None

    def _note_market(self) -> None:
        moment: Moment = self._market.now
        self._journal.write(Kind.MARKET, {"price_usd_per_h": str(moment.price_usd_per_h), "capacity": moment.capacity})

    # -- the operator -------------------------------------------------------------------------------------------------

    async def _operate(self, machine: Machine) -> None:
        """Deploy, and bring back whatever is taken, with pauses that double."""
        plan = self._scenario.operator
        self._ask(machine, VmTrigger.DEPLOY)
        attempt = 0
        while True:
            machine.changed.clear()
            if machine.running:
                attempt = 0
                await machine.changed.wait()
                continue
            if plan.action is Action.NOTHING and machine.boots > 0:
                return
            attempt += 1
            pause_s = min(plan.pause_s_max, plan.first_pause_s * 2.0 ** min(attempt - 1, 30))
            with suppress(TimeoutError):
                async with asyncio.timeout(pause_s * self._random.uniform(0.5, 1.0)):
                    while not (self._calm or machine.running):
                        await machine.changed.wait()
                        machine.changed.clear()
            if self._calm:
                await asyncio.sleep(1.0)
            if _gone(machine, machine.boots):
                self._bring_back(machine)

    def _bring_back(self, machine: Machine) -> None:
        action = self._scenario.operator.action
        if machine.state is not VmState.STOPPED or action is Action.REDEPLOY:
            self._ask(machine, VmTrigger.DEPLOY)
        elif action is Action.RECREATE:
            self.fire(machine, VmTrigger.DELETE)
            self._ask(machine, VmTrigger.DEPLOY)
        else:
            self._ask(machine, VmTrigger.RESTART)

    def _ask(self, machine: Machine, trigger: VmTrigger) -> None:
        if self.fire(machine, trigger).dest is None:
            self.refusals += 1

    # -- mischief, drawn or scripted ----------------------------------------------------------------------------------

    def _hourly_deeds(self) -> tuple[tuple[str, Callable[[Machine], Coroutine[None, None, None]]], ...]:
        plan: FaultPlan = self._scenario.faults
        draw: Random = self._random
        return (
            ("imds_outage", lambda m: self._silence(m, draw.uniform(0.0, plan.imds_outage_s_max))),
            ("notice_withdrawn", lambda m: self._withdrawn_notice(m, draw.uniform(0.0, 40.0))),
            ("notice_foreign", lambda m: self._foreign_notice(m, draw.uniform(0.0, 40.0))),
            ("freeze", lambda m: self._freeze(m, draw.uniform(0.0, plan.freeze_s_max), announced=draw.random() < 0.5)),
            ("death", self._kill),
            ("stop", self._stop),
            ("clock_jump", lambda m: self._jump(m, draw.uniform(-1.0, 1.0) * plan.clock_jump_s_max)),
        )

    async def _hourly(
        self, machine: Machine, name: str, rate: float, deed: Callable[[Machine], Coroutine[None, None, None]]
    ) -> None:
        random = self._world.random(f"{name} {machine.name}")
        while True:
            await asyncio.sleep(random.expovariate(rate / 3600.0))
            if machine.running:
                await deed(machine)

    async def _perform(self, event: ScriptedEvent) -> None:
        await asyncio.sleep(event.at_s)
        for machine in self.machines:
            if not self._calm and event.vm in ("*", machine.name):
                self._spawn(self._do(event, machine))

    def do(self, event: ScriptedEvent, machine: Machine) -> None:
        """Do something to a VM, now; on behalf of nobody, whoever asks."""
        Context().run(self._spawn, self._do(event, machine))

    async def _do(self, event: ScriptedEvent, machine: Machine) -> None:
        match event.do:
            case Deed.EVICT:
                await self.evict(machine, outage_s=event.lasts_s, notice_s=event.notice_s)
            case Deed.FREEZE:
                await self._freeze(machine, event.lasts_s, announced=event.notice_s >= 0, notice_s=event.notice_s)
            case Deed.WITHDRAWN_NOTICE:
                await self._withdrawn_notice(machine, event.lasts_s)
            case Deed.FOREIGN_NOTICE:
                await self._foreign_notice(machine, event.lasts_s)
            case Deed.KILL:
                await self._kill(machine)
            case Deed.STOP:
                await self._stop(machine)
            case Deed.CLOCK_JUMP:
                await self._jump(machine, event.lasts_s)

    async def _silence(self, machine: Machine, lasts_s: float) -> None:
        self._injector.silent.add(machine.name)
        try:
            await asyncio.sleep(lasts_s)
        finally:
            self._injector.silent.discard(machine.name)

    async def _withdrawn_notice(self, machine: Machine, lasts_s: float) -> None:
        """An event that names the VM, and vanishes without having started."""
        if not machine.doomed:
            self.withdrawn += 1
            await self._show(machine.name, "Preempt", lasts_s, in_s=lasts_s + 10.0)

    async def _foreign_notice(self, _machine: Machine, lasts_s: float) -> None:
        await self._show("another-vm", "Preempt", lasts_s, in_s=30.0)

    async def _show(
        self, vm_name: str, event_type: str, lasts_s: float, *, in_s: float, duration_s: float | None = None
    ) -> None:
        event_id = self._new_event_id()
        announce(
            self.machines,
            ScheduledEvent(
                event_id=event_id,
                event_type=event_type,
                resources=(vm_name,),
                started=False,
                not_before=self._world.clock.now() + timedelta(seconds=in_s),
                duration_s=duration_s,
                source="Platform",
            ),
        )
        try:
            await asyncio.sleep(lasts_s)
        finally:
            retract(self.machines, event_id)

    async def _freeze(self, machine: Machine, lasts_s: float, *, announced: bool, notice_s: float = 15.0) -> None:
        """The VM stands still: its worker does nothing, and the world goes on."""
        if announced:
            await self._show(machine.name, "Freeze", notice_s, in_s=notice_s, duration_s=lasts_s)
            if self._calm:
                return
        process = machine.worker
        if process is None or process.life.frozen:
            return
        self._journal.write(Kind.FREEZE, {"vm": machine.name, "for_s": round(lasts_s, 3)})
        process.life.freeze()
        await asyncio.sleep(lasts_s)
        process.life.thaw()

    async def _kill(self, machine: Machine) -> None:
        if machine.worker is not None:
            self._journal.write(Kind.KILL, {"vm": machine.name})
            machine.worker.die(Ending.DIED)

    async def _stop(self, machine: Machine) -> None:
        """SIGTERM, and SIGKILL for whoever does not listen."""
        process = machine.worker
        if process is not None:
            self._journal.write(Kind.STOP_SENT, {"vm": machine.name})
            process.signals.send("SIGTERM")
            await asyncio.wait([process.task], timeout=self._scenario.worker.stop_grace_s + 15.0)
            process.die(Ending.DIED)

    async def _jump(self, machine: Machine, by_s: float) -> None:
        self._journal.write(Kind.CLOCK_JUMP, {"vm": machine.name, "by_s": round(by_s, 3)})
        machine.clock.skew_s += by_s

    def _now_s(self) -> float:
        return self._world.clock.monotonic_s()


def _gone(machine: Machine, boot: int) -> bool:
    """Whether this boot of the VM is over."""
    return machine.boots != boot or not machine.running


def price_above_all(plans: tuple[VmPlan, ...], ceiling_usd_per_h: Decimal) -> Decimal:
    """A price that is over every max price there is."""
    limits = [plan.max_price_usd_per_h for plan in plans if plan.max_price_usd_per_h != PAY_AS_YOU_GO]
    return min(ceiling_usd_per_h, max(limits, default=ceiling_usd_per_h) * 2)
