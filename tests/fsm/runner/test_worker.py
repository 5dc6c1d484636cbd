"""The worker under virtual time: what it does when nothing, and when everything, goes wrong."""

from __future__ import annotations

import asyncio
import gc
import json
from collections import Counter
from dataclasses import replace
from datetime import timedelta
from functools import partial

import pytest

from fsm.application import AppState
from fsm.errors import Evicted
from fsm.handler import Job, Json
from fsm.notices import EventsDocument
from fsm.record import FAILURES_MAX, Status
from fsm.runner import WorkerSettings
from simulator.network import REPLY_LOST, REPLY_RESET, REQUEST_LOST, REQUEST_RESET, Fault
from tests.fsm.runner.world import QUEUE, Process, World, state_of, until, virtually

STEPS = 10
FOREVER = WorkerSettings(idle_poll_s_max=1.0)
FAST = WorkerSettings(until_empty=True, idle_poll_s_max=1.0, visibility_timeout_s=20.0)


async def at_once(_job: Job) -> Json:
    return {"done": True}


class Stepper:
    """A handler of `STEPS` steps of a second, each followed by a checkpoint; counts what it did."""

    def __init__(self, *, step_s: float = 1.0) -> None:
        self.step_s = step_s
        self.steps: Counter[tuple[str, int]] = Counter()
        self.began: Counter[str] = Counter()

    async def __call__(self, job: Job) -> Json:
        self.began[job.id] += 1
        start = job.progress if isinstance(job.progress, int) else 0
        for step in range(start, STEPS):
            await asyncio.sleep(self.step_s)
            self.steps[job.id, step] += 1
            await job.checkpoint(step + 1)
        return {"steps": STEPS}


def test_every_job_is_completed_once() -> None:
    """With nothing going wrong, each message is recorded done once, deleted, and run once."""

    async def main() -> None:
        world, stepper = World(settings=FAST), Stepper()
        ids = world.enqueue(50)
        tally = await world.start(stepper).finish()
        assert set(world.statuses(ids)) == {Status.DONE}
        assert world.left() == 0
        assert set(stepper.steps.values()) == {1}
        assert (tally.completed, tally.begun, tally.checkpoints) == (50, 50, 50 * STEPS)

    virtually(main)


def test_without_a_store_every_message_is_worked_and_deleted() -> None:
    """Without a store a worker still completes everything, by the queue alone."""

    async def main() -> None:
        world, stepper = World(settings=FAST, stored=False), Stepper()
        world.enqueue(20)
        tally = await world.start(stepper).finish()
        assert tally.completed == 20
        assert world.left() == 0

    virtually(main)


def test_a_short_job_costs_one_store_write() -> None:
    """A first delivery claims with its first write, which is its done mark."""

    async def main() -> None:
        world = World(settings=FAST)
        calls: Counter[str] = Counter()

        def count(call: str) -> Fault | None:
            calls[call] += 1
            return None

        world.faults = count
        world.enqueue(30)
        await world.start(at_once).finish()
        assert calls["store.write"] == 30
        assert calls["store.read"] == 0
        assert calls["queue.delete"] == 30

    virtually(main)


def test_a_killed_job_resumes_at_its_last_checkpoint() -> None:
    """A kill without notice costs at most the step that was not saved; the death is counted as an eviction."""

    async def main() -> None:
        world, stepper = World(settings=FAST), Stepper()
        (job,) = world.enqueue(1)
        victim = world.start(stepper)
        await asyncio.sleep(4.5)
        await victim.kill()
        world.reboot(world.vm)
        await world.start(stepper).finish()
        assert world.record(job).status is Status.DONE
        assert world.record(job).counts.evictions == 1
        assert world.record(job).counts.deaths == 0
        redone = sum(times - 1 for times in stepper.steps.values())
        assert redone == 0
        assert stepper.began[job] == 2

    virtually(main)


