"""A world for tests: evictions come exactly where they were ordered, the dead stand still, and it judges itself."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from decimal import Decimal

import pytest

from fsm.handler import Job, Json
from fsm.spot_vm import Policy, VmState
from simulator.explore.plain import PlainJob
from simulator.observing import RunEnd
from simulator.testing import (
    NO_FAULTS,
    BrokenPromiseError,
    Eviction,
    FaultPlan,
    SpotWorld,
    Step,
    UnfinishedError,
    VmPlan,
    WorkerPlan,
    after_call,
    after_checkpoint,
    before_call,
    before_checkpoint,
)
from simulator.testing.handlers import Handler
from simulator.testing.steps import CALLS
from tests.simulator.sabotages import SABOTAGES

PAGES = 4


class Book:
    """A handler of pages, as a coroutine and as a plain function, and what it did to the world outside."""

    def __init__(self) -> None:
        self.rendered: list[int] = []
        self.cleaned_up = 0

    async def render(self, job: Job) -> Json:
        try:
            for page in range(int(str(job.progress or 0)), PAGES):
                await asyncio.sleep(1.0)
                self.rendered.append(page)
                await job.checkpoint(page + 1)
        finally:
            self.cleaned_up += 1
        return PAGES

    def render_plainly(self, job: PlainJob) -> Json:
        try:
            for page in range(int(str(job.progress or 0)), PAGES):
                time.sleep(1.0)
                self.rendered.append(page)
                job.checkpoint(page + 1)
        finally:
            self.cleaned_up += 1
        return PAGES


@pytest.fixture(params=["coroutine", "plain"])
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def handler_of(book: Book, kind: str) -> Handler:
    return book.render if kind == "coroutine" else book.render_plainly


def test_undisturbed_a_job_runs_once(kind: str) -> None:
    """Nobody is evicted who was not told to be: one run, all checkpoints, the result, at the virtual time it takes."""
    book = Book()
    with SpotWorld(handler_of(book, kind)) as world:
        job = world.put({"any": "body"})
        world.run()
        assert (job.result, job.progress, job.attempts, job.evictions) == (PAGES, PAGES, 1, 0)
        assert [progress for _, progress in job.runs[0].checkpoints] == [1, 2, 3, 4]
        assert (job.completed, job.poisoned, job.redone_s) == (True, False, 0.0)
        assert PAGES <= world.now_s < PAGES + 1
        assert (world.queue.length, world.queue.poisoned, world.evictions) == (0, 0, 0)


@pytest.mark.parametrize(
    ("step", "rendered", "saved"),
    [
        (after_checkpoint(2), [0, 1, 2, 3], 2),
        (before_checkpoint(2), [0, 1, 1, 2, 3], 1),
        (before_checkpoint(1), [0, 0, 1, 2, 3], None),
        (after_checkpoint(4), [0, 1, 2, 3], 4),
    ],
    ids=repr,
)
def test_an_eviction_at_a_checkpoint(kind: str, step: Step, rendered: list[int], saved: int | None) -> None:
    """Before a checkpoint nothing of it is saved, after it all is; the next run begins just there."""
    book = Book()
    with SpotWorld(handler_of(book, kind)) as world:
        job = world.put()
        world.evict(at=step)
        world.run()
        assert book.rendered == rendered
        assert [run.end for run in job.runs] == [RunEnd.KILLED, RunEnd.FINISHED]
        assert (job.runs[1].progress, job.result) == (saved, PAGES)
        assert job.evictions == (0 if saved is None else 1)  # a first delivery is on record from its first write on
        assert job.redone_s == pytest.approx(1.0 if len(rendered) > PAGES else 0.0)


def test_the_killed_do_not_clean_up(kind: str) -> None:
    """A kill is no exception: `finally` runs for those who finish, and for the dead not before the world is closed."""
    book = Book()
    with SpotWorld(handler_of(book, kind)) as world:
        world.put()
        world.evict(at=2.5)
        world.run()
        assert book.cleaned_up == 1
    assert book.cleaned_up == 2


def test_what_the_killed_had_begun_does_not_go_on() -> None:
    """Tasks that a handler started die with its VM, too: none of them ticks on while another VM does the work."""
    ticks: list[float] = []

    async def tick() -> None:
        while True:
            await asyncio.sleep(1.0)
            ticks.append(asyncio.get_running_loop().time())

    async def handle(job: Job) -> Json:
        if job.attempt > 1:
            return "second"
        async with asyncio.TaskGroup() as group:
            group.create_task(tick())
        return "first"

    with SpotWorld(handle) as world:
        job = world.put()
        world.evict(at=3.5)
        world.run()
        world.advance(100.0)
        assert job.result == "second"
        assert len(ticks) == 3


def test_a_notice_lets_the_work_be_saved(kind: str) -> None:
    """Announced half a minute before, an eviction costs nothing, and the job is there at once for the next VM."""
    book = Book()
    with SpotWorld(handler_of(book, kind), vms=2, worker=WorkerPlan(concurrency=1)) as world:
        job = world.put()
        world.advance(1.5)
        on = 1 if job.runs[0].vm == "vm-1" else 2
        world.evict(notice_s=30, vm=on)
        world.run()
        assert [run.end for run in job.runs] == [RunEnd.INTERRUPTED, RunEnd.FINISHED]
        assert job.runs[1].vm != job.runs[0].vm
        assert book.rendered == [0, 1, 2, 3]
        assert world.now_s < 15.0


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("place", [before_call, after_call])
def test_an_eviction_at_any_call_loses_nothing(call: str, place: Callable[[str], Step]) -> None:
    """Whichever call the VM goes with, before or after it takes effect: the job is done, and no promise breaks."""
    book = Book()
    with SpotWorld(book.render) as world:
        job = world.put()
        world.evict(at=place(call))
        world.run()
        world.advance(200.0)
        assert job.result == PAGES
        assert sorted(set(book.rendered)) == [0, 1, 2, 3]


def test_the_last_call_is_cut_off_too() -> None:
    """A delete that never arrives leaves the message; the next delivery finds it done and runs no handler."""
    with SpotWorld(Book().render) as world:
        job = world.put()
        world.evict(at=before_call("queue.delete"))
        world.run()
        assert (job.attempts, job.result, world.evictions) == (1, PAGES, 1)
        assert world.now_s > 60.0


def test_a_vm_stays_away_until_it_is_brought_back() -> None:
    """Without a time to come back a VM is stopped for good; `bring_back` and the operator start it again."""
    with SpotWorld(Book().render, vm=VmPlan(boot_s=0.0, policy=Policy.DELETE)) as world:
        job = world.put()
        world.evict(at=1.5, back_after_s=None)
        world.advance(5000.0)
        assert world.vm_states == [VmState.DELETED]
        assert not job.settled
        world.bring_back()
        world.advance(100.0)
        assert (world.vm_states, job.result) == ([VmState.RUNNING], PAGES)


def test_the_market_takes_a_vm_and_gives_it_back() -> None:
    """Above its max price a VM is stopped, by the table; back at it, it runs again."""
    limit = Decimal("0.05")
    with SpotWorld(Book().render, vm=VmPlan(boot_s=0.0, announced=0.0, max_price_usd_per_h=limit)) as world:
        world.offer(price_usd_per_h=limit)
        assert world.vm_states == [VmState.RUNNING]
        world.offer(price_usd_per_h=limit + Decimal("0.00001"))
        assert world.vm_states == [VmState.STOPPED]
        world.offer(price_usd_per_h=limit)
        world.advance(15.0)
        assert world.vm_states == [VmState.RUNNING]
        world.offer(capacity=0)
        assert world.vm_states == [VmState.STOPPED]


def test_a_job_that_always_fails_is_poisoned_with_its_errors(kind: str) -> None:
    """Five failures, each kept as it was raised, and the message lies on the poison queue."""
    error = ZeroDivisionError("by zero")

    async def fail(_job: Job) -> Json:
        raise error

    def fail_plainly(_job: PlainJob) -> Json:
        raise error

    with SpotWorld(fail if kind == "coroutine" else fail_plainly) as world:
        job = world.put()
        world.run()
        assert (job.poisoned, job.completed, job.result, world.queue.poisoned) == (True, False, None, 1)
        assert job.errors == [error] * 5
        assert job.counts.failures == 5


def test_faults_come_and_go() -> None:
    """Every call fails while a mix of faults says so, and none when it is taken back."""
    with SpotWorld(Book().render) as world:
        world.disturb(FaultPlan(throttled=1.0))
        job = world.put()
        world.advance(60.0)
        assert job.attempts == 0
        world.disturb(NO_FAULTS)
        world.advance(60.0)
        assert job.completed


def test_a_withdrawn_notice_and_a_freeze_and_signals_break_nothing() -> None:
    """What else can be done to a worker, one after the other; the job is done all the same."""

    async def long(job: Job) -> Json:
        await job.checkpoint("begun")
        await asyncio.sleep(300.0)
        return "long"

    with SpotWorld(long) as world:
        job = world.put()
        for disturb in (world.withdrawn_notice, world.foreign_notice, world.freeze, world.kill_worker):
            world.advance(5.0)
            disturb()
        world.advance(60.0)
        world.stop_worker()
        world.jump_clock(3600.0)
        world.run()
        assert job.result == "long"
        assert (job.counts.deaths, job.counts.stops, job.evictions) == (1, 1, 0)


def test_a_freeze_that_was_announced_does_not_come_in_a_calm_world() -> None:
    """Calm means calm: a VM whose freeze is still to come goes on, and its worker stops when it is told to."""
    with SpotWorld(Book().render) as world:
        world.put()
        world.freeze(lasts_s=600.0, notice_s=5.0)
        world.calm()
        world.run()
        world.advance(10.0)
        assert "platform: freeze" not in str(world.history)


def test_who_waits_for_a_frozen_process_is_not_held_with_it() -> None:
    """The platform waits for a stopped worker's end, and goes on when that is killed while it stands still."""
    limit = Decimal("0.05")
    vm = VmPlan(boot_s=0.0, announced=0.0, max_price_usd_per_h=limit)
    with SpotWorld(Book().render, vm=vm, worker=WorkerPlan(concurrency=1)) as world:
        world.offer(price_usd_per_h=limit + Decimal("0.00001"))
        world.offer(price_usd_per_h=limit)
        world.advance(3.0)
        world.freeze(lasts_s=3.0)
        world.stop_worker()
        world.kill_worker()
    assert not world.broken


