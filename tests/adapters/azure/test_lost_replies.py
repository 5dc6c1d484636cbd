"""Replies that are lost after the service has acted: what a caller is told, and what it finds when it looks again."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator
from dataclasses import dataclass

import pytest

from adapters.azure.connection import AzureConnection
from adapters.azure.queue import AzureQueue
from adapters.azure.store import AzureStore
from fsm.errors import LeaseLostError, ReplyLostError, VersionConflictError
from fsm.ports import JobStore, Message, WorkQueue
from fsm.record import Record, Status
from tests.adapters.azure.relay import Relay
from tests.azurite import Azurite
from tests.contracts.records import record

TIMEOUT_S = 10.0
LEASE_S = 600.0


@dataclass(frozen=True, slots=True)
class Storage:
    """A queue and a store, each behind a relay and directly."""

    relayed_queue: AzureQueue
    queue_relay: Relay
    queue: AzureQueue
    relayed_store: AzureStore
    store_relay: Relay
    store: AzureStore


@pytest.fixture
async def storage(connection: AzureConnection, azurite: Azurite) -> AsyncIterator[Storage]:
    name = f"lost-{uuid.uuid4().hex[:12]}"
    queue_url, blob_url = azurite.queue_url(name), azurite.blob_url(name)
    async with Relay.before(queue_url) as queue_relay, Relay.before(blob_url) as store_relay:
        made = Storage(
            relayed_queue=connection.queue(queue_relay.url),
            queue_relay=queue_relay,
            queue=connection.queue(queue_url),
            relayed_store=connection.store(store_relay.url),
            store_relay=store_relay,
            store=connection.store(blob_url),
        )
        await made.queue.create(timeout_s=TIMEOUT_S)
        await made.store.create(timeout_s=TIMEOUT_S)
        yield made


async def receive_one(queue: WorkQueue) -> Message:
    (message,) = await queue.receive(max_messages=32, visibility_timeout_s=LEASE_S, timeout_s=TIMEOUT_S)
    return message


class TestTheQueue:
    """Nothing is sent twice, so that what the second try would be told is left to the caller."""

    async def test_a_delete(self, storage: Storage) -> None:
        """A delete whose reply is lost is said to be lost, and has happened once: the next one finds nothing."""
        await storage.queue.put("work", timeout_s=TIMEOUT_S)
        message = await receive_one(storage.relayed_queue)
        storage.queue_relay.swallowing = True
        with pytest.raises(ReplyLostError):
            await storage.relayed_queue.delete(message.message_id, message.pop_receipt, timeout_s=TIMEOUT_S)
        assert storage.queue_relay.swallowed == 1
        with pytest.raises(LeaseLostError):
            await storage.queue.delete(message.message_id, message.pop_receipt, timeout_s=TIMEOUT_S)

    async def test_a_renewal(self, storage: Storage) -> None:
        """A renewal whose reply is lost is said to be lost, not refused; the receipt we still have is void."""
        await storage.queue.put("work", timeout_s=TIMEOUT_S)
        message = await receive_one(storage.relayed_queue)
        storage.queue_relay.swallowing = True
        with pytest.raises(ReplyLostError):
            await storage.relayed_queue.renew(
                message.message_id, message.pop_receipt, visibility_timeout_s=LEASE_S, timeout_s=TIMEOUT_S
            )
        assert storage.queue_relay.swallowed == 1
        with pytest.raises(LeaseLostError):
            await storage.queue.renew(
                message.message_id, message.pop_receipt, visibility_timeout_s=0, timeout_s=TIMEOUT_S
            )

    async def test_a_receive(self, storage: Storage) -> None:
        """A receive whose reply is lost leased its messages once, for nobody; the length still counts them."""
        await storage.queue.put("work", timeout_s=TIMEOUT_S)
        await storage.relayed_queue.length(timeout_s=TIMEOUT_S)
        storage.queue_relay.swallowing = True
        with pytest.raises(ReplyLostError):
            await receive_one(storage.relayed_queue)
        assert storage.queue_relay.swallowed == 1
        taken = await storage.queue.receive(max_messages=1, visibility_timeout_s=LEASE_S, timeout_s=TIMEOUT_S)
        assert list(taken) == []
        assert await storage.queue.length(timeout_s=TIMEOUT_S) == 1

    async def test_a_put(self, storage: Storage) -> None:
        """A put whose reply is lost put one message, not two."""
        await storage.relayed_queue.length(timeout_s=TIMEOUT_S)
        storage.queue_relay.swallowing = True
        with pytest.raises(ReplyLostError):
            await storage.relayed_queue.put("work", timeout_s=TIMEOUT_S)
        assert storage.queue_relay.swallowed == 1
        assert await storage.queue.length(timeout_s=TIMEOUT_S) == 1


class TestTheStore:
    """A write whose reply is lost is read back."""

    @pytest.mark.parametrize("first", [True, False], ids=["created", "overwritten"])
    async def test_a_write(self, storage: Storage, *, first: bool) -> None:
        """The write is said to be lost, not refused; it has happened once, and a reader finds it with its version."""
        message_id = str(uuid.uuid4())
        expected = None
        if not first:
            expected = await write(storage.relayed_store, message_id, record())
        else:
            await storage.relayed_store.read("jobs", message_id, timeout_s=TIMEOUT_S)
        document = record(Status.DONE)
        storage.store_relay.swallowing = True
        with pytest.raises(ReplyLostError):
            await write(storage.relayed_store, message_id, document, expected=expected)
        assert storage.store_relay.swallowed == 1
        found = await storage.store.read("jobs", message_id, timeout_s=TIMEOUT_S)
        assert found is not None
        assert found.record == document
        with pytest.raises(VersionConflictError):
            await write(storage.store, message_id, document, expected=expected)
        await write(storage.store, message_id, document, expected=found.version)

    async def test_a_confirmation(self, storage: Storage) -> None:
        """A confirmation whose reply is lost is kept, and repeating it succeeds."""
        message_id = str(uuid.uuid4())
        storage.store_relay.swallowing = True
        with pytest.raises(ReplyLostError):
            await storage.relayed_store.confirm_deleted("jobs", [message_id], timeout_s=TIMEOUT_S)
        await storage.store.confirm_deleted("jobs", [message_id], timeout_s=TIMEOUT_S)


async def write(store: JobStore, message_id: str, document: Record, *, expected: str | None = None) -> str:
    return await store.write("jobs", message_id, document, expected=expected, timeout_s=TIMEOUT_S)