def test_a_dead_process_is_told_from_an_evicted_vm() -> None:
    """Same boot and another process is a death; it spends budget only until there is progress."""

    async def main() -> None:
        world, stepper = World(settings=FAST), Stepper()
        (job,) = world.enqueue(1)
        victim = world.start(stepper)
        await asyncio.sleep(2.5)
        await victim.kill()
        await world.start(stepper).finish()
        counts = world.record(job).counts
        assert (counts.deaths, counts.evictions, counts.fruitless_deaths) == (1, 0, 0)

    virtually(main)


@pytest.mark.parametrize("notice_s", [0.0, 2.0, 8.0, 30.0])
def test_a_notice_drains_in_time_and_releases_at_once(notice_s: float) -> None:
    """After a notice nothing is received or begun, and what was running can be received again at once."""

    async def main() -> None:
        world, stepper = World(settings=FOREVER), Stepper()
        ids = world.enqueue(40)
        worker = world.start(stepper)
        await asyncio.sleep(3.2)
        world.vm.notify("e1", not_before=world.clock.now() + timedelta(seconds=notice_s))
        await until(lambda: state_of(worker) is AppState.DRAINED, within_s=max(3.0, notice_s) + 1.5)
        noticed = world.entries.index(world.of_kind("notice")[0])
        after = world.entries[noticed:]
        assert not [e for e in after if e.kind == "receive"]
        assert not [e for e in after if e.kind == "row" and e.fields["row"] in {"J6", "J7", "J8"}]
        visible = [m.message_id for m in world.queues.receive(QUEUE, max_messages=32, visibility_timeout_s=1)]
        visible += [m.message_id for m in world.queues.receive(QUEUE, max_messages=32, visibility_timeout_s=1)]
        assert len(visible) == world.left()
        await worker.kill()
        world.reboot(world.vm)
        await world.start(stepper, settings=FAST).finish()
        assert set(world.statuses(ids)) == {Status.DONE}
        assert sum(times - 1 for times in stepper.steps.values()) <= (40 if notice_s == 0 else 0)

    virtually(main)


def test_a_withdrawn_notice_sends_the_worker_back_to_work() -> None:
    """Drained by a notice that then vanishes, the worker resumes by itself and finishes everything."""

    async def main() -> None:
        world, stepper = World(settings=FAST), Stepper()
        ids = world.enqueue(12)
        worker = world.start(stepper)
        await asyncio.sleep(2.2)
        world.vm.notify("e1", not_before=world.clock.now() + timedelta(seconds=30))
        await until(lambda: state_of(worker) is AppState.DRAINED)
        world.vm.withdraw("e1")
        await worker.finish()
        assert set(world.statuses(ids)) == {Status.DONE}
        assert world.rows("A31")
        assert [e.fields["origin"] for e in world.of_kind("origin")] == ["fresh", "resumed"]

    virtually(main)


def test_a_notice_withdrawn_during_the_drain_leads_back_to_work() -> None:
    """The drain is finished first, then work resumes (row A28)."""

    async def main() -> None:
        world, slow = World(settings=FAST), Stepper(step_s=5.0)
        ids = world.enqueue(3)
        worker = world.start(slow)
        await asyncio.sleep(5.5)
        world.vm.notify("e1", not_before=world.clock.now() + timedelta(seconds=30))
        await until(lambda: state_of(worker) is AppState.EVICTED)
        world.vm.withdraw("e1")
        await worker.finish()
        assert world.rows("A34")
        assert world.rows("A28")
        assert set(world.statuses(ids)) == {Status.DONE}

    virtually(main)


def test_a_notice_for_another_vm_is_nothing() -> None:
    """Documents are broadcast to a whole set: only this VM's name counts."""

    async def main() -> None:
        world, stepper = World(settings=FAST), Stepper()
        ids = world.enqueue(4)
        other = world.new_vm(name="vm-other")
        other.notify("e1")
        world.vm.document = other.document
        await world.start(stepper).finish()
        assert set(world.statuses(ids)) == {Status.DONE}
        assert not world.of_kind("notice")

    virtually(main)


