"""Plain handlers: each runs in a worker process, which it may block, crash or fill without harm to anything else.

A process is started when there is a job and none is idle, does one job after the other, and is replaced when it dies.
What a handler asks of its job goes over a socket of the process's own; see `adapters.host.process_child`.
"""

from __future__ import annotations

import asyncio
import json
import signal
import socket
import struct
import subprocess
import sys
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import TypeAlias

from adapters.host.child import TERMINATED, Child, described
from adapters.host.children import Children
from adapters.host.outcome import ERROR_CHARS_MAX, result_text
from adapters.host.process_child import FRAME_BYTES_MAX, receive_frame
from adapters.host.telling import drain_begins, grace_s
from fsm.errors import ConfigurationError, Evicted, HandlerFailedError
from fsm.handler import Json
from fsm.ports import JobControl, JobInput, JobRunner
from fsm.record import canonical

CHILD_FILE = Path(__file__).with_name("process_child.py")
HANGING_UP_S = 0.5
"""How long what a dead process said last may take to arrive, or a process to die that has said its last."""
IMPORT_S_MAX = 120.0
"""How long importing a handler may take when it is tried out."""
_LENGTH = struct.Struct(">I")

Frame: TypeAlias = Mapping[str, Json]


class ProcessRunner(JobRunner):
    """Runs `module:function` in processes.

    Args:
        handler: the name; each process imports it.
        children: where processes are started; closed along with the runner.
        python: the interpreter, of any version from 3.9 on; the worker's own by default.
    """

    def __init__(self, handler: str, children: Children, *, python: str = sys.executable) -> None:
        self._handler = handler
        self._children = children
        self._python = python
        self._idle: list[_Process] = []

    async def run(self, job: JobInput, control: JobControl) -> str:
        process = await self._take()
        try:
            result = await process.do(job, control)
        except (HandlerFailedError, Evicted):
            await self._give_back(process)
            raise
        except BaseException:
            await process.end(grace_s=grace_s(control))
            raise
        await self._give_back(process)
        return result_text(result)

    async def close(self) -> None:
        await self._children.close()
        for process in self._idle:
            await process.end(grace_s=0.0)
        self._idle.clear()

    async def _take(self) -> _Process:
        """An idle process, or a new one.

        Raises:
            HandlerFailedError: none can be started.
        """
        while self._idle:
            process = self._idle.pop()
            if process.usable:
                return process
            await process.end(grace_s=0.0)
        try:
            return _Process(self._children, self._python, self._handler)
        except OSError as exc:
            raise HandlerFailedError(f"no process can be started for the handler: {exc}") from exc

    async def _give_back(self, process: _Process) -> None:
        """Keep a process for the next job, or see it gone."""
        if process.usable:
            self._idle.append(process)
        else:
            await process.end(grace_s=0.0)


def check_python(python: str, handler: str) -> None:
    """Have the interpreter import the handler once, in a process that ends with that.

    Raises:
        ConfigurationError: there is no such interpreter, or it cannot import the handler.
    """
    remedy = "Name an interpreter of Python 3.9 or newer, such as /opt/jobs/bin/python."
    ours, theirs = socket.socketpair()
    with ours:
        ours.settimeout(IMPORT_S_MAX)
        with theirs:
            arguments = [python, str(CHILD_FILE), str(theirs.fileno()), handler]
            try:
                process = subprocess.Popen(  # noqa: S603 -- the operator's setting
                    arguments, stdin=subprocess.DEVNULL, stdout=2, pass_fds=(theirs.fileno(),)
                )
            except OSError as exc:
                raise ConfigurationError("--python", f"{python!r} cannot be run: {exc.strerror}", remedy) from exc
        try:
            said = receive_frame(ours)
        except TimeoutError as exc:
            problem = f"importing {handler!r} takes more than {IMPORT_S_MAX:g} s"
            raise ConfigurationError("--handler", problem, "Have it do less when it is imported.") from exc
        finally:
            process.kill()
            process.wait()
    if said is None:
        raise ConfigurationError("--python", f"{python!r} ended before it could import anything", remedy)
    if "broken" in said:
        remedy = "Install it for that interpreter, or run from the directory that holds it."
        raise ConfigurationError("--handler", f"{said['broken']}", remedy)


