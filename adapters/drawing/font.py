"""The pinned font: where its files are, and how wide a text is in it."""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Self

from adapters.drawing.missing import missing

FAMILY = "Source Sans Pro"


def font_file(*, bold: bool) -> Path:
    """A file of the font.

    Raises:
        ConfigurationError: the font's wheel is not installed.
    """
    try:
        from font_source_sans_pro import font_directory  # type: ignore[import-untyped]  # it has no types
    except ImportError as exc:
        raise missing("font-source-sans-pro") from exc
    return Path(str(font_directory)) / f"SourceSansPro-{'Semibold' if bold else 'Regular'}.ttf"


@dataclass(frozen=True, slots=True, kw_only=True)
class Widths:
    """How far each character advances, in units of which an em has `units_per_em`."""

    units_per_em: int
    advances: Mapping[str, int]

    def em(self, text: str) -> float:
        """How wide a text is, in ems. A character that the font lacks counts as an em."""
        return sum(self.advances.get(character, self.units_per_em) for character in text) / self.units_per_em

    @classmethod
    def read(cls, font: bytes) -> Self:
        """The widths in a TrueType file.

        https://learn.microsoft.com/typography/opentype/spec/otff and the pages of head, hhea, hmtx and cmap
        """
        tables = {
            font[at : at + 4]: struct.unpack_from(">L", font, at + 8)[0]
            for at in range(12, 12 + 16 * struct.unpack_from(">H", font, 4)[0], 16)
        }
        (metrics,) = struct.unpack_from(">H", font, tables[b"hhea"] + 34)
        (units_per_em,) = struct.unpack_from(">H", font, tables[b"head"] + 18)

        def advance(glyph: int) -> int:
            (units,) = struct.unpack_from(">H", font, tables[b"hmtx"] + 4 * min(glyph, metrics - 1))
            return int(units)

        glyphs = _glyphs(font, tables[b"cmap"])
        return cls(units_per_em=units_per_em, advances={text: advance(glyph) for text, glyph in glyphs.items()})


def _glyphs(font: bytes, cmap: int) -> dict[str, int]:
    """The glyph of each character of the basic plane, from a character map of format 4."""
    count = struct.unpack_from(">H", font, cmap + 2)[0]
    starts = [cmap + struct.unpack_from(">L", font, cmap + 8 + 8 * place)[0] for place in range(count)]
    (start,) = [at for at in dict.fromkeys(starts) if struct.unpack_from(">H", font, at)[0] == 4]
    segments = struct.unpack_from(">H", font, start + 6)[0] // 2
    ends, begins, deltas, offsets = (
        struct.unpack_from(f">{segments}H", font, start + 14 + place * 2 * segments + (2 if place else 0))
        for place in range(4)
    )
    found: dict[str, int] = {}
    for place, (first, last, delta, offset) in enumerate(zip(begins, ends, deltas, offsets, strict=True)):
        for code in range(first, min(last, 0xFFFE) + 1):
            glyph = code
            if offset:
                at = start + 16 + 6 * segments + 2 * place + offset + 2 * (code - first)
                (glyph,) = struct.unpack_from(">H", font, at)
            found[chr(code)] = (glyph + delta) % 0x10000
    return found


@cache
def widths(*, bold: bool) -> Widths:
    """The widths of the pinned font.

    Raises:
        ConfigurationError: the font's wheel is not installed.
    """
    return Widths.read(font_file(bold=bold).read_bytes())
