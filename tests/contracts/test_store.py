"""The contract of `fsm.ports.JobStore`, promise by promise."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Awaitable, Callable
from datetime import timedelta

import pytest
from hypothesis import HealthCheck, given, settings

from fsm.errors import BadReplyError, MissingError, VersionConflictError
from fsm.ports import JobStore, RecordTotals
from fsm.record import RECORD_BYTES_MAX, Record, Status, canonical
from tests.contracts.records import presence, record, records
from tests.contracts.worlds import TIMEOUT_S, StoreWorld

QUEUE = "jobs"


def new_id() -> str:
    return str(uuid.uuid4())


async def write(
    store: JobStore, message_id: str, document: Record, *, expected: str | None = None, queue: str = QUEUE
) -> str:
    return await store.write(queue, message_id, document, expected=expected, timeout_s=TIMEOUT_S)


async def found(store: JobStore, message_id: str, *, queue: str = QUEUE) -> tuple[Record, str] | None:
    stored = await store.read(queue, message_id, timeout_s=TIMEOUT_S)
    return None if stored is None else (stored.record, stored.version)


class TestConditionalWrites:
    """The fence rests on these."""

    async def test_what_is_not_there_is_none(self, store: JobStore) -> None:
        """Reading a record nobody wrote answers None."""
        assert await found(store, new_id()) is None

    async def test_a_write_is_read_by_everybody(self, store: JobStore, other_store: JobStore) -> None:
        """What one client wrote, every other reads from then on, at the version the write returned."""
        message_id = new_id()
        version = await write(store, message_id, record())
        assert await found(other_store, message_id) == (record(), version)
        newer = await write(store, message_id, record(progress="1"), expected=version)
        assert newer != version
        assert await found(other_store, message_id) == (record(progress="1"), newer)

    async def test_creating_wants_absence(self, store: JobStore, other_store: JobStore) -> None:
        """A create-only write over a record is refused and changes nothing."""
        message_id = new_id()
        version = await write(store, message_id, record(token="first"))
        with pytest.raises(VersionConflictError):
            await write(other_store, message_id, record(token="second"))
        assert await found(store, message_id) == (record(token="first"), version)

    async def test_a_stale_version_is_refused(self, store: JobStore, other_store: JobStore) -> None:
        """A write at a version that has been overwritten is refused and changes nothing."""
        message_id = new_id()
        stale = await write(store, message_id, record())
        newest = await write(other_store, message_id, record(token="newer"), expected=stale)
        with pytest.raises(VersionConflictError):
            await write(store, message_id, record(token="zombie"), expected=stale)
        assert await found(store, message_id) == (record(token="newer"), newest)

    async def test_an_equal_document_is_a_new_version(self, store: JobStore) -> None:
        """Writing the same document again makes a new version all the same."""
        message_id = new_id()
        version = await write(store, message_id, record())
        newer = await write(store, message_id, record(), expected=version)
        assert newer != version
        with pytest.raises(VersionConflictError):
            await write(store, message_id, record(), expected=version)

    async def test_a_version_wants_a_record(self, store: JobStore) -> None:
        """A write at some version of a record that does not exist is refused and creates nothing."""
        version = await write(store, new_id(), record())
        absent = new_id()
        with pytest.raises(VersionConflictError):
            await write(store, absent, record(), expected=version)
        assert await found(store, absent) is None

    async def test_a_version_is_of_one_record(self, store: JobStore) -> None:
        """The version of one record never stands for another's."""
        one, two = new_id(), new_id()
        version = await write(store, one, record())
        await write(store, two, record())
        with pytest.raises(VersionConflictError):
            await write(store, two, record(progress="2"), expected=version)

    async def test_keys_are_queue_and_id(self, store: JobStore) -> None:
        """Records of the same message id under two queues are two records."""
        message_id = new_id()
        await write(store, message_id, record(token="jobs"))
        assert await found(store, message_id, queue="others") is None
        await write(store, message_id, record(token="others"), queue="others")
        mine = await found(store, message_id)
        assert mine is not None
        assert mine[0] == record(token="jobs")

    async def test_one_creator_wins(self, store: JobStore, other_store: JobStore) -> None:
        """Of create-only writes that run at the same time exactly one succeeds, and its document stays."""
        message_id = new_id()
        tokens = [str(number) for number in range(8)]
        ends = await asyncio.gather(
            *(
                write(client, message_id, record(token=token))
                for token, client in zip(tokens, (store, other_store) * 4, strict=True)
            ),
            return_exceptions=True,
        )
        winners = [token for token, end in zip(tokens, ends, strict=True) if isinstance(end, str)]
        assert len(winners) == 1
        assert sum(isinstance(end, VersionConflictError) for end in ends) == 7
        stored = await found(store, message_id)
        assert stored is not None
        assert stored[0] == record(token=winners[0])

    async def test_one_writer_wins(self, store: JobStore, other_store: JobStore) -> None:
        """Of writes at the same version that run at the same time exactly one succeeds, and its document stays."""
        message_id = new_id()
        version = await write(store, message_id, record())
        tokens = [str(number) for number in range(8)]
        ends = await asyncio.gather(
            *(
                write(client, message_id, record(token=token), expected=version)
                for token, client in zip(tokens, (store, other_store) * 4, strict=True)
            ),
            return_exceptions=True,
        )
        winners = {token: end for token, end in zip(tokens, ends, strict=True) if isinstance(end, str)}
        assert len(winners) == 1
        assert sum(isinstance(end, VersionConflictError) for end in ends) == 7
        token, newest = winners.popitem()
        assert await found(store, message_id) == (record(token=token), newest)


