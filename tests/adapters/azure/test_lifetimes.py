"""Messages that others put with a time to live."""

from __future__ import annotations

import uuid

from azure.storage.queue.aio import QueueClient

from adapters.azure.connection import AzureConnection
from fsm.ports import Peeked
from tests.azurite import KEY, Azurite

TIMEOUT_S = 10.0


async def test_messages_that_will_expire_are_seen(azurite: Azurite, connection: AzureConnection) -> None:
    """Of one message of ours and two that somebody put with a time to live, two are reported, before and after."""
    url = azurite.queue_url(f"lifetimes-{uuid.uuid4().hex[:8]}")
    queue = connection.queue(url)
    await queue.create(timeout_s=TIMEOUT_S)
    await queue.put("ours", timeout_s=TIMEOUT_S)
    async with QueueClient.from_queue_url(url, credential=KEY) as bare:
        await bare.send_message("theirs", time_to_live=600)
        await bare.send_message("theirs", time_to_live=600)
    assert await queue.peek(timeout_s=TIMEOUT_S) == Peeked(waiting=3, expiring=2)
    assert await queue.peek(timeout_s=TIMEOUT_S) == Peeked(waiting=3, expiring=2)
    received = await queue.receive(max_messages=32, visibility_timeout_s=30, timeout_s=TIMEOUT_S)
    assert sorted(message.expires_at is None for message in received) == [False, False, True]
    assert {message.dequeue_count for message in received} == {1}
