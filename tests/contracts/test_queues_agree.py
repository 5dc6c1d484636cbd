"""The simulator's queue, SQLite's and Azure's agree, operation by operation.

A storage queue promises no order, so that a receive here takes all that is visible: which messages, each how often
delivered, is then one answer. A lease is either longer than any test, or it is waited for until it has surely lapsed.
"""

from __future__ import annotations

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import initialize, precondition, rule, run_state_machine_as_test

from fsm.ports import Message, WorkQueue
from tests.contracts.side_by_side import PHASES, TIMEOUT_S, SideBySide, queue_worlds
from tests.contracts.worlds import QueueWorld

LONG_S, SHORT_S, MARGIN_S = 600.0, 1.0, 0.6
WAITS_MAX = 1
EXAMPLES = 20

which_receipts = st.integers(0, 3)
"""Newest first."""


class Queues(SideBySide[QueueWorld, WorkQueue]):
    """A main queue and a poison queue of each.

    Attributes:
        receipts: all that were ever issued, newest first: the message's text, and its id and receipt in each.
    """

    @initialize()
    def create(self) -> None:
        """Both queues, twice: creating again changes nothing."""

        async def create() -> None:
            await self.enter_worlds(queue_worlds)
            for name, world in self.worlds.items():
                self.clients[name] = (await world.client(), await world.client())
                self.aside[name] = await world.client("jobs-poison")
                for queue in (*self.clients[name], self.aside[name]):
                    await queue.create(timeout_s=TIMEOUT_S)

        self.aside: dict[str, WorkQueue] = {}
        self.receipts: list[tuple[str, dict[str, tuple[str, str]]]] = []
        self.count = 0
        self.drive(create())

    @rule(text=st.sampled_from(("", "page 7", "<&>", "Grüße", "日本語 \U0001f600")))
    def put(self, text: str) -> None:
        """A message, told from all others by its text."""
        self.count += 1
        text = f"{self.count} {text}".strip()
        replies = self.each(lambda _name, queue: queue.put(text, timeout_s=TIMEOUT_S))
        assert len(set(replies.values())) == 3

    def receive_all(self, lease_s: float) -> None:
        """All that is visible is the same, as often delivered, under receipts of its own."""
        replies = self.each(
            lambda _name, queue: queue.receive(max_messages=32, visibility_timeout_s=lease_s, timeout_s=TIMEOUT_S)
        )
        by_text: dict[str, dict[str, Message]] = {}
        for name, messages in replies.items():
            assert not isinstance(messages, str), replies
            by_text[name] = {message.text: message for message in messages}
            assert len(by_text[name]) == len(messages)
        seen = [
            {text: (message.dequeue_count, message.expires_at) for text, message in messages.items()}
            for messages in by_text.values()
        ]
        assert seen[0] == seen[1] == seen[2]
        for text in sorted(seen[0]):
            held = {name: (messages[text].message_id, messages[text].pop_receipt) for name, messages in by_text.items()}
            self.receipts.insert(0, (text, held))

    @rule()
    def receive(self) -> None:
        """Under a lease that does not end."""
        self.receive_all(LONG_S)

    @precondition(lambda self: self.waits < WAITS_MAX)
    @rule()
    def receive_and_lapse(self) -> None:
        """Under a lease that ends: all of it is visible again, and its receipts are good until then and after."""
        self.receive_all(SHORT_S)
        self.wait(SHORT_S + MARGIN_S)

    @precondition(lambda self: self.receipts)
    @rule(which=which_receipts, lease_s=st.sampled_from((LONG_S, 0.0)))
    def renew(self, which: int, lease_s: float) -> None:
        """A renewal or, with 0, a release, under any receipt ever issued: good for all three, or lost for all three."""
        text, held = self.receipts[which % len(self.receipts)]
        replies = self.each(
            lambda name, queue: queue.renew(*held[name], visibility_timeout_s=lease_s, timeout_s=TIMEOUT_S)
        )
        lost = {name for name, reply in replies.items() if reply == "LeaseLostError"}
        assert lost in (set(), set(replies)), replies
        if not lost:
            self.receipts.insert(0, (text, {name: (held[name][0], reply) for name, reply in replies.items()}))

    @precondition(lambda self: self.waits < WAITS_MAX and self.receipts)
    @rule(which=which_receipts)
    def renew_and_lapse(self, which: int) -> None:
        """A renewal is counted from its own time, and ends."""
        self.renew(which, SHORT_S)
        self.wait(SHORT_S + MARGIN_S)

    @precondition(lambda self: self.receipts)
    @rule(which=which_receipts)
    def delete(self, which: int) -> None:
        """A delete under any receipt ever issued."""
        _, held = self.receipts[which % len(self.receipts)]
        self.agreed(lambda name, queue: queue.delete(*held[name], timeout_s=TIMEOUT_S))

    @precondition(lambda self: self.receipts)
    @rule(which=which_receipts)
    def put_aside(self, which: int) -> None:
        """Put aside, then deleted; put aside again if the receipt was not good."""
        text, held = self.receipts[which % len(self.receipts)]
        self.each(lambda name, _queue: self.aside[name].put(text, timeout_s=TIMEOUT_S))
        self.agreed(lambda name, queue: queue.delete(*held[name], timeout_s=TIMEOUT_S))
        self.agreed(lambda name, _queue: self.aside[name].length(timeout_s=TIMEOUT_S))

    @rule()
    def look(self) -> None:
        """How many there are, leased ones included, and how many of them wait."""
        self.agreed(lambda _name, queue: queue.length(timeout_s=TIMEOUT_S))
        self.agreed(lambda _name, queue: queue.peek(timeout_s=TIMEOUT_S))

    def teardown(self) -> None:
        try:
            if self.clients:
                self.look()
        finally:
            super().teardown()


@pytest.mark.azurite
@pytest.mark.timeout(300)
def test_three_queues_agree() -> None:
    """Whatever two clients do, all three queues give the same answer to every call of it."""
    run_state_machine_as_test(
        Queues,
        settings=settings(max_examples=EXAMPLES, stateful_step_count=20, deadline=None, print_blob=True, phases=PHASES),
    )
