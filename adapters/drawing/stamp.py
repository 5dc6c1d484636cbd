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
_PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_PNG_HEAD = 33
"""The bytes of a PNG's signature and of its first chunk, which must stay the first."""
_SVG_HEAD = b"</title>\n"
_STAMP = re.compile(rb"<metadata>spotfsm .{0,200}</metadata>\n|.{4}tEXtspotfsm\x00.{148}", re.DOTALL)
"""A stamp with all that is around it in its file: an element of an SVG, a chunk of a PNG."""


def source_of(picture: Picture) -> str:
    """The hash of what a picture is drawn from."""
    return _hash(f"{LOOK}\n{render_dot(picture)}".encode())


def stamped(content: bytes, picture: Picture) -> bytes:
    """An SVG with its stamp behind its title, or a PNG with its stamp behind its head."""
    source, own = source_of(picture), _hash(content)
    if not content.startswith(_PNG_SIGNATURE):
        head, title, rest = content.partition(_SVG_HEAD)
        return head + title + f"<metadata>spotfsm source={source} content={own}</metadata>\n".encode() + rest
    body = f"tEXtspotfsm\0source={source} content={own}".encode()  # https://www.w3.org/TR/png-3/#11tEXt
    chunk = struct.pack(">L", len(body) - 4) + body + struct.pack(">L", zlib.crc32(body))
    return content[:_PNG_HEAD] + chunk + content[_PNG_HEAD:]


def is_fresh(data: bytes, picture: Picture) -> bool:
    """Whether a file, SVG or PNG, was drawn from this picture and has not been changed since."""
    content = _STAMP.sub(b"", data, count=1)
    return content != data and stamped(content, picture) == data


def _hash(content: bytes) -> str:
    return sha256(content).hexdigest()
