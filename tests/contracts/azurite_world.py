"""Azure's queue and store as worlds: our adapters through the SDK, against Azurite, in real time."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import pytest
from azure.storage.blob.aio import ContainerClient

from adapters.azure.connection import AzureConnection
from adapters.azure.layout import record_path
from fsm.ports import JobStore, WorkQueue
from tests.azurite import KEY, Azurite, shared
from tests.contracts.worlds import QueueWorld, StoreWorld, WorldMaker


class _RealTime:
    """Time passes as it does; each client has a connection of its own."""

    exact = False

    def __init__(self, azurite: Azurite, open_until_the_end: AsyncExitStack) -> None:
        self.azurite = azurite
        self.suffix = uuid.uuid4().hex[:12]
        self._open = open_until_the_end

    async def pass_time(self, seconds: float) -> None:
        await asyncio.sleep(seconds)

    async def connection(self) -> AzureConnection:
        return await self._open.enter_async_context(AzureConnection())


class AzuriteQueueWorld(_RealTime, QueueWorld):
    """Queues of our own: each world adds its suffix to their names.

    Azurite 3.37 decodes a request's body chunk by chunk: a letter of several bytes on a chunk's border is spoilt.
    """

    margin_s = 0.5
    lease_s = 2.0
    tears_letters = True

    async def client(self, name: str = "jobs") -> WorkQueue:
        return (await self.connection()).queue(self.azurite.queue_url(f"{name}-{self.suffix}"))


class AzuriteStoreWorld(_RealTime, StoreWorld):
    """A container of our own. What a blob's age is told by has no fractions of a second: the margin is over one."""

    margin_s = 1.2
    retention_s = 5.0

    @property
    def url(self) -> str:
        return self.azurite.blob_url(f"records-{self.suffix}")

    async def client(self) -> JobStore:
        return (await self.connection()).store(self.url)

    async def spoil(self, queue: str, message_id: str) -> None:
        async with ContainerClient.from_container_url(self.url, credential=KEY) as container:
            await container.upload_blob(record_path(queue, message_id), b'{"format": 1, "epo', overwrite=True)


@asynccontextmanager
async def _queue_world(_directory: Path) -> AsyncIterator[QueueWorld]:
    async with AsyncExitStack() as open_until_the_end:
        yield AzuriteQueueWorld(shared(), open_until_the_end)


@asynccontextmanager
async def _store_world(_directory: Path) -> AsyncIterator[StoreWorld]:
    async with AsyncExitStack() as open_until_the_end:
        yield AzuriteStoreWorld(shared(), open_until_the_end)


AZURITE = WorldMaker(
    id="azurite",
    queue_world=_queue_world,
    store_world=_store_world,
    # aiohttp advises against sending a whole megabyte at once, which is all that the SDK can do.
    marks=(pytest.mark.azurite, pytest.mark.filterwarnings("ignore:Sending a large body:ResourceWarning")),
)
