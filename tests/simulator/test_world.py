"""The world itself: the dead touch nothing, the frozen stand still, faults happen where they say."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from decimal import Decimal

import pytest

from fsm.ports import JobControl, JobInput, JobRunner, VmIdentity
from fsm.record import Status
from fsm.runner import WorkerSettings
from fsm.spot_vm import Policy, VmState
from simulator.loop import virtually
from simulator.market import Moment, squeezed
from simulator.network import REPLY_LOST, Fault
from simulator.process import Ending, Process
from simulator.scenario import Deed, OperatorPlan, Scenario, ScriptedEvent, VmPlan, WorkloadPlan
from simulator.simulation import simulate
from simulator.vm import SimulatedVm
from simulator.world import World


class Clinging(JobRunner):
    """A handler that will not let go, and tries to save on its way out."""

    def __init__(self) -> None:
        self.tried = 0

    async def run(self, job: JobInput, control: JobControl) -> str:
        try:
            await asyncio.sleep(1000.0)
        finally:
            self.tried += 1
            await control.checkpoint("77")
        return job.job_id

    async def close(self) -> None:
        """Nothing is left."""


def _vm() -> SimulatedVm:
    return SimulatedVm(
        VmIdentity(vm_id="id", name="vm-1", boot_id="boot", priority="Spot", eviction_policy="Deallocate")
    )


def test_the_dead_touch_nothing() -> None:
    """A killed process's `finally` blocks run, and reach neither the store, nor the queue, nor the journal."""

    async def main() -> None:
        world, handler = World(), Clinging()
        job = world.queues.put("jobs", "x")
        process = world.start(_vm(), lambda _whose: handler, WorkerSettings())
        await asyncio.sleep(5.0)
        before, lease = len(world.entries), world.queues.lease(job)
        await process.kill(Ending.EVICTED)
        await asyncio.sleep(500.0)
        assert handler.tried == 1
        assert world.store.look("jobs", job) is None
        assert world.queues.lease(job) == lease
        assert len(world.entries) == before

    virtually(main)


def test_the_dead_leave_no_task_behind() -> None:
    """Not one task of a killed worker lives on: a receive loop that does makes every eviction slow down the rest."""

    async def main() -> None:
        world = World()
        process = world.start(_vm(), lambda _whose: Clinging(), WorkerSettings())
        await asyncio.sleep(5.0)
        await process.kill()
        await asyncio.sleep(60.0)
        assert asyncio.all_tasks() == {asyncio.current_task()}

    virtually(main)


class Counting(JobRunner):
    """Counts virtual seconds."""

    def __init__(self) -> None:
        self.seconds = 0

    async def run(self, _job: JobInput, _control: JobControl) -> str:
        for _ in range(100):
            await asyncio.sleep(1.0)
            self.seconds += 1
        return "null"

    async def close(self) -> None:
        """Nothing is left."""


def test_a_frozen_process_stands_still_and_goes_on() -> None:
    """During a freeze neither handler nor worker moves, not even in the journal; afterwards both go on."""

    async def main() -> None:
        world, handler = World(), Counting()
        job = world.queues.put("jobs", "x")
        process = world.start(_vm(), lambda _whose: handler, WorkerSettings(visibility_timeout_s=60.0))
        await asyncio.sleep(10.5)
        process.life.freeze()
        seconds, entries = handler.seconds, len(world.entries)
        await asyncio.sleep(40.0)
        assert (handler.seconds, len(world.entries)) == (seconds, entries)
        process.life.thaw()
        await asyncio.sleep(120.0)
        record = world.store.look("jobs", job)
        assert record is not None
        assert record.status is Status.DONE
        await process.kill()

    virtually(main)


@pytest.mark.parametrize(("fault", "applied"), [("before", False), ("after", True)])
def test_a_kill_before_and_after_a_call_takes_effect(fault: str, *, applied: bool) -> None:
    """A process killed as it sends a write leaves no record; one killed when the write has arrived leaves it."""

    async def main() -> None:
        world = World()
        job = world.queues.put("jobs", "x")

        def kill(process: Process, call: str) -> Fault | None:
            if call != "store.write":
                return None
            if fault == "after":
                return replace(REPLY_LOST, arrived=process.die)
            process.die()
            return replace(REPLY_LOST, request_s=float("inf"))

        world.faults = kill
        process = world.start(_vm(), lambda _whose: Counting(), WorkerSettings())
        await asyncio.sleep(300.0)
        assert process.ending is Ending.DIED
        assert (world.store.look("jobs", job) is not None) is applied

    virtually(main)


PRICE = Decimal("0.04")


def _offers(moments: list[Moment]) -> list[tuple[float, Decimal, int | None]]:
    return [(moment.at_s, moment.price_usd_per_h, moment.capacity) for moment in moments]


@pytest.mark.parametrize(
    ("times", "expected"),
    [
        ([0.0], [(0.0, PRICE, None), (10.0, PRICE, 0), (20.0, PRICE, None)]),
        ([0.0, 10.0, 20.0], [(0.0, PRICE, None), (10.0, PRICE, 0), (20.0, PRICE, None)]),
        (
            [0.0, 15.0, 25.0],
            [(0.0, PRICE, None), (10.0, PRICE, 0), (15.0, PRICE, 0), (20.0, PRICE, None), (25.0, PRICE, None)],
        ),
    ],
)  # fmt: skip
def test_a_drought_is_a_stretch_without_capacity(
    times: list[float], expected: list[tuple[float, Decimal, int | None]]
) -> None:
    """Whatever the market's own moments are, the stretch begins and ends when it should."""
    moments = (Moment(at_s=at_s, price_usd_per_h=PRICE) for at_s in times)
    assert _offers(list(squeezed(moments, from_s=10.0, until_s=20.0))) == expected


def test_a_deleted_vm_comes_back_as_another() -> None:
    """Under policy Delete each eviction ends in Deleted, and the next deployment has a new vmId: rows E3 and D1."""
    scenario = Scenario(
        vms=(VmPlan(policy=Policy.DELETE, boot_s=1.0),),
        operator=OperatorPlan(first_pause_s=5.0),
        workload=WorkloadPlan(jobs=1, service_s=300.0),
        script=(ScriptedEvent(at_s=100.0, do=Deed.EVICT, lasts_s=30.0),),
    )
    result = simulate(scenario, 0)
    assert result.ok
    states = [(span.state, span.row) for span in result.vms]
    assert states == [(VmState.RUNNING, "D1"), (VmState.DELETED, "E3"), (VmState.RUNNING, "D1")]
    assert any('"origin": "recreated"' in line for line in result.journal)


def test_spans_and_histories_tell_the_run() -> None:
    """A result holds what a report draws: who ran when, what was saved, what was taken, and what was paid."""
    scenario = Scenario(
        vms=(VmPlan(announced=1.0, notice_s_min=20.0),),
        workload=WorkloadPlan(jobs=3, service_s=300.0, checkpoint_every_s=30.0),
        script=(ScriptedEvent(at_s=150.0, do=Deed.EVICT, lasts_s=60.0, notice_s=20.0),),
    )
    result = simulate(scenario, 0)
    assert result.ok
    for job in result.jobs:
        first, second = job.runs
        assert first.end is not None
        assert first.end.value == "interrupted"
        assert second.resumed_from == first.checkpoints[-1][1]
        assert second.to_s == job.settled_s
    assert [mark.kind for mark in result.marks if mark.kind == "notice"] == ["notice"]
    assert {span.state.value for span in result.applications} >= {"Processing", "Drained"}
    assert result.market[0].price_usd_per_h == Decimal("0.04")
    assert all(result.promises.values())
