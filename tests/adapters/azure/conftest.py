"""A scripted service, and our clients of it."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from adapters.azure.connection import AzureConnection
from adapters.azure.queue import AzureQueue
from adapters.azure.store import AzureStore
from tests.adapters.azure.loopback import Loopback


@pytest.fixture
async def loopback() -> AsyncIterator[Loopback]:
    async with Loopback.serving() as serving:
        yield serving


@pytest.fixture
async def connection() -> AsyncIterator[AzureConnection]:
    async with AzureConnection() as opened:
        yield opened


@pytest.fixture
def queue(connection: AzureConnection, loopback: Loopback) -> AzureQueue:
    return connection.queue(loopback.queue_url())


@pytest.fixture
def store(connection: AzureConnection, loopback: Loopback) -> AzureStore:
    return connection.store(loopback.blob_url())