class TestDocuments:
    """What a record may hold."""

    @given(document=records)
    @settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=60)
    async def test_every_record_comes_back_equal(
        self, store: JobStore, other_store: JobStore, document: Record
    ) -> None:
        """Any record is read as it was written."""
        message_id = new_id()
        version = await write(store, message_id, document)
        assert await found(other_store, message_id) == (document, version)

    async def test_a_full_record_fits(self, store: JobStore) -> None:
        """Progress of almost the record's limit is carried."""
        message_id = new_id()
        document = record(progress=canonical("x" * (RECORD_BYTES_MAX - 4096)))
        version = await write(store, message_id, document)
        assert await found(store, message_id) == (document, version)

    async def test_what_is_no_record_is_said(self, store: JobStore, store_world: StoreWorld) -> None:
        """A stored document that is not a record is an error, and never "no record"."""
        message_id = new_id()
        await write(store, message_id, record())
        await store_world.spoil(QUEUE, message_id)
        with pytest.raises(BadReplyError):
            await found(store, message_id)


class TestPresence:
    """Who stands for an instance of a VM now."""

    async def test_nobody_yet(self, store: JobStore) -> None:
        """An instance nobody wrote a presence for has none, by id and by name."""
        assert await store.read_presence("vm-1", "0", timeout_s=TIMEOUT_S) is None
        assert await store.read_presence_named("spot", "0", timeout_s=TIMEOUT_S) is None

    async def test_the_last_presence_stands(self, store: JobStore, other_store: JobStore) -> None:
        """A presence replaces the one before it, unconditionally, for every reader."""
        await store.write_presence(presence(process="p1"), timeout_s=TIMEOUT_S)
        await other_store.write_presence(presence(process="p2", boot_id="boot-2"), timeout_s=TIMEOUT_S)
        newest = presence(process="p2", boot_id="boot-2")
        assert await store.read_presence("vm-1", "0", timeout_s=TIMEOUT_S) == newest
        assert await store.read_presence_named("spot", "0", timeout_s=TIMEOUT_S) == newest

    async def test_instances_are_apart(self, store: JobStore) -> None:
        """Each instance on a VM has a presence of its own."""
        for instance in ("0", "1"):
            await store.write_presence(presence(instance=instance, process=f"p{instance}"), timeout_s=TIMEOUT_S)
        for instance in ("0", "1"):
            expected = presence(instance=instance, process=f"p{instance}")
            assert await store.read_presence("vm-1", instance, timeout_s=TIMEOUT_S) == expected
            assert await store.read_presence_named("spot", instance, timeout_s=TIMEOUT_S) == expected

    async def test_the_newest_of_a_name_wins(self, store: JobStore, other_store: JobStore) -> None:
        """A recreated VM takes over its name and leaves the old VM's own presence as it is."""
        old, new = presence(vm_id="vm-old"), presence(vm_id="vm-new", boot_id="boot-2", process="p2")
        await store.write_presence(old, timeout_s=TIMEOUT_S)
        await store.write_presence(new, timeout_s=TIMEOUT_S)
        assert await other_store.read_presence_named("spot", "0", timeout_s=TIMEOUT_S) == new
        assert await other_store.read_presence("vm-old", "0", timeout_s=TIMEOUT_S) == old
        assert await other_store.read_presence("vm-new", "0", timeout_s=TIMEOUT_S) == new
        await store.write_presence(old, timeout_s=TIMEOUT_S)
        assert await other_store.read_presence_named("spot", "0", timeout_s=TIMEOUT_S) == old

    async def test_an_id_is_no_name(self, store: JobStore) -> None:
        """A VM's id and a VM's name are different keys, also where they are the same text."""
        await store.write_presence(presence(vm_id="one", vm_name="two"), timeout_s=TIMEOUT_S)
        assert await store.read_presence("two", "0", timeout_s=TIMEOUT_S) is None
        assert await store.read_presence_named("one", "0", timeout_s=TIMEOUT_S) is None


