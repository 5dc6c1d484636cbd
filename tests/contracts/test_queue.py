"""The contract of `fsm.ports.WorkQueue`, promise by promise."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Awaitable, Callable, Sequence

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fsm.errors import LeaseLostError, MessageRejectedError, MissingError
from fsm.ports import PEEK_MAX, Message, WorkQueue
from tests.contracts.worlds import TIMEOUT_S, QueueWorld

TEXT_BYTES_MAX = 65_536
"""A message's limit on Azure, and so everywhere.
[https://learn.microsoft.com/azure/storage/queues/scalability-targets, read 2026-11]"""
LONG_S = 600.0
"""A lease that does not end within a test."""


async def receive(queue: WorkQueue, *, lease_s: float = LONG_S, max_messages: int = 32) -> Sequence[Message]:
    return await queue.receive(max_messages=max_messages, visibility_timeout_s=lease_s, timeout_s=TIMEOUT_S)


async def receive_one(queue: WorkQueue, *, lease_s: float = LONG_S) -> Message:
    messages = await receive(queue, lease_s=lease_s)
    assert len(messages) == 1
    return messages[0]


async def receive_next(queue: WorkQueue) -> Message:
    """One of several; Azurite gives all messages of one receive the same receipt."""
    return (await receive(queue, max_messages=1))[0]


async def put(queue: WorkQueue, text: str = "work") -> str:
    return await queue.put(text, timeout_s=TIMEOUT_S)


async def renew(queue: WorkQueue, message: Message, *, lease_s: float = LONG_S, receipt: str | None = None) -> str:
    return await queue.renew(
        message.message_id, receipt or message.pop_receipt, visibility_timeout_s=lease_s, timeout_s=TIMEOUT_S
    )


async def delete(queue: WorkQueue, message: Message, *, receipt: str | None = None) -> None:
    await queue.delete(message.message_id, receipt or message.pop_receipt, timeout_s=TIMEOUT_S)


async def length(queue: WorkQueue) -> int:
    return await queue.length(timeout_s=TIMEOUT_S)


class TestDelivery:
    """What a receive brings."""

    async def test_a_message_arrives_as_it_was_put(self, queue: WorkQueue, other_queue: WorkQueue) -> None:
        """What one client puts, another receives at once: same id, same text, first delivery, no expiry."""
        message_id = await put(queue, "page 7")
        message = await receive_one(other_queue)
        assert message.message_id == message_id
        assert message.text == "page 7"
        assert message.dequeue_count == 1
        assert message.expires_at is None

    async def test_an_id_is_a_uuid(self, queue: WorkQueue) -> None:
        """Message ids are UUIDs, so that a record's key never means two messages."""
        ids = [await put(queue) for _ in range(3)]
        assert len({uuid.UUID(message_id) for message_id in ids}) == 3

    async def test_putting_twice_makes_two(self, queue: WorkQueue) -> None:
        """A put is not idempotent: equal texts are two messages."""
        first, second = await put(queue, "same"), await put(queue, "same")
        assert first != second
        assert {message.message_id for message in await receive(queue)} == {first, second}

    async def test_an_empty_queue_gives_nothing(self, queue: WorkQueue) -> None:
        """A receive on an empty queue answers with no message, and not with an error."""
        assert list(await receive(queue)) == []

    async def test_a_receive_takes_at_most_what_was_asked_for(self, queue: WorkQueue) -> None:
        """One receive leases up to the number asked for, and leaves the rest visible."""
        put_ids = {await put(queue, str(number)) for number in range(35)}
        taken = [
            await receive(queue, max_messages=1),
            await receive(queue, max_messages=2),
            await receive(queue, max_messages=32),
        ]
        assert [len(messages) for messages in taken] == [1, 2, 32]
        assert {message.message_id for messages in taken for message in messages} == put_ids

    async def test_two_clients_never_hold_the_same_message(self, queue: WorkQueue, other_queue: WorkQueue) -> None:
        """Receives that run at the same time share the messages out: none is leased twice."""
        put_ids = {await put(queue, str(number)) for number in range(40)}
        batches = await asyncio.gather(
            *(receive(client, max_messages=5) for _ in range(5) for client in (queue, other_queue))
        )
        held = [message.message_id for messages in batches for message in messages]
        assert len(held) == len(set(held))
        held += [message.message_id for message in await receive(queue)]
        assert sorted(held) == sorted(put_ids)

    async def test_queues_do_not_mix(self, queue: WorkQueue, queue_world: QueueWorld) -> None:
        """A message of one queue is neither received, counted nor deleted through another."""
        foreign = await queue_world.client("others")
        await foreign.create(timeout_s=TIMEOUT_S)
        await put(queue)
        assert list(await receive(foreign)) == []
        assert await length(foreign) == 0
        message = await receive_one(queue)
        with pytest.raises(LeaseLostError):
            await delete(foreign, message)
        assert await length(queue) == 1

    async def test_the_name_tells_queues_apart(self, queue: WorkQueue, queue_world: QueueWorld) -> None:
        """A queue's name is the same for all its clients and differs between queues."""
        assert queue.name == (await queue_world.client()).name
        assert queue.name != (await queue_world.client("others")).name


class TestLeases:
    """When a message is hidden, and when it is not."""

    @pytest.mark.parametrize("offset", [-1, 0, 1], ids=["before", "at", "after"])
    async def test_a_lease_ends_at_its_deadline(
        self, queue: WorkQueue, other_queue: WorkQueue, queue_world: QueueWorld, offset: int
    ) -> None:
        """A received message is hidden until its visibility timeout, and then delivered again with a higher count."""
        if offset == 0 and not queue_world.exact:
            pytest.skip("the clock of this world cannot be met exactly")
        await put(queue)
        first = await receive_one(queue, lease_s=queue_world.lease_s)
        await queue_world.pass_time(queue_world.lease_s + offset * queue_world.margin_s)
        again = await receive(other_queue)
        if offset < 0:
            assert list(again) == []
        else:
            assert [(message.message_id, message.dequeue_count) for message in again] == [(first.message_id, 2)]
            assert again[0].pop_receipt != first.pop_receipt

    @pytest.mark.parametrize("offset", [-1, 0, 1], ids=["before", "at", "after"])
    async def test_a_renewal_counts_from_now(
        self, queue: WorkQueue, other_queue: WorkQueue, queue_world: QueueWorld, offset: int
    ) -> None:
        """A renewal hides the message for its whole timeout from the renewal on, and raises no count."""
        if offset == 0 and not queue_world.exact:
            pytest.skip("the clock of this world cannot be met exactly")
        await put(queue)
        message = await receive_one(queue, lease_s=queue_world.lease_s)
        await queue_world.pass_time(queue_world.lease_s / 2)
        await renew(queue, message, lease_s=queue_world.lease_s)
        await queue_world.pass_time(queue_world.lease_s + offset * queue_world.margin_s)
        again = await receive(other_queue)
        assert [message.dequeue_count for message in again] == ([] if offset < 0 else [2])

    async def test_a_renewal_may_shorten(self, queue: WorkQueue, queue_world: QueueWorld) -> None:
        """A renewal replaces the deadline, also by an earlier one."""
        await put(queue)
        message = await receive_one(queue, lease_s=LONG_S)
        await renew(queue, message, lease_s=queue_world.lease_s)
        await queue_world.pass_time(queue_world.lease_s + queue_world.margin_s)
        assert (await receive_one(queue)).message_id == message.message_id

    async def test_only_receives_are_counted(self, queue: WorkQueue) -> None:
        """The dequeue count rises by one with each receive, and never with a renewal or a release."""
        await put(queue)
        for delivery in range(1, 6):
            message = await receive_one(queue)
            assert message.dequeue_count == delivery
            receipt = await renew(queue, message)
            await renew(queue, message, receipt=receipt, lease_s=0)

    async def test_a_release_is_visible_at_once(self, queue: WorkQueue, other_queue: WorkQueue) -> None:
        """A renewal for zero seconds hands the message to whoever asks next."""
        await put(queue)
        message = await receive_one(queue)
        await renew(queue, message, lease_s=0)
        again = await receive_one(other_queue)
        assert (again.message_id, again.dequeue_count) == (message.message_id, 2)


class TestReceipts:
    """Who may renew, release and delete."""

    async def test_a_renewal_voids_the_old_receipt(self, queue: WorkQueue) -> None:
        """After a renewal only the receipt it returned works; the refusals change nothing."""
        await put(queue)
        message = await receive_one(queue)
        receipt = await renew(queue, message)
        assert receipt != message.pop_receipt
        with pytest.raises(LeaseLostError):
            await renew(queue, message)
        with pytest.raises(LeaseLostError):
            await renew(queue, message, lease_s=0)
        with pytest.raises(LeaseLostError):
            await delete(queue, message)
        await delete(queue, message, receipt=receipt)
        assert await length(queue) == 0

    async def test_a_receipt_is_no_clients_own(self, queue: WorkQueue, other_queue: WorkQueue) -> None:
        """Who has the receipt may use it, whichever client received the message."""
        await put(queue)
        message = await receive_one(queue)
        receipt = await renew(other_queue, message)
        await delete(queue, message, receipt=receipt)
        assert await length(other_queue) == 0

    @pytest.mark.parametrize("action", ["renew", "release", "delete"])
    async def test_an_expired_lease_is_still_good(
        self, queue: WorkQueue, other_queue: WorkQueue, queue_world: QueueWorld, action: str
    ) -> None:
        """After the timeout the receipt works as long as nobody has received the message again."""
        await put(queue)
        message = await receive_one(queue, lease_s=queue_world.lease_s)
        await queue_world.pass_time(queue_world.lease_s + queue_world.margin_s)
        match action:
            case "renew":
                await renew(queue, message)
                assert list(await receive(other_queue)) == []
            case "release":
                await renew(queue, message, lease_s=0)
                assert (await receive_one(other_queue)).dequeue_count == 2
            case _:
                await delete(queue, message)
                assert await length(other_queue) == 0

    async def test_a_released_message_may_still_be_deleted(self, queue: WorkQueue) -> None:
        """The receipt that a release returned works until somebody receives the message."""
        await put(queue)
        message = await receive_one(queue)
        receipt = await renew(queue, message, lease_s=0)
        await delete(queue, message, receipt=receipt)
        assert await length(queue) == 0

    @pytest.mark.parametrize("how", ["expired", "released"])
    async def test_a_new_delivery_voids_the_old_receipt(
        self, queue: WorkQueue, other_queue: WorkQueue, queue_world: QueueWorld, how: str
    ) -> None:
        """Once somebody received the message again, the old receipt neither renews, releases nor deletes."""
        await put(queue)
        message = await receive_one(queue, lease_s=queue_world.lease_s)
        stale = message.pop_receipt
        if how == "expired":
            await queue_world.pass_time(queue_world.lease_s + queue_world.margin_s)
        else:
            stale = await renew(queue, message, lease_s=0)
        again = await receive_one(other_queue)
        with pytest.raises(LeaseLostError):
            await renew(queue, message, receipt=stale)
        with pytest.raises(LeaseLostError):
            await renew(queue, message, receipt=stale, lease_s=0)
        with pytest.raises(LeaseLostError):
            await delete(queue, message, receipt=stale)
        assert list(await receive(queue)) == []
        await delete(other_queue, again)
        assert await length(queue) == 0

    async def test_a_receipt_is_for_one_message(self, queue: WorkQueue) -> None:
        """The receipt of one message does nothing to another."""
        await put(queue, "one")
        await put(queue, "two")
        one, two = [await receive_next(queue) for _ in range(2)]
        with pytest.raises(LeaseLostError):
            await delete(queue, one, receipt=two.pop_receipt)
        with pytest.raises(LeaseLostError):
            await renew(queue, one, receipt=two.pop_receipt)
        assert await length(queue) == 2


class TestDeleting:
    """The end of a message."""

    async def test_a_deleted_message_never_comes_back(
        self, queue: WorkQueue, other_queue: WorkQueue, queue_world: QueueWorld
    ) -> None:
        """A delete is for good, also after the lease would have ended."""
        await put(queue)
        await delete(queue, await receive_one(queue, lease_s=queue_world.lease_s))
        await queue_world.pass_time(queue_world.lease_s + queue_world.margin_s)
        assert list(await receive(other_queue)) == []
        assert await length(other_queue) == 0

    async def test_what_is_gone_is_a_lost_lease(self, queue: WorkQueue) -> None:
        """Deleting, renewing or releasing a deleted message says that the lease is lost."""
        await put(queue)
        message = await receive_one(queue)
        await delete(queue, message)
        with pytest.raises(LeaseLostError):
            await delete(queue, message)
        with pytest.raises(LeaseLostError):
            await renew(queue, message)
        with pytest.raises(LeaseLostError):
            await renew(queue, message, lease_s=0)

    async def test_one_of_many_deletes_wins(self, queue: WorkQueue, other_queue: WorkQueue) -> None:
        """Of deletes that run at the same time exactly one succeeds; the others are told that the lease is lost."""
        await put(queue)
        message = await receive_one(queue)
        ends = await asyncio.gather(
            *(delete(client, message) for _ in range(3) for client in (queue, other_queue)), return_exceptions=True
        )
        assert sorted(type(end).__name__ for end in ends) == ["LeaseLostError"] * 5 + ["NoneType"]


class TestTheQueueItself:
    """Creating, counting, and what is not there."""

    async def test_length_counts_leased_messages_too(self, queue: WorkQueue, other_queue: WorkQueue) -> None:
        """The length is that of all messages, visible or leased."""
        assert await length(queue) == 0
        for _ in range(3):
            await put(queue)
        await receive(queue, max_messages=2)
        assert await length(other_queue) == 3

    async def test_creating_again_changes_nothing(self, queue: WorkQueue, other_queue: WorkQueue) -> None:
        """Creating a queue that exists succeeds and keeps its messages."""
        message_id = await put(queue)
        await other_queue.create(timeout_s=TIMEOUT_S)
        assert (await receive_one(queue)).message_id == message_id

    async def test_a_look_counts_what_waits_and_not_what_is_leased(
        self, queue: WorkQueue, other_queue: WorkQueue
    ) -> None:
        """A look tells waiting from leased up to 32 messages, and says 32 for any more."""
        assert (await queue.peek(timeout_s=TIMEOUT_S)).waiting == 0
        for _ in range(5):
            await put(queue)
        leased = await receive(queue, max_messages=2)
        assert (await other_queue.peek(timeout_s=TIMEOUT_S)).waiting == 3
        await renew(queue, leased[0], lease_s=0)
        assert (await other_queue.peek(timeout_s=TIMEOUT_S)).waiting == 4
        for _ in range(PEEK_MAX):
            await put(queue)
        assert (await other_queue.peek(timeout_s=TIMEOUT_S)).waiting == PEEK_MAX

    @pytest.mark.parametrize("call", ["receive", "renew", "release", "delete", "put", "length", "peek"])
    async def test_a_queue_that_is_not_there_is_said(
        self, queue: WorkQueue, queue_world: QueueWorld, call: str
    ) -> None:
        """Every call on a queue that nobody created says that it is missing; none creates it."""
        await put(queue)
        message = await receive_one(queue)
        absent = await queue_world.client("absent")
        calls: dict[str, Callable[[], Awaitable[object]]] = {
            "receive": lambda: receive(absent),
            "renew": lambda: renew(absent, message),
            "release": lambda: renew(absent, message, lease_s=0),
            "delete": lambda: delete(absent, message),
            "put": lambda: put(absent),
            "length": lambda: length(absent),
            "peek": lambda: absent.peek(timeout_s=TIMEOUT_S),
        }
        for _ in range(2):
            with pytest.raises(MissingError):
                await calls[call]()


class TestLifetimes:
    """Messages that the queue would drop by itself."""

    async def test_what_we_put_never_expires_and_a_look_changes_nothing(self, queue: WorkQueue) -> None:
        """None of our messages has a time to live, and a look neither hides a message nor counts as a receive."""
        await put(queue, "one")
        assert (await queue.peek(timeout_s=TIMEOUT_S)).expiring == 0
        assert (await receive_one(queue)).dequeue_count == 1


class TestTexts:
    """What a message may say."""

    @pytest.mark.parametrize("letter", ["a", "é", "\U0001f680"], ids=["1 byte", "2 bytes", "4 bytes"])
    async def test_the_limit_is_in_bytes(self, queue: WorkQueue, queue_world: QueueWorld, letter: str) -> None:
        """A text of 65,536 bytes is carried; one letter more is rejected, and nothing is put."""
        if queue_world.tears_letters and not letter.isascii():
            pytest.skip("the service of this world spoils letters of several bytes in long texts")
        longest = letter * (TEXT_BYTES_MAX // len(letter.encode()))
        await put(queue, longest)
        with pytest.raises(MessageRejectedError):
            await put(queue, longest + letter)
        assert [message.text for message in await receive(queue)] == [longest]

    @given(text=st.text(st.characters(exclude_categories=("Cc", "Cs", "Cn")), max_size=300))
    @settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=60)
    async def test_printable_text_is_carried(self, queue: WorkQueue, text: str) -> None:
        """Every text without control characters, the empty one included, arrives as it was put."""
        await put(queue, text)
        message = await receive_one(queue)
        await delete(queue, message)
        assert message.text == text

    @given(text=st.text(st.characters(), max_size=30))
    @settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=60)
    async def test_any_text_is_carried_or_rejected(self, queue: WorkQueue, text: str) -> None:
        """Whatever the text, it arrives as it was put, or the put is rejected and nothing arrives."""
        try:
            await put(queue, text)
        except MessageRejectedError:
            assert await length(queue) == 0
            return
        message = await receive_one(queue)
        await delete(queue, message)
        assert message.text == text
