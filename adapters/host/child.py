"""One child process in a group of its own: seen to its end, and ended together with whatever it started.

What it started is in its group, or has left it for a session of its own and still carries the child's mark in its
environment. A child that ends by itself takes its group along; one that is ended takes the marked ones, too, for by
then somebody else may be at its job.
"""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO

from adapters.host.memory import is_gone

TERMINATED = 128 + signal.SIGTERM
"""How shells, and our own child, say that SIGTERM ended them."""
_GROUP_ENDS_S = 1.0
_GROUP_LOOK_S = 0.005
_OOM_SCORE_ADJUSTMENT = 500
"""Out of memory, the kernel takes jobs before the worker (-1000 to 1000; 0 is anyone).

https://man7.org/linux/man-pages/man5/proc_pid_oom_score_adj.5.html (read 2026-11)
"""


class Child:
    """A running child; make it in the event loop's own thread.

    Args:
        arguments: the program and its arguments.
        environment: all of it.
        sweep: ends whoever has this child's mark in the environment.
        stdin: a file to read from; nothing by default.
        stderr: a file to write to; the worker's own by default, where standard output goes as well.
        pass_fds: files that stay open in the child, under the same numbers.

    Attributes:
        blamed: why it was ended, if it brought that upon itself.
        ended: done once the process has ended; its exit status, or minus the signal that ended it.

    Raises:
        OSError: it cannot be started.
        ValueError: the environment holds what none can.
    """

    def __init__(
        self,
        arguments: Sequence[str],
        *,
        environment: Mapping[str, str],
        sweep: Callable[[], Awaitable[None]],
        stdin: IO[bytes] | int = subprocess.DEVNULL,
        stderr: int | None = None,
        pass_fds: Sequence[int] = (),
    ) -> None:
        self.blamed: str | None = None
        self._sweep = sweep
        self._loop = asyncio.get_running_loop()
        self.ended: asyncio.Future[int] = self._loop.create_future()
        self._process = subprocess.Popen(  # noqa: S603 -- what runs here is the operator's setting, never a message's
            arguments,
            env=environment,
            stdin=stdin,
            stdout=2,  # the worker's standard output is its receipt's
            stderr=stderr,
            pass_fds=pass_fds,
            process_group=0,  # Ctrl-C at a terminal is for the worker alone
        )
        with suppress(OSError):
            Path(f"/proc/{self.pid}/oom_score_adj").write_text(f"{_OOM_SCORE_ADJUSTMENT}")
        self._handle = os.pidfd_open(self.pid)
        self._loop.add_reader(self._handle, self._on_end)

    @property
    def pid(self) -> int:
        """Its process id, and its group's."""
        return self._process.pid

    @property
    def running(self) -> bool:
        return not self.ended.done()

    def send(self, number: signal.Signals) -> None:
        """A signal to the whole group; none to one that has ended."""
        if self.running:
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(self.pid, number)

    def blame(self, reason: str) -> None:
        """End it at once, and say why."""
        if self.running:
            self.blamed = reason
            self.send(signal.SIGKILL)

    async def wait(self) -> int:
        """Wait for the end of the process and, a moment, of its group; the exit status, or minus the signal.

        Of one that was blamed nobody goes on, whoever left the group included.
        """
        status = await asyncio.shield(self.ended)
        for _ in range(round(_GROUP_ENDS_S / _GROUP_LOOK_S)):
            if is_gone(self.pid):
                break
            await asyncio.sleep(_GROUP_LOOK_S)
        if self.blamed is not None:
            await self._sweep()
        return status

    async def end(self, *, grace_s: float) -> int:
        """SIGTERM, and after a grace SIGKILL; returns when it is gone, and not before.

        Cancelled, it ends the grace, waits on, and lets the cancellation pass in the end.
        """
        self.send(signal.SIGTERM)
        cancelled: asyncio.CancelledError | None = None
        try:
            await asyncio.wait([self.ended], timeout=grace_s)
        except asyncio.CancelledError as exc:
            cancelled = exc
        self.send(signal.SIGKILL)
        while True:
            try:
                status = await self.wait()
                await self._sweep()
            except asyncio.CancelledError as exc:
                cancelled = exc
            else:
                break
        if cancelled is not None:
            raise cancelled
        return status

    def _on_end(self) -> None:
        """The process has ended: take its group along while its number is still its own, and reap it."""
        self._loop.remove_reader(self._handle)
        os.close(self._handle)
        self.send(signal.SIGKILL)
        self.ended.set_result(self._process.wait())


def described(status: int) -> str:
    """How a process ended, for people."""
    if status >= 0:
        return f"exited with {status}"
    try:
        name = signal.Signals(-status).name
    except ValueError:
        name = f"signal {-status}"
    return f"was ended by {name}" + (" (out of memory, perhaps)" if status == -signal.SIGKILL else "")
