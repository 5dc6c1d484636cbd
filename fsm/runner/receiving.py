"""Receives messages while the worker works: as many as can start now, and no more."""

from __future__ import annotations

from collections.abc import Callable

from fsm.backoff import EMPTY_QUEUE_FIRST_S, START_RETRY, Backoff, asked_pause_s
from fsm.errors import PlatformError
from fsm.journal_kinds import Kind
from fsm.runner.delivering import Delivering
from fsm.runner.settings import RECEIVE_MAX
from fsm.runner.workplace import Workplace

GATHER_S = 0.02
"""How long freed places are gathered, so that short jobs are received in pages and not one by one."""


class Receiver:
    """The receive loop of one period of work; `start` is called with each delivery it brings."""

    def __init__(self, place: Workplace, start: Callable[[Delivering], None]) -> None:
        self._place = place
        self._start = start
        self._empty = 0
        self._failed = 0

    async def run(self) -> None:
        """Receive until the worker stops working.

        A receive that is in flight when a notice arrives is awaited; what it brings is handed back unbegun.
        """
        while self._place.situation.working:
            if not self._place.store_answers:
                await self._ask_store()
            elif self._place.free == 0:
                await self._place.situation.anything()
            elif await self._gather():
                await self._receive()

    async def _gather(self) -> bool:
        """Wait a moment for more places, unless a good part of a page can start already; say whether to receive."""
        place = self._place
        page = min(RECEIVE_MAX, max(1, place.settings.concurrency // 2))
        until_s = place.ports.clock.monotonic_s() + GATHER_S
        while place.situation.working and place.free < page:
            left_s = until_s - place.ports.clock.monotonic_s()
            if left_s <= 0:
                break
            await place.situation.anything(timeout_s=left_s)
        return place.situation.working and place.free > 0  # meanwhile more may have begun to settle

    async def _receive(self) -> None:
        place = self._place
        asked = 1 if self._failed else min(RECEIVE_MAX, place.free)  # a lost reply hides whatever it was to bring
        visibility_s = place.settings.visibility_timeout_s + place.situation.freeze_s
        place.ports.journal.write(Kind.RECEIVE, {"asked": asked})
        asked_s = place.ports.clock.monotonic_s()
        try:
            messages = await place.ports.queue.receive(
                max_messages=asked, visibility_timeout_s=visibility_s, timeout_s=place.settings.call_timeout_s
            )
        except PlatformError as exc:
            place.note_failure("receive", None, exc)
            self._failed += 1
            await self._pause(START_RETRY, self._failed, at_least_s=asked_pause_s(exc))
            return
        self._failed = 0
        if not messages:
            await self._rest()
            return
        self._empty = 0
        place.ports.journal.write(Kind.RECEIVED, {"count": len(messages)})
        for message in messages:
            delivery = Delivering(place, message, lease_until_s=asked_s + visibility_s)
            place.take(delivery)
            self._start(delivery)

    async def _rest(self) -> None:
        """Pause after an empty receive, longer each time; end the worker if it was to end when all is done."""
        place = self._place
        self._empty += 1
        if place.settings.until_empty and not place.active and await self._nothing_left():
            place.situation.request_stop("the queue is empty", grace_s=place.settings.stop_grace_s)
            return
        await self._pause(Backoff(first_s=EMPTY_QUEUE_FIRST_S, most_s=place.settings.idle_poll_s_max), self._empty)

    async def _nothing_left(self) -> bool:
        try:
            return await self._place.ports.queue.length(timeout_s=self._place.settings.call_timeout_s) == 0
        except PlatformError as exc:
            self._place.note_failure("length", None, exc)
            return False

    async def _ask_store(self) -> None:
        """While the store is out of reach nothing is received; ask it until it answers."""
        place, store = self._place, self._place.ports.store
        assert store is not None
        try:
            await store.read_presence(
                place.identity.vm_id, place.settings.instance, timeout_s=place.settings.call_timeout_s
            )
        except PlatformError as exc:
            place.note_failure("read_presence", None, exc)
            self._failed += 1
            await self._pause(START_RETRY, self._failed, at_least_s=asked_pause_s(exc))
            return
        self._failed = 0
        place.store_answers = True

    async def _pause(self, backoff: Backoff, attempt: int, *, at_least_s: float = 0.0) -> None:
        """Pause, cut short when the worker stops working."""
        place = self._place
        pause_s = backoff.pause_s(attempt, draw=place.ports.randomness.uniform(0.0, 1.0))
        until_s = place.ports.clock.monotonic_s() + max(pause_s, at_least_s)
        while place.situation.working:
            left_s = until_s - place.ports.clock.monotonic_s()
            if left_s <= 0:
                return
            await place.situation.change(timeout_s=left_s)
