"""The simulator's store, SQLite's and Azure's agree, operation by operation."""

from __future__ import annotations

import uuid
from dataclasses import replace
from datetime import timedelta
from functools import partial

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import initialize, precondition, rule, run_state_machine_as_test

from fsm.ports import JobStore, StoredRecord
from fsm.record import Presence, Record, Status
from tests.contracts.records import names, records
from tests.contracts.side_by_side import PHASES, TIMEOUT_S, SideBySide, store_worlds
from tests.contracts.worlds import StoreWorld

QUEUE = "jobs"
MARGIN_S = 1.2
"""What a blob's age is told by has no fractions of a second."""
WAITS_MAX = 1
EXAMPLES = 12
KEYS = tuple(str(uuid.UUID(int=number, version=4)) for number in (1, 2, 3))
keys = st.sampled_from(KEYS)
vms = st.sampled_from(("vm-1", "VM 2"))
Versions = dict[str, str | None]
"""By implementation."""


terminal = st.tuples(records, st.sampled_from((Status.DONE, Status.POISONED))).map(
    lambda drawn: replace(drawn[0], status=drawn[1])
)


async def is_gone(key: str, _name: str, store: JobStore) -> bool:
    """Whether there is no such record."""
    return await store.read(QUEUE, key, timeout_s=TIMEOUT_S) is None


class Stores(SideBySide[StoreWorld, JobStore]):
    """A store of each.

    Attributes:
        versions: every version each key ever had, newest first; None is not being there.
    """

    @initialize()
    def create(self) -> None:
        """Twice: creating again changes nothing."""

        async def create() -> None:
            await self.enter_worlds(store_worlds)
            for name, world in self.worlds.items():
                self.clients[name] = (await world.client(), await world.client())
                for store in self.clients[name]:
                    await store.create(timeout_s=TIMEOUT_S)

        self.drive(create())
        self.versions: dict[str, list[Versions]] = {key: [dict.fromkeys(self.clients)] for key in KEYS}

    @rule(key=keys, record=records, which=st.sampled_from((0, 0, 0, 1, 2)))
    def write(self, key: str, record: Record, which: int) -> None:
        """Over the newest version or an older one: done by all three, or refused by all three."""
        versions = self.versions[key]
        expected = versions[which % len(versions)]
        replies = self.each(
            lambda name, store: store.write(QUEUE, key, record, expected=expected[name], timeout_s=TIMEOUT_S)
        )
        refused = {name for name, reply in replies.items() if reply == "VersionConflictError"}
        assert refused in (set(), set(replies)), replies
        if not refused:
            versions.insert(0, dict(replies))

    @rule(key=keys, record=terminal)
    def end(self, key: str, record: Record) -> None:
        """As a worker ends a job: its end is written, and the delete of its message confirmed."""
        self.write(key, record, 0)
        self.agreed(lambda _name, store: store.confirm_deleted(QUEUE, [key], timeout_s=TIMEOUT_S))

    @rule(key=keys, queue=st.sampled_from((QUEUE, "other")))
    def read(self, key: str, queue: str) -> None:
        """What all three hold is the same record, at the version that they said."""
        found: dict[str, str | None] = {}

        async def read(name: str, store: JobStore) -> Record | None:
            stored: StoredRecord | None = await store.read(queue, key, timeout_s=TIMEOUT_S)
            found[name] = None if stored is None else stored.version
            return None if stored is None else stored.record

        self.agreed(read)
        if queue == QUEUE:
            assert found == self.versions[key][0]

    @rule(vm_id=vms, vm_name=vms, boot_id=names, process=names)
    def announce(self, vm_id: str, vm_name: str, boot_id: str, process: str) -> None:
        """A process takes the place of whichever was there."""
        presence = Presence(vm_id=vm_id, vm_name=vm_name, boot_id=boot_id, instance="1", process=process)
        assert self.agreed(lambda _name, store: store.write_presence(presence, timeout_s=TIMEOUT_S)) is None

    @rule(vm=vms, instance=st.sampled_from(("1", "1", "2")))
    def look_who_is_there(self, vm: str, instance: str) -> None:
        """By vmId and by name."""
        self.agreed(lambda _name, store: store.read_presence(vm, instance, timeout_s=TIMEOUT_S))
        self.agreed(lambda _name, store: store.read_presence_named(vm, instance, timeout_s=TIMEOUT_S))

    @rule(chosen=st.lists(keys, min_size=1, max_size=3))
    def confirm(self, chosen: list[str]) -> None:
        """Deletes are confirmed, of records that are there or not, once or again."""
        self.agreed(lambda _name, store: store.confirm_deleted(QUEUE, chosen, timeout_s=TIMEOUT_S))

    @precondition(lambda self: self.waits < WAITS_MAX)
    @rule()
    def prune(self) -> None:
        """What was terminal and confirmed some time ago goes, and nothing else does."""
        self.wait(1.0 + MARGIN_S)
        age = timedelta(seconds=1)
        if self.agreed(lambda _name, store: store.prune(QUEUE, older_than=age, timeout_s=TIMEOUT_S)):
            for key, versions in self.versions.items():
                if self.agreed(partial(is_gone, key)):
                    versions.insert(0, dict.fromkeys(self.clients))

    @rule()
    def count(self) -> None:
        """Of each status as many, and none in a queue that nobody has written to."""
        self.agreed(lambda _name, store: store.totals(QUEUE, timeout_s=TIMEOUT_S))
        self.agreed(lambda _name, store: store.totals("other", timeout_s=TIMEOUT_S))

    def teardown(self) -> None:
        try:
            if self.clients:
                if self.waits < WAITS_MAX:
                    self.prune()
                for key in KEYS:
                    self.read(key, QUEUE)
                self.count()
        finally:
            super().teardown()


@pytest.mark.azurite
@pytest.mark.timeout(300)
def test_three_stores_agree() -> None:
    """Whatever two clients do, all three stores give the same answer to every call of it."""
    run_state_machine_as_test(
        Stores,
        settings=settings(max_examples=EXAMPLES, stateful_step_count=20, deadline=None, print_blob=True, phases=PHASES),
    )
