"""The simulator's queue and store as worlds: everything under virtual time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from fsm.ports import JobStore, WorkQueue
from simulator.queue import SimulatedQueue, SimulatedQueueService
from simulator.store import SimulatedStore, SimulatedStoreService
from tests.contracts.worlds import QueueWorld, StoreWorld, WorldMaker


class _SimulatedTime:
    """Time passes as the loop's virtual time does."""

    exact = True
    margin_s = 0.001
    lease_s = 30.0
    retention_s = 7 * 86_400.0

    async def pass_time(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


class SimulatedQueueWorld(_SimulatedTime, QueueWorld):
    """Clients of one simulated storage account."""

    def __init__(self) -> None:
        self.service = SimulatedQueueService()

    async def client(self, name: str = "jobs") -> WorkQueue:
        return SimulatedQueue(self.service, name)


class SimulatedStoreWorld(_SimulatedTime, StoreWorld):
    """Clients of one simulated container."""

    def __init__(self) -> None:
        self.service = SimulatedStoreService()

    async def client(self) -> JobStore:
        return SimulatedStore(self.service)

    async def spoil(self, queue: str, message_id: str) -> None:
        self.service.spoil(queue, message_id, '{"format": 1, "epo')


@asynccontextmanager
async def _queue_world(_directory: Path) -> AsyncIterator[QueueWorld]:
    yield SimulatedQueueWorld()


@asynccontextmanager
async def _store_world(_directory: Path) -> AsyncIterator[StoreWorld]:
    yield SimulatedStoreWorld()


SIMULATOR = WorldMaker(
    id="simulator",
    queue_world=_queue_world,
    store_world=_store_world,
    marks=(pytest.mark.looptime(noop_cycles=0, idle_timeout=0),),
)
