"""A storage queue in memory: what a service keeps, and a client of it for each simulated process.

Messages that become visible at the same moment are delivered in an order drawn from the seed: a storage queue promises
none.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from random import Random
from typing import TypeVar
from uuid import UUID

from fsm.errors import LeaseLostError, MessageRejectedError, MissingError
from fsm.ports import PEEK_MAX, Clock, Message, Peeked, WorkQueue
from simulator.clock import SimulatedClock
from simulator.network import Faults, no_faults, perform

ReplyT = TypeVar("ReplyT")

TEXT_BYTES_MAX = 64 * 1024
"""A message's limit. [https://learn.microsoft.com/azure/storage/queues/scalability-targets, read 2026-11]"""


@dataclass(slots=True, kw_only=True)
class _Kept:
    """A message as the service keeps it; times on the monotonic clock, in whole microseconds."""

    message_id: str
    text: str
    visible_us: int
    expires_us: int | None = None
    expires_at: datetime | None = None
    dequeue_count: int = 0
    receipt: str = ""


@dataclass(slots=True)
class _Messages:
    """One queue.

    Attributes:
        by_id: its messages.
        moments: a heap of those at which messages become visible.
        shown: by such a moment, the messages that do, and some that did until they were hidden again or deleted.
    """

    by_id: dict[str, _Kept] = field(default_factory=dict)
    moments: list[int] = field(default_factory=list)
    shown: dict[int, list[str]] = field(default_factory=dict)


class SimulatedQueueService:
    """One storage account's queues, shared by every client of it.

    Args:
        clock: the world's time.
        random: draws message ids and the order of equals, so that a run replays from its seed.
    """

    def __init__(self, *, clock: Clock | None = None, random: Random | None = None) -> None:
        self._clock = clock or SimulatedClock()
        self._random = random or Random(0)  # noqa: S311 -- a simulation is to be repeatable, not secret
        self._queues: dict[str, _Messages] = {}
        self._receipts = 0

    def create(self, name: str) -> None:
        self._queues.setdefault(name, _Messages())

    def put(self, name: str, text: str, *, time_to_live_s: float | None = None) -> str:
        """Put a message; others than our own clients may give it a time to live.

        Raises:
            MissingError, MessageRejectedError.
        """
        queue = self._queue(name)
        if len(_encoded(text)) > TEXT_BYTES_MAX:
            raise MessageRejectedError(f"a message of more than {TEXT_BYTES_MAX} bytes does not fit into queue {name}")
        message_id = str(UUID(int=self._random.getrandbits(128), version=4))
        kept = _Kept(message_id=message_id, text=text, visible_us=self._now_us())
        if time_to_live_s is not None:
            kept.expires_us = self._now_us() + _us(time_to_live_s)
            kept.expires_at = self._clock.now() + timedelta(seconds=time_to_live_s)
        queue.by_id[message_id] = kept
        self._show(queue, kept)
        return message_id

    def receive(self, name: str, *, max_messages: int, visibility_timeout_s: float) -> list[Message]:
        """Lease up to `max_messages` (1 to 32) visible messages."""
        assert 1 <= max_messages <= 32
        queue, now_us = self._queue(name), self._now_us()
        taken: list[_Kept] = []
        while queue.moments and (visible_us := queue.moments[0]) <= now_us and len(taken) < max_messages:
            kept = self._living(queue, self._drawn(queue, visible_us))
            if kept is not None and kept.visible_us == visible_us:
                kept.visible_us = now_us + _us(visibility_timeout_s)
                kept.dequeue_count += 1
                kept.receipt = self._new_receipt()
                taken.append(kept)
        for kept in taken:
            self._show(queue, kept)
        return [
            Message(
                message_id=kept.message_id,
                text=kept.text,
                dequeue_count=kept.dequeue_count,
                pop_receipt=kept.receipt,
                expires_at=kept.expires_at,
            )
            for kept in taken
        ]

    def renew(self, name: str, message_id: str, pop_receipt: str, *, visibility_timeout_s: float) -> str:
        """Hide a message from now on, or show it at once, and return its new receipt."""
        queue = self._queue(name)
        kept = self._held(queue, message_id, pop_receipt)
        kept.visible_us = self._now_us() + _us(visibility_timeout_s)
        kept.receipt = self._new_receipt()
        self._show(queue, kept)
        return kept.receipt

    def delete(self, name: str, message_id: str, pop_receipt: str) -> None:
        queue = self._queue(name)
        self._held(queue, message_id, pop_receipt)
        del queue.by_id[message_id]

    def length(self, name: str) -> int:
        queue = self._queue(name)
        return sum(self._living(queue, message_id) is not None for message_id in list(queue.by_id))

    def peek(self, name: str) -> Peeked:
        queue, now_us = self._queue(name), self._now_us()
        living = (self._living(queue, message_id) for message_id in list(queue.by_id))
        waiting = [kept for kept in living if kept is not None and kept.visible_us <= now_us][:PEEK_MAX]
        return Peeked(waiting=len(waiting), expiring=sum(kept.expires_us is not None for kept in waiting))

    def _new_receipt(self) -> str:
        self._receipts += 1
        return str(self._receipts)

    def _now_us(self) -> int:
        return _us(self._clock.monotonic_s())

    def _queue(self, name: str) -> _Messages:
        try:
            return self._queues[name]
        except KeyError:
            raise MissingError(f"there is no queue {name!r}") from None

    def _show(self, queue: _Messages, kept: _Kept) -> None:
        """Have the message found once its time has come."""
        shown = queue.shown.get(kept.visible_us)
        if shown is None:
            shown = queue.shown[kept.visible_us] = []
            heapq.heappush(queue.moments, kept.visible_us)
        shown.append(kept.message_id)

    def _drawn(self, queue: _Messages, first_us: int) -> str:
        """Take any of the messages shown at the first of all moments."""
        shown = queue.shown[first_us]
        index = int(self._random.random() * len(shown))
        shown[index], shown[-1] = shown[-1], shown[index]
        message_id = shown.pop()
        if not shown:
            heapq.heappop(queue.moments)
            del queue.shown[first_us]
        return message_id

    def _living(self, queue: _Messages, message_id: str) -> _Kept | None:
        """The message, unless it is deleted or has just expired."""
        kept = queue.by_id.get(message_id)
        if kept is not None and kept.expires_us is not None and kept.expires_us <= self._now_us():
            del queue.by_id[message_id]
            return None
        return kept

    def _held(self, queue: _Messages, message_id: str, pop_receipt: str) -> _Kept:
        kept = self._living(queue, message_id)
        if kept is None:
            raise LeaseLostError(f"message {message_id} is gone")
        if kept.receipt != pop_receipt:
            raise LeaseLostError(f"message {message_id} has a newer receipt")
        return kept


