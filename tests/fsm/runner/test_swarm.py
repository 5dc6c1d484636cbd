"""Swarms of evictions and faults, drawn from one seed: a phase with them, then a phase without.

Each seed draws its own mix. `SWARM_SEEDS=1000-1999 pytest tests/fsm/runner/test_swarm.py` runs other seeds; a failing
one says how it is replayed.
"""

from __future__ import annotations

import asyncio
import os
from collections import Counter
from dataclasses import dataclass, field
from datetime import timedelta
from random import Random

import pytest

from fsm.application import AppState
from fsm.handler import Job, Json
from fsm.ports import Message
from fsm.record import Record, Status
from fsm.runner import WorkerSettings
from simulator.network import REPLY_LOST, REPLY_RESET, REQUEST_LOST, REQUEST_RESET, Fault
from simulator.store import SimulatedStoreService
from simulator.vm import SimulatedVm
from tests.fsm.runner.world import QUEUE, Process, World, state_of, virtually

CALM_S_MAX = 20_000.0
"""In the phase without faults, everything must be over within this."""


def _seeds() -> list[int]:
    first, _, last = os.environ.get("SWARM_SEEDS", "0-59").partition("-")
    return list(range(int(first), int(last or first) + 1))


class ObservedStore(SimulatedStoreService):
    """Checks every write that takes effect against the promises on records."""

    def write(self, queue: str, message_id: str, record: Record, *, expected: str | None) -> str:
        before = self.read(queue, message_id)
        version = super().write(queue, message_id, record, expected=expected)
        if before is not None:
            old = before.record
            assert old.status not in (Status.DONE, Status.POISONED), f"{message_id}: a terminal record was overwritten"
            assert record.epoch >= old.epoch, f"{message_id}: epoch went back from {old.epoch} to {record.epoch}"
            if record.epoch == old.epoch:
                assert record.owner == old.owner, f"{message_id}: two owners of epoch {record.epoch}"
            assert int(record.progress or 0) >= int(old.progress or 0), f"{message_id}: progress went back"
        return version


@dataclass(slots=True)
class Swarm:
    """One seed's mix, and what it found."""

    seed: int
    random: Random = field(init=False)
    fault_share: float = field(init=False)
    failing_share: float = field(init=False)
    steps: int = field(init=False)
    step_s: float = field(init=False)
    settings: WorkerSettings = field(init=False)

    def __post_init__(self) -> None:
        draw = self.random = Random(self.seed)
        self.fault_share = draw.choice([0.0, 0.02, 0.1, 0.3])
        self.failing_share = draw.choice([0.0, 0.0, 0.05])
        self.steps = draw.randint(1, 8)
        self.step_s = draw.choice([0.05, 1.0, 10.0, 40.0])
        self.settings = WorkerSettings(
            concurrency=draw.choice([1, 3, 16]),
            visibility_timeout_s=draw.choice([5.0, 20.0, 60.0]),
            idle_poll_s_max=draw.choice([0.5, 5.0]),
            call_timeout_s=draw.choice([1.0, 10.0]),
            acknowledge=draw.random() < 0.3,
        )

    def fault(self, _call: str) -> Fault | None:
        if self.random.random() >= self.fault_share:
            return None
        return self.random.choice(
            [
                REQUEST_LOST,
                REPLY_LOST,
                REQUEST_RESET,
                REPLY_RESET,
                Fault(request_s=self.random.uniform(0.0, 30.0)),
                Fault(reply_s=self.random.uniform(0.0, 30.0)),
            ]
        )

    async def handler(self, job: Job) -> Json:
        for step in range(int(str(job.progress or 0)), self.steps):
            await asyncio.sleep(self.step_s * self.random.uniform(0.5, 1.5))
            if self.random.random() < self.failing_share:
                raise ValueError("drawn to fail")
            await job.checkpoint(step + 1)
        return self.steps


async def _haunt(swarm: Swarm, world: World, vm: SimulatedVm, until_s: float) -> None:
    """Start workers on one VM and take them away, one after the other, until the time is over."""
    turn = 0
    while world.clock.monotonic_s() < until_s:
        turn += 1
        process = world.start(swarm.handler, vm=vm, settings=swarm.settings)
        await asyncio.sleep(swarm.random.expovariate(1 / 60))
        match swarm.random.choice(["kill", "evict", "notice", "notice", "early", "withdraw", "stop", "twice"]):
            case "kill":
                await process.kill()
            case "evict":
                await process.kill()
                world.reboot(vm)
            case "notice" | "early" as how:
                notice_s = swarm.random.choice([0.0, 2.0, 8.0, 30.0])
                vm.notify(f"e{turn}", not_before=world.clock.now() + timedelta(seconds=notice_s))
                await asyncio.sleep(notice_s * (swarm.random.random() if how == "early" else 1.0))
                await process.kill()
                world.reboot(vm)
            case "withdraw":
                vm.notify(f"e{turn}", started=swarm.random.random() < 0.5)
                await asyncio.sleep(swarm.random.uniform(0.0, 40.0))
                vm.withdraw(f"e{turn}")
                await asyncio.sleep(swarm.random.uniform(0.0, 60.0))
                await process.kill()
            case "stop":
                await _stop(process)
            case _:
                second = world.start(swarm.handler, vm=World.new_vm(f"{vm.identity.vm_id}-twin", name=f"twin{turn}"))
                await asyncio.sleep(swarm.random.uniform(0.0, 60.0))
                await process.kill()
                await second.kill()
        await asyncio.sleep(swarm.random.choice([0.0, 1.0, 90.0]))


