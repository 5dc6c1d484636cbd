"""The three kinds of runners with handlers that do the same, and a worker that plays along."""

from __future__ import annotations

import asyncio
import json
import math
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

from adapters.host.children import Children
from adapters.host.command_runner import CommandRunner
from adapters.host.loop_runner import LoopRunner
from adapters.host.process_runner import ProcessRunner
from fsm.errors import Evicted
from fsm.handler import Json
from fsm.ports import JobControl, JobInput, JobRunner
from fsm.record import RECORD_BYTES_MAX
from tests.adapters.host import handlers_async

PLAIN = "tests.adapters.host.handlers_plain:handle"
COMMAND = (sys.executable, str(Path(__file__).with_name("handlers_command.py")))
PATIENCE_S = 30.0


class Kind(StrEnum):
    """How a handler is run."""

    COROUTINE = "coroutine"
    PLAIN = "plain"
    COMMAND = "command"


@dataclass(slots=True)
class Control(JobControl):
    """A worker that keeps every checkpoint, and drains once it is told to.

    Attributes:
        saved: the checkpoints, in order.
        evicts_at: the number of the checkpoint during which a drain begins.
        told_s: the deadline of the drain, on the monotonic clock; None while there is none.
        soon: what `checkpoint_soon` answers.
        save_s: how long a checkpoint takes.
    """

    saved: list[str] = field(default_factory=list)
    evicts_at: float = math.inf
    told_s: float | None = None
    soon: bool = False
    save_s: float = 0.0

    async def checkpoint(self, progress: str) -> None:
        if len(progress) > RECORD_BYTES_MAX:
            raise ValueError(f"progress of {len(progress)} bytes is over the limit of {RECORD_BYTES_MAX}")
        await asyncio.sleep(self.save_s)
        self.saved.append(progress)
        if len(self.saved) >= self.evicts_at and self.told_s is None:
            self.drain(within_s=PATIENCE_S)
        if self.told_s is not None:
            raise Evicted("saved")

    def drain(self, *, within_s: float) -> None:
        """Begin a drain."""
        self.told_s = time.monotonic() + within_s

    def deadline_s(self) -> float | None:
        return self.told_s

    def checkpoint_soon(self) -> bool:
        return self.soon


def job(order: Json, *, progress: str | None = None, job_id: str = "job-1") -> JobInput:
    """A job whose body is this JSON."""
    return JobInput(job_id=job_id, text=json.dumps(order), progress=progress, attempt=2, evictions=1)


@asynccontextmanager
async def opened(kind: Kind, *, memory_bytes_max: int | None = None) -> AsyncIterator[JobRunner]:
    """A runner of this kind, closed afterwards."""
    children = Children(memory_bytes_max=memory_bytes_max)
    runner: JobRunner
    match kind:
        case Kind.COROUTINE:
            runner = LoopRunner(handlers_async.handle)
        case Kind.PLAIN:
            runner = ProcessRunner(PLAIN, children)
        case Kind.COMMAND:
            runner = CommandRunner(COMMAND, children)
    try:
        yield runner
    finally:
        await runner.close()


async def beating(file: Path) -> None:
    """Wait until a handler has begun to write into its file.

    Raises:
        AssertionError: it does not.
    """
    give_up_s = time.monotonic() + PATIENCE_S
    while not _size(file):
        assert time.monotonic() < give_up_s, "the handler never began"
        await asyncio.sleep(0.01)


async def is_still(file: Path) -> bool:
    """Whether nobody writes into the file any more: handlers write each hundredth of a second."""
    size = _size(file)
    await asyncio.sleep(0.15)
    return _size(file) == size


def _size(file: Path) -> int:
    return file.stat().st_size if file.exists() else 0
