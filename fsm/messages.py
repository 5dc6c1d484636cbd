"""Message bodies: how text lies on a queue, how much of it may, and what a poison message looks like."""

from __future__ import annotations

import base64
import binascii
import json
from enum import StrEnum

from fsm.errors import MessageRejectedError

MESSAGE_BYTES_MAX = 64 * 1024
"""The largest message as it is sent, in UTF-8 bytes. [`fsm.sources.QUEUE_LIMITS`]"""
_ERROR_CHARS_MIN = 200
_BODY_CHARS_MIN = 4096
"""What is kept of a body that no queue could carry; each character may take twelve bytes in JSON."""
_ENVELOPE_FORMAT = 1


class Encoding(StrEnum):
    """How bodies lie on the queue; what other programs put there decides."""

    TEXT = "text"
    """As they are: the default of the Python, .NET and JavaScript clients."""
    BASE64 = "base64"
    """UTF-8 in base64: the default of Functions triggers; carries control characters."""


def encode_body(text: str, encoding: Encoding) -> str:
    """The body as it is put on the queue."""
    match encoding:
        case Encoding.TEXT:
            return text
        case Encoding.BASE64:
            return base64.b64encode(text.encode()).decode()


def decode_body(text: str, encoding: Encoding, *, bytes_max: int = MESSAGE_BYTES_MAX) -> str:
    """The body a handler is given.

    Raises:
        MessageRejectedError: it is over `bytes_max`, is not Unicode, or is not what the encoding says.
    """
    if len(text) > bytes_max or len(text.encode(errors="surrogatepass")) > bytes_max:
        raise MessageRejectedError(f"the message is over {bytes_max} bytes")
    if not _is_unicode(text):
        raise MessageRejectedError("the message is not Unicode")
    match encoding:
        case Encoding.TEXT:
            return text
        case Encoding.BASE64:
            try:
                return base64.b64decode(text, validate=True).decode()
            except (binascii.Error, ValueError) as exc:
                raise MessageRejectedError(f"the message is not base64 of UTF-8: {exc}") from exc


def poison_body(*, queue: str, message_id: str, body: str, error: str, deliveries: int) -> str:
    """The message put on the poison queue: an envelope of ASCII JSON, within the queue's limit.

    The error is cut to make room; where even that is not enough, the body goes alone. A body that no queue would take,
    which only a program beside ours can have put into an embedded one, is cut.
    """
    short = error[:_ERROR_CHARS_MIN]
    if len(body) <= MESSAGE_BYTES_MAX:
        for kept in (error, short):
            text = _envelope(queue, message_id, body, kept, deliveries)
            if len(text) <= MESSAGE_BYTES_MAX:
                return text
        if _is_unicode(body) and len(body.encode()) <= MESSAGE_BYTES_MAX:
            return body
    return _envelope(queue, message_id, body[:_BODY_CHARS_MIN], short, deliveries)


def _envelope(queue: str, message_id: str, body: str, error: str, deliveries: int) -> str:
    return json.dumps(
        {
            "spotfsm_poison": _ENVELOPE_FORMAT,
            "queue": queue,
            "job_id": message_id,
            "deliveries": deliveries,
            "error": error,
            "body": body,
        }
    )


def _is_unicode(text: str) -> bool:
    """Whether it can be written as UTF-8: half a surrogate pair cannot."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
