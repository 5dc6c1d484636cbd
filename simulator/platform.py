"""The simulated Azure: it allocates, refuses, announces or not, evicts, and starts workers.

Every change of a VM is a row of the Spot VM table, taken by the engine that runs it in production, and what it sets off
is decided by the joint rules. A VM is evicted when the market has no room for it or a price above its limit, or when it
is its turn by its plan's rate. Whether that is announced, how long before, and whether the announced time is kept, is
drawn.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from contextvars import Context
from decimal import Decimal
from typing import assert_never

from fsm.application import AppState, AppTrigger
from fsm.engine import Engine
from fsm.joint import AFTER_VM, FireApplication
from fsm.journal_kinds import Kind
from fsm.spot_vm import SPOT_VM, Offer, VmFact, VmRow, VmState, VmTrigger, vm_facts
from simulator.faults import Injector
from simulator.journal import PLATFORM
from simulator.machine import Machine, SkewedClock, StartWorker
from simulator.market import Market, Moment
from simulator.mischief import Mischief
from simulator.notices import Notices
from simulator.observing import Observer
from simulator.operating import Operator
from simulator.process import Ending, Process
from simulator.scenario import Maintenance, Scenario, ScriptedEvent
from simulator.workload import drawn_length
from simulator.world import World

RESTART_WORKER_S = 5.0
"""A worker whose process ended is started again after this, as its unit says."""
AT_START_S = 5.0
"""A VM that is evicted at its start is taken, or announced to be, within this."""
RECOVERY_ROUNDS = 12
"""A recovery whose calls take no time takes about so many rounds of the loop."""


class Platform(Observer):
    """All VMs of a scenario, the market they live in, and their operator.

    Attributes:
        machines: in the order of the scenario.
        evictions, announced, withdrawn: how often VMs were taken, how often that was announced, and how many
            announcements came to nothing.
        notices: what Scheduled Events shows of it.
        operator: who brings its VMs back.
        is_calm: nothing goes wrong any more.
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
        self._journal = world.journal_of(PLATFORM)
        self._random = world.random("platform")
        self._allocations = 0
        self._tasks: set[asyncio.Task[object]] = set()
        self.is_calm = False
        self.failure: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.evictions = self.announced = self.withdrawn = 0
        skewed = scenario.faults.clock_skew_s_max
        self.machines = [
            Machine(f"{plan.name}-{number}", plan, SkewedClock(self._random.uniform(-skewed, skewed)))
            for plan in scenario.vms
            for number in range(1, plan.count + 1)
        ]
        self._by_name = {machine.name: machine for machine in self.machines}
        if skewed:
            injector.happened["clock_skew_s_max"] += len(self.machines)
        self.notices = Notices(self.machines, world.clock, self._random, injector.spelt)
        self.operator = Operator(self, scenario.operator, self._random)
        self._mischief = Mischief(self, scenario, world, injector, self._random)

    # -- its life -----------------------------------------------------------------------------------------------------

    def open(self) -> None:
        """Begin: the market moves, the operator deploys, the script and the faults run."""
        self._note_market()
        self.spawn(self._follow_market())
        for machine in self.machines:
            self.spawn(self.operator.operate(machine))
        self._mischief.begin()

    def calm(self) -> None:
        """From now on there is room and the price is right, and nothing goes wrong; the operator looks at once."""
        self.is_calm = True
        self._mischief.cease()
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

    def spawn(self, work: Coroutine[None, None, object]) -> asyncio.Task[object]:
        """Let something happen beside everything else; what it raises ends the run."""
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._done)
        return task

    def _done(self, task: asyncio.Task[object]) -> None:
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
        if self.is_calm:
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
        if row.trigger is VmTrigger.EVICT:
            self._note_cause(facts)
        machine.changed.set()
        for consequence in AFTER_VM.consequences(row, before, all_settled=True):
            assert isinstance(consequence, FireApplication)
            if consequence.trigger is AppTrigger.RECOVER:
                self._boot(machine, before)
            else:
                assert consequence.trigger is AppTrigger.VM_GONE
                self._take(machine)
        return row

    def _note_cause(self, facts: frozenset[VmFact]) -> None:
        """Tell the drought or the price spike that may be on that it took a VM."""
        if VmFact.CAPACITY_AVAILABLE in facts:
            self._injector.evicted("price_spike", self._now_s())
        elif self._market.now.capacity == 0:
            self._injector.evicted("drought", self._now_s())

    def _boot(self, machine: Machine, before: VmState) -> None:
        self._allocations += 1
        machine.allocate(before, self._allocations)
        self.spawn(self._come_up(machine, machine.boots))

    def _take(self, machine: Machine) -> None:
        """The VM is gone, and its worker with it."""
        machine.vm.clear()
        if machine.worker is not None:
            machine.worker.die(Ending.EVICTED)
        machine.process = None

    def _charge(self, machine: Machine) -> None:
        machine.bill.charge(
            self._now_s(), machine.state, machine.terms, self.offer, disks_usd_per_h=machine.plan.disks_usd_per_h
        )

    # -- coming up ----------------------------------------------------------------------------------------------------

    async def _come_up(self, machine: Machine, boot: int) -> None:
        """Boot, then start the worker; later start it again whenever it ends while the VM runs."""
        plan, faults = machine.plan, self._scenario.faults
        if plan.evictions_per_h > 0:
            self.spawn(self._take_its_turn(machine, boot))
        if not self.is_calm and self._random.random() < faults.evicted_at_start:
            self.spawn(self._evict_at_start(machine, boot))
        await asyncio.sleep(drawn_length(self._random, plan.boot_s, plan.boot))
        if machine.boots != boot or not machine.running:
            return
        machine.process = self._start_worker(machine)
        if not self.is_calm and self._random.random() < faults.evicted_recovering:
            self.spawn(self._evict_recovering(machine, boot))

    def ended(self, process: Process) -> None:
        """A worker ended: its unit starts it again, whatever its exit code, unless the VM went with it."""
        machine = self._by_name[process.vm_name]
        if machine.process is process and machine.running:
            self.spawn(self._restart_worker(machine, machine.boots))

    async def _restart_worker(self, machine: Machine, boot: int) -> None:
        await asyncio.sleep(RESTART_WORKER_S)
        if machine.boots == boot and machine.running and machine.worker is None:
            machine.process = self._start_worker(machine)

    # -- going down ---------------------------------------------------------------------------------------------------

    async def _take_its_turn(self, machine: Machine, boot: int) -> None:
        """Evict at the plan's rate, for as long as this boot lasts."""
        while True:
            await asyncio.sleep(self._random.expovariate(machine.plan.evictions_per_h / 3600.0))
            if machine.boots != boot or not machine.running or self.is_calm:
                return
            await self.evict(machine)

    async def _evict_at_start(self, machine: Machine, boot: int) -> None:
        await asyncio.sleep(self._random.uniform(0.0, AT_START_S))
        if machine.boots == boot and not self.is_calm and await self.evict(machine):
            self._injector.happened["evicted_at_start"] += 1

    async def _evict_recovering(self, machine: Machine, boot: int) -> None:
        """Take a VM whose worker has just been started: where calls take no time, within a few rounds of the loop."""
        if self._scenario.faults.latency_s_max > 0:
            await asyncio.sleep(self._random.uniform(0.0, 2 * self._scenario.faults.latency_s_max))
        for _ in range(self._random.randint(0, RECOVERY_ROUNDS)):
            await asyncio.sleep(0)
        if machine.boots != boot or machine.worker is None or self.is_calm:
            return
        recovering = machine.worker.worker.state in (AppState.OFFLINE, AppState.RECOVERING, AppState.WARMING_UP)
        if await self.evict(machine) and recovering:
            self._injector.happened["evicted_recovering"] += 1

    def strike(self, process: Process) -> bool:
        """Kill a process that lives, half of the time with its VM; whether it did."""
        if not process.alive:
            return False
        machine = self._by_name[process.vm_name]
        if self._random.random() < 0.5:
            self._journal.write(Kind.KILL, {"vm": machine.name})
            process.die(Ending.DIED)
        else:
            plan = machine.plan
            self.take(machine, outage_s=drawn_length(self._random, plan.outage_s, plan.outage))
        return True

    async def evict(
        self, machine: Machine, *, outage_s: float | None = None, notice_s: float | None = None, market: bool = False
    ) -> bool:
        """Take a VM, with or without a notice; whether it was taken.

        Args:
            machine: which.
            outage_s: how long there is no room for it then; drawn by its plan if None.
            notice_s: below 0 for none; drawn by its plan if None.
            market: the reason is the market's, and may have passed when the time has come.
        """
        if not machine.running or machine.doomed:
            return False
        machine.doomed, boot, plan = True, machine.boots, machine.plan
        event_id = ""
        try:
            if notice_s is None:
                announced = self._random.random() < plan.announced
                notice_s = self._random.uniform(plan.notice_s_min, plan.notice_s_max) if announced else -1.0
            if notice_s >= 0:
                event_id = await self.notices.give([machine], "Preempt", notice_s)
            if machine.gone_since(boot) or (self.is_calm and not event_id):
                return False
            if outage_s is None and not market:
                outage_s = drawn_length(self._random, plan.outage_s, plan.outage)
            taken = self.take(machine, outage_s=None if market else outage_s)
            self.announced += taken and bool(event_id)
            self.withdrawn += bool(event_id) and not taken
            return taken
        finally:
            machine.doomed = False
            self.notices.retract(event_id)

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

    async def maintain(self, machine: Machine, maintenance: Maintenance, notice_s: float) -> int:
        """Announce that a VM is deleted, or boots again, and do so at the time, announced or earlier.

        Args:
            machine: which; an event that names several is about all that run.
            maintenance: what becomes of it, by the type of the event.
            notice_s: how long before.

        Returns:
            Of how many VMs it became true.
        """
        if not machine.running or machine.doomed:
            return 0
        alongside = [m for m in self.machines if m is not machine and m.running and not m.doomed]
        machines = [*(alongside if alongside and self._injector.names_many() else ()), machine]
        boots = [(one, one.boots) for one in machines]
        event_id = ""
        try:
            for one in machines:
                one.doomed = True
            event_id = await self.notices.give(machines, maintenance.value, notice_s)
            there = [one for one, boot in boots if not one.gone_since(boot)]
            for one in there:
                self._end(one, maintenance)
            return len(there)
        finally:
            for one in machines:
                one.doomed = False
            self.notices.retract(event_id)

    def _end(self, machine: Machine, maintenance: Maintenance) -> None:
        match maintenance:
            case Maintenance.TERMINATE:
                self.fire(machine, VmTrigger.DELETE)
            case Maintenance.REDEPLOY:
                self.fire(machine, VmTrigger.DEALLOCATE)
                self.fire(machine, VmTrigger.RESTART)
            case Maintenance.REBOOT:  # no change of state: the VM stays allocated where it is
                self._journal.write(Kind.KILL, {"vm": machine.name, "for": maintenance.value})
                self._take(machine)
                machine.allocate(machine.state, machine.allocation)
                self.spawn(self._come_up(machine, machine.boots))
            case _:
                assert_never(maintenance)

    def do(self, event: ScriptedEvent, machine: Machine) -> None:
        """Do something to a VM, now; on behalf of nobody, whoever asks."""
        Context().run(self.spawn, self._mischief.perform(event, machine))

    def order_eviction(self, machine: Machine) -> None:
        """Take a VM when it suits the platform: with or without a notice, as its plan draws it."""
        self.spawn(self.evict(machine))

    def acknowledged(self, process: Process, event_id: str) -> None:
        """A worker lets an event start."""
        if not process.life.dead:
            self.notices.acknowledged(event_id)

    # -- the market ---------------------------------------------------------------------------------------------------

    async def _follow_market(self) -> None:
        while (change_s := self._market.next_change_s) is not None:
            await asyncio.sleep(max(0.0, change_s - self._now_s()))
            if self.is_calm:
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
                self.spawn(self.evict(machine, market=True))

    def _is_due(self, machine: Machine) -> bool:
        """Whether the table would evict it now."""
        return SPOT_VM.row_for(machine.state, VmTrigger.EVICT, self.facts(machine)).dest is not None

    def _note_market(self) -> None:
        moment: Moment = self._market.now
        self._journal.write(Kind.MARKET, {"price_usd_per_h": str(moment.price_usd_per_h), "capacity": moment.capacity})

    def _now_s(self) -> float:
        return self._world.clock.monotonic_s()
