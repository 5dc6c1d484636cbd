"""The work of a simulated world: jobs that arrive, handlers that take time, save, fail, and are interrupted."""

from __future__ import annotations

import asyncio
import json
import math
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from random import Random
from typing import NoReturn

from fsm.errors import Evicted, HandlerFailedError
from fsm.journal_kinds import Kind
from fsm.ports import JobControl, JobInput, JobRunner
from fsm.record import Record, canonical
from simulator.journal import PLATFORM
from simulator.observing import Run, RunEnd
from simulator.process import Ending, Process
from simulator.scenario import Length, WorkloadPlan
from simulator.work import Rank, Work
from simulator.world import World


def drawn_length(random: Random, mean_s: float, length: Length) -> float:
    """A duration around its mean."""
    match length:
        case Length.FIXED:
            return mean_s
        case Length.EXPONENTIAL:
            return random.expovariate(1.0 / mean_s) if mean_s > 0 else 0.0
        case Length.UNIFORM:
            return random.uniform(0.0, 2.0 * mean_s)


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """What a message's body says.

    Attributes:
        units: pieces of work.
        unit_s: how long each takes.
        every: units between checkpoints; 0 for none.
        fails: always.
        deadly: half-way it kills the worker that runs it, always: out of memory, say.
    """

    units: int
    unit_s: float
    every: int
    fails: bool = False
    deadly: bool = False

    @classmethod
    def read(cls, text: str) -> Task:
        units, unit_s, every, fails, deadly = json.loads(text)
        return cls(units=units, unit_s=unit_s, every=every, fails=fails, deadly=deadly)

    @property
    def text(self) -> str:
        return json.dumps([self.units, self.unit_s, self.every, self.fails, self.deadly])

    @property
    def poison(self) -> bool:
        """Whether it can only be set aside in the end."""
        return self.fails or self.deadly


class Workload(Work):
    """Puts the jobs on the queue, and makes the handlers that work them off.

    Attributes:
        tasks: by message id, what was put so far.
    """

    def __init__(self, plan: WorkloadPlan, world: World) -> None:
        self.plan = plan
        self.tasks: dict[str, Task] = {}
        self._arrived = False
        self._world = world
        self._random = world.random("workload")
        self._failing = world.random("failing")
        self._deadly = world.random("deadly")

    @property
    def arrived(self) -> bool:
        return self._arrived

    def accepts(self, job: str, result: str | None) -> bool:
        return result == canonical(self.tasks[job].units)

    def rank(self, _job: str, record: Record | None) -> Rank:
        return (0, 0 if record is None else int(record.progress or 0))

    def saved_rank(self, _run: Run, units: int) -> Rank:
        return (0, units)

    async def arrive(self, put: Callable[[str], str]) -> None:
        """Put every job at its time."""
        async for task in self._arrivals():
            self.tasks[put(task.text)] = task
        self._arrived = True

    async def _arrivals(self) -> AsyncIterator[Task]:
        plan, random = self.plan, self._random
        for number in range(plan.jobs):
            if plan.every_s > 0 and number >= plan.at_once:
                await asyncio.sleep(drawn_length(random, plan.every_s, plan.arrivals))
            service_s = drawn_length(random, plan.service_s, plan.service)
            units = max(1, math.ceil(service_s / plan.unit_s))
            yield Task(
                units=units,
                unit_s=service_s / units,
                every=max(1, round(plan.checkpoint_every_s / plan.unit_s)) if plan.checkpoint_every_s > 0 else 0,
                fails=random.random() < plan.poison,
                deadly=self._deadly.random() < plan.deadly,
            )

    def runner(self, whose: Callable[[], Process]) -> JobRunner:
        """The handlers of one process."""
        return _Handlers(self, self._world, whose)

    def fails(self, task: Task) -> bool:
        """Whether a unit of work fails."""
        return task.fails or (self.plan.failing > 0 and self._failing.random() < self.plan.failing)


class _Handlers(JobRunner):
    """Handlers that do nothing but take time, and report each run."""

    def __init__(self, workload: Workload, world: World, whose: Callable[[], Process]) -> None:
        self._workload = workload
        self._world = world
        self._whose = whose

    async def run(self, job: JobInput, control: JobControl) -> str:
        task = Task.read(job.text)
        done = 0 if job.progress is None else int(job.progress)
        process = self._whose()
        if process.life.dead:  # killed while its claim was on the way: whoever is dead begins nothing
            raise asyncio.CancelledError
        now_s = self._world.clock.monotonic_s
        run = Run(job=job.job_id, epoch=job.attempt, process=process, began_s=now_s(), resumed_from=done, done=done)
        self._world.panel.run_began(run)
        try:
            await self._work(run, task, control)
        except HandlerFailedError:
            run.end = RunEnd.FAILED
            raise
        except (Evicted, asyncio.CancelledError):
            run.end = RunEnd.KILLED if process.is_dead() else RunEnd.INTERRUPTED
            raise
        else:
            run.end = RunEnd.FINISHED
        finally:
            run.ended_s = now_s()
            self._world.panel.run_ended(run)
        return canonical(run.done)

    async def _work(self, run: Run, task: Task, control: JobControl) -> None:
        """Work unit by unit, saving as often as the task says, and early when a notice makes it worth its price."""
        saved = run.done
        checkpoint_s = self._workload.plan.checkpoint_s
        while run.done < task.units:
            await self._work_unit(run, task)
            run.done += 1
            due = task.every and run.done - saved >= task.every
            if run.done < task.units and (due or (task.every and control.checkpoint_soon())):
                if checkpoint_s > 0:
                    await asyncio.sleep(checkpoint_s)
                units = run.done
                run.saving = True
                try:
                    await control.checkpoint(canonical(units))
                except Evicted:
                    self._note_saved(run, units, only_if_ours=True)
                    raise
                finally:
                    run.saving = False
                self._note_saved(run, units, only_if_ours=False)
                saved = units

    def _kill(self, process: Process) -> NoReturn:
        """Take the worker along.

        Raises:
            CancelledError: always.
        """
        self._world.journal_of(PLATFORM).write(Kind.KILL, {"vm": process.vm_name})
        process.die(Ending.DIED)
        raise asyncio.CancelledError

    async def _work_unit(self, run: Run, task: Task) -> None:
        """One unit; what was spent on it is in vain if it is cut short or fails."""
        now_s = self._world.clock.monotonic_s
        began_s = now_s()
        try:
            await asyncio.sleep(task.unit_s)
            if task.deadly and run.done >= task.units // 2:
                self._kill(run.process)
            if self._workload.fails(task):
                raise HandlerFailedError("drawn to fail")
        except BaseException:
            run.vain_s = min(task.unit_s, now_s() - began_s)  # a VM that stood still did not work
            raise

    def _note_saved(self, run: Run, units: int, *, only_if_ours: bool) -> None:
        """`Evicted` is raised after saving, and also when the lease was lost and nothing was saved."""
        if only_if_ours and self._world.stored:
            record = self._world.store.look(self._world.queue_name, run.job)
            if record is None or record.epoch != run.epoch or record.progress != canonical(units):
                return
        run.checkpoints.append((self._world.clock.monotonic_s(), units))
        self._world.panel.run_saved(run, units)

    async def close(self) -> None:
        """Nothing outlives `run`."""
