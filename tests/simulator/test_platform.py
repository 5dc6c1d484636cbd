"""Any life of a VM on the platform, held against the rules as they are said in words, and against its bill."""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from fsm.handler import Job, Json
from fsm.spot_vm import PAY_AS_YOU_GO, Policy, Terms, VmState, VmTrigger
from simulator.machine import Machine
from simulator.scenario import Action
from simulator.testing import ConstantMarket, OperatorPlan, SpotWorld, VmPlan
from simulator.testing.strategies import prices, prices_around

PLACE = Decimal("0.00001")
DISKS_USD_PER_H = Decimal("0.002")
EXAMPLES = 60


async def idle(_job: Job) -> Json:
    """Nobody puts a job."""
    return None


class SpotVm(RuleBasedStateMachine):
    """One VM, its operator and its market; the model is the reference's rules, said once more and without the table.

    Attributes:
        state: where the VM must stand.
        boots, creations: how often it was allocated, and made anew.
        paid: what it must have cost, in USD.
    """

    @initialize(
        limit=st.just(PAY_AS_YOU_GO) | prices(most_usd_per_h=Decimal("0.1")),
        below=st.integers(0, 3),
        policy=st.sampled_from(list(Policy)),
    )
    def deploy(self, limit: Decimal, below: int, policy: Policy) -> None:
        """There is room, and the price is at the limit or a few steps below."""
        self.limit, self.policy, self.room = limit, policy, True
        self.price = Decimal("0.04") if limit == PAY_AS_YOU_GO else max(PLACE, limit - below * PLACE)
        self.world = SpotWorld(
            idle,
            vm=VmPlan(
                boot_s=0.0, announced=0.0, max_price_usd_per_h=limit, policy=policy, disks_usd_per_h=DISKS_USD_PER_H
            ),
            market=ConstantMarket(price_usd_per_h=self.price),
            operator=OperatorPlan(action=Action.NOTHING),
        )
        self.state, self.boots, self.creations = "Running", 1, 1
        self.paid = Fraction(0)

    @property
    def vm(self) -> Machine:
        return self.world._platform.machines[0]

    @property
    def affordable(self) -> bool:
        return self.limit == -1 or self.limit >= self.price

    def lose(self) -> None:
        self.state = "Deleted" if self.policy is Policy.DELETE else "Stopped"

    def order(self, trigger: VmTrigger) -> str:
        """Put an order to the platform, and let it sink in."""
        row = self.world._at_once(lambda: self.world._platform.fire(self.vm, trigger))
        return row.outcome

    # -- the market ---------------------------------------------------------------------------------------------------

    @rule(data=st.data(), room=st.booleans())
    def offer(self, data: st.DataObject, room: bool) -> None:
        """Azure offers something else: whoever has no room, or cannot pay, is gone at once."""
        near = prices() if self.limit == PAY_AS_YOU_GO else prices_around(self.limit) | prices()
        self.price, self.room = data.draw(near), room
        self.world.offer(price_usd_per_h=self.price, capacity=None if room else 0)
        if self.state == "Running" and not (self.room and self.affordable):
            self.lose()

    @rule()
    def evict(self) -> None:
        """Azure wants this very VM back, for a moment."""
        self.world.evict(back_after_s=0.0)
        if self.state == "Running":
            self.lose()
        self.live(0.01)

    @rule()
    def evict_in_error(self) -> None:
        """An eviction without a cause changes nothing: the market has taken whomever it could."""
        self.order(VmTrigger.EVICT)

    # -- the operator -------------------------------------------------------------------------------------------------

    @rule()
    def deploy_again(self) -> None:
        """A VM that is not there, or stopped, comes up if there is room and the price is within the limit."""
        self.order(VmTrigger.DEPLOY)
        if self.state != "Running" and self.room and self.affordable:
            self.creations += self.state != "Stopped"
            self.state, self.boots = "Running", self.boots + 1

    @rule()
    def restart(self) -> None:
        """A stopped VM comes up likewise; one that cannot pay is deleted under policy Delete, as the reference says."""
        self.order(VmTrigger.RESTART)
        if self.state == "Stopped":
            if not self.affordable:
                self.state = "Deleted" if self.policy is Policy.DELETE else "Stopped"
            elif self.room:
                self.state, self.boots = "Running", self.boots + 1

    @rule()
    def deallocate(self) -> None:
        """A running VM stops."""
        self.order(VmTrigger.DEALLOCATE)
        if self.state == "Running":
            self.state = "Stopped"

    @rule()
    def delete(self) -> None:
        """A VM that is there is there no longer."""
        self.order(VmTrigger.DELETE)
        if self.state in ("Running", "Stopped"):
            self.state = "Deleted"

    @rule(limit=st.just(PAY_AS_YOU_GO) | prices(most_usd_per_h=Decimal("0.1")))
    def reprice(self, limit: Decimal) -> None:
        """Only a stopped VM gets another limit."""
        outcome = self.order(VmTrigger.REPRICE)
        assert outcome.startswith("refused") is (self.state != "Stopped")
        if self.state == "Stopped":
            self.vm.terms = Terms(max_price_usd_per_h=limit, policy=self.policy)
            self.limit = limit

    # -- time and money -----------------------------------------------------------------------------------------------

    @rule(seconds=st.sampled_from((1.0, 60.0, 600.0)))
    def live(self, seconds: float) -> None:
        """Time passes, and is paid for: the spot price, capped by the limit, while it runs; disks while they exist."""
        self.world.advance(seconds)
        compute = self.price if self.limit == PAY_AS_YOU_GO else min(self.price, self.limit)
        per_h = {"Running": compute + DISKS_USD_PER_H, "Stopped": DISKS_USD_PER_H, "Deleted": Decimal(0)}[self.state]
        self.paid += Fraction(per_h) * round(seconds * 1e6) / 3_600_000_000

    @invariant()
    def stands_where_it_must(self) -> None:
        """State, boots, creations, worker and bill are the model's."""
        self.world._at_once(self.world._platform.settle_bills)
        vm = self.vm
        assert vm.state is VmState(self.state)
        assert (vm.boots, vm.generation) == (self.boots, self.creations)
        assert (vm.worker is not None) is (self.state == "Running")
        assert abs(Fraction(vm.bill.compute_usd + vm.bill.disks_usd) - self.paid) < Fraction(1, 10**12)

    def teardown(self) -> None:
        if hasattr(self, "world"):
            self.world.close()


def test_any_life_of_a_vm() -> None:
    """Whatever market and operator do, the VM stands where the rules say, has its worker, and costs what it must."""
    run_state_machine_as_test(
        SpotVm, settings=settings(max_examples=EXAMPLES, stateful_step_count=25, deadline=None, print_blob=True)
    )