@pytest.mark.parametrize("kind", ["SpotRebalanceRecommendation", "Freeze", "SomethingNew"])
def test_advice_stops_nothing_and_asks_for_an_early_checkpoint(kind: str) -> None:
    """A freeze, a rebalance recommendation and an unknown event are told to handlers, and the work goes on."""

    async def main() -> None:
        world = World(settings=FAST)
        told: list[bool] = []

        async def handler(job: Job) -> Json:
            for _ in range(5):
                await asyncio.sleep(1)
                told.append(job.checkpoint_soon)
            return None

        ids = world.enqueue(1)
        worker = world.start(handler)
        await asyncio.sleep(2.5)
        world.vm.notify("e1", kind)
        await worker.finish()
        assert world.statuses(ids) == [Status.DONE]
        assert told[0] is False
        assert told[-1] is True
        assert not world.rows("A20")

    virtually(main)


def test_a_freeze_extends_leases_past_the_pause() -> None:
    """A lease renewed under a pending freeze outlasts it."""

    async def main() -> None:
        world = World(settings=FAST)

        async def handler(_job: Job) -> Json:
            await asyncio.sleep(60)
            return None

        world.enqueue(1)
        worker = world.start(handler)
        await asyncio.sleep(2)
        world.vm.notify("e1", "Freeze")
        await asyncio.sleep(3)
        renewed = world.of_kind("renewed")
        assert renewed
        assert renewed[0].at_s < 5
        assert not world.queues.receive(QUEUE, max_messages=1, visibility_timeout_s=1)
        await worker.finish()

    virtually(main)


def test_five_failures_poison_a_job_with_its_error() -> None:
    """A job that always fails is tried five times, then set aside with its body and its error."""

    async def main() -> None:
        world = World(settings=FAST)

        async def broken(_job: Job) -> Json:
            raise ValueError("no such page")

        (job,) = world.enqueue(1, text='{"book": 1}')
        tally = await world.start(broken).finish()
        assert tally.begun == FAILURES_MAX
        assert world.record(job).status is Status.POISONED
        (message,) = world.queues.receive(f"{QUEUE}-poison", max_messages=1, visibility_timeout_s=1)
        envelope = json.loads(message.text)
        assert envelope["job_id"] == job
        assert envelope["body"] == '{"book": 1}'
        assert "no such page" in envelope["error"]
        assert world.left() == 0

    virtually(main)


def test_evictions_never_poison_a_job() -> None:
    """Twenty evictions in a row, half of them announced, spend nothing of a job's budget."""

    async def main() -> None:
        world, slow = World(settings=FOREVER), Stepper(step_s=100.0)
        (job,) = world.enqueue(1)
        for turn in range(20):
            worker = world.start(slow, settings=FOREVER)
            await until(partial(lambda began: slow.began[job] == began, turn + 1))
            if turn % 2:
                world.vm.notify(f"e{turn}", not_before=world.clock.now() + timedelta(seconds=8))
                await until(partial(lambda drained: state_of(drained) is AppState.DRAINED, worker))
            await worker.kill()
            world.reboot(world.vm)
        await world.start(Stepper(step_s=0.1), settings=FAST).finish()
        record = world.record(job)
        assert record.status is Status.DONE
        assert (record.counts.failures, record.counts.deaths) == (0, 0)

    virtually(main)


def test_a_job_that_kills_its_worker_is_poisoned() -> None:
    """Ten deaths without progress set a job aside; the other jobs get done."""

    async def main() -> None:
        world = World(settings=WorkerSettings(until_empty=True, visibility_timeout_s=5.0, concurrency=1))
        processes: list[Process] = []

        async def handler(job: Job) -> Json:
            if job.text == "killer":
                processes[-1].life.dead = True
                await asyncio.sleep(3600)
            return None

        (killer,) = world.enqueue(1, text="killer")
        good = world.enqueue(3)
        for _ in range(14):
            processes.append(world.start(handler))
            await asyncio.wait([processes[-1].task], timeout=30)
            await processes[-1].kill()
        assert world.record(killer).status is Status.POISONED
        assert set(world.statuses(good)) == {Status.DONE}
        assert world.poison() == 1
        assert world.left() == 0

    virtually(main)