class SimulatedQueue(WorkQueue):
    """One process's client of a simulated queue.

    Args:
        service: what all clients share.
        name: the queue's name.
        faults: asked for each call, as `queue.receive`, `queue.renew`, `queue.delete`, `queue.put` and so on.
    """

    def __init__(self, service: SimulatedQueueService, name: str, *, faults: Faults = no_faults) -> None:
        self._service = service
        self._name = name
        self._faults = faults

    @property
    def name(self) -> str:
        return self._name

    async def receive(self, *, max_messages: int, visibility_timeout_s: float, timeout_s: float) -> Sequence[Message]:
        return await self._perform(
            "receive",
            lambda: self._lease(max_messages=max_messages, visibility_timeout_s=visibility_timeout_s),
            timeout_s,
        )

    def _lease(self, *, max_messages: int, visibility_timeout_s: float) -> list[Message]:
        """The effect of a receive."""
        return self._service.receive(self._name, max_messages=max_messages, visibility_timeout_s=visibility_timeout_s)

    async def renew(self, message_id: str, pop_receipt: str, *, visibility_timeout_s: float, timeout_s: float) -> str:
        return await self._perform(
            "renew",
            lambda: self._service.renew(self._name, message_id, pop_receipt, visibility_timeout_s=visibility_timeout_s),
            timeout_s,
        )

    async def delete(self, message_id: str, pop_receipt: str, *, timeout_s: float) -> None:
        await self._perform("delete", lambda: self._service.delete(self._name, message_id, pop_receipt), timeout_s)

    async def put(self, text: str, *, timeout_s: float) -> str:
        return await self._perform("put", lambda: self._service.put(self._name, text), timeout_s)

    async def length(self, *, timeout_s: float) -> int:
        return await self._perform("length", lambda: self._service.length(self._name), timeout_s)

    async def peek(self, *, timeout_s: float) -> Peeked:
        return await self._perform("peek", lambda: self._service.peek(self._name), timeout_s)

    async def create(self, *, timeout_s: float) -> None:
        await self._perform("create", lambda: self._service.create(self._name), timeout_s)

    async def _perform(self, call: str, effect: Callable[[], ReplyT], timeout_s: float) -> ReplyT:
        return await perform(f"queue.{call}", effect, faults=self._faults, timeout_s=timeout_s)


def _us(seconds: float) -> int:
    """Whole microseconds: sums of them are exact, so that a deadline can be met."""
    return round(seconds * 1_000_000)


def _encoded(text: str) -> bytes:
    """The text in UTF-8.

    Raises:
        MessageRejectedError: it has lone surrogates.
    """
    try:
        return text.encode()
    except UnicodeEncodeError as exc:
        raise MessageRejectedError(f"a message that is not Unicode cannot be put: {exc}") from exc
