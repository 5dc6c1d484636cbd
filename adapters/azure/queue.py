"""An Azure Storage Queue as the core's `WorkQueue`.

What the service and its SDK do otherwise than one would think, and what is done about it here:

* `receive_messages` is a pager that goes on until the queue is empty: only its first page is taken, in one request.
* `update_message` without a visibility timeout makes the message visible, and with a message object sends its body
  anew: id and receipt are passed instead, and always a timeout.
* A decode policy loses a whole page to one message that it cannot decode: none is used, bodies stay as they lie there.
* A message that is not told otherwise expires after seven days: ours never do.
* Bodies travel as XML, which has no place for most control characters: they are rejected before they are sent. (XML
  parsers may read a carriage return before a newline as the newline alone.)

[https://learn.microsoft.com/rest/api/storageservices/operations-on-messages and the SDK's source, read 2026-11]
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from datetime import MAXYEAR

from azure.core.credentials import AzureNamedKeyCredential
from azure.core.credentials_async import AsyncTokenCredential
from azure.core.exceptions import ResourceExistsError
from azure.storage.queue import QueueMessage
from azure.storage.queue.aio import QueueClient

from adapters.azure.address import Address
from adapters.azure.errors import answered, error_code, told
from adapters.azure.layout import is_id
from adapters.azure.transport import API_VERSION, SharedTransport
from fsm.errors import BadReplyError, MessageRejectedError
from fsm.messages import MESSAGE_BYTES_MAX
from fsm.ports import PEEK_MAX, Message, Peeked, WorkQueue

_NEVER_S = -1
"""A time to live that does not end."""
_LEASE_S_MIN = 1
"""A receive must hide what it takes for a second at least; a renewal may hide it for none."""
_LEASE_S_MAX = 7 * 24 * 60 * 60
_NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""What XML 1.0 has no place for. [https://www.w3.org/TR/xml/#charsets, read 2026-11]"""


class AzureQueue(WorkQueue):
    """One queue; opened by `AzureConnection.queue`, which also closes what it holds open."""

    def __init__(
        self,
        address: Address,
        *,
        credential: AzureNamedKeyCredential | AsyncTokenCredential,
        transport: SharedTransport,
    ) -> None:
        self._name = address.name
        self._client = QueueClient(
            address.account_url,
            address.name,
            credential=credential,
            transport=transport,
            api_version=API_VERSION,
            retry_total=0,
            retry_connect=0,
            retry_read=0,
            retry_status=0,
            permit_redirects=False,
        )

    @property
    def name(self) -> str:
        return self._name

    async def receive(self, *, max_messages: int, visibility_timeout_s: float, timeout_s: float) -> Sequence[Message]:
        call = self._first_page(max_messages, max(_LEASE_S_MIN, _whole_s(visibility_timeout_s)), timeout_s)
        return await answered(call, what=f"receiving from {self._name}", timeout_s=timeout_s)

    async def _first_page(self, max_messages: int, visibility_timeout_s: int, timeout_s: float) -> list[Message]:
        pages = self._client.receive_messages(
            messages_per_page=max_messages,
            visibility_timeout=visibility_timeout_s,
            connection_timeout=timeout_s,
            read_timeout=timeout_s,
        ).by_page()
        page = await anext(pages, None)
        if page is None:
            return []
        return [_message(message) async for message in page]

    async def renew(self, message_id: str, pop_receipt: str, *, visibility_timeout_s: float, timeout_s: float) -> str:
        call = self._client.update_message(
            message_id,
            pop_receipt,
            visibility_timeout=_whole_s(visibility_timeout_s),
            connection_timeout=timeout_s,
            read_timeout=timeout_s,
        )
        updated = await answered(call, what=f"renewing on {self._name}", timeout_s=timeout_s)
        return told(updated.pop_receipt, "a new pop receipt")

    async def delete(self, message_id: str, pop_receipt: str, *, timeout_s: float) -> None:
        call = self._client.delete_message(
            message_id, pop_receipt, connection_timeout=timeout_s, read_timeout=timeout_s
        )
        await answered(call, what=f"deleting from {self._name}", timeout_s=timeout_s)

    async def put(self, text: str, *, timeout_s: float) -> str:
        _require_carried(text)
        call = self._client.send_message(
            text,
            visibility_timeout=0,
            time_to_live=_NEVER_S,
            connection_timeout=timeout_s,
            read_timeout=timeout_s,
        )
        message = await answered(call, what=f"putting on {self._name}", timeout_s=timeout_s)
        return told(message.id, "an id")

    async def length(self, *, timeout_s: float) -> int:
        call = self._client.get_queue_properties(connection_timeout=timeout_s, read_timeout=timeout_s)
        properties = await answered(call, what=f"counting {self._name}", timeout_s=timeout_s)
        return told(properties.approximate_message_count, "a count")

    async def peek(self, *, timeout_s: float) -> Peeked:
        call = self._client.peek_messages(PEEK_MAX, connection_timeout=timeout_s, read_timeout=timeout_s)
        waiting = await answered(call, what=f"peeking at {self._name}", timeout_s=timeout_s)
        expiring = sum(told(message.expires_on, "an expiry").year != MAXYEAR for message in waiting)
        return Peeked(waiting=len(waiting), expiring=expiring)

    async def create(self, *, timeout_s: float) -> None:
        await answered(self._create(timeout_s), what=f"creating queue {self._name}", timeout_s=timeout_s)

    async def _create(self, timeout_s: float) -> None:
        try:
            await self._client.create_queue(connection_timeout=timeout_s, read_timeout=timeout_s)
        except ResourceExistsError as exc:
            if error_code(exc) != "QueueAlreadyExists":  # one that is being deleted has the same exception
                raise


def _message(received: QueueMessage) -> Message:
    """One delivery, as the port has it.

    Raises:
        ReplyLostError, BadReplyError: the reply lacks a part of it, or its id is no UUID.
    """
    message_id = told(received.id, "an id")
    if not is_id(message_id):
        raise BadReplyError(f"the queue sent a message whose id is no UUID: {message_id!r:.100}")
    expires_at = told(received.expires_on, "an expiry")
    return Message(
        message_id=message_id,
        text=received.content or "",
        dequeue_count=told(received.dequeue_count, "a dequeue count"),
        pop_receipt=told(received.pop_receipt, "a pop receipt"),
        expires_at=None if expires_at.year == MAXYEAR else expires_at,
    )


def _whole_s(seconds: float) -> int:
    """The service counts whole seconds, up to seven days: never hide a message for less than was asked for."""
    return min(_LEASE_S_MAX, math.ceil(seconds))


def _require_carried(text: str) -> None:
    """Reject what would not arrive.

    Raises:
        MessageRejectedError: it is too long, or has a character that XML has no place for.
    """
    misfit = _NOT_XML.search(text)
    if misfit is not None:
        problem = f"character U+{ord(misfit[0]):04X} at {misfit.start()} cannot be sent to an Azure queue"
        raise MessageRejectedError(f"{problem}; put the message as base64")
    if len(text.encode()) > MESSAGE_BYTES_MAX:
        raise MessageRejectedError(f"the message is over {MESSAGE_BYTES_MAX} bytes")
