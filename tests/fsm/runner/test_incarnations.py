"""The incarnation of a document is a label, not a counter: what a reply says counts, whatever number it has."""

from __future__ import annotations

import asyncio

import pytest

from fsm.application import AppState
from fsm.notices import EventsDocument, ScheduledEvent
from fsm.runner import WorkerSettings
from tests.fsm.runner.test_worker import at_once
from tests.fsm.runner.world import World, state_of, until, virtually

PREEMPT = ScheduledEvent(
    event_id="e1", event_type="Preempt", resources=("vm-spot",), started=False, not_before=None, source="Platform"
)


@pytest.mark.parametrize("incarnations", [(2, 4, 9), (9, 4, 2), (7, 1, 1), (1, 1, 1), (-1, 0, -1)])
def test_numbers_that_jump_stand_still_or_begin_anew(incarnations: tuple[int, int, int]) -> None:
    """Azure skips numbers, and counts from 1 again once the feature was off: notices come and go all the same."""

    async def main() -> None:
        world = World(settings=WorkerSettings())
        before, announced, withdrawn = incarnations
        world.vm.document = EventsDocument(incarnation=before, events=())
        worker = world.start(at_once)
        await until(lambda: state_of(worker) is AppState.PROCESSING)
        world.vm.document = EventsDocument(incarnation=announced, events=(PREEMPT,))
        await until(lambda: state_of(worker) is AppState.DRAINED, within_s=5.0)
        await asyncio.sleep(3.0)
        assert state_of(worker) is AppState.DRAINED
        world.vm.document = EventsDocument(incarnation=withdrawn, events=())
        await until(lambda: state_of(worker) is AppState.PROCESSING, within_s=5.0)
        await worker.kill()

    virtually(main)
