"""Bodies as they lie on a queue, and what a poison message keeps of them."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fsm.errors import MessageRejectedError
from fsm.messages import MESSAGE_BYTES_MAX, Encoding, decode_body, encode_body, poison_body

unicode = st.text()
anything = st.text(st.characters(codec=None))


def poisoned(body: str, *, error: str = "e") -> str:
    return poison_body(queue="jobs", message_id="m", body=body, error=error, deliveries=3)


@given(text=unicode, encoding=st.sampled_from(Encoding))
def test_what_is_encoded_is_decoded(text: str, encoding: Encoding) -> None:
    """Any Unicode text, control characters included, is handed to the handler as it was given to `enqueue`."""
    assert decode_body(encode_body(text, encoding), encoding) == text


@given(text=anything, encoding=st.sampled_from(Encoding))
def test_a_body_is_unicode_or_rejected(text: str, encoding: Encoding) -> None:
    """Whatever lies on the queue, a handler is given what can be written as UTF-8, or is not begun."""
    try:
        decode_body(text, encoding).encode()
    except MessageRejectedError:
        assert encoding is Encoding.BASE64 or max(text) >= "\ud800"


@pytest.mark.parametrize(
    "text",
    ["=", "====", "YQ", "YQ=", "YQ===", "YW\nJj", " YQ==", "YQ==\n", "-_8=", "\uff39\uff31==", "gICA", "7aCA", "a€"],
)
def test_wrong_base64_is_rejected(text: str) -> None:
    """Padding, line breaks, other alphabets, and base64 of what is not UTF-8: nothing is guessed."""
    with pytest.raises(MessageRejectedError, match="not base64 of UTF-8"):
        decode_body(text, Encoding.BASE64)


@pytest.mark.parametrize("letter", ["x", "é", "€", "\U0001f680"])
def test_the_limit_is_in_bytes(letter: str) -> None:
    """At the limit a body is taken; one letter more is rejected."""
    text = letter * (1200 // len(letter.encode()))
    assert decode_body(text, Encoding.TEXT, bytes_max=1200) == text
    with pytest.raises(MessageRejectedError, match="over 1200 bytes"):
        decode_body(text + letter, Encoding.TEXT, bytes_max=1200)


@given(body=anything, error=anything)
def test_an_envelope_holds_everything(body: str, error: str) -> None:
    """The poison message of a short one is ASCII JSON, and has its body and its error to the letter."""
    text = poisoned(body, error=error)
    envelope = json.loads(text)
    assert text.isascii()
    assert (envelope["body"], envelope["error"]) == (body, error)
    assert (envelope["queue"], envelope["job_id"], envelope["deliveries"]) == ("jobs", "m", 3)


def test_a_long_error_makes_room() -> None:
    """Where both do not fit, the error is cut and the body is whole."""
    body = "x" * (MESSAGE_BYTES_MAX - 1000)
    envelope = json.loads(poisoned(body, error="e" * 2000))
    assert envelope["body"] == body
    assert envelope["error"] == "e" * 200


@pytest.mark.parametrize("body", ["x" * MESSAGE_BYTES_MAX, "€" * (MESSAGE_BYTES_MAX // 3), "\x01" * 20_000])
def test_a_body_without_room_goes_alone(body: str) -> None:
    """Where an envelope does not fit around it, the body is put as it came."""
    assert poisoned(body) == body


@given(letter=st.characters(codec=None), error=anything)
def test_what_no_queue_would_take_is_cut(letter: str, error: str) -> None:
    """Of ten megabytes in an embedded queue the beginning is kept, in a message that can be put anywhere."""
    body = letter * 10_000_000 if letter == "0" else letter * (MESSAGE_BYTES_MAX + 1)
    text = poisoned(body, error=error * 100)
    assert len(text) <= MESSAGE_BYTES_MAX
    assert text.isascii()
    assert json.loads(text)["body"] == body[:4096]


def test_half_a_character_is_never_put_alone() -> None:
    """A body that is not Unicode goes into an envelope, cut if need be: alone no queue would take it."""
    text = poisoned("\ud800" * 60_000)
    assert text.isascii()
    assert len(text) <= MESSAGE_BYTES_MAX
