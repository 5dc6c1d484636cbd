"""Spoils documents: bytes flipped, cut, doubled, moved and replaced by what parsers stumble over; drawn from a seed."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence

SPOILS_MAX = 4
"""Most things that are done to one document."""
STUMBLES: Sequence[bytes] = (
    b"", b"\x00", b"\xff", b"\xed\xa0\x80", b"\xef\xbb\xbf", b"\\ud800", b"\\u0000", b"\\", b'"', b"{", b"}", b"[",
    b"]", b",", b":", b"null", b"true", b"-1", b"-0.0", b"0", b"1e999", b"1E-999", b"NaN", b"-Infinity", b"9" * 400,
    b"[" * 2000, b'{"a":' * 2000, b"{}", b"[]", b'""', b"\r\n", b"/*", b"\x1b[31m", b"../", b"=", b"==",
    b"\xf0\x9f\x9a\x80",
)  # fmt: skip
"""What is put in somewhere."""


def spoiled(corpus: Sequence[bytes], draw: random.Random, count: int) -> Iterator[bytes]:
    """So many spoiled documents, each from one of the corpus, or from two."""
    for _ in range(count):
        document = bytearray(draw.choice(corpus))
        for _ in range(draw.randint(1, SPOILS_MAX)):
            _spoil(document, corpus, draw)
        yield bytes(document)


def _spoil(document: bytearray, corpus: Sequence[bytes], draw: random.Random) -> None:
    start = draw.randint(0, len(document))
    end = min(len(document), start + draw.choice((0, 1, 2, 8, 64)))
    match draw.randrange(6):
        case 0 if document:
            document[start % len(document)] ^= 1 << draw.randrange(8)
        case 1:
            document[start:end] = draw.choice(STUMBLES)
        case 2:
            del document[start:end]
        case 3:
            document[start:start] = document[start:end]
        case 4:
            other = draw.choice(corpus)
            cut = draw.randint(0, len(other))
            document[start:] = other[cut:]
        case _:
            document[start:end] = draw.randbytes(end - start)
