"""Plain functions as handlers: in a thread that takes turns with the world, so that no two of them ever run at once.

While the function runs, virtual time stands still; while the world does something for it, it waits. Its `time.sleep`
sleeps in virtual time.
"""

from __future__ import annotations

import asyncio
import ctypes
import sys
import threading
import time
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from types import FrameType
from typing import TYPE_CHECKING, SupportsIndex

from fsm.errors import Evicted
from fsm.handler import Job, Json
from simulator.explore.steps import Killed, Watch, Way, let_go

if TYPE_CHECKING:
    from _typeshed import TraceFunction

Work = Callable[[], Awaitable[None]]
PROD_S = 0.05
"""A dead handler that has asked for nothing so long, in real time, is told that it is dead all the same."""
END_S_MAX = 2.0
"""One that has not ended after this never will."""
_really_sleep = time.sleep


class PlainJob:
    """A job with the face of a coroutine handler's, but to be called and not awaited."""

    Evicted = Evicted

    def __init__(self, job: Job, turns: _Turns) -> None:
        self._job = job
        self._turns = turns
        self.id = job.id
        self.text = job.text
        self.progress = job.progress
        self.attempt = job.attempt
        self.evictions = job.evictions

    def json(self) -> Json:
        return self._job.json()

    @property
    def deadline(self) -> float | None:
        return self._job.deadline

    @property
    def checkpoint_soon(self) -> bool:
        return self._job.checkpoint_soon

    def checkpoint(self, progress: Json) -> None:
        self._turns.ask(lambda: self._job.checkpoint(progress))


def awaited(handler: Callable[..., object], watch: Watch | None) -> Callable[[Job], Coroutine[object, object, object]]:
    """A plain function as a coroutine function.

    Args:
        handler: the function.
        watch: is told of each of its lines; None where nobody asks for them.
    """

    async def run(job: Job) -> object:
        return await _Turns(watch).run(handler, job)

    return run


@dataclass(frozen=True, slots=True)
class _Ended:
    result: object = None
    error: BaseException | None = None


class _Turns:
    """One run of a plain handler: what it asks of the world, and the answers."""

    def __init__(self, watch: Watch | None) -> None:
        self._watch = watch
        self._asked: SimpleQueue[Work | _Ended] = SimpleQueue()
        self._answers: SimpleQueue[BaseException | None] = SimpleQueue()

    # -- the world's side ---------------------------------------------------------------------------------------------

    async def run(self, handler: Callable[..., object], job: Job) -> object:
        thread = threading.Thread(target=self._work, args=(handler, PlainJob(job, self)), daemon=True)
        thread.start()
        while True:
            try:
                asked = self._asked.get()
                if not isinstance(asked, _Ended):
                    await asked()
            except Exception as exc:  # noqa: BLE001 -- it is the handler's to handle, whatever it is
                self._answers.put(exc)
                continue
            except BaseException:
                with nullcontext() if self._watch is None else self._watch.patience.outside():
                    self._end(thread)
                raise
            if isinstance(asked, _Ended):
                thread.join()
                if asked.error is not None:
                    raise asked.error
                return asked.result
            self._answers.put(None)

    def _end(self, thread: threading.Thread) -> None:
        """Whatever a dead handler asks for, it is told that it is dead; and so it is if it asks for nothing.

        One that will not let go is left behind.
        """
        until_s = time.monotonic() + END_S_MAX
        while thread.is_alive() and time.monotonic() < until_s:
            self._answers.put(Killed())
            try:
                asked = self._asked.get(timeout=PROD_S)
            except Empty:
                _raise_in(thread, Killed)
                continue
            if isinstance(asked, _Ended):
                thread.join()
                if asked.error is not None:
                    let_go(asked.error)
        if thread.is_alive() and self._watch is not None:
            self._watch.patience.lose()

    # -- the handler's side -------------------------------------------------------------------------------------------

    def ask(self, work: Work) -> None:
        """Let the world do something, and go on when it is done.

        Raises:
            Killed: the process is gone.
        """
        self._asked.put(work)
        error = self._answers.get()
        if error is not None:
            raise error

    def _work(self, handler: Callable[..., object], job: PlainJob) -> None:
        _OURS.turns = self
        try:
            with self._traced():
                ended = _Ended(result=handler(job))
        except BaseException as exc:  # noqa: BLE001 -- it is told in the world's thread
            ended = _Ended(error=exc)
        with suppress(Killed):
            self._asked.put(ended)

    @contextmanager
    def _traced(self) -> Iterator[None]:
        """Whoever watches is told of each line; otherwise this thread is left to coverage and debuggers."""
        watch = self._watch
        if watch is None:
            yield
            return

        def called(frame: FrameType, _event: str, _argument: object) -> TraceFunction | None:
            return line if watch.is_ours(frame.f_code.co_filename) else None

        def line(frame: FrameType, event: str, _argument: object) -> TraceFunction:
            if event == "line":
                file, number = frame.f_code.co_filename, frame.f_lineno

                async def at_line() -> None:
                    if watch.line(file, number) is Way.KILL:
                        raise Killed

                self.ask(at_line)
            return line

        sys.settrace(called)
        try:
            yield
        finally:
            sys.settrace(None)


def _raise_in(thread: threading.Thread, error: type[BaseException]) -> None:
    """Raise an error in another thread, before the next line of Python that it runs."""
    ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread.ident or 0), ctypes.py_object(error))


class _Ours(threading.local):
    """The run that this thread belongs to; None in every other thread."""

    turns: _Turns | None = None


_OURS = _Ours()


@contextmanager
def virtual_sleep() -> Iterator[None]:
    """`time.sleep` of plain handlers sleeps in virtual time."""
    time.sleep = _sleep
    try:
        yield
    finally:
        time.sleep = _really_sleep


def _sleep(seconds: float | SupportsIndex, /) -> None:
    if _OURS.turns is None:
        _really_sleep(seconds)
    else:
        _OURS.turns.ask(lambda: asyncio.sleep(float(seconds)))
