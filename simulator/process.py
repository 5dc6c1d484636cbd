"""One worker process in a simulated world, and the ports that are its own: signals, randomness, a life that can end."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextvars import copy_context
from dataclasses import dataclass, field
from enum import StrEnum
from random import Random

from fsm.ports import Clock, Randomness, Signals
from fsm.runner import Tally, Worker
from simulator.journal import MemoryJournal
from simulator.loop import Life
from simulator.network import REQUEST_LOST, Fault, Faults


class Ending(StrEnum):
    """How a process ended, as the world knows it."""

    EVICTED = "evicted"
    """Its VM was taken from under it."""
    DIED = "died"
    """It was killed, and its VM went on."""
    STOPPED = "stopped"
    """It ended by itself."""
    GAVE_UP = "gave up"
    """It said that a setting cannot work: exit code 2."""
    CRASHED = "crashed"
    """It raised anything else: a bug."""


class SeededRandomness(Randomness):
    """Repeatable."""

    def __init__(self, random: Random) -> None:
        self._random = random

    def uniform(self, low: float, high: float) -> float:
        return self._random.uniform(low, high)

    def token(self) -> str:
        return f"{self._random.getrandbits(64):016x}"


class ScriptedSignals(Signals):
    """Signals that the world sends: they are handled by the process, in its next round, and once it is not frozen."""

    def __init__(self) -> None:
        self.send: Callable[[str], None] = lambda _name: None

    def listen(self, on_stop: Callable[[str], None]) -> None:
        context = copy_context()

        def send(name: str) -> None:
            asyncio.get_running_loop().call_soon(on_stop, name, context=context)

        self.send = send

    def close(self) -> None:
        self.send = lambda _name: None


@dataclass(slots=True, eq=False)
class Process:
    """One worker process: its task, and the strings by which the world holds it.

    Attributes:
        name: its source in the journal.
        vm_name: the VM it runs on.
        life: whether it is dead, or frozen.
        ending: how it ended; None while it runs.
        error: what it raised, if it gave up or crashed.
    """

    name: str
    vm_name: str
    worker: Worker
    task: asyncio.Task[Tally]
    signals: ScriptedSignals
    journal: MemoryJournal
    clock: Clock
    life: Life
    ending: Ending | None = None
    error: BaseException | None = field(default=None, repr=False)

    @property
    def alive(self) -> bool:
        return self.ending is None

    def is_dead(self) -> bool:
        """Whether it was killed, at this moment; it may be after any await."""
        return self.life.dead

    def die(self, ending: Ending = Ending.DIED) -> None:
        """SIGKILL, or the VM is gone: from now on nothing it does reaches the world, its `finally` blocks included."""
        if self.ending is None:
            self.ending = ending
        self.life.dead = True
        self.life.thaw()
        self.task.cancel()

    async def kill(self, ending: Ending = Ending.DIED) -> None:
        """End it as `die` does, and wait until the loop is rid of it."""
        self.die(ending)
        await asyncio.wait([self.task])

    async def finish(self) -> Tally:
        """Wait until it ends by itself."""
        return await self.task


def cut_off(life: Life, faults: Faults) -> Faults:
    """Faults under which a dead process reaches nothing."""

    def cut_or(call: str) -> Fault | None:
        return REQUEST_LOST if life.dead else faults(call)

    return cut_or
