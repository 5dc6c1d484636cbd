"""The child processes of one worker: marked, watched for their memory, and gone when the worker is."""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
import sys
import tempfile
import uuid
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import IO

from adapters.host.child import Child
from adapters.host.memory import MemoryLook
from adapters.host.watchdog import kill_marked

MARK = "SPOTFSM_WORKER_MARK"
"""In the environment of every child: whose it is, for whoever has to clean up after a worker."""
CHILD_MARK = "SPOTFSM_CHILD_MARK"
"""Which of a worker's children it is, for whoever has to end what that one started."""
MEMORY_LOOK_S = 0.25
_WATCHDOG = Path(__file__).with_name("watchdog.py")


class Children:
    """Starts children; made without doing anything, so that a worker without jobs has none of it.

    Args:
        memory_bytes_max: a child that occupies more with all that it started is ended, and blamed for it.
    """

    def __init__(self, *, memory_bytes_max: int | None = None) -> None:
        self._memory_bytes_max = memory_bytes_max
        self._mark = uuid.uuid4().hex
        self._directory: Path | None = None
        self._watchdog: subprocess.Popen[bytes] | None = None
        self._memory_watch: asyncio.Task[None] | None = None
        self._running: dict[Child, str] = {}
        self._to_sweep: set[str] = set()
        self._sweeping = asyncio.Lock()

    @property
    def directory(self) -> Path:
        """A directory of the worker's own, which nobody else can enter and which goes when the worker does.

        Raises:
            OSError: there is no room for one.
        """
        if self._directory is None:
            self._directory = Path(tempfile.mkdtemp(prefix="spotfsm-"))
        return self._directory

    def start(
        self,
        arguments: Sequence[str],
        *,
        environment: Mapping[str, str] | None = None,
        stdin: IO[bytes] | int = subprocess.DEVNULL,
        stderr: int | None = None,
        pass_fds: Sequence[int] = (),
    ) -> Child:
        """Start a child; `environment` comes on top of the worker's own.

        Raises:
            OSError, ValueError: it cannot be started.
        """
        self._watch()
        marks = {MARK: self._mark, CHILD_MARK: uuid.uuid4().hex}
        child = Child(
            arguments,
            environment={**os.environ, **(environment or {}), **marks},
            sweep=partial(self._sweep, f"{CHILD_MARK}={marks[CHILD_MARK]}"),
            stdin=stdin,
            stderr=stderr,
            pass_fds=pass_fds,
        )
        self._running[child] = marks[CHILD_MARK]
        child.ended.add_done_callback(lambda _: self._running.pop(child, None))
        return child

    async def close(self) -> None:
        """End them all, and leave nothing behind."""
        for child in tuple(self._running):
            await child.end(grace_s=0.0)
        if self._memory_watch is not None:
            self._memory_watch.cancel()
            await asyncio.wait([self._memory_watch])
        if self._directory is not None:
            await asyncio.to_thread(shutil.rmtree, self._directory, ignore_errors=True)
        if self._watchdog is not None:
            await self._sweep(f"{MARK}={self._mark}")
            self._watchdog.kill()
            self._watchdog.communicate()
        self._directory = self._watchdog = self._memory_watch = None

    async def _sweep(self, mark: str) -> None:
        """End whoever carries this mark; one look at all processes of the host is for everybody who waits for one."""
        self._to_sweep.add(mark)
        async with self._sweeping:
            if mark not in self._to_sweep:
                return
            marks, self._to_sweep = self._to_sweep, set()
            try:
                await asyncio.to_thread(kill_marked, marks)
            except BaseException:  # cancelled: the others still wait
                self._to_sweep |= marks
                raise

    def _watch(self) -> None:
        """Have somebody who outlives the worker, and somebody who looks at memory; a watchdog that died is replaced."""
        if self._watchdog is None or self._watchdog.poll() is not None:
            if self._watchdog is not None:
                self._watchdog.communicate()
            self._watchdog = subprocess.Popen(  # noqa: S603 -- our own script, by our own interpreter
                [sys.executable, "-I", "-S", str(_WATCHDOG), f"{MARK}={self._mark}", str(self.directory)],
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                cwd="/",
                process_group=0,
            )
        if self._memory_bytes_max is not None and self._memory_watch is None:
            self._memory_watch = asyncio.create_task(self._watch_memory(self._memory_bytes_max))

    async def _watch_memory(self, bytes_max: int) -> None:
        look = MemoryLook(CHILD_MARK)
        while True:
            await asyncio.sleep(MEMORY_LOOK_S)
            running = {child.pid: child for child in self._running}
            marks = {child.pid: mark for child, mark in self._running.items()}
            for group, occupied_bytes in (await asyncio.to_thread(look.groups_over, marks, bytes_max)).items():
                running[group].blame(f"it occupied {_mebibytes(occupied_bytes)} of memory, over --job-memory")


def _mebibytes(count: int) -> str:
    return f"{count / 2**20:.0f} MiB"
