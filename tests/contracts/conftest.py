"""Every test of the suite runs against every registered world."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from fsm.ports import JobStore, WorkQueue
from tests.contracts.azurite_world import AZURITE
from tests.contracts.simulator_world import SIMULATOR
from tests.contracts.sqlite_world import SQLITE
from tests.contracts.worlds import TIMEOUT_S, QueueWorld, StoreWorld, WorldMaker

WORLDS: tuple[WorldMaker, ...] = (SQLITE, SIMULATOR, AZURITE)


@pytest.fixture(params=[pytest.param(world, id=world.id, marks=world.marks) for world in WORLDS])
def maker(request: pytest.FixtureRequest) -> WorldMaker:
    maker = request.param
    assert isinstance(maker, WorldMaker)
    return maker


@pytest.fixture
async def queue_world(maker: WorldMaker, tmp_path: Path) -> AsyncIterator[QueueWorld]:
    async with maker.queue_world(tmp_path) as world:
        yield world


@pytest.fixture
async def queue(queue_world: QueueWorld) -> WorkQueue:
    """A client of an empty queue."""
    client = await queue_world.client()
    await client.create(timeout_s=TIMEOUT_S)
    return client


@pytest.fixture
async def other_queue(queue_world: QueueWorld, queue: WorkQueue) -> WorkQueue:
    """A second, independent client of the same queue."""
    return await queue_world.client()


@pytest.fixture
async def store_world(maker: WorldMaker, tmp_path: Path) -> AsyncIterator[StoreWorld]:
    async with maker.store_world(tmp_path) as world:
        yield world


@pytest.fixture
async def store(store_world: StoreWorld) -> JobStore:
    """A client of an empty store."""
    client = await store_world.client()
    await client.create(timeout_s=TIMEOUT_S)
    return client


@pytest.fixture
async def other_store(store_world: StoreWorld, store: JobStore) -> JobStore:
    """A second, independent client of the same store."""
    return await store_world.client()
