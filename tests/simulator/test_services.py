"""What the simulated services do beyond the ports' contracts."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from random import Random

import pytest

from fsm.errors import BadReplyError, LeaseLostError, ReplyLostError
from fsm.ports import Message
from simulator.clock import ORIGIN, SimulatedClock
from simulator.network import REPLY_RESET, Fault, no_faults
from simulator.queue import SimulatedQueue, SimulatedQueueService
from simulator.store import SimulatedStore, SimulatedStoreService
from tests.contracts.records import record

pytestmark = pytest.mark.looptime(noop_cycles=0, idle_timeout=0)

TIMEOUT_S = 10.0


async def receive(queue: SimulatedQueue) -> list[Message]:
    return list(await queue.receive(max_messages=32, visibility_timeout_s=30, timeout_s=TIMEOUT_S))


async def order_of(seed: int) -> list[str]:
    """In which order ten messages that were put at one moment are delivered."""
    queue = SimulatedQueue(SimulatedQueueService(random=Random(seed)), "jobs")
    await queue.create(timeout_s=TIMEOUT_S)
    for number in range(10):
        await queue.put(str(number), timeout_s=TIMEOUT_S)
    return [message.text for message in await receive(queue)]


async def test_the_seed_decides_the_order() -> None:
    """Messages visible at one moment are delivered in an order that the seed decides, and not as they were put."""
    assert await order_of(1) == await order_of(1)
    assert len({tuple(await order_of(seed)) for seed in range(5)}) == 5


async def test_the_seed_decides_the_ids() -> None:
    """Equal seeds give equal message ids, different seeds different ones."""

    async def first_id(seed: int) -> str:
        queue = SimulatedQueue(SimulatedQueueService(random=Random(seed)), "jobs")
        await queue.create(timeout_s=TIMEOUT_S)
        return await queue.put("x", timeout_s=TIMEOUT_S)

    assert await first_id(1) == await first_id(1)
    assert await first_id(1) != await first_id(2)


async def test_a_foreign_message_may_expire() -> None:
    """A message with a time to live says when it ends, and from then on is gone, leased or not."""
    service = SimulatedQueueService()
    queue = SimulatedQueue(service, "jobs")
    await queue.create(timeout_s=TIMEOUT_S)
    for _ in range(2):
        service.put("jobs", "foreign", time_to_live_s=60)
    lived = await receive(queue)
    assert [message.expires_at for message in lived] == [SimulatedClock().now() + timedelta(seconds=60)] * 2
    await asyncio.sleep(59)
    leased = await queue.renew(lived[0].message_id, lived[0].pop_receipt, visibility_timeout_s=30, timeout_s=TIMEOUT_S)
    assert await queue.length(timeout_s=TIMEOUT_S) == 2
    await asyncio.sleep(1)
    with pytest.raises(LeaseLostError):
        await queue.delete(lived[0].message_id, leased, timeout_s=TIMEOUT_S)
    assert await receive(queue) == []
    assert await queue.length(timeout_s=TIMEOUT_S) == 0


async def test_queue_faults_go_by_the_calls_names() -> None:
    """A reply lost by one client's receive leaves the message leased, to nobody's knowledge, until its timeout."""
    service = SimulatedQueueService()
    queue = SimulatedQueue(service, "jobs", faults=no_faults)
    await queue.create(timeout_s=TIMEOUT_S)
    await queue.put("x", timeout_s=TIMEOUT_S)

    def lose_receives(call: str) -> Fault | None:
        return REPLY_RESET if call == "queue.receive" else None

    unlucky = SimulatedQueue(service, "jobs", faults=lose_receives)
    with pytest.raises(ReplyLostError):
        await receive(unlucky)
    assert await unlucky.length(timeout_s=TIMEOUT_S) == 1
    assert await receive(queue) == []
    await asyncio.sleep(30)
    assert [message.dequeue_count for message in await receive(queue)] == [2]


async def test_store_faults_go_by_the_calls_names() -> None:
    """A write whose reply was lost is found by reading it back; a torn document is an error."""
    service = SimulatedStoreService(exists=True)

    def lose_writes(call: str) -> Fault | None:
        return REPLY_RESET if call == "store.write" else None

    store = SimulatedStore(service, faults=lose_writes)
    with pytest.raises(ReplyLostError):
        await store.write("jobs", "1", record(), expected=None, timeout_s=TIMEOUT_S)
    stored = await store.read("jobs", "1", timeout_s=TIMEOUT_S)
    assert stored is not None
    assert stored.record == record()
    service.spoil("jobs", "1", "{")
    with pytest.raises(BadReplyError):
        await store.read("jobs", "1", timeout_s=TIMEOUT_S)


async def test_the_wall_goes_with_the_loop() -> None:
    """The simulated wall clock starts at its origin and runs with the loop's time."""
    clock = SimulatedClock()
    before, before_s = clock.now(), clock.monotonic_s()
    await asyncio.sleep(90)
    assert clock.now() - before == timedelta(seconds=90)
    assert clock.monotonic_s() - before_s == 90
    assert clock.now() == ORIGIN + timedelta(seconds=clock.monotonic_s())
