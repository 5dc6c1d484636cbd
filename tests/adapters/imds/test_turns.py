"""Turns at IMDS: never two workers at once, each as often as the others, and all together under the limit."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import looptime
import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.cli.instances import INSTANCES_MAX
from adapters.imds.turns import SLOT_S, EventsInTurns, MetadataInTurns, Turn, Turns
from adapters.twin.limits import RateLimit
from adapters.twin.state import IMDS_PER_S
from fsm.errors import ThrottledError
from fsm.notices import EventsDocument
from fsm.ports import InstanceMetadata, ScheduledEvents, VmIdentity

TIMEOUT_S = 0.01
counts = st.integers(min_value=1, max_value=INSTANCES_MAX)
times = st.floats(min_value=0.0, max_value=1e7)


class Imds(ScheduledEvents, InstanceMetadata):
    """Answers as often as IMDS does, to all who ask together."""

    def __init__(self, now_s: Callable[[], float]) -> None:
        self._now_s = now_s
        self._limit = RateLimit(per_s=IMDS_PER_S)
        self.asked = 0

    def _ask(self, timeout_s: float) -> None:
        assert timeout_s == TIMEOUT_S, "the wait for a turn is no part of it"
        self._limit, allowed = self._limit.take(self._now_s())
        self.asked += 1
        if not allowed:
            raise ThrottledError("too many")

    async def poll(self, *, timeout_s: float) -> EventsDocument:
        self._ask(timeout_s)
        return EventsDocument(incarnation=1, events=())

    async def acknowledge(self, event_id: str, *, timeout_s: float) -> None:
        assert event_id == "e"
        self._ask(timeout_s)

    async def identity(self, *, timeout_s: float) -> VmIdentity:
        self._ask(timeout_s)
        return VmIdentity(vm_id="v", name="n", boot_id="b", priority="", eviction_policy="")


@given(count=counts, now_s=times, data=st.data())
def test_two_workers_are_never_due_at_once(count: int, now_s: float, data: st.DataObject) -> None:
    """Whenever they ask, turns of different workers are a slot apart."""
    places = data.draw(st.lists(st.integers(0, count - 1), min_size=2, max_size=2, unique=True)) if count > 1 else [0]
    due = [turn.at_s(turn.after(now_s, last=-1)) for turn in (Turn(place=place, count=count) for place in places)]
    assert all(now_s <= at_s <= now_s + count * SLOT_S + 1e-6 for at_s in due)
    assert len(due) == 1 or abs(due[0] - due[1]) >= SLOT_S - 1e-6


@given(count=counts, place=st.integers(0, INSTANCES_MAX - 1), now_s=times)
def test_a_turn_is_taken_once(count: int, place: int, now_s: float) -> None:
    """Whoever asks again within its turn waits for the next."""
    turn = Turn(place=place % count, count=count)
    first = turn.after(now_s, last=-1)
    assert turn.after(turn.at_s(first), last=first) == first + 1


@pytest.mark.parametrize("count", [1, 2, 5, 16, INSTANCES_MAX])
@pytest.mark.parametrize("late_s", [0.0, 0.15])
def test_all_together_stay_under_the_limit(count: int, late_s: float) -> None:
    """Workers that ask whenever they may are never refused, each gets its share, and being late is allowed for."""

    async def main() -> None:
        loop = asyncio.get_running_loop()
        imds = Imds(loop.time)
        asked = [0] * count

        async def work(place: int) -> None:
            turns = Turns(Turn(place=place, count=count))
            events, metadata = EventsInTurns(imds, turns), MetadataInTurns(imds, turns)
            await metadata.identity(timeout_s=TIMEOUT_S)
            await events.acknowledge("e", timeout_s=TIMEOUT_S)
            while True:
                await events.poll(timeout_s=TIMEOUT_S)
                await asyncio.sleep(late_s * (asked[place] % 2))
                asked[place] += 1

        async with asyncio.TaskGroup() as tasks:
            workers = [tasks.create_task(work(place)) for place in range(count)]
            await asyncio.sleep(20 * count * SLOT_S)
            for worker in workers:
                worker.cancel()
        assert min(asked) >= 17
        assert imds.asked <= 21 * count

    with asyncio.Runner(loop_factory=lambda: looptime.new_event_loop(noop_cycles=0, idle_timeout=0)) as runner:
        runner.run(main())


def test_a_late_request_or_two_are_within_the_limit() -> None:
    """Even if every request of a second comes half a slot late or not, no second sees more than IMDS allows."""
    limit = RateLimit(per_s=IMDS_PER_S)
    for number in range(1000):
        limit, allowed = limit.take(number * SLOT_S + (number % 3) * SLOT_S / 2)
        assert allowed