CALLS = [
    "queue.receive", "queue.renew", "queue.delete", "queue.put", "store.read", "store.write", "store.read_presence",
    "store.confirm_deleted", "events.poll", "queue.length", "store.write_presence", "metadata.identity",
]  # fmt: skip
FAULTS = {
    "request lost": REQUEST_LOST,
    "reply lost": REPLY_LOST,
    "request reset": REQUEST_RESET,
    "reply reset": REPLY_RESET,
    "late": Fault(request_s=15.0),
}


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("stored", [True, False], ids=["store", "no store"])
def test_any_call_may_fail_in_any_way(call: str, fault: str, *, stored: bool) -> None:
    """Every third call of one kind goes wrong in one way, and yet nothing is lost or recorded twice."""

    async def main() -> None:
        world, stepper = World(settings=FAST, stored=stored), Stepper()
        seen: Counter[str] = Counter()

        def every_third(name: str) -> Fault | None:
            seen[name] += 1
            return FAULTS[fault] if name == call and seen[name] % 3 == 2 else None

        world.faults = every_third
        ids = world.enqueue(15)
        await world.start(stepper).finish()
        assert world.left() == 0
        if stored:
            assert set(world.statuses(ids)) == {Status.DONE}
            done = Counter(entry.fields["job"] for entry in world.rows("J21"))
            assert set(done.values()) <= {1}

    virtually(main)


def test_while_the_store_is_out_of_reach_nothing_is_received() -> None:
    """A store outage stops receiving; when the store answers again, work goes on by itself."""

    async def main() -> None:
        world, stepper = World(settings=FAST), Stepper(step_s=0.2)
        ids = world.enqueue(60)
        worker = world.start(stepper)
        await asyncio.sleep(1.0)
        world.faults = lambda call: REQUEST_RESET if call.startswith("store.") else None
        await asyncio.sleep(60.0)
        outage = [e for e in world.of_kind("receive") if 15.0 < e.at_s < 60.0]
        assert not outage
        world.faults = lambda _call: None
        await worker.finish()
        assert set(world.statuses(ids)) == {Status.DONE}

    virtually(main)


def test_an_imds_error_is_never_no_event() -> None:
    """A notice followed by a silent IMDS still holds: the worker stays drained."""

    async def main() -> None:
        world, stepper = World(settings=FOREVER), Stepper()
        world.enqueue(4)
        worker = world.start(stepper)
        await asyncio.sleep(2.5)
        world.vm.notify("e1", not_before=world.clock.now() + timedelta(seconds=10))
        await until(lambda: state_of(worker) is AppState.DRAINED)
        world.faults = lambda call: REQUEST_RESET if call.startswith("events.") else None
        world.vm.withdraw("e1")
        await asyncio.sleep(120)
        assert state_of(worker) is AppState.DRAINED
        world.faults = lambda _call: None
        await until(lambda: state_of(worker) is AppState.PROCESSING)
        await worker.kill()

    virtually(main)


def test_a_slow_poll_does_not_hide_the_next() -> None:
    """The first call may hang for two minutes; a notice that comes meanwhile is seen within seconds."""

    async def main() -> None:
        world, stepper = World(settings=FOREVER), Stepper()
        world.enqueue(4)
        polls: Counter[str] = Counter()

        def first_hangs(call: str) -> Fault | None:
            polls[call] += 1
            return Fault(request_s=100.0) if call == "events.poll" and polls[call] == 1 else None

        world.faults = first_hangs
        worker = world.start(stepper)
        await asyncio.sleep(2.5)
        world.vm.notify("e1", not_before=world.clock.now() + timedelta(seconds=10))
        await until(lambda: state_of(worker) in (AppState.EVICTED, AppState.DRAINED), within_s=2.0)
        await worker.kill()

    virtually(main)


