"""How many messages a worker asks for."""

from __future__ import annotations

import asyncio

import pytest

from fsm.handler import Job, Json
from fsm.record import Status
from fsm.runner import WorkerSettings
from fsm.runner.settings import RECEIVE_MAX
from simulator.network import Fault
from tests.fsm.runner.world import World, virtually


async def short(_job: Job) -> Json:
    """A job that takes less time than its delete, so that most deliveries are settling."""
    await asyncio.sleep(0.015)
    return None


def slow_deletes(call: str) -> Fault | None:
    """A queue that takes its time over deletes."""
    return Fault(request_s=0.05) if call == "queue.delete" else None


@pytest.mark.parametrize("concurrency", [1, 32, 64, 100])
def test_a_receive_asks_for_at_least_one_message_and_at_most_a_page(concurrency: int) -> None:
    """However many deliveries are settling, no receive asks for none, which a queue refuses, or for over a page."""

    async def work() -> None:
        settings = WorkerSettings(until_empty=True, concurrency=concurrency, idle_poll_s_max=0.2)
        world = World(settings=settings, faults=slow_deletes)
        jobs = world.enqueue(500)
        await world.start(short).finish()
        asked = [int(entry.fields["asked"] or 0) for entry in world.of_kind("receive")]
        assert min(asked) >= 1
        assert max(asked) <= min(concurrency, RECEIVE_MAX)
        assert set(world.statuses(jobs)) == {Status.DONE}

    virtually(work)
