"""What the network between a simulated worker and a service may do to a call."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

import pytest

from fsm.errors import LeaseLostError, MissingError, ReplyLostError, ThrottledError
from simulator.network import REPLY_LOST, REPLY_RESET, REQUEST_LOST, REQUEST_RESET, Fault, no_faults, perform

pytestmark = pytest.mark.looptime(noop_cycles=0, idle_timeout=0)

TIMEOUT_S = 10.0


@dataclass(slots=True)
class Counter:
    """A service whose only effect is to count."""

    effects_s: list[float] = field(default_factory=list)

    def effect(self) -> int:
        self.effects_s.append(asyncio.get_running_loop().time())
        return len(self.effects_s)

    def refuse(self) -> int:
        raise LeaseLostError("gone")

    async def call(self, fault: Fault | None) -> int:
        return await perform("counter.count", self.effect, faults=lambda _call: fault, timeout_s=TIMEOUT_S)


async def timed(call: Callable[[], Awaitable[object]]) -> tuple[object, float]:
    """The call's outcome or error, and how long it took."""
    started_s = asyncio.get_running_loop().time()
    try:
        outcome: object = await call()
    except Exception as exc:  # noqa: BLE001 -- compared by the test
        outcome = type(exc)
    return outcome, asyncio.get_running_loop().time() - started_s


async def test_a_call_without_faults_takes_no_time() -> None:
    """Without a fault the effect is made once, and the reply is there at the same moment."""
    counter = Counter()
    assert await timed(lambda: counter.call(None)) == (1, 0.0)
    assert len(counter.effects_s) == 1


async def test_the_seam_is_asked_by_name() -> None:
    """The faults are asked once for each call, by the call's name."""
    asked: list[str] = []

    def faults(call: str) -> Fault | None:
        asked.append(call)
        return None

    await perform("queue.renew", lambda: None, faults=faults, timeout_s=TIMEOUT_S)
    await perform("store.write", lambda: None, faults=faults, timeout_s=TIMEOUT_S)
    assert asked == ["queue.renew", "store.write"]


@pytest.mark.parametrize(
    ("fault", "effects", "outcome", "took_s"),
    [
        (Fault(request_s=2.0), 1, 1, 2.0),
        (Fault(reply_s=3.0), 1, 1, 3.0),
        (Fault(request_s=2.0, reply_s=3.0), 1, 1, 5.0),
        (REQUEST_LOST, 0, ReplyLostError, TIMEOUT_S),
        (REPLY_LOST, 1, ReplyLostError, TIMEOUT_S),
        (REQUEST_RESET, 0, ReplyLostError, 0.0),
        (REPLY_RESET, 1, ReplyLostError, 0.0),
        (Fault(refused=ThrottledError("busy"), request_s=1.0), 0, ThrottledError, 1.0),
    ],
    ids=["slow there", "slow back", "slow", "request lost", "reply lost", "request reset", "reply reset", "throttled"],
)
async def test_each_fault_is_what_it_says(fault: Fault, effects: int, outcome: object, took_s: float) -> None:
    """A fault delays, loses or refuses the call on the way there or back, and decides nothing else."""
    counter = Counter()
    found, found_s = await timed(lambda: counter.call(fault))
    assert found == outcome
    assert found_s == pytest.approx(took_s)
    assert len(counter.effects_s) == effects


async def test_a_late_request_still_takes_effect() -> None:
    """A request that arrives after its caller's timeout takes effect all the same, unknown to the caller."""
    counter = Counter()
    outcome = await timed(lambda: counter.call(Fault(request_s=TIMEOUT_S + 5)))
    assert outcome == (ReplyLostError, TIMEOUT_S)
    assert counter.effects_s == []
    await asyncio.sleep(5)
    assert len(counter.effects_s) == 1


async def test_a_cancelled_callers_request_still_takes_effect() -> None:
    """A request that is under way when its caller is cancelled takes effect all the same."""
    counter = Counter()
    caller = asyncio.ensure_future(counter.call(Fault(request_s=3.0)))
    await asyncio.sleep(1)
    caller.cancel()
    with pytest.raises(asyncio.CancelledError):
        await caller
    await asyncio.sleep(3)
    assert len(counter.effects_s) == 1


async def test_the_services_own_error_comes_back() -> None:
    """What the service refuses is refused after the same journey."""
    counter = Counter()
    with pytest.raises(LeaseLostError):
        await perform("counter.refuse", counter.refuse, faults=no_faults, timeout_s=TIMEOUT_S)


async def test_an_unheard_error_disturbs_nobody() -> None:
    """A refusal that finds its caller gone is dropped without a trace."""

    def refuse() -> None:
        raise MissingError("nothing here")

    faults = Fault(reply_s=TIMEOUT_S + 1)
    with pytest.raises(ReplyLostError):
        await perform("counter.refuse", refuse, faults=lambda _call: faults, timeout_s=TIMEOUT_S)
    await asyncio.sleep(2)
