"""What went wrong on Azure, in the core's words: one table, and the one place where calls are awaited.

An error code decides where there is one, else the status, else what became of the connection. The SDK's own exception
types are no guide: it calls a queue that is being deleted "exists", and a stale pop receipt nothing in particular.
A reply that the SDK stumbles over (torn XML, a missing header) makes it raise a plain `TypeError` or `KeyError`; such
a reply is as good as lost, because what was asked for may have been done.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TypeVar

from aiohttp import ClientConnectorCertificateError
from azure.core.exceptions import AzureError, ClientAuthenticationError, HttpResponseError

from fsm.errors import (
    DeniedError,
    LeaseLostError,
    MessageRejectedError,
    MissingError,
    PlatformError,
    ReplyLostError,
    SpotfsmError,
    ThrottledError,
    VersionConflictError,
)

Answer = TypeVar("Answer")

BY_CODE: Mapping[str, type[SpotfsmError]] = {
    # The message is gone, or the receipt is not its newest; a delete may answer either.
    "MessageNotFound": LeaseLostError,
    "PopReceiptMismatch": LeaseLostError,
    # What has to be there is not, or will not be for much longer.
    "QueueNotFound": MissingError,
    "QueueBeingDeleted": MissingError,
    "QueueDisabled": MissingError,
    "ContainerNotFound": MissingError,
    "ContainerBeingDeleted": MissingError,
    "ContainerDisabled": MissingError,
    # A conditional write that came too late.
    "ConditionNotMet": VersionConflictError,
    "BlobAlreadyExists": VersionConflictError,
    "BlobNotFound": VersionConflictError,
    # 412 as well, but over somebody's lease on the blob: rereading and writing again would not help.
    "LeaseIdMissing": PlatformError,
    "LeaseIdMismatchWithBlobOperation": PlatformError,
    # A body the queue does not take. "RequestBodyTooLarge" is how Azurite says it.
    "MessageTooLarge": MessageRejectedError,
    "RequestBodyTooLarge": MessageRejectedError,
    # The service is over its limits, or failed on the way.
    "ServerBusy": ThrottledError,
    "OperationTimedOut": ReplyLostError,
    "InternalError": ReplyLostError,
}
"""[https://learn.microsoft.com/rest/api/storageservices/queue-service-error-codes, …/blob-service-error-codes and
…/common-rest-api-error-codes, read 2026-11]"""

BY_STATUS: Mapping[int, type[SpotfsmError]] = {
    401: DeniedError,
    403: DeniedError,
    404: MissingError,
    408: ReplyLostError,
    412: VersionConflictError,
    429: ThrottledError,
    500: ReplyLostError,
    502: ReplyLostError,
    503: ThrottledError,
    504: ReplyLostError,
}
"""For an error code that `BY_CODE` does not know. The statuses of proxies are among them: they speak no codes."""


async def answered(call: Awaitable[Answer], *, what: str, timeout_s: float) -> Answer:
    """Await a call on the SDK, for at most `timeout_s`, and speak the core's language when it fails.

    Args:
        call: the SDK's coroutine, or ours around it.
        what: the call in two or three words, for the error's text.
        timeout_s: for everything, the connection and the token included.

    Raises:
        SpotfsmError: see the tables; never anything of the SDK's.
    """
    try:
        async with asyncio.timeout(timeout_s):
            return await call
    except SpotfsmError:
        raise
    except TimeoutError as exc:
        raise ReplyLostError(f"{what}: no reply within {timeout_s:g} s") from exc
    except AzureError as exc:
        raise translated(exc, what) from exc
    except Exception as exc:  # the SDK raises anything at all on a reply of another shape
        raise ReplyLostError(f"{what}: the reply cannot be read ({type(exc).__name__}: {exc})") from exc


def told(value: Answer | None, what: str) -> Answer:
    """A value that the SDK leaves out where the reply did: never take "None" for it.

    Raises:
        ReplyLostError: it is not there.
    """
    if value is None:
        raise ReplyLostError(f"the reply lacks {what}")
    return value


def translated(error: AzureError, what: str) -> SpotfsmError:
    """The error of ours that an error of the SDK's stands for; for the caller to raise `from` it."""
    status = error.status_code if isinstance(error, HttpResponseError) else None
    if status is None or status < 300:
        return _unanswered(error, what)
    code = error_code(error)
    kind = BY_CODE.get(code) or BY_STATUS.get(status, PlatformError)
    text = f"{what}: {code or 'refused'} ({status})"
    return ThrottledError(text, retry_after_s=_retry_after_s(error)) if kind is ThrottledError else kind(text)


def error_code(error: AzureError) -> str:
    """The service's own word for the error, or an empty text."""
    code = getattr(error, "error_code", None)  # the storage packages set it on whatever they raise
    return str(getattr(code, "value", code) or "")


def _unanswered(error: AzureError, what: str) -> SpotfsmError:
    """No usable reply; or no request, because there is no token to send with it."""
    text = f"{what}: {' '.join(str(error).split()) or type(error).__name__}"
    if isinstance(getattr(error, "inner_exception", None), ClientConnectorCertificateError):
        text += "; SSL_CERT_FILE names authorities to believe"
    return DeniedError(text) if isinstance(error, ClientAuthenticationError) else ReplyLostError(text)


def _retry_after_s(error: AzureError) -> float | None:
    """How long the service asks to be left alone: seconds, or a date; None where it does not say."""
    response = getattr(error, "response", None)
    value = response.headers.get("Retry-After") if response is not None else None
    if not value:
        return None
    try:
        seconds = float(value)
    except ValueError:
        try:
            seconds = (parsedate_to_datetime(value) - datetime.now(UTC)).total_seconds()
        except (ValueError, TypeError):
            return None
    return max(0.0, seconds) if math.isfinite(seconds) else None