def test_an_older_answer_that_comes_late_withdraws_nothing() -> None:
    """Replies are taken in the order of their questions."""

    async def main() -> None:
        world, stepper = World(settings=FOREVER), Stepper()
        worker = world.start(stepper)
        await asyncio.sleep(2.5)
        slow = True

        def slow_once(call: str) -> Fault | None:
            nonlocal slow
            if call == "events.poll" and slow:
                slow = False
                return Fault(reply_s=1.8)
            return None

        world.faults = slow_once
        await asyncio.sleep(1.0)
        world.vm.notify("e1")
        await asyncio.sleep(6.0)
        assert not world.of_kind("notice_gone")
        assert state_of(worker) is AppState.DRAINED
        await worker.kill()

    virtually(main)


def test_sigterm_drains_and_ends() -> None:
    """SIGTERM hands everything back and ends the process; the next worker resumes, and nothing counts as a failure."""

    async def main() -> None:
        world, stepper = World(settings=FOREVER), Stepper()
        ids = world.enqueue(10)
        worker = world.start(stepper)
        await asyncio.sleep(2.5)
        worker.signals.send("SIGTERM")
        tally = await worker.finish()
        assert tally.released == 8
        await world.start(stepper, settings=FAST).finish()
        assert set(world.statuses(ids)) == {Status.DONE}
        assert all(world.record(job).counts.deaths == 0 for job in ids)
        assert sum(world.record(job).counts.stops for job in ids) == 8

    virtually(main)


def test_a_second_sigint_stops_at_once() -> None:
    """The first Ctrl-C waits for checkpoints, the second one does not; nothing is lost by either."""

    async def main() -> None:
        world, slow = World(settings=FOREVER), Stepper(step_s=20.0)
        ids = world.enqueue(3)
        worker = world.start(slow)
        await asyncio.sleep(1.0)
        worker.signals.send("SIGINT")
        await asyncio.sleep(1.0)
        assert not worker.task.done()
        asked_s = world.clock.monotonic_s()
        worker.signals.send("SIGINT")
        await worker.finish()
        assert world.clock.monotonic_s() - asked_s < 1.5
        await world.start(Stepper(step_s=0.1), settings=FAST).finish()
        assert set(world.statuses(ids)) == {Status.DONE}

    virtually(main)


def test_a_handler_that_will_not_let_go_is_abandoned_without_harm() -> None:
    """It swallows cancellation; at the deadline its delivery is abandoned, and another VM finishes the job."""

    async def main() -> None:
        world = World(settings=FOREVER)
        release = asyncio.Event()

        async def stubborn(job: Job) -> Json:
            if job.attempt > 1:
                return "done by another"
            while not release.is_set():
                try:
                    await asyncio.sleep(1)
                except asyncio.CancelledError:
                    continue
            return "too late"

        (job,) = world.enqueue(1)
        worker = world.start(stubborn)
        await asyncio.sleep(2.5)
        world.vm.notify("e1", not_before=world.clock.now() + timedelta(seconds=8))
        await until(lambda: state_of(worker) is AppState.DRAINED, within_s=10.0)
        assert world.rows("J16")
        await world.start(stubborn, vm=world.new_vm("vm-id-2", name="vm-2"), settings=FAST).finish()
        release.set()
        await asyncio.sleep(5)
        assert world.record(job).result == '"done by another"'
        await worker.kill()

    virtually(main)


def test_a_handler_that_hangs_fails_by_its_time_limit() -> None:
    """With a time limit a hanging job fails, is tried again, and is poisoned in the end."""

    async def main() -> None:
        world = World(settings=WorkerSettings(until_empty=True, job_timeout_s=3.0))

        async def hangs(_job: Job) -> Json:
            await asyncio.sleep(10_000)
            return None

        (job,) = world.enqueue(1)
        await world.start(hangs).finish()
        assert world.record(job).status is Status.POISONED
        assert "longer than 3.0 s" in str(world.record(job).error)

    virtually(main)