def test_the_same_seed_is_the_same_history() -> None:
    """Whatever is drawn comes from the seed alone."""

    def told(seed: int) -> str:
        plan = FaultPlan(kill_after=0.1, request_reset=0.1, freeze=40.0)
        with SpotWorld(Book().render, seed=seed, vms=2, faults=plan, evictions=[Eviction(at=3.0)]) as world:
            for _ in range(3):
                world.put()
            world.run()
            return str(world.history)

    assert told(1) == told(1)
    assert told(1) != told(2)


def test_a_handler_that_never_ends_is_told() -> None:
    """Nothing goes wrong any more, and still the job has no end: an error that says so, and what happened."""

    async def hang(_job: Job) -> Json:
        await asyncio.sleep(1e9)
        return None

    world = SpotWorld(hang, calm_s_max=3600.0)
    world.put()
    with pytest.raises(UnfinishedError, match=r"after 3600 s in which nothing went wrong, job 1 had not") as raised:
        world.run(calm_after_s=10.0)
    assert any("vm-1/1 runs job 1, delivery 1" in note for note in raised.value.__notes__)
    world.close()
    world.close()


@pytest.mark.parametrize("name", ["no fence", "delete before record", "acknowledge before drained"])
def test_a_sabotaged_worker_is_caught(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """The kit's worlds judge as the simulator's do: with any handler, a broken rule is a broken promise."""
    sabotage = next(one for one in SABOTAGES if one.name == name)
    sabotage.patch(monkeypatch)

    def live() -> None:
        for seed in range(20):
            faults = FaultPlan(freeze=60.0, freeze_s_max=90.0, lease_short=0.5, write_late=0.3)
            worker = WorkerPlan(visibility_timeout_s=5.0, acknowledge=True)
            options = {"seed": seed, "vms": 3, "faults": faults, "worker": worker}
            with SpotWorld(Book().render, make_worker=sabotage.make_worker, **options) as world:  # type: ignore[arg-type]
                for _ in range(4):
                    world.put()
                world.evict(at=2.5, notice_s=20.0)
                world.run()

    with pytest.raises(BrokenPromiseError) as raised:
        live()
    assert any(str(raised.value).startswith(promise.value) for promise in sabotage.caught_by)


def test_misuse_is_told() -> None:
    """A step that is none, a time that is over, a VM that is not there: each is refused by its value."""
    with pytest.raises(ValueError, match=r"'queue\.peek' is not a call"):
        before_call("queue.peek")
    with pytest.raises(ValueError, match="counted from 1"):
        after_checkpoint(0)
    with SpotWorld(Book().render) as world:
        world.advance(10.0)
        with pytest.raises(ValueError, match="it is 10 s, and 5 s is over"):
            world.evict(at=5.0)
        with pytest.raises(ValueError, match="there is no VM 2"):
            world.evict(vm=2)


async def test_a_world_needs_a_plain_function() -> None:
    """Inside a running loop the error says what to write instead."""
    with pytest.raises(RuntimeError, match=r"write the test as a plain `def`"):
        SpotWorld(Book().render)


@pytest.mark.parametrize("letters", [63_000, 65_000, 65_536])
def test_a_message_as_large_as_they_come_is_poisoned_as_itself(letters: int) -> None:
    """Where the envelope of the poison queue has no room for the body, the body goes alone, and is still told apart."""

    async def fail(_job: Job) -> Json:
        raise ValueError

    with SpotWorld(fail) as world:
        job, other = world.put(text="x" * letters), world.put(text="y")
        world.run()
        assert (job.poisoned, other.poisoned, world.queue.poisoned) == (True, True, 2)
