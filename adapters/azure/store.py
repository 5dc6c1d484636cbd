"""A blob container as the core's `JobStore`; see `adapters.azure.layout` for what lies where.

* *A record* is written by a single PUT, conditional on the ETag that is its version (or on its absence): body and
  status change together or not at all. The status, and whether there is progress, are blob metadata as well, so that
  `totals` counts from a listing and reads no blob.
* *Presences* are two blobs, because they are looked up by two keys. They are overwritten, and never pruned.
* *Confirmations* lie apart from the records: a mark in each record would be one more write a job, and would race with
  the fence. One call makes one small blob, create-only and named by the hash of its ids: repeated after a lost reply,
  it neither adds a blob nor makes the first one younger. A confirmation that never arrives costs nothing but records
  that are never pruned.
* *Pruning* lists the confirmations and tells their age by the service's own clock. It removes the records of those that
  are old enough, if they are terminal and did not change meanwhile, and then the confirmation. Interrupted anywhere, it
  is simply done again.

The client of a blob costs about 70 µs to make, a tenth of the processor time of one call on it, and most records are
written once or twice: one is made for each call, and none is kept.

[https://learn.microsoft.com/rest/api/storageservices/specifying-conditional-headers-for-blob-service-operations,
read 2026-11]
"""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import timedelta
from email.utils import parsedate_to_datetime
from typing import Any

from azure.core import MatchConditions
from azure.core.credentials import AzureNamedKeyCredential
from azure.core.credentials_async import AsyncTokenCredential
from azure.core.exceptions import HttpResponseError, ResourceExistsError, ResourceNotFoundError
from azure.core.pipeline import PipelineResponse
from azure.core.rest import AsyncHttpResponse, HttpRequest
from azure.storage.blob import BlobProperties
from azure.storage.blob.aio import ContainerClient

from adapters.azure import layout
from adapters.azure.address import Address
from adapters.azure.errors import answered, error_code, told
from adapters.azure.transport import API_VERSION, SharedTransport
from fsm.errors import BadReplyError
from fsm.ports import JobStore, RecordTotals, StoredRecord
from fsm.record import Presence, Record, Status, decode_record, encode_record

SINGLE_PUT_BYTES_MAX = 64 * 1024 * 1024
"""A larger blob would be sent in blocks, and that is no single conditional write. Records are far smaller."""
PRUNED_AT_ONCE_MAX = 16
"""Records that one prune has under way at the same time."""
_STATUS = "status"
_PROGRESS, _NONE, _SAVED = "progress", "none", "saved"
_CHECKPOINTED = "released with progress"
_TERMINAL = frozenset({Status.DONE, Status.POISONED})


@dataclass(frozen=True, slots=True, kw_only=True)
class _Blob:
    """What a blob held when it was read, and the ETag it had then."""

    content: bytes
    etag: str


