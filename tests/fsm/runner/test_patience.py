"""Services that ask to be left alone, or do not answer: how long a worker waits, and that a deadline cuts it short."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import timedelta

import pytest

from fsm.application import AppState
from fsm.backoff import RETRY_AFTER_S_MAX
from fsm.errors import ThrottledError
from fsm.handler import Job, Json
from fsm.record import Status
from fsm.runner import WorkerSettings
from simulator.network import REQUEST_LOST, REQUEST_RESET, Fault
from tests.fsm.runner.world import World, state_of, until, virtually

PATIENT = WorkerSettings(until_empty=True, idle_poll_s_max=1.0, visibility_timeout_s=60.0)
LONG_LEASE = WorkerSettings(idle_poll_s_max=1.0, visibility_timeout_s=3600.0)


def busy(retry_after_s: float) -> Fault:
    """A refusal that names a time."""
    return Fault(refused=ThrottledError("busy", retry_after_s=retry_after_s))


async def for_a_minute(job: Job) -> Json:
    """Long enough to be renewed, with a checkpoint each second."""
    for second in range(job.progress if isinstance(job.progress, int) else 0, 60):
        await asyncio.sleep(1.0)
        await job.checkpoint(second + 1)
    return None


class Refusing:
    """A world's faults: refuses one call of a name once, and notes when whatever is like it is asked."""

    def __init__(self, world: World, call: str, like: tuple[str, ...], fault: Fault) -> None:
        self._world = world
        self._call = call
        self._like = like
        self._fault = fault
        self.refused_s: float | None = None
        self.asked_s: list[float] = []

    def __call__(self, name: str) -> Fault | None:
        now_s = self._world.clock.monotonic_s()
        if self.refused_s is not None and name in self._like:
            self.asked_s.append(now_s)
        if self.refused_s is None and name == self._call:
            self.refused_s = now_s
            return self._fault
        return None

    @property
    def waited_s(self) -> float:
        assert self.refused_s is not None, f"{self._call} was never made"
        return self.asked_s[0] - self.refused_s


@pytest.mark.parametrize("asked_s", [0.0, 7.0, 3600.0])
@pytest.mark.parametrize(
    ("call", "like"),
    [
        ("queue.receive", ("queue.receive",)),
        ("store.write", ("store.write", "store.read")),
        ("queue.renew", ("queue.renew",)),
        ("queue.delete", ("queue.delete",)),
    ],
)
def test_a_service_is_left_alone_for_as_long_as_it_asks(call: str, like: tuple[str, ...], asked_s: float) -> None:
    """No call like the refused one is made before the time it named, or half a minute; and nothing is lost by it."""

    async def main() -> None:
        world = World(settings=PATIENT)
        refusing = Refusing(world, call, like, busy(asked_s))
        world.faults = refusing
        ids = world.enqueue(1)
        await world.start(for_a_minute).finish()
        least_s = min(asked_s, RETRY_AFTER_S_MAX)
        if call == "queue.renew":  # at half of the lease; and half of what is left goes by at most
            least_s = min(asked_s, PATIENT.visibility_timeout_s / 4)
        assert least_s <= refusing.waited_s <= least_s + 2.0
        assert world.statuses(ids) == [Status.DONE]

    virtually(main)


@pytest.mark.parametrize("notice_s", [2.0, 8.0, 30.0])
@pytest.mark.parametrize("since_s", [0.0, 1.5, 9.0])
@pytest.mark.parametrize("fault", [REQUEST_RESET, REQUEST_LOST, busy(3600.0)], ids=["refused", "silent", "busy"])
def test_a_store_in_trouble_does_not_keep_jobs_hidden(fault: Fault, since_s: float, notice_s: float) -> None:
    """However the store fails, and since when: before the deadline every job is handed back, visible at once."""

    async def main() -> None:
        world = World(settings=LONG_LEASE)
        world.enqueue(5)
        worker = world.start(for_a_minute)
        await asyncio.sleep(3.3)
        world.faults = lambda call: fault if call.startswith("store.") else None
        await asyncio.sleep(since_s)
        deadline_s = world.clock.monotonic_s() + notice_s
        world.vm.notify("e1", not_before=world.clock.now() + timedelta(seconds=notice_s))
        await until(lambda: state_of(worker) is AppState.DRAINED, within_s=60.0)
        assert world.clock.monotonic_s() < deadline_s + 0.01
        assert [entry.fields["pause_s"] for entry in world.of_kind("released")] == [0.0] * 5
        assert not world.rows("J16")
        await worker.kill()

    virtually(main)


@pytest.mark.parametrize("notice_s", [2.0, 8.0, 30.0])
def test_a_busy_queue_is_asked_again_before_the_deadline(notice_s: float) -> None:
    """A release that is refused for an hour is tried again while there is time, and comes through."""

    async def main() -> None:
        world = World(settings=LONG_LEASE)
        world.enqueue(1)
        worker = world.start(for_a_minute)
        await asyncio.sleep(3.3)
        refusals = iter(range(2))
        world.faults = lambda call: busy(3600.0) if call == "queue.renew" and next(refusals, None) is not None else None
        world.vm.notify("e1", not_before=world.clock.now() + timedelta(seconds=notice_s))
        await until(lambda: state_of(worker) is AppState.DRAINED, within_s=60.0)
        assert next(refusals, None) is None
        assert len(world.of_kind("released")) == 1
        await worker.kill()

    virtually(main)


def test_a_notice_cuts_a_long_pause_short() -> None:
    """A delivery that waits for a busy store when the notice comes does not sleep through it."""

    async def main() -> None:
        world = World(settings=replace(LONG_LEASE, concurrency=1))
        world.enqueue(1)
        worker = world.start(for_a_minute)
        await asyncio.sleep(3.3)
        world.faults = lambda call: busy(3600.0) if call.startswith("store.") else None
        await asyncio.sleep(2.0)
        world.faults = lambda _call: None
        before_s = world.clock.monotonic_s()
        world.vm.notify("e1", not_before=world.clock.now() + timedelta(seconds=8))
        await until(lambda: state_of(worker) is AppState.DRAINED, within_s=60.0)
        assert world.clock.monotonic_s() - before_s < 6.0
        (job,) = {str(entry.fields["job"]) for entry in world.of_kind("released")}
        assert world.record(job).status is Status.RELEASED
        assert world.record(job).progress == "4"
        await worker.kill()

    virtually(main)


def test_a_lease_that_runs_out_during_a_pause_ends_it_all() -> None:
    """A delivery that waited for a busy store until its lease was gone makes no call any more."""

    async def main() -> None:
        world = World(settings=replace(LONG_LEASE, visibility_timeout_s=20.0))
        world.enqueue(1)
        worker = world.start(for_a_minute)
        await asyncio.sleep(3.3)
        calls: list[str] = []

        def trouble(call: str) -> Fault | None:
            calls.append(call)
            return busy(3600.0) if call.startswith("store.") else REQUEST_RESET

        world.faults = trouble
        await until(lambda: bool(world.rows("J16")), within_s=60.0)
        calls.clear()
        await asyncio.sleep(RETRY_AFTER_S_MAX + 5.0)
        assert not {"store.read", "store.write", "queue.delete", "queue.renew"} & {*calls}
        assert calls
        await worker.kill()

    virtually(main)