class _Process:
    """One worker process and the socket to it.

    Raises:
        OSError: it cannot be started.
    """

    def __init__(self, children: Children, python: str, handler: str) -> None:
        self._link, theirs = socket.socketpair()
        self._writer: asyncio.StreamWriter | None = None
        self._ready = False
        self._busy = False
        try:
            self._child: Child = children.start(
                [python, str(CHILD_FILE), str(theirs.fileno()), handler], pass_fds=(theirs.fileno(),)
            )
        except BaseException:
            self._link.close()
            raise
        finally:
            theirs.close()
        self._child.ended.add_done_callback(
            lambda _: asyncio.get_running_loop().call_later(HANGING_UP_S, self.hang_up)
        )  # somebody it started may hold its end of the socket

    @property
    def usable(self) -> bool:
        """Whether another job can be done here."""
        return self._child.running and self._ready and not self._busy

    async def do(self, job: JobInput, control: JobControl) -> Json:
        """Do one job, and return what the handler returned.

        Raises:
            HandlerFailedError: it failed, or its process died.
            Evicted: it let go after a checkpoint, or was told to end with the whole service.
        """
        self._busy = True
        if self._writer is None:
            self._reader, self._writer = await asyncio.open_unix_connection(sock=self._link)
        if not self._ready:
            await self._come_up(control)
        given: dict[str, Json] = {
            "id": job.job_id,
            "text": job.text,
            "progress": None if job.progress is None else json.loads(job.progress),
            "attempt": job.attempt,
            "evictions": job.evictions,
        }
        await self._say({"job": given})
        while True:
            match await self._hear(control):
                case {"checkpoint": progress}:
                    await self._say(await self._save(progress, control))
                case {"ask": "deadline"}:
                    await self._say({"answer": control.deadline_s()})
                case {"ask": "checkpoint_soon"}:
                    await self._say({"answer": control.checkpoint_soon()})
                case {"result": result}:
                    self._busy = False
                    return result
                case {"failed": str(error)}:
                    self._busy = False
                    raise HandlerFailedError(error[:ERROR_CHARS_MAX])
                case {"evicted": True}:
                    self._busy = False
                    raise Evicted("the handler let go")
                case frame:
                    raise HandlerFailedError(f"the handler's process does not keep to the protocol: {frame!r:.100}")

    async def end(self, *, grace_s: float) -> None:
        """Have it gone when this returns."""
        try:
            await self._child.end(grace_s=grace_s)
        finally:
            self.hang_up()
        if self._writer is not None:
            with suppress(ConnectionError):
                await self._writer.wait_closed()

    def hang_up(self) -> None:
        """Close the socket."""
        if self._writer is None:
            self._link.close()
        else:
            self._writer.close()

    async def _come_up(self, control: JobControl) -> None:
        match await self._hear(control):
            case {"ready": True}:
                self._ready = True
            case {"broken": str(reason)}:
                raise HandlerFailedError(reason[:ERROR_CHARS_MAX])
            case frame:
                raise HandlerFailedError(f"the handler's process does not keep to the protocol: {frame!r:.100}")

    async def _save(self, progress: Json, control: JobControl) -> Frame:
        try:
            await control.checkpoint(canonical(progress))
        except (ValueError, RecursionError) as exc:
            return {"refused": str(exc)}
        except Evicted as exc:
            return {"evicted": str(exc)}
        return {"saved": True}

    async def _say(self, frame: Frame) -> None:
        assert self._writer is not None
        content = canonical(frame).encode()
        self._writer.write(_LENGTH.pack(len(content)) + content)
        with suppress(ConnectionError):  # it has died; the next look for a frame finds out how
            await self._writer.drain()

    async def _hear(self, control: JobControl) -> Frame:
        """The next frame.

        Raises:
            HandlerFailedError: the process died, or what it says is no frame.
            Evicted: it was told to end with the whole service.
        """
        try:
            (length,) = _LENGTH.unpack(await self._reader.readexactly(_LENGTH.size))
            if length > FRAME_BYTES_MAX:
                raise HandlerFailedError("the handler's process does not keep to the protocol: too long a frame")
            frame: Json = json.loads(await self._reader.readexactly(length))
        except (asyncio.IncompleteReadError, ConnectionError) as exc:
            raise await self._died(control) from exc
        except (ValueError, RecursionError) as exc:
            raise HandlerFailedError("the handler's process does not keep to the protocol: no JSON") from exc
        return frame if isinstance(frame, dict) else {}

    async def _died(self, control: JobControl) -> HandlerFailedError | Evicted:
        """What became of a process that says nothing any more."""
        await asyncio.wait([self._child.ended], timeout=HANGING_UP_S)
        hung_up = self._child.running
        status = await self._child.end(grace_s=0.0)
        if self._child.blamed is not None:
            return HandlerFailedError(self._child.blamed)
        if hung_up:
            return HandlerFailedError("the handler's process closed its connection to the worker")
        if status in (TERMINATED, -signal.SIGTERM) and await drain_begins(control):
            return Evicted("the whole service was told to end")
        return HandlerFailedError(f"the handler's process {described(status)}")
