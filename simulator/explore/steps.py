"""A handler taken step by step: each line of the user's code, each wait, each checkpoint is a place to be killed at.

Lines are told by the interpreter's tracing, so that the handler needs no hook: whatever it does to the world, it does
between two lines.
"""

from __future__ import annotations

import asyncio
import linecache
import sys
import traceback
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING

from simulator.explore.patience import Patience
from simulator.explore.places import Files, Places
from simulator.process import Ending, Process

if TYPE_CHECKING:
    from _typeshed import TraceFunction


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


TELLABLE = frozenset({StepKind.WAIT, StepKind.CHECKPOINT, StepKind.SAVED})
"""Between two lines nobody can tell the handler anything: there it is only killed."""


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


@cache
def line_text(file: str, line: int) -> str:
    """`jobs.py:12 "await job.checkpoint(page)"`."""
    source = linecache.getline(file, line).partition("  # ")[0].strip()
    return f"{Path(file).name}:{line} `{source}`"


class Killed(BaseException):
    """Ends the user's code where it is; nothing it still does counts."""


def let_go(error: BaseException) -> None:
    """Close what the frames of a dead handler still hold open."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        traceback.clear_frames(error.__traceback__)


class Watch:
    """Counts the steps of a handler's first run, and strikes at one of them.

    Args:
        files: whose lines are steps.
        places: what is outside is put back to how it was at the kill, `finally` blocks or not.
        target: the step to strike at, and how; None to let it run.
        patience: is told when the user's code runs.
        passes_max: of each place so many passes are kept; later ones are counted.

    Attributes:
        steps: those of the first run so far; kept only where nothing is to be struck.
        count, tellable: how many there were in all, and how many of a kind that is tellable.
        struck: set once it has struck.
        errors: what the handler raised, run by run.
    """

    def __init__(
        self,
        files: frozenset[str],
        places: Places,
        target: tuple[int, Way] | None,
        patience: Patience,
        *,
        passes_max: int,
    ) -> None:
        self.steps: list[Step] = []
        self.struck = asyncio.Event()
        self.errors: list[str] = []
        self.notify: Callable[[], None] = lambda: None
        self.patience = patience
        self._files = files
        self._places = places
        self._target = target
        self._passes_max = passes_max
        self.count = 0
        self.tellable = 0
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
        number, self.count = self.count, self.count + 1
        if self._target is None:
            file, line = self._last
            place = (kind, file, line)
            passing = self._passings[place] = self._passings.get(place, 0) + 1
            self.tellable += kind in TELLABLE
            if passing > self._passes_max:
                return None
            before = self._ran if kind is StepKind.LINE else ""
            self.steps.append(Step(number=number, kind=kind, file=file, line=line, passing=passing, before=before))
            return None
        wanted, way = self._target
        if number != wanted:
            return None
        self.struck.set()
        if way is Way.KILL:
            assert self._process is not None
            self.leave()
            self._process.die(Ending.EVICTED)
        else:
            self.notify()
        return way

    def leave(self) -> None:
        """The handler is dead: what is outside stays as it is now."""
        if self._left is None:
            self._left = self._places.files()

    def undo_if_killed(self, error: BaseException | None = None) -> None:
        """Put back what a killed handler has changed since, and end it.

        Args:
            error: that ended it; files which its frames still hold open are closed first.

        Raises:
            CancelledError: it was killed.
        """
        if self._left is not None:
            if error is not None:
                let_go(error)
            self._places.restore(self._left)
            self._left = None
            raise asyncio.CancelledError

    @contextmanager
    def tracing(self) -> Iterator[None]:
        """The user's code: lines of its files are steps, and it may be cut short."""
        before = sys.gettrace()
        if self._first:
            sys.settrace(self._called)
        self.patience.inside = True
        try:
            yield
        finally:
            self.patience.inside = False
            sys.settrace(before)

    @property
    def progress(self) -> tuple[int, str]:
        """How many steps the first run has come, and at which line it was last seen."""
        return self.count, line_text(*self._last) if self._last[0] else ""

    def is_ours(self, file: str) -> bool:
        """Whether lines of this file are steps now."""
        return self._first and file in self._files

    def _called(self, frame: FrameType, _event: str, _argument: object) -> TraceFunction | None:
        return self._line if frame.f_code.co_filename in self._files else None

    def _line(self, frame: FrameType, event: str, _argument: object) -> TraceFunction:
        if event == "line" and self.line(frame.f_code.co_filename, frame.f_lineno) is Way.KILL:
            raise Killed
        return self._line

    def line(self, file: str, number: int) -> Way | None:
        """The handler is before a line."""
        self._ran = line_text(*self._last) if self._last[0] else ""
        self._last = (file, number)
        return self.step(StepKind.LINE)
