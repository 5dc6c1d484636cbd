"""Any life of a worker, step by step: whatever is done to it, no promise breaks, and in the end all work is done.

`ANY_LIFE=3000` tries that many lives.
"""

from __future__ import annotations

import asyncio
import os
from decimal import Decimal

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from fsm.handler import Job, Json
from simulator.testing import NO_FAULTS, Eviction, FaultPlan, PutJob, SpotWorld, VmPlan, WorkerPlan
from simulator.testing.strategies import evictions, faults

LIMIT = Decimal("0.05")
OF_CALLS = (
    "kill_before",
    "kill_after",
    "request_reset",
    "reply_reset",
    "request_stuck",
    "reply_stuck",
    "throttled",
    "slow",
    "write_late",
    "write_torn",
    "lease_short",
    "imds_silent",
    "imds_wrong",
    "imds_late",
)
EXAMPLES = int(os.environ.get("ANY_LIFE", "100"))


async def handle(job: Job) -> Json:
    """Pages of a second each, a checkpoint after each; or a failure, always or at first."""
    order = job.json()
    assert isinstance(order, dict)
    if order["fails"] == "always" or (order["fails"] == "at first" and job.attempt == 1):
        raise ValueError(order["fails"])
    pages: list[Json] = list(job.progress) if isinstance(job.progress, list) else []
    while len(pages) < int(str(order["pages"])):
        await asyncio.sleep(1.0)
        pages.append(len(pages))
        await job.checkpoint(pages)
    return pages


class AnyLife(RuleBasedStateMachine):
    """A world whose every turn is drawn."""

    @initialize(
        seed=st.integers(0, 3),
        vms=st.integers(1, 3),
        concurrency=st.sampled_from((1, 4)),
        visibility_timeout_s=st.sampled_from((60.0, 5.0)),
        acknowledge=st.booleans(),
    )
    def begin(self, seed: int, vms: int, concurrency: int, visibility_timeout_s: float, acknowledge: bool) -> None:
        """VMs with a max price, and a worker each."""
        self.world = SpotWorld(
            handle,
            seed=seed,
            vms=vms,
            vm=VmPlan(boot_s=0.0, announced=0.0, max_price_usd_per_h=LIMIT),
            worker=WorkerPlan(
                concurrency=concurrency, visibility_timeout_s=visibility_timeout_s, acknowledge=acknowledge
            ),
        )
        self.jobs: list[tuple[PutJob, int, str]] = []

    @precondition(lambda self: len(self.jobs) < 12)
    @rule(pages=st.sampled_from((0, 1, 3, 20)), fails=st.sampled_from(("never", "never", "at first", "always")))
    def put(self, pages: int, fails: str) -> None:
        """A job, which may be one that cannot be done."""
        self.jobs.append((self.world.put({"pages": pages, "fails": fails}), pages, fails))

    @rule(seconds=st.sampled_from((0.5, 3.0, 30.0, 100.0)))
    def advance(self, seconds: float) -> None:
        """Time passes."""
        self.world.advance(seconds)

    @rule(orders=evictions(within_s=0.0, max_size=2))
    def evict(self, orders: list[Eviction]) -> None:
        """VMs are taken: now or at a step to come, announced or not."""
        for order in orders:
            at = None if order.at == 0 else order.at
            self.world.evict(at=at, notice_s=order.notice_s, back_after_s=order.back_after_s)

    @rule(vm=st.integers(1, 3), notice_s=st.sampled_from((None, 0.0, 1.0, 30.0)))
    def evict_one(self, vm: int, notice_s: float | None) -> None:
        """One VM is taken, and nobody says when it comes back."""
        if vm <= len(self.world.vm_states):
            self.world.evict(vm=vm, notice_s=notice_s, back_after_s=None)

    @rule()
    def bring_back(self) -> None:
        """There is room again."""
        self.world.bring_back()

    @rule(lasts_s=st.sampled_from((0.5, 20.0)))
    def withdraw(self, lasts_s: float) -> None:
        """An announcement comes to nothing."""
        self.world.withdrawn_notice(lasts_s=lasts_s)

    @rule()
    def tell_of_another(self) -> None:
        """Another VM is named."""
        self.world.foreign_notice()

    @rule(lasts_s=st.sampled_from((3.0, 90.0)), notice_s=st.sampled_from((None, 5.0)))
    def freeze(self, lasts_s: float, notice_s: float | None) -> None:
        """A VM stands still, perhaps past its leases."""
        self.world.freeze(lasts_s=lasts_s, notice_s=notice_s, vm=1)

    @rule()
    def kill(self) -> None:
        """SIGKILL."""
        self.world.kill_worker(vm=1)

    @rule()
    def stop(self) -> None:
        """SIGTERM; the unit starts it again."""
        self.world.stop_worker()

    @rule(by_s=st.sampled_from((-3600.0, 7.0)))
    def jump(self, by_s: float) -> None:
        """The wall clock is set."""
        self.world.jump_clock(by_s)

    @rule(price=st.sampled_from((LIMIT, LIMIT + Decimal("0.00001"))), capacity=st.sampled_from((None, 1, 0)))
    def offer(self, price: Decimal, capacity: int | None) -> None:
        """The price passes the limit, or room gets scarce."""
        self.world.offer(price_usd_per_h=price, capacity=capacity)

    @rule(plan=faults(among=OF_CALLS))
    def disturb(self, plan: FaultPlan) -> None:
        """Calls go wrong from now on."""
        self.world.disturb(plan)

    @rule()
    def undisturb(self) -> None:
        """They go well again."""
        self.world.disturb(NO_FAULTS)

    @invariant()
    def nothing_is_half_done(self) -> None:
        """What is completed has its whole result, and nothing is completed and poisoned."""
        if hasattr(self, "world"):
            for job, pages, _ in self.jobs:
                assert not (job.completed and job.poisoned)
                assert job.result == (list(range(pages)) if job.completed else None)

    def teardown(self) -> None:
        """Calm at last: every job ends, as it must."""
        if not hasattr(self, "world"):
            return
        if self.world.broken:
            self.world.close()
            return
        with self.world as world:
            world.calm()
            world.run()
            for job, _, fails in self.jobs:
                assert job.poisoned is (fails == "always")
                assert job.completed is (fails != "always")


@pytest.mark.timeout(600)
def test_any_life_of_a_worker() -> None:
    """No promise breaks on the way; in a calm world each job is then completed or poisoned, exactly once."""
    run_state_machine_as_test(
        AnyLife, settings=settings(max_examples=EXAMPLES, stateful_step_count=30, deadline=None, print_blob=True)
    )
