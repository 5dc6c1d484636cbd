"""A worker process for plain handlers: started by path, by any Python from 3.9 on, with the standard library alone.

It imports the handler, says so, and then does one job after the other for the worker at the other end of its socket.
Both sides speak in frames: four bytes of length, then JSON. The worker sends a job; while the handler runs it is asked
to save and to tell what it knows; in the end it is told the result or the failure. The handler's standard streams are
the handler's own.

Usage: process_child.py SOCKET MODULE:FUNCTION, with the number of an open socket.
"""

from __future__ import annotations

import importlib
import inspect
import io
import json
import signal
import socket
import struct
import sys
import threading
import traceback
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

FRAME_BYTES_MAX = 16 * 1024 * 1024
"""Well over the 4 MiB that progress and results may have, and well under what would hurt."""
TERMINATED = 128 + signal.SIGTERM
ERROR_CHARS_MAX = 2000
_LENGTH = struct.Struct(">I")

Frame = dict[str, Any]
Handler = Callable[["Job"], object]


class Evicted(Exception):  # noqa: N818 -- handlers read it as a fact, not as a fault
    """Raised by `job.checkpoint` after saving, when the VM is being reclaimed: return or let it pass."""


class Job:
    """One run of one job, with the face of a coroutine handler's job, but to be called and not awaited.

    Attributes:
        id: the message's id; the same in every run of the job.
        text: the message's body.
        progress: the last checkpoint, any JSON value; None on a first run.
        attempt: how often the message has been delivered, this time included.
        evictions: how many earlier runs an eviction ended.
    """

    Evicted = Evicted

    def __init__(self, given: Frame, ask: Callable[[Frame], Frame]) -> None:
        self._ask = ask
        self.id: str = given["id"]
        self.text: str = given["text"]
        self.progress: Any = given["progress"]
        self.attempt: int = given["attempt"]
        self.evictions: int = given["evictions"]

    def json(self) -> Any:
        """The body as JSON.

        Raises:
            ValueError: it is not JSON.
        """
        return json.loads(self.text)

    @property
    def deadline(self) -> float | None:
        """When the worker will let go of this job, in seconds of the monotonic clock; None until a notice or a stop."""
        deadline: float | None = self._ask({"ask": "deadline"})["answer"]
        return deadline

    @property
    def checkpoint_soon(self) -> bool:
        """Whether an early checkpoint is worth its price: a notice, a freeze or a rebalance recommendation is known."""
        return bool(self._ask({"ask": "checkpoint_soon"})["answer"])

    def checkpoint(self, progress: Any) -> None:
        """Save progress, any JSON value; it is durable when this returns.

        Raises:
            Evicted: saved, and the VM is being reclaimed: let go.
            TypeError, ValueError: the progress is not JSON, or is too large.
        """
        reply = self._ask({"checkpoint": progress})
        if "refused" in reply:
            raise ValueError(reply["refused"])
        if "evicted" in reply:
            raise Evicted(reply["evicted"])


class Unfailing(io.FileIO):
    """Writes what can be written, and drops the rest: a full disk, or a log without a reader, fails no job."""

    def write(self, content: Any, /) -> int:
        try:
            written = super().write(content)
        except OSError:
            written = None
        return memoryview(content).nbytes if written is None else written

    @classmethod
    def text(cls, number: int) -> io.TextIOWrapper:
        """A stream for lines on an open file that stays open."""
        raw = io.BufferedWriter(cls(number, "w", closefd=False))
        return io.TextIOWrapper(raw, encoding="utf-8", errors="backslashreplace", line_buffering=True)


