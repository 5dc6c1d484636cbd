"""Pictures as SVG: light and dark in one file, by the reader's preference, or in one of them only.

Every piece of text carries the width that it was laid out for, so that another font fits as well.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from html import escape

from adapters.drawing.colours import Theme, style
from adapters.drawing.font import FAMILY
from adapters.drawing.layout import (
    ARROW_PX,
    BOLD,
    LINE_PX,
    TEXT_PX,
    Box,
    Curve,
    Layout,
    PlacedLabel,
    Point,
    lay_out,
    line_px,
    node_lines,
    width_px,
)
from fsm.drawing.label import Chunk
from fsm.drawing.picture import Node, Picture, Shape

_FONTS = f"'{FAMILY}', 'Source Sans 3', 'Segoe UI', Helvetica, Arial, sans-serif"
_MARGIN_PX = 16.0
_TITLE_PX = 20.0
_HEAD_PX = 56.0
"""The height of the title and of the line under it, which says how to read the picture."""
_BASELINE_EM = 0.33
"""From the middle of a line of text down to its baseline."""
_BORDER_GAP_PX = 6.0
"""What a final state's inner border is smaller by."""


def render_svg(picture: Picture, theme: Theme | None = None) -> str:
    """A picture as SVG.

    Args:
        picture: what to draw.
        theme: its colours; None for all of them, of which the reader's program chooses.

    Raises:
        ConfigurationError: the extra `draw` is not installed.
    """
    layout = lay_out(picture)
    head_px = max(width_px(picture.title, bold=True, size_px=_TITLE_PX), width_px(picture.reading))
    width = max(layout.width, head_px) + 2 * _MARGIN_PX
    height = layout.height + _HEAD_PX + 2 * _MARGIN_PX
    size = f'viewBox="0 0 {_px(width)} {_px(height)}" width="{_px(width)}" height="{_px(height)}"'
    place = f"{_px((width - layout.width) / 2)} {_px(_HEAD_PX + _MARGIN_PX)}"
    title_y = _MARGIN_PX + _TITLE_PX / 2
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" {size} role="img" font-family="{_FONTS}" font-size="{_px(TEXT_PX)}">',
        f"<title>{escape(picture.title)}</title>",
        f"<style>{style(theme)}</style>",
        f'<rect class="ground" width="{_px(width)}" height="{_px(height)}"/>',
        _text(_MARGIN_PX, title_y, picture.title, "name", size_px=_TITLE_PX, bold=True),
        _text(_MARGIN_PX, title_y + _TITLE_PX + LINE_PX / 4, picture.reading, "reading"),
        f'<g transform="translate({place})">',
        *_parts(picture, layout),
        "</g>",
        "</svg>",
    ]
    return "\n".join(lines) + "\n"


def _parts(picture: Picture, layout: Layout) -> Iterator[str]:
    """Lines first, then boxes: what is read lies on top."""
    for box, curve in layout.starts:
        yield from _line(curve, "")
        yield f'<circle class="start" cx="{_px(box.x)}" cy="{_px(box.y)}" r="{_px(box.width / 2)}"/>'
    for edge, placed in zip(picture.edges, layout.edges, strict=True):
        marks = (" dotted" if edge.dotted else "") + _mark(picture, went=edge.taken)
        for curve in placed.curves:
            yield from _line(curve, marks)
    for node in picture.nodes:
        yield from _node(node, layout.nodes[node.name], _mark(picture, went=bool(node.visits)))
    for edge, placed in zip(picture.edges, layout.edges, strict=True):
        yield from _label(placed, _mark(picture, went=edge.taken))


def _mark(picture: Picture, *, went: bool) -> str:
    """The class by which a drawn path stands out from the rest."""
    return "" if not picture.is_path else " went" if went else " away"


