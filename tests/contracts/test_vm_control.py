"""The contract of `VmControl`, for every platform there is."""

from __future__ import annotations

from decimal import Decimal

import pytest

from fsm.errors import MissingError, RefusalCause, RefusedError
from fsm.ports import VmControl
from fsm.spot_vm import ABSENT, PAY_AS_YOU_GO, Policy, Terms, VmState
from tests.contracts.vm_worlds import DEAR, MAX_PRICE, VM_WORLDS, VmWorldMaker

LIMIT_S = 30.0


@pytest.fixture(params=VM_WORLDS)
def maker(request: pytest.FixtureRequest) -> VmWorldMaker:
    maker: VmWorldMaker = request.param
    return maker


async def state(control: VmControl) -> VmState:
    return (await control.look(timeout_s=LIMIT_S)).state


async def test_a_vm_is_seen_with_its_terms(maker: VmWorldMaker) -> None:
    """State, priority, max price and policy, as they were agreed to."""
    async with maker(Policy.DEALLOCATE) as world:
        view = await world.control().look(timeout_s=LIMIT_S)
        assert (view.state, view.power, view.priority) == (VmState.RUNNING, "running", "Spot")
        assert view.terms == Terms(max_price_usd_per_h=MAX_PRICE)


async def test_it_is_deallocated_and_started_as_often_as_it_is_asked(maker: VmWorldMaker) -> None:
    """Every order is done when it returns, and doing it twice changes nothing."""
    async with maker(Policy.DEALLOCATE) as world:
        control = world.control()
        for _ in range(2):
            await control.deallocate(timeout_s=LIMIT_S)
            assert await state(control) is VmState.STOPPED
        for _ in range(2):
            await control.start(timeout_s=LIMIT_S)
            assert await state(control) is VmState.RUNNING


@pytest.mark.parametrize("cause", [RefusalCause.PRICE, RefusalCause.CAPACITY])
async def test_a_refused_start_tells_its_kind_and_changes_nothing(maker: VmWorldMaker, cause: RefusalCause) -> None:
    """Price and capacity are told apart, and the VM stays deallocated with its terms."""
    async with maker(Policy.DEALLOCATE) as world:
        control = world.control()
        await control.deallocate(timeout_s=LIMIT_S)
        before = (await control.look(timeout_s=LIMIT_S)).terms
        await (world.raise_price() if cause is RefusalCause.PRICE else world.take_capacity())
        with pytest.raises(RefusedError) as refused:
            await control.start(timeout_s=LIMIT_S)
        assert refused.value.cause is cause
        after = await control.look(timeout_s=LIMIT_S)
        assert (after.state, after.terms) == (VmState.STOPPED, before)


@pytest.mark.parametrize("price", [DEAR, PAY_AS_YOU_GO, Decimal("0.00001")])
async def test_a_stopped_vm_takes_another_max_price(maker: VmWorldMaker, price: Decimal) -> None:
    """The policy stays, and the price is the very one."""
    async with maker(Policy.DEALLOCATE) as world:
        control = world.control()
        await control.deallocate(timeout_s=LIMIT_S)
        await control.reprice(price, timeout_s=LIMIT_S)
        view = await control.look(timeout_s=LIMIT_S)
        assert view.terms == Terms(max_price_usd_per_h=price)
        assert view.state is VmState.STOPPED


async def test_a_max_price_that_cannot_be_is_not_asked_for(maker: VmWorldMaker) -> None:
    """Zero is no price, and six decimals are too many."""
    async with maker(Policy.DEALLOCATE) as world:
        control = world.control()
        await control.deallocate(timeout_s=LIMIT_S)
        for price in (Decimal(0), Decimal("0.000001"), Decimal("NaN")):
            with pytest.raises(ValueError, match="max price"):
                await control.reprice(price, timeout_s=LIMIT_S)
        assert (await control.look(timeout_s=LIMIT_S)).terms == Terms(max_price_usd_per_h=MAX_PRICE)


async def test_a_running_vm_keeps_its_max_price(maker: VmWorldMaker) -> None:
    """It is allocated for the old one: refused for the price, and nothing changes."""
    async with maker(Policy.DEALLOCATE) as world:
        control = world.control()
        with pytest.raises(RefusedError) as refused:
            await control.reprice(DEAR, timeout_s=LIMIT_S)
        assert refused.value.cause is RefusalCause.PRICE
        assert (await control.look(timeout_s=LIMIT_S)).terms == Terms(max_price_usd_per_h=MAX_PRICE)


@pytest.mark.parametrize("policy", Policy)
async def test_an_eviction_is_real(maker: VmWorldMaker, policy: Policy) -> None:
    """It is accepted while the VM still runs, and then does what the policy says."""
    async with maker(policy) as world:
        control = world.control()
        await control.simulate_eviction(timeout_s=LIMIT_S)
        assert await state(control) is VmState.RUNNING
        await world.pass_time()
        assert await state(control) in ((VmState.STOPPED,) if policy is Policy.DEALLOCATE else ABSENT)


async def test_a_vm_that_is_no_more_is_absent_and_takes_no_order(maker: VmWorldMaker) -> None:
    """To look is no error, to ask for anything is."""
    async with maker(Policy.DEALLOCATE) as world:
        control = world.control()
        await world.delete()
        view = await control.look(timeout_s=LIMIT_S)
        assert view.state in ABSENT
        assert (view.power, view.terms) == ("", None)
        for order in (
            control.start(timeout_s=LIMIT_S),
            control.deallocate(timeout_s=LIMIT_S),
            control.reprice(DEAR, timeout_s=LIMIT_S),
            control.simulate_eviction(timeout_s=LIMIT_S),
        ):
            with pytest.raises(MissingError):
                await order
