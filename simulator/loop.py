"""Virtual time: an event loop that jumps to its next timer, and in which single processes can stand still.

The loop is looptime's; a day of sleep costs nothing, and a deadlock raises. All simulated processes share it. What
belongs to which is told by a context variable that every task and every timer inherits from whoever made it, so that a
frozen VM's callbacks can be held until it goes on, the timers that ran out meanwhile included. Real freezes look just
like this to a process: it goes on in the middle of a line, much later, with every timer due at once.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Coroutine
from contextvars import Context, ContextVar, copy_context
from typing import TypeVar, TypeVarTuple, Unpack

from looptime import LoopTimeEventLoop

ReturnT = TypeVar("ReturnT")
ArgumentTs = TypeVarTuple("ArgumentTs")


class Life:
    """One process as the loop knows it.

    Attributes:
        dead: from now on nothing it does reaches the world.
        frozen: its callbacks are held.
        thawed_s: when it last went on.
    """

    __slots__ = ("_buried", "_held", "_loop", "dead", "frozen", "thawed_s")

    def __init__(self) -> None:
        self.dead = False
        self.frozen = False
        self._buried = False
        self.thawed_s = -math.inf
        self._held: list[tuple[asyncio.Handle, Callable[[], object], Context]] = []
        self._loop = _world_loop()

    def freeze(self) -> None:
        """Hold whatever this process would do next."""
        self.frozen = True
        if self._loop is not None:
            self._loop.frozen += 1

    def thaw(self) -> None:
        """Let everything that was held happen now, in its order."""
        if not self.frozen or self._buried:
            return
        self.frozen = False
        self.thawed_s = asyncio.get_running_loop().time()
        if self._loop is not None:
            self._loop.frozen -= 1
        held, self._held = self._held, []
        for handle, callback, context in held:
            asyncio.get_running_loop().call_soon(_unless_cancelled, handle, callback, context=context)

    def bury(self) -> None:
        """Hold whatever is left of a dead process, its `finally` blocks included, whoever would thaw it."""
        self._buried = True
        if not self.frozen:
            self.freeze()

    def exhume(self) -> None:
        """Let what is left of it come to an end: the world is over."""
        self._buried = False
        self.thaw()

    def hold(self, handle: asyncio.Handle, callback: Callable[[], object], context: Context) -> None:
        """Keep a callback for later."""
        self._held.append((handle, callback, context))


LIFE: ContextVar[Life | None] = ContextVar("life", default=None)
"""The process on whose behalf the present task or callback runs; None is the world itself."""


class WorldLoop(LoopTimeEventLoop, asyncio.SelectorEventLoop):
    """Looptime's loop, in which a frozen process does nothing."""

    def __init__(self) -> None:
        self.frozen = 0
        super().__init__(noop_cycles=0, idle_timeout=0)

    def call_soon(
        self,
        callback: Callable[[Unpack[ArgumentTs]], object],
        *args: *ArgumentTs,
        context: Context | None = None,
    ) -> asyncio.Handle:
        if self.frozen:
            context = copy_context() if context is None else context  # an empty one is false, and nobody's
            life = context.get(LIFE)
            if life is not None and life.frozen:
                handle = asyncio.Handle(callback, args, self, context)
                life.hold(handle, lambda: callback(*args), context)
                return handle
        return super().call_soon(callback, *args, context=context)

    def call_at(
        self,
        when: float,
        callback: Callable[[Unpack[ArgumentTs]], object],
        *args: *ArgumentTs,
        context: Context | None = None,
    ) -> asyncio.TimerHandle:
        life = LIFE.get() if context is None else context.get(LIFE)
        if life is None:
            return super().call_at(when, callback, *args, context=context)
        own: list[asyncio.Handle] = []

        def fire() -> None:
            if life.frozen:
                life.hold(own[0], lambda: callback(*args), copy_context())
            else:
                callback(*args)

        timer = super().call_at(when, fire, context=context)
        own.append(timer)
        return timer


def _unless_cancelled(handle: asyncio.Handle, callback: Callable[[], object]) -> None:
    if not handle.cancelled():
        callback()


def _world_loop() -> WorldLoop | None:
    loop = asyncio.get_running_loop()
    return loop if isinstance(loop, WorldLoop) else None


def virtually(main: Callable[[], Coroutine[None, None, ReturnT]]) -> ReturnT:
    """Run a coroutine in a virtual time of its own, which begins at 0."""
    with asyncio.Runner(loop_factory=WorldLoop) as runner:
        return runner.run(main())