def test_a_handler_that_stays_on_after_an_eviction_is_cancelled_at_the_cutoff() -> None:
    """It swallows `Evicted` and goes on; its last checkpoint counts, and its job is released before the deadline."""

    async def main() -> None:
        world = World(settings=FOREVER)

        async def staying(job: Job) -> Json:
            try:
                while True:
                    await asyncio.sleep(0.1)
                    await job.checkpoint("saved")
            except Evicted:
                await asyncio.sleep(10_000)
            return None

        (job,) = world.enqueue(1)
        worker = world.start(staying)
        await asyncio.sleep(2.5)
        deadline_s = world.clock.monotonic_s() + 8
        world.vm.notify("e1", not_before=world.clock.now() + timedelta(seconds=8))
        await until(lambda: state_of(worker) is AppState.DRAINED, within_s=10.0)
        assert world.clock.monotonic_s() < deadline_s
        assert (world.record(job).status, world.record(job).progress) == (Status.RELEASED, '"saved"')
        assert world.record(job).counts.evictions == 1
        await worker.kill()

    virtually(main)


def test_an_eviction_finds_a_handler_that_is_slow_to_let_go_at_its_time_limit() -> None:
    """A job that is being cancelled for its time limit when the drain's cutoff comes disturbs nobody, and failed."""

    async def main() -> None:
        world = World(settings=replace(FOREVER, job_timeout_s=5.0))

        async def slow_to_let_go(_job: Job) -> Json:
            try:
                await asyncio.sleep(10_000)
            finally:
                await asyncio.sleep(4)
            return None

        (job,) = world.enqueue(1)
        worker = world.start(slow_to_let_go)
        await asyncio.sleep(2.5)
        world.vm.notify("e1", not_before=world.clock.now() + timedelta(seconds=8))
        await until(lambda: state_of(worker) is AppState.DRAINED, within_s=10.0)
        assert world.record(job).counts.failures == 1
        await worker.kill()

    virtually(main)


def test_a_zombie_writes_nothing() -> None:
    """A worker whose renewals fail loses its lease; its late checkpoint and result change nothing."""

    async def main() -> None:
        world = World(settings=WorkerSettings(visibility_timeout_s=6.0, idle_poll_s_max=1.0))
        ended: list[str] = []

        async def handler(job: Job) -> Json:
            try:
                for step in range(int(str(job.progress or 0)), 30):
                    await asyncio.sleep(1)
                    await job.checkpoint(step + 1)
            except Evicted:
                ended.append("evicted")
                raise
            return job.attempt

        (job,) = world.enqueue(1)
        cut_off = True
        zombie = world.start(handler)
        world.faults = lambda call: REQUEST_RESET if cut_off and call == "queue.renew" else None
        await asyncio.sleep(6.5)
        healthy = world.start(handler, vm=world.new_vm("vm-id-2", name="vm-2"))
        cut_off = False
        await until(lambda: world.left() == 0)
        record = world.record(job)
        assert record.status is Status.DONE
        assert record.result == "2"
        assert world.rows("J16")
        assert record.counts.lapses == 1
        await zombie.kill()
        await healthy.kill()

    virtually(main)


def test_the_same_message_twice_in_one_process_abandons_the_older_delivery() -> None:
    """A process that receives what it is already running keeps only the newer delivery."""

    async def main() -> None:
        world = World(settings=WorkerSettings(visibility_timeout_s=6.0, until_empty=True, idle_poll_s_max=1.0))
        stepper = Stepper()
        (job,) = world.enqueue(1)
        frozen = True
        world.faults = lambda call: REQUEST_LOST if frozen and call == "queue.renew" else None
        worker = world.start(stepper)
        await asyncio.sleep(8.0)
        frozen = False
        await worker.finish()
        assert world.record(job).status is Status.DONE
        assert len(world.rows("J21")) == 1
        assert world.rows("J16")

    virtually(main)


