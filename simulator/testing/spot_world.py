"""A world for a test: the production worker with your handler on simulated Spot VMs, moved along by plain calls.

Each world has an event loop and a virtual time of its own, so that a test is a plain function, with or without a plugin
for asyncio, and a Hypothesis example has a loop to itself.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterable, Mapping
from contextlib import suppress
from contextvars import Context
from dataclasses import replace
from decimal import Decimal
from functools import partial
from types import TracebackType
from typing import Self, TypeVar

from fsm.handler import Json
from fsm.runner import Worker
from fsm.spot_vm import VmState
from simulator.explore.plain import virtual_sleep
from simulator.faults import NO_FAULTS, FaultPlan
from simulator.loop import WorldLoop
from simulator.market import Moment, rounded
from simulator.observing import Observer
from simulator.process import Process
from simulator.scenario import (
    ConstantMarket,
    Deed,
    MarketPlan,
    OperatorPlan,
    Scenario,
    ScriptedEvent,
    VmPlan,
    WorkerPlan,
)
from simulator.stage import Stage
from simulator.testing.evicting import Evictor
from simulator.testing.handlers import Handler, HandlerWork
from simulator.testing.history import History, unusual
from simulator.testing.jobs import PutJob
from simulator.testing.queue import SpotQueue
from simulator.testing.steps import Eviction, Step
from simulator.world import MakeWorker, World

ReplyT = TypeVar("ReplyT")

DEFAULT_VM = VmPlan(boot_s=0.0, announced=0.0)
"""A VM that boots at once and is evicted by nobody but the test and the market."""
DEFAULT_OPERATOR = OperatorPlan(first_pause_s=1.0, pause_s_max=10.0)
"""A VM that was taken is asked for again each few seconds."""
DEFAULT_WORKER = WorkerPlan()
DEFAULT_MARKET = ConstantMarket()
CALM_AFTER_S = 600.0
CALM_S_MAX = 86_400.0


class BrokenPromiseError(AssertionError):
    """A promise of spotfsm was broken: a bug of the worker, or a handler that never ends."""


class UnfinishedError(AssertionError):
    """Jobs have not come to their end in time, in a world in which nothing goes wrong any more."""


class SpotWorld:
    """The production worker with a handler on simulated Spot VMs, under virtual time.

    Use it as a context manager: at its end the world is calmed, and every promise is judged.

    Args:
        handler: `async def` or `def`, of a job, as `spotfsm worker --handler` takes it.
        seed: whatever is drawn; the same seed and the same calls give the same run.
        vms: how many there are.
        vm: what each of them is like.
        worker: its settings, and whether it has a job store.
        operator: what is done about a VM that was taken.
        market: price and capacity.
        faults: what else goes wrong.
        evictions: as `evict` takes them, one by one.
        calm_s_max: how much virtual time the jobs may take when nothing goes wrong any more.
        make_worker: for tests of the worker itself.

    Attributes:
        queue: the queue that its workers receive from.
        history: what has happened, a line each.

    Raises:
        RuntimeError: an event loop is running: the test is an `async def`.
        ConfigurationError: the market is a trace that cannot be read.
    """

    def __init__(
        self,
        handler: Handler,
        *,
        seed: int | str = 0,
        vms: int = 1,
        vm: VmPlan = DEFAULT_VM,
        worker: WorkerPlan = DEFAULT_WORKER,
        operator: OperatorPlan = DEFAULT_OPERATOR,
        market: MarketPlan = DEFAULT_MARKET,
        faults: FaultPlan = NO_FAULTS,
        evictions: Iterable[Eviction] = (),
        calm_s_max: float = CALM_S_MAX,
        make_worker: MakeWorker = Worker,
    ) -> None:
        self.seed = seed
        self._handler = handler
        self._make_worker = make_worker
        self._scenario = Scenario(
            name="test",
            horizon_s=CALM_AFTER_S,
            calm_s_max=calm_s_max,
            vms=(replace(vm, count=vms),),
            worker=worker,
            operator=operator,
            market=market,
            faults=faults,
        )
        self._calm = False
        self._given = {"vms": vms, "vm": vm, "worker": worker, "operator": operator, "market": market, "faults": faults}
        self._explained = False
        _no_loop_runs()
        self._loop = WorldLoop()
        try:
            self._drive(self._open())
            for eviction in evictions:
                self._evict(eviction)
        except BaseException:
            self._loop.close()
            raise

    def __repr__(self) -> str:
        """As it is made, without the evictions: those are calls."""
        handler = getattr(self._handler, "__name__", repr(self._handler))
        usual = SpotWorld.__init__.__kwdefaults__ or {}
        given = [f"{name}={unusual(value)}" for name, value in self._given.items() if value != usual[name]]
        return f"SpotWorld({', '.join([handler, f'seed={self.seed!r}', *given])})"

    async def _open(self) -> None:
        self._changed = asyncio.Event()
        self._stage = Stage(self._scenario, self.seed, self._make_work, over=self._look, make_worker=self._make_worker)
        self._world, self._platform = self._stage.world, self._stage.platform
        self._evictor = Evictor(self._platform, self._stage.fault)
        self._stage.show(_Watch(self._work.jobs, self._look), self.history)
        self._world.faults = self._evictor.fault
        self._platform.failure.add_done_callback(lambda _future: self._look())
        self._platform.open()
        await _rounds()

    def _make_work(self, world: World) -> HandlerWork:
        jobs: dict[str, PutJob] = {}
        self.history = History(world, jobs)
        self.queue = SpotQueue(world, jobs, self._at_once, self.history.put)
        self._work = HandlerWork(self._handler, world, jobs, self._at_checkpoint)
        return self._work

    def _at_checkpoint(self, process: Process, done: bool) -> None:  # noqa: FBT001 -- as `AtStep` has it
        self._evictor.at_checkpoint(process, done)

    # -- what a test does ---------------------------------------------------------------------------------------------

    def put(self, body: Json = None, *, text: str | None = None) -> PutJob:
        """Put a job on the queue.

        Args:
            body: of the message, as JSON.
            text: or as it is.

        Raises:
            MessageRejectedError: it is over 64 KiB, or no text that a queue can carry.
        """
        return self.queue.put(body, text=text)

    def run(self, *, calm_after_s: float = CALM_AFTER_S) -> None:
        """Let time pass until every job has come to its end: completed, or poisoned.

        Args:
            calm_after_s: when nothing goes wrong any more, if the jobs have not ended before.

        Raises:
            BrokenPromiseError: a promise was broken.
            UnfinishedError: jobs have no end.
        """
        self._drive(self._until(self._all_settled, calm_after_s))
        if not self._all_settled():
            self.calm()
            self._drive(self._until(self._all_settled, self._scenario.calm_s_max))
        left = [str(job) for job in self.jobs if not job.settled]
        if left:
            calm = f"{self._scenario.calm_s_max:g} s in which nothing went wrong"
            raise self._explain(UnfinishedError(f"after {calm}, {', '.join(left)} had not come to an end"))

    def advance(self, seconds: float) -> None:
        """Let time pass.

        Raises:
            BrokenPromiseError: a promise was broken.
        """
        self._drive(self._until(lambda: False, seconds))

    def evict(
        self,
        *,
        at: float | Step | None = None,
        notice_s: float | None = None,
        back_after_s: float | None = 60.0,
        vm: int | None = None,
    ) -> None:
        """Take a VM: now, at a time, or at a step of the work; see `Eviction`.

        The worker runs again on the VM as soon as there is room for it and the operator has asked, a few seconds later.
        """
        self._evict(Eviction(at=at, notice_s=notice_s, back_after_s=back_after_s, vm=vm))

    def _evict(self, eviction: Eviction) -> None:
        if isinstance(eviction.at, Step):
            self._evictor.arm(eviction, eviction.at)
        elif eviction.at is None:
            self._at_once(partial(self._evictor.begin, eviction, eviction.vm))
        elif eviction.at < self.now_s:
            raise ValueError(f"it is {self.now_s:g} s, and {eviction.at:g} s is over")
        else:
            self._loop.call_at(eviction.at, self._evictor.begin, eviction, eviction.vm, context=Context())

    def bring_back(self) -> None:
        """Let there be room for every VM from now on, evictions to come excepted."""
        for machine in self._platform.machines:
            machine.no_room_until_s = 0.0

    def offer(self, *, price_usd_per_h: Decimal | None = None, capacity: int | None = None) -> None:
        """Let the market offer something else from now on.

        Args:
            price_usd_per_h: the Spot price; None for the one that stands.
            capacity: for how many VMs there is room; None for any number.
        """
        price = self._stage.market.now.price_usd_per_h if price_usd_per_h is None else rounded(price_usd_per_h)

        moment = Moment(at_s=self.now_s, price_usd_per_h=price, capacity=capacity)
        self._at_once(lambda: self._platform.offer_now(moment))

    def disturb(self, faults: FaultPlan) -> None:
        """Let calls, leases and writes go wrong from now on, as this plan says; `NO_FAULTS` ends it."""
        self._stage.disturb(faults)
        self._world.faults = self._evictor.fault

    def withdrawn_notice(self, *, lasts_s: float = 10.0, vm: int | None = None) -> None:
        """Announce an eviction that then does not come."""
        self._do(Deed.WITHDRAWN_NOTICE, vm, lasts_s=lasts_s)

    def foreign_notice(self, *, lasts_s: float = 10.0) -> None:
        """Announce the eviction of a VM that is none of these."""
        self._do(Deed.FOREIGN_NOTICE, 1, lasts_s=lasts_s)

    def freeze(self, *, lasts_s: float = 30.0, notice_s: float | None = None, vm: int | None = None) -> None:
        """Let a VM stand still, announced as `Freeze` or not."""
        self._do(Deed.FREEZE, vm, lasts_s=lasts_s, notice_s=-1.0 if notice_s is None else notice_s)

    def kill_worker(self, *, vm: int | None = None) -> None:
        """Send SIGKILL to the worker; its unit starts it again 5 s later."""
        self._do(Deed.KILL, vm)

    def stop_worker(self, *, vm: int | None = None) -> None:
        """Send SIGTERM to the worker; its unit starts it again 5 s after its end."""
        self._do(Deed.STOP, vm)

    def jump_clock(self, by_s: float, *, vm: int | None = None) -> None:
        """Set the VM's wall clock forward or, below 0, back."""
        self._do(Deed.CLOCK_JUMP, vm, lasts_s=by_s)

    def calm(self) -> None:
        """From now on nothing goes wrong: there is room, the price is right, every call is answered."""
        if not self._calm:
            self._calm = True
            self._evictor.disarm()
            self._at_once(self._stage.calm)

    # -- what a test looks at -----------------------------------------------------------------------------------------

    @property
    def now_s(self) -> float:
        """Virtual seconds since the world began."""
        return self._loop.time()

    @property
    def jobs(self) -> list[PutJob]:
        """Every job that was put, in order."""
        return self.queue.jobs

    @property
    def evictions(self) -> int:
        """How often a VM was taken."""
        return self._platform.evictions

    @property
    def vm_states(self) -> list[VmState]:
        """Where each VM stands in its table."""
        return [machine.state for machine in self._platform.machines]

    @property
    def broken(self) -> bool:
        """Whether a promise was broken: whatever moves this world raises it."""
        return bool(self._stage.case.violations)

    # -- its end ------------------------------------------------------------------------------------------------------

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, error: BaseException | None, _traceback: TracebackType | None
    ) -> None:
        try:
            if error is None:
                self.judge()
            else:
                self._explain(error)
        finally:
            self.close()

    def judge(self) -> None:
        """Calm the world, and see that all jobs end, all workers come back and stop, and no promise was broken.

        Raises:
            BrokenPromiseError: one was.
        """

        async def judge() -> None:
            self._platform.settle_bills()
            await self._stage.see_workers_come_back()
            await self._stage.see_workers_stop()
            self._world.panel.finished(self.now_s)

        self.calm()
        self._drive(self._until(self._all_settled, self._scenario.calm_s_max))
        self._drive(judge())

    def close(self) -> None:
        """End it without judging; again, and nothing happens."""
        if self._loop.is_closed():
            return
        try:
            with virtual_sleep():
                self._loop.run_until_complete(self._close())
        finally:
            self._loop.close()

    async def _close(self) -> None:
        await self._stage.close()
        for process in self._world.processes:
            process.life.exhume()
        self._work.close()
        left = asyncio.all_tasks() - {asyncio.current_task()}
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)
        await self._loop.shutdown_asyncgens()

    # -- moving it along ----------------------------------------------------------------------------------------------

    def _drive(self, work: Coroutine[None, None, ReplyT]) -> ReplyT:
        """Run the loop until this is done, and see whether a promise was broken meanwhile."""
        try:
            _no_loop_runs()
        except RuntimeError:
            work.close()
            raise
        with virtual_sleep():
            reply = self._loop.run_until_complete(work)
        if self._stage.case.violations:
            violations = "\n".join(str(violation) for violation in self._stage.case.violations)
            raise self._explain(BrokenPromiseError(violations))
        return reply

    def _at_once(self, deed: Callable[[], ReplyT]) -> ReplyT:
        """Do something, and let happen what follows in the same moment."""

        async def main() -> ReplyT:
            reply = deed()
            await _rounds()
            return reply

        return self._drive(main())

    async def _until(self, done: Callable[[], bool], within_s: float) -> None:
        """Let time pass until it is so, a promise is broken, or the time is over."""
        with suppress(TimeoutError):
            async with asyncio.timeout(within_s):
                while not (done() or self._stage.case.violations or self._platform.failure.done()):
                    self._changed.clear()
                    await self._changed.wait()
        if self._platform.failure.done():
            await self._platform.failure

    def _look(self) -> None:
        self._changed.set()

    def _all_settled(self) -> bool:
        return all(job.settled for job in self._work.jobs.values())

    def _do(self, deed: Deed, vm: int | None, *, lasts_s: float = 0.0, notice_s: float = -1.0) -> None:
        event = ScriptedEvent(at_s=0.0, do=deed, lasts_s=lasts_s, notice_s=notice_s)

        def do() -> None:
            for machine in self._evictor.machines(vm):
                self._platform.do(event, machine)

        self._at_once(do)

    # -- telling ------------------------------------------------------------------------------------------------------

    def _explain(self, error: BaseException) -> BaseException:
        """Add to an error what happened, and what makes it happen again."""
        if not self._explained and isinstance(error, Exception):
            self._explained = True
            error.add_note(f"What happened in this world:\n{self.history}\n\nThe same calls do it again in\n{self!r}")
        return error


class _Watch(Observer):
    """Keeps a test's jobs up to date, and the dead in their graves."""

    def __init__(self, jobs: Mapping[str, PutJob], look: Callable[[], None]) -> None:
        self._jobs = jobs
        self._look = look

    def put_aside(self, message_id: str) -> None:
        if message_id in self._jobs:
            self._jobs[message_id].put_aside = True

    def deleted(self, message_id: str) -> None:
        self._jobs[message_id].settled = True
        self._look()

    def ended(self, process: Process) -> None:
        if process.life.dead:
            process.life.bury()


async def _rounds() -> None:
    """Let everything happen that takes no time."""
    for _ in range(20):
        await asyncio.sleep(0)


def _no_loop_runs() -> None:
    """See that this is a plain function.

    Raises:
        RuntimeError: it is not.
    """
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return
    raise RuntimeError("a SpotWorld has an event loop of its own: write the test as a plain `def`, not `async def`")
