"""A handler taken step by step: each line of the user's code, each wait, each checkpoint is a place to be killed at.

Lines are told by the interpreter's tracing, so that the handler needs no hook: whatever it does to the world, it does
between two lines. The coroutine is driven by hand, so that a wait is seen too.
"""

from __future__ import annotations

import asyncio
import linecache
import sys
import traceback
import warnings
from collections.abc import Awaitable, Callable, Coroutine, Generator, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING

from fsm.errors import Evicted, HandlerFailedError
from fsm.handler import Job, Json
from fsm.ports import JobControl, JobInput, JobRunner
from fsm.record import canonical
from simulator.explore.places import Files, Places
from simulator.process import Ending, Process

if TYPE_CHECKING:
    from _typeshed import TraceFunction

Handler = Callable[[Job], Awaitable[Json]]
HOLD_S = 3.0
"""How long a handler is held after a notice, so that its worker knows of it: it asks each second."""


class StepKind(StrEnum):
    """Where between two things a handler is."""

    LINE = "before"
    """The line has not been run; everything before it has."""
    WAIT = "while waiting in"
    CHECKPOINT = "before the checkpoint of"
    """Nothing of it is saved."""
    SAVED = "after the checkpoint of"
    """It is durable, and the handler does not know."""
    RETURNED = "after returning from"
    """The result is not recorded."""


class Way(StrEnum):
    """What happens at a step."""

    KILL = "killed"
    """The VM is gone in this moment."""
    NOTICE = "told of an eviction"
    """The worker hears of the eviction here, and the VM is taken half a minute later."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One step of the first run.

    Attributes:
        number: from 0 on.
        line: which line of `file` is next, or is being run.
        passing: how often the handler has come to this very place, from 1 on.
        before: the line that was run last, as text; empty at the beginning.
    """

    number: int
    kind: StepKind
    file: str
    line: int
    passing: int
    before: str

    @property
    def place(self) -> tuple[StepKind, str, int]:
        return self.kind, self.file, self.line

    @property
    def where(self) -> str:
        return line_text(self.file, self.line)


def line_text(file: str, line: int) -> str:
    """`jobs.py:12 "await job.checkpoint(page)"`."""
    source = linecache.getline(file, line).partition("  # ")[0].strip()
    return f"{Path(file).name}:{line} `{source}`"


class Killed(BaseException):
    """Ends the user's code where it is; nothing it still does counts."""


class Watch:
    """Counts the steps of a handler's first run, and strikes at one of them.

    Args:
        files: whose lines are steps.
        places: what is outside is put back to how it was at the kill, `finally` blocks or not.
        target: the step to strike at, and how; None to let it run.

    Attributes:
        steps: those of the first run so far; kept only where nothing is to be struck.
        struck: set once it has struck.
        errors: what the handler raised, run by run.
    """

    def __init__(self, files: frozenset[str], places: Places, target: tuple[int, Way] | None) -> None:
        self.steps: list[Step] = []
        self.struck = asyncio.Event()
        self.errors: list[str] = []
        self.notify: Callable[[], None] = lambda: None
        self._files = files
        self._places = places
        self._target = target
        self._count = 0
        self._runs = 0
        self._process: Process | None = None
        self._left: Files | None = None
        self._passings: dict[tuple[StepKind, str, int], int] = {}
        self._last = ("", 0)
        self._ran = ""

    def began(self, process: Process) -> None:
        """A handler begins."""
        self._runs += 1
        self._process = process

    @property
    def _first(self) -> bool:
        return self._runs == 1 and not self.struck.is_set()

    def step(self, kind: StepKind) -> Way | None:
        """The handler is at a step where it was last seen; a kill is done when this returns, a notice is on its way."""
        if not self._first:
            return None
        number, self._count = self._count, self._count + 1
        if self._target is None:
            file, line = self._last
            place = (kind, file, line)
            passing = self._passings[place] = self._passings.get(place, 0) + 1
            before = self._ran if kind is StepKind.LINE else ""
            self.steps.append(Step(number=number, kind=kind, file=file, line=line, passing=passing, before=before))
            return None
        wanted, way = self._target
        if number != wanted:
            return None
        self.struck.set()
        if way is Way.KILL:
            assert self._process is not None
            self._left = self._places.files()
            self._process.die(Ending.EVICTED)
        else:
            self.notify()
        return way

    def undo_if_killed(self, error: BaseException | None = None) -> None:
        """Put back what a killed handler has changed since, and end it.

        Args:
            error: that ended it; files which its frames still hold open are closed first.

        Raises:
            CancelledError: it was killed.
        """
        if self._left is not None:
            if error is not None:
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore", ResourceWarning)
                    traceback.clear_frames(error.__traceback__)
            self._places.restore(self._left)
            self._left = None
            raise asyncio.CancelledError

    @property
    def killed(self) -> bool:
        """Whether what the handler has done since the kill is still to be put back."""
        return self._left is not None

    @contextmanager
    def tracing(self) -> Iterator[None]:
        """Lines of the user's files are steps."""
        if not self._first:
            yield
            return
        before = sys.gettrace()
        sys.settrace(self._called)
        try:
            yield
        finally:
            sys.settrace(before)

    def _called(self, frame: FrameType, _event: str, _argument: object) -> TraceFunction | None:
        return self._line if frame.f_code.co_filename in self._files else None

    def _line(self, frame: FrameType, event: str, _argument: object) -> TraceFunction:
        if event == "line":
            self._ran = line_text(*self._last) if self._last[0] else ""
            self._last = (frame.f_code.co_filename, frame.f_lineno)
            if self.step(StepKind.LINE) is Way.KILL:
                raise Killed
        return self._line


class SteppedRunner(JobRunner):
    """Runs a user's coroutine function in a simulated process.

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
            made = handler(Job(job, _Control(control, self._watch)))
            assert isinstance(made, Coroutine)
            result = canonical(await _Driven(made, self._watch))
        except (Evicted, asyncio.CancelledError):
            raise
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

    def __init__(self, coroutine: Coroutine[object, object, Json], watch: Watch) -> None:
        self._coroutine = coroutine
        self._watch = watch

    def __await__(self) -> Generator[object, object, Json]:
        coroutine, watch = self._coroutine, self._watch
        value: object = None
        error: BaseException | None = None
        while True:
            try:
                with watch.tracing():
                    waits_for = coroutine.send(value) if error is None else coroutine.throw(error)
            except StopIteration as stop:
                watch.undo_if_killed()
                result: Json = stop.value
                return result
            except BaseException as exc:
                watch.undo_if_killed(exc)
                raise
            way = watch.step(StepKind.WAIT)
            if way is Way.KILL or watch.killed:
                with suppress(RuntimeError):  # it waits in a `finally`: it is dead all the same
                    coroutine.close()
                watch.undo_if_killed()
            value, error = None, None
            try:
                if way is Way.NOTICE:
                    yield from asyncio.sleep(HOLD_S).__await__()
                value = yield waits_for
            except GeneratorExit:
                coroutine.close()
                raise
            except BaseException as exc:  # noqa: BLE001 -- it is the coroutine's to handle, whatever it is
                error = exc