class TestPruning:
    """Records go when they are terminal, confirmed and old, and never before."""

    @pytest.mark.parametrize("offset", [-1, 0, 1], ids=["before", "at", "after"])
    async def test_a_record_goes_at_its_age(
        self, store: JobStore, other_store: JobStore, store_world: StoreWorld, offset: int
    ) -> None:
        """A terminal record goes once its delete was confirmed that long ago, by any client."""
        if offset == 0 and not store_world.exact:
            pytest.skip("the clock of this world cannot be met exactly")
        done, poisoned = new_id(), new_id()
        await write(store, done, record(Status.DONE))
        await write(store, poisoned, record(Status.POISONED))
        await store.confirm_deleted(QUEUE, [done, poisoned], timeout_s=TIMEOUT_S)
        await store_world.pass_time(store_world.retention_s + offset * store_world.margin_s)
        older_than = timedelta(seconds=store_world.retention_s)
        pruned = await other_store.prune(QUEUE, older_than=older_than, timeout_s=TIMEOUT_S)
        assert pruned == (0 if offset < 0 else 2)
        assert (await found(store, done) is None) == (offset >= 0)
        assert await other_store.prune(QUEUE, older_than=older_than, timeout_s=TIMEOUT_S) == 0

    async def test_only_terminal_and_confirmed_records_go(self, store: JobStore, store_world: StoreWorld) -> None:
        """An open or released record stays although it was confirmed, a terminal one because it was not."""
        ids = {status: new_id() for status in Status}
        unconfirmed = new_id()
        for status, message_id in ids.items():
            await write(store, message_id, record(status))
        await write(store, unconfirmed, record(Status.DONE))
        await store.confirm_deleted(QUEUE, list(ids.values()), timeout_s=TIMEOUT_S)
        await store_world.pass_time(store_world.margin_s)
        assert await store.prune(QUEUE, older_than=timedelta(0), timeout_s=TIMEOUT_S) == 2
        kept = [status for status, message_id in ids.items() if await found(store, message_id) is not None]
        assert kept == [Status.OPEN, Status.RELEASED]
        assert await found(store, unconfirmed) is not None

    async def test_pruning_is_of_one_queue(self, store: JobStore, store_world: StoreWorld) -> None:
        """Pruning one queue's records leaves another's alone."""
        message_id = new_id()
        await write(store, message_id, record(Status.DONE), queue="others")
        await store.confirm_deleted("others", [message_id], timeout_s=TIMEOUT_S)
        await store_world.pass_time(store_world.margin_s)
        assert await store.prune(QUEUE, older_than=timedelta(0), timeout_s=TIMEOUT_S) == 0
        assert await found(store, message_id, queue="others") is not None

    async def test_confirming_is_idempotent(self, store: JobStore, store_world: StoreWorld) -> None:
        """Confirming again, nothing, or what has no record changes nothing; the first confirmation counts."""
        message_id = new_id()
        await write(store, message_id, record(Status.DONE))
        await store.confirm_deleted(QUEUE, [message_id], timeout_s=TIMEOUT_S)
        await store_world.pass_time(store_world.retention_s + store_world.margin_s)
        await store.confirm_deleted(QUEUE, [message_id, new_id()], timeout_s=TIMEOUT_S)
        await store.confirm_deleted(QUEUE, [], timeout_s=TIMEOUT_S)
        older_than = timedelta(seconds=store_world.retention_s)
        assert await store.prune(QUEUE, older_than=older_than, timeout_s=TIMEOUT_S) == 1

    async def test_confirming_changes_no_record(self, store: JobStore) -> None:
        """A confirmed record reads as before."""
        message_id = new_id()
        await write(store, message_id, record(Status.DONE, progress="[1]"))
        await store.confirm_deleted(QUEUE, [message_id], timeout_s=TIMEOUT_S)
        stored = await found(store, message_id)
        assert stored is not None
        assert stored[0] == record(Status.DONE, progress="[1]")

    async def test_a_pruned_version_never_matches_again(self, store: JobStore, store_world: StoreWorld) -> None:
        """A version of a pruned record is stale for ever, also for a new record in its place."""
        message_id = new_id()
        old = await write(store, message_id, record(Status.DONE))
        await store.confirm_deleted(QUEUE, [message_id], timeout_s=TIMEOUT_S)
        await store_world.pass_time(store_world.margin_s)
        assert await store.prune(QUEUE, older_than=timedelta(0), timeout_s=TIMEOUT_S) == 1
        await write(store, message_id, record(token="new"))
        with pytest.raises(VersionConflictError):
            await write(store, message_id, record(token="zombie"), expected=old)