def _line(curve: Curve, marks: str) -> Iterator[str]:
    """A curve and, if it has a tip, its arrow: a triangle whose base the curve runs into."""
    (x, y), *rest = curve.points
    course = f"M{_px(x)},{_px(y)} C{_joined(rest)}"
    if curve.tip is None:
        yield f'<path class="line{marks}" d="{course}"/>'
        return
    (from_x, from_y), (to_x, to_y) = curve.points[-1], curve.tip
    angle = math.atan2(to_y - from_y, to_x - from_x)
    along_x, along_y = ARROW_PX * math.cos(angle), ARROW_PX * math.sin(angle)
    base_x, base_y = to_x - along_x, to_y - along_y
    corners = [(base_x + side * along_y, base_y - side * along_x) for side in (0.4, -0.4)]
    yield f'<path class="line{marks}" d="{course} L{_px(base_x)},{_px(base_y)}"/>'
    yield f'<polygon class="tip{marks.replace(" dotted", "")}" points="{_joined([curve.tip, *corners])}"/>'


def _joined(points: Sequence[Point]) -> str:
    return " ".join(f"{_px(x)},{_px(y)}" for x, y in points)


def _node(node: Node, box: Box, mark: str) -> Iterator[str]:
    here = " here" if node.present else ""
    round_px = {Shape.MOVE: 0.0, Shape.EFFECT: box.height / 2}.get(node.shape, 8.0)
    yield _rectangle(box, f"node {node.shape.value}{mark}{here}", round_px)
    if node.final:
        inner = Box(x=box.x, y=box.y, width=box.width - _BORDER_GAP_PX, height=box.height - _BORDER_GAP_PX)
        yield _rectangle(inner, f"node {node.shape.value}{mark}{here}", round_px - _BORDER_GAP_PX / 2)
    lines = node_lines(node)
    for place, line in enumerate(lines):
        bold = place == 0
        left = box.x - width_px(line, bold=bold) / 2
        yield _text(left, _line_y(box, place, len(lines)), line, f"{'name' if bold else 'outcome'}{mark}", bold=bold)


def _label(placed: PlacedLabel, mark: str) -> Iterator[str]:
    yield _rectangle(placed.box, f"label{mark}", 4.0)
    left = placed.box.x - max(map(line_px, placed.lines)) / 2
    for place, line in enumerate(placed.lines):
        yield from _pieces(left, _line_y(placed.box, place, len(placed.lines)), line, mark)


def _line_y(box: Box, place: int, lines: int) -> float:
    """The middle of a line of the text in a box."""
    return box.y + (place - (lines - 1) / 2) * LINE_PX


def _pieces(x: float, y: float, line: Chunk, mark: str) -> Iterator[str]:
    for piece in line:
        bold = piece.ink in BOLD
        yield _text(x, y, piece.text, f"{piece.ink.value}{mark}", bold=bold)
        x += width_px(piece.text, bold=bold) + width_px(" ")


def _text(x: float, y: float, text: str, kind: str, *, size_px: float = TEXT_PX, bold: bool = False) -> str:
    """A text from this left edge, around this middle."""
    size = "" if size_px == TEXT_PX else f' font-size="{_px(size_px)}"'
    weight = ' font-weight="600"' if bold else ""
    length = f'textLength="{_px(width_px(text, bold=bold, size_px=size_px))}" lengthAdjust="spacingAndGlyphs"'
    place = f'x="{_px(x)}" y="{_px(y + _BASELINE_EM * size_px)}"'
    return f'<text class="{kind}" {place} {length}{size}{weight}>{escape(text)}</text>'


def _rectangle(box: Box, kind: str, round_px: float) -> str:
    corner = f'x="{_px(box.x - box.width / 2)}" y="{_px(box.y - box.height / 2)}"'
    size = f'width="{_px(box.width)}" height="{_px(box.height)}" rx="{_px(round_px)}"'
    return f'<rect class="{kind}" {corner} {size}/>'


def _px(number: float) -> str:
    """A length to a tenth of a px."""
    return f"{number:.1f}".removesuffix(".0")