async def _stop(process: Process) -> None:
    """SIGTERM, and SIGKILL for whoever does not listen."""
    process.signals.send("SIGTERM")
    await asyncio.wait([process.task], timeout=40)
    await process.kill()


def _check_no_work_after_notice(world: World) -> None:
    """No receive is sent and no job begins between a reclaiming notice and the return to work."""
    draining: set[str] = set()
    for entry in world.entries:
        if entry.kind == "notice" and entry.fields["severity"] == "reclaim":
            draining.add(entry.process)
        if entry.kind == "row" and entry.fields["machine"] == "application" and entry.fields["to"] == "Processing":
            draining.discard(entry.process)
        if entry.process in draining:
            assert entry.kind != "receive", entry
            assert not (entry.kind == "row" and entry.fields["row"] in {"J6", "J7", "J8"}), entry


def _check_drained_in_time(world: World) -> None:
    """Every drain that was not cut short by a kill ends by its deadline, calls in flight included."""
    deadline_s: dict[str, float] = {}
    for entry in world.entries:
        if entry.kind == "notice" and entry.fields["left_s"] is not None:
            left_s = max(1.0, float(str(entry.fields["left_s"])))
            deadline_s[entry.process] = min(entry.at_s + left_s, deadline_s.get(entry.process, float("inf")))
        if entry.kind == "row" and entry.fields["row"] == "A26" and entry.process in deadline_s:
            assert entry.at_s <= deadline_s.pop(entry.process) + 0.2, entry
        if entry.kind == "row" and entry.fields["row"] in {"A28", "A31"}:
            deadline_s.pop(entry.process, None)


@pytest.mark.parametrize("seed", _seeds(), ids=lambda seed: f"seed-{seed}")
def test_swarm(seed: int) -> None:
    """Whatever a seed draws: nothing lost, nothing recorded twice, progress never back, and it always comes back."""

    async def main() -> None:
        swarm = Swarm(seed=seed)
        world = World(random=Random(seed + 1))
        world.store = ObservedStore(clock=world.clock, exists=True)
        world.faults = swarm.fault
        ids = world.enqueue(swarm.random.randint(1, 30))
        vms = [World.new_vm(f"vm-id-{n}", name=f"vm-{n}") for n in range(swarm.random.randint(1, 3))]
        async with asyncio.TaskGroup() as hauntings:
            for vm in vms:
                hauntings.create_task(_haunt(swarm, world, vm, until_s=600.0))

        world.faults = lambda _call: None
        calm = World.new_vm("vm-id-calm", name="vm-calm")
        settings = WorkerSettings(until_empty=True, concurrency=16, idle_poll_s_max=5.0)
        async with asyncio.timeout(CALM_S_MAX):
            last = world.start(swarm.handler, vm=calm, settings=settings)
            await last.finish()
        assert state_of(last) is AppState.OFFLINE

        assert world.left() == 0
        statuses = Counter(world.statuses(ids))
        assert set(statuses) <= {Status.DONE, Status.POISONED}
        poisoned = [job for job in ids if world.record(job).status is Status.POISONED]
        bodies = {m.message_id for m in _drain_poison(world)}
        assert len(bodies) >= len(poisoned), "a poisoned job's message is not on the poison queue"
        for job in poisoned:
            assert world.record(job).counts.budget_spent, f"{job} was poisoned without a spent budget"
        if swarm.failing_share == 0.0:
            assert all(world.record(job).counts.failures == 0 for job in ids)
        recorded = Counter(entry.fields["job"] for entry in world.rows("J21"))
        assert set(recorded.values()) <= {1}
        _check_no_work_after_notice(world)
        if swarm.fault_share == 0.0:
            _check_drained_in_time(world)

    try:
        virtually(main)
    except BaseException as exc:
        exc.add_note(f"replay: SWARM_SEEDS={seed}-{seed} pytest tests/fsm/runner/test_swarm.py")
        raise


def _drain_poison(world: World) -> list[Message]:
    found: list[Message] = []
    while page := world.queues.receive(f"{QUEUE}-poison", max_messages=32, visibility_timeout_s=1e6):
        found.extend(page)
    return found
