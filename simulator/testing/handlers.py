"""Runs a user's handler in simulated processes, as production would; and remembers what it saved and returned.

A handler whose VM is gone stands still where it was, for good: it is not cancelled, and its `finally` blocks do not run
before the world is closed, as they would not run on a VM either.
"""

from __future__ import annotations

import asyncio
import inspect
import json
from collections import defaultdict
from collections.abc import Callable, Coroutine, Generator, Mapping
from contextlib import suppress

from fsm.errors import Evicted, HandlerFailedError
from fsm.handler import Job
from fsm.ports import JobControl, JobInput, JobRunner
from fsm.record import Record, canonical
from simulator.explore.plain import awaited
from simulator.observing import Run, RunEnd
from simulator.process import Process
from simulator.testing.jobs import JobRun, PutJob
from simulator.work import Rank, Work
from simulator.world import World

Handler = Callable[..., object]
"""A coroutine function or a plain one, of a job."""
AtStep = Callable[[Process, bool], None]
"""Told of each checkpoint of a process, before (False) and after (True) it is durable; may take the VM."""


class HandlerWork(Work):
    """The jobs of a test, and its handler.

    Args:
        handler: works them off.
        world: where they are.
        jobs: by message id.
        at_step: told of checkpoints.
    """

    def __init__(self, handler: Handler, world: World, jobs: Mapping[str, PutJob], at_step: AtStep) -> None:
        self.handler = handler
        self.world = world
        self.at_step = at_step
        self.jobs = jobs
        self._asked: defaultdict[str, defaultdict[int, list[str]]] = defaultdict(lambda: defaultdict(list))
        self._returned: defaultdict[str, set[str]] = defaultdict(set)
        self._left: list[Coroutine[object, object, object]] = []

    @property
    def arrived(self) -> bool:
        return True

    def runner(self, whose: Callable[[], Process]) -> JobRunner:
        return _Handlers(self, whose)

    def accepts(self, job: str, result: str | None) -> bool:
        return result in self._returned[job]

    def rank(self, job: str, record: Record | None) -> Rank:
        """The delivery that asked for this progress to be saved, and as its how manieth."""
        if record is None or record.progress is None:
            return (0, 0)
        asked = self._asked[job]
        for epoch in sorted(asked, reverse=True):
            if epoch <= record.epoch and record.progress in asked[epoch]:
                return (epoch, len(asked[epoch]) - asked[epoch][::-1].index(record.progress))
        return (-1, 0)  # nobody has asked for it

    def saved_rank(self, run: Run, units: int) -> Rank:
        return (run.epoch, units)

    def asks(self, run: Run, progress: str) -> None:
        """A handler asks for its progress to be saved."""
        self._asked[run.job][run.epoch].append(progress)
        run.done += 1

    def returned(self, job: str, result: str) -> None:
        self._returned[job].add(result)

    def leave(self, coroutine: Coroutine[object, object, object]) -> None:
        """Keep what a dead process was doing: it is not to go on."""
        self._left.append(coroutine)

    def close(self) -> None:
        """Let the dead come to their end, whatever that does: the world is over."""
        while self._left:
            with suppress(BaseException):
                self._left.pop().close()


