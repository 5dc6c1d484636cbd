"""Any history of calls, compared with a model of the queue that is small enough to be believed."""

from __future__ import annotations

import uuid
from dataclasses import dataclass, field
from pathlib import Path
from typing import assert_never

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fsm.errors import LeaseLostError
from fsm.ports import WorkQueue
from tests.contracts.worlds import TIMEOUT_S, QueueWorld, WorldMaker

LEASES_S = (1, 5)


@dataclass(frozen=True, slots=True)
class Put:
    """Put a message."""


@dataclass(frozen=True, slots=True)
class Receive:
    """Receive up to so many."""

    max_messages: int
    lease_s: int


@dataclass(frozen=True, slots=True)
class Renew:
    """Renew under some receipt issued before, or release with 0."""

    which: int
    lease_s: int


@dataclass(frozen=True, slots=True)
class Delete:
    """Delete under some receipt issued before."""

    which: int


@dataclass(frozen=True, slots=True)
class Pass:
    """Let time pass: milliseconds, so that sums are exact."""

    time_ms: int


Action = Put | Receive | Renew | Delete | Pass

newest_first = st.integers(min_value=0, max_value=3)
actions: st.SearchStrategy[Action] = st.one_of(
    st.just(Put()),
    st.builds(Receive, max_messages=st.integers(1, 3), lease_s=st.sampled_from(LEASES_S)),
    st.builds(Renew, which=newest_first, lease_s=st.sampled_from((0, *LEASES_S))),
    st.builds(Delete, which=newest_first),
    st.builds(Pass, time_ms=st.sampled_from((1, 999, 1_000, 4_999, 5_000, 30_000))),
)


@dataclass(slots=True)
class Modelled:
    """A message of the model."""

    visible_ms: int
    dequeue_count: int = 0
    receipt: str = ""


@dataclass(slots=True)
class Model:
    """The queue as it must be: messages by id, and every receipt ever issued, newest first."""

    now_ms: int = 0
    messages: dict[str, Modelled] = field(default_factory=dict)
    receipts: list[tuple[str, str]] = field(default_factory=list)

    def visible(self) -> set[str]:
        return {key for key, message in self.messages.items() if message.visible_ms <= self.now_ms}

    def hold(self, message_id: str, receipt: str, lease_s: int) -> None:
        """A new receipt, which no message had before, voids the one before it."""
        assert (message_id, receipt) not in self.receipts
        self.receipts.insert(0, (message_id, receipt))
        message = self.messages[message_id]
        message.receipt, message.visible_ms = receipt, self.now_ms + lease_s * 1000

    def issued(self, which: int) -> tuple[str, str, bool] | None:
        """A receipt issued before, and whether it is still good."""
        if not self.receipts:
            return None
        message_id, receipt = self.receipts[which % len(self.receipts)]
        message = self.messages.get(message_id)
        return message_id, receipt, message is not None and message.receipt == receipt


async def take(queue: WorkQueue, model: Model, action: Receive) -> None:
    visible = model.visible()
    messages = await queue.receive(
        max_messages=action.max_messages, visibility_timeout_s=action.lease_s, timeout_s=TIMEOUT_S
    )
    taken = {message.message_id for message in messages}
    assert taken <= visible
    assert len(messages) == len(taken) == min(action.max_messages, len(visible))
    for message in messages:
        modelled = model.messages[message.message_id]
        modelled.dequeue_count += 1
        assert message.dequeue_count == modelled.dequeue_count
        model.hold(message.message_id, message.pop_receipt, action.lease_s)


async def renew(queue: WorkQueue, model: Model, action: Renew) -> None:
    issued = model.issued(action.which)
    if issued is None:
        return
    message_id, receipt, good = issued
    call = queue.renew(message_id, receipt, visibility_timeout_s=action.lease_s, timeout_s=TIMEOUT_S)
    if good:
        model.hold(message_id, await call, action.lease_s)
    else:
        with pytest.raises(LeaseLostError):
            await call


async def delete(queue: WorkQueue, model: Model, action: Delete) -> None:
    issued = model.issued(action.which)
    if issued is None:
        return
    message_id, receipt, good = issued
    call = queue.delete(message_id, receipt, timeout_s=TIMEOUT_S)
    if good:
        await call
        del model.messages[message_id]
    else:
        with pytest.raises(LeaseLostError):
            await call


@given(history=st.lists(actions, min_size=10, max_size=50))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=150)
async def test_any_history_is_as_modelled(maker: WorldMaker, tmp_path: Path, history: list[Action]) -> None:
    """Whatever two clients do, in whatever order, every reply is the one that the contract says."""
    directory = tmp_path / uuid.uuid4().hex
    directory.mkdir()
    async with maker.queue_world(directory) as world:
        if not world.exact:
            pytest.skip("the clock of this world cannot be met exactly")
        await compare(world, history)


async def compare(world: QueueWorld, history: list[Action]) -> None:
    clients = [await world.client(), await world.client()]
    model = Model()
    await clients[0].create(timeout_s=TIMEOUT_S)
    for step, action in enumerate([Put(), Put(), *history]):
        queue = clients[step % 2]
        match action:
            case Put():
                model.messages[await queue.put("x", timeout_s=TIMEOUT_S)] = Modelled(visible_ms=model.now_ms)
            case Receive():
                await take(queue, model, action)
            case Renew():
                await renew(queue, model, action)
            case Delete():
                await delete(queue, model, action)
            case Pass():
                await world.pass_time(action.time_ms / 1000)
                model.now_ms += action.time_ms
            case _:
                assert_never(action)
    assert await clients[0].length(timeout_s=TIMEOUT_S) == len(model.messages)
