"""One run: a world is built from a scenario and a seed, lives, is calmed, and is judged.

First a phase with everything that goes wrong, until the work is done or the horizon is reached; then a phase in which
nothing does, and in which every worker must come back by itself and all work must end.
"""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from fsm.promises import Promise
from fsm.runner import Worker
from simulator.checkers import checkers_for
from simulator.expecting import missed_expectations
from simulator.interrupt import interrupt_held
from simulator.journal import Entry
from simulator.loop import virtually
from simulator.observing import Observer
from simulator.process import Process
from simulator.recorder import Recorder, costs
from simulator.result import SimulationResult
from simulator.scenario import Scenario
from simulator.stage import MakeCheckers, Stage
from simulator.workload import Workload
from simulator.world import MakeWorker, World

PROGRESS_EVERY_S = 600.0

OnProgress = Callable[[float, int, int], None]
"""Told now and then: the virtual time, jobs settled, jobs put."""


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
        on_progress: told of every tenth simulated minute in which something happens; that it listens changes nothing.
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
            on_progress=on_progress,
        )
        return await run.run()

    with _full_collections_rare():
        return virtually(main)


@contextmanager
def _full_collections_rare() -> Iterator[None]:
    """What a run keeps it keeps to its end: full collections would look through it over and over, and find nothing."""
    young, middle, old = gc.get_threshold()
    gc.set_threshold(young, middle, max(old, 1000))
    try:
        yield
    finally:
        gc.set_threshold(young, middle, old)
        if gc.get_count()[2] > old:  # one was due meanwhile: the world is a ring of objects, and nothing else frees it
            with interrupt_held():  # what is raised in a weak reference's callback is lost, Ctrl-C included
                gc.collect()


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
        on_progress: OnProgress | None,
    ) -> None:
        self._scenario = scenario
        self._seed = seed
        self._over = asyncio.Event()
        self._stage = Stage(
            scenario,
            seed,
            self._make_workload,
            over=self._over.set,
            directory=directory,
            make_worker=make_worker,
            make_checkers=make_checkers,
        )
        self._case, self._platform = self._stage.case, self._stage.platform
        self._recorder = Recorder(self._stage.world, self._workload)
        told = [] if on_progress is None else [_TellsProgress(self._progress, on_progress)]
        self._stage.show(self._recorder, _WhenSettled(self._look_whether_over), *observers, *told)

    def _make_workload(self, world: World) -> Workload:
        self._workload = Workload(self._scenario.workload, world)
        return self._workload

    # -- the run ------------------------------------------------------------------------------------------------------

    async def run(self) -> SimulationResult:
        """Live, be calmed, be judged."""
        asyncio.get_running_loop().set_exception_handler(self._raised)
        arrivals = asyncio.create_task(self._arrive())
        try:
            return await self._run(arrivals)
        except BaseException:  # Ctrl-C, say: leave nothing behind that would be complained of
            await self._close(arrivals)
            raise

    async def _run(self, arrivals: asyncio.Task[None]) -> SimulationResult:
        self._platform.open()
        await self._until_over(self._scenario.horizon_s)
        if not self._settled and not self._case.violations:
            self._stage.calm()
            await self._until_over(self._scenario.calm_s_max)
        over_s = self._case.now_s
        self._platform.settle_bills()
        summary_costs = [(machine.bill, replace(machine.bill)) for machine in self._platform.machines]
        if not self._case.violations:
            self._stage.calm()
            await self._stage.see_workers_come_back()
            await self._stage.see_workers_stop()
        self._stage.world.panel.finished(self._case.now_s)
        await self._close(arrivals)
        for machine, (_, billed) in zip(self._platform.machines, summary_costs, strict=True):
            machine.bill = billed
        return self._result(over_s)

    def _raised(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        """A callback that raises, such as a signal's handler, is a crash, though nobody has awaited it."""
        if "exception" in context and "handle" in context:
            self._case.note(Promise.ALWAYS_COMES_BACK, f"a callback raised {context['exception']!r}")
        else:
            loop.default_exception_handler(context)

    async def _arrive(self) -> None:
        await self._workload.arrive(lambda text: self._stage.world.queues.put(self._stage.world.queue_name, text))
        self._look_whether_over()

    def _progress(self) -> tuple[float, int, int]:
        return self._case.now_s, self._recorder.settled, len(self._workload.tasks)

    @property
    def _settled(self) -> bool:
        return self._workload.arrived and self._recorder.settled == len(self._workload.tasks)

    def _look_whether_over(self) -> None:
        if self._settled:
            self._over.set()

    async def _until_over(self, within_s: float) -> None:
        """Wait until all is settled, a promise is broken, or the time is over."""

        async def all_over() -> None:
            await self._over.wait()

        over: asyncio.Future[None] = asyncio.ensure_future(all_over())
        try:
            await asyncio.wait([over, self._platform.failure], timeout=within_s, return_when=asyncio.FIRST_COMPLETED)
        finally:
            over.cancel()
        if self._platform.failure.done():
            await self._platform.failure

    async def _close(self, arrivals: asyncio.Task[None]) -> None:
        arrivals.cancel()
        await self._stage.close()
        await asyncio.wait([arrivals])

    def _result(self, over_s: float) -> SimulationResult:
        recorder, machines = self._recorder, self._platform.machines
        jobs = recorder.job_histories(over_s)
        summary = recorder.summary(jobs, self._platform, over_s=over_s, now_s=self._case.now_s)
        broken = {violation.promise for violation in self._case.violations}
        result = SimulationResult(
            scenario=self._scenario,
            seed=self._seed,
            summary=summary,
            costs=costs(self._scenario, machines, jobs),
            market=tuple(self._stage.market.history),
            vms=recorder.vm_spans(machines, over_s),
            applications=recorder.app_spans(over_s),
            jobs=jobs,
            marks=recorder.marks,
            promises={checker.promise: checker.promise not in broken for checker in self._stage.checkers},
            violations=tuple(self._case.violations),
            faults=dict(sorted(self._stage.injector.happened.items())),
            missed=(),
            journal=tuple(self._stage.world.journal.lines),
        )
        return replace(result, missed=missed_expectations(result))


class _WhenSettled(Observer):
    """Looks whether all is over whenever a message is deleted."""

    def __init__(self, look: Callable[[], None]) -> None:
        self._look = look

    def deleted(self, _message_id: str) -> None:
        self._look()


class _TellsProgress(Observer):
    """Tells how far a run is, now and then, as other things happen.

    A timer of its own would change the order in which others are called that are due at one instant, and so the
    journal: a run that is watched would not be the one that a campaign made of the same seed.
    """

    def __init__(self, progress: Callable[[], tuple[float, int, int]], tell: OnProgress) -> None:
        self._progress = progress
        self._tell = tell
        self._next_s = PROGRESS_EVERY_S

    def sent(self, _process: Process, _call: str) -> None:
        self._look()

    def noted(self, _entry: Entry) -> None:
        self._look()

    def _look(self) -> None:
        now_s, settled, put = self._progress()
        if now_s >= self._next_s:
            over_s = now_s % PROGRESS_EVERY_S
            self._next_s = now_s - over_s + PROGRESS_EVERY_S
            self._tell(now_s - over_s, settled, put)