class AzureStore(JobStore):
    """One container; opened by `AzureConnection.store`, which also closes what it holds open."""

    def __init__(
        self,
        address: Address,
        *,
        credential: AzureNamedKeyCredential | AsyncTokenCredential,
        transport: SharedTransport,
    ) -> None:
        self._name = address.name
        self._container = ContainerClient(
            address.account_url,
            address.name,
            credential=credential,
            transport=transport,
            api_version=API_VERSION,
            max_single_put_size=SINGLE_PUT_BYTES_MAX,
            retry_total=0,
            retry_connect=0,
            retry_read=0,
            retry_status=0,
            permit_redirects=False,
        )

    # -- records --------------------------------------------------------------------------------------------------

    async def read(self, queue: str, message_id: str, *, timeout_s: float) -> StoredRecord | None:
        call = self._read(layout.record_path(queue, message_id), timeout_s)
        blob = await answered(call, what=f"reading a record in {self._name}", timeout_s=timeout_s)
        return None if blob is None else StoredRecord(record=decode_record(blob.content), version=blob.etag)

    async def write(
        self, queue: str, message_id: str, record: Record, *, expected: str | None, timeout_s: float
    ) -> str:
        call = self._write(layout.record_path(queue, message_id), record, expected, timeout_s)
        return await answered(call, what=f"writing a record in {self._name}", timeout_s=timeout_s)

    async def _write(self, path: str, record: Record, expected: str | None, timeout_s: float) -> str:
        condition: dict[str, Any] = {"match_condition": MatchConditions.IfMissing}
        if expected is not None:
            condition = {"match_condition": MatchConditions.IfNotModified, "etag": expected}
        written = await self._container.get_blob_client(path).upload_blob(
            encode_record(record).encode(),
            metadata={_STATUS: record.status.value, _PROGRESS: _NONE if record.progress is None else _SAVED},
            overwrite=True,  # as far as the condition lets it
            **condition,
            connection_timeout=timeout_s,
            read_timeout=timeout_s,
        )
        etag: str | None = written["etag"]
        return told(etag, "an ETag")

    async def totals(self, queue: str, *, timeout_s: float) -> RecordTotals:
        call = self._count(layout.records_prefix(queue), timeout_s)
        counted = await answered(call, what=f"counting records in {self._name}", timeout_s=timeout_s)
        return RecordTotals(
            running=counted[Status.OPEN],
            released=counted[Status.RELEASED],
            checkpointed=counted[_CHECKPOINTED],
            completed=counted[Status.DONE],
            poisoned=counted[Status.POISONED],
        )

    async def _count(self, prefix: str, timeout_s: float) -> Counter[str]:
        blobs = self._container.list_blobs(
            name_starts_with=prefix, include=["metadata"], connection_timeout=timeout_s, read_timeout=timeout_s
        )
        counted: Counter[str] = Counter()
        async for blob in blobs:
            status = str(blob.metadata.get(_STATUS))
            counted[status] += 1
            if status == Status.RELEASED and blob.metadata.get(_PROGRESS) == _SAVED:
                counted[_CHECKPOINTED] += 1
        return counted

    # -- presences ------------------------------------------------------------------------------------------------

    async def read_presence(self, vm_id: str, instance: str, *, timeout_s: float) -> Presence | None:
        return await self._read_presence(layout.presence_path(vm_id, instance), timeout_s)

    async def read_presence_named(self, vm_name: str, instance: str, *, timeout_s: float) -> Presence | None:
        return await self._read_presence(layout.presence_named_path(vm_name, instance), timeout_s)

    async def _read_presence(self, path: str, timeout_s: float) -> Presence | None:
        what = f"reading a presence in {self._name}"
        blob = await answered(self._read(path, timeout_s), what=what, timeout_s=timeout_s)
        return None if blob is None else _decode_presence(blob.content)

    async def write_presence(self, presence: Presence, *, timeout_s: float) -> None:
        call = self._write_presence(presence, timeout_s)
        await answered(call, what=f"writing a presence in {self._name}", timeout_s=timeout_s)

    async def _write_presence(self, presence: Presence, timeout_s: float) -> None:
        content = json.dumps(asdict(presence)).encode()
        for path in (
            layout.presence_path(presence.vm_id, presence.instance),
            layout.presence_named_path(presence.vm_name, presence.instance),
        ):
            client = self._container.get_blob_client(path)
            await client.upload_blob(content, overwrite=True, connection_timeout=timeout_s, read_timeout=timeout_s)

    # -- confirmations --------------------------------------------------------------------------------------------

    async def confirm_deleted(self, queue: str, message_ids: Sequence[str], *, timeout_s: float) -> None:
        if message_ids:
            call = self._confirm(queue, layout.checked_ids(message_ids), timeout_s)
            await answered(call, what=f"confirming deletes in {self._name}", timeout_s=timeout_s)

    async def _confirm(self, queue: str, message_ids: list[str], timeout_s: float) -> None:
        content = json.dumps(message_ids).encode()
        client = self._container.get_blob_client(layout.confirmation_path(queue, content))
        try:
            await client.upload_blob(content, overwrite=False, connection_timeout=timeout_s, read_timeout=timeout_s)
        except ResourceExistsError as exc:
            if error_code(exc) != "BlobAlreadyExists":
                raise

    async def prune(self, queue: str, *, older_than: timedelta, timeout_s: float) -> int:
        call = self._prune(queue, older_than, timeout_s)
        return await answered(call, what=f"pruning {self._name}", timeout_s=timeout_s)

    async def _prune(self, queue: str, older_than: timedelta, timeout_s: float) -> int:
        dates: list[str | None] = []

        def note_date(response: PipelineResponse[HttpRequest, AsyncHttpResponse]) -> None:
            dates.append(response.http_response.headers.get("Date"))

        pages = self._container.list_blobs(
            name_starts_with=layout.confirmations_prefix(queue),
            raw_response_hook=note_date,
            connection_timeout=timeout_s,
            read_timeout=timeout_s,
        ).by_page()
        removed = 0
        async for page in pages:
            listed_at = parsedate_to_datetime(told(dates[-1], "a date"))
            async for confirmation in page:
                if listed_at - confirmation.last_modified >= older_than:
                    removed += await self._prune_confirmed(queue, confirmation, timeout_s)
        return removed

    async def _prune_confirmed(self, queue: str, confirmation: BlobProperties, timeout_s: float) -> int:
        """Remove the records of one confirmation, a few at a time, and then the confirmation."""
        blob = await self._read(str(confirmation.name), timeout_s)
        if blob is None:
            return 0  # somebody else prunes too
        message_ids = _decode_confirmation(blob.content)
        removed = 0
        for first in range(0, len(message_ids), PRUNED_AT_ONCE_MAX):
            ends = await asyncio.gather(
                *(
                    self._remove_terminal(layout.record_path(queue, message_id), timeout_s)
                    for message_id in message_ids[first : first + PRUNED_AT_ONCE_MAX]
                ),
                return_exceptions=True,
            )
            for end in ends:
                if isinstance(end, BaseException):
                    raise end
                removed += end
        await self._remove(str(confirmation.name), blob.etag, timeout_s)
        return removed

    async def _remove_terminal(self, path: str, timeout_s: float) -> bool:
        """Remove a record if it is terminal; say whether this call did it."""
        client = self._container.get_blob_client(path)
        try:
            properties = await client.get_blob_properties(connection_timeout=timeout_s, read_timeout=timeout_s)
        except ResourceNotFoundError as exc:
            if error_code(exc) != "BlobNotFound":
                raise
            return False
        if properties.metadata.get(_STATUS) not in _TERMINAL:
            return False
        return await self._remove(path, told(properties.etag, "an ETag"), timeout_s)

    # -- blobs ----------------------------------------------------------------------------------------------------

    async def _read(self, path: str, timeout_s: float) -> _Blob | None:
        """The blob, or None if exactly it is missing: a missing container is an error."""
        client = self._container.get_blob_client(path)
        try:
            stream = await client.download_blob(max_concurrency=1, connection_timeout=timeout_s, read_timeout=timeout_s)
        except ResourceNotFoundError as exc:
            if error_code(exc) != "BlobNotFound":
                raise
            return None
        return _Blob(content=await stream.readall(), etag=told(stream.properties.etag, "an ETag"))

    async def _remove(self, path: str, etag: str, timeout_s: float) -> bool:
        """Remove the blob if it still is what was read; say whether this call did it."""
        client = self._container.get_blob_client(path)
        try:
            await client.delete_blob(
                etag=etag,
                match_condition=MatchConditions.IfNotModified,
                connection_timeout=timeout_s,
                read_timeout=timeout_s,
            )
        except HttpResponseError as exc:
            if error_code(exc) not in {"BlobNotFound", "ConditionNotMet"}:
                raise
            return False
        return True

    async def create(self, *, timeout_s: float) -> None:
        await answered(self._create(timeout_s), what=f"creating container {self._name}", timeout_s=timeout_s)

    async def _create(self, timeout_s: float) -> None:
        try:
            await self._container.create_container(connection_timeout=timeout_s, read_timeout=timeout_s)
        except ResourceExistsError as exc:
            if error_code(exc) != "ContainerAlreadyExists":  # one that is being deleted has the same exception
                raise


def _decode_presence(content: bytes) -> Presence:
    try:
        return Presence(**json.loads(content))
    except (ValueError, TypeError, RecursionError) as exc:
        raise BadReplyError(f"a stored presence cannot be read: {exc}") from exc


def _decode_confirmation(content: bytes) -> list[str]:
    try:
        return layout.checked_ids([str(message_id) for message_id in json.loads(content)])
    except (ValueError, TypeError, RecursionError) as exc:
        raise BadReplyError(f"a stored confirmation cannot be read: {exc}") from exc