@pytest.mark.parametrize(
    ("vm_id", "boot_id", "origin"),
    [
        ("vm-id-1", "boot-1", "restarted"),
        ("vm-id-1", "boot-2", "redeployed"),
        ("vm-id-2", "boot-2", "recreated"),
    ],
)
def test_the_origin_of_a_recovery_is_found(vm_id: str, boot_id: str, origin: str) -> None:
    """From vmId and boot id a worker knows whether it is fresh, restarted, redeployed or recreated."""

    async def main() -> None:
        world = World(settings=FAST)
        await world.start(at_once).finish()
        await world.start(at_once, vm=world.new_vm(vm_id, boot_id=boot_id)).finish()
        assert [e.fields["origin"] for e in world.of_kind("origin")] == ["fresh", origin]

    virtually(main)


def test_a_message_that_cannot_be_a_job_is_poisoned_unrun() -> None:
    """An oversized message is set aside without a run, on its first delivery and on a later one."""

    async def main() -> None:
        world = World(settings=WorkerSettings(until_empty=True, message_bytes_max=100))
        (job,) = world.enqueue(1, text="x" * 101)
        tally = await world.start(at_once).finish()
        assert tally.begun == 0
        assert world.record(job).status is Status.POISONED
        assert world.poison() == 1

    virtually(main)


def test_a_message_with_a_time_to_live_runs_on_under_its_fence() -> None:
    """A lease cannot outlast the message; the job ends all the same, and its result is recorded."""

    async def main() -> None:
        world, stepper = World(settings=FAST), Stepper()
        job = world.queues.put(QUEUE, "{}", time_to_live_s=5.0)
        await world.start(stepper).finish()
        assert world.record(job).status is Status.DONE
        assert world.of_kind("expires")

    virtually(main)


def test_a_lost_renewal_reply_costs_time_and_nothing_else() -> None:
    """The one exception to being released at once: the receipt is gone, the message comes back by itself."""

    async def main() -> None:
        world, stepper = World(settings=FAST), Stepper(step_s=3.0)
        ids = world.enqueue(3)
        lost = Counter[str]()

        def lose_renewals(call: str) -> Fault | None:
            lost[call] += 1
            return REPLY_LOST if call == "queue.renew" and lost[call] <= 3 else None

        world.faults = lose_renewals
        await world.start(stepper).finish()
        assert set(world.statuses(ids)) == {Status.DONE}

    virtually(main)


def test_a_drained_worker_acknowledges_only_when_told_to() -> None:
    """Acknowledging shortens one's own notice: it comes after the drain, and only if it is wanted."""

    async def main(*, acknowledge: bool) -> list[str]:
        world = World(settings=WorkerSettings(acknowledge=acknowledge))
        world.enqueue(2)
        worker = world.start(Stepper())
        await asyncio.sleep(1.5)
        world.vm.notify("e1", not_before=world.clock.now() + timedelta(seconds=20))
        await until(lambda: state_of(worker) is AppState.DRAINED)
        await asyncio.sleep(1.0)
        drained = world.entries.index(world.rows("A26")[0])
        assert all(world.entries.index(e) > drained for e in world.of_kind("acknowledged"))
        await worker.kill()
        return world.vm.acknowledged

    assert virtually(lambda: main(acknowledge=True)) == ["e1"]
    assert virtually(lambda: main(acknowledge=False)) == []


def test_evicted_right_after_the_start() -> None:
    """A VM can be designated for eviction as soon as it runs: nothing is received, and a withdrawal frees it."""

    async def main() -> None:
        world, stepper = World(settings=FAST), Stepper()
        ids = world.enqueue(2)
        world.vm.notify("e1")
        slow = True
        world.faults = lambda call: Fault(request_s=3.0) if slow and call.startswith("store.") else None
        worker = world.start(stepper)
        await until(lambda: state_of(worker) is AppState.DRAINED, within_s=60)
        assert not world.of_kind("receive")
        slow = False
        world.vm.document = EventsDocument(incarnation=9, events=())
        await worker.finish()
        assert set(world.statuses(ids)) == {Status.DONE}

    virtually(main)