class _Handlers(JobRunner):
    """The handlers of one process."""

    def __init__(self, work: HandlerWork, whose: Callable[[], Process]) -> None:
        self._work = work
        self._whose = whose

    async def run(self, job: JobInput, control: JobControl) -> str:
        work, process = self._work, self._whose()
        if process.life.dead:  # killed while its claim was on the way: whoever is dead begins nothing
            raise asyncio.CancelledError
        now_s = work.world.clock.monotonic_s
        run = Run(job=job.job_id, epoch=job.attempt, process=process, began_s=now_s(), resumed_from=0, done=0)
        told = JobRun(
            vm=process.vm_name,
            began_s=run.began_s,
            progress=None if job.progress is None else json.loads(job.progress),
        )
        work.jobs[job.job_id].runs.append(told)
        work.world.panel.run_began(run)
        try:
            result = await self._result(job, _Control(control, work, run, told))
        except (Evicted, asyncio.CancelledError):
            run.end = RunEnd.KILLED if process.is_dead() else RunEnd.INTERRUPTED
            raise
        except HandlerFailedError as exc:
            run.end, told.error = RunEnd.FAILED, exc.__cause__
            raise
        else:
            run.end = RunEnd.FINISHED
            work.returned(job.job_id, result)
        finally:
            told.ended_s = run.ended_s = now_s()
            told.end = run.end
            work.world.panel.run_ended(run)
        return result

    async def _result(self, job: JobInput, control: JobControl) -> str:
        handler = self._work.handler
        function = handler if inspect.iscoroutinefunction(handler) else awaited(handler, None)
        try:
            return canonical(await _Mortal(function(Job(job, control)), self._whose(), self._work.leave))
        except (Evicted, KeyboardInterrupt):
            raise
        except asyncio.CancelledError as exc:
            task = asyncio.current_task()
            if task is not None and task.cancelling() > 0:
                raise
            raise HandlerFailedError("the handler cancelled itself") from exc
        except BaseException as exc:
            raise HandlerFailedError(f"{type(exc).__name__}: {exc}") from exc

    async def close(self) -> None:
        """Nothing outlives `run`."""


class _Control(JobControl):
    """The worker's own control, with a step on either side of a checkpoint."""

    def __init__(self, control: JobControl, work: HandlerWork, run: Run, told: JobRun) -> None:
        self._control = control
        self._work = work
        self._run = run
        self._told = told

    async def checkpoint(self, progress: str) -> None:
        self._work.asks(self._run, progress)
        await self._at(done=False)
        try:
            await self._control.checkpoint(progress)
        except Evicted:
            self._note_saved(progress, only_if_ours=True)
            raise
        self._note_saved(progress, only_if_ours=False)
        await self._at(done=True)

    async def _at(self, *, done: bool) -> None:
        """A step; whose VM is taken there goes no further."""
        self._work.at_step(self._run.process, done)
        if self._run.process.life.dead:
            await asyncio.get_running_loop().create_future()

    def _note_saved(self, progress: str, *, only_if_ours: bool) -> None:
        """`Evicted` is raised after saving, and also when the lease was lost and nothing was saved."""
        world, run = self._work.world, self._run
        if only_if_ours and world.stored:
            record = world.store.look(world.queue_name, run.job)
            if record is None or record.epoch != run.epoch or record.progress != progress:
                return
        self._told.checkpoints.append((world.clock.monotonic_s(), json.loads(progress)))
        world.panel.run_saved(run, run.done)

    def deadline_s(self) -> float | None:
        return self._control.deadline_s()

    def checkpoint_soon(self) -> bool:
        return self._control.checkpoint_soon()


class _Mortal:
    """Awaits a handler's coroutine as long as its process lives, and then leaves it exactly where it is.

    Args:
        coroutine: the handler's.
        process: whose life it depends on.
        leave: is given the coroutine of a process that is dead.
    """

    def __init__(
        self,
        coroutine: Coroutine[object, object, object],
        process: Process,
        leave: Callable[[Coroutine[object, object, object]], None],
    ) -> None:
        self._coroutine = coroutine
        self._process = process
        self._leave = leave

    def __await__(self) -> Generator[object, object, object]:
        coroutine, life = self._coroutine, self._process.life
        value: object = None
        error: BaseException | None = None
        while True:
            if life.dead:
                self._leave(coroutine)
                raise asyncio.CancelledError
            try:
                waits_for = coroutine.send(value) if error is None else coroutine.throw(error)
            except StopIteration as stop:
                if life.dead:
                    raise asyncio.CancelledError from None
                return stop.value
            except BaseException as exc:
                if life.dead:
                    raise asyncio.CancelledError from exc
                raise
            value, error = None, None
            try:
                value = yield waits_for
            except GeneratorExit:
                self._leave(coroutine)
                raise
            except BaseException as exc:  # noqa: BLE001 -- it is the coroutine's to handle, whatever it is
                error = exc
