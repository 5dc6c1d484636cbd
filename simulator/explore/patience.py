"""What ends a handler that does not end by itself: a limit of real time for each run, and Ctrl-C.

A handler may wait for ever in virtual time, or loop, or be blocked by a library. A thread looks at the clock. A handler
that waits is ended by the loop, in order; in one that runs, a signal raises `CutShort`, and again and again, for it may
be caught. One that catches whatever comes, or is deaf to signals, can only be ended with its process. After a cut there
is no further run: what does not end at one step hardly ends at the next.
"""

from __future__ import annotations

import asyncio
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from enum import StrEnum
from types import FrameType, TracebackType
from typing import Self

LOOK_S = 0.1
PRODS_MAX = 20
"""Whoever has not let go after so many signals never will."""
_SIGNAL = signal.SIGVTALRM
"""Nobody else's: test runners have their alarm, and programs their user signals."""


class Cut(StrEnum):
    """Why a run was cut short."""

    TOO_LONG = "too long"
    INTERRUPTED = "interrupted"


class CutShort(BaseException):
    """Ends the user's code where it is."""


class Patience:
    """A context in which runs are made, in the main thread, one after the other.

    Args:
        run_s_max: how long a run may take, in real time.
        look: called several times a second, in a thread of its own.
        stuck: called in that thread, once, if the user's code cannot be ended.

    Attributes:
        cut: why a run was cut short; None as long as none was.
        inside: user's code runs in the main thread, or the main thread waits for such.
    """

    def __init__(self, run_s_max: float, look: Callable[[], None], stuck: Callable[[], None]) -> None:
        self.run_s_max = run_s_max
        self.cut: Cut | None = None
        self.inside = False
        self._look = look
        self._stuck = stuck
        self._began_s = time.monotonic()
        self._over: tuple[asyncio.AbstractEventLoop, asyncio.Event] | None = None
        self._left = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="patience", daemon=True)

    def __enter__(self) -> Self:
        self._before = [
            (number, signal.signal(number, handler))
            for number, handler in ((signal.SIGINT, self._interrupted), (_SIGNAL, self._prodded))
        ]
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._left.set()
        self._thread.join()
        for number, handler in self._before:
            signal.signal(number, handler)

    def begin(self) -> asyncio.Event:
        """A run begins in the running loop; what is returned is set when it is to end."""
        over = asyncio.Event()
        self._began_s = time.monotonic()
        self._over = asyncio.get_running_loop(), over
        return over

    @property
    def run_s(self) -> float:
        """How long the present run has taken, in real time."""
        return time.monotonic() - self._began_s

    @contextmanager
    def outside(self) -> Iterator[None]:
        """Our own code, amid the user's: nothing is raised in it."""
        inside, self.inside = self.inside, False
        try:
            yield
        finally:
            self.inside = inside

    def lose(self) -> None:
        """The present run takes too long."""
        self._end(Cut.TOO_LONG)

    # -- the clock's thread, and the signals it sends to the main thread ----------------------------------------------

    def _watch(self) -> None:
        main = threading.main_thread().ident
        assert main is not None
        prods = 0
        while not self._left.wait(LOOK_S):
            self._look()
            if self.cut is None and self.run_s > self.run_s_max:
                self._end(Cut.TOO_LONG)
            if self.cut is None or not self.inside:
                continue
            prods += 1
            if prods == PRODS_MAX:
                self._stuck()
            signal.pthread_kill(main, _SIGNAL)

    def _end(self, cut: Cut) -> None:
        self.cut = self.cut or cut
        if self._over is not None:
            loop, over = self._over
            with suppress(RuntimeError):  # it is closed: the run has just ended by itself
                loop.call_soon_threadsafe(over.set)

    def _interrupted(self, number: int, frame: FrameType | None) -> None:
        if self.cut is Cut.INTERRUPTED:
            raise KeyboardInterrupt
        self._end(Cut.INTERRUPTED)
        self._prodded(number, frame)

    def _prodded(self, _number: int, _frame: FrameType | None) -> None:
        if self.cut is not None and self.inside:
            raise CutShort
