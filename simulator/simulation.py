"""One run: a world is built from a scenario and a seed, lives, is calmed, and is judged.

First a phase with everything that goes wrong, until the work is done or the horizon is reached; then a phase in which
nothing does, and in which every worker must come back by itself and all work must end.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

from fsm.promises import Promise
from fsm.runner import Worker, WorkerSettings
from simulator.checkers import AlwaysComesBack, Case, Checker, Violation, checkers_for
from simulator.expecting import missed_expectations
from simulator.faults import Injector
from simulator.journal import journal_lines
from simulator.loop import virtually
from simulator.machine import Machine
from simulator.market import Market, Moment, PriceAndCapacity, constant, replayed, rounded, squeezed, stochastic
from simulator.network import Fault
from simulator.observing import Observer
from simulator.platform import Platform, price_above_all
from simulator.process import Ending, Process
from simulator.recorder import Recorder, costs
from simulator.result import SimulationResult
from simulator.scenario import ConstantMarket, MarketAt, Scenario, ScheduledMarket, StochasticMarket, TraceMarket
from simulator.traces import load_trace
from simulator.workload import Workload
from simulator.world import MakeWorker, World

PROGRESS_EVERY_S = 600.0
STOP_S_MAX = 60.0
"""A worker that is told to stop in a calm world ends within its grace and this."""
COME_BACK_S = 900.0
"""In a calm world every worker asks for work within this: its VM is deployed, boots, and every backoff has its end."""

OnProgress = Callable[[float, int, int], None]
"""Told now and then: the virtual time, jobs settled, jobs put."""
MakeCheckers = Callable[[Case], Sequence[Checker]]


def simulate(
    scenario: Scenario,
    seed: int,
    *,
    directory: Path | None = None,
    on_progress: OnProgress | None = None,
    make_worker: MakeWorker = Worker,
    make_checkers: MakeCheckers = checkers_for,
    observers: Sequence[Observer] = (),
) -> SimulationResult:
    """Run a scenario.

    Args:
        scenario: what to run.
        seed: what is drawn; the same seed gives the same journal, byte for byte.
        directory: where the scenario's traces are looked for.
        on_progress: called every ten simulated minutes.
        make_worker: for tests that sabotage the worker.
        make_checkers: for tests of the checkers.
        observers: see everything that happens, too.

    Raises:
        ConfigurationError: the scenario names a trace that cannot be read.
    """

    async def main() -> SimulationResult:
        run = Simulation(
            scenario,
            seed,
            directory=directory,
            make_worker=make_worker,
            make_checkers=make_checkers,
            observers=observers,
        )
        return await run.run(on_progress)

    return virtually(main)


class Simulation:
    """A scenario while it runs."""

    def __init__(
        self,
        scenario: Scenario,
        seed: int,
        *,
        directory: Path | None,
        make_worker: MakeWorker,
        make_checkers: MakeCheckers,
        observers: Sequence[Observer],
    ) -> None:
        self._scenario = scenario
        self._seed = seed
        self._over = asyncio.Event()
        plan = scenario.worker
        self._settings = WorkerSettings(
            concurrency=plan.concurrency,
            visibility_timeout_s=plan.visibility_timeout_s,
            idle_poll_s_max=plan.idle_poll_s_max,
            imds_poll_s=plan.imds_poll_s,
            stop_grace_s=plan.stop_grace_s,
            call_timeout_s=plan.call_timeout_s,
            acknowledge=plan.acknowledge,
        )
        self.world = World(seed=seed, stored=plan.store, make_worker=make_worker)
        self.workload = Workload(scenario.workload, self.world)
        self._injector = Injector(scenario.faults, self.world.random("faults"))
        self.market = Market(self._moments(directory))
        self.platform = Platform(scenario, self.world, self.market, self._injector, self._start_worker)
        self.case = Case(world=self.world, workload=self.workload, broken=self._over.set)
        self._checkers = tuple(make_checkers(self.case))
        self._recorder = Recorder(self.world, self.workload)
        self.world.panel.show(
            [self._recorder, self.platform, *self._checkers, _WhenSettled(self._look_whether_over), *observers]
        )
        if scenario.faults.drawn_options:
            self.world.faults = self._fault
            self.world.short_lease = self._injector.short_lease
            self.world.tear_s = self._injector.tear_s

    # -- wiring -------------------------------------------------------------------------------------------------------

    def _start_worker(self, machine: Machine) -> Process:
        return self.world.start(machine.vm, self.workload.runner, self._settings, clock=machine.clock)

    def _fault(self, process: Process, call: str) -> Fault | None:
        return self._injector.of_call(call, process.vm_name, partial(process.die, Ending.DIED))

    def _moments(self, directory: Path | None) -> Iterator[Moment]:
        """The market, with the drought and the price spike that the faults may bring."""
        moments, faults = self._plain_moments(directory), self._scenario.faults
        random = self.world.random("market faults")
        latest_s = self._scenario.horizon_s
        if random.random() < faults.drought:
            from_s = random.uniform(0.0, latest_s / 2)
            moments = squeezed(moments, from_s=from_s, until_s=from_s + faults.drought_s)
        if random.random() < faults.price_spike:
            from_s = random.uniform(0.0, latest_s / 2)
            price = price_above_all(self._scenario.vms, self._scenario.pay_as_you_go_usd_per_h)
            until_s = from_s + faults.price_spike_s
            moments = squeezed(moments, from_s=from_s, until_s=until_s, price_usd_per_h=price)
        return moments

    def _plain_moments(self, directory: Path | None) -> Iterator[Moment]:
        plan, ceiling = self._scenario.market, self._scenario.pay_as_you_go_usd_per_h
        match plan:
            case ConstantMarket():
                return constant(min(plan.price_usd_per_h, ceiling), _capacity(plan.capacity))
            case ScheduledMarket():
                moments = [_moment(at) for at in plan.moments]
                gap_s = max(plan.repeat_every_s - moments[-1].at_s, 0.001)
                return replayed(moments, repeat=plan.repeat_every_s > 0, gap_s=gap_s)
            case StochasticMarket():
                process = PriceAndCapacity(
                    tick_s=plan.tick_s,
                    mean_usd_per_h=plan.price_usd_per_h,
                    ceiling_usd_per_h=ceiling,
                    deviation=plan.price_deviation,
                    persistence=plan.price_persistence,
                    down=plan.capacity_down,
                    up=plan.capacity_up,
                    daily=plan.daily,
                    weekly=plan.weekly,
                )
                return stochastic(process, self.world.random("market"))
            case TraceMarket():
                trace = load_trace(plan.trace, directory=directory, price_usd_per_h=plan.price_usd_per_h)
                moments_from = _from(trace.moments, plan.from_s)
                return replayed(moments_from, repeat=plan.repeat, gap_s=trace.gap_s)

    # -- the run ------------------------------------------------------------------------------------------------------

    async def run(self, on_progress: OnProgress | None) -> SimulationResult:
        """Live, be calmed, be judged."""
        arrivals = asyncio.create_task(self._arrive())
        self.platform.open()
        if on_progress is not None:
            self.platform.every(PROGRESS_EVERY_S, lambda: on_progress(*self._progress()))
        await self._until_over(self._scenario.horizon_s)
        if not self._settled and not self.case.violations:
            self._calm()
            await self._until_over(self._scenario.calm_s_max)
        over_s = self.case.now_s
        self.platform.settle_bills()
        summary_costs = [(machine.bill, replace(machine.bill)) for machine in self.platform.machines]
        if not self.case.violations:
            self._calm()
            await self._see_workers_come_back()
            await self._see_workers_stop()
        self.world.panel.finished(self.case.now_s)
        await self._close(arrivals)
        for machine, (_, billed) in zip(self.platform.machines, summary_costs, strict=True):
            machine.bill = billed
        return self._result(over_s)

    async def _arrive(self) -> None:
        await self.workload.arrive(lambda text: self.world.queues.put(self.world.queue_name, text))
        self._look_whether_over()

    def _progress(self) -> tuple[float, int, int]:
        return self.case.now_s, self._recorder.settled, len(self.workload.tasks)

    @property
    def _settled(self) -> bool:
        return self.workload.arrived and self._recorder.settled == len(self.workload.tasks)

    def _look_whether_over(self) -> None:
        if self._settled:
            self._over.set()

    async def _until_over(self, within_s: float) -> None:
        """Wait until all is settled, a promise is broken, or the time is over."""

        async def all_over() -> None:
            await self._over.wait()

        over: asyncio.Future[None] = asyncio.ensure_future(all_over())
        try:
            await asyncio.wait([over, self.platform.failure], timeout=within_s, return_when=asyncio.FIRST_COMPLETED)
        finally:
            over.cancel()
        if self.platform.failure.done():
            await self.platform.failure

    def _calm(self) -> None:
        """Switch every fault off."""
        self.world.faults = lambda _process, _call: None
        self.world.short_lease = lambda: 1.0
        self.world.tear_s = lambda: 0.0
        self.platform.calm()
        self.world.panel.calmed(self.case.now_s)

    async def _see_workers_come_back(self) -> None:
        """Each VM that is operated must ask the queue for work again, without anybody's help."""
        checker = next((one for one in self._checkers if isinstance(one, AlwaysComesBack)), None)
        if checker is None:
            return
        began_s, wanted = self.case.now_s, {machine.name for machine in self.platform.machines}
        if self._scenario.operator.action == "nothing":
            wanted = {machine.name for machine in self.platform.machines if machine.running}
        while not wanted <= checker.asked and not self.case.violations:
            if self.case.now_s - began_s > COME_BACK_S:
                missing = ", ".join(sorted(wanted - checker.asked))
                checker.report(f"in a calm world {missing} did not ask for work within {COME_BACK_S:g} s")
                return
            await asyncio.sleep(1.0)

    async def _see_workers_stop(self) -> None:
        """Each worker must end when it is told to."""
        live = [process for process in self.world.processes if process.alive]
        for process in live:
            process.signals.send("SIGTERM")
        if live and not self.case.violations:
            _, hung = await asyncio.wait(
                [process.task for process in live], timeout=self._settings.stop_grace_s + STOP_S_MAX
            )
            if hung:
                names = ", ".join(process.name for process in live if process.task in hung)
                what = f"{names} did not end after SIGTERM"
                self.case.violations.append(Violation(promise=Promise.DRAINED_IN_TIME, at_s=self.case.now_s, what=what))

    async def _close(self, arrivals: asyncio.Task[None]) -> None:
        arrivals.cancel()
        await self.platform.close()
        for process in self.world.processes:
            if not process.task.done():
                await process.kill()
        await asyncio.wait([arrivals])

    def _result(self, over_s: float) -> SimulationResult:
        recorder, machines = self._recorder, self.platform.machines
        jobs = recorder.job_histories(over_s)
        summary = recorder.summary(jobs, self.platform, over_s=over_s, now_s=self.case.now_s)
        broken = {violation.promise for violation in self.case.violations}
        result = SimulationResult(
            scenario=self._scenario,
            seed=self._seed,
            summary=summary,
            costs=costs(self._scenario, machines, summary.useful_s),
            market=tuple(self.market.history),
            vms=recorder.vm_spans(machines, over_s),
            applications=recorder.app_spans(over_s),
            jobs=jobs,
            marks=recorder.marks,
            promises={checker.promise: checker.promise not in broken for checker in self._checkers},
            violations=tuple(self.case.violations),
            missed=(),
            journal=tuple(journal_lines(self.world.entries)),
        )
        return replace(result, missed=missed_expectations(result))


class _WhenSettled(Observer):
    """Looks whether all is over whenever a message is deleted."""

    def __init__(self, look: Callable[[], None]) -> None:
        self._look = look

    def deleted(self, _message_id: str) -> None:
        self._look()


def _capacity(capacity: int) -> int | None:
    return None if capacity < 0 else capacity


def _moment(at: MarketAt) -> Moment:
    return Moment(at_s=at.at_s, price_usd_per_h=rounded(at.price_usd_per_h), capacity=_capacity(at.capacity))


def _from(moments: Sequence[Moment], from_s: float) -> list[Moment]:
    """The moments from a time on, which becomes 0."""
    standing = [moment for moment in moments if moment.at_s <= from_s][-1]
    later = [replace(moment, at_s=moment.at_s - from_s) for moment in moments if moment.at_s > from_s]
    return [replace(standing, at_s=0.0), *later]