def test_a_checkpoint_waits_for_the_one_whose_caller_gave_up() -> None:
    """A cancelled wait does not take the save back, and the next checkpoint is durable all the same."""

    async def main() -> None:
        world = World(settings=FAST)
        seen: list[str | None] = []

        async def impatient(job: Job) -> Json:
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(job.checkpoint(1), 0.5)
            await job.checkpoint(2)
            seen.append(world.record(job.id).progress)
            return None

        (job,) = world.enqueue(1)
        world.faults = lambda call: Fault(reply_s=2.0) if call == "store.write" else None
        await world.start(impatient).finish()
        assert seen == ["2"]
        assert world.record(job).status is Status.DONE

    virtually(main)


@pytest.mark.parametrize("fault", [REQUEST_LOST, REQUEST_RESET], ids=["during a call", "between two tries"])
def test_a_stop_does_not_wait_for_silent_metadata(fault: Fault) -> None:
    """Asked to stop while instance metadata is silent, the worker ends at once and without an error."""

    async def main() -> None:
        raised: list[object] = []
        asyncio.get_running_loop().set_exception_handler(lambda _loop, context: raised.append(context))
        world = World(settings=FOREVER)
        world.faults = lambda call: fault if call == "metadata.identity" else None
        worker = world.start(at_once)
        await asyncio.sleep(1.0)
        worker.signals.send("SIGTERM")
        await worker.finish()
        assert world.clock.monotonic_s() < 1.5
        assert raised == []

    virtually(main)


@pytest.mark.parametrize("call", ["store.read_presence", "queue.length"])
def test_a_drain_does_not_wait_for_a_start_that_is_stuck(call: str) -> None:
    """A stop or a notice that meets a worker on its way up, with a service that is silent, finds it drained at once.

    The question that is given up leaves no error behind that nobody has read, which asyncio would write on stderr.
    """
    unread: list[object] = []

    async def main(*, notice: bool) -> float:
        asyncio.get_running_loop().set_exception_handler(lambda _loop, context: unread.append(context))
        world = World(settings=FOREVER)
        world.faults = lambda asked: Fault(request_s=9.0) if asked == call else None
        worker = world.start(at_once)
        await asyncio.sleep(3.0)
        began_s = world.clock.monotonic_s()
        if notice:
            world.vm.notify("e1")
        else:
            worker.signals.send("SIGTERM")
        await until(lambda: state_of(worker) in (AppState.DRAINED, AppState.OFFLINE), within_s=60)
        took_s = world.clock.monotonic_s() - began_s
        await worker.kill()
        return took_s

    assert virtually(lambda: main(notice=False)) < 0.1
    assert virtually(lambda: main(notice=True)) < FOREVER.imds_poll_s + 0.1
    gc.collect()
    assert unread == []


@pytest.mark.parametrize("call", ["store.read_presence", "queue.length"])
@pytest.mark.parametrize("rounds", [0, 1, 2, 3])
def test_a_worker_that_is_killed_twice_on_its_way_up_leaves_no_error_unread(call: str, rounds: int) -> None:
    """Whenever the second cancellation comes, the question that was given up is not complained of."""
    unread: list[object] = []

    async def main() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda _loop, context: unread.append(context))
        world = World(settings=FOREVER)
        world.faults = lambda asked: Fault(request_s=9.0) if asked == call else None
        worker = world.start(at_once)
        await asyncio.sleep(3.0)
        worker.die()
        for _ in range(rounds):
            await asyncio.sleep(0)
        await worker.kill()

    virtually(main)
    gc.collect()
    assert unread == []


def test_a_cancelled_worker_leaves_no_save_behind() -> None:
    """A worker that is cancelled while a checkpoint is on its way, to a silent store, ends with all its tasks."""

    async def main() -> None:
        world = World(settings=FOREVER)
        world.enqueue(1)
        worker = world.start(Stepper(step_s=1.0))
        await asyncio.sleep(0.5)
        world.faults = lambda call: REQUEST_LOST if call.startswith("store.") else None
        await asyncio.sleep(5.0)
        worker.task.cancel()
        await asyncio.sleep(1.0)
        assert asyncio.all_tasks() == {asyncio.current_task()}

    virtually(main)
