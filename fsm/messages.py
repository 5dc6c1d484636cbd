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
        MessageRejectedError: it is over `bytes_max`, or is not what the encoding says.
    """
    if len(text) > bytes_max or len(text.encode(errors="surrogatepass")) > bytes_max:
        raise MessageRejectedError(f"the message is over {bytes_max} bytes")
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

    The error is cut to make room; where even that is not enough, the body goes alone.
    """
    for kept in (error, error[:_ERROR_CHARS_MIN]):
        envelope = {
            "spotfsm_poison": _ENVELOPE_FORMAT,
            "queue": queue,
            "job_id": message_id,
            "deliveries": deliveries,
            "error": kept,
            "body": body,
        }
        text = json.dumps(envelope)
        if len(text) <= MESSAGE_BYTES_MAX:
            return text
    return body
