"""A PNG as pixels, by the book: https://www.w3.org/TR/png-3/ and nothing of the code under test."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass

Pixel = tuple[int, int, int, int]


@dataclass(frozen=True)
class Pixels:
    """A picture of 8 bits a channel: red, green, blue and opacity."""

    width: int
    height: int
    rows: tuple[bytes, ...]

    def at(self, x: int, y: int) -> Pixel:
        red, green, blue, alpha = self.rows[y][4 * x : 4 * x + 4]
        return red, green, blue, alpha


def chunks(png: bytes) -> Iterator[tuple[bytes, bytes]]:
    """The chunks by name, each with its checksum proved."""
    assert png[:8] == b"\x89PNG\r\n\x1a\n"
    at = 8
    while at < len(png):
        (length,) = struct.unpack_from(">L", png, at)
        name, body = png[at + 4 : at + 8], png[at + 8 : at + 8 + length]
        assert struct.unpack_from(">L", png, at + 8 + length)[0] == zlib.crc32(name + body)
        yield name, body
        at += 12 + length


def decoded(png: bytes) -> Pixels:
    """The pixels of a PNG."""
    found = list(chunks(png))
    width, height, depth, colour, _, _, interlaced = struct.unpack(">LLBBBBB", found[0][1])
    assert (found[0][0], depth, colour, interlaced) == (b"IHDR", 8, 6, 0)
    data = zlib.decompress(b"".join(body for name, body in found if name == b"IDAT"))
    rows: list[bytes] = []
    above = bytes(4 * width)
    for y in range(height):
        start = y * (4 * width + 1)
        above = _unfiltered(data[start], data[start + 1 : start + 1 + 4 * width], above)
        rows.append(above)
    return Pixels(width, height, tuple(rows))


def _unfiltered(kind: int, line: bytes, above: bytes) -> bytes:
    """A line without its filter: each byte was told as the difference from a guess."""
    if kind == 0:
        return line
    if kind == 2:
        return bytes((byte + up) % 256 for byte, up in zip(line, above, strict=True))
    out = bytearray(4) + line
    for at, up, corner in zip(range(4, len(out)), above, bytes(4) + above[:-4], strict=True):
        left = out[at - 4]
        if kind == 4:
            guess = left + up - corner
            far = abs(guess - left), abs(guess - up), abs(guess - corner)
            guess = left if far[0] <= far[1] and far[0] <= far[2] else up if far[1] <= far[2] else corner
        else:
            guess = left if kind == 1 else (left + up) // 2
        out[at] = (out[at] + guess) % 256
    return bytes(out[4:])
