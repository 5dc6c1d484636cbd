"""A job store in memory: what a service keeps, and a client of it for each simulated process.

Documents are kept as the text that a blob would hold, so that a torn one can be told from a record.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import TypeVar

from fsm.errors import MissingError, VersionConflictError
from fsm.ports import Clock, JobStore, RecordTotals, StoredRecord
from fsm.record import Presence, Record, Status, decode_record, encode_record
from simulator.clock import SimulatedClock
from simulator.network import Faults, no_faults, perform

ReplyT = TypeVar("ReplyT")

_Key = tuple[str, str]
"""A queue's name and a message's id."""


@dataclass(slots=True, kw_only=True)
class _Kept:
    """A document as the service keeps it.

    Attributes:
        status: beside the text, as an index would have it; and so is `has_progress`.
        confirmed_us: when the delete of its message was confirmed, on the monotonic clock.
    """

    text: str
    version: str
    status: Status
    has_progress: bool
    confirmed_us: int | None = None


class SimulatedStoreService:
    """One container, shared by every client of it.

    Args:
        clock: the world's time.
        exists: whether it need not be created first.
    """

    def __init__(self, *, clock: Clock | None = None, exists: bool = False) -> None:
        self._clock = clock or SimulatedClock()
        self._exists = exists
        self._records: dict[_Key, _Kept] = {}
        self._by_vm: dict[_Key, Presence] = {}
        self._by_name: dict[_Key, Presence] = {}
        self._writes = 0

    def create(self) -> None:
        self._exists = True

    def read(self, queue: str, message_id: str) -> StoredRecord | None:
        """The record, or None.

        Raises:
            MissingError, BadReplyError.
        """
        self._check_exists()
        kept = self._records.get((queue, message_id))
        return None if kept is None else StoredRecord(record=decode_record(kept.text), version=kept.version)

    def write(self, queue: str, message_id: str, record: Record, *, expected: str | None) -> str:
        """Write the record if it is at `expected`, and return its new version.

        Raises:
            MissingError, VersionConflictError.
        """
        self._check_exists()
        kept = self._records.get((queue, message_id))
        found = None if kept is None else kept.version
        if found != expected:
            raise VersionConflictError(f"record {queue}/{message_id} is at version {found}, not at {expected}")
        self._writes += 1
        version = str(self._writes)
        confirmed_us = None if kept is None else kept.confirmed_us
        self._records[queue, message_id] = _Kept(
            text=encode_record(record),
            version=version,
            status=record.status,
            has_progress=record.progress is not None,
            confirmed_us=confirmed_us,
        )
        return version

    def spoil(self, queue: str, message_id: str, text: str) -> None:
        """Tear a document: put any text in its place.

        Raises:
            KeyError: there is no such document.
        """
        self._records[queue, message_id].text = text

    def read_presence(self, vm_id: str, instance: str) -> Presence | None:
        self._check_exists()
        return self._by_vm.get((vm_id, instance))

    def read_presence_named(self, vm_name: str, instance: str) -> Presence | None:
        self._check_exists()
        return self._by_name.get((vm_name, instance))

    def write_presence(self, presence: Presence) -> None:
        self._check_exists()
        self._by_vm[presence.vm_id, presence.instance] = presence
        self._by_name[presence.vm_name, presence.instance] = presence

    def confirm_deleted(self, queue: str, message_ids: Sequence[str]) -> None:
        self._check_exists()
        for message_id in message_ids:
            kept = self._records.get((queue, message_id))
            if kept is not None and kept.confirmed_us is None:
                kept.confirmed_us = self._now_us()

    def prune(self, queue: str, *, older_than: timedelta) -> int:
        self._check_exists()
        latest_us = self._now_us() - older_than // timedelta(microseconds=1)
        old = [
            key
            for key, kept in self._records.items()
            if key[0] == queue
            and kept.status in (Status.DONE, Status.POISONED)
            and kept.confirmed_us is not None
            and kept.confirmed_us <= latest_us
        ]
        for key in old:
            del self._records[key]
        return len(old)

    def totals(self, queue: str) -> RecordTotals:
        self._check_exists()
        own = [kept for key, kept in self._records.items() if key[0] == queue]
        counted = Counter(kept.status for kept in own)
        return RecordTotals(
            running=counted[Status.OPEN],
            released=counted[Status.RELEASED],
            checkpointed=sum(kept.has_progress for kept in own if kept.status is Status.RELEASED),
            completed=counted[Status.DONE],
            poisoned=counted[Status.POISONED],
        )

    def _check_exists(self) -> None:
        if not self._exists:
            raise MissingError("the store does not exist")

    def _now_us(self) -> int:
        return round(self._clock.monotonic_s() * 1_000_000)


class SimulatedStore(JobStore):
    """One process's client of a simulated store.

    Args:
        service: what all clients share.
        faults: asked for each call, as `store.read`, `store.write`, `store.write_presence` and so on.
    """

    def __init__(self, service: SimulatedStoreService, *, faults: Faults = no_faults) -> None:
        self._service = service
        self._faults = faults

    async def read(self, queue: str, message_id: str, *, timeout_s: float) -> StoredRecord | None:
        return await self._perform("read", lambda: self._service.read(queue, message_id), timeout_s)

    async def write(
        self, queue: str, message_id: str, record: Record, *, expected: str | None, timeout_s: float
    ) -> str:
        return await self._perform(
            "write", lambda: self._service.write(queue, message_id, record, expected=expected), timeout_s
        )

    async def read_presence(self, vm_id: str, instance: str, *, timeout_s: float) -> Presence | None:
        return await self._perform("read_presence", lambda: self._service.read_presence(vm_id, instance), timeout_s)

    async def read_presence_named(self, vm_name: str, instance: str, *, timeout_s: float) -> Presence | None:
        return await self._perform(
            "read_presence_named", lambda: self._service.read_presence_named(vm_name, instance), timeout_s
        )

    async def write_presence(self, presence: Presence, *, timeout_s: float) -> None:
        await self._perform("write_presence", lambda: self._service.write_presence(presence), timeout_s)

    async def confirm_deleted(self, queue: str, message_ids: Sequence[str], *, timeout_s: float) -> None:
        ids = tuple(message_ids)
        await self._perform("confirm_deleted", lambda: self._service.confirm_deleted(queue, ids), timeout_s)

    async def prune(self, queue: str, *, older_than: timedelta, timeout_s: float) -> int:
        return await self._perform("prune", lambda: self._service.prune(queue, older_than=older_than), timeout_s)

    async def totals(self, queue: str, *, timeout_s: float) -> RecordTotals:
        return await self._perform("totals", lambda: self._service.totals(queue), timeout_s)

    async def create(self, *, timeout_s: float) -> None:
        await self._perform("create", self._service.create, timeout_s)

    async def _perform(self, call: str, effect: Callable[[], ReplyT], timeout_s: float) -> ReplyT:
        return await perform(f"store.{call}", effect, faults=self._faults, timeout_s=timeout_s)
