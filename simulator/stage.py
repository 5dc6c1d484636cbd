"""A world with all that belongs to it: platform, market, faults, checkers; and the phases that every run goes through.

Whoever runs a world opens the stage, lets time pass, calms it, sees its workers come back and stop, and closes it. Who
decides when is somebody else: a scenario's simulation, or a test that goes step by step.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from fsm.promises import Promise
from fsm.runner import Worker, WorkerSettings
from simulator.checkers import AlwaysComesBack, Case, Checker, checkers_for
from simulator.faults import FaultPlan, Injector
from simulator.machine import Machine
from simulator.market import Market
from simulator.network import Fault
from simulator.observing import Observer
from simulator.offers import moments_of
from simulator.platform import Platform
from simulator.process import Process
from simulator.scenario import Scenario, WorkerPlan
from simulator.work import Work
from simulator.world import MakeWorker, World, document_of

STOP_S_MAX = 60.0
"""A worker that is told to stop in a calm world ends within its grace and this."""
COME_BACK_S = 900.0
"""In a calm world every worker asks for work within this: its VM is deployed, boots, and every backoff has its end."""

MakeCheckers = Callable[[Case], Sequence[Checker]]


def worker_settings(plan: WorkerPlan) -> WorkerSettings:
    """The worker's settings, as a scenario's plan says them."""
    return WorkerSettings(
        concurrency=plan.concurrency,
        visibility_timeout_s=plan.visibility_timeout_s,
        idle_poll_s_max=plan.idle_poll_s_max,
        imds_poll_s=plan.imds_poll_s,
        stop_grace_s=plan.stop_grace_s,
        call_timeout_s=plan.call_timeout_s,
        acknowledge=plan.acknowledge,
    )


class Stage:
    """A scenario's world, made in a running loop; nothing moves before `open`.

    Args:
        scenario: what there is, and what goes wrong.
        seed: what is drawn.
        make_work: makes the jobs and their handlers.
        over: called at the first broken promise.
        directory: where the scenario's traces are looked for.
        make_worker: for tests that sabotage the worker.
        make_checkers: for tests of the checkers.

    Raises:
        ConfigurationError: the scenario names a trace that cannot be read.
    """

    def __init__(
        self,
        scenario: Scenario,
        seed: int | str,
        make_work: Callable[[World], Work],
        *,
        over: Callable[[], None],
        directory: Path | None = None,
        make_worker: MakeWorker = Worker,
        make_checkers: MakeCheckers = checkers_for,
    ) -> None:
        self.scenario = scenario
        self.settings = worker_settings(scenario.worker)
        self.world = World(seed=seed, stored=scenario.worker.store, make_worker=make_worker)
        self.work = make_work(self.world)
        self.injector = Injector(scenario.faults, self.world.random("faults"))
        self.market = Market(moments_of(scenario, self.world, self.injector, directory))
        self.platform = Platform(scenario, self.world, self.market, self.injector, self._start_worker)
        self.case = Case(
            world=self.world,
            work=self.work,
            broken=over,
            call_timeout_s=self.settings.call_timeout_s,
            imds_poll_s=self.settings.imds_poll_s,
        )
        self.checkers = tuple(make_checkers(self.case))
        if scenario.faults.drawn_options:
            self.disturb(scenario.faults)

    def show(self, *observers: Observer) -> None:
        """Let these see what happens, beside the platform and the checkers.

        Args:
            observers: the first of them is told before anybody else.
        """
        self.world.panel.show([*observers[:1], self.platform, *self.checkers, *observers[1:]])

    def _start_worker(self, machine: Machine) -> Process:
        return self.world.start(machine.vm, self.work.runner, self.settings, clock=machine.clock)

    # -- what goes wrong ----------------------------------------------------------------------------------------------

    def disturb(self, plan: FaultPlan) -> None:
        """From now on calls, leases, writes and documents go wrong as this plan says."""
        self.injector.plan = plan
        self.world.faults = self.fault
        self.world.short_lease = self.injector.short_lease
        self.world.tear_s = self.injector.tear_s
        self.world.shown = self.injector.shown

    def fault(self, process: Process, call: str) -> Fault | None:
        """What goes wrong with this call."""
        return self.injector.of_call(call, process.vm_name, partial(self.platform.strike, process))

    def undisturb(self) -> None:
        """From now on calls, leases, writes and documents go well."""
        self.world.faults = lambda _process, _call: None
        self.world.short_lease = lambda: 1.0
        self.world.tear_s = lambda: 0.0
        self.world.shown = document_of

    # -- its phases ---------------------------------------------------------------------------------------------------

    def calm(self) -> None:
        """Switch every fault off: from now on there is room, and the price is right."""
        self.undisturb()
        self.platform.calm()
        self.world.panel.calmed(self.case.now_s)

    async def see_workers_come_back(self) -> None:
        """Each VM that is operated must ask the queue for work again, without anybody's help."""
        checker = next((one for one in self.checkers if isinstance(one, AlwaysComesBack)), None)
        if checker is None:
            return
        began_s, wanted = self.case.now_s, {machine.name for machine in self.platform.machines}
        if self.scenario.operator.action == "nothing":
            wanted = {machine.name for machine in self.platform.machines if machine.running}
        while not wanted <= checker.asked and not self.case.violations:
            if self.case.now_s - began_s > COME_BACK_S:
                missing = ", ".join(sorted(wanted - checker.asked))
                checker.report(f"in a calm world {missing} did not ask for work within {COME_BACK_S:g} s")
                return
            await asyncio.sleep(1.0)

    async def see_workers_stop(self) -> None:
        """Each worker must end when it is told to."""
        live = [process for process in self.world.processes if process.alive]
        for process in live:
            process.signals.send("SIGTERM")
        if live and not self.case.violations:
            _, hung = await asyncio.wait(
                [process.task for process in live], timeout=self.settings.stop_grace_s + STOP_S_MAX
            )
            if hung:
                names = ", ".join(process.name for process in live if process.task in hung)
                self.case.note(Promise.DRAINED_IN_TIME, f"{names} did not end after SIGTERM")

    async def close(self) -> None:
        """End everything that still runs."""
        await self.platform.close()
        for process in self.world.processes:
            if not process.task.done():
                await process.kill()
