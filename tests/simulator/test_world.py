"""The world itself: the dead touch nothing, the frozen stand still, faults happen where they say."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import replace
from decimal import Decimal
from importlib.resources import files
from itertools import pairwise

import pytest

from fsm.errors import ConfigurationError, HandlerFailedError, ReplyLostError
from fsm.ports import InstanceMetadata, JobControl, JobInput, JobRunner, VmIdentity
from fsm.promises import Promise
from fsm.record import Record, Status
from fsm.runner import Ports, Tally, Worker, WorkerSettings
from fsm.spot_vm import Policy, VmState
from simulator.journal import Entry
from simulator.loop import virtually
from simulator.market import Moment, squeezed
from simulator.network import REPLY_LOST, Fault
from simulator.observing import Observer, Run
from simulator.platform import RESTART_WORKER_S
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
        before, lease = len(world.journal.lines), world.queues.lease(job)
        await process.kill(Ending.EVICTED)
        await asyncio.sleep(500.0)
        assert handler.tried == 1
        assert world.store.look("jobs", job) is None
        assert world.queues.lease(job) == lease
        assert len(world.journal.lines) == before

    virtually(main)


class Haunting(JobRunner):
    """Saves twice; once its process is dead it tries again from `finally`, later, and from a task of its own."""

    def __init__(self) -> None:
        self.tried = 0

    async def run(self, job: JobInput, control: JobControl) -> str:
        done = int(job.progress or 0)
        if job.text == "bad":
            raise HandlerFailedError("bad")
        try:
            for number in range(done, 2):
                await asyncio.sleep(3.0)
                await control.checkpoint(str(number + 1))
        except BaseException:
            self.tried += 1
            haunting = asyncio.ensure_future(self._again(control))
            with suppress(BaseException):
                await self._again(control)
            with suppress(BaseException):
                await haunting
            raise
        return "2"

    async def _again(self, control: JobControl) -> None:
        for _ in range(3):
            with suppress(BaseException):
                await control.checkpoint("77")
            await asyncio.sleep(5.0)

    async def close(self) -> None:
        """Nothing is left."""


class Effects(Observer):
    """When anything in the world was changed, and when anything was sent or journaled."""

    def __init__(self) -> None:
        self.at_s: list[float] = []
        self.calls = 0

    def _note(self) -> None:
        self.at_s.append(asyncio.get_running_loop().time())

    def sent(self, _process: Process, _call: str) -> None:
        self.calls += 1
        self._note()

    def delivered(self, _message_id: str, _dequeue_count: int) -> None:
        self._note()

    def deleted(self, _message_id: str) -> None:
        self._note()

    def put_aside(self, _message_id: str) -> None:
        self._note()

    def written(self, _message_id: str, _before: Record | None, _after: Record) -> None:
        self._note()

    def noted(self, _entry: Entry) -> None:
        self._note()

    def acknowledged(self, _process: Process, _event_id: str) -> None:
        self._note()

    def run_began(self, _run: Run) -> None:
        self._note()


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
def test_the_dead_touch_nothing_wherever_they_were_killed(*, after: bool) -> None:
    """Killed before or after the effect of any of its calls, a process changes nothing from that moment on.

    There are calls of every kind among them: receives, renewals, releases, deletes, puts, writes, polls and an
    acknowledgement; and the handlers' `finally` blocks, and the tasks that they started, try to write again.
    """
    haunting: list[int] = []
    while _haunted(len(haunting), haunting, after=after):
        pass
    assert len(haunting) > 40
    assert sum(haunting) > 20, "handlers were there to try"


def _haunted(number: int, haunting: list[int], *, after: bool) -> bool:
    """Kill a process at a call, and note how many handlers tried to go on; whether it came to make so many calls."""

    async def main() -> bool:
        effects, handler = Effects(), Haunting()
        world, vm = World(observers=[effects]), _vm()
        for text in ("good", "good", "bad"):
            world.queues.put("jobs", text)
        died_s: list[float] = []

        def kill(process: Process, _call: str) -> Fault | None:
            def now() -> None:
                died_s.append(world.clock.monotonic_s())
                process.die()

            if effects.calls != number + 1 or died_s:
                return None
            if after:
                return replace(REPLY_LOST, arrived=now)
            now()
            return replace(REPLY_LOST, request_s=float("inf"))

        world.faults = kill
        settings = WorkerSettings(visibility_timeout_s=5.0, acknowledge=True, retry_pause_s=1.0)
        process = world.start(vm, lambda _whose: handler, settings)
        asyncio.get_running_loop().call_later(30.0, lambda: vm.notify("event-1"))
        await asyncio.sleep(40.0)
        if not died_s:
            assert vm.acknowledged == ["event-1"]
            assert not world.queues.length("jobs"), "all was done"
            await process.kill()
            return False
        await asyncio.sleep(300.0)
        assert max(effects.at_s) <= died_s[0]
        haunting.append(handler.tried)
        return True

    return virtually(main)


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
        seconds, entries = handler.seconds, len(world.journal.lines)
        await asyncio.sleep(40.0)
        assert (handler.seconds, len(world.journal.lines)) == (seconds, entries)
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


class _SilentMetadata(InstanceMetadata):
    """Instance metadata that does not answer before a certain time."""

    def __init__(self, real: InstanceMetadata, until_s: float) -> None:
        self._real = real
        self._until_s = until_s

    async def identity(self, *, timeout_s: float) -> VmIdentity:
        if asyncio.get_running_loop().time() < self._until_s:
            await asyncio.sleep(timeout_s)
            raise ReplyLostError("no reply")
        return await self._real.identity(timeout_s=timeout_s)


def test_a_worker_that_gave_up_on_instance_metadata_is_started_again() -> None:
    """It gives up after five minutes, exit code 2; its unit starts it anew until there is an answer."""
    started_s: list[float] = []

    def make_worker(ports: Ports, settings: WorkerSettings) -> Worker:
        started_s.append(ports.clock.monotonic_s())
        return Worker(replace(ports, metadata=_SilentMetadata(ports.metadata, 700.0)), settings)

    result = simulate(Scenario(workload=WorkloadPlan(jobs=1)), 0, make_worker=make_worker)
    assert result.ok, result.violations
    assert len(started_s) == 3
    assert all(after_s - before_s > 300.0 + RESTART_WORKER_S for before_s, after_s in pairwise(started_s))


def test_a_worker_is_started_again_as_its_unit_says() -> None:
    """The world's pause before a restart is the unit's own, and nothing but a stop keeps it from it."""
    unit = (files("adapters.host") / "deploy" / "spotfsm-worker.service").read_text(encoding="utf-8").splitlines()
    assert f"RestartSec={RESTART_WORKER_S:g}" in unit
    assert "Restart=always" in unit


@pytest.mark.parametrize(("setting", "after_s"), [("--queue", 400.0), ("--imds", 20.0)])
def test_a_worker_gives_up_on_nothing_else(setting: str, after_s: float) -> None:
    """To give up on a queue that is there, or on instance metadata too soon, breaks a promise, restart or not."""

    class Hasty(Worker):
        async def run(self) -> Tally:
            await asyncio.sleep(after_s)
            raise ConfigurationError(setting, "it does not work", "Try another one.")

    result = simulate(Scenario(workload=WorkloadPlan(jobs=1)), 0, make_worker=Hasty)
    assert [violation.promise for violation in result.violations] == [Promise.ALWAYS_COMES_BACK]
    assert "gave up" in result.violations[0].what
