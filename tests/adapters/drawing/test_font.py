"""Text is as wide as it is laid out for: the widths read from the font are those that resvg sets."""

from __future__ import annotations

import pytest
from resvg_py import svg_to_bytes

from adapters.drawing.font import FAMILY, font_file, widths
from fsm.drawing import Machine, drawing_of
from tests.adapters.drawing.pixels import decoded

SIZE_PX = 100
COUNT = 9


def left_edges(svg: str) -> list[int]:
    """Where the strokes in a black picture on white begin, on its middle line."""
    files = [str(font_file(bold=bold)) for bold in (False, True)]
    pixels = decoded(svg_to_bytes(svg_string=svg, skip_system_fonts=True, font_files=files))
    dark = [pixels.at(x, pixels.height // 2)[0] < 128 for x in range(pixels.width)]
    return [x for x in range(1, pixels.width) if dark[x] and not dark[x - 1]]


@pytest.mark.parametrize("bold", [False, True], ids=["regular", "bold"])
@pytest.mark.parametrize("between", ["", "n", "W", "[", "_", " ", "8", "\N{MULTIPLICATION SIGN}"])
def test_a_text_is_as_wide_as_the_font_says(between: str, *, bold: bool) -> None:
    """From one bar to a bar some characters later it is exactly as far as those advance."""
    text = f"|{between * COUNT}|"
    svg = (
        '<svg xmlns="http://www.w3.org/2000/svg" width="1200" height="40"><rect width="1200" height="40" fill="white"/>'
        f'<text x="20" y="60" font-family="{FAMILY}" font-size="{SIZE_PX}" font-weight="{600 if bold else 400}" '
        f'xml:space="preserve" font-kerning="none">{text}</text></svg>'
    )
    edges = left_edges(svg)
    expected = widths(bold=bold).em(text[:-1]) * SIZE_PX
    assert abs(edges[-1] - edges[0] - expected) <= 1.5


def test_the_font_has_every_character_that_is_drawn() -> None:
    """No name, guard or outcome needs a character that the font lacks."""
    texts = [
        *(line for machine in Machine for node in drawing_of(machine).picture.nodes for line in node.lines),
        *(
            piece.text
            for machine in Machine
            for edge in drawing_of(machine).picture.edges
            for clause in edge.label
            for chunk in clause
            for piece in chunk
        ),
    ]
    drawn = {character for text in texts for character in text} | {"\N{MULTIPLICATION SIGN}"}
    assert drawn <= set(widths(bold=False).advances)
    assert drawn <= set(widths(bold=True).advances)


def test_an_unknown_character_is_an_em_wide() -> None:
    """What the font lacks is set by another font; an em is room enough."""
    assert widths(bold=False).em("\N{SNOWMAN}") == 1.0
    assert widths(bold=False).em("") == 0.0