class Server:
    """Does jobs with one handler, one after the other.

    Args:
        link: to the worker.
        handle: the handler.
    """

    def __init__(self, link: socket.socket, handle: Handler) -> None:
        self._link = link
        self._handle = handle
        self._run = 0
        self._one_at_a_time = threading.RLock()
        self._told_to_end = False

    def serve(self) -> None:
        """Until the worker hangs up, or says SIGTERM."""
        signal.signal(signal.SIGTERM, self._on_sigterm)
        while True:
            given = receive_frame(self._link)
            if given is None:
                return
            ending = self._do(given["job"])
            sys.stdout.flush()
            with self._one_at_a_time:
                self._run += 1
                try:
                    send_frame(self._link, ending)
                except (TypeError, ValueError, RecursionError) as exc:
                    send_frame(self._link, {"failed": f"the handler's result is not JSON: {exc}"})

    def _do(self, given: Frame) -> Frame:
        """One job; however it ends, it is said in a frame."""
        run = self._run

        def ask(question: Frame) -> Frame:
            with self._one_at_a_time:
                if run != self._run:
                    raise RuntimeError("this job is over: it can neither be saved nor asked any more")
                send_frame(self._link, question)
                answer = receive_frame(self._link)
            if answer is None:
                raise SystemExit("the worker is gone")
            return answer

        try:
            return {"result": self._handle(Job(given, ask))}
        except Evicted:
            return {"evicted": True}
        except SystemExit as exc:
            if self._told_to_end:
                raise
            return {"failed": f"the handler called sys.exit({exc.code!r})"}
        except BaseException as exc:  # noqa: BLE001 -- whatever it is, it is the handler's and not this process's
            return {"failed": in_one_line(exc)}

    def _on_sigterm(self, _number: int, _frame: FrameType | None) -> None:
        """Leave through every `finally` of the handler."""
        self._told_to_end = True
        sys.exit(TERMINATED)


def send_frame(link: socket.socket, frame: Frame) -> None:
    """Send one frame.

    Raises:
        TypeError, ValueError: it is not JSON, or is too large. Nothing was sent.
    """
    content = json.dumps(frame, separators=(",", ":"), allow_nan=False).encode()
    if len(content) > FRAME_BYTES_MAX:
        raise ValueError(f"{len(content)} bytes are over the limit of {FRAME_BYTES_MAX}")
    link.sendall(_LENGTH.pack(len(content)) + content)


def receive_frame(link: socket.socket) -> Frame | None:
    """The next frame, or None if the other side has hung up."""
    length = _receive(link, _LENGTH.size)
    content = length and _receive(link, *_LENGTH.unpack(length))
    if not content:
        return None
    frame: Frame = json.loads(content)
    return frame


def _receive(link: socket.socket, size: int) -> bytes:
    """So many bytes, or none at all."""
    received = bytearray()
    while len(received) < size:
        some = link.recv(min(size - len(received), 65536))
        if not some:
            return b""
        received += some
    return bytes(received)


def in_one_line(error: BaseException) -> str:
    """The error and where it was raised, bounded."""
    frames = traceback.extract_tb(error.__traceback__)
    where = f" ({Path(frames[-1].filename).name}:{frames[-1].lineno})" if frames else ""
    return f"{type(error).__name__}: {error}{where}"[:ERROR_CHARS_MAX]


def import_handler(name: str) -> Handler:
    """Import `module:function`; the working directory is searched first, and not the directory of this file.

    Raises:
        LookupError: it cannot be imported, is not there, or is no plain function; the text says which.
    """
    if sys.path and Path(sys.path[0]).resolve() == Path(__file__).resolve().parent:
        del sys.path[0]
    sys.path.insert(0, str(Path.cwd()))
    module_name, _, function_name = name.partition(":")
    try:
        handler = getattr(importlib.import_module(module_name), function_name, None)
    except BaseException as exc:
        raise LookupError(f"{module_name!r} cannot be imported: {in_one_line(exc)}") from exc
    if handler is None:
        raise LookupError(f"{module_name!r} has no {function_name!r}")
    if inspect.iscoroutinefunction(handler) or inspect.isasyncgenfunction(handler):
        raise LookupError(f"{name!r} is a coroutine function, which only the worker's own Python can run")
    if not callable(handler):
        raise LookupError(f"{name!r} is not a function")
    found: Handler = handler
    return found


def main(number: str, name: str) -> None:
    """Serve until the worker hangs up."""
    sys.stdout, sys.stderr = Unfailing.text(1), Unfailing.text(2)
    with socket.socket(fileno=int(number)) as link:
        try:
            handle = import_handler(name)
        except LookupError as exc:
            send_frame(link, {"broken": str(exc)})
            return
        send_frame(link, {"ready": True})
        try:
            Server(link, handle).serve()
        except (BrokenPipeError, ConnectionResetError):
            sys.exit("the worker is gone")


if __name__ == "__main__":
    main(*sys.argv[1:])