class TestTotals:
    """How a queue's records stand."""

    async def test_totals_count_each_status(self, store: JobStore, other_store: JobStore) -> None:
        """Totals count the records of one queue by status."""
        assert await store.totals(QUEUE, timeout_s=TIMEOUT_S) == RecordTotals(
            running=0, released=0, checkpointed=0, completed=0, poisoned=0
        )
        many = {Status.OPEN: 1, Status.RELEASED: 2, Status.DONE: 3, Status.POISONED: 4}
        for status, number in many.items():
            for _ in range(number):
                await write(store, new_id(), record(status))
        await write(store, new_id(), record(Status.DONE), queue="others")
        assert await other_store.totals(QUEUE, timeout_s=TIMEOUT_S) == RecordTotals(
            running=1, released=2, checkpointed=0, completed=3, poisoned=4
        )

    async def test_what_was_handed_back_with_progress_is_checkpointed(
        self, store: JobStore, other_store: JobStore
    ) -> None:
        """Of the released records those with progress are counted apart, whatever the progress is; no others are."""
        for status in Status:
            await write(store, new_id(), record(status, progress="[1]"))
        await write(store, new_id(), record(Status.RELEASED, progress="null"))
        await write(store, new_id(), record(Status.RELEASED))
        began = new_id()
        version = await write(store, began, record(Status.OPEN, epoch=1))
        await write(store, began, record(Status.RELEASED, epoch=1, progress="2"), expected=version)
        totals = await other_store.totals(QUEUE, timeout_s=TIMEOUT_S)
        assert (totals.released, totals.checkpointed, totals.running) == (4, 3, 1)

    async def test_a_record_counts_once_where_it_stands_now(self, store: JobStore) -> None:
        """A record that changed its status counts under the new one only."""
        message_id = new_id()
        version = await write(store, message_id, record(Status.OPEN))
        await write(store, message_id, record(Status.DONE), expected=version)
        assert await store.totals(QUEUE, timeout_s=TIMEOUT_S) == RecordTotals(
            running=0, released=0, checkpointed=0, completed=1, poisoned=0
        )


class TestTheStoreItself:
    """Creating it, and what is not there."""

    async def test_creating_again_changes_nothing(self, store: JobStore, other_store: JobStore) -> None:
        """Creating a store that exists succeeds and keeps its records."""
        message_id = new_id()
        version = await write(store, message_id, record())
        await other_store.create(timeout_s=TIMEOUT_S)
        assert await found(store, message_id) == (record(), version)

    @pytest.mark.parametrize(
        "call",
        ["read", "write", "read_presence", "read_presence_named", "write_presence", "confirm", "prune", "totals"],
    )
    async def test_a_store_that_is_not_there_is_said(self, store_world: StoreWorld, call: str) -> None:
        """Every call on a store that nobody created says that it is missing; none creates it."""
        absent = await store_world.client()
        calls: dict[str, Callable[[], Awaitable[object]]] = {
            "read": lambda: found(absent, new_id()),
            "write": lambda: write(absent, new_id(), record()),
            "read_presence": lambda: absent.read_presence("vm-1", "0", timeout_s=TIMEOUT_S),
            "read_presence_named": lambda: absent.read_presence_named("spot", "0", timeout_s=TIMEOUT_S),
            "write_presence": lambda: absent.write_presence(presence(), timeout_s=TIMEOUT_S),
            "confirm": lambda: absent.confirm_deleted(QUEUE, [new_id()], timeout_s=TIMEOUT_S),
            "prune": lambda: absent.prune(QUEUE, older_than=timedelta(0), timeout_s=TIMEOUT_S),
            "totals": lambda: absent.totals(QUEUE, timeout_s=TIMEOUT_S),
        }
        for _ in range(2):
            with pytest.raises(MissingError):
                await calls[call]()
