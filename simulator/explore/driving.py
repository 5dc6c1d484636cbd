"""Drives a handler by hand, so that its waits and its checkpoints are steps too."""

from __future__ import annotations

import asyncio
import inspect
import sys
from collections.abc import Callable, Coroutine, Generator
from contextlib import suppress

from fsm.errors import Evicted, HandlerFailedError
from fsm.handler import Job
from fsm.ports import JobControl, JobInput, JobRunner
from fsm.record import canonical
from simulator.explore.patience import CutShort
from simulator.explore.plain import awaited
from simulator.explore.steps import Killed, StepKind, Watch, Way
from simulator.loop import Life
from simulator.process import Process

Handler = Callable[..., object]
"""A coroutine function or a plain one, of a job."""
HOLD_S = 3.0
"""How long a handler is held after a notice, so that its worker knows of it: it asks each second."""


class SteppedRunner(JobRunner):
    """Runs a user's handler, a coroutine function or a plain one, in a simulated process.

    Args:
        load: imports the handler anew: a new process knows nothing of the last one.
        whose: the process it runs in.
        watch: sees its steps.
    """

    def __init__(self, load: Callable[[], Handler], whose: Callable[[], Process], watch: Watch) -> None:
        self._load = load
        self._whose = whose
        self._watch = watch

    async def run(self, job: JobInput, control: JobControl) -> str:
        process = self._whose()
        if process.life.dead:
            raise asyncio.CancelledError
        handler = self._load()
        self._watch.began(process)
        try:
            awaitable = handler if inspect.iscoroutinefunction(handler) else awaited(handler, self._watch)
            driven = _Driven(awaitable(Job(job, _Control(control, self._watch))), process.life, self._watch)
            result = canonical(await driven)
        except (Evicted, asyncio.CancelledError, KeyboardInterrupt):
            raise
        except CutShort as exc:
            process.die()
            raise asyncio.CancelledError from exc
        except BaseException as exc:
            self._watch.errors.append(f"{type(exc).__name__}: {exc}")
            raise HandlerFailedError(f"{type(exc).__name__}: {exc}") from exc
        if self._watch.step(StepKind.RETURNED) is Way.KILL:
            self._watch.undo_if_killed()
        return result

    async def close(self) -> None:
        """Nothing outlives `run`."""


class _Control(JobControl):
    """The worker's own control, with a step on either side of a checkpoint."""

    def __init__(self, control: JobControl, watch: Watch) -> None:
        self._control = control
        self._watch = watch

    async def checkpoint(self, progress: str) -> None:
        await self._at(StepKind.CHECKPOINT)
        await self._control.checkpoint(progress)
        await self._at(StepKind.SAVED)

    async def _at(self, kind: StepKind) -> None:
        match self._watch.step(kind):
            case Way.KILL:
                raise Killed
            case Way.NOTICE:
                await asyncio.sleep(HOLD_S)
            case None:
                pass

    def deadline_s(self) -> float | None:
        return self._control.deadline_s()

    def checkpoint_soon(self) -> bool:
        return self._control.checkpoint_soon()


class _Driven:
    """Awaits a coroutine, and is told whenever it waits."""

    def __init__(self, coroutine: Coroutine[object, object, object], life: Life, watch: Watch) -> None:
        self._own = [coroutine]
        self._life = life
        self._watch = watch

    def __await__(self) -> Generator[object, object, object]:
        own, life, watch = self._own, self._life, self._watch
        value: object = None
        error: BaseException | None = None
        while True:
            if life.dead:
                self._bury()
            try:
                with watch.tracing():
                    waits_for = own[0].send(value) if error is None else own[0].throw(error)
            except StopIteration as stop:
                watch.undo_if_killed()
                return stop.value
            except BaseException as exc:
                watch.undo_if_killed(exc)
                raise
            way = watch.step(StepKind.WAIT)
            if way is Way.KILL:
                self._bury()
            value, error = None, None
            try:
                if way is Way.NOTICE:
                    yield from asyncio.sleep(HOLD_S).__await__()
                value = yield waits_for
            except GeneratorExit:
                self._close()
                raise
            except BaseException as exc:  # noqa: BLE001 -- it is the coroutine's to handle, whatever it is
                error = exc

    def _bury(self) -> None:
        """End the coroutine of a dead process; whatever it does on its way out is put back.

        Raises:
            CancelledError: always.
        """
        self._watch.leave()
        self._close()
        self._watch.undo_if_killed()

    def _close(self) -> None:
        """End the coroutine, or, where it waits on in a `finally`, let go of it: it is dead all the same."""
        with suppress(RuntimeError), self._watch.tracing():
            self._own[0].close()
        complain, sys.unraisablehook = sys.unraisablehook, lambda _unraisable: None
        try:
            self._own.clear()  # the interpreter tries once more to end it
        finally:
            sys.unraisablehook = complain
