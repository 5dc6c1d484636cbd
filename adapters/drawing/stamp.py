"""What a picture's file says of where it comes from.

A layout depends on the version of Graphviz, and a PNG on that of resvg, so that their bytes are not compared. Instead
each file carries two hashes: of its *source*, the picture in DOT, and of its own content. A picture is fresh if its
source is that of today and nobody has changed the file. Neither Graphviz nor resvg is needed to tell.
"""

from __future__ import annotations

import re
import struct
import zlib
from hashlib import sha256

from fsm.drawing.dot import render_dot
from fsm.drawing.picture import Picture

LOOK = 1
"""Raised when pictures look different though their sources have not changed."""
_PNG_HEAD = 33
"""The bytes of a PNG's signature and of its first chunk, which must stay the first."""
_PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_STAMP = re.compile(rb"spotfsm[\x00 ]source=([0-9a-f]{64}) content=([0-9a-f]{64})")


def source_of(picture: Picture) -> str:
    """The hash of what a picture is drawn from."""
    return _hash(f"{LOOK}\n{render_dot(picture)}".encode())


def stamped_svg(svg: str, picture: Picture) -> str:
    """An SVG with its stamp, in a `metadata` element behind its title."""
    head, end, rest = svg.partition("</title>\n")
    assert end, "an SVG without a title"
    return f"{head}{end}<metadata>{_stamp(svg.encode(), picture)}</metadata>\n{rest}"


def stamped_png(png: bytes, picture: Picture) -> bytes:
    """A PNG with its stamp, in a text chunk as https://www.w3.org/TR/png-3/#11tEXt has it."""
    body = b"tEXt" + _stamp(png, picture).replace(" ", "\0", 1).encode()
    chunk = struct.pack(">L", len(body) - 4) + body + struct.pack(">L", zlib.crc32(body))
    return png[:_PNG_HEAD] + chunk + png[_PNG_HEAD:]


def is_fresh(data: bytes, picture: Picture) -> bool:
    """Whether a file, SVG or PNG, was drawn from this picture and has not been changed since."""
    found = _STAMP.search(data)
    if found is None:
        return False
    if data.startswith(_PNG_SIGNATURE):
        content = data[: found.start() - 8] + data[found.end() + 4 :]
    else:
        content = data[: found.start() - len("<metadata>")] + data[found.end() + len("</metadata>\n") :]
    return (found[1].decode(), found[2].decode()) == (source_of(picture), _hash(content))


def _stamp(content: bytes, picture: Picture) -> str:
    return f"spotfsm source={source_of(picture)} content={_hash(content)}"


def _hash(content: bytes) -> str:
    return sha256(content).hexdigest()
