"""Three implementations of a port side by side: the simulator's, SQLite's and Azure's, through one history."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Generic, TypeVar

from hypothesis import Phase
from hypothesis.stateful import RuleBasedStateMachine

from fsm.errors import SpotfsmError
from fsm.ports import Clock
from simulator.queue import SimulatedQueueService
from simulator.store import SimulatedStoreService
from tests.contracts.azurite_world import AZURITE
from tests.contracts.simulator_world import SimulatedQueueWorld, SimulatedStoreWorld
from tests.contracts.sqlite_world import SQLITE
from tests.contracts.worlds import TIMEOUT_S, QueueWorld, StoreWorld

WorldT = TypeVar("WorldT", bound=QueueWorld | StoreWorld)
ClientT = TypeVar("ClientT")
ReplyT = TypeVar("ReplyT")


PHASES = (Phase.explicit, Phase.reuse, Phase.generate)
"""Real time passes: a history that tells two of them apart is shown as it was found, for shrinking it takes minutes."""


class HandClock(Clock):
    """A clock that is moved by hand: here all three live in one loop, and in real time."""

    def __init__(self) -> None:
        self._s = 0.0

    def move(self, seconds: float) -> None:
        self._s += seconds

    def now(self) -> datetime:
        return datetime(2026, 1, 1, tzinfo=UTC) + timedelta(seconds=self._s)

    def monotonic_s(self) -> float:
        return self._s


class HandMovedQueues(SimulatedQueueWorld):
    """The simulator's queues, by a clock that is moved by hand."""

    def __init__(self) -> None:
        self.clock = HandClock()
        self.service = SimulatedQueueService(clock=self.clock)

    async def pass_time(self, seconds: float) -> None:
        self.clock.move(seconds)


class HandMovedStore(SimulatedStoreWorld):
    """The simulator's store, by a clock that is moved by hand."""

    def __init__(self) -> None:
        self.clock = HandClock()
        self.service = SimulatedStoreService(clock=self.clock)

    async def pass_time(self, seconds: float) -> None:
        self.clock.move(seconds)


class SideBySide(RuleBasedStateMachine, Generic[WorldT, ClientT]):
    """A history of calls, each made of all three; they must answer alike.

    Attributes:
        worlds, clients: by the implementation's name; two clients each, which take turns.
        waits: how many times real time has been waited for.
    """

    def __init__(self) -> None:
        super().__init__()
        self._runner = asyncio.Runner()
        self._open = AsyncExitStack()
        self._directory = tempfile.TemporaryDirectory()
        self._turn = 0
        self.waits = 0
        self.worlds: dict[str, WorldT] = {}
        self.clients: dict[str, tuple[ClientT, ...]] = {}

    def drive(self, work: Coroutine[None, None, ReplyT]) -> ReplyT:
        """Run the loop until this is done."""
        return self._runner.run(work)

    @property
    def directory(self) -> Path:
        return Path(self._directory.name)

    async def enter_worlds(self, enter: Callable[[AsyncExitStack, Path], Awaitable[dict[str, WorldT]]]) -> None:
        self.worlds = await enter(self._open, self.directory)

    def client(self, name: str) -> ClientT:
        """The client whose turn it is."""
        return self.clients[name][self._turn % len(self.clients[name])]

    def each(self, call: Callable[[str, ClientT], Awaitable[ReplyT]]) -> dict[str, ReplyT | str]:
        """Ask all three, and return what each replied, or the name of the error it raised."""

        async def ask(name: str) -> ReplyT | str:
            try:
                return await call(name, self.client(name))
            except SpotfsmError as exc:
                return type(exc).__name__

        async def all_of_them() -> dict[str, ReplyT | str]:
            return dict(zip(self.clients, await asyncio.gather(*map(ask, self.clients)), strict=True))

        self._turn += 1
        return self.drive(all_of_them())

    def agreed(self, call: Callable[[str, ClientT], Awaitable[ReplyT]]) -> ReplyT | str:
        """The one reply of all three."""
        replies = self.each(call)
        (first, *others) = replies.values()
        assert all(other == first for other in others), replies
        return first

    def wait(self, seconds: float) -> None:
        """Let time pass for all of them."""

        async def passing() -> None:
            await asyncio.gather(*(world.pass_time(seconds) for world in self.worlds.values()))

        self.waits += 1
        self.drive(passing())

    def teardown(self) -> None:
        self._runner.run(self._open.aclose())
        self._runner.close()
        self._directory.cleanup()


async def queue_worlds(still_open: AsyncExitStack, directory: Path) -> dict[str, QueueWorld]:
    """One queue world of each."""
    return {
        "simulator": HandMovedQueues(),
        "sqlite": await still_open.enter_async_context(SQLITE.queue_world(directory)),
        "azurite": await still_open.enter_async_context(AZURITE.queue_world(directory)),
    }


async def store_worlds(still_open: AsyncExitStack, directory: Path) -> dict[str, StoreWorld]:
    """One store world of each."""
    return {
        "simulator": HandMovedStore(),
        "sqlite": await still_open.enter_async_context(SQLITE.store_world(directory)),
        "azurite": await still_open.enter_async_context(AZURITE.store_world(directory)),
    }


__all__ = ["PHASES", "TIMEOUT_S", "SideBySide", "queue_worlds", "store_worlds"]
